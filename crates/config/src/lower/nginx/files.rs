//! Files: `root`, `alias`, `index`, `try_files`, `autoindex`, `types` and what says how they are sent.

use clearway_rules::ast::{Convert, Fetch, Piece};

use super::super::notes::Notes;
use super::values::{self, Names};
use super::{absolute, rewrite, text_of};
use crate::diagnostic::Origins;
use crate::lower::build::{rule, test_of, value};
use crate::model::{
    Actions, Condition, Files, ModifiedSince, OnError, Route, TemplateText, Token, ValueTest,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::{HeaderValue, Pairs, Text};

/// What has an extension of its own where nothing is said of types.
const TYPES: [(&str, &str); 3] = [
    ("html", "text/html"),
    ("gif", "image/gif"),
    ("jpg", "image/jpeg"),
];

/// Where files are looked for when nothing says it: where none are.
const NOWHERE: &str = "/nonexistent";

/// Media types that a `charset` is written behind.
const WITH_CHARSET: [&str; 6] = [
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];

/// The files that answer in a place whose path begins with `prefix`; none when nothing asks for any.
pub(super) fn files(
    scope: &Scope<'_>,
    prefix: Option<&str>,
    names: &Names,
    notes: &mut Notes,
) -> Option<Files> {
    let own = scope.levels().next().unwrap_or_default();
    let tries = own.iter().rev().find(|found| found.is("try_files"));
    let root = scope
        .levels()
        .find_map(|level| level.iter().rev().find(|d| d.is("root") || d.is("alias")));
    let origin = tries.or(root).map(|found| found.origin())?;
    let mut files = Files {
        reroute_index: true,
        common_types: false,
        absolute_redirects: scope.flag("absolute_redirect", true).value,
        autoindex: scope.flag("autoindex", false).value,
        etag: scope.flag("etag", true).value,
        modified_since: modified_since(scope),
        ranges_max: ranges_max(scope),
        origins: Origins::new(origin),
        ..Files::default()
    };
    let known = match root {
        Some(found) => {
            notes.begin(found.origin(), text_of(found));
            let is_own = own.iter().any(|inner| std::ptr::eq(*inner, *found));
            place(found, prefix.filter(|_| is_own), names, &mut files)
        }
        None => TemplateText::parse(NOWHERE)
            .map(|root| files.root = Some(root))
            .map_err(|problem| problem.message),
    };
    if let Err(message) = known {
        notes.refused(message);
        return None;
    }
    if let Some(directive) = scope.find("index") {
        notes.begin(directive.origin(), text_of(directive));
        if let Err(message) = index(directive, names, &mut files) {
            notes.refused(message);
        }
    }
    types(scope, &mut files, notes);
    super::bodies::precompressed(scope, &mut files);
    if let Some(directive) = tries {
        notes.begin(directive.origin(), text_of(directive));
        if let Err(message) = try_files(directive, names, &mut files) {
            notes.refused(message);
            return None;
        }
    }
    Some(files)
}

/// What `root` or `alias` says of where files lie, for variables: `prefix` is what `alias` takes off.
pub(super) fn learn_root(scope: &Scope<'_>, prefix: Option<&str>, names: &mut Names) {
    let own = scope.levels().next().unwrap_or_default();
    let root = scope
        .levels()
        .find_map(|level| level.iter().rev().find(|d| d.is("root") || d.is("alias")));
    // What nobody has said is a folder beside the program.
    let written = root.and_then(|found| found.argument(0)).unwrap_or("html");
    let text = place_text(written);
    let Ok(folder) = values::read(&text, names) else {
        return;
    };
    let is_own = root.is_some_and(|root| own.iter().any(|inner| std::ptr::eq(*inner, *root)));
    let mut pieces = folder.pieces().to_vec();
    for name in ["document_root", "realpath_root"] {
        names.pieces.insert(name.to_owned(), pieces.clone());
    }
    match root.filter(|root| root.is("alias") && is_own) {
        None => pieces.push(Piece::Fetch(values::decoded_path())),
        Some(_) => {
            if let Some(prefix) = prefix {
                let rest = Convert::with("bytes", &[&prefix.len().to_string()]);
                pieces.push(Piece::Fetch(values::decoded_path().through(vec![rest])));
            }
        }
    }
    names.pieces.insert("request_filename".to_owned(), pieces);
}

/// A folder as it is written: a relative one leads from where the process is started.
fn place_text(written: &str) -> String {
    if written.starts_with('$') {
        return written.to_owned();
    }
    let slash = if written.ends_with('/') { "/" } else { "" };
    let path = absolute(written).display().to_string();
    format!("{}{slash}", path.trim_end_matches('/'))
}

/// `error_page`: what another location answers in place of an error. A redirection, and a path that depends on
/// the request, is a route of its own.
pub(super) fn error_pages(
    scope: &Scope<'_>,
    names: &Names,
    notes: &mut Notes,
) -> (Vec<OnError>, Vec<Route>) {
    let (mut turns, mut routes) = (Vec::new(), Vec::new());
    for directive in scope.all("error_page") {
        notes.begin(directive.origin(), text_of(directive));
        match error_page(directive, scope, names) {
            Ok((turn, route)) => {
                turns.push(turn);
                routes.extend(route);
            }
            Err(message) => notes.refused(message),
        }
    }
    (turns, routes)
}

/// The route of an error that ends elsewhere.
fn error_route(
    to: &str,
    name: &str,
    status: Option<u16>,
    directive: &Directive,
    names: &Names,
) -> Result<Route, String> {
    let origin = directive.origin();
    let mut route = Route {
        when: value(ValueTest {
            is: vec![name.to_owned()],
            ..test_of(&Fetch::Variable("goto".to_owned()))
        }),
        origins: Origins::new(origin.clone()),
        ..Route::default()
    };
    if to.starts_with('/') {
        let mut actions = Actions {
            set_target: Some(values::template(to, names)?),
            reroute: true,
            ..Actions::default()
        };
        let unset = Token::parse("goto").map_err(|problem| problem.message)?;
        actions.set_variables = Pairs(vec![(unset, TemplateText::default())]);
        route
            .rules
            .push(rule(Condition::default(), actions, "reroute", &origin));
        route.actions.deny = Some(404);
        route.origins.set("deny", origin);
        return Ok(route);
    }
    let status = status.filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308));
    let to = rewrite::redirect(to, status.unwrap_or(302), names)?;
    route.actions.redirect = Some(to);
    route.origins.set("redirect", origin);
    Ok(route)
}

