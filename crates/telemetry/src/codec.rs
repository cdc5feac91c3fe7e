//! Records as bytes, for the ring between a worker and the threads that read them.
//!
//! Fixed-width little-endian fields in one order; writing a success costs no allocation. The format
//! lives inside one process and has no version.

use std::net::{IpAddr, SocketAddr};

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, Evidence, Fault, FaultKind, GrpcStatus, Phase, Protocol, Record, RequestId,
    RetryRefusal, Reuse, Side, Signal, TcpFacts, Timings, TlsFacts,
};

mod tls;

pub use tls::{FACT_MAX, NAMES_MAX};

/// Longest text kept of one field.
pub const TEXT_MAX: usize = 4_096;

/// Appends `record` to `out`.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    put64(out, record.id.0);
    put64(out, record.started.0);
    put_address(out, &record.client);
    for name in [record.listener, record.route, record.backend] {
        put32(out, name.raw());
    }
    out.push(record.protocol as u8);
    put16(out, record.status);
    put16(out, record.grpc_status.map_or(u16::MAX, |s| u16::from(s.0)));
    for number in [record.bytes_in, record.bytes_out, record.body_out] {
        put64(out, number);
    }
    let timings = record.timings;
    put64(out, timings.head_us);
    put64(out, timings.total_us);
    put32(out, record.connections.0);
    put32(out, record.connections.1);
    put_fault(out, record.fault.as_ref());
    tls::put(out, record.tls);
    for text in [
        record.method,
        record.target,
        record.host,
        record.referer,
        record.user_agent,
    ] {
        put_text(out, text);
    }
    let count = u16::try_from(record.attempts.len()).unwrap_or(u16::MAX);
    put16(out, count);
    for attempt in record.attempts.iter().take(usize::from(count)) {
        put_attempt(out, attempt);
    }
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// `None` is the largest number, which no time reaches.
fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    put64(out, value.unwrap_or(u64::MAX));
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_some(out, text, TEXT_MAX);
}

/// At most so many bytes of a text.
fn put_some(out: &mut Vec<u8>, text: &[u8], max: usize) {
    let text = text.get(..text.len().min(max)).unwrap_or_default();
    put16(out, u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(text);
}

fn put_address(out: &mut Vec<u8>, address: &Address) {
    match address {
        Address::Unix => out.push(0),
        Address::Ip(SocketAddr::V4(v4)) => {
            out.push(4);
            out.extend_from_slice(&v4.ip().octets());
            put16(out, v4.port());
        }
        Address::Ip(SocketAddr::V6(v6)) => {
            out.push(6);
            out.extend_from_slice(&v6.ip().octets());
            put16(out, v6.port());
        }
    }
}

fn put_fault(out: &mut Vec<u8>, fault: Option<&Fault>) {
    let Some(fault) = fault else {
        return out.push(0);
    };
    out.extend_from_slice(&[1, fault.kind as u8, fault.phase as u8, fault.side as u8]);
    out.extend_from_slice(&fault.errno.to_le_bytes());
    match fault.signal {
        None => out.push(0),
        Some(Signal::TlsAlert(number)) => out.extend_from_slice(&[1, number]),
        Some(Signal::H2Reset(code)) => {
            out.push(2);
            put32(out, code);
        }
        Some(Signal::H2Goaway { code, last_stream }) => {
            out.push(3);
            put32(out, code);
            put32(out, last_stream);
        }
    }
    put64(out, fault.elapsed_us);
}

fn put_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    for name in [attempt.backend, attempt.server, attempt.address] {
        put32(out, name.raw());
    }
    put64(out, attempt.started.0);
    for time in [
        attempt.queued_us,
        attempt.connected_us,
        attempt.sent_us,
        attempt.first_byte_us,
    ] {
        put_option(out, time);
    }
    for number in [
        attempt.ended_us,
        attempt.bytes_sent,
        attempt.bytes_received,
        attempt.body_received,
    ] {
        put64(out, number);
    }
    put32(out, attempt.reuse.uses);
    put64(out, attempt.reuse.idle_us);
    put64(out, attempt.reuse.age_us);
    put16(out, attempt.status);
    put_fault(out, attempt.fault.as_ref());
    out.push(attempt.refusal.map_or(0, |refusal| refusal as u8 + 1));
    let Some(evidence) = &attempt.evidence else {
        return out.push(0);
    };
    out.extend_from_slice(&[1, u8::from(evidence.is_immediate)]);
    put_text(out, evidence.first());
    tls::put(out, evidence.tls.as_deref());
    let Some(tcp) = &evidence.tcp else {
        return out.push(0);
    };
    out.push(1);
    out.push(tcp.state);
    out.push(tcp.backoff);
    for value in [
        tcp.rtt_us,
        tcp.unacked,
        tcp.retransmits,
        tcp.notsent_bytes,
        tcp.last_data_recv_ms,
    ] {
        put32(out, value);
    }
    put64(out, tcp.bytes_acked);
    put64(out, tcp.bytes_received);
    put64(out, tcp.unacked_bytes);
}

