//! Certificates by ACME: what the configuration says of them, and the keeper that obtains them for the
//! listeners.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use clearway_acme::demand::Pattern;
use clearway_acme::dns::{DnsProvider, Hook, Propagation, TsigAlgorithm, TsigKey, Update, Via};
use clearway_acme::{
    Answers, Challenge, Clock, DiskStorage, Event, ExternalAccount, Handle, Issued, Issuer, Keeper,
    KeyType, Name, Names, OnDemand, Receiver, Roots, Settings, Status, Terms, Wanted,
};
use clearway_config::Diagnostic;
use clearway_config::model::{
    Acme, AcmeChallenge, AcmeDns, AcmeIssuer, AcmeKey, Config, LogLevel, Origin,
};
use clearway_net::tls::{self, Certificate};
use clearway_proxy::issuance::{Asked, Issuance};

use crate::state::State;
use crate::{names, task};

/// How long resolvers may keep the records of dns-01, in seconds.
const TXT_TTL: u32 = 60;

/// Obtains certificates, from when a configuration first wants some.
pub(crate) struct Issuing {
    answers: Arc<Answers>,
    kept: Arc<Kept>,
    running: OnceLock<Running>,
}

struct Running {
    handle: Handle,
    /// Where it keeps what it has.
    folder: PathBuf,
}

/// A storage that nobody uses yet.
pub(crate) struct Opened {
    storage: DiskStorage,
    clock: Clock,
}

/// The certificates in use.
#[derive(Default)]
struct Kept {
    issued: Arc<tls::Issued>,
    /// Those that are no longer wanted, while the Plan that wants them is still in force.
    leaving: Mutex<Option<Vec<String>>>,
}

impl Kept {
    fn leaving(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, id: &str, certificate: Certificate) {
        if let Some(leaving) = self.leaving().as_mut() {
            leaving.retain(|other| other != id);
        }
        self.issued.put(id, certificate);
    }

    fn remove(&self, id: &str) {
        match self.leaving().as_mut() {
            Some(leaving) => leaving.push(id.to_owned()),
            None => self.issued.remove(id),
        }
    }
}

impl std::fmt::Debug for Issuing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuing").finish_non_exhaustive()
    }
}

impl Issuing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Answers::new(),
            kept: Arc::default(),
            running: OnceLock::new(),
        })
    }

    /// Opens the storage, when settings want certificates and nothing obtains them yet.
    ///
    /// # Errors
    /// The storage cannot be had, in words.
    pub(crate) fn open(
        &self,
        config: &Config,
        settings: &Settings,
    ) -> Result<Option<Opened>, String> {
        if !wants_some(settings) || self.running.get().is_some() {
            return Ok(None);
        }
        let clock = Clock::wall();
        let storage = DiskStorage::open(&config.acme.storage, clock.clone())
            .map_err(|error| format!("acme.storage: {error}"))?;
        Ok(Some(Opened { storage, clock }))
    }

    /// Whether it goes on in another folder than a configuration says that wants certificates.
    pub(crate) fn is_elsewhere(&self, config: &Config, settings: &Settings) -> bool {
        let running = self.running.get();
        wants_some(settings) && running.is_some_and(|running| running.folder != config.acme.storage)
    }

    /// Begins to obtain certificates, with a storage that was opened for it.
    pub(crate) fn start(&self, opened: Option<Opened>, state: &Arc<State>) {
        let Some(Opened { storage, clock }) = opened else {
            return;
        };
        let folder = storage.root().to_owned();
        let told = Told {
            state: Arc::clone(state),
            kept: Arc::clone(&self.kept),
        };
        let (handle, keeper) = Keeper::new(
            Settings::default(),
            Arc::new(storage),
            Arc::clone(&self.answers),
            Arc::new(told),
            clock,
        );
        drop(task::spawn(keeper.run()));
        // Only the supervisor comes here.
        drop(self.running.set(Running { handle, folder }));
    }

    /// Obtains what settings want from now on. Returns when what is stored has been loaded. What they no
    /// longer want stays in use until [`Issuing::settle`].
    pub(crate) async fn follow(&self, settings: Settings) {
        if let Some(running) = self.running.get() {
            self.kept.leaving().get_or_insert_default();
            running.handle.settings(settings).await;
        }
    }

    /// The Plan for these settings is in force.
    pub(crate) fn settle(&self) {
        let leaving = self.kept.leaving().take().unwrap_or_default();
        for id in leaving {
            self.kept.issued.remove(&id);
        }
    }

    /// How things stand; `None` while no configuration has wanted a certificate.
    pub(crate) fn status(&self) -> Option<Arc<Status>> {
        Some(self.running.get()?.handle.status())
    }

    /// Renews a certificate now. Says whether there is one with this id.
    pub(crate) async fn renew(&self, id: &str) -> bool {
        match self.running.get() {
            Some(running) => running.handle.renew(id).await,
            None => false,
        }
    }
}

