//! Envoy's command operators, in text formats and as the keys that people give them in JSON.

use crate::read::field::Field;
use crate::read::template::{self, Parts, Template};
use crate::read::{TemplateError, scan};

/// Compiles `%NAME%`, `%NAME(argument)%` and either with `:length`; `%%` is a per cent sign.
pub(super) fn compile(text: &str) -> Result<Template, TemplateError> {
    let mut parts = Parts::default();
    let mut rest = text.trim_end_matches('\n').as_bytes();
    let whole = rest.len();
    while !rest.is_empty() {
        let (literal, after) = template::up_to(rest, b'%');
        parts.literal(literal);
        let Some(inside) = after.strip_prefix(b"%") else {
            break;
        };
        if let Some(after) = inside.strip_prefix(b"%") {
            parts.literal(b"%");
            rest = after;
            continue;
        }
        let unended = TemplateError::Unended(whole - after.len());
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let end = inside.iter().take_while(is_name).count();
        let (name, after) = inside.split_at_checked(end).unwrap_or((inside, b""));
        // An argument may hold per cent signs: `%START_TIME(%Y/%m)%`.
        let (argument, after) = match after.strip_prefix(b"(") {
            Some(inside) => scan::split(inside, b")").ok_or_else(|| unended.clone())?,
            None => (&b""[..], after),
        };
        parts.field(field(name, argument), false);
        rest = scan::split(after, b"%").ok_or(unended)?.1;
    }
    parts.template()
}

fn field(name: &[u8], argument: &[u8]) -> Field {
    match name {
        b"START_TIME" => Field::Time,
        b"REQ" | b"REQUEST_HEADER" => header(&argument.to_ascii_lowercase()),
        b"RESP" if argument.eq_ignore_ascii_case(b"x-envoy-upstream-service-time") => {
            Field::ServiceMs
        }
        b"RESPONSE_CODE" => Field::Status,
        b"RESPONSE_FLAGS" => Field::Flags,
        b"RESPONSE_CODE_DETAILS" => Field::Details,
        b"UPSTREAM_TRANSPORT_FAILURE_REASON" => Field::Transport,
        b"CONNECTION_TERMINATION_DETAILS" => Field::Termination,
        b"UPSTREAM_HOST" | b"UPSTREAM_REMOTE_ADDRESS" => Field::Address,
        b"UPSTREAM_CLUSTER" | b"UPSTREAM_CLUSTER_RAW" => Field::Backend,
        b"DURATION" => Field::DurationMs,
        b"BYTES_RECEIVED" => Field::Received,
        b"BYTES_SENT" => Field::Sent,
        b"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
        | b"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Field::Client,
        b"DOWNSTREAM_REMOTE_ADDRESS" | b"DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Field::ClientPort,
        b"UPSTREAM_REQUEST_ATTEMPT_COUNT" => Field::Attempts,
        b"UPSTREAM_LOCAL_ADDRESS" => Field::OwnAddress,
        _ => Field::Skip,
    }
}

fn header(name: &[u8]) -> Field {
    match name {
        b":method" => Field::Method,
        b":path" | b"x-envoy-original-path?:path" | b"x-envoy-original-path" => Field::Target,
        b":authority" | b"host" => Field::Host,
        b"user-agent" => Field::Agent,
        b"x-request-id" => Field::Id,
        _ => Field::Skip,
    }
}

/// The keys that Envoy's examples, Istio and most people use.
pub(super) fn json_field(key: &[u8]) -> Field {
    match key {
        b"start_time" | b"time" | b"timestamp" | b"@timestamp" => Field::Time,
        b"method" | b":method" | b"request_method" => Field::Method,
        b"path" | b":path" | b"uri" | b"x-envoy-original-path" => Field::Target,
        b"authority" | b":authority" | b"host" => Field::Host,
        b"user_agent" | b"user-agent" => Field::Agent,
        b"request_id" | b"x-request-id" | b"x_request_id" => Field::Id,
        b"response_code" | b"status" | b"response_status" => Field::Status,
        b"response_flags" => Field::Flags,
        b"response_code_details" => Field::Details,
        b"upstream_transport_failure_reason" => Field::Transport,
        b"connection_termination_details" => Field::Termination,
        b"upstream_host" => Field::Address,
        b"upstream_cluster" | b"upstream_cluster_raw" => Field::Backend,
        b"duration" => Field::DurationMs,
        b"upstream_service_time" | b"x-envoy-upstream-service-time" => Field::ServiceMs,
        b"bytes_received" => Field::Received,
        b"bytes_sent" => Field::Sent,
        b"downstream_remote_address" => Field::ClientPort,
        b"downstream_remote_address_without_port" => Field::Client,
        b"upstream_request_attempt_count" => Field::Attempts,
        b"upstream_local_address" => Field::OwnAddress,
        _ => Field::Skip,
    }
}
