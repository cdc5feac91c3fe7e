//! Another route's answer in place of an error of our own.

use std::rc::Rc;

use clearway_outcome::Phase;

use super::{Exchange, Next, Stop};

/// That another route answers for an error.
#[derive(Clone, Copy)]
pub(crate) struct Instead {
    /// The status that is sent, whichever it finds; none when that counts.
    pub(crate) send: Option<u16>,
}

impl Exchange<'_> {
    /// Has another route answer where the route says so, once; else the steps ended as they did.
    pub(super) async fn instead_of(&mut self, stop: Stop) -> Result<Next, Stop> {
        let (status, fault) = match &stop {
            Stop::Fault(fault) => (fault.kind.status(), Some(*fault)),
            Stop::Reply(reply) => {
                let fault = |kind| self.local_fault(kind, Phase::Admit);
                (reply.status, reply.fault.map(fault))
            }
            Stop::Page(_) | Stop::File(_) | Stop::Body(_) | Stop::Cut(_) => return Err(stop),
        };
        let plan = Rc::clone(&self.plan);
        let Some(at) = self.route.filter(|_| self.instead.is_none()) else {
            return Err(stop);
        };
        let route = plan.route(at.listener, at.route);
        let turn = route.on_error.iter().find(|turn| turn.is_for(status));
        let is_gone = fault.is_some_and(|fault| fault.kind.is_client_abort());
        let Some(turn) = turn.filter(|_| !is_gone && !self.is_grpc()) else {
            return Err(stop);
        };
        self.conn.timer.set_latest(None);
        let (scratch, edits) = (&mut self.request.scratch, &mut self.request.edits);
        if !scratch.send_elsewhere(&turn.to, edits) {
            return Err(stop);
        }
        self.fault = fault.or(self.fault);
        let send = match turn.send {
            None => Some(status),
            Some(0) => None,
            Some(send) => Some(send),
        };
        self.instead = Some(Instead { send });
        self.answer_instead(stop, send).await
    }

    async fn answer_instead(&mut self, stop: Stop, send: Option<u16>) -> Result<Next, Stop> {
        let admitted = self.find_route().and_then(|()| self.pass());
        match admitted {
            Err(Stop::Reply(mut reply)) => {
                if let Some(send) = send.filter(|_| reply.fault.is_none()) {
                    reply.status = send;
                }
                return Err(Stop::Reply(reply));
            }
            Err(other) => return Err(other),
            Ok(()) => {}
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
        if let Some(send) = send {
            self.request.response_edits.set_status(send);
        }
        self.deliver(answer).await
    }
}
