//! Coding a body: gzip, deflate, zstd and br, one stream each.

use std::io::{self, Write};

use brotli::CompressorWriter;
use clearway_config::model::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd::stream::write::Encoder as ZstdEncoder;
use zstd::zstd_safe::CParameter;

use super::plan::Coding;

/// How far back zstd and br look, as a power of two: 128 KiB bound what one body takes of memory.
const WINDOW: u32 = 17;

/// One body on its way into a coding.
pub(crate) struct Encoder(State);

enum State {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Zstd(Box<ZstdEncoder<'static, Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Ended,
}

impl Encoder {
    /// Begins a coding.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(crate) fn new(coding: Coding, settings: &Compression) -> io::Result<Self> {
        let level = flate2::Compression::new(settings.gzip_level);
        Ok(Self(match coding {
            Coding::Gzip => State::Gzip(GzEncoder::new(Vec::new(), level)),
            Coding::Deflate => State::Deflate(ZlibEncoder::new(Vec::new(), level)),
            Coding::Zstd => {
                let level = i32::try_from(settings.zstd_level).unwrap_or(3);
                let mut encoder = ZstdEncoder::new(Vec::new(), level)?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW))?;
                State::Zstd(Box::new(encoder))
            }
            Coding::Brotli => {
                let level = settings.brotli_level;
                let encoder = CompressorWriter::new(Vec::new(), 4_096, level, WINDOW);
                State::Brotli(Box::new(encoder))
            }
        }))
    }

    /// Puts bytes in and takes out what is ready.
    ///
    /// # Errors
    /// The library's own.
    pub(crate) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if input.is_empty() {
            return Ok(());
        }
        match &mut self.0 {
            State::Gzip(encoder) => encoder.write_all(input)?,
            State::Deflate(encoder) => encoder.write_all(input)?,
            State::Zstd(encoder) => encoder.write_all(input)?,
            State::Brotli(encoder) => encoder.write_all(input)?,
            State::Ended => {}
        }
        self.take(out);
        Ok(())
    }

    /// Takes out all that was put in.
    ///
    /// # Errors
    /// The library's own.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            State::Gzip(encoder) => encoder.flush()?,
            State::Deflate(encoder) => encoder.flush()?,
            State::Zstd(encoder) => encoder.flush()?,
            State::Brotli(encoder) => encoder.flush()?,
            State::Ended => {}
        }
        self.take(out);
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// The library's own.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let rest = match std::mem::replace(&mut self.0, State::Ended) {
            State::Gzip(encoder) => encoder.finish()?,
            State::Deflate(encoder) => encoder.finish()?,
            State::Zstd(encoder) => encoder.finish()?,
            State::Brotli(encoder) => encoder.into_inner(),
            State::Ended => return Ok(()),
        };
        out.extend_from_slice(&rest);
        Ok(())
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        let ready = match &mut self.0 {
            State::Gzip(encoder) => encoder.get_mut(),
            State::Deflate(encoder) => encoder.get_mut(),
            State::Zstd(encoder) => encoder.get_mut(),
            State::Brotli(encoder) => encoder.get_mut(),
            State::Ended => return,
        };
        out.append(ready);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn unpacked(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Coding::Deflate => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes)
                .unwrap()
                .read_to_end(&mut out),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4_096).read_to_end(&mut out),
        }
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_again(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(b'a'..b'e', 0..3_000), any::<bool>()),
                0..6,
            ),
        ) {
            let settings = Compression::default();
            for coding in Coding::ALL.iter().copied() {
                let mut encoder = Encoder::new(coding, &settings).unwrap();
                let (mut plain, mut packed) = (Vec::new(), Vec::new());
                for (piece, flushed) in &pieces {
                    plain.extend_from_slice(piece);
                    encoder.push(piece, &mut packed).unwrap();
                    if *flushed {
                        encoder.flush(&mut packed).unwrap();
                    }
                }
                encoder.finish(&mut packed).unwrap();
                prop_assert_eq!(unpacked(coding, &packed), plain);
            }
        }
    }

    #[test]
    fn what_was_flushed_can_be_read() {
        for coding in Coding::ALL.iter().copied() {
            let mut encoder = Encoder::new(coding, &Compression::default()).unwrap();
            let mut packed = Vec::new();
            encoder.push(b"first", &mut packed).unwrap();
            encoder.flush(&mut packed).unwrap();
            let mut got = [0; 5];
            let read = match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&packed[..]).read_exact(&mut got),
                Coding::Deflate => flate2::read::ZlibDecoder::new(&packed[..]).read_exact(&mut got),
                Coding::Zstd => zstd::stream::read::Decoder::new(&packed[..])
                    .unwrap()
                    .read_exact(&mut got),
                Coding::Brotli => {
                    brotli::Decompressor::new(&packed[..], 4_096).read_exact(&mut got)
                }
            };
            read.unwrap();
            assert_eq!(&got, b"first", "{coding:?}");
        }
    }
}
