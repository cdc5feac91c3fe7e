//! The subcommands. Each is one file with its arguments and a `run`.

mod as_haproxy;
mod as_nginx;
mod background;
mod check;
mod convert;
mod ctl;
mod demo;
mod doctor;
mod print;
mod run;
mod why;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clearway_config::Loaded;
use clearway_config::foreign::{self, Environment, Foreign};

/// A load balancer for layers 4 and 7 that explains every gateway error.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// Run the balancer on a configuration.
    Run(run::Args),
    /// Check a configuration and say everything that is wrong with it.
    Check(check::Args),
    /// Find out why requests fail: from servers, configurations, logs and reports, also of NGINX, HAProxy,
    /// Envoy and AWS ALB.
    Doctor(Box<doctor::Args>),
    /// Show the main job on loopback: servers that fail, and what Clearway says about it.
    Demo(demo::Args),
    /// Print a configuration as Clearway understands it.
    Print(print::Args),
    /// Print a configuration of another balancer in Clearway's language.
    Convert(convert::Args),
    /// Control a running balancer: reload, servers, drain.
    Ctl(ctl::Args),
    /// Explain a failed request by its id.
    Why(why::Args),
}

/// Where the configuration is.
#[derive(clap::Args, Clone)]
struct ConfigArg {
    /// The configuration file.
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        default_value = "clearway.toml"
    )]
    config: PathBuf,
    /// A configuration of HAProxy instead: a file, or a directory of files that end in .cfg. May be given
    /// several times.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    haproxy: Vec<PathBuf>,
    /// A configuration of NGINX instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "haproxy"])]
    nginx: Option<PathBuf>,
    /// Leave out directives of another balancer that begin with this word where they would be refused.
    #[arg(long, value_name = "WORD")]
    ignore: Vec<String>,
}

impl ConfigArg {
    /// Reads the configuration without saying anything.
    fn read(&self) -> Loaded {
        self.foreign().map_or_else(
            || clearway_config::load(&self.config),
            |foreign| foreign.loaded,
        )
    }

    /// The configuration in another language, if it is in one.
    fn foreign(&self) -> Option<Foreign> {
        if let Some(path) = &self.nginx {
            return Some(foreign::load_nginx(path, "", &self.ignore));
        }
        let is_one = !self.haproxy.is_empty();
        is_one.then(|| {
            let mut environment =
                Environment::new(std::env::vars().collect::<std::collections::BTreeMap<_, _>>());
            foreign::load_haproxy(&self.haproxy, &mut environment, &self.ignore)
        })
    }

    /// What to call it.
    fn name(&self) -> String {
        if let Some(path) = &self.nginx {
            return path.display().to_string();
        }
        match self.haproxy.as_slice() {
            [] => self.config.display().to_string(),
            files => {
                let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
                files.join(", ")
            }
        }
    }

    /// Loads the configuration and prints everything that is wrong with it.
    fn load(&self) -> Loaded {
        let loaded = self.read();
        tell(&loaded);
        loaded
    }
}

/// Prints everything that is wrong with a configuration.
fn tell(loaded: &Loaded) {
    for diagnostic in &loaded.diagnostics {
        complain(&format!("{}\n", run::render(diagnostic)));
    }
}

/// Where the running balancer's admin API is.
#[derive(clap::Args)]
struct AdminArg {
    /// Address of the admin API.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9180",
        global = true
    )]
    admin: String,
}

impl AdminArg {
    /// Says that the admin API could not be asked, and what to look at.
    fn unreachable(&self, error: &std::io::Error) -> ExitCode {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let advice = if matches!(error.kind(), ConnectionRefused | NotFound) {
            "no admin API listens there. Is clearway running? It prints the address as \
             \"listening admin ADDRESS\"; --admin names it"
        } else if error.kind() == PermissionDenied {
            "the socket belongs to the user that clearway runs as"
        } else {
            "is that the address of clearway's admin API? --admin names another"
        };
        complain(&format!("clearway: {}: {error}: {advice}\n", self.admin));
        ExitCode::from(2)
    }
}

/// Runs what the command line asks for: a subcommand or, called by the name of another program, what that
/// program would do.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let own = arguments.first().map(Path::new).and_then(Path::file_name);
    let name = own.map(|name| name.to_string_lossy()).unwrap_or_default();
    if name.starts_with("haproxy") {
        as_haproxy::main(&arguments)
    } else if name.starts_with("nginx") {
        as_nginx::main(&arguments)
    } else {
        Command::parse().run()
    }
}

impl Command {
    /// Runs the chosen subcommand.
    fn run(self) -> ExitCode {
        match self.which {
            Which::Run(args) => args.run(),
            Which::Check(args) => args.run(),
            Which::Doctor(args) => args.run(),
            Which::Demo(args) => args.run(),
            Which::Print(args) => args.run(),
            Which::Convert(args) => args.run(),
            Which::Ctl(args) => args.run(),
            Which::Why(args) => args.run(),
        }
    }
}

/// Writes text to standard output; a closed pipe is not an error worth a message.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes text to standard error.
fn complain(text: &str) {
    use std::io::Write;
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}
