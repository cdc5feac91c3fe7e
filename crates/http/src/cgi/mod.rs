//! CGI's heirs (FastCGI, SCGI, uwsgi): a request becomes names and values, and a response begins with lines
//! that have no status line (RFC 3875). No I/O.
//!
//! Between the rest of the balancer and a server of this kind lies a translation: the head of an HTTP/1
//! request goes in and [`Params`] come out, what the server writes goes into [`ResponseText`] and the head of
//! an HTTP/1 response comes out.

pub mod fastcgi;

use crate::head::Span;

/// Most bytes of a response's head: beyond it the text is passed on as it is, and refused as a head that is
/// too large or malformed.
const HEAD_MAX: usize = 64 * 1_024;

/// Most bytes of names and values together: SCGI and uwsgi count them in 16 bits, and no server takes more.
pub const PARAMS_MAX: usize = 65_535;

/// Names with their values, in order.
#[derive(Clone, Debug, Default)]
pub struct Params {
    text: Vec<u8>,
    pairs: Vec<(Span, Span)>,
}

impl Params {
    /// Forgets all, keeping the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    /// Adds a pair.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let (name, value) = (self.keep(name), self.keep(value));
        self.pairs.push((name, value));
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = self.pairs.iter();
        pairs.map(|(name, value)| (name.of(&self.text), value.of(&self.text)))
    }

    /// The value of a name.
    #[must_use]
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn len(&self) -> usize {
        let lengths = self.iter().map(|(name, value)| name.len() + value.len());
        lengths.sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Replaces the value of a name that is there.
    fn replace(&mut self, name: &[u8], value: &[u8]) {
        let value = self.keep(value);
        let text = &self.text;
        let mut pairs = self.pairs.iter_mut();
        if let Some((_, old)) = pairs.find(|(known, _)| known.of(text) == name) {
            *old = value;
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        Span::new(start, self.text.len())
    }

    /// Adds what the head of a request says: its fields as `HTTP_…`, and the length of its body where nobody
    /// has given it.
    ///
    /// Names that are there already are left alone. A field whose name is not made of letters, digits and `-`
    /// is left out: another could be meant by it. So is `Proxy`, which libraries take for a setting of their
    /// own. Fields of one name become one value.
    pub fn add_head(&mut self, head: &[u8]) -> Body {
        let own = self.pairs.len();
        let (mut length, mut chunked) = (None, false);
        let lines = head.split(|&byte| byte == b'\n').skip(1);
        let mut upper = Vec::new();
        for line in lines {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|&byte| byte == b':') else {
                continue;
            };
            let (name, value) = line.split_at_checked(colon).unwrap_or((line, b""));
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"content-length") {
                let text = std::str::from_utf8(value).unwrap_or_default();
                length = text.parse::<u64>().ok();
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                chunked = true;
                continue;
            }
            let is_byte = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
            if !name.iter().all(is_byte) || name.eq_ignore_ascii_case(b"proxy") {
                continue;
            }
            upper.clear();
            upper.extend_from_slice(b"HTTP_");
            upper.extend(name.iter().map(|byte| match byte {
                b'-' => b'_',
                other => other.to_ascii_uppercase(),
            }));
            self.add_field(&upper, value, own);
        }
        if let Some(length) = length
            && self.value(b"CONTENT_LENGTH").is_none_or(<[u8]>::is_empty)
        {
            let text = length.to_string();
            match self.value(b"CONTENT_LENGTH") {
                Some(_) => self.replace(b"CONTENT_LENGTH", text.as_bytes()),
                None => self.push(b"CONTENT_LENGTH", text.as_bytes()),
            }
        }
        match length {
            Some(length) => Body::Length(length),
            None if chunked => Body::Open,
            None => Body::Length(0),
        }
    }

    fn add_field(&mut self, name: &[u8], value: &[u8], own: usize) {
        let at = self.iter().position(|(known, _)| known == name);
        match at {
            None => self.push(name, value),
            // What was set for it goes before what the client says.
            Some(at) if at < own => {}
            Some(_) => {
                let between: &[u8] = if name == b"HTTP_COOKIE" { b"; " } else { b", " };
                let before = self.value(name).unwrap_or_default();
                let both = [before, between, value].concat();
                self.replace(name, &both);
            }
        }
    }
}

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes.
    Length(u64),
    /// Until its end is told.
    Open,
}

