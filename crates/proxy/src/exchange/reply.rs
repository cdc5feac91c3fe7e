//! Replies of our own: for faults, and for rules that answer by themselves.

use std::rc::Rc;

use clearway_http::{Framing, Method, Reply, reason, write_reply};
use clearway_outcome::{Fault, FaultKind, Phase, RequestId};
use clearway_rules::ast::StatusPage;
use clearway_rules::table;
use clearway_rules::{BodyWait, LocalReply};
use clearway_telemetry::proxy_status;

use super::{Exchange, Next, Stop};
use crate::plan::ErrorPage;
use crate::status::Posted;

/// What a reply says about the connection and the request.
pub(crate) struct ReplyOptions<'a> {
    pub(crate) status: u16,
    pub(crate) fault: Option<Fault>,
    pub(crate) id: RequestId,
    pub(crate) page: Option<&'a ErrorPage>,
    pub(crate) keep_alive: bool,
    pub(crate) head_only: bool,
    /// Headers that belong to the status.
    pub(crate) headers: &'a [(String, Vec<u8>)],
    /// Status the server sent, when it sent one.
    pub(crate) received: u16,
    pub(crate) transport_security: Option<&'a str>,
}

/// Encodes the reply for a fault: status, `Proxy-Status` (RFC 9209), request id, a short text.
pub(crate) fn encode_fault(options: &ReplyOptions<'_>, date: &[u8; 29], out: &mut Vec<u8>) {
    let id = options.id.text();
    let mut proxy_status = Vec::with_capacity(64);
    if let Some(fault) = options.fault {
        proxy_status::write(&fault, options.received, &mut proxy_status);
    }
    let code = options.fault.map_or("", |fault| fault.kind.code());
    let text;
    let page = options.page.and_then(|page| {
        let body = page.body.as_deref()?;
        Some((body, page.content_type.as_bytes()))
    });
    let (body, content_type): (&[u8], &[u8]) = match page {
        Some(page) => page,
        None => {
            text = format!(
                "{} {}\n{code}\nrequest id {}\n",
                options.status,
                reason(options.status),
                options.id
            );
            (text.as_bytes(), b"text/plain; charset=utf-8")
        }
    };
    let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(8);
    if !content_type.is_empty() && !body.is_empty() {
        headers.push(("Content-Type", content_type));
    }
    if !proxy_status.is_empty() {
        headers.push(("Proxy-Status", &proxy_status));
    }
    headers.push(("X-Request-Id", &id));
    let own = options.headers.iter();
    headers.extend(own.map(|(name, value)| (name.as_str(), value.as_slice())));
    headers.extend(transport_security(options.transport_security));
    let reply = Reply {
        status: options.status,
        headers: &headers,
        body,
        keep_alive: options.keep_alive,
        head_only: options.head_only,
    };
    write_reply(&reply, date, out);
}

fn transport_security(value: Option<&str>) -> Option<(&str, &[u8])> {
    value.map(|value| ("Strict-Transport-Security", value.as_bytes()))
}

/// The body of a reply.
fn body_of(reply: &[u8]) -> &[u8] {
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n");
    end.and_then(|end| reply.get(end + 4..)).unwrap_or_default()
}

