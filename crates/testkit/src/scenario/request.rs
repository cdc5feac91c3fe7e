//! Sending a scenario's requests and saying what became of each.

use std::thread::JoinHandle;

use super::file::{Request, Way};
use crate::client::Client;
use crate::message::{End, Response};
use crate::stream::Stream;
use crate::wait::elapse;

/// What became of a request: a status, `cut` (a response that began and is not whole), or how the
/// connection ended without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) word: String,
    pub(super) body: String,
    /// What `Set-Cookie` said.
    cookie: Option<String>,
}

impl Outcome {
    fn of(word: &str) -> Self {
        Self {
            word: word.to_owned(),
            body: String::new(),
            cookie: None,
        }
    }
}

/// The client's side: the connection that requests share, and those under way.
#[derive(Debug, Default)]
pub(super) struct Clients {
    kept: Option<Client>,
    /// The cookie that requests on it send, as a browser does.
    cookie: Option<String>,
    under_way: Vec<JoinHandle<Vec<Outcome>>>,
    expected: Vec<Request>,
    /// What became of those that are over.
    pub(super) outcomes: Vec<Outcome>,
}

impl Clients {
    /// Makes requests; problems in words.
    pub(super) fn make(&mut self, address: &str, request: &Request) -> Vec<String> {
        if request.keep {
            return self.one_by_one(address, request);
        }
        let threads: Vec<_> = (0..request.parallel)
            .map(|_| {
                let (address, request) = (address.to_owned(), request.clone());
                std::thread::spawn(move || series(&address, &request))
            })
            .collect();
        if request.background {
            self.expected
                .extend(threads.iter().map(|_| request.clone()));
            self.under_way.extend(threads);
            return Vec::new();
        }
        let ended = threads.into_iter().flat_map(joined).collect::<Vec<_>>();
        let problems = ended.iter().filter_map(|o| problem(request, o)).collect();
        self.outcomes.extend(ended);
        problems
    }

    /// On the connection that is kept, and with its cookie.
    fn one_by_one(&mut self, address: &str, request: &Request) -> Vec<String> {
        let mut problems = Vec::new();
        for turn in 0..request.count {
            if turn > 0 {
                elapse(request.every);
            }
            let mut request = request.clone();
            let cookie = self.cookie.clone();
            request
                .headers
                .extend(cookie.map(|cookie| ("cookie".to_owned(), cookie)));
            let client = self.kept.take().unwrap_or_else(|| Client::connect(address));
            let (outcome, client) = exchange(client, &request);
            self.kept = client;
            if outcome.cookie.is_some() {
                self.cookie.clone_from(&outcome.cookie);
            }
            problems.extend(problem(&request, &outcome));
            self.outcomes.push(outcome);
        }
        problems
    }

    /// Waits for what is under way.
    pub(super) fn join(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        let expected = std::mem::take(&mut self.expected);
        for (thread, request) in self.under_way.drain(..).zip(expected) {
            let ended = joined(thread);
            problems.extend(ended.iter().filter_map(|o| problem(&request, o)));
            self.outcomes.extend(ended);
        }
        problems
    }
}

fn joined(thread: JoinHandle<Vec<Outcome>>) -> Vec<Outcome> {
    thread
        .join()
        .unwrap_or_else(|_| vec![Outcome::of("the client failed")])
}

fn series(address: &str, request: &Request) -> Vec<Outcome> {
    (0..request.count)
        .map(|turn| {
            if turn > 0 {
                elapse(request.every);
            }
            match Stream::connect(address) {
                Ok(stream) => exchange(Client::over(stream), request).0,
                Err(error) => Outcome::of(&format!("no connection: {error}")),
            }
        })
        .collect()
}

fn problem(request: &Request, outcome: &Outcome) -> Option<String> {
    let Outcome { word, body, .. } = outcome;
    let expected = &request.expect;
    let name = format!("{} {}", request.method, request.path);
    if !expected.is_empty() && !expected.contains(word) {
        return Some(format!("{name}: {word} instead of {expected:?}: {body}"));
    }
    let wanted = request.contains.as_ref()?;
    (!body.contains(wanted)).then(|| format!("{name}: {wanted:?} is not in {body:?}"))
}

/// One request; the client, when its connection can carry another.
fn exchange(mut client: Client, request: &Request) -> (Outcome, Option<Client>) {
    let bytes = bytes(request);
    if let Some(pause) = request.drip {
        client.drip(&bytes, pause);
    } else {
        // A response may come before all of it is taken.
        client.try_send(&bytes);
    }
    if let Some(time) = request.leave {
        if request.way == Way::Deaf {
            elapse(time);
        } else if client.hears_within(time) {
            return (Outcome::of("answered before it left"), None);
        }
        if request.way == Way::Reset {
            client.reset();
        }
        return (Outcome::of("left"), None);
    }
    match client.try_response(&request.method) {
        Ok(response) => {
            let outcome = answered(&response);
            if let Some(time) = request.stay {
                client.hears_within(time);
                return (outcome, None);
            }
            let whole = outcome.word != "cut" && !response.closes() && response.status != 101;
            (outcome, whole.then_some(client))
        }
        Err(End::Reset) => (Outcome::of("reset"), None),
        Err(End::TimedOut) => (Outcome::of("silence"), None),
        Err(End::Malformed(words)) => (Outcome::of(&words), None),
        Err(End::Complete | End::UntilClose | End::Truncated) => (Outcome::of("closed"), None),
    }
}

fn answered(response: &Response) -> Outcome {
    let word = match response.end {
        End::Complete | End::UntilClose => response.status.to_string(),
        End::Truncated | End::Reset | End::TimedOut | End::Malformed(_) => "cut".to_owned(),
    };
    let body = response.text().chars().take(300).collect();
    let cookie = response.headers.all("set-cookie").first().map(|c| {
        let pair = c.split(';').next();
        pair.unwrap_or_default().to_owned()
    });
    Outcome { word, body, cookie }
}

fn bytes(request: &Request) -> Vec<u8> {
    if let Some(raw) = &request.raw {
        return raw.clone().into_bytes();
    }
    let Request {
        method, path, host, ..
    } = request;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {}\r\n", repeated(value)));
    }
    if request.body > 0 || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", request.body));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.resize(bytes.len() + request.body, b'x');
    bytes
}

/// `x*20000` is that many letters.
fn repeated(value: &str) -> String {
    let (letter, count) = value.split_once('*').unwrap_or((value, ""));
    match count.parse() {
        Ok(count) if letter.len() == 1 => letter.repeat(count),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_can_be_long() {
        assert_eq!(repeated("x*5"), "xxxxx");
        assert_eq!(repeated("*/*"), "*/*");
    }
}
