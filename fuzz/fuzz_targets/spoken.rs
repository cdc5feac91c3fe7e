//! What a peer speaks, from any first bytes, in words of one line.

#![no_main]

use clearway_fuzz::assert_plain;
use clearway_outcome::Spoken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(spoken) = Spoken::of(data) {
        assert_plain(&spoken.to_string());
    }
});
