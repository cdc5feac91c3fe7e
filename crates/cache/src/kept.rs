//! A response that is kept: for which requests it is, and how its head is given again.

use std::sync::Arc;

use clearway_http::Field;

use crate::keep::{Request, Response, Terms, list, values};

/// The value of a field.
type Value = Box<[u8]>;

/// A response that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Status line and fields with the empty line, without those of one connection; `Content-Length` last.
    pub head: Box<[u8]>,
    /// The body.
    pub body: Arc<[u8]>,
    /// Fields that the request has to have, by name in lower case.
    variant: Vec<(Box<str>, Box<[u8]>)>,
    /// For how long it is good.
    pub terms: Terms,
    /// `ETag` and `Last-Modified`, to ask whether it has changed.
    pub validators: (Option<Value>, Option<Value>),
}

impl Kept {
    /// A response with its whole body.
    #[must_use]
    pub fn new(
        request: Request<'_>,
        (response, buf): Response<'_>,
        body: Arc<[u8]>,
        terms: Terms,
    ) -> Self {
        let reason = String::from_utf8_lossy(response.reason.of(buf));
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", response.status).into_bytes();
        for field in response.fields.iter().filter(|f| is_kept(f, buf)) {
            line(&mut head, field, buf);
        }
        head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        let first = |name| values(&response.fields, buf, name).next().map(Box::from);
        Self {
            head: head.into(),
            body,
            variant: variant(request, (response, buf)),
            terms,
            validators: (first("etag"), first("last-modified")),
        }
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: Arc<[u8]>) -> Self {
        let old = format!("Content-Length: {}\r\n\r\n", self.body.len());
        let mut head = self.head.into_vec();
        head.truncate(head.len().saturating_sub(old.len()));
        head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.head = head.into();
        self.body = body;
        self
    }

    /// The same after the server said that it has not changed (RFC 9111 section 4.3.4): `old` is its head,
    /// parsed, and fields of the answer take the place of those it had.
    #[must_use]
    pub fn refreshed(&self, old: Response<'_>, (answer, buf): Response<'_>, terms: Terms) -> Self {
        let is_new = |field: &Field| {
            is_kept(field, buf) && !field.name.of(buf).eq_ignore_ascii_case(b"content-encoding")
        };
        let (response, old_buf) = old;
        let reason = String::from_utf8_lossy(response.reason.of(old_buf));
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", response.status).into_bytes();
        for field in response.fields.iter().filter(|f| is_kept(f, old_buf)) {
            let name = field.name.of(old_buf);
            let mut newer = answer.fields.iter().filter(|f| is_new(f));
            if !newer.any(|f| f.name.of(buf).eq_ignore_ascii_case(name)) {
                line(&mut head, field, old_buf);
            }
        }
        for field in answer.fields.iter().filter(|f| is_new(f)) {
            line(&mut head, field, buf);
        }
        head.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        Self {
            head: head.into(),
            body: Arc::clone(&self.body),
            variant: self.variant.clone(),
            terms,
            validators: self.validators.clone(),
        }
    }

    /// Whether it is for a request (RFC 9111 section 4.1).
    #[must_use]
    pub fn is_for(&self, request: Request<'_>) -> bool {
        self.variant
            .iter()
            .all(|(name, value)| joined(request, name) == **value)
    }

    /// Whether another is for the same requests.
    #[must_use]
    pub fn is_same_variant(&self, other: &Self) -> bool {
        self.variant == other.variant
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let variant: usize = self
            .variant
            .iter()
            .map(|(n, v)| n.len() + v.len() + 32)
            .sum();
        (self.head.len() + self.body.len() + variant + 256) as u64
    }
}

/// What is not about the connection it came by, nor about a moment on the way.
fn is_kept(field: &Field, buf: &[u8]) -> bool {
    let name = field.name.of(buf);
    let goes = ["content-length", "age", "proxy-status", "trailer"];
    !field.hop
        && !goes
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn line(head: &mut Vec<u8>, field: &Field, buf: &[u8]) {
    head.extend_from_slice(field.name.of(buf));
    head.extend_from_slice(b": ");
    head.extend_from_slice(field.value.of(buf));
    head.extend_from_slice(b"\r\n");
}

fn variant(request: Request<'_>, (response, buf): Response<'_>) -> Vec<(Box<str>, Box<[u8]>)> {
    let mut variant: Vec<(Box<str>, Box<[u8]>)> = Vec::new();
    for value in values(&response.fields, buf, "vary") {
        for name in list(value) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            if variant.iter().all(|(known, _)| **known != *name) {
                let value = joined(request, &name).into();
                variant.push((name.into(), value));
            }
        }
    }
    variant.sort();
    variant
}

