//! `[backend.NAME]`: a group of servers that are alike.

use std::net::IpAddr;
use std::time::Duration;

use clearway_balance::{Algorithm, Bound};

use super::by_request::ByRequest;
use super::cache::Caching;
use super::compression::CompressionOverrides;
use super::ejection::Ejection;
use super::errors::ErrorPages;
use super::health::Health;
use super::keepalive::Keepalive;
use super::limits::LimitOverrides;
use super::log::ServerLog;
use super::queue::Queue;
use super::retries::Retries;
use super::route::Rule;
use super::server::Server;
use super::sticky::StickyCookie;
use super::timeouts::TimeoutOverrides;
use super::tls::BackendTls;
use super::{concept, table_value};
use crate::value::{HashKey, OrOff, Pairs, TemplateText, Text, Token, choice_value, choices};

concept! {
    /// A group of servers that are alike.
    Backend, "[backend.NAME]", named name;

    /// The servers.
    servers: Vec<Server> = Vec::new(), required = true,
        example = Some("[\"10.0.0.1:8080\", { address = \"10.0.0.2:8080\", weight = 2 }]");
    /// A server that each request names itself, in place of `servers`.
    by_request: Option<ByRequest> = None,
        example = Some("{ to = \"${header:x-shard}.internal:8080\", names = [\"*.internal\"] }");
    /// How a server is chosen.
    balance: Algorithm = Algorithm::RoundRobin, example = Some("\"least_requests\"");
    /// What algorithms that go by key keep together.
    hash_key: HashKey = HashKey::Source, example = Some("\"header:x-user\"");
    /// How `hash_key` becomes a number.
    hash_function: HashFunction = HashFunction::Xxh3, example = Some("\"sdbm\"");
    /// Whether the bits of a hash of 32 bits are spread once more.
    hash_avalanche: bool = false, example = Some("true");
    /// How far above its fair share of the unfinished requests `consistent_hash` lets a server go;
    /// 0 = any.
    bounded_load: f64 = 1.25, range = Some((0.0, 100.0));
    /// How long a server takes to get its full part after it came up; `"0s"` = at once.
    slow_start: Duration = Duration::ZERO, example = Some("\"30s\"");
    /// Requests at the same time per server, over all workers; 0 = no limit. Others wait.
    maxconn: u32 = 0, example = Some("100");
    /// Requests that wait.
    queue: Queue = Queue::default(), example = Some("{ size = 100 }");
    /// A cookie that keeps a client on its server.
    sticky: Option<StickyCookie> = None, example = Some("{ cookie = \"SRV\" }");
    /// Whether clients that stick to a server go there even while it is down.
    persist: bool = false, example = Some("true");
    /// What is done with all its requests and responses, after the rules of listener and route; with
    /// responses before those.
    rules: Vec<Rule> = Vec::new(), key = "rule",
        example = Some("[{ set_request_headers = { x-backend = \"app\" } }]");
    /// Names and values that servers of FastCGI, SCGI and uwsgi get, besides `HTTP_…` for the fields of the
    /// request.
    params: Pairs<Token, TemplateText> = Pairs::default(),
        example = Some("{ SCRIPT_FILENAME = \"/srv/app${path}\" }");
    /// Those of `params` that are left out where they are empty.
    optional_params: Vec<Token> = Vec::new(), example = Some("[\"HTTPS\"]");
    /// Whether such servers get what CGI wants of every request too: its method, path, query, addresses
    /// (RFC 3875 section 4.1), as far as `params` says nothing else.
    standard_params: bool = true, example = Some("false");
    /// A body whose length the client does not tell is read to its end and sent with its length when it has no
    /// more bytes than this, and it is Clearway that says that it may come (100 Continue); 0 = it goes on as it
    /// comes. When absent: 0, for FastCGI, SCGI and uwsgi 1 MiB. They want the length: longer bodies are refused.
    body_buffer: Option<usize> = None, bytes = true, range = Some((0.0, 1_073_741_824.0)),
        example = Some("\"64KiB\"");
    /// What is spoken with the servers.
    protocol: ServerProtocol = ServerProtocol::Http1, example = Some("\"h2\"");
    /// TLS with the servers; `true` for the defaults.
    tls: Option<BackendTls> = None, example = Some("{ ca = \"/etc/clearway/internal-ca.pem\" }");
    /// What is sent before the first byte, so that the server knows the client.
    send_proxy: SendProxy = SendProxy::Off, example = Some("\"v2\"");
    /// The local address to connect from.
    source_address: Option<IpAddr> = None, example = Some("\"10.0.0.9\"");
    /// Connections that are used again.
    keepalive: Keepalive = Keepalive::default(), example = Some("{ idle_timeout = \"4s\" }");
    /// Active checks; none when absent.
    health: Option<Health> = None, example = Some("{ path = \"/health\" }");
    /// Logs of what becomes of the servers.
    server_logs: Vec<ServerLog> = Vec::new(), key = "server_log",
        example = Some("[{ to = \"syslog:udp://127.0.0.1:514\" }]");
    /// Servers that fail requests get none for a while; `"off"` = never.
    ejection: OrOff<Ejection> = OrOff::On(Ejection::default()), example = Some("{ consecutive = 3 }");
    /// Failed attempts that are followed by others.
    retries: Retries = Retries::default(), example = Some("{ max = 1 }");
    /// Time-outs in place of those of the process and the listener.
    timeouts: TimeoutOverrides = TimeoutOverrides::default(), example = Some("{ response = \"5m\" }");
    /// Pages in place of the short texts of error replies; they go before those of the listener.
    errors: ErrorPages = Pairs::default(), example = Some("{ 503 = { body = \"Back soon.\" } }");
    /// Limits in place of those of the process and the listener.
    limits: LimitOverrides = LimitOverrides::default(),
        example = Some("{ response_header_bytes = \"64KiB\" }");
    /// Responses that are kept and given again, in place of what the listener says.
    cache: Option<Caching> = None, example = Some("{ store = \"pages\" }");
    /// Compression in place of that of the process and the listener.
    compression: CompressionOverrides = CompressionOverrides::default(),
        example = Some("{ algorithms = [\"gzip\"] }");
}
table_value!(Backend);

