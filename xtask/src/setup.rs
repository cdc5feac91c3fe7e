//! `cargo xtask setup`: the programs that tests and benchmarks call.

use std::process::Command;

use crate::shell;

/// Options of `setup`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
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
    tool("nginx", "nginx-light", "servers of tests, peer in bench"),
    tool("haproxy", "haproxy", "peer in tests and bench"),
    tool("wrk", "wrk", "load in bench"),
    tool("h2load", "nghttp2-client", "load in tests"),
    tool("curl", "curl", "client in tests"),
    tool("socat", "socat", "odd servers in tests"),
    tool("gunicorn", "gunicorn", "application server in tests"),
    tool("python3", "python3", "odd servers in tests"),
    tool("ip", "iproute2", "network namespaces in tests"),
    tool("nft", "nftables", "packet loss and firewalls in tests"),
    tool("strace", "strace", "system calls in bench"),
    tool("setpriv", "util-linux", "ending processes in bench"),
    tool("taskset", "util-linux", "pinning in bench"),
];

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
        return Ok(());
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
        note_optional();
        Ok(())
    } else {
        Err(advice(&self::packages(&left)))
    }
}

fn missing() -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| shell::find(tool.program).is_none())
        .collect()
}

fn packages(tools: &[&Tool]) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.iter().map(|tool| tool.package).collect();
    if packages.contains(&"nginx-light") {
        // Without it NGINX cannot take part in the layer 4 case of the benchmark.
        packages.push("libnginx-mod-stream");
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn advice(packages: &[&str]) -> String {
    format!(
        "missing programs; install them as root: apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

fn note_optional() {
    if shell::find("cargo-nextest").is_none() {
        println!("setup: cargo-nextest is not there (optional): tests run with cargo test");
    }
}

fn install(packages: &[&str]) -> Result<(), String> {
    shell::run(apt().args(["update", "-q"]))?;
    shell::run(
        apt()
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(packages),
    )
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Run level 1 keeps the packages from starting their services: tests start their own.
        .env("RUNLEVEL", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_named_once() {
        let all: Vec<_> = TOOLS.iter().collect();
        let packages = packages(&all);
        assert_eq!(packages.iter().filter(|p| **p == "util-linux").count(), 1);
        assert!(advice(&packages).contains("nghttp2-client"));
        assert!(packages.contains(&"libnginx-mod-stream"));
    }
}