/// Whether errors of servers are intercepted, by the word of the protocol that requests are passed on in.
fn intercepts(scope: &Scope<'_>) -> bool {
    let protocols = [
        ("fastcgi_pass", "fastcgi_intercept_errors"),
        ("uwsgi_pass", "uwsgi_intercept_errors"),
        ("scgi_pass", "scgi_intercept_errors"),
        ("grpc_pass", "grpc_intercept_errors"),
    ];
    let mut protocols = protocols.into_iter();
    let own = protocols.find(|(pass, _)| scope.find(pass).is_some());
    let word = own.map_or("proxy_intercept_errors", |(_, word)| word);
    scope.flag(word, false).value
}

fn error_page(
    directive: &Directive,
    scope: &Scope<'_>,
    names: &Names,
) -> Result<(OnError, Option<Route>), String> {
    let words: Vec<&str> = directive.texts().collect();
    let [codes @ .., written] = words.as_slice() else {
        return Err("error_page has statuses and where to go".to_owned());
    };
    let mut turn = OnError {
        of_servers: intercepts(scope),
        as_get: true,
        again: scope.flag("recursive_error_pages", false).value,
        origins: Origins::new(directive.origin()),
        ..OnError::default()
    };
    for code in codes {
        let sent = code.strip_prefix('=');
        let number = match sent.unwrap_or(code) {
            "" => 0,
            text => text.parse().map_err(|_| format!("{code:?} is no status"))?,
        };
        if sent.is_some() {
            turn.send = Some(number);
        } else {
            turn.status.push(number);
        }
    }
    let constant = values::constant(written, names);
    if let Some(to) = constant.filter(|to| to.starts_with(['/', '@'])) {
        turn.to = to;
        return Ok((turn, None));
    }
    if !written.starts_with(['/', '$', 'h']) {
        return Err(format!("{written:?} is no place to go to"));
    }
    let origin = directive.origin();
    turn.to = format!("@error-{}-{}", origin.line, origin.column);
    let status = turn.send.take();
    if !written.starts_with('/') {
        turn.send = Some(0);
    } else {
        turn.send = status;
    }
    let route = error_route(written, &turn.to, status, directive, names)?;
    Ok((turn, Some(route)))
}

