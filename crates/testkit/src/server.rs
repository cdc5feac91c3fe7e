//! Servers that follow a script, byte by byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::message::{End, Request, Wire};
use crate::stream::Stream;
use crate::temp::TempDir;
use crate::tls::Agreed;
use crate::wait::{LIMIT, Watched};

#[derive(Debug, Default)]
struct Log {
    stopped: bool,
    connections: usize,
    ended: usize,
    requests: Vec<Request>,
    notes: Vec<String>,
    bytes: Vec<u8>,
    failed: Option<String>,
    open: BTreeMap<usize, Weak<Stream>>,
}

enum Listening {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "keeps the folder")] Option<TempDir>,
    ),
}

impl Listening {
    fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(l) => l.accept().map(|(s, _)| Stream::Tcp(s)),
            Self::Unix(l, _) => l.accept().map(|(s, _)| Stream::Unix(s)),
        }
    }
}

/// A server whose connections each run a script on a thread of their own.
///
/// Dropping it closes the listening socket and all its connections, and fails the test when a
/// script panicked.
#[derive(Debug)]
pub struct Server {
    address: String,
    log: Arc<Watched<Log>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server on an ephemeral port of 127.0.0.1.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    pub fn script(script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::script_at("127.0.0.1:0", script)
    }

    /// A server on a given address; for servers that come back where another was.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    pub fn script_at(bind: &str, script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        Self::script_wrapped(bind, |socket| socket, script)
    }

    /// As [`Server::script`], with something around each connection's socket.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    pub(crate) fn script_wrapped(
        bind: &str,
        wrap: impl Fn(Stream) -> Stream + Send + 'static,
        script: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Self {
        let failed = |error| panic!("cannot listen on {bind}: {error}");
        if let Some(path) = bind.strip_prefix("unix:") {
            let listener = UnixListener::bind(path).unwrap_or_else(failed);
            return Self::run(
                bind.to_owned(),
                Listening::Unix(listener, None),
                wrap,
                script,
            );
        }
        // std sets SO_REUSEADDR, so a port with old connections in TIME_WAIT can be taken again.
        let failed = |error| panic!("cannot listen on {bind}: {error}");
        let listener = TcpListener::bind(bind).unwrap_or_else(failed);
        let address = listener.local_addr().expect("own address").to_string();
        Self::run(address, Listening::Tcp(listener), wrap, script)
    }

    /// A server on a Unix socket in a folder of its own.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    pub fn script_unix(script: impl Fn(Conn) + Send + Sync + 'static) -> Self {
        let folder = TempDir::new();
        let path = folder.file("server.sock");
        let listener = UnixListener::bind(&path).expect("a Unix socket");
        Self::run(
            format!("unix:{path}"),
            Listening::Unix(listener, Some(folder)),
            |socket| socket,
            script,
        )
    }

    fn run(
        address: String,
        listening: Listening,
        wrap: impl Fn(Stream) -> Stream + Send + 'static,
        script: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Self {
        let log = Arc::new(Watched::new(Log::default()));
        let accept_log = Arc::clone(&log);
        let script = Arc::new(script);
        let thread = std::thread::spawn(move || {
            loop {
                let stream = match listening.accept() {
                    Ok(stream) => stream,
                    // Out of files: like other servers, ask again until one is free.
                    Err(error) if matches!(error.raw_os_error(), Some(23 | 24)) => {
                        crate::wait::elapse(Duration::from_millis(50));
                        continue;
                    }
                    Err(_) => return,
                };
                if accept_log.read(|l| l.stopped) {
                    return;
                }
                if stream.prepare().is_err() {
                    continue;
                }
                let stream = Arc::new(wrap(stream));
                let number = accept_log.change(|l| {
                    let number = l.connections;
                    l.connections += 1;
                    l.open.insert(number, Arc::downgrade(&stream));
                    number
                });
                let conn = Conn {
                    wire: Wire::new(Shared(stream)),
                    log: Arc::clone(&accept_log),
                    number,
                };
                let script = Arc::clone(&script);
                let log = Arc::clone(&accept_log);
                std::thread::spawn(move || serve(&*script, conn, &log, number));
            }
        });
        Self {
            address,
            log,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:1234` or `unix:/path`, as a configuration takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.log.read(|l| l.connections)
    }

    /// Connections whose script still runs.
    #[must_use]
    pub fn open(&self) -> usize {
        self.log.read(|l| l.connections - l.ended)
    }

    /// Requests whose head was read so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.log.read(|l| l.requests.len())
    }

    /// The requests read so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Request> {
        self.log.read(|l| l.requests.clone())
    }

    /// The only request read so far.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn only(&self) -> Request {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "requests at the server: {seen:#?}");
        seen.into_iter().next().expect("one")
    }

    /// Every byte that scripts took with [`Conn::drain`] or [`Conn::record`].
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.log.read(|l| l.bytes.clone())
    }

    /// Waits until at least `count` connections came.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_connections(&self, count: usize) {
        self.wait("connections", |l| (l.connections >= count).then_some(()));
    }

    /// Waits until at least `count` connections are over.
    ///
    /// # Panics
    /// When they are not.
    pub fn wait_ended(&self, count: usize) {
        self.wait("ends of connections", |l| (l.ended >= count).then_some(()));
    }

    /// Waits until the heads of at least `count` requests came.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_requests(&self, count: usize) -> Vec<Request> {
        self.wait("requests", |l| {
            (l.requests.len() >= count).then(|| l.requests.clone())
        })
    }

    /// Waits until a script notes `note` (see [`Conn::note`]).
    ///
    /// # Panics
    /// When none does.
    pub fn wait_note(&self, note: &str) {
        self.wait(note, |l| l.notes.iter().any(|n| n == note).then_some(()));
    }

    /// What scripts noted.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.log.read(|l| l.notes.clone())
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut Log) -> Option<T>) -> T {
        let mut state = String::new();
        self.log
            .wait(LIMIT, |l| {
                state = format!(
                    "connections {}, ended {}, requests {}, notes {:?}",
                    l.connections,
                    l.ended,
                    l.requests.len(),
                    l.notes
                );
                look(l)
            })
            .unwrap_or_else(|| panic!("server {}: waited for {what}: {state}", self.address))
    }

    /// Stops listening and closes all connections; later connections are refused.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let open = self.log.change(|l| {
            l.stopped = true;
            std::mem::take(&mut l.open)
        });
        for stream in open.values().filter_map(Weak::upgrade) {
            stream.shutdown(Shutdown::Both);
        }
        // The accepting thread sees `stopped` at its next connection, which is this one.
        drop(Stream::connect(&self.address));
        drop(thread.join());
    }
}

fn serve(script: &(impl Fn(Conn) + ?Sized), conn: Conn, log: &Watched<Log>, number: usize) {
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| script(conn)));
    log.change(|l| {
        l.open.remove(&number);
        l.ended += 1;
        if let Err(panic) = result {
            let words = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()))
                .unwrap_or_default();
            l.failed = Some(words);
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            return;
        }
        if let Some(words) = self.log.read(|l| l.failed.clone()) {
            panic!("a script of server {} panicked: {words}", self.address);
        }
    }
}

#[derive(Debug)]
struct Shared(Arc<Stream>);

impl std::io::Read for Shared {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        (&*self.0).read(to)
    }
}

/// A connection from the server's point of view.
///
/// Methods that read return `None`, and those that write `false`, when the peer is gone: that is
/// often part of a test and never its failure.
#[derive(Debug)]
pub struct Conn {
    wire: Wire<Shared>,
    log: Arc<Watched<Log>>,
    /// Which connection of the server this is, from 0.
    pub number: usize,
}

impl Conn {
    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.wire.stream.0
    }

    /// Makes the TLS handshake, which the first read or write would make otherwise.
    ///
    /// # Errors
    /// Why it failed.
    ///
    /// # Panics
    /// When no TLS is spoken.
    pub fn handshake(&self) -> std::io::Result<Agreed> {
        let tls = self.stream().tls().expect("TLS");
        tls.handshake()?;
        Ok(tls.agreed())
    }

    /// Ends the connection without `close_notify`.
    pub fn cut(self) {
        if let Some(tls) = self.stream().tls() {
            tls.cut();
        }
    }

    /// Reads a whole request with its body.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.request_head()?;
        self.request_body(&mut request);
        Some(request)
    }

    /// Reads the head of a request.
    pub fn request_head(&mut self) -> Option<Request> {
        let mut request = self.wire.request_head().ok()??;
        request.connection = self.number;
        self.log.change(|l| l.requests.push(request.clone()));
        Some(request)
    }

    /// Reads the body that a head announced.
    pub fn request_body(&mut self, request: &mut Request) {
        self.wire.request_body(request);
        self.log_request(request);
    }

    /// The socket, for what reads it in its own way.
    pub(crate) fn shared(&self) -> Arc<Stream> {
        Arc::clone(&self.wire.stream.0)
    }

    /// Adds a request to those seen, or what became of it since its head was added.
    pub(crate) fn log_request(&self, request: &Request) {
        let same = |r: &&mut Request| r.connection == request.connection && r.head == request.head;
        self.log
            .change(|l| match l.requests.iter_mut().rev().find(same) {
                Some(known) => *known = request.clone(),
                None => l.requests.push(request.clone()),
            });
    }

    /// Writes bytes; false when the peer is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        (&*self.wire.stream.0).write_all(bytes.as_ref()).is_ok()
    }

    /// Writes one byte at a time, with a pause after each.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> bool {
        for byte in bytes.as_ref() {
            if !self.send([*byte]) {
                return false;
            }
            crate::wait::elapse(pause);
        }
        true
    }

    /// Takes exactly `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        self.wire.exact(count).ok()
    }

    /// Takes everything through `mark`.
    pub fn take_through(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        self.wire.through(mark).ok()
    }

    /// Takes whatever comes next, at least a byte; empty at the end of the stream.
    pub fn take_some(&mut self) -> Vec<u8> {
        if self.wire.pending().is_empty() && self.wire.fill().is_err() {
            return Vec::new();
        }
        let pending = self.wire.pending().len();
        self.wire.exact(pending).unwrap_or_default()
    }

    /// Reads and records everything until the peer ends its side; says how.
    pub fn drain(&mut self) -> End {
        let (bytes, end) = self.wire.to_end();
        self.record(&bytes);
        end
    }

    /// Adds bytes to what [`Server::bytes`] gives.
    pub fn record(&self, bytes: &[u8]) {
        self.log.change(|l| l.bytes.extend_from_slice(bytes));
    }

    /// Tells the test something (see [`Server::wait_note`]).
    pub fn note(&self, words: &str) {
        self.log.change(|l| l.notes.push(words.to_owned()));
    }

    /// Ends the sending direction.
    pub fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write);
    }

    /// Closes with a reset (RST).
    pub fn reset(self) {
        self.stream().reset_on_close();
    }

    /// Holds the connection without reading until the server stops.
    pub fn hold(self) {
        self.log
            .wait(Duration::from_secs(600), |l| l.stopped.then_some(()))
            .unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behave;
    use crate::client::Client;

    #[test]
    fn a_client_and_a_server_follow_their_scripts() {
        let server = Server::script(behave::ok("hello"));
        let mut client = Client::connect(server.address());
        for target in ["/1", "/2"] {
            let response = client.get(target);
            assert_eq!((response.status, response.text().as_str()), (200, "hello"));
        }
        assert_eq!(server.connections(), 1);
        let targets: Vec<String> = server.seen().into_iter().map(|r| r.target).collect();
        assert_eq!(targets, ["/1", "/2"]);
    }

    #[test]
    fn a_reset_is_a_reset() {
        let server = Server::script(behave::reset_after_request());
        let mut client = Client::connect(server.address());
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.read_to_end().1, End::Reset);
        server.wait_ended(1);
    }

    #[test]
    fn a_stopped_server_refuses() {
        let server = Server::script(behave::never_answer());
        let address = server.address().to_owned();
        let mut client = Client::connect(&address);
        server.wait_connections(1);
        server.stop();
        assert_eq!(client.read_to_end().1, End::UntilClose);
        assert!(Stream::connect(&address).is_err());
    }

    #[test]
    #[should_panic(expected = "a script of server")]
    fn a_panic_in_a_script_fails_the_test() {
        let server = Server::script(|_| panic!("as scripted"));
        let mut client = Client::connect(server.address());
        client.read_to_end();
        server.wait_ended(1);
    }

    #[test]
    fn unix_sockets_work_alike() {
        let server = Server::script_unix(behave::ok("unix"));
        assert_eq!(Client::connect(server.address()).get("/").text(), "unix");
    }
}
