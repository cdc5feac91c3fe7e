//! Every shape of an exchange through the balancer, for each pair of protocols.
//!
//! The shapes, their clients and their servers are in `clearway_testkit::shapes`: what arrives must be
//! what was sent, whichever protocol is spoken on which side.

use clearway_testkit::Clearway;
use clearway_testkit::shapes::{Protocol, play};

/// Plays all shapes; `backend` is what the backend's section says besides its server.
fn through(client: Protocol, server: Protocol, backend: &str) {
    let outcome = play(client, server, |origin| {
        let clearway = Clearway::over(&[origin], backend);
        (clearway.address("web").to_owned(), clearway)
    });
    let wrong = outcome.err().unwrap_or_default();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn from_http1_to_http1() {
    through(Protocol::H1, Protocol::H1, "");
}

#[test]
fn from_http2_to_http1() {
    through(Protocol::H2, Protocol::H1, "");
}

#[test]
fn from_http1_to_http2() {
    through(Protocol::H1, Protocol::H2, "protocol = \"h2\"");
}

#[test]
fn from_http2_to_http2() {
    through(Protocol::H2, Protocol::H2, "protocol = \"h2\"");
}
