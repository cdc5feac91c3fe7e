//! Single questions to single name servers, to see what each of them says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clearway_base::clock;
use clearway_outcome::{Asked, DnsAnswer, RecordKind, ResolvConf};
use hickory_resolver::proto::op::{Message, MessageType, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::join_all;
use super::query::{candidates, parse};

/// What is asked, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The name; with a dot at the end, just that one.
    pub name: String,
    /// What for.
    pub kinds: Vec<RecordKind>,
    /// Name servers; all are asked, at the same time.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended, in this order, as [`ResolvConf`] says.
    pub search: Vec<String>,
    /// Names with fewer dots have a domain appended before they are asked for as they are.
    pub ndots: usize,
    /// How long each server may take for each question.
    pub limit: Duration,
}

impl Lookup {
    /// The addresses of just this name.
    #[must_use]
    pub fn absolute(name: &str, servers: &[SocketAddr], limit: Duration) -> Self {
        Self {
            name: format!("{}.", name.trim_end_matches('.')),
            kinds: vec![RecordKind::A, RecordKind::Aaaa],
            servers: servers.to_vec(),
            search: Vec::new(),
            ndots: 1,
            limit,
        }
    }

    /// The addresses of a name as a program on this host would look it up.
    #[must_use]
    pub fn as_configured(name: &str, conf: &ResolvConf, limit: Duration) -> Self {
        Self {
            name: name.to_owned(),
            search: conf.search.clone(),
            ndots: conf.ndots,
            ..Self::absolute(name, &conf.servers, limit)
        }
    }
}

/// Asks each server for the name, with domains appended in their order until one has an address. A
/// server that is silent or cannot be reached is asked no further. Over UDP, twice within the time; over
/// TCP where the answer says that it is cut off. The hosts file is not looked at.
///
/// Cancel safe.
///
/// # Errors
/// When the text is no name, in words.
pub async fn lookup(lookup: &Lookup) -> Result<Vec<Asked>, String> {
    let name = parse(&lookup.name).map_err(|trouble| trouble.words)?;
    let search = lookup.search.iter().map(Name::from_ascii);
    let search: Vec<Name> = search.filter_map(Result::ok).collect();
    let names = candidates(&name, &search, lookup.ndots);
    let asked = lookup
        .servers
        .iter()
        .map(|&server| ask_all(server, lookup, &names));
    Ok(join_all(asked.collect())
        .await
        .into_iter()
        .flatten()
        .collect())
}

async fn ask_all(server: SocketAddr, lookup: &Lookup, names: &[Name]) -> Vec<Asked> {
    let mut all = Vec::new();
    for name in names {
        let (mut found, mut is_lost) = (false, false);
        for &kind in &lookup.kinds {
            let began = clock::now();
            let answer = ask(server, name, kind, lookup.limit).await;
            match &answer {
                DnsAnswer::Message { addresses, .. } => found |= !addresses.is_empty(),
                DnsAnswer::Silence | DnsAnswer::Unreachable(_) => is_lost = true,
                DnsAnswer::Garbage => {}
            }
            all.push(Asked {
                server,
                name: name.to_ascii(),
                kind,
                answer,
                took_us: clock::now().micros_since(began),
            });
            if is_lost {
                return all;
            }
        }
        if found {
            break;
        }
    }
    all
}

async fn ask(server: SocketAddr, name: &Name, kind: RecordKind, limit: Duration) -> DnsAnswer {
    let kind = match kind {
        RecordKind::A => RecordType::A,
        RecordKind::Aaaa => RecordType::AAAA,
    };
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let Ok(bytes) = question.to_vec() else {
        return DnsAnswer::Garbage;
    };
    let exchange = async {
        let short = match over_udp(server, &bytes, &question, limit / 2).await? {
            Heard::Message(message) => message,
            other @ (Heard::Silence | Heard::Garbage) => return Ok(other.into()),
        };
        if !short.metadata.truncation {
            return Ok(described(&short, false));
        }
        Ok(match over_tcp(server, &bytes, &question).await? {
            Heard::Message(message) => described(&message, true),
            other @ (Heard::Silence | Heard::Garbage) => other.into(),
        })
    };
    match timeout(limit, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => unreachable_for(&error),
        Err(_) => DnsAnswer::Silence,
    }
}

