//! Running one scenario from top to bottom.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expect::{check, fault, records};
use super::file::{Balancer, Dns, Scenario, Server, Step, Wait, borrowed};
use super::peer::{self, Kind, Logs, Peer, Running};
use super::request::Clients;
use super::verdict::{self, Place, Verdict};
use crate::clearway::{Clearway, Setup};
use crate::dns::NameServer;
use crate::lab::Lab;
use crate::pki::Authority;
use crate::process::{Process, Signal};
use crate::temp::TempDir;
use crate::wait::{LIMIT, elapse, now, within};

/// Where the name server of a scenario listens, in L.
const NAME_SERVER: &str = "127.0.0.1:5353";

/// How long a peer is given where Clearway is asked for a number.
const PEER_PAUSE: Duration = Duration::from_millis(400);

/// How to run a scenario.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether the balancer is asked for its verdict.
    pub asks_verdict: bool,
    /// Whether the verdict counts that stands after a while, and not the first that is right.
    pub is_patient: bool,
    /// Whether everything that was recorded is printed.
    pub is_loud: bool,
    /// The balancer that the fault is behind, where it is not Clearway.
    pub peer: Option<Kind>,
    /// A folder that gets a copy of what the peer leaves behind.
    pub keep: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Codes of the faults in the records, each once.
    pub faults: Vec<String>,
    /// What clients got, each word once, with how often.
    pub outcomes: Vec<String>,
    /// What the balancer said, or the diagnosis of a peer's logs.
    pub verdict: Verdict,
    /// What the diagnosis said of Clearway's own log.
    pub offline: Verdict,
    /// Why it was left out.
    pub skipped: Option<String>,
    /// What is not as expected.
    pub problems: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

/// Runs a scenario. The process has to be in a network namespace of its own.
///
/// # Panics
/// When the lab cannot be built.
#[must_use]
pub fn run(scenario: &Scenario, options: &Options) -> Report {
    let begin = now();
    if let Some(reason) = skipped(scenario, options) {
        return Report {
            skipped: Some(reason),
            ..Report::empty()
        };
    }
    let lab = Lab::build();
    let mut stage = Stage::prepare(&lab, scenario, options.peer);
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| stage.play(scenario, options)));
    let (verdict, offline) = played.unwrap_or_else(|panic| {
        stage.problems.push(words(&*panic));
        (Verdict::not_asked(), Verdict::not_asked())
    });
    let mut problems = std::mem::take(&mut stage.problems);
    // A peer's verdict counts, and one that is wrong is no failure by itself.
    if options.peer.is_none() || scenario.cause.is_none() || verdict.place == Place::NotAsked {
        problems.extend(verdict.problems.iter().cloned());
    }
    let (faults, outcomes) = stage.observed();
    if options.is_loud {
        stage.show();
    }
    Report {
        faults,
        outcomes,
        verdict,
        offline,
        skipped: None,
        problems,
        time: now() - begin,
    }
}

impl Report {
    fn empty() -> Self {
        Self {
            faults: Vec::new(),
            outcomes: Vec::new(),
            verdict: Verdict::not_asked(),
            offline: Verdict::not_asked(),
            skipped: None,
            problems: Vec::new(),
            time: Duration::ZERO,
        }
    }
}

/// Judges anew what a peer left behind in an earlier run, kept in this folder. Nothing is run.
#[must_use]
pub fn judge_kept(scenario: &Scenario, kind: Kind, folder: &Path) -> Report {
    let options = Options {
        peer: Some(kind),
        ..Options::default()
    };
    let skipped = skipped(scenario, &options);
    let verdict = if skipped.is_some() || scenario.expect.no_incident {
        Verdict::not_asked()
    } else {
        peer::ask(kind, &Logs::of(kind, folder), scenario)
    };
    Report {
        verdict,
        skipped,
        ..Report::empty()
    }
}

