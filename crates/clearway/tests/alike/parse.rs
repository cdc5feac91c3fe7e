//! How tables are written.
//!
//! ```text
//! === name of the case, in words
//! @ differs why Clearway does something else
//! @ server B silent
//! @ file hosts.map
//! | example.org b
//! use_backend b if { path_beg /b }
//! > GET /b/c
//! : X-More: header lines
//! = a body, whose length is added
//! >> GET /again-on-the-same-connection
//! ```
//!
//! What has no mark is configuration. A piece is made a whole: lines of a frontend, of a listen section
//! or of a `server` block alone are enough ([`whole`]). In it `$LISTEN`, `$LISTEN2` … are addresses to
//! listen on, `$A` to `$H` servers that run because they are named, `$A_PORT` the port alone, `$DIR` the
//! folder, `$LOG` where a log may be sent over UDP. Lines of `#` in the first column are for readers.
//!
//! `@ unseen` leaves out what servers saw, `@ refused` says that no program starts with this, `@ env
//! NAME=VALUE` sets a variable of the environment.
//!
//! A request names the connection before its method where that matters: `> LISTEN2 from:127.0.0.2
//! tls:example.org GET /`. Lines with `~` send bytes as they are, with `\r`, `\n` and `\x00`; lines with
//! `!` are steps by name ([`step`]).

use std::time::Duration;

use crate::case::{Acts, Case, Content, Kind, Open, Read, Step};

/// Reads a table.
///
/// # Panics
/// With the place of what is malformed.
pub(crate) fn table(kind: Kind, file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let place = format!("{file}:{at}");
        if line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("=== ") {
            assert!(
                cases.iter().all(|c| c.name != name),
                "{place}: a second {name:?}"
            );
            cases.push(empty(name, place));
            continue;
        }
        let Some(case) = cases.last_mut() else {
            assert!(line.is_empty(), "{place}: before the first `===`");
            continue;
        };
        let mut following = |mark: &str| {
            let mut taken = Vec::new();
            while let Some(more) = lines.get(at).and_then(|l| l.strip_prefix(mark)) {
                taken.push(more.strip_prefix(' ').unwrap_or(more).to_owned());
                at += 1;
            }
            taken
        };
        if let Some(words) = line.strip_prefix("@ ") {
            directive(case, words, &following("|"), &place);
        } else if let Some(words) = line.strip_prefix(">> ") {
            request(case, words, &following(":"), &following("="), &place);
        } else if let Some(words) = line.strip_prefix("> ") {
            let rest = opening(case, words);
            request(case, &rest, &following(":"), &following("="), &place);
        } else if let Some(bytes) = line.strip_prefix("~ ") {
            case.steps.push(Step::Send(unescape(bytes)));
        } else if let Some(words) = line.strip_prefix("! ") {
            step(case, words, &place);
        } else {
            case.text.push_str(line);
            case.text.push('\n');
        }
    }
    for case in &mut cases {
        case.text = whole(kind, case.text.trim_end());
    }
    cases
}

fn empty(name: &str, place: String) -> Case {
    Case {
        name: name.to_owned(),
        place,
        text: String::new(),
        files: Vec::new(),
        servers: std::collections::BTreeMap::default(),
        steps: Vec::new(),
        differs: None,
        unseen: false,
        refused: false,
        environment: Vec::new(),
    }
}

fn directive(case: &mut Case, words: &str, lines: &[String], place: &str) {
    let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
    match word {
        "differs" => case.differs = Some(rest.to_owned()),
        "unseen" => case.unseen = true,
        "refused" => case.refused = true,
        "env" => {
            let pair = rest.split_once('=');
            let (name, value) = pair.unwrap_or_else(|| panic!("{place}: NAME=VALUE"));
            case.environment.push((name.to_owned(), value.to_owned()));
        }
        "server" => {
            let (name, what) = rest.split_once(' ').unwrap_or((rest, "name"));
            let name = name.chars().next().unwrap_or('A');
            case.servers.insert(name, acts(what, lines, place));
        }
        "file" => {
            let mut words = rest.split(' ').map(str::to_owned);
            let name = words.next().unwrap_or_default();
            let content = match words.next().as_deref() {
                Some("identity") => Content::Identity(words.collect()),
                Some("authority") => Content::Authority,
                Some(other) => panic!("{place}: a file is text, identity or authority: {other}"),
                None => Content::Text(lines.iter().map(|l| format!("{l}\n")).collect()),
            };
            case.files.push((name, content));
        }
        _ => panic!("{place}: unknown `@ {word}`"),
    }
}

