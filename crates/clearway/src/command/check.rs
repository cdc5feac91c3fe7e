//! `clearway check`: says everything that is wrong with a configuration.

use std::process::ExitCode;

use clearway_config::Severity;

use super::{ConfigArg, say};

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let loaded = self.config.load();
        let count = |severity| {
            loaded
                .diagnostics
                .iter()
                .filter(|d| d.severity == severity)
                .count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let config = &loaded.config;
        say(&format!(
            "{}: {} listener(s), {} route(s), {} backend(s); {errors} error(s), {warnings} warning(s)\n",
            self.config.config.display(),
            config.listeners.len(),
            config.routes.len(),
            config.backends.len(),
        ));
        if errors == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
