//! Where a request names its server itself: finds out which that is, and looks its name up if need be.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use clearway_config::model::ByRequest;
use clearway_net::connect::Target;
use clearway_net::dns::{Answer, DnsFault};
use clearway_outcome::{FaultKind, Phase};

use super::{Admission, Exchange, Stop};
use crate::client::Conn;
use crate::local::LocalBackend;
use crate::named::{Home, Place};
use crate::plan::ByRequestPlan;

impl Exchange<'_> {
    /// Puts the backend that the request names in the place of the one that has it do so.
    pub(super) async fn lead(&mut self) -> Result<(), Stop> {
        let unresolved =
            |exchange: &Self, kind| Stop::Fault(exchange.local_fault(kind, Phase::Choose));
        let Some(backend) = self.backend.clone() else {
            return Ok(());
        };
        let Some(by_request) = backend.plan.by_request.clone() else {
            return Ok(());
        };
        let text = self.request.scratch.variable(by_request.variable);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        let Some(text) = text.map(str::to_owned) else {
            return Err(unresolved(self, FaultKind::NameUnresolved));
        };
        let place = Place::of(&text);
        self.follow(&place, &by_request, &backend);
        if let Some(&at) = by_request.backends.get(place.authority.as_bytes()) {
            return self.go_over(at);
        }
        let tls = backend.plan.tls.is_some() && place.tls.unwrap_or(true);
        let default = if tls { 443 } else { 80 };
        let default = by_request.settings.port.unwrap_or(default);
        let Some(home) = Home::of(place.authority, &by_request.settings, default) else {
            return Err(unresolved(self, FaultKind::NameUnresolved));
        };
        let key = format!("{}{}", if tls { "tls:" } else { "" }, place.authority);
        let found = find_home(self.conn, &key, (&home, tls), &backend, &by_request).await;
        match found {
            Ok(found) => self.backend = Some(found),
            Err(kind) => return Err(unresolved(self, kind)),
        }
        Ok(())
    }

    /// What the text says about the request besides its server.
    fn follow(&mut self, place: &Place<'_>, by_request: &ByRequestPlan, backend: &LocalBackend) {
        let edits = &mut self.request.edits;
        let is_clean = |text: &str| text.bytes().all(|b| b > b' ' && b != 0x7f);
        if !place.target.is_empty() && is_clean(place.target) {
            match place.target.starts_with('/') {
                true => edits.set_target(place.target.as_bytes()),
                false => edits.set_target(format!("/{}", place.target).as_bytes()),
            }
        }
        if !by_request.settings.set_host {
            return;
        }
        let tls = backend.plan.tls.is_some() && place.tls.unwrap_or(true);
        let usual = if tls { ":443" } else { ":80" };
        let host = match place.authority {
            path if path.starts_with("unix:") => "localhost",
            other => other.strip_suffix(usual).unwrap_or(other),
        };
        if is_clean(host) {
            edits.set_host(host.as_bytes());
        }
    }

    /// Goes on with another backend of the Plan.
    fn go_over(&mut self, at: usize) -> Result<(), Stop> {
        let backend = self.plan.backends.get(at).cloned();
        let program = backend.as_ref().and_then(|b| b.plan.program.clone());
        self.backend = backend;
        if let Some(program) = program
            && self.request_rules(&program)? == Admission::Elsewhere
        {
            let fault = self.local_fault(FaultKind::RewriteInvalid, Phase::Route);
            return Err(Stop::Fault(fault));
        }
        Ok(())
    }
}

/// The backend with the server at a place, which is looked up unless it is known.
pub(crate) async fn find_home(
    conn: &Conn,
    key: &str,
    (home, tls): (&Home, bool),
    backend: &Rc<LocalBackend>,
    by_request: &Arc<ByRequestPlan>,
) -> Result<Rc<LocalBackend>, FaultKind> {
    let Some(named) = &backend.named else {
        return Err(FaultKind::NoServers);
    };
    let now = conn.worker.now();
    if let Some(known) = named.find(key, now) {
        return known;
    }
    let (targets, valid) = match home {
        Home::Socket(path) => (vec![Target::Unix(path.clone())], None),
        Home::Address(address) => (vec![Target::Ip(*address)], None),
        Home::Host(..) if !by_request.settings.resolve => {
            return Err(FaultKind::NameUnresolved);
        }
        Home::Host(host, port) => {
            let resolver = named.resolver(&by_request.settings);
            let found = look_up(conn, &resolver, (host, *port), by_request).await;
            let found = found.map(|answer| {
                let is_wanted = |a: &SocketAddr| may_be_home(&by_request.settings, a);
                let addresses = answer.addresses.into_iter().filter(is_wanted);
                let targets: Vec<_> = addresses.map(Target::Ip).collect();
                (targets, Some(answer.valid_for))
            });
            match found {
                Ok((targets, _)) if targets.is_empty() => {
                    return Err(FaultKind::NameUnresolved);
                }
                Ok(found) => found,
                Err(fault) => {
                    let now = conn.worker.now();
                    let fault = match fault {
                        Some(fault) => fault,
                        // The client's time is over, which says nothing of the resolver.
                        None if conn.timer.latest().is_some_and(|end| now >= end) => {
                            return Err(FaultKind::NameTimeout);
                        }
                        None => resolver.late(host),
                    };
                    named.lacks(key, &fault, now, by_request.settings.max);
                    return named.find(key, now).unwrap_or(Err(fault.kind));
                }
            }
        }
    };
    let now = conn.worker.now();
    Ok(named.make(key, backend, (home, tls), (targets, valid), now))
}

/// Whether a name may lead to an address.
fn may_be_home(allowed: &ByRequest, address: &SocketAddr) -> bool {
    let mut networks = allowed.networks.iter();
    let is_near = allowed.networks.is_empty() || networks.any(|net| net.contains(&address.ip()));
    is_near && (allowed.ipv6 || address.is_ipv4())
}

/// Looks a name up; no fault when time was over.
async fn look_up(
    conn: &Conn,
    resolver: &clearway_net::dns::Resolver,
    (host, port): (&str, u16),
    by_request: &ByRequestPlan,
) -> Result<Answer, Option<DnsFault>> {
    let worker = Rc::clone(&conn.worker);
    let limit = by_request.settings.resolve_timeout;
    conn.timer.set_after(worker.now(), limit);
    let mut asking = pin!(resolver.resolve(host, port));
    let done = poll_fn(|cx| match asking.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.map_err(Some)),
        Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(Err(None)),
        Poll::Pending => Poll::Pending,
    })
    .await;
    worker.tick();
    done
}
