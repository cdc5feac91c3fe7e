//! `access_log` and `log_format`.

use clearway_rules::ast::Piece;
use clearway_telemetry::line::{self, Escape, Fixed};

use super::super::notes::Notes;
use super::values::{self, Names};
use super::{absolute, text_of};
use crate::diagnostic::Origins;
use crate::model::{
    AccessLog, LogDestination, LogFormat, LogText, Syslog, SyslogFacility, SyslogSeverity, Token,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// The access logs of a place; `None` where nothing is said.
pub(super) fn of(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Option<Vec<AccessLog>> {
    let written = scope.all("access_log");
    if written.is_empty() {
        return None;
    }
    let mut logs = Vec::new();
    for directive in written {
        notes.begin(directive.origin(), text_of(directive));
        match one(directive, scope, names, notes) {
            Ok(log) => logs.extend(log),
            Err(message) => notes.ineffective(message),
        }
    }
    Some(logs)
}

fn one(
    directive: &Directive,
    scope: &Scope<'_>,
    names: &Names,
    notes: &mut Notes,
) -> Result<Option<AccessLog>, String> {
    let path = directive.argument(0).unwrap_or_default();
    if path == "off" {
        return Ok(None);
    }
    let mut log = AccessLog {
        origins: Origins::new(directive.origin()),
        format: LogFormat::Fixed(Fixed::NginxCombined),
        ..AccessLog::default()
    };
    log.to = match path.strip_prefix("syslog:") {
        Some(words) => syslog(words, &mut log.syslog)?,
        None if path.contains('$') => {
            return Err("the name of a log cannot depend on the request".to_owned());
        }
        None if path == "/dev/stdout" => LogDestination::Stdout,
        None if path == "/dev/stderr" => LogDestination::Stderr,
        None => LogDestination::File(absolute(path)),
    };
    for word in directive.texts().skip(1) {
        if let Some(condition) = word.strip_prefix("if=") {
            log.conditions.push(text(condition, names)?);
        } else if word.starts_with("buffer=") || word.starts_with("flush=") {
            notes.harmless("lines are written in the background");
        } else if word.starts_with("gzip") {
            notes.ineffective("lines are not compressed");
        } else if word != "combined" {
            format(word, scope, names, &mut log)?;
        }
    }
    Ok(Some(log))
}

/// The format with a name.
fn format(name: &str, scope: &Scope<'_>, names: &Names, log: &mut AccessLog) -> Result<(), String> {
    let mut formats = scope.everywhere("log_format");
    let found = formats.find(|format| format.argument(0) == Some(name));
    let Some(found) = found else {
        return Err(format!("there is no log_format {name:?}"));
    };
    let mut parts: Vec<&str> = found.texts().skip(1).collect();
    log.escape = Some(Escape::Nginx);
    log.empty = Some("-".to_owned());
    if let Some(escape) = parts.first().and_then(|part| part.strip_prefix("escape=")) {
        (log.escape, log.empty) = match escape {
            "json" => (Some(Escape::Json), Some(String::new())),
            "none" => (Some(Escape::None), Some(String::new())),
            _ => (log.escape, log.empty.take()),
        };
        parts.remove(0);
    }
    log.format = LogFormat::Template(text(&parts.concat(), names)?);
    Ok(())
}

/// A text with NGINX's variables as one of logs: what only logs know goes first.
fn text(written: &str, names: &Names) -> Result<LogText, String> {
    let mut out = String::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = values::name(after);
        rest = tail;
        let word = format!("${name}");
        if let Some(spelling) = of_stream(name).filter(|_| names.is_stream) {
            out.push_str(&format!("${{{spelling}}}"));
            continue;
        }
        if let Some(doc) = line::reference().find(|doc| doc.nginx == word) {
            out.push_str(&format!("${{{}}}", doc.spelling));
            continue;
        }
        if let Some(header) = name.strip_prefix("sent_http_") {
            out.push_str(&format!("${{sent_header:{}}}", header.replace('_', "-")));
            continue;
        }
        match name {
            "" => out.push_str("$$"),
            "hostname" | "pipe" | "connection" => out.push('-'),
            name => {
                let template = values::read(&format!("${{{name}}}"), names)?;
                for piece in template.pieces() {
                    match piece {
                        Piece::Text(text) => out.push_str(&text.replace('$', "$$")),
                        Piece::Fetch(fetch) => out.push_str(&format!("${{{fetch}}}")),
                    }
                }
            }
        }
    }
    out.push_str(rest);
    LogText::parse(&out).map_err(|problem| problem.message)
}

/// What logs of connections call otherwise than those of requests.
fn of_stream(name: &str) -> Option<&'static str> {
    Some(match name {
        "status" => "stream_status",
        "protocol" => "protocol",
        "bytes_received" => "bytes_in",
        "session_time" => "total_s",
        "upstream_session_time" => "upstream_response_time",
        "upstream_first_byte_time" => "upstream_header_time",
        "ssl_preread_server_name" => "tls_server_name",
        _ => return None,
    })
}

/// `server=ADDRESS,facility=…,tag=…,severity=…,nohostname`.
fn syslog(words: &str, syslog: &mut Syslog) -> Result<LogDestination, String> {
    syslog.pid = false;
    syslog.hostname = Some("*".to_owned());
    syslog.tag = Token::new("nginx");
    let mut to = None;
    for word in words.split(',') {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "server" => {
                let text = match value.strip_prefix("unix:") {
                    Some(path) => format!("syslog:unix:{path}"),
                    None => format!("syslog:udp://{value}"),
                };
                to = Some(LogDestination::parse(&text).map_err(|problem| problem.message)?);
            }
            "facility" => {
                let all = SyslogFacility::ALL.iter().copied();
                let found = all.into_iter().find(|known| known.name() == value);
                syslog.facility = found.ok_or_else(|| format!("{value:?} is no facility"))?;
            }
            "severity" => {
                let all = SyslogSeverity::ALL.iter().copied();
                let found = all.into_iter().find(|known| known.name() == value);
                syslog.severity = found.ok_or_else(|| format!("{value:?} is no severity"))?;
            }
            "tag" => syslog.tag = Token::parse(value).map_err(|problem| problem.message)?,
            "nohostname" => syslog.hostname = None,
            other => return Err(format!("{other:?} is not known")),
        }
    }
    to.ok_or_else(|| "a log by syslog needs a server".to_owned())
}
