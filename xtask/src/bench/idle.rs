//! Clients that make one request, keep the connection and stay silent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::handshakes;
use super::peer::Front;

/// Connections per source address: well below the usual 28,000 ports, of which some are in use.
const PER_SOURCE: u32 = 10_000;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: bench.example.org\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n";

/// Opens `count` connections one after the other; each sends one request and reads its answer. Of TLS
/// nothing but the sockets is kept.
///
/// # Errors
/// When a connection fails or an answer is not a 200 with its whole body.
pub(crate) fn open(port: u16, count: u32, front: Front) -> Result<Vec<TcpStream>, String> {
    (0..count)
        .map(|index| {
            connect(port, index)
                .and_then(|stream| match front.is_tls() {
                    true => handshakes::open(stream, REQUEST),
                    false => one(stream),
                })
                .map_err(|error| format!("idle connection {} of {count}: {error}", index + 1))
        })
        .collect()
}

fn connect(port: u16, index: u32) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // A network of its own for each proxy: the connections to the one before keep their ports for a
    // minute.
    let [high, low] = port.to_be_bytes();
    let last = u8::try_from(1 + index / PER_SOURCE).unwrap_or(255);
    let source = Ipv4Addr::new(127, high.max(1), low, last);
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket.into())
}

fn one(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(REQUEST)?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        let read = stream.read(rest)?;
        if read == 0 {
            return Err(std::io::Error::other("closed before the whole answer"));
        }
        filled += read;
        if whole(buffer.get(..filled).unwrap_or_default()) {
            return Ok(stream);
        }
    }
}

/// Whether `bytes` is a whole 200 response with a body of 128 bytes.
pub(crate) fn whole(bytes: &[u8]) -> bool {
    const BODY: usize = 128;
    bytes.starts_with(b"HTTP/1.1 200")
        && bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .is_some_and(|end| bytes.len() >= end + 4 + BODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n";
        let full = format!("{head}{}", "x".repeat(128));
        assert!(whole(full.as_bytes()));
        assert!(!whole(&full.as_bytes()[..full.len() - 1]));
        assert!(!whole(full.replace("200", "503").as_bytes()));
    }
}
