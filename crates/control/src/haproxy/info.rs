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

fn lines(state: &State) -> Vec<Line> {
    let plan = state.plan();
    let config = state.config();
    let uptime = clock::now().since(state.started).as_secs();
    let mut current = 0;
    let (mut accepted, mut requests, mut bytes, mut tls, mut reused) = (0, 0, 0, 0, 0);
    let (mut rate, mut rate_max, mut request_rate) = (0, 0, 0);
    let samples = state.runtime.samples();
    for listener in &plan.listeners {
        current += u64::from(listener.entry.open.load(Ordering::Relaxed));
        for shard in &listener.entry.shards {
            accepted += shard.accepted.value();
            bytes += shard.bytes_out.value();
            requests += shard.responses.iter().map(|c| c.value()).sum::<u64>();
            tls += shard.handshakes.iter().map(|c| c.value()).sum::<u64>();
            reused += shard.handshakes[1].value() + shard.handshakes[3].value();
        }
        let sample = samples.of(super::samples::frontend_key(listener));
        rate += sample.connection_rate;
        rate_max += sample.connection_rate_max;
        request_rate += sample.rate;
    }
    drop(samples);
    let limits = config
        .listeners
        .iter()
        .map(|l| config.limits_for(l, None, None).connections as u64);
    let limit: u64 = limits.sum();
    let files = open_files();
    let limit = if limit == 0 { files } else { limit };
    let dropped = state.shared.workers.iter().map(|w| w.log_dropped.value());
    let number = Value::Number;
    let text = |text: &str| Value::Text(text.to_owned());
    let version = env!("CARGO_PKG_VERSION");
    let (days, hours, minutes, seconds) = (
        uptime / 86_400,
        uptime / 3_600 % 24,
        uptime / 60 % 60,
        uptime % 60,
    );
    let began = u64::try_from(clock::wall_seconds())
        .unwrap_or(0)
        .saturating_sub(uptime);
    vec![
        (0, "Name", "POS", "str", text("Clearway")),
        (1, "Version", "POS", "str", text(version)),
        (
            3,
            "Nbthread",
            "CGS",
            "u32",
            number(state.shared.workers.len() as u64),
        ),
        (4, "Nbproc", "CGS", "u32", number(1)),
        (5, "Process_num", "KGP", "u32", number(1)),
        (
            6,
            "Pid",
            "SGP",
            "u32",
            number(u64::from(std::process::id())),
        ),
        (
            7,
            "Uptime",
            "MDP",
            "str",
            Value::Text(format!("{days}d {hours}h{minutes:02}m{seconds:02}s")),
        ),
        (8, "Uptime_sec", "MDP", "u32", number(uptime)),
        (9, "Memmax_MB", "CLP", "u32", number(0)),
        (10, "PoolAlloc_MB", "MGP", "u32", number(0)),
        (11, "PoolUsed_MB", "MGP", "u32", number(0)),
        (12, "PoolFailed", "MCP", "u32", number(0)),
        (13, "Ulimit-n", "CLP", "u32", number(files)),
        (14, "Maxsock", "CLP", "u32", number(files)),
        (15, "Maxconn", "CLP", "u32", number(limit)),
        (16, "Hard_maxconn", "CLP", "u32", number(limit)),
        (17, "CurrConns", "MGP", "u32", number(current)),
        (18, "CumConns", "MCP", "u32", number(accepted)),
        (19, "CumReq", "MCP", "u32", number(requests)),
        (20, "MaxSslConns", "MMP", "u32", number(0)),
        (22, "CumSslConns", "MCP", "u32", number(tls)),
        (26, "ConnRate", "MRP", "u32", number(rate)),
        (27, "ConnRateLimit", "CLP", "u32", number(0)),
        (28, "MaxConnRate", "MMP", "u32", number(rate_max)),
        (29, "SessRate", "MRP", "u32", number(rate.max(request_rate))),
        (30, "SessRateLimit", "CLP", "u32", number(0)),
        (31, "MaxSessRate", "MRP", "u32", number(rate_max)),
        (
            37,
            "SslFrontendSessionReuse_pct",
            "MGP",
            "u32",
            number((reused * 100).checked_div(tls).unwrap_or(0)),
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
        (
            53,
            "Jobs",
            "MGP",
            "u32",
            number(current + plan.listeners.len() as u64),
        ),
        (54, "Unstoppable Jobs", "MGP", "u32", number(0)),
        (
            55,
            "Listeners",
            "MGP",
            "u32",
            number(config.listeners.iter().map(|l| l.bind.len() as u64).sum()),
        ),
        (56, "ActivePeers", "MGP", "u32", number(0)),
        (57, "ConnectedPeers", "MGP", "u32", number(0)),
        (58, "DroppedLogs", "MGP", "u32", number(dropped.sum())),
        (61, "TotalBytesOut", "MGP", "u64", number(bytes)),
        (66, "Build info", "POS", "str", text(version)),
        (70, "Start_time_sec", "MDP", "u32", number(began)),
        (71, "Tainted", "SGP", "str", text("0")),
    ]
}

/// The name of this host, `-` where the kernel does not tell.
fn host_name() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname");
    text.map_or_else(|_| "-".to_owned(), |text| text.trim().to_owned())
}
