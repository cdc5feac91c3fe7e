//! What the demo shows: a table of the servers, kept in place on a terminal, and receipts above it.

use std::io::IsTerminal as _;
use std::time::Duration;

use clearway_base::clock::{self, Stamp};
use clearway_base::hash::{Map, Set};
use clearway_base::intern::Name;
use clearway_control::state::State;
use clearway_control::story::Story;
use clearway_outcome::{FaultKind, Record, RequestId};
use clearway_proxy::board;
use clearway_proxy::plan::ServerPlan;
use clearway_telemetry::receipt;

/// Where there is no terminal, the table is printed this often.
const TABLE_EVERY: Duration = Duration::from_secs(5);
/// A server that is up again says why for this long.
const FRESH: Duration = Duration::from_secs(10);
/// Receipts looked at per drawing; what is beyond is only counted.
const LOOK_MAX: u64 = 1_000;

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ink {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

/// What happened to the request of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Fate {
    Saved,
    Failed,
}

/// What makes two receipts tell the same story: fate, fault, and why there was no retry.
type Kind = (Fate, &'static str, &'static str);

/// The state of what is shown.
pub(super) struct Screen {
    live: bool,
    colours: bool,
    /// Lines of the table that stand on the terminal now.
    drawn: usize,
    /// When the table is printed next, where it is not kept in place.
    table_due: Stamp,
    /// Receipts looked at.
    filed: u64,
    told: Set<Kind>,
    last_fault: Map<(Name, Name), (FaultKind, Stamp)>,
    /// Receipts of requests that failed.
    pub(super) failed: u64,
    /// Receipts of requests that a retry saved.
    pub(super) saved: u64,
    untold: u64,
    /// Address of the admin API, for a command to be copied.
    pub(super) admin: Option<String>,
    newest: Option<RequestId>,
    /// Whether an empty line was the last thing above the table.
    spaced: bool,
}

impl Screen {
    /// Looks at standard output and the environment for how to draw.
    pub(super) fn new() -> Self {
        let live = std::io::stdout().is_terminal();
        Self::on(live, live && wants_colours())
    }

    fn on(live: bool, colours: bool) -> Self {
        Self {
            live,
            colours,
            drawn: 0,
            table_due: clock::now(),
            filed: 0,
            told: Set::default(),
            last_fault: Map::default(),
            failed: 0,
            saved: 0,
            untold: 0,
            admin: None,
            newest: None,
            spaced: true,
        }
    }

    /// A heading in bold, where there is bold.
    pub(super) fn heading(&self, text: &str) -> String {
        self.paint(text, Ink::Bold)
    }

    /// A line that matters less.
    pub(super) fn aside(&self, text: &str) -> String {
        self.paint(text, Ink::Dim)
    }

    /// What is to be printed now: receipts that are new, and the table.
    pub(super) fn draw(&mut self, state: &State, sent: u64, now: Stamp) -> String {
        let news = self.news(state, now);
        if !self.live && now < self.table_due {
            return news;
        }
        let mut lines = self.table(state, sent, now);
        if !self.spaced {
            lines.insert(0, String::new());
        }
        let table = lines.join("\n");
        if self.live {
            let erase = self.erase();
            self.drawn = lines.len();
            // Without automatic wrapping a long line is cut, so that lines can be counted.
            format!("{erase}{news}\x1b[?7l{table}\n\x1b[?7h")
        } else {
            self.table_due = now.plus(TABLE_EVERY);
            self.spaced = true;
            format!("{news}{table}\n\n")
        }
    }

    /// What is to be printed last: receipts that are new, and the table once more.
    pub(super) fn close(&mut self, state: &State, sent: u64, now: Stamp) -> String {
        self.table_due = now;
        let mut text = self.draw(state, sent, now);
        if self.live {
            text.push('\n');
        }
        text
    }

    fn erase(&self) -> String {
        if self.drawn == 0 {
            String::new()
        } else {
            format!("\r\x1b[{}A\x1b[J", self.drawn)
        }
    }

