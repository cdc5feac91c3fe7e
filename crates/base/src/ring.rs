//! A bounded queue of byte records from one thread to another that never blocks.
//!
//! One producer (a worker), one consumer (the log thread or control). Records are copied in; when
//! there is no room the record is dropped and counted, because a slow reader must never slow the
//! data path.

#![expect(
    unsafe_code,
    reason = "shared bytes without a lock; the two marks say who owns which part"
)]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Length prefix before every record.
const HEADER: usize = 4;

struct Shared {
    /// Capacity in bytes is the length, a power of two.
    bytes: Box<[UnsafeCell<u8>]>,
    /// Total bytes ever written; only the producer stores it.
    head: AtomicUsize,
    /// Total bytes ever read; only the consumer stores it.
    tail: AtomicUsize,
    dropped: AtomicU64,
}

// SAFETY: the bytes in `tail..head` belong to the consumer, all others to the producer. Each mark
// is stored with `Release` by its one writer after it is done with the bytes and loaded with
// `Acquire` by the other side, so no byte is ever accessed from both sides at once.
unsafe impl Sync for Shared {}

impl Shared {
    /// Copies `data` to position `at` (modulo the capacity).
    fn put(&self, at: usize, data: &[u8]) {
        let start = at & (self.bytes.len() - 1);
        let first = data.len().min(self.bytes.len() - start);
        let (a, b) = data.split_at(first);
        for (cells, part) in [(self.bytes.get(start..), a), (self.bytes.get(..), b)] {
            let Some(cells) = cells else { continue };
            debug_assert!(part.len() <= cells.len());
            let to = UnsafeCell::raw_get(cells.as_ptr());
            // SAFETY: `part` fits into `cells` (asserted above, by the split), and the caller owns
            // these bytes under the rule at `Sync for Shared`.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len()) };
        }
    }

    /// Appends `len` bytes from position `at` (modulo the capacity) to `out`.
    fn take(&self, at: usize, len: usize, out: &mut Vec<u8>) {
        let start = at & (self.bytes.len() - 1);
        let first = len.min(self.bytes.len() - start);
        for (from, count) in [(start, first), (0, len - first)] {
            let Some(cells) = self.bytes.get(from..from + count) else {
                continue;
            };
            let source = UnsafeCell::raw_get(cells.as_ptr());
            // SAFETY: `cells` holds `count` bytes that the caller owns under the rule at
            // `Sync for Shared`, and nobody writes them while the slice lives.
            let part = unsafe { std::slice::from_raw_parts(source, count) };
            out.extend_from_slice(part);
        }
    }
}

/// The producing end.
pub struct Writer(Arc<Shared>);

/// The consuming end.
pub struct Reader {
    shared: Arc<Shared>,
    scratch: Vec<u8>,
}

/// A ring of at least `capacity` bytes (rounded up to a power of two, at least 4 KiB).
#[must_use]
pub fn ring(capacity: usize) -> (Writer, Reader) {
    let size = capacity.max(4_096).next_power_of_two();
    let shared = Arc::new(Shared {
        bytes: (0..size).map(|_| UnsafeCell::new(0)).collect(),
        head: AtomicUsize::new(0),
        tail: AtomicUsize::new(0),
        dropped: AtomicU64::new(0),
    });
    (
        Writer(Arc::clone(&shared)),
        Reader {
            shared,
            scratch: Vec::new(),
        },
    )
}

impl Writer {
    /// Copies `record` in. Returns false, and counts a drop, when there is no room.
    pub fn push(&mut self, record: &[u8]) -> bool {
        let shared = &*self.0;
        let head = shared.head.load(Ordering::Relaxed);
        let tail = shared.tail.load(Ordering::Acquire);
        let free = shared.bytes.len() - head.wrapping_sub(tail);
        let Ok(len) = u32::try_from(record.len()) else {
            return self.drop_one();
        };
        if HEADER + record.len() > free {
            return self.drop_one();
        }
        shared.put(head, &len.to_le_bytes());
        shared.put(head.wrapping_add(HEADER), record);
        shared
            .head
            .store(head.wrapping_add(HEADER + record.len()), Ordering::Release);
        true
    }

    fn drop_one(&self) -> bool {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Whether more than half of the ring is waiting to be read: time to wake the reader.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        let used = self
            .0
            .head
            .load(Ordering::Relaxed)
            .wrapping_sub(self.0.tail.load(Ordering::Relaxed));
        used > self.0.bytes.len() / 2
    }
}

impl Reader {
    /// Hands every record waiting now to `take`, oldest first, and says how many there were.
    pub fn drain(&mut self, mut take: impl FnMut(&[u8])) -> usize {
        let head = self.shared.head.load(Ordering::Acquire);
        let mut tail = self.shared.tail.load(Ordering::Relaxed);
        let mut count = 0;
        while tail != head {
            self.scratch.clear();
            self.shared.take(tail, HEADER, &mut self.scratch);
            let len = self
                .scratch
                .first_chunk()
                .map_or(0, |b: &[u8; 4]| u32::from_le_bytes(*b)) as usize;
            self.scratch.clear();
            self.shared
                .take(tail.wrapping_add(HEADER), len, &mut self.scratch);
            tail = tail.wrapping_add(HEADER + len);
            self.shared.tail.store(tail, Ordering::Release);
            take(&self.scratch);
            count += 1;
        }
        count
    }

    /// Records dropped for want of room since the ring was made.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_arrive_in_order_across_threads_and_overflow_is_counted() {
        let (mut writer, mut reader) = ring(4_096);
        let producer = std::thread::spawn(move || {
            let mut refused = 0_u64;
            for n in 0..50_000_u64 {
                let record = vec![u8::try_from(n % 251).unwrap(); (n % 97) as usize + 8];
                let mut record = record;
                record[..8].copy_from_slice(&n.to_le_bytes());
                if !writer.push(&record) {
                    refused += 1;
                }
            }
            refused
        });
        let (mut last, mut read) = (None, 0_u64);
        loop {
            // Asked before: what is written at the end of the thread is read in the last round.
            let is_last = producer.is_finished();
            reader.drain(|record| {
                let n = u64::from_le_bytes(*record.first_chunk().unwrap());
                assert!(last.is_none_or(|l| n > l));
                assert_eq!(record.len() as u64, n % 97 + 8);
                assert!(record[8..].iter().all(|&b| u64::from(b) == n % 251));
                last = Some(n);
                read += 1;
            });
            if is_last {
                break;
            }
        }
        let refused = producer.join().unwrap();
        assert_eq!(read + refused, 50_000);
        assert_eq!(reader.dropped(), refused);
    }

    #[test]
    fn a_record_larger_than_the_ring_is_dropped() {
        let (mut writer, mut reader) = ring(1);
        assert!(!writer.push(&[0; 5_000]));
        assert!(writer.push(&[7; 100]));
        assert!(!writer.is_half_full());
        assert_eq!(reader.drain(|r| assert_eq!(r, [7; 100])), 1);
        assert_eq!(reader.dropped(), 1);
    }
}
