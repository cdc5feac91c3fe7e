//! A peer that runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::syslog::Collector;
use super::wish::Wish;
use super::{Kind, Peer, envoy, haproxy, nginx};
use crate::client::Client;
use crate::process::{Process, Signal, find, program};
use crate::scenario::file::Scenario;
use crate::stream::Stream;
use crate::wait::{LIMIT, elapse, within};

/// A peer, its configuration and its logs.
#[derive(Debug)]
pub(in crate::scenario) struct Running {
    kind: Kind,
    process: Process,
    log: Option<Collector>,
    folder: PathBuf,
    /// Where clients go.
    pub(in crate::scenario) address: String,
}

impl Running {
    /// Starts a peer for a scenario, or says why it did not start; `fill` puts in what `$` words stand
    /// for.
    ///
    /// # Panics
    /// When its program is missing.
    pub(in crate::scenario) fn start(
        kind: Kind,
        scenario: &Scenario,
        folder: &Path,
        fill: &dyn Fn(&str) -> String,
    ) -> Result<Self, String> {
        let folder = folder.join(kind.name());
        std::fs::create_dir_all(&folder).expect("a folder");
        open_to_all(&folder);
        let wish = Wish::of(scenario);
        let config = fill(&config(kind, scenario, &wish));
        let config = config.replace("$PEER", &folder.display().to_string());
        let file = folder.join(file_name(kind));
        std::fs::write(&file, config).expect("a configuration");
        let log = (kind == Kind::Haproxy)
            .then(|| Collector::start(haproxy::SYSLOG, &folder.join("haproxy.log")));
        let process = Process::start(command(kind, scenario, &file));
        let mut running = Self {
            kind,
            process,
            log,
            folder,
            address: fill(&wish.bind),
        };
        let up = within(LIMIT, || match running.process.is_running() {
            false => Some(false),
            true => running.is_ready().then_some(true),
        });
        if up == Some(true) {
            if kind == Kind::Haproxy && wish.has_names() {
                // It serves before its first answer, with a server that has no address.
                running.await_state(0, "up", Duration::from_secs(1));
            }
            return Ok(running);
        }
        let said = running.process.stderr.text();
        running.keep(&said);
        Err(format!("{} does not start: {said}", kind.name()))
    }

    fn is_ready(&self) -> bool {
        match self.kind {
            Kind::Envoy => Stream::connect(envoy::ADMIN)
                .is_ok_and(|stream| Client::over(stream).get("/ready").text().trim() == "LIVE"),
            Kind::Nginx => self.folder.join("nginx.pid").exists() && self.listens(),
            Kind::Haproxy => self.listens(),
        }
    }

    fn listens(&self) -> bool {
        if let Some(path) = self.address.strip_prefix("unix:") {
            return Path::new(path).exists();
        }
        let port = self.address.rsplit(':').next();
        let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
        let text = std::fs::read_to_string("/proc/self/net/tcp").expect("sockets");
        // A connection would leave a line in the log; state 0A is LISTEN.
        text.lines().any(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let own = columns.get(1).and_then(|own| own.rsplit(':').next());
            columns.get(3) == Some(&"0A") && own == Some(&format!("{port:04X}"))
        })
    }

    /// Waits for a server's state as the peer sees it; where it has none, for as long as others take.
    pub(in crate::scenario) fn wait_state(&self, index: usize, state: &str) {
        match self.kind {
            Kind::Nginx => elapse(Duration::from_millis(1200)),
            Kind::Haproxy | Kind::Envoy => {
                self.await_state(index, state, Duration::from_secs(6));
            }
        }
    }

    /// A state that does not come is what requests will show.
    fn await_state(&self, index: usize, state: &str, limit: Duration) {
        within(limit, || {
            let states = match self.kind {
                Kind::Haproxy => self.stat(),
                Kind::Nginx | Kind::Envoy => self.flags(),
            };
            let is_so = states
                .get(index)
                .is_some_and(|found| found.starts_with(state));
            is_so.then_some(())
        });
    }

    /// What HAProxy's statistics say of servers, in order.
    fn stat(&self) -> Vec<String> {
        let path = self.folder.join("admin.sock");
        let script = format!("echo 'show stat' | socat - UNIX-CONNECT:{}", path.display());
        let text = crate::process::output(Command::new("sh").args(["-c", &script]));
        let lines = text.lines().filter(|line| line.starts_with("app,s"));
        let state = |line: &str| {
            let word = line.split(',').nth(17);
            word.unwrap_or_default().to_lowercase()
        };
        lines.map(state).collect()
    }

    /// What Envoy says of the health of servers, in order.
    fn flags(&self) -> Vec<String> {
        let text = Client::connect(envoy::ADMIN).get("/clusters").text();
        let lines = text.lines().filter(|line| line.starts_with("app::"));
        let flags = lines.filter_map(|line| line.split_once("::health_flags::"));
        let word = |flags| if flags == "healthy" { "up" } else { "down" };
        flags.map(|(_, flags)| word(flags).to_owned()).collect()
    }

    /// Ends it, so that everything it wants to say is in its logs.
    pub(in crate::scenario) fn stop(&mut self) {
        if self.process.is_running() {
            self.process.signal(Signal::Term);
            let limit = Duration::from_secs(4);
            let ended = within(limit, || (!self.process.is_running()).then_some(()));
            if ended.is_none() {
                self.process.signal(Signal::Kill);
            }
        }
        if let Some(log) = &mut self.log {
            log.drain();
        }
        let said = self.process.stderr.text();
        self.keep(&said);
    }

    /// What it said on its terminal is a log, too.
    fn keep(&self, said: &str) {
        let path = self.folder.join("stderr.log");
        std::fs::write(path, format!("{said}\n")).expect("a log");
    }
}

