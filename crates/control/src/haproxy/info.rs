//! `show info`: the process.

use std::sync::atomic::Ordering;

use clearway_base::clock;

use super::write::{Value, json_field};
use crate::state::State;

/// A field: place, name, tags, type and value.
type Line = (usize, &'static str, &'static str, &'static str, Value);

/// `show info [json|typed]`.
pub(super) fn show(state: &State, words: &[&str]) -> String {
    let lines = lines(state);
    if words.contains(&"json") {
        let fields = lines.iter().map(|(place, name, tags, kind, value)| {
            json_field("", (*place, name, tags, kind), value)
        });
        return format!("[{}]\n", fields.collect::<Vec<_>>().join(","));
    }
    let is_typed = words.contains(&"typed");
    let text = |(place, name, tags, kind, value): &Line| match is_typed {
        true => format!("{place}.{name}.1:{tags}:{kind}:{value}\n"),
        false => format!("{name}: {value}\n"),
    };
    lines.iter().map(text).collect()
}

/// Limit of open files of this process, which was raised as far as it may be when it began.
fn open_files() -> u64 {
    clearway_net::kernel::raise_fd_limit().map_or(0, |(soft, _)| soft)
}

/// Sums over all listeners.
#[derive(Default)]
struct Sums {
    current: u64,
    accepted: u64,
    requests: u64,
    bytes: u64,
    handshakes: u64,
    resumed: u64,
    rate: u64,
    rate_max: u64,
}

impl Sums {
    fn of(state: &State) -> Self {
        let mut sums = Self::default();
        let plan = state.plan();
        let samples = state.runtime.samples();
        for listener in &plan.listeners {
            sums.current += u64::from(listener.entry.open.load(Ordering::Relaxed));
            for shard in &listener.entry.shards {
                sums.accepted += shard.accepted.value();
                sums.bytes += shard.bytes_out.value();
                sums.requests += shard.responses.iter().map(|c| c.value()).sum::<u64>();
                sums.handshakes += shard.handshakes.iter().map(|c| c.value()).sum::<u64>();
                sums.resumed += shard.handshakes[1].value() + shard.handshakes[3].value();
            }
            let sample = samples.of(super::samples::frontend_key(listener));
            sums.rate += sample.connection_rate;
            sums.rate_max += sample.connection_rate_max;
        }
        sums
    }
}

fn lines(state: &State) -> Vec<Line> {
    let mut lines = process(state);
    lines.extend(traffic(state));
    lines.extend(end(state));
    lines.sort_by_key(|(place, ..)| *place);
    lines
}

/// What the process is and may.
fn process(state: &State) -> Vec<Line> {
    let number = Value::Number;
    let text = |text: &str| Value::Text(text.to_owned());
    let config = state.config();
    let uptime = clock::now().since(state.started).as_secs();
    let (days, hours) = (uptime / 86_400, uptime / 3_600 % 24);
    let (minutes, seconds) = (uptime / 60 % 60, uptime % 60);
    let span = format!("{days}d {hours}h{minutes:02}m{seconds:02}s");
    let files = open_files();
    let limits = config.listeners.iter();
    let limits = limits.map(|l| config.limits_for(l, None, None).connections as u64);
    let limit = Some(limits.sum())
        .filter(|limit| *limit > 0)
        .unwrap_or(files);
    let workers = state.shared.workers.len() as u64;
    vec![
        (0, "Name", "POS", "str", text("Clearway")),
        (1, "Version", "POS", "str", text(env!("CARGO_PKG_VERSION"))),
        (3, "Nbthread", "CGS", "u32", number(workers)),
        (4, "Nbproc", "CGS", "u32", number(1)),
        (5, "Process_num", "KGP", "u32", number(1)),
        (
            6,
            "Pid",
            "SGP",
            "u32",
            number(u64::from(std::process::id())),
        ),
        (7, "Uptime", "MDP", "str", Value::Text(span)),
        (8, "Uptime_sec", "MDP", "u32", number(uptime)),
        (9, "Memmax_MB", "CLP", "u32", number(0)),
        (10, "PoolAlloc_MB", "MGP", "u32", number(0)),
        (11, "PoolUsed_MB", "MGP", "u32", number(0)),
        (12, "PoolFailed", "MCP", "u32", number(0)),
        (13, "Ulimit-n", "CLP", "u32", number(files)),
        (14, "Maxsock", "CLP", "u32", number(files)),
        (15, "Maxconn", "CLP", "u32", number(limit)),
        (16, "Hard_maxconn", "CLP", "u32", number(limit)),
    ]
}

/// What is going on.
fn traffic(state: &State) -> Vec<Line> {
    let number = Value::Number;
    let sums = Sums::of(state);
    let percent = (sums.resumed * 100)
        .checked_div(sums.handshakes)
        .unwrap_or(0);
    vec![
        (17, "CurrConns", "MGP", "u32", number(sums.current)),
        (18, "CumConns", "MCP", "u32", number(sums.accepted)),
        (19, "CumReq", "MCP", "u32", number(sums.requests)),
        (20, "MaxSslConns", "MMP", "u32", number(0)),
        (22, "CumSslConns", "MCP", "u32", number(sums.handshakes)),
        (26, "ConnRate", "MRP", "u32", number(sums.rate)),
        (27, "ConnRateLimit", "CLP", "u32", number(0)),
        (28, "MaxConnRate", "MMP", "u32", number(sums.rate_max)),
        (29, "SessRate", "MRP", "u32", number(sums.rate)),
        (30, "SessRateLimit", "CLP", "u32", number(0)),
        (31, "MaxSessRate", "MRP", "u32", number(sums.rate_max)),
        (
            37,
            "SslFrontendSessionReuse_pct",
            "MGP",
            "u32",
            number(percent),
        ),
        (48, "Run_queue", "MGP", "u32", number(0)),
        (50, "node", "COS", "str", Value::Text(host_name())),
        (
            52,
            "Stopping",
            "MGP",
            "u32",
            number(u64::from(!state.is_ready())),
        ),
        (53, "Jobs", "MGP", "u32", number(sums.current)),
        (61, "TotalBytesOut", "MGP", "u64", number(sums.bytes)),
    ]
}

/// The rest.
fn end(state: &State) -> Vec<Line> {
    let number = Value::Number;
    let text = |text: &str| Value::Text(text.to_owned());
    let config = state.config();
    let binds = config.listeners.iter().map(|l| l.bind.len() as u64).sum();
    let dropped = state.shared.workers.iter().map(|w| w.log_dropped.value());
    let uptime = i64::try_from(clock::now().since(state.started).as_secs()).unwrap_or(0);
    let began = u64::try_from(clock::wall_seconds() - uptime).unwrap_or(0);
    vec![
        (54, "Unstoppable Jobs", "MGP", "u32", number(0)),
        (55, "Listeners", "MGP", "u32", number(binds)),
        (56, "ActivePeers", "MGP", "u32", number(0)),
        (57, "ConnectedPeers", "MGP", "u32", number(0)),
        (58, "DroppedLogs", "MGP", "u32", number(dropped.sum())),
        (
            66,
            "Build info",
            "POS",
            "str",
            text(env!("CARGO_PKG_VERSION")),
        ),
        (70, "Start_time_sec", "MDP", "u32", number(began)),
        (71, "Tainted", "SGP", "str", text("0")),
    ]
}

/// The name of this host, `-` where the kernel does not tell.
pub(super) fn host_name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname");
    text.map_or_else(|_| "-".to_owned(), |text| text.trim().to_owned())
}
