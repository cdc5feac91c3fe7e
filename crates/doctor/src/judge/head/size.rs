//! Judges of heads that are larger than is allowed.

use clearway_config::survey::Setting;
use clearway_outcome::{FaultKind as Kind, Speaker};

use super::{by_hand, like_ours};
use crate::case::View;
use crate::evidence::Probe;
use crate::opinion::{Opinion, Site};

const KIB: u64 = 1_024;

/// What a balancer takes of a head, where its configuration is not known.
fn usual_limit(speaker: Speaker) -> u64 {
    match speaker {
        // One page of memory.
        Speaker::Nginx => 4 * KIB,
        // A buffer of 16 KiB less what is kept for rewriting.
        Speaker::Haproxy => 15 * KIB,
        Speaker::Envoy => 60 * KIB,
        Speaker::Clearway | Speaker::Alb => 32 * KIB,
    }
}

/// The limit on bytes, and its setting where that is known.
fn limit<'a>(view: &View<'a>) -> (u64, Option<&'a Setting<u64>>) {
    let setting = view
        .backend()
        .and_then(|backend| backend.response_header_limit.as_ref());
    let known = setting.map(|setting| setting.value);
    (
        known.unwrap_or_else(|| usual_limit(view.dialect())),
        setting,
    )
}

pub(super) fn resp_header_too_big(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseHeadersTooLarge];
    let is_exact = view.is(KINDS);
    it.wants(Probe::Request(view.ask_again()));
    if is_exact {
        it.proof(view.seen());
    } else {
        it.hint(view.seen());
    }
    let (limit, setting) = limit(view);
    if let Some(setting) = setting {
        it.note(view.setting(
            setting,
            format!("{} takes heads of {limit} bytes", setting.name),
        ));
    }
    let guess = if limit <= 8 * KIB {
        2 * limit
    } else {
        limit + limit / 2
    };
    let received = view.group.received;
    if !is_exact && received.count > 1 && received.min == received.max && received.min >= 4 * KIB {
        let words = format!("it always ends after {} bytes", received.min);
        if received.min == limit || received.min == 8 * KIB {
            it.strong(view.symptom(format!("{words}, which is the whole buffer")));
        } else {
            it.hint(view.symptom(words));
        }
    }
    let largest = like_ours(view).map(|(_, reply)| reply.head_bytes).max();
    match largest {
        Some(size) if size > limit => {
            it.strong(view.probed(format!(
                "a head of {size} bytes came, and {limit} are taken"
            )));
            if !is_exact {
                it.fair(view.probed("so this server's heads do not fit"));
            }
            it.say(format!(
                "The head of {}'s response has {size} bytes, and the balancer takes {limit}.",
                view.address()
            ));
            fix_limit(view, it, size, setting);
        }
        Some(size) if size > 0 => {
            it.note(view.probed(format!(
                "a plain request gets a head of {size} bytes, so the large ones go to some users or paths \
                 (cookies, tokens)"
            )));
            say_large(view, it, limit);
            fix_limit(view, it, guess, setting);
        }
        Some(_) | None => {
            it.missing("how large the head really is");
            say_large(view, it, limit);
            fix_limit(view, it, guess, setting);
        }
    }
    it.fix(
        Site::Server,
        "Or make the head smaller: few and short cookies, no session in a cookie, a short \
         Content-Security-Policy; to see what is large",
        by_hand(view),
    );
}

fn say_large(view: &View<'_>, it: &mut Opinion, limit: u64) {
    it.say(format!(
        "The head of {}'s response is larger than the {limit} bytes that the balancer takes.",
        view.address()
    ));
}

/// A limit for a head of so many bytes, with some room, in steps that are usual.
fn roomy(size: u64) -> u64 {
    let wanted = size.saturating_add(size / 4);
    wanted.max(4 * KIB).next_power_of_two()
}

fn fix_limit(view: &View<'_>, it: &mut Opinion, size: u64, setting: Option<&Setting<u64>>) {
    let is_measured = like_ours(view).any(|(_, reply)| reply.head_bytes == size && size > 0);
    let room = roomy(size);
    let kib = room / KIB;
    let to = match view.dialect() {
        Speaker::Nginx => {
            let prefix = setting
                .and_then(|setting| setting.name.strip_suffix("_buffer_size"))
                .unwrap_or("proxy");
            format!(
                "{prefix}_buffer_size {kib}k; {prefix}_buffers 8 {kib}k; {prefix}_busy_buffers_size {}k;",
                2 * kib
            )
        }
        // The reserve for rewriting comes out of the buffer.
        Speaker::Haproxy => format!("tune.bufsize {}", roomy(size + KIB)),
        Speaker::Envoy => format!("max_response_headers_kb: {kib}"),
        Speaker::Clearway if size >= 64 * KIB => {
            return it.fix(
                Site::Server,
                "More than 64 KiB are never taken: the head has to become smaller",
                "",
            );
        }
        Speaker::Clearway => format!("limits.response_header_bytes = \"{}KiB\"", kib.min(64)),
        Speaker::Alb => {
            return it.fix(
                Site::Server,
                "AWS ALB takes 32 KiB and cannot be told otherwise: the head has to become smaller",
                "",
            );
        }
    };
    let words = match setting.and_then(|setting| setting.origin.as_ref()) {
        Some(origin) => format!("Raise the limit in {origin}"),
        None => "Raise the limit".to_owned(),
    };
    if is_measured {
        it.verified_fix(Site::Config, words, to);
    } else {
        it.fix(Site::Config, words, to);
    }
}

pub(super) fn resp_too_many_headers(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseTooManyHeaders];
    if view.group.speaker == Speaker::Nginx {
        // It does not count lines.
        return it.rule_out();
    }
    it.wants(Probe::Request(view.ask_again()));
    let setting = view
        .backend()
        .and_then(|backend| backend.response_header_count.as_ref());
    let usual = if view.dialect() == Speaker::Haproxy {
        101
    } else {
        100
    };
    let limit = setting.map_or(usual, |setting| setting.value);
    if view.is(KINDS) {
        it.proof(view.seen());
    } else if view.is_sure() {
        return it.rule_out();
    } else {
        it.hint(view.seen());
    }
    let most = like_ours(view).map(|(_, reply)| reply.head_lines).max();
    let lines = most.map(u64::from).filter(|lines| *lines > limit);
    match lines {
        Some(lines) => {
            it.strong(view.probed(format!(
                "a head of {lines} lines came, and {limit} are taken"
            )));
            it.say(format!(
                "The head of {}'s response has {lines} lines, and the balancer takes {limit}.",
                view.address()
            ));
        }
        None => {
            it.say(format!(
                "The head of {}'s response has more than the {limit} lines that the balancer takes.",
                view.address()
            ));
            it.missing("how many lines the head has");
        }
    }
    it.fix(
        Site::Server,
        "Find what adds the same header again and again",
        by_hand(view),
    );
    let room = lines.unwrap_or(2 * limit).next_multiple_of(50);
    let to = match view.dialect() {
        Speaker::Clearway => format!("limits.header_count = {room}"),
        Speaker::Haproxy => format!("tune.http.maxhdr {room}"),
        Speaker::Envoy => format!("common_http_protocol_options: {{max_headers_count: {room}}}"),
        Speaker::Nginx | Speaker::Alb => return,
    };
    let words = match setting.and_then(|setting| setting.origin.as_ref()) {
        Some(origin) => format!("Or raise the limit in {origin}"),
        None => "Or raise the limit".to_owned(),
    };
    if lines.is_some() {
        it.verified_fix(Site::Config, words, to);
    } else {
        it.fix(Site::Config, words, to);
    }
}
