//! `log`, `log-format` and `option httplog`: the access logs of frontends.

use clearway_telemetry::line::{self, Escape, Fixed};

use super::super::notes::Notes;
use super::extra;
use super::proxy::Proxy;
use super::sample;
use crate::diagnostic::Origins;
use crate::model::{
    AccessLog, LogDestination, LogFormat, LogSample, LogText, ServerLog, Syslog, SyslogFacility,
    SyslogFraming, SyslogSeverity, Token,
};
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// What was captured of a cookie, by its variable.
fn cookie(variable: &str) -> String {
    format!("${{var:{variable},else=-}}")
}

/// The levels, the most important first. Lines about requests are of the level `info`.
const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// What `global` says about lines of logs.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    pub(super) tag: Option<String>,
    pub(super) hostname: Option<String>,
}

/// A place that lines go to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    to: LogDestination,
    syslog: Syslog,
    /// The least important level that it takes, by its place in [`LEVELS`].
    most: usize,
    sample: Option<LogSample>,
}

/// Reads the words behind `log`; `None` for `log global` and what cannot be a place.
pub(super) fn target(line: &Line, notes: &mut Notes) -> Option<Target> {
    let words: Vec<&str> = line.texts(1).collect();
    let (address, mut rest) = words.split_first()?;
    let mut syslog = Syslog {
        newline: true,
        max_length: 1_024,
        tag: Token::parse("haproxy").ok()?,
        ..Syslog::default()
    };
    let mut sample = None;
    while let [word, value, tail @ ..] = rest {
        match *word {
            "len" => syslog.max_length = value.parse().unwrap_or(1_024).clamp(80, 65_507),
            "format" => match framing(value) {
                Some(framing) => syslog.framing = framing,
                None => notes.ineffective(format!("the format {value:?} is not known here")),
            },
            "sample" => match sampled(value) {
                Some(found) => sample = Some(found),
                None => notes.wrong(&line.origin(), "no such sample", "such as 1,3:5"),
            },
            "profile" => notes.ineffective("profiles of logs are not known here"),
            _ => break,
        }
        rest = tail;
    }
    let mut levels = rest.iter().skip(1);
    if let Some(name) = rest.first() {
        let all = SyslogFacility::ALL.iter().copied();
        match all.into_iter().find(|facility| facility.name() == *name) {
            Some(facility) => syslog.facility = facility,
            None => notes.wrong(&line.origin(), format!("{name:?} is no facility"), "local0"),
        }
    }
    let most = levels
        .next()
        .and_then(|level| LEVELS.iter().position(|known| known == level));
    let most = most.unwrap_or(7);
    let to = match *address {
        "stdout" | "fd@1" => LogDestination::Stdout,
        "stderr" | "fd@2" => LogDestination::Stderr,
        address => destination(address, notes)?,
    };
    Some(Target {
        to,
        syslog,
        most,
        sample,
    })
}

/// `1,3-4:5`: places, and of how many.
fn sampled(text: &str) -> Option<LogSample> {
    let (places, of) = text.split_once(':')?;
    let of: u32 = of.parse().ok().filter(|of| (1..=100_000).contains(of))?;
    let mut sample = LogSample {
        of,
        ..LogSample::default()
    };
    for range in places.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        sample.places.extend(from..=to.min(of));
    }
    Some(sample)
}

fn framing(name: &str) -> Option<SyslogFraming> {
    Some(match name {
        "rfc3164" | "local" => SyslogFraming::Rfc3164,
        "rfc5424" => SyslogFraming::Rfc5424,
        "priority" => SyslogFraming::Priority,
        "short" => SyslogFraming::Short,
        "timed" => SyslogFraming::Timed,
        "iso" => SyslogFraming::Iso,
        "raw" => SyslogFraming::Raw,
        _ => return None,
    })
}

