//! Frames as bytes (RFC 9113 sections 4 and 6), wrong ones included.

use std::fmt;

/// What a client's connection begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 section 6).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames (RFC 9113 section 6).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Error codes (RFC 9113 section 7).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INTERNAL_ERROR: u32 = 2;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const SETTINGS_TIMEOUT: u32 = 4;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const CONNECT_ERROR: u32 = 10;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
    pub const INADEQUATE_SECURITY: u32 = 12;
    pub const HTTP_1_1_REQUIRED: u32 = 13;

    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];

    /// A code in words.
    #[must_use]
    pub fn name(code: u32) -> String {
        let known = usize::try_from(code).ok().and_then(|at| NAMES.get(at));
        known.map_or_else(
            || format!("error code {code:#x}"),
            |name| (*name).to_owned(),
        )
    }
}

/// Identifiers of settings (RFC 9113 section 6.5.2, RFC 8441 section 3).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// A frame to be written, or one that came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream identifier with the reserved bit before it.
    pub stream: u32,
    /// Everything after the nine bytes of the frame's header.
    pub payload: Vec<u8>,
    /// A length to write instead of the payload's.
    pub length: Option<usize>,
}

impl Frame {
    /// Any frame.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
            length: None,
        }
    }

    /// DATA; `end` sets END_STREAM.
    #[must_use]
    pub fn data(stream: u32, bytes: impl Into<Vec<u8>>, end: bool) -> Self {
        Self::new(kind::DATA, u8::from(end), stream, bytes)
    }

    /// HEADERS with a whole block (END_HEADERS); `end` sets END_STREAM.
    #[must_use]
    pub fn headers(stream: u32, block: impl Into<Vec<u8>>, end: bool) -> Self {
        let flags = flag::END_HEADERS | u8::from(end);
        Self::new(kind::HEADERS, flags, stream, block)
    }

    /// CONTINUATION; `end` sets END_HEADERS.
    #[must_use]
    pub fn continuation(stream: u32, block: impl Into<Vec<u8>>, end: bool) -> Self {
        let flags = if end { flag::END_HEADERS } else { 0 };
        Self::new(kind::CONTINUATION, flags, stream, block)
    }

    /// HEADERS and as many CONTINUATION frames as a block needs.
    #[must_use]
    pub fn header_frames(stream: u32, block: &[u8], end: bool, largest: usize) -> Vec<Self> {
        let (first, mut rest) = block.split_at(block.len().min(largest));
        let mut frames = vec![Self::headers(stream, first, end).without(flag::END_HEADERS)];
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(largest));
            frames.push(Self::continuation(stream, piece, false));
            rest = more;
        }
        if let Some(last) = frames.last_mut() {
            last.flags |= flag::END_HEADERS;
        }
        frames
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(stream: u32, on: u32, weight: u8) -> Self {
        Self::new(kind::PRIORITY, 0, stream, dependency(on, weight))
    }

    /// RST_STREAM.
    #[must_use]
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// SETTINGS.
    #[must_use]
    pub fn settings(values: &[(u16, u32)]) -> Self {
        let mut payload = Vec::new();
        for (id, value) in values {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        Self::new(kind::SETTINGS, 0, 0, payload)
    }

    /// SETTINGS with ACK.
    #[must_use]
    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, flag::ACK, 0, [])
    }

    /// PUSH_PROMISE with a whole block.
    #[must_use]
    pub fn push_promise(stream: u32, promised: u32, block: &[u8]) -> Self {
        let mut payload = promised.to_be_bytes().to_vec();
        payload.extend_from_slice(block);
        Self::new(kind::PUSH_PROMISE, flag::END_HEADERS, stream, payload)
    }

    /// PING.
    #[must_use]
    pub fn ping(opaque: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, opaque)
    }

    /// PING with ACK.
    #[must_use]
    pub fn pong(opaque: [u8; 8]) -> Self {
        Self::new(kind::PING, flag::ACK, 0, opaque)
    }

    /// GOAWAY.
    #[must_use]
    pub fn goaway(last: u32, code: u32, debug: &[u8]) -> Self {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(debug);
        Self::new(kind::GOAWAY, 0, 0, payload)
    }

    /// WINDOW_UPDATE; stream 0 is the connection.
    #[must_use]
    pub fn window(stream: u32, increment: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    /// With more flags.
    #[must_use]
    pub fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// Without some flags.
    #[must_use]
    pub fn without(mut self, flags: u8) -> Self {
        self.flags &= !flags;
        self
    }

    /// On another stream; the way to set the reserved bit.
    #[must_use]
    pub fn on(mut self, stream: u32) -> Self {
        self.stream = stream;
        self
    }

    /// With another length in the frame's header than the payload has.
    #[must_use]
    pub fn claiming(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// With padding before and behind the payload, and the flag that says so.
    #[must_use]
    pub fn padded(mut self, length: u8) -> Self {
        self.flags |= flag::PADDED;
        self.payload.insert(0, length);
        self.payload
            .resize(self.payload.len() + usize::from(length), 0);
        self
    }

    /// With priority fields before the payload, and the flag that says so.
    #[must_use]
    pub fn depending(mut self, on: u32, weight: u8) -> Self {
        self.flags |= flag::PRIORITY;
        self.payload.splice(..0, dependency(on, weight));
        self
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The frame as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.payload.len());
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut bytes = Vec::with_capacity(9 + self.payload.len());
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(&[self.kind, self.flags]);
        bytes.extend_from_slice(&self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The first frame of some bytes and how many it takes; `None` when it is not whole yet.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let length = usize::try_from(length).ok()?;
        let payload = rest.get(..length)?.to_vec();
        let frame = Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
            length: None,
        };
        Some((frame, 9 + length))
    }

    /// The payload without padding and priority fields; `None` when they do not fit.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        let mut content = &self.payload[..];
        let padded = matches!(self.kind, kind::DATA | kind::HEADERS | kind::PUSH_PROMISE)
            && self.has(flag::PADDED);
        if padded {
            let (padding, rest) = content.split_first()?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..)?;
        }
        Some(content)
    }

    /// The 32-bit number at an offset of the payload; 0 when it is not there.
    #[must_use]
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..).and_then(<[u8]>::first_chunk::<4>);
        bytes.map_or(0, |b| u32::from_be_bytes(*b))
    }
}

