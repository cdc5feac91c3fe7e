//! Slots of servers that have a `maxconn`: a free one, or a place in the backend's line.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

pub(crate) use clearway_balance::queue::Slot;
use clearway_balance::{Algorithm, Ask};
use clearway_base::clock::Stamp;
use clearway_base::{hash, hash32};
use clearway_config::model::{Backend, HashFunction, HashKey};
use clearway_outcome::{Fault, FaultKind, Phase, Side};

use crate::client::{ClientWatch, Conn, Seen};
use crate::exchange::{none_usable, of_client};
use crate::local::LocalBackend;

/// The hash of an address, without its port.
pub(crate) fn source_key(ip: &IpAddr, backend: &Backend) -> u64 {
    if backend.balance == Algorithm::CrcTable && matches!(backend.hash_key, HashKey::Value(_)) {
        // Where there is no request the address is what there is, as text.
        return crc_key(ip.to_string().as_bytes());
    }
    match (backend.balance, ip) {
        (Algorithm::CrcTable, IpAddr::V4(v4)) => return crc_key(&v4.octets()),
        (Algorithm::CrcTable, IpAddr::V6(v6)) => return crc_key(&v6.octets()),
        (Algorithm::NetworkTable, IpAddr::V4(v4)) => {
            let [first, second, third, _] = v4.octets();
            return network_key(&[first, second, third]);
        }
        (Algorithm::NetworkTable, IpAddr::V6(v6)) => return network_key(&v6.octets()),
        _ => {}
    }
    if backend.hash_function == HashFunction::Xxh3 {
        return match ip {
            IpAddr::V4(v4) => hash::stable(&v4.octets()),
            IpAddr::V6(v6) => hash::stable(&v6.octets()),
        };
    }
    let folded = match ip {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let words = v6.octets();
            let words = words.as_chunks::<4>().0.iter();
            words.fold(0, |all, word| all ^ u32::from_be_bytes(*word))
        }
    };
    u64::from(stirred(folded, backend))
}

/// The hash of a key, as the backend hashes.
pub(crate) fn hashed(bytes: &[u8], backend: &Backend) -> u64 {
    if backend.balance == Algorithm::CrcTable {
        return crc_key(bytes);
    }
    if backend.balance == Algorithm::NetworkTable {
        return network_key(bytes);
    }
    let sum = match backend.hash_function {
        HashFunction::Xxh3 => return hash::stable(bytes),
        HashFunction::Sdbm => hash32::sdbm(bytes),
        HashFunction::Djb2 => hash32::djb2(bytes),
        HashFunction::Wt6 => hash32::wt6(bytes),
        HashFunction::Crc32 => hash32::crc32(bytes),
    };
    u64::from(stirred(sum, backend))
}

/// The CRC-32 of a key below its length: with both it can be hashed again with something before it.
fn crc_key(bytes: &[u8]) -> u64 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    u64::from(length) << 32 | u64::from(hash32::crc32(bytes))
}

/// What a key does to a remainder of 6271: a factor above what is added.
fn network_key(bytes: &[u8]) -> u64 {
    let step = |(factor, addend): (u64, u64), byte: &u8| {
        (
            factor * 113 % 6_271,
            (addend * 113 + u64::from(*byte)) % 6_271,
        )
    };
    let (factor, addend) = bytes.iter().fold((1, 0), step);
    factor << 32 | addend
}

fn stirred(sum: u32, backend: &Backend) -> u32 {
    match backend.hash_avalanche {
        true => hash32::scattered(sum),
        false => sum,
    }
}

/// A member with a slot on it, if it needs one, and the time in the line, if there was any.
type Taken = (usize, Option<Slot>, Option<u64>);

/// A member with a slot on it: `sticky` or the one that is picked if it has room, else another of
/// the tier in use, else whoever in that tier has room first within `limit`.
///
/// A full tier is waited for: the next one is for when no member of this one is usable.
///
/// # Errors
/// No member is usable, the line is full, the time is over, or the client left.
pub(crate) async fn take(
    conn: &mut Conn,
    backend: &Rc<LocalBackend>,
    sticky: Option<usize>,
    ask: &Ask<'_>,
    limit: Duration,
) -> Result<Taken, Fault> {
    let Some(picked) = sticky.or_else(|| backend.pick(ask)) else {
        return Err(none_usable(backend));
    };
    if !backend.plan.has_maxconn {
        return Ok((picked, None, None));
    }
    if let Some((member, slot)) = at_once(backend, picked, ask) {
        return Ok((member, slot, None));
    }
    wait(conn, backend, ask, limit).await
}

