//! One order, from the account to the checked certificate (RFC 8555 section 7.1).

mod account;
pub(crate) mod client;
mod diagnose;

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, KeyAuthorization,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

pub(crate) use account::Session;

use crate::answers::{Answers, Published};
use crate::certificate::{Certificate, new_key};
use crate::clock::Clock;
use crate::dns::{DnsProvider, Lookup, TxtRecord};
use crate::failure::{Failure, FailureKind, Step, of_error};
use crate::name::{Name, Names};
use crate::policy::Window;
use crate::settings::{Challenge, Issuer, Terms};
use crate::storage::{Locked, Storage, StorageError};

/// How long the authority may take to validate, and to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(150));

/// A whole try at one issuer ends by then, whatever hooks and name servers do.
pub(crate) const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How often an order is begun again because the authority took none of our nonces. The library has
/// tried each request three times by then.
const NONCE_TRIES: u32 = 3;

/// What orders work with.
pub(crate) struct Tools {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) lookup: Lookup,
    pub(crate) own_addresses: Vec<std::net::IpAddr>,
    pub(crate) clock: Clock,
}

impl Tools {
    pub(crate) async fn load(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.storage.load(key).await.map_err(of_storage)
    }

    pub(crate) async fn store(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.storage.store(key, value).await.map_err(of_storage)
    }

    pub(crate) async fn lock(&self, name: &str, hold: Duration) -> Result<Locked, Failure> {
        self.storage.lock(name, hold).await.map_err(of_storage)
    }
}

pub(crate) fn of_storage(error: StorageError) -> Failure {
    Failure::new(FailureKind::Storage, error.0)
}

/// One certificate to be ordered.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) names: Names,
    pub(crate) terms: Terms,
    /// How many tries have failed: the way to prove control changes with it.
    pub(crate) turn: usize,
    /// The certificate that the new one takes the place of, if the same issuer made it.
    pub(crate) replaces: Option<CertificateIdentifier<'static>>,
    /// The key to use again.
    pub(crate) key_pem: Option<String>,
}

/// Orders a certificate.
///
/// # Errors
/// What went wrong, in words, with the issuer's name.
pub(crate) async fn obtain(
    job: &Job,
    issuer: &Issuer,
    tools: &Tools,
) -> Result<Certificate, Failure> {
    let limited = tokio::time::timeout(LIMIT, tried(job, issuer, tools));
    let result = limited.await.unwrap_or_else(|_| {
        let told = format!("the order did not end within {} min", LIMIT.as_secs() / 60);
        Err(Failure::new(FailureKind::Slow, told))
    });
    result.map_err(|mut failure| {
        failure.issuer = issuer.name.clone();
        failure
    })
}

