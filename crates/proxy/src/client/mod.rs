//! A connection from a client: who it is, what it may do, and how it ends.

pub(crate) mod engine;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod handshake;
pub(crate) mod hello;
mod issuance;
pub(crate) mod lot;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_net::stream::{Read, Stream};
use clearway_net::timer::Timer;
use clearway_outcome::{Address, FaultKind, TlsFacts};

use crate::access::LogSet;
use crate::listener::Seat;
use crate::local::LocalPlan;
use crate::plan::ListenerPlan;
use crate::worker::Worker;

/// A reply is followed by at most this much reading of what the client was still sending.
const LINGER_BYTES: usize = 1 << 20;
/// And for at most this long.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How a client came through a proxy before us.
#[derive(Clone)]
pub(crate) struct Proxied {
    /// The address the connection came from: the proxy's.
    pub(crate) peer: Address,
    /// The address that the header says the connection came from.
    pub(crate) source: Option<SocketAddr>,
    /// The address the client connected to.
    pub(crate) destination: Option<SocketAddr>,
    /// What else the header says, as it came.
    pub(crate) fields: Box<[u8]>,
}

/// A client's connection. Idle ones are most of the memory, so what few of them have is kept
/// elsewhere.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, read by name"
)]
pub(crate) struct Conn {
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: Stream,
    pub(crate) timer: Timer,
    /// The client's address: from the PROXY header if there was one.
    pub(crate) client: Address,
    /// What a PROXY header said, if there was one.
    pub(crate) proxied: Option<Box<Proxied>>,
    /// What was agreed with it about TLS, where that is spoken.
    pub(crate) tls: Option<Rc<TlsFacts>>,
    /// Whether forwarding headers of this client are believed.
    pub(crate) trusted: bool,
    /// The client has sent FIN.
    pub(crate) half_closed: bool,
    /// It is a stream of HTTP/2, and its request has a body, whose end will be told.
    pub(crate) body_follows: bool,
    pub(crate) accepted: Stamp,
    /// When the last request ended; at first when the connection was accepted.
    pub(crate) idle_since: Stamp,
    /// Requests served so far.
    pub(crate) requests: u32,
    /// What rules keep from one request to the next.
    pub(crate) session: clearway_rules::Session,
    /// Place in line, from 1, in which its last request began to wait for a slot; 0 when it did not.
    pub(crate) queue_place: u32,
    /// Where the listener stands in the Plan of `generation`; `usize::MAX` = it is gone.
    pub(crate) listener_at: usize,
    plan: Rc<LocalPlan>,
    /// Where it waits between requests.
    place: Option<lot::Place>,
    /// Its first request may still come although the worker drains.
    has_grace: bool,
    /// Counts the connection as open until it is dropped.
    pub(crate) seat: Seat,
}

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(
        worker: Rc<Worker>,
        plan: Rc<LocalPlan>,
        stream: Stream,
        peer: Address,
        seat: Seat,
    ) -> Self {
        let listener_at = plan.listener_index(seat.listener).unwrap_or(usize::MAX);
        let timer = worker.timers.timer();
        let accepted = worker.tick();
        let mut conn = Self {
            worker,
            stream,
            timer,
            client: peer,
            proxied: None,
            tls: None,
            trusted: false,
            half_closed: false,
            body_follows: false,
            accepted,
            idle_since: accepted,
            requests: 0,
            session: clearway_rules::Session::default(),
            queue_place: 0,
            listener_at,
            plan,
            place: None,
            has_grace: false,
            seat,
        };
        conn.trusted = conn.listener().is_some_and(|l| l.trusts(&peer));
        conn
    }

    /// A stream of this connection, which speaks HTTP/2, as a connection of its own.
    pub(crate) fn child(&mut self, stream: Stream) -> Self {
        Self {
            worker: Rc::clone(&self.worker),
            stream,
            timer: self.worker.timers.timer(),
            client: self.client,
            proxied: self.proxied.clone(),
            tls: self.tls.clone(),
            trusted: self.trusted,
            half_closed: false,
            body_follows: false,
            accepted: self.accepted,
            idle_since: self.idle_since,
            requests: self.requests,
            session: self.session.share(),
            queue_place: 0,
            listener_at: self.listener_at,
            plan: Rc::clone(&self.plan),
            place: None,
            has_grace: false,
            seat: self.seat.guest(),
        }
    }

    /// The Plan for the request that begins now: the newest one.
    pub(crate) fn plan(&mut self) -> Rc<LocalPlan> {
        self.follow_plan();
        Rc::clone(&self.plan)
    }

    /// The Plan that is followed.
    pub(crate) fn current_plan(&self) -> Rc<LocalPlan> {
        Rc::clone(&self.plan)
    }

    /// Goes over to the newest Plan, if that still has the listener.
    pub(crate) fn follow_plan(&mut self) {
        if self.plan.plan.generation != self.worker.generation() {
            let newest = self.worker.plan();
            if let Some(at) = newest.listener_index(self.seat.listener) {
                self.listener_at = at;
                self.plan = newest;
                self.trusted = self.listener().is_some_and(|l| l.trusts(&self.peer()));
            } else {
                // The listener was removed: the Plan it belonged to serves to the end.
                self.seat.orphaned = true;
            }
        }
    }

    /// Whether a PROXY header has to come first.
    pub(crate) fn expects_proxy_header(&self) -> bool {
        self.listener().is_some_and(|l| l.proxy_protocol)
    }

    /// Whether HTTP/2 may be spoken without having been agreed on: it is the first that is said.
    pub(crate) fn may_speak_h2(&self) -> bool {
        self.requests == 0 && self.tls.is_none() && self.listener().is_some_and(|l| l.http2)
    }

    /// Whether HTTP/2 was agreed on with TLS.
    pub(crate) fn has_agreed_on_h2(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.alpn == b"h2")
    }

    /// Whether TLS has to come before the first request.
    pub(crate) fn expects_tls(&self) -> bool {
        self.listener().is_some_and(|l| l.tls.is_some())
    }

    /// The scheme of its requests, as far as this balancer sees it.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The TLS handshake is complete: the time of the first request's head begins.
    fn note_handshake(&mut self) {
        self.idle_since = self.worker.now();
        let shard = self.seat.entry().shards.get(self.worker.index);
        if let (Some(tls), Some(shard)) = (&self.tls, shard) {
            let at = usize::from(tls.version >= 0x0304) * 2 + usize::from(tls.resumed);
            shard.handshakes[at].one();
        }
    }

    /// The listener's part of the Plan.
    pub(crate) fn listener(&self) -> Option<&ListenerPlan> {
        self.plan
            .plan
            .listeners
            .get(self.listener_at)
            .map(AsRef::as_ref)
    }

    /// The address the connection came from.
    pub(crate) fn peer(&self) -> Address {
        self.proxied.as_ref().map_or(self.client, |p| p.peer)
    }

    /// The address the client connected to, when a PROXY header said so.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.proxied.as_ref().and_then(|p| p.destination)
    }

    /// The address the client connected to.
    pub(crate) fn local(&self) -> Option<std::net::IpAddr> {
        let local = self.destination().or_else(|| self.stream.local());
        local.map(|a| a.ip())
    }

    /// The port the client connected to.
    pub(crate) fn port(&self) -> Option<u16> {
        self.destination().map(|a| a.port()).or(self.seat.port)
    }

    /// The access logs of what is on no route; none when there are none.
    pub(crate) fn access_logs(&self) -> Option<&LogSet> {
        let logs = &self.listener()?.fallback.logs;
        Some(logs).filter(|logs| !logs.is_empty())
    }

    /// Connections from clients that are open on all listeners.
    pub(crate) fn open_in_process(&self) -> u64 {
        let listeners = self.plan.plan.listeners.iter();
        listeners
            .map(|l| u64::from(l.entry.open.load(Ordering::Relaxed)))
            .sum()
    }

    /// Whether the connection should end after the current request.
    pub(crate) fn is_leaving(&self) -> bool {
        self.worker.draining.get() || self.seat.orphaned
    }

    /// Writes all of `data` before the timer's deadline.
    ///
    /// # Errors
    /// The fault kind: the client reset the connection or does not read.
    pub(crate) async fn write_all(&mut self, mut data: &[u8]) -> Result<(), FaultKind> {
        poll_fn(|cx| {
            while !data.is_empty() {
                match self.stream.poll_write(cx, data) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        data = data.get(count..).unwrap_or_default();
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(FaultKind::ClientReset)),
                    Poll::Pending if self.timer.poll_expired(cx) => {
                        return Poll::Ready(Err(FaultKind::ClientNotReading));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends FIN and reads on for a moment, so that a reply is not lost to a reset caused by bytes
    /// the client was still sending (RFC 9112 section 9.6).
    pub(crate) async fn linger(&mut self) {
        self.timer.set_after(self.worker.tick(), LINGER_TIME);
        let small = Rc::clone(&self.worker.small);
        let mut finished = false;
        let mut taken = 0;
        poll_fn(|cx| {
            if !finished {
                match self.stream.poll_finish(cx) {
                    Poll::Ready(Ok(())) => finished = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
            loop {
                match self.stream.poll_read(cx, &small) {
                    Poll::Ready(Ok(Read::Bytes(lease))) => {
                        taken += lease.len();
                        if taken > LINGER_BYTES {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(Ok(Read::End) | Err(_)) => return Poll::Ready(()),
                    Poll::Pending if self.timer.poll_expired(cx) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            self.worker.lot.leave(place);
        }
    }
}

/// What a client did while its response was awaited.
pub(crate) enum Seen {
    /// It sent FIN; it may still read.
    Finished,
    /// It is gone.
    Reset(io::Error),
}

/// Watches a client that has nothing to say until it is answered.
pub(crate) struct ClientWatch {
    /// Nothing more can be learnt: it has sent FIN or the next request.
    done: bool,
}

impl ClientWatch {
    /// A watch; pointless when the client has already `finished`.
    pub(crate) fn new(finished: bool) -> Self {
        Self { done: finished }
    }

    /// Looks, without a system call unless something arrived. Bytes are left where they are.
    ///
    /// Only a client whose request `is_read` is watched: before that its bytes belong to the body.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        is_read: bool,
    ) -> Option<Seen> {
        if self.done || !is_read {
            return None;
        }
        loop {
            match stream.poll_readable(cx) {
                Poll::Pending => return None,
                Poll::Ready(Err(error)) => {
                    self.done = true;
                    return Some(Seen::Reset(error));
                }
                Poll::Ready(Ok(())) => {}
            }
            match stream.peek_now() {
                Ok(0) => {
                    self.done = true;
                    return Some(Seen::Finished);
                }
                Ok(_) => {
                    self.done = true;
                    return None;
                }
                // The readiness was stale and is cleared now: look again, to be woken.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.done = true;
                    return Some(Seen::Reset(error));
                }
            }
        }
    }
}
