//! The probe that asks the health service of gRPC (`grpc.health.v1.Health/Check`).

use clearway_http::{HeadLimits, Method, ResponseHead};
use clearway_outcome::{FaultKind, GrpcStatus};

use super::http::{self, authority, excerpt, is_header, is_printable};
use super::visit::{Failure, READ_MAX, Visit};
use crate::connect::Target;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The one field of both messages, number 1: a name in the request, a number in the response.
const NAME_FIELD: u8 = 1 << 3 | 2;
const STATUS_FIELD: u8 = 1 << 3;

/// What the probe asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcSettings {
    /// The service to ask for; empty = the server as a whole.
    pub service: String,
    /// The authority of the request; the server's address when `None`.
    pub host: Option<String>,
    /// Further headers: metadata.
    pub headers: Vec<(String, String)>,
}

/// Asks the health service over HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    settings: GrpcSettings,
}

/// What a health service says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Unknown,
    Serving,
    NotServing,
    ServiceUnknown,
    Other(u64),
}

impl Grpc {
    /// A probe; what it sends is checked here once.
    ///
    /// # Errors
    /// A sentence about what HTTP does not allow.
    pub fn new(settings: GrpcSettings) -> Result<Self, String> {
        if let Some(host) = settings.host.as_ref().filter(|host| !is_printable(host)) {
            return Err(format!("{host:?} is not a value for Host"));
        }
        for (name, value) in &settings.headers {
            is_header(name, value)?;
        }
        Ok(Self { settings })
    }

    fn head(&self, target: &Target) -> String {
        let host = self.settings.host.clone();
        let host = host.unwrap_or_else(|| authority(target));
        let mut head = format!(
            "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/grpc\r\n\
             TE: trailers\r\nTransfer-Encoding: chunked\r\n"
        );
        let has_agent = |(name, _): &(String, String)| name.eq_ignore_ascii_case("user-agent");
        if !self.settings.headers.iter().any(has_agent) {
            head.push_str("User-Agent: Clearway health check\r\n");
        }
        for (name, value) in &self.settings.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head
    }

    pub(super) async fn check(
        &self,
        visit: &mut Visit,
        target: &Target,
    ) -> Result<String, Failure> {
        visit.send(self.head(target).as_bytes()).await?;
        visit.send(&request(&self.settings.service)).await?;
        visit.end()?;
        visit.sent();
        let mut head = ResponseHead::default();
        http::read_head(visit, &mut head, Method::Post, &HeadLimits::default()).await?;
        visit.head_done(head.status);
        if head.status != 200 {
            let words = format!(
                "the status is {}, expected 200: whoever answers does not speak gRPC",
                head.status
            );
            return Err(Failure::new(FaultKind::ProbeStatus, words));
        }
        let text = |name| {
            let value = head.header(name, &visit.buf).unwrap_or_default();
            value.escape_ascii().to_string()
        };
        let (content_type, mut status, mut message) = (
            text("content-type"),
            text("grpc-status"),
            text("grpc-message"),
        );
        if !content_type.starts_with("application/grpc") {
            let words =
                format!("the answer is no answer of gRPC: its content-type is \"{content_type}\"");
            return Err(Failure::new(FaultKind::ProbeBody, words));
        }
        visit.buf.drain(..head.len);
        while visit.buf.len() < READ_MAX && visit.read().await? {}
        visit.finished();
        for line in visit.trailers().split(|&b| b == b'\n') {
            if let Some(value) = line.strip_prefix(b"grpc-status:") {
                status = value.trim_ascii().escape_ascii().to_string();
            } else if let Some(value) = line.strip_prefix(b"grpc-message:") {
                message = value.trim_ascii().escape_ascii().to_string();
            }
        }
        match GrpcStatus::parse(status.as_bytes()) {
            Some(GrpcStatus(0)) => self.judge(&visit.buf),
            Some(status) => Err(self.failed(status, &message)),
            None => Err(Failure::new(
                FaultKind::ProbeStatus,
                "the answer has no grpc-status".to_owned(),
            )),
        }
    }

    /// Judges the message of a call that went well.
    fn judge(&self, body: &[u8]) -> Result<String, Failure> {
        let Some(health) = response(body) else {
            let words = format!("the answer is no health of a service: {}", excerpt(body));
            return Err(Failure::new(FaultKind::ProbeBody, words));
        };
        let who = self.who();
        let words = match health {
            Health::Serving => return Ok(format!("{who} is SERVING")),
            Health::NotServing => format!("{who} is NOT_SERVING"),
            Health::Unknown => format!("the health of {who} is UNKNOWN"),
            Health::ServiceUnknown => format!("the server does not know {who} (SERVICE_UNKNOWN)"),
            Health::Other(number) => format!("{who} has health {number}, which has no meaning"),
        };
        Err(Failure::new(FaultKind::ProbeStatus, words))
    }

