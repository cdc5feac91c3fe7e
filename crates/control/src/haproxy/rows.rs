//! The statistics as HAProxy counts them, out of Clearway's counters: a row for each listener, server and
//! backend. What is not counted here stays empty.

use std::sync::atomic::Ordering;

use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_config::model::Config;
use clearway_net::probe::{Depth, Kind};
use clearway_outcome::{FaultKind, Party};
use clearway_proxy::board::{DOWN, DRAIN, EJECTED, MAINTENANCE, STOPPING};
use clearway_proxy::plan::{BackendPlan, CheckPlan, ListenerPlan, Mode, Plan, ServerPlan};
use clearway_proxy::stats::{
    BackendShard, Count, FaultCounts, LazyHistogram, ListenerShard, ServerShard,
};
use clearway_telemetry::Counts;

use super::fields::Field;
use super::samples::{self, Key, Object, Sample};
use super::write::{Row, Value};
use crate::state::State;
use crate::story::{LastProbe, Story};

/// The number of the first proxy; those before are HAProxy's own.
const FIRST_PROXY: u32 = 2;

/// A proxy in HAProxy's sense: what clients connect to, what has servers, or both.
pub(super) struct Proxy<'a> {
    pub(super) number: u32,
    pub(super) name: Name,
    pub(super) listener: Option<&'a ListenerPlan>,
    pub(super) backend: Option<&'a BackendPlan>,
}

/// All proxies: listeners, each with the backend of its name, then the other backends.
pub(super) fn proxies<'p>(plan: &'p Plan, config: &Config) -> Vec<Proxy<'p>> {
    let mut all: Vec<Proxy<'_>> = Vec::new();
    let fronts = plan.listeners.iter().map(|listener| {
        let backend = plan.backends.iter().find(|b| b.name == listener.name);
        (listener.name, Some(listener.as_ref()), backend)
    });
    let is_own =
        |b: &&std::sync::Arc<BackendPlan>| !plan.listeners.iter().any(|l| l.name == b.name);
    let backs = plan.backends.iter().filter(is_own);
    let backs = backs.map(|backend| (backend.name, None, Some(backend)));
    let mut found: Vec<_> = fronts.chain(backs).collect();
    // They are numbered as they stand in a file, whichever they are.
    let places = places(config);
    found.sort_by_key(|(name, ..)| places.get(name.as_str()).copied().unwrap_or(0));
    for (number, (name, listener, backend)) in (FIRST_PROXY..).zip(found) {
        all.push(Proxy {
            number,
            name,
            listener,
            backend: backend.map(AsRef::as_ref),
        });
    }
    all
}

/// The lines of sections by their names; nothing where they stand in several files.
fn places(config: &Config) -> Map<&str, u32> {
    let listeners = config.listeners.iter();
    let fronts = listeners.map(|one| (one.name.as_str(), one.origins.section()));
    let backends = config.backends.iter();
    let backs = backends.map(|one| (one.name.as_str(), one.origins.section()));
    let (mut places, mut file) = (Map::default(), None);
    for (name, origin) in fronts.chain(backs) {
        if *file.get_or_insert(&origin.file) != &origin.file {
            return Map::default();
        }
        places.entry(name).or_insert(origin.line);
    }
    places
}

/// All rows as they are now.
pub(crate) fn rows(state: &State) -> Vec<Row> {
    let plan = state.plan();
    let mut rows = Vec::new();
    for proxy in proxies(&plan, &state.config()) {
        if let Some(listener) = proxy.listener {
            let key = samples::frontend_key(listener);
            rows.push((key, frontend(state, listener, proxy.number)));
        }
        let Some(backend) = proxy.backend else {
            continue;
        };
        let mut sum = Row::new(Object::Backend, proxy.number, 0);
        for (server, at) in backend.servers.iter().zip(1..) {
            let row = of_server(state, backend, server, (proxy.number, at));
            for field in ADDED {
                sum.number(*field, sum.count(*field) + row.count(*field));
            }
            rows.push((samples::server_key(server), row));
        }
        fill_backend(state, backend, &mut sum);
        rows.push((samples::backend_key(backend), sum));
    }
    let samples = state.runtime.samples();
    let begin = |(key, mut row): (Key, Row)| {
        if let Some(cleared) = samples.cleared(key) {
            row.begin_at(cleared);
        }
        row
    };
    rows.into_iter().map(begin).collect()
}