/// A record that owns its text and Attempts.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    record: Record<'static>,
    tls: Option<TlsFacts>,
    text: [Box<[u8]>; 5],
    attempts: Vec<Attempt>,
}

impl OwnedRecord {
    /// The record, borrowing from this one.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        let [method, target, host, referer, user_agent] = &self.text;
        Record {
            tls: self.tls.as_ref(),
            method,
            target,
            host,
            referer,
            user_agent,
            attempts: &self.attempts,
            ..self.record.clone()
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn option(&mut self) -> Option<Option<u64>> {
        self.u64()
            .map(|value| Some(value).filter(|&v| v != u64::MAX))
    }

    fn name(&mut self) -> Option<Name> {
        self.u32().map(Name::from_raw)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        self.some(TEXT_MAX)
    }

    /// A text of at most so many bytes.
    fn some(&mut self, max: usize) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        if len > max {
            return None;
        }
        self.take(len)
    }

    /// Whether something follows.
    fn is_there(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn address(&mut self) -> Option<Address> {
        Some(match self.u8()? {
            4 => {
                let ip = IpAddr::from(self.array::<4>()?);
                Address::Ip(SocketAddr::new(ip, self.u16()?))
            }
            6 => {
                let ip = IpAddr::from(self.array::<16>()?);
                Address::Ip(SocketAddr::new(ip, self.u16()?))
            }
            0 => Address::Unix,
            _ => return None,
        })
    }

    fn fault(&mut self) -> Option<Option<Fault>> {
        if !self.is_there()? {
            return Some(None);
        }
        let kind = FaultKind::from_raw(self.u8()?)?;
        let phase = *Phase::ALL.get(usize::from(self.u8()?))?;
        let side = match self.u8()? {
            0 => Side::Client,
            1 => Side::Local,
            2 => Side::Server,
            _ => return None,
        };
        let errno = self.array().map(i32::from_le_bytes)?;
        Some(Some(Fault {
            kind,
            phase,
            side,
            errno,
            signal: self.signal()?,
            elapsed_us: self.u64()?,
        }))
    }

    fn signal(&mut self) -> Option<Option<Signal>> {
        Some(match self.u8()? {
            0 => None,
            1 => Some(Signal::TlsAlert(self.u8()?)),
            2 => Some(Signal::H2Reset(self.u32()?)),
            3 => Some(Signal::H2Goaway {
                code: self.u32()?,
                last_stream: self.u32()?,
            }),
            _ => return None,
        })
    }

    fn attempt(&mut self) -> Option<Attempt> {
        Some(Attempt {
            backend: self.name()?,
            server: self.name()?,
            address: self.name()?,
            started: Stamp(self.u64()?),
            queued_us: self.option()?,
            connected_us: self.option()?,
            sent_us: self.option()?,
            first_byte_us: self.option()?,
            ended_us: self.u64()?,
            bytes_sent: self.u64()?,
            bytes_received: self.u64()?,
            body_received: self.u64()?,
            reuse: Reuse {
                uses: self.u32()?,
                idle_us: self.u64()?,
                age_us: self.u64()?,
            },
            status: self.u16()?,
            fault: self.fault()?,
            refusal: match self.u8()? {
                0 => None,
                raw => Some(*RetryRefusal::ALL.get(usize::from(raw) - 1)?),
            },
            evidence: self.evidence()?,
        })
    }

    fn evidence(&mut self) -> Option<Option<Box<Evidence>>> {
        if !self.is_there()? {
            return Some(None);
        }
        let mut evidence = Evidence {
            is_immediate: self.is_there()?,
            ..Evidence::default()
        };
        let first = self.text()?;
        evidence.keep_first(first);
        if evidence.first().len() < first.len() {
            return None;
        }
        evidence.tls = tls::take(self)?.map(Box::new);
        if self.is_there()? {
            let (state, backoff) = (self.u8()?, self.u8()?);
            evidence.tcp = Some(TcpFacts {
                state,
                backoff,
                rtt_us: self.u32()?,
                unacked: self.u32()?,
                retransmits: self.u32()?,
                notsent_bytes: self.u32()?,
                last_data_recv_ms: self.u32()?,
                bytes_acked: self.u64()?,
                bytes_received: self.u64()?,
                unacked_bytes: self.u64()?,
            });
        }
        Some(Some(Box::new(evidence)))
    }
}

/// Reads what [`encode`] wrote; `None` for anything else.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<OwnedRecord> {
    let mut attempts = Vec::new();
    let (record, tls, text) = read(bytes, &mut attempts)?;
    Some(OwnedRecord {
        record,
        tls,
        text: text.map(Into::into),
        attempts,
    })
}

