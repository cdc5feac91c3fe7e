//! `balance` and `hash-type`: which server gets a request.

use clearway_balance::{Algorithm, Bound};

use super::super::notes::Notes;
use super::proxy::Proxy;
use super::sample;
use super::server::Member;
use crate::lower::build;
use crate::model::{Backend, HashFunction, HashKey, UriPart};
use crate::survey::units;
use crate::syntax::haproxy::Line;

/// Lowers how servers are chosen.
pub(super) fn read(
    proxy: &Proxy,
    members: &[Member<'_>],
    backend: &mut Backend,
    notes: &mut Notes,
) {
    let Some(line) = &proxy.balance else {
        backend.balance = turns(members, Algorithm::RoundRobinOrdered);
        return;
    };
    backend.origins.set("balance", line.origin());
    notes.begin(line.origin(), line.text());
    let word = line.word(1);
    let (name, argument) = match word.split_once('(') {
        Some((name, rest)) => (name, rest.trim_end_matches(')')),
        None => (word, line.word(2)),
    };
    backend.balance = match name {
        "roundrobin" => turns(members, Algorithm::RoundRobinOrdered),
        "static-rr" => Algorithm::StaticRoundRobin,
        "leastconn" => Algorithm::LeastRequestsInTurn,
        "first" => Algorithm::First,
        "random" if argument == "1" => Algorithm::Random,
        "random" => Algorithm::PowerOfTwo,
        _ => match key(name, argument, line) {
            Ok(key) => {
                backend.hash_key = key;
                hashed(proxy, backend, notes);
                return;
            }
            Err(message) => return notes.refused(message),
        },
    };
}

/// Turns in an order that all workers keep; a server alone needs none.
fn turns(members: &[Member<'_>], ordered: Algorithm) -> Algorithm {
    if members.len() < 2 {
        Algorithm::RoundRobin
    } else {
        ordered
    }
}

fn key(name: &str, argument: &str, line: &Line) -> Result<HashKey, String> {
    let key = match name {
        "source" => HashKey::Source,
        "uri" => uri(line)?,
        "url_param" => HashKey::Query(argument.to_owned()),
        "hdr" if line.word(2) == "use_domain_only" => HashKey::Domain(argument.to_owned()),
        "hdr" => HashKey::Header(argument.to_owned()),
        "hash" => {
            let words: Vec<&str> = line.texts(2).collect();
            let sample = sample::read(&words.concat())?;
            let fetch = build::fetch_text(&sample.fetch)?;
            HashKey::Value(fetch.as_str().to_owned())
        }
        _ => return Err(format!("balancing by {name:?} is not known here")),
    };
    Ok(key)
}

/// `uri [whole] [path-only] [len N] [depth N]`.
fn uri(line: &Line) -> Result<HashKey, String> {
    let mut part = UriPart::default();
    let mut words = line.texts(2);
    while let Some(word) = words.next() {
        match word {
            "whole" => part.whole = true,
            // Requests are passed on without their authority, and hashed so.
            "path-only" => {}
            "len" | "depth" => {
                let number = words.next().and_then(|text| text.parse().ok());
                let number = number.ok_or_else(|| format!("{word:?} needs a number"))?;
                if word == "len" {
                    part.length = number;
                } else {
                    part.depth = number;
                }
            }
            other => return Err(format!("{other:?} is not known here")),
        }
    }
    Ok(match (part.length, part.depth, part.whole) {
        (0, 0, true) => HashKey::Uri,
        (0, 0, false) => HashKey::Path,
        _ => HashKey::Part(part),
    })
}

/// `hash-type METHOD [FUNCTION [avalanche]]`, and the bound of consistent hashing.
fn hashed(proxy: &Proxy, backend: &mut Backend, notes: &mut Notes) {
    let words: Vec<&str> = proxy
        .hash_type
        .as_ref()
        .map_or_else(Vec::new, |line| line.texts(1).collect());
    let is_consistent = words.first() == Some(&"consistent");
    backend.balance = if is_consistent {
        Algorithm::HashRing
    } else {
        Algorithm::HashTable
    };
    backend.hash_function = match words.get(1) {
        None | Some(&"sdbm") => HashFunction::Sdbm,
        Some(&"djb2") => HashFunction::Djb2,
        Some(&"wt6") => HashFunction::Wt6,
        Some(&"crc32") => HashFunction::Crc32,
        Some(other) => {
            return notes.refused(format!("the hash function {other:?} is not known here"));
        }
    };
    backend.hash_avalanche = match words.get(1) {
        None => is_consistent,
        Some(_) => words.get(2) == Some(&"avalanche"),
    };
    let Some(line) = proxy.hash_balance.as_ref().filter(|_| is_consistent) else {
        return;
    };
    notes.begin(line.origin(), line.text());
    let factor = units::size(line.word(1)).and_then(|percent| u32::try_from(percent).ok());
    match factor.map(|percent| f64::from(percent) / 100.0) {
        Some(0.0) => {}
        Some(bound) if Bound::from_factor(bound).is_some() => {
            // The bound is that of the other ring, whose points are elsewhere.
            backend.balance = Algorithm::ConsistentHash {
                bound: Bound::DEFAULT,
            };
            backend.bounded_load = bound;
            backend.hash_function = HashFunction::Xxh3;
            backend.hash_avalanche = false;
            notes.equivalent("as bounded, with servers at other places of the ring");
        }
        _ => notes.wrong(&line.origin(), "no such factor", "0, or at least 100"),
    }
}
