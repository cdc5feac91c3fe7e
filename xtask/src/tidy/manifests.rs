//! Dependencies: each one has a reason and a user, all are named in one place.

use super::layers::Package;
use super::{File, Finding};

/// Runs the rules of this file.
pub(super) fn check(files: &[File], packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if file.path == "Cargo.toml" {
            findings.extend(root(file, packages));
        } else if file.path.ends_with("/Cargo.toml") && !file.path.starts_with("fuzz/") {
            findings.extend(member(file));
        }
    }
    findings
}

fn root(file: &File, packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut before = "";
    for (index, name, line) in entries(&file.text, |section| section == "workspace.dependencies") {
        if let Some(previous) = index.checked_sub(1) {
            before = file.text.lines().nth(previous).unwrap_or(before);
        }
        if !line.contains("path =") && !before.starts_with("# ") {
            let message = format!("say above `{name}` why it is trusted to do its job");
            findings.push(file.finding("dependency-reason", index + 1, message));
        }
        let used = packages
            .iter()
            .any(|package| package.uses.iter().any(|(used, _)| used == name));
        if !used {
            let message = format!("no crate uses `{name}`");
            findings.push(file.finding("dependency-unused", index + 1, message));
        }
    }
    findings
}

fn member(file: &File) -> Vec<Finding> {
    let mut findings: Vec<Finding> = entries(&file.text, |name| name.ends_with("dependencies"))
        .filter(|(_, _, line)| !line.contains("workspace = true"))
        .map(|(index, name, _)| {
            let message = format!("take `{name}` from the workspace");
            file.finding("dependency-place", index + 1, message)
        })
        .collect();
    if !file.text.contains("[lints]\nworkspace = true") {
        let message = "inherit the workspace's lints".to_owned();
        findings.push(file.finding("lints", 0, message));
    }
    findings
}

/// Line index, key and line of the entries in sections that `wanted` takes.
fn entries(text: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut inside = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if let Some(section) = line.strip_prefix('[') {
            inside = wanted(section.trim_end_matches(']'));
            return None;
        }
        let (key, _) = line.split_once('=')?;
        let name = key.trim().split('.').next()?;
        (inside && !line.starts_with('#')).then_some((index, name, line))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn each_dependency_has_a_reason_and_a_user() {
        let text = "[workspace.dependencies]\n# Why.\na = \"1\"\nb = \"1\"\nc = { path = \"c\" }\n";
        let package = Package {
            name: "x".to_owned(),
            folder: "crates/x".to_owned(),
            uses: vec![("a".to_owned(), false), ("c".to_owned(), true)],
        };
        let found = check(&[file("Cargo.toml", text)], &[package]);
        let rules: Vec<_> = found.iter().map(|f| (f.rule, f.line)).collect();
        assert_eq!(rules, [("dependency-reason", 4), ("dependency-unused", 4)]);
    }

    #[test]
    fn members_take_everything_from_the_workspace() {
        let good = "[lints]\nworkspace = true\n\n[dependencies]\na.workspace = true\n";
        assert_eq!(check(&[file("crates/x/Cargo.toml", good)], &[]), []);
        let bad = "[dev-dependencies]\na = \"1\"\n";
        assert_eq!(check(&[file("crates/x/Cargo.toml", bad)], &[]).len(), 2);
    }
}
