//! What other balancers say of their servers when they are asked.

use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clearway_outcome::Speaker;
use clearway_telemetry::read::report;

use super::Examination;
use super::input::{self, Input};
use super::sources::Sources;

/// Larger reports are not read.
const LARGEST: u64 = 64 << 20;
/// How long a socket may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads all of them.
pub(super) fn read(on: &mut Examination, sources: &Sources) {
    for place in &sources.stats {
        stat(on, place);
    }
    for path in &sources.errors {
        if let Some(text) = text(on, path) {
            errors(on, &path.display().to_string(), &text);
        }
    }
    for path in &sources.target_health {
        let Some(text) = text(on, path) else { continue };
        let found = report::target_health(&text);
        if found.is_empty() && !text.contains("TargetHealthDescriptions") {
            on.trouble(&format!(
                "{}: that is not what \"aws elbv2 describe-target-health\" says",
                path.display()
            ));
            continue;
        }
        on.examined += 1;
        for health in &found {
            on.docket.add_health(Speaker::Alb, health);
        }
    }
    if on.examined > 0 {
        on.docket.settle();
    }
}

fn text(on: &mut Examination, path: &Path) -> Option<String> {
    let text = Input::file(path).and_then(|input| input.text(LARGEST));
    text.map_err(|error| on.trouble(&format!("{}: {}", path.display(), input::words(&error))))
        .ok()
}

/// `show stat` from a file, or from the socket that answers it.
fn stat(on: &mut Examination, place: &str) {
    let path = Path::new(place);
    let is_socket = std::fs::metadata(path).is_ok_and(|about| about.file_type().is_socket());
    let text = if is_socket {
        if let Ok(text) = ask(path, "show errors\n") {
            errors(on, place, &text);
        }
        ask(path, "show stat\n")
            .map_err(|error| on.trouble(&format!("{place}: {}", input::words(&error))))
            .ok()
    } else {
        text(on, path)
    };
    let Some(text) = text else { return };
    let found = report::show_stat(&text);
    if found.is_empty() {
        return on.trouble(&format!(
            "{place}: that is not what \"show stat\" says; its first line begins with \"# pxname,\""
        ));
    }
    on.examined += 1;
    for health in &found {
        on.docket.add_health(Speaker::Haproxy, health);
    }
}

fn errors(on: &mut Examination, place: &str, text: &str) {
    if !text.contains("Total events captured") {
        return on.trouble(&format!("{place}: that is not what \"show errors\" says"));
    }
    on.examined += 1;
    for error in &report::show_errors(text) {
        on.docket.add_captured(error);
    }
}

/// Asks HAProxy's socket.
fn ask(path: &Path, question: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
