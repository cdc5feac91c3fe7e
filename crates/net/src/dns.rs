//! Names of servers, resolved at run time: A, AAAA and SRV, with how long the answer holds.
//!
//! The hosts file comes first, then the name servers of `/etc/resolv.conf` (with its search list) or
//! those of the configuration (names are absolute then). Nothing is cached here: the caller asks again
//! when [`Answer::valid_for`] is over. An answer is sorted, so that a name server that rotates its
//! records does not look like a change.
//!
//! Must run on a tokio runtime: the resolver below keeps its connections there.

mod lookup;
mod query;
#[cfg(test)]
mod server;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use clearway_outcome::FaultKind;

pub use lookup::{Lookup, lookup, resolv_conf};
use query::{Client, Found};

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name servers to ask; those of `/etc/resolv.conf` when empty.
    pub servers: Vec<SocketAddr>,
    /// How long one try may take.
    pub timeout: Duration,
    /// How often a question is asked before giving up; at least once.
    pub attempts: usize,
    /// Answers are taken to hold at least this long.
    pub min_ttl: Duration,
    /// Answers are taken to hold at most this long.
    pub max_ttl: Duration,
    /// When to ask again after a failure.
    pub negative_ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(3_600),
            negative_ttl: Duration::from_secs(5),
        }
    }
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one, in a stable order.
    pub addresses: Vec<SocketAddr>,
    /// When to ask again.
    pub valid_for: Duration,
}

/// The servers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvAnswer {
    /// At least one, sorted by priority.
    pub targets: Vec<SrvTarget>,
    /// When to ask again.
    pub valid_for: Duration,
}

/// One server of a service (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SrvTarget {
    /// Lower ones are used first.
    pub priority: u16,
    /// An address of the record's target, with the record's port.
    pub address: SocketAddr,
    /// Share among those of the same priority.
    pub weight: u16,
}

/// Why a name has no address, from the least to the most likely to pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The text is not a name.
    Invalid,
    /// The name does not exist (NXDOMAIN).
    NoSuchName,
    /// The name exists and has no record of a kind that helps.
    NoRecords,
    /// There is no name server to ask.
    NoNameServer,
    /// The name server answered that it cannot answer (SERVFAIL, REFUSED, …).
    ServerFailure,
    /// The name server cannot be reached.
    Unreachable,
    /// The name server did not answer.
    Timeout,
}

/// A name that could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsFault {
    /// [`FaultKind::NameTimeout`] or [`FaultKind::NameUnresolved`].
    pub kind: FaultKind,
    /// What it was, more exactly.
    pub reason: Reason,
    /// The same as a sentence, with the name and who was asked.
    pub words: String,
    /// When to ask again.
    pub retry_after: Duration,
}

impl fmt::Display for DnsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for DnsFault {}

