//! `clearway print`: the configuration as Clearway understands it.

use std::process::ExitCode;

use super::{ConfigArg, say};

/// Arguments of `print`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let loaded = self.config.load();
        if loaded.has_errors() {
            return ExitCode::FAILURE;
        }
        say(&clearway_config::print::print(&loaded.config));
        ExitCode::SUCCESS
    }
}
