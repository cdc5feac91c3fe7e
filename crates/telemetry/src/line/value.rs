//! Values of a Record by name: one table gives the spellings, HAProxy's and NGINX's words for them,
//! the documentation and the code.

use clearway_base::clock::{self, Civil};
use clearway_base::decimal;
use clearway_outcome::{Address, Attempt, Phase, Protocol, Record, Side, TlsFacts, errno_name};

use super::template::Place;
use super::{ValueDoc, state};

type Write = fn(&Record<'_>, &mut Place<'_>);

macro_rules! values {
    ($($(#[doc = $doc:literal])+
        $variant:ident = $spelling:literal $haproxy:literal $nginx:literal $write:expr;)+) => {
        /// A value that the Record holds.
        ///
        /// Milliseconds are whole and -1 for what was not reached, as HAProxy writes them; seconds have
        /// three decimals. Other values that are not there are nothing at all.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Value { $($(#[doc = $doc])+ $variant,)+ }

        impl Value {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The reference, in order.
            pub const REFERENCE: &'static [ValueDoc] = &[$(ValueDoc {
                spelling: $spelling, haproxy: $haproxy, nginx: $nginx, summary: concat!($($doc,)+),
            },)+];

            /// The value of a name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($spelling => Some(Self::$variant),)+ _ => None }
            }

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $spelling,)+ }
            }

            pub(super) fn write(self, record: &Record<'_>, to: &mut Place<'_>) {
                let write: Write = match self { $(Self::$variant => $write,)+ };
                write(record, to);
            }
        }
    };
}

