//! One question, one answer: UDP, and TCP when the answer does not fit (RFC 7766).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How often a datagram is sent before the server counts as silent.
const TRIES: u32 = 2;

/// Asks a server for records.
///
/// # Errors
/// Why there is no answer, in words; a name that does not exist is an answer without records.
pub(super) async fn query(
    server: SocketAddr,
    name: Name,
    kind: RecordType,
    limit: Duration,
) -> Result<Message, String> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    let bytes = message.to_vec().map_err(|error| error.to_string())?;
    let reply = exchange(server, &bytes, limit).await?;
    let answer = Message::from_vec(&reply).map_err(|error| format!("{server}: {error}"))?;
    let code = answer.response_code;
    if [ResponseCode::NoError, ResponseCode::NXDomain].contains(&code) {
        Ok(answer)
    } else {
        Err(format!("{server} answered {code}"))
    }
}

/// Sends a message and returns the answer to it.
///
/// # Errors
/// Why there is none, in words.
pub(super) async fn exchange(
    server: SocketAddr,
    message: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, String> {
    let mut last = format!("{server} did not answer");
    for _ in 0..TRIES {
        match tokio::time::timeout(limit, over_udp(server, message)).await {
            Ok(Ok(reply)) if is_cut(&reply) => return whole(server, message, limit).await,
            Ok(Ok(reply)) => return Ok(reply),
            // Nothing listens for datagrams there: asking again tells the same.
            Ok(Err(error)) => return Err(format!("{server}: {error}")),
            Err(_) => last = format!("{server} did not answer within {} s", limit.as_secs()),
        }
    }
    Err(last)
}

async fn whole(server: SocketAddr, message: &[u8], limit: Duration) -> Result<Vec<u8>, String> {
    match tokio::time::timeout(limit, over_tcp(server, message)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) => Err(format!("{server} over TCP: {error}")),
        Err(_) => Err(format!("{server} did not answer over TCP")),
    }
}

async fn over_udp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A late answer to something else is not ours.
        if let Some(reply) = buffer.get(..length)
            && reply.get(..2) == message.get(..2)
        {
            return Ok(reply.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    if reply.get(..2) == message.get(..2) {
        Ok(reply)
    } else {
        Err(io::Error::other("it answered something else"))
    }
}

/// Whether the answer was cut to fit a datagram (the TC bit, RFC 1035 section 4.1.1).
fn is_cut(reply: &[u8]) -> bool {
    reply.get(2).is_some_and(|flags| flags & 0x02 != 0)
}
