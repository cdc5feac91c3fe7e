//! What control learns from failed requests: receipts, and servers to eject.

use std::sync::Arc;
use std::time::Duration;

use clearway_balance::eject::{Ejector, Verdict};
use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_base::ring::Reader;
use clearway_outcome::Side;
use clearway_proxy::board::EJECTED;
use clearway_proxy::plan::BackendPlan;
use clearway_telemetry::codec;
use tokio::time::Instant;

use crate::logs::Sink;
use crate::state::State;

/// How often servers are looked at when nobody fails.
const TICK: Duration = Duration::from_millis(200);

/// Reads the rings of failed requests.
pub(crate) struct Passive {
    state: Arc<State>,
    rings: Vec<Reader>,
    faults_log: Sink,
    ejectors: Map<Name, Ejector>,
}
