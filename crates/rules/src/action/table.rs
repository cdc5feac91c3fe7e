//! Tables: what is tracked and counted, and the server that goes with a key.

use std::sync::Arc;

use crate::fetch::{Context, Source, Text};
use crate::scratch::Scratch;
use crate::table::{COUNTERS_MAX, Change, Datum, Event, Table};
use crate::view::View;

/// Tracks a key.
#[derive(Debug)]
pub(crate) struct Track {
    counter: u8,
    of_connection: bool,
    table: Arc<Table>,
    key: Source,
}

impl Track {
    pub(super) fn new(
        counter: u8,
        of_connection: bool,
        table: Arc<Table>,
        key: Source,
    ) -> Result<Self, String> {
        if counter >= COUNTERS_MAX {
            return Err(format!("counters go from 0 to {}", COUNTERS_MAX - 1));
        }
        Ok(Self {
            counter,
            of_connection,
            table,
            key,
        })
    }

    pub(super) fn apply(&self, view: &View<'_>, scratch: &mut Scratch) {
        with_key(&self.key, view, scratch, |scratch, key| {
            let tracked = scratch.track(self.counter, self.of_connection, &self.table, key);
            let Some(tracked) = tracked else { return };
            // What has been there before it is counted with it too.
            if self.of_connection {
                tracked.count(Event::Session);
            }
            if view.head.len > 0 {
                tracked.count(Event::Request);
            }
            let status = view.response.map_or(0, |(head, _)| head.status);
            if let Some(event) = Event::of_status(status) {
                tracked.count(event);
            }
        });
    }
}

/// Changes a number of what is tracked.
#[derive(Debug)]
pub(crate) struct Tally {
    counter: u8,
    datum: Datum,
    index: usize,
    value: Text,
    sets: bool,
}

impl Tally {
    pub(super) fn new(
        counter: u8,
        (datum, index): (Datum, usize),
        value: Text,
        sets: bool,
    ) -> Result<Self, String> {
        if datum.shape() == crate::table::Shape::Server {
            return Err(format!("{} is set by rules that stick", datum.name()));
        }
        Ok(Self {
            counter,
            datum,
            index,
            value,
            sets,
        })
    }

    pub(super) fn apply(&self, view: &View<'_>, scratch: &mut Scratch) {
        scratch.lend(|scratch, room| {
            let Some(tracked) = scratch.tracked(self.counter) else {
                return;
            };
            let at = Context::for_templates(view, scratch);
            let text = std::str::from_utf8(self.value.render(&at, room)).unwrap_or_default();
            let Ok(number) = text.trim().parse() else {
                return;
            };
            let change = match self.sets {
                true => Change::Set(number),
                false => Change::Add(number),
            };
            tracked.change(self.datum, self.index, change);
        });
    }
}

/// Takes the server from a table, or notes that it is to be stored there.
#[derive(Debug)]
pub(crate) struct Stick {
    pub(super) stores: bool,
    pub(super) table: Arc<Table>,
    pub(super) key: Source,
}

impl Stick {
    pub(super) fn apply(&self, view: &View<'_>, scratch: &mut Scratch) {
        with_key(&self.key, view, scratch, |scratch, key| match self.stores {
            true => scratch.store(&self.table, key),
            false => scratch.stick(&self.table, key),
        });
    }
}

/// Does something with the first value of a source, if there is one.
fn with_key(
    key: &Source,
    view: &View<'_>,
    scratch: &mut Scratch,
    work: impl FnOnce(&mut Scratch, &[u8]),
) {
    scratch.lend(|scratch, room| {
        room.clear();
        let at = Context::for_templates(view, scratch);
        let found = key.visit(&at, &mut |value| {
            room.extend_from_slice(value);
            true
        });
        if found {
            work(scratch, room);
        }
    });
}