/// Why the fault cannot be behind this balancer.
fn skipped(scenario: &Scenario, options: &Options) -> Option<String> {
    let Some(kind) = options.peer else {
        let none = scenario.clearway.is_none();
        return none.then(|| "only others can have this fault".to_owned());
    };
    let peer = scenario.peers.iter().find(|peer| peer.kind == kind);
    if let Some(reason) = peer.and_then(|peer| peer.skip.clone()) {
        return Some(reason);
    }
    let has_own = peer.is_some_and(|peer| peer.config.is_some());
    (scenario.clearway.is_none() && !has_own).then(|| "it cannot have this fault".to_owned())
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// Everything that runs.
struct Stage<'a> {
    lab: &'a Lab,
    folder: TempDir,
    dns: Option<NameServer>,
    servers: BTreeMap<String, Process>,
    kind: Option<Kind>,
    clearway: Option<Clearway>,
    peer: Option<Running>,
    clients: Clients,
    problems: Vec<String>,
}

impl<'a> Stage<'a> {
    fn prepare(lab: &'a Lab, scenario: &Scenario, kind: Option<Kind>) -> Self {
        let folder = TempDir::new();
        for (name, text) in &scenario.files {
            folder.write(name, text);
        }
        certificates(&folder, &scenario.certificates);
        Self {
            lab,
            folder,
            dns: None,
            servers: BTreeMap::new(),
            kind,
            clearway: None,
            peer: None,
            clients: Clients::default(),
            problems: Vec::new(),
        }
    }

    fn play(&mut self, scenario: &Scenario, options: &Options) -> (Verdict, Verdict) {
        for (place, line) in &scenario.lab {
            self.lab.run(*place, &self.fill(line));
        }
        for dns in &scenario.dns {
            self.answer(dns);
        }
        for server in scenario.servers.iter().filter(|server| server.starts) {
            self.start(server);
        }
        match self.kind {
            Some(kind) => (
                self.play_peer(kind, scenario, options),
                Verdict::not_asked(),
            ),
            None => self.play_clearway(scenario, options),
        }
    }

    fn play_clearway(&mut self, scenario: &Scenario, options: &Options) -> (Verdict, Verdict) {
        let none = || (Verdict::not_asked(), Verdict::not_asked());
        let Some(balancer) = &scenario.clearway else {
            return none();
        };
        self.clearway = Some(self.setup(balancer).start());
        self.steps(scenario);
        let Some(clearway) = &self.clearway else {
            return none();
        };
        let is_healthy = scenario.cause.is_none();
        let wrong = check(clearway, &scenario.expect, is_healthy);
        self.problems.extend(wrong);
        if !options.asks_verdict {
            return none();
        }
        let live = verdict::ask(clearway, scenario, options.is_patient);
        let text = clearway.stderr().join("\n");
        let log = self.folder.write("clearway.log", &format!("{text}\n"));
        let is_silent = records(clearway).is_empty();
        let offline = if is_silent || scenario.expect.no_incident {
            Verdict::not_asked()
        } else {
            peer::own(&Logs::own(log.into()), scenario)
        };
        (live, offline)
    }

    fn play_peer(&mut self, kind: Kind, scenario: &Scenario, options: &Options) -> Verdict {
        let started = Running::start(kind, scenario, self.folder.path(), &|text| self.fill(text));
        let own = scenario.peers.iter().find(|peer| peer.kind == kind);
        match started {
            Ok(peer) => self.peer = Some(peer),
            Err(_) if own.is_some_and(|peer| peer.refuses) => {}
            Err(why) => self.problems.push(why),
        }
        if self.peer.is_some() {
            self.steps(scenario);
        }
        if let Some(mut peer) = self.peer.take() {
            peer.stop();
        }
        // What is expected of each request is Clearway's way to fail.
        if scenario.cause.is_some() {
            self.problems
                .retain(|problem| problem.contains("does not start"));
        }
        let logs = Logs::of(kind, self.folder.path());
        if let Some(folder) = &options.keep
            && let Err(error) = logs.copy_to(&folder.join(kind.name()))
        {
            self.problems
                .push(format!("cannot keep its files: {error}"));
        }
        if let Some(own) = own {
            self.check_peer(own, &logs);
        }
        if options.asks_verdict && !scenario.expect.no_incident {
            peer::ask(kind, &logs, scenario)
        } else {
            Verdict::not_asked()
        }
    }

