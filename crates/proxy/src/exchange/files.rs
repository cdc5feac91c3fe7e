//! Answers from files: looked for when rules ask for them, sent with bounded memory at the client's pace.

use std::future::poll_fn;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_http::{
    Framing, HeadLimits, Method, Progress, ResponseOptions, Version, encode_response, reason, uri,
};
use clearway_outcome::{FaultKind, Phase};
use clearway_rules::{Flow, LocalReply, View, Wanted};
use clearway_telemetry::proxy_status;

use super::around::Surroundings;
use super::{Admission, Exchange, Next, Stop};
use crate::body::Filters;
use crate::files::condition::{Conditions, Verdict};
use crate::files::look::{Look, look};
use crate::files::range::{Asked, asked};
use crate::files::{Body, Found, http_date};

/// A piece of a body.
pub(super) enum Piece {
    /// Bytes of our own.
    Text(Vec<u8>),
    /// Bytes of the file, or of the text in its place.
    Part(Range<u64>),
}

/// A response before rules have seen it.
struct Draft {
    status: u16,
    /// The lines of the head that are about the file.
    fields: Vec<(&'static str, Vec<u8>)>,
    pieces: Vec<Piece>,
    /// Whether it stands for an error: what it says is sent whatever the status.
    is_page: bool,
    /// Length of all pieces; none for a status that has no body.
    len: Option<u64>,
}

/// Why a body ended before its end.
pub(super) enum Cut {
    Client(FaultKind),
    /// The file became shorter, or could not be read.
    File,
}

impl Exchange<'_> {
    /// Looks for what rules want: a request goes on with a file, with a reply, or to another route.
    pub(super) fn look_for(&mut self, wanted: &Wanted) -> Result<Admission, Stop> {
        let method = self.request.head.method;
        // Who sent something that failed is told why with what others read.
        let reads = matches!(method, Method::Get | Method::Head) || self.instead.is_some();
        let accept = self
            .request
            .head
            .header("accept-encoding", self.lease.filled());
        match look(wanted, accept.unwrap_or_default()) {
            Look::Elsewhere(to) => {
                let (scratch, edits) = (&mut self.request.scratch, &mut self.request.edits);
                if scratch.send_elsewhere(&to, edits) {
                    return Ok(Admission::Elsewhere);
                }
                let fault = self.local_fault(FaultKind::RewriteInvalid, Phase::Route);
                Err(Stop::Fault(fault))
            }
            // What cannot be done with files is told before whether there is one, but for POST.
            Look::Found(_) | Look::Folder(_) if !reads => Err(not_allowed()),
            Look::Status(400..) if !reads && method != Method::Post => Err(not_allowed()),
            Look::Found(found) => Err(Stop::File(found)),
            Look::Folder(path) => Err(Stop::Reply(self.to_folder(wanted, path))),
            Look::Status(status) => Err(Stop::Reply(refusal(status, Vec::new()))),
        }
    }

    /// The redirection to the path of a folder with its slash.
    fn to_folder(&self, wanted: &Wanted, mut path: Vec<u8>) -> LocalReply {
        if let Some(query) = &wanted.query {
            path.push(b'?');
            path.extend_from_slice(query);
        }
        // Two slashes at the begin would name a host.
        let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
        path.drain(..slashes.saturating_sub(1));
        let host = self.request.head.host.of(self.lease.filled());
        if wanted.settings.absolute_redirects && !host.is_empty() {
            let scheme = self.conn.scheme();
            let usual = if scheme == "https" { 443 } else { 80 };
            let port = self.conn.port().filter(|port| *port != usual);
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let host = uri::without_port(host);
            path = [scheme.as_bytes(), b"://", host, port.as_bytes(), &path].concat();
        }
        LocalReply {
            status: 301,
            headers: vec![("Location".to_owned(), path)],
            ..LocalReply::default()
        }
    }

