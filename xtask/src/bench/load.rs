//! Load by wrk(1), h2load(1) or clients of our own, and the CPU time it cost the proxy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::guard::Folder;
use super::handshakes::Clients;
use super::peer::Front;
use super::{host, tls};

/// Request headers as a browser behind a shop's page sends them; the programs add Host, so ten in all.
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

/// Headers of a unary call as the gRPC library for Go sends them.
pub(crate) const GRPC_HEADERS: [&str; 5] = [
    "content-type: application/grpc",
    "user-agent: grpc-go/1.76.0",
    "te: trailers",
    "grpc-timeout: 1S",
    "grpc-accept-encoding: gzip",
];

/// The body of a call: no compression, a message of 32 bytes.
const GRPC_BODY: [u8; 37] = {
    let mut body = [b'm'; 37];
    body[0] = 0;
    body[1] = 0;
    body[2] = 0;
    body[3] = 0;
    body[4] = 32;
    body
};

/// Streams of an HTTP/2 connection.
const STREAMS: u32 = 8;

/// Only a closing function: nothing of it runs per request.
const SCRIPT: &str = r#"done = function(s, l, r)
  local e = s.errors
  io.write(string.format('\nRESULT {"requests":%d,"us":%d,"bytes":%d,"errors":%d,"status":%d,"p50":%d,"p99":%d}\n',
    s.requests, s.duration, s.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    l:percentile(50), l:percentile(99)))
end
"#;

/// What makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Wrk,
    /// Speaks HTTP/1.1 or HTTP/2, as the front does; it cannot open a connection per request.
    H2load,
    /// Ours: a TLS handshake for each request.
    Handshakes,
}

/// What to ask for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) tool: Tool,
    pub(crate) connections: u32,
    pub(crate) path: &'static str,
    /// The client asks for the connection to be closed.
    pub(crate) close: bool,
    /// What is spoken with the proxy.
    pub(crate) front: Front,
}

impl Load {
    /// Where it goes.
    pub(crate) fn url(&self, port: u16) -> String {
        let scheme = if self.front.is_tls() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}{}", self.path)
    }

    /// The request as our own clients send it.
    fn request(&self) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path, tls::NAME);
        for header in HEADERS {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str("Connection: close\r\n\r\n");
        text.into_bytes()
    }
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

/// Runs load on its cores.
pub(crate) struct Generator<'a> {
    /// Of wrk.
    script: PathBuf,
    /// Of h2load: a line per request.
    times: PathBuf,
    /// Of a call.
    pub(crate) grpc_body: PathBuf,
    cores: String,
    tls: &'a tls::Files,
    /// Ours, by the proxy's port: what they remember of sessions outlives a run.
    clients: RefCell<BTreeMap<u16, Clients>>,
}

