//! What the offline diagnosis makes of a peer's configuration and logs.

use std::path::{Path, PathBuf};
use std::process::Command;

use clearway_doctor::cause::Cause;
use serde_json::Value;

use super::running::file_name;
use super::{Kind, alike};
use crate::scenario::file::Scenario;
use crate::scenario::run::sibling;
use crate::scenario::verdict::{Verdict, judged};

/// Files that a balancer left behind.
#[derive(Clone, Debug)]
pub(in crate::scenario) struct Logs {
    /// Its configuration and the option that it is given with.
    config: Option<(&'static str, PathBuf)>,
    /// Its logs.
    logs: Vec<PathBuf>,
}

impl Logs {
    /// Those of a peer, in the folder of the scenario.
    pub(in crate::scenario) fn of(kind: Kind, folder: &Path) -> Self {
        let folder = folder.join(kind.name());
        let option = match kind {
            Kind::Nginx => Some("--nginx"),
            Kind::Haproxy => Some("--haproxy"),
            Kind::Envoy => None,
        };
        let names: &[&str] = match kind {
            Kind::Nginx => &["error.log", "access.log"],
            // What it says before it listens goes to the terminal alone.
            Kind::Haproxy => &["haproxy.log", "stderr.log"],
            Kind::Envoy => &["access.log"],
        };
        let logs = names.iter().map(|name| folder.join(name));
        Self {
            config: option.map(|option| (option, folder.join(file_name(kind)))),
            logs: logs.filter(|log| !is_empty(log)).collect(),
        }
    }

    /// A log of Clearway's own.
    pub(in crate::scenario) fn own(log: PathBuf) -> Self {
        Self {
            config: None,
            logs: vec![log],
        }
    }

    /// All the text in them.
    pub(in crate::scenario) fn text(&self) -> String {
        let read = |log: &PathBuf| std::fs::read(log).unwrap_or_default();
        let texts = self.logs.iter().map(read);
        texts
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    /// All the text in them, and in the configuration, for who wants to see it.
    pub(in crate::scenario) fn show(&self) -> String {
        let config = self.config.iter().map(|(_, path)| path);
        let mut text = String::new();
        for path in config.chain(&self.logs) {
            let bytes = std::fs::read(path).unwrap_or_default();
            text.push_str(&format!("--- {}\n", path.display()));
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }

    /// Copies them to a folder.
    pub(in crate::scenario) fn copy_to(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let config = self.config.iter().map(|(_, path)| path);
        for path in config.chain(&self.logs) {
            let name = path.file_name().unwrap_or_default();
            std::fs::copy(path, folder.join(name))?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(sibling("clearway"));
        command.arg("doctor");
        if let Some((option, path)) = &self.config {
            command.arg(option).arg(path);
        }
        for log in &self.logs {
            command.arg("--log").arg(log);
        }
        command.args(["--no-probe", "--format", "json"]);
        command
    }
}

fn is_empty(file: &Path) -> bool {
    file.metadata().map_or(true, |meta| meta.len() == 0)
}

/// The verdict on a peer's files, compared with what is wrong.
pub(in crate::scenario) fn ask(kind: Kind, logs: &Logs, scenario: &Scenario) -> Verdict {
    let own = scenario.peers.iter().find(|peer| peer.kind == kind);
    let mut also = scenario.expect.also.clone();
    also.extend(own.iter().flat_map(|peer| peer.also.iter().copied()));
    also.extend(
        scenario
            .cause
            .iter()
            .flat_map(|cause| alike::of(Some(kind), *cause, &scenario.expect.faults)),
    );
    told(logs, scenario, also)
}

/// The verdict on Clearway's own log of failures.
pub(in crate::scenario) fn own(logs: &Logs, scenario: &Scenario) -> Verdict {
    let mut also = scenario.expect.also.clone();
    also.extend(
        scenario
            .cause
            .iter()
            .flat_map(|cause| alike::of(None, *cause, &scenario.expect.faults)),
    );
    told(logs, scenario, also)
}

fn told(logs: &Logs, scenario: &Scenario, mut also: Vec<Cause>) -> Verdict {
    also.sort_by_key(|cause| cause.id());
    also.dedup();
    also.retain(|cause| Some(*cause) != scenario.cause);
    match verdicts(logs) {
        Ok(list) => judged(&list, scenario, &also),
        Err(why) => Verdict::failed(why),
    }
}

fn verdicts(logs: &Logs) -> Result<Vec<Value>, String> {
    if logs.logs.is_empty() && logs.config.is_none() {
        return Ok(Vec::new());
    }
    let done = logs.command().output();
    let done = done.map_err(|error| format!("the doctor: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let answer: Value = serde_json::from_slice(&done.stdout)
        .map_err(|_| format!("the doctor said no JSON, {}: {said}", done.status))?;
    let list = answer["verdicts"].as_array();
    list.cloned()
        .ok_or_else(|| format!("no verdicts in {answer}"))
}
