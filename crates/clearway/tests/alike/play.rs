//! Plays a case against one program and writes down what happened.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use clearway_testkit::stream::Stream;
use clearway_testkit::wait::{elapse, until};
use clearway_testkit::{Client, TempDir, TlsClient};

use crate::case::{Case, Open, Read, Step};
use crate::observe::{self, Values};
use crate::servers::Running;

/// How long silence must last to count as such.
const QUIET: Duration = Duration::from_millis(80);

/// What happened at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where: what was sent, or which server.
    pub(crate) title: String,
    /// What, as [`observe`] writes it.
    pub(crate) lines: Vec<String>,
}

/// The clients of a case.
pub(crate) struct Player<'a> {
    /// What placeholders stand for.
    pub(crate) values: Values,
    /// The servers.
    pub(crate) servers: &'a BTreeMap<char, Running>,
    /// The folder.
    pub(crate) folder: &'a TempDir,
    /// Where logs are sent.
    pub(crate) log: &'a UdpSocket,
}

impl Player<'_> {
    /// Plays all steps and then looks at what servers saw.
    pub(crate) fn play(mut self, case: &Case) -> Vec<Block> {
        let mut out: Vec<Block> = Vec::new();
        let mut client: Option<Client> = None;
        let mut kept = Vec::new();
        let mut said = String::new();
        for step in &case.steps {
            let lines = match step {
                Step::Open(open) => {
                    // The one before ends first.
                    client = None;
                    match self.connect(open) {
                        Ok(opened) => client = Some(opened),
                        Err(error) => {
                            said.clear();
                            let words = format!("(no connection: {})", kind_of(&error));
                            out.push(block("connect", vec![words]));
                        }
                    }
                    continue;
                }
                Step::Send(text) => {
                    let bytes = latin(&self.values.fill(text));
                    if let Some(client) = &mut client {
                        client.try_send(&bytes);
                    }
                    said.push_str(&first_line(text));
                    continue;
                }
                Step::Keep => {
                    kept.extend(client.take());
                    continue;
                }
                Step::Back => {
                    client = kept.pop();
                    continue;
                }
                Step::Close => {
                    client = None;
                    continue;
                }
                Step::HalfClose => {
                    if let Some(client) = &client {
                        client.half_close();
                    }
                    continue;
                }
                Step::Arrived(name, count) => {
                    self.servers[name].wait(*count);
                    continue;
                }
                Step::Until(status, target) => {
                    self.until(*status, target);
                    continue;
                }
                Step::Elapse(time) => {
                    elapse(*time);
                    continue;
                }
                Step::File(name, count) => self.file(name, *count),
                Step::Log(count) => self.log(*count),
                Step::Read(what) => match &mut client {
                    Some(client) => self.read(client, what),
                    None => continue,
                },
            };
            out.push(block(&said, lines));
            said.clear();
        }
        drop((client, kept));
        if !case.unseen {
            out.extend(self.seen());
        }
        out
    }

    fn connect(&mut self, open: &Open) -> std::io::Result<Client> {
        let address = self.values.get(&open.to).unwrap_or_default().to_owned();
        assert!(!address.is_empty(), "{} is not listened on", open.to);
        let stream = Stream::connect_from(open.from, &address)?;
        let source = stream.local();
        if !source.is_empty() {
            // Numbered, since servers may be told of each.
            let known = self
                .values
                .0
                .iter()
                .filter(|(n, _)| n.starts_with("CLIENT"));
            let name = format!("CLIENT{}", known.count() + 1);
            self.values.0.push((name, source));
        }
        let Some(name) = &open.tls else {
            return Ok(Client::over(stream));
        };
        let mut tls = TlsClient::credulous();
        tls = match name.as_str() {
            "" => tls.nameless(),
            // A few names per run, for a client that wants names of the program.
            name => tls.to(name.to_owned().leak()),
        };
        let alpn: Vec<&str> = open.alpn.iter().map(String::as_str).collect();
        tls.alpn(&alpn).over(stream)
    }

    fn read(&self, client: &mut Client, what: &Read) -> Vec<String> {
        match what {
            Read::Response(method) => match client.try_response(method) {
                Ok(response) => observe::response(&response, &self.values),
                Err(end) => vec![observe::ending(&end)],
            },
            Read::Head => match client.try_response_head() {
                Ok(response) => observe::response(&response, &self.values),
                Err(end) => vec![observe::ending(&end)],
            },
            Read::Take(count) => match client.try_take(*count) {
                Some(bytes) => observe::bytes(&bytes, &self.values),
                None => vec!["(less)".to_owned()],
            },
            Read::Rest => {
                let (bytes, end) = client.read_to_end();
                let mut lines = observe::bytes(&bytes, &self.values);
                lines.push(observe::ending(&end));
                lines
            }
            Read::Quiet => {
                let heard = client.hears_within(QUIET);
                vec![
                    if heard {
                        "(something comes)"
                    } else {
                        "(quiet)"
                    }
                    .to_owned(),
                ]
            }
        }
    }

    fn until(&self, status: u16, target: &str) {
        let address = self.values.get("LISTEN").unwrap_or_default();
        until(&format!("{target} to answer {status}"), || {
            let mut client = Client::connect(address);
            client.try_send(format!(
                "GET {target} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"
            ));
            let response = client.try_response("GET").ok()?;
            (response.status == status).then_some(())
        });
    }

    fn file(&self, name: &str, count: usize) -> Vec<String> {
        let path = self.folder.file(name);
        let text = until(&format!("{name} to have {count} lines"), || {
            let text = std::fs::read(&path).ok()?;
            let lines = text.iter().filter(|&&b| b == b'\n').count();
            (lines >= count).then_some(text)
        });
        observe::bytes(&text, &self.values)
    }

    fn log(&self, count: usize) -> Vec<String> {
        let mut buffer = [0_u8; 4096];
        let mut lines = Vec::new();
        for _ in 0..count {
            let Ok(length) = self.log.recv(&mut buffer) else {
                lines.push("(no line)".to_owned());
                break;
            };
            lines.push(observe::log(&buffer[..length], &self.values));
        }
        lines
    }

    fn seen(&self) -> Vec<Block> {
        let mut out = Vec::new();
        for (name, server) in self.servers {
            for request in server.seen() {
                // Clearway looks for itself why a server failed.
                if request.headers.all("user-agent") == ["Clearway probe"] {
                    continue;
                }
                let title = format!("server {name} saw");
                out.push(block(&title, observe::request(&request, &self.values)));
            }
            let bytes = server.bytes();
            if !bytes.is_empty() {
                let title = format!("server {name} got bytes");
                out.push(block(&title, observe::bytes(&bytes, &self.values)));
            }
        }
        out
    }
}

fn block(title: &str, lines: Vec<String>) -> Block {
    Block {
        title: title.to_owned(),
        lines,
    }
}

/// Characters up to U+00FF are bytes, so that a case can say any.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| match u8::try_from(c) {
            Ok(byte) => vec![byte],
            Err(_) => c.to_string().into_bytes(),
        })
        .collect()
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.escape_debug().take(70).collect();
    short.push(' ');
    short
}

/// Refused, reset or ended: which of them is a matter of moments.
fn kind_of(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    let kind = error.kind();
    if kind == ErrorKind::ConnectionRefused {
        "refused"
    } else if matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        "no answer"
    } else {
        "ended"
    }
}
