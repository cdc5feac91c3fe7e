//! Another route's answer in place of an error.

use std::rc::Rc;

use clearway_http::Method;
use clearway_outcome::Phase;
use clearway_rules::{Elsewhere, LocalReply};

use super::talk::Answer;
use super::{Exchange, Next, Stop};
use crate::plan::ErrorTurn;

/// That another route answers for an error.
#[derive(Clone, Copy)]
pub(crate) struct Instead {
    /// The status that is sent, whichever it finds; none when that counts.
    pub(crate) send: Option<u16>,
    /// Whether errors of the answer may be answered by another one.
    pub(crate) again: bool,
}

/// What became of an error.
pub(super) enum Turned {
    /// Another route answered, or tried to.
    Done(Result<Next, Stop>),
    /// It is answered as it is.
    Unchanged(Stop),
}

impl Exchange<'_> {
    /// Whether errors may still be answered by another route.
    fn may_turn(&self) -> bool {
        self.instead.is_none_or(|instead| instead.again)
    }

    /// Has another route answer where the route says so; else the steps ended as they did.
    pub(super) async fn instead_of(&mut self, stop: Stop) -> Turned {
        let (status, fault) = match &stop {
            Stop::Fault(fault) => (self.status_of(fault), Some(*fault)),
            Stop::Reply(reply) => {
                let fault = |kind| self.local_fault(kind, Phase::Admit);
                (reply.status, reply.fault.map(fault))
            }
            Stop::Page(_) | Stop::File(_) | Stop::Cut(_) | Stop::Ask(_) | Stop::Body(_) => {
                return Turned::Unchanged(stop);
            }
        };
        let plan = Rc::clone(&self.plan);
        let Some(at) = self.route.filter(|_| self.may_turn()) else {
            return Turned::Unchanged(stop);
        };
        let route = plan.route(at.listener, at.route);
        let turn = route.on_error.iter().find(|turn| turn.is_for(status));
        let is_gone = fault.is_some_and(|fault| fault.kind.is_client_abort());
        let Some(turn) = turn.filter(|_| !is_gone && !self.is_grpc()) else {
            return Turned::Unchanged(stop);
        };
        self.conn.timer.set_latest(None);
        self.leave_cache();
        self.see_get(turn);
        let (scratch, edits) = (&mut self.request.scratch, &mut self.request.edits);
        let send = match turn.send {
            None => Some(status),
            Some(0) => None,
            Some(send) => Some(send),
        };
        scratch.set_status(status, send);
        if !scratch.send_elsewhere(&turn.to, edits) {
            return Turned::Unchanged(stop);
        }
        self.fault = fault.or(self.fault);
        self.instead = Some(Instead {
            send,
            again: turn.again,
        });
        Turned::Done(self.answer_instead(stop, send).await)
    }

    /// The other route sees GET where it is to; HEAD stays what it is.
    fn see_get(&mut self, turn: &ErrorTurn) {
        let is_path = matches!(turn.to, Elsewhere::Path(_));
        if turn.as_get && is_path && self.request.head.method != Method::Head {
            self.request.head.method = Method::Get;
            self.request.edits.set_method(b"GET");
        }
    }

    async fn answer_instead(&mut self, stop: Stop, send: Option<u16>) -> Result<Next, Stop> {
        let admitted = match self.find_route() {
            Ok(()) => self.passed().await,
            Err(stop) => Err(stop),
        };
        // Who has to give a password is told so, whatever else is answered.
        let challenges = if let Stop::Reply(reply) = &stop {
            reply.headers.clone()
        } else {
            Vec::new()
        };
        let challenges = challenges
            .into_iter()
            .filter(|(name, _)| is_challenge(name.as_bytes()));
        match admitted {
            Err(Stop::Reply(mut reply)) => {
                reply.headers.extend(challenges);
                if let Some(send) = send.filter(|_| reply.fault.is_none()) {
                    reply.status = send;
                }
                return Err(Stop::Reply(reply));
            }
            other => {
                for (name, value) in challenges {
                    self.request.response_edits.add(&name, &value);
                }
                other?;
            }
        }
        // What was sent of a body to the first server cannot be had again.
        if !self.replayable || self.upload_read > 0 {
            return Err(stop);
        }
        self.request.tried.clear();
        self.stick_to = None;
        (self.fresh_only, self.was_alone) = (false, false);
        self.limit_total();
        let answer = self.obtain().await?;
        self.intercept(&answer)?;
        if let Some(send) = send {
            self.request.response_edits.set_status(send);
        }
        self.deliver(answer).await
    }

    /// Whether a server's answer is taken for an error that another route answers in place of; the
    /// Attempt ends with it, and went well.
    pub(super) fn intercept(&mut self, answer: &Answer) -> Result<(), Stop> {
        let status = self.request.response.status;
        if status < 300 || self.route_plan().on_error.is_empty() || !self.may_turn() {
            return Ok(());
        }
        let mut turns = self.route_plan().on_error.iter();
        if !turns.any(|turn| turn.of_servers && turn.is_for(status)) {
            return Ok(());
        }
        // Who is asked for a password has to be told what for.
        let challenges = self.request.response.fields.iter();
        let buf = answer.buffer.filled();
        let headers = challenges
            .filter(|field| status == 401 && is_challenge(field.name.of(buf)))
            .map(|field| ("WWW-Authenticate".to_owned(), field.value.of(buf).to_vec()))
            .collect();
        self.finish_attempt(answer, answer.buffer.len() as u64);
        Err(Stop::Reply(LocalReply {
            status,
            headers,
            page: true,
            ..LocalReply::default()
        }))
    }
}

fn is_challenge(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"www-authenticate")
}
