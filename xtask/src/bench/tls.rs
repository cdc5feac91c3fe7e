//! TLS with the proxies: the certificate, what clients offer, and what is agreed on.
//!
//! All clients offer one version, one cipher and one group, so no proxy can choose something cheaper.
//! Those that use OpenSSL get their offer from a configuration file; ours is in [`super::handshakes`].

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::guard::Folder;
use crate::shell;

/// The name in the certificate.
pub(crate) const NAME: &str = "bench.example.org";

/// OpenSSL's words for the one cipher.
pub(crate) const CIPHER: &str = "TLS_AES_128_GCM_SHA256";
/// And for the one group.
pub(crate) const GROUP: &str = "X25519";

/// A configuration of OpenSSL that holds for every program that does not say otherwise.
fn defaults(settings: &str) -> String {
    format!(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n{settings}\n"
    )
}

/// Files that TLS needs.
pub(crate) struct Files {
    /// Certificate (ECDSA on P-256) and key in one PEM file.
    pub(crate) certificate: PathBuf,
    /// OpenSSL's configuration that makes clients offer what we want.
    offer: PathBuf,
    /// OpenSSL's configuration for servers that give no tickets: HAProxy has no word for that.
    pub(crate) no_tickets: PathBuf,
}

impl Files {
    /// Makes them.
    ///
    /// # Errors
    /// When openssl(1) fails.
    pub(crate) fn create(folder: &Folder) -> Result<Self, String> {
        let offer = format!("MinProtocol = TLSv1.3\nCiphersuites = {CIPHER}\nGroups = {GROUP}");
        let offer = folder.write("offer.cnf", defaults(&offer))?;
        let no_tickets = folder.write("no-tickets.cnf", defaults("NumTickets = 0"))?;
        let path = |name: &str| folder.path().join(name);
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
            .arg(format!("/CN={NAME}"))
            .arg("-addext")
            .arg(format!("subjectAltName=DNS:{NAME}"))
            .arg("-keyout")
            .arg(path("tls.key"))
            .arg("-out")
            .arg(path("tls.crt"));
        shell::output(&mut command)?;
        let read = |name: &str| {
            std::fs::read_to_string(path(name)).map_err(|error| format!("{name}: {error}"))
        };
        let certificate = folder.write("tls.pem", read("tls.crt")? + &read("tls.key")?)?;
        Ok(Self {
            certificate,
            offer,
            no_tickets,
        })
    }

    /// Makes a program with OpenSSL offer what all clients offer.
    pub(crate) fn offer<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("OPENSSL_CONF", &self.offer)
    }

    /// Asks a listener on the loopback interface what it agrees on.
    ///
    /// # Errors
    /// When there is no connection, or it does not agree on what all have to use.
    pub(crate) fn probe(&self, port: u16, alpn: &str) -> Result<Agreed, String> {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-servername", NAME, "-alpn", alpn, "-connect"])
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::null());
        let text = shell::output(self.offer(&mut command))?;
        let agreed =
            Agreed::parse(&text).ok_or_else(|| format!("openssl said nothing of use: {text}"))?;
        agreed.check().map(|()| agreed)
    }
}

/// What client and proxy agreed on, in OpenSSL's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    version: String,
    cipher: String,
    group: String,
    signature: String,
    /// Empty: none.
    pub(crate) alpn: String,
}

impl Agreed {
    /// From what `openssl s_client` prints.
    fn parse(text: &str) -> Option<Self> {
        let after = |prefix: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(prefix))?;
            Some(rest.split(',').next().unwrap_or(rest).trim().to_owned())
        };
        let new = text.lines().find(|line| line.contains(", Cipher is "))?;
        let (version, cipher) = new.split_once(", Cipher is ")?;
        Some(Self {
            version: version.rsplit(", ").next()?.to_owned(),
            cipher: cipher.to_owned(),
            group: after("Server Temp Key: ").or_else(|| after("Peer Temp Key: "))?,
            signature: after("Peer signature type: ")?,
            alpn: after("ALPN protocol: ").unwrap_or_default(),
        })
    }

    fn check(&self) -> Result<(), String> {
        let is_right = self.version == "TLSv1.3"
            && self.cipher == CIPHER
            && self.group == GROUP
            && self.signature.to_ascii_lowercase().starts_with("ecdsa");
        if is_right {
            return Ok(());
        }
        Err(format!("it agreed on something else: {self}"))
    }
}

