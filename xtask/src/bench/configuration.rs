//! Configurations of the proxies that ask the same of each, and of the server behind them.

use std::path::Path;

use serde_json::json;

use super::guard::Folder;
use super::host;
use super::peer::{Front, Peer, Programs, Shape, Start};
use crate::shell;

/// Addresses of a backend's servers: the origin alone, or in the start-up case ten that all differ,
/// of which only those of the first backend are ever used.
fn servers(start: &Start<'_>, backend: u32) -> Vec<String> {
    // The first server answers; no two of a backend are the same.
    if start.shape.backends == 1 || backend == 0 {
        let count = if start.shape.backends == 1 { 1 } else { 10 };
        return (1..=count)
            .map(|host| format!("127.0.0.{host}:{}", start.origin))
            .collect();
    }
    (0..10)
        .map(|server| {
            format!(
                "127.{}.{}.{}:8080",
                1 + backend / 250,
                backend % 250,
                server + 1
            )
        })
        .collect()
}

/// What makes Clearway speak HTTP/2 to the servers of a backend.
const CLEARWAY_H2: &str = "protocol = \"h2\"\n";

/// Of Clearway.
///
/// # Errors
/// When there is no free port for its admin API.
pub(crate) fn clearway(start: &Start<'_>, port: u16) -> Result<String, String> {
    let shape = start.shape;
    let admin = host::free_port()?;
    let mode = if shape.front == Front::Tcp {
        "tcp"
    } else {
        "http"
    };
    let access = if shape.log_port.is_some() {
        "./access.json"
    } else {
        "off"
    };
    let mut text = format!(
        "[process]\nworkers = {}\n\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [log]\naccess = \"{access}\"\nformat = \"json\"\n\n\
         [listener.web]\nbind = \"127.0.0.1:{port}\"\nmode = \"{mode}\"\nbackend = \"app0\"\n",
        shape.workers
    );
    if shape.front.is_tls() {
        text.push_str(&format!(
            "tls = {{ certificates = [{:?}], alpn = {:?}, resumption = {} }}\n",
            start.tls.certificate,
            shape.front.alpn(),
            shape.front.resumes()
        ));
    }
    for backend in 0..shape.backends {
        let servers: Vec<String> = servers(start, backend)
            .into_iter()
            .enumerate()
            .map(|(index, address)| format!("{{ name = \"s{index}\", address = \"{address}\" }}"))
            .collect();
        text.push_str(&format!(
            "\n[backend.app{backend}]\nservers = [{}]\n",
            servers.join(", ")
        ));
        if shape.front == Front::Grpc {
            text.push_str(CLEARWAY_H2);
        }
        if shape.front != Front::Tcp {
            text.push_str(&format!(
                "keepalive = {{ max_idle = {} }}\n",
                shape.keepalive
            ));
        }
    }
    Ok(text)
}

/// By default HAProxy closes kept server connections once a quarter of its files is in use, which would
/// compare limits instead of proxies in the case with 1,000 connections.
const HAPROXY_POOL: &str = "  tune.pool-high-fd-ratio 90\n  tune.pool-low-fd-ratio 80\n";

/// Of HAProxy.
pub(crate) fn haproxy(start: &Start<'_>, port: u16) -> String {
    let shape = start.shape;
    let mode = if shape.front == Front::Tcp {
        "tcp"
    } else {
        "http"
    };
    let mut text = format!(
        "global\n  nbthread {}\n  maxconn {}\n{HAPROXY_POOL}{}{}\ndefaults\n  mode {mode}\n  \
         timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n",
        shape.workers,
        shape.connections,
        shape
            .log_port
            .map(|port| format!("  log 127.0.0.1:{port} local0\n"))
            .unwrap_or_default(),
        if shape.front.is_tls() && !shape.front.resumes() {
            "  tune.ssl.cachesize 0\n"
        } else {
            ""
        },
    );
    if shape.front != Front::Tcp {
        text.push_str("  http-reuse always\n  option http-keep-alive\n  option forwardfor\n");
    }
    if shape.log_port.is_some() {
        text.push_str("  log global\n  option httplog\n");
    }
    if start.peer == Peer::HaproxySplice {
        text.push_str("  option splice-auto\n  option splice-response\n");
    }
    text.push_str(&format!(
        "\nfrontend web\n  bind 127.0.0.1:{port} backlog 4096{}\n  default_backend app0\n",
        haproxy_tls(start)
    ));
    for backend in 0..shape.backends {
        text.push_str(&format!("\nbackend app{backend}\n"));
        for (index, address) in servers(start, backend).into_iter().enumerate() {
            let proto = if shape.front == Front::Grpc {
                " proto h2"
            } else {
                ""
            };
            text.push_str(&format!("  server s{index} {address}{proto}\n"));
        }
    }
    text
}

