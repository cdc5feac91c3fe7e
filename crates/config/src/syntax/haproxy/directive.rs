//! What is obeyed while a configuration that is to be run is read: branches, messages, and the keywords that
//! change the environment.

use super::Line;
use super::environment::{Environment, Notice};
use crate::diagnostic::{Diagnostic, Origin};

/// Branches in one another: more is no configuration that somebody wrote.
const DEPTH_MAX: usize = 1_024;

/// The `.if`s that are open, with what becomes of their branches.
#[derive(Default)]
pub(super) struct Branches {
    open: Vec<Branch>,
}

struct Branch {
    origin: Origin,
    turn: Turn,
    has_else: bool,
}

/// What becomes of the branch in hand.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    /// It is taken.
    Taken,
    /// It is not, and the next one may be.
    Waiting,
    /// None of those to come will be.
    Over,
}

impl Branches {
    /// Whether lines count here.
    pub(super) fn are_taken(&self) -> bool {
        self.open.iter().all(|branch| branch.turn == Turn::Taken)
    }

    /// Obeys a line whose first word begins with a dot.
    pub(super) fn obey(
        &mut self,
        line: &Line,
        environment: &mut Environment,
    ) -> Result<(), Diagnostic> {
        let first = line.word(0);
        match first {
            ".if" => self.begin(line, environment),
            ".elif" => {
                let holds = self
                    .open
                    .last()
                    .is_some_and(|branch| branch.turn == Turn::Waiting && !branch.has_else)
                    && holds(line, environment)?;
                let branch = self.innermost(line)?;
                branch.turn = match branch.turn {
                    Turn::Waiting if holds => Turn::Taken,
                    Turn::Waiting => Turn::Waiting,
                    Turn::Taken | Turn::Over => Turn::Over,
                };
                Ok(())
            }
            ".else" => {
                let branch = self.innermost(line)?;
                branch.has_else = true;
                branch.turn = match branch.turn {
                    Turn::Waiting => Turn::Taken,
                    Turn::Taken | Turn::Over => Turn::Over,
                };
                Ok(())
            }
            ".endif" => match self.open.pop() {
                Some(_) => Ok(()),
                None => Err(lone(line)),
            },
            _ if !self.are_taken() => Ok(()),
            ".diag" | ".notice" | ".warning" | ".alert" => say(line, environment),
            _ => Err(error(line, format!("unknown directive '{first}'"))),
        }
    }

    fn begin(&mut self, line: &Line, environment: &Environment) -> Result<(), Diagnostic> {
        if self.open.len() >= DEPTH_MAX {
            return Err(error(line, format!("more than {DEPTH_MAX} nested '.if'")));
        }
        let holds = if self.are_taken() {
            holds(line, environment)
        } else {
            Ok(false)
        };
        let turn = match (self.are_taken(), &holds) {
            (false, _) | (_, Err(_)) => Turn::Over,
            (true, Ok(true)) => Turn::Taken,
            (true, Ok(false)) => Turn::Waiting,
        };
        self.open.push(Branch {
            origin: line.origin(),
            turn,
            has_else: false,
        });
        holds.map(drop)
    }

    /// The `.if` that an `.elif` or `.else` goes on with.
    fn innermost(&mut self, line: &Line) -> Result<&mut Branch, Diagnostic> {
        let first = line.word(0);
        match self.open.last_mut() {
            None => Err(lone(line)),
            Some(branch) if branch.has_else => Err(error(
                line,
                format!("'{first}' after '.else' is not permitted"),
            )),
            Some(branch) => Ok(branch),
        }
    }

    /// What is still open at the end of a file.
    pub(super) fn end(self) -> impl Iterator<Item = Diagnostic> {
        let open = self.open.into_iter();
        open.map(|branch| Diagnostic::error("syntax", &branch.origin, "non-terminated '.if' block"))
    }
}

fn error(line: &Line, message: String) -> Diagnostic {
    Diagnostic::error("syntax", &line.origin(), message)
}

fn lone(line: &Line) -> Diagnostic {
    error(
        line,
        format!("lone '{}' with no matching '.if'", line.word(0)),
    )
}

fn holds(line: &Line, environment: &Environment) -> Result<bool, Diagnostic> {
    let words: Vec<&str> = line.texts(1).collect();
    environment.holds(&words.join(" ")).map_err(|unanswered| {
        let first = line.word(0);
        let position = unanswered.at.saturating_add(1);
        let message = format!("{} in '{first}' at position {position}", unanswered.message);
        error(line, message)
    })
}

fn say(line: &Line, environment: &mut Environment) -> Result<(), Diagnostic> {
    let (first, message) = (line.word(0), line.word(1));
    if let Some(extra) = line.texts(2).next() {
        let message = format!("Unexpected argument '{extra}' for '{first}'");
        let hint = "Use quotes if the message should contain spaces";
        return Err(error(line, message).hint(hint));
    }
    match first {
        ".alert" => Err(Diagnostic::error(
            "message",
            &line.origin(),
            format!("'{message}'"),
        )),
        ".warning" => Err(Diagnostic::warning(
            "message",
            &line.origin(),
            format!("'{message}'"),
        )),
        _ => {
            environment.say(Notice {
                origin: line.origin(),
                message: message.to_owned(),
                is_diagnostic: first == ".diag",
            });
            Ok(())
        }
    }
}

/// Obeys a line of a `global` section if it changes the environment.
pub(super) fn change(line: &Line, environment: &mut Environment) -> Result<(), Diagnostic> {
    let first = line.word(0);
    let names: Vec<&str> = line.texts(1).collect();
    match (first, names.as_slice()) {
        ("setenv" | "presetenv", [name, value, ..]) => {
            if name.is_empty() || name.contains('=') {
                let message = format!("'{first}' failed on variable '{name}': Invalid argument");
                return Err(error(line, message));
            }
            if first == "setenv" {
                environment.set(name, value);
            } else {
                environment.preset(name, value);
            }
        }
        ("setenv" | "presetenv", _) => {
            return Err(error(line, format!("'{first}' expects a name and a value")));
        }
        ("unsetenv", []) => {
            let message = "'unsetenv' expects at least one variable name".to_owned();
            return Err(error(line, message));
        }
        ("unsetenv", names) => names.iter().for_each(|name| environment.unset(name)),
        ("resetenv", names) => environment.keep(names),
        _ => {}
    }
    Ok(())
}
