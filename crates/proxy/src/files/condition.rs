//! Whether the client has what it asks for already (RFC 9110 section 13).

use clearway_rules::ModifiedSince;

use super::Found;

/// What a request says about what it has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a [u8]>,
    pub(crate) if_none_match: Option<&'a [u8]>,
    pub(crate) if_modified_since: Option<&'a [u8]>,
    pub(crate) if_unmodified_since: Option<&'a [u8]>,
    pub(crate) if_range: Option<&'a [u8]>,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent.
    Send,
    /// The client has it: 304.
    NotModified,
    /// It is not what the client means: 412.
    Failed,
}

impl Conditions<'_> {
    /// In the order of RFC 9110 section 13.2.2.
    pub(crate) fn verdict(&self, found: &Found) -> Verdict {
        let tag = found.etag.as_deref().map(str::as_bytes);
        match (self.if_match, self.if_unmodified_since.and_then(seconds)) {
            (Some(list), _) if !lists(list, tag, false) => return Verdict::Failed,
            (None, Some(date)) if found.modified.is_some_and(|time| time > date) => {
                return Verdict::Failed;
            }
            _ => {}
        }
        let has = match self.if_none_match {
            Some(list) => {
                // Who wants an exact date wants both to agree.
                let is_exact = found.settings.modified_since == ModifiedSince::Exact;
                let agrees = !is_exact || self.unmodified(found) != Some(false);
                agrees && lists(list, tag, true)
            }
            None => self.unmodified(found) == Some(true),
        };
        if has {
            Verdict::NotModified
        } else {
            Verdict::Send
        }
    }

    /// Whether what the client has is as new; `None` when it says nothing about it.
    fn unmodified(&self, found: &Found) -> Option<bool> {
        let text = self.if_modified_since?;
        let time = found.modified?;
        let date = seconds(text);
        match found.settings.modified_since {
            ModifiedSince::Off => None,
            ModifiedSince::Before => Some(date.is_some_and(|date| time <= date)),
            ModifiedSince::Exact => Some(date == Some(time)),
        }
    }

    /// Whether ranges are of what there is now (RFC 9110 section 13.1.5).
    pub(crate) fn ranges_hold(&self, found: &Found) -> bool {
        let Some(text) = self.if_range else {
            return true;
        };
        if text.starts_with(b"\"") {
            return found.etag.as_deref().map(str::as_bytes) == Some(text);
        }
        seconds(text).is_some_and(|date| found.modified == Some(date))
    }
}

/// Whether a list of tags has one, or stands for all with a star.
fn lists(list: &[u8], tag: Option<&[u8]>, weakly: bool) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    let Some(tag) = tag else { return false };
    list.split(|&byte| byte == b',').any(|item| {
        let item = item.trim_ascii();
        let item = match item.strip_prefix(b"W/") {
            Some(item) if weakly => item,
            _ => item,
        };
        item == tag
    })
}

/// The time of a date in any of its three forms (RFC 9110 section 5.6.7).
pub(crate) fn seconds(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clearway_rules::FileSettings;

    use super::super::Body;
    use super::*;

    const DATE: &[u8] = b"Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &[u8] = b"Mon, 13 Nov 2023 22:13:20 GMT";
    const AFTER: &[u8] = b"Wed, 15 Nov 2023 22:13:20 GMT";

    fn found(modified_since: ModifiedSince) -> Found {
        Found {
            settings: Arc::new(FileSettings {
                modified_since,
                ..FileSettings::default()
            }),
            body: Body::Text(Vec::new()),
            media_type: String::new(),
            modified: Some(1_700_000_000),
            etag: Some("\"6553f100-b\"".to_owned()),
            coding: None,
            varies: false,
        }
    }

    #[test]
    fn tags_and_dates_are_compared() {
        use Verdict::{Failed, NotModified, Send};
        let none = Conditions::default();
        let since = |date| Conditions {
            if_modified_since: Some(date),
            ..none
        };
        let tags = |list: &'static [u8]| Conditions {
            if_none_match: Some(list),
            ..none
        };
        let cases = [
            (none, Send, Send),
            (since(DATE), NotModified, NotModified),
            (since(AFTER), NotModified, Send),
            (since(BEFORE), Send, Send),
            (since(b"nonsense"), Send, Send),
            (tags(b"\"6553f100-b\""), NotModified, NotModified),
            (tags(b"\"x\", W/\"6553f100-b\""), NotModified, NotModified),
            (tags(b"*"), NotModified, NotModified),
            (tags(b"\"x\""), Send, Send),
            (
                Conditions {
                    if_modified_since: Some(BEFORE),
                    ..tags(b"*")
                },
                NotModified,
                Send,
            ),
            (
                Conditions {
                    if_modified_since: Some(DATE),
                    ..tags(b"\"x\"")
                },
                Send,
                Send,
            ),
            (
                Conditions {
                    if_match: Some(b"W/\"6553f100-b\""),
                    ..none
                },
                Failed,
                Failed,
            ),
            (
                Conditions {
                    if_match: Some(b"\"6553f100-b\""),
                    if_unmodified_since: Some(BEFORE),
                    ..none
                },
                Send,
                Send,
            ),
            (
                Conditions {
                    if_unmodified_since: Some(BEFORE),
                    ..none
                },
                Failed,
                Failed,
            ),
        ];
        for (conditions, before, exact) in cases {
            let verdict = |how| conditions.verdict(&found(how));
            assert_eq!(verdict(ModifiedSince::Before), before, "{conditions:?}");
            assert_eq!(verdict(ModifiedSince::Exact), exact, "{conditions:?}");
        }
        let verdict = since(DATE).verdict(&found(ModifiedSince::Off));
        assert_eq!(verdict, Send);
    }

    #[test]
    fn ranges_hold_for_what_did_not_change() {
        let with = |text| Conditions {
            if_range: Some(text),
            ..Conditions::default()
        };
        let found = found(ModifiedSince::Before);
        for (text, holds) in [
            (&b"\"6553f100-b\""[..], true),
            (b"\"other\"", false),
            (b"W/\"6553f100-b\"", false),
            (DATE, true),
            (AFTER, false),
        ] {
            assert_eq!(with(text).ranges_hold(&found), holds);
        }
    }
}
