//! What the other side lets us send (RFC 9113 section 6.9).

use std::collections::BTreeMap;

const INITIAL: i64 = 65_535;

/// The windows of a connection and its streams, as the sender counts them.
#[derive(Debug)]
pub(crate) struct Windows {
    connection: i64,
    initial: i64,
    streams: BTreeMap<u32, i64>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            connection: INITIAL,
            initial: INITIAL,
            streams: BTreeMap::new(),
        }
    }
}

impl Windows {
    /// A stream begins.
    pub(crate) fn start(&mut self, stream: u32) {
        self.streams.insert(stream, self.initial);
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE came: all streams move with it, and may fall below zero.
    pub(crate) fn resize(&mut self, size: u32) {
        let moved = i64::from(size) - self.initial;
        self.initial += moved;
        for window in self.streams.values_mut() {
            *window += moved;
        }
    }

    /// WINDOW_UPDATE came; stream 0 is the connection.
    pub(crate) fn grow(&mut self, stream: u32, increment: u32) {
        if stream == 0 {
            self.connection += i64::from(increment);
        } else if let Some(window) = self.streams.get_mut(&stream) {
            *window += i64::from(increment);
        }
    }

    /// DATA goes out.
    pub(crate) fn spend(&mut self, stream: u32, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.connection -= count;
        if let Some(window) = self.streams.get_mut(&stream) {
            *window -= count;
        }
    }

    /// Bytes that may go out on a stream now.
    pub(crate) fn room(&self, stream: u32) -> usize {
        let stream = self.streams.get(&stream).copied().unwrap_or(0);
        usize::try_from(self.connection.min(stream)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_below_zero_and_come_back() {
        let mut windows = Windows::default();
        windows.start(1);
        windows.spend(1, 60_000);
        windows.resize(10_000);
        assert_eq!(windows.room(1), 0);
        windows.grow(1, 50_001);
        assert_eq!(windows.room(1), 1);
        windows.grow(0, 1 << 20);
        windows.resize(20_000);
        assert_eq!(windows.room(1), 10_001);
    }
}
