//! Runs one test and finds the line of its log that tells most.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clearway_base::clock;

use super::case::Case;
use super::fetch::Fetched;
use super::program::Program;
use super::told;

/// What each test gets to keep what it is told and says, as the tests' own script does.
const BUFFER: &str = "2097152";

/// varnishtest's status for a test that found something it needs missing.
const LEFT_OUT: i32 = 77;

/// What all runs share.
pub(super) struct Run<'a> {
    pub(super) program: &'a Program,
    pub(super) fetched: &'a Fetched,
    pub(super) folder: &'a Folder,
    /// Where the logs of tests that failed are written to.
    pub(super) logs: PathBuf,
    /// Seconds that a test may take.
    pub(super) patience: u32,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It passed, after so many seconds.
    Passed(f64),
    /// It failed: the first telling line.
    Failed(String),
    /// It was not run, and why.
    LeftOut(String),
}

impl Run<'_> {
    /// Runs a test, if the program has what it needs.
    pub(super) fn judge(&self, case: &Case) -> Verdict {
        if let Some(why) = self.program.lacks(&case.needs) {
            return Verdict::LeftOut(why);
        }
        self.run(case).unwrap_or_else(Verdict::Failed)
    }

    fn run(&self, case: &Case) -> Result<Verdict, String> {
        let own = self.folder.path.join(case.name.replace('/', "-"));
        // Paths of sockets are short, so the folder is.
        let own = own.with_file_name(short(&own));
        fs::create_dir_all(&own).map_err(told(&own))?;
        let begin = clock::now();
        let mut command = Command::new("timeout");
        command.args([
            "--kill-after=2",
            &self.patience.saturating_add(5).to_string(),
        ]);
        command.arg(&self.fetched.tester);
        command.args(["-b", BUFFER, "-t", &self.patience.to_string()]);
        command.arg(&case.file).stdin(Stdio::null());
        command
            .env("TMPDIR", &own)
            .env("HAPROXY_PROGRAM", &self.program.link);
        command.env("HAPROXY_ARGS", "-dM");
        if let Some(folder) = &self.fetched.libraries {
            command.env("LD_LIBRARY_PATH", folder);
        }
        let done = command.output().map_err(|error| error.to_string())?;
        let seconds = clock::now().since(begin).as_secs_f64();
        end_those_left(&own);
        fs::remove_dir_all(&own).map_err(told(&own))?;
        let mut log = String::from_utf8_lossy(&done.stdout).into_owned();
        log.push_str(&String::from_utf8_lossy(&done.stderr));
        match done.status.code() {
            Some(0) => Ok(Verdict::Passed(seconds)),
            Some(LEFT_OUT) => Ok(Verdict::LeftOut(
                "finds a program or feature missing".to_owned(),
            )),
            Some(_) | None => {
                let file = self.logs.join(format!("{}.log", case.name));
                let folder = file.parent().unwrap_or(&self.logs);
                fs::create_dir_all(folder).map_err(told(folder))?;
                fs::write(&file, &log).map_err(told(&file))?;
                Ok(Verdict::Failed(telling(&log)))
            }
        }
    }
}

/// A name of a few characters for a long one.
fn short(path: &Path) -> String {
    let name = path.to_string_lossy();
    let sum = name.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("{sum:x}")
}

/// Ends processes that a test began and left behind: their command lines name its folder.
fn end_those_left(folder: &Path) {
    let wanted = folder.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_one = String::from_utf8_lossy(&line).contains(&format!("{wanted}/"));
        if is_one {
            // Gone already is as good.
            drop(Command::new("kill").args(["-KILL", &name]).output());
        }
    }
}

/// The line that tells most: what the program under test complains of, else what the tester does, else the
/// last one.
fn telling(log: &str) -> String {
    let first = |wanted: &dyn Fn(&str) -> bool| log.lines().find(|line| wanted(line));
    let alert = first(&|line| line.contains("[ALERT]") && line.contains("debug|"));
    let panicked = first(&|line| line.contains("panicked at"));
    let error = first(&|line| line.contains("debug|") && line.contains("error:"));
    let tester = first(&|line| line.starts_with("----"));
    let line = panicked.or(alert).or(error).or(tester);
    let line = line.or_else(|| log.lines().last()).unwrap_or("no log");
    let line = line.split_once("debug|").map_or(line, |(_, said)| said);
    line.trim().chars().take(200).collect()
}

/// A folder with a short name that goes when the run is over.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn make() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("cw{}", std::process::id()));
        fs::create_dir_all(&path).map_err(told(&path))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left in the temporary one is no reason to fail.
        drop(fs::remove_dir_all(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_most() {
        let log =
            "**   top  x\n---- c1  Expect failed\n***  h1 debug|[ALERT]  (1) : config : y\n* end\n";
        assert_eq!(telling(log), "[ALERT]  (1) : config : y");
        assert_eq!(
            telling("a\n---- c1  Expect failed\nb"),
            "---- c1  Expect failed"
        );
        assert_eq!(telling("a\nb\n"), "b");
        assert_eq!(telling(""), "no log");
    }
}
