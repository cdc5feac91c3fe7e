//! Finding and running other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where administrators' programs live when `PATH` of an ordinary user leaves them out.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The file that `name` would run: a path as it is, else the first hit in `PATH` and the system
/// folders.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return is_program(Path::new(name)).then(|| PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Cargo as the one that runs us, so that tool-chain overrides hold.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(crate::root());
    command
}

/// Runs a command to its end, output to our terminal.
///
/// # Errors
/// When it cannot start or ends with another status than 0.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let words = words(command);
    let status = command
        .status()
        .map_err(|error| format!("cannot run `{words}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{words}` ended with {status}"))
    }
}

/// Runs a command to its end and returns what it printed, standard output first, then standard error.
///
/// # Errors
/// When it cannot start or ends with another status than 0; the message holds its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let words = words(command);
    let done = command
        .output()
        .map_err(|error| format!("cannot run `{words}`: {error}"))?;
    let stderr = String::from_utf8_lossy(&done.stderr);
    if !done.status.success() {
        return Err(format!("`{words}` ended with {}: {stderr}", done.status));
    }
    Ok(format!("{}{stderr}", String::from_utf8_lossy(&done.stdout)))
}

/// The command line as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let known = program.file_name().filter(|name| *name == "cargo");
    let mut text = known
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// Whether we run as root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs_and_not_other_files() {
        assert!(find("sh").is_some());
        assert!(find("/bin/sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
        assert_eq!(find("/etc/passwd"), None);
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let why = run(Command::new("false").arg("x")).unwrap_err();
        assert!(why.contains("`false x`"), "{why}");
        let why = output(Command::new("sh").args(["-c", "echo because >&2; exit 3"])).unwrap_err();
        assert!(why.contains("because"), "{why}");
    }
}
