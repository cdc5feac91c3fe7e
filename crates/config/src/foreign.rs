//! Configurations in the languages of other balancers: what becomes of each of their directives.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Origin};
use crate::{Loaded, lower, syntax};

pub use lower::haproxy::{
    load as load_haproxy, load_text as haproxy_text, server as haproxy_server,
};
pub use lower::nginx::{load as load_nginx, load_text as nginx_text};
pub use syntax::haproxy::{
    Environment, FEATURES, Notice, SERVICES, TLS_LIBRARY, TLS_LIBRARY_VERSION, Unanswered, VERSION,
    VERSION_DATE, has_feature,
};

/// The version of NGINX whose language and behaviour are meant.
pub const NGINX_VERSION: &str = "1.22.1";

/// What NGINX's configuration says about the process that reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct NginxProcess {
    /// Every file that belongs to the configuration.
    pub files: Vec<PathBuf>,
    /// Where the process writes its id.
    pub pid: PathBuf,
    /// Whether it goes into the background.
    pub is_daemon: bool,
    /// The file that the process tells in of errors; none where it tells on standard error or a log of the system.
    pub errors: Option<PathBuf>,
    /// Whether the configuration says where it tells of errors.
    pub names_errors: bool,
}

/// Reads what NGINX's configuration says about the process, with the defaults of Debian's package.
#[must_use]
pub fn nginx_process(path: &Path, prefix: &Path, globals: &str) -> NginxProcess {
    let tree = syntax::nginx::read_file(path);
    let outside = syntax::nginx::read("command line", globals);
    let said = |name: &str| {
        let all = outside.directives.iter().chain(&tree.directives);
        let mut wanted = all.filter(|directive| directive.is(name));
        wanted.find_map(|directive| directive.argument(0).map(str::to_owned))
    };
    let errors = said("error_log");
    let names_errors = errors.is_some();
    let errors = errors.unwrap_or_else(|| "/var/log/nginx/error.log".to_owned());
    let is_file = errors != "stderr" && !errors.starts_with("syslog:");
    let pid = said("pid").unwrap_or_else(|| "/run/nginx.pid".to_owned());
    NginxProcess {
        files: tree.files.iter().map(PathBuf::from).collect(),
        pid: prefix.join(pid),
        is_daemon: said("daemon").as_deref() != Some("off"),
        errors: is_file.then(|| prefix.join(errors)),
        names_errors,
    }
}

/// What HAProxy's configuration says about the process that reads it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HaproxyProcess {
    /// Whether it goes into the background.
    pub is_daemon: bool,
    /// Whether a master reloads it.
    pub is_master: bool,
    /// Where the process writes its id.
    pub pid_file: Option<PathBuf>,
}

/// Reads what HAProxy's configuration says about the process.
#[must_use]
pub fn haproxy_process(paths: &[PathBuf], environment: &mut Environment) -> HaproxyProcess {
    let tree = syntax::haproxy::read_files_for(paths, environment);
    let mut process = HaproxyProcess::default();
    let globals = tree.sections.iter().filter(|s| s.kind() == "global");
    for line in globals.flat_map(|section| &section.lines) {
        match line.word(0) {
            "daemon" => process.is_daemon = true,
            "master-worker" => process.is_master = true,
            "pidfile" => process.pid_file = Some(line.word(1).into()),
            _ => {}
        }
    }
    process
}

/// What is done about a directive, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Treatment {
    /// It is done.
    Honoured,
    /// Something else is done that comes to the same.
    Equivalent,
    /// Nothing is done about it, and nobody notices.
    Harmless,
    /// Nothing is done about it, and something is different then.
    Ineffective,
    /// It changes who gets what, and cannot be done: nothing is run.
    Refused,
}

impl Treatment {
    /// As it stands in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Equivalent => "equivalent",
            Self::Harmless => "harmless to ignore",
            Self::Ineffective => "ignored with effect",
            Self::Refused => "refused",
        }
    }
}

/// A directive of a foreign file, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub origin: Origin,
    /// Its text, words with single spaces between.
    pub text: String,
    /// What is done about it.
    pub treatment: Treatment,
    /// Why, or what is different.
    pub remarks: Vec<String>,
}

/// A foreign configuration as Clearway understands it.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// What it says, in Clearway's model, with everything that is wrong with it.
    pub loaded: Loaded,
    /// Every directive, in the order of the files.
    pub directives: Vec<Directive>,
}

impl Foreign {
    /// How many directives are treated in a way.
    #[must_use]
    pub fn count(&self, treatment: Treatment) -> usize {
        let directives = self.directives.iter();
        directives.filter(|d| d.treatment == treatment).count()
    }
}

/// What is wrong with directives that are not honoured, as diagnostics.
pub(crate) fn complaints(directives: &[Directive]) -> Vec<Diagnostic> {
    let complaint = |directive: &Directive| {
        let remarks = directive.remarks.join("; ");
        match directive.treatment {
            Treatment::Honoured | Treatment::Equivalent | Treatment::Harmless => None,
            Treatment::Ineffective => {
                let message = format!("this is ignored: {remarks}");
                Some(Diagnostic::warning("ignored", &directive.origin, message))
            }
            Treatment::Refused => {
                let word = directive.text.split(' ').next().unwrap_or_default();
                let hint = format!("take it out, or run without it by --ignore {word}");
                Some(Diagnostic::error("refused", &directive.origin, remarks).hint(hint))
            }
        }
    };
    directives.iter().filter_map(complaint).collect()
}
