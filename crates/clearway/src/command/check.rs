//! `clearway check`: says everything that is wrong with a configuration.

use std::process::ExitCode;

use clearway_config::Severity;

use super::{ConfigArg, complain, run, say};

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let mut loaded = self.config.load();
        if !loaded.has_errors() {
            match clearway_control::certificates::try_out(&loaded.config) {
                Ok(warnings) => warnings
                    .iter()
                    .for_each(|(_, words)| complain(&format!("warning: {words}\n"))),
                Err(found) => {
                    for diagnostic in &found {
                        complain(&format!("{}\n", run::render(diagnostic)));
                    }
                    loaded.diagnostics.extend(found);
                }
            }
        }
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
