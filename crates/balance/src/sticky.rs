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
    pub domain: Option<String>,
    /// Whether servers are kept from seeing it.
    pub hidden: bool,
    /// Whether caches are told to keep nothing of a response that sets it.
    pub private: bool,
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
            domain: None,
            hidden: false,
            private: false,
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

    /// Takes tokens as they are, in the order of the servers; one that is empty ties nobody.
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

    /// The value of the `Set-Cookie` header that ties a client to a server.
    #[must_use]
    pub fn set_cookie(&self, server: usize) -> Option<&str> {
        let cookie = self.cookies.get(server).map(String::as_str);
        cookie.filter(|cookie| !cookie.is_empty())
    }
}

impl Policy {
    fn cookie(&self, token: &str) -> String {
        if token.is_empty() {
            return String::new();
        }
        let mut text = format!("{}={token}; Path={}", self.name, self.path);
        if let Some(domain) = &self.domain {
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
