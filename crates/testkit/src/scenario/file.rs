//! What stands in a scenario's file.

use std::time::Duration;

use clearway_doctor::cause::Cause;
use clearway_outcome::{FaultKind, Phase};
use toml::de::DeTable;

use super::peer::{Peer, peers};
use super::read::{Node, Section, Source};
use crate::dns::Answer;
use crate::lab::Place;
use crate::process::Signal;

/// A value to compare a field of a record with.
pub type Value = serde_json::Value;

/// A whole file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What is wrong; `None` where nothing is.
    pub cause: Option<Cause>,
    /// In a sentence.
    pub about: String,
    /// Files that are written into `$DIR` first, by name.
    pub files: Vec<(String, String)>,
    /// Certificates that are written into `$DIR` first: file and wish (see `pki` of the runner).
    pub certificates: Vec<(String, String)>,
    /// Lines of shell before anything starts, by place and in this order.
    pub lab: Vec<(Place, String)>,
    /// The name server in L at `127.0.0.1:5353`.
    pub dns: Vec<Dns>,
    /// Programs in B.
    pub servers: Vec<Server>,
    /// The balancer; `None` where only others can have the fault.
    pub clearway: Option<Balancer>,
    /// What happens then.
    pub steps: Vec<Step>,
    /// What has to come of it.
    pub expect: Expect,
    /// The same fault behind other balancers.
    pub peers: Vec<Peer>,
}

/// What a name answers.
#[derive(Clone, Debug)]
pub struct Dns {
    /// The name.
    pub name: String,
    /// Its answer.
    pub answer: Answer,
}

/// A program that plays a server.
#[derive(Clone, Debug)]
pub struct Server {
    /// How steps call it.
    pub name: String,
    /// Where it runs; in B unless it says otherwise.
    pub place: Place,
    /// `10.201.2.2:9000` or `unix:$DIR/app.sock`; empty when nothing is waited for.
    pub at: String,
    /// The words of a behaviour (see [`crate::faulty`]); empty when `run` is there.
    pub behave: String,
    /// Behaviours of single paths.
    pub paths: Vec<(String, String)>,
    /// Settings of TLS, as the program takes them.
    pub tls: Vec<(String, String)>,
    /// Another program than ours, in words.
    pub run: Vec<String>,
    /// The user that it runs as.
    pub user: Option<String>,
    /// How many files it may have open.
    pub files: Option<u32>,
    /// Whether it starts by itself, before the balancer.
    pub starts: bool,
}

/// The balancer.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// Its configuration.
    pub config: String,
    /// The user that it runs as.
    pub user: Option<String>,
    /// How many files it may have open.
    pub files: Option<u32>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// Requests.
    Request(Box<Request>),
    /// A line of shell in a place.
    Run(Place, String),
    /// Starts a server that is not running.
    Start(String),
    /// Kills a server.
    Stop(String),
    /// Sends a signal to a server.
    Signal(String, Signal),
    /// Waits for something to be so.
    Wait(Box<Wait>),
    /// Lets time pass that a time-out under test measures.
    Pause(Duration),
    /// Waits for the requests in the background.
    Join,
    /// Changes what a name answers.
    Dns(Dns),
    /// Writes another configuration and reloads it; with the result it has to have.
    Reload(String, String),
}

/// Requests that are alike.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Target.
    pub path: String,
    /// `Host`.
    pub host: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body: usize,
    /// The bytes to send, in place of all that.
    pub raw: Option<String>,
    /// How many, one after the other.
    pub count: usize,
    /// How many at the same time, each `count` times.
    pub parallel: usize,
    /// Time between one and the next.
    pub every: Duration,
    /// Whether they share a connection and a cookie with others that say so.
    pub keep: bool,
    /// Whether the next step does not wait for them.
    pub background: bool,
    /// When the client goes away.
    pub leave: Option<Duration>,
    /// How it goes.
    pub way: Way,
    /// How long the client stays after the response, unless the balancer ends the connection.
    pub stay: Option<Duration>,
    /// Pause after each byte that is sent.
    pub drip: Option<Duration>,
    /// What may come of each: a status, or `cut`, `closed`, `reset`, `silence`, `left`; anything when
    /// empty.
    pub expect: Vec<String>,
    /// What the body has to contain.
    pub contains: Option<String>,
}

