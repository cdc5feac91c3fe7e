//! Logs: found out what they are, read line by line into the docket.

use std::io;
use std::process::{Child, Command, Stdio};

use clearway_base::clock;
use clearway_outcome::{Sighting, Speaker};
use clearway_telemetry::read::{self, Format, Reader, Stats, Zone};

use super::Examination;
use super::input::{self, Input};
use super::options;
use super::sources::{From, Log, Sources};
use super::terminal::Progress;

/// Most logs that are read.
const LOGS: usize = 400;
/// Reading a larger log is shown.
const LARGE: u64 = 32 << 20;

/// A log that has begun to be read.
struct Opened {
    name: String,
    /// Whether only the configuration names it.
    is_found: bool,
    input: Input,
    /// The program that writes it.
    child: Option<Child>,
    reader: Reader,
}

/// Reads all of them; error logs first, so that access logs can be laid beside them.
pub(super) fn read(on: &mut Examination, sources: &mut Sources) {
    let mut logs = std::mem::take(&mut sources.logs);
    if logs.len() > LOGS {
        on.note(format!(
            "Of {} logs the first {LOGS} were read.",
            logs.len()
        ));
        logs.truncate(LOGS);
    }
    let mut inputs = Vec::new();
    for log in logs {
        match open(on, &log) {
            Ok((input, child)) => inputs.push((log, input, child)),
            Err(error) => on.trouble(&format!("{}: {error}", log.name)),
        }
    }
    let written = inputs
        .iter()
        .find_map(|(_, input, _)| zone_in(input.lines()));
    let zone = on.options.timezone.or(written).or_else(zone_here);
    let mut opened = Vec::new();
    for (log, input, child) in inputs {
        match reader(on, &log, &input, zone.unwrap_or_default()) {
            Ok(reader) => opened.push(Opened {
                name: log.name,
                is_found: log.is_found,
                input,
                child,
                reader,
            }),
            Err(words) => on.trouble(&format!("{}: {words}", log.name)),
        }
    }
    opened.sort_by_key(|log| log.reader.format() != Format::NginxError);
    let mut range = (None, None);
    for log in opened {
        read_one(on, log, &mut range);
    }
    if let (Some(first), Some(last)) = range {
        on.note(format!(
            "The logs are from {} to {}.",
            shown(first),
            shown(last)
        ));
    }
    on.docket.settle();
}

fn shown(us: i64) -> String {
    let text = u64::try_from(us).map(clock::rfc3339).unwrap_or_default();
    let day = text.get(..10).unwrap_or_default();
    let time = text.get(11..19).unwrap_or_default();
    format!("{day} {time} UTC")
}

fn open(on: &Examination, log: &Log) -> Result<(Input, Option<Child>), String> {
    match &log.from {
        From::File(path) => match Input::file(path) {
            Ok(input) => Ok((input, None)),
            Err(error) => Err(input::words(&error)),
        },
        From::Stdin => match Input::stdin() {
            Ok(input) => Ok((input, None)),
            Err(error) => Err(input::words(&error)),
        },
        From::Journal(unit) => journal(on, unit),
    }
}

fn journal(on: &Examination, unit: &str) -> Result<(Input, Option<Child>), String> {
    let mut command = Command::new("journalctl");
    command.args(["--unit", unit, "--output", "short-iso", "--no-pager"]);
    if let Some(since) = on.options.since {
        command.arg(format!("--since=-{}s", since.as_secs()));
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            "there is no journalctl on this host; name the log with --log".to_owned()
        } else {
            format!("journalctl: {}", input::words(&error))
        }
    })?;
    let Some(stdout) = child.stdout.take() else {
        return Err("journalctl has no output".to_owned());
    };
    match Input::of(stdout, 0) {
        Ok(input) if input.head.is_empty() || input.head.starts_with(b"-- No entries") => {
            let status = child.wait();
            let is_well = status.is_ok_and(|status| status.success());
            Err(if is_well {
                "the journal has no lines of it; \"systemctl status\" knows the names of units"
                    .to_owned()
            } else {
                format!("journalctl fails; try \"journalctl -u {unit}\" as root")
            })
        }
        Ok(input) => Ok((input, Some(child))),
        Err(error) => Err(input::words(&error)),
    }
}

