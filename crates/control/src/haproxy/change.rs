//! Commands that change something: `set`, `get weight`, `enable`, `disable`, `clear`, `shutdown`.
//!
//! States of servers are set as the admin API sets them. Weights, addresses and limits are changed in the
//! configuration in force, from which a new Plan is made; a reload puts the file in force again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use clearway_balance::Algorithm;
use clearway_config::model::{Backend, Config, LimitOverrides, Server, ServerAddress, ServerState};
use clearway_proxy::board::MAINTENANCE;
use clearway_proxy::plan::{BackendPlan, Plan, ServerPlan};
use tokio::sync::oneshot;

use super::rows;
use crate::state::{Ask, ServerAction, State};

const NO_BACKEND: &str = "No such backend.\n";
const NO_SERVER: &str = "No such server.\n";
const NO_FRONTEND: &str = "No such frontend.\n";
const USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | check-addr | check-port | fqdn | health | ssl | state | weight\n";
/// Largest weight that may be set.
const WEIGHT_MAX: u32 = 256;

/// Does what a command says; none when it is none of these.
pub(super) async fn run(state: &State, words: &[&str]) -> Option<String> {
    Some(match words {
        ["clear", "counters"] => {
            state.runtime.samples().forget_highest();
            String::new()
        }
        ["clear", "counters", "all", ..] => {
            let counters = rows::counters(state);
            state.runtime.samples().clear(counters);
            String::new()
        }
        ["clear", "counters", ..] => "'clear counters' only supports 'all'\n".to_owned(),
        ["disable", "server", rest @ ..] => set_state(state, rest.first(), "maint").await,
        ["enable", "server", rest @ ..] => set_state(state, rest.first(), "ready").await,
        ["set", "server", server, rest @ ..] => set_server(state, server, rest).await,
        ["set", "server"] => USAGE.to_owned(),
        ["add", "server", rest @ ..] => add_server(state, rest).await,
        ["del", "server", rest @ ..] => delete_server(state, rest.first()).await,
        ["get", "weight", rest @ ..] => weight(state, rest.first()),
        ["set", "weight", server, rest @ ..] => set_weight(state, server, rest.first()).await,
        ["set", "weight"] => "Require 'backend/server'.\n".to_owned(),
        ["set", "maxconn", "server", server, rest @ ..] => {
            set_server_limit(state, server, rest.first()).await
        }
        ["set", "maxconn", "frontend", name, rest @ ..] => {
            set_frontend_limit(state, name, rest.first()).await
        }
        ["set", "maxconn", "server"] => "Require 'backend/server'.\n".to_owned(),
        ["set", "maxconn", "frontend"] => "A frontend name is expected.\n".to_owned(),
        ["disable", "frontend", name, ..] => pause(state, name, true).await,
        ["shutdown", "frontend", name, ..] => pause(state, name, false).await,
        ["enable", "frontend", name, ..] => go_on(state, name).await,
        ["disable" | "enable" | "shutdown", "frontend"] => {
            "A frontend name is expected.\n".to_owned()
        }
        _ => return None,
    })
}

/// The names in `BACKEND/SERVER`; a server may be named by its address, a backend by its number.
fn names<'a>(state: &State, text: Option<&&'a str>) -> Result<(String, &'a str), String> {
    let parts = text.and_then(|text| text.split_once('/'));
    let Some((backend, server)) = parts.filter(|(b, s)| !b.is_empty() && !s.is_empty()) else {
        return Err("Require 'backend/server'.\n".to_owned());
    };
    let plan = state.plan();
    let Some(group) = group(&plan, &state.config(), backend) else {
        return Err(NO_BACKEND.to_owned());
    };
    let mut servers = group.servers.iter();
    if !servers.any(|s| s.name.as_str() == server || s.address.as_str() == server) {
        return Err(NO_SERVER.to_owned());
    }
    Ok((group.name.to_string(), server))
}

