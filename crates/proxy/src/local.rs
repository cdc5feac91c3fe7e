//! A worker's view of the Plan: the same shape, with pickers, pools and budgets of its own.
//!
//! Backends and servers that a new Plan leaves unchanged keep their local state, so a reload costs
//! no connection and no memory of latencies.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clearway_balance::budget::Budget;
use clearway_balance::queue::Slots;
use clearway_balance::{Ask, Member, Picker};
use clearway_base::clock::Stamp;
use clearway_base::hash::{self, Map, Set};
use clearway_base::intern::Name;
use clearway_net::connect::Target;
use clearway_outcome::{Attempt, Side};

use crate::named::Named;
use crate::plan::{BackendPlan, Keep, ListenerPlan, Plan, RoutePlan, ServerPlan};
use crate::pool::Kept;
use crate::stats::{BackendShard, ListenerShard, ServerShard, class};

/// A worker's view of one Plan.
pub(crate) struct LocalPlan {
    pub(crate) plan: Arc<Plan>,
    pub(crate) backends: Vec<Rc<LocalBackend>>,
}

impl LocalPlan {
    /// The view of `plan` for `worker`, taking over what `before` had of the same backends.
    pub(crate) fn new(plan: Arc<Plan>, worker: usize, before: Option<&Self>) -> Rc<Self> {
        let known: Map<Name, &Rc<LocalBackend>> = before
            .iter()
            .flat_map(|b| &b.backends)
            .map(|b| (b.plan.name, b))
            .collect();
        let backends = plan
            .backends
            .iter()
            .map(|backend| match known.get(&backend.name) {
                Some(old) if Arc::ptr_eq(&old.plan, backend) => Rc::clone(old),
                old => Rc::new(LocalBackend::new(backend, worker, old.copied())),
            })
            .collect();
        let new = Self { plan, backends };
        if let Some(before) = before {
            let used: Set<*const Kept> = new.servers().map(|s| Rc::as_ptr(&s.kept)).collect();
            let unused = |server: &&Rc<LocalServer>| !used.contains(&Rc::as_ptr(&server.kept));
            before.servers().filter(unused).for_each(|s| s.retire());
        }
        Rc::new(new)
    }

    /// All servers of all backends.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Rc<LocalServer>> {
        self.backends.iter().flat_map(|backend| &backend.servers)
    }

    /// What requests have named, of all backends, and how long it may lie idle.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Named, Duration)> {
        self.backends.iter().filter_map(|backend| {
            let idle = backend.plan.by_request.as_ref()?.settings.idle;
            Some((backend.named.as_ref()?, idle))
        })
    }

    /// Where a listener stands in this Plan.
    pub(crate) fn listener_index(&self, name: Name) -> Option<usize> {
        self.plan.listeners.iter().position(|l| l.name == name)
    }

    /// A listener by its place.
    pub(crate) fn listener(&self, at: usize) -> &ListenerPlan {
        &self.plan.listeners[at]
    }

    /// A route by its place; the listener's fall-back when the place is beyond the routes.
    pub(crate) fn route(&self, listener: usize, route: usize) -> &RoutePlan {
        let listener = self.listener(listener);
        listener.routes.get(route).unwrap_or(&listener.fallback)
    }

    /// A worker's counters of a listener.
    pub(crate) fn listener_shard(&self, name: Name, worker: usize) -> Option<&ListenerShard> {
        let at = self.listener_index(name)?;
        self.listener(at).entry.shards.get(worker)
    }
}

/// A worker's view of one backend.
pub(crate) struct LocalBackend {
    pub(crate) plan: Arc<BackendPlan>,
    pub(crate) servers: Vec<Rc<LocalServer>>,
    pub(crate) budget: RefCell<Budget>,
    /// The servers that requests have named, where they do.
    pub(crate) named: Option<Named>,
    members: RefCell<Vec<Member>>,
    picker: RefCell<Picker>,
    /// Generation of the board that `members` reflects.
    seen: Cell<u64>,
    worker: usize,
}

