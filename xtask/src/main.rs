//! Developer tooling: set-up, the whole test run, tidy, generated docs and the benchmark.
//!
//! `cargo xtask --help` lists the commands. Nothing here is part of the product: it may print, start
//! processes and wait, and needs only cargo and the programs that `setup` names.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool reports on its terminal"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod conformance;
mod corpus;
mod docs;
mod nginx;
mod scenarios;
mod setup;
mod shell;
mod suite;
mod tidy;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Clearway's developer tooling")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the programs that tests and benchmarks need; as root install what is missing.
    Setup(setup::Args),
    /// Run everything a change must pass: format, lints, build, tests, tidy, docs.
    Test(suite::Args),
    /// The same as `test`: what continuous integration runs.
    Ci(suite::Args),
    /// Check layers, files, words, lists and manifests.
    Tidy,
    /// Write the generated pages under docs/.
    Docs(docs::Args),
    /// Cause real faults in network namespaces and compare what is said about them (needs Linux).
    Scenarios(scenarios::Args),
    /// Run the regression tests of another balancer against Clearway in its place (needs Debian's packages).
    Conformance(conformance::Args),
    /// Run `check` over a folder of other people's configuration files, with stubs for what they need.
    Corpus(corpus::Args),
    /// Compare Clearway with HAProxy and NGINX side by side on this machine.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Test(args) | Command::Ci(args) => suite::run(&args),
        Command::Tidy => tidy::run(),
        Command::Docs(args) => docs::run(&args),
        Command::Scenarios(args) => scenarios::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Corpus(args) => corpus::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The top folder of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
