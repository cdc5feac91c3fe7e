//! The balancer as a child process.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::message::Response;
use crate::metrics::Metrics;
use crate::process::{Process, Signal};
use crate::temp::TempDir;
use crate::wait::{LIMIT, until};

/// A configuration on its way to a running balancer.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    text: String,
    values: Vec<(String, String)>,
    open_files: Option<u32>,
    umask: Option<u32>,
    stderr: Option<String>,
    arguments: Vec<String>,
    user: Option<String>,
}

impl Setup {
    /// Replaces `$NAME` in the configuration, in this one and in later ones.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.stand_for(name, value.into());
        self
    }

    /// Limits the number of files the balancer may open.
    #[must_use]
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Sets the mask that takes permissions from the files the balancer makes.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Runs the balancer as another user, which only root can.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sends standard error to a file, where nothing is waited for.
    #[must_use]
    pub fn stderr_to(mut self, path: &str) -> Self {
        self.stderr = Some(path.to_owned());
        self
    }

    /// Adds a command-line argument to `run`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes a file into the folder of the configuration, which `$DIR` stands for; its name may have
    /// folders in it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        self.folder.write(name, text);
        self
    }

    /// Path of a file in the folder of the configuration, which `$DIR` stands for.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// Has `$NAME` stand for `value`, whatever it stood for before.
    fn stand_for(&mut self, name: &str, value: String) {
        self.values.retain(|(known, _)| known != name);
        self.values.push((name.to_owned(), value));
        // Longer names first, so that `$AB` is not taken for `$A`.
        self.values
            .sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    }

    /// The configuration as it will be written.
    fn render(&self, text: &str) -> String {
        let mut text = complete(text);
        for (name, value) in &self.values {
            text = text.replace(&format!("${name}"), value);
        }
        text.replace("$DIR", &self.folder.path().display().to_string())
    }

    /// The program, by way of a shell where something is to be set before it runs.
    fn command(&self) -> Command {
        let mut script = String::new();
        if let Some(limit) = self.open_files {
            script.push_str(&format!("ulimit -n {limit} && "));
        }
        if let Some(mask) = self.umask {
            script.push_str(&format!("umask {mask:03o} && "));
        }
        if let Some(path) = &self.stderr {
            script.push_str(&format!("exec 2>>'{path}' && "));
        }
        if script.is_empty() && self.user.is_none() {
            return Command::new(binary());
        }
        script.push_str("exec ");
        if let Some(user) = &self.user {
            script.push_str(&format!("setpriv --reuid={user} --clear-groups -- "));
        }
        script.push_str("\"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(binary());
        shell
    }

    /// Starts the balancer and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; with what it printed.
    #[must_use]
    pub fn start(self) -> Clearway {
        let text = self.render(&self.text);
        let path = self.folder.write("clearway.toml", &text);
        let mut command = self.command();
        command.args(["run", "-c", &path]).args(&self.arguments);
        let process = Process::start(command);
        let mut clearway = Clearway {
            process,
            setup: self,
            listeners: Vec::new(),
        };
        let ready = clearway
            .process
            .stdout
            .find(LIMIT, |line| (line == "ready").then_some(()));
        assert!(
            ready.is_some(),
            "not ready\n--- configuration\n{text}\n--- stdout\n{}\n--- stderr\n{}",
            clearway.process.stdout.text(),
            clearway.process.stderr.text()
        );
        clearway.listeners = clearway
            .process
            .stdout
            .all()
            .iter()
            .filter_map(|line| {
                let (name, address) = line.strip_prefix("listening ")?.split_once(' ')?;
                Some((name.to_owned(), address.to_owned()))
            })
            .collect();
        clearway
    }
}

/// Adds what a test does not care about: two workers, an admin listener, JSON logs on the standard
/// streams, where they can be waited for, and no probes at failures: servers count what comes.
fn complete(text: &str) -> String {
    let mut text = text.to_owned();
    if !text.contains("[process]") {
        text.push_str("\n[process]\nworkers = 2\n");
    }
    if !text.contains("[admin]") {
        text.push_str("\n[admin]\nlisten = \"127.0.0.1:0\"\n");
    }
    if !text.contains("[log]") {
        text.push_str("\n[log]\naccess = \"stdout\"\nformat = \"json\"\nfaults = \"stderr\"\n");
    }
    if !text.contains("[incidents]") {
        text.push_str("\n[incidents]\nprobes = false\n");
    }
    text
}

