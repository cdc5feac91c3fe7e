//! Values with HTTP syntax: header names and values, methods, statuses, patterns, templates.

use std::borrow::Cow;

use clearway_outcome::FaultKind;
use serde_json::{Value as Json, json};

use super::text::is_token_byte;
use super::{Problem, Reader, Spec, Text, Value, read_text, text_values};
use crate::syntax::Node;
use crate::words;

/// Declares a text type that only wraps a checked string.
macro_rules! wrappers {
    ($($(#[doc = $doc:literal])+ $name:ident, $kind:literal, $check:path, $sample:literal $(, same $same:path)?;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Text for $name {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, Problem> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }

            fn text(&self) -> String {
                self.0.clone()
            }

            $(
                fn is_same(&self, other: &Self) -> bool {
                    $same(&self.0, &other.0)
                }
            )?

            #[cfg(test)]
            fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
                let samples: Vec<&str> = $sample.split(' ').collect();
                let index = usize::try_from(rng.below(samples.len() as u64)).unwrap();
                Self(samples[index].to_owned())
            }
        }

        text_values!($name);
    )+};
}

wrappers! {
    /// The name of a header.
    HeaderName, "header name", check_header_name, "x-a X-Request-Id cache-control", same str::eq_ignore_ascii_case;
    /// The value of a header.
    HeaderValue, "header value", check_header_value, "1 yes a=b;c \"q\" ~x";
    /// The name of a cookie.
    CookieName, "cookie name", check_token, "SRV sid CLEARWAY_2";
    /// The name of a query parameter.
    QueryName, "query parameter", check_query_name, "q version a[]";
    /// A request method.
    MethodName, "method", check_method, "GET POST PURGE";
    /// A host, `*.` and a domain, or `*`.
    HostPattern, "host name, \"*.domain\" or \"*\"", check_host, "a.test *.b.test * [::1] 10.0.0.1";
    /// A path: `/exact`, `/prefix/`, `/prefix/*`, or `~ regex`.
    PathPattern, "path, path with \"/\" or \"/*\" at its end for all below it, or \"~ regex\"", check_path, "/ /a /a/ /a/* ~^/[0-9]+$";
    /// The begin of a path.
    PathPrefix, "path", check_prefix, "/a /a/ /old/x";
    /// A regular expression.
    RegexText, "regular expression", check_regex, "^/a/(.*)$ x+";
    /// A value of requests and responses, as in templates but without `${` and `}`.
    FetchText, "value such as \"header:x-a\"", check_fetch, "host header:x-a|lower client_ip";
    /// What a table stores.
    StoredText, "value of a table such as \"http_req_rate(10s)\"", check_stored, "conn_cur http_req_rate(10s) gpc(3)";
    /// One number of a table.
    DatumText, "number of a table such as \"gpc0\"", check_datum, "gpc0 gpt0 gpc.2";
    /// Text with `${…}` in it, of several lines if need be.
    BodyText, "text with ${…}", check_body, "you$$ are ${client_ip}";
    /// Text with `${…}` in it.
    TemplateText, "text with ${…}", check_template, "https://${host}${path} plain $$ ${client_ip}";
}

fn check_body(text: &str) -> Result<(), Problem> {
    crate::lower::rules::check_template(text)
}

fn check_stored(text: &str) -> Result<(), Problem> {
    crate::lower::rules::stored(text)
        .map(drop)
        .map_err(|message| {
            Problem::new(message, "a value of a table such as \"http_req_rate(10s)\"")
        })
}

fn check_datum(text: &str) -> Result<(), Problem> {
    crate::lower::rules::datum(text)
        .map(drop)
        .map_err(|message| {
            Problem::new(message, "a number of a table such as \"gpc0\" or \"gpc.2\"")
        })
}

fn check_fetch(text: &str) -> Result<(), Problem> {
    crate::lower::rules::check_fetch(text)
}

pub(super) fn check_token(text: &str) -> Result<(), Problem> {
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        return Ok(());
    }
    Err(Problem::new(
        format!("{text:?} is not a token"),
        "letters, digits and !#$%&'*+-.^_`|~",
    ))
}

pub(super) fn check_header_name(text: &str) -> Result<(), Problem> {
    check_token(text).map_err(|problem| Problem {
        message: format!("{text:?} is not a header name"),
        ..problem
    })
}