choice_value!(Algorithm);

choices! {
    /// How a hash key becomes a number. All but the first have 32 bits and are those of HAProxy, where
    /// `source` is not hashed but folded.
    HashFunction {
        /// XXH3, of 64 bits.
        Xxh3 = "xxh3",
        /// SDBM.
        Sdbm = "sdbm",
        /// DJB2.
        Djb2 = "djb2",
        /// WT6.
        Wt6 = "wt6",
        /// CRC-32.
        Crc32 = "crc32",
    }
}

choices! {
    /// What is spoken with servers.
    ServerProtocol {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2: agreed on with TLS, without TLS by prior knowledge. gRPC needs it. WebSocket needs
        /// servers that take it over HTTP/2 (RFC 8441).
        H2 = "h2",
        /// HTTP/2 where a server agrees on it with TLS, else HTTP/1.1. WebSocket goes over HTTP/1.1;
        /// other upgrades are not passed on over HTTP/2.
        Auto = "auto",
        /// FastCGI, as a responder. Connections are kept where `keepalive.max_idle` is not 0.
        Fastcgi = "fastcgi",
        /// SCGI.
        Scgi = "scgi",
        /// uwsgi.
        Uwsgi = "uwsgi",
    }
}

impl ServerProtocol {
    /// Whether requests go to servers as names and values.
    #[must_use]
    pub fn is_cgi(self) -> bool {
        matches!(self, Self::Fastcgi | Self::Scgi | Self::Uwsgi)
    }
}

/// What CGI wants of every request.
const STANDARD_PARAMS: [(&str, &str); 14] = [
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("REQUEST_METHOD", "${method}"),
    ("QUERY_STRING", "${query}"),
    ("REQUEST_URI", "${target}"),
    ("SCRIPT_NAME", "${path}"),
    ("DOCUMENT_URI", "${path}"),
    ("CONTENT_TYPE", "${header:content-type}"),
    ("CONTENT_LENGTH", "${header:content-length}"),
    ("SERVER_PROTOCOL", "HTTP/${version}"),
    ("SERVER_NAME", "${host}"),
    ("SERVER_PORT", "${port}"),
    ("REQUEST_SCHEME", "${scheme}"),
    ("REMOTE_ADDR", "${client_ip}"),
    ("REDIRECT_STATUS", "200"),
];

choices! {
    /// What is sent before the first byte of a server connection.
    SendProxy {
        /// Nothing.
        Off = "off",
        /// A PROXY header, text form.
        V1 = "v1",
        /// A PROXY header, binary form.
        V2 = "v2",
    }
}

impl Backend {
    /// How a server is chosen, with its settings.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        if matches!(self.balance, Algorithm::ConsistentHash { .. }) {
            let bound = Bound::from_factor(self.bounded_load).unwrap_or(Bound::DEFAULT);
            return Algorithm::ConsistentHash { bound };
        }
        self.balance
    }

    /// Bytes of bodies without a length that are read to their ends.
    #[must_use]
    pub fn body_buffer(&self) -> usize {
        let usual = if self.protocol.is_cgi() { 1 << 20 } else { 0 };
        self.body_buffer.unwrap_or(usual)
    }

    /// Names and values that servers get, in the order in which they are sent.
    #[must_use]
    pub fn all_params(&self) -> Vec<(Token, TemplateText)> {
        if !self.protocol.is_cgi() {
            return Vec::new();
        }
        let mut all = self.params.0.clone();
        let standard = STANDARD_PARAMS.iter().filter(|_| self.standard_params);
        for (name, text) in standard {
            let name = Token::new(name);
            if let Ok(text) = TemplateText::parse(text)
                && all.iter().all(|(known, _)| *known != name)
            {
                all.push((name, text));
            }
        }
        all
    }

    /// Requests at the same time that a server takes; 0 = no limit.
    #[must_use]
    pub fn maxconn_of(&self, server: &Server) -> u32 {
        server.maxconn.unwrap_or(self.maxconn)
    }

    /// TLS with a server; none where it speaks plainly.
    #[must_use]
    pub fn tls_of<'a>(&'a self, server: &'a Server) -> Option<&'a BackendTls> {
        match &server.tls {
            Some(own) => own.on(),
            None => self.tls.as_ref(),
        }
    }

    /// What is spoken with a server.
    #[must_use]
    pub fn protocol_of(&self, server: &Server) -> ServerProtocol {
        server.protocol.unwrap_or(self.protocol)
    }

    /// What is sent to a server before the first byte.
    #[must_use]
    pub fn send_proxy_of(&self, server: &Server) -> SendProxy {
        server.send_proxy.unwrap_or(self.send_proxy)
    }

    /// How long a server takes to get its full part after it came up.
    #[must_use]
    pub fn slow_start_of(&self, server: &Server) -> Duration {
        server.slow_start.unwrap_or(self.slow_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_goes_into_the_algorithm() {
        let mut backend = Backend {
            balance: Algorithm::parse("consistent_hash").unwrap(),
            bounded_load: 2.0,
            ..Backend::default()
        };
        let bound = Bound::from_factor(2.0).unwrap();
        assert_eq!(backend.algorithm(), Algorithm::ConsistentHash { bound });
        backend.balance = Algorithm::Maglev;
        assert_eq!(backend.algorithm(), Algorithm::Maglev);
    }
}
