//! What a worker keeps while rules look at one request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use clearway_base::intern::Name;
use clearway_http::{Span, uri};
use clearway_outcome::{Address, RequestId};

use crate::action::ask::AskPlan;
use crate::action::mirror::Mirror;
use crate::ast::Persist;
use crate::limit::Place;
use crate::table::{Event, Table, Tracked, What};
use crate::view::View;

/// Groups that a regular expression can capture, the whole match included.
pub(crate) const CAPTURES: usize = 10;

/// The variable that names the server that a request is to go to.
pub(crate) const WANTED_SERVER: &str = "use_server";

/// The variable that says where the server of a request is, where requests do.
pub const SERVER_FROM: &str = "server_from";

/// Variables whose names begin so live as long as the connection of the client.
pub(crate) const OF_SESSION: &str = "sess.";

/// Most variables that one connection keeps: names come from rules, so this is never reached by itself.
const SESSION_MAX: usize = 1_000;

/// Most tables that one request is stored in.
const STORED_MAX: usize = 16;

/// What rules keep from one request of a connection to the next.
#[derive(Debug, Default)]
pub struct Session {
    kept: Kept,
    /// Where streams of one connection, whose requests run side by side, tell each other.
    shared: Option<Rc<RefCell<Shared>>>,
    /// The state of `shared` that `kept` is.
    seen: u64,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    variables: Vec<(Name, Vec<u8>)>,
    /// What the connection tracks.
    tracked: Vec<Rc<Tracked>>,
}

/// What streams of one connection keep, and how often that was changed.
#[derive(Debug, Default)]
struct Shared {
    kept: Kept,
    changes: u64,
}

impl Session {
    /// The session of one more stream of the connection: what one keeps all of them see.
    #[must_use]
    pub fn share(&mut self) -> Self {
        let kept = &self.kept;
        let shared = self.shared.get_or_insert_with(|| {
            let kept = kept.clone();
            Rc::new(RefCell::new(Shared { kept, changes: 1 }))
        });
        let mut session = Self {
            shared: Some(Rc::clone(shared)),
            ..Self::default()
        };
        session.look();
        session
    }

    /// Counts something with all that the connection tracks.
    pub fn count(&self, event: Event) {
        for tracked in &self.kept.tracked {
            tracked.count(event);
        }
    }

    /// Sees what other streams have changed.
    fn look(&mut self) {
        let Some(shared) = &self.shared else { return };
        let shared = shared.borrow();
        if shared.changes != self.seen {
            self.kept.clone_from(&shared.kept);
            self.seen = shared.changes;
        }
    }

    /// Changes something, for all streams.
    fn change(&mut self, change: impl Fn(&mut Kept)) {
        self.look();
        change(&mut self.kept);
        if let Some(shared) = &self.shared {
            let mut shared = shared.borrow_mut();
            change(&mut shared.kept);
            shared.changes += 1;
            self.seen = shared.changes;
        }
    }

    fn set(&mut self, name: Name, value: &[u8]) {
        self.change(|kept| kept.set(name, value));
    }

    fn unset(&mut self, name: Name) {
        self.look();
        if self.kept.variables.iter().any(|(known, _)| *known == name) {
            self.change(|kept| kept.variables.retain(|(known, _)| *known != name));
        }
    }
}

impl Kept {
    fn set(&mut self, name: Name, value: &[u8]) {
        let mut known = self.variables.iter_mut();
        if let Some((_, old)) = known.find(|(known, _)| *known == name) {
            old.clear();
            old.extend_from_slice(value);
        } else if self.variables.len() < SESSION_MAX {
            self.variables.push((name, value.to_vec()));
        }
    }
}

