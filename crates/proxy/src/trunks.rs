//! HTTP/2 connections to servers, shared by the requests of a worker.
//!
//! A request takes a stream of a connection that is open and has room. While one is being opened,
//! others wait for it instead of opening their own.

use std::cell::{Cell, RefCell};

use clearway_base::clock::Stamp;
use clearway_net::h2::Trunk;
use clearway_net::stream::Stream;
use tokio::sync::Notify;

use crate::pool::ServerConn;

/// A connection with its history.
struct Known {
    trunk: Trunk,
    opened: Stamp,
    uses: Cell<u32>,
    idle_since: Cell<Stamp>,
    /// The hash of the name that the server was asked for, where that depends on the request; else 0.
    asked: u64,
}

/// The connections of a worker to one server.
#[derive(Default)]
pub(crate) struct Trunks {
    open: RefCell<Vec<Known>>,
    is_opening: Cell<bool>,
    /// Told when one was opened, or could not be.
    opened: Notify,
    /// The server has agreed on HTTP/1.1 where both were offered.
    prefers_h1: Cell<bool>,
}

/// How long and for how many requests a connection is used.
#[derive(Clone, Copy)]
pub(crate) struct Wear {
    pub(crate) max_requests: u32,
    pub(crate) max_age_us: u64,
    pub(crate) idle_us: u64,
}

impl Wear {
    fn is_worn(self, known: &Known, now: Stamp) -> bool {
        (self.max_requests > 0 && known.uses.get() >= self.max_requests)
            || (self.max_age_us > 0 && now.micros_since(known.opened) >= self.max_age_us)
    }
}

impl Trunks {
    /// A stream for a request, of the newest connection that is open, has room and was opened for the same
    /// name: `asked` is its hash.
    pub(crate) fn stream(&self, wear: Wear, now: Stamp, asked: u64) -> Option<ServerConn> {
        let mut open = self.open.borrow_mut();
        open.retain(|known| known.trunk.is_open());
        let fits = |known: &&Known| {
            known.asked == asked && known.trunk.has_room() && !wear.is_worn(known, now)
        };
        let known = open.iter().rev().find(fits)?;
        let mut conn = ServerConn::new(Stream::H2(Box::new(known.trunk.stream())), known.opened);
        conn.uses = known.uses.replace(known.uses.get().saturating_add(1));
        conn.idle_since = known.idle_since.replace(now);
        Some(conn)
    }

    /// Adds a connection that was just opened.
    pub(crate) fn add(&self, trunk: Trunk, now: Stamp, asked: u64) {
        self.open.borrow_mut().push(Known {
            trunk,
            opened: now,
            uses: Cell::new(0),
            idle_since: Cell::new(now),
            asked,
        });
    }

    /// The right to open a connection; `None` while somebody else does, who tells when it is done.
    pub(crate) fn begin(&self) -> Option<Opening<'_>> {
        (!self.is_opening.replace(true)).then_some(Opening(self))
    }

    /// Told when somebody has done with opening a connection.
    pub(crate) fn opened(&self) -> &Notify {
        &self.opened
    }

    /// Whether the server is known to speak HTTP/1.1 where both are offered.
    pub(crate) fn prefers_h1(&self) -> bool {
        self.prefers_h1.get()
    }

    /// Notes whether the server has agreed on HTTP/1.1.
    pub(crate) fn prefer_h1(&self, prefers: bool) {
        self.prefers_h1.set(prefers);
    }

    /// Closes connections that nobody has used for long, or that are worn and idle; says how many idle
    /// ones are left.
    pub(crate) fn sweep(&self, wear: Wear, now: Stamp) -> usize {
        let mut open = self.open.borrow_mut();
        open.retain(|known| {
            if known.trunk.active() > 0 {
                known.idle_since.set(now);
                return known.trunk.is_open();
            }
            known.trunk.is_open()
                && !wear.is_worn(known, now)
                && now.micros_since(known.idle_since.get()) < wear.idle_us
        });
        open.iter()
            .filter(|known| known.trunk.active() == 0)
            .count()
    }

    /// Lets go of all connections; those in use end with their last request.
    pub(crate) fn clear(&self) {
        self.open.borrow_mut().clear();
    }
}

/// The right to open a connection: given back on drop, whatever happens.
pub(crate) struct Opening<'a>(&'a Trunks);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.is_opening.set(false);
        self.0.opened.notify_waiters();
    }
}
