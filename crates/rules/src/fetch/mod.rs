//! Fetches: named sources of values. One list gives the spellings, the documentation and the code.
//!
//! To add one: a function in a file of this folder and an entry in the list.

mod body;
mod connection;
pub(crate) mod edited;
pub(crate) mod payload;
mod request;
mod response;
mod source;
mod tls;
mod upstream;

use clearway_http::Known;

use crate::convert::{Convert, split};
use crate::scratch::{Captures, Scratch};
use crate::view::View;

pub(crate) use connection::client;
pub(crate) use source::{Source, Text};

/// What a fetch may look at.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) scratch: &'a Scratch,
    pub(crate) captures: &'a Captures,
    /// Give values as the client wrote them (templates) instead of decoded (tests).
    pub(crate) raw: bool,
}

impl<'a> Context<'a> {
    /// For tests: values decoded.
    pub(crate) fn for_tests(view: &'a View<'a>, scratch: &'a Scratch) -> Self {
        Self {
            view,
            scratch,
            captures: scratch.captures(),
            raw: false,
        }
    }

    /// For templates: values as they came.
    pub(crate) fn for_templates(view: &'a View<'a>, scratch: &'a Scratch) -> Self {
        Self {
            raw: true,
            ..Self::for_tests(view, scratch)
        }
    }
}

/// The part of a spelling behind the colon, prepared.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) text: Box<str>,
    pub(crate) known: Known,
}

impl Argument {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            known: Known::of(text.as_bytes()),
        }
    }
}

/// Takes one value and says whether that was enough.
pub(crate) type Visit<'f> = dyn FnMut(&[u8]) -> bool + 'f;

/// Shows the values to `visit` until it has had enough, and says whether it has.
pub(crate) type Get = fn(&Context<'_>, &Argument, &mut Visit<'_>) -> bool;

/// When a value can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The head of the request is complete.
    Request,
    /// The head of the response is complete.
    Response,
}

/// One line of the reference of fetches.
#[derive(Clone, Copy, Debug)]
pub struct FetchDoc {
    /// The word, without argument.
    pub spelling: &'static str,
    /// Whether an argument follows: `header:NAME`.
    pub argument: bool,
    /// When its value can be had.
    pub since: Since,
    /// What it is.
    pub summary: &'static str,
}

