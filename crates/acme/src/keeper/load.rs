//! Bringing settings in force: what they want, what the storage has of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ask::ration;
use super::entry::Entry;
use super::job::{certificate_key, record_key};
use super::{Event, Keeper};
use crate::certificate::Certificate;
use crate::dns::Lookup;
use crate::issue::Tools;
use crate::name::Name;
use crate::record::Record;
use crate::settings::{OnDemand, Wanted};

impl Keeper {
    /// Brings `self.settings` in force.
    pub(super) async fn apply(&mut self) {
        self.troubles.clear();
        self.tools = Arc::new(Tools {
            storage: Arc::clone(&self.tools.storage),
            answers: Arc::clone(&self.tools.answers),
            lookup: Lookup::new(&self.settings.resolver),
            own_addresses: self.settings.own_addresses.clone(),
            clock: self.tools.clock.clone(),
        });
        let (burst, per_hour) = ration(&self.settings);
        self.bucket.resize(burst, per_hour, self.tools.clock.now());
        let issuers = &self.settings.issuers;
        self.rests
            .retain(|name, _| issuers.iter().any(|issuer| issuer.name == *name));

        let mut former = std::mem::take(&mut self.entries);
        for wanted in self.settings.certificates.clone() {
            self.want(wanted, &mut former).await;
        }
        if let Some(demand) = self.settings.on_demand.clone() {
            self.keep_on_demand(&demand, &mut former);
            self.load_on_demand(&demand).await;
        }
        for (id, mut entry) in former {
            if self.entries.contains_key(&id) {
                // It was wanted, and is now one that a client has asked for.
                continue;
            }
            entry.answer(&Err(crate::demand::Denial::Off));
            let words = "the settings no longer want it".to_owned();
            self.receiver.event(Event::Dropped { id, words });
        }
    }

    async fn want(&mut self, wanted: Arc<Wanted>, former: &mut BTreeMap<String, Entry>) {
        let id = wanted.names.id();
        if self.entries.contains_key(&id) {
            return self.trouble(format!("{id} is wanted twice; the first counts"));
        }
        for name in &wanted.terms.issuers {
            if !self
                .settings
                .issuers
                .iter()
                .any(|issuer| issuer.name == *name)
            {
                let words = format!("{id}: the issuer `{name}` is not in the settings");
                self.trouble(words);
            }
        }
        let issuers = self.issuers_of(&wanted.terms);
        let entry = match former.remove(&id) {
            Some(mut entry) => {
                (entry.wanted, entry.issuers, entry.on_demand) = (wanted, issuers, false);
                entry.record.on_demand = false;
                entry
            }
            None => {
                let mut entry = Entry::new(wanted, false, issuers);
                self.load_stored(&mut entry).await;
                entry
            }
        };
        self.entries.insert(id, entry);
    }

    /// Keeps certificates on demand whose names are still allowed.
    fn keep_on_demand(&mut self, demand: &OnDemand, former: &mut BTreeMap<String, Entry>) {
        let ids: Vec<String> = former
            .values()
            .filter(|entry| entry.on_demand && is_allowed(entry, demand))
            .map(|entry| entry.id.clone())
            .collect();
        for id in ids.into_iter().take(demand.max) {
            if let Some(mut entry) = former.remove(&id) {
                let mut wanted = Wanted::clone(&entry.wanted);
                wanted.terms = demand.terms.clone();
                entry.issuers = self.issuers_of(&wanted.terms);
                entry.wanted = Arc::new(wanted);
                self.entries.insert(id, entry);
            }
        }
    }

    /// Loads certificates that clients have asked for before, so that they are served and renewed
    /// without being asked for again.
    async fn load_on_demand(&mut self, demand: &OnDemand) {
        let keys = match self.tools.storage.list("certificates").await {
            Ok(keys) => keys,
            Err(error) => return self.trouble(error.0),
        };
        let ids = keys
            .iter()
            .filter_map(|key| key.strip_prefix("certificates/")?.strip_suffix(".json"));
        for id in ids {
            if self.entries.contains_key(id) {
                continue;
            }
            if self.count_on_demand() >= demand.max {
                return;
            }
            let Some(name) = self.stored_name(id).await else {
                continue;
            };
            let mut entry = self.on_demand_entry(name, demand.terms.clone());
            if entry.id == id && is_allowed(&entry, demand) {
                self.load_stored(&mut entry).await;
                if entry.is_usable(self.tools.clock.now()) {
                    self.entries.insert(id.to_owned(), entry);
                }
            }
        }
    }

    /// The name of a stored certificate that a client asked for. Damaged files are told of when they are
    /// wanted, not here: they may belong to others.
    async fn stored_name(&self, id: &str) -> Option<Name> {
        let record = self.tools.load(&record_key(id)).await.ok()??;
        if !Record::from_file(&record).ok()?.on_demand {
            return None;
        }
        let stored = self.tools.load(&certificate_key(id)).await.ok()??;
        let stored = Certificate::from_file(&stored).ok()?;
        Name::parse(stored.facts.names.first()?).ok()
    }

    /// Whether there is something to be loaded that can serve. Tells nobody of what is damaged: strangers
    /// may ask as often as they like.
    pub(super) async fn is_stored(&self, entry: &Entry) -> bool {
        let stored = self.tools.load(&certificate_key(&entry.id)).await;
        let found = stored.ok().flatten();
        let found = found.and_then(|bytes| Certificate::from_file(&bytes).ok());
        let now = self.tools.clock.now();
        found.is_some_and(|found| found.check(&entry.wanted.names, now).is_ok())
    }

    /// Takes what the storage has of a certificate into use. What cannot be read is told of and left.
    pub(super) async fn load_stored(&mut self, entry: &mut Entry) {
        let key = record_key(&entry.id);
        match self.tools.load(&key).await {
            Ok(None) => {}
            Ok(Some(bytes)) => match Record::from_file(&bytes) {
                Ok(record) => {
                    let on_demand = entry.on_demand;
                    entry.record = Record {
                        on_demand,
                        ..record
                    };
                }
                Err(why) => self.trouble(format!("the stored file {key} is damaged: {why}")),
            },
            Err(failure) => self.trouble(failure.detail),
        }
        let key = certificate_key(&entry.id);
        let found = match self.tools.load(&key).await {
            Ok(None) => return,
            Ok(Some(bytes)) => Certificate::from_file(&bytes),
            Err(failure) => return self.trouble(failure.detail),
        };
        let checked = found.and_then(|found| {
            found.check(&entry.wanted.names, self.tools.clock.now())?;
            Ok(found)
        });
        match checked {
            Ok(found) => {
                entry.current = Some(found);
                self.hand_over(entry);
                self.loaded(entry);
            }
            Err(why) => self.trouble(format!(
                "the stored certificate {key} cannot be used: {why}"
            )),
        }
    }
}

fn is_allowed(entry: &Entry, demand: &OnDemand) -> bool {
    let mut names = entry.wanted.names.iter();
    names.all(|name| demand.allow.iter().any(|pattern| pattern.allows(name)))
}
