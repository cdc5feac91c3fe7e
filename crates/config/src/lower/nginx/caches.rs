//! `proxy_cache`, `fastcgi_cache` and their relatives. What NGINX keeps in files is kept in memory here.

use std::time::Duration;

use clearway_rules::ast::{Fetch, Piece, Template};

use super::super::notes::Notes;
use super::text_of;
use super::upstream::CacheWords;
use super::values::{self, Names};
use crate::diagnostic::Origins;
use crate::lower::build::{all_of, never, not, test_of, value};
use crate::model::{
    CacheStore, CacheTime, Caching, Condition, Config, HeaderName, Identifier, MethodName, Route,
    StaleWhen, ValueTest,
};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// Memory of one cache, whatever its files might take, in bytes.
const MEMORY: u64 = 256 << 20;

/// Largest body that is kept, in bytes: of files any size would do.
const OBJECT: u64 = 8 << 20;

/// What NGINX keeps where no status is named.
const USUAL: [u16; 3] = [200, 301, 302];

/// `proxy_cache_path PATH keys_zone=NAME:SIZE …`.
pub(super) fn path(directive: &Directive, config: &mut Config, notes: &mut Notes) {
    notes.begin(directive.origin(), text_of(directive));
    let word = |name: &str| directive.texts().find_map(|word| word.strip_prefix(name));
    let zone = word("keys_zone=").and_then(|zone| zone.split(':').next());
    let Some(name) = zone.and_then(|name| Identifier::parse(name).ok()) else {
        notes.wrong(&directive.origin(), "keys_zone=NAME:SIZE is missing", "");
        return;
    };
    let size = word("max_size=").and_then(units::size).unwrap_or(MEMORY);
    let size = size.clamp(65_536, MEMORY);
    let inactive = word("inactive=").and_then(units::nginx_time);
    config.caches.push(CacheStore {
        name,
        size,
        max_object: OBJECT.min(size / 2),
        inactive: inactive.unwrap_or(Duration::from_secs(600)),
        origins: Origins::new(directive.origin()),
    });
    notes.equivalent(
        "responses are kept in memory, not in files: at most 256 MiB of them, bodies up to 8 MiB, until the \
         process ends",
    );
}

/// What holds in a place that passes on to `host`, which may have variables in it.
pub(super) fn read(
    scope: &Scope<'_>,
    (words, host): (&CacheWords, &str),
    names: &Names,
    (route, config): (&mut Route, &Config),
    notes: &mut Notes,
) {
    let Some(directive) = scope.find(words.zone) else {
        return;
    };
    let name = directive.argument(0).unwrap_or_default();
    if name == "off" {
        return;
    }
    notes.begin(directive.origin(), text_of(directive));
    if name.contains('$') {
        notes.refused("a cache whose name depends on the request is not known here");
        return;
    }
    if !config
        .caches
        .iter()
        .any(|cache| cache.name.as_str() == name)
    {
        let message = format!("there is no zone {name:?} of a cache");
        notes.wrong(&directive.origin(), message, "");
        return;
    }
    match caching(scope, (words, host), names, notes) {
        Ok(mut caching) => {
            caching.store = Identifier::parse(name).unwrap_or_default();
            caching.origins = Origins::new(directive.origin());
            route.origins.set("cache", directive.origin());
            route.cache = Some(caching);
        }
        Err(message) => notes.refused(message),
    }
}

