//! `show`: everything but the process itself.

use clearway_base::clock;
use clearway_net::connect::Target;
use clearway_proxy::board::{DOWN, DRAIN, EJECTED, MAINTENANCE};
use clearway_proxy::plan::{BackendPlan, ServerPlan};
use clearway_telemetry::receipt;

use super::fields::Field;
use super::rows::{self, Proxy};
use super::samples::Object;
use super::write::{self, Row};
use crate::certificates;
use crate::state::State;

/// How many failed requests are listed.
const FAILURES: usize = 50;

const NO_BACKEND: &str = "Can't find backend.\n";

/// `show cache`: what caches keep, in blocks of 1 KiB.
pub(super) fn caches(state: &State) -> String {
    let plan = state.plan();
    let now = clock::wall() / 1_000_000;
    let mut out = String::new();
    for (cache, settings) in plan.caches.iter().zip(&plan.cache_settings) {
        let (bytes, _) = cache.store.totals();
        let free = settings.size.saturating_sub(bytes) / 1_024;
        let name = cache.name.as_str();
        out.push_str(&format!(
            "0x1: {name} (shctx:0x1, available blocks:{free})\n"
        ));
        let mut number = 0;
        cache.store.each(|key, kept| {
            number += 1;
            let size = kept.size();
            let expire = kept.terms.fresh_until.saturating_sub(now);
            // Any number that is the same for the same key does.
            let hash = key.iter().fold(0_u32, |hash, byte| {
                hash.wrapping_mul(16_777_619) ^ u32::from(*byte)
            });
            let blocks = size.div_ceil(1_024);
            out.push_str(&format!(
                "{number:#x} hash:{hash} vary:0x0 size:{size} ({blocks} blocks), refs:0, expire:{expire}\n"
            ));
        });
    }
    out
}

/// `show stat [PROXY TYPES SERVER] [json|typed|no-maint|up]`.
pub(super) fn statistics(state: &State, words: &[&str]) -> String {
    let mut rows = rows::rows(state);
    if let [proxy, types, server, ..] = words
        && let Ok(types) = types.parse::<i64>()
    {
        let (number, server) = (proxy.parse::<i64>(), server.parse::<i64>().unwrap_or(-1));
        rows.retain(|row| {
            let fits = match number {
                Ok(-1) => true,
                Ok(number) => i64::from(row.proxy) == number,
                Err(_) => row.word(Field::Pxname) == *proxy,
            };
            fits && types & mask(row) != 0 && (server < 0 || i64::from(row.server) == server)
        });
    }
    let status_begins = |row: &Row, word: &str| row.word(Field::Status).starts_with(word);
    if words.contains(&"no-maint") {
        rows.retain(|row| row.object != Object::Server || !status_begins(row, "MAINT"));
    }
    if words.contains(&"up") {
        let is_down = |row: &Row| {
            ["DOWN", "MAINT", "NOLB"]
                .iter()
                .any(|w| status_begins(row, w))
        };
        rows.retain(|row| row.object != Object::Server || !is_down(row));
    }
    if words.contains(&"json") {
        return write::as_json(&rows);
    }
    match words.contains(&"typed") {
        true => write::typed(&rows),
        false => write::csv(&rows),
    }
}

/// The bit by which a kind of row is asked for.
fn mask(row: &Row) -> i64 {
    match row.object {
        Object::Frontend => 1,
        Object::Backend => 2,
        Object::Server => 4,
    }
}

