//! Runs a table: each case through both programs, several cases at once.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use clearway_testkit::behave::reserved_port;
use clearway_testkit::clearway::binary;
use clearway_testkit::process::{Process, program};
use clearway_testkit::stream::Stream;
use clearway_testkit::wait::{LIMIT, now, within};
use clearway_testkit::{Authority, TempDir};

use crate::case::{Acts, Case, Content, Kind, Step};
use crate::diff;
use crate::observe::Values;
use crate::parse;
use crate::play::{Block, Player};
use crate::servers::Running;

/// Cases that run at once: most of the time of one is waiting.
const AT_ONCE: usize = 4;

/// How often a program is started when an address is in use.
const STARTS: usize = 3;

/// How long a line of a log may take.
const LOG_WAIT: Duration = Duration::from_secs(3);

/// The variable that has the real program on both sides, which shows cases that vary by themselves.
const SELF: &str = "ALIKE_SELF";
/// The variable that only runs the real program and prints what it does.
const ALONE: &str = "ALIKE_ALONE";
/// The variable that writes the list of cases that are not alike yet.
const BLESS: &str = "BLESS";
/// The variable with a part of the names of the cases to run.
const ONLY: &str = "ALIKE_ONLY";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Real,
    Clearway,
}

fn folder(kind: Kind) -> String {
    format!("{}/tests/alike/{}", env!("CARGO_MANIFEST_DIR"), kind.name())
}

/// The tables there are, by name.
pub(crate) fn tables(kind: Kind) -> Vec<String> {
    let files = std::fs::read_dir(folder(kind)).expect("the folder of the tables");
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|f| {
            f.file_name()
                .to_str()?
                .strip_suffix(".txt")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// The list of cases of a table that Clearway does not yet answer as the real program does: what is
/// still to be built. It may only become shorter.
fn list(kind: Kind, table: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/tests/alike/not_yet/{}-{table}.txt", kind.name())
}

fn not_yet(kind: Kind, table: &str) -> Vec<String> {
    let text = std::fs::read_to_string(list(kind, table)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn write_not_yet(kind: Kind, table: &str, mut names: Vec<String>) {
    names.sort();
    let file = list(kind, table);
    if names.is_empty() {
        drop(std::fs::remove_file(file));
        return;
    }
    std::fs::write(&file, names.join("\n") + "\n").expect("the list can be written");
}

/// Runs the cases of a table and fails when they are not alike.
pub(crate) fn table(kind: Kind, name: &str) {
    let file = format!("{name}.txt");
    let text = std::fs::read_to_string(format!("{}/{file}", folder(kind))).expect("the table");
    let mut cases = parse::table(kind, &file, &text);
    if let Some(only) = std::env::var_os(ONLY) {
        let only = only.to_string_lossy().into_owned();
        cases.retain(|c| c.name.contains(&only));
    }
    let not_yet = not_yet(kind, name);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let late = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let judged = judge(kind, case);
                    if judged.is_some() {
                        late.lock()
                            .expect("no panic while held")
                            .push(case.name.clone());
                    }
                    // Asked for by its name a case has to be alike whatever is listed.
                    let is_asked = std::env::var_os(ONLY).is_some();
                    let is_listed = not_yet.contains(&case.name) && !is_asked;
                    if let Some(words) = judged.filter(|_| !is_listed) {
                        let mut failures = failures.lock().expect("no panic while held");
                        failures.push(format!("{}: {}\n{words}", case.place, case.name));
                    }
                }
            });
        }
    });
    if std::env::var_os(BLESS).is_some() {
        // The list only shrinks: a case that was alike and is not any more is a failure, whoever writes it.
        let mut late = late.into_inner().expect("no panic while held");
        late.retain(|name| not_yet.contains(name));
        write_not_yet(kind, name, late);
    }
    let mut failures = failures.into_inner().expect("no panic while held");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} cases of {} {name} are not as they should be (- real, + Clearway)\n\n{}",
        failures.len(),
        cases.len(),
        kind.name(),
        failures.join("\n")
    );
}

/// Runs a case; what is wrong with it.
fn judge(kind: Kind, case: &Case) -> Option<String> {
    let start = now();
    let real = caught(kind, case, Side::Real);
    if std::env::var_os(ALONE).is_some() {
        report(kind, case, &real, start.elapsed());
        return real.err();
    }
    let real = match real {
        Ok(blocks) => blocks,
        Err(words) => return Some(format!("    the real program: {words}\n")),
    };
    let is_self = std::env::var_os(SELF).is_some();
    let other = if is_self { Side::Real } else { Side::Clearway };
    let difference = match caught(kind, case, other) {
        Ok(ours) => compare(&real, &ours),
        Err(words) => Some(format!("    {words}\n")),
    };
    match (&case.differs, difference) {
        (Some(why), None) if !is_self => Some(format!("    no longer differs: {why}\n")),
        (Some(_), Some(_)) if !is_self => None,
        (_, difference) => difference,
    }
}

