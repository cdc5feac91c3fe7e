//! Slots of servers that have a `maxconn`: a free one, or a place in the backend's line.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

pub(crate) use clearway_balance::queue::Slot;
use clearway_balance::queue::Slots;
use clearway_base::hash;
use clearway_outcome::{Fault, FaultKind, Phase, Side};

use crate::client::{ClientWatch, Conn, Seen};
use crate::exchange::none_usable;
use crate::local::LocalBackend;

/// The hash of an address, without its port.
pub(crate) fn source_key(ip: &IpAddr) -> u64 {
    match ip {
        IpAddr::V4(v4) => hash::stable(&v4.octets()),
        IpAddr::V6(v6) => hash::stable(&v6.octets()),
    }
}

/// A member with a slot on it: the picked one if it has room, else another, else whoever in the
/// backend has room first within `limit`. The third part is the time in the line.
///
/// # Errors
/// No member is usable, the line is full, the time is over, or the client left.
pub(crate) async fn take(
    conn: &mut Conn,
    backend: &Rc<LocalBackend>,
    picked: Option<usize>,
    limit: Duration,
) -> Result<(usize, Option<Slot>, Option<u64>), Fault> {
    let Some(picked) = picked else {
        return Err(none_usable(backend));
    };
    if !backend.plan.has_maxconn {
        return Ok((picked, None, None));
    }
    if let Some(slot) = try_take(backend, picked) {
        return Ok((picked, slot, None));
    }
    for member in 0..backend.servers.len() {
        if member != picked
            && backend.is_usable(member)
            && let Some(slot) = try_take(backend, member)
        {
            return Ok((member, slot, None));
        }
    }
    wait(conn, backend, limit).await
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
    limit: Duration,
) -> Result<(usize, Option<Slot>, Option<u64>), Fault> {
    let worker = Rc::clone(&conn.worker);
    let began = worker.now();
    let fault = |kind, side| {
        let elapsed = worker.tick().micros_since(began);
        Fault::new(kind, Phase::Queue, side).after(elapsed)
    };
    let choices: Vec<Arc<Slots>> = backend
        .servers
        .iter()
        .enumerate()
        .filter(|(member, _)| backend.is_usable(*member))
        .map(|(_, server)| Arc::clone(&server.plan.entry.slots))
        .collect();
    let place = backend.plan.entry.queue.wait(&choices);
    let place = place.map_err(|_| fault(FaultKind::QueueFull, Side::Local))?;
    conn.timer.set_after(began, limit);
    backend.shard().queued.up();
    let mut place = pin!(place);
    let mut watch = ClientWatch::new(conn.half_closed);
    let waited = poll_fn(|cx| {
        if let Poll::Ready(granted) = place.as_mut().poll(cx) {
            return Poll::Ready(granted.map_err(|_| fault(FaultKind::AllServersDown, Side::Local)));
        }
        if conn.timer.poll_expired(cx) {
            return Poll::Ready(Err(fault(FaultKind::QueueTimeout, Side::Local)));
        }
        match watch.poll(cx, &conn.stream, true) {
            Some(Seen::Reset) => Poll::Ready(Err(fault(FaultKind::ClientReset, Side::Client))),
            Some(Seen::Finished) => {
                conn.half_closed = true;
                Poll::Pending
            }
            None => Poll::Pending,
        }
    })
    .await;
    backend.shard().queued.down();
    let slot = waited?;
    let elapsed = worker.tick().micros_since(began);
    backend.shard().queue.record(elapsed);
    let key = slot.slots().key();
    let member = backend
        .servers
        .iter()
        .position(|server| server.plan.key == key);
    match member {
        Some(member) => Ok((member, Some(slot), Some(elapsed))),
        None => Err(fault(FaultKind::NoServers, Side::Local)),
    }
}