/// How lines are read: as asked for, as the configuration says, or as they look.
fn reader(on: &Examination, log: &Log, input: &Input, zone: Zone) -> Result<Reader, String> {
    if let Some(asked) = &on.options.log_format {
        return asked_for(asked, zone);
    }
    let head = input.lines();
    let mut candidates: Vec<(Format, Option<&str>)> = Vec::new();
    if let Some((format, text)) = &log.template {
        candidates.push((*format, Some(text)));
    }
    for survey in on.docket.surveys() {
        let format = match survey.speaker {
            Speaker::Nginx => Format::NginxAccess,
            Speaker::Haproxy => Format::Haproxy,
            Speaker::Clearway | Speaker::Envoy | Speaker::Alb => continue,
        };
        let texts = survey.fronts.iter().flat_map(|front| &front.access_logs);
        let texts = texts.map(|(_, text)| text.as_str());
        candidates.extend(
            texts
                .filter(|text| text.contains(['$', '%']))
                .map(|t| (format, Some(t))),
        );
    }
    candidates.extend(read::detect(head).map(|format| (format, None)));
    candidates.dedup();
    let mut best: Option<(u64, Format, Option<&str>)> = None;
    for (format, text) in candidates {
        let understood = understood(format, text, head);
        if understood > best.map_or(0, |(most, ..)| most) {
            best = Some((understood, format, text));
        }
    }
    let (format, text) = match best {
        Some((_, format, text)) => (format, text),
        None if head.trim_ascii().is_empty() => (Format::NginxAccess, None),
        None => return Err(unknown_format()),
    };
    made(format, text, zone)
}

fn made(format: Format, text: Option<&str>, zone: Zone) -> Result<Reader, String> {
    let reader = match text {
        Some(text) => Reader::with_template(format, text, zone),
        None => Reader::new(format, zone),
    };
    reader.map_err(|error| format!("--log-format: {error}"))
}

fn asked_for(asked: &str, zone: Zone) -> Result<Reader, String> {
    if let Some(format) = Format::from_name(asked) {
        return made(format, None, zone);
    }
    let is_envoy = asked
        .split('%')
        .skip(1)
        .step_by(2)
        .any(|name| name.len() > 3 && name.starts_with(|c: char| c.is_ascii_uppercase()));
    let format = match (asked.contains('$'), asked.contains('%')) {
        (true, _) => Format::NginxAccess,
        (false, true) if is_envoy => Format::Envoy,
        (false, true) => Format::Haproxy,
        (false, false) => {
            let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
            return Err(format!(
                "--log-format: {asked:?} is neither a text with fields nor one of {}",
                names.join(", ")
            ));
        }
    };
    made(format, Some(asked), zone)
}

fn unknown_format() -> String {
    "its lines are in no format that is known; --log-format gives their text, as it stands behind \
     log_format (NGINX), log-format (HAProxy) or text_format (Envoy)"
        .to_owned()
}

/// How many of the first lines a format understands, if it is more than half.
fn understood(format: Format, text: Option<&str>, head: &[u8]) -> u64 {
    let Ok(mut reader) = made(format, text, Zone::default()) else {
        return 0;
    };
    reader.feed("", head, &mut |_| ());
    let stats = reader.stats();
    if stats.understood * 2 > stats.lines {
        stats.understood
    } else {
        0
    }
}

