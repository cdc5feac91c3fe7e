//! A collector of log messages by UDP, as rsyslog is on most hosts.

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;

/// Listens until the process ends and writes each message as a line of a file.
///
/// # Panics
/// When the address or the file cannot be had.
pub(super) fn collect(address: &str, file: &Path) {
    let socket = UdpSocket::bind(address).expect("a socket for log messages");
    let mut file = File::create(file).expect("a file for log messages");
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            if writeln!(file, "{}", line(&text)).is_err() {
                return;
            }
        }
    });
}

/// Without the number of the facility, and with the host behind the time: `Nov 21 10:00:00 lab haproxy[7]: …`.
fn line(message: &str) -> String {
    let message = message.trim_end();
    let text = match message.split_once('>') {
        Some((number, rest)) if number.starts_with('<') => rest,
        Some(_) | None => message,
    };
    // A time of RFC 3164 has 15 letters.
    match (text.get(..15), text.get(15..)) {
        (Some(time), Some(rest)) => format!("{time} lab{rest}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_rsyslog_writes_them() {
        let message = "<134>Nov 21 10:00:00 haproxy[7]: Proxy web started.\n";
        assert_eq!(
            line(message),
            "Nov 21 10:00:00 lab haproxy[7]: Proxy web started."
        );
    }
}
