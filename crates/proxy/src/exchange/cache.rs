//! Responses that are kept: looked up before a server is asked, put in when one has answered.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use clearway_cache::{Kept, Terms, age_of, keep, wants_fresh};
use clearway_config::model::StaleWhen;
use clearway_http::{
    Framing, HeadLimits, Method, Progress, ResponseHead, ResponseOptions, Version, edited_lines,
    encode_response,
};
use clearway_outcome::{Fault, FaultKind, Phase, Side};
use clearway_rules::{FileSettings, LocalReply, View};

use super::around::Surroundings;
use super::files::Piece;
use super::pump::Pump;
use super::talk::Answer;
use super::{Exchange, Next, Stop};
use crate::cache::{CachePlan, Flight, Ticket};
use crate::files::condition::{Conditions, Verdict, seconds};
use crate::files::range::{Asked, asked};
use crate::files::{Body, Found};

/// What was kept passed the limits of heads when it came.
fn limits() -> HeadLimits {
    HeadLimits {
        line: usize::MAX,
        bytes: usize::MAX,
        count: usize::MAX,
        ..HeadLimits::default()
    }
}

/// Fields that make an answer depend on what the client has.
const CONDITIONS: [&str; 6] = [
    "If-None-Match",
    "If-Modified-Since",
    "If-Match",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
];

/// Stands between a key and a method.
const BEFORE_METHOD: u8 = 0;

/// What a request has to do with a cache.
pub(crate) struct Cached {
    plan: Arc<CachePlan>,
    key: Vec<u8>,
    /// What is kept but no longer fresh.
    stale: Option<Arc<Kept>>,
    /// The server is asked whether it has changed, and what the client wanted to know stood in these fields.
    asks_if_changed: bool,
    asked_before: Vec<(&'static str, Vec<Vec<u8>>)>,
    may_store: bool,
    /// Others wait for what comes of this request.
    ticket: Option<Ticket>,
    /// What is put in when its body is there.
    draft: Option<Kept>,
}

impl Cached {
    /// Whether what is no longer fresh is given in place of a response with a status.
    fn covers(&self, status: u16, now: u64) -> bool {
        let Some(stale) = &self.stale else {
            return false;
        };
        let covers = self.plan.covers_status(status);
        covers.is_some_and(|covers| {
            covers || (status >= 500 && stale.terms.serves_if_error(now, false))
        })
    }
}

/// What to do about something that is not there, or not fresh.
enum Turn {
    /// Ask the server, with or without the right to have others wait.
    Ask(Option<Ticket>),
    /// Wait for somebody who does.
    Wait(Arc<Flight>),
}

impl Exchange<'_> {
    /// Looks for what is kept for the request; none where a server is to be asked, which is noted.
    pub(super) async fn consult(&mut self) -> Option<Arc<Kept>> {
        let plan = Arc::clone(self.route_plan().cache.as_ref()?);
        let head = &self.request.head;
        let method = head.method_text.of(self.lease.filled());
        let is_meant = plan.methods.iter().any(|known| known.as_bytes() == method);
        if !is_meant || head.upgrade {
            return None;
        }
        let key = self.cache_key(&plan);
        let mut cached = Box::new(Cached {
            plan: Arc::clone(&plan),
            key,
            stale: None,
            asks_if_changed: false,
            asked_before: Vec::new(),
            may_store: true,
            ticket: None,
            draft: None,
        });
        let is_bypassed = plan.when.as_ref().is_some_and(|when| !self.gate(when));
        let request = (&self.request.head, self.lease.filled());
        if is_bypassed || (plan.obeys_clients && wants_fresh(request)) {
            self.note_cache("BYPASS");
            self.cached = Some(cached);
            return None;
        }
        let found = self.find_kept(&mut cached).await;
        match found {
            Ok((kept, status)) => {
                self.note_cache(status);
                let name = plan.entry.name.as_str().as_bytes();
                self.request.scratch.note("cache_hit", b"1");
                self.request.scratch.note("cache_name", name);
                plan.entry.hits.fetch_add(1, Ordering::Relaxed);
                Some(kept)
            }
            Err(status) => {
                plan.entry.misses.fetch_add(1, Ordering::Relaxed);
                self.note_cache(status);
                self.ask_if_changed(&mut cached);
                self.cached = Some(cached);
                None
            }
        }
    }

