//! What is to be examined: addresses and files, the latter recognised by what is in them.

use std::path::{Path, PathBuf};

use clearway_config::pattern;
use clearway_telemetry::read::{self, Format};

use super::Examination;
use super::input::{self, Input};

/// Everything that is to be examined.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) spots: Vec<Spot>,
    pub(super) native: Option<PathBuf>,
    pub(super) nginx: Vec<PathBuf>,
    pub(super) haproxy: Vec<PathBuf>,
    pub(super) logs: Vec<Log>,
    pub(super) stats: Vec<String>,
    pub(super) errors: Vec<PathBuf>,
    pub(super) target_health: Vec<PathBuf>,
    /// Files that nobody can make anything of.
    unknown: Vec<String>,
}

/// A log to be read.
#[derive(Debug)]
pub(super) struct Log {
    /// What it is called in reports.
    pub(super) name: String,
    pub(super) from: From,
    /// Whether only the configuration names it.
    pub(super) is_found: bool,
    /// The text by which the configuration that names it says lines are made.
    pub(super) template: Option<(Format, String)>,
}

/// Where a log comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    File(PathBuf),
    Stdin,
    Journal(String),
}

/// A server to be probed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    /// As it was written.
    pub(super) text: String,
    /// Whether TLS is spoken; `None` = to be found out.
    pub(super) tls: Option<bool>,
    pub(super) host: String,
    pub(super) port: u16,
    /// The path of a request; empty = `/`.
    pub(super) path: String,
    /// The path of a Unix socket.
    pub(super) unix: Option<PathBuf>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Native,
    Nginx,
    Haproxy,
    Log,
    Stat,
    Errors,
    TargetHealth,
}

impl Sources {
    /// Everything that was asked for; what nobody can make anything of is said. An error is a sentence for
    /// somebody who asked for nothing.
    pub(super) fn of(on: &mut Examination) -> Result<Self, String> {
        let options = &mut on.options;
        let mut out = Self {
            native: options.config.take(),
            nginx: std::mem::take(&mut options.nginx),
            haproxy: std::mem::take(&mut options.haproxy),
            stats: std::mem::take(&mut options.stat),
            errors: std::mem::take(&mut options.errors),
            target_health: std::mem::take(&mut options.target_health),
            ..Self::default()
        };
        let targets = std::mem::take(&mut options.targets);
        let logs = std::mem::take(&mut options.log);
        for unit in std::mem::take(&mut options.journal) {
            out.logs.push(Log {
                name: format!("journal of {unit}"),
                from: From::Journal(unit),
                is_found: false,
                template: None,
            });
        }
        let has_admin = on.options.admin.is_some();
        let is_empty = targets.is_empty() && logs.is_empty() && out.is_empty() && !has_admin;
        if is_empty && Path::new("clearway.toml").is_file() {
            out.native = Some("clearway.toml".into());
        } else if is_empty {
            return Err(usage());
        }
        for text in &logs {
            out.log(on, text);
        }
        for text in &targets {
            out.target(on, text);
        }
        out.tell_unknown(on);
        Ok(out)
    }

    fn is_empty(&self) -> bool {
        self.native.is_none()
            && self.nginx.is_empty()
            && self.haproxy.is_empty()
            && self.logs.is_empty()
            && self.stats.is_empty()
            && self.errors.is_empty()
            && self.target_health.is_empty()
    }

    fn log(&mut self, on: &mut Examination, text: &str) {
        if text == "-" {
            return self.add_log("-".to_owned(), From::Stdin);
        }
        if Path::new(text).exists() || !pattern::is_pattern(text) {
            return self.add_log(text.to_owned(), From::File(text.into()));
        }
        let mut found = pattern::matching(Path::new(text));
        found.retain(|path| path.is_file());
        if found.is_empty() {
            on.trouble(&format!("{text}: no file has such a name"));
        }
        for path in found {
            self.add_log(path.display().to_string(), From::File(path));
        }
    }

    /// Adds a log, but none twice.
    pub(super) fn add_log(&mut self, name: String, from: From) {
        let real = |from: &From| match from {
            From::File(path) => path.canonicalize().unwrap_or_else(|_| path.clone()),
            From::Stdin | From::Journal(_) => PathBuf::new(),
        };
        let is_known = self
            .logs
            .iter()
            .any(|log| log.from == from || (name != "-" && real(&log.from) == real(&from)));
        if !is_known {
            self.logs.push(Log {
                name,
                from,
                is_found: false,
                template: None,
            });
        }
    }

