//! Servers that requests name themselves: a worker remembers those in use, with their kept connections, as
//! far as the bound of their backend goes.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_base::hash::{self, Map};
use clearway_base::intern::Name;
use clearway_config::model::{ByRequest, HostPattern};
use clearway_net::connect::Target;
use clearway_net::dns::{DnsFault, Resolver, Settings};
use clearway_net::tls;
use clearway_outcome::FaultKind;

use crate::local::LocalBackend;
use crate::plan::{BackendPlan, ServerPlan};

/// Addresses that get a name of their own in logs and receipts. Names are kept for ever, and who writes
/// requests could make up any number: those beyond go by the name of their stand-in.
const NAMES_MAX: usize = 4_096;

/// What a request says about its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Whether TLS is spoken, where that is said.
    pub(crate) tls: Option<bool>,
    /// `host`, `host:port` or `unix:/path`.
    pub(crate) authority: &'a str,
    /// What takes the place of path and query; empty where nothing does.
    pub(crate) target: &'a str,
}

impl<'a> Place<'a> {
    /// Takes a text apart.
    pub(crate) fn of(text: &'a str) -> Self {
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
            Some(_) | None => (None, text),
        };
        let (authority, target) = match rest.strip_prefix("unix:") {
            // A second colon ends the path of the socket.
            Some(path) => match path.find(':') {
                Some(at) => (
                    rest.get(..at + 5).unwrap_or(rest),
                    rest.get(at + 6..).unwrap_or_default(),
                ),
                None => (rest, ""),
            },
            None => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                rest.split_at_checked(end).unwrap_or((rest, ""))
            }
        };
        Self {
            tls,
            authority,
            target,
        }
    }
}

/// Where a host is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Socket(PathBuf),
    Address(SocketAddr),
    Host(String, u16),
}

impl Home {
    /// Where an authority leads, if it is one and is allowed.
    pub(crate) fn of(authority: &str, allowed: &ByRequest, default_port: u16) -> Option<Self> {
        if let Some(path) = authority.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && !path.contains('\0');
            return (allowed.unix_sockets && is_path).then(|| Self::Socket(PathBuf::from(path)));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
                (host, port.parse().ok().filter(|port| *port > 0)?)
            }
            Some((host, "")) => (host, default_port),
            Some(_) if !authority.starts_with('[') => return None,
            Some(_) | None => (authority, default_port),
        };
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if let Ok(ip) = literal.unwrap_or(host).parse::<IpAddr>() {
            let is_allowed = allowed.networks.iter().any(|net| net.contains(&ip));
            return is_allowed.then(|| Self::Address(SocketAddr::new(ip, port)));
        }
        let is_byte = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(is_byte) {
            return None;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_allowed = allowed.names.iter().any(|name| fits(name, &host));
        (is_allowed && !host.is_empty()).then_some(Self::Host(host, port))
    }

    /// The name that TLS asks for.
    fn host(&self) -> Option<String> {
        match self {
            Self::Socket(_) => None,
            Self::Address(address) => Some(address.ip().to_string()),
            Self::Host(host, _) => Some(host.clone()),
        }
    }
}

fn fits(pattern: &HostPattern, host: &str) -> bool {
    let pattern = pattern.to_string().to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == pattern,
    }
}

/// One server that was named.
struct Known {
    backend: Result<Rc<LocalBackend>, FaultKind>,
    used: Cell<Stamp>,
    /// Until when what was looked up holds; for ever where nothing was.
    until: Option<Stamp>,
}

/// What a worker knows of the servers that requests to one backend have named.
#[derive(Default)]
pub(crate) struct Named {
    known: RefCell<Map<Box<str>, Known>>,
    resolver: RefCell<Option<Rc<Resolver>>>,
}

impl Named {
    /// What is known of a place: its servers, or that it has none.
    pub(crate) fn find(
        &self,
        key: &str,
        now: Stamp,
    ) -> Option<Result<Rc<LocalBackend>, FaultKind>> {
        let known = self.known.borrow();
        let found = known.get(key)?;
        if found.until.is_some_and(|until| now >= until) {
            return None;
        }
        found.used.set(now);
        Some(found.backend.clone())
    }

