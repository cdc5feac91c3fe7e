//! The wall clock as a value, so that a test can say what time it is.

use std::fmt;
use std::sync::Arc;

/// Tells the time in seconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The clock of this host.
    #[must_use]
    pub fn wall() -> Self {
        Self::new(|| clearway_base::clock::wall() / 1_000_000)
    }

    /// A clock that asks `read` each time.
    #[must_use]
    pub fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A time as people and logs read it (RFC 3339, to the second).
pub(crate) fn text(unix: u64) -> String {
    let whole = clearway_base::clock::rfc3339(unix.saturating_mul(1_000_000));
    match whole.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => whole,
    }
}

/// A span as people read it: its two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3_600);
    let (minutes, rest) = (seconds % 3_600 / 60, seconds % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")];
    let told: Vec<String> = parts
        .iter()
        .skip_while(|(count, _)| *count == 0)
        .take(2)
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if told.is_empty() {
        "0 s".to_owned()
    } else {
        told.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_read_well() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(span(0), "0 s");
        assert_eq!(span(61), "1 min 1 s");
        assert_eq!(span(7_200), "2 h");
        assert_eq!(span(86_400 * 60 + 3), "60 d");
        assert_eq!(Clock::new(|| 7).now(), 7);
    }
}
