//! Reading as a whole: the shortest file, the examples, any text, many servers.

use std::path::Path;

use clearway_config::model::{Config, ServerAddress};
use proptest::prelude::*;

#[test]
fn the_shortest_useful_file_is_enough() {
    let text = "[listener.web]\nbind=\":8080\"\n[backend.app]\nservers=[\"127.0.0.1:9001\"]\n";
    let loaded = clearway_config::parse("clearway.toml", text);
    assert_eq!(loaded.diagnostics, []);
    let (config, listener) = (&loaded.config, &loaded.config.listeners[0]);
    assert_eq!(listener.bind[0].to_string(), "*:8080");
    let backend = config.default_backend(listener).unwrap();
    assert_eq!(backend.name.as_str(), "app");
    let address = ServerAddress::Ip("127.0.0.1:9001".parse().unwrap());
    assert_eq!(backend.servers[0].address, address);
    let timeouts = config.timeouts_for(listener, Some(backend), None);
    assert_eq!(timeouts, Config::default().timeouts);
}

#[test]
fn every_value_knows_its_place() {
    let text = "[timeouts]\nconnect = \"1s\"\n[listener.web]\nbind = \":1\"\n[listener.web.timeouts]\n\
        response = \"2s\"\n[backend.app]\nservers = [\n \"h:1\",\n { address = \"h:2\", weight = 3 }]\n";
    let loaded = clearway_config::parse("c.toml", text);
    let config = &loaded.config;
    let place = |origin: Option<&clearway_config::Origin>| origin.unwrap().to_string();
    assert_eq!(place(config.timeouts.origin_of("connect")), "c.toml:2:11");
    assert_eq!(config.timeouts.origin_of("response"), None);
    let resolved = config.timeouts_for(&config.listeners[0], None, None);
    assert_eq!(place(resolved.origin_of("connect")), "c.toml:2:11");
    assert_eq!(place(resolved.origin_of("response")), "c.toml:6:12");
    let servers = &config.backends[0].servers;
    assert_eq!(place(servers[0].origin_of("address")), "c.toml:9:2");
    assert_eq!(place(servers[1].origin_of("weight")), "c.toml:10:30");
    assert_eq!(config.backends[0].origin().line, 7);
}

#[test]
fn the_examples_load_without_a_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let loaded = clearway_config::load(&path);
            let said: Vec<_> = loaded.diagnostics.iter().map(ToString::to_string).collect();
            assert_eq!(said, Vec::<String>::new());
            let text = clearway_config::print::print(&loaded.config);
            let name = path.display().to_string();
            assert_eq!(clearway_config::parse(&name, &text).config, loaded.config);
            count += 1;
        }
    }
    assert!(count >= 4);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let loaded = clearway_config::load(Path::new("/no/such/clearway.toml"));
    assert!(loaded.has_errors());
    assert!(
        loaded.diagnostics[0]
            .to_string()
            .contains("/no/such/clearway.toml")
    );
    assert!(
        loaded.diagnostics[0]
            .render("")
            .contains("--> /no/such/clearway.toml")
    );
}

#[test]
fn the_command_line_moves_the_admin_api_and_is_checked_too() {
    let text = "[listener.web]\nbind=\":8080\"\n[backend.app]\nservers=[\"127.0.0.1:9001\"]\n";
    let mut loaded = clearway_config::parse("c", text);
    loaded.override_admin("off");
    assert!(loaded.config.admin.listen.on().is_none());
    loaded.override_admin("unix:/run/a.sock");
    assert!(!loaded.has_errors());
    for bad in ["nonsense", "0.0.0.0:9180"] {
        let mut loaded = clearway_config::parse("c", text);
        loaded.override_admin(bad);
        assert!(loaded.has_errors(), "{bad}");
        assert!(loaded.diagnostics[0].to_string().contains("--admin"));
    }
}

