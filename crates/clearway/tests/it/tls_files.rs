//! Certificates in files: the forms they come in, and what is said about those that cannot be used.

#![expect(
    clippy::type_complexity,
    clippy::too_many_lines,
    reason = "a scenario reads best in one piece"
)]

use std::process::Command;

use clearway_testkit::clearway::{self, secure};
use clearway_testkit::process::{Process, output, program};
use clearway_testkit::{Authority, Clearway, Identity, Server, TempDir, TlsClient, behave, wait};

/// A root with two authorities below, and a certificate of the lower one.
fn deep() -> (Authority, Identity) {
    let root = Authority::new("root");
    let leaf = root.below("upper").below("lower").issue(&["a.test"]);
    (root, leaf)
}

fn pem_of(identity: &Identity, order: &[usize]) -> String {
    let mut shuffled = identity.clone();
    shuffled.chain = order.iter().map(|&at| identity.chain[at].clone()).collect();
    shuffled.chain_pem()
}

#[test]
fn certificates_come_in_every_usual_form() {
    let (root, leaf) = deep();
    let server = Server::script(behave::ok("x"));
    let files = [
        ("combined.pem", leaf.pem()),
        ("key-first.pem", leaf.key_pem() + &leaf.chain_pem()),
        ("beside.crt", leaf.chain_pem()),
        ("beside.key", leaf.key_pem()),
        ("pair.crt", leaf.chain_pem()),
        ("pair.secret", leaf.key_pem()),
        ("wild.pem", pem_of(&leaf, &[2, 0, 1]) + &leaf.key_pem()),
        ("d1/a.pem", leaf.pem()),
        ("d1/readme.txt", "not looked at".to_owned()),
        ("d2/a.crt", leaf.chain_pem()),
        ("d2/a.key", leaf.key_pem()),
    ];
    for form in [
        "\"$DIR/combined.pem\"",
        "\"$DIR/key-first.pem\"",
        "\"$DIR/beside.crt\"",
        "{ certificate = \"$DIR/pair.crt\", key = \"$DIR/pair.secret\" }",
        "[{ certificate = \"$DIR/combined.pem\" }]",
        "\"$DIR/wild.pem\"",
        "\"$DIR/d1/\"",
        "\"$DIR/d2/\"",
    ] {
        let tls = format!("certificates = {form}");
        let mut setup = Clearway::setup(&secure(&tls, &[server.address()], ""));
        for (name, text) in &files {
            setup = setup.with_file(name, text);
        }
        let clearway = setup.start();
        let mut client = TlsClient::trusting(&root).open(clearway.address("web"));
        assert_eq!(client.get("/").text(), "x", "{form}");
        // Each one vouches for the one before it (RFC 5246 section 7.4.2).
        assert_eq!(client.agreed().certificates, leaf.chain, "{form}");
    }
}

#[test]
fn keys_in_the_forms_of_old_programs_are_read() {
    let root = Authority::new("root");
    let folder = TempDir::new();
    let server = Server::script(behave::ok("x"));
    let rsa = root.grant(&clearway_testkit::Wish::of(&["a.test"]).rsa());
    for (identity, command) in [(&rsa, "rsa"), (&root.issue(&["a.test"]), "ec")] {
        let key = folder.write("pkcs8.key", &identity.key_pem());
        let openssl = program("openssl", "openssl");
        let mut convert = Command::new(openssl);
        convert.args([command, "-in", &key]);
        if command == "rsa" {
            convert.arg("-traditional");
        }
        let old = output(&mut convert);
        assert!(
            old.contains("BEGIN RSA") || old.contains("BEGIN EC"),
            "{old}"
        );
        let text = secure("certificates = \"$DIR/a.pem\"", &[server.address()], "");
        let clearway = Clearway::setup(&text)
            .with_file("a.pem", &(old + &identity.chain_pem()))
            .start();
        let tls = TlsClient::trusting(&root);
        assert_eq!(tls.open(clearway.address("web")).get("/").text(), "x");
    }
}

