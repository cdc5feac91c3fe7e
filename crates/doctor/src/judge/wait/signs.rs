//! What judges of sending, waiting and kept connections ask about a request that came to nothing.

use clearway_config::Origin;
use clearway_config::survey::{FrontSurvey, Setting};
use clearway_outcome::{FaultKind as Kind, Listening, Speaker};

use crate::case::View;
use crate::evidence::{Ask, Connection, HostWord, Reply, Then};
use crate::group::Spread;
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// Whether the server's host has the request, as TCP acknowledged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::judge) enum Delivery {
    /// Everything that was sent was acknowledged.
    Taken,
    /// Bytes were sent and nobody acknowledged them.
    Unacknowledged,
    /// What was sent was acknowledged, and the rest may not be sent: the server's window is closed.
    NotRead,
    /// Nothing is known, or the failures differ.
    Unknown,
}

/// How the requests of the group were delivered.
pub(in crate::judge) fn delivery(view: &View<'_>) -> Delivery {
    match (view.group.acknowledged, view.group.tcp) {
        ((1.., 0), _) => Delivery::Taken,
        ((0, 1..), Some(tcp)) => {
            let in_flight = tcp.unacked > 0 || tcp.unacked_bytes > 0;
            if !in_flight && tcp.notsent_bytes > 0 {
                Delivery::NotRead
            } else {
                Delivery::Unacknowledged
            }
        }
        _ => Delivery::Unknown,
    }
}

/// Whether requests succeeded on the same server after the first of these failures.
pub(in crate::judge) fn went_well_meanwhile(view: &View<'_>) -> bool {
    let successes = &view.case.successes;
    match (successes.last_us, view.group.first_us) {
        (Some(last), Some(first)) => last > first,
        _ => successes.count > 0,
    }
}

/// Whether it would be known if requests had succeeded: error logs tell of failures only.
pub(in crate::judge) fn would_know_successes(view: &View<'_>) -> bool {
    view.group.speaker == Speaker::Clearway || view.case.successes.count > 0
}

/// The path of all failures, where no request for it went well and others did.
pub(in crate::judge) fn doomed_path<'a>(view: &View<'a>) -> Option<&'a str> {
    let path = view.group.paths.only()?;
    let is_doomed = view.case.successes.paths.may_have(path) == Some(false);
    // What breaks at once breaks with its server, whatever it is.
    let together = u64::try_from(broke_together(view)).unwrap_or(u64::MAX);
    let is_burst = together >= 3 && together * 2 > view.group.count;
    (view.group.count >= 2 && is_doomed && !is_burst).then_some(path)
}

/// Whether a log that tells of what went well has nothing of the kind on this server: then there never was
/// a connection that could have been kept.
pub(in crate::judge) fn has_never_answered(view: &View<'_>) -> bool {
    let successes = &view.case.successes;
    let is_told = match view.group.speaker {
        // Its access log tells, but not of which server.
        Speaker::Nginx => !view.group.statuses.is_empty(),
        Speaker::Clearway => false,
        Speaker::Haproxy | Speaker::Envoy | Speaker::Alb => true,
    };
    is_told && view.group.count >= 2 && successes.count + successes.before == 0
}

/// Whether the balancer would have sent these requests again if a kept connection had failed: NGINX does so
/// with what may be sent twice, on a fresh one.
pub(in crate::judge) fn was_sent_again(view: &View<'_>) -> bool {
    let group = view.group;
    let may_twice = |(method, _): (&str, u64)| !matches!(method, "POST" | "PATCH" | "LOCK");
    group.speaker == Speaker::Nginx
        && !group.statuses.is_empty()
        && group.saved == 0
        && !group.methods.is_empty()
        && group.methods.iter().all(may_twice)
}

/// Whether all failures came on kept connections.
pub(in crate::judge) fn is_all_reused(view: &View<'_>) -> bool {
    let group = view.group;
    // Others do not always tell.
    let is_known = group.speaker == Speaker::Clearway || group.reused() == group.count;
    group.reused() > 0 && group.fresh == 0 && is_known
}

