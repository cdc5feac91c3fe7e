//! The body of a request, as far as it is there: a rule has to have waited for it.

use std::borrow::Cow;

use clearway_http::{ChunkedDecoder, Framing, uri};

use super::{Argument, Context, Short, Visit};

/// What is there of it, without framing.
fn here<'a>(at: &Context<'a>) -> Cow<'a, [u8]> {
    let came = at.view.buf.get(at.view.head.len..).unwrap_or_default();
    match at.view.head.framing {
        Framing::None => Cow::Borrowed(&[]),
        Framing::UntilClose => Cow::Borrowed(came),
        Framing::Length(length) => {
            let end = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(came.len());
            Cow::Borrowed(came.get(..end).unwrap_or_default())
        }
        Framing::Chunked => Cow::Owned(without_chunks(came)),
    }
}

fn without_chunks(came: &[u8]) -> Vec<u8> {
    let (mut decoder, mut trailers) = (ChunkedDecoder::default(), Vec::new());
    let (mut body, mut rest) = (Vec::new(), came);
    // What is wrong ends it: whoever reads the body refuses it.
    while let Ok(step) = decoder.extract(rest, &mut trailers) {
        let data = rest.get(step.skip..step.skip + step.pass);
        body.extend_from_slice(data.unwrap_or_default());
        rest = rest.get(step.used..).unwrap_or_default();
        if step.done || step.used == 0 || rest.is_empty() {
            break;
        }
    }
    body
}

pub(super) fn body(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(&here(at))
}

pub(super) fn bytes(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(Short::of(here(at).len()).as_bytes())
}

pub(super) fn size(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let here = here(at).len() as u64;
    let size = match at.view.head.framing {
        Framing::Length(length) => length,
        Framing::None | Framing::Chunked | Framing::UntilClose => here,
    };
    visit(Short::of(size).as_bytes())
}

pub(super) fn param(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let body = here(at);
    let found = uri::query_param(&body, name.text.as_bytes());
    found.is_some_and(visit)
}
