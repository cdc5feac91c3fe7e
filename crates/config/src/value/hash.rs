//! What hash algorithms keep together.

use super::http::{check_header_name, check_token};
use super::{Problem, Text, text_values};
use crate::words;

/// What hash algorithms keep together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The client's address.
    Source,
    /// The whole request target.
    Uri,
    /// The path.
    Path,
    /// The begin of the path or of the request target.
    Part(UriPart),
    /// A header's value.
    Header(String),
    /// The main part of the domain in a header: `example` of `www.example.org`.
    Domain(String),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's value.
    Query(String),
    /// A value such as rules look at.
    Value(String),
}

/// The begin of a path or of a request target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UriPart {
    /// With the query.
    pub whole: bool,
    /// Bytes at most; 0 = any.
    pub length: u32,
    /// Folders at most; 0 = any.
    pub depth: u32,
}

impl UriPart {
    /// The part of a path or request target.
    #[must_use]
    pub fn of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let length = match self.length {
            0 => text.len(),
            length => text
                .len()
                .min(usize::try_from(length).unwrap_or(usize::MAX)),
        };
        let text = text.get(..length).unwrap_or(text);
        let mut slashes = 0;
        let end = text.iter().position(|byte| {
            slashes += u32::from(*byte == b'/');
            *byte == b'/' && self.depth > 0 && slashes > self.depth
        });
        text.get(..end.unwrap_or(text.len())).unwrap_or(text)
    }

    fn parse(whole: bool, text: &str) -> Option<Self> {
        let mut part = Self {
            whole,
            ..Self::default()
        };
        for word in text.split(',') {
            let (name, number) = word.split_once('=')?;
            let number = number.trim().parse().ok().filter(|number| *number > 0)?;
            match name.trim() {
                "length" => part.length = number,
                "depth" => part.depth = number,
                _ => return None,
            }
        }
        Some(part)
    }

    fn text(self) -> String {
        let words = [("length", self.length), ("depth", self.depth)];
        let words = words.iter().filter(|(_, number)| *number > 0);
        let words: Vec<String> = words.map(|(name, n)| format!("{name}={n}")).collect();
        let stem = if self.whole { "uri" } else { "path" };
        format!("{stem}:{}", words.join(","))
    }
}

impl Text for HashKey {
    const KIND: &'static str = "\"source\", \"uri\", \"path\", \"header:name\", \"cookie:name\", \"query:name\", \
         \"path:length=N,depth=N\" or the same with uri, \"domain:header\" or \"value:fetch\"";

    fn parse(text: &str) -> Result<Self, Problem> {
        let bad = || Problem::new(format!("{text:?} is not a hash key"), Self::KIND);
        match (text, text.split_once(':')) {
            ("source", _) => Ok(Self::Source),
            ("uri", _) => Ok(Self::Uri),
            ("path", _) => Ok(Self::Path),
            (_, Some((stem @ ("uri" | "path"), part))) => UriPart::parse(stem == "uri", part)
                .map(Self::Part)
                .ok_or_else(bad),
            (_, Some(("header", name))) => {
                check_header_name(name).map(|()| Self::Header(name.to_owned()))
            }
            (_, Some(("domain", name))) => {
                check_header_name(name).map(|()| Self::Domain(name.to_owned()))
            }
            (_, Some(("cookie", name))) => {
                check_token(name).map(|()| Self::Cookie(name.to_owned()))
            }
            (_, Some(("query", name))) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            (_, Some(("value", fetch))) => {
                crate::lower::rules::check_fetch(fetch).map(|()| Self::Value(fetch.to_owned()))
            }
            _ => {
                let mut problem = bad();
                problem.hint = words::closest(text, ["source", "uri", "path"])
                    .map(|close| format!("did you mean {close:?}?"));
                Err(problem)
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Source => "source".to_owned(),
            Self::Uri => "uri".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Part(part) => part.text(),
            Self::Header(name) => format!("header:{name}"),
            Self::Domain(name) => format!("domain:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Value(fetch) => format!("value:{fetch}"),
        }
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        match rng.below(9) {
            0 => Self::Source,
            1 => Self::Uri,
            2 => Self::Path,
            3 => Self::Header("x-user".to_owned()),
            4 => Self::Cookie("sid".to_owned()),
            5 => Self::Part(UriPart {
                whole: true,
                length: 3,
                depth: 0,
            }),
            6 => Self::Domain("host".to_owned()),
            7 => Self::Value("path|lower".to_owned()),
            _ => Self::Query("k".to_owned()),
        }
    }
}

text_values!(HashKey);

/// The main part of a domain: what stands before its last dot, up to the dot before that.
#[must_use]
pub fn main_domain(host: &[u8]) -> &[u8] {
    let Some(last) = host.iter().rposition(|byte| *byte == b'.') else {
        return host;
    };
    let stem = host.get(..last).unwrap_or(host);
    let begin = stem.iter().rposition(|byte| *byte == b'.');
    stem.get(begin.map_or(0, |dot| dot + 1)..).unwrap_or(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_paths() {
        let part = |length, depth| UriPart {
            whole: false,
            length,
            depth,
        };
        assert_eq!(part(0, 1).of(b"/a/b/c"), b"/a");
        assert_eq!(part(0, 2).of(b"/a/b/c"), b"/a/b");
        assert_eq!(part(3, 0).of(b"/abc"), b"/ab");
        assert_eq!(part(2, 2).of(b"/a/b"), b"/a");
        assert_eq!(part(9, 9).of(b"/a/b"), b"/a/b");
    }

    #[test]
    fn main_domains() {
        assert_eq!(main_domain(b"www.one.org"), b"one");
        assert_eq!(main_domain(b"three.org"), b"three");
        assert_eq!(main_domain(b"localhost"), b"localhost");
        assert_eq!(main_domain(b"."), b"");
    }
}
