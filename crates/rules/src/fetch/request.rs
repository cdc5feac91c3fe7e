//! Parts of the request head.

use clearway_http::{Field, Framing, Known, Version, uri};

use super::{Argument, Context, Short, Visit};

pub(super) fn host(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.scratch.host())
}

pub(super) fn host_or(at: &Context<'_>, other: &Argument, visit: &mut Visit<'_>) -> bool {
    match at.scratch.host() {
        b"" => visit(other.text.as_bytes()),
        host => visit(host),
    }
}

pub(super) fn user(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    crate::users::named(at.view).is_some_and(|pair| {
        let name = pair.split(|&byte| byte == b':').next();
        visit(name.unwrap_or_default())
    })
}

pub(super) fn length(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let head = at.view.head;
    let body = match head.framing {
        Framing::Length(length) => length,
        Framing::None | Framing::Chunked | Framing::UntilClose => 0,
    };
    visit(Short::of(body.saturating_add(head.len as u64)).as_bytes())
}

pub(super) fn path(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.scratch.path(at.view))
}

pub(super) fn raw_path(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.view.path())
}

pub(super) fn query(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.scratch.query(at.view).is_some_and(visit)
}

pub(super) fn query_sign(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.scratch
        .query(at.view)
        .is_some_and(|query| !query.is_empty())
        && visit(b"?")
}

/// Origin form, also when the target came in absolute form.
pub(super) fn target(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let head = at.view.head;
    if !head.path.is_empty() {
        let from_path = clearway_http::Span {
            start: head.path.start,
            end: head.target.end,
        };
        return visit(from_path.of(at.view.buf));
    }
    if head.target.of(at.view.buf) == b"*" {
        return visit(b"*");
    }
    if !head.has_query {
        return visit(at.view.path());
    }
    let mut text = b"/?".to_vec();
    text.extend_from_slice(head.query.of(at.view.buf));
    visit(&text)
}

pub(super) fn method(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    if let Some(asked) = at.scratch.method() {
        return visit(asked);
    }
    let new = at.view.edits.filter(|_| at.view.response.is_none());
    let new = new.and_then(|edits| edits.method());
    visit(new.unwrap_or_else(|| at.view.head.method_text.of(at.view.buf)))
}

pub(super) fn method_came(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.view.head.method_text.of(at.view.buf))
}

pub(super) fn any_case_query(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let query = at.scratch.query(at.view).unwrap_or_default();
    let found = query.split(|&b| b == b'&').find_map(|pair| {
        let (key, value) = pair.split_at_checked(name.text.len())?;
        let value = value.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name.text.as_bytes())
            .then_some(value)
    });
    found.is_some_and(visit)
}

pub(super) fn any_case_cookie(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let found = pairs_of(at).find_map(|pair| {
        let (key, value) = pair.split_at_checked(name.text.len())?;
        let value = value.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name.text.as_bytes())
            .then_some(value)
    });
    found.is_some_and(visit)
}

pub(super) fn version(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(match at.view.head.version {
        Version::Http10 => b"1.0",
        Version::Http11 => b"1.1",
        Version::Http2 => b"2.0",
    })
}

pub(super) fn header(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    fields(&at.view.head.fields, at.view.buf, name, visit)
}

/// Shows the values of the fields with a name.
pub(super) fn fields(list: &[Field], buf: &[u8], name: &Argument, visit: &mut Visit<'_>) -> bool {
    list.iter().any(|field| {
        let named = field.known == name.known
            && (name.known != Known::Other
                || field
                    .name
                    .of(buf)
                    .eq_ignore_ascii_case(name.text.as_bytes()));
        named && visit(field.value.of(buf))
    })
}

pub(super) fn cookie(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    values_of(at, name).any(visit)
}

pub(super) fn cookies(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(Short::of(values_of(at, name).count()).as_bytes())
}

/// The values of the cookies of a name.
fn values_of<'a>(at: &Context<'a>, name: &'a Argument) -> impl Iterator<Item = &'a [u8]> {
    let name = name.text.as_bytes();
    pairs_of(at).filter_map(move |pair| {
        if name == b"*" {
            let at = pair.iter().position(|&b| b == b'=')?;
            return pair.get(at + 1..);
        }
        pair.strip_prefix(name)?.strip_prefix(b"=")
    })
}

/// Cookies, each with its name.
fn pairs_of<'a>(at: &Context<'a>) -> impl Iterator<Item = &'a [u8]> {
    let view = at.view;
    let fields = view.head.fields.iter();
    fields
        .filter(|field| field.known == Known::Cookie)
        .flat_map(|field| field.value.of(view.buf).split(|&b| b == b';'))
        .map(<[u8]>::trim_ascii)
}

/// All parameters with the name: a test that is to refuse something must not look at the first
/// alone. An escaped name is that name.
pub(super) fn query_param(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let query = at.scratch.query(at.view).unwrap_or_default();
    query.split(|&b| b == b'&').any(|pair| {
        let mut parts = pair.splitn(2, |&b| b == b'=');
        let key = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        is_named(key, name.text.as_bytes()) && show(value, at.raw, visit)
    })
}

fn is_escaped(text: &[u8]) -> bool {
    text.iter().any(|&b| b == b'%' || b == b'+')
}

fn is_named(key: &[u8], name: &[u8]) -> bool {
    key == name || (is_escaped(key) && decoded(key) == name)
}

fn show(value: &[u8], raw: bool, visit: &mut Visit<'_>) -> bool {
    if raw || !is_escaped(value) {
        return visit(value);
    }
    visit(&decoded(value))
}

/// As in forms: `+` is a space.
fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|&b| if b == b'+' { b' ' } else { b })
        .collect();
    let mut out = Vec::with_capacity(spaced.len());
    uri::decode(&spaced, &mut out);
    out
}
