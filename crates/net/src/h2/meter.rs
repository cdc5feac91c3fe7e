//! Counts the frames that come in, to notice those that only cost.
//!
//! Each sort of frame has a bucket: a burst is allowed, and what leaks out of it per second. The
//! figures are far above what browsers, gRPC clients and load generators do.

use clearway_base::clock::{self, Stamp};
use clearway_outcome::FaultKind;

/// Bytes of a frame's header (RFC 9113 section 4.1).
const HEADER: usize = 9;

/// Most CONTINUATION frames behind one HEADERS frame.
const CONTINUATIONS: u32 = 32;
/// A window that opens by less is tiny, in bytes.
const TINY: u32 = 64;

/// What flows through a bucket: a burst, and how many a second are no burst.
struct Rate {
    kind: FaultKind,
    burst: u32,
    per_second: u32,
}

const RATES: [Rate; 6] = [
    Rate {
        kind: FaultKind::H2RapidReset,
        burst: 250,
        per_second: 25,
    },
    Rate {
        kind: FaultKind::H2SettingsFlood,
        burst: 100,
        per_second: 5,
    },
    Rate {
        kind: FaultKind::H2PingFlood,
        burst: 5_000,
        per_second: 500,
    },
    Rate {
        kind: FaultKind::H2EmptyFrames,
        burst: 250,
        per_second: 25,
    },
    Rate {
        kind: FaultKind::H2TinyWindows,
        burst: 1_000,
        per_second: 100,
    },
    Rate {
        kind: FaultKind::H2FrameFlood,
        burst: 1_000,
        per_second: 100,
    },
];

const RESETS: usize = 0;
const SETTINGS: usize = 1;
const PINGS: usize = 2;
const EMPTY: usize = 3;
const WINDOWS: usize = 4;
const OTHERS: usize = 5;

/// The frame types that are told apart (RFC 9113 section 6).
mod frame {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PUSH_PROMISE: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const ACK: u8 = 1;
}

/// What a GOAWAY frame says (RFC 9113 section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    /// The last stream that was or may have been worked on.
    pub(super) last_stream: u32,
    /// Why.
    pub(super) code: u32,
}

/// Follows the frames of one direction.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes that belong to no frame, or to the payload of the one before, and are still to come.
    skip: usize,
    header: [u8; HEADER + 8],
    have: usize,
    /// How full each bucket is.
    levels: [u32; RATES.len()],
    leaked: Stamp,
    continuations: u32,
    /// SETTINGS have to come first, and have not.
    awaits_settings: bool,
    has_settings: bool,
    /// The newest GOAWAY.
    goaway: Option<Farewell>,
}

