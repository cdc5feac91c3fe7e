//! Parts of heads as the rules before have left them.

use clearway_http::{Edits, edited_lines};

use super::{Argument, Context, Short, Visit};

/// A name, and which of several is meant.
fn parts(argument: &Argument) -> (&str, Option<i64>) {
    match argument.text.split_once(',') {
        Some((name, number)) => (name, number.trim().parse().ok()),
        None => (&argument.text, None),
    }
}

/// Items between commas outside of quotes, without the space around them.
pub(crate) fn items<'a>(lines: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut items = Vec::new();
    for line in lines {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let parts = line.split(|&byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' if !is_quoted => return true,
                _ => {}
            }
            false
        });
        items.extend(parts.map(<[u8]>::trim_ascii));
    }
    items
}

/// Shows the one that is meant: with a number that, else the last one to templates and all to tests.
fn show(values: &[&[u8]], number: Option<i64>, raw: bool, visit: &mut Visit<'_>) -> bool {
    let number = number.or_else(|| raw.then_some(-1));
    let Some(number) = number else {
        return values.iter().any(|value| visit(value));
    };
    let place = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    let index = if number > 0 {
        place.checked_sub(1)
    } else {
        values.len().checked_sub(place.max(1))
    };
    let found = index.and_then(|index| values.get(index));
    found.is_some_and(|value| visit(value))
}

fn count(count: usize, visit: &mut Visit<'_>) -> bool {
    visit(Short::of(count).as_bytes())
}

/// The lines of a header of the request or the response.
pub(crate) fn lines_of<'a>(at: &Context<'a>, name: &'a str, response: bool) -> Vec<&'a [u8]> {
    if response {
        answered(at, name)
    } else {
        asked(at, name)
    }
}

/// Lines of the request. When there is a response, what rules change is that.
fn asked<'a>(at: &Context<'a>, name: &'a str) -> Vec<&'a [u8]> {
    let edits = at.view.edits.filter(|_| at.view.response.is_none());
    edited_lines(edits, &at.view.head.fields, at.view.buf, name.as_bytes()).collect()
}

fn answered<'a>(at: &Context<'a>, name: &'a str) -> Vec<&'a [u8]> {
    let Some((head, buf)) = at.view.response else {
        return Vec::new();
    };
    edited_lines(at.view.edits, &head.fields, buf, name.as_bytes()).collect()
}

pub(super) fn header_line(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let (name, number) = parts(name);
    show(&asked(at, name), number, at.raw, visit)
}

pub(super) fn header_item(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let (name, number) = parts(name);
    show(&items(&asked(at, name)), number, at.raw, visit)
}

pub(super) fn header_names(at: &Context<'_>, between: &Argument, visit: &mut Visit<'_>) -> bool {
    let edits = at.view.edits.filter(|_| at.view.response.is_none());
    let came = at.view.head.fields.iter().map(|f| f.name.of(at.view.buf));
    let came = came.filter(|name| !edits.is_some_and(|edits| edits.drops(name)));
    let written = edits.into_iter().flat_map(Edits::written);
    let mut text = Vec::new();
    for name in came.chain(written.map(|(name, _)| name)) {
        if !text.is_empty() {
            text.extend_from_slice(between.text.as_bytes());
        }
        text.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    visit(&text)
}

pub(super) fn header_items(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    count(items(&asked(at, &name.text)).len(), visit)
}

pub(super) fn header_lines(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    count(asked(at, &name.text).len(), visit)
}

pub(super) fn response_line(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let (name, number) = parts(name);
    show(&answered(at, name), number, at.raw, visit)
}

pub(super) fn response_item(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let (name, number) = parts(name);
    show(&items(&answered(at, name)), number, at.raw, visit)
}

pub(super) fn response_items(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    count(items(&answered(at, &name.text)).len(), visit)
}

pub(super) fn response_lines(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    count(answered(at, &name.text).len(), visit)
}

/// The target as rules have left it.
fn new_target<'a>(at: &Context<'a>) -> Option<&'a [u8]> {
    at.view.edits?.target()
}

pub(super) fn path(at: &Context<'_>, argument: &Argument, visit: &mut Visit<'_>) -> bool {
    match new_target(at) {
        Some(target) => visit(
            target
                .split(|&byte| byte == b'?')
                .next()
                .unwrap_or_default(),
        ),
        None => super::request::raw_path(at, argument, visit),
    }
}

pub(super) fn host(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let set = at.view.edits.and_then(|edits| edits.host());
    visit(set.unwrap_or_else(|| at.view.head.host.of(at.view.buf)))
}

pub(super) fn base(at: &Context<'_>, argument: &Argument, visit: &mut Visit<'_>) -> bool {
    let mut text = asked(at, "host")
        .first()
        .map_or_else(Vec::new, |host| host.to_vec());
    path(at, argument, &mut |path| {
        text.extend_from_slice(path);
        true
    });
    visit(&text)
}

pub(super) fn target(at: &Context<'_>, argument: &Argument, visit: &mut Visit<'_>) -> bool {
    match new_target(at) {
        Some(target) => visit(target),
        None => super::request::target(at, argument, visit),
    }
}
