//! Connections of mode tcp: what is accepted, and which backend gets it.

use super::super::notes::Notes;
use super::proxy::{Pass, Proxy};
use super::rules::Phase;
use super::tables;
use crate::diagnostic::{Origin, Origins};
use crate::lower::build;
use crate::model::{Condition, Identifier, Passthrough};
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// Values that there are before anything is decrypted or read.
const KNOWN: [&str; 12] = [
    "payload",
    "tracked",
    "table_",
    "client_ip",
    "client_port",
    "port",
    "server_ip",
    "listener",
    "scheme",
    "servers_up",
    "tls_",
    "text:",
];

/// `tcp-request connection|session|content accept|reject` of mode tcp.
pub(super) fn rule(
    line: &Line,
    words: &[&str],
    condition: Condition,
    proxy: &mut Proxy,
    notes: &mut Notes,
) {
    let [stage, action, ..] = words else {
        return notes.refused("such a rule is not known here");
    };
    if tables::is_action(action) {
        let place = (&*proxy, true);
        let action = words.get(1..).unwrap_or_default();
        let rule = match tables::rule(line, Phase::Request, action, condition, place) {
            Ok(rule) => rule,
            Err(message) => return notes.refused(message),
        };
        let keys = rule.actions.track.iter().map(|track| track.key.as_str());
        let unknown = keys.filter(|key| !is_known(key)).map(str::to_owned).next();
        if let Some(key) = unknown {
            return notes.refused(format!("{key} is not known in mode tcp"));
        }
        if let Err(message) = check_values(&rule.when) {
            return notes.refused(message);
        }
        proxy.passes.push(Pass {
            stage: (*stage).to_owned(),
            accepts: false,
            condition: rule.when.clone(),
            counting: Some(Box::new(rule)),
            origin: line.origin(),
        });
        return;
    }
    let accepts = match *action {
        "accept" => true,
        "reject" | "silent-drop" => false,
        "expect-proxy" if *stage == "connection" => return expect_proxy(&condition, proxy, notes),
        other => return notes.refused(format!("the action {other:?} is not known here")),
    };
    if let Err(message) = check_values(&condition) {
        return notes.refused(message);
    }
    proxy.passes.push(Pass {
        stage: (*stage).to_owned(),
        accepts,
        counting: None,
        condition,
        origin: line.origin(),
    });
}

/// `tcp-request connection expect-proxy layer4`: PROXY headers of some clients.
pub(super) fn expect_proxy(condition: &Condition, proxy: &mut Proxy, notes: &mut Notes) {
    let mut bare = condition.clone();
    let mut nets = Vec::new();
    if let [test] = bare.value.as_mut_slice()
        && test.of.as_str() == "client_ip"
    {
        nets = std::mem::take(&mut test.within);
        let only = crate::model::ValueTest {
            of: test.of.clone(),
            origins: test.origins.clone(),
            ..Default::default()
        };
        if *test == only && !nets.is_empty() {
            bare.value.clear();
        }
    }
    let all = bare == Condition::default();
    match nets.is_empty() {
        _ if !all => notes.refused("PROXY headers are expected by the client's address alone"),
        true => proxy.proxy_from = Some(Vec::new()),
        false => proxy.proxy_from.get_or_insert_default().extend(nets),
    }
}

/// Whether a value is there before anything is read or decrypted.
fn is_known(of: &str) -> bool {
    KNOWN.iter().any(|known| of.starts_with(known))
}

/// What a condition looks at has to be there.
fn check_values(condition: &Condition) -> Result<(), String> {
    for test in &condition.value {
        let of = test.of.as_str();
        if !is_known(of) {
            return Err(format!("{of} is not known in mode tcp"));
        }
    }
    let inner = [&condition.not, &condition.any, &condition.all];
    inner.into_iter().flatten().try_for_each(check_values)
}

/// The ways of a frontend: rejections in their order, then `use_backend`.
pub(super) fn ways(proxy: &Proxy, notes: &mut Notes) -> Vec<Passthrough> {
    let mut ways = Vec::new();
    for stage in ["connection", "session", "content"] {
        let mut accepted: Vec<Condition> = Vec::new();
        for pass in proxy.passes.iter().filter(|pass| pass.stage == stage) {
            // What bytes are waited for is said in its order.
            if pass.accepts && stage == "content" && accepted.is_empty() {
                ways.push(Passthrough {
                    accept: true,
                    ..way(pass.condition.clone(), &pass.origin)
                });
                continue;
            }
            if pass.accepts {
                accepted.push(pass.condition.clone());
                continue;
            }
            let unless = accepted.iter().cloned().map(build::not);
            let mut all: Vec<Condition> = unless.collect();
            if pass.condition != Condition::default() || all.is_empty() {
                all.push(pass.condition.clone());
            }
            let mut next = way(build::all_of(all), &pass.origin);
            match &pass.counting {
                Some(rule) => {
                    next.track.clone_from(&rule.actions.track);
                    next.tally.clone_from(&rule.actions.tally);
                }
                None => next.reject = true,
            }
            ways.push(next);
        }
    }
    for switch in &proxy.switches {
        let name = switch.backend.as_ref().map(|name| Identifier::parse(name));
        let backend = match name {
            Some(Ok(name)) => Some(name),
            Some(Err(_)) => continue,
            None => None,
        };
        if let Err(message) = check_values(&switch.condition) {
            let message = format!("{message}: the backend cannot be chosen by it");
            notes.wrong(&switch.origin, message, "");
            continue;
        }
        ways.push(Passthrough {
            backend,
            ..way(switch.condition.clone(), &switch.origin)
        });
    }
    ways
}

fn way(when: Condition, origin: &Origin) -> Passthrough {
    let mut origins = Origins::new(origin.clone());
    origins.set("when", origin.clone());
    origins.set("backend", origin.clone());
    Passthrough {
        when,
        origins,
        ..Passthrough::default()
    }
}
