//! What becomes of servers, told to syslog servers in HAProxy's words.
//!
//! Nothing waits for these lines: a datagram that the system does not take at once is lost.

use std::fmt;
use std::sync::Mutex;

use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_config::model::{LogDestination, ServerLog, SyslogSeverity};
use clearway_net::probe::Kind;
use clearway_proxy::board::{DOWN, EJECTED, MAINTENANCE};
use clearway_proxy::plan::{BackendPlan, CheckPlan, ServerPlan};

use super::{lock, rows};
use crate::logs::Sender;
use crate::state::State;
use crate::story::LastProbe;

/// The logs that are open, by backend.
#[derive(Default)]
pub(crate) struct Told(Mutex<Map<Name, Open>>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

struct Open {
    settings: Vec<ServerLog>,
    /// One for each of the settings; none where there is no such place.
    senders: Vec<Option<Sender>>,
}

impl Open {
    fn new(settings: &[ServerLog]) -> Self {
        let sender = |log: &ServerLog| match &log.to {
            LogDestination::Syslog(address) => Sender::open(address, &log.syslog).ok(),
            LogDestination::Off
            | LogDestination::Stdout
            | LogDestination::Stderr
            | LogDestination::File(_) => None,
        };
        Self {
            settings: settings.to_vec(),
            senders: settings.iter().map(sender).collect(),
        }
    }
}

impl Told {
    /// Sends a line to the logs of a backend; `is_check`: to those that want results of checks.
    fn send(&self, backend: &BackendPlan, severity: SyslogSeverity, line: &str, is_check: bool) {
        let settings = &backend.config.server_logs;
        let mut open = lock(&self.0);
        let logs = open
            .entry(backend.name)
            .or_insert_with(|| Open::new(settings));
        if logs.settings != *settings {
            *logs = Open::new(settings);
        }
        let now = clock::now();
        for (log, sender) in settings.iter().zip(&mut logs.senders) {
            if let Some(sender) = sender.as_mut().filter(|_| log.checks || !is_check) {
                sender.say(severity, line, now);
            }
        }
    }
}

fn find(state: &State, (backend, address): (Name, Name)) -> Option<Found> {
    let plan = state.plan();
    let group = plan.backends.iter().find(|group| group.name == backend)?;
    if group.config.server_logs.is_empty() {
        return None;
    }
    let server = group.servers.iter().find(|s| s.address == address)?;
    Some(Found {
        group: std::sync::Arc::clone(group),
        server: std::sync::Arc::clone(server),
    })
}

struct Found {
    group: std::sync::Arc<BackendPlan>,
    server: std::sync::Arc<ServerPlan>,
}

impl Found {
    /// How many servers may be chosen, without backups and of those.
    fn left(&self) -> (usize, usize) {
        let up = self
            .group
            .servers
            .iter()
            .filter(|s| s.entry.cell.is_usable());
        let (main, backup): (Vec<_>, Vec<_>) = up.partition(|server| server.tier < 128);
        (main.len(), backup.len())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.group.name, self.server.name)
    }
}

/// Tells that a server has changed.
pub(crate) fn changed(state: &State, key: (Name, Name), to: &str) {
    let Some(found) = find(state, key) else {
        return;
    };
    // Servers begin up there: what is first found to be so is no news.
    if to == "up" && !was_down(state, key) {
        return;
    }
    let told = &state.runtime.told;
    let (name, (active, backup)) = (found.name(), found.left());
    let is_down = found.server.entry.cell.flags() & (DOWN | EJECTED) != 0;
    let left = format!(
        "{active} active and {backup} backup servers left. {} sessions active, 0 requeued, 0 remaining in queue.",
        in_flight(&found.server)
    );
    let online = format!(
        "{active} active and {backup} backup servers online. 0 sessions requeued, 0 total in queue."
    );
    let reason = reason(state, key, &found);
    let is_loss = matches!(to, "down" | "ejected") || to == "maintenance" && !is_down;
    let (severity, line) = match to {
        "down" | "ejected" => (
            SyslogSeverity::Alert,
            format!("Server {name} is DOWN{reason}. {left}"),
        ),
        "up" | "back" => (
            SyslogSeverity::Notice,
            format!("Server {name} is UP{reason}. {online}"),
        ),
        "maintenance" if is_down => (
            SyslogSeverity::Notice,
            format!("Server {name} was DOWN and now enters maintenance."),
        ),
        "maintenance" => (
            SyslogSeverity::Alert,
            format!("Server {name} is going DOWN for maintenance. {left}"),
        ),
        "drain" => (
            SyslogSeverity::Notice,
            format!("Server {name} enters drain state. {left}"),
        ),
        "stopping" => (
            SyslogSeverity::Notice,
            format!("Server {name} is stopping{reason}. {left}"),
        ),
        "ready" => {
            let word = if is_down { "DOWN" } else { "UP" };
            let line = format!("Server {name} is {word}/READY (leaving forced maintenance).");
            (SyslogSeverity::Notice, line)
        }
        _ => return,
    };
    told.send(&found.group, severity, &line, false);
    if is_loss && active + backup == 0 {
        let line = format!("backend {} has no server available!", found.group.name);
        told.send(&found.group, SyslogSeverity::Emerg, &line, false);
    }
}

