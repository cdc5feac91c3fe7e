//! Small files that the kernel makes up when they are read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of such a file that are read.
const MAX: u64 = 1 << 20;

/// A file as text, up to a megabyte; bytes that are no UTF-8 are replaced.
pub(super) fn read(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut bytes));
    read.map_err(|error| about(path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The one number in a file.
pub(super) fn number(path: impl AsRef<Path>) -> io::Result<u64> {
    let path = path.as_ref();
    let text = read(path)?;
    let number = text.trim().parse();
    number.map_err(|_| {
        about(
            path,
            &io::Error::other(format!("{:?} is no number", text.trim())),
        )
    })
}

/// The error with the file that it is about; the kind stays.
pub(super) fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
