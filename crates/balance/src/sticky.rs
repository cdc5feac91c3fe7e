//! Stickiness by cookie: the client brings back a token that names its server.

use std::fmt::Write;
use std::time::Duration;

use clearway_base::hash::stable_seeded;

/// Length of a token: 64 bits in hexadecimal.
pub const TOKEN_LEN: usize = 16;

/// When browsers send the cookie along with requests from other sites (RFC 6265bis section 5.6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only when the user follows a link.
    #[default]
    Lax,
    /// Always; browsers then insist on `secure`.
    None,
    /// As each browser sees fit.
    Unset,
}

impl SameSite {
    fn attribute(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
            Self::Unset => "",
        }
    }
}

/// Whose cookie it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One of our own.
    #[default]
    Insert,
    /// One that servers set, whose value is replaced.
    Rewrite,
    /// One that servers set, before whose value ours stands, with `~` between them.
    Prefix,
}

/// What stands between our value and that of the server.
const BEFORE_SERVERS: u8 = b'~';

/// What stands before the times in our value.
const BEFORE_TIME: u8 = b'|';

/// The cookie to set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent attributes, read by name"
)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The path below which browsers send it.
    pub path: String,
    /// Whether scripts are kept from reading it.
    pub http_only: bool,
    /// Whether it is sent over encrypted connections only.
    pub secure: bool,
    /// When it is sent along with requests from other sites.
    pub same_site: SameSite,
    /// How long browsers keep it; `None` = until they are closed.
    pub max_age: Option<Duration>,
    /// The domain whose hosts they send it to; `None` = the host that set it.
    pub domain: Vec<String>,
    /// Whether servers are kept from seeing it.
    pub hidden: bool,
    /// Whether caches are told to keep nothing of a response that sets it.
    pub private: bool,
    /// Whose it is.
    pub mode: Mode,
    /// Whether only requests with POST get it.
    pub post_only: bool,
    /// Whether a server that sets a cookie of this name is left to do so.
    pub preserve: bool,
    /// Further attributes, as they are written.
    pub attributes: Vec<String>,
    /// How long it ties a client that does not come back; `None` = for ever.
    pub max_idle: Option<Duration>,
    /// How long it ties a client in all; `None` = for ever.
    pub max_life: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            name: "CLEARWAY".to_owned(),
            path: "/".to_owned(),
            http_only: true,
            secure: false,
            same_site: SameSite::default(),
            max_age: None,
            domain: Vec::new(),
            hidden: false,
            private: false,
            mode: Mode::Insert,
            post_only: false,
            preserve: false,
            attributes: Vec::new(),
            max_idle: None,
            max_life: None,
        }
    }
}

/// Tokens and cookies of one backend's servers.
#[derive(Clone, Debug)]
pub struct Sticky {
    policy: Policy,
    /// The Set-Cookie line of each server, ready to send.
    cookies: Vec<String>,
    /// Token and position of each server, sorted by token.
    by_token: Vec<(Box<[u8]>, usize)>,
}

