//! What stands at the path of a Unix socket, and who may use it?

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use clearway_outcome::{UnixFile, UnixPath};

use crate::connect::{self, Target};
use crate::host::{Owners, unix_listener};

/// Most entries of the folder that are looked at for other sockets.
const ENTRIES_MAX: usize = 4_096;
/// Most other sockets that are told.
const SIBLINGS_MAX: usize = 16;
/// Permission bits: write, and search of a folder.
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

/// Who would connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group ids, the main one and the others.
    pub groups: Vec<u32>,
}

impl User {
    /// The user of a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let words = line.unwrap_or_default().split_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        // Real, effective, saved, and that of files.
        let last = |key| numbers(key).last().copied();
        let broken = || io::Error::from(io::ErrorKind::InvalidData);
        let uid = last("Uid:").ok_or_else(broken)?;
        let mut groups = vec![last("Gid:").ok_or_else(broken)?];
        groups.extend(numbers("Groups:"));
        Ok(Self { uid, groups })
    }

    /// Whether permission bits let the user do something. Access lists and capabilities other than the
    /// superuser's are not looked at.
    fn may(&self, what: u32, file: &impl MetadataExt) -> bool {
        let shift = if self.uid == 0 {
            return true;
        } else if self.uid == file.uid() {
            6
        } else if self.groups.contains(&file.gid()) {
            3
        } else {
            0
        };
        file.mode() >> shift & what != 0
    }
}

/// Walks to `path` as `user` would, and connects as this process, without sending anything. Looks at
/// files as it goes, which blocks where they are on a file system that does.
///
/// # Errors
/// When the way could not be walked as this process may not look into a folder on it.
pub async fn unix(path: &Path, user: &User) -> io::Result<UnixPath> {
    let mut found = UnixPath::default();
    for folder in ways(path) {
        match std::fs::metadata(&folder) {
            Ok(facts) if !facts.is_dir() => {
                found.missing = Some(folder);
                found.errno = Some(libc::ENOTDIR);
                return Ok(found);
            }
            Ok(facts) => {
                if found.closed.is_none() && !user.may(SEARCH, &facts) {
                    found.closed = Some(folder);
                }
            }
            Err(error) => return stopped(found, folder, error),
        }
    }
    match std::fs::metadata(path) {
        Ok(file) => {
            found.file = Some(UnixFile {
                is_socket: file.file_type().is_socket(),
                mode: file.mode() & 0o7777,
                uid: file.uid(),
                gid: file.gid(),
                is_writable: user.may(WRITE, &file),
            });
        }
        Err(error) if is_missing(&error) => found.missing = Some(path.to_owned()),
        Err(error) => return stopped(found, path.to_owned(), error),
    }
    let connected = connect::connect(&Target::Unix(path.to_owned()), None).await;
    found.errno = connected.err().map(|error| error.errno);
    // Where that cannot be told, the error of connecting still can.
    found.listening = unix_listener(path, Owners::Find).unwrap_or_default();
    found.siblings = siblings(path);
    Ok(found)
}

/// Neither the user nor this process comes further than to `at`.
fn stopped(mut found: UnixPath, at: PathBuf, error: io::Error) -> io::Result<UnixPath> {
    found.errno = error.raw_os_error();
    if is_missing(&error) {
        found.missing = Some(at);
        Ok(found)
    } else if found.closed.is_some() {
        Ok(found)
    } else {
        Err(error)
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// The folders on the way, from the root.
fn ways(path: &Path) -> Vec<PathBuf> {
    let mut ways: Vec<_> = path.ancestors().skip(1).map(Path::to_owned).collect();
    ways.retain(|way| !way.as_os_str().is_empty());
    ways.reverse();
    ways
}

/// Other sockets in the same folder.
fn siblings(path: &Path) -> Vec<PathBuf> {
    let folder = path
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    let entries = folder.into_iter().flatten().flatten().take(ENTRIES_MAX);
    let sockets = entries.filter(|entry| {
        let kind = entry.file_type();
        kind.is_ok_and(|kind| kind.is_socket()) && entry.path() != path
    });
    let mut paths: Vec<_> = sockets.map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths.truncate(SIBLINGS_MAX);
    paths
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::testing::{block_on, scratch};

    /// Nobody who runs tests has this id.
    const STRANGER: u32 = 4_000_000_000;

    fn look(path: &Path, uid: u32) -> UnixPath {
        let user = User {
            uid,
            groups: vec![uid],
        };
        block_on(async { unix(path, &user).await }).unwrap()
    }

    #[test]
    fn every_way_to_fail_is_told() {
        let dir = scratch();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("app.sock");
        let other = dir.path().join("other.sock");
        let _other = UnixListener::bind(&other).unwrap();
        let seen = look(&path, 0);
        assert_eq!(seen.missing.as_deref(), Some(path.as_path()));
        assert_eq!((seen.errno, seen.file), (Some(libc::ENOENT), None));
        assert_eq!(seen.siblings, [other]);
        let listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        let seen = look(&path, STRANGER);
        assert_eq!((seen.missing, seen.closed, seen.errno), (None, None, None));
        let file = seen.file.unwrap();
        assert_eq!((file.is_socket, file.mode), (true, 0o660));
        assert!(!file.is_writable);
        assert!(look(&path, 0).file.unwrap().is_writable);
        assert_eq!(seen.listening.unwrap().pid, Some(std::process::id()));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let seen = look(&path, STRANGER);
        assert_eq!(seen.closed.as_deref(), Some(dir.path()));
        drop(listener);
        let seen = look(&path, 0);
        assert_eq!(seen.errno, Some(libc::ECONNREFUSED));
        assert!(seen.file.is_some() && seen.listening.is_none());
    }

    #[test]
    fn other_files_and_missing_folders_are_told() {
        let dir = scratch();
        let path = dir.path().join("none/app.sock");
        let seen = look(&path, 0);
        assert_eq!(
            seen.missing.as_deref(),
            Some(dir.path().join("none").as_path())
        );
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let seen = look(&file, 0);
        assert!(!seen.file.unwrap().is_socket);
        assert_eq!(seen.errno, Some(libc::ECONNREFUSED));
        let seen = look(&file.join("app.sock"), STRANGER);
        assert_eq!((seen.errno, seen.closed), (Some(libc::ENOTDIR), None));
        assert_eq!(seen.missing, Some(file));
    }

    #[test]
    fn users_are_read_from_processes() {
        let own = User::of(std::process::id()).unwrap();
        let dir = scratch();
        let made = fs::metadata(dir.path()).unwrap();
        assert_eq!(own.uid, made.uid());
        assert!(own.groups.contains(&made.gid()));
        assert!(User::of(u32::MAX).is_err());
    }
}
