//! HAProxy's log: `httplog`, `tcplog`, any `log-format`, errors of connections that brought no request,
//! and what it says of servers. Times are local and name no zone.

mod format;
mod server;
mod state;

use clearway_outcome::{Sighting, Speaker, Suspects};

use super::field::{Field, Fields};
use super::template::{self, Template};
use super::{Context, TemplateError, failure, scan, server_of, time};

/// `option httplog`, and `httpslog` with what follows. Captured headers, which may be absent, are passed
/// over up to the quote.
const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
     %ac/%fc/%bc/%sc/%rc %sq/%bq %hr\"%r\"";

/// `option tcplog`.
const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// Reads the lines.
pub(super) struct Lines {
    templates: Vec<Template>,
    /// Words before each line that are not part of the format.
    prefix: usize,
}

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        let mut templates = Vec::new();
        if let Some(text) = text {
            templates.push(format::compile(text)?);
        }
        templates.push(format::compile(HTTP)?);
        templates.push(format::compile(TCP)?);
        Ok(Self {
            templates,
            prefix: 0,
        })
    }

    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        for template in &self.templates {
            let cut = |rest| template.cut(rest).filter(is_plausible);
            if let Some(fields) = template::cut_behind_prefix(line, &mut self.prefix, cut) {
                read(&fields, context);
                return true;
            }
        }
        server::line(line, context)
            || server::connect(line, context)
            || server::unresolved(line, context)
            || no_request(line, context)
            || is_notice(line)
    }
}

/// Whether these are values of this format, and not of another that has spaces in the same places.
fn is_plausible(fields: &Fields<'_>) -> bool {
    let is_state = |text: &[u8]| {
        matches!(text.len(), 2 | 4) && text.iter().all(|b| *b == b'-' || b.is_ascii_alphabetic())
    };
    // What was put before a line would become part of its first field.
    let is_bare = |text: &[u8]| memchr::memchr(b' ', text).is_none();
    let status = fields.get(Field::Status);
    is_bare(fields.get(Field::ClientPort))
        && is_bare(fields.get(Field::Client))
        && (!fields.has(Field::State)
            || fields.get(Field::State).is_empty()
            || is_state(fields.get(Field::State)))
        && (!fields.has(Field::Status) || status == b"-1" || scan::status(status).is_some())
        && (!fields.has(Field::Time) || fields.get(Field::Time).len() >= 10)
}

fn read(fields: &Fields<'_>, context: &mut Context<'_>) {
    let began = fields.at(context.zone);
    context.stats.time(began);
    let status = scan::status(fields.get(Field::Status)).unwrap_or(0);
    context.stats.status(status);
    let server = match fields.get(Field::Server) {
        b"<NOSRV>" | b"<STATS>" | b"<LUA>" | b"<PROMEX>" => b"",
        name => name,
    };
    let state = fields.get(Field::State);
    let is_normal = state.is_empty() || state.starts_with(b"--") || state.starts_with(b"L");
    if is_normal && status < 500 {
        let key = (fields.get(Field::Backend), server);
        let took = scan::millis(fields.get(Field::WaitMs));
        context
            .stats
            .answered(key, status, took, began, fields.path());
        return saved(fields, began, context);
    }
    let mut sighting = Sighting::of(Speaker::Haproxy, context.place);
    describe(fields, began, &mut sighting);
    sighting.server = scan::text(server);
    let (suspects, remark) = if is_normal {
        (Suspects::NONE, None)
    } else {
        state::judge(fields, state)
    };
    (sighting.suspects, sighting.remark) = (suspects, remark);
    sighting.signal = state::signal(fields);
    if is_normal && !server.is_empty() && !state.starts_with(b"L") {
        sighting.server_status = status;
        let took = scan::millis(fields.get(Field::WaitMs));
        context
            .stats
            .answered(server_of(&sighting), status, took, sighting.at_us, b"");
    }
    words(fields, context);
    context.tell(sighting);
}

/// A request that went well once it had been connected anew: `+1` retries were made at another server, `1`
/// at the same one. By itself HAProxy does so for connections that fail.
fn saved(fields: &Fields<'_>, began: Option<i64>, context: &mut Context<'_>) {
    let retries = fields.get(Field::Retries);
    let (is_elsewhere, made) = match retries.strip_prefix(b"+") {
        Some(made) => (true, made),
        None => (false, retries),
    };
    let made = scan::number(made).and_then(|made| u32::try_from(made).ok());
    let Some(made) = made.filter(|made| *made > 0) else {
        return;
    };
    let mut sighting = Sighting::of(Speaker::Haproxy, context.place);
    describe(fields, began, &mut sighting);
    if is_elsewhere {
        (sighting.server, sighting.address) = ("", "");
    }
    (
        sighting.elapsed_us,
        sighting.connected_us,
        sighting.header_us,
    ) = (None, None, None);
    sighting.attempt = (made, made.saturating_add(1));
    sighting.suspects = state::unreached();
    sighting.saved = true;
    words(fields, context);
    context.tell(sighting);
}

