//! `health`: active checks.

use std::time::Duration;

use clearway_balance::health;

use super::backend::SendProxy;
use super::{concept, table_value};
use crate::value::{
    HeaderName, HeaderValue, HostPattern, MethodName, Pairs, Pattern, Statuses, Text, choices,
};

concept! {
    /// Active checks of a backend's servers. Without this section there are none.
    Health, "health", finish settle_kind;

    /// What is done. With a `path` the default is `"http"`, with `grpc` it is `"grpc"`, with `steps` it is
    /// `"script"`.
    kind: HealthKind = HealthKind::Tcp, always = true, example = Some("\"http\"");
    /// The service that the health service of gRPC is asked for; `""` = the server as a whole.
    grpc: Option<String> = None, example = Some("\"shop.Cart\"");
    /// What a script does, in its order. Where the first step does not connect, that is done before.
    steps: Vec<CheckStep> = Vec::new(),
        example = Some("[{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]");
    /// The path to ask for, with query.
    path: HeaderValue = HeaderValue::parse("/").unwrap_or_default(), example = Some("\"/health\"");
    /// The method to ask with.
    method: MethodName = MethodName::parse("GET").unwrap_or_default(), example = Some("\"HEAD\"");
    /// The `Host` to ask for; the server's address when absent.
    host: Option<HostPattern> = None, example = Some("\"app.example.org\"");
    /// Further headers.
    headers: Pairs<HeaderName, HeaderValue> = Pairs::default(), example = Some("{ x-check = \"yes\" }");
    /// The statuses of a healthy answer.
    expect: Statuses = Statuses::range(200, 399), example = Some("[200, \"3xx\"]");
    /// What the first 64 KiB of the body have to contain.
    body: Option<Pattern> = None, example = Some("\"~ ^ok\"");
    /// Whether the body must not contain that instead.
    body_absent: bool = false, example = Some("true");
    /// Statuses that drain a server that is up: it gets requests of clients alone that stick to it, until an
    /// answer is healthy again.
    drain_on: Option<Statuses> = None, example = Some("[404]");
    /// What of real traffic is looked at besides; errors in a row say then what a check could have said.
    observe: Observe = Observe::Off, example = Some("\"http\"");
    /// Errors in a row that say it.
    error_limit: u32 = 10, range = Some((1.0, 1_000_000.0)), example = Some("50");
    /// What follows from errors in a row, besides checks in the fast interval.
    on_error: AfterErrors = AfterErrors::FailCheck, example = Some("\"mark_down\"");
    /// The port to ask, instead of the server's own.
    port: Option<u16> = None, range = Some((1.0, 65_535.0)), example = Some("9000");
    /// Whether the check speaks TLS where the backend does.
    tls: bool = true, example = Some("false");
    /// Time between checks while nothing happens.
    interval: Duration = Duration::from_secs(2), range = Some((0.01, 86_400.0));
    /// Time between checks while the server is down or changing.
    fast_interval: Duration = Duration::from_secs(1), range = Some((0.01, 86_400.0));
    /// How long a check may take.
    timeout: Duration = Duration::from_secs(1), range = Some((0.001, 3_600.0));
    /// Passed checks in a row that bring a server up.
    rise: u32 = 2, range = Some((1.0, 1_000.0));
    /// Failed checks in a row that take a server down.
    fall: u32 = 3, range = Some((1.0, 1_000.0));
    /// Part of the interval by which it varies, so that many checks do not run in step.
    jitter: f64 = 0.1, range = Some((0.0, 1.0));
}
table_value!(Health);

choices! {
    /// What a health check does.
    HealthKind {
        /// It connects.
        Tcp = "tcp",
        /// It asks for a path and looks at the answer: over HTTP/2 if `protocol` is `"h2"` and the check has
        /// no `port` of its own; with TLS, unless `protocol` is `"http1"`, over what is agreed on.
        Http = "http",
        /// It follows `steps`.
        Script = "script",
        /// It asks the health service of gRPC, `grpc.health.v1.Health`, over HTTP/2 whether a service is
        /// `SERVING`.
        Grpc = "grpc",
    }
}

choices! {
    /// What of real traffic is looked at beside checks.
    Observe {
        /// Nothing.
        Off = "off",
        /// Whether connections are made.
        Tcp = "tcp",
        /// That, whether answers come that HTTP allows, and whether their status is below 500.
        Http = "http",
    }
}