/// How a client goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// It closes.
    #[default]
    Close,
    /// With a reset.
    Reset,
    /// It closes, and has read nothing until then.
    Deaf,
}

/// A condition.
#[derive(Clone, Debug)]
pub enum Wait {
    /// A server is in a state, as the admin API names both.
    State(String, String),
    /// A line of the balancer's standard error contains a text.
    Log(String),
    /// So many records of failures were written.
    Records(usize),
    /// A metric with labels has reached a number.
    Metric(String, Vec<(String, String)>, f64),
    /// A server said something.
    Says(String, String),
    /// A server ended.
    Ended(String),
}

/// What has to come of it.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Kinds of faults, one of which at least one record has.
    pub faults: Vec<FaultKind>,
    /// Further kinds that records may have besides.
    pub others: Vec<FaultKind>,
    /// The phase of the fault.
    pub phase: Option<Phase>,
    /// The status that the client was sent.
    pub status: Option<u16>,
    /// How many requests a retry saved, at least.
    pub prevented: Option<u64>,
    /// Fields of the record, by path such as `attempts.0.errno`.
    pub record: Vec<(String, Value)>,
    /// Metrics that have to have reached a number.
    pub metrics: Vec<Wait>,
    /// How sure the verdict is at least.
    pub confidence: Option<String>,
    /// Causes that nobody could tell from the right one with what there is to see.
    pub also: Vec<Cause>,
    /// Whether the verdict is not looked at, because no incident belongs to this.
    pub no_incident: bool,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let source = Source { file, text };
        let table = DeTable::parse(text).map_err(|error| format!("{file}: {error}"))?;
        let mut root = Section::new(source, table.get_ref(), 0..0);
        let about = root.need("about")?.text()?;
        let cause = root.maybe("cause", cause)?;
        let mut lab = Vec::new();
        if let Some(node) = root.take("lab") {
            let mut section = node.section()?;
            for (key, place) in [
                ("l", Place::Balancer),
                ("r", Place::Router),
                ("b", Place::Servers),
            ] {
                lab.extend(section.texts(key)?.into_iter().map(|line| (place, line)));
            }
            section.end()?;
        }
        let strings = |node: &Node<'_>| Ok(node.strings()?.into_iter().collect());
        let scenario = Self {
            cause,
            about,
            files: root.maybe("files", strings)?.unwrap_or_default(),
            certificates: root.maybe("certificates", strings)?.unwrap_or_default(),
            lab,
            dns: root.maybe("dns", dns)?.unwrap_or_default(),
            servers: all(&mut root, "server", server)?,
            clearway: root.maybe("clearway", clearway)?,
            steps: all(&mut root, "do", step)?,
            expect: root.maybe("expect", expect)?.unwrap_or_default(),
            peers: root.maybe("peers", peers)?.unwrap_or_default(),
        };
        root.end()?;
        if scenario.clearway.is_none() && scenario.peers.iter().all(|peer| peer.config.is_none()) {
            return Err(format!(
                "{file}: neither `[clearway]` nor a peer's `config`"
            ));
        }
        Ok(scenario)
    }
}

impl Scenario {
    /// The place of an address among the servers of the balancer.
    pub(super) fn server_index(&self, address: &str) -> Option<usize> {
        let config = &self.clearway.as_ref()?.config;
        let list = config.split("servers = [").nth(1)?;
        let list = list.split(']').next()?;
        list.split(',').position(|server| server.contains(address))
    }
}