/// A backend by its name, or by `#` and its number.
fn group<'a>(plan: &'a Plan, config: &Config, backend: &str) -> Option<&'a BackendPlan> {
    let proxies = rows::proxies(plan, config);
    let is_it = |proxy: &&rows::Proxy<'_>| {
        let number = backend
            .strip_prefix('#')
            .and_then(|number| number.parse().ok());
        proxy.name.as_str() == backend || number == Some(proxy.number)
    };
    let found = proxies.iter().filter(|p| p.backend.is_some()).find(is_it);
    found.and_then(|proxy| proxy.backend)
}

/// A server by the names of its backend and its own, with the backend's name.
pub(super) fn find(
    state: &State,
    backend: &str,
    server: &str,
) -> Option<(String, Arc<ServerPlan>)> {
    let plan = state.plan();
    let group = group(&plan, &state.config(), backend)?;
    let mut servers = group.servers.iter();
    let found = servers.find(|s| s.name.as_str() == server || s.address.as_str() == server)?;
    Some((group.name.to_string(), Arc::clone(found)))
}

/// Sets the operator's word on a server.
///
/// # Errors
/// Why that was not done, in words.
pub(super) async fn set(
    state: &State,
    backend: String,
    server: &str,
    action: ServerAction,
) -> Result<String, String> {
    let server = server.to_owned();
    ask(state, |answer| Ask::Server {
        backend,
        server,
        action,
        answer,
    })
    .await
}

/// Hands something to the supervisor.
async fn ask(
    state: &State,
    ask: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Ask,
) -> Result<String, String> {
    let (answer, result) = oneshot::channel();
    let ended = || Err("The process is ending.".to_owned());
    if state.asks.send(ask(answer)).await.is_err() {
        return ended();
    }
    result.await.unwrap_or_else(|_| ended())
}

/// Changes the configuration in force; what to say about it.
async fn alter(
    state: &State,
    change: impl FnOnce(&mut Config) -> Result<String, String> + Send + 'static,
) -> String {
    let change = Box::new(change);
    match ask(state, |answer| Ask::Alter { change, answer }).await {
        Ok(words) => words,
        Err(words) if words.ends_with('\n') => words,
        Err(words) => format!("{words}\n"),
    }
}

async fn set_state(state: &State, server: Option<&&str>, word: &str) -> String {
    let (backend, server) = match names(state, server) {
        Ok(names) => names,
        Err(words) => return words,
    };
    let action = match word {
        "ready" => ServerAction::Ready,
        "drain" => ServerAction::Drain,
        "maint" => ServerAction::Maintenance,
        _ => {
            return "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n".to_owned();
        }
    };
    match set(state, backend, server, action).await {
        Ok(_) => String::new(),
        Err(words) => format!("{words}\n"),
    }
}

async fn set_server(state: &State, server: &str, words: &[&str]) -> String {
    if let Err(words) = names(state, Some(&server)) {
        return words;
    }
    match words {
        ["state", word, ..] => set_state(state, Some(&server), word).await,
        ["state"] => set_state(state, Some(&server), "").await,
        ["weight", rest @ ..] => set_weight(state, server, rest.first()).await,
        ["addr", address, "port", port, ..] => set_address(state, server, address, Some(port)).await,
        ["addr", address, ..] => set_address(state, server, address, None).await,
        ["addr"] => "set server <b>/<s> addr requires an address and optionally a port.\n".to_owned(),
        ["health", "up" | "stopping" | "down", ..] => {
            "Health follows from checks alone; use 'set server <srv> state' to take it out or back.\n"
                .to_owned()
        }
        ["health", ..] => "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n".to_owned(),
        ["agent" | "agent-addr" | "agent-port" | "agent-send", ..] => {
            "agent checks are not enabled on this server.\n".to_owned()
        }
        ["check-port" | "check-addr", ..] => {
            "Where checks go is a setting of the configuration, which can be reloaded.\n".to_owned()
        }
        ["fqdn", ..] => {
            "set server <b>/<s> fqdn failed because no resolution is configured.\n".to_owned()
        }
        ["ssl", ..] => "TLS is a setting of the configuration, which can be reloaded.\n".to_owned(),
        _ => USAGE.to_owned(),
    }
}

