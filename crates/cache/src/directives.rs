//! `Cache-Control` (RFC 9111 section 5.2).

/// What the fields of a message say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent directives, read by name"
)]
pub(crate) struct Directives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) max_age: Option<u64>,
    pub(crate) s_maxage: Option<u64>,
    pub(crate) stale_while_revalidate: u64,
    pub(crate) stale_if_error: u64,
}

/// Longest time that is believed, in seconds: ten years.
const LONGEST: u64 = 315_360_000;

impl Directives {
    /// Reads one more field.
    pub(crate) fn read(&mut self, value: &[u8]) {
        for item in items(value) {
            let mut parts = item.splitn(2, |&b| b == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let argument = parts.next().map(<[u8]>::trim_ascii);
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("no-store") {
                self.no_store = true;
            } else if is("no-cache") {
                // With names of fields it forbids those; a response without them is another one.
                self.no_cache = true;
            } else if is("private") {
                self.private = true;
            } else if is("public") {
                self.public = true;
            } else if is("must-revalidate") || is("proxy-revalidate") {
                self.must_revalidate = true;
            } else if is("max-age") {
                self.max_age = Some(least(self.max_age, seconds(argument)));
            } else if is("s-maxage") {
                self.s_maxage = Some(least(self.s_maxage, seconds(argument)));
                // RFC 9111 section 5.2.2.10.
                self.must_revalidate = true;
            } else if is("stale-while-revalidate") {
                self.stale_while_revalidate = seconds(argument);
            } else if is("stale-if-error") {
                self.stale_if_error = seconds(argument);
            }
        }
    }
}

/// Of several the shortest holds.
fn least(known: Option<u64>, new: u64) -> u64 {
    known.map_or(new, |known| known.min(new))
}

/// A number of seconds; what is none counts as 0, which is stale at once (RFC 9111 section 4.2.1).
fn seconds(argument: Option<&[u8]>) -> u64 {
    let text = argument.unwrap_or_default();
    let text = text
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or(LONGEST).min(LONGEST)
}

/// The parts between commas, of which those in quotes are none.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    value.split(move |&b| {
        quoted ^= b == b'"';
        b == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Directives {
        let mut directives = Directives::default();
        directives.read(text.as_bytes());
        directives
    }

    #[test]
    fn directives_are_read_whatever_their_form() {
        let found = read("Public, MAX-AGE=60 ,s-maxage=\"10\", stale-while-revalidate=5");
        assert!(found.public && found.must_revalidate && !found.private);
        assert_eq!((found.max_age, found.s_maxage), (Some(60), Some(10)));
        assert_eq!(found.stale_while_revalidate, 5);
        assert_eq!(read("max-age=60, max-age=5").max_age, Some(5));
        assert_eq!(read("max-age").max_age, Some(0));
        assert_eq!(read("max-age=-1").max_age, Some(0));
        let huge = read("max-age=99999999999999999999");
        assert_eq!(huge.max_age, Some(LONGEST));
        let named = read("private=\"a, no-store\", x=\"max-age=5\"");
        assert!(named.private && !named.no_store && named.max_age.is_none());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut directives = Directives::default();
            directives.read(&text);
            prop_assert!(directives.max_age.is_none_or(|age| age <= LONGEST));
        }
    }
}
