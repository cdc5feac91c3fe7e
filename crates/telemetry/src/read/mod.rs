//! Readers of logs: lines that this balancer or another wrote become [`Sighting`]s.
//!
//! No I/O and no clock. Whatever stands in a line is data of strangers: nothing makes a reader fail, a line
//! it does not understand is counted, and memory is bounded. Successes are only counted; what failed, what
//! a server answered with 5xx, and what a balancer says of itself is told. Start with [`detect`] and
//! [`Reader::feed`].

mod alb;
mod clearway;
mod envoy;
mod failure;
mod field;
mod haproxy;
mod json;
mod nginx_access;
mod nginx_error;
pub mod report;
mod scan;
mod stats;
mod template;
mod time;

use clearway_outcome::{FaultKind, Place, Sighting, Suspects};

pub use stats::{Paths, Stats, Tally, Unknown};
pub use template::TemplateError;
pub use time::Zone;

/// Longer lines are counted as not understood: none of the programs writes such.
const LINE_MAX: usize = 64 * 1024;

macro_rules! formats {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $module:ident,)+) => {
        /// Which log a file is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Format { $($(#[doc = $doc])+ $variant,)+ }

        impl Format {
            /// Every format, in the order in which [`detect`] prefers them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is, as a sentence.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }

            /// The format with a name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|format| format.name() == name)
            }
        }

        enum Inner { $($variant(Box<$module::Lines>),)+ }

        impl Inner {
            fn of(format: Format, template: Option<&str>) -> Result<Self, TemplateError> {
                Ok(match format {
                    $(Format::$variant => Self::$variant(Box::new($module::Lines::new(template)?)),)+
                })
            }

            fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
                match self { $(Self::$variant(lines) => lines.line(line, context),)+ }
            }
        }
    };
}

formats! {
    /// The JSON logs of Clearway: of requests and of faults.
    Clearway = "clearway" clearway,
    /// Access log of an AWS Application Load Balancer.
    Alb = "alb" alb,
    /// HAProxy's log: `httplog`, `tcplog`, any `log-format`, and what it says of servers.
    Haproxy = "haproxy" haproxy,
    /// NGINX's error log, of HTTP and of streams.
    NginxError = "nginx-error" nginx_error,
    /// Envoy's access log: the default, any text format, and JSON with the usual keys.
    Envoy = "envoy" envoy,
    /// NGINX's access log: `combined`, any `log_format`, and JSON with the usual keys.
    NginxAccess = "nginx-access" nginx_access,
}

/// What a format's reader works with besides the line.
struct Context<'a> {
    place: Place<'a>,
    zone: Zone,
    stats: &'a mut Stats,
    scratch: &'a mut Scratch,
    tell: &'a mut dyn FnMut(&Sighting<'_>),
}

/// Memory that lives longer than a line.
#[derive(Default)]
struct Scratch {
    /// The words of the next Sighting.
    words: String,
    /// A text in lower case.
    plain: Vec<u8>,
}

impl Context<'_> {
    /// Tells a Sighting, with the words collected so far, and counts it.
    fn tell(&mut self, mut sighting: Sighting<'_>) {
        self.stats.sightings += 1;
        sighting.suspects = possible(&sighting);
        if sighting.is_failure() {
            self.stats.failed(server_of(&sighting));
        }
        (self.tell)(&Sighting {
            words: &self.scratch.words,
            ..sighting
        });
    }
}

/// The suspects that its address allows: only Unix sockets fail as those do, and they fail in no other way.
fn possible(sighting: &Sighting<'_>) -> Suspects {
    const UNIX: [FaultKind; 2] = [FaultKind::UnixMissing, FaultKind::UnixBacklogFull];
    const IP: [FaultKind; 3] = [
        FaultKind::ConnectUnreachable,
        FaultKind::ConnectReset,
        FaultKind::OutOfPorts,
    ];
    let address = sighting.address;
    let is_unix = address.starts_with("unix:") || address.starts_with('/');
    if address.is_empty() || sighting.suspects.only().is_some() {
        return sighting.suspects;
    }
    let others: &[FaultKind] = if is_unix { &IP } else { &UNIX };
    let fits = |kind: &FaultKind| !others.contains(kind);
    sighting.suspects.iter().filter(fits).collect()
}

/// By what a server is counted: its name, or its address where it has none.
fn server_of<'a>(sighting: &Sighting<'a>) -> (&'a [u8], &'a [u8]) {
    let server = if sighting.server.is_empty() {
        sighting.address
    } else {
        sighting.server
    };
    (sighting.backend.as_bytes(), server.as_bytes())
}

