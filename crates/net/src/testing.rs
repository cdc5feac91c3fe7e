//! Help for this crate's own tests.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clearway_outcome::Bind;

/// `127.0.0.1:80`, `*:80` for all addresses of both families, or `unix:/path`.
pub(crate) fn bind(text: &str) -> Bind {
    if let Some(path) = text.strip_prefix("unix:") {
        return Bind::Unix {
            path: path.into(),
            mode: None,
        };
    }
    let port = text.strip_prefix("*:");
    Bind::Ip {
        address: match port {
            Some(port) => (Ipv6Addr::UNSPECIFIED, port.parse().unwrap()).into(),
            None => text.parse().unwrap(),
        },
        dual: port.is_some(),
    }
}

/// Runs a future with sockets and timers; a test that hangs fails after ten seconds.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), future).await })
        .expect("no result after ten seconds")
}

/// A directory that goes away with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// Makes an empty directory of its own for a test.
pub(crate) fn scratch() -> Scratch {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("clearway-net-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir(&path).unwrap();
    Scratch(path)
}
