//! What a scenario asks of its balancer, as far as any balancer can do it: read from the configuration
//! of Clearway, so that the others get the same servers and the same limits.

use std::time::Duration;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::scenario::file::{Request, Scenario, Step};
use crate::scenario::read::duration;

/// Where a peer listens, unless Clearway has a Unix socket.
const ADDRESS: &str = "127.0.0.1:8080";

/// Servers and limits; what is `None` stays as each balancer has it by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// Where clients come in.
    pub(super) bind: String,
    /// `10.201.2.2:9000`, `app.test:9000`, `unix:$DIR/app.sock`.
    pub(super) servers: Vec<String>,
    pub(super) connect: Option<Duration>,
    pub(super) response: Option<Duration>,
    /// Silence of a server inside a body.
    pub(super) server_idle: Option<Duration>,
    /// Silence of a server that does not read.
    pub(super) server_write: Option<Duration>,
    pub(super) tunnel: Option<Duration>,
    pub(super) queue: Option<Duration>,
    pub(super) request_head: Option<Duration>,
    pub(super) request_body: Option<Duration>,
    pub(super) client_write: Option<Duration>,
    pub(super) retries: Option<u64>,
    pub(super) tls: Option<Tls>,
    pub(super) check: Option<Check>,
    /// Whether servers are spoken to in HTTP/2.
    pub(super) is_h2: bool,
    /// Version of the PROXY header that servers get.
    pub(super) send_proxy: Option<u64>,
    /// Whether connections are kept for the next request.
    pub(super) keeps: bool,
    pub(super) resolver: Option<Resolver>,
    /// Requests at a time on each server, and how many more may wait.
    pub(super) maxconn: Option<u64>,
    pub(super) queue_size: Option<u64>,
    /// Connections of clients at a time.
    pub(super) connections: Option<u64>,
    pub(super) body_limit: Option<u64>,
    pub(super) cookie: Option<String>,
    /// Faults in a row after which a server is left out, and for how long.
    pub(super) ejection: Option<(u64, Duration)>,
    /// Whether a client asks for a WebSocket.
    pub(super) upgrades: bool,
}

/// TLS with servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) ca: Option<String>,
    pub(super) name: Option<String>,
    pub(super) certificate: Option<String>,
    /// Nothing older than TLS 1.3.
    pub(super) is_modern: bool,
}

/// A health check.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// The path that is asked for; `None` = a connection is enough.
    pub(super) path: Option<String>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) fall: u64,
    pub(super) rise: u64,
    pub(super) port: Option<u64>,
    /// Whether it speaks TLS, where that is said.
    pub(super) tls: Option<bool>,
}

/// Name servers.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    pub(super) servers: Vec<String>,
    pub(super) timeout: Duration,
}

impl Wish {
    /// Reads a scenario; a configuration with several backends is taken for that of `app`.
    ///
    /// # Panics
    /// When the configuration is no TOML.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let text = scenario.clearway.as_ref().map_or("", |own| &own.config);
        let table = DeTable::parse(text).expect("a configuration in TOML");
        let whole = Value::Object(object(table.get_ref()));
        let config = Settings(&whole);
        let app = config.at("/backend/app");
        let time = |key: &str| {
            let own = app.time(&format!("/timeouts/{key}"));
            own.or_else(|| config.time(&format!("/timeouts/{key}")))
        };
        Self {
            bind: bind(config),
            servers: app.texts("/servers"),
            connect: time("connect"),
            response: time("response"),
            server_idle: time("server_idle"),
            server_write: time("server_write"),
            tunnel: time("tunnel"),
            queue: time("queue"),
            request_head: time("request_head"),
            request_body: time("request_body"),
            client_write: time("client_write"),
            retries: app.number("/retries/max"),
            tls: app.has("/tls").then(|| tls(app)),
            check: app.has("/health").then(|| check(app)),
            is_h2: app.text("/protocol").as_deref() == Some("h2"),
            send_proxy: app
                .text("/send_proxy")
                .map(|v| if v == "v2" { 2 } else { 1 }),
            keeps: app.number("/keepalive/max_idle") != Some(0),
            resolver: resolver(config),
            maxconn: app.number("/maxconn"),
            queue_size: app.number("/queue/size"),
            connections: config.number("/limits/connections"),
            body_limit: config.text("/limits/body_bytes").map(|text| bytes(&text)),
            cookie: app.text("/sticky/cookie"),
            ejection: ejection(app),
            upgrades: requests(scenario).any(|r| r.headers.iter().any(|(n, _)| n == "upgrade")),
        }
    }

    /// Whether a server has a name that is looked up.
    pub(super) fn has_names(&self) -> bool {
        self.resolver.is_some()
    }
}

/// Milliseconds, which every balancer understands.
pub(super) fn ms(time: Duration) -> u128 {
    time.as_millis()
}