/// Reads the lines of one file.
pub struct Reader {
    format: Format,
    inner: Inner,
    zone: Zone,
    stats: Stats,
    scratch: Scratch,
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// Whether the rest of a line that is too long is passed over.
    is_skipping: bool,
    line: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Reader");
        shown
            .field("format", &self.format)
            .field("line", &self.line);
        shown.finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of `format` as the program writes it by default.
    ///
    /// # Errors
    ///
    /// None of the formats there are: what they are compiled from is tested.
    pub fn new(format: Format, zone: Zone) -> Result<Self, TemplateError> {
        Self::make(format, None, zone)
    }

    /// A reader of lines that were written by a text of the program's configuration: the value of
    /// `log_format` (NGINX), `log-format` (HAProxy) or `text_format` (Envoy), without the quotes around
    /// it.
    ///
    /// # Errors
    ///
    /// When the text has no field that is known, or the format knows no such text.
    pub fn with_template(format: Format, text: &str, zone: Zone) -> Result<Self, TemplateError> {
        Self::make(format, Some(text), zone)
    }

    fn make(format: Format, template: Option<&str>, zone: Zone) -> Result<Self, TemplateError> {
        Ok(Self {
            format,
            inner: Inner::of(format, template)?,
            zone,
            stats: Stats::default(),
            scratch: Scratch::default(),
            carry: Vec::new(),
            is_skipping: false,
            line: 0,
        })
    }

    /// Which format it reads.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Reads the next part of a file; it may end anywhere.
    pub fn feed(&mut self, file: &str, bytes: &[u8], tell: &mut impl FnMut(&Sighting<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = rest.get(..end).unwrap_or_default();
            rest = rest.get(end + 1..).unwrap_or_default();
            if self.is_skipping {
                self.is_skipping = false;
            } else if self.carry.is_empty() {
                self.next(file, line, tell);
            } else {
                let mut whole = std::mem::take(&mut self.carry);
                whole.extend_from_slice(line);
                self.next(file, &whole, tell);
                whole.clear();
                self.carry = whole;
            }
        }
        if self.is_skipping {
            return;
        }
        let room = LINE_MAX.saturating_sub(self.carry.len());
        if rest.len() > room {
            let head = rest.get(..room).unwrap_or_default();
            self.carry.extend_from_slice(head);
            let long = std::mem::take(&mut self.carry);
            self.line += 1;
            self.stats.line(self.line, &long, false);
            self.is_skipping = true;
        } else {
            self.carry.extend_from_slice(rest);
        }
    }

    /// Reads the last line of a file that does not end with a line feed.
    pub fn end(&mut self, file: &str, tell: &mut impl FnMut(&Sighting<'_>)) {
        let last = std::mem::take(&mut self.carry);
        self.is_skipping = false;
        if !last.is_empty() {
            self.next(file, &last, tell);
        }
    }

    fn next(&mut self, file: &str, line: &[u8], tell: &mut impl FnMut(&Sighting<'_>)) {
        self.line += 1;
        let place = Place {
            file,
            line: self.line,
        };
        self.line(place, line, tell);
    }

    /// Reads one line.
    pub fn line(&mut self, place: Place<'_>, line: &[u8], tell: &mut impl FnMut(&Sighting<'_>)) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            return;
        }
        let mut context = Context {
            place,
            zone: self.zone,
            stats: &mut self.stats,
            scratch: &mut self.scratch,
            tell,
        };
        context.scratch.words.clear();
        let understood = line.len() <= LINE_MAX && self.inner.line(line, &mut context);
        self.stats.line(place.line, line, understood);
    }
}

/// Which log a file is, by its first lines: the format that understands the most of them, if it
/// understands more than half. A log by a text of somebody's own is only known where the text is.
#[must_use]
pub fn detect(head: &[u8]) -> Option<Format> {
    const LINES: usize = 50;
    let count = |format: &Format| {
        let mut reader = Reader::new(*format, Zone::default()).ok()?;
        let lines = head.split(|byte| *byte == b'\n');
        for line in lines
            .filter(|line| !line.trim_ascii().is_empty())
            .take(LINES)
        {
            reader.line(Place::default(), line, &mut |_| ());
        }
        let stats = reader.stats();
        // Messages alone may be anybody's.
        let has_records = *format != Format::Clearway || stats.by_status().next().is_some();
        (has_records && stats.understood * 2 > stats.lines).then_some(stats.understood)
    };
    let counted = Format::ALL
        .iter()
        .filter_map(|format| Some((count(format)?, *format)));
    // Of those that understand equally much the first in the list.
    counted
        .rev()
        .max_by_key(|(count, _)| *count)
        .map(|(_, format)| format)
}

#[cfg(test)]
mod tests;
