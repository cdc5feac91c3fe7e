//! The probe that speaks by a script: connects, sends, and looks at what comes, step by step.

use clearway_outcome::FaultKind;
use regex::bytes::Regex;

use super::visit::{Failure, READ_MAX, Visit};
use super::{ProbeTls, ProxyHeader};
use crate::connect::Target;
use crate::tls::{ClientSettings, ClientTls, ServerName, Trust, server_name};

/// Bytes of an unexpected answer that are shown.
const SHOWN: usize = 80;
/// Bytes of the server's own words that are shown.
const WORDS_SHOWN: usize = 160;

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Opens a connection; one that is open is closed.
    Connect(Connect),
    /// Sends these bytes. What came before is forgotten.
    Send(Vec<u8>),
    /// Looks at what came since something was sent.
    Expect(Expect),
}

/// How a connection is opened.
#[derive(Clone, Debug, Default)]
pub struct Connect {
    /// The port; the server's own when absent.
    pub port: Option<u16>,
    /// Whether TLS is spoken; as with the server when absent.
    pub tls: Option<bool>,
    /// The PROXY header; that of the probe when absent.
    pub proxy_header: Option<ProxyHeader>,
}

/// What has to come.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What is looked for.
    pub what: Sought,
    /// It must not be there.
    pub absent: bool,
    /// Nothing is decided before so many bytes have come.
    pub least: usize,
    /// What is told of it.
    pub tell: Tell,
}

/// What is told of a check that ends at a step, in place of what came and was expected.
#[derive(Clone, Debug, Default)]
pub struct Tell {
    /// What it is when it fails; [`FaultKind::ProbeBody`] when absent.
    pub fault: Option<FaultKind>,
    /// Told when it passes.
    pub passed: Option<String>,
    /// Told when it fails.
    pub failed: Option<String>,
    /// Where in what came its status is.
    pub status_at: Option<usize>,
    /// How many bytes it has there, the lowest first; 0 = it is three digits.
    pub status_bytes: usize,
    /// Where in what came words begin that are told, up to the end of the line.
    pub words_at: Option<usize>,
}

impl Tell {
    /// What is told; none when nothing is said about it.
    fn words(&self, passed: bool, came: &[u8]) -> Option<String> {
        let own = if passed { &self.passed } else { &self.failed };
        let line = |at: usize| {
            let rest = came.get(at..)?;
            let end = rest.iter().position(|b| matches!(b, b'\0' | b'\r' | b'\n'));
            let line = rest.get(..end.unwrap_or(rest.len()))?.trim_ascii();
            let shown = line.get(..WORDS_SHOWN).unwrap_or(line);
            Some(String::from_utf8_lossy(shown).into_owned())
        };
        let said = self.words_at.and_then(line);
        let said = said.filter(|said| !said.is_empty());
        // What is written for a check that passes says it better than the server's bytes.
        match passed {
            true => own.clone().or(said),
            false => said.or_else(|| own.clone()),
        }
    }

    fn status(&self, came: &[u8]) -> Option<u16> {
        let at = self.status_at?;
        let length = match self.status_bytes {
            0 => 3,
            length => length,
        };
        let text = came.get(at..at.checked_add(length)?)?;
        if self.status_bytes == 0 {
            return std::str::from_utf8(text).ok()?.parse().ok();
        }
        let byte = |at: usize| text.get(at).copied().unwrap_or(0);
        Some(u16::from_le_bytes([byte(0), byte(1)]))
    }
}

/// How far up a check looks that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// It connects.
    Connection,
    /// It sees that TLS is spoken.
    Tls,
    /// It sees what is said.
    Application,
}

/// Something that is looked for in what came.
#[derive(Clone, Debug)]
pub enum Sought {
    /// These bytes, anywhere.
    Bytes(Vec<u8>),
    /// These bytes, there.
    At(usize, Vec<u8>),
    /// What a regular expression matches.
    Pattern(Regex),
}

