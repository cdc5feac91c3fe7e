//! A name server for tests: answers over UDP and TCP on one loopback port from a function.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What to answer.
pub(super) enum Reply {
    /// The life in seconds, and owner (empty: the name asked for), life, kind and data of each record.
    Records(u32, Vec<(String, u32, u16, Vec<u8>)>),
    /// A response code.
    Code(u8),
    /// Cut off over UDP, whole over TCP.
    Truncated(Box<Self>),
    /// Nothing.
    Silence,
}

impl Reply {
    pub(super) fn new(ttl: u32) -> Self {
        Self::Records(ttl, Vec::new())
    }

    fn with(mut self, owner: &str, life: Option<u32>, kind: u16, data: Vec<u8>) -> Self {
        if let Self::Records(ttl, records) = &mut self {
            records.push((owner.to_owned(), life.unwrap_or(*ttl), kind, data));
        }
        self
    }

    pub(super) fn a(self, ip: &str) -> Self {
        self.a_of("", ip)
    }

    pub(super) fn a_of(self, owner: &str, ip: &str) -> Self {
        self.with(
            owner,
            None,
            1,
            ip.parse::<Ipv4Addr>().unwrap().octets().to_vec(),
        )
    }

    pub(super) fn aaaa(self, ip: &str) -> Self {
        self.with(
            "",
            None,
            28,
            ip.parse::<Ipv6Addr>().unwrap().octets().to_vec(),
        )
    }

    pub(super) fn alias(self, owner: &str, ttl: u32, to: &str) -> Self {
        self.with(owner, Some(ttl), 5, labels(to))
    }

    pub(super) fn srv(self, priority: u16, weight: u16, port: u16, target: &str) -> Self {
        let mut data: Vec<u8> = [priority, weight, port]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        data.extend(labels(target));
        self.with("", None, 33, data)
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// A running name server; ends with the value.
pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&str, u16) -> Reply + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let (asked, stopped) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let answer = Arc::new(answer);
        let (count, stop, function) = (
            Arc::clone(&asked),
            Arc::clone(&stopped),
            Arc::clone(&answer),
        );
        std::thread::spawn(move || {
            let mut buf = [0; 2_048];
            while let Ok((len, from)) = udp.recv_from(&mut buf) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(reply) = respond(&buf[..len], &*function, false) {
                    udp.send_to(&reply, from).unwrap();
                }
            }
        });
        let stop = Arc::clone(&stopped);
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.unwrap();
                let mut len = [0; 2];
                while stream.read_exact(&mut len).is_ok() {
                    let mut query = vec![0; u16::from_be_bytes(len).into()];
                    stream.read_exact(&mut query).unwrap();
                    let reply = respond(&query, &*answer, true).unwrap_or_default();
                    let len = u16::try_from(reply.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&len[..], &reply].concat()).unwrap();
                }
            }
        });
        Self {
            address,
            asked,
            stopped,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Questions received over UDP.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Both threads wait for input: this is it.
        let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
        waker.send_to(&[0], self.address).unwrap_or_default();
        drop(std::net::TcpStream::connect(self.address));
    }
}

/// A UDP and a TCP socket on the same port.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn respond(query: &[u8], answer: &dyn Fn(&str, u16) -> Reply, tcp: bool) -> Option<Vec<u8>> {
    let (mut at, mut parts) = (12, Vec::new());
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        parts.push(String::from_utf8_lossy(query.get(at..at + len)?).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let (reply, cut) = match answer(&parts.join("."), kind) {
        Reply::Truncated(whole) => (*whole, !tcp),
        reply @ (Reply::Records(..) | Reply::Code(_) | Reply::Silence) => (reply, false),
    };
    let (code, records) = match reply {
        Reply::Silence => return None,
        Reply::Code(code) => (code, Vec::new()),
        Reply::Records(_, records) if !cut => (0, records),
        Reply::Records(..) | Reply::Truncated(_) => (0, Vec::new()),
    };
    let mut out = query.get(..2)?.to_vec();
    out.extend_from_slice(&[0x81 | u8::from(cut) << 1, 0x80 | code, 0, 1]);
    out.extend_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(question);
    for (owner, ttl, kind, data) in records {
        if owner.is_empty() {
            out.extend_from_slice(&[0xc0, 12]);
        } else {
            out.extend_from_slice(&labels(&owner));
        }
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&data);
    }
    Some(out)
}
