//! What the fields of access logs say, whoever writes them.

use clearway_outcome::Sighting;

use super::scan;
use super::time::{self, Zone};

/// What a field of a line says. Peers name the same thing differently; this is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    /// Nothing that is needed.
    Skip,
    Client,
    ClientPort,
    Port,
    Time,
    Request,
    Method,
    Target,
    Host,
    Agent,
    Id,
    Listener,
    Backend,
    Server,
    /// Address of the server; a list in NGINX.
    Address,
    AddressPort,
    Status,
    /// Status by the server; a list in NGINX.
    ServerStatus,
    /// Seconds until connected, a list.
    Connect,
    /// Seconds until the head was there, a list.
    Header,
    /// Seconds until everything was there, a list.
    Response,
    Received,
    Sent,
    RequestSeconds,
    RequestBytes,
    /// HAProxy: milliseconds to read the request, in the queue, to connect, until the head came, in all.
    HeadMs,
    QueueMs,
    ConnectMs,
    WaitMs,
    TotalMs,
    /// HAProxy: termination state.
    State,
    ErrorNumber,
    ErrorName,
    ErrorText,
    TlsError,
    Events,
    Retries,
    /// Envoy.
    Flags,
    Details,
    Transport,
    Termination,
    DurationMs,
    ServiceMs,
    Attempts,
    /// The balancer's end of the connection to the server.
    OwnAddress,
    /// ALB: seconds until sent to the server, until it answered, until the answer went out.
    BeforeSeconds,
    ServerSeconds,
    AfterSeconds,
    Created,
    Reason,
    Class,
    ClassReason,
    Kind,
}

const COUNT: usize = Field::Kind as usize + 1;

/// The values of a line's fields.
pub(super) struct Fields<'a> {
    values: [&'a [u8]; COUNT],
    present: u64,
}

impl<'a> Fields<'a> {
    pub(super) const EMPTY: Self = Self {
        values: [b""; COUNT],
        present: 0,
    };

    pub(super) fn set(&mut self, field: Field, value: &'a [u8]) {
        if let Some(place) = self.values.get_mut(field as usize) {
            *place = value;
            self.present |= 1 << (field as u8);
        }
    }

    /// The value; empty where there is none, or it is `-`.
    pub(super) fn get(&self, field: Field) -> &'a [u8] {
        let value = self.values.get(field as usize).copied();
        scan::said(value.unwrap_or_default())
    }

    /// The value as text.
    pub(super) fn text(&self, field: Field) -> &'a str {
        scan::text(self.get(field))
    }

    /// Whether the line has this field at all.
    pub(super) fn has(&self, field: Field) -> bool {
        self.present & (1 << (field as u8)) > 0
    }

    /// When it was.
    pub(super) fn at(&self, zone: Zone) -> Option<i64> {
        time::parse(self.get(Field::Time), zone)
    }

    /// Tells `sighting` what the request was.
    pub(super) fn describe(&self, sighting: &mut Sighting<'a>) {
        sighting.request = self.text(Field::Id);
        sighting.listener = self.text(Field::Listener);
        sighting.backend = self.text(Field::Backend);
        sighting.server = self.text(Field::Server);
        sighting.client = scan::text(self.client());
        sighting.host = self.text(Field::Host);
        sighting.user_agent = self.text(Field::Agent);
        (sighting.method, sighting.path) = if self.has(Field::Request) {
            scan::request(self.get(Field::Request))
        } else {
            let path = scan::path(self.get(Field::Target));
            (self.text(Field::Method), scan::text(path))
        };
        sighting.status = scan::status(self.get(Field::Status)).unwrap_or(0);
        sighting.request_bytes = scan::number(self.get(Field::RequestBytes));
    }

    /// The path of the request.
    pub(super) fn path(&self) -> &'a [u8] {
        if self.has(Field::Request) {
            scan::path_of_request(self.get(Field::Request))
        } else {
            scan::path(self.get(Field::Target))
        }
    }

    fn client(&self) -> &'a [u8] {
        if self.has(Field::ClientPort) {
            return scan::without_port(self.get(Field::ClientPort));
        }
        self.get(Field::Client)
    }
}

const _: () = assert!(COUNT <= 64, "the mask has a bit for each field");
