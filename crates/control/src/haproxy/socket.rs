//! Sockets for runtime commands: a line with commands in, their answers out, then the end; or a prompt, and
//! line after line.

use std::sync::Arc;
use std::time::Duration;

use clearway_config::model::{Config, RuntimeLevel, RuntimeSocket};
use clearway_net::listen::{self, SocketFile, StdListener};
use clearway_outcome::Bind;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::command::{self, Session};
use crate::state::State;
use crate::task;

/// How its socket is opened: a process that takes over from another listens beside it for a while.
const OPTIONS: listen::Options = listen::Options {
    backlog: 128,
    reuse_port: true,
    defer_accept: false,
};

/// Permissions of a Unix socket unless `,mode=` says otherwise.
const UNIX_MODE: u32 = 0o600;

/// Longest line with commands, in bytes; HAProxy's buffer holds no more.
const LINE_MAX: u64 = 16 << 10;

/// Connections at once on a socket, as many as HAProxy allows by default over all of them.
const AT_ONCE: usize = 10;

/// Time until connections are taken again after that has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Lets some time pass before connections are taken again.
async fn pause() {
    tokio::time::sleep_until(Instant::now() + ACCEPT_PAUSE).await;
}

/// The sockets that are open, each with the settings that it was opened with.
#[derive(Default)]
pub(crate) struct Sockets(Vec<(RuntimeSocket, Running)>);

struct Running {
    address: String,
    /// The file of a Unix socket, removed with this.
    _file: Option<SocketFile>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sockets {
    /// Where they listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, running)| running.address.as_str())
    }

    /// Takes over those that were opened, and closes those that a configuration no longer wants.
    pub(crate) fn follow(&mut self, config: &Config, opened: Self) {
        let wanted = &config.admin.haproxy_sockets;
        self.0.retain(|(socket, _)| wanted.contains(socket));
        self.0.extend(opened.0);
    }
}

/// Opens the sockets of a configuration that are not open yet. Who `takes_over` does not mind that another
/// process has them.
///
/// # Errors
/// Why one cannot be opened, as a sentence.
pub(crate) fn open(
    state: &Arc<State>,
    config: &Config,
    known: &Sockets,
    takes_over: bool,
) -> Result<Sockets, String> {
    let mut opened = Sockets::default();
    for socket in &config.admin.haproxy_sockets {
        if !known.0.iter().any(|(other, _)| other == socket) {
            opened
                .0
                .push((socket.clone(), start(state, socket, takes_over)?));
        }
    }
    Ok(opened)
}

fn start(state: &Arc<State>, socket: &RuntimeSocket, takes_over: bool) -> Result<Running, String> {
    let mut bind = socket.bind.clone();
    if let Bind::Unix { mode, .. } = &mut bind {
        mode.get_or_insert(UNIX_MODE);
    }
    if !takes_over && listen::is_taken(&bind) {
        let words = format!("runtime socket: {bind} is in use by another process");
        return Err(words);
    }
    if let Bind::Unix { path, .. } = &bind
        && takes_over
    {
        // The other goes on with those who are connected to it.
        drop(std::fs::remove_file(path));
    }
    let opened = listen::open(&bind, &OPTIONS).map_err(|e| format!("runtime socket: {e}"))?;
    let address = opened.address_text();
    let (listener, file) = opened.into_std();
    let failed = |error: std::io::Error| format!("runtime socket {address}: {error}");
    let seat = Seat {
        state: Arc::clone(state),
        level: socket.level,
        timeout: socket.timeout,
        room: Arc::new(Semaphore::new(AT_ONCE)),
    };
    let task = match listener {
        StdListener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            task::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => seat.serve(stream).await,
                        // It is mostly the lack of open files, which does not pass at once.
                        Err(_) => pause().await,
                    }
                }
            })
        }
        StdListener::Unix(listener) => {
            let listener = UnixListener::from_std(listener).map_err(failed)?;
            task::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => seat.serve(stream).await,
                        // It is mostly the lack of open files, which does not pass at once.
                        Err(_) => pause().await,
                    }
                }
            })
        }
    };
    Ok(Running {
        address,
        _file: file,
        task,
    })
}

/// What all connections of a socket share.
struct Seat {
    state: Arc<State>,
    level: RuntimeLevel,
    timeout: Duration,
    room: Arc<Semaphore>,
}

impl Seat {
    /// Serves a connection beside others, once there is room for it.
    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
            return;
        };
        let session = Session::new(Arc::clone(&self.state), self.level, self.timeout);
        drop(task::spawn(async move {
            // Whoever asked may have gone.
            drop(converse(BufReader::new(stream), session).await);
            drop(permit);
        }));
    }
}

/// Answers lines until somebody has had enough.
async fn converse<S>(mut stream: S, mut session: Session) -> std::io::Result<()>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    loop {
        let line = tokio::time::timeout(session.timeout, line(&mut stream)).await;
        let Ok(Ok(Some(line))) = line else {
            return Ok(());
        };
        for text in command::split(&line) {
            let answer = command::run(&mut session, &text).await;
            if session.is_over {
                return stream.flush().await;
            }
            let end = if session.is_prompting { "\n> " } else { "\n" };
            let written = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.write_all(end.as_bytes()).await?;
                stream.flush().await
            };
            match tokio::time::timeout(session.timeout, written).await {
                Ok(result) => result?,
                Err(_) => return Ok(()),
            }
        }
        if !session.is_prompting {
            return stream.shutdown().await;
        }
    }
}

/// The next line without its end; none when there is no more, or it is too long.
async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = stream.take(LINE_MAX).read_until(b'\n', &mut bytes).await?;
    if read == 0 || (!bytes.ends_with(b"\n") && bytes.len() as u64 >= LINE_MAX) {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}
