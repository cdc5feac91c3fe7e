//! `cargo xtask test`: everything a change must pass, in one run with a closing summary.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use clearway_base::clock;

use crate::{docs, scenarios, setup, shell, tidy};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
    /// Real faults between network namespaces, and what is said about them.
    Scenarios,
    /// Examples in the documentation.
    Doctest,
    /// Layers, files, words, lists, manifests.
    Tidy,
    /// Generated pages are as committed.
    Docs,
    /// The fuzz targets and their seeds compile, where a C++ compiler is there.
    Fuzz,
    /// Licences, sources and duplicates of dependencies, where cargo-deny is there.
    Deny,
}

/// What became of a step.
enum End {
    /// With what there is to tell, such as the number of tests.
    Passed(String),
    Failed(String),
    /// With the reason.
    NotRun(String),
}

struct Line {
    step: Step,
    end: End,
    seconds: f64,
}

/// Runs the steps asked for and prints a summary.
///
/// # Errors
/// When a step failed; the message names it.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let mut lines: Vec<Line> = Vec::new();
    for step in steps().filter(|step| wanted(args, *step)) {
        println!("\n── {} ──", name(step));
        let begin = clock::now();
        let end = match obstacle(step, args, &lines) {
            Some(why) => End::NotRun(why),
            None => perform(step, args).unwrap_or_else(End::Failed),
        };
        let end = match end {
            // It was asked for by name.
            End::NotRun(why) if args.only.contains(&step) => End::Failed(why),
            end @ (End::Passed(_) | End::Failed(_) | End::NotRun(_)) => end,
        };
        let line = Line {
            step,
            end,
            seconds: clock::now().since(begin).as_secs_f64(),
        };
        if let End::Failed(why) = &line.end {
            eprintln!("{why}");
        }
        println!("{}", describe(&line));
        lines.push(line);
    }
    summary(&lines)
}

/// Why a step need not be tried.
fn obstacle(step: Step, args: &Args, before: &[Line]) -> Option<String> {
    // Without its programs every test that starts one would fail for the same reason, and without the
    // binary as it is now tests would start an old one.
    let needs: &[Step] = if matches!(step, Step::Unit | Step::Scenarios) {
        &[Step::Setup, Step::Build]
    } else {
        &[]
    };
    let failed = before
        .iter()
        .filter(|line| matches!(line.end, End::Failed(_)))
        .find(|line| args.fail_fast || needs.contains(&line.step))?;
    Some(format!("{} failed", name(failed.step)))
}

/// Every step, in order.
fn steps() -> impl ExactSizeIterator<Item = Step> {
    Step::value_variants().iter().copied()
}

fn wanted(args: &Args, step: Step) -> bool {
    (args.only.is_empty() || args.only.contains(&step)) && !args.skip.contains(&step)
}