/// A worker that runs as somebody else writes there.
fn open_to_all(folder: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder, mode).expect("permissions");
}

/// The name of its configuration.
pub(super) fn file_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Nginx => "nginx.conf",
        Kind::Haproxy => "haproxy.cfg",
        Kind::Envoy => "envoy.yaml",
    }
}

fn config(kind: Kind, scenario: &Scenario, wish: &Wish) -> String {
    let own = scenario.peers.iter().find(|peer| peer.kind == kind);
    let own = own.and_then(|peer: &Peer| peer.config.clone());
    let text = own.unwrap_or_else(|| match kind {
        Kind::Nginx => nginx::config(wish),
        Kind::Haproxy => haproxy::config(wish),
        Kind::Envoy => envoy::config(wish),
    });
    match kind {
        Kind::Nginx => text
            .replace("$MAIN", nginx::MAIN)
            .replace("$HTTP", nginx::HTTP),
        Kind::Haproxy => text
            .replace("$GLOBAL", haproxy::GLOBAL)
            .replace("$DEFAULTS", haproxy::DEFAULTS),
        Kind::Envoy => envoy::words(wish)
            .iter()
            .fold(text, |text, (word, value)| text.replace(word, value)),
    }
}

fn command(kind: Kind, scenario: &Scenario, file: &Path) -> Command {
    let mut words: Vec<String> = Vec::new();
    let balancer = scenario.clearway.as_ref();
    if let Some(user) = balancer.and_then(|own| own.user.as_ref()) {
        let user = format!("--reuid={user}");
        words.extend(["setpriv".to_owned(), user, "--clear-groups".to_owned()]);
        words.push("--".to_owned());
    }
    if let Some(files) = balancer.and_then(|own| own.files) {
        words.extend([
            "prlimit".to_owned(),
            format!("--nofile={files}"),
            "--".to_owned(),
        ]);
    }
    let path = file.display().to_string();
    match kind {
        Kind::Nginx => {
            let program = program("nginx", "nginx-light");
            words.extend([program.display().to_string(), "-c".to_owned(), path]);
            let errors = file.with_file_name("error.log");
            words.extend(["-e".to_owned(), errors.display().to_string()]);
        }
        Kind::Haproxy => {
            let program = program("haproxy", "haproxy");
            words.extend([program.display().to_string(), "-db".to_owned()]);
            words.extend(["-f".to_owned(), path]);
        }
        Kind::Envoy => {
            words.extend([envoy_program(), "-c".to_owned(), path]);
            let options = "--disable-hot-restart --concurrency 1 --file-flush-interval-msec 50 -l warning \
                           --drain-time-s 1";
            words.extend(options.split_whitespace().map(str::to_owned));
        }
    }
    let (first, rest) = words.split_first().expect("a program");
    let mut command = Command::new(first);
    command.args(rest);
    command
}

/// Envoy comes in no package of Debian: `cargo xtask setup` puts it below `target/`, and `cargo xtask
/// scenarios` into the search path.
fn envoy_program() -> String {
    let found = find("envoy");
    let found = found.unwrap_or_else(|| panic!("envoy is missing: cargo xtask setup"));
    found.display().to_string()
}
