//! Limits of the whole host.

use std::io;

use clearway_outcome::Use;

use super::text;

/// Connections in the table of connection tracking and how many fit; `None` when this kernel or
/// network namespace does not track any.
///
/// # Errors
/// When the files are there and cannot be read.
pub fn conntrack() -> io::Result<Option<Use>> {
    let of = |name| text::number(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    let used = match of("count") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        count => count?,
    };
    let limit = of("max")?;
    Ok(Some(Use { used, limit }))
}

/// The most connections that may wait for any listener of this network namespace, whatever its
/// program asks for.
///
/// # Errors
/// When the file cannot be read.
pub fn somaxconn() -> io::Result<u64> {
    text::number("/proc/sys/net/core/somaxconn")
}

/// Open files of all processes and how many there may be.
///
/// # Errors
/// When the file cannot be read.
pub fn all_files() -> io::Result<Use> {
    let text = text::read("/proc/sys/fs/file-nr")?;
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.nth(1)) {
        (Some(Ok(used)), Some(Ok(limit))) => Ok(Use { used, limit }),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_above_what_is_used() {
        let files = all_files().unwrap();
        assert!(files.used > 0 && files.limit > files.used, "{files:?}");
        assert!(somaxconn().unwrap() > 0);
        if let Some(connections) = conntrack().unwrap() {
            assert!(connections.limit > 0, "{connections:?}");
        }
    }
}
