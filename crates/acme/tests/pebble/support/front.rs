//! A server before Pebble under another port: it passes requests on, and may change what comes back.
//!
//! Pebble builds its URLs from the `Host` field, so that signatures over URLs hold through the front.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use clearway_acme::Issuer;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::pebble::Pebble;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    /// What the client signed; null when it signed nothing.
    pub(crate) payload: Value,
    content_type: String,
    body: String,
}

/// An answer.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes a JSON body.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let mut body = serde_json::from_str(&self.body).unwrap();
        change(&mut body);
        self.body = body.to_string();
    }
}

/// The front of a Pebble; serves until the test's process ends.
pub(crate) struct Front {
    address: SocketAddr,
    roots: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Front {
    /// Starts a front whose `rule` answers each request, itself or by what it forwards.
    pub(crate) fn start(
        pebble: &Pebble,
        rule: impl Fn(&Request, &dyn Fn() -> Reply) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (server, client) = (server_config(pebble), client_config(pebble));
        let (behind, requests) = (pebble.address, Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&server)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                let Some(request) = read_request(&mut stream) else {
                    continue;
                };
                noted.lock().unwrap().push(request.clone());
                let reply = rule(&request, &|| forward(&request, behind, &client));
                // A client that goes away in the middle is its own business.
                drop(write_reply(&mut stream, &reply));
            }
        });
        Self {
            address,
            roots: pebble.roots.clone(),
            requests,
        }
    }

    pub(crate) fn issuer(&self, name: &str) -> Issuer {
        Issuer {
            roots: clearway_acme::Roots::Pem(self.roots.clone()),
            ..Issuer::new(
                name,
                &format!("https://localhost:{}/dir", self.address.port()),
            )
        }
    }

    /// What came so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn server_config(pebble: &Pebble) -> Arc<ServerConfig> {
    let (certificate, key) = &pebble.identity;
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

fn client_config(pebble: &Pebble) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pebble.roots.as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Reads head and body; `None` when the client goes away, as it does after a failed handshake.
fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") {
        read_more(stream, &mut text)?;
    }
    let (head, _) = text.split_once("\r\n\r\n")?;
    let head = head.to_owned();
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or(String::new(), |(_, value)| value.to_owned())
    };
    let length: usize = field("content-length").parse().unwrap_or(0);
    while text.len() < head.len() + 4 + length {
        read_more(stream, &mut text)?;
    }
    let (_, body) = text.split_once("\r\n\r\n")?;
    let mut line = head.split(' ');
    Some(Request {
        method: line.next()?.to_owned(),
        path: line.next()?.to_owned(),
        host: field("host"),
        payload: payload(body),
        content_type: field("content-type"),
        body: body.to_owned(),
    })
}

fn read_more(stream: &mut impl Read, text: &mut String) -> Option<()> {
    let mut piece = [0; 4_096];
    let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
    text.push_str(&String::from_utf8_lossy(&piece[..count]));
    Some(())
}

/// The signed part of a JWS.
fn payload(body: &str) -> Value {
    let jws: Value = serde_json::from_str(body).unwrap_or_default();
    let bytes = base64url(jws["payload"].as_str().unwrap_or(""));
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn base64url(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = Vec::new();
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|&known| known == letter).unwrap();
        bits.extend((0..6).rev().map(|bit| u8::from(value >> bit & 1 == 1)));
    }
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit))
        .collect()
}

/// Sends a request on. HTTP/1.0, so that the answer ends with its connection and has no chunks.
fn forward(request: &Request, behind: SocketAddr, config: &Arc<ClientConfig>) -> Reply {
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(behind).unwrap());
    let Request {
        method,
        path,
        host,
        content_type,
        body,
        ..
    } = request;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: clearway-test\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    // Some servers end without close_notify; the length below tells whether all of it came.
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let headers = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers
            .filter(|(name, _)| {
                !["content-length", "connection"].contains(&name.to_ascii_lowercase().as_str())
            })
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

fn write_reply(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    reply: &Reply,
) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {} X\r\nConnection: close\r\n",
        reply.status
    )?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(
        stream,
        "Content-Length: {}\r\n\r\n{}",
        reply.body.len(),
        reply.body
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}
