//! A name server (BIND) as a child process, with one zone that a key may change (RFC 2136).

use std::net::SocketAddr;
use std::process::Command;

use crate::TempDir;
use crate::pebble::free_address;
use crate::process::{Process, program};
use crate::wait::LIMIT;

/// The zone `example.org`. In it `_acme-challenge.b` is an alias of `b.auth`.
const ZONE: &str = "$TTL 60
@ SOA ns.example.org. admin.example.org. 1 60 60 600 60
@ NS ns
ns A 127.0.0.1
a A 127.0.0.1
_acme-challenge.b CNAME b.auth
";

/// BIND with that zone.
#[derive(Debug)]
pub struct Bind {
    /// Where it answers, and takes updates.
    pub address: SocketAddr,
    /// The key `update`, HMAC-SHA256, in base64.
    pub secret: String,
    _process: Process,
    _folder: TempDir,
}

impl Bind {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new();
        let address = free_address();
        let secret = "c2VjcmV0IG9mIHRoZSB0ZXN0LCAzMiBieXRlcyBsb25n".to_owned();
        folder.write("zone", ZONE);
        let config = format!(
            r#"options {{ directory "{here}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
pid-file none; session-keyfile none; recursion no; dnssec-validation no; notify no; }};
controls {{ }};
key "update" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "example.org" {{ type primary; file "zone"; allow-update {{ key "update"; }}; }};
"#,
            here = folder.path().display(),
            port = address.port(),
        );
        let mut command = Command::new(program("named", "bind9"));
        command.args(["-g", "-n", "1", "-c", &folder.write("named.conf", &config)]);
        let process = Process::start(command);
        let is_up = |line: &str| line.ends_with(" running").then_some(());
        let up = process.stderr.find(LIMIT, is_up);
        assert!(
            up.is_some(),
            "BIND does not start: {}",
            process.stderr.text()
        );
        Self {
            address,
            secret,
            _process: process,
            _folder: folder,
        }
    }
}
