//! `cargo xtask test`: everything a change must pass, in one run with a closing summary.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use clearway_base::clock;

use crate::{docs, setup, shell, tidy};

/// Options of `test` and `ci`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Run only these steps (repeat, or separate by commas).
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<Step>,
    /// Leave these steps out (repeat, or separate by commas).
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    skip: Vec<Step>,
    /// Stop at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Passed on to the test runner, e.g. a filter.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// One step of the run, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    /// Programs that tests need.
    Setup,
    /// `cargo fmt --check`.
    Format,
    /// Clippy, warnings are errors.
    Lint,
    /// The binary, which tests start.
    Build,
    /// Unit and integration tests.
    Unit,
    /// Examples in the documentation.
    Doctest,
    /// Layers, files, words, lists, manifests.
    Tidy,
    /// Generated pages are as committed.
    Docs,
}

const STEPS: [Step; 8] = [
    Step::Setup,
    Step::Format,
    Step::Lint,
    Step::Build,
    Step::Unit,
    Step::Doctest,
    Step::Tidy,
    Step::Docs,
];

struct Line {
    step: Step,
    result: Result<String, String>,
    seconds: f64,
}

/// Runs the steps asked for and prints a summary.
///
/// # Errors
/// When a step failed; the message names it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let mut lines: Vec<Line> = Vec::new();
    for step in STEPS.into_iter().filter(|step| wanted(args, *step)) {
        println!("\n── {} ──", name(step));
        let begin = clock::now();
        let result = perform(step, args);
        if let Err(why) = &result {
            eprintln!("{}: {why}", name(step));
        }
        let failed = result.is_err();
        lines.push(Line {
            step,
            result,
            seconds: clock::now().since(begin).as_secs_f64(),
        });
        // Without its programs every test that starts one would fail for the same reason.
        if failed && (args.fail_fast || step == Step::Setup) {
            break;
        }
    }
    summary(&lines)
}

fn wanted(args: &Args, step: Step) -> bool {
    (args.only.is_empty() || args.only.contains(&step)) && !args.skip.contains(&step)
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Setup => "setup",
        Step::Format => "format",
        Step::Lint => "lint",
        Step::Build => "build",
        Step::Unit => "unit",
        Step::Doctest => "doctest",
        Step::Tidy => "tidy",
        Step::Docs => "docs",
    }
}

fn perform(step: Step, args: &Args) -> Result<String, String> {
    let silent = |()| String::new();
    match step {
        Step::Setup => setup::run(&setup::Args::default()).map(silent),
        Step::Format => shell::run(shell::cargo().args(["fmt", "--all", "--check"])).map(silent),
        Step::Lint => {
            let mut clippy = shell::cargo();
            clippy.args(["clippy", "--workspace", "--all-targets"]);
            clippy.args(["--", "-D", "warnings"]);
            shell::run(&mut clippy).map(silent)
        }
        Step::Build => shell::run(shell::cargo().args(["build", "-p", "clearway"])).map(silent),
        Step::Unit => counted(&mut unit(&args.filter)),
        Step::Doctest => counted(shell::cargo().args(["test", "--workspace", "--doc"])),
        Step::Tidy => tidy::run().map(silent),
        Step::Docs => docs::check().map(silent),
    }
}

fn unit(filter: &[String]) -> Command {
    let mut command = shell::cargo();
    if shell::find("cargo-nextest").is_some() {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
        command.args(filter);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
        command.args(["--no-fail-fast", "--"]);
        command.args(filter);
    }
    command
}

/// Runs a test command, passes its output on and counts the tests in it.
fn counted(command: &mut Command) -> Result<String, String> {
    let words = shell::words(command);
    let mut child = command
        // Colours would hide the closing lines that are counted.
        .env("CARGO_TERM_COLOR", "never")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run `{words}`: {error}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let count = std::thread::scope(|scope| {
        let err = scope.spawn(|| stderr.map_or_else(Count::default, |from| pass(from, true)));
        let out = stdout.map_or_else(Count::default, |from| pass(from, false));
        out.plus(err.join().unwrap_or_default())
    });
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for `{words}`: {error}"))?;
    let told = format!("{} passed, {} failed", count.passed, count.failed);
    if status.success() {
        Ok(told)
    } else {
        Err(format!("{told}; `{words}` ended with {status}"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }

    /// The counts in a closing line of cargo test or nextest.
    fn of(line: &str) -> Self {
        let line = line.trim_start();
        if !line.starts_with("test result:") && !line.starts_with("Summary [") {
            return Self::default();
        }
        let before = |word: &str| {
            line.split([' ', ';', ','])
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .windows(2)
                .find(|pair| pair.last() == Some(&word))
                .and_then(|pair| pair.first()?.parse().ok())
                .unwrap_or(0)
        };
        Self {
            passed: before("passed"),
            failed: before("failed"),
        }
    }
}

fn pass(from: impl Read, to_stderr: bool) -> Count {
    let mut count = Count::default();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        count = count.plus(Count::of(&line));
        if to_stderr {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
    count
}

fn summary(lines: &[Line]) -> Result<(), String> {
    println!("\n── summary ──");
    let mut failed = Vec::new();
    for line in lines {
        let (word, told) = match &line.result {
            Ok(told) => ("ok", told),
            Err(why) => {
                failed.push(name(line.step));
                ("FAILED", why)
            }
        };
        let first = told.lines().next().unwrap_or_default();
        println!(
            "{:8} {word:6} {:7.1} s  {first}",
            name(line.step),
            line.seconds
        );
    }
    std::io::stdout()
        .flush()
        .map_err(|error| error.to_string())?;
    if failed.is_empty() {
        println!("all {} steps passed", lines.len());
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_either_runner() {
        let cargo = "test result: ok. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(
            Count::of(cargo),
            Count {
                passed: 12,
                failed: 3
            }
        );
        let nextest = "     Summary [   0.031s] 8 tests run: 7 passed, 1 failed, 0 skipped";
        assert_eq!(
            Count::of(nextest),
            Count {
                passed: 7,
                failed: 1
            }
        );
        assert_eq!(Count::of("4 passed away"), Count::default());
    }

    #[test]
    fn steps_can_be_selected() {
        let only = Args {
            only: vec![Step::Tidy],
            ..Args::default()
        };
        assert!(wanted(&only, Step::Tidy) && !wanted(&only, Step::Lint));
        let skip = Args {
            skip: vec![Step::Lint],
            ..Args::default()
        };
        assert!(wanted(&skip, Step::Tidy) && !wanted(&skip, Step::Lint));
    }

    #[test]
    fn one_failed_step_fails_the_run() {
        let line = |result| Line {
            step: Step::Docs,
            result,
            seconds: 0.0,
        };
        assert!(summary(&[line(Ok(String::new()))]).is_ok());
        let why = summary(&[line(Ok(String::new())), line(Err("x".to_owned()))]).unwrap_err();
        assert!(why.contains("docs"));
    }
}
