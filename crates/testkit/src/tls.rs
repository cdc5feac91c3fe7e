//! TLS for scripted clients and servers, over the same blocking streams.
//!
//! It is the library of the program under test, which real peers (openssl, curl, nginx) make up for in
//! tests of their own.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use rustls::CertificateError as Reason;
pub use rustls::CipherSuite;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct,
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    SupportedProtocolVersion, version,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::client::Client;
use crate::pki::{Authority, Identity};
use crate::server::{Conn, Server};
use crate::stream::Stream;

/// TLS over a socket; the handshake is made by the first read or write.
pub struct TlsStream {
    socket: Box<Stream>,
    tls: Mutex<Connection>,
    /// The end of it is not announced.
    is_cut: AtomicBool,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS over {:?}", self.socket)
    }
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: String,
    /// The cipher suite.
    pub suite: CipherSuite,
    /// The group of the key exchange; empty where a session was resumed without one.
    pub group: String,
    /// The application protocol.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificates that the other side showed.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The name that a client asked for, as a server sees it.
    pub server_name: Option<String>,
}

impl TlsStream {
    fn new(socket: Stream, tls: Connection) -> Self {
        Self {
            socket: Box::new(socket),
            tls: Mutex::new(tls),
            is_cut: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the handshake.
    ///
    /// # Errors
    /// Those of the socket, and `InvalidData` with the library's words.
    pub fn handshake(&self) -> io::Result<()> {
        let mut tls = self.lock();
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut &*self.socket) {
                // The alert that says why.
                self.send(&mut tls).unwrap_or_default();
                return Err(error);
            }
        }
        self.send(&mut tls)
    }

    /// What both sides agreed on.
    ///
    /// # Panics
    /// When there was no handshake.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        let tls = self.lock();
        let name = match &*tls {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        Agreed {
            version: format!("{:?}", tls.protocol_version().expect("a handshake")),
            suite: tls.negotiated_cipher_suite().expect("a handshake").suite(),
            group: tls
                .negotiated_key_exchange_group()
                .map_or_else(String::new, |group| format!("{:?}", group.name())),
            alpn: tls
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: tls
                .peer_certificates()
                .map(<[_]>::to_vec)
                .unwrap_or_default(),
            server_name: name,
        }
    }

    /// Whether the server took the early data that a client sent.
    #[must_use]
    pub fn took_early_data(&self) -> bool {
        match &*self.lock() {
            Connection::Client(client) => client.is_early_data_accepted(),
            Connection::Server(_) => false,
        }
    }

    /// Lets the connection end without `close_notify`.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }

    /// Sends a message of TLS itself: new keys (RFC 8446 section 4.6.3).
    ///
    /// # Errors
    /// Those of the socket, and of TLS 1.2, which has no such message.
    pub fn refresh_keys(&self) -> io::Result<()> {
        let mut tls = self.lock();
        tls.refresh_traffic_keys().map_err(io::Error::other)?;
        self.send(&mut tls)
    }

    /// The socket beneath.
    #[must_use]
    pub fn socket(&self) -> &Stream {
        &self.socket
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        // Whoever reads holds the lock; then the socket alone is ended.
        if !matches!(how, Shutdown::Read)
            && !self.is_cut.load(Ordering::Relaxed)
            && let Ok(mut tls) = self.tls.try_lock()
        {
            tls.send_close_notify();
            self.send(&mut tls).unwrap_or_default();
        }
        self.socket.shutdown(how);
    }

    pub(crate) fn read(&self, to: &mut [u8]) -> io::Result<usize> {
        let mut tls = self.lock();
        loop {
            match tls.reader().read(to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.send(&mut tls)?;
            tls.read_tls(&mut &*self.socket)?;
            if let Err(error) = tls.process_new_packets() {
                // The alert that says why.
                self.send(&mut tls)?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            // What completes a handshake, even when there is something to be read already.
            self.send(&mut tls)?;
        }
    }

    pub(crate) fn write(&self, from: &[u8]) -> io::Result<usize> {
        let mut tls = self.lock();
        if tls.is_handshaking() {
            tls.complete_io(&mut &*self.socket)?;
        }
        let count = tls.writer().write(from)?;
        self.send(&mut tls)?;
        Ok(count)
    }

    /// Sends what the library has to say.
    fn send(&self, tls: &mut Connection) -> io::Result<()> {
        while tls.wants_write() {
            tls.write_tls(&mut &*self.socket)?;
        }
        Ok(())
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        if self.is_cut.load(Ordering::Relaxed) {
            return;
        }
        let mut tls = self.lock();
        if !tls.is_handshaking() {
            tls.send_close_notify();
            self.send(&mut tls).unwrap_or_default();
        }
    }
}

/// Which versions are spoken.
type Versions = &'static [&'static SupportedProtocolVersion];

static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
static ONLY_12: [&SupportedProtocolVersion; 1] = [&version::TLS12];
static ONLY_13: [&SupportedProtocolVersion; 1] = [&version::TLS13];

/// How clients open TLS. Those that come from one value share their sessions.
#[derive(Clone, Debug)]
pub struct TlsClient {
    roots: Vec<CertificateDer<'static>>,
    refusal: Option<CertificateError>,
    name: Option<&'static str>,
    versions: Versions,
    suites: Vec<CipherSuite>,
    alpn: Vec<Vec<u8>>,
    identity: Option<Identity>,
    built: OnceLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Clients that ask for `a.test` and believe an authority.
    #[must_use]
    pub fn trusting(authority: &Authority) -> Self {
        Self {
            roots: vec![authority.der().clone()],
            ..Self::credulous()
        }
    }