    /// What the failure of the call itself means.
    fn failed(&self, status: GrpcStatus, message: &str) -> Failure {
        let name = status.name();
        let said = if message.is_empty() {
            name.to_owned()
        } else {
            format!("{name}: {message}")
        };
        let words = match name {
            "NOT_FOUND" => format!("the server does not know {} ({said})", self.who()),
            "UNIMPLEMENTED" => format!("the server has no health service ({said})"),
            _ => format!("the health service failed ({said})"),
        };
        Failure::new(FaultKind::ProbeStatus, words)
    }

    fn who(&self) -> String {
        match self.settings.service.as_str() {
            "" => "the server".to_owned(),
            service => format!("the service {service:?}"),
        }
    }
}

/// A `HealthCheckRequest` with what goes before a message.
fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(NAME_FIELD);
        let mut rest = service.len();
        while rest > 0x7f {
            let [.., low] = rest.to_be_bytes();
            message.push(low | 0x80);
            rest >>= 7;
        }
        let [.., low] = rest.to_be_bytes();
        message.push(low);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut out = vec![0];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&message);
    out
}

/// Reads a `HealthCheckResponse` with what goes before it; a field that is not there is 0.
fn response(body: &[u8]) -> Option<Health> {
    let (prefix, mut rest) = body.split_at_checked(PREFIX)?;
    let [0, length @ ..] = prefix else {
        return None;
    };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if rest.len() as u64 != u64::from(length) {
        return None;
    }
    let mut status = 0;
    while !rest.is_empty() {
        let tag = number(&mut rest)?;
        if tag == u64::from(STATUS_FIELD) {
            status = number(&mut rest)?;
        } else {
            skip(tag, &mut rest)?;
        }
    }
    Some(match status {
        0 => Health::Unknown,
        1 => Health::Serving,
        2 => Health::NotServing,
        3 => Health::ServiceUnknown,
        other => Health::Other(other),
    })
}

/// Takes a number of variable length.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, more) = rest.split_first()?;
        *rest = more;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Skips a field that is not known: it may have been added since.
fn skip(tag: u64, rest: &mut &[u8]) -> Option<()> {
    let length = match tag & 7 {
        0 => return number(rest).map(drop),
        1 => 8,
        2 => usize::try_from(number(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    *rest = rest.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_their_service() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
        assert_eq!(long.len(), 308);
    }

    #[test]
    fn responses_are_read() {
        let with = |message: &[u8]| {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            response(&[&[0], &length[..], message].concat())
        };
        assert_eq!(with(&[]), Some(Health::Unknown));
        assert_eq!(with(&[8, 1]), Some(Health::Serving));
        assert_eq!(with(&[8, 2]), Some(Health::NotServing));
        assert_eq!(with(&[8, 3]), Some(Health::ServiceUnknown));
        assert_eq!(with(&[8, 0xac, 2]), Some(Health::Other(300)));
        // Fields to come are skipped, and the last of a field counts.
        let more = [18, 2, 9, 9, 8, 2, 24, 5, 37, 0, 0, 0, 0, 8, 1];
        assert_eq!(with(&more), Some(Health::Serving));
        let eight = [33, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1];
        assert_eq!(with(&eight), Some(Health::Serving));
    }

    #[test]
    fn what_is_no_response_is_none() {
        for body in [
            &[][..],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 3, 8, 1],
            &[0, 0, 0, 0, 1, 8, 1],
            // Compressed, which nobody asked for.
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 3, 18, 9, 9],
            &[0, 0, 0, 0, 1, 11],
            &[
                0, 0, 0, 0, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
            ],
        ] {
            assert_eq!(response(body), None, "{body:?}");
        }
    }

    #[test]
    fn what_http_does_not_allow_is_refused() {
        let with = |name: &str, value: &str| {
            Grpc::new(GrpcSettings {
                headers: vec![(name.to_owned(), value.to_owned())],
                ..GrpcSettings::default()
            })
        };
        with("authorization", "Bearer x").unwrap();
        with("a b", "x").unwrap_err();
        with("x", "a\r\nb: c").unwrap_err();
        with("content-length", "5").unwrap_err();
    }
}
