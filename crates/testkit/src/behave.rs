//! Ready-made scripts for [`crate::Server::script`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::server::Conn;
use crate::wait::Gate;

/// What scripts are.
pub trait Script: Fn(Conn) + Send + Sync + 'static {}
impl<F: Fn(Conn) + Send + Sync + 'static> Script for F {}

/// A response with a body and its length.
#[must_use]
pub fn response(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}",
        body.len()
    )
}

/// Answers every request on every connection with these bytes and keeps the connection.
pub fn answer(bytes: impl Into<Vec<u8>>) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        while conn.request().is_some() {
            if !conn.send(&bytes) {
                return;
            }
        }
    }
}

/// 200 with a body.
pub fn ok(body: &str) -> impl Script + use<> {
    answer(response(200, body))
}

/// A status with a short body.
pub fn status(status: u16) -> impl Script {
    answer(response(status, "scripted"))
}

/// Answers one request per connection with these bytes and closes.
pub fn answer_and_close(bytes: impl Into<Vec<u8>>) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        if conn.request().is_some() {
            conn.send(&bytes);
        }
    }
}

/// Answers one request per connection with these bytes and resets.
pub fn answer_and_reset(bytes: impl Into<Vec<u8>>) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        if conn.request().is_some() {
            conn.send(&bytes);
        }
        conn.reset();
    }
}

/// Answers with these bytes and then does nothing until the peer goes.
pub fn answer_and_stall(bytes: impl Into<Vec<u8>>) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        if conn.request().is_some() {
            conn.send(&bytes);
            conn.drain();
        }
    }
}

/// Answers `count` requests per connection with 200 and closes when the next one comes.
pub fn close_after(count: usize) -> impl Script {
    move |mut conn| {
        for _ in 0..count {
            if conn.request().is_none() || !conn.send(response(200, "kept")) {
                return;
            }
        }
        conn.request_head();
    }
}

/// Answers `count` requests per connection with 200 and resets when the next one comes.
pub fn reset_after(count: usize) -> impl Script {
    move |mut conn| {
        for _ in 0..count {
            if conn.request().is_none() || !conn.send(response(200, "kept")) {
                return;
            }
        }
        conn.request_head();
        conn.reset();
    }
}

/// Reads a request and closes without a byte.
pub fn close_after_request() -> impl Script {
    |mut conn: Conn| {
        conn.request();
    }
}

/// Reads a request and resets without a byte.
pub fn reset_after_request() -> impl Script {
    |mut conn: Conn| {
        conn.request();
        conn.reset();
    }
}

/// Resets at once after accepting.
pub fn reset_on_accept() -> impl Script {
    |conn: Conn| conn.reset()
}

/// Closes at once after accepting.
pub fn close_on_accept() -> impl Script {
    |conn: Conn| drop(conn)
}

/// Reads whatever comes and never answers.
pub fn never_answer() -> impl Script {
    |mut conn: Conn| {
        conn.request();
        conn.drain();
    }
}

/// Accepts and neither reads nor answers.
pub fn never_read() -> impl Script {
    |conn: Conn| conn.hold()
}

/// Says something at once without being asked, as SSH servers do, and waits.
pub fn banner(bytes: impl Into<Vec<u8>>) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        conn.send(&bytes);
        conn.drain();
    }
}

/// Answers every request with the head that was received, byte by byte, as its body, followed by
/// the request's body.
pub fn echo() -> impl Script {
    |mut conn: Conn| {
        while let Some(request) = conn.request() {
            let mut body = request.head.clone();
            body.extend_from_slice(&request.body);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            if !conn.send(head) || !conn.send(&body) {
                return;
            }
        }
    }
}

/// Answers every request with a 200 whose body is the request's body.
pub fn echo_body() -> impl Script {
    |mut conn: Conn| {
        while let Some(request) = conn.request() {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                request.body.len()
            );
            if !conn.send(head) || !conn.send(&request.body) {
                return;
            }
        }
    }
}

/// Waits for the gate before each answer.
pub fn gated(gate: &Gate, body: &str) -> impl Script + use<> {
    let (gate, bytes) = (gate.clone(), response(200, body));
    move |mut conn| {
        while conn.request().is_some() {
            gate.wait();
            if !conn.send(&bytes) {
                return;
            }
        }
    }
}

