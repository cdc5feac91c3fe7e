//! What every layer may use and that knows no domain noun: clock, ids, hashing, buffers, rings, timers,
//! bounded stores.
//!
//! Invariants: nothing here does I/O apart from reading the clock; every structure is bounded.
//! Unsafe code is confined to [`ring`], with the reasons beside it.
//! Start with [`clock::Stamp`], [`buffer::Pool`] and [`intern::Name`].

pub mod buffer;
pub mod clock;
pub mod decimal;
pub mod hash;
pub mod hash32;
pub mod intern;
pub mod ring;
pub mod rng;
pub mod store;
pub mod wheel;
