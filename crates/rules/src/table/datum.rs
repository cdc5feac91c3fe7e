//! What can be stored with a key. One list gives names, documentation and how each is counted.

use std::fmt;
use std::time::Duration;

/// How something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number that goes up, or up and down.
    Count,
    /// Events per period.
    Rate,
    /// A number that is set.
    Tag,
    /// The name of a server.
    Server,
}

macro_rules! data {
    ($($(#[doc = $doc:literal])+ $name:ident = $spelling:literal $shape:ident $many:literal;)+) => {
        /// What is stored with a key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Datum {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Datum {
            /// All of them, in the order of HAProxy's listings.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $spelling),+ }
            }

            /// How it is kept.
            #[must_use]
            pub fn shape(self) -> Shape {
                match self { $(Self::$name => Shape::$shape),+ }
            }

            /// Whether there may be several, told apart by a number.
            #[must_use]
            pub fn is_many(self) -> bool {
                match self { $(Self::$name => $many),+ }
            }

            /// What it is.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+)),+ }
            }
        }
    };
}

data! {
    /// The server that clients with this key go to, by its number.
    ServerId = "server_id" Server false;
    /// A number that rules set.
    Gpt0 = "gpt0" Tag false;
    /// A number that rules count up.
    Gpc0 = "gpc0" Count false;
    /// How often `gpc0` was counted up per period.
    Gpc0Rate = "gpc0_rate" Rate false;
    /// Connections so far.
    ConnCnt = "conn_cnt" Count false;
    /// Connections per period.
    ConnRate = "conn_rate" Rate false;
    /// Connections that are open, or requests that are being served, by how long the key is tracked.
    ConnCur = "conn_cur" Count false;
    /// Connections so far that the rules for connections let in.
    SessCnt = "sess_cnt" Count false;
    /// The same per period.
    SessRate = "sess_rate" Rate false;
    /// Requests so far.
    HttpReqCnt = "http_req_cnt" Count false;
    /// Requests per period.
    HttpReqRate = "http_req_rate" Rate false;
    /// Errors of clients so far: requests that are wrong, denied, or answered with 4xx.
    HttpErrCnt = "http_err_cnt" Count false;
    /// The same per period.
    HttpErrRate = "http_err_rate" Rate false;
    /// Bytes from clients so far.
    BytesInCnt = "bytes_in_cnt" Count false;
    /// The same per period.
    BytesInRate = "bytes_in_rate" Rate false;
    /// Bytes to clients so far.
    BytesOutCnt = "bytes_out_cnt" Count false;
    /// The same per period.
    BytesOutRate = "bytes_out_rate" Rate false;
    /// A second number that rules count up.
    Gpc1 = "gpc1" Count false;
    /// How often `gpc1` was counted up per period.
    Gpc1Rate = "gpc1_rate" Rate false;
    /// The server that clients with this key go to, by its name.
    ServerKey = "server_key" Server false;
    /// Failures of servers so far: answers with 5xx but 501 and 505, and those that were not sound.
    HttpFailCnt = "http_fail_cnt" Count false;
    /// The same per period.
    HttpFailRate = "http_fail_rate" Rate false;
    /// Numbers that rules set: `gpt(N)`.
    Gpt = "gpt" Tag true;
    /// Numbers that rules count up: `gpc(N)`.
    Gpc = "gpc" Count true;
    /// How often each of `gpc` was counted up per period: `gpc_rate(N,PERIOD)`.
    GpcRate = "gpc_rate" Rate true;
}

/// Counts with their rates.
const RATES: [(Datum, Datum); 10] = [
    (Datum::Gpc0, Datum::Gpc0Rate),
    (Datum::Gpc1, Datum::Gpc1Rate),
    (Datum::Gpc, Datum::GpcRate),
    (Datum::ConnCnt, Datum::ConnRate),
    (Datum::SessCnt, Datum::SessRate),
    (Datum::HttpReqCnt, Datum::HttpReqRate),
    (Datum::HttpErrCnt, Datum::HttpErrRate),
    (Datum::HttpFailCnt, Datum::HttpFailRate),
    (Datum::BytesInCnt, Datum::BytesInRate),
    (Datum::BytesOutCnt, Datum::BytesOutRate),
];

