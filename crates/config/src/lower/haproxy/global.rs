//! `global`: what holds for the whole process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::notes::Notes;
use super::logs::{self, Manner, Target};
use crate::model::{Config, Identifier, OrOff, Workers};
use crate::survey::units;
use crate::syntax::haproxy::Line;
use crate::value::Text as _;

/// Keywords about nothing that requests or clients notice.
const HARMLESS: &[(&str, &str)] = &[
    (
        "expose-experimental-directives",
        "what is known here needs no leave",
    ),
    (
        "daemon",
        "`clearway run` stays in the foreground; called by the name haproxy, it is obeyed",
    ),
    ("master-worker", "one process serves and reloads"),
    (
        "chroot",
        "the service decides what is seen of the file system",
    ),
    ("pidfile", "called by the name haproxy, it is written"),
    ("nbproc", "workers are threads of one process"),
    ("cpu-map", "the kernel places threads"),
    ("thread-groups", "the kernel places threads"),
    ("ulimit-n", "the service sets the limit of open files"),
    ("maxpipes", "an internal matter of HAProxy"),
    ("maxsslconn", "the limit of connections counts all of them"),
    ("maxconnrate", "there is no such limit"),
    ("spread-checks", "checks never run in step"),
    ("max-spread-checks", "checks never run in step"),
    ("node", "a name for statistics"),
    ("description", "a text for people"),
    ("quiet", "the command line says what is printed"),
    ("debug", "the command line says what is printed"),
    ("noepoll", "an internal matter of HAProxy"),
    ("nokqueue", "an internal matter of HAProxy"),
    ("nopoll", "an internal matter of HAProxy"),
    ("nosplice", "an internal matter of HAProxy"),
    ("busy-polling", "an internal matter of HAProxy"),
    (
        "server-state-base",
        "states are kept in memory across reloads",
    ),
    (
        "server-state-file",
        "states are kept in memory across reloads",
    ),
    ("localpeer", "it is about peers"),
    (
        "external-check",
        "checks by programs are refused where they stand",
    ),
    ("insecure-fork-wanted", "no programs are started"),
    ("insecure-setuid-wanted", "no programs are started"),
    (
        "unix-bind",
        "sockets belong to the user that Clearway runs as",
    ),
    ("ssl-engine", "the cryptography is Clearway's own"),
    ("ssl-mode-async", "the cryptography is Clearway's own"),
    (
        "ssl-dh-param-file",
        "key exchange with finite fields is not used",
    ),
    (
        "ssl-load-extra-files",
        "keys and OCSP responses beside certificates are always read",
    ),
    ("ssl-skip-self-issued-ca", "a matter of certificate chains"),
    (
        "ssl-default-bind-ciphers",
        "the suites of Mozilla's intermediate profile are used",
    ),
    (
        "ssl-default-bind-ciphersuites",
        "the suites of Mozilla's intermediate profile are used",
    ),
    (
        "ssl-default-bind-curves",
        "the groups of Mozilla's intermediate profile are used",
    ),
    (
        "ssl-default-server-ciphers",
        "the suites of Mozilla's intermediate profile are used",
    ),
    (
        "ssl-default-server-ciphersuites",
        "the suites of Mozilla's intermediate profile are used",
    ),
    (
        "ssl-default-server-options",
        "TLS before 1.2 is never spoken",
    ),
    ("strict-limits", "limits are checked when it starts"),
    ("set-dumpable", "core files are a matter of the service"),
    ("hard-stop-after", "kept for the end of connections"),
    ("close-spread-time", "connections end as they become idle"),
    ("grace", "connections end as they become idle"),
    ("profiling.tasks", "an internal matter of HAProxy"),
    ("zero-warning", "an internal matter of HAProxy"),
    ("wurfl-data-file", "it is about device detection"),
    ("h1-case-adjust", "names of headers keep their case"),
    ("h1-case-adjust-file", "names of headers keep their case"),
    ("setenv", "done while the file is read"),
    ("presetenv", "done while the file is read"),
    ("unsetenv", "done while the file is read"),
    ("resetenv", "done while the file is read"),
    ("numa-cpu-mapping", "the kernel places threads"),
    ("no", "an internal matter of HAProxy"),
];

