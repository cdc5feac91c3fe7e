//! Comparison with texts: whole, begin, end, middle, paths and host names.

use clearway_base::hash::Set;
use memchr::memmem::Finder;

use crate::ast::Test;

/// Above so many texts a hash is cheaper than looking at each.
const FEW: usize = 8;

/// Texts and how values are compared with them.
#[derive(Debug)]
pub(crate) struct Literals {
    how: How,
    /// Lower case when case is ignored.
    texts: Box<[Box<[u8]>]>,
    ignore_case: bool,
}

#[derive(Debug)]
enum How {
    Exact,
    /// Exact, with many texts.
    Hashed(Set<Box<[u8]>>),
    Prefix,
    Suffix,
    Contains(Vec<Finder<'static>>),
    PathPrefix,
    Wildcard,
}

impl Literals {
    /// The literals of a test; nothing fits when the test has none.
    pub(crate) fn new(test: &Test, ignore_case: bool) -> Self {
        let (mut how, texts, fold) = match test {
            Test::Exact(texts) => (How::Exact, texts.as_slice(), ignore_case),
            Test::Prefix(texts) => (How::Prefix, texts.as_slice(), ignore_case),
            Test::Suffix(texts) => (How::Suffix, texts.as_slice(), ignore_case),
            Test::Contains(texts) => {
                let find = |text: &String| Finder::new(text.as_bytes()).into_owned();
                let finders = texts.iter().map(find).collect();
                (How::Contains(finders), texts.as_slice(), false)
            }
            Test::PathPrefix(texts) => (How::PathPrefix, texts.as_slice(), ignore_case),
            Test::Wildcard(texts) => (How::Wildcard, texts.as_slice(), true),
            Test::Regex(_)
            | Test::Network(_)
            | Test::Exists
            | Test::Range { .. }
            | Test::Length { .. } => (How::Exact, [].as_slice(), false),
        };
        let text = |text: &String| {
            let text = match (&how, text.as_str()) {
                (How::PathPrefix, text) => text.strip_suffix('/').unwrap_or(text),
                (How::Wildcard, text) => text.strip_suffix('.').unwrap_or(text),
                (_, text) => text,
            };
            match fold {
                true => text.to_ascii_lowercase().into_bytes().into_boxed_slice(),
                false => text.as_bytes().into(),
            }
        };
        let texts: Box<[Box<[u8]>]> = texts.iter().map(text).collect();
        if matches!(how, How::Exact) && texts.len() > FEW {
            how = How::Hashed(texts.iter().cloned().collect());
        }
        Self {
            how,
            texts,
            ignore_case: fold,
        }
    }

    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        let same = |a: &[u8], b: &[u8]| match self.ignore_case {
            true => a.eq_ignore_ascii_case(b),
            false => a == b,
        };
        let any = |fits: &dyn Fn(&[u8]) -> bool| self.texts.iter().any(|text| fits(text));
        match &self.how {
            How::Exact => any(&|text| same(value, text)),
            How::Hashed(set) => {
                match self.ignore_case && value.iter().any(u8::is_ascii_uppercase) {
                    true => set.contains(value.to_ascii_lowercase().as_slice()),
                    false => set.contains(value),
                }
            }
            How::Prefix => any(&|text| value.get(..text.len()).is_some_and(|v| same(v, text))),
            How::Suffix => any(&|text| ends(value, text, &same)),
            How::Contains(finders) => finders.iter().any(|finder| finder.find(value).is_some()),
            How::PathPrefix => any(&|text| {
                value
                    .split_at_checked(text.len())
                    .is_some_and(|(begin, rest)| {
                        same(begin, text) && (rest.is_empty() || rest.starts_with(b"/"))
                    })
                    || text.is_empty()
            }),
            How::Wildcard => any(&|text| match text.strip_prefix(b"*") {
                Some(b"") => true,
                Some(end) => value.len() > end.len() && ends(value, end, &same),
                None => same(value, text),
            }),
        }
    }
}

fn ends(value: &[u8], end: &[u8], same: &dyn Fn(&[u8], &[u8]) -> bool) -> bool {
    let start = value.len().checked_sub(end.len());
    start.is_some_and(|start| value.get(start..).is_some_and(|v| same(v, end)))
}

/// What follows `prefix` (without slash at its end) in a path that is it or below it.
pub(crate) fn below<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix)?;
    (prefix.is_empty() || rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}
