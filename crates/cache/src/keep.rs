//! Which responses may be kept, and for how long they are fresh (RFC 9111 sections 3 and 4.2).

use std::time::UNIX_EPOCH;

use clearway_http::{RequestHead, ResponseHead};

use crate::directives::Directives;

/// A request and the buffer it was parsed from.
pub type Request<'a> = (&'a RequestHead, &'a [u8]);

/// A response and the buffer it was parsed from.
pub type Response<'a> = (&'a ResponseHead, &'a [u8]);

/// What an operator wants of all that is kept in a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// For how long responses are fresh that do not say it, in seconds, by status; without a status any. The
    /// first that fits.
    pub times: Vec<(Vec<u16>, u64)>,
    /// The longest time for which anything is fresh, in seconds.
    pub max_age: Option<u64>,
    /// Statuses that are kept; any when empty.
    pub statuses: Vec<u16>,
    /// Times of our own are for responses with a validator only.
    pub validated_only: bool,
    /// Responses that depend on fields of the request (`Vary`) are not kept.
    pub no_variants: bool,
    /// Fields of responses that are not looked at, in lower case.
    pub ignores: Vec<String>,
}

/// For how long a response is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// When it came, less the age it had then, in seconds since 1970.
    pub born: u64,
    /// It is fresh before this second.
    pub fresh_until: u64,
    /// For so many seconds more it may be given while it is being asked for anew.
    pub while_revalidating: u64,
    /// For so many seconds more it may be given when the server fails.
    pub if_error: u64,
    /// Once stale it must not be given unless it said so itself.
    pub must_revalidate: bool,
}

impl Terms {
    /// Whether it is fresh.
    #[must_use]
    pub fn is_fresh(&self, now: u64) -> bool {
        now < self.fresh_until
    }

    /// The same for what was so many seconds old already when it came, at `now`.
    #[must_use]
    pub fn aged(self, age: u64, now: u64) -> Self {
        Self {
            born: now.saturating_sub(age),
            fresh_until: self.fresh_until.saturating_sub(age),
            ..self
        }
    }

    /// How old it is, in seconds.
    #[must_use]
    pub fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.born)
    }

    /// Whether it may be given although it is stale, while somebody asks the server. `anyway`: the operator
    /// allows it for as long as it is kept.
    #[must_use]
    pub fn serves_while_revalidating(&self, now: u64, anyway: bool) -> bool {
        let until = self.fresh_until.saturating_add(self.while_revalidating);
        now < until || (anyway && !self.must_revalidate)
    }

    /// The same when the server fails.
    #[must_use]
    pub fn serves_if_error(&self, now: u64, anyway: bool) -> bool {
        let until = self.fresh_until.saturating_add(self.if_error);
        now < until || (anyway && !self.must_revalidate)
    }
}

/// Whether a client wants nothing that was kept (RFC 9111 section 5.2.1): `no-cache`, `no-store`, `max-age=0`, or
/// `Pragma: no-cache` without `Cache-Control`.
#[must_use]
pub fn wants_fresh((head, buf): Request<'_>) -> bool {
    let mut directives = Directives::default();
    let mut has_any = false;
    for value in values(&head.fields, buf, "cache-control") {
        has_any = true;
        directives.read(value);
    }
    if has_any {
        return directives.no_cache || directives.no_store || directives.max_age == Some(0);
    }
    let mut pragmas = values(&head.fields, buf, "pragma");
    pragmas.any(|value| value.eq_ignore_ascii_case(b"no-cache"))
}

/// How old a response says that it is, in seconds.
#[must_use]
pub fn age_of(rules: &Rules, (response, buf): Response<'_>) -> u64 {
    if rules.ignores.iter().any(|ignored| ignored == "age") {
        return 0;
    }
    let mut ages = values(&response.fields, buf, "age");
    ages.next().and_then(number).unwrap_or(0)
}

