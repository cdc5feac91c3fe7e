//! Answers without a server: redirections, texts, refusals.

use clearway_outcome::FaultKind;

use super::header::{check_constant, is_value};
use crate::fetch::{Context, Text};
use crate::scratch::Scratch;
use crate::view::{LocalReply, View};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    reply: LocalReply,
    location: Option<Text>,
    /// What goes before it where it is a path.
    base: Option<Text>,
    body: Option<Text>,
    headers: Vec<(String, Text)>,
}

impl Answer {
    /// # Errors
    /// Another status than those of redirections with a place to go to.
    pub(super) fn redirect(
        status: u16,
        (location, base): (Text, Option<Text>),
        headers: Vec<(String, Text)>,
    ) -> Result<Self, String> {
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Err(format!(
                "{status} is no status of a redirection: 301, 302, 303, 307 and 308 are"
            ));
        }
        check_constant(&location)?;
        if location.constant() == Some(b"") {
            return Err("a redirection needs a place to go to".to_owned());
        }
        let reply = LocalReply {
            status,
            ..LocalReply::default()
        };
        Ok(Self {
            reply,
            location: Some(location),
            base,
            body: None,
            headers,
        })
    }

    /// # Errors
    /// A status out of bounds, a body with a status that has none, an impossible media type.
    pub(super) fn reply(
        status: u16,
        content_type: &str,
        body: Text,
        own: Vec<(String, Text)>,
    ) -> Result<Self, String> {
        if !(200..600).contains(&status) {
            return Err(format!("{status} is no status of an answer"));
        }
        let is_empty = body.constant() == Some(b"");
        if matches!(status, 204 | 205 | 304) && !is_empty {
            return Err(format!("an answer with status {status} has no body"));
        }
        if !is_value(content_type.as_bytes()) {
            return Err(format!("{content_type:?} cannot stand in a header"));
        }
        let mut headers = Vec::new();
        if !content_type.is_empty() && !is_empty {
            headers.push(("Content-Type".to_owned(), content_type.as_bytes().to_vec()));
        }
        let reply = LocalReply {
            status,
            headers,
            body: body.constant().unwrap_or_default().to_vec(),
            page: false,
            fault: None,
        };
        Ok(Self {
            reply,
            location: None,
            base: None,
            body: Some(body).filter(|body| body.constant().is_none()),
            headers: own,
        })
    }

    /// # Errors
    /// A status that is not one of errors.
    pub(super) fn deny(status: u16) -> Result<Self, String> {
        if !(400..600).contains(&status) {
            return Err(format!(
                "{status} is no status of a refusal: 400 to 599 are"
            ));
        }
        let reply = LocalReply {
            status,
            fault: Some(FaultKind::Denied),
            ..LocalReply::default()
        };
        Ok(Self {
            reply,
            location: None,
            base: None,
            body: None,
            headers: Vec::new(),
        })
    }

    /// # Errors
    /// A status out of bounds.
    pub(super) fn page(status: u16) -> Result<Self, String> {
        if !(200..600).contains(&status) {
            return Err(format!("{status} is no status of an answer"));
        }
        let reply = LocalReply {
            status,
            page: true,
            ..LocalReply::default()
        };
        Ok(Self {
            reply,
            location: None,
            base: None,
            body: None,
            headers: Vec::new(),
        })
    }

    /// The answer, where it is the same for all requests.
    pub(super) fn constant(&self) -> Option<LocalReply> {
        if self.body.is_some() || self.location.is_some() {
            return None;
        }
        let mut reply = self.reply.clone();
        for (name, value) in &self.headers {
            reply
                .headers
                .push((name.clone(), value.constant()?.to_vec()));
        }
        Some(reply)
    }

    /// The answer to a request.
    pub(super) fn to(&self, view: &View<'_>, scratch: &Scratch) -> LocalReply {
        let mut room = Vec::new();
        let at = Context::for_templates(view, scratch);
        let mut reply = self.reply.clone();
        for (name, value) in &self.headers {
            let value = value.render(&at, &mut room);
            if !is_value(value) {
                return LocalReply::rewrite_invalid();
            }
            if !value.is_empty() {
                reply.headers.push((name.clone(), value.to_vec()));
            }
        }
        if let Some(body) = &self.body {
            reply.body = body.render(&at, &mut room).to_vec();
        }
        let Some(location) = &self.location else {
            return reply;
        };
        let text = location.render(&at, &mut room);
        let chosen_by_client = location.constant().is_none()
            && location.first_literal().is_none_or(|first| first == b"/");
        let text = match chosen_by_client {
            true => on_this_host(text),
            false => text,
        };
        if text.is_empty() || !is_value(text) {
            return LocalReply::rewrite_invalid();
        }
        let mut place = Vec::new();
        if let Some(base) = self.base.as_ref().filter(|_| text.starts_with(b"/")) {
            base.write(&at, &mut place);
            if !is_value(&place) {
                return LocalReply::rewrite_invalid();
            }
        }
        place.extend_from_slice(text);
        reply.headers.push(("Location".to_owned(), place));
        reply
    }
}

/// A reference that the client wrote must not lead to a host that the client chose: `//host` and
/// `/\host` would (RFC 3986 section 4.2). Only the last of several slashes stays.
fn on_this_host(text: &[u8]) -> &[u8] {
    let is_slash = |b: &&u8| matches!(b, b'/' | b'\\');
    let slashes = text.iter().take_while(is_slash).count();
    text.get(slashes.saturating_sub(1)..).unwrap_or_default()
}
