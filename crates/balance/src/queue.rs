//! Strict connection limits over all workers, and the line of requests that wait for a slot.
//!
//! The only structure of this crate that threads share. While nobody waits, taking and giving back
//! a slot is one atomic operation each; the lock is touched only when a backend is saturated.
//!
//! No wake-up is lost: whoever waits first enters the line (a sequentially consistent store) and
//! then looks for free slots; whoever gives a slot back first frees it and then looks for a line.
//! At least one of the two sees the other.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The line of a backend's requests for which no server has a free slot, first come first served.
pub struct Queue {
    /// Who waits and has neither been granted a slot nor refused; changed under the lock only.
    waiting: AtomicUsize,
    bound: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    next_id: u64,
    /// By ascending id, that is by age.
    waiters: VecDeque<Waiter>,
}

struct Waiter {
    id: u64,
    choices: Box<[Arc<Slots>]>,
    state: State,
}

enum State {
    /// In line; the waker is set by the first poll.
    Waiting(Option<Waker>),
    /// Owns a slot which nobody has collected yet.
    Granted(Arc<Slots>),
    /// All its servers were closed.
    Refused,
}

/// The slots of one server.
pub struct Slots {
    key: u64,
    limit: AtomicU32,
    in_use: AtomicU32,
    is_open: AtomicBool,
    queue: Arc<Queue>,
}

/// A slot of a server; dropping it hands it to the next in line.
pub struct Slot(Arc<Slots>);

/// The line is as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as many requests as may be wait for a slot already, see queue.size")
    }
}

/// None of the servers that the request could use gives slots any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoneOpen;

impl fmt::Display for NoneOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every server that the request could use went away while it waited")
    }
}