    /// Clients that ask for `a.test` and take any certificate.
    #[must_use]
    pub fn credulous() -> Self {
        Self {
            roots: Vec::new(),
            refusal: None,
            name: Some("a.test"),
            versions: &BOTH,
            suites: Vec::new(),
            alpn: Vec::new(),
            identity: None,
            built: OnceLock::new(),
        }
    }

    /// Refuses any certificate for a reason, of which the alert depends.
    #[must_use]
    pub fn refusing(mut self, reason: Reason) -> Self {
        self.built = OnceLock::new();
        self.refusal = Some(reason);
        self
    }

    /// Asks for another name.
    #[must_use]
    pub fn to(mut self, name: &'static str) -> Self {
        self.built = OnceLock::new();
        self.name = Some(name);
        self
    }

    /// Asks for no name.
    #[must_use]
    pub fn nameless(mut self) -> Self {
        self.built = OnceLock::new();
        self.name = None;
        self
    }

    /// Speaks TLS 1.2 alone.
    #[must_use]
    pub fn only_12(mut self) -> Self {
        self.built = OnceLock::new();
        self.versions = &ONLY_12;
        self
    }

    /// Speaks TLS 1.3 alone.
    #[must_use]
    pub fn only_13(mut self) -> Self {
        self.built = OnceLock::new();
        self.versions = &ONLY_13;
        self
    }

    /// Offers these cipher suites alone.
    #[must_use]
    pub fn suites(mut self, suites: &[CipherSuite]) -> Self {
        self.built = OnceLock::new();
        self.suites = suites.to_vec();
        self
    }

    /// Offers application protocols.
    #[must_use]
    pub fn alpn(mut self, names: &[&str]) -> Self {
        self.built = OnceLock::new();
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Shows a certificate when asked for one.
    #[must_use]
    pub fn showing(mut self, identity: &Identity) -> Self {
        self.built = OnceLock::new();
        self.identity = Some(identity.clone());
        self
    }

    /// The same settings without the sessions.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self {
            built: OnceLock::new(),
            ..self.clone()
        }
    }

    /// Connects and makes the handshake.
    ///
    /// # Panics
    /// When either fails.
    #[must_use]
    pub fn open(&self, address: &str) -> Client {
        self.try_open(address)
            .unwrap_or_else(|error| panic!("no TLS with {address}: {error}"))
    }

    /// As [`TlsClient::open`].
    ///
    /// # Errors
    /// Why the handshake failed.
    ///
    /// # Panics
    /// When the connection is refused.
    pub fn try_open(&self, address: &str) -> io::Result<Client> {
        let socket = Stream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        self.over(socket)
    }

    /// Makes the handshake over a socket, on which something else may have been spoken before.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub fn over(&self, socket: Stream) -> io::Result<Client> {
        let stream = self.wrap(socket);
        if let Stream::Tls(tls) = &stream {
            tls.handshake()?;
        }
        Ok(Client::over(stream))
    }

    /// A stream whose handshake is still to be made.
    ///
    /// # Panics
    /// When the settings make no sense.
    #[must_use]
    pub fn wrap(&self, socket: Stream) -> Stream {
        let config = Arc::clone(self.built.get_or_init(|| Arc::new(self.build())));
        let name = ServerName::try_from(self.name.unwrap_or("unasked.test")).expect("a name");
        let tls = ClientConnection::new(config, name).expect("settings of a client");
        Stream::Tls(Box::new(TlsStream::new(socket, tls.into())))
    }

    /// Connects, sends a hello that resumes a session with early data behind it, and does nothing more: the
    /// handshake is made by the first read. `None` when no session allows early data.
    ///
    /// # Panics
    /// When the connection fails.
    #[must_use]
    pub fn begin(&self, address: &str, data: &[u8]) -> Option<Client> {
        let config = self.built.get_or_init(|| Arc::new(self.build()));
        let mut config = ClientConfig::clone(config);
        config.enable_early_data = true;
        let name = ServerName::try_from(self.name.unwrap_or("unasked.test")).expect("a name");
        let mut tls = ClientConnection::new(Arc::new(config), name).expect("settings of a client");
        tls.early_data()?.write_all(data).expect("room for it");
        let socket = Stream::connect(address).expect("a connection");
        let stream = TlsStream::new(socket, tls.into());
        stream.send(&mut stream.lock()).expect("an open connection");
        Some(Client::over(Stream::Tls(Box::new(stream))))
    }

    fn build(&self) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        if !self.suites.is_empty() {
            let wanted =
                |suite: &rustls::SupportedCipherSuite| self.suites.contains(&suite.suite());
            provider.cipher_suites.retain(wanted);
        }
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .expect("versions");
        let builder = if self.roots.is_empty() || self.refusal.is_some() {
            let refusal = self.refusal.clone();
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Decided { refusal, provider }))
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(self.roots.iter().cloned());
            builder.with_root_certificates(roots)
        };
        let mut config = match &self.identity {
            Some(own) => builder
                .with_client_auth_cert(own.chain.clone(), own.key())
                .expect("a certificate with its key"),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.name.is_some();
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }
}