/// What the counters stand at, as `clear counters all` remembers it.
pub(super) fn counters(state: &State) -> Map<Key, Vec<u64>> {
    state.runtime.samples().clear(Map::default());
    let name = |row: &Row, field| Name::new(row.word(field));
    let plan = state.plan();
    let key = |row: &Row| -> Option<Key> {
        let proxy = name(row, Field::Pxname);
        Some(match row.object {
            Object::Frontend | Object::Backend => (row.object, proxy, Name::NONE),
            Object::Server => {
                let backend = plan.backends.iter().find(|b| b.name == proxy)?;
                let at = usize::try_from(row.server).ok()?.checked_sub(1)?;
                samples::server_key(backend.servers.get(at)?)
            }
        })
    };
    let rows = rows(state);
    rows.iter()
        .filter_map(|row| Some((key(row)?, row.counters())))
        .collect()
}

/// What a backend's row adds up from its servers.
const ADDED: &[Field] = &[
    Field::Scur,
    Field::Bin,
    Field::Bout,
    Field::Econ,
    Field::Eresp,
    Field::Lbtot,
    Field::SrvAbrt,
    Field::Connect,
    Field::Reuse,
];

/// Columns that HAProxy always fills and in which nothing is counted here.
const NEVER_COMPRESSED: &[Field] = &[
    Field::CompIn,
    Field::CompOut,
    Field::CompByp,
    Field::CompRsp,
    Field::CacheLookups,
    Field::CacheHits,
];
const NEVER_HIGHEST: &[Field] = &[
    Field::QtimeMax,
    Field::CtimeMax,
    Field::RtimeMax,
    Field::TtimeMax,
];

fn noughts(row: &mut Row, fields: &[Field]) {
    for field in fields {
        row.number(*field, 0);
    }
}

fn mode(row: &mut Row, is_http: bool) {
    row.text(Field::Mode, if is_http { "http" } else { "tcp" });
}

/// How to get at a part of a shard.
type Of<S, T> = fn(&S) -> &T;

/// What stands in every row.
fn begin(row: &mut Row, proxy: Name, name: &str) {
    row.text(Field::Pxname, proxy.as_str());
    row.text(Field::Svname, name);
    row.number(Field::Pid, 1);
    row.number(Field::Iid, u64::from(row.proxy));
    row.number(Field::Sid, u64::from(row.server));
    row.number(
        Field::Type,
        match row.object {
            Object::Frontend => 0,
            Object::Backend => 1,
            Object::Server => 2,
        },
    );
}

fn responses(row: &mut Row, classes: [u64; 5]) {
    let fields = [
        Field::HrspOther,
        Field::Hrsp2xx,
        Field::Hrsp3xx,
        Field::Hrsp4xx,
        Field::Hrsp5xx,
    ];
    row.number(Field::Hrsp1xx, 0);
    for (field, count) in fields.into_iter().zip(classes) {
        row.number(field, count);
    }
}

