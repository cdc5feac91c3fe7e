//! `sticky`: clients that stay on their server.

use std::time::Duration;

use clearway_balance::sticky::{Mode, Policy, SameSite};

use super::{concept, table_value};
use crate::value::{CookieName, HeaderValue, Text, choices};

concept! {
    /// A cookie that keeps a client on its server for as long as that is up. Its value says nothing
    /// about addresses.
    StickyCookie, "sticky";

    /// The cookie's name.
    cookie: CookieName = CookieName::parse("CLEARWAY").unwrap_or_default(), example = Some("\"SRV\"");
    /// The path below which browsers send it.
    path: HeaderValue = HeaderValue::parse("/").unwrap_or_default();
    /// Whether scripts are kept from reading it.
    http_only: bool = true;
    /// Whether it is sent over encrypted connections only.
    secure: bool = false;
    /// Whether browsers send it along with requests from other sites.
    same_site: CookieSite = CookieSite::Lax;
    /// The domain whose hosts browsers send it to; only the host that set it when absent.
    domain: Vec<String> = Vec::new(), example = Some("\"example.org\"");
    /// Whether servers are kept from seeing it.
    hidden: bool = false, example = Some("true");
    /// Whether caches are told to keep nothing of a response that sets it (`Cache-Control: private`).
    private: bool = false, example = Some("true");
    /// Whose cookie it is.
    mode: CookieMode = CookieMode::Insert, example = Some("\"prefix\"");
    /// Whether only requests with POST get it.
    post_only: bool = false, example = Some("true");
    /// Whether a server that sets a cookie of this name itself is left to do so.
    preserve: bool = false, example = Some("true");
    /// Further attributes, as they are written.
    attributes: Vec<HeaderValue> = Vec::new(), example = Some("\"Partitioned\"");
    /// How long it ties a client that does not come back; for ever when absent.
    max_idle: Option<Duration> = None, example = Some("\"30m\"");
    /// How long it ties a client in all; for ever when absent.
    max_life: Option<Duration> = None, example = Some("\"8h\"");
    /// Makes the cookies of servers without one of their own from their addresses and this text, as HAProxy
    /// does.
    dynamic_key: Option<String> = None, example = Some("\"not to be guessed\"");
    /// How long browsers keep it; until they are closed when absent.
    max_age: Option<Duration> = None, example = Some("\"1h\"");
}
table_value!(StickyCookie);

choices! {
    /// Whether browsers send a cookie along with requests from other sites.
    CookieSite {
        /// Never.
        Strict = "strict",
        /// Only when the user follows a link.
        Lax = "lax",
        /// Always; browsers then insist on `secure`.
        None = "none",
        /// As each browser sees fit: the cookie says nothing about it.
        Unset = "unset",
    }
}

choices! {
    /// Whose cookie keeps clients on their server.
    CookieMode {
        /// One that Clearway sets.
        Insert = "insert",
        /// One that servers set, whose value Clearway replaces.
        Rewrite = "rewrite",
        /// One that servers set, before whose value Clearway puts its own and `~`. Servers see their own
        /// value.
        Prefix = "prefix",
    }
}

impl StickyCookie {
    /// As the balancer wants it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            name: self.cookie.to_string(),
            path: self.path.to_string(),
            http_only: self.http_only,
            secure: self.secure,
            same_site: match self.same_site {
                CookieSite::Strict => SameSite::Strict,
                CookieSite::Lax => SameSite::Lax,
                CookieSite::None => SameSite::None,
                CookieSite::Unset => SameSite::Unset,
            },
            max_age: self.max_age,
            domain: self.domain.clone(),
            mode: match self.mode {
                CookieMode::Insert => Mode::Insert,
                CookieMode::Rewrite => Mode::Rewrite,
                CookieMode::Prefix => Mode::Prefix,
            },
            post_only: self.post_only,
            preserve: self.preserve,
            attributes: self.attributes.iter().map(ToString::to_string).collect(),
            max_idle: self.max_idle,
            max_life: self.max_life,
            hidden: self.hidden,
            private: self.private,
        }
    }
}
