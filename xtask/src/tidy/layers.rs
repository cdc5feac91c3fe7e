//! The layer table of ARCHITECTURE.md, compared with the real edges between crates.

use std::path::Path;

use serde_json::Value;

use super::{File, Finding};

const PAGE: &str = "ARCHITECTURE.md";
/// Stands in the line above the table.
const MARK: &str = "<!-- tidy: layers -->";

/// A crate of the workspace.
pub(super) struct Package {
    pub(super) name: String,
    /// Its folder from the top of the repository.
    pub(super) folder: String,
    /// Its direct dependencies, and whether only tests use them.
    pub(super) uses: Vec<(String, bool)>,
}

/// A row of the table.
struct Row {
    line: usize,
    /// `None` for developer crates, which only tests may use.
    layer: Option<u32>,
    name: String,
    tokio: bool,
    unsafe_code: bool,
}

/// Asks cargo for the crates and their direct dependencies.
///
/// # Errors
/// When cargo fails.
pub(super) fn packages() -> Result<Vec<Package>, String> {
    let mut cargo = crate::shell::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let done = cargo
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let value: Value = serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())?;
    let text = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    let list = |value: &Value, key: &str| value.get(key)?.as_array().cloned();
    Ok(list(&value, "packages")
        .unwrap_or_default()
        .iter()
        .filter_map(|package| {
            let uses = list(package, "dependencies")?
                .iter()
                .filter_map(|dependency| {
                    let dev = text(dependency, "kind").as_deref() == Some("dev");
                    Some((text(dependency, "name")?, dev))
                })
                .collect();
            let manifest = text(package, "manifest_path")?;
            let folder = Path::new(&manifest)
                .parent()?
                .strip_prefix(crate::root())
                .ok()?;
            Some(Package {
                name: text(package, "name")?,
                folder: folder.to_str()?.to_owned(),
                uses,
            })
        })
        .collect())
}

/// Compares the table with the crates.
pub(super) fn check(files: &[File], packages: &[Package]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding {
            rule: "layers",
            path: PAGE.to_owned(),
            line: 0,
            message: "there is no such page".to_owned(),
        }];
    };
    let rows = table(&page.text);
    let mut findings = Vec::new();
    for row in &rows {
        if !packages.iter().any(|package| package.name == row.name) {
            let message = format!("there is no crate `{}`", row.name);
            findings.push(page.finding("layers", row.line, message));
        }
    }
    for package in packages {
        if let Some(row) = rows.iter().find(|row| row.name == package.name) {
            let messages = edges(row, package, &rows)
                .into_iter()
                .chain(freedoms(row, package, files));
            findings.extend(messages.map(|message| page.finding("layers", row.line, message)));
        } else {
            let message = format!("the table lacks the crate `{}`", package.name);
            findings.push(page.finding("layers", 0, message));
        }
    }
    findings
}

/// Imports go down, never sideways; developer crates are for tests alone.
fn edges(row: &Row, package: &Package, rows: &[Row]) -> Vec<String> {
    let mut messages = Vec::new();
    for (name, dev) in &package.uses {
        let Some(used) = rows.iter().find(|row| row.name == *name) else {
            continue;
        };
        let allowed = match (row.layer, used.layer) {
            (None, _) => true,
            (Some(_), None) => *dev,
            (Some(own), Some(below)) => below < own,
        };
        if !allowed {
            messages.push(format!("`{}` may not use `{name}`", row.name));
        }
    }
    messages
}

/// Who may use the runtime, and who may write unsafe code.
fn freedoms(row: &Row, package: &Package, files: &[File]) -> Vec<String> {
    let mut messages = Vec::new();
    let tokio = package
        .uses
        .iter()
        .any(|(name, dev)| name == "tokio" && !dev);
    if tokio != row.tokio {
        let says = if row.tokio {
            "uses tokio"
        } else {
            "does not use tokio"
        };
        messages.push(format!("the table says that `{}` {says}", row.name));
    }
    let forbids = files
        .iter()
        .filter(|file| {
            ["lib.rs", "main.rs"]
                .iter()
                .any(|root| file.path == format!("{}/src/{root}", package.folder))
        })
        .all(|file| file.text.contains("#![forbid(unsafe_code)]"));
    if forbids == row.unsafe_code {
        let says = if row.unsafe_code {
            "holds unsafe code, but it forbids it"
        } else {
            "holds no unsafe code, but it does not forbid it"
        };
        messages.push(format!("the table says that `{}` {says}", row.name));
    }
    messages
}

/// Reads `| L2 | crate | tokio | unsafe | … |` rows after the mark.
fn table(text: &str) -> Vec<Row> {
    text.lines()
        .enumerate()
        .skip_while(|(_, line)| line.trim() != MARK)
        .skip(1)
        .take_while(|(_, line)| line.starts_with('|'))
        .filter_map(|(index, line)| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [layer, name, tokio, unsafe_code, ..] = cells.as_slice() else {
                return None;
            };
            let layer = match layer.strip_prefix('L') {
                Some(number) => Some(number.parse().ok()?),
                None if *layer == "dev" => None,
                None => return None,
            };
            Some(Row {
                line: index + 1,
                layer,
                name: name.trim_matches('`').to_owned(),
                tokio: *tokio == "yes",
                unsafe_code: *unsafe_code == "yes",
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    const TABLE: &str = "text\n<!-- tidy: layers -->\n\
        | layer | crate | tokio | unsafe | job |\n|---|---|---|---|---|\n\
        | L0 | `base` | – | – | x |\n| L1 | `http` | – | – | x |\n| L1 | `net` | yes | – | x |\n\
        | dev | `kit` | – | – | x |\n\nmore | text\n";

    fn package(name: &str, uses: &[(&str, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            uses: uses
                .iter()
                .map(|(name, dev)| ((*name).to_owned(), *dev))
                .collect(),
        }
    }

    fn messages(package: &Package) -> Vec<String> {
        let rows = table(TABLE);
        let row = rows.iter().find(|row| row.name == package.name).unwrap();
        let root = format!("{}/src/lib.rs", package.folder);
        let root = file(&root, "//! x\n#![forbid(unsafe_code)]\n");
        let mut all = edges(row, package, &rows);
        all.extend(freedoms(row, package, &[root]));
        all
    }

    #[test]
    fn imports_go_down() {
        assert_eq!(table(TABLE).len(), 4);
        assert!(messages(&package("http", &[("base", false), ("kit", true)])).is_empty());
        assert_eq!(
            messages(&package("http", &[("net", false)])).len(),
            1,
            "sideways"
        );
        assert_eq!(
            messages(&package("base", &[("http", false)])).len(),
            1,
            "upwards"
        );
        assert_eq!(
            messages(&package("http", &[("kit", false)])).len(),
            1,
            "for tests alone"
        );
    }

    #[test]
    fn the_runtime_stays_where_it_may_be() {
        assert_eq!(messages(&package("http", &[("tokio", false)])).len(), 1);
        assert!(messages(&package("http", &[("tokio", true)])).is_empty());
        assert_eq!(messages(&package("net", &[])).len(), 1);
    }

    #[test]
    fn unlisted_crates_are_found() {
        let findings = check(&[file(PAGE, TABLE)], &[package("other", &[])]);
        assert_eq!(
            findings.len(),
            5,
            "four rows without crates, one crate without a row"
        );
    }
}
