//! Records of failed requests as the doctor's sightings.

use clearway_base::clock;
use clearway_outcome::{Attempt, Place, Record, Sighting, Speaker, Suspects};

/// Calls `each` with what a record says of every Attempt that failed, and of the request itself when it
/// failed without one.
pub(super) fn sightings(record: &Record<'_>, mut each: impl FnMut(&Sighting<'_>)) {
    let texts = Texts::of(record);
    let count = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
    let mut told = false;
    for (at, attempt) in record.attempts.iter().enumerate() {
        let Some(fault) = attempt.fault else {
            if attempt.status >= 500 {
                let mut seen = texts.sighting(record);
                fill(&mut seen, record, attempt);
                // A later Attempt may have brought a better answer.
                seen.saved = record.fault.is_none() && record.status < 500;
                each(&seen);
            }
            continue;
        };
        told |= record.fault.is_some_and(|whole| whole.kind == fault.kind);
        let mut seen = texts.sighting(record);
        fill(&mut seen, record, attempt);
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        seen.attempt = (number, count);
        seen.suspects = Suspects::just(fault.kind);
        seen.errno = fault.errno;
        seen.signal = fault.signal;
        each(&seen);
    }
    let Some(fault) = record.fault.filter(|_| !told) else {
        return;
    };
    let mut seen = texts.sighting(record);
    // What the client does ends the Attempt under way, which has no fault of its own.
    if let Some(attempt) = record.attempts.last() {
        fill(&mut seen, record, attempt);
    }
    seen.suspects = Suspects::just(fault.kind);
    seen.errno = fault.errno;
    seen.signal = fault.signal;
    seen.elapsed_us = Some(fault.elapsed_us);
    each(&seen);
}

/// Texts of a record that have to be made.
struct Texts {
    id: String,
    client: String,
    method: String,
    path: String,
    host: String,
    agent: String,
}

impl Texts {
    fn of(record: &Record<'_>) -> Self {
        let path = record.target.split(|&byte| byte == b'?').next();
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        Self {
            id: record.id.to_string(),
            client: record
                .client
                .ip()
                .map_or_else(String::new, |ip| ip.to_string()),
            method: text(record.method),
            path: text(path.unwrap_or_default()),
            host: text(record.host),
            agent: text(record.user_agent),
        }
    }

    fn sighting<'a>(&'a self, record: &Record<'a>) -> Sighting<'a> {
        let mut seen = Sighting::of(Speaker::Clearway, Place::default());
        seen.request = &self.id;
        seen.client = &self.client;
        seen.method = &self.method;
        seen.path = &self.path;
        seen.host = &self.host;
        seen.user_agent = &self.agent;
        seen.listener = record.listener.as_str();
        seen.backend = if record.backend.is_none() {
            ""
        } else {
            record.backend.as_str()
        };
        seen.status = record.status;
        seen.request_bytes = Some(record.bytes_in);
        seen.saved = record.fault.is_none();
        let ended = clock::wall_of(record.started).saturating_add(record.timings.total_us);
        seen.at_us = i64::try_from(ended).ok();
        seen.elapsed_us = Some(record.timings.total_us);
        seen
    }
}

fn fill<'a>(seen: &mut Sighting<'a>, record: &Record<'a>, attempt: &'a Attempt) {
    if !attempt.backend.is_none() {
        seen.backend = attempt.backend.as_str();
    }
    if !attempt.address.is_none() {
        seen.server = attempt.server.as_str();
        seen.address = attempt.address.as_str();
    }
    let ended = clock::wall_of(attempt.started).saturating_add(attempt.ended_us);
    seen.at_us = i64::try_from(ended).ok();
    seen.elapsed_us = Some(attempt.ended_us);
    seen.connected_us = attempt.connected_us;
    seen.header_us = attempt.first_byte_us.filter(|_| attempt.status > 0);
    seen.queued_us = attempt.queued_us;
    seen.bytes_sent = Some(attempt.bytes_sent);
    seen.bytes_received = Some(attempt.bytes_received);
    seen.server_status = attempt.status;
    seen.reuse = Some(attempt.reuse);
    seen.saved = record.fault.is_none();
    seen.was_sent = attempt.connected_us.map(|_| attempt.sent_us.is_some());
    // What is interim is passed on at once, and of a final head something would be left.
    seen.is_interim_only =
        attempt.first_byte_us.is_some() && attempt.status == 0 && attempt.bytes_received == 0;
    if let Some(evidence) = &attempt.evidence {
        seen.tcp = evidence.tcp;
        seen.first = evidence.first();
        seen.tls = evidence.tls.as_deref();
        if attempt.connected_us.is_none() {
            seen.is_immediate = Some(evidence.is_immediate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearway_base::clock::Stamp;
    use clearway_base::intern::Name;
    use clearway_outcome::{Address, Fault, FaultKind, Phase, Protocol, RequestId, Side, Timings};

    fn record(attempts: &[Attempt], fault: Option<Fault>) -> Record<'_> {
        Record {
            id: RequestId(7),
            started: Stamp(0),
            client: Address::Unix,
            listener: Name::new("web"),
            route: Name::NONE,
            backend: Name::new("app"),
            protocol: Protocol::Http11,
            tls: None,
            method: b"GET",
            target: b"/a?token=secret",
            host: b"example.org",
            referer: b"",
            user_agent: b"curl",
            status: 502,
            grpc_status: None,
            bytes_in: 40,
            bytes_out: 100,
            body_out: 10,
            timings: Timings::default(),
            attempts,
            fault,
            connections: (1, 1),
        }
    }

    fn refused() -> Attempt {
        let name = Name::new("10.0.0.2:80");
        let mut attempt = Attempt::begin(Name::new("app"), name, name, Stamp(0));
        attempt.fault = Some(Fault::new(
            FaultKind::ConnectRefused,
            Phase::Connect,
            Side::Server,
        ));
        attempt
    }

    /// Attempt, kind, address, path, whether it was saved.
    type Told = ((u32, u32), Option<FaultKind>, String, String, bool);

    fn told(record: &Record<'_>) -> Vec<Told> {
        let mut out = Vec::new();
        sightings(record, |it| {
            let texts = (it.address.to_owned(), it.path.to_owned());
            out.push((it.attempt, it.suspects.only(), texts.0, texts.1, it.saved));
        });
        out
    }

    #[test]
    fn each_failed_attempt_is_told_once_and_no_query() {
        let attempts = [refused(), refused()];
        let seen = told(&record(&attempts, attempts[1].fault));
        let kind = Some(FaultKind::ConnectRefused);
        let of = |at, saved| {
            (
                (at, 2),
                kind,
                "10.0.0.2:80".to_owned(),
                "/a".to_owned(),
                saved,
            )
        };
        assert_eq!(seen, [of(1, false), of(2, false)]);
        let mut well = refused();
        well.fault = None;
        let attempts = [refused(), well];
        assert_eq!(told(&record(&attempts, None)), [of(1, true)]);
    }

    #[test]
    fn a_request_that_reached_no_server_is_told_of_its_backend() {
        let fault = Fault::new(FaultKind::AllServersDown, Phase::Choose, Side::Local);
        let seen = told(&record(&[], Some(fault)));
        let kind = Some(FaultKind::AllServersDown);
        assert_eq!(
            seen,
            [((0, 0), kind, String::new(), "/a".to_owned(), false)]
        );
    }
}
