//! `tls`: encryption with clients (of a listener) and with servers (of a backend).

use std::path::PathBuf;

use serde_json::json;

use super::matching::Condition;
use super::table::{Tally, Track};
use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{
    BodyText, FetchText, HostPattern, Identifier, Reader, Spec, Text, Value, choices, print_inline,
    read_table, read_text, section_schema,
};
use crate::words;

concept! {
    /// TLS with clients. Certificates are read again when their files change; one that cannot be used
    /// then leaves the one before in its place.
    ListenerTls, "listener.NAME.tls";

    /// The certificates with their keys: files, directories (ending in `/`) or tables. The one for the
    /// name that a client asks for (SNI) is used, ECDSA before RSA where there are both; the first of
    /// all for clients that ask for another name or none.
    certificates: Vec<CertificateFiles> = Vec::new(),
        example = Some("[\"/etc/clearway/example.org.pem\", \"/etc/clearway/tls.d/\", { certificate = \"a.crt\", key = \"a.key\" }]");
    /// Names whose certificates are obtained and renewed by themselves, each its own; see `[acme]`.
    acme: Vec<HostPattern> = Vec::new(), example = Some("[\"example.org\", \"www.example.org\"]");
    /// Names whose certificates are obtained when a client asks for them, `*.` for all below: its
    /// handshake waits as long as `timeouts.tls_handshake` allows. Only names that you vouch for: strangers
    /// choose what they ask for.
    on_demand: Vec<HostPattern> = Vec::new(), example = Some("[\"*.customers.example.org\"]");
    /// Whether clients that ask for a name of which there is no certificate are refused, instead of
    /// getting the first certificate.
    strict_names: bool = false, example = Some("true");
    /// Names whose clients are refused, whatever certificates there are.
    refused_names: Vec<HostPattern> = Vec::new(), example = Some("[\"old.example.org\"]");
    /// Which versions are spoken.
    profile: TlsProfile = TlsProfile::Intermediate, example = Some("\"modern\"");
    /// The application protocols agreed on, the best first. In `mode = "http"` the default is
    /// `["h2", "http/1.1", "http/1.0"]`, in `mode = "tcp"` none.
    alpn: Option<Vec<Alpn>> = None, example = Some("[\"http/1.1\"]");
    /// Certificates that clients have to show. Servers learn of them by headers that a rule sets, such as
    /// `set_request_headers = { x-client-cert = "${client_cert_subject}" }`: a header of that name from
    /// the client is replaced, or removed when the value is empty. Under other names that servers believe
    /// (`ssl-client-verify`, `x-ssl-client-s-dn`) a client can send what it likes: remove those with
    /// `remove_request_headers`.
    client_certificates: Option<ClientCertificates> = None,
        example = Some("{ ca = \"/etc/clearway/clients-ca.pem\" }");
    /// Whether clients may resume sessions with tickets. Their keys live in memory, change every six
    /// hours and are shared by all workers.
    resumption: bool = true, example = Some("false");
    /// Whether requests are taken that clients send along with the resumption of a session (0-RTT), before
    /// they have proved that they are there. Only requests with safe methods and without a body are begun
    /// then; servers learn of it by `Early-Data: 1` and may refuse with 425 (RFC 8470). All others wait for
    /// the handshake. A session is resumed once only, so that nobody can play such a request back; that
    /// takes memory instead of tickets (10,240 sessions), and holds within this process.
    early_data: bool = false, example = Some("true");
    /// Whether the key exchange X25519MLKEM768, which quantum computers do not break, is offered.
    post_quantum: bool = true, example = Some("false");
    /// A file that the secrets of all connections are written to, in the format of `SSLKEYLOGFILE`.
    /// Whoever has it can read everything.
    key_log: Option<PathBuf> = None, example = Some("\"/root/keys.log\"");
}
table_value!(ListenerTls);

impl ListenerTls {
    /// Whether certificates are obtained for it.
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        !self.acme.is_empty() || !self.on_demand.is_empty()
    }
}

