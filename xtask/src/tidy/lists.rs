//! Folders with one file per entry: each file must stand in its list.

use super::files::code_lines;
use super::{File, Finding, has_word};

/// Folders whose files are entries of a list kept in the module above, or elsewhere in the crate.
const LISTS: [&str; 5] = [
    "crates/balance/src/pick",
    "crates/clearway/src/command",
    "crates/config/src/concept",
    "crates/net/src/probe",
    "crates/telemetry/src/format",
];

/// Finds entries that their module declares and nobody uses.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    LISTS
        .iter()
        .flat_map(|folder| unlisted(folder, files))
        .collect()
}

fn unlisted(folder: &str, files: &[File]) -> Vec<Finding> {
    let source = folder
        .rsplit_once("/src/")
        .map_or(folder, |(crate_folder, _)| crate_folder);
    files
        .iter()
        .filter_map(|file| {
            let name = file
                .path
                .strip_prefix(folder)?
                .strip_prefix('/')?
                .strip_suffix(".rs")?;
            let is_entry = !name.contains('/') && name != "mod" && !is_test(name, source, files);
            let used = !is_entry
                || files
                    .iter()
                    .filter(|other| other.path.starts_with(source) && other.path != file.path)
                    .any(|other| is_used(&other.text, name));
            (!used).then(|| file.finding("list", 0, format!("`{name}` stands in no list")))
        })
        .collect()
}

/// Whether the module is compiled for tests alone.
fn is_test(name: &str, source: &str, files: &[File]) -> bool {
    let declaration = format!("#[cfg(test)]\nmod {name};");
    files
        .iter()
        .filter(|file| file.path.starts_with(source))
        .any(|file| file.text.contains(&declaration))
}

/// Whether code names the entry other than by declaring its module.
fn is_used(text: &str, name: &str) -> bool {
    code_lines(text).any(|line| {
        let declares = line.trim().ends_with(&format!("mod {name};"));
        !declares && has_word(line, name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn declared_but_unlisted_is_found() {
        let entry = file("crates/balance/src/pick/maglev.rs", "//! maglev");
        let module = |text| file("crates/balance/src/pick/mod.rs", text);
        assert_eq!(check(&[entry, module("mod maglev;\n// maglev\n")]).len(), 1);
        let entry = file("crates/balance/src/pick/maglev.rs", "//! maglev");
        let listed = module("mod maglev;\nalgorithms! { maglev }\n");
        assert_eq!(check(&[entry, listed]), []);
        let entry = file("crates/balance/src/pick/laws.rs", "//! tests");
        assert_eq!(check(&[entry, module("#[cfg(test)]\nmod laws;\n")]), []);
    }
}
