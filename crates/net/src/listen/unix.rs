//! Sockets in the file system: what is in their way, their permissions, and their end.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clearway_outcome::Bind;
use socket2::{Domain, SockAddr, Type};

use super::{Inner, ListenError, Options, Socket};

/// Opens a socket at `path`, in place of one that a former process left over.
pub(super) fn open(
    bind: &Bind,
    path: &Path,
    mode: Option<u32>,
    options: &Options,
) -> Result<Socket, ListenError> {
    let failed = |error: io::Error| ListenError::new(bind, &error);
    let refused = |errno, words: &str| ListenError {
        bind: bind.clone(),
        errno,
        words: words.to_owned(),
    };
    let address = SockAddr::unix(path)
        .map_err(|_| refused(0, "the path is too long for a socket (107 bytes at most)"))?;
    match state(path).map_err(failed)? {
        State::Free => {}
        State::Stale => std::fs::remove_file(path).map_err(failed)?,
        State::Listened => {
            return Err(refused(
                libc::EADDRINUSE,
                "another process listens there already",
            ));
        }
        State::NoSocket => {
            return Err(refused(0, "a file that is not a socket is in the way"));
        }
    }
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = socket2::Socket::new(Domain::UNIX, kind, None).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    let file = Arc::new(SocketFile::of(path).map_err(failed)?);
    if let Some(mode) = mode {
        // Before listen: nobody can have connected under other permissions.
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(failed)?;
    }
    socket
        .listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))
        .map_err(failed)?;
    let address = format!("unix:{}", path.display());
    Ok(Socket {
        inner: Inner::Unix(socket.into(), Some(file)),
        address,
    })
}

/// What stands where a socket is to be.
pub(super) enum State {
    Free,
    Stale,
    Listened,
    NoSocket,
}

/// What is at `path`: only a socket that refuses connections is left over from a former process.
pub(super) fn state(path: &Path) -> io::Result<State> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Free),
        Err(error) => return Err(error),
        Ok(meta) if !meta.file_type().is_socket() => return Ok(State::NoSocket),
        Ok(_) => {}
    }
    // Non-blocking: a listener with a full queue would make us wait.
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => Ok(State::Stale),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(State::Free),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(State::Listened),
        Err(error) => Err(error),
        Ok(()) => Ok(State::Listened),
    }
}

/// The file of a Unix socket; removed with the last socket, unless somebody has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode));
        if ours {
            // A file that stays is taken for left over at the next start.
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use clearway_outcome::Address;

    use super::*;
    use crate::listen::{Acceptor, is_taken, open, open_many};
    use crate::stream::Stream;
    use crate::testing::{block_on, scratch};
    use crate::wire::Wire;

    #[test]
    fn a_left_over_unix_socket_is_replaced_and_a_live_one_is_not() {
        let dir = scratch();
        let path = dir.path().join("a.sock");
        let at = Bind::Unix {
            path: path.clone(),
            mode: Some(0o640),
        };
        let former = UnixListener::bind(&path).unwrap();
        let error = open(&at, &Options::default()).unwrap_err();
        assert_eq!(error.errno, libc::EADDRINUSE);
        assert!(is_taken(&at));
        drop(former);
        assert!(path.exists());
        let sockets = open_many(&at, &Options::default(), 2).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(
            sockets[1].address_text(),
            format!("unix:{}", path.display())
        );
        block_on(async {
            let acceptors: Vec<Acceptor> = sockets
                .into_iter()
                .map(|s| Acceptor::new(s).unwrap())
                .collect();
            let client = UnixStream::connect(&path).unwrap();
            let (stream, peer) = acceptors[1].try_accept().unwrap().unwrap();
            assert!(matches!(
                (stream, peer),
                (Stream::Plain(Wire::Unix(_)), Address::Unix)
            ));
            drop(client);
        });
        assert!(!path.exists(), "removed with the last socket");
    }

    #[test]
    fn a_file_in_the_way_or_a_successor_is_left_alone() {
        let dir = scratch();
        let path = dir.path().join("precious");
        std::fs::write(&path, "text").unwrap();
        let at = Bind::Unix {
            path: path.clone(),
            mode: None,
        };
        let error = open(&at, &Options::default()).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
        std::fs::remove_file(&path).unwrap();
        let old = open(&at, &Options::default()).unwrap();
        // Another process replaces the file while the old socket is still open.
        let kept = dir.path().join("kept");
        std::fs::rename(&path, &kept).unwrap();
        let successor = UnixListener::bind(&path).unwrap();
        drop(old);
        assert!(UnixStream::connect(&path).is_ok());
        drop(successor);
    }
}
