//! What programs that run in the background do: leave the terminal, write down their process's id, tell
//! whoever started them, and signal those they replace.
//!
//! Going into the background is starting once more: a process with threads cannot be doubled safely. The
//! one that was started waits until the other one says that it is ready, and ends with what came of it.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal};

/// The first argument of the process in the background.
pub(super) const MARK: &str = "--in-the-background";

/// Starts this program once more with the same arguments and waits until it is ready.
///
/// # Errors
/// When it cannot be started.
pub(super) fn detach(arguments: &[OsString]) -> std::io::Result<ExitCode> {
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.first() {
        command.arg0(name);
    }
    command.arg(MARK).args(arguments.iter().skip(1));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = [0_u8; 1];
    let is_ready = match child.stdout.take() {
        Some(mut pipe) => pipe.read_exact(&mut word).is_ok(),
        None => false,
    };
    if is_ready {
        return Ok(ExitCode::SUCCESS);
    }
    // Nothing was said, so it ends; it has told why.
    let code = child.wait()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code.max(1)).unwrap_or(1)))
}

/// Leaves the terminal.
pub(super) fn leave_terminal() {
    // Whoever leads a session already has no terminal to leave.
    rustix::process::setsid().ok();
}

/// Tells the process that waits in [`detach`], and leaves its terminal to it.
pub(super) fn report_ready() {
    let mut out = std::io::stdout().lock();
    // One that waits no longer needs not be told.
    drop(out.write_all(b".").and_then(|()| out.flush()));
    if let Ok(null) = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        rustix::stdio::dup2_stdin(&null).ok();
        rustix::stdio::dup2_stdout(&null).ok();
        rustix::stdio::dup2_stderr(&null).ok();
    }
}

/// Opens a file to write behind what is in it, and makes it if it is not there.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn append_to(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
}

/// Has standard error lead into a file from now on.
///
/// # Errors
/// When it cannot be opened; all stays as it was.
pub(super) fn tell_into(path: &Path) -> std::io::Result<()> {
    let file = append_to(path)?;
    Ok(rustix::stdio::dup2_stderr(&file)?)
}

/// The first argument of a process that is to take over from another one.
pub(super) const SUCCESSOR: &str = "--takes-over";

/// Starts the program of this process anew, perhaps from another file of the same name, with the same
/// arguments; calls `failed` when it ends with an error.
///
/// # Errors
/// When it cannot be started.
pub(super) fn succeed(
    arguments: &[OsString],
    failed: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let named = arguments.first().map(Path::new);
    let file = match named.filter(|name| name.components().count() > 1) {
        Some(name) => name.to_path_buf(),
        None => {
            // The kernel marks a file that was replaced.
            let own = std::env::current_exe()?;
            let text = own.to_string_lossy();
            text.trim_end_matches(" (deleted)").into()
        }
    };
    let mut command = Command::new(file);
    if let Some(name) = arguments.first() {
        command.arg0(name);
    }
    let given = arguments.iter().skip(1);
    let given = given.filter(|given| *given != MARK && *given != SUCCESSOR);
    let mut child = command.arg(SUCCESSOR).args(given).spawn()?;
    let wait = move || {
        if !child.wait().is_ok_and(|status| status.success()) {
            failed();
        }
    };
    std::thread::Builder::new()
        .name("successor".to_owned())
        .spawn(wait)?;
    Ok(())
}

/// Removes a file that holds the id of this process, and no other's.
pub(super) fn remove_pid(file: &Path) {
    let own = std::process::id().to_string();
    if std::fs::read_to_string(file).is_ok_and(|text| text.trim() == own) {
        // One that is gone already is as good.
        drop(std::fs::remove_file(file));
    }
}

/// Writes the process's id into a file.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_pid(file: &Path) -> std::io::Result<()> {
    std::fs::write(file, format!("{}\n", std::process::id()))
}

/// Signals a process.
///
/// # Errors
/// When there is none, or it belongs to somebody else.
pub(super) fn signal(pid: i32, signal: Signal) -> std::io::Result<()> {
    let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
    let pid = pid.ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Tells the service manager, if it asked to be told (`sd_notify`): lines such as `READY=1`.
pub(super) fn notify(lines: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let tell = |address: SocketAddr| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(lines.as_bytes(), &address)
    };
    // A manager that cannot be reached waits in vain, which it says itself.
    drop(address.and_then(tell));
}
