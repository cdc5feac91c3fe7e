//! Writing logs, on threads of their own: the access log from the workers' rings, the log of failed
//! requests from control.
//!
//! Nothing here can slow a worker or control: a ring that is not emptied in time drops records and
//! counts them, and so does the queue of failed requests. A file that cannot be written (full disk)
//! or a reader that does not read (a pipe) costs log lines, which are counted, and nothing else;
//! writing resumes by itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clearway_base::ring::Reader;
use clearway_config::model::{Log, LogDestination, LogFormat};
use clearway_telemetry::codec;
use tokio::time::Instant;

use crate::state::State;

/// Longest time between two looks at the rings.
const PAUSE: Duration = Duration::from_millis(50);
/// The same while nothing is to be written.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait before a full FIFO is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(10);
/// Bytes that are gathered before they are written.
const BATCH: usize = 64 * 1_024;
/// Batches of failed requests that may wait to be written.
const WAITING: usize = 1_024;

/// Where log lines go.
pub(crate) struct Sink {
    destination: LogDestination,
    file: Option<File>,
}

impl Sink {
    /// A sink for a destination; a file is opened at once.
    ///
    /// # Errors
    /// The file cannot be opened, as a sentence.
    pub(crate) fn open(destination: &LogDestination) -> Result<Self, String> {
        let mut sink = Self {
            destination: destination.clone(),
            file: None,
        };
        if let LogDestination::File(path) = destination {
            sink.reopen()
                .map_err(|error| format!("log file {}: {error}", path.display()))?;
        }
        Ok(sink)
    }

    /// Opens the file again by its name: after rotation.
    fn reopen(&mut self) -> io::Result<()> {
        let LogDestination::File(path) = &self.destination else {
            return Ok(());
        };
        self.file = None;
        let is_fifo = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo());
        let mut options = OpenOptions::new();
        if is_fifo {
            // Opened for both directions a FIFO needs no reader; what it does not take at once is
            // tried again while nobody wants anything else of the thread.
            options
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK);
        } else {
            options.create(true).append(true);
        }
        self.file = Some(options.open(path)?);
        Ok(())
    }

    /// Writes whole lines; gives up on a reader that does not read when `is_wanted` elsewhere.
    ///
    /// # Errors
    /// What the system said; the lines are lost.
    fn write(&mut self, mut lines: &[u8], is_wanted: &dyn Fn() -> bool) -> io::Result<()> {
        match &self.destination {
            LogDestination::Off => return Ok(()),
            LogDestination::Stdout => return io::stdout().write_all(lines),
            LogDestination::Stderr => return io::stderr().write_all(lines),
            LogDestination::File(_) => {}
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        while !lines.is_empty() {
            match file.write(lines) {
                Ok(count) if count > 0 => lines = lines.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_wanted() => {
                    std::thread::park_timeout(FULL_PAUSE);
                }
                failed => {
                    // A file that failed is opened anew: the disk may have been replaced.
                    self.file = None;
                    return failed.and_then(|_| Err(io::ErrorKind::WriteZero.into()));
                }
            }
        }
        Ok(())
    }
}

/// What a log thread is told while it runs.
#[derive(Default)]
struct Control {
    stop: AtomicBool,
    reopen: AtomicBool,
    /// A new sink and format, after a reload.
    change: Mutex<Option<(Sink, LogFormat)>>,
}

/// The running log threads.
pub(crate) struct Logs {
    access: Arc<Control>,
    faults: Arc<Control>,
    queue: Option<SyncSender<Vec<u8>>>,
    threads: Vec<JoinHandle<()>>,
}

/// Sinks opened for a configuration that is not in force yet.
pub(crate) struct Sinks {
    access: Sink,
    faults: Sink,
    settings: Log,
}

impl Sinks {
    /// Opens what a configuration asks for.
    ///
    /// # Errors
    /// A file cannot be opened, as a sentence.
    pub(crate) fn open(log: &Log) -> Result<Self, String> {
        let (access, faults) = (Sink::open(&log.access)?, Sink::open(&log.faults)?);
        Ok(Self {
            access,
            faults,
            settings: log.clone(),
        })
    }
}

impl Logs {
    /// Starts the threads. If one cannot be had its log drops everything, which is counted.
    pub(crate) fn start(state: &Arc<State>, rings: Vec<Reader>, sinks: Sinks) -> Self {
        let (access, faults) = (Arc::<Control>::default(), Arc::<Control>::default());
        let (queue, waiting) = sync_channel(WAITING);
        let format = sinks.settings.format;
        let (told, counts) = (Arc::clone(&access), Arc::clone(state));
        let one = spawn("clearway-log", move || {
            write_access(rings, sinks.access, format, &told, &counts);
        });
        let (told, counts) = (Arc::clone(&faults), Arc::clone(state));
        let two = spawn("clearway-faults", move || {
            write_faults(&waiting, sinks.faults, &told, &counts);
        });
        let threads = one.into_iter().chain(two).collect();
        Self {
            access,
            faults,
            queue: Some(queue),
            threads,
        }
    }