/// The weight of a server in the configuration in force, and what it was in the file.
fn weights(state: &State, backend: &str, server: &str) -> Option<(u32, u32)> {
    let config = state.config();
    let found = config
        .backend(backend)?
        .servers
        .iter()
        .find(|s| is_named(s, server));
    // Of those behind one name, none has a weight of its own that could be changed.
    let now = found?.weight;
    let altered = state.runtime.altered();
    let first = altered
        .weights
        .get(&(backend.to_owned(), server.to_owned()));
    Some((now, first.copied().unwrap_or(now)))
}

fn is_named(server: &Server, name: &str) -> bool {
    server.label() == name || server.address.to_string() == name
}

fn weight(state: &State, server: Option<&&str>) -> String {
    let (backend, server) = match names(state, server) {
        Ok(names) => names,
        Err(words) => return words,
    };
    match weights(state, &backend, server) {
        Some((now, first)) => format!("{now} (initial {first})\n"),
        None => NO_SERVER.to_owned(),
    }
}

async fn set_weight(state: &State, server: &str, text: Option<&&str>) -> String {
    let (backend, name) = match names(state, Some(&server)) {
        Ok(names) => names,
        Err(words) => return words,
    };
    let Some(text) = text else {
        return "Require <weight> or <weight%>.\n".to_owned();
    };
    let Some((_, first)) = weights(state, &backend, name) else {
        return "This server has its weight from a name that stands for several.\n".to_owned();
    };
    let wanted = match text.strip_suffix('%') {
        Some(percent) => match percent.parse::<u32>() {
            Ok(percent) => first.saturating_mul(percent.min(25_600)) / 100,
            Err(_) => return "Trailing garbage in weight string.\n".to_owned(),
        },
        None => match text.parse::<u32>() {
            Ok(weight) => weight,
            Err(_) => return "Trailing garbage in weight string.\n".to_owned(),
        },
    };
    if wanted > WEIGHT_MAX {
        return "Absolute weight can only be between 0 and 256 inclusive.\n".to_owned();
    }
    let key = (backend, name.to_owned());
    state
        .runtime
        .altered()
        .weights
        .entry(key.clone())
        .or_insert(first);
    alter(state, move |config| {
        server_of(config, &key.0, &key.1)?.weight = wanted;
        Ok(String::new())
    })
    .await
}

/// `add server BACKEND/NAME ADDRESS …`: it begins in maintenance.
async fn add_server(state: &State, words: &[&str]) -> String {
    let named = words.first().and_then(|word| word.split_once('/'));
    let Some((backend, name)) = named.filter(|(b, s)| !b.is_empty() && !s.is_empty()) else {
        return "Require 'backend/server'.\n".to_owned();
    };
    let config = state.config();
    let Some(group) = config.backend(backend) else {
        return NO_BACKEND.to_owned();
    };
    if words.len() < 2 {
        return "'server' expects <name> and <addr>[:<port>] as arguments.\n".to_owned();
    }
    let lists = [
        Algorithm::StaticRoundRobin,
        Algorithm::HashTable,
        Algorithm::Maglev,
    ];
    if lists.contains(&group.balance) {
        return "Backend must use a dynamic load balancing to support dynamic servers.\n"
            .to_owned();
    }
    if group.servers.iter().any(|server| is_named(server, name)) {
        return "Already exists a server with the same name in backend.\n".to_owned();
    }
    let is_tcp = config
        .listeners
        .iter()
        .any(|l| !l.is_http() && l.backend.as_ref().is_some_and(|b| b.as_str() == backend));
    let mut all = vec![name];
    all.extend(words.iter().skip(1));
    let has_h2 = words.windows(2).any(|pair| pair == ["proto", "h2"]);
    if has_h2 && is_tcp {
        return "MUX protocol is not usable for server.\n".to_owned();
    }
    let (mut server, health) = match clearway_config::foreign::haproxy_server(&all, !is_tcp) {
        Ok(found) => found,
        Err(words) => return format!("{words}\n"),
    };
    server.state = ServerState::Maintenance;
    server.checked = health.is_some();
    let backend = backend.to_owned();
    alter(state, move |config| {
        let group = backend_of(config, &backend)?;
        // Nobody else is checked because of the newcomer.
        if group.health.is_none() {
            for other in &mut group.servers {
                other.checked = false;
            }
        }
        let is_first = !group.servers.iter().any(|other| other.checked);
        match (&mut group.health, health) {
            (Some(own), Some(asked)) if is_first => {
                (own.interval, own.fast_interval) = (asked.interval, asked.fast_interval);
                (own.rise, own.fall, own.timeout) = (asked.rise, asked.fall, asked.timeout);
            }
            (own @ None, asked) => *own = asked,
            _ => {}
        }
        group.servers.push(server);
        Ok("New server registered.\n".to_owned())
    })
    .await
}