fn dependency(on: u32, weight: u8) -> [u8; 5] {
    let on = on.to_be_bytes();
    [on[0], on[1], on[2], on[3], weight]
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 10] = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
            "CONTINUATION",
        ];
        let name = NAMES.get(usize::from(self.kind)).unwrap_or(&"unknown");
        write!(
            f,
            "{name}(type {}, flags {:#x}, stream {}, {} bytes)",
            self.kind,
            self.flags,
            self.stream,
            self.payload.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_and_read() {
        let frame = Frame::data(5, *b"abc", true).padded(2);
        let bytes = frame.bytes();
        assert_eq!(bytes, b"\0\0\x06\0\x09\0\0\0\x05\x02abc\0\0");
        assert_eq!(Frame::parse(&bytes[..14]), None);
        let (read, length) = Frame::parse(&bytes).unwrap();
        assert_eq!((&read, length), (&frame, 15));
        assert_eq!(read.content(), Some(&b"abc"[..]));
    }

    #[test]
    fn wrong_frames_are_written_as_told() {
        let frame = Frame::ping([1; 8]).on(0x8000_0001).claiming(7);
        assert_eq!(&frame.bytes()[..9], b"\0\0\x07\x06\0\x80\0\0\x01");
        let frame = Frame::new(kind::DATA, flag::PADDED, 1, [9, 0]);
        assert_eq!(frame.content(), None);
        let frame = Frame::headers(1, *b"x", false).depending(3, 7).padded(1);
        assert_eq!(frame.content(), Some(&b"x"[..]));
    }
}
