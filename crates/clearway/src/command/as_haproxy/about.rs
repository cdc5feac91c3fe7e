//! What Clearway says of itself in HAProxy's place.

use clearway_config::foreign::{
    FEATURES, SERVICES, TLS_LIBRARY, TLS_LIBRARY_VERSION, VERSION, VERSION_DATE,
};

/// How to call it.
pub(super) const USAGE: &str = "\
Usage : haproxy [-f <file or folder>]* [ -vdVD ] [ -p <pidfile> ] [ -C <folder> ] [-- <file>*]
        -v, -vv         version, and with what it is built
        -c              check the configuration and end
        -cc <condition> answer a condition by the exit status and end
        -f <path>       a file, or a folder whose *.cfg files are read in order
        -C <folder>     change to this folder before reading files
        -D              run in the background
        -W, -Ws         reload on SIGUSR2; with s tell systemd
        -p <pidfile>    write the process's id here when in the background or with -W
        -q, -V          say nothing; say everything
        -d, -db         stay in the foreground
        -dD, -dW        show .diag messages; fail on warnings
        -L <name>       name of the local peer
        -sf, -st <pid>* when ready, have these processes finish, or end
        taken and not needed: -n -N -m -S -x and other -d options
";

/// The version, with whose it is.
pub(super) fn number() -> String {
    format!("{VERSION}-clearway-{}", env!("CARGO_PKG_VERSION"))
}

/// `-v`
pub(super) fn version() -> String {
    format!(
        "HAProxy version {} {VERSION_DATE} - Clearway in its place\n\
         Status: Clearway {}, which takes HAProxy {VERSION}'s configuration.\n",
        number(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// `-vv`
pub(super) fn build() -> String {
    let sign = |has: bool| if has { '+' } else { '-' };
    let features: Vec<String> = FEATURES
        .iter()
        .map(|(name, has)| format!("{}{name}", sign(*has)))
        .collect();
    let services = if SERVICES.is_empty() {
        "none".to_owned()
    } else {
        SERVICES.join(" ")
    };
    format!(
        "{}Build options :\n  TARGET  = linux-glibc\n\nFeature list : {}\n\n\
         Default settings :\n  bufsize = 16384, maxrewrite = 1024\n\n\
         TLS by rustls and aws-lc-rs, configured as {TLS_LIBRARY} {TLS_LIBRARY_VERSION} is\n\n\
         Available polling systems :\n      epoll : pref=300,  test result OK\n\
         Total: 1 (1 usable), will use epoll.\n\n\
         Available services : {services}\n",
        version(),
        features.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_find_what_they_look_for() {
        let text = build();
        let first = text.lines().next().unwrap();
        assert_eq!(first.split(' ').nth(2), Some(number().as_str()));
        assert!(first.starts_with("HAProxy version 2.6.12"), "{first}");
        assert!(text.contains("\n  TARGET  = linux-glibc\n"), "{text}");
        assert!(text.contains("\nFeature list : -51DEGREES "), "{text}");
        assert!(text.contains(" +OPENSSL "), "{text}");
        assert!(text.contains("\nAvailable services : "), "{text}");
    }
}
