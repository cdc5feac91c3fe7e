//! What runs beside the keeper: orders, and questions for renewal information.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;

use crate::certificate::Certificate;
use crate::failure::{Failure, FailureKind};
use crate::issue::{self, Advice, Job, LIMIT, Tools, of_storage};
use crate::name::Names;
use crate::record::Record;
use crate::settings::{Issuer, Terms};
use crate::storage::{Lease, Locked};

/// How much longer than one try a lock is held; it is extended for each issuer.
const SLACK: Duration = Duration::from_secs(60);

/// What came of a job.
pub(super) enum Outcome {
    /// There is a new certificate.
    Obtained {
        certificate: Box<Certificate>,
        issuer: String,
        /// Issuers that failed before.
        failures: Vec<Failure>,
        /// Why it could not be stored.
        unstored: Option<Failure>,
    },
    /// Another process has obtained one.
    Adopted {
        certificate: Box<Certificate>,
        record: Box<Record>,
    },
    /// Another process is at it.
    Busy { owner: String, until: u64 },
    /// No issuer gave one.
    Failed(Vec<Failure>),
    /// Renewal information, if the issuer has any.
    Info {
        serial: String,
        answer: Result<Option<Advice>, Failure>,
    },
}

/// An order at one issuer after another.
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) names: Names,
    pub(super) terms: Terms,
    /// Whom to try, with how often each has failed.
    pub(super) issuers: Vec<(Arc<Issuer>, u32)>,
    /// The certificate in use.
    pub(super) current: Option<Certificate>,
    /// Who issued it.
    pub(super) issued_by: Option<String>,
}

/// Where a certificate is stored.
pub(super) fn certificate_key(id: &str) -> String {
    format!("certificates/{id}.pem")
}

/// Where what is remembered about it is stored.
pub(super) fn record_key(id: &str) -> String {
    format!("certificates/{id}.json")
}

/// Orders a certificate, unless another process does or has done so.
pub(super) async fn obtain(plan: Plan, tools: Arc<Tools>) -> Outcome {
    let name = format!("certificates/{}", plan.id);
    let lease = match tools.lock(&name, LIMIT + SLACK).await {
        Ok(Locked::Ours(lease)) => lease,
        Ok(Locked::Theirs { owner, until }) => return Outcome::Busy { owner, until },
        Err(failure) => return Outcome::Failed(vec![failure]),
    };
    let outcome = match adopt(&plan, &tools).await {
        Some(adopted) => adopted,
        None => order(&plan, &tools, &lease).await,
    };
    // A lock that cannot be given back ends by itself.
    drop(tools.storage.unlock(&lease).await);
    outcome
}

/// A certificate in the storage that is newer than the one in use.
async fn adopt(plan: &Plan, tools: &Tools) -> Option<Outcome> {
    let bytes = tools.load(&certificate_key(&plan.id)).await.ok()??;
    let stored = Certificate::from_file(&bytes).ok()?;
    stored.check(&plan.names, tools.clock.now()).ok()?;
    if let Some(current) = &plan.current
        && stored.facts.validity.not_after <= current.facts.validity.not_after
    {
        return None;
    }
    let record = tools.load(&record_key(&plan.id)).await.ok()?;
    let record = record.and_then(|bytes| Record::from_file(&bytes).ok());
    Some(Outcome::Adopted {
        certificate: Box::new(stored),
        record: Box::new(record.unwrap_or_default()),
    })
}

async fn order(plan: &Plan, tools: &Tools, lease: &Lease) -> Outcome {
    let mut failures = Vec::new();
    for (issuer, failed) in &plan.issuers {
        match tools.storage.extend(lease, LIMIT + SLACK).await {
            Ok(true) => {}
            Ok(false) => {
                let told = "the lock of the certificate went to another process";
                failures.push(Failure::new(FailureKind::Storage, told));
                break;
            }
            Err(error) => {
                failures.push(of_storage(error));
                break;
            }
        }
        match issue::obtain(&job(plan, issuer, *failed), issuer, tools).await {
            Ok(certificate) => {
                let unstored = store(&plan.id, &certificate, tools).await.err();
                return Outcome::Obtained {
                    certificate: Box::new(certificate),
                    issuer: issuer.name.clone(),
                    failures,
                    unstored,
                };
            }
            Err(failure) => {
                let goes_on = failure.kind.tries_next_issuer();
                failures.push(failure);
                if !goes_on {
                    break;
                }
            }
        }
    }
    Outcome::Failed(failures)
}

fn job(plan: &Plan, issuer: &Issuer, failed: u32) -> Job {
    let current = plan.current.as_ref();
    let is_same = plan.issued_by.as_deref() == Some(issuer.name.as_str());
    Job {
        names: plan.names.clone(),
        terms: plan.terms.clone(),
        turn: usize::try_from(failed).unwrap_or(0),
        replaces: current
            .filter(|_| is_same)
            .and_then(|found| found.facts.identifier()),
        key_pem: current
            .filter(|found| {
                plan.terms.reuse_key && found.facts.key_type == Some(plan.terms.key_type)
            })
            .map(|found| found.key_pem.clone()),
    }
}

/// Stores a certificate; a file in its place that is none is kept under another name.
async fn store(id: &str, certificate: &Certificate, tools: &Tools) -> Result<(), Failure> {
    let key = certificate_key(id);
    if let Some(old) = tools.load(&key).await?
        && Certificate::from_file(&old).is_err()
    {
        let aside = format!("{key}.damaged-{}", tools.clock.now());
        tools.store(&aside, &old).await?;
    }
    tools.store(&key, certificate.to_file().as_bytes()).await
}

/// Asks an issuer when to renew.
pub(super) async fn ask_info(
    id: CertificateIdentifier<'static>,
    serial: String,
    issuer: Arc<Issuer>,
    tools: Arc<Tools>,
) -> Outcome {
    let answer = match tokio::time::timeout(SLACK, issue::renewal_info(&id, &issuer, &tools)).await
    {
        Ok(answer) => answer,
        Err(_) => Err(Failure::new(
            FailureKind::Unreachable,
            "no renewal information in time",
        )),
    };
    Outcome::Info { serial, answer }
}
