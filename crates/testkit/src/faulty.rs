//! Behaviours of servers by name, for servers that run as a program of their own: they can be killed,
//! stopped, limited and run as another user.
//!
//! A behaviour is a word with options: `slow d=2s`, `raw end=rst text=HTTP/1.1\x20200\r\n`. Some
//! are about single requests and can differ by path; the others are about whole connections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::behave::{self, Script, TLS_ALERT, response};
use crate::h2::behave as h2;
use crate::h2::{Last, Reply};
use crate::message::Request;
use crate::scenario::duration;
use crate::server::Conn;
use crate::wait::{Watched, elapse};

/// What happens after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next request is read.
    Go,
    /// The connection is closed.
    Close,
    /// It is reset.
    Reset,
    /// Nothing, until the peer goes.
    Hang,
}

type Answerer = Box<dyn Fn(&mut Conn, &Request) -> Next + Send + Sync>;
type Connected = Box<dyn Fn(Conn) + Send + Sync>;

/// A parsed behaviour.
enum Behaviour {
    /// What is done with a request that was read.
    Request(Answerer),
    /// What is done with a connection.
    Connection(Connected),
}

/// The script of a server with a behaviour and others for single paths.
///
/// # Panics
/// When words are not known.
pub fn script(behave: &str, paths: &[(String, String)]) -> impl Script + use<> {
    let mut by_path: BTreeMap<String, Answerer> = BTreeMap::new();
    for (path, words) in paths {
        let Behaviour::Request(answer) = parse(words) else {
            panic!("{words:?} is not about single requests");
        };
        by_path.insert(path.clone(), answer);
    }
    let whole = match parse(behave) {
        Behaviour::Connection(_) if !by_path.is_empty() => {
            panic!("{behave:?} is not about single requests")
        }
        Behaviour::Connection(script) => script,
        Behaviour::Request(other) => Box::new(move |conn| serve(conn, &by_path, &other)),
    };
    move |conn| whole(conn)
}

fn serve(mut conn: Conn, by_path: &BTreeMap<String, Answerer>, other: &Answerer) {
    while let Some(request) = conn.request() {
        let path = request.target.split('?').next().unwrap_or_default();
        let answer = by_path.get(path).unwrap_or(other);
        match answer(&mut conn, &request) {
            Next::Go => {}
            Next::Close => return,
            Next::Reset => return conn.reset(),
            Next::Hang => {
                conn.drain();
                return;
            }
        }
    }
}

/// Options of a behaviour.
struct Words<'a> {
    text: &'a str,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).copied()
    }

    fn need(&self, key: &str) -> &'a str {
        self.get(key)
            .unwrap_or_else(|| panic!("{:?} lacks {key}=", self.text))
    }

    fn count(&self, key: &str, other: usize) -> usize {
        self.get(key).map_or(other, |text| {
            let number = text.parse();
            number.unwrap_or_else(|_| panic!("{key}={text} is no number"))
        })
    }

    fn time(&self, key: &str) -> Duration {
        duration(self.need(key)).unwrap_or_else(|| panic!("{key}= is no duration"))
    }

    fn end(&self) -> Next {
        match self.get("end").unwrap_or("fin") {
            "fin" => Next::Close,
            "rst" => Next::Reset,
            "hang" => Next::Hang,
            "keep" => Next::Go,
            other => panic!("end={other} is not known"),
        }
    }

    /// The bytes of `text=`, in which `\r`, `\n`, `\xNN` and `\\` stand for themselves, or of a file.
    fn bytes(&self) -> Vec<u8> {
        match self.get("file") {
            Some(path) => std::fs::read(path).expect("a file"),
            None => unescape(self.need("text")),
        }
    }
}

fn parse(text: &str) -> Behaviour {
    let mut parts = text.split_whitespace();
    let name = parts.next().unwrap_or_default();
    let options = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    let words = Words {
        text,
        options: options.collect(),
    };
    request_level(name, &words)
        .map(Behaviour::Request)
        .or_else(|| connection_level(name, &words).map(Behaviour::Connection))
        .unwrap_or_else(|| panic!("there is no behaviour {name:?}"))
}

