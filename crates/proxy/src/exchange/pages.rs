//! Which page answers an error, and what it says to this request.

use std::rc::Rc;

use clearway_http::reason;
use clearway_outcome::FaultKind;

use super::Exchange;
use super::around::Surroundings;
use crate::plan::ErrorPage;

/// A page with what it says to one request.
pub(super) struct Found {
    pub(super) page: Box<ErrorPage>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// The page for a status, complete.
pub(super) struct StatusText {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) drop: bool,
}

impl Exchange<'_> {
    /// The page that the configuration has for an error: that of the backend before that of the listener,
    /// that of the fault before that of the status.
    pub(super) fn own_page(&mut self, kind: Option<FaultKind>, status: u16) -> Option<Found> {
        let plan = Rc::clone(&self.plan);
        let backend = self.backend.clone();
        let lists = [
            backend.as_ref().map(|backend| &backend.plan.errors),
            Some(&plan.listener(self.conn.listener_at).errors),
        ];
        let page = lists.into_iter().flatten().find_map(|pages| match kind {
            Some(kind) => pages.for_fault(kind, status),
            None => pages.by_status.get(&status),
        })?;
        let mut found = Found {
            page: Box::new(page.clone()),
            headers: Vec::new(),
        };
        if let Some(dressed) = &page.dressed {
            let around = Surroundings {
                conn: self.conn,
                plan: &plan,
            };
            let view = around.view(&self.request.head, self.lease.filled(), self.id);
            let view = view.with_edits(&self.request.edits);
            let reply = dressed.render(&view, &mut self.request.scratch);
            found.headers = reply.headers;
            if page.is_template {
                found.page.body = Some(reply.body);
            }
        }
        Some(found)
    }

    /// The page for a status whether or not something went wrong: what the configuration has for it, or
    /// a short text.
    pub(super) fn status_page(&mut self, status: u16) -> StatusText {
        let found = self.own_page(None, status);
        let (page, headers) = match found {
            Some(found) => (Some(found.page), found.headers),
            None => (None, Vec::new()),
        };
        let drop = page.as_ref().is_some_and(|page| page.drop);
        let sent = page.as_ref().and_then(|page| page.status);
        let status = sent.unwrap_or(status);
        let text = page.and_then(|page| Some((page.content_type, page.body?)));
        let (content_type, body) = text.unwrap_or_else(|| {
            let text = format!("{status} {}\nrequest id {}\n", reason(status), self.id);
            ("text/plain; charset=utf-8".to_owned(), text.into_bytes())
        });
        StatusText {
            status,
            content_type,
            headers,
            body,
            drop,
        }
    }
}