/// Text that may stand in a header (RFC 9110 section 5.5).
fn check_header_value(text: &str) -> Result<(), Problem> {
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(()),
        Some(c) => Err(Problem::new(
            format!("{text:?} cannot stand in a header: it contains {c:?}"),
            "text without control characters",
        )),
    }
}

fn check_query_name(text: &str) -> Result<(), Problem> {
    if !text.is_empty() && !text.contains(['&', '=', '#']) {
        return Ok(());
    }
    Err(Problem::new(
        format!("{text:?} is not the name of a query parameter"),
        "a name without & = #",
    ))
}

fn check_method(text: &str) -> Result<(), Problem> {
    check_token(text).map_err(|problem| Problem {
        message: format!("{text:?} is not a method"),
        ..problem
    })?;
    let upper = text.to_ascii_uppercase();
    // Methods are case-sensitive (RFC 9110 section 9.1); nobody sends "get".
    if [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE",
    ]
    .contains(&upper.as_str())
        && upper != text
    {
        let problem = Problem::new(
            format!("the method {text:?} is not {upper:?}"),
            "upper case",
        );
        return Err(problem.hint(format!("write {upper:?}")));
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), Problem> {
    let problem = |words: &str| Problem::new(format!("{text:?} {words}"), HostPattern::KIND);
    if text == "*" {
        return Ok(());
    }
    let domain = text.strip_prefix("*.").unwrap_or(text);
    if domain.contains('*') {
        return Err(problem("has a * elsewhere than as its first label"));
    }
    let literal = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if literal.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(());
    }
    if let Some((host, port)) = domain.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(
            problem("has a port; hosts are compared without it").hint(format!("write \"{host}\""))
        );
    }
    let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
    if domain.is_empty() || !domain.bytes().all(ok) || domain.contains("..") {
        return Err(problem("is not a host"));
    }
    Ok(())
}

/// The regular expression behind `~`.
fn regex_of(text: &str) -> Option<&str> {
    text.strip_prefix('~').map(str::trim_start)
}

/// Checks a regular expression.
pub(crate) fn check_regex(text: &str) -> Result<(), Problem> {
    let expected = "the syntax of Rust's regex crate, or with look-around that of fancy-regex";
    clearway_rules::check_pattern(text).map_err(|message| Problem::new(message, expected))
}

/// Checks a regular expression that has to take linear time.
fn check_linear(text: &str) -> Result<(), Problem> {
    check_regex(text)?;
    match regex::Regex::new(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new(
            format!("{text:?} has look-around, which does not exist here"),
            "the syntax of Rust's regex crate",
        )),
    }
}

fn check_path(text: &str) -> Result<(), Problem> {
    if let Some(regex) = regex_of(text) {
        return check_regex(regex);
    }
    let problem = |words: &str| Problem::new(format!("{text:?} {words}"), PathPattern::KIND);
    if !text.starts_with('/') {
        return Err(problem("does not begin with \"/\""));
    }
    let stem = text.strip_suffix("/*").unwrap_or(text);
    if stem.contains('*') {
        return Err(problem("has a * elsewhere than behind the last \"/\"")
            .hint("use a regular expression: \"~ ^/…$\""));
    }
    if text.contains(['?', '#']) {
        return Err(problem("has a query").hint("match the query with `query`"));
    }
    match text.chars().find(|c| c.is_control() || *c == ' ') {
        Some(c) => Err(problem(&format!("contains {c:?}"))),
        None => Ok(()),
    }
}

fn check_prefix(text: &str) -> Result<(), Problem> {
    if text.starts_with('/') && !text.contains(|c: char| "*?# ".contains(c) || c.is_control()) {
        return Ok(());
    }
    Err(Problem::new(
        format!("{text:?} is not the begin of a path"),
        "\"/\" and what follows it",
    ))
}

fn check_template(text: &str) -> Result<(), Problem> {
    check_header_value(text)?;
    crate::lower::rules::check_template(text)
}

/// Text to find, or a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Text that is contained.
    Text(String),
    /// `~ regex`.
    Regex(String),
}

impl Text for Pattern {
    const KIND: &'static str = "text or \"~ regex\"";

