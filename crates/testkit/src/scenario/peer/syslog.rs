//! A collector of log messages by UDP, as rsyslog is on most hosts.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread::JoinHandle;

/// What ends the collector; nobody logs nothing.
const END: &[u8] = b"";

/// Writes each message as a line of a file.
#[derive(Debug)]
pub(super) struct Collector {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Listens there.
    ///
    /// # Panics
    /// When the address or the file cannot be had.
    pub(super) fn start(address: &str, file: &Path) -> Self {
        let socket = UdpSocket::bind(address).expect("a socket for log messages");
        let address = socket.local_addr().expect("its address");
        let mut file = File::create(file).expect("a file for log messages");
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok((length @ 1.., _)) = socket.recv_from(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                if writeln!(file, "{}", line(&text)).is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    /// Returns when everything that was sent before is written.
    ///
    /// # Panics
    /// When the collector has panicked.
    pub(super) fn drain(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let own = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        own.send_to(END, self.address).expect("an end");
        thread.join().expect("the collector");
    }
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
    fn what_was_sent_is_written_at_the_end() {
        let folder = crate::temp::TempDir::new();
        let file = folder.path().join("log");
        let mut collector = Collector::start("127.0.0.1:0", &file);
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..50 {
            let text = format!("<134>Nov 21 10:00:00 haproxy[7]: {number}");
            sender.send_to(text.as_bytes(), collector.address).unwrap();
        }
        collector.drain();
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), 50, "{text}");
    }

    #[test]
    fn lines_are_as_rsyslog_writes_them() {
        let message = "<134>Nov 21 10:00:00 haproxy[7]: Proxy web started.\n";
        assert_eq!(
            line(message),
            "Nov 21 10:00:00 lab haproxy[7]: Proxy web started."
        );
    }
}
