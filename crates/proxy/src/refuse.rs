//! Connections and requests that never get as far as an exchange: refused, answered where that is
//! possible, and reported like every other failure.

use std::rc::Rc;
use std::task::{Context, Waker};

use clearway_base::buffer::Lease;
use clearway_base::clock::{self, Stamp};
use clearway_base::intern::Name;
use clearway_net::stream::Stream;
use clearway_net::tls;
use clearway_outcome::{Fault, FaultKind, Phase, Protocol, Record, Side, Timings};

use crate::access::Ending;
use crate::client::Conn;
use crate::exchange::{Next, ReplyOptions, encode_fault};
use crate::plan::Mode;
use crate::stats::class;

/// Refused connections that may linger at the same time, per worker.
const LINGERING_MAX: u32 = 256;

/// A request whose head is refused: answers with the status of `kind` and closes.
pub(crate) async fn bad_head(
    conn: &mut Conn,
    lease: &Lease,
    kind: FaultKind,
    started: Stamp,
) -> Next {
    let worker = Rc::clone(&conn.worker);
    let now = worker.now();
    let fault = Fault::new(kind, Phase::RequestHead, Side::Client).after(now.micros_since(started));
    let id = worker.next_id();
    let mut out = Vec::new();
    short_reply(conn, fault, id, &mut out);
    let limit = conn
        .listener()
        .map(|l| l.timeouts.client_write)
        .unwrap_or_default();
    conn.timer.set_after(now, limit);
    // Whether the client still reads does not change what is reported.
    let written = conn.write_all(&out).await;
    worker.tick();
    let sent = if written.is_ok() { out.len() as u64 } else { 0 };
    report(
        conn,
        id,
        fault,
        started,
        (lease.filled(), kind.status(), sent),
    );
    Next::Linger
}

/// A connection refused before anything was read from it.
pub(crate) fn connection(mut conn: Box<Conn>, kind: FaultKind) {
    conn.seat.vacate();
    let worker = Rc::clone(&conn.worker);
    let now = worker.now();
    let fault = Fault::new(kind, Phase::Accept, Side::Local);
    let id = worker.next_id();
    let mut sent = 0;
    if conn
        .listener()
        .is_some_and(|l| l.mode == Mode::Http && !l.proxy_protocol && l.tls.is_none())
    {
        let mut out = Vec::new();
        short_reply(&conn, fault, id, &mut out);
        // One try: a refused connection gets no time to read slowly.
        let mut cx = Context::from_waker(Waker::noop());
        if let std::task::Poll::Ready(Ok(count)) = conn.stream.poll_write(&mut cx, &out) {
            sent = count as u64;
        }
    }
    let status = if sent > 0 { kind.status() } else { 0 };
    report(&conn, id, fault, now, (b"", status, sent));
    if sent > 0 && worker.lingering.get() < LINGERING_MAX {
        // The request that is on its way would otherwise reset the connection, and the reply with it.
        worker.lingering.set(worker.lingering.get() + 1);
        worker.spawn(async move {
            conn.linger().await;
            let lingering = &conn.worker.lingering;
            lingering.set(lingering.get() - 1);
        });
    }
}

/// A connection whose PROXY header is missing, broken or not trusted.
pub(crate) fn handshake(conn: &Conn, kind: FaultKind) {
    let fault = client_fault(conn, kind);
    let id = conn.worker.next_id();
    report(conn, id, fault, conn.accepted, (b"", 0, 0));
}

/// A connection that speaks HTTP/2 and was ended for what the client did.
pub(crate) fn session(conn: &Conn, fault: Fault) {
    let id = conn.worker.next_id();
    report(conn, id, fault, conn.accepted, (b"", 0, 0));
}

/// What a client did before its first request, timed from when it connected.
pub(crate) fn client_fault(conn: &Conn, kind: FaultKind) -> Fault {
    let elapsed = conn.worker.tick().micros_since(conn.accepted);
    Fault::new(kind, Phase::Handshake, Side::Client).after(elapsed)
}

/// A connection whose TLS handshake failed after the client had sent `first`; one that speaks plain
/// HTTP gets an answer in plain HTTP. One that was `told` something gets the time to read it.
pub(crate) async fn tls_handshake(conn: &mut Conn, fault: Fault, first: &[u8], told: bool) {
    let id = conn.worker.next_id();
    let status = fault.kind.status();
    let mut sent = 0;
    if status > 0 && conn.listener().is_some_and(|l| l.mode == Mode::Http) {
        let now = conn.worker.now();
        let mut out = Vec::new();
        short_reply(conn, fault, id, &mut out);
        let limit = conn.listener().map(|l| l.timeouts.client_write);
        conn.timer.set_after(now, limit.unwrap_or_default());
        if conn.write_all(&out).await.is_ok() {
            sent = out.len() as u64;
        }
    }
    let (status, first) = match sent {
        0 => (0, b"".as_slice()),
        _ => (status, first),
    };
    report(conn, id, fault, conn.accepted, (first, status, sent));
    if sent > 0 || told {
        conn.linger().await;
    }
}