impl Sought {
    /// A regular expression.
    ///
    /// # Errors
    /// Why it is none.
    pub fn pattern(expression: &str) -> Result<Self, String> {
        let regex = Regex::new(expression).map_err(|error| error.to_string())?;
        Ok(Self::Pattern(regex))
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(sought) if sought.is_empty() => true,
            Self::Bytes(sought) => bytes.windows(sought.len()).any(|window| window == sought),
            Self::At(at, sought) => bytes.get(*at..).is_some_and(|b| b.starts_with(sought)),
            Self::Pattern(regex) => regex.is_match(bytes),
        }
    }

    /// So many bytes have to have come before it can be said that it is not there.
    fn reach(&self) -> usize {
        match self {
            Self::Bytes(_) | Self::Pattern(_) => 1,
            Self::At(at, sought) => at + sought.len(),
        }
    }
}

/// Speaks by a script.
#[derive(Clone, Debug)]
pub struct Script {
    steps: Vec<Step>,
    /// TLS where a step asks for it and the server speaks plainly: nothing is verified.
    lenient: Option<(ClientTls, ServerName<'static>)>,
    /// What tells whether it is the same script.
    text: String,
}

impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Script {
    /// A script of steps.
    ///
    /// # Errors
    /// Why TLS cannot be spoken.
    pub fn new(steps: Vec<Step>) -> Result<Self, String> {
        let asks = |step: &Step| matches!(step, Step::Connect(c) if c.tls == Some(true));
        let lenient = match steps.iter().any(asks) {
            true => {
                let client = ClientTls::new(&ClientSettings::new(Trust::Nobody))?;
                Some((client, server_name("localhost")?))
            }
            false => None,
        };
        let text = format!("{steps:?}");
        Ok(Self {
            steps,
            lenient,
            text,
        })
    }

    /// How far up it looks; `secured` where the server speaks TLS.
    #[must_use]
    pub fn depth(&self, secured: bool) -> Depth {
        let mut expects = self.steps.iter().filter_map(|step| match step {
            Step::Expect(expect) => Some(expect),
            Step::Connect(_) | Step::Send(_) => None,
        });
        let secures = |step: &Step| match step {
            Step::Connect(how) => how.tls.unwrap_or(secured),
            Step::Send(_) | Step::Expect(_) => false,
        };
        match expects.next_back() {
            Some(last) if last.tell.fault == Some(FaultKind::ServerTlsProtocol) => Depth::Tls,
            Some(_) => Depth::Application,
            None if self.steps.iter().any(secures) => Depth::Tls,
            None => Depth::Connection,
        }
    }

    /// Whether what it says when it passes comes from the server or the configuration.
    #[must_use]
    pub fn tells(&self) -> bool {
        let tells = |tell: &Tell| tell.passed.is_some() || tell.words_at.is_some();
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Expect(expect) if tells(&expect.tell)))
    }

    #[expect(clippy::unused_async, reason = "every kind is called in the same way")]
    pub(super) async fn check(&self, _: &mut Visit, _: &Target) -> Result<String, Failure> {
        Ok(String::new())
    }

    /// Runs the steps; the first of them connects.
    pub(super) async fn run(
        &self,
        visit: &mut Visit,
        (target, tls): (&Target, ProbeTls<'_>),
        probe: &super::Probe,
    ) -> Result<String, Failure> {
        let mut is_open = false;
        for (step, number) in self.steps.iter().zip(1..) {
            visit.place = place(number, step);
            let done = match step {
                Step::Connect(how) => {
                    is_open = true;
                    self.connect(visit, how, (target, tls), probe).await
                }
                _ if !is_open => {
                    is_open = true;
                    self.connect(visit, &Connect::default(), (target, tls), probe)
                        .await?;
                    perform(visit, step).await
                }
                Step::Send(_) | Step::Expect(_) => perform(visit, step).await,
            };
            done.map_err(|failure| failure.at(&visit.place))?;
        }
        if !is_open {
            self.connect(visit, &Connect::default(), (target, tls), probe)
                .await?;
        }
        let own = || format!("all {} steps of the script passed", self.steps.len());
        Ok(visit.said.clone().unwrap_or_else(own))
    }

    async fn connect(
        &self,
        visit: &mut Visit,
        how: &Connect,
        (target, tls): (&Target, ProbeTls<'_>),
        probe: &super::Probe,
    ) -> Result<(), Failure> {
        let target = match (target, how.port) {
            (Target::Ip(address), Some(port)) => {
                Target::Ip(std::net::SocketAddr::new(address.ip(), port))
            }
            (target, _) => target.clone(),
        };
        visit.buf.clear();
        visit.connect(&target, probe.source).await?;
        visit
            .introduce(how.proxy_header.unwrap_or(probe.proxy_header))
            .await?;
        let own = self.lenient.as_ref().map(|(client, name)| (client, name));
        let tls = match how.tls {
            Some(false) => None,
            Some(true) => tls.or(own),
            None => tls,
        };
        match tls {
            Some((client, name)) => visit.secure(client, name).await,
            None => Ok(()),
        }
    }
}

/// Where in a script something happens, as it is added to what happened.
fn place(number: usize, step: &Step) -> String {
    let what = match step {
        Step::Connect(Connect {
            port: Some(port), ..
        }) => format!(" (connect port {port})"),
        Step::Connect(_) => " (connect)".to_owned(),
        Step::Send(_) | Step::Expect(_) => String::new(),
    };
    format!(" at step {number} of the script{what}")
}

async fn perform(visit: &mut Visit, step: &Step) -> Result<(), Failure> {
    match step {
        Step::Connect(_) => Ok(()),
        Step::Send(bytes) => {
            visit.buf.clear();
            visit.send(bytes).await?;
            visit.sent();
            Ok(())
        }
        Step::Expect(expect) => expect.wait(visit).await,
    }
}

impl Expect {
    /// Reads until it is decided.
    async fn wait(&self, visit: &mut Visit) -> Result<(), Failure> {
        visit.sent();
        let mut is_over = false;
        loop {
            let has_enough = !visit.buf.is_empty() && visit.buf.len() >= self.least || is_over;
            if has_enough {
                let is_there = self.what.is_in(&visit.buf);
                let is_decided = is_there || is_over || visit.buf.len() >= READ_MAX;
                let absence = self.absent && visit.buf.len() >= self.what.reach();
                if is_there != self.absent && (is_decided || absence) {
                    let words = self.tell.words(true, &visit.buf);
                    if let Some(words) = words.filter(|_| !self.absent) {
                        visit.said = Some(words);
                    }
                    if let Some(status) = self.tell.status(&visit.buf).filter(|_| !self.absent) {
                        visit.note_status(status);
                    }
                    return Ok(());
                }
                if is_decided || absence {
                    return Err(self.refuted(visit));
                }
            }
            is_over = !visit.read().await?;
        }
    }

    fn refuted(&self, visit: &mut Visit) -> Failure {
        let kind = self.tell.fault.unwrap_or(FaultKind::ProbeBody);
        if let Some(words) = self
            .tell
            .words(false, &visit.buf)
            .filter(|_| !visit.buf.is_empty())
        {
            // The server's own words are no sentence of ours.
            visit.place.clear();
            if let Some(status) = self.tell.status(&visit.buf) {
                visit.note_status(status);
            }
            return Failure::new(kind, words);
        }
        let came: String = visit
            .buf
            .iter()
            .take(SHOWN)
            .map(|b| b.escape_ascii().to_string())
            .collect();
        let words = match (self.absent, came.is_empty()) {
            (_, true) => "the server closed the connection without a word".to_owned(),
            (true, _) => format!("what must not come came: \"{came}\""),
            (false, _) => format!("something else came: \"{came}\""),
        };
        Failure::new(kind, words)
    }
}
