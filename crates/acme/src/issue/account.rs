//! Our account at an issuer: opened from the storage, or made and stored.
//!
//! The file is named after the directory and the external account, so that a change of either makes
//! another account and the old one is there when the change is taken back.

use std::time::Duration;

use clearway_base::hash::stable;
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};

use super::Tools;
use super::client::{AcmeHttp, Seen};
use crate::failure::{Failure, FailureKind, Step, of_error};
use crate::settings::Issuer;
use crate::storage::{Lease, Locked};

/// Making an account takes a few requests.
const HOLD: Duration = Duration::from_secs(120);

/// How long to wait for another task or process that makes the account.
const PATIENCE: u32 = 240;

/// How long between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// An account, and what its requests have seen.
pub(crate) struct Session {
    pub(crate) account: Account,
    pub(crate) seen: Seen,
}

impl Session {
    /// Opens the account of an issuer, and makes it where there is none.
    pub(crate) async fn open(issuer: &Issuer, tools: &Tools) -> Result<Self, Failure> {
        let key = key(issuer);
        if let Some(session) = Self::stored(&key, issuer, tools).await? {
            return Ok(session);
        }
        let lease = take_lock(&key, tools).await?;
        let made = match Self::stored(&key, issuer, tools).await {
            // Another made it while we waited for the lock.
            Ok(Some(session)) => Ok(session),
            Ok(None) => Self::make(&key, issuer, tools).await,
            Err(failure) => Err(failure),
        };
        // A lock that cannot be given back ends by itself.
        drop(tools.storage.unlock(&lease).await);
        made
    }

    /// Makes another account after the authority has forgotten the one stored, which is kept aside.
    pub(crate) async fn replace(issuer: &Issuer, tools: &Tools) -> Result<Self, Failure> {
        let key = key(issuer);
        let lease = take_lock(&key, tools).await?;
        let made = async {
            if let Some(old) = tools.load(&key).await? {
                let aside = format!("{key}.forgotten-{}", tools.clock.now());
                tools.store(&aside, &old).await?;
            }
            Self::make(&key, issuer, tools).await
        }
        .await;
        drop(tools.storage.unlock(&lease).await);
        made
    }

    async fn stored(key: &str, issuer: &Issuer, tools: &Tools) -> Result<Option<Self>, Failure> {
        let Some(bytes) = tools.load(key).await? else {
            return Ok(None);
        };
        let credentials: AccountCredentials = serde_json::from_slice(&bytes).map_err(|error| {
            let told = format!(
                "the stored account {key} cannot be read: {error}; put its file aside to have a new \
                 account made"
            );
            Failure::new(FailureKind::Damaged, told)
        })?;
        let seen = Seen::default();
        let http = AcmeHttp::new(&issuer.roots, &tools.clock, &seen)?;
        let account = Account::builder_with_http(Box::new(http))
            .from_credentials(credentials)
            .await
            .map_err(|error| of_error(&error, &Step::Directory, &seen))?;
        Ok(Some(Self { account, seen }))
    }

    async fn make(key: &str, issuer: &Issuer, tools: &Tools) -> Result<Self, Failure> {
        let seen = Seen::default();
        let http = AcmeHttp::new(&issuer.roots, &tools.clock, &seen)?;
        let contact: Vec<&str> = issuer.contact.iter().map(String::as_str).collect();
        let wish = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = issuer
            .external_account
            .as_ref()
            .map(|external| ExternalAccountKey::new(external.key_id.clone(), external.hmac_key()));
        let (account, credentials) = Account::builder_with_http(Box::new(http))
            .create(&wish, issuer.directory.clone(), external.as_ref())
            .await
            .map_err(|error| of_error(&error, &Step::Account, &seen))?;
        let text = serde_json::to_vec_pretty(&credentials).map_err(|error| {
            Failure::new(FailureKind::Internal, format!("the account: {error}"))
        })?;
        tools.store(key, &text).await?;
        Ok(Self { account, seen })
    }
}

async fn take_lock(key: &str, tools: &Tools) -> Result<Lease, Failure> {
    let mut holder = String::new();
    for _ in 0..PATIENCE {
        match tools.lock(key, HOLD).await? {
            Locked::Ours(lease) => return Ok(lease),
            Locked::Theirs { owner, .. } => holder = owner,
        }
        tokio::time::sleep_until(tokio::time::Instant::now() + LOOK).await;
    }
    let told = format!("the lock of {key} is held by {holder}");
    Err(Failure::new(FailureKind::Storage, told))
}

/// Where an account is stored.
fn key(issuer: &Issuer) -> String {
    let binding = issuer
        .external_account
        .as_ref()
        .map_or("", |external| &external.key_id);
    let hash = stable(format!("{}\n{binding}", issuer.directory).as_bytes());
    let host = issuer.directory.split('/').nth(2).unwrap_or("");
    let shown: String = host
        .to_ascii_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .take(80)
        .collect();
    format!(
        "accounts/{}-{hash:016x}.json",
        shown.trim_start_matches(['.', '-'])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ExternalAccount;

    #[test]
    fn accounts_are_told_apart_by_directory_and_binding() {
        let one = Issuer::new("a", "https://acme.example.org:14000/dir");
        let other = Issuer::new("a", "https://acme.example.org:14000/staging");
        let mut bound = one.clone();
        bound.external_account = Some(ExternalAccount::new("kid", "c2VjcmV0").unwrap());
        assert!(
            key(&one).starts_with("accounts/acme.example.org-14000-"),
            "{}",
            key(&one)
        );
        assert_ne!(key(&one), key(&other));
        assert_ne!(key(&one), key(&bound));
        let renamed = Issuer::new("b", &one.directory);
        assert_eq!(
            key(&one),
            key(&renamed),
            "what it is called in the settings does not matter"
        );
    }
}
