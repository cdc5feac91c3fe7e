//! What is wrong with a configuration as a whole: names that lead nowhere, places taken twice,
//! settings without effect, settings that will hurt.
//!
//! One file per part of the configuration; each function looks at one thing and is near linear, so
//! that thousands of servers cost milliseconds.

mod acme;
mod backends;
mod listeners;
mod logs;
mod process;
mod routes;
mod watch;

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Origin, Origins};
use crate::model::{Config, LimitOverrides, TimeoutOverrides};
use crate::words;

/// Checks everything that can be told from the configuration alone.
#[must_use]
pub fn check(config: &Config) -> Vec<Diagnostic> {
    let mut found = Findings::default();
    process::check(config, &mut found);
    listeners::check(config, &mut found);
    logs::check(config, &mut found);
    acme::check(config, &mut found);
    routes::check(config, &mut found);
    backends::check(config, &mut found);
    found.0.sort_by_key(|d| (d.line, d.column, d.severity));
    found.0
}

/// Checks what was lowered from another language: what the author of that could not know is not
/// told, only what makes it impossible to run.
pub(crate) fn foreign(config: &Config) -> Vec<Diagnostic> {
    let mut found = check(config);
    found.retain(|found| {
        found.severity == crate::Severity::Error && ![NO_BACKEND, NO_LISTENER].contains(&found.code)
    });
    found
}

/// Code of the diagnostic about an admin API that others can reach.
pub(crate) const ADMIN_EXPOSED: &str = "admin-exposed";

/// Codes of diagnostics about sections that are not there.
pub(crate) const NO_LISTENER: &str = "no-listener";
pub(crate) const NO_BACKEND: &str = "no-backend";

/// Checks where the admin API listens.
pub(crate) fn admin(config: &Config) -> Vec<Diagnostic> {
    let mut found = Findings::default();
    process::admin(config, &mut found);
    found.0
}

/// Warns when what is allowed needs more open files than the process may have.
#[must_use]
pub fn open_files(config: &Config, limit: u64) -> Vec<Diagnostic> {
    let mut found = Findings::default();
    listeners::open_files(config, limit, &mut found);
    found.0
}

/// What has been found so far.
#[derive(Default)]
struct Findings(Vec<Diagnostic>);

impl Findings {
    fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// What compiling found, if it failed.
    fn extend(&mut self, failed: Option<Vec<Diagnostic>>) {
        self.0.extend(failed.into_iter().flatten());
    }

    fn error(&mut self, code: &'static str, origin: &Origin, message: impl Into<String>) {
        self.push(Diagnostic::error(code, origin, message));
    }

    fn warning(&mut self, code: &'static str, origin: &Origin, message: impl Into<String>) {
        self.push(Diagnostic::warning(code, origin, message));
    }

    /// A setting that changes nothing where it stands.
    fn no_effect(&mut self, origin: &Origin, message: impl Into<String>, hint: &str) {
        self.push(Diagnostic::warning("no-effect", origin, message).hint(hint));
    }

    /// A reference to something that does not exist.
    fn unknown<'a>(
        &mut self,
        kind: &str,
        name: &str,
        origin: &Origin,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) {
        let message = format!("there is no {kind} {name:?}");
        let mut diagnostic = Diagnostic::error("unknown-name", origin, message);
        let mut names: Vec<&str> = known.clone().into_iter().take(NAMES_SHOWN + 1).collect();
        let more = names.len() > NAMES_SHOWN;
        names.truncate(NAMES_SHOWN);
        diagnostic = diagnostic.expected(match names.as_slice() {
            [] => format!("a section [{kind}.{name}]"),
            names if more => format!("one of {} …", names.join(", ")),
            names => format!("one of {}", names.join(", ")),
        });
        diagnostic.hint =
            words::closest(name, known).map(|close| format!("did you mean {close:?}?"));
        self.push(diagnostic);
    }
}

/// Names that are listed when one is unknown.
const NAMES_SHOWN: usize = 12;

/// Warns about written time-outs of zero and, outside `allowed`, about ones without effect.
fn time_outs(
    label: &str,
    overrides: &TimeoutOverrides,
    allowed: Option<&[&str]>,
    found: &mut Findings,
) {
    for (key, value) in overrides.all() {
        let Some(value) = value else { continue };
        zero_time_out(key, value, &overrides.origins, found);
        if allowed.is_some_and(|allowed| !allowed.contains(&key)) {
            let message = format!("timeouts.{key} has no effect in {label}");
            let origin = overrides.origins.field_or_section(key);
            found.no_effect(
                origin,
                message,
                "it is over before this place is known: set it wider",
            );
        }
    }
}

/// Without a time-out a peer that vanished holds its connection for ever.
fn zero_time_out(key: &'static str, value: Duration, origins: &Origins, found: &mut Findings) {
    // `total` is off by default: every step has a limit of its own.
    let Some(origin) = origins.field(key) else {
        return;
    };
    if value.is_zero() && key != "total" {
        let message =
            format!("timeouts.{key} is off: whoever stops answering holds a connection for ever");
        let diagnostic = Diagnostic::warning("no-time-out", origin, message);
        found.push(diagnostic.hint("a long limit such as \"1h\" is safer than none"));
    }
}

/// Warns about limits that have no effect in a narrower place.
fn limits(label: &str, overrides: &LimitOverrides, allowed: &[&str], found: &mut Findings) {
    for (key, origin) in overrides.origins.written() {
        if !allowed.contains(&key) {
            let message = format!("limits.{key} has no effect in {label}");
            found.no_effect(
                origin,
                message,
                "it is applied before this place is known: set it wider",
            );
        }
    }
}
