//! `[listener.NAME]`: where clients connect.

use std::time::Duration;

use ipnet::IpNet;

use super::cache::Caching;
use super::compression::CompressionOverrides;
use super::errors::ErrorPages;
use super::forwarded::Forwarding;
use super::limits::LimitOverrides;
use super::log::AccessLog;
use super::route::Rule;
use super::timeouts::TimeoutOverrides;
use super::tls::{ListenerTls, Passthrough};
use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{Bind, Identifier, Pairs, Reader, Spec, Value, choices};

concept! {
    /// Where clients connect.
    Listener, "[listener.NAME]", named name;

    /// Its addresses: `"0.0.0.0:80"`, `":80"` (all, IPv4 and IPv6), `"[::1]:80"`, `"unix:/path"`.
    bind: Vec<Bind> = Vec::new(), required = true, example = Some("[\":80\", \"unix:/run/web.sock\"]");
    /// What is spoken.
    mode: Mode = Mode::Http, example = Some("\"tcp\"");
    /// Where requests go that no route matches; when absent and there is just one backend, that one.
    backend: Option<Identifier> = None, example = Some("\"app\"");
    /// Whether requests that no route matches go to the only backend there is, where none is named.
    fallback: bool = true, example = Some("false");
    /// TLS with clients; they speak plain text when absent.
    tls: Option<ListenerTls> = None, example = Some("{ certificates = \"/etc/clearway/example.org.pem\" }");
    /// Where TLS connections go without being decrypted, by the name or protocol that they ask for; the
    /// first that matches, and `backend` when none does. For `mode = "tcp"`.
    passthrough: Vec<Passthrough> = Vec::new(),
        example = Some("[{ server_name = \"a.example.org\", backend = \"a\" }]");
    /// Whether HTTP/2 is spoken too: with TLS when it is agreed on (ALPN), without when the client begins
    /// with it.
    http2: bool = true, example = Some("false");
    /// Sends clients to this port over HTTPS, whatever they ask for; `true` = 443.
    https_redirect: Option<HttpsPort> = None, range = Some((1.0, 65_535.0)), example = Some("true");
    /// For how long browsers are to use nothing but HTTPS (`Strict-Transport-Security`, RFC 6797).
    hsts: Option<Duration> = None, example = Some("\"365d\"");
    /// Whether every connection begins with a PROXY header.
    proxy_protocol: ProxyProtocol = ProxyProtocol::Off, example = Some("\"accept\"");
    /// Who sends PROXY headers where not everybody does; others are served without. Everybody when empty.
    proxy_from: Vec<IpNet> = Vec::new(), example = Some("[\"10.0.0.0/8\"]");
    /// How long a way of `passthrough` waits for first bytes that it looks at as `payload`; then it is
    /// decided by what has come.
    inspect_delay: Duration = Duration::ZERO, example = Some("\"5s\"");
    /// Who may send PROXY headers and `X-Forwarded-*`.
    trusted: Vec<IpNet> = Vec::new(), example = Some("[\"10.0.0.0/8\"]");
    /// Connections that may wait to be accepted; the kernel's `net.core.somaxconn` caps it.
    backlog: u32 = 4_096, range = Some((1.0, 65_535.0));
    /// Whether the kernel hands connections over only when their first data has come. That saves work
    /// where clients send at once; a connection that is silent when the process stops is then lost.
    defer_accept: bool = false, example = Some("true");
    /// Whether a connection of HTTP/1 ends with its first response.
    close: bool = false, example = Some("true");
    /// What is taken of HTTP/1 requests although RFC 9112 wants it refused. It goes on to servers in the
    /// right form.
    tolerate: Vec<Tolerated> = Vec::new(), example = Some("[\"missing_host\"]");
    /// What servers are told about the client.
    forwarded: Forwarding = Forwarding::default(), example = Some("{ x_forwarded = \"replace\" }");
    /// Time-outs in place of those of the process.
    timeouts: TimeoutOverrides = TimeoutOverrides::default(), example = Some("{ client_idle = \"10s\" }");
    /// Limits in place of those of the process.
    limits: LimitOverrides = LimitOverrides::default(), example = Some("{ connections = 1000 }");
    /// Responses that are kept and given again.
    cache: Option<Caching> = None, example = Some("{ store = \"pages\" }");
    /// Compression in place of that of the process.
    compression: CompressionOverrides = CompressionOverrides::default(),
        example = Some("{ algorithms = [\"gzip\"] }");
    /// Pages in place of those of the process.
    errors: ErrorPages = Pairs::default(), example = Some("{ 503 = { body = \"Back soon.\" } }");
    /// Statuses of Clearway's own answers after which the connection is closed, besides those where it has to be.
    close_after: Vec<u16> = Vec::new(), range = Some((200.0, 599.0)), example = Some("[400, 500]");
    /// Its access logs in place of the process's; `[]` = none.
    access_logs: Option<Vec<AccessLog>> = None, key = "access_log",
        example = Some("[{ to = \"syslog:udp://127.0.0.1:514\", format = \"haproxy_http\" }]");
    /// What is done with all its requests, before a route is looked for. Routes are matched against
    /// the request as it came.
    rules: Vec<Rule> = Vec::new(), key = "rule",
        example = Some("[{ when = { path = \"/admin/\" }, deny = 403 }]");
}
table_value!(Listener);

choices! {
    /// What a listener speaks.
    Mode {
        /// HTTP/1.0, HTTP/1.1 and HTTP/2.
        Http = "http",
        /// Bytes, not looked at.
        Tcp = "tcp",
    }
}

choices! {
    /// Whether connections begin with a PROXY header.
    ProxyProtocol {
        /// They do not.
        Off = "off",
        /// They have to, version 1 or 2, from an address in `trusted`.
        Accept = "accept",
    }
}

choices! {
    /// What is taken although it is wrong.
    Tolerated {
        /// HTTP/1.1 without `Host`.
        MissingHost = "missing_host",
        /// Lines that end in a line feed alone, and empty lines before a request.
        BareLf = "bare_lf",
        /// `Content-Length` several times with the same value.
        RepeatedLength = "repeated_length",
        /// `Content-Length` beside chunks, which count, and chunks in HTTP/1.0; the connection ends with the
        /// request.
        LengthAndChunks = "length_and_chunks",
        /// Quotes, angle brackets and backslashes in targets.
        WideTargets = "wide_targets",
        /// Bytes above ASCII in targets, and any visible character in names of headers.
        AnyBytes = "any_bytes",
        /// Several spaces between the parts of a request line.
        ExtraSpaces = "extra_spaces",
    }
}

impl Listener {
    /// Whether it speaks HTTP.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.mode == Mode::Http
    }

    /// Whether connections have to begin with a PROXY header.
    #[must_use]
    pub fn accepts_proxy(&self) -> bool {
        self.proxy_protocol == ProxyProtocol::Accept
    }
}

/// Where clients are sent to speak HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpsPort(pub u16);

impl Value for HttpsPort {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        match node.as_bool() {
            Some(true) => Some(Self(443)),
            Some(false) => reader.wrong_type(node, "true, or a port; to send nobody leave it out"),
            None => u16::read(node, spec, reader).map(Self),
        }
    }

    fn print(&self, spec: &Spec, out: &mut String) {
        self.0.print(spec, out);
    }

    fn kind(spec: &Spec) -> String {
        format!("true, or {}", u16::kind(spec))
    }

    fn schema(spec: &Spec) -> serde_json::Value {
        serde_json::json!({ "anyOf": [{ "const": true }, u16::schema(spec)] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        Self(u16::sample(rng, spec))
    }
}
