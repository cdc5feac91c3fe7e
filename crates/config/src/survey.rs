//! What a configuration says that matters when a request fails: who listens, who serves, how long
//! everybody may take, how servers are checked and secured. The same shape for every language.
//!
//! A survey is for reading only: it never becomes a Plan. What a file does not say stands here with
//! that balancer's own default and without an origin.

pub(crate) mod haproxy;
mod loops;
mod native;
pub(crate) mod nginx;
pub(crate) mod units;

use std::time::Duration;

use clearway_outcome::Speaker;

pub use haproxy::{haproxy, haproxy_text};
pub use native::native;
pub use nginx::{nginx, nginx_text};

use crate::diagnostic::{Diagnostic, Origin};

/// A value, the name of its setting in its own language, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// How the setting is written, e.g. `proxy_connect_timeout` or `timeout connect`.
    pub name: &'static str,
    /// Where it is written; `None` = the default.
    pub origin: Option<Origin>,
}

impl<T> Setting<T> {
    /// A default.
    #[must_use]
    pub fn by_default(name: &'static str, value: T) -> Self {
        Self {
            value,
            name,
            origin: None,
        }
    }

    /// A value that is written somewhere.
    #[must_use]
    pub fn written(name: &'static str, value: T, origin: Origin) -> Self {
        Self {
            value,
            name,
            origin: Some(origin),
        }
    }
}

/// A whole configuration, as far as failures are concerned.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Whose language it is.
    pub speaker: Speaker,
    /// Every file that was read, in order.
    pub files: Vec<String>,
    /// Where clients come in.
    pub fronts: Vec<FrontSurvey>,
    /// The groups of servers. NGINX's `proxy_pass` to an address or a name without an `upstream` block is a
    /// group of its own.
    pub backends: Vec<BackendSurvey>,
    /// Resolvers used at run time; empty = none, or the system's where the balancer uses that.
    pub resolvers: Setting<Vec<String>>,
    /// Open files the process may have (`worker_rlimit_nofile`, `ulimit-n`).
    pub file_limit: Option<Setting<u64>>,
    /// Connections the process may have (`worker_connections`, global `maxconn`).
    pub connection_limit: Option<Setting<u64>>,
    /// What looks wrong already without any traffic.
    pub pitfalls: Vec<Pitfall>,
    /// What could not be read.
    pub diagnostics: Vec<Diagnostic>,
}

impl Survey {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn new(speaker: Speaker) -> Self {
        Self {
            speaker,
            files: Vec::new(),
            fronts: Vec::new(),
            backends: Vec::new(),
            resolvers: Setting::by_default("resolver", Vec::new()),
            file_limit: None,
            connection_limit: None,
            pitfalls: Vec::new(),
            diagnostics: Vec::new(),
        }
    }
}

/// Where clients come in: a listener, an NGINX `server`, a HAProxy front end.
#[derive(Clone, Debug)]
pub struct FrontSurvey {
    /// Its name, or the first name it serves.
    pub name: String,
    /// Where it stands.
    pub origin: Option<Origin>,
    /// Addresses it listens on, as they are written, and whether TLS and PROXY headers are expected there.
    pub binds: Vec<BindSurvey>,
    /// Names it serves; empty = all.
    pub hosts: Vec<String>,
    /// Names of the backends that requests may go to from here.
    pub backends: Vec<String>,
    /// Whether every request goes somewhere (a default backend, `location /`).
    pub has_default: bool,
    /// Silence of clients that is borne (`client_header_timeout`, `timeout client`).
    pub client_timeout: Option<Setting<Duration>>,
    /// Largest body of a request, in bytes; 0 = no limit.
    pub body_limit: Option<Setting<u64>>,
    /// Largest request head, in bytes.
    pub header_limit: Option<Setting<u64>>,
    /// Most connections at a time.
    pub maxconn: Option<Setting<u64>>,
    /// Files that access logs go to, with the name or text of their format.
    pub access_logs: Vec<(String, String)>,
    /// Files that error logs go to.
    pub error_logs: Vec<String>,
}

/// One address of a front.
#[derive(Clone, Debug, PartialEq)]
pub struct BindSurvey {
    /// As it is written.
    pub address: String,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whether a PROXY header is expected.
    pub proxy_header: bool,
    /// Where it stands.
    pub origin: Option<Origin>,
}

/// What is spoken with servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoke {
    /// HTTP/1.
    Http1,
    /// HTTP/2, also gRPC.
    Http2,
    /// Bytes at layer 4.
    Tcp,
    /// FastCGI.
    FastCgi,
    /// uwsgi.
    Uwsgi,
    /// SCGI.
    Scgi,
}

