//! The words behind a server's address, with those of `default-server`.

use crate::diagnostic::Origin;
use crate::syntax::haproxy::Line;

/// Parameters that are followed by a value. All others stand alone.
const WITH_VALUE: &[&str] = &[
    "addr",
    "agent-addr",
    "agent-inter",
    "agent-port",
    "agent-send",
    "alpn",
    "ca-file",
    "check-alpn",
    "check-proto",
    "check-sni",
    "ciphers",
    "ciphersuites",
    "client-sigalgs",
    "cookie",
    "crl-file",
    "crt",
    "curves",
    "downinter",
    "error-limit",
    "fall",
    "fastinter",
    "guid",
    "hash-key",
    "id",
    "idle-ping",
    "init-addr",
    "init-state",
    "inter",
    "log-bufsize",
    "log-proto",
    "max-reuse",
    "maxconn",
    "maxqueue",
    "minconn",
    "namespace",
    "npn",
    "observe",
    "on-error",
    "on-marked-down",
    "on-marked-up",
    "pool-conn-name",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "port",
    "proto",
    "proxy-v2-options",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "rise",
    "shard",
    "sigalgs",
    "slowstart",
    "sni",
    "socks4",
    "source",
    "ssl-max-ver",
    "ssl-min-ver",
    "tcp-ut",
    "track",
    "verify",
    "verifyhost",
    "weight",
    "ws",
];

/// One parameter.
#[derive(Clone)]
pub(crate) struct Parameter<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) origin: Origin,
}

/// Parameters of a server; of those that are written twice the last one holds.
#[derive(Clone, Default)]
pub(crate) struct Parameters<'a> {
    all: Vec<Parameter<'a>>,
}

impl<'a> Parameters<'a> {
    /// Adds those of a line, from a word on.
    pub(crate) fn add(&mut self, line: &'a Line, from: usize) {
        let mut words = line.words.iter().skip(from);
        while let Some(word) = words.next() {
            let name = word.text.as_str();
            let has_value = WITH_VALUE.contains(&name);
            let value = if has_value { words.next() } else { None };
            self.all.push(Parameter {
                name,
                value: value.map_or("", |value| value.text.as_str()),
                origin: word.origin.clone(),
            });
        }
    }

    /// A parameter, unless it was taken back with `no-`.
    pub(crate) fn find(&self, name: &str) -> Option<&Parameter<'a>> {
        let fits = |found: &&Parameter<'_>| {
            found.name == name || found.name.strip_prefix("no-") == Some(name)
        };
        self.all
            .iter()
            .rev()
            .find(fits)
            .filter(|found| found.name == name)
    }

    /// All of them, those of defaults first.
    pub(crate) fn all(&self) -> &[Parameter<'a>] {
        &self.all
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|found| found.value)
    }

    /// The version of the PROXY header that is sent, and where that is written.
    pub(crate) fn proxy_header(&self) -> Option<(u8, Origin)> {
        let first = self
            .find("send-proxy")
            .map(|found| (1, found.origin.clone()));
        let second = ["send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn"];
        let second = second.iter().find_map(|name| self.find(name));
        second.map(|found| (2, found.origin.clone())).or(first)
    }
}
