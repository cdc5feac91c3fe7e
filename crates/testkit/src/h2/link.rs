//! One side of an HTTP/2 connection: frames in and out, header blocks put together and decoded.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{Frame, flag, kind};
use super::hpack::Decoder;
use crate::message::{End, Fields};
use crate::stream::Stream;
use crate::wait::now;

/// A stream of bytes that frames go over: a socket, or TLS over one.
pub trait Bytes: Read + Write + Send {
    /// Limits how long a single read or write may take.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    fn limit(&self, limit: Duration) -> io::Result<()>;

    /// Ends the sending direction.
    fn end(&mut self);

    /// Makes the coming close a reset, where there is such a thing.
    fn reset_on_close(&self) {}
}

/// A socket as [`Bytes`].
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) Arc<Stream>);

impl Read for Socket {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(to)
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self.0).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bytes for Socket {
    fn limit(&self, limit: Duration) -> io::Result<()> {
        self.0.set_timeout(limit)
    }

    fn end(&mut self) {
        self.0.shutdown(Shutdown::Write);
    }

    fn reset_on_close(&self) {
        self.0.reset_on_close();
    }
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The peer closed.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing came within the time.
    Silent,
    /// What came breaks the protocol; in words.
    Broken(String),
}

/// What a frame, or a header block over several, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A header block: a head, or trailers.
    Headers {
        /// Its stream.
        stream: u32,
        /// Its fields, pseudo-header fields among them.
        fields: Fields,
        /// END_STREAM.
        end: bool,
    },
    /// DATA.
    Data {
        /// Its stream.
        stream: u32,
        /// The data without padding.
        bytes: Vec<u8>,
        /// How much of the windows it takes: the padding counts.
        taken: usize,
        /// END_STREAM.
        end: bool,
    },
    /// RST_STREAM.
    Reset {
        /// Its stream.
        stream: u32,
        /// Why.
        code: u32,
    },
    /// SETTINGS.
    Settings(Vec<(u16, u32)>),
    /// SETTINGS with ACK.
    SettingsAck,
    /// PING.
    Ping([u8; 8]),
    /// PING with ACK.
    Pong([u8; 8]),
    /// GOAWAY.
    GoAway {
        /// Highest stream that may have been worked on.
        last: u32,
        /// Why.
        code: u32,
        /// Words for people.
        debug: String,
    },
    /// WINDOW_UPDATE.
    Window {
        /// Its stream; 0 is the connection.
        stream: u32,
        /// What is added.
        increment: u32,
    },
    /// Anything else.
    Other(Frame),
}

/// A header block that is not complete yet.
#[derive(Debug)]
struct Part {
    stream: u32,
    end: bool,
    block: Vec<u8>,
}

/// Frames over a stream of bytes.
pub struct Link {
    bytes: Box<dyn Bytes>,
    buffer: Vec<u8>,
    start: usize,
    part: Option<Part>,
    /// The table of header blocks that come.
    pub decoder: Decoder,
    /// The largest payload that may come.
    pub largest: usize,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// A link over any stream of bytes.
    #[must_use]
    pub fn over(bytes: Box<dyn Bytes>) -> Self {
        Self {
            bytes,
            buffer: Vec::new(),
            start: 0,
            part: None,
            decoder: Decoder::default(),
            largest: 16_384,
        }
    }

