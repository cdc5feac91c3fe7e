//! Getting an answer: choose a server, reach it, talk to it, and go round again where that is allowed.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::clock::Stamp;
use clearway_base::hash;
use clearway_config::model::ServerProtocol;
use clearway_http::proxy_protocol;
use clearway_net::cgi::CgiStream;
use clearway_net::connect::{self, Target};
use clearway_net::h2::{Trunk, TrunkSettings};
use clearway_net::stream::Stream;
use clearway_net::tls::{self, ClientTls, Connecting, ServerName};
use clearway_outcome::{Attempt, Evidence, Fault, FaultKind, Phase, RetryRefusal, Side, Signal};
use clearway_rules::{Scratch, Value, View};

use super::around::Surroundings;
use super::choose::Chosen;
use super::talk::{Answer, Failed};
use super::{Exchange, Stop, evidence};
use crate::client::Conn;
use crate::local::LocalServer;
use crate::plan::SendProxy;
use crate::pool::ServerConn;

/// Body bytes of one response over a shared connection that may wait to be passed on.
const SHARED_WINDOW: u32 = 64 * 1_024;

/// Heads of so many bytes may be too long for the parameters of FastCGI and the like.
const PARAMS_LOOKED_AT: usize = 4 * 1_024;

impl Exchange<'_> {
    /// Tries servers until one answers or no further Attempt is allowed.
    pub(super) async fn obtain(&mut self) -> Result<Answer, Stop> {
        if self.backend.as_ref().is_some_and(|b| b.named.is_some()) {
            // Boxed: most backends know their servers.
            Box::pin(self.lead()).await?;
        }
        if self.waits_for_body() {
            // Boxed: most bodies go on as they come.
            Box::pin(self.gather()).await?;
        }
        // Parameters hold parts of the head several times: what is far from the bound is not looked at.
        if self.needs_length() && self.request.head.len > PARAMS_LOOKED_AT && self.exceeds_params()
        {
            let fault = self.client_fault(FaultKind::HeadersTooLarge, Phase::Admit);
            return Err(Stop::Fault(fault));
        }
        loop {
            let Chosen {
                member,
                server,
                queued_us,
            } = self.choose().await?;
            let began = self.conn.worker.now();
            let plan = &server.plan;
            let mut attempt = Attempt::begin(plan.backend, plan.name, plan.address, began);
            attempt.queued_us = queued_us;
            self.request.attempts.push(attempt);
            let failed = match self.reach(&server).await {
                Err(fault) => Failed::Server(fault),
                Ok(conn) => match self.talk(conn, member).await {
                    Ok(mut answer) => {
                        if self.accepts(&mut answer) {
                            answer.upload.stop_keeping();
                            return Ok(answer);
                        }
                        continue;
                    }
                    Err(failed) => failed,
                },
            };
            self.after_failure(&failed, member)?;
        }
    }

    /// Accepts a response, or gives it up because its status is one to retry.
    fn accepts(&mut self, answer: &mut Answer) -> bool {
        let status = self.request.response.status;
        self.request.attempt().status = status;
        match self.may_retry_status(status, answer.upload.is_replayable()) {
            None => true,
            Some(Err(refusal)) => {
                self.request.attempt().refusal = Some(refusal);
                true
            }
            Some(Ok(())) => {
                self.kept = answer.upload.take_kept();
                self.finish_attempt(answer, answer.buffer.len() as u64);
                self.count_retry(answer.member);
                false
            }
        }
    }

    /// Files a failed Attempt; `Ok` means that another may follow.
    fn after_failure(&mut self, failed: &Failed, member: usize) -> Result<(), Stop> {
        let attempt = self.request.attempt();
        match *failed {
            Failed::Client(fault) => {
                attempt.fault = Some(fault);
                attempt.refusal = Some(RetryRefusal::ClientGone);
                self.close_attempt(member);
                Err(if fault.kind.is_client_abort() {
                    Stop::Cut(fault)
                } else {
                    Stop::Fault(fault)
                })
            }
            Failed::Server(fault) => {
                attempt.fault = Some(fault);
                let verdict = self.may_retry(&fault, self.replayable);
                self.request.attempt().refusal = verdict.err();
                self.close_attempt(member);
                if verdict.is_err() {
                    return Err(Stop::Fault(fault));
                }
                // A server that closed one kept connection has probably closed them all.
                self.fresh_only |=
                    matches!(fault.kind, FaultKind::ReusedClosed | FaultKind::ReusedReset);
                self.count_retry(member);
                Ok(())
            }
        }
    }

    fn count_retry(&mut self, member: usize) {
        self.request.tried.push(member);
        if let Some(backend) = &self.backend {
            backend.shard().retries.one();
        }
    }

    /// A kept connection, or a fresh one within `timeouts.connect`.
    async fn reach(&mut self, server: &Rc<LocalServer>) -> Result<ServerConn, Fault> {
        let may_share = match server.plan.protocol {
            ServerProtocol::Http1
            | ServerProtocol::Fastcgi
            | ServerProtocol::Scgi
            | ServerProtocol::Uwsgi => false,
            ServerProtocol::H2 => true,
            // Few servers take WebSockets over HTTP/2.
            ServerProtocol::Auto => !self.opens_websocket() && !server.kept.trunks.prefers_h1(),
        };
        if may_share {
            // Boxed: most servers speak HTTP/1.1.
            let name = self.server_name(server);
            let shared = Box::pin(self.reach_shared(server, name)).await?;
            return self.may_tunnel(shared).await;
        }
        let now = self.request.attempt().started;
        let name = self.server_name(server);
        if !self.fresh_only
            && let Some(conn) = server.checkout(now, self.asked(server, name.as_ref()))
        {
            return Ok(self.reuse(server, conn, now));
        }
        let asked = self.asked(server, name.as_ref());
        let stream = self.connect(server, name).await?;
        if stream.tls_alpn() == Some(b"h2") {
            // It has begun to agree on HTTP/2.
            return Box::pin(self.share(server, stream, asked)).await;
        }
        let stream = self.translated(stream);
        Ok(ServerConn {
            asked,
            ..ServerConn::new(stream, self.conn.worker.now())
        })
    }

    /// What tells connections to a server apart that cannot stand for each other.
    fn asked(&self, server: &LocalServer, name: Option<&ServerName<'static>>) -> u64 {
        let hash = name_hash(name);
        match server.plan.target {
            Target::Ip(address) if address.port() == 0 => {
                hash ^ u64::from(self.conn.port().unwrap_or(0))
            }
            Target::Ip(_) | Target::Unix(_) => hash,
        }
    }

    /// The name that the server is asked for on behalf of this request, where that depends on it.
    fn server_name(&self, server: &LocalServer) -> Option<ServerName<'static>> {
        let (tls, _) = server.plan.tls.as_ref()?;
        let value = tls.name.as_ref()?;
        let around = Surroundings {
            conn: self.conn,
            plan: &self.plan,
        };
        let view = around.view(&self.request.head, self.lease.filled(), self.id);
        asked_name(value, &view, &self.request.scratch)
    }

    /// The connection, with a translation over it where the server speaks FastCGI or the like.
    fn translated(&self, mut stream: Stream) -> Stream {
        let plan = self.backend.as_ref().and_then(|b| b.plan.cgi.as_ref());
        let Some(plan) = plan else { return stream };
        match stream.take_plain() {
            Some(wire) => {
                let stream = CgiStream::new(wire, plan.dialect, plan.keeps);
                Stream::Cgi(Box::new(stream))
            }
            None => stream,
        }
    }

    /// Whether the request opens a WebSocket: the one upgrade that HTTP/2 has a form for. Others are a
    /// wish that may be ignored (RFC 9110 section 7.8), and are not passed on in frames.
    pub(super) fn opens_websocket(&self) -> bool {
        self.request.head.opens_websocket(self.lease.filled())
    }

    /// Waits for the word of a server that it takes tunnels, where the request asks for one.
    async fn may_tunnel(&self, mut shared: ServerConn) -> Result<ServerConn, Fault> {
        if !self.opens_websocket() {
            return Ok(shared);
        }
        let takes = poll_fn(|cx| {
            let Some(stream) = shared.stream.h2_mut() else {
                return Poll::Ready(Some(true));
            };
            match stream.poll_takes_tunnels(cx) {
                Poll::Ready(takes) => Poll::Ready(Some(takes)),
                Poll::Pending if self.conn.timer.poll_expired(cx) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        self.conn.worker.tick();
        let kind = match takes {
            Some(true) => return Ok(shared),
            Some(false) => FaultKind::UpgradeUnsupported,
            None => FaultKind::ConnectTimeout,
        };
        Err(self.or_total(self.server_fault(kind, Phase::Connect, 0)))
    }

    /// Notes that a connection is used again.
    fn reuse(&mut self, server: &LocalServer, conn: ServerConn, now: Stamp) -> ServerConn {
        let attempt = self.request.attempt();
        attempt.reuse = conn.reuse(now);
        attempt.connected_us = Some(0);
        server.shard().reuses.one();
        conn
    }

    /// A stream of an HTTP/2 connection, kept, fresh, or being opened by somebody else.
    async fn reach_shared(
        &mut self,
        server: &Rc<LocalServer>,
        name: Option<ServerName<'static>>,
    ) -> Result<ServerConn, Fault> {
        let asked = name_hash(name.as_ref());
        let worker = Rc::clone(&self.conn.worker);
        let trunks = &server.kept.trunks;
        let limit = self.route_plan().timeouts.connect;
        self.conn.timer.set_after(worker.now(), limit);
        let mut opened = pin!(trunks.opened().notified());
        let _right = loop {
            let now = worker.now();
            if !self.fresh_only
                && let Some(conn) = trunks.stream(server.wear(), now, asked)
            {
                return Ok(self.reuse(server, conn, now));
            }
            if self.fresh_only {
                break None;
            }
            opened.as_mut().enable();
            if let Some(right) = trunks.begin() {
                break Some(right);
            }
            let waited = poll_fn(|cx| match opened.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending if self.conn.timer.poll_expired(cx) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            })
            .await;
            worker.tick();
            if !waited {
                let kind = FaultKind::ConnectTimeout;
                return Err(self.or_total(self.server_fault(kind, Phase::Connect, 0)));
            }
            opened.set(trunks.opened().notified());
        };
        let stream = self.connect(server, name).await?;
        if stream.tls_alpn().is_none_or(|alpn| alpn == b"h2") {
            return self.share(server, stream, asked).await;
        }
        if server.plan.protocol == ServerProtocol::Auto {
            trunks.prefer_h1(true);
            return Ok(ServerConn {
                asked,
                ..ServerConn::new(stream, worker.now())
            });
        }
        self.request.attempt().evidence = Some(evidence::gather(Some(&stream), &[]));
        Err(self.server_fault(FaultKind::ServerRefusesHttp2, Phase::Tls, 0))
    }

    /// Speaks HTTP/2 over a fresh connection, and takes its first stream.
    async fn share(
        &self,
        server: &LocalServer,
        stream: Stream,
        asked: u64,
    ) -> Result<ServerConn, Fault> {
        let worker = Rc::clone(&self.conn.worker);
        let trunks = &server.kept.trunks;
        trunks.prefer_h1(false);
        let settings = TrunkSettings {
            header_bytes: self.route_plan().limits.response_header_bytes,
            window: SHARED_WINDOW,
        };
        let (trunk, driver) = Trunk::open(stream, &settings).await.map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(0);
            self.server_fault(FaultKind::ServerResetWhileSending, Phase::Connect, errno)
        })?;
        worker.spawn(driver);
        trunks.add(trunk, worker.now(), asked);
        trunks
            .stream(server.wear(), worker.now(), asked)
            .ok_or_else(|| self.server_fault(FaultKind::ServerGoaway, Phase::Connect, 0))
    }

    /// Opens a connection within `timeouts.connect`.
    async fn connect(
        &mut self,
        server: &Rc<LocalServer>,
        asked: Option<ServerName<'static>>,
    ) -> Result<Stream, Fault> {
        let limit = self.route_plan().timeouts.connect;
        // Boxed: room for opening a connection need not lie between the parts that every request uses.
        let offer = match server.plan.protocol {
            ServerProtocol::Auto if self.opens_websocket() => Offer::Http1,
            ServerProtocol::Http1
            | ServerProtocol::H2
            | ServerProtocol::Auto
            | ServerProtocol::Fastcgi
            | ServerProtocol::Scgi
            | ServerProtocol::Uwsgi => Offer::Whatever,
        };
        let stream = Box::pin(open(self.conn, server, limit, (offer, asked)))
            .await
            .map_err(|unopened| self.unopened(unopened))?;
        let now = self.conn.worker.tick();
        let attempt = self.request.attempt();
        let connect_us = now.micros_since(attempt.started);
        attempt.connected_us = Some(connect_us);
        if let Some(backend) = &self.backend {
            backend.shard().connect.record(connect_us);
        }
        Ok(stream)
    }

    /// Files what was learnt of a connection that could not be opened.
    fn unopened(&mut self, unopened: Unopened) -> Fault {
        let now = self.conn.worker.now();
        let attempt = self.request.attempt();
        let fault = unopened.fault(now.micros_since(attempt.started));
        attempt.evidence = Some(unopened.evidence);
        self.or_total(fault)
    }

    /// What passes from a failed Attempt to the one that may follow it.
    pub(super) fn learn_close(&self, server: &ServerConn) {
        if let (Some(backend), Some(flight)) = (&self.backend, &self.flight)
            && let Some(home) = backend.servers.get(flight.member())
        {
            home.learn(server, self.conn.worker.now());
        }
    }
}

