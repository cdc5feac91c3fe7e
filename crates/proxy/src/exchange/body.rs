//! Waiting for the body of a request, for rules that look at it.
//!
//! What comes stays behind the head in the request's own buffer, from where it is sent like bytes that
//! came with the head. There is room for as much as the largest buffer holds: what is longer is looked at
//! as far as it is there. One without a length that comes over HTTP/2 gets it when all of it is there.

use std::future::poll_fn;
use std::task::Poll;

use clearway_http::{ChunkedDecoder, Framing};
use clearway_outcome::{FaultKind, Phase};
use clearway_rules::BodyWait;

use super::{Exchange, Stop};
use crate::worker::LARGE_BUFFER;

/// How far a body has come.
struct Progress {
    decoder: ChunkedDecoder,
    /// Bytes behind the head that were looked at, where it comes in chunks.
    seen: usize,
    /// Bytes of the body itself.
    bytes: usize,
    done: bool,
}

impl Progress {
    /// Looks at the bytes behind the head; whether no more are wanted.
    fn look(&mut self, framing: Framing, came: &[u8], at_least: usize) -> Result<bool, FaultKind> {
        match framing {
            Framing::None => return Ok(true),
            // Its end is told by the stream.
            Framing::UntilClose => self.bytes = came.len(),
            Framing::Length(length) => {
                self.bytes = came.len();
                self.done = came.len() as u64 >= length;
            }
            Framing::Chunked => {
                let mut trailers = Vec::new();
                while !self.done && self.seen < came.len() {
                    let rest = came.get(self.seen..).unwrap_or_default();
                    let step = self.decoder.extract(rest, &mut trailers)?;
                    self.seen += step.used;
                    self.bytes += step.pass;
                    self.done = step.done;
                    if step.used == 0 {
                        break;
                    }
                }
            }
        }
        Ok(self.done || (at_least > 0 && self.bytes >= at_least))
    }
}

impl Exchange<'_> {
    /// Waits until so much of the body is there.
    pub(super) async fn read_body(&mut self, wait: BodyWait) -> Result<(), Stop> {
        let framing = self.request.head.framing;
        let mut progress = Progress {
            decoder: ChunkedDecoder::default(),
            seen: 0,
            bytes: 0,
            done: false,
        };
        let mut armed = false;
        loop {
            let came = self.lease.filled().get(self.request.head.len..);
            let came = came.unwrap_or_default();
            let looked = progress.look(framing, came, wait.at_least);
            let enough =
                looked.map_err(|kind| Stop::Fault(self.client_fault(kind, Phase::RequestBody)))?;
            if enough || (self.lease.is_full() && self.lease.len() >= LARGE_BUFFER) {
                return Ok(());
            }
            if self.lease.is_full() {
                let mut larger = self.conn.worker.large.lease();
                larger.append(self.lease.filled());
                self.lease = larger;
            }
            if !armed {
                armed = true;
                self.invite().await?;
                let from = match wait.from_start {
                    true => self.arrival.started,
                    false => self.conn.worker.now(),
                };
                self.conn.timer.set_after(from, wait.time);
            }
            if !self.read_more().await? {
                let bytes = self.lease.len().saturating_sub(self.request.head.len);
                self.request.head.framing = Framing::Length(bytes as u64);
                return Ok(());
            }
        }
    }

    /// Tells a client that asks for it to go on, and no server to do so again.
    pub(super) async fn invite(&mut self) -> Result<(), Stop> {
        if !std::mem::take(&mut self.request.head.expect_continue) {
            return Ok(());
        }
        self.request.edits.remove("Expect");
        let limit = self.route_plan().timeouts.client_write;
        let now = self.conn.worker.now();
        self.conn.timer.set_after(now, limit);
        let written = self.conn.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        self.conn.worker.tick();
        written.map_err(|kind| Stop::Cut(self.client_fault(kind, Phase::RequestBody)))
    }

    /// Reads more; whether there was any, which there is before the end of a body that is not told by its
    /// stream.
    async fn read_more(&mut self) -> Result<bool, Stop> {
        let (conn, lease) = (&mut *self.conn, &mut self.lease);
        let read = poll_fn(|cx| match conn.stream.poll_read_into(cx, lease) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.conn.worker.tick();
        let kind = match read {
            Some(Ok(count)) if count > 0 => return Ok(true),
            Some(Ok(_)) if self.request.head.framing == Framing::UntilClose => return Ok(false),
            Some(Ok(_)) => FaultKind::RequestBodyTruncated,
            Some(Err(_)) => FaultKind::ClientReset,
            None => FaultKind::RequestBodyTimeout,
        };
        // Rules have not let it pass yet.
        Err(Stop::Fault(self.client_fault(kind, Phase::Admit)))
    }
}
