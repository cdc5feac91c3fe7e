//! HAProxy's `show errors`: the last request and response of each proxy that its parser refused.

use clearway_outcome::FirstBytes;

use crate::read::scan;

/// A message that a parser refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedError {
    /// Whether it is a response; else it is a request.
    pub is_response: bool,
    /// The backend of a response; the front end of a request.
    pub proxy: String,
    /// The server that sent the response; empty for requests.
    pub server: String,
    /// The client's address, without a port.
    pub client: String,
    /// Offset of the byte that was refused.
    pub position: Option<u64>,
    /// Length of what was captured.
    pub length: Option<u64>,
    /// The first bytes that were captured. They may hold what is secret: they are for recognising a
    /// protocol, not for printing.
    pub first: FirstBytes,
    /// The bytes around the refused one, at most 32 before it and 16 behind it. The same holds.
    pub around: Vec<u8>,
}

/// Messages of `show errors`. Empty where it is something else.
#[must_use]
pub fn show_errors(text: &str) -> Vec<CapturedError> {
    let mut found: Vec<Building> = Vec::new();
    for line in text.lines() {
        if let Some(start) = start(line) {
            found.push(start);
        } else if let Some(building) = found.last_mut() {
            building.line(line);
        }
    }
    found.into_iter().map(Building::done).collect()
}

/// A message whose bytes are still coming.
struct Building {
    error: CapturedError,
    bytes: Vec<u8>,
}

/// `[21/Nov/2026:07:30:00.123] backend app (#3): invalid response`, with a front end for requests.
fn start(line: &str) -> Option<Building> {
    let (_, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (rest, is_response) = match rest.strip_prefix("backend ") {
        Some(rest) => (rest, true),
        None => (rest.strip_prefix("frontend ")?, false),
    };
    let (proxy, what) = rest.split_once(" (")?;
    if !what.contains("invalid ") {
        return None;
    }
    Some(Building {
        error: CapturedError {
            is_response,
            proxy: proxy.to_owned(),
            server: String::new(),
            client: String::new(),
            position: None,
            length: None,
            first: FirstBytes::default(),
            around: Vec::new(),
        },
        bytes: Vec::new(),
    })
}

impl Building {
    fn line(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if let Some((number, shown)) = dumped(trimmed) {
            // A gap is a line whose offset is not where the last one ended.
            if number == self.bytes.len() as u64 {
                unescape(shown, &mut self.bytes);
            }
            return;
        }
        let mut parts = trimmed.split(", ").map(str::trim);
        if self.error.is_response
            && let Some(named) = parts.clone().find_map(|part| part.strip_prefix("server "))
        {
            let name = named.split(" (").next().unwrap_or(named);
            self.error.server = name.replace("<NONE>", "");
        }
        if let Some(from) = parts.clone().find_map(|part| part.strip_prefix("src ")) {
            self.error.client = scan::text(scan::without_port(from.as_bytes())).to_owned();
        }
        let number = |text: &str| scan::leading_number(text.as_bytes()).map(|(number, _)| number);
        if let Some(at) = parts.find_map(|part| {
            let (_, rest) = part.split_once("error at position ")?;
            number(rest)
        }) {
            self.error.position = Some(at);
        }
        if let Some(rest) = trimmed.strip_prefix("len ") {
            self.error.length = number(rest);
        }
    }

    fn done(self) -> CapturedError {
        let at = self.error.position.and_then(|at| usize::try_from(at).ok());
        let around = at.and_then(|at| {
            let end = at.saturating_add(16).min(self.bytes.len());
            self.bytes.get(at.saturating_sub(32)..end)
        });
        CapturedError {
            first: FirstBytes::of(&self.bytes),
            around: around.unwrap_or_default().to_vec(),
            ..self.error
        }
    }
}

/// `00017  Host: example.org\r\n`, with `+` behind the offset where a line goes on.
fn dumped(line: &str) -> Option<(u64, &str)> {
    let (number, rest) = line.split_at_checked(5)?;
    let number = scan::number(number.as_bytes())?;
    let rest = rest
        .strip_prefix("  ")
        .or_else(|| rest.strip_prefix("+ "))?;
    Some((number, rest))
}

/// The dump's escapes: `\r`, `\n`, `\t`, `\e`, `\\` and `\xHH`. At most 16 KiB are kept.
fn unescape(shown: &str, out: &mut Vec<u8>) {
    const MOST: usize = 16 * 1024;
    let mut bytes = shown.bytes();
    while let Some(byte) = bytes.next() {
        if out.len() >= MOST {
            break;
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'r') => out.push(b'\r'),
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'e') => out.push(0x1b),
            Some(b'x') => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit().unwrap_or(0), digit().unwrap_or(0));
                out.push(u8::try_from(high * 16 + low).unwrap_or(0));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
}