/// Whether a response to a request may be kept, and on which terms.
///
/// A shared cache: what is private, sets a cookie, answers a request with `Authorization` without being public,
/// is a part, or depends on everything stays out.
#[must_use]
pub fn keep(
    rules: &Rules,
    (request, request_buf): Request<'_>,
    (response, buf): Response<'_>,
    now: u64,
) -> Option<Terms> {
    let status = response.status;
    let of = |name: &'static str| {
        let is_ignored = rules.ignores.iter().any(|ignored| ignored == name);
        values(&response.fields, buf, name).filter(move |_| !is_ignored)
    };
    if status < 200 || matches!(status, 206 | 304) {
        return None;
    }
    if !rules.statuses.is_empty() && !rules.statuses.contains(&status) {
        return None;
    }
    let mut directives = Directives::default();
    for value in of("cache-control") {
        directives.read(value);
    }
    if directives.no_store || directives.no_cache || directives.private {
        return None;
    }
    if of("set-cookie").next().is_some() || of("content-range").next().is_some() {
        return None;
    }
    let varies = of("vary").any(|value| !value.is_empty());
    if of("vary").any(|value| list(value).any(|name| name == b"*")) || (varies && rules.no_variants)
    {
        return None;
    }
    let is_open = directives.public || directives.must_revalidate;
    let authorization = values(&request.fields, request_buf, "authorization").next();
    if authorization.is_some() && !is_open {
        return None;
    }
    let has_validator = of("etag").next().is_some() || of("last-modified").next().is_some();
    let told = told(
        &directives,
        of("expires").next(),
        of("date").next(),
        of("x-accel-expires").next(),
        now,
    );
    let time = match told {
        Some(time) => time,
        None if rules.validated_only && !has_validator => return None,
        None => own(rules, status)?,
    };
    let age = age_of(rules, (response, buf));
    let time = time.min(rules.max_age.unwrap_or(u64::MAX));
    let left = time.saturating_sub(age);
    if left == 0 {
        return None;
    }
    Some(Terms {
        born: now.saturating_sub(age),
        fresh_until: now.saturating_add(left),
        while_revalidating: directives.stale_while_revalidate,
        if_error: directives.stale_if_error,
        must_revalidate: directives.must_revalidate,
    })
}

/// What the response says itself, in seconds.
fn told(
    directives: &Directives,
    expires: Option<&[u8]>,
    date: Option<&[u8]>,
    accel: Option<&[u8]>,
    now: u64,
) -> Option<u64> {
    if let Some(time) = accel {
        return match time.strip_prefix(b"@") {
            Some(moment) => number(moment).map(|moment| moment.saturating_sub(now)),
            None => number(time),
        };
    }
    let said = directives.s_maxage.or(directives.max_age);
    if said.is_some() {
        return said;
    }
    let expires = expires?;
    let date = date.and_then(moment).unwrap_or(now);
    // What is no date has expired (RFC 9111 section 5.3).
    Some(moment(expires).map_or(0, |expires| expires.saturating_sub(date)))
}

/// What the operator says, in seconds.
fn own(rules: &Rules, status: u16) -> Option<u64> {
    let mut times = rules.times.iter();
    let found = times.find(|(statuses, _)| statuses.is_empty() || statuses.contains(&status));
    found.map(|(_, time)| *time)
}

/// The values of the fields with a name.
pub(crate) fn values<'a>(
    fields: &'a [clearway_http::Field],
    buf: &'a [u8],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |f| f.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))
        .map(move |f| f.value.of(buf))
}

