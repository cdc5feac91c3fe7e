//! What the kernel knows: cores, CPU time, memory, pids, ports, limits.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::shell;

/// Where measured and measuring programs run.
pub(crate) struct Cores {
    /// One worker.
    pub(crate) proxy: String,
    /// Two workers.
    pub(crate) proxy_two: String,
    /// Load, servers and this program.
    pub(crate) load: String,
    /// Whether two workers have two cores that the load does not use.
    pub(crate) room_for_two: bool,
}

impl Cores {
    /// Gives the first allowed core to the proxy and another to the load.
    ///
    /// # Errors
    /// When there are fewer than two.
    pub(crate) fn choose() -> Result<Self, String> {
        let all = allowed_cores()?;
        let [first, second, rest @ ..] = all.as_slice() else {
            return Err("the benchmark needs two cores".to_owned());
        };
        let load = match rest {
            [_, last, ..] => *last,
            _ => *second,
        };
        Ok(Self {
            proxy: first.to_string(),
            proxy_two: format!("{first},{second}"),
            load: load.to_string(),
            room_for_two: load != *second,
        })
    }
}

/// The cores this process may use.
///
/// # Errors
/// When the kernel does not say.
pub(crate) fn allowed_cores() -> Result<Vec<u32>, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .ok_or("no Cpus_allowed_list in /proc/self/status")?;
    Ok(parse_cores(list.trim()))
}

fn parse_cores(list: &str) -> Vec<u32> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<u32>(), to.parse::<u32>()) {
            cores.extend(from..=to);
        }
    }
    cores
}

/// Moves this process, and so all it will start, to the load's core, and raises its limit of open files.
///
/// # Errors
/// When taskset(1) refuses.
pub(crate) fn settle(cores: &Cores) -> Result<(), String> {
    let pid = std::process::id().to_string();
    shell::output(Command::new("taskset").args(["-a", "-c", "-p", &cores.load, &pid]))?;
    let (_, hard) = file_limit();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={hard}:{hard}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !raised.is_ok_and(|status| status.success()) {
        super::guard::progress("the limit of open files could not be raised");
    }
    Ok(())
}

/// Soft and hard limit of open files of this process.
pub(crate) fn file_limit() -> (u64, u64) {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut numbers = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.parse().ok());
    let soft = numbers.next().unwrap_or(1024);
    (soft, numbers.next().unwrap_or(soft))
}

/// A loopback port nobody listens on, below the range that outgoing connections use.
///
/// # Errors
/// When none of many is free.
pub(crate) fn free_port() -> Result<u16, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    for _ in 0..10_000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + spread.wrapping_add(step) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port between 20000 and 32000".to_owned())
}

/// A pid with all its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut found = BTreeSet::from([root]);
    let pairs: Vec<(u32, u32)> = pids()
        .filter_map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything: read on after the last one.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    loop {
        let before = found.len();
        for (pid, parent) in &pairs {
            if found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// CPU time of processes in nanoseconds, all their threads together, from the scheduler's own sums.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok())
        .flatten()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Resident memory of processes in KiB.
pub(crate) fn rss_kib(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .filter_map(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Sends a signal to processes by their pids.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    // The shell's own: a small system has no such program.
    let sent = Command::new("sh")
        .args(["-c", r#"kill -s "$@""#, "sh", name])
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
    if let Err(error) = sent {
        super::guard::progress(&format!("cannot run sh: {error}"));
    }
}

/// Waits a moment between two looks at another process.
#[expect(
    clippy::disallowed_methods,
    reason = "another process gives no event to wait for; no test depends on the length"
)]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// The machine in a line.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    format!(
        "{model}, {} cores allowed, Linux {}, congestion control {}",
        allowed_cores().map_or(0, |cores| cores.len()),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read() {
        assert_eq!(parse_cores("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(parse_cores("3"), [3]);
    }

    #[test]
    fn we_use_cpu_and_memory() {
        let me = [std::process::id()];
        let before = cpu_ns(&me);
        let mut x = 1u64;
        while cpu_ns(&me) == before {
            x = clearway_base::hash::mix(x);
        }
        assert!(x != 0 && rss_kib(&me) > 100);
    }

    #[test]
    fn the_tree_holds_the_children() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let tree = tree(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.contains(&child.id()));
        assert!(!tree.contains(&1));
    }

    #[test]
    fn ports_are_free_and_differ() {
        let (a, b) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(a, b);
    }
}
