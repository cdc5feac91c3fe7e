//! Which server gets the next request: balancing algorithms, health verdicts, passive ejection,
//! queues for full servers, stickiness, retry budgets and slow start.
//!
//! Invariants: no I/O and no clock — time comes in as a [`clearway_base::clock::Stamp`], randomness
//! as numbers; choosing a server allocates nothing; every history and queue is bounded; every change
//! of state says why, in words that stand alone.
//!
//! Not here: probing, resolving names, reading configuration, sharing verdicts between threads. Only
//! [`queue`] is shared by threads, because a strict connection limit has to be.
//!
//! Start with [`Picker`], [`Member`] and [`health::Machine`].

#![forbid(unsafe_code)]

pub mod budget;
pub mod eject;
pub mod health;
mod member;
mod pick;
pub mod queue;
pub mod slow_start;
pub mod sticky;
mod words;

pub use member::Member;
pub use pick::{Algorithm, Ask, Bound, Picker, Spread};
