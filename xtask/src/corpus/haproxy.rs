//! Stubs for files of HAProxy.

use std::collections::BTreeSet;

use super::scratch::{Scratch, Stub};
use super::{Stubbed, environment};

/// What the program itself puts into its environment.
const OWN: &[&str] = &[
    "HAPROXY_BRANCH",
    "HAPROXY_CFGFILES",
    "HAPROXY_CLI",
    "HAPROXY_HTTPS_LOG_FMT",
    "HAPROXY_HTTP_CLF_LOG_FMT",
    "HAPROXY_HTTP_LOG_FMT",
    "HAPROXY_LOCALPEER",
    "HAPROXY_MASTER_CLI",
    "HAPROXY_MWORKER",
    "HAPROXY_STARTUP_VERSION",
    "HAPROXY_TCP_LOG_FMT",
];

/// Names that begin a section: these lines need no word about them.
const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "cache",
    "program",
    "http-errors",
    "ring",
    "log-forward",
    "fcgi-app",
    "crt-store",
    "traces",
];

/// Writes a file with its stubs.
///
/// # Errors
/// When something cannot be written.
pub(super) fn stub(text: &str, scratch: &Scratch<'_>) -> Result<Stubbed, String> {
    let is_set = |name: &str| {
        let mut words = text.lines().map(|line| line.split_whitespace());
        words.any(|mut line| {
            let first = line.next().unwrap_or_default();
            matches!(first, "setenv" | "presetenv") && line.next() == Some(name)
        })
    };
    let filled = environment::fill(text, |name| OWN.contains(&name) || is_set(name));
    let mut out = String::new();
    let mut bases = Bases::default();
    let mut lines = Vec::new();
    let (mut goes_on, mut is_within) = (false, false);
    for (index, line) in filled.lines().enumerate() {
        let words = words(line);
        let first = words
            .first()
            .map(|word| word.text.as_str())
            .unwrap_or_default();
        let is_told = !goes_on && !first.is_empty() && !first.starts_with('.');
        // What stands outside of any section is wrong as a whole.
        is_within |= SECTIONS.contains(&first);
        if is_told && is_within && !SECTIONS.contains(&first) {
            lines.push((
                u32::try_from(index).unwrap_or_default().saturating_add(1),
                first.to_owned(),
            ));
        }
        goes_on = line.ends_with('\\');
        out.push_str(&maps(&files(line, &words, &mut bases, scratch)?, scratch)?);
        out.push('\n');
    }
    // They stand in another file that the program is started with.
    for name in missing(&filled) {
        out.push_str(&format!("backend {name}\n  server stub 127.0.0.1:8081\n"));
    }
    let main = scratch.write("haproxy.cfg", &out)?;
    Ok(Stubbed {
        file: main.clone(),
        main,
        lines,
    })
}

/// Backends that are named and not there.
fn missing(text: &str) -> BTreeSet<String> {
    let (mut named, mut known) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let words = words(line);
        let mut words = words.iter().map(|word| word.text.as_str());
        match (words.next(), words.next()) {
            (Some("use_backend" | "default_backend"), Some(name)) if !name.contains('%') => {
                named.insert(name.to_owned());
            }
            (Some("backend" | "listen"), Some(name)) => {
                known.insert(name.to_owned());
            }
            _ => {}
        }
    }
    named.difference(&known).cloned().collect()
}

/// Where certificates are looked for.
#[derive(Default)]
struct Bases {
    certificates: String,
    authorities: String,
}

struct Word {
    text: String,
    /// Where it stands in its line, quotes and all.
    begin: usize,
    end: usize,
}

/// The words of a line up to its comment.
fn words(line: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open: Option<Word> = None;
    let (mut quote, mut is_escaped) = (None, false);
    for (at, next) in line.char_indices() {
        let is_plain = quote.is_none() && !is_escaped;
        if is_plain && (next.is_whitespace() || next == '#') {
            words.extend(open.take());
            if next == '#' {
                return words;
            }
            continue;
        }
        let word = open.get_or_insert(Word {
            text: String::new(),
            begin: at,
            end: at,
        });
        word.end = at.saturating_add(next.len_utf8());
        if is_escaped || (quote.is_some() && quote != Some(next) && next != '\\') {
            word.text.push(next);
            is_escaped = false;
        } else if next == '\\' {
            is_escaped = quote != Some('\'');
        } else if quote == Some(next) {
            quote = None;
        } else if matches!(next, '"' | '\'') {
            quote = Some(next);
        } else {
            word.text.push(next);
        }
    }
    words.extend(open);
    words
}

