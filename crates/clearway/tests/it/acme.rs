//! Certificates that are obtained by themselves, from a real authority (Pebble).
//!
//! Pebble has to know the ports of the listeners before it starts, and they its directory: the balancer
//! starts without ACME and learns of it by a reload, as most that run already will.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests report by panicking"
)]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use clearway_testkit::bind::Bind;
use clearway_testkit::pebble::{self, Pebble};
use clearway_testkit::process::program;
use clearway_testkit::wait;
use clearway_testkit::{Authority, Clearway, Server, TempDir, TlsClient, behave};
use serde_json::Value;

/// Orders over real HTTPS take a few seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// A balancer with a listener `web` that speaks TLS and one, `plain`, that sends clients there.
struct Site {
    clearway: Clearway,
    pebble: Pebble,
    storage: TempDir,
    own: Authority,
    _server: Server,
}

impl Site {
    fn start() -> Self {
        Self::start_with(|setup| setup)
    }

    fn start_with(change: impl FnOnce(pebble::Setup) -> pebble::Setup) -> Self {
        let (own, server) = (Authority::new("own"), Server::script(behave::ok("x")));
        let storage = TempDir::new();
        let clearway = Clearway::setup(&text(""))
            .with_file("own.pem", &own.issue(&["own.test"]).pem())
            .set("STORAGE", storage.path().display().to_string())
            .set("SERVER", server.address())
            .start();
        let port = |name: &str| Some(clearway.address(name).parse::<SocketAddr>().unwrap());
        let pebble = Pebble::start(&change(pebble::Setup {
            http: port("plain"),
            tls: port("web"),
            ..pebble::Setup::default()
        }));
        std::fs::write(clearway.file("pebble-ca.pem"), &pebble.roots).unwrap();
        let mut site = Self {
            clearway,
            pebble,
            storage,
            own,
            _server: server,
        };
        site.tell_of_pebble();
        site
    }

    fn tell_of_pebble(&mut self) {
        let directory = self.pebble.directory.clone();
        self.clearway.set("DIRECTORY", &directory);
    }

    /// Puts settings of `tls` and of `[acme]` in force.
    fn want(&self, tls: &str, acme: &str) {
        let result = self.clearway.reload(&(text(tls) + &section(acme)));
        assert_eq!(result, "ok", "{:#?}", self.clearway.stderr());
    }

    /// What `clearway ctl certificates` is made of, for one certificate.
    fn status(&self, name: &str) -> Value {
        let all = self.clearway.json("/api/v1/certificates");
        let all = all["acme"]["certificates"].as_array().unwrap().clone();
        let is_it = |c: &Value| c["names"][0] == name;
        all.into_iter().find(is_it).unwrap_or_default()
    }

    /// Waits until a certificate is there.
    fn wait_for(&self, name: &str) -> Value {
        let found = wait::within(LIMIT, || {
            Some(self.status(name)).filter(|c| c["state"] == "valid")
        });
        found.unwrap_or_else(|| {
            let (status, said) = (self.status(name), self.clearway.stderr());
            panic!("no certificate for {name}: {status:#} {said:#?}")
        })
    }

    /// The certificate that is shown to a client, when it is one of the authority's.
    fn shown(&self, client: &TlsClient) -> Option<Vec<u8>> {
        let mut opened = client.anew().try_open(self.clearway.address("web")).ok()?;
        let leaf = opened.agreed().certificates[0].to_vec();
        assert_eq!(opened.get("/").text(), "x");
        Some(leaf).filter(|der| is_pebbles(der))
    }
}

/// Whether a certificate was issued by Pebble, which writes that into it.
fn is_pebbles(der: &[u8]) -> bool {
    der.windows(6).any(|part| part == b"Pebble")
}

