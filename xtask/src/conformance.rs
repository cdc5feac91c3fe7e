//! `cargo xtask conformance`: other people's regression tests, run against Clearway in their program's place.
//!
//! The tests belong to the project they come from and stay there: they are fetched when they are run, and
//! what is known of them here is how they say what they need.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::shell;

mod case;
mod fetch;
mod program;
mod runner;
mod table;

use case::Case;
use program::Program;
use runner::{Run, Verdict};

/// How many run at the same time. They wait for their own time-outs more than for a processor, but some of
/// them fail when an answer takes more than a few hundred milliseconds.
const SIDE_BY_SIDE: usize = 2;

/// Options of `conformance`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose tests.
    suite: Suite,
    /// The program under test instead of Clearway, to see what the harness makes of the original.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Only tests whose path contains this text (repeat for several).
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Write what came of each test to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// After so many seconds a test has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    patience: u32,
    /// How many tests run at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = SIDE_BY_SIDE)]
    jobs: usize,
}

/// Whose tests there are.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Suite {
    /// The regression tests of HAProxy 2.6, run by varnishtest.
    Haproxy,
}

/// Fetches the tests if they are not there, runs them and prints a table by class.
///
/// # Errors
/// When something cannot be fetched or the program under test does not answer. Tests that fail are no error:
/// they are what the table is for.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    match args.suite {
        Suite::Haproxy => haproxy(args),
    }
}

fn haproxy(args: &Args) -> Result<(), String> {
    let file = match &args.program {
        Some(program) => program.canonicalize().map_err(told(program))?,
        None => build()?,
    };
    let place = place()?;
    let fetched = fetch::haproxy(&place)?;
    let program = Program::link(&file, &place.join("bin"))?;
    println!("conformance: {}", program.describe());
    let cases = case::find(&fetched.tests, &args.only)?;
    let folder = runner::Folder::make()?;
    let run = Run {
        program: &program,
        fetched: &fetched,
        folder: &folder,
        logs: place.join("logs"),
        patience: args.patience,
    };
    let mut done = side_by_side(&run, cases, args.jobs.max(1));
    done.sort_by(|one, other| one.0.name.cmp(&other.0.name));
    print!("{}", table::summary(&done));
    println!("logs of what failed: {}", run.logs.display());
    if let Some(file) = &args.report {
        let text = table::json(&done, &program);
        std::fs::write(file, text).map_err(told(file))?;
    }
    Ok(())
}

/// `target/conformance`.
fn place() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = own.ancestors().nth(2);
    let place = target.ok_or("the folder of programs is not known")?;
    Ok(place.join("conformance"))
}

/// Builds Clearway and says where it is: beside this program.
fn build() -> Result<PathBuf, String> {
    let mut cargo = shell::cargo();
    shell::run(cargo.args(["build", "--quiet", "-p", "clearway"]))?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(own.with_file_name("clearway"))
}

/// Runs the tests that the program can have and says why of the others.
fn side_by_side(run: &Run<'_>, cases: Vec<Case>, jobs: usize) -> Vec<(Case, Verdict)> {
    let queue = Mutex::new(VecDeque::from(cases));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    // A guard in the head of a `while let` would live as long as its body.
                    let next = lock(&queue).pop_front();
                    let Some(case) = next else { break };
                    let verdict = run.judge(&case);
                    println!("{}", table::line(&case, &verdict));
                    lock(&done).push((case, verdict));
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong with a file, in words.
fn told(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
