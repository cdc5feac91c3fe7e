//! Objects of JSON, one to a line, by their outermost keys: enough for access logs, without a tree.

/// Calls `each` with every key and value of the object that the line is. Texts come without their quotes
/// and as they were escaped; objects and lists inside come as they stand. `None` where it is no object.
pub(super) fn each<'a>(line: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let mut rest = line
        .trim_ascii_start()
        .strip_prefix(b"{")?
        .trim_ascii_start();
    if rest.first() == Some(&b'}') {
        return Some(());
    }
    loop {
        let (key, after) = string(rest)?;
        let after = after.trim_ascii_start().strip_prefix(b":")?;
        let (value, after) = value(after.trim_ascii_start())?;
        each(key, value);
        let after = after.trim_ascii_start();
        rest = match after.split_first()? {
            (b',', more) => more.trim_ascii_start(),
            (b'}', _) => return Some(()),
            _ => return None,
        };
    }
}

/// A text in quotes, and what follows.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"\"")?;
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', inside.get(from..)?)?;
        if inside.get(at) == Some(&b'"') {
            return Some((inside.get(..at)?, inside.get(at + 1..)?));
        }
        from = at + 2;
    }
}

fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match text.first()? {
        b'"' => string(text),
        b'{' | b'[' => nested(text),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}') || byte.is_ascii_whitespace();
            let end = text.iter().position(ends)?;
            text.split_at_checked(end)
        }
    }
}

/// An object or a list as it stands: up to the bracket that closes it.
fn nested(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut depth, mut rest) = (0_u32, text);
    loop {
        let at = rest
            .iter()
            .position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'))?;
        let tail = rest.get(at..)?;
        match tail.first()? {
            b'"' => {
                rest = string(tail)?.1;
                continue;
            }
            b'{' | b'[' => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        rest = tail.get(1..)?;
        if depth == 0 {
            return text.split_at_checked(text.len() - rest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        let owned = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        each(line.as_bytes(), |key, value| {
            found.push((owned(key), owned(value)));
        })?;
        Some(found)
    }

    #[test]
    fn the_outermost_keys_are_told() {
        let line = r#" {"a" : "x\"y", "b":-1.5,"c":{"d":[1,"}"]},"e":null,"f":"\\"} "#;
        let expected = [
            ("a", r#"x\"y"#),
            ("b", "-1.5"),
            ("c", r#"{"d":[1,"}"]}"#),
            ("e", "null"),
            ("f", r"\\"),
        ];
        let found = pairs(line).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(pairs("{}"), Some(Vec::new()));
        for broken in ["", "[]", "{", "{\"a", "{\"a\":", "{\"a\":[}", "{\"a\":1"] {
            assert_eq!(pairs(broken), None, "{broken}");
        }
    }
}
