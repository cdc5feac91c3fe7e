//! Lines as datagrams to a syslog server.
//!
//! A datagram that the system does not take at once is lost and counted: neither traffic nor other
//! logs wait for it. A Unix socket whose server went away is connected again with the next line, at
//! most once a second.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clearway_base::clock::{self, Civil, Stamp};
use clearway_config::model::{Syslog, SyslogAddress, SyslogFraming, SyslogSeverity};

/// Time between two tries to reach a Unix socket.
const RETRY: Duration = Duration::from_secs(1);

/// Sends lines to one server.
pub(crate) struct Sender {
    socket: Socket,
    settings: Syslog,
    hostname: String,
    datagram: Vec<u8>,
}

enum Socket {
    Udp(UdpSocket),
    Unix {
        path: PathBuf,
        socket: Option<UnixDatagram>,
        tried: Stamp,
    },
}

impl Sender {
    /// Looks the server up. One on a Unix socket need not be there yet.
    ///
    /// # Errors
    /// The name is not known, or there is no socket to be had.
    pub(crate) fn open(address: &SyslogAddress, settings: &Syslog) -> io::Result<Self> {
        let socket = match address {
            SyslogAddress::Udp(host, port) => {
                let found = (host.as_str(), *port).to_socket_addrs()?.next();
                Socket::Udp(udp(found.ok_or(io::ErrorKind::NotFound)?)?)
            }
            SyslogAddress::Unix(path) => Socket::Unix {
                socket: unix(path).ok(),
                path: path.clone(),
                tried: clock::now(),
            },
        };
        let hostname = match settings.hostname.as_deref() {
            Some("*") => std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
            own => own.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            socket,
            settings: settings.clone(),
            hostname: hostname.trim().to_owned(),
            datagram: Vec::new(),
        })
    }

    /// Sends a line of an importance of its own.
    pub(crate) fn say(&mut self, severity: SyslogSeverity, line: &str, now: Stamp) {
        let usual = std::mem::replace(&mut self.settings.severity, severity);
        self.send(line.as_bytes(), now);
        self.settings.severity = usual;
    }

    /// Sends each line as a datagram; says how many are lost.
    pub(super) fn send(&mut self, lines: &[u8], now: Stamp) -> u64 {
        let date = Civil::from_unix_micros(clock::wall_of(now));
        let mut lost = 0;
        for line in lines.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
            frame(
                &self.settings,
                &self.hostname,
                &date,
                line,
                &mut self.datagram,
            );
            if !self.socket.send(&self.datagram, now) {
                lost += 1;
            }
        }
        lost
    }
}

impl Socket {
    fn send(&mut self, datagram: &[u8], now: Stamp) -> bool {
        match self {
            Self::Udp(socket) => match socket.send(datagram) {
                Ok(_) => true,
                // That tells of an earlier datagram; this one was not sent.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    drop(socket.send(datagram));
                    false
                }
                Err(_) => false,
            },
            Self::Unix {
                path,
                socket,
                tried,
            } => {
                if socket.is_none() && now.since(*tried) >= RETRY {
                    *tried = now;
                    *socket = unix(path).ok();
                }
                let Some(open) = socket else { return false };
                match open.send(datagram) {
                    Ok(_) => true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                    Err(_) => {
                        // The server was started anew, perhaps: its socket is another one.
                        *socket = unix(path).ok();
                        *tried = now;
                        socket.as_ref().is_some_and(|s| s.send(datagram).is_ok())
                    }
                }
            }
        }
    }
}