fn destination(address: &str, notes: &mut Notes) -> Option<LogDestination> {
    let bare = ["udp@", "udp4@", "udp6@", "ipv4@", "ipv6@"];
    let bare = bare.iter().find_map(|prefix| address.strip_prefix(prefix));
    let bare = bare.unwrap_or(address);
    let path = bare.strip_prefix("unix@").unwrap_or(bare);
    let text = if path.starts_with('/') {
        format!("syslog:unix:{path}")
    } else if bare.contains('@') {
        notes.ineffective("such a place for lines is not known here");
        return None;
    } else {
        let (host, port) = crate::survey::units::host_and_port(bare);
        let host = match host.as_str() {
            "" | "*" => "127.0.0.1".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let port = if port == 0 { 514 } else { port };
        format!("syslog:udp://{host}:{port}")
    };
    match LogDestination::parse(&text) {
        Ok(to) => Some(to),
        Err(problem) => {
            notes.ineffective(problem.message);
            None
        }
    }
}

/// The access logs of a frontend; none where it says nothing of logs.
pub(super) fn of(
    proxy: &Proxy,
    global: &[Target],
    manner: &Manner,
    notes: &mut Notes,
) -> Vec<AccessLog> {
    let own = proxy.logs.iter();
    let inherited = global.iter().filter(|_| proxy.logs_globally);
    let targets: Vec<&Target> = own.chain(inherited).collect();
    if targets.is_empty() {
        return Vec::new();
    }
    let Some(format) = format_of(proxy, notes) else {
        return Vec::new();
    };
    let is_template = matches!(format, LogFormat::Template(_));
    let condition = |text: &str| LogText::parse(text).ok();
    let mut conditions = Vec::new();
    if proxy.option("dontlog-normal") {
        conditions.extend(condition("${abnormal}"));
    }
    let log = |target: &&Target, level: usize, more: Vec<LogText>| {
        let mut syslog = around(target, manner);
        let all = SyslogSeverity::ALL;
        syslog.severity = all.get(level).copied().unwrap_or(SyslogSeverity::Info);
        AccessLog {
            to: target.to.clone(),
            format: format.clone(),
            escape: is_template.then_some(Escape::Haproxy),
            empty: is_template.then(|| "-".to_owned()),
            conditions: conditions.iter().cloned().chain(more).collect(),
            sample: target.sample.clone(),
            syslog,
            origins: Origins::new(proxy.origin.clone()),
        }
    };
    // A log for each level that lines may have: which one it is, is known when a request is over.
    let mut ways: Vec<(usize, Vec<LogText>)> = Vec::new();
    let set: Vec<&String> = proxy.log_levels.iter().collect();
    let mut usual = Vec::new();
    if !set.is_empty() {
        usual.extend(condition("${var:log_level|is(usual)}"));
    }
    if proxy.option("log-separate-errors") {
        ways.push((
            3,
            usual
                .iter()
                .cloned()
                .chain(condition("${abnormal}"))
                .collect(),
        ));
        usual.extend(condition("${normal}"));
    }
    ways.push((6, usual));
    for (level, name) in LEVELS.iter().enumerate() {
        if set.iter().any(|known| known.as_str() == *name) {
            let is_it = condition(&format!("${{var:log_level|is({name})}}"));
            ways.push((level, is_it.into_iter().collect()));
        }
    }
    let mut logs = Vec::new();
    for target in &targets {
        let taken = ways.iter().filter(|(level, _)| *level <= target.most);
        logs.extend(taken.map(|(level, more)| log(target, *level, more.clone())));
    }
    logs
}

/// Where it is told what becomes of a backend's servers.
pub(super) fn of_servers(proxy: &Proxy, global: &[Target], manner: &Manner) -> Vec<ServerLog> {
    let inherited = global.iter().filter(|_| proxy.logs_globally);
    let log = |target: &Target| ServerLog {
        to: target.to.clone(),
        checks: proxy.option("log-health-checks"),
        syslog: around(target, manner),
        origins: Origins::new(proxy.origin.clone()),
    };
    proxy.logs.iter().chain(inherited).map(log).collect()
}

/// What is around the lines of a target.
fn around(target: &Target, manner: &Manner) -> Syslog {
    let mut syslog = target.syslog.clone();
    if let Some(tag) = manner.tag.as_deref().and_then(|tag| Token::parse(tag).ok()) {
        syslog.tag = tag;
    }
    syslog.hostname.clone_from(&manner.hostname);
    syslog
}

fn format_of(proxy: &Proxy, notes: &mut Notes) -> Option<LogFormat> {
    if let Some(line) = &proxy.log_format {
        notes.begin(line.origin(), line.text());
        return match template(line.word(1), proxy) {
            Ok(text) => Some(LogFormat::Template(text)),
            Err(message) => {
                notes.ineffective(message);
                Some(LogFormat::Fixed(Fixed::HaproxyHttp))
            }
        };
    }
    let fixed = if proxy.option("httplog") && proxy.is_http() {
        if proxy.option("httplog clf") {
            Fixed::HaproxyClf
        } else {
            Fixed::HaproxyHttp
        }
    } else if proxy.option("tcplog") || proxy.option("httplog") {
        Fixed::HaproxyTcp
    } else {
        Fixed::HaproxyDefault
    };
    let is_plain = proxy.captures.is_empty() && proxy.cookie_capture.is_none();
    if is_plain || fixed != Fixed::HaproxyHttp {
        return Some(LogFormat::Fixed(fixed));
    }
    // What is captured stands before the line of the request.
    let text = fixed.text().replace(
        "\"${haproxy_request}\"",
        &format!("{}\"${{haproxy_request}}\"", captured(proxy)),
    );
    let text = match &proxy.cookie_capture {
        Some(_) => {
            let both = [extra::COOKIE_OF_REQUEST, extra::COOKIE_OF_RESPONSE].map(cookie);
            text.replacen(" - - ", &format!(" {} ", both.join(" ")), 1)
        }
        None => text,
    };
    LogText::parse(&text).ok().map(LogFormat::Template)
}

/// `{a|b} ` for what is captured of requests, then of responses.
fn captured(proxy: &Proxy) -> String {
    let both = [true, false].map(|is_request| captured_of(proxy, is_request));
    let there = both.iter().filter(|values| !values.is_empty());
    there.map(|values| format!("{values} ")).collect()
}

/// `{a|b}` for what is captured of requests, or of responses; nothing where that is nothing.
fn captured_of(proxy: &Proxy, is_request: bool) -> String {
    let side = if is_request { "req" } else { "res" };
    let count = proxy.captures.get(&is_request).map_or(0, Vec::len);
    let value = |number| format!("${{var:capture.{side}.{number},escape=haproxy_capture,else=}}");
    let values: Vec<String> = (0..count).map(value).collect();
    match values.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", values.join("|")),
    }
}

