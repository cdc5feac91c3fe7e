//! The admin API: health, metrics, servers, certificates, receipts, reload, drain.
//!
//! It asks nobody who they are. It therefore listens on this host only (the configuration's checks
//! refuse anything else), answers only to names of this host, so that a web page cannot reach it through a
//! name of its own (DNS rebinding), and changes nothing for a request that comes from a web page.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Path, Query, Request, State as Extract};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clearway_base::hash::Map;
use clearway_config::model::Admin;
use clearway_doctor::report::{Report, verdict_json};
use clearway_net::listen::{self, SocketFile, StdListener};
use clearway_outcome::{Bind, RequestId};
use clearway_telemetry::{catalogue, receipt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::state::{Ask, ServerAction, State};
use crate::{metrics, task, view};

/// How many receipts are listed when nobody says how many.
const LISTED: usize = 100;

/// Columns of texts when nobody says how many.
const WIDTH: usize = 100;

/// How its socket is opened: alone, so that a second process notices the first.
const OPTIONS: listen::Options = listen::Options {
    backlog: 128,
    reuse_port: false,
    defer_accept: false,
};

/// Permissions of a Unix socket unless `,mode=` says otherwise: whoever may connect may do everything,
/// so no umask decides.
const UNIX_MODE: u32 = 0o600;

/// A running admin API.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: String,
    /// The file of a Unix socket, removed with this.
    _file: Option<SocketFile>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the admin API; `None` when it is off.
///
/// # Errors
/// Why its socket cannot be opened, as a sentence.
pub(crate) async fn start(state: &Arc<State>, admin: &Admin) -> Result<Option<Running>, String> {
    let Some(bind) = admin.listen.on() else {
        return Ok(None);
    };
    let mut routes = routes(Arc::clone(state)).layer(middleware::from_fn(no_page));
    if bind.is_local() {
        routes = routes.layer(middleware::from_fn(own_name));
    }
    let mut bind = bind.clone();
    if let Bind::Unix { mode, .. } = &mut bind {
        mode.get_or_insert(UNIX_MODE);
    }
    let socket = listen::open(&bind, &OPTIONS).map_err(|e| format!("admin: {e}"))?;
    let address = socket.address_text();
    let (listener, file) = socket.into_std();
    let failed = |error: std::io::Error| format!("admin: {error}");
    let task = match listener {
        StdListener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            task::spawn(async move { drop(axum::serve(listener, routes).await) })
        }
        StdListener::Unix(listener) => {
            let listener = UnixListener::from_std(listener).map_err(failed)?;
            task::spawn(async move { drop(axum::serve(listener, routes).await) })
        }
    };
    Ok(Some(Running {
        address,
        _file: file,
        task,
    }))
}

fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(expose))
        .route("/api/v1/servers", get(servers))
        .route("/api/v1/servers/{backend}/{*server}", post(set_server))
        .route("/api/v1/certificates", get(certificates))
        .route("/api/v1/certificates/{id}/renew", post(renew))
        .route("/api/v1/caches", get(caches))
        .route("/api/v1/caches/{name}/purge", post(purge))
        .route("/api/v1/incidents", get(incidents))
        .route("/api/v1/receipts", get(list_receipts))
        .route("/api/v1/receipts/{id}", get(one_receipt))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/shutdown", post(shutdown))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page\n") })
        .with_state(state)
}

/// Refuses names that a web page could have been given for this host (DNS rebinding).
async fn own_name(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|v| v.to_str().ok()).unwrap_or("localhost");
    if is_own_name(host) {
        return next.run(request).await;
    }
    let words = "the admin API answers to addresses and to localhost only\n";
    (StatusCode::MISDIRECTED_REQUEST, words).into_response()
}

/// Refuses changes that a web page in somebody's browser asks for.
async fn no_page(request: Request, next: Next) -> Response {
    if request.method() != Method::GET && request.headers().contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not from a web page\n").into_response();
    }
    next.run(request).await
}

