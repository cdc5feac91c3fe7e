//! Child processes whose output is captured and which do not outlive their owner.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::wait::{LIMIT, Watched, within};

/// Lines a child printed so far, and whether it closed the stream.
#[derive(Debug, Default)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

/// A stream of lines that can be waited for; clones see the same lines.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Watched<Output>>);

impl Lines {
    fn follow(source: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                writer.0.change(|o| o.lines.push(text));
                line.clear();
            }
            writer.0.change(|o| o.ended = true);
        });
        lines
    }

    /// What came so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.0.read(|o| o.lines.clone())
    }

    /// What came so far, as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Waits for the first line in which `look` finds something; `None` when the stream ended or
    /// the time is over.
    pub fn find<T>(&self, limit: Duration, mut look: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut next = 0;
        self.0
            .wait(limit, |o| {
                for line in o.lines.iter().skip(next) {
                    if let Some(found) = look(line) {
                        return Some(Some(found));
                    }
                }
                next = o.lines.len();
                o.ended.then_some(None)
            })
            .flatten()
    }

    /// Waits until the stream is over and gives all lines.
    #[must_use]
    pub fn to_end(&self) -> Vec<String> {
        let end = self.0.wait(LIMIT, |o| o.ended.then_some(()));
        assert!(end.is_some(), "the stream did not end: {:?}", self.all());
        self.all()
    }
}

/// A signal to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Reload.
    Hup,
    /// Open log files again.
    Usr1,
    /// Stop gracefully.
    Term,
    /// Ctrl-C.
    Int,
    /// End at once.
    Kill,
    /// Freeze.
    Stop,
    /// Thaw.
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// A child process with captured output; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it prints to standard output.
    pub stdout: Lines,
    /// What it prints to standard error.
    pub stderr: Lines,
    exited: Option<ExitStatus>,
}

impl Process {
    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        Self {
            child,
            stdout: Lines::follow(stdout),
            stderr: Lines::follow(stderr),
            exited: None,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory it holds now.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let text = std::fs::read_to_string(path).expect("a running process");
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let number = line.and_then(|l| l.split_whitespace().next());
        let kilobytes: u64 = number.and_then(|n| n.parse().ok()).expect("VmRSS");
        kilobytes * 1024
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        // The shell's own `kill`: present everywhere, and this crate stays free of unsafe code.
        let script = format!("kill -{} {}", signal.name(), self.id());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "cannot send {signal:?} to {}",
            self.id()
        );
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within the limit.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        within(limit, || self.poll()).unwrap_or_else(|| {
            panic!(
                "process {} still runs after {limit:?}; stderr:\n{}",
                self.child.id(),
                self.stderr.text()
            )
        })
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("wait for a child");
        }
        self.exited
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.poll().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Finds a program.
///
/// # Panics
/// With the name of the package to install when it is missing.
#[must_use]
pub fn program(name: &str, package: &str) -> PathBuf {
    find(name).unwrap_or_else(|| panic!("{name} is missing: apt-get install {package}"))
}

/// Finds a program that no package brings.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Runs a command to its end and gives its standard output.
///
/// # Panics
/// When it fails.
pub fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command)
    }

    #[test]
    fn output_is_captured_line_by_line() {
        let mut process = shell("echo one; echo two >&2; echo three; exit 3");
        assert_eq!(process.wait(LIMIT).code(), Some(3));
        assert_eq!(process.stdout.to_end(), ["one", "three"]);
        assert_eq!(process.stderr.to_end(), ["two"]);
        let found = process
            .stdout
            .find(LIMIT, |l| l.strip_prefix("thr").map(str::to_owned));
        assert_eq!(found.as_deref(), Some("ee"));
        assert_eq!(
            process.stdout.find(LIMIT, |l| (l == "four").then_some(())),
            None
        );
    }

    #[test]
    fn signals_arrive() {
        let mut process =
            shell("trap 'echo hup; exit 7' HUP; echo ready; while :; do sleep 1 & wait $!; done");
        process.stdout.find(LIMIT, |l| (l == "ready").then_some(()));
        process.signal(Signal::Hup);
        process
            .stdout
            .find(LIMIT, |l| (l == "hup").then_some(()))
            .unwrap();
        assert_eq!(process.wait(LIMIT).code(), Some(7));
    }

    #[test]
    #[should_panic(expected = "apt-get install no-such-package")]
    fn a_missing_program_names_its_package() {
        drop(program("no-such-program", "no-such-package"));
    }
}
