//! Connections with something left on them, and connections that nobody closes.

use clearway_outcome::{FaultKind as Kind, Spoken};

use crate::case::View;
use crate::evidence::Probe;
use crate::judge::wait::signs::{self, Light};
use crate::opinion::{Opinion, Site};

/// `CLOSE_WAIT`: the peer has closed, and we have not.
const CLOSE_WAIT: u8 = 8;

pub(in crate::judge) fn pool_desync_leftover(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    if group
        .words
        .contains("more data than specified in \"Content-Length\"")
    {
        it.proof(
            view.symptom("the server sent more than it had announced, and the rest was left over"),
        );
        return said(view, it);
    }
    if signs::is_all_fresh(view)
        || signs::keeps_none(view)
        || (group.fresh > 0 && group.reused() == 0)
    {
        return it.rule_out();
    }
    it.wants(Probe::Request(signs::light(view)));
    if signs::is_all_reused(view) {
        it.fair(view.symptom("it happens on kept connections only"));
    } else if group.reused() == 0 {
        it.missing("whether the connections were kept from an earlier request");
    } else {
        it.against(view.symptom("it happens on fresh connections too"));
    }
    match Spoken::of(group.first_bytes()) {
        Some(Spoken::Html) => {
            it.fair(view.symptom("what came begins with HTML, as the end of another answer would"));
        }
        Some(Spoken::Http1Response { status: 408, .. }) => {
            it.fair(
                view.symptom("what came is a 408: the server's farewell to an idle connection"),
            );
        }
        Some(_) => it.strongly_against(view.symptom("what came is another protocol")),
        None if group.first_bytes().is_empty() => it.missing("what came instead of a response"),
        None => it.hint(view.symptom(format!(
            "what came begins with \"{}\"",
            signs::beginning(view)
        ))),
    }
    if let Light::Quick(_) | Light::Late(_) = signs::light_reply(view) {
        it.fair(view.probed("a fresh connection is answered by proper HTTP"));
    }
    said(view, it);
}

fn said(view: &View<'_>, it: &mut Opinion) {
    it.say(format!(
        "{} sends more than its answers announce, so that the rest is taken for the next answer.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the program announce the true length, and send no body with HEAD, 204 and 304",
        format!(
            "curl -sv -o /dev/null http://{}{} 2>&1 | grep -iE 'excess|content-length'",
            view.address(),
            signs::path(view)
        ),
    );
}

pub(in crate::judge) fn close_wait_leak(view: &View<'_>, it: &mut Opinion) {
    /// Fewer come and go at any time.
    const MANY: u32 = 100;
    let here = view.is(&[Kind::OutOfFiles, Kind::OutOfPorts, Kind::ListenerFull]);
    it.wants(Probe::Host);
    let Some(host) = view.host() else {
        if here {
            it.hint(view.seen());
        }
        return it.missing("how many connections are in CLOSE-WAIT (ss -tan state close-wait)");
    };
    let states = host
        .sockets
        .iter()
        .filter(|(state, _)| *state == CLOSE_WAIT);
    let waiting: u32 = states.map(|(_, count)| *count).sum();
    if waiting == 0 {
        return it.strongly_against(view.kernel("no connection to it is in CLOSE-WAIT"));
    }
    if waiting < MANY {
        return it.against(view.kernel(format!(
            "{waiting} connections to it are in CLOSE-WAIT, which is not many"
        )));
    }
    it.strong(view.kernel(format!(
        "{waiting} connections to it are in CLOSE-WAIT: the server closed them, and nobody here did"
    )));
    let half = host
        .files
        .filter(|files| u64::from(waiting) * 2 >= files.used && files.used > 0);
    if let Some(files) = half {
        it.fair(view.kernel(format!(
            "they take most of the {} files that are open",
            files.used
        )));
    }
    it.say(format!(
        "{waiting} connections to {} are closed by it and still open here, and take up what is \
        missing.",
        view.address()
    ));
    it.fix(
        Site::Clearway,
        "Find out which process holds them, and update or restart it",
        "ss -tanp state close-wait | awk '{print $NF}' | sort | uniq -c | sort -n",
    );
}
