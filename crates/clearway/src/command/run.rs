//! `clearway run`: the balancer.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use clearway_config::{Diagnostic, Loaded};
use clearway_control::signals::Place;
use clearway_control::supervisor::{Event, StartError, Supervisor};

use super::{ConfigArg, complain, say};

/// Lines that may wait to be printed.
const LINES: usize = 1_024;

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
        let (config, admin) = (self.config, self.admin);
        let source = move || -> Loaded {
            let mut loaded = config.read();
            if let Some(admin) = &admin {
                loaded.override_admin(admin);
            }
            loaded
        };
        let printer = Printer::start();
        let lines = printer.lines.clone();
        let events = move |event: Event| {
            // A terminal or pipe that nobody reads costs lines, nothing else.
            drop(Line::of(event).map(|line| lines.try_send(line)));
        };
        let code = start(Box::new(source), Box::new(events));
        printer.finish();
        code
    }
}

/// Something to be printed.
struct Line {
    text: String,
    /// On standard output, where the one who started the process waits for it.
    out: bool,
}

impl Line {
    /// `None` for what only others want to know.
    fn of(event: Event) -> Option<Self> {
        let (out, text) = match event {
            Event::Listening(name, address) => (true, format!("listening {name} {address}\n")),
            Event::Ready => (true, "ready\n".to_owned()),
            Event::Reloaded(Ok(words)) => (false, format!("reloaded: {words}\n")),
            Event::Reloaded(Err(words)) => (false, format!("reload refused: {words}\n")),
            Event::News(news) => (false, format!("{}: {}\n", news.level.name(), news.words)),
            Event::Draining => (false, "draining\n".to_owned()),
            Event::Reloading | Event::Reopened | Event::Upgrading => return None,
        };
        Some(Self { text, out })
    }
}

/// A thread that prints, so that nothing else waits for whoever reads.
struct Printer {
    lines: SyncSender<Line>,
    ended: Receiver<()>,
}

impl Printer {
    fn start() -> Self {
        let (lines, waiting) = sync_channel::<Line>(LINES);
        let (end, ended) = sync_channel(1);
        // Without the thread nothing is printed; the exit status still tells.
        drop(
            std::thread::Builder::new()
                .name("clearway-say".to_owned())
                .spawn(move || {
                    for line in waiting {
                        if line.out {
                            say(&line.text);
                        } else {
                            complain(&line.text);
                        }
                    }
                    drop(end);
                }),
        );
        Self { lines, ended }
    }

    /// Waits a moment for what is still to be printed.
    fn finish(self) {
        drop(self.lines);
        // Either answer means that waiting is over.
        self.ended
            .recv_timeout(Duration::from_secs(1))
            .unwrap_or_default();
    }
}

/// Starts a supervisor and runs it on this thread until it ends.
pub(super) fn start(
    source: Box<dyn clearway_control::supervisor::Source>,
    events: Box<dyn FnMut(Event) + Send>,
) -> ExitCode {
    match serve(source, events, Place::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// The same in another program's place, and telling nobody why it ended.
///
/// # Errors
/// When it could not start.
pub(super) fn serve(
    source: Box<dyn clearway_control::supervisor::Source>,
    events: Box<dyn FnMut(Event) + Send>,
    place: Place,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| StartError::System("cannot make a runtime", error))?;
    runtime.block_on(async {
        let supervisor = Supervisor::start_in(place, source, events)?;
        supervisor.run().await
    })
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
