//! Judges of servers that speak another protocol than they are spoken to in.

use clearway_config::survey::Spoke;
use clearway_outcome::{FaultKind as Kind, Speaker, Spoken};

use super::{by_hand, like_ours, shown, speaks};
use crate::case::View;
use crate::evidence::{Ask, Greeting, Probe, Then};
use crate::opinion::{Opinion, Site};

const ENDED: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerResetWhileSending,
];

/// The first three bytes of an answer, which NGINX reads as the length of a frame and writes as a number.
fn frame_text(words: &str) -> Option<[u8; 3]> {
    let (_, rest) = words.split_once("http2 frame: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let [0, text @ ..] = digits.parse::<u32>().ok()?.to_be_bytes() else {
        return None;
    };
    Some(text)
}

pub(super) fn h2_to_h1_backend(view: &View<'_>, it: &mut Opinion) {
    let is_exact = view.is(&[Kind::ServerSpeaksHttp1]);
    if !is_exact && matches!(speaks(view), Some(spoke) if spoke != Spoke::Http2) {
        return it.rule_out();
    }
    it.hint(view.seen());
    let in_http1 = Ask {
        http2: Some(false),
        ..Ask::default()
    };
    it.wants(Probe::Request(in_http1.clone()));
    it.wants(Probe::Preface);
    let is_told = weigh_answer_to_h2(view, it);
    if let (true, Some(Spoken::Http1Response { status, .. })) = (is_told, view.spoken())
        && !matches!(status, 0 | 400)
    {
        // Ports that expect TLS answer what is not TLS with 400, if at all.
        it.proof(view.symptom(format!("the answer is HTTP/1 with status {status}")));
    }
    if is_exact && !is_told {
        it.fair(view.symptom("the answer to HTTP/2 is not HTTP/2"));
    }
    if speaks(view) == Some(Spoke::Http2) {
        it.hint(view.symptom("HTTP/2 is what the configuration speaks with it"));
    } else if view.group.may_be(ENDED) {
        it.missing("whether HTTP/2 is spoken with the server");
    }
    if view.is(&[Kind::ServerRefusesHttp2]) {
        it.fair(view.symptom("in the TLS handshake the server did not agree on HTTP/2"));
    }
    let is_encrypted = view.backend().is_some_and(|backend| backend.tls.is_some());
    if is_told && is_encrypted {
        it.proof(
            view.symptom("and it says so inside TLS, so it is not the encryption that is missing"),
        );
    }
    let answer = view.reply(&in_http1).filter(|reply| reply.is_answered());
    match answer {
        // A port that expects TLS says 400 too.
        Some(reply) if reply.status != 400 => {
            let fact = view.probed(format!("HTTP/1.1 is answered with status {}", reply.status));
            let is_refuted = view.speaks_http2() == Some(false);
            let is_plain = is_exact && !is_encrypted && is_refuted;
            if (is_told || is_plain) && view.speaks_http2() != Some(true) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        Some(_) => it.hint(view.probed("HTTP/1.1 is answered with status 400")),
        None => {}
    }
    match view.speaks_http2() {
        Some(true) => it.strongly_against(view.probed("it answers HTTP/2 in clear with HTTP/2")),
        Some(false) => it.fair(view.probed("it does not answer HTTP/2 in clear with HTTP/2")),
        None => {}
    }
    it.say(format!(
        "{} speaks HTTP/1.1, and the balancer speaks HTTP/2 to it.",
        view.address()
    ));
    fix_protocol(
        view,
        it,
        false,
        answer.is_some_and(|reply| reply.status != 400),
    );
}

/// What the first bytes say; whether they are those of HTTP/1.
fn weigh_answer_to_h2(view: &View<'_>, it: &mut Opinion) -> bool {
    let number = frame_text(&view.group.words);
    let first = match &number {
        Some(text) => text.as_slice(),
        None => view.group.first_bytes(),
    };
    if first.is_empty() {
        return false;
    }
    match Spoken::of(view.group.first_bytes()) {
        Some(Spoken::Http1Response {
            wants_tls: true, ..
        }) => {
            it.strongly_against(view.symptom("it says that the port expects TLS"));
            return false;
        }
        Some(Spoken::Http2Settings | Spoken::Http2Goaway { .. }) => {
            it.strongly_against(view.symptom("it answers in HTTP/2"));
            return false;
        }
        Some(Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsRecord) => {
            it.strongly_against(view.symptom("it answers in TLS"));
            return false;
        }
        _ => {}
    }
    if first.starts_with(b"HTT") {
        let words = match number {
            Some(_) => "the length of frame that the log tells is the text \"HTT\" of \"HTTP/1.1\""
                .to_owned(),
            None => format!("its first bytes are HTTP/1: {}", shown(first)),
        };
        it.strong(view.symptom(words));
        true
    } else if first.starts_with(b"<") {
        it.fair(view.symptom(format!("its first bytes are HTML: {}", shown(first))));
        false
    } else {
        it.strongly_against(
            view.symptom(format!("its first bytes are not HTTP: {}", shown(first))),
        );
        false
    }
}

pub(super) fn h1_to_h2_backend(view: &View<'_>, it: &mut Opinion) {
    if matches!(speaks(view), Some(spoke) if spoke != Spoke::Http1) {
        return it.rule_out();
    }
    it.wants(Probe::Preface);
    it.wants(Probe::Request(view.ask_again()));
    let is_exact = view.is(&[Kind::ServerSpeaksHttp2]);
    if like_ours(view).any(|(_, reply)| reply.is_answered()) {
        if !is_exact {
            return it.rule_out();
        }
        it.against(view.probed("a request in HTTP/1.1 is answered now"));
    }
    it.hint(view.seen());
    let in_probe =
        like_ours(view).find_map(|(_, reply)| match Spoken::of(reply.first.as_bytes()) {
            Some(spoken @ (Spoken::Http2Settings | Spoken::Http2Goaway { .. })) => Some(spoken),
            _ => None,
        });
    match view.spoken() {
        Some(spoken @ (Spoken::Http2Settings | Spoken::Http2Goaway { .. })) => {
            it.proof(view.symptom(format!(
                "its first bytes are {spoken}, in answer to HTTP/1.1"
            )));
        }
        Some(_) => return it.rule_out(),
        None if is_exact => it.proof(view.symptom("it answered HTTP/1.1 with frames of HTTP/2")),
        None => it.missing("the first bytes that the server sent"),
    }
    if let Some(spoken) = in_probe {
        it.strong(view.probed(format!("a request in HTTP/1.1 is answered with {spoken}")));
        it.fair(view.probed("so it is not HTTP/1.1 that is spoken there"));
    }
    match view.speaks_http2() {
        Some(true) => it.strong(view.probed("HTTP/2 in clear is answered with HTTP/2")),
        Some(false) if is_exact || in_probe.is_some() => {
            it.note(view.probed("HTTP/2 in clear is not answered with SETTINGS"));
        }
        Some(false) => {
            it.strongly_against(view.probed("HTTP/2 in clear is not answered with HTTP/2"));
        }
        None => {}
    }
    it.say(format!(
        "{} speaks HTTP/2 only (gRPC, for example), and the balancer speaks HTTP/1.1 to it.",
        view.address()
    ));
    fix_protocol(view, it, true, view.speaks_http2() == Some(true));
}

/// How another version of HTTP is configured.
fn fix_protocol(view: &View<'_>, it: &mut Opinion, is_http2: bool, is_verified: bool) {
    let address = view.address();
    let (words, to) = match (view.dialect(), is_http2) {
        (Speaker::Clearway, true) => (
            "Speak HTTP/2 with the backend",
            "protocol = \"h2\"".to_owned(),
        ),
        (Speaker::Clearway, false) => (
            "Speak HTTP/1.1 with the backend",
            "protocol = \"http1\"".to_owned(),
        ),
        (Speaker::Nginx, true) => (
            "Pass to it with grpc_pass",
            format!("grpc_pass grpc://{address};"),
        ),
        (Speaker::Nginx, false) => (
            "Pass to it with proxy_pass in place of grpc_pass",
            format!("proxy_pass http://{address};"),
        ),
        (Speaker::Haproxy, true) => (
            "Put proto h2 on the server's line",
            format!("server NAME {address} proto h2"),
        ),
        (Speaker::Haproxy, false) => (
            "Take proto h2 (or alpn h2) off the server's line",
            format!("server NAME {address}"),
        ),
        (Speaker::Envoy, true) => (
            "Give the cluster HTTP/2 options",
            "explicit_http_config: {http2_protocol_options: {}}".to_owned(),
        ),
        (Speaker::Envoy, false) => (
            "Give the cluster HTTP/1 options",
            "explicit_http_config: {http_protocol_options: {}}".to_owned(),
        ),
        (Speaker::Alb, true) => (
            "Make a target group of protocol version HTTP2 or GRPC",
            "aws elbv2 create-target-group --protocol-version HTTP2".to_owned(),
        ),
        (Speaker::Alb, false) => (
            "Make a target group of protocol version HTTP1",
            "aws elbv2 create-target-group --protocol-version HTTP1".to_owned(),
        ),
    };
    let words = match view
        .backend()
        .and_then(|backend| backend.speaks.origin.as_ref())
    {
        Some(origin) => format!("{words} (in {origin})"),
        None => words.to_owned(),
    };
    if is_verified {
        it.verified_fix(Site::Config, words, to);
    } else {
        it.fix(Site::Config, words, to);
    }
}

/// Whether a name or port says that FastCGI or uwsgi is spoken there.
fn sounds_like_gateway(view: &View<'_>) -> Option<String> {
    let address = view.address();
    let names = ["php", "fpm", "fcgi", "fastcgi", "uwsgi", "scgi"];
    let by_name = names.iter().any(|name| address.contains(name));
    (by_name || view.port() == 9000).then(|| address.to_owned())
}

/// By what NGINX says that the answer is not FastCGI.
pub(super) const NOT_FASTCGI: &str = "unsupported FastCGI protocol version: ";

pub(super) fn fastcgi_uwsgi_mismatch(view: &View<'_>, it: &mut Opinion) {
    let spoke = speaks(view);
    let is_gateway = matches!(spoke, Some(Spoke::FastCgi | Spoke::Uwsgi | Spoke::Scgi));
    let answered = like_ours(view).find(|(_, reply)| reply.is_answered());
    it.wants(Probe::Request(view.ask_again()));
    if let Some((_, version)) = view.group.words.split_once(NOT_FASTCGI) {
        let is_http = version.starts_with("72");
        it.proof(view.symptom(if is_http {
            "the version of FastCGI that was read, 72, is the letter H of HTTP"
        } else {
            "what was read is not FastCGI"
        }));
        say_gateway(view, it, "HTTP", "FastCGI");
    } else if let Some(Spoken::FastCgi) = view.spoken() {
        it.proof(view.symptom("its first bytes are a record of FastCGI, in answer to HTTP"));
        say_gateway(view, it, "FastCGI", "HTTP");
    } else if is_gateway {
        it.hint(view.seen());
        match (view.spoken(), answered) {
            (Some(Spoken::Http1Response { .. }), _) => {
                it.proof(view.symptom("its first bytes are HTTP, in answer to another protocol"));
            }
            // Probes speak HTTP and nothing else.
            (_, Some((_, reply))) => it.proof(view.probed(format!(
                "asked in HTTP it answers with status {}, and the configuration speaks another protocol with it",
                reply.status
            ))),
            (_, None) => it.missing("whether the server speaks HTTP"),
        }
        say_gateway(view, it, "HTTP", "FastCGI, uwsgi or SCGI");
    } else {
        let is_silent = view.is(&[Kind::ResponseTimeout]);
        let is_other = view.is_sure() && !view.group.may_be(ENDED);
        if answered.is_some() || is_other || is_silent {
            return it.rule_out();
        }
        let well = view.case.successes.count + view.case.successes.before;
        if well > 0 {
            it.strongly_against(view.symptom(format!("it has answered {well} requests by HTTP")));
        }
        match sounds_like_gateway(view) {
            Some(name) if view.port() == 9000 => {
                // Many others listen there as well.
                it.hint(view.symptom(format!("{name} has the port of PHP-FPM")));
            }
            Some(name) => {
                it.fair(view.symptom(format!("{name} sounds like FastCGI or uwsgi")));
                it.hint(view.seen());
            }
            None => it.against(view.symptom("nothing says that it speaks FastCGI or uwsgi")),
        }
        match view.connection().map(|found| found.then) {
            Some(Then::Open) => {
                it.note(
                    view.probed("a connection that says nothing stays open, so it is what is said"),
                );
            }
            Some(_) => it.against(view.probed("a connection that says nothing is ended too")),
            None => it.wants(Probe::Connect),
        }
        say_gateway(view, it, "FastCGI or uwsgi", "HTTP");
    }
    it.fix(
        Site::Config,
        "Let both speak the same: fastcgi_pass with php-fpm, uwsgi_pass with a \"socket\" of uWSGI, proxy_pass \
         with HTTP (\"http-socket\" of uWSGI)",
        by_hand(view),
    );
}

fn say_gateway(view: &View<'_>, it: &mut Opinion, theirs: &str, ours: &str) {
    it.say(format!(
        "{} speaks {theirs}, and the balancer speaks {ours} to it.",
        view.address()
    ));
}

pub(super) fn not_http_service(view: &View<'_>, it: &mut Opinion) {
    if like_ours(view).any(|(_, reply)| reply.is_answered()) {
        if view.group.first.is_none() {
            return it.rule_out();
        }
        it.against(view.probed("a request in HTTP/1.1 is answered now"));
    }
    it.wants(Probe::Connect);
    it.wants(Probe::Request(view.ask_again()));
    let banner = view.connection().and_then(|found| match found.then {
        Then::Spoke(first) => Some(first),
        Then::Nothing | Then::Open | Then::Closed(_) | Then::Reset(_) => None,
    });
    let in_probe = like_ours(view).map(|(_, reply)| reply.first);
    let firsts = view.group.first.into_iter().chain(banner).chain(in_probe);
    let firsts: Vec<_> = firsts
        .filter(|first| !first.as_bytes().is_empty())
        .collect();
    it.hint(view.seen());
    if banner.is_some() {
        it.strong(view.probed("it speaks before it is spoken to, which HTTP servers never do"));
    }
    let Some(first) = firsts.first() else {
        it.missing("what the server says");
        return;
    };
    match Spoken::of(first.as_bytes()) {
        Some(spoken) if is_other_service(&spoken) => {
            it.proof(view.symptom(format!("it speaks {spoken}")));
            it.say(format!(
                "{} is no HTTP server: it speaks {spoken}.",
                view.address()
            ));
        }
        Some(_) => return it.rule_out(),
        None if first.as_bytes().starts_with(b"HTTP") => return it.rule_out(),
        None => {
            let is_text = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
            let words = format!(
                "its first bytes belong to no protocol that is known here: {}",
                shown(first.as_bytes())
            );
            if first.as_bytes().iter().all(is_text) {
                it.fair(view.symptom(words));
            } else {
                it.strong(view.symptom(words));
            }
        }
    }
    weigh_address(view, it);
    if view
        .handshake(&Greeting::default())
        .is_some_and(|hello| hello.tls.is_some())
    {
        it.against(view.probed("it takes a TLS handshake"));
    }
    it.fix(
        Site::Config,
        "Name the host and port of the HTTP server",
        view.server()
            .and_then(|server| server.origin.as_ref())
            .map_or_else(String::new, |origin| {
                format!("{origin}: {}", view.address())
            }),
    );
}

/// Protocols of services that never serve HTTP.
fn is_other_service(spoken: &Spoken<'_>) -> bool {
    match spoken {
        Spoken::Ssh { .. }
        | Spoken::Smtp
        | Spoken::Ftp
        | Spoken::SmtpOrFtp
        | Spoken::Mysql { .. }
        | Spoken::MysqlError { .. }
        | Spoken::PostgresTls { .. }
        | Spoken::PostgresError
        | Spoken::Redis => true,
        Spoken::TlsAlert { .. }
        | Spoken::TlsServerHello
        | Spoken::TlsClientHello
        | Spoken::TlsRecord
        | Spoken::Http1Response { .. }
        | Spoken::Http1Request { .. }
        | Spoken::Http2Settings
        | Spoken::Http2Goaway { .. }
        | Spoken::Http2Preface
        | Spoken::ProxyHeader { .. }
        | Spoken::Html
        | Spoken::FastCgi => false,
    }
}

/// A service at an address that its name no longer has is somebody else's.
fn weigh_address(view: &View<'_>, it: &mut Opinion) {
    let crate::evidence::Where::Socket(address) = &view.case.site else {
        return;
    };
    let mut known = view
        .lookups()
        .iter()
        .flat_map(|lookup| &lookup.addresses)
        .peekable();
    if known.peek().is_some() && !known.any(|other| *other == address.ip()) {
        it.strongly_against(view.symptom("its name has another address by now"));
    }
}
