//! Real programs as peers: nginx, nghttpd, gunicorn, curl, wrk.

use std::process::Command;

use crate::process::{Process, Signal, output, program};
use crate::stream::Stream;
use crate::temp::TempDir;
use crate::wait::{LIMIT, until};

/// A running nginx with the folder it lives in.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: String,
    /// Where its files are; `html/` holds what the default configuration serves.
    pub folder: TempDir,
}

impl Nginx {
    /// Starts nginx with a `server { … }` body; the socket it listens on is added.
    ///
    /// # Panics
    /// When nginx is missing or does not start.
    #[must_use]
    pub fn start(server: &str) -> Self {
        Self::listening("", server)
    }

    /// As [`Nginx::start`], speaking HTTP/2 with prior knowledge and nothing else.
    ///
    /// # Panics
    /// When nginx is missing or does not start.
    #[must_use]
    pub fn start_http2(server: &str) -> Self {
        Self::listening("http2", server)
    }

    fn listening(protocol: &str, server: &str) -> Self {
        let folder = TempDir::new();
        let socket = folder.file("nginx.sock");
        std::fs::create_dir_all(folder.path().join("html")).expect("a folder");
        let root = folder.path().display();
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {root}/nginx.pid;\n\
             error_log stderr info;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n access_log off; client_body_temp_path {root}/body;\n \
             proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;\n \
             uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
             server {{ listen unix:{socket} {protocol}; root {root}/html;\n{server}\n}} }}\n"
        );
        let config = folder.write("nginx.conf", &text);
        let mut command = Command::new(program("nginx", "nginx-light"));
        command.args(["-p", &root.to_string(), "-c", &config, "-e", "stderr"]);
        let process = Process::start(command);
        let address = format!("unix:{socket}");
        wait_listening(&address, &process);
        Self {
            process,
            address,
            folder,
        }
    }

    /// `unix:/path`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a file below its root.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join("html").join(name);
        std::fs::write(path, bytes).expect("write a file");
    }

    /// What it said to its error log.
    #[must_use]
    pub fn errors(&self) -> String {
        self.process.stderr.text()
    }
}

/// A running nghttpd: HTTP/2 over TCP with prior knowledge.
#[derive(Debug)]
pub struct Nghttpd {
    address: String,
    process: Process,
    folder: TempDir,
}

impl Nghttpd {
    /// Starts nghttpd, which serves the files of a folder and gives back what is posted.
    ///
    /// # Panics
    /// When nghttpd is missing or does not start.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let folder = TempDir::new();
        let root = folder.path().display().to_string();
        let mut command = Command::new(program("nghttpd", "nghttp2-server"));
        command
            .args(["--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d", &root])
            .args(options)
            .arg("0");
        let process = Process::start(command);
        let port = until("nghttpd to listen", || listening_port(process.id()));
        Self {
            address: format!("127.0.0.1:{port}"),
            process,
            folder,
        }
    }

    /// `127.0.0.1:1234`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes of memory it holds now.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.process.memory()
    }

    /// Puts a file below its root; `index.html` answers `/`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).expect("write a file");
    }
}

/// The TCP port on which a process listens, for programs that choose one and do not say which.
fn listening_port(id: u32) -> Option<u16> {
    let sockets = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?;
    let names = files.flatten().filter_map(|f| f.path().read_link().ok());
    let mine: Vec<String> = names.map(|n| n.display().to_string()).collect();
    sockets.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let inode = format!("socket:[{}]", columns.get(9)?);
        // State 0A is LISTEN.
        let is_it = columns.get(3) == Some(&"0A") && mine.contains(&inode);
        let port = columns.get(1)?.rsplit(':').next()?;
        u16::from_str_radix(port, 16).ok().filter(|_| is_it)
    })
}

/// A running gunicorn.
#[derive(Debug)]
pub struct Gunicorn {
    process: Process,
    address: String,
    _folder: TempDir,
}

