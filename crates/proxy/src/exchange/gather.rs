//! Bodies that are read to their ends before a server is asked, because it is to know their length: it has to
//! with FastCGI and the like, where nobody says either that the body may come.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Pool;
use clearway_http::{ChunkedDecoder, Framing};
use clearway_outcome::{Fault, FaultKind, Phase};

use super::pump::Cut;
use super::{Exchange, Stop};

/// What framing may take besides, in bytes: short bodies come in short chunks.
const FRAMING: u64 = 64 << 10;

impl Exchange<'_> {
    /// Whether a body is to be asked for or read before a server is chosen.
    pub(super) fn waits_for_body(&self) -> bool {
        let head = &self.request.head;
        let is_open = matches!(head.framing, Framing::Chunked | Framing::UntilClose);
        (is_open || head.expect_continue)
            && self
                .backend
                .as_ref()
                .is_some_and(|b| b.plan.body_buffer > 0)
    }

    /// Has a body come that waits to be asked for, and reads one whose length is not told.
    pub(super) async fn gather(&mut self) -> Result<(), Stop> {
        let is_open = match self.request.head.framing {
            Framing::Chunked | Framing::UntilClose => true,
            Framing::None | Framing::Length(_) => false,
        };
        if self.request.head.expect_continue {
            self.invite().await?;
        }
        if is_open {
            self.gather_body().await?;
        }
        Ok(())
    }

    /// Reads a body to its end, and puts it behind the head as one of known length.
    async fn gather_body(&mut self) -> Result<(), Stop> {
        let most = self.backend.as_ref().map_or(0, |b| b.plan.body_buffer) as u64;
        let most = self.body_limit().min(most);
        let mut reading = Reading {
            decoder: match self.request.head.framing {
                Framing::Chunked => Some(ChunkedDecoder::default()),
                Framing::None | Framing::Length(_) | Framing::UntilClose => None,
            },
            most,
            raw: (!self.needs_length()).then(Vec::new),
            body: Vec::new(),
            rest: Vec::new(),
            taken: 0,
            is_done: false,
        };
        let head_len = self.request.head.len;
        let at_hand = self
            .lease
            .filled()
            .get(head_len..)
            .unwrap_or_default()
            .to_vec();
        let taken = reading.take(&at_hand);
        taken.map_err(|kind| Stop::Fault(self.client_fault(kind, Phase::RequestBody)))?;
        let worker = Rc::clone(&self.conn.worker);
        while !reading.is_done {
            if reading.is_too_long() {
                break;
            }
            let limit = self.route_plan().timeouts.request_body;
            self.conn.timer.set_after(worker.now(), limit);
            let mut incoming = worker.large.lease();
            let read = poll_fn(
                |cx| match self.conn.stream.poll_read_into(cx, &mut incoming) {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending if self.conn.timer.poll_expired(cx) => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                },
            )
            .await;
            worker.tick();
            match read {
                Some(Ok(0)) if reading.decoder.is_none() => reading.is_done = true,
                Some(Ok(0)) => return Err(self.body_ended(&Cut::SourceClosed)),
                Some(Err(error)) => return Err(self.body_ended(&Cut::SourceError(error))),
                Some(Ok(count)) => {
                    self.upload_read += count as u64;
                    let taken = reading.take(incoming.filled());
                    taken
                        .map_err(|kind| Stop::Fault(self.client_fault(kind, Phase::RequestBody)))?;
                }
                None => {
                    let kind = FaultKind::RequestBodyTimeout;
                    return Err(Stop::Fault(self.client_fault(kind, Phase::RequestBody)));
                }
            }
        }
        if reading.is_too_long() {
            return self.go_on_as_it_comes(reading);
        }
        self.body_in = self.body_in.max(reading.taken);
        let size = head_len + reading.body.len() + reading.rest.len();
        // Rare enough to be given back to the system afterwards.
        let mut whole = Pool::new(size, 0).lease();
        whole.append(self.lease.filled().get(..head_len).unwrap_or_default());
        whole.append(&reading.body);
        whole.append(&reading.rest);
        self.lease = whole;
        self.request.head.framing = Framing::Length(reading.body.len() as u64);
        Ok(())
    }

    /// The body is too long to be kept: it goes on as it came, unless the server has to know its length.
    fn go_on_as_it_comes(&mut self, reading: Reading) -> Result<(), Stop> {
        let raw = reading.raw.unwrap_or_default();
        if self.needs_length() || reading.body.len() as u64 > self.body_limit() {
            let fault = self.client_fault(FaultKind::BodyTooLarge, Phase::RequestBody);
            return Err(Stop::Fault(fault));
        }
        if reading.decoder.is_none() {
            self.kept = reading.body;
            return Ok(());
        }
        let head_len = self.request.head.len;
        let mut whole = Pool::new(head_len + raw.len(), 0).lease();
        whole.append(self.lease.filled().get(..head_len).unwrap_or_default());
        whole.append(&raw);
        self.lease = whole;
        Ok(())
    }

    /// Whether the server has to know how long a body is.
    pub(super) fn needs_length(&self) -> bool {
        self.backend.as_ref().is_some_and(|b| b.plan.cgi.is_some())
    }

    fn body_ended(&self, cut: &Cut) -> Stop {
        let fault: Fault = self.upload_cut(cut);
        match fault.kind.is_client_abort() {
            true => Stop::Cut(fault),
            false => Stop::Fault(fault),
        }
    }
}