values! {
    /// Address and port of the client; `unix:1` on a Unix socket.
    Client = "client" "%ci:%cp" "" client;
    /// Address of the client; `unix:` on a Unix socket.
    ClientIp = "client_ip" "%ci" "$remote_addr" |r, to| match r.client {
        Address::Ip(address) => decimal::write_ip(to.bytes, address.ip().to_canonical()),
        Address::Unix => to.raw("unix:"),
    };
    /// Port of the client.
    ClientPort = "client_port" "%cp" "$remote_port" |r, to| match r.client {
        Address::Ip(address) => to.number(address.port().into()),
        Address::Unix => {}
    };
    /// Name of the listener.
    Listener = "listener" "%f" "" |r, to| to.name(r.listener);
    /// Name of the listener, with `~` behind it when the client spoke TLS.
    ListenerTls = "haproxy_listener" "%ft" "" |r, to| {
        to.name(r.listener);
        to.raw(if r.tls.is_some() { "~" } else { "" });
    };
    /// Name of the route.
    Route = "route" "" "" |r, to| to.name(r.route);
    /// Name of the backend.
    Backend = "backend" "" "$proxy_host" |r, to| to.name(r.backend);
    /// Name of the backend, or of the listener when no backend was chosen.
    BackendOrListener = "haproxy_backend" "%b" "" |r, to| {
        to.name(if r.backend.is_none() { r.listener } else { r.backend });
    };
    /// Name of the last server.
    Server = "server" "" "" |r, to| if let Some(server) = server(r) { to.text(server.as_bytes()) };
    /// Name of the last server, `<NOSRV>` when none was chosen.
    ServerOrNone = "haproxy_server" "%s" "" |r, to| to.text(server(r).unwrap_or("<NOSRV>").as_bytes());
    /// Address and port of the last server.
    ServerAddress = "server_address" "%si:%sp" "" |r, to| {
        if let Some(attempt) = r.attempts.last() { to.name(attempt.address) }
    };
    /// Id of the request.
    Id = "id" "%ID" "$request_id" |r, to| to.text(&r.id.text());
    /// Method.
    Method = "method" "%HM" "$request_method" |r, to| to.text(r.method);
    /// Target of the request as it came, with its query.
    Target = "target" "%HU" "$request_uri" |r, to| to.text(r.target);
    /// Target as it came, without its query.
    TargetPath = "target_path" "%HP" "" |r, to| to.text(parts(r.target).0);
    /// Path of the target as it came, without scheme and host.
    TargetPathOnly = "target_path_only" "%HPO" "" |r, to| to.text(path_only(r.target));
    /// Query of the target as it came, with its question mark.
    TargetQuery = "target_query" "%HQ" "" |r, to| to.text(parts(r.target).1);
    /// Protocol: `HTTP/1.1`, or `TCP` at layer 4.
    Protocol = "protocol" "%HV" "$server_protocol" |r, to| to.raw(r.protocol.name());
    /// `HTTP` or `TCP`.
    Mode = "haproxy_mode" "" "" |r, to| {
        to.raw(if r.protocol == Protocol::Tcp { "TCP" } else { "HTTP" });
    };
    /// First line of the request.
    Request = "request" "" "$request" |r, to| if !r.method.is_empty() { request(r, to) };
    /// First line of the request, `<BADREQ>` when it could not be read.
    RequestOrBad = "haproxy_request" "%r" "" |r, to| match is_bad(r) {
        true => to.raw("<BADREQ>"),
        false => request(r, to),
    };
    /// Status sent to the client in three digits, `000` when none was.
    Status = "status" "" "$status" |r, to| to.padded(r.status.into(), 3);
    /// Status sent to the client, `-1` when none was; 400, as HAProxy has it, for a client that left
    /// before there was an answer.
    StatusOrNone = "haproxy_status" "%ST" "" |r, to| match r.status {
        0 => to.raw("-1"),
        499 => to.raw("400"),
        status => to.number(status.into()),
    };
    /// Status of a connection at layer 4 as NGINX has it: 200, also when it was cut once it had a server,
    /// else 400, 403, 502 or 503.
    StreamStatus = "stream_status" "" "" |r, to| to.number(stream_status(r).into());
    /// Outcome of a call of gRPC, as a number.
    GrpcStatus = "grpc_status" "" "" |r, to| {
        if let Some(status) = r.grpc_status { to.number(status.0.into()) }
    };
    /// Bytes read from the client, head included.
    BytesIn = "bytes_in" "%U" "$request_length" |r, to| to.number(r.bytes_in);
    /// Bytes written to the client, head included.
    BytesOut = "bytes_out" "%B" "$bytes_sent" |r, to| to.number(r.bytes_out);
    /// Bytes of the body written to the client.
    BodyOut = "body_out" "" "$body_bytes_sent" |r, to| to.number(r.body_out);
    /// Time from the first byte of the request until its head was complete.
    HeadMs = "head_ms" "%TR" "" |r, to| to.millis((!is_bad(r)).then_some(r.timings.head_us));
    /// Time that the last attempt waited for a slot of a server.
    QueueMs = "queue_ms" "%Tw" "" |r, to| to.millis(queue(r));
    /// Time that the last attempt took to connect, TLS included.
    ConnectMs = "connect_ms" "%Tc" "" |r, to| to.millis(connect(r));
    /// Time from the request being sent until the first byte of the response, in the last attempt.
    ResponseMs = "response_ms" "%Tr" "" |r, to| to.millis(response(r));
    /// Time from the first byte of the response until the end.
    DataMs = "data_ms" "%Td" "" |r, to| to.millis(data(r));
    /// Time from the first byte of the request (layer 4: from the connection's beginning) to the end.
    TotalMs = "total_ms" "%Ta" "" |r, to| to.millis(Some(r.timings.total_us));
    /// The same in seconds.
    TotalS = "total_s" "" "$request_time" |r, to| to.seconds(r.timings.total_us);
    /// The same in microseconds.
    TotalUs = "total_us" "" "" |r, to| to.number(r.timings.total_us);
    /// Addresses of the servers of all attempts, with `, ` between.
    UpstreamAddress = "upstream_addr" "%si:%sp" "$upstream_addr" |r, to| {
        to.list(r, |a, to| to.name(a.address));
    };
    /// Statuses of the servers of all attempts; what NGINX makes of a fault where there was none.
    UpstreamStatus = "upstream_status" "" "$upstream_status" |r, to| to.list(r, |a, to| {
        let made = a.fault.map_or(0, |fault| fault.kind.status());
        to.padded(if a.status > 0 { a.status } else { made }.into(), 3);
    });
    /// Seconds that each attempt took.
    UpstreamTime = "upstream_response_time" "" "$upstream_response_time" |r, to| {
        to.list(r, |a, to| to.seconds(a.ended_us));
    };
    /// Seconds until each attempt had its connection.
    UpstreamConnect = "upstream_connect_time" "" "$upstream_connect_time" |r, to| {
        to.list(r, |a, to| to.seconds_or_dash(a.connected_us));
    };
    /// Seconds until the first byte of the response in each attempt.
    UpstreamHeader = "upstream_header_time" "" "$upstream_header_time" |r, to| {
        to.list(r, |a, to| to.seconds_or_dash(a.first_byte_us));
    };
    /// Bytes written to the server in each attempt.
    UpstreamSent = "upstream_bytes_sent" "" "$upstream_bytes_sent" |r, to| {
        to.list(r, |a, to| to.number(a.bytes_sent));
    };
    /// Bytes read from the server in each attempt.
    UpstreamReceived = "upstream_bytes_received" "" "$upstream_bytes_received" |r, to| {
        to.list(r, |a, to| to.number(a.bytes_received));
    };
    /// Bytes of the response's body read from the server in each attempt.
    UpstreamLength = "upstream_response_length" "" "$upstream_response_length" |r, to| {
        to.list(r, |a, to| to.number(a.body_received));
    };
    /// Attempts besides the first.
    Retries = "retries" "" "" |r, to| to.number(retries(r));
    /// The same, with `+` before it when the last went to another server than the first.
    RetriesMarked = "haproxy_retries" "%rc" "" |r, to| {
        to.raw(if is_elsewhere(r) { "+" } else { "" });
        to.number(retries(r));
    };
    /// `true` when the last attempt used a connection that had carried a request before, else `false`.
    Reused = "reused" "" "" |r, to| {
        to.raw(if r.attempts.last().is_some_and(Attempt::is_reused) { "true" } else { "false" });
    };
    /// HAProxy's termination state in four letters. The last two, of cookies, are always `-`.
    State = "haproxy_state" "%tsc" "" |r, to| {
        to.text(&state::termination(r));
        to.raw("--");
    };
    /// HAProxy's termination state in two letters.
    StateTcp = "haproxy_state_tcp" "%ts" "" |r, to| to.text(&state::termination(r));
    /// Requests in flight on the backend when this one ended.
    BackendConnections = "backend_connections" "%bc" "" |r, to| to.number(r.connections.1.into());
    /// `OK` when the request came to its proper end.
    Completion = "completion" "" "$request_completion" |r, to| {
        to.raw(if r.fault.is_none() { "OK" } else { "" });
    };
    /// `1` when the request failed, was tried more than once or was answered with 500 or above, else
    /// `0`: what HAProxy writes with `option dontlog-normal`. For `if`.
    Abnormal = "abnormal" "" "" |r, to| to.number(is_abnormal(r).into());
    /// The contrary of `abnormal`.
    Normal = "normal" "" "" |r, to| to.number((!is_abnormal(r)).into());
    /// Code of the fault, as in docs/faults.md.
    Fault = "fault" "" "" |r, to| if let Some(fault) = r.fault { to.raw(fault.kind.code()) };
    /// The fault in a sentence.
    Summary = "fault_summary" "" "" |r, to| {
        if let Some(fault) = r.fault { to.text(fault.kind.summary().as_bytes()) }
    };
    /// Phase of the fault.
    FaultPhase = "fault_phase" "" "" |r, to| if let Some(fault) = r.fault { to.raw(fault.phase.name()) };
    /// Side of the fault.
    FaultSide = "fault_side" "" "" |r, to| if let Some(fault) = r.fault { to.raw(fault.side.name()) };
    /// Who has to act on the fault.
    FaultParty = "fault_party" "" "" |r, to| {
        if let Some(fault) = r.fault { to.raw(fault.kind.party().name()) }
    };
    /// Name of the system's error that came with the fault.
    FaultErrno = "fault_errno" "" "" |r, to| {
        to.raw(r.fault.and_then(|fault| errno_name(fault.errno)).unwrap_or_default());
    };
    /// Version of TLS with the client: `TLSv1.3`.
    TlsVersion = "tls_version" "%sslv" "$ssl_protocol" |r, to| tls(r, to, TlsFacts::version_name);
    /// Cipher suite of TLS with the client, in IANA's words.
    TlsCipher = "tls_cipher" "%sslc" "$ssl_cipher" |r, to| tls(r, to, TlsFacts::cipher_name);
    /// Name that the client asked for in the TLS handshake (SNI).
    TlsServerName = "tls_server_name" "%[ssl_fc_sni]" "$ssl_server_name" |r, to| {
        if let Some(tls) = r.tls { to.text(tls.server_name.as_bytes()) }
    };
    /// Application protocol agreed on in the TLS handshake (ALPN).
    TlsAlpn = "tls_alpn" "%[ssl_fc_alpn]" "$ssl_alpn_protocol" |r, to| {
        if let Some(tls) = r.tls { to.text(&tls.alpn) }
    };
    /// `r` when the client resumed a TLS session, else `.`; nothing without TLS.
    TlsReused = "tls_session_reused" "" "$ssl_session_reused" |r, to| {
        tls(r, to, |tls| if tls.resumed { "r" } else { "." });
    };
    /// When the request began: `21/Nov/2026:07:29:59.999`. All times are in UTC.
    TimeHaproxy = "time_haproxy" "%tr" "" |r, to| to.haproxy_time(started(r));
    /// When the request began: `21/Nov/2026:07:29:59 +0000`.
    TimeClf = "time_clf" "%trg" "" |r, to| to.common_time(started(r));
    /// When the request began: `2026-11-21T07:29:59.999Z`.
    TimeRfc3339 = "time_rfc3339" "" "" |r, to| to.text(&clock::rfc3339_text(started(r)));
    /// When the request began, in seconds since 1970.
    TimeUnix = "time_unix" "%Ts" "" |r, to| to.number(started(r) / 1_000_000);
    /// Milliseconds within the second in which the request began, in three digits.
    TimeMillis = "time_millis" "%ms" "" |r, to| to.padded(started(r) / 1_000 % 1_000, 3);
    /// When the request ended: `21/Nov/2026:07:29:59 +0000`.
    EndClf = "end_time_clf" "%Tl" "$time_local" |r, to| to.common_time(ended(r));
    /// When the request ended: `2026-11-21T07:29:59+00:00`.
    EndIso = "end_time_iso8601" "" "$time_iso8601" |r, to| {
        let text = clock::rfc3339_text(ended(r));
        to.text(text.get(..19).unwrap_or_default());
        to.raw("+00:00");
    };
    /// When the request ended: `2026-11-21T07:29:59.999Z`.
    EndRfc3339 = "end_time_rfc3339" "" "" |r, to| to.text(&clock::rfc3339_text(ended(r)));
    /// When the request ended, in seconds since 1970 with three decimals.
    EndS = "end_time_s" "" "$msec" |r, to| to.seconds(ended(r));
    /// Id of the process.
    Pid = "pid" "%pid" "$pid" |_, to| to.number(std::process::id().into());
}

