//! An authority for certificates by ACME (Pebble) and its DNS server, as child processes on free ports.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::TempDir;
use crate::process::{Process, program};
use crate::wait::{LIMIT, until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

/// The package that has both programs.
const PACKAGE: &str = "pebble";

/// An address of this host that nothing listens on now.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// How Pebble is started.
#[derive(Debug, Default)]
pub struct Setup {
    /// Where http-01 is checked.
    pub http: Option<SocketAddr>,
    /// And where tls-alpn-01 is.
    pub tls: Option<SocketAddr>,
    /// Whom Pebble asks for names; a server of its own when `None`.
    pub dns: Option<SocketAddr>,
    /// How many of a hundred good nonces are refused.
    pub refused_nonces: u32,
    /// Key identifier and key of an external account that is required.
    pub external: Option<(&'static str, &'static str)>,
    /// Names that are refused.
    pub blocked: Vec<&'static str>,
    /// Where it listens, with certificate and key of a former one: that one restarted.
    pub at: Option<(SocketAddr, (String, String))>,
}

/// An authority.
#[derive(Debug)]
pub struct Pebble {
    /// The URL of its directory.
    pub directory: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The root of the directory's own certificate (PEM).
    pub roots: String,
    /// The key and the certificate of the server, for one before it that has the same name.
    pub identity: (String, String),
    /// Its DNS server, unless it asks another.
    pub dns: Option<Dns>,
    _process: Process,
    _folder: TempDir,
}

impl Pebble {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(setup: &Setup) -> Self {
        // A port that was free may be taken before Pebble has it.
        for _ in 0..5 {
            if let Some(pebble) = Self::try_start(setup) {
                return pebble;
            }
        }
        panic!("Pebble does not start");
    }

    fn try_start(setup: &Setup) -> Option<Self> {
        let folder = TempDir::new();
        let (mut roots, mut certificate, mut key) = identity();
        let mut address = free_address();
        if let Some((at, former)) = &setup.at {
            address = *at;
            roots.clear();
            (certificate, key) = former.clone();
        }
        let unused = free_address();
        let port = |address: Option<SocketAddr>| address.unwrap_or(unused).port();
        let keys: serde_json::Map<_, _> = setup
            .external
            .iter()
            .map(|(id, key)| ((*id).to_owned(), (*key).into()))
            .collect();
        let config = serde_json::json!({"pebble": {
            "listenAddress": address.to_string(),
            "managementListenAddress": "",
            "certificate": folder.write("cert.pem", &certificate),
            "privateKey": folder.write("key.pem", &key),
            "httpPort": port(setup.http),
            "tlsPort": port(setup.tls),
            "externalAccountBindingRequired": setup.external.is_some(),
            "externalAccountMACKeys": keys,
            "domainBlocklist": setup.blocked,
            "certificateValidityPeriod": 90 * 86_400,
        }});
        let dns = setup.dns.is_none().then(Dns::start);
        let names = setup
            .dns
            .unwrap_or_else(|| dns.as_ref().expect("a server of its own").address);
        let mut command = Command::new(program("pebble", PACKAGE));
        command
            .args([
                "-strict",
                "-config",
                &folder.write("pebble.json", &config.to_string()),
            ])
            .args(["-dnsserver", &names.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", setup.refused_nonces.to_string());
        let process = Process::start(command);
        process
            .stdout
            .find(LIMIT, |line| line.contains("Listening on").then_some(()))?;
        // It says so before it listens.
        crate::wait::within(LIMIT, || TcpStream::connect(address).ok())?;
        Some(Self {
            directory: format!("https://localhost:{}/dir", address.port()),
            address,
            roots,
            identity: (certificate, key),
            dns,
            _process: process,
            _folder: folder,
        })
    }

    /// Its DNS server.
    ///
    /// # Panics
    /// When it asks another one.
    #[must_use]
    pub fn dns(&self) -> &Dns {
        self.dns.as_ref().expect("a server of its own")
    }
}

/// A root, and a certificate for localhost from it with its key.
fn identity() -> (String, String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().expect("a key");
    let root = params.self_signed(&root_key).expect("a root");
    let issuer = rcgen::Issuer::new(params, root_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    (root.pem(), leaf.pem(), key.serialize_pem())
}

/// The DNS server that comes with Pebble: every name is this host unless told otherwise.
#[derive(Debug)]
pub struct Dns {
    /// Where it answers questions.
    pub address: SocketAddr,
    /// Where it is told what to answer.
    pub management: SocketAddr,
    _process: Process,
}

impl Dns {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let (address, management) = (free_address(), free_address());
        let mut command = Command::new(program("pebble-challtestsrv", PACKAGE));
        command
            .args([
                "-dns01",
                &address.to_string(),
                "-management",
                &management.to_string(),
            ])
            .args([
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-defaultIPv6",
                "",
            ]);
        let process = Process::start(command);
        until("the DNS server listens", || {
            TcpStream::connect(management).ok()
        });
        until("the DNS server answers", || {
            TcpStream::connect(address).ok()
        });
        Self {
            address,
            management,
            _process: process,
        }
    }

    /// Gives a name another address.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn set_address(&self, host: &str, address: &str) {
        let body = serde_json::json!({"host": host, "addresses": [address]});
        self.post("/add-a", &body.to_string());
    }

    fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(self.management).expect("the DNS server");
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("a question");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
