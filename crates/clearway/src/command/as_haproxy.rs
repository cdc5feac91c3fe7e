//! Clearway in HAProxy's place: called by that name it takes its command line, obeys its signals and speaks
//! as it does, so that whatever starts, checks and reloads HAProxy need not know the difference.
//!
//! A master with a worker is one process here, which reloads in place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clearway_config::foreign::{self, Environment};
use clearway_config::model::LogLevel;
use clearway_config::{Diagnostic, Loaded, Severity};
use clearway_control::signals::{Manner, Place};
use clearway_control::supervisor::{Event, StartError};
use rustix::process::Signal;

use super::{background, complain, run, say};

mod about;
mod options;

use options::{Old, Options, Task};

/// The status of a configuration that is right and listens nowhere, and of a condition without an answer.
const NO_ANSWER: u8 = 2;

/// Does what the command line asks for.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let Some(mut options) = options::parse(arguments) else {
        return usage();
    };
    let voice = Voice::of(&options);
    if options.task == Task::Run
        && let Err(error) = obey_file(&mut options)
    {
        voice.tell("ALERT", &error);
        return ExitCode::FAILURE;
    }
    if options.task == Task::Run && options.is_daemon && !options.is_in_background {
        return match background::detach(arguments) {
            Ok(code) => code,
            Err(error) => {
                voice.tell("ALERT", &format!("cannot go into the background: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    if options.task != Task::Run
        && let Err(error) = change_folder(&options)
    {
        voice.tell("ALERT", &error);
        return ExitCode::FAILURE;
    }
    match &options.task {
        Task::Version => {
            say(&about::version());
            ExitCode::SUCCESS
        }
        Task::Build => {
            say(&about::build());
            ExitCode::SUCCESS
        }
        Task::Condition(condition) => answer(condition, &options, &voice),
        Task::Check | Task::Run if options.files.is_empty() => usage(),
        Task::Check => check(&options, &voice),
        Task::Run => serve(options, &Arc::new(voice)),
    }
}

/// `-C`
fn change_folder(options: &Options) -> Result<(), String> {
    let Some(folder) = &options.folder else {
        return Ok(());
    };
    std::env::set_current_dir(folder).map_err(|error| {
        let folder = folder.display();
        format!("Could not change to directory {folder} : {error}")
    })
}

/// Does what the files say about the process, where the command line says nothing else.
fn obey_file(options: &mut Options) -> Result<(), String> {
    change_folder(options)?;
    let mut environment = environment(options);
    let file = foreign::haproxy_process(&options.files, &mut environment);
    options.is_daemon |= file.is_daemon && !options.is_foreground;
    options.is_master |= file.is_master && !options.is_alone;
    if options.pid_file.is_none() {
        options.pid_file = file.pid_file;
    }
    Ok(())
}

fn usage() -> ExitCode {
    say(&about::version());
    complain(about::USAGE);
    ExitCode::FAILURE
}

/// `-cc`
fn answer(condition: &str, options: &Options, voice: &Voice) -> ExitCode {
    match environment(options).holds(condition) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(unanswered) => {
            let message = unanswered.message;
            voice.tell(
                "ALERT",
                &format!("config : Failed to evaluate condition: {message}"),
            );
            ExitCode::from(NO_ANSWER)
        }
    }
}

/// `-c`
fn check(options: &Options, voice: &Voice) -> ExitCode {
    let mut loaded = load(options, voice);
    let says = |text: &str| {
        if !options.is_quiet {
            say(text);
        }
    };
    if is_silent(&loaded) {
        says("Configuration file has no error but will not start (no listener) => exit(2).\n");
        return ExitCode::from(NO_ANSWER);
    }
    if !loaded.has_errors() {
        match clearway_control::certificates::try_out(&loaded.config) {
            Ok(warnings) => warnings
                .iter()
                .for_each(|(_, words)| voice.tell("WARNING", &format!("config : {words}"))),
            Err(found) => loaded.diagnostics.extend(found),
        }
    }
    voice.tell_all(&loaded.diagnostics);
    if loaded.has_errors() {
        return ExitCode::FAILURE;
    }
    if !loaded.diagnostics.is_empty() {
        if options.is_strict {
            let message = "config : Some warnings were found and 'zero-warning' is set. Aborting.";
            voice.tell("ALERT", message);
            return ExitCode::FAILURE;
        }
        says("Warnings were found.\n");
    }
    says("Configuration file is valid\n");
    ExitCode::SUCCESS
}

/// Whether nothing is wrong but that nothing listens.
fn is_silent(loaded: &Loaded) -> bool {
    let mut errors = loaded
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .peekable();
    errors.peek().is_some() && errors.all(|found| found.code == "no-listener")
}

fn serve(options: Options, voice: &Arc<Voice>) -> ExitCode {
    if options.is_in_background {
        background::leave_terminal();
    }
    for (is_there, option, words) in [
        (
            options.has_master_socket,
            "-S",
            "there is no master process to speak to",
        ),
        (
            options.has_old_socket,
            "-x",
            "sockets are opened anew beside the old ones",
        ),
    ] {
        if is_there {
            voice.tell("NOTICE", &format!("{option} does nothing here: {words}"));
        }
    }
    let source = {
        let (options, voice) = (options.clone(), Arc::clone(voice));
        move || {
            let mut loaded = load(&options, &voice);
            if options.is_strict && !loaded.has_errors() {
                for found in &mut loaded.diagnostics {
                    found.severity = Severity::Error;
                }
            }
            loaded
        }
    };
    let manner = if options.is_master {
        Manner::HaproxyMaster
    } else {
        Manner::Haproxy
    };
    let place = Place {
        manner,
        takes_over: options.old != Old::None,
    };
    let starting = Starting {
        voice: Arc::clone(voice),
        options,
    };
    let events = move |event: Event| starting.hear(event);
    match run::serve(Box::new(source), Box::new(events), place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(found)) => {
            voice.tell_all(&found);
            ExitCode::FAILURE
        }
        Err(error) => {
            voice.tell("ALERT", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What is done and said while the balancer starts and runs.
struct Starting {
    options: Options,
    voice: Arc<Voice>,
}

impl Starting {
    fn hear(&self, event: Event) {
        match event {
            Event::Listening(..) | Event::Reopened => {}
            Event::Ready => self.ready(),
            Event::Upgrading => {}
            Event::Reloading => self.notify("RELOADING=1\nSTATUS=Reloading Configuration.\n"),
            Event::Reloaded(result) => {
                match result {
                    Ok(words) => self.voice.tell_lines("NOTICE", "reloaded: ", &words),
                    Err(words) => self.voice.tell_lines("ALERT", "reload refused: ", &words),
                }
                // One that was refused leaves all as it was: ready.
                self.notify("READY=1\nSTATUS=Ready.\n");
            }
            Event::News(news) => {
                let level = match news.level {
                    LogLevel::Error => "ALERT",
                    LogLevel::Warn => "WARNING",
                    LogLevel::Info | LogLevel::Debug => "NOTICE",
                };
                self.voice.tell(level, &news.words);
            }
            Event::Draining => self.notify("STOPPING=1\n"),
        }
    }

    /// Tells the service manager, where that is asked for (`-Ws`).
    fn notify(&self, lines: &str) {
        if self.options.is_notifying {
            background::notify(lines);
        }
    }

    fn ready(&self) {
        let Options { pid_file, old, .. } = &self.options;
        // In the foreground there is no such file, as there is none of HAProxy's.
        let wants_file = self.options.is_daemon || self.options.is_master;
        if let Some(file) = pid_file.as_deref().filter(|_| wants_file)
            && let Err(error) = background::write_pid(file)
        {
            let file = file.display();
            self.voice
                .tell("ALERT", &format!("Cannot create pidfile {file} : {error}"));
        }
        let (pids, signal) = match old {
            Old::None => (&[][..], Signal::USR1),
            Old::Finish(pids) => (pids.as_slice(), Signal::USR1),
            Old::Terminate(pids) => (pids.as_slice(), Signal::TERM),
        };
        for pid in pids {
            // One that has ended already is as good.
            drop(background::signal(*pid, signal));
        }
        if self.options.is_master {
            self.voice.tell("NOTICE", "Loading success.");
        }
        let pid = std::process::id();
        self.notify(&format!("READY=1\nMAINPID={pid}\nSTATUS=Ready.\n"));
        if self.options.is_in_background {
            background::report_ready();
        }
    }
}

fn load(options: &Options, voice: &Voice) -> Loaded {
    let mut environment = environment(options);
    let loaded = foreign::load_haproxy(&options.files, &mut environment, &[]).loaded;
    for notice in environment.notices() {
        if !notice.is_diagnostic || options.is_diagnosing {
            let (origin, message) = (&notice.origin, &notice.message);
            let place = format!("{}:{}", origin.file, origin.line);
            voice.tell(
                "NOTICE",
                &format!("config : parsing [{place}]: '{message}'."),
            );
        }
    }
    loaded
}

/// The environment of the process, with what HAProxy adds to it.
fn environment(options: &Options) -> Environment {
    let own = std::env::vars_os();
    let mut variables: BTreeMap<String, String> = own
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let peer = options
        .peer
        .clone()
        .unwrap_or_else(|| host().trim().to_owned());
    set("HAPROXY_LOCALPEER", peer);
    set("HAPROXY_STARTUP_VERSION", about::number());
    if options.is_master {
        set("HAPROXY_MWORKER", "1".to_owned());
    }
    Environment::new(variables)
}

/// Messages in HAProxy's shape.
struct Voice {
    is_quiet: bool,
    /// The first message is followed by who speaks.
    has_spoken: AtomicBool,
}

impl Voice {
    fn of(options: &Options) -> Self {
        Self {
            is_quiet: options.is_quiet,
            has_spoken: AtomicBool::new(false),
        }
    }

    fn tell(&self, level: &str, message: &str) {
        if self.is_quiet {
            return;
        }
        let pid = std::process::id();
        if !self.has_spoken.swap(true, Ordering::Relaxed) {
            let number = about::number();
            self.tell("NOTICE", &format!("haproxy version is {number}"));
            if let Ok(file) = std::env::current_exe() {
                self.tell(
                    "NOTICE",
                    &format!("path to executable is {}", file.display()),
                );
            }
        }
        let level = format!("[{level}]");
        complain(&format!("{level:11}({pid}) : {message}\n"));
    }

    /// Several lines of one matter, each a message.
    fn tell_lines(&self, level: &str, matter: &str, lines: &str) {
        for line in lines.lines() {
            self.tell(level, &format!("{matter}{line}"));
        }
    }

    /// Everything that was found, and that it was too much.
    fn tell_all(&self, found: &[Diagnostic]) {
        for one in found {
            let level = match one.severity {
                Severity::Error => "ALERT",
                Severity::Warning => "WARNING",
            };
            self.tell(level, &format!("config : {}", describe(one)));
        }
        let is_error = |one: &&Diagnostic| one.severity == Severity::Error;
        if let Some(first) = found.iter().find(is_error) {
            if !first.file.is_empty() {
                let file = &first.file;
                self.tell(
                    "ALERT",
                    &format!("config : Error(s) found in configuration file : {file}"),
                );
            }
            self.tell("ALERT", "config : Fatal errors found in configuration.");
        }
    }
}

fn describe(found: &Diagnostic) -> String {
    let mut text = String::new();
    if found.line > 0 {
        text.push_str(&format!("parsing [{}:{}] : ", found.file, found.line));
    }
    text.push_str(&found.message);
    if let Some(expected) = &found.expected {
        text.push_str(&format!("; expected {expected}"));
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    // This command line has no `--ignore`.
    if let Some(hint) = &found.hint
        && found.code != "refused"
    {
        text.push_str(&format!(" {hint}"));
    }
    text
}

/// Files given on the command line.
type Files = Vec<PathBuf>;