fn udp(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

/// Makes a datagram of a line.
fn frame(settings: &Syslog, hostname: &str, date: &Civil, line: &[u8], out: &mut Vec<u8>) {
    let (priority, severity) = (settings.priority(), settings.severity as u8);
    let tag = settings.tag.as_str();
    let process = std::process::id();
    let head = match settings.framing {
        SyslogFraming::Rfc3164 => {
            let (month, time) = (date.month_name(), time_of_day(date));
            let space = if hostname.is_empty() { "" } else { " " };
            let process = match settings.pid {
                true => format!("[{process}]"),
                false => String::new(),
            };
            let day = date.day;
            format!("<{priority}>{month} {day:>2} {time} {hostname}{space}{tag}{process}: ")
        }
        SyslogFraming::Rfc5424 => {
            let hostname = if hostname.is_empty() { "-" } else { hostname };
            let process = match settings.pid {
                true => process.to_string(),
                false => "-".to_owned(),
            };
            let time = iso(date);
            format!("<{priority}>1 {time} {hostname} {tag} {process} - - ")
        }
        SyslogFraming::Priority => format!("<{priority}>"),
        SyslogFraming::Short => format!("<{severity}>"),
        SyslogFraming::Timed => format!("<{severity}>{} ", iso(date)),
        SyslogFraming::Iso => format!("{} ", iso(date)),
        SyslogFraming::Raw => String::new(),
    };
    out.clear();
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(line);
    let room = settings.max_length - usize::from(settings.newline);
    out.truncate(room);
    if settings.newline {
        out.push(b'\n');
    }
}

fn time_of_day(date: &Civil) -> String {
    format!("{:02}:{:02}:{:02}", date.hour, date.minute, date.second)
}

/// A time stamp of RFC 5424 with microseconds (section 6.2.3).
fn iso(date: &Civil) -> String {
    let (year, month, day) = (date.year, date.month, date.day);
    let (time, micro) = (time_of_day(date), date.micro);
    format!("{year:04}-{month:02}-{day:02}T{time}.{micro:06}+00:00")
}

#[cfg(test)]
mod tests {
    use clearway_config::model::SyslogFacility;

    use super::*;

    fn framed(settings: &Syslog, hostname: &str) -> String {
        let mut out = Vec::new();
        frame(
            settings,
            hostname,
            &Civil::from_unix_micros(1_795_246_199_999_123),
            b"a line",
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        // With what stands around it: the digits may occur in a time as well.
        let pid = std::process::id();
        text.replace(&format!("[{pid}]"), "[PID]")
            .replace(&format!(" {pid} "), " PID ")
    }

    #[test]
    fn datagrams_look_as_servers_expect_them() {
        let settings = |framing| Syslog {
            framing,
            facility: SyslogFacility::Local0,
            severity: SyslogSeverity::Info,
            ..Syslog::default()
        };
        for (framing, wanted) in [
            (
                SyslogFraming::Rfc3164,
                "<134>Nov 21 07:29:59 clearway[PID]: a line",
            ),
            (
                SyslogFraming::Rfc5424,
                "<134>1 2026-11-21T07:29:59.999123+00:00 - clearway PID - - a line",
            ),
            (SyslogFraming::Priority, "<134>a line"),
            (SyslogFraming::Short, "<6>a line"),
            (
                SyslogFraming::Timed,
                "<6>2026-11-21T07:29:59.999123+00:00 a line",
            ),
            (
                SyslogFraming::Iso,
                "2026-11-21T07:29:59.999123+00:00 a line",
            ),
            (SyslogFraming::Raw, "a line"),
        ] {
            assert_eq!(framed(&settings(framing), ""), wanted);
        }
        // As NGINX writes it.
        let nginx = Syslog {
            pid: false,
            facility: SyslogFacility::Local7,
            ..settings(SyslogFraming::Rfc3164)
        };
        assert_eq!(
            framed(&nginx, "host"),
            "<190>Nov 21 07:29:59 host clearway: a line"
        );
        let long = Syslog {
            newline: true,
            max_length: 80,
            ..settings(SyslogFraming::Raw)
        };
        let mut out = Vec::new();
        frame(
            &long,
            "",
            &Civil::from_unix_micros(0),
            &[b'x'; 200],
            &mut out,
        );
        assert_eq!((out.len(), out.last()), (80, Some(&b'\n')));
    }

    #[test]
    fn a_server_that_comes_back_is_found_again() {
        let folder = std::env::temp_dir().join(format!("clearway-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log");
        drop(std::fs::remove_file(&path));
        let address = SyslogAddress::Unix(path.clone());
        let first = UnixDatagram::bind(&path).unwrap();
        let raw = Syslog {
            framing: SyslogFraming::Raw,
            ..Syslog::default()
        };
        let mut sender = Sender::open(&address, &raw).unwrap();
        let now = clock::now();
        assert_eq!(sender.send(b"one\ntwo\n", now), 0);
        let heard = |socket: &UnixDatagram| {
            let mut room = [0; 99];
            let count = socket.recv(&mut room).unwrap();
            room[..count].to_vec()
        };
        assert_eq!(
            (heard(&first), heard(&first)),
            (b"one".to_vec(), b"two".to_vec())
        );
        drop(first);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(sender.send(b"lost\n", now), 1);
        let second = UnixDatagram::bind(&path).unwrap();
        assert_eq!(sender.send(b"too early\n", now), 1);
        assert_eq!(sender.send(b"three\n", now.plus(RETRY)), 0);
        assert_eq!(heard(&second), b"three");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
