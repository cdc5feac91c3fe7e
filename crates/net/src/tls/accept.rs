//! TLS with a client.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists of the library and of the protocol are long, and grow"
)]

use std::io::{self, IoSlice, Read as _};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use clearway_base::clock;
use clearway_outcome::{CertificateVerdict, FaultKind, FirstBytes, TlsFacts};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ProducesTickets, ServerConnection, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::{AlertDescription, Connection, ServerConfig, SupportedProtocolVersion, version};

use super::certificates::{Certificate, Certificates};
use super::client_auth::ClientAuth;
use super::fault::{self, TlsFailure};
use super::handshake::{self, HandshakeError};
use super::stream::TlsStream;
use super::{presented, provider};
use crate::wire::Wire;

/// What authorities ask for to validate a name by TLS (RFC 8737 section 6.2).
pub const CHALLENGE_ALPN: &[u8] = b"acme-tls/1";

/// Which versions are spoken (Mozilla's words; their older profiles have ciphers that are not safe).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// TLS 1.3.
    Modern,
    /// TLS 1.2 with forward secrecy and authenticated ciphers, and TLS 1.3.
    #[default]
    Intermediate,
}

impl Profile {
    /// The library's words for it.
    pub(super) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static MODERN: [&SupportedProtocolVersion; 1] = [&version::TLS13];
        static INTERMEDIATE: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            Self::Modern => &MODERN,
            Self::Intermediate => &INTERMEDIATE,
        }
    }
}

/// Sessions that are remembered at once where each may be resumed once only.
const SESSIONS: usize = 10_240;
/// Most bytes of early data: a request's head.
const EARLY_MAX: u32 = 16 * 1_024;

/// What sessions are resumed with.
///
/// One for each listener: a session that one listener has begun is worth nothing at another, which
/// may ask for client certificates.
#[derive(Clone, Debug)]
pub enum Sessions {
    /// Keys for tickets, which change every six hours; old ones are read for as long again.
    Tickets(Arc<dyn ProducesTickets>),
    /// Sessions in memory, each of which is resumed once: so early data cannot be played back
    /// (RFC 8446 section 8.1).
    Single(Arc<dyn StoresServerSessions>),
}

impl Sessions {
    /// Fresh keys.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn tickets() -> Result<Self, String> {
        aws_lc_rs::Ticketer::new()
            .map(Self::Tickets)
            .map_err(|error| error.to_string())
    }

    /// Memory for sessions, where early data is taken.
    #[must_use]
    pub fn single() -> Self {
        Self::Single(ServerSessionMemoryCache::new(SESSIONS))
    }

    /// Whether early data is taken with them.
    #[must_use]
    pub fn take_early_data(&self) -> bool {
        matches!(self, Self::Single(_))
    }
}

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Which versions.
    pub profile: Profile,
    /// The application protocols, the best first; none = none is agreed on.
    pub alpn: Vec<Vec<u8>>,
    /// Whether the key exchange that quantum computers do not break is offered.
    pub post_quantum: bool,
    /// Whether clients show certificates.
    pub client_auth: Option<ClientAuth>,
    /// What sessions are resumed with; `None` = they are not.
    pub sessions: Option<Sessions>,
    /// A file for the secrets of all connections, in the format of `SSLKEYLOGFILE`.
    pub key_log: Option<std::path::PathBuf>,
}