/// What cannot be used, with the file that is to be named and words of the reason.
fn unusable() -> Vec<(
    &'static str,
    Vec<(&'static str, String)>,
    &'static str,
    &'static str,
)> {
    let root = Authority::new("root");
    let (a, b) = (root.issue(&["a.test"]), root.issue(&["b.test"]));
    let folder = TempDir::new();
    let key = folder.write("a.key", &a.key_pem());
    let mut encrypt = Command::new(program("openssl", "openssl"));
    encrypt.args(["pkey", "-in", &key, "-aes256", "-passout", "pass:secret"]);
    let encrypted = output(&mut encrypt);
    let one = "certificates = \"$DIR/bad.pem\"";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA!!!!\n-----END CERTIFICATE-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let clients = "certificates = \"$DIR/good.pem\", client_certificates";
    vec![
        (one, vec![], "bad.pem", "No such file"),
        (one, vec![("bad.pem", String::new())], "bad.pem", "no key"),
        (one, vec![("bad.pem", a.chain_pem())], "bad.pem", "no key"),
        (
            one,
            vec![("bad.pem", a.key_pem())],
            "bad.pem",
            "no certificate",
        ),
        (
            one,
            vec![("bad.pem", encrypted.clone() + &a.chain_pem())],
            "bad.pem",
            "encrypted",
        ),
        (
            one,
            vec![("bad.pem", a.chain_pem() + &b.key_pem())],
            "bad.pem",
            "does not belong",
        ),
        (
            one,
            vec![("bad.pem", a.pem() + &b.key_pem())],
            "bad.pem",
            "more than one key",
        ),
        (
            one,
            vec![("bad.pem", garbage.to_owned() + &a.key_pem())],
            "bad.pem",
            "not valid PEM",
        ),
        (
            one,
            vec![("bad.pem", nonsense.to_owned() + &a.key_pem())],
            "bad.pem",
            "certificate",
        ),
        (
            "certificates = { certificate = \"$DIR/a.crt\", key = \"$DIR/bad.key\" }",
            vec![("a.crt", a.chain_pem()), ("bad.key", encrypted)],
            "bad.key",
            "encrypted",
        ),
        (
            "certificates = \"$DIR/empty/\"",
            vec![("empty/readme.txt", "nothing".to_owned())],
            "empty/",
            "no certificate",
        ),
        (
            "certificates = \"$DIR/absent/\"",
            vec![],
            "absent/",
            "No such file",
        ),
        (
            "certificates = \"$DIR/mixed/\"",
            vec![("mixed/a.pem", a.pem()), ("mixed/b.pem", "x".to_owned())],
            "mixed/b.pem",
            "no key",
        ),
        (
            &*format!("{clients} = {{ ca = \"$DIR/ca.pem\" }}").leak(),
            vec![("good.pem", a.pem()), ("ca.pem", "x".to_owned())],
            "ca.pem",
            "no certificate",
        ),
        (
            &*format!("{clients} = {{ ca = \"$DIR/good.pem\", crl = \"$DIR/crl.pem\" }}").leak(),
            vec![("good.pem", a.pem()), ("crl.pem", a.pem())],
            "crl.pem",
            "no revocation list",
        ),
    ]
}

#[test]
fn check_names_file_reason_and_place_of_what_cannot_be_used() {
    for (tls, files, file, reason) in unusable() {
        let folder = TempDir::new();
        for (name, text) in &files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let text = secure(tls, &["127.0.0.1:1"], "[admin]\nlisten = \"off\"\n");
        let root = folder.path().display().to_string();
        let path = folder.write("clearway.toml", &text.replace("$DIR", &root));
        let mut command = Command::new(clearway::binary());
        command.args(["check", "-c", &path]);
        let mut process = Process::start(command);
        let status = process.wait(wait::LIMIT);
        let said = process.stdout.to_end().join("\n") + &process.stderr.to_end().join("\n");
        assert!(!status.success(), "{tls} {reason}: {said}");
        for words in [file, reason, "clearway.toml:3:"] {
            assert!(said.contains(words), "{tls}: {words:?} is not in\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        // Behind the line stands the column of the value, not of the section.
        let column = said.split("clearway.toml:3:").nth(1).unwrap();
        assert!(
            !column.starts_with("1 ") && !column.starts_with("1:"),
            "{said}"
        );
    }
}

#[test]
fn a_reload_with_what_cannot_be_used_leaves_everything_as_it_was() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("still here"));
    let text = secure("certificates = \"$DIR/start.pem\"", &[server.address()], "");
    let clearway = Clearway::setup(&text)
        .with_file("start.pem", &root.issue(&["a.test"]).pem())
        .start();
    let tls = TlsClient::trusting(&root);
    for (bad, files, file, reason) in unusable() {
        for (name, text) in &files {
            let path = std::path::PathBuf::from(clearway.file(name));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let before = clearway.stderr().len();
        assert_eq!(
            clearway.reload(&secure(bad, &[server.address()], "")),
            "failed"
        );
        wait::until(&format!("{bad}: {file}, {reason}"), || {
            let said = clearway.stderr()[before..].join("\n");
            let all = [file, reason, "clearway.toml:3:"];
            all.iter().all(|words| said.contains(words)).then_some(())
        });
        for (name, _) in &files {
            std::fs::remove_file(clearway.file(name)).unwrap();
        }
        let mut client = tls.anew().open(clearway.address("web"));
        assert_eq!(client.get("/").text(), "still here");
    }
    assert_eq!(clearway.reload(&text), "ok");
}