/// Whether all failures came on fresh connections.
pub(in crate::judge) fn is_all_fresh(view: &View<'_>) -> bool {
    const ON_FRESH: &[Kind] = &[Kind::ServerClosedNoResponse, Kind::ServerResetNoResponse];
    // Clearway has kinds of its own for kept connections; logs of others do not tell.
    let by_kind = view.group.speaker == Speaker::Clearway && view.is(ON_FRESH);
    view.group.reused() == 0 && (view.group.fresh > 0 || by_kind)
}

/// Waited for this long after it had been taken, a request was being worked on.
const WORKED_ON_US: u64 = 300_000;
/// And for this long whether or not it had been.
const SURELY_WORKED_ON_US: u64 = 1_000_000;

/// Whether the server worked on the requests before it ended the connections: then those were not over already
/// when they were used.
pub(in crate::judge) fn was_worked_on(view: &View<'_>) -> bool {
    let waited = view.group.waited;
    let least = match delivery(view) {
        // It is sent again before the answer to that comes, which takes a while as well.
        Delivery::Unacknowledged => return false,
        Delivery::Taken => WORKED_ON_US,
        Delivery::NotRead | Delivery::Unknown => SURELY_WORKED_ON_US,
    };
    waited.count > 0 && waited.min >= least
}

/// Whether nothing listens at the server any more.
pub(in crate::judge) fn is_gone(view: &View<'_>) -> bool {
    let refused = Some(Kind::ConnectRefused);
    view.connection()
        .is_some_and(|found| found.fault == refused)
        || matches!(light_reply(view), Light::Broken(Kind::ConnectRefused))
}

/// Whether the failures came one at a time: none while another was waited for.
pub(in crate::judge) fn is_one_at_a_time(view: &View<'_>) -> bool {
    let waited = i64::try_from(view.group.waited.min).unwrap_or(i64::MAX);
    let mut pairs = view.group.times().windows(2);
    view.group.times().len() >= 2
        && pairs.all(|pair| matches!(pair, [before, after] if after - before >= waited))
}

/// How many of the failures were waited for at the same time, as far as times are known.
pub(in crate::judge) fn at_once(view: &View<'_>) -> usize {
    let waited = i64::try_from(view.group.waited.mean()).unwrap_or(i64::MAX);
    let times = view.group.times();
    let before = |end: i64| {
        times
            .iter()
            .filter(|t| **t <= end && **t > end - waited)
            .count()
    };
    times.iter().map(|end| before(*end)).max().unwrap_or(0)
}

/// How many requests under way broke at the same time; 0 where times are told in seconds only.
fn broke_together(view: &View<'_>) -> usize {
    let times = view.group.times();
    if times.iter().all(|time| time % 1_000_000 == 0) {
        return 0;
    }
    let burst = usize::try_from(view.group.burst).unwrap_or(usize::MAX);
    at_once(view).min(burst)
}

/// Whether connections are not kept at all, as the configuration says.
pub(in crate::judge) fn keeps_none(view: &View<'_>) -> bool {
    view.backend()
        .is_some_and(|backend| !backend.keepalive.value)
}

/// Whether the server is on this host, so that no network and no box are between.
pub(in crate::judge) fn is_here(view: &View<'_>) -> bool {
    view.is_unix()
        || crate::judge::reach::is_loopback(view)
        || view.host().is_some_and(|host| host.is_local)
}

/// How long the server may take for a response, as the configuration says.
pub(in crate::judge) fn limit_us(view: &View<'_>) -> Option<u64> {
    let limit = view.backend()?.timeouts.response.value?;
    u64::try_from(limit.as_micros()).ok()
}

/// The same, or how long was waited until patience was over. The limit of a whole request is another one.
pub(in crate::judge) fn patience_us(view: &View<'_>) -> u64 {
    if view.is(&[Kind::TotalTimeout]) {
        return view.group.elapsed.mean();
    }
    limit_us(view).unwrap_or_else(|| view.group.waited.mean())
}

