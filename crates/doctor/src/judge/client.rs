//! Judges of what clients do.

use clearway_outcome::{FaultKind as Kind, Remark, Speaker, Spoken};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::opinion::{Opinion, Site};
use crate::view::time;

#[cfg(test)]
mod tests;

/// A client that goes before its answer is complete.
const LEFT: &[Kind] = &[
    Kind::ClientClosed,
    Kind::ClientReset,
    Kind::RequestBodyTruncated,
    Kind::ClientNotReading,
    Kind::TunnelClientReset,
];
/// A client that is silent where something is due.
const SILENT: &[Kind] = &[Kind::RequestHeadTimeout, Kind::RequestBodyTimeout];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::ClientSlowUpload,
        &[
            Kind::RequestHeadTimeout,
            Kind::RequestBodyTimeout,
            Kind::ServerClosedWhileSending,
            Kind::ServerResetWhileSending,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
        ],
        client_slow_upload,
    ),
    Judge::new(Cause::ClientAbort, LEFT, client_abort),
    Judge::new(
        Cause::ClientTimeoutShorter,
        &[Kind::ClientClosed, Kind::ClientReset],
        client_timeout_shorter,
    ),
    Judge::new(
        Cause::TooManyForwardedFor,
        &[
            Kind::HeadersTooLarge,
            Kind::TooManyHeaders,
            Kind::RequestLineInvalid,
            Kind::HeaderValueInvalid,
            Kind::ProxyLoop,
        ],
        too_many_forwarded_for,
    )
    .remarked(&[Remark::TooManyHops]),
];

fn client_slow_upload(view: &View<'_>, it: &mut Opinion) {
    if !view.group.may_be(SILENT) {
        return behind_another(view, it);
    }
    it.fair(view.seen());
    let is_body = view.is(&[Kind::RequestBodyTimeout]);
    let request = view.group.request_bytes;
    if view.is(SILENT) {
        it.strong(view.symptom(if is_body {
            "the client announced a body and sent nothing more of it in time"
        } else {
            "the client did not complete the head of its request in time"
        }));
    }
    if is_body && request.count > 0 && request.max == 0 {
        it.against(view.symptom(
            "nothing of the body came at all: the client may be waiting for 100 Continue",
        ));
    } else if is_body && request.count > 0 {
        it.fair(view.symptom(format!(
            "{} bytes of body came, and then none",
            request.mean()
        )));
    }
    if !is_body && view.group.paths.is_empty() && view.group.methods.is_empty() {
        it.note(view.symptom(
            "not even a method came: browsers open connections in advance and leave them, which hurts nobody",
        ));
    }
    weigh_clients(view, it);
    it.say("Clients send their requests too slowly: they are silent for longer than the balancer bears.");
    it.fix(
        Site::Client,
        "Look at the clients' way here: mobile networks, a VPN whose packets are too large, a loaded uplink",
        "",
    );
    let to = match view.dialect() {
        Speaker::Clearway if is_body => "timeouts.request_body = \"60s\"",
        Speaker::Clearway => "timeouts.request_head = \"30s\"",
        Speaker::Nginx if is_body => "client_body_timeout 60s;",
        Speaker::Nginx => "client_header_timeout 60s;",
        Speaker::Haproxy if is_body => "timeout client 60s",
        Speaker::Haproxy => "timeout http-request 30s",
        Speaker::Envoy => "request_timeout: 60s",
        Speaker::Alb => return,
    };
    it.fix(Site::Config, "Or wait for longer", to);
}

/// A balancer behind this one that lost patience with the client closes the connection, which looks as if
/// the server had failed.
fn behind_another(view: &View<'_>, it: &mut Opinion) {
    let in_first = matches!(
        view.spoken(),
        Some(Spoken::Http1Response { status: 408, .. })
    );
    let is_told = in_first || view.group.server_statuses.only() == Some("408");
    if !is_told {
        return it.rule_out();
    }
    it.strong(view.symptom("the server says 408: it waited for the client's request for too long"));
    it.fair(view.seen());
    if view.group.reused() > 0 && view.group.idle.min > 1_000_000 {
        it.against(view.symptom(
            "the connection had lain idle: the server may have ended it for that, and not for an upload",
        ));
    }
    it.say(format!(
        "Clients upload too slowly for {}, which gives up before the balancer does.",
        view.address()
    ));
    let to = match view.dialect() {
        Speaker::Nginx => "proxy_request_buffering on;",
        Speaker::Haproxy => "option http-buffer-request",
        Speaker::Clearway | Speaker::Envoy | Speaker::Alb => "",
    };
    it.fix(
        Site::Server,
        "Let the server wait for longer than the balancer bears silent clients",
        "",
    );
    if !to.is_empty() {
        it.fix(
            Site::Config,
            "Or read requests whole before they are passed on",
            to,
        );
    }
}

