//! What the fuzz targets share: how input arrives in pieces, and what must hold of what is read.

use std::collections::BTreeMap;

use clearway_config::foreign::{self, Environment};

/// Splits the fuzzer's input into the bytes under test and the ends of the pieces they arrive in; the
/// last one is the end of all. The input's first two bytes say where it is cut.
#[must_use]
pub fn pieces(data: &[u8]) -> Option<(&[u8], Vec<usize>)> {
    let (&[first, step], bytes) = data.split_first_chunk::<2>()?;
    let mut ends = Vec::new();
    if step > 0 {
        ends.extend((first.into()..bytes.len()).step_by(step.into()));
    }
    ends.push(bytes.len());
    Some((bytes, ends))
}

/// Panics unless every directive of a foreign configuration is told once, and what it becomes reads as the
/// same in Clearway's own language. An even `language` is HAProxy, an odd one NGINX.
pub fn assert_told_and_printed(language: u8, text: &str) {
    let made = if language % 2 == 0 {
        let mut environment = Environment::new(BTreeMap::<String, String>::new());
        foreign::haproxy_text("x.cfg", text, &mut environment)
    } else {
        foreign::nginx_text("x.conf", text)
    };
    let mut places: Vec<_> = made
        .directives
        .iter()
        .map(|directive| {
            (
                &directive.origin.file,
                directive.origin.line,
                directive.origin.column,
            )
        })
        .collect();
    let count = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), count);
    if made.loaded.has_errors() {
        return;
    }
    let printed = clearway_config::print::print(&made.loaded.config);
    let again = clearway_config::parse("converted", &printed);
    assert!(again.config == made.loaded.config, "{printed}");
}

/// Panics if `text` is more than one line or could do something to a terminal.
pub fn assert_plain(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Whether bytes could end a line for anybody.
#[must_use]
pub fn breaks(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