    /// Who looks names up.
    pub(crate) fn resolver(&self, settings: &ByRequest) -> Rc<Resolver> {
        let mut resolver = self.resolver.borrow_mut();
        let made = resolver.get_or_insert_with(|| {
            let standard = Settings::default();
            Rc::new(Resolver::new(&Settings {
                servers: settings.resolvers.clone(),
                timeout: settings.resolve_timeout.min(standard.timeout),
                min_ttl: settings.valid.unwrap_or(standard.min_ttl),
                max_ttl: settings.valid.unwrap_or(standard.max_ttl),
                ..standard
            }))
        });
        Rc::clone(made)
    }

    /// Takes note that a place has no address.
    pub(crate) fn lacks(&self, key: &str, fault: &DnsFault, now: Stamp, bound: usize) {
        // What a server had before is used while the resolver is in trouble.
        let mut known = self.known.borrow_mut();
        let until = Some(now.plus(fault.retry_after.max(Duration::from_millis(100))));
        if let Some(before) = known.get_mut(key)
            && before.backend.is_ok()
            && fault.kind == FaultKind::NameTimeout
        {
            before.until = until;
            return;
        }
        drop(known);
        let lacking = Known {
            backend: Err(fault.kind),
            used: Cell::new(now),
            until,
        };
        self.keep(key, lacking, bound);
    }

    /// Makes a view of a backend with the servers at a place, and keeps it.
    pub(crate) fn make(
        &self,
        key: &str,
        of: &Rc<LocalBackend>,
        (home, tls): (&Home, bool),
        (targets, valid): (Vec<Target>, Option<Duration>),
        now: Stamp,
    ) -> Rc<LocalBackend> {
        let plan = plan_of(&of.plan, home, tls, targets);
        let before = match self.known.borrow().get(key).map(|known| &known.backend) {
            Some(Ok(before)) => Some(Rc::clone(before)),
            Some(Err(_)) | None => None,
        };
        let made = LocalBackend::new(&Arc::new(plan), of.worker(), before.as_ref());
        let made = Rc::new(made);
        let known = Known {
            backend: Ok(Rc::clone(&made)),
            used: Cell::new(now),
            until: valid.map(|valid| now.plus(valid)),
        };
        let max = of.plan.by_request.as_ref().map_or(1, |by| by.settings.max);
        self.keep(key, known, max);
        made
    }

    fn keep(&self, key: &str, new: Known, bound: usize) {
        let mut known = self.known.borrow_mut();
        if known.len() >= bound && !known.contains_key(key) {
            let oldest = known.iter().min_by_key(|(_, known)| known.used.get());
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                known.remove(&oldest);
            }
        }
        known.insert(key.into(), new);
    }

    /// Gives up what was not used for long, and closes connections that are of no use any more.
    pub(crate) fn sweep(&self, now: Stamp, idle: Duration) {
        let mut known = self.known.borrow_mut();
        known.retain(|_, known| now.since(known.used.get()) < idle);
        let backends = known
            .values()
            .filter_map(|known| known.backend.as_ref().ok());
        let servers = backends.flat_map(|backend| &backend.servers);
        servers.for_each(|server| server.sweep(now));
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.known.borrow_mut().clear();
    }
}

/// The backend with the servers at a place.
fn plan_of(of: &BackendPlan, home: &Home, tls: bool, targets: Vec<Target>) -> BackendPlan {
    let Some(stand_in) = of.servers.first() else {
        return of.with_servers(Vec::new());
    };
    let asks = of
        .config
        .tls
        .as_ref()
        .and_then(|tls| tls.server_name.as_ref());
    let name = asks.map(ToString::to_string).or_else(|| home.host());
    let name = name.and_then(|name| tls::server_name(&name).ok());
    let plan = |target: Target| {
        let text = target.to_string();
        let mut plan = ServerPlan {
            tls: None,
            ..stand_in.moved(
                target,
                named(&text, stand_in),
                hash::stable(text.as_bytes()),
            )
        };
        if tls && let (Some(tls), Some(name)) = (&of.tls, &name) {
            plan.tls = Some((Arc::clone(tls), name.clone()));
        }
        Arc::new(plan)
    };
    of.with_servers(targets.into_iter().map(plan).collect())
}

