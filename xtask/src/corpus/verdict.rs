//! What Clearway says about a file.

use std::path::Path;
use std::process::Command;

use super::Stubbed;
use crate::shell;

/// What may be made of a directive that stands in the way of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Refused,
    Ineffective,
    /// It is wrong, whatever becomes of its directives.
    Error,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Ineffective => "ignored with effect",
            Self::Error => "error",
        }
    }
}

/// Something that stands in the way.
pub(super) struct Obstacle {
    pub(super) kind: Kind,
    pub(super) line: String,
    /// The directive, or the code of the error.
    pub(super) text: String,
    pub(super) remark: String,
}

/// What came of a file.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) obstacles: Vec<Obstacle>,
    /// What must never be: panics, directives without a word about them.
    pub(super) failures: Vec<String>,
    /// What is wrong with the conversion, if that was asked for.
    pub(super) conversion: Option<String>,
    /// What its own program says that refuses it too.
    pub(super) refused: Option<String>,
    /// Whether `check` ended well.
    is_fine: bool,
}

impl Verdict {
    /// Nothing is refused, nothing is ignored with effect, nothing is wrong.
    pub(super) fn is_accepted(&self) -> bool {
        self.is_fine && self.obstacles.is_empty() && self.failures.is_empty()
    }
}

/// What is told of a directive, as it stands in reports.
const TREATMENTS: [&str; 5] = [
    "honoured",
    "equivalent",
    "harmless to ignore",
    "ignored with effect",
    "refused",
];

/// Runs `clearway check`.
///
/// # Errors
/// When the program cannot be run.
pub(super) fn check(program: &Path, option: &str, stubbed: &Stubbed) -> Result<Verdict, String> {
    let mut command = Command::new(program);
    command.arg("check").arg(option).arg(&stubbed.main);
    let done = command
        .current_dir(stubbed.main.parent().unwrap_or(&stubbed.main))
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let (said, complained) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    let mut verdict = Verdict {
        is_fine: done.status.success(),
        ..Verdict::default()
    };
    let is_panic = |line: &&str| line.contains("panicked at");
    if let Some(line) = complained.lines().find(is_panic) {
        verdict.failures.push(line.to_owned());
    }
    if done.status.code().is_none() {
        verdict
            .failures
            .push(format!("check ended with {}", done.status));
    }
    let told = directives(&said, &mut verdict);
    errors(&complained, &mut verdict);
    let file = stubbed.file.display().to_string();
    for (line, word) in &stubbed.lines {
        let place = format!("{file}:{line}");
        let text = line.to_string();
        let is_wrong = verdict.obstacles.iter().any(|one| one.line == text);
        if !told.contains(&place) && !is_wrong {
            verdict
                .failures
                .push(format!("no word about line {line}, \"{word}\""));
        }
    }
    Ok(verdict)
}

/// Reads the report about directives; returns the places that were spoken of.
fn directives(said: &str, verdict: &mut Verdict) -> clearway_base::hash::Set<String> {
    let mut places = clearway_base::hash::Set::default();
    let mut last_is_obstacle = false;
    for line in said.lines() {
        if line.starts_with(' ') {
            if let Some(obstacle) = verdict.obstacles.last_mut().filter(|_| last_is_obstacle) {
                let join = if obstacle.remark.is_empty() { "" } else { "; " };
                obstacle.remark.push_str(join);
                obstacle.remark.push_str(line.trim());
            }
            continue;
        }
        last_is_obstacle = false;
        let found = TREATMENTS.iter().find_map(|kind| {
            let (place, text) = line.split_once(&format!("  {kind:<19}  "))?;
            Some((place, *kind, text))
        });
        let Some((place, kind, text)) = found else {
            continue;
        };
        places.insert(place.to_owned());
        let kind = match kind {
            "refused" => Kind::Refused,
            "ignored with effect" => Kind::Ineffective,
            _ => continue,
        };
        last_is_obstacle = true;
        verdict.obstacles.push(Obstacle {
            kind,
            line: place.rsplit(':').next().unwrap_or_default().to_owned(),
            text: text.to_owned(),
            remark: String::new(),
        });
    }
    places
}

/// Errors that are not about a directive that is refused.
fn errors(complained: &str, verdict: &mut Verdict) {
    let mut lines = complained.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("error") else {
            continue;
        };
        let (code, message) = rest.split_once(": ").unwrap_or(("", rest));
        let code = code.trim_matches(['[', ']']);
        if code == "refused" {
            continue;
        }
        let place = lines.peek().copied().unwrap_or_default();
        let place = place.trim_start_matches([' ', '-', '>']);
        verdict.obstacles.push(Obstacle {
            kind: Kind::Error,
            line: place.split(':').nth(1).unwrap_or_default().to_owned(),
            text: code.to_owned(),
            remark: message.to_owned(),
        });
    }
}

/// Converts a file, reads what comes of it, and has it printed again; returns what is wrong.
///
/// # Errors
/// When the program cannot be run.
pub(super) fn convert(
    program: &Path,
    option: &str,
    stubbed: &Stubbed,
) -> Result<Option<String>, String> {
    let place = stubbed.main.parent().unwrap_or(&stubbed.main);
    let run = |words: &[&str], file: &Path| {
        let mut command = Command::new(program);
        command.args(words).arg(file).current_dir(place);
        let done = command.output();
        done.map_err(|error| format!("{}: {error}", program.display()))
    };
    let first = run(&["convert", option], &stubbed.main)?;
    if !first.status.success() {
        return Ok(Some("convert fails".to_owned()));
    }
    let native = place.join("converted.toml");
    std::fs::write(&native, &first.stdout).map_err(super::told(&native))?;
    let check = run(&["check", "-c"], &native)?;
    if !check.status.success() {
        let complained = String::from_utf8_lossy(&check.stderr);
        let error = complained.lines().find(|line| line.starts_with("error"));
        return Ok(Some(format!(
            "what it is converted to: {}",
            error.unwrap_or_default()
        )));
    }
    let again = run(&["convert", "-c"], &native)?;
    let (once, twice) = (
        String::from_utf8_lossy(&first.stdout).into_owned(),
        String::from_utf8_lossy(&again.stdout).into_owned(),
    );
    let differs = once.lines().zip(twice.lines()).find(|(a, b)| a != b);
    Ok(match differs {
        Some((a, b)) => Some(format!("converted, {a:?} is read as {b:?}")),
        None if once.lines().count() != twice.lines().count() => {
            Some("converted and read it is of another length".to_owned())
        }
        None => None,
    })
}

/// What the program of the language says, if it is here and refuses a file for more than names that are not
/// known.
pub(super) fn original(file: &Path) -> Option<String> {
    let program = shell::find("haproxy")?;
    let mut command = Command::new(program);
    command.args(["-c", "-f"]).arg(file);
    let done = command.current_dir(file.parent()?).output().ok()?;
    if done.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let mut alerts = said.lines().filter(|line| line.starts_with("[ALERT]"));
    let of_this_host = [
        "could not resolve",
        "Failed to initialize server(s) addr",
        "unknown group name",
        "unknown user name",
        "rror(s) found",
        "atal errors",
        "Missing LF",
    ];
    let alert = alerts.find(|line| !of_this_host.iter().any(|words| line.contains(words)))?;
    alert.split_once(" : ").map(|(_, words)| words.to_owned())
}
