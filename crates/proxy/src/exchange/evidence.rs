//! Facts about a connection that failed, read before it is closed.

use clearway_net::stream::Stream;
use clearway_outcome::Evidence;

/// Kernel facts and the first bytes of whatever the server sent.
pub(crate) fn gather(stream: Option<&Stream>, first: &[u8]) -> Box<Evidence> {
    let mut evidence = Box::<Evidence>::default();
    evidence.keep_first(first);
    if let Some(stream @ Stream::Tcp(_)) = stream {
        evidence.tcp = clearway_net::kernel::tcp_facts(stream.fd());
    }
    evidence
}
