//! HAProxy: its configuration from a wish.

use super::wish::{Check, Tls, Wish, ms};

/// Where the runner takes its log from.
pub(super) const SYSLOG: &str = "127.0.0.1:5514";

/// What every configuration begins with.
pub(super) const GLOBAL: &str = "global\n    log 127.0.0.1:5514 local0\n    \
    stats socket $PEER/admin.sock mode 600 level admin\n";

/// What follows it.
pub(super) const DEFAULTS: &str = "defaults\n    mode http\n    log global\n    option httplog\n    \
    option dontlognull\n";

/// The file for a wish.
pub(super) fn config(wish: &Wish) -> String {
    let mut text = String::from("$GLOBAL\n$DEFAULTS");
    let mut timeout = |name: &str, value: u128| {
        text.push_str(&format!("    timeout {name} {value}ms\n"));
    };
    timeout("connect", wish.connect.map_or(5000, ms));
    // The last word for a head, a body and the reading of a request.
    timeout(
        "server",
        wish.response.or(wish.server_idle).map_or(30_000, ms),
    );
    timeout(
        "client",
        wish.client_write.or(wish.request_body).map_or(30_000, ms),
    );
    let others = [
        ("http-request", wish.request_head),
        ("queue", wish.queue),
        ("tunnel", wish.tunnel),
        ("check", wish.check.as_ref().map(|check| check.timeout)),
    ];
    for (name, time) in others {
        if let Some(time) = time {
            timeout(name, ms(time));
        }
    }
    match wish.retries {
        Some(retries) => text.push_str(&format!("    retries {retries}\n")),
        None => text.push_str("    option redispatch 1\n"),
    }
    text.push_str(if wish.keeps {
        "    http-reuse always\n"
    } else {
        "    option http-server-close\n"
    });
    text.push_str(&resolvers(wish));
    let bind = wish.bind.replace("unix:", "unix@");
    text.push_str(&format!(
        "\nfrontend web\n    bind {bind}\n    default_backend app\n"
    ));
    if let Some(most) = wish.connections {
        text.push_str(&format!("    maxconn {most}\n"));
    }
    if let Some(most) = wish.body_limit {
        text.push_str(&format!(
            "    http-request deny deny_status 413 if {{ req.body_size gt {most} }}\n"
        ));
    }
    text.push_str("\nbackend app\n");
    if let Some(cookie) = &wish.cookie {
        text.push_str(&format!("    cookie {cookie} insert indirect nocache\n"));
    }
    if let Some(path) = wish.check.as_ref().and_then(|check| check.path.as_ref()) {
        text.push_str(&format!("    option httpchk GET {path}\n"));
    }
    for (index, server) in wish.servers.iter().enumerate() {
        text.push_str(&line(wish, index + 1, server));
    }
    text
}

fn resolvers(wish: &Wish) -> String {
    let Some(resolver) = &wish.resolver else {
        return String::new();
    };
    let mut text = String::from("\nresolvers lab\n");
    for (index, server) in resolver.servers.iter().enumerate() {
        text.push_str(&format!("    nameserver ns{index} {server}\n"));
    }
    let time = ms(resolver.timeout);
    text.push_str(&format!(
        "    resolve_retries 1\n    timeout resolve {time}ms\n    timeout retry {time}ms\n    \
         hold valid 1s\n    hold nx 0\n    hold other 0\n    hold timeout 0\n    hold refused 0\n    \
         hold obsolete 0\n"
    ));
    text
}

fn line(wish: &Wish, number: usize, server: &str) -> String {
    let mut text = format!(
        "    server s{number} {}",
        server.trim_start_matches("unix:")
    );
    if let Some(most) = wish.maxconn {
        text.push_str(&format!(" maxconn {most}"));
    }
    if let Some(most) = wish.queue_size {
        text.push_str(&format!(" maxqueue {most}"));
    }
    if let Some(check) = &wish.check {
        text.push_str(&checked(check));
    }
    if let Some(tls) = &wish.tls {
        text.push_str(&secured(tls));
    }
    if wish.is_h2 {
        text.push_str(if wish.tls.is_some() {
            " alpn h2"
        } else {
            " proto h2"
        });
    }
    match wish.send_proxy {
        Some(2) => text.push_str(" send-proxy-v2"),
        Some(_) => text.push_str(" send-proxy"),
        None => {}
    }
    if wish.cookie.is_some() {
        text.push_str(&format!(" cookie s{number}"));
    }
    if let Some((faults, _)) = wish.ejection {
        text.push_str(&format!(
            " check observe layer7 error-limit {faults} on-error mark-down"
        ));
    }
    if wish.has_names() {
        text.push_str(" resolvers lab init-addr none");
    }
    text.push('\n');
    text
}

fn checked(check: &Check) -> String {
    let mut text = format!(
        " check inter {}ms fall {} rise {}",
        ms(check.interval),
        check.fall,
        check.rise
    );
    if let Some(port) = check.port {
        text.push_str(&format!(" port {port}"));
    }
    match check.tls {
        Some(true) => text.push_str(" check-ssl"),
        Some(false) => text.push_str(" no-check-ssl"),
        None => {}
    }
    text
}

fn secured(tls: &Tls) -> String {
    let mut text = String::from(" ssl");
    match &tls.ca {
        Some(ca) => text.push_str(&format!(" verify required ca-file {ca}")),
        None => text.push_str(" verify none"),
    }
    if let Some(name) = &tls.name {
        text.push_str(&format!(" sni str({name}) verifyhost {name}"));
    }
    if let Some(certificate) = &tls.certificate {
        text.push_str(&format!(" crt {certificate}"));
    }
    if tls.is_modern {
        text.push_str(" ssl-min-ver TLSv1.3");
    }
    text
}