/// Numbers of seconds that people write as limits.
const ROUND_S: &[u64] = &[
    1, 2, 3, 5, 10, 15, 20, 25, 30, 40, 45, 50, 60, 90, 100, 120, 150, 180, 240, 300, 600, 900,
    1_800, 3_600,
];

/// The round number of seconds that all these times are near to. Watchdogs look once a second or so, and act
/// a little late.
pub(in crate::judge) fn round_seconds(times: &Spread) -> Option<u64> {
    if times.count == 0 || !times.is_constant(5, 300_000) {
        return None;
    }
    let mean = times.mean();
    ROUND_S.iter().copied().find(|seconds| {
        let round = seconds * 1_000_000;
        let early = (round / 100).max(50_000);
        let late = (round / 25).max(150_000);
        mean + early >= round && mean <= round + late
    })
}

/// Whether a number is near another: within so many per cent, or within `slack`.
pub(in crate::judge) fn is_near(value: u64, wanted: u64, percent: u64, slack: u64) -> bool {
    value.abs_diff(wanted) <= (wanted / 100 * percent).max(slack)
}

/// The status that the server always sent.
pub(in crate::judge) fn status(view: &View<'_>) -> Option<u16> {
    view.group.server_statuses.only()?.parse().ok()
}

/// A request that costs a server next to nothing: what its health check asks for, or else its front page.
pub(in crate::judge) fn light(view: &View<'_>) -> Ask {
    let failing = |path: &str| view.group.paths.iter().any(|(known, _)| known == path);
    let check = view.backend().and_then(|backend| backend.check.as_ref());
    let is_http = |check: &&clearway_config::survey::CheckSurvey| {
        check.kind.value == clearway_config::survey::CheckKind::Http
    };
    if let Some(check) = check.filter(is_http)
        && !failing(&check.path.value)
    {
        return Ask {
            path: check.path.value.clone(),
            host: HostWord::Check,
            ..Ask::default()
        };
    }
    if failing("/") {
        // Where it does not exist it is refused without any work.
        return Ask {
            path: "/favicon.ico".to_owned(),
            ..Ask::default()
        };
    }
    Ask::default()
}

/// The light request, too large for one packet.
pub(in crate::judge) fn large(view: &View<'_>) -> Ask {
    Ask {
        is_large: true,
        ..light(view)
    }
}

/// The request that fails, with more time than it has now; `None` when it is not one that may be made on
/// purpose.
pub(in crate::judge) fn patient(view: &View<'_>) -> Option<Ask> {
    const MOST_MS: u64 = 180_000;
    let mut methods = view.group.methods.iter();
    if !methods.all(|(method, _)| matches!(method, "GET" | "HEAD")) {
        return None;
    }
    let path = view.group.paths.first()?.to_owned();
    let limit_ms = patience_us(view) / 1_000;
    // In whole steps, so that the same request is asked for while the mean of times moves a little.
    let patience_ms = (limit_ms + (limit_ms / 2).max(5_000)).next_multiple_of(5_000);
    (limit_ms > 0 && limit_ms < MOST_MS).then(|| Ask {
        path,
        patience_ms: patience_ms.min(MOST_MS),
        ..Ask::default()
    })
}

/// What came of the request that fails, where it could be made again.
pub(in crate::judge) fn same_again<'a>(view: &View<'a>) -> Option<&'a Reply> {
    let path = view.group.paths.only()?;
    let mut methods = view.group.methods.iter();
    if !methods.all(|(method, _)| matches!(method, "GET" | "HEAD")) {
        return None;
    }
    let mut replies = view.replies().filter(|(ask, _)| {
        let is_path = ask.path == path || ask.path.is_empty() && path == "/";
        let is_usual = ask.host == HostWord::Configured && ask.tls.is_none() && ask.http2.is_none();
        is_path && is_usual && ask.proxy_header.is_none() && !ask.is_large && !ask.upgrade
    });
    replies.next().map(|(_, reply)| reply)
}