/// The times of `%TR/%Tw/%Tc/%Tr/%Ta` follow each other; an Attempt begins after the first of them.
fn describe<'a>(fields: &Fields<'a>, began: Option<i64>, sighting: &mut Sighting<'a>) {
    fields.describe(sighting);
    let listener = sighting.listener;
    sighting.listener = listener.strip_suffix('~').unwrap_or(listener);
    let place = [Field::AddressPort, Field::Address].map(|field| fields.text(field));
    sighting.address = place
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let millis = |field| scan::millis(fields.get(field));
    let (queue, connect) = (millis(Field::QueueMs), millis(Field::ConnectMs));
    let total = millis(Field::TotalMs);
    sighting.queued_us = queue;
    sighting.connected_us = connect.map(|time| time + queue.unwrap_or(0));
    let wait = millis(Field::WaitMs);
    sighting.header_us = wait.zip(sighting.connected_us).map(|(a, b)| a + b);
    let head = millis(Field::HeadMs).unwrap_or(0);
    sighting.elapsed_us = total.map(|total| total.saturating_sub(head));
    let total = total.and_then(|total| i64::try_from(total).ok());
    sighting.at_us = began.map(|began| began.saturating_add(total.unwrap_or(0)));
    let retries = fields.get(Field::Retries);
    let retries = retries.strip_prefix(b"+").unwrap_or(retries);
    if let Some(made) = scan::number(retries).and_then(|made| u32::try_from(made).ok()) {
        let which = made.saturating_add(1);
        sighting.attempt = (which, which);
    }
}

/// `SC-- app/s1 0/0/-1/-1/1 503 EREFUSED`: nothing of what the client sent.
fn words(fields: &Fields<'_>, context: &mut Context<'_>) {
    const FIELDS: [(&str, Field); 13] = [
        ("", Field::State),
        (" ", Field::Backend),
        ("/", Field::Server),
        (" ", Field::HeadMs),
        ("/", Field::QueueMs),
        ("/", Field::ConnectMs),
        ("/", Field::WaitMs),
        ("/", Field::TotalMs),
        (" ", Field::Status),
        (" ", Field::ErrorName),
        (" ", Field::ErrorText),
        (" ", Field::TlsError),
        (" ", Field::Events),
    ];
    let words = &mut context.scratch.words;
    words.clear();
    for (before, field) in FIELDS {
        if !fields.get(field).is_empty() {
            words.push_str(before);
            scan::push_words(words, fields.get(field));
        }
    }
}

/// `192.0.2.7:4000 [21/Nov/2026:07:30:00.123] web/1: SSL handshake failure`: a client that did not get as
/// far as a request.
fn no_request(line: &[u8], context: &mut Context<'_>) -> bool {
    use clearway_outcome::FaultKind as K;
    let Some((head, rest)) = scan::split(line, b" [") else {
        return false;
    };
    let Some((stamp, rest)) = scan::split(rest, b"] ") else {
        return false;
    };
    let Some((entrance, message)) = scan::split(rest, b": ") else {
        return false;
    };
    let Some(at) = time::parse(stamp, context.zone) else {
        return false;
    };
    context.stats.time(Some(at));
    let client = head.rsplit(|byte| *byte == b' ').next().unwrap_or(head);
    let mut sighting = Sighting::of(Speaker::Haproxy, context.place);
    sighting.at_us = Some(at);
    sighting.client = scan::text(scan::without_port(client));
    sighting.listener = scan::text(scan::before(entrance, b'/'));
    failure::plain(message, &mut context.scratch.plain);
    let plain = &context.scratch.plain;
    if scan::has(plain, "proxy protocol") || scan::has(plain, "proxy header") {
        let kinds: &[K] = if scan::has(plain, "time") {
            &[K::ProxyHeaderTimeout]
        } else {
            &[K::ProxyHeaderInvalid]
        };
        sighting.suspects = Suspects::any_of(kinds);
    } else if scan::has(plain, "ssl") || scan::has(plain, "tls") {
        (sighting.suspects, sighting.signal) = failure::client_tls(plain);
        if scan::has(plain, "connection error") {
            sighting.suspects = Suspects::just(K::TlsHandshakeClosed);
        }
    } else {
        return false;
    }
    scan::push_words(&mut context.scratch.words, message);
    context.tell(sighting);
    true
}

/// Lines that say nothing of requests.
fn is_notice(line: &[u8]) -> bool {
    const NOTICES: [&str; 9] = [
        "Connect from ",
        "Proxy ",
        "[NOTICE]",
        "New worker",
        "Loading success",
        "Stopping ",
        "Health check for server ",
        "Exiting Master",
        "Reloading HAProxy",
    ];
    NOTICES.iter().any(|notice| scan::has(line, notice))
}

#[cfg(test)]
mod tests;
