//! Facts about a connection that failed, read before it is closed.

use clearway_net::stream::Stream;
use clearway_outcome::Evidence;

/// Kernel facts and the first bytes of whatever the server sent.
pub(crate) fn gather(stream: Option<&Stream>, first: &[u8]) -> Box<Evidence> {
    let mut evidence = Box::<Evidence>::default();
    evidence.keep_first(first);
    evidence.tcp = stream.and_then(Stream::tcp_facts);
    evidence.tls = stream.and_then(Stream::tls_facts);
    evidence
}