choices! {
    /// What follows from errors in a row.
    AfterErrors {
        /// The next check comes soon.
        Fastinter = "fastinter",
        /// It is as if a check had failed.
        FailCheck = "fail_check",
        /// It is as if all checks but one had failed that take a server down.
        SuddenDeath = "sudden_death",
        /// The server is down, until checks bring it up.
        MarkDown = "mark_down",
    }
}

choices! {
    /// What a check is that fails at a step.
    CheckFailure {
        /// The server says something else.
        Body = "body",
        /// The server says that something is wrong.
        Status = "status",
        /// The server does not speak TLS.
        Tls = "tls",
    }
}

concept! {
    /// One step of a script: it connects, sends or looks at what came since something was sent.
    CheckStep, "health.steps";

    /// Whether a new connection is opened.
    connect: bool = false, example = Some("true");
    /// The port to connect to, instead of the server's own.
    port: Option<u16> = None, range = Some((1.0, 65_535.0)), example = Some("9000");
    /// Whether TLS is spoken on it, instead of what is spoken with the server. Where the server speaks
    /// plainly its certificate is not verified.
    tls: Option<bool> = None, example = Some("true");
    /// The PROXY header that comes first on it, instead of that of the server.
    send_proxy: Option<SendProxy> = None, example = Some("\"v1\"");
    /// Text to send.
    send: Option<String> = None, example = Some("\"PING\\r\\n\"");
    /// Bytes to send, in hexadecimal.
    send_hex: Option<String> = None, example = Some("\"0d0a\"");
    /// Text that has to come.
    expect: Option<Pattern> = None, example = Some("\"~ ^220 \"");
    /// Bytes that have to come, in hexadecimal.
    expect_hex: Option<String> = None, example = Some("\"0d0a\"");
    /// The place of the bytes of `expect_hex`, from 0; anywhere when absent.
    at: Option<u32> = None, range = Some((0.0, 65_535.0)), example = Some("4");
    /// Whether that must not come instead.
    absent: bool = false, example = Some("true");
    /// Bytes that have to have come before it is decided.
    least_bytes: u32 = 0, range = Some((0.0, 65_536.0)), example = Some("5");
    /// What it is when something else comes.
    fail_as: CheckFailure = CheckFailure::Body, example = Some("\"status\"");
    /// What is told when the check passes with this step.
    pass_words: Option<String> = None, example = Some("\"the database is there\"");
    /// What is told when it fails at this step, in place of what came.
    fail_words: Option<String> = None, example = Some("\"no database\"");
    /// Place in what came of a status that is told, from 0: three digits.
    status_at: Option<u32> = None, range = Some((0.0, 65_535.0)), example = Some("0");
    /// How many bytes the status has instead, the lowest first; 0 means digits.
    status_bytes: u32 = 0, range = Some((0.0, 2.0)), example = Some("2");
    /// Place in what came of words that are told, up to the end of the line, from 0.
    words_at: Option<u32> = None, range = Some((0.0, 65_535.0)), example = Some("4");
}
table_value!(CheckStep);

impl CheckStep {
    /// Bytes in hexadecimal; none where they are no such.
    #[must_use]
    pub fn bytes(text: &str) -> Option<Vec<u8>> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        bytes.filter(|_| rest.is_empty())
    }
}

/// Settings of an HTTP check without `kind` mean an HTTP check, a service one by gRPC.
fn settle_kind(health: &mut Health) {
    if health.origins.field("kind").is_some() {
        return;
    }
    let http = ["path", "method", "host", "headers", "expect", "body"];
    if !health.steps.is_empty() {
        health.kind = HealthKind::Script;
    } else if health.grpc.is_some() {
        health.kind = HealthKind::Grpc;
    } else if http.iter().any(|key| health.origins.field(key).is_some()) {
        health.kind = HealthKind::Http;
    }
}

impl Health {
    /// As the health machine wants it.
    #[must_use]
    pub fn policy(&self) -> health::Policy {
        health::Policy {
            rise: self.rise,
            fall: self.fall,
            interval: self.interval,
            fast_interval: self.fast_interval,
            jitter: self.jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_machines_own() {
        assert_eq!(Health::default().policy(), health::Policy::default());
    }
}
