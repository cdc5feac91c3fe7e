//! What the tests of others consist of, from the package source that the system uses already.
//!
//! apt is given lists and folders of its own below `target/`, so that nothing of the system changes and
//! nobody has to be root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::told;
use crate::shell;

/// The version whose behaviour is what Clearway promises.
const SERIES: &str = "2.6.";

/// What brings varnishtest, when the system has none, with the libraries of it that are no others'.
const TESTER: [&str; 3] = ["varnish", "libvarnishapi3", "libjemalloc2"];

/// What was fetched.
pub(super) struct Fetched {
    /// The folder of the tests.
    pub(super) tests: PathBuf,
    /// varnishtest.
    pub(super) tester: PathBuf,
    /// Where libraries of varnishtest are that the system does not have.
    pub(super) libraries: Option<PathBuf>,
}

/// HAProxy's regression tests and what runs them.
///
/// # Errors
/// When they are not there and cannot be fetched.
pub(super) fn haproxy(place: &Path) -> Result<Fetched, String> {
    let source = place.join("haproxy");
    let tests = source.join("reg-tests");
    let own = place.join("varnish");
    let mut apt = None;
    if !tests.is_dir() {
        sources(Apt::ready(&mut apt, place)?, &source)?;
    }
    if let Some(tester) = shell::find("varnishtest") {
        return Ok(Fetched {
            tests,
            tester,
            libraries: None,
        });
    }
    let tester = own.join("usr/bin/varnishtest");
    if !tester.is_file() {
        packages(Apt::ready(&mut apt, place)?, &own)?;
    }
    Ok(Fetched {
        tests,
        tester,
        libraries: Some(libraries(&own)?),
    })
}

/// The source package without its patches, of which only the tests are unpacked.
fn sources(apt: &Apt, to: &Path) -> Result<(), String> {
    let folder = apt.downloads("source")?;
    println!("conformance: fetching HAProxy's tests");
    shell::output(
        apt.get()
            .current_dir(&folder)
            .args(["source", "--download-only", "haproxy"]),
    )?;
    let archive = files(&folder)?
        .into_iter()
        .find(|file| name(file).contains(".orig.tar."))
        .ok_or("the source package holds no archive of HAProxy")?;
    let version = name(&archive).to_owned();
    if !version.starts_with(&format!("haproxy_{SERIES}")) {
        return Err(format!(
            "the system's package source has {version}, and these tests are those of {SERIES}x"
        ));
    }
    fs::create_dir_all(to).map_err(told(to))?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(to);
    tar.args(["--strip-components=1", "--wildcards", "*/reg-tests"]);
    shell::output(&mut tar).map(drop)
}

/// Packages unpacked into a folder: installed, one of them would start a service.
fn packages(apt: &Apt, to: &Path) -> Result<(), String> {
    let folder = apt.downloads("packages")?;
    println!("conformance: fetching varnishtest");
    let mut get = apt.get();
    get.current_dir(&folder).arg("download").args(TESTER);
    shell::output(&mut get)?;
    fs::create_dir_all(to).map_err(told(to))?;
    for package in files(&folder)? {
        let mut unpack = Command::new("dpkg-deb");
        shell::output(unpack.arg("-x").arg(&package).arg(to))?;
    }
    Ok(())
}

/// The one folder below `usr/lib` that holds libraries: it is named after the kind of machine.
fn libraries(own: &Path) -> Result<PathBuf, String> {
    let all = files(&own.join("usr/lib"))?;
    let is_it = |folder: &PathBuf| folder.join("libvarnishapi.so.3").exists();
    let found = all.into_iter().find(is_it);
    found.ok_or_else(|| "varnishtest came without its library".to_owned())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(told(folder))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    Ok(files)
}

fn name(file: &Path) -> &str {
    file.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

/// apt with lists of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// The one in `slot`, made with its lists the first time it is wanted.
    fn ready<'a>(slot: &'a mut Option<Self>, place: &Path) -> Result<&'a Self, String> {
        if slot.is_none() {
            let apt = Self {
                folder: place.join("apt"),
            };
            apt.update()?;
            *slot = Some(apt);
        }
        slot.as_ref().ok_or_else(|| "no apt".to_owned())
    }

    fn update(&self) -> Result<(), String> {
        for folder in ["parts", "lists/partial", "cache/archives/partial"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).map_err(told(&folder))?;
        }
        let mut ask = Command::new("apt-get");
        ask.args(["indextargets", "Created-By: Packages", "--format"]);
        ask.arg("$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)");
        let lines = with_sources(&shell::output(&mut ask)?);
        if lines.is_empty() {
            return Err("apt knows no package source of Debian or Ubuntu".to_owned());
        }
        let list = self.folder.join("parts/both.list");
        fs::write(&list, lines).map_err(told(&list))?;
        shell::output(self.get().args(["update", "-q"])).map(drop)
    }

    fn get(&self) -> Command {
        let mut command = Command::new("apt-get");
        let option =
            |name: &str, part: &str| format!("{name}={}", self.folder.join(part).display());
        command.args(["-o", "Dir::Etc::SourceList=/dev/null"]);
        command.args(["-o", &option("Dir::Etc::SourceParts", "parts")]);
        command.args(["-o", &option("Dir::State::Lists", "lists")]);
        command.args(["-o", &option("Dir::Cache", "cache")]);
        // What is fetched lands in a folder that apt's own user may not write to.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }

    /// An empty folder to fetch into.
    fn downloads(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(told(&folder))?;
        }
        fs::create_dir_all(&folder).map_err(told(&folder))?;
        Ok(folder)
    }
}

/// A list of the distribution's own sources, of programs and of what they are made from. Its updates change
/// patches, not tests, and not every mirror has their sources.
fn with_sources(targets: &str) -> String {
    let mut lines = Vec::new();
    for target in targets.lines() {
        let words: Vec<&str> = target.split_ascii_whitespace().collect();
        if let [origin @ ("Debian" | "Ubuntu"), uri, release, component] = words.as_slice()
            && !release.contains('-')
        {
            let keys = format!(
                "/usr/share/keyrings/{}-archive-keyring.gpg",
                origin.to_lowercase()
            );
            for kind in ["deb", "deb-src"] {
                lines.push(format!(
                    "{kind} [signed-by={keys}] {uri} {release} {component}\n"
                ));
            }
        }
    }
    lines.sort();
    lines.dedup();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_stand_beside_programs() {
        let targets = "Debian http://d/debian/ bookworm main\nOther http://o/ x main\nDebian http://s/ bookworm-security main\n\
                       Debian http://d/debian/ bookworm main\n";
        assert_eq!(
            with_sources(targets),
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://d/debian/ bookworm main\n\
             deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://d/debian/ bookworm main\n"
        );
    }
}
