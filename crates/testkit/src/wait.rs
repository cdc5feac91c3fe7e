//! Waiting for events with a deadline.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long any single wait of a test may last. Generous: it only runs out when a test fails.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A short time in which something must *not* happen.
pub const SHORT: Duration = Duration::from_millis(150);

/// The clock, read in one place.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no clock but the real one"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until there is an answer.
///
/// For what has no event of its own, such as a metric; the pause between two questions is a
/// matter of politeness and not of correctness.
///
/// # Panics
/// When there is no answer within [`LIMIT`].
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(LIMIT, ask).unwrap_or_else(|| panic!("waited {LIMIT:?} in vain: {what}"))
}

/// As [`until`], with a limit of its own; `None` when it runs out.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if now() >= end {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(4));
    }
}

/// Lets time pass that is itself the subject of a test, such as an idle time-out.
pub fn elapse(time: Duration) {
    let end = now() + time;
    loop {
        let left = end.saturating_duration_since(now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// A value behind a lock whose changes can be waited for.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// A value to watch.
    pub fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    /// Looks at the value.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock())
    }

    /// Changes the value and wakes whoever waits.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `look` finds something in the value.
    pub fn wait<R>(&self, limit: Duration, mut look: impl FnMut(&mut T) -> Option<R>) -> Option<R> {
        let end = now() + limit;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&mut value) {
                return Some(found);
            }
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                return None;
            }
            value = self
                .changed
                .wait_timeout(value, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gate that is closed until somebody opens it; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Watched<bool>>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.change(|open| *open = true);
    }

    /// Waits until the gate is open.
    ///
    /// # Panics
    /// When nobody opens it within [`LIMIT`].
    pub fn wait(&self) {
        let opened = self.0.wait(LIMIT, |open| open.then_some(()));
        assert!(
            opened.is_some(),
            "nobody opened the gate within the time allowed"
        );
    }

    /// Whether the gate opens within a time.
    #[must_use]
    pub fn opens_within(&self, limit: Duration) -> bool {
        self.0.wait(limit, |open| open.then_some(())).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_for_all_clones() {
        let gate = Gate::new();
        assert!(!gate.opens_within(Duration::from_millis(1)));
        let other = gate.clone();
        let waiter = std::thread::spawn(move || other.wait());
        gate.open();
        waiter.join().unwrap();
    }

    #[test]
    fn until_gives_up() {
        assert_eq!(within(Duration::from_millis(1), || None::<()>), None);
        let mut asked = 0;
        let answer = within(LIMIT, || {
            asked += 1;
            (asked == 3).then_some(7)
        });
        assert_eq!(answer, Some(7));
    }
}
