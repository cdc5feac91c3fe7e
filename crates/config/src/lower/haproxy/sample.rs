//! Sample expressions: a fetch and converters, `req.hdr(host),lower,field(1,:)`.

use clearway_rules::ast::{Convert, Fetch};

use super::{maps, tables};

/// What kind of value an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Truth,
    Address,
    Method,
}

/// An expression, understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) fetch: Fetch,
    pub(super) kind: Kind,
    /// The way of matching that the name of the fetch asks for: `path_beg`.
    pub(super) method: Option<&'static str>,
}

/// A word with arguments in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
}

impl Call {
    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", |text| text.trim())
    }
}

/// Ways of matching that may stand behind the name of a fetch.
const METHODS: [&str; 8] = ["beg", "dir", "dom", "end", "len", "reg", "sub", "str"];

/// Reads an expression.
///
/// # Errors
/// A sentence about what is not known.
pub(super) fn read(text: &str) -> Result<Sample, String> {
    let calls = calls(text)?;
    let Some((first, converters)) = calls.split_first() else {
        return Err("an expression is missing".to_owned());
    };
    let mut sample = fetch(first)?;
    for call in converters {
        let (convert, kind) = converter(call, sample.kind)?;
        sample.fetch = sample.fetch.through(convert);
        sample.kind = kind.unwrap_or(sample.kind);
        sample.method = None;
    }
    Ok(sample)
}

/// The calls of an expression, between commas.
pub(super) fn calls(text: &str) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(['(', ',']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let mut call = Call {
            name: name.trim().to_owned(),
            arguments: Vec::new(),
        };
        let mut after = tail;
        if let Some(inner) = tail.strip_prefix('(') {
            let (arguments, behind) =
                arguments(inner).ok_or_else(|| format!("{text:?} lacks a closing parenthesis"))?;
            call.arguments = arguments;
            after = behind;
        }
        if call.name.is_empty() {
            return Err(format!("{text:?} is no expression"));
        }
        calls.push(call);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.trim().is_empty() => return Ok(calls),
            None => return Err(format!("{after:?} stands behind an expression")),
        }
    }
}

/// Arguments up to the closing parenthesis, and what stands behind it.
pub(super) fn arguments(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut all, mut current) = (Vec::new(), String::new());
    let mut quote: Option<char> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, next)) = chars.next() {
        match (next, quote) {
            ('\\', None | Some('"')) => {
                let escaped = chars.next_if(|(_, c)| "\\'\",() #rnt".contains(*c));
                current.push(match escaped {
                    Some((_, 'r')) => '\r',
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, other)) => other,
                    None => '\\',
                });
            }
            ('"' | '\'', None) => quote = Some(next),
            (_, Some(open)) if next == open => quote = None,
            (')', None) => {
                all.push(current);
                if all.len() == 1 && all.iter().all(String::is_empty) {
                    all.clear();
                }
                return Some((all, text.get(at + 1..).unwrap_or_default()));
            }
            (',', None) => all.push(std::mem::take(&mut current)),
            _ => current.push(next),
        }
    }
    None
}

fn fetch(call: &Call) -> Result<Sample, String> {
    if let Some(found) = tables::fetch(call) {
        let method = None;
        return found.map(|(fetch, kind)| Sample {
            fetch,
            kind,
            method,
        });
    }
    if let Some(found) = plain(call)
        .or_else(|| header(call))
        .or_else(|| secure(call))
        .or_else(|| payload(call))
    {
        return found;
    }
    // `path_beg` is `path` with a way of matching; `hdr_dom(host)` likewise.
    if let Some((stem, method)) = call.name.rsplit_once('_')
        && let Some(method) = METHODS.into_iter().find(|known| *known == method)
    {
        let stem = Call {
            name: stem.to_owned(),
            arguments: call.arguments.clone(),
        };
        if let Some(found) = plain(&stem)
            .or_else(|| header(&stem))
            .or_else(|| secure(&stem))
        {
            return found.map(|sample| Sample {
                method: Some(method),
                ..sample
            });
        }
    }
    Err(format!("the value {:?} is not known here", call.name))
}

fn sample(fetch: Fetch, kind: Kind) -> Option<Result<Sample, String>> {
    Some(Ok(Sample {
        fetch,
        kind,
        method: None,
    }))
}

