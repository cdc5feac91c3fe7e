//! Facts about a connection that failed, read before it is closed.

use clearway_net::stream::Stream;
use clearway_outcome::Evidence;

/// The first bytes of a response, kept while its body is relayed from the same buffer.
pub(crate) struct Snippet {
    bytes: [u8; 64],
    len: usize,
}

impl Snippet {
    /// The first bytes of `text`.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut bytes = [0; 64];
        let len = text.len().min(bytes.len());
        bytes[..len].copy_from_slice(&text[..len]);
        Self { bytes, len }
    }

    /// What was kept.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Kernel facts and the first bytes of whatever the server sent.
pub(crate) fn gather(stream: Option<&Stream>, first: &[u8]) -> Box<Evidence> {
    let mut evidence = Box::<Evidence>::default();
    evidence.keep_first(first);
    if let Some(stream @ Stream::Tcp(_)) = stream {
        evidence.tcp = clearway_net::kernel::tcp_facts(stream.fd());
    }
    evidence
}
