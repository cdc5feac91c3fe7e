//! Words that must not stand in the repository.

use super::{File, Finding, has_word};

struct Banned {
    /// Rule name.
    rule: &'static str,
    word: &'static str,
    /// Whether only whole words count.
    whole: bool,
    /// Whether only Rust files are looked at.
    rust: bool,
    /// What to do instead.
    instead: &'static str,
}

// Spelled in two pieces so that this file does not find itself.
const BANNED: &[Banned] = &[
    macro_call(concat!("to", "do!"), "finish it, or write down why not"),
    macro_call(
        concat!("unimpl", "emented!"),
        "finish it, or return an error",
    ),
    marker(concat!("FIX", "ME")),
    marker(concat!("XX", "X")),
    marker(concat!("HA", "CK")),
    Banned {
        rule: "ignored-test",
        word: concat!("#[ig", "nore"),
        whole: false,
        rust: true,
        instead: "a test runs or goes",
    },
    Banned {
        rule: "sleep",
        word: concat!("thread::", "sleep"),
        whole: true,
        rust: true,
        instead: "wait for an event with a deadline",
    },
    path(concat!("/wo", "rk/")),
    path(concat!(".lib", "rary")),
    path(concat!("shared/", "design")),
    path(concat!("shared/", "style")),
    path(concat!("shared/", "reference")),
    path(concat!("shared/", "corpus")),
];

const fn macro_call(word: &'static str, instead: &'static str) -> Banned {
    Banned {
        rule: "unfinished",
        word,
        whole: false,
        rust: true,
        instead,
    }
}

const fn marker(word: &'static str) -> Banned {
    Banned {
        rule: "unfinished",
        word,
        whole: true,
        rust: true,
        instead: "say in a sentence what holds and why",
    }
}

const fn path(word: &'static str) -> Banned {
    Banned {
        rule: "foreign-path",
        word,
        whole: false,
        rust: false,
        instead: "name nothing outside the repository",
    }
}

/// Looks for banned words.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for banned in BANNED
            .iter()
            .filter(|banned| !banned.rust || file.is_rust())
        {
            for (index, line) in file.text.lines().enumerate() {
                let hit = if banned.whole {
                    has_word(line, banned.word)
                } else {
                    line.contains(banned.word)
                };
                if hit {
                    let message = format!("`{}`: {}", banned.word, banned.instead);
                    findings.push(file.finding(banned.rule, index + 1, message));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_banned_word_is_found_where_it_counts() {
        for banned in BANNED {
            let file = |path: &str| File {
                path: path.to_owned(),
                text: format!("a line\nbefore {} after\n", banned.word),
            };
            let rust = check(&[file("a.rs")]);
            assert_eq!((rust.len(), rust[0].line), (1, 2), "{}", banned.word);
            assert_eq!(check(&[file("a.md")]).len(), usize::from(!banned.rust));
        }
    }
}
