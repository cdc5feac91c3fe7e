//! Clearway in NGINX's place: called by that name it takes its command line, obeys its signals and speaks
//! as it does.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clearway_config::Loaded;
use clearway_config::foreign::{self, NGINX_VERSION, NginxProcess};
use clearway_config::model::LogLevel;
use clearway_control::signals::{Manner, Place};
use clearway_control::supervisor::{Event, StartError};
use rustix::process::Signal;

use super::{background, complain, run, say};

mod voice;

use voice::{reason, speak_into, tell, tell_all, try_file};

/// Where Debian's package has the configuration, and what relative paths lead from.
const CONFIGURATION: &str = "/etc/nginx/nginx.conf";
const PREFIX: &str = "/usr/share/nginx/";

const USAGE: &str = "\
Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

  -?, -h        say this
  -v, -V        version; also with what it is built
  -t, -T        check the configuration; also show it
  -q            say nothing but errors while checking
  -s signal     signal the running process: stop, quit, reopen, reload
  -p prefix     folder that relative paths lead from (/usr/share/nginx/)
  -e filename   the log of errors, unless the configuration names one
  -c filename   the configuration (/etc/nginx/nginx.conf)
  -g directives directives that hold besides the configuration
";

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Options {
    task: Task,
    file: Option<PathBuf>,
    prefix: Option<PathBuf>,
    globals: String,
    /// Where errors go unless the configuration says it.
    errors: Option<PathBuf>,
    is_quiet: bool,
    /// Whether this is the process in the background already.
    is_in_background: bool,
    /// Whether it takes over from another one.
    is_successor: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Task {
    #[default]
    Run,
    Help,
    Version,
    Build,
    Check,
    Show,
    Signal(Word),
}

/// What `-s` says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    Stop,
    Quit,
    Reload,
    Reopen,
}

impl Word {
    fn of(text: &str) -> Option<Self> {
        match text {
            "stop" => Some(Self::Stop),
            "quit" => Some(Self::Quit),
            "reload" => Some(Self::Reload),
            "reopen" => Some(Self::Reopen),
            _ => None,
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Stop => Signal::TERM,
            Self::Quit => Signal::QUIT,
            Self::Reload => Signal::HUP,
            Self::Reopen => Signal::USR1,
        }
    }
}

/// Does what the command line asks for.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(why) => {
            complain(&format!("nginx: {why}\n"));
            return ExitCode::FAILURE;
        }
    };
    match options.task {
        Task::Help => complain(&format!("{}{USAGE}", version())),
        Task::Version => complain(&version()),
        Task::Build => complain(&build()),
        Task::Check | Task::Show => return check(&options),
        Task::Signal(word) => return signal(&options, word),
        Task::Run => return start(options, arguments),
    }
    ExitCode::SUCCESS
}

fn version() -> String {
    format!("nginx version: nginx/{NGINX_VERSION}\n")
}

fn build() -> String {
    format!(
        "{}Clearway {} in its place\nTLS by rustls and aws-lc-rs\nTLS SNI support enabled\n\
         configure arguments: --prefix={PREFIX} --conf-path={CONFIGURATION} --pid-path=/run/nginx.pid \
         --with-http_ssl_module --with-http_v2_module --with-stream --with-stream_ssl_module\n",
        version(),
        env!("CARGO_PKG_VERSION"),
    )
}

fn parse(arguments: &[OsString]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = arguments.iter().skip(1).peekable();
    if rest.next_if(|first| *first == background::MARK).is_some() {
        options.is_in_background = true;
    }
    if rest
        .next_if(|first| **first == background::SUCCESSOR)
        .is_some()
    {
        options.is_successor = true;
    }
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        let Some(letters) = text.strip_prefix('-').filter(|flags| !flags.is_empty()) else {
            return Err(format!("invalid option: \"{text}\""));
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                '?' | 'h' => options.task = Task::Help,
                'v' => options.task = Task::Version,
                'V' => options.task = Task::Build,
                't' => options.task = Task::Check,
                'T' => options.task = Task::Show,
                'q' => options.is_quiet = true,
                'p' | 'c' | 'e' | 'g' | 's' => {
                    // Its value stands right behind it or in the next word.
                    let behind = letters.get(at + 1..).unwrap_or("");
                    let value = if behind.is_empty() {
                        rest.next().map(|next| next.to_string_lossy().into_owned())
                    } else {
                        Some(behind.to_owned())
                    };
                    valued(letter, value, &mut options)?;
                    break;
                }
                other => return Err(format!("invalid option: \"{other}\"")),
            }
        }
    }
    Ok(options)
}

