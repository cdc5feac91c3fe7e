//! Golden cases: each `tests/golden/NAME.toml` and what is said about it, in `NAME.txt`.
//!
//! `BLESS=1` writes the `.txt` files anew; look at the difference before committing it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    cases.sort();
    cases
}

fn said(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let loaded = clearway_config::parse(name, &text);
    let said: Vec<String> = loaded
        .diagnostics
        .iter()
        .map(|found| found.render(&text))
        .collect();
    said.join("\n")
}

#[test]
fn diagnostics_are_as_written_down() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut different = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 12, "{cases:?}");
    for case in cases {
        let (said, expected) = (said(&case), case.with_extension("txt"));
        if bless {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        if said != expected {
            different.push(format!(
                "{}\n--- expected\n{expected}\n--- said\n{said}",
                case.display()
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    let all: String = cases().iter().map(|case| said(case)).collect();
    let codes: BTreeSet<&str> = all
        .lines()
        .filter_map(|line| {
            line.strip_prefix("error[")
                .or_else(|| line.strip_prefix("warning["))?
                .split(']')
                .next()
        })
        .collect();
    let expected = BTreeSet::from([
        "acme",
        "admin-exposed",
        "all-trusted",
        "contradiction",
        "cookie",
        "duplicate",
        "duplicate-bind",
        "file",
        "key",
        "key-log",
        "loop",
        "missing-key",
        "missing-name",
        "mode",
        "name",
        "no-backend",
        "no-cache",
        "no-effect",
        "no-listener",
        "no-servers",
        "no-time-out",
        "no-traffic",
        "not-verified",
        "nobody-trusted",
        "range",
        "rule",
        "same-file",
        "shadowed",
        "syntax",
        "tls",
        "type",
        "unknown-key",
        "unknown-name",
        "unused",
        "value",
    ]);
    assert_eq!(codes, expected);
}
