//! Certificates on demand: which names may be asked for, and how fast.
//!
//! Strangers choose server names, so an allow list is not optional, and orders are rationed by a bucket
//! of our own before an authority rations them for everybody.

use std::fmt;

use crate::clock::span;
use crate::name::Name;

/// Which names may be asked for: one name, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This name alone.
    Exact(Name),
    /// Any name below this one, however deep, but not it itself; written `*.example.org`.
    Below(Name),
}

impl Pattern {
    /// Reads `example.org` or `*.example.org`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = Name::parse(text)?;
        if name.ip().is_some() {
            return Err(format!(
                "`{name}` is an address: no server name asks for one"
            ));
        }
        if name.is_wildcard() {
            Ok(Self::Below(name))
        } else {
            Ok(Self::Exact(name))
        }
    }

    /// Whether it allows a name.
    #[must_use]
    pub fn allows(&self, name: &Name) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Below(suffix) => name
                .as_str()
                .strip_suffix(suffix.base())
                .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
        }
    }
}

/// Why a name gets no certificate on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// There are no certificates on demand.
    Off,
    /// The server name is no DNS name.
    NotAName(String),
    /// No pattern of the allow list matches.
    NotAllowed(Name),
    /// Too many were asked for; seconds until the next one.
    TooFast(u64),
    /// So many certificates on demand are held that no further one is taken.
    Full(usize),
    /// The last order failed and its pause is not over; why, and seconds until the next try.
    Failed(String, u64),
    /// The keeper has ended.
    Ended,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("certificates on demand are off"),
            Self::NotAName(why) => f.write_str(why),
            Self::NotAllowed(name) => write!(
                f,
                "{name} is not in the allow list of certificates on demand"
            ),
            Self::TooFast(wait) => write!(
                f,
                "too many certificates were asked for; the next may be ordered in {}",
                span(*wait)
            ),
            Self::Full(max) => write!(
                f,
                "{max} certificates on demand are held, which is the limit set"
            ),
            Self::Failed(why, wait) => write!(f, "{why}; tried again in {}", span(*wait)),
            Self::Ended => f.write_str("the certificate keeper has ended"),
        }
    }
}

impl std::error::Error for Denial {}

/// Rations orders: `burst` at once, refilled at `per_hour`.
#[derive(Clone, Debug)]
pub struct Bucket {
    burst: u32,
    per_hour: u32,
    /// In shares of an hour: one order costs 3,600.
    level: u64,
    filled_at: u64,
}

/// What one order costs; `per_hour` of it come back each second.
const COST: u64 = 3_600;

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(burst: u32, per_hour: u32, now: u64) -> Self {
        Self {
            burst,
            per_hour,
            level: u64::from(burst) * COST,
            filled_at: now,
        }
    }

    /// Takes other limits and keeps what was spent.
    pub fn resize(&mut self, burst: u32, per_hour: u32, now: u64) {
        self.fill(now);
        let spent = (u64::from(self.burst) * COST).saturating_sub(self.level);
        (self.burst, self.per_hour) = (burst, per_hour);
        self.level = (u64::from(burst) * COST).saturating_sub(spent);
    }

    /// Takes one order out.
    ///
    /// # Errors
    /// Seconds until there is one.
    pub fn take(&mut self, now: u64) -> Result<(), u64> {
        self.look(now)?;
        self.level -= COST;
        Ok(())
    }

    /// Whether one order could be taken out.
    ///
    /// # Errors
    /// Seconds until there is one.
    pub fn look(&mut self, now: u64) -> Result<(), u64> {
        self.fill(now);
        if self.level >= COST {
            return Ok(());
        }
        let missing = COST - self.level;
        Err(match u64::from(self.per_hour) {
            _ if self.burst == 0 => u64::MAX,
            0 => u64::MAX,
            rate => missing.div_ceil(rate),
        })
    }

    fn fill(&mut self, now: u64) {
        let passed = now.saturating_sub(self.filled_at);
        let full = u64::from(self.burst) * COST;
        let back = passed.saturating_mul(u64::from(self.per_hour));
        self.level = self.level.saturating_add(back).min(full);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn patterns_allow_what_they_say() {
        let exact = Pattern::parse("Example.org").unwrap();
        let below = Pattern::parse("*.example.org").unwrap();
        for (host, by_exact, by_below) in [
            ("example.org", true, false),
            ("a.example.org", false, true),
            ("a.b.example.org", false, true),
            ("badexample.org", false, false),
            ("example.org.evil.com", false, false),
        ] {
            assert_eq!(exact.allows(&name(host)), by_exact, "{host}");
            assert_eq!(below.allows(&name(host)), by_below, "{host}");
        }
        assert!(Pattern::parse("192.0.2.1").is_err());
        assert!(Pattern::parse("*").is_err());
        assert!(Pattern::parse("*.lan").unwrap().allows(&name("a.lan")));
    }

    #[test]
    fn denials_say_why() {
        let told = Denial::NotAllowed(name("a.evil.com")).to_string();
        assert!(
            told.contains("a.evil.com is not in the allow list"),
            "{told}"
        );
        assert!(Denial::TooFast(90).to_string().contains("1 min 30 s"));
    }

    #[test]
    fn a_burst_then_so_many_an_hour() {
        let mut bucket = Bucket::new(2, 6, 1_000);
        assert_eq!(bucket.take(1_000), Ok(()));
        assert_eq!(bucket.take(1_000), Ok(()));
        assert_eq!(bucket.take(1_000), Err(600));
        assert_eq!(bucket.take(1_300), Err(300));
        assert_eq!(bucket.take(1_600), Ok(()));
        // A clock that steps back gives nothing away.
        assert_eq!(bucket.take(10), Err(600));
        assert_eq!(Bucket::new(0, 6, 0).take(0), Err(u64::MAX));
        let mut once = Bucket::new(1, 0, 0);
        assert_eq!(once.take(0), Ok(()));
        assert_eq!(once.take(1 << 40), Err(u64::MAX));
    }

    #[test]
    fn other_limits_forget_nothing() {
        let mut bucket = Bucket::new(2, 1, 0);
        bucket.take(0).unwrap();
        bucket.take(0).unwrap();
        bucket.resize(3, 1, 0);
        assert_eq!(bucket.take(0), Ok(()));
        assert!(bucket.take(0).is_err());
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow(
            burst in 0_u32..10, rate in 0_u32..100, steps in proptest::collection::vec(0_u64..2_000, 1..60),
        ) {
            let mut bucket = Bucket::new(burst, rate, 0);
            let (mut now, mut taken) = (0, 0_u64);
            for step in steps {
                now += step;
                match bucket.take(now) {
                    Ok(()) => taken += 1,
                    Err(wait) => {
                        prop_assert!(wait > 0);
                        if wait < 1 << 40 && burst > 0 {
                            prop_assert!(bucket.clone().take(now + wait).is_ok());
                        }
                    }
                }
                prop_assert!(taken * COST <= u64::from(burst) * COST + now * u64::from(rate));
            }
        }
    }
}
