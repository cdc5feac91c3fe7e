//! The table of fault kinds, from which every mapping comes.

use crate::phase::{Phase, Side};
use crate::signal::Signal;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Party {
    /// Whoever sent the request.
    Client,
    /// The host Clearway runs on, or Clearway itself.
    ClearwayHost,
    /// Something between the hosts.
    Network,
    /// The server's machine: nothing listens, resources are gone.
    ServerHost,
    /// The program that should have answered.
    Application,
    /// The configuration.
    Configuration,
}

impl Party {
    /// Stable name for logs, metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::ClearwayHost => "clearway-host",
            Self::Network => "network",
            Self::ServerHost => "server-host",
            Self::Application => "application",
            Self::Configuration => "configuration",
        }
    }
}

/// When a failed Attempt of this kind may be followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Retry {
    /// Nothing reached the server: any request may be sent again.
    Always,
    /// The server ended a kept connection without answering a byte: an idempotent request may be sent
    /// again on a fresh connection; any other only if the kernel says that the server took none of it.
    Reused,
    /// Only where the configuration names the fault, and only what may be replayed.
    Configured,
    /// Never, whatever the configuration names.
    Never,
}

impl Retry {
    /// Whether a configuration wants another Attempt: one that names the fault itself (`named`), failed
    /// connection attempts (`on_connect`) or kept connections that end (`on_reused`).
    #[must_use]
    pub fn allows(self, named: bool, on_connect: bool, on_reused: bool) -> bool {
        match self {
            Self::Always => named || on_connect,
            Self::Reused => named || on_reused,
            Self::Configured => named,
            Self::Never => false,
        }
    }
}

/// First letter of HAProxy's termination state for a fault of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum HaproxyWho {
    /// `C`: the client ended it.
    Client = b'C',
    /// `c`: the client was silent for too long.
    ClientTimeout = b'c',
    /// `S`: the server ended it.
    Server = b'S',
    /// `s`: the server was silent for too long.
    ServerTimeout = b's',
    /// `P`: the proxy refused.
    Proxy = b'P',
    /// `R`: a resource of the proxy was exhausted.
    Resource = b'R',
    /// `I`: internal error.
    Internal = b'I',
}

struct Row {
    code: &'static str,
    status: u16,
    party: Party,
    retry: Retry,
    counts: bool,
    rfc9209: &'static str,
    haproxy: (HaproxyWho, u8),
    envoy: &'static str,
    nginx: &'static str,
    summary: &'static str,
}

macro_rules! kinds {
    ($(
        $variant:ident = $code:literal $status:literal $party:ident $retry:ident $counts:ident
            $rfc:literal $who:ident $what:literal $envoy:literal $nginx:literal : $summary:literal;
    )+) => {
        /// What went wrong, as a closed set of symptoms.
        ///
        /// One row of the table per kind: code, status of the reply, party, retry rule, whether it
        /// counts against the server, RFC 9209 error type, HAProxy's letters, Envoy's flag, NGINX's
        /// phrase and a sentence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum FaultKind { $(#[doc = $summary] $variant,)+ }

        impl FaultKind {
            /// Every kind, in table order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$variant => const {
                        &Row {
                            code: $code,
                            status: $status,
                            party: Party::$party,
                            retry: Retry::$retry,
                            counts: kinds!(@ $counts),
                            rfc9209: $rfc,
                            haproxy: (HaproxyWho::$who, $what),
                            envoy: $envoy,
                            nginx: $nginx,
                            summary: $summary,
                        }
                    },)+
                }
            }
        }
    };
    (@ counts) => { true };
    (@ spares) => { false };
}