    /// Answers with a file.
    pub(super) async fn serve(&mut self, found: Found) -> Next {
        let draft = self.draft(&found);
        if let Some(reply) = draft.refused(&found) {
            return self.reply_local(&reply).await;
        }
        let head = match self.file_head(&draft) {
            Ok(head) => head,
            Err(Stop::Reply(reply)) => return self.reply_local(&reply).await,
            Err(Stop::Page(page)) => return self.reply_status(&page).await,
            Err(Stop::Fault(fault)) => return self.reply_fault(fault).await,
            Err(Stop::Cut(fault)) => {
                self.fault = Some(fault);
                return Next::Abort;
            }
            Err(Stop::File(_) | Stop::Body(_) | Stop::Ask(_)) => return Next::Abort,
        };
        let framing = draft.len.map_or(Framing::None, Framing::Length);
        let filters = self.filters(&head, framing);
        let keeps = filters.is_none() || self.request.head.version != Version::Http10;
        let keep_alive = keeps && self.keeps_after_reply();
        let framing = match (self.request.head.method, &filters, keeps) {
            (Method::Head, ..) => Framing::None,
            (_, None, _) => framing,
            (_, Some(_), true) => Framing::Chunked,
            (_, Some(_), false) => Framing::UntilClose,
        };
        let out = self.encode_file_head(framing, &head, keep_alive);
        self.status = self.request.response_edits.status().unwrap_or(draft.status);
        let is_read = self.request.head.method != Method::Head;
        let pieces = if is_read { draft.pieces } else { Vec::new() };
        let sent = self.send_file(&out, &found.body, (pieces, filters)).await;
        self.after_file(sent, out.len(), (keeps, keep_alive))
    }

    /// What comes after a body of our own, whose head was so long: whether the connection could be kept with it,
    /// and whether it is.
    pub(super) fn after_file(
        &mut self,
        sent: Result<(), Cut>,
        head_len: usize,
        (keeps, keep_alive): (bool, bool),
    ) -> Next {
        self.conn.worker.tick();
        self.body_out = self.bytes_out.saturating_sub(head_len as u64);
        match sent {
            Ok(()) if keep_alive => self.keep_alive_after(self.request_len()),
            // The end of the connection is that of the body.
            Ok(()) if !keeps => Next::Close,
            Ok(()) => Next::Linger,
            Err(cut) => {
                let fault = match cut {
                    Cut::Client(kind) => self.or_total(self.client_fault(kind, Phase::Deliver)),
                    Cut::File => self.local_fault(FaultKind::ResponseBodyShort, Phase::Deliver),
                };
                self.fault = Some(fault);
                Next::Abort
            }
        }
    }

    /// What is to be sent, by the request's conditions and ranges.
    fn draft(&self, found: &Found) -> Draft {
        let (head, buf) = (&self.request.head, self.lease.filled());
        let conditions = Conditions {
            if_match: head.header("if-match", buf),
            if_none_match: head.header("if-none-match", buf),
            if_modified_since: head.header("if-modified-since", buf),
            if_unmodified_since: head.header("if-unmodified-since", buf),
            if_range: head.header("if-range", buf),
        };
        let len = found.body.len();
        let mut draft = Draft {
            status: 200,
            fields: Vec::new(),
            pieces: vec![Piece::Part(0..len)],
            is_page: self.instead.is_some(),
            len: Some(len),
        };
        if let Some(instead) = self.instead {
            draft.status = instead.send.unwrap_or(200);
            draft.explained(self);
        }
        match conditions.verdict(found) {
            _ if self.instead.is_some() => {}
            Verdict::Send => {}
            Verdict::Failed => draft.status = 412,
            Verdict::NotModified => {
                (draft.status, draft.len) = (304, None);
                draft.pieces.clear();
            }
        }
        let range = head.header("range", buf);
        let is_whole = draft.status != 200
            || self.instead.is_some()
            || found.coding.is_some()
            || matches!(found.body, Body::Text(_));
        if !is_whole && conditions.ranges_hold(found) {
            let max = found.settings.ranges_max;
            draft.take(asked(range, len, max), found, &self.id.text());
        }
        if draft.status != 206 {
            draft.typed(found);
        }
        let is_itself = matches!(draft.status, 200 | 206 | 304);
        if let Some(time) = found.modified.filter(|_| is_itself) {
            draft.field("Last-Modified", &http_date(time));
        }
        if let Some(etag) = &found.etag {
            draft.field("ETag", etag.as_bytes());
        }
        if let Some(coding) = found.coding.filter(|_| draft.status != 304) {
            draft.field("Content-Encoding", coding.as_bytes());
        }
        if found.varies {
            draft.field("Vary", b"Accept-Encoding");
        }
        let is_file = matches!(found.body, Body::File(..));
        let is_coded = found.coding.is_some();
        if draft.status == 200 && found.settings.ranges_max > 0 && is_file && !is_coded {
            draft.field("Accept-Ranges", b"bytes");
        }
        draft
    }

