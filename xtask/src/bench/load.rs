//! Load by wrk(1), and the CPU time it cost the proxy.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::guard::Folder;
use super::host;

/// Request headers as a browser behind a shop's page sends them; wrk adds Host, so ten in all.
const HEADERS: [&str; 9] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://shop.example.org/catalogue/shoes?page=3",
    "Cookie: session=3f9a1c77d20b4e6e8f1d0a5b; theme=dark; consent=1",
    "Cache-Control: no-cache",
    "X-Requested-With: XMLHttpRequest",
    "Sec-Fetch-Mode: navigate",
];

/// Only a closing function: nothing of it runs per request.
const SCRIPT: &str = r#"done = function(s, l, r)
  local e = s.errors
  io.write(string.format('\nRESULT {"requests":%d,"us":%d,"bytes":%d,"errors":%d,"status":%d,"p50":%d,"p99":%d}\n',
    s.requests, s.duration, s.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    l:percentile(50), l:percentile(99)))
end
"#;

/// What to ask for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) path: &'static str,
    /// The client asks for the connection to be closed.
    pub(crate) close: bool,
}

/// One measured run.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// CPU time of the proxy per request, all its processes and threads.
    pub(crate) us_per_request: f64,
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Failed connections, reads and writes, time-outs, and statuses from 400 up.
    pub(crate) errors: f64,
    pub(crate) rss_kib: u64,
}

/// wrk and its script.
pub(crate) struct Wrk {
    script: PathBuf,
    pub(crate) cores: String,
}

impl Wrk {
    /// Writes the script.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn new(folder: &Folder, cores: &str) -> Result<Self, String> {
        Ok(Self {
            script: folder.write("report.lua", SCRIPT)?,
            cores: cores.to_owned(),
        })
    }

    /// Runs load for whole seconds and returns what wrk counted.
    ///
    /// # Errors
    /// When wrk fails.
    pub(crate) fn run(&self, port: u16, load: Load, seconds: u32) -> Result<Value, String> {
        let mut command = Command::new("taskset");
        command
            .args([
                "-c",
                &self.cores,
                "setpriv",
                "--pdeathsig",
                "TERM",
                "wrk",
                "-t1",
            ])
            .arg(format!("-c{}", load.connections))
            .arg(format!("-d{seconds}s"))
            .args(["--timeout", "10s", "-s"])
            .arg(&self.script);
        for header in HEADERS {
            command.args(["-H", header]);
        }
        if load.close {
            command.args(["-H", "Connection: close"]);
        }
        command
            .arg(format!("http://127.0.0.1:{port}{}", load.path))
            .stdin(Stdio::null());
        let text = crate::shell::output(&mut command)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .ok_or_else(|| format!("wrk said nothing of use: {text}"))?;
        serde_json::from_str(line).map_err(|error| format!("wrk: {error}: {line}"))
    }

    /// [`Wrk::run`] and what it cost the processes `pids`.
    ///
    /// # Errors
    /// When wrk fails or counts no request.
    pub(crate) fn measure(
        &self,
        port: u16,
        load: Load,
        seconds: u32,
        pids: &[u32],
    ) -> Result<Sample, String> {
        let before = host::cpu_ns(pids);
        let told = self.run(port, load, seconds)?;
        let spent = host::cpu_ns(pids).saturating_sub(before);
        let requests = number(&told, "requests");
        if requests < 1.0 {
            return Err(format!("no request was answered: {told}"));
        }
        Ok(Sample {
            us_per_request: to_f64(spent) / 1000.0 / requests,
            requests,
            per_second: requests / (number(&told, "us") / 1e6),
            p50_us: number(&told, "p50"),
            p99_us: number(&told, "p99"),
            errors: number(&told, "errors") + number(&told, "status"),
            rss_kib: host::rss_kib(pids),
        })
    }
}

pub(crate) fn number(value: &Value, key: &str) -> f64 {
    value.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// A count as a float: exact up to 2^53, far above anything counted here.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact for all counts that occur"
)]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Takes syslog datagrams until the end of the program, counts them and throws them away.
pub(crate) struct SyslogSink {
    pub(crate) port: u16,
    pub(crate) received: Arc<AtomicU64>,
}

/// Starts a [`SyslogSink`].
///
/// # Errors
/// When there is no socket.
pub(crate) fn syslog_sink() -> Result<SyslogSink, String> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    let port = socket
        .local_addr()
        .map_err(|error| error.to_string())?
        .port();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while socket.recv(&mut buffer).is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    Ok(SyslogSink { port, received })
}

/// Lines of a file, 0 when there is none.
pub(crate) fn count_lines(file: &Path) -> u64 {
    let Ok(file) = File::open(file) else {
        return 0;
    };
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut count = 0;
    while let Ok(chunk) = reader.fill_buf() {
        if chunk.is_empty() {
            break;
        }
        let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
        count += u64::try_from(lines).unwrap_or(0);
        let length = chunk.len();
        reader.consume(length);
    }
    count
}