    fn target(&mut self, on: &mut Examination, text: &str) {
        let path = Path::new(text);
        if text == "-" {
            return self.add_log("-".to_owned(), From::Stdin);
        }
        if path.is_dir() {
            return on.note(format!(
                "{text} is a folder; its files can be given as {text}/*."
            ));
        }
        if is_socket(path) {
            return on.note(format!(
                "{text} is a socket: a server behind it is written unix:{text}, and HAProxy's own is asked \
                 with --stat {text}."
            ));
        }
        if path.exists() {
            return self.file(on, path);
        }
        match Spot::parse(text) {
            Ok(spot) => self.spots.push(spot),
            Err(why) => on.trouble(&why),
        }
    }

    fn tell_unknown(&self, on: &mut Examination) {
        let Some((first, rest)) = self.unknown.split_first() else {
            return;
        };
        let names = match rest {
            [] => first.clone(),
            [one] => format!("{first} and {one}"),
            [_, _] => self.unknown.join(", "),
            _ => format!("{first} and {} other files", rest.len()),
        };
        on.note(format!(
            "Left out as no configuration, log or report that is known: {names}. A log in a format of your \
             own is named with --log and --log-format."
        ));
    }

    fn file(&mut self, on: &mut Examination, path: &Path) {
        let name = path.display().to_string();
        let input = match Input::file(path) {
            Ok(input) => input,
            Err(error) => return on.trouble(&format!("{name}: {}", input::words(&error))),
        };
        match recognise(path, input.lines()) {
            Some(Kind::Native) => self.native = Some(path.to_owned()),
            Some(Kind::Nginx) => self.nginx.push(path.to_owned()),
            Some(Kind::Haproxy) => self.haproxy.push(path.to_owned()),
            Some(Kind::Log) => self.add_log(name, From::File(path.to_owned())),
            Some(Kind::Stat) => self.stats.push(name),
            Some(Kind::Errors) => self.errors.push(path.to_owned()),
            Some(Kind::TargetHealth) => self.target_health.push(path.to_owned()),
            None => self.unknown.push(name),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|about| about.file_type().is_socket())
}

fn usage() -> String {
    let mut out = "clearway doctor: nothing to examine. Give it\n  \
         a server:           clearway doctor 10.0.0.2:8080\n  \
         a configuration:    clearway doctor --nginx /etc/nginx/nginx.conf\n  \
         and its logs:       clearway doctor --nginx /etc/nginx/nginx.conf --log /var/log/nginx/*.log\n  \
         or all in a folder: clearway doctor *\n"
        .to_owned();
    let usual = [
        ("--nginx", "/etc/nginx/nginx.conf"),
        ("--haproxy", "/etc/haproxy/haproxy.cfg"),
    ];
    for (option, path) in usual {
        if Path::new(path).is_file() {
            out.push_str(&format!(
                "This host has one: clearway doctor {option} {path}\n"
            ));
        }
    }
    out
}

/// What a file is, by its beginning.
fn recognise(path: &Path, head: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(head);
    if text.contains("\"TargetHealthDescriptions\"") {
        return Some(Kind::TargetHealth);
    }
    if text.lines().any(|line| line.starts_with("# pxname,")) {
        return Some(Kind::Stat);
    }
    if text.contains("Total events captured on") {
        return Some(Kind::Errors);
    }
    let is_named = |end: &str| path.extension().is_some_and(|found| found == end);
    if is_named("toml") || is_native(&text) {
        return Some(Kind::Native);
    }
    if is_haproxy(&text) {
        return Some(Kind::Haproxy);
    }
    if is_nginx(&text) {
        return Some(Kind::Nginx);
    }
    read::detect(head).map(|_| Kind::Log)
}

fn is_native(text: &str) -> bool {
    let heads = ["[listener.", "[backend.", "[[route]]"];
    let mut lines = text.lines().map(str::trim_start);
    lines.any(|line| heads.iter().any(|head| line.starts_with(head)))
}

fn is_haproxy(text: &str) -> bool {
    let sections = ["global", "defaults", "frontend", "backend", "listen"];
    let inside = [
        "bind",
        "server",
        "timeout",
        "mode",
        "balance",
        "option",
        "log",
        "maxconn",
        "default_backend",
        "use_backend",
    ];
    let first = |line: &str| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mut lines = text
        .lines()
        .filter(|line| !line.trim_end().ends_with(['{', '}', ';']));
    let has_section = lines
        .clone()
        .any(|line| !line.starts_with([' ', '\t']) && sections.contains(&first(line).as_str()));
    has_section && lines.any(|line| inside.contains(&first(line).as_str()))
}

fn is_nginx(text: &str) -> bool {
    let names = [
        "server",
        "upstream",
        "location",
        "http",
        "stream",
        "events",
        "proxy_pass",
        "listen",
        "include",
        "fastcgi_pass",
        "root",
    ];
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| line.ends_with(['{', ';']));
    let known = lines.filter(|line| {
        let word = line.split([' ', '\t', '{', ';']).next().unwrap_or_default();
        names.contains(&word)
    });
    // A single one may be the work of chance.
    known.count() >= 2
}

