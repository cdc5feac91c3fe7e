//! Configurations of other balancers as they are to be run: whatever stands in them, every directive is told
//! once, and what they become reads as the same in Clearway's own language.

#![no_main]

use clearway_fuzz::assert_told_and_printed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some((language, text)) = data.split_first() {
        assert_told_and_printed(*language, &String::from_utf8_lossy(text));
    }
});