impl Sticky {
    /// Prepares tokens for servers, given by identity (name or address).
    ///
    /// A token is a keyed hash of the identity: the same on every balancer with the same `secret`
    /// and across restarts, and without the secret not linked to an address. The hash is not a
    /// cryptographic one; clients can at best choose their server with it, never an address.
    #[must_use]
    pub fn new<'a>(
        policy: Policy,
        secret: u64,
        servers: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let token = |server: &str| format!("{:016x}", stable_seeded(server.as_bytes(), secret));
        Self::with_tokens(policy, servers.into_iter().map(token))
    }

    /// Takes tokens as they are, in the order of the servers; one that is empty ties nobody, and its cookie
    /// makes clients forget another.
    #[must_use]
    pub fn with_tokens(policy: Policy, tokens: impl IntoIterator<Item = String>) -> Self {
        let mut by_token = Vec::new();
        let mut cookies = Vec::new();
        for (index, token) in tokens.into_iter().enumerate() {
            cookies.push(policy.cookie(&token));
            if !token.is_empty() {
                by_token.push((token.into_bytes().into_boxed_slice(), index));
            }
        }
        by_token.sort_unstable();
        Self {
            policy,
            cookies,
            by_token,
        }
    }

    /// Name of the cookie.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.policy.name
    }

    /// The position of the server that a cookie's value names; `None` for anything else, which may
    /// be a server that is gone or a client's invention.
    #[must_use]
    pub fn find(&self, value: &[u8]) -> Option<usize> {
        let at = self.by_token.partition_point(|(token, _)| **token < *value);
        let found = self.by_token.get(at);
        found
            .filter(|(token, _)| **token == *value)
            .map(|&(_, index)| index)
    }

    /// What the cookie is for, beside tying clients.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What a client's cookie says at a time, in seconds since 1970.
    #[must_use]
    pub fn read(&self, value: &[u8], now: i64) -> Brought {
        let mark = match self.policy.mode {
            Mode::Prefix => BEFORE_SERVERS,
            Mode::Insert | Mode::Rewrite => BEFORE_TIME,
        };
        let mut parts = value.splitn(3, |byte| *byte == mark);
        let token = parts.next().unwrap_or_default();
        let mut times = [None, None];
        match self.policy.mode {
            Mode::Prefix if parts.next().is_none() => return Brought::default(),
            Mode::Prefix => {}
            Mode::Insert | Mode::Rewrite => times = [parts.next(), parts.next()],
        }
        let [last, first] = times.map(|time| time.and_then(decode_time));
        let is_over = |since: Option<i64>, limit: Option<Duration>| {
            let limit = limit.and_then(|limit| i64::try_from(limit.as_secs()).ok());
            let age = since.map(|since| now.saturating_sub(since));
            age.zip(limit)
                .is_some_and(|(age, limit)| age > limit || age < -FUTURE)
        };
        if is_over(last, self.policy.max_idle) || is_over(first, self.policy.max_life) {
            return Brought::default();
        }
        Brought {
            server: self.find(token),
            last,
            first,
        }
    }

    /// Whether a client that is where its cookie says gets it again: the times in it are to move on.
    #[must_use]
    pub fn is_due(&self, brought: &Brought, now: i64) -> bool {
        let idles = self.policy.max_idle.is_some() || brought.last.is_some();
        let is_old = brought.last.is_none_or(|last| last < now);
        (idles && is_old) || (self.policy.max_life.is_some() != brought.first.is_some())
    }

    /// The same as [`Sticky::set_cookie`], with the times in it where there are limits.
    #[must_use]
    pub fn renewed(&self, server: usize, brought: &Brought, now: i64) -> Option<String> {
        let (token, _) = self.by_token.iter().find(|(_, at)| *at == server)?;
        let mut value = String::from_utf8_lossy(token).into_owned();
        if self.policy.max_idle.is_some() || self.policy.max_life.is_some() {
            value.push(char::from(BEFORE_TIME));
            value.push_str(&encode_time(now + 3));
            if self.policy.max_life.is_some() {
                value.push(char::from(BEFORE_TIME));
                value.push_str(&encode_time(brought.first.unwrap_or(now + 3)));
            }
        }
        Some(self.policy.cookie(&value))
    }

    /// What becomes of a `Set-Cookie` of a server; `None` = it stays. `is_direct` = the client named it.
    #[must_use]
    pub fn of_server(&self, server: usize, is_direct: bool, line: &[u8]) -> Option<OfServer> {
        let at = line.iter().position(|byte| *byte == b'=')?;
        let (name, rest) = line.split_at_checked(at)?;
        let name = name.trim_ascii();
        if name != self.policy.name.as_bytes() {
            return None;
        }
        if self.policy.preserve {
            return Some(OfServer::Stays);
        }
        let token = || self.by_token.iter().find(|(_, at)| *at == server);
        if self.policy.mode == Mode::Insert || (is_direct && self.policy.hidden) {
            return Some(OfServer::Goes);
        }
        let (token, _) = token()?;
        let rest = rest.get(1..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b';');
        let (value, attributes) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        let mut text = [name, b"=", token].concat();
        if self.policy.mode == Mode::Prefix {
            text.push(BEFORE_SERVERS);
            text.extend_from_slice(value.trim_ascii());
        }
        text.extend_from_slice(attributes);
        Some(OfServer::Becomes(text))
    }

    /// The value of a client's cookie as servers see it: without ours before theirs.
    #[must_use]
    pub fn for_server<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        let cut = || {
            let at = value.iter().position(|byte| *byte == BEFORE_SERVERS)?;
            value.get(at + 1..)
        };
        match self.policy.mode {
            Mode::Prefix => cut().unwrap_or(value),
            Mode::Insert | Mode::Rewrite => value,
        }
    }

    /// The value of the `Set-Cookie` header that ties a client to a server.
    #[must_use]
    pub fn set_cookie(&self, server: usize) -> Option<&str> {
        self.cookies.get(server).map(String::as_str)
    }
}