fn request_level(name: &str, words: &Words<'_>) -> Option<Answerer> {
    let status = |code: usize| {
        let code = u16::try_from(code).expect("a status");
        response(code, words.get("body").unwrap_or("scripted"))
    };
    Some(match name {
        "ok" => fixed(sized(words.count("size", 5)), Next::Go),
        "status" => fixed(status(words.count("code", 500)), Next::Go),
        "slow" => {
            let (time, answer) = (words.time("d"), sized(words.count("size", 5)));
            Box::new(move |conn, _| {
                elapse(time);
                sent(conn, &answer, Next::Go)
            })
        }
        "close" => {
            let time = words.get("after").and_then(duration).unwrap_or_default();
            Box::new(move |_, _| {
                elapse(time);
                Next::Close
            })
        }
        "reset" => Box::new(|_, _| Next::Reset),
        "hang" => Box::new(|_, _| Next::Hang),
        "die" => Box::new(|_, _| std::process::abort()),
        "raw" => two_parts(words.bytes(), words),
        "body-short" => fixed(announced(1000, 300), words.end()),
        "body-stall" => fixed(announced(1000, 300), Next::Hang),
        "chunk-truncated" => fixed(chunked("5\r\nhello\r\n"), words.end()),
        "chunk-bad" => fixed(
            chunked("5\r\nhello\r\nZZ\r\nworld\r\n0\r\n\r\n"),
            Next::Hang,
        ),
        "trickle" => trickle(words),
        "big-headers" => fixed(with_headers(1, words.count("n", 40_000)), Next::Go),
        "many-headers" => fixed(with_headers(words.count("n", 200), 5), Next::Go),
        "needs-host" => needs_host(words.need("name")),
        "workers" => workers(words),
        "flapping" => flapping(words),
        "first" => first(words),
        "max-head" => {
            let most = words.count("n", 4096);
            chosen(move |r| r.head.len() <= most, words)
        }
        "max-body" => {
            let most = words.count("n", 65_536);
            chosen(move |r| r.body.len() <= most, words)
        }
        "needs-header" => {
            let (name, value) = words.need("is").split_once(':').expect("NAME:VALUE");
            let (name, value) = (name.to_owned(), value.to_owned());
            chosen(move |r| r.headers.lists(&name, &value), words)
        }
        _ => return None,
    })
}

fn connection_level(name: &str, words: &Words<'_>) -> Option<Connected> {
    Some(match name {
        "accept-close" => Box::new(behave::close_on_accept()),
        "accept-reset" => Box::new(behave::reset_on_accept()),
        "no-read" => Box::new(behave::never_read()),
        "banner" => {
            let (bytes, end) = (words.bytes(), words.end());
            Box::new(move |mut conn| {
                conn.send(&bytes);
                finish(conn, end);
            })
        }
        "idle-close" => idle_close(words),
        "nth-close" => nth_close(words),
        "early" => Box::new(early(words)),
        "alert" => {
            let mut alert = TLS_ALERT.to_vec();
            let code = words.count("code", 40);
            alert[6] = u8::try_from(code).expect("an alert");
            Box::new(move |mut conn| {
                conn.take_some();
                conn.send(&alert);
            })
        }
        "ws" => Box::new(behave::upgrade_echo("websocket")),
        "ws-close" => {
            let time = words.time("after");
            Box::new(move |conn| websocket(conn, time))
        }
        "echo" => Box::new(behave::echo_raw()),
        "needs-proxy-header" => Box::new(needs_proxy_header),
        "continue" => Box::new(behave::continue_then_ok()),
        "drip" => Box::new(behave::drip(
            sized(words.count("size", 100)),
            words.time("d"),
        )),
        "leak" => Box::new(leak),
        "h2-ok" => Box::new(h2::ok("fine")),
        "h2-refuse" => Box::new(h2::refuse(words.count("n", usize::MAX), Reply::ok("fine"))),
        "h2-goaway" => {
            let last = if words.get("taken").is_some() {
                Last::This
            } else {
                Last::Before
            };
            let code = u32::try_from(words.count("code", 0)).expect("a code of HTTP/2");
            Box::new(h2::goaway_after(words.count("n", 1), last, code, "fine"))
        }
        _ => return None,
    })
}

