//! `[log]` and the access logs of listeners and routes: what is written down.

use clearway_telemetry::line::{Escape as LogEscape, Given, Layout};

use super::{concept, table_value};
use crate::value::{
    LogDestination, LogFormat, LogText, Token, choice_value, choices, print_inline,
};

concept! {
    /// What is written down. Writing never slows traffic: what cannot be written in time is dropped
    /// and counted.
    Log, "[log]";

    /// Where the access log goes: a line for every request. Listeners and routes may have logs of their
    /// own in its place: `access_log`.
    access: LogDestination = LogDestination::Off, example = Some("\"/var/log/clearway/access.log\"");
    /// How its lines look: the name of a format, or text with `${…}` in it.
    format: LogFormat = LogFormat::default(), example = Some("\"json\"");
    /// Where failed requests go, as JSON, with every attempt.
    faults: LogDestination = LogDestination::Stderr, example = Some("\"off\"");
    /// What is around the lines of both logs where they go to a syslog server.
    syslog: Syslog = Syslog::default(), example = Some("{ facility = \"local0\" }");
    /// Messages of the process less important than this are left out.
    level: LogLevel = LogLevel::Info;
    /// Lines that wait to be written, per worker.
    buffer: usize = 1 << 20, bytes = true, range = Some((4_096.0, 1_073_741_824.0)),
        example = Some("\"4MiB\"");
}
table_value!(Log);

concept! {
    /// An access log of a listener or route. The logs of a route stand in the place of those of its
    /// listener, and those of a listener in the place of the process's `[log]`; an empty list is none.
    AccessLog, "[[listener.NAME.access_log]]";

    /// Where it goes.
    to: LogDestination = LogDestination::Off, required = true,
        example = Some("\"syslog:udp://127.0.0.1:514\"");
    /// How its lines look: the name of a format, or text with `${…}` in it.
    format: LogFormat = LogFormat::default(), example = Some("\"${client_ip} ${status} ${total_s}\"");
    /// How bytes of strangers are written where the format is text with `${…}`.
    escape: Option<LogEscape> = None, example = Some("\"json\"");
    /// What stands in such a text in the place of a value that is empty or not there.
    empty: Option<String> = None, example = Some("\"-\"");
    /// A line is written unless one of these yields nothing or `0`.
    conditions: Vec<LogText> = Vec::new(), key = "if",
        example = Some("[\"${abnormal}\", \"${header:x-log-me}\"]");
    /// Of every so many lines those that are written; all when absent.
    sample: Option<LogSample> = None, example = Some("{ of = 10, places = [1] }");
    /// What is around the lines where they go to a syslog server.
    syslog: Syslog = Syslog::default(), example = Some("{ facility = \"local0\", tag = \"web\" }");
}
table_value!(AccessLog);

concept! {
    /// A part of the lines of an access log.
    LogSample, "sample of lines";

    /// How many lines are counted before it begins again.
    of: u32 = 1, required = true, range = Some((1.0, 1_000_000.0)), example = Some("10");
    /// The places among them, from 1, of those that are written.
    places: Vec<u32> = Vec::new(), required = true, example = Some("[1, 3]");
}
table_value!(LogSample);

impl AccessLog {
    /// Whether it goes anywhere.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.to != LogDestination::Off
    }

    /// How its lines look and which requests have one.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let layout = match self.format.body() {
            Ok(own) => Layout::own(own),
            Err((template, escape, empty)) => {
                let empty = self.empty.as_deref().unwrap_or(empty);
                Layout::template(template, self.escape.unwrap_or(escape), empty)
            }
        };
        layout.when(self.conditions.iter().map(LogText::template).collect())
    }

    /// The values in it that only rules know.
    pub(crate) fn fetches(&self) -> Vec<String> {
        let layout = self.layout();
        let fetches = layout.given().filter_map(|given| match given {
            Given::Fetch(name) => Some(name.clone()),
            Given::Sent(name) => Some(format!("sent_header:{name}")),
            Given::Asked(_) => None,
        });
        fetches.collect()
    }

    /// What it is known by to whoever writes it: everything that is said about it. Two that are alike
    /// are one.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = String::new();
        print_inline(self, &mut key);
        key
    }
}

impl Log {
    /// The access log of the process, as one of a listener would be; `None` when there is none.
    #[must_use]
    pub fn access_log(&self) -> Option<AccessLog> {
        (self.access != LogDestination::Off).then(|| AccessLog {
            to: self.access.clone(),
            format: self.format.clone(),
            syslog: self.syslog.clone(),
            ..AccessLog::default()
        })
    }
}

