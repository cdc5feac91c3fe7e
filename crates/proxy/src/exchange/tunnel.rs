//! Bytes both ways until both sides have finished: after an upgrade, and at layer 4.

use std::future::poll_fn;
use std::task::Poll;

use clearway_base::clock::Stamp;
use clearway_config::model::Timeouts;
use clearway_net::stream::{Stream, fault_of};
use clearway_outcome::{Fault, FaultKind, Phase, Side};

use super::pump::{Cut, Pump, Supplies};
use crate::board::ServerCell;
use crate::client::Conn;
use crate::worker::Place;

/// The two directions of a tunnel.
pub(crate) struct Ends {
    /// From the client to the server.
    pub(crate) up: Pump,
    /// From the server to the client.
    pub(crate) down: Pump,
    /// When the first bytes for the client came.
    pub(crate) first_down: Option<Stamp>,
}

impl Ends {
    /// A tunnel that has moved nothing yet.
    pub(crate) fn new(up: Pump, down: Pump) -> Self {
        Self {
            up,
            down,
            first_down: None,
        }
    }
}

/// Relays until both sides have sent FIN, one fails, nothing moves for too long, or the drain time of
/// a removed server or listener is over.
///
/// A FIN from one side is passed on at once and the other direction goes on (half-close); from then
/// on `timeouts.half_closed` bounds the silence.
pub(crate) async fn run(
    conn: &mut Conn,
    (server, cell): (&mut Stream, &ServerCell),
    ends: &mut Ends,
    timeouts: &Timeouts,
) -> Result<(), Fault> {
    let worker = std::rc::Rc::clone(&conn.worker);
    let mut place = Place::none(&worker.tunnels);
    let began = worker.tick();
    let cuts = cell.cuts();
    let supplies = Supplies {
        buffers: &worker.large,
        pipes: Some(&worker.pipes),
    };
    let (mut up_done, mut down_done) = (false, false);
    let (mut server_told, mut client_told) = (false, false);
    let mut progress = u64::MAX;
    let fault = |kind, side, errno| {
        let elapsed = worker.tick().micros_since(began);
        Fault::new(kind, Phase::Tunnel, side)
            .with_errno(errno)
            .after(elapsed)
    };
    poll_fn(|cx| {
        place.register(cx);
        if cell.is_cut(cuts) || conn.seat.entry().is_cut() {
            return Poll::Ready(Err(fault(FaultKind::ShuttingDown, Side::Local, 0)));
        }
        if !up_done {
            match ends.up.poll(cx, &mut conn.stream, server, supplies) {
                Poll::Ready(Ok(())) => {
                    up_done = true;
                }
                Poll::Ready(Err(cut)) => return Poll::Ready(Err(blame(&cut, true, &fault))),
                Poll::Pending => {}
            }
        }
        if !down_done {
            match ends.down.poll(cx, server, &mut conn.stream, supplies) {
                Poll::Ready(Ok(())) => {
                    down_done = true;
                }
                Poll::Ready(Err(cut)) => return Poll::Ready(Err(blame(&cut, false, &fault))),
                Poll::Pending => {}
            }
        }
        // One that is gone already shows in the other direction.
        if up_done && !server_told {
            server_told = server.poll_finish(cx).is_ready();
        }
        if down_done && !client_told {
            client_told = conn.stream.poll_finish(cx).is_ready();
        }
        let moved = ends.up.taken + ends.up.given + ends.down.taken + ends.down.given;
        let moved = moved * 2 + u64::from(up_done || down_done);
        if moved != progress {
            progress = moved;
            let half = up_done || down_done;
            let limit = if half {
                timeouts.half_closed
            } else {
                timeouts.tunnel
            };
            let now = worker.tick();
            if ends.down.taken > 0 {
                ends.first_down.get_or_insert(now);
            }
            conn.timer.set_after(now, limit);
        }
        if up_done && down_done {
            return Poll::Ready(Ok(()));
        }
        if conn.timer.poll_expired(cx) {
            // After a half-close the silence is an ordinary end.
            return Poll::Ready(if up_done || down_done {
                Ok(())
            } else {
                Err(fault(FaultKind::TunnelIdle, Side::Server, 0))
            });
        }
        Poll::Pending
    })
    .await
}

/// Which side broke the tunnel.
fn blame(cut: &Cut, upwards: bool, fault: &dyn Fn(FaultKind, Side, i32) -> Fault) -> Fault {
    let (errno, at_source) = match cut {
        Cut::SourceError(error) => (error.raw_os_error().unwrap_or(0), true),
        Cut::SinkError(error) => (error.raw_os_error().unwrap_or(0), false),
        Cut::SourceClosed | Cut::Framing(_) => (0, true),
    };
    let said = match cut {
        Cut::SourceError(error) | Cut::SinkError(error) => fault_of(error, upwards != at_source),
        Cut::SourceClosed | Cut::Framing(_) => None,
    };
    let signal = said.and_then(|(_, signal)| signal);
    if upwards == at_source {
        fault(FaultKind::TunnelClientReset, Side::Client, errno).with_signal(signal)
    } else {
        fault(FaultKind::TunnelServerReset, Side::Server, errno).with_signal(signal)
    }
}
