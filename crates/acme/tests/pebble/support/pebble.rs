//! Pebble and its DNS server in settings of ours.

use clearway_acme::{Issuer, Roots};
pub(crate) use clearway_testkit::pebble::{Dns, Pebble, Setup, free_address};
use clearway_testkit::wait::LIMIT;

/// An authority as an issuer.
pub(crate) trait ToIssuer {
    fn issuer(&self, name: &str) -> Issuer;
}

impl ToIssuer for Pebble {
    fn issuer(&self, name: &str) -> Issuer {
        Issuer {
            roots: Roots::Pem(self.roots.clone()),
            ..Issuer::new(name, &self.directory)
        }
    }
}

/// A DNS server as a resolver of ours.
pub(crate) trait ToResolver {
    fn resolver(&self) -> clearway_net::dns::Settings;
}

impl ToResolver for Dns {
    fn resolver(&self) -> clearway_net::dns::Settings {
        clearway_net::dns::Settings {
            servers: vec![self.address],
            // On a machine with other things to do an answer takes its time.
            timeout: LIMIT,
            ..clearway_net::dns::Settings::default()
        }
    }
}