fn weigh_clients(view: &View<'_>, it: &mut Opinion) {
    if view.group.count < 3 {
        return;
    }
    if let Some(client) = view.group.clients.only() {
        it.hint(view.symptom(format!("it is always the client {client}")));
    }
}

/// Whether clients go after always the same time: how long, and who.
fn rhythm(view: &View<'_>) -> Option<(u64, Option<String>)> {
    let elapsed = view.group.elapsed;
    // A person cannot be so punctual; less than a second may be a person who clicks on.
    let is_sharp = elapsed.count >= 5 && elapsed.is_constant(3, 100_000) && elapsed.min >= 900_000;
    is_sharp.then(|| (elapsed.mean(), view.group.agents.only().map(str::to_owned)))
}

/// Whether a time is one that people write into programs: whole seconds, or halves of short ones.
fn is_round(us: u64) -> bool {
    let step = if us < 5_000_000 { 500_000 } else { 1_000_000 };
    let off = us % step;
    off.min(step - off) <= 150_000
}

fn client_abort(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    if view.is(LEFT) {
        it.fair(view.symptom("it was the client that ended the connection"));
    }
    let elapsed = view.group.elapsed;
    if let Some((after, _)) = rhythm(view) {
        it.strongly_against(view.symptom(format!(
            "it is always after {}, and people are not so punctual",
            time(after)
        )));
    } else if elapsed.count >= 5 {
        it.fair(view.symptom(format!(
            "after {} to {}, as people do",
            time(elapsed.min),
            time(elapsed.max)
        )));
    }
    let took = view.case.successes.took;
    let is_slow = took.count > 0 && took.mean() > 2_000_000;
    if is_slow {
        it.note(view.symptom(format!(
            "answers take {} on average, which people do not wait for",
            time(took.mean())
        )));
    }
    it.say(if is_slow {
        "Clients go before their answers are there, because those take long."
    } else {
        "Clients went before their answers were complete."
    });
    it.fix(
        Site::Server,
        "Nothing, unless answers are slow: then make them faster; do not count these as errors of the server",
        "",
    );
    let to = match view.dialect() {
        Speaker::Nginx => "proxy_ignore_client_abort on;",
        Speaker::Haproxy => "no option abortonclose",
        Speaker::Clearway | Speaker::Envoy | Speaker::Alb => return,
    };
    it.fix(
        Site::Config,
        "If work that was begun has to be completed all the same",
        to,
    );
}

fn client_timeout_shorter(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    let Some((after, agent)) = rhythm(view) else {
        if view.group.elapsed.count >= 5 {
            it.strongly_against(view.symptom("clients go after all kinds of times"));
        } else {
            it.missing("whether clients always go after the same time");
        }
        return;
    };
    it.strong(view.symptom(format!(
        "clients go after {} each time ({} of them)",
        time(after),
        view.group.count
    )));
    if is_round(after) {
        it.fair(view.symptom("that is a time that people write into programs"));
    }
    if let Some(agent) = &agent {
        it.hint(view.symptom(format!("it is always \"{agent}\"")));
    }
    let took = view.case.successes.took;
    if took.count > 0 && took.max >= after / 2 {
        it.hint(view.symptom(format!("answers take up to {}", time(took.max))));
    }
    let who = agent.map_or_else(|| "The callers".to_owned(), |agent| format!("\"{agent}\""));
    it.say(format!(
        "{who} give up after {}, and the answer takes longer than that.",
        time(after)
    ));
    it.fix(
        Site::Client,
        format!(
            "Let the caller wait for longer than {}: each hop longer than the one behind it",
            time(after)
        ),
        "",
    );
    it.fix(
        Site::Server,
        "Or answer faster; retries of such callers multiply the load, so let them pause in between",
        "",
    );
}

fn too_many_forwarded_for(view: &View<'_>, it: &mut Opinion) {
    let is_463 = view.group.statuses.only() == Some("463");
    let is_said = view.group.words.contains("X-Forwarded-For");
    if is_463 && view.group.speaker == Speaker::Alb {
        it.proof(view.symptom("the status is 463, which AWS ALB has for this alone"));
    } else if is_said {
        it.strong(view.seen());
    } else {
        return it.rule_out();
    }
    it.say("Requests come with more than 30 addresses in X-Forwarded-For: they go round in a circle, or the client makes them up.");
    it.fix(
        Site::Config,
        "Look for balancers that pass requests to each other, and set the header at the edge instead of adding \
         to it",
        "",
    );
}