impl Exchange<'_> {
    /// The status that a fault is answered with.
    pub(super) fn status_of(&self, fault: &Fault) -> u16 {
        let status = fault.kind.status();
        let listener = self.plan.listener(self.conn.listener_at);
        let page = listener.errors.for_fault(fault.kind, status);
        page.and_then(|page| page.status).unwrap_or(status)
    }

    /// Answers a fault with its status, unless nothing can be sent.
    pub(super) async fn reply_fault(&mut self, fault: Fault) -> Next {
        self.fault = Some(fault);
        let status = fault.kind.status();
        if status == 0 || fault.kind.is_client_abort() {
            return Next::Abort;
        }
        self.reply_page(fault, status, &[]).await
    }

    /// Answers a fault with `status`: with the page for it, or a short text.
    async fn reply_page(
        &mut self,
        fault: Fault,
        status: u16,
        headers: &[(String, Vec<u8>)],
    ) -> Next {
        let received = self
            .request
            .attempts
            .last()
            .map_or(0, |attempt| attempt.status);
        let worker = Rc::clone(&self.conn.worker);
        let keep_alive = self.keeps_after_status(status);
        if self.is_grpc() {
            // A client of gRPC makes nothing of pages.
            self.status = 200;
            let out = self.encode_grpc_fault(&fault, status);
            return self.send_reply(&out, keep_alive).await;
        }
        let mut out = Vec::new();
        {
            let plan = Rc::clone(&self.plan);
            let listener = plan.listener(self.conn.listener_at);
            let found = self.own_page(Some(fault.kind), status);
            if found.as_ref().is_some_and(|found| found.page.drop) {
                return Next::Abort;
            }
            let page = found.as_ref().map(|found| &*found.page);
            let own = found.as_ref().map_or(&[][..], |found| &found.headers);
            let headers = [headers, own].concat();
            let options = ReplyOptions {
                status: page.and_then(|p| p.status).unwrap_or(status),
                fault: Some(fault),
                id: self.id,
                page,
                keep_alive,
                head_only: self.request.head.method == Method::Head,
                headers: &headers,
                received,
                transport_security: listener.transport_security.as_deref(),
            };
            self.status = options.status;
            let mut date = worker.date.borrow_mut();
            encode_fault(
                &options,
                date.at(clearway_base::clock::wall_of(worker.now())),
                &mut out,
            );
        }
        self.send_reply(&out, keep_alive).await
    }

    /// Writes the answer of a rule.
    pub(super) async fn reply_local(&mut self, reply: &LocalReply) -> Next {
        if let Some(kind) = reply.fault {
            self.fault = Some(self.local_fault(kind, Phase::Admit));
            // What is denied is the client's fault.
            self.count_event(table::Event::Error);
            if reply.body.is_empty() {
                return self
                    .reply_page(
                        self.local_fault(kind, Phase::Admit),
                        reply.status,
                        &reply.headers,
                    )
                    .await;
            }
        }
        let page = reply.page.then(|| self.status_page(reply.status));
        if page.as_ref().is_some_and(|page| page.drop) {
            return Next::Abort;
        }
        let status = page.as_ref().map_or(reply.status, |page| page.status);
        self.status = status;
        let keep_alive = self.keeps_after_status(status);
        let worker = Rc::clone(&self.conn.worker);
        let mut out = Vec::new();
        {
            let id = self.id.text();
            let mut proxy_status = Vec::new();
            let listener = self.plan.listener(self.conn.listener_at);
            let of_page = page.iter().flat_map(|page| &page.headers);
            let mut headers: Vec<(&str, &[u8])> = reply
                .headers
                .iter()
                .chain(of_page)
                .map(|(n, v)| (n.as_str(), v.as_slice()))
                .collect();
            if let Some(fault) = &self.fault {
                proxy_status::write(fault, 0, &mut proxy_status);
                headers.push(("Proxy-Status", &proxy_status));
                headers.push(("X-Request-Id", &id));
            }
            if let Some(page) = page.as_ref().filter(|page| !page.body.is_empty()) {
                headers.push(("Content-Type", page.content_type.as_bytes()));
            }
            let own = transport_security(listener.transport_security.as_deref());
            let is_written = |(name, _): &(&str, &[u8])| {
                headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
            };
            if let Some(own) = own.filter(|own| !is_written(own)) {
                headers.push(own);
            }
            let mut date = worker.date.borrow_mut();
            let reply = Reply {
                status,
                headers: &headers,
                body: page.as_ref().map_or(&reply.body, |page| &page.body),
                keep_alive,
                head_only: self.request.head.method == Method::Head,
            };
            write_reply(
                &reply,
                date.at(clearway_base::clock::wall_of(worker.now())),
                &mut out,
            );
        }
        self.send_reply(&out, keep_alive).await
    }

    /// Answers with the page of statistics, which whoever keeps them renders.
    pub(super) async fn reply_status(&mut self, page: &StatusPage) -> Next {
        let statistics = self.plan.plan.statistics.clone();
        let Some(statistics) = statistics else {
            let fault = self.local_fault(FaultKind::NoRoute, Phase::Admit);
            return self.reply_fault(fault).await;
        };
        let target = self.request.head.target.of(self.lease.filled()).to_vec();
        let is_form = self.request.head.method == Method::Post && !page.counters;
        let reply = if is_form {
            // Boxed: hardly any request needs the room for it.
            match Box::pin(self.posted(page)).await {
                Ok(form) => statistics.posted(page, &target, form).await,
                Err(Stop::Fault(fault)) => return self.reply_fault(fault).await,
                Err(_) => return Next::Abort,
            }
        } else {
            statistics.page(page, &target).await
        };
        self.conn.worker.tick();
        self.reply_local(&reply).await
    }

    /// What was sent to a page on which something can be changed.
    async fn posted(&mut self, page: &StatusPage) -> Result<Posted, Stop> {
        let buf = self.lease.filled();
        if self.request.head.header("sec-fetch-site", buf) == Some(b"cross-site") {
            return Ok(Posted::Foreign);
        }
        if !page.admin {
            return Ok(Posted::Form(Vec::new()));
        }
        let wait = BodyWait {
            time: self.route_plan().timeouts.request_body,
            from_start: false,
            at_least: 0,
        };
        self.read_body(wait).await?;
        let came = self.lease.filled().get(self.request.head.len..);
        let came = came.unwrap_or_default();
        let form = match self.request.head.framing {
            Framing::None => Vec::new(),
            Framing::Length(length) => {
                let end = usize::try_from(length).unwrap_or(usize::MAX);
                match came.get(..end) {
                    Some(form) => form.to_vec(),
                    None => return Ok(Posted::TooLong),
                }
            }
            Framing::Chunked | Framing::UntilClose => return Ok(Posted::TooLong),
        };
        Ok(Posted::Form(form))
    }

    async fn send_reply(&mut self, out: &[u8], keep_alive: bool) -> Next {
        let dressed = self.dressed(out, keep_alive);
        let out = dressed.as_deref().unwrap_or(out);
        let coded = match self.route_plan().body {
            Some(_) => self.coded(out, keep_alive),
            None => None,
        };
        let out = coded.as_deref().unwrap_or(out);
        let now = self.conn.worker.now();
        self.note_own(out);
        let limit = self.route_plan().timeouts.client_write;
        self.conn.timer.set_after(now, limit);
        let written = self.conn.write_all(out).await;
        self.conn.worker.tick();
        self.bytes_out += out.len() as u64;
        self.body_out = body_of(out).len() as u64;
        if let Err(kind) = written {
            // The failure that led here stays the fault of the request.
            let gone = self.client_fault(kind, Phase::Deliver);
            self.fault.get_or_insert(gone);
            return Next::Abort;
        }
        if !keep_alive {
            return Next::Linger;
        }
        self.keep_alive_after(self.request_len())
    }

    /// Whether the connection goes on after a reply with a status.
    fn keeps_after_status(&self, status: u16) -> bool {
        let listener = self.plan.listener(self.conn.listener_at);
        self.keeps_after_reply() && !listener.close_after.contains(&status)
    }

    /// Whether the connection can go on after a reply: only if the whole request is in the buffer.
    pub(super) fn keeps_after_reply(&self) -> bool {
        self.request.head.keep_alive
            && !self.closes()
            && !self.conn.half_closed
            && !self.conn.is_leaving()
            && self.upload_read == 0
            && self.lease.len() >= self.request_len()
            && !matches!(self.request.head.framing, Framing::Chunked)
    }

    /// Length of head and body, where the head tells.
    pub(super) fn request_len(&self) -> usize {
        let body = match self.request.head.framing {
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::None | Framing::Chunked | Framing::UntilClose => 0,
        };
        self.request.head.len.saturating_add(body)
    }
}
