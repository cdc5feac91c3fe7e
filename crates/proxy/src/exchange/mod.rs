//! The life of one request, in the order of the picture in ARCHITECTURE.md:
//! rules of the listener → route → admit → choose → reach → relay → settle, with the one backward edge for retries.
//!
//! Only this driver writes replies of our own, only [`settle`] reports.

mod admit;
pub(crate) mod around;
mod ask;
mod body;
mod cache;
mod choose;
mod deliver;
mod dress;
mod evidence;
mod files;
mod filter;
mod gather;
mod gone;
mod grpc;
mod instead;
mod lead;
mod mirror;
mod pace;
mod pages;
pub(crate) mod pump;
mod reach;
mod reply;
mod retry;
mod route;
mod settle;
mod sever;
mod sticky;
mod talk;
pub(crate) mod tunnel;
mod upload;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clearway_base::buffer::Lease;
use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_http::{Edits, RequestHead, ResponseHead};
use clearway_outcome::{Address, Attempt, Fault, FaultKind, GrpcStatus, Phase, RequestId, Side};
use clearway_rules::ast::StatusPage;
use clearway_rules::table::Event;
use clearway_rules::{AskPlan, BodyWait, LocalReply, Scratch};
use smallvec::SmallVec;

use crate::access::Noted;
use crate::client::Conn;
use instead::Turned;

use crate::files::Found;
use crate::local::{Flight, LocalBackend, LocalPlan};
use crate::plan::RoutePlan;
use crate::slots::Slot;

pub(crate) use choose::none_usable;
pub(crate) use evidence::gather;
pub(crate) use lead::find_home;
pub(crate) use reach::{Offer, asked_name, open};
pub(crate) use reply::{ReplyOptions, encode_fault};
pub(crate) use settle::is_servers;
pub(crate) use talk::of_client;

/// Everything a request needs that is worth keeping from one request to the next.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) head: RequestHead,
    pub(crate) response: ResponseHead,
    pub(crate) edits: Edits,
    pub(crate) response_edits: Edits,
    pub(crate) scratch: Scratch,
    pub(crate) attempts: SmallVec<[Attempt; 2]>,
    /// Members of the backend that were tried.
    pub(crate) tried: SmallVec<[usize; 4]>,
    /// What access logs want to know of the response.
    pub(crate) noted: Noted,
}

impl Request {
    /// The Attempt in flight, or else the last one. There is one from [`Exchange::obtain`] on.
    pub(crate) fn attempt(&mut self) -> &mut Attempt {
        let last = self.attempts.len().saturating_sub(1);
        &mut self.attempts[last]
    }

    /// Forgets the last request, keeping the memory.
    pub(crate) fn clear(&mut self) {
        // A head that never was complete must not be taken for the begin of the next one.
        self.head.restart();
        self.response.restart();
        self.edits.clear();
        self.response_edits.clear();
        self.scratch.clear();
        self.attempts.clear();
        self.tried.clear();
        self.noted.clear();
    }
}

/// What to do with the client's connection afterwards.
pub(crate) enum Next {
    /// Read the next request; these bytes of it are already here.
    KeepAlive(Option<Lease>),
    /// Everything was written: close.
    Close,
    /// A reply was written that the client may not have read while it was still sending.
    Linger,
    /// The response was cut: close so that the client notices.
    Abort,
}

/// Why the steps ended without a response from a server.
pub(crate) enum Stop {
    /// A fault that is answered with its status.
    Fault(Fault),
    /// A rule answered.
    Reply(LocalReply),
    /// A rule answers with the page of statistics.
    Page(Arc<StatusPage>),
    /// Another route is asked first whether the request may go on.
    Ask(Arc<AskPlan>),
    /// A file answers.
    File(Box<Found>),
    /// Rules wait for the body.
    Body(BodyWait),
    /// The client is gone or the response has begun: nothing can be answered.
    Cut(Fault),
}

/// What rules and limits say to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// It goes on to its backend.
    Here,
    /// It is to be routed again.
    Elsewhere,
}

/// How often a request may be routed again.
const REROUTES_MAX: u32 = 10;

/// When the request came in.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// First byte of the request.
    pub(crate) started: Stamp,
    /// Head complete.
    pub(crate) complete: Stamp,
}

