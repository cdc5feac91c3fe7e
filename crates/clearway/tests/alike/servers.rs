//! The servers of a case.

use clearway_testkit::behave::{self, closed_port};
use clearway_testkit::server::Conn;
use clearway_testkit::wait::elapse;
use clearway_testkit::{Authority, Request, Server, TlsServer};

use crate::case::Acts;

/// A server that runs, or an address at which none does.
pub(crate) struct Running {
    /// `127.0.0.1:1234` or `unix:/path`.
    pub(crate) address: String,
    server: Option<Server>,
    _guard: Option<Box<dyn std::any::Any>>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(name: char, acts: &Acts, authority: &Authority) -> Self {
        if matches!(acts, Acts::Refuse) {
            let (address, guard) = closed_port();
            return Self {
                address,
                server: None,
                _guard: Some(Box::new(guard)),
            };
        }
        let script = script(name, acts);
        let server = if matches!(acts, Acts::Tls) {
            TlsServer::with(&authority.issue(&["localhost", "example.org"])).script(script)
        } else if matches!(acts, Acts::Unix) {
            Server::script_unix(script)
        } else {
            Server::script(script)
        };
        Self {
            address: server.address().to_owned(),
            server: Some(server),
            _guard: None,
        }
    }

    /// The requests it got.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.server.as_ref().map(Server::seen).unwrap_or_default()
    }

    /// The bytes it got that are no requests.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.server.as_ref().map(Server::bytes).unwrap_or_default()
    }

    /// Waits for requests.
    pub(crate) fn wait(&self, count: usize) {
        if let Some(server) = &self.server {
            server.wait_requests(count);
        }
    }
}

type Script = Box<dyn Fn(Conn) + Send + Sync>;

fn script(name: char, acts: &Acts) -> Script {
    match acts.clone() {
        Acts::Name | Acts::Tls | Acts::Unix | Acts::Refuse => {
            Box::new(move |mut conn| tell(name, &mut conn))
        }
        Acts::Slow(time) => Box::new(move |mut conn| {
            while let Some(request) = conn.request() {
                elapse(time);
                if !answer(&mut conn, &request, &named(name, &request)) {
                    return;
                }
            }
        }),
        Acts::Fails(count) => Box::new(move |mut conn| {
            if conn.number < count {
                conn.request();
            } else {
                tell(name, &mut conn);
            }
        }),
        Acts::Proxied(1) => Box::new(move |mut conn| {
            if let Some(line) = conn.take_through(b"\r\n") {
                conn.record(&line);
                tell(name, &mut conn);
            }
        }),
        Acts::Proxied(_) => Box::new(move |mut conn| {
            if let Some(words) = proxy_v2(&mut conn) {
                conn.record(words.as_bytes());
                tell(name, &mut conn);
            }
        }),
        Acts::Continue => Box::new(behave::continue_then_ok()),
        Acts::Answer(bytes) => Box::new(move |mut conn| {
            let bytes = bytes.replace("$SELF", &conn.stream().local());
            while let Some(request) = conn.request() {
                if !answer(&mut conn, &request, &bytes) {
                    return;
                }
            }
        }),
        Acts::AnswerAndClose(bytes) => Box::new(behave::answer_and_close(bytes)),
        // How much of the body still comes is a matter of moments, so it is not recorded.
        Acts::AnswerEarly(bytes) => Box::new(move |mut conn| {
            if conn.request_head().is_some() {
                conn.send(&bytes);
                conn.half_close();
                while !conn.take_some().is_empty() {}
            }
        }),
        Acts::Silent => Box::new(behave::never_answer()),
        Acts::Close => Box::new(behave::close_after_request()),
        Acts::Reset => Box::new(behave::reset_after_request()),
        Acts::CloseOnAccept => Box::new(behave::close_on_accept()),
        Acts::Upgrade(protocol) => Box::new(behave::upgrade_echo(&protocol)),
        Acts::Raw => Box::new(behave::echo_raw()),
        Acts::Banner(text) => Box::new(move |mut conn| {
            conn.send(&text);
            while !conn.take_some().is_empty() {}
        }),
    }
}

fn tell(name: char, conn: &mut Conn) {
    while let Some(request) = conn.request() {
        if !answer(conn, &request, &named(name, &request)) {
            return;
        }
    }
}

/// Sends a response, of which a HEAD gets the head; false when the connection is over.
fn answer(conn: &mut Conn, request: &Request, bytes: &str) -> bool {
    let head = bytes.split_inclusive("\r\n\r\n").next().unwrap_or_default();
    let is_head = request.method == "HEAD";
    conn.send(if is_head { head } else { bytes }) && !closes(request)
}

fn closes(request: &Request) -> bool {
    let says = |word| request.headers.lists("connection", word);
    says("close") || (request.version == "HTTP/1.0" && !says("keep-alive"))
}

/// Takes a PROXY header of version 2 and says it in words.
fn proxy_v2(conn: &mut Conn) -> Option<String> {
    let head = conn.take(16)?;
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let rest = conn.take(length)?;
    let mut words = format!("PROXY v2 {:02x} {:02x}", head[12], head[13]);
    // TCP over IPv4: two addresses, two ports; after them extensions of a kind and a length.
    if let (0x11, Some((addresses, more))) = (head[13], rest.split_at_checked(12)) {
        for (ip, port) in [(0, 8), (4, 10)] {
            let ip: Vec<String> = addresses[ip..ip + 4].iter().map(u8::to_string).collect();
            let port = u16::from_be_bytes([addresses[port], addresses[port + 1]]);
            words.push_str(&format!(" {}:{port}", ip.join(".")));
        }
        words.push_str(&format!(" {more:02x?}"));
    } else {
        words.push_str(&format!(" {rest:02x?}"));
    }
    Some(words + "\n")
}

/// The response of a server that tells its name.
fn named(name: char, request: &Request) -> String {
    let name = name.to_ascii_lowercase();
    let asked = request.target.split_once("/status/").map(|(_, rest)| rest);
    let status: u16 = asked
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(200);
    let reason = if status == 200 { "OK" } else { "As Asked" };
    let body = format!("{name}\n");
    let framing = if matches!(status, 204 | 304) {
        String::new()
    } else {
        format!(
            "Content-Length: {}\r\nContent-Type: text/plain\r\n",
            body.len()
        )
    };
    let body = if framing.is_empty() { "" } else { &body };
    format!("HTTP/1.1 {status} {reason}\r\n{framing}X-Server: {name}\r\n\r\n{body}")
}
