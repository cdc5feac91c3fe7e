//! The program under test, and what it says of itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::Needs;
use super::told;
use crate::shell;

/// A program that answers to the name `haproxy`.
pub(super) struct Program {
    /// What to call.
    pub(super) link: PathBuf,
    /// What is behind it.
    file: PathBuf,
    said: Said,
}

/// What `-vv` says.
#[derive(Debug, Default, PartialEq)]
struct Said {
    version: String,
    target: String,
    features: Vec<String>,
    services: Vec<String>,
}

impl Program {
    /// Makes a link named `haproxy` in a folder and asks it what it is.
    ///
    /// # Errors
    /// When the link cannot be made, or the program does not answer `-vv` as HAProxy does.
    pub(super) fn link(file: &Path, folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(told(folder))?;
        let link = folder.join("haproxy");
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).map_err(told(&link))?;
        }
        std::os::unix::fs::symlink(file, &link).map_err(told(&link))?;
        let text = shell::output(Command::new(&link).arg("-vv"))?;
        let said = parse(&text);
        if said.version.is_empty() {
            return Err(format!(
                "{} -vv does not answer as HAProxy does",
                link.display()
            ));
        }
        Ok(Self {
            link,
            file: file.to_path_buf(),
            said,
        })
    }

    /// What it is, in a line.
    pub(super) fn describe(&self) -> String {
        let Said {
            version, target, ..
        } = &self.said;
        format!("{} is version {version} on {target}", self.file.display())
    }

    /// What it lacks for a test; `None` when it can be run.
    pub(super) fn lacks(&self, needs: &Needs) -> Option<String> {
        let said = &self.said;
        if needs.kind == "broken" {
            return Some("its authors call it broken".to_owned());
        }
        let own = version(&said.version);
        if let Some(least) = needs.version.as_ref().filter(|v| own < version(v)) {
            return Some(format!("needs version {least}"));
        }
        if let Some(below) = needs.version_below.as_ref().filter(|v| own >= version(v)) {
            return Some(format!("is for versions below {below}"));
        }
        if needs.not_targets.contains(&said.target) {
            return Some(format!("is not for {}", said.target));
        }
        let lacks = |choice: &&String, has: &[String], sign: &str| {
            !choice
                .split('|')
                .any(|one| has.contains(&format!("{sign}{one}")))
        };
        let mut options = needs.options.iter();
        if let Some(option) = options.find(|option| lacks(option, &said.features, "+")) {
            return Some(format!("needs the feature {option}"));
        }
        let mut services = needs.services.iter();
        if let Some(service) = services.find(|service| lacks(service, &said.services, "")) {
            return Some(format!("needs the service {service}"));
        }
        None
    }
}

fn parse(text: &str) -> Said {
    let mut said = Said::default();
    for line in text.lines() {
        let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect();
        if let Some(rest) = line.strip_prefix("HAProxy version ") {
            let version = rest.split_ascii_whitespace().next();
            said.version = version.unwrap_or_default().to_owned();
        } else if let Some(rest) = line.strip_prefix("Feature list : ") {
            said.features = words(rest);
        } else if let Some(rest) = line.strip_prefix("Available services :") {
            said.services = words(rest);
        } else if let Some(rest) = line.trim_start().strip_prefix("TARGET ") {
            let target = rest.trim_start().trim_start_matches('=').trim();
            said.target = target.to_owned();
        }
    }
    said
}

/// The numbers of a version, at most four: `2.4-dev3` is 2.4.
fn version(text: &str) -> [u32; 4] {
    let mut numbers = [0; 4];
    for (number, part) in numbers.iter_mut().zip(text.split('.')) {
        let end = part.find(|c: char| !c.is_ascii_digit());
        let digits = part.get(..end.unwrap_or(part.len())).unwrap_or("");
        *number = digits.parse().unwrap_or(0);
        if end.is_some() {
            break;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            link: PathBuf::new(),
            file: PathBuf::new(),
            said: parse(
                "HAProxy version 2.6.12-1 2023/03/28 - x\nBuild options :\n  TARGET  = linux-glibc\n\
                 Feature list : -LUA +OPENSSL +SLZ\nAvailable services : prometheus-exporter\n",
            ),
        }
    }

    #[test]
    fn what_a_program_says_of_itself() {
        let said = program().said;
        assert_eq!(
            (said.version.as_str(), said.target.as_str()),
            ("2.6.12-1", "linux-glibc")
        );
        assert_eq!(version(&said.version), [2, 6, 12, 0]);
        assert_eq!(said.services, ["prometheus-exporter"]);
    }

    #[test]
    fn what_a_program_lacks() {
        let needs = |header: &str| Needs::read(&format!("{header}\n"));
        let lacks = |header: &str| program().lacks(&needs(header));
        assert_eq!(lacks("#REQUIRE_VERSION=2.6"), None);
        assert_eq!(lacks("#REQUIRE_OPTIONS=ZLIB|SLZ,OPENSSL"), None);
        assert_eq!(lacks("#REQUIRE_SERVICES=prometheus-exporter"), None);
        for header in [
            "#REQUIRE_VERSION=2.7",
            "#REQUIRE_VERSION_BELOW=2.6",
            "#REQUIRE_OPTION=LUA, for scripts",
            "#REQUIRE_SERVICES=other",
            "#EXCLUDE_TARGETS=freebsd,linux-glibc",
            "#REGTEST_TYPE=broken",
        ] {
            assert!(lacks(header).is_some(), "{header}");
        }
    }
}