/// Whether settings want any certificate.
fn wants_some(settings: &Settings) -> bool {
    !settings.certificates.is_empty() || settings.on_demand.is_some()
}

impl Issuance for Issuing {
    fn issued(&self) -> &Arc<tls::Issued> {
        &self.kept.issued
    }

    fn http_answer(&self, path: &str) -> Option<Arc<str>> {
        self.answers.http_path(path)
    }

    fn expects_handshake(&self) -> bool {
        !self.answers.is_empty()
    }

    fn tls_answer(&self, server_name: &str) -> Option<Certificate> {
        let answer = self.answers.tls(server_name)?;
        tls::challenge(answer.chain.clone(), answer.key.clone_key()).ok()
    }

    fn ask<'a>(&'a self, server_name: &'a str) -> Asked<'a> {
        Box::pin(async move {
            if let Some(running) = self.running.get() {
                // Why there is none stands in the status; strangers must not be able to fill a log.
                drop(running.handle.ask(server_name).await);
            }
        })
    }
}

/// Takes certificates into use, and tells what happened.
struct Told {
    state: Arc<State>,
    kept: Arc<Kept>,
}

impl Receiver for Told {
    fn certificate(&self, issued: Issued) {
        match tls::from_pem(&issued.chain_pem, &issued.key_pem) {
            Ok(certificate) => self.kept.put(&issued.id, certificate),
            Err(words) => {
                let words = format!("acme: {}: it cannot be used: {words}", issued.id);
                self.state.say(LogLevel::Error, words);
            }
        }
    }

    fn event(&self, event: Event) {
        let level = match &event {
            Event::Issued { .. } | Event::Renewed { .. } | Event::Loaded { .. } => LogLevel::Info,
            Event::Dropped { id, .. } => {
                self.kept.remove(id);
                LogLevel::Info
            }
            Event::Failed { .. } | Event::Trouble { .. } => LogLevel::Warn,
        };
        self.state.say(level, format!("acme: {event}"));
    }
}

/// What the configuration says about certificates by ACME.
///
/// # Errors
/// Names that no authority takes, and files that cannot be read.
pub(crate) fn settings(config: &Config) -> Result<Settings, Vec<Diagnostic>> {
    let acme = &config.acme;
    let mut found = Vec::new();
    let all = config.listeners.iter().filter_map(|l| l.tls.as_ref());
    if !all.clone().any(|tls| tls.is_automatic()) {
        return Ok(Settings::default());
    }
    let terms = terms(acme, &mut found);
    let mut settings = Settings {
        resolver: names::settings(&config.resolver),
        own_addresses: acme.own_addresses.clone(),
        ..Settings::default()
    };
    for issuer in &acme.issuers {
        let issuer = self::issuer(acme, issuer, &mut found);
        settings.issuers.extend(issuer.map(Arc::new));
    }
    let mut allow = Vec::new();
    for tls in all {
        let origin = tls.origins.field_or_section("acme");
        for name in &tls.acme {
            let names = Name::parse(name.as_str()).and_then(|name| Names::new([name]));
            let Some(names) = note(names, origin, &mut found) else {
                continue;
            };
            let known = &settings.certificates;
            if known.iter().any(|wanted| wanted.names == names) {
                continue;
            }
            let terms = terms.clone();
            let wanted = Arc::new(Wanted { names, terms });
            settings.certificates.push(wanted);
        }
        let origin = tls.origins.field_or_section("on_demand");
        for name in &tls.on_demand {
            allow.extend(note(Pattern::parse(name.as_str()), origin, &mut found));
        }
    }
    settings.on_demand = (!allow.is_empty()).then_some(OnDemand {
        allow,
        burst: acme.on_demand_burst,
        per_hour: acme.on_demand_per_hour,
        max: acme.on_demand_max,
        terms,
    });
    if found.is_empty() {
        Ok(settings)
    } else {
        Err(found)
    }
}

