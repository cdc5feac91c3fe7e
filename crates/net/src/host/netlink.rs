//! Questions to the kernel over netlink (netlink(7)): a request, then one answer or a list of them.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// The list of all, not just the one.
pub(super) const DUMP: u16 = 0x300;
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Bytes of a header, of which length, kind and flags are looked at.
const HEADER: usize = 16;
/// The kernel fills at most 32 KiB at once.
const ROOM: usize = 64 << 10;
/// Answers are made while the request is sent; a kernel that owes one after this long has lost it.
const LIMIT: Duration = Duration::from_secs(2);

/// A socket to one part of the kernel.
pub(super) struct Netlink {
    socket: Socket,
}

/// One message of an answer.
pub(super) struct Message<'a> {
    /// What follows the header.
    pub(super) body: &'a [u8],
}

impl Netlink {
    /// A socket to the part called `protocol`, in the network namespace of this thread.
    pub(super) fn open(protocol: libc::c_int) -> io::Result<Self> {
        let kind = Type::RAW.cloexec();
        let domain = Domain::from(libc::AF_NETLINK);
        let socket = Socket::new(domain, kind, Some(Protocol::from(protocol)))?;
        socket.set_read_timeout(Some(LIMIT))?;
        Ok(Self { socket })
    }

    /// Sends a request and hands each message of the answer to `each`.
    ///
    /// A list that changes while it is read may lack what changed.
    ///
    /// # Errors
    /// What the kernel answers, as an error number.
    pub(super) fn ask(
        &self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<()> {
        self.socket.send(&request(kind, flags, body)?)?;
        let mut room = vec![0; ROOM];
        loop {
            let len = (&self.socket).read(&mut room)?;
            let mut rest = room.get(..len).unwrap_or_default();
            if rest.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            while let Some((kind, message, behind)) = split(rest) {
                rest = behind;
                match kind {
                    DONE => return Ok(()),
                    ERROR => return verdict(message.body),
                    _ => each(&message),
                }
                if flags & DUMP == 0 {
                    return Ok(());
                }
            }
        }
    }
}

fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut out = len.to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend((flags | REQUEST).to_ne_bytes());
    // One question per socket: neither a number nor an address is needed.
    out.extend([0; 8]);
    out.extend(body);
    Ok(out)
}

/// The first message, its kind, and what is behind it.
fn split(bytes: &[u8]) -> Option<(u16, Message<'_>, &[u8])> {
    let len = usize::try_from(u32::from_ne_bytes(array(bytes, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(array(bytes, 4)?);
    let body = bytes.get(HEADER..len)?;
    let behind = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, Message { body }, behind))
}

fn verdict(body: &[u8]) -> io::Result<()> {
    match array(body, 0).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Some bytes at a place.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The attributes in `bytes`: number and value of each.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(array(bytes, 0)?));
        // The two highest bits say how the value is written.
        let number = u16::from_ne_bytes(array(bytes, 2)?) & 0x3fff;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

/// An attribute for a request.
pub(super) fn put(number: u16, value: &[u8], out: &mut Vec<u8>) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend(len.to_ne_bytes());
    out.extend(number.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// An address of four or sixteen bytes.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => array::<4>(bytes, 0).map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => array::<16>(bytes, 0).map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// The family of an address and its bytes.
pub(super) fn octets(ip: IpAddr) -> (u8, Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => (INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (INET6, ip.octets().to_vec()),
    }
}

/// The numbers of the families, as a byte.
pub(super) const INET: u8 = 2;
pub(super) const INET6: u8 = 10;
const _: () = assert!(libc::AF_INET == 2 && libc::AF_INET6 == 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_they_are_broken() {
        let mut bytes = Vec::new();
        put(1, b"abc", &mut bytes);
        put(0x8002, b"", &mut bytes);
        let found = |bytes: &[u8]| -> Vec<(u16, Vec<u8>)> {
            attributes(bytes).map(|(n, v)| (n, v.to_vec())).collect()
        };
        assert_eq!(found(&bytes), [(1, b"abc".to_vec()), (2, Vec::new())]);
        for cut in 0..bytes.len() {
            assert!(found(&bytes[..cut]).len() < 2 || cut == bytes.len());
        }
        assert!(found(&[3, 0, 1, 0]).is_empty(), "shorter than itself");
        assert!(found(&[0; 8]).is_empty());
    }

    #[test]
    fn messages_are_split_and_verdicts_read() {
        let mut bytes = request(ERROR, 0, &(-13_i32).to_ne_bytes()).unwrap();
        bytes.extend(request(DONE, 0, b"x").unwrap());
        let (kind, message, behind) = split(&bytes).unwrap();
        assert_eq!(kind, ERROR);
        assert_eq!(verdict(message.body).unwrap_err().raw_os_error(), Some(13));
        let (kind, message, behind) = split(behind).unwrap();
        assert_eq!((kind, message.body), (DONE, &b"x"[..]));
        assert!(behind.is_empty());
        for len in 0..17 {
            assert!(split(&bytes[..len]).is_none(), "{len}");
        }
        assert!(verdict(b"").is_err());
    }
}