/// Where a server is for a client: one without a port has that of the client's connection.
fn with_port_of<'a>(conn: &Conn, target: &'a Target) -> Cow<'a, Target> {
    match (target, conn.port()) {
        (Target::Ip(address), Some(port)) if address.port() == 0 => {
            Cow::Owned(target.with_port(port))
        }
        _ => Cow::Borrowed(target),
    }
}

/// Connects within `limit`; when files have run out, kept connections make room.
async fn connect(
    conn: &Conn,
    server: &Rc<LocalServer>,
    limit: std::time::Duration,
) -> Result<Stream, Unopened> {
    let worker = Rc::clone(&conn.worker);
    conn.timer.set_after(worker.now(), limit);
    let mut has_shed = false;
    loop {
        let target = with_port_of(conn, &server.plan.target);
        let mut connecting = pin!(connect::connect(&target, server.plan.source));
        let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        let unopened = match connected {
            Some(Ok(stream)) => return Ok(stream),
            None => Unopened::new(FaultKind::ConnectTimeout, 0),
            Some(Err(error)) => {
                let mut unopened = Unopened::new(connect::fault(&error), error.errno);
                unopened.evidence.is_immediate = error.is_immediate;
                unopened
            }
        };
        worker.tick();
        if unopened.kind != FaultKind::OutOfFiles || has_shed {
            return Err(unopened);
        }
        has_shed = true;
        worker.shed_kept_connections();
    }
}

