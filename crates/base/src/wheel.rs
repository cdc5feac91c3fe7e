//! Deadlines without a timer object per request.
//!
//! Each connection owns one entry. Moving its deadline *later* is a single store: the entry stays in
//! the slot where it is and is looked at again when that slot comes due. Only a deadline *earlier*
//! than the slot moves the entry. A request that sets a 30 s deadline over and over therefore costs
//! one store each time and one slot move every 30 s.
//!
//! Resolution is one [`TICK`]; an entry fires at most one tick late, never early. No I/O: the caller
//! passes the time and wakes whom the wheel names.

use std::task::Waker;

use crate::clock::Stamp;

/// Width of a slot in microseconds.
pub const TICK: u64 = 10_000;
const SLOTS: usize = 4_096;
/// Marks the end of a slot's chain.
const END: u32 = u32::MAX;

/// Names an entry of one [`Wheel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u32);

struct Entry {
    deadline: Option<Stamp>,
    /// Tick at which the entry is looked at next; meaningful while `linked`.
    tick: u64,
    next: u32,
    prev: u32,
    linked: bool,
    fired: bool,
    used: bool,
    waker: Option<Waker>,
}

/// A hashed wheel of deadlines with lazy re-insertion.
pub struct Wheel {
    slots: Box<[u32]>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The last tick that was processed.
    now: u64,
    linked: usize,
}

impl Wheel {
    /// An empty wheel whose time starts at `now`.
    #[must_use]
    pub fn new(now: Stamp) -> Self {
        Self {
            slots: vec![END; SLOTS].into_boxed_slice(),
            entries: Vec::new(),
            free: Vec::new(),
            now: now.0 / TICK,
            linked: 0,
        }
    }

    /// A new entry without a deadline.
    pub fn insert(&mut self) -> Key {
        let entry = Entry {
            deadline: None,
            tick: 0,
            next: END,
            prev: END,
            linked: false,
            fired: false,
            used: true,
            waker: None,
        };
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.entries.get_mut(index as usize)
        {
            *slot = entry;
            return Key(index);
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(END - 1);
        self.entries.push(entry);
        Key(index)
    }

    /// Removes an entry; its key must not be used again.
    pub fn remove(&mut self, key: Key) {
        self.unlink(key.0);
        if let Some(entry) = self.entries.get_mut(key.0 as usize)
            && entry.used
        {
            entry.used = false;
            entry.waker = None;
            self.free.push(key.0);
        }
    }

    /// Sets the deadline of `key`, or none, and clears a past firing.
    pub fn set(&mut self, key: Key, deadline: Option<Stamp>) {
        let Some(entry) = self.entries.get_mut(key.0 as usize) else {
            return;
        };
        entry.fired = false;
        entry.deadline = deadline;
        let Some(deadline) = deadline else { return };
        let tick = (deadline.0 / TICK + 1).max(self.now + 1);
        if entry.linked && entry.tick <= tick {
            return;
        }
        self.unlink(key.0);
        self.link(key.0, tick);
    }

    /// Whether the deadline of `key` has passed since it was set.
    #[must_use]
    pub fn has_fired(&self, key: Key) -> bool {
        self.entries
            .get(key.0 as usize)
            .is_some_and(|entry| entry.fired)
    }

    /// Whom to wake when `key` fires; replaces an earlier waker.
    pub fn watch(&mut self, key: Key, waker: &Waker) {
        let Some(entry) = self.entries.get_mut(key.0 as usize) else {
            return;
        };
        match &entry.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => entry.waker = Some(waker.clone()),
        }
    }

    /// Number of entries that have a slot: when 0, nobody needs to call [`Wheel::advance`].
    #[must_use]
    pub fn pending(&self) -> usize {
        self.linked
    }

    /// The earliest time at which [`Wheel::advance`] has something to look at, if any.
    #[must_use]
    pub fn next_due(&self) -> Option<Stamp> {
        if self.linked == 0 {
            return None;
        }
        let slots = SLOTS as u64;
        (self.now + 1..=self.now + slots)
            .find(|tick| {
                let slot = usize::try_from(tick % slots).unwrap_or(0);
                self.slots.get(slot).is_some_and(|&first| first != END)
            })
            .map(|tick| Stamp(tick * TICK))
    }

