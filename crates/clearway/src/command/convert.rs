//! `clearway convert`: a configuration of another balancer in Clearway's language.

use std::process::ExitCode;

use super::{ConfigArg, say, tell};

/// Arguments of `convert`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let loaded = self.config.read();
        tell(&loaded);
        if loaded.has_errors() {
            return ExitCode::FAILURE;
        }
        say(&clearway_config::print::print(&loaded.config));
        ExitCode::SUCCESS
    }
}
