//! Changes to a head that rules ask for, kept beside it until it is encoded.

use crate::head::{Field, Known, Span};

/// One change.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Set { name: Span, value: Span },
    Add { name: Span, value: Span },
    Remove { name: Span },
}

/// Changes in the order in which they were asked for. Made to be used again.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    text: Vec<u8>,
    edits: Vec<Edit>,
    target: Option<Span>,
    host: Option<Span>,
    status: Option<u16>,
    method: Option<Span>,
}

impl Edits {
    /// Forgets all changes, keeping the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.edits.clear();
        (self.target, self.host, self.status) = (None, None, None);
        self.method = None;
    }

    /// Replaces all fields with a name by one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        let (name, value) = (self.keep(name.as_bytes()), self.keep(value));
        self.edits.push(Edit::Set { name, value });
    }

    /// Adds a field behind those there are.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        let (name, value) = (self.keep(name.as_bytes()), self.keep(value));
        self.edits.push(Edit::Add { name, value });
    }

    /// Removes all fields with a name.
    pub fn remove(&mut self, name: &str) {
        let name = self.keep(name.as_bytes());
        self.edits.push(Edit::Remove { name });
    }

    /// Replaces the request target (origin form).
    pub fn set_target(&mut self, target: &[u8]) {
        self.target = Some(self.keep(target));
    }

    /// Replaces the host.
    pub fn set_host(&mut self, host: &[u8]) {
        self.host = Some(self.keep(host));
    }

    /// Replaces the method of a request, a token.
    pub fn set_method(&mut self, method: &[u8]) {
        self.method = Some(self.keep(method));
    }

    /// The new method, if any.
    #[must_use]
    pub fn method(&self) -> Option<&[u8]> {
        self.method.map(|span| span.of(&self.text))
    }

    /// Replaces the status of a response.
    pub fn set_status(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The new status, if any.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The new target, if any.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.target.map(|span| span.of(&self.text))
    }

    /// The new host, if any.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        self.host.map(|span| span.of(&self.text))
    }

    /// How many changes of headers there are: a mark for [`Edits::before`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.edits.len()
    }

    /// The changes that were made before a mark.
    #[must_use]
    pub fn before(&self, mark: usize) -> Self {
        let mut before = self.clone();
        before.edits.truncate(mark);
        before
    }

    /// Whether no header is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Whether the fields of the message with this name are dropped.
    #[must_use]
    pub fn drops(&self, name: &[u8]) -> bool {
        self.edits.iter().any(|edit| match edit {
            Edit::Set { name: n, .. } | Edit::Remove { name: n } => {
                n.of(&self.text).eq_ignore_ascii_case(name)
            }
            Edit::Add { .. } => false,
        })
    }

    /// Names and values of the fields that were set or added and not set or removed again later.
    pub fn written(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.edits.iter().enumerate().filter_map(|(at, edit)| {
            let (Edit::Set { name, value } | Edit::Add { name, value }) = edit else {
                return None;
            };
            let name = name.of(&self.text);
            let later = self.edits.get(at + 1..).unwrap_or_default();
            let undone = later.iter().any(|edit| match edit {
                Edit::Set { name: n, .. } | Edit::Remove { name: n } => {
                    n.of(&self.text).eq_ignore_ascii_case(name)
                }
                Edit::Add { .. } => false,
            });
            (!undone).then(|| (name, value.of(&self.text)))
        })
    }

    /// Writes the fields that were set or added and not set or removed again later.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.written() {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        Span::new(start, self.text.len())
    }
}

/// The values of a field as changes have left them: those that came and are still there, then those that were
/// written, in order. `fields` are those of the head in `buf`.
pub fn edited_lines<'a>(
    edits: Option<&'a Edits>,
    fields: &'a [Field],
    buf: &'a [u8],
    name: &'a [u8],
) -> impl Iterator<Item = &'a [u8]> + Clone {
    let known = Known::of(name);
    let host = edits
        .filter(|_| known == Known::Host)
        .and_then(|edits| edits.host());
    let is_gone = host.is_some() || edits.is_some_and(|edits| edits.drops(name));
    let is_it = move |field: &&Field| {
        field.known == known
            && (known != Known::Other || field.name.of(buf).eq_ignore_ascii_case(name))
    };
    let came = fields.iter().filter(move |_| !is_gone).filter(is_it);
    let came = came.map(move |field| field.value.of(buf));
    let written = edits.filter(|_| host.is_none()).into_iter();
    let written = written.flat_map(Edits::written);
    // As a parser reads them.
    let written = written
        .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim_ascii());
    host.into_iter().chain(came).chain(written)
}