// Columns: variant = code, status (0: none can be sent), party, retry rule, counts/spares (whether it
// counts against the server), RFC 9209 type ("" = none), HAProxy who and what, Envoy flag, NGINX
// phrase : sentence.
kinds! {
    // The client's request, refused by the parser. Nothing is forwarded and the connection closes.
    RequestLineInvalid = "request_line_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid request line" : "The request line is not `METHOD SP TARGET SP HTTP/1.x`.";
    MethodInvalid = "method_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid method" : "The method contains bytes that are not token characters.";
    TargetInvalid = "target_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid request" : "The request target has a form or bytes that HTTP does not allow.";
    VersionUnsupported = "version_unsupported" 505 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid version" : "The protocol version is not HTTP/1.0 or HTTP/1.1.";
    HeaderNameInvalid = "header_name_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid header line" : "A header name is empty or contains bytes that are not token characters.";
    HeaderSpaceBeforeColon = "header_space_before_colon" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid header line" : "White space stands between a header name and its colon.";
    HeaderValueInvalid = "header_value_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid header line" : "A header value contains a control character such as NUL.";
    HeaderFolded = "header_folded" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid header line" : "A header is continued on the next line (obsolete folding).";
    BareCr = "bare_cr" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid header line" : "A carriage return stands without its line feed.";
    BareLf = "bare_lf" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid header line" : "A line ends with a line feed alone.";
    HostMissing = "host_missing" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent HTTP/1.1 request without \"Host\" header" : "An HTTP/1.1 request has no Host header.";
    HostDuplicated = "host_duplicated" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent duplicate host header" : "The request has more than one Host header.";
    HostInvalid = "host_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid host header" : "The Host header is not a host name or address with an optional port.";
    HostMismatch = "host_mismatch" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid host header" : "The absolute request target names another host than the Host header.";
    ContentLengthInvalid = "content_length_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid \"Content-Length\" header" : "Content-Length is not a plain decimal number.";
    ContentLengthDuplicated = "content_length_duplicated" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent duplicate header line" : "The request has more than one Content-Length.";
    ContentLengthWithTransferEncoding = "content_length_with_transfer_encoding" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time" : "The request has both Content-Length and Transfer-Encoding, the mark of request smuggling.";
    TransferEncodingUnsupported = "transfer_encoding_unsupported" 501 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent unknown \"Transfer-Encoding\"" : "The request uses a transfer coding other than chunked.";
    TransferEncodingInvalid = "transfer_encoding_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent unknown \"Transfer-Encoding\"" : "Transfer-Encoding is repeated, empty, or chunked is not its last coding.";
    TransferEncodingInHttp10 = "transfer_encoding_in_http10" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent HTTP/1.0 request with \"Transfer-Encoding\" header" : "An HTTP/1.0 request has a Transfer-Encoding.";
    ChunkSizeInvalid = "chunk_size_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid chunked body" : "A chunk size of the request is not a hexadecimal number that fits.";
    ChunkFramingInvalid = "chunk_framing_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid chunked body" : "A chunk of the request does not end where its size says, or its extension is malformed or too long.";
    TrailerInvalid = "trailer_invalid" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid trailer" : "The trailer section of the request is malformed or too large.";
    RequestLineTooLong = "request_line_too_long" 414 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent too long URI" : "The request line is longer than limits.request_line.";
    HeadersTooLarge = "headers_too_large" 431 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent too large request" : "The request headers are larger than limits.header_bytes.";
    TooManyHeaders = "too_many_headers" 431 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent too many header lines" : "The request has more headers than limits.header_count.";
    BodyTooLarge = "body_too_large" 413 Client Never spares "http_request_error" Proxy b'R' "DPE" "client intended to send too large body" : "The request body is larger than limits.body_bytes.";
    ConnectMethodRefused = "connect_method_refused" 501 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent CONNECT method" : "CONNECT asks for a forward proxy, which this is not.";
    ExpectationUnsupported = "expectation_unsupported" 417 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent unknown Expect" : "The request expects something other than 100-continue.";
    TlsOnPlainPort = "tls_on_plain_port" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid method" : "The client speaks TLS on a listener that does not.";
    Http2OnHttp1Port = "http2_on_http1_port" 505 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid version" : "The client opened with the HTTP/2 preface on an HTTP/1.1 listener.";
    ProxyHeaderInvalid = "proxy_header_invalid" 0 Client Never spares "" Proxy b'R' "DPE" "broken header" : "The connection does not begin with a valid PROXY header although the listener expects one.";
    ProxyHeaderUntrusted = "proxy_header_untrusted" 0 Client Never spares "" Proxy b'R' "DPE" "broken header" : "A PROXY header came from an address outside the listener's trust list.";
    ProxyHeaderTimeout = "proxy_header_timeout" 0 Client Never spares "" ClientTimeout b'R' "DPE" "client timed out" : "No PROXY header came within the time allowed.";
    ProxyLoop = "proxy_loop" 502 Configuration Never spares "proxy_loop_detected" Proxy b'R' "" "" : "The request has passed through this balancer too often already.";
    PatternSteps = "pattern_steps" 500 Configuration Never spares "proxy_internal_error" Internal b'R' "" "pcre2_match() failed: -47" : "A pattern with look-around takes more steps for this request than are allowed, so nobody knows what the rules say.";

    // TLS with the client: no request could be read, so nothing is answered unless the row says so.
    HttpOnTlsPort = "http_on_tls_port" 400 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent plain HTTP request to HTTPS port while reading client request headers" : "The client speaks plain HTTP on a listener that expects TLS.";
    NotTls = "not_tls" 0 Client Never spares "" Proxy b'R' "DPE" "SSL_do_handshake() failed (SSL: wrong version number) while SSL handshaking" : "The client's first bytes are not TLS.";
    TlsHandshakeTimeout = "tls_handshake_timeout" 0 Client Never spares "" ClientTimeout b'R' "DPE" "client timed out while SSL handshaking" : "The TLS handshake with the client was not complete within timeouts.tls_handshake.";
    TlsHandshakeClosed = "tls_handshake_closed" 0 Client Never spares "" Client b'R' "DC" "peer closed connection in SSL handshake while SSL handshaking" : "The client ended the connection in the middle of the TLS handshake.";
    TlsClientAlert = "tls_client_alert" 0 Client Never spares "tls_alert_received" Client b'R' "DC" "SSL_do_handshake() failed (SSL: tlsv1 alert) while SSL handshaking" : "The client ended the TLS connection with an alert.";
    TlsClientRejectsCertificate = "tls_client_rejects_certificate" 0 Configuration Never spares "tls_alert_received" Client b'R' "DC" "SSL_do_handshake() failed (SSL: tlsv1 alert unknown ca) while SSL handshaking" : "The client did not accept the listener's certificate.";
    CertificateExpired = "certificate_expired" 0 Configuration Never spares "tls_alert_received" Client b'R' "DC" "SSL_do_handshake() failed (SSL: tlsv1 alert certificate expired) while SSL handshaking" : "The listener's certificate is not valid at this time, and the client did not accept it.";
    TlsVersionMismatch = "tls_version_mismatch" 0 Client Never spares "" Proxy b'R' "DPE" "SSL_do_handshake() failed (SSL: unsupported protocol) while SSL handshaking" : "The client offers no TLS version that the listener takes.";
    TlsCipherMismatch = "tls_cipher_mismatch" 0 Client Never spares "" Proxy b'R' "DPE" "SSL_do_handshake() failed (SSL: no shared cipher) while SSL handshaking" : "The client offers no cipher suite, key exchange or signature that the listener takes.";
    TlsNameUnknown = "tls_name_unknown" 0 Client Never spares "" Proxy b'R' "DPE" "SSL_do_handshake() failed (SSL: callback failed) while SSL handshaking" : "No certificate of the listener is for the server name that the client asks for.";
    TlsAlpnMismatch = "tls_alpn_mismatch" 0 Client Never spares "" Proxy b'R' "DPE" "" : "The client offers application protocols only that the listener does not speak.";
    TlsClientCertificateMissing = "tls_client_certificate_missing" 0 Client Never spares "" Proxy b'R' "DPE" "client sent no required SSL certificate while reading client request headers" : "The listener demands a client certificate and the client sent none.";
    TlsClientCertificateInvalid = "tls_client_certificate_invalid" 0 Client Never spares "" Proxy b'R' "DPE" "client SSL certificate verify error while reading client request headers" : "The client's certificate could not be verified.";
    TlsClientProtocol = "tls_client_protocol" 0 Client Never spares "" Proxy b'R' "DPE" "SSL_do_handshake() failed while SSL handshaking" : "The client broke the TLS protocol, or its bytes were changed on the way.";
    CertificateUnusable = "certificate_unusable" 0 Configuration Never spares "proxy_configuration_error" Internal b'R' "" "" : "The listener has no certificate that can be used; `clearway ctl certificates` tells of those it is to have.";

    // HTTP/2 with the client. The connection ends with GOAWAY; a stream alone with RST_STREAM.
    H2Protocol = "h2_protocol_error" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "client sent invalid http2 frame" : "The client broke the rules of HTTP/2.";
    H2RapidReset = "h2_rapid_reset" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client opens streams and resets them faster than anybody who wants answers.";
    H2ContinuationFlood = "h2_continuation_flood" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client goes on and on with the headers of one request.";
    H2SettingsFlood = "h2_settings_flood" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client sends SETTINGS frames, each of which has to be acknowledged, without end.";
    H2PingFlood = "h2_ping_flood" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client sends PING frames, each of which has to be answered, without end.";
    H2EmptyFrames = "h2_empty_frames" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client sends frames without content, which cost work and bring nothing.";
    H2TinyWindows = "h2_tiny_windows" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client opens its windows by a few bytes at a time, so that answers leave in crumbs.";
    H2FrameFlood = "h2_frame_flood" 0 Client Never spares "http_request_error" Proxy b'R' "DPE" "http2 flood detected" : "The client sends frames that ask for nothing (PRIORITY, unknown types) without end.";

    // The client's time and presence.
    RequestHeadTimeout = "request_head_timeout" 408 Client Never spares "http_request_error" ClientTimeout b'R' "DPE" "client timed out" : "The request head was not complete within timeouts.request_head.";
    RequestBodyTimeout = "request_body_timeout" 408 Client Never spares "http_request_error" ClientTimeout b'D' "DT" "client timed out" : "The client sent nothing of the announced body for timeouts.request_body.";
    ClientClosed = "client_closed" 499 Client Never spares "" Client b'H' "DC" "client prematurely closed connection" : "The client closed the connection before the response was complete.";
    ClientReset = "client_reset" 499 Client Never spares "" Client b'H' "DC" "client prematurely closed connection" : "The client reset the connection before the response was complete.";
    RequestBodyTruncated = "request_body_truncated" 400 Client Never spares "http_request_error" Client b'D' "DC" "client prematurely closed connection" : "The client ended the connection in the middle of the request body.";
    ClientNotReading = "client_not_reading" 499 Client Never spares "" ClientTimeout b'D' "DC" "client timed out" : "The client took nothing of the response for timeouts.client_write.";

    // The balancer's own limits and resources.
    ListenerFull = "listener_full" 503 Configuration Never spares "connection_limit_reached" Resource b'R' "UO" "worker_connections are not enough" : "The listener has reached limits.connections.";
    SourceFull = "source_full" 429 Client Never spares "connection_limit_reached" Proxy b'R' "RL" "limiting connections by zone" : "The client's address has reached limits.connections_per_source.";
    OutOfFiles = "out_of_files" 503 ClearwayHost Always spares "proxy_internal_error" Resource b'C' "UF" "socket() failed (24: Too many open files)" : "The process or system has no file descriptor left.";
    OutOfPorts = "out_of_ports" 503 ClearwayHost Always spares "proxy_internal_error" Resource b'C' "UF" "connect() to ADDR failed (99: Cannot assign requested address)" : "No local port is free for a connection to this server.";
    OutOfMemory = "out_of_memory" 503 ClearwayHost Always spares "proxy_internal_error" Resource b'C' "UF" "socket() failed (12: Cannot allocate memory)" : "The kernel had no memory for the connection.";
    InternalPanic = "internal_panic" 500 ClearwayHost Never spares "proxy_internal_error" Internal b'H' "" "" : "A defect in Clearway ended the work on this request; other requests are not affected.";
    ShuttingDown = "shutting_down" 503 ClearwayHost Never spares "proxy_internal_error" Proxy b'R' "" "" : "The balancer is shutting down and its drain time is over.";
    RewriteInvalid = "rewrite_invalid" 500 Configuration Never spares "proxy_configuration_error" Proxy b'H' "" "" : "A rule produced a header or target that HTTP does not allow, or one too large.";

    // Routing and rules.
    NoRoute = "no_route" 404 Configuration Never spares "destination_not_found" Proxy b'R' "NR" "" : "No route matches the request.";
    Denied = "denied" 403 Configuration Never spares "http_request_denied" Proxy b'R' "UAEX" "access forbidden by rule" : "A rule denied the request.";

    // Choosing a server.
    NoServers = "no_servers" 503 Configuration Never spares "destination_unavailable" Server b'C' "UH" "no live upstreams" : "The backend has no server.";
    AllServersDown = "all_servers_down" 503 ServerHost Never spares "destination_unavailable" Server b'C' "UH" "no live upstreams" : "Every server of the backend is down, in maintenance or draining.";
    NameUnresolved = "name_unresolved" 502 Configuration Never spares "dns_error" Server b'C' "UH" "could not be resolved" : "The name of the backend's servers does not resolve and no earlier address is known.";
    NameTimeout = "name_timeout" 504 Network Never spares "dns_timeout" Server b'C' "UH" "could not be resolved" : "The resolver did not answer and no earlier address is known.";
    QueueFull = "queue_full" 503 Application Never spares "connection_limit_reached" ServerTimeout b'Q' "UO" "" : "Every server is at its maxconn and the backend's queue is full.";
    QueueTimeout = "queue_timeout" 503 Application Never spares "connection_limit_reached" ServerTimeout b'Q' "UO" "" : "No server had a free slot within timeouts.queue.";

    // Reaching it.
    ConnectRefused = "connect_refused" 502 ServerHost Always counts "connection_refused" Server b'C' "UF" "connect() failed (111: Connection refused)" : "The server's host answered the connection attempt with a refusal.";
    ConnectTimeout = "connect_timeout" 504 Network Always counts "connection_timeout" ServerTimeout b'C' "UF" "upstream timed out (110: Connection timed out) while connecting to upstream" : "The server's host did not answer the connection attempt within timeouts.connect.";
    ConnectUnreachable = "connect_unreachable" 502 Network Always counts "destination_ip_unroutable" Server b'C' "UF" "connect() failed (113: No route to host)" : "A router or this host says the server's address cannot be reached.";
    ConnectReset = "connect_reset" 502 ServerHost Always counts "connection_terminated" Server b'C' "UF" "connect() failed (104: Connection reset by peer)" : "The connection was reset while it was being set up.";
    ConnectDenied = "connect_denied" 502 ClearwayHost Always spares "proxy_internal_error" Server b'C' "UF" "connect() to ADDR failed (13: Permission denied)" : "This host forbids the connection (permissions, policy or firewall).";
    ConnectFailed = "connect_failed" 502 ClearwayHost Always counts "proxy_internal_error" Server b'C' "UF" "connect() to ADDR failed" : "The connection failed with an error that has no kind of its own; see errno.";
    UnixMissing = "unix_missing" 502 ServerHost Always counts "connection_refused" Server b'C' "UF" "connect() to unix: failed (2: No such file or directory)" : "The server's Unix socket does not exist.";
    UnixBacklogFull = "unix_backlog_full" 503 Application Always counts "connection_limit_reached" Server b'C' "UF" "connect() to unix: failed (11: Resource temporarily unavailable)" : "The queue of the server's Unix socket is full.";

    // TLS with the server: the connection is there, nothing was sent over it yet.
    ServerTlsTimeout = "server_tls_timeout" 504 ServerHost Always counts "connection_timeout" ServerTimeout b'C' "UF" "upstream timed out (110: Connection timed out) while SSL handshaking to upstream" : "The TLS handshake with the server was not complete within timeouts.connect.";
    ServerTlsClosed = "server_tls_closed" 502 ServerHost Always counts "tls_protocol_error" Server b'C' "UF" "peer closed connection in SSL handshake while SSL handshaking to upstream" : "The server ended the connection in the middle of the TLS handshake.";
    ServerTlsReset = "server_tls_reset" 502 ServerHost Always counts "connection_terminated" Server b'C' "UF" "peer closed connection in SSL handshake (104: Connection reset by peer) while SSL handshaking to upstream" : "The server reset the connection in the middle of the TLS handshake.";
    ServerTlsAlert = "server_tls_alert" 502 Configuration Always counts "tls_alert_received" Server b'C' "UF" "SSL_do_handshake() failed (SSL: alert) while SSL handshaking to upstream" : "The server refused the TLS handshake with an alert.";
    ServerWantsCertificate = "server_wants_certificate" 502 Configuration Always counts "tls_alert_received" Server b'C' "UF" "SSL_do_handshake() failed (SSL: alert certificate required) while SSL handshaking to upstream" : "The server demands a client certificate, or does not accept the one it got.";
    ServerSpeaksPlain = "server_speaks_plain" 502 Configuration Always counts "tls_protocol_error" Proxy b'C' "UF" "SSL_do_handshake() failed (SSL: wrong version number) while SSL handshaking to upstream" : "The server answered the TLS handshake with something that is not TLS.";
    ServerTlsProtocol = "server_tls_protocol" 502 ServerHost Always counts "tls_protocol_error" Proxy b'C' "UF" "SSL_do_handshake() failed while SSL handshaking to upstream" : "The server broke the TLS protocol, or its bytes were changed on the way.";
    ServerTlsIncompatible = "server_tls_incompatible" 502 Configuration Always counts "tls_protocol_error" Proxy b'C' "UF" "SSL_do_handshake() failed (SSL: unsupported protocol) while SSL handshaking to upstream" : "The server chose a TLS version or cipher suite that is not accepted.";
    ServerCertificateExpired = "server_certificate_expired" 502 ServerHost Always counts "tls_certificate_error" Proxy b'C' "UF" "upstream SSL certificate verify error: (10:certificate has expired) while SSL handshaking to upstream" : "The server's certificate has expired.";
    ServerCertificateNotYetValid = "server_certificate_not_yet_valid" 502 ServerHost Always counts "tls_certificate_error" Proxy b'C' "UF" "upstream SSL certificate verify error: (9:certificate is not yet valid) while SSL handshaking to upstream" : "The server's certificate is not valid yet.";
    ServerCertificateUntrusted = "server_certificate_untrusted" 502 Configuration Always counts "tls_certificate_error" Proxy b'C' "UF" "upstream SSL certificate verify error: (20:unable to get local issuer certificate) while SSL handshaking to upstream" : "The server's certificate was not issued by an authority that is trusted for it.";
    ServerCertificateName = "server_certificate_name" 502 Configuration Always counts "tls_certificate_error" Proxy b'C' "UF" "upstream SSL certificate does not match while SSL handshaking to upstream" : "The server's certificate is for other names than the one expected.";
    ServerCertificateRevoked = "server_certificate_revoked" 502 ServerHost Always counts "tls_certificate_error" Proxy b'C' "UF" "upstream SSL certificate verify error: (23:certificate revoked) while SSL handshaking to upstream" : "The server's certificate was revoked.";
    ServerCertificateInvalid = "server_certificate_invalid" 502 ServerHost Always counts "tls_certificate_error" Proxy b'C' "UF" "upstream SSL certificate verify error while SSL handshaking to upstream" : "The server's certificate is malformed, wrongly signed or not meant for servers.";

    // Sending the request.
    ServerClosedWhileSending = "server_closed_while_sending" 502 Application Configured counts "connection_terminated" Server b'H' "UC" "upstream prematurely closed connection while sending request to upstream" : "The server closed the connection while the request was being sent.";
    ServerResetWhileSending = "server_reset_while_sending" 502 Application Configured counts "connection_terminated" Server b'H' "UC" "writev() failed (104: Connection reset by peer) while sending request to upstream" : "The server reset the connection while the request was being sent.";
    ServerWriteTimeout = "server_write_timeout" 504 Application Configured counts "connection_write_timeout" ServerTimeout b'H' "UT" "upstream timed out (110: Connection timed out) while sending request to upstream" : "The server took nothing of the request for timeouts.server_write.";

    // Waiting for the answer.
    ReusedClosed = "reused_closed" 502 Application Reused spares "connection_terminated" Server b'H' "UC" "upstream prematurely closed connection while reading response header from upstream" : "The server closed a kept connection just when it was used again.";
    ReusedReset = "reused_reset" 502 Application Reused spares "connection_terminated" Server b'H' "UC" "recv() failed (104: Connection reset by peer) while reading response header from upstream" : "The server reset a kept connection just when it was used again.";
    ServerClosedNoResponse = "server_closed_no_response" 502 Application Configured counts "connection_terminated" Server b'H' "UC" "upstream prematurely closed connection while reading response header from upstream" : "The server took the request and closed the connection without a byte of response.";
    ServerResetNoResponse = "server_reset_no_response" 502 Application Configured counts "connection_terminated" Server b'H' "UC" "recv() failed (104: Connection reset by peer) while reading response header from upstream" : "The server took the request and reset the connection without a byte of response.";
    ResponseTimeout = "response_timeout" 504 Application Configured counts "http_response_timeout" ServerTimeout b'H' "UT" "upstream timed out (110: Connection timed out) while reading response header from upstream" : "No byte of response came within timeouts.response.";

    TotalTimeout = "total_timeout" 504 Application Never spares "http_response_timeout" ServerTimeout b'H' "UT" "upstream timed out (110: Connection timed out) while reading upstream" : "The request and its attempts were not done within timeouts.total.";

    // Reading the response head.
    ResponseHeadTruncated = "response_head_truncated" 502 Application Configured counts "http_response_incomplete" Proxy b'H' "UPE" "upstream prematurely closed connection while reading response header from upstream" : "The server closed the connection in the middle of the response head.";
    ResponseHeadReset = "response_head_reset" 502 Application Configured counts "http_response_incomplete" Proxy b'H' "UPE" "recv() failed (104: Connection reset by peer) while reading response header from upstream" : "The server reset the connection in the middle of the response head.";
    ResponseHeadStalled = "response_head_stalled" 504 Application Configured counts "http_response_timeout" ServerTimeout b'H' "UT" "upstream timed out (110: Connection timed out) while reading response header from upstream" : "The response head began and did not end within timeouts.response.";
    ResponseHeadersTooLarge = "response_headers_too_large" 502 Application Never counts "http_response_header_section_size" Proxy b'H' "UPE" "upstream sent too big header while reading response header from upstream" : "The response headers are larger than limits.response_header_bytes.";
    ResponseTooManyHeaders = "response_too_many_headers" 502 Application Never counts "http_response_header_section_size" Proxy b'H' "UPE" "upstream sent too big header while reading response header from upstream" : "The response has more headers than limits.header_count.";
    ResponseStatusLineInvalid = "response_status_line_invalid" 502 Application Configured counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent no valid HTTP/1.0 header while reading response header from upstream" : "The status line is malformed.";
    ResponseNotHttp = "response_not_http" 502 Configuration Configured counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent no valid HTTP/1.0 header while reading response header from upstream" : "What the server sent is not HTTP at all.";
    ServerSpeaksTls = "server_speaks_tls" 502 Configuration Never counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent no valid HTTP/1.0 header while reading response header from upstream" : "The server answered with TLS: its port expects an encrypted connection.";
    ServerSpeaksHttp2 = "server_speaks_http2" 502 Configuration Never counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent no valid HTTP/1.0 header while reading response header from upstream" : "The server answered with HTTP/2 frames on an HTTP/1.1 connection.";
    ResponseHeaderInvalid = "response_header_invalid" 502 Application Configured counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent invalid header while reading response header from upstream" : "A response header has bytes that HTTP does not allow.";
    ResponseFramingConflict = "response_framing_conflict" 502 Application Configured counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time" : "The response says in two ways where its body ends.";
    ResponseLengthInvalid = "response_length_invalid" 502 Application Configured counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent invalid \"Content-Length\" header" : "The response's Content-Length is repeated or not a number.";
    ResponseCodingUnsupported = "response_coding_unsupported" 502 Application Configured counts "http_response_transfer_coding" Proxy b'H' "UPE" "upstream sent unknown \"Transfer-Encoding\"" : "The response uses a transfer coding other than chunked.";
    UpgradeUnexpected = "upgrade_unexpected" 502 Application Never counts "http_upgrade_failed" Proxy b'H' "UPE" "" : "The server switched protocols although the request did not ask for it.";
    UpgradeUnsupported = "upgrade_unsupported" 502 Configuration Never spares "http_upgrade_failed" Proxy b'H' "UPE" "" : "The server speaks HTTP/2 and does not take WebSockets over it.";
    UpgradeIgnored = "upgrade_ignored" 502 Application Never spares "http_upgrade_failed" Proxy b'H' "UPE" "" : "The server answered a WebSocket over HTTP/2 with success, but without switching protocols.";
    TooManyInterim = "too_many_interim" 502 Application Never counts "http_protocol_error" Proxy b'H' "UPE" "" : "The server sent more interim (1xx) responses than limits.interim_responses.";

    // HTTP/2 with the server.
    ServerSpeaksHttp1 = "server_speaks_http1" 502 Configuration Never counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent too large http2 frame" : "The server answered with HTTP/1 on a connection that was to speak HTTP/2.";
    ServerRefusesHttp2 = "server_refuses_http2" 502 Configuration Always counts "tls_protocol_error" Proxy b'C' "UF" "" : "The server did not agree on HTTP/2 in the TLS handshake.";
    ServerGoaway = "server_goaway" 502 Application Always counts "connection_terminated" Server b'H' "UC" "upstream sent goaway" : "The server ended the HTTP/2 connection before it worked on this request.";
    ServerRefusedStream = "server_refused_stream" 503 Application Always counts "connection_limit_reached" Server b'H' "UR" "upstream rejected request" : "The server refused the HTTP/2 stream before it worked on it.";
    ServerResetStream = "server_reset_stream" 502 Application Configured counts "http_response_incomplete" Server b'H' "UR" "upstream rejected request" : "The server reset the HTTP/2 stream.";
    ServerH2Protocol = "server_h2_protocol_error" 502 Application Configured counts "http_protocol_error" Proxy b'H' "UPE" "upstream sent invalid http2 frame" : "The server broke the rules of HTTP/2.";

    // Relaying the response body: the status line is out, so the client sees a cut response.
    ResponseBodyShort = "response_body_short" 502 Application Never counts "http_response_incomplete" Server b'D' "UPE" "upstream prematurely closed connection while reading upstream" : "The server closed the connection before the announced end of the body.";
    ResponseBodyReset = "response_body_reset" 502 Application Never counts "http_response_incomplete" Server b'D' "UC" "recv() failed (104: Connection reset by peer) while reading upstream" : "The server reset the connection in the middle of the body.";
    ResponseBodyStalled = "response_body_stalled" 504 Application Never counts "http_response_timeout" ServerTimeout b'D' "UT" "upstream timed out (110: Connection timed out) while reading upstream" : "The server sent nothing of the body for timeouts.server_idle.";
    ResponseChunkInvalid = "response_chunk_invalid" 502 Application Never counts "http_response_transfer_coding" Proxy b'D' "UPE" "upstream sent invalid chunked response while reading upstream" : "The chunked framing of the response is broken.";
    ResponseContentInvalid = "response_content_invalid" 502 Application Never counts "http_response_content_coding" Proxy b'D' "UPE" "" : "The body of the response is not in the coding that Content-Encoding names.";

    // Tunnels and layer 4.
    TunnelIdle = "tunnel_idle" 0 Application Never spares "connection_timeout" ServerTimeout b'D' "SI" "upstream timed out (110: Connection timed out) while proxying upgraded connection" : "Nobody sent anything through the tunnel for timeouts.tunnel.";
    TunnelServerReset = "tunnel_server_reset" 0 Application Never counts "connection_terminated" Server b'D' "UC" "recv() failed (104: Connection reset by peer) while proxying upgraded connection" : "The server reset the tunnel.";
    TunnelClientReset = "tunnel_client_reset" 0 Client Never spares "" Client b'D' "DC" "client prematurely closed connection" : "The client reset the tunnel.";

    // Probes only: never in live traffic.
    ProbeStatus = "probe_status" 0 Application Never counts "" Server b'H' "" "" : "A health check was answered with a status outside the expected ones.";
    ProbeBody = "probe_body" 0 Application Never counts "" Server b'H' "" "" : "A health check's body does not match the expected text.";
}

