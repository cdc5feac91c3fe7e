//! What does the server answer to this request?

use std::fmt::Write as _;

use clearway_http::{ChunkedDecoder, Framing, HeadLimits, Method, ResponseHead, Tolerance};
use clearway_outcome::{Answered, Reply};
use tokio::time::timeout;

use super::{Aim, Failure};
use crate::connect::Target;
use crate::probe::http::{authority, extract, is_header, is_printable, read_head};
use crate::probe::visit::Visit;

/// Servers are held to what is right.
const NOTHING: Tolerance = Tolerance {
    missing_host: false,
    bare_lf: false,
    repeated_length: false,
    length_and_chunks: false,
    wide_targets: false,
    any_bytes: false,
    extra_spaces: false,
};

/// Heads are read far beyond what the balancer takes, so that it shows how large they are.
const LIMITS: HeadLimits = HeadLimits {
    line: 64 << 10,
    bytes: 1 << 20,
    count: 10_000,
    tolerates: NOTHING,
};
/// Bytes of a header value that are kept.
const VALUE_MAX: usize = 256;
/// Bytes of padding in one header line: servers limit those, too.
const PADDING_LINE: usize = 2_000;

/// The methods that a probe may use: those that ask for nothing but an answer (RFC 9110 section 9.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SafeMethod {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

impl SafeMethod {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSettings {
    /// How.
    pub method: SafeMethod,
    /// Path and query; `*` for OPTIONS.
    pub target: String,
    /// `Host`; the server's address when `None`.
    pub host: Option<String>,
    /// Further headers. Those that frame a body are refused.
    pub headers: Vec<(String, String)>,
    /// Bytes by which headers without a meaning make the request larger: several thousand need several
    /// segments of full size.
    pub padding: usize,
    /// Bytes of the body that are read.
    pub body_max: u64,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            method: SafeMethod::Get,
            target: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            padding: 0,
            body_max: 1 << 20,
        }
    }
}

/// A request that HTTP allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    settings: RequestSettings,
}

impl Request {
    /// Checks what is asked.
    ///
    /// # Errors
    /// A sentence about what HTTP does not allow.
    pub fn new(settings: RequestSettings) -> Result<Self, String> {
        let target = settings.target.as_str();
        let asterisk = target == "*" && settings.method == SafeMethod::Options;
        if !is_printable(target) || target.contains('#') || !(target.starts_with('/') || asterisk) {
            return Err(format!("{target:?} is not a path"));
        }
        if let Some(host) = settings.host.as_ref().filter(|host| !is_printable(host)) {
            return Err(format!("{host:?} is not a value for Host"));
        }
        for (name, value) in &settings.headers {
            is_header(name, value)?;
        }
        Ok(Self { settings })
    }

    fn method(&self) -> Method {
        Method::of(self.settings.method.name().as_bytes())
    }

    pub(super) fn text(&self, target: &Target, keep: bool) -> String {
        let settings = &self.settings;
        let host = settings.host.clone();
        let mut out = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            settings.method.name(),
            settings.target,
            host.unwrap_or_else(|| authority(target)),
        );
        let mut line = |name: &str, value: &str| {
            // Writing to a string does not fail.
            write!(out, "{name}: {value}\r\n").unwrap_or_default();
        };
        let has = |name: &str| {
            let mut names = settings.headers.iter().map(|(name, _)| name);
            names.any(|given| given.eq_ignore_ascii_case(name))
        };
        if !has("user-agent") {
            line("User-Agent", "Clearway probe");
        }
        if !has("connection") {
            line("Connection", if keep { "keep-alive" } else { "close" });
        }
        for (name, value) in &settings.headers {
            line(name, value);
        }
        let mut padding = settings.padding;
        while padding > 0 {
            let count = padding.min(PADDING_LINE);
            line("X-Clearway-Padding", &"x".repeat(count));
            padding -= count;
        }
        out.push_str("\r\n");
        out
    }
}

