//! HPACK for tests (RFC 7541): an encoder that writes what it is told, and a decoder for what real
//! servers answer.

use std::collections::VecDeque;

use super::huffman;

/// Names and values that every table begins with (RFC 7541 appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// Where an entry of the dynamic table is first found.
pub const FIRST_DYNAMIC: usize = STATIC.len() + 1;

/// What becomes of a literal field (RFC 7541 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It enters the dynamic table.
    Indexed,
    /// It does not.
    Plain,
    /// It does not, and must not at later hops either.
    Never,
}

/// A header block that is put together piece by piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block(pub Vec<u8>);

impl Block {
    /// An empty block.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The pseudo-header fields of a request for host `test`.
    #[must_use]
    pub fn request(method: &str, path: &str) -> Self {
        Self::new()
            .field(":method", method)
            .field(":scheme", "http")
            .field(":path", path)
            .field(":authority", "test")
    }

    /// A block with these fields, each as a plain literal.
    #[must_use]
    pub fn of(fields: &[(&str, &str)]) -> Self {
        let all = fields.iter();
        all.fold(Self::new(), |block, (name, value)| block.field(name, value))
    }

    /// Adds a literal that does not enter the table, without Huffman coding.
    #[must_use]
    pub fn field(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.literal(Form::Plain, name, value)
    }

    /// Adds a literal with a name of its own.
    #[must_use]
    pub fn literal(mut self, form: Form, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push(first(form).0);
        self.text(name.as_ref()).text(value.as_ref())
    }

    /// Adds a literal with a name of its own, both strings with Huffman codes.
    #[must_use]
    pub fn huffman(mut self, form: Form, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.0.push(first(form).0);
        self.coded(&huffman::encode(name.as_ref()))
            .coded(&huffman::encode(value.as_ref()))
    }

    /// Adds a literal whose name is an entry of the table.
    #[must_use]
    pub fn named(mut self, form: Form, index: usize, value: impl AsRef<[u8]>) -> Self {
        let (mark, bits) = first(form);
        integer(&mut self.0, mark, bits, index);
        self.text(value.as_ref())
    }

    /// Adds an entry of the table.
    #[must_use]
    pub fn indexed(mut self, index: usize) -> Self {
        integer(&mut self.0, 0x80, 7, index);
        self
    }

    /// Changes the size of the table.
    #[must_use]
    pub fn table_size(mut self, size: usize) -> Self {
        integer(&mut self.0, 0x20, 5, size);
        self
    }

    /// Adds a string as it is.
    #[must_use]
    pub fn text(mut self, bytes: &[u8]) -> Self {
        integer(&mut self.0, 0, 7, bytes.len());
        self.raw(bytes)
    }

    /// Adds a string that is Huffman code already, right or wrong.
    #[must_use]
    pub fn coded(mut self, bytes: &[u8]) -> Self {
        integer(&mut self.0, 0x80, 7, bytes.len());
        self.raw(bytes)
    }

    /// Adds bytes, whatever they mean.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

impl From<Block> for Vec<u8> {
    fn from(block: Block) -> Self {
        block.0
    }
}

fn first(form: Form) -> (u8, u8) {
    match form {
        Form::Indexed => (0x40, 6),
        Form::Plain => (0, 4),
        Form::Never => (0x10, 4),
    }
}

/// Appends an integer with a prefix of `bits` bits (RFC 7541 section 5.1).
fn integer(out: &mut Vec<u8>, mark: u8, bits: u8, value: usize) {
    let most = (1_usize << bits) - 1;
    if value < most {
        out.push(mark | low(value));
        return;
    }
    out.push(mark | low(most));
    let mut rest = value - most;
    while rest >= 128 {
        out.push(0x80 | low(rest & 0x7f));
        rest >>= 7;
    }
    out.push(low(rest));
}

fn low(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

/// A field as it was decoded; bytes that are no text are replaced.
pub type Field = (String, String);

/// Decodes header blocks one after another.
#[derive(Debug)]
pub struct Decoder {
    table: VecDeque<Field>,
    size: usize,
    limit: usize,
    /// The largest table that was allowed to the other side.
    pub allowed: usize,
    /// Whether the next block has to begin with a change of size, because less was allowed.
    pub owes_update: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            limit: 4096,
            allowed: 4096,
            owes_update: false,
        }
    }
}

impl Decoder {
    /// Allows another size of table, as an acknowledged SETTINGS_HEADER_TABLE_SIZE does.
    pub fn allow(&mut self, size: usize) {
        self.owes_update |= size < self.size;
        self.allowed = size;
        self.limit = self.limit.min(size);
        self.evict();
    }

