//! The command line.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use clearway_testkit::process::{Process, Signal};
use clearway_testkit::{Clearway, Client, Server, TempDir, behave, clearway, wait};

fn run(arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(clearway::binary());
    command.args(arguments);
    let mut process = Process::start(command);
    let status = process.wait(wait::LIMIT);
    let (out, err) = (process.stdout.to_end(), process.stderr.to_end());
    (status.success(), out.join("\n"), err.join("\n"))
}

fn check(text: &str) -> (bool, String) {
    let folder = TempDir::new();
    let path = folder.write("clearway.toml", text);
    let (ok, out, err) = run(&["check", "-c", &path]);
    (ok, format!("{out}\n{err}"))
}

#[test]
fn check_accepts_a_good_file() {
    let (ok, text) = check(&clearway::simple(&["127.0.0.1:8080"], ""));
    assert!(ok, "{text}");
}

#[test]
fn check_tells_every_error_at_once_with_its_place() {
    let (ok, text) = check(
        "[listener.web]\nbnd = \"127.0.0.1:8080\"\n\n[timeouts]\nconnect = \"5 parsecs\"\n\n\
         [backend.app]\nservers = [\"127.0.0.1:99999\"]\nbalance = \"rond_robin\"\n\n\
         [[route]]\nbackend = \"apq\"\n",
    );
    assert!(!ok, "{text}");
    for (word, line) in [
        ("bnd", 2),
        ("bind", 2),
        ("5 parsecs", 5),
        ("99999", 8),
        ("round_robin", 9),
        ("apq", 12),
    ] {
        assert!(text.contains(word), "{word}: {text}");
        assert!(
            text.contains(&format!("clearway.toml:{line}:")),
            "line {line} for {word}: {text}"
        );
    }
    assert!(text.contains('^'), "the place is pointed at: {text}");
}

#[test]
fn check_survives_broken_syntax() {
    for bad in [
        "[listener",
        "a = ",
        "[listener.web]\nbind = \"x",
        "\u{0}",
        "=",
        "[[route]]\n[route]\n",
    ] {
        let (ok, text) = check(bad);
        assert!(!ok, "{bad:?}: {text}");
        assert!(text.contains("clearway.toml:"), "{bad:?}: {text}");
        assert!(!text.contains("panicked"), "{bad:?}: {text}");
    }
}

#[test]
fn check_names_a_missing_file() {
    let (ok, out, err) = run(&["check", "-c", "/no/such/clearway.toml"]);
    assert!(!ok);
    assert!((out + &err).contains("/no/such/clearway.toml"));
}

#[test]
fn run_refuses_a_bad_file_with_the_same_words() {
    let folder = TempDir::new();
    let path = folder.write("clearway.toml", "[listener.web]\nbnd = \"127.0.0.1:0\"\n");
    let (ok, out, err) = run(&["run", "-c", &path]);
    assert!(!ok);
    let text = out + &err;
    assert!(
        text.contains("bnd") && text.contains("clearway.toml:2:"),
        "{text}"
    );
    assert!(!text.contains("ready"));
}

#[test]
fn run_says_when_an_address_is_taken() {
    let taken = Server::script(behave::ok("x"));
    let folder = TempDir::new();
    let text = clearway::simple(&["127.0.0.1:1"], "[admin]\nlisten = \"off\"\n")
        .replace("127.0.0.1:0", taken.address());
    let path = folder.write("clearway.toml", &text);
    let (ok, out, err) = run(&["run", "-c", &path]);
    assert!(!ok);
    let text = out + &err;
    assert!(text.contains(taken.address()), "{text}");
    assert!(text.to_lowercase().contains("in use"), "{text}");
}

#[test]
fn help_and_version() {
    let (ok, out, _) = run(&["--help"]);
    assert!(ok);
    for command in ["run", "check", "demo", "why"] {
        assert!(out.contains(command), "{command}: {out}");
    }
    let (ok, out, _) = run(&["--version"]);
    assert!(ok && out.starts_with("clearway "), "{out}");
    let (ok, _, err) = run(&["nonsense"]);
    assert!(!ok && err.contains("nonsense"), "{err}");
}

#[test]
fn the_demo_starts_answers_and_ends_with_ctrl_c() {
    let mut command = Command::new(clearway::binary());
    command.arg("demo");
    let mut process = Process::start(command);
    let address = process
        .stdout
        .find(wait::LIMIT, |line| {
            let (_, rest) = line.split_once("curl -i http://")?;
            Some(rest.trim_end_matches('/').to_owned())
        })
        .unwrap_or_else(|| panic!("{}\n{}", process.stdout.text(), process.stderr.text()));
    let response = Client::connect(&address).get("/");
    assert!((200..600).contains(&response.status), "{response:?}");
    process.signal(Signal::Int);
    assert!(process.wait(wait::LIMIT).success());
}

#[test]
fn the_demo_ends_by_itself_after_its_time_and_showed_a_receipt() {
    let (ok, out, err) = run(&["demo", "--seconds", "3", "--rate", "50"]);
    assert!(ok, "{out}\n{err}");
    assert!(out.contains("502") || out.contains("504"), "{out}");
}

