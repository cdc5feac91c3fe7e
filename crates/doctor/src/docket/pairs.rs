//! Two logs that tell of the same failure: NGINX's error log and its access log, Clearway's fault log and
//! its access log.

use clearway_base::hash::{Map, stable_seeded};
use clearway_outcome::{Sighting, Speaker};

use crate::group::Group;

/// Most failures that wait for their line in the other log; a line is about 100 bytes here.
const WAITING: usize = 131_072;
/// An Attempt that was not the last of its request may have failed this much before the request ended, in
/// seconds.
const RETRIED_S: i64 = 60;

/// Failures that the other log may tell of too.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: Map<u64, Vec<Waiting>>,
    count: usize,
    told: Map<u64, u64>,
    /// Failures that did not fit in, so that they may count twice.
    pub(super) left_out: u64,
}

/// Failures of the same request line within one second that went into the same group.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    case: usize,
    group: usize,
    count: u32,
}

impl Pairs {
    /// Remembers a line of an error log.
    pub(super) fn keep(&mut self, seen: &Sighting<'_>, case: usize, group: usize) {
        let Some(second) = second(seen) else { return };
        if seen.client.is_empty() && seen.path.is_empty() {
            return;
        }
        let list = self.waiting.entry(key(seen, second)).or_default();
        let same = list
            .iter_mut()
            .find(|known| known.case == case && known.group == group);
        match same {
            Some(known) => known.count = known.count.saturating_add(1),
            None if self.count < WAITING => {
                self.count += 1;
                list.push(Waiting {
                    case,
                    group,
                    count: 1,
                });
            }
            None => self.left_out += 1,
        }
    }

    /// Takes out the line of the error log that an access line belongs to: case and group. `is_there` says
    /// whether a case is about the address of the access line.
    pub(super) fn take(
        &mut self,
        seen: &Sighting<'_>,
        is_there: impl Fn(usize) -> bool,
    ) -> Option<(usize, usize)> {
        let end = second(seen)?;
        let (number, total) = seen.attempt;
        let back = if number < total { RETRIED_S } else { 1 };
        // The nearest second first: request lines repeat.
        let seconds = [end, end + 1]
            .into_iter()
            .chain((1..=back).map(|s| end - s));
        for second in seconds {
            let Some(list) = self.waiting.get_mut(&key(seen, second)) else {
                continue;
            };
            let found = list
                .iter_mut()
                .find(|known| known.count > 0 && is_there(known.case));
            if let Some(found) = found {
                found.count -= 1;
                return Some((found.case, found.group));
            }
        }
        None
    }

    /// Whether another file has told of the same Attempt of the same request already.
    pub(super) fn is_repeated(&mut self, seen: &Sighting<'_>) -> bool {
        if seen.speaker != Speaker::Clearway || seen.request.is_empty() {
            return false;
        }
        let file = stable_seeded(seen.place.file.as_bytes(), 1);
        let kind = seen.suspects.iter().next().map_or("", |kind| kind.code());
        let text = format!("{} {} {kind}", seen.request, seen.address);
        let key = stable_seeded(text.as_bytes(), 2);
        match self.told.get(&key) {
            Some(known) => *known != file,
            None => {
                if self.told.len() < WAITING {
                    self.told.insert(key, file);
                }
                false
            }
        }
    }
}

/// Puts into a group what an access line knows more of a failure that is counted already.
pub(super) fn supplement(group: &mut Group, seen: &Sighting<'_>) {
    let pairs = [
        (&mut group.elapsed, seen.elapsed_us),
        (&mut group.connected, seen.connected_us),
        (&mut group.sent, seen.bytes_sent),
        (&mut group.received, seen.bytes_received),
        (&mut group.request_bytes, seen.request_bytes),
    ];
    for (spread, value) in pairs {
        if let Some(value) = value {
            spread.add(value);
        }
    }
    if let Some(elapsed) = seen.elapsed_us {
        let connected = seen.connected_us.unwrap_or(0);
        group.waited.add(elapsed.saturating_sub(connected));
    }
    group.saved += u64::from(seen.saved);
    group.in_vain += u64::from(seen.attempt.1 >= 2 && !seen.saved);
    group.agents.add(seen.user_agent);
    group.statuses.add(&seen.status.to_string());
    if seen.server_status > 0 {
        group.server_statuses.add(&seen.server_status.to_string());
    }
    group.name_request(seen.request);
}

fn second(seen: &Sighting<'_>) -> Option<i64> {
    Some(seen.at_us?.div_euclid(1_000_000))
}

fn key(seen: &Sighting<'_>, second: i64) -> u64 {
    // The seconds are told apart by the seed, so that no text has to be made.
    let seed = |text: &str, seed: u64| stable_seeded(text.as_bytes(), seed);
    let start = u64::from_ne_bytes(second.to_ne_bytes());
    seed(seen.path, seed(seen.method, seed(seen.client, start)))
}
