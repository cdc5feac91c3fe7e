//! What went well at a server, from what the readers of several files counted.

use clearway_telemetry::read::Tally;

use crate::case::Successes;

/// Times that stand for the many of a log.
const SAMPLES: u64 = 64;

/// What one server did, file by file.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// When a file begins, and what it counted.
    parts: Vec<(Option<i64>, Tally)>,
}

impl Past {
    /// Takes in what a file counted.
    pub(super) fn add(&mut self, first_us: Option<i64>, tally: &Tally) {
        self.parts.push((first_us, tally.clone()));
    }

    /// The same as a case wants it. When failures stand in another file than successes, `failed` has the
    /// first and the last of them.
    pub(super) fn successes(&self, failed: (Option<i64>, Option<i64>)) -> Successes {
        let mut parts: Vec<&(Option<i64>, Tally)> = self.parts.iter().collect();
        parts.sort_by_key(|(first, _)| *first);
        let mut out = Successes::default();
        let mut whole = 0;
        let mut has_failed = false;
        for (_, tally) in parts {
            whole += tally.successes;
            out.server_errors += tally.errors;
            out.paths.join(&tally.paths);
            out.last_us = out.last_us.max(tally.last_success_us);
            if !has_failed {
                out.before += tally.before_failure;
            }
            has_failed |= tally.failures > 0;
            out.since_failure = if tally.failures > 0 {
                tally.since_failure
            } else {
                out.since_failure + tally.successes
            };
            sample(tally, &mut out);
        }
        if !has_failed {
            (out.before, out.since_failure) = split(whole, out.last_us, failed);
        }
        out.count = whole.saturating_sub(out.before);
        out.since_failure = out.since_failure.min(out.count);
        out
    }
}

/// Of successes of which only the last has a time: how many came before the first failure, and since the
/// last.
fn split(whole: u64, last_us: Option<i64>, failed: (Option<i64>, Option<i64>)) -> (u64, u64) {
    match (last_us, failed) {
        (Some(last), (Some(first), _)) if last < first => (whole, 0),
        (Some(last), (_, Some(failed))) if last > failed => (0, 1.min(whole)),
        _ => (0, 0),
    }
}

/// A few times in proportion to all.
fn sample(tally: &Tally, out: &mut Successes) {
    if tally.timed == 0 {
        return;
    }
    let mut below = 0;
    for bit in 0..40_u32 {
        let top = (1_u64 << bit).saturating_mul(2).saturating_sub(1);
        let upto = tally.at_most(top);
        let here = upto.saturating_sub(below);
        below = upto;
        let middle = (top / 4 * 3).min(tally.max_us);
        for _ in 0..(here * SAMPLES).div_ceil(tally.timed) {
            out.took.add(middle);
        }
    }
    out.took.add(tally.max_us);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(successes: u64, failures: u64, before: u64, since: u64) -> Tally {
        let mut tally = Tally::default();
        (tally.successes, tally.failures) = (successes, failures);
        (tally.before_failure, tally.since_failure) = (before, since);
        tally.last_success_us = Some(50);
        tally
    }

    #[test]
    fn files_are_put_in_their_order() {
        let mut past = Past::default();
        past.add(Some(20), &tally(10, 2, 4, 1));
        past.add(Some(30), &tally(7, 0, 7, 7));
        past.add(Some(10), &tally(100, 0, 100, 100));
        let found = past.successes((None, None));
        assert_eq!((found.before, found.since_failure), (104, 8));
        assert_eq!(found.count, 13);
    }

    #[test]
    fn failures_of_another_file_are_placed_by_their_times() {
        let mut past = Past::default();
        past.add(Some(10), &tally(9, 0, 9, 9));
        let well_before = past.successes((Some(60), Some(70)));
        assert_eq!((well_before.before, well_before.count), (9, 0));
        let around = past.successes((Some(20), Some(40)));
        assert_eq!(
            (around.before, around.count, around.since_failure),
            (0, 9, 1)
        );
    }
}
