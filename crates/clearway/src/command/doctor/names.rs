//! Patterns of file names, for shells that leave them as they are.

use std::path::{Path, PathBuf};

/// Most files that a pattern stands for.
const FILES: usize = 1_000;

/// Whether a text is a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The files that a pattern stands for, sorted; each part of the path may be one.
pub(super) fn matching(pattern: &str) -> Vec<PathBuf> {
    let (start, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), pattern),
    };
    let mut found = vec![start];
    for part in rest.split('/') {
        found = found
            .iter()
            .flat_map(|folder| step(folder, part))
            .take(FILES)
            .collect();
    }
    found.retain(|path| path.is_file());
    found
}

fn step(folder: &Path, part: &str) -> Vec<PathBuf> {
    if !is_pattern(part) {
        let path = folder.join(part);
        return if path.exists() {
            vec![path]
        } else {
            Vec::new()
        };
    }
    let place = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let pattern: Vec<char> = part.chars().collect();
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut found: Vec<PathBuf> = names
        .filter(|name| {
            let name: Vec<char> = name.to_string_lossy().chars().collect();
            let is_hidden = name.first() == Some(&'.') && pattern.first() != Some(&'.');
            !is_hidden && fits(&pattern, &name)
        })
        .map(|name| folder.join(name))
        .collect();
    found.sort();
    found
}

/// Whether a name fits a pattern of `*`, `?`, `[a-z]` and `[!a-z]`.
fn fits(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|at| fits(rest, name.get(at..).unwrap_or(&[]))),
        ['?', rest @ ..] => name.split_first().is_some_and(|(_, name)| fits(rest, name)),
        ['[', rest @ ..] => {
            let end = rest.iter().skip(1).position(|c| *c == ']');
            let (Some(end), Some((first, name))) = (end, name.split_first()) else {
                return false;
            };
            let (set, rest) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
            is_in(set, *first) && fits(rest.get(1..).unwrap_or(&[]), name)
        }
        [own, rest @ ..] => name
            .split_first()
            .is_some_and(|(first, name)| first == own && fits(rest, name)),
    }
}

fn is_in(set: &[char], c: char) -> bool {
    let (is_not, set) = match set {
        ['!' | '^', set @ ..] => (true, set),
        set => (false, set),
    };
    let mut rest = set;
    let mut is_there = false;
    loop {
        rest = match rest {
            [] => return is_there != is_not,
            [from, '-', to, rest @ ..] => {
                is_there |= (*from..=*to).contains(&c);
                rest
            }
            [one, rest @ ..] => {
                is_there |= *one == c;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_fit_as_in_a_shell() {
        let fits = |pattern: &str, name: &str| {
            let list = |text: &str| text.chars().collect::<Vec<_>>();
            super::fits(&list(pattern), &list(name))
        };
        for (pattern, name) in [
            ("*.log", "a.log"),
            ("access.log*", "access.log.2.gz"),
            ("a?c", "abc"),
            ("a[0-9]", "a7"),
            ("a[!0-9]", "ab"),
            ("*", ""),
            ("[]]", "]"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.log", "a.gz"),
            ("a?c", "ac"),
            ("a[0-9]", "ax"),
            ("[", "["),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
