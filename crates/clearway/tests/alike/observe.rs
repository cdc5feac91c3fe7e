//! What is compared, as lines of text.
//!
//! Addresses, ports and the folder are replaced by their placeholders, names of header fields are
//! lower case and sorted, values of one name keep their order. [`ALLOWED`] says what else may differ in
//! every case.

use std::io::Read;

use clearway_testkit::{End, Request, Response, message::Fields};

/// How a field is left out of the comparison.
enum How {
    /// The value counts as a distance from `Date`.
    SinceDate,
    /// A value that begins with one of these is dropped.
    Dropped(&'static [&'static str]),
    /// The field is dropped where this one stands as well.
    DroppedBeside(&'static str),
}

/// A difference that is permitted in every case.
struct Allowed {
    field: &'static str,
    how: How,
    #[expect(dead_code, reason = "for readers")]
    why: &'static str,
}

/// All of them.
const ALLOWED: &[Allowed] = &[
    Allowed {
        field: "date",
        how: How::Dropped(&[""]),
        why: "the moment of the answer, which HAProxy leaves out of its own",
    },
    Allowed {
        field: "expires",
        how: How::SinceDate,
        why: "counted from the moment of the answer",
    },
    Allowed {
        field: "server",
        how: How::Dropped(&["nginx", "clearway"]),
        why: "says which program answered; what servers say of themselves is compared",
    },
    Allowed {
        field: "allow",
        how: How::Dropped(&["GET, HEAD"]),
        why: "what can be done instead belongs to 405 (RFC 9110 section 15.5.6)",
    },
    Allowed {
        field: "via",
        how: How::Dropped(&["1.1 clearway", "1.0 clearway"]),
        why: "says which program passed it on",
    },
    Allowed {
        field: "connection",
        how: How::Dropped(&["keep-alive"]),
        why: "what HTTP/1.1 means without it; on HTTP/1.0 the end of the connection shows it",
    },
    Allowed {
        field: "te",
        how: How::Dropped(&["trailers"]),
        why: "trailers are passed on, so the wish for them may be",
    },
    Allowed {
        field: "connection",
        how: How::Dropped(&["te", "TE"]),
        why: "goes with the wish for trailers",
    },
    Allowed {
        field: "proxy-connection",
        how: How::Dropped(&[""]),
        why: "an old word about one connection, which NGINX passes on and nobody needs",
    },
    Allowed {
        field: "x-request-id",
        how: How::DroppedBeside("proxy-status"),
        why: "Clearway's own answers name their receipt",
    },
    Allowed {
        field: "proxy-status",
        how: How::Dropped(&["clearway"]),
        why: "Clearway's own answers say why (RFC 9209)",
    },
];

/// Bodies above this are told by their length and sum.
const BODY_MAX: usize = 4000;

/// And values of fields above this.
const VALUE_MAX: usize = 500;

/// What the names of a case stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(pub(crate) Vec<(String, String)>);

impl Values {
    /// Replaces `$NAME`, `$NAME_PORT` and, of Unix sockets, `$NAME_PATH`.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut parts = text.split('$');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = part.find(|c| !is_name(c)).unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            let known = self.get(name).map(str::to_owned).or_else(|| {
                let name = name
                    .strip_suffix("_PORT")
                    .or_else(|| name.strip_suffix("_PATH"))?;
                let address = self.get(name)?;
                address.rsplit_once(':').map(|(_, port)| port.to_owned())
            });
            match known {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("${name}")),
            }
            out.push_str(rest);
        }
        out
    }

    /// What a name stands for.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Puts the names back.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, value) in &self.0 {
            out = out.replace(value, &format!("${name}"));
        }
        for (name, value) in &self.0 {
            if let Some((_, port)) = value.rsplit_once(':') {
                out = replace_number(&out, port, &format!("${name}_PORT"));
            }
        }
        out
    }
}

/// Replaces a number that is not part of a longer one.
fn replace_number(text: &str, number: &str, with: &str) -> String {
    let mut out = String::new();
    let mut pieces = text.split(number).peekable();
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    if number.parse::<u16>().is_err() {
        return text.to_owned();
    }
    while let Some(piece) = pieces.next() {
        out.push_str(piece);
        if let Some(next) = pieces.peek() {
            let apart = !is_digit(out.chars().last()) && !is_digit(next.chars().next());
            out.push_str(if apart { with } else { number });
        }
    }
    out
}