fn unreachable_for(error: &io::Error) -> DnsAnswer {
    error
        .raw_os_error()
        .map_or(DnsAnswer::Garbage, DnsAnswer::Unreachable)
}

enum Heard {
    Message(Box<Message>),
    Silence,
    Garbage,
}

impl From<Heard> for DnsAnswer {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Message(message) => described(&message, false),
            Heard::Silence => Self::Silence,
            Heard::Garbage => Self::Garbage,
        }
    }
}

/// Asks twice, as a datagram may be lost.
async fn over_udp(
    server: SocketAddr,
    bytes: &[u8],
    question: &Message,
    patience: Duration,
) -> io::Result<Heard> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected, it is told when ICMP says that nobody listens there.
    socket.connect(server).await?;
    let mut room = [0; 4_096];
    for _ in 0..2 {
        socket.send(bytes).await?;
        let receive = async {
            loop {
                let len = socket.recv(&mut room).await?;
                let heard = read(room.get(..len).unwrap_or_default(), question);
                // The answer to something else: a later one may be ours.
                if !matches!(heard, Heard::Silence) {
                    return Ok(heard);
                }
            }
        };
        if let Ok(heard) = timeout(patience, receive).await {
            return heard;
        }
    }
    Ok(Heard::Silence)
}

async fn over_tcp(server: SocketAddr, bytes: &[u8], question: &Message) -> io::Result<Heard> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&len.to_be_bytes()[..], bytes].concat())
        .await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(read(&answer, question))
}

/// A message that is the answer to the question; silence when it is the answer to another.
fn read(bytes: &[u8], question: &Message) -> Heard {
    let Ok(message) = Message::from_vec(bytes) else {
        return Heard::Garbage;
    };
    if message.metadata.id != question.metadata.id {
        return Heard::Silence;
    }
    // Some servers leave out the question when they refuse it.
    let is_same = message.queries.is_empty() || message.queries == question.queries;
    if message.metadata.message_type != MessageType::Response || !is_same {
        return Heard::Garbage;
    }
    Heard::Message(Box::new(message))
}

fn described(message: &Message, over_tcp: bool) -> DnsAnswer {
    let answers = message.answers.iter();
    let addresses = answers.clone().filter_map(|record| record.data.ip_addr());
    let mut alias = None;
    for record in answers.clone() {
        if let RData::CNAME(name) = &record.data {
            alias = Some(name.0.to_ascii());
        }
    }
    let mut ttl = answers.map(|record| record.ttl).min();
    if ttl.is_none() {
        // How long it holds that there is no answer (RFC 2308 section 5).
        ttl = message.authorities.iter().find_map(|record| {
            let RData::SOA(soa) = &record.data else {
                return None;
            };
            Some(record.ttl.min(soa.minimum))
        });
    }
    DnsAnswer::Message {
        code: message.metadata.response_code.into(),
        addresses: addresses.collect(),
        ttl,
        alias,
        over_tcp,
    }
}

/// Reads `/etc/resolv.conf` as the C library does: the first three name servers, the last search list.
///
/// # Errors
/// When it cannot be read.
pub fn resolv_conf() -> io::Result<ResolvConf> {
    std::fs::read_to_string("/etc/resolv.conf").map(|text| conf(&text))
}

fn conf(text: &str) -> ResolvConf {
    let mut conf = ResolvConf {
        ndots: 1,
        ..ResolvConf::default()
    };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if conf.servers.len() < 3 => {
                let ip: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
                conf.servers.extend(ip.map(|ip| SocketAddr::new(ip, 53)));
            }
            Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
            Some("options") => {
                for ndots in words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()) {
                    // More are not believed (resolv.conf(5)).
                    conf.ndots = usize::min(ndots, 15);
                }
            }
            _ => {}
        }
    }
    if conf.servers.is_empty() {
        conf.servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    conf
}

#[cfg(test)]
mod tests {
    use super::super::server::{Reply, Server};
    use super::*;
    use crate::testing::block_on;

    const LIMIT: Duration = Duration::from_secs(5);

    fn asked(question: &Lookup) -> Vec<Asked> {
        block_on(async { lookup(question).await }).unwrap()
    }

