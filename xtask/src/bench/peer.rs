//! The proxies that are compared, as programs, and the server behind them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::configuration::{self, nginx_args, nginx_head};
use super::guard::{Folder, Process, Spawn};
use super::{host, tls};
use crate::nginx::{self, Stream};
use crate::shell;

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Clearway,
    /// Clearway, run from the configuration that HAProxy has here.
    ClearwayHaproxy,
    /// Clearway, run from the configuration that NGINX has here.
    ClearwayNginx,
    Haproxy,
    /// HAProxy with splicing, off by default: `splice-auto` and, as that decides against it at this size,
    /// `splice-response`.
    HaproxySplice,
    Nginx,
    /// Where there is one, and in the case of gRPC only.
    Envoy,
}

impl Peer {
    /// Name in tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Clearway => "clearway",
            Self::ClearwayHaproxy => "clearway-haproxy",
            Self::ClearwayNginx => "clearway-nginx",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// How the name of its configuration ends: Envoy goes by that.
    fn ending(self) -> &'static str {
        match self {
            Self::Envoy => "json",
            Self::Clearway
            | Self::ClearwayHaproxy
            | Self::ClearwayNginx
            | Self::Haproxy
            | Self::HaproxySplice
            | Self::Nginx => "conf",
        }
    }

    /// Whether this is Clearway, in whatever language it is configured.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Clearway | Self::ClearwayHaproxy | Self::ClearwayNginx
        )
    }
}

/// Where the programs are.
pub(crate) struct Programs {
    pub(crate) clearway: Option<PathBuf>,
    pub(crate) haproxy: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) envoy: Option<PathBuf>,
    /// What `nginx -V` says.
    pub(crate) nginx_build: String,
}

impl Programs {
    fn of(&self, peer: Peer) -> Result<&Path, String> {
        match peer {
            Peer::Clearway | Peer::ClearwayHaproxy | Peer::ClearwayNginx => {
                self.clearway.as_deref().ok_or("no clearway binary")
            }
            Peer::Envoy => self.envoy.as_deref().ok_or("no envoy binary"),
            Peer::Haproxy | Peer::HaproxySplice => Ok(self.haproxy.as_path()),
            Peer::Nginx => Ok(self.nginx.as_path()),
        }
        .map_err(str::to_owned)
    }

    /// The line of nginx.conf that loads the stream module: empty when it is built in.
    ///
    /// # Errors
    /// When this nginx has none.
    pub(crate) fn stream_module(&self) -> Result<String, String> {
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
            let text = shell::output(Command::new(program).arg(flag)).ok();
            text.and_then(|text| Some(text.lines().find(|line| !line.is_empty())?.to_owned()))
                .unwrap_or_else(|| format!("{}: unknown version", program.display()))
        };
        let mut lines = vec![ask(&self.haproxy, "-v"), ask(&self.nginx, "-v")];
        if let Some(clearway) = &self.clearway {
            lines.insert(0, ask(clearway, "--version"));
        }
        if let Some(envoy) = &self.envoy {
            lines.push(ask(envoy, "--version"));
        }
        lines.push(ask(Path::new("openssl"), "version"));
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

/// What is spoken with a proxy, and with the server where that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// HTTP/1.1 in the clear.
    Http,
    /// Bytes pass unread.
    Tcp,
    /// HTTP/1.1 over TLS. Without `resumption` no proxy gives out tickets.
    Tls { resumption: bool },
    /// HTTP/2 over TLS, HTTP/1.1 to the server.
    H2,
    /// HTTP/2 over TLS, HTTP/2 in the clear to the server.
    Grpc,
}

impl Front {
    /// Whether clients use TLS.
    pub(crate) fn is_tls(self) -> bool {
        !matches!(self, Self::Http | Self::Tcp)
    }

    /// Whether clients speak HTTP/2.
    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2 | Self::Grpc)
    }

    /// Whether sessions may be resumed.
    pub(crate) fn resumes(self) -> bool {
        self == Self::Tls { resumption: true }
    }

    /// The application protocols that a listener agrees on, the best first.
    pub(crate) fn alpn(self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Tcp => &[],
            Self::Tls { .. } => &["http/1.1"],
            Self::H2 | Self::Grpc => &["h2", "http/1.1"],
        }
    }
}

