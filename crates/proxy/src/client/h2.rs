//! HTTP/2 with a client: each of its requests gets an engine, like the next one of an HTTP/1.1
//! connection.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use clearway_base::buffer::Lease;
use clearway_http::{Framing, Progress, Version};
use clearway_net::h2::{H2Error, Incoming, Session, SessionSettings};
use clearway_net::stream::Stream;
use clearway_outcome::{Fault, FaultKind, Phase, Side};

use super::{Conn, LINGER_TIME};
use crate::exchange::{self, Arrival, Request};
use crate::refuse;
use crate::worker::Place;

/// Body bytes of one request that may wait to be passed on.
const WINDOW: u32 = 64 * 1_024;

/// Serves a connection that speaks HTTP/2, after `early` bytes of it were read, until it is over.
pub(crate) async fn serve(mut conn: Box<Conn>, early: Option<Lease>) {
    let worker = Rc::clone(&conn.worker);
    let settings = conn.listener().map(|l| SessionSettings {
        streams: l.limits.streams,
        header_bytes: l.limits.header_bytes,
        window: WINDOW,
        seed: worker.next_id().0,
    });
    let Some(settings) = settings else { return };
    let stream = std::mem::replace(&mut conn.stream, Stream::Gone);
    let mut session = Session::new(stream, early, &settings);
    let mut place = Place::none(&worker.sessions);
    let head = conn.listener().map(|l| l.timeouts.request_head);
    conn.timer
        .set_after(conn.idle_since, head.unwrap_or_default());
    let mut rest = Rest::default();
    loop {
        let pools = (&worker.small, &worker.large);
        let event = poll_fn(|cx| {
            place.register(cx);
            if let Poll::Ready(next) = session.poll_next(cx, pools) {
                return Poll::Ready(next.map(|next| next.map(Some)));
            }
            rest.look(cx, &mut conn, &mut session)
                .map(|()| Some(Ok(None)))
        })
        .await;
        match event {
            Some(Ok(Some(incoming))) => begin(&mut conn, incoming),
            // It was told, and has not closed.
            Some(Ok(None)) if session.is_closing() => {
                if let Some(error) = session.flood_fault() {
                    report(&conn, error);
                }
                return;
            }
            // Its time is over: what is under way, if anything, is finished.
            Some(Ok(None)) if session.is_open() => session.shut_down(),
            Some(Ok(None)) => return refuse::handshake(&conn, FaultKind::RequestHeadTimeout),
            Some(Err(error)) => return report(&conn, error),
            None => return,
        }
    }
}

/// What a connection does while no request comes.
#[derive(Default)]
struct Rest {
    /// Whether no request was under way at the last look; `None` before the client's preface.
    is_idle: Option<bool>,
    is_leaving: bool,
    is_lingering: bool,
}

impl Rest {
    /// Whether the connection is to take no more requests.
    fn look(&mut self, cx: &Context<'_>, conn: &mut Conn, session: &mut Session) -> Poll<()> {
        conn.follow_plan();
        if conn.is_leaving() && !std::mem::replace(&mut self.is_leaving, true) {
            session.shut_down();
            // What the library has to say now goes out with the next poll.
            cx.waker().wake_by_ref();
        }
        let is_idle = session.active() == 0;
        if is_idle && session.is_closing() {
            if !std::mem::replace(&mut self.is_lingering, true) {
                conn.timer.set_after(conn.worker.tick(), LINGER_TIME);
            }
        } else if session.is_open() && self.is_idle.replace(is_idle) != Some(is_idle) {
            let limit = conn.listener().map(|l| l.timeouts.client_idle);
            if is_idle {
                let now = conn.worker.tick();
                conn.timer.set_after(now, limit.unwrap_or_default());
            } else {
                conn.timer.clear();
            }
        }
        if conn.timer.poll_expired(cx) {
            conn.timer.clear();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Puts a request before an engine.
fn begin(conn: &mut Conn, incoming: Incoming) {
    conn.requests += 1;
    conn.follow_plan();
    let worker = Rc::clone(&conn.worker);
    let stream = Stream::H2(Box::new(incoming.stream));
    let mut child = Box::new(conn.child(stream));
    child.body_follows = incoming.has_body;
    let refused = match (incoming.head, incoming.refused) {
        (Some(head), None) => return worker.serve(child, head),
        (Some(head), Some(kind)) => (head, kind),
        (None, _) => (worker.small.lease(), FaultKind::HeadersTooLarge),
    };
    worker.spawn(async move {
        let (head, kind) = refused;
        let started = child.worker.tick();
        refuse::bad_head(&mut child, &head, kind, started).await;
    });
}

/// Serves the one request of a stream.
pub(crate) async fn active(conn: &mut Conn, request: &mut Request, first: Lease) {
    let started = conn.worker.tick();
    let limits = conn.listener().map(|l| l.head_limits()).unwrap_or_default();
    let parsed = request.head.parse(first.filled(), &limits);
    let refused = match parsed {
        Ok(Progress::Complete) => None,
        // A head in frames is always whole.
        Ok(Progress::Partial) => Some(FaultKind::HeadersTooLarge),
        Err(kind) => Some(kind),
    };
    if let Some(kind) = refused {
        refuse::bad_head(conn, &first, kind, started).await;
        return request.clear();
    }
    request.head.version = Version::Http2;
    if conn.body_follows && request.head.framing == Framing::None && !request.head.upgrade {
        request.head.framing = Framing::UntilClose;
    }
    let arrival = Arrival {
        started,
        complete: started,
    };
    // Whatever comes next of the connection comes on streams of its own.
    drop(exchange::run(conn, request, first, arrival).await);
    request.clear();
}

/// Tells of a connection that the client's conduct has ended.
fn report(conn: &Conn, error: H2Error) {
    let elapsed = conn.worker.tick().micros_since(conn.accepted);
    let fault = Fault::new(error.kind, Phase::RequestHead, Side::Client)
        .with_signal(error.signal)
        .after(elapsed);
    refuse::session(conn, fault);
}