impl FaultKind {
    /// Kinds of a TLS handshake with a server that failed, other than by time.
    pub const OF_SERVER_TLS: [Self; 13] = [
        Self::ServerTlsClosed,
        Self::ServerTlsReset,
        Self::ServerTlsAlert,
        Self::ServerWantsCertificate,
        Self::ServerSpeaksPlain,
        Self::ServerTlsIncompatible,
        Self::ServerCertificateUntrusted,
        Self::ServerCertificateName,
        Self::ServerCertificateExpired,
        Self::ServerCertificateNotYetValid,
        Self::ServerCertificateRevoked,
        Self::ServerCertificateInvalid,
        Self::ServerTlsProtocol,
    ];

    /// Stable code for logs, metrics and documentation.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// Status of the reply to the client; 0 when no reply can be sent.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// Who has to act, as far as the symptom alone tells.
    #[must_use]
    pub fn party(self) -> Party {
        self.row().party
    }

    /// When another Attempt may follow.
    #[must_use]
    pub fn retry(self) -> Retry {
        self.row().retry
    }

    /// Whether the fault counts against the server in passive health.
    #[must_use]
    pub fn counts_against_server(self) -> bool {
        self.row().counts
    }

    /// Error type of `Proxy-Status` (RFC 9209 section 2.3); `None` when none fits.
    #[must_use]
    pub fn rfc9209(self) -> Option<&'static str> {
        Some(self.row().rfc9209).filter(|text| !text.is_empty())
    }

    /// The two letters of HAProxy's termination state.
    #[must_use]
    pub fn haproxy(self) -> [u8; 2] {
        let (who, what) = self.row().haproxy;
        [who as u8, what]
    }

    /// Envoy's response flag; `None` when none fits.
    #[must_use]
    pub fn envoy(self) -> Option<&'static str> {
        Some(self.row().envoy).filter(|text| !text.is_empty())
    }

    /// The phrase NGINX writes into its error log; `None` when it has none.
    #[must_use]
    pub fn nginx(self) -> Option<&'static str> {
        Some(self.row().nginx).filter(|text| !text.is_empty())
    }

    /// One sentence that says what was seen.
    #[must_use]
    pub fn summary(self) -> &'static str {
        self.row().summary
    }

    /// The kind with a code, as configuration and log readers need it.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The kind with a discriminant, as compact records store it.
    #[must_use]
    pub fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }

    /// Whether the same server fails in the same way a moment later: its certificate or the protocol on
    /// its port is not what is expected.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::ServerWantsCertificate
                | Self::ServerSpeaksPlain
                | Self::ServerTlsIncompatible
                | Self::ServerCertificateExpired
                | Self::ServerCertificateNotYetValid
                | Self::ServerCertificateUntrusted
                | Self::ServerCertificateName
                | Self::ServerCertificateRevoked
                | Self::ServerCertificateInvalid
        )
    }

    /// Whether the client went away by itself.
    #[must_use]
    pub fn is_client_abort(self) -> bool {
        matches!(
            self,
            Self::ClientClosed
                | Self::ClientReset
                | Self::ClientNotReading
                | Self::TunnelClientReset
        )
    }
}

