//! Failures of the same kind on one server, condensed: bounded, however many there are.

use clearway_base::hash::stable_seeded;
use clearway_outcome::{
    FaultKind, FirstBytes, Remark, Sighting, Signal, Speaker, Suspects, TcpFacts, TlsFacts,
};

/// Most different texts that are told apart in one place.
const TOPS: usize = 16;
/// Times that are kept to see bursts and rhythms.
const TIMES: usize = 64;
/// Failures of one burst come within this time, in microseconds.
const BURST_US: i64 = 20_000;

/// Kinds of which a server that has sent nothing is free.
const NEEDS_BYTES: &[FaultKind] = &[
    FaultKind::ResponseHeadTruncated,
    FaultKind::ResponseHeadReset,
    FaultKind::ResponseHeadStalled,
    FaultKind::ResponseHeadersTooLarge,
    FaultKind::ResponseTooManyHeaders,
    FaultKind::ResponseHeaderInvalid,
    FaultKind::ResponseStatusLineInvalid,
    FaultKind::ResponseNotHttp,
    FaultKind::ResponseBodyShort,
    FaultKind::ResponseBodyReset,
    FaultKind::ResponseBodyStalled,
];
/// Kinds of which a server that has sent something is free.
const WITHOUT_BYTES: &[FaultKind] = &[
    FaultKind::ServerClosedNoResponse,
    FaultKind::ServerResetNoResponse,
    FaultKind::ReusedClosed,
    FaultKind::ReusedReset,
    FaultKind::ResponseTimeout,
];

/// Smallest, largest and mean of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// How many were counted.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
    sum: f64,
}

impl Spread {
    /// Counts one.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = self.max.max(value);
        self.count += 1;
        #[expect(clippy::cast_precision_loss, reason = "a mean need not be exact")]
        let value = value as f64;
        self.sum += value;
    }

    /// Counts those of another one, too.
    pub fn join(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let is_first = self.count == 0;
        self.min = if is_first {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum += other.sum;
    }

    /// The mean; 0 when there is none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean need not be exact, and none is negative"
        )]
        let mean = (self.sum / self.count.max(1) as f64) as u64;
        mean
    }

    /// Whether all lie within `percent` of the mean, or within `slack` of each other.
    #[must_use]
    pub fn is_constant(&self, percent: u64, slack: u64) -> bool {
        self.count > 0
            && (self.max - self.min <= slack
                || (self.max - self.min).saturating_mul(100) <= self.mean().saturating_mul(percent))
    }
}

/// How often each of a few texts was met.
#[derive(Clone, Debug, Default)]
pub struct Tops {
    texts: Vec<Top>,
    /// Those beyond the first [`TOPS`].
    pub others: u64,
}

#[derive(Clone, Debug)]
struct Top {
    /// Tells most others apart without a look at the text.
    hash: u64,
    text: String,
    count: u64,
}

impl Tops {
    /// Counts one; empty texts are not.
    pub fn add(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let hash = stable_seeded(text.as_bytes(), 5);
        let mut known = self.texts.iter_mut();
        if let Some(top) = known.find(|top| top.hash == hash && top.text == text) {
            top.count += 1;
        } else if self.texts.len() < TOPS {
            self.texts.push(Top {
                hash,
                text: text.to_owned(),
                count: 1,
            });
        } else {
            self.others += 1;
        }
    }

    /// The most frequent.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        let most = self.texts.iter().max_by_key(|top| top.count);
        most.map(|top| top.text.as_str())
    }

    /// The text, where there is just one.
    #[must_use]
    pub fn only(&self) -> Option<&str> {
        match (self.texts.as_slice(), self.others) {
            ([top], 0) => Some(&top.text),
            _ => None,
        }
    }

    /// How many different ones; at least.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len() + usize::from(self.others > 0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.texts.iter().map(|top| (top.text.as_str(), top.count))
    }
}

/// What failures of one group have in common, where that is known for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symptom {
    /// They failed with this.
    Fault(FaultKind),
    /// The server itself sent an error.
    ServersOwn,
}

impl Symptom {
    /// Stable code for JSON and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Fault(kind) => kind.code(),
            Self::ServersOwn => "server_error",
        }
    }

    /// Of a sighting.
    #[must_use]
    pub fn of(seen: &Sighting<'_>) -> Option<Self> {
        let own = seen.suspects.is_empty() && seen.remark.is_none() && seen.server_status >= 500;
        seen.suspects
            .only()
            .map(Self::Fault)
            .or_else(|| own.then_some(Self::ServersOwn))
    }
}

