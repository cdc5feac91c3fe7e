//! The four servers of the demo, each with a habit that real servers have on bad days.
//!
//! They live on a thread and a runtime of their own, so that the balancer sees nothing but sockets.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use std::time::Duration;

use clearway_base::rng::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing: it answers at once.
    Healthy,
    /// It takes its time, sometimes more than the balancer allows.
    Slow,
    /// It is away for some seconds, again and again.
    Flaky,
    /// It resets a kept connection when a second request arrives on it.
    Resetter,
}

impl Habit {
    /// All of them, in the order of the table.
    const ALL: [Self; 4] = [Self::Healthy, Self::Slow, Self::Flaky, Self::Resetter];

    /// The name of the server.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Flaky => "flaky",
            Self::Resetter => "resetter",
        }
    }

    /// What the server does, for the comment in the configuration.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Healthy => "answers at once",
            Self::Slow => "takes 0.15 to 0.9 s, now and then 1.5 s",
            Self::Flaky => "10 s there, 6 s away",
            Self::Resetter => "resets a kept connection when it is used again",
        }
    }
}

/// How long the flaky server is there.
const THERE: Duration = Duration::from_secs(10);
/// How long it is away.
const AWAY: Duration = Duration::from_secs(6);
/// How long a server waits before it tries its port again when somebody else has it.
const AGAIN: Duration = Duration::from_millis(200);
/// How often it tries; then the server stays away.
const TRIES: u32 = 100;
/// A request head longer than this is not answered.
const HEAD_MAX: usize = 64 << 10;

/// The running servers; they end when this is dropped.
pub(super) struct Servers {
    /// Habit and address of each.
    pub(super) list: Vec<(Habit, SocketAddr)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Opens the servers on free ports of loopback.
///
/// # Errors
/// No port, thread or runtime is to be had.
pub(super) fn start() -> io::Result<Servers> {
    let mut list = Vec::new();
    let mut sockets = Vec::new();
    for habit in Habit::ALL {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        list.push((habit, socket.local_addr()?));
        sockets.push((habit, socket));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("demo-servers".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                let mut tasks = JoinSet::new();
                for (habit, socket) in sockets {
                    tasks.spawn(live(habit, socket));
                }
                // Sent or dropped, both mean the end; the tasks end with the set.
                drop(stopped.await);
            });
        })?;
    Ok(Servers {
        list,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A server's life: there for as long as its habit says, then away, then there again.
async fn live(habit: Habit, socket: std::net::TcpListener) -> io::Result<Infallible> {
    let address = socket.local_addr()?;
    let mut listener = TcpListener::from_std(socket)?;
    loop {
        if habit == Habit::Flaky {
            // Ending `serve` closes the listener and every connection, as a crash does.
            drop(tokio::time::timeout(THERE, serve(habit, listener)).await);
            pause(AWAY).await;
        } else {
            serve(habit, listener).await;
        }
        listener = reopen(address).await?;
    }
}

/// Listens on the same port as before, which somebody else may have for a moment.
async fn reopen(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 0..TRIES {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(listener);
        }
        pause(AGAIN).await;
    }
    TcpListener::bind(address).await
}

async fn serve(habit: Habit, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(habit, stream))),
                // Out of descriptors: what is open must end first.
                Err(_) => pause(AGAIN).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection: requests one after the other until somebody closes it.
async fn converse(habit: Habit, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let port = stream.local_addr()?.port();
    let mut rng = Rng::new(u64::from(stream.peer_addr()?.port()));
    let mut buffer = Vec::new();
    let mut served = 0_u32;
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        if habit == Habit::Resetter && served > 0 {
            // A close with a zero linger time is a reset, not a goodbye.
            return stream.set_zero_linger();
        }
        if habit == Habit::Slow && !request.probe {
            pause(delay(&mut rng)).await;
        }
        let body = format!("Hello from {} on port {port}.\n", habit.name());
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}",
            body.len(),
            if request.head_only { "" } else { &body },
        );
        stream.write_all(answer.as_bytes()).await?;
        if request.close {
            return Ok(());
        }
        served += 1;
    }
}

/// How long the slow server takes this time.
fn delay(rng: &mut Rng) -> Duration {
    let millis = if rng.below(8) == 0 {
        1_500
    } else {
        150 + rng.below(750)
    };
    Duration::from_millis(millis)
}

/// What a server needs to know about a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    probe: bool,
    head_only: bool,
    close: bool,
    body: usize,
}

/// Reads one request with its body; `None` when the client has closed instead.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some((request, length)) = parse(buffer) {
            let whole = length.saturating_add(request.body);
            if buffer.len() >= whole {
                buffer.drain(..whole);
                return Ok(Some(request));
            }
        } else if buffer.len() > HEAD_MAX {
            return Ok(None);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The request at the start of `buffer` and the length of its head, once the head is complete.
///
/// Enough for what Clearway sends: it has checked and rewritten every request before.
fn parse(buffer: &[u8]) -> Option<(Request, usize)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(buffer.get(..end)?).to_ascii_lowercase();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let mut request = Request {
        head_only: words.next() == Some("head"),
        probe: words.next() == Some("/healthz"),
        ..Request::default()
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        match name {
            "content-length" => request.body = value.trim().parse().unwrap_or(0),
            "connection" => request.close = value.contains("close"),
            _ => {}
        }
    }
    Some((request, end + 4))
}

async fn pause(time: Duration) {
    tokio::time::sleep_until(Instant::now() + time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_whole_or_not_at_all() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
        let text = b"POST /order HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        let (request, length) = parse(text).expect("complete");
        assert_eq!((request.body, length), (5, text.len() - 5));
        assert!(!request.probe && !request.head_only && !request.close);
        let (request, _) =
            parse(b"GET /healthz HTTP/1.1\r\nConnection: Close\r\n\r\n").expect("complete");
        assert!(request.probe && request.close);
    }

    #[test]
    fn the_slow_server_is_sometimes_too_slow_and_mostly_not() {
        let mut rng = Rng::new(7);
        let delays: Vec<_> = (0..400).map(|_| delay(&mut rng)).collect();
        let late = delays.iter().filter(|d| d.as_millis() > 1_000).count();
        assert!((20..100).contains(&late), "{late}");
        assert!(delays.iter().all(|d| d.as_millis() >= 150));
    }

    #[test]
    fn every_server_has_an_address_of_its_own_and_answers() {
        use std::io::{Read as _, Write as _};
        let servers = start().expect("ports");
        let mut ports: Vec<u16> = servers
            .list
            .iter()
            .map(|(_, address)| address.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), Habit::ALL.len());
        for (habit, address) in &servers.list {
            let mut stream = std::net::TcpStream::connect(address).expect("connect");
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .expect("write");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("read");
            assert!(text.contains(habit.name()), "{text}");
        }
    }

    #[test]
    fn the_resetter_resets_the_second_request() {
        use std::io::{Read as _, Write as _};
        let servers = start().expect("ports");
        let (_, address) = servers
            .list
            .iter()
            .find(|(h, _)| *h == Habit::Resetter)
            .expect("it");
        let mut stream = std::net::TcpStream::connect(address).expect("connect");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request).expect("write");
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).expect("first answer") > 0);
        stream.write_all(request).expect("write");
        let error = stream.read_to_end(&mut Vec::new()).expect_err("reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
