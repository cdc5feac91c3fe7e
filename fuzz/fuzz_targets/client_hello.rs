//! A ClientHello out of any bytes: read, refused or partial, and never judged otherwise later.

#![no_main]

use clearway_fuzz::{assert_plain, pieces};
use clearway_net::tls::hello::{HELLO_MAX, Progress, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((bytes, ends)) = pieces(data) else {
        return;
    };
    let whole = parse(bytes, HELLO_MAX);
    for end in ends {
        let progress = parse(&bytes[..end], HELLO_MAX);
        if progress != Ok(Progress::Partial) {
            assert_eq!(progress, whole);
            break;
        }
    }
    if let Ok(Progress::Complete(hello)) = whole {
        assert!(hello.len <= bytes.len() && hello.len <= HELLO_MAX);
        assert!(!hello.versions.is_empty());
        assert_plain(&hello.to_string());
        let name = hello.server_name.as_deref().unwrap_or("a");
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        assert!(name.len() < 254 && name.bytes().all(is_plain) && !name.ends_with('.'));
        let short = parse(&bytes[..hello.len], hello.len);
        assert_eq!(short, Ok(Progress::Complete(hello)));
    }
});
