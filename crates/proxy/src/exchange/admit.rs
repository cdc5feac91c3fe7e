//! Rules and limits that a request must pass before a server is chosen.

use std::future::poll_fn;
use std::task::Poll;

use clearway_base::intern::Name;
use clearway_http::{ForwardPolicy, Framing, encode_request};
use clearway_net::stream::fault_of;
use clearway_outcome::{Fault, FaultKind, Phase};
use clearway_rules::table::Event;
use clearway_rules::{Flow, LocalReply, Program, View};

use super::around::Surroundings;
use super::talk::Answer;
use super::{Admission, Exchange, Stop};

impl Exchange<'_> {
    /// Lets a request that may have been played back by somebody else wait for the end of the TLS
    /// handshake, unless it may come twice (RFC 8470 section 3).
    pub(super) async fn confirm(&mut self) -> Result<(), Stop> {
        if !self.conn.stream.is_early() {
            return Ok(());
        }
        let head = &self.request.head;
        if head.method.is_safe() && head.framing == Framing::None && !head.upgrade {
            self.request.edits.set("Early-Data", b"1");
            return Ok(());
        }
        let limit = self.conn.listener().map(|l| l.timeouts.tls_handshake);
        let accepted = self.conn.accepted;
        self.conn
            .timer
            .set_after(accepted, limit.unwrap_or_default());
        let conn = &mut *self.conn;
        let done = poll_fn(|cx| match conn.stream.poll_confirmed(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.conn.worker.tick();
        let (kind, signal) = match done {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => {
                fault_of(&error, false).unwrap_or((FaultKind::TlsHandshakeClosed, None))
            }
            None => (FaultKind::TlsHandshakeTimeout, None),
        };
        let fault = self
            .client_fault(kind, Phase::Handshake)
            .with_signal(signal);
        Err(Stop::Cut(fault))
    }

    /// Answers an authority that validates a name by HTTP (RFC 8555 section 8.3), before any rule could
    /// refuse it or send it elsewhere.
    pub(super) fn challenge(&self) -> Result<(), Stop> {
        let Some(issuance) = &self.plan.plan.issuance else {
            return Ok(());
        };
        let head = &self.request.head;
        let path = std::str::from_utf8(head.path.of(self.lease.filled())).unwrap_or_default();
        let Some(answer) = issuance.http_answer(path) else {
            return Ok(());
        };
        Err(Stop::Reply(LocalReply {
            status: 200,
            headers: vec![(
                "Content-Type".to_owned(),
                b"application/octet-stream".to_vec(),
            )],
            body: answer.as_bytes().to_vec(),
            page: false,
            fault: None,
        }))
    }

    /// Applies the listener's rules, before a route is looked for.
    pub(super) fn listener_rules(&mut self) -> Result<(), Stop> {
        let plan = std::rc::Rc::clone(&self.plan);
        if let Some(program) = &plan.listener(self.conn.listener_at).program {
            // A route is looked for anyway.
            self.request_rules(program)?;
        }
        Ok(())
    }

    /// Applies limits and the rules of the route.
    pub(super) fn admit(&mut self) -> Result<Admission, Stop> {
        let limit = self.body_limit();
        if let Framing::Length(length) = self.request.head.framing
            && length > limit
            // What answers for this very error takes nothing of it.
            && self.instead.is_none()
        {
            let fault = self.client_fault(FaultKind::BodyTooLarge, Phase::Admit);
            return Err(Stop::Fault(fault));
        }
        let plan = std::rc::Rc::clone(&self.plan);
        let listener = plan.listener(self.conn.listener_at);
        if let Some(via) = &listener.via {
            let hops = clearway_http::via_count(&self.request.head, self.lease.filled(), via);
            if hops >= self.route_plan().limits.hops as usize {
                let fault = self.local_fault(FaultKind::ProxyLoop, Phase::Admit);
                return Err(Stop::Fault(fault));
            }
        }
        if !self.route_passed
            && let Some(at) = self.route
            && let Some(program) = &plan.route(at.listener, at.route).program
            && self.request_rules(program)? == Admission::Elsewhere
        {
            return Ok(Admission::Elsewhere);
        }
        // A program of the backend that has waited goes on: it was entered before.
        let is_entered = std::mem::replace(&mut self.route_passed, true);
        let Some(backend) = self.backend.clone() else {
            return Err(Stop::Fault(
                self.local_fault(FaultKind::NoRoute, Phase::Route),
            ));
        };
        if !is_entered {
            self.cookie_for_server(&backend);
        }
        if !self.route_plan().upgrades || backend.plan.cgi.is_some() {
            self.request.head.upgrade = false;
        }
        match &backend.plan.program {
            Some(program) => self.request_rules(program),
            None => Ok(Admission::Here),
        }
    }

    pub(super) fn request_rules(&mut self, program: &Program) -> Result<Admission, Stop> {
        let around = Surroundings {
            conn: self.conn,
            plan: &self.plan,
        };
        let backend = self.backend.as_ref();
        let view = View {
            backend: backend.map_or(Name::NONE, |backend| backend.plan.name),
            ..around.view(&self.request.head, self.lease.filled(), self.id)
        };
        let (scratch, edits) = (&mut self.request.scratch, &mut self.request.edits);
        let flow = program.run_request(&view, scratch, edits);
        self.check_patterns(Phase::Admit)?;
        let scratch = &mut self.request.scratch;
        match flow {
            Flow::Continue | Flow::Finish => Ok(Admission::Here),
            Flow::Reroute => {
                scratch.set_rerouted();
                Ok(Admission::Elsewhere)
            }
            Flow::Reply(reply) => Err(Stop::Reply(reply)),
            Flow::Page(page) => Err(Stop::Page(page)),
            Flow::Ask(plan) => Err(Stop::Ask(plan)),
            Flow::Files(wanted) => self.look_for(&wanted),
            Flow::ReadBody(wait) => Err(Stop::Body(wait)),
            Flow::Drop => Err(Stop::Cut(self.dropped())),
        }
    }

    /// Nobody knows what rules say that had to give up.
    pub(super) fn check_patterns(&self, phase: Phase) -> Result<(), Stop> {
        match self.request.scratch.gave_up() {
            false => Ok(()),
            true => Err(Stop::Fault(
                self.local_fault(FaultKind::PatternSteps, phase),
            )),
        }
    }

    /// Has the request wait as long as limits of rate want it to; a client that leaves meanwhile is noticed
    /// afterwards.
    pub(super) async fn wait_for_limits(&mut self) -> Result<(), Stop> {
        let ms = self.request.scratch.take_delay();
        if ms == 0 {
            return Ok(());
        }
        let now = self.conn.worker.now();
        self.conn
            .timer
            .set_after(now, std::time::Duration::from_millis(ms));
        let conn = &mut *self.conn;
        poll_fn(|cx| match conn.timer.poll_expired(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        self.conn.worker.tick();
        let latest = self.conn.timer.latest();
        if latest.is_some_and(|latest| self.conn.worker.now() >= latest) {
            let fault = self.local_fault(FaultKind::TotalTimeout, Phase::Admit);
            return Err(Stop::Fault(fault));
        }
        Ok(())
    }

    /// A rule wants the client to hear nothing.
    fn dropped(&self) -> Fault {
        self.local_fault(FaultKind::Denied, Phase::Admit)
    }

    /// Largest request body allowed here, in bytes.
    pub(super) fn body_limit(&self) -> u64 {
        match self.route_plan().limits.body_bytes {
            0 => u64::MAX,
            limit => limit,
        }
    }

    /// Applies the rules for a response whose head is in `buf`: a server's answer, or what was kept of one.
    pub(super) fn respond_rules(
        &mut self,
        buf: &[u8],
        answer: Option<&Answer>,
    ) -> Result<(), Stop> {
        let plan = std::rc::Rc::clone(&self.plan);
        let Some(at) = self.route else { return Ok(()) };
        let (listener, route) = (
            plan.listener(at.listener),
            plan.route(at.listener, at.route),
        );
        let Some(backend) = &self.backend else {
            return Ok(());
        };
        if let Some(event) = Event::of_status(self.request.response.status) {
            self.count_event(event);
        }
        let programs = [
            backend.plan.program.as_deref(),
            listener.program.as_ref(),
            route.program.as_ref(),
        ];
        let server = answer.and_then(|answer| backend.servers.get(answer.member));
        let server = server.map_or(Name::NONE, |server| server.plan.name);
        for program in programs.into_iter().flatten() {
            if !program.has_response_rules() {
                continue;
            }
            let around = Surroundings {
                conn: self.conn,
                plan: &self.plan,
            };
            let view = View {
                response: Some((&self.request.response, buf)),
                attempts: &self.request.attempts,
                backend: backend.plan.name,
                server,
                ..around.view(&self.request.head, self.lease.filled(), self.id)
            };
            let flow = program.run_response(
                &view,
                &mut self.request.scratch,
                &mut self.request.response_edits,
            );
            self.check_patterns(Phase::Admit)?;
            match flow {
                Flow::Continue
                | Flow::Finish
                | Flow::Reroute
                | Flow::ReadBody(_)
                | Flow::Ask(_)
                | Flow::Files(_) => {}
                Flow::Reply(reply) => return Err(Stop::Reply(reply)),
                Flow::Page(page) => return Err(Stop::Page(page)),
                Flow::Drop => return Err(Stop::Cut(self.dropped())),
            }
        }
        if let Some(answer) = answer {
            self.request.scratch.store_server(server);
            self.cookie_for_client(answer);
        }
        Ok(())
    }

    /// Encodes the request head for a server into the worker's buffer; with `frames` it speaks
    /// HTTP/2.
    pub(super) fn encode_head(&self, frames: bool) {
        let listener = self.plan.listener(self.conn.listener_at);
        let mut out = self.conn.worker.out.borrow_mut();
        out.clear();
        let policy = ForwardPolicy {
            client: self.client().ip(),
            proto: self.conn.scheme(),
            port: self.conn.port(),
            via: listener.via.as_deref(),
            mode: listener.x_forwarded,
            forwarded: listener.forwarded,
            trusted: self.conn.trusted,
            frames,
        };
        encode_request(
            &self.request.head,
            self.lease.filled(),
            &self.request.edits,
            &policy,
            &mut out,
        );
    }
}
