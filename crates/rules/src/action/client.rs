//! Whom rules, logs and servers take for the client where proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use clearway_outcome::Address;

use crate::ast::{ClientFrom, ClientSource};
use crate::matcher::{Networks, address};
use crate::scratch::Scratch;
use crate::view::View;

/// Who is taken for the client.
#[derive(Debug)]
pub(crate) struct Client {
    source: ClientSource,
    trusted: Networks,
    trusts_unix: bool,
    recursive: bool,
}

impl Client {
    pub(super) fn new(from: &ClientFrom) -> Self {
        Self {
            source: from.source.clone(),
            trusted: Networks::new(&from.trusted),
            trusts_unix: from.trusts_unix,
            recursive: from.recursive,
        }
    }

    pub(super) fn apply(&self, view: &View<'_>, scratch: &mut Scratch) {
        let peer = match view.around {
            Some(around) => around.peer(),
            None => view.client,
        };
        let is_trusted = match peer {
            Address::Ip(address) => self.trusts(address.ip()),
            Address::Unix => self.trusts_unix,
        };
        let found = match &self.source {
            ClientSource::Connection => Some(peer),
            _ if !is_trusted => None,
            ClientSource::ProxyHeader => {
                let proxied = view.around.and_then(|around| around.proxied());
                proxied.and_then(|(from, _)| from).map(Address::Ip)
            }
            ClientSource::Header(name) => self.in_header(name, view).map(Address::Ip),
        };
        if let Some(client) = found {
            scratch.set_client(client);
        }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.contains(ip.to_canonical())
    }

    /// The last address of a list; with `recursive` the last that is not trusted, else the first. What is
    /// no address ends the search.
    fn in_header(&self, name: &str, view: &View<'_>) -> Option<SocketAddr> {
        let fields = view.head.fields.iter().rev();
        let named = |field: &&clearway_http::Field| {
            let own = field.name.of(view.buf);
            own.eq_ignore_ascii_case(name.as_bytes())
        };
        let mut found = None;
        for field in fields.filter(named) {
            let items = field.value.of(view.buf).rsplit(|&byte| byte == b',');
            for item in items
                .map(<[u8]>::trim_ascii)
                .filter(|item| !item.is_empty())
            {
                let Some(client) = socket(item) else {
                    return found;
                };
                found = Some(client);
                if !self.recursive || !self.trusts(client.ip()) {
                    return found;
                }
            }
        }
        found
    }
}

/// An address, perhaps with a port; the port is 0 without one.
fn socket(text: &[u8]) -> Option<SocketAddr> {
    if let Some(ip) = address(text) {
        return Some(SocketAddr::new(ip, 0));
    }
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    Some(SocketAddr::new(inner.parse().ok()?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    fn client(recursive: bool, headers: &[&str]) -> Option<String> {
        let step = Client::new(&ClientFrom {
            source: ClientSource::Header("x-forwarded-for".to_owned()),
            trusted: vec![
                "192.0.2.0/24".parse().unwrap(),
                "10.0.0.0/8".parse().unwrap(),
            ],
            trusts_unix: false,
            recursive,
        });
        let asked = get("/", headers);
        let mut scratch = Scratch::default();
        step.apply(&asked.view(), &mut scratch);
        scratch.client().map(|client| client.to_string())
    }

    #[test]
    fn the_client_is_found_behind_proxies() {
        let last = |headers: &[&str]| client(false, headers);
        let first = |headers: &[&str]| client(true, headers);
        let list = ["X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1"];
        assert_eq!(last(&list).as_deref(), Some("10.0.0.1:0"));
        assert_eq!(first(&list).as_deref(), Some("2.2.2.2:0"));
        let lines = ["X-Forwarded-For: 3.3.3.3", "x-forwarded-for: 10.9.9.9"];
        assert_eq!(first(&lines).as_deref(), Some("3.3.3.3:0"));
        assert_eq!(
            first(&["X-Forwarded-For: 10.0.0.9, 10.0.0.1"]).as_deref(),
            Some("10.0.0.9:0")
        );
        assert_eq!(
            first(&["X-Forwarded-For: what, 10.0.0.1"]).as_deref(),
            Some("10.0.0.1:0")
        );
        assert_eq!(last(&["X-Forwarded-For: what"]), None);
        assert_eq!(
            last(&["X-Forwarded-For: [2001:db8::1]:99"]).as_deref(),
            Some("[2001:db8::1]:99")
        );
        assert_eq!(last(&[]), None);
    }
}