fn acts(what: &str, lines: &[String], place: &str) -> Acts {
    let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
    let number = || {
        rest.parse()
            .unwrap_or_else(|_| panic!("{place}: a number: {rest:?}"))
    };
    match word {
        "name" => Acts::Name,
        "tls" => Acts::Tls,
        "unix" => Acts::Unix,
        "slow" => Acts::Slow(Duration::from_millis(number())),
        "fails" => Acts::Fails(rest.parse().unwrap_or(1)),
        "proxy-v1" => Acts::Proxied(1),
        "proxy-v2" => Acts::Proxied(2),
        "continue" => Acts::Continue,
        "answer" => Acts::Answer(message(lines)),
        "answer-and-close" => Acts::AnswerAndClose(message(lines)),
        "answer-early" => Acts::AnswerEarly(message(lines)),
        "bytes-and-close" => Acts::AnswerAndClose(unescape(rest)),
        "silent" => Acts::Silent,
        "close" => Acts::Close,
        "reset" => Acts::Reset,
        "close-on-accept" => Acts::CloseOnAccept,
        "refuse" => Acts::Refuse,
        "upgrade" => Acts::Upgrade(rest.to_owned()),
        "raw" => Acts::Raw,
        "banner" => Acts::Banner(unescape(rest)),
        _ => panic!("{place}: unknown server {word:?}"),
    }
}

