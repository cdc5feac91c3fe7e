//! A real authority (Pebble), its DNS, responders over [`Answers`], and a keeper on a thread of its own.

pub(crate) mod front;
pub(crate) mod pebble;
pub(crate) mod respond;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clearway_acme::{
    Answers, Certificate, CertificateStatus, Challenge, Clock, DiskStorage, Event, Handle, Issued,
    Keeper, Name, Names, Receiver, Settings, Wanted, settings::Terms,
};
use clearway_testkit::TempDir;
use clearway_testkit::wait::Watched;

/// Orders over real HTTPS take a few seconds on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const DAY: u64 = 86_400;

/// An authority that checks http-01 here.
pub(crate) fn over_http(answers: &Arc<Answers>) -> pebble::Pebble {
    pebble::Pebble::start(&pebble::Setup {
        http: Some(respond::http(answers)),
        ..pebble::Setup::default()
    })
}

/// By http-01.
pub(crate) fn http_terms() -> Terms {
    Terms {
        challenges: vec![Challenge::Http01],
        ..Terms::default()
    }
}

/// Names of a certificate.
pub(crate) fn names(texts: &[&str]) -> Names {
    Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
}

/// A certificate wanted.
pub(crate) fn wanted(texts: &[&str], terms: &Terms) -> Arc<Wanted> {
    Arc::new(Wanted {
        names: names(texts),
        terms: terms.clone(),
    })
}

/// What the keeper told, as it came.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) certificates: Vec<Issued>,
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Default)]
pub(crate) struct Ear(Arc<Watched<Told>>);

impl Receiver for Ear {
    fn certificate(&self, issued: Issued) {
        self.0.change(|told| told.certificates.push(issued));
    }

    fn event(&self, event: Event) {
        self.0.change(|told| told.events.push(event));
    }
}

impl Ear {
    /// Waits until the keeper has handed over so many certificates, and gives the last one.
    pub(crate) fn certificate(&self, count: usize) -> Certificate {
        let found = self.0.wait(LIMIT, |told| {
            (told.certificates.len() >= count).then(|| told.certificates[count - 1].clone())
        });
        let issued = found.unwrap_or_else(|| panic!("no certificate: {:#?}", self.events()));
        Certificate::new(&issued.chain_pem, &issued.key_pem).unwrap()
    }

    /// Waits for an event.
    pub(crate) fn event<T>(&self, what: &str, mut look: impl FnMut(&Event) -> Option<T>) -> T {
        let found = self
            .0
            .wait(LIMIT, |told| told.events.iter().find_map(&mut look));
        found.unwrap_or_else(|| panic!("waited in vain for {what}: {:#?}", self.events()))
    }

    /// Waits for a failure and gives its code and words.
    pub(crate) fn failure(&self) -> (&'static str, String) {
        self.event("a failure", |event| {
            if let Event::Failed { code, words, .. } = event {
                Some((*code, words.clone()))
            } else {
                None
            }
        })
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.read(|told| told.events.clone())
    }
}

/// A keeper at work.
pub(crate) struct Running {
    pub(crate) handle: Option<Handle>,
    pub(crate) ear: Ear,
    /// How far our clock is ahead, in seconds.
    ahead: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts a keeper that stores below `folder`.
    pub(crate) fn start(settings: Settings, folder: &TempDir, answers: &Arc<Answers>) -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let (wall, by) = (Clock::wall(), Arc::clone(&ahead));
        let clock = Clock::new(move || wall.now() + by.load(Ordering::Relaxed));
        let storage = DiskStorage::open(&folder.path().join("acme"), clock.clone()).unwrap();
        let ear = Ear::default();
        let (handle, keeper) = Keeper::new(
            settings,
            Arc::new(storage),
            Arc::clone(answers),
            Arc::new(ear.clone()),
            clock,
        );
        let thread = std::thread::spawn(move || block_on(keeper.run()));
        Self {
            handle: Some(handle),
            ear,
            ahead,
            thread: Some(thread),
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    /// Lets the keeper's clock jump, and makes it look.
    pub(crate) fn pass(&self, seconds: u64, settings: &Settings) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
        block_on(self.handle().settings(settings.clone()));
    }

    /// The state of the certificate that has this as its first name, once it is as `look` wants it.
    pub(crate) fn status(
        &self,
        name: &str,
        mut look: impl FnMut(&CertificateStatus) -> bool,
    ) -> CertificateStatus {
        clearway_testkit::wait::until(name, || {
            let status = self.handle().status();
            let found = status
                .certificates
                .iter()
                .find(|one| one.names[0] == name)?;
            look(found).then(|| found.clone())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the keeper ends without a panic");
            }
        }
    }
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