fn valued(letter: char, value: Option<String>, options: &mut Options) -> Result<(), String> {
    let Some(value) = value else {
        let what = match letter {
            'p' => "directory name",
            'c' | 'e' => "file name",
            _ => "parameter",
        };
        return Err(format!("option \"-{letter}\" requires {what}"));
    };
    match letter {
        'p' => options.prefix = Some(value.into()),
        'c' => options.file = Some(value.into()),
        'g' => options.globals = value,
        's' => {
            let word = Word::of(&value);
            let word = word.ok_or_else(|| format!("invalid option: \"-s {value}\""))?;
            options.task = Task::Signal(word);
        }
        'e' => options.errors = Some(value.into()),
        _ => {}
    }
    Ok(())
}

impl Options {
    fn prefix(&self) -> PathBuf {
        self.prefix.clone().unwrap_or_else(|| PREFIX.into())
    }

    fn file(&self) -> PathBuf {
        let file = self.file.clone().unwrap_or_else(|| CONFIGURATION.into());
        self.prefix().join(file)
    }

    fn load(&self) -> Loaded {
        foreign::load_nginx(&self.file(), &self.globals, &[]).loaded
    }

    fn process(&self) -> NginxProcess {
        let mut process = foreign::nginx_process(&self.file(), &self.prefix(), &self.globals);
        if let Some(errors) = &self.errors
            && !process.names_errors
        {
            process.errors = (errors != Path::new("stderr")).then(|| self.prefix().join(errors));
        }
        process
    }
}

/// `-t` and `-T`
fn check(options: &Options) -> ExitCode {
    let file = options.file();
    let file = file.display();
    let mut loaded = options.load();
    if !loaded.has_errors() {
        match clearway_control::certificates::try_out(&loaded.config) {
            Ok(warnings) => warnings.iter().for_each(|(_, words)| tell("warn", words)),
            Err(found) => loaded.diagnostics.extend(found),
        }
    }
    tell_all(&loaded.diagnostics);
    let failed = || {
        complain(&format!("nginx: configuration file {file} test failed\n"));
        ExitCode::FAILURE
    };
    if loaded.has_errors() {
        return failed();
    }
    if !options.is_quiet {
        complain(&format!(
            "nginx: the configuration file {file} syntax is ok\n"
        ));
    }
    if let Err(words) = could_start(&loaded, &options.process()) {
        tell("emerg", &words);
        return failed();
    }
    if !options.is_quiet {
        complain(&format!(
            "nginx: configuration file {file} test is successful\n"
        ));
    }
    if options.task == Task::Show {
        for path in options.process().files {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            say(&format!(
                "# configuration file {}:\n{text}\n",
                path.display()
            ));
        }
    }
    ExitCode::SUCCESS
}

/// Whether logs and the file with the process's id can be written, and addresses are this host's.
fn could_start(loaded: &Loaded, process: &NginxProcess) -> Result<(), String> {
    process.errors.as_deref().map_or(Ok(()), try_file)?;
    clearway_control::supervisor::identity(&loaded.config)?;
    clearway_control::try_logs(&loaded.config)?;
    clearway_control::try_addresses(&loaded.config)?;
    try_file(&process.pid)
}

