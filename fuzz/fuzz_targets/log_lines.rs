//! Lines of logs, in every format there is: what is told of them is plain, bounded, and the same however the
//! file arrives.

#![no_main]

use clearway_fuzz::assert_plain;
use clearway_telemetry::read::{Format, Reader, Zone};
use libfuzzer_sys::fuzz_target;

/// What a reader tells of the parts of a file, and how many lines it understood.
fn told(format: Format, parts: &[&[u8]]) -> (Vec<String>, u64) {
    let Ok(mut reader) = Reader::new(format, Zone(0)) else {
        panic!("{format:?} has a default");
    };
    let mut out = Vec::new();
    for part in parts {
        reader.feed("x.log", part, &mut |seen| {
            assert!(seen.words.len() <= 1_000, "{}", seen.words.len());
            // What a terminal could be told by is cut out of words; other texts are shown escaped.
            assert_plain(seen.words);
            for text in [seen.path, seen.address, seen.host] {
                assert!(!text.contains('\n'));
            }
            out.push(format!(
                "{} {} {:?}",
                seen.place.line, seen.words, seen.suspects
            ));
        });
    }
    reader.end("x.log", &mut |_| ());
    (out, reader.stats().understood)
}

fuzz_target!(|data: &[u8]| {
    let Some((at, text)) = data.split_first() else {
        return;
    };
    let at = usize::from(*at) % (text.len() + 1);
    let (first, second) = text.split_at(at);
    for format in Format::ALL {
        assert_eq!(told(*format, &[text]), told(*format, &[first, second]));
    }
});
