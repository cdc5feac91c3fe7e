//! Reading HTTP/1 messages from a stream, naively but completely, as an oracle for what the
//! balancer wrote.

use std::io::{self, ErrorKind, Read};

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Where its framing said.
    Complete,
    /// With the end of the stream, which is how a body without framing ends.
    UntilClose,
    /// The stream ended before the framing said so.
    Truncated,
    /// The connection was reset.
    Reset,
    /// Nothing came any more.
    TimedOut,
    /// The framing is broken; in words.
    Malformed(String),
}

impl End {
    pub(crate) fn of(error: &io::Error) -> Self {
        let kind = error.kind();
        if kind == ErrorKind::UnexpectedEof {
            Self::Truncated
        } else if matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            Self::TimedOut
        } else if matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) {
            Self::Reset
        } else {
            Self::Malformed(error.to_string())
        }
    }
}

/// Header fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The only value of a field; `None` when it is absent.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} stands {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// All values of a field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// Whether a field is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether one of a field's comma-separated members is `token`.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .iter()
            .flat_map(|v| v.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        Self(
            lines
                .map(|line| {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    (name.to_owned(), value.trim().to_owned())
                })
                .collect(),
        )
    }
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Target as it stood in the request line.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// Header fields.
    pub headers: Fields,
    /// The head as received, including the empty line.
    pub head: Vec<u8>,
    /// The body without framing.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
    /// How the body ended.
    pub end: End,
    /// Which connection of the server it came on, from 0.
    pub connection: usize,
}

impl Request {
    /// The head as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The only value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Whether the body is chunked.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        self.headers.lists("transfer-encoding", "chunked")
    }

    /// The announced length.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.headers
            .get("content-length")
            .map(|v| v.parse().expect("a length"))
    }
}

/// A response as a client saw it.
#[derive(Clone, Debug)]
pub struct Response {
    /// `HTTP/1.1`.
    pub version: String,
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Header fields.
    pub headers: Fields,
    /// The head as received, including the empty line.
    pub head: Vec<u8>,
    /// The body without framing.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
    /// How the body ended.
    pub end: End,
}

impl Response {
    /// The only value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the connection ends after this response.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.headers.lists("connection", "close")
            || (self.version == "HTTP/1.0" && !self.headers.lists("connection", "keep-alive"))
    }

    /// The request id of a reply that the balancer made.
    ///
    /// # Panics
    /// When there is none or it is not made of 13 characters.
    #[must_use]
    pub fn id(&self) -> String {
        let id = self
            .header("x-request-id")
            .unwrap_or_else(|| panic!("no X-Request-Id in {:?}", self.headers));
        assert_eq!(id.len(), 13, "X-Request-Id {id:?}");
        id.to_owned()
    }

    /// The RFC 9209 error type of the reply, if it has one.
    #[must_use]
    pub fn proxy_error(&self) -> Option<String> {
        let value = self.header("proxy-status")?;
        value.split(';').find_map(|part| {
            let (name, value) = part.trim().split_once('=')?;
            (name == "error").then(|| value.trim_matches('"').to_owned())
        })
    }
}

/// A reader with a buffer that knows HTTP/1 framing.
#[derive(Debug)]
pub struct Wire<S> {
    /// What is read from.
    pub stream: S,
    buffer: Vec<u8>,
    start: usize,
}

/// A body and what was noted while reading it.
#[derive(Debug)]
pub struct Body {
    /// The bytes without framing.
    pub bytes: Vec<u8>,
    /// Trailer fields.
    pub trailers: Fields,
    /// How it ended.
    pub end: End,
}

impl Body {
    fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            trailers: Fields::default(),
            end: End::Complete,
        }
    }
}

impl<S: Read> Wire<S> {
    /// A wire over a stream.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Bytes that were read and not yet taken.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads once; the number of bytes, 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let mut chunk = [0_u8; 16384];
        let count = loop {
            match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer
            .extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends before; else those of the stream.
    pub fn exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        self.exact_into(count, &mut out)?;
        Ok(out)
    }

