//! `clearway check`: says everything that is wrong with a configuration.

use std::process::ExitCode;

use clearway_config::Severity;
use clearway_config::foreign::{Foreign, Treatment};

use super::{ConfigArg, complain, run, say, tell};

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let mut loaded = match self.config.foreign() {
            Some(foreign) => {
                say(&report(&foreign));
                foreign.loaded
            }
            None => self.config.read(),
        };
        tell(&loaded);
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
            self.config.name(),
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

/// What becomes of every directive, one line each, and how many of each kind there are.
fn report(foreign: &Foreign) -> String {
    let mut out = String::new();
    for directive in &foreign.directives {
        // A word may be of several lines.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = directive.text.chars().take(72).map(plain).collect();
        let place = format!("{}:{}", directive.origin.file, directive.origin.line);
        let kind = directive.treatment.name();
        out.push_str(&format!("{place}  {kind:<19}  {text}\n"));
        for remark in &directive.remarks {
            out.push_str(&format!(
                "{:width$}{remark}\n",
                "",
                width = place.len() + 23
            ));
        }
    }
    let kinds = [
        Treatment::Honoured,
        Treatment::Equivalent,
        Treatment::Harmless,
        Treatment::Ineffective,
        Treatment::Refused,
    ];
    let counts: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{} {}", foreign.count(*kind), kind.name()))
        .collect();
    out.push_str(&format!(
        "{} directives: {}\n",
        foreign.directives.len(),
        counts.join(", ")
    ));
    out
}