fn stream_status(record: &Record<'_>) -> u16 {
    match record.fault {
        None => 200,
        Some(fault) if fault.phase == Phase::Tunnel => 200,
        Some(fault) => match fault.kind.status() {
            status @ (403 | 503) => status,
            _ if fault.side == Side::Client => 400,
            _ => 502,
        },
    }
}

fn client(record: &Record<'_>, to: &mut Place<'_>) {
    match record.client {
        Address::Ip(_) => record.client.write(to.bytes),
        Address::Unix => to.raw("unix:1"),
    }
}

fn server<'a>(record: &Record<'a>) -> Option<&'a str> {
    let name = record.attempts.last()?.server.as_str();
    Some(name).filter(|name| *name != "-")
}

/// Whether the request's head could not be read.
fn is_bad(record: &Record<'_>) -> bool {
    let in_head = |fault: clearway_outcome::Fault| fault.phase <= Phase::RequestHead;
    record.method.is_empty() || record.fault.is_some_and(in_head)
}

fn request(record: &Record<'_>, to: &mut Place<'_>) {
    to.text(record.method);
    to.raw(" ");
    to.text(record.target);
    to.raw(" ");
    to.raw(record.protocol.name());
}

/// What stands before the question mark, and the rest.
fn parts(target: &[u8]) -> (&[u8], &[u8]) {
    let at = target.iter().position(|byte| *byte == b'?');
    target
        .split_at_checked(at.unwrap_or(target.len()))
        .unwrap_or((target, b""))
}

