//! Requests under way on a server that goes down, where its connections are to end at once.

use std::rc::Rc;
use std::task::Context;

use super::Exchange;
use crate::local::LocalServer;
use crate::worker::{Place, Worker};

/// Looks whether what is open on a server has to end. It costs nothing where that is never asked for.
pub(super) struct Severing<'a> {
    place: Place<'a>,
    /// The server, and its cuts when this began.
    server: Option<(Rc<LocalServer>, u32)>,
}

impl<'a> Severing<'a> {
    pub(super) fn new(worker: &'a Worker, server: Option<(Rc<LocalServer>, u32)>) -> Self {
        Self {
            place: Place::none(&worker.tunnels),
            server,
        }
    }

    /// Whether it has to end now; the task is woken when it has to.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> bool {
        let Some((server, cuts)) = &self.server else {
            return false;
        };
        self.place.register(cx);
        server.plan.entry.cell.is_cut(*cuts)
    }
}

impl Exchange<'_> {
    /// The server that the request is on, where what it has open may have to end.
    pub(super) fn severable(&self) -> Option<(Rc<LocalServer>, u32)> {
        let backend = self.backend.as_ref()?;
        let server = backend.servers.get(self.flight.as_ref()?.member())?;
        let cuts = server.plan.entry.cell.cuts();
        let severs = server.plan.watch.severs;
        severs.then(|| (Rc::clone(server), cuts))
    }
}