#[test]
fn why_tells_the_receipt_in_words() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::over(&[&address], "retries = { max = 0 }");
    let id = clearway.get("/lost").id();
    clearway.receipt(&id);
    let admin = clearway.address("admin").to_owned();
    let (ok, out, err) = run(&["why", &id, "--admin", &admin]);
    assert!(ok, "{err}");
    for word in [id.as_str(), "refused", "/lost", address.as_str()] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (ok, out, err) = run(&["why", "0000000000000", "--admin", &admin]);
    assert!(!ok, "{out}{err}");
}

#[test]
fn ctl_reloads() {
    let old = Server::script(behave::ok("old"));
    let new = Server::script(behave::ok("new"));
    let running = Clearway::over(&[old.address()], "");
    running.rewrite(&clearway::simple(&[new.address()], ""));
    let admin = running.address("admin").to_owned();
    let (ok, out, err) = run(&["ctl", "--admin", &admin, "reload"]);
    assert!(ok, "{out}{err}");
    assert_eq!(running.get("/").text(), "new");
}

#[test]
fn ctl_takes_servers_out_and_puts_them_back() {
    let one = Server::script(behave::ok("one"));
    let two = Server::script(behave::ok("two"));
    let running = Clearway::over(&[one.address(), two.address()], "");
    let admin = running.address("admin").to_owned();
    let name = format!("app/{}", one.address());
    let answers = || {
        let mut client = running.client();
        let mut names: Vec<String> = (0..6).map(|_| client.get("/").text()).collect();
        names.sort();
        names.dedup();
        names.join(" ")
    };
    for (action, expected) in [
        ("maintenance", "two"),
        ("ready", "one two"),
        ("drain", "two"),
        ("ready", "one two"),
    ] {
        let (ok, out, err) = run(&["ctl", "--admin", &admin, action, &name]);
        assert!(ok, "{action}: {out}{err}");
        wait::until(&format!("{expected} after {action}"), || {
            (answers() == expected).then_some(())
        });
    }
    let (ok, out, err) = run(&["ctl", "--admin", &admin, "drain", "app/nobody"]);
    assert!(!ok && (out + &err).contains("nobody"));
    let (ok, out, _) = run(&["ctl", "--admin", &admin, "servers"]);
    assert!(ok && out.contains(one.address()), "{out}");
}

#[test]
fn a_drained_server_keeps_its_sticky_clients() {
    let one = Server::script(behave::ok("one"));
    let two = Server::script(behave::ok("two"));
    let running = Clearway::over(
        &[one.address(), two.address()],
        "sticky = { cookie = \"SRV\" }",
    );
    let admin = running.address("admin").to_owned();
    let cookie = wait::until("a cookie of the first server", || {
        let response = running.get("/");
        let pair = response.header("set-cookie")?.split(';').next()?.to_owned();
        (response.text() == "one").then_some(pair)
    });
    let (ok, out, err) = run(&[
        "ctl",
        "--admin",
        &admin,
        "drain",
        &format!("app/{}", one.address()),
    ]);
    assert!(ok, "{out}{err}");
    wait::until("new clients to go elsewhere", || {
        (0..4)
            .all(|_| running.get("/").text() == "two")
            .then_some(())
    });
    let line = format!("Cookie: {cookie}\r\n");
    assert_eq!(running.client().get_with("/", &line).text(), "one");
}

#[test]
fn print_gives_a_file_that_means_the_same() {
    let folder = TempDir::new();
    let path = folder.write(
        "clearway.toml",
        &clearway::simple(
            &["127.0.0.1:8080"],
            "balance = \"maglev\"\nhash_key = \"source\"\n",
        ),
    );
    let (ok, first, err) = run(&["print", "-c", &path]);
    assert!(ok && first.contains("maglev"), "{first}{err}");
    let again = folder.write("again.toml", &first);
    let (ok, second, err) = run(&["print", "-c", &again]);
    assert!(ok, "{err}\n{first}");
    assert_eq!(first, second);
}

#[test]
fn the_admin_api_answers_the_basics() {
    let clearway = Clearway::over(&["127.0.0.1:1"], "");
    for target in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/servers",
        "/api/v1/receipts",
    ] {
        assert_eq!(clearway.admin().get(target).status, 200, "{target}");
    }
    assert_eq!(
        clearway
            .admin()
            .get("/api/v1/receipts/0000000000000")
            .status,
        404
    );
    assert_eq!(clearway.admin().get("/nowhere").status, 404);
    let metrics = clearway.metrics();
    assert!(metrics.has("clearway_build_info", &[]));
}

#[test]
fn a_balancer_that_does_not_run_is_asked_in_vain_with_advice() {
    let (nobody, _held) = behave::closed_port();
    for arguments in [["ctl", "servers"], ["why", "0000000000000"]] {
        let (ok, _, text) = run(&[&arguments[..], &["--admin", &nobody]].concat());
        assert!(!ok);
        assert!(text.contains("Is clearway running?"), "{text}");
        assert!(text.contains(&nobody), "{text}");
    }
}

#[test]
fn the_socket_of_the_admin_api_is_the_users_own_whatever_the_umask() {
    for (suffix, expected) in [("", 0o600), (",mode=660", 0o660)] {
        let clearway = Clearway::setup(&format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\"127.0.0.1:1\"]\n\
             [admin]\nlisten = \"unix:$DIR/admin.sock{suffix}\"\n"
        ))
        .umask(0)
        .start();
        assert_eq!(clearway.admin().get("/healthz").status, 200);
        let socket = std::fs::metadata(clearway.file("admin.sock")).unwrap();
        assert_eq!(socket.permissions().mode() & 0o777, expected, "{suffix:?}");
    }
}
