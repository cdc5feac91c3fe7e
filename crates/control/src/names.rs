//! Names of servers, resolved at run time: one task per name, addresses kept while the resolver is
//! down.

use std::sync::Arc;
use std::time::Duration;

use clearway_base::hash::Map;
use clearway_config::model::{Config, LogLevel};
use clearway_net::dns::{DnsFault, Resolver, Settings};
use clearway_proxy::compile::{Address, Answer, Question};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::state::State;
use crate::task;

/// The names that are followed.
#[derive(Default)]
pub(crate) struct Followed {
    running: Map<Question, JoinHandle<()>>,
    settings: Option<Settings>,
}

impl Followed {
    /// Follows the names of a configuration besides those that are followed already.
    pub(crate) fn follow(&mut self, config: &Config, state: &Arc<State>) {
        let settings = settings(&config.resolver);
        if self.settings.as_ref() != Some(&settings) {
            // Their answers stay until there are new ones.
            self.running.drain().for_each(|(_, task)| task.abort());
        }
        let resolver = Arc::new(Resolver::new(&settings));
        self.settings = Some(settings);
        for question in questions(config) {
            let (resolver, state) = (Arc::clone(&resolver), Arc::clone(state));
            self.running.entry(question).or_insert_with_key(|question| {
                task::spawn(watch(resolver, question.clone(), state))
            });
        }
    }

    /// Drops names that a configuration does not have: to be called when it is in force.
    pub(crate) fn forget(&mut self, config: &Config, state: &State) {
        let wanted = questions(config);
        let is_wanted = |question: &Question| wanted.binary_search(question).is_ok();
        self.running.retain(|question, task| {
            let keep = is_wanted(question);
            if !keep {
                task.abort();
            }
            keep
        });
        state.names().retain(|question, _| is_wanted(question));
    }
}

impl Followed {
    /// Returns when every name was answered or refused once, or after `limit`. Cancel safe.
    pub(crate) async fn settle(&self, state: &State, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            let news = state.names_changed.notified();
            let known = {
                let names = state.names();
                self.running
                    .keys()
                    .all(|question| names.contains_key(question))
            };
            if known || tokio::time::timeout_at(until, news).await.is_err() {
                return;
            }
        }
    }
}

/// The names of a configuration, in order.
fn questions(config: &Config) -> Vec<Question> {
    let servers = config.backends.iter().flat_map(|backend| &backend.servers);
    let mut questions: Vec<_> = servers
        .filter_map(|server| Question::of(&server.address))
        .collect();
    questions.sort();
    questions.dedup();
    questions
}

/// How the configuration wants names to be resolved.
pub(crate) fn settings(config: &clearway_config::model::Resolver) -> Settings {
    Settings {
        servers: config.servers.clone(),
        timeout: config.timeout,
        attempts: config.attempts as usize,
        min_ttl: config.min_ttl,
        max_ttl: config.max_ttl,
        negative_ttl: config.negative_ttl,
    }
}

/// Asks again and again, at the pace of the records' life.
#[expect(
    clippy::infinite_loop,
    reason = "it ends when the name is no longer followed"
)]
async fn watch(resolver: Arc<Resolver>, question: Question, state: Arc<State>) {
    loop {
        let (result, wait) = ask(&resolver, &question).await;
        remember(&state, &question, result);
        tokio::time::sleep_until(Instant::now() + wait).await;
    }
}

/// Takes note of a result, and tells the supervisor if it differs from what was known.
fn remember(state: &State, question: &Question, result: Result<Vec<Address>, DnsFault>) {
    let mut names = state.names();
    let old = names.get(question);
    let new = match result {
        Ok(addresses) => Answer {
            addresses,
            trouble: None,
        },
        // Addresses that worked are kept while the resolver is in trouble.
        Err(fault) => Answer {
            addresses: old.map(|o| o.addresses.clone()).unwrap_or_default(),
            trouble: Some((fault.kind, fault.words)),
        },
    };
    if old == Some(&new) {
        return;
    }
    if old.and_then(|o| o.trouble.as_ref()) != new.trouble.as_ref() {
        let kept = if new.addresses.is_empty() {
            ""
        } else {
            "; the addresses known before are kept"
        };
        match &new.trouble {
            Some((_, words)) => state.say(LogLevel::Warn, format!("{words}{kept}")),
            None if old.is_some() => {
                state.say(LogLevel::Info, format!("{question} resolves again"));
            }
            None => {}
        }
    }
    names.insert(question.clone(), new);
    state.names_changed.notify_one();
}

/// Asks once: addresses in a stable order, and when to ask again.
async fn ask(
    resolver: &Resolver,
    question: &Question,
) -> (Result<Vec<Address>, DnsFault>, Duration) {
    let result = match question {
        Question::Host(host, port) => resolver.resolve(host, *port).await.map(|answer| {
            let addresses = answer.addresses.into_iter();
            let addresses = addresses.map(|socket| Address {
                socket,
                weight: 1,
                priority: 0,
            });
            (addresses.collect(), answer.valid_for)
        }),
        Question::Srv(name) => resolver.resolve_srv(name).await.map(|answer| {
            let best = answer.targets.iter().map(|t| t.priority).min().unwrap_or(0);
            let addresses = answer.targets.iter().map(|target| Address {
                socket: target.address,
                // A weight of 0 is a very small one (RFC 2782).
                weight: u32::from(target.weight).max(1),
                priority: target.priority - best,
            });
            (addresses.collect(), answer.valid_for)
        }),
    };
    match result {
        Ok((addresses, wait)) => (Ok(addresses), wait),
        Err(fault) => {
            let wait = fault.retry_after;
            (Err(fault), wait)
        }
    }
}