/// Memory of the rules for one request at a time: path in normal form, captures, variables.
///
/// Made to be used again: a warm one allocates nothing in common cases. It belongs to the id of the
/// request that it is used with and forgets everything when another comes.
#[derive(Debug, Default)]
pub struct Scratch {
    owner: Option<RequestId>,
    host: Vec<u8>,
    /// Path in normal form; holds when `has_path`, else the one in the head is in normal form.
    path: Vec<u8>,
    has_path: bool,
    /// Query after a rewrite; holds when `has_query`.
    query: Vec<u8>,
    has_query: bool,
    /// Groups of the rules that are running; hold when `has_captures`, else those of the route.
    captures: Captures,
    has_captures: bool,
    route_captures: Captures,
    variables: Vec<(Name, Span)>,
    variable_text: Vec<u8>,
    /// The method of the request that this one is a question about.
    method: Option<Vec<u8>>,
    /// What limits say: whether one of each kind was asked, how long the request waits, and its places among
    /// those that are served at the same time.
    limited: [bool; 2],
    delay_ms: u64,
    places: Vec<Place>,
    /// Copies of the request that go elsewhere, too.
    mirrors: Vec<Arc<Mirror>>,
    /// Whom rules take for the client, when that is not who connected.
    client: Option<Address>,
    /// What the requests before on the same connection have left.
    session: Session,
    /// Rules whose condition held when the request came, for their part in the response.
    held: Vec<Held>,
    /// What the request tracks.
    tracked: Vec<Tracked>,
    /// What becomes of the server that the client sticks to, where a rule says it.
    persist: Option<Persist>,
    /// The server that a table has for the request.
    stuck_to: Option<Name>,
    /// Keys that the server is stored with, once there is one.
    to_store: Vec<(Arc<Table>, Vec<u8>)>,
    /// A pattern took more steps than are allowed: what the rules say is not to be relied on.
    gave_up: Cell<bool>,
    /// The program that waits for the body or an answer, and where it goes on.
    resume: Option<Resume>,
    /// Where templates are written: see [`Scratch::lend`].
    out: Vec<u8>,
}

/// Where a program goes on.
#[derive(Debug)]
struct Resume {
    program: u32,
    /// The rule, and the action in it.
    at: (usize, usize),
    /// What its condition has captured.
    captures: Option<Captures>,
}

/// A rule whose condition held.
#[derive(Debug)]
struct Held {
    program: u32,
    rule: usize,
    /// What it saw captured: rules after it may capture something else.
    captures: Option<Captures>,
}

/// What a regular expression has captured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captures {
    text: Vec<u8>,
    groups: [Option<Span>; CAPTURES],
}

impl Captures {
    /// The groups of a match in `text`.
    pub(crate) fn new(found: &regex::bytes::Captures<'_>, text: &[u8]) -> Self {
        Self::placed(text, |index| found.get(index).map(|group| group.range()))
    }

    /// The groups of a match in `text`, each with its place.
    pub(crate) fn placed(
        text: &[u8],
        place: impl Fn(usize) -> Option<std::ops::Range<usize>>,
    ) -> Self {
        let mut captures = Self {
            text: text.to_vec(),
            groups: [None; CAPTURES],
        };
        for (index, group) in captures.groups.iter_mut().enumerate() {
            *group = place(index).map(|place| Span::new(place.start, place.end));
        }
        captures
    }

    /// What a group has captured.
    pub(crate) fn group(&self, index: u8) -> Option<&[u8]> {
        let group = self.groups.get(usize::from(index)).copied().flatten()?;
        Some(group.of(&self.text))
    }

    /// Where a group stands in the text.
    pub(crate) fn place(&self, index: u8) -> Option<std::ops::Range<usize>> {
        let group = self.groups.get(usize::from(index)).copied().flatten()?;
        Some(group.start as usize..group.end as usize)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.groups = [None; CAPTURES];
    }
}

