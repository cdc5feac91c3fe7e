//! Records out of any bytes: refused, or written as the same bytes again, in every format as one line.

#![no_main]

use clearway_fuzz::assert_plain;
use clearway_telemetry::codec::{decode, encode};
use clearway_telemetry::format::Format;
use clearway_telemetry::receipt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(owned) = decode(data) else {
        return;
    };
    let record = owned.as_record();
    let mut again = Vec::new();
    encode(&record, &mut again);
    assert_eq!(again, data);
    for &format in Format::ALL {
        let mut out = Vec::new();
        format.write(&record, &mut out);
        let line = std::str::from_utf8(&out).unwrap();
        assert_plain(line.strip_suffix('\n').unwrap());
    }
    receipt::words(&record).lines().for_each(assert_plain);
    assert_plain(&receipt::oneline(&record));
});
