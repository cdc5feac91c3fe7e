//! Engines: the tasks that serve requests, used by one connection after another.
//!
//! A task with room for a whole exchange takes several kilobytes. A connection has one only while it
//! serves requests; between requests it waits in the lot, and the most recently used engine serves
//! whoever comes next. So the memory that serves requests is as large as the number of requests in
//! flight, and stays in the processor's cache.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use clearway_base::buffer::Lease;

use super::h1::{self, After};
use super::{Conn, h2, lot};
use crate::exchange::Request;
use crate::worker::Worker;

/// A connection with the first bytes of a request.
struct Work {
    conn: Box<Conn>,
    first: Lease,
}

/// Where an engine finds its work.
#[derive(Default)]
pub(crate) struct Desk {
    work: Cell<Option<Work>>,
    waker: RefCell<Option<Waker>>,
    is_closed: Cell<bool>,
}

impl Desk {
    /// Starts an engine; its desk.
    pub(crate) fn start(worker: &Rc<Worker>) -> Rc<Self> {
        let desk = Rc::<Self>::default();
        worker.spawn(run(Rc::clone(worker), Rc::clone(&desk)));
        desk
    }

    /// Puts a connection before the engine.
    pub(crate) fn put(&self, conn: Box<Conn>, first: Lease) {
        self.work.set(Some(Work { conn, first }));
        self.call();
    }

    /// Ends the engine, which has no work.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.call();
    }

    fn call(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn poll_work(&self, cx: &Context<'_>) -> Poll<Option<Work>> {
        match self.work.take() {
            Some(work) => return Poll::Ready(Some(work)),
            None if self.is_closed.get() => return Poll::Ready(None),
            None => {}
        }
        // An engine never changes its task.
        self.waker
            .borrow_mut()
            .get_or_insert_with(|| cx.waker().clone());
        Poll::Pending
    }
}

async fn run(worker: Rc<Worker>, desk: Rc<Desk>) {
    let mut request = Request::default();
    while let Some(work) = poll_fn(|cx| desk.poll_work(cx)).await {
        let Work { mut conn, first } = work;
        let after = match conn.stream.h2() {
            Some(_) => {
                h2::active(&mut conn, &mut request, first).await;
                After::Close
            }
            None => h1::active(&mut conn, &mut request, first).await,
        };
        let is_kept = worker.keep_engine(&desk);
        match after {
            After::Park => lot::arrive(conn),
            After::Close => drop(conn),
            After::Http2(early) => worker.spawn(h2::serve(conn, Some(early))),
            After::Linger => worker.spawn(async move { conn.linger().await }),
        }
        if !is_kept {
            return;
        }
    }
}
