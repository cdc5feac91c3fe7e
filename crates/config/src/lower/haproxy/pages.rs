//! Pages of errors: `errorfile`, `errorloc`, `errorfiles`, `http-error`, sections `http-errors`, and what
//! rules that answer say about their answer.

use std::collections::BTreeMap;

use clearway_rules::ast::{Piece, Template};

use super::super::notes::Notes;
use super::format;
use super::proxy::{At, Proxy};
use super::rules::{Trouble, header_name, number, wrong};
use crate::model::{BodyText, ErrorPage, HeaderName, HeaderValue, Pairs, TemplateText};
use crate::syntax::haproxy::{Line, Tree};
use crate::value::Text;

/// Pages by status.
pub(super) type Pages = BTreeMap<u16, ErrorPage>;

/// Pages of the sections `http-errors`, by their names.
pub(super) type Groups = BTreeMap<String, Pages>;

/// Fields of a written response that say how it is transferred: they are written anew.
const TRANSFER: [&str; 6] = [
    "content-length",
    "content-type",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "host",
];

/// Reads all sections `http-errors`.
pub(super) fn collect(tree: &Tree, notes: &mut Notes) -> Groups {
    let mut groups = Groups::new();
    for section in &tree.sections {
        if section.kind() != "http-errors" {
            continue;
        }
        let mut pages = Pages::new();
        for line in &section.lines {
            notes.begin(line.origin(), line.text());
            let words: Vec<&str> = line.texts(0).collect();
            match of_line(&words) {
                Ok(Some((status, page))) => drop(pages.insert(status, page)),
                Ok(None) => notes.refused(format!("{:?} is not known here", line.word(0))),
                Err(Trouble::Wrong(message)) => notes.wrong(&line.origin(), message, ""),
                Err(Trouble::Unknown(message)) => notes.refused(message),
            }
        }
        groups.insert(section.name().to_owned(), pages);
    }
    groups
}

/// A line of a proxy that is about pages.
pub(super) fn read(line: &Line, rest: &[&str], proxy: &mut Proxy) -> Result<(), Trouble> {
    let mut add = |status: u16, page: ErrorPage| proxy.pages.insert(status, At::new(page, line));
    match (line.word(0), rest) {
        ("errorfiles", [name, codes @ ..]) => {
            let Some(group) = proxy.groups.get(*name) else {
                return Err(wrong(format!("there is no section \"http-errors {name}\"")));
            };
            let codes: Vec<u16> = codes.iter().filter_map(|code| code.parse().ok()).collect();
            for (status, page) in group.clone() {
                if codes.is_empty() || codes.contains(&status) {
                    add(status, page);
                }
            }
            Ok(())
        }
        ("http-error", words) => {
            let said = said(words, &proxy.groups)?;
            let status = said
                .status
                .ok_or_else(|| wrong("http-error needs a status"))?;
            let page = match said.what {
                What::Page(page) => *page,
                What::Usual => usual(status),
                What::Nothing => ErrorPage {
                    body: Some(String::new()),
                    content_type: HeaderValue::default(),
                    headers: Pairs(said.headers),
                    ..ErrorPage::default()
                },
            };
            proxy.pages.insert(status, At::new(page, line));
            Ok(())
        }
        _ => {
            let words: Vec<&str> = line.texts(0).collect();
            if let Some((status, page)) = of_line(&words)? {
                add(status, page);
            }
            Ok(())
        }
    }
}

/// `errorfile STATUS FILE` and `errorloc STATUS PLACE`.
fn of_line(words: &[&str]) -> Result<Option<(u16, ErrorPage)>, Trouble> {
    let [keyword, status, what, ..] = words else {
        return Err(wrong("a page needs a status and what is answered"));
    };
    let status = number(status, 200, 599)?;
    let redirect = match *keyword {
        "errorfile" => return file(what).map(|page| Some((status, page))),
        "errorloc" | "errorloc302" => 302,
        "errorloc303" => 303,
        _ => return Ok(None),
    };
    let headers = vec![
        (header_name("cache-control")?, literal("no-cache")?),
        (header_name("location")?, literal(what)?),
    ];
    let page = ErrorPage {
        status: Some(redirect),
        body: Some(String::new()),
        content_type: HeaderValue::default(),
        headers: Pairs(headers),
        ..ErrorPage::default()
    };
    Ok(Some((status, page)))
}

fn literal(text: &str) -> Result<TemplateText, Trouble> {
    Ok(format::to_text(&Template::new([Piece::Text(
        text.to_owned(),
    )]))?)
}

/// A file that holds a whole response; an empty one ends the connection.
fn file(path: &str) -> Result<ErrorPage, Trouble> {
    let text = contents(path)?;
    if text.is_empty() {
        return Ok(ErrorPage {
            drop: true,
            ..ErrorPage::default()
        });
    }
    let (head, body) = text
        .split_once("\r\n\r\n")
        .or_else(|| text.split_once("\n\n"))
        .unwrap_or((&text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    if !first.starts_with("HTTP/") || status.is_none() {
        return Err(wrong(format!("{path} is no response of HTTP")));
    }
    let mut page = ErrorPage {
        body: Some(body.to_owned()),
        content_type: HeaderValue::default(),
        status: status.filter(|status| (200..600).contains(status)),
        ..ErrorPage::default()
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == "content-type" {
            page.content_type = HeaderValue::parse(value).map_err(|p| wrong(p.message))?;
        } else if !TRANSFER.contains(&name.as_str()) {
            page.headers.0.push((header_name(&name)?, literal(value)?));
        }
    }
    Ok(page)
}

fn contents(path: &str) -> Result<String, Trouble> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(wrong(format!("cannot read {path}: {error}"))),
    }
}