/// Whether the same request was answered when it had more time, and later than it may be.
pub(in crate::judge) fn is_late_at_last(view: &View<'_>) -> bool {
    let reply = patient(view).and_then(|ask| view.reply(&ask));
    reply.is_some_and(|reply| {
        reply.is_answered() && reply.first_byte_us.unwrap_or(reply.took_us) > patience_us(view)
    })
}

/// Whether the same request is answered soon now.
pub(in crate::judge) fn is_quick_now(view: &View<'_>) -> bool {
    let reply = patient(view).and_then(|ask| view.reply(&ask));
    reply.is_some_and(|reply| {
        reply.is_answered() && reply.first_byte_us.unwrap_or(reply.took_us) < patience_us(view) / 2
    })
}

/// Whether the same request was made on a fresh connection and met no answer, as other requests do.
pub(in crate::judge) fn ends_again(view: &View<'_>) -> bool {
    const ENDS: &[Kind] = &[Kind::ServerClosedNoResponse, Kind::ServerResetNoResponse];
    let fault = same_again(view).and_then(|reply| reply.fault);
    let is_light_well = matches!(light_reply(view), Light::Quick(_) | Light::Late(_));
    is_light_well && fault.is_some_and(|kind| ENDS.contains(&kind))
}

/// What came of the light request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::judge) enum Light {
    /// It was answered at once.
    Quick(u64),
    /// It was answered late.
    Late(u64),
    /// It was not answered in time.
    Silent(u64),
    /// It failed in another way.
    Broken(Kind),
    /// It was not made.
    NotAsked,
}

/// What came of the light request.
pub(in crate::judge) fn light_reply(view: &View<'_>) -> Light {
    let Some(reply) = view.reply(&light(view)) else {
        return Light::NotAsked;
    };
    let limit = patience_us(view);
    let quick = match limit {
        0 => 1_000_000,
        limit => (limit / 3).min(1_000_000),
    };
    match reply.fault {
        _ if reply.is_answered() => match reply.first_byte_us.unwrap_or(reply.took_us) {
            at if at <= quick => Light::Quick(at),
            at => Light::Late(at),
        },
        Some(Kind::ResponseTimeout | Kind::TotalTimeout) | None => Light::Silent(reply.took_us),
        Some(kind) => Light::Broken(kind),
    }
}

/// The path of the light request, for a reader.
pub(in crate::judge) fn light_path(view: &View<'_>) -> String {
    match light(view).path {
        path if path.is_empty() => "/".to_owned(),
        path => path,
    }
}

/// Whether a reply came with nothing lost on the way.
pub(in crate::judge) fn is_clean(reply: &Reply) -> bool {
    reply.tcp.is_none_or(|tcp| tcp.retransmits == 0)
}

/// The server's listener, where it can be seen.
pub(in crate::judge) fn listener<'a>(view: &View<'a>) -> Option<&'a Listening> {
    let host = view.host().filter(|host| host.is_local)?;
    let mut listeners = host.listeners.as_deref()?.iter();
    listeners.find(|listener| listener.address.port() == view.port())
}

/// Where clients came in.
pub(in crate::judge) fn front<'a>(view: &View<'a>) -> Option<&'a FrontSurvey> {
    let fronts = &view.case.survey()?.fronts;
    if let [only] = fronts.as_slice() {
        return Some(only);
    }
    let host = view.group.hosts.first().unwrap_or_default();
    let by_host = fronts
        .iter()
        .find(|front| front.hosts.iter().any(|known| known == host));
    by_host.or_else(|| {
        let backend = &view.case.subject.backend;
        fronts
            .iter()
            .find(|front| !backend.is_empty() && front.backends.contains(backend))
    })
}

/// Whose configuration a remedy is written in: the one that was read, or that of whoever told of the
/// failures.
pub(in crate::judge) fn language(view: &View<'_>) -> Speaker {
    let read = view.case.survey().map(|survey| survey.speaker);
    read.unwrap_or(view.group.speaker)
}

