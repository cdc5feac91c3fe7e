//! Runs tables against a server and says everything that is wrong with it at once.

use std::time::Duration;

use clearway_testkit::h2::{RawClient, Stop, code};
use clearway_testkit::stream::Stream;

use super::case::{Case, Must, Trial};

/// How long the reaction to an error may take before PING asks whether one is to come at all.
const REACTION: Duration = Duration::from_millis(1000);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a permitted outcome is still worth a word about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The connection ended without GOAWAY, which the RFC advises against (section 5.4.1).
    Silent,
    /// A generic error code stood for the one that is meant.
    Generic,
    /// Advice was not followed.
    Advice,
}

/// A case that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Which one.
    pub(crate) case: Case,
    /// Why.
    pub(crate) words: String,
}

/// What came of all cases.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// How many ran.
    pub(crate) ran: usize,
    /// Those that failed.
    pub(crate) failures: Vec<Failure>,
    /// Those that said nothing about this server, and why.
    pub(crate) inapplicable: Vec<(&'static str, &'static str)>,
    /// Those whose outcome is permitted and worth a word.
    pub(crate) notes: Vec<(&'static str, Note)>,
}

impl Report {
    /// Fails with all cases that failed and are not known to. Those that are known stand by what they
    /// do behind the reason why they fail; that they need not is left open, because other versions of
    /// a server mend and break other things.
    ///
    /// # Panics
    /// When there are any.
    pub(crate) fn expect(&self, known: &[(&str, &[&str])]) {
        let mut text = String::new();
        let known: Vec<&str> = known
            .iter()
            .flat_map(|(_, those)| *those)
            .copied()
            .collect();
        for failure in &self.failures {
            let case = &failure.case;
            if !known.contains(&case.does) {
                let line = format!(
                    "RFC {}: {}\n    must: {:?}\n    {}\n",
                    case.section, case.does, case.must, failure.words
                );
                text.push_str(&line);
            }
        }
        assert!(text.is_empty(), "of {} cases:\n{text}", self.ran);
    }

    /// Names of the cases with a note, to be asserted where a server is held to more than the RFC.
    pub(crate) fn noted(&self, note: Note) -> Vec<&'static str> {
        let those = self.notes.iter().filter(|(_, n)| *n == note);
        those.map(|(does, _)| *does).collect()
    }
}

/// What a run is about.
pub(crate) struct Target<'a> {
    /// Where the server listens for HTTP/2 with prior knowledge.
    pub(crate) address: &'a str,
    /// Leaves out what sends ten thousand of something.
    pub(crate) skip_floods: bool,
    /// Bytes of memory the server holds, if they can be asked for.
    pub(crate) memory: Option<&'a dyn Fn() -> u64>,
}

/// How much more memory a server may hold during a flood. A flood sends or asks for 10 MB and more;
/// what a server allows itself per connection and stream comes to less than this.
const GROWTH: u64 = 24 << 20;

/// Runs all cases against a server.
pub(crate) fn run_all(address: &str, skip_floods: bool) -> Report {
    let target = Target {
        address,
        skip_floods,
        memory: None,
    };
    run(&target, &super::all())
}

/// Runs some cases against a server.
pub(crate) fn run(target: &Target<'_>, cases: &[Case]) -> Report {
    let mut report = Report::default();
    for case in cases.iter().copied() {
        let is_flood = matches!(case.must, Must::Calm);
        if is_flood && target.skip_floods {
            continue;
        }
        if let Err(error) = Stream::connect(target.address) {
            let words = format!("the server is gone before this case: {error}");
            report.failures.push(Failure { case, words });
            return report;
        }
        report.ran += 1;
        let before = target.memory.map(|held| held());
        let mut trial = match start(target.address, &case) {
            Ok(trial) => trial,
            Err(words) => {
                report.failures.push(Failure { case, words });
                continue;
            }
        };
        (case.act)(&mut trial);
        if let Some(why) = trial.inapplicable {
            report.inapplicable.push((case.does, why));
            continue;
        }
        let after = target.memory.map(|held| held());
        let mut outcome = finish(&mut trial, target.address);
        if let (true, Some(before), Some(after)) = (is_flood, before, after) {
            let grown = after.saturating_sub(before);
            if grown > GROWTH {
                outcome = Err(format!("the server holds {} MiB more", grown >> 20));
            }
        }
        match outcome {
            Ok(notes) => report
                .notes
                .extend(notes.into_iter().map(|n| (case.does, n))),
            Err(words) => report.failures.push(Failure { case, words }),
        }
    }
    report
}

fn start(address: &str, case: &Case) -> Result<Trial, String> {
    let mut client = RawClient::bare(address);
    if let Some(settings) = case.settings {
        client.handshake(settings)?;
    }
    Ok(Trial {
        client,
        stream: 0,
        must: case.must,
        failed: None,
        inapplicable: None,
    })
}

type Outcome = Result<Vec<Note>, String>;

fn finish(trial: &mut Trial, address: &str) -> Outcome {
    if let Some(words) = trial.failed.take() {
        return Err(words);
    }
    if matches!(trial.must, Must::Calm) {
        return calm(&mut trial.client, address);
    }
    let must = trial.must;
    judge(&mut trial.client, trial.stream, &must)
}