    fn parse(text: &str) -> Result<Self, Problem> {
        match regex_of(text) {
            Some(regex) => check_linear(regex).map(|()| Self::Regex(regex.to_owned())),
            None => Ok(Self::Text(text.to_owned())),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Regex(regex) => format!("~ {regex}"),
        }
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        match rng.below(2) {
            0 => Self::Text("all is well".to_owned()),
            _ => Self::Regex("^ok".to_owned()),
        }
    }
}

/// What a header, cookie or query parameter has to be: `true`, text, or `~ regex`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldTest {
    /// There, with any value.
    Present,
    /// `false`: not there.
    Absent,
    /// Equal to a text.
    Text(String),
    /// Matched by a regular expression.
    Regex(String),
}

impl Value for FieldTest {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if let Some(present) = node.as_bool() {
            return Some(if present { Self::Present } else { Self::Absent });
        }
        if node.as_text().is_none() {
            return reader.wrong_type(node, "text, \"~ regex\", true or false");
        }
        Some(match read_text(node, reader)? {
            Pattern::Text(text) => Self::Text(text),
            Pattern::Regex(regex) => Self::Regex(regex),
        })
    }

    fn print(&self, _: &Spec, out: &mut String) {
        match self {
            Self::Present => out.push_str("true"),
            Self::Absent => out.push_str("false"),
            Self::Text(text) => out.push_str(&words::quoted(text)),
            Self::Regex(regex) => out.push_str(&words::quoted(&format!("~ {regex}"))),
        }
    }

    fn kind(_: &Spec) -> String {
        "text, \"~ regex\", true (there) or false (not there)".to_owned()
    }

    fn schema(_: &Spec) -> Json {
        json!({ "type": ["string", "boolean"] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        match rng.below(4) {
            0 => Self::Present,
            1 => Self::Absent,
            2 => Self::Text("v 1".to_owned()),
            _ => Self::Regex("^y".to_owned()),
        }
    }
}

/// A set of status codes: numbers, `"2xx"` and `"200-399"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statuses(Vec<(u16, u16)>);

const STATUSES: &str = "status codes such as 200, \"2xx\" or \"200-399\"";

impl Statuses {
    /// All statuses of a range, both ends included.
    #[must_use]
    pub fn range(from: u16, to: u16) -> Self {
        Self(vec![(from, to)])
    }

    /// A set of several; `None` when one of them is none, or there are none.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let ranges = texts.into_iter().map(|text| Self::parse_one(text).ok());
        let ranges: Option<Vec<_>> = ranges.collect();
        ranges.filter(|ranges| !ranges.is_empty()).map(Self)
    }

    /// The ranges, both ends included.
    #[must_use]
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// Whether a status is one of them.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&status))
    }

    fn parse_one(text: &str) -> Result<(u16, u16), Problem> {
        let bad = || Problem::new(format!("{text:?} is not a set of status codes"), STATUSES);
        if let Some([digit @ b'1'..=b'5']) = text.strip_suffix("xx").map(str::as_bytes) {
            let first = u16::from(digit - b'0') * 100;
            return Ok((first, first + 99));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        match (parse_status(from), parse_status(to)) {
            (Some(from), Some(to)) if from <= to => Ok((from, to)),
            (Some(_), Some(_)) => Err(bad().hint("the smaller one comes first")),
            (None, _) | (_, None) => Err(bad()),
        }
    }

    /// Reads one element: a status, a class or a range.
    fn read_one(node: &Node, reader: &mut Reader<'_>) -> Option<(u16, u16)> {
        let Some(text) = text_or_number(node) else {
            return reader.wrong_type(node, STATUSES);
        };
        match Self::parse_one(&text) {
            Ok(range) => Some(range),
            Err(problem) => reader.wrong_value(node, problem),
        }
    }
}

impl Value for Statuses {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let items = node.as_list().unwrap_or_else(|| std::slice::from_ref(node));
        if items.is_empty() {
            return reader.wrong_value(node, Problem::new("this list is empty", STATUSES));
        }
        let ranges = items.iter().filter_map(|item| Self::read_one(item, reader));
        Some(Self(ranges.collect())).filter(|all| !all.0.is_empty())
    }

    fn print(&self, _: &Spec, out: &mut String) {
        let one = |(from, to): &(u16, u16)| match from == to {
            true => from.to_string(),
            false => format!("\"{from}-{to}\""),
        };
        match self.0.as_slice() {
            [only] => out.push_str(&one(only)),
            all => {
                let all: Vec<String> = all.iter().map(one).collect();
                out.push_str(&format!("[{}]", all.join(", ")));
            }
        }
    }

    fn kind(_: &Spec) -> String {
        STATUSES.to_owned()
    }

    fn schema(_: &Spec) -> Json {
        let one = json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": "^([1-5]xx|[1-5][0-9][0-9](-[1-5][0-9][0-9])?)$" },
        ] });
        json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        let from = u16::try_from(rng.below(400)).unwrap() + 100;
        Self(vec![(from, from), (from, from + 10), (300, 399)])
    }
}

