//! `cargo xtask bench`: Clearway beside HAProxy and NGINX on this machine.
//!
//! One worker each on a core of its own; load and server on another core; rounds interleaved, so that a
//! noisy minute hits everybody. What counts is the CPU time a proxy spends per request: it does not
//! depend on how fast the load generator is. On a machine with two cores that core is the limit, so
//! requests per second say little here.

use std::path::PathBuf;
use std::process::Command;

use crate::{nginx, shell};

mod case;
mod configuration;
mod growth;
mod guard;
mod handshakes;
mod host;
mod idle;
mod load;
mod peer;
mod report;
mod run;
mod tls;

use case::{CASES, Case};
use guard::Folder;
use host::Cores;
use peer::{Peer, Programs};

/// Options of `bench`.
#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub(crate) struct Args {
    /// One short round per case: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Only these cases (repeat, or separate by commas); `--list` shows their names.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Interleaved rounds per case.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one measured run.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// The HAProxy to compare with.
    #[arg(long, default_value = "haproxy", value_name = "PATH")]
    haproxy: String,
    /// The NGINX to compare with; it also plays the server.
    #[arg(long, default_value = "nginx", value_name = "PATH")]
    nginx: String,
    /// The Envoy to compare with in the case of gRPC; without one it is left out with a note.
    #[arg(long, value_name = "PATH")]
    envoy: Option<String>,
    /// Measure this Clearway instead of building one.
    #[arg(long, value_name = "PATH")]
    clearway: Option<PathBuf>,
    /// Also run Clearway from the files of HAProxy and NGINX, except where logs are compared.
    #[arg(long)]
    languages: bool,
    /// Measure the peers alone.
    #[arg(long)]
    peers_only: bool,
    /// Idle connections in the memory cases; with TLS 2,000 at most.
    #[arg(long, default_value_t = 5000)]
    idle: u32,
    /// Write the results to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail when a target is missed.
    #[arg(long)]
    strict: bool,
    /// Print the cases and their targets and end.
    #[arg(long)]
    list: bool,
}

/// What is called besides the proxies.
const PROGRAMS: [&str; 8] = [
    "wrk", "h2load", "nghttp", "nghttpd", "openssl", "taskset", "setpriv", "strace",
];

/// What all cases share.
struct Bench {
    programs: Programs,
    cores: Cores,
    folder: Folder,
    tls: tls::Files,
    peers: Vec<Peer>,
    rounds: u32,
    seconds: u32,
    idle: u32,
    /// The machine in a line, as it was before we pinned ourselves.
    machine: String,
}

/// Runs the chosen cases and reports.
///
/// # Errors
/// When a program is missing or fails, or with `--strict` when a target is missed.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    if args.list {
        for case in CASES {
            println!("{}", case.describe());
        }
        return Ok(());
    }
    let cases = chosen(&args.only)?;
    if cfg!(debug_assertions) && cases.iter().any(|case| case.has_own_load()) {
        return hand_over();
    }
    let bench = prepare(args)?;
    let mut report = report::Report::new(&bench.programs, &bench.machine);
    report.print_head(&bench.cores);
    for case in cases {
        guard::progress(&format!("{} …", case.name));
        match run::case(&bench, case) {
            Ok(outcome) => report.add(case, &outcome),
            Err(why) => report.fail(case, &why),
        }
    }
    report.print_verdicts();
    if let Some(file) = &args.json {
        std::fs::write(file, report.json())
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    report.result(args.strict)
}

fn chosen(only: &[String]) -> Result<Vec<&'static Case>, String> {
    for name in only {
        if !CASES.iter().any(|case| case.name == name) {
            let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
            return Err(format!("no case `{name}`; there are {}", names.join(", ")));
        }
    }
    Ok(CASES
        .iter()
        .filter(|case| only.is_empty() || only.iter().any(|name| name == case.name))
        .collect())
}

fn prepare(args: &Args) -> Result<Bench, String> {
    let clearway = if args.peers_only {
        None
    } else {
        Some(match &args.clearway {
            Some(path) => std::fs::canonicalize(path)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None => build("clearway")?,
        })
    };
    for program in PROGRAMS {
        if shell::find(program).is_none() {
            return Err(format!("{program} is missing: run `cargo xtask setup`"));
        }
    }
    let find = |name: &str| shell::find(name).ok_or_else(|| format!("{name} is missing"));
    let nginx = find(&args.nginx)?;
    let programs = Programs {
        nginx_build: nginx::build(&nginx)?,
        haproxy: find(&args.haproxy)?,
        nginx,
        envoy: match &args.envoy {
            Some(name) => Some(find(name)?),
            None => shell::find("envoy"),
        },
        clearway,
    };
    let cores = Cores::choose()?;
    let machine = host::describe();
    host::settle(&cores)?;
    let mut peers = vec![Peer::Haproxy, Peer::Nginx];
    if programs.clearway.is_some() {
        peers.insert(0, Peer::Clearway);
        if args.languages {
            peers.extend([Peer::ClearwayHaproxy, Peer::ClearwayNginx]);
        }
    }
    let folder = Folder::create()?;
    Ok(Bench {
        tls: tls::Files::create(&folder)?,
        folder,
        peers,
        rounds: if args.quick { 1 } else { args.rounds.max(1) },
        seconds: if args.quick { 1 } else { args.seconds.max(1) },
        idle: if args.quick {
            args.idle.min(500)
        } else {
            args.idle
        },
        programs,
        cores,
        machine,
    })
}

/// Lets a release build of ours do the work: without optimisation our own clients need several times as
/// long for a handshake as a proxy.
fn hand_over() -> Result<(), String> {
    let ours = build("xtask")?;
    // It ends when we do, as everything that it starts.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(ours);
    shell::run(command.args(std::env::args_os().skip(1)))
}

/// Builds the release binary of a package and returns where cargo put it.
fn build(package: &str) -> Result<PathBuf, String> {
    shell::run(shell::cargo().args(["build", "--release", "-p", package]))?;
    let mut metadata = shell::cargo();
    metadata
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(std::process::Stdio::null());
    let text = metadata.output().map_err(|error| error.to_string())?.stdout;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    value
        .get("target_directory")
        .and_then(serde_json::Value::as_str)
        .map(|folder| PathBuf::from(folder).join("release").join(package))
        .ok_or_else(|| "cargo metadata names no target directory".to_owned())
}
