//! Requests that are refused for what they are: by the balancer, or by the server.

use clearway_outcome::{FaultKind as Kind, Speaker, Spoken};

use super::{HEAD_TOO_LARGE, INVALID};
use crate::case::View;
use crate::evidence::{Ask, HostWord, Probe, Reply};
use crate::judge::wait::signs::{self, Light, Spelled};
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// Whether a status of the server's own came with it, so that the balancer did not refuse by itself.
fn is_of_server(view: &View<'_>) -> bool {
    !view.group.server_statuses.is_empty()
}

pub(in crate::judge) fn request_body_too_large(view: &View<'_>, it: &mut Opinion) {
    if is_of_server(view) {
        return it.against(view.symptom("the status came from the server"));
    }
    if view.is(&[Kind::BodyTooLarge]) {
        it.proof(view.seen());
    } else {
        it.fair(view.seen());
    }
    let front = signs::front(view);
    let place = front.and_then(|front| front.origin.as_ref());
    let limit = front.and_then(|front| front.body_limit.as_ref());
    let largest = view.group.request_bytes.max;
    if let Some(limit) = limit {
        it.note(view.setting(limit, format!("{} is {} bytes", limit.name, limit.value)));
    }
    it.say(match (limit, largest) {
        (Some(limit), 1..) if largest > limit.value => format!(
            "The balancer takes bodies of up to {} bytes, and clients send up to {largest}.",
            limit.value
        ),
        (Some(limit), _) => format!(
            "The balancer takes bodies of up to {} bytes, and clients send larger ones.",
            limit.value
        ),
        (None, _) => "Clients send larger bodies than the balancer takes.".to_owned(),
    });
    let mib = largest.div_ceil(1_048_576).max(5) * 2;
    Spelled {
        clearway: &format!("limits.body_bytes = \"{mib}MiB\""),
        nginx: &format!("client_max_body_size {mib}m;"),
        haproxy: "",
        envoy: &format!(
            "envoy.filters.http.buffer: max_request_bytes: {}",
            mib * 1_048_576
        ),
        alb: "",
    }
    .fix(
        view,
        it,
        signs::origin_of(limit).or(place),
        "raise the limit, where such uploads are meant to be",
    );
    if signs::language(view) == Speaker::Alb {
        it.fix(
            Site::Client,
            "Keep bodies below 1 MB: that is all that functions behind ALB take",
            "",
        );
    }
}

pub(in crate::judge) fn request_header_too_large_lb(view: &View<'_>, it: &mut Opinion) {
    if is_of_server(view) {
        return it.against(view.symptom("the status came from the server"));
    }
    if view.is(HEAD_TOO_LARGE) {
        it.proof(view.seen());
    } else {
        it.hint(view.seen());
    }
    let front = signs::front(view);
    let place = front.and_then(|front| front.origin.as_ref());
    let limit = front.and_then(|front| front.header_limit.as_ref());
    if let Some(limit) = limit {
        it.note(view.setting(limit, format!("{} is {} bytes", limit.name, limit.value)));
    }
    let clients = view.group.clients.len();
    if view.group.count >= 3 && clients > 0 && clients <= 2 {
        it.note(view.symptom("only few clients are concerned, as those with large cookies are"));
    }
    let what = if view.is(&[Kind::RequestLineTooLong]) {
        "Request lines are longer"
    } else if view.is(&[Kind::TooManyHeaders]) {
        "Requests have more header lines"
    } else {
        "Request heads (lines, headers, cookies) are larger"
    };
    it.say(format!("{what} than the balancer takes."));
    let clearway = if view.is(&[Kind::RequestLineTooLong]) {
        "limits.request_line = \"32KiB\""
    } else if view.is(&[Kind::TooManyHeaders]) {
        "limits.header_count = 200"
    } else {
        "limits.header_bytes = \"64KiB\""
    };
    Spelled {
        clearway,
        nginx: "large_client_header_buffers 4 32k;",
        haproxy: "tune.bufsize 32768",
        envoy: "max_request_headers_kb: 96",
        alb: "",
    }
    .fix(
        view,
        it,
        signs::origin_of(limit).or(place),
        "take larger heads",
    );
    it.fix(
        Site::Client,
        "Find out which cookie or token has grown, and shrink it",
        "",
    );
}

