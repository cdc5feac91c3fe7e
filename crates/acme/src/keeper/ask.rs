//! Questions for certificates on demand.

use std::sync::Arc;

use super::entry::{Entry, Waiter};
use super::{Event, Keeper};
use crate::demand::Denial;
use crate::name::{Name, Names};
use crate::settings::{Settings, Terms, Wanted};

/// So many may wait for one certificate; the others are turned away.
const WAITERS_MAX: usize = 1_024;

impl Keeper {
    /// Answers a question for a certificate on demand, or lets it wait.
    pub(super) async fn asked(&mut self, name: Name, waiter: Waiter) {
        match self.admit(&name).await {
            Ok(None) => drop(waiter.send(Ok(()))),
            Ok(Some(id)) => match self.entries.get_mut(&id) {
                Some(entry) if entry.waiters.len() < WAITERS_MAX => entry.waiters.push(waiter),
                _ => drop(waiter.send(Err(Denial::TooFast(1)))),
            },
            Err(denial) => drop(waiter.send(Err(denial))),
        }
    }

    /// `None` when there is a certificate already, else the one to wait for.
    async fn admit(&mut self, name: &Name) -> Result<Option<String>, Denial> {
        let now = self.tools.clock.now();
        let covered = self.entries.values().any(|entry| {
            entry.is_usable(now) && entry.wanted.names.iter().any(|own| own.covers(name))
        });
        if covered {
            return Ok(None);
        }
        let demand = self.settings.on_demand.clone().ok_or(Denial::Off)?;
        let id = Names::one(name.clone()).id();
        if let Some(entry) = self.entries.get(&id) {
            let wait = entry.candidate_wait(now, &self.rests);
            let is_under_way = entry.running || !entry.waiters.is_empty();
            if let Some(words) = entry.words().filter(|_| wait > 0 && !is_under_way) {
                return Err(Denial::Failed(words, wait));
            }
            if entry.on_demand && !is_under_way {
                self.bucket.take(now).map_err(Denial::TooFast)?;
            }
            return Ok(Some(id));
        }
        let is_name = !name.is_wildcard() && name.ip().is_none();
        if !is_name || !demand.allow.iter().any(|pattern| pattern.allows(name)) {
            return Err(Denial::NotAllowed(name.clone()));
        }
        self.make_room(demand.max, now);
        if self.count_on_demand() >= demand.max {
            return Err(Denial::Full(demand.max));
        }
        let mut entry = self.on_demand_entry(name.clone(), demand.terms);
        if let Err(wait) = self.bucket.look(now)
            && !self.is_stored(&entry).await
        {
            return Err(Denial::TooFast(wait));
        }
        self.load_stored(&mut entry).await;
        let is_usable = entry.is_usable(now);
        if !is_usable {
            self.bucket.take(now).map_err(Denial::TooFast)?;
        }
        self.entries.insert(id.clone(), entry);
        Ok(Some(id).filter(|_| !is_usable))
    }

    pub(super) fn count_on_demand(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.on_demand)
            .count()
    }

    /// Forgets names on demand that have no certificate and whose pause is over.
    fn make_room(&mut self, max: usize, now: u64) {
        if self.count_on_demand() < max {
            return;
        }
        let (rests, receiver) = (&self.rests, &self.receiver);
        self.entries.retain(|id, entry| {
            let keep = !entry.on_demand
                || entry.running
                || entry.is_usable(now)
                || !entry.waiters.is_empty()
                || entry.candidate_wait(now, rests) > 0;
            if !keep && entry.current.is_some() {
                let words = "it has expired, and others need its place".to_owned();
                let id = id.clone();
                receiver.event(Event::Dropped { id, words });
            }
            keep
        });
    }

    pub(super) fn on_demand_entry(&self, name: Name, terms: Terms) -> Entry {
        let issuers = self.issuers_of(&terms);
        let wanted = Wanted {
            names: Names::one(name),
            terms,
        };
        Entry::new(Arc::new(wanted), true, issuers)
    }
}

/// Burst and orders per hour of certificates on demand.
pub(super) fn ration(settings: &Settings) -> (u32, u32) {
    settings
        .on_demand
        .as_ref()
        .map_or((0, 0), |demand| (demand.burst, demand.per_hour))
}