/// A listener's side of TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl ServerTls {
    /// Compiles the settings.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn new(settings: &ServerSettings, certificates: Arc<Certificates>) -> Result<Self, String> {
        let provider: Arc<CryptoProvider> = provider::get(settings.post_quantum);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(settings.profile.versions())
            .map_err(|error| error.to_string())?;
        let builder = match &settings.client_auth {
            Some(auth) => builder.with_client_cert_verifier(auth.verifier(&provider)?),
            None => builder.with_no_client_auth(),
        };
        let resolver = Arc::clone(&certificates);
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols.clone_from(&settings.alpn);
        // The cheapest that is safe: clients of today have AES in hardware.
        config.ignore_client_order = true;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        match &settings.sessions {
            Some(Sessions::Tickets(keys)) => config.ticketer = Arc::clone(keys),
            Some(Sessions::Single(sessions)) => {
                config.session_storage = Arc::clone(sessions);
                config.max_early_data_size = EARLY_MAX;
                // Else the answer would wait for the client all the same.
                config.send_half_rtt_data = true;
            }
            None => config.send_tls13_tickets = 0,
        }
        if let Some(path) = &settings.key_log {
            config.key_log = Arc::new(super::key_log::KeyLog::open(path)?);
        }
        Ok(Self {
            config: Arc::new(config),
            certificates,
        })
    }

    /// What answers a challenge by TLS (RFC 8737): one certificate, and the protocol that only
    /// authorities speak.
    ///
    /// # Errors
    /// When the library refuses, in words.
    pub fn challenge(answer: Certificate) -> Result<Self, String> {
        let certificates = Certificates::new(false, None);
        certificates.replace(vec![answer]);
        let settings = ServerSettings {
            profile: Profile::Intermediate,
            alpn: vec![CHALLENGE_ALPN.to_vec()],
            post_quantum: true,
            client_auth: None,
            sessions: None,
            key_log: None,
        };
        Self::new(&settings, certificates)
    }

    /// The certificates it chooses from.
    #[must_use]
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }
}

/// A handshake with a client, under way.
///
/// It is polled, so that the caller keeps the deadline, and then either finished or given up.
#[derive(Debug)]
pub struct Accepting {
    wire: Wire,
    tls: ServerConnection,
    certificates: Arc<Certificates>,
    first: FirstBytes,
    unread: usize,
    /// What the client sent before the handshake was complete.
    early: Vec<u8>,
    /// What was found when bytes were fed, for the next poll.
    found: Option<HandshakeError>,
}

/// Moves early data that has come behind `early`.
pub(super) fn take_early(tls: &mut ServerConnection, early: &mut Vec<u8>) {
    if let Some(mut data) = tls.early_data() {
        // It is in memory.
        data.read_to_end(early).unwrap_or_default();
    }
}

/// A handshake with a client that failed.
#[derive(Debug)]
pub struct Refused {
    /// What went wrong.
    pub failure: TlsFailure,
    /// The first bytes that the client sent; none when it only connected.
    pub first: FirstBytes,
    /// Whether the client was told by an alert, which a reset must not overtake.
    pub told: bool,
    /// The socket: for an answer to a client that does not speak TLS, and for facts about it.
    pub wire: Wire,
}

impl Accepting {
    /// A handshake over `wire`.
    ///
    /// # Errors
    /// When the library refuses its configuration.
    pub fn new(wire: Wire, server: &ServerTls) -> io::Result<Self> {
        let tls = ServerConnection::new(Arc::clone(&server.config)).map_err(fault::wrap)?;
        Ok(Self {
            wire,
            tls,
            certificates: Arc::clone(&server.certificates),
            first: FirstBytes::default(),
            unread: 0,
            early: Vec::new(),
            found: None,
        })
    }

