//! The control group of a process: what it may use, and when it was made to pay (cgroups(7)).

use std::io;
use std::path::{Path, PathBuf};

use clearway_outcome::{Cgroup, Use};

use super::text;

/// Where the hierarchies are mounted on every distribution of today.
const ROOT: &str = "/sys/fs/cgroup";
/// Limits of memory above this are none: version 1 writes a number near the largest there is.
const NO_LIMIT: u64 = 1 << 60;

/// What the control group of a process has counted and allows, version 2 or 1. What cannot be read, as
/// in a container that does not see its own group, is `None`.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn cgroup(pid: u32) -> io::Result<Cgroup> {
    let groups = text::read(format!("/proc/{pid}/cgroup"))?;
    let mut found = Cgroup::default();
    for line in groups.lines() {
        // `4:memory:/path`; version 2 is `0::/path`.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        if kinds.is_empty() {
            version_2(path, &mut found);
        } else {
            kinds
                .split(',')
                .for_each(|kind| version_1(kind, path, &mut found));
        }
    }
    Ok(found)
}

fn version_2(path: &str, found: &mut Cgroup) {
    // Beside hierarchies of version 1 it has a folder of its own and usually no controllers.
    let Some(folder) = folder("", path).or_else(|| folder("unified", path)) else {
        return;
    };
    if !folder.join("memory.events").exists() && !folder.join("cpu.max").exists() {
        return;
    }
    path.clone_into(&mut found.path);
    let events = text::read(folder.join("memory.events")).unwrap_or_default();
    found.oom_kills = keyed(&events, "oom_kill").or(found.oom_kills);
    found.memory = usage(&folder, "memory.current", "memory.max").or(found.memory);
    found.tasks = usage(&folder, "pids.current", "pids.max").or(found.tasks);
    let cpu = text::read(folder.join("cpu.stat")).unwrap_or_default();
    found.periods = keyed(&cpu, "nr_periods").or(found.periods);
    found.throttled = keyed(&cpu, "nr_throttled").or(found.throttled);
    found.throttled_us = keyed(&cpu, "throttled_usec").or(found.throttled_us);
}

fn version_1(kind: &str, path: &str, found: &mut Cgroup) {
    let Some(folder) = folder(kind, path) else {
        return;
    };
    match kind {
        "memory" => {
            path.clone_into(&mut found.path);
            let control = text::read(folder.join("memory.oom_control")).unwrap_or_default();
            found.oom_kills = keyed(&control, "oom_kill");
            let (used, limit) = ("memory.usage_in_bytes", "memory.limit_in_bytes");
            found.memory = usage(&folder, used, limit);
        }
        "cpu" => {
            let cpu = text::read(folder.join("cpu.stat")).unwrap_or_default();
            found.periods = keyed(&cpu, "nr_periods");
            found.throttled = keyed(&cpu, "nr_throttled");
            found.throttled_us = keyed(&cpu, "throttled_time").map(|ns| ns / 1_000);
        }
        "pids" => found.tasks = usage(&folder, "pids.current", "pids.max"),
        _ => {}
    }
}

/// The folder of a group. A path that leads out of what is mounted here (`/..`) is not followed.
fn folder(kind: &str, path: &str) -> Option<PathBuf> {
    let inside = path.strip_prefix('/')?;
    if inside.split('/').any(|part| part == "..") {
        return None;
    }
    let folder = Path::new(ROOT).join(kind).join(inside);
    folder.is_dir().then_some(folder)
}

/// The number behind a word at the start of a line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

fn usage(folder: &Path, used: &str, limit: &str) -> Option<Use> {
    let used = text::number(folder.join(used)).ok()?;
    let limit = text::read(folder.join(limit)).ok()?;
    // "max" is no number.
    let limit = limit.trim().parse().unwrap_or(u64::MAX);
    let limit = if limit < NO_LIMIT { limit } else { 0 };
    Some(Use { used, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_this_process_is_read() {
        let found = cgroup(std::process::id()).unwrap();
        if let Some(memory) = found.memory {
            assert!(memory.used > 0, "{memory:?}");
        }
        // No process has the highest id there may be.
        let missing = cgroup(u32::MAX).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn files_of_both_versions_are_read() {
        let dir = crate::testing::scratch();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("a", "4096\n");
        write("b", "max\n");
        write("c", "9223372036854771712\n");
        write("d", "8192\n");
        let of = |limit| usage(dir.path(), "a", limit).map(|memory| (memory.used, memory.limit));
        assert_eq!(of("b"), Some((4_096, 0)));
        assert_eq!(of("c"), Some((4_096, 0)));
        assert_eq!(of("d"), Some((4_096, 8_192)));
        assert_eq!(of("none"), None);
        let stat = "usage_usec 9\nnr_periods 8\nnr_throttled 7\nthrottled_usec 6\n";
        assert_eq!(keyed(stat, "nr_throttled"), Some(7));
        assert_eq!(
            keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 3", "oom_kill"),
            Some(3)
        );
        assert_eq!(keyed(stat, "nr"), None);
        assert_eq!(folder("memory", "/../x"), None);
    }
}
