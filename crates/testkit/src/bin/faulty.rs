//! A server that fails as it is told to: `faulty --listen ADDRESS --behave WORDS`.
//!
//! `--path "/x WORDS"` (again and again) for single paths; `--tls-cert FILE` (chain and key),
//! `--tls-demand FILE`, `--tls-version 1.2`, `--tls-alpn h2`. Behaviours: see
//! `clearway_testkit::faulty`, and `no-accept`, which listens with a full queue.
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program of tests reports by panicking and printing"
)]

use clearway_testkit::pki::Identity;
use clearway_testkit::{Server, TlsServer, behave, faulty};

fn main() {
    let mut options = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(key) = words.next() {
        let value = words.next().expect("a value");
        options.push((key, value));
    }
    let get = |key: &str| {
        let found = options.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    };
    let listen = get("--listen").expect("--listen");
    let behave = get("--behave").expect("--behave");
    if behave.split(' ').next() == Some("no-accept") {
        let _full = behave::full_backlog_at(listen);
        forever();
    }
    let paths: Vec<(String, String)> = options
        .iter()
        .filter(|(key, _)| key == "--path")
        .filter_map(|(_, value)| value.split_once(' '))
        .map(|(path, words)| (path.to_owned(), words.to_owned()))
        .collect();
    let script = faulty::script(behave, &paths);
    let _server = match get("--tls-cert") {
        None => Server::script_at(listen, script),
        Some(file) => {
            let mut tls = TlsServer::with(&identity(file));
            tls = match get("--tls-version") {
                None => tls,
                Some("1.2") => tls.only_12(),
                Some("1.3") => tls.only_13(),
                Some(other) => panic!("no version {other}"),
            };
            if let Some(names) = get("--tls-alpn") {
                let names: Vec<&str> = names.split(',').collect();
                tls = tls.alpn(&names);
            }
            if let Some(root) = get("--tls-demand") {
                tls = tls.demanding_pem(&read(root));
            }
            tls.script_at(listen, script)
        }
    };
    forever();
}

fn identity(file: &str) -> Identity {
    Identity::from_pem(&read(file))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn forever() -> ! {
    println!("ready");
    loop {
        std::thread::park();
    }
}