/// What a client's cookie says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// The position of the server.
    pub server: Option<usize>,
    /// When it was last set, in seconds since 1970.
    pub last: Option<i64>,
    /// When it was first set.
    pub first: Option<i64>,
}

/// What becomes of a cookie that a server sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfServer {
    /// It stays, and none of our own is set.
    Stays,
    /// It goes.
    Goes,
    /// It is this.
    Becomes(Vec<u8>),
}

/// How far ahead of ours the clock of another balancer may be, in seconds.
const FUTURE: i64 = 86_400;

/// The digits of times, each of six bits.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A time in seconds since 1970 as HAProxy writes it into cookies: five digits, in steps of four seconds.
fn encode_time(seconds: i64) -> String {
    let digit = |shift: u32| {
        let at = usize::try_from((seconds >> 2 >> shift) & 63).unwrap_or(0);
        DIGITS.get(at).map_or('A', |digit| char::from(*digit))
    };
    [24, 18, 12, 6, 0].map(digit).iter().collect()
}

fn decode_time(text: &[u8]) -> Option<i64> {
    if text.len() != 5 {
        return None;
    }
    let value = text.iter().try_fold(0_i64, |value, byte| {
        let at = DIGITS.iter().position(|digit| digit == byte)?;
        Some(value << 6 | i64::try_from(at).ok()?)
    })?;
    Some(value << 2).filter(|seconds| *seconds > 0)
}

