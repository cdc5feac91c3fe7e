//! dns-01 (RFC 8555 section 8.4): who sets the TXT record, and waiting until it is seen.

mod exec;
mod lookup;
mod update;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use clearway_base::clock;
use hickory_proto::rr::{Name as DnsName, RData, RecordType};

pub use exec::Hook;
pub(crate) use lookup::Lookup;
pub use update::{TsigAlgorithm, TsigKey, Update};

use crate::clock::Clock;
use crate::failure::{Failure, FailureKind};
use crate::name::Name;

/// How TXT records are set, and how long to wait for them.
#[derive(Clone, Debug)]
pub struct DnsProvider {
    /// Who sets the records.
    pub via: Via,
    /// What is waited for before the authority is told to look.
    pub propagation: Propagation,
}

/// Who sets the records.
#[derive(Clone, Debug)]
pub enum Via {
    /// A program.
    Exec(Hook),
    /// A dynamic update (RFC 2136).
    Update(Update),
}

/// What is waited for before the authority is told to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nothing.
    None,
    /// This long, for networks from which name servers cannot be asked.
    Delay(Duration),
    /// Until every server shows the record.
    Visible {
        /// The servers to ask; those that the zone names (NS records) when empty.
        servers: Vec<SocketAddr>,
        /// How long to wait at most.
        within: Duration,
        /// How long between two questions.
        every: Duration,
    },
}

impl Default for Propagation {
    /// The zone's own servers, for two minutes, every two seconds.
    fn default() -> Self {
        Self::Visible {
            servers: Vec::new(),
            within: Duration::from_secs(120),
            every: Duration::from_secs(2),
        }
    }
}

/// How long one question to a name server may take.
const QUESTION: Duration = Duration::from_secs(3);

/// A TXT record to be seen by the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TxtRecord {
    /// Where it stands, without a final dot.
    pub(crate) owner: String,
    /// What it says.
    pub(crate) value: String,
}

impl TxtRecord {
    /// The record of a name; an alias (CNAME) at its place is followed, so that the zone of the name
    /// itself need not be writable.
    pub(crate) async fn locate(name: &Name, value: String, lookup: &Lookup) -> Self {
        let owner = format!("_acme-challenge.{}", name.base());
        let owner = lookup.alias(&owner).await.unwrap_or(owner);
        Self { owner, value }
    }
}

impl DnsProvider {
    /// Sets a record.
    pub(crate) async fn present(&self, record: &TxtRecord, clock: &Clock) -> Result<(), Failure> {
        match &self.via {
            Via::Exec(hook) => hook.run(exec::Action::Present, record).await,
            Via::Update(update) => update.change(update::Change::Add, record, clock).await,
        }
    }

    /// Removes a record.
    pub(crate) async fn cleanup(&self, record: &TxtRecord, clock: &Clock) -> Result<(), Failure> {
        match &self.via {
            Via::Exec(hook) => hook.run(exec::Action::Cleanup, record).await,
            Via::Update(update) => update.change(update::Change::Delete, record, clock).await,
        }
    }

    /// Waits until records are seen.
    pub(crate) async fn settle(&self, record: &TxtRecord, lookup: &Lookup) -> Result<(), Failure> {
        match &self.propagation {
            Propagation::None => Ok(()),
            Propagation::Delay(delay) => {
                pause(*delay).await;
                Ok(())
            }
            Propagation::Visible {
                servers,
                within,
                every,
            } => {
                let servers = if servers.is_empty() {
                    lookup.authorities(&record.owner).await.map_err(|why| {
                        let told = format!(
                            "the name servers of {} cannot be found: {why}",
                            record.owner
                        );
                        Failure::new(FailureKind::Dns, told)
                    })?
                } else {
                    servers.clone()
                };
                visible(record, &servers, *within, *every).await
            }
        }
    }
}

/// Asks each server until it shows the record.
async fn visible(
    record: &TxtRecord,
    servers: &[SocketAddr],
    within: Duration,
    every: Duration,
) -> Result<(), Failure> {
    let end = clock::now().plus(within);
    for server in servers {
        loop {
            let seen = shows(*server, record).await;
            if seen == Ok(true) {
                break;
            }
            if clock::now().plus(every) > end {
                let why = match seen {
                    Ok(_) => "it does not show it".to_owned(),
                    Err(why) => why,
                };
                let told = format!(
                    "the TXT record of {} was not visible at {server} within {} s: {why}",
                    record.owner,
                    within.as_secs()
                );
                return Err(Failure::new(FailureKind::NotVisible, told));
            }
            pause(every).await;
        }
    }
    Ok(())
}

/// Whether a server shows the record.
async fn shows(server: SocketAddr, record: &TxtRecord) -> Result<bool, String> {
    let name = DnsName::from_ascii(format!("{}.", record.owner)).map_err(|e| e.to_string())?;
    let answer = wire::query(server, name, RecordType::TXT, QUESTION).await?;
    Ok(answer.answers.iter().any(|found| {
        if let RData::TXT(text) = &found.data {
            text.txt_data.concat() == record.value.as_bytes()
        } else {
            false
        }
    }))
}

async fn pause(time: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + time).await;
}

#[cfg(test)]
mod tests;