    /// Processes everything due at `now` and pushes the wakers of fired entries into `wake`.
    pub fn advance(&mut self, now: Stamp, wake: &mut Vec<Waker>) {
        let target = now.0 / TICK;
        // After a long pause every slot is looked at once, not once per missed tick.
        let first = (self.now + 1).max(target.saturating_sub(SLOTS as u64 - 1));
        if target <= self.now {
            return;
        }
        self.now = target;
        for tick in first..=target {
            let slot = usize::try_from(tick % SLOTS as u64).unwrap_or(0);
            let mut cursor = self.slots.get(slot).copied().unwrap_or(END);
            while cursor != END {
                let Some(entry) = self.entries.get(cursor as usize) else {
                    break;
                };
                let next = entry.next;
                if entry.tick <= target {
                    self.look_at(cursor, now, wake);
                }
                cursor = next;
            }
        }
    }

    /// Fires the entry if its deadline has passed, else files it where its deadline now is.
    fn look_at(&mut self, index: u32, now: Stamp, wake: &mut Vec<Waker>) {
        self.unlink(index);
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        match entry.deadline {
            Some(deadline) if deadline <= now => {
                entry.fired = true;
                entry.deadline = None;
                wake.extend(entry.waker.take());
            }
            Some(deadline) => {
                let tick = (deadline.0 / TICK + 1).max(self.now + 1);
                self.link(index, tick);
            }
            None => {}
        }
    }

    fn link(&mut self, index: u32, tick: u64) {
        let slot = usize::try_from(tick % SLOTS as u64).unwrap_or(0);
        let Some(first) = self.slots.get_mut(slot) else {
            return;
        };
        let old = std::mem::replace(first, index);
        if let Some(entry) = self.entries.get_mut(old as usize) {
            entry.prev = index;
        }
        if let Some(entry) = self.entries.get_mut(index as usize) {
            entry.tick = tick;
            entry.next = old;
            entry.prev = END;
            entry.linked = true;
            self.linked += 1;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        if !entry.linked {
            return;
        }
        entry.linked = false;
        self.linked -= 1;
        let (tick, prev, next) = (entry.tick, entry.prev, entry.next);
        if let Some(after) = self.entries.get_mut(next as usize) {
            after.prev = prev;
        }
        if prev == END {
            let slot = usize::try_from(tick % SLOTS as u64).unwrap_or(0);
            if let Some(first) = self.slots.get_mut(slot) {
                *first = next;
            }
        } else if let Some(before) = self.entries.get_mut(prev as usize) {
            before.next = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn at(ms: u64) -> Stamp {
        Stamp(ms * 1_000)
    }

    #[test]
    fn later_deadlines_cost_no_move_and_still_fire_on_time() {
        let mut wheel = Wheel::new(at(0));
        let key = wheel.insert();
        wheel.set(key, Some(at(100)));
        wheel.set(key, Some(at(500)));
        let mut wake = Vec::new();
        wheel.advance(at(300), &mut wake);
        assert!(!wheel.has_fired(key));
        wheel.advance(at(520), &mut wake);
        assert!(wheel.has_fired(key));
        wheel.set(key, None);
        assert!(!wheel.has_fired(key));
        assert_eq!(wheel.pending(), 0);
    }

    #[test]
    fn a_random_history_agrees_with_a_plain_list() {
        let mut rng = Rng::new(11);
        let mut wheel = Wheel::new(at(0));
        let mut model: Vec<(Key, Option<Stamp>, bool)> = Vec::new();
        let mut now = 0;
        for _ in 0..20_000 {
            match rng.below(4) {
                0 if model.len() < 50 => model.push((wheel.insert(), None, false)),
                1 if !model.is_empty() => {
                    let i = usize::try_from(rng.below(model.len() as u64)).unwrap();
                    let deadline = Some(at(now + rng.below(120_000)));
                    wheel.set(model[i].0, deadline);
                    (model[i].1, model[i].2) = (deadline, false);
                }
                2 if model.len() > 10 => {
                    let i = usize::try_from(rng.below(model.len() as u64)).unwrap();
                    wheel.remove(model.swap_remove(i).0);
                }
                _ => {
                    now += rng.below(500);
                    wheel.advance(at(now), &mut Vec::new());
                    for (key, deadline, fired) in &mut model {
                        let late = deadline.is_some_and(|d| d.0 + TICK <= at(now).0);
                        let due = deadline.is_some_and(|d| d <= at(now));
                        if wheel.has_fired(*key) {
                            assert!(due || *fired, "fired early");
                            (*fired, *deadline) = (true, None);
                        } else {
                            assert!(!late, "did not fire within a tick");
                        }
                    }
                }
            }
        }
        assert!(wheel.next_due().is_none_or(|due| due.0 > at(now).0 - TICK));
    }
}
