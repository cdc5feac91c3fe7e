//! Taking gzip off a body, for clients that do not take it.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};

/// What comes out at once at most, in bytes: a small body may hold a thousand times as much.
const OUT: usize = 32 * 1_024;

/// Longest head of a gzip member that is read: names and comments in it are left out anyway.
const HEAD_MAX: usize = 4 * 1_024;

/// One body on its way out of gzip (RFC 1952).
pub(crate) struct Unpacker {
    inflate: Decompress,
    /// The head of a member, until it is whole.
    head: Vec<u8>,
    part: Part,
    /// The last output was as large as it may be.
    was_full: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Body,
    /// Check sum and length, of which so many bytes have come.
    Tail(usize),
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            head: Vec::new(),
            part: Part::Head,
            was_full: false,
        }
    }

    /// Puts bytes in; says how many were taken.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        self.was_full = false;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            match self.part {
                Part::Head => {
                    if rest.is_empty() {
                        return Ok(taken);
                    }
                    taken += self.read_head(rest)?;
                }
                Part::Body => {
                    let before = (self.inflate.total_in(), out.len());
                    out.reserve(OUT);
                    let room = out.capacity();
                    let status = self
                        .inflate
                        .decompress_vec(rest, out, FlushDecompress::None)
                        .map_err(|_| broken())?;
                    taken += usize::try_from(self.inflate.total_in() - before.0).unwrap_or(0);
                    if status == Status::StreamEnd {
                        self.part = Part::Tail(0);
                        continue;
                    }
                    self.was_full = out.len() == room;
                    return Ok(taken);
                }
                Part::Tail(have) => {
                    let count = rest.len().min(8 - have);
                    taken += count;
                    if have + count < 8 {
                        self.part = Part::Tail(have + count);
                        return Ok(taken);
                    }
                    // Another member may follow.
                    self.part = Part::Head;
                    self.head.clear();
                    self.inflate.reset(false);
                }
            }
        }
    }

    /// Whether more comes of what was put in.
    pub(crate) fn has_more(&self) -> bool {
        self.was_full
    }

    /// Says whether the end is one.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self.part {
            Part::Head if self.head.is_empty() => Ok(()),
            Part::Head | Part::Body | Part::Tail(_) => Err(broken()),
        }
    }

    /// Takes bytes of a head; how many.
    fn read_head(&mut self, input: &[u8]) -> io::Result<usize> {
        let before = self.head.len();
        let room = HEAD_MAX.saturating_sub(before);
        self.head
            .extend_from_slice(input.get(..room).unwrap_or(input));
        let Some(len) = head_len(&self.head)? else {
            if self.head.len() >= HEAD_MAX {
                return Err(broken());
            }
            return Ok(input.len());
        };
        self.part = Part::Body;
        Ok(len.saturating_sub(before))
    }
}

/// Length of the head of a member; none while it is not whole.
fn head_len(head: &[u8]) -> io::Result<Option<usize>> {
    let magic = [0x1f, 0x8b, 8];
    let have = head.len().min(3);
    if head.get(..have) != magic.get(..have) {
        return Err(broken());
    }
    let Some(flags) = head.get(3).copied() else {
        return Ok(None);
    };
    let mut len = 10;
    if flags & 4 != 0 {
        let Some(extra) = head.get(len..len + 2) else {
            return Ok(None);
        };
        let extra = extra
            .iter()
            .rev()
            .fold(0, |sum, b| (sum << 8) | usize::from(*b));
        len += 2 + extra;
    }
    for flag in [8, 16] {
        if flags & flag == 0 {
            continue;
        }
        let rest = head.get(len..).unwrap_or_default();
        match rest.iter().position(|&b| b == 0) {
            Some(end) => len += end + 1,
            None => return Ok(None),
        }
    }
    if flags & 2 != 0 {
        len += 2;
    }
    Ok((head.len() >= len).then_some(len))
}

fn broken() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn unpacked(bytes: &[u8], step: usize) -> io::Result<Vec<u8>> {
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() || unpacker.has_more() {
                let before = out.len();
                let mut some = Vec::new();
                let taken = unpacker.push(rest, &mut some)?;
                assert!(some.len() <= 4 * OUT, "{}", some.len());
                out.append(&mut some);
                assert!(taken > 0 || out.len() > before || !unpacker.has_more());
                rest = &rest[taken..];
            }
        }
        unpacker.finish()?;
        Ok(out)
    }

    #[test]
    fn a_large_text_comes_out_in_bounded_pieces() {
        let plain = vec![b'x'; 3_000_000];
        assert_eq!(unpacked(&packed(&plain), 512).unwrap(), plain);
    }

    #[test]
    fn several_members_are_one_text_and_a_part_is_none() {
        let mut two = packed(b"one ");
        two.extend(packed(b"two"));
        assert_eq!(unpacked(&two, 7).unwrap(), b"one two");
        assert!(unpacked(&two[..two.len() - 1], 7).is_err());
        assert!(unpacked(b"not gzip", 3).is_err());
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_the_same(
            plain in proptest::collection::vec(b'a'..b'd', 0..5_000),
            step in 1_usize..600,
        ) {
            prop_assert_eq!(unpacked(&packed(&plain), step).unwrap(), plain);
        }

        #[test]
        fn nonsense_is_an_error_or_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            step in 1_usize..50,
        ) {
            drop(unpacked(&[&[0x1f, 0x8b, 8, 0][..], &bytes].concat(), step));
        }
    }
}