/// `root` and `alias`.
fn place(
    directive: &Directive,
    prefix: Option<&str>,
    names: &Names,
    files: &mut Files,
) -> Result<(), String> {
    let text = place_text(directive.argument(0).unwrap_or_default());
    let template = values::template(&text, names)?;
    if directive.is("root") {
        files.root = Some(template);
        return Ok(());
    }
    match prefix {
        Some(prefix) => {
            prefix.clone_into(&mut files.strip);
            files.root = Some(template);
        }
        // Of a pattern, the path has no part in it but by its groups.
        None => files.file = Some(template),
    }
    Ok(())
}

/// `index`: the last one may be a path that depends on the request.
fn index(directive: &Directive, names: &Names, files: &mut Files) -> Result<(), String> {
    if let Some(index) = constants(directive, names) {
        files.index = index;
        return Ok(());
    }
    let words: Vec<&str> = directive.texts().collect();
    let [known @ .., last] = words.as_slice() else {
        return Ok(());
    };
    let known = known.iter().map(|text| values::constant(text, names));
    let known: Option<Vec<String>> = known.collect();
    match known.filter(|_| last.starts_with('/')) {
        Some(known) => files.index = known,
        None => return Err("an index that depends on the request is not known here".to_owned()),
    }
    files.without_index = Some(values::template(last, names)?);
    Ok(())
}

fn constants(directive: &Directive, names: &Names) -> Option<Vec<String>> {
    let texts = directive.texts();
    texts.map(|text| values::constant(text, names)).collect()
}

/// `try_files`: the last one is what happens when there is none of the others.
fn try_files(directive: &Directive, names: &Names, files: &mut Files) -> Result<(), String> {
    let words: Vec<&str> = directive.texts().collect();
    let [tries @ .., last] = words.as_slice() else {
        return Err("try_files has files and what follows without them".to_owned());
    };
    let tries = tries.iter().map(|text| values::template(text, names));
    files.tries = tries.collect::<Result<_, _>>()?;
    if let Some(code) = last.strip_prefix('=')
        && !code.parse().is_ok_and(|code| (200..600).contains(&code))
    {
        return Err(format!("{code:?} is no status"));
    }
    files.otherwise = Some(values::template(last, names)?);
    Ok(())
}

fn modified_since(scope: &Scope<'_>) -> ModifiedSince {
    let word = scope.find("if_modified_since");
    match word.and_then(|found| found.argument(0)) {
        Some("before") => ModifiedSince::Before,
        Some("off") => ModifiedSince::Off,
        Some(_) | None => ModifiedSince::Exact,
    }
}

fn ranges_max(scope: &Scope<'_>) -> u16 {
    let count = scope.find("max_ranges");
    let count = count.and_then(|found| found.argument(0)?.parse().ok());
    // The length of a head bounds them, and that they cannot ask for more than there is.
    count.unwrap_or(1_000)
}

/// `types`, `default_type` and `charset`.
fn types(scope: &Scope<'_>, files: &mut Files, notes: &mut Notes) {
    let charset = scope.find("charset").and_then(|found| found.argument(0));
    let charset = charset.filter(|charset| *charset != "off");
    let written = |media_type: &str| {
        let text = match charset {
            Some(charset) if WITH_CHARSET.contains(&media_type) => {
                format!("{media_type}; charset={charset}")
            }
            _ => media_type.to_owned(),
        };
        HeaderValue::parse(&text).ok()
    };
    let mut pairs: Vec<(Token, HeaderValue)> = Vec::new();
    let mut add = |extension: &str, media_type: &str| {
        let token = Token::parse(&extension.to_ascii_lowercase()).ok();
        pairs.extend(token.zip(written(media_type)));
    };
    let tables = scope.all("types");
    if tables.is_empty() {
        for (extension, media_type) in TYPES {
            add(extension, media_type);
        }
    }
    for table in &tables {
        for entry in table.inner() {
            for extension in entry.texts() {
                add(extension, &entry.name.text);
            }
        }
    }
    // Of several for one extension the last is known.
    let mut seen = std::collections::BTreeSet::new();
    pairs.reverse();
    pairs.retain(|(extension, _)| seen.insert(extension.as_str().to_owned()));
    pairs.reverse();
    files.types = Pairs(pairs);
    let default = scope.find("default_type");
    let text = default.and_then(|found| found.argument(0));
    match written(text.unwrap_or("text/plain")) {
        Some(value) => files.default_type = value,
        None => {
            if let Some(directive) = default {
                notes.begin(directive.origin(), text_of(directive));
                notes.refused("this is no media type");
            }
        }
    }
}
