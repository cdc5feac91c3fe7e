//! A client that sends and expects bytes.

use std::io::Write;
use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use crate::message::{End, Response, Wire};
use crate::stream::Stream;
use crate::tls::Agreed;

#[derive(Debug)]
struct Owned(Stream);

impl std::io::Read for Owned {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        (&self.0).read(to)
    }
}

/// A scripted client on one connection.
///
/// Methods panic when the peer does not do what they say; those that start with `try_` do not.
#[derive(Debug)]
pub struct Client {
    wire: Wire<Owned>,
    host: &'static str,
}

impl Client {
    /// Connects to `127.0.0.1:80` or `unix:/path`.
    ///
    /// # Panics
    /// When the connection is refused.
    #[must_use]
    pub fn connect(address: &str) -> Self {
        let stream = Stream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(stream)
    }

    /// Connects from a source address of one's own.
    ///
    /// # Panics
    /// When the connection is refused.
    #[must_use]
    pub fn connect_from(source: IpAddr, address: &str) -> Self {
        let stream = Stream::connect_from(Some(source), address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(stream)
    }

    /// A client over a stream that is already there.
    #[must_use]
    pub fn over(stream: Stream) -> Self {
        Self {
            wire: Wire::new(Owned(stream)),
            host: "test",
        }
    }

    /// Names another host in requests than `test`.
    #[must_use]
    pub fn to_host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.wire.stream.0
    }

