//! `[acme]`: certificates that are obtained and renewed by themselves.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{
    HeaderValue, Identifier, Reader, Spec, Text, Value, choices, print_inline, read_table,
    read_text, section_schema,
};
use crate::words;

concept! {
    /// Certificates by ACME (RFC 8555), for the names in `acme` and `on_demand` of listeners' `tls`. They
    /// are renewed when a third of their time is left, or when their authority says; a renewal that
    /// fails is told and tried again, and never takes a working certificate away. Unless the challenges
    /// are `["dns-01"]`, clients on the internet have to reach the names at ports 80 or 443 of this host.
    Acme, "[acme]";

    /// The authorities: URLs of directories, or tables. When one fails, the next is tried.
    issuers: Vec<AcmeIssuer> = vec![AcmeIssuer::lets_encrypt()],
        example = Some("[\"https://acme-v02.api.letsencrypt.org/directory\"]");
    /// Where the authorities may write to.
    contact: Vec<HeaderValue> = Vec::new(), example = Some("[\"mailto:admin@example.org\"]");
    /// The folder for accounts, keys and certificates, which nobody else may read. Several processes
    /// may share it: one of them orders, all use what it gets. Another folder takes a restart.
    storage: PathBuf = PathBuf::from("/var/lib/clearway/acme"), example = Some("\"/srv/acme\"");
    /// How control over names is proved, the best way first. Any listener with `mode = "http"` answers
    /// `http-01`, any that has `acme` or `on_demand` answers `tls-alpn-01`.
    challenges: Vec<AcmeChallenge> = vec![AcmeChallenge::Http01, AcmeChallenge::TlsAlpn01],
        example = Some("[\"dns-01\"]");
    /// How TXT records are set for `dns-01`.
    dns: Option<AcmeDns> = None, example = Some("{ exec = \"/etc/clearway/dns-hook\" }");
    /// What kind of key certificates have.
    key: AcmeKey = AcmeKey::EcdsaP256, example = Some("\"rsa-2048\"");
    /// Addresses that lead to this host besides its own, such as those of a NAT. Only the words about
    /// names that lead elsewhere depend on them.
    own_addresses: Vec<IpAddr> = Vec::new(), example = Some("[\"192.0.2.7\"]");
    /// How many certificates clients may cause to be ordered at once (`on_demand`).
    on_demand_burst: u32 = 10, example = Some("3");
    /// And how many in an hour after that.
    on_demand_per_hour: u32 = 60, example = Some("10");
    /// And how many are kept at most.
    on_demand_max: usize = 1_000, example = Some("50_000");
}
table_value!(Acme);

choices! {
    /// A way to prove control over a name.
    AcmeChallenge {
        /// An answer on port 80.
        Http01 = "http-01",
        /// A handshake on port 443.
        TlsAlpn01 = "tls-alpn-01",
        /// A TXT record; the only way for wildcards.
        Dns01 = "dns-01",
    }
}

choices! {
    /// The kind of a key.
    AcmeKey {
        /// ECDSA on P-256.
        EcdsaP256 = "ecdsa-p256",
        /// ECDSA on P-384.
        EcdsaP384 = "ecdsa-p384",
        /// RSA, 2,048 bits, for old clients.
        Rsa2048 = "rsa-2048",
    }
}

concept! {
    /// An authority: the URL of its directory, or a table.
    AcmeIssuer, "acme.issuers";

    /// The directory (RFC 8555 section 7.1.1).
    directory: HeaderValue = HeaderValue::default(), required = true,
        example = Some("\"https://acme.example.org/directory\"");
    /// What it is called; its host when absent.
    name: Option<Identifier> = None, example = Some("\"internal\"");
    /// The certificates that the directory may have (PEM), instead of the system's.
    ca: Option<PathBuf> = None, example = Some("\"/etc/clearway/internal-ca.pem\"");
    /// The key of an account that the authority knows already: its identifier (EAB).
    key_id: Option<HeaderValue> = None, example = Some("\"kid-1\"");
    /// And a file with the key itself, in base64.
    hmac_key_file: Option<PathBuf> = None, example = Some("\"/etc/clearway/eab.key\"");
    /// A profile that the authority offers.
    profile: Option<Identifier> = None, example = Some("\"shortlived\"");
    /// Whether the authority's own advice on when to renew is followed (RFC 9773).
    renewal_info: bool = true, example = Some("false");
}

impl AcmeIssuer {
    fn at(directory: HeaderValue) -> Self {
        Self {
            directory,
            ..Self::default()
        }
    }

    fn lets_encrypt() -> Self {
        let directory = HeaderValue::parse("https://acme-v02.api.letsencrypt.org/directory");
        Self::at(directory.unwrap_or_default())
    }

    /// Its name, or the host of its directory.
    #[must_use]
    pub fn label(&self) -> String {
        if let Some(name) = &self.name {
            return name.to_string();
        }
        let url = self.directory.as_str();
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        host.split('/').next().unwrap_or(host).to_owned()
    }
}

impl Value for AcmeIssuer {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if node.as_table().is_some() {
            return read_table(node, reader);
        }
        if node.as_text().is_none() {
            return reader.wrong_type(node, "the URL of a directory, or a table");
        }
        let mut issuer = Self::at(read_text(node, reader)?);
        let origin = reader.origin(&node.span);
        issuer.origins = crate::diagnostic::Origins::new(origin.clone());
        issuer.origins.set("directory", origin);
        Some(issuer)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        if *self == Self::at(self.directory.clone()) {
            out.push_str(&words::quoted(self.directory.as_str()));
        } else {
            print_inline(self, out);
        }
    }

    fn kind(_: &Spec) -> String {
        "URL, or table, see acme.issuers".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string" }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}

concept! {
    /// How TXT records are set: by a program (`exec`), or by dynamic updates (`server`, RFC 2136).
    AcmeDns, "acme.dns";

    /// A program that is run with three arguments: `present` or `cleanup`, the record's name, its value.
    exec: Option<PathBuf> = None, example = Some("\"/etc/clearway/dns-hook\"");
    /// The primary name server of the zone.
    server: Option<SocketAddr> = None, example = Some("\"10.0.0.53:53\"");
    /// The key that signs updates (TSIG, HMAC-SHA256): its name.
    key_name: Option<HeaderValue> = None, example = Some("\"clearway.\"");
    /// And a file with the key itself, in base64.
    key_file: Option<PathBuf> = None, example = Some("\"/etc/clearway/tsig.key\"");
    /// How long the program may run, or the server take to answer.
    timeout: Duration = Duration::from_secs(60);
    /// How long name servers may take to show a record; `"0s"` = they are not asked.
    propagation: Duration = Duration::from_secs(120);
}
table_value!(AcmeDns);
