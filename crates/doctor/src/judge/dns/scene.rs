//! Cases for tests, in a few words.

use std::sync::Arc;

use clearway_config::Origin;
use clearway_config::survey::{
    BackendSurvey, BindSurvey, FrontSurvey, Pitfall, ServerSurvey, Setting, Spoke, Survey,
    TimeoutSurvey, TlsSurvey,
};
use clearway_outcome::{
    CertificateFacts, FaultKind, Place, Sighting, Signal, Speaker, Suspects, TlsFacts,
};

use crate::case::{Case, Subject};
use crate::cause::Cause;
use crate::evidence::{Finding, Lookup, Probe, Reply, Where};
use crate::opinion::Confidence;
use crate::verdict::Verdict;

/// When everything fails, in microseconds since 1970: November 2026.
pub(in crate::judge) const NOW_US: i64 = 1_795_000_000_000_000;
pub(in crate::judge) const NOW_S: i64 = NOW_US / 1_000_000;

/// A line of the configuration.
pub(in crate::judge) fn line(line: u32) -> Origin {
    Origin {
        file: Arc::from("lb.conf"),
        line,
        column: 5,
        len: 10,
    }
}

/// A group `app` with one server, which is `address`.
pub(in crate::judge) fn backend(address: &str) -> BackendSurvey {
    let (host, port) = match Where::parse(address) {
        Where::Socket(at) => (at.ip().to_string(), at.port()),
        Where::Name(name, port) => (name, port),
        Where::Unix(path) => (path, 0),
        Where::Nowhere => (address.to_owned(), 0),
    };
    let never = || Setting::by_default("timeout", None);
    BackendSurvey {
        places: Vec::new(),
        name: "app".to_owned(),
        origin: Some(line(10)),
        pass_origin: None,
        speaks: Setting::by_default("speaks", Spoke::Http1),
        servers: vec![ServerSurvey {
            name: address.to_owned(),
            origin: Some(line(11)),
            host,
            port,
            is_unix: address.starts_with("unix:"),
            backup: false,
            down: false,
            maxconn: 0,
            is_checked: false,
        }],
        timeouts: TimeoutSurvey {
            connect: never(),
            send: never(),
            response: never(),
            queue: never(),
            tunnel: never(),
        },
        tls: None,
        check: None,
        ejection: None,
        keepalive: Setting::by_default("keepalive", true),
        keepalive_idle: None,
        tcp_keepalive: None,
        proxy_header: Setting::by_default("send_proxy", 0),
        host: None,
        passes_upgrade: Setting::by_default("upgrade", true),
        response_header_limit: None,
        response_header_count: None,
        buffers_request: None,
        sticky: None,
        retries: None,
        resolves_at_run_time: Setting::by_default("resolve", false),
    }
}

/// TLS that verifies and asks for `sni`.
pub(in crate::judge) fn tls(sni: Option<&str>) -> TlsSurvey {
    TlsSurvey {
        verify: Setting::by_default("verify", true),
        sni: Setting::by_default("sni", sni.map(str::to_owned)),
        expected_name: None,
        ca: None,
        certificate: None,
        min_version: None,
        max_version: None,
        ciphers: None,
    }
}

/// A front on `bind` that leads to `app`.
pub(in crate::judge) fn front(bind: &str) -> FrontSurvey {
    FrontSurvey {
        name: "web".to_owned(),
        origin: Some(line(1)),
        binds: vec![BindSurvey {
            address: bind.to_owned(),
            tls: false,
            proxy_header: false,
            origin: Some(line(2)),
        }],
        hosts: Vec::new(),
        backends: vec!["app".to_owned()],
        has_default: true,
        client_timeout: None,
        body_limit: None,
        header_limit: None,
        maxconn: None,
        access_logs: Vec::new(),
        error_logs: Vec::new(),
    }
}

/// A certificate for names, valid a year before and after now, issued by `issuer`.
pub(in crate::judge) fn certificate(names: &[&str], issuer: &str) -> CertificateFacts {
    CertificateFacts {
        subject: format!("CN={}", names.first().unwrap_or(&"")),
        issuer: format!("CN={issuer}"),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        not_before: NOW_S - 31_536_000,
        not_after: NOW_S + 31_536_000,
        ..CertificateFacts::default()
    }
}

/// TLS with a certificate, asked for by `sni`.
pub(in crate::judge) fn facts(sni: &str, certificate: CertificateFacts) -> TlsFacts {
    TlsFacts {
        version: 0x0304,
        server_name: sni.to_owned(),
        certificate: Some(certificate),
        ..TlsFacts::default()
    }
}

/// An answer of a resolver.
pub(in crate::judge) fn lookup(asked: &str, rcode: Option<u16>, addresses: &[&str]) -> Lookup {
    let addresses: Vec<std::net::IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Lookup {
        resolver: "10.0.0.53".to_owned(),
        asked: asked.to_owned(),
        family: if addresses.iter().any(std::net::IpAddr::is_ipv6) {
            "AAAA"
        } else {
            "A"
        },
        rcode,
        addresses,
        ..Lookup::default()
    }
}

/// A response with a status.
pub(in crate::judge) fn reply(status: u16) -> Finding {
    Finding::Request(Box::new(Reply {
        status,
        took_us: 3_000,
        ..Reply::default()
    }))
}