fn all<T>(
    root: &mut Section<'_>,
    key: &'static str,
    read: fn(&Node<'_>) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let nodes = root
        .take(key)
        .map_or_else(Vec::new, |node| Node::list(&node));
    nodes.iter().map(read).collect()
}

/// A cause of the catalogue.
pub(super) fn cause(node: &Node<'_>) -> Result<Cause, String> {
    let id = node.text()?;
    Cause::by_id(&id).ok_or_else(|| node.error(&format!("there is no cause `{id}`")))
}

fn dns(node: &Node<'_>) -> Result<Vec<Dns>, String> {
    let name = |(name, node): (String, Node<'_>)| {
        let answer = answer(&node)?;
        Ok(Dns { name, answer })
    };
    node.entries()?.into_iter().map(name).collect()
}

/// `nxdomain`, `servfail`, `refused`, `silence`, or addresses.
fn answer(node: &Node<'_>) -> Result<Answer, String> {
    let words = node.texts()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        ["nxdomain"] => Answer::Code(3),
        ["servfail"] => Answer::Code(2),
        ["refused"] => Answer::Code(5),
        ["silence"] => Answer::Silence,
        addresses => {
            let data = addresses.iter().map(|text| address(text));
            let data: Option<Vec<_>> = data.collect();
            Answer::Records(1, data.ok_or_else(|| node.error("an address or a word"))?)
        }
    })
}

fn address(text: &str) -> Option<crate::dns::Data> {
    match text.parse().ok()? {
        std::net::IpAddr::V4(ip) => Some(crate::dns::Data::A(ip)),
        std::net::IpAddr::V6(ip) => Some(crate::dns::Data::Aaaa(ip)),
    }
}

fn server(node: &Node<'_>) -> Result<Server, String> {
    let mut section = node.section()?;
    let pairs = |node: &Node<'_>| Ok(node.strings()?.into_iter().collect());
    let place = |node: &Node<'_>| {
        let place = Place::by_name(&node.text()?);
        place.ok_or_else(|| node.error("`l`, `r` or `b`"))
    };
    let server = Server {
        name: section
            .maybe("name", Node::text)?
            .unwrap_or_else(|| "app".to_owned()),
        place: section.maybe("place", place)?.unwrap_or(Place::Servers),
        at: section.maybe("at", Node::text)?.unwrap_or_default(),
        behave: section.maybe("behave", Node::text)?.unwrap_or_default(),
        paths: section.maybe("paths", pairs)?.unwrap_or_default(),
        tls: section.maybe("tls", pairs)?.unwrap_or_default(),
        run: section.texts("run")?,
        user: section.maybe("user", Node::text)?,
        files: section
            .maybe("files", Node::count)?
            .and_then(|n| n.try_into().ok()),
        starts: section.maybe("start", Node::flag)?.unwrap_or(true),
    };
    if server.behave.is_empty() == server.run.is_empty() {
        return Err(section.error("either `behave` or `run`"));
    }
    section.end()?;
    Ok(server)
}

/// A configuration as a whole (`config`), or servers and what else the backend says.
fn clearway(node: &Node<'_>) -> Result<Balancer, String> {
    let mut section = node.section()?;
    let servers = section.texts("servers")?;
    let backend = section.maybe("backend", Node::text)?.unwrap_or_default();
    let config = match section.maybe("config", Node::text)? {
        Some(config) if servers.is_empty() && backend.is_empty() => config,
        Some(_) => return Err(section.error("`config` is everything: no `servers`, no `backend`")),
        None => {
            let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
            crate::clearway::simple(&servers, &backend)
        }
    };
    let clearway = Balancer {
        config,
        user: section.maybe("user", Node::text)?,
        files: section
            .maybe("files", Node::count)?
            .and_then(|n| n.try_into().ok()),
    };
    section.end()?;
    Ok(clearway)
}

fn step(node: &Node<'_>) -> Result<Step, String> {
    let mut section = node.section()?;
    let mut steps = Vec::new();
    for (key, place) in [
        ("l", Place::Balancer),
        ("r", Place::Router),
        ("b", Place::Servers),
    ] {
        let line = section.maybe(key, Node::text)?;
        steps.extend(line.map(|line| Step::Run(place, line)));
    }
    let request = section.maybe("request", request)?;
    steps.extend(request.map(|request| Step::Request(Box::new(request))));
    steps.extend(section.maybe("start", Node::text)?.map(Step::Start));
    steps.extend(section.maybe("stop", Node::text)?.map(Step::Stop));
    steps.extend(section.maybe("signal", signal)?);
    let wait = section.maybe("wait", wait)?;
    steps.extend(wait.map(|wait| Step::Wait(Box::new(wait))));
    steps.extend(section.maybe("pause", Node::duration)?.map(Step::Pause));
    if section.flag("join")? {
        steps.push(Step::Join);
    }
    let changes = section.maybe("dns", dns)?.unwrap_or_default();
    steps.extend(changes.into_iter().map(Step::Dns));
    let result = section.maybe("result", Node::text)?;
    let reload = section.maybe("reload", Node::text)?;
    let result = result.unwrap_or_else(|| "ok".to_owned());
    steps.extend(reload.map(|text| Step::Reload(text, result)));
    let mut steps = steps.into_iter();
    let (Some(step), None) = (steps.next(), steps.next()) else {
        return Err(section.error("a step does one thing"));
    };
    section.end()?;
    Ok(step)
}