/// The values of a field of the request, in one line without the spaces around commas.
fn joined((head, buf): Request<'_>, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for item in values(&head.fields, buf, name).flat_map(list) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use clearway_http::{HeadLimits, Method, Progress, RequestHead, ResponseHead};

    use super::*;

    fn lines(text: &str) -> String {
        let lines = text.split('|').filter(|line| !line.is_empty());
        lines.map(|line| format!("{line}\r\n")).collect()
    }

    /// A request with these fields.
    pub(crate) fn request(fields: &str) -> (RequestHead, Vec<u8>) {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(fields));
        let mut head = RequestHead::default();
        let parsed = head.parse(text.as_bytes(), &HeadLimits::default());
        assert_eq!(parsed, Ok(Progress::Complete), "{text}");
        (head, text.into_bytes())
    }

    /// A response: its status, then fields.
    pub(crate) fn response(text: &str) -> (ResponseHead, Vec<u8>) {
        let (status, fields) = text.split_once('|').unwrap_or((text, ""));
        let text = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{}\r\n",
            lines(fields)
        );
        (parsed(text.as_bytes()), text.into_bytes())
    }

    fn parsed(text: &[u8]) -> ResponseHead {
        let mut head = ResponseHead::default();
        let parsed = head.parse(text, &HeadLimits::default(), Method::Get);
        assert_eq!(parsed, Ok(Progress::Complete));
        head
    }

    fn kept(ask: &str, answer: &str) -> Kept {
        let (request, response) = (request(ask), response(answer));
        Kept::new(
            (&request.0, &request.1),
            (&response.0, &response.1),
            b"body".as_slice().into(),
            Terms::default(),
        )
    }

    fn is_for(kept: &Kept, ask: &str) -> bool {
        let request = request(ask);
        kept.is_for((&request.0, &request.1))
    }

    #[test]
    fn variants_are_told_apart_by_what_they_depend_on() {
        let german = kept(
            "X-Lang: de|X-Other: 1",
            "200|Vary: X-Lang, Accept|Connection: x|X: y",
        );
        assert!(is_for(&german, "X-Lang: de"));
        assert!(is_for(&german, "X-Lang:  de |X-Other: 2"));
        assert!(!is_for(&german, "X-Lang: en"));
        assert!(!is_for(&german, ""));
        assert!(!is_for(&german, "X-Lang: de|Accept: text/html"));
        let head = String::from_utf8(german.head.to_vec()).unwrap();
        assert!(!head.contains("\r\nX: y\r\n"), "{head}");
        assert!(head.ends_with("Content-Length: 4\r\n\r\n"), "{head}");
        assert!(!head.contains("Connection"), "{head}");
    }

    #[test]
    fn an_answer_that_nothing_changed_renews_the_head() {
        let old = kept("", "200|ETag: \"a\"|Cache-Control: max-age=1|X-Keep: 1");
        let head = parsed(&old.head);
        let (answer, buf) = response("304|ETag: \"a\"|Cache-Control: max-age=9|Date: now");
        let terms = Terms {
            fresh_until: 9,
            ..Terms::default()
        };
        let new = old.refreshed((&head, &old.head), (&answer, &buf), terms);
        let text = String::from_utf8(new.head.to_vec()).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 X\r\n"), "{text}");
        assert!(
            text.contains("max-age=9") && !text.contains("max-age=1\r"),
            "{text}"
        );
        assert!(text.contains("X-Keep: 1\r\n"), "{text}");
        assert_eq!(text.matches("ETag").count(), 1, "{text}");
        assert_eq!(
            (new.body.as_ref(), new.terms.fresh_until),
            (&b"body"[..], 9)
        );
    }
}
