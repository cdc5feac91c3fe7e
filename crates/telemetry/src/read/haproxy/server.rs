//! What HAProxy says of servers: `Server app/s1 is DOWN, reason: Layer4 connection problem, …`.

use clearway_outcome::{FaultKind, Remark, Sighting, Speaker, Suspects};

use FaultKind as K;

use crate::read::{Context, failure, scan};

/// Reasons of health checks and what they are.
const REASONS: &[(&str, &[FaultKind])] = &[
    ("Layer4 timeout", &[K::ConnectTimeout]),
    ("Layer6 timeout", &[K::ServerTlsTimeout]),
    ("Layer7 timeout", &[K::ResponseTimeout]),
    ("Layer7 wrong status", &[K::ProbeStatus]),
    (
        "Layer7 invalid response",
        &[
            K::ResponseNotHttp,
            K::ServerSpeaksTls,
            K::ResponseStatusLineInvalid,
            K::ServerClosedNoResponse,
            K::ProbeBody,
        ],
    ),
    (
        "Layer6 invalid response",
        &[
            K::ServerTlsProtocol,
            K::ServerSpeaksPlain,
            K::ServerTlsAlert,
            K::ServerCertificateUntrusted,
            K::ServerCertificateExpired,
            K::ServerCertificateName,
        ],
    ),
    (
        "Layer4 connection problem",
        &[
            K::ConnectRefused,
            K::ConnectUnreachable,
            K::ConnectReset,
            K::ConnectDenied,
            K::UnixMissing,
            K::ConnectFailed,
        ],
    ),
];

/// What `connect(2)` met, in lines of their own: `Connect() failed for backend app: no free ports.`
const CONNECTS: &[(&str, FaultKind)] = &[
    ("no free ports", K::OutOfPorts),
    ("local address already in use", K::OutOfPorts),
    ("check backlog size", K::UnixBacklogFull),
];

/// Reads what HAProxy says when it does not start for a name: `'server app/s1' : could not resolve address
/// 'app.test'.`; `false` where it is something else.
pub(super) fn unresolved(line: &[u8], context: &mut Context<'_>) -> bool {
    let Some((before, _)) = scan::split(line, b"' : could not resolve address '") else {
        return false;
    };
    let mut sighting = Sighting::of(Speaker::Haproxy, context.place);
    let name = scan::split(before, b"'server ").map_or(&b""[..], |(_, name)| name);
    if let Some((backend, server)) = scan::split(name, b"/") {
        (sighting.backend, sighting.server) = (scan::text(backend), scan::text(server));
    }
    sighting.remark = Some(Remark::NameUnknownAtStart);
    scan::push_words(&mut context.scratch.words, line);
    context.tell(sighting);
    true
}

/// Reads a line on a connection that the system refused; `false` where it is none.
pub(super) fn connect(line: &[u8], context: &mut Context<'_>) -> bool {
    let Some((_, rest)) = scan::split(line, b"Connect() failed for backend ") else {
        return false;
    };
    let Some((backend, reason)) = scan::split(rest, b": ") else {
        return false;
    };
    let mut sighting = Sighting::of(Speaker::Haproxy, context.place);
    sighting.backend = scan::text(backend);
    sighting.at_us = context.stats.last_us;
    failure::plain(reason, &mut context.scratch.plain);
    let plain = &context.scratch.plain;
    let row = CONNECTS.iter().find(|(words, _)| scan::has(plain, words));
    let Some((_, kind)) = row else {
        return true;
    };
    sighting.suspects = Suspects::just(*kind);
    sighting.is_immediate = Some(true);
    scan::push_words(&mut context.scratch.words, reason);
    context.tell(sighting);
    true
}

/// Why a server has no address, in HAProxy's words.
const NAMES: &[(&str, FaultKind)] = &[
    ("dns timeout status", K::NameTimeout),
    ("dns nx status", K::NameUnresolved),
    ("dns refused status", K::NameUnresolved),
    ("unspecified dns error", K::NameUnresolved),
    ("no ip for server", K::NameUnresolved),
    ("removed from srv", K::NameUnresolved),
];

