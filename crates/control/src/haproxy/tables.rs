//! `show table`, `set table` and `clear table`, in HAProxy's shapes.

use std::fmt::Write;
use std::sync::Arc;

use clearway_base::clock::{self, Stamp};
use clearway_base::intern::Name;
use clearway_config::model::RuntimeLevel;
use clearway_rules::table::{Datum, KeyKind, Row, Shape, Table, trackers};

use super::command::rank;
use crate::state::State;

const NO_TABLE: &str = "No such table\n";
const NO_TYPE: &str = "Unknown data type\n";
const NOT_STORED: &str = "Data type not stored in this table\n";
const NO_KEY: &str = "Key value expected\n";
const USAGE: &str =
    "Optional argument only supports \"data.<store_data_type>\" <operator> <value> or key <key>\n";

/// Most filters of one command.
const FILTERS_MAX: usize = 4;

/// What a table is called there: those of a section of peers have its name before theirs.
fn called(table: &Table) -> String {
    table.name().as_str().replace('@', "/")
}

fn table(state: &State, name: &str) -> Option<Arc<Table>> {
    state.board().tables().table(&name.replace('/', "@"))
}

/// `show table [NAME [FILTER …|key KEY]]`.
pub(super) fn show(state: &State, level: RuntimeLevel, words: &[&str]) -> String {
    let now = clock::now();
    let Some((name, rest)) = words.split_first() else {
        let config = state.config();
        // The last one first.
        let names = config.tables.iter().rev().map(|table| table.name.as_str());
        let board = state.board();
        let tables: Vec<_> = names
            .filter_map(|name| board.tables().table(name))
            .collect();
        drop(board);
        return tables.iter().map(|table| head(table, now)).collect();
    };
    let Some(table) = table(state, name) else {
        return NO_TABLE.to_owned();
    };
    if rank(level) < rank(RuntimeLevel::Operator) {
        return super::command::DENIED.to_owned();
    }
    let rows = match rest {
        [] => table.rows(now),
        ["key"] => return NO_KEY.to_owned(),
        ["key", key, ..] => match table.look(key.as_bytes(), now) {
            Some(row) => vec![row],
            None => return String::new(),
        },
        filters => match Filter::read(&table, filters) {
            Ok(filters) => table
                .rows(now)
                .into_iter()
                .filter(|row| filters.iter().all(|filter| filter.holds(&table, row, now)))
                .collect(),
            Err(message) => return message,
        },
    };
    let mut out = head(&table, now);
    for row in rows {
        line(state, &table, &row, now, &mut out);
    }
    out
}

/// `# table: NAME, type: KIND, size:N, used:N`.
fn head(table: &Table, now: Stamp) -> String {
    let settings = table.settings();
    format!(
        "# table: {}, type: {}, size:{}, used:{}\n",
        called(table),
        settings.key.name(),
        settings.size,
        table.used(now)
    )
}

fn line(state: &State, table: &Table, row: &Row, now: Stamp, out: &mut String) {
    let left = table.left(row, now).unwrap_or_default().as_millis();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{:p}: key={} use={} exp={left}",
        Arc::as_ptr(row),
        table.key(row),
        trackers(row)
    );
    for datum in Datum::ALL {
        let mut all = table.settings().store.iter();
        let Some(stored) = all.find(|stored| stored.datum == *datum) else {
            continue;
        };
        if datum.shape() == Shape::Server {
            let Some(server) = table.server(row) else {
                continue;
            };
            let _ = if *datum == Datum::ServerId {
                write!(out, " server_id={}", number_of(state, table, server))
            } else {
                write!(out, " server_key={}", server.as_str())
            };
            continue;
        }
        for index in 0..stored.count {
            let value = table.read(row, *datum, index, now).unwrap_or_default();
            #[expect(clippy::wildcard_enum_match_arm, reason = "all others are one value")]
            let name = match datum {
                Datum::Gpt => format!("gpt{index}"),
                Datum::Gpc => format!("gpc{index}"),
                Datum::GpcRate => format!("gpc{index}_rate"),
                datum => datum.name().to_owned(),
            };
            let _ = match datum.shape() {
                Shape::Rate => {
                    write!(out, " {name}({})={value}", stored.period.as_millis())
                }
                Shape::Count | Shape::Tag | Shape::Server => write!(out, " {name}={value}"),
            };
        }
    }
    out.push('\n');
}

/// The number of a server in its backend, from 1; 0 when it is gone.
fn number_of(state: &State, table: &Table, server: Name) -> usize {
    let plan = state.plan();
    let place = |backend: &clearway_proxy::plan::BackendPlan| {
        let at = backend
            .servers
            .iter()
            .position(|known| known.name == server)?;
        Some(at + 1)
    };
    let own = plan
        .backends
        .iter()
        .filter(|known| known.name == table.name());
    let mut all = own.chain(&plan.backends);
    all.find_map(|backend| place(backend)).unwrap_or(0)
}

/// `data.NAME OPERATOR VALUE`.
struct Filter {
    datum: Datum,
    operator: Operator,
    value: i64,
}