/// `del server BACKEND/NAME`: only one that is in maintenance, and that nothing refers to.
async fn delete_server(state: &State, server: Option<&&str>) -> String {
    let (backend, name) = match names(state, server) {
        Ok(names) => names,
        Err(words) => return words,
    };
    let plan = state.plan();
    let mut groups = plan.backends.iter();
    let group = groups.find(|group| group.name.as_str() == backend);
    let mut servers = group.iter().flat_map(|group| &group.servers);
    let found = servers.find(|s| s.name.as_str() == name || s.address.as_str() == name);
    let flags = found.map_or(0, |server| server.entry.cell.flags());
    if flags & MAINTENANCE == 0 {
        return "Only servers in maintenance mode can be deleted.\n".to_owned();
    }
    let name = name.to_owned();
    alter(state, move |config| {
        let group = backend_of(config, &backend)?;
        group.servers.retain(|server| !is_named(server, &name));
        Ok("Server deleted.\n".to_owned())
    })
    .await
}

/// A server in a configuration that is being changed.
fn server_of<'a>(
    config: &'a mut Config,
    backend: &str,
    server: &str,
) -> Result<&'a mut Server, String> {
    let backend = backend_of(config, backend)?;
    let found = backend.servers.iter_mut().find(|s| is_named(s, server));
    found.ok_or_else(|| NO_SERVER.to_owned())
}

fn backend_of<'a>(config: &'a mut Config, name: &str) -> Result<&'a mut Backend, String> {
    let found = config.backends.iter_mut().find(|b| b.name.as_str() == name);
    found.ok_or_else(|| NO_BACKEND.to_owned())
}

async fn set_address(state: &State, server: &str, address: &str, port: Option<&str>) -> String {
    let (backend, name) = match names(state, Some(&server)) {
        Ok(names) => names,
        Err(words) => return words,
    };
    let Ok(ip) = address.parse::<IpAddr>() else {
        return format!("Invalid addr format for '{address}' in 'set server <srv> addr' command\n");
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(_)) => return "Invalid value for port.\n".to_owned(),
    };
    let name = name.to_owned();
    alter(state, move |config| {
        let server = server_of(config, &backend, &name)?;
        let old = server.address.to_string();
        let Ok(old) = old.parse::<SocketAddr>() else {
            return Err(format!(
                "{old} is no address and port; change it in the configuration.\n"
            ));
        };
        let new = SocketAddr::new(ip, port.unwrap_or_else(|| old.port()));
        let mut words = match new.ip() == old.ip() {
            true => "no need to change the addr".to_owned(),
            false => format!("IP changed from '{}' to '{}'", old.ip(), new.ip()),
        };
        match port {
            None => {}
            Some(port) if port == old.port() => words.push_str(", no need to change the port"),
            Some(port) => {
                words.push_str(&format!(", port changed from '{}' to '{port}'", old.port()));
            }
        }
        words.push_str(" by 'stats socket command'\n");
        if new == old {
            return Ok(words);
        }
        let new: ServerAddress = address_of(new);
        // The name stays, also of one that had none but its address.
        if server.name.is_none() {
            return Err(
                "This server is named by its address; give it a name in the configuration.\n"
                    .to_owned(),
            );
        }
        server.address = new.clone();
        let group = backend_of(config, &backend)?;
        if group.servers.iter().filter(|s| s.address == new).count() > 1 {
            return Err(format!(
                "Another server of {backend} is at {new} already.\n"
            ));
        }
        Ok(words)
    })
    .await
}