/// A group of servers, with what holds for the way to them.
#[derive(Clone, Debug)]
pub struct BackendSurvey {
    /// Its name; for an NGINX `proxy_pass` without `upstream` what stands there.
    pub name: String,
    /// Where it stands.
    pub origin: Option<Origin>,
    /// Where traffic is sent to it (`proxy_pass …`), where that is another place.
    pub pass_origin: Option<Origin>,
    /// From where it is used, as far as settings depend on it: NGINX's `location`s, each with the name of
    /// its front before it (`example.org /api/`). Places that use the same servers with other
    /// settings are another group with the same name.
    pub places: Vec<String>,
    /// What is spoken.
    pub speaks: Setting<Spoke>,
    /// Its members.
    pub servers: Vec<ServerSurvey>,
    /// How long everybody may take.
    pub timeouts: TimeoutSurvey,
    /// TLS with the servers; `None` = in clear.
    pub tls: Option<TlsSurvey>,
    /// Health checks; `None` = there are none.
    pub check: Option<CheckSurvey>,
    /// Passive ejection: faults in a row after which a server is left out, and for how long.
    pub ejection: Option<(Setting<u64>, Setting<Duration>)>,
    /// Whether connections are kept for the next request.
    pub keepalive: Setting<bool>,
    /// How long a kept connection may lie idle.
    pub keepalive_idle: Option<Setting<Duration>>,
    /// Whether kept connections have TCP keep-alive.
    pub tcp_keepalive: Option<Setting<bool>>,
    /// Version of the PROXY header that is sent; 0 = none.
    pub proxy_header: Setting<u8>,
    /// The Host that servers get, as it is written: `$host`, `$proxy_host`, a name; `None` = the client's.
    pub host: Option<Setting<String>>,
    /// Whether requests for an upgrade (WebSocket) are passed on.
    pub passes_upgrade: Setting<bool>,
    /// Largest response head that is taken, in bytes.
    pub response_header_limit: Option<Setting<u64>>,
    /// Most response header lines that are taken.
    pub response_header_count: Option<Setting<u64>>,
    /// Whether a request body is read whole before a server gets it.
    pub buffers_request: Option<Setting<bool>>,
    /// What ties clients to servers: the name of a cookie, a hash of addresses.
    pub sticky: Option<Setting<String>>,
    /// Attempts after the first.
    pub retries: Option<Setting<u64>>,
    /// Whether addresses behind names are looked up again while running.
    pub resolves_at_run_time: Setting<bool>,
}

/// How long everybody on the way to a server may take. `None` = no limit.
#[derive(Clone, Debug)]
pub struct TimeoutSurvey {
    /// Until the connection is made.
    pub connect: Setting<Option<Duration>>,
    /// Between two writes of the request.
    pub send: Setting<Option<Duration>>,
    /// For the response's head, or between two reads.
    pub response: Setting<Option<Duration>>,
    /// Waiting for a free place.
    pub queue: Setting<Option<Duration>>,
    /// Silence in a tunnel.
    pub tunnel: Setting<Option<Duration>>,
}

/// TLS with servers.
#[derive(Clone, Debug)]
pub struct TlsSurvey {
    /// Whether certificates are verified.
    pub verify: Setting<bool>,
    /// The name asked for (SNI), as it is written; `None` = none is sent.
    pub sni: Setting<Option<String>>,
    /// The name that certificates must be for; `None` = the name asked for or the address.
    pub expected_name: Option<Setting<String>>,
    /// File of the authorities trusted.
    pub ca: Option<Setting<String>>,
    /// File of the client certificate.
    pub certificate: Option<Setting<String>>,
    /// Oldest version spoken, as in the protocol (0x0303 = TLS 1.2).
    pub min_version: Option<Setting<u16>>,
    /// Newest version spoken.
    pub max_version: Option<Setting<u16>>,
    /// Cipher suites, as they are written.
    pub ciphers: Option<Setting<String>>,
}

/// What a health check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Connects.
    Tcp,
    /// Sends a request.
    Http,
    /// Something else (LDAP, agent …).
    Other,
}

/// Health checks of a group.
#[derive(Clone, Debug)]
pub struct CheckSurvey {
    /// What is done.
    pub kind: Setting<CheckKind>,
    /// The method of the request.
    pub method: String,
    /// The path of the request.
    pub path: Setting<String>,
    /// The Host that is sent; `None` = none, or the address.
    pub host: Option<Setting<String>>,
    /// Statuses that pass, as they are written.
    pub expect: Setting<String>,
    /// The port, where it differs from the traffic's.
    pub port: Option<Setting<u16>>,
    /// Whether it is made over TLS.
    pub tls: Setting<bool>,
    /// Whether it sends a PROXY header.
    pub proxy_header: Setting<bool>,
    /// Time between two.
    pub interval: Setting<Duration>,
    /// How long one may take.
    pub timeout: Setting<Option<Duration>>,
    /// Failures in a row until a server is down.
    pub fall: Setting<u64>,
    /// Passes in a row until it is up.
    pub rise: Setting<u64>,
}

/// One server of a group.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that may hold beside the others"
)]
#[derive(Clone, Debug)]
pub struct ServerSurvey {
    /// Its name; the address where it has none.
    pub name: String,
    /// Where it stands.
    pub origin: Option<Origin>,
    /// Its host name or address, or the path of a Unix socket.
    pub host: String,
    /// Its port; 0 for a Unix socket.
    pub port: u16,
    /// Whether it is a Unix socket.
    pub is_unix: bool,
    /// Used only when no other is usable.
    pub backup: bool,
    /// Not used at all.
    pub down: bool,
    /// Most requests at a time; 0 = no limit.
    pub maxconn: u64,
    /// Whether it is checked.
    pub is_checked: bool,
}

impl ServerSurvey {
    /// `host:port` as logs write it: `10.0.0.2:80`, `[::1]:80`, `unix:/run/app.sock`.
    #[must_use]
    pub fn address(&self) -> String {
        if self.is_unix {
            return format!("unix:{}", self.host);
        }
        if self.host.contains(':') && !self.host.starts_with('[') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

/// Something in a configuration that will hurt, told without any traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Pitfall {
    /// Id of the cause that it leads to, as in the catalogue of causes.
    pub cause: &'static str,
    /// The backend it is about; empty = the whole.
    pub backend: String,
    /// What is wrong, as a sentence.
    pub words: String,
    /// What to write instead, in the file's own language.
    pub fix: String,
    /// Where.
    pub origin: Origin,
}