impl Gunicorn {
    /// Starts gunicorn with a module text that defines `app`.
    ///
    /// # Panics
    /// When gunicorn is missing or does not start.
    #[must_use]
    pub fn start(module: &str, options: &[&str]) -> Self {
        let folder = TempDir::new();
        folder.write("scripted_app.py", module);
        let socket = folder.file("gunicorn.sock");
        let mut command = Command::new(program("gunicorn", "gunicorn"));
        command
            .current_dir(folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["--bind", &format!("unix:{socket}"), "--workers", "1"])
            .args(["--worker-tmp-dir", &folder.path().display().to_string()])
            .args(options)
            .arg("scripted_app:app");
        let process = Process::start(command);
        let address = format!("unix:{socket}");
        wait_listening(&address, &process);
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    /// `unix:/path`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Gunicorn {
    fn drop(&mut self) {
        // The arbiter ends its workers only when it is asked to.
        if self.process.is_running() {
            self.process.signal(Signal::Int);
            crate::wait::within(LIMIT, || (!self.process.is_running()).then_some(()))
                .unwrap_or_default();
        }
    }
}

/// A running php-fpm: PHP over FastCGI.
#[derive(Debug)]
pub struct PhpFpm {
    process: Process,
    address: String,
    folder: TempDir,
}

impl PhpFpm {
    /// Starts php-fpm with scripts, each a name and its text.
    ///
    /// # Panics
    /// When php-fpm is missing or does not start.
    #[must_use]
    pub fn start(scripts: &[(&str, &str)]) -> Self {
        let folder = TempDir::new();
        for (name, text) in scripts {
            folder.write(name, text);
        }
        let socket = folder.file("php.sock");
        let log = folder.file("php.log");
        let config = folder.write(
            "fpm.conf",
            &format!(
                "[global]\nerror_log = {log}\ndaemonize = no\n[www]\nuser = root\nlisten = {socket}\n\
                 pm = static\npm.max_children = 1\n"
            ),
        );
        let mut command = Command::new(program("php-fpm8.2", "php-fpm"));
        // As root it wants to be told that this is meant.
        command.args(["-n", "-F", "-R", "-y", &config]);
        let process = Process::start(command);
        let address = format!("unix:{socket}");
        wait_listening(&address, &process);
        Self {
            process,
            address,
            folder,
        }
    }

    /// `unix:/path`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder with the scripts.
    #[must_use]
    pub fn root(&self) -> String {
        self.folder.path().display().to_string()
    }
}

impl Drop for PhpFpm {
    fn drop(&mut self) {
        // The master ends its children only when it is asked to.
        if self.process.is_running() {
            self.process.signal(Signal::Term);
            crate::wait::within(LIMIT, || (!self.process.is_running()).then_some(()))
                .unwrap_or_default();
        }
    }
}

/// A running uWSGI with an application of Python, over the protocol of the same name.
#[derive(Debug)]
pub struct Uwsgi {
    process: Process,
    address: String,
    _folder: TempDir,
}

impl Uwsgi {
    /// Starts uWSGI with a module text that defines `application`; `kind` is the option for its socket, such
    /// as `--uwsgi-socket` or `--scgi-socket`.
    ///
    /// # Panics
    /// When uWSGI is missing or does not start.
    #[must_use]
    pub fn start(module: &str, kind: &str) -> Self {
        let folder = TempDir::new();
        let file = folder.write("app.py", module);
        let socket = folder.file("app.sock");
        let mut command = Command::new(program("uwsgi", "uwsgi-core"));
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["--plugin", "python3", "--need-app", "--wsgi-file", &file])
            .args([kind, &socket]);
        let process = Process::start(command);
        let address = format!("unix:{socket}");
        wait_listening(&address, &process);
        Self {
            process,
            address,
            _folder: folder,
        }
    }

    /// `unix:/path`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Uwsgi {
    fn drop(&mut self) {
        if self.process.is_running() {
            self.process.signal(Signal::Int);
            crate::wait::within(LIMIT, || (!self.process.is_running()).then_some(()))
                .unwrap_or_default();
        }
    }
}