concept! {
    /// A log of what becomes of a backend's servers, in HAProxy's words: that they are up, down or in
    /// maintenance, and of their checks.
    ServerLog, "[[backend.NAME.server_log]]";

    /// The syslog server it goes to.
    to: LogDestination = LogDestination::Off, required = true,
        example = Some("\"syslog:udp://127.0.0.1:514\"");
    /// Whether results of checks are told, as far as they bring a server nearer to a change.
    checks: bool = false, example = Some("true");
    /// What is around the lines; how important each is follows from what it says.
    syslog: Syslog = Syslog::default(), example = Some("{ facility = \"local0\" }");
}
table_value!(ServerLog);

concept! {
    /// What is around a line on its way to a syslog server.
    Syslog, "syslog";

    /// How it looks.
    framing: SyslogFraming = SyslogFraming::Rfc3164, example = Some("\"rfc5424\"");
    /// Which part of the system it comes from.
    facility: SyslogFacility = SyslogFacility::Local7, example = Some("\"local0\"");
    /// How important it is.
    severity: SyslogSeverity = SyslogSeverity::Info, example = Some("\"notice\"");
    /// The name of the program.
    tag: Token = Token::new("clearway"), example = Some("\"haproxy\"");
    /// Whether the id of the process follows the name of the program.
    pid: bool = true, example = Some("false");
    /// The name of this host; none when absent, `"*"` = the one that the system has.
    hostname: Option<String> = None, example = Some("\"*\"");
    /// Whether the datagram ends with an end of line, as HAProxy's do.
    newline: bool = false, example = Some("true");
    /// The longest datagram; what is longer is cut off.
    max_length: usize = 8_192, bytes = true, range = Some((80.0, 65_507.0)), example = Some("\"1KiB\"");
}
table_value!(Syslog);

choices! {
    /// What is around a line on its way to a syslog server.
    SyslogFraming {
        /// `<PRIORITY>Nov 21 07:29:59 HOST TAG[PID]: LINE` (RFC 3164, time in UTC).
        Rfc3164 = "rfc3164",
        /// `<PRIORITY>1 2026-11-21T07:29:59.999999+00:00 HOST TAG PID - - LINE` (RFC 5424).
        Rfc5424 = "rfc5424",
        /// `<PRIORITY>LINE`.
        Priority = "priority",
        /// `<SEVERITY>LINE`.
        Short = "short",
        /// `<SEVERITY>2026-11-21T07:29:59.999999+00:00 LINE`.
        Timed = "timed",
        /// `2026-11-21T07:29:59.999999+00:00 LINE`.
        Iso = "iso",
        /// `LINE`.
        Raw = "raw",
    }
}

choices! {
    /// Facilities of syslog in the order of their numbers (RFC 5424 section 6.2.1).
    SyslogFacility {
        /// The kernel: 0.
        Kern = "kern",
        /// User-level messages: 1.
        User = "user",
        /// Mail: 2.
        Mail = "mail",
        /// Daemons: 3.
        Daemon = "daemon",
        /// Authorisation: 4.
        Auth = "auth",
        /// Syslog itself: 5.
        Syslog = "syslog",
        /// Printers: 6.
        Lpr = "lpr",
        /// Network news: 7.
        News = "news",
        /// UUCP: 8.
        Uucp = "uucp",
        /// Clocks: 9.
        Cron = "cron",
        /// Authorisation, private: 10.
        Authpriv = "authpriv",
        /// FTP: 11.
        Ftp = "ftp",
        /// NTP: 12.
        Ntp = "ntp",
        /// Log audit: 13.
        Audit = "audit",
        /// Log alert: 14.
        Alert = "alert",
        /// Clocks, again: 15.
        Cron2 = "cron2",
        /// For local use: 16.
        Local0 = "local0",
        /// For local use: 17.
        Local1 = "local1",
        /// For local use: 18.
        Local2 = "local2",
        /// For local use: 19.
        Local3 = "local3",
        /// For local use: 20.
        Local4 = "local4",
        /// For local use: 21.
        Local5 = "local5",
        /// For local use: 22.
        Local6 = "local6",
        /// For local use: 23.
        Local7 = "local7",
    }
}

choices! {
    /// Severities of syslog in the order of their numbers (RFC 5424 section 6.2.1).
    SyslogSeverity {
        /// The system is unusable: 0.
        Emerg = "emerg",
        /// Somebody must act at once: 1.
        Alert = "alert",
        /// Critical: 2.
        Crit = "crit",
        /// An error: 3.
        Err = "err",
        /// A warning: 4.
        Warning = "warning",
        /// Normal, but significant: 5.
        Notice = "notice",
        /// For information: 6.
        Info = "info",
        /// For finding mistakes: 7.
        Debug = "debug",
    }
}

impl Syslog {
    /// Facility and severity as one number (RFC 5424 section 6.2.1).
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.facility as u8 * 8 + self.severity as u8
    }
}

choice_value!(LogEscape);

choices! {
    /// How important a message is.
    LogLevel {
        /// Somebody has to act.
        Error = "error",
        /// Something was wrong and was coped with.
        Warn = "warn",
        /// Something that was asked for is done.
        Info = "info",
        /// Everything else.
        Debug = "debug",
    }
}