    fn just(name: &str, server: SocketAddr, limit: Duration) -> DnsAnswer {
        let question = Lookup {
            kinds: vec![RecordKind::A],
            ..Lookup::absolute(name, &[server], limit)
        };
        asked(&question).remove(0).answer
    }

    fn message(answer: &DnsAnswer) -> (u16, usize, bool) {
        let DnsAnswer::Message {
            code,
            addresses,
            over_tcp,
            ..
        } = answer
        else {
            panic!("{answer:?}")
        };
        (*code, addresses.len(), *over_tcp)
    }

    #[test]
    fn every_kind_of_answer_is_told() {
        let server = Server::start(|name, _| match name {
            "app.test" => Reply::new(30).a("10.0.0.1").a("10.0.0.2"),
            "alias.test" => Reply::new(30)
                .alias("alias.test", 7, "app.test")
                .a_of("app.test", "10.0.0.1"),
            "large.test" => Reply::Truncated(Box::new(Reply::new(9).a("10.0.0.3"))),
            "empty.test" => Reply::new(9),
            "broken.test" => Reply::Code(2),
            "silent.test" => Reply::Silence,
            _ => Reply::Code(3),
        });
        let of = |name| just(name, server.address(), LIMIT);
        assert_eq!(message(&of("app.test")), (0, 2, false));
        assert_eq!(message(&of("large.test")), (0, 1, true));
        assert_eq!(message(&of("empty.test")), (0, 0, false));
        assert_eq!(message(&of("broken.test")), (2, 0, false));
        assert_eq!(message(&of("none.test")), (3, 0, false));
        let DnsAnswer::Message { ttl, alias, .. } = of("alias.test") else {
            panic!()
        };
        assert_eq!((ttl, alias.as_deref()), (Some(7), Some("app.test.")));
        let short = Duration::from_millis(60);
        assert_eq!(
            just("silent.test", server.address(), short),
            DnsAnswer::Silence
        );
        assert!(block_on(async { lookup(&Lookup::absolute("a b", &[], LIMIT)).await }).is_err());
    }

    #[test]
    fn a_server_that_is_not_there_refuses() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let refused = DnsAnswer::Unreachable(libc::ECONNREFUSED);
        assert_eq!(just("app.test", address, LIMIT), refused);
    }

    #[test]
    fn what_is_no_answer_is_garbage() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let (_, from) = socket.recv_from(&mut [0; 512]).unwrap();
            socket.send_to(b"no", from).unwrap();
        });
        assert_eq!(just("app.test", address, LIMIT), DnsAnswer::Garbage);
    }

    #[test]
    fn domains_are_appended_until_one_has_an_address() {
        let server = Server::start(|name, kind| match (name, kind) {
            ("app.two.test", 1) => Reply::new(30).a("10.0.0.1"),
            _ => Reply::Code(3),
        });
        let conf = ResolvConf {
            servers: vec![server.address()],
            search: vec!["one.test".to_owned(), "two.test".to_owned()],
            ndots: 1,
        };
        let of = |name: &str| -> Vec<(String, RecordKind)> {
            let all = asked(&Lookup::as_configured(name, &conf, LIMIT));
            all.into_iter()
                .map(|asked| (asked.name, asked.kind))
                .collect()
        };
        let both =
            |name: &str| [RecordKind::A, RecordKind::Aaaa].map(|kind| (name.to_owned(), kind));
        let expected = [both("app.one.test."), both("app.two.test.")].concat();
        assert_eq!(of("app"), expected);
        assert_eq!(of("app.two.test"), both("app.two.test."));
        assert_eq!(of("app."), both("app."));
    }

    #[test]
    fn the_file_is_read_as_the_c_library_does() {
        let found = conf(
            "# x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1 ; y\n\
             domain old\nsearch a.test b.test\noptions edns0 ndots:5\n\
             nameserver 10.0.0.2\nnameserver 10.0.0.3\n",
        );
        let servers: Vec<_> = found.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "10.0.0.2:53"]);
        assert_eq!(found.search, ["a.test", "b.test"]);
        assert_eq!(found.ndots, 5);
        let empty = conf("");
        assert_eq!(
            (empty.servers[0].to_string().as_str(), empty.ndots),
            ("127.0.0.1:53", 1)
        );
    }
}
