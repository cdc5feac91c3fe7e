//! Configurations of the proxies that ask the same of each, and of the server behind them.

use std::path::Path;

use super::guard::Folder;
use super::host;
use super::peer::{Peer, Programs, Shape, Start};
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

/// Of Clearway.
///
/// # Errors
/// When there is no free port for its admin API.
pub(crate) fn clearway(start: &Start<'_>, port: u16) -> Result<String, String> {
    let shape = start.shape;
    let admin = host::free_port()?;
    let mode = if shape.tcp { "tcp" } else { "http" };
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
        if !shape.tcp {
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
    let mode = if shape.tcp { "tcp" } else { "http" };
    let mut text = format!(
        "global\n  nbthread {}\n  maxconn {}\n{HAPROXY_POOL}{}\ndefaults\n  mode {mode}\n  \
         timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n",
        shape.workers,
        shape.connections,
        shape
            .log_port
            .map(|port| format!("  log 127.0.0.1:{port} local0\n"))
            .unwrap_or_default(),
    );
    if !shape.tcp {
        text.push_str("  http-reuse always\n  option http-keep-alive\n  option forwardfor\n");
    }
    if shape.log_port.is_some() {
        text.push_str("  log global\n  option httplog\n");
    }
    if start.peer == Peer::HaproxySplice {
        text.push_str("  option splice-auto\n  option splice-response\n");
    }
    text.push_str(&format!(
        "\nfrontend web\n  bind 127.0.0.1:{port} backlog 4096\n  default_backend app0\n"
    ));
    for backend in 0..shape.backends {
        text.push_str(&format!("\nbackend app{backend}\n"));
        for (index, address) in servers(start, backend).into_iter().enumerate() {
            text.push_str(&format!("  server s{index} {address}\n"));
        }
    }
    text
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
    if shape.tcp {
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
    text.push_str(&format!(
        "  server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n      \
         proxy_pass http://app0;\n      proxy_http_version 1.1;\n      \
         proxy_set_header Connection \"\";\n      proxy_set_header Host $http_host;\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n"
    ));
    Ok(text)
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
    use super::*;

    #[test]
    fn configurations_hold_what_was_asked() {
        let shape = Shape {
            backends: 3,
            log_port: Some(514),
            ..Shape::http()
        };
        let start = |peer| Start {
            peer,
            shape: &shape,
            origin: 8001,
            cores: "0",
        };
        let text = clearway(&start(Peer::Clearway), 8000).unwrap();
        assert_eq!(text.matches("[backend.app").count(), 3);
        let answering = |host| format!("address = \"127.0.0.{host}:8001\"");
        assert!((1..=10).all(|host| text.matches(&answering(host)).count() == 1));
        assert_eq!(text.matches("address = \"127.1.").count(), 20);
        let text = haproxy(&start(Peer::Haproxy), 8000);
        assert!(text.contains("httplog") && !text.contains("splice"));
        assert!(haproxy(&start(Peer::HaproxySplice), 8000).contains("splice-auto"));
    }
}