choices! {
    /// Which versions of TLS are spoken, in Mozilla's words.
    TlsProfile {
        /// TLS 1.3 alone.
        Modern = "modern",
        /// TLS 1.3, and TLS 1.2 with forward secrecy and authenticated encryption.
        Intermediate = "intermediate",
    }
}

concept! {
    /// Certificates of clients.
    ClientCertificates, "client_certificates";

    /// The authorities that issue them (PEM).
    ca: PathBuf = PathBuf::new(), required = true, example = Some("\"/etc/clearway/clients-ca.pem\"");
    /// Lists of revoked certificates (PEM), which are read again when they change.
    crl: Option<PathBuf> = None, example = Some("\"/etc/clearway/clients.crl\"");
    /// Whether clients without a certificate are served too; rules tell them apart by `client_cert`.
    optional: bool = false, example = Some("true");
}
table_value!(ClientCertificates);

concept! {
    /// Where TLS connections go that are passed through, by what their ClientHello asks for.
    Passthrough, "passthrough";

    /// Names asked for (SNI), `*.` for all below; any when absent.
    server_name: Vec<HostPattern> = Vec::new(), example = Some("[\"a.example.org\", \"*.b.example.org\"]");
    /// Application protocols (ALPN) of which one has to be offered; any when absent.
    alpn: Vec<Alpn> = Vec::new(), example = Some("[\"h2\"]");
    /// What has to hold besides: conditions on `client_ip`, `client_port`, `port`, `server_ip` and values
    /// of TLS, `tls_hello` and `tls_server_name` among them, and on `payload`, `payload_length` and
    /// `payload_http`. Nothing is waited for that no condition looks at, so servers may speak first.
    when: Condition = Condition::default(), example = Some("{ source = \"10.0.0.0/8\" }");
    /// The backend; the listener's own when absent.
    backend: Option<Identifier> = None, example = Some("\"app\"");
    /// Whether such connections are closed at once.
    reject: bool = false, example = Some("true");
    /// Whether such connections are let in: further ways that reject are passed over, and nothing more is
    /// waited for.
    accept: bool = false, example = Some("true");
    /// What such clients are told before their connection is closed, in place of a backend.
    reply: Option<BodyText> = None, example = Some("\"${client_ip}\\n\"");
    /// Keys that are tracked as long as the connection is open. With this or `tally` the next way is looked at.
    track: Vec<Track> = Vec::new(), example = Some("{ table = \"clients\", until = \"connection\" }");
    /// Numbers of what is tracked that are changed.
    tally: Vec<Tally> = Vec::new(), example = Some("{ what = \"gpc0\", add = \"1\" }");
}
table_value!(Passthrough);

impl Passthrough {
    /// Whether connections that it is for are only counted, and the next way is looked at.
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.track.is_empty() || !self.tally.is_empty()
    }

    /// Whether the first bytes of a client that is passed through have to be looked at for it.
    #[must_use]
    pub fn needs_hello(&self) -> bool {
        !self.server_name.is_empty() || !self.alpn.is_empty() || self.when.looks_at("tls_")
    }
}

concept! {
    /// TLS with servers. `tls = true` verifies them against the system's authorities.
    BackendTls, "backend.NAME.tls";

    /// Whether certificates are verified. Without it anybody on the way can read and change everything.
    verify: bool = true, example = Some("false");
    /// The authorities that issue the servers' certificates (PEM), instead of the system's.
    ca: Option<PathBuf> = None, example = Some("\"/etc/clearway/internal-ca.pem\"");
    /// Lists of revoked certificates (PEM), which are read again when they change.
    crl: Option<PathBuf> = None, example = Some("\"/etc/clearway/internal.crl\"");
    /// The name that is asked for (SNI) and that certificates have to have; the server's own host name
    /// or address when absent.
    server_name: Option<HostPattern> = None, example = Some("\"app.internal\"");
    /// A value of the request that is the name instead, where it is one. Connections are kept for requests
    /// with the same name. Checks ask for `server_name`.
    server_name_from: Option<FetchText> = None, example = Some("\"host\"");
    /// Whether certificates have to have the name. Without it any server will do that one of the
    /// authorities has issued a certificate for.
    verify_name: bool = true, example = Some("false");
    /// Whether servers are told the name (SNI).
    send_name: bool = true, example = Some("false");
    /// The certificate that we show to servers which demand one.
    certificate: Option<CertificateFiles> = None, example = Some("\"/etc/clearway/client.pem\"");
    /// Which versions are spoken.
    profile: TlsProfile = TlsProfile::Intermediate, example = Some("\"modern\"");
    /// Whether the key exchange X25519MLKEM768, which quantum computers do not break, is offered.
    post_quantum: bool = true, example = Some("false");
    /// A file that the secrets of all connections are written to.
    key_log: Option<PathBuf> = None, example = Some("\"/root/keys.log\"");
}