/// Failures of the same kind on one server.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they failed with: one kind, or those that a log does not tell apart.
    pub suspects: Suspects,
    /// What a log says besides, or instead.
    pub remark: Option<Remark>,
    /// Who told of them.
    pub speaker: Speaker,
    /// How many there were.
    pub count: u64,
    /// How many of the requests a later Attempt saved.
    pub saved: u64,
    /// The first, in microseconds since 1970.
    pub first_us: Option<i64>,
    /// The last.
    pub last_us: Option<i64>,
    times: Vec<i64>,
    /// Most failures within 20 ms, on different connections.
    pub burst: u32,
    /// Time until each failed, in microseconds.
    pub elapsed: Spread,
    /// Time until the connection was there.
    pub connected: Spread,
    /// Waiting for a place.
    pub queued: Spread,
    /// From the connection, or the begin on a kept one, to the failure.
    pub waited: Spread,
    /// On kept connections: how long they had lain idle, in microseconds.
    pub idle: Spread,
    /// On kept connections: how many requests they had carried.
    pub uses: Spread,
    /// On kept connections: their age, in microseconds.
    pub age: Spread,
    /// On fresh connections.
    pub fresh: u64,
    /// Bytes sent to the server.
    pub sent: Spread,
    /// Bytes received from the server.
    pub received: Spread,
    /// Bytes of request from the client.
    pub request_bytes: Spread,
    /// Errors of the operating system, with their counts.
    pub errnos: Vec<(i32, u64)>,
    /// Calls that failed at once, and such that failed later.
    pub immediate: (u64, u64),
    /// With everything acknowledged by the server's host, and with something not.
    pub acknowledged: (u64, u64),
    /// What the kernel knew the last time.
    pub tcp: Option<TcpFacts>,
    /// The first bytes of the server, from the last one that sent any.
    pub first: Option<FirstBytes>,
    /// What the peer said in its protocol.
    pub signal: Option<Signal>,
    /// TLS with the server, from the last one that knew of it.
    pub tls: Option<Box<TlsFacts>>,
    /// Of which the request had not been sent to its end.
    pub unsent: u64,
    /// Of which an interim response came, and nothing after it.
    pub interim: u64,
    /// Of which the request had several Attempts, and none saved it.
    pub in_vain: u64,
    /// Methods.
    pub methods: Tops,
    /// Paths.
    pub paths: Tops,
    /// Hosts.
    pub hosts: Tops,
    /// Clients.
    pub clients: Tops,
    /// User agents.
    pub agents: Tops,
    /// Statuses sent to clients.
    pub statuses: Tops,
    /// Statuses that the server sent.
    pub server_statuses: Tops,
    /// Request ids of a few of them.
    pub requests: Vec<String>,
    /// The words of a log, of the first.
    pub words: String,
    /// Where those stand.
    pub place: String,
}

impl Group {
    /// An empty one of the kind of a sighting.
    #[must_use]
    pub fn new(first: &Sighting<'_>) -> Self {
        Self {
            suspects: first.suspects,
            remark: first.remark,
            speaker: first.speaker,
            count: 0,
            saved: 0,
            first_us: None,
            last_us: None,
            times: Vec::new(),
            burst: 0,
            elapsed: Spread::default(),
            connected: Spread::default(),
            queued: Spread::default(),
            waited: Spread::default(),
            idle: Spread::default(),
            uses: Spread::default(),
            age: Spread::default(),
            fresh: 0,
            sent: Spread::default(),
            received: Spread::default(),
            request_bytes: Spread::default(),
            errnos: Vec::new(),
            immediate: (0, 0),
            acknowledged: (0, 0),
            tcp: None,
            first: None,
            signal: None,
            tls: None,
            unsent: 0,
            interim: 0,
            in_vain: 0,
            methods: Tops::default(),
            paths: Tops::default(),
            hosts: Tops::default(),
            clients: Tops::default(),
            agents: Tops::default(),
            statuses: Tops::default(),
            server_statuses: Tops::default(),
            requests: Vec::new(),
            words: String::new(),
            place: String::new(),
        }
    }