#[test]
fn open_files_are_counted_when_the_limit_is_known() {
    let text = "[limits]\nconnections = 1000\n[listener.web]\nbind=\":8080\"\n[backend.app]\n\
        maxconn = 10\nservers=[\"127.0.0.1:9001\"]\n";
    let config = clearway_config::parse("c", text).config;
    assert_eq!(clearway_config::check::open_files(&config, 4_096), []);
    let found = clearway_config::check::open_files(&config, 1_024);
    assert_eq!((found.len(), found[0].line), (1, 2), "{found:?}");
    assert_eq!(clearway_config::check::open_files(&config, 70).len(), 2);
}

#[test]
fn what_is_missing_because_it_was_not_understood_is_not_told_again() {
    let (listener, backend) = (
        "[listener.web]\nbind = \":80\"\n",
        "[backend.app]\nservers = \"h:1\"\n",
    );
    for (text, code) in [
        (
            format!("[listener.\"a b\"]\nbind = \":80\"\n{backend}"),
            "name",
        ),
        (format!("listener = 3\n{backend}"), "type"),
        (
            format!("[listener]\nbind = \":80\"\n{backend}"),
            "missing-name",
        ),
        (
            format!("{listener}[backend.\"a b\"]\nservers = \"h:1\"\n"),
            "name",
        ),
        (
            format!("{listener}[backend]\nservers = \"h:1\"\n"),
            "missing-name",
        ),
        (
            format!("{listener}backend = \"a b\"\n{backend}[backend.b]\nservers = \"h:2\"\n"),
            "value",
        ),
        (
            format!("{listener}[[listener.web.rule]]\ndeny = 9\n"),
            "value",
        ),
    ] {
        let found = clearway_config::parse("c", &text).diagnostics;
        let codes: Vec<&str> = found.iter().map(|found| found.code).collect();
        assert_eq!(codes, [code], "{text}");
    }
}

/// 1,000 backends of 10 servers and as many routes.
fn large() -> String {
    let mut text = "[listener.web]\nbind = \":8080\"\n".to_owned();
    for backend in 0..1_000 {
        text += &format!(
            "[[route]]\nhost = \"h{backend}.test\"\npath = \"/api/\"\nbackend = \"b{backend}\"\n\
             [backend.b{backend}]\nservers = [\n"
        );
        for server in 0..10 {
            let (high, low) = (backend / 250, backend % 250);
            text += &format!("  {{ address = \"10.{high}.{low}.{server}:80\", weight = 2 }},\n");
        }
        text += "]\nhealth = { path = \"/health\" }\n";
    }
    text
}

#[test]
fn cost_grows_with_size_not_with_its_square() {
    let text = large();
    let loaded = clearway_config::parse("large.toml", &text);
    assert_eq!(loaded.diagnostics, []);
    let servers: usize = loaded.config.backends.iter().map(|b| b.servers.len()).sum();
    assert_eq!((loaded.config.routes.len(), servers), (1_000, 10_000));
    let started = clearway_base::clock::now();
    drop(clearway_config::parse("large.toml", &text));
    let took = clearway_base::clock::now().since(started);
    // Without optimisation it takes some ten times as long; a square of 10,000 would take minutes.
    let limit = if cfg!(debug_assertions) { 10_000 } else { 300 };
    assert!(took.as_millis() < limit, "{took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,200}") {
        let loaded = clearway_config::parse("t", &text);
        for found in &loaded.diagnostics {
            prop_assert!(found.render(&text).contains(&found.message));
        }
        drop(clearway_config::print::print(&loaded.config));
    }

    #[test]
    fn a_damaged_file_is_read_without_panic(at in 0usize..2_000, cut in 0usize..9, put in "[\\[\\]{}=\"'\\\\\n,.#0-9a-z\u{e9}]{0,6}") {
        let text = clearway_config::doc::sample();
        let chars: Vec<char> = text.chars().collect();
        let at = at * chars.len() / 2_000;
        let damaged: String = chars[..at].iter().copied()
            .chain(put.chars())
            .chain(chars[(at + cut).min(chars.len())..].iter().copied())
            .collect();
        let loaded = clearway_config::parse("t", &damaged);
        for found in &loaded.diagnostics {
            prop_assert!(found.render(&damaged).contains(&found.message));
        }
    }
}