fn frontend(state: &State, listener: &ListenerPlan, number: u32) -> Row {
    let mut row = Row::new(Object::Frontend, number, 0);
    let sample = state.runtime.samples().of(samples::frontend_key(listener));
    begin(&mut row, listener.name, "FRONTEND");
    let shards = || listener.entry.shards.iter();
    let total =
        |of: Of<ListenerShard, Count>| -> u64 { shards().map(|shard| of(shard).value()).sum() };
    let faults = |counts: fn(FaultKind) -> bool| of_faults(shards().map(|s| &s.faults), counts);
    let now = u64::from(listener.entry.open.load(Ordering::Relaxed));
    row.number(Field::Scur, now);
    row.number(Field::Smax, sample.now_max.max(now));
    if listener.limits.connections > 0 {
        row.number(Field::Slim, listener.limits.connections as u64);
    }
    let accepted = total(|s| &s.accepted);
    for field in [Field::Stot, Field::ConnTot] {
        row.number(field, accepted);
    }
    row.number(Field::Bin, total(|s| &s.bytes_in));
    row.number(Field::Bout, total(|s| &s.bytes_out));
    row.number(Field::Dreq, faults(|kind| kind == FaultKind::Denied));
    row.number(Field::Dresp, 0);
    row.number(Field::Ereq, faults(is_bad_request));
    row.text(Field::Status, state.runtime.frontend_word(listener.name));
    noughts(&mut row, &[Field::RateLim, Field::Intercepted, Field::Dses]);
    noughts(&mut row, NEVER_COMPRESSED);
    let full = |kind| matches!(kind, FaultKind::ListenerFull | FaultKind::SourceFull);
    row.number(Field::Dcon, faults(full));
    row.number(Field::Rate, sample.connection_rate);
    row.number(Field::RateMax, sample.connection_rate_max);
    row.number(Field::ConnRate, sample.connection_rate);
    row.number(Field::ConnRateMax, sample.connection_rate_max);
    row.number(
        Field::Wrew,
        faults(|kind| kind == FaultKind::RewriteInvalid),
    );
    row.number(Field::Eint, faults(|kind| kind == FaultKind::InternalPanic));
    let is_http = listener.mode == Mode::Http;
    mode(&mut row, is_http);
    if is_http {
        let classes: [u64; 5] =
            std::array::from_fn(|at| shards().map(|s| s.responses[at].value()).sum());
        responses(&mut row, classes);
        row.number(Field::ReqRate, sample.rate);
        row.number(Field::ReqRateMax, sample.rate_max);
        row.number(Field::ReqTot, classes.iter().sum());
    }
    let handshakes: [u64; 4] =
        std::array::from_fn(|at| shards().map(|s| s.handshakes[at].value()).sum());
    row.number(Field::SslSess, handshakes[0] + handshakes[2]);
    row.number(Field::SslReusedSess, handshakes[1] + handshakes[3]);
    row.number(
        Field::SslFailedHandshake,
        faults(|kind| kind.code().starts_with("tls_")),
    );
    row
}

/// Whether a request was one that HTTP does not allow, or never became one.
fn is_bad_request(kind: FaultKind) -> bool {
    kind.party() == Party::Client && kind.haproxy()[1] == b'R'
}

fn of_server(
    state: &State,
    backend: &BackendPlan,
    server: &ServerPlan,
    (proxy, number): (u32, u32),
) -> Row {
    let mut row = Row::new(Object::Server, proxy, number);
    let sample = state.runtime.samples().of(samples::server_key(server));
    begin(&mut row, backend.name, server.name.as_str());
    let entry = &server.entry;
    let total = |of: Of<ServerShard, Count>| -> u64 {
        entry.shards.iter().map(|shard| of(shard).value()).sum()
    };
    let faults = |counts: fn(FaultKind) -> bool| entry.faults(counts);
    let now = u64::from(entry.inflight());
    row.number(Field::Qcur, 0);
    row.number(Field::Qmax, 0);
    row.number(Field::Scur, now);
    row.number(Field::Smax, sample.now_max.max(now));
    if server.maxconn > 0 {
        row.number(Field::Slim, u64::from(server.maxconn));
    }
    for field in [Field::Stot, Field::Lbtot] {
        row.number(field, entry.attempts());
    }
    row.number(Field::Bin, total(|s| &s.bytes_out));
    row.number(Field::Bout, total(|s| &s.bytes_in));
    row.number(Field::Econ, faults(|kind| kind.haproxy()[1] == b'C'));
    row.number(Field::Eresp, faults(|kind| kind.haproxy()[1] == b'H'));
    row.number(Field::SrvAbrt, faults(|kind| kind.haproxy()[1] == b'D'));
    noughts(
        &mut row,
        &[
            Field::Dresp,
            Field::Wretr,
            Field::Wredis,
            Field::CliAbrt,
            Field::Wrew,
            Field::Eint,
            Field::Qtime,
            Field::Ctime,
            Field::Rtime,
            Field::Ttime,
            Field::SafeConnCur,
        ],
    );
    noughts(&mut row, NEVER_HIGHEST);
    row.number(Field::NeedConnEst, now);
    row.number(Field::Weight, u64::from(entry.cell.weight().div_ceil(100)));
    row.number(Field::Uweight, u64::from(server.weight / 100));
    row.number(Field::Act, u64::from(server.tier == 0));
    row.number(Field::Bck, u64::from(server.tier > 0));
    row.number(Field::Rate, sample.rate);
    row.number(Field::RateMax, sample.rate_max);
    row.put(Field::Lastsess, last_session(&sample));
    row.text(Field::Addr, server.target.to_string());
    if let Some(cookie) = &server.cookie {
        row.text(Field::Cookie, cookie.as_str());
    }
    row.number(Field::Connect, total(|s| &s.connects));
    row.number(Field::Reuse, total(|s| &s.reuses));
    let idle: u64 = entry.shards.iter().map(|s| u64::from(s.idle.value())).sum();
    row.number(Field::SrvIcur, idle);
    row.number(Field::IdleConnCur, idle);
    row.number(Field::UsedConnCur, now);
    let is_http = is_http(state, backend);
    mode(&mut row, is_http);
    if is_http {
        let class = |at: usize| entry.shards.iter().map(|s| s.responses[at].value()).sum();
        let classes: [u64; 5] = std::array::from_fn(class);
        responses(&mut row, classes);
        row.number(Field::ReqTot, classes.iter().sum());
    }
    let stories = state.stories();
    let story = stories.get((backend.name, server.address));
    checks(&mut row, backend, server, story);
    let changed = story.and_then(|story| story.transitions.back());
    let changed = changed.map(|t| i64::try_from(t.at / 1_000_000).unwrap_or(0));
    row.number(Field::Lastchg, since(state, changed));
    if is_checked(backend, server) {
        row.number(Field::Downtime, sample.down_seconds);
    }
    row
}

