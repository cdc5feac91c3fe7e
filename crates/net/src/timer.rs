//! Deadlines of connections: the worker's wheel, the task that drives it, and the handle that a
//! connection holds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use clearway_base::clock::{self, Stamp};
use clearway_base::wheel::{Key, Wheel};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A worker's wheel. Not `Send`.
pub struct Timers {
    wheel: RefCell<Wheel>,
    /// When the driver wakes next; `u64::MAX` while it waits for the first deadline.
    wakes_at: Cell<u64>,
    earlier: Notify,
}

impl Timers {
    /// An empty wheel; run [`Timers::drive`] beside the tasks that use it.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            wheel: RefCell::new(Wheel::new(clock::now())),
            wakes_at: Cell::new(u64::MAX),
            earlier: Notify::new(),
        })
    }

    /// A timer without a deadline.
    #[must_use]
    pub fn timer(self: &Rc<Self>) -> Timer {
        let key = self.wheel.borrow_mut().insert();
        Timer {
            key,
            latest: Cell::new(None),
            timers: Rc::clone(self),
        }
    }

    /// Wakes tasks whose deadlines pass, for ever. Cancel safe.
    pub async fn drive(self: Rc<Self>) {
        let mut due: Vec<Waker> = Vec::new();
        loop {
            let next = self.wheel.borrow().next_due();
            let Some(next) = next else {
                self.wakes_at.set(u64::MAX);
                self.earlier.notified().await;
                continue;
            };
            self.wakes_at.set(next.0);
            let wait = next.since(clock::now());
            let until = Instant::now() + wait;
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.earlier.notified() => continue,
            }
            self.wheel.borrow_mut().advance(clock::now(), &mut due);
            for waker in due.drain(..) {
                waker.wake();
            }
        }
    }
}

/// One connection's deadline; see [`clearway_base::wheel`] for what it costs.
pub struct Timer {
    key: Key,
    /// No deadline may be later.
    latest: Cell<Option<Stamp>>,
    timers: Rc<Timers>,
}

impl Timer {
    /// Sets the deadline; an earlier firing is forgotten.
    pub fn set(&self, deadline: Stamp) {
        let deadline = self
            .latest
            .get()
            .map_or(deadline, |latest| latest.min(deadline));
        self.timers.wheel.borrow_mut().set(self.key, Some(deadline));
        if deadline.0 < self.timers.wakes_at.get() {
            self.timers.earlier.notify_one();
        }
    }

    /// Sets the deadline to `after` from `now`; zero means none.
    pub fn set_after(&self, now: Stamp, after: Duration) {
        if after.is_zero() {
            self.clear();
        } else {
            self.set(now.plus(after));
        }
    }

    /// Removes the deadline, down to the one of [`Timer::set_latest`].
    pub fn clear(&self) {
        match self.latest.get() {
            Some(latest) => self.set(latest),
            None => self.timers.wheel.borrow_mut().set(self.key, None),
        }
    }

    /// Bounds the deadlines that are set from now on, until `None` is given.
    pub fn set_latest(&self, latest: Option<Stamp>) {
        self.latest.set(latest);
    }

    /// The bound of the deadlines, if there is one.
    #[must_use]
    pub fn latest(&self) -> Option<Stamp> {
        self.latest.get()
    }

    /// Whether the deadline has passed; registers the task to be woken when it does.
    #[must_use]
    pub fn poll_expired(&self, cx: &Context<'_>) -> bool {
        let mut wheel = self.timers.wheel.borrow_mut();
        if wheel.has_fired(self.key) {
            return true;
        }
        wheel.watch(self.key, cx.waker());
        false
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.timers.wheel.borrow_mut().remove(self.key);
    }
}