/// A status stands in a file as a number or as text.
fn text_or_number(node: &Node) -> Option<Cow<'_, str>> {
    let number = node.as_integer().map(|number| number.to_string().into());
    number.or_else(|| node.as_text().map(Cow::from))
}

fn parse_status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|code| digits && (100..=599).contains(code))
}

/// A status of a failure, or the code of a fault.
fn status_or_fault(text: &str) -> Option<ErrorKey> {
    let status = parse_status(text).filter(|code| *code >= 400);
    let fault = || FaultKind::from_code(text).map(ErrorKey::Fault);
    status.map(ErrorKey::Status).or_else(fault)
}

fn closest_fault(text: &str) -> Option<String> {
    let codes = FaultKind::ALL.iter().map(|kind| kind.code());
    words::closest(text, codes).map(|close| format!("did you mean {close:?}?"))
}

/// After what a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// `"connect"`: nothing reached a server.
    Connect,
    /// `"reused"`: the server closed a kept connection without answering a byte.
    Reused,
    /// A status of the response.
    Status(u16),
    /// A fault, by its code.
    Fault(FaultKind),
}

const RETRY_ON: &str = "\"connect\", \"reused\", a status from 400 to 599 or the code of a fault";

impl Value for RetryOn {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = text_or_number(node) else {
            return reader.wrong_type(node, RETRY_ON);
        };
        match (&*text, status_or_fault(&text)) {
            ("connect", _) => return Some(Self::Connect),
            ("reused", _) => return Some(Self::Reused),
            (_, Some(ErrorKey::Status(status))) => return Some(Self::Status(status)),
            (_, Some(ErrorKey::Fault(kind))) => return Some(Self::Fault(kind)),
            (_, None) => {}
        }
        let mut problem = Problem::new(format!("{text:?} is nothing to retry after"), RETRY_ON);
        problem.hint = words::closest(&text, ["connect", "reused"])
            .map(|close| format!("did you mean {close:?}?"))
            .or_else(|| closest_fault(&text));
        reader.wrong_value(node, problem)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        match self {
            Self::Connect => out.push_str("\"connect\""),
            Self::Reused => out.push_str("\"reused\""),
            Self::Status(status) => out.push_str(&status.to_string()),
            Self::Fault(kind) => out.push_str(&words::quoted(kind.code())),
        }
    }

    fn kind(_: &Spec) -> String {
        RETRY_ON.to_owned()
    }

    fn schema(_: &Spec) -> Json {
        json!({ "anyOf": [
            { "type": "integer", "minimum": 400, "maximum": 599 },
            { "type": "string" },
        ] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        match rng.below(4) {
            0 => Self::Connect,
            1 => Self::Reused,
            2 => Self::Status(503),
            _ => Self::Fault(FaultKind::ResponseTimeout),
        }
    }
}

/// What an error page stands for: a status or a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKey {
    /// Every local answer with this status.
    Status(u16),
    /// The answer to one kind of fault; goes before the status.
    Fault(FaultKind),
}

impl Text for ErrorKey {
    const KIND: &'static str = "status or code of a fault";

    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(found) = status_or_fault(text) {
            return Ok(found);
        }
        let mut problem = Problem::new(
            format!("{text:?} is neither a status nor the code of a fault"),
            "a status from 400 to 599, or a code such as \"all_servers_down\"",
        );
        problem.hint = closest_fault(text);
        Err(problem)
    }

    fn text(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Fault(kind) => kind.code().to_owned(),
        }
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        match rng.below(3) {
            0 => Self::Status(502),
            1 => Self::Status(503),
            _ => Self::Fault(FaultKind::AllServersDown),
        }
    }
}

text_values!(Pattern);

#[cfg(test)]
mod tests;