#[expect(clippy::print_stdout, reason = "what was asked for by ALIKE_ALONE")]
fn report(kind: Kind, case: &Case, blocks: &Result<Vec<Block>, String>, time: Duration) {
    let (kind, ms) = (kind.name(), time.as_millis());
    let mut out = format!("=== {kind}: {} ({}, {ms} ms)\n", case.name, case.place);
    match blocks {
        Ok(blocks) => {
            for block in blocks {
                out.push_str(&format!("  {}\n", block.title));
                for line in &block.lines {
                    out.push_str(&format!("      {line}\n"));
                }
            }
        }
        Err(words) => out.push_str(words),
    }
    println!("{out}");
}

/// The blocks that differ, each line marked.
fn compare(real: &[Block], ours: &[Block]) -> Option<String> {
    let nothing = Block {
        title: String::new(),
        lines: Vec::new(),
    };
    let mut out = String::new();
    for index in 0..real.len().max(ours.len()) {
        let left = real.get(index).unwrap_or(&nothing);
        let right = ours.get(index).unwrap_or(&nothing);
        if left == right {
            continue;
        }
        if left.title == right.title {
            out.push_str(&format!("  {}\n", left.title));
        } else {
            out.push_str(&format!("  {} / {}\n", left.title, right.title));
        }
        out.push_str(&diff::lines(&left.lines, &right.lines));
    }
    (!out.is_empty()).then_some(out)
}

fn caught(kind: Kind, case: &Case, side: Side) -> Result<Vec<Block>, String> {
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| run(kind, case, side)));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Runs a case on one side.
fn run(kind: Kind, case: &Case, side: Side) -> Result<Vec<Block>, String> {
    let authority = Authority::new("authority");
    let mut servers: BTreeMap<char, Running> = BTreeMap::new();
    let mut values = Values::default();
    for name in 'A'..='H' {
        let acts = case.servers.get(&name);
        if acts.is_some() || mentions(case, &name.to_string()) {
            let server = Running::start(name, acts.unwrap_or(&Acts::Name), &authority);
            values.0.push((name.to_string(), server.address.clone()));
            servers.insert(name, server);
        }
    }
    let log = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    log.set_read_timeout(Some(LOG_WAIT)).expect("a time-out");
    let address = log.local_addr().expect("its address").to_string();
    values.0.push(("LOG".to_owned(), address));
    let mut last = String::new();
    for _ in 0..STARTS {
        let folder = TempDir::new();
        let mut values = values.clone();
        let mut guards: Vec<Box<dyn std::any::Any>> = Vec::new();
        for name in ["LISTEN", "LISTEN2", "LISTEN3", "LISTEN4"] {
            if mentions(case, name) {
                let (address, guard) = reserved_port();
                values.0.push((name.to_owned(), address));
                guards.push(Box::new(guard));
            }
        }
        let to_unix = |s: &Step| matches!(s, Step::Open(open) if open.to == "LISTEN_UNIX");
        if case.steps.iter().any(to_unix) {
            let path = format!("unix:{}", folder.file("listen.sock"));
            values.0.push(("LISTEN_UNIX".to_owned(), path));
        }
        values
            .0
            .push(("DIR".to_owned(), folder.path().display().to_string()));
        write_files(case, &folder, &authority, &values);
        let config = folder.write("config", &values.fill(&case.text));
        let mut process = Process::start(command(kind, side, case, &folder, &config));
        match wait_ready(side, &mut process, &values) {
            Ok(()) if case.refused => return Err("starts with what is to be refused".to_owned()),
            Ok(()) => {
                let player = Player {
                    values,
                    servers: &servers,
                    folder: &folder,
                    log: &log,
                };
                let blocks = player.play(case);
                return Ok(blocks);
            }
            Err(words) => last = words,
        }
        let in_use = last.contains("in use");
        // A command line that is not understood says nothing of the file.
        let understood = !last.contains("unexpected argument");
        if case.refused && understood && !in_use && !process.is_running() {
            // Why is each program's own to say, and worth reading once.
            let alone = std::env::var_os(ALONE).is_some();
            let lines = last.lines().filter(|_| alone).map(str::to_owned);
            return Ok(vec![Block {
                title: "refused".to_owned(),
                lines: lines.collect(),
            }]);
        }
        if !in_use {
            break;
        }
    }
    Err(last)
}

