//! Access logs as workers see them: which logs a request goes to, and what each wants to know besides
//! the Record.
//!
//! Lines are written by control's log thread. Where no log asks for anything, as with the formats of
//! our own, a request costs its Record and the logs' names.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use clearway_base::clock::Stamp;
use clearway_base::decimal;
use clearway_base::intern::Name;
use clearway_config::model::AccessLog;
use clearway_http::{Known, Span};
use clearway_outcome::TcpPace;
use clearway_rules::ast::{Definitions, Fetch, Since};
use clearway_rules::{Scratch, Value, View};
use clearway_telemetry::line::parcel::Writer;
use clearway_telemetry::line::{Asked, Given};
use smallvec::SmallVec;

use crate::client::Conn;
use crate::local::LocalBackend;

/// The access logs of the requests of a listener or route.
#[derive(Debug, Default)]
pub struct LogSet {
    logs: Box<[LogPlan]>,
    /// What is noted of a response's head while it is there.
    responses: Box<[Value]>,
    /// Headers that are noted of a response's head as it is sent.
    sent: Box<[Box<str>]>,
    /// Whether the address is noted that a connection to a server came from.
    asks_source: bool,
}

#[derive(Debug)]
struct LogPlan {
    /// What the log thread knows it by.
    name: Name,
    wants: Box<[Want]>,
}

/// Something that a log wants to know.
#[derive(Debug)]
enum Want {
    Asked(Asked),
    /// Of the request, when it is over.
    Request(Value),
    /// Of the response: its place among what was noted.
    Response(usize),
    /// Of the response as it was sent: its place among what was noted.
    Sent(usize),
}

/// What logs want of a response, kept until the request is over.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    response: Kept,
    sent: Kept,
    /// Where the connection to the server came from.
    pub(crate) source: Option<SocketAddr>,
}

impl Noted {
    /// Forgets everything, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.response.clear();
        self.sent.clear();
        self.source = None;
    }
}

/// Values of which some may not be there.
#[derive(Debug, Default)]
struct Kept {
    text: Vec<u8>,
    values: SmallVec<[Option<Span>; 4]>,
}

impl Kept {
    fn clear(&mut self) {
        self.text.clear();
        self.values.clear();
    }

    fn keep(&mut self, value: Option<&[u8]>) {
        let start = self.text.len();
        self.text.extend_from_slice(value.unwrap_or_default());
        let span = Span::new(start, self.text.len());
        self.values.push(value.map(|_| span));
    }

    fn value(&self, at: usize) -> Option<&[u8]> {
        let span = self.values.get(at).copied().flatten()?;
        Some(span.of(&self.text))
    }
}

