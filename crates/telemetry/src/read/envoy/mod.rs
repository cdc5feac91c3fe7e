//! Envoy's access log: the default text, Istio's, any text format, JSON with the usual keys.

mod flags;
mod format;
mod ports;

use clearway_outcome::{Sighting, Speaker, Suspects};

use super::field::{Field, Fields};
use super::template::{self, Template};
use super::{Context, TemplateError, json, scan, server_of};
use ports::Ports;

const DEFAULT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
     %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
     \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";

/// What Istio sets.
const MESH: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% \
     %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
     %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
     %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
     \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" \
     %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ";

/// Reads the lines.
pub(super) struct Lines {
    templates: Vec<Template>,
    /// Words before each line that are not part of the format.
    prefix: usize,
    ports: Ports,
}

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        let mut templates = Vec::new();
        if let Some(text) = text {
            templates.push(format::compile(text)?);
        }
        templates.push(format::compile(DEFAULT)?);
        templates.push(format::compile(MESH)?);
        Ok(Self {
            templates,
            prefix: 0,
            ports: Ports::default(),
        })
    }

    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        if line.starts_with(b"{")
            && let Some(fields) = from_json(line)
        {
            read(&fields, &mut self.ports, context);
            return true;
        }
        for template in &self.templates {
            let cut = |rest| template.cut(rest).filter(is_plausible);
            if let Some(fields) = template::cut_behind_prefix(line, &mut self.prefix, cut) {
                read(&fields, &mut self.ports, context);
                return true;
            }
        }
        false
    }
}

/// Whether these are values of this format, and not of another that has spaces in the same places.
fn is_plausible(fields: &Fields<'_>) -> bool {
    let is_flag = |byte: &u8| byte.is_ascii_uppercase() || *byte == b',';
    let is_number = |field| {
        let value = fields.get(field);
        !fields.has(field) || value.is_empty() || scan::number(value).is_some()
    };
    [
        Field::Status,
        Field::Received,
        Field::Sent,
        Field::DurationMs,
    ]
    .into_iter()
    .all(is_number)
        && fields.get(Field::Flags).iter().all(is_flag)
}

/// A line of JSON; it is Envoy's where it has the response's flags or their details.
fn from_json(line: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields::EMPTY;
    json::each(line, |key, value| {
        let field = format::json_field(key);
        if field != Field::Skip && !fields.has(field) {
            fields.set(field, if value == b"null" { b"" } else { value });
        }
    })?;
    let is_own = fields.has(Field::Flags) || fields.has(Field::Details);
    (is_own && is_plausible(&fields)).then_some(fields)
}

fn read(fields: &Fields<'_>, ports: &mut Ports, context: &mut Context<'_>) {
    let began = fields.at(context.zone);
    context.stats.time(began);
    let status = scan::status(fields.get(Field::Status)).unwrap_or(0);
    context.stats.status(status);
    let key = (fields.get(Field::Backend), fields.get(Field::Address));
    let took = scan::millis(fields.get(Field::ServiceMs));
    let took = took.or_else(|| scan::millis(fields.get(Field::DurationMs)));
    let has_no_flag = fields.get(Field::Flags).is_empty();
    let own = if has_no_flag && status >= 400 {
        flags::own(fields.get(Field::Details), &mut context.scratch.plain)
    } else {
        None
    };
    let is_normal = has_no_flag && own.is_none();
    if is_normal && status < 500 {
        ports.used(fields, began);
        return context
            .stats
            .answered(key, status, took, began, fields.path());
    }
    let mut sighting = Sighting::of(Speaker::Envoy, context.place);
    describe(fields, began, &mut sighting);
    sighting.reuse = ports.reuse(fields, began);
    if let Some(said) = own {
        (sighting.suspects, sighting.remark) = said;
    } else if is_normal {
        let details = fields.get(Field::Details);
        let is_by_server = details.is_empty() || details == b"via_upstream";
        if is_by_server && !sighting.address.is_empty() {
            sighting.server_status = status;
            context
                .stats
                .answered(server_of(&sighting), status, took, began, b"");
        }
    } else {
        flags::judge(fields, &mut sighting, &mut context.scratch.plain);
    }
    words(fields, context);
    context.tell(sighting);
}

fn describe<'a>(fields: &Fields<'a>, began: Option<i64>, sighting: &mut Sighting<'a>) {
    fields.describe(sighting);
    if fields.has(Field::ClientPort) || sighting.client.contains('.') {
        // `%DOWNSTREAM_REMOTE_ADDRESS%` comes with a port; X-Forwarded-For is a list.
        let first = scan::before(sighting.client.as_bytes(), b',');
        let bare = if scan::has(first, ".") {
            scan::before(first, b':')
        } else {
            first
        };
        sighting.client = scan::text(bare);
    }
    sighting.address = fields.text(Field::Address);
    let duration = scan::millis(fields.get(Field::DurationMs));
    sighting.elapsed_us = duration;
    sighting.header_us = scan::millis(fields.get(Field::ServiceMs));
    let duration = duration.and_then(|duration| i64::try_from(duration).ok());
    sighting.at_us = began.map(|began| began.saturating_add(duration.unwrap_or(0)));
    sighting.request_bytes = scan::number(fields.get(Field::Received));
    let tries = scan::number(fields.get(Field::Attempts)).and_then(|n| u32::try_from(n).ok());
    sighting.attempt = tries.map_or((0, 0), |tries| (tries, tries));
    sighting.suspects = Suspects::NONE;
}

/// `503 UF upstream_reset_before_response_started{…} TLS_error:…`.
fn words(fields: &Fields<'_>, context: &mut Context<'_>) {
    let words = &mut context.scratch.words;
    words.clear();
    let said = [
        Field::Status,
        Field::Flags,
        Field::Details,
        Field::Transport,
        Field::Termination,
    ];
    for value in said.map(|field| fields.get(field)) {
        if !value.is_empty() {
            if !words.is_empty() {
                words.push(' ');
            }
            scan::push_words(words, value);
        }
    }
}

#[cfg(test)]
mod tests;
