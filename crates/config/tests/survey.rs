//! Reading other balancers' configurations: no text stops it.

use std::path::PathBuf;

use clearway_config::survey;
use proptest::prelude::*;

/// Pieces that mean something to NGINX.
const NGINX: &[&str] = &[
    "http",
    "server",
    "location",
    "/",
    "upstream",
    "stream",
    "events",
    "{",
    "}",
    ";",
    "{",
    "}",
    ";",
    " ",
    "\n",
    "proxy_pass",
    "http://",
    "https://",
    "unix:",
    "a",
    "127.0.0.1",
    ":80",
    ":",
    "[::1]",
    "$a",
    "${a}",
    "$",
    "set",
    "map",
    "listen",
    "80",
    "ssl",
    "proxy_set_header",
    "Upgrade",
    "Connection",
    "\"",
    "'",
    "\\",
    "#",
    "content_by_lua_block",
    "--[[",
    "]]",
    "if",
    "resolver",
    "keepalive",
    "proxy_read_timeout",
    "99999999999999999999d",
    "1m",
    "down",
    "resolve",
    "max_fails=0",
    "ä",
    "access_log",
    "log_format",
    "default_server",
    "default",
    "proxy_ssl_verify",
    "on",
    "grpc_pass",
];

/// Pieces that mean something to HAProxy.
const HAPROXY: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "from",
    "\n",
    "\n",
    "\n",
    " ",
    " ",
    " ",
    "a",
    "b",
    "bind",
    ":80",
    "*:80-90",
    "/run/a.sock",
    "unix@/a",
    "server",
    "server-template",
    "3",
    "1-99999999999",
    "default-server",
    "check",
    "port",
    "ssl",
    "sni",
    "verify",
    "none",
    "inter",
    "2s",
    "timeout",
    "client",
    "connect",
    "server",
    "99999999999999999999",
    "option",
    "no",
    "httpchk",
    "http-check",
    "send",
    "expect",
    "hdr",
    "Host",
    "mode",
    "http",
    "tcp",
    "use_backend",
    "default_backend",
    "if",
    "{",
    "}",
    "\"",
    "'",
    "\\",
    "\\x",
    "#",
    ".if",
    ".endif",
    "${X}",
    "send-proxy",
    "log",
    "ä",
    "resolvers",
    "nameserver",
    "http-request",
    "set-header",
    "observe",
    "layer7",
    "127.0.0.1:80",
];

fn pieces(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = (prop::sample::select(words), any::<bool>());
    let piece = piece.prop_map(|(word, spaced)| {
        if spaced {
            format!("{word} ")
        } else {
            word.to_owned()
        }
    });
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_read(text in any::<String>()) {
        prop_assert_eq!(survey::nginx_text("/nowhere/t", &text).files.len(), 1);
        prop_assert_eq!(survey::haproxy_text("t", &text).files, ["t"]);
    }

    #[test]
    fn anything_like_nginx_is_read(text in pieces(NGINX)) {
        let survey = survey::nginx_text("/nowhere/t", &text);
        let lines = text.split('\n').count();
        for found in &survey.diagnostics {
            prop_assert!(usize::try_from(found.line).unwrap() <= lines, "{}", found);
        }
        for pitfall in &survey.pitfalls {
            prop_assert!(pitfall.origin.line > 0, "{:?}", pitfall);
        }
    }

    #[test]
    fn anything_like_haproxy_is_read(text in pieces(HAPROXY)) {
        let survey = survey::haproxy_text("t", &text);
        for pitfall in &survey.pitfalls {
            prop_assert!(pitfall.origin.line > 0, "{:?}", pitfall);
        }
    }

    #[test]
    fn any_native_text_is_surveyed(text in any::<String>()) {
        let survey = survey::native(&clearway_config::parse("t", &text).config);
        prop_assert_eq!(survey.diagnostics, []);
    }
}

#[test]
fn the_examples_have_no_pitfalls() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let survey = survey::native(&clearway_config::load(&path).config);
            assert_eq!(survey.pitfalls, []);
            assert!(!survey.fronts.is_empty(), "{}", path.display());
        }
    }
}