impl LogSet {
    /// What workers have to know of access logs.
    ///
    /// # Errors
    /// A value cannot be had, as a sentence.
    pub fn compile(logs: &[AccessLog], definitions: &Definitions) -> Result<Self, String> {
        let (mut responses, mut sent) = (Vec::new(), Vec::new());
        let mut asks_source = false;
        let mut plans = Vec::new();
        for log in logs {
            let layout = log.layout();
            let mut wants = Vec::new();
            for given in layout.given() {
                wants.push(match given {
                    Given::Asked(asked) => {
                        asks_source |= matches!(asked, Asked::SourceIp | Asked::SourcePort);
                        Want::Asked(*asked)
                    }
                    Given::Sent(name) => {
                        sent.push(name.as_str().into());
                        Want::Sent(sent.len() - 1)
                    }
                    Given::Fetch(name) => {
                        let value = Value::compile(&Fetch::parse(name)?, definitions)?;
                        match value.since() {
                            Since::Request => Want::Request(value),
                            Since::Response => {
                                responses.push(value);
                                Want::Response(responses.len() - 1)
                            }
                        }
                    }
                });
            }
            plans.push(LogPlan {
                name: Name::new(&log.key()),
                wants: wants.into(),
            });
        }
        Ok(Self {
            logs: plans.into(),
            responses: responses.into(),
            sent: sent.into(),
            asks_source,
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Whether anything of the request's head is wanted when it is over.
    pub(crate) fn asks_rules(&self) -> bool {
        let of_request = |want: &Want| matches!(want, Want::Request(_));
        self.logs.iter().any(|log| log.wants.iter().any(of_request))
    }

    /// Whether anything of a server's response is wanted.
    pub(crate) fn asks_response(&self) -> bool {
        self.asks_source || !self.responses.is_empty()
    }

    /// Whether values of a response are wanted.
    pub(crate) fn asks_values(&self) -> bool {
        !self.responses.is_empty()
    }

    /// Whether the address is wanted that a connection to a server came from.
    pub(crate) fn asks_source(&self) -> bool {
        self.asks_source
    }

    /// Keeps what is wanted of a response while its head is there.
    pub(crate) fn note(&self, view: &View<'_>, scratch: &Scratch, noted: &mut Noted) {
        noted.response.clear();
        for value in &self.responses {
            value.show(view, scratch, &mut |value| noted.response.keep(value));
        }
    }

    /// Keeps what is wanted of a response's head as it is sent.
    pub(crate) fn note_sent(&self, head: &[u8], noted: &mut Noted) {
        noted.sent.clear();
        for name in &self.sent {
            noted.sent.keep(field(head, name.as_bytes()));
        }
    }

    /// Writes what goes before the Record.
    pub(crate) fn write(&self, ending: &Ending<'_>, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        for log in &self.logs {
            writer.log(log.name);
            for want in &log.wants {
                match (want, &ending.request) {
                    (Want::Asked(asked), _) => ending.answer(*asked, &mut writer),
                    (Want::Request(value), Some((view, scratch, _))) => {
                        value.show(view, scratch, &mut |value| writer.value(value));
                    }
                    (Want::Response(at), Some((_, _, noted))) => {
                        writer.value(noted.response.value(*at));
                    }
                    (Want::Sent(at), Some((_, _, noted))) => writer.value(noted.sent.value(*at)),
                    (Want::Request(_) | Want::Response(_) | Want::Sent(_), None) => {
                        writer.value(None);
                    }
                }
            }
        }
    }
}

/// A request or connection that is over, as logs may ask about it.
pub(crate) struct Ending<'a> {
    pub(crate) conn: &'a Conn,
    /// First byte of the request.
    pub(crate) started: Stamp,
    /// Head complete; none at layer 4 and for heads that never were.
    pub(crate) complete: Option<Stamp>,
    pub(crate) now: Stamp,
    pub(crate) backend: Option<&'a Rc<LocalBackend>>,
    /// The last server.
    pub(crate) server: Name,
    /// Where the connection to it came from.
    pub(crate) source: Option<SocketAddr>,
    /// The request, and what was noted of its response, where there was one.
    pub(crate) request: Option<(View<'a>, &'a Scratch, &'a Noted)>,
}

impl Ending<'_> {
    fn answer(&self, asked: Asked, writer: &mut Writer<'_>) {
        match asked {
            Asked::LocalIp => match self.local_ip() {
                Some(ip) => writer.write(|out| decimal::write_ip(out, ip)),
                None => writer.value(None),
            },
            Asked::LocalPort => match self.conn.port() {
                Some(port) => writer.write(|out| decimal::write(out, port.into())),
                None => writer.value(None),
            },
            Asked::SourceIp => match self.source {
                Some(address) => {
                    writer.write(|out| decimal::write_ip(out, address.ip().to_canonical()));
                }
                None => writer.value(None),
            },
            Asked::SourcePort => match self.source {
                Some(address) => writer.write(|out| decimal::write(out, address.port().into())),
                None => writer.value(None),
            },
            Asked::RemoteUser => match self.credentials() {
                Some(credentials) => writer.write(|out| user_of(credentials, out)),
                None => writer.value(None),
            },
            Asked::TcpRtt => self.pace(|pace| pace.rtt_us, writer),
            Asked::TcpRttVariation => self.pace(|pace| pace.rttvar_us, writer),
            Asked::TcpCongestionWindow => self.pace(|pace| pace.congestion_window, writer),
            Asked::TcpReceiveSpace => self.pace(|pace| pace.receive_space, writer),
            Asked::QueryMs if self.complete.is_none() => writer.value(Some(b"-1")),
            Asked::ProcessConnections
            | Asked::ListenerConnections
            | Asked::ServerConnections
            | Asked::BackendQueue
            | Asked::ConnectionRequests
            | Asked::HandshakeMs
            | Asked::IdleMs
            | Asked::QueryMs
            | Asked::SessionMs => {
                let number = self.number(asked);
                writer.write(|out| decimal::write(out, number));
            }
        }
    }

    /// A number of what the kernel knows of the client's connection.
    fn pace(&self, number: fn(&TcpPace) -> u32, writer: &mut Writer<'_>) {
        match self.conn.stream.tcp_pace() {
            Some(pace) => writer.write(|out| decimal::write(out, number(&pace).into())),
            None => writer.value(None),
        }
    }

    fn number(&self, asked: Asked) -> u64 {
        match asked {
            Asked::ProcessConnections => self.conn.open_in_process(),
            Asked::ListenerConnections => {
                let open = &self.conn.seat.entry().open;
                open.load(Ordering::Relaxed).into()
            }
            Asked::ServerConnections => self.in_flight().into(),
            Asked::BackendQueue => self.conn.queue_place.into(),
            Asked::ConnectionRequests => self.conn.requests.into(),
            Asked::HandshakeMs => self.handshake_us() / 1_000,
            Asked::IdleMs => self.started.micros_since(self.conn.idle_since) / 1_000,
            Asked::QueryMs => {
                let complete = self.complete.unwrap_or(self.now);
                complete.micros_since(self.begun()) / 1_000
            }
            Asked::SessionMs => self.now.micros_since(self.begun()) / 1_000,
            Asked::LocalIp
            | Asked::LocalPort
            | Asked::SourceIp
            | Asked::SourcePort
            | Asked::RemoteUser
            | Asked::TcpRtt
            | Asked::TcpRttVariation
            | Asked::TcpCongestionWindow
            | Asked::TcpReceiveSpace => 0,
        }
    }

    /// What stands behind `Basic` in the request's `Authorization`.
    fn credentials(&self) -> Option<&[u8]> {
        let (view, _, _) = self.request.as_ref()?;
        let value = view.head.field(Known::Authorization, view.buf)?;
        let (scheme, rest) = value.split_at_checked(6)?;
        scheme
            .eq_ignore_ascii_case(b"basic ")
            .then(|| rest.trim_ascii())
    }

    fn local_ip(&self) -> Option<IpAddr> {
        let destination = self.conn.destination();
        let address = destination.or_else(|| self.conn.stream.local())?;
        Some(address.ip().to_canonical())
    }

    fn in_flight(&self) -> u32 {
        let server = self
            .backend
            .and_then(|b| b.servers.iter().find(|s| s.plan.name == self.server));
        server.map_or(0, |server| server.plan.entry.inflight())
    }

    /// Whether it is the first on its connection.
    fn is_first(&self) -> bool {
        self.conn.requests <= 1
    }

    /// From when on the time of this request counts.
    fn begun(&self) -> Stamp {
        match self.is_first() {
            true => self.conn.accepted,
            false => self.conn.idle_since.min(self.started),
        }
    }

    fn handshake_us(&self) -> u64 {
        match self.is_first() {
            true => self.conn.idle_since.micros_since(self.conn.accepted),
            false => 0,
        }
    }
}

/// The first value of a field in a head as it is sent.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let lines = head.split(|&b| b == b'\n').skip(1).map(<[u8]>::trim_ascii);
    lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (own, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })
}

