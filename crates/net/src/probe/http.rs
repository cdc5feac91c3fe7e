//! The probe that sends a request over HTTP and judges the answer.

use std::fmt;

use clearway_http::{ChunkedDecoder, Framing, HeadLimits, Method, Progress, ResponseHead};
use clearway_outcome::FaultKind;
use regex::bytes::Regex;

use super::visit::{Failure, READ_MAX, Visit};
use crate::connect::Target;

/// Interim (1xx) responses that may come before the final one.
const INTERIM_MAX: usize = 16;
/// Bytes of an unexpected body that are shown.
const SHOWN: usize = 80;

/// What the probe asks and expects.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// Request method.
    pub method: String,
    /// Request target: path and query.
    pub target: String,
    /// `Host`; the server's address when `None`.
    pub host: Option<String>,
    /// Further headers; `User-Agent` and `Connection` replace those sent otherwise.
    pub headers: Vec<(String, String)>,
    /// Statuses that pass.
    pub expect: Statuses,
    /// What the first 64 KiB of the body must match.
    pub body: Option<BodyMatch>,
    /// The body must not match instead.
    pub body_absent: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            target: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            expect: Statuses::default(),
            body: None,
            body_absent: false,
        }
    }
}

/// Sends a request and judges the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    settings: HttpSettings,
    method: Method,
}

impl Http {
    /// A probe; what it sends is checked here once.
    ///
    /// # Errors
    /// A sentence about what HTTP does not allow.
    pub fn new(settings: HttpSettings) -> Result<Self, String> {
        let HttpSettings {
            method,
            target,
            host,
            headers,
            ..
        } = &settings;
        if !is_token(method) || method == "CONNECT" {
            return Err(format!("{method:?} is not a method for a health check"));
        }
        let asterisk = target == "*" && method == "OPTIONS";
        if !is_printable(target) || target.contains('#') || !(target.starts_with('/') || asterisk) {
            return Err(format!(
                "{target:?} is not a path: it begins with \"/\" and has no spaces"
            ));
        }
        if let Some(host) = host.as_ref().filter(|host| !is_printable(host)) {
            return Err(format!("{host:?} is not a value for Host"));
        }
        for (name, value) in headers {
            is_header(name, value)?;
        }
        let method = Method::of(method.as_bytes());
        Ok(Self { settings, method })
    }

    fn request(&self, target: &Target) -> Vec<u8> {
        let settings = &self.settings;
        let has = |name: &str| {
            settings
                .headers
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let mut out = format!("{} {} HTTP/1.1\r\n", settings.method, settings.target);
        let mut line = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(": ");
            out.push_str(value);
            out.push_str("\r\n");
        };
        if !has("host") {
            match &settings.host {
                Some(host) => line("Host", host),
                None => line("Host", &authority(target)),
            }
        }
        if !has("user-agent") {
            line("User-Agent", "Clearway health check");
        }
        if !has("connection") {
            line("Connection", "close");
        }
        // A method with a meaning for content needs to say that there is none (RFC 9110 8.6).
        if matches!(self.method, Method::Post | Method::Put | Method::Patch) {
            line("Content-Length", "0");
        }
        for (name, value) in &settings.headers {
            line(name, value);
        }
        out.push_str("\r\n");
        out.into_bytes()
    }

    pub(super) async fn check(
        &self,
        visit: &mut Visit,
        target: &Target,
    ) -> Result<String, Failure> {
        visit.send(&self.request(target)).await?;
        visit.sent();
        let mut head = ResponseHead::default();
        read_head(visit, &mut head, self.method, &HeadLimits::default()).await?;
        visit.head_done(head.status);
        let reason = head.reason.of(&visit.buf).escape_ascii().to_string();
        let status = format!("{} {reason}", head.status).trim_end().to_owned();
        visit.buf.drain(..head.len);
        if head.framing == Framing::None {
            visit.finished();
        }
        if !self.settings.expect.contains(head.status) {
            let mut words = format!("the status is {status}, expected {}", self.settings.expect);
            if head.framing != Framing::Chunked && !visit.buf.is_empty() {
                words.push_str(&format!("; the body begins {}", excerpt(&visit.buf)));
            }
            return Err(Failure::new(FaultKind::ProbeStatus, words));
        }
        let Some(expected) = &self.settings.body else {
            if head.framing == Framing::Length(visit.buf.len() as u64) {
                visit.finished();
            }
            return Ok(status);
        };
        let body = read_body(visit, head.framing).await?;
        if expected.matches(&body) != self.settings.body_absent {
            return Ok(format!("{status}, body as expected,"));
        }
        if self.settings.body_absent {
            let words = format!("{status}, but the body is one that it must not be");
            return Err(Failure::new(FaultKind::ProbeBody, words));
        }
        let words = format!(
            "{status}, but the body {expected}: it begins {}",
            excerpt(&body)
        );
        Err(Failure::new(FaultKind::ProbeBody, words))
    }
}