/// What TLS is to agree on.
#[derive(Clone, Copy)]
pub(crate) enum Offer {
    /// What the backend speaks.
    Whatever,
    /// HTTP/1.1 alone.
    Http1,
}

/// A connection that could not be opened, with what was learnt about why.
pub(crate) struct Unopened {
    kind: FaultKind,
    phase: Phase,
    errno: i32,
    signal: Option<Signal>,
    pub(crate) evidence: Box<Evidence>,
}

impl Unopened {
    fn new(kind: FaultKind, errno: i32) -> Self {
        Self {
            kind,
            phase: Phase::Connect,
            errno,
            signal: None,
            evidence: evidence::gather(None, &[]),
        }
    }

    /// What it means where `protocol` was offered.
    fn where_offered(mut self, protocol: ServerProtocol) -> Self {
        let is_refusal = self.signal == Some(Signal::NO_APPLICATION_PROTOCOL);
        if is_refusal && protocol == ServerProtocol::H2 {
            self.kind = FaultKind::ServerRefusesHttp2;
        }
        self
    }

    /// The fault that it is, `elapsed_us` after its Attempt began.
    pub(crate) fn fault(&self, elapsed_us: u64) -> Fault {
        Fault::new(self.kind, self.phase, Side::Server)
            .with_errno(self.errno)
            .with_signal(self.signal)
            .after(elapsed_us)
    }
}

