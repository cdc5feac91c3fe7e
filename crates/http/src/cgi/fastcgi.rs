//! FastCGI: records over one connection, one request at a time.

use super::Params;

const VERSION: u8 = 1;
/// Length of a record's header.
const HEADER: usize = 8;
/// The request that all records are about: requests do not share a connection at the same time.
const REQUEST: u8 = 1;
/// Most bytes of content that are put into a record: a multiple of 8, so that no padding is needed.
const CONTENT_MAX: usize = 65_528;

const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

fn header(kind: u8, len: usize, out: &mut Vec<u8>) {
    let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    out.extend_from_slice(&[VERSION, kind, 0, REQUEST, len[0], len[1], 0, 0]);
}

fn records(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    for part in content.chunks(CONTENT_MAX) {
        header(kind, part.len(), out);
        out.extend_from_slice(part);
    }
}

/// Writes the begin of a request to a responder with all its names and values; `keep` asks the server to
/// leave the connection open afterwards.
pub fn write_begin(params: &Params, keep: bool, out: &mut Vec<u8>) {
    header(BEGIN, 8, out);
    out.extend_from_slice(&[0, 1, u8::from(keep), 0, 0, 0, 0, 0]);
    let mut content = Vec::with_capacity(params.len() + 256);
    for (name, value) in params.iter() {
        write_length(name.len(), &mut content);
        write_length(value.len(), &mut content);
        content.extend_from_slice(name);
        content.extend_from_slice(value);
    }
    records(PARAMS, &content, out);
    header(PARAMS, 0, out);
}

fn write_length(len: usize, out: &mut Vec<u8>) {
    match u8::try_from(len) {
        Ok(len) if len < 128 => out.push(len),
        Ok(_) | Err(_) => {
            let len = u32::try_from(len).unwrap_or(u32::MAX) | 0x8000_0000;
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// Writes a part of a request's body.
pub fn write_body(data: &[u8], out: &mut Vec<u8>) {
    records(STDIN, data, out);
}

/// Writes the end of a request's body.
pub fn write_end_of_body(out: &mut Vec<u8>) {
    header(STDIN, 0, out);
}

/// What a step over what a server sent found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part of the response.
    Response(&'a [u8]),
    /// A part of what the application complained about.
    Complaint(&'a [u8]),
    /// The response is whole.
    Done,
    /// The server refuses the request: it is overloaded, or does not do this.
    Refused,
    /// Nothing that matters, or not enough yet.
    Nothing,
}

/// What is no FastCGI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Follows the records of a server.
#[derive(Debug, Default)]
pub struct Reader {
    header: [u8; HEADER],
    have: usize,
    content: usize,
    padding: usize,
    kind: u8,
    end: [u8; 8],
    end_have: usize,
}

impl Reader {
    /// Looks at the begin of `input`; also says how many bytes of it are dealt with, which is none only when
    /// there are none.
    ///
    /// # Errors
    /// [`Malformed`] when it is no FastCGI.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(Event<'a>, usize), Malformed> {
        if self.content == 0 && self.padding == 0 {
            return self.next_header(input);
        }
        if self.content > 0 {
            let count = input.len().min(self.content);
            self.content -= count;
            let data = input.get(..count).unwrap_or_default();
            let event = match self.kind {
                _ if data.is_empty() => Event::Nothing,
                STDOUT => Event::Response(data),
                STDERR => Event::Complaint(data),
                END => return Ok((self.next_end(data), count)),
                // Records of the connection as a whole and others are of no interest.
                _ => Event::Nothing,
            };
            return Ok((event, count));
        }
        let count = input.len().min(self.padding);
        self.padding -= count;
        Ok((Event::Nothing, count))
    }

    fn next_header<'a>(&mut self, input: &[u8]) -> Result<(Event<'a>, usize), Malformed> {
        let count = input.len().min(HEADER - self.have);
        let room = self.header.get_mut(self.have..self.have + count);
        if let (Some(room), Some(bytes)) = (room, input.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.have += count;
        if self.have < HEADER {
            return Ok((Event::Nothing, count));
        }
        self.have = 0;
        let [version, kind, _, _, high, low, padding, _] = self.header;
        if version != VERSION || kind == 0 || kind > 11 {
            return Err(Malformed);
        }
        self.kind = kind;
        self.content = usize::from(u16::from_be_bytes([high, low]));
        self.padding = usize::from(padding);
        self.end_have = 0;
        Ok((Event::Nothing, count))
    }

    fn next_end<'a>(&mut self, data: &[u8]) -> Event<'a> {
        for byte in data {
            if let Some(room) = self.end.get_mut(self.end_have) {
                *room = *byte;
                self.end_have += 1;
            }
        }
        match self.end {
            _ if self.content > 0 => Event::Nothing,
            // The fifth byte is the status of the protocol; 0 = complete.
            [_, _, _, _, 0, ..] => Event::Done,
            _ => Event::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<u8>, bool), Malformed> {
        let (mut reader, mut out, mut complaints, mut done) =
            (Reader::default(), Vec::new(), Vec::new(), false);
        for part in input.chunks(cut) {
            let mut rest = part;
            while !rest.is_empty() {
                let (event, count) = reader.next(rest)?;
                assert!(count > 0);
                match event {
                    Event::Response(data) => out.extend_from_slice(data),
                    Event::Complaint(data) => complaints.extend_from_slice(data),
                    Event::Done | Event::Refused => done = true,
                    Event::Nothing => {}
                }
                rest = &rest[count..];
            }
        }
        Ok((out, complaints, done))
    }

    #[test]
    fn lengths_have_one_byte_or_four() {
        let mut params = Params::default();
        params.push(b"A", &[b'x'; 200]);
        let mut out = Vec::new();
        write_begin(&params, true, &mut out);
        assert_eq!(&out[..16], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(&out[16..24], [1, 4, 0, 1, 0, 206, 0, 0]);
        assert_eq!(&out[24..30], [1, 0x80, 0, 0, 200, b'A']);
        assert_eq!(&out[out.len() - 8..], [1, 4, 0, 1, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn records_are_read_however_they_arrive(
            parts in proptest::collection::vec((any::<bool>(), "[a-z]{1,20}", 0_u8..8), 0..6),
            cut in 1_usize..40,
        ) {
            let (mut bytes, mut out, mut complaints) = (Vec::new(), String::new(), String::new());
            for (is_complaint, text, padding) in &parts {
                let kind = if *is_complaint { STDERR } else { STDOUT };
                if *is_complaint { complaints.push_str(text) } else { out.push_str(text) }
                bytes.extend_from_slice(&[1, kind, 0, 1, 0, u8::try_from(text.len()).unwrap(), *padding, 0]);
                bytes.extend_from_slice(text.as_bytes());
                bytes.extend(std::iter::repeat_n(0, usize::from(*padding)));
            }
            bytes.extend_from_slice(&[1, END, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let found = read(&bytes, cut).unwrap();
            prop_assert_eq!(found, (out.into_bytes(), complaints.into_bytes(), true));
        }

        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&bytes, 7));
        }
    }
}
