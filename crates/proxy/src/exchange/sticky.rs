//! The cookie that ties a client to its server: what it says, what servers see of it, how it is set.

use clearway_balance::sticky::{Brought, OfServer, Sticky};
use clearway_base::clock;
use clearway_http::{Method, edited_lines};
use clearway_rules::ast::Persist;

use super::Exchange;
use super::talk::Answer;
use crate::local::LocalBackend;

impl Exchange<'_> {
    /// What the client's cookie says.
    fn brought(&self, sticky: &Sticky) -> Brought {
        let head = &self.request.head;
        let cookie = head.cookie(sticky.name().as_bytes(), self.lease.filled());
        cookie.map_or_else(Brought::default, |cookie| {
            sticky.read(cookie, clock::wall_seconds())
        })
    }

    /// The member that the client's cookie names, if it may serve it and was not tried yet.
    pub(super) fn sticky_member(&self, backend: &LocalBackend) -> Option<usize> {
        let sticky = backend.plan.sticky.as_ref()?;
        let member = self.brought(sticky).server?;
        self.persists(backend, member).then_some(member)
    }

    /// The member that a table has for the request, if it may serve it and was not tried yet.
    pub(super) fn stuck_member(&self, backend: &LocalBackend) -> Option<usize> {
        let name = self.request.scratch.stuck_to()?;
        let mut servers = backend.servers.iter();
        let member = servers.position(|server| server.plan.name == name)?;
        self.persists(backend, member).then_some(member)
    }

    /// Whether a request goes to the member that its client sticks to.
    fn persists(&self, backend: &LocalBackend, member: usize) -> bool {
        let fits = match self.request.scratch.persist() {
            Some(Persist::Ignore) => return false,
            Some(Persist::Force) => true,
            None => backend.plan.config.persist || backend.takes_sticky(member),
        };
        fits && !self.request.tried.contains(&member)
    }

    /// Takes what is ours out of the cookies that the server sees.
    pub(super) fn cookie_for_server(&mut self, backend: &LocalBackend) {
        use clearway_balance::sticky::Mode;
        let Some(sticky) = &backend.plan.sticky else {
            return;
        };
        let policy = sticky.policy();
        if !policy.hidden && policy.mode != Mode::Prefix {
            return;
        }
        let name = sticky.name();
        let (head, buf) = (&self.request.head, self.lease.filled());
        let edits = Some(&self.request.edits);
        let lines = edited_lines(edits, &head.fields, buf, b"cookie");
        let pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
        let pairs = pairs.map(<[u8]>::trim_ascii);
        let own = |pair: &'_ [u8]| {
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(pair.len() - value.len())
        };
        if pairs.clone().all(|pair| own(pair).is_none()) {
            return;
        }
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for pair in pairs {
            match own(pair).and_then(|at| pair.get(at..)) {
                None => kept.push(pair.to_vec()),
                Some(value) if policy.mode == Mode::Prefix => {
                    let value = sticky.for_server(value);
                    kept.push([name.as_bytes(), b"=", value].concat());
                }
                Some(_) => {}
            }
        }
        if kept.is_empty() {
            self.request.edits.remove("Cookie");
        } else {
            self.request.edits.set("Cookie", &kept.join(&b"; "[..]));
        }
    }

    /// Ties the client to the member that has answered, as the backend's cookie is to be set.
    pub(super) fn cookie_for_client(&mut self, answer: &Answer) {
        use clearway_balance::sticky::Mode;
        let Some(backend) = self.backend.clone() else {
            return;
        };
        let Some(sticky) = &backend.plan.sticky else {
            return;
        };
        let (policy, member) = (sticky.policy(), answer.member);
        let is_direct = self.stick_to != Some(member);
        let is_servers = self.cookie_of_server(sticky, answer, is_direct);
        if policy.mode != Mode::Insert || (is_servers && policy.preserve) {
            return;
        }
        if self.request.scratch.persist() == Some(Persist::Ignore)
            || (policy.post_only && self.request.head.method != Method::Post)
        {
            return;
        }
        let has_times = policy.max_idle.is_some() || policy.max_life.is_some();
        let now = clock::wall_seconds();
        let brought = match has_times {
            true => self.brought(sticky),
            false => Brought::default(),
        };
        if is_direct && !(has_times && sticky.is_due(&brought, now)) {
            return;
        }
        let edits = &mut self.request.response_edits;
        let renewed = has_times
            .then(|| sticky.renewed(member, &brought, now))
            .flatten();
        match (renewed, sticky.set_cookie(member)) {
            (Some(cookie), _) => edits.add("Set-Cookie", cookie.as_bytes()),
            (None, Some(cookie)) => edits.add("Set-Cookie", cookie.as_bytes()),
            (None, None) => return,
        }
        if policy.private && self.may_be_kept(answer) {
            let edits = &mut self.request.response_edits;
            edits.add("Cache-Control", b"private");
        }
    }

    /// Whether a cache may keep the response: it says so, or can be asked for anew by what it says.
    fn may_be_kept(&self, answer: &Answer) -> bool {
        const STATUSES: [u16; 11] = [200, 203, 204, 206, 300, 301, 404, 405, 410, 414, 501];
        let (head, buf) = (&self.request.response, answer.buffer.filled());
        let has = |name: &[u8]| {
            let mut fields = head.fields.iter();
            let found = fields.find(|field| field.name.of(buf).eq_ignore_ascii_case(name));
            found.map(|field| field.value.of(buf).to_ascii_lowercase())
        };
        let control = has(b"cache-control").unwrap_or_default();
        let says = |word: &[u8]| control.windows(word.len()).any(|part| part == word);
        let tells = [&b"etag"[..], b"last-modified", b"expires"];
        STATUSES.contains(&head.status)
            && !says(b"no-store")
            && !says(b"private")
            && (says(b"max-age=") || says(b"s-maxage=") || tells.iter().any(|n| has(n).is_some()))
    }

    /// Changes the cookie of this name that the server sets. Whether it sets one.
    fn cookie_of_server(&mut self, sticky: &Sticky, answer: &Answer, is_direct: bool) -> bool {
        const NAME: &str = "Set-Cookie";
        let (head, buf) = (&self.request.response, answer.buffer.filled());
        let edits = &self.request.response_edits;
        let is_it = |name: &[u8]| name.eq_ignore_ascii_case(NAME.as_bytes());
        let came = head
            .fields
            .iter()
            .filter(|field| is_it(field.name.of(buf)) && !edits.drops(NAME.as_bytes()))
            .map(|field| field.value.of(buf));
        let written = edits.written().filter(|(name, _)| is_it(name));
        let lines = came.chain(written.map(|(_, value)| value));
        let (mut kept, mut is_known, mut is_changed) = (Vec::new(), false, false);
        for line in lines {
            match sticky.of_server(answer.member, is_direct, line) {
                None => kept.push(line.to_vec()),
                Some(OfServer::Stays) => {
                    is_known = true;
                    kept.push(line.to_vec());
                }
                Some(OfServer::Goes) => (is_known, is_changed) = (true, true),
                Some(OfServer::Becomes(text)) => {
                    (is_known, is_changed) = (true, true);
                    kept.push(text);
                }
            }
        }
        if !is_changed {
            return is_known;
        }
        let edits = &mut self.request.response_edits;
        edits.remove(NAME);
        for line in kept {
            edits.add(NAME, &line);
        }
        true
    }
}