impl Policy {
    fn cookie(&self, token: &str) -> String {
        let mut text = format!("{}={token}", self.name);
        if token.is_empty() {
            // Whoever comes to a server that ties nobody forgets another that did.
            text.push_str("; Expires=Thu, 01-Jan-1970 00:00:01 GMT");
        }
        let _ = write!(text, "; Path={}", self.path);
        for domain in &self.domain {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        if let Some(age) = self.max_age {
            // Writing to a string cannot fail.
            let _ = write!(text, "; Max-Age={}", age.as_secs());
        }
        if self.http_only {
            text.push_str("; HttpOnly");
        }
        if self.secure {
            text.push_str("; Secure");
        }
        if self.same_site != SameSite::Unset {
            text.push_str("; SameSite=");
            text.push_str(self.same_site.attribute());
        }
        for attribute in &self.attributes {
            text.push_str("; ");
            text.push_str(attribute);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVERS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "unix:/run/app"];

    fn token(sticky: &Sticky, server: usize) -> String {
        let cookie = sticky.set_cookie(server).unwrap();
        let (pair, _) = cookie.split_once(';').unwrap();
        pair.split_once('=').unwrap().1.to_owned()
    }

    #[test]
    fn a_token_leads_back_to_its_server_wherever_it_is_in_the_list() {
        let sticky = Sticky::new(Policy::default(), 42, SERVERS);
        let turned = Sticky::new(Policy::default(), 42, SERVERS.into_iter().rev());
        for server in 0..3 {
            let token = token(&sticky, server);
            assert_eq!(sticky.find(token.as_bytes()), Some(server));
            assert_eq!(turned.find(token.as_bytes()), Some(2 - server));
            assert!(!SERVERS.iter().any(|s| token.contains(s)));
        }
        let other = Sticky::new(Policy::default(), 43, SERVERS);
        assert_eq!(other.find(token(&sticky, 0).as_bytes()), None);
    }

    #[test]
    fn cookies_have_the_attributes_asked_for() {
        let plain = Sticky::new(Policy::default(), 1, SERVERS);
        let value = token(&plain, 0);
        assert_eq!(
            plain.set_cookie(0).unwrap(),
            format!("CLEARWAY={value}; Path=/; HttpOnly; SameSite=Lax")
        );
        let policy = Policy {
            name: "s".to_owned(),
            path: "/app".to_owned(),
            http_only: false,
            secure: true,
            same_site: SameSite::None,
            max_age: Some(Duration::from_secs(3_600)),
            ..Policy::default()
        };
        let full = Sticky::new(policy, 1, SERVERS);
        assert_eq!(
            full.set_cookie(0).unwrap(),
            format!("s={value}; Path=/app; Max-Age=3600; Secure; SameSite=None")
        );
        assert_eq!(full.set_cookie(3), None);
        assert_eq!(full.name(), "s");
    }

    #[test]
    fn times_are_written_and_read() {
        for seconds in [4, 1_700_000_000, 4_000_000_000] {
            assert_eq!(
                decode_time(encode_time(seconds).as_bytes()),
                Some(seconds & !3)
            );
        }
        let policy = Policy {
            name: "s".to_owned(),
            max_idle: Some(Duration::from_secs(60)),
            max_life: Some(Duration::from_secs(600)),
            ..Policy::default()
        };
        let sticky = Sticky::with_tokens(policy, ["one", ""].map(str::to_owned));
        let now = 1_700_000_000;
        let fresh = sticky.renewed(0, &Brought::default(), now).unwrap();
        let value = fresh.strip_prefix("s=").unwrap().split(';').next().unwrap();
        let brought = sticky.read(value.as_bytes(), now + 10);
        assert_eq!(brought.server, Some(0));
        assert!(sticky.is_due(&brought, now + 10));
        assert_eq!(sticky.read(value.as_bytes(), now + 70).server, None);
        assert_eq!(sticky.read(b"one", now).server, Some(0));
        assert!(sticky.renewed(1, &brought, now).is_none());
    }

    #[test]
    fn cookies_of_servers_are_changed() {
        let sticky = |mode, preserve| {
            let policy = Policy {
                name: "s".to_owned(),
                mode,
                preserve,
                ..Policy::default()
            };
            Sticky::with_tokens(policy, ["one", ""].map(str::to_owned))
        };
        let becomes = |text: &str| Some(OfServer::Becomes(text.as_bytes().to_vec()));
        let rewrite = sticky(Mode::Rewrite, false);
        assert_eq!(
            rewrite.of_server(0, false, b"s=x; path=/"),
            becomes("s=one; path=/")
        );
        assert_eq!(rewrite.of_server(1, false, b"s=x"), None);
        assert_eq!(rewrite.of_server(0, false, b"other=x"), None);
        let prefix = sticky(Mode::Prefix, false);
        assert_eq!(prefix.of_server(0, false, b"s=x; a"), becomes("s=one~x; a"));
        assert_eq!(prefix.read(b"one~x", 0).server, Some(0));
        assert_eq!(prefix.read(b"one", 0).server, None);
        assert_eq!(prefix.for_server(b"one~x"), b"x");
        let insert = sticky(Mode::Insert, false);
        assert_eq!(insert.of_server(0, false, b"s=x"), Some(OfServer::Goes));
        let keep = sticky(Mode::Insert, true);
        assert_eq!(keep.of_server(0, false, b"s=x"), Some(OfServer::Stays));
    }

    proptest! {
        #[test]
        fn strange_values_name_nobody(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let sticky = Sticky::new(Policy::default(), 7, SERVERS);
            prop_assert_eq!(sticky.find(&value), None);
        }

        #[test]
        fn other_spellings_of_a_token_name_nobody(server in 0..3_usize, pad in 0..3_usize) {
            let sticky = Sticky::new(Policy::default(), 7, SERVERS);
            let token = token(&sticky, server);
            let upper = token.to_ascii_uppercase();
            prop_assert_eq!(sticky.find(upper.as_bytes()), (upper == token).then_some(server));
            let padded = format!("{}{token}", "0".repeat(pad));
            prop_assert_eq!(sticky.find(padded.as_bytes()), (pad == 0).then_some(server));
        }
    }
}
