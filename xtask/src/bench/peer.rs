//! The proxies that are compared, with equivalent configurations, and the server behind them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guard::{Folder, Process, Spawn};
use super::host;
use crate::nginx::{self, Stream};
use crate::shell;

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Clearway,
    Haproxy,
    /// HAProxy with splicing, off by default: `splice-auto` and, as that decides against it at this size,
    /// `splice-response`.
    HaproxySplice,
    Nginx,
}

impl Peer {
    /// Name in tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clearway => "clearway",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
        }
    }
}

/// Where the programs are.
pub(crate) struct Programs {
    pub(crate) clearway: Option<PathBuf>,
    pub(crate) haproxy: PathBuf,
    pub(crate) nginx: PathBuf,
    /// What `nginx -V` says.
    pub(crate) nginx_build: String,
}

impl Programs {
    fn of(&self, peer: Peer) -> Result<&Path, String> {
        match peer {
            Peer::Clearway => self
                .clearway
                .as_deref()
                .ok_or_else(|| "no clearway binary".to_owned()),
            Peer::Haproxy | Peer::HaproxySplice => Ok(&self.haproxy),
            Peer::Nginx => Ok(&self.nginx),
        }
    }

    /// The line of nginx.conf that loads the stream module: empty when it is built in.
    ///
    /// # Errors
    /// When this nginx has none.
    fn stream_module(&self) -> Result<String, String> {
        match nginx::stream(&self.nginx_build) {
            Stream::BuiltIn => Ok(String::new()),
            Stream::Module(file) if file.exists() => {
                Ok(format!("load_module {};\n", file.display()))
            }
            Stream::Module(_) => {
                Err("NGINX's stream module is missing (package libnginx-mod-stream)".to_owned())
            }
            Stream::None => Err("this NGINX was built without the stream module".to_owned()),
        }
    }

    /// One line each about the versions that are compared.
    pub(crate) fn versions(&self) -> Vec<String> {
        let ask = |program: &Path, flag: &str| {
            shell::output(Command::new(program).arg(flag))
                .ok()
                .and_then(|text| text.lines().next().map(str::to_owned))
                .unwrap_or_else(|| format!("{}: unknown version", program.display()))
        };
        let mut lines = vec![ask(&self.haproxy, "-v"), ask(&self.nginx, "-v")];
        if let Some(clearway) = &self.clearway {
            lines.insert(0, ask(clearway, "--version"));
        }
        // wrk prints its version and fails.
        let wrk = Command::new("wrk").arg("-v").output();
        let wrk = wrk.map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
        lines.extend(
            wrk.ok()
                .and_then(|text| text.lines().next().map(str::to_owned)),
        );
        lines.push(ask(Path::new("h2load"), "--version"));
        lines
    }
}

/// What a proxy shall do.
#[derive(Clone)]
pub(crate) struct Shape {
    /// Bytes pass unread.
    pub(crate) tcp: bool,
    /// Access log: to a file, HAProxy's to this port by UDP.
    pub(crate) log_port: Option<u16>,
    /// Worker threads or processes.
    pub(crate) workers: u8,
    /// Idle server connections kept, where there is a setting.
    pub(crate) keepalive: u32,
    /// How many backends with ten servers each; the first one is used.
    pub(crate) backends: u32,
    /// Client connections that HAProxy shall allow; it takes up to four files for each.
    pub(crate) connections: u64,
}

impl Shape {
    /// HTTP, no log, one worker, one backend.
    pub(crate) fn http() -> Self {
        Self {
            tcp: false,
            log_port: None,
            workers: 1,
            keepalive: 256,
            backends: 1,
            connections: (host::file_limit().1 / 5).min(4000),
        }
    }
}

/// The server behind the proxies.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) port: u16,
    _process: Process,
}

/// Paths of the origin and their body sizes.
const FILES: [(&str, usize); 2] = [("16k", 16 << 10), ("1m", 1 << 20)];

impl Origin {
    /// Starts NGINX with one worker: 128 bytes at `/`, files at `/16k` and `/1m`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(programs: &Programs, cores: &str, folder: &Folder) -> Result<Self, String> {
        let port = host::free_port()?;
        for (name, size) in FILES {
            folder.write(name, vec![b'x'; size])?;
        }
        let mut text = nginx_head(1, 20_000, programs, folder);
        let body = "x".repeat(128);
        let root = folder.path().display();
        // Ten addresses, as the servers of a backend must differ.
        let listens: String = (1..=10)
            .map(|host| format!("    listen 127.0.0.{host}:{port} backlog=4096;\n"))
            .collect();
        writeln!(
            text,
            "  access_log off;\n  keepalive_requests 1000000000;\n  sendfile on;\n  server {{\n\
             {listens}    location = / {{ return 200 \"{body}\"; }}\n    \
             location / {{ root {root}; }}\n  }}\n}}"
        )
        .map_err(|error| error.to_string())?;
        let file = folder.write("origin.conf", text)?;
        let spawn = Spawn {
            name: "origin",
            cores,
            program: &programs.nginx,
            args: nginx_args(&file, folder),
        };
        let mut process = Process::start(&spawn, folder)?;
        process.wait_for_port(port)?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    pub(crate) process: Process,
}

/// What a proxy is started with.
pub(crate) struct Start<'a> {
    pub(crate) peer: Peer,
    pub(crate) shape: &'a Shape,
    pub(crate) origin: u16,
    pub(crate) cores: &'a str,
}

impl Proxy {
    /// Writes the configuration and starts the proxy; it may not listen yet.
    ///
    /// # Errors
    /// When the program cannot be started or lacks what the shape asks for.
    pub(crate) fn spawn(
        programs: &Programs,
        start: &Start<'_>,
        folder: &Folder,
    ) -> Result<Self, String> {
        let port = host::free_port()?;
        let name = start.peer.name();
        let text = match start.peer {
            Peer::Clearway => clearway(start, port)?,
            Peer::Haproxy | Peer::HaproxySplice => haproxy(start, port),
            Peer::Nginx => nginx(start, port, programs, folder)?,
        };
        let file = folder.write(&format!("{name}.conf"), text)?;
        let path = file.display().to_string();
        let args = match start.peer {
            Peer::Clearway => vec!["run".to_owned(), "-c".to_owned(), path],
            Peer::Haproxy | Peer::HaproxySplice => vec!["-f".to_owned(), path],
            Peer::Nginx => nginx_args(&file, folder),
        };
        let spawn = Spawn {
            name,
            cores: start.cores,
            program: programs.of(start.peer)?,
            args,
        };
        let process = Process::start(&spawn, folder)?;
        Ok(Self { port, process })
    }

    /// [`Proxy::spawn`], then waits until it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(
        programs: &Programs,
        start: &Start<'_>,
        folder: &Folder,
    ) -> Result<Self, String> {
        let mut proxy = Self::spawn(programs, start, folder)?;
        proxy.process.wait_for_port(proxy.port)?;
        Ok(proxy)
    }
}

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

fn clearway(start: &Start<'_>, port: u16) -> Result<String, String> {
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

fn haproxy(start: &Start<'_>, port: u16) -> String {
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

fn nginx(
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

fn nginx_args(file: &Path, folder: &Folder) -> Vec<String> {
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
fn nginx_head(workers: u8, connections: u64, programs: &Programs, folder: &Folder) -> String {
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
