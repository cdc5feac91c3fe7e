//! Fixed-size buffers that a worker lends out and takes back, last in first out.
//!
//! A connection holds a buffer only while bytes are in flight: an idle one holds none. Taking back
//! the most recently used buffer first keeps the hot ones in the processor's cache.

use std::cell::RefCell;
use std::rc::Rc;

/// A worker's free list of equally sized buffers. Not `Send`: one per worker.
#[derive(Debug)]
pub struct Pool {
    size: usize,
    keep: usize,
    free: RefCell<Vec<Box<[u8]>>>,
}

impl Pool {
    /// A pool of buffers of `size` bytes that keeps at most `keep` unused ones.
    #[must_use]
    pub fn new(size: usize, keep: usize) -> Rc<Self> {
        Rc::new(Self {
            size,
            keep,
            free: RefCell::new(Vec::with_capacity(keep.min(64))),
        })
    }

    /// Size in bytes of every buffer of this pool.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives an eighth of the unused buffers back to the system, and none when there are few. To be
    /// called now and then, so that a burst does not keep its memory.
    pub fn shrink(&self) {
        let mut free = self.free.borrow_mut();
        let surplus = free.len() / 8;
        // The least recently used ones are at the front.
        free.drain(..surplus);
    }

    /// Lends a buffer; its content is whatever the last user left.
    #[must_use]
    pub fn lease(self: &Rc<Self>) -> Lease {
        let bytes = self.free.borrow_mut().pop();
        let bytes = bytes.unwrap_or_else(|| vec![0; self.size].into_boxed_slice());
        Lease {
            bytes,
            filled: 0,
            pool: Rc::clone(self),
        }
    }
}

/// A lent buffer with a fill mark; goes back to its pool on drop.
#[derive(Debug)]
pub struct Lease {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Rc<Pool>,
}

impl Lease {
    /// The bytes filled so far.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// The unfilled rest, to read into; call [`Lease::advance`] afterwards.
    pub fn spare(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Marks `count` more bytes as filled.
    pub fn advance(&mut self, count: usize) {
        debug_assert!(self.filled + count <= self.bytes.len());
        self.filled = (self.filled + count).min(self.bytes.len());
    }

    /// Drops the first `count` filled bytes and moves the rest to the front.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.filled);
        self.bytes.copy_within(count..self.filled, 0);
        self.filled -= count;
    }

    /// Keeps only the first `len` filled bytes.
    pub fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    /// Appends as much of `data` as fits and says how much that was.
    pub fn append(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(self.bytes.len() - self.filled);
        if let (Some(to), Some(from)) = (
            self.bytes.get_mut(self.filled..self.filled + count),
            data.get(..count),
        ) {
            to.copy_from_slice(from);
        }
        self.filled += count;
        count
    }

    /// Number of filled bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing is filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether nothing more fits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filled == self.bytes.len()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut free = self.pool.free.borrow_mut();
        if free.len() < self.pool.keep {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_gives_its_memory_back_step_by_step() {
        let pool = Pool::new(8, 100);
        let burst: Vec<Lease> = (0..64).map(|_| pool.lease()).collect();
        drop(burst);
        assert_eq!(pool.free.borrow().len(), 64);
        pool.shrink();
        assert_eq!(pool.free.borrow().len(), 56);
        for _ in 0..100 {
            pool.shrink();
        }
        assert_eq!(pool.free.borrow().len(), 7, "the last few are kept");
    }

    #[test]
    fn a_returned_buffer_is_lent_again_and_the_pool_is_bounded() {
        let pool = Pool::new(8, 1);
        let mut lease = pool.lease();
        assert_eq!(lease.append(b"abcdefghij"), 8);
        assert!(lease.is_full());
        lease.consume(6);
        assert_eq!(lease.filled(), b"gh");
        let other = pool.lease();
        drop((lease, other));
        assert_eq!(pool.free.borrow().len(), 1);
        assert!(pool.lease().is_empty());
    }
}