/// Whether `$NAME` stands in the configuration, a file or a request.
fn mentions(case: &Case, name: &str) -> bool {
    let text = |content: &Content| match content {
        Content::Text(text) => text.clone(),
        Content::Identity(_) | Content::Authority => String::new(),
    };
    let files: Vec<String> = case.files.iter().map(|(_, c)| text(c)).collect();
    let probe = Values(vec![(name.to_owned(), "\u{1}:\u{1}".to_owned())]);
    let found = |text: &str| probe.fill(text).contains('\u{1}');
    found(&case.text) || files.iter().any(|f| found(f))
}

fn write_files(case: &Case, folder: &TempDir, authority: &Authority, values: &Values) {
    // A date of their own keeps `Last-Modified` and what is made of it the same on both sides.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (name, content) in &case.files {
        let text = match content {
            Content::Text(text) => values.fill(text),
            Content::Authority => authority.pem(),
            Content::Identity(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                authority.issue(&names).pem()
            }
        };
        let path = folder.path().join(name);
        let parent = path.parent().expect("a folder");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        let file = std::fs::File::options().write(true).open(&path);
        file.and_then(|f| f.set_modified(then)).expect("its date");
    }
    for (name, _) in &case.files {
        let path = folder.path().join(name);
        for above in path.ancestors().skip(1) {
            if above != folder.path() && above.starts_with(folder.path()) {
                let file = std::fs::File::open(above);
                file.and_then(|f| f.set_modified(then)).expect("its date");
            }
        }
    }
}

fn command(kind: Kind, side: Side, case: &Case, folder: &TempDir, config: &str) -> Command {
    let root = folder.path().display().to_string();
    let mut command = match (side, kind) {
        (Side::Real, Kind::Haproxy) => {
            let mut command = Command::new(program("haproxy", "haproxy"));
            command.args(["-db", "-f", config]);
            command
        }
        (Side::Real, Kind::Nginx) => {
            let mut command = Command::new(program("nginx", "nginx-light"));
            command.args(["-p", &root, "-e", "stderr", "-c", config]);
            command
        }
        (Side::Clearway, kind) => {
            let mut command = Command::new(binary());
            command.args(["run", &format!("--{}", kind.name()), config]);
            command
        }
    };
    command.current_dir(folder.path());
    command.envs(case.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Waits until a program listens everywhere.
fn wait_ready(side: Side, process: &mut Process, values: &Values) -> Result<(), String> {
    let ready = match side {
        Side::Clearway => process
            .stdout
            .find(LIMIT, |line| (line == "ready").then_some(())),
        Side::Real => {
            let wanted: Vec<&str> = values
                .0
                .iter()
                .filter(|(name, _)| name.starts_with("LISTEN"))
                .map(|(_, address)| address.as_str())
                .collect();
            within(LIMIT, || {
                if !process.is_running() {
                    return Some(None);
                }
                wanted.iter().all(|a| listens(a)).then_some(Some(()))
            })
            .flatten()
        }
    };
    ready.ok_or_else(|| {
        // Its output ends a moment before the program does.
        within(LIMIT, || (!process.is_running()).then_some(()));
        // What a program says at its end may come a moment later.
        let said = if process.is_running() {
            process.stderr.all()
        } else {
            process.stderr.to_end()
        };
        let useful = said.iter().rev().take(12).rev();
        let lines: Vec<&str> = useful.map(String::as_str).collect();
        let text = lines.join("\n      ");
        let hint = if text.contains("ngx_stream_module") {
            "\n      (apt-get install libnginx-mod-stream)"
        } else {
            ""
        };
        format!("does not start:\n      {text}{hint}")
    })
}

/// Whether somebody listens at an address; asked of the kernel, since a connection would be seen.
fn listens(address: &str) -> bool {
    if address.starts_with("unix:") {
        return Stream::connect(address).is_ok();
    }
    let port = address
        .rsplit_once(':')
        .and_then(|(_, p)| p.parse::<u16>().ok());
    let wanted = format!(":{:04X}", port.unwrap_or_default());
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next().unwrap_or_default();
            // State 0A is LISTEN.
            local.ends_with(&wanted) && columns.nth(1) == Some("0A")
        })
    })
}