/// Sends the response one byte at a time.
pub fn drip(bytes: impl Into<Vec<u8>>, pause: Duration) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        while conn.request().is_some() {
            if !conn.drip(&bytes, pause) {
                return;
            }
        }
    }
}

/// Answers as soon as the head is there, without reading the body, and closes.
pub fn answer_early(bytes: impl Into<Vec<u8>>) -> impl Script {
    let bytes = bytes.into();
    move |mut conn| {
        if conn.request_head().is_some() {
            conn.send(&bytes);
            conn.note("answered early");
            conn.half_close();
            conn.drain();
        }
    }
}

/// Sends `100 Continue` when asked for, reads the body and answers 200 with the body's length.
pub fn continue_then_ok() -> impl Script {
    |mut conn: Conn| {
        while let Some(mut request) = conn.request_head() {
            if request.headers.lists("expect", "100-continue") {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            conn.request_body(&mut request);
            if !conn.send(response(200, &request.body.len().to_string())) {
                return;
            }
        }
    }
}

/// Switches protocols when asked to and then echoes bytes until the client's end, which it answers
/// with its own.
pub fn upgrade_echo(protocol: &str) -> impl Script + use<> {
    let protocol = protocol.to_owned();
    move |mut conn| {
        let Some(request) = conn.request_head() else {
            return;
        };
        if !request.headers.lists("upgrade", &protocol) {
            conn.send(response(426, "upgrade"));
            return;
        }
        // The answer to the key of RFC 6455, which is the one that clients of ours send.
        let is_known = request.header("sec-websocket-key") == Some("dGhlIHNhbXBsZSBub25jZQ==");
        let accept = if is_known {
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        } else {
            ""
        };
        conn.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{accept}\r\n"
        ));
        echo_bytes(conn);
    }
}

/// Echoes bytes until the peer ends its side, then ends its own.
pub fn echo_raw() -> impl Script {
    echo_bytes
}

fn echo_bytes(mut conn: Conn) {
    loop {
        let some = conn.take_some();
        if some.is_empty() || !conn.send(&some) {
            return;
        }
    }
}

/// Records every byte until the peer ends its side, then says `reply` and closes.
pub fn capture(reply: &str) -> impl Script + use<> {
    let reply = reply.to_owned();
    move |mut conn| {
        conn.drain();
        conn.send(&reply);
    }
}

/// Takes a PROXY header of version 1 (a line), records it, then serves `ok` requests.
pub fn proxy_v1_then_ok(body: &str) -> impl Script + use<> {
    let rest = ok(body);
    move |mut conn| {
        if let Some(line) = conn.take_through(b"\r\n") {
            conn.record(&line);
            rest(conn);
        }
    }
}

/// Takes a PROXY header of version 2 (binary), records it, then serves `ok` requests.
pub fn proxy_v2_then_ok(body: &str) -> impl Script + use<> {
    let rest = ok(body);
    move |mut conn| {
        let Some(mut head) = conn.take(16) else {
            return;
        };
        let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
        let Some(more) = conn.take(length) else {
            return;
        };
        head.extend_from_slice(&more);
        conn.record(&head);
        rest(conn);
    }
}

/// A TLS alert (unexpected message), as a TLS port answers plain HTTP.
pub const TLS_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x0a];

/// An HTTP/2 SETTINGS frame, as an HTTP/2 port greets.
pub const HTTP2_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Bytes that do not repeat in a pattern a wrong offset would hide.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// An address of 127.0.0.1 on which nothing listens.
///
/// The port is reserved by a socket that is bound and does not listen, so that nobody else gets it
/// while the guard lives.
///
/// # Panics
/// When no socket can be bound.
#[must_use]
pub fn closed_port() -> (String, impl Sized) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("bind");
    let address = socket
        .local_addr()
        .ok()
        .and_then(|a| a.as_socket())
        .expect("own address");
    (address.to_string(), socket)
}

/// An address of 127.0.0.1 for a program that can only be told where to listen, not asked.
///
/// A socket that is bound and does not listen keeps it from everybody who lets the kernel choose; it
/// has `SO_REUSEADDR`, so a program that sets that as well, as servers do, can listen there while the
/// guard lives.
///
/// # Panics
/// When no socket can be bound.
#[must_use]
pub fn reserved_port() -> (String, impl Sized) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    // After bind, so that the kernel chooses one that nobody has.
    socket.bind(&any.into()).expect("bind");
    socket.set_reuse_address(true).expect("reuse");
    let address = socket
        .local_addr()
        .ok()
        .and_then(|a| a.as_socket())
        .expect("own address");
    (address.to_string(), socket)
}

