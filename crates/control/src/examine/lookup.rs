//! Look-ups of a name: by every resolver, as a program on this host would, and as just that name.

use std::net::SocketAddr;
use std::time::Duration;

use clearway_doctor::Finding;
use clearway_doctor::evidence::Lookup;
use clearway_net::probe::diagnose;
use clearway_outcome::{Asked, DnsAnswer, RecordKind};

/// Time for each resolver and question.
const LIMIT: Duration = Duration::from_millis(1_200);

pub(super) async fn run(name: &str, resolvers: &[SocketAddr]) -> Finding {
    let conf = diagnose::resolv_conf().unwrap_or_default();
    let servers = if resolvers.is_empty() {
        &conf.servers
    } else {
        resolvers
    };
    let mut asked = Vec::new();
    let just = diagnose::Lookup::absolute(name, servers, LIMIT);
    match diagnose::lookup(&just).await {
        Ok(found) => asked.extend(found),
        Err(why) => return Finding::NotRun(why),
    }
    if !name.ends_with('.') && !conf.search.is_empty() {
        let mut searched = diagnose::Lookup::as_configured(name, &conf, LIMIT);
        searched.servers = servers.to_vec();
        if let Ok(found) = diagnose::lookup(&searched).await {
            asked.extend(found);
        }
    }
    Finding::Lookup(asked.iter().map(|asked| told(name, asked)).collect())
}

fn told(name: &str, asked: &Asked) -> Lookup {
    let bare = asked.name.trim_end_matches('.');
    let mut out = Lookup {
        resolver: asked.server.to_string(),
        asked: asked.name.clone(),
        is_searched: !bare.eq_ignore_ascii_case(name.trim_end_matches('.')),
        family: match asked.kind {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
        },
        took_us: asked.took_us,
        ..Lookup::default()
    };
    match &asked.answer {
        DnsAnswer::Message {
            code,
            addresses,
            ttl,
            ..
        } => {
            out.rcode = Some(*code);
            out.addresses.clone_from(addresses);
            out.ttl_s = *ttl;
        }
        DnsAnswer::Unreachable(errno) => out.is_refused = *errno == libc::ECONNREFUSED,
        DnsAnswer::Silence | DnsAnswer::Garbage => {}
    }
    out
}
