//! Writing logs, on threads of their own: the access log from the workers' rings, the log of failed
//! requests from control.
//!
//! Nothing here can slow a worker or control: a ring that is not emptied in time drops records and
//! counts them, and so does the queue of failed requests. A file that cannot be written (full disk)
//! or a reader that does not read (a pipe) costs log lines, which are counted, and nothing else;
//! writing resumes by itself.

mod sink;
mod syslog;

pub(crate) use syslog::Sender;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use clearway_base::intern::Name;
use clearway_base::ring::Reader;
use clearway_config::model::{AccessLog, Config, LogSample};
use clearway_outcome::Record;
use clearway_telemetry::codec;
use clearway_telemetry::line::{Layout, parcel};
use tokio::time::Instant;

use sink::{Place, Sink};

use crate::state::State;

/// Longest time between two looks at the rings.
const PAUSE: Duration = Duration::from_millis(50);
/// The same while nothing is to be written.
const IDLE_PAUSE: Duration = Duration::from_secs(1);
/// Bytes that are gathered before they are written.
const BATCH: usize = 64 * 1_024;
/// Batches of failed requests that may wait to be written.
const WAITING: usize = 1_024;

/// What a log thread is told while it runs.
#[derive(Default)]
struct Control {
    stop: AtomicBool,
    reopen: AtomicBool,
    /// Other places and logs, after a reload.
    change: Mutex<Option<Desk>>,
}

/// What a log thread writes: sinks, and the logs that go to them by the names that workers use.
#[derive(Default)]
struct Desk {
    sinks: Vec<Outlet>,
    logs: BTreeMap<u32, Known>,
}

/// An access log as its thread knows it.
struct Known {
    layout: Layout,
    /// The place of its sink.
    at: usize,
    /// Which of its lines are written; all when absent.
    sample: Option<Sample>,
    /// It stands in no configuration any more.
    is_former: bool,
}

/// A part of the lines of a log.
struct Sample {
    of: u32,
    places: Vec<u32>,
    /// The place of the last line.
    last: u32,
}

impl Sample {
    fn new(settings: &LogSample) -> Self {
        Self {
            of: settings.of.max(1),
            places: settings.places.clone(),
            last: 0,
        }
    }

    /// Counts a line; whether it is written.
    fn takes(&mut self) -> bool {
        self.last = self.last % self.of + 1;
        self.places.contains(&self.last)
    }
}

/// A sink with the lines that are to be written to it.
struct Outlet {
    sink: Sink,
    lines: Vec<u8>,
}

impl Desk {
    /// Opens what is not open yet and says which sink it is.
    fn open(&mut self, place: Place) -> Result<usize, String> {
        let known = self
            .sinks
            .iter()
            .position(|known| known.sink.place == place);
        if let Some(at) = known {
            return Ok(at);
        }
        self.sinks.push(Outlet {
            sink: Sink::open(place)?,
            lines: Vec::new(),
        });
        Ok(self.sinks.len() - 1)
    }

    /// Opens what access logs ask for.
    fn of_access(logs: &[AccessLog]) -> Result<Self, String> {
        let mut desk = Self::default();
        for log in logs {
            let at = desk.open(Place::new(&log.to, &log.syslog))?;
            let known = Known {
                layout: log.layout(),
                at,
                sample: log.sample.as_ref().map(Sample::new),
                is_former: false,
            };
            desk.logs.insert(Name::new(&log.key()).raw(), known);
        }
        Ok(desk)
    }