/// As [`decode`], for a record that is only looked at: its text stays where it is but for that of TLS,
/// and `attempts` is memory to be used again.
pub fn look<R>(
    bytes: &[u8],
    attempts: &mut Vec<Attempt>,
    look: impl FnOnce(&Record<'_>) -> R,
) -> Option<R> {
    let (record, tls, text) = read(bytes, attempts)?;
    let [method, target, host, referer, user_agent] = text;
    Some(look(&Record {
        tls: tls.as_ref(),
        method,
        target,
        host,
        referer,
        user_agent,
        attempts,
        ..record
    }))
}

/// A record without what it borrows, its TLS, its text.
type Parts<'a> = (Record<'static>, Option<TlsFacts>, [&'a [u8]; 5]);

fn read<'a>(bytes: &'a [u8], attempts: &mut Vec<Attempt>) -> Option<Parts<'a>> {
    attempts.clear();
    let mut input = Input(bytes);
    let id = RequestId(input.u64()?);
    let started = Stamp(input.u64()?);
    let client = input.address()?;
    let (listener, route, backend) = (input.name()?, input.name()?, input.name()?);
    let protocol = match input.u8()? {
        0 => Protocol::Http10,
        1 => Protocol::Http11,
        2 => Protocol::Http2,
        3 => Protocol::Tcp,
        _ => return None,
    };
    let status = input.u16()?;
    let grpc_status = match input.u16()? {
        u16::MAX => None,
        raw => Some(GrpcStatus(u8::try_from(raw).ok()?)),
    };
    let (bytes_in, bytes_out, body_out) = (input.u64()?, input.u64()?, input.u64()?);
    let timings = Timings {
        head_us: input.u64()?,
        total_us: input.u64()?,
    };
    let connections = (input.u32()?, input.u32()?);
    let fault = input.fault()?;
    let tls = tls::take(&mut input)?;
    let text = [
        input.text()?,
        input.text()?,
        input.text()?,
        input.text()?,
        input.text()?,
    ];
    let count = input.u16()?;
    for _ in 0..count {
        attempts.push(input.attempt()?);
    }
    if !input.0.is_empty() {
        return None;
    }
    let record = Record {
        id,
        started,
        client,
        listener,
        route,
        backend,
        protocol,
        tls: None,
        method: b"",
        target: b"",
        host: b"",
        referer: b"",
        user_agent: b"",
        status,
        grpc_status,
        bytes_in,
        bytes_out,
        body_out,
        timings,
        attempts: &[],
        fault,
        connections,
    };
    Some((record, tls, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn records_survive_and_rubbish_is_refused() {
        let attempts = [sample::failed_attempt(), sample::failed_attempt()];
        let mut record = sample::record(&attempts);
        let tls = sample::tls();
        (record.fault, record.tls) = (attempts[0].fault, Some(&tls));
        let mut bytes = Vec::new();
        encode(&record, &mut bytes);
        let owned = decode(&bytes).unwrap();
        assert_eq!(format!("{:?}", owned.as_record()), format!("{record:?}"));
        let seen = look(&bytes, &mut Vec::new(), |seen| format!("{seen:?}"));
        assert_eq!(seen, Some(format!("{record:?}")));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        bytes.push(0);
        assert!(decode(&bytes).is_none(), "with something behind it");
    }
}