/// A client's connection that ended with an error between requests: reported when TLS broke.
pub(crate) fn broken_tls(conn: &Conn, error: &std::io::Error) {
    let Some((kind, signal)) = tls::fault_of(error, false) else {
        return;
    };
    let now = conn.worker.tick();
    let elapsed = now.micros_since(conn.idle_since);
    let fault = Fault::new(kind, Phase::RequestHead, Side::Client)
        .with_signal(signal)
        .after(elapsed);
    let id = conn.worker.next_id();
    report(conn, id, fault, conn.idle_since, (b"", 0, 0));
}

/// The reply for a fault when nothing is known of the request; the connection closes after it.
fn short_reply(conn: &Conn, fault: Fault, id: clearway_outcome::RequestId, out: &mut Vec<u8>) {
    let status = fault.kind.status();
    let listener = conn.listener();
    let page = listener.and_then(|l| l.errors.for_fault(fault.kind, status));
    if page.is_some_and(|page| page.drop) {
        return;
    }
    let dressed = page.and_then(|page| page.dressed.as_ref()?.constant());
    let options = ReplyOptions {
        status: page.and_then(|p| p.status).unwrap_or(status),
        fault: Some(fault),
        id,
        page,
        keep_alive: false,
        head_only: false,
        headers: dressed.as_ref().map_or(&[], |dressed| &dressed.headers),
        received: 0,
        transport_security: listener
            .filter(|_| conn.tls.is_some())
            .and_then(|l| l.transport_security.as_deref()),
    };
    let mut date = conn.worker.date.borrow_mut();
    encode_fault(&options, date.at(clock::wall_of(conn.worker.now())), out);
}

/// A client that connected and sent nothing in time: counted, not answered.
pub(crate) fn silent_client(conn: &Conn) {
    let now = conn.worker.tick();
    let elapsed = now.micros_since(conn.accepted);
    let kind = FaultKind::RequestHeadTimeout;
    let fault = Fault::new(kind, Phase::RequestHead, Side::Client).after(elapsed);
    let id = conn.worker.next_id();
    report(conn, id, fault, conn.accepted, (b"", 0, 0));
}

/// Counts and publishes a refusal. `what` is the bytes read, the status and the bytes sent.
fn report(
    conn: &Conn,
    id: clearway_outcome::RequestId,
    fault: Fault,
    started: Stamp,
    what: (&[u8], u16, u64),
) {
    let (bytes, status, sent) = what;
    let worker = &conn.worker;
    let shards = &conn.seat.entry().shards;
    if let Some(shard) = shards.get(worker.index) {
        shard.faults.one(fault.kind);
        shard.bytes_in.add(bytes.len() as u64);
        shard.bytes_out.add(sent);
        if let Some(responses) = shard.responses.get(class(status)) {
            responses.one();
        }
    }
    let is_tcp = conn.listener().is_some_and(|l| l.mode == Mode::Tcp);
    let first_line = bytes
        .split(|&b| b == b'\n' || b == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = first_line.splitn(3, |&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let now = worker.now();
    let record = Record {
        id,
        started,
        client: conn.client,
        listener: conn.seat.listener,
        route: Default::default(),
        backend: Default::default(),
        protocol: if is_tcp {
            Protocol::Tcp
        } else if conn.has_agreed_on_h2() || matches!(conn.stream, Stream::H2(_) | Stream::Gone) {
            Protocol::Http2
        } else {
            Protocol::Http11
        },
        tls: conn.tls.as_deref(),
        method: method.get(..method.len().min(64)).unwrap_or_default(),
        target: target.get(..target.len().min(512)).unwrap_or_default(),
        host: b"",
        referer: b"",
        user_agent: b"",
        status,
        grpc_status: None,
        bytes_in: bytes.len() as u64,
        bytes_out: sent,
        body_out: 0,
        timings: Timings {
            head_us: 0,
            total_us: now.micros_since(started),
        },
        attempts: &[],
        fault: Some(fault),
        connections: (conn.seat.open_now, 0),
    };
    let ending = Ending {
        conn,
        started,
        complete: None,
        now,
        backend: None,
        server: Name::NONE,
        source: None,
        request: None,
    };
    let logs = conn.access_logs().map(|logs| (logs, &ending));
    worker.publish(&record, logs, true);
}