fn judge(client: &mut RawClient, stream: u32, must: &Must) -> Outcome {
    match must {
        Must::Connection(codes) => connection_error(client, codes),
        Must::Stream(codes) => stream_error(client, stream, codes),
        Must::Malformed => malformed(client, stream),
        Must::Refused => refused(client, stream),
        Must::Answered => {
            delivered(client, stream, Some(200))?;
            goes_on(client)
        }
        Must::Delivered => delivered(client, stream, Some(200)),
        Must::Responded => {
            delivered(client, stream, None)?;
            goes_on(client)
        }
        Must::Lives => {
            goes_on(client)?;
            match client.answer(stream).reset {
                Some(code) => Err(format!("a reset with {}", code::name(code))),
                None => Ok(Vec::new()),
            }
        }
        Must::Ends => {
            client.wait(PATIENCE, |c| c.stopped.is_some());
            let ended = client.stopped.is_some();
            ended.then(Vec::new).ok_or_else(|| client.state("the end"))
        }
        Must::Checked => Ok(Vec::new()),
        Must::Calm => Err("only the last outcome of a case can be this".to_owned()),
        Must::Either(those) => either(client, stream, those),
        Must::Should(advised, permitted) => judge(client, stream, advised)
            .or_else(|_| judge(client, stream, permitted).map(|_| vec![Note::Advice])),
    }
}

fn either(client: &mut RawClient, stream: u32, those: &[Must]) -> Outcome {
    let mut all = String::new();
    for must in those {
        match judge(client, stream, must) {
            Ok(notes) => return Ok(notes),
            Err(words) => all.push_str(&format!("[{must:?}: {words}] ")),
        }
    }
    Err(all)
}

fn is_ending(client: &RawClient) -> bool {
    client.stopped.is_some() || client.goaways.iter().any(|g| g.code != code::NO_ERROR)
}

fn goes_on(client: &mut RawClient) -> Outcome {
    if !client.ping_works(PATIENCE) {
        return Err(client.state("an answer to PING"));
    }
    if client.goaways.is_empty() {
        Ok(Vec::new())
    } else {
        Err(client.state("no GOAWAY"))
    }
}

/// Whether a code is one of those meant, or one that may stand for any.
fn allowed(found: u32, codes: &[u32]) -> Result<Vec<Note>, String> {
    if codes.contains(&found) {
        Ok(Vec::new())
    } else if matches!(found, code::PROTOCOL_ERROR | code::INTERNAL_ERROR) {
        Ok(vec![Note::Generic])
    } else {
        let meant: Vec<String> = codes.iter().copied().map(code::name).collect();
        Err(format!("{} instead of {meant:?}", code::name(found)))
    }
}

fn connection_error(client: &mut RawClient, codes: &[u32]) -> Outcome {
    if !client.wait(REACTION, is_ending) {
        if client.stopped.is_none() && client.ping_works(PATIENCE) && !is_ending(client) {
            return Err(client.state("a connection error, it goes on instead"));
        }
        if !is_ending(client) {
            return Err(client.state("a connection error"));
        }
    }
    ending(client, codes)
}

/// The connection is about to end, or has.
fn ending(client: &mut RawClient, codes: &[u32]) -> Outcome {
    client.wait(PATIENCE, |c| c.stopped.is_some());
    match &client.stopped {
        Some(Stop::Closed | Stop::Reset) => {}
        _ => return Err(client.state("the end of the connection")),
    }
    match client.goaways.last() {
        None => Ok(vec![Note::Silent]),
        Some(goaway) => allowed(goaway.code, codes),
    }
}

fn is_decided(client: &RawClient, stream: u32) -> bool {
    client.answer(stream).is_over() || is_ending(client)
}

fn stream_error(client: &mut RawClient, stream: u32, codes: &[u32]) -> Outcome {
    client.wait(PATIENCE, |c| {
        c.answer(stream).reset.is_some() || is_ending(c)
    });
    if let Some(found) = client.answer(stream).reset {
        let notes = allowed(found, codes)?;
        goes_on(client)?;
        return Ok(notes);
    }
    if is_ending(client) {
        return ending(client, codes);
    }
    Err(client.state("a stream error"))
}

fn malformed(client: &mut RawClient, stream: u32) -> Outcome {
    client.wait(PATIENCE, |c| is_decided(c, stream));
    let answer = client.answer(stream);
    match (answer.reset, answer.status()) {
        (_, Some(400..=499 | 501)) => goes_on(client).or_else(|_| ending(client, &[0])),
        (Some(_), Some(status)) if status < 400 => {
            Err(client.state(&format!("a refusal, {status} came before the reset")))
        }
        (Some(_), _) => stream_error(client, stream, &[code::PROTOCOL_ERROR]),
        (None, _) if is_ending(client) => ending(client, &[code::PROTOCOL_ERROR]),
        (None, _) => Err(client.state("a stream error or a status of 4xx")),
    }
}

fn refused(client: &mut RawClient, stream: u32) -> Outcome {
    client.wait(PATIENCE, |c| is_decided(c, stream));
    let answer = client.answer(stream);
    let fits = answer.reset.is_some()
        || answer.status().is_some_and(|status| status >= 400)
        || client.stopped.is_some()
        || is_ending(client);
    if fits {
        Ok(Vec::new())
    } else {
        Err(client.state("a refusal"))
    }
}

fn delivered(client: &mut RawClient, stream: u32, status: Option<u16>) -> Outcome {
    client.wait(PATIENCE, |c| is_decided(c, stream));
    let answer = client.answer(stream);
    if let Some(words) = answer.broken {
        return Err(format!("the response has {words}"));
    }
    let fits = answer.ended && status.is_none_or(|s| answer.status() == Some(s));
    if fits {
        Ok(Vec::new())
    } else {
        Err(client.state(&format!("a response on stream {stream}")))
    }
}

fn calm(client: &mut RawClient, address: &str) -> Outcome {
    if !is_ending(client) && !client.ping_works(PATIENCE) && !is_ending(client) {
        return Err(client.state("an error or an answer to PING"));
    }
    let mut fresh = RawClient::bare(address);
    fresh.handshake(&[])?;
    let stream = fresh.ask("/");
    delivered(&mut fresh, stream, Some(200))
}
