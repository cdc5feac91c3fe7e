//! The trickle of requests: mostly `GET /`, some `POST /order` that must not be sent twice.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

/// One request of this many is a `POST`.
const POST_EVERY: u64 = 8;
/// How long the last requests may take when the trickle ends.
const LAST: Duration = Duration::from_secs(2);

/// What the trickle's clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Requests sent.
    pub(super) sent: AtomicU64,
    /// Answered with 2xx.
    pub(super) good: AtomicU64,
    /// Answered with anything else, or not at all.
    pub(super) bad: AtomicU64,
}

/// The running trickle; it ends when this is dropped, after the requests in flight.
pub(super) struct Trickle {
    /// What was seen so far.
    pub(super) seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Sends `rate` requests a second to `address`.
///
/// # Errors
/// No thread or runtime is to be had.
pub(super) fn start(address: SocketAddr, rate: u32) -> io::Result<Trickle> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let seen = Arc::<Seen>::default();
    let counts = Arc::clone(&seen);
    let thread = std::thread::Builder::new()
        .name("demo-client".to_owned())
        .spawn(move || runtime.block_on(trickle(address, rate, counts, stopped)))?;
    Ok(Trickle {
        seen,
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Trickle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn trickle(
    address: SocketAddr,
    rate: u32,
    seen: Arc<Seen>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = requests.join_next() => {}
            _ = ticks.tick() => {
                let number = seen.sent.fetch_add(1, Ordering::Relaxed);
                requests.spawn(one(address, number, Arc::clone(&seen)));
            }
        }
    }
    let rest = async { while requests.join_next().await.is_some() {} };
    // Whoever is not answered by then is not counted.
    drop(tokio::time::timeout_at(Instant::now() + LAST, rest).await);
}

async fn one(address: SocketAddr, number: u64, seen: Arc<Seen>) {
    let good = matches!(ask(address, number).await, Ok(Some(200..300)));
    let count = if good { &seen.good } else { &seen.bad };
    count.fetch_add(1, Ordering::Relaxed);
}

/// Sends one request on a connection of its own; returns the status.
async fn ask(address: SocketAddr, number: u64) -> io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(request(address, number).as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(status(&answer))
}

fn request(address: SocketAddr, number: u64) -> String {
    let rest = format!("Host: {address}\r\nUser-Agent: clearway-demo\r\nConnection: close\r\n");
    if number % POST_EVERY == POST_EVERY - 1 {
        format!("POST /order HTTP/1.1\r\n{rest}Content-Length: 8\r\n\r\none cake")
    } else {
        format!("GET / HTTP/1.1\r\n{rest}\r\n")
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let digits = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_in_eight_is_an_order() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let posts = (0..80)
            .filter(|&n| request(address, n).starts_with("POST /order "))
            .count();
        assert_eq!(posts, 10);
    }

    #[test]
    fn statuses_are_read_from_the_first_line_only() {
        assert_eq!(status(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n"), Some(504));
        assert_eq!(status(b"HTTP/1.1 x"), None);
        assert_eq!(status(b""), None);
    }
}
