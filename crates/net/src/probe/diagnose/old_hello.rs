//! Does the server speak a version or cipher of TLS that this balancer does not?
//!
//! The library has neither, for good reasons; but whether a server has nothing else is worth a ClientHello
//! written by hand. It goes no further than the first answer, so nothing is ever encrypted this way.

use clearway_outcome::{Ending, FaultKind, OldHandshake, Signal};
use tokio::time::timeout;

use super::{Aim, Failure};
use crate::probe::visit::Visit;
use crate::tls::ServerName;

const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
/// TLS 1.2, the first version in which signature algorithms are named.
const TLS12: u16 = 0x0303;
/// A record of a ServerHello is shorter than this up to the cipher suite.
const ENOUGH: usize = 5 + 4 + 2 + 32 + 1 + 32 + 2;

/// Cipher suites by their numbers: ECDHE, DHE and RSA with AES, ChaCha20, Camellia, 3DES and RC4; the
/// list that OpenSSL called ALL, as far as servers still have it.
const CIPHERS: [u16; 52] = [
    0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xccaa, 0xc02b, 0xc02f, 0x009e, 0xc024, 0xc028, 0x006b,
    0xc023, 0xc027, 0x0067, 0xc00a, 0xc014, 0x0039, 0xc009, 0xc013, 0x0033, 0x009d, 0x009c, 0x003d,
    0x003c, 0x0035, 0x002f, 0xc073, 0xc077, 0x00c4, 0xc072, 0xc076, 0x00be, 0x0088, 0x0045, 0x00c0,
    0x00ba, 0x0084, 0x0041, 0xc008, 0xc012, 0x0016, 0x000a, 0xc007, 0xc011, 0x0005, 0x0004, 0xc0a2,
    0xc0a0, 0x0096, 0x0007, 0x00ff,
];

/// Sends a ClientHello of a version up to TLS 1.2 (0x0301 to 0x0303) with every cipher suite that was
/// ever in wide use, and reads the first answer. TLS and HTTP/2 of the [`Aim`] are not looked at.
pub async fn old_hello(
    aim: &Aim,
    version: u16,
    name: Option<&ServerName<'static>>,
) -> OldHandshake {
    let mut visit = aim.visit();
    let mut found = Found::default();
    let hello = client_hello(version, name);
    let heard = timeout(aim.limit, hear(&mut visit, aim, &hello, &mut found)).await;
    let verdict = heard.unwrap_or_else(|_| Err(visit.timed_out(aim.limit)));
    if found.alert.is_some() && visit.ending == Ending::Open {
        visit.ending = Ending::Said;
    }
    OldHandshake {
        ending: visit.ending,
        attempt: visit.testify(verdict.map(|()| "answered".to_owned())),
        version: found.version,
        cipher: found.cipher,
        alert: found.alert,
    }
}

#[derive(Debug, Default, PartialEq)]
struct Found {
    version: Option<u16>,
    cipher: Option<u16>,
    alert: Option<u8>,
}

async fn hear(
    visit: &mut Visit,
    aim: &Aim,
    hello: &[u8],
    found: &mut Found,
) -> Result<(), Failure> {
    visit.connect(&aim.target, aim.source).await?;
    visit.introduce(aim.proxy_header).await?;
    visit.begin_tls();
    visit.send_raw(hello).await?;
    loop {
        match answer(&visit.buf) {
            Answer::Partial => {}
            Answer::NotTls => {
                let kind = FaultKind::ServerSpeaksPlain;
                return Err(Failure::new(kind, kind.summary().to_owned()));
            }
            Answer::Alert(number) => {
                found.alert = Some(number);
                let signal = Signal::TlsAlert(number);
                return Err(Failure::said(FaultKind::ServerTlsAlert, signal));
            }
            Answer::Hello { version, cipher } => {
                (found.version, found.cipher) = (Some(version), Some(cipher));
                return Ok(());
            }
        }
        if !visit.read().await? {
            let kind = FaultKind::ServerTlsClosed;
            return Err(Failure::new(kind, kind.summary().to_owned()));
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    Partial,
    NotTls,
    Alert(u8),
    Hello { version: u16, cipher: u16 },
}

/// Reads the first record (RFC 5246 sections 6.2.1 and 7.4.1.3).
fn answer(bytes: &[u8]) -> Answer {
    match bytes {
        [ALERT, 3, _, _, _, _, number, ..] => Answer::Alert(*number),
        [HANDSHAKE, 3, _, _, _, 2, _, _, _, high, low, rest @ ..] => {
            let cipher = rest.get(32).and_then(|&id| {
                let at = 33 + usize::from(id);
                rest.get(at..)?.first_chunk().copied()
            });
            match cipher {
                Some(cipher) => Answer::Hello {
                    version: u16::from_be_bytes([*high, *low]),
                    cipher: u16::from_be_bytes(cipher),
                },
                None if bytes.len() < ENOUGH => Answer::Partial,
                None => Answer::NotTls,
            }
        }
        [] | [ALERT | HANDSHAKE] => Answer::Partial,
        [ALERT, 3, ..] => Answer::Partial,
        [HANDSHAKE, 3, rest @ ..] if rest.get(3).is_none_or(|&kind| kind == 2) => Answer::Partial,
        _ => Answer::NotTls,
    }
}

/// A ClientHello in one record (RFC 5246 section 7.4.1.2).
fn client_hello(version: u16, name: Option<&ServerName<'static>>) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    let mut random = [0; 32];
    // Nothing hangs on it: the handshake is given up.
    aws_lc_rs::rand::fill(&mut random).unwrap_or_default();
    body.extend(random);
    body.push(0);
    body.extend(list(&CIPHERS));
    body.extend([1, 0]);
    body.extend(sized(&extensions(version, name)));
    let mut message = vec![1, 0];
    message.extend(sized(&body));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(sized(&message));
    record
}

fn extensions(version: u16, name: Option<&ServerName<'static>>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |number: u16, value: &[u8]| {
        all.extend(number.to_be_bytes());
        all.extend(sized(value));
    };
    if let Some(ServerName::DnsName(name)) = name {
        let mut entry = vec![0];
        entry.extend(sized(name.as_ref().as_bytes()));
        add(0, &sized(&entry));
    }
    // Groups: x25519, the curves of NIST; points: not compressed.
    add(10, &list(&[29, 23, 24, 25]));
    add(11, &[1, 0]);
    if version >= TLS12 {
        // ECDSA, RSA-PSS and RSA with SHA-2, and with SHA-1.
        let algorithms = [
            0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201,
        ];
        add(13, &list(&algorithms));
    }
    all
}

/// Numbers behind their length in bytes.
fn list(numbers: &[u16]) -> Vec<u8> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    sized(&bytes)
}