/// Opens a connection within `limit`: connects, sends the PROXY header that the backend wants, and
/// sets up TLS where that is spoken.
pub(crate) async fn open(
    conn: &Conn,
    server: &Rc<LocalServer>,
    limit: std::time::Duration,
    (offer, asked): (Offer, Option<ServerName<'static>>),
) -> Result<Stream, Unopened> {
    let mut stream = connect(conn, server, limit).await?;
    server.shard().connects.one();
    send_proxy_header(conn, server, &mut stream).await?;
    match &server.plan.tls {
        None => Ok(stream),
        Some((tls, name)) => {
            let client = match offer {
                Offer::Whatever => &tls.client,
                Offer::Http1 => &tls.http1,
            };
            secure(conn, stream, client, asked.unwrap_or_else(|| name.clone()))
                .await
                .map_err(|unopened| unopened.where_offered(server.plan.protocol))
        }
    }
}

/// The name that a value says, without a port; `None` where it is none.
pub(crate) fn asked_name(
    value: &Value,
    view: &View<'_>,
    scratch: &Scratch,
) -> Option<ServerName<'static>> {
    let mut name = None;
    value.show(view, scratch, &mut |found| {
        let text = found.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let host = text.map(|text| match text.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => text,
        });
        name = host.and_then(|host| tls::server_name(host).ok());
    });
    name
}