/// The words between commas.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A date of HTTP, in seconds since 1970.
fn moment(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kept::tests::{request, response};

    const NOW: u64 = 1_700_000_000;

    fn kept_for(rules: &Rules, ask: &str, answer: &str) -> Option<u64> {
        let (request, response) = (request(ask), response(answer));
        let terms = keep(
            rules,
            (&request.0, &request.1),
            (&response.0, &response.1),
            NOW,
        );
        terms.map(|terms| terms.fresh_until - NOW)
    }

    #[test]
    fn what_may_be_kept_and_for_how_long() {
        let rules = Rules {
            times: vec![(vec![404], 5), (vec![200, 301], 60)],
            ..Rules::default()
        };
        let cases: &[(&str, &str, Option<u64>)] = &[
            ("", "200", Some(60)),
            ("", "404", Some(5)),
            ("", "500", None),
            ("", "206|Cache-Control: max-age=9", None),
            ("", "500|Cache-Control: max-age=9", Some(9)),
            ("", "200|Cache-Control: max-age=9", Some(9)),
            ("", "200|Cache-Control: max-age=9, s-maxage=3", Some(3)),
            ("", "200|Cache-Control: max-age=9|Age: 4", Some(5)),
            ("", "200|Cache-Control: max-age=9|Age: 9", None),
            ("", "200|Cache-Control: max-age=0", None),
            ("", "200|Cache-Control: no-cache", None),
            ("", "200|Cache-Control: no-store, max-age=9", None),
            ("", "200|Cache-Control: private", None),
            ("", "200|Set-Cookie: a=1", None),
            ("", "200|Vary: *", None),
            ("", "200|Vary: Accept", Some(60)),
            ("Authorization: x", "200", None),
            ("Authorization: x", "200|Cache-Control: public", Some(60)),
            ("Authorization: x", "200|Cache-Control: s-maxage=7", Some(7)),
            ("", "200|Expires: Tue, 14 Nov 2023 22:13:50 GMT", Some(30)),
            ("", "200|Expires: 0", None),
            ("", "200|Expires: 0|Cache-Control: max-age=8", Some(8)),
            (
                "",
                "200|Date: Tue, 14 Nov 2023 22:13:10 GMT|Expires: Tue, 14 Nov 2023 22:13:50 GMT",
                Some(40),
            ),
            (
                "",
                "200|X-Accel-Expires: 12|Cache-Control: max-age=1",
                Some(12),
            ),
            ("", "200|X-Accel-Expires: 0|Cache-Control: max-age=1", None),
            ("", "200|X-Accel-Expires: @1700000005", Some(5)),
        ];
        for (ask, answer, expected) in cases {
            assert_eq!(kept_for(&rules, ask, answer), *expected, "{ask} / {answer}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let rules = Rules {
            times: vec![(Vec::new(), 60)],
            max_age: Some(10),
            statuses: vec![200],
            validated_only: true,
            no_variants: true,
            ignores: vec!["set-cookie".to_owned()],
        };
        for (answer, expected) in [
            ("200|Cache-Control: max-age=99", Some(10)),
            ("200", None),
            ("200|ETag: \"a\"", Some(10)),
            ("404|Cache-Control: max-age=99", None),
            ("200|ETag: \"a\"|Set-Cookie: a=1", Some(10)),
            ("200|ETag: \"a\"|Vary: Accept", None),
        ] {
            assert_eq!(kept_for(&rules, "", answer), expected, "{answer}");
        }
    }

    #[test]
    fn clients_may_want_something_fresh() {
        for (ask, expected) in [
            ("", false),
            ("Cache-Control: no-cache", true),
            ("Cache-Control: max-age=0", true),
            ("Cache-Control: max-age=10", false),
            ("Pragma: no-cache", true),
            ("Pragma: no-cache|Cache-Control: max-age=10", false),
        ] {
            let request = request(ask);
            assert_eq!(wants_fresh((&request.0, &request.1)), expected, "{ask}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_fresh_for_longer_than_anybody_said(
            age in 0_u64..100,
            max_age in 0_u64..100,
            most in proptest::option::of(0_u64..100),
        ) {
            let rules = Rules { max_age: most, ..Rules::default() };
            let answer = format!("200|Cache-Control: max-age={max_age}|Age: {age}");
            let left = max_age.min(most.unwrap_or(u64::MAX)).saturating_sub(age);
            prop_assert_eq!(kept_for(&rules, "", &answer), (left > 0).then_some(left));
        }
    }
}
