//! How a server of a configuration is reached from here.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use clearway_config::survey::{
    BackendSurvey, CheckKind, CheckSurvey, ServerSurvey, Spoke, Survey, TlsSurvey,
};
use clearway_control::examine::{Reach, lenient};
use clearway_net::connect::Target;
use clearway_net::tls::{self, ClientSettings, ClientTls, ServerName, Trust};

/// One server with everything around it.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) survey: &'a Survey,
    pub(super) backend: &'a BackendSurvey,
    pub(super) server: &'a ServerSurvey,
}

impl<'a> Written<'a> {
    /// How it is reached as it is written; what cannot be done the same way is said in words.
    pub(super) fn reach(self, target: Target) -> (Reach, Option<String>) {
        let mut trouble = None;
        let check = self.check().map(|check| {
            let host = check.host.as_ref();
            let host = host.and_then(|host| self.filled(&host.value));
            (host, check.path.value.clone())
        });
        let mut reach = Reach {
            proxy_header: self.backend.proxy_header.value,
            http2: self.backend.speaks.value == Spoke::Http2,
            host: self.host(),
            check,
            resolvers: self.resolvers(),
            ..Reach::default()
        };
        if let Some(written) = &self.backend.tls {
            let sni = written.sni.value.as_deref();
            reach.sni = sni.and_then(|sni| self.filled(sni));
            match client(written, reach.sni.as_deref(), &target) {
                Ok(found) => reach.tls = Some(found),
                Err(words) => trouble = Some(words),
            }
        }
        reach.target = Some(target);
        (reach, trouble)
    }

    /// Its checks, where they are requests.
    pub(super) fn check(self) -> Option<&'a CheckSurvey> {
        let check = self.backend.check.as_ref()?;
        (check.kind.value == CheckKind::Http && self.server.is_checked).then_some(check)
    }

    /// The Host that requests carry; `None` = the address.
    fn host(self) -> Option<String> {
        match &self.backend.host {
            Some(host) => self.filled(&host.value),
            None => self.of_client(),
        }
    }

    /// A name that clients ask for on the way to this backend.
    fn of_client(self) -> Option<String> {
        let name = &self.backend.name;
        let fronts = self.survey.fronts.iter();
        let mut hosts = fronts
            .filter(|front| front.backends.contains(name))
            .flat_map(|front| &front.hosts);
        let is_plain = |host: &&String| {
            host.contains('.') && !host.contains(['*', '~', '$', '^']) && !host.starts_with('.')
        };
        hosts.find(is_plain).cloned()
    }

    /// A name in which variables stand, as a client would fill it; `None` where that is not known.
    fn filled(self, text: &str) -> Option<String> {
        let text = text.trim().trim_matches('"');
        if let Some(inner) = text.strip_prefix("str(").and_then(|t| t.strip_suffix(')')) {
            return Some(inner.to_owned());
        }
        match text {
            "$host" | "$http_host" | "$server_name" | "$ssl_preread_server_name" => {
                self.of_client()
            }
            "$proxy_host" => Some(self.passed()),
            "the server's host name" => {
                let is_name = self.server.host.parse::<IpAddr>().is_err();
                is_name.then(|| self.server.host.clone())
            }
            _ if text.contains(['$', '%', '(', '{']) => None,
            "" => None,
            plain => Some(plain.to_owned()),
        }
    }

    /// What NGINX calls `$proxy_host`: the name in `proxy_pass`.
    fn passed(self) -> String {
        let name = self.backend.name.as_str();
        let name = name.split_once("://").map_or(name, |(_, rest)| rest);
        let name = name.split('/').next().unwrap_or(name);
        name.to_owned()
    }

    fn resolvers(self) -> Vec<SocketAddr> {
        if !self.backend.resolves_at_run_time.value {
            return Vec::new();
        }
        let written = self.survey.resolvers.value.iter();
        written
            .filter_map(|text| {
                let socket = text.parse::<SocketAddr>().ok();
                socket.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53)))
            })
            .collect()
    }
}

/// TLS as a configuration has it. Without a name to ask for nothing is verified: the library sends the name
/// that it verifies.
fn client(
    written: &TlsSurvey,
    sni: Option<&str>,
    target: &Target,
) -> Result<(ClientTls, ServerName<'static>), String> {
    let trust = match (written.verify.value, sni) {
        (true, Some(_)) => trust(written)?,
        _ => Trust::Nobody,
    };
    let settings = ClientSettings::new(trust);
    Ok((ClientTls::new(&settings)?, name(sni, target)?))
}

fn trust(written: &TlsSurvey) -> Result<Trust, String> {
    match &written.ca {
        Some(ca) => {
            let found = tls::certificates(Path::new(&ca.value));
            let found = found.map_err(|problem| {
                let path = problem.path.display();
                format!(
                    "{path}: {}, so certificates of servers were not verified",
                    problem.words
                )
            })?;
            Ok(Trust::Roots(found))
        }
        None => Ok(Trust::System(tls::system_roots()?)),
    }
}

/// TLS to a server of which only the address is known; a name is asked for and verified.
pub(super) fn client_to(
    name: Option<&str>,
    target: &Target,
) -> Result<(ClientTls, ServerName<'static>), String> {
    let client = match name {
        Some(_) => ClientTls::new(&ClientSettings::new(Trust::System(tls::system_roots()?)))?,
        None => lenient()?,
    };
    Ok((client, self::name(name, target)?))
}

fn name(sni: Option<&str>, target: &Target) -> Result<ServerName<'static>, String> {
    match (sni, target) {
        (Some(name), _) => tls::server_name(name),
        // An address is not sent.
        (None, Target::Ip(address)) => tls::server_name(&address.ip().to_string()),
        (None, Target::Unix(_)) => tls::server_name("127.0.0.1"),
    }
}

/// Whether a check takes a status; `None` where its words are not understood.
pub(super) fn accepts(expect: &str, status: u16) -> Option<bool> {
    let parts = expect.split([',', ' ']).filter(|part| !part.is_empty());
    let mut is_taken = false;
    for part in parts {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        is_taken |= (first..=last).contains(&status);
    }
    Some(is_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_understood_or_left() {
        assert_eq!(accepts("200-399", 302), Some(true));
        assert_eq!(accepts("200, 300-399", 204), Some(false));
        assert_eq!(accepts("200,204", 204), Some(true));
        assert_eq!(accepts("string OK", 200), None);
        assert_eq!(accepts("! status 500", 200), None);
    }
}