async fn tried(job: &Job, issuer: &Issuer, tools: &Tools) -> Result<Certificate, Failure> {
    let mut tries = 1;
    loop {
        let result = async {
            let mut session = Session::open(issuer, tools).await?;
            let mut order = begin(job, issuer, tools, &mut session).await?;
            ordered(job, tools, &session, &mut order).await
        }
        .await;
        match result {
            Err(failure) if failure.kind == FailureKind::BadNonce && tries < NONCE_TRIES => {
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Opens the order. What an authority may say first without meaning the names: that it has forgotten the
/// account, that it knows no renewal information, that the old certificate has its successor already.
async fn begin(
    job: &Job,
    issuer: &Issuer,
    tools: &Tools,
    session: &mut Session,
) -> Result<Order, Failure> {
    let identifiers: Vec<Identifier> = job
        .names
        .iter()
        .map(|name| match name.ip() {
            Some(ip) => Identifier::Ip(ip),
            None => Identifier::Dns(name.as_str().to_owned()),
        })
        .collect();
    let mut replaces = job.replaces.clone().filter(|_| issuer.renewal_info);
    let mut is_new = false;
    loop {
        let mut wish = NewOrder::new(&identifiers);
        if let Some(profile) = &issuer.profile {
            wish = wish.profile(profile);
        }
        let tried_replacing = replaces.is_some();
        if let Some(old) = replaces.take() {
            wish = wish.replaces(old);
        }
        let error = match session.account.new_order(&wish).await {
            Ok(order) => return Ok(order),
            Err(error) => error,
        };
        let is_forgotten = has_type(&error, "accountDoesNotExist");
        if is_forgotten && !is_new {
            *session = Session::replace(issuer, tools).await?;
            is_new = true;
        } else if !(tried_replacing && is_about_replacing(&error)) {
            return Err(of_error(&error, &Step::Order, &session.seen));
        }
    }
}

fn has_type(error: &Error, tag: &str) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref()
        .is_some_and(|kind| kind.rsplit(':').next() == Some(tag)))
}

/// RFC 9773 section 5 names `alreadyReplaced`; authorities that do not know the old certificate answer
/// `malformed` or `unauthorized`, and the library complains when the field does not come back.
fn is_about_replacing(error: &Error) -> bool {
    matches!(error, Error::Unsupported(_) | Error::Other(_))
        || ["alreadyReplaced", "malformed", "unauthorized", "conflict"]
            .iter()
            .any(|tag| has_type(error, tag))
}

/// A challenge that is answered.
pub(crate) struct Answered {
    pub(crate) name: Name,
    pub(crate) kind: ChallengeType,
    pub(crate) published: Option<Published>,
    record: Option<(Arc<DnsProvider>, TxtRecord)>,
}

async fn ordered(
    job: &Job,
    tools: &Tools,
    session: &Session,
    order: &mut Order,
) -> Result<Certificate, Failure> {
    let mut answered = Vec::new();
    let proven = prove(job, tools, session, order, &mut answered).await;
    withdraw(&answered, tools).await;
    proven?;
    finish(job, tools, session, order).await
}

/// Answers every challenge and waits for the authority's verdict.
async fn prove(
    job: &Job,
    tools: &Tools,
    session: &Session,
    order: &mut Order,
    answered: &mut Vec<Answered>,
) -> Result<(), Failure> {
    answer(job, tools, session, order, answered).await?;
    let dns = answered.iter().filter_map(|one| one.record.as_ref());
    for (provider, record) in dns {
        provider.settle(record, &tools.lookup).await?;
    }
    let failed = match ready(order, answered).await {
        Ok(OrderStatus::Ready) => return Ok(()),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    Err(diagnose::failed(order, session, answered, tools, failed.as_ref()).await)
}

/// Publishes an answer for every authorization that is still open.
async fn answer(
    job: &Job,
    tools: &Tools,
    session: &Session,
    order: &mut Order,
    answered: &mut Vec<Answered>,
) -> Result<(), Failure> {
    let told = |error: &Error| of_error(error, &Step::Order, &session.seen);
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let mut authorization = next.map_err(|error| told(&error))?;
        let name = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => {
                let told = format!("the authorization is {:?}", authorization.status);
                return Err(Failure::new(FailureKind::Refused, told.to_lowercase()).about(name));
            }
        }
        let name = Name::parse(&name).map_err(|why| Failure::new(FailureKind::Protocol, why))?;
        let offered: Vec<_> = authorization
            .challenges
            .iter()
            .map(|c| c.r#type.clone())
            .collect();
        let chosen = choose(&job.terms.challenges, &name, &offered, job.turn)?;
        let kind = kind_of(&chosen);
        let Some(challenge) = authorization.challenge(kind.clone()) else {
            continue;
        };
        let (token, proof) = (challenge.token.clone(), challenge.key_authorization());
        publish(&chosen, name, &token, &proof, tools, answered).await?;
    }
    Ok(())
}

/// The way to prove control over a name: of those that fit and are offered, the one whose turn it is.
fn choose(
    challenges: &[Challenge],
    name: &Name,
    offered: &[ChallengeType],
    turn: usize,
) -> Result<Challenge, Failure> {
    let usable: Vec<&Challenge> = challenges
        .iter()
        .filter(|challenge| challenge.fits(name) && offered.contains(&kind_of(challenge)))
        .collect();
    let index = turn.checked_rem(usable.len()).unwrap_or(0);
    if let Some(chosen) = usable.get(index) {
        return Ok(Challenge::clone(chosen));
    }
    let ours: Vec<_> = challenges.iter().map(Challenge::name).collect();
    let told = if name.is_wildcard() {
        format!("a wildcard needs dns-01, and {} is set", list(&ours))
    } else {
        format!(
            "{} is set, and the authority offers none of it",
            list(&ours)
        )
    };
    Err(Failure::new(FailureKind::NoChallenge, told).about(name.as_str()))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "no challenge".to_owned()
    } else {
        names.join(", ")
    }
}

fn kind_of(challenge: &Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::Dns01(_) => ChallengeType::Dns01,
    }
}

async fn publish(
    challenge: &Challenge,
    name: Name,
    token: &str,
    proof: &KeyAuthorization,
    tools: &Tools,
    answered: &mut Vec<Answered>,
) -> Result<(), Failure> {
    let mut one = Answered {
        kind: kind_of(challenge),
        published: None,
        record: None,
        name,
    };
    match challenge {
        Challenge::Http01 => {
            one.published = Some(tools.answers.publish_http(token, proof.as_str()));
        }
        Challenge::TlsAlpn01 => {
            let published = tools
                .answers
                .publish_tls(&one.name, proof.digest().as_ref());
            let told = |why| Failure::new(FailureKind::Internal, why);
            one.published = Some(published.map_err(told)?);
        }
        Challenge::Dns01(provider) => {
            let record = TxtRecord::locate(&one.name, proof.dns_value(), &tools.lookup).await;
            one.record = Some((Arc::clone(provider), record.clone()));
            let name = one.name.to_string();
            // Noted first: a hook that failed half-way is given the chance to clean up.
            answered.push(one);
            return provider
                .present(&record, &tools.clock)
                .await
                .map_err(|failure| failure.about(name));
        }
    }
    answered.push(one);
    Ok(())
}

