//! Request heads of any bytes: the same however they arrive, and passed on soundly.

#![no_main]

use clearway_fuzz::{breaks, pieces};
use clearway_http::{
    Edits, ForwardPolicy, Framing, HeadLimits, Progress, RequestHead, XForwarded, encode_request,
};
use libfuzzer_sys::fuzz_target;

const POLICY: ForwardPolicy<'static> = ForwardPolicy {
    client: None,
    proto: "http",
    port: None,
    via: Some("clearway"),
    mode: XForwarded::Append,
    forwarded: true,
    trusted: false,
    frames: false,
};

fuzz_target!(|data: &[u8]| {
    let Some((bytes, ends)) = pieces(data) else {
        return;
    };
    let limits = HeadLimits::default();
    let mut head = RequestHead::default();
    let whole = head.parse(bytes, &limits);
    let mut other = RequestHead::default();
    let mut in_pieces = Ok(Progress::Partial);
    for end in ends {
        in_pieces = other.parse(&bytes[..end], &limits);
        if in_pieces != Ok(Progress::Partial) {
            break;
        }
    }
    // Of several things that are wrong, any may be told.
    assert_eq!(in_pieces.ok(), whole.ok());
    if whole != Ok(Progress::Complete) {
        return;
    }
    assert_eq!((head.len, head.framing), (other.len, other.framing));
    assert!(head.len <= bytes.len());
    for span in [
        head.target,
        head.method_text,
        head.host,
        head.path,
        head.query,
    ] {
        assert!(!breaks(span.of(bytes)));
    }
    for field in &head.fields {
        assert!(!field.name.is_empty());
        assert!(!breaks(field.name.of(bytes)) && !breaks(field.value.of(bytes)));
    }

    let mut out = Vec::new();
    encode_request(&head, bytes, &Edits::default(), &POLICY, &mut out);
    let mut again = RequestHead::default();
    let limits = HeadLimits {
        line: usize::MAX,
        bytes: usize::MAX,
        count: usize::MAX,
        ..HeadLimits::default()
    };
    assert_eq!(
        again.parse(&out, &limits),
        Ok(Progress::Complete),
        "{}",
        out.escape_ascii()
    );
    assert_eq!(again.len, out.len());
    assert_eq!(again.method_text.of(&out), head.method_text.of(bytes));
    assert_eq!(again.host.of(&out), head.host.of(bytes));
    let expected = match head.framing {
        Framing::Length(0) => Framing::None,
        framing => framing,
    };
    assert_eq!(again.framing, expected);
});
