//! Response heads of any bytes: the same however they arrive, and without a line that is not theirs.

#![no_main]

use clearway_fuzz::{breaks, pieces};
use clearway_http::{HeadLimits, Method, Progress, ResponseHead};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((bytes, ends)) = pieces(data) else {
        return;
    };
    let limits = HeadLimits::default();
    for method in [Method::Get, Method::Head, Method::Connect] {
        let mut head = ResponseHead::default();
        let whole = head.parse(bytes, &limits, method);
        let mut other = ResponseHead::default();
        let mut in_pieces = Ok(Progress::Partial);
        for &end in &ends {
            in_pieces = other.parse(&bytes[..end], &limits, method);
            if in_pieces != Ok(Progress::Partial) {
                break;
            }
        }
        assert_eq!(in_pieces.ok(), whole.ok());
        if whole != Ok(Progress::Complete) {
            continue;
        }
        assert_eq!((head.len, head.framing), (other.len, other.framing));
        assert!(head.len <= bytes.len() && (100..1_000).contains(&head.status));
        assert!(!breaks(head.reason.of(bytes)));
        for field in &head.fields {
            assert!(!field.name.is_empty());
            assert!(!breaks(field.name.of(bytes)) && !breaks(field.value.of(bytes)));
        }
    }
});