/// 1 when the value is a text, else 0.
fn is(fetch: Fetch, text: &str) -> Option<Result<Sample, String>> {
    sample(
        fetch.through(vec![Convert::with("is", &[text])]),
        Kind::Truth,
    )
}

/// Fetches about the request and the connection, constants and variables.
fn plain(call: &Call) -> Option<Result<Sample, String>> {
    match call.name.as_str() {
        "path" => sample(Fetch::SentPath, Kind::Text),
        "pathq" | "url" | "capture.req.uri" => sample(Fetch::SentTarget, Kind::Text),
        "base" => sample(Fetch::Base, Kind::Text),
        "query" => sample(Fetch::Query, Kind::Text),
        "method" | "capture.req.method" => sample(Fetch::Method, Kind::Method),
        "req.ver" | "req_ver" => sample(Fetch::Version, Kind::Text),
        "capture.req.ver" => sample(
            Fetch::Version.through(vec![Convert::with("concat", &["HTTP/", ""])]),
            Kind::Text,
        ),
        "src" => sample(Fetch::Source, Kind::Address),
        "src_port" => sample(Fetch::SourcePort, Kind::Number),
        "uuid" if matches!(call.argument(0), "" | "4") => sample(Fetch::Uuid, Kind::Text),
        "dst_port" => sample(Fetch::Port, Kind::Number),
        "fe_name" => sample(Fetch::Listener, Kind::Text),
        "be_name" => sample(Fetch::Backend, Kind::Text),
        "srv_name" => sample(Fetch::Server, Kind::Text),
        "status" => sample(Fetch::Status, Kind::Number),
        "unique-id" => sample(Fetch::RequestId, Kind::Text),
        "url_param" | "urlp" => parameter(call, Kind::Text),
        "url_param_val" | "urlp_val" => parameter(call, Kind::Number),
        "cook_cnt" | "req.cook_cnt" => sample(Fetch::Cookies(any(call)), Kind::Number),
        "req.hdr_names" => {
            let between = call.arguments.first().map_or(",", String::as_str);
            sample(Fetch::HeaderNames(between.to_owned()), Kind::Text)
        }
        "fc_http_major" | "bc_http_major" => sample(
            Fetch::Version.through(vec![Convert::with("field", &["1", "."])]),
            Kind::Number,
        ),
        "dst" => sample(Fetch::Local, Kind::Address),
        "rand" => {
            let below = match call.argument(0) {
                "" => "4294967296",
                below => below,
            };
            sample(Fetch::Random(below.to_owned()), Kind::Number)
        }
        "nbsrv" if !call.argument(0).is_empty() => {
            sample(Fetch::ServersUp(call.argument(0).to_owned()), Kind::Number)
        }
        "srv_is_up" if call.argument(0).contains('/') => {
            sample(Fetch::ServerUp(call.argument(0).to_owned()), Kind::Truth)
        }
        "cook" | "req.cook" => sample(Fetch::Cookie(any(call)), Kind::Text),
        "cook_val" | "req.cook_val" => sample(Fetch::Cookie(any(call)), Kind::Number),
        "res.cook" | "scook" if !call.argument(0).is_empty() => sample(
            Fetch::ResponseCookie(call.argument(0).to_owned()),
            Kind::Text,
        ),
        "http_first_req" => sample(Fetch::FirstRequest, Kind::Truth),
        "req.body" => sample(Fetch::Body, Kind::Text),
        "req.body_len" => sample(Fetch::BodyBytes, Kind::Number),
        "req.body_size" => sample(Fetch::BodySize, Kind::Number),
        "req.body_param" if !call.argument(0).is_empty() => {
            sample(Fetch::BodyParam(call.argument(0).to_owned()), Kind::Text)
        }
        "srv_id" => sample(Fetch::ServerPlace, Kind::Number),
        "date" => {
            let mut steps = Vec::new();
            if !matches!(call.argument(0), "" | "0") {
                steps.push(Convert::with("add", &[call.argument(0)]));
            }
            match call.argument(1) {
                "" | "s" => sample(Fetch::Now.through(steps), Kind::Number),
                _ => None,
            }
        }
        "base32" => sample(
            Fetch::Base.through(vec![Convert::with("sdbm", &["2"])]),
            Kind::Number,
        ),
        "last_rule_file" | "last_rule_line" => None,
        _ => connection(call)
            .or_else(|| constant(call))
            .or_else(|| kept(call)),
    }
}