fn terms(acme: &Acme, found: &mut Vec<Diagnostic>) -> Terms {
    let provider = acme.dns.as_ref().and_then(|dns| provider(dns, found));
    let provider = provider.map(Arc::new);
    let ways = acme.challenges.iter().filter_map(|way| match way {
        AcmeChallenge::Http01 => Some(Challenge::Http01),
        AcmeChallenge::TlsAlpn01 => Some(Challenge::TlsAlpn01),
        AcmeChallenge::Dns01 => Some(Challenge::Dns01(Arc::clone(provider.as_ref()?))),
    });
    Terms {
        key_type: match acme.key {
            AcmeKey::EcdsaP256 => KeyType::EcdsaP256,
            AcmeKey::EcdsaP384 => KeyType::EcdsaP384,
            AcmeKey::Rsa2048 => KeyType::Rsa2048,
        },
        challenges: ways.collect(),
        ..Terms::default()
    }
}

fn provider(dns: &AcmeDns, found: &mut Vec<Diagnostic>) -> Option<DnsProvider> {
    let via = match (&dns.exec, dns.server) {
        (Some(program), _) => Via::Exec(Hook {
            program: program.clone(),
            arguments: Vec::new(),
            environment: Vec::new(),
            timeout: dns.timeout,
        }),
        (None, Some(server)) => {
            let key = dns.key_name.as_ref().zip(dns.key_file.as_ref());
            let origin = dns.origins.field_or_section("key_file");
            let key = match key {
                Some((name, path)) => {
                    let secret = note(read(path), origin, found)?;
                    let name = name.as_str();
                    let key = TsigKey::new(name, TsigAlgorithm::HmacSha256, secret.trim());
                    Some(note(key, origin, found)?)
                }
                None => None,
            };
            Via::Update(Update {
                server,
                zone: None,
                key,
                ttl: TXT_TTL,
                timeout: dns.timeout,
            })
        }
        (None, None) => return None,
    };
    let propagation = match (Propagation::default(), dns.propagation) {
        (_, limit) if limit.is_zero() => Propagation::None,
        (Propagation::Visible { servers, every, .. }, within) => Propagation::Visible {
            servers,
            within,
            every,
        },
        (other, _) => other,
    };
    Some(DnsProvider { via, propagation })
}

fn issuer(acme: &Acme, issuer: &AcmeIssuer, found: &mut Vec<Diagnostic>) -> Option<Issuer> {
    let roots = match &issuer.ca {
        Some(path) => {
            let origin = issuer.origins.field_or_section("ca");
            // Read here as well, so that a file without a certificate is told with its place.
            let certificates = tls::certificates(path).map_err(|problem| problem.to_string());
            note(certificates, origin, found)?;
            Roots::Pem(note(read(path), origin, found)?)
        }
        None => Roots::System,
    };
    let account = issuer.key_id.as_ref().zip(issuer.hmac_key_file.as_ref());
    let external_account = match account {
        Some((id, path)) => {
            let origin = issuer.origins.field_or_section("hmac_key_file");
            let key = note(read(path), origin, found)?;
            let account = ExternalAccount::new(id.as_str(), key.trim());
            Some(note(account, origin, found)?)
        }
        None => None,
    };
    Some(Issuer {
        contact: acme
            .contact
            .iter()
            .map(|uri| uri.as_str().to_owned())
            .collect(),
        external_account,
        roots,
        profile: issuer.profile.as_ref().map(ToString::to_string),
        renewal_info: issuer.renewal_info,
        ..Issuer::new(&issuer.label(), issuer.directory.as_str())
    })
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The value, or nothing and a diagnostic.
fn note<T>(value: Result<T, String>, origin: &Origin, found: &mut Vec<Diagnostic>) -> Option<T> {
    match value {
        Ok(value) => Some(value),
        Err(words) => {
            found.push(Diagnostic::error("acme", origin, words));
            None
        }
    }
}
