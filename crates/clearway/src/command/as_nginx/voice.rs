//! Messages in NGINX's shape: on standard error until the balancer runs, in the file of `error_log` from then on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clearway_base::clock;
use clearway_config::{Diagnostic, Severity};

use crate::command::{background, complain};

/// Whether standard error is the file of `error_log`.
static IN_FILE: AtomicBool = AtomicBool::new(false);

/// Says one thing.
pub(super) fn tell(level: &str, message: &str) {
    if !IN_FILE.load(Ordering::Relaxed) {
        for line in message.lines() {
            complain(&format!("nginx: [{level}] {line}\n"));
        }
        return;
    }
    let text = clock::rfc3339_seconds(clock::wall_seconds());
    let text = String::from_utf8_lossy(&text);
    let date = text
        .trim_end_matches('Z')
        .replace('-', "/")
        .replace('T', " ");
    let pid = std::process::id();
    for line in message.lines() {
        complain(&format!("{date} [{level}] {pid}#0: {line}\n"));
    }
}

/// Says everything that was found.
pub(super) fn tell_all(found: &[Diagnostic]) {
    for one in found {
        let level = match one.severity {
            Severity::Error => "emerg",
            Severity::Warning => "warn",
        };
        let mut text = one.message.clone();
        if let Some(expected) = &one.expected {
            text.push_str(&format!("; expected {expected}"));
        }
        // This command line has no `--ignore`.
        if let Some(hint) = &one.hint
            && one.code != "refused"
        {
            text.push_str(&format!("; {hint}"));
        }
        if one.line > 0 {
            text.push_str(&format!(" in {}:{}", one.file, one.line));
        }
        tell(level, &text);
    }
}

/// An error of the system with its number before it.
pub(super) fn reason(error: &std::io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    match error.raw_os_error() {
        Some(number) => format!("{number}: {words}"),
        None => words.to_owned(),
    }
}

/// Tries whether a file can be written, which makes it.
///
/// # Errors
/// Why not, in NGINX's words.
pub(super) fn try_file(path: &Path) -> Result<(), String> {
    background::append_to(path).map(drop).map_err(|error| {
        let (name, why) = (path.display(), reason(&error));
        format!("open() \"{name}\" failed ({why})")
    })
}

/// Goes on in a file, which is opened anew each time.
///
/// # Errors
/// Why not, in NGINX's words; all goes on as before.
pub(super) fn speak_into(path: &Path) -> Result<(), String> {
    try_file(path)?;
    let to = background::tell_into(path);
    to.map_err(|error| format!("open() \"{}\" failed ({})", path.display(), reason(&error)))?;
    IN_FILE.store(true, Ordering::Relaxed);
    Ok(())
}
