//! Our own client of TLS: connections that stay idle, and load that makes a handshake per request.
//!
//! It exists because wrk(1) resumes sessions or not as its library likes, and because it can look at each
//! handshake: version, cipher and group, whether it was resumed, how many tickets came. Nothing is
//! verified, neither the certificate nor the signature: that would cost the load more than the handshake
//! costs a proxy, and it is the proxy that is measured.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearway_base::clock;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind,
    NamedGroup, ProtocolVersion, SignatureScheme, Stream, version,
};
use serde_json::{Value, json};

use super::guard::progress;
use super::tls::NAME;

/// How long one step of a visit may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Believes everything.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// TLS 1.3 with the one cipher and the one group; with `resumes` a memory of tickets of its own.
fn settings(resumes: bool) -> Result<Arc<ClientConfig>, String> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut settings = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    settings.resumption = if resumes {
        Resumption::in_memory_sessions(8)
    } else {
        Resumption::disabled()
    };
    Ok(Arc::new(settings))
}

/// One connection of ours.
pub(crate) struct Visit {
    tls: ClientConnection,
    tcp: TcpStream,
}

impl Visit {
    /// Shakes hands over a connection.
    ///
    /// # Errors
    /// When that fails, or ends with other than what we offered.
    fn begin(settings: &Arc<ClientConfig>, mut tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let mut tls =
            ClientConnection::new(Arc::clone(settings), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let group = tls
            .negotiated_key_exchange_group()
            .map(|group| group.name());
        let cipher = tls.negotiated_cipher_suite().map(|suite| suite.suite());
        let is_right = tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
            && cipher == Some(CipherSuite::TLS13_AES_128_GCM_SHA256)
            && group == Some(NamedGroup::X25519);
        if !is_right {
            return Err(io::Error::other(format!(
                "agreed on {:?}, {cipher:?}, {group:?}",
                tls.protocol_version()
            )));
        }
        Ok(Self { tls, tcp })
    }

    /// Sends a request, in a write of its own as most clients do, and reads until `is_whole` says that the
    /// answer is there. Says how many bytes it has.
    fn ask(&mut self, request: &[u8], is_whole: fn(&[u8]) -> bool) -> io::Result<usize> {
        let mut stream = Stream::new(&mut self.tls, &mut self.tcp);
        stream.write_all(request)?;
        let mut answer = [0; 4096];
        let mut filled = 0;
        while !is_whole(answer.get(..filled).unwrap_or_default()) {
            let count = stream.read(answer.get_mut(filled..).unwrap_or_default())?;
            if count == 0 {
                return Err(io::Error::other("closed before the whole answer"));
            }
            filled += count;
        }
        Ok(filled)
    }

    /// Waits until the other side has closed, so that what this costs it is part of what is measured.
    fn wait_for_end(&mut self) -> io::Result<()> {
        let mut rest = [0; 512];
        loop {
            match self.tcp.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Opens a connection over `tcp`, sends `request`, and returns the socket after the whole answer.
///
/// # Errors
/// When any of that fails.
pub(crate) fn open(tcp: TcpStream, request: &[u8]) -> io::Result<TcpStream> {
    let settings = settings(false).map_err(io::Error::other)?;
    let mut visit = Visit::begin(&settings, tcp)?;
    visit.ask(request, super::idle::whole)?;
    Ok(visit.tcp)
}

/// Clients of one proxy, each with tickets of its own.
pub(crate) struct Clients {
    port: u16,
    request: Vec<u8>,
    resumes: bool,
    each: Vec<(Arc<ClientConfig>, AtomicBool)>,
}

/// What clients have counted.
#[derive(Default)]
struct Count {
    durations_us: Vec<u64>,
    errors: u64,
    first_error: Option<String>,
    /// Handshakes that were full although they should not be, or the other way round.
    wrong: u64,
    tickets: u64,
}

impl Clients {
    /// Clients that will send `request`, which has to ask for the connection to be closed.
    ///
    /// # Errors
    /// When the library refuses what they offer.
    pub(crate) fn new(
        port: u16,
        count: u32,
        request: Vec<u8>,
        resumes: bool,
    ) -> Result<Self, String> {
        let each: Result<Vec<_>, String> = (0..count)
            .map(|_| Ok((settings(resumes)?, AtomicBool::new(false))))
            .collect();
        Ok(Self {
            port,
            request,
            resumes,
            each: each?,
        })
    }

    /// Lets all visit again and again for whole seconds; a thread each. The result has the form of
    /// wrk's.
    ///
    /// # Errors
    /// When handshakes were resumed that should have been full, or the other way round: what they
    /// cost says nothing then.
    pub(crate) fn run(&self, seconds: u32) -> Result<Value, String> {
        let begin = clock::now();
        let length = Duration::from_secs(u64::from(seconds));
        let counts: Vec<Count> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .each
                .iter()
                .map(|(settings, has_visited)| {
                    scope.spawn(move || {
                        let mut count = Count::default();
                        while clock::now().since(begin) < length && count.errors < 10 {
                            self.visit(settings, has_visited, &mut count);
                        }
                        count
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .collect()
        });
        let took = clock::now().since(begin);
        self.sum(counts, took)
    }

    fn visit(&self, settings: &Arc<ClientConfig>, has_visited: &AtomicBool, count: &mut Count) {
        let begin = clock::now();
        let done = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).and_then(|tcp| {
            let mut visit = Visit::begin(settings, tcp)?;
            visit.ask(&self.request, super::idle::whole)?;
            visit.wait_for_end()?;
            Ok(visit.tls)
        });
        match done {
            Ok(tls) => {
                let took = clock::now().since(begin).as_micros();
                count.durations_us.push(u64::try_from(took).unwrap_or(0));
                count.tickets += u64::from(tls.tls13_tickets_received());
                // The first one has nothing to resume.
                let resumes = self.resumes && has_visited.swap(true, Ordering::Relaxed);
                let was_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
                count.wrong += u64::from(was_resumed != resumes);
            }
            Err(error) => {
                count.errors += 1;
                count.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }

    fn sum(&self, counts: Vec<Count>, took: Duration) -> Result<Value, String> {
        let mut durations = Vec::new();
        let (mut errors, mut wrong, mut tickets) = (0, 0, 0);
        let mut first_error = None;
        for count in counts {
            durations.extend(count.durations_us);
            errors += count.errors;
            wrong += count.wrong;
            tickets += count.tickets;
            first_error = first_error.or(count.first_error);
        }
        if wrong > 0 {
            let kind = if self.resumes {
                "not resumed"
            } else {
                "resumed"
            };
            return Err(format!(
                "{wrong} of {} handshakes were {kind}",
                durations.len()
            ));
        }
        if let Some(error) = &first_error {
            progress(&format!("{errors} visits failed, the first: {error}"));
        }
        durations.sort_unstable();
        let at = |percent: usize| durations.get(durations.len() * percent / 100).copied();
        Ok(json!({
            "requests": durations.len(),
            "us": u64::try_from(took.as_micros()).unwrap_or(0),
            "errors": errors,
            "status": 0,
            "tickets": tickets,
            "p50": at(50),
            "p99": at(99),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_of_the_wrong_kind_spoil_a_run() {
        let clients = |resumes| Clients::new(1, 0, Vec::new(), resumes).unwrap();
        let count = |wrong| Count {
            durations_us: vec![30, 10, 20],
            wrong,
            ..Count::default()
        };
        let second = Duration::from_secs(1);
        let told = clients(true).sum(vec![count(0), count(0)], second).unwrap();
        assert_eq!(
            (told["requests"].as_u64(), told["p50"].as_u64()),
            (Some(6), Some(20))
        );
        let why = clients(true)
            .sum(vec![count(0), count(2)], second)
            .unwrap_err();
        assert_eq!(why, "2 of 6 handshakes were not resumed");
        assert!(clients(false).sum(vec![count(1)], second).is_err());
    }
}
