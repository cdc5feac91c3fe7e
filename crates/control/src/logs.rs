//! The log thread: takes records from the workers' rings, formats them, and writes in batches.
//!
//! Nothing here can slow a worker: a ring that is not emptied in time drops records and counts them.
//! A file that cannot be written (full disk) or a reader that does not read (a pipe) costs log lines,
//! which are counted, and nothing else; writing resumes by itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearway_base::ring::Reader;
use clearway_config::model::{LogDestination, LogFormat};
use clearway_telemetry::codec;
use clearway_telemetry::format;

use crate::state::State;

/// How long the thread sleeps when nobody wakes it.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes that are gathered before they are written.
const BATCH: usize = 64 * 1_024;

/// Where log lines go.
pub(crate) struct Sink {
    destination: LogDestination,
    file: Option<File>,
}

impl Sink {
    /// A sink for a destination; a file is opened at the first line.
    pub(crate) fn new(destination: LogDestination) -> Self {
        Self { destination, file: None }
    }

    /// Whether anything is written at all.
    pub(crate) fn is_off(&self) -> bool {
        matches!(self.destination, LogDestination::Off)
    }

    /// Forgets the open file, so that it is opened again by name: after rotation.
    pub(crate) fn reopen(&mut self) {
        self.file = None;
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// What the system said; the lines are lost.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match &self.destination {
            LogDestination::Off => Ok(()),
            LogDestination::Stdout => io::stdout().write_all(lines),
            LogDestination::Stderr => io::stderr().write_all(lines),
            LogDestination::File(path) => {
                if self.file.is_none() {
                    self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
                }
                let Some(file) = &mut self.file else { return Ok(()) };
                let written = file.write_all(lines);
                if written.is_err() {
                    // A file that failed is opened anew: the disk may have been replaced.
                    self.file = None;
                }
                written
            }
        }
    }
}

/// What the log thread is told.
pub(crate) struct LogControl {
    /// End after what is waiting was written.
    pub(crate) stop: AtomicBool,
    /// Open files again by name.
    pub(crate) reopen: AtomicBool,
}

/// Writes the access log until told to stop. Runs on a thread of its own.
pub(crate) fn write_access(
    mut rings: Vec<Reader>,
    destination: LogDestination,
    log_format: LogFormat,
    control: &Arc<LogControl>,
    state: &Arc<State>,
) {
    let mut sink = Sink::new(destination);
    let mut lines = Vec::with_capacity(2 * BATCH);
    loop {
        let stop = control.stop.load(Ordering::Acquire);
        if control.reopen.swap(false, Ordering::AcqRel) {
            sink.reopen();
        }
        let mut taken = 0;
        for ring in &mut rings {
            taken += ring.drain(|record| {
                let Some(record) = codec::decode(record) else { return };
                format::write(log_format, &record.as_record(), &mut lines);
                if lines.len() >= BATCH {
                    flush(&mut sink, &mut lines, state);
                }
            });
        }
        flush(&mut sink, &mut lines, state);
        if taken == 0 {
            if stop {
                return;
            }
            std::thread::park_timeout(PAUSE);
        }
    }
}

fn flush(sink: &mut Sink, lines: &mut Vec<u8>, state: &State) {
    if lines.is_empty() {
        return;
    }
    if sink.write(lines).is_err() {
        let lost = lines.iter().filter(|&&b| b == b'\n').count() as u64;
        state.log_failures.fetch_add(lost, Ordering::Relaxed);
    }
    lines.clear();
}