impl Queue {
    /// A line in which at most `bound` requests wait.
    #[must_use]
    pub fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            bound: AtomicUsize::new(bound),
            line: Mutex::default(),
        })
    }

    /// Changes how many may wait; who waits already stays.
    pub fn set_bound(&self, bound: usize) {
        self.bound.store(bound, SeqCst);
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Enters the line for a slot of any of `choices`, which must belong to this queue. Resolves at
    /// once if one has a free slot and nobody older could use it. Dropping the future leaves the
    /// line, and a slot that was granted meanwhile goes on to the next.
    ///
    /// # Errors
    ///
    /// [`Full`] when the line is as long as it may be.
    pub fn wait(self: &Arc<Self>, choices: &[Arc<Slots>]) -> Result<Wait, Full> {
        debug_assert!(choices.iter().all(|c| Arc::ptr_eq(&c.queue, self)));
        let mut line = self.lock();
        if self.waiting.load(SeqCst) >= self.bound.load(SeqCst) {
            return Err(Full);
        }
        let id = line.next_id;
        line.next_id += 1;
        // Entered before looking: see the head of this file.
        self.waiting.fetch_add(1, SeqCst);
        let free = choices
            .iter()
            .find(|slots| !line.is_wanted(slots) && slots.take());
        let state = match free {
            Some(slots) => State::Granted(Arc::clone(slots)),
            None if choices.iter().all(|c| !c.is_open()) => State::Refused,
            None => State::Waiting(None),
        };
        if !matches!(state, State::Waiting(_)) {
            self.waiting.fetch_sub(1, SeqCst);
        }
        line.waiters.push_back(Waiter {
            id,
            choices: choices.into(),
            state,
        });
        Ok(Wait {
            queue: Arc::clone(self),
            id,
            is_done: false,
        })
    }

    /// Gives free slots of a server to the oldest who wait for them.
    fn dispatch(&self, slots: &Arc<Slots>) {
        let mut woken = Vec::new();
        let mut line = self.lock();
        while let Some(waiter) = line.waiters.iter_mut().find(|w| w.wants(slots)) {
            if !slots.take() {
                break;
            }
            self.waiting.fetch_sub(1, SeqCst);
            if let State::Waiting(Some(waker)) = waiter.settle(State::Granted(Arc::clone(slots))) {
                woken.push(waker);
            }
        }
        drop(line);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Refuses those who wait for closed servers only.
    fn refuse(&self) {
        let mut woken = Vec::new();
        let mut line = self.lock();
        for waiter in &mut line.waiters {
            let is_waiting = matches!(waiter.state, State::Waiting(_));
            if !is_waiting || waiter.choices.iter().any(|c| c.is_open()) {
                continue;
            }
            self.waiting.fetch_sub(1, SeqCst);
            if let State::Waiting(Some(waker)) = waiter.settle(State::Refused) {
                woken.push(waker);
            }
        }
        drop(line);
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing panics while the lock is held, and every state of the line is a valid one.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Whether somebody in line could use a slot of the server.
    fn is_wanted(&self, slots: &Arc<Slots>) -> bool {
        self.waiters.iter().any(|w| w.wants(slots))
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&id, |w| w.id).ok()
    }
}

impl Waiter {
    fn wants(&self, slots: &Arc<Slots>) -> bool {
        matches!(self.state, State::Waiting(_))
            && self.choices.iter().any(|c| Arc::ptr_eq(c, slots))
    }

    fn settle(&mut self, state: State) -> State {
        std::mem::replace(&mut self.state, state)
    }
}

impl Slots {
    /// The slots of a server of the queue's backend; `limit` 0 = no limit. `key` is the server's
    /// [`crate::Member::key`].
    #[must_use]
    pub fn new(queue: &Arc<Queue>, key: u64, limit: u32) -> Arc<Self> {
        Arc::new(Self {
            key,
            limit: AtomicU32::new(limit),
            in_use: AtomicU32::new(0),
            is_open: AtomicBool::new(true),
            queue: Arc::clone(queue),
        })
    }

    /// The server's key.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// How many slots are in use now.
    #[must_use]
    pub fn in_use(&self) -> u32 {
        self.in_use.load(SeqCst)
    }

    /// How many slots there are; 0 = no limit.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.load(SeqCst)
    }

    /// Changes the number of slots. When it falls, slots in use stay until they are given back.
    pub fn set_limit(self: &Arc<Self>, limit: u32) {
        self.limit.store(limit, SeqCst);
        self.queue.dispatch(self);
    }

    /// Whether a slot is free, by a look that holds nothing.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let limit = self.limit();
        limit == 0 || self.in_use() < limit
    }

    /// Whether the server gives slots to new requests.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open.load(SeqCst)
    }

    /// Stops or resumes giving slots, when the server goes down or comes up. Requests in line that
    /// could use no other server are refused at once instead of waiting for their time-out.
    pub fn set_open(self: &Arc<Self>, is_open: bool) {
        self.is_open.store(is_open, SeqCst);
        if is_open {
            self.queue.dispatch(self);
        } else {
            self.queue.refuse();
        }
    }

    /// A slot, if one is free and nobody in line could use it. Never waits; without a line it is
    /// one atomic operation.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        let taken = if self.queue.waiting() == 0 {
            self.take()
        } else {
            let line = self.queue.lock();
            !line.is_wanted(self) && self.take()
        };
        taken.then(|| Slot(Arc::clone(self)))
    }

    fn take(&self) -> bool {
        let limit = self.limit();
        self.is_open()
            && self
                .in_use
                .fetch_update(SeqCst, SeqCst, |used| {
                    (limit == 0 || used < limit).then_some(used.saturating_add(1))
                })
                .is_ok()
    }

    fn give_back(self: &Arc<Self>) {
        let before = self.in_use.fetch_sub(1, SeqCst);
        debug_assert!(before > 0);
        // Freed before looking: see the head of this file.
        if self.queue.waiting() > 0 {
            self.queue.dispatch(self);
        }
    }
}

impl Slot {
    /// The slots it is one of, which say the server.
    #[must_use]
    pub fn slots(&self) -> &Arc<Slots> {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.0.key).finish()
    }
}

/// A place in the line. Cancel safe: dropping it leaves the line.
#[must_use = "futures do nothing unless polled"]
pub struct Wait {
    queue: Arc<Queue>,
    id: u64,
    is_done: bool,
}

impl Future for Wait {
    type Output = Result<Slot, NoneOpen>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let queue = Arc::clone(&self.queue);
        let mut line = queue.lock();
        let Some(at) = line.position(self.id) else {
            // Polled again after it was ready: a caller's error that harms nobody.
            return Poll::Ready(Err(NoneOpen));
        };
        if let Some(Waiter {
            state: State::Waiting(waker),
            ..
        }) = line.waiters.get_mut(at)
        {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        let waiter = line.waiters.remove(at);
        drop(line);
        self.is_done = true;
        Poll::Ready(match waiter.map(|w| w.state) {
            Some(State::Granted(slots)) => Ok(Slot(slots)),
            Some(State::Refused | State::Waiting(_)) | None => Err(NoneOpen),
        })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut line = self.queue.lock();
        let waiter = line
            .position(self.id)
            .and_then(|at| line.waiters.remove(at));
        if matches!(&waiter, Some(w) if matches!(w.state, State::Waiting(_))) {
            self.queue.waiting.fetch_sub(1, SeqCst);
        }
        drop(line);
        if let Some(State::Granted(slots)) = waiter.map(|w| w.state) {
            slots.give_back();
        }
    }
}

#[cfg(test)]
mod tests;