/// What follows `bind`.
fn haproxy_tls(start: &Start<'_>) -> String {
    let front = start.shape.front;
    if !front.is_tls() {
        return String::new();
    }
    format!(
        " ssl crt {} alpn {}{}",
        start.tls.certificate.display(),
        front.alpn().join(","),
        if front.resumes() {
            ""
        } else {
            " no-tls-tickets"
        }
    )
}

/// Of NGINX.
///
/// # Errors
/// When it lacks the layer 4 part and that is asked for.
pub(crate) fn nginx(
    start: &Start<'_>,
    port: u16,
    programs: &Programs,
    folder: &Folder,
) -> Result<String, String> {
    let shape = start.shape;
    if shape.front == Front::Tcp {
        let mut text = programs.stream_module()?;
        text.push_str(&nginx_main(shape.workers, nginx_table(shape), folder));
        text.push_str(&format!(
            "stream {{\n  upstream app0 {{ server 127.0.0.1:{}; }}\n  server {{\n    \
             listen 127.0.0.1:{port} backlog=4096;\n    proxy_pass app0;\n  }}\n}}\n",
            start.origin
        ));
        return Ok(text);
    }
    let mut text = nginx_head(shape.workers, nginx_table(shape), programs, folder);
    let log = if shape.log_port.is_some() {
        "access.log"
    } else {
        "off"
    };
    text.push_str(&format!(
        "  access_log {log};\n  keepalive_requests 1000000000;\n"
    ));
    for backend in 0..shape.backends {
        text.push_str(&format!("  upstream app{backend} {{\n"));
        for address in servers(start, backend) {
            text.push_str(&format!("    server {address};\n"));
        }
        text.push_str(&format!(
            "    keepalive {};\n    keepalive_requests 1000000000;\n  }}\n",
            shape.keepalive
        ));
    }
    let (options, tls) = nginx_tls(start);
    let pass = if shape.front == Front::Grpc {
        "grpc_pass grpc://app0;\n      grpc_set_header Host $http_host;\n      \
         grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    } else {
        "proxy_pass http://app0;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    };
    text.push_str(&format!(
        "  server {{\n    listen 127.0.0.1:{port} backlog=4096{options};\n{tls}    \
         location / {{\n      {pass}\n    }}\n  }}\n}}\n"
    ));
    Ok(text)
}

/// What follows `listen`, and further lines.
fn nginx_tls(start: &Start<'_>) -> (&'static str, String) {
    let front = start.shape.front;
    if !front.is_tls() {
        return ("", String::new());
    }
    let options = if front.is_h2() { " ssl http2" } else { " ssl" };
    let file = start.tls.certificate.display();
    let tickets = if front.resumes() {
        ""
    } else {
        // The second line, as OpenSSL gives out numbers of sessions when it may not give out tickets.
        "    ssl_session_tickets off;\n    ssl_conf_command NumTickets 0;\n"
    };
    // TLS 1.3 is off by default in this version.
    let lines = format!(
        "    ssl_certificate {file};\n    ssl_certificate_key {file};\n    \
         ssl_protocols TLSv1.2 TLSv1.3;\n{tickets}"
    );
    (options, lines)
}

/// Of Envoy: gRPC alone.
///
/// # Errors
/// When something else is asked of it.
pub(crate) fn envoy(start: &Start<'_>, port: u16) -> Result<String, String> {
    if start.shape.front != Front::Grpc {
        return Err("Envoy takes part in the case of gRPC only".to_owned());
    }
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.{name}");
    let file = json!({"filename": start.tls.certificate});
    let tls = json!({
        "@type": kind("transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {
            "alpn_protocols": start.shape.front.alpn(),
            "tls_certificates": [{"certificate_chain": file, "private_key": file}],
        },
        "disable_stateless_session_resumption": true,
        "disable_stateful_session_resumption": true,
    });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": kind("filters.http.router.v3.Router")},
    });
    let manager = json!({
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "web",
        "use_remote_address": true,
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app0"}}],
        }]},
    });
    let protocol = json!({
        "@type": kind("upstreams.http.v3.HttpProtocolOptions"),
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    let all = json!({"static_resources": {
        "listeners": [{
            "name": "web",
            "address": address(port),
            "filter_chains": [{
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }],
            }],
        }],
        "clusters": [{
            "name": "app0",
            "type": "STATIC",
            "connect_timeout": "5s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol,
            },
            "load_assignment": {"cluster_name": "app0", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(start.origin)}},
            ]}]},
        }],
    }});
    Ok(format!("{all:#}\n"))
}