/// Bytes behind their number. All of them here are far fewer than fit.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let mut out = len.to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clearway_testkit::{Authority, Server, TlsServer, behave};

    use super::*;
    use crate::connect::Target;
    use crate::testing::block_on;
    use crate::tls::server_name;

    fn asked(server: &Server, version: u16) -> OldHandshake {
        let target = Target::Ip(server.address().parse().unwrap());
        let aim = Aim::at(target, Duration::from_secs(8));
        let name = server_name("app.test").unwrap();
        block_on(async { old_hello(&aim, version, Some(&name)).await })
    }

    #[test]
    fn a_real_server_understands_it() {
        let identity = Authority::new("Root").issue(&["app.test"]);
        let server = TlsServer::with(&identity).script(behave::never_answer());
        let seen = asked(&server, TLS12);
        assert_eq!(seen.attempt.fault, None);
        assert_eq!(seen.version, Some(TLS12));
        assert!(seen.cipher.is_some_and(|cipher| CIPHERS.contains(&cipher)));
        let seen = asked(&server, 0x0301);
        assert_eq!((seen.version, seen.ending), (None, Ending::Said));
        let signal = seen.attempt.fault.unwrap().signal;
        assert!(seen.alert.is_some() && signal == seen.alert.map(Signal::TlsAlert));
    }

    #[test]
    fn an_old_server_is_recognised() {
        let mut hello = vec![HANDSHAKE, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1];
        hello.extend([7; 32]);
        hello.extend([0, 0, 0x35, 0]);
        let server = Server::script(behave::banner(hello));
        let seen = asked(&server, 0x0301);
        assert_eq!((seen.version, seen.cipher), (Some(0x0301), Some(0x35)));
        assert_eq!(seen.attempt.fault, None);
    }

    #[test]
    fn what_is_no_tls_is_told() {
        let server = Server::script(behave::banner("220 mail ESMTP\r\n"));
        let seen = asked(&server, 0x0301);
        let fault = seen.attempt.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::ServerSpeaksPlain);
        let server = Server::script(|mut conn| {
            conn.take_some();
            conn.half_close();
            conn.drain();
        });
        let seen = asked(&server, 0x0301);
        assert_eq!(seen.ending, Ending::Fin);
        assert_eq!((seen.version, seen.alert), (None, None));
    }

    #[test]
    fn answers_are_read_however_they_are_cut() {
        let mut hello = vec![HANDSHAKE, 3, 3, 0, 74, 2, 0, 0, 70, 3, 2];
        hello.extend([7; 32]);
        hello.push(32);
        hello.extend([9; 32]);
        hello.extend([0xc0, 0x2f]);
        for cut in 0..hello.len() {
            assert_eq!(answer(&hello[..cut]), Answer::Partial, "{cut}");
        }
        let (version, cipher) = (0x0302, 0xc02f);
        assert_eq!(answer(&hello), Answer::Hello { version, cipher });
        hello[43] = 255;
        assert_eq!(answer(&hello), Answer::NotTls, "an id that is too long");
        assert_eq!(answer(&[HANDSHAKE, 4]), Answer::NotTls);
        assert_eq!(answer(&[HANDSHAKE, 3, 1, 0, 4, 1]), Answer::NotTls);
        assert_eq!(answer(&[ALERT, 3, 1, 0, 2, 2, 40]), Answer::Alert(40));
    }
}
