//! Moving bytes between sockets through a pipe, without copying them to user space (splice(2)).

#![expect(
    unsafe_code,
    reason = "pipe2, splice and F_SETPIPE_SZ have no safe wrapper"
)]

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::rc::Rc;

/// Size asked for: what an unprivileged process may have unless `fs.pipe-max-size` says otherwise.
const SIZE: libc::c_int = 1 << 20;

/// Not `SPLICE_F_MORE`: it would hold back the last, partial segment of a body for 200 ms, as TCP_CORK
/// does. While more is left in the pipe the kernel sets the equivalent by itself.
const FLAGS: libc::c_uint = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;

/// A worker's free list of pipes. Not `Send`.
#[derive(Debug)]
pub struct PipePool {
    keep: usize,
    free: RefCell<Vec<Ends>>,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl PipePool {
    /// A pool that keeps at most `keep` unused pipes.
    #[must_use]
    pub fn new(keep: usize) -> Rc<Self> {
        Rc::new(Self {
            keep,
            free: RefCell::default(),
        })
    }

    /// Lends an empty pipe.
    ///
    /// # Errors
    /// When there is none at hand and the system has no descriptors for another.
    pub fn take(self: &Rc<Self>) -> io::Result<Pipe> {
        let unused = self.free.borrow_mut().pop();
        let ends = match unused {
            Some(ends) => ends,
            None => open()?,
        };
        Ok(Pipe {
            ends: Some(ends),
            held: Cell::new(0),
            pool: Rc::clone(self),
        })
    }
}

fn open() -> io::Result<Ends> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors that pipe2 writes.
    let result = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let [read, write] = fds;
    // SAFETY: pipe2 has just made this descriptor and nobody else owns it.
    let read = unsafe { OwnedFd::from_raw_fd(read) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(write) };
    // A smaller pipe (the user's share of pipe memory may be used up) works too, in more calls.
    // SAFETY: F_SETPIPE_SZ takes an integer and touches no memory of ours.
    unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, SIZE) };
    Ok(Ends { read, write })
}

/// A lent pipe; goes back to its pool on drop when it is empty, else it is closed with what it holds.
#[derive(Debug)]
pub struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    held: Cell<usize>,
    pool: Rc<PipePool>,
}

impl Pipe {
    /// Moves up to `max` bytes from the socket `from` into the pipe; `Ok(0)` is FIN.
    ///
    /// # Errors
    /// `WouldBlock` when the socket has nothing (or the pipe has no room), or the socket's error.
    pub fn splice_in(&self, from: RawFd, max: usize) -> io::Result<usize> {
        let ends = self.ends()?;
        let count = splice(from, ends.write.as_raw_fd(), max)?;
        self.held.set(self.held.get() + count);
        Ok(count)
    }

    /// Moves up to `max` of the held bytes from the pipe to the socket `to`.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing now (or the pipe is empty), or the socket's error.
    pub fn splice_out(&self, to: RawFd, max: usize) -> io::Result<usize> {
        let ends = self.ends()?;
        let count = splice(ends.read.as_raw_fd(), to, max)?;
        self.held.set(self.held.get().saturating_sub(count));
        Ok(count)
    }

    fn ends(&self) -> io::Result<&Ends> {
        self.ends
            .as_ref()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Bytes left in a pipe would come out in somebody else's response.
        if self.held.get() > 0 {
            return;
        }
        let mut free = self.pool.free.borrow_mut();
        if free.len() < self.pool.keep {
            free.extend(self.ends.take());
        }
    }
}

fn splice(from: RawFd, to: RawFd, max: usize) -> io::Result<usize> {
    loop {
        // SAFETY: both offsets are null, as sockets and pipes want it; no memory of ours is touched.
        let count = unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), max, FLAGS) };
        match usize::try_from(count) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn sockets() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    #[test]
    fn bytes_pass_through_and_the_end_shows() {
        let pool = PipePool::new(4);
        let pipe = pool.take().unwrap();
        let ((from, mut sender), (to, mut receiver)) = (sockets(), sockets());
        let blocked = pipe.splice_in(from.as_raw_fd(), 100).unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        sender.write_all(b"some bytes").unwrap();
        assert_eq!(pipe.splice_in(from.as_raw_fd(), 4).unwrap(), 4);
        assert_eq!(pipe.splice_in(from.as_raw_fd(), 100).unwrap(), 6);
        assert_eq!(pipe.held.get(), 10);
        assert_eq!(pipe.splice_out(to.as_raw_fd(), 10).unwrap(), 10);
        let mut got = [0; 10];
        receiver.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"some bytes");
        drop(sender);
        assert_eq!(pipe.splice_in(from.as_raw_fd(), 100).unwrap(), 0);
    }

    #[test]
    fn a_pipe_is_used_again_only_when_empty() {
        let pool = PipePool::new(1);
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        let first = one.ends.as_ref().unwrap().read.as_raw_fd();
        drop(one);
        drop(two);
        assert_eq!(pool.free.borrow().len(), 1, "bounded");
        let again = pool.take().unwrap();
        assert_eq!(again.ends.as_ref().unwrap().read.as_raw_fd(), first);
        let (from, mut sender) = sockets();
        sender.write_all(b"secret").unwrap();
        again.splice_in(from.as_raw_fd(), 100).unwrap();
        drop(again);
        assert!(pool.free.borrow().is_empty());
    }

    #[test]
    fn the_last_bytes_are_not_held_back() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let pipe = PipePool::new(1).take().unwrap();
        let (from, mut sender) = sockets();
        sender.write_all(b"tail").unwrap();
        pipe.splice_in(from.as_raw_fd(), 100).unwrap();
        pipe.splice_out(to.as_raw_fd(), 4).unwrap();
        assert_eq!(
            crate::kernel::tcp_facts(to.as_raw_fd())
                .unwrap()
                .notsent_bytes,
            0
        );
    }

    #[test]
    fn a_closed_receiver_is_an_error_and_not_a_signal() {
        let pool = PipePool::new(1);
        let pipe = pool.take().unwrap();
        let ((from, mut sender), (to, receiver)) = (sockets(), sockets());
        sender.write_all(b"x").unwrap();
        pipe.splice_in(from.as_raw_fd(), 1).unwrap();
        drop(receiver);
        let error = pipe.splice_out(to.as_raw_fd(), 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
