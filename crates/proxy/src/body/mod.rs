//! What bodies of responses go through on their way to clients: texts put in place of others, coding.
//!
//! A chain of stages, without I/O and with bounded memory. Whoever moves a body has one branch for the case
//! that there is none; whoever has one pushes bytes in and takes bytes out, at the pace of the reader.

pub(crate) mod compress;
pub(crate) mod plan;
pub(crate) mod replace;
pub(crate) mod unpack;

use std::io;

use compress::Encoder;
use replace::Replacer;
use unpack::Unpacker;

/// What is put through the stages at once, in bytes.
const PIECE: usize = 8 * 1_024;

/// A way that a body goes through.
enum Stage {
    Replace(Replacer),
    Compress(Encoder),
}

/// The stages of one body, in their order.
pub(crate) struct Filters {
    /// Takes a coding off before all else.
    unpacker: Option<Unpacker>,
    stages: Vec<Stage>,
    /// What goes from one stage to the next.
    between: [Vec<u8>; 2],
    /// Something may be held back that [`Filters::flush`] would bring out.
    holds: bool,
    ended: bool,
}

impl Filters {
    /// Stages in their order; none when there are none.
    pub(crate) fn new(
        unpacker: Option<Unpacker>,
        replacer: Option<Replacer>,
        encoder: Option<Encoder>,
    ) -> Option<Box<Self>> {
        let replacer = replacer.map(Stage::Replace);
        let stages: Vec<_> = replacer
            .into_iter()
            .chain(encoder.map(Stage::Compress))
            .collect();
        if stages.is_empty() && unpacker.is_none() {
            return None;
        }
        Some(Box::new(Self {
            unpacker,
            stages,
            between: [Vec::new(), Vec::new()],
            holds: false,
            ended: false,
        }))
    }

    /// Puts a piece of the body through; says how many bytes of `input` were taken. To be called again with
    /// the rest, and without input while [`Filters::has_more`].
    ///
    /// # Errors
    /// What came is not in the coding that it should be in.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let piece = input.get(..PIECE).unwrap_or(input);
        let [first, second] = &mut self.between;
        first.clear();
        let taken = match &mut self.unpacker {
            Some(unpacker) => unpacker.push(piece, first)?,
            None => {
                first.extend_from_slice(piece);
                piece.len()
            }
        };
        for stage in &mut self.stages {
            second.clear();
            match stage {
                Stage::Replace(replacer) => replacer.push(first, second),
                Stage::Compress(encoder) => encoder.push(first, second)?,
            }
            std::mem::swap(first, second);
        }
        out.extend_from_slice(first);
        self.holds = true;
        Ok(taken)
    }

    /// Whether more comes of what was put in.
    pub(crate) fn has_more(&self) -> bool {
        self.unpacker.as_ref().is_some_and(Unpacker::has_more)
    }

    /// Brings out what would else wait for more: the source pauses.
    ///
    /// # Errors
    /// As of [`Filters::push`].
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !std::mem::replace(&mut self.holds, false) {
            return Ok(());
        }
        for stage in &mut self.stages {
            match stage {
                // What may be the begin of a text that is looked for has to wait.
                Stage::Replace(_) => {}
                Stage::Compress(encoder) => encoder.flush(out)?,
            }
        }
        Ok(())
    }

    /// Whether the end was brought out.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Brings out the end.
    ///
    /// # Errors
    /// What came ended before its coding did.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.ended = true;
        if let Some(unpacker) = &self.unpacker {
            unpacker.finish()?;
        }
        let [first, second] = &mut self.between;
        first.clear();
        for stage in &mut self.stages {
            second.clear();
            match stage {
                Stage::Replace(replacer) => {
                    replacer.push(first, second);
                    replacer.finish(second);
                }
                Stage::Compress(encoder) => {
                    encoder.push(first, second)?;
                    encoder.finish(second)?;
                }
            }
            std::mem::swap(first, second);
        }
        out.extend_from_slice(first);
        Ok(())
    }

    /// A whole body at once.
    ///
    /// # Errors
    /// As of [`Filters::push`].
    pub(crate) fn whole(&mut self, mut body: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while !body.is_empty() || self.has_more() {
            let taken = self.push(body, &mut out)?;
            body = body.get(taken..).unwrap_or_default();
        }
        self.finish(&mut out)?;
        Ok(out)
    }
}
