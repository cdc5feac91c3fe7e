//! Where log lines go: standard output, files, pipes, syslog servers.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use clearway_base::clock;
use clearway_config::model::{LogDestination, Syslog};

use super::syslog::Sender;

/// How long to wait before a full FIFO is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// What several logs may share: a destination, with what is around lines where it is a syslog server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) destination: LogDestination,
    /// Absent where there is nothing around lines.
    syslog: Option<Syslog>,
}

impl Place {
    pub(super) fn new(destination: &LogDestination, syslog: &Syslog) -> Self {
        let is_syslog = matches!(destination, LogDestination::Syslog(_));
        Self {
            destination: destination.clone(),
            syslog: is_syslog.then(|| syslog.clone()),
        }
    }
}

/// Where log lines go.
pub(super) struct Sink {
    pub(super) place: Place,
    open: Open,
}

enum Open {
    /// Nothing has to be opened.
    Nothing,
    /// A file; none after it failed.
    File(Option<File>),
    Syslog(Box<Sender>),
}

impl Sink {
    /// A sink for a place; a file is opened at once.
    ///
    /// # Errors
    /// The file cannot be opened or the server's name is not known, as a sentence.
    pub(super) fn open(place: Place) -> Result<Self, String> {
        let open = match (&place.destination, &place.syslog) {
            (LogDestination::File(path), _) => {
                let file = open_file(path);
                let words = |error| format!("log file {}: {error}", path.display());
                Open::File(Some(file.map_err(words)?))
            }
            (LogDestination::Syslog(address), Some(settings)) => {
                let sender = Sender::open(address, settings);
                let words = |error| format!("syslog server {address}: {error}");
                Open::Syslog(Box::new(sender.map_err(words)?))
            }
            (LogDestination::Off | LogDestination::Stdout | LogDestination::Stderr, _)
            | (LogDestination::Syslog(_), None) => Open::Nothing,
        };
        Ok(Self { place, open })
    }

    /// Opens a file again by its name: after rotation.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let (Open::File(file), LogDestination::File(path)) =
            (&mut self.open, &self.place.destination)
        {
            *file = None;
            *file = Some(open_file(path)?);
        }
        Ok(())
    }

    /// Writes whole lines and says how many are lost; gives up on a reader that does not read when
    /// `is_wanted` elsewhere.
    pub(super) fn write(&mut self, lines: &[u8], is_wanted: &dyn Fn() -> bool) -> u64 {
        let written = match (&self.place.destination, &mut self.open) {
            (LogDestination::Stdout, _) => io::stdout().write_all(lines),
            (LogDestination::Stderr, _) => io::stderr().write_all(lines),
            (LogDestination::File(path), Open::File(file)) => {
                write_file(file, path, lines, is_wanted)
            }
            (LogDestination::Syslog(_), Open::Syslog(sender)) => {
                return sender.send(lines, clock::now());
            }
            (LogDestination::Off | LogDestination::File(_) | LogDestination::Syslog(_), _) => {
                return 0;
            }
        };
        match written {
            Ok(()) => 0,
            Err(_) => lines.iter().filter(|&&b| b == b'\n').count() as u64,
        }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let is_fifo = std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo());
    let mut options = OpenOptions::new();
    if is_fifo {
        // Opened for both directions a FIFO needs no reader; what it does not take at once is tried
        // again while nobody wants anything else of the thread.
        options
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK);
    } else {
        options.create(true).append(true);
    }
    options.open(path)
}

fn write_file(
    open: &mut Option<File>,
    path: &Path,
    mut lines: &[u8],
    is_wanted: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut file = match open.take() {
        Some(file) => file,
        None => open_file(path)?,
    };
    while !lines.is_empty() {
        match file.write(lines) {
            Ok(count) if count > 0 => lines = lines.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_wanted() => {
                std::thread::park_timeout(FULL_PAUSE);
            }
            // A file that failed is opened anew: the disk may have been replaced.
            failed => return failed.and_then(|_| Err(io::ErrorKind::WriteZero.into())),
        }
    }
    *open = Some(file);
    Ok(())
}