impl Spot {
    /// Reads an address.
    fn parse(text: &str) -> Result<Self, String> {
        let of = |rest: &str, tls, usual: u16| {
            let (authority, path) = match rest.split_once('/') {
                Some((authority, path)) => (authority, format!("/{path}")),
                None => (rest, String::new()),
            };
            let (host, port) = host_and_port(authority, usual)
                .ok_or_else(|| wrong(text, "that is no host and port"))?;
            Ok(Self {
                text: text.to_owned(),
                tls,
                host,
                port,
                path,
                unix: None,
            })
        };
        if let Some(rest) = text.strip_prefix("http://") {
            return of(rest, Some(false), 80);
        }
        if let Some(rest) = text.strip_prefix("https://") {
            return of(rest, Some(true), 443);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self {
                text: text.to_owned(),
                tls: Some(false),
                unix: Some(path.into()),
                ..Self::default()
            });
        }
        if text.contains("://") {
            return Err(wrong(text, "only http:// and https:// are known"));
        }
        if text.contains('/') {
            return Err(format!("{text}: there is no such file"));
        }
        match of(text, None, 0)? {
            Self { port: 0, .. } => Err(wrong(
                text,
                "there is no such file, and an address needs a port",
            )),
            spot => Ok(spot),
        }
    }
}

fn wrong(text: &str, why: &str) -> String {
    format!(
        "{text}: {why}; write for example 10.0.0.2:8080, https://app.internal/ or unix:/run/app.sock"
    )
}

/// `a:80`, `[::1]:80`, `a`; the port is `usual` where none is written.
fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => usual,
            None => return None,
        };
        return Some((host.to_owned(), port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (text, usual),
    };
    let is_name = !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    is_name.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let spot = Spot::parse("https://app.internal/up?x").unwrap();
        assert_eq!((spot.host.as_str(), spot.port), ("app.internal", 443));
        assert_eq!((spot.tls, spot.path.as_str()), (Some(true), "/up?x"));
        let spot = Spot::parse("[::1]:8080").unwrap();
        assert_eq!(
            (spot.host.as_str(), spot.port, spot.tls),
            ("::1", 8080, None)
        );
        let spot = Spot::parse("unix:/run/a.sock").unwrap();
        assert_eq!(spot.unix, Some("/run/a.sock".into()));
        for wrong in [
            "",
            "a",
            "a:",
            "a:0",
            "a:99999",
            "a b:80",
            "[::1",
            "[::1]x",
            "[x]:80",
            "ftp://a:1",
            "/no/such.conf",
            ":80",
            "http://",
            "a:80:90",
        ] {
            assert!(Spot::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_are_recognised() {
        let kind = |text: &str| recognise(Path::new("x"), text.as_bytes());
        assert_eq!(
            kind("upstream a {\n  server b:1;\n}\nserver {\n proxy_pass http://a;\n}\n"),
            Some(Kind::Nginx)
        );
        assert_eq!(
            kind("# hi\nglobal\n  maxconn 5\nlisten a\n  bind :80\n"),
            Some(Kind::Haproxy)
        );
        assert_eq!(kind("[backend.app]\nservers = []\n"), Some(Kind::Native));
        assert_eq!(kind("# pxname,svname,\n"), Some(Kind::Stat));
        assert_eq!(
            kind("{\"TargetHealthDescriptions\": []}"),
            Some(Kind::TargetHealth)
        );
        assert_eq!(
            kind(
                "2026/11/21 04:34:26 [error] 1#1: *2 connect() failed (111: Connection refused) while \
                  connecting to upstream, client: 10.0.0.1, server: , request: \"GET / HTTP/1.1\", \
                  upstream: \"http://10.0.0.2:80/\", host: \"a\"\n"
            ),
            Some(Kind::Log)
        );
        for unknown in ["", "hello\n", "types {\n  text/html html;\n}\n", "\0\0"] {
            assert_eq!(kind(unknown), None, "{unknown}");
        }
    }
}