    /// Where lines of failed requests go; `None` after [`Logs::finish`].
    pub(crate) fn queue(&self) -> Option<SyncSender<Vec<u8>>> {
        self.queue.clone()
    }

    /// Writes to other places, or in another format, from now on; files are the newly opened ones.
    pub(crate) fn change(&self, state: &State, sinks: Sinks) {
        let set = |control: &Control, sink| {
            let mut change = control
                .change
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *change = Some((sink, sinks.settings.format));
        };
        set(&self.access, sinks.access);
        set(&self.faults, sinks.faults);
        self.wake(state);
    }

    /// Opens files again by name: after rotation.
    pub(crate) fn reopen(&self, state: &State) {
        for control in [&self.access, &self.faults] {
            control.reopen.store(true, Ordering::Release);
        }
        self.wake(state);
    }

    /// Has both threads look at what they were told.
    fn wake(&self, state: &State) {
        state.shared.log_waiting.notify_one();
        if let Some(queue) = &self.queue {
            // No lines are news enough; a thread with a full queue looks before each entry.
            drop(queue.try_send(Vec::new()));
        }
    }

    /// Writes what is waiting and ends; a reader that does not read costs at most `limit`.
    pub(crate) async fn finish(mut self, state: &State, limit: Duration) {
        self.queue = None;
        self.access.stop.store(true, Ordering::Release);
        state.shared.log_waiting.notify_one();
        let until = Instant::now() + limit;
        let pause = Duration::from_millis(5);
        while self.threads.iter().any(|t| !t.is_finished()) && Instant::now() < until {
            tokio::time::sleep_until(Instant::now() + pause).await;
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .ok()
}

impl Control {
    /// Whether the thread was told something that it has not done yet.
    fn is_waiting(&self) -> bool {
        let change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.load(Ordering::Acquire) || self.reopen.load(Ordering::Acquire) || change.is_some()
    }

    /// Does what it was told since the last call.
    fn obey(&self, sink: &mut Sink, format: &mut LogFormat, state: &State) {
        let change = self
            .change
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((new, new_format)) = change {
            (*sink, *format) = (new, new_format);
        }
        if self.reopen.swap(false, Ordering::AcqRel) && sink.reopen().is_err() {
            state.log_failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_access(
    mut rings: Vec<Reader>,
    mut sink: Sink,
    mut format: LogFormat,
    control: &Control,
    state: &State,
) {
    // The workers' word that a ring is half full comes from their runtimes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let Ok(runtime) = runtime else { return };
    let mut lines = Vec::with_capacity(2 * BATCH);
    let mut attempts = Vec::new();
    loop {
        let stop = control.stop.load(Ordering::Acquire);
        control.obey(&mut sink, &mut format, state);
        let mut taken = 0;
        for ring in &mut rings {
            taken += ring.drain(|record| {
                // A record that cannot be read was not written by a worker of this process.
                codec::look(record, &mut attempts, |record| {
                    format.write(record, &mut lines);
                });
                if lines.len() >= BATCH {
                    flush(&mut sink, &mut lines, control, state);
                }
            });
        }
        flush(&mut sink, &mut lines, control, state);
        if taken == 0 && stop {
            return;
        }
        let pause = match sink.destination {
            LogDestination::Off => IDLE_PAUSE,
            LogDestination::Stdout | LogDestination::Stderr | LogDestination::File(_) => PAUSE,
        };
        runtime.block_on(async {
            let more = state.shared.log_waiting.notified();
            drop(tokio::time::timeout(pause, more).await);
        });
    }
}

fn write_faults(waiting: &Receiver<Vec<u8>>, mut sink: Sink, control: &Control, state: &State) {
    let mut format = LogFormat::Json;
    loop {
        // It ends when nobody can send any more.
        let Ok(mut lines) = waiting.recv() else {
            return;
        };
        control.obey(&mut sink, &mut format, state);
        flush(&mut sink, &mut lines, control, state);
    }
}

fn flush(sink: &mut Sink, lines: &mut Vec<u8>, control: &Control, state: &State) {
    if lines.is_empty() {
        return;
    }
    if sink.write(lines, &|| control.is_waiting()).is_err() {
        lost(state, lines);
    }
    lines.clear();
}

/// Counts lines that could not be written.
pub(crate) fn lost(state: &State, lines: &[u8]) {
    let count = lines.iter().filter(|&&b| b == b'\n').count() as u64;
    state.log_failures.fetch_add(count, Ordering::Relaxed);
}
