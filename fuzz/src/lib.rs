//! What the fuzz targets share: how input arrives in pieces.

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

/// Panics if `text` is more than one line or could do something to a terminal.
pub fn assert_plain(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Whether bytes could end a line for anybody.
#[must_use]
pub fn breaks(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}