/// The path of a target in whatever form.
fn path_only(target: &[u8]) -> &[u8] {
    let (path, _) = parts(target);
    if path.starts_with(b"/") {
        return path;
    }
    let Some(at) = path.windows(3).position(|three| three == b"://") else {
        return path;
    };
    let behind = path.get(at + 3..).unwrap_or_default();
    let slash = behind.iter().position(|byte| *byte == b'/');
    slash.and_then(|slash| behind.get(slash..)).unwrap_or(b"/")
}

fn is_abnormal(record: &Record<'_>) -> bool {
    record.fault.is_some() || record.attempts.len() > 1 || record.status >= 500
}

fn queue(record: &Record<'_>) -> Option<u64> {
    let last = record.attempts.last();
    match last {
        Some(attempt) => Some(attempt.queued_us.unwrap_or(0)),
        // It waited for a server and got none.
        None => record
            .fault
            .filter(|fault| fault.phase == Phase::Queue)
            .map(|fault| fault.elapsed_us),
    }
}

fn connect(record: &Record<'_>) -> Option<u64> {
    let last = record.attempts.last()?;
    let connected = last.connected_us?;
    Some(connected.saturating_sub(last.queued_us.unwrap_or(0)))
}

fn response(record: &Record<'_>) -> Option<u64> {
    let last = record.attempts.last()?;
    // Some of an answer that was no answer does not count.
    last.first_byte_us
        .filter(|_| last.status > 0)
        .map(|first| first.saturating_sub(last.sent_us.unwrap_or(0)))
}

