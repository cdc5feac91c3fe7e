//! Where log lines go and how they look.

use std::net::SocketAddr;
use std::path::PathBuf;

use clearway_rules::ast::Fetch;
use clearway_telemetry::format::Format;
use clearway_telemetry::line::{Escape, Fixed, Template, reference};

use super::{Problem, Text, text_values};
use crate::words;

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogDestination {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, which is appended to.
    File(PathBuf),
    /// A syslog server: one datagram for each line.
    Syslog(SyslogAddress),
}

/// Where a syslog server takes datagrams.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SyslogAddress {
    /// UDP: host and port. A name is looked up when the log is opened.
    Udp(String, u16),
    /// A Unix datagram socket.
    Unix(PathBuf),
}

/// The port of syslog over UDP (RFC 5426 section 3.3).
const SYSLOG_PORT: u16 = 514;

impl SyslogAddress {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return (path.starts_with('/') && !path.contains('\0'))
                .then(|| Self::Unix(path.into()));
        }
        let rest = text.strip_prefix("udp://")?;
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return Some(Self::Udp(address.ip().to_string(), address.port()));
        }
        let bare = rest.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<std::net::IpAddr>() {
            return Some(Self::Udp(address.to_string(), SYSLOG_PORT));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
            None => (rest, SYSLOG_PORT),
        };
        let of_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_name = !host.is_empty() && host.bytes().all(of_name);
        is_name.then(|| Self::Udp(host.to_owned(), port))
    }
}

impl std::fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp(host, port) if host.contains(':') => write!(f, "udp://[{host}]:{port}"),
            Self::Udp(host, port) => write!(f, "udp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Text for LogDestination {
    const KIND: &'static str = "\"off\", \"stdout\", \"stderr\", path of a file, \"syslog:udp://HOST:PORT\" or \"syslog:unix:/PATH\"";

    fn parse(text: &str) -> Result<Self, Problem> {
        let problem = || Problem::new(format!("{text:?} is no destination of a log"), Self::KIND);
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ if text.starts_with("syslog:") => {
                let address = text.strip_prefix("syslog:").and_then(SyslogAddress::parse);
                address.map(Self::Syslog).ok_or_else(problem)
            }
            // A bare word is more likely a mistyped choice than a file in the working directory.
            _ if text.contains('/') && !text.contains('\0') => Ok(Self::File(text.into())),
            _ => {
                let mut problem = problem();
                problem.hint = Some(match words::closest(text, ["off", "stdout", "stderr"]) {
                    Some(close) => format!("did you mean {close:?}?"),
                    None => format!("for a file write its path: \"./{text}\""),
                });
                Err(problem)
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Stdout => "stdout".to_owned(),
            Self::Stderr => "stderr".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Syslog(address) => format!("syslog:{address}"),
        }
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        match rng.below(6) {
            0 => Self::Off,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Syslog(SyslogAddress::Udp("::1".to_owned(), 514)),
            4 => Self::Syslog(SyslogAddress::Unix("/dev/log".into())),
            _ => Self::File("/var/log/a b.log".into()),
        }
    }
}

/// Text with `${…}` in it for lines of logs, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogText(String);

impl LogText {
    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Ready for use.
    #[must_use]
    pub fn template(&self) -> Template {
        // It was checked when it was read.
        Template::parse(&self.0, &mut is_fetch).unwrap_or_default()
    }
}

/// Whether rules know a name.
fn is_fetch(name: &str) -> Result<(), String> {
    Fetch::parse(name).map(drop).map_err(|_| {
        let spellings = Fetch::REFERENCE.iter().map(|doc| doc.spelling);
        let word = name.split(':').next().unwrap_or(name);
        let known = reference().map(|doc| doc.spelling).chain(spellings);
        match words::closest(word, known).filter(|close| *close != word) {
            Some(close) => format!("`{name}` is not known; did you mean `{close}`?"),
            None => format!("`{name}` is not known"),
        }
    })
}

impl Text for LogText {
    const KIND: &'static str = "text with ${…}";