    /// Writes bytes; false when the peer does not take them.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.bytes.write_all(bytes).is_ok() && self.bytes.flush().is_ok()
    }

    /// Writes a frame; false when the peer does not take it.
    pub fn send(&mut self, frame: &Frame) -> bool {
        self.raw(&frame.bytes())
    }

    /// Limits how long a single write may take.
    pub fn limit(&self, limit: Duration) {
        drop(self.bytes.limit(limit));
    }

    /// Ends the sending direction.
    pub fn end(&mut self) {
        self.bytes.end();
    }

    /// Makes the coming close a reset.
    pub fn reset_on_close(&self) {
        self.bytes.reset_on_close();
    }

    /// The next frame.
    ///
    /// # Errors
    /// Why there is none.
    pub fn frame(&mut self, limit: Duration) -> Result<Frame, Stop> {
        let end = now() + limit;
        loop {
            let pending = self.buffer.get(self.start..).unwrap_or_default();
            if let Some((frame, length)) = Frame::parse(pending) {
                self.start += length;
                if frame.payload.len() > self.largest {
                    return Err(Stop::Broken(format!("{frame:?} is too large")));
                }
                return Ok(frame);
            }
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                return Err(Stop::Silent);
            }
            self.fill(left)?;
        }
    }

    /// Takes some bytes; what the connection starts with is not a frame.
    ///
    /// # Errors
    /// Why there are none.
    pub fn exact(&mut self, count: usize, limit: Duration) -> Result<Vec<u8>, Stop> {
        loop {
            let pending = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(taken) = pending.get(..count) {
                let taken = taken.to_vec();
                self.start += count;
                return Ok(taken);
            }
            self.fill(limit)?;
        }
    }

    fn fill(&mut self, limit: Duration) -> Result<(), Stop> {
        self.buffer.drain(..self.start);
        self.start = 0;
        // Zero would mean no limit at all.
        drop(self.bytes.limit(limit.max(Duration::from_millis(1))));
        let mut chunk = [0; 32 * 1024];
        match self.bytes.read(&mut chunk) {
            Ok(0) => Err(Stop::Closed),
            Ok(count) => {
                let came = chunk.get(..count).unwrap_or_default();
                self.buffer.extend_from_slice(came);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(match End::of(&error) {
                End::TimedOut => Stop::Silent,
                End::Reset => Stop::Reset,
                // TLS that ends without a word of its own ends like this.
                End::Truncated => Stop::Closed,
                End::Complete | End::UntilClose | End::Malformed(_) => {
                    Stop::Broken(error.to_string())
                }
            }),
        }
    }

    /// The next message, which is what a frame says or a header block over several.
    ///
    /// # Errors
    /// Why there is none.
    pub fn message(&mut self, limit: Duration) -> Result<Message, Stop> {
        loop {
            let frame = self.frame(limit)?;
            if let Some(message) = self.understand(frame).map_err(Stop::Broken)? {
                return Ok(message);
            }
        }
    }

    fn understand(&mut self, frame: Frame) -> Result<Option<Message>, String> {
        if self.part.is_some() && frame.kind != kind::CONTINUATION {
            return Err(format!("{frame:?} inside a header block"));
        }
        let content = frame
            .content()
            .ok_or_else(|| format!("{frame:?}: no content"))?;
        let (stream, end) = (frame.stream, frame.has(flag::END_STREAM));
        Ok(Some(match frame.kind {
            kind::HEADERS => {
                let block = content.to_vec();
                self.part = Some(Part { stream, end, block });
                return self.complete(&frame);
            }
            kind::CONTINUATION => {
                let part = self.part.as_mut().filter(|part| part.stream == stream);
                let part = part.ok_or("CONTINUATION of nothing")?;
                part.block.extend_from_slice(content);
                return self.complete(&frame);
            }
            kind::DATA => Message::Data {
                stream,
                bytes: content.to_vec(),
                taken: frame.payload.len(),
                end,
            },
            kind::RST_STREAM => Message::Reset {
                stream,
                code: frame.number(0),
            },
            kind::SETTINGS if frame.has(flag::ACK) => Message::SettingsAck,
            kind::SETTINGS => Message::Settings(settings(&frame)?),
            kind::PING => {
                let opaque = <[u8; 8]>::try_from(content).map_err(|_| "a PING of another size")?;
                if frame.has(flag::ACK) {
                    Message::Pong(opaque)
                } else {
                    Message::Ping(opaque)
                }
            }
            kind::GOAWAY => Message::GoAway {
                last: frame.number(0),
                code: frame.number(4),
                debug: String::from_utf8_lossy(content.get(8..).unwrap_or_default()).into_owned(),
            },
            kind::WINDOW_UPDATE => Message::Window {
                stream,
                increment: frame.number(0),
            },
            _ => Message::Other(frame),
        }))
    }

    fn complete(&mut self, frame: &Frame) -> Result<Option<Message>, String> {
        if !frame.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let Some(part) = self.part.take() else {
            return Ok(None);
        };
        let fields = self.decoder.decode(&part.block)?;
        Ok(Some(Message::Headers {
            stream: part.stream,
            fields: Fields(fields),
            end: part.end,
        }))
    }
}

fn settings(frame: &Frame) -> Result<Vec<(u16, u32)>, String> {
    let entries = frame.payload.chunks(6);
    entries
        .map(|entry| match entry {
            [a, b, c, d, e, f] => Ok((
                u16::from_be_bytes([*a, *b]),
                u32::from_be_bytes([*c, *d, *e, *f]),
            )),
            _ => Err("SETTINGS of a wrong size".to_owned()),
        })
        .collect()
}
