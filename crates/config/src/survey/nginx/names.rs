//! The directives of NGINX's ways to servers. They are named alike: `proxy_pass`, `grpc_pass` …

use super::super::Spoke;

/// The names of one way.
pub(super) struct Names {
    pub(super) speaks: Spoke,
    pub(super) pass: &'static str,
    pub(super) connect: &'static str,
    pub(super) send: &'static str,
    pub(super) read: &'static str,
    pub(super) set_header: &'static str,
    pub(super) buffer_size: &'static str,
    pub(super) request_buffering: &'static str,
    pub(super) next: &'static str,
    pub(super) tries: &'static str,
    pub(super) socket_keepalive: &'static str,
    pub(super) tls: TlsNames,
}

/// The names of one way's TLS.
pub(super) struct TlsNames {
    pub(super) verify: &'static str,
    pub(super) server_name: &'static str,
    pub(super) name: &'static str,
    pub(super) ca: &'static str,
    pub(super) certificate: &'static str,
    pub(super) protocols: &'static str,
    pub(super) ciphers: &'static str,
}

macro_rules! names {
    ($prefix:literal, $speaks:ident) => {
        Names {
            speaks: Spoke::$speaks,
            pass: concat!($prefix, "_pass"),
            connect: concat!($prefix, "_connect_timeout"),
            send: concat!($prefix, "_send_timeout"),
            read: concat!($prefix, "_read_timeout"),
            set_header: concat!($prefix, "_set_header"),
            buffer_size: concat!($prefix, "_buffer_size"),
            request_buffering: concat!($prefix, "_request_buffering"),
            next: concat!($prefix, "_next_upstream"),
            tries: concat!($prefix, "_next_upstream_tries"),
            socket_keepalive: concat!($prefix, "_socket_keepalive"),
            tls: TlsNames {
                verify: concat!($prefix, "_ssl_verify"),
                server_name: concat!($prefix, "_ssl_server_name"),
                name: concat!($prefix, "_ssl_name"),
                ca: concat!($prefix, "_ssl_trusted_certificate"),
                certificate: concat!($prefix, "_ssl_certificate"),
                protocols: concat!($prefix, "_ssl_protocols"),
                ciphers: concat!($prefix, "_ssl_ciphers"),
            },
        }
    };
}

/// `proxy_*`, of which `stream` has some too.
pub(super) static PROXY: Names = names!("proxy", Http1);

/// Every way of `http`.
pub(super) static ALL: [&Names; 5] = [
    &PROXY,
    &names!("grpc", Http2),
    &names!("fastcgi", FastCgi),
    &names!("uwsgi", Uwsgi),
    &names!("scgi", Scgi),
];
