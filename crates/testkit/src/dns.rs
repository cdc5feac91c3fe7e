//! A tiny name server whose answers can be changed while it runs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::{LIMIT, Watched};

/// What a name has.
#[derive(Clone, Debug)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A service: priority, weight, port, host.
    Srv(u16, u16, u16, String),
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Aaaa(_) => 28,
            Self::Srv(..) => 33,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        match self {
            Self::A(ip) => data.extend_from_slice(&ip.octets()),
            Self::Aaaa(ip) => data.extend_from_slice(&ip.octets()),
            Self::Srv(priority, weight, port, host) => {
                for number in [priority, weight, port] {
                    data.extend_from_slice(&number.to_be_bytes());
                }
                write_name(host, &mut data);
            }
        }
        out.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        out.extend_from_slice(&data);
    }
}

/// How a question is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// With records that may be kept for so many seconds.
    Records(u32, Vec<Data>),
    /// With a response code: 2 is SERVFAIL, 3 is NXDOMAIN, 5 is REFUSED.
    Code(u8),
    /// Not at all.
    Silence,
}

impl Answer {
    /// IPv4 addresses with a time to live in seconds.
    ///
    /// # Panics
    /// When an address is malformed.
    #[must_use]
    pub fn a(ttl: u32, addresses: &[&str]) -> Self {
        let data = addresses
            .iter()
            .map(|a| Data::A(a.parse().expect("an IPv4 address")));
        Self::Records(ttl, data.collect())
    }
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, Answer>,
    asked: BTreeMap<String, usize>,
    stopped: bool,
}

/// The name server; unknown names do not exist (NXDOMAIN).
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Watched<Zone>>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// A name server on an ephemeral UDP port of 127.0.0.1.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    /// A name server on a given address.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    #[must_use]
    pub fn start_at(bind: &str) -> Self {
        let socket = UdpSocket::bind(bind).expect("a UDP socket");
        let address = socket.local_addr().expect("own address");
        let zone = Arc::new(Watched::new(Zone::default()));
        let answers = Arc::clone(&zone);
        // A packet filter of a test may keep even our own last word from arriving.
        let often = Duration::from_millis(200);
        socket.set_read_timeout(Some(often)).expect("a time-out");
        let thread = std::thread::spawn(move || {
            let mut question = [0_u8; 1500];
            while !answers.read(|z| z.stopped) {
                let Ok((length, from)) = socket.recv_from(&mut question) else {
                    continue;
                };
                let reply = reply(question.get(..length).unwrap_or_default(), &answers);
                if let Some(reply) = reply {
                    drop(socket.send_to(&reply, from));
                }
            }
        });
        Self {
            address,
            zone,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:1234`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Sets what a name (without the final dot) answers from now on.
    pub fn set(&self, name: &str, answer: Answer) {
        self.zone
            .change(|z| z.names.insert(name.to_ascii_lowercase(), answer));
    }

    /// How often a name was asked for, whatever the type.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        self.zone.read(|z| z.asked.get(name).copied().unwrap_or(0))
    }

    /// Waits until a name was asked for more than `count` times.
    ///
    /// # Panics
    /// When it is not.
    pub fn wait_asked(&self, name: &str, count: usize) {
        let asked = self.zone.wait(LIMIT, |z| {
            (z.asked.get(name).copied().unwrap_or(0) > count).then_some(())
        });
        assert!(asked.is_some(), "{name} was not asked for again");
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.zone.change(|z| z.stopped = true);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            drop(socket.send_to(&[0], self.address));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn reply(question: &[u8], zone: &Watched<Zone>) -> Option<Vec<u8>> {
    let id = question.get(..2)?;
    let (name, after) = read_name(question, 12)?;
    let kind = u16::from_be_bytes([*question.get(after)?, *question.get(after + 1)?]);
    let asked = question.get(12..after + 4)?;
    let name = name.to_ascii_lowercase();
    let answer = zone.change(|z| {
        *z.asked.entry(name.clone()).or_insert(0) += 1;
        z.names.get(&name).cloned().unwrap_or(Answer::Code(3))
    });
    let (code, ttl, records) = match answer {
        Answer::Silence => return None,
        Answer::Code(code) => (code, 0, Vec::new()),
        Answer::Records(ttl, records) => (0, ttl, records),
    };
    let records: Vec<Data> = records.into_iter().filter(|r| r.kind() == kind).collect();
    let count = u16::try_from(records.len()).ok()?;
    let mut out = id.to_vec();
    // Response, authoritative, recursion desired and available.
    out.extend_from_slice(&[0x85, 0x80 | code, 0, 1]);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(asked);
    for record in &records {
        // A pointer to the name in the question.
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&1_u16.to_be_bytes());
        out.extend_from_slice(&ttl.to_be_bytes());
        record.write(&mut out);
    }
    Some(out)
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    for label in name.trim_end_matches('.').split('.') {
        out.push(u8::try_from(label.len()).expect("a short label"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

/// Asks a name server for the IPv4 addresses of a name; the response code and the addresses.
///
/// # Panics
/// When no answer comes.
#[must_use]
pub fn ask_a(server: &str, name: &str) -> (u8, Vec<Ipv4Addr>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time-out");
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    write_name(name, &mut question);
    question.extend_from_slice(&[0, 1, 0, 1]);
    socket.send_to(&question, server).expect("ask");
    let mut answer = [0_u8; 1500];
    let length = socket.recv(&mut answer).expect("an answer");
    let count = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
    let records = answer.get(question.len()..length).unwrap_or_default();
    let addresses = records
        .chunks_exact(16)
        .take(count)
        .map(|r| Ipv4Addr::new(r[12], r[13], r[14], r[15]));
    (answer[3] & 15, addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_change_while_it_runs() {
        let server = NameServer::start();
        assert_eq!(ask_a(&server.address(), "app.test"), (3, vec![]));
        server.set("app.test", Answer::a(1, &["127.0.0.1", "127.0.0.2"]));
        let (code, addresses) = ask_a(&server.address(), "App.test");
        assert_eq!(
            (code, addresses.len(), addresses[1].to_string().as_str()),
            (0, 2, "127.0.0.2")
        );
        server.set("app.test", Answer::Code(2));
        assert_eq!(ask_a(&server.address(), "app.test"), (2, vec![]));
        assert_eq!(server.asked("app.test"), 3);
    }
}