impl LocalBackend {
    /// A view of a backend, taking over what the view before had of it.
    pub(crate) fn new(plan: &Arc<BackendPlan>, worker: usize, before: Option<&Rc<Self>>) -> Self {
        let known: Map<&Target, usize> = before
            .iter()
            .flat_map(|b| b.servers.iter().enumerate())
            .map(|(at, server)| (&server.plan.target, at))
            .collect();
        let old_members = before.map(|b| b.members.borrow());
        let mut servers = Vec::with_capacity(plan.servers.len());
        let mut members = Vec::with_capacity(plan.servers.len());
        for server in &plan.servers {
            let mut member = Member::new(server.key, server.weight);
            member.tier = server.tier;
            let old = known.get(&server.target).copied();
            let kept = old.and_then(|at| before?.servers.get(at));
            if let (Some(at), Some(old_members)) = (old, &old_members)
                && let Some(old) = old_members.get(at)
            {
                member.adopt(old);
                // Requests of the old view are counted out there.
                member.inflight = 0;
            }
            members.push(member);
            servers.push(match kept {
                Some(kept) if Arc::ptr_eq(&kept.plan, server) && kept.keep == plan.keep => {
                    Rc::clone(kept)
                }
                kept => Rc::new(LocalServer::new(server, plan.keep, worker, kept)),
            });
        }
        // The first worker begins with the first server, as whoever wrote the list expects.
        let seed = match worker {
            0 => 0,
            worker => hash::mix(worker as u64 + 1) ^ u64::from(plan.name.raw()),
        };
        Self {
            plan: Arc::clone(plan),
            servers,
            budget: RefCell::new(plan.new_budget()),
            named: plan.by_request.as_ref().map(|_| Named::default()),
            members: RefCell::new(members),
            picker: RefCell::new(Picker::new(&plan.algorithm, seed)),
            seen: Cell::new(0),
            worker,
        }
    }

    /// The worker's counters of this backend.
    pub(crate) fn shard(&self) -> &BackendShard {
        &self.plan.entry.shards[self.worker]
    }

    /// The worker whose view it is.
    pub(crate) fn worker(&self) -> usize {
        self.worker
    }

    /// Chooses a member; `None` when none may get new traffic.
    pub(crate) fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        self.refresh();
        self.picker.borrow_mut().pick(&self.members.borrow(), ask)
    }

    /// Chooses like [`LocalBackend::pick`], but a full member only when no other of its tier will do.
    pub(crate) fn pick_with_room(&self, ask: &Ask<'_>) -> Option<usize> {
        self.refresh();
        let mut members = self.members.borrow_mut();
        for (member, server) in members.iter_mut().zip(&self.servers) {
            member.full = !server.plan.entry.slots.has_room();
        }
        let picked = self.picker.borrow_mut().pick(&members, ask);
        for member in members.iter_mut() {
            member.full = false;
        }
        picked
    }

    /// The slots that a request may wait for: those of the tier in use, without members already
    /// tried while there are others.
    pub(crate) fn slots(&self, tried: &[usize]) -> Vec<Arc<Slots>> {
        self.refresh();
        let picker = self.picker.borrow();
        let live = || picker.live().iter().map(|&member| member as usize);
        let any_fresh = live().any(|member| !tried.contains(&member));
        live()
            .filter(|member| !any_fresh || !tried.contains(member))
            .filter_map(|member| self.servers.get(member))
            .map(|server| Arc::clone(&server.plan.entry.slots))
            .collect()
    }

    /// Whether a member may serve a client that sticks to it.
    pub(crate) fn takes_sticky(&self, member: usize) -> bool {
        self.servers
            .get(member)
            .is_some_and(|s| s.plan.entry.cell.takes_sticky())
    }

    /// Copies control's word into the members when it has changed.
    fn refresh(&self) {
        let generation = self.plan.entry.generation();
        if generation == self.seen.get() {
            return;
        }
        self.seen.set(generation);
        let mut members = self.members.borrow_mut();
        for (member, server) in members.iter_mut().zip(&self.servers) {
            let cell = &server.plan.entry.cell;
            member.usable = cell.is_usable();
            member.weight = cell.weight();
        }
        self.picker.borrow_mut().rebuild(&members);
    }

    /// Requests in flight on this backend from this worker.
    pub(crate) fn inflight(&self) -> u32 {
        self.members.borrow().iter().map(|m| m.inflight).sum()
    }
}

