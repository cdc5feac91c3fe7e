//! What the body of a response goes through, and what its head says of that.

use std::sync::Arc;

use clearway_http::{Framing, Known, Method};
use clearway_rules::View;

use super::Exchange;
use super::around::Surroundings;
use crate::body::Filters;
use crate::body::compress::Encoder;
use crate::body::plan::{BodyPlan, Judgement, ReplacePlan, Shown, judge, takes_any};
use crate::body::replace::{Pair, Replacer};
use crate::body::unpack::Unpacker;

impl Exchange<'_> {
    /// Hides from the server which codings the client takes, where it is to leave coding to us.
    pub(super) fn offload(&mut self) {
        let Some(body) = &self.route_plan().body else {
            return;
        };
        let settings = &body.compression;
        if settings.offload && takes_any(settings, &self.request.head, self.lease.filled()) {
            self.request.edits.remove("accept-encoding");
        }
    }

    /// What the body of the response goes through whose head, in `buf`, rules have seen; none when it is
    /// sent as it is. The head is changed with it.
    pub(super) fn filters(&mut self, buf: &[u8], framing: Framing) -> Option<Box<Filters>> {
        let body = Arc::clone(self.route_plan().body.as_ref()?);
        let is_head = self.request.head.method == Method::Head;
        let len = match framing {
            Framing::Length(len) => Some(len),
            Framing::None if is_head => self.told_len(buf),
            Framing::None => Some(0),
            Framing::Chunked | Framing::UntilClose => None,
        };
        if len == Some(0) {
            return None;
        }
        let judgement = match is_head && !body.compression.heads {
            true => Judgement::default(),
            false => self.judged(&body, buf, len),
        };
        let replace = body.replace.as_ref();
        let replace = replace.filter(|replace| replace.is_for(&self.shown(buf)));
        let weakens = replace.is_some() || judgement.coding.is_some() || judgement.unpacks;
        if judgement.varies {
            self.tell_variance(buf);
        }
        if weakens {
            let drops = replace.is_some_and(|replace| !replace.keeps_validators);
            self.change_head(buf, judgement, drops);
        }
        if is_head || !weakens {
            return None;
        }
        let replacer = replace.map(|replace| self.replacer(replace, buf));
        let encoder = judgement.coding;
        // Without memory for a coding there is none for anything else.
        let encoder = encoder.and_then(|coding| Encoder::new(coding, &body.compression).ok());
        let unpacker = judgement.unpacks.then(Unpacker::new);
        Filters::new(unpacker, replacer, encoder)
    }

    /// The length of a body that does not follow, as its head tells it.
    fn told_len(&self, buf: &[u8]) -> Option<u64> {
        let value = self.request.response.field(Known::ContentLength, buf)?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    fn shown<'a>(&'a self, buf: &'a [u8]) -> Shown<'a> {
        let edits = &self.request.response_edits;
        Shown {
            status: edits.status().unwrap_or(self.request.response.status),
            head: &self.request.response,
            buf,
            edits,
        }
    }

    fn judged(&mut self, body: &BodyPlan, buf: &[u8], len: Option<u64>) -> Judgement {
        if let Some(spared) = &body.spared {
            let around = Surroundings {
                conn: self.conn,
                plan: &self.plan,
            };
            let view = around.view(&self.request.head, self.lease.filled(), self.id);
            if spared.holds(&view, &mut self.request.scratch) {
                return Judgement::default();
            }
        }
        let now = clearway_base::clock::wall_of(self.conn.worker.now()) / 1_000_000;
        let request = (&self.request.head, self.lease.filled());
        judge(&body.compression, request, &self.shown(buf), len, now)
    }

    /// `Vary` names the field that decided (RFC 9110 section 12.5.5).
    fn tell_variance(&mut self, buf: &[u8]) {
        let says = self.shown(buf).all("vary").any(|value| {
            let mut names = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
            names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
        });
        if !says {
            self.request.response_edits.add("Vary", b"Accept-Encoding");
        }
    }

    /// What the head says of a body that is no longer the server's: no ranges, no strong tag.
    fn change_head(&mut self, buf: &[u8], judgement: Judgement, drops_validators: bool) {
        let tag = self.shown(buf).first("etag").map(<[u8]>::to_vec);
        let edits = &mut self.request.response_edits;
        edits.remove("Accept-Ranges");
        edits.remove("Content-Length");
        if judgement.unpacks {
            edits.remove("Content-Encoding");
        }
        if let Some(coding) = judgement.coding {
            edits.set("Content-Encoding", coding.name().as_bytes());
        }
        if drops_validators {
            edits.remove("ETag");
            edits.remove("Last-Modified");
            return;
        }
        match tag {
            Some(tag) if tag.starts_with(b"\"") => {
                edits.set("ETag", &[b"W/", tag.as_slice()].concat());
            }
            Some(tag) if tag.starts_with(b"W/") => {}
            Some(_) => edits.remove("ETag"),
            None => {}
        }
    }

    fn replacer(&mut self, replace: &ReplacePlan, buf: &[u8]) -> Replacer {
        let around = Surroundings {
            conn: self.conn,
            plan: &self.plan,
        };
        let view = View {
            response: Some((&self.request.response, buf)),
            ..around.view(&self.request.head, self.lease.filled(), self.id)
        };
        let scratch = &mut self.request.scratch;
        let texts = replace.texts.iter().map(|(find, phrase)| {
            let mut put = Vec::new();
            phrase.write(&view, scratch, &mut put);
            Pair {
                find: find.clone(),
                put,
            }
        });
        Replacer::new(texts.collect(), replace.once)
    }
}
