//! NGINX: its configuration from a wish, and how it is started.

use super::wish::{Tls, Wish, ms};

/// What every configuration begins with: where things are, and what is logged. `$DIR` is the peer's
/// folder.
pub(super) const MAIN: &str = "user root;\nworker_processes 1;\ndaemon off;\n\
    pid $PEER/nginx.pid;\nerror_log $PEER/error.log info;\n";

/// The same inside `http`.
pub(super) const HTTP: &str = "log_format main '$remote_addr - $remote_user [$time_local] \
    \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" \
    rt=$request_time ua=\"$upstream_addr\" us=\"$upstream_status\" \
    uct=\"$upstream_connect_time\" uht=\"$upstream_header_time\" \
    urt=\"$upstream_response_time\" ubr=\"$upstream_bytes_received\"';\n\
    access_log $PEER/access.log main;\nclient_body_temp_path $PEER/body;\n\
    proxy_temp_path $PEER/proxy;\nfastcgi_temp_path $PEER/fastcgi;\n\
    uwsgi_temp_path $PEER/uwsgi;\nscgi_temp_path $PEER/scgi;\n";

/// The file for a wish.
pub(super) fn config(wish: &Wish) -> String {
    let mut http = String::from("$HTTP");
    let mut location = String::new();
    let scheme = match (wish.is_h2, &wish.tls) {
        (true, None) => "grpc",
        (true, Some(_)) => "grpcs",
        (false, None) => "http",
        (false, Some(_)) => "https",
    };
    let module = if wish.is_h2 { "grpc" } else { "proxy" };
    if let (true, Some(server)) = (wish.has_names(), wish.servers.first()) {
        // Only a name in a variable is looked up while it runs.
        location.push_str(&format!(
            "set $app {server};\n{module}_pass {scheme}://$app;\n"
        ));
    } else {
        http.push_str(&upstream(wish));
        location.push_str(&format!("{module}_pass {scheme}://app;\n"));
    }
    if wish.upgrades {
        http.push_str("map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n");
    }
    location.push_str(&timeouts(wish, module));
    location.push_str(&passing(wish, module));
    if let Some(tls) = &wish.tls {
        location.push_str(&secured(tls, module));
    }
    let mut server = format!("listen {};\n", wish.bind);
    if let Some(resolver) = &wish.resolver {
        server.push_str(&format!(
            "resolver {} valid=1s ipv6=off;\nresolver_timeout {}ms;\n",
            resolver.servers.join(" "),
            ms(resolver.timeout)
        ));
    }
    server.push_str(&client_side(wish));
    format!(
        "$MAIN\nevents {{\nworker_connections 512;\n}}\nhttp {{\n{http}\nserver {{\n{server}\n\
         location / {{\n{location}}}\n}}\n}}\n"
    )
}

fn upstream(wish: &Wish) -> String {
    let mut text = String::from("upstream app {\n");
    for server in &wish.servers {
        text.push_str(&format!("server {server}"));
        if let Some((faults, time)) = wish.ejection {
            text.push_str(&format!(
                " max_fails={faults} fail_timeout={}s",
                time.as_secs()
            ));
        }
        if let Some(most) = wish.maxconn {
            text.push_str(&format!(" max_conns={most}"));
        }
        text.push_str(";\n");
    }
    if wish.servers.is_empty() {
        // An empty group is refused; templates put this there.
        text.push_str("server 127.0.0.1:65535 down;\n");
    }
    if wish.keeps {
        text.push_str("keepalive 16;\n");
    }
    text.push_str("}\n");
    text
}

fn timeouts(wish: &Wish, module: &str) -> String {
    let mut text = String::new();
    // Reading a head, a body and a tunnel are one limit here.
    let read = wish.tunnel.or(wish.response).or(wish.server_idle);
    let limits = [
        ("connect", wish.connect),
        ("read", read),
        ("send", wish.server_write.or(wish.response)),
    ];
    for (name, time) in limits {
        if let Some(time) = time {
            text.push_str(&format!("{module}_{name}_timeout {}ms;\n", ms(time)));
        }
    }
    if wish.retries == Some(0) {
        text.push_str(&format!("{module}_next_upstream off;\n"));
    }
    text
}

fn passing(wish: &Wish, module: &str) -> String {
    let mut text = format!("{module}_set_header Host $host;\n");
    if module == "grpc" {
        return text;
    }
    text.push_str(
        "proxy_http_version 1.1;\nproxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n",
    );
    if wish.upgrades {
        text.push_str("proxy_set_header Upgrade $http_upgrade;\n");
        text.push_str("proxy_set_header Connection $connection_upgrade;\n");
    } else if wish.keeps {
        text.push_str("proxy_set_header Connection \"\";\n");
    }
    text
}

fn secured(tls: &Tls, module: &str) -> String {
    let mut text = String::new();
    let mut set = |name: &str, value: &str| {
        text.push_str(&format!("{module}_ssl_{name} {value};\n"));
    };
    if let Some(ca) = &tls.ca {
        set("verify", "on");
        set("verify_depth", "3");
        set("trusted_certificate", ca);
    }
    if let Some(name) = &tls.name {
        set("name", name);
        set("server_name", "on");
    }
    if let Some(certificate) = &tls.certificate {
        set("certificate", certificate);
        set("certificate_key", certificate);
    }
    if tls.is_modern {
        set("protocols", "TLSv1.3");
    }
    text
}

fn client_side(wish: &Wish) -> String {
    let mut text = String::new();
    let limits = [
        ("client_header_timeout", wish.request_head),
        ("client_body_timeout", wish.request_body),
        ("send_timeout", wish.client_write),
    ];
    for (name, time) in limits {
        if let Some(time) = time {
            text.push_str(&format!("{name} {}ms;\n", ms(time)));
        }
    }
    if let Some(most) = wish.body_limit {
        text.push_str(&format!("client_max_body_size {most};\n"));
    } else {
        text.push_str("client_max_body_size 100m;\n");
    }
    text
}