/// What is known of the connection with the client, whatever rules have set in its place.
fn connection(call: &Call) -> Option<Result<Sample, String>> {
    match call.name.as_str() {
        "fc_src" => sample(Fetch::Peer, Kind::Address),
        "fc_src_port" => sample(Fetch::PeerPort, Kind::Number),
        "fc_dst" => sample(Fetch::Local, Kind::Address),
        "fc_dst_port" => sample(Fetch::Port, Kind::Number),
        "fc_pp_authority" => sample(Fetch::ProxiedField("authority".to_owned()), Kind::Text),
        "fc_pp_unique_id" => sample(Fetch::ProxiedField("unique_id".to_owned()), Kind::Text),
        _ => None,
    }
}

/// Constants.
fn constant(call: &Call) -> Option<Result<Sample, String>> {
    let literal = |text: &str| Fetch::Literal(text.to_owned());
    match call.name.as_str() {
        "str" => sample(
            literal(call.arguments.first().map_or("", String::as_str)),
            Kind::Text,
        ),
        "int" => sample(literal(call.argument(0)), Kind::Number),
        "bin" => sample(
            literal(call.argument(0)).through(vec![Convert::new("unhex")]),
            Kind::Text,
        ),
        "nbproc" => sample(literal("1"), Kind::Number),
        "bool" => sample(literal(truth(call.argument(0))), Kind::Truth),
        "ipv4" | "ipv6" => sample(literal(call.argument(0)), Kind::Address),
        "always_true" => sample(literal("1"), Kind::Truth),
        "always_false" => sample(literal("0"), Kind::Truth),
        "req_proto_http" | "req.proto_http" => sample(literal("1"), Kind::Truth),
        _ => None,
    }
}

/// What rules and sections have put into variables.
fn kept(call: &Call) -> Option<Result<Sample, String>> {
    match call.name.as_str() {
        "capture.req.hdr" => sample(captured("req", call.argument(0)), Kind::Text),
        "capture.res.hdr" => sample(captured("res", call.argument(0)), Kind::Text),
        "var" => {
            let name = match call.arguments.get(1) {
                Some(default) => format!("{},{default}", variable(call.argument(0))),
                None => variable(call.argument(0)),
            };
            sample(Fetch::Variable(name), Kind::Text)
        }
        "cur_server_timeout" => sample(Fetch::Variable("timeout.server".to_owned()), Kind::Number),
        "cur_tunnel_timeout" => sample(Fetch::Variable("timeout.tunnel".to_owned()), Kind::Number),
        "be_server_timeout" | "be_tunnel_timeout" => {
            sample(Fetch::Variable(of_proxy(&call.name)), Kind::Number)
        }
        "fe_id" | "so_name" | "so_id" => sample(Fetch::Variable(of_proxy(&call.name)), Kind::Text),
        _ => None,
    }
}

/// The name of a cookie; without one any is meant.
fn any(call: &Call) -> String {
    match call.argument(0) {
        "" => "*".to_owned(),
        name => name.to_owned(),
    }
}

/// A parameter of the query as it stands there.
fn parameter(call: &Call, kind: Kind) -> Option<Result<Sample, String>> {
    // Where the query begins elsewhere, parameters are looked for behind that.
    let name = call.argument(0);
    let param = |delimiters: &str| Convert::with("param", &[name, delimiters]);
    match call.argument(1) {
        "" | "?" => sample(Fetch::Query.through(vec![param("&;")]), kind),
        from => {
            let behind = Convert::with("field", &["2", from, "0"]);
            let delimiters = format!("&{from}");
            sample(
                Fetch::SentTarget.through(vec![behind, param(&delimiters)]),
                kind,
            )
        }
    }
}

/// The variable with what a section says of itself: the rules of the section set it where it is used.
pub(super) fn of_proxy(name: &str) -> String {
    format!("proxy.{name}")
}