/// The name of an address: the one it has, or a new one as long as there is room for more.
fn named(address: &str, stand_in: &ServerPlan) -> Name {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    if let Some(known) = Name::known(address) {
        return known;
    }
    let one_more = |made: usize| (made < NAMES_MAX).then_some(made + 1);
    match MADE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
        Ok(_) => Name::new(address),
        Err(_) => stand_in.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_apart() {
        let place = |tls, authority, target| Place {
            tls,
            authority,
            target,
        };
        for (text, wanted) in [
            ("a.test", place(None, "a.test", "")),
            (
                "http://a.test:80/x?y",
                place(Some(false), "a.test:80", "/x?y"),
            ),
            ("HTTPS://a?b", place(Some(true), "a", "?b")),
            ("unix:/run/a.sock", place(None, "unix:/run/a.sock", "")),
            (
                "http://unix:/run/a:/in/",
                place(Some(false), "unix:/run/a", "/in/"),
            ),
            ("ftp://a/b", place(None, "ftp:", "//a/b")),
        ] {
            assert_eq!(Place::of(text), wanted, "{text}");
        }
    }

    #[test]
    fn only_what_is_allowed_is_a_home() {
        let text = "[backend.a]\nservers = []\nby_request = { to = \"x\", names = [\"*.in.test\"], \
                    networks = [\"10.0.0.0/8\"] }\n";
        let config = clearway_config::parse("test", text).config;
        let allowed = config.backends[0].by_request.clone().unwrap();
        let home = |text| Home::of(text, &allowed, 80);
        assert_eq!(
            home("a.IN.test."),
            Some(Home::Host("a.in.test".to_owned(), 80))
        );
        assert_eq!(
            home("a.in.test:8080"),
            Some(Home::Host("a.in.test".to_owned(), 8080))
        );
        assert_eq!(
            home("10.1.2.3"),
            Some(Home::Address(([10, 1, 2, 3], 80).into()))
        );
        for bad in [
            "in.test",
            "a.test",
            "127.0.0.1",
            "[::1]:80",
            "unix:/run/a",
            "",
            ":80",
            "a.in.test:0",
            "a.in.test:99999",
            "a.in.test:x",
            "a b.in.test",
            "10.1.2.3.in.test:",
            "::1",
        ] {
            assert!(home(bad).is_none() || bad.starts_with("10.1"), "{bad}");
        }
    }

    #[test]
    fn addresses_are_told_apart_without_names_of_their_own() {
        let text = "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"any\"\n[backend.any]\nservers = []\n\
                    by_request = { to = \"${header:x}\", networks = [\"10.0.0.0/8\"] }\n";
        let config = clearway_config::parse("test", text).config;
        let mut board = crate::board::Board::new(1);
        let names = crate::compile::Names::default();
        let plan = crate::compile::compile(&config, &names, &mut board, 1, None).unwrap();
        let of = Rc::new(LocalBackend::new(&plan.backends[0], 0, None));
        let stand_in = &plan.backends[0].servers[0];
        // Looking up the same again takes no name.
        for _ in 0..2 * NAMES_MAX {
            assert_eq!(named("10.9.9.9:80", stand_in).as_str(), "10.9.9.9:80");
        }
        let mut last = stand_in.name;
        for at in 0..=NAMES_MAX {
            last = named(&format!("name {at}"), stand_in);
        }
        assert_eq!(last, stand_in.name);
        let known = Named::default();
        let make = |hosts: &[u8]| {
            let target = |host: &u8| Target::Ip(([10, 0, 0, *host], 80).into());
            let targets = (hosts.iter().map(target).collect(), None);
            let home = Home::Host("a.test".to_owned(), 80);
            known.make("a.test", &of, (&home, false), targets, Stamp(1))
        };
        let (before, after) = (make(&[1, 2]), make(&[2, 3]));
        let is_shared = |a: usize, b: usize| {
            let (a, b) = (&before.servers[a], &after.servers[b]);
            assert_eq!(a.plan.name, b.plan.name);
            Rc::ptr_eq(&a.kept, &b.kept)
        };
        assert!(is_shared(1, 0));
        assert!(!is_shared(0, 0) && !is_shared(0, 1) && !is_shared(1, 1));
    }
}