fn text(tls: &str) -> String {
    format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n\
         tls = {{ certificates = \"$DIR/own.pem\"{tls} }}\n\n\
         [listener.plain]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\nhttps_redirect = true\n\n\
         [backend.app]\nservers = [\"$SERVER\"]\n\n"
    )
}

fn section(acme: &str) -> String {
    format!(
        "[acme]\nstorage = \"$STORAGE\"\n\
         issuers = [{{ directory = \"$DIRECTORY\", ca = \"$DIR/pebble-ca.pem\" }}]\n{acme}\n"
    )
}

fn to(name: &'static str) -> TlsClient {
    TlsClient::credulous().to(name)
}

#[test]
fn certificates_are_obtained_by_http_served_kept_and_renewed_on_demand_of_the_operator() {
    let site = Site::start();
    assert_eq!(site.shown(&to("a.test")), None);
    // The redirect to HTTPS, which stands in the way of everything else, does not of the authority.
    let acme = "challenges = [\"http-01\"]";
    site.want(", acme = [\"a.test\", \"b.test\"]", acme);
    let status = site.wait_for("a.test");
    site.wait_for("b.test");
    let first = site.shown(&to("a.test")).expect("the new certificate");
    assert_ne!(site.shown(&to("b.test")), Some(first.clone()));
    // Those of files stay first, for their names and for no name.
    assert_eq!(site.shown(&to("own.test")), None);
    assert_eq!(site.shown(&to("c.test")), None);
    assert!(site.shown(&to("a.test").only_12()).is_some());
    assert!(
        TlsClient::trusting(&site.own)
            .to("own.test")
            .try_open(site.clearway.address("web"))
            .is_ok()
    );
    let serial = status["serial"].as_str().unwrap();
    let labels = [("listener", "web"), ("name", "a.test")];
    let end = site.clearway.metrics();
    let end = end.sum("clearway_certificate_not_after_timestamp_seconds", &labels);
    assert!(end > 1_700_000_000.0, "{end}");
    let listed = site
        .clearway
        .admin()
        .get("/api/v1/certificates?format=text");
    assert!(listed.text().contains("a.test"), "{}", listed.text());
    site.clearway.wait_stderr("issued by localhost");

    // Another order only when the operator says so.
    let id = status["id"].as_str().unwrap();
    let path = format!("/api/v1/certificates/{id}/renew");
    let renewed = site.clearway.admin().post(&path, "");
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let changed = wait::within(LIMIT, || {
        Some(site.shown(&to("a.test"))?).filter(|now| *now != first)
    });
    assert!(changed.is_some(), "{:#?}", site.clearway.stderr());
    wait::until("another serial number", || {
        (site.status("a.test")["serial"] != serial).then_some(())
    });

    // A name that is no longer wanted is no longer served, the others go on.
    site.want(", acme = [\"b.test\"]", acme);
    assert_eq!(site.shown(&to("a.test")), None);
    assert!(site.shown(&to("b.test")).is_some());

    // Without the authority, what is stored serves from the first connection on.
    let Site {
        clearway,
        pebble,
        storage,
        own,
        ..
    } = site;
    let directory = pebble.directory.clone();
    drop(pebble);
    clearway.stop();
    let server = Server::script(behave::ok("x"));
    let wanted = text(", acme = [\"a.test\", \"b.test\"]") + &section(acme);
    let again = Clearway::setup(&wanted)
        .with_file("own.pem", &own.issue(&["own.test"]).pem())
        .with_file("pebble-ca.pem", &own.pem())
        .set("STORAGE", storage.path().display().to_string())
        .set("SERVER", server.address())
        .set("DIRECTORY", directory)
        .start();
    let client = to("a.test").open(again.address("web"));
    let leaf = client.agreed().certificates[0].to_vec();
    assert!(is_pebbles(&leaf));
}

#[test]
fn certificates_are_obtained_by_handshakes_on_the_port_of_tls() {
    let site = Site::start();
    let own_alpn = to("own.test").alpn(&["acme-tls/1"]);
    // Nobody but authorities speaks that, and none does now.
    own_alpn.try_open(site.clearway.address("web")).unwrap_err();
    site.want(
        ", acme = [\"a.test\"], strict_names = true",
        "challenges = [\"tls-alpn-01\"]",
    );
    site.wait_for("a.test");
    let client = to("a.test").alpn(&["h2", "http/1.1"]);
    let agreed = client.open(site.clearway.address("web")).agreed();
    assert_eq!(agreed.alpn.as_deref(), Some("h2"));
    assert!(site.shown(&to("a.test")).is_some());
    own_alpn
        .anew()
        .try_open(site.clearway.address("web"))
        .unwrap_err();
    // The authority's own handshakes are no requests, and no failures.
    assert_eq!(
        site.clearway
            .faults()
            .iter()
            .filter(|r| r.code() == "tls_handshake_closed")
            .count(),
        0
    );
}

#[test]
fn certificates_are_obtained_when_a_client_asks_for_them() {
    let site = Site::start();
    site.want(
        ", on_demand = [\"*.shops.test\"], strict_names = true",
        "on_demand_burst = 2\non_demand_per_hour = 1",
    );
    assert!(site.shown(&to("one.shops.test")).is_some());
    // At once now.
    assert!(site.shown(&to("one.shops.test")).is_some());
    assert_eq!(site.status("one.shops.test")["on_demand"], true);
    let refused = |name: &'static str| {
        let error = to(name).try_open(site.clearway.address("web")).unwrap_err();
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    };
    refused("shops.test");
    refused("other.test");
    assert!(site.shown(&to("two.shops.test")).is_some());
    // That was the last one for an hour.
    refused("three.shops.test");
    assert_eq!(site.status("three.shops.test"), Value::Null);
    assert!(site.shown(&to("one.shops.test")).is_some());
}