/// Writes the name before the colon of credentials in base 64 (RFC 4648 section 4), as far as they are
/// that.
fn user_of(credentials: &[u8], out: &mut Vec<u8>) {
    for four in credentials.chunks(4) {
        let (mut bits, mut count) = (0_u32, 0_usize);
        for byte in four.iter().take_while(|&&b| b != b'=') {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return,
            };
            bits = bits << 6 | u32::from(digit);
            count += 1;
        }
        bits <<= 6 * (4 - count);
        let [_, bytes @ ..] = bits.to_be_bytes();
        for &byte in bytes.iter().take(count * 6 / 8) {
            if byte == b':' {
                return;
            }
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_those_of_rfc_7617() {
        for (credentials, user) in [
            ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin"),
            ("YTpi", "a"),
            ("YTo=", "a"),
            ("YQ==", "a"),
            ("OmI=", ""),
            ("", ""),
            ("%%%%", ""),
        ] {
            let mut out = Vec::new();
            user_of(credentials.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), user, "{credentials}");
        }
    }

    #[test]
    fn fields_are_found_in_heads_and_not_in_bodies() {
        let head = b"HTTP/1.1 200 OK\r\nX-Ab: 1\r\nX-A:  two \r\nX-A: 3\r\n\r\nX-B: 4\r\n";
        assert_eq!(field(head, b"x-a"), Some(b"two".as_slice()));
        assert_eq!(field(head, b"x-ab"), Some(b"1".as_slice()));
        assert_eq!((field(head, b"x-b"), field(head, b"x")), (None, None));
    }
}