/// Whether a server is checked.
pub(super) fn is_checked(backend: &BackendPlan, server: &ServerPlan) -> bool {
    server.checked && backend.check.is_some()
}

/// Whether requests come to a backend, as opposed to mere connections.
pub(super) fn is_http(state: &State, backend: &BackendPlan) -> bool {
    let config = state.config();
    let name = backend.name.as_str();
    let leads = |l: &&clearway_config::model::Listener| {
        config
            .default_backend(l)
            .is_some_and(|b| b.name.as_str() == name)
            || l.passthrough
                .iter()
                .any(|way| way.backend.as_ref().is_some_and(|b| b.as_str() == name))
    };
    !config
        .listeners
        .iter()
        .filter(|l| !l.is_http())
        .any(|l| leads(&l))
}

/// The state of a server in HAProxy's words, and what is known from its checks.
fn checks(row: &mut Row, backend: &BackendPlan, server: &ServerPlan, story: Option<&Story>) {
    let flags = server.entry.cell.flags();
    let checked = is_checked(backend, server);
    let probe = story.and_then(|story| story.last_probe.as_ref());
    let against = probe.map_or(0, |probe| probe.against);
    let policy = backend
        .check
        .as_ref()
        .filter(|_| checked)
        .map(|check| check.policy);
    let (rise, fall) = policy.map_or((1, 1), |policy| (policy.rise.max(1), policy.fall.max(1)));
    let status = if flags & MAINTENANCE != 0 {
        "MAINT".to_owned()
    } else if flags & DOWN != 0 {
        match against {
            0 => "DOWN".to_owned(),
            passed => format!("DOWN {passed}/{rise}"),
        }
    } else if flags & EJECTED != 0 {
        "DOWN".to_owned()
    } else if flags & DRAIN != 0 {
        "DRAIN".to_owned()
    } else if flags & STOPPING != 0 {
        match against {
            0 => "NOLB".to_owned(),
            failed => format!("NOLB {}/{fall}", fall.saturating_sub(failed)),
        }
    } else if !checked {
        "no check".to_owned()
    } else {
        match against {
            0 => "UP".to_owned(),
            failed => format!("UP {}/{fall}", fall.saturating_sub(failed)),
        }
    };
    row.text(Field::Status, status);
    let Some(check) = backend.check.as_ref().filter(|_| checked) else {
        return;
    };
    let is_down = flags & DOWN != 0;
    let health = match is_down {
        true => against,
        false => (rise + fall - 1).saturating_sub(against),
    };
    row.number(Field::CheckRise, u64::from(rise));
    row.number(Field::CheckFall, u64::from(fall));
    row.number(Field::CheckHealth, u64::from(health));
    row.number(Field::Chkfail, story.map_or(0, |story| story.failed_checks));
    row.number(Field::Chkdown, story.map_or(0, |story| story.downs));
    if flags & MAINTENANCE != 0 {
        return;
    }
    let Some(probe) = probe else {
        row.text(Field::CheckStatus, "INI");
        row.text(Field::CheckDesc, "Initializing");
        return;
    };
    let is_http = !matches!(check.probe.kind, Kind::Tcp(_));
    let (code, words) = check_code(probe, depth(check, server));
    row.text(Field::CheckStatus, code);
    row.text(Field::CheckDesc, words);
    if is_http && probe.status > 0 {
        row.number(Field::CheckCode, u64::from(probe.status));
    }
    row.number(Field::CheckDuration, probe.took_us / 1_000);
    if !probe.passed {
        row.text(Field::LastChk, probe.words.as_str());
    }
}

