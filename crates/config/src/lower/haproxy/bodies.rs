//! What becomes of bodies: `compression`, and filters by name.

use super::super::notes::Notes;
use super::proxy::Proxy;
use crate::diagnostic::{Origin, Origins};
use crate::model::{CodingName, CompressionOverrides};
use crate::survey::units;
use crate::syntax::haproxy::Line;

/// What `compression` lines say.
#[derive(Clone, Debug, Default)]
pub(super) struct Compressing {
    origin: Origin,
    algorithms: Vec<CodingName>,
    types: Vec<String>,
    offload: bool,
    min_bytes: u64,
}

/// `compression …`.
pub(super) fn compression(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let own = &mut proxy.compression;
    own.origin = line.origin();
    let (keyword, words) = rest.split_first().unwrap_or((&"", &[]));
    match *keyword {
        "algo" | "algo-res" => algorithms(words, own, notes),
        "type" | "type-res" => own.types.extend(words.iter().map(|word| media_type(word))),
        "offload" => own.offload = true,
        "minsize-res" => match words.first().and_then(|word| units::size(word)) {
            Some(size) => own.min_bytes = size,
            None => notes.wrong(&line.origin(), "a size is missing", "a number of bytes"),
        },
        "direction" if words == ["response"] => {}
        "type-req" | "minsize-req" => {
            notes.harmless(
                "it is about requests, of which algo-req says whether they are compressed",
            );
        }
        "direction" | "algo-req" => {
            notes.ineffective("bodies of requests are passed on as they are");
        }
        other => notes.refused(format!("\"compression {other}\" is not known here")),
    }
}

/// A type stands for all that begin like it.
fn media_type(word: &str) -> String {
    match word.ends_with('/') {
        true => format!("{word}*"),
        false => word.to_owned(),
    }
}

fn algorithms(words: &[&str], own: &mut Compressing, notes: &mut Notes) {
    for word in words {
        let coding = match *word {
            "gzip" => CodingName::Gzip,
            "deflate" => CodingName::Deflate,
            "raw-deflate" => {
                notes.equivalent("deflate is written as HTTP says, within zlib's frame");
                CodingName::Deflate
            }
            "identity" => continue,
            other => {
                notes.refused(format!("the algorithm {other:?} is not known here"));
                continue;
            }
        };
        if !own.algorithms.contains(&coding) {
            own.algorithms.push(coding);
        }
    }
}

/// What the lines say, for the model.
pub(super) fn overrides(proxy: &Proxy) -> CompressionOverrides {
    let own = &proxy.compression;
    if own.algorithms.is_empty() || !proxy.is_http() {
        return CompressionOverrides::default();
    }
    let types = match own.types.is_empty() {
        true => vec!["*".to_owned()],
        false => own.types.clone(),
    };
    CompressionOverrides {
        algorithms: Some(own.algorithms.clone()),
        types: Some(types),
        min_bytes: Some(own.min_bytes),
        gzip_level: Some(1),
        heads: Some(false),
        statuses: Some(vec![200, 201, 202, 203]),
        offload: own.offload.then_some(true),
        origins: Origins::new(own.origin.clone()),
        ..CompressionOverrides::default()
    }
}

/// `filter NAME …`: what is done by lines of their own, or changes nothing.
pub(super) fn filter(rest: &[&str], notes: &mut Notes) {
    match rest.first().copied().unwrap_or_default() {
        "compression" => notes.equivalent("its place among filters is fixed"),
        "cache" => notes.equivalent("its place among filters is fixed"),
        "trace" => notes.harmless("it writes to the log what passes, for those who mend HAProxy"),
        other => notes.refused(format!("the filter {other:?} is not known here")),
    }
}
