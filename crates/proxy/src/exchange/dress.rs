//! Rules over replies of our own.

use std::rc::Rc;

use clearway_base::intern::Name;
use clearway_http::{
    Edits, Framing, HeadLimits, Progress, ResponseHead, ResponseOptions, encode_response,
};
use clearway_rules::View;

use super::Exchange;
use super::around::Surroundings;

impl Exchange<'_> {
    /// A reply as rules that are for it leave it; none when they leave it as it is.
    pub(super) fn dressed(&mut self, reply: &[u8], keep_alive: bool) -> Option<Vec<u8>> {
        let plan = Rc::clone(&self.plan);
        let listener = plan.listener(self.conn.listener_at);
        let backend = self.backend.clone();
        let route = self.route.map(|at| plan.route(at.listener, at.route));
        let programs = [
            backend.as_ref().and_then(|b| b.plan.program.as_deref()),
            listener.program.as_ref(),
            route.and_then(|route| route.program.as_ref()),
        ];
        let mut programs = programs
            .into_iter()
            .flatten()
            .filter(|program| program.has_reply_rules())
            .peekable();
        programs.peek()?;
        let mut head = ResponseHead::default();
        let parsed = head.parse(reply, &HeadLimits::default(), self.request.head.method);
        if parsed != Ok(Progress::Complete) {
            return None;
        }
        let mut edits = Edits::default();
        for program in programs {
            let around = Surroundings {
                conn: self.conn,
                plan: &plan,
            };
            let view = View {
                response: Some((&head, reply)),
                attempts: &self.request.attempts,
                backend: backend.as_ref().map_or(Name::NONE, |b| b.plan.name),
                ..around.view(&self.request.head, self.lease.filled(), self.id)
            };
            program.run_reply(&view, &mut self.request.scratch, &mut edits);
        }
        if edits.is_empty() && edits.status().is_none() {
            return None;
        }
        if let Some(status) = edits.status() {
            self.status = status;
        }
        let options = ResponseOptions {
            client_version: self.request.head.version,
            keep_alive,
            framing: head.framing,
            via: None,
            upgrade: false,
        };
        let mut out = Vec::with_capacity(reply.len() + 256);
        encode_response(&head, reply, &edits, &options, &mut out);
        out.extend_from_slice(reply.get(head.len..).unwrap_or_default());
        Some(out)
    }

    /// A reply whose body went through the filters of its route; none when it stays as it is.
    pub(super) fn coded(&mut self, reply: &[u8], keep_alive: bool) -> Option<Vec<u8>> {
        let mut head = ResponseHead::default();
        let parsed = head.parse(reply, &HeadLimits::default(), self.request.head.method);
        if parsed != Ok(Progress::Complete) {
            return None;
        }
        let body = reply.get(head.len..).unwrap_or_default();
        let framing = head.framing;
        let response = std::mem::replace(&mut self.request.response, head);
        let edits = std::mem::take(&mut self.request.response_edits);
        let filters = self.filters(reply, framing);
        let whole = filters.and_then(|mut filters| filters.whole(body).ok());
        let out = match &whole {
            None if self.request.response_edits.is_empty() => None,
            _ => {
                let body = whole.as_deref().unwrap_or(body);
                let options = ResponseOptions {
                    client_version: self.request.head.version,
                    keep_alive,
                    framing: match framing {
                        Framing::Length(_) => Framing::Length(body.len() as u64),
                        Framing::None | Framing::Chunked | Framing::UntilClose => framing,
                    },
                    via: None,
                    upgrade: false,
                };
                let mut out = Vec::with_capacity(body.len() + 512);
                let (head, edits) = (&self.request.response, &self.request.response_edits);
                encode_response(head, reply, edits, &options, &mut out);
                out.extend_from_slice(body);
                Some(out)
            }
        };
        self.request.response = response;
        self.request.response_edits = edits;
        out
    }
}