/// Reads such a line; `false` where it is none.
pub(super) fn line(line: &[u8], context: &mut Context<'_>) -> bool {
    let mut sighting = Sighting::of(Speaker::Haproxy, context.place);
    // These lines have the time of syslog at most; that of the last request is near.
    sighting.at_us = context.stats.last_us;
    let said = if let Some((before, _)) = scan::split(line, b" has no server available!") {
        let name = before.rsplit(|byte| *byte == b' ').next().unwrap_or(before);
        let name = name.strip_prefix(b"'").unwrap_or(name);
        sighting.backend = scan::text(name.strip_suffix(b"'").unwrap_or(name));
        sighting.remark = Some(Remark::BackendEmpty);
        sighting.suspects = Suspects::just(K::AllServersDown);
        &b"has no server available"[..]
    } else {
        let Some((_, rest)) = scan::split(line, b"erver ") else {
            return false;
        };
        let Some((name, rest)) = scan::split(rest, b" is ") else {
            return false;
        };
        let Some((backend, server)) = scan::split(name, b"/") else {
            return false;
        };
        (sighting.backend, sighting.server) = (scan::text(backend), scan::text(server));
        sighting.remark = match rest {
            [b'U', b'P', ..] => Some(Remark::ServerUp),
            _ if rest.starts_with(b"DOWN") || rest.starts_with(b"going DOWN") => {
                Some(Remark::ServerDown)
            }
            _ => None,
        };
        if sighting.remark == Some(Remark::ServerDown) {
            reason(rest, &mut sighting, &mut context.scratch.plain);
            maintenance(rest, &mut sighting, &mut context.scratch.plain);
            if scan::has(rest, "reason: Health analyze") {
                // `observe` with `on-error`: requests failed, no check.
                sighting.remark = Some(Remark::ServerDisabled);
            }
        }
        scan::split(rest, b". ").map_or(rest, |(head, _)| head)
    };
    scan::push_words(&mut context.scratch.words, said);
    context.tell(sighting);
    true
}

/// `going DOWN for maintenance (DNS timeout status)`: the name gave no address.
fn maintenance(rest: &[u8], sighting: &mut Sighting<'_>, plain: &mut Vec<u8>) {
    let Some((_, cause)) = scan::split(rest, b"maintenance (") else {
        return;
    };
    failure::plain(scan::before(cause, b')'), plain);
    let row = NAMES.iter().find(|(words, _)| scan::has(plain, words));
    if let Some((_, kind)) = row {
        sighting.suspects = Suspects::just(*kind);
    }
}

/// The reason, the status of `code: 404`, the error of `info: "Connection refused"` and the time.
fn reason(rest: &[u8], sighting: &mut Sighting<'_>, plain: &mut Vec<u8>) {
    let Some((_, reason)) = scan::split(rest, b"reason: ") else {
        return;
    };
    let after = |name: &[u8]| scan::split(reason, name).map(|(_, value)| value);
    let number = |name| {
        after(name)
            .and_then(scan::leading_number)
            .map(|(number, _)| number)
    };
    sighting.elapsed_us = number(b"check duration: ").map(|ms| ms.saturating_mul(1_000));
    let code = number(b", code: ").and_then(|code| u16::try_from(code).ok());
    sighting.server_status = code.unwrap_or(0);
    let row = REASONS
        .iter()
        .find(|(name, _)| reason.starts_with(name.as_bytes()));
    sighting.suspects = Suspects::any_of(row.map_or(&[], |(_, kinds)| kinds));
    failure::plain(after(b"info: \"").unwrap_or_default(), plain);
    let errno = failure::errno_named(plain);
    if errno > 0 && reason.starts_with(b"Layer4") {
        sighting.errno = errno;
        sighting.suspects = Suspects::just(failure::connect(errno, errno == 2));
    } else if reason.starts_with(b"Layer6 invalid") && !plain.is_empty() {
        let (kind, signal) = failure::server_tls(plain);
        if kind != K::ServerTlsProtocol {
            (sighting.suspects, sighting.signal) = (Suspects::just(kind), signal);
        }
    }
}