/// The line with paths of stubs in the place of its own.
fn files(
    line: &str,
    words: &[Word],
    bases: &mut Bases,
    scratch: &Scratch<'_>,
) -> Result<String, String> {
    let text = |index: usize| {
        words
            .get(index)
            .map(|word| word.text.as_str())
            .unwrap_or_default()
    };
    let first = text(0);
    let mut out = line.to_owned();
    // From the end, so that the places of words before stay what they are.
    for (index, word) in words.iter().enumerate().rev() {
        let before = index.checked_sub(1).map(text).unwrap_or_default();
        let named = word.text.as_str();
        let Some(stub) = stub_of(first, index, before, named, words) else {
            continue;
        };
        let base = match before {
            "crt" | "crt-list" => &bases.certificates,
            "ca-file" | "crl-file" | "ca-verify-file" => &bases.authorities,
            _ => "",
        };
        let path = if named.starts_with('/') || base.is_empty() {
            scratch.put(named, stub)?
        } else {
            scratch.put(&format!("{base}/{named}"), stub)?
        };
        out.replace_range(word.begin..word.end, &path);
    }
    if let ("crt-base" | "ca-base", Some(word)) = (first, words.get(1)) {
        let base = match first {
            "crt-base" => &mut bases.certificates,
            _ => &mut bases.authorities,
        };
        *base = word.text.clone();
        let path = scratch.path(&word.text);
        std::fs::create_dir_all(&path).map_err(super::told(&path))?;
        out.replace_range(word.begin..word.end, &path.display().to_string());
    }
    Ok(out)
}

/// What the file holds that a word names, if it names one.
fn stub_of<'a>(
    first: &str,
    index: usize,
    before: &str,
    named: &'a str,
    words: &'a [Word],
) -> Option<Stub<'a>> {
    if named.starts_with('@') {
        return None;
    }
    let text = |index: usize| {
        words
            .get(index)
            .map(|word| word.text.as_str())
            .unwrap_or_default()
    };
    let is_about_tls = matches!(
        first,
        "bind" | "server" | "default-server" | "server-template" | "load"
    );
    match (first, index, before) {
        ("errorfile", 2, _) => Some(Stub::Page(text(1))),
        ("errorfiles", 1, _) if named.starts_with('/') => Some(Stub::PageFolder),
        ("ssl-dh-param-file", 1, _) => Some(Stub::Parameters),
        (_, _, "crt") if is_about_tls && named.ends_with('/') => Some(Stub::CertificateFolder),
        (_, _, "crt") if is_about_tls => Some(Stub::Pair),
        (_, _, "crt-list") if is_about_tls => Some(Stub::CertificateList),
        (_, _, "ca-file" | "ca-verify-file") if is_about_tls => Some(Stub::Certificate),
        (_, _, "crl-file") if is_about_tls => Some(Stub::Revoked),
        (_, _, "-f") if first != "command" => Some(Stub::Text(list(words))),
        ("http-error" | "http-request" | "http-response", _, "errorfile") => {
            Some(Stub::Page("503"))
        }
        ("http-error" | "http-request" | "http-response", _, "file" | "lf-file") => {
            Some(Stub::Text("stub\n"))
        }
        _ => None,
    }
}

/// A list of what a condition compares with.
fn list(words: &[Word]) -> &'static str {
    let begins = |fetch: &str| words.iter().any(|word| word.text.starts_with(fetch));
    if begins("src") || begins("dst") || begins("req.hdr_ip") || begins("hdr_ip") {
        "192.0.2.1\n198.51.100.0/24\n"
    } else {
        "stub.example\n"
    }
}

/// The line with stubs for the maps that its expressions ask.
fn maps(line: &str, scratch: &Scratch<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("map") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let Some((name, behind)) = after.split_once('(') else {
            rest = after;
            break;
        };
        let is_map = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let named: &str = behind.split([',', ')']).next().unwrap_or_default();
        if !is_map || named.is_empty() || before.ends_with(|c: char| c.is_alphanumeric()) {
            out.push_str("map");
            rest = after.strip_prefix("map").unwrap_or_default();
            continue;
        }
        let key = if name.starts_with("map_ip") {
            "192.0.2.1"
        } else {
            "stub"
        };
        let to = if name.ends_with("_int") {
            "1"
        } else if name.ends_with("_ip") && name != "map_ip" {
            "192.0.2.2"
        } else {
            "stub"
        };
        let path = scratch.put(named, Stub::Text(&format!("{key} {to}\n")))?;
        out.push_str(&format!("{name}({path}"));
        rest = behind.strip_prefix(named).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}
