//! The response and who gave it.

use clearway_base::intern::Name;

use super::request::fields;
use super::{Argument, Context, Short, Visit};

pub(super) fn status(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let Some((head, _)) = at.view.response else {
        return false;
    };
    let new = at.view.edits.and_then(clearway_http::Edits::status);
    visit(Short::of(new.unwrap_or(head.status)).as_bytes())
}

pub(super) fn header(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    at.view
        .response
        .is_some_and(|(head, buf)| fields(&head.fields, buf, name, visit))
}

/// The value that the first `Set-Cookie` of a name gives it, without its attributes.
pub(super) fn cookie(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let Some((head, buf)) = at.view.response else {
        return false;
    };
    let all = head.fields.iter().filter(|field| {
        let is_it = field.name.of(buf).eq_ignore_ascii_case(b"set-cookie");
        is_it && !field.value.of(buf).is_empty()
    });
    let mut values = all.filter_map(|field| {
        let pair = field.value.of(buf).split(|byte| *byte == b';').next()?;
        let (found, value) = pair.split_at_checked(pair.iter().position(|b| *b == b'=')?)?;
        let is_it = found.trim_ascii() == name.text.as_bytes();
        let value = value.strip_prefix(b"=")?;
        is_it.then(|| value.trim_ascii())
    });
    values.next().is_some_and(visit)
}

pub(super) fn backend(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    name(at.view.backend, visit)
}

pub(super) fn server(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    name(at.view.server, visit)
}

pub(super) fn place(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let (backend, server) = (at.view.backend.as_str(), at.view.server.as_str());
    let place = at
        .view
        .around
        .and_then(|around| around.place(backend, server));
    place.is_some_and(|place| visit(Short::of(place).as_bytes()))
}

fn name(name: Name, visit: &mut Visit<'_>) -> bool {
    !name.is_none() && visit(name.as_str().as_bytes())
}
