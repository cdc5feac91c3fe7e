//! What request and response heads have in common.

/// A range of the buffer a head was parsed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span `start..end`; positions beyond 4 GiB do not occur in heads.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            start: narrow(start),
            end: narrow(end),
        }
    }

    /// The bytes in the buffer the head was parsed from; empty for another buffer.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Whether a field's name, made of token bytes, is `known` in any case; both are equally long.
///
/// Setting the bit that tells the cases apart makes no token byte equal to a letter, digit or hyphen
/// that it is not the same as, so that eight bytes are compared at a time.
fn is_name(name: &[u8], known: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let (name_words, name_rest) = name.as_chunks::<8>();
    let (known_words, known_rest) = known.as_chunks::<8>();
    name_rest
        .iter()
        .zip(known_rest)
        .all(|(a, b)| a | 0x20 == *b)
        && name_words
            .iter()
            .zip(known_words)
            .all(|(a, b)| u64::from_ne_bytes(*a) | CASE == u64::from_ne_bytes(*b))
}

macro_rules! known {
    ($($variant:ident = $name:literal,)+) => {
        /// Header fields that have a meaning here, classified once while parsing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            /// Any other field.
            Other,
            $(#[doc = concat!("`", $name, "`.")] $variant,)+
        }

        impl Known {
            /// All but [`Known::Other`].
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The lower-case name; empty for [`Known::Other`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { Self::Other => "", $(Self::$variant => $name,)+ }
            }

            /// The field with a name, in any case.
            #[must_use]
            pub fn of(name: &[u8]) -> Self {
                const LONGEST: usize = 20;
                // Candidates by length: at most a handful has to be compared.
                static BY_LENGTH: [&[Known]; LONGEST] = const {
                    const ALL: &[Known] = &[$(Known::$variant,)+];
                    let mut groups: [&[Known]; LONGEST] = [&[]; LONGEST];
                    // `known!` lists the names in order of their length.
                    let mut start = 0;
                    while start < ALL.len() {
                        let length = ALL[start].name().len();
                        let mut end = start;
                        while end < ALL.len() && ALL[end].name().len() == length {
                            end += 1;
                        }
                        groups[length] = ALL.split_at(end).0.split_at(start).1;
                        start = end;
                    }
                    groups
                };
                let candidates = BY_LENGTH.get(name.len()).copied().unwrap_or_default();
                let found = candidates
                    .iter()
                    .find(|known| is_name(name, known.name().as_bytes()));
                found.copied().unwrap_or(Self::Other)
            }
        }
    };
}

known! {
    Te = "te",
    Via = "via",
    Host = "host",
    Date = "date",
    Accept = "accept",
    Cookie = "cookie",
    Server = "server",
    Expect = "expect",
    Referer = "referer",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Location = "location",
    Forwarded = "forwarded",
    XRealIp = "x-real-ip",
    UserAgent = "user-agent",
    Connection = "connection",
    SetCookie = "set-cookie",
    KeepAlive = "keep-alive",
    ContentType = "content-type",
    XRequestId = "x-request-id",
    ProxyStatus = "proxy-status",
    CacheControl = "cache-control",
    Authorization = "authorization",
    ContentLength = "content-length",
    Http2Settings = "http2-settings",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    ProxyConnection = "proxy-connection",
    XForwardedProto = "x-forwarded-proto",
    TransferEncoding = "transfer-encoding",
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Which, if it has a meaning here.
    pub known: Known,
    /// It concerns this connection alone and is not forwarded (RFC 9110 section 7.6.1).
    pub hop: bool,
    /// The name as it came.
    pub name: Span,
    /// The value without white space around it.
    pub value: Span,
    /// One past the line's CRLF.
    pub line_end: u32,
}

/// Protocol version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2: the head came in frames and was written down as one of HTTP/1.1.
    Http2,
}

/// Request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `PATCH`.
    Patch,
    /// `TRACE`.
    Trace,
    /// `CONNECT`.
    Connect,
    /// Any other token.
    Other,
}

impl Method {
    /// The method with a name; case matters (RFC 9110 section 9.1).
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Whether it only reads (RFC 9110 section 9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending it twice has the effect of once (RFC 9110 section 9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// After so many bytes.
    Length(u64),
    /// Where the chunked coding says.
    Chunked,
    /// Where the connection ends; responses only.
    UntilClose,
}

/// Limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the first line.
    pub line: usize,
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Header fields.
    pub count: usize,
    /// What is taken although it is not as it should be.
    pub tolerates: Tolerance,
}

/// What is taken of requests although it is not as RFC 9112 wants it. It goes on in the right form.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent settings, read by name"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// HTTP/1.1 without `Host`.
    pub missing_host: bool,
    /// Lines that end in a line feed alone, and empty lines before a request.
    pub bare_lf: bool,
    /// `Content-Length` several times with the same value.
    pub repeated_length: bool,
    /// `Content-Length` beside chunks, which count, and chunks in HTTP/1.0; the connection ends with the
    /// request.
    pub length_and_chunks: bool,
    /// Quotes, angle brackets and backslashes in targets.
    pub wide_targets: bool,
    /// Bytes above ASCII in targets, and any visible character in names of headers.
    pub any_bytes: bool,
    /// Several spaces between the parts of a request line.
    pub extra_spaces: bool,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            line: 8 << 10,
            bytes: 32 << 10,
            count: 100,
            tolerates: Tolerance::default(),
        }
    }
}

/// How far a head has been parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head is complete.
    Complete,
}

/// Walks the items of a comma-separated list, without white space around them.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
}

/// Reads a plain decimal number that fits (RFC 9110 section 8.6).
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, &b| {
        b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_in_any_case_and_by_every_byte() {
        for &known in Known::ALL {
            let name = known.name().as_bytes();
            assert_eq!(Known::of(&name.to_ascii_uppercase()), known);
            for at in 0..name.len() {
                for byte in (0..=255_u8).filter(|&b| crate::scan::is_token(b)) {
                    let mut other = name.to_vec();
                    other[at] = byte;
                    let same = other.eq_ignore_ascii_case(name);
                    assert_eq!(Known::of(&other) == known, same, "{other:?}");
                }
            }
        }
    }
}