/// Sends a request and reads the answer. Up to 200 ms beyond the limit are taken for the rest of an
/// answer, so that the server sees no reset.
pub async fn request(aim: &Aim, request: &Request) -> Answered {
    let mut visit = aim.visit();
    let mut reply = Reply::default();
    let asked = ask(&mut visit, aim, request, &mut reply, Keep::No);
    let verdict = timeout(aim.limit, asked).await;
    let verdict = verdict.unwrap_or_else(|_| Err(visit.timed_out(aim.limit)));
    measure(&visit, &mut reply);
    let answered = Answered {
        ending: visit.ending,
        path: visit.tcp_path(),
        attempt: visit.testify(verdict.map(|()| "answered".to_owned())),
        reply,
    };
    visit.leave().await;
    answered
}

/// Whether the server is to keep the connection open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    No,
}

/// Sends a request and reads the answer up to its end or the most that is to be read.
pub(super) async fn ask(
    visit: &mut Visit,
    aim: &Aim,
    request: &Request,
    reply: &mut Reply,
    keep: Keep,
) -> Result<(), Failure> {
    aim.arrive(visit).await?;
    let text = request.text(&aim.target, keep == Keep::Yes);
    let sent = visit.send(text.as_bytes()).await;
    visit.sent();
    let mut head = ResponseHead::default();
    let read = read_head(visit, &mut head, request.method(), &LIMITS).await;
    // A server that refuses a request may answer before it has taken all of it.
    sent?;
    read?;
    visit.head_done(head.status);
    describe(&head, &visit.buf, reply);
    visit.buf.drain(..head.len.min(visit.buf.len()));
    drain(visit, head.framing, request.settings.body_max, reply).await
}

/// What the head says.
fn describe(head: &ResponseHead, buf: &[u8], reply: &mut Reply) {
    let value = |name| {
        let value = head.header(name, buf)?;
        let shown = value.get(..VALUE_MAX).unwrap_or(value);
        Some(shown.escape_ascii().to_string())
    };
    reply.status = head.status;
    reply.head_bytes = head.len;
    reply.head_lines = head.fields.len();
    reply.server = value("server");
    reply.via = value("via");
    reply.location = value("location");
    reply.date = value("date");
    reply.content_type = value("content-type");
    reply.keeps_alive = head.keep_alive;
    if let Framing::Length(length) = head.framing {
        reply.length = Some(length);
    }
}

/// Without a complete head: how much of it came.
pub(super) fn measure(visit: &Visit, reply: &mut Reply) {
    if reply.status == 0 {
        reply.head_bytes = visit.buf.len();
        let lines = memchr::memchr_iter(b'\n', &visit.buf).count();
        reply.head_lines = lines.saturating_sub(1);
    }
}

/// Reads the body without keeping it.
async fn drain(
    visit: &mut Visit,
    framing: Framing,
    max: u64,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let mut decoder = ChunkedDecoder::default();
    reply.is_whole = Some(false);
    loop {
        let before = visit.buf.len();
        let mut done = framing == Framing::None;
        if framing == Framing::Chunked {
            done = extract(&mut decoder, &mut visit.buf, &mut Vec::new())?;
        } else if let Framing::Length(length) = framing {
            let wanted = length.saturating_sub(reply.body_bytes);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            visit.buf.drain(..wanted.min(before));
            done = before >= wanted;
        } else if framing == Framing::UntilClose {
            visit.buf.clear();
        }
        reply.body_bytes += (before - visit.buf.len()) as u64;
        if done {
            visit.finished();
            reply.is_whole = Some(true);
            return Ok(());
        }
        if reply.body_bytes >= max {
            reply.is_whole = None;
            return Ok(());
        }
        if !visit.read().await? {
            if framing != Framing::UntilClose {
                return Err(visit.closed());
            }
            reply.is_whole = Some(true);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
