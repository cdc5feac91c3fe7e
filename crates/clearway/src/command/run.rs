//! `clearway run`: the balancer.

use std::process::ExitCode;

use clearway_config::{Diagnostic, Loaded};
use clearway_control::supervisor::{Event, StartError, Supervisor};

use super::{ConfigArg, complain, say};

/// Arguments of `run`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Address of the admin API; overrides the configuration.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

impl Args {
    pub(super) fn run(self) -> ExitCode {
        let (path, admin) = (self.config.config, self.admin);
        let source = move || -> Loaded {
            let mut loaded = clearway_config::load(&path);
            if let Some(admin) = &admin {
                loaded.override_admin(admin);
            }
            loaded
        };
        let events = |event: Event| match event {
            Event::Listening(name, address) => say(&format!("listening {name} {address}\n")),
            Event::Ready => say("ready\n"),
            Event::Reloaded(Ok(words)) => complain(&format!("reloaded: {words}\n")),
            Event::Reloaded(Err(words)) => complain(&format!("reload refused: {words}\n")),
            Event::News(news) => complain(&format!("{}: {}\n", news.level.name(), news.words)),
            Event::Draining => complain("draining\n"),
        };
        start(Box::new(source), Box::new(events))
    }
}

/// Starts a supervisor and runs it on this thread until it ends.
pub(super) fn start(
    source: Box<dyn clearway_control::supervisor::Source>,
    events: Box<dyn FnMut(Event) + Send>,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("clearway: cannot make a runtime: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async { Supervisor::start(source, events)?.run().await });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &StartError) {
    if let StartError::Config(diagnostics) = error {
        for diagnostic in diagnostics {
            complain(&format!("{}\n", render(diagnostic)));
        }
    }
    complain(&format!("clearway: {error}\n"));
}

/// A diagnostic with the line it is about, where the file can still be read.
pub(super) fn render(diagnostic: &Diagnostic) -> String {
    match std::fs::read_to_string(&*diagnostic.file) {
        Ok(source) => diagnostic.render(&source),
        Err(_) => diagnostic.to_string(),
    }
}