/// An Attempt in flight: counted until it is dropped, whatever happens.
pub(crate) struct Flight {
    backend: Rc<LocalBackend>,
    member: usize,
    latency_us: Option<u64>,
    ended: Stamp,
}

impl Flight {
    /// Counts an Attempt on a member in.
    pub(crate) fn begin(backend: &Rc<LocalBackend>, member: usize, now: Stamp) -> Self {
        if let Some(known) = backend.members.borrow_mut().get_mut(member) {
            known.started();
        }
        if let Some(server) = backend.servers.get(member) {
            server.shard().inflight.up();
            server.shard().attempts.one();
        }
        Self {
            backend: Rc::clone(backend),
            member,
            latency_us: None,
            ended: now,
        }
    }

    /// The member it is on.
    pub(crate) fn member(&self) -> usize {
        self.member
    }

    /// Ends it: `latency_us` is the time to the first byte when that says something about the
    /// server.
    pub(crate) fn end(mut self, latency_us: Option<u64>, now: Stamp) {
        self.latency_us = latency_us;
        self.ended = now;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(known) = self.backend.members.borrow_mut().get_mut(self.member) {
            known.finished(self.latency_us, self.ended);
        }
        if let Some(server) = self.backend.servers.get(self.member) {
            server.shard().inflight.down();
        }
    }
}

/// A worker's view of one server.
pub(crate) struct LocalServer {
    pub(crate) plan: Arc<ServerPlan>,
    pub(crate) keep: Keep,
    /// The same for all Plans whose connections to the server are alike.
    pub(crate) kept: Rc<Kept>,
    worker: usize,
}

impl LocalServer {
    fn new(plan: &Arc<ServerPlan>, keep: Keep, worker: usize, before: Option<&Rc<Self>>) -> Self {
        let begins_alike = |old: &&Rc<Self>| {
            old.plan.target == plan.target
                && old.plan.send_proxy == plan.send_proxy
                && old.plan.source == plan.source
                && old.plan.protocol == plan.protocol
                && old.plan.has_same_tls(plan)
        };
        let kept = before.filter(begins_alike).map(|old| Rc::clone(&old.kept));
        Self {
            plan: Arc::clone(plan),
            keep,
            kept: kept.unwrap_or_default(),
            worker,
        }
    }

    /// The worker's counters of this server.
    pub(crate) fn shard(&self) -> &ServerShard {
        &self.plan.entry.shards[self.worker]
    }

    /// Counts an Attempt that has ended.
    pub(crate) fn count(&self, attempt: &Attempt) {
        let shard = self.shard();
        shard.bytes_out.add(attempt.bytes_sent);
        shard.bytes_in.add(attempt.bytes_received);
        if attempt.status > 0
            && let Some(responses) = shard.responses.get(class(attempt.status))
        {
            responses.one();
        }
        match attempt.fault {
            None => shard.successes.one(),
            // What the client did is no fault of the server's.
            Some(fault) if fault.side == Side::Client => {}
            Some(fault) => shard.faults.one(fault.kind),
        }
    }

    /// Whether the server was taken out for good: its connections are not kept.
    pub(crate) fn is_retired(&self) -> bool {
        self.plan.entry.cell.flags() & (crate::board::REMOVED | crate::board::MAINTENANCE) != 0
    }
}
