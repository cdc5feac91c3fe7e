//! Whether a failed Attempt may be followed by another, and if not, why.

use clearway_config::model::{RetryMethods, RetryOn};
use clearway_http::{Framing, Method};
use clearway_outcome::{Attempt, Fault, FaultKind, Retry, RetryRefusal};

use super::Exchange;
use crate::local::Flight;

impl Exchange<'_> {
    /// Decides whether another Attempt may follow one that ended in `fault`.
    ///
    /// Takes from the retry budget when it allows.
    pub(crate) fn may_retry(&self, fault: &Fault, replayable: bool) -> Result<(), RetryRefusal> {
        let rules = &self.route_plan().retries;
        let on = |what| rules.on.contains(&what);
        let wanted = fault.kind.retry().allows(
            on(RetryOn::Fault(fault.kind)),
            on(RetryOn::Connect),
            on(RetryOn::Reused),
        );
        if !wanted {
            return Err(RetryRefusal::NotConfigured);
        }
        // A kept connection that was over says nothing about the server.
        let is_lasting = fault.kind.is_lasting()
            || !rules.same_server && !matches!(fault.kind.retry(), Retry::Reused);
        if is_lasting && !self.has_other_server() {
            return Err(RetryRefusal::NoServer);
        }
        // Nothing of the request reached a server when no connection was made, and where HTTP/2 says so.
        // TLS may fail later, too.
        let says_so = matches!(
            fault.kind,
            FaultKind::ServerGoaway | FaultKind::ServerRefusedStream
        );
        let in_vain = |attempt: &Attempt| match fault.kind.retry() {
            Retry::Always => says_so || attempt.connected_us.is_none(),
            Retry::Reused | Retry::Configured | Retry::Never => {
                never_taken(fault, attempt, self.was_alone)
            }
        };
        let reached = !self.request.attempts.last().is_some_and(in_vain);
        self.may_try_again(reached, replayable)?;
        // A kept connection that had died says nothing about load, and the next Attempt is on a fresh
        // one: only others could multiply the load of servers in trouble.
        if matches!(fault.kind.retry(), Retry::Reused) {
            return Ok(());
        }
        self.take_from_budget()
    }

    /// Decides whether a response with `status` is given up for another Attempt.
    pub(crate) fn may_retry_status(
        &self,
        status: u16,
        replayable: bool,
    ) -> Option<Result<(), RetryRefusal>> {
        let rules = &self.route_plan().retries;
        if status < 400 || !rules.on.contains(&RetryOn::Status(status)) {
            return None;
        }
        if !rules.same_server && !self.has_other_server() {
            return Some(Err(RetryRefusal::NoServer));
        }
        Some(
            self.may_try_again(true, replayable)
                .and_then(|()| self.take_from_budget()),
        )
    }

    fn may_try_again(&self, reached: bool, replayable: bool) -> Result<(), RetryRefusal> {
        let rules = &self.route_plan().retries;
        if self.request.attempts.len() > rules.max as usize {
            return Err(RetryRefusal::Attempts);
        }
        if reached && !self.is_repeatable(rules.methods) {
            return Err(RetryRefusal::Method);
        }
        let Framing::Length(length) = self.request.head.framing else {
            return self.in_time(replayable);
        };
        let is_kept = length <= rules.body_buffer as u64 || !reached;
        self.in_time(replayable && is_kept)
    }

    fn in_time(&self, replayable: bool) -> Result<(), RetryRefusal> {
        if !replayable {
            return Err(RetryRefusal::BodySent);
        }
        let now = self.conn.worker.now();
        let time = self.route_plan().retries.time;
        let began = self.request.attempts.first().map(|first| first.started);
        if !time.is_zero() && began.is_some_and(|began| now.since(began) >= time) {
            return Err(RetryRefusal::Deadline);
        }
        let total = self.route_plan().timeouts.total;
        if !total.is_zero() && now.since(self.arrival.started) >= total {
            return Err(RetryRefusal::Deadline);
        }
        Ok(())
    }

    /// Whether a server may be chosen that was not tried yet, and is not being tried.
    fn has_other_server(&self) -> bool {
        let now = self.flight.as_ref().map(Flight::member);
        self.backend.as_ref().is_some_and(|backend| {
            let mut all = backend.servers.iter().enumerate();
            all.any(|(member, server)| {
                Some(member) != now
                    && !self.request.tried.contains(&member)
                    && server.plan.entry.cell.is_usable()
            })
        })
    }

    fn take_from_budget(&self) -> Result<(), RetryRefusal> {
        let Some(backend) = &self.backend else {
            return Err(RetryRefusal::NoServer);
        };
        if !backend
            .budget
            .borrow_mut()
            .try_retry(self.conn.worker.now())
        {
            return Err(RetryRefusal::Budget);
        }
        Ok(())
    }

    /// Whether the request may be sent twice after a server may have seen it (RFC 9110 section 9.2.2).
    fn is_repeatable(&self, methods: RetryMethods) -> bool {
        match methods {
            RetryMethods::Any => true,
            RetryMethods::Idempotent => {
                self.request.head.method != Method::Other
                    && self.request.head.method.is_idempotent()
            }
        }
    }
}

/// Whether the server had closed the kept connection before the request came, so that even a request
/// that must not be repeated may be sent on another one.
///
/// A FIN acknowledges whatever was received before it: a request of which no byte is acknowledged
/// when the FIN is here came too late. A reset proves nothing of the kind, and neither does a FIN on a
/// connection that was not the request's alone: what is not acknowledged may belong to another.
fn never_taken(fault: &Fault, attempt: &Attempt, was_alone: bool) -> bool {
    let facts = attempt.evidence.as_ref().and_then(|evidence| evidence.tcp);
    fault.kind == FaultKind::ReusedClosed
        && was_alone
        && attempt.bytes_sent > 0
        && facts.is_some_and(|tcp| tcp.unacked_bytes >= attempt.bytes_sent)
}

#[cfg(test)]
mod tests {
    use clearway_base::clock;
    use clearway_base::intern::Name;
    use clearway_outcome::{Evidence, Phase, Side, TcpFacts};

    use super::*;

    #[test]
    fn only_a_connection_of_its_own_proves_that_a_request_was_not_taken() {
        let fault = |kind| Fault::new(kind, Phase::Wait, Side::Server);
        let mut attempt = Attempt::begin(Name::NONE, Name::NONE, Name::NONE, clock::now());
        let with = |unacked_bytes| TcpFacts {
            unacked_bytes,
            ..TcpFacts::default()
        };
        attempt.bytes_sent = 100;
        attempt.evidence = Some(Box::new(Evidence {
            tcp: Some(with(100)),
            ..Evidence::default()
        }));
        let closed = fault(FaultKind::ReusedClosed);
        assert!(never_taken(&closed, &attempt, true));
        assert!(!never_taken(&closed, &attempt, false));
        assert!(!never_taken(&fault(FaultKind::ReusedReset), &attempt, true));
        attempt.bytes_sent = 101;
        assert!(!never_taken(&closed, &attempt, true));
    }
}