impl Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            cipher,
            group,
            signature,
            alpn,
        } = self;
        write!(f, "{version}, {cipher}, {group}, certificate {signature}")?;
        match alpn.as_str() {
            "" => f.write_str(", no ALPN"),
            alpn => write!(f, ", ALPN {alpn}"),
        }
    }
}

/// What h2load says about TLS has to be what all use.
///
/// # Errors
/// When it is not.
pub(crate) fn check_h2load(text: &str) -> Result<(), String> {
    let group = format!("Server Temp Key: {GROUP} ");
    let cipher = format!("Cipher: {CIPHER}");
    let wanted = [
        "TLS Protocol: TLSv1.3",
        &cipher,
        &group,
        "Application protocol: h2",
    ];
    match wanted.iter().find(|line| !text.contains(**line)) {
        None => Ok(()),
        Some(line) => Err(format!("h2load does not say `{line}`: {text}")),
    }
}

/// One request over HTTP/2 by nghttp(1), before any load: whether it is spoken at all.
///
/// # Errors
/// What is missing from the answer.
pub(crate) fn visit_h2(files: &Files, url: &str, body: Option<&Path>) -> Result<(), String> {
    let mut command = Command::new("nghttp");
    command.args(["-nv", "-t", "5"]).stdin(Stdio::null());
    if let Some(body) = body {
        command.arg("-d").arg(body);
        for header in super::load::GRPC_HEADERS {
            command.args(["-H", header]);
        }
    }
    let text = shell::output(files.offer(&mut command).arg(url))?;
    let received = |what: &str| {
        text.lines()
            .any(|line| line.contains(" recv (stream_id=") && line.ends_with(what))
    };
    if !received(") :status: 200") {
        return Err(format!(
            "no answer with status 200 over HTTP/2: {}",
            last(&text)
        ));
    }
    if body.is_some() && !received(") grpc-status: 0") {
        return Err(format!("no trailer grpc-status: 0: {}", last(&text)));
    }
    Ok(())
}

/// The last lines of a long text.
fn last(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .get(lines.len().saturating_sub(4)..)
        .unwrap_or_default()
        .join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "---\nNo client certificate CA names sent\nPeer signing digest: SHA256\n\
        Peer signature type: ECDSA\nServer Temp Key: X25519, 253 bits\n---\n\
        New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256\nServer public key is 256 bit\n\
        ALPN protocol: http/1.1\n";

    #[test]
    fn what_openssl_says_is_read() {
        let agreed = Agreed::parse(SAID).unwrap();
        assert_eq!(agreed.check(), Ok(()));
        assert_eq!(
            agreed.to_string(),
            "TLSv1.3, TLS_AES_128_GCM_SHA256, X25519, certificate ECDSA, ALPN http/1.1"
        );
        let other = SAID.replace("X25519", "ECDH, prime256v1");
        assert!(Agreed::parse(&other).unwrap().check().is_err());
        let other = SAID.replace("AES_128", "AES_256");
        assert!(Agreed::parse(&other).unwrap().check().is_err());
        assert_eq!(Agreed::parse("New, (NONE), Cipher is (NONE)\n"), None);
    }

    #[test]
    fn the_certificate_and_its_key_are_one_file() {
        let folder = Folder::create().unwrap();
        let files = Files::create(&folder).unwrap();
        let text = std::fs::read_to_string(&files.certificate).unwrap();
        assert!(text.contains("BEGIN CERTIFICATE") && text.contains("PRIVATE KEY"));
    }
}