/// Settings that others refer to.
#[derive(Debug)]
pub(super) struct Global {
    crt_base: PathBuf,
    ca_base: PathBuf,
    bind_options: Vec<String>,
    pub(super) server_verify: bool,
    /// TLS is spoken with some server.
    pub(super) speaks_tls: bool,
    pub(super) buffer: usize,
    pub(super) headers: usize,
    pub(super) maxconn: Option<u64>,
    /// Places that lines of logs go to, and what is around them.
    pub(super) logs: Vec<Target>,
    pub(super) manner: Manner,
    pub(super) stats_timeout: Option<Duration>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            crt_base: PathBuf::new(),
            ca_base: PathBuf::new(),
            bind_options: Vec::new(),
            server_verify: true,
            speaks_tls: false,
            buffer: 16_384,
            headers: 101,
            maxconn: None,
            logs: Vec::new(),
            manner: Manner::default(),
            stats_timeout: None,
        }
    }
}

impl Global {
    /// A certificate's file.
    pub(super) fn crt(&self, path: &str) -> PathBuf {
        absolute(&self.crt_base.join(path))
    }

    /// An authority's file.
    pub(super) fn ca(&self, path: &str) -> PathBuf {
        absolute(&self.ca_base.join(path))
    }

    /// Whether clients have to speak TLS 1.3.
    pub(super) fn min_version_is_13(&self) -> bool {
        let says = |word: &str| self.bind_options.iter().any(|option| option == word);
        says("TLSv1.3") && says("ssl-min-ver") || says("force-tlsv13") || says("no-tlsv12")
    }

    /// Reads a line.
    pub(super) fn read(&mut self, line: &Line, config: &mut Config, notes: &mut Notes) {
        let value = line.word(1);
        let number = units::size(value).and_then(|number| usize::try_from(number).ok());
        match line.word(0) {
            "user" | "uid" => config.process.user = Identifier::parse(value).ok(),
            "group" | "gid" => config.process.group = Identifier::parse(value).ok(),
            "maxconn" => self.maxconn = units::size(value),
            "crt-base" => self.crt_base = value.into(),
            "ca-base" => self.ca_base = value.into(),
            "ssl-default-bind-options" => {
                self.bind_options = line.texts(1).map(str::to_owned).collect();
                notes.equivalent("TLS before 1.2 is never spoken");
            }
            "ssl-server-verify" => self.server_verify = value != "none",
            "nbthread" => {
                if let Some(count) = number.filter(|count| *count > 0) {
                    config.process.workers = Workers::Count(count);
                }
            }
            "hard-stop-after" => {
                if let Some(time) = units::haproxy_time(value) {
                    config.process.drain = OrOff::On(time.max(Duration::from_secs(1)));
                }
            }
            "tune.bufsize" => self.buffer = number.unwrap_or(self.buffer),
            "tune.http.maxhdr" => self.headers = number.unwrap_or(self.headers),
            word if word.starts_with("tune.") => notes.harmless("an internal matter of HAProxy"),
            "log" => self.logs.extend(logs::target(line, notes)),
            "log-tag" => self.manner.tag = Some(value.to_owned()),
            "log-send-hostname" => {
                let name = if value.is_empty() { "*" } else { value };
                self.manner.hostname = Some(name.to_owned());
            }
            "stats" => super::stats::global(line, self, config, notes),
            "lua-load" | "lua-load-per-thread" | "lua-prepend-path" => {
                notes.refused("programs in Lua are not run");
            }
            word => match HARMLESS.iter().find(|(known, _)| *known == word) {
                Some((_, why)) => notes.harmless(*why),
                None => notes.refused(format!("{word:?} is not known here")),
            },
        }
    }
}

/// Relative paths lead from where the process is started.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