    /// What was agreed on in the TLS handshake.
    ///
    /// # Panics
    /// When no TLS is spoken.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        self.stream().tls().expect("TLS").agreed()
    }

    /// Ends the connection without `close_notify`.
    pub fn cut(self) {
        if let Some(tls) = self.stream().tls() {
            tls.cut();
        }
    }

    /// Writes bytes.
    ///
    /// # Panics
    /// When the peer is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        (&self.wire.stream.0)
            .write_all(bytes.as_ref())
            .unwrap_or_else(|error| panic!("cannot send: {error}"));
        self
    }

    /// Writes bytes and says whether the peer still took them.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        (&self.wire.stream.0).write_all(bytes.as_ref()).is_ok()
    }

    /// Writes one byte at a time with a pause after each, as long as the peer takes them; the
    /// number of bytes sent.
    pub fn drip(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) -> usize {
        for (sent, byte) in bytes.as_ref().iter().enumerate() {
            if !self.try_send([*byte]) {
                return sent;
            }
            crate::wait::elapse(pause);
        }
        bytes.as_ref().len()
    }

    /// Ends the sending direction.
    pub fn half_close(&self) {
        self.stream().shutdown(Shutdown::Write);
    }

    /// Closes with a reset (RST).
    pub fn reset(self) {
        self.stream().reset_on_close();
    }

    /// Sends `GET target` and reads the response.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&mut self, target: &str) -> Response {
        let host = self.host;
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response("GET")
    }

    /// Sends a GET with more header lines (each ending in CRLF) and reads the response.
    ///
    /// # Panics
    /// When there is none.
    pub fn get_with(&mut self, target: &str, lines: &str) -> Response {
        let host = self.host;
        self.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
        ));
        self.response("GET")
    }

    /// Sends a POST with a body, in one piece, and reads the response.
    ///
    /// # Panics
    /// When there is none.
    pub fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Response {
        let length = body.as_ref().len();
        let host = self.host;
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        self.send([head.as_bytes(), body.as_ref()].concat());
        self.response("POST")
    }

    /// Reads a whole response to a request with `method`; 1xx ones are skipped.
    ///
    /// # Panics
    /// When there is none, or its head is not HTTP.
    pub fn response(&mut self, method: &str) -> Response {
        self.try_response(method)
            .unwrap_or_else(|end| panic!("no response: {end:?}, pending {:?}", self.pending_text()))
    }

    /// As [`Client::response`]; how the connection ended when there is none.
    ///
    /// # Errors
    /// The way in which the connection ended instead.
    pub fn try_response(&mut self, method: &str) -> Result<Response, End> {
        loop {
            let mut response = self.try_response_head()?;
            if (100..200).contains(&response.status) && response.status != 101 {
                continue;
            }
            self.wire.response_body(method, &mut response);
            return Ok(response);
        }
    }

    /// Reads a response head, also a 1xx one, and leaves what follows.
    ///
    /// # Panics
    /// When there is none.
    pub fn response_head(&mut self) -> Response {
        self.try_response_head()
            .unwrap_or_else(|end| panic!("no response: {end:?}, pending {:?}", self.pending_text()))
    }

    /// Reads the body that belongs to a head.
    pub fn response_body(&mut self, method: &str, response: &mut Response) {
        self.wire.response_body(method, response);
    }

    /// As [`Client::response_head`]; how the connection ended when there is none.
    ///
    /// # Errors
    /// The way in which the connection ended instead.
    pub fn try_response_head(&mut self) -> Result<Response, End> {
        match self.wire.response_head() {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(End::UntilClose),
            Err(error) => Err(End::of(&error)),
        }
    }

    fn pending_text(&self) -> String {
        String::from_utf8_lossy(self.wire.pending()).into_owned()
    }

    /// Takes exactly `count` bytes.
    ///
    /// # Panics
    /// When they do not come.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.wire
            .exact(count)
            .unwrap_or_else(|error| panic!("{count} bytes did not come: {error}"))
    }

    /// Takes exactly `count` bytes, or nothing when the connection ends before.
    pub fn try_take(&mut self, count: usize) -> Option<Vec<u8>> {
        self.wire.exact(count).ok()
    }

    /// Takes everything through `mark`.
    ///
    /// # Panics
    /// When it does not come.
    pub fn take_through(&mut self, mark: &[u8]) -> Vec<u8> {
        self.wire
            .through(mark)
            .unwrap_or_else(|error| panic!("{mark:?} did not come: {error}"))
    }

    /// Takes the line before a chunk, and says how long the chunk is.
    ///
    /// # Panics
    /// When no such line comes.
    pub fn take_chunk_size(&mut self) -> usize {
        let line = self.take_through(b"\r\n");
        let size = std::str::from_utf8(&line).expect("a chunk size").trim();
        usize::from_str_radix(size, 16).expect("a chunk size")
    }

    /// Reads everything until the connection ends, and says how it ended.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        self.wire.to_end()
    }

    /// Expects the end of the connection without another byte; a reset counts, because a peer
    /// that closes with unread bytes of ours sends one.
    ///
    /// # Panics
    /// When bytes come, or nothing does.
    pub fn expect_closed(&mut self) {
        let (bytes, end) = self.wire.to_end();
        assert!(
            bytes.is_empty() && matches!(end, End::UntilClose | End::Reset),
            "expected the end of the connection, got {end:?} after {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }

    /// Whether a byte or the end of the connection comes within a time.
    ///
    /// # Panics
    /// When the socket's time-out cannot be set.
    pub fn hears_within(&mut self, limit: Duration) -> bool {
        if !self.wire.pending().is_empty() {
            return true;
        }
        self.stream().set_timeout(limit).expect("a time-out");
        let heard = self.wire.fill().is_ok();
        self.stream()
            .set_timeout(crate::wait::LIMIT)
            .expect("a time-out");
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behave;
    use crate::server::Server;

    #[test]
    fn interim_responses_are_skipped_or_seen() {
        let server = Server::script(behave::answer(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ));
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/").status, 204);
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.response_head().status, 103);
        assert_eq!(client.response_head().status, 204);
    }

    #[test]
    fn truncation_is_seen() {
        let server = Server::script(behave::answer_and_close(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        ));
        let response = Client::connect(server.address()).get("/");
        assert_eq!(
            (response.end, &response.body[..]),
            (End::Truncated, &b"abc"[..])
        );
    }

    #[test]
    fn silence_is_heard() {
        let server = Server::script(behave::never_answer());
        let mut client = Client::connect(server.address());
        assert!(!client.hears_within(Duration::from_millis(20)));
    }
}
