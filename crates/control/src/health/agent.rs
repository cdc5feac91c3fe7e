//! Agents on servers: asked again and again for what the server can take.

use std::sync::Arc;

use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_net::probe::{self, Kind, Probe};
use clearway_proxy::board::{DRAIN, MAINTENANCE};
use clearway_proxy::plan::ServerPlan;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;

use super::verdict::{Order, Source, Word};
use crate::state::{Ask, State};

/// Largest part of its weight that an agent may ask for, in percent.
const PERCENT_MAX: u32 = 25_600;

/// The servers whose agents are asked.
pub(super) fn wanted(state: &State) -> Map<(Name, Name), Arc<ServerPlan>> {
    let plan = state.plan();
    let all = plan.backends.iter().flat_map(|backend| &backend.servers);
    all.filter(|server| server.watch.agent.is_some())
        .map(|server| ((server.backend, server.address), Arc::clone(server)))
        .collect()
}

/// What an agent says of its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Whether it is up, in the agent's word.
    health: Option<(bool, String)>,
    /// The flags that the operator could set, too.
    admin: Option<u32>,
    percent: Option<u32>,
    maxconn: Option<u32>,
}

impl Answer {
    /// Reads a line. Of several words of a kind the last one holds; others say nothing.
    fn read(line: &str) -> Self {
        let mut answer = Self::default();
        let said = line.split('#').next().unwrap_or_default();
        for word in said.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            let number = |text: &str| text.parse::<u32>().ok();
            let lower = word.to_ascii_lowercase();
            match lower.as_str() {
                "up" => answer.health = Some((true, lower)),
                "down" | "fail" | "failed" | "stopped" => {
                    answer.health = Some((false, line.trim().to_owned()));
                }
                "ready" => answer.admin = Some(0),
                "drain" => answer.admin = Some(DRAIN),
                "maint" => answer.admin = Some(MAINTENANCE),
                _ => {
                    if let Some(percent) = lower.strip_suffix('%').and_then(number) {
                        answer.percent = Some(percent.min(PERCENT_MAX));
                    } else if let Some(most) = lower.strip_prefix("maxconn:").and_then(number) {
                        answer.maxconn = Some(most);
                    }
                }
            }
        }
        answer
    }
}

/// Asks one agent for ever.
pub(super) async fn ask_for_ever(
    state: Arc<State>,
    key: (Name, Name),
    mut changes: watch::Receiver<Arc<ServerPlan>>,
    mut orders: UnboundedReceiver<Order>,
    budget: Arc<Semaphore>,
) {
    let mut server = Arc::clone(&changes.borrow_and_update());
    let (mut next, mut paused) = (Instant::now(), false);
    loop {
        tokio::select! {
            biased;
            Ok(()) = changes.changed() => {
                server = Arc::clone(&changes.borrow_and_update());
                continue;
            }
            Some(order) = orders.recv() => {
                match order {
                    Order::Pause => paused = true,
                    Order::Resume => paused = false,
                    Order::Force(word) => {
                        heed(&state, key, word != Word::Down, "set by the operator");
                    }
                    Order::Errors(_) => {}
                }
                continue;
            }
            () = tokio::time::sleep_until(next), if !paused => {}
            else => return,
        }
        let Some(agent) = &server.watch.agent else {
            return;
        };
        let Ok(permit) = budget.acquire().await else {
            return;
        };
        let kind = Kind::Agent(probe::Agent {
            send: agent.send.clone(),
        });
        let mut asking = Probe::new(kind);
        asking.source = server.source;
        let target = agent.target_of(&server);
        let report = probe::run(&asking, &target, None, agent.timeout).await;
        drop(permit);
        // One that cannot be asked says nothing.
        if report.attempt.fault.is_none() {
            obey(&state, key, &server, Answer::read(&report.words)).await;
        }
        next = Instant::now() + agent.interval;
    }
}

/// Takes the agent's word on whether its server is up.
fn heed(state: &State, key: (Name, Name), is_up: bool, why: &str) {
    let word = if is_up { Word::Up } else { Word::Down };
    if state.judge(key, Source::Agent, word) {
        state.tell(key, if is_up { "up" } else { "down" }, why.to_owned());
    }
}

/// Does what an agent says.
async fn obey(state: &State, key: (Name, Name), server: &ServerPlan, answer: Answer) {
    if let Some(flags) = answer.admin
        && state.set_flags(key, flags, (DRAIN | MAINTENANCE) & !flags)
    {
        let to = match flags {
            0 => "ready",
            DRAIN => "drain",
            _ => "maintenance",
        };
        state.tell(key, to, "set by its agent".to_owned());
    }
    if answer.percent.is_some() {
        state.verdicts.set_percent(key, answer.percent);
    }
    if let Some(most) = answer.maxconn.filter(|most| *most != server.maxconn) {
        limit(state, server, most).await;
    }
    if let Some((is_up, said)) = answer.health {
        heed(state, key, is_up, &format!("its agent says {said:?}"));
    }
}

/// Sets a limit in the configuration in force.
async fn limit(state: &State, server: &ServerPlan, most: u32) {
    let (backend, name) = (server.backend.to_string(), server.name.to_string());
    let change = Box::new(move |config: &mut clearway_config::model::Config| {
        let group = config
            .backends
            .iter_mut()
            .find(|b| b.name.as_str() == backend);
        let mut servers = group.into_iter().flat_map(|group| &mut group.servers);
        match servers.find(|server| server.label() == name) {
            Some(server) => server.maxconn = Some(most),
            None => return Err(format!("there is no server {backend}/{name}")),
        }
        Ok(String::new())
    });
    let (answer, done) = oneshot::channel();
    if state.asks.send(Ask::Alter { change, answer }).await.is_ok() {
        // Nobody is told: the agent says it again.
        drop(done.await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_agents_are_understood() {
        let read = Answer::read("ready, up 50% maxconn:10 # all is well, down");
        assert_eq!(
            read,
            Answer {
                health: Some((true, "up".to_owned())),
                admin: Some(0),
                percent: Some(50),
                maxconn: Some(10),
            }
        );
        let read = Answer::read("DRAIN");
        assert_eq!(read.admin, Some(DRAIN));
        let down = Answer::read("fail #disk is full");
        assert_eq!(down.health, Some((false, "fail #disk is full".to_owned())));
        assert_eq!(Answer::read("what? x% maxconn:"), Answer::default());
        assert_eq!(
            Answer::read("99999999%").percent,
            None.or(Some(PERCENT_MAX))
        );
    }
}