/// Whether a `Host` cannot be a name that somebody else controls.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name == "clearway" || name.parse::<IpAddr>().is_ok()
}

async fn ready(Extract(state): Extract<Arc<State>>) -> Response {
    if state.is_ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not taking traffic\n").into_response()
    }
}

async fn expose(Extract(state): Extract<Arc<State>>) -> Response {
    let mut out = String::new();
    match metrics::snapshot(&state).expose(&mut out) {
        Ok(()) => ([(header::CONTENT_TYPE, catalogue::CONTENT_TYPE)], out).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

type Words = Query<Map<String, String>>;

fn wants_text(query: &Words) -> bool {
    query.get("format").is_some_and(|f| f == "text")
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn servers(Extract(state): Extract<Arc<State>>, query: Words) -> Response {
    if wants_text(&query) {
        return view::text(&state).into_response();
    }
    json(format!("{}\n", view::json(&state)))
}

async fn certificates(Extract(state): Extract<Arc<State>>, query: Words) -> Response {
    if wants_text(&query) {
        return view::certificates::text(&state).into_response();
    }
    json(format!("{}\n", view::certificates::json(&state)))
}

async fn renew(Extract(state): Extract<Arc<State>>, Path(id): Path<String>) -> Response {
    if state.issuing.renew(&id).await {
        return format!("{id} is being renewed\n").into_response();
    }
    let words =
        format!("there is no certificate {id:?} by ACME; see `clearway ctl certificates`\n");
    (StatusCode::NOT_FOUND, words).into_response()
}

async fn caches(Extract(state): Extract<Arc<State>>) -> Response {
    let plan = state.plan();
    let told = plan.caches.iter().map(|cache| {
        let (bytes, responses) = cache.store.totals();
        serde_json::json!({
            "cache": cache.name.as_str(),
            "bytes": bytes,
            "responses": responses,
            "hits": cache.hits.load(Ordering::Relaxed),
            "misses": cache.misses.load(Ordering::Relaxed),
        })
    });
    let told: Vec<_> = told.collect();
    json(format!(
        "{}\n",
        serde_json::json!({ "schema": 1, "caches": told })
    ))
}

/// Forgets what is kept under `key`, under keys that begin with `begins`, or all.
async fn purge(
    Extract(state): Extract<Arc<State>>,
    Path(name): Path<String>,
    query: Words,
) -> Response {
    let plan = state.plan();
    let Some(cache) = plan.caches.iter().find(|cache| cache.name.as_str() == name) else {
        let words = format!("there is no cache {name:?}\n");
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let (key, begins) = (query.get("key"), query.get("begins"));
    if query.keys().any(|word| word != "key" && word != "begins") {
        let words = "a purge takes key= or begins=, or neither and forgets all\n";
        return (StatusCode::BAD_REQUEST, words).into_response();
    }
    let count = cache.store.purge(|known| match (key, begins) {
        (Some(key), _) => known == key.as_bytes(),
        (None, Some(begins)) => known.starts_with(begins.as_bytes()),
        (None, None) => true,
    });
    format!("{count} forgotten\n").into_response()
}

async fn incidents(Extract(state): Extract<Arc<State>>, query: Words) -> Response {
    let limit = query.get("limit").and_then(|n| n.parse().ok());
    let all = state.incidents().json(limit.unwrap_or(LISTED));
    if wants_text(&query) {
        return view::incidents::text(&all).into_response();
    }
    json(format!("{all}\n"))
}

async fn list_receipts(Extract(state): Extract<Arc<State>>, query: Words) -> Response {
    let limit = query
        .get("limit")
        .and_then(|n| n.parse().ok())
        .unwrap_or(LISTED);
    let fault = query.get("fault");
    let text = wants_text(&query);
    let mut out: Vec<u8> = Vec::new();
    let receipts = state.receipts();
    let chosen = receipts.newest(usize::MAX).filter(|record| {
        let kind = record.as_record().fault.map(|f| f.kind.code());
        fault.is_none_or(|wanted| kind == Some(wanted.as_str()))
    });
    for (at, record) in chosen.take(limit).enumerate() {
        if text {
            out.extend_from_slice(receipt::oneline(&record.as_record()).as_bytes());
            out.push(b'\n');
            continue;
        }
        out.extend_from_slice(if at == 0 { b"[" } else { b"," });
        receipt::json(&record.as_record(), &mut out);
    }
    drop(receipts);
    if text {
        return String::from_utf8_lossy(&out).into_owned().into_response();
    }
    if out.is_empty() {
        out.push(b'[');
    }
    out.extend_from_slice(b"]\n");
    json(String::from_utf8_lossy(&out).into_owned())
}

async fn one_receipt(
    Extract(state): Extract<Arc<State>>,
    Path(id): Path<String>,
    query: Words,
) -> Response {
    let receipts = state.receipts();
    let Some(record) = RequestId::parse(&id).and_then(|id| receipts.find(id)) else {
        let words = format!(
            "no receipt {id}: only failed requests have one, and the newest {} are kept\n",
            receipts.capacity()
        );
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let record = record.clone();
    drop(receipts);
    let verdict = state.incidents().verdict_for(&record.as_record());
    if wants_text(&query) {
        let mut out = receipt::words(&record.as_record());
        if let Some(verdict) = verdict {
            let width = query.get("width").and_then(|w| w.parse().ok());
            let report = Report::new(vec![verdict], 1, Vec::new());
            out.push('\n');
            out.push_str(&report.terminal(width.unwrap_or(WIDTH), false));
        }
        return out.into_response();
    }
    let mut out = Vec::new();
    receipt::json(&record.as_record(), &mut out);
    let mut out: serde_json::Value = serde_json::from_slice(&out).unwrap_or_default();
    if let Some(verdict) = verdict {
        out["verdict"] = verdict_json(&verdict);
    }
    json(format!("{out}\n"))
}

async fn reload(Extract(state): Extract<Arc<State>>) -> Response {
    let (answer, result) = oneshot::channel();
    ask(
        &state,
        Ask::Reload(answer),
        result,
        StatusCode::UNPROCESSABLE_ENTITY,
    )
    .await
}

async fn set_server(
    Extract(state): Extract<Arc<State>>,
    Path((backend, rest)): Path<(String, String)>,
) -> Response {
    // The name of a server may itself have slashes: the path of a Unix socket.
    let Some((server, word)) = rest.rsplit_once('/') else {
        return (StatusCode::NOT_FOUND, "BACKEND/SERVER/ACTION is expected\n").into_response();
    };
    let action = match word {
        "ready" => ServerAction::Ready,
        "drain" => ServerAction::Drain,
        "maintenance" => ServerAction::Maintenance,
        _ => {
            let words = "the action is one of ready, drain, maintenance\n";
            return (StatusCode::NOT_FOUND, words).into_response();
        }
    };
    let (answer, result) = oneshot::channel();
    let asked = Ask::Server {
        backend,
        server: server.to_owned(),
        action,
        answer,
    };
    ask(&state, asked, result, StatusCode::NOT_FOUND).await
}

async fn shutdown(Extract(state): Extract<Arc<State>>) -> Response {
    match state.asks.send(Ask::Shutdown).await {
        Ok(()) => "draining\n".into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "ending already\n").into_response(),
    }
}

/// Hands a request to the supervisor and gives its answer.
async fn ask(
    state: &State,
    asked: Ask,
    result: oneshot::Receiver<Result<String, String>>,
    refused: StatusCode,
) -> Response {
    if state.asks.send(asked).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending\n").into_response();
    }
    match result.await {
        Ok(Ok(words)) => format!("{words}\n").into_response(),
        Ok(Err(words)) => (refused, format!("{words}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "ending\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_host_are_answered() {
        for good in [
            "localhost",
            "LOCALHOST:9180",
            "127.0.0.1:9180",
            "[::1]:9180",
            "clearway",
        ] {
            assert!(is_own_name(good), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example:9180",
            "",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_own_name(bad), "{bad}");
        }
    }
}