/// An address whose accept queue is full, so that connection attempts get no answer at all.
///
/// # Panics
/// When no socket can be opened or the queue does not fill up.
#[must_use]
pub fn full_backlog() -> (String, impl Sized) {
    full_tcp_backlog(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// As [`full_backlog`], on an address of one's own: of TCP, or `unix:/path`.
///
/// # Panics
/// When no socket can be opened or the queue does not fill up.
pub fn full_backlog_at(address: &str) -> impl Sized {
    match address.strip_prefix("unix:") {
        Some(path) => (Some(full_unix_backlog_at(path)), None),
        None => {
            let address = address.parse().expect("an address with a port");
            (None, Some(full_tcp_backlog(address)))
        }
    }
}

fn full_tcp_backlog(any: std::net::SocketAddr) -> (String, impl Sized) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("reuse");
    socket.bind(&any.into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("own address");
    let text = address.as_socket().expect("an IP address").to_string();
    let mut held = Vec::new();
    for _ in 0..16 {
        let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        if filler
            .connect_timeout(&address, Duration::from_millis(200))
            .is_err()
        {
            return (text, (socket, held));
        }
        held.push(filler);
    }
    panic!("the accept queue does not fill up");
}

/// A Unix socket whose accept queue is full.
///
/// # Panics
/// When no socket can be opened or the queue does not fill up.
#[must_use]
pub fn full_unix_backlog() -> (String, impl Sized) {
    let folder = crate::temp::TempDir::new();
    let path = folder.file("full.sock");
    let held = full_unix_backlog_at(&path);
    (format!("unix:{path}"), (held, folder))
}

fn full_unix_backlog_at(path: &str) -> impl Sized + use<> {
    let address = socket2::SockAddr::unix(path).expect("a short path");
    let unix = || {
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket")
    };
    let socket = unix();
    socket.bind(&address).expect("bind");
    socket.listen(0).expect("listen");
    let mut held = Vec::new();
    for _ in 0..16 {
        let filler = unix();
        filler.set_nonblocking(true).expect("non-blocking");
        if filler.connect(&address).is_err() {
            return (socket, held);
        }
        held.push(filler);
    }
    panic!("the accept queue does not fill up");
}

/// Answers with a status that can be changed while the server runs, and with `body`.
pub fn status_of(status: &Arc<AtomicU16>, body: &str) -> impl Script + use<> {
    let (status, body) = (Arc::clone(status), body.to_owned());
    move |mut conn| {
        while conn.request().is_some() {
            if !conn.send(response(status.load(Ordering::SeqCst), &body)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::server::Server;
    use crate::stream::Stream;

    #[test]
    fn a_closed_port_refuses() {
        let (address, _guard) = closed_port();
        let error = Stream::connect(&address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_reserved_port_can_be_listened_on() {
        let (address, _guard) = reserved_port();
        let server = Server::script_at(&address, ok("here"));
        assert_eq!(Client::connect(server.address()).get("/").text(), "here");
    }

    #[test]
    fn a_full_backlog_does_not_answer() {
        let (address, _guard) = full_backlog();
        let address: std::net::SocketAddr = address.parse().unwrap();
        let error =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_full_unix_backlog_does_not_take_more() {
        let (address, _guard) = full_unix_backlog();
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let path = address.strip_prefix("unix:").unwrap();
        let error = socket
            .connect(&socket2::SockAddr::unix(path).unwrap())
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_upgraded_connection_echoes() {
        let server = Server::script(upgrade_echo("chat"));
        let mut client = Client::connect(server.address());
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
        assert_eq!(client.response_head().status, 101);
        client.send("ping");
        assert_eq!(client.take(4), b"ping");
        client.half_close();
        client.expect_closed();
    }

    #[test]
    fn proxy_headers_are_captured() {
        let server = Server::script(proxy_v1_then_ok("x"));
        let mut client = Client::connect(server.address());
        client.send("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n");
        assert_eq!(client.get("/").text(), "x");
        assert_eq!(server.bytes(), b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n");
    }
}
