//! A look at this host: what its kernel says about the way to a server, and about the server's process
//! where that runs here.

use std::io;
use std::net::SocketAddr;

use clearway_base::clock;
use clearway_doctor::evidence::{HostLook, ProcessLook, Where};
use clearway_net::host::{self, Owners};
use clearway_outcome::{HostCounters, Route};

/// Lines of the kernel's log are told when they are at most so old, in seconds.
const LATELY_S: i64 = 300;

/// Looks. What cannot be looked at is said in the answer.
pub fn host(site: &Where, gained: Option<HostCounters>) -> HostLook {
    let mut look = HostLook {
        gained,
        ..HostLook::default()
    };
    look.files = kept(&mut look, "open files", host::files(std::process::id()));
    look.conntrack = kept(&mut look, "the table of connections", host::conntrack()).flatten();
    if let Some(lines) = kept(&mut look, "the kernel's log", host::kernel_log()) {
        let since = clock::wall_seconds() - LATELY_S;
        let lines = lines.into_iter().filter(|line| line.at >= since);
        look.kernel_log = lines.map(|line| line.text).collect();
    }
    let Where::Socket(address) = site else {
        return look;
    };
    way(*address, &mut look);
    if look.is_local {
        listeners(*address, &mut look);
    }
    look
}

fn kept<T>(look: &mut HostLook, what: &str, result: io::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            look.could_not.push(format!("{what}: {error}"));
            None
        }
    }
}

fn way(address: SocketAddr, look: &mut HostLook) {
    look.is_local = kept(look, "own addresses", host::is_local(address.ip())).unwrap_or(false);
    look.route = kept(look, "the route", host::route(address.ip()));
    // Behind a router it is the router that is the neighbour, and says nothing about the server.
    if let Some(Route::Via { gateway: None, .. }) = &look.route {
        look.neighbour = kept(look, "neighbours", host::neighbour(address.ip()));
    }
    look.ports = kept(look, "local ports", host::ports(address));
    if let Some(sockets) = kept(look, "sockets", host::sockets_to(address)) {
        let states = (0_u8..).zip(sockets.states);
        look.sockets = states.filter(|(_, count)| *count > 0).collect();
    }
}

fn listeners(address: SocketAddr, look: &mut HostLook) {
    let Some(mut all) = kept(look, "listening sockets", host::listeners(Owners::Find)) else {
        return;
    };
    all.retain(|listening| listening.address.port() == address.port());
    let own = all.iter().filter(|listening| listening.takes(address));
    let pid = own.filter_map(|listening| listening.pid).next();
    look.listeners = Some(all);
    let Some(pid) = pid else { return };
    let Some(process) = kept(look, "the server's process", host::process(pid)) else {
        return;
    };
    let group = kept(look, "its control group", host::cgroup(pid)).unwrap_or_default();
    look.process = Some(ProcessLook {
        name: process.name,
        pid,
        state: process.state,
        age_s: u64::try_from(clock::wall_seconds() - process.started).unwrap_or(0),
        files: process.files,
        oom_kills: group.oom_kills,
        throttled: group.throttled,
    });
}
