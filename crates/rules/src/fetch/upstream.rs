//! What became of the attempts to get a response from servers, one after another with `, ` between.

use clearway_outcome::Attempt;

use super::{Argument, Context, Short, Visit};

/// Shows something of each attempt in one text; nothing where no server was asked.
fn list(
    at: &Context<'_>,
    visit: &mut Visit<'_>,
    write: impl Fn(&Attempt, bool, &mut Vec<u8>),
) -> bool {
    let attempts = at.view.attempts;
    let [first, rest @ ..] = attempts else {
        return false;
    };
    let mut text = Vec::new();
    write(first, rest.is_empty(), &mut text);
    for (index, attempt) in rest.iter().enumerate() {
        text.extend_from_slice(b", ");
        write(attempt, index + 1 == rest.len(), &mut text);
    }
    visit(&text)
}

/// Seconds with three decimals, `-` for what was not reached.
fn seconds(micros: Option<u64>, out: &mut Vec<u8>) {
    match micros {
        Some(us) => {
            let text = format_args!("{}.{:03}", us / 1_000_000, us / 1_000 % 1_000);
            out.extend_from_slice(Short::of(text).as_bytes());
        }
        None => out.push(b'-'),
    }
}

fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(Short::of(number).as_bytes());
}

pub(super) fn address(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| {
        out.extend_from_slice(attempt.address.as_str().as_bytes());
    })
}

/// The last attempt may still be under way: its response says which status it has.
pub(super) fn status(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let here = at.view.response.map_or(0, |(head, _)| head.status);
    list(at, visit, |attempt, is_last, out| {
        let made = attempt.fault.map_or(0, |fault| fault.kind.status());
        let known = [attempt.status, made];
        let found = known.into_iter().find(|status| *status > 0);
        let here = Some(here).filter(|status| is_last && *status > 0);
        match found.or(here) {
            Some(status) => number(status.into(), out),
            None => out.push(b'-'),
        }
    })
}

/// Of the attempt under way nobody knows, yet.
pub(super) fn response_time(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| match attempt.ended_us {
        0 => seconds(None, out),
        ended => seconds(Some(ended), out),
    })
}

pub(super) fn connect_time(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| {
        seconds(attempt.connected_us, out);
    })
}

pub(super) fn header_time(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| {
        seconds(attempt.first_byte_us, out);
    })
}

pub(super) fn length(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| {
        number(attempt.body_received, out);
    })
}

pub(super) fn sent(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| number(attempt.bytes_sent, out))
}

pub(super) fn received(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    list(at, visit, |attempt, _, out| {
        number(attempt.bytes_received, out);
    })
}