    /// Decodes a block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        let mut input = Input(block);
        let mut fields = Vec::new();
        while let Some(byte) = input.0.first().copied() {
            if byte & 0xe0 == 0x20 {
                if !fields.is_empty() {
                    return Err("a change of the table's size after a field".to_owned());
                }
                let size = input.integer(5)?;
                if size > self.allowed {
                    return Err(format!("a table of {size}, {} are allowed", self.allowed));
                }
                self.limit = size;
                self.owes_update = false;
                self.evict();
                continue;
            }
            if self.owes_update {
                return Err("no change of the table's size though less was allowed".to_owned());
            }
            fields.push(self.field(byte, &mut input)?);
        }
        Ok(fields)
    }

    fn field(&mut self, byte: u8, input: &mut Input<'_>) -> Result<Field, String> {
        if byte & 0x80 != 0 {
            return self.entry(input.integer(7)?);
        }
        let indexed = byte & 0x40 != 0;
        let name = match input.integer(if indexed { 6 } else { 4 })? {
            0 => input.string()?,
            index => self.entry(index)?.0,
        };
        let field = (name, input.string()?);
        if indexed {
            self.size += weight(&field);
            self.table.push_front(field.clone());
            self.evict();
        }
        Ok(field)
    }

    fn entry(&self, index: usize) -> Result<Field, String> {
        let at = index.checked_sub(1).ok_or("index 0")?;
        if let Some((name, value)) = STATIC.get(at) {
            return Ok(((*name).to_owned(), (*value).to_owned()));
        }
        let found = self.table.get(at - STATIC.len()).cloned();
        found.ok_or_else(|| format!("index {index} is not in the table"))
    }

    fn evict(&mut self) {
        while self.size > self.limit {
            let Some(gone) = self.table.pop_back() else {
                return;
            };
            self.size -= weight(&gone);
        }
    }
}

/// Size of an entry (RFC 7541 section 4.1).
fn weight((name, value): &Field) -> usize {
    name.len() + value.len() + 32
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let (first, rest) = self.0.split_first().ok_or("the block ends too early")?;
        self.0 = rest;
        Ok(*first)
    }

    fn integer(&mut self, bits: u8) -> Result<usize, String> {
        let most = (1_usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("an integer too large".to_owned())
    }

    fn string(&mut self) -> Result<String, String> {
        let coded = self.0.first().is_some_and(|byte| byte & 0x80 != 0);
        let length = self.integer(7)?;
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or("a string longer than the block")?;
        self.0 = rest;
        let bytes = if coded {
            huffman::decode(bytes)?
        } else {
            bytes.to_vec()
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> Field {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_requests_of_the_rfc() {
        // RFC 7541 appendix C.4: three requests on one connection.
        let mut decoder = Decoder::default();
        let blocks: [&[u8]; 3] = [
            &[
                0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab,
                0x90, 0xf4, 0xff,
            ],
            &[
                0x82, 0x86, 0x84, 0xbe, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf,
            ],
            &[
                0x82, 0x87, 0x85, 0xbf, 0x40, 0x88, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f,
                0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf,
            ],
        ];
        let mut last = Vec::new();
        for block in blocks {
            last = decoder.decode(block).unwrap();
        }
        let expected = [
            pair(":method", "GET"),
            pair(":scheme", "https"),
            pair(":path", "/index.html"),
            pair(":authority", "www.example.com"),
            pair("custom-key", "custom-value"),
        ];
        assert_eq!(last, expected);
        assert_eq!(decoder.size, 164);
    }

    #[test]
    fn blocks_come_back() {
        let block = Block::request("GET", "/a")
            .literal(Form::Indexed, "x-one", "1")
            .huffman(Form::Never, "x-two", "zwei")
            .named(Form::Indexed, 58, "kit")
            .indexed(FIRST_DYNAMIC + 1);
        let mut decoder = Decoder::default();
        let fields = decoder.decode(&block.0).unwrap();
        assert_eq!(fields[4], pair("x-one", "1"));
        assert_eq!(fields[5], pair("x-two", "zwei"));
        assert_eq!(fields[6], pair("user-agent", "kit"));
        assert_eq!(fields[7], pair("x-one", "1"));
    }

    #[test]
    fn tables_shrink_and_forget() {
        let mut decoder = Decoder::default();
        let long = "x".repeat(300);
        let entry = Block::new().literal(Form::Indexed, "a", &long);
        decoder.decode(&entry.0).unwrap();
        let reference = Block::new().indexed(FIRST_DYNAMIC);
        assert_eq!(decoder.decode(&reference.0).unwrap(), [pair("a", &long)]);
        decoder.allow(100);
        assert!(decoder.decode(&reference.0).is_err());
        assert!(decoder.decode(&Block::new().table_size(101).0).is_err());
        decoder.decode(&Block::new().table_size(100).0).unwrap();
        assert!(decoder.decode(&reference.0).is_err());
    }

    #[test]
    fn integers_of_all_lengths() {
        for value in [0, 1, 14, 15, 16, 142, 143, 16_000, 2_000_000] {
            let mut out = Vec::new();
            integer(&mut out, 0, 4, value);
            assert_eq!(Input(&out).integer(4), Ok(value));
        }
    }
}