/// Its name on the command line.
fn name(step: Step) -> String {
    let value = step.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn perform(step: Step, args: &Args) -> Result<End, String> {
    let silent = |()| End::Passed(String::new());
    match step {
        Step::Setup => setup::run(&setup::Args::default()).map(silent),
        Step::Format => loud(shell::cargo().args(["fmt", "--all", "--check"])).map(silent),
        Step::Lint => {
            let mut clippy = shell::cargo();
            clippy.args(["clippy", "--workspace", "--all-targets"]);
            clippy.args(["--", "-D", "warnings"]);
            loud(&mut clippy).map(silent)
        }
        Step::Build => loud(shell::cargo().args(["build", "-p", "clearway"])).map(silent),
        Step::Unit => match counted(&mut unit(&args.filter))? {
            // A filter with a slip in it must not look like success.
            count if count.passed == 0 => Err("no test ran".to_owned()),
            count => Ok(End::Passed(count.describe())),
        },
        Step::Scenarios => scenarios::gate().map(End::Passed),
        Step::Doctest => counted(shell::cargo().args(["test", "--workspace", "--doc"]))
            .map(|count| End::Passed(count.describe())),
        Step::Tidy => tidy::run().map(silent),
        Step::Docs => docs::check().map(silent),
        Step::Fuzz if shell::find("c++").is_none() => Ok(End::NotRun(
            "there is no C++ compiler, which the fuzzer is built with (package g++)".to_owned(),
        )),
        Step::Fuzz => {
            let mut check = shell::cargo();
            check.args(["check", "--manifest-path", "fuzz/Cargo.toml"]);
            // What is compiled for the rest serves here, too.
            check.args(["--all-targets", "--target-dir", "target"]);
            loud(&mut check).map(silent)
        }
        Step::Deny if shell::find("cargo-deny").is_none() => {
            Ok(End::NotRun("cargo-deny is not installed".to_owned()))
        }
        // Advisories come from the network and change without a change here.
        Step::Deny => {
            let mut deny = shell::cargo();
            deny.args(["deny", "check", "bans", "licenses", "sources"]);
            loud(&mut deny).map(silent)
        }
    }
}

fn announce(command: &Command) {
    println!("$ {}", shell::words(command));
}

/// Runs a command that is shown first.
fn loud(command: &mut Command) -> Result<(), String> {
    announce(command);
    shell::run(command)
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
fn counted(command: &mut Command) -> Result<Count, String> {
    announce(command);
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
    if status.success() {
        Ok(count)
    } else {
        let told = count.describe();
        Err(format!("{told}; `{words}` ended with {status}"))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    /// Ignored in their source or kept out by a filter.
    skipped: u64,
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    fn describe(self) -> String {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        let mut text = format!("{passed} passed, {failed} failed");
        if skipped > 0 {
            text.push_str(&format!(", {skipped} skipped"));
        }
        text
    }

    /// The counts in a closing line of cargo test or nextest.
    fn of(line: &str) -> Self {
        // nextest shows the closing line of a test that failed, indented.
        if !line.starts_with("test result:") && !line.trim_start().starts_with("Summary [") {
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
            // nextest ends tests that hang.
            failed: before("failed") + before("timed"),
            skipped: before("ignored") + before("skipped") + before("filtered"),
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

fn describe(line: &Line) -> String {
    let (word, told) = match &line.end {
        End::Passed(told) => ("ok", told),
        End::Failed(why) => ("FAILED", why),
        End::NotRun(why) => ("not run", why),
    };
    let first = told.lines().next().unwrap_or_default();
    format!(
        "{:8} {word:7} {:7.1} s  {first}",
        name(line.step),
        line.seconds
    )
    .trim_end()
    .to_owned()
}

/// Prints a line per step and what it comes to; no step goes unmentioned.
fn summary(lines: &[Line]) -> Result<(), String> {
    println!("\n── summary ──");
    for line in lines {
        println!("{}", describe(line));
    }
    let named = |wanted: fn(&End) -> bool| {
        let names = lines.iter().filter(|line| wanted(&line.end));
        names.map(|line| name(line.step)).collect::<Vec<_>>()
    };
    let failed = named(|end| matches!(end, End::Failed(_)));
    let passed = named(|end| matches!(end, End::Passed(_)));
    let not_run = named(|end| matches!(end, End::NotRun(_)));
    let left_out: Vec<_> = steps()
        .filter(|step| lines.iter().all(|line| line.step != *step))
        .map(name)
        .collect();
    let mut rest = String::new();
    for (what, names) in [
        ("not run", not_run),
        ("left out on the command line", left_out),
    ] {
        if !names.is_empty() {
            rest.push_str(&format!("; {what}: {}", names.join(", ")));
        }
    }
    if failed.is_empty() {
        println!("{} of {} steps passed{rest}", passed.len(), steps().len());
    }
    std::io::stdout()
        .flush()
        .map_err(|error| error.to_string())?;
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}{rest}", failed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_from_either_runner() {
        let count = |passed, failed, skipped| Count {
            passed,
            failed,
            skipped,
        };
        let cargo = "test result: ok. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out";
        assert_eq!(Count::of(cargo), count(12, 3, 5));
        let nextest =
            "     Summary [   0.031s] 8 tests run: 7 passed (1 slow), 1 timed out, 2 skipped";
        assert_eq!(Count::of(nextest), count(7, 1, 2));
        assert_eq!(Count::of("4 passed away"), Count::default());
        assert_eq!(Count::of(&format!("    {cargo}")), Count::default());
        assert_eq!(count(1, 0, 0).describe(), "1 passed, 0 failed");
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

    fn line(step: Step, end: End) -> Line {
        Line {
            step,
            end,
            seconds: 0.0,
        }
    }

    #[test]
    fn one_failed_step_fails_the_run() {
        let mut lines: Vec<_> = steps()
            .filter(|step| *step != Step::Lint)
            .map(|step| line(step, End::Passed(String::new())))
            .collect();
        assert!(summary(&lines).is_ok());
        for line in &mut lines {
            if line.step == Step::Build {
                line.end = End::Failed("x".to_owned());
            } else if line.step == Step::Unit {
                line.end = End::NotRun("y".to_owned());
            }
        }
        let why = summary(&lines).unwrap_err();
        assert_eq!(
            why,
            "failed: build; not run: unit; left out on the command line: lint"
        );
    }

    #[test]
    fn steps_wait_for_what_they_need() {
        let failed = |step| [line(step, End::Failed(String::new()))];
        let (all, fast) = (
            Args::default(),
            Args {
                fail_fast: true,
                ..Args::default()
            },
        );
        assert!(obstacle(Step::Unit, &all, &failed(Step::Build)).is_some());
        assert!(obstacle(Step::Unit, &all, &failed(Step::Lint)).is_none());
        assert!(obstacle(Step::Unit, &fast, &failed(Step::Lint)).is_some());
        assert!(obstacle(Step::Tidy, &all, &failed(Step::Setup)).is_none());
        assert!(obstacle(Step::Tidy, &fast, &failed(Step::Setup)).is_some());
    }

    #[test]
    fn steps_have_the_names_of_the_command_line() {
        assert_eq!(steps().len(), 11);
        assert!(steps().all(|step| Step::from_str(&name(step), false) == Ok(step)));
        assert_eq!(name(Step::Doctest), "doctest");
    }
}
