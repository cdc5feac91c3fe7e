//! A small network of namespaces: balancer and client on one host, servers on another, a router
//! between them.
//!
//! ```text
//! L 10.201.1.1 ── 10.201.1.254 R 10.201.2.254 ── 10.201.2.2 (.3, .4) B
//! ```
//!
//! The process that builds a lab is itself in L, which has to be a network namespace of its own
//! ([`crate::netns::run_in_new`], or the `scenario` program). The other two live as long as their
//! holders: programs that wait for the end of their input, so that nothing stays behind whatever
//! becomes of us.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::process::{output, program};

/// The balancer's address.
pub const BALANCER: &str = "10.201.1.1";
/// The router's address on the balancer's side.
pub const ROUTER: &str = "10.201.1.254";
/// Addresses of the servers' host.
pub const SERVERS: [&str; 3] = ["10.201.2.2", "10.201.2.3", "10.201.2.4"];

/// One of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// L: the balancer and its clients.
    Balancer,
    /// R: what lies between.
    Router,
    /// B: the servers.
    Servers,
}

impl Place {
    /// Its letter.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Balancer => "l",
            Self::Router => "r",
            Self::Servers => "b",
        }
    }

    /// The place with a letter.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Balancer, Self::Router, Self::Servers]
            .into_iter()
            .find(|place| place.name() == name)
    }
}

/// The network; gone when dropped.
#[derive(Debug)]
pub struct Lab {
    router: Holder,
    servers: Holder,
}

impl Lab {
    /// Builds the network around the namespace we are in.
    ///
    /// # Panics
    /// When namespaces are not allowed here or a program is missing.
    #[must_use]
    pub fn build() -> Self {
        let lab = Self {
            router: Holder::start(),
            servers: Holder::start(),
        };
        let (r, b) = (lab.router.id(), lab.servers.id());
        lab.run(
            Place::Balancer,
            &format!(
                "ip link set lo up && ip link add l-r type veth peer name r-l netns {r} && \
                 ip addr add {BALANCER}/24 dev l-r && ip link set l-r up"
            ),
        );
        lab.run(
            Place::Router,
            &format!(
                "ip link set lo up && ip addr add {ROUTER}/24 dev r-l && ip link set r-l up && \
                 ip link add r-b type veth peer name b-r netns {b} && \
                 ip addr add 10.201.2.254/24 dev r-b && ip link set r-b up && \
                 echo 1 >/proc/sys/net/ipv4/ip_forward"
            ),
        );
        let [first, second, third] = SERVERS;
        lab.run(
            Place::Servers,
            &format!(
                "ip link set lo up && ip addr add {first}/24 dev b-r && \
                 ip addr add {second}/24 dev b-r && ip addr add {third}/24 dev b-r && \
                 ip link set b-r up && ip route add default via 10.201.2.254"
            ),
        );
        lab.run(
            Place::Balancer,
            &format!("ip route add default via {ROUTER}"),
        );
        lab
    }

    /// Runs a line of shell in a place and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, place: Place, script: &str) -> String {
        let mut command = self.command(place, &["sh", "-c"]);
        output(command.arg(script))
    }

    /// A command that will run in a place. Its process is the program's own, so that signals reach it.
    ///
    /// # Panics
    /// When there are no words, or nsenter(1) is missing.
    #[must_use]
    pub fn command(&self, place: Place, words: &[&str]) -> Command {
        let (first, rest) = words.split_first().expect("a program");
        let mut command = match self.holder(place) {
            None => Command::new(first),
            Some(holder) => {
                let mut enter = Command::new(program("nsenter", "util-linux"));
                enter.args(["-t", &holder.id().to_string(), "-n", "--", first]);
                enter
            }
        };
        command.args(rest);
        command
    }

    /// The kernel's counters of a place, such as `TcpExt.ListenOverflows`.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn counters(&self, place: Place) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for file in ["netstat", "snmp"] {
            all.extend(pairs(&self.net(place, file)));
        }
        all
    }

    /// Whether somebody in a place listens on a TCP port.
    #[must_use]
    pub fn listens(&self, place: Place, port: u16) -> bool {
        let has = |file| {
            self.net(place, file).lines().skip(1).any(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                let own = columns.get(1).and_then(|own| own.rsplit(':').next());
                // State 0A is LISTEN.
                columns.get(3) == Some(&"0A") && own == Some(&format!("{port:04X}"))
            })
        };
        has("tcp") || has("tcp6")
    }

    /// A file of `/proc/net`, as a place sees it.
    fn net(&self, place: Place, file: &str) -> String {
        let id = self
            .holder(place)
            .map_or_else(|| "self".to_owned(), |holder| holder.id().to_string());
        let path = format!("/proc/{id}/net/{file}");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn holder(&self, place: Place) -> Option<&Holder> {
        match place {
            Place::Balancer => None,
            Place::Router => Some(&self.router),
            Place::Servers => Some(&self.servers),
        }
    }
}

/// A process that does nothing but be in a namespace of its own.
#[derive(Debug)]
struct Holder(Child);

impl Holder {
    fn start() -> Self {
        let mut child = Command::new(program("unshare", "util-linux"))
            .args(["-n", "--", "sh", "-c", "echo inside && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let said = child.stdout.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("a line");
        assert_eq!(line, "inside\n", "no network namespace could be made");
        Self(child)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Reads the two-line groups of `/proc/net/netstat`: names, then numbers.
fn pairs(text: &str) -> BTreeMap<String, i64> {
    let lines: Vec<&str> = text.lines().collect();
    let mut all = BTreeMap::new();
    for group in lines.chunks_exact(2) {
        let mut names = group[0].split_whitespace();
        let mut numbers = group[1].split_whitespace();
        let title = names.next().unwrap_or_default().trim_end_matches(':');
        numbers.next();
        for (name, number) in names.zip(numbers) {
            all.insert(format!("{title}.{name}"), number.parse().unwrap_or(0));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns;
    use crate::wait::within;
    use std::net::TcpStream;
    use std::time::Duration;

    #[test]
    fn hosts_reach_each_other_through_the_router() {
        netns::run_in_new(
            "lab::tests::hosts_reach_each_other_through_the_router",
            || {
                let lab = Lab::build();
                let to = "10.201.2.3:9000".parse().unwrap();
                let limit = Duration::from_secs(2);
                let refused = TcpStream::connect_timeout(&to, limit).unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
                assert_eq!(lab.counters(Place::Servers)["Tcp.OutRsts"], 1);
                assert!(lab.counters(Place::Router)["Ip.ForwDatagrams"] >= 2);

                let listen = ["socat", "TCP-LISTEN:9000", "-"];
                let server = crate::process::Process::start(lab.command(Place::Servers, &listen));
                within(limit, || lab.listens(Place::Servers, 9000).then_some(())).unwrap();
                assert!(!lab.listens(Place::Router, 9000));
                assert!(TcpStream::connect_timeout(&to, limit).is_ok());
                drop(server);
            },
        );
    }

    #[test]
    fn counters_have_the_names_of_the_manual() {
        let all = pairs("TcpExt: A B\nTcpExt: 1 2\nIp: C\nIp: 3\n");
        assert_eq!((all["TcpExt.B"], all["Ip.C"]), (2, 3));
        assert_eq!(Place::by_name("b"), Some(Place::Servers));
        assert_eq!(Place::by_name("x"), None);
    }
}