    fn parse(text: &str) -> Result<Self, Problem> {
        match Template::parse(text, &mut is_fetch) {
            Ok(_) if text.contains('\n') => {
                Err(Problem::new("a line with an end of line in it", Self::KIND))
            }
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(Problem::new(
                format!("{text:?}: {error}"),
                "text with ${client_ip}, ${status}, ${header:name} and the like; $$ for a dollar sign",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        let samples = [
            "${status}",
            "a $$ ${header:x-a,max=9,else=-}",
            "${local_ip} \"x\"",
        ];
        Self(samples[usize::try_from(rng.below(3)).unwrap()].to_owned())
    }
}

/// How lines of an access log look.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// One of our own formats.
    Own(Format),
    /// A format of HAProxy or NGINX that is a template.
    Fixed(Fixed),
    /// A template: text with `${…}` in it.
    Template(LogText),
}

impl Default for LogFormat {
    fn default() -> Self {
        Self::Own(Format::Json)
    }
}

impl LogFormat {
    /// The names of formats, and what they are.
    pub fn choices() -> impl Iterator<Item = (&'static str, &'static str)> {
        let own = Format::ALL
            .iter()
            .map(|format| (format.name(), format.doc()));
        own.chain(
            Fixed::ALL
                .iter()
                .map(|format| (format.name(), format.doc())),
        )
    }

    /// Its name in the configuration; a template is its own.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Own(format) => format.name(),
            Self::Fixed(format) => format.name(),
            Self::Template(text) => text.as_str(),
        }
    }

    /// One of our own formats, or else the template with how bytes of strangers are written and what
    /// stands in the place of a value that is not there.
    pub(crate) fn body(&self) -> Result<Format, (Template, Escape, &'static str)> {
        match self {
            Self::Own(format) => Ok(*format),
            Self::Fixed(fixed) => {
                let text = Template::parse(fixed.text(), &mut is_fetch).unwrap_or_default();
                Err((text, fixed.escape(), fixed.empty()))
            }
            Self::Template(text) => Err((text.template(), Escape::default(), "")),
        }
    }
}

impl Text for LogFormat {
    const KIND: &'static str = "name of a format, or text with ${…}";

    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(own) = Format::ALL.iter().find(|format| format.name() == text) {
            return Ok(Self::Own(*own));
        }
        if let Some(fixed) = Fixed::ALL.iter().find(|format| format.name() == text) {
            return Ok(Self::Fixed(*fixed));
        }
        if text.contains('$') {
            return LogText::parse(text).map(Self::Template);
        }
        let names = || Self::choices().map(|(name, _)| name);
        let expected = format!("{}, or text with ${{…}}", words::choices(names()));
        let mut problem = Problem::new(format!("{text:?} is not one of the choices"), expected);
        problem.hint =
            words::closest(text, names()).map(|close| format!("did you mean {close:?}?"));
        Err(problem)
    }

    fn text(&self) -> String {
        self.name().to_owned()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        match rng.below(3) {
            0 => Self::Own(Format::Combined),
            1 => Self::Fixed(Fixed::HaproxyHttp),
            _ => Self::Template(LogText::sample(rng)),
        }
    }
}

text_values!(LogDestination, LogText, LogFormat);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_destination_is_not_taken_for_a_file() {
        assert_eq!(
            LogDestination::parse("/x"),
            Ok(LogDestination::File("/x".into()))
        );
        let hint = LogDestination::parse("sdtout").unwrap_err().hint.unwrap();
        assert!(hint.contains("stdout"));
    }

    #[test]
    fn syslog_servers_are_named_in_several_ways() {
        for (text, printed) in [
            ("syslog:udp://127.0.0.1:514", "syslog:udp://127.0.0.1:514"),
            ("syslog:udp://127.0.0.1", "syslog:udp://127.0.0.1:514"),
            ("syslog:udp://[::1]", "syslog:udp://[::1]:514"),
            ("syslog:udp://[::1]:99", "syslog:udp://[::1]:99"),
            (
                "syslog:udp://logs.example.org:99",
                "syslog:udp://logs.example.org:99",
            ),
            ("syslog:unix:/dev/log", "syslog:unix:/dev/log"),
        ] {
            assert_eq!(LogDestination::parse(text).unwrap().text(), printed);
        }
        for bad in [
            "syslog:",
            "syslog:/dev/log",
            "syslog:udp://",
            "syslog:udp://a b:1",
            "syslog:udp://a:0",
            "syslog:unix:dev",
            "syslog:tcp://h:1",
        ] {
            assert!(LogDestination::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_format_with_a_name_can_be_read() {
        for (name, doc) in LogFormat::choices() {
            let format = LogFormat::parse(name).unwrap();
            assert_eq!(format.text(), name);
            assert!(doc.ends_with('.'), "{name}");
            if let LogFormat::Fixed(fixed) = format {
                Template::parse(fixed.text(), &mut is_fetch).unwrap();
            }
        }
        for bad in ["jsn", "${hots}", "a $", "${status,max=x}", "${status}\n"] {
            assert!(LogFormat::parse(bad).is_err(), "{bad}");
        }
        let problem = LogFormat::parse("${statsu}").unwrap_err();
        assert!(problem.message.contains("`status`"), "{}", problem.message);
    }
}