/// A response as lines. Reason phrases are for people (RFC 9112 section 4): the status is compared.
pub(crate) fn response(response: &Response, values: &Values) -> Vec<String> {
    let (bytes, unpacked) = unpacked(response);
    let body = values.hide(&String::from_utf8_lossy(&bytes));
    let is_own = is_own_page(response, &body);
    let mut out = vec![format!("{} {}", response.version, response.status)];
    let lines = fields(&response.headers, unpacked, values);
    if is_own {
        // Each program says in its own words what went wrong, and where a redirection leads.
        let about_body = [
            "content-type:",
            "content-length:",
            "cache-control: no-cache",
        ];
        let is_about_body = |line: &String| about_body.iter().any(|name| line.starts_with(name));
        out.extend(lines.into_iter().filter(|line| !is_about_body(line)));
    } else {
        out.extend(lines);
        out.extend(body_lines(&body));
    }
    out.extend(trailers(&response.trailers));
    if !matches!(response.end, End::Complete) {
        out.push(ending(&response.end));
    }
    out
}

/// Whether the body is a page that the program made up by itself, or its head was asked for.
fn is_own_page(response: &Response, body: &str) -> bool {
    let has = |name: &str, begin: &str| {
        let values = response.headers.all(name);
        values.iter().any(|value| value.starts_with(begin))
    };
    let is_ours = has("server", "clearway");
    if response.body.is_empty() {
        let is_page = has("content-type", "text/html") || has("content-type", "text/plain; c");
        let by_us = is_ours || has("server", "nginx");
        let leads = (300..400).contains(&response.status);
        return leads && (by_us || !response.headers.has("server"))
            || response.status >= 400 && is_page && by_us;
    }
    let status = response.status;
    body.contains("<center>nginx")
        || body.starts_with(&format!("<html><body><h1>{status} "))
            && (is_ours || !response.headers.has("server"))
        || is_ours && body.starts_with(&format!("{status} ")) && body.contains("\nrequest id ")
}

/// A request that a server saw, as lines. Which version of HTTP/1 is spoken with servers, and whether
/// connections are kept, is a matter between the two.
pub(crate) fn request(request: &Request, values: &Values) -> Vec<String> {
    let line = format!("{} {}", request.method, request.target);
    let mut out = vec![values.hide(&line)];
    let lines = fields(&request.headers, false, values);
    out.extend(lines.into_iter().filter(|line| line != "connection: close"));
    out.extend(body_lines(
        &values.hide(&String::from_utf8_lossy(&request.body)),
    ));
    out.extend(trailers(&request.trailers));
    if !matches!(request.end, End::Complete) {
        out.push(ending(&request.end));
    }
    out
}

/// Bytes as lines.
pub(crate) fn bytes(bytes: &[u8], values: &Values) -> Vec<String> {
    body_lines(&values.hide(&String::from_utf8_lossy(bytes)))
}

/// A line of a log that came as a datagram: its priority and what follows the name of the program,
/// without times.
pub(crate) fn log(datagram: &[u8], values: &Values) -> String {
    let text = String::from_utf8_lossy(datagram);
    let priority = text.split_inclusive('>').next().unwrap_or_default();
    let message = ["]: ", "nginx: ", ": "]
        .iter()
        .find_map(|mark| text.split_once(mark))
        .map_or("", |(_, message)| message);
    let (mut timed, mut after_status) = (false, false);
    let words = values.hide(message);
    let words = words.trim_end().split(' ').map(|word| {
        // Each program writes heads in its own way, so what they add up to differs by a few bytes.
        let is_count = word.parse::<u64>().is_ok();
        if std::mem::replace(&mut after_status, is_count && word.len() == 3) && is_count {
            return "bytes".to_owned();
        }
        let parts: Vec<&str> = word.split('/').collect();
        let is_number = |p: &&str| p.trim_start_matches(['+', '-']).parse::<u32>().is_ok();
        if word.starts_with('[') && word.contains("/20") {
            return "[time]".to_owned();
        }
        // The first such word tells how long each phase took, the second counts connections: those of
        // the process and the frontend may be one that ends just now, those of the backend not.
        if parts.len() < 3 || !parts.iter().all(is_number) {
            return word.to_owned();
        }
        if timed {
            let rest = parts.get(2..).unwrap_or_default();
            return format!("n/n/{}", rest.join("/"));
        }
        timed = true;
        let hide = |part: &&str| match *part {
            "-1" => "-1",
            part if part.starts_with('+') => "+ms",
            _ => "ms",
        };
        parts.iter().map(hide).collect::<Vec<_>>().join("/")
    });
    format!("{priority} {}", words.collect::<Vec<_>>().join(" "))
}

/// How something ended; a peer that closes with unread bytes resets, which says no more.
pub(crate) fn ending(end: &End) -> String {
    match end {
        End::UntilClose | End::Reset => "(end of the connection)".to_owned(),
        End::Complete | End::Truncated | End::TimedOut | End::Malformed(_) => format!("({end:?})"),
    }
}

fn trailers(fields: &Fields) -> Vec<String> {
    let line = |(name, value): &(String, String)| {
        format!("trailer {}: {value}", name.to_ascii_lowercase())
    };
    fields.0.iter().map(line).collect()
}