#[derive(Clone, Copy)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    AtLeast,
    Greater,
}

impl Filter {
    fn read(table: &Table, words: &[&str]) -> Result<Vec<Self>, String> {
        let mut filters = Vec::new();
        for (number, words) in words.chunks(3).take(FILTERS_MAX).enumerate() {
            let wrong = |what: &str| Err(format!("Filter entry #{}: {what}\n", number + 1));
            let Some(name) = words.first().and_then(|word| word.strip_prefix("data.")) else {
                return match number {
                    0 => Err(USAGE.to_owned()),
                    _ => wrong("Unknown data type"),
                };
            };
            let Some(datum) = Datum::of(name).filter(|datum| !datum.is_many()) else {
                return wrong("Unknown data type");
            };
            if datum.shape() == Shape::Server || !table.stores(datum, 0) {
                return wrong("Data type not stored in this table");
            }
            let operator = match words.get(1).copied() {
                Some("eq") => Operator::Equal,
                Some("ne") => Operator::NotEqual,
                Some("lt") => Operator::Less,
                Some("le") => Operator::AtMost,
                Some("ge") => Operator::AtLeast,
                Some("gt") => Operator::Greater,
                _ => {
                    return wrong(
                        "Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"",
                    );
                }
            };
            let Some(value) = words.get(2).and_then(|word| word.parse().ok()) else {
                return wrong("Require a valid integer value to compare against");
            };
            filters.push(Self {
                datum,
                operator,
                value,
            });
        }
        Ok(filters)
    }

    fn holds(&self, table: &Table, row: &Row, now: Stamp) -> bool {
        let Some(number) = table.read(row, self.datum, 0, now) else {
            return false;
        };
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        match self.operator {
            Operator::Equal => number == self.value,
            Operator::NotEqual => number != self.value,
            Operator::Less => number < self.value,
            Operator::AtMost => number <= self.value,
            Operator::AtLeast => number >= self.value,
            Operator::Greater => number > self.value,
        }
    }
}

/// `set table NAME key KEY [data.NAME VALUE]…`.
pub(super) fn set(state: &State, words: &[&str]) -> String {
    let Some((name, rest)) = words.split_first() else {
        return "\"set table\" needs a table and a key\n".to_owned();
    };
    let Some(table) = table(state, name) else {
        return NO_TABLE.to_owned();
    };
    let (key, data) = match rest {
        [] => return String::new(),
        ["key"] => return NO_KEY.to_owned(),
        ["key", key, data @ ..] => (*key, data),
        [word, ..] if word.starts_with("data.") => {
            return "content-based lookup is only supported with the \"show\" and \"clear\" actions\n".to_owned();
        }
        _ => return USAGE.to_owned(),
    };
    let now = clock::now();
    if table.settings().key == KeyKind::Ip && key.parse::<std::net::IpAddr>().is_err() {
        return "Invalid key\n".to_owned();
    }
    let Some(row) = table.enter(key.as_bytes(), now) else {
        return "Unable to allocate a new entry\n".to_owned();
    };
    for pair in data.chunks(2) {
        let Some(name) = pair.first().and_then(|word| word.strip_prefix("data.")) else {
            return "\"data.<type>\" followed by a value expected\n".to_owned();
        };
        let Some(datum) = Datum::of(name).filter(|datum| !datum.is_many()) else {
            return NO_TYPE.to_owned();
        };
        if !table.stores(datum, 0) {
            return NOT_STORED.to_owned();
        }
        let Some(value) = pair.get(1) else {
            return "Require a valid integer value to store\n".to_owned();
        };
        if datum == Datum::ServerKey {
            table.set_server(&row, Name::new(value));
            continue;
        }
        let Ok(value) = value.parse() else {
            return "Require a valid integer value to store\n".to_owned();
        };
        table.set(&row, datum, 0, value, now);
    }
    String::new()
}

/// `clear table NAME [FILTER …|key KEY]`.
pub(super) fn clear(state: &State, words: &[&str]) -> String {
    let Some((name, rest)) = words.split_first() else {
        return "\"clear table\" needs a table\n".to_owned();
    };
    let Some(table) = table(state, name) else {
        return NO_TABLE.to_owned();
    };
    let now = clock::now();
    match rest {
        [] => {
            // What is tracked stays.
            for row in table.rows(now) {
                drop_unused(&table, &row);
            }
        }
        ["key"] => return NO_KEY.to_owned(),
        ["key", key, ..] => {
            let Some(row) = table.look(key.as_bytes(), now) else {
                return String::new();
            };
            if !drop_unused(&table, &row) {
                return "Entry currently in use, cannot remove\n".to_owned();
            }
        }
        filters => match Filter::read(&table, filters) {
            Ok(filters) => {
                for row in table.rows(now) {
                    if filters.iter().all(|filter| filter.holds(&table, &row, now)) {
                        drop_unused(&table, &row);
                    }
                }
            }
            Err(message) => return message,
        },
    }
    String::new()
}

/// Takes out an entry that nobody tracks.
fn drop_unused(table: &Table, row: &Row) -> bool {
    trackers(row) == 0 && table.remove_row(row)
}