/// One request on its way.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, read by name"
)]
pub(crate) struct Exchange<'a> {
    pub(crate) conn: &'a mut Conn,
    pub(crate) request: &'a mut Request,
    /// The bytes the head points into, with whatever came behind it.
    pub(crate) lease: Lease,
    pub(crate) plan: Rc<LocalPlan>,
    pub(crate) arrival: Arrival,
    pub(crate) id: RequestId,
    pub(crate) route: Option<RouteAt>,
    pub(crate) backend: Option<Rc<LocalBackend>>,
    /// Cookie to set because a sticky server was chosen anew.
    pub(crate) stick_to: Option<usize>,
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    /// Bytes of the request's body among what came, however often it was sent on.
    pub(crate) body_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) body_out: u64,
    pub(crate) fault: Option<Fault>,
    /// Outcome of a call of gRPC.
    pub(crate) grpc_status: Option<GrpcStatus>,
    /// The Attempt in flight, and its slot where servers have a `maxconn`.
    pub(crate) flight: Option<Flight>,
    pub(crate) slot: Option<Slot>,
    /// Whether the request can be sent again from memory, after a failed Attempt.
    pub(crate) replayable: bool,
    /// Whether the failed Attempt had its connection for itself.
    pub(crate) was_alone: bool,
    /// What was read of a body whose length nobody knows, as long as it can be sent again.
    pub(crate) kept: Vec<u8>,
    /// Body bytes read from the client beyond those in `lease`.
    pub(crate) upload_read: u64,
    /// Bytes of `lease` that this request took, once the rest may be the next one.
    pub(crate) used: Option<usize>,
    /// Whether the request was counted and reported.
    pub(crate) settled: bool,
    /// Only fresh connections: a kept one has just died.
    pub(crate) fresh_only: bool,
    /// Time-outs that rules have set: of the server, of a tunnel.
    pub(crate) limits: [Option<Duration>; 2],
    /// The rules of the route were run, and those of the backend wait for the body.
    pub(crate) route_passed: bool,
    /// What the request has to do with a cache.
    pub(crate) cached: Option<Box<cache::Cached>>,
    /// Another route answers for an error.
    pub(crate) instead: Option<instead::Instead>,
    /// How fast the response goes to the client, where that is limited.
    pub(crate) pace: Option<Box<pace::Pace>>,
    /// It asks whether another request may go on.
    pub(crate) is_question: bool,
    /// The changes that the listener's rules have made to the request, which questions see too.
    pub(crate) by_listener: usize,
}

/// The place of a route in the Plan the request began with.
#[derive(Clone, Copy)]
pub(crate) struct RouteAt {
    listener: usize,
    route: usize,
}

/// Serves one request whose head is complete and sound.
pub(crate) async fn run(
    conn: &mut Conn,
    request: &mut Request,
    lease: Lease,
    arrival: Arrival,
) -> Next {
    let plan = conn.plan();
    let id = conn.worker.next_id();
    let bytes_in = request.head.len as u64;
    let mut exchange = Exchange {
        conn,
        request,
        lease,
        plan,
        arrival,
        id,
        route: None,
        backend: None,
        stick_to: None,
        status: 0,
        bytes_in,
        body_in: 0,
        bytes_out: 0,
        body_out: 0,
        fault: None,
        grpc_status: None,
        flight: None,
        slot: None,
        replayable: true,
        was_alone: false,
        kept: Vec::new(),
        upload_read: 0,
        used: None,
        settled: false,
        fresh_only: false,
        limits: [None; 2],
        route_passed: false,
        cached: None,
        instead: None,
        pace: None,
        is_question: false,
        by_listener: 0,
    };
    exchange.exchange_session();
    exchange.count_event(Event::Request);
    let mut done = exchange.steps().await;
    if let Err(stop) = done {
        done = match exchange.has_turns() {
            // Boxed: what hardly any request needs is not part of every request's room.
            true => Box::pin(exchange.elsewhere(stop)).await,
            false => Err(stop),
        };
    }
    let next = match done {
        Ok(next) => next,
        Err(Stop::Fault(fault)) => {
            exchange.conn.timer.set_latest(None);
            exchange.reply_fault(fault).await
        }
        Err(Stop::Reply(reply)) => exchange.reply_local(&reply).await,
        Err(Stop::Page(page)) => exchange.reply_status(&page).await,
        // Questions are asked on the way to a route alone.
        Err(Stop::Ask(_)) => {
            let fault = exchange.local_fault(FaultKind::RewriteInvalid, Phase::Admit);
            exchange.reply_fault(fault).await
        }
        // Boxed: the room for sending files need not be part of every request's.
        Err(Stop::File(found)) => Box::pin(exchange.serve(*found)).await,
        Err(Stop::Cut(fault)) => {
            exchange.fault = Some(fault);
            Next::Abort
        }
        // Rules of an error's own route cannot wait: the body may be gone by then.
        Err(Stop::Body(_)) => Next::Abort,
    };
    exchange.settle();
    exchange.exchange_session();
    exchange.conn.timer.set_latest(None);
    match (next, exchange.used) {
        (Next::KeepAlive(None), Some(used)) if exchange.lease.len() > used => {
            let empty = exchange.conn.worker.small.lease();
            let mut rest = std::mem::replace(&mut exchange.lease, empty);
            rest.consume(used);
            Next::KeepAlive(Some(rest))
        }
        (next, _) => next,
    }
}

