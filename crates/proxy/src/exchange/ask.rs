//! Asking another route whether a request may go on, before it goes to its server.

use std::rc::Rc;
use std::sync::Arc;

use clearway_base::buffer::Lease;
use clearway_http::{Framing, HeadLimits, Method, Progress};
use clearway_outcome::{FaultKind, Phase, RequestId};
use clearway_rules::{AskPlan, Elsewhere, LocalReply, View};

use super::around::Surroundings;
use super::talk::Answer;
use super::{Arrival, Exchange, Request, Stop};
use crate::client::Conn;
use crate::local::LocalPlan;

/// What the other route said.
struct Said {
    status: u16,
    /// What clients are asked for a password with.
    challenges: Vec<(String, Vec<u8>)>,
    /// Why nobody said anything.
    fault: Option<FaultKind>,
}

impl Exchange<'_> {
    /// Asks; `Ok` when the request may go on.
    pub(super) async fn ask(&mut self, plan: &Arc<AskPlan>) -> Result<(), Stop> {
        // What is asked for another question does not ask itself.
        if self.is_question {
            return Ok(());
        }
        let said = self.question(plan).await?;
        let fault = said.fault.unwrap_or(FaultKind::Denied);
        let (status, headers) = match said.status {
            200..=299 => return Ok(()),
            401 => (401, said.challenges),
            403 => (403, Vec::new()),
            _ => (500, Vec::new()),
        };
        Err(Stop::Reply(LocalReply {
            status,
            headers,
            fault: Some(fault),
            ..LocalReply::default()
        }))
    }

    /// Puts the question: the same head with GET and without a body, by the route of another path.
    async fn question(&mut self, plan: &Arc<AskPlan>) -> Result<Said, Stop> {
        let mut request = Box::<Request>::default();
        let lease = self.head_of_question(&mut request)?;
        let came = self.request.head.method_text.of(self.lease.filled());
        let method = self.request.edits.method().unwrap_or(came);
        request.scratch = self.request.scratch.child(method);
        request.edits.set_method(b"GET");
        let Request { scratch, edits, .. } = &mut *request;
        if !scratch.send_elsewhere(&Elsewhere::Path(plan.path.clone()), edits) {
            let fault = self.local_fault(FaultKind::RewriteInvalid, Phase::Admit);
            return Err(Stop::Fault(fault));
        }
        let mut inner = Exchange::inner(
            &mut *self.conn,
            &mut request,
            lease,
            (Rc::clone(&self.plan), self.arrival, self.id),
        );
        let done = inner.put().await;
        let said = match done {
            Ok(answer) => Said {
                status: inner.request.response.status,
                challenges: inner.challenges(&answer),
                fault: None,
            }
            .after(&mut inner, plan, answer),
            Err(Stop::Reply(reply)) => Said {
                status: reply.status,
                challenges: reply.headers,
                fault: reply.fault,
            },
            Err(Stop::Page(_) | Stop::File(_)) => Said {
                status: 200,
                challenges: Vec::new(),
                fault: None,
            },
            Err(Stop::Fault(fault)) => Said {
                status: fault.kind.status(),
                challenges: Vec::new(),
                fault: Some(fault.kind),
            },
            Err(Stop::Cut(fault)) => return Err(Stop::Cut(fault)),
            Err(Stop::Ask(_) | Stop::Body(_)) => Said {
                status: 500,
                challenges: Vec::new(),
                fault: None,
            },
        };
        let set = std::mem::take(&mut inner.request.scratch);
        drop(inner);
        self.request.scratch.take_variables(&set, plan);
        Ok(said)
    }

    /// The way of a question to its answer.
    pub(super) async fn put(&mut self) -> Result<Answer, Stop> {
        self.find_route()?;
        self.passed().await?;
        self.obtain().await
    }

    /// The head of the question, parsed: as the listener's rules have left that of the request, without what
    /// is about the connection.
    fn head_of_question(&self, request: &mut Request) -> Result<Lease, Stop> {
        let lease = self.head_of_copy(request, None)?;
        request.head.method = Method::Get;
        Ok(lease)
    }

    /// The head of the request as it came, parsed anew, with another body behind it or none.
    pub(super) fn head_of_copy(
        &self,
        request: &mut Request,
        body: Option<&[u8]>,
    ) -> Result<Lease, Stop> {
        let (head, buf) = (&self.request.head, self.lease.filled());
        let mut text = Vec::with_capacity(head.len + 16);
        text.extend_from_slice(head.method_text.of(buf));
        text.push(b' ');
        text.extend_from_slice(head.target.of(buf));
        text.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        text.extend_from_slice(head.host.of(buf));
        text.extend_from_slice(b"\r\n");
        let edits = self.request.edits.before(self.by_listener);
        let came = head.fields.iter().filter(|field| !field.hop);
        let came = came.map(|field| (field.name.of(buf), field.value.of(buf)));
        let came = came.filter(|(name, _)| !edits.drops(name));
        let mut count = 1_usize;
        for (name, value) in came.chain(edits.written()) {
            let mut left_out = LEFT_OUT.iter();
            if !left_out.any(|out| name.eq_ignore_ascii_case(out.as_bytes())) {
                count += 1;
                text.extend_from_slice(name);
                text.extend_from_slice(b": ");
                text.extend_from_slice(value);
                text.extend_from_slice(b"\r\n");
            }
        }
        if let Some(body) = body {
            count += 1;
            text.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        let mut lease = self.conn.worker.large.lease();
        let limits = HeadLimits {
            line: text.len(),
            bytes: text.len(),
            count,
            // It was read once already.
            tolerates: self.plan.listener(self.conn.listener_at).tolerates,
        };
        let body = body.unwrap_or_default();
        let fits = lease.append(&text) == text.len() && lease.append(body) == body.len();
        let parsed = request.head.parse(lease.filled(), &limits);
        if !fits || parsed != Ok(Progress::Complete) {
            let fault = self.local_fault(FaultKind::RewriteInvalid, Phase::Admit);
            return Err(Stop::Fault(fault));
        }
        Ok(lease)
    }

    fn challenges(&self, answer: &Answer) -> Vec<(String, Vec<u8>)> {
        let buf = answer.buffer.filled();
        let fields = self.request.response.fields.iter();
        fields
            .filter(|field| field.name.of(buf).eq_ignore_ascii_case(b"www-authenticate"))
            .map(|field| ("WWW-Authenticate".to_owned(), field.value.of(buf).to_vec()))
            .collect()
    }

    /// Gives the connection of an answer back where nothing of it is left to be read.
    fn leave(&mut self, answer: Answer) {
        let head = self.request.response.len;
        let body = match self.request.response.framing {
            Framing::None => Some(0),
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::Chunked | Framing::UntilClose => None,
        };
        let is_whole = body.is_some_and(|body| answer.buffer.len() == head.saturating_add(body));
        self.finish_attempt(&answer, answer.buffer.len() as u64);
        let Answer {
            mut server,
            member,
            upload,
            upload_failed,
            ..
        } = answer;
        let is_shared = server.stream.h2().is_some();
        let sent_all = upload.is_done() && !upload_failed;
        if is_shared || !is_whole || !sent_all || !self.request.response.keep_alive {
            return;
        }
        let now = self.conn.worker.now();
        server.uses += 1;
        if let Some(home) = self.backend.as_ref().and_then(|b| b.servers.get(member)) {
            home.give_back(server, now);
        }
    }
}