    /// What the file says of this peer.
    fn check_peer(&mut self, own: &Peer, logs: &Logs) {
        if let Some(text) = &own.log
            && !logs.text().contains(text)
        {
            self.problems
                .push(format!("its log has no {text:?}: {}", logs.text()));
        }
        let words = self
            .clients
            .outcomes
            .iter()
            .map(|outcome| outcome.word.as_str());
        if let Some(status) = own.status
            && !words.clone().any(|word| word == status.to_string())
        {
            let words: Vec<&str> = words.collect();
            self.problems
                .push(format!("nobody got {status}: {words:?}"));
        }
    }

    fn steps(&mut self, scenario: &Scenario) {
        for step in &scenario.steps {
            self.step(step, scenario);
        }
        self.problems.extend(self.clients.join());
    }

    fn setup(&self, balancer: &Balancer) -> Setup {
        let mut text = self.fill(&balancer.config);
        if !text.contains("[incidents]") {
            text.push_str("\n[incidents]\nprobes = true\n");
        }
        let mut setup = Clearway::setup(&text);
        if let Some(files) = balancer.files {
            setup = setup.open_files(files);
        }
        if let Some(user) = &balancer.user {
            setup = setup.user(user);
        }
        setup
    }

    fn step(&mut self, step: &Step, scenario: &Scenario) {
        match step {
            Step::Request(request) => {
                let address = match &self.peer {
                    Some(peer) => peer.address.clone(),
                    None => self.clearway().address("web").to_owned(),
                };
                let problems = self.clients.make(&address, request);
                self.problems.extend(problems);
            }
            Step::Run(place, line) => drop(self.lab.run(*place, &self.fill(line))),
            Step::Start(name) => {
                let server = scenario.servers.iter().find(|s| s.name == *name);
                self.start(server.unwrap_or_else(|| panic!("no server {name}")));
            }
            Step::Stop(name) => {
                let mut process = self.server(name);
                process.signal(Signal::Kill);
                process.wait(LIMIT);
            }
            Step::Signal(name, signal) => {
                let process = self.server(name);
                process.signal(*signal);
                self.servers.insert(name.clone(), process);
            }
            Step::Wait(wait) if self.kind.is_some() => self.wait_peer(wait, scenario),
            Step::Wait(wait) => self.wait(wait),
            Step::Pause(time) => elapse(*time),
            Step::Join => {
                let problems = self.clients.join();
                self.problems.extend(problems);
            }
            Step::Dns(dns) => self.answer(dns),
            // Others are reloaded in another way, which is no part of this.
            Step::Reload(..) if self.kind.is_some() => {}
            Step::Reload(text, result) => {
                let text = self.fill(text);
                let found = self.clearway().reload(&text);
                if found != result {
                    self.problems.push(format!("the reload: {found}"));
                }
            }
        }
    }

    /// Waits for a peer, which says less of itself.
    fn wait_peer(&mut self, wait: &Wait, scenario: &Scenario) {
        match wait {
            Wait::State(server, state) => {
                let index = scenario.server_index(server);
                if let (Some(peer), Some(index)) = (&self.peer, index) {
                    peer.wait_state(index, state);
                }
            }
            Wait::Log(_) | Wait::Records(_) | Wait::Metric(..) => elapse(PEER_PAUSE),
            Wait::Says(..) | Wait::Ended(_) => self.wait(wait),
        }
    }

    fn wait(&mut self, wait: &Wait) {
        match wait {
            Wait::State(server, state) => {
                self.clearway().wait_state(server, &[state]);
            }
            Wait::Log(text) => {
                self.clearway().wait_stderr(text);
            }
            Wait::Records(count) => {
                let clearway = self.clearway();
                let came = within(LIMIT, || (records(clearway).len() >= *count).then_some(()));
                assert!(came.is_some(), "{count} records did not come");
            }
            Wait::Metric(name, labels, least) => {
                self.clearway().wait_metric(name, &borrowed(labels), *least);
            }
            Wait::Says(name, text) => {
                let process = self.server(name);
                let said = process
                    .stdout
                    .find(LIMIT, |line| line.contains(text).then_some(()));
                assert!(said.is_some(), "{name} did not say {text:?}");
                self.servers.insert(name.clone(), process);
            }
            Wait::Ended(name) => {
                self.server(name).wait(LIMIT);
            }
        }
    }

