//! Patterns of file names, as in a shell (glob(7)).

use std::path::{Path, PathBuf};

/// Most files that a pattern stands for.
const FILES_MAX: usize = 2_000;

/// Whether a text is a pattern, and no name.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files and folders that fit a pattern with `*`, `?` and `[…]`, in order of their names; each part of the
/// path may be one. At most 2000. Names that are no UTF-8 fit none.
#[must_use]
pub fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy();
        if !is_pattern(&text) {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        let pattern: Vec<char> = text.chars().collect();
        found = found
            .iter()
            .flat_map(|folder| entries(folder, &pattern))
            .take(FILES_MAX)
            .collect();
    }
    found.retain(|path| path.exists());
    found
}

fn entries(folder: &Path, pattern: &[char]) -> Vec<PathBuf> {
    let place = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            let is_hidden = name.starts_with('.') && pattern.first() != Some(&'.');
            !is_hidden && fits(pattern, &name.chars().collect::<Vec<_>>())
        })
        .collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern. After a mismatch the last `*` takes one character more, so the time
/// is at most the product of both lengths.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match step(pattern, p, name.get(n).copied().unwrap_or_default()) {
            Step::Star => {
                p += 1;
                retry = Some((p, n));
            }
            Step::Fits(next) => {
                p = next;
                n += 1;
            }
            Step::Fails => {
                let Some((after, from)) = retry else {
                    return false;
                };
                p = after;
                n = from + 1;
                retry = Some((after, n));
            }
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

enum Step {
    Star,
    /// It fits, and the pattern goes on here.
    Fits(usize),
    Fails,
}

fn step(pattern: &[char], at: usize, c: char) -> Step {
    match pattern.get(at) {
        Some('*') => Step::Star,
        Some('?') => Step::Fits(at + 1),
        Some('[') => class(pattern, at, c),
        Some(wanted) if *wanted == c => Step::Fits(at + 1),
        Some(_) | None => Step::Fails,
    }
}

/// A class of characters, `[a-z]`, `[!0-9]`. Without its closing bracket it is a bracket like any other.
fn class(pattern: &[char], at: usize, c: char) -> Step {
    let inner = pattern.get(at + 1..).unwrap_or_default();
    let Some(end) = inner.iter().skip(1).position(|c| *c == ']') else {
        return if c == '[' {
            Step::Fits(at + 1)
        } else {
            Step::Fails
        };
    };
    let inner = inner.get(..=end).unwrap_or_default();
    let negated = matches!(inner.first(), Some('!' | '^'));
    let mut members = inner.get(usize::from(negated)..).unwrap_or_default();
    let mut is_member = false;
    while let [first, rest @ ..] = members {
        if let ['-', last, rest @ ..] = rest {
            is_member |= (*first..=*last).contains(&c);
            members = rest;
        } else {
            is_member |= *first == c;
            members = rest;
        }
    }
    if is_member == negated {
        Step::Fails
    } else {
        Step::Fits(at + end + 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        let fits = |pattern: &str, name: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            fits(&chars(pattern), &chars(name))
        };
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.conf", "ä.conf", true),
            ("?.conf", ".conf", false),
            ("[0-9][!a-c]*", "1d-x", true),
            ("[0-9][!a-c]*", "1a-x", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        // Many stars do not take long.
        assert!(!fits(&"*a".repeat(40), &"a".repeat(39)));
    }
}
