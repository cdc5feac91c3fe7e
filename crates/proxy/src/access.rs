//! Access logs as workers see them: which logs a request goes to, and what each wants to know besides
//! the Record.
//!
//! Lines are written by control's log thread. Where no log asks for anything, as with the formats of
//! our own, a request costs its Record and the logs' names.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use clearway_base::clock::Stamp;
use clearway_base::decimal;
use clearway_base::intern::Name;
use clearway_config::model::AccessLog;
use clearway_http::Span;
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
}

/// Values of a response that logs want, kept until the request is over.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    text: Vec<u8>,
    values: SmallVec<[Option<Span>; 4]>,
}

impl Noted {
    /// Forgets everything, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.values.clear();
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
    pub fn compile(logs: &[AccessLog]) -> Result<Self, String> {
        let definitions = Definitions::default();
        let mut responses = Vec::new();
        let mut plans = Vec::new();
        for log in logs {
            let layout = log.layout();
            let mut wants = Vec::new();
            for given in layout.given() {
                wants.push(match given {
                    Given::Asked(asked) => Want::Asked(*asked),
                    Given::Fetch(name) => {
                        let value = Value::compile(&Fetch::parse(name)?, &definitions)?;
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

    /// Whether anything of the response's head is wanted.
    pub(crate) fn asks_response(&self) -> bool {
        !self.responses.is_empty()
    }

    /// Keeps what is wanted of a response while its head is there.
    pub(crate) fn note(&self, view: &View<'_>, scratch: &Scratch, noted: &mut Noted) {
        noted.clear();
        for value in &self.responses {
            value.show(view, scratch, &mut |value| {
                let start = noted.text.len();
                noted.text.extend_from_slice(value.unwrap_or_default());
                let span = Span::new(start, noted.text.len());
                noted.values.push(value.map(|_| span));
            });
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
                    (Want::Response(at), Some((_, _, noted))) => writer.value(noted.value(*at)),
                    (Want::Request(_) | Want::Response(_), None) => writer.value(None),
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

    fn number(&self, asked: Asked) -> u64 {
        let waiting = || self.backend.map(|b| b.plan.entry.queue.waiting() as u64);
        match asked {
            Asked::ProcessConnections => self.conn.open_in_process(),
            Asked::ListenerConnections => {
                let open = &self.conn.seat.entry().open;
                open.load(Ordering::Relaxed).into()
            }
            Asked::ServerConnections => self.in_flight().into(),
            Asked::BackendQueue => waiting().unwrap_or(0),
            Asked::ConnectionRequests => self.conn.requests.into(),
            Asked::HandshakeMs => self.handshake_us() / 1_000,
            Asked::IdleMs => self.started.micros_since(self.conn.idle_since) / 1_000,
            Asked::QueryMs => {
                let complete = self.complete.unwrap_or(self.now);
                complete.micros_since(self.begun()) / 1_000
            }
            Asked::SessionMs => self.now.micros_since(self.begun()) / 1_000,
            Asked::LocalIp | Asked::LocalPort => 0,
        }
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