impl Meter {
    /// A meter for a direction that begins with `preface` bytes of no frame.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            skip: preface,
            header: [0; HEADER + 8],
            have: 0,
            levels: [0; RATES.len()],
            leaked: clock::now(),
            continuations: 0,
            awaits_settings: preface > 0,
            has_settings: false,
            goaway: None,
        }
    }

    /// Counts the frames in `bytes`; the first that is one too many ends it.
    ///
    /// # Errors
    /// What there is too much of.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> Result<(), FaultKind> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = self.wanted();
            let count = (wanted - self.have).min(bytes.len());
            let (now, rest) = bytes.split_at(count);
            if let Some(to) = self.header.get_mut(self.have..self.have + count) {
                to.copy_from_slice(now);
            }
            self.have += count;
            bytes = rest;
            if self.have == self.wanted() {
                self.skip = self.length().saturating_sub(self.have - HEADER);
                let counted = self.frame();
                self.have = 0;
                counted?;
            }
        }
        Ok(())
    }

    /// Whether the settings that come first are here, to their last byte.
    pub(super) fn is_settled(&self) -> bool {
        self.has_settings && self.skip == 0 && self.have == 0
    }

    /// The newest GOAWAY.
    pub(super) fn goaway(&self) -> Option<Farewell> {
        self.goaway
    }

    /// How much of the frame is looked at: its header, and the numbers with which the payload of a
    /// WINDOW_UPDATE or GOAWAY begins.
    fn wanted(&self) -> usize {
        let numbers = match self.header[3] {
            _ if self.have < HEADER => 0,
            frame::WINDOW_UPDATE if self.length() == 4 => 4,
            frame::GOAWAY if self.length() >= 8 => 8,
            _ => 0,
        };
        HEADER + numbers
    }

    /// The number behind the header, without its reserved bit.
    fn number(&self) -> u32 {
        let [.., a, b, c, d, _, _, _, _] = self.header;
        u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff
    }

    /// The number behind that one.
    fn second(&self) -> u32 {
        let [.., a, b, c, d] = self.header;
        u32::from_be_bytes([a, b, c, d])
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.header;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    fn frame(&mut self) -> Result<(), FaultKind> {
        let (kind, flags) = (self.header[3], self.header[4]);
        // The library lets others come first (RFC 9113 section 3.4).
        if std::mem::take(&mut self.awaits_settings) && kind != frame::SETTINGS {
            return Err(FaultKind::H2Protocol);
        }
        self.has_settings |= kind == frame::SETTINGS;
        if kind != frame::CONTINUATION {
            self.continuations = 0;
        }
        match kind {
            frame::DATA if self.length() == 0 && flags & frame::END_STREAM == 0 => self.fill(EMPTY),
            frame::HEADERS | frame::DATA | frame::PUSH_PROMISE => Ok(()),
            frame::GOAWAY => {
                if self.wanted() > HEADER {
                    self.goaway = Some(Farewell {
                        last_stream: self.number(),
                        code: self.second(),
                    });
                }
                Ok(())
            }
            frame::CONTINUATION => {
                self.continuations += 1;
                if self.continuations > CONTINUATIONS {
                    return Err(FaultKind::H2ContinuationFlood);
                }
                Ok(())
            }
            frame::RST_STREAM => self.fill(RESETS),
            frame::SETTINGS if flags & frame::ACK == 0 => self.fill(SETTINGS),
            frame::PING if flags & frame::ACK == 0 => self.fill(PINGS),
            frame::WINDOW_UPDATE => {
                if self.number() < TINY {
                    return self.fill(WINDOWS);
                }
                Ok(())
            }
            // PRIORITY, acknowledgements nobody asked for, types to come.
            _ => self.fill(OTHERS),
        }
    }

    fn fill(&mut self, bucket: usize) -> Result<(), FaultKind> {
        let rate = &RATES[bucket];
        let level = &mut self.levels[bucket];
        *level += 1;
        if *level <= rate.burst {
            return Ok(());
        }
        self.leak();
        if self.levels[bucket] <= rate.burst {
            return Ok(());
        }
        Err(rate.kind)
    }

    /// Lets out what has leaked since the last time; the clock is read only when a bucket is full.
    fn leak(&mut self) {
        let now = clock::now();
        let seconds = u32::try_from(now.since(self.leaked).as_secs()).unwrap_or(u32::MAX);
        if seconds == 0 {
            return;
        }
        self.leaked = now;
        for (level, rate) in self.levels.iter_mut().zip(&RATES) {
            *level = level.saturating_sub(rate.per_second.saturating_mul(seconds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut out = vec![len[1], len[2], len[3], kind, flags, 0, 0, 0, 1];
        out.extend_from_slice(payload);
        out
    }

    /// How many times a frame may come before it is too much.
    fn allowed(bytes: &[u8]) -> (u32, FaultKind) {
        let mut meter = Meter::new(0);
        for count in 0..100_000 {
            if let Err(kind) = meter.count(bytes) {
                return (count, kind);
            }
        }
        panic!("nothing was ever too much");
    }

    #[test]
    fn each_flood_has_its_own_name() {
        for (bytes, kind) in [
            (frame(3, 0, &[0; 4]), FaultKind::H2RapidReset),
            (frame(4, 0, &[0; 6]), FaultKind::H2SettingsFlood),
            (frame(6, 0, &[0; 8]), FaultKind::H2PingFlood),
            (frame(0, 0, &[]), FaultKind::H2EmptyFrames),
            (frame(8, 0, &[0, 0, 0, 1]), FaultKind::H2TinyWindows),
            (frame(2, 0, &[0; 5]), FaultKind::H2FrameFlood),
            (frame(99, 0, b"what"), FaultKind::H2FrameFlood),
            (frame(9, 0, b"x"), FaultKind::H2ContinuationFlood),
        ] {
            let (count, found) = allowed(&bytes);
            assert_eq!(found, kind);
            assert!(count >= 32, "{kind:?} after {count}");
        }
    }

    #[test]
    fn goaway_names_its_last_stream_however_it_is_cut() {
        let mut bytes = frame(4, 0, &[]);
        bytes.extend(frame(7, 0, &[0x80, 0, 0, 9, 0, 0, 0, 2, b'w', b'h', b'y']));
        bytes.extend(frame(6, 0, &[0; 8]));
        for cut in 1..bytes.len() {
            let mut meter = Meter::new(0);
            for part in bytes.chunks(cut) {
                meter.count(part).unwrap();
            }
            let farewell = Farewell {
                last_stream: 9,
                code: 2,
            };
            assert_eq!(meter.goaway(), Some(farewell), "{cut}");
            assert_eq!((meter.have, meter.skip), (0, 0), "{cut}");
        }
        let mut meter = Meter::new(0);
        meter.count(&frame(7, 0, &[0; 4])).unwrap();
        assert_eq!(meter.goaway(), None, "too short to be one");
    }

    #[test]
    fn ordinary_traffic_is_never_too_much_however_it_is_cut() {
        let mut bytes = vec![b'p'; 24];
        bytes.extend(frame(4, 0, &[]));
        for _ in 0..20_000 {
            bytes.extend(frame(1, 5, b"some headers"));
            bytes.extend(frame(0, 0, b"some data"));
            bytes.extend(frame(0, 1, &[]));
            bytes.extend(frame(8, 0, &[0, 1, 0, 0]));
            bytes.extend(frame(4, 1, &[]));
            bytes.extend(frame(6, 1, &[0; 8]));
        }
        // Acknowledgements are answers to ours; so many are none.
        let mut meter = Meter::new(24);
        assert_eq!(meter.count(&bytes), Err(FaultKind::H2FrameFlood));
        let mut bytes = vec![b'p'; 24];
        bytes.extend(frame(4, 0, &[]));
        for _ in 0..2_000 {
            bytes.extend(frame(1, 5, b"some headers"));
            bytes.extend(frame(0, 0, b"some data"));
            bytes.extend(frame(0, 1, &[]));
            bytes.extend(frame(8, 0, &[0, 1, 0, 0]));
        }
        for cut in [1, 2, 3, 8, 9, 10, 1_000] {
            let mut meter = Meter::new(24);
            for part in bytes.chunks(cut) {
                meter.count(part).unwrap();
            }
            assert_eq!((meter.have, meter.skip), (0, 0));
        }
    }
}