/// The variable with what a rule has captured.
pub(super) fn captured(side: &str, number: &str) -> Fetch {
    Fetch::Variable(format!("capture.{side}.{number}"))
}

fn truth(text: &str) -> &'static str {
    match text {
        "" | "0" | "false" => "0",
        _ => "1",
    }
}

/// `txn.name` as the name of a variable; scopes are told apart by their part of the name.
pub(super) fn variable(name: &str) -> String {
    name.to_owned()
}

/// A text that has to be an address.
fn address(fetch: Fetch) -> Option<Result<Sample, String>> {
    sample(fetch.through(vec![Convert::new("ip")]), Kind::Address)
}

/// Fetches of headers.
fn header(call: &Call) -> Option<Result<Sample, String>> {
    let (name, argument) = match call.arguments.as_slice() {
        [] => return None,
        [name, rest @ ..] => (name.trim().to_ascii_lowercase(), rest.first()),
    };
    let with = match argument {
        Some(number) if !number.trim().is_empty() => format!("{name},{}", number.trim()),
        Some(_) | None => name.clone(),
    };
    let word = call.name.as_str();
    if let Some(word) = word.strip_prefix("res.").or(match word {
        "shdr" => Some("hdr"),
        "shdr_cnt" => Some("hdr_cnt"),
        _ => None,
    }) {
        return match word {
            "hdr" => sample(Fetch::ResponseHeaderItem(with), Kind::Text),
            "fhdr" => sample(Fetch::ResponseHeaderLine(with), Kind::Text),
            "hdr_cnt" => sample(Fetch::ResponseHeaderItems(name), Kind::Number),
            "fhdr_cnt" => sample(Fetch::ResponseHeaderLines(name), Kind::Number),
            "hdr_val" => sample(Fetch::ResponseHeaderItem(with), Kind::Number),
            "hdr_ip" => address(Fetch::ResponseHeaderItem(with)),
            _ => None,
        };
    }
    match word.strip_prefix("req.").unwrap_or(word) {
        "hdr" => sample(Fetch::HeaderItem(with), Kind::Text),
        "fhdr" => sample(Fetch::HeaderLine(with), Kind::Text),
        "hdr_cnt" => sample(Fetch::HeaderItems(name), Kind::Number),
        "fhdr_cnt" => sample(Fetch::HeaderLines(name), Kind::Number),
        "hdr_val" => sample(Fetch::HeaderItem(with), Kind::Number),
        "hdr_ip" => address(Fetch::HeaderItem(with)),
        _ => None,
    }
}

/// Fetches about TLS with the client.
fn secure(call: &Call) -> Option<Result<Sample, String>> {
    match call.name.as_str() {
        "res.cache_hit" => sample(Fetch::Variable("cache_hit,0".to_owned()), Kind::Truth),
        "res.cache_name" => sample(Fetch::Variable("cache_name".to_owned()), Kind::Text),
        "ssl_fc" => is(Fetch::Scheme, "https"),
        "ssl_fc_has_sni" => sample(
            Fetch::TlsServerName.through(vec![Convert::with("iif", &["1", "0"])]),
            Kind::Truth,
        ),
        "ssl_fc_sni" => sample(Fetch::TlsServerName, Kind::Text),
        "req.ssl_sni" | "req_ssl_sni" => sample(Fetch::TlsServerName, Kind::Text),
        "req.ssl_hello_type" | "req_ssl_hello_type" => sample(Fetch::TlsHello, Kind::Number),
        "req.ssl_alpn" => sample(Fetch::TlsOfferedAlpn, Kind::Text),
        "ssl_fc_alpn" => sample(Fetch::TlsAlpn, Kind::Text),
        "ssl_fc_protocol" => sample(Fetch::TlsVersion, Kind::Text),
        "ssl_fc_cipher" => sample(Fetch::TlsCipher, Kind::Text),
        "ssl_fc_is_resumed" => is(Fetch::TlsResumed, "true"),
        "ssl_fc_has_crt" | "ssl_c_used" => is(Fetch::ClientCertVerdict, "verified"),
        // A certificate that does not verify is refused in the handshake.
        "ssl_c_verify" => sample(Fetch::Literal("0".to_owned()), Kind::Number),
        "ssl_c_s_dn" => sample(Fetch::ClientCertSubject, Kind::Text),
        "ssl_c_i_dn" => sample(Fetch::ClientCertIssuer, Kind::Text),
        _ => None,
    }
}

