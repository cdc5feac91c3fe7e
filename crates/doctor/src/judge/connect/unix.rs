//! Judges of Unix sockets.

use clearway_outcome::FaultKind as Kind;

use super::denied::libc_eacces;
use crate::case::View;
use crate::evidence::Probe;
use crate::opinion::{Opinion, Site};

/// The path of the server's socket, to be looked at; rules the cause out when the
/// fault is of no Unix socket. An address that is not known leaves the path empty.
fn path_of<'v>(view: &'v View<'_>, it: &mut Opinion) -> Option<&'v str> {
    if !view.is_unix() && !view.is(&[Kind::UnixMissing, Kind::UnixBacklogFull]) {
        it.rule_out();
        return None;
    }
    it.wants(Probe::Unix);
    Some(view.address().trim_start_matches("unix:"))
}

pub(super) fn unix_socket_missing(view: &View<'_>, it: &mut Opinion) {
    let Some(path) = path_of(view, it) else {
        return;
    };
    it.strong(view.seen());
    match view.unix() {
        Some(look) if !look.exists => {
            it.proof(view.probed(format!("{path} does not exist")));
            if let Some(other) = look.others.first() {
                it.note(view.probed(format!("in the same folder there is {other}")));
                it.fix(
                    Site::Config,
                    "If that is the one, name it",
                    format!("unix:{other}"),
                );
            }
        }
        Some(_) => it.against(view.probed(format!("{path} is there now"))),
        None => it.missing("what stands in the folder"),
    }
    it.say(format!(
        "The socket {path} does not exist: its service does not run, or puts it elsewhere."
    ));
    it.fix(
        Site::Server,
        "Start the service that makes the socket",
        format!("ls -l {path}"),
    );
}

pub(super) fn unix_socket_stale(view: &View<'_>, it: &mut Opinion) {
    let Some(path) = path_of(view, it) else {
        return;
    };
    it.strong(view.seen());
    match view.unix() {
        Some(look) if look.exists && look.is_listening == Some(false) => {
            it.proof(view.probed(format!(
                "{path} is there and nobody listens on it: its service ended without removing it"
            )));
        }
        Some(look) if look.is_listening == Some(true) => {
            it.against(view.probed("somebody listens on it now"));
        }
        Some(_) | None => it.missing("whether somebody listens on the socket"),
    }
    it.fix(
        Site::Server,
        "Start the service again",
        format!("ss -xlp src {path}"),
    );
}

pub(super) fn unix_socket_permission(view: &View<'_>, it: &mut Opinion) {
    let Some(path) = path_of(view, it) else {
        return;
    };
    it.fair(view.seen());
    match view.unix() {
        Some(look) => match &look.barred {
            Some(folder) => it.proof(view.probed(format!("the folder {folder} may not be passed"))),
            None if look.errno == libc_eacces() => it.proof(view.probed(format!(
                "{path} has mode {:04o} and belongs to {}:{}, which leaves out the balancer",
                look.mode & 0o7777,
                look.owner.0,
                look.owner.1
            ))),
            None if look.errno == 0 => {
                it.against(view.probed("the socket can be connected to from here"));
            }
            None => {}
        },
        None => it.missing("the permissions along the path"),
    }
    it.fix(
        Site::Server,
        "Give the balancer's user the right to write to the socket, by group or mode",
        format!("namei -l {path}"),
    );
}

pub(super) fn unix_socket_backlog_full(view: &View<'_>, it: &mut Opinion) {
    let Some(path) = path_of(view, it) else {
        return;
    };
    it.strong(view.seen());
    if !view.is(&[Kind::UnixBacklogFull]) {
        it.missing("whether connect(2) said EAGAIN");
    } else {
        it.strong(view.symptom(
        "on a Unix socket EAGAIN means that the queue of connections is full; nothing waits there",
    ));
    }
    if let Some(queue) = view.unix().and_then(|look| look.queue) {
        it.proof(view.kernel(format!(
            "{} connections wait, {} may",
            queue.used, queue.limit
        )));
    }
    it.fix(
        Site::Server,
        "Give the program more workers and a larger backlog (and net.core.somaxconn)",
        format!("ss -xl src {path}"),
    );
}