fn data(record: &Record<'_>) -> Option<u64> {
    let last = record.attempts.last()?;
    let from = match record.protocol {
        Protocol::Tcp => last.connected_us?,
        Protocol::Http10 | Protocol::Http11 | Protocol::Http2 => last.first_byte_us?,
    };
    Some(last.ended_us.saturating_sub(from))
}

fn retries(record: &Record<'_>) -> u64 {
    (record.attempts.len() as u64).saturating_sub(1)
}

fn is_elsewhere(record: &Record<'_>) -> bool {
    match record.attempts {
        [first, .., last] => first.address != last.address,
        [] | [_] => false,
    }
}

fn tls(record: &Record<'_>, to: &mut Place<'_>, word: fn(&TlsFacts) -> &'static str) {
    if let Some(facts) = record.tls {
        to.raw(word(facts));
    }
}

fn started(record: &Record<'_>) -> u64 {
    clock::wall_of(record.started)
}

fn ended(record: &Record<'_>) -> u64 {
    started(record).saturating_add(record.timings.total_us)
}

impl Place<'_> {
    fn name(&mut self, name: clearway_base::intern::Name) {
        if !name.is_none() && name.as_str() != "-" {
            self.text(name.as_str().as_bytes());
        }
    }

    /// Whole milliseconds; -1 for what was not reached.
    fn millis(&mut self, micros: Option<u64>) {
        match micros {
            Some(micros) => self.number(micros / 1_000),
            None => self.raw("-1"),
        }
    }

    /// Seconds with three decimals.
    fn seconds(&mut self, micros: u64) {
        self.number(micros / 1_000_000);
        self.raw(".");
        self.padded(micros / 1_000 % 1_000, 3);
    }

    fn seconds_or_dash(&mut self, micros: Option<u64>) {
        match micros {
            Some(micros) => self.seconds(micros),
            None => self.raw("-"),
        }
    }

    /// Something of each attempt, as NGINX does.
    fn list(&mut self, record: &Record<'_>, write: fn(&Attempt, &mut Place<'_>)) {
        for (index, attempt) in record.attempts.iter().enumerate() {
            self.raw(if index > 0 { ", " } else { "" });
            let before = self.bytes.len();
            write(attempt, self);
            if self.bytes.len() == before {
                self.raw("-");
            }
        }
    }

    /// `21/Nov/2026:07:29:59`.
    fn day_and_time(&mut self, date: &Civil) {
        self.padded(date.day.into(), 2);
        self.raw("/");
        self.raw(date.month_name());
        self.raw("/");
        self.padded(date.year.into(), 4);
        for part in [date.hour, date.minute, date.second] {
            self.raw(":");
            self.padded(part.into(), 2);
        }
    }

    fn common_time(&mut self, micros: u64) {
        self.day_and_time(&Civil::from_unix_micros(micros));
        self.raw(" +0000");
    }

    fn haproxy_time(&mut self, micros: u64) {
        let date = Civil::from_unix_micros(micros);
        self.day_and_time(&date);
        self.raw(".");
        self.padded((date.micro / 1_000).into(), 3);
    }
}