    /// Feeds bytes that were read before the handshake, with a PROXY header. What is wrong with them is
    /// for [`Accepting::poll`] to say.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.found = self.digest(bytes).err();
    }

    /// Goes on with the handshake, until it is complete or has failed, or there is early data, which is
    /// not to wait. Cancel safe.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            if let Some(error) = self.found.take() {
                self.tell(&error);
                return Poll::Ready(Err(error));
            }
            ready!(handshake::poll_flush(cx, &self.wire, &mut self.tls))?;
            if !self.tls.is_handshaking() || !self.early.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut room = [0; handshake::ROOM];
            let count = ready!(self.wire.poll_read(cx, &mut room))?;
            self.found = match room.get(..count) {
                Some(bytes) if count > 0 => self.digest(bytes).err(),
                _ if !handshake::may_be_tls(self.first.as_bytes()) => Some(HandshakeError::NotTls),
                _ => Some(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            };
        }
    }

    fn digest(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        self.first.extend(bytes);
        if !handshake::may_be_tls(self.first.as_bytes()) {
            return match handshake::plain_http(self.first.as_bytes()) {
                // A request that comes in small pieces is to get its answer, too.
                None => Ok(()),
                Some(_) => Err(HandshakeError::NotTls),
            };
        }
        self.unread = handshake::digest(&mut self.tls, bytes)?;
        take_early(&mut self.tls, &mut self.early);
        Ok(())
    }

    /// Sends the alert that says what is wrong. Where the library has a vague one, its own is sent in
    /// the clear: that is before anything was agreed on.
    fn tell(&mut self, error: &HandshakeError) {
        let HandshakeError::Tls(error) = error else {
            return;
        };
        let number = match self.kind_of(error) {
            FaultKind::TlsNameUnknown => AlertDescription::UnrecognisedName,
            FaultKind::TlsVersionMismatch => AlertDescription::ProtocolVersion,
            FaultKind::CertificateUnusable => AlertDescription::InternalError,
            _ => return handshake::flush_now(&self.wire, &mut self.tls),
        };
        // Alert, TLS 1.2, two bytes: fatal, and which (RFC 5246 sections 6.2.1 and 7.2).
        let record = [21, 3, 3, 0, 2, 2, u8::from(number)];
        self.wire
            .write_now(&[IoSlice::new(&record)])
            .unwrap_or_default();
    }

    /// The connection, after [`Accepting::poll`] said that it is complete.
    #[must_use]
    pub fn finish(self) -> (TlsStream, TlsFacts) {
        let facts = self.facts();
        let tls = Connection::Server(self.tls);
        let stream = TlsStream::new(self.wire, tls, self.unread, true);
        (stream.with_early(self.early), facts)
    }

    /// Gives the handshake up: after an error, or without one when its time is over.
    #[must_use]
    pub fn refuse(self, error: Option<&HandshakeError>) -> Refused {
        let mut facts = self.facts();
        let (kind, words) = match error {
            None => (FaultKind::TlsHandshakeTimeout, String::new()),
            Some(HandshakeError::Io(error)) => (FaultKind::TlsHandshakeClosed, error.to_string()),
            Some(HandshakeError::NotTls)
                if handshake::plain_http(self.first.as_bytes()) == Some(true) =>
            {
                (FaultKind::HttpOnTlsPort, String::new())
            }
            Some(HandshakeError::NotTls) => (FaultKind::NotTls, String::new()),
            Some(HandshakeError::Tls(error)) => (self.kind_of(error), error.to_string()),
        };
        if kind == FaultKind::TlsClientCertificateInvalid {
            facts.certificate = presented::take();
            facts.verdict = CertificateVerdict::Refused;
            facts.refusal.clone_from(&words);
        }
        Refused {
            failure: TlsFailure::new(kind, error, words, facts),
            first: self.first,
            told: matches!(error, Some(HandshakeError::Tls(_))),
            wire: self.wire,
        }
    }

    fn kind_of(&self, error: &rustls::Error) -> FaultKind {
        match error {
            // All that the library says when it got no certificate from us.
            rustls::Error::General(_) if self.certificates.is_empty() => {
                FaultKind::CertificateUnusable
            }
            rustls::Error::General(_) if self.tls.server_name().is_some() => {
                FaultKind::TlsNameUnknown
            }
            rustls::Error::PeerIncompatible(_) if self.is_too_old() => {
                FaultKind::TlsVersionMismatch
            }
            error => match fault::client_kind(error) {
                FaultKind::TlsClientRejectsCertificate if self.shows_one_out_of_time() => {
                    FaultKind::CertificateExpired
                }
                kind => kind,
            },
        }
    }

    /// Whether the certificate that the client got is not valid at this time.
    fn shows_one_out_of_time(&self) -> bool {
        let now = clock::wall_seconds();
        self.certificates
            .is_out_of_time(self.tls.server_name(), now)
    }

    /// Whether the client offers nothing newer than TLS 1.1: the version stands at a fixed place of
    /// its hello (RFC 8446 section 4.1.2), and newer clients say TLS 1.2 there.
    fn is_too_old(&self) -> bool {
        let version = self.first.as_bytes().get(9..11);
        version.is_some_and(|version| version < [3, 3].as_slice())
    }

    fn facts(&self) -> TlsFacts {
        let mut facts = handshake::facts(&self.tls, true);
        facts.server_name = self.tls.server_name().unwrap_or_default().to_owned();
        facts
    }
}