/// The same in every language of configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::judge) struct Spelled<'a> {
    /// Clearway's TOML.
    pub(in crate::judge) clearway: &'a str,
    /// NGINX's directives.
    pub(in crate::judge) nginx: &'a str,
    /// HAProxy's words.
    pub(in crate::judge) haproxy: &'a str,
    /// Envoy's fields.
    pub(in crate::judge) envoy: &'a str,
    /// Settings of AWS.
    pub(in crate::judge) alb: &'a str,
}

impl<'a> Spelled<'a> {
    /// In the reader's language; empty where it has no words for it.
    pub(in crate::judge) fn of(&self, view: &View<'_>) -> &'a str {
        match language(view) {
            Speaker::Clearway => self.clearway,
            Speaker::Nginx => self.nginx,
            Speaker::Haproxy => self.haproxy,
            Speaker::Envoy => self.envoy,
            Speaker::Alb => self.alb,
        }
    }

    /// A fix with these words as its line, placed where the setting stands, or at the backend; none where
    /// the language has no words for it.
    pub(in crate::judge) fn fix(
        &self,
        view: &View<'_>,
        it: &mut Opinion,
        origin: Option<&Origin>,
        words: &str,
    ) {
        let line = self.of(view);
        if !line.is_empty() {
            it.fix(Site::Config, placed(view, origin, words), line);
        }
    }

    /// The same for a fix that a probe has proved.
    pub(in crate::judge) fn verified_fix(
        &self,
        view: &View<'_>,
        it: &mut Opinion,
        origin: Option<&Origin>,
        words: &str,
    ) {
        let line = self.of(view);
        if !line.is_empty() {
            it.verified_fix(Site::Config, placed(view, origin, words), line);
        }
    }
}

/// Words with the place of a setting, or of the backend, before them.
fn placed(view: &View<'_>, origin: Option<&Origin>, words: &str) -> String {
    let of_backend = || view.backend().and_then(|backend| backend.origin.as_ref());
    match origin.or_else(of_backend) {
        Some(origin) => format!("In {origin}, {words}"),
        None => {
            let mut letters = words.chars();
            letters.next().map_or_else(String::new, |first| {
                format!("{}{}", first.to_uppercase(), letters.as_str())
            })
        }
    }
}

/// Where a setting stands.
pub(in crate::judge) fn origin_of<T>(setting: Option<&Setting<T>>) -> Option<&Origin> {
    setting.and_then(|setting| setting.origin.as_ref())
}

/// The backend's name for a line of Clearway's configuration.
pub(in crate::judge) fn backend_name<'a>(view: &View<'a>) -> &'a str {
    match view.backend() {
        Some(backend) => &backend.name,
        None if view.case.subject.backend.is_empty() => "NAME",
        None => &view.case.subject.backend,
    }
}

/// A time as configurations write it: `750ms`, `4s`, `90s`.
pub(in crate::judge) fn written(ms: u64) -> String {
    if ms < 1_000 {
        format!("{ms}ms")
    } else {
        format!("{}s", ms.div_ceil(1_000))
    }
}

/// The most frequent path, for a reader.
pub(in crate::judge) fn path<'a>(view: &View<'a>) -> &'a str {
    view.group.paths.first().unwrap_or("/")
}

/// How what came begins, for a reader; nothing of it can disturb a terminal.
pub(in crate::judge) fn beginning(view: &View<'_>) -> String {
    let first = view.group.first_bytes().iter().take(16);
    first
        .copied()
        .flat_map(std::ascii::escape_default)
        .map(char::from)
        .collect()
}

/// Whether a server drops connections before anybody has said anything: then no request is to blame.
pub(in crate::judge) fn drops_at_once(found: &Connection) -> bool {
    const AT_ONCE_US: u64 = 300_000;
    matches!(found.then, Then::Closed(after) | Then::Reset(after) if after < AT_ONCE_US)
}

/// `30.0 s`, or `28.1 s to 33.0 s`.
pub(in crate::judge) fn between(min: u64, max: u64) -> String {
    let (min, max) = (time(min), time(max));
    if min == max {
        min
    } else {
        format!("{min} to {max}")
    }
}