/// `-s`
fn signal(options: &Options, word: Word) -> ExitCode {
    if word == Word::Reload {
        // Whoever asks hears here what is wrong; the running process would only log it.
        let loaded = options.load();
        tell_all(&loaded.diagnostics);
        if loaded.has_errors() {
            return ExitCode::FAILURE;
        }
    }
    let file = options.process().pid;
    let name = file.display();
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            tell(
                "error",
                &format!("open() \"{name}\" failed ({})", reason(&error)),
            );
            return ExitCode::FAILURE;
        }
    };
    let text = text.trim();
    let Some(pid) = text.parse().ok().filter(|pid: &i32| *pid > 0) else {
        tell(
            "error",
            &format!("invalid PID number \"{text}\" in \"{name}\""),
        );
        return ExitCode::FAILURE;
    };
    match background::signal(pid, word.signal()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let number = word.signal().as_raw();
            let message = format!("kill({pid}, {number}) failed ({})", reason(&error));
            tell("alert", &message);
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options, arguments: &[OsString]) -> ExitCode {
    let process = options.process();
    if process.is_daemon && !options.is_in_background {
        return background::detach(arguments).unwrap_or_else(|error| {
            tell("alert", &format!("fork() failed ({})", reason(&error)));
            ExitCode::FAILURE
        });
    }
    let (is_in_background, takes_over) = (options.is_in_background, options.is_successor);
    if is_in_background {
        background::leave_terminal();
    }
    let errors = process.errors.clone();
    for path in errors.iter().chain([&process.pid]) {
        if let Err(words) = try_file(path) {
            tell("emerg", &words);
            return ExitCode::FAILURE;
        }
    }
    let source = move || options.load();
    let pid_file = process.pid.clone();
    let arguments = arguments.to_vec();
    let speak = move || {
        if let Some(path) = &errors
            && let Err(words) = speak_into(path)
        {
            tell("emerg", &words);
        }
    };
    let events = move |event: Event| match event {
        Event::Listening(..) => {}
        Event::Ready => {
            if let Err(error) = background::write_pid(&pid_file) {
                let name = pid_file.display();
                tell(
                    "alert",
                    &format!("open() \"{name}\" failed ({})", reason(&error)),
                );
            }
            background::notify("READY=1\n");
            if is_in_background {
                background::report_ready();
            }
            speak();
        }
        Event::Reopened => speak(),
        Event::Reloading => {}
        Event::Upgrading => upgrade(&arguments, &pid_file),
        Event::Reloaded(Ok(words)) => tell("notice", &format!("reconfigured: {words}")),
        Event::Reloaded(Err(words)) => tell("emerg", &words),
        Event::News(news) => {
            let level = match news.level {
                LogLevel::Error => "error",
                LogLevel::Warn => "warn",
                LogLevel::Info | LogLevel::Debug => "notice",
            };
            tell(level, &news.words);
        }
        Event::Draining => background::notify("STOPPING=1\n"),
    };
    let place = Place {
        manner: Manner::Nginx,
        takes_over,
    };
    let result = run::serve(Box::new(source), Box::new(events), place);
    match result {
        Ok(()) => {
            background::remove_pid(&process.pid);
            background::remove_pid(&old(&process.pid));
            ExitCode::SUCCESS
        }
        Err(StartError::Config(found)) => {
            tell_all(&found);
            ExitCode::FAILURE
        }
        Err(error) => {
            tell("emerg", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Where a process that is being replaced has its id.
fn old(pid: &Path) -> PathBuf {
    pid.with_added_extension("oldbin")
}

/// SIGUSR2: the program is started anew and listens beside this process, until that is told to finish.
fn upgrade(arguments: &[OsString], pid: &Path) {
    let (pid, old) = (pid.to_path_buf(), old(pid));
    if old.exists() {
        tell(
            "notice",
            "the changing binary signal is ignored: there is one already",
        );
        return;
    }
    if let Err(error) = std::fs::rename(&pid, &old) {
        let (from, to, why) = (pid.display(), old.display(), reason(&error));
        tell("alert", &format!("rename() {from} to {to} failed ({why})"));
        return;
    }
    let back = move || {
        if let Err(error) = std::fs::rename(&old, &pid) {
            tell("alert", &format!("rename() failed ({})", reason(&error)));
        }
    };
    if let Err(error) = background::succeed(arguments, back.clone()) {
        tell("alert", &format!("execve() failed ({})", reason(&error)));
        back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options, String> {
        let words = std::iter::once(&"nginx").chain(words);
        let words: Vec<OsString> = words.map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn what_is_asked_for() {
        let all = options(&[
            "-tq",
            "-c/a/b",
            "-g",
            "daemon off;",
            "-p",
            "/x",
            "-e",
            "stderr",
        ])
        .unwrap();
        assert_eq!((all.task, all.is_quiet), (Task::Check, true));
        assert_eq!(all.file(), PathBuf::from("/a/b"));
        assert_eq!(all.globals, "daemon off;");
        let relative = options(&["-p", "/x", "-c", "b"]).unwrap();
        assert_eq!(relative.file(), PathBuf::from("/x/b"));
        assert_eq!(options(&[]).unwrap().file(), PathBuf::from(CONFIGURATION));
        assert_eq!(
            options(&["-s", "quit"]).unwrap().task,
            Task::Signal(Word::Quit)
        );
    }

    #[test]
    fn what_is_wrong() {
        for (words, expected) in [
            (&["-x"][..], "invalid option: \"x\""),
            (&["foo"], "invalid option: \"foo\""),
            (&["-s"], "option \"-s\" requires parameter"),
            (&["-s", "foo"], "invalid option: \"-s foo\""),
            (&["-c"], "option \"-c\" requires file name"),
        ] {
            assert_eq!(options(words), Err(expected.to_owned()));
        }
    }
}
