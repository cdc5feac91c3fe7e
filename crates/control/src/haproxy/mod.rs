//! What scripts and monitoring that were written for HAProxy (2.6) ask: its statistics, as rows and as a
//! page, and its runtime commands.
//!
//! The interface is HAProxy's, the numbers are ours: [`rows`] makes the ones out of the others. Commands
//! that change something go through [`crate::state::Ask`] to the supervisor, and last until the next reload.

mod change;
mod command;
mod fields;
mod form;
mod info;
mod page;
mod rows;
mod samples;
mod show;
mod socket;
mod tables;
pub(crate) mod told;
mod write;

use std::sync::{Mutex, MutexGuard, PoisonError};

use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_config::model::Bind;

pub(crate) use page::Desk;
pub(crate) use samples::watch;
pub(crate) use socket::{Sockets, open};

use samples::Samples;

/// What runtime commands leave behind, and what is remembered for their sake.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    samples: Mutex<Samples>,
    altered: Mutex<Altered>,
    /// Logs of what becomes of servers.
    pub(crate) told: told::Told,
}

/// What commands have changed in the configuration in force. A reload puts the file in force again.
#[derive(Debug, Default)]
pub(crate) struct Altered {
    /// What weights were in the file.
    pub(crate) weights: Map<(String, String), u32>,
    /// Where listeners listened that do not now, and whether they may again.
    pub(crate) paused: Map<String, (Vec<Bind>, bool)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    /// Rates and highest values, for as long as the guard lives.
    pub(crate) fn samples(&self) -> MutexGuard<'_, Samples> {
        lock(&self.samples)
    }

    /// What commands have changed, for as long as the guard lives.
    pub(crate) fn altered(&self) -> MutexGuard<'_, Altered> {
        lock(&self.altered)
    }

    /// Another configuration is in force: what commands have changed is gone.
    pub(crate) fn forget(&self) {
        *self.altered() = Altered::default();
    }

    /// The state of a listener in HAProxy's words.
    fn frontend_word(&self, name: Name) -> &'static str {
        match self.altered().paused.get(name.as_str()) {
            None => "OPEN",
            Some(_) => "STOP",
        }
    }
}
