//! Choosing a server: stickiness first, then the backend's algorithm, then a slot.

use std::rc::Rc;

use clearway_balance::{Ask, Spread};
use clearway_config::model::{HashKey, main_domain};
use clearway_outcome::{Fault, FaultKind, Phase, Side};

use super::around::Surroundings;
use super::{Exchange, Stop};
use crate::local::{Flight, LocalBackend, LocalServer};
use crate::slots;

/// The member that gets the next Attempt.
pub(super) struct Chosen {
    pub(super) member: usize,
    pub(super) server: Rc<LocalServer>,
    pub(super) queued_us: Option<u64>,
}

impl Exchange<'_> {
    /// Chooses a member and counts the Attempt as in flight on it.
    pub(super) async fn choose(&mut self) -> Result<Chosen, Stop> {
        let Some(backend) = self.backend.clone() else {
            return Err(Stop::Fault(
                self.local_fault(FaultKind::NoServers, Phase::Choose),
            ));
        };
        let wanted = self.wanted_member(&backend);
        let sticky = wanted.or_else(|| self.sticky_member(&backend));
        let sticky = sticky.or_else(|| self.stuck_member(&backend));
        let key = match backend.plan.algorithm.spread() {
            Spread::Key => self.hash_key(&backend),
            Spread::Weight | Spread::Order => None,
        };
        if self.request.attempts.is_empty() {
            backend.budget.borrow_mut().request(self.conn.worker.now());
        }
        let limit = self.route_plan().timeouts.queue;
        let other = self.route_plan().retries.other_server;
        let ask = Ask {
            key,
            exclude: if other { &self.request.tried } else { &[] },
            random: self.conn.worker.rng.borrow_mut().next_u64(),
            now: self.arrival.complete,
            turns: Some(&backend.plan.entry.turns),
            spare: self.route_plan().retries.backups,
        };
        let taken = slots::take(self.conn, &backend, sticky, &ask, limit).await;
        let (member, slot, queued_us) =
            taken.map_err(|fault| self.unchosen(&backend, self.or_total(fault)))?;
        if backend.plan.sticky.is_some()
            && self.sticky_member(&backend) != Some(member)
            && self.stuck_member(&backend) != Some(member)
        {
            self.stick_to = Some(member);
        }
        let Some(server) = backend.servers.get(member).cloned() else {
            return Err(Stop::Fault(
                self.local_fault(FaultKind::NoServers, Phase::Choose),
            ));
        };
        self.flight = Some(Flight::begin(&backend, member, self.conn.worker.now()));
        self.slot = slot;
        self.replayable = true;
        Ok(Chosen {
            member,
            server,
            queued_us,
        })
    }

    /// Nothing could be chosen: counts it and, after a failed Attempt, keeps that fault instead.
    fn unchosen(&mut self, backend: &Rc<LocalBackend>, fault: Fault) -> Stop {
        if fault.kind.is_client_abort() {
            return Stop::Cut(fault);
        }
        backend.shard().faults.one(fault.kind);
        match self.request.attempts.last_mut() {
            Some(last) if last.fault.is_some() => {
                last.refusal = Some(clearway_outcome::RetryRefusal::NoServer);
                Stop::Fault(last.fault.unwrap_or(fault))
            }
            _ => Stop::Fault(Fault {
                side: Side::Local,
                ..fault
            }),
        }
    }

    /// The member that a rule names, if it may serve the request and was not tried yet.
    fn wanted_member(&self, backend: &LocalBackend) -> Option<usize> {
        let name = self.request.scratch.wanted_server()?;
        let mut servers = backend.servers.iter();
        let member = servers.position(|server| server.plan.name.as_str().as_bytes() == name)?;
        let fits = backend.takes_sticky(member) && !self.request.tried.contains(&member);
        fits.then_some(member)
    }

    /// The hash of what the backend keeps together; `None` when the request does not have it.
    fn hash_key(&self, backend: &LocalBackend) -> Option<u64> {
        let plan = &backend.plan;
        let (head, buf) = (&self.request.head, self.lease.filled());
        let bytes = match &plan.config.hash_key {
            HashKey::Source => {
                let ip = self.client().ip();
                return ip.map(|ip| slots::source_key(&ip, &plan.config));
            }
            HashKey::Uri => head.target.of(buf),
            HashKey::Path => head.path.of(buf),
            HashKey::Part(part) if part.whole => part.of(head.target.of(buf)),
            HashKey::Part(part) => part.of(head.path.of(buf)),
            HashKey::Header(name) => head.header(name, buf)?,
            HashKey::Domain(name) => main_domain(head.header(name, buf)?),
            HashKey::Cookie(name) => head.cookie(name.as_bytes(), buf)?,
            HashKey::Query(name) => {
                clearway_http::uri::query_param(head.query.of(buf), name.as_bytes())?
            }
            HashKey::Value(_) => {
                let value = plan.hash_value.as_ref()?;
                let mut hash = None;
                let around = Surroundings {
                    conn: self.conn,
                    plan: &self.plan,
                };
                let view = around.view(head, buf, self.id);
                value.show(&view, &self.request.scratch, &mut |found| {
                    hash = found.map(|bytes| slots::hashed(bytes, &plan.config));
                });
                return hash;
            }
        };
        Some(slots::hashed(bytes, &plan.config))
    }
}

/// The fault of a backend that has no usable server.
pub(crate) fn none_usable(backend: &LocalBackend) -> Fault {
    let kind = if backend.servers.is_empty() {
        backend.plan.empty_because
    } else {
        FaultKind::AllServersDown
    };
    Fault::new(kind, Phase::Choose, Side::Local)
}