/// How far up a server's check looks.
pub(super) fn depth(check: &CheckPlan, server: &ServerPlan) -> Depth {
    let is_secured = check.tls && server.tls.is_some();
    match &check.probe.kind {
        Kind::Tcp(_) if is_secured => Depth::Tls,
        Kind::Tcp(_) => Depth::Connection,
        Kind::Script(script) => script.depth(is_secured),
        Kind::Http(_) | Kind::Grpc(_) | Kind::Agent(_) => Depth::Application,
    }
}

/// What came of a check: the code that tools know, and its name.
pub(super) fn check_code(probe: &LastProbe, depth: Depth) -> (&'static str, &'static str) {
    if probe.passed && probe.fault.is_some() {
        return ("L7OKC", "Layer7 check conditionally passed");
    }
    let Some(fault) = probe.fault else {
        return match depth {
            Depth::Application => ("L7OK", "Layer7 check passed"),
            Depth::Tls => ("L6OK", "Layer6 check passed"),
            Depth::Connection => ("L4OK", "Layer4 check passed"),
        };
    };
    let code = fault.code();
    let is_late = code.ends_with("timeout");
    let tls = [
        "server_tls",
        "server_certificate",
        "server_wants",
        "server_speaks",
    ];
    if tls.iter().any(|begin| code.starts_with(begin)) {
        return match is_late {
            true => ("L6TOUT", "Layer6 timeout"),
            false => ("L6RSP", "Layer6 invalid response"),
        };
    }
    match (fault.haproxy()[1] == b'C', is_late) {
        (true, true) => ("L4TOUT", "Layer4 timeout"),
        (true, false) => ("L4CON", "Layer4 connection problem"),
        (false, true) => ("L7TOUT", "Layer7 timeout"),
        (false, false) if probe.status > 0 || fault == FaultKind::ProbeStatus => {
            ("L7STS", "Layer7 wrong status")
        }
        (false, false) => ("L7RSP", "Layer7 invalid response"),
    }
}

