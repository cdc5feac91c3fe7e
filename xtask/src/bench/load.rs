//! Load by wrk(1) or h2load(1), and the CPU time it cost the proxy.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::guard::Folder;
use super::host;

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
    /// Speaks HTTP/1.1 here; it cannot open a connection per request.
    H2load,
}

/// What to ask for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) tool: Tool,
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

/// Runs load on its cores.
pub(crate) struct Generator {
    /// Of wrk.
    script: PathBuf,
    /// Of h2load: a line per request.
    times: PathBuf,
    cores: String,
}

impl Generator {
    /// Writes the script.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn new(folder: &Folder, cores: &str) -> Result<Self, String> {
        Ok(Self {
            script: folder.write("report.lua", SCRIPT)?,
            times: folder.path().join("h2load.times"),
            cores: cores.to_owned(),
        })
    }

    /// Runs load for whole seconds and returns what was counted.
    ///
    /// # Errors
    /// When the program fails.
    pub(crate) fn run(&self, port: u16, load: Load, seconds: u32) -> Result<Value, String> {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cores, "setpriv", "--pdeathsig", "TERM"]);
        match load.tool {
            Tool::Wrk => command
                .args(["wrk", "-t1", "--timeout", "10s", "-s"])
                .arg(&self.script)
                .arg(format!("-d{seconds}s")),
            Tool::H2load => command
                .args(["h2load", "--h1", "-t1", "--log-file"])
                .arg(&self.times)
                .arg(format!("-D{seconds}")),
        };
        command.arg(format!("-c{}", load.connections));
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
        match load.tool {
            Tool::Wrk => {
                let line = text
                    .lines()
                    .find_map(|line| line.strip_prefix("RESULT "))
                    .ok_or_else(|| format!("wrk said nothing of use: {text}"))?;
                serde_json::from_str(line).map_err(|error| format!("wrk: {error}: {line}"))
            }
            Tool::H2load => {
                let times = std::fs::read_to_string(&self.times).unwrap_or_default();
                // It appends: the next run must not find these.
                if let Err(error) = std::fs::remove_file(&self.times) {
                    return Err(format!("h2load wrote no times ({error}): {text}"));
                }
                Ok(h2load(&text, &times, seconds))
            }
        }
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