/// Asks for names. Cheap to share, safe to use from several tasks at once.
pub struct Resolver {
    client: Client,
    settings: Settings,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver; reads `/etc/resolv.conf` when the settings name no server. If that fails, every
    /// question that the hosts file cannot answer fails with [`Reason::NoNameServer`].
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            client: Client::new(settings),
            settings: settings.clone(),
        }
    }

    /// The addresses of `host`, each with `port`. An IP address is its own answer.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Answer, DnsFault> {
        let found = self.addresses(host).await?;
        let addresses = found
            .items
            .iter()
            .map(|&ip| SocketAddr::new(ip, port))
            .collect();
        Ok(Answer {
            addresses,
            valid_for: self.valid_for(&found),
        })
    }

    /// The servers of a service such as `_http._tcp.example.org`. Targets without an address are left
    /// out as long as another has one.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn resolve_srv(&self, name: &str) -> Result<SrvAnswer, DnsFault> {
        let services = self
            .client
            .services(name)
            .await
            .map_err(|trouble| self.fault(trouble))?;
        let asked = services.items.iter().map(|srv| self.addresses(&srv.host));
        let answers = join_all(asked.collect()).await;
        let mut whole = Found {
            items: Vec::new(),
            ttl: services.ttl,
            complete: services.complete,
        };
        let mut last_fault = None;
        for (srv, answer) in services.items.iter().zip(answers) {
            match answer {
                Ok(found) => {
                    whole.ttl = whole.ttl.min(found.ttl);
                    whole.complete &= found.complete;
                    whole.items.extend(found.items.iter().map(|&ip| SrvTarget {
                        priority: srv.priority,
                        address: SocketAddr::new(ip, srv.port),
                        weight: srv.weight,
                    }));
                }
                Err(fault) => {
                    whole.complete = false;
                    last_fault = Some(fault);
                }
            }
        }
        if let (true, Some(mut fault)) = (whole.items.is_empty(), last_fault) {
            fault.words = format!("the service {name} has no usable server: {}", fault.words);
            return Err(fault);
        }
        whole.items.sort_unstable();
        whole.items.dedup();
        let valid_for = self.valid_for(&whole);
        Ok(SrvAnswer {
            targets: whole.items,
            valid_for,
        })
    }

    /// The addresses of a host, IPv4 first.
    async fn addresses(&self, host: &str) -> Result<Found<IpAddr>, DnsFault> {
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = bare.parse() {
            let ttl = self.settings.max_ttl;
            return Ok(Found {
                items: vec![ip],
                ttl,
                complete: true,
            });
        }
        let mut found = self
            .client
            .addresses(host)
            .await
            .map_err(|trouble| self.fault(trouble))?;
        found.items.sort_unstable();
        found.items.dedup();
        Ok(found)
    }

    /// An answer that lacks something because of trouble is asked for again soon.
    fn valid_for<T>(&self, found: &Found<T>) -> Duration {
        let Settings {
            min_ttl,
            max_ttl,
            negative_ttl,
            ..
        } = self.settings;
        let ttl = found.ttl.min(max_ttl).max(min_ttl);
        if found.complete {
            ttl
        } else {
            ttl.min(negative_ttl)
        }
    }

    /// What it is that whoever asked for a host could not wait for the answer any longer.
    #[must_use]
    pub fn late(&self, host: &str) -> DnsFault {
        self.fault(query::Trouble {
            reason: Reason::Timeout,
            words: format!("{host} was not looked up in time"),
        })
    }

    fn fault(&self, trouble: query::Trouble) -> DnsFault {
        let query::Trouble { reason, words } = trouble;
        let kind = match reason {
            Reason::Timeout => FaultKind::NameTimeout,
            Reason::Invalid
            | Reason::NoSuchName
            | Reason::NoRecords
            | Reason::NoNameServer
            | Reason::ServerFailure
            | Reason::Unreachable => FaultKind::NameUnresolved,
        };
        DnsFault {
            kind,
            reason,
            words,
            retry_after: self.settings.negative_ttl,
        }
    }
}