/// Whether a server has been taken down since it was there.
fn was_down(state: &State, key: (Name, Name)) -> bool {
    let stories = state.stories();
    let mut past = stories
        .get(key)
        .into_iter()
        .flat_map(|story| &story.transitions);
    past.any(|transition| matches!(transition.to, "down" | "ejected"))
}

fn in_flight(server: &ServerPlan) -> u32 {
    let shards = server.entry.shards.iter();
    shards.map(|shard| shard.inflight.value()).sum()
}

/// What the last check found, as part of a sentence.
fn reason(state: &State, key: (Name, Name), found: &Found) -> String {
    let Some(check) = &found.group.check else {
        return String::new();
    };
    let stories = state.stories();
    let probe = stories.get(key).and_then(|story| story.last_probe.as_ref());
    probe.map_or_else(String::new, |probe| outcome(check, &found.server, probe))
}

/// `, reason: …, check duration: …`.
fn outcome(check: &CheckPlan, server: &ServerPlan, probe: &LastProbe) -> String {
    let (_, words) = rows::check_code(probe, rows::depth(check, server));
    let mut out = format!(", reason: {words}");
    if probe.status > 0 {
        out.push_str(&format!(", code: {}", probe.status));
    }
    let tells = matches!(&check.probe.kind, Kind::Script(script) if script.tells());
    if !probe.passed || tells {
        let info = probe.words.replace("of the script", "of tcp-check");
        let info = info.replace(
            "the connection was refused (ECONNREFUSED)",
            "Connection refused",
        );
        let info = info.replace(
            "the address cannot be reached (ENETUNREACH)",
            "General socket error (Network is unreachable)",
        );
        let info = info.replace(
            "the server closed the connection without a word",
            "TCPCHK got an empty response",
        );
        let info: String = info
            .chars()
            .filter(|c| !c.is_control() && *c != '"')
            .collect();
        out.push_str(&format!(", info: \"{info}\""));
    }
    out.push_str(&format!(", check duration: {}ms", probe.took_us / 1_000));
    out
}

/// Where a server stands between up and down, as checks move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it is up.
    pub(crate) is_up: bool,
    /// How many results in a row speak against that.
    pub(crate) against: u32,
}

/// Tells of a check if it has brought the server nearer to a change, or away from one, or was the first
/// of its kind.
pub(crate) fn checked(
    state: &State,
    key: (Name, Name),
    check: &CheckPlan,
    (before, last): (Standing, Option<&LastProbe>),
    (after, probe): (Standing, &LastProbe),
) {
    let Some(found) = find(state, key) else {
        return;
    };
    let depth = rows::depth(check, &found.server);
    let code = |probe: &LastProbe| rows::check_code(probe, depth).0;
    if before == after && last.map(code) == Some(code(probe)) {
        return;
    }
    if found.server.entry.cell.flags() & MAINTENANCE != 0 {
        return;
    }
    let (health, of, word) = match after.is_up {
        true => {
            let fall = check.policy.fall;
            (fall.saturating_sub(after.against), fall, "UP")
        }
        false => (after.against, check.policy.rise, "DOWN"),
    };
    let line = format!(
        "Health check for {}server {} {}{}, status: {health}/{of} {word}.",
        if found.server.tier >= 128 {
            "backup "
        } else {
            ""
        },
        found.name(),
        if probe.passed { "succeeded" } else { "failed" },
        outcome(check, &found.server, probe),
    );
    state
        .runtime
        .told
        .send(&found.group, SyslogSeverity::Notice, &line, true);
}