fn body_lines(text: &str) -> Vec<String> {
    if text.len() > BODY_MAX {
        return vec![format!("| {}", summed(text))];
    }
    text.lines()
        .map(|line| format!("| {}", line.escape_debug()))
        .collect()
}

/// The body as it was before it was compressed, of which there are many ways; whether it was.
fn unpacked(response: &Response) -> (Vec<u8>, bool) {
    let mut plain = Vec::new();
    if response.headers.lists("content-encoding", "gzip") {
        let mut decoder = flate2::read::GzDecoder::new(&response.body[..]);
        if decoder.read_to_end(&mut plain).is_ok() {
            return (plain, true);
        }
    }
    (response.body.clone(), false)
}

/// A long text in short.
fn summed(text: &str) -> String {
    let sum = text.bytes().fold(0_u64, |sum, b| {
        sum.wrapping_mul(0x0100_0000_01b3) ^ u64::from(b)
    });
    format!("{} bytes, sum {sum:016x}", text.len())
}

fn fields(fields: &Fields, own_length: bool, values: &Values) -> Vec<String> {
    let date = fields.all("date").first().and_then(|v| seconds(v));
    let mut named: Vec<(String, String)> = Vec::new();
    for (name, value) in &fields.0 {
        let name = name.to_ascii_lowercase();
        let rules = || ALLOWED.iter().filter(|a| a.field == name).map(|a| &a.how);
        let is_dropped = rules().any(|rule| match rule {
            How::Dropped(starts) => starts.iter().any(|s| value.starts_with(s)),
            How::DroppedBeside(other) => fields.has(other),
            How::SinceDate => false,
        });
        if is_dropped {
            continue;
        }
        let value = match rules().next() {
            Some(How::SinceDate) => match (date, seconds(value)) {
                // What lies years off is a date of its own.
                (Some(date), Some(then)) if (then - date).abs() < 800 * 86_400 => {
                    format!("date {:+}", then - date)
                }
                _ => value.clone(),
            },
            _ if name == "content-length" && own_length => "*".to_owned(),
            // Words of these have no case (RFC 9110 section 7.6.1, RFC 6265 section 5.2).
            _ if name == "connection" => value.to_ascii_lowercase(),
            _ if name == "set-cookie" => values.hide(&value.replace("; Path=", "; path=")),
            _ if value.len() > VALUE_MAX => summed(value),
            _ => values.hide(value),
        };
        named.push((name, value));
    }
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.escape_debug()))
        .collect()
}

/// The seconds of `Sun, 06 Nov 1994 08:49:37 GMT` since some day.
fn seconds(text: &str) -> Option<i64> {
    let words: Vec<&str> = text.split([' ', ':']).filter(|w| !w.is_empty()).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = words[..] else {
        return None;
    };
    let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = i64::try_from(names.find(month)? / 3).ok()? + 1;
    let number = |word: &str| word.parse::<i64>().ok();
    // Days by counting years from March on, so that a leap day is the last of its year.
    let years = number(year)? - i64::from(month <= 2);
    let months = (month + 9) % 12;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (months * 153 + 2) / 5;
    let days = days + number(day)?;
    Some(((days * 24 + number(hour)?) * 60 + number(minute)?) * 60 + number(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted() {
        let at = |text| seconds(text).unwrap();
        let leap = at("Fri, 01 Mar 2024 00:00:00 GMT") - at("Wed, 28 Feb 2024 23:59:58 GMT");
        assert_eq!(leap, 86_402);
        assert_eq!(
            at("Thu, 01 Jan 2026 00:00:01 GMT") - at("Wed, 31 Dec 2025 23:59:59 GMT"),
            2
        );
    }

    #[test]
    fn lines_of_logs_lose_their_times() {
        let line = b"<134>Nov 22 05:07:07 haproxy[12]: 1.2.3.4:5 [22/Nov/2026:05:07:07.123] web a/a 0/0/-1/1/+12 200 83 1/1/0/0/0 0/0\n";
        assert_eq!(
            log(line, &Values::default()),
            "<134> 1.2.3.4:5 [time] web a/a ms/ms/-1/ms/+ms 200 bytes n/n/0/0/0 0/0"
        );
    }

    #[test]
    fn names_are_filled_in_and_put_back() {
        let values = Values(vec![
            ("LISTEN".to_owned(), "127.0.0.1:40001".to_owned()),
            ("A".to_owned(), "127.0.0.1:40002".to_owned()),
        ]);
        let text = values.fill("$A $A_PORT $LISTEN $args $AB");
        assert_eq!(text, "127.0.0.1:40002 40002 127.0.0.1:40001 $args $AB");
        assert_eq!(values.hide(&text), "$A $A_PORT $LISTEN $args $AB");
        assert_eq!(values.hide("140002"), "140002");
    }
}