/// The program under test, which Cargo builds before it runs the tests of its package.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_clearway") {
        return path.into();
    }
    let test = std::env::current_exe().expect("own path");
    // Beside a program, above a test.
    let mut folders = test.ancestors().skip(1).take(2);
    let path = folders.find_map(|f| Some(f.join("clearway")).filter(|p| p.is_file()));
    path.unwrap_or_else(|| panic!("clearway is not built for {}", test.display()))
}

/// A running balancer; killed when dropped.
#[derive(Debug)]
pub struct Clearway {
    process: Process,
    setup: Setup,
    listeners: Vec<(String, String)>,
}

impl Clearway {
    /// A configuration to be completed and started. In it `$DIR` is a temporary folder and
    /// `$NAME` what [`Setup::set`] says; `[process]`, `[admin]`, `[log]` and `[incidents]` are added when absent.
    #[must_use]
    pub fn setup(toml: &str) -> Setup {
        Setup {
            folder: TempDir::new(),
            text: toml.to_owned(),
            values: Vec::new(),
            open_files: None,
            umask: None,
            stderr: None,
            arguments: Vec::new(),
            user: None,
        }
    }

    /// Starts the balancer with a configuration.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(toml: &str) -> Self {
        Self::setup(toml).start()
    }

    /// Starts a balancer with one HTTP listener `web` and one backend `app` with these servers.
    /// `backend` is added to the backend's section, and may open further sections.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn over(servers: &[&str], backend: &str) -> Self {
        Self::start(&simple(servers, backend))
    }

    /// All addresses of a listener, in the order of its `bind`.
    #[must_use]
    pub fn addresses(&self, listener: &str) -> Vec<&str> {
        self.listeners
            .iter()
            .filter(|(name, _)| name == listener)
            .map(|(_, address)| address.as_str())
            .collect()
    }

    /// The first address of a listener.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self, listener: &str) -> &str {
        self.addresses(listener)
            .first()
            .copied()
            .unwrap_or_else(|| panic!("no listener {listener}: {:?}", self.listeners))
    }

    /// A client on a new connection to listener `web`.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.address("web"))
    }

    /// `GET target` on a new connection to listener `web`.
    pub fn get(&self, target: &str) -> Response {
        self.client().get(target)
    }

    /// A client on a new connection to the admin listener.
    #[must_use]
    pub fn admin(&self) -> Client {
        Client::connect(self.address("admin")).to_host("localhost")
    }

    /// The metrics now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::fetch(self.address("admin"))
    }

    /// Waits until the sum of a metric reaches `at_least`, and gives it.
    ///
    /// # Panics
    /// When it does not; with the samples of that name.
    pub fn wait_metric(&self, name: &str, labels: &[(&str, &str)], at_least: f64) -> f64 {
        let mut last = Vec::new();
        let reached = crate::wait::within(LIMIT, || {
            let metrics = self.metrics();
            last = metrics.samples(name, &[]).cloned().collect();
            let sum = metrics.sum(name, labels);
            (sum >= at_least).then_some(sum)
        });
        reached.unwrap_or_else(|| panic!("{name}{labels:?} never reached {at_least}: {last:#?}"))
    }

    /// The servers as the admin API shows them.
    ///
    /// # Panics
    /// When the answer is not JSON.
    #[must_use]
    pub fn servers(&self) -> Value {
        self.json("/api/v1/servers")
    }

    /// The entry of one server in [`Clearway::servers`], by address or name.
    ///
    /// # Panics
    /// When there is none.
    pub fn server(&self, name: &str) -> Value {
        let all = self.servers();
        find_server(&all, name).unwrap_or_else(|| panic!("no server {name} in {all:#}"))
    }

    /// Waits until a server's state is one of `states`, and gives its entry.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait_state(&self, server: &str, states: &[&str]) -> Value {
        let mut last = Value::Null;
        let found = crate::wait::within(LIMIT, || {
            last = self.servers();
            let entry = find_server(&last, server)?;
            let state = entry.get("state")?.as_str()?.to_owned();
            states.contains(&state.as_str()).then_some(entry)
        });
        found.unwrap_or_else(|| panic!("{server} is never {states:?}: {last:#}"))
    }

    /// The receipt of a failed request.
    ///
    /// # Panics
    /// When there is none.
    pub fn receipt(&self, id: &str) -> Value {
        until(&format!("receipt {id}"), || {
            let response = self.admin().get(&format!("/api/v1/receipts/{id}"));
            (response.status == 200).then(|| serde_json::from_slice(&response.body).expect("JSON"))
        })
    }

    /// The receipt of a failed request in words.
    ///
    /// # Panics
    /// When there is none.
    pub fn words(&self, id: &str) -> String {
        until(&format!("receipt {id}"), || {
            let target = format!("/api/v1/receipts/{id}?format=text");
            let response = self.admin().get(&target);
            (response.status == 200).then(|| response.text())
        })
    }

    /// A JSON document of the admin API.
    ///
    /// # Panics
    /// When the status is not 200 or the body not JSON.
    #[must_use]
    pub fn json(&self, target: &str) -> Value {
        let response = self.admin().get(target);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        serde_json::from_slice(&response.body)
            .unwrap_or_else(|error| panic!("{target}: {error}: {}", response.text()))
    }

    /// Waits for the record of the failed request with this id in the faults log.
    ///
    /// # Panics
    /// When it does not come.
    pub fn fault(&self, id: &str) -> FaultRecord {
        self.find_fault(|record| record.json["id"] == id)
    }

    /// Waits for the first record with this fault code in the faults log.
    ///
    /// # Panics
    /// When it does not come.
    pub fn fault_with(&self, code: &str) -> FaultRecord {
        self.find_fault(|record| record.code() == code)
    }

    fn find_fault(&self, wanted: impl Fn(&FaultRecord) -> bool) -> FaultRecord {
        self.process
            .stderr
            .find(LIMIT, |line| {
                let record = FaultRecord::parse(line)?;
                wanted(&record).then_some(record)
            })
            .unwrap_or_else(|| {
                panic!(
                    "the record is not in the faults log:\n{}",
                    self.process.stderr.text()
                )
            })
    }

    /// All records of failed requests so far.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultRecord> {
        self.stderr()
            .iter()
            .filter_map(|line| FaultRecord::parse(line))
            .collect()
    }

    /// Waits for the first line of the JSON access log in which `wanted` holds.
    ///
    /// # Panics
    /// When it does not come.
    pub fn access(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.process
            .stdout
            .find(LIMIT, |line| {
                let record: Value = serde_json::from_str(line).ok()?;
                wanted(&record).then_some(record)
            })
            .unwrap_or_else(|| panic!("not in the access log:\n{}", self.process.stdout.text()))
    }

    /// What it printed to standard error.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.process.stderr.all()
    }

    /// What it printed to standard output.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout.all()
    }

    /// Waits for a line on standard error that contains `text`.
    ///
    /// # Panics
    /// When it does not come.
    pub fn wait_stderr(&self, text: &str) -> String {
        self.process
            .stderr
            .find(LIMIT, |line| line.contains(text).then(|| line.to_owned()))
            .unwrap_or_else(|| panic!("{text:?} is not in:\n{}", self.process.stderr.text()))
    }

    /// Path of a file in `$DIR`.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.setup.folder.file(name)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Changes what `$NAME` stands for in later configurations.
    pub fn set(&mut self, name: &str, value: &str) {
        self.setup.stand_for(name, value.to_owned());
    }

    /// Writes another configuration over the first, without a reload.
    pub fn rewrite(&self, toml: &str) {
        let text = self.setup.render(toml);
        self.setup.folder.write("clearway.toml", &text);
    }

    /// Writes another configuration and reloads it by SIGHUP; gives `ok` or `failed` as the metric
    /// of reloads counts it.
    ///
    /// # Panics
    /// When no reload is counted.
    pub fn reload(&self, toml: &str) -> &'static str {
        self.rewrite(toml);
        self.hup()
    }

    /// Reloads the present file by SIGHUP.
    ///
    /// # Panics
    /// When no reload is counted.
    pub fn hup(&self) -> &'static str {
        const NAME: &str = "clearway_reloads_total";
        let before = self.metrics();
        self.process.signal(Signal::Hup);
        until("a reload to be counted", || {
            let after = self.metrics();
            if after.sum(NAME, &[]) <= before.sum(NAME, &[]) {
                return None;
            }
            let ok = |m: &Metrics| m.sum(NAME, &[("result", "ok")]);
            Some(if ok(&after) > ok(&before) {
                "ok"
            } else {
                "failed"
            })
        })
    }

    /// Asks for a graceful end and waits for it.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        self.process.signal(Signal::Term);
        self.process.wait(Duration::from_secs(40))
    }

    /// Asks for a graceful end and returns at once.
    pub fn terminate(&self) {
        self.process.signal(Signal::Term);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait(Duration::from_secs(40))
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        self.process.signal(Signal::Kill);
        self.process.wait(LIMIT);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Bytes of memory it holds now.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.process.memory()
    }
}

