//! Listening Unix sockets.

use std::io;
use std::path::{Path, PathBuf};

use clearway_outcome::{UnixListening, Use};

use super::netlink::{DUMP, Netlink, array, attributes};
use super::process::{self, Owners};
use super::text;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Show names and lengths of queues.
const SHOW: u32 = 1 | 0x10;
const NAME: u16 = 0;
const QUEUE: u16 = 4;
/// The fixed part of an answer.
const FIXED: usize = 16;
/// Number of the state LISTEN.
const LISTEN: u32 = 10;
/// In `/proc/net/unix`: the socket accepts connections.
const ACCEPTS: u32 = 0x10000;

/// The listening Unix sockets.
///
/// # Errors
/// When neither sock_diag nor `/proc/net/unix` tells; the latter does not know the queues.
pub fn unix_listeners(owners: Owners) -> io::Result<Vec<UnixListening>> {
    let found = diagnosed().or_else(|_| from_proc())?;
    let inodes: Vec<_> = found.iter().map(|socket| socket.inode).collect();
    let mut owners = process::owners(owners, &inodes);
    let listening = found.into_iter().map(|socket| {
        let (pid, process) = owners.remove(&socket.inode).unzip();
        UnixListening {
            path: socket.path,
            waiting: socket.waiting,
            process,
            pid,
        }
    });
    Ok(listening.collect())
}

/// The socket that listens at `path`, if one does.
///
/// # Errors
/// When that cannot be told.
pub fn unix_listener(path: &Path, owners: Owners) -> io::Result<Option<UnixListening>> {
    let mut all = unix_listeners(owners)?;
    all.retain(|socket| socket.path == path);
    Ok(all.pop())
}

/// A socket as the kernel lists it.
#[derive(Debug, PartialEq)]
struct Found {
    path: PathBuf,
    waiting: Option<Use>,
    inode: u32,
}

fn diagnosed() -> io::Result<Vec<Found>> {
    let mut body = vec![1, 0, 0, 0];
    body.extend((1_u32 << LISTEN).to_ne_bytes());
    body.extend(0_u32.to_ne_bytes());
    body.extend(SHOW.to_ne_bytes());
    body.extend([0xff; 8]);
    let mut all = Vec::new();
    let netlink = Netlink::open(libc::NETLINK_SOCK_DIAG)?;
    netlink.ask(SOCK_DIAG_BY_FAMILY, DUMP, &body, |message| {
        all.extend(found(message.body));
    })?;
    Ok(all)
}

fn found(body: &[u8]) -> Option<Found> {
    let mut found = Found {
        path: PathBuf::new(),
        waiting: None,
        inode: u32::from_ne_bytes(array(body, 4)?),
    };
    for (number, value) in attributes(body.get(FIXED..)?) {
        let count = |at| array(value, at).map(u32::from_ne_bytes);
        match (number, count(0), count(4)) {
            (NAME, ..) => found.path = path(value),
            (QUEUE, Some(used), Some(limit)) => {
                found.waiting = Some(Use {
                    used: used.into(),
                    limit: limit.into(),
                });
            }
            _ => {}
        }
    }
    Some(found)
}

/// A name without a file begins with NUL and may contain some; other names end with one.
fn path(name: &[u8]) -> PathBuf {
    let text = match name {
        [0, name @ ..] => format!("@{}", String::from_utf8_lossy(name)),
        name => {
            let end = name.split(|&byte| byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(end).into_owned()
        }
    };
    text.into()
}

fn from_proc() -> io::Result<Vec<Found>> {
    Ok(text::read("/proc/net/unix")?
        .lines()
        .filter_map(line)
        .collect())
}

/// `0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/app.sock`
fn line(text: &str) -> Option<Found> {
    let mut words = text.splitn(8, ' ').filter(|word| !word.is_empty());
    let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
    if flags & ACCEPTS == 0 {
        return None;
    }
    let rest: Vec<_> = text.split_whitespace().collect();
    let inode = rest.get(6)?;
    let (_, path) = text.split_once(&format!(" {inode} "))?;
    Some(Found {
        path: path.into(),
        waiting: None,
        inode: inode.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::testing::scratch;

    #[test]
    fn a_listener_is_found_by_its_path() {
        let dir = scratch();
        let path = dir.path().join("a b.sock");
        let look = || unix_listener(&path, Owners::Find).unwrap();
        assert_eq!(look(), None);
        let listener = UnixListener::bind(&path).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        let found = look().unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
        let waiting = found.waiting.unwrap();
        assert_eq!(waiting.used, 1);
        assert!(waiting.limit > 1, "{waiting:?}");
        let by_text = from_proc().unwrap();
        let by_text = by_text.iter().find(|found| found.path == path).unwrap();
        let asked = diagnosed().unwrap();
        let asked = asked.iter().find(|found| found.path == path).unwrap();
        assert_eq!(by_text.inode, asked.inode);
        drop(listener);
        assert_eq!(look(), None);
    }

    #[test]
    fn names_and_lines_are_read_as_they_are_written() {
        assert_eq!(path(b"\0hidden"), Path::new("@hidden"));
        assert_eq!(path(b"/run/a\0"), Path::new("/run/a"));
        let of = |text| line(text).map(|found| (found.path, found.inode));
        assert_eq!(
            of("00: 00000002 00000000 00010000 0001 01   1072 /run/a b"),
            Some(("/run/a b".into(), 1072))
        );
        assert_eq!(of("00: 00000002 00000000 00010000 0001 01 1072"), None);
        assert_eq!(
            of("00: 00000003 00000000 00000000 0001 03 1072 /run/a"),
            None
        );
        assert_eq!(of("Num RefCount Protocol Flags Type St Inode Path"), None);
    }
}
