//! PROXY headers of any bytes: the answer does not change with what follows, and what is read is written
//! as the same.

#![no_main]

use clearway_http::proxy_protocol::{Parse, parse, write_v1, write_v2};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    for end in 0..=data.len().min(600) {
        let parsed = parse(&data[..end]);
        if parsed != Ok(Parse::Partial) {
            assert_eq!(parsed, whole);
            break;
        }
    }
    let Ok(Parse::Complete {
        len,
        source,
        destination,
        fields,
    }) = whole
    else {
        return;
    };
    assert!(fields <= len && len <= data.len());
    for write in [write_v1, write_v2] {
        let mut out = Vec::new();
        write(source, destination, &mut out);
        let expected = Parse::Complete {
            len: out.len(),
            source,
            destination,
            fields: out.len(),
        };
        assert_eq!(parse(&out), Ok(expected), "{}", out.escape_ascii());
    }
});
