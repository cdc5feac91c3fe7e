//! What travels from a worker to the thread that writes access logs: a Record, the logs that it goes
//! to, and the values that each of them asked for.
//!
//! The same form as [`crate::codec`]: one process, no version.

use clearway_base::intern::Name;

/// Longest value kept; what is behind it is cut off.
pub const VALUE_MAX: usize = 4_096;

/// Most logs of one request, and most values of one log.
pub const COUNT_MAX: usize = 255;

/// Marks a value that is not there.
const ABSENT: u16 = u16::MAX;

/// Writes what goes before the Record. Values are given log by log, in the order of the template.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    logs: usize,
    values: Option<usize>,
}

impl<'a> Writer<'a> {
    /// Begins at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let logs = out.len();
        out.push(0);
        Self {
            out,
            logs,
            values: None,
        }
    }

    /// Begins with another log, known by its name; after [`COUNT_MAX`] it is left out.
    pub fn log(&mut self, name: Name) {
        if !up(self.out, self.logs) {
            return;
        }
        self.out.extend_from_slice(&name.raw().to_le_bytes());
        self.values = Some(self.out.len());
        self.out.push(0);
    }

    /// Gives the next value of the log as `write` writes it.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.out.len();
        self.value(Some(b""));
        let start = self.out.len();
        if start == at {
            return;
        }
        write(self.out);
        self.out.truncate(start + VALUE_MAX);
        let length = u16::try_from(self.out.len() - start).unwrap_or(0);
        if let Some(place) = self.out.get_mut(at..start) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Gives the next value of the log, or none.
    pub fn value(&mut self, value: Option<&[u8]>) {
        let Some(values) = self.values else { return };
        if !up(self.out, values) {
            return;
        }
        let Some(value) = value else {
            return self.out.extend_from_slice(&ABSENT.to_le_bytes());
        };
        let value = value.get(..value.len().min(VALUE_MAX)).unwrap_or_default();
        let length = u16::try_from(value.len()).unwrap_or(0);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(value);
    }
}

/// Counts one more in a place, unless it is full.
fn up(out: &mut [u8], at: usize) -> bool {
    match out.get_mut(at) {
        Some(count) if usize::from(*count) < COUNT_MAX => {
            *count += 1;
            true
        }
        _ => false,
    }
}

/// The values that a log asked for, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> Values<'a> {
    /// Those behind the first few.
    #[must_use]
    pub fn behind(mut self, count: usize) -> Self {
        for _ in 0..count.min(usize::from(self.count)) {
            if take_value(&mut self.bytes).is_none() {
                return Self::default();
            }
            self.count -= 1;
        }
        self
    }

    /// The value at a place; `None` when it is not there.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<&'a [u8]> {
        let mut rest = self.bytes;
        for _ in 0..place.min(usize::from(self.count)) {
            take_value(&mut rest)?;
        }
        (place < usize::from(self.count)).then(|| take_value(&mut rest))??
    }
}

/// Reads what a [`Writer`] wrote: shows each log with its values, then gives what is behind them,
/// which is the Record. `None` for anything else.
pub fn read<'a>(bytes: &'a [u8], mut log: impl FnMut(Name, Values<'a>)) -> Option<&'a [u8]> {
    let mut rest = bytes;
    for _ in 0..take(&mut rest, 1)?.first().copied()? {
        let raw = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
        let count = take(&mut rest, 1)?.first().copied()?;
        let values = Values { count, bytes: rest };
        for _ in 0..count {
            take_value(&mut rest)?;
        }
        log(Name::from_raw(raw), values);
    }
    Some(rest)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

/// The outer `None` means that there is not enough.
fn take_value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match u16::from_le_bytes(take(rest, 2)?.try_into().ok()?) {
        ABSENT => Some(None),
        length => take(rest, usize::from(length)).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_rubbish_is_refused() {
        let (one, two) = (Name::new("one"), Name::new("two"));
        let long = vec![b'x'; VALUE_MAX + 5];
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.log(one);
        writer.log(two);
        for value in [Some(b"a".as_slice()), None, Some(b"")] {
            writer.value(value);
        }
        writer.write(|out| out.extend_from_slice(&long));
        bytes.extend_from_slice(b"record");
        let mut seen = Vec::new();
        let rest = read(&bytes, |name, values| seen.push((name, values)));
        assert_eq!(rest, Some(b"record".as_slice()));
        assert_eq!((seen[0].0, seen[0].1.at(0)), (one, None));
        let (name, values) = seen[1];
        assert_eq!(name, two);
        assert_eq!(values.at(0), Some(b"a".as_slice()));
        assert_eq!((values.at(1), values.at(4)), (None, None));
        assert_eq!(values.at(2), Some(b"".as_slice()));
        assert_eq!(values.at(3).map(<[u8]>::len), Some(VALUE_MAX));
        for cut in 0..bytes.len() - b"record".len() {
            assert!(read(&bytes[..cut], |_, _| ()).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn too_many_are_left_out() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.log(Name::new("one"));
        for _ in 0..300 {
            writer.value(Some(b"v"));
        }
        let mut count = 0;
        let rest = read(&bytes, |_, values| {
            count = (0..300).filter(|&at| values.at(at).is_some()).count();
        });
        assert_eq!((rest, count), (Some(b"".as_slice()), COUNT_MAX));
    }
}
