//! Every Rust file says what it is for, is short, and is part of a crate; links in Markdown lead
//! somewhere.

use std::path::Path;

use super::{File, Finding, has_extension, has_word};

/// Lines of a file net of its tests.
const LINES_MAX: usize = 1000;

/// Runs the rules of this file.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        if file.is_rust() {
            findings.extend(header(file));
            findings.extend(length(file));
            findings.extend(dead(file, files));
        }
        if has_extension(&file.path, "md") {
            findings.extend(links(file));
        }
    }
    findings
}

fn header(file: &File) -> Option<Finding> {
    (!file.text.starts_with("//!")).then(|| {
        let message = "open the file with `//!` and what it is for";
        file.finding("header", 1, message.to_owned())
    })
}

fn length(file: &File) -> Option<Finding> {
    if file.path.contains("/tests/") || file.path.ends_with("/tests.rs") {
        return None;
    }
    let lines = net_lines(&file.text);
    (lines > LINES_MAX).then(|| {
        let message = format!("{lines} lines without tests; at most {LINES_MAX}");
        file.finding("length", 0, message)
    })
}

/// Lines outside `#[cfg(test)] mod … { … }`, as rustfmt lays them out.
fn net_lines(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = lines
            .peek()
            .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if line == "#[cfg(test)]" && opens {
            for line in lines.by_ref() {
                if line == "}" {
                    break;
                }
            }
        } else {
            count += 1;
        }
    }
    count
}

/// A file below `src` that its parent module does not name is never compiled.
fn dead(file: &File, files: &[File]) -> Option<Finding> {
    let (before, inside) = file.path.split_once("/src/")?;
    let path = Path::new(inside);
    let stem = path.file_stem()?.to_str()?;
    if matches!(inside, "lib.rs" | "main.rs") || inside.starts_with("bin/") {
        return None;
    }
    let folder = path.parent()?;
    let (name, folder) = if stem == "mod" {
        (folder.file_name()?.to_str()?, folder.parent()?)
    } else {
        (stem, folder)
    };
    let source = format!("{before}/src");
    let parents = if folder.as_os_str().is_empty() {
        vec![format!("{source}/lib.rs"), format!("{source}/main.rs")]
    } else {
        let folder = folder.display();
        vec![
            format!("{source}/{folder}.rs"),
            format!("{source}/{folder}/mod.rs"),
        ]
    };
    let named = files
        .iter()
        .filter(|file| parents.contains(&file.path))
        .any(|parent| code_lines(&parent.text).any(|line| has_word(line, name)));
    (!named).then(|| {
        let message = format!("no module names `{name}`: the file is never compiled");
        file.finding("dead-file", 0, message)
    })
}

/// Lines that are not comments.
pub(super) fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn links(file: &File) -> Vec<Finding> {
    let root = crate::root();
    let folder = Path::new(&file.path)
        .parent()
        .unwrap_or_else(|| Path::new(""));
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let targets = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets {
            let target = target.split('#').next().unwrap_or_default();
            let outside = target.contains(':') || target.contains(' ') || target.is_empty();
            if !outside && !root.join(folder).join(target).exists() {
                let message = format!("the link to `{target}` leads nowhere");
                findings.push(file.finding("link", index + 1, message));
            }
        }
        for path in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| is_path(code))
        {
            if !root.join(path).exists() {
                let message = format!("there is no `{path}`");
                findings.push(file.finding("link", index + 1, message));
            }
        }
    }
    findings
}

/// Whether code in a text is a path from the top of the repository, without a placeholder.
fn is_path(code: &str) -> bool {
    let ours = ["crates/", "docs/", "xtask/"]
        .iter()
        .any(|top| code.starts_with(top));
    ours && !code.contains([' ', '<', '*', '{'])
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn tests_do_not_count_as_length() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        assert_eq!(net_lines(text), 3);
        let long = "//! x\n".to_owned() + &"fn a() {}\n".repeat(LINES_MAX);
        assert!(length(&file("a/src/b.rs", &long)).is_some());
        assert!(length(&file("a/tests/b.rs", &long)).is_none());
    }

    #[test]
    fn unnamed_files_are_dead() {
        let files = [
            file("c/src/lib.rs", "//! x\nmod a;\n// mod b;\n"),
            file("c/src/a.rs", "//! x\nmod inner;\n"),
            file("c/src/a/inner.rs", "//! x\n"),
            file("c/src/b.rs", "//! x\n"),
        ];
        let dead: Vec<_> = files.iter().filter_map(|f| dead(f, &files)).collect();
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].path, "c/src/b.rs");
    }

    #[test]
    fn a_file_needs_its_header() {
        assert!(header(&file("c/src/a.rs", "use x;")).is_some());
        assert!(header(&file("c/src/a.rs", "//! Why.")).is_none());
    }

    #[test]
    fn links_lead_somewhere() {
        let text = "[a](Cargo.toml) [b](https://example.org) [c](#there) [d](missing.md)\n\
            `xtask/src` `xtask/<name>` `xtask/missing`";
        let findings = links(&file("x.md", text));
        assert_eq!(findings.len(), 2);
        assert!(findings[0].message.contains("missing.md"));
        assert!(findings[1].message.contains("xtask/missing"));
    }
}
