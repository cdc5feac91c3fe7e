//! Finding the route: the first that matches, in the order of the configuration.

use clearway_outcome::{FaultKind, Phase};
use clearway_rules::View;

use super::around::Surroundings;
use super::{Exchange, RouteAt, Stop};

impl Exchange<'_> {
    /// Finds the route and the backend behind it.
    pub(super) fn find_route(&mut self) -> Result<(), Stop> {
        let at = self.conn.listener_at;
        let Some(listener) = self.plan.plan.listeners.get(at) else {
            return Err(Stop::Fault(
                self.local_fault(FaultKind::NoRoute, Phase::Route),
            ));
        };
        let around = Surroundings {
            conn: self.conn,
            plan: &self.plan,
        };
        let view = View {
            edits: Some(&self.request.edits),
            ..around.view(&self.request.head, self.lease.filled(), self.id)
        };
        let found = listener.router.find(&view, &mut self.request.scratch);
        self.check_patterns(Phase::Route)?;
        let route = match found {
            Some(route) => route,
            // Beyond the routes: the listener's own backend.
            None if listener.fallback.backend.is_some() => usize::MAX,
            None => {
                return Err(Stop::Fault(
                    self.local_fault(FaultKind::NoRoute, Phase::Route),
                ));
            }
        };
        self.route_passed = false;
        self.route = Some(RouteAt {
            listener: at,
            route,
        });
        let backend = self.plan.route(at, route).backend;
        self.backend = backend.and_then(|index| self.plan.backends.get(index).cloned());
        Ok(())
    }
}
