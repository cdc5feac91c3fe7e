//! The kernel's log, as far as it tells why a server vanished or packets did.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use clearway_base::clock;
use clearway_outcome::KernelLine;

use super::text;

/// Words that make a line worth telling.
const WORDS: [&str; 5] = [
    "Out of memory",
    "oom-kill",
    "Killed process",
    "segfault",
    "table full",
];
/// Most lines that are looked at; the kernel's memory holds about as many.
const LINES_MAX: usize = 50_000;
/// Most lines that are told: the newest.
const KEPT_MAX: usize = 50;
/// The kernel writes no longer lines.
const ROOM: usize = 8_192;

/// The lines of the kernel's log about killed and crashed processes and full tables, the newest last.
///
/// # Errors
/// `PermissionDenied` where only the superuser may read it (`kernel.dmesg_restrict`, containers), or what
/// the system says.
pub fn kernel_log() -> io::Result<Vec<KernelLine>> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let booted = started()?;
    let mut lines = Vec::new();
    let mut room = [0; ROOM];
    for _ in 0..LINES_MAX {
        match log.read(&mut room) {
            Ok(0) => break,
            Ok(len) => {
                let bytes = room.get(..len).unwrap_or_default();
                lines.extend(line(&String::from_utf8_lossy(bytes), booted));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // Lines were overwritten before they were read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
    let old = lines.len().saturating_sub(KEPT_MAX);
    Ok(lines.split_off(old))
}

/// When the clock of the log began, in microseconds since 1970.
fn started() -> io::Result<u64> {
    let text = text::read("/proc/uptime")?;
    let seconds: Option<f64> = text.split(' ').next().and_then(|word| word.parse().ok());
    let up = std::time::Duration::try_from_secs_f64(seconds.unwrap_or(0.0));
    let up = up.map_or(0, |up| u64::try_from(up.as_micros()).unwrap_or(0));
    Ok(clock::wall().saturating_sub(up))
}

/// `PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT`, then lines about the device (dev-kmsg).
fn line(text: &str, booted: u64) -> Option<KernelLine> {
    let (head, text) = text.split_once(';')?;
    let text = text.lines().next()?;
    if !WORDS.iter().any(|word| text.contains(word)) {
        return None;
    }
    let us: u64 = head.split(',').nth(2)?.parse().ok()?;
    Some(KernelLine {
        at: i64::try_from(booted.saturating_add(us) / 1_000_000).ok()?,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_tell_something_are_kept() {
        let killed = "6,1234,5000000,-;Out of memory: Killed process 7 (app)\n SUBSYSTEM=x\n";
        let found = line(killed, 1_000_000_000_000_000).unwrap();
        assert_eq!(found.at, 1_000_000_005);
        assert_eq!(found.text, "Out of memory: Killed process 7 (app)");
        assert_eq!(line("6,1,2,-;eth0: link up", 0), None);
        assert_eq!(line("no line: table full", 0), None);
        assert_eq!(line("6,1;table full", 0), None);
    }

    #[test]
    fn the_log_is_read_or_it_is_said_why_not() {
        match kernel_log() {
            Ok(lines) => assert!(lines.len() <= KEPT_MAX),
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
        }
    }
}
