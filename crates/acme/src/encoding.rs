//! Base64 of either alphabet, for keys that operators paste.

/// Decodes base64 or base64url, padded or not (RFC 4648 sections 4 and 5).
///
/// # Errors
/// A sentence that does not repeat the text: it is a secret.
pub(crate) fn base64(text: &str) -> Result<Vec<u8>, String> {
    let body = text.trim().trim_end_matches('=');
    let mut out = Vec::with_capacity(body.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for (index, byte) in body.bytes().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return Err(format!("character {} is not base64", index + 1)),
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.extend((held >> bits).to_le_bytes().first());
        }
        held &= (1 << bits) - 1;
    }
    // One sextet alone is no byte, and what is left over must be zero.
    if bits >= 6 || held != 0 {
        return Err("base64 that ends in the middle of a byte".to_owned());
    }
    Ok(out)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text of others, fit for one line of ours: control characters become spaces, and it ends at `limit`
/// characters.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line: String = text
        .chars()
        .take(limit)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(limit).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_decode() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
            ("Zm9vYmE", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64("-_8=").unwrap(), [0xfb, 0xff]);
        assert_eq!(base64("+/8").unwrap(), [0xfb, 0xff]);
    }

    #[test]
    fn what_is_no_base64_is_refused_without_being_repeated() {
        for bad in ["Z", "Zg=x", "Zm 9v", "Zh=="] {
            let told = base64(bad).unwrap_err();
            assert!(!told.contains(bad), "{told}");
        }
    }

    #[test]
    fn foreign_text_stays_on_one_short_line() {
        assert_eq!(one_line("a\nb\u{1b}[2J", 80), "a b [2J");
        assert_eq!(one_line("aaaa", 3), "aaa…");
    }
}