/// The first bytes of a connection.
fn payload(call: &Call) -> Option<Result<Sample, String>> {
    match call.name.as_str() {
        "req.len" | "req_len" => sample(Fetch::PayloadLength, Kind::Number),
        "req.payload" | "payload" => {
            let (from, length) = (call.argument(0), call.argument(1));
            let range = format!("{from},{length}");
            if clearway_rules::payload_range(&range).is_none() {
                return Some(Err(format!("{range:?} is no range of bytes")));
            }
            sample(Fetch::Payload(range), Kind::Text)
        }
        // Only mode tcp asks: elsewhere it always is HTTP.
        "payload_http" => sample(Fetch::PayloadHttp, Kind::Truth),
        "req.ssl_ver" | "req_ssl_ver" => sample(Fetch::TlsHelloVersion, Kind::Number),
        _ => None,
    }
}

/// Converters that have the same name and arguments here, with the kind of value that they yield.
const SAME: &[(Kind, &[&str])] = &[
    (
        Kind::Text,
        &[
            "lower",
            "upper",
            "field",
            "word",
            "regsub",
            "bytes",
            "ltrim",
            "rtrim",
            "base64",
            "b64dec",
            "ub64enc",
            "ub64dec",
            "hex",
            "url_dec",
            "url_enc",
            "json",
            "be2dec",
            "be2hex",
            "iif",
            "param",
            "language",
            "host_only",
            "sha1",
            "sha2",
            "digest",
        ],
    ),
    (
        Kind::Number,
        &[
            "hex2i",
            "crc32",
            "crc32c",
            "djb2",
            "sdbm",
            "wt6",
            "xxh32",
            "xxh64",
            "xxh3",
            "port_only",
        ],
    ),
];

/// Sums of 32 bits that have an argument for how far their bits are spread.
const SUMS: [&str; 5] = ["crc32", "crc32c", "djb2", "sdbm", "wt6"];

/// A sum whose bits are spread: as far as they can be, whatever number is written.
fn spread(call: &Call) -> Option<Convert> {
    let spreads = !matches!(call.argument(0), "" | "0");
    let is_sum = SUMS.contains(&call.name.as_str());
    (is_sum && spreads).then(|| Convert::with(&call.name, &["2"]))
}

/// Converters of numbers: a text is the number that it begins with, or 0.
const ARITHMETIC: &[(Kind, &[&str])] = &[
    (
        Kind::Number,
        &[
            "add", "sub", "mul", "div", "mod", "neg", "and", "or", "xor", "cpl",
        ],
    ),
    (Kind::Truth, &["not", "bool", "odd", "even"]),
    (Kind::Text, &["utime", "http_date"]),
];

fn listed(list: &[(Kind, &[&str])], name: &str) -> Option<Kind> {
    let mut list = list.iter();
    let found = list.find(|(_, names)| names.contains(&name));
    found.map(|(kind, _)| *kind)
}

/// An argument that may be the name of a variable, which has a scope.
fn operand(text: &str) -> String {
    let scopes = ["proc.", "sess.", "txn.", "req.", "res.", "check."];
    match scopes.iter().any(|scope| text.starts_with(scope)) {
        true => format!("var:{}", variable(text)),
        false => text.to_owned(),
    }
}

fn json_query(call: &Call, arguments: &[&str]) -> (Vec<Convert>, Option<Kind>) {
    let kind = match arguments.get(1) {
        Some(&"int") => Kind::Number,
        _ => Kind::Text,
    };
    // What does not begin at the root is nowhere.
    let path = match call.argument(0) {
        path if path.starts_with('$') => path.to_owned(),
        path => format!("$.{path}"),
    };
    let mut arguments = arguments.to_vec();
    if let Some(first) = arguments.first_mut() {
        *first = &path;
    }
    (vec![Convert::with("json_query", &arguments)], Some(kind))
}