/// A response: lines of the head, and after an empty one the body, whose length is added if no framing
/// is given.
fn message(lines: &[String]) -> String {
    let end = lines.iter().position(String::is_empty);
    let (head, body) = lines.split_at(end.unwrap_or(lines.len()));
    let body = unescape(&body.get(1..).unwrap_or_default().join("\n"));
    let lower = head.join("\n").to_ascii_lowercase();
    let mut out = unescape(&head.join("\n")).replace('\n', "\r\n");
    let framed = ["content-length:", "transfer-encoding:", " 204", " 304"];
    if !framed.iter().any(|f| lower.contains(f)) {
        out.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    format!("{out}\r\n\r\n{body}")
}

/// Opens a connection for a request; what is left are its words.
fn opening(case: &mut Case, words: &str) -> String {
    let mut open = Open {
        to: "LISTEN".to_owned(),
        from: None,
        tls: None,
        alpn: Vec::new(),
    };
    let mut rest = words;
    while let Some((word, after)) = rest.split_once(' ').or(Some((rest, ""))) {
        if word.starts_with("LISTEN") {
            open.to = word.to_owned();
        } else if let Some(address) = word.strip_prefix("from:") {
            open.from = address.parse().ok();
        } else if let Some(name) = word.strip_prefix("tls:") {
            open.tls = Some(name.to_owned());
        } else if let Some(names) = word.strip_prefix("alpn:") {
            open.alpn = names.split(',').map(str::to_owned).collect();
        } else {
            break;
        }
        rest = after;
    }
    case.steps.push(Step::Open(open));
    rest.to_owned()
}

fn request(case: &mut Case, words: &str, headers: &[String], body: &[String], place: &str) {
    let mut words = words.splitn(3, ' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_else(|| panic!("{place}: a target"));
    let target = if target.contains("\\*") {
        unescape(target)
    } else {
        target.to_owned()
    };
    let version = words.next().unwrap_or("HTTP/1.1");
    let has = |name: &str| {
        headers
            .iter()
            .any(|h| h.to_ascii_lowercase().starts_with(name))
    };
    let mut text = format!("{method} {target} {version}\r\n");
    if !has("host:") && version == "HTTP/1.1" {
        text.push_str("Host: example.org\r\n");
    }
    for header in headers {
        text.push_str(&format!("{}\r\n", unescape(header)));
    }
    let body = unescape(&body.join("\n"));
    if !body.is_empty() && !has("content-length:") && !has("transfer-encoding:") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    case.steps.push(Step::Send(format!("{text}\r\n{body}")));
    case.steps
        .push(Step::Read(Read::Response(method.to_owned())));
}

fn step(case: &mut Case, words: &str, place: &str) {
    let mut rest = words.split(' ');
    let word = rest.next().unwrap_or_default();
    let first = rest.next().unwrap_or_default();
    let second = rest.next().unwrap_or_default();
    let number = |text: &str| {
        text.parse::<u16>()
            .unwrap_or_else(|_| panic!("{place}: a number: {text:?}"))
    };
    let step = match word {
        "open" => {
            let words = words.strip_prefix("open").unwrap_or_default();
            opening(case, words.trim_start());
            return;
        }
        // The last request is sent, and nothing waited for.
        "unanswered" => {
            case.steps.pop();
            return;
        }
        "response" if first.is_empty() => Step::Read(Read::Response("GET".to_owned())),
        "response" => Step::Read(Read::Response(first.to_owned())),
        "head" => Step::Read(Read::Head),
        "take" => Step::Read(Read::Take(number(first).into())),
        "rest" => Step::Read(Read::Rest),
        "quiet" => Step::Read(Read::Quiet),
        "half-close" => Step::HalfClose,
        "close" => Step::Close,
        "keep" => Step::Keep,
        "back" => Step::Back,
        "arrived" => Step::Arrived(first.chars().next().unwrap_or('A'), number(second).into()),
        "until" => Step::Until(number(first), second.to_owned()),
        "elapse" => Step::Elapse(Duration::from_millis(number(first).into())),
        "log" => Step::Log(number(first).into()),
        "file" => Step::File(first.to_owned(), number(second).into()),
        _ => panic!("{place}: unknown `! {word}`"),
    };
    case.steps.push(step);
}

/// Understands `\r`, `\n`, `\t`, `\\`, `\x41` and, for what is long, `\*300,text*`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).expect("two digits").into());
            }
            Some('*') => {
                // `\*300,a*` is 300 times the letter.
                let inside: String = rest.by_ref().take_while(|&c| c != '*').collect();
                let (count, what) = inside.split_once(',').expect("\\*COUNT,TEXT*");
                out.push_str(&unescape(what).repeat(count.parse().expect("a count")));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

/// A whole configuration from what a case says of it.
fn whole(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Haproxy => whole_haproxy(text),
        Kind::Nginx => whole_nginx(text),
    }
}

const SECTIONS: &[&str] = &["global", "frontend", "backend", "listen", "defaults"];

fn whole_haproxy(text: &str) -> String {
    let starts = |words: &[&str]| {
        text.lines()
            .any(|l| words.contains(&l.split(' ').next().unwrap_or_default()))
    };
    // Whose turn it is can be told only with one thread.
    let mut out = "global\n  nbthread 1\n\n".to_owned();
    if !starts(&["defaults"]) {
        out.push_str(
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n\n",
        );
    }
    if starts(SECTIONS) {
        return format!("{out}{text}\n");
    }
    let mut body = text.to_owned();
    // A userlist and the like stand before the lines of the frontend, parted by a line of dashes.
    if let Some((before, lines)) = text.split_once("---\n") {
        out.push_str(before);
        body = lines.to_owned();
    }
    let has = |word: &str| body.lines().any(|l| l.trim_start().starts_with(word));
    let lines: String = body.lines().map(|l| format!("  {l}\n")).collect();
    if has("server ") || has("balance ") {
        out.push_str(&format!("listen web\n  bind $LISTEN\n{lines}"));
        if !has("server ") {
            out.push_str("  server a $A\n  server b $B\n  server c $C\n");
        }
        return out;
    }
    let bind = if has("bind ") { "" } else { "  bind $LISTEN\n" };
    out.push_str(&format!("frontend web\n{bind}{lines}"));
    if !has("default_backend ") {
        out.push_str("  default_backend a\n");
    }
    for name in ["a", "b", "c"] {
        if name == "a" || body.split_whitespace().any(|w| w == name) {
            let server = name.to_ascii_uppercase();
            out.push_str(&format!("backend {name}\n  server {name} ${server}\n"));
        }
    }
    out
}

fn whole_nginx(text: &str) -> String {
    let has = |word: &str| text.lines().any(|l| l.trim_start().starts_with(word));
    let main = "daemon off;\nmaster_process off;\npid $DIR/nginx.pid;\nerror_log stderr;\n\
                events { worker_connections 256; }\n";
    if has("http {") || has("stream {") {
        let (modules, rest): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|l| l.starts_with("load_module "));
        return format!("{}\n{main}{}\n", modules.join("\n"), rest.join("\n"));
    }
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("  {name}_temp_path $DIR/temp;\n"))
        .collect();
    let inner = if has("server {") {
        text.to_owned()
    } else {
        // What belongs outside of the server stands before a line of dashes.
        let (before, lines) = text.split_once("---\n").unwrap_or(("", text));
        let listen = if lines.contains("listen ") {
            ""
        } else {
            "listen $LISTEN;\n"
        };
        format!("{before}server {{\n{listen}{lines}\n}}")
    };
    let log = if text.contains("access_log") {
        ""
    } else {
        "  access_log off;\n"
    };
    format!("{main}http {{\n{log}{paths}{inner}\n}}\n")
}