impl<'a> Generator<'a> {
    /// Writes the script.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn new(folder: &Folder, cores: &str, tls: &'a tls::Files) -> Result<Self, String> {
        Ok(Self {
            script: folder.write("report.lua", SCRIPT)?,
            times: folder.path().join("h2load.times"),
            grpc_body: folder.write("grpc.body", GRPC_BODY)?,
            cores: cores.to_owned(),
            tls,
            clients: RefCell::default(),
        })
    }

    /// Runs load for whole seconds and returns what was counted.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn run(&self, port: u16, load: Load, seconds: u32) -> Result<Value, String> {
        match load.tool {
            Tool::Wrk => self.wrk(port, load, seconds),
            Tool::H2load => self.h2load(port, load, seconds),
            Tool::Handshakes => {
                let mut all = self.clients.borrow_mut();
                let clients = match all.entry(port) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => {
                        let resumes = load.front == Front::Tls { resumption: true };
                        let request = load.request();
                        place.insert(Clients::new(port, load.connections, request, resumes)?)
                    }
                };
                clients.run(seconds)
            }
        }
    }

    fn wrk(&self, port: u16, load: Load, seconds: u32) -> Result<Value, String> {
        let mut command = self.command("wrk");
        command
            .args(["-t1", "--timeout", "10s", "-s"])
            .arg(&self.script)
            .arg(format!("-d{seconds}s"));
        let text = self.ask(command, port, load)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .ok_or_else(|| format!("wrk said nothing of use: {text}"))?;
        serde_json::from_str(line).map_err(|error| format!("wrk: {error}: {line}"))
    }

    fn h2load(&self, port: u16, load: Load, seconds: u32) -> Result<Value, String> {
        let mut command = self.command("h2load");
        command.arg("-t1").arg("--log-file").arg(&self.times);
        command.arg(format!("-D{seconds}"));
        if load.front.is_h2() {
            command
                .arg(format!("-m{STREAMS}"))
                .arg("--npn-list=h2")
                .arg(format!("--tls13-ciphers={}", tls::CIPHER))
                .arg(format!("--groups={}", tls::GROUP));
        } else {
            command.arg("--h1");
        }
        if load.front == Front::Grpc {
            command.arg("-d").arg(&self.grpc_body);
        }
        let text = self.ask(command, port, load)?;
        let times = std::fs::read_to_string(&self.times).unwrap_or_default();
        // It appends: the next run must not find these.
        if let Err(error) = std::fs::remove_file(&self.times) {
            return Err(format!("h2load wrote no times ({error}): {text}"));
        }
        if load.front.is_h2() {
            tls::check_h2load(&text)?;
        }
        Ok(h2load(&text, &times, seconds))
    }

    /// A program on the load's cores.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("taskset");
        command
            .args(["-c", &self.cores, "setpriv", "--pdeathsig", "TERM", program])
            .stdin(Stdio::null());
        self.tls.offer(&mut command);
        command
    }

    /// Runs a program with what wrk and h2load understand alike.
    fn ask(&self, mut command: Command, port: u16, load: Load) -> Result<String, String> {
        command.arg(format!("-c{}", load.connections));
        let headers: &[&str] = match load.front {
            Front::Grpc => &GRPC_HEADERS,
            Front::Http | Front::Tcp | Front::Tls { .. } | Front::H2 => &HEADERS,
        };
        for header in headers {
            command.args(["-H", header]);
        }
        if load.close {
            command.args(["-H", "Connection: close"]);
        }
        crate::shell::output(command.arg(load.url(port)))
    }

    /// [`Generator::run`] and what it cost the processes `pids`.
    ///
    /// # Errors
    /// When the program fails or counts no request.
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

/// What h2load printed and its lines per request (start, status, duration in µs), in the form of wrk's
/// result. Requests still under way at the end stand nowhere.
fn h2load(text: &str, times: &str, seconds: u32) -> Value {
    let count = |prefix: &str, unit: &str| -> u64 {
        let parts = text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .flat_map(|rest| rest.split(','));
        parts
            .filter_map(|part| part.trim().strip_suffix(unit)?.trim().parse::<u64>().ok())
            .sum()
    };
    let mut durations: Vec<u64> = times
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    durations.sort_unstable();
    let at = |percent: usize| durations.get(durations.len() * percent / 100).copied();
    json!({
        "requests": count("requests:", " done"),
        "us": u64::from(seconds) * 1_000_000,
        "errors": count("requests:", " errored") + count("requests:", " timeout"),
        "status": count("status codes:", " 4xx") + count("status codes:", " 5xx"),
        "p50": at(50),
        "p99": at(99),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_says_is_read() {
        let text = "finished in 1.00s, 125146.00 req/s, 18.14MB/s\n\
            requests: 104 total, 108 started, 104 done, 98 succeeded, 6 failed, 2 errored, 1 timeout\n\
            status codes: 98 2xx, 0 3xx, 1 4xx, 2 5xx\n";
        let times: String = (0..100)
            .map(|i| format!("1795259343022571\t200\t{}\n", 100 - i))
            .collect();
        let told = h2load(text, &times, 2);
        let expected = [
            ("requests", 104.0),
            ("us", 2e6),
            ("errors", 3.0),
            ("status", 3.0),
            ("p50", 51.0),
            ("p99", 100.0),
        ];
        for (key, value) in expected {
            assert!((number(&told, key) - value).abs() < 1e-9, "{key}: {told}");
        }
        assert!(number(&h2load("", "", 1), "p99") < 1.0);
    }
}