/// Tells the authority to look, and waits until it has.
async fn ready(order: &mut Order, answered: &[Answered]) -> Result<OrderStatus, Error> {
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let mut authorization = next?;
        let name = authorization.identifier().to_string();
        let Some(one) = answered.iter().find(|one| one.name.as_str() == name) else {
            continue;
        };
        if let Some(mut challenge) = authorization.challenge(one.kind.clone()) {
            challenge.set_ready().await?;
        }
    }
    order.poll_ready(&PATIENCE).await
}

/// Takes answers back. What cannot be removed from DNS is harmless and must not spoil the order.
async fn withdraw(answered: &[Answered], tools: &Tools) {
    for (provider, record) in answered.iter().filter_map(|one| one.record.as_ref()) {
        drop(provider.cleanup(record, &tools.clock).await);
    }
}

/// Sends the request for the certificate, fetches it and checks it.
async fn finish(
    job: &Job,
    tools: &Tools,
    session: &Session,
    order: &mut Order,
) -> Result<Certificate, Failure> {
    let told = |error: &Error| of_error(error, &Step::Finalize, &session.seen);
    let key = key(job)
        .await
        .map_err(|why| Failure::new(FailureKind::Internal, why))?;
    let request = signing_request(&job.names, &key)
        .map_err(|why| Failure::new(FailureKind::Internal, why))?;
    order
        .finalize_csr(&request)
        .await
        .map_err(|error| told(&error))?;
    let chain = order
        .poll_certificate(&PATIENCE)
        .await
        .map_err(|error| told(&error))?;
    let unusable = |why: String| {
        let told = format!("the certificate issued cannot be used: {why}");
        Failure::new(FailureKind::Unusable, told)
    };
    let certificate = Certificate::new(&chain, &key.serialize_pem()).map_err(unusable)?;
    certificate
        .check(&job.names, tools.clock.now())
        .map_err(unusable)?;
    Ok(certificate)
}

async fn key(job: &Job) -> Result<KeyPair, String> {
    match &job.key_pem {
        Some(pem) => KeyPair::from_pem(pem).map_err(|error| format!("the old key: {error}")),
        None => {
            // RSA takes a tenth of a second and more, in which other tasks want to run.
            let kind = job.terms.key_type;
            let made = tokio::task::spawn_blocking(move || new_key(kind)).await;
            made.unwrap_or_else(|error| Err(format!("the key's thread: {error}")))
        }
    }
}

fn signing_request(names: &Names, key: &KeyPair) -> Result<Vec<u8>, String> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let told = |error: rcgen::Error| format!("the signing request: {error}");
    let mut params = CertificateParams::new(names).map_err(told)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).map_err(told)?;
    Ok(request.der().to_vec())
}

/// What an authority says about renewing a certificate.
pub(crate) struct Advice {
    pub(crate) window: Window,
    /// Seconds until it wants to be asked again.
    pub(crate) retry_after: u64,
    pub(crate) explanation: Option<String>,
}

/// Asks for renewal information (RFC 9773); `None` when the authority has none.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn renewal_info(
    id: &CertificateIdentifier<'static>,
    issuer: &Issuer,
    tools: &Tools,
) -> Result<Option<Advice>, Failure> {
    let session = Session::open(issuer, tools).await?;
    match session.account.renewal_info(id).await {
        Ok((info, retry_after)) => {
            let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
            let window = &info.suggested_window;
            Ok(Some(Advice {
                window: Window {
                    start: seconds(window.start.unix_timestamp()),
                    end: seconds(window.end.unix_timestamp()),
                },
                retry_after: retry_after.as_secs(),
                explanation: info
                    .explanation_url
                    .map(|url| crate::encoding::one_line(&url, 300)),
            }))
        }
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(of_error(&error, &Step::Order, &session.seen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn the_way_changes_with_each_failed_try() {
        let ours = [Challenge::Http01, Challenge::TlsAlpn01];
        let offered = [
            ChallengeType::TlsAlpn01,
            ChallengeType::Http01,
            ChallengeType::Dns01,
        ];
        let chosen = |turn| {
            choose(&ours, &name("a.org"), &offered, turn)
                .unwrap()
                .name()
        };
        assert_eq!(
            [chosen(0), chosen(1), chosen(2)],
            ["http-01", "tls-alpn-01", "http-01"]
        );
        let only = [ChallengeType::TlsAlpn01];
        assert_eq!(
            choose(&ours, &name("a.org"), &only, 0).unwrap().name(),
            "tls-alpn-01"
        );
    }

    #[test]
    fn no_way_is_explained() {
        let offered = [ChallengeType::Dns01];
        let told = |name: &Name, ours: &[Challenge]| {
            let failure = choose(ours, name, &offered, 0).unwrap_err();
            assert_eq!(failure.kind, FailureKind::NoChallenge);
            failure.to_string()
        };
        let wild = told(&name("*.a.org"), &[Challenge::Http01]);
        assert_eq!(wild, "*.a.org: a wildcard needs dns-01, and http-01 is set");
        assert!(told(&name("a.org"), &[]).contains("no challenge is set"));
    }
}
