//! Processes on this host, as far as `/proc` shows them.

use std::io;
use std::path::Path;

use clearway_base::hash::Map;
use clearway_outcome::{Process, Use};

use super::text;

/// Most processes that are looked through for the owner of a socket.
const PROCESSES_MAX: usize = 32_768;

/// Whether the processes of sockets are wanted, which means to look at all open files of all
/// processes: tens of milliseconds on a busy host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// They are not.
    Leave,
    /// They are, as far as they may be seen: without privileges, one's own.
    Find,
}

/// Process id and name behind the sockets with these numbers.
pub(super) fn owners(wanted: Owners, inodes: &[u32]) -> Map<u32, (u32, String)> {
    let mut found = Map::default();
    if wanted == Owners::Leave {
        return found;
    }
    let links: Map<String, u32> = inodes
        .iter()
        .map(|inode| (format!("socket:[{inode}]"), *inode))
        .collect();
    for pid in pids().take(PROCESSES_MAX) {
        if found.len() == links.len() {
            break;
        }
        let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for file in files.flatten() {
            let link = std::fs::read_link(file.path()).unwrap_or_default();
            let inode = link.to_str().and_then(|link| links.get(link));
            if let Some(inode) = inode {
                found.entry(*inode).or_insert_with(|| (pid, name(pid)));
            }
        }
    }
    found
}

/// What is known of a process.
///
/// # Errors
/// `NotFound` when there is none.
pub fn process(pid: u32) -> io::Result<Process> {
    let stat = text::read(format!("/proc/{pid}/stat"))?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat is not as known");
    // The name is in parentheses and may contain any.
    let (head, tail) = stat.rsplit_once(") ").ok_or_else(broken)?;
    let (_, name) = head.split_once(" (").ok_or_else(broken)?;
    let fields: Vec<_> = tail.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|word| word.parse::<u64>().ok());
    let state = fields.first().and_then(|word| word.chars().next());
    let ticks = number(19).ok_or_else(broken)?;
    Ok(Process {
        pid,
        name: name.to_owned(),
        state: state.ok_or_else(broken)?,
        started: booted()?.saturating_add(i64::try_from(ticks / TICKS).unwrap_or(0)),
        threads: u32::try_from(number(17).unwrap_or(0)).unwrap_or(u32::MAX),
        files: files(pid).ok(),
    })
}

/// Ticks per second in `/proc`, which are the same on every architecture Linux runs on today.
const TICKS: u64 = 100;

/// When the host was started, in seconds since 1970.
fn booted() -> io::Result<i64> {
    let stat = text::read("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let seconds = line.and_then(|seconds| seconds.trim().parse().ok());
    seconds.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no btime"))
}

/// Open files of a process and how many it may open.
///
/// # Errors
/// `NotFound` when there is none, `PermissionDenied` when it is another user's.
pub fn files(pid: u32) -> io::Result<Use> {
    let folder = format!("/proc/{pid}/fd");
    let open =
        std::fs::read_dir(&folder).map_err(|error| text::about(Path::new(&folder), &error))?;
    let used = open.count() as u64;
    let limits = text::read(format!("/proc/{pid}/limits"))?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    Ok(Use {
        used,
        // "unlimited" is no number.
        limit: soft.and_then(|soft| soft.parse().ok()).unwrap_or(0),
    })
}

/// The ids of all processes that may be seen.
fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn name(pid: u32) -> String {
    let name = text::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use clearway_base::clock;

    use super::*;

    #[test]
    fn this_process_is_known() {
        let own = process(std::process::id()).unwrap();
        assert_eq!(
            (own.pid, own.name),
            (std::process::id(), name(std::process::id()))
        );
        assert!("RSD".contains(own.state), "{}", own.state);
        let age = clock::wall_seconds() - own.started;
        assert!((-2..86_400).contains(&age), "{age} s");
        let files = own.files.unwrap();
        assert!(files.used >= 3 && files.limit >= files.used, "{files:?}");
        assert!(own.threads >= 2);
    }

    #[test]
    fn a_stopped_process_shows_it() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "kill -STOP $$"])
            .spawn()
            .unwrap();
        let stopped = clearway_testkit::wait::within(std::time::Duration::from_secs(5), || {
            (process(child.id()).unwrap().state == 'T').then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(stopped.is_some());
        assert_eq!(
            process(child.id()).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
