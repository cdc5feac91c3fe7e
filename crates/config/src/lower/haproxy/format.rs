//! Log-format strings: text with `%[expression]` and `%ci` in it.

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::sample;
use crate::model::TemplateText;
use crate::value::Text;

/// Variables of log-format strings that requests have a value for.
const VARIABLES: &[(&str, Fetch)] = &[
    ("ci", Fetch::Source),
    ("cp", Fetch::SourcePort),
    ("fp", Fetch::Port),
    ("f", Fetch::Listener),
    ("ft", Fetch::Listener),
    ("b", Fetch::Backend),
    ("s", Fetch::Server),
    ("HM", Fetch::Method),
    ("HP", Fetch::SentPath),
    ("HU", Fetch::SentTarget),
    ("ID", Fetch::RequestId),
    ("sslv", Fetch::TlsVersion),
    ("sslc", Fetch::TlsCipher),
    ("ST", Fetch::Status),
    ("fi", Fetch::Local),
    ("Ts", Fetch::Now),
    ("HPO", Fetch::SentPath),
];

/// How values are written, as flags in braces say.
#[derive(Clone, Copy, Default)]
struct Flags {
    quoted: bool,
    hex: bool,
}

impl Flags {
    fn changed(mut self, flags: &str) -> Self {
        for flag in flags.split(',').map(str::trim) {
            match flag {
                "+Q" => self.quoted = true,
                "-Q" => self.quoted = false,
                "+X" => self.hex = true,
                "-X" => self.hex = false,
                _ => {}
            }
        }
        self
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are texts")]
    fn write(self, fetch: Fetch, pieces: &mut Vec<Piece>) {
        let fetch = match fetch {
            number @ (Fetch::SourcePort | Fetch::Port) if self.hex => {
                number.through(vec![Convert::new("int2hex")])
            }
            address @ (Fetch::Source | Fetch::Local) if self.hex => {
                address.through(vec![Convert::new("ip2hex")])
            }
            other => other,
        };
        let quote = || Piece::Text("\"".to_owned());
        if self.quoted {
            pieces.extend([quote(), Piece::Fetch(fetch), quote()]);
        } else {
            pieces.push(Piece::Fetch(fetch));
        }
    }

    /// The request line.
    fn write_request(self, pieces: &mut Vec<Piece>) {
        let quote = || self.quoted.then(|| Piece::Text("\"".to_owned()));
        pieces.extend(quote());
        for (fetch, behind) in [
            (Fetch::Method, " "),
            (Fetch::SentTarget, " HTTP/"),
            (Fetch::Version, ""),
        ] {
            pieces.extend([Piece::Fetch(fetch), Piece::Text(behind.to_owned())]);
        }
        pieces.extend(quote());
    }
}

/// Reads a string.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn read(text: &str) -> Result<Template, String> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut general = Flags::default();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        if let Some(tail) = after.strip_prefix('%') {
            plain.push('%');
            rest = tail;
            continue;
        }
        let mut flags = general;
        let after = match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some((own, tail)) => {
                flags = flags.changed(own);
                tail
            }
            None => after,
        };
        pieces.push(Piece::Text(std::mem::take(&mut plain)));
        if let Some(inner) = after.strip_prefix('[') {
            let end = closing(inner).ok_or_else(|| format!("{text:?} lacks a closing bracket"))?;
            let (expression, tail) = inner.split_at_checked(end).unwrap_or((inner, ""));
            // Flags are about the words of the language, not about expressions.
            pieces.push(Piece::Fetch(sample::read(expression)?.fetch));
            rest = tail.get(1..).unwrap_or_default();
            continue;
        }
        let end = after.find(|c: char| !c.is_ascii_alphanumeric());
        let (name, tail) = after
            .split_at_checked(end.unwrap_or(after.len()))
            .unwrap_or((after, ""));
        match name {
            // What follows is written in this way.
            "o" => general = flags,
            "r" => flags.write_request(&mut pieces),
            name => flags.write(variable(name)?, &mut pieces),
        }
        rest = tail;
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain));
    Ok(Template::new(pieces))
}

/// The bracket that ends an expression: outside of parentheses and quotes.
pub(super) fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, next) in text.char_indices() {
        match (next, quote) {
            (_, Some(open)) if next == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) if depth > 0 => quote = Some(next),
            ('(', None) => depth += 1,
            (')', None) => depth = depth.saturating_sub(1),
            (']', None) if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// A variable, or a dash where it is not set.
fn captured(name: &str) -> Fetch {
    Fetch::Variable(format!("{name},-"))
}

fn variable(name: &str) -> Result<Fetch, String> {
    // `%HQ` is the query with its question mark, `%HV` the version with its name.
    let fetch = match name {
        "HQ" => Some(Fetch::Query.through(vec![Convert::with("concat", &["?", ""])])),
        "HV" => Some(Fetch::Version.through(vec![Convert::with("concat", &["HTTP/", ""])])),
        "CC" => Some(captured(super::extra::COOKIE_OF_REQUEST)),
        "CS" => Some(captured(super::extra::COOKIE_OF_RESPONSE)),
        name => {
            let found = VARIABLES.iter().find(|(known, _)| *known == name);
            found.map(|(_, fetch)| fetch.clone())
        }
    };
    fetch.ok_or_else(|| format!("%{name} is not known here"))
}

/// A string as a template of the model.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn template(text: &str) -> Result<TemplateText, String> {
    to_text(&read(text)?)
}

/// A template as it stands in the model.
pub(super) fn to_text(template: &Template) -> Result<TemplateText, String> {
    TemplateText::parse(&template.to_string()).map_err(|problem| problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read() {
        for (text, wanted) in [
            ("plain $1", "plain $$1"),
            ("%[src]", "${client_ip}"),
            ("a%%b", "a%b"),
            (
                "https://%[hdr(host)]%[path]?%[query]",
                "https://${header_item:host}${sent_path}?${query}",
            ),
            ("%[path,regsub(a]b,c)]x", "${sent_path|regsub(\"a]b\",c)}x"),
            ("%ci:%cp", "${client_ip}:${client_port}"),
            ("%{+Q}[method]", "${method}"),
            ("%{+Q}HM", "\"${method}\""),
        ] {
            assert_eq!(template(text).unwrap().as_str(), wanted, "{text}");
        }
        for bad in ["%[src", "%[nothing]", "%zz"] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }
}
