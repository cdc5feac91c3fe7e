//! Durations counted in log-linear buckets: one shift and one store per sample.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets per doubling.
const STEPS: u64 = 8;
/// log2 of [`STEPS`].
const SHIFT: u32 = 3;
/// Doublings covered: up to 2^36 µs, about 19 hours.
const DOUBLINGS: u64 = 36 - SHIFT as u64;
#[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
const BUCKETS: usize = (STEPS * (DOUBLINGS + 1)) as usize;

/// A histogram of microseconds with one writer: the relative error of a bucket is at most 1/8.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
        }
    }
}

/// The bucket of a value.
fn index(micros: u64) -> usize {
    if micros < STEPS {
        return usize::try_from(micros).unwrap_or(0);
    }
    let top = 63 - micros.leading_zeros();
    let within = (micros >> (top - SHIFT)) & (STEPS - 1);
    let at = u64::from(top - SHIFT + 1) * STEPS + within;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let (doubling, within) = (index / STEPS - 1, index % STEPS);
    ((STEPS + within + 1) << doubling) - 1
}

impl Histogram {
    /// Records a duration; only the owning worker may call this.
    pub fn record(&self, micros: u64) {
        if let Some(bucket) = self.buckets.get(index(micros)) {
            bucket.store(bucket.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        self.sum.store(
            self.sum.load(Ordering::Relaxed).wrapping_add(micros),
            Ordering::Relaxed,
        );
    }

    /// Adds what was recorded so far to `total`.
    pub fn add_to(&self, total: &mut Counts) {
        for (sum, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        total.sum_us = total.sum_us.wrapping_add(self.sum.load(Ordering::Relaxed));
    }
}

/// The sum of any number of histograms at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    buckets: Vec<u64>,
    /// Sum of all samples in microseconds.
    pub sum_us: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            sum_us: 0,
        }
    }
}

impl Counts {
    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Number of samples that are at most `micros`, to the precision of a bucket.
    #[must_use]
    pub fn at_most(&self, micros: u64) -> u64 {
        self.buckets
            .iter()
            .enumerate()
            .take_while(|(at, _)| upper(*at) <= micros)
            .map(|(_, n)| n)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_an_eighth() {
        for micros in (0..5_000).chain([65_535, 65_536, 1_000_000, 3_600_000_000]) {
            let at = index(micros);
            assert!(upper(at) >= micros, "{micros}");
            assert!(at == 0 || upper(at - 1) < micros, "{micros}");
            assert!(upper(at) - micros <= micros / 8, "{micros}");
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn samples_are_counted_and_summed() {
        let histogram = Histogram::default();
        for micros in 1..=1_000 {
            histogram.record(micros);
        }
        let mut counts = Counts::default();
        histogram.add_to(&mut counts);
        assert_eq!((counts.count(), counts.sum_us), (1_000, 500_500));
        // To the precision of a bucket: those of the last one below are missing.
        assert!((435..=500).contains(&counts.at_most(500)));
        assert_eq!((counts.at_most(0), counts.at_most(2_000)), (0, 1_000));
        assert!(size_of::<Histogram>() <= 4_096);
    }
}