    fn clearway(&self) -> &Clearway {
        self.clearway.as_ref().expect("a running balancer")
    }

    fn server(&mut self, name: &str) -> Process {
        let process = self.servers.remove(name);
        process.unwrap_or_else(|| panic!("server {name} does not run"))
    }

    fn answer(&mut self, dns: &Dns) {
        let server = self
            .dns
            .get_or_insert_with(|| NameServer::start_at(NAME_SERVER));
        server.set(&dns.name, dns.answer.clone());
    }

    fn start(&mut self, server: &Server) {
        let words = self.words(server);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut process = Process::start(self.lab.command(server.place, &words));
        let at = self.fill(&server.at);
        let listens = || match at.strip_prefix("unix:") {
            Some(path) => Path::new(path).exists(),
            None => {
                let port = at.rsplit(':').next().and_then(|port| port.parse().ok());
                port.is_none_or(|port| self.lab.listens(server.place, port))
            }
        };
        let ready = within(LIMIT, || (listens() || !process.is_running()).then_some(()));
        assert!(
            ready.is_some() && process.is_running(),
            "server {} does not listen on {at}: {}",
            server.name,
            process.stderr.text()
        );
        self.servers.insert(server.name.clone(), process);
    }

    /// The command line of a server.
    fn words(&self, server: &Server) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| self.fill(word)));
        if let Some(user) = &server.user {
            add(&[
                "setpriv",
                &format!("--reuid={user}"),
                "--clear-groups",
                "--",
            ]);
        }
        if let Some(files) = server.files {
            add(&["prlimit", &format!("--nofile={files}"), "--"]);
        }
        if !server.run.is_empty() {
            server.run.iter().for_each(|word| add(&[word]));
            return words;
        }
        let program = sibling("faulty");
        add(&[&program, "--listen", &server.at, "--behave", &server.behave]);
        for (path, behave) in &server.paths {
            add(&["--path", &format!("{path} {behave}")]);
        }
        for (key, value) in &server.tls {
            add(&[&format!("--tls-{key}"), value]);
        }
        words
    }

    fn fill(&self, text: &str) -> String {
        let text = text.replace("$DIR", &self.folder.path().display().to_string());
        let text = text.replace("$CLEARWAY", &sibling("clearway"));
        text.replace("$FAULTY", &sibling("faulty"))
    }

    fn observed(&self) -> (Vec<String>, Vec<String>) {
        let mut faults: Vec<String> = Vec::new();
        for code in self.clearway.iter().flat_map(records).map(|r| fault(&r)) {
            if !faults.contains(&code) {
                faults.push(code);
            }
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for outcome in &self.clients.outcomes {
            *counts.entry(outcome.word.as_str()).or_default() += 1;
        }
        let times = |(word, count)| format!("{count}×{word}");
        (faults, counts.into_iter().map(times).collect())
    }

    #[expect(clippy::print_stderr, reason = "somebody asked to see it")]
    fn show(&self) {
        if let Some(clearway) = &self.clearway {
            eprintln!("{}", clearway.stdout().join("\n"));
            eprintln!("{}", clearway.stderr().join("\n"));
        }
        if let Some(kind) = self.kind {
            eprintln!("{}", Logs::of(kind, self.folder.path()).show());
        }
        for (name, process) in &self.servers {
            eprintln!("{name}: {}{}", process.stdout.text(), process.stderr.text());
        }
    }
}

/// A program that is built beside this one.
pub(super) fn sibling(name: &str) -> String {
    let own = std::env::current_exe().expect("own path");
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|f| f.join(name)).find(|f| f.is_file());
    let found = found.unwrap_or_else(|| panic!("{name} is not built"));
    found.display().to_string()
}

/// Writes what scenarios wish for, besides `root.pem` and `other.pem`: two authorities.
fn certificates(folder: &TempDir, wishes: &[(String, String)]) {
    if wishes.is_empty() {
        return;
    }
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let middle = root.below("middle");
    folder.write("root.pem", &root.pem());
    folder.write("other.pem", &other.pem());
    for (file, wish) in wishes {
        let text = crate::pki::wished(wish, [&root, &middle, &other]);
        folder.write(file, &text);
    }
}