    /// Takes one more in.
    pub fn add(&mut self, seen: &Sighting<'_>) {
        self.count += 1;
        self.saved += u64::from(seen.saved);
        self.add_time(seen.at_us);
        self.add_numbers(seen);
        self.add_connection(seen);
        self.unsent += u64::from(seen.was_sent == Some(false));
        self.interim += u64::from(seen.is_interim_only);
        self.in_vain += u64::from(seen.attempt.1 >= 2 && !seen.saved);
        self.methods.add(seen.method);
        self.paths.add(seen.path);
        self.hosts.add(seen.host);
        self.clients.add(seen.client);
        self.agents.add(seen.user_agent);
        if seen.status > 0 {
            self.statuses.add(&seen.status.to_string());
        }
        if seen.server_status > 0 {
            self.server_statuses.add(&seen.server_status.to_string());
        }
        self.name_request(seen.request);
        if self.words.is_empty() {
            seen.words.clone_into(&mut self.words);
            if seen.place.line > 0 {
                self.place = format!("{}:{}", seen.place.file, seen.place.line);
            }
        }
    }

    /// Remembers the id of a request, if it is one of the first few; each once, however often it was tried.
    pub(crate) fn name_request(&mut self, id: &str) {
        let is_known = self.requests.iter().any(|known| known == id);
        if self.requests.len() < 3 && !id.is_empty() && !is_known {
            self.requests.push(id.to_owned());
        }
    }

    fn add_time(&mut self, at: Option<i64>) {
        let Some(at) = at else { return };
        self.first_us = Some(self.first_us.map_or(at, |first| first.min(at)));
        self.last_us = Some(self.last_us.map_or(at, |last| last.max(at)));
        if self.times.len() == TIMES {
            self.times.remove(0);
        }
        self.times.push(at);
        let near = self.times.iter().filter(|t| (at - **t).abs() <= BURST_US);
        self.burst = self.burst.max(u32::try_from(near.count()).unwrap_or(0));
    }

    fn add_numbers(&mut self, seen: &Sighting<'_>) {
        let pairs = [
            (&mut self.elapsed, seen.elapsed_us),
            (&mut self.connected, seen.connected_us),
            (&mut self.queued, seen.queued_us),
            (&mut self.sent, seen.bytes_sent),
            (&mut self.received, seen.bytes_received),
            (&mut self.request_bytes, seen.request_bytes),
        ];
        for (spread, value) in pairs {
            if let Some(value) = value {
                spread.add(value);
            }
        }
        if let Some(elapsed) = seen.elapsed_us {
            let connected = seen.connected_us.unwrap_or(0);
            self.waited.add(elapsed.saturating_sub(connected));
        }
    }

    fn add_connection(&mut self, seen: &Sighting<'_>) {
        match seen.reuse {
            Some(reuse) if reuse.uses > 0 => {
                self.idle.add(reuse.idle_us);
                self.uses.add(u64::from(reuse.uses));
                self.age.add(reuse.age_us);
            }
            Some(_) => self.fresh += 1,
            None => {}
        }
        if seen.errno != 0 {
            self.add_errno(seen.errno);
        }
        match seen.is_immediate {
            Some(true) => self.immediate.0 += 1,
            Some(false) => self.immediate.1 += 1,
            None => {}
        }
        if let Some(tcp) = seen.tcp {
            if tcp.unacked == 0 && tcp.unacked_bytes == 0 && tcp.notsent_bytes == 0 {
                self.acknowledged.0 += 1;
            } else {
                self.acknowledged.1 += 1;
            }
            self.tcp = Some(tcp);
        }
        if !seen.first.is_empty() {
            self.first = Some(FirstBytes::of(seen.first));
        }
        self.signal = seen.signal.or(self.signal);
        if let Some(tls) = seen.tls {
            self.tls = Some(Box::new(tls.clone()));
        }
    }

    fn add_errno(&mut self, errno: i32) {
        for (known, count) in &mut self.errnos {
            if *known == errno {
                *count += 1;
                return;
            }
        }
        if self.errnos.len() < TOPS {
            self.errnos.push((errno, 1));
        }
    }

    /// What they have in common, where that is known for sure.
    #[must_use]
    pub fn symptom(&self) -> Option<Symptom> {
        let own = self.is_servers_own().then_some(Symptom::ServersOwn);
        self.kind().map(Symptom::Fault).or(own)
    }

    /// Whether a sighting belongs here.
    #[must_use]
    pub fn takes(&self, seen: &Sighting<'_>) -> bool {
        self.suspects == seen.suspects && self.remark == seen.remark
    }

    /// Whether the server itself sent the failure, as a response with a status of 500 or more, and nothing
    /// went wrong besides.
    #[must_use]
    pub fn is_servers_own(&self) -> bool {
        self.suspects.is_empty() && self.remark.is_none() && !self.server_statuses.is_empty()
    }

    /// The kind, where there is no doubt.
    #[must_use]
    pub fn kind(&self) -> Option<FaultKind> {
        self.suspects.only()
    }

