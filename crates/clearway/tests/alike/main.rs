//! Clearway beside the real program: the same configuration, the same requests, the same servers.
//!
//! The tables in `haproxy/` and `nginx/` are cases, each a small configuration as that program reads
//! it and what is sent to it ([`parse`] says how they are written). A case is run through the real
//! program and through Clearway, each with servers of its own, and what clients got and servers saw
//! is compared ([`observe`] says what is not). A difference fails the test of its table unless the
//! case is marked with the reason for it; a mark without a difference fails as well. What is still to
//! be built is listed in `not_yet/`, a file for each table, from which `BLESS=1` takes what is alike.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests report by panicking"
)]

mod case;
mod diff;
mod observe;
mod parse;
mod play;
mod run;
mod servers;

use case::Kind;

/// One test per table, so that a runner has them side by side, and one that none is forgotten.
macro_rules! tables {
    ($($kind:ident: $module:ident { $($table:ident),* $(,)? })*) => {
        $(mod $module {
            $(#[test]
            fn $table() {
                crate::run::table(crate::Kind::$kind, stringify!($table));
            })*
        })*

        #[test]
        fn every_table_is_run() {
            $(assert_eq!(
                run::tables(Kind::$kind),
                [$(stringify!($table)),*],
                "the files of {} and the list in main.rs", stringify!($module)
            );)*
        }
    };
}

tables! {
    Haproxy: haproxy {
        acl, answers, balance, caches, checks, converters, cookies, headers, limits, logs, maps, messages, redirects, refusals, sections, tcp, timeouts, tls, variables, watch,
    }
    Nginx: nginx {
        access, caches, extras, files, locations, logs, messages, proxy, refusals, returns, sites, upstreams, variables,
    }
}