fn sized(count: usize) -> String {
    response(200, &"x".repeat(count))
}

fn announced(length: usize, sent: usize) -> String {
    let body = "x".repeat(sent);
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

fn with_headers(count: usize, length: usize) -> String {
    let value = "y".repeat(length);
    let lines: String = (0..count)
        .map(|n| format!("X-Filler-{n}: {value}\r\n"))
        .collect();
    format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n")
}

fn sent(conn: &mut Conn, bytes: impl AsRef<[u8]>, next: Next) -> Next {
    if conn.send(bytes) { next } else { Next::Close }
}

fn fixed(bytes: impl Into<Vec<u8>>, next: Next) -> Answerer {
    let bytes: Vec<u8> = bytes.into();
    Box::new(move |conn, _| sent(conn, &bytes, next))
}

/// Bytes, and after a pause the rest (`pause=`, `more=`).
fn two_parts(bytes: Vec<u8>, words: &Words<'_>) -> Answerer {
    let more = words
        .get("more")
        .map(|more| (words.time("pause"), unescape(more)));
    let end = words.end();
    Box::new(move |conn, _| {
        let next = sent(conn, &bytes, end);
        let Some((pause, more)) = &more else {
            return next;
        };
        elapse(*pause);
        sent(conn, more, next)
    })
}

/// A body of `n` bytes, one after each pause `d`.
fn trickle(words: &Words<'_>) -> Answerer {
    let (count, time) = (words.count("n", 10), words.time("d"));
    Box::new(move |conn, _| {
        conn.send(announced(count, 0));
        let whole = conn.drip(vec![b'x'; count], time);
        if whole { Next::Go } else { Next::Close }
    })
}

fn finish(mut conn: Conn, end: Next) {
    match end {
        Next::Close => drop(conn),
        Next::Reset => conn.reset(),
        Next::Hang | Next::Go => drop(conn.drain()),
    }
}

/// 400 for requests to other hosts than one's own.
fn needs_host(name: &str) -> Answerer {
    let name = name.to_owned();
    Box::new(move |conn, request| {
        let host = request.header("host").unwrap_or_default();
        let known = host.split(':').next() == Some(&name);
        let answer = if known {
            sized(5)
        } else {
            response(400, "Bad Request (Invalid Hostname)")
        };
        sent(conn, answer, Next::Go)
    })
}

/// What fits is served; what does not is refused as `code=`, or with an `end=` and no word.
fn chosen(fits: impl Fn(&Request) -> bool + Send + Sync + 'static, words: &Words<'_>) -> Answerer {
    let refusal = words
        .get("code")
        .map(|code| response(code.parse().expect("a status"), "refused"));
    let end = words.end();
    Box::new(move |conn, request| match &refusal {
        _ if fits(request) => sent(conn, sized(5), Next::Go),
        Some(refusal) => sent(conn, refusal, Next::Go),
        None => end,
    })
}

/// `n` requests are worked on at a time, `d` each; others wait inside.
fn workers(words: &Words<'_>) -> Answerer {
    let (count, time) = (words.count("n", 1), words.time("d"));
    let free = Arc::new(Watched::new(count));
    Box::new(move |conn, _| {
        let taken = free.wait(crate::wait::LIMIT, |free| {
            *free = free.checked_sub(1)?;
            Some(())
        });
        if taken.is_none() {
            return Next::Close;
        }
        elapse(time);
        free.change(|free| *free += 1);
        sent(conn, sized(5), Next::Go)
    })
}

/// `good` requests are answered, then `bad` ones get 500, over all connections.
fn flapping(words: &Words<'_>) -> Answerer {
    let (good, bad) = (words.count("good", 3), words.count("bad", 3));
    let seen = AtomicUsize::new(0);
    Box::new(move |conn, _| {
        let turn = seen.fetch_add(1, Ordering::SeqCst) % (good + bad);
        let answer = if turn < good {
            sized(5)
        } else {
            response(500, "flapping")
        };
        sent(conn, answer, Next::Go)
    })
}

/// The first `n` requests fail with `code` or by an `end`, all later ones are served.
fn first(words: &Words<'_>) -> Answerer {
    let count = words.count("n", 1);
    let seen = AtomicUsize::new(0);
    chosen(move |_| seen.fetch_add(1, Ordering::SeqCst) >= count, words)
}

/// Serves, and ends connections that are idle for `t`, as `how` says.
fn idle_close(words: &Words<'_>) -> Connected {
    let time = words.time("t");
    let how = words.get("how").unwrap_or("fin").to_owned();
    Box::new(move |mut conn| {
        drop(conn.stream().set_timeout(time));
        while conn.request().is_some() {
            if !conn.send(sized(5)) {
                return;
            }
        }
        match how.as_str() {
            "rst" => conn.reset(),
            "408" => {
                conn.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            _ => {}
        }
    })
}

/// Answers `n` requests per connection and ends it with the next, without a word about it.
fn nth_close(words: &Words<'_>) -> Connected {
    let count = words.count("n", 2);
    match words.end() {
        Next::Reset => Box::new(behave::reset_after(count)),
        Next::Close | Next::Hang | Next::Go => Box::new(behave::close_after(count)),
    }
}

/// Refuses before the body is there, and closes with the rest unread: a reset for who still sends.
fn early(words: &Words<'_>) -> impl Fn(Conn) + Send + Sync + use<> {
    let code = u16::try_from(words.count("code", 413)).expect("a status");
    let silent = words.get("silent").is_some();
    move |mut conn| {
        if conn.request_head().is_some() && !silent {
            conn.send(response(code, "too large"));
        }
    }
}

/// Switches protocols, is silent and ends the connection after a time.
fn websocket(mut conn: Conn, time: Duration) {
    if conn.request_head().is_some() {
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        elapse(time);
    }
}

/// Serves connections that begin with a PROXY header and ends others, as HAProxy and NGINX do.
fn needs_proxy_header(mut conn: Conn) {
    let Some(line) = conn.take_through(b"\n") else {
        return;
    };
    if !line.starts_with(b"PROXY ") {
        return;
    }
    while conn.request().is_some() {
        if !conn.send(sized(5)) {
            return;
        }
    }
}

/// Serves and never closes: sockets whose peer has gone stay open.
fn leak(mut conn: Conn) {
    while conn.request().is_some() {
        if !conn.send(sized(5)) {
            break;
        }
    }
    conn.hold();
}

/// `\r`, `\n`, `\0`, `\s` (a space), `\\` and `\xNN`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b's') => b' ',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [bytes.next(), bytes.next()].map(|d| d.unwrap_or(b'?'));
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).expect("two digits")
            }
            other => panic!("an escape that is not known: {other:?}"),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::message::End;
    use crate::server::Server;

    #[test]
    fn paths_differ() {
        let paths = [("/bad".to_owned(), "status code=503".to_owned())];
        let server = Server::script(script("ok size=3", &paths));
        let mut client = Client::connect(server.address());
        assert_eq!(client.get("/").text(), "xxx");
        assert_eq!(client.get("/bad?x").status, 503);
    }

    #[test]
    fn raw_bytes_and_ends() {
        let server = Server::script(script("raw text=HTTP/1.1\\s200\\x20OK\\r\\n end=rst", &[]));
        let mut client = Client::connect(server.address());
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let (bytes, end) = client.read_to_end();
        assert!(b"HTTP/1.1 200 OK\r\n".starts_with(&bytes), "{bytes:?}");
        assert_eq!(end, End::Reset);
    }

    #[test]
    fn a_server_can_fail_and_recover() {
        let server = Server::script(script("first n=2 code=500", &[]));
        let mut client = Client::connect(server.address());
        let statuses = [0; 3].map(|_| client.get("/").status);
        assert_eq!(statuses, [500, 500, 200]);
    }

    #[test]
    #[should_panic(expected = "there is no behaviour")]
    fn unknown_words_are_told() {
        drop(parse("nothing"));
    }
}
