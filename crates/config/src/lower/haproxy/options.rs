//! `option NAME` and `no option NAME`.

use super::super::notes::Notes;
use super::proxy::{At, Proxy};
use crate::syntax::haproxy::Line;

/// What becomes of an option.
enum Fate {
    /// It is done where it is looked for.
    Kept,
    Equivalent(&'static str),
    Harmless(&'static str),
    Ineffective(&'static str),
}

/// Options with what becomes of them.
const OPTIONS: &[(&str, Fate)] = &[
    ("forwardfor", Fate::Kept),
    ("originalto", Fate::Kept),
    ("persist", Fate::Kept),
    ("redispatch", Fate::Kept),
    ("httpchk", Fate::Kept),
    ("tcp-check", Fate::Kept),
    ("ssl-hello-chk", Fate::Kept),
    ("mysql-check", Fate::Kept),
    ("pgsql-check", Fate::Kept),
    ("redis-check", Fate::Kept),
    ("smtpchk", Fate::Kept),
    ("ldap-check", Fate::Kept),
    ("http-server-close", Fate::Kept),
    ("httpclose", Fate::Kept),
    ("forceclose", Fate::Kept),
    ("http-keep-alive", Fate::Kept),
    ("allbackups", Fate::Kept),
    (
        "abortonclose",
        Fate::Equivalent("requests of clients that have left are always given up"),
    ),
    (
        "http-use-htx",
        Fate::Harmless("an internal matter of HAProxy"),
    ),
    ("http-restrict-req-hdr-names", Fate::Kept),
    ("httplog", Fate::Kept),
    ("tcplog", Fate::Kept),
    (
        "dontlognull",
        Fate::Equivalent("connections without a request are not logged"),
    ),
    ("dontlog-normal", Fate::Kept),
    (
        "log-separate-errors",
        Fate::Equivalent("failures have a log of their own"),
    ),
    (
        "logasap",
        Fate::Equivalent("requests are logged when they have ended"),
    ),
    ("log-health-checks", Fate::Kept),
    ("contstats", Fate::Harmless("counters always go on")),
    (
        "socket-stats",
        Fate::Harmless("counters per address are always there"),
    ),
    (
        "splice-auto",
        Fate::Harmless("data is spliced where that is faster"),
    ),
    (
        "splice-request",
        Fate::Harmless("data is spliced where that is faster"),
    ),
    (
        "splice-response",
        Fate::Harmless("data is spliced where that is faster"),
    ),
    ("tcp-smart-accept", Fate::Harmless("a matter of speed")),
    ("tcp-smart-connect", Fate::Harmless("a matter of speed")),
    ("http-no-delay", Fate::Harmless("nothing is delayed")),
    (
        "http-use-proxy-header",
        Fate::Harmless("whether a connection is kept says Connection alone"),
    ),
    (
        "nolinger",
        Fate::Harmless("a matter of the kernel's memory"),
    ),
    (
        "tcpka",
        Fate::Equivalent("broken connections are found by time-outs"),
    ),
    (
        "clitcpka",
        Fate::Equivalent("broken connections are found by time-outs"),
    ),
    (
        "srvtcpka",
        Fate::Equivalent("broken connections are found by time-outs"),
    ),
    ("prefer-last-server", Fate::Harmless("a matter of speed")),
    (
        "http-pretend-keepalive",
        Fate::Harmless("connections to servers are kept"),
    ),
    (
        "http-tunnel",
        Fate::Harmless("it is without effect in HAProxy too"),
    ),
    ("http-buffer-request", Fate::Kept),
    ("accept-invalid-http-request", Fate::Kept),
    (
        "accept-invalid-http-response",
        Fate::Ineffective("what HTTP does not allow is refused"),
    ),
    (
        "checkcache",
        Fate::Ineffective("responses are not searched for cacheable cookies"),
    ),
    (
        "idle-close-on-response",
        Fate::Harmless("idle connections end when asked to"),
    ),
    (
        "h1-case-adjust-bogus-client",
        Fate::Harmless("names of headers keep their case"),
    ),
    (
        "h1-case-adjust-bogus-server",
        Fate::Harmless("names of headers keep their case"),
    ),
];

pub(super) fn read(line: &Line, words: &[&str], is_on: bool, proxy: &mut Proxy, notes: &mut Notes) {
    let name = words.first().copied().unwrap_or_default();
    let Some((_, fate)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
        notes.refused(format!("the option {name:?} is not known here"));
        return;
    };
    match fate {
        Fate::Kept => {}
        Fate::Equivalent(why) => notes.equivalent(*why),
        Fate::Harmless(why) => notes.harmless(*why),
        Fate::Ineffective(why) if is_on => notes.ineffective(*why),
        Fate::Ineffective(_) => {}
    }
    proxy.options.insert(name.to_owned(), At::new(is_on, line));
    if let ("httplog", Some(&"clf")) = (name, words.get(1)) {
        proxy
            .options
            .insert("httplog clf".to_owned(), At::new(is_on, line));
    }
    // Of the ways of checking the last one holds.
    if super::script::OPTIONS.contains(&name) || name == "httpchk" {
        let is_other = |known: &Line| known.word(1) != name;
        if is_on {
            proxy.spoken_check = Some(line.clone()).filter(|_| name != "httpchk");
            if name != "httpchk" {
                proxy.options.remove("httpchk");
            }
        } else {
            proxy.spoken_check = proxy.spoken_check.take().filter(is_other);
        }
    }
    match name {
        "forwardfor" => proxy.forwardfor = is_on.then(|| line.clone()),
        "originalto" => proxy.originalto = is_on.then(|| line.clone()),
        "http-restrict-req-hdr-names" => proxy.restricts = is_on.then(|| line.clone()),
        "httpchk" => proxy.httpchk = is_on.then(|| line.clone()),
        "http-server-close" | "httpclose" | "forceclose" | "http-keep-alive" if is_on => {
            // Of these the last one holds.
            for other in [
                "http-server-close",
                "httpclose",
                "forceclose",
                "http-keep-alive",
            ] {
                if other != name {
                    proxy.options.remove(other);
                }
            }
        }
        _ => {}
    }
}
