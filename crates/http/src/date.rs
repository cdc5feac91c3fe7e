//! The `Date` of replies, formatted once a second (RFC 9110 section 5.6.7).

use clearway_base::clock::Civil;

/// The date of the current second as text.
#[derive(Clone, Debug)]
pub struct DateCache {
    second: u64,
    text: [u8; 29],
}

impl Default for DateCache {
    fn default() -> Self {
        Self::new()
    }
}

impl DateCache {
    /// A cache that has formatted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            second: u64::MAX,
            text: [b' '; 29],
        }
    }

    /// The date at `unix_micros` microseconds since the Unix epoch.
    pub fn at(&mut self, unix_micros: u64) -> &[u8; 29] {
        let second = unix_micros / 1_000_000;
        if second != self.second {
            self.second = second;
            let c = Civil::from_unix_micros(unix_micros);
            let (day, month) = (c.day_name(), c.month_name());
            let text = format!(
                "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
                c.day, c.year, c.hour, c.minute, c.second
            );
            if let Ok(text) = text.as_bytes().try_into() {
                self.text = text;
            }
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_preferred_form() {
        let mut cache = DateCache::new();
        assert_eq!(
            cache.at(784_111_777_000_000),
            b"Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            cache.at(784_111_777_999_999),
            b"Sun, 06 Nov 1994 08:49:37 GMT"
        );
        assert_eq!(
            cache.at(784_111_778_000_000),
            b"Sun, 06 Nov 1994 08:49:38 GMT"
        );
    }
}