/// The coordinates of one thing that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which symptom.
    pub kind: FaultKind,
    /// In which phase.
    pub phase: Phase,
    /// On which side.
    pub side: Side,
    /// System error number, 0 when none was involved.
    pub errno: i32,
    /// What the peer said about it in its protocol, if anything.
    pub signal: Option<Signal>,
    /// Microseconds since the Attempt (or request) began.
    pub elapsed_us: u64,
}

impl Fault {
    /// A fault without a system error.
    #[must_use]
    pub fn new(kind: FaultKind, phase: Phase, side: Side) -> Self {
        Self {
            kind,
            phase,
            side,
            errno: 0,
            signal: None,
            elapsed_us: 0,
        }
    }

    /// The same fault with the error number that came with it.
    #[must_use]
    pub fn with_errno(self, errno: i32) -> Self {
        Self { errno, ..self }
    }

    /// The same fault with what the peer said.
    #[must_use]
    pub fn with_signal(self, signal: Option<Signal>) -> Self {
        Self { signal, ..self }
    }

    /// The same fault with the time it took.
    #[must_use]
    pub fn after(self, elapsed_us: u64) -> Self {
        Self { elapsed_us, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_found_again() {
        for (index, &kind) in FaultKind::ALL.iter().enumerate() {
            assert_eq!(FaultKind::from_code(kind.code()), Some(kind));
            assert_eq!(
                FaultKind::from_raw(u8::try_from(index).unwrap()),
                Some(kind)
            );
            assert!(
                kind.code()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
    }

    #[test]
    fn what_may_never_be_retried_is_not_even_when_named() {
        for word in 0..8_u8 {
            let (named, on_connect, on_reused) = (word & 1 > 0, word & 2 > 0, word & 4 > 0);
            let allows = |retry: Retry| retry.allows(named, on_connect, on_reused);
            assert_eq!(allows(Retry::Always), named || on_connect, "{word}");
            assert_eq!(allows(Retry::Reused), named || on_reused, "{word}");
            assert_eq!(allows(Retry::Configured), named, "{word}");
            assert!(!allows(Retry::Never), "{word}");
        }
    }

    #[test]
    fn client_faults_never_count_against_servers() {
        for &kind in FaultKind::ALL {
            if kind.party() == Party::Client {
                assert!(!kind.counts_against_server(), "{}", kind.code());
            }
            let status = kind.status();
            assert!(
                status == 0 || (400..600).contains(&status),
                "{}",
                kind.code()
            );
            assert!(kind.summary().ends_with('.'), "{}", kind.code());
        }
    }

    #[test]
    fn error_types_are_those_of_rfc_9209() {
        let known = [
            "dns_timeout",
            "dns_error",
            "destination_not_found",
            "destination_unavailable",
            "destination_ip_prohibited",
            "destination_ip_unroutable",
            "connection_refused",
            "connection_terminated",
            "connection_timeout",
            "connection_read_timeout",
            "connection_write_timeout",
            "connection_limit_reached",
            "http_request_error",
            "http_request_denied",
            "http_response_incomplete",
            "http_response_header_section_size",
            "http_response_transfer_coding",
            "http_response_content_coding",
            "http_response_timeout",
            "http_upgrade_failed",
            "http_protocol_error",
            "tls_protocol_error",
            "tls_certificate_error",
            "tls_alert_received",
            "proxy_internal_error",
            "proxy_configuration_error",
            "proxy_loop_detected",
        ];
        for &kind in FaultKind::ALL {
            assert!(
                kind.rfc9209().is_none_or(|t| known.contains(&t)),
                "{}",
                kind.code()
            );
        }
    }
}