impl Scratch {
    /// Forgets the request.
    pub fn clear(&mut self) {
        self.owner = None;
        self.host.clear();
        (self.has_path, self.has_query) = (false, false);
        self.captures.clear();
        self.has_captures = false;
        self.route_captures.clear();
        self.variables.clear();
        self.variable_text.clear();
        self.held.clear();
        self.tracked.clear();
        self.persist = None;
        self.stuck_to = None;
        self.to_store.clear();
        self.resume = None;
        (self.client, self.method) = (None, None);
        (self.limited, self.delay_ms) = ([false; 2], 0);
        self.places.clear();
        self.gave_up.set(false);
        self.mirrors.clear();
    }

    /// A pattern took more steps than are allowed for a value of the request.
    pub(crate) fn give_up(&self) {
        self.gave_up.set(true);
    }

    /// Whether a pattern with look-around took more steps than are allowed, so that nobody can tell what the
    /// rules would say. The request is not to be served: a rule that denies may have missed it.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.gave_up.get()
    }

    /// Prepares for a request unless that is done: host in lower case, path in normal form. What
    /// earlier rules have captured is forgotten each time, but for the route.
    pub(crate) fn begin(&mut self, view: &View<'_>) {
        self.session.look();
        if self.owner == Some(view.id) {
            self.forget_captures();
            return;
        }
        self.clear();
        self.owner = Some(view.id);
        let host = uri::without_port(view.head.host.of(view.buf));
        let host = host.strip_suffix(b".").unwrap_or(host);
        self.host.extend(host.iter().map(u8::to_ascii_lowercase));
        let path = view.path();
        if uri::needs_normalising(path) {
            self.set_path(path);
        }
    }

    /// Room to write a template in while the rest of the memory is looked at and changed. What the
    /// last user wrote stands in it.
    pub(crate) fn lend<T>(&mut self, work: impl FnOnce(&mut Self, &mut Vec<u8>) -> T) -> T {
        let mut room = std::mem::take(&mut self.out);
        let done = work(self, &mut room);
        self.out = room;
        done
    }

    pub(crate) fn host(&self) -> &[u8] {
        &self.host
    }

    pub(crate) fn path<'a>(&'a self, view: &View<'a>) -> &'a [u8] {
        match self.has_path {
            true => &self.path,
            false => view.path(),
        }
    }

    /// The query; `None` when there is not even a `?`.
    pub(crate) fn query<'a>(&'a self, view: &View<'a>) -> Option<&'a [u8]> {
        match self.has_query {
            true => Some(self.query.as_slice()).filter(|query| !query.is_empty()),
            false => view.head.has_query.then(|| view.head.query.of(view.buf)),
        }
    }

    /// Replaces the path, brought into normal form.
    pub(crate) fn set_path(&mut self, path: &[u8]) {
        self.path.clear();
        self.has_path = true;
        match uri::needs_normalising(path) {
            true => uri::normalise(path, &mut self.path),
            false => self.path.extend_from_slice(path),
        }
    }

    /// Replaces the query; an empty one is none.
    pub(crate) fn set_query(&mut self, query: &[u8]) {
        self.query.clear();
        self.query.extend_from_slice(query);
        self.has_query = true;
    }

    pub(crate) fn captures(&self) -> &Captures {
        match self.has_captures {
            true => &self.captures,
            false => &self.route_captures,
        }
    }

    pub(crate) fn set_captures(&mut self, captures: Captures) {
        self.captures = captures;
        self.has_captures = true;
    }

    /// Forgets captures, so that those of one rule are not taken for those of another; what the
    /// route has captured is seen again.
    pub(crate) fn forget_captures(&mut self) {
        self.has_captures = false;
    }

    /// Makes what is captured now that of the route, for all rules of the request. A route that captures
    /// nothing sees what was captured on the way to it.
    pub(crate) fn keep_for_route(&mut self) {
        if std::mem::take(&mut self.has_captures) {
            self.route_captures.clear();
            std::mem::swap(&mut self.captures, &mut self.route_captures);
        }
    }

    /// Whether any rule has set one.
    pub(crate) fn has_variables(&self) -> bool {
        !self.variables.is_empty()
    }

    /// Whom rules take for the client; none when that is who connected.
    #[must_use]
    pub fn client(&self) -> Option<Address> {
        self.client
    }

    /// Whether limits of a kind are to be asked now: they are once.
    pub(crate) fn begin_limit(&mut self, of_rate: bool) -> bool {
        let [rate, together] = &mut self.limited;
        let asked = if of_rate { rate } else { together };
        !std::mem::replace(asked, true)
    }

    /// Has the request wait for so many milliseconds.
    pub(crate) fn delay(&mut self, ms: u64) {
        self.delay_ms = ms;
    }

    /// For how many milliseconds the request is to wait; not again, once somebody has asked.
    pub fn take_delay(&mut self) -> u64 {
        std::mem::take(&mut self.delay_ms)
    }

    /// Notes what a limit has said.
    pub(crate) fn note_limit(&mut self, of_rate: bool, word: &str) {
        let name = match of_rate {
            true => "limit_req_status",
            false => "limit_conn_status",
        };
        self.set_variable(Name::new(name), word.as_bytes());
    }

    pub(crate) fn hold_place(&mut self, place: Place) {
        self.places.push(place);
    }

    /// Whether the request is to wait.
    #[must_use]
    pub fn delays(&self) -> bool {
        self.delay_ms > 0
    }

    /// The memory of a question about this request, which came with a method: it sees what this one has set,
    /// and that it is one by the variable `question`.
    #[must_use]
    pub fn child(&self, method: &[u8]) -> Self {
        let mut child = Self {
            owner: self.owner,
            host: self.host.clone(),
            path: self.path.clone(),
            has_path: self.has_path,
            query: self.query.clone(),
            has_query: self.has_query,
            variables: self.variables.clone(),
            variable_text: self.variable_text.clone(),
            client: self.client,
            method: Some(method.to_vec()),
            limited: self.limited,
            ..Self::default()
        };
        child.set_variable(Name::new("question"), b"1");
        child
    }

    /// Takes over what the answer to a question has set.
    pub fn take_variables(&mut self, child: &Self, plan: &AskPlan) {
        for name in plan.names() {
            match child.variable(name) {
                Some(value) => self.set_variable(name, value),
                None => self.unset_variable(name),
            }
        }
    }

    /// Gives back the places among those that are served at the same time.
    pub fn leave_places(&mut self) {
        self.places.clear();
    }

    /// Notes that a copy of the request goes elsewhere, too.
    pub(crate) fn add_mirror(&mut self, mirror: Arc<Mirror>) {
        self.mirrors.push(mirror);
    }

    /// Whether copies of the request go elsewhere.
    #[must_use]
    pub fn has_mirrors(&self) -> bool {
        !self.mirrors.is_empty()
    }

    /// Where copies of the request go.
    pub fn take_mirrors(&mut self) -> Vec<Arc<Mirror>> {
        std::mem::take(&mut self.mirrors)
    }

    /// The query where rules have changed it.
    #[must_use]
    pub fn changed_query(&self) -> Option<&[u8]> {
        self.has_query.then_some(self.query.as_slice())
    }

    pub(crate) fn method(&self) -> Option<&[u8]> {
        self.method.as_deref()
    }

    /// Has rules, logs and servers take another for the client.
    pub(crate) fn set_client(&mut self, client: Address) {
        self.client = Some(client);
    }

    /// The value of a variable, if it was set.
    #[must_use]
    pub fn variable(&self, name: Name) -> Option<&[u8]> {
        if let Some((_, value)) = self.variables.iter().rev().find(|(n, _)| *n == name) {
            return Some(value.of(&self.variable_text));
        }
        let mut kept = self.session.kept.variables.iter();
        let (_, value) = kept.find(|(known, _)| *known == name)?;
        Some(value)
    }

    /// Sets a variable that the next request of the connection still sees.
    pub(crate) fn set_session_variable(&mut self, name: Name, value: &[u8]) {
        self.session.set(name, value);
    }

    /// Puts what a connection keeps in its place, and takes out what was there.
    pub fn exchange_session(&mut self, session: &mut Session) {
        std::mem::swap(&mut self.session, session);
    }

    pub(crate) fn set_variable(&mut self, name: Name, value: &[u8]) {
        let start = self.variable_text.len();
        self.variable_text.extend_from_slice(value);
        let span = Span::new(start, self.variable_text.len());
        match self.variables.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = span,
            None => self.variables.push((name, span)),
        }
    }

    pub(crate) fn unset_variable(&mut self, name: Name) {
        self.variables.retain(|(known, _)| *known != name);
        self.session.unset(name);
    }

    /// Tracks a value, for the request or the whole connection, unless its counter tracks one already.
    /// Whether it does now what it did not before.
    pub(crate) fn track(
        &mut self,
        counter: u8,
        of_connection: bool,
        table: &Arc<Table>,
        value: &[u8],
    ) -> Option<&Tracked> {
        if self.tracked(counter).is_some() {
            return None;
        }
        let tracked = Tracked::begin(counter, table, value)?;
        if !of_connection {
            self.tracked.push(tracked);
            return self.tracked.last();
        }
        let tracked = Rc::new(tracked);
        self.session
            .change(|kept| kept.tracked.push(Rc::clone(&tracked)));
        self.session.kept.tracked.last().map(|tracked| &**tracked)
    }

    /// What a counter tracks.
    pub(crate) fn tracked(&self, counter: u8) -> Option<&Tracked> {
        self.all_tracked().find(|known| known.counter() == counter)
    }

    fn all_tracked(&self) -> impl Iterator<Item = &Tracked> {
        let of_connection = self.session.kept.tracked.iter().map(|tracked| &**tracked);
        self.tracked.iter().chain(of_connection)
    }

    /// What is asked of what a counter tracks; none when it tracks nothing.
    pub(crate) fn ask_tracked(&self, counter: u8, what: What) -> Option<u64> {
        match self.tracked(counter) {
            Some(tracked) => tracked.ask(what),
            None => what.is_existence().then_some(0),
        }
    }

    /// Whether anything is tracked.
    #[must_use]
    pub fn tracks(&self) -> bool {
        !self.tracked.is_empty() || !self.session.kept.tracked.is_empty()
    }

    /// Counts something with all that is tracked.
    pub fn count(&self, event: Event) {
        for tracked in self.all_tracked() {
            tracked.count(event);
        }
    }

    /// Ends what is tracked for the request.
    pub fn untrack(&mut self) {
        self.tracked.clear();
    }

    /// Says what becomes of the server that the client sticks to. The last word counts.
    pub(crate) fn set_persist(&mut self, persist: Persist) {
        self.persist = Some(persist);
    }

    /// What becomes of the server that the client sticks to, where a rule says it.
    #[must_use]
    pub fn persist(&self) -> Option<Persist> {
        self.persist
    }

    /// Takes a server from a table for the request, unless one was taken before.
    pub(crate) fn stick(&mut self, table: &Table, value: &[u8]) {
        if self.stuck_to.is_some() {
            return;
        }
        let now = clearway_base::clock::now();
        let Some(row) = table.look(value, now) else {
            return;
        };
        self.stuck_to = table.server(&row);
        row.touch(now);
    }

    /// Notes that the server of the request is to be stored in a table.
    pub(crate) fn store(&mut self, table: &Arc<Table>, value: &[u8]) {
        if self.to_store.len() < STORED_MAX {
            self.to_store.push((Arc::clone(table), value.to_vec()));
        }
    }

    /// The server that a table has for the request.
    #[must_use]
    pub fn stuck_to(&self) -> Option<Name> {
        self.stuck_to
    }

    /// Stores the server that has answered wherever rules asked for it.
    pub fn store_server(&mut self, server: Name) {
        if self.to_store.is_empty() {
            return;
        }
        let now = clearway_base::clock::now();
        for (table, value) in self.to_store.drain(..) {
            if let Some(row) = table.enter(&value, now) {
                table.set_server(&row, server);
            }
        }
    }

    /// The server that a rule wants: the variable `use_server`.
    #[must_use]
    pub fn wanted_server(&self) -> Option<&[u8]> {
        if self.variables.is_empty() {
            return None;
        }
        self.variable(Name::new(WANTED_SERVER))
    }

    /// Notes for which error another route is looked for, and what is sent in its place: the variables
    /// `error_status` and, where that does not depend on the answer, `sent_status`.
    pub fn set_status(&mut self, status: u16, sent: Option<u16>) {
        let text = status.to_string();
        self.set_variable(Name::new("error_status"), text.as_bytes());
        match sent {
            Some(sent) => self.set_variable(Name::new("sent_status"), sent.to_string().as_bytes()),
            None => self.unset_variable(Name::new("sent_status")),
        }
    }

    /// A variable that holds a number, if a rule has set it.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        if self.variables.is_empty() {
            return None;
        }
        let value = self.variable(Name::new(name))?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }

    /// Sets a variable that rules can look at.
    pub fn note(&mut self, name: &str, value: &[u8]) {
        self.set_variable(Name::new(name), value);
    }

    /// Notes that the request is routed again: the variable `rerouted` is 1 from now on.
    pub fn set_rerouted(&mut self) {
        self.keep_for_route();
        self.set_variable(Name::new("rerouted"), b"1");
    }

    /// Remembers at which rule, and which action in it, a program goes on that waits.
    pub(crate) fn resume_at(&mut self, program: u32, at: (usize, usize)) {
        self.resume = Some(Resume {
            program,
            at,
            captures: self.has_captures.then(|| self.captures.clone()),
        });
    }

    /// The rule and the action in it at which a program goes on that has waited; what was captured then is
    /// captured again.
    pub(crate) fn resumes(&mut self, program: u32) -> Option<(usize, usize)> {
        let resume = self.resume.take_if(|waits| waits.program == program)?;
        if let Some(captures) = resume.captures {
            self.set_captures(captures);
        }
        Some(resume.at)
    }

    /// Remembers that the condition of a rule held when the request came.
    pub(crate) fn hold(&mut self, program: u32, rule: usize) {
        let captures = self.has_captures.then(|| self.captures.clone());
        self.held.push(Held {
            program,
            rule,
            captures,
        });
    }

    /// Whether the condition of a rule held; what was captured then is captured again.
    pub(crate) fn held(&mut self, program: u32, rule: usize) -> bool {
        let mut held = self.held.iter();
        let Some(held) = held.find(|held| (held.program, held.rule) == (program, rule)) else {
            return false;
        };
        self.has_captures = held.captures.is_some();
        if let Some(captures) = &held.captures {
            self.captures.clone_from(captures);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    /// Memory of a stream, about to look at a request.
    fn stream(session: Session) -> Scratch {
        let mut scratch = Scratch::default();
        scratch.exchange_session(&mut { session });
        scratch.begin(&get("/", &[]).view());
        scratch
    }

    #[test]
    fn streams_of_a_connection_see_what_each_other_keeps() {
        let (a, b) = (Name::new("sess.a"), Name::new("sess.b"));
        let mut connection = Session::default();
        connection.set(a, b"before");
        let mut first = stream(connection.share());
        let mut second = stream(connection.share());
        assert_eq!(second.variable(a), Some(&b"before"[..]));
        first.set_session_variable(a, b"1");
        second.set_session_variable(b, b"2");
        assert_eq!(second.variable(a), Some(&b"1"[..]));
        first.begin(&get("/", &[]).view());
        assert_eq!(first.variable(b), Some(&b"2"[..]));
        first.unset_variable(b);
        let third = stream(connection.share());
        assert_eq!(
            (third.variable(a), third.variable(b)),
            (Some(&b"1"[..]), None)
        );
    }
}