/// A case about `app` on one server.
pub(in crate::judge) struct Scene {
    pub(in crate::judge) case: Case,
    pub(in crate::judge) survey: Survey,
    suspects: Suspects,
    speaker: Speaker,
    count: u64,
    pub(in crate::judge) host: &'static str,
    pub(in crate::judge) path: &'static str,
    pub(in crate::judge) words: &'static str,
    pub(in crate::judge) signal: Option<Signal>,
    pub(in crate::judge) first: &'static [u8],
    pub(in crate::judge) tls: Option<TlsFacts>,
    pub(in crate::judge) errno: i32,
    pub(in crate::judge) elapsed_us: Option<u64>,
    pub(in crate::judge) queued_us: Option<u64>,
    pub(in crate::judge) is_immediate: Option<bool>,
    pub(in crate::judge) status: u16,
    pub(in crate::judge) client: &'static str,
}

impl Scene {
    /// Three failures of one of these kinds at an address.
    pub(in crate::judge) fn of(speaker: Speaker, kinds: &[FaultKind], address: &str) -> Self {
        Self {
            case: Case::open(Subject {
                speaker,
                backend: "app".to_owned(),
                server: String::new(),
                address: address.to_owned(),
            }),
            survey: Survey::new(speaker),
            suspects: Suspects::any_of(kinds),
            speaker,
            count: 3,
            host: "app.lab",
            path: "/",
            words: "",
            signal: None,
            first: &[],
            tls: None,
            errno: 0,
            elapsed_us: None,
            queued_us: None,
            is_immediate: None,
            status: 0,
            client: "192.0.2.9",
        }
    }

    /// The same with something changed.
    pub(in crate::judge) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The same with a group in the configuration.
    pub(in crate::judge) fn configured(mut self, backend: BackendSurvey) -> Self {
        self.survey.backends.push(backend);
        self
    }

    /// The same with TLS towards the server, which asks for `sni`.
    pub(in crate::judge) fn over_tls(self, sni: Option<&str>) -> Self {
        let mut group = backend(&self.case.subject.address);
        group.tls = Some(tls(sni));
        self.configured(group)
    }

    /// The same in clear.
    pub(in crate::judge) fn in_clear(self) -> Self {
        let group = backend(&self.case.subject.address);
        self.configured(group)
    }

    /// The same with a pitfall of `app`.
    pub(in crate::judge) fn pitfall(mut self, cause: Cause) -> Self {
        self.survey.pitfalls.push(Pitfall {
            cause: cause.id(),
            backend: "app".to_owned(),
            words: "This will hurt.".to_owned(),
            fix: "Write it otherwise.".to_owned(),
            origin: line(11),
        });
        self
    }

    /// The same with a probe made.
    pub(in crate::judge) fn found(mut self, probe: Probe, finding: Finding) -> Self {
        self.case.learn(probe, finding);
        self
    }

    /// The same with so many requests that went well.
    pub(in crate::judge) fn went_well(mut self, count: u64) -> Self {
        self.case.successes.count = count;
        self
    }

    /// The case, ready to be judged.
    pub(in crate::judge) fn ready(mut self) -> Case {
        let mut seen = Sighting::of(self.speaker, Place::default());
        seen.suspects = self.suspects;
        seen.host = self.host;
        seen.path = self.path;
        seen.words = self.words;
        seen.signal = self.signal;
        seen.first = self.first;
        seen.tls = self.tls.as_ref();
        seen.errno = self.errno;
        seen.elapsed_us = self.elapsed_us;
        seen.queued_us = self.queued_us;
        seen.is_immediate = self.is_immediate;
        seen.status = self.status;
        seen.client = self.client;
        for at in 0..self.count {
            seen.at_us = Some(NOW_US + i64::try_from(at).unwrap() * 1_000_000);
            let well = self.case.successes.since_failure;
            self.case.observe(&seen);
            self.case.successes.since_failure = well;
        }
        if !self.survey.backends.is_empty() || !self.survey.fronts.is_empty() {
            self.case.set_survey(Arc::new(self.survey));
        }
        self.case
    }

    /// The verdict.
    pub(in crate::judge) fn verdict(self) -> Verdict {
        let case = self.ready();
        Verdict::of(&case, &case.groups[0])
    }
}

/// What is expected of a scene: the first cause, how sure it is, and what is listed besides.
pub(in crate::judge) struct Expected(
    pub(in crate::judge) Option<Cause>,
    pub(in crate::judge) Confidence,
    pub(in crate::judge) &'static [Cause],
);

/// Checks scenes, and that what is told is told in sentences.
pub(in crate::judge) fn check(scenes: Vec<(&str, Scene, Expected)>) {
    for (what, scene, Expected(cause, confidence, besides)) in scenes {
        let case = scene.ready();
        let verdict = Verdict::of(&case, &case.groups[0]);
        let scores: Vec<(&str, i32, bool)> = case
            .opinions(&case.groups[0])
            .iter()
            .filter(|opinion| !opinion.is_ruled_out())
            .map(|opinion| (opinion.cause.id(), opinion.score(), opinion.is_proven()))
            .collect();
        assert_eq!(verdict.cause, cause, "{what}: {scores:?}");
        assert_eq!(verdict.confidence, confidence, "{what}: {scores:?}");
        for cause in besides {
            let mut others = verdict.alternatives.iter();
            assert!(
                others.any(|other| other.cause == *cause),
                "{what}: no {cause}: {scores:?}"
            );
        }
        assert!(
            verdict.summary.ends_with('.'),
            "{what}: {}",
            verdict.summary
        );
        for fact in verdict.evidence.iter().chain(&verdict.against) {
            assert!(!fact.words.ends_with('.'), "{what}: {}", fact.words);
            assert!(!fact.words.contains("  "), "{what}: {}", fact.words);
        }
    }
}
