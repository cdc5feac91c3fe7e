//! Texts with variables: `$host`, `${name}`.

use std::collections::BTreeMap;

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use crate::model::TemplateText;
use crate::value::Text;

/// What is known of variables where a text stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Variables that are always the same: `set $app "127.0.0.1"`.
    pub(super) constants: BTreeMap<String, String>,
    /// Variables that `set` or a group of a pattern gives a value.
    pub(super) variables: Vec<String>,
    /// Variables that are groups of the pattern that was matched last.
    pub(super) groups: BTreeMap<String, u8>,
    /// Variables that stand for several pieces, such as the name of a file.
    pub(super) pieces: BTreeMap<String, Vec<Piece>>,
    /// What goes before paths that clients are sent to, where it is not what it is elsewhere.
    pub(super) redirect_base: Option<String>,
    /// The names of the server.
    pub(super) hosts: Vec<String>,
    /// Whether clients may come by a Unix socket.
    pub(super) on_unix: bool,
    /// Variables that `map`, `geo` and the like make, with the name of the map.
    pub(super) maps: BTreeMap<String, String>,
    /// It is about connections, not requests.
    pub(super) is_stream: bool,
}

/// Reads a text.
///
/// # Errors
/// A sentence about a variable that is not known.
pub(super) fn read(text: &str, names: &Names) -> Result<Template, String> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plain.push_str(before);
        let (name, tail) = name(after);
        rest = tail;
        if name.is_empty() {
            plain.push('$');
            continue;
        }
        pieces.push(Piece::Text(std::mem::take(&mut plain)));
        pieces.extend(variable(name, names)?);
    }
    plain.push_str(rest);
    pieces.push(Piece::Text(plain));
    Ok(Template::new(pieces))
}

/// Reads a text in which the path stands as people read it, not as it is sent.
///
/// # Errors
/// A sentence about a variable that is not known.
pub(super) fn read_plain(text: &str, names: &Names) -> Result<Template, String> {
    let template = read(text, names)?;
    let plain = |piece: &Piece| match piece {
        Piece::Fetch(Fetch::Path) => Piece::Fetch(decoded_path()),
        other @ (Piece::Text(_) | Piece::Fetch(_)) => other.clone(),
    };
    let pieces: Vec<Piece> = template.pieces().iter().map(plain).collect();
    Ok(Template::new(pieces))
}

/// The path with its escapes resolved.
pub(super) fn decoded_path() -> Fetch {
    Fetch::Path.through(vec![Convert::new("url_dec")])
}

