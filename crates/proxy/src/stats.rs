//! What a worker counts. One writer per field (the worker that owns the shard), relaxed stores;
//! control sums the shards when somebody asks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use clearway_outcome::{FaultKind, GrpcStatus};
use clearway_telemetry::Histogram;

/// A counter with one writer: adding is a plain load and store, never a locked instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `more`; only the owning worker may call this.
    pub fn add(&self, more: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(more),
            Ordering::Relaxed,
        );
    }

    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// The count so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level with one writer.
#[derive(Debug, Default)]
pub struct Level(AtomicU32);

impl Level {
    /// Sets the level; only the owning worker may call this.
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// One up.
    pub fn up(&self) {
        self.set(self.value().saturating_add(1));
    }

    /// One down.
    pub fn down(&self) {
        self.set(self.value().saturating_sub(1));
    }

    /// The level now.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts per fault kind; allocated when the first fault happens.
#[derive(Debug, Default)]
pub struct FaultCounts(OnceLock<Box<[Count]>>);

impl FaultCounts {
    /// Counts one fault.
    pub fn one(&self, kind: FaultKind) {
        let counts = self
            .0
            .get_or_init(|| FaultKind::ALL.iter().map(|_| Count::default()).collect());
        if let Some(count) = counts.get(kind as usize) {
            count.one();
        }
    }

    /// How many faults of a kind were counted.
    #[must_use]
    pub fn value(&self, kind: FaultKind) -> u64 {
        self.0
            .get()
            .and_then(|counts| counts.get(kind as usize))
            .map_or(0, Count::value)
    }

    /// Whether any fault was counted.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.get().is_some()
    }
}

/// Counts per status of gRPC; allocated when the first call ends.
#[derive(Debug, Default)]
pub struct GrpcCounts(OnceLock<Box<[Count; 17]>>);

impl GrpcCounts {
    /// Counts one call; a status without a name counts as unknown.
    pub fn one(&self, status: GrpcStatus) {
        let counts = self.0.get_or_init(Box::default);
        counts
            .get(usize::from(status.0))
            .unwrap_or(&counts[2])
            .one();
    }

    /// How many calls ended with a status; `None` when there was no call at all.
    #[must_use]
    pub fn value(&self, status: GrpcStatus) -> Option<u64> {
        let counts = self.0.get()?;
        Some(counts.get(usize::from(status.0))?.value())
    }
}

/// A histogram that takes memory only once something was recorded.
#[derive(Debug, Default)]
pub struct LazyHistogram(OnceLock<Box<Histogram>>);

impl LazyHistogram {
    /// Records a duration in microseconds.
    pub fn record(&self, micros: u64) {
        self.0.get_or_init(Box::default).record(micros);
    }

    /// The histogram, if anything was recorded.
    #[must_use]
    pub fn get(&self) -> Option<&Histogram> {
        self.0.get().map(AsRef::as_ref)
    }
}

/// What one worker counts about one server.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ServerShard {
    /// Attempts in flight.
    pub inflight: Level,
    /// Attempts made.
    pub attempts: Count,
    /// Attempts that ended without a fault.
    pub successes: Count,
    /// Connections opened.
    pub connects: Count,
    /// Attempts on a kept connection.
    pub reuses: Count,
    /// Responses by class: index 0 = none or 1xx, then 2xx, 3xx, 4xx, 5xx.
    pub responses: [Count; 5],
    /// Kept connections lying idle.
    pub idle: Level,
    /// Bytes written to the server.
    pub bytes_out: Count,
    /// Bytes read from the server.
    pub bytes_in: Count,
    /// Faults by kind.
    pub faults: FaultCounts,
    /// Kept connections the server closed while they lay idle.
    pub idle_closes: Count,
    /// Shortest idle time after which it did, in milliseconds; 0 = not learnt.
    pub idle_limit_ms: Level,
}

/// What one worker counts about one backend.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct BackendShard {
    /// Responses to clients by class: index 0 = none or 1xx, then 2xx, 3xx, 4xx, 5xx.
    pub responses: [Count; 5],
    /// Attempts after the first of a request.
    pub retries: Count,
    /// Requests that a retry saved from failing.
    pub prevented: Count,
    /// Requests waiting for a slot.
    pub queued: Level,
    /// Requests that failed without any server having been chosen, by kind.
    pub faults: FaultCounts,
    /// Calls of gRPC by their outcome.
    pub grpc: GrpcCounts,
    /// Time in the queue.
    pub queue: LazyHistogram,
    /// Time to connect, fresh connections only.
    pub connect: LazyHistogram,
    /// From the start of an Attempt to the first byte of its response.
    pub first_byte: LazyHistogram,
    /// From the first byte of the request to the last of the response.
    pub total: LazyHistogram,
}

/// What one worker counts about one listener.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ListenerShard {
    /// Connections accepted.
    pub accepted: Count,
    /// Requests by class of the response: index 0 = none or 1xx, then 2xx to 5xx.
    pub responses: [Count; 5],
    /// Bytes read from clients.
    pub bytes_in: Count,
    /// Bytes written to clients.
    pub bytes_out: Count,
    /// Faults on the client's or the local side, by kind.
    pub faults: FaultCounts,
    /// Times the worker stopped accepting because no descriptor or memory was left.
    pub accept_paused: Count,
    /// TLS handshakes completed: version 1.2 or 1.3, each fresh and resumed.
    pub handshakes: [Count; 4],
}

/// What one worker counts about itself.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WorkerShard {
    /// Tasks that ended in a panic.
    pub panics: Count,
    /// Client connections open.
    pub connections: Level,
    /// Access log records dropped because the log thread was behind.
    pub log_dropped: Count,
    /// Failed requests whose record was dropped because control was behind.
    pub receipts_dropped: Count,
}

/// The index into `responses` for a status.
#[must_use]
pub fn class(status: u16) -> usize {
    match status {
        200..300 => 1,
        300..400 => 2,
        400..500 => 3,
        500..600 => 4,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_is_lazy_and_exact() {
        let faults = FaultCounts::default();
        assert!(!faults.any());
        faults.one(FaultKind::ConnectRefused);
        faults.one(FaultKind::ConnectRefused);
        assert_eq!(faults.value(FaultKind::ConnectRefused), 2);
        assert_eq!(faults.value(FaultKind::ConnectTimeout), 0);
        let histogram = LazyHistogram::default();
        assert!(histogram.get().is_none());
        histogram.record(5);
        assert!(histogram.get().is_some());
        assert_eq!([0, 101, 204, 302, 404, 503].map(class), [0, 0, 1, 2, 3, 4]);
    }
}
