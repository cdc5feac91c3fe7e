//! Writing a success into a ring allocates nothing, also one over TLS with a client certificate.

#![expect(
    unsafe_code,
    reason = "a global allocator that counts can only be unsafe"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, CertificateFacts, CertificateVerdict, Protocol, Record, RequestId, Timings,
    TlsFacts,
};
use clearway_telemetry::codec::encode;
use clearway_telemetry::format::Format;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a plain
// thread-local cell without a destructor, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tls() -> TlsFacts {
    TlsFacts {
        offered: 0,
        version: 0x0304,
        cipher: 0x1301,
        server_name: "www.example.org".to_owned(),
        alpn: b"http/1.1".to_vec(),
        resumed: false,
        certificate: Some(CertificateFacts {
            subject: "CN=Ada,O=Example".to_owned(),
            issuer: "CN=Example CA 1".to_owned(),
            names: vec!["ada.example.org".to_owned()],
            not_before: 0,
            not_after: 1_767_398_400,
            serial: "fedc01".to_owned(),
            fingerprint: "ba7816bf".to_owned(),
        }),
        verdict: CertificateVerdict::Verified,
        refusal: String::new(),
        ..TlsFacts::default()
    }
}

#[test]
fn a_success_is_written_without_an_allocation() {
    let server = Name::new("a");
    let attempts = [Attempt::begin(server, server, server, Stamp(1_000))];
    let tls = tls();
    let record = Record {
        id: RequestId(77),
        started: Stamp(1_000),
        client: Address::Ip("192.0.2.7:4000".parse().unwrap()),
        listener: server,
        route: server,
        backend: server,
        protocol: Protocol::Http11,
        tls: Some(&tls),
        method: b"GET",
        target: b"/a?b=1",
        host: b"www.example.org",
        referer: b"",
        user_agent: b"curl/8",
        status: 200,
        grpc_status: None,
        bytes_in: 80,
        bytes_out: 160,
        body_out: 12,
        timings: Timings::default(),
        attempts: &attempts,
        fault: None,
        connections: (3, 2),
    };
    let mut out = Vec::with_capacity(16_384);
    let before = COUNT.get();
    encode(&record, &mut out);
    Format::Json.write(&record, &mut out);
    assert_eq!(COUNT.get() - before, 0);
    assert!(out.len() > 500);
    let before = COUNT.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(COUNT.get() - before, 1, "the counter counts");
}
