//! Runs one scenario: `scenario FILE [--no-verdict | --patient] [--loud] [--peer=NAME [--keep=FOLDER]]`; or judges what
//! a peer left behind when it was run before: `scenario FILE --peer=NAME --kept=FOLDER`.
//!
//! It starts itself again inside namespaces of its own (network, mounts, processes), so that nothing
//! it does outlives it, and prints a line of JSON with what came of it.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program reports on its terminal"
)]

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clearway_testkit::netns;
use clearway_testkit::scenario::{Kind, Options, Report, Scenario, Verdict, judge_kept, run};
use serde_json::json;

const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|known| known == word);
    let Some(file) = words.iter().find(|word| !word.starts_with("--")) else {
        eprintln!(
            "scenario FILE [--no-verdict | --patient] [--loud] [--peer=NAME [--keep=FOLDER | --kept=FOLDER]]"
        );
        return ExitCode::FAILURE;
    };
    let parsed = std::fs::read_to_string(file)
        .map_err(|error| format!("{file}: {error}"))
        .and_then(|text| Scenario::parse(file, &text));
    let scenario = match parsed {
        Ok(scenario) => scenario,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let peer = value("--peer=").and_then(Kind::by_name);
    if let (Some(peer), Some(folder)) = (peer, value("--kept=")) {
        println!(
            "{}",
            told(&scenario, &judge_kept(&scenario, peer, Path::new(folder)))
        );
        return ExitCode::SUCCESS;
    }
    if !has(INSIDE) {
        let error = inside(&words);
        eprintln!("unshare: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(why) = private_folder() {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    let options = Options {
        asks_verdict: !has("--no-verdict"),
        is_patient: has("--patient"),
        is_loud: has("--loud"),
        peer,
        keep: value("--keep=").map(PathBuf::from),
    };
    let report = run(&scenario, &options);
    println!("{}", told(&scenario, &report));
    ExitCode::from(u8::from(!report.problems.is_empty()))
}

/// Becomes the same program in namespaces; returns when that fails.
fn inside(words: &[String]) -> std::io::Error {
    let own = match std::env::current_exe() {
        Ok(path) => path,
        Err(error) => return error,
    };
    let kinds = if netns::is_root() { "-nmpf" } else { "-Urnmpf" };
    // Process ids begin anew inside, and names of temporary folders are made of them.
    let folder = std::env::temp_dir().join("clearway-scenario");
    if let Err(error) = std::fs::create_dir_all(&folder) {
        return error;
    }
    Command::new("unshare")
        .env("TMPDIR", folder)
        .args([kinds, "--kill-child", "--mount-proc", "--"])
        .arg(own)
        .args(words)
        .arg(INSIDE)
        .exec()
}

/// Puts an empty file system over the folder for temporary files, which goes with our mounts.
fn private_folder() -> Result<(), String> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "mode=1777", "scenario"]);
    let done = mount.arg(std::env::temp_dir()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("mount: {other:?}")),
    }
}

fn told(scenario: &Scenario, report: &Report) -> serde_json::Value {
    json!({
        "cause": scenario.cause.map(|cause| cause.id()),
        "faults": report.faults,
        "outcomes": report.outcomes,
        "verdict": said(&report.verdict),
        "offline": said(&report.offline),
        "skipped": report.skipped,
        "problems": report.problems,
        "seconds": report.time.as_secs_f64(),
    })
}

fn said(verdict: &Verdict) -> serde_json::Value {
    json!({
        "place": verdict.place.name(),
        "named": verdict.named,
        "wrong_certain": verdict.is_wrong_certain,
        "whole": verdict.is_whole,
        "problems": verdict.problems,
    })
}
