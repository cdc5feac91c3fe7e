//! What a configuration may ask about the program that reads it, and what the answers are.

/// The version whose language and behaviour are meant.
pub const VERSION: &str = "2.6.12";

/// The day of that version.
pub const VERSION_DATE: &str = "2023/03/28";

/// The TLS library whose names of ciphers, groups and versions are understood in configurations. What
/// does the work is another one; conditions ask for the sake of what may be written.
pub const TLS_LIBRARY: &str = "OpenSSL";

/// The version of that library that is meant.
pub const TLS_LIBRARY_VERSION: &str = "3.0.0";

/// Every feature that version 2.6 can be asked for, by its name, and whether it is here.
pub const FEATURES: &[(&str, bool)] = &[
    ("51DEGREES", false),
    ("ACCEPT4", true),
    ("BACKTRACE", false),
    ("CLOSEFROM", false),
    ("CPU_AFFINITY", false),
    ("CRYPT_H", false),
    ("DEVICEATLAS", false),
    ("DL", false),
    ("ENGINE", false),
    ("EPOLL", true),
    ("EVPORTS", false),
    ("GETADDRINFO", false),
    ("KQUEUE", false),
    ("LIBCRYPT", false),
    ("LINUX_SPLICE", true),
    ("LINUX_TPROXY", false),
    ("LUA", false),
    ("MEMORY_PROFILING", false),
    ("NETFILTER", false),
    ("NS", false),
    ("OBSOLETE_LINKER", false),
    ("OPENSSL", true),
    ("OT", false),
    ("PCRE", false),
    ("PCRE2", false),
    ("PCRE2_JIT", false),
    ("PCRE_JIT", false),
    ("POLL", true),
    ("PRCTL", false),
    ("PROCCTL", false),
    ("PROMEX", false),
    ("QUIC", false),
    ("RT", false),
    ("SLZ", false),
    ("STATIC_PCRE", false),
    ("STATIC_PCRE2", false),
    ("SYSTEMD", true),
    ("TFO", false),
    ("THREAD", true),
    ("THREAD_DUMP", false),
    ("TPROXY", false),
    ("WURFL", false),
    ("ZLIB", false),
];

/// Services that answer requests in place of a server, by their names.
pub const SERVICES: &[&str] = &[];

/// Whether a feature is here.
#[must_use]
pub fn has_feature(name: &str) -> bool {
    FEATURES.contains(&(name, true))
}
