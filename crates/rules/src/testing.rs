//! Requests for tests.

use clearway_base::intern::Name;
use clearway_http::{
    Edits, ForwardPolicy, Framing, HeadLimits, Method, Progress, RequestHead, ResponseHead,
    ResponseOptions, Version, XForwarded, encode_request, encode_response,
};
use clearway_outcome::{Address, RequestId, TlsFacts};

use crate::View;

/// A request, and perhaps its response, with what they were parsed from.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) head: RequestHead,
    pub(crate) buf: Vec<u8>,
    pub(crate) response: Option<(ResponseHead, Vec<u8>)>,
    pub(crate) client: Address,
    pub(crate) listener: Name,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) id: RequestId,
}

/// `GET TARGET` with header lines.
pub(crate) fn get(target: &str, headers: &[&str]) -> Asked {
    ask(&format!("GET {target}"), headers)
}

/// `METHOD TARGET` with header lines; `Host: test` unless one is given.
pub(crate) fn ask(line: &str, headers: &[&str]) -> Asked {
    let mut text = format!("{line} HTTP/1.1\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text.push_str("Host: test\r\n");
    }
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    let mut head = RequestHead::default();
    let parsed = head.parse(text.as_bytes(), &HeadLimits::default());
    assert_eq!(parsed, Ok(Progress::Complete), "{text}");
    Asked {
        head,
        buf: text.into_bytes(),
        response: None,
        client: Address::Ip("192.0.2.7:40000".parse().unwrap()),
        listener: Name::new("web"),
        tls: None,
        id: RequestId(1),
    }
}

impl Asked {
    /// The same with a response.
    pub(crate) fn answered(mut self, text: &str) -> Self {
        let mut head = ResponseHead::default();
        let parsed = head.parse(text.as_bytes(), &HeadLimits::default(), Method::Get);
        assert_eq!(parsed, Ok(Progress::Complete), "{text}");
        self.response = Some((head, text.as_bytes().to_vec()));
        self
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            head: &self.head,
            buf: &self.buf,
            client: self.client,
            listener: self.listener,
            scheme: "http",
            tls: self.tls.as_ref(),
            id: self.id,
            response: self
                .response
                .as_ref()
                .map(|(head, buf)| (head, buf.as_slice())),
            backend: Name::new("app"),
            server: Name::new("app1"),
            around: None,
            port: Some(80),
            edits: None,
            attempts: &[],
        }
    }

    /// The request as a server would see it.
    pub(crate) fn forwarded(&self, edits: &Edits) -> String {
        let policy = ForwardPolicy {
            client: None,
            proto: "http",
            port: None,
            via: None,
            mode: XForwarded::Off,
            forwarded: false,
            trusted: true,
            frames: false,
        };
        let mut out = Vec::new();
        encode_request(&self.head, &self.buf, edits, &policy, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The response as the client would see it.
    pub(crate) fn delivered(&self, edits: &Edits) -> String {
        let (head, buf) = self.response.as_ref().unwrap();
        let options = ResponseOptions {
            client_version: Version::Http11,
            keep_alive: true,
            framing: Framing::None,
            via: None,
            upgrade: false,
        };
        let mut out = Vec::new();
        encode_response(head, buf, edits, &options, &mut out);
        String::from_utf8(out).unwrap()
    }
}