macro_rules! fetches {
    (
        plain { $($(#[doc = $doc:literal])+ $plain:ident = $spelling:literal $since:ident $get:path;)+ }
        named { $($(#[doc = $named_doc:literal])+
            $named:ident = $named_spelling:literal $named_since:ident $named_get:path;)+ }
    ) => {
        /// Where a value comes from.
        ///
        /// Headers, host and cookies are those that came; `path` and `query` follow rewrites.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Fetch {
            $($(#[doc = $doc])+ $plain,)+
            $($(#[doc = $named_doc])+ $named(String),)+
            /// A group of the last regular expression with groups that matched; 0 is all of it.
            Capture(u8),
            /// A variable that an action has set; behind a comma what it is when it is not set.
            Variable(String),
            /// What a named [`crate::ast::Map`] yields.
            Map(String),
            /// A number of what a counter tracks: `tracked:0,http_req_rate`.
            Tracked(String),
            /// The key that a counter tracks.
            TrackedKey(String),
            /// How many entries a table has.
            TableUsed(String),
            /// How many more entries a table can take.
            TableFree(String),
            /// This text.
            Literal(String),
            /// What becomes of a value that goes through converters.
            Converted(Box<Self>, Vec<Convert>),
        }

        impl Fetch {
            /// The reference, one entry per spelling, without `map`: not every language has maps.
            pub const REFERENCE: &'static [FetchDoc] = &[
                $(FetchDoc { spelling: $spelling, argument: false, since: Since::$since,
                    summary: concat!($($doc,)+) },)+
                $(FetchDoc { spelling: $named_spelling, argument: true, since: Since::$named_since,
                    summary: concat!($($named_doc,)+) },)+
                FetchDoc { spelling: "var", argument: true, since: Since::Request,
                    summary: " A variable that a rule has set; with `,TEXT` that text where it is not set." },
                FetchDoc { spelling: "tracked", argument: true, since: Since::Request,
                    summary: " A number of what a counter tracks, `COUNTER,WHAT`: what a `[table.NAME]` stores, \
                    `exists`, `trackers`, `idle` or `left`. With `,inc` it is counted up first, with `,clear` \
                    it is 0 afterwards." },
                FetchDoc { spelling: "tracked_key", argument: true, since: Since::Request,
                    summary: " The key that a counter tracks." },
                FetchDoc { spelling: "table_used", argument: true, since: Since::Request,
                    summary: " How many entries a table has." },
                FetchDoc { spelling: "table_free", argument: true, since: Since::Request,
                    summary: " How many more entries a table can take." },
                FetchDoc { spelling: "text", argument: true, since: Since::Request,
                    summary: " This text, for converters; perhaps in double quotes." },
            ];

            fn plain(word: &str) -> Option<Self> {
                match word { $($spelling => Some(Self::$plain),)+ _ => None }
            }

            fn named(word: &str, argument: &str) -> Option<Self> {
                match word {
                    $($named_spelling => Some(Self::$named(argument.to_owned())),)+
                    "var" => Some(Self::Variable(argument.to_owned())),
                    "map" => Some(Self::Map(argument.to_owned())),
                    "tracked" => Some(Self::Tracked(argument.to_owned())),
                    "tracked_key" => Some(Self::TrackedKey(argument.to_owned())),
                    "table_used" => Some(Self::TableUsed(argument.to_owned())),
                    "table_free" => Some(Self::TableFree(argument.to_owned())),
                    _ => None,
                }
            }

            /// The code behind it; `None` for those that are not in the list.
            pub(crate) fn source(&self) -> Option<(Get, Argument, Since)> {
                match self {
                    $(Self::$plain => Some(($get, Argument::new(""), Since::$since)),)+
                    $(Self::$named(argument) =>
                        Some(($named_get, Argument::new(argument), Since::$named_since)),)+
                    Self::Capture(_)
                    | Self::Variable(_)
                    | Self::Map(_)
                    | Self::Tracked(_)
                    | Self::TrackedKey(_)
                    | Self::TableUsed(_)
                    | Self::TableFree(_)
                    | Self::Literal(_)
                    | Self::Converted(..) => None,
                }
            }
        }

        impl std::fmt::Display for Fetch {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$plain => f.write_str($spelling),)+
                    $(Self::$named(argument) => write!(f, "{}:{argument}", $named_spelling),)+
                    Self::Capture(group) => group.fmt(f),
                    Self::Variable(name) => write!(f, "var:{name}"),
                    Self::Map(name) => write!(f, "map:{name}"),
                    Self::Tracked(what) => write!(f, "tracked:{what}"),
                    Self::TrackedKey(counter) => write!(f, "tracked_key:{counter}"),
                    Self::TableUsed(name) => write!(f, "table_used:{name}"),
                    Self::TableFree(name) => write!(f, "table_free:{name}"),
                    Self::Literal(text) => {
                        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                        write!(f, "text:\"{text}\"")
                    }
                    Self::Converted(fetch, converts) => {
                        fetch.fmt(f)?;
                        converts.iter().try_for_each(|convert| write!(f, "|{convert}"))
                    }
                }
            }
        }
    };
}

fetches! {
    plain {
        /// Host of the request: lower case, without port and without a dot at the end.
        Host = "host" Request request::host;
        /// Host of the request; the address that the client connected to where it has none.
        HostOrAddress = "host_or_address" Request connection::host_or_address;
        /// Path in normal form: dot segments and doubled slashes removed, unreserved characters
        /// decoded. Follows rewrites.
        Path = "path" Request request::path;
        /// Path as the client wrote it.
        RawPath = "raw_path" Request request::raw_path;
        /// Path as the server will see it: after rewrites, not brought into normal form.
        SentPath = "sent_path" Request edited::path;
        /// Path and query as the server will see them.
        SentTarget = "sent_target" Request edited::target;
        /// Host as the server will see it, with its port where it has one.
        SentHost = "sent_host" Request edited::host;
        /// Host as the server will see it, and the path behind it.
        Base = "base" Request edited::base;
        /// Query without `?`. Follows rewrites.
        Query = "query" Request request::query;
        /// `?` when there is a query that is not empty, else nothing.
        QuerySign = "query_sign" Request request::query_sign;
        /// Path and query as the client wrote them.
        Target = "target" Request request::target;
        /// Method.
        Method = "method" Request request::method;
        /// Method as the client wrote it, whatever rules see in its place.
        MethodCame = "method_came" Request request::method_came;
        /// Protocol version: `1.0` or `1.1`.
        Version = "version" Request request::version;
        /// Address of the client.
        Source = "client_ip" Request connection::source;
        /// Port of the client.
        SourcePort = "client_port" Request connection::source_port;
        /// Address that the connection came from, whatever headers say.
        Peer = "peer_ip" Request connection::peer;
        /// Smoothed round-trip time of the client's connection in microseconds, as the kernel has measured
        /// it. This and what follows about TCP has no value on a Unix socket.
        TcpRtt = "tcp_rtt_us" Request connection::tcp_rtt;
        /// How much the round-trip time of the client's connection varies, in microseconds.
        TcpRttVariation = "tcp_rttvar_us" Request connection::tcp_rttvar;
        /// Congestion window of the client's connection, in segments.
        TcpCongestionWindow = "tcp_cwnd" Request connection::tcp_cwnd;
        /// Bytes that the kernel expects to receive of the client in one round trip.
        TcpReceiveSpace = "tcp_rcv_space" Request connection::tcp_rcv_space;
        /// Port that the connection came from, whatever headers say.
        PeerPort = "peer_port" Request connection::peer_port;
        /// Requests on the client's connection so far, this one included.
        Requests = "connection_requests" Request connection::requests;
        /// Seconds since 1970, with three decimals.
        ExactTime = "exact_time" Request connection::exact_now;
        /// Name of the user in `Authorization: Basic` (RFC 7617), whoever checks it.
        User = "remote_user" Request request::user;
        /// Bytes of the request's head and of a body whose length is told.
        RequestLength = "request_length" Request request::length;
        /// Port that the client connected to.
        Port = "port" Request connection::port;
        /// `:PORT` of the port that the client connected to, unless its scheme stands for it.
        PortSuffix = "port_suffix" Request connection::port_suffix;
        /// The version that stands in a ClientHello, 65,536 for each whole one: 196,611 is 3.3, which is
        /// TLS 1.2. Nothing where none was read.
        TlsHelloVersion = "tls_hello_version" Request tls::hello_version;
        /// How many bytes have come of a connection that is passed through; of a request, of its head.
        PayloadLength = "payload_length" Request payload::length;
        /// `1` when a connection that is passed through begins with a request of HTTP, else `0`.
        PayloadHttp = "payload_http" Request payload::is_http;
        /// Address that the client connected to.
        Local = "server_ip" Request connection::local;
        /// Name of the listener.
        Listener = "listener" Request connection::listener;
        /// `http` or `https`, as the client speaks it.
        Scheme = "scheme" Request connection::scheme;
        /// Id of the request.
        RequestId = "id" Request connection::id;
        /// A random id (RFC 9562, version 4): the same each time in one request.
        Uuid = "uuid" Request connection::uuid;
        /// 1 when the client speaks TLS, or where it is passed through has begun to, else 0.
        TlsHello = "tls_hello" Request tls::hello;
        /// Version of TLS with the client: `TLSv1.3` or `TLSv1.2`. This and what follows about TLS has
        /// no value on a plain connection.
        TlsVersion = "tls_version" Request tls::version;
        /// Cipher suite of TLS with the client, in IANA's words.
        TlsCipher = "tls_cipher" Request tls::cipher;
        /// Name that the client asked for in the TLS handshake (SNI).
        TlsServerName = "tls_server_name" Request tls::server_name;
        /// Application protocol agreed on in the TLS handshake (ALPN).
        TlsAlpn = "tls_alpn" Request tls::alpn;
        /// Highest version of TLS that a client offers whose connection is passed through: `TLSv1.3`.
        TlsOfferedVersion = "tls_offered_version" Request tls::offered_version;
        /// Application protocols (ALPN) that a client offers whose connection is passed through, with
        /// commas between.
        TlsOfferedAlpn = "tls_offered_alpn" Request tls::offered_alpn;
        /// `true` when the client resumed an earlier TLS session, else `false`.
        TlsResumed = "tls_resumed" Request tls::resumed;
        /// Subject of the client's certificate (RFC 4514), as are those below of one that was shown.
        ClientCertSubject = "client_cert_subject" Request tls::subject;
        /// Issuer of the client's certificate (RFC 4514).
        ClientCertIssuer = "client_cert_issuer" Request tls::issuer;
        /// Serial number of the client's certificate in lower-case hexadecimal.
        ClientCertSerial = "client_cert_serial" Request tls::serial;
        /// SHA-256 of the client's certificate in lower-case hexadecimal.
        ClientCertFingerprint = "client_cert_fingerprint" Request tls::fingerprint;
        /// DNS names and addresses of the client's certificate, with commas between.
        ClientCertNames = "client_cert_names" Request tls::names;
        /// When the client's certificate ends (RFC 3339).
        ClientCertNotAfter = "client_cert_not_after" Request tls::not_after;
        /// `verified` when the client showed a certificate, else `none`.
        ClientCertVerdict = "client_cert_verdict" Request tls::verdict;
        /// Name of the backend that a request goes to as far as that is known, else of the listener.
        Chosen = "chosen_backend" Request connection::chosen;
        /// 1 when no request came on the connection before this one, else 0.
        FirstRequest = "first_request" Request connection::first;
        /// Seconds since 1970.
        Now = "unix_time" Request connection::now;
        /// The body of the request as far as a rule has waited for it; without the coding of chunks.
        Body = "body" Request body::body;
        /// Count of its bytes.
        BodyBytes = "body_bytes" Request body::bytes;
        /// Count of the bytes that it has or will have, as far as that is known.
        BodySize = "body_size" Request body::size;
        /// Status of the response.
        Status = "status" Response response::status;
        /// Name of the backend.
        Backend = "backend" Response response::backend;
        /// Name of the server.
        Server = "server" Response response::server;
        /// Addresses and ports of the servers of all attempts, with `, ` between, as are the values of those
        /// that follow. Nothing where no server was asked.
        UpstreamAddress = "upstream_addr" Response upstream::address;
        /// Statuses of the servers of all attempts; what a fault is answered with where there was none.
        UpstreamStatus = "upstream_status" Response upstream::status;
        /// Seconds that each attempt took, `-` for one that is under way.
        UpstreamTime = "upstream_response_time" Response upstream::response_time;
        /// Seconds until each attempt had its connection, `-` where it had none.
        UpstreamConnect = "upstream_connect_time" Response upstream::connect_time;
        /// Seconds until the first byte of the response in each attempt, `-` where none came.
        UpstreamHeader = "upstream_header_time" Response upstream::header_time;
        /// Bytes of the body that came of each attempt that is over.
        UpstreamLength = "upstream_response_length" Response upstream::length;
        /// Bytes written to the server in each attempt that is over.
        UpstreamSent = "upstream_bytes_sent" Response upstream::sent;
        /// Bytes read from the server in each attempt that is over.
        UpstreamReceived = "upstream_bytes_received" Response upstream::received;
        /// Place of the server in its backend, from 1.
        ServerPlace = "server_place" Response response::place;
    }
    named {
        /// The first bytes of a connection that is passed through, `OFFSET,LENGTH`; a length of 0 means all
        /// that have come.
        Payload = "payload" Request payload::bytes;
        /// Host of the request; this text where it has none.
        HostOr = "host" Request request::host_or;
        /// Address of the client; this text where it has none.
        SourceOr = "client_ip" Request connection::source_or;
        /// A parameter of the query whatever the case of its name, as it came: the first that has a value.
        AnyCaseQuery = "any_case_query" Request request::any_case_query;
        /// A cookie whatever the case of its name: the first.
        AnyCaseCookie = "any_case_cookie" Request request::any_case_cookie;
        /// Address that a PROXY header names: `from` is where the connection came from, `to` where it went.
        ProxiedIp = "proxied_ip" Request connection::proxied_ip;
        /// Port that a PROXY header names, `from` or `to`.
        ProxiedPort = "proxied_port" Request connection::proxied_port;
        /// What else a PROXY header says: `authority`, the name that the client asked for, `unique_id`, or what
        /// stands in the field of a type, which is a number.
        ProxiedField = "proxied_field" Request connection::proxied_field;
        /// A header of the request. Tests hold when they do for one of several.
        Header = "header" Request request::header;
        /// Lines of a header as the rules before have left them; in templates the last one. With `,N` the
        /// one with a number from 1, or from the end with a negative one.
        HeaderLine = "header_line" Request edited::header_line;
        /// Items of a header as the rules before have left it, with commas between; in templates the
        /// last one. With `,N` the one with a number.
        HeaderItem = "header_item" Request edited::header_item;
        /// Count of the items of a header, with commas between.
        HeaderItems = "header_items" Request edited::header_items;
        /// Count of the lines of a header.
        HeaderLines = "header_lines" Request edited::header_lines;
        /// Count of the servers of a backend that requests may go to now.
        ServersUp = "servers_up" Request connection::servers_up;
        /// 1 when requests may go to a server, `BACKEND/SERVER`, now, else 0.
        ServerUp = "server_up" Request connection::server_up;
        /// Names of the headers as the rules before have left them, with this text between.
        HeaderNames = "header_names" Request edited::header_names;
        /// Count of the cookies of a name; `*` is any.
        Cookies = "cookies" Request request::cookies;
        /// A number from 0, below this one, by chance: the same each time in one request.
        Random = "random" Request connection::random;
        /// A cookie; `*` is any.
        Cookie = "cookie" Request request::cookie;
        /// A parameter of the query: decoded in tests, as it came in templates.
        QueryParam = "query" Request request::query_param;
        /// A cookie that the response sets.
        ResponseCookie = "response_cookie" Response response::cookie;
        /// A parameter in a body that is a form, as it came.
        BodyParam = "body_param" Request body::param;
        /// A header of the response.
        ResponseHeader = "response_header" Response response::header;
        /// Lines of a header of the response, as `header_line`.
        ResponseHeaderLine = "response_header_line" Response edited::response_line;
        /// Items of a header of the response, as `header_item`.
        ResponseHeaderItem = "response_header_item" Response edited::response_item;
        /// Count of the items of a header of the response.
        ResponseHeaderItems = "response_header_items" Response edited::response_items;
        /// Count of the lines of a header of the response.
        ResponseHeaderLines = "response_header_lines" Response edited::response_lines;
    }
}

impl Fetch {
    /// Reads a spelling such as `host`, `header:x-a` or `1`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((fetch, mut rest)) = split(text, '|') {
            let mut converts = Vec::new();
            while let Some((convert, more)) = split(rest, '|') {
                converts.push(Convert::parse(convert)?);
                rest = more;
            }
            converts.push(Convert::parse(rest)?);
            return Ok(Self::parse(fetch)?.through(converts));
        }
        if let Some(fetch) = Self::plain(text) {
            return Ok(fetch);
        }
        if let Some(text) = text.strip_prefix("text:") {
            return Ok(Self::Literal(unquoted(text)));
        }
        if let [digit @ b'0'..=b'9'] = text.as_bytes() {
            return Ok(Self::Capture(digit - b'0'));
        }
        let Some((word, argument)) = text.split_once(':') else {
            return Err(unknown(text));
        };
        let fetch = Self::named(word, argument).ok_or_else(|| unknown(word))?;
        if argument.is_empty() {
            return Err(format!("{text:?} lacks a name behind the colon"));
        }
        Ok(fetch)
    }
}

impl Fetch {
    /// The text when it is always the same.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        if let Self::Literal(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The same with converters behind those it goes through already.
    #[must_use]
    pub fn through(self, mut more: Vec<Convert>) -> Self {
        if more.is_empty() {
            return self;
        }
        if let Self::Converted(fetch, mut converts) = self {
            converts.append(&mut more);
            return Self::Converted(fetch, converts);
        }
        Self::Converted(Box::new(self), more)
    }
}

/// A text without the quotes around it.
fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let Some(inner) = inner else {
        return text.to_owned();
    };
    let (mut out, mut chars) = (String::new(), inner.chars());
    while let Some(next) = chars.next() {
        match next {
            '\\' => out.extend(chars.next()),
            next => out.push(next),
        }
    }
    out
}