/// The picked member or another one, if any has room now.
fn at_once(backend: &LocalBackend, picked: usize, ask: &Ask<'_>) -> Option<(usize, Option<Slot>)> {
    if let Some(slot) = try_take(backend, picked) {
        return Some((picked, slot));
    }
    let other = backend.pick_with_room(ask).filter(|&m| m != picked)?;
    Some((other, try_take(backend, other)?))
}

/// A slot at once: `Some(None)` when the member needs none.
fn try_take(backend: &LocalBackend, member: usize) -> Option<Option<Slot>> {
    let server = backend.servers.get(member)?;
    if server.plan.maxconn == 0 {
        return Some(None);
    }
    server.plan.entry.slots.try_acquire().map(Some)
}

async fn wait(
    conn: &mut Conn,
    backend: &Rc<LocalBackend>,
    ask: &Ask<'_>,
    limit: Duration,
) -> Result<Taken, Fault> {
    let worker = Rc::clone(&conn.worker);
    let began = worker.now();
    let before = backend.plan.entry.queue.waiting();
    conn.queue_place = u32::try_from(before).map_or(u32::MAX, |before| before.saturating_add(1));
    let _queued = Queued::begin(backend);
    conn.timer.set_after(began, limit);
    let waited = |taken: (usize, Option<Slot>)| {
        let elapsed = worker.tick().micros_since(began);
        backend.shard().queue.record(elapsed);
        (taken.0, taken.1, Some(elapsed))
    };
    loop {
        if let Some(slot) = next_slot(conn, backend, ask.exclude, began).await? {
            let key = slot.slots().key();
            let mut servers = backend.servers.iter();
            return match servers.position(|server| server.plan.key == key) {
                Some(member) => Ok(waited((member, Some(slot)))),
                None => Err(fault(conn, FaultKind::NoServers, Side::Local, began)),
            };
        }
        // The tier went away while the request waited for it: there may be another.
        let Some(picked) = backend.pick(ask) else {
            return Err(fault(conn, FaultKind::AllServersDown, Side::Local, began));
        };
        if let Some(taken) = at_once(backend, picked, ask) {
            return Ok(waited(taken));
        }
    }
}

/// Stands in line until the connection's timer; `None` when all servers waited for went away.
async fn next_slot(
    conn: &mut Conn,
    backend: &LocalBackend,
    tried: &[usize],
    began: Stamp,
) -> Result<Option<Slot>, Fault> {
    let place = backend.plan.entry.queue.wait(&backend.slots(tried));
    let place = place.map_err(|_| fault(conn, FaultKind::QueueFull, Side::Local, began))?;
    let mut place = pin!(place);
    let mut watch = ClientWatch::new(conn.half_closed);
    poll_fn(|cx| {
        if let Poll::Ready(granted) = place.as_mut().poll(cx) {
            return Poll::Ready(Ok(granted.ok()));
        }
        if conn.timer.poll_expired(cx) {
            return Poll::Ready(Err(fault(
                conn,
                FaultKind::QueueTimeout,
                Side::Local,
                began,
            )));
        }
        match watch.poll(cx, &mut conn.stream, true) {
            Some(Seen::Reset(error)) => {
                let gone = fault(conn, FaultKind::ClientReset, Side::Client, began);
                Poll::Ready(Err(of_client(gone, &error)))
            }
            Some(Seen::Finished) => {
                conn.half_closed = true;
                Poll::Pending
            }
            None => Poll::Pending,
        }
    })
    .await
}

fn fault(conn: &Conn, kind: FaultKind, side: Side, began: Stamp) -> Fault {
    let elapsed = conn.worker.tick().micros_since(began);
    Fault::new(kind, Phase::Queue, side).after(elapsed)
}

/// A request in line: counted until it is dropped, whatever happens.
struct Queued<'a>(&'a LocalBackend);

impl<'a> Queued<'a> {
    fn begin(backend: &'a LocalBackend) -> Self {
        backend.shard().queued.up();
        Self(backend)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.shard().queued.down();
    }
}
