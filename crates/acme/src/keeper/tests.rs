//! The keeper without an authority: what it finds in its storage, and what it refuses.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clearway_testkit::TempDir;

use super::*;
use crate::certificate::testing::certificate;
use crate::demand::Pattern;
use crate::name::Names;
use crate::settings::{KeyType, OnDemand, Wanted};
use crate::storage::DiskStorage;

/// The certificates of these tests are valid from 2020 until 2040.
const IN_2026: u64 = 1_767_225_600;

#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Ear {
    fn told(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn has(&self, part: &str) -> bool {
        self.told().iter().any(|told| told.contains(part))
    }
}

impl Receiver for Ear {
    fn certificate(&self, issued: Issued) {
        self.0
            .lock()
            .unwrap()
            .push(format!("certificate {}", issued.id));
    }

    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event.to_string());
    }
}

struct Bench {
    folder: TempDir,
    ear: Arc<Ear>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: TempDir::new(),
            ear: Arc::default(),
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("acme")
    }

    /// Runs a keeper beside `test`, which ends it.
    fn run<F: Future<Output = ()>>(&self, settings: Settings, test: impl FnOnce(Handle) -> F) {
        self.run_at(Clock::new(|| IN_2026), settings, test);
    }

    /// The same, with a clock of its own.
    fn run_at<F: Future<Output = ()>>(
        &self,
        clock: Clock,
        settings: Settings,
        test: impl FnOnce(Handle) -> F,
    ) {
        let storage = DiskStorage::open(&self.root(), clock.clone()).unwrap();
        let ear: Arc<dyn Receiver> = Arc::<Ear>::clone(&self.ear);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let (handle, keeper) =
                Keeper::new(settings, Arc::new(storage), Answers::new(), ear, clock);
            tokio::join!(keeper.run(), async {
                // Returns when what is stored has been loaded.
                assert!(!handle.renew("nothing").await);
                test(handle).await;
            });
        });
    }

    fn store(&self, key: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn names(text: &str) -> Names {
    Names::one(Name::parse(text).unwrap())
}

/// Certificates wanted from an issuer that does not exist, so that nothing is ever ordered.
fn wanted(texts: &[&str]) -> Settings {
    let terms = Terms {
        issuers: vec!["nobody".to_owned()],
        ..Terms::default()
    };
    let wanted = texts.iter().map(|text| Wanted {
        names: names(text),
        terms: terms.clone(),
    });
    Settings {
        certificates: wanted.map(Arc::new).collect(),
        ..Settings::default()
    }
}

#[test]
fn what_is_stored_is_handed_over_and_what_is_damaged_is_told_and_left() {
    let bench = Bench::new();
    let good = certificate(&["a.org"], KeyType::EcdsaP256);
    let (a, b, c) = (
        names("a.org").id(),
        names("b.org").id(),
        names("c.org").id(),
    );
    bench.store(&format!("certificates/{a}.pem"), good.to_file().as_bytes());
    let record = bench.store(&format!("certificates/{a}.json"), b"{ what");
    let damaged = bench.store(&format!("certificates/{b}.pem"), b"what is this");
    let other = bench.store(&format!("certificates/{c}.pem"), good.to_file().as_bytes());
    bench.run(wanted(&["a.org", "b.org", "c.org"]), |handle| async move {
        let status = handle.status();
        let not_after: Vec<_> = status
            .certificates
            .iter()
            .map(|one| one.not_after)
            .collect();
        assert_eq!(not_after, [Some(good.facts.validity.not_after), None, None]);
        assert_eq!(
            status.troubles.len(),
            3 + 3,
            "three files, three times an unknown issuer"
        );
        let failure = status.certificates[1].last_failure.as_deref();
        assert_eq!(failure, Some("no issuer is set for it"));
    });
    assert!(bench.ear.has(&format!("certificate {a}")));
    for part in [
        &format!("{a}.json is damaged: key must be a string"),
        &format!("{b}.pem cannot be used: there is no certificate in it"),
        &format!("{c}.pem cannot be used: it is not for c.org"),
        "the issuer `nobody` is not in the settings",
    ] {
        assert!(
            bench.ear.has(part),
            "{part:?} is not in {:#?}",
            bench.ear.told()
        );
    }
    assert!(record.exists() && damaged.exists() && other.exists());
}

#[test]
fn new_settings_keep_what_they_still_want() {
    let bench = Bench::new();
    let good = certificate(&["a.org"], KeyType::EcdsaP256);
    let id = names("a.org").id();
    bench.store(&format!("certificates/{id}.pem"), good.to_file().as_bytes());
    bench.run(wanted(&["a.org"]), |handle| async move {
        handle.settings(wanted(&["b.org", "a.org", "b.org"])).await;
        let status = handle.status();
        let serials: Vec<_> = status.certificates.iter().map(|one| &one.serial).collect();
        assert_eq!(serials, [&Some(good.facts.serial), &None]);
        assert!(
            status
                .troubles
                .iter()
                .any(|told| told.contains("wanted twice"))
        );
        handle.settings(Settings::default()).await;
        assert!(handle.status().certificates.is_empty());
    });
    let loaded = bench
        .ear
        .told()
        .iter()
        .filter(|told| told.contains("loaded"))
        .count();
    assert_eq!(loaded, 1, "it was not loaded twice");
    assert!(bench.ear.has("the settings no longer want it"));
}

#[test]
fn names_on_demand_are_refused_with_a_reason() {
    let bench = Bench::new();
    let good = certificate(&["a.org"], KeyType::EcdsaP256);
    let id = names("a.org").id();
    bench.store(&format!("certificates/{id}.pem"), good.to_file().as_bytes());
    let demand = |max| OnDemand {
        allow: vec![
            Pattern::parse("*.org").unwrap(),
            Pattern::parse("a.org").unwrap(),
        ],
        burst: 0,
        per_hour: 0,
        max,
        terms: Terms::default(),
    };
    bench.run(Settings::default(), |handle| async move {
        assert_eq!(handle.ask("a.org").await, Err(Denial::Off));
        let settings = |max| Settings {
            on_demand: Some(demand(max)),
            ..Settings::default()
        };
        handle.settings(settings(5)).await;
        assert!(matches!(
            handle.ask("a.com").await,
            Err(Denial::NotAllowed(_))
        ));
        assert!(matches!(
            handle.ask("192.0.2.1").await,
            Err(Denial::NotAllowed(_))
        ));
        assert!(matches!(handle.ask("b.org").await, Err(Denial::TooFast(_))));
        // What is stored costs no order.
        assert_eq!(handle.ask("a.org").await, Ok(()));
        handle.settings(settings(1)).await;
        assert_eq!(handle.ask("b.org").await, Err(Denial::Full(1)));
        let other = handle.clone();
        drop(handle);
        assert_eq!(other.ask("a.org").await, Ok(()));
    });
    assert!(bench.ear.has(&format!("certificate {id}")));
}

#[test]
fn a_certificate_that_another_process_obtained_is_adopted() {
    let bench = Bench::new();
    let good = certificate(&["a.org"], KeyType::EcdsaP256);
    let id = names("a.org").id();
    let issuer = Arc::new(Issuer::new("dead", "https://127.0.0.1:1/"));
    let mut settings = wanted(&["a.org"]);
    settings.issuers = vec![issuer];
    let there = &bench;
    bench.run(settings.clone(), |handle| async move {
        // It comes after the start, as if by another host.
        there.store(&format!("certificates/{id}.pem"), good.to_file().as_bytes());
        let mut open = settings;
        let mut one = Wanted::clone(&open.certificates[0]);
        one.terms.issuers = vec!["dead".to_owned()];
        open.certificates = vec![Arc::new(one)];
        handle.settings(open).await;
        let adopted = async {
            while handle.status().certificates[0].serial.is_none() {
                tokio::task::yield_now().await;
            }
        };
        let limited = tokio::time::timeout(clearway_testkit::wait::LIMIT, adopted);
        limited.await.unwrap();
    });
    assert!(bench.ear.has("loaded, valid until 2040"));
    assert!(
        !bench.ear.has("cannot be reached"),
        "{:#?}",
        bench.ear.told()
    );
}

/// One order on demand for ever, from an issuer that cannot be reached.
fn one_order(allow: &str) -> Settings {
    Settings {
        issuers: vec![Arc::new(Issuer::new("dead", "https://127.0.0.1:1/"))],
        on_demand: Some(OnDemand {
            allow: vec![Pattern::parse(allow).unwrap()],
            burst: 1,
            per_hour: 0,
            max: 5,
            terms: Terms {
                challenges: vec![crate::settings::Challenge::Http01],
                ..Terms::default()
            },
        }),
        ..Settings::default()
    }
}

/// A clock, and what sets it.
fn hands() -> (Arc<AtomicU64>, Clock) {
    let time = Arc::new(AtomicU64::new(IN_2026));
    let read = Arc::clone(&time);
    (time, Clock::new(move || read.load(Ordering::Relaxed)))
}

#[test]
fn names_that_failed_are_rationed_like_new_ones() {
    let bench = Bench::new();
    let (time, clock) = hands();
    bench.run_at(clock, one_order("*.org"), |handle| async move {
        let first = handle.ask("a.org").await;
        assert!(matches!(first, Err(Denial::Failed(..))), "{first:?}");
        let again = handle.ask("a.org").await;
        assert!(matches!(again, Err(Denial::Failed(..))), "{again:?}");
        // Its pause is over, the ration is not there again.
        time.fetch_add(86_400, Ordering::Relaxed);
        let later = handle.ask("a.org").await;
        assert!(matches!(later, Err(Denial::TooFast(_))), "{later:?}");
    });
}

#[test]
fn one_that_a_client_asked_for_is_renewed_also_after_it_has_expired() {
    let bench = Bench::new();
    let good = certificate(&["a.org"], KeyType::EcdsaP256);
    let id = names("a.org").id();
    bench.store(&format!("certificates/{id}.pem"), good.to_file().as_bytes());
    let (time, clock) = hands();
    bench.run_at(clock, one_order("a.org"), |handle| async move {
        assert_eq!(handle.ask("a.org").await, Ok(()));
        // Past its end, and past the pause after each failure: nobody asks, the keeper only looks.
        for failures in 1..3 {
            time.store(
                good.facts.validity.not_after + failures * 86_400,
                Ordering::Relaxed,
            );
            let failed = async {
                while handle.status().certificates[0].failures < u32::try_from(failures).unwrap() {
                    assert!(!handle.renew("nothing").await);
                    tokio::task::yield_now().await;
                }
            };
            let limited = tokio::time::timeout(clearway_testkit::wait::LIMIT, failed);
            limited.await.unwrap();
        }
    });
}