fn unknown(word: &str) -> String {
    let spellings = Fetch::REFERENCE.iter().map(|doc| match doc.argument {
        true => format!("{}:NAME", doc.spelling),
        false => doc.spelling.to_owned(),
    });
    let known: Vec<String> = spellings.collect();
    format!("{word:?} is not known; known are {}", known.join(", "))
}

/// Room for a short text on the stack: addresses, numbers.
pub(crate) struct Short {
    bytes: [u8; 64],
    len: usize,
}

impl Short {
    /// The printed form of a value; what does not fit is cut off.
    pub(crate) fn of(value: impl std::fmt::Display) -> Self {
        use std::fmt::Write;
        let mut short = Self {
            bytes: [0; 64],
            len: 0,
        };
        // Nothing that is printed here is longer than an IPv6 address.
        let fits = write!(short, "{value}").is_ok();
        debug_assert!(fits);
        short
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_printed() {
        for doc in Fetch::REFERENCE {
            let text = match doc.argument {
                true if doc.spelling == "text" => "text:\"a \\\"|}\"".to_owned(),
                true => format!("{}:x-a", doc.spelling),
                false => doc.spelling.to_owned(),
            };
            let fetch = Fetch::parse(&text).unwrap();
            assert_eq!(fetch.to_string(), text);
            assert!(doc.summary.trim_end().ends_with('.'), "{text}");
            if let Some((_, _, since)) = fetch.source() {
                assert_eq!(since, doc.since, "{text}");
            }
        }
        assert_eq!(Fetch::parse("3"), Ok(Fetch::Capture(3)));
        let map = Fetch::Map("m".to_owned());
        assert_eq!(Fetch::parse(&map.to_string()), Ok(map));
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_list() {
        for bad in ["", "hosts", "header", "header:", "12", "foo:bar"] {
            assert!(Fetch::parse(bad).is_err(), "{bad}");
        }
        assert!(Fetch::parse("hots").unwrap_err().contains("header:NAME"));
    }
}