    fn exact_into(&mut self, count: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            if self.pending().is_empty() && self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let take = left.min(self.pending().len());
            out.extend_from_slice(self.pending().get(..take).unwrap_or_default());
            self.start += take;
            left -= take;
        }
        Ok(())
    }

    /// Takes everything up to and including `mark`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends before; else those of the stream.
    pub fn through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let mut seen = 0_usize;
        loop {
            let from = seen.saturating_sub(mark.len());
            let found = self
                .pending()
                .get(from..)
                .unwrap_or_default()
                .windows(mark.len())
                .position(|w| w == mark);
            if let Some(at) = found {
                return self.exact(from + at + mark.len());
            }
            seen = self.pending().len();
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes all there is until the stream ends, and says how it ended.
    pub fn to_end(&mut self) -> (Vec<u8>, End) {
        let mut out = Vec::new();
        loop {
            out.extend_from_slice(self.pending());
            self.start = self.buffer.len();
            match self.fill() {
                Ok(0) => return (out, End::UntilClose),
                Ok(_) => {}
                Err(error) => return (out, End::of(&error)),
            }
        }
    }

    /// Takes a head, that is everything through the empty line; `None` at a clean end.
    ///
    /// # Errors
    /// `UnexpectedEof` in the middle of a head; else those of the stream.
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.pending().is_empty() && self.fill()? == 0 {
            return Ok(None);
        }
        self.through(b"\r\n\r\n").map(Some)
    }

    /// Takes a body of a known length.
    pub fn sized(&mut self, length: usize) -> Body {
        let mut body = Body::empty();
        if let Err(error) = self.exact_into(length, &mut body.bytes) {
            body.end = End::of(&error);
        }
        body
    }

    /// Takes a chunked body.
    pub fn chunked(&mut self) -> Body {
        let mut body = Body::empty();
        if let Err(error) = self.chunks(&mut body) {
            body.end = End::of(&error);
        }
        body
    }

    fn chunks(&mut self, body: &mut Body) -> io::Result<()> {
        loop {
            let line = self.through(b"\r\n")?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let digits = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16)
                .map_err(|_| io::Error::other(format!("chunk size {line:?}")))?;
            if size == 0 {
                return self.trailers(body);
            }
            self.exact_into(size, &mut body.bytes)?;
            let end = self.exact(2)?;
            if end != b"\r\n" {
                return Err(io::Error::other("a chunk does not end with CRLF"));
            }
        }
    }

    fn trailers(&mut self, body: &mut Body) -> io::Result<()> {
        let mut lines = Vec::new();
        loop {
            let line = self.through(b"\r\n")?;
            if line == b"\r\n" {
                break;
            }
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        body.trailers = Fields::parse(lines.iter().map(String::as_str));
        Ok(())
    }

    /// Takes a request head and leaves its body; `None` at a clean end.
    ///
    /// # Errors
    /// Those of [`Wire::head`].
    pub fn request_head(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let (line, headers) = split(&head);
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        let mut request = Request {
            method: parts.next().unwrap_or_default(),
            target: parts.next().unwrap_or_default(),
            version: parts.next().unwrap_or_default(),
            headers,
            head,
            body: Vec::new(),
            trailers: Fields::default(),
            end: End::Complete,
            connection: 0,
        };
        if request.is_chunked() || request.length().unwrap_or(0) > 0 {
            // Until its body was read.
            request.end = End::Truncated;
        }
        Ok(Some(request))
    }

    /// Takes the body that a request head announced.
    pub fn request_body(&mut self, request: &mut Request) {
        let body = if request.is_chunked() {
            self.chunked()
        } else {
            self.sized(request.length().unwrap_or(0))
        };
        request.body = body.bytes;
        request.trailers = body.trailers;
        request.end = body.end;
    }

    /// Takes a response head and leaves its body; `None` at a clean end.
    ///
    /// # Errors
    /// Those of [`Wire::head`].
    pub fn response_head(&mut self) -> io::Result<Option<Response>> {
        let Some(head) = self.head()? else {
            return Ok(None);
        };
        let (line, headers) = split(&head);
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        let version = parts.next().unwrap_or_default();
        let status = parts
            .next()
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| io::Error::other(format!("status line {line:?}")))?;
        Ok(Some(Response {
            version,
            status,
            reason: parts.next().unwrap_or_default(),
            headers,
            head,
            body: Vec::new(),
            trailers: Fields::default(),
            end: End::Complete,
        }))
    }

    /// Takes the body of a response to a request with `method` (RFC 9112 section 6.3).
    pub fn response_body(&mut self, method: &str, response: &mut Response) {
        let bodiless =
            method == "HEAD" || response.status < 200 || matches!(response.status, 204 | 304);
        let body = if bodiless {
            Body::empty()
        } else if response.headers.lists("transfer-encoding", "chunked") {
            self.chunked()
        } else if let Some(length) = response.headers.get("content-length") {
            self.sized(length.parse().expect("a length"))
        } else {
            let (bytes, end) = self.to_end();
            Body {
                bytes,
                end,
                ..Body::empty()
            }
        };
        response.body = body.bytes;
        response.trailers = body.trailers;
        response.end = body.end;
    }
}

fn split(head: &[u8]) -> (String, Fields) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end().split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    (line, Fields::parse(lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_bodies_with_trailers_are_read() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: 9\r\n\r\nnext";
        let mut wire = Wire::new(&bytes[..]);
        let mut response = wire.response_head().unwrap().unwrap();
        wire.response_body("GET", &mut response);
        assert_eq!(response.body, b"abcd");
        assert_eq!(response.end, End::Complete);
        assert_eq!(response.trailers.get("x-sum"), Some("9"));
        assert_eq!(wire.exact(4).unwrap(), b"next");
    }

    #[test]
    fn a_short_body_is_truncated_and_a_bad_chunk_malformed() {
        let mut wire = Wire::new(&b"abc"[..]);
        assert_eq!(wire.sized(4).end, End::Truncated);
        let mut wire = Wire::new(&b"xyz\r\nabc"[..]);
        assert!(matches!(wire.chunked().end, End::Malformed(_)));
    }

    #[test]
    fn requests_are_read_one_after_another() {
        let bytes = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut wire = Wire::new(&bytes[..]);
        let mut first = wire.request_head().unwrap().unwrap();
        wire.request_body(&mut first);
        assert_eq!(
            (first.method.as_str(), &first.body[..]),
            ("POST", &b"hi"[..])
        );
        assert_eq!(wire.request_head().unwrap().unwrap().target, "/b");
        assert!(wire.request_head().unwrap().is_none());
    }
}
