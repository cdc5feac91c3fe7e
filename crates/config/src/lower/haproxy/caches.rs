//! `cache` sections, `http-request cache-use` and `http-response cache-store`.

use std::time::Duration;

use super::super::notes::Notes;
use super::acl;
use super::proxy::Proxy;
use crate::diagnostic::{Origin, Origins};
use crate::lower::build::{all_of, never, one_of};
use crate::model::{
    CacheStore, CacheTime, Caching, Condition, Config, Identifier, MethodName, TemplateText,
};
use crate::syntax::haproxy::{Line, Section};
use crate::value::Text;

/// What `cache-use` and `cache-store` lines of a section say.
#[derive(Clone, Debug, Default)]
pub(super) struct CacheRules {
    uses: Vec<(String, Condition, Origin)>,
    stores: Vec<(String, Condition)>,
}

/// What a `cache` section says besides the size of its memory.
#[derive(Clone, Debug)]
pub(super) struct CacheSection {
    name: String,
    max_age: Duration,
    variants: bool,
}

/// Reads a `cache` section.
pub(super) fn section(
    section: &Section,
    config: &mut Config,
    notes: &mut Notes,
) -> Option<CacheSection> {
    let origin = section.head.origin();
    let name = match Identifier::parse(section.name()) {
        Ok(name) => name,
        Err(problem) => {
            notes.wrong(&origin, problem.message, &problem.expected);
            return None;
        }
    };
    let mut found = CacheSection {
        name: section.name().to_owned(),
        max_age: Duration::from_secs(60),
        variants: false,
    };
    let (mut size, mut object) = (None, None);
    for line in &section.lines {
        notes.begin(line.origin(), line.text());
        let text = line.word(1);
        let number = || text.parse::<u64>().ok();
        match line.word(0) {
            "total-max-size" => {
                match number().filter(|megabytes| *megabytes > 0 && *megabytes <= 4_095) {
                    Some(megabytes) => size = Some(megabytes << 20),
                    None => notes.wrong(
                        &line.origin(),
                        format!("{text:?} is no size"),
                        "megabytes, from 1 to 4095",
                    ),
                }
            }
            "max-object-size" => match number() {
                Some(bytes) => object = Some(bytes),
                None => notes.wrong(&line.origin(), format!("{text:?} is no size"), "bytes"),
            },
            "max-age" => match number() {
                Some(seconds) => found.max_age = Duration::from_secs(seconds),
                None => notes.wrong(&line.origin(), format!("{text:?} is no time"), "seconds"),
            },
            "process-vary" => found.variants = text == "on",
            "max-secondary-entries" => notes.harmless("16 variants of a response are kept"),
            other => notes.refused(format!("{other:?} is not known here")),
        }
    }
    let Some(size) = size else {
        let hint = "total-max-size MEGABYTES";
        notes.wrong(&origin, "a cache without a size", hint);
        return None;
    };
    let object = object.unwrap_or(size / 256);
    if object > size / 2 {
        notes.wrong(
            &origin,
            "max-object-size is more than half of total-max-size",
            "",
        );
    }
    config.caches.push(CacheStore {
        name,
        size,
        max_object: object.min(1 << 30),
        inactive: Duration::ZERO,
        origins: Origins::new(origin),
    });
    Some(found)
}

/// Takes a line that is about a cache; whether it is one.
pub(super) fn rule(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) -> bool {
    let is_use = match rest.first().copied() {
        Some("cache-use") => true,
        Some("cache-store") => false,
        Some(_) | None => return false,
    };
    match acl::of_line(rest, &proxy.acls) {
        Ok(([_, name], condition)) => {
            let name = (*name).to_owned();
            if is_use {
                proxy.caches.uses.push((name, condition, line.origin()));
            } else {
                proxy.caches.stores.push((name, condition));
            }
        }
        Ok(_) => notes.wrong(&line.origin(), "the name of a cache is missing", ""),
        Err(message) => notes.refused(message),
    }
    true
}

/// What a section's lines come to, with the lines of others that store into the same cache.
pub(super) fn caching(
    proxy: &Proxy,
    sections: &[CacheSection],
    stores: &[(String, Condition)],
    notes: &mut Notes,
) -> Option<Caching> {
    let (name, _, origin) = proxy.caches.uses.first()?;
    let Some(section) = sections.iter().find(|section| section.name == *name) else {
        notes.wrong(origin, format!("there is no cache {name:?}"), "");
        return None;
    };
    if proxy.caches.uses.iter().any(|(other, _, _)| other != name) {
        notes.refused("several caches in one section are not known here");
        return None;
    }
    let uses = proxy
        .caches
        .uses
        .iter()
        .map(|(_, condition, _)| condition.clone());
    let when = one_of(uses.collect());
    let own = proxy
        .caches
        .stores
        .iter()
        .filter(|(other, _)| other == name);
    let own: Vec<Condition> = own.map(|(_, condition)| condition.clone()).collect();
    let others = stores.iter().filter(|(other, _)| other == name);
    let others: Vec<Condition> = others.map(|(_, condition)| condition.clone()).collect();
    let stored = match (own.is_empty(), others.is_empty()) {
        (false, _) => one_of(own),
        (true, false) => one_of(others),
        (true, true) => never(),
    };
    Some(Caching {
        store: Identifier::parse(name).unwrap_or_default(),
        key: TemplateText::parse("${scheme}://${host}${target}").unwrap_or_default(),
        methods: MethodName::parse("GET").into_iter().collect(),
        store_when: all_of(vec![when.clone(), stored]),
        when,
        times: vec![CacheTime {
            time: section.max_age,
            origins: Origins::new(origin.clone()),
            ..CacheTime::default()
        }],
        max_age: Some(section.max_age),
        statuses: vec![200],
        validated_only: true,
        variants: section.variants,
        revalidate: false,
        lock: false,
        origins: Origins::new(origin.clone()),
        ..Caching::default()
    })
}

/// What all sections store.
pub(super) fn stores(proxies: &[Proxy]) -> Vec<(String, Condition)> {
    proxies
        .iter()
        .flat_map(|proxy| proxy.caches.stores.clone())
        .collect()
}