#[test]
fn wildcards_are_obtained_by_records_that_a_program_sets() {
    let mut site = Site::start();
    let curl = program("curl", "curl");
    let management = site.pebble.dns().management;
    let hook = format!(
        "#!/bin/sh\nset -eu\ncase \"$1\" in present) way=set-txt ;; *) way=clear-txt ;; esac\n\
         echo \"$1 $2\" >> \"$0.log\"\n\
         exec {} -sSf -d \"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" http://{management}/$way\n",
        curl.display()
    );
    let path = site.clearway.file("hook");
    std::fs::write(&path, hook).unwrap();
    let made = Command::new("chmod").args(["+x", &path]).status().unwrap();
    assert!(made.success());
    let dns = site.pebble.dns().address.to_string();
    site.clearway.set("DNS", &dns);
    site.want(
        ", acme = [\"*.wild.test\"]",
        "challenges = [\"dns-01\"]\ndns = { exec = \"$DIR/hook\", propagation = \"0s\" }\n\
         [resolver]\nservers = [\"$DNS\"]",
    );
    site.wait_for("*.wild.test");
    assert!(site.shown(&to("any.wild.test")).is_some());
    assert_eq!(site.shown(&to("wild.test")), None);
    let log = std::fs::read_to_string(path + ".log").unwrap();
    assert!(log.contains("present _acme-challenge.wild.test"), "{log}");
    assert!(log.contains("cleanup _acme-challenge.wild.test"), "{log}");
}