/// `NAME stop`
fn signal(node: &Node<'_>) -> Result<Step, String> {
    let text = node.text()?;
    let (server, word) = text.split_once(' ').unwrap_or((&text, ""));
    let signal = match word {
        "hup" => Signal::Hup,
        "term" => Signal::Term,
        "kill" => Signal::Kill,
        "stop" => Signal::Stop,
        "cont" => Signal::Cont,
        _ => return Err(node.error("a server and `hup`, `term`, `kill`, `stop` or `cont`")),
    };
    Ok(Step::Signal(server.to_owned(), signal))
}

fn request(node: &Node<'_>) -> Result<Request, String> {
    let mut section = node.section()?;
    let pairs = |node: &Node<'_>| Ok(node.strings()?.into_iter().collect());
    // Numbers are statuses.
    let outcomes = |node: &Node<'_>| {
        let one = |node: &Node<'_>| node.text().or_else(|_| Ok(node.number()?.to_string()));
        node.list().iter().map(one).collect()
    };
    let or = |text: Option<String>, other: &str| text.unwrap_or_else(|| other.to_owned());
    let request = Request {
        method: or(section.maybe("method", Node::text)?, "GET"),
        path: or(section.maybe("path", Node::text)?, "/"),
        host: or(section.maybe("host", Node::text)?, "app.test"),
        headers: section.maybe("headers", pairs)?.unwrap_or_default(),
        body: section.maybe("body", Node::count)?.unwrap_or(0),
        raw: section.maybe("raw", Node::text)?,
        count: section.maybe("count", Node::count)?.unwrap_or(1),
        parallel: section.maybe("parallel", Node::count)?.unwrap_or(1),
        every: section.maybe("every", Node::duration)?.unwrap_or_default(),
        keep: section.flag("keep")?,
        background: section.flag("background")?,
        leave: section.maybe("leave", Node::duration)?,
        way: section.maybe("way", way)?.unwrap_or_default(),
        stay: section.maybe("stay", Node::duration)?,
        drip: section.maybe("drip", Node::duration)?,
        expect: section.maybe("expect", outcomes)?.unwrap_or_default(),
        contains: section.maybe("contains", Node::text)?,
    };
    if request.keep && (request.parallel > 1 || request.background) {
        return Err(section.error("one connection carries one request at a time"));
    }
    section.end()?;
    Ok(request)
}

fn way(node: &Node<'_>) -> Result<Way, String> {
    match node.text()?.as_str() {
        "close" => Ok(Way::Close),
        "reset" => Ok(Way::Reset),
        "deaf" => Ok(Way::Deaf),
        _ => Err(node.error("`close`, `reset` or `deaf`")),
    }
}

fn wait(node: &Node<'_>) -> Result<Wait, String> {
    let mut section = node.section()?;
    let server = section.maybe("server", Node::text)?;
    let named = |section: &Section<'_>| {
        let server = server.clone();
        server.ok_or_else(|| section.error("`server` is missing"))
    };
    let wait = if let Some(state) = section.maybe("state", Node::text)? {
        Wait::State(named(&section)?, state)
    } else if let Some(text) = section.maybe("says", Node::text)? {
        Wait::Says(named(&section)?, text)
    } else if section.flag("ended")? {
        Wait::Ended(named(&section)?)
    } else if let Some(text) = section.maybe("log", Node::text)? {
        Wait::Log(text)
    } else if let Some(count) = section.maybe("records", Node::count)? {
        Wait::Records(count)
    } else {
        let name = section.need("metric")?.text()?;
        let labels = section.maybe("labels", Node::strings)?.unwrap_or_default();
        let least = section.need("at_least")?.number()?;
        let least = u32::try_from(least).map_err(|_| section.error("a small number"))?;
        Wait::Metric(name, labels.into_iter().collect(), f64::from(least))
    };
    section.end()?;
    Ok(wait)
}

