//! One test: what it says that it needs, and which class it belongs to.

use std::path::{Path, PathBuf};

use super::told;

/// A test.
pub(super) struct Case {
    /// Its path below the folder of all tests, without the extension.
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) needs: Needs,
    pub(super) class: Class,
}

/// What a test has to do with, besides what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Nothing but traffic.
    Plain,
    /// Commands to the runtime socket.
    Socket,
    /// Certificates.
    Tls,
    /// Both.
    SocketAndTls,
    /// What Clearway has not and does not promise: scripts, peers, agents, processes of others.
    Other,
}

impl Class {
    /// All of them, as the table has them.
    pub(super) const ALL: [Self; 5] = [
        Self::Plain,
        Self::Socket,
        Self::Tls,
        Self::SocketAndTls,
        Self::Other,
    ];

    /// Its name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Socket => "runtime socket",
            Self::Tls => "TLS",
            Self::SocketAndTls => "socket and TLS",
            Self::Other => "other",
        }
    }

    fn of(text: &str, needs: &Needs) -> Self {
        let lines = || text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
        let has_word = |wanted: &str| lines().any(|l| l.split_whitespace().any(|w| w == wanted));
        let begins = |wanted: &str| lines().any(|l| l.starts_with(wanted));
        let needs_option = |wanted: &str| needs.options.iter().any(|option| option == wanted);
        let is_other = needs_option("LUA")
            || !needs.services.is_empty()
            || OTHER.iter().any(|word| begins(word));
        let socket = has_word("-cli") || has_word("-mcli");
        let tls = needs_option("OPENSSL") || has_word("crt") || has_word("ssl");
        match (is_other, socket, tls) {
            (true, _, _) => Self::Other,
            (false, false, false) => Self::Plain,
            (false, true, false) => Self::Socket,
            (false, false, true) => Self::Tls,
            (false, true, true) => Self::SocketAndTls,
        }
    }
}

/// Lines that begin like this ask for something of the class [`Class::Other`].
const OTHER: &[&str] = &[
    "lua-",
    "http-request lua.",
    "http-request use-service lua.",
    "peers ",
    "filter spoe",
    "filter opentracing",
    "fcgi-app ",
    "mailers ",
    "program ",
    "bind quic",
    "http-request use-service prometheus-exporter",
];

/// What stands in the header of a test, in lines of the form `#NAME=value`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Needs {
    /// `default` unless it says another: `slow`, `bug`, `devel`, `broken`.
    pub(super) kind: String,
    pub(super) version: Option<String>,
    pub(super) version_below: Option<String>,
    /// Features, each a choice between names with `|` between them.
    pub(super) options: Vec<String>,
    /// Services, in the same form.
    pub(super) services: Vec<String>,
    /// Systems that it is not for.
    pub(super) not_targets: Vec<String>,
}

impl Needs {
    /// Reads the header of a test.
    pub(super) fn read(text: &str) -> Self {
        let mut needs = Self {
            kind: "default".to_owned(),
            ..Self::default()
        };
        for line in text.lines() {
            let Some((name, value)) = line.strip_prefix('#').and_then(|l| l.split_once('=')) else {
                continue;
            };
            let value = value.trim();
            let list = value.split(',').map(|one| one.trim().to_owned());
            // The name in the singular has a reason behind its comma.
            let single = value.split(',').next().map(|one| one.trim().to_owned());
            match name {
                "REGTEST_TYPE" => value.clone_into(&mut needs.kind),
                "REQUIRE_VERSION" => needs.version = single,
                "REQUIRE_VERSION_BELOW" => needs.version_below = single,
                "REQUIRE_OPTIONS" => needs.options.extend(list),
                "REQUIRE_OPTION" => needs.options.extend(single),
                "REQUIRE_SERVICES" => needs.services.extend(list),
                "REQUIRE_SERVICE" => needs.services.extend(single),
                "EXCLUDE_TARGETS" => needs.not_targets.extend(list),
                "EXCLUDE_TARGET" => needs.not_targets.extend(single),
                _ => {}
            }
        }
        needs
    }
}

/// The tests in a folder whose paths contain one of the texts, in order of their names.
///
/// # Errors
/// When there is none, or one cannot be read.
pub(super) fn find(folder: &Path, only: &[String]) -> Result<Vec<Case>, String> {
    let mut files = Vec::new();
    walk(folder, &mut files)?;
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let inside = file.strip_prefix(folder).unwrap_or(&file);
        let name = inside.with_extension("").display().to_string();
        if !only.is_empty() && !only.iter().any(|text| name.contains(text)) {
            continue;
        }
        let bytes = std::fs::read(&file).map_err(told(&file))?;
        let text = String::from_utf8_lossy(&bytes);
        let needs = Needs::read(&text);
        let class = Class::of(&text, &needs);
        cases.push(Case {
            name,
            file,
            needs,
            class,
        });
    }
    if cases.is_empty() {
        return Err("there is no such test".to_owned());
    }
    Ok(cases)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for entry in std::fs::read_dir(folder).map_err(told(folder))? {
        let path = entry.map_err(told(folder))?.path();
        // A link could lead around in a circle.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "vtc") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_what_is_needed() {
        let needs = Needs::read(
            "#REGTEST_TYPE=slow\n#REQUIRE_VERSION=2.4\n# REQUIRE_VERSION=3.0\n\
             #REQUIRE_OPTIONS=ZLIB|SLZ,OPENSSL\n#EXCLUDE_TARGET=freebsd, which has none\n",
        );
        assert_eq!(
            (needs.kind.as_str(), needs.version.as_deref()),
            ("slow", Some("2.4"))
        );
        assert_eq!(needs.options, ["ZLIB|SLZ", "OPENSSL"]);
        assert_eq!(needs.not_targets, ["freebsd"]);
        assert_eq!(Needs::read("").kind, "default");
    }

    #[test]
    fn classes_come_from_needs_and_content() {
        let class = |text: &str| Class::of(text, &Needs::read(text));
        assert_eq!(class("haproxy h1 -conf {\n bind fd@1\n}"), Class::Plain);
        assert_eq!(class("# ssl crt\nhaproxy h1 -cli {\n"), Class::Socket);
        assert_eq!(class(" bind fd@1 ssl crt x\n"), Class::Tls);
        assert_eq!(
            class("#REQUIRE_OPTION=OPENSSL\nhaproxy h1 -mcli {\n"),
            Class::SocketAndTls
        );
        assert_eq!(class("#REQUIRE_OPTIONS=LUA,OPENSSL\n"), Class::Other);
        assert_eq!(class("  peers mine\n"), Class::Other);
    }
}
