//! `clearway print`: the configuration as Clearway understands it.

use std::process::ExitCode;

use clearway_config::Severity;

use super::run::render;
use super::{ConfigArg, complain, say};

/// Arguments of `print`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let loaded = clearway_config::load(&self.config.config);
        let mut failed = false;
        for diagnostic in &loaded.diagnostics {
            failed |= diagnostic.severity == Severity::Error;
            complain(&format!("{}\n", render(diagnostic)));
        }
        if failed {
            return ExitCode::FAILURE;
        }
        say(&clearway_config::print::print(&loaded.config));
        ExitCode::SUCCESS
    }
}