fn expect(node: &Node<'_>) -> Result<Expect, String> {
    let mut section = node.section()?;
    let kind = |node: &Node<'_>| {
        let code = node.text()?;
        let kind = FaultKind::from_code(&code);
        kind.ok_or_else(|| node.error(&format!("there is no fault `{code}`")))
    };
    let kinds = |node: &Node<'_>| node.list().iter().map(kind).collect();
    let phase = |node: &Node<'_>| {
        let name = node.text()?;
        let found = Phase::ALL.iter().find(|phase| phase.name() == name);
        found.copied().ok_or_else(|| node.error("no such phase"))
    };
    let status = |node: &Node<'_>| {
        let number = node.number()?;
        u16::try_from(number).map_err(|_| node.error("no status"))
    };
    let record = |node: &Node<'_>| {
        let field = |(path, node): (String, Node<'_>)| Ok((path, node.json()?));
        node.entries()?.into_iter().map(field).collect()
    };
    let confidence = |node: &Node<'_>| {
        let word = node.text()?;
        let known = super::verdict::CONFIDENCES.contains(&word.as_str());
        known
            .then_some(word)
            .ok_or_else(|| node.error("no such confidence"))
    };
    let expect = Expect {
        faults: section.maybe("fault", kinds)?.unwrap_or_default(),
        others: section.maybe("others", kinds)?.unwrap_or_default(),
        phase: section.maybe("phase", phase)?,
        status: section.maybe("status", status)?,
        prevented: section
            .maybe("prevented", Node::count)?
            .and_then(|n| n.try_into().ok()),
        record: section.maybe("record", record)?.unwrap_or_default(),
        metrics: all(&mut section, "metrics", wait)?,
        confidence: section.maybe("confidence", confidence)?,
        also: all(&mut section, "also", cause)?,
        no_incident: section.flag("no_incident")?,
    };
    section.end()?;
    Ok(expect)
}

/// What labels of a metric are borrowed as.
pub(super) fn borrowed(labels: &[(String, String)]) -> Vec<(&str, &str)> {
    labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "cause = \"port-closed\"\nabout = \"x\"\n[clearway]\nservers = [\"a:1\"]\n";

    #[test]
    fn a_small_file_is_read() {
        let scenario = Scenario::parse("f", SMALL).unwrap();
        assert_eq!(scenario.cause, Some(Cause::PortClosed));
        assert!(scenario.clearway.unwrap().config.contains("a:1"));
    }

    #[test]
    fn every_file_of_the_repository_is_read() {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        let mut count = 0;
        for folder in std::fs::read_dir(top).unwrap().flatten() {
            let name = folder.file_name().into_string().unwrap();
            for file in std::fs::read_dir(folder.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                let path = file.path();
                let text = std::fs::read_to_string(&path).unwrap();
                let scenario = Scenario::parse(&path.display().to_string(), &text).unwrap();
                assert_eq!(scenario.cause.is_none(), name == "healthy", "{path:?}");
                count += 1;
            }
        }
        assert!(count > 100, "{count} scenarios");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let wrong = |more: &str| Scenario::parse("f", &format!("{SMALL}{more}")).unwrap_err();
        assert!(wrong("[[do]]\nl = \"x\"\nr = \"y\"\n").starts_with("f:5: a step does one"));
        assert!(wrong("[expect]\nfault = \"no\"\n").contains("f:6: there is no fault `no`"));
        assert!(wrong("[[server]]\nat = \"x\"\n").contains("either `behave` or `run`"));
        assert!(wrong("[lab]\nq = \"x\"\n").contains("f:6: `q` is not known"));
    }
}