pub(in crate::judge) fn request_header_too_large_backend(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    let is_status = view.is(&[Kind::ProbeStatus]);
    match signs::status(view) {
        Some(431) => {
            it.proof(view.symptom("the server itself answers 431 Request Header Fields Too Large"));
        }
        Some(414) => it.fair(view.symptom("the server itself answers 414 URI Too Long")),
        Some(400) => it.hint(view.symptom("the server itself answers 400")),
        Some(_) => return it.rule_out(),
        None if is_status => it.missing("the status"),
        None => {
            it.hint(view.seen());
            if group.waited.count > 0 && group.waited.min > 1_000_000 {
                it.strongly_against(view.symptom(format!(
                    "it took {}: heads are refused at once",
                    time(group.waited.min)
                )));
            }
        }
    }
    if group.sent.count > 0 {
        if group.sent.min >= 4_000 {
            it.fair(view.symptom(format!(
                "all the requests are large: {} bytes or more",
                group.sent.min
            )));
        } else if group.sent.max < 4_000 && group.sent.max > 0 {
            it.strongly_against(view.symptom(format!(
                "the requests are small: {} bytes at most",
                group.sent.max
            )));
        }
    } else {
        it.missing("how large the heads are");
    }
    if signs::went_well_meanwhile(view) {
        it.hint(view.symptom(format!(
            "{} other requests went well",
            view.case.successes.count
        )));
    } else if signs::would_know_successes(view) && group.count >= 3 {
        it.against(view.symptom("no request at all goes well"));
    }
    it.wants(Probe::Request(signs::light(view)));
    it.wants(Probe::Request(signs::large(view)));
    weigh_sizes(view, it);
    it.say(format!(
        "{} takes smaller request heads than the balancer, and refuses those with large cookies or \
        tokens.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the program take larger heads, or shrink the cookies",
        "uWSGI: buffer-size = 32768; node --max-http-header-size=32768; Tomcat: \
        maxHttpRequestHeaderSize=\"32768\"; Spring: server.max-http-request-header-size=32KB",
    );
}

/// Whether a server refuses a large head and takes a small one.
fn weigh_sizes(view: &View<'_>, it: &mut Opinion) {
    let is_small_well = matches!(signs::light_reply(view), Light::Quick(_) | Light::Late(_));
    match view.reply(&signs::large(view)) {
        Some(reply) if is_small_well && refuses(reply) => it.strong(view.probed(format!(
            "a request with a large head {}, and a small one is answered",
            match reply.status {
                0 => "ends without an answer".to_owned(),
                status => format!("is answered with {status}"),
            }
        ))),
        Some(reply) if reply.is_answered() && reply.status < 400 => {
            it.against(view.probed("a request with a large head is answered"));
        }
        Some(_) => {}
        None => it.missing("whether the server takes large heads"),
    }
}

/// Whether a head was refused, in words or by closing.
fn refuses(reply: &Reply) -> bool {
    let is_ended = matches!(
        reply.fault,
        Some(
            Kind::ServerClosedNoResponse
                | Kind::ServerResetNoResponse
                | Kind::ServerClosedWhileSending
                | Kind::ServerResetWhileSending
        )
    );
    matches!(reply.status, 400 | 413 | 414 | 431) || (reply.status == 0 && is_ended)
}

pub(in crate::judge) fn bad_host_header(view: &View<'_>, it: &mut Opinion) {
    let Some(status) = signs::status(view) else {
        return it.missing("the status");
    };
    match status {
        421 => it.fair(view.symptom("the server answers 421 Misdirected Request")),
        400 | 403 | 404 => it.hint(view.symptom(format!("the server answers {status}"))),
        _ => return it.rule_out(),
    }
    if view.case.successes.count > 0 && view.group.hosts.only().is_none() {
        it.against(view.symptom(format!(
            "{} requests to it went well",
            view.case.successes.count
        )));
    }
    let sent = view.backend().and_then(|backend| backend.host.as_ref());
    let own_name = |host: &str| host.starts_with("$proxy_host") || host.contains('_');
    match sent {
        Some(host) if own_name(&host.value) => it.fair(view.setting(
            host,
            format!(
                "the Host that is sent is {}, the balancer's own name for the servers",
                host.value
            ),
        )),
        Some(host) => {
            it.note(view.setting(host, format!("the Host that is sent is {}", host.value)));
        }
        None if view.backend().is_none() && signs::language(view) == Speaker::Nginx => {
            it.hint(view.symptom(
                "NGINX sends the name of the upstream as Host unless it is told otherwise",
            ));
        }
        None => {}
    }
    let path = signs::path(view).to_owned();
    let with = |host| Ask {
        path: path.clone(),
        host,
        ..Ask::default()
    };
    let configured = with(HostWord::Configured);
    let mut others: Vec<Ask> = served_names(view)
        .into_iter()
        .map(|name| with(HostWord::Name(name)))
        .collect();
    others.push(with(HostWord::Address));
    it.wants(Probe::Request(configured.clone()));
    for ask in &others {
        it.wants(Probe::Request(ask.clone()));
    }
    it.say(format!(
        "{} refuses the Host that it is sent with {status}.",
        view.address()
    ));
    weigh_hosts(view, it, status, view.reply(&configured), &others);
    Spelled {
        clearway: "",
        nginx: "proxy_set_header Host $host;",
        haproxy: "http-request set-header Host NAME",
        envoy: "host_rewrite_literal: NAME",
        alb: "routing.http.preserve_host_header.enabled=true",
    }
    .fix(
        view,
        it,
        signs::origin_of(sent),
        "send the Host that the program knows",
    );
    it.fix(
        Site::Server,
        "Or add the name to those that the program takes (ALLOWED_HOSTS, config.hosts, server_name)",
        format!("curl -sI -H 'Host: NAME' http://{}{path}", view.address()),
    );
}

/// Names that the balancer serves, at most two.
fn served_names(view: &View<'_>) -> Vec<String> {
    let front = signs::front(view);
    let hosts = front
        .map(|front| front.hosts.as_slice())
        .unwrap_or_default();
    let plain = hosts
        .iter()
        .filter(|host| !host.contains(['*', '~', '$']) && host.contains('.'));
    plain.take(2).cloned().collect()
}

/// Whether clients' requests get a Host from the balancer, whatever their own is. A health check's may be
/// another.
fn is_pinned(view: &View<'_>) -> bool {
    let is_live = !view.group.clients.is_empty() || !view.group.hosts.is_empty();
    let sent = view.backend().and_then(|backend| backend.host.as_ref());
    let of_client = |host: &str| host.contains("$host") || host.contains("$http_host");
    is_live && sent.is_some_and(|host| !of_client(&host.value))
}

/// Whether another Host than the configured one is taken.
fn weigh_hosts(
    view: &View<'_>,
    it: &mut Opinion,
    status: u16,
    now: Option<&Reply>,
    others: &[Ask],
) {
    let taken = others.iter().find_map(|ask| {
        let reply = view
            .reply(ask)
            .filter(|reply| (200..300).contains(&reply.status))?;
        Some((ask, reply))
    });
    match (now, taken) {
        (Some(now), Some((ask, reply))) if now.status == status => {
            let host = match &ask.host {
                HostWord::Name(name) => name.clone(),
                HostWord::Address | HostWord::Check | HostWord::Configured => {
                    view.address().to_owned()
                }
            };
            let fact = view.probed(format!(
                "with the Host that is configured the server answers {status}, and with {host} it \
                answers {}",
                reply.status
            ));
            // Where 403 and 404 are the right answer, another site of the same server may well say 200.
            let is_clear = matches!(status, 400 | 421) && view.case.successes.count == 0;
            if is_clear && is_pinned(view) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        (Some(now), _) if (200..400).contains(&now.status) => {
            it.strongly_against(view.probed(format!(
                "with the Host that is configured the server answers {}",
                now.status
            )));
        }
        (Some(_), None) if others.iter().all(|ask| view.reply(ask).is_some()) => {
            it.strongly_against(view.probed("another Host changes nothing"));
        }
        _ => it.missing("whether another Host changes the answer"),
    }
}

pub(in crate::judge) fn invalid_client_request(view: &View<'_>, it: &mut Opinion) {
    if is_of_server(view) {
        return it.against(view.symptom("the status came from the server"));
    }
    let kind = view.group.kind();
    if kind == Some(Kind::ProxyHeaderUntrusted) {
        it.strong(view.seen());
        it.missing(
            "whether that address is a balancer of yours, which belongs into the list of \
        those trusted",
        );
    } else if view.is(INVALID) {
        it.proof(view.seen());
    } else {
        it.fair(view.seen());
        it.missing("what exactly was wrong with the request");
    }
    let what = kind.map_or("It is not HTTP as the balancer takes it.", Kind::summary);
    match Spoken::of(view.group.first_bytes()) {
        Some(spoken) => it.note(view.symptom(format!("the client speaks {spoken}"))),
        None if !view.group.first_bytes().is_empty() => it.note(view.symptom(format!(
            "what came begins with \"{}\"",
            signs::beginning(view)
        ))),
        None => {}
    }
    if let Some(client) = view.group.clients.only() {
        it.note(view.symptom(format!("all of them come from {client}")));
    }
    if let Some(agent) = view.group.agents.only() {
        it.note(view.symptom(format!("all of them say they are {agent}")));
    }
    it.say(format!(
        "Clients send requests that the balancer refuses: {}",
        lowered(what)
    ));
    it.fix(
        Site::Client,
        "Mend the client, or let scanners be refused",
        "",
    );
    if signs::language(view) == Speaker::Haproxy {
        let socket = "echo 'show errors' | socat stdio /run/haproxy/admin.sock";
        it.fix(
            Site::Clearway,
            "See what was refused, before anything is relaxed",
            socket,
        );
    }
}

/// A sentence to stand behind a colon.
fn lowered(text: &str) -> String {
    match text.strip_prefix("The ") {
        Some(rest) => format!("the {rest}"),
        None => text.to_owned(),
    }
}