fn address_of(address: SocketAddr) -> ServerAddress {
    ServerAddress::Ip(address)
}

async fn set_server_limit(state: &State, server: &str, text: Option<&&str>) -> String {
    let (backend, name) = match names(state, Some(&server)) {
        Ok(names) => names,
        Err(words) => return words,
    };
    let Some(limit) = text.and_then(|text| text.parse::<u32>().ok()) else {
        return "maxconn string empty or preceded by garbage\n".to_owned();
    };
    let name = name.to_owned();
    alter(state, move |config| {
        server_of(config, &backend, &name)?.maxconn = Some(limit);
        Ok(String::new())
    })
    .await
}

async fn set_frontend_limit(state: &State, name: &str, text: Option<&&str>) -> String {
    if state.config().listener(name).is_none() {
        return NO_FRONTEND.to_owned();
    }
    let Some(limit) = text.and_then(|text| text.parse::<usize>().ok()) else {
        return "Integer value expected.\n".to_owned();
    };
    let name = name.to_owned();
    alter(state, move |config| {
        let found = config
            .listeners
            .iter_mut()
            .find(|l| l.name.as_str() == name);
        let listener = found.ok_or(NO_FRONTEND)?;
        let limits: &mut LimitOverrides = &mut listener.limits;
        limits.connections = Some(limit);
        Ok(String::new())
    })
    .await
}

/// Has a listener accept nothing more, for a while or for good.
async fn pause(state: &State, name: &str, may_go_on: bool) -> String {
    let config = state.config();
    let Some(listener) = config.listener(name) else {
        return NO_FRONTEND.to_owned();
    };
    {
        let mut altered = state.runtime.altered();
        let known = altered.paused.get(name).cloned();
        match known {
            Some(_) if may_go_on => return "All sockets are already disabled.\n".to_owned(),
            Some((_, false)) => return "Frontend was already shut down.\n".to_owned(),
            Some((binds, true)) => {
                altered.paused.insert(name.to_owned(), (binds, false));
                return String::new();
            }
            None => {}
        }
        let binds = listener.bind.clone();
        altered.paused.insert(name.to_owned(), (binds, may_go_on));
    }
    let owned = name.to_owned();
    let words = alter(state, move |config| {
        let found = config
            .listeners
            .iter_mut()
            .find(|l| l.name.as_str() == owned);
        found.ok_or(NO_FRONTEND)?.bind.clear();
        Ok(String::new())
    })
    .await;
    if !words.is_empty() {
        state.runtime.altered().paused.remove(name);
    }
    words
}

async fn go_on(state: &State, name: &str) -> String {
    if state.config().listener(name).is_none() {
        return NO_FRONTEND.to_owned();
    }
    let known = state.runtime.altered().paused.get(name).cloned();
    let binds = match known {
        None => return "All sockets are already enabled.\n".to_owned(),
        Some((_, false)) => {
            return "Frontend was previously shut down, cannot enable.\n".to_owned();
        }
        Some((binds, true)) => binds,
    };
    let owned = name.to_owned();
    let words = alter(state, move |config| {
        let found = config
            .listeners
            .iter_mut()
            .find(|l| l.name.as_str() == owned);
        found.ok_or(NO_FRONTEND)?.bind = binds;
        Ok(String::new())
    })
    .await;
    if words.is_empty() {
        state.runtime.altered().paused.remove(name);
    }
    words
}
