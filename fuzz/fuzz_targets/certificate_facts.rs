//! The facts of a certificate out of any bytes: bounded, and in plain text.

#![no_main]

use clearway_fuzz::assert_plain;
use clearway_net::tls::facts::{NAME_MAX, NAMES_MAX, SUBJECT_MAX, certificate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(facts) = certificate(data) else {
        return;
    };
    for text in [&facts.subject, &facts.issuer] {
        assert!(text.len() <= SUBJECT_MAX);
        assert_plain(text);
    }
    assert!(facts.names.len() <= NAMES_MAX + 1);
    for name in &facts.names {
        assert!(name.len() <= NAME_MAX);
        assert_plain(name);
    }
    assert!(facts.serial.len() < 70 && facts.fingerprint.len() == 64);
});
