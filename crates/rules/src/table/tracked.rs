//! What requests and connections track, and what is asked of it.

use std::sync::Arc;

use super::{Datum, KeyKind, Row, Table, now, trackers};

/// Most keys that are tracked at a time.
pub const COUNTERS_MAX: u8 = 16;

/// What happens to what is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The rules for connections have let it in.
    Session,
    /// A request has come.
    Request,
    /// The client is to blame: 4xx, or a request that was denied.
    Error,
    /// The server is to blame: 5xx, or an answer that is not sound.
    Failure,
    /// So many bytes came from the client.
    BytesIn(u64),
    /// So many bytes went to the client.
    BytesOut(u64),
}

impl Event {
    /// What an answer with a status is, if anything.
    #[must_use]
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            400..=499 => Some(Self::Error),
            501 | 505 => None,
            500..=599 => Some(Self::Failure),
            _ => None,
        }
    }

    fn counts(self) -> (Datum, u64) {
        match self {
            Self::Session => (Datum::SessCnt, 1),
            Self::Request => (Datum::HttpReqCnt, 1),
            Self::Error => (Datum::HttpErrCnt, 1),
            Self::Failure => (Datum::HttpFailCnt, 1),
            Self::BytesIn(bytes) => (Datum::BytesInCnt, bytes),
            Self::BytesOut(bytes) => (Datum::BytesOutCnt, bytes),
        }
    }
}

/// A key that is tracked: counted as open until it is dropped.
#[derive(Debug)]
pub(crate) struct Tracked {
    counter: u8,
    table: Arc<Table>,
    row: Row,
}

impl Tracked {
    /// Tracks a value from now on, if it is a key and there is room for it.
    pub(crate) fn begin(counter: u8, table: &Arc<Table>, value: &[u8]) -> Option<Self> {
        let now = now();
        let row = table.enter(value, now)?;
        table.add(&row, Datum::ConnCur, 0, 1, now);
        table.add(&row, Datum::ConnCnt, 0, 1, now);
        Some(Self {
            counter,
            table: Arc::clone(table),
            row,
        })
    }

    pub(crate) fn counter(&self) -> u8 {
        self.counter
    }

    /// The key, as a value that it could have come from.
    pub(crate) fn key(&self) -> Vec<u8> {
        match self.table.settings().key {
            KeyKind::String(_) | KeyKind::Binary(_) => self.row.key().to_vec(),
            KeyKind::Ip | KeyKind::Ipv6 | KeyKind::Integer => {
                self.table.key(&self.row).to_string().into_bytes()
            }
        }
    }

    pub(crate) fn count(&self, event: Event) {
        let (datum, by) = event.counts();
        self.table.add(&self.row, datum, 0, by, now());
    }

    pub(crate) fn ask(&self, what: What) -> Option<u64> {
        // Whoever asks holds it once more than those who track it.
        what.of(&self.table, Some(&Arc::clone(&self.row)))
    }

    /// Changes a number.
    pub(crate) fn change(&self, datum: Datum, index: usize, change: Change) {
        let now = now();
        match change {
            Change::Add(by) => {
                self.table.add(&self.row, datum, index, by, now);
            }
            Change::Set(value) => {
                self.table.set(&self.row, datum, index, value, now);
            }
        }
        self.row.touch(now);
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.table.subtract(&self.row, Datum::ConnCur, 1);
        self.row.touch(now());
    }
}

/// How a number is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add(u64),
    Set(u64),
}

/// What is asked of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct What {
    asked: Asked,
    /// What is done besides.
    turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Datum(Datum, usize),
    /// Whether there is one.
    Exists,
    /// How many track it.
    Trackers,
    /// Milliseconds since it was used.
    Idle,
    /// Milliseconds until it is forgotten.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Nothing,
    /// It is counted up before it is told.
    Up,
    /// It is 0 after it was told.
    Clear,
}

impl What {
    /// Reads `http_req_rate`, `gpc.3`, `gpc0,inc`, `gpc0,clear` or one of `exists`, `trackers`, `idle`
    /// and `left`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut words = words.iter().map(|word| word.trim());
        let word = words.next().unwrap_or_default();
        let (name, index) = match word.split_once('.') {
            Some((name, index)) => {
                let number = index.parse().ok();
                let number = number.filter(|index| *index < super::MANY_MAX);
                (
                    name,
                    number.ok_or_else(|| format!("{index:?} is no number of one of many"))?,
                )
            }
            None => (word, 0),
        };
        let asked = match name {
            "exists" => Asked::Exists,
            "trackers" => Asked::Trackers,
            "idle" => Asked::Idle,
            "left" => Asked::Left,
            name => match Datum::of(name).filter(|datum| !datum.is_server()) {
                Some(datum) => Asked::Datum(datum, index),
                None => {
                    let numbers = Datum::ALL.iter().filter(|datum| !datum.is_server());
                    let known: Vec<&str> = numbers.map(|datum| datum.name()).collect();
                    let known = known.join(", ");
                    return Err(format!(
                        "{name:?} cannot be asked of a table; known are exists, trackers, idle, left, {known}"
                    ));
                }
            },
        };
        let turn = match words.next() {
            None => Turn::Nothing,
            Some("inc") => Turn::Up,
            Some("clear") => Turn::Clear,
            Some(other) => return Err(format!("{other:?} is neither \"inc\" nor \"clear\"")),
        };
        if turn != Turn::Nothing && !matches!(asked, Asked::Datum(..)) {
            return Err(format!("{name} cannot be changed"));
        }
        Ok(Self { asked, turn })
    }

    /// Whether it is asked if there is an entry.
    pub(crate) fn is_existence(self) -> bool {
        self.asked == Asked::Exists
    }

    /// Whether an entry is made for it where there is none.
    pub(crate) fn makes(self) -> bool {
        self.turn == Turn::Up
    }

    /// The answer: 0 where there is no entry, none where the table does not store it.
    pub(crate) fn of(self, table: &Table, row: Option<&Row>) -> Option<u64> {
        let now = now();
        let milliseconds =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match (self.asked, row) {
            (Asked::Exists, row) => Some(u64::from(row.is_some())),
            (Asked::Trackers, Some(row)) => u64::try_from(trackers(row)).ok(),
            (Asked::Idle, Some(row)) => Some(milliseconds(now.since(row.used()))),
            (Asked::Left, Some(row)) => table.left(row, now).map(milliseconds),
            (Asked::Datum(datum, index), Some(row)) => match self.turn {
                Turn::Nothing => table.read(row, datum, index, now),
                Turn::Up => {
                    row.touch(now);
                    table.add(row, datum, index, 1, now)
                }
                Turn::Clear => {
                    row.touch(now);
                    table.set(row, datum, index, 0, now)
                }
            },
            (Asked::Datum(datum, index), None) => table.stores(datum, index).then_some(0),
            (Asked::Trackers, None) => Some(0),
            (Asked::Idle | Asked::Left, None) => None,
        }
    }
}
