//! Files of certificates and keys of any bytes: what is taken has plain names and a known end.

#![no_main]

use clearway_fuzz::assert_plain;
use clearway_net::tls::from_pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // A chain and its key, in one text or in two.
    let (chain, key) = text.split_once('\0').unwrap_or((&text, &text));
    match from_pem(chain, key) {
        Ok(certificate) => {
            assert_plain(&certificate.facts().subject);
            assert!(!certificate.facts().fingerprint.is_empty());
            for name in certificate.names() {
                assert!(!name.contains(|c: char| c.is_ascii_uppercase()));
            }
        }
        Err(words) => assert_plain(&words),
    }
});