/// Runs futures side by side and keeps their order.
pub(crate) async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::server::{Reply, Server};
    use super::*;
    use crate::testing::block_on;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings(server: &Server) -> Settings {
        Settings {
            servers: vec![server.address()],
            timeout: 5 * SECOND,
            attempts: 1,
            min_ttl: SECOND,
            max_ttl: 100 * SECOND,
            negative_ttl: 5 * SECOND,
        }
    }

    fn ask(settings: &Settings, host: &str) -> Result<Answer, DnsFault> {
        block_on(async { Resolver::new(settings).resolve(host, 80).await })
    }

    fn texts(answer: &Answer) -> Vec<String> {
        answer.addresses.iter().map(ToString::to_string).collect()
    }

    fn both() -> Server {
        Server::start(|name, kind| match (name, kind) {
            ("app.test", 1) => Reply::new(30).a("10.0.0.9").a("10.0.0.2").a("10.0.0.9"),
            ("app.test", 28) => Reply::new(20).aaaa("2001:db8::1"),
            _ => Reply::Code(3),
        })
    }

    #[test]
    fn both_families_come_sorted_with_the_shortest_life() {
        let server = both();
        let answer = ask(&settings(&server), "app.test").unwrap();
        assert_eq!(
            texts(&answer),
            ["10.0.0.2:80", "10.0.0.9:80", "[2001:db8::1]:80"]
        );
        assert_eq!(answer.valid_for, 20 * SECOND);
    }

    #[test]
    fn lives_are_clamped() {
        let server = Server::start(|name, kind| match (name, kind) {
            ("short.test", 1) => Reply::new(0).a("10.0.0.1"),
            ("long.test", 1) => Reply::new(100_000).a("10.0.0.1"),
            _ => Reply::new(0),
        });
        let valid_for = |name| ask(&settings(&server), name).unwrap().valid_for;
        assert_eq!(valid_for("short.test"), SECOND);
        assert_eq!(valid_for("long.test"), 100 * SECOND);
    }

    #[test]
    fn addresses_are_their_own_answer() {
        let nobody = Settings {
            servers: vec!["127.0.0.1:1".parse().unwrap()],
            ..Settings::default()
        };
        for (host, text) in [
            ("10.1.2.3", "10.1.2.3:80"),
            ("::1", "[::1]:80"),
            ("[::1]", "[::1]:80"),
        ] {
            assert_eq!(texts(&ask(&nobody, host).unwrap()), [text]);
        }
    }

    #[test]
    fn the_hosts_file_answers_without_a_name_server() {
        let nobody = Settings {
            servers: vec!["127.0.0.1:1".parse().unwrap()],
            ..Settings::default()
        };
        assert!(texts(&ask(&nobody, "localhost").unwrap()).contains(&"127.0.0.1:80".to_owned()));
    }

    #[test]
    fn one_resolver_serves_tasks_on_any_thread() {
        fn assert_send(_: impl Send) {}
        fn assert_sync(_: &impl Sync) {}
        let resolver = Resolver::new(&Settings::default());
        assert_sync(&resolver);
        assert_send(resolver.resolve("a.test", 80));
        assert_send(resolver.resolve_srv("_a._tcp.test"));
    }

    #[test]
    fn troubles_are_told_apart() {
        let server = Server::start(|name, _| match name {
            "empty.test" => Reply::new(60),
            "broken.test" => Reply::Code(2),
            "refused.test" => Reply::Code(5),
            "silent.test" => Reply::Silence,
            _ => Reply::Code(3),
        });
        for (name, kind, reason, words) in [
            (
                "nowhere.test",
                FaultKind::NameUnresolved,
                Reason::NoSuchName,
                "does not exist (NXDOMAIN)",
            ),
            (
                "empty.test",
                FaultKind::NameUnresolved,
                Reason::NoRecords,
                "has no A or AAAA record",
            ),
            (
                "broken.test",
                FaultKind::NameUnresolved,
                Reason::ServerFailure,
                "SERVFAIL",
            ),
            (
                "refused.test",
                FaultKind::NameUnresolved,
                Reason::ServerFailure,
                "REFUSED",
            ),
            (
                "silent.test",
                FaultKind::NameTimeout,
                Reason::Timeout,
                "did not answer",
            ),
            (
                "no good",
                FaultKind::NameUnresolved,
                Reason::Invalid,
                "not a name",
            ),
            (
                "a..b",
                FaultKind::NameUnresolved,
                Reason::Invalid,
                "not a name",
            ),
        ] {
            let mut settings = settings(&server);
            if reason == Reason::Timeout {
                settings.timeout = Duration::from_millis(50);
            }
            let fault = ask(&settings, name).unwrap_err();
            assert_eq!((fault.kind, fault.reason), (kind, reason), "{fault}");
            assert!(
                fault.words.contains(words) && fault.words.contains(name),
                "{fault}"
            );
            assert_eq!(fault.retry_after, 5 * SECOND);
        }
    }

    #[test]
    fn half_an_answer_is_used_but_not_for_long() {
        let server = Server::start(|_, kind| match kind {
            1 => Reply::new(60).a("10.0.0.1"),
            _ => Reply::Code(2),
        });
        let answer = ask(&settings(&server), "half.test").unwrap();
        assert_eq!((texts(&answer).len(), answer.valid_for), (1, 5 * SECOND));
    }

    #[test]
    fn a_question_is_asked_as_often_as_configured() {
        let server = Server::start(|_, _| Reply::Code(2));
        let settings = Settings {
            attempts: 3,
            ..settings(&server)
        };
        ask(&settings, "broken.test").unwrap_err();
        assert_eq!(server.asked(), 2 * 3, "for A and for AAAA");
    }

    #[test]
    fn every_question_reaches_the_name_server() {
        let server = both();
        let settings = settings(&server);
        block_on(async {
            let resolver = Resolver::new(&settings);
            for _ in 0..3 {
                resolver.resolve("app.test", 80).await.unwrap();
            }
        });
        assert_eq!(server.asked(), 2 * 3, "nothing is answered from a cache");
    }

    #[test]
    fn aliases_are_followed_and_shorten_the_life() {
        let server = Server::start(|name, kind| match (name, kind) {
            ("www.test", 1) => Reply::new(50)
                .alias("www.test", 7, "app.test")
                .a_of("app.test", "10.0.0.1"),
            _ => Reply::new(0),
        });
        let answer = ask(&settings(&server), "www.test").unwrap();
        assert_eq!(
            (texts(&answer), answer.valid_for),
            (vec!["10.0.0.1:80".to_owned()], 7 * SECOND)
        );
    }

    #[test]
    fn a_cut_answer_is_fetched_over_tcp() {
        let server = Server::start(|_, kind| match kind {
            1 => Reply::Truncated(Box::new(Reply::new(60).a("10.0.0.1").a("10.0.0.2"))),
            _ => Reply::new(60),
        });
        assert_eq!(
            texts(&ask(&settings(&server), "large.test").unwrap()).len(),
            2
        );
    }

    #[test]
    fn services_have_priorities_weights_and_ports() {
        let server = Server::start(|name, kind| match (name, kind) {
            ("_http._tcp.app.test", 33) => Reply::new(60)
                .srv(20, 0, 81, "b.test")
                .srv(10, 5, 80, "a.test")
                .srv(10, 7, 82, "gone.test"),
            ("a.test", 1) => Reply::new(40).a("10.0.0.2").a("10.0.0.1"),
            ("b.test", 28) => Reply::new(40).aaaa("::2"),
            ("a.test" | "b.test", _) => Reply::new(0),
            _ => Reply::Code(3),
        });
        let answer = block_on(async {
            Resolver::new(&settings(&server))
                .resolve_srv("_http._tcp.app.test")
                .await
        });
        let answer = answer.unwrap();
        let target = |priority, weight, address: &str| SrvTarget {
            priority,
            address: address.parse().unwrap(),
            weight,
        };
        assert_eq!(
            answer.targets,
            [
                target(10, 5, "10.0.0.1:80"),
                target(10, 5, "10.0.0.2:80"),
                target(20, 0, "[::2]:81"),
            ]
        );
        assert_eq!(answer.valid_for, 5 * SECOND, "one target is missing");
    }

    #[test]
    fn services_without_servers_are_explained() {
        let server = Server::start(|name, kind| match (name, kind) {
            ("_none._tcp.test", 33) => Reply::new(60).srv(0, 0, 0, ""),
            ("_lost._tcp.test", 33) => Reply::new(60).srv(0, 0, 80, "lost.test"),
            ("_bare._tcp.test", _) => Reply::new(60),
            _ => Reply::Code(3),
        });
        for (name, reason, words) in [
            ("_none._tcp.test", Reason::NoRecords, "is not offered"),
            (
                "_lost._tcp.test",
                Reason::NoSuchName,
                "no usable server: lost.test does not exist",
            ),
            ("_bare._tcp.test", Reason::NoRecords, "no SRV record"),
            ("_else._tcp.test", Reason::NoSuchName, "NXDOMAIN"),
        ] {
            let settings = settings(&server);
            let fault =
                block_on(async { Resolver::new(&settings).resolve_srv(name).await }).unwrap_err();
            assert_eq!(fault.reason, reason, "{fault}");
            assert!(fault.words.contains(words), "{fault}");
        }
    }
}
