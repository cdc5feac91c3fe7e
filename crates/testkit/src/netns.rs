//! Tests in a network namespace of their own, where addresses, routes and packet filters can be
//! changed at will.
//!
//! A namespace belongs to a process, so the test binary runs itself once more, inside
//! `unshare(1)`, with just the one test. As root a network namespace is enough; others get a user
//! namespace around it.

use std::path::Path;
use std::process::Command;

use crate::process::{output, program};

const INSIDE: &str = "CLEARWAY_TEST_IN_NETNS";

/// Runs `body` in a fresh network namespace whose loopback interface is up.
///
/// `test` is the full name of the calling test, as `cargo test` prints it.
///
/// # Panics
/// When `body` does, when namespaces are not allowed here, or when a program is missing.
#[expect(clippy::print_stdout, reason = "what the test inside said")]
pub fn run_in_new(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        ip("link set lo up");
        body();
        return;
    }
    let binary = std::env::current_exe().expect("own path");
    let mut command = Command::new(program("unshare", "util-linux"));
    command.arg(if is_root() { "-n" } else { "-Urn" });
    command
        .arg("--")
        .arg(binary)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, test);
    let text = output(&mut command);
    assert!(
        text.contains("1 passed"),
        "no test is named {test:?}:\n{text}"
    );
    print!("{text}");
}

/// Runs `ip` with arguments separated by spaces.
///
/// # Panics
/// When it fails or is missing.
pub fn ip(arguments: &str) -> String {
    output(Command::new(program("ip", "iproute2")).args(arguments.split_whitespace()))
}

/// Runs `nft` with one command.
///
/// # Panics
/// When it fails or is missing.
pub fn nft(command: &str) -> String {
    output(Command::new(program("nft", "nftables")).arg(command))
}

/// A filter table with an `input` and an `output` chain that accept everything; rules are added
/// with `nft("add rule inet test input …")`.
///
/// # Panics
/// When it cannot be made.
pub fn filter_table() {
    nft("add table inet test");
    nft("add chain inet test input { type filter hook input priority 0 ; }");
    nft("add chain inet test output { type filter hook output priority 0 ; }");
}

/// Whether we run as root, who needs no user namespace.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|m| m.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_only_loopback() {
        run_in_new("netns::tests::a_namespace_has_only_loopback", || {
            let links = ip("-o link");
            assert_eq!(links.lines().count(), 1, "{links}");
            ip("addr add 192.0.2.1/24 dev lo");
            assert!(std::net::TcpListener::bind("192.0.2.1:80").is_ok());
            filter_table();
            nft("add rule inet test input tcp dport 80 drop");
            let to = "192.0.2.1:80".parse().unwrap();
            let limit = std::time::Duration::from_millis(50);
            let error = std::net::TcpStream::connect_timeout(&to, limit).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        });
    }
}
