//! What rules look at and what they decide.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_http::{Edits, RequestHead, ResponseHead};
use clearway_outcome::{Address, Attempt, FaultKind, RequestId, TcpPace, TlsFacts};

use crate::action::ask::AskPlan;
use crate::ast::StatusPage;
use crate::files::Wanted;
use crate::scratch::Scratch;

/// One request, and its response once there is one.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Head of the request.
    pub head: &'a RequestHead,
    /// The buffer it was parsed from.
    pub buf: &'a [u8],
    /// Address of the client.
    pub client: Address,
    /// The listener it came in by.
    pub listener: Name,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// TLS with the client; none on a plain connection.
    pub tls: Option<&'a TlsFacts>,
    /// Id of the request: what [`crate::Scratch`] keeps belongs to one id.
    pub id: RequestId,
    /// Head of the response and the buffer it was parsed from.
    pub response: Option<(&'a ResponseHead, &'a [u8])>,
    /// The backend, once it is known.
    pub backend: Name,
    /// The server, once it is known.
    pub server: Name,
    /// What is asked only where rules look at it; none where nobody can say.
    pub around: Option<&'a dyn Around>,
    /// The port that the client connected to; none on a Unix socket.
    pub port: Option<u16>,
    /// What rules have changed so far: of the request before there is a response, then of that.
    pub edits: Option<&'a Edits>,
    /// What was tried to get a response from servers, as far as it is known here.
    pub attempts: &'a [Attempt],
}

impl<'a> View<'a> {
    /// The path as the client wrote it: `/` for an absolute target without one, empty for `*`.
    pub(crate) fn path(&self) -> &'a [u8] {
        let path = self.head.path.of(self.buf);
        if path.is_empty() && self.head.target.of(self.buf) != b"*" {
            return b"/";
        }
        path
    }

    /// The same with what rules have changed so far.
    pub(crate) fn with<'b>(&self, edits: &'b Edits) -> View<'b>
    where
        'a: 'b,
    {
        View {
            edits: Some(edits),
            ..*self
        }
    }

    /// The same with what rules have changed of the request.
    #[must_use]
    pub fn with_edits<'b>(&self, edits: &'b Edits) -> View<'b>
    where
        'a: 'b,
    {
        self.with(edits)
    }

    /// The time now; the begin of all where nobody can say.
    pub(crate) fn now(&self) -> Stamp {
        self.around.map_or(Stamp(0), |around| around.now())
    }

    /// The client, or whom rules take for it.
    pub(crate) fn client(&self, scratch: &Scratch) -> Address {
        scratch.client().unwrap_or(self.client)
    }

    /// The client's address; an IPv4 address in IPv6 clothes is the IPv4 address.
    pub(crate) fn source(&self, scratch: &Scratch) -> Option<IpAddr> {
        self.client(scratch).ip().map(|ip| ip.to_canonical())
    }
}

/// What is around a request and costs something to find out.
pub trait Around: std::fmt::Debug {
    /// The address that the client connected to; none on a Unix socket.
    fn local(&self) -> Option<IpAddr>;

    /// How many servers of a backend may be chosen now; none when there is no such backend.
    fn servers_up(&self, backend: &str) -> Option<usize>;

    /// Whether no request came on the connection before this one.
    fn is_first(&self) -> bool;

    /// Time since 1970.
    fn since_epoch(&self) -> Duration;

    /// The place of a server in its backend, from 1; none when there is no such server.
    fn place(&self, backend: &str, server: &str) -> Option<usize>;

    /// Whether a server of a backend may be chosen now; none when there is no such server.
    fn is_up(&self, backend: &str, server: &str) -> Option<bool>;

    /// The address that the connection came from, whatever a PROXY header says.
    fn peer(&self) -> Address;

    /// Where a PROXY header says that the connection came from, and where it went; none without one.
    fn proxied(&self) -> Option<(Option<SocketAddr>, Option<SocketAddr>)>;

    /// What else a PROXY header says in a field of a type; none when it says nothing there.
    fn proxied_field(&self, _kind: u8) -> Option<&[u8]> {
        None
    }

    /// What the kernel knows of the pace of the client's connection; none on a Unix socket.
    fn tcp(&self) -> Option<TcpPace>;

    /// Requests on the connection so far, this one included.
    fn requests(&self) -> u32;

    /// The time now.
    fn now(&self) -> Stamp;

    /// What lies at a path of the file system; none when nothing does.
    fn on_disk(&self, path: &[u8]) -> Option<OnDisk>;
}

/// What lies at a path of the file system, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// `file`, `folder` or `other`.
    pub kind: &'static str,
    /// Whether its owner may run it.
    pub executable: bool,
}

/// For how much of a body is waited, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyWait {
    /// The longest time, after which the request is refused.
    pub time: Duration,
    /// Whether the time counts from the begin of the request.
    pub from_start: bool,
    /// So many bytes are enough; 0 = all of it, as far as there is room.
    pub at_least: usize,
}

/// What happens next with a request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It is answered here and now.
    Reply(LocalReply),
    /// It is answered with the page of statistics.
    Page(Arc<StatusPage>),
    /// Another route is to be asked first; the program goes on behind this rule when it is run again.
    Ask(Arc<AskPlan>),
    /// The connection is ended without an answer.
    Drop,
    /// It is answered with a file, if there is one.
    Files(Box<Wanted>),
    /// The body is waited for; then the program goes on when it is run again.
    ReadBody(BodyWait),
    /// A route is looked for again.
    Reroute,
    /// The rest of the rules does not apply. Only between rules: whoever runs a program never sees it.
    Finish,
}

/// An answer of the balancer itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// Status.
    pub status: u16,
    /// Headers besides those that every answer has.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body; when empty and there is a fault, the page for the fault.
    pub body: Vec<u8>,
    /// Whether the body is the page for the status, although nothing went wrong.
    pub page: bool,
    /// What went wrong, for refusals.
    pub fault: Option<FaultKind>,
}

impl LocalReply {
    /// The answer to a request that rules made into something that HTTP does not allow.
    pub(crate) fn rewrite_invalid() -> Self {
        Self {
            status: FaultKind::RewriteInvalid.status(),
            fault: Some(FaultKind::RewriteInvalid),
            ..Self::default()
        }
    }
}
