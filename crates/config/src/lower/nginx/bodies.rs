//! What becomes of bodies: `gzip`, `gunzip`, `brotli` and their like, `sub_filter`.

use super::super::notes::Notes;
use super::text_of;
use super::values::{self, Names};
use crate::diagnostic::Origins;
use crate::model::{
    BodyReplacement, CodingName, CompressionOverrides, Files, Precompressed, Proxied, RegexText,
    ReplaceBody, Route,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// What NGINX compresses whatever is written.
const ALWAYS: &str = "text/html";

/// Puts what holds in a place into its route.
pub(super) fn read(scope: &Scope<'_>, names: &Names, route: &mut Route, notes: &mut Notes) {
    route.compression = compression(scope, notes);
    route.replace_body = replaced(scope, names, notes);
}

/// Whether a directive that knows `on` and `off` is on.
fn is_on(scope: &Scope<'_>, name: &'static str) -> bool {
    scope.flag(name, false).value
}

fn compression(scope: &Scope<'_>, notes: &mut Notes) -> CompressionOverrides {
    let mut compression = CompressionOverrides::default();
    let (gzip, brotli) = (is_on(scope, "gzip"), is_on(scope, "brotli"));
    if is_on(scope, "gunzip") {
        compression.unpack = Some(true);
    }
    if let Some(directive) = scope.find("gzip").or_else(|| scope.find("brotli"))
        && (gzip || brotli)
    {
        compression.origins = Origins::new(directive.origin());
    }
    if !gzip && !brotli {
        return compression;
    }
    let brotli_coding = brotli.then_some(CodingName::Brotli);
    let gzip_coding = gzip.then_some(CodingName::Gzip);
    compression.algorithms = Some(brotli_coding.into_iter().chain(gzip_coding).collect());
    let named = if gzip { "gzip_types" } else { "brotli_types" };
    compression.types = Some(types(scope, named));
    let min = if gzip {
        "gzip_min_length"
    } else {
        "brotli_min_length"
    };
    compression.min_bytes = Some(scope.size(min, 20).value);
    compression.gzip_level = Some(level(scope, "gzip_comp_level", 1).clamp(1, 9));
    if brotli {
        compression.brotli_level = Some(level(scope, "brotli_comp_level", 6).min(11));
    }
    compression.statuses = Some(vec![200, 403, 404]);
    compression.vary = Some(is_on(scope, "gzip_vary"));
    compression.http10 = Some(
        scope
            .text("gzip_http_version")
            .is_some_and(|version| version.value == "1.0"),
    );
    compression.proxied = Some(proxied(scope, notes));
    compression.except_agents = disabled(scope, notes);
    compression
}

fn level(scope: &Scope<'_>, name: &'static str, default: u32) -> u32 {
    let level = scope.setting(name, |text| text.parse().ok());
    level.map_or(default, |level| level.value)
}

/// The types that a directive names besides the one that is always meant.
fn types(scope: &Scope<'_>, name: &str) -> Vec<String> {
    let mut types = vec![ALWAYS.to_owned()];
    for text in scope.find(name).into_iter().flat_map(Directive::texts) {
        if !types.iter().any(|known| known == text) {
            types.push(text.to_owned());
        }
    }
    if types.iter().any(|known| known == "*") {
        return vec!["*".to_owned()];
    }
    types
}

fn proxied(scope: &Scope<'_>, notes: &mut Notes) -> Vec<Proxied> {
    let mut found = Vec::new();
    let Some(directive) = scope.find("gzip_proxied") else {
        return found;
    };
    for word in directive.texts() {
        let known = Proxied::ALL.iter().find(|when| when.name() == word);
        match known {
            Some(when) => found.push(*when),
            None if word == "off" => {}
            None => {
                notes.begin(directive.origin(), text_of(directive));
                notes.wrong(
                    &directive.origin(),
                    format!("{word:?} is not known here"),
                    "",
                );
            }
        }
    }
    found
}

/// `gzip_disable`: browsers by patterns, one of which has a name.
fn disabled(scope: &Scope<'_>, notes: &mut Notes) -> Option<Vec<RegexText>> {
    let directive = scope.find("gzip_disable")?;
    let mut agents = Vec::new();
    for word in directive.texts() {
        let pattern = match word {
            "msie6" => r"MSIE [4-6]\.(?:[^S]|S[^V])*$",
            word => word,
        };
        match RegexText::parse(pattern) {
            Ok(regex) => agents.push(regex),
            Err(problem) => {
                notes.begin(directive.origin(), text_of(directive));
                notes.refused(format!("the pattern cannot be used: {}", problem.message));
            }
        }
    }
    Some(agents)
}

/// `gzip_static` and `brotli_static`.
pub(super) fn precompressed(scope: &Scope<'_>, files: &mut Files) {
    let ways = [
        ("brotli_static", Precompressed::Brotli),
        ("gzip_static", Precompressed::Gzip),
    ];
    for (name, coding) in ways {
        let word = scope.text(name).map(|word| word.value);
        match word.as_deref() {
            Some("on") => files.precompressed.push(coding),
            Some("always") => {
                files.precompressed.push(coding);
                files.precompressed_always = true;
            }
            Some(_) | None => {}
        }
    }
    if !files.precompressed.is_empty() {
        files.precompressed_vary = is_on(scope, "gzip_vary");
    }
}

/// `sub_filter`.
fn replaced(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Option<ReplaceBody> {
    let all = scope.all("sub_filter");
    let first = all.first()?;
    let mut replace = ReplaceBody {
        once: scope.flag("sub_filter_once", true).value,
        types: types(scope, "sub_filter_types"),
        keeps_validators: is_on(scope, "sub_filter_last_modified"),
        origins: Origins::new(first.origin()),
        ..ReplaceBody::default()
    };
    for directive in &all {
        notes.begin(directive.origin(), text_of(directive));
        let text = directive.argument(0).unwrap_or_default();
        let Some(find) = values::constant(text, names) else {
            notes.refused("a text that depends on the request cannot be looked for");
            continue;
        };
        match values::template(directive.argument(1).unwrap_or_default(), names) {
            Ok(to) => replace.texts.push(BodyReplacement {
                find,
                to,
                origins: Origins::new(directive.origin()),
            }),
            Err(message) => notes.refused(message),
        }
    }
    Some(replace)
}
