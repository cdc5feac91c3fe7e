//! Closed incidents in a file, one JSON object a line: appended when one closes, read at the start,
//! written anew without what is too old.
//!
//! A line that was cut by a crash or a full disk is skipped; whoever reads the file with other tools sees
//! the same objects as the admin API shows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clearway_base::clock;
use serde_json::Value;

use super::KEPT;

/// Longest line that is read; what is longer was not written by us.
const LINE_MAX: usize = 256 << 10;

/// Where closed incidents are kept.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    file: File,
}

impl Store {
    /// Opens the file and gives what is in it, oldest first: at most [`KEPT`], none older than `keep`.
    ///
    /// # Errors
    /// When the file can be neither read nor made.
    pub(super) fn open(path: &Path, keep: Duration) -> io::Result<(Self, Vec<Value>)> {
        let (all, lines) = match File::open(path) {
            Ok(file) => read(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0),
            Err(error) => return Err(error),
        };
        let oldest = clock::wall().saturating_sub(micros(keep));
        let mut kept: Vec<Value> = all.into_iter().filter(|v| begun(v) >= oldest).collect();
        kept.drain(..kept.len().saturating_sub(KEPT));
        if kept.len() < lines {
            rewrite(path, &kept)?;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = options().append(true).create(true).open(path)?;
        let path = path.to_owned();
        Ok((Self { path, file }, kept))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn append(&mut self, incident: &Value) -> io::Result<()> {
        // In one write, so that two processes do not mix their lines.
        self.file.write_all(format!("{incident}\n").as_bytes())
    }
}

/// Nobody else reads what failed here.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// What can be read, and how many lines there are.
fn read(mut from: impl BufRead) -> io::Result<(Vec<Value>, usize)> {
    let (mut out, mut lines, mut line) = (Vec::new(), 0, Vec::new());
    loop {
        line.clear();
        if io::Read::take(&mut from, LINE_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok((out, lines));
        }
        lines += 1;
        if let Ok(value @ Value::Object(_)) = serde_json::from_slice(&line) {
            out.push(value);
        }
        if out.len() > 2 * KEPT {
            out.drain(..KEPT);
        }
    }
}

/// Puts another file in the place of the old one.
fn rewrite(path: &Path, incidents: &[Value]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&new)?;
    for incident in incidents {
        writeln!(file, "{incident}")?;
    }
    file.sync_all()?;
    fs::rename(new, path)
}

fn begun(incident: &Value) -> u64 {
    let at = incident["last_seen"]
        .as_str()
        .and_then(clock::parse_rfc3339);
    at.unwrap_or(0)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn incident(id: &str, ago: Duration) -> Value {
        let at = clock::wall() - micros(ago);
        json!({ "id": id, "last_seen": clock::rfc3339(at) })
    }

    fn ids(found: &[Value]) -> Vec<&str> {
        found
            .iter()
            .filter_map(|value| value["id"].as_str())
            .collect()
    }

    #[test]
    fn what_was_kept_is_read_and_what_is_old_goes() {
        let folder = std::env::temp_dir().join(format!("clearway-store-{}", std::process::id()));
        let path = folder.join("sub/incidents.jsonl");
        let day = Duration::from_secs(24 * 3_600);
        let (mut store, found) = Store::open(&path, day).unwrap();
        assert!(found.is_empty());
        store.append(&incident("old", 2 * day)).unwrap();
        store.append(&incident("new", Duration::ZERO)).unwrap();
        // Cut by a crash.
        fs::write(
            &path,
            [fs::read(&path).unwrap(), b"{\"id\":\"cut".to_vec()].concat(),
        )
        .unwrap();
        let (store, found) = Store::open(&path, day).unwrap();
        assert_eq!(ids(&found), ["new"]);
        assert_eq!(fs::read_to_string(store.path()).unwrap().lines().count(), 1);
        drop(fs::remove_dir_all(&folder));
    }
}
