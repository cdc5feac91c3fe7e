//! HAProxy's command line.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::background;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Options {
    pub(super) task: Task,
    pub(super) files: super::Files,
    /// `-C`
    pub(super) folder: Option<PathBuf>,
    /// `-p`
    pub(super) pid_file: Option<PathBuf>,
    /// `-L`
    pub(super) peer: Option<String>,
    pub(super) old: Old,
    /// `-q`
    pub(super) is_quiet: bool,
    /// `-D`, unless `-d` or `-db` keeps it in the foreground.
    pub(super) is_daemon: bool,
    /// `-d`, `-db` or `-Ws`: whatever the file says of going into the background.
    pub(super) is_foreground: bool,
    /// `-d` or `-db`: whatever the file says of a master.
    pub(super) is_alone: bool,
    /// Whether this is the process in the background already.
    pub(super) is_in_background: bool,
    /// `-W`
    pub(super) is_master: bool,
    /// `-Ws`
    pub(super) is_notifying: bool,
    /// `-dD`
    pub(super) is_diagnosing: bool,
    /// `-dW`
    pub(super) is_strict: bool,
    /// `-S`
    pub(super) has_master_socket: bool,
    /// `-x`
    pub(super) has_old_socket: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Task {
    #[default]
    Run,
    Check,
    Condition(String),
    Version,
    Build,
}

/// Processes to signal when ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Old {
    #[default]
    None,
    /// `-sf`
    Finish(Vec<i32>),
    /// `-st`
    Terminate(Vec<i32>),
}

/// Reads a command line; `None` when it is wrong.
pub(super) fn parse(arguments: &[OsString]) -> Option<Options> {
    let mut options = Options::default();
    let mut rest = arguments.iter().skip(1).peekable();
    if rest.next_if(|first| *first == background::MARK).is_some() {
        options.is_in_background = true;
    }
    while let Some(argument) = rest.next() {
        let argument = argument.to_string_lossy();
        if argument == "--" {
            options.files.extend(rest.by_ref().map(PathBuf::from));
            break;
        }
        let flag = argument.strip_prefix('-')?;
        match flag {
            "vv" => options.task = Task::Build,
            "cc" => {
                let condition = rest.next()?.to_string_lossy().into_owned();
                options.task = Task::Condition(condition);
            }
            "d" | "db" => options.is_alone = true,
            "dD" => options.is_diagnosing = true,
            "dW" => options.is_strict = true,
            "sf" | "st" => {
                let mut pids = Vec::new();
                while let Some(next) = rest.next_if(|next| !is_option(next)) {
                    pids.push(next.to_string_lossy().parse().ok().filter(|pid| *pid > 0)?);
                }
                options.old = if flag == "sf" {
                    Old::Finish(pids)
                } else {
                    Old::Terminate(pids)
                };
            }
            _ => letter(flag, &mut rest, &mut options)?,
        }
        if matches!(options.task, Task::Version | Task::Build) {
            // What comes behind is not looked at.
            return Some(options);
        }
    }
    options.is_foreground = options.is_alone || options.is_notifying;
    options.is_daemon &= !options.is_foreground;
    Some(options)
}

fn is_option(argument: &OsString) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

/// An option of which the first letter counts.
fn letter<'a>(
    flag: &str,
    rest: &mut impl Iterator<Item = &'a OsString>,
    options: &mut Options,
) -> Option<()> {
    match flag.chars().next()? {
        'v' => options.task = Task::Version,
        'c' => options.task = Task::Check,
        'q' => options.is_quiet = true,
        'V' => options.is_quiet = false,
        'D' => options.is_daemon = true,
        'W' => {
            options.is_master = true;
            options.is_notifying |= flag == "Ws";
        }
        'd' => {}
        'f' => options.files.push(rest.next()?.into()),
        'C' => options.folder = Some(rest.next()?.into()),
        'p' => options.pid_file = Some(rest.next()?.into()),
        'L' => options.peer = Some(rest.next()?.to_string_lossy().into_owned()),
        'S' => {
            rest.next()?;
            options.has_master_socket = true;
        }
        'x' => {
            rest.next()?;
            options.has_old_socket = true;
        }
        'n' | 'N' | 'm' => drop(rest.next()?),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Option<Options> {
        let words = std::iter::once("haproxy").chain(line.split_ascii_whitespace());
        let words: Vec<OsString> = words.map(OsString::from).collect();
        parse(&words)
    }

    #[test]
    fn what_starts_a_service() {
        let all =
            options("-Ws -f /etc/haproxy.cfg -p /run/h.pid -S /run/m.sock -sf 12 13 -f b").unwrap();
        assert!(all.is_master && all.is_notifying && all.has_master_socket && !all.is_daemon);
        assert_eq!(
            all.files,
            [PathBuf::from("/etc/haproxy.cfg"), PathBuf::from("b")]
        );
        assert_eq!(all.pid_file, Some(PathBuf::from("/run/h.pid")));
        assert_eq!(all.old, Old::Finish(vec![12, 13]));
        assert!(options("-D -f a").unwrap().is_daemon);
        assert!(!options("-D -db -f a").unwrap().is_daemon);
        assert_eq!(options("-st 7 -f a").unwrap().old, Old::Terminate(vec![7]));
        let behind =
            options("-dM -dM50 -de -dr -m 100 -n 3 -N 4 -L me -x /s -V -C / -- a -b").unwrap();
        assert_eq!(behind.files, [PathBuf::from("a"), PathBuf::from("-b")]);
        assert_eq!(behind.peer.as_deref(), Some("me"));
    }

    #[test]
    fn what_only_asks() {
        assert_eq!(options("-v").unwrap().task, Task::Version);
        assert_eq!(options("-dM -vv").unwrap().task, Task::Build);
        assert_eq!(options("-c -f a").unwrap().task, Task::Check);
        let condition = options("-cc defined(A)").unwrap().task;
        assert_eq!(condition, Task::Condition("defined(A)".to_owned()));
        assert!(options("-q -c -f a").unwrap().is_quiet);
    }

    #[test]
    fn what_is_wrong() {
        for line in ["-z", "a", "-f", "-cc", "-c a", "-p", "-", "-sf x", "--help"] {
            assert_eq!(options(line), None, "{line}");
        }
    }
}