    /// The head as rules see it; they have seen it afterwards.
    fn file_head(&mut self, draft: &Draft) -> Result<Vec<u8>, Stop> {
        let worker = Rc::clone(&self.conn.worker);
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nServer: clearway\r\nDate: ",
            draft.status,
            reason(draft.status)
        )
        .into_bytes();
        {
            let now = clearway_base::clock::wall_of(worker.now());
            head.extend_from_slice(worker.date.borrow_mut().at(now));
        }
        for (name, value) in &draft.fields {
            head.extend_from_slice(b"\r\n");
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
        }
        if let Some(len) = draft.len {
            head.extend_from_slice(format!("\r\nContent-Length: {len}").as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
        let method = self.request.head.method;
        let parsed = self
            .request
            .response
            .parse(&head, &HeadLimits::default(), method);
        if !matches!(parsed, Ok(Progress::Complete)) {
            let fault = self.local_fault(FaultKind::RewriteInvalid, Phase::Deliver);
            return Err(Stop::Fault(fault));
        }
        self.file_rules(&head)?;
        Ok(head)
    }

    /// Applies the rules for responses of listener and route.
    fn file_rules(&mut self, head: &[u8]) -> Result<(), Stop> {
        let plan = Rc::clone(&self.plan);
        let listener = plan.listener(self.conn.listener_at);
        let of_route = self
            .route
            .and_then(|at| plan.route(at.listener, at.route).program.as_ref());
        let programs = [listener.program.as_ref(), of_route];
        for program in programs.into_iter().flatten() {
            if !program.has_response_rules() {
                continue;
            }
            let around = Surroundings {
                conn: self.conn,
                plan: &plan,
            };
            let view = View {
                response: Some((&self.request.response, head)),
                ..around.view(&self.request.head, self.lease.filled(), self.id)
            };
            let (scratch, edits) = (&mut self.request.scratch, &mut self.request.response_edits);
            match program.run_response(&view, scratch, edits) {
                Flow::Continue
                | Flow::Finish
                | Flow::Reroute
                | Flow::ReadBody(_)
                | Flow::Ask(_)
                | Flow::Files(_) => {}
                Flow::Reply(reply) => return Err(Stop::Reply(reply)),
                Flow::Page(page) => return Err(Stop::Page(page)),
                Flow::Drop => {
                    return Err(Stop::Cut(
                        self.local_fault(FaultKind::Denied, Phase::Deliver),
                    ));
                }
            }
        }
        if let Some(own) = &listener.transport_security
            && !self
                .request
                .response_edits
                .written()
                .any(|(name, _)| name.eq_ignore_ascii_case(b"strict-transport-security"))
        {
            let edits = &mut self.request.response_edits;
            edits.add("Strict-Transport-Security", own.as_bytes());
        }
        Ok(())
    }

    fn encode_file_head(&mut self, framing: Framing, head: &[u8], keep_alive: bool) -> Vec<u8> {
        let options = ResponseOptions {
            client_version: self.request.head.version,
            keep_alive,
            framing,
            via: None,
            upgrade: false,
        };
        let mut out = Vec::with_capacity(512);
        let (response, edits) = (&self.request.response, &self.request.response_edits);
        encode_response(response, head, edits, &options, &mut out);
        self.note_own(&out);
        out
    }

    /// Sends a head and what stands behind it, one buffer at a time. Others have their turn between two of
    /// them: the disk would else be waited for by all.
    pub(super) async fn send_file(
        &mut self,
        head: &[u8],
        body: &Body,
        (pieces, filters): (Vec<Piece>, Option<Box<Filters>>),
    ) -> Result<(), Cut> {
        self.begin_pace();
        if let Some(filters) = filters {
            return self.send_filtered(head, body, (pieces, filters)).await;
        }
        let worker = Rc::clone(&self.conn.worker);
        let mut buffer = worker.large.lease();
        let mut owed = vec![Source::Bytes(head, 0)];
        owed.extend(pieces.iter().map(|piece| piece.source(body)));
        let mut owed = owed.into_iter();
        let mut next = owed.next();
        while let Some(source) = &mut next {
            let is_empty = source.fill(&mut buffer).map_err(|_| Cut::File)?;
            if is_empty {
                next = owed.next();
                if next.is_some() && !buffer.is_full() {
                    continue;
                }
            }
            self.send_bytes(buffer.filled())
                .await
                .map_err(Cut::Client)?;
            let sent = buffer.len();
            buffer.consume(sent);
            if next.is_some() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The same for a body that goes through filters: in chunks, or to the end of the connection.
    async fn send_filtered(
        &mut self,
        head: &[u8],
        body: &Body,
        (pieces, mut filters): (Vec<Piece>, Box<Filters>),
    ) -> Result<(), Cut> {
        let worker = Rc::clone(&self.conn.worker);
        let mut buffer = worker.large.lease();
        let in_chunks = self.request.head.version == Version::Http11;
        let mut out = head.to_vec();
        let mut through = Vec::new();
        for mut source in pieces.iter().map(|piece| piece.source(body)) {
            let mut is_empty = false;
            while !is_empty {
                is_empty = source.fill(&mut buffer).map_err(|_| Cut::File)?;
                while !buffer.is_empty() || filters.has_more() {
                    let pushed = filters.push(buffer.filled(), &mut through);
                    buffer.consume(pushed.map_err(|_| Cut::File)?);
                }
                frame(&mut through, in_chunks, &mut out);
                self.send_bytes(&out).await.map_err(Cut::Client)?;
                out.clear();
                tokio::task::yield_now().await;
            }
        }
        filters.finish(&mut through).map_err(|_| Cut::File)?;
        frame(&mut through, in_chunks, &mut out);
        if in_chunks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.send_bytes(&out).await.map_err(Cut::Client)?;
        match self.conn.stream.h2_mut() {
            Some(stream) => stream
                .finish(&[])
                .map_err(|_| Cut::Client(FaultKind::ClientReset)),
            None => Ok(()),
        }
    }

    /// Writes bytes; the time-out begins anew whenever the client has taken some.
    async fn send_bytes(&mut self, mut data: &[u8]) -> Result<(), FaultKind> {
        let limit = self.route_plan().timeouts.client_write;
        while !data.is_empty() {
            let room = self.room_for(data.len()).await?;
            let part = data.get(..room).unwrap_or(data);
            let now = self.conn.worker.tick();
            self.conn.timer.set_after(now, limit);
            let conn = &mut *self.conn;
            let count = poll_fn(|cx| match conn.stream.poll_write(cx, part) {
                Poll::Ready(Ok(count)) if count > 0 => Poll::Ready(Ok(count)),
                Poll::Ready(_) => Poll::Ready(Err(FaultKind::ClientReset)),
                Poll::Pending if conn.timer.poll_expired(cx) => {
                    Poll::Ready(Err(FaultKind::ClientNotReading))
                }
                Poll::Pending => Poll::Pending,
            })
            .await?;
            self.went(count);
            self.bytes_out += count as u64;
            data = data.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Moves bytes to what is sent, as a chunk where chunks are.
fn frame(bytes: &mut Vec<u8>, in_chunks: bool, out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    if in_chunks {
        clearway_http::write_chunk_header(bytes.len(), out);
    }
    out.append(bytes);
    if in_chunks {
        out.extend_from_slice(b"\r\n");
    }
}

fn part_of<'a>(bytes: &'a [u8], range: &Range<u64>) -> Source<'a> {
    let at = |place| {
        usize::try_from(place)
            .unwrap_or(usize::MAX)
            .min(bytes.len())
    };
    let part = bytes.get(at(range.start)..at(range.end));
    Source::Bytes(part.unwrap_or_default(), 0)
}

impl Piece {
    fn source<'a>(&'a self, body: &'a Body) -> Source<'a> {
        match (self, body) {
            (Self::Text(text), _) => Source::Bytes(text, 0),
            (Self::Part(range), Body::File(file, _)) => Source::File(file, range.clone()),
            (Self::Part(range), Body::Text(text)) => part_of(text, range),
            (Self::Part(range), Body::Kept(bytes)) => part_of(bytes, range),
        }
    }
}

/// Where the next bytes come from.
enum Source<'a> {
    /// These, from a place on.
    Bytes(&'a [u8], usize),
    /// A part of a file.
    File(&'a std::fs::File, Range<u64>),
}

impl Source<'_> {
    /// Puts as much into the buffer as it takes; whether nothing is left.
    fn fill(&mut self, buffer: &mut Lease) -> std::io::Result<bool> {
        match self {
            Self::Bytes(bytes, at) => {
                *at += buffer.append(bytes.get(*at..).unwrap_or_default());
                Ok(*at >= bytes.len())
            }
            Self::File(file, range) => {
                while range.start < range.end && !buffer.is_full() {
                    let room = buffer.spare();
                    let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                    let count = room.len().min(left);
                    let Some(room) = room.get_mut(..count) else {
                        break;
                    };
                    let read = match file.read_at(room, range.start) {
                        Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                        Ok(read) => read,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(error),
                    };
                    buffer.advance(read);
                    range.start += read as u64;
                }
                Ok(range.start >= range.end)
            }
        }
    }
}

impl Draft {
    fn field(&mut self, name: &'static str, value: &[u8]) {
        self.fields.push((name, value.to_vec()));
    }

    fn typed(&mut self, found: &Found) {
        if self.status != 304 && !found.media_type.is_empty() {
            self.field("Content-Type", found.media_type.as_bytes());
        }
    }

    /// Takes the parts that are asked for.
    fn take(&mut self, asked: Asked, found: &Found, id: &[u8]) {
        let len = found.body.len();
        let parts = match asked {
            Asked::All => return,
            Asked::Beyond => {
                self.status = 416;
                return;
            }
            Asked::Parts(parts) => parts,
        };
        self.status = 206;
        let place = |part: &Range<u64>| {
            format!("bytes {}-{}/{len}", part.start, part.end.saturating_sub(1))
        };
        if let [part] = parts.as_slice() {
            self.typed(found);
            self.field("Content-Range", place(part).as_bytes());
            self.len = Some(part.end - part.start);
            self.pieces = vec![Piece::Part(part.clone())];
            return;
        }
        let boundary = String::from_utf8_lossy(id);
        let media_type = format!("multipart/byteranges; boundary={boundary}");
        self.field("Content-Type", media_type.as_bytes());
        self.pieces.clear();
        let mut total = 0;
        for part in parts {
            let mut lines = format!("\r\n--{boundary}\r\n");
            if !found.media_type.is_empty() {
                lines.push_str(&format!("Content-Type: {}\r\n", found.media_type));
            }
            lines.push_str(&format!("Content-Range: {}\r\n\r\n", place(&part)));
            total += lines.len() as u64 + (part.end - part.start);
            self.pieces.push(Piece::Text(lines.into_bytes()));
            self.pieces.push(Piece::Part(part));
        }
        let end = format!("\r\n--{boundary}--\r\n");
        total += end.len() as u64;
        self.pieces.push(Piece::Text(end.into_bytes()));
        self.len = Some(total);
    }

    /// Says of which failure this is the answer.
    fn explained(&mut self, exchange: &Exchange<'_>) {
        let Some(fault) = &exchange.fault else { return };
        let received = exchange.request.attempts.last();
        let received = received.map_or(0, |attempt| attempt.status);
        let mut text = Vec::new();
        proxy_status::write(fault, received, &mut text);
        self.field("Proxy-Status", &text);
        self.field("X-Request-Id", &exchange.id.text());
    }

    /// The refusal, where nothing of the file is sent.
    fn refused(&self, found: &Found) -> Option<LocalReply> {
        match self.status {
            _ if self.is_page => None,
            412 => Some(refusal(412, Vec::new())),
            416 => {
                let range = format!("bytes */{}", found.body.len()).into_bytes();
                Some(refusal(416, vec![("Content-Range".to_owned(), range)]))
            }
            _ => None,
        }
    }
}

fn not_allowed() -> Stop {
    Stop::Reply(refusal(
        405,
        vec![("Allow".to_owned(), b"GET, HEAD".to_vec())],
    ))
}

/// An answer without a file.
fn refusal(status: u16, headers: Vec<(String, Vec<u8>)>) -> LocalReply {
    let fault = match status {
        404 => Some(FaultKind::NoRoute),
        400.. => Some(FaultKind::Denied),
        _ => None,
    };
    LocalReply {
        status,
        headers,
        fault,
        ..LocalReply::default()
    }
}
