//! Names of servers, resolved at run time: one task per name, addresses kept while the resolver is
//! down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use clearway_base::hash::Map;
use clearway_config::model::{Config, ServerAddress};
use clearway_net::dns::{Resolver, SrvTarget};
use clearway_outcome::FaultKind;
use clearway_proxy::compile::{Answer, Names, Question};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::state::Ask;
use crate::task;

/// The names that are followed.
pub(crate) struct Followed {
    known: Arc<Mutex<Names>>,
    running: Map<Question, JoinHandle<()>>,
    asks: mpsc::Sender<Ask>,
}

impl Followed {
    /// Nothing is followed yet.
    pub(crate) fn new(asks: mpsc::Sender<Ask>) -> Self {
        Self { known: Arc::default(), running: Map::default(), asks }
    }

    /// The answers known now.
    pub(crate) fn answers(&self) -> Names {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the names of a configuration and drops those it no longer has.
    pub(crate) fn follow(&mut self, config: &Config) {
        let mut wanted: Vec<Question> = config
            .backends
            .iter()
            .flat_map(|backend| &backend.servers)
            .filter_map(|server| question(&server.address))
            .collect();
        wanted.sort();
        wanted.dedup();
        self.running.retain(|question, task| {
            let keep = wanted.contains(question);
            if !keep {
                task.abort();
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(question);
            }
            keep
        });
        let resolver = Arc::new(Resolver::new(&settings(config)));
        for question in wanted {
            if !self.running.contains_key(&question) {
                let task = task::spawn(watch(
                    Arc::clone(&resolver),
                    question.clone(),
                    Arc::clone(&self.known),
                    self.asks.clone(),
                ));
                self.running.insert(question, task);
            }
        }
    }
}

/// What has to be asked to know the addresses of a server; `None` when it has a literal one.
fn question(address: &ServerAddress) -> Option<Question> {
    match address {
        ServerAddress::Name { host, port } => Some(Question::Host(host.clone(), *port)),
        ServerAddress::Srv { name } => Some(Question::Srv(name.clone())),
        ServerAddress::Ip(_) | ServerAddress::Unix(_) => None,
    }
}

/// Asks again and again, at the pace of the records' life.
async fn watch(
    resolver: Arc<Resolver>,
    question: Question,
    known: Arc<Mutex<Names>>,
    asks: mpsc::Sender<Ask>,
) {
    loop {
        let (answer, wait) = ask(&resolver, &question).await;
        let changed = {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let old = known.get(&question);
            let new = match (answer, old) {
                (Ok(addresses), _) => Answer { addresses, trouble: None },
                // Addresses that worked are kept while the resolver is in trouble.
                (Err((kind, words)), old) => Answer {
                    addresses: old.map(|o| o.addresses.clone()).unwrap_or_default(),
                    trouble: Some((kind, words)),
                },
            };
            let changed = old != Some(&new);
            known.insert(question.clone(), new);
            changed
        };
        if changed && asks.send(Ask::NamesChanged).await.is_err() {
            return;
        }
        tokio::time::sleep_until(Instant::now() + wait).await;
    }
}
