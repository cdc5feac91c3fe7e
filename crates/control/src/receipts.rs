//! The receipts of failed requests: the newest ones, found by request id.

use std::collections::VecDeque;

use clearway_base::hash::Map;
use clearway_outcome::RequestId;
use clearway_telemetry::codec::OwnedRecord;

/// How many receipts are kept in memory.
const KEEP: usize = 10_000;

/// The newest receipts, bounded.
#[derive(Default)]
pub struct Receipts {
    order: VecDeque<RequestId>,
    by_id: Map<RequestId, OwnedRecord>,
    /// Receipts ever filed.
    pub filed: u64,
}

impl Receipts {
    /// Files a receipt; the oldest makes room.
    pub fn file(&mut self, record: OwnedRecord) {
        self.filed += 1;
        let id = record.as_record().id;
        if self.by_id.insert(id, record).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > KEEP {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// A receipt by its request's id.
    #[must_use]
    pub fn find(&self, id: RequestId) -> Option<&OwnedRecord> {
        self.by_id.get(&id)
    }

    /// The newest receipts, newest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = &OwnedRecord> {
        self.order
            .iter()
            .rev()
            .take(count)
            .filter_map(|id| self.by_id.get(id))
    }

    /// How many receipts are kept at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        KEEP
    }

    /// How many receipts are kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
