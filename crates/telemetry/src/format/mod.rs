//! Log formats: one file each.

pub mod combined;
pub mod haproxy;
pub mod json;

use clearway_base::clock::Civil;
use clearway_outcome::Record;

macro_rules! formats {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $module:ident,)+) => {
        /// How a record is written as a line.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Format { #[default] $($(#[doc = $doc])+ $variant,)+ }

        impl Format {
            /// Every format.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, as a sentence.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }

            /// Appends the record as one line.
            pub fn write(self, record: &Record<'_>, out: &mut Vec<u8>) {
                match self { $(Self::$variant => $module::write(record, out),)+ }
            }
        }
    };
}

formats! {
    /// One JSON object per line with every field.
    Json = "json" json,
    /// HAProxy's `httplog`, or `tcplog` at layer 4.
    Haproxy = "haproxy" haproxy,
    /// NGINX's `combined`.
    Combined = "combined" combined,
}

/// `21/Nov/2026:07:30:00`: the time of common logs, up to the second.
fn common_log_time(c: &Civil) -> String {
    format!(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02}",
        c.day,
        c.month_name(),
        c.year,
        c.hour,
        c.minute,
        c.second
    )
}

#[cfg(test)]
mod tests {
    use clearway_base::clock::Stamp;

    use super::*;
    use crate::{receipt, sample};

    #[test]
    fn common_logs_spell_the_time_alike() {
        let date = Civil::from_unix_micros(1_795_246_199_999_000);
        assert_eq!(common_log_time(&date), "21/Nov/2026:07:29:59");
    }

    #[test]
    fn no_number_is_too_large() {
        let mut attempt = sample::failed_attempt();
        (attempt.ended_us, attempt.reuse.uses) = (u64::MAX, u32::MAX);
        let attempts = [attempt];
        let mut record = sample::record(&attempts);
        record.started = Stamp(u64::MAX);
        (record.timings.head_us, record.timings.total_us) = (u64::MAX, u64::MAX);
        (record.bytes_out, record.status) = (u64::MAX, u16::MAX);
        for &format in Format::ALL {
            format.write(&record, &mut Vec::new());
        }
        assert!(receipt::words(&record).contains("(request 4294967295, "));
    }

    #[test]
    fn no_client_byte_can_break_a_line() {
        // U+009B, the start of an escape sequence in one character.
        let hostile: Vec<u8> = (0..=255).chain(*b"\n\"\\\xc2\x9b").collect();
        for &format in Format::ALL {
            let attempts = [sample::failed_attempt()];
            let mut record = sample::record(&attempts);
            (record.method, record.target, record.host) = (&hostile, &hostile, &hostile);
            (record.referer, record.user_agent) = (&hostile, &hostile);
            let mut out = Vec::new();
            format.write(&record, &mut out);
            let line = String::from_utf8(out).unwrap();
            let controls: Vec<char> = line.chars().filter(|c| c.is_control()).collect();
            assert_eq!(controls, ['\n'], "{}", format.name());
            assert!(line.ends_with('\n'), "{}", format.name());
        }
    }
}
