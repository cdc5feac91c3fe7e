//! Bytes of strangers as text that cannot break a line or a string.

/// Appends `bytes` as the inside of a JSON string: invalid UTF-8 becomes U+FFFD.
///
/// Controls beyond ASCII (U+0080 to U+009F) are escaped too, which JSON does not ask for: terminals take
/// some for the start of an escape sequence.
pub(crate) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |b: &u8| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\';
    if bytes.iter().all(is_plain) {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                c if c.is_control() => {
                    out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `text` for a terminal: what it would not show as it stands becomes `\u{…}`.
///
/// That is controls, and what changes the direction of writing or takes no place.
pub(crate) fn terminal(text: &str, out: &mut String) {
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\') {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
}

/// Appends `bytes` as NGINX does in its logs: quotes, backslashes, controls and non-ASCII as `\xHH`.
pub(crate) fn nginx(bytes: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        if !(0x20..0x7f).contains(&b) || b == b'"' || b == b'\\' {
            out.extend_from_slice(format!("\\x{b:02X}").as_bytes());
        } else {
            out.push(b);
        }
    }
}

/// Appends `bytes` as HAProxy does in its logs: `#HH`.
pub(crate) fn haproxy(bytes: &[u8], out: &mut Vec<u8>) {
    for &b in bytes {
        if !(0x20..0x7f).contains(&b) || b == b'"' || b == b'#' {
            out.extend_from_slice(format!("#{b:02X}").as_bytes());
        } else {
            out.push(b);
        }
    }
}

/// Appends `bytes` as HAProxy does with captured headers: `{`, `|` and `}` as `#HH`, too.
pub(crate) fn haproxy_capture(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.split_inclusive(|b| matches!(b, b'{' | b'|' | b'}')) {
        match part.split_last() {
            Some((&last @ (b'{' | b'|' | b'}'), before)) => {
                haproxy(before, out);
                out.extend_from_slice(format!("#{last:02X}").as_bytes());
            }
            _ => haproxy(part, out),
        }
    }
}

/// Appends `bytes` as they are but for controls, which become `\xHH`: those of ASCII, and in UTF-8 those
/// beyond it. A tab stays.
pub(crate) fn controls(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |b: &u8| (0x20..0x7f).contains(b) || *b == b'\t';
    if bytes.iter().all(is_plain) {
        return out.extend_from_slice(bytes);
    }
    let hex = |bytes: &[u8], out: &mut Vec<u8>| {
        for b in bytes {
            out.extend_from_slice(format!("\\x{b:02X}").as_bytes());
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut room = [0; 4];
            let text = c.encode_utf8(&mut room).as_bytes();
            match c.is_control() && c != '\t' {
                true => hex(text, out),
                false => out.extend_from_slice(text),
            }
        }
        hex(chunk.invalid(), out);
    }
}
