//! The two sides, which are programs of their own: `client.py` and `server.py`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

use std::process::Command;

use clearway_testkit::process::{Process, Signal, output};
use clearway_testkit::wait::LIMIT;
use clearway_testkit::{Authority, Identity, TempDir};
use serde_json::Value;

/// Debian's own, because its package of grpcio is for that.
const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> Command {
    let mut probe = Command::new(PYTHON);
    let find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('grpc') is None)";
    let is_there = probe.args(["-c", find]).status().is_ok_and(|s| s.success());
    assert!(
        is_there,
        "gRPC for {PYTHON} is missing: apt-get install python3-grpcio"
    );
    let mut command = Command::new(PYTHON);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/grpc");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(format!("{folder}/{name}"));
    command
}

/// A running `server.py`; killed when dropped.
pub(crate) struct Server {
    process: Process,
    address: String,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(TempDir::new(), &[])
    }

    /// As [`Server::start`], with TLS.
    pub(crate) fn secure(identity: &Identity) -> Self {
        let folder = TempDir::new();
        let (certificate, key) = files(&folder, identity);
        Self::with(folder, &["--tls", &certificate, &key])
    }

    /// As [`Server::start`], with a health service that says this: `NAME STATUS`, a line each.
    pub(crate) fn healthy(statuses: &str) -> Self {
        let folder = TempDir::new();
        let file = folder.write("health", statuses);
        Self::with(folder, &["--health", &file])
    }

    /// As [`Server::healthy`], with TLS.
    pub(crate) fn healthy_and_secure(statuses: &str, identity: &Identity) -> Self {
        let folder = TempDir::new();
        let file = folder.write("health", statuses);
        let (certificate, key) = files(&folder, identity);
        Self::with(folder, &["--health", &file, "--tls", &certificate, &key])
    }

    /// Has the health service say something else.
    pub(crate) fn set_health(&self, statuses: &str) {
        let new = self.folder.write("health.new", statuses);
        // At once, because it may be read at any time.
        std::fs::rename(new, self.folder.file("health")).unwrap();
    }

    fn with(folder: TempDir, arguments: &[&str]) -> Self {
        let mut command = script("server.py");
        command.args(arguments);
        let process = Process::start(command);
        let port = process
            .stdout
            .find(LIMIT, |line| line.strip_prefix("port ").map(str::to_owned));
        let port = port.unwrap_or_else(|| panic!("{}", process.stderr.text()));
        Self {
            process,
            address: format!("127.0.0.1:{port}"),
            folder,
        }
    }

    /// `127.0.0.1:1234`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until it has said something.
    pub(crate) fn wait_said(&self, words: &str) {
        let said = self
            .process
            .stdout
            .find(LIMIT, |line| line.starts_with(words).then_some(()));
        assert!(
            said.is_some(),
            "{words:?} not in {:?}",
            self.process.stdout.all()
        );
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.process.signal(Signal::Kill);
        self.process.wait(LIMIT);
    }
}

/// Writes a certificate and its key.
fn files(folder: &TempDir, identity: &Identity) -> (String, String) {
    let certificate = folder.write("chain.pem", &identity.chain_pem());
    (certificate, folder.write("key.pem", &identity.key_pem()))
}

fn client(address: &str, scenario: &str, arguments: &[&str]) -> Command {
    let mut command = script("client.py");
    command.args([address, scenario]).args(arguments);
    command
}

/// What a client got in a scenario.
pub(crate) fn call(address: &str, scenario: &str) -> Value {
    parse(&output(&mut client(address, scenario, &[])))
}

/// As [`call`], over TLS.
pub(crate) fn call_secure(address: &str, scenario: &str, root: &Authority) -> Value {
    let folder = TempDir::new();
    let root = folder.write("root.pem", &root.pem());
    parse(&output(&mut client(address, scenario, &["--ca", &root])))
}

/// A client that is not waited for yet.
pub(crate) struct Running(Process);

impl Running {
    pub(crate) fn start(address: &str, scenario: &str, arguments: &[&str]) -> Self {
        Self(Process::start(client(address, scenario, arguments)))
    }

    /// Waits until it has got a message.
    pub(crate) fn wait_got(&self, message: &str) {
        let line = format!("got {message}");
        let got = self.0.stderr.find(LIMIT, |l| (l == line).then_some(()));
        assert!(got.is_some(), "{:?}", self.0.stderr.all());
    }

    /// What it got in the end.
    pub(crate) fn finish(mut self) -> Value {
        let status = self.0.wait(LIMIT);
        assert!(status.success(), "{}", self.0.stderr.text());
        parse(&self.0.stdout.to_end().join("\n"))
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
