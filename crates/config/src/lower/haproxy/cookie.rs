//! `cookie`: clients that stay on their server by a cookie.

use super::proxy::Proxy;
use crate::diagnostic::Origins;
use crate::lower::notes::Notes;
use crate::model::{Backend, CookieMode, CookieName, CookieSite, HeaderValue, StickyCookie};
use crate::survey::units;
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// `cookie NAME insert|rewrite|prefix …`.
pub(super) fn read(proxy: &Proxy, backend: &mut Backend, notes: &mut Notes) {
    let Some(line) = &proxy.cookie else { return };
    let mut sticky = StickyCookie {
        http_only: false,
        same_site: CookieSite::Unset,
        origins: Origins::new(line.origin()),
        ..StickyCookie::default()
    };
    match CookieName::parse(line.word(1)) {
        Ok(name) => sticky.cookie = name,
        Err(problem) => return notes.wrong(&line.origin(), problem.message, ""),
    }
    let mut words = line.texts(2);
    let mut has_mode = false;
    let mut is_dynamic = false;
    while let Some(word) = words.next() {
        match word {
            "insert" | "rewrite" | "prefix" => {
                has_mode = true;
                sticky.mode = match word {
                    "insert" => CookieMode::Insert,
                    "rewrite" => CookieMode::Rewrite,
                    _ => CookieMode::Prefix,
                };
            }
            "indirect" => sticky.hidden = true,
            "nocache" => sticky.private = true,
            "postonly" => sticky.post_only = true,
            "preserve" => sticky.preserve = true,
            "httponly" => sticky.http_only = true,
            "secure" => sticky.secure = true,
            "dynamic" => is_dynamic = true,
            "domain" => sticky.domain.extend(words.next().map(str::to_owned)),
            "maxidle" => sticky.max_idle = time(line, words.next(), notes),
            "maxlife" => sticky.max_life = time(line, words.next(), notes),
            "attr" => match words.next().map(HeaderValue::parse) {
                Some(Ok(attribute)) => sticky.attributes.push(attribute),
                Some(Err(problem)) => notes.wrong(&line.origin(), problem.message, ""),
                None => notes.wrong(&line.origin(), "attr needs a text", ""),
            },
            other => {
                notes.wrong(
                    &line.origin(),
                    format!("{other:?} is nothing that cookies have"),
                    "",
                );
            }
        }
    }
    if !has_mode {
        // It ties those who bring it, and is set by nobody.
        sticky.mode = CookieMode::Rewrite;
        sticky.preserve = true;
    }
    if is_dynamic {
        match &proxy.dynamic_cookie_key {
            Some(key) => sticky.dynamic_key = Some(key.word(1).to_owned()),
            None => notes.wrong(&line.origin(), "dynamic needs a dynamic-cookie-key", ""),
        }
    }
    backend.sticky = Some(sticky);
}

fn time(line: &Line, text: Option<&str>, notes: &mut Notes) -> Option<std::time::Duration> {
    let time = text.and_then(|text| {
        // Without a unit they are seconds.
        let seconds = text.parse().ok().map(std::time::Duration::from_secs);
        seconds.or_else(|| units::haproxy_time(text))
    });
    if time.is_none() {
        notes.wrong(
            &line.origin(),
            "a time is missing",
            "a number with s, m, h or d",
        );
    }
    time
}