    /// Receipts filed since the last look: the first of each kind in full, one more in a line, the
    /// rest counted.
    fn news(&mut self, state: &State, now: Stamp) -> String {
        let receipts = state.receipts();
        let new = receipts.filed.saturating_sub(self.filed);
        self.filed = receipts.filed;
        let count = usize::try_from(new.min(LOOK_MAX)).unwrap_or(0);
        self.untold += new.saturating_sub(LOOK_MAX);
        let mut newest: Vec<_> = receipts.newest(count).collect();
        newest.reverse();
        let mut out = String::new();
        let mut line: Option<(Fate, String)> = None;
        for record in newest {
            let record = record.as_record();
            self.note_faults(&record, now);
            let Some(kind) = kind_of(&record) else {
                continue;
            };
            self.newest = Some(record.id);
            match kind.0 {
                Fate::Failed => self.failed += 1,
                Fate::Saved => self.saved += 1,
            }
            if self.told.insert(kind) {
                self.tell_in_full(kind.0, &receipt::words(&record), &mut out);
            } else if line.as_ref().is_none_or(|(fate, _)| *fate < kind.0) {
                // A failure matters more than a success on the second try.
                self.untold += u64::from(line.is_some());
                line = Some((kind.0, receipt::oneline(&record)));
            } else {
                self.untold += 1;
            }
        }
        if let Some((fate, text)) = line {
            out.push_str(&format!("{} {text}\n", self.tag(fate)));
            self.spaced = false;
        }
        out
    }

    fn note_faults(&mut self, record: &Record<'_>, now: Stamp) {
        for attempt in record.attempts {
            if let Some(fault) = attempt.fault {
                self.last_fault
                    .insert((attempt.backend, attempt.address), (fault.kind, now));
            }
        }
    }

    fn tell_in_full(&mut self, fate: Fate, words: &str, out: &mut String) {
        let heading = match fate {
            Fate::Failed => "the first of its kind, so here is the whole receipt:",
            Fate::Saved => {
                "the client got its answer; the first of its kind, so here is the whole receipt:"
            }
        };
        if !self.spaced {
            out.push('\n');
        }
        self.spaced = true;
        out.push_str(&format!("{} {heading}\n", self.tag(fate)));
        for line in words.lines() {
            out.push_str(&format!("    {line}\n"));
        }
        out.push('\n');
    }

    fn tag(&self, fate: Fate) -> String {
        match fate {
            Fate::Failed => self.paint("failed", Ink::Red),
            Fate::Saved => self.paint("saved ", Ink::Yellow),
        }
    }

    fn table(&self, state: &State, sent: u64, now: Stamp) -> Vec<String> {
        let plan = state.plan();
        let stories = state.stories();
        let wall = clock::wall();
        let mut lines = vec![self.heading(&columns(&[
            "server",
            "address",
            "state",
            "in flight",
            "attempts",
            "good",
            "faults",
            "last fault",
        ]))];
        for backend in &plan.backends {
            for server in &backend.servers {
                let key = (backend.name, server.address);
                let flags = server.entry.cell.flags();
                lines.push(self.row(server, now));
                lines.extend(
                    stories
                        .get(key)
                        .and_then(|s| reason(s, flags, wall))
                        .map(|words| self.aside(&format!("{:10} {words}", ""))),
                );
            }
        }
        lines.push(format!(
            "{sent} requests, {} failed (each has its receipt), {} saved by a retry{}",
            self.failed,
            self.saved,
            if self.untold > 0 {
                format!("; {} receipts not shown", self.untold)
            } else {
                String::new()
            },
        ));
        if let (Some(id), Some(admin)) = (self.newest, &self.admin) {
            lines.push(self.aside(&format!(
                "the newest again: clearway why {id} --admin {admin}"
            )));
        }
        lines
    }

    fn row(&self, server: &ServerPlan, now: Stamp) -> String {
        let entry = &server.entry;
        let (word, ink) = state_of(entry.cell.flags());
        let last = self
            .last_fault
            .get(&(server.backend, server.address))
            .map_or_else(
                || "-".to_owned(),
                |(kind, at)| format!("{}, {} ago", kind.code(), seconds(now.since(*at))),
            );
        columns(&[
            server.name.as_str(),
            server.address.as_str(),
            &self.paint_padded(word, ink),
            &entry.inflight().to_string(),
            &entry.attempts().to_string(),
            &entry.successes().to_string(),
            &entry.faults(|_| true).to_string(),
            &last,
        ])
    }

    /// Padded before it is painted: the terminal's codes have no width.
    fn paint_padded(&self, text: &str, ink: Ink) -> String {
        self.paint(&format!("{text:<11}"), ink)
    }