/// A body on its way.
struct Reading {
    /// Where it comes in chunks.
    decoder: Option<ChunkedDecoder>,
    /// Most bytes of it that are kept.
    most: u64,
    /// As it came, in case it becomes too long; none where it could not go on so.
    raw: Option<Vec<u8>>,
    body: Vec<u8>,
    /// What follows the body: the next request.
    rest: Vec<u8>,
    /// Bytes of the body that came, framing included.
    taken: u64,
    is_done: bool,
}

impl Reading {
    /// Whether it is more than is kept: the body itself, or with what frames it.
    fn is_too_long(&self) -> bool {
        let raw = self.raw.as_ref().map_or(0, Vec::len) as u64;
        // Whole bodies stay, however they are framed, where the framing is about as long as they are.
        self.body.len() as u64 > self.most
            || (!self.is_done && raw > self.most.saturating_mul(2).saturating_add(FRAMING))
    }

    fn take(&mut self, input: &[u8]) -> Result<(), FaultKind> {
        let Some(decoder) = &mut self.decoder else {
            self.taken += input.len() as u64;
            self.body.extend_from_slice(input);
            return Ok(());
        };
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(input);
        }
        let (mut at, mut trailers) = (0, Vec::new());
        while at < input.len() && !self.is_done {
            let found = decoder.extract(input.get(at..).unwrap_or_default(), &mut trailers)?;
            let data = input.get(at + found.skip..at + found.skip + found.pass);
            self.body.extend_from_slice(data.unwrap_or_default());
            at += found.used;
            self.is_done = found.done;
            if found.used == 0 {
                break;
            }
        }
        self.taken += at as u64;
        if self.is_done {
            self.rest
                .extend_from_slice(input.get(at..).unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(most: u64, raw: Option<Vec<u8>>) -> Reading {
        Reading {
            decoder: Some(ChunkedDecoder::default()),
            most,
            raw,
            body: Vec::new(),
            rest: Vec::new(),
            taken: 0,
            is_done: false,
        }
    }

    #[test]
    fn framing_takes_no_more_memory_than_a_few_bodies() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(250));
        let mut kept = reading(100_000, Some(Vec::new()));
        let mut bare = reading(100_000, None);
        let mut sent = 0;
        while !kept.is_too_long() {
            kept.take(chunk.as_bytes()).unwrap();
            sent += chunk.len();
            assert!(sent < 300_000);
        }
        for _ in 0..10_000 {
            bare.take(chunk.as_bytes()).unwrap();
        }
        assert_eq!((bare.body.len(), bare.is_too_long()), (10_000, false));
        assert!(bare.raw.is_none());
    }

    #[test]
    fn a_whole_body_is_not_too_long_for_its_framing() {
        let mut whole = reading(10, Some(Vec::new()));
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(250));
        let text = format!("{}0\r\n\r\nGET", chunk.repeat(10));
        whole.take(text.as_bytes()).unwrap();
        assert!(whole.is_done && !whole.is_too_long());
        assert_eq!((whole.body.len(), whole.rest.as_slice()), (10, &b"GET"[..]));
    }
}
