//! Copies of requests that go to other routes as well, whose answers nobody gets.
//!
//! A copy is an exchange of its own in a task of its own: the request that it is made of does not wait for
//! it. Its body goes along where it fits into the request's buffer; a longer one would have to be kept
//! somewhere, and is not copied. What becomes of copies shows in the counters of their servers alone.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_base::clock::Stamp;
use clearway_http::{ChunkedDecoder, Framing};
use clearway_net::stream::Stream;
use clearway_outcome::RequestId;
use clearway_rules::{BodyWait, Elsewhere, Mirror};

use super::talk::Answer;
use super::{Arrival, Exchange, Request, Stop};
use crate::client::Conn;

/// Copies that a worker has under way at the same time; what is more is not copied.
const COPIES_MAX: usize = 1_000;
/// Bytes of an answer that are read, so that the connection can be used again.
const ANSWER_MAX: u64 = 1 << 20;

/// A copy on its way: the request with the buffer that it points into.
struct Copy {
    conn: Conn,
    request: Box<Request>,
    lease: Lease,
    arrival: Arrival,
    id: RequestId,
}

impl Exchange<'_> {
    /// Sends the copies that rules want, and goes on.
    pub(super) async fn mirror(&mut self) -> Result<(), Stop> {
        let wanted = self.request.scratch.take_mirrors();
        if self.is_question {
            return Ok(());
        }
        let has_body = !matches!(
            self.request.head.framing,
            Framing::None | Framing::Length(0)
        );
        let wants_body = wanted.iter().any(|mirror| mirror.body);
        if has_body && wants_body {
            let wait = BodyWait {
                time: self.route_plan().timeouts.request_body,
                from_start: false,
                at_least: 0,
            };
            self.read_body(wait).await?;
        }
        let body = has_body.then(|| self.whole_body()).flatten();
        for mirror in &wanted {
            let with = body.as_deref().filter(|_| mirror.body);
            if has_body && mirror.body && with.is_none() {
                continue;
            }
            let worker = Rc::clone(&self.conn.worker);
            if worker.copies.get() >= COPIES_MAX {
                continue;
            }
            if let Some(copy) = self.copy(mirror, with) {
                worker.copies.set(worker.copies.get() + 1);
                worker.spawn(run(copy));
            }
        }
        Ok(())
    }

    /// The bytes of a body that is here as a whole, without the coding of chunks.
    fn whole_body(&self) -> Option<Vec<u8>> {
        let came = self.lease.filled().get(self.request.head.len..)?;
        match self.request.head.framing {
            Framing::Length(length) => {
                let length = usize::try_from(length).ok()?;
                came.get(..length).map(<[u8]>::to_vec)
            }
            Framing::Chunked => {
                let (mut decoder, mut trailers) = (ChunkedDecoder::default(), Vec::new());
                let (mut body, mut rest) = (Vec::new(), came);
                loop {
                    let step = decoder.extract(rest, &mut trailers).ok()?;
                    body.extend_from_slice(rest.get(step.skip..step.skip + step.pass)?);
                    if step.done {
                        return Some(body);
                    }
                    rest = rest.get(step.used..).filter(|_| step.used > 0)?;
                }
            }
            Framing::None | Framing::UntilClose => None,
        }
    }

    fn copy(&mut self, mirror: &Mirror, body: Option<&[u8]>) -> Option<Copy> {
        let mut request = Box::<Request>::default();
        let lease = self.head_of_copy(&mut request, body).ok()?;
        let came = self.request.head.method_text.of(self.lease.filled());
        let method = self.request.edits.method().unwrap_or(came);
        request.scratch = self.request.scratch.child(method);
        let mut target = mirror.path.clone();
        let head = &self.request.head;
        let own = head.query.of(self.lease.filled());
        let query = self.request.scratch.changed_query().unwrap_or(own);
        if !query.is_empty() && !target.contains(&b'?') {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        let Request { scratch, edits, .. } = &mut *request;
        if !scratch.send_elsewhere(&Elsewhere::Path(target), edits) {
            return None;
        }
        let mut conn = self.conn.child(Stream::Gone);
        // There is nobody who could leave.
        conn.half_closed = true;
        let now = self.conn.worker.now();
        Some(Copy {
            conn,
            request,
            lease,
            arrival: Arrival {
                started: now,
                complete: now,
            },
            // What rules know of the request belongs to its id.
            id: self.id,
        })
    }

    /// Reads the rest of an answer that nobody gets, and gives the connection back where that worked.
    async fn drink(&mut self, mut answer: Answer) {
        let limit = self.route_plan().timeouts.server_idle;
        let mut rest = match self.request.response.framing {
            Framing::None => Rest::Bytes(0),
            Framing::Length(length) => Rest::Bytes(length),
            Framing::Chunked => Rest::Chunks(ChunkedDecoder::default()),
            Framing::UntilClose => Rest::Unknown,
        };
        answer.buffer.consume(self.request.response.len);
        let mut received = self.request.response.len as u64;
        let mut whole = false;
        loop {
            received += answer.buffer.len() as u64;
            let Some(done) = rest.take(&mut answer.buffer) else {
                break;
            };
            whole = done;
            if whole || received > ANSWER_MAX {
                break;
            }
            let now: Stamp = self.conn.worker.tick();
            self.conn.timer.set_after(now, limit);
            let (timer, buffer) = (&self.conn.timer, &mut answer.buffer);
            let stream = &mut answer.server.stream;
            let read = poll_fn(|cx| match stream.poll_read_into(cx, buffer) {
                Poll::Ready(Ok(count)) => Poll::Ready(count),
                Poll::Ready(Err(_)) => Poll::Ready(0),
                Poll::Pending if timer.poll_expired(cx) => Poll::Ready(0),
                Poll::Pending => Poll::Pending,
            })
            .await;
            if read == 0 {
                break;
            }
        }
        let is_clean = whole && answer.buffer.is_empty();
        self.finish_attempt(&answer, received);
        let Answer {
            mut server,
            member,
            upload,
            upload_failed,
            ..
        } = answer;
        let is_shared = server.stream.h2().is_some();
        let sent_all = upload.is_done() && !upload_failed;
        if is_shared || !is_clean || !sent_all || !self.request.response.keep_alive {
            return;
        }
        let now = self.conn.worker.now();
        server.uses += 1;
        if let Some(home) = self.backend.as_ref().and_then(|b| b.servers.get(member)) {
            home.give_back(server, now);
        }
    }
}

