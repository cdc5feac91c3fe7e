//! The secrets of connections, written down for whoever has to look into them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file in the format of `SSLKEYLOGFILE`, which packet analysers read.
#[derive(Debug)]
pub(super) struct KeyLog(Mutex<File>);

impl KeyLog {
    /// Opens the file to append, readable by its owner alone.
    ///
    /// # Errors
    /// Why it cannot be opened, in words.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map(|file| Self(Mutex::new(file)))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl rustls::KeyLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        let hex = |bytes: &[u8], line: &mut String| {
            bytes
                .iter()
                .for_each(|b| line.push_str(&format!("{b:02x}")));
        };
        hex(client_random, &mut line);
        line.push(' ');
        hex(secret, &mut line);
        line.push('\n');
        // A full disk must not end connections.
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes()).unwrap_or_default();
    }
}