    /// The kinds that they may be of, without those that the bytes from the server speak against.
    pub fn kinds(&self) -> impl Iterator<Item = FaultKind> + '_ {
        let fits = |kind: &FaultKind| match self.received {
            Spread { count: 0, .. } => true,
            Spread { max: 0, .. } => !NEEDS_BYTES.contains(kind),
            Spread { min: 1.., .. } => !WITHOUT_BYTES.contains(kind),
            Spread { .. } => true,
        };
        let is_narrowed = self.suspects.iter().any(|kind| fits(&kind));
        self.suspects
            .iter()
            .filter(move |kind| !is_narrowed || fits(kind))
    }

    /// Whether they failed, for sure, with one of these.
    #[must_use]
    pub fn is(&self, kinds: &[FaultKind]) -> bool {
        !self.suspects.is_empty() && self.kinds().all(|kind| kinds.contains(&kind))
    }

    /// Whether they may have failed with one of these.
    #[must_use]
    pub fn may_be(&self, kinds: &[FaultKind]) -> bool {
        self.kinds().any(|kind| kinds.contains(&kind))
    }

    /// On kept connections.
    #[must_use]
    pub fn reused(&self) -> u64 {
        self.uses.count
    }

    /// The error of the operating system, where it was always the same.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self.errnos.as_slice() {
            [(errno, _)] => Some(*errno),
            _ => None,
        }
    }

    /// Times of the newest failures, in microseconds since 1970, oldest first.
    #[must_use]
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// How long they have gone on, in microseconds.
    #[must_use]
    pub fn span_us(&self) -> u64 {
        match (self.first_us, self.last_us) {
            (Some(first), Some(last)) => u64::try_from(last - first).unwrap_or(0),
            _ => 0,
        }
    }

    /// What the server spoke, told from its first bytes.
    #[must_use]
    pub fn first_bytes(&self) -> &[u8] {
        self.first.as_ref().map_or(&[], FirstBytes::as_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearway_outcome::{Place, Reuse};

    fn seen(at: i64, path: &str) -> Sighting<'_> {
        let mut seen = Sighting::of(Speaker::Clearway, Place::default());
        seen.suspects = Suspects::just(FaultKind::ReusedReset);
        seen.at_us = Some(at);
        seen.path = path;
        seen.elapsed_us = Some(1_000);
        seen.reuse = Some(Reuse {
            uses: 2,
            idle_us: 5_000_000,
            age_us: 5_100_000,
        });
        seen
    }

    #[test]
    fn many_failures_take_little_room() {
        let first = seen(0, "/a");
        let mut group = Group::new(&first);
        for at in 0..10_000 {
            let path = format!("/{}", at % 40);
            group.add(&seen(at * 1_000_000, &path));
        }
        assert_eq!(
            (group.count, group.reused(), group.fresh),
            (10_000, 10_000, 0)
        );
        assert_eq!(group.paths.len(), TOPS + 1);
        assert_eq!(group.times().len(), TIMES);
        assert_eq!(group.burst, 1);
        assert!(group.idle.is_constant(5, 0));
        assert_eq!(group.span_us(), 9_999_000_000);
    }

    #[test]
    fn bursts_are_seen() {
        let mut group = Group::new(&seen(0, "/a"));
        for at in 0..5 {
            group.add(&seen(at * 1_000, "/a"));
        }
        group.add(&seen(60_000_000, "/a"));
        assert_eq!(group.burst, 5);
        assert_eq!(group.paths.only(), Some("/a"));
    }

    #[test]
    fn bytes_tell_a_head_from_no_answer() {
        let kinds = [
            FaultKind::ServerClosedNoResponse,
            FaultKind::ResponseHeadTruncated,
        ];
        let vague = |bytes| {
            let mut seen = seen(0, "/a");
            seen.suspects = Suspects::any_of(&kinds);
            seen.bytes_received = bytes;
            let mut group = Group::new(&seen);
            group.add(&seen);
            group.kinds().collect::<Vec<_>>()
        };
        assert_eq!(vague(None), kinds);
        assert_eq!(vague(Some(0)), [FaultKind::ServerClosedNoResponse]);
        assert_eq!(vague(Some(27)), [FaultKind::ResponseHeadTruncated]);
        // What is sure stays, whatever is said of bytes.
        let mut sure = seen(0, "/a");
        sure.bytes_received = Some(5);
        let mut group = Group::new(&sure);
        group.add(&sure);
        assert!(group.is(&[FaultKind::ReusedReset]));
    }
}
