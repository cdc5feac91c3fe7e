//! Certificates that change while they are in use.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use clearway_testkit::clearway::secure;
use clearway_testkit::{Authority, Clearway, Identity, Server, TlsClient, behave, wait};

/// Waits until new connections get a certificate.
fn wait_shown(clearway: &Clearway, tls: &TlsClient, identity: &Identity) {
    wait::until("the other certificate", || {
        let agreed = tls.anew().open(clearway.address("web")).agreed();
        (agreed.certificates.first() == Some(identity.leaf())).then_some(())
    });
}

#[test]
fn files_are_replaced_in_every_usual_way() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let [first, second, third, fourth] = [(); 4].map(|()| root.issue(&["a.test"]));
    // As Kubernetes mounts secrets: a link to a link to a folder that is replaced as a whole.
    let clearway = Clearway::setup(&secure(
        "certificates = \"$DIR/tls.pem\"",
        &[server.address()],
        "",
    ))
    .with_file("v1/tls.pem", &first.pem())
    .with_file("v2/tls.pem", &second.pem());
    let path = |name: &str| PathBuf::from(clearway.file(name));
    let (folder, data) = (path("tls.pem"), path("data"));
    symlink(path("v1"), &data).unwrap();
    symlink(data.join("tls.pem"), &folder).unwrap();
    let (new_link, plain) = (path("data.new"), path("plain.pem"));
    let version_two = path("v2");
    let clearway = clearway.start();
    let tls = TlsClient::trusting(&root);
    let mut old = tls.open(clearway.address("web"));
    wait_shown(&clearway, &tls, &first);
    symlink(version_two, &new_link).unwrap();
    fs::rename(&new_link, &data).unwrap();
    wait_shown(&clearway, &tls, &second);
    let line = clearway.wait_stderr("is in use, valid until");
    assert!(
        line.contains("tls.pem") && line.contains("listener web"),
        "{line}"
    );
    // A new file moved over the old one.
    fs::write(&plain, third.pem()).unwrap();
    fs::rename(&plain, &folder).unwrap();
    wait_shown(&clearway, &tls, &third);
    // And one that is written over in its place.
    fs::write(&folder, fourth.pem()).unwrap();
    wait_shown(&clearway, &tls, &fourth);
    // Who was connected from the beginning notices nothing.
    assert_eq!(old.get("/").text(), "x");
    assert_eq!(old.agreed().certificates, first.chain);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn what_cannot_be_used_leaves_the_one_before_and_is_told_once() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let (first, second, other) = (
        root.issue(&["a.test"]),
        root.issue(&["a.test"]),
        root.issue(&["b.test"]),
    );
    let tls =
        "certificates = [{ certificate = \"$DIR/a.crt\", key = \"$DIR/a.key\" }, \"$DIR/d/\"]";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .with_file("a.crt", &first.chain_pem())
        .with_file("a.key", &first.key_pem())
        .with_file("d/b.pem", &other.pem())
        .start();
    let tls = TlsClient::trusting(&root);
    let stays = |identity: &Identity, words: &str| {
        let line = clearway.wait_stderr(words);
        assert!(line.contains("stays in use"), "{line}");
        wait_shown(&clearway, &tls, identity);
        line
    };
    fs::write(clearway.file("a.crt"), "garbage").unwrap();
    let line = stays(&first, "no certificate");
    assert!(line.contains("a.crt"), "{line}");
    // Half of a pair is no pair yet.
    fs::write(clearway.file("a.crt"), second.chain_pem()).unwrap();
    stays(&first, "does not belong");
    fs::write(clearway.file("a.key"), second.key_pem()).unwrap();
    wait_shown(&clearway, &tls, &second);
    fs::remove_file(clearway.file("a.crt")).unwrap();
    stays(&second, "No such file");
    // A folder that is emptied, too; and who removes one of several certificates means it.
    let b = tls.anew().to("b.test");
    fs::rename(clearway.file("d/b.pem"), clearway.file("b.away")).unwrap();
    let line = clearway.wait_stderr("there is no certificate in it");
    assert!(line.contains("stays in use"), "{line}");
    wait_shown(&clearway, &b, &other);
    fs::write(clearway.file("d/c.pem"), root.issue(&["c.test"]).pem()).unwrap();
    let line = clearway.wait_stderr("is gone");
    assert!(line.contains("d/b.pem"), "{line}");
    let b = TlsClient::credulous().to("b.test");
    wait_shown(&clearway, &b, &second);
    for words in [
        "no certificate (",
        "does not belong",
        "No such file",
        "there is no certificate in it",
    ] {
        let said = clearway
            .stderr()
            .iter()
            .filter(|line| line.contains(words))
            .count();
        assert_eq!(said, 1, "{words}: {:#?}", clearway.stderr());
    }
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn no_request_is_lost_while_certificates_change() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let first = root.issue(&["a.test"]);
    let clearway = Clearway::setup(&secure(
        "certificates = \"$DIR/a.pem\"",
        &[server.address()],
        "",
    ))
    .with_file("a.pem", &first.pem())
    .start();
    let tls = TlsClient::trusting(&root);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (over, served, clearway, tls) = (&over, &served, &clearway, &tls);
            scope.spawn(move || {
                let mut client = tls.open(clearway.address("web"));
                while !over.load(Ordering::Relaxed) {
                    if number > 0 {
                        client = tls.open(clearway.address("web"));
                    }
                    assert_eq!(client.get("/").text(), "x");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..3 {
            let next = root.issue(&["a.test"]);
            fs::write(clearway.file("new.pem"), next.pem()).unwrap();
            fs::rename(clearway.file("new.pem"), clearway.file("a.pem")).unwrap();
            if round == 1 {
                assert_eq!(clearway.hup(), "ok");
            }
            wait_shown(&clearway, &tls, &next);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 50, "{served:?}");
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn lists_of_revoked_clients_hold_when_they_change() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let [ada, eve] = ["ada.test", "eve.test"].map(|name| clients.issue(&[name]));
    let server = Server::script(behave::ok("x"));
    let tls = "certificates = \"$DIR/a.pem\", client_certificates = { ca = \"$DIR/ca.pem\", crl = \"$DIR/list.crl\" }";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .with_file("a.pem", &servers.issue(&["a.test"]).pem())
        .with_file("ca.pem", &clients.pem())
        .with_file("list.crl", &clients.revokes(&[]))
        .start();
    let get = |identity: &Identity| {
        let tls = TlsClient::trusting(&servers).only_12().showing(identity);
        let opened = tls.try_open(clearway.address("web"));
        opened.is_ok_and(|mut client| client.get("/").text() == "x")
    };
    assert!(get(&ada) && get(&eve));
    let list = PathBuf::from(clearway.file("list.crl"));
    // One that cannot be read changes nothing.
    fs::write(&list, "not a list").unwrap();
    clearway.wait_stderr("it has no revocation list");
    assert!(get(&ada) && get(&eve));
    fs::write(&list, clients.revokes(&[&eve])).unwrap();
    wait::until("a refusal", || (!get(&eve)).then_some(()));
    assert!(get(&ada));
    clearway.fault_with("tls_client_certificate_invalid");
    clearway.wait_stderr("changed files of authorities");
}
