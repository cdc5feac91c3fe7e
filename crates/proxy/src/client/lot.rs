//! Connections that wait for a request: they have no task, no engine and no buffer.
//!
//! Whatever happens to one of them (bytes, FIN, its deadline) calls its place, and the attendant
//! looks at it: the first bytes of a request put it before an engine. So a connection that waits
//! costs a socket, a timer and its own state; and as many tasks exist as there are requests.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use clearway_base::buffer::Lease;
use clearway_net::stream::Read;
use slab::Slab;
use tokio::sync::Notify;

use super::Conn;
use crate::refuse;
use crate::worker::Worker;

/// How long a connection that has carried nothing yet may still bring its first request when the
/// worker drains.
const FIRST_GRACE: Duration = Duration::from_millis(500);

/// Connections looked at before the engines they were put before have their turn.
const AT_ONCE: u32 = 32;

/// The waiting connections of a worker.
#[derive(Default)]
pub(crate) struct Lot {
    /// A connection keeps its place for life; while it is served the place is empty.
    places: RefCell<Slab<Option<Box<Conn>>>>,
    calls: Arc<Calls>,
}

/// The places that something happened to.
#[derive(Default)]
struct Calls {
    places: Mutex<Vec<usize>>,
    bell: Notify,
}

/// Calls one place.
struct Call {
    place: usize,
    calls: Arc<Calls>,
}

impl Calls {
    fn add(&self, places: impl IntoIterator<Item = usize>) {
        let mut called = self.lock();
        let was_empty = called.is_empty();
        called.extend(places);
        if was_empty {
            self.bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.calls.add([self.place]);
    }
}

/// A connection's place, and what calls it.
pub(super) struct Place {
    at: usize,
    waker: Waker,
}

impl Lot {
    fn place(&self) -> Place {
        let at = self.places.borrow_mut().insert(None);
        let calls = Arc::clone(&self.calls);
        let waker = Waker::from(Arc::new(Call { place: at, calls }));
        Place { at, waker }
    }

    /// Takes a place away from a connection that ends.
    pub(super) fn leave(&self, place: &Place) {
        // It is empty: who waits in it does not end.
        drop(self.places.borrow_mut().try_remove(place.at));
    }

    fn take(&self, at: usize) -> Option<Box<Conn>> {
        self.places.borrow_mut().get_mut(at)?.take()
    }

    /// Calls every waiting connection: the worker drains, or has a new Plan.
    pub(crate) fn call_all(&self) {
        let places = self.places.borrow();
        let taken = places.iter().filter(|(_, conn)| conn.is_some());
        self.calls.add(taken.map(|(at, _)| at));
    }

    /// Closes every waiting connection.
    pub(crate) fn clear(&self) {
        let mut places = self.places.borrow_mut();
        let all: Vec<Box<Conn>> = places
            .iter_mut()
            .filter_map(|(_, conn)| conn.take())
            .collect();
        drop(places);
        drop(all);
    }
}

/// Looks at the connections of a worker that were called, for ever.
pub(crate) async fn attend(worker: Rc<Worker>) {
    // The cooperative budget would have those beyond it called again, the last ones first.
    tokio::task::coop::unconstrained(attend_in_order(worker)).await;
}

#[expect(clippy::infinite_loop, reason = "it ends with the worker's runtime")]
async fn attend_in_order(worker: Rc<Worker>) {
    let mut called = Vec::new();
    loop {
        worker.lot.calls.bell.notified().await;
        std::mem::swap(&mut *worker.lot.calls.lock(), &mut called);
        for (count, at) in (1..).zip(called.drain(..)) {
            worker.lot.take(at).map(look_at).unwrap_or_default();
            if count % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Lets a connection wait for its next request, unless that is already here.
pub(crate) fn arrive(conn: Box<Conn>) {
    let is_first = conn.requests == 0;
    let limit = conn.listener().map(|l| {
        // Before the first request the head's time-out holds, as a silent client is a slow one.
        if is_first {
            l.timeouts.request_head
        } else {
            l.timeouts.client_idle
        }
    });
    conn.timer
        .set_after(conn.idle_since, limit.unwrap_or_default());
    look_at(conn);
}

/// What a look at a waiting connection found.
enum Look {
    /// A request begins.
    Bytes(Lease),
    Nothing,
    /// The client closed, its time is up, or the worker drains.
    Over,
}

/// Serves the connection, lets it wait on, or closes it.
fn look_at(mut conn: Box<Conn>) {
    let worker = Rc::clone(&conn.worker);
    let place = conn.place.take().unwrap_or_else(|| worker.lot.place());
    let look = catch_unwind(AssertUnwindSafe(|| look(&mut conn, &place.waker)));
    let at = place.at;
    conn.place = Some(place);
    match look {
        Ok(Look::Bytes(first)) => worker.serve(conn, first),
        Ok(Look::Nothing) => {
            if let Some(place) = worker.lot.places.borrow_mut().get_mut(at) {
                *place = Some(conn);
            }
        }
        Ok(Look::Over) => {}
        Err(_) => worker.shard().panics.one(),
    }
}

fn look(conn: &mut Conn, waker: &Waker) -> Look {
    let mut cx = Context::from_waker(waker);
    let worker = Rc::clone(&conn.worker);
    match conn.stream.poll_read(&mut cx, &worker.small) {
        Poll::Ready(Ok(Read::Bytes(lease))) => return Look::Bytes(lease),
        Poll::Ready(Ok(Read::End)) => return Look::Over,
        Poll::Ready(Err(error)) => {
            refuse::broken_tls(conn, &error);
            return Look::Over;
        }
        Poll::Pending => {}
    }
    conn.follow_plan();
    let is_first = conn.requests == 0;
    if conn.is_leaving() && !conn.has_grace {
        if !is_first {
            return Look::Over;
        }
        // A client that has just connected may have its first request on the way.
        conn.has_grace = true;
        conn.timer.set(worker.tick().plus(FIRST_GRACE));
    }
    if conn.timer.poll_expired(&cx) {
        if is_first && !conn.has_grace {
            refuse::silent_client(conn);
        }
        return Look::Over;
    }
    Look::Nothing
}