    /// What is kept with how that is called, or how it is called that the server is asked.
    async fn find_kept(
        &mut self,
        cached: &mut Cached,
    ) -> Result<(Arc<Kept>, &'static str), &'static str> {
        let plan = Arc::clone(&cached.plan);
        let mut has_waited = false;
        loop {
            let now = self.wall_seconds();
            let request = (&self.request.head, self.lease.filled());
            let seen = plan.entry.store.find(&cached.key, request, now);
            let Some(kept) = seen.kept else {
                cached.may_store = seen.uses >= plan.min_uses;
                if !plan.locks || has_waited || !cached.may_store {
                    return Err("MISS");
                }
                match self.turn(cached) {
                    Turn::Ask(ticket) => {
                        cached.ticket = ticket;
                        return Err("MISS");
                    }
                    Turn::Wait(flight) => self.wait_for(&flight, &plan).await,
                }
                // Once: what came may be another variant.
                has_waited = true;
                continue;
            };
            if kept.terms.is_fresh(now) {
                return Ok((kept, "HIT"));
            }
            if has_waited {
                cached.stale = Some(kept);
                return Err("EXPIRED");
            }
            let anyway = plan.use_stale.contains(&StaleWhen::Updating);
            match self.turn(cached) {
                Turn::Ask(ticket) => cached.ticket = ticket,
                Turn::Wait(_) if kept.terms.serves_while_revalidating(now, anyway) => {
                    return Ok((kept, "UPDATING"));
                }
                Turn::Wait(flight) if plan.locks => {
                    self.wait_for(&flight, &plan).await;
                    has_waited = true;
                    continue;
                }
                Turn::Wait(_) => {}
            }
            cached.stale = Some(kept);
            return Err("EXPIRED");
        }
    }

    fn turn(&self, cached: &Cached) -> Turn {
        match cached.plan.entry.begin(&cached.key) {
            Ok(ticket) => Turn::Ask(Some(ticket)),
            Err(flight) => Turn::Wait(flight),
        }
    }

    /// Waits for somebody who asks the server.
    async fn wait_for(&mut self, flight: &Flight, plan: &CachePlan) {
        let now = self.conn.worker.tick();
        self.conn.timer.set_after(now, plan.lock_timeout);
        let conn = &mut *self.conn;
        let mut wait = pin!(flight.wait());
        poll_fn(|cx| match wait.as_mut().poll(cx) {
            Poll::Pending if !conn.timer.poll_expired(cx) => Poll::Pending,
            Poll::Ready(()) | Poll::Pending => Poll::Ready(()),
        })
        .await;
        self.conn.worker.tick();
    }

    /// Asks the server whether what is kept has changed, in place of what the client wants to know.
    fn ask_if_changed(&mut self, cached: &mut Cached) {
        let Some(stale) = &cached.stale else { return };
        let (tag, date) = &stale.validators;
        if !cached.plan.revalidates || (tag.is_none() && date.is_none()) {
            return;
        }
        cached.asks_if_changed = true;
        let (head, buf) = (&self.request.head, self.lease.filled());
        let edits = &mut self.request.edits;
        for name in CONDITIONS {
            let lines = edited_lines(Some(edits), &head.fields, buf, name.as_bytes());
            let lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
            edits.remove(name);
            cached.asked_before.push((name, lines));
        }
        if let Some(tag) = tag {
            edits.set("If-None-Match", tag);
        }
        if let Some(date) = date {
            edits.set("If-Modified-Since", date);
        }
    }

    /// Has nothing to do with the cache any more: what comes is not the answer to what was looked for, and
    /// whoever gives it is asked what the client wanted to know.
    pub(super) fn leave_cache(&mut self) {
        let Some(cached) = self.cached.take() else {
            return;
        };
        let edits = &mut self.request.edits;
        for (name, lines) in cached.asked_before {
            edits.remove(name);
            lines.iter().for_each(|line| edits.add(name, line));
        }
    }

    /// What a server's answer means for the cache: what is kept in its place, where that is so. Else it is
    /// noted whether the answer may be kept itself.
    pub(super) fn in_place_of(&mut self, answer: &Answer) -> Option<Arc<Kept>> {
        let now = self.wall_seconds();
        let mut cached = self.cached.take()?;
        let found = self.judge_answer(&mut cached, answer, now);
        if let Some((kept, status)) = found {
            self.note_cache(status);
            return Some(kept);
        }
        if cached.draft.is_none() {
            // Nobody need wait for what is not kept.
            cached.ticket = None;
        }
        self.cached = Some(cached);
        None
    }

    fn judge_answer(
        &self,
        cached: &mut Cached,
        answer: &Answer,
        now: u64,
    ) -> Option<(Arc<Kept>, &'static str)> {
        let request = (&self.request.head, self.lease.filled());
        let response = (&self.request.response, answer.buffer.filled());
        let (plan, status) = (&cached.plan, self.request.response.status);
        if let Some(stale) = &cached.stale {
            if cached.asks_if_changed && status == 304 {
                let kept = renewed(plan, stale, (request, response), now)?;
                if kept.terms.is_fresh(now) {
                    let store = &plan.entry.store;
                    store.insert(&cached.key, Arc::clone(&kept), request, now);
                }
                return Some((kept, "REVALIDATED"));
            }
            if cached.covers(status, now) {
                return Some((Arc::clone(stale), "STALE"));
            }
        }
        let is_asked = matches!(self.request.head.method, Method::Get | Method::Post);
        let fits = match self.request.response.framing {
            Framing::Length(len) => len <= plan.max_object as u64,
            Framing::None | Framing::Chunked | Framing::UntilClose => true,
        };
        if cached.may_store && is_asked && fits {
            let terms = keep(&plan.rules, request, response, now);
            cached.draft =
                terms.map(|terms| Kept::new(request, response, Arc::from(&b""[..]), terms));
        }
        None
    }

    /// Whether what is kept is given in place of the answer that has come, or renewed by it.
    pub(super) fn is_kept_instead(&self) -> bool {
        let status = self.request.response.status;
        self.cached.as_ref().is_some_and(|cached| {
            (cached.asks_if_changed && status == 304) || cached.covers(status, self.wall_seconds())
        })
    }

    /// What is kept in place of a failure, where that is allowed: of a server, or that there is none to
    /// be asked.
    pub(super) fn stale_for(&mut self, fault: &Fault) -> Option<Arc<Kept>> {
        let lacks_server = fault.side == Side::Local && fault.phase == Phase::Choose;
        if fault.side != Side::Server && !lacks_server {
            return None;
        }
        let now = self.wall_seconds();
        let cached = self.cached.as_ref()?;
        let stale = cached.stale.as_ref()?;
        let covers = cached.plan.covers(fault);
        if !covers && !stale.terms.serves_if_error(now, false) {
            return None;
        }
        let stale = Arc::clone(stale);
        self.cached = None;
        self.note_cache("STALE");
        Some(stale)
    }

    /// How much of the body is to be copied so that it can be kept, once rules have seen its head; none when
    /// it is not to be.
    pub(super) fn copies(&mut self, buf: &[u8]) -> Option<usize> {
        let plan = Arc::clone(&self.cached.as_ref()?.plan);
        self.cached.as_ref()?.draft.as_ref()?;
        let wanted = match &plan.store_when {
            Some(when) => {
                let around = Surroundings {
                    conn: self.conn,
                    plan: &self.plan,
                };
                let view = View {
                    response: Some((&self.request.response, buf)),
                    ..around.view(&self.request.head, self.lease.filled(), self.id)
                };
                when.holds(&view, &mut self.request.scratch)
            }
            None => true,
        };
        if !wanted {
            let cached = self.cached.as_mut()?;
            (cached.draft, cached.ticket) = (None, None);
        }
        wanted.then_some(plan.max_object)
    }

    /// Keeps a response whose body is complete.
    pub(super) fn keep_response(&mut self, pump: &mut Pump) {
        let Some(mut cached) = self.cached.take() else {
            return;
        };
        let (Some(draft), Some(body)) = (cached.draft.take(), pump.take_copy()) else {
            return;
        };
        let kept = Arc::new(draft.with_body(body.into()));
        let now = self.wall_seconds();
        let request = (&self.request.head, self.lease.filled());
        let store = &cached.plan.entry.store;
        store.insert(&cached.key, kept, request, now);
    }

    /// Answers with what is kept.
    pub(super) async fn give(&mut self, kept: Arc<Kept>) -> Result<Next, Stop> {
        let parsed = self
            .request
            .response
            .parse(&kept.head, &limits(), Method::Get);
        if !matches!(parsed, Ok(Progress::Complete)) {
            let fault = self.local_fault(FaultKind::RewriteInvalid, Phase::Deliver);
            return Err(Stop::Fault(fault));
        }
        self.request.response_edits.clear();
        self.respond_rules(&kept.head, None)?;
        let tells_age = self
            .route_plan()
            .cache
            .as_ref()
            .is_some_and(|c| c.tells_age);
        if tells_age {
            let age = kept.terms.age(self.wall_seconds()).to_string();
            self.request.response_edits.set("Age", age.as_bytes());
        }
        let part = self.part(&kept)?;
        let is_head = self.request.head.method == Method::Head;
        let status = self.request.response_edits.status();
        let framing = match part.as_ref().map(|part| part.end - part.start) {
            Some(len) => Framing::Length(len),
            None => Framing::None,
        };
        let filters = match status {
            Some(206 | 304) => None,
            Some(_) | None => {
                self.filters(&kept.head, if is_head { Framing::None } else { framing })
            }
        };
        let keeps = filters.is_none() || self.request.head.version != Version::Http10;
        let keep_alive = keeps && self.keeps_after_reply();
        let framing = match (is_head, filters.is_some(), keeps) {
            (true, ..) => Framing::None,
            (_, false, _) => framing,
            (_, true, true) => Framing::Chunked,
            (_, true, false) => Framing::UntilClose,
        };
        self.status = status.unwrap_or(self.request.response.status);
        let mut out = Vec::with_capacity(kept.head.len() + 256);
        let options = ResponseOptions {
            client_version: self.request.head.version,
            keep_alive,
            framing,
            via: self.plan.listener(self.conn.listener_at).via.as_deref(),
            upgrade: false,
        };
        let (response, edits) = (&self.request.response, &self.request.response_edits);
        encode_response(response, &kept.head, edits, &options, &mut out);
        self.note_sent(&out);
        let pieces = part.filter(|_| !is_head).map(Piece::Part);
        let body = Body::Kept(Arc::clone(&kept.body));
        let sent = self
            .send_file(&out, &body, (pieces.into_iter().collect(), filters))
            .await;
        Ok(self.after_file(sent, out.len(), (keeps, keep_alive)))
    }

    /// Which part of a kept body is sent, by the request's conditions and ranges; none for a head alone. The
    /// head is changed with it.
    fn part(&mut self, kept: &Kept) -> Result<Option<std::ops::Range<u64>>, Stop> {
        let len = kept.body.len() as u64;
        let (status, buf) = (self.request.response.status, self.lease.filled());
        if matches!(status, 204 | 304) {
            return Ok(None);
        }
        let changed = self.request.response_edits.status();
        if status != 200 || changed.is_some() {
            return Ok(Some(0..len));
        }
        let head = &self.request.head;
        let (tag, date) = &kept.validators;
        let tag = tag.as_deref().unwrap_or_default();
        let is_weak = tag.starts_with(b"W/");
        let conditions = Conditions {
            if_match: head.header("if-match", buf),
            if_none_match: head.header("if-none-match", buf),
            if_modified_since: head.header("if-modified-since", buf),
            if_unmodified_since: head.header("if-unmodified-since", buf),
            if_range: head.header("if-range", buf),
        };
        // Compared strongly a weak tag is like no other (RFC 9110 section 8.8.3.2).
        let is_strong = conditions.if_match.is_some() || conditions.if_range.is_some();
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        let tag = Some(tag).filter(|tag| !(tag.is_empty() || is_weak && is_strong));
        let found = Found {
            settings: Arc::new(FileSettings::default()),
            body: Body::Kept(Arc::clone(&kept.body)),
            media_type: String::new(),
            modified: date.as_deref().and_then(seconds),
            etag: tag.map(|tag| String::from_utf8_lossy(tag).into_owned()),
            coding: None,
            varies: false,
        };
        let verdict = conditions.verdict(&found);
        let range = head.header("range", buf);
        let range = range.filter(|_| head.method == Method::Get && conditions.ranges_hold(&found));
        let edits = &mut self.request.response_edits;
        match verdict {
            Verdict::Send => {}
            Verdict::NotModified => {
                edits.set_status(304);
                edits.remove("Content-Length");
                edits.remove("Content-Type");
                return Ok(None);
            }
            Verdict::Failed => {
                return Err(Stop::Reply(LocalReply {
                    status: 412,
                    fault: Some(FaultKind::Denied),
                    ..LocalReply::default()
                }));
            }
        }
        match asked(range, len, 1) {
            Asked::Beyond => {
                let place = format!("bytes */{len}").into_bytes();
                Err(Stop::Reply(LocalReply {
                    status: 416,
                    headers: vec![("Content-Range".to_owned(), place)],
                    fault: Some(FaultKind::Denied),
                    ..LocalReply::default()
                }))
            }
            Asked::Parts(parts) if parts.len() == 1 => {
                let part = parts.into_iter().next().unwrap_or(0..len);
                let place = format!("bytes {}-{}/{len}", part.start, part.end.saturating_sub(1));
                edits.set_status(206);
                edits.set("Content-Range", place.as_bytes());
                Ok(Some(part))
            }
            Asked::Parts(_) | Asked::All => Ok(Some(0..len)),
        }
    }

    fn cache_key(&mut self, plan: &CachePlan) -> Vec<u8> {
        let around = Surroundings {
            conn: self.conn,
            plan: &self.plan,
        };
        let view = View {
            edits: Some(&self.request.edits),
            ..around.view(&self.request.head, self.lease.filled(), self.id)
        };
        let mut key = Vec::with_capacity(128);
        plan.key.write(&view, &mut self.request.scratch, &mut key);
        // HEAD finds what GET has kept; what others get is something else. Where the key itself has the byte
        // before the method, which no field of a request can hold, the method is always there.
        let is_get = matches!(self.request.head.method, Method::Get | Method::Head);
        if !is_get || key.contains(&BEFORE_METHOD) {
            let method = self.request.head.method_text.of(self.lease.filled());
            key.push(BEFORE_METHOD);
            key.extend_from_slice(if is_get { b"GET" } else { method });
        }
        key
    }

    fn gate(&mut self, gate: &clearway_rules::Gate) -> bool {
        let around = Surroundings {
            conn: self.conn,
            plan: &self.plan,
        };
        let view = around.view(&self.request.head, self.lease.filled(), self.id);
        gate.holds(&view, &mut self.request.scratch)
    }

    fn note_cache(&mut self, status: &str) {
        let scratch = &mut self.request.scratch;
        scratch.note("cache_status", status.as_bytes());
    }

    fn wall_seconds(&self) -> u64 {
        clearway_base::clock::wall_of(self.conn.worker.now()) / 1_000_000
    }
}

/// What is kept after the server said that it has not changed.
fn renewed(
    plan: &CachePlan,
    stale: &Kept,
    (request, answer): (clearway_cache::Request<'_>, clearway_cache::Response<'_>),
    now: u64,
) -> Option<Arc<Kept>> {
    let mut old = ResponseHead::default();
    let parsed = old.parse(&stale.head, &limits(), Method::Get);
    if !matches!(parsed, Ok(Progress::Complete)) {
        return None;
    }
    let mut kept = stale.refreshed((&old, &stale.head), answer, Terms::default());
    let mut head = ResponseHead::default();
    if matches!(
        head.parse(&kept.head, &limits(), Method::Get),
        Ok(Progress::Complete)
    ) {
        let terms = keep(&plan.rules, request, (&head, &kept.head), now);
        kept.terms = terms.unwrap_or_default();
    }
    // Its head is without the age, which is that of the answer.
    let age = age_of(&plan.rules, answer);
    kept.terms = kept.terms.aged(age, now);
    Some(Arc::new(kept))
}