/// Reads until the head of the final response is complete at the start of the buffer.
pub(super) async fn read_head(
    visit: &mut Visit,
    head: &mut ResponseHead,
    method: Method,
    limits: &HeadLimits,
) -> Result<(), Failure> {
    let mut interim = 0;
    loop {
        if visit.buf.is_empty() {
            if !visit.read().await? {
                return Err(visit.closed());
            }
            continue;
        }
        let parsed = head.parse(&visit.buf, limits, method);
        match parsed.map_err(|kind| unreadable(kind, &visit.buf))? {
            Progress::Partial => {
                if !visit.read().await? {
                    return Err(visit.closed());
                }
            }
            Progress::Complete if head.is_interim() => {
                interim += 1;
                if interim > INTERIM_MAX {
                    return Err(unreadable(FaultKind::TooManyInterim, &visit.buf));
                }
                visit.buf.drain(..head.len);
                visit.interim_done();
            }
            Progress::Complete => return Ok(()),
        }
    }
}

/// The body without its framing, or its first 64 KiB.
async fn read_body(visit: &mut Visit, framing: Framing) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let mut decoder = ChunkedDecoder::default();
    loop {
        let done = match framing {
            Framing::None => true,
            Framing::UntilClose => {
                body.append(&mut visit.buf);
                false
            }
            Framing::Length(length) => {
                body.append(&mut visit.buf);
                body.len() as u64 >= length
            }
            Framing::Chunked => extract(&mut decoder, &mut visit.buf, &mut body)?,
        };
        if let Framing::Length(length) = framing {
            body.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        if done {
            visit.finished();
        }
        if done || body.len() >= READ_MAX {
            body.truncate(READ_MAX);
            return Ok(body);
        }
        if !visit.read().await? {
            return if framing == Framing::UntilClose {
                Ok(body)
            } else {
                Err(visit.closed())
            };
        }
    }
}

/// Moves the data out of the chunks in `input`; says whether the last one was there.
pub(super) fn extract(
    decoder: &mut ChunkedDecoder,
    input: &mut Vec<u8>,
    body: &mut Vec<u8>,
) -> Result<bool, Failure> {
    loop {
        let step = decoder.extract(input, &mut Vec::new()).map_err(|_| {
            Failure::new(
                FaultKind::ResponseChunkInvalid,
                format!(
                    "the chunked framing of the body is broken near {}",
                    excerpt(input)
                ),
            )
        })?;
        let data = input
            .get(step.skip..step.skip + step.pass)
            .unwrap_or_default();
        body.extend_from_slice(data);
        input.drain(..step.used.min(input.len()));
        if step.done || step.used == 0 || input.is_empty() {
            return Ok(step.done);
        }
    }
}

fn unreadable(kind: FaultKind, buf: &[u8]) -> Failure {
    let words = format!("{} The response begins {}", kind.summary(), excerpt(buf));
    Failure::new(kind, words)
}

/// The first bytes, quoted.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let shown = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default();
    let more = if shown.len() < bytes.len() {
        " …"
    } else {
        ""
    };
    format!("\"{}\"{more}", shown.escape_ascii())
}

/// `Host` for a server that has no name: its address without the default port.
pub(super) fn authority(target: &Target) -> String {
    match target {
        Target::Ip(address) => {
            let text = address.to_string();
            text.strip_suffix(":80")
                .map_or_else(|| text.clone(), str::to_owned)
        }
        Target::Unix(_) => "localhost".to_owned(),
    }
}

/// Whether a text is a value without spaces.
pub(super) fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a check may send a header.
///
/// # Errors
/// Why not.
pub(super) fn is_header(name: &str, value: &str) -> Result<(), String> {
    let framing = ["content-length", "transfer-encoding"];
    if !is_token(name) || framing.iter().any(|f| name.eq_ignore_ascii_case(f)) {
        return Err(format!("{name:?} is not a header for a health check"));
    }
    if value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return Err(format!("the value of {name} has a control character"));
    }
    Ok(())
}

/// A method or header name (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let symbol = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || symbol(b))
}

/// A set of statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl FromIterator<(u16, u16)> for Statuses {
    /// The statuses of some ranges, both ends included.
    fn from_iter<T: IntoIterator<Item = (u16, u16)>>(ranges: T) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl Statuses {
    /// Whether a status is in the set.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|&(low, high)| (low..=high).contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
        }
        Ok(())
    }
}

/// What a body must look like.
#[derive(Clone, Debug)]
pub enum BodyMatch {
    /// It contains the text.
    Text(String),
    /// The expression matches somewhere.
    Pattern(Regex),
}

impl BodyMatch {
    /// A body in which an expression matches.
    ///
    /// # Errors
    /// What is wrong with the expression.
    pub fn pattern(expression: &str) -> Result<Self, String> {
        Regex::new(expression)
            .map(Self::Pattern)
            .map_err(|error| error.to_string())
    }

    /// Whether `body` is as expected.
    #[must_use]
    pub fn matches(&self, body: &[u8]) -> bool {
        match self {
            Self::Text(text) if text.is_empty() => true,
            Self::Text(text) => body.windows(text.len()).any(|part| part == text.as_bytes()),
            Self::Pattern(pattern) => pattern.is_match(body),
        }
    }
}

impl PartialEq for BodyMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(two)) => one == two,
            (Self::Pattern(one), Self::Pattern(two)) => one.as_str() == two.as_str(),
            (Self::Text(_), Self::Pattern(_)) | (Self::Pattern(_), Self::Text(_)) => false,
        }
    }
}

impl fmt::Display for BodyMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "does not contain {text:?}"),
            Self::Pattern(pattern) => write!(f, "does not match {:?}", pattern.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