fn read_one(on: &mut Examination, log: Opened, range: &mut (Option<i64>, Option<i64>)) {
    let Opened {
        name,
        is_found,
        input,
        child,
        mut reader,
    } = log;
    let oldest = on.options.since.and_then(|since| {
        let since = u64::try_from(since.as_micros()).ok()?;
        i64::try_from(clock::wall().saturating_sub(since)).ok()
    });
    let docket = &mut on.docket;
    let mut tell = |seen: &Sighting<'_>| {
        let is_old = oldest.is_some_and(|oldest| seen.at_us.is_some_and(|at| at < oldest));
        if !is_old {
            docket.observe(seen);
        }
    };
    let size = input.size;
    let mut progress = Progress::new();
    let result = input.each(|bytes, read| {
        if size > LARGE {
            let percent = read.saturating_mul(100) / size;
            progress.show(&format!("{name}: {percent} %"));
        }
        reader.feed(&name, bytes, &mut tell);
    });
    reader.end(&name, &mut tell);
    drop(progress);
    if let Err(error) = result {
        on.trouble(&format!(
            "{name}: {}; what came before was read",
            input::words(&error)
        ));
    }
    if let Some(mut child) = child {
        // Its output has ended, so it ends too.
        drop(child.wait());
    }
    let stats = reader.stats();
    if stats.understood == 0 && stats.lines > 0 {
        return on.trouble(&format!(
            "{name}: none of its {} lines was understood",
            stats.lines
        ));
    }
    on.examined += 1;
    on.docket.add_stats(speaker(reader.format()), stats);
    range.0 = [range.0, stats.first_us].into_iter().flatten().min();
    range.1 = range.1.max(stats.last_us);
    if stats.lines > 0 || !is_found {
        tell_of(on, &name, stats);
    }
}

fn tell_of(on: &mut Examination, name: &str, stats: &Stats) {
    if stats.lines == 0 {
        return on.note(format!("{name} is empty."));
    }
    if let Some(first) = &stats.first_unknown {
        on.note(format!(
            "{name}: {} of {} lines were not understood, first line {}: {}",
            stats.not_understood(),
            stats.lines,
            first.line,
            first.text
        ));
    }
}

fn speaker(format: Format) -> Speaker {
    match format {
        Format::Clearway => Speaker::Clearway,
        Format::Alb => Speaker::Alb,
        Format::Haproxy => Speaker::Haproxy,
        Format::NginxError | Format::NginxAccess => Speaker::Nginx,
        Format::Envoy => Speaker::Envoy,
    }
}

/// The zone in the stamps of an access log: `[21/Nov/2026:04:34:26 +0100]`.
fn zone_in(head: &[u8]) -> Option<Zone> {
    let text = std::str::from_utf8(head.get(..head.len().min(2_000))?).ok()?;
    let stamps = text.split('[').skip(1);
    stamps
        .filter_map(|stamp| stamp.split_once(']'))
        .filter(|(stamp, _)| stamp.len() == 26 && stamp.matches('/').count() == 2)
        .find_map(|(stamp, _)| options::zone(stamp.rsplit(' ').next()?).ok())
}

/// The zone of this host, as `date` knows it.
fn zone_here() -> Option<Zone> {
    let output = Command::new("date").arg("+%z").output().ok()?;
    options::zone(std::str::from_utf8(&output.stdout).ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_in_access_logs() {
        let line = b"192.0.2.7 - - [21/Nov/2026:04:34:26 +0100] \"GET /[a] HTTP/1.1\" 502 157\n";
        assert_eq!(zone_in(line), Some(Zone(3_600)));
        assert_eq!(zone_in(b"2026/11/21 04:34:26 [error] 1#1: x"), None);
    }

    #[test]
    fn formats_are_told_by_name_or_by_text() {
        let format = |asked: &str| asked_for(asked, Zone(0)).map(|reader| reader.format());
        assert_eq!(format("nginx-error"), Ok(Format::NginxError));
        assert_eq!(format("$remote_addr $status"), Ok(Format::NginxAccess));
        assert_eq!(format("%ci:%cp [%tr] %ST"), Ok(Format::Haproxy));
        assert_eq!(format("[%START_TIME%] %RESPONSE_CODE%"), Ok(Format::Envoy));
        assert!(format("nginx").is_err_and(|words| words.contains("nginx-access")));
    }
}
