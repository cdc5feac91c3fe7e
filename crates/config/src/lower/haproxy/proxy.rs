//! Proxies: `defaults`, `frontend`, `backend` and `listen` sections while they are read.
//!
//! A section begins as a copy of its `defaults`, then its own lines are put on top, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::acl::Acls;
use super::bodies::Compressing;
use super::caches::CacheRules;
use super::logs::Target;
use super::pages::Groups;
use super::stats::Stats;
use crate::diagnostic::Origin;
use crate::model::{Caching, Condition, ErrorPage, Mode, Redirect, Rule, Table};
use crate::syntax::haproxy::Line;

/// Something with the place where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> At<T> {
    pub(super) fn new(value: T, line: &Line) -> Self {
        Self {
            value,
            origin: line.origin(),
        }
    }
}

/// Where `use_backend` leads.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    /// None: where requests go that no line takes.
    pub(super) backend: Option<String>,
    pub(super) condition: Condition,
    pub(super) origin: Origin,
}

/// A rule about connections of mode tcp.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// `connection`, `session` or `content`: what is accepted by one is still looked at by the next.
    pub(super) stage: String,
    pub(super) accepts: bool,
    /// What such connections are counted by; then the next rule is looked at.
    pub(super) counting: Option<Box<Rule>>,
    pub(super) condition: Condition,
    pub(super) origin: Origin,
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxy {
    /// `defaults`, `frontend`, `backend` or `listen`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) mode: Spoken,
    /// Not started at all.
    pub(super) disabled: bool,
    pub(super) binds: Vec<Line>,
    /// Time-outs by name.
    pub(super) timeouts: BTreeMap<&'static str, At<Duration>>,
    /// Options by name, as they were last set.
    pub(super) options: BTreeMap<String, At<bool>>,
    pub(super) maxconn: Option<At<u64>>,
    pub(super) backlog: Option<At<u64>>,
    pub(super) retries: Option<At<u64>>,
    pub(super) retry_on: Option<At<Vec<String>>>,
    pub(super) balance: Option<Line>,
    pub(super) hash_type: Option<Line>,
    pub(super) hash_balance: Option<Line>,
    /// The option that says how servers are checked.
    pub(super) spoken_check: Option<Line>,
    pub(super) tcp_check: Vec<Line>,
    pub(super) inspect_delay: Option<At<Duration>>,
    /// Who sends PROXY headers, where not everybody does; empty = everybody.
    pub(super) proxy_from: Option<Vec<ipnet::IpNet>>,
    pub(super) cookie: Option<Line>,
    pub(super) dynamic_cookie_key: Option<Line>,
    /// Its table, which has its name.
    pub(super) table: Option<At<Table>>,
    /// Rules that stick by tables, in their order.
    pub(super) sticks: Vec<Rule>,
    pub(super) forwardfor: Option<Line>,
    pub(super) originalto: Option<Line>,
    pub(super) default_backend: Option<At<String>>,
    pub(super) switches: Vec<Switch>,
    pub(super) acls: Acls,
    /// Rules about connections, then about requests, then redirections, in the order in which they
    /// are looked at.
    pub(super) connection: Vec<Rule>,
    /// What rules about connections have let in, by what they begin with: the next ones of the kind are
    /// not looked at then.
    pub(super) accepted: BTreeMap<String, Vec<Condition>>,
    pub(super) request: Vec<Rule>,
    pub(super) redirects: Vec<(Condition, Redirect, Origin)>,
    /// Rules about what servers send, which stand before those about responses.
    pub(super) of_servers: Vec<Rule>,
    pub(super) response: Vec<Rule>,
    /// Its number, as lines or its place among all say.
    pub(super) number: usize,
    /// How ids of requests are made, and the header they are told in.
    pub(super) unique_id: Option<Line>,
    pub(super) unique_id_header: Option<Line>,
    /// Whether anybody asks for the time-outs of backends.
    pub(super) tells_timeouts: bool,
    /// `option http-restrict-req-hdr-names`.
    pub(super) restricts: Option<Line>,
    pub(super) compression: Compressing,
    pub(super) caches: CacheRules,
    /// What becomes of them when all sections are read.
    pub(super) caching: Option<Caching>,
    /// Places that lines about requests go to, besides those of `global`.
    pub(super) logs: Vec<Target>,
    pub(super) logs_globally: bool,
    pub(super) log_format: Option<Line>,
    /// Levels that rules give to lines of logs.
    pub(super) log_levels: BTreeSet<String>,
    /// Whether a cookie is captured for logs.
    pub(super) cookie_capture: Option<Line>,
    pub(super) stats: Stats,
    /// The one port of all listeners that lead here: that of servers without one.
    pub(super) only_port: Option<u16>,
    /// What is done with connections of mode tcp, in its order.
    pub(super) passes: Vec<Pass>,
    pub(super) monitor: Option<At<String>>,
    /// When the answer of `monitor` is that it fails.
    pub(super) monitor_fails: Vec<Condition>,
    /// Rules that name a server, in the order in which they are done.
    pub(super) use_server: Vec<Rule>,
    /// Lengths of the captures of requests (`true`) and responses, by their numbers.
    pub(super) captures: BTreeMap<bool, Vec<String>>,
    pub(super) default_server: Vec<Line>,
    pub(super) servers: Vec<Line>,
    /// How many lines of `default_server` stand before each line of `servers`.
    pub(super) defaults_before: Vec<usize>,
    pub(super) httpchk: Option<Line>,
    pub(super) http_check: Vec<Line>,
    /// Pages of errors, by status.
    pub(super) pages: BTreeMap<u16, At<ErrorPage>>,
    /// Those that sections of the kind `http-errors` hold.
    pub(super) groups: Rc<Groups>,
}

/// The mode, `tcp` unless `http` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken(pub(super) Mode);

impl Default for Spoken {
    fn default() -> Self {
        Self(Mode::Tcp)
    }
}

impl Proxy {
    /// A section that begins with what its defaults say.
    pub(super) fn begin(kind: &str, name: &str, origin: Origin, defaults: Option<&Self>) -> Self {
        let mut proxy = defaults.cloned().unwrap_or_default();
        proxy.table = None;
        proxy.kind = kind.to_owned();
        proxy.name = name.to_owned();
        proxy.origin = origin;
        proxy
    }

    pub(super) fn is_http(&self) -> bool {
        self.mode.0 == Mode::Http
    }

    /// Whether clients connect to it.
    pub(super) fn listens(&self) -> bool {
        matches!(self.kind.as_str(), "frontend" | "listen")
    }

    /// Whether it has servers.
    pub(super) fn serves(&self) -> bool {
        matches!(self.kind.as_str(), "backend" | "listen")
    }

    pub(super) fn option(&self, name: &str) -> bool {
        self.options.get(name).is_some_and(|found| found.value)
    }

    /// A time-out; none means no limit.
    pub(super) fn timeout(&self, name: &str) -> Option<Duration> {
        let found = self.timeouts.get(name).map(|found| found.value);
        found.filter(|time| !time.is_zero())
    }

    /// The first of these time-outs that is written.
    pub(super) fn first_timeout(&self, names: &[&str]) -> Option<Duration> {
        names.iter().find_map(|name| self.timeout(name))
    }
}
