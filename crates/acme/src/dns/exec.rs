//! A program that sets and removes TXT records.
//!
//! It is run as `PROGRAM [ARGS] present|cleanup NAME VALUE`, with the same in the environment as
//! `ACME_ACTION`, `ACME_NAME` and `ACME_VALUE`. It must end with status 0; the last lines of what it prints
//! stand in the failure otherwise.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::TxtRecord;
use crate::encoding::one_line;
use crate::failure::{Failure, FailureKind};

/// So much of the end of the output is kept.
const TAIL: usize = 2_048;

/// So many lines of it are told.
const LINES: usize = 5;

/// How to run the program.
#[derive(Clone)]
pub struct Hook {
    /// The program.
    pub program: PathBuf,
    /// Arguments before action, name and value.
    pub arguments: Vec<String>,
    /// What its environment has besides ours; values are not shown, they may be secrets.
    pub environment: Vec<(String, String)>,
    /// How long it may run; then it and its children are killed.
    pub timeout: Duration,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("program", &self.program)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
pub(super) enum Action {
    Present,
    Cleanup,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Cleanup => "cleanup",
        }
    }
}

impl Hook {
    /// Runs the program to its end.
    pub(super) async fn run(&self, action: Action, record: &TxtRecord) -> Result<(), Failure> {
        let called = format!("{} {}", self.program.display(), action.name());
        let failed = |why: String| {
            Err(Failure::new(
                FailureKind::Hook,
                format!("the DNS hook `{called} {}` {why}", record.owner),
            ))
        };
        let mut child = match self.spawn(action, record) {
            Ok(child) => child,
            Err(error) => return failed(format!("cannot be run: {error}")),
        };
        let group = Group::of(&child);
        let output = tail(child.stdout.take(), child.stderr.take());
        let ran = async {
            let (status, output) = tokio::join!(child.wait(), output);
            (status, output)
        };
        let ended = tokio::time::timeout(self.timeout, ran).await;
        match ended {
            Err(_) => failed(format!("did not end within {} s", self.timeout.as_secs())),
            Ok((Err(error), _)) => failed(format!("was lost: {error}")),
            Ok((Ok(status), _)) if status.success() => {
                group.disarm();
                Ok(())
            }
            Ok((Ok(status), output)) => {
                group.disarm();
                failed(format!("failed ({status}): {}", last_lines(&output)))
            }
        }
    }

    fn spawn(&self, action: Action, record: &TxtRecord) -> std::io::Result<Child> {
        let envs = self.environment.iter();
        Command::new(&self.program)
            .args(&self.arguments)
            .args([action.name(), &record.owner, &record.value])
            .envs(envs.map(|(key, value)| (key, value)))
            .env("ACME_ACTION", action.name())
            .env("ACME_NAME", &record.owner)
            .env("ACME_VALUE", &record.value)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// The process group of a running hook; killed when dropped, so that neither a time-out nor a dropped
/// order leaves children behind.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        )
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended in this moment: then there is nothing to kill.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The end of both streams, mixed as they come.
async fn tail(
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
) -> Vec<u8> {
    let (out, err) = tokio::join!(tail_of(stdout), tail_of(stderr));
    // What was printed as an error says more, so it comes last, where the lines are taken from.
    [out, err].concat()
}

async fn tail_of(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let Some(mut stream) = stream else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    let mut piece = [0; 1_024];
    while let Ok(count) = stream.read(&mut piece).await {
        if count == 0 {
            break;
        }
        kept.extend(piece.iter().take(count));
        let extra = kept.len().saturating_sub(TAIL);
        kept.drain(..extra);
    }
    kept
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "it printed nothing".to_owned();
    }
    let first = lines.len().saturating_sub(LINES);
    let told: Vec<String> = lines
        .iter()
        .skip(first)
        .map(|line| one_line(line, 200))
        .collect();
    told.join(" | ")
}