impl Value for BackendTls {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if node.as_table().is_some() {
            return read_table(node, reader);
        }
        if node.as_bool() != Some(true) {
            return reader.wrong_type(node, "true, or a table; for no TLS leave it out");
        }
        Some(Self {
            origins: crate::diagnostic::Origins::new(reader.origin(&node.span)),
            ..Self::default()
        })
    }

    fn print(&self, _: &Spec, out: &mut String) {
        if *self == Self::default() {
            out.push_str("true");
        } else {
            print_inline(self, out);
        }
    }

    fn kind(_: &Spec) -> String {
        "true, or table, see backend.NAME.tls".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "const": true }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}

concept! {
    /// A certificate: a PEM file with the chain and the key (or the key beside it in a file that ends
    /// in `.key`), a directory (ending in `/`) of such files, or a table.
    CertificateFiles, "certificate";

    /// The chain (PEM), the certificate itself first; with the key, when there is no `key`.
    certificate: PathBuf = PathBuf::new(), required = true, example = Some("\"a.crt\"");
    /// The key (PEM).
    key: Option<PathBuf> = None, example = Some("\"a.key\"");
    /// An OCSP response (DER) that is stapled to it.
    ocsp: Option<PathBuf> = None, example = Some("\"a.ocsp\"");
    /// Names (SNI) that clients get it for, in place of those that it holds, `*.` for all below.
    names: Vec<HostPattern> = Vec::new(), example = Some("[\"a.example.org\", \"*.b.example.org\"]");
    /// Names that clients do not get it for although `names` means them.
    except: Vec<HostPattern> = Vec::new(), example = Some("[\"c.b.example.org\"]");
}

impl CertificateFiles {
    /// A certificate in one file, or those of a directory.
    fn at(path: PathBuf) -> Self {
        Self {
            certificate: path,
            ..Self::default()
        }
    }

    /// Whether it stands for all certificates in a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.key.is_none()
            && self
                .certificate
                .as_os_str()
                .as_encoded_bytes()
                .ends_with(b"/")
    }
}

impl Value for CertificateFiles {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if node.as_table().is_some() {
            return read_table(node, reader);
        }
        if node.as_text().is_none() {
            return reader.wrong_type(node, "a path, or a table with certificate and key");
        }
        let mut files = Self::at(read_text(node, reader)?);
        let origin = reader.origin(&node.span);
        files.origins = crate::diagnostic::Origins::new(origin.clone());
        files.origins.set("certificate", origin);
        Some(files)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        if *self == Self::at(self.certificate.clone()) {
            out.push_str(&words::quoted(&self.certificate.text()));
        } else {
            print_inline(self, out);
        }
    }

    fn kind(_: &Spec) -> String {
        "path, or table, see certificate".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string" }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}

/// The name of an application protocol (RFC 7301): 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Alpn(String);

impl Alpn {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Text for Alpn {
    const KIND: &'static str = "application protocol such as \"h2\" or \"http/1.1\"";

    fn parse(text: &str) -> Result<Self, crate::value::Problem> {
        let is_sound =
            (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_sound {
            return Ok(Self(text.to_owned()));
        }
        Err(crate::value::Problem::new(
            format!("{text:?} is no application protocol"),
            Self::KIND,
        ))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    #[cfg(test)]
    fn sample(_: &mut clearway_base::rng::Rng) -> Self {
        Self("h2".to_owned())
    }
}
crate::value::text_values!(Alpn);