fn wait_listening(address: &str, process: &Process) {
    until(
        &format!("{address} to listen; stderr: {}", process.stderr.text()),
        || Stream::connect(address).ok(),
    );
}

/// Runs curl and gives its standard output; fails when curl does.
///
/// # Panics
/// When curl is missing or fails.
pub fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new(program("curl", "curl"));
    output(
        command
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--noproxy",
                "*",
            ])
            .args(arguments),
    )
}

/// What wrk measured.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Responses with a status of 400 or above.
    pub refused: u64,
    /// Connections that could not be opened, and broken or timed-out reads and writes.
    pub broken: u64,
    /// All that it printed.
    pub text: String,
}

/// A running wrk.
#[derive(Debug)]
pub struct Wrk(Process);

impl Wrk {
    /// Starts wrk against `http://address/`.
    ///
    /// # Panics
    /// When wrk is missing.
    #[must_use]
    pub fn start(address: &str, connections: u32, seconds: u32) -> Self {
        let mut command = Command::new(program("wrk", "wrk"));
        command
            .args(["-t", "1", "-c", &connections.to_string()])
            .args(["-d", &seconds.to_string(), "--timeout", "10s"])
            .arg(format!("http://{address}/"));
        Self(Process::start(command))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.0.is_running()
    }

    /// Ends it before its time, as Ctrl-C does, and reads its summary.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn stop(self) -> Load {
        self.0.signal(Signal::Int);
        self.finish()
    }

    /// Waits for its end and reads its summary.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn finish(mut self) -> Load {
        let status = self.0.wait(std::time::Duration::from_secs(120));
        let text = self.0.stdout.to_end().join("\n");
        assert!(status.success(), "wrk: {status}\n{text}");
        summary(text)
    }
}

fn summary(text: String) -> Load {
    let line = |mark: &str| text.lines().find(|l| l.contains(mark)).unwrap_or_default();
    let first_number = |line: &str| {
        line.split_whitespace()
            .find_map(|w| w.parse().ok())
            .unwrap_or(0)
    };
    let numbers = |line: &str| -> u64 {
        line.split([' ', ','])
            .filter_map(|w| w.parse::<u64>().ok())
            .sum()
    };
    Load {
        requests: first_number(line("requests in")),
        refused: numbers(line("Non-2xx")),
        broken: numbers(line("Socket errors")),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behave;
    use crate::client::Client;
    use crate::h2::RawClient;
    use crate::server::Server;

    #[test]
    fn curl_talks_to_a_scripted_server() {
        let server = Server::script(behave::ok("hello"));
        assert_eq!(curl(&[&format!("http://{}/x", server.address())]), "hello");
        assert!(
            server
                .only()
                .header("user-agent")
                .unwrap()
                .starts_with("curl/")
        );
    }

    #[test]
    fn nginx_serves() {
        let nginx = Nginx::start("location / { return 200 nginx; }");
        assert_eq!(Client::connect(nginx.address()).get("/").text(), "nginx");
    }

    #[test]
    fn nghttpd_serves() {
        let nghttpd = Nghttpd::start(&[]);
        nghttpd.file("index.html", b"nghttpd");
        let mut client = RawClient::connect(nghttpd.address());
        let response = client.get("/");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "nghttpd")
        );
        assert_eq!(client.post("/", b"back").body, b"back");
        assert!(client.ping_works(LIMIT));
    }

    #[test]
    fn gunicorn_serves() {
        let app = "def app(environ, start):\n    start('200 OK', [('Content-Length', '2')])\n    return [b'wsgi'[:2]]\n";
        let gunicorn = Gunicorn::start(app, &[]);
        assert_eq!(Client::connect(gunicorn.address()).get("/").text(), "ws");
    }

    #[test]
    fn the_summary_of_wrk_is_read() {
        let text = "  1234 requests in 1.00s, 1.00MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n";
        let load = summary(text.to_owned());
        assert_eq!((load.requests, load.broken, load.refused), (1234, 10, 5));
    }
}