/// What is still to come of an answer.
enum Rest {
    Bytes(u64),
    Chunks(ChunkedDecoder),
    Unknown,
}

impl Rest {
    /// Takes what came; whether that was all, `None` when it is malformed or nobody can tell.
    fn take(&mut self, buffer: &mut Lease) -> Option<bool> {
        match self {
            Self::Bytes(left) => {
                let count = buffer
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                buffer.consume(count);
                Some(*left == 0)
            }
            Self::Chunks(decoder) => {
                let mut trailers = Vec::new();
                while !buffer.is_empty() {
                    let step = decoder.extract(buffer.filled(), &mut trailers).ok()?;
                    buffer.consume(step.used);
                    if step.done {
                        return Some(true);
                    }
                    if step.used == 0 {
                        break;
                    }
                }
                Some(false)
            }
            Self::Unknown => None,
        }
    }
}

/// Counts a copy out, however it ends.
struct Under(Rc<crate::worker::Worker>);

impl Drop for Under {
    fn drop(&mut self) {
        self.0.copies.set(self.0.copies.get().saturating_sub(1));
    }
}

/// The way of a copy to its answer.
async fn run(copy: Copy) {
    let Copy {
        mut conn,
        mut request,
        lease,
        arrival,
        id,
    } = copy;
    let _under = Under(Rc::clone(&conn.worker));
    let plan = conn.plan();
    let mut exchange = Exchange::inner(&mut conn, &mut request, lease, (plan, arrival, id));
    if let Ok(answer) = exchange.put().await {
        exchange.drink(answer).await;
    }
}
