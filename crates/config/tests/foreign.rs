//! Golden cases: each `tests/foreign/NAME.cfg` (HAProxy) and `NAME.conf` (NGINX), what becomes of its
//! directives and what it is in Clearway's language, in `NAME.cfg.txt` and `NAME.conf.txt`.
//!
//! `BLESS=1` writes the `.txt` files anew; look at the difference before committing it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::{Path, PathBuf};

use clearway_config::foreign::{self, Environment, Foreign};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end != "txt"));
    files.sort();
    files
}

fn load(path: &Path) -> Foreign {
    if path.extension().is_some_and(|end| end == "cfg") {
        let mut environment = Environment::new(std::collections::BTreeMap::<String, String>::new());
        return foreign::load_haproxy(&[path.to_owned()], &mut environment, &[]);
    }
    foreign::load_nginx(path, "", &[])
}

fn told(foreign: &Foreign) -> String {
    let mut out = String::new();
    for directive in &foreign.directives {
        let (line, kind) = (directive.origin.line, directive.treatment.name());
        out.push_str(&format!("{line}: {kind}: {}\n", directive.text));
        for remark in &directive.remarks {
            out.push_str(&format!("    {remark}\n"));
        }
    }
    out.push('\n');
    out.push_str(&clearway_config::print::print(&foreign.loaded.config));
    out
}

#[test]
fn foreign_files_become_what_is_written_down() {
    let mut differ = Vec::new();
    for path in cases() {
        let told = told(&load(&path));
        let expected = path.with_added_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &told).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != told {
            differ.push(format!("{}:\n{told}", path.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn what_is_converted_reads_as_the_same() {
    for path in cases() {
        let config = load(&path).loaded.config;
        let printed = clearway_config::print::print(&config);
        let again = clearway_config::parse("converted", &printed);
        let difference = clearway_config::diff::diff(&config, &again.config);
        assert!(again.config == config, "{}: {difference:?}", path.display());
    }
}

#[test]
fn every_directive_is_told_once() {
    for path in cases() {
        let foreign = load(&path);
        let mut places: Vec<_> = foreign
            .directives
            .iter()
            .map(|directive| (directive.origin.line, directive.origin.column))
            .collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count, "{}", path.display());
    }
}

/// Words that mean something in either language, put together at random.
const WORDS: &[&str] = &[
    "global\n",
    "defaults\n",
    "frontend a\n",
    "backend b\n",
    "listen c\n",
    "bind",
    ":80",
    "server",
    "10.0.0.1:80",
    "check",
    "acl",
    "if",
    "unless",
    "{",
    "}",
    "!",
    "or",
    "path_beg",
    "hdr(host)",
    "-i",
    "-m",
    "http-request",
    "set-header",
    "X-A",
    "%[src]",
    "%[",
    "redirect",
    "location",
    "code",
    "301",
    "use_backend",
    "b",
    "cookie",
    "insert",
    "log",
    "log-format",
    "%ci",
    "option",
    "httpchk",
    "timeout",
    "5s",
    "\n",
    "\n",
    "\n",
    "http {",
    "server {",
    "location",
    "/",
    "~",
    "^(.*)$",
    "proxy_pass",
    "http://$host",
    "return",
    "200",
    "\"$uri\"",
    ";",
    ";",
    ";",
    "rewrite",
    "last",
    "set",
    "$a",
    "map",
    "upstream u {",
    "add_header",
    "always",
    "if ($a = b) {",
    "listen 80;",
    "server_name x.test;",
    "include",
    "access_log",
    "(",
    ")",
    "\"",
    "'",
    "\\",
];

proptest::proptest! {
    #[test]
    fn any_words_are_told_of(picked in proptest::collection::vec(0..WORDS.len(), 0..60)) {
        let words: Vec<&str> = picked.into_iter().map(|at| WORDS[at]).collect();
        let text = words.join(" ");
        let mut environment = Environment::new(std::collections::BTreeMap::<String, String>::new());
        for made in [
            foreign::haproxy_text("t", &text, &mut environment),
            foreign::nginx_text("t", &text),
        ] {
            if !made.loaded.has_errors() {
                let printed = clearway_config::print::print(&made.loaded.config);
                let again = clearway_config::parse("converted", &printed);
                proptest::prop_assert!(again.config == made.loaded.config, "{}", printed);
            }
        }
    }
}