fn caching(
    scope: &Scope<'_>,
    (words, host): (&CacheWords, &str),
    names: &Names,
    notes: &mut Notes,
) -> Result<Caching, String> {
    let key = scope.text(words.key).map(|key| key.value);
    let mut key = match key {
        Some(key) => key,
        None if words.zone == "proxy_cache" => "$scheme$proxy_host$request_uri".to_owned(),
        None => {
            return Err(format!(
                "{} is missing, without which all would be one",
                words.key
            ));
        }
    };
    let mut names = names.clone();
    if host.starts_with('$') {
        for name in ["${proxy_host}", "$proxy_host"] {
            key = key.replace(name, host);
        }
    } else {
        names
            .constants
            .insert("proxy_host".to_owned(), host.to_owned());
    }
    let names = &names;
    let key = values::template(&key, names)?;
    let flag = |name| scope.flag(name, false).value;
    let mut methods = vec!["GET", "HEAD"];
    methods.extend(words_of(scope, words.methods));
    methods.dedup();
    let methods: std::collections::BTreeSet<&str> = methods.into_iter().collect();
    let mut names_ignored = Vec::new();
    for name in words_of(scope, words.ignored) {
        names_ignored.extend(HeaderName::parse(name).ok());
    }
    Ok(Caching {
        key,
        methods: methods
            .into_iter()
            .filter_map(|name| MethodName::parse(name).ok())
            .collect(),
        when: unless(scope, words.bypass, names)?,
        store_when: unless(scope, words.not_kept, names)?,
        times: times(scope, words, notes),
        ignore_headers: names_ignored,
        obeys_clients: false,
        min_uses: scope
            .setting(words.min_uses, |text| text.parse().ok())
            .map_or(1, |uses| uses.value)
            .max(1),
        revalidate: flag(words.revalidate),
        use_stale: stale(scope, words, notes),
        lock: flag(words.lock),
        lock_timeout: scope.time(words.lock_timeout, Duration::from_secs(5)).value,
        tells_age: false,
        ..Caching::default()
    })
}

fn words_of<'a>(scope: &Scope<'a>, name: &str) -> Vec<&'a str> {
    scope
        .find(name)
        .into_iter()
        .flat_map(Directive::texts)
        .collect()
}

/// A condition that holds unless one of the texts of a directive is neither empty nor 0.
fn unless(scope: &Scope<'_>, name: &str, names: &Names) -> Result<Condition, String> {
    let mut all = Vec::new();
    for text in words_of(scope, name) {
        let template = values::template(text, names)?;
        let template = Template::parse(template.as_str()).map_err(|error| error.message)?;
        let fetch = match template.pieces() {
            [] => continue,
            [Piece::Fetch(fetch)] => fetch.clone(),
            pieces => match template.constant() {
                Some("" | "0") => continue,
                Some(_) => return Ok(never()),
                None => joined(pieces)?,
            },
        };
        let is = |text: &str| ValueTest {
            is: vec![text.to_owned()],
            ..test_of(&fetch)
        };
        let filled = ValueTest {
            least_bytes: Some(1),
            ..test_of(&fetch)
        };
        all.push(not(all_of(vec![value(filled), not(value(is("0")))])));
    }
    Ok(all_of(all))
}

/// Several values beside each other: one of them alone cannot say whether all are empty.
fn joined(pieces: &[Piece]) -> Result<Fetch, String> {
    match pieces.iter().any(|piece| matches!(piece, Piece::Text(_))) {
        // With a text among them they are never empty.
        true => Ok(Fetch::Literal("1".to_owned())),
        false => Err("several variables in one word are not known here".to_owned()),
    }
}

/// `proxy_cache_valid`.
fn times(scope: &Scope<'_>, words: &CacheWords, notes: &mut Notes) -> Vec<CacheTime> {
    let mut times = Vec::new();
    for directive in scope.all(words.valid) {
        let words: Vec<&str> = directive.texts().collect();
        let Some((last, codes)) = words.split_last() else {
            continue;
        };
        let status: Option<Vec<u16>> = match codes {
            [] => Some(USUAL.to_vec()),
            codes if codes.contains(&"any") => Some(Vec::new()),
            codes => codes.iter().map(|code| code.parse().ok()).collect(),
        };
        match (units::nginx_time(last), status) {
            (Some(time), Some(status)) => times.push(CacheTime {
                status,
                time,
                origins: Origins::new(directive.origin()),
            }),
            _ => {
                notes.begin(directive.origin(), text_of(directive));
                notes.wrong(&directive.origin(), "statuses and a time are expected", "");
            }
        }
    }
    times
}

/// `proxy_cache_use_stale`.
fn stale(scope: &Scope<'_>, words: &CacheWords, notes: &mut Notes) -> Vec<StaleWhen> {
    let mut found = Vec::new();
    for word in words_of(scope, words.use_stale) {
        let name = match word {
            "off" => continue,
            "invalid_header" => "invalid",
            word => word,
        };
        match StaleWhen::ALL.iter().find(|when| when.name() == name) {
            Some(when) => found.push(*when),
            None => notes.ineffective(format!("{word:?} is not known here")),
        }
    }
    found
}
