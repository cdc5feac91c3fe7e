//! What a benchmark leaves behind when it ends, however it ends: nothing.
//!
//! Three nets, none of which needs a signal handler: values drop; every process is started with a
//! parent-death signal, so Ctrl-C and `kill -9` take it along; and the temporary folder has a janitor, a
//! shell that waits for the end of a pipe only we hold and then removes the folder.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clearway_base::clock;

use super::host;

/// A temporary folder that goes when this goes, or when we die.
pub(crate) struct Folder {
    path: PathBuf,
    janitor: Child,
}

// Processes with our parent-death signal may still write while the folder is removed: hence the retries.
const JANITOR: &str = r#"trap "" INT TERM HUP
cat >/dev/null
for round in 1 2 3 4 5; do rm -rf -- "$1" && [ ! -e "$1" ] && break; sleep 1; done"#;

impl Folder {
    /// Makes the folder and its janitor.
    ///
    /// # Errors
    /// When either fails.
    pub(crate) fn create() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("clearway-bench-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot run sh: {error}"))?;
        Ok(Self { path, janitor })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns its path.
    ///
    /// # Errors
    /// When writing fails.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, String> {
        let file = self.path.join(name);
        fs::write(&file, content).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        if self.janitor.wait().is_err() {
            eprintln!("bench: {} may be left behind", self.path.display());
        }
    }
}

/// What to start and where.
pub(crate) struct Spawn<'a> {
    /// What we call it.
    pub(crate) name: &'a str,
    /// Cores it may use, as taskset(1) writes them.
    pub(crate) cores: &'a str,
    /// The program.
    pub(crate) program: &'a Path,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// The file that OpenSSL gets its defaults from, if not the system's.
    pub(crate) openssl: Option<&'a Path>,
}

/// A running program, ended by its pid when dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program pinned to its cores, its output going to a file in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(spawn: &Spawn<'_>, folder: &Folder) -> Result<Self, String> {
        let log = folder.path().join(format!("{}.out", spawn.name));
        let out = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new("taskset");
        if let Some(file) = spawn.openssl {
            command.env("OPENSSL_CONF", file);
        }
        let child = command
            .args(["-c", spawn.cores, "setpriv", "--pdeathsig", "TERM"])
            .arg(spawn.program)
            .args(&spawn.args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", spawn.name))?;
        Ok(Self {
            child,
            name: spawn.name.to_owned(),
            log,
        })
    }

    /// Its pid and those of its children.
    pub(crate) fn tree(&self) -> Vec<u32> {
        host::tree(self.child.id())
    }

    /// Waits until somebody accepts connections on a loopback port.
    ///
    /// # Errors
    /// When the program ends, or ten seconds pass; the message holds what it printed.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> Result<(), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.wait_until("did not listen", || TcpStream::connect(address).is_ok())
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// When the program ends, or ten seconds pass; the message holds what it printed.
    pub(crate) fn wait_until(
        &mut self,
        complaint: &str,
        mut ready: impl FnMut() -> bool,
    ) -> Result<(), String> {
        let begin = clock::now();
        loop {
            if ready() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!(
                    "{} ended with {status}: {}",
                    self.name,
                    self.said()
                ));
            }
            if clock::now().since(begin) > Duration::from_secs(10) {
                return Err(format!("{} {complaint}: {}", self.name, self.said()));
            }
            host::pause(Duration::from_micros(300));
        }
    }

    /// What it printed so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it with the signal that it reports on, and waits.
    pub(crate) fn interrupt(&mut self) {
        host::signal("INT", &[self.child.id()]);
        self.reap(Duration::from_secs(5));
    }

    fn reap(&mut self, patience: Duration) -> bool {
        let begin = clock::now();
        while clock::now().since(begin) < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            host::pause(Duration::from_millis(2));
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let tree = self.tree();
        host::signal("TERM", &[self.child.id()]);
        if self.reap(Duration::from_secs(3)) {
            return;
        }
        // Still one of ours: the children of a live parent keep their pids until it reaps them.
        host::signal("KILL", &tree);
        if !self.reap(Duration::from_secs(5)) {
            eprintln!(
                "bench: {} (pid {}) does not end",
                self.name,
                self.child.id()
            );
        }
    }
}

/// Prints a line that is not part of the report.
pub(crate) fn progress(text: &str) {
    let mut out = std::io::stderr();
    // Nobody reads our progress: nothing to do about it.
    if writeln!(out, "bench: {text}").is_err() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_with_its_owner() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_path_buf();
        folder.write("x", "y").unwrap();
        assert!(path.join("x").exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_goes_with_its_owner() {
        let folder = Folder::create().unwrap();
        let spawn = Spawn {
            name: "sleeper",
            cores: &host::allowed_cores().unwrap().first().unwrap().to_string(),
            program: Path::new("/bin/sleep"),
            args: vec!["600".to_owned()],
            openssl: None,
        };
        let process = Process::start(&spawn, &folder).unwrap();
        let pid = process.child.id();
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
