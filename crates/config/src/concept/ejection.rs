//! `ejection`: servers that fail real requests get none for a while.

use std::time::Duration;

use clearway_balance::eject;

use super::{concept, table_value};

concept! {
    /// Servers that fail real requests get none for a while, each time longer. It works without
    /// health checks and beside them.
    Ejection, "ejection";

    /// Failed requests in a row that eject; 0 = off.
    consecutive: u32 = 5, range = Some((0.0, 10_000.0));
    /// Part of the requests within `window` whose failure ejects; 0 = off.
    rate: f64 = 0.0, range = Some((0.0, 1.0)), example = Some("0.5");
    /// Requests within `window` below which `rate` says nothing.
    min_requests: u32 = 20, range = Some((1.0, 1_000_000.0));
    /// Time over which `rate` is measured.
    window: Duration = Duration::from_secs(10), range = Some((0.1, 3_600.0));
    /// How long the first ejection lasts; the next ones last a multiple of it.
    duration: Duration = Duration::from_secs(10), range = Some((0.01, 86_400.0));
    /// How long an ejection lasts at most.
    max_duration: Duration = Duration::from_secs(300), range = Some((0.01, 86_400.0));
    /// Percent of the servers that may be ejected at the same time: when most seem broken, the fault
    /// is more likely elsewhere.
    max_percent: u8 = 50, range = Some((0.0, 100.0));
}
table_value!(Ejection);

impl Ejection {
    /// As the ejector wants it.
    #[must_use]
    pub fn policy(&self) -> eject::Policy {
        eject::Policy {
            consecutive: self.consecutive,
            rate: self.rate,
            min_requests: self.min_requests,
            window: self.window,
            duration: self.duration,
            max_duration: self.max_duration,
            max_percent: self.max_percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_ejectors_own() {
        assert_eq!(Ejection::default().policy(), eject::Policy::default());
    }
}