/// The name behind a dollar sign, and what follows it.
pub(super) fn name(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('{') {
        return inner.split_once('}').unwrap_or(("", text));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.split_at_checked(1).unwrap_or((text, ""));
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn one(fetch: Fetch) -> Vec<Piece> {
    vec![Piece::Fetch(fetch)]
}

fn text(text: &str) -> Vec<Piece> {
    vec![Piece::Text(text.to_owned())]
}

/// The pieces that a variable stands for.
fn variable(name: &str, names: &Names) -> Result<Vec<Piece>, String> {
    if let [digit @ b'0'..=b'9'] = name.as_bytes() {
        return Ok(one(Fetch::Capture(digit - b'0')));
    }
    if let Some(constant) = names.constants.get(name) {
        return Ok(text(constant));
    }
    if let Some(pieces) = names.pieces.get(name) {
        return Ok(pieces.clone());
    }
    if let Some(group) = names.groups.get(name) {
        return Ok(one(Fetch::Capture(*group)));
    }
    if let Some(map) = names.maps.get(name) {
        return Ok(one(Fetch::Map(map.clone())));
    }
    if names.variables.iter().any(|known| known == name) {
        return Ok(one(Fetch::Variable(name.to_owned())));
    }
    let dashed = |rest: &str| rest.replace('_', "-");
    if let Some(rest) = name.strip_prefix("arg_") {
        return Ok(one(Fetch::AnyCaseQuery(rest.to_owned())));
    }
    if let Some(rest) = name.strip_prefix("cookie_") {
        return Ok(one(Fetch::AnyCaseCookie(rest.to_owned())));
    }
    if let Some(rest) = name.strip_prefix("sent_http_") {
        return Ok(one(Fetch::ResponseHeaderLine(dashed(rest))));
    }
    if let Some(rest) = name.strip_prefix("upstream_http_") {
        return Ok(one(Fetch::ResponseHeader(dashed(rest))));
    }
    if let Some(rest) = name.strip_prefix("http_") {
        return Ok(one(Fetch::Header(dashed(rest))));
    }
    let of_place = match name {
        "host" => names
            .constants
            .get("server_name")
            .filter(|own| !own.is_empty())
            .map(|own| one(Fetch::HostOr(own.clone()))),
        "remote_addr" | "binary_remote_addr" if names.on_unix => {
            Some(one(Fetch::SourceOr("unix:".to_owned())))
        }
        "server_name" | "limit_rate" => Some(text(if name == "limit_rate" { "0" } else { "" })),
        "hostname" => Some(text(&hostname())),
        "pid" => Some(text(&std::process::id().to_string())),
        _ => None,
    };
    let of_stream = of_stream(name).filter(|_| names.is_stream);
    let found = of_place.or(of_stream).or_else(|| known(name));
    let found = found.or_else(|| of_attempts(name));
    found.ok_or_else(|| format!("the variable ${name} is not known here"))
}

/// The name of this host.
fn hostname() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    text.trim().to_owned()
}

/// The time in a form of `strftime`, in UTC.
fn time(format: &str) -> Vec<Piece> {
    one(Fetch::Now.through(vec![Convert::with("utime", &[format])]))
}

/// Variables that only connections of `stream` have.
fn of_stream(name: &str) -> Option<Vec<Piece>> {
    Some(match name {
        "ssl_preread_server_name" => one(Fetch::TlsServerName),
        "ssl_preread_protocol" => one(Fetch::TlsOfferedVersion),
        "ssl_preread_alpn_protocols" => one(Fetch::TlsOfferedAlpn),
        "protocol" => text("TCP"),
        _ => return None,
    })
}

/// Variables of servers' answers and of the client's connection.
fn of_attempts(name: &str) -> Option<Vec<Piece>> {
    Some(match name {
        "upstream_addr" => one(Fetch::UpstreamAddress),
        "upstream_status" => one(Fetch::UpstreamStatus),
        "upstream_response_time" => one(Fetch::UpstreamTime),
        "upstream_connect_time" => one(Fetch::UpstreamConnect),
        "upstream_header_time" => one(Fetch::UpstreamHeader),
        "upstream_response_length" => one(Fetch::UpstreamLength),
        "upstream_bytes_sent" => one(Fetch::UpstreamSent),
        "upstream_bytes_received" => one(Fetch::UpstreamReceived),
        "http2" => one(Fetch::Version.through(vec![
            Convert::with("is", &["2.0"]),
            Convert::with("iif", &["h2", ""]),
        ])),
        "tcpinfo_rtt" => one(Fetch::TcpRtt),
        "tcpinfo_rttvar" => one(Fetch::TcpRttVariation),
        "tcpinfo_snd_cwnd" => one(Fetch::TcpCongestionWindow),
        "tcpinfo_rcv_space" => one(Fetch::TcpReceiveSpace),
        _ => return None,
    })
}

/// Variables that always exist.
fn known(name: &str) -> Option<Vec<Piece>> {
    let header = |name: &str| Fetch::Header(name.to_owned());
    Some(match name {
        "upstream_cache_status" => one(Fetch::Variable("cache_status".to_owned())),
        "uri" | "document_uri" => one(Fetch::Path),
        "request_uri" => one(Fetch::Target),
        "args" | "query_string" => one(Fetch::Query),
        "is_args" => one(Fetch::QuerySign),
        "host" => one(Fetch::Host),
        "scheme" => one(Fetch::Scheme),
        "https" => one(Fetch::TlsVersion.through(vec![Convert::with("iif", &["on", ""])])),
        "server_port" => one(Fetch::Port),
        "remote_addr" | "binary_remote_addr" => one(Fetch::Source),
        "remote_port" => one(Fetch::SourcePort),
        "realip_remote_addr" => one(Fetch::Peer),
        "realip_remote_port" => one(Fetch::PeerPort),
        "proxy_protocol_addr" => one(Fetch::ProxiedIp("from".to_owned())),
        "proxy_protocol_port" => one(Fetch::ProxiedPort("from".to_owned())),
        "proxy_protocol_server_addr" => one(Fetch::ProxiedIp("to".to_owned())),
        "proxy_protocol_server_port" => one(Fetch::ProxiedPort("to".to_owned())),
        "server_addr" => one(Fetch::Local),
        "remote_user" => one(Fetch::User),
        "connection_requests" => one(Fetch::Requests),
        "request_length" => one(Fetch::RequestLength),
        "msec" => one(Fetch::ExactTime),
        "time_iso8601" => time("%Y-%m-%dT%H:%M:%S+00:00"),
        "time_local" => time("%d/%b/%Y:%H:%M:%S +0000"),
        "pipe" => text("."),
        "request_completion" => text(""),
        "request" => vec![
            Piece::Fetch(Fetch::MethodCame),
            Piece::Text(" ".to_owned()),
            Piece::Fetch(Fetch::Target),
            Piece::Text(" HTTP/".to_owned()),
            Piece::Fetch(Fetch::Version),
        ],
        "request_method" => one(Fetch::Method),
        "server_protocol" => {
            one(Fetch::Version.through(vec![Convert::with("concat", &["HTTP/", ""])]))
        }
        "request_id" => one(Fetch::RequestId.through(vec![
            Convert::with("digest", &["md5"]),
            Convert::new("hex"),
            Convert::new("lower"),
        ])),
        "content_type" => one(header("content-type")),
        "content_length" => one(header("content-length")),
        "proxy_add_x_forwarded_for" => vec![
            Piece::Fetch(
                header("x-forwarded-for").through(vec![Convert::with("concat", &["", ", "])]),
            ),
            Piece::Fetch(Fetch::Source),
        ],
        "nginx_version" => text("1.22.1"),
        "proxy_port" => text("80"),
        "ssl_protocol" => one(Fetch::TlsVersion),
        "ssl_cipher" => one(Fetch::TlsCipher),
        "ssl_server_name" => one(Fetch::TlsServerName),
        "ssl_alpn_protocol" => one(Fetch::TlsAlpn),
        "ssl_session_reused" => one(Fetch::TlsResumed.through(vec![
            Convert::with("is", &["true"]),
            Convert::with("iif", &["r", "."]),
        ])),
        "ssl_client_s_dn" => one(Fetch::ClientCertSubject),
        "ssl_client_i_dn" => one(Fetch::ClientCertIssuer),
        "ssl_client_serial" => one(Fetch::ClientCertSerial.through(vec![Convert::new("upper")])),
        "ssl_client_verify" => one(Fetch::ClientCertVerdict.through(vec![
            Convert::with("is", &["verified"]),
            Convert::with("iif", &["SUCCESS", "NONE"]),
        ])),
        "limit_req_status" | "limit_conn_status" => one(Fetch::Variable(name.to_owned())),
        "status" => one(Fetch::Status),
        "fastcgi_script_name" | "fastcgi_path_info" => one(Fetch::Variable(name.to_owned())),
        // The map that nearly everybody writes, where somebody has left it out.
        _ => return None,
    })
}

/// A text as a template of the model.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn template(text: &str, names: &Names) -> Result<TemplateText, String> {
    to_text(&read(text, names)?)
}

