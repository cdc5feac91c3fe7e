//! Engines: the futures that serve requests, used by one connection after another.
//!
//! A future with room for a whole exchange takes several kilobytes. A connection has one only while
//! it serves requests; between requests it lends it back to the worker, and the most recently used
//! one goes out first. So the memory that serves requests is as large as the number of requests in
//! flight, and stays in the processor's cache.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use clearway_base::buffer::Lease;

use super::Conn;
use super::h1::{self, After};
use crate::exchange::Request;

/// A connection with the first bytes of a request.
struct Work {
    conn: Box<Conn>,
    first: Lease,
}

/// The place where an engine finds its work and leaves what became of it.
#[derive(Default)]
struct Desk {
    work: Cell<Option<Work>>,
    done: Cell<Option<(Box<Conn>, After)>>,
}

/// A future that serves whatever connection is put before it.
pub(crate) struct Engine {
    desk: Rc<Desk>,
    future: Pin<Box<dyn Future<Output = ()>>>,
    is_out: bool,
    /// How many of the worker's engines are out: one that goes down with its task counts itself out.
    out: Rc<Cell<usize>>,
}

impl Engine {
    /// An engine without work, to be counted in `out` while it is in use.
    pub(crate) fn new(out: &Rc<Cell<usize>>) -> Self {
        let desk = Rc::<Desk>::default();
        let future = Box::pin(run(Rc::clone(&desk)));
        Self {
            desk,
            future,
            is_out: false,
            out: Rc::clone(out),
        }
    }

    /// Counts the engine as in use or not.
    pub(crate) fn set_out(&mut self, is_out: bool) {
        if self.is_out != is_out {
            self.is_out = is_out;
            let out = self.out.get();
            self.out.set(if is_out { out + 1 } else { out - 1 });
        }
    }

    /// Puts a connection before the engine: [`Engine::poll`] serves it.
    pub(crate) fn start(&self, conn: Box<Conn>, first: Lease) {
        self.desk.work.set(Some(Work { conn, first }));
    }

    /// Serves until no further request is waiting; gives the connection back.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Box<Conn>, After)> {
        // The future itself never ends.
        let _pending: Poll<()> = self.future.as_mut().poll(cx);
        match self.desk.done.take() {
            Some(done) => Poll::Ready(done),
            None => Poll::Pending,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.set_out(false);
    }
}

#[expect(
    clippy::infinite_loop,
    reason = "it serves for as long as it is polled"
)]
async fn run(desk: Rc<Desk>) {
    let mut request = Request::default();
    loop {
        let Work { mut conn, first } = std::future::poll_fn(|_| match desk.work.take() {
            Some(work) => Poll::Ready(work),
            // Whoever brings work polls again: there is nobody to be woken by.
            None => Poll::Pending,
        })
        .await;
        let after = h1::active(&mut conn, &mut request, first).await;
        desk.done.set(Some((conn, after)));
    }
}
