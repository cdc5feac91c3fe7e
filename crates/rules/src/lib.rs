//! The rule engine: typed fetches, tests, actions, maps and the route table, without I/O.
//!
//! Configuration languages are lowered into [`ast`]; [`Program`] and [`Router`] compile it once, and
//! workers run them over a [`View`] with a [`Scratch`] that they use again. Common requests allocate
//! nothing: literal tests of host, path, method and headers, and constant values.
//!
//! Invariants: the order that the configuration shows decides, whatever the indexes do; nothing that
//! a template yields gets into a head without a check; tests see the path in normal form.
//!
//! Not here: languages, sockets, the choice of servers.

#![forbid(unsafe_code)]

mod action;
pub mod ast;
mod compile;
pub mod convert;
mod fetch;
mod files;
mod gate;
pub mod limit;
mod map;
mod matcher;
mod program;
mod route_match;
mod router;
mod scratch;
mod secret;
mod shadow;
pub mod table;
mod template;
#[cfg(test)]
mod testing;
mod users;
mod value;
mod view;

pub use action::Page;
pub use action::ask::AskPlan;
pub use action::mirror::Mirror;
pub use compile::CompileError;
pub use fetch::payload::{looks_like_http, range_of as payload_range};
pub use files::{Elsewhere, FileSettings, ModifiedSince, Try, Wanted, escaped};
pub use gate::{Gate, Words};
pub use matcher::{check_pattern, group_names};
pub use program::Program;
pub use router::Router;
pub use scratch::{SERVER_FROM, Scratch, Session};
pub use shadow::shadowed;
pub use value::{Phrase, Value};
pub use view::{Around, BodyWait, Flow, LocalReply, OnDisk, View};