/// The same for a text for people.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn plain(text: &str, names: &Names) -> Result<TemplateText, String> {
    to_text(&read_plain(text, names)?)
}

/// A template as it stands in the model.
pub(super) fn to_text(template: &Template) -> Result<TemplateText, String> {
    TemplateText::parse(&template.to_string()).map_err(|problem| problem.message)
}

impl Names {
    /// Learns the names of the groups of a pattern.
    pub(super) fn learn_groups(&mut self, pattern: &str) {
        for (index, name) in clearway_rules::group_names(pattern) {
            if let Ok(index) = u8::try_from(index) {
                self.groups.insert(name, index);
            }
        }
    }
}

/// The text if none of its variables depends on the request.
pub(super) fn constant(text: &str, names: &Names) -> Option<String> {
    read(text, names).ok()?.constant().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let mut names = Names::default();
        names
            .constants
            .insert("app".to_owned(), "a.test".to_owned());
        names.variables.push("x".to_owned());
        for (text, wanted) in [
            ("https://$host$request_uri", "https://${host}${target}"),
            ("${app}:80", "a.test:80"),
            ("$x$1", "${var:x}${1}"),
            ("a$", "a$$"),
            ("$http_x_a", "${header:x-a}"),
            (
                "$arg_q-$cookie_c",
                "${any_case_query:q}-${any_case_cookie:c}",
            ),
        ] {
            assert_eq!(template(text, &names).unwrap().as_str(), wanted, "{text}");
        }
        assert!(template("$nothing", &names).is_err());
        assert_eq!(
            constant("http://$app/", &names).as_deref(),
            Some("http://a.test/")
        );
        assert_eq!(constant("http://$host/", &names), None);
    }
}