/// Which of many the old names stand for.
const AMONG: [(Datum, Datum, usize); 5] = [
    (Datum::Gpc0, Datum::Gpc, 0),
    (Datum::Gpc1, Datum::Gpc, 1),
    (Datum::Gpc0Rate, Datum::GpcRate, 0),
    (Datum::Gpc1Rate, Datum::GpcRate, 1),
    (Datum::Gpt0, Datum::Gpt, 0),
];

impl Datum {
    /// The one with a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|datum| datum.name() == name)
    }

    /// The rate that is counted along with this count.
    pub(crate) fn rate(self) -> Option<Self> {
        let found = RATES.iter().find(|(count, _)| *count == self);
        found.map(|(_, rate)| *rate)
    }

    /// The one of many, with its number, that stands for it where it is not stored itself.
    pub(crate) fn among(self) -> Option<(Self, usize)> {
        let found = AMONG.iter().find(|(old, ..)| *old == self);
        found.map(|(_, many, index)| (*many, *index))
    }

    pub(crate) fn is_server(self) -> bool {
        self.shape() == Shape::Server
    }
}

/// Something that a table stores: a datum, how many of it, and over which period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    /// What.
    pub datum: Datum,
    /// How many; 1 unless [`Datum::is_many`].
    pub count: usize,
    /// Over which period a rate is told; zero for others.
    pub period: Duration,
}

/// Most numbers of one kind with a key.
pub const MANY_MAX: usize = 100;

impl Stored {
    /// Reads `http_req_cnt`, `http_req_rate(10s)`, `gpc(3)` or `gpc_rate(3,10s)`; `time` reads periods.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(text: &str, time: impl Fn(&str) -> Option<Duration>) -> Result<Self, String> {
        let text = text.trim();
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')');
                let inner = inner.ok_or_else(|| format!("{text:?} lacks a closing parenthesis"))?;
                (name.trim(), inner.split(',').map(str::trim).collect())
            }
            None => (text, Vec::new()),
        };
        let Some(datum) = Datum::of(name) else {
            let known: Vec<&str> = Datum::ALL.iter().map(|datum| datum.name()).collect();
            let known = known.join(", ");
            return Err(format!("{name:?} cannot be stored; known are {known}"));
        };
        let mut arguments = arguments.into_iter();
        let mut count = 1;
        if datum.is_many() {
            let number = arguments.next().and_then(|text| text.parse().ok());
            count = number
                .filter(|count| (1..=MANY_MAX).contains(count))
                .ok_or_else(|| format!("{name} needs a count from 1 to {MANY_MAX}"))?;
        }
        let mut period = Duration::ZERO;
        if datum.shape() == Shape::Rate {
            let text = arguments.next().and_then(time);
            period = text
                .filter(|period| period.as_millis() > 0)
                .ok_or_else(|| format!("{name} needs a period: {name}(10s)"))?;
        }
        match arguments.next() {
            Some(more) => Err(format!("{more:?} is too much for {name}")),
            None => Ok(Self {
                datum,
                count,
                period,
            }),
        }
    }

    pub(crate) fn period_ms(&self) -> u64 {
        u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The written form, with periods in milliseconds.
impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.datum.name())?;
        let period = self.period.as_millis();
        match (self.datum.is_many(), self.datum.shape() == Shape::Rate) {
            (true, true) => write!(f, "({},{period}ms)", self.count),
            (true, false) => write!(f, "({})", self.count),
            (false, true) => write!(f, "({period}ms)"),
            (false, false) => Ok(()),
        }
    }
}