    fn paint(&self, text: &str, ink: Ink) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Red => 31,
            Ink::Green => 32,
            Ink::Yellow => 33,
        };
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn wants_colours() -> bool {
    // https://no-color.org: present and not empty means no colours.
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One line of the table: names to the left, numbers to the right.
fn columns(cells: &[&str; 8]) -> String {
    let [
        server,
        address,
        state,
        inflight,
        attempts,
        good,
        faults,
        last,
    ] = cells;
    format!(
        "{server:<10} {address:<16} {state:<11} {inflight:>9} {attempts:>8} {good:>6} {faults:>6}  {last}"
    )
}

fn state_of(flags: u32) -> (&'static str, Ink) {
    let word = board::state_name(flags);
    let ink = match word {
        "up" => Ink::Green,
        "down" | "ejected" => Ink::Red,
        "removed" => Ink::Dim,
        _ => Ink::Yellow,
    };
    (word, ink)
}

/// Why a server is what it is, while that is worth a line.
fn reason(story: &Story, flags: u32, wall: u64) -> Option<String> {
    let last = story.transitions.back()?;
    let age = Duration::from_micros(wall.saturating_sub(last.at));
    let worth = flags != 0 || age < FRESH && story.transitions.len() > 1;
    worth.then(|| format!("{} ago: {}", seconds(age), last.why))
}

/// What a receipt is about; `None` when nothing failed.
fn kind_of(record: &Record<'_>) -> Option<Kind> {
    let first = record
        .attempts
        .iter()
        .find(|attempt| attempt.fault.is_some());
    if let Some(fault) = record.fault {
        let refusal = record
            .attempts
            .iter()
            .rev()
            .find_map(|attempt| attempt.refusal);
        return Some((
            Fate::Failed,
            fault.kind.code(),
            refusal.map_or("", |r| r.name()),
        ));
    }
    let fault = first.and_then(|attempt| attempt.fault)?;
    Some((Fate::Saved, fault.kind.code(), ""))
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use clearway_base::clock::Stamp;
    use clearway_control::story::Stories;
    use clearway_outcome::{Address, Attempt, Fault, Phase, Protocol, RetryRefusal, Side, Timings};

    use super::*;

    fn record(attempts: &[Attempt], fault: Option<Fault>) -> Record<'_> {
        Record {
            id: RequestId(1),
            started: Stamp(1),
            client: Address::Unix,
            listener: Name::new("web"),
            route: Name::default(),
            backend: Name::new("app"),
            protocol: Protocol::Http11,
            tls: None,
            method: b"GET",
            target: b"/",
            host: b"",
            referer: b"",
            user_agent: b"",
            status: 502,
            grpc_status: None,
            bytes_in: 0,
            bytes_out: 0,
            body_out: 0,
            timings: Timings::default(),
            attempts,
            fault,
            connections: (1, 1),
        }
    }

    #[test]
    fn kinds_tell_saved_from_failed_and_say_why_there_was_no_retry() {
        let fault = Fault::new(FaultKind::ConnectRefused, Phase::Connect, Side::Server);
        let mut first =
            Attempt::begin(Name::new("app"), Name::new("a"), Name::new("a:1"), Stamp(1));
        assert_eq!(kind_of(&record(&[first.clone()], None)), None);
        first.fault = Some(fault);
        let code = FaultKind::ConnectRefused.code();
        assert_eq!(
            kind_of(&record(&[first.clone()], None)),
            Some((Fate::Saved, code, ""))
        );
        first.refusal = Some(RetryRefusal::Method);
        let kind = kind_of(&record(&[first], Some(fault)));
        assert_eq!(
            kind,
            Some((Fate::Failed, code, RetryRefusal::Method.name()))
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let (plain, painted) = (Screen::on(true, false), Screen::on(true, true));
        let bare = plain.paint_padded("down", Ink::Red);
        let code = painted.paint_padded("down", Ink::Red);
        assert_eq!(code, format!("\x1b[31m{bare}\x1b[0m"));
        assert_eq!(bare.len(), state_width());
    }

    fn state_width() -> usize {
        let line = columns(&["", "", "", "", "", "", "", ""]);
        let with = columns(&["", "", "maintenance", "", "", "", "", ""]);
        assert_eq!(line.len(), with.len());
        "maintenance".len()
    }

    #[test]
    fn reasons_stay_while_a_server_is_out_and_a_while_after() {
        let key = (Name::new("app"), Name::new("a:1"));
        let mut stories = Stories::default();
        stories.tell(key, "up", "first check".to_owned());
        let wall = clock::wall();
        let reason_of = |stories: &Stories, flags, wall| {
            stories
                .get(key)
                .and_then(|story| reason(story, flags, wall))
        };
        assert_eq!(reason_of(&stories, 0, wall), None);
        stories.tell(key, "down", "it is gone".to_owned());
        let later = clock::wall() + 60_000_000;
        let words = reason_of(&stories, board::DOWN, later).expect("a reason");
        assert!(words.ends_with("ago: it is gone"), "{words}");
        assert_eq!(reason_of(&stories, 0, later), None);
        assert!(reason_of(&stories, 0, clock::wall()).is_some());
    }
}