/// A log-format string as text with `${…}`.
fn template(text: &str, proxy: &Proxy) -> Result<LogText, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(&before.replace('$', "$$"));
        if let Some(tail) = after.strip_prefix('%') {
            out.push('%');
            rest = tail;
            continue;
        }
        let (flags, after) = match after
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
        {
            Some((flags, tail)) => (flags, tail),
            None => ("", after),
        };
        if after.starts_with('o')
            && !after
                .get(1..)
                .unwrap_or_default()
                .starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            // Flags for all that follows: quotes and escapes are what is written anyway.
            rest = after.get(1..).unwrap_or_default().trim_start();
            continue;
        }
        let (value, tail) = value(after, proxy)?;
        out.push_str(&if flags.contains("+Q") {
            format!("\"{value}\"")
        } else {
            value
        });
        rest = tail;
    }
    out.push_str(&rest.replace('$', "$$"));
    LogText::parse(&out).map_err(|problem| problem.message)
}

fn value<'a>(text: &'a str, proxy: &Proxy) -> Result<(String, &'a str), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let end = super::format::closing(inner).ok_or("a closing bracket is missing")?;
        let (expression, tail) = inner.split_at_checked(end).unwrap_or((inner, ""));
        let sample = sample::read(expression)?;
        return Ok((
            format!("${{{}}}", sample.fetch),
            tail.get(1..).unwrap_or_default(),
        ));
    }
    if let Some(tail) = text.strip_prefix("si:%sp") {
        return Ok(("${server_address}".to_owned(), tail));
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    if let Some(half @ ("si" | "sp")) = text.get(..end) {
        return Err(format!("%{half} is known in %si:%sp alone"));
    }
    // The longest name that is known: what follows may be text.
    for end in (1..=end).rev() {
        let (name, tail) = text.split_at_checked(end).unwrap_or((text, ""));
        if let Some(value) = known(name, proxy) {
            return Ok((value, tail));
        }
    }
    Err(format!(
        "%{} is not known here",
        text.get(..end).unwrap_or_default()
    ))
}

fn known(name: &str, proxy: &Proxy) -> Option<String> {
    let spelled = |word: &str| format!("${{{word}}}");
    let word = format!("%{name}");
    if let Some(doc) = line::reference().find(|doc| doc.haproxy == word) {
        // What is counted is a number even where nobody counts.
        let counts = doc.spelling.ends_with("_connections") || doc.spelling == "backend_queue";
        let or = match doc.spelling {
            "target_query" => ",else=",
            _ if counts => ",else=0",
            _ => "",
        };
        return Some(spelled(&format!("{}{or}", doc.spelling)));
    }
    match name {
        "hr" | "hs" => Some(captured_of(proxy, name == "hr")),
        "t" | "tr" => Some(spelled("time_haproxy")),
        "T" | "Tl" => Some(spelled("end_time_clf")),
        "Tt" => Some(spelled("total_ms")),
        "H" => Some("-".to_owned()),
        "pid" => Some(spelled("pid")),
        "sq" => Some("0".to_owned()),
        "CC" if proxy.cookie_capture.is_some() => Some(cookie(extra::COOKIE_OF_REQUEST)),
        "CS" if proxy.cookie_capture.is_some() => Some(cookie(extra::COOKIE_OF_RESPONSE)),
        "CC" | "CS" | "lc" | "rt" => Some("-".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read() {
        let proxy = Proxy::default();
        for (text, wanted) in [
            ("%ci:%cp", "${client_ip}:${client_port}"),
            ("%{+Q}r %ST", "\"${haproxy_request}\" ${haproxy_status}"),
            ("%[src]x$", "${client_ip}x$$"),
            ("%TR/%Tw ms", "${head_ms}/${queue_ms} ms"),
        ] {
            assert_eq!(template(text, &proxy).unwrap().text(), wanted, "{text}");
        }
        assert!(template("%zz", &proxy).is_err());
    }
}