impl<'a> Exchange<'a> {
    /// An exchange for another one, which is what is reported.
    pub(super) fn inner(
        conn: &'a mut Conn,
        request: &'a mut Request,
        lease: Lease,
        (plan, arrival, id): (Rc<LocalPlan>, Arrival, RequestId),
    ) -> Self {
        Exchange {
            conn,
            request,
            plan,
            lease,
            arrival,
            id,
            route: None,
            backend: None,
            stick_to: None,
            status: 0,
            bytes_in: 0,
            body_in: 0,
            bytes_out: 0,
            body_out: 0,
            fault: None,
            grpc_status: None,
            flight: None,
            slot: None,
            replayable: true,
            was_alone: false,
            kept: Vec::new(),
            upload_read: 0,
            used: None,
            settled: true,
            fresh_only: false,
            route_passed: false,
            limits: [None; 2],
            cached: None,
            instead: None,
            pace: None,
            by_listener: 0,
            is_question: true,
        }
    }
}

impl Said {
    /// Keeps what the plan wants of an answer, and ends it.
    fn after(self, inner: &mut Exchange<'_>, plan: &AskPlan, answer: Answer) -> Self {
        let local = Rc::clone(&inner.plan);
        let around = Surroundings {
            conn: inner.conn,
            plan: &local,
        };
        let Request {
            head,
            response,
            scratch,
            ..
        } = &mut *inner.request;
        let view = View {
            response: Some((response, answer.buffer.filled())),
            ..around.view(head, inner.lease.filled(), inner.id)
        };
        plan.note(&view, scratch);
        inner.leave(answer);
        self
    }
}

/// Fields that are about the body, which is not sent, or about the connection.
const LEFT_OUT: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "expect",
    "trailer",
    "te",
    "upgrade",
    "connection",
    "http2-settings",
];