/// A verdict that was known before.
#[derive(Debug)]
struct Decided {
    refusal: Option<CertificateError>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Decided {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.refusal {
            Some(reason) => Err(reason.clone().into()),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// How scripted servers speak TLS.
#[derive(Clone, Debug)]
pub struct TlsServer {
    identity: Identity,
    versions: Versions,
    alpn: Vec<Vec<u8>>,
    demands: Option<CertificateDer<'static>>,
}

impl TlsServer {
    /// Servers with a certificate.
    #[must_use]
    pub fn with(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            versions: &BOTH,
            alpn: Vec::new(),
            demands: None,
        }
    }

    /// Speaks TLS 1.2 alone.
    #[must_use]
    pub fn only_12(mut self) -> Self {
        self.versions = &ONLY_12;
        self
    }

    /// Speaks TLS 1.3 alone.
    #[must_use]
    pub fn only_13(mut self) -> Self {
        self.versions = &ONLY_13;
        self
    }

    /// Knows these application protocols alone.
    #[must_use]
    pub fn alpn(mut self, names: &[&str]) -> Self {
        self.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Demands a certificate from an authority.
    #[must_use]
    pub fn demanding(mut self, authority: &Authority) -> Self {
        self.demands = Some(authority.der().clone());
        self
    }

    /// As [`TlsServer::demanding`], from an authority whose certificate is in PEM.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn demanding_pem(mut self, pem: &str) -> Self {
        let root = CertificateDer::from_pem_slice(pem.as_bytes());
        self.demands = Some(root.expect("a certificate"));
        self
    }

    /// A server on an ephemeral port of 127.0.0.1 whose connections speak TLS before the script does.
    /// A script that begins with [`Conn::handshake`] learns how that went.
    pub fn script(&self, script: impl Fn(Conn) + Send + Sync + 'static) -> Server {
        self.script_at("127.0.0.1:0", script)
    }

    /// As [`TlsServer::script`], on a given address.
    pub fn script_at(&self, bind: &str, script: impl Fn(Conn) + Send + Sync + 'static) -> Server {
        let config = Arc::new(self.build());
        Server::script_wrapped(
            bind,
            move |socket| {
                let tls = ServerConnection::new(Arc::clone(&config)).expect("settings");
                Stream::Tls(Box::new(TlsStream::new(socket, tls.into())))
            },
            script,
        )
    }

    fn build(&self) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .expect("versions");
        let builder = match &self.demands {
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root.clone()).expect("a root");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = (self.identity.chain.clone(), self.identity.key());
        let mut config = builder
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        config.alpn_protocols.clone_from(&self.alpn);
        config.ticketer = aws_lc_rs::Ticketer::new().expect("keys for tickets");
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behave;
    use crate::message::End;

    #[test]
    fn a_client_and_a_server_speak_tls() {
        let root = Authority::new("root");
        let server = TlsServer::with(&root.below("middle").issue(&["a.test"]));
        let server = server.script(behave::ok("secret"));
        let tls = TlsClient::trusting(&root);
        for resumed in [false, true] {
            let mut client = tls.open(server.address());
            assert_eq!(client.get("/").text(), "secret");
            assert_eq!(client.agreed().resumed, resumed);
            client.half_close();
            assert_eq!(client.read_to_end(), (Vec::new(), End::UntilClose));
        }
        let other = TlsClient::trusting(&Authority::new("other"));
        let error = other.try_open(server.address()).unwrap_err();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    }

    #[test]
    fn an_end_without_close_notify_is_told_from_one_with() {
        let root = Authority::new("root");
        let server = TlsServer::with(&root.issue(&["a.test"])).script(|mut conn| {
            conn.request();
            conn.cut();
        });
        let mut client = TlsClient::trusting(&root).open(server.address());
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.read_to_end().1, End::Truncated);
    }
}