/// What tells connections apart whose servers were asked for different names; 0 for none.
fn name_hash(name: Option<&ServerName<'static>>) -> u64 {
    name.map_or(0, |name| hash::stable(name.to_str().as_bytes()))
}

async fn send_proxy_header(
    conn: &Conn,
    server: &LocalServer,
    stream: &mut Stream,
) -> Result<(), Unopened> {
    let mut header = Vec::new();
    match server.plan.send_proxy {
        SendProxy::Off => return Ok(()),
        SendProxy::V1 => proxy_protocol::write_v1(source(conn), destination(conn), &mut header),
        SendProxy::V2 => proxy_protocol::write_v2(source(conn), destination(conn), &mut header),
    }
    // A fresh socket takes a header of this size at once or never.
    let (kind, errno) = match poll_fn(|cx| stream.poll_write(cx, &header)).await {
        Ok(count) if count == header.len() => return Ok(()),
        Ok(_) => (FaultKind::ServerClosedWhileSending, 0),
        Err(error) => (
            FaultKind::ServerResetWhileSending,
            error.raw_os_error().unwrap_or(0),
        ),
    };
    Err(Unopened::new(kind, errno))
}

/// The TLS handshake, until the deadline that connecting has.
async fn secure(
    conn: &Conn,
    mut stream: Stream,
    client: &ClientTls,
    name: ServerName<'static>,
) -> Result<Stream, Unopened> {
    let started = stream
        .take_plain()
        .and_then(|wire| Connecting::new(wire, client, name).ok());
    let Some(mut connecting) = started else {
        return Err(Unopened::new(FaultKind::ServerTlsProtocol, 0));
    };
    let done = poll_fn(|cx| match connecting.poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    let error = match done {
        Some(Ok(())) => return Ok(Stream::Tls(Box::new(connecting.finish()))),
        Some(Err(error)) => Some(error),
        None => None,
    };
    conn.worker.tick();
    let (failure, first, wire) = connecting.refuse(error.as_ref());
    let mut evidence = evidence::gather(Some(&Stream::Plain(wire)), first.as_bytes());
    evidence.tls = Some(Box::new(failure.facts));
    Err(Unopened {
        kind: failure.kind,
        phase: Phase::Tls,
        errno: failure.errno,
        signal: failure.signal,
        evidence,
    })
}

fn source(conn: &Conn) -> Option<std::net::SocketAddr> {
    match conn.client {
        clearway_outcome::Address::Ip(address) => Some(address),
        clearway_outcome::Address::Unix => None,
    }
}

fn destination(conn: &Conn) -> Option<std::net::SocketAddr> {
    conn.destination().or_else(|| conn.stream.local())
}