impl Drop for Exchange<'_> {
    /// A request that does not come to its end is reported all the same: its task has panicked, or
    /// the worker ends before it.
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let kind = if std::thread::panicking() {
            FaultKind::InternalPanic
        } else {
            FaultKind::ShuttingDown
        };
        let fault = self.local_fault(kind, self.phase());
        self.fault = Some(fault);
        if let Some(member) = self.flight.as_ref().map(Flight::member) {
            self.request.attempt().fault = Some(fault);
            self.close_attempt(member);
        }
        self.settle();
        self.exchange_session();
    }
}

impl Exchange<'_> {
    /// Has other routes answer where the route says so, each for the error of the one before.
    async fn elsewhere(&mut self, mut stop: Stop) -> Result<Next, Stop> {
        for _ in 0..REROUTES_MAX {
            if !self.has_turns() {
                break;
            }
            match self.instead_of(stop).await {
                Turned::Done(Ok(next)) => return Ok(next),
                Turned::Done(Err(next)) => stop = next,
                Turned::Unchanged(stop) => return Err(stop),
            }
        }
        Err(stop)
    }

    /// The steps of a request that goes well; the first that does not ends them.
    async fn steps(&mut self) -> Result<Next, Stop> {
        self.confirm().await?;
        self.challenge()?;
        while let Err(stop) = self.listener_rules() {
            self.wait_for_rules(stop).await?;
        }
        self.by_listener = self.request.edits.mark();
        self.find_route()?;
        self.limit_total();
        self.passed().await?;
        if self.request.scratch.has_mirrors() {
            // Boxed: hardly any request is copied.
            Box::pin(self.mirror()).await?;
        }
        self.offload();
        let scratch = &self.request.scratch;
        self.limits = ["timeout.server", "timeout.tunnel"]
            .map(|name| scratch.number(name).map(Duration::from_millis));
        if self.route_plan().cache.is_some() {
            // Boxed: what most requests have not is not part of every request's room.
            if let Some(kept) = Box::pin(self.consult()).await {
                return Box::pin(self.give(kept)).await;
            }
        }
        let answer = match self.obtain().await {
            Ok(answer) => answer,
            Err(Stop::Fault(fault)) if self.cached.is_some() => match self.stale_for(&fault) {
                Some(kept) => return Box::pin(self.give(kept)).await,
                None => return Err(Stop::Fault(fault)),
            },
            Err(stop) => return Err(stop),
        };
        // What is kept answers before another route does.
        if !self.is_kept_instead() {
            self.intercept(&answer)?;
        }
        self.deliver(answer).await
    }

    /// How long a server may take for the head of its response.
    fn response_limit(&self) -> Duration {
        let [server, _] = self.limits;
        server.unwrap_or_else(|| self.route_plan().timeouts.response)
    }

    /// Passes rules and limits, asks whom they want to be asked, and waits as long as they say.
    async fn passed(&mut self) -> Result<(), Stop> {
        loop {
            let passed = self.pass();
            if self.request.scratch.delays() {
                // Boxed: hardly any request waits or asks.
                Box::pin(self.wait_for_limits()).await?;
            }
            match passed {
                Ok(()) => return Ok(()),
                // Boxed: a question is an exchange of its own.
                Err(Stop::Ask(plan)) => Box::pin(self.ask(&plan)).await?,
                Err(stop) => self.wait_for_rules(stop).await?,
            }
        }
    }

    /// Passes rules and limits, of other routes where they lead there.
    fn pass(&mut self) -> Result<(), Stop> {
        let mut times = 0;
        while self.admit()? == Admission::Elsewhere {
            times += 1;
            if times > REROUTES_MAX {
                return Err(Stop::Fault(
                    self.local_fault(FaultKind::RewriteInvalid, Phase::Route),
                ));
            }
            self.find_route()?;
        }
        Ok(())
    }

    /// Waits for the body where rules do, which then go on; else they have ended the steps.
    async fn wait_for_rules(&mut self, stop: Stop) -> Result<(), Stop> {
        let Stop::Body(wait) = stop else {
            return Err(stop);
        };
        // Boxed: the room for it need not be part of every request's.
        Box::pin(self.read_body(wait)).await
    }

    /// Whether the route has something to say to errors.
    fn has_turns(&self) -> bool {
        self.route.is_some() && !self.route_plan().on_error.is_empty()
    }

    /// What rules keep for the connection goes to where rules run, and back.
    fn exchange_session(&mut self) {
        let scratch = &mut self.request.scratch;
        scratch.exchange_session(&mut self.conn.session);
    }

    /// Counts something with the keys that are tracked.
    fn count_event(&self, event: Event) {
        if self.request.scratch.tracks() {
            self.request.scratch.count(event);
        }
    }

    /// Sets the limit of the whole request, where the route has one.
    fn limit_total(&self) {
        let total = self.route_plan().timeouts.total;
        let total = match self.grpc_deadline() {
            // Nobody waits for the answer any longer.
            Some(deadline) if total.is_zero() || deadline < total => deadline,
            _ => total,
        };
        if !total.is_zero() {
            self.conn
                .timer
                .set_latest(Some(self.arrival.started.plus(total)));
        }
    }

    /// Another request may follow, behind `used` bytes of this one's buffer, which is kept until
    /// the record is written.
    fn keep_alive_after(&mut self, used: usize) -> Next {
        self.used = Some(used);
        Next::KeepAlive(None)
    }

    /// The route that was found.
    pub(crate) fn route_plan(&self) -> &RoutePlan {
        let at = self.route.unwrap_or(RouteAt {
            listener: self.conn.listener_at,
            route: usize::MAX,
        });
        self.plan.route(at.listener, at.route)
    }

    /// The name of the route, for records.
    pub(crate) fn route_name(&self) -> Name {
        self.route
            .map_or(Name::NONE, |at| self.plan.route(at.listener, at.route).name)
    }

    /// `fault`, or that the request's time as a whole is over if that is why it happened.
    pub(crate) fn or_total(&self, fault: Fault) -> Fault {
        let now = self.conn.worker.now();
        if self.conn.timer.latest().is_none_or(|latest| now < latest) {
            return fault;
        }
        let elapsed = now.micros_since(self.arrival.started);
        Fault::new(FaultKind::TotalTimeout, fault.phase, Side::Local).after(elapsed)
    }

    /// How far the request has come.
    fn phase(&self) -> Phase {
        let attempt = self.request.attempts.last();
        let Some(attempt) = attempt.filter(|_| self.flight.is_some()) else {
            return if self.status > 0 {
                Phase::Deliver
            } else {
                Phase::Queue
            };
        };
        match attempt {
            _ if self.status == 101 => Phase::Tunnel,
            _ if self.status > 0 => Phase::Deliver,
            a if a.connected_us.is_none() => Phase::Connect,
            a if a.sent_us.is_none() => Phase::Send,
            a if a.first_byte_us.is_none() => Phase::Wait,
            _ => Phase::ResponseHead,
        }
    }

    /// Whom rules, logs and servers take for the client.
    pub(crate) fn client(&self) -> Address {
        let by_rules = self.request.scratch.client();
        by_rules.unwrap_or(self.conn.client)
    }

    /// A fault on our own side, timed from the start of the request.
    pub(crate) fn local_fault(&self, kind: FaultKind, phase: Phase) -> Fault {
        let elapsed = self.conn.worker.now().micros_since(self.arrival.started);
        Fault::new(kind, phase, Side::Local).after(elapsed)
    }

    /// A fault on the server's side, timed from the start of the Attempt.
    pub(crate) fn server_fault(&self, kind: FaultKind, phase: Phase, errno: i32) -> Fault {
        let began = self.request.attempts.last().map(|a| a.started);
        let began = began.unwrap_or(self.arrival.started);
        let elapsed = self.conn.worker.now().micros_since(began);
        Fault::new(kind, phase, Side::Server)
            .with_errno(errno)
            .after(elapsed)
    }

    /// A fault on the client's side, timed from the start of the request.
    pub(crate) fn client_fault(&self, kind: FaultKind, phase: Phase) -> Fault {
        let elapsed = self.conn.worker.now().micros_since(self.arrival.started);
        Fault::new(kind, phase, Side::Client).after(elapsed)
    }
}
