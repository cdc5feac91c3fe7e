//! A small client of the admin API for the command line: one request, one answer, then close.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the admin API may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks the admin API at `address` (`host:port` or `unix:/path`): status and body.
///
/// # Errors
/// Nothing listens there, or what answers is not the admin API.
pub fn request(address: &str, method: &str, path: &str) -> io::Result<(u16, String)> {
    let ask = format!(
        "{method} {path} HTTP/1.1\r\nHost: clearway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let answer = if let Some(path) = address.strip_prefix("unix:") {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(LIMIT))?;
        converse(&mut stream, &ask)?
    } else {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        converse(&mut stream, &ask)?
    };
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(foreign)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(foreign)?;
    Ok((status, body.to_owned()))
}

fn converse(stream: &mut (impl Read + Write), ask: &str) -> io::Result<String> {
    stream.write_all(ask.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}
