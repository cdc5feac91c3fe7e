//! `clearway doctor`: why requests fail, from configurations, logs, reports and probes.
//!
//! Everything that is given goes into one docket; what may be probed is probed; the report says what came
//! of it. What cannot be read is said and does not keep the rest from being examined.

mod configs;
mod input;
mod live;
mod logs;
mod look;
mod options;
mod output;
mod pages;
mod probe;
mod reach;
mod reports;
mod sources;
mod spot;
mod terminal;

use std::process::ExitCode;

use clap::Subcommand;
use clearway_doctor::{Cause, Docket};

pub(super) use options::Options;

use self::sources::Sources;

/// Arguments of `doctor`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    page: Option<Page>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Page {
    /// Tell all about one cause of failures: what it looks like, what proves it, what mends it.
    Explain {
        /// Its id, as it stands in reports.
        cause: String,
        /// Columns of the text [default: those of the terminal].
        #[arg(long, value_name = "N")]
        width: Option<usize>,
    },
    /// List every cause that is known.
    Causes,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        match self.page {
            Some(Page::Explain { cause, width }) => pages::explain(&cause, width),
            Some(Page::Causes) => pages::list(Cause::ALL),
            None => Examination::new(self.options).run(),
        }
    }
}

/// What is examined, and what came of it so far.
struct Examination {
    options: Options,
    docket: Docket,
    /// What a reader has to know besides the verdicts.
    notes: Vec<String>,
    /// Verdicts of a running balancer.
    live: Vec<clearway_doctor::Verdict>,
    /// How many things could be examined.
    examined: usize,
    /// How many could not.
    troubles: usize,
}

impl Examination {
    fn new(options: Options) -> Self {
        Self {
            options,
            docket: Docket::new(),
            notes: Vec::new(),
            live: Vec::new(),
            examined: 0,
            troubles: 0,
        }
    }

    fn run(mut self) -> ExitCode {
        let mut sources = match Sources::of(&mut self) {
            Ok(sources) => sources,
            Err(usage) => {
                super::complain(&usage);
                return ExitCode::from(2);
            }
        };
        configs::read(&mut self, &mut sources);
        live::read(&mut self, &sources);
        logs::read(&mut self, &mut sources);
        reports::read(&mut self, &sources);
        probe::run(&mut self, &sources);
        output::print(self)
    }

    /// Says what could not be examined, on standard error and in the report.
    fn trouble(&mut self, words: &str) {
        super::complain(&format!("clearway doctor: {words}\n"));
        self.note(format!(
            "Not examined: {}.",
            words.trim_end_matches(['.', '?'])
        ));
        self.troubles += 1;
    }

    /// Notes something once.
    fn note(&mut self, words: String) {
        if !self.notes.contains(&words) {
            self.notes.push(words);
        }
    }
}