/// The converters that stand for one, and the kind of value they yield.
fn converter(call: &Call, from: Kind) -> Result<(Vec<Convert>, Option<Kind>), String> {
    let arguments: Vec<&str> = call.arguments.iter().map(String::as_str).collect();
    let name = call.name.as_str();
    if let Some(convert) = spread(call) {
        return Ok((vec![convert], Some(Kind::Number)));
    }
    if let Some(kind) = listed(SAME, name) {
        return Ok((vec![Convert::with(name, &arguments)], Some(kind)));
    }
    if let Some(kind) = listed(ARITHMETIC, name) {
        let operands: Vec<String> = match name {
            "utime" | "http_date" => call.arguments.clone(),
            _ => call.arguments.iter().map(|text| operand(text)).collect(),
        };
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let mut steps = Vec::new();
        if from == Kind::Text {
            steps.push(Convert::new("int"));
        }
        steps.push(Convert::with(name, &operands));
        return Ok((steps, Some(kind)));
    }
    if let Some(found) = tables::converter(call) {
        return Ok(found);
    }
    match name {
        "urlp" => Ok((vec![Convert::with("param", &arguments)], Some(Kind::Text))),
        "debug" => Ok((Vec::new(), None)),
        // A text ends at its first zero byte there.
        "length" => Ok((vec![Convert::new("text_length")], Some(Kind::Number))),
        "json_query" => Ok(json_query(call, &arguments)),
        "hmac" => {
            let key = operand(call.argument(1));
            let arguments = [call.argument(0), key.as_str()];
            Ok((vec![Convert::with(name, &arguments)], Some(Kind::Text)))
        }
        "add_item" => {
            let argument = |at: usize| call.arguments.get(at).map_or("", String::as_str);
            let item = operand(argument(1));
            let arguments = [argument(0), item.as_str(), argument(2)];
            Ok((vec![Convert::with(name, &arguments)], Some(Kind::Text)))
        }
        "secure_memcmp" => {
            let other = operand(call.argument(0));
            let same = Convert::with("same_secret", &[other.as_str()]);
            Ok((vec![same], Some(Kind::Truth)))
        }
        "strcmp" => {
            let other = operand(call.argument(0));
            Ok((
                vec![Convert::with("strcmp", &[other.as_str()])],
                Some(Kind::Number),
            ))
        }
        "ipmask" => Ok((
            vec![Convert::with("network", &arguments)],
            Some(Kind::Address),
        )),
        "concat" => {
            let behind = |text: &str| Convert::with("concat", &["", text]);
            let texts = [0, 1, 2].map(|at| call.arguments.get(at).map_or("", String::as_str));
            let [before, variable, after] = texts;
            let variable = operand(variable);
            let all = [before, variable.as_str(), after];
            let steps = all.iter().filter(|text| !text.is_empty());
            Ok((steps.map(|text| behind(text)).collect(), Some(Kind::Text)))
        }
        _ if maps::is_map(name) => maps::converter(call),
        _ => Err(format!("the converter {name:?} is not known here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch_of(text: &str) -> String {
        read(text).unwrap().fetch.to_string()
    }

    #[test]
    fn expressions_are_read() {
        for (text, wanted) in [
            ("path", "sent_path"),
            ("hdr(Host)", "header_item:host"),
            ("req.hdr(X-A,-1),lower", "header_item:x-a,-1|lower"),
            ("req.fhdr(a)", "header_line:a"),
            (
                "path,regsub(^/api,,i)",
                "sent_path|regsub(\"^/api\",\"\",i)",
            ),
            ("ssl_fc", "scheme|is(https)"),
            ("hdr(host),field(1,:)", "header_item:host|field(1,:)"),
            ("path,field(2,',')", "sent_path|field(2,\",\")"),
            ("var(txn.a)", "var:txn.a"),
        ] {
            assert_eq!(fetch_of(text), wanted, "{text}");
            assert_eq!(Fetch::parse(wanted).unwrap(), read(text).unwrap().fetch);
        }
        assert_eq!(read("path_beg").unwrap().method, Some("beg"));
        assert_eq!(read("hdr_dom(host)").unwrap().method, Some("dom"));
        assert_eq!(read("hdr_cnt(host)").unwrap().kind, Kind::Number);
    }

    #[test]
    fn what_is_not_known_is_told() {
        for bad in ["", "nothing", "path,nothing", "hdr(a", "hdr(a)b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
