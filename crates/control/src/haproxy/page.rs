//! The page of statistics that listeners serve: HTML for people, CSV and JSON for programs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use clearway_proxy::stats::Count;
use clearway_proxy::status::{Posted, Rendering, Statistics};
use clearway_rules::LocalReply;
use clearway_rules::ast::StatusPage;
use tokio::sync::{mpsc, oneshot};

use super::fields::Field;
use super::samples::Object;
use super::write::{self, Row};
use super::{form, rows};
use crate::state::State;
use crate::task;

/// Pages that may be wanted at once; one more is refused.
const AT_ONCE: usize = 64;

/// A page that is wanted: how, for which target, what was sent to it, and who waits for it.
type Wanted = (
    StatusPage,
    Vec<u8>,
    Option<Posted>,
    oneshot::Sender<LocalReply>,
);

/// Where workers ask for pages; they are rendered on control's runtime, one after the other.
#[derive(Debug)]
pub(crate) struct Desk {
    asks: mpsc::Sender<Wanted>,
    inbox: Mutex<Option<mpsc::Receiver<Wanted>>>,
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        let (asks, inbox) = mpsc::channel(AT_ONCE);
        Arc::new(Self {
            asks,
            inbox: Mutex::new(Some(inbox)),
        })
    }

    /// Begins to answer. What was asked before has waited.
    pub(crate) fn open(&self, state: &Arc<State>) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut inbox) = inbox.take() else {
            return;
        };
        let state = Arc::clone(state);
        drop(task::spawn(async move {
            while let Some((page, target, posted, answer)) = inbox.recv().await {
                let reply = match posted {
                    Some(posted) => form::obey(&state, &page, &target, posted).await,
                    None => render(&state, &page, &target),
                };
                // Whoever asked may have gone.
                drop(answer.send(reply));
            }
        }));
    }
}

impl Desk {
    fn ask(&self, page: &StatusPage, target: &[u8], posted: Option<Posted>) -> Rendering<'_> {
        let (answer, result) = oneshot::channel();
        let wanted = (page.clone(), target.to_vec(), posted, answer);
        let is_full = self.asks.try_send(wanted).is_err();
        Box::pin(async move {
            match is_full {
                true => refusal(),
                false => result.await.unwrap_or_else(|_| refusal()),
            }
        })
    }
}

impl Statistics for Desk {
    fn page<'a>(&'a self, page: &'a StatusPage, target: &'a [u8]) -> Rendering<'a> {
        self.ask(page, target, None)
    }

    fn posted<'a>(&'a self, page: &'a StatusPage, target: &'a [u8], form: Posted) -> Rendering<'a> {
        self.ask(page, target, Some(form))
    }
}

pub(super) fn reply(status: u16, content_type: &str, body: String) -> LocalReply {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    LocalReply {
        status,
        headers: vec![
            header("Content-Type", content_type),
            header("Cache-Control", "no-cache"),
            header("X-Content-Type-Options", "nosniff"),
        ],
        body: body.into_bytes(),
        page: false,
        fault: None,
    }
}

fn refusal() -> LocalReply {
    let words = "too many pages are wanted at once\n".to_owned();
    reply(503, "text/plain; charset=utf-8", words)
}

/// The answer to a request.
fn render(state: &State, page: &StatusPage, target: &[u8]) -> LocalReply {
    if page.counters {
        return counters(state);
    }
    let target = String::from_utf8_lossy(target);
    let (path, words) = target.split_once(';').unwrap_or((&target, ""));
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let mut asked = words.split(';').chain(query.split('&'));
    let asks = |what: &str| {
        let is_it = |word: &str| word == what || word.strip_prefix("format=") == Some(what);
        words.split(';').chain(query.split('&')).any(is_it)
    };
    let mut rows = rows::rows(state);
    if !page.scope.is_empty() {
        rows.retain(|row| {
            page.scope
                .iter()
                .any(|name| name == row.word(Field::Pxname))
        });
    }
    if let Some(scope) = asked.find_map(|word| word.strip_prefix("scope=")) {
        rows.retain(|row| row.word(Field::Pxname).contains(scope));
    }
    if asks("up") {
        let is_up = |row: &Row| !matches!(level(row.word(Field::Status)), "bad" | "off");
        rows.retain(|row| row.object != Object::Server || is_up(row));
    }
    let refresh = page.refresh_seconds > 0 && !asks("norefresh");
    let text = "text/plain; charset=utf-8";
    let mut answer = if asks("csv") {
        reply(200, text, write::csv(&rows))
    } else if asks("typed") {
        reply(200, text, write::typed(&rows))
    } else if asks("json") {
        reply(200, "application/json", write::as_json(&rows))
    } else {
        reply(
            200,
            "text/html; charset=utf-8",
            html(state, page, (path, words), &rows),
        )
    };
    let mut header = |name: &str, value: String| {
        answer.headers.push((name.to_owned(), value.into_bytes()));
    };
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'";
    header("Content-Security-Policy", policy.to_owned());
    if refresh {
        header("Refresh", page.refresh_seconds.to_string());
    }
    answer
}