fn requests(scenario: &Scenario) -> impl Iterator<Item = &Request> {
    scenario.steps.iter().filter_map(|step| match step {
        Step::Request(request) => Some(&**request),
        Step::Run(..)
        | Step::Start(_)
        | Step::Stop(_)
        | Step::Signal(..)
        | Step::Wait(_)
        | Step::Pause(_)
        | Step::Join
        | Step::Dns(_)
        | Step::Reload(..) => None,
    })
}

/// A Unix socket where Clearway has one, else the address of all peers.
fn bind(config: Settings<'_>) -> String {
    let own = config
        .text("/listener/web/bind")
        .filter(|bind| bind.starts_with("unix:"));
    own.unwrap_or_else(|| ADDRESS.to_owned())
}

fn tls(app: Settings<'_>) -> Tls {
    Tls {
        ca: app.text("/tls/ca"),
        name: app.text("/tls/server_name"),
        certificate: app.text("/tls/certificate"),
        is_modern: app.text("/tls/profile").as_deref() == Some("modern"),
    }
}

fn check(app: Settings<'_>) -> Check {
    let time = |key, other| {
        app.time(key)
            .unwrap_or_else(|| Duration::from_millis(other))
    };
    Check {
        path: app.text("/health/path"),
        interval: time("/health/interval", 2000),
        timeout: time("/health/timeout", 1000),
        fall: app.number("/health/fall").unwrap_or(3),
        rise: app.number("/health/rise").unwrap_or(2),
        port: app.number("/health/port"),
        tls: app.at("/health/tls").0.as_bool(),
    }
}

fn resolver(config: Settings<'_>) -> Option<Resolver> {
    let servers = config.texts("/resolver/servers");
    let timeout = config.time("/resolver/timeout");
    (!servers.is_empty()).then(|| Resolver {
        servers,
        timeout: timeout.unwrap_or(Duration::from_secs(1)),
    })
}

fn ejection(app: Settings<'_>) -> Option<(u64, Duration)> {
    let time = app.time("/ejection/duration");
    let time = time.unwrap_or(Duration::from_secs(10));
    Some((app.number("/ejection/consecutive")?, time))
}

/// A part of a configuration, looked up by JSON pointers.
#[derive(Clone, Copy)]
struct Settings<'a>(&'a Value);

impl<'a> Settings<'a> {
    fn at(self, path: &str) -> Self {
        const NONE: &Value = &Value::Null;
        Self(self.0.pointer(path).unwrap_or(NONE))
    }

    fn has(self, path: &str) -> bool {
        !self.at(path).0.is_null()
    }

    fn text(self, path: &str) -> Option<String> {
        self.at(path).0.as_str().map(str::to_owned)
    }

    fn texts(self, path: &str) -> Vec<String> {
        let list: Vec<&'a Value> = self.at(path).0.as_array().into_iter().flatten().collect();
        let words = list.into_iter().filter_map(Value::as_str);
        words.map(str::to_owned).collect()
    }

    fn number(self, path: &str) -> Option<u64> {
        self.at(path).0.as_u64()
    }

    fn time(self, path: &str) -> Option<Duration> {
        duration(self.at(path).0.as_str()?)
    }
}

fn object(table: &DeTable<'_>) -> serde_json::Map<String, Value> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        (key.to_string(), json(value.get_ref()))
    };
    table.iter().map(entry).collect()
}

fn json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(number) => number.as_str().replace('_', "").parse::<i64>().into_value(),
        DeValue::Float(number) => number.as_str().parse::<f64>().into_value(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table)),
    }
}

/// What cannot be read is nothing: the program under test complains about it.
trait IntoValue {
    fn into_value(self) -> Value;
}

impl<T: Into<Value>, E> IntoValue for Result<T, E> {
    fn into_value(self) -> Value {
        self.map_or(Value::Null, Into::into)
    }
}

/// `1KiB`, `10MiB`, or a number.
fn bytes(text: &str) -> u64 {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().expect("a size");
    match text.strip_prefix(digits).unwrap_or_default() {
        "KiB" => number << 10,
        "MiB" => number << 20,
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found() {
        let text = "cause = \"port-closed\"\nabout = \"x\"\n[clearway]\nservers = [\"a:1\"]\n\
            backend = \"\"\"\ntls = { ca = \"c.pem\" }\nretries = { max = 0 }\n\
            keepalive = { max_idle = 0 }\n[timeouts]\nconnect = \"1s\"\n\
            [limits]\nbody_bytes = \"1KiB\"\n\"\"\"\n";
        let wish = Wish::of(&Scenario::parse("f", text).unwrap());
        assert_eq!(wish.servers, ["a:1"]);
        assert_eq!(wish.connect, Some(Duration::from_secs(1)));
        assert_eq!((wish.retries, wish.body_limit), (Some(0), Some(1024)));
        assert_eq!(wish.tls.unwrap().ca.as_deref(), Some("c.pem"));
        assert!(!wish.keeps && wish.response.is_none() && !wish.upgrades);
    }
}
