//! Files as streams of bytes, whether they are compressed or not.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

/// Bytes by which a file is recognised.
const HEAD: usize = 64 * 1024;

/// A stream whose beginning is known.
pub(super) struct Input {
    /// The beginning.
    pub(super) head: Vec<u8>,
    stream: Box<dyn Read>,
    /// Bytes of the file, compressed or not; 0 = unknown.
    pub(super) size: u64,
    read: Rc<Cell<u64>>,
    /// What ended the beginning before its time.
    cut: Option<io::Error>,
}

impl Input {
    /// Opens a file.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Self::of(file, about.len())
    }

    /// Standard input.
    pub(super) fn stdin() -> io::Result<Self> {
        Self::of(io::stdin(), 0)
    }

    /// Another stream.
    pub(super) fn of(stream: impl Read + 'static, size: u64) -> io::Result<Self> {
        let read = Rc::new(Cell::new(0));
        let mut counted = Counted {
            stream,
            read: Rc::clone(&read),
        };
        let mut magic = Vec::new();
        (&mut counted).take(2).read_to_end(&mut magic)?;
        let is_gzip = magic == [0x1f, 0x8b];
        let whole = Cursor::new(magic).chain(counted);
        let mut stream: Box<dyn Read> = if is_gzip {
            Box::new(MultiGzDecoder::new(whole))
        } else {
            Box::new(whole)
        };
        let mut head = Vec::new();
        let most = HEAD.try_into().unwrap_or(u64::MAX);
        let result = stream.by_ref().take(most).read_to_end(&mut head);
        match result {
            // A compressed file that is cut has a beginning all the same.
            Err(error) if head.is_empty() => Err(error),
            result => Ok(Self {
                head,
                stream,
                size,
                read,
                cut: result.err(),
            }),
        }
    }

    /// Whole lines of the beginning, or what there is of the only one.
    pub(super) fn lines(&self) -> &[u8] {
        let whole = self.head.len() < HEAD;
        let end = self.head.iter().rposition(|byte| *byte == b'\n');
        match end {
            Some(end) if !whole => self.head.get(..=end).unwrap_or(&self.head),
            _ => &self.head,
        }
    }

    /// All of it, part by part; each call gets how much of the file has been read.
    pub(super) fn each(mut self, mut part: impl FnMut(&[u8], u64)) -> io::Result<()> {
        part(&self.head, self.read.get());
        if let Some(error) = self.cut {
            return Err(error);
        }
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            part(buffer.get(..count).unwrap_or_default(), self.read.get());
        }
    }

    /// All of it as text, if it is not larger than `most`.
    pub(super) fn text(mut self, most: u64) -> io::Result<String> {
        let mut bytes = std::mem::take(&mut self.head);
        let room = most.saturating_sub(bytes.len().try_into().unwrap_or(u64::MAX));
        let more = self
            .stream
            .by_ref()
            .take(room + 1)
            .read_to_end(&mut bytes)?;
        if u64::try_from(more).unwrap_or(u64::MAX) > room {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {} MiB", most >> 20),
            ));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Counts what is read.
struct Counted<R> {
    stream: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let count_64 = u64::try_from(count).unwrap_or(u64::MAX);
        self.read.set(self.read.get().saturating_add(count_64));
        Ok(count)
    }
}

/// What the error means for whoever named the file.
pub(super) fn words(error: &io::Error) -> String {
    let kind = error.kind();
    let advice = if kind == io::ErrorKind::PermissionDenied {
        ": run it as root, or as a user that may read it"
    } else if kind == io::ErrorKind::NotFound {
        ": is the name right?"
    } else {
        ""
    };
    // Without the number that the standard library puts behind.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    format!("{}{advice}", text.to_lowercase())
}