/// What a proxy shall do.
#[derive(Clone)]
pub(crate) struct Shape {
    /// What it speaks.
    pub(crate) front: Front,
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
            front: Front::Http,
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

/// The path of a call: its ending is what makes the server say `application/grpc`.
pub(crate) const GRPC_PATH: &str = "/shop.Catalogue/find.grpc";

impl Origin {
    /// Starts what the front needs.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn behind(
        front: Front,
        programs: &Programs,
        cores: &str,
        folder: &Folder,
    ) -> Result<Self, String> {
        match front {
            Front::Grpc => Self::grpc(cores, folder),
            Front::Http | Front::Tcp | Front::Tls { .. } | Front::H2 => {
                Self::start(programs, cores, folder)
            }
        }
    }

    /// Starts nghttpd(1) with one worker: HTTP/2 in the clear, the same answer of 128 bytes and trailers
    /// to every call.
    fn grpc(cores: &str, folder: &Folder) -> Result<Self, String> {
        let port = host::free_port()?;
        let root = folder.path().join("grpc");
        let file = root.join(GRPC_PATH.trim_start_matches('/'));
        let told = |error: std::io::Error| format!("{}: {error}", file.display());
        std::fs::create_dir_all(file.parent().unwrap_or(&root)).map_err(told)?;
        // No compression, and the length of the rest.
        let message = [&[0, 0, 0, 0, 123][..], &[b'x'; 123]].concat();
        std::fs::write(&file, message).map_err(told)?;
        let types = folder.write("grpc.types", "application/grpc grpc\n")?;
        let program = shell::find("nghttpd").ok_or("nghttpd is missing")?;
        let args = [
            "--no-tls",
            "--workers=1",
            "--address=127.0.0.1",
            "--no-content-length",
            "--trailer=grpc-status: 0",
            "--max-concurrent-streams=1000",
            &format!("--mime-types-file={}", types.display()),
            &format!("--htdocs={}", root.display()),
            &port.to_string(),
        ];
        let spawn = Spawn {
            name: "origin",
            cores,
            program: &program,
            args: args.map(str::to_owned).to_vec(),
            openssl: None,
        };
        let mut process = Process::start(&spawn, folder)?;
        process.wait_for_port(port)?;
        Ok(Self {
            port,
            _process: process,
        })
    }

    /// Starts NGINX with one worker: 128 bytes at `/`, files at `/16k` and `/1m`.
    ///
    /// # Errors
    /// When it does not start.
    fn start(programs: &Programs, cores: &str, folder: &Folder) -> Result<Self, String> {
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
            openssl: None,
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
    pub(crate) tls: &'a tls::Files,
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
        Self::spawn_with(programs, start, folder, |port| {
            Self::configuration(programs, start, folder, port)
        })
    }

    /// What the proxy is told of its shape.
    fn configuration(
        programs: &Programs,
        start: &Start<'_>,
        folder: &Folder,
        port: u16,
    ) -> Result<String, String> {
        Ok(match start.peer {
            Peer::Clearway => configuration::clearway(start, port)?,
            Peer::Haproxy | Peer::HaproxySplice | Peer::ClearwayHaproxy => {
                configuration::haproxy(start, port)
            }
            Peer::Nginx | Peer::ClearwayNginx => {
                configuration::nginx(start, port, programs, folder)?
            }
            Peer::Envoy => configuration::envoy(start, port)?,
        })
    }

    /// [`Proxy::spawn`] with a configuration of one's own, made for the port it shall listen on.
    ///
    /// # Errors
    /// When the configuration cannot be made or the program cannot be started.
    pub(crate) fn spawn_with(
        programs: &Programs,
        start: &Start<'_>,
        folder: &Folder,
        make: impl FnOnce(u16) -> Result<String, String>,
    ) -> Result<Self, String> {
        let port = host::free_port()?;
        let name = start.peer.name();
        let text = make(port)?;
        let file = folder.write(&format!("{name}.{}", start.peer.ending()), text)?;
        let path = file.display().to_string();
        let args = match start.peer {
            Peer::Clearway => vec!["run".to_owned(), "-c".to_owned(), path],
            Peer::ClearwayHaproxy => vec!["run".to_owned(), "--haproxy".to_owned(), path],
            Peer::ClearwayNginx => vec!["run".to_owned(), "--nginx".to_owned(), path],
            Peer::Haproxy | Peer::HaproxySplice => vec!["-f".to_owned(), path],
            Peer::Nginx => nginx_args(&file, folder),
            Peer::Envoy => configuration::envoy_args(&path, start.shape),
        };
        let has_tickets = start.shape.front.resumes() || start.peer != Peer::Haproxy;
        let spawn = Spawn {
            name,
            cores: start.cores,
            program: programs.of(start.peer)?,
            args,
            openssl: (!has_tickets).then_some(start.tls.no_tickets.as_path()),
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