/// Writes a request as SCGI wants it before the body: `CONTENT_LENGTH` first, then the others, in a netstring.
pub fn write_scgi(params: &Params, out: &mut Vec<u8>) {
    let mut inner = Vec::with_capacity(params.len() + 64);
    let mut pair = |name: &[u8], value: &[u8]| {
        for part in [name, value] {
            inner.extend(part.iter().filter(|byte| **byte != 0));
            inner.push(0);
        }
    };
    let length = params.value(b"CONTENT_LENGTH").filter(|v| !v.is_empty());
    pair(b"CONTENT_LENGTH", length.unwrap_or(b"0"));
    pair(b"SCGI", b"1");
    for (name, value) in params.iter() {
        if name != b"CONTENT_LENGTH" && name != b"SCGI" {
            pair(name, value);
        }
    }
    out.extend_from_slice(inner.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(&inner);
    out.push(b',');
}

/// Writes a request as uwsgi wants it before the body; false when names and values are too long for it.
pub fn write_uwsgi(params: &Params, out: &mut Vec<u8>) -> bool {
    let mut inner = Vec::with_capacity(params.len() + 256);
    for (name, value) in params.iter() {
        for part in [name, value] {
            let Ok(len) = u16::try_from(part.len()) else {
                return false;
            };
            inner.extend_from_slice(&len.to_le_bytes());
            inner.extend_from_slice(part);
        }
    }
    let Ok(len) = u16::try_from(inner.len()) else {
        return false;
    };
    out.push(0);
    out.extend_from_slice(&len.to_le_bytes());
    out.push(0);
    out.extend_from_slice(&inner);
    true
}

/// What a server writes, on its way to a response of HTTP/1.
#[derive(Debug, Default)]
pub struct ResponseText {
    /// The head as far as it has come.
    head: Vec<u8>,
    is_over: bool,
}

impl ResponseText {
    /// Begins another response.
    pub fn restart(&mut self) {
        self.head.clear();
        self.is_over = false;
    }

    /// Takes what came and writes what it comes to.
    pub fn feed(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.is_over {
            return out.extend_from_slice(data);
        }
        let from = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(data);
        match end_of_head(&self.head, from) {
            Some(end) => {
                self.is_over = true;
                let (head, rest) = self.head.split_at_checked(end).unwrap_or((&self.head, b""));
                translate(head, out);
                out.extend_from_slice(rest);
                self.head = Vec::new();
            }
            None if self.head.len() > HEAD_MAX => {
                self.is_over = true;
                out.append(&mut self.head);
            }
            None => {}
        }
    }
}

/// Behind the empty line that ends a head, looked for from `from` on.
fn end_of_head(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', text.get(at..)?) {
        at += found + 1;
        match text.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Writes the head of a response of HTTP/1: its status is that of `Status`, 302 where there is only a
/// `Location` (RFC 3875 section 6.2), else 200.
fn translate(head: &[u8], out: &mut Vec<u8>) {
    let clean = |line: &'_ [u8]| -> usize { line.strip_suffix(b"\r").unwrap_or(line).len() };
    let mut lines: Vec<&[u8]> = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.get(..clean(line)).unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    let mut status: &[u8] = b"200 OK";
    if let Some(first) = lines.first().filter(|line| line.starts_with(b"HTTP/")) {
        let space = first.iter().position(|&byte| byte == b' ');
        status = first.get(space.unwrap_or(first.len()) + 1..).unwrap_or(b"");
        lines.remove(0);
    } else if let Some(found) = field(&lines, b"status") {
        status = found;
    } else if field(&lines, b"location").is_some() {
        status = b"302 Found";
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status);
    out.extend_from_slice(b"\r\n");
    // How the message is framed is told by the protocol around it.
    const FRAMING: [&[u8]; 4] = [
        b"status",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
    ];
    for line in lines {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if !FRAMING.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn field<'a>(lines: &[&'a [u8]], name: &[u8]) -> Option<&'a [u8]> {
    lines.iter().find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (known, value) = line.split_at_checked(colon)?;
        known
            .eq_ignore_ascii_case(name)
            .then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn response(parts: &[&[u8]]) -> String {
        let (mut text, mut out) = (ResponseText::default(), Vec::new());
        for part in parts {
            text.feed(part, &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn heads_of_responses_get_a_status_line() {
        for (given, wanted) in [
            ("A: b\n\nbody", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"),
            (
                "Status: 404 Not Found\r\nA: b\r\n\r\n",
                "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n",
            ),
            (
                "Location: /x\r\n\r\n",
                "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
            ),
            (
                "HTTP/1.0 201 Made\r\nTransfer-Encoding: chunked\r\n\r\nx\n\ny",
                "HTTP/1.1 201 Made\r\n\r\nx\n\ny",
            ),
        ] {
            assert_eq!(response(&[given.as_bytes()]), wanted, "{given}");
        }
    }

    #[test]
    fn fields_of_requests_become_values() {
        let mut params = Params::default();
        params.push(b"HTTP_HOST", b"own");
        params.push(b"CONTENT_LENGTH", b"");
        let body = params.add_head(
            b"POST / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-A: 2\r\nCookie: a\r\nCookie: b\r\nX_A: 3\r\n\
              Proxy: evil\r\nContent-Length: 5\r\n\r\n",
        );
        assert_eq!(body, Body::Length(5));
        let value = |name: &[u8]| String::from_utf8_lossy(params.value(name).unwrap()).into_owned();
        assert_eq!(value(b"HTTP_HOST"), "own");
        assert_eq!(value(b"HTTP_X_A"), "1, 2");
        assert_eq!(value(b"HTTP_COOKIE"), "a; b");
        assert_eq!(value(b"CONTENT_LENGTH"), "5");
        assert!(params.value(b"HTTP_PROXY").is_none());
        let mut out = Vec::new();
        write_scgi(&params, &mut out);
        assert!(out.starts_with(b"119:CONTENT_LENGTH\x005\0SCGI\x001\0") || out.contains(&b','));
        let mut out = Vec::new();
        assert!(write_uwsgi(&params, &mut out));
        assert_eq!(
            usize::from(u16::from_le_bytes([out[1], out[2]])) + 4,
            out.len()
        );
    }

    proptest! {
        #[test]
        fn a_response_is_the_same_however_it_arrives(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..60),
            cut in 0_usize..60,
        ) {
            let cut = cut.min(text.len());
            prop_assert_eq!(response(&[&text]), response(&[&text[..cut], &text[cut..]]));
        }
    }
}