    /// Adds the line of a log to what is to be written.
    fn line(
        &mut self,
        name: Name,
        values: parcel::Values<'_>,
        record: &Record<'_>,
        (control, state): (&Control, &State),
    ) {
        let Some(known) = self.logs.get_mut(&name.raw()) else {
            // The log was removed, and another reload has passed since.
            state.log_failures.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if let Some(outlet) = self.sinks.get_mut(known.at) {
            let before = outlet.lines.len();
            known.layout.write(record, values, &mut outlet.lines);
            if outlet.lines.len() > before
                && known.sample.as_mut().is_some_and(|sample| !sample.takes())
            {
                outlet.lines.truncate(before);
            }
            if outlet.lines.len() >= BATCH {
                flush(outlet, control, state);
            }
        }
    }

    /// Takes over the logs of the desk before that no configuration has any more, for requests that
    /// still run; those that it had taken over itself are forgotten.
    fn succeed(&mut self, before: Self) {
        let mut outlets: Vec<Option<Outlet>> = before.sinks.into_iter().map(Some).collect();
        let mut places: Vec<Option<usize>> = outlets.iter().map(|_| None).collect();
        for (name, mut known) in before.logs {
            if known.is_former || self.logs.contains_key(&name) {
                continue;
            }
            let (Some(outlet), Some(place)) = (outlets.get_mut(known.at), places.get_mut(known.at))
            else {
                continue;
            };
            let at = *place.get_or_insert_with(|| self.adopt(outlet));
            (known.at, known.is_former) = (at, true);
            self.logs.insert(name, known);
        }
    }

    /// The sink for the place of a former one: the one that is open, else that one itself.
    fn adopt(&mut self, former: &mut Option<Outlet>) -> usize {
        let Some(outlet) = former.take() else {
            return usize::MAX;
        };
        let place = &outlet.sink.place;
        let known = self
            .sinks
            .iter()
            .position(|known| known.sink.place == *place);
        known.unwrap_or_else(|| {
            self.sinks.push(outlet);
            self.sinks.len() - 1
        })
    }
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
    access: Desk,
    faults: Desk,
}

impl Sinks {
    /// Opens what a configuration asks for.
    ///
    /// # Errors
    /// A file cannot be opened, as a sentence.
    pub(crate) fn open(config: &Config) -> Result<Self, String> {
        let access = Desk::of_access(&config.access_logs())?;
        let mut faults = Desk::default();
        faults.open(Place::new(&config.log.faults, &config.log.syslog))?;
        Ok(Self { access, faults })
    }
}

/// Tries whether the logs of a configuration can be written, which makes their files.
///
/// # Errors
/// Which cannot, as a sentence.
pub fn try_logs(config: &Config) -> Result<(), String> {
    Sinks::open(config).map(drop)
}

impl Logs {
    /// Starts the threads. If one cannot be had its log drops everything, which is counted.
    pub(crate) fn start(state: &Arc<State>, rings: Vec<Reader>, sinks: Sinks) -> Self {
        let (access, faults) = (Arc::<Control>::default(), Arc::<Control>::default());
        let (queue, waiting) = sync_channel(WAITING);
        let (told, counts) = (Arc::clone(&access), Arc::clone(state));
        let one = spawn("clearway-log", move || {
            write_access(rings, sinks.access, &told, &counts);
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
        let set = |control: &Control, desk| {
            let mut change = control
                .change
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *change = Some(desk);
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
        for control in [&self.access, &self.faults] {
            control.stop.store(true, Ordering::Release);
        }
        self.wake(state);
        self.queue = None;
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
    fn obey(&self, desk: &mut Desk, state: &State) {
        let change = self
            .change
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(new) = change {
            let before = std::mem::replace(desk, new);
            desk.succeed(before);
        }
        if self.reopen.swap(false, Ordering::AcqRel) {
            for outlet in &mut desk.sinks {
                if outlet.sink.reopen().is_err() {
                    state.log_failures.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn write_access(mut rings: Vec<Reader>, mut desk: Desk, control: &Control, state: &State) {
    // The workers' word that a ring is half full comes from their runtimes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let Ok(runtime) = runtime else { return };
    let mut attempts = Vec::new();
    loop {
        let stop = control.stop.load(Ordering::Acquire);
        control.obey(&mut desk, state);
        let mut taken = 0;
        for ring in &mut rings {
            taken += ring.drain(|parcel| {
                // What cannot be read was not written by a worker of this process.
                let Some(record) = parcel::read(parcel, |_, _| ()) else {
                    return;
                };
                codec::look(record, &mut attempts, |record| {
                    parcel::read(parcel, |name, values| {
                        desk.line(name, values, record, (control, state));
                    });
                });
            });
        }
        for outlet in &mut desk.sinks {
            flush(outlet, control, state);
        }
        if taken == 0 && stop {
            return;
        }
        let pause = if desk.logs.is_empty() {
            IDLE_PAUSE
        } else {
            PAUSE
        };
        runtime.block_on(async {
            let more = state.shared.log_waiting.notified();
            drop(tokio::time::timeout(pause, more).await);
        });
    }
}

fn write_faults(waiting: &Receiver<Vec<u8>>, mut desk: Desk, control: &Control, state: &State) {
    loop {
        // It ends when nobody can send any more, or nothing is left to be written when it is told to.
        let lines = match control.stop.load(Ordering::Acquire) {
            true => waiting.try_recv().ok(),
            false => waiting.recv().ok(),
        };
        let Some(lines) = lines else { return };
        control.obey(&mut desk, state);
        if let Some(outlet) = desk.sinks.first_mut() {
            outlet.lines = lines;
            flush(outlet, control, state);
        }
    }
}

fn flush(outlet: &mut Outlet, control: &Control, state: &State) {
    if outlet.lines.is_empty() {
        return;
    }
    let lost = outlet.sink.write(&outlet.lines, &|| control.is_waiting());
    state.log_failures.fetch_add(lost, Ordering::Relaxed);
    outlet.lines.clear();
}

/// Counts lines that could not be written.
pub(crate) fn lost(state: &State, lines: &[u8]) {
    let count = lines.iter().filter(|&&b| b == b'\n').count() as u64;
    state.log_failures.fetch_add(count, Ordering::Relaxed);
}