#[test]
fn failures_say_why_and_take_nothing_away() {
    let site = Site::start_with(|setup| pebble::Setup {
        blocked: vec!["blocked.test"],
        ..setup
    });
    let acme = "challenges = [\"http-01\"]";
    site.want(", acme = [\"a.test\"]", acme);
    site.wait_for("a.test");
    // The name leads to another host now, where nobody listens.
    site.pebble.dns().set_address("a.test", "127.0.0.9");
    site.pebble.dns().set_address("lost.test", "127.0.0.9");
    let id = site.status("a.test")["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/certificates/{id}/renew");
    assert_eq!(site.clearway.admin().post(&path, "").status, 200);
    let failed = |name: &str| {
        let found = wait::within(LIMIT, || {
            let status = site.status(name);
            status["last_failure"].is_string().then_some(status)
        });
        found.unwrap_or_else(|| panic!("{name}: {:#?}", site.clearway.stderr()))
    };
    let status = failed("a.test");
    assert_eq!(status["state"], "failing");
    assert!(site.shown(&to("a.test")).is_some());
    site.want(
        ", acme = [\"a.test\", \"lost.test\", \"blocked.test\"]",
        acme,
    );
    let lost = failed("lost.test");
    assert_eq!(lost["state"], "missing");
    let words = lost["last_failure"].as_str().unwrap();
    assert!(words.contains("lost.test"), "{words}");
    let words = failed("blocked.test")["last_failure"].to_string();
    assert!(words.contains("blocked.test"), "{words}");
    site.clearway.wait_stderr("next try at");
    let labels = [("certificate", lost["id"].as_str().unwrap())];
    site.clearway
        .wait_metric("clearway_acme_failures", &labels, 1.0);
    let unknown = site
        .clearway
        .admin()
        .post("/api/v1/certificates/nobody/renew", "");
    assert_eq!(unknown.status, 404);
    assert!(site.shown(&to("a.test")).is_some());
}

#[test]
fn settings_that_cannot_be_are_told_with_their_place() {
    let site = Site::start();
    let before = site.clearway.json("/api/v1/certificates");
    for (tls, acme, said) in [
        (", acme = [\"-.test\"]", "", "-.test"),
        (
            ", acme = [\"a.test\"]",
            "contact = [\"x\"]\n[[acme.issuers]]\ndirectory = \"https://a.test\"\nca = \"$DIR/missing.pem\"",
            "missing.pem",
        ),
        (", acme = [\"*.test\"]", "", "dns-01"),
    ] {
        let mut section = section(acme);
        if acme.contains("[[acme.issuers]]") {
            section = section
                .lines()
                .filter(|l| !l.starts_with("issuers"))
                .map(|l| format!("{l}\n"))
                .collect();
        }
        let result = site.clearway.reload(&(text(tls) + &section));
        assert_eq!(result, "failed", "{tls} {acme}");
        site.clearway.wait_stderr(said);
    }
    assert_eq!(site.clearway.json("/api/v1/certificates"), before);
}

#[test]
fn certificates_are_obtained_for_a_bound_account_by_updates_of_a_name_server() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bind = Bind::start();
    let mut site = Site::start_with(|setup| pebble::Setup {
        dns: Some(bind.address),
        external: Some(("kid-1", KEY)),
        ..setup
    });
    for (name, text) in [("eab.key", KEY), ("tsig.key", bind.secret.as_str())] {
        std::fs::write(site.clearway.file(name), format!("{text}\n")).unwrap();
    }
    site.clearway.set("BIND", &bind.address.to_string());
    let acme = "[acme]\nstorage = \"$STORAGE\"\nchallenges = [\"dns-01\"]\n\
        issuers = [{ directory = \"$DIRECTORY\", ca = \"$DIR/pebble-ca.pem\", key_id = \"kid-1\", hmac_key_file = \"$DIR/eab.key\" }]\n\
        dns = { server = \"$BIND\", key_name = \"update\", key_file = \"$DIR/tsig.key\", propagation = \"0s\" }\n\
        [resolver]\nservers = [\"$BIND\"]\n";
    let wanted = text(", acme = [\"*.example.org\"]");
    let result = site.clearway.reload(&(wanted.clone() + acme));
    assert_eq!(result, "ok", "{:#?}", site.clearway.stderr());
    site.wait_for("*.example.org");
    assert!(site.shown(&to("shop.example.org")).is_some());
    // A key that is none is told before anything is changed.
    std::fs::write(site.clearway.file("eab.key"), "!").unwrap();
    assert_eq!(site.clearway.reload(&(wanted + acme)), "failed");
    assert!(site.shown(&to("shop.example.org")).is_some());
}