/// Calls something for each server of one backend or all; whether there is such a backend.
fn each(
    state: &State,
    backend: Option<&str>,
    mut with: impl FnMut(&Proxy<'_>, &BackendPlan, &ServerPlan, u32),
) -> bool {
    let plan = state.plan();
    let mut is_known = backend.is_none();
    for proxy in rows::proxies(&plan, &state.config()) {
        let Some(group) = proxy.backend else { continue };
        let number = proxy.number.to_string();
        if backend.is_some_and(|name| name != group.name.as_str() && name != number) {
            continue;
        }
        is_known = true;
        for (server, at) in group.servers.iter().zip(1..) {
            with(&proxy, group, server, at);
        }
    }
    is_known
}

/// Address and port of a server, `-` where it has none.
fn place(server: &ServerPlan) -> (String, String) {
    match &server.target {
        Target::Ip(at) => (at.ip().to_string(), at.port().to_string()),
        Target::Unix(_) => (server.target.to_string(), "0".to_owned()),
    }
}

/// `show servers state`: the form in which HAProxy keeps states over restarts.
pub(super) fn servers_state(state: &State, backend: Option<&str>) -> String {
    let mut out = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state \
        srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result \
        srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn \
        srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
        srv_agent_port\n"
        .to_owned();
    let all = rows::rows(state);
    let row_of = |proxy: u32, at: u32| {
        let fits = |row: &&Row| (row.object, row.proxy, row.server) == (Object::Server, proxy, at);
        all.iter().find(fits)
    };
    let initial = state.runtime.altered().weights.clone();
    let is_known = each(state, backend, |proxy, group, server, at| {
        let flags = server.entry.cell.flags();
        let checked = rows::is_checked(group, server);
        let is_down = flags & (DOWN | EJECTED | MAINTENANCE) != 0;
        // Forced maintenance and drain; that of the configuration counts as such, too.
        let mut admin = u8::from(flags & MAINTENANCE != 0) | u8::from(flags & DRAIN != 0) << 3;
        if flags & MAINTENANCE != 0 && server.state & MAINTENANCE != 0 {
            admin |= 4;
        }
        let row = row_of(proxy.number, at);
        let count = |field| row.map_or(0, |row| row.count(field));
        // A server in maintenance keeps what its last check found.
        let stories = state.stories();
        let last = stories
            .get((group.name, server.address))
            .and_then(|story| story.last_probe.as_ref())
            .filter(|_| checked);
        let code = match (last, &group.check) {
            (Some(probe), Some(check)) => rows::check_code(probe, rows::depth(check, server)).0,
            _ => row.map_or("", |row| row.word(Field::CheckStatus)),
        };
        let health = match (checked, flags & MAINTENANCE != 0) {
            (false, _) => 1,
            (true, true) => 0,
            (true, false) => count(Field::CheckHealth),
        };
        // Configured and enabled, and paused while the server is in maintenance.
        let checking = match (checked, flags & MAINTENANCE != 0) {
            (false, _) => 0,
            (true, false) => 6,
            (true, true) => 14,
        };
        let result = match code {
            "" => 0,
            "INI" => 1,
            code if code.ends_with("OK") => 3,
            _ => 2,
        };
        let weight = server.weight / 100;
        let key = (group.name.to_string(), server.name.to_string());
        let first = initial.get(&key).copied().unwrap_or(weight);
        let (address, port) = place(server);
        out.push_str(&format!(
            "{} {} {at} {} {address} {} {admin} {weight} {first} {} {} {result} {} {} 0 0 0 - {port} - {} 0 - - 0\n",
            proxy.number,
            group.name,
            server.name,
            if is_down { 0 } else { 2 },
            count(Field::Lastchg),
            check_number(code),
            health,
            checking,
            u8::from(server.tls.is_some()),
        ));
    });
    match is_known {
        true => out,
        false => NO_BACKEND.to_owned(),
    }
}

/// The number of a check's outcome in HAProxy's list of them.
fn check_number(code: &str) -> u8 {
    match code {
        "" => 1,
        "INI" => 2,
        "L4OK" => 6,
        "L4TOUT" => 7,
        "L4CON" => 8,
        "L6OK" => 9,
        "L6TOUT" => 10,
        "L6RSP" => 11,
        "L7TOUT" => 12,
        "L7RSP" => 13,
        "L7OK" => 15,
        "L7STS" => 17,
        _ => 0,
    }
}

/// `show servers conn`: connections to servers, by worker.
pub(super) fn servers_connections(state: &State, backend: Option<&str>) -> String {
    let workers = state.shared.workers.len();
    let mut out = format!(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb \
         safe_nb idle_lim idle_cur idle_per_thr[{workers}]\n"
    );
    let is_known = each(state, backend, |proxy, group, server, at| {
        let now = server.entry.inflight();
        let sample = state
            .runtime
            .samples()
            .of(super::samples::server_key(server));
        let idle: Vec<u32> = server.entry.shards.iter().map(|s| s.idle.value()).collect();
        let all: u32 = idle.iter().sum();
        let idle: Vec<String> = idle.iter().map(ToString::to_string).collect();
        let (address, port) = place(server);
        out.push_str(&format!(
            "{}/{} {}/{at} {address} {port} - {} {now} {} {now} 0 {all} {} {all} {}\n",
            group.name,
            server.name,
            proxy.number,
            group.keep.idle_us / 1_000,
            sample.now_max.max(u64::from(now)),
            group.keep.max_idle,
            idle.join(" ")
        ));
    });
    match is_known {
        true => out,
        false => NO_BACKEND.to_owned(),
    }
}

/// `show errors`: the last failed requests, each in a line as `clearway ctl receipts` shows it.
pub(super) fn errors(state: &State, proxy: Option<&str>) -> String {
    let receipts = state.receipts();
    let date = clock::rfc3339(clock::wall());
    let mut out = format!("Total events captured on [{date}] : {}\n", receipts.filed);
    let chosen = receipts.newest(usize::MAX).filter(|record| {
        let record = record.as_record();
        proxy.is_none_or(|name| record.listener.as_str() == name || record.backend.as_str() == name)
    });
    for record in chosen.take(FAILURES) {
        let record = record.as_record();
        out.push_str(&format!(
            "\n{}\n  frontend {}, backend {}, src {}\n",
            receipt::oneline(&record),
            record.listener,
            match record.backend.as_str() {
                "" => "<NONE>",
                name => name,
            },
            record.client
        ));
    }
    out
}

/// `show ssl cert`: the names of certificates, or what is known of one.
pub(super) fn certificates(state: &State, name: Option<&str>) -> String {
    let plan = state.plan();
    let listeners = plan.listeners.iter().filter_map(|l| l.tls.as_ref());
    let mut all: Vec<_> = listeners
        .flat_map(|tls| tls.server.certificates().all())
        .collect();
    all.sort_by(|a, b| certificates::label(a).cmp(certificates::label(b)));
    let Some(name) = name else {
        let mut names: Vec<&str> = all.iter().map(certificates::label).collect();
        names.dedup();
        let names: String = names.iter().map(|name| format!("{name}\n")).collect();
        return match names.is_empty() {
            true => names,
            false => format!("# filename\n{names}"),
        };
    };
    let Some(found) = all.iter().find(|c| certificates::label(c) == name) else {
        return "Can't display the certificate: Not found or the certificate is a bundle!\n"
            .to_owned();
    };
    let facts = found.facts();
    format!(
        "Filename: {name}\nStatus: Used\nSerial: {}\nnotAfter: {}\nSubject Alternative Name: {}\nSubject: {}\n",
        facts.serial,
        certificates::date(facts.not_after),
        found.names().join(", "),
        facts.subject
    )
}

/// `show cli sockets`.
pub(super) fn sockets(state: &State) -> String {
    let config = state.config();
    let line = |socket: &clearway_config::model::RuntimeSocket| {
        format!("{} {} all\n", socket.bind, socket.level.name())
    };
    let lines: String = config.admin.haproxy_sockets.iter().map(line).collect();
    format!("# socket lvl processes\n{lines}")
}

/// `show activity`: what each worker counts of itself.
pub(super) fn activity(state: &State) -> String {
    let workers = &state.shared.workers;
    let line = |name: &str, of: &dyn Fn(usize) -> u64| {
        let numbers: Vec<u64> = (0..workers.len()).map(of).collect();
        let sum: u64 = numbers.iter().sum();
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        format!("{name}: {sum} [ {} ]\n", numbers.join(" "))
    };
    let value = |at: usize, of: &dyn Fn(&clearway_proxy::stats::WorkerShard) -> u64| {
        workers.get(at).map_or(0, of)
    };
    let mut out = format!("thread_id: all (1..{})\n", workers.len());
    out.push_str(&format!("date_now: {}\n", clock::wall_seconds()));
    out.push_str(&line("conn", &|at| {
        value(at, &|w| u64::from(w.connections.value()))
    }));
    out.push_str(&line("panics", &|at| value(at, &|w| w.panics.value())));
    out
}