/// Envoy's command line.
pub(crate) fn envoy_args(file: &str, shape: &Shape) -> Vec<String> {
    let workers = shape.workers.to_string();
    [
        "-c",
        file,
        "--concurrency",
        &workers,
        "--disable-hot-restart",
        "-l",
        "error",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// NGINX's command line.
pub(crate) fn nginx_args(file: &Path, folder: &Folder) -> Vec<String> {
    let folder = format!("{}/", folder.path().display());
    let error = format!("{folder}nginx-error.log");
    let file = file.display().to_string();
    ["-p", &folder, "-e", &error, "-c", &file]
        .map(str::to_owned)
        .to_vec()
}

/// Entries of NGINX's table of connections, which it fills when it starts: clients, what few
/// connections it needs besides, and the sixteenth below which it begins to close idle ones.
fn nginx_table(shape: &Shape) -> u64 {
    (shape.connections + 200) * 16 / 15 + 1
}

fn nginx_main(workers: u8, connections: u64, folder: &Folder) -> String {
    // Each nginx names its own pid file: the origin and the proxy run side by side.
    let pid = format!("nginx-{}.pid", clearway_base::clock::wall());
    let user = if shell::is_root() { "user root;\n" } else { "" };
    format!(
        "daemon off;\n{user}worker_processes {workers};\npid {};\n\
         error_log {} warn;\nevents {{ worker_connections {connections}; }}\n",
        folder.path().join(pid).display(),
        folder.path().join("nginx-error.log").display(),
    )
}

/// Everything up to and into the `http` block.
pub(crate) fn nginx_head(
    workers: u8,
    connections: u64,
    programs: &Programs,
    folder: &Folder,
) -> String {
    let mut text = nginx_main(workers, connections, folder);
    text.push_str("http {\n");
    for (module, directive) in [
        ("", "client_body_temp_path"),
        ("--without-http_proxy_module", "proxy_temp_path"),
        ("--without-http_fastcgi_module", "fastcgi_temp_path"),
        ("--without-http_uwsgi_module", "uwsgi_temp_path"),
        ("--without-http_scgi_module", "scgi_temp_path"),
    ] {
        if module.is_empty() || !programs.nginx_build.contains(module) {
            text.push_str(&format!("  {directive} temp-{directive};\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tls;
    use super::*;

    /// All three, Clearway's first.
    fn texts(shape: &Shape) -> [String; 3] {
        let folder = Folder::create().unwrap();
        let files = tls::Files::create(&folder).unwrap();
        let start = |peer| Start {
            peer,
            shape,
            origin: 8001,
            cores: "0",
            tls: &files,
        };
        let programs = Programs {
            clearway: None,
            haproxy: "haproxy".into(),
            nginx: "nginx".into(),
            envoy: None,
            nginx_build: "--with-stream".to_owned(),
        };
        [
            clearway(&start(Peer::Clearway), 8000).unwrap(),
            haproxy(&start(Peer::Haproxy), 8000) + &haproxy(&start(Peer::HaproxySplice), 8000),
            nginx(&start(Peer::Nginx), 8000, &programs, &folder).unwrap(),
        ]
    }

    #[test]
    fn configurations_hold_what_was_asked() {
        let [clearway, haproxy, nginx] = texts(&Shape {
            backends: 3,
            log_port: Some(514),
            ..Shape::http()
        });
        assert_eq!(clearway.matches("[backend.app").count(), 3);
        let answering = |host| format!("address = \"127.0.0.{host}:8001\"");
        assert!((1..=10).all(|host| clearway.matches(&answering(host)).count() == 1));
        assert_eq!(clearway.matches("address = \"127.1.").count(), 20);
        assert!(haproxy.contains("httplog"));
        assert_eq!(haproxy.matches("splice-auto").count(), 1);
        for text in [clearway, haproxy, nginx] {
            assert!(!text.contains("tls") && !text.contains("ssl"), "{text}");
        }
    }

    #[test]
    fn sessions_are_resumed_everywhere_or_nowhere() {
        let shape = |resumption| Shape {
            front: Front::Tls { resumption },
            ..Shape::http()
        };
        let words = [
            "resumption = false",
            "no-tls-tickets",
            "ssl_session_tickets off",
        ];
        let without = texts(&shape(false));
        let with = texts(&shape(true));
        for (word, (without, with)) in words.iter().zip(without.iter().zip(&with)) {
            assert!(without.contains(word), "{without}");
            assert!(!with.contains(word), "{with}");
        }
    }

    #[test]
    fn grpc_is_http2_on_both_sides() {
        let [clearway, haproxy, nginx] = texts(&Shape {
            front: Front::Grpc,
            ..Shape::http()
        });
        assert!(clearway.contains("alpn = [\"h2\"") && clearway.contains(CLEARWAY_H2));
        assert!(haproxy.contains("alpn h2,") && haproxy.contains(":8001 proto h2\n"));
        assert!(nginx.contains("ssl http2;") && nginx.contains("grpc_pass"));
    }
}