fn fill_backend(state: &State, backend: &BackendPlan, row: &mut Row) {
    let sample = state.runtime.samples().of(samples::backend_key(backend));
    begin(row, backend.name, "BACKEND");
    let shards = || backend.entry.shards.iter();
    let faults = |counts: fn(FaultKind) -> bool| of_faults(shards().map(|s| &s.faults), counts);
    let waiting: u64 = shards().map(|s| u64::from(s.queued.value())).sum();
    let now = row.count(Field::Scur);
    row.number(Field::Qcur, waiting);
    row.number(Field::Qmax, sample.waiting_max.max(waiting));
    row.number(Field::Scur, now);
    row.number(Field::Smax, sample.now_max.max(now));
    for field in ADDED {
        row.number(*field, row.count(*field));
    }
    let classes: [u64; 5] =
        std::array::from_fn(|at| shards().map(|s| s.responses[at].value()).sum());
    let requests: u64 = classes.iter().sum();
    row.number(
        Field::Stot,
        requests.max(if is_http(state, backend) {
            0
        } else {
            row.count(Field::Lbtot)
        }),
    );
    row.number(
        Field::Econ,
        row.count(Field::Econ) + faults(|kind| kind.haproxy()[1] == b'C'),
    );
    row.number(Field::Dreq, faults(|kind| kind == FaultKind::Denied));
    row.number(Field::CliAbrt, faults(FaultKind::is_client_abort));
    row.number(Field::Wretr, shards().map(|s| s.retries.value()).sum());
    noughts(
        row,
        &[Field::Dresp, Field::Wredis, Field::Wrew, Field::Eint],
    );
    noughts(row, NEVER_COMPRESSED);
    noughts(row, NEVER_HIGHEST);
    members(backend, row);
    row.number(Field::Chkdown, sample.downs);
    row.number(Field::Downtime, sample.down_seconds);
    let changed = Some(sample.changed_at).filter(|at| *at > 0);
    row.number(Field::Lastchg, since(state, changed));
    row.number(Field::Rate, sample.rate);
    row.number(Field::RateMax, sample.rate_max);
    row.put(Field::Lastsess, last_session(&sample));
    if let Some(sticky) = &backend.sticky {
        row.text(Field::Cookie, sticky.name());
    }
    row.text(Field::Algo, algorithm(backend));
    let http = is_http(state, backend);
    mode(row, http);
    if http {
        responses(row, classes);
        row.number(Field::ReqTot, requests);
    }
    let times: [(Field, Of<BackendShard, LazyHistogram>); 4] = [
        (Field::Qtime, |s| &s.queue),
        (Field::Ctime, |s| &s.connect),
        (Field::Rtime, |s| &s.first_byte),
        (Field::Ttime, |s| &s.total),
    ];
    for (field, of) in times {
        let mut counts = Counts::default();
        for histogram in shards().filter_map(|s| of(s).get()) {
            histogram.add_to(&mut counts);
        }
        let mean = counts.sum_us.checked_div(counts.count()).unwrap_or(0);
        row.number(field, mean / 1_000);
    }
}

/// How many servers of a backend are of use, and what follows for it.
fn members(backend: &BackendPlan, row: &mut Row) {
    let usable = |is_backup: bool| {
        let servers = backend.servers.iter();
        servers.filter(move |s| s.entry.cell.is_usable() && (s.tier > 0) == is_backup)
    };
    let (active, backups) = (usable(false).count() as u64, usable(true).count() as u64);
    row.number(Field::Act, active);
    row.number(Field::Bck, backups);
    let weights = usable(active == 0).map(|s| u64::from(s.entry.cell.weight().div_ceil(100)));
    let weight: u64 = weights.sum();
    row.number(Field::Weight, weight);
    row.number(Field::Uweight, weight);
    let is_up = active + backups > 0 || backend.servers.is_empty();
    row.text(Field::Status, if is_up { "UP" } else { "DOWN" });
    for field in [
        Field::AggServerStatus,
        Field::AggServerCheckStatus,
        Field::AggCheckStatus,
    ] {
        row.number(field, 0);
    }
}

/// The name of an algorithm in HAProxy's words, where it has it.
fn algorithm(backend: &BackendPlan) -> &'static str {
    match backend.algorithm.name() {
        "round_robin" | "round_robin_ordered" | "smooth_round_robin" => "roundrobin",
        "static_round_robin" => "static-rr",
        "least_requests" | "least_requests_in_turn" | "smooth_least_requests" => "leastconn",
        "consistent_hash" | "maglev" | "hash_table" | "hash_ring" | "crc_table"
        | "network_table" => "hash",
        other => other,
    }
}

/// Seconds since a moment, or since the start.
fn since(state: &State, moment: Option<i64>) -> u64 {
    match moment {
        Some(at) => u64::try_from(clock::wall_seconds() - at).unwrap_or(0),
        None => clock::now().since(state.started).as_secs(),
    }
}

fn last_session(sample: &Sample) -> Value {
    match sample.busy_at {
        0 => Value::Signed(-1),
        at => Value::Signed((clock::wall_seconds() - at).max(0)),
    }
}

fn of_faults<'a>(
    shards: impl Iterator<Item = &'a FaultCounts>,
    counts: fn(FaultKind) -> bool,
) -> u64 {
    let kinds = || FaultKind::ALL.iter().filter(|kind| counts(**kind));
    let shards = shards.filter(|shard| shard.any());
    shards
        .map(|shard| kinds().map(|kind| shard.value(*kind)).sum::<u64>())
        .sum()
}
