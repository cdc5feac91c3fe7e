//! Listening sockets: which are open, which a configuration needs besides, which it no longer needs.

use clearway_base::intern::Name;
use clearway_config::model::{Config, Listener};
use clearway_net::listen::{self, Socket};
use clearway_outcome::Bind;

/// A listener's name and the text of one of its binds: what a socket is known by over reloads.
pub(crate) type Key = (Name, Name);

/// A socket per worker for one bind.
pub(crate) struct Opened {
    pub(crate) key: Key,
    pub(crate) sockets: Vec<Socket>,
}

/// Opens the sockets of `config` that are not in `open`, one per worker and bind.
///
/// All or nothing: on an error the new ones are closed again. Who `takes_over` shares addresses with the
/// process that has them.
///
/// # Errors
/// What stands in the way, as a sentence.
pub(crate) fn open_missing(
    config: &Config,
    open: &[Key],
    workers: usize,
    takes_over: bool,
) -> Result<Vec<Opened>, String> {
    let missing = || {
        let listeners = config.listeners.iter();
        let all = listeners
            .flat_map(|listener| keys(listener).map(move |(key, bind)| (listener, key, bind)));
        all.filter(|(_, key, _)| !open.contains(key))
    };
    // All are looked at before the first is opened: one address may stand beside all of them.
    if !takes_over {
        for (listener, key, bind) in missing() {
            // Moving a bind between listeners of this process is no conflict, nor is to listen on all addresses
            // where it was one, or the other way round.
            let ours = open
                .iter()
                .any(|(_, known)| *known == key.1 || has_port_of(known.as_str(), bind));
            if !ours && listen::is_taken(bind) {
                let name = &listener.name;
                return Err(format!(
                    "listener {name}: {bind} is in use by another process"
                ));
            }
        }
    }
    let mut opened = Vec::new();
    for (listener, key, bind) in missing() {
        let options = listen::Options {
            backlog: listener.backlog,
            reuse_port: true,
            defer_accept: listener.defer_accept && listener.is_http(),
        };
        let sockets = listen::open_many(bind, &options, workers)
            .map_err(|error| format!("listener {}: {error}", listener.name))?;
        opened.push(Opened { key, sockets });
    }
    Ok(opened)
}

/// Whether the text of a bind has the port of another one.
fn has_port_of(known: &str, bind: &Bind) -> bool {
    let Bind::Ip { address, .. } = bind else {
        return false;
    };
    let port = known.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| port.parse() == Ok(address.port()))
}

/// Tries whether the addresses of a configuration can be had; those that are in use can.
///
/// # Errors
/// Which cannot, in NGINX's words.
pub fn try_addresses(config: &Config) -> Result<(), String> {
    for bind in config.listeners.iter().flat_map(|l| &l.bind) {
        if let Err(error) = listen::try_bind(bind) {
            let words = error.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            let number = error.raw_os_error().unwrap_or_default();
            return Err(format!("bind() to {bind} failed ({number}: {words})"));
        }
    }
    Ok(())
}

/// The sockets in `open` that `config` does not need.
pub(crate) fn superfluous(config: &Config, open: &[Key]) -> Vec<Key> {
    let needed: Vec<Key> = config
        .listeners
        .iter()
        .flat_map(|l| keys(l).map(|(key, _)| key))
        .collect();
    open.iter()
        .copied()
        .filter(|key| !needed.contains(key))
        .collect()
}

fn keys(listener: &Listener) -> impl Iterator<Item = (Key, &Bind)> {
    let name = Name::new(&listener.name);
    let key = move |bind: &Bind| (name, Name::new(&bind.to_string()));
    listener.bind.iter().map(move |bind| (key(bind), bind))
}