/// Why HAProxy says it answers with a status.
const REASONS: &[(u16, &str, &str)] = &[
    (200, "OK", "Service ready."),
    (400, "Bad request", "Your browser sent an invalid request."),
    (
        401,
        "Unauthorized",
        "You need a valid user and password to access this content.",
    ),
    (
        403,
        "Forbidden",
        "Request forbidden by administrative rules.",
    ),
    (404, "Not Found", "The resource could not be found."),
    (
        408,
        "Request Time-out",
        "Your browser didn't send a complete request in time.",
    ),
    (
        500,
        "Internal Server Error",
        "An internal server error occurred.",
    ),
    (
        502,
        "Bad Gateway",
        "The server returned an invalid or incomplete response.",
    ),
    (
        503,
        "Service Unavailable",
        "No server is available to handle this request.",
    ),
    (
        504,
        "Gateway Time-out",
        "The server didn't respond in time.",
    ),
];

/// The page that HAProxy has without any configuration, where that is asked for by its name.
fn usual(status: u16) -> ErrorPage {
    let known = REASONS.iter().find(|(known, ..)| *known == status);
    let Some((_, reason, words)) = known else {
        return ErrorPage {
            status: Some(status),
            ..ErrorPage::default()
        };
    };
    let body = format!("<html><body><h1>{status} {reason}</h1>\n{words}\n</body></html>\n");
    let no_cache = literal("no-cache")
        .ok()
        .zip(header_name("cache-control").ok());
    ErrorPage {
        body: Some(body),
        content_type: HeaderValue::parse("text/html").unwrap_or_default(),
        headers: Pairs(
            no_cache
                .map(|(value, name)| (name, value))
                .into_iter()
                .collect(),
        ),
        ..ErrorPage::default()
    }
}

/// What is said about an answer.
pub(super) struct Said {
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(HeaderName, TemplateText)>,
    pub(super) what: What,
}

/// What is answered.
pub(super) enum What {
    /// No body.
    Nothing,
    /// This, with its headers.
    Page(Box<ErrorPage>),
    /// What there is for the status anyway.
    Usual,
}

/// Reads the words behind `return`, `deny`, `tarpit` and `http-error`.
pub(super) fn said(words: &[&str], groups: &Groups) -> Result<Said, Trouble> {
    let mut said = Said {
        status: None,
        headers: Vec::new(),
        what: What::Nothing,
    };
    let (mut kind, mut group) = (None, None);
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        rest = match (*word, tail) {
            ("status" | "deny_status", [status, tail @ ..]) => {
                said.status = Some(number(status, 200, 599)?);
                tail
            }
            ("content-type", [text, tail @ ..]) => {
                kind = Some(HeaderValue::parse(text).map_err(|p| wrong(p.message))?);
                tail
            }
            ("hdr", [name, value, tail @ ..]) => {
                said.headers
                    .push((header_name(name)?, format::template(value)?));
                tail
            }
            ("default-errorfiles", tail) => {
                said.what = What::Usual;
                tail
            }
            ("errorfiles", [name, tail @ ..]) => {
                let found = groups
                    .get(*name)
                    .ok_or_else(|| wrong(format!("there is no section \"http-errors {name}\"")))?;
                group = Some(found);
                tail
            }
            ("errorfile", [path, tail @ ..]) => {
                said.what = What::Page(Box::new(file(path)?));
                tail
            }
            ("string" | "lf-string" | "file" | "lf-file", [text, tail @ ..]) => {
                let text = match *word {
                    "file" | "lf-file" => contents(text)?,
                    _ => (*text).to_owned(),
                };
                let mut page = ErrorPage {
                    content_type: HeaderValue::default(),
                    ..ErrorPage::default()
                };
                if word.starts_with("lf-") {
                    page.template = Some(body(&text)?);
                } else {
                    page.body = Some(text);
                }
                said.what = What::Page(Box::new(page));
                tail
            }
            (word, _) => return Err(Trouble::Unknown(format!("{word:?} is not known here"))),
        };
    }
    if let Some(group) = group {
        let page = said.status.and_then(|status| group.get(&status));
        said.what = page.map_or(What::Usual, |page| What::Page(Box::new(page.clone())));
    }
    // A whole response has its own headers.
    if let What::Page(page) = &mut said.what
        && page.status.is_none()
        && !page.drop
    {
        page.status = said.status;
        page.content_type = kind.unwrap_or_default();
        page.headers.0.append(&mut said.headers);
    }
    Ok(said)
}

/// A body with values: unlike a header it may have several lines.
fn body(text: &str) -> Result<BodyText, Trouble> {
    let template = format::read(text)?;
    BodyText::parse(&template.to_string()).map_err(|problem| wrong(problem.message))
}
