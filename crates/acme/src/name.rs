//! Names a certificate can be for, and sets of them.

use std::fmt;
use std::net::IpAddr;

/// How many names one certificate may have; public authorities refuse more.
pub const MAX_NAMES: usize = 100;

/// A DNS name, a wildcard (`*.example.org`) or an IP address, in its one canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Reads a name: lower-case from here on, without a final dot. Names with letters beyond ASCII come
    /// in their `xn--` form. A single label is a name too: private authorities issue for such.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self(ip.to_string()));
        }
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let base = lower.strip_prefix("*.").unwrap_or(&lower);
        let told = |why: &str| Err(format!("`{}` {why}", text.escape_debug()));
        if base.len() > 253 {
            return told("is longer than 253 characters");
        }
        if !base.is_ascii() {
            return told("has letters beyond ASCII; write it in its xn-- form");
        }
        if base.contains('*') {
            return told("has a `*` that is not its whole first label");
        }
        for label in base.split('.') {
            let is_fine = (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-');
            if !is_fine {
                return told("is not a DNS name");
            }
        }
        Ok(Self(lower))
    }

    /// The canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all names one label below [`Name::base`].
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without its `*.`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// The address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether a certificate for `self` is good for `other` (RFC 6125 section 6.4.3: a wildcard stands
    /// for exactly one label).
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self == other
            || self.is_wildcard()
                && !other.is_wildcard()
                && other.ip().is_none()
                && other
                    .0
                    .split_once('.')
                    .is_some_and(|(_, rest)| rest == self.base())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names of one certificate: at least one, sorted, none twice. Equal sets are the same certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Names(Vec<Name>);

impl Names {
    /// A set of names.
    ///
    /// # Errors
    /// When it is empty or has more than [`MAX_NAMES`].
    pub fn new(names: impl IntoIterator<Item = Name>) -> Result<Self, String> {
        let mut names: Vec<Name> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0 => Err("a certificate needs at least one name".to_owned()),
            1..=MAX_NAMES => Ok(Self(names)),
            many => Err(format!(
                "a certificate has at most {MAX_NAMES} names, not {many}"
            )),
        }
    }

    /// The set of one name.
    #[must_use]
    pub fn one(name: Name) -> Self {
        Self(vec![name])
    }

    /// The names in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Name> {
        self.0.iter()
    }

    /// What it is called in storage, logs and the admin API: its first name and a hash of all, made of
    /// characters that file systems take.
    #[must_use]
    pub fn id(&self) -> String {
        let joined = self.to_string();
        let first = self.0.iter().find(|name| !name.is_wildcard());
        let shown: String = first
            .or_else(|| self.0.first())
            .map_or("", Name::as_str)
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '.' {
                    c
                } else {
                    '-'
                }
            })
            .take(80)
            .collect();
        let hash = clearway_base::hash::stable(joined.as_bytes());
        format!("{}-{hash:016x}", shown.trim_start_matches(['.', '-']))
    }
}

impl<'a> IntoIterator for &'a Names {
    type Item = &'a Name;
    type IntoIter = std::slice::Iter<'a, Name>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(name("WWW.Example.ORG."), name("www.example.org"));
        assert_eq!(name("[2001:DB8::1]").as_str(), "2001:db8::1");
        assert_eq!(name("192.0.2.1").ip(), Some("192.0.2.1".parse().unwrap()));
        assert!(name("*.example.org").is_wildcard());
        assert_eq!(name("*.example.org").base(), "example.org");
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "not a DNS name"),
            ("*.", "`*`"),
            ("a..org", "not a DNS name"),
            ("-a.org", "not a DNS name"),
            ("a b.org", "not a DNS name"),
            ("../x.org", "not a DNS name"),
            ("a.*.org", "`*`"),
            ("*.*.org", "`*`"),
            ("bücher.example", "xn--"),
        ] {
            let told = Name::parse(text).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        assert!(Name::parse(&format!("{}.org", "a".repeat(64))).is_err());
        assert!(Name::parse(&["a"; 200].join(".")).is_err());
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let wild = name("*.example.org");
        assert!(wild.covers(&name("a.example.org")));
        assert!(wild.covers(&wild));
        for not in [
            "example.org",
            "a.b.example.org",
            "*.b.example.org",
            "a.example.com",
        ] {
            assert!(!wild.covers(&name(not)), "{not}");
        }
        assert!(!name("a.example.org").covers(&name("b.example.org")));
    }

    #[test]
    fn equal_sets_have_equal_ids() {
        let set = |names: &[&str]| Names::new(names.iter().map(|n| name(n))).unwrap();
        let (a, b) = (set(&["b.org", "a.org"]), set(&["a.org", "B.org", "a.org"]));
        assert_eq!(a.id(), b.id());
        assert!(a.id().starts_with("a.org-"), "{}", a.id());
        assert_ne!(a.id(), set(&["a.org"]).id());
        assert!(set(&["*.a.org"]).id().starts_with("a.org-"));
        assert!(set(&["::1"]).id().starts_with("1-"));
        assert_eq!(a.to_string(), "a.org,b.org");
        assert!(Names::new([]).is_err());
        assert!(Names::new((0..101).map(|n| name(&format!("a{n}.org")))).is_err());
    }
}