/// A few counters, in the words that programs read from NGINX. The connection that asks is one of them.
fn counters(state: &State) -> LocalReply {
    let plan = state.plan();
    let (mut active, mut accepted, mut requests) = (0, 0, 0);
    for listener in &plan.listeners {
        active += u64::from(listener.entry.open.load(Ordering::Relaxed));
        for shard in &listener.entry.shards {
            accepted += shard.accepted.value();
            requests += shard.responses.iter().map(Count::value).sum::<u64>();
        }
    }
    let servers = plan.backends.iter().flat_map(|backend| &backend.servers);
    let passed: u64 = servers
        .map(|server| u64::from(server.entry.inflight()))
        .sum();
    let writing = (passed + 1).min(active.max(1));
    let waiting = active.saturating_sub(writing);
    let body = format!(
        "Active connections: {active} \nserver accepts handled requests\n \
         {accepted} {accepted} {} \nReading: 0 Writing: {writing} Waiting: {waiting} \n",
        requests + 1
    );
    let mut answer = reply(200, "text/plain", body);
    answer.headers.truncate(1);
    answer
}

/// A text that stands for itself in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// How a state is shown.
fn level(status: &str) -> &'static str {
    match status.split(' ').next().unwrap_or_default() {
        "UP" if status.contains('/') => "hurt",
        "UP" | "OPEN" => "good",
        "DOWN" => "bad",
        "MAINT" | "STOP" => "off",
        "DRAIN" | "NOLB" => "hurt",
        _ => "plain",
    }
}

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem;color:#1c2430;background:#f6f7f9}\
h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .4rem}\
p{margin:.3rem 0;color:#566}a{color:#0b61a4}\
table{border-collapse:collapse;background:#fff;box-shadow:0 1px 2px #0002}\
th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #e4e7ec;white-space:nowrap}\
th{font-weight:600;color:#566;background:#eef1f5}\
th:first-child,td:first-child,.t{text-align:left}\
tr.sum td{font-weight:600;background:#fafbfc}\
b{display:inline-block;min-width:4.5em;padding:0 .5em;border-radius:3px;text-align:center}\
.good{background:#d9f2e0;color:#115c2c}.bad{background:#fbdada;color:#8d1616}\
.hurt{background:#fdf0cf;color:#735200}.off{background:#dfe5ee;color:#33425a}.plain{background:#eee;color:#444}";

fn html(state: &State, page: &StatusPage, (path, target): (&str, &str), rows: &[Row]) -> String {
    let mut title = "Clearway".to_owned();
    if !page.hides_version {
        title.push_str(concat!(" ", env!("CARGO_PKG_VERSION")));
    }
    if let Some(node) = &page.node {
        let node = if node.is_empty() {
            super::info::host_name()
        } else {
            node.clone()
        };
        title.push_str(&format!(" on {}", escaped(&node)));
    }
    let uptime = clearway_base::clock::now().since(state.started).as_secs();
    let path = escaped(path);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}: statistics</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    if let Some(description) = &page.description {
        out.push_str(&format!("<p>{}</p>\n", escaped(description)));
    }
    out.push_str(&format!(
        "<p>up for {}, process {}; <a href=\"{path};csv\">CSV</a>, <a href=\"{path};json\">JSON</a>, \
         <a href=\"{path};norefresh\">stop refreshing</a></p>\n",
        span(uptime),
        std::process::id()
    ));
    if let Some(words) = form::outcome(target) {
        out.push_str(&format!("<p><b class=\"hurt\">{words}</b></p>\n"));
    }
    let end = |rows: &[Row], proxy: u32, out: &mut String| {
        out.push_str("</table>\n");
        if page.admin && has_servers(rows, proxy) {
            form::controls(proxy, out);
        }
    };
    let mut open: Option<u32> = None;
    for row in rows {
        if open != Some(row.proxy) {
            if let Some(before) = open {
                end(rows, before, &mut out);
            }
            open = Some(row.proxy);
            let name = escaped(row.word(Field::Pxname));
            out.push_str(&format!("<h2 id=\"{name}\">{name}</h2>\n"));
            if page.admin && has_servers(rows, row.proxy) {
                out.push_str("<form method=\"post\">");
            }
            out.push_str("<table><tr>");
            for head in HEADS {
                out.push_str(&format!("<th>{head}</th>"));
            }
            out.push_str("</tr>\n");
        }
        line(row, page.admin, &mut out);
    }
    if let Some(last) = open {
        end(rows, last, &mut out);
    }
    out.push_str("</body></html>\n");
    out
}

const HEADS: [&str; 14] = [
    "",
    "Status",
    "for",
    "Now",
    "Most",
    "Limit",
    "Waiting",
    "Per second",
    "Total",
    "In",
    "Out",
    "4xx / 5xx",
    "Errors",
    "Check",
];

/// Whether a proxy has servers among the rows.
fn has_servers(rows: &[Row], proxy: u32) -> bool {
    let mut own = rows.iter().filter(|row| row.proxy == proxy);
    own.any(|row| row.object == Object::Server)
}

fn line(row: &Row, admin: bool, out: &mut String) {
    let number = |field: Field| match row.value(field) {
        Some(value) => value.to_string(),
        None => "–".to_owned(),
    };
    let name = match row.object {
        Object::Frontend => "listener",
        Object::Backend => "all servers",
        Object::Server => row.word(Field::Svname),
    };
    let tick = match admin && row.object == Object::Server {
        true => format!(
            "<input type=\"checkbox\" name=\"s\" value=\"{}\"> ",
            escaped(name)
        ),
        false => String::new(),
    };
    let status = row.word(Field::Status);
    let rate = match row.object {
        Object::Frontend if row.value(Field::ReqRate).is_some() => Field::ReqRate,
        Object::Frontend | Object::Backend | Object::Server => Field::Rate,
    };
    let errors = [Field::Ereq, Field::Econ, Field::Eresp].map(|field| row.count(field));
    let errors: u64 = errors.iter().sum();
    let classes = match row.value(Field::Hrsp4xx) {
        Some(_) => format!(
            "{} / {}",
            row.count(Field::Hrsp4xx),
            row.count(Field::Hrsp5xx)
        ),
        None => "–".to_owned(),
    };
    let lasting = match row.value(Field::Lastchg) {
        Some(_) => span(row.count(Field::Lastchg)),
        None => String::new(),
    };
    let check = match (row.word(Field::CheckStatus), row.word(Field::LastChk)) {
        ("", _) => String::new(),
        (code, "") => format!("{code} in {} ms", row.count(Field::CheckDuration)),
        (code, words) => format!("{code}: {words}"),
    };
    let class = if row.object == Object::Backend {
        " class=\"sum\""
    } else {
        ""
    };
    out.push_str(&format!(
        "<tr{class}><td title=\"{}\">{tick}{}</td><td><b class=\"{}\">{}</b></td>",
        escaped(row.word(Field::Addr)),
        escaped(name),
        level(status),
        escaped(status)
    ));
    for cell in [
        lasting,
        number(Field::Scur),
        number(Field::Smax),
        number(Field::Slim),
        number(Field::Qcur),
        number(rate),
        number(Field::Stot),
        bytes(row.count(Field::Bin)),
        bytes(row.count(Field::Bout)),
        classes,
        errors.to_string(),
    ] {
        out.push_str(&format!("<td>{cell}</td>"));
    }
    out.push_str(&format!("<td class=\"t\">{}</td></tr>\n", escaped(&check)));
}

/// A time in the two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A number of bytes in the largest unit of which there are ten.
fn bytes(count: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| count >> shift >= 10);
    unit.map_or_else(
        || count.to_string(),
        |(name, shift)| format!("{} {name}", count >> shift),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_stand_for_themselves() {
        assert_eq!(
            escaped("<a href=\"x\">&"),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            (span(59), span(61), span(90_000)),
            ("59s".to_owned(), "1m 1s".to_owned(), "1d 1h".to_owned())
        );
        assert_eq!(
            (bytes(9_999), bytes(20_480), bytes(11 << 30)),
            ("9999".to_owned(), "20 KiB".to_owned(), "11 GiB".to_owned())
        );
    }

    #[test]
    fn a_server_that_has_failed_checks_is_not_well() {
        assert_eq!(
            ["UP", "UP 2/3", "DOWN 1/2", "MAINT", "no check"].map(level),
            ["good", "hurt", "bad", "off", "plain"]
        );
    }
}