/// Text of a configuration with listener `web` and backend `app`.
#[must_use]
pub fn simple(servers: &[&str], backend: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|s| format!("{s:?}")).collect();
    format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n\n[backend.app]\nservers = [{}]\n{backend}\n",
        servers.join(", ")
    )
}

/// Text of a configuration with listener `web`, which speaks TLS with these settings, and backend `app`.
#[must_use]
pub fn secure(tls: &str, servers: &[&str], backend: &str) -> String {
    simple(servers, backend).replacen("\n\n", &format!("\ntls = {{ {tls} }}\n\n"), 1)
}

fn find_server(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Array(entries) => entries.iter().find_map(|e| find_server(e, name)),
        Value::Object(fields) => {
            let mine = ["address", "name", "server"]
                .iter()
                .any(|key| fields.get(*key).and_then(Value::as_str) == Some(name));
            if mine && fields.contains_key("state") {
                return Some(value.clone());
            }
            fields.values().find_map(|e| find_server(e, name))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// One record of the faults log.
#[derive(Clone, Debug)]
pub struct FaultRecord {
    /// The record as it stands there.
    pub json: Value,
}

impl FaultRecord {
    /// Reads a line; `None` when it is something else.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(line).ok()?;
        json.get("fault").filter(|f| !f.is_null())?;
        Some(Self { json })
    }

    /// Code of the fault that the request failed with.
    #[must_use]
    pub fn code(&self) -> &str {
        code_of(&self.json["fault"])
    }

    /// Id of the request.
    #[must_use]
    pub fn id(&self) -> &str {
        self.json["id"].as_str().unwrap_or_default()
    }

    /// Status sent to the client.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.json["status"].as_u64().unwrap_or(0)
    }

    /// The tries.
    #[must_use]
    pub fn attempts(&self) -> &[Value] {
        self.json["attempts"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Codes of the tries' faults, empty for one without.
    #[must_use]
    pub fn attempt_codes(&self) -> Vec<&str> {
        self.attempts()
            .iter()
            .map(|a| code_of(&a["fault"]))
            .collect()
    }
}

/// The code of a fault, which is written as a text or as an object with a `code`.
fn code_of(fault: &Value) -> &str {
    fault
        .as_str()
        .or_else(|| fault.get("code").and_then(Value::as_str))
        .or_else(|| fault.get("kind").and_then(Value::as_str))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_sections_added() {
        let mut setup = Clearway::setup("[admin]\nlisten = \"off\"\na = \"$AB $A $DIR\"")
            .set("A", "1")
            .set("AB", "2");
        let text = setup.render(&setup.text);
        assert!(text.contains("a = \"2 1 /"), "{text}");
        setup.stand_for("AB", "3".to_owned());
        let again = setup.render(&setup.text);
        assert!(again.contains("a = \"3 1 /"), "{again}");
        assert_eq!(text.matches("[admin]").count(), 1);
        assert!(text.contains("[process]") && text.contains("[log]"));
    }

    #[test]
    fn servers_are_found_wherever_they_stand() {
        let all = serde_json::json!({"backends": [{"name": "app", "servers": [
            {"address": "127.0.0.1:1", "state": "up"}, {"address": "127.0.0.1:2", "state": "down"}]}]});
        assert_eq!(find_server(&all, "127.0.0.1:2").unwrap()["state"], "down");
        assert_eq!(find_server(&all, "app"), None);
    }

    #[test]
    fn fault_records_are_told_from_other_lines() {
        assert!(FaultRecord::parse("listening web 1").is_none());
        assert!(FaultRecord::parse(r#"{"fault": null}"#).is_none());
        let record = FaultRecord::parse(
            r#"{"fault": {"code": "a"}, "attempts": [{"fault": "b"}, {"fault": null}]}"#,
        )
        .unwrap();
        assert_eq!(record.code(), "a");
        assert_eq!(record.attempt_codes(), ["b", ""]);
    }
}
