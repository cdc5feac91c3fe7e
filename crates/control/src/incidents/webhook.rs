//! Tells of incidents: a line in the log of failed requests, and to others by POST, with patience: what cannot be delivered is tried again, later and
//! later, and given up in the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, header};
use clearway_base::clock;
use clearway_config::model::{LogDestination, LogLevel, Webhook, WebhookFormat};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::Notice;
use crate::state::State;
use crate::task;

/// Deliveries that wait or are under way at a time; what comes beyond is dropped and said.
const WAITING: usize = 200;
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between tries.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

type Https = Client<HttpsConnector<HttpConnector>, Body>;

/// Tells of everything that comes in, for ever. Cancel safe.
pub(crate) async fn run(
    state: Arc<State>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
    log: Option<SyncSender<Vec<u8>>>,
) {
    let places = Arc::new(Semaphore::new(WAITING));
    let mut client = None;
    while let Some(notice) = notices.recv().await {
        let config = state.config();
        if config.log.faults != LogDestination::Off
            && let Some(log) = &log
            && log.try_send(line(&notice)).is_err()
        {
            state.log_failures.fetch_add(1, Ordering::Relaxed);
        }
        for webhook in &config.incidents.webhooks {
            let client = client.get_or_insert_with(client_of);
            let Ok(client) = client else {
                let words = "incidents are not told: the system has no trusted certificates";
                state.say(LogLevel::Error, words.to_owned());
                break;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                let words = format!("{} is not told: too much waits for it", webhook.url);
                state.say(LogLevel::Warn, words);
                continue;
            };
            let body = body(&notice, webhook.format).to_string();
            let delivery = deliver(Arc::clone(&state), client.clone(), webhook.clone(), body);
            drop(task::spawn(async move {
                delivery.await;
                drop(place);
            }));
        }
    }
}

/// A line of the log of failed requests.
fn line(notice: &Notice) -> Vec<u8> {
    let line = json!({
        "time": clock::rfc3339(clock::wall()),
        "event": format!("incident_{}", notice.event),
        "text": notice.words,
        "incident": notice.incident,
    });
    format!("{line}\n").into_bytes()
}

fn client_of() -> std::io::Result<Https> {
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// What is sent.
fn body(notice: &Notice, format: WebhookFormat) -> Value {
    match format {
        WebhookFormat::Json => json!({
            "schema": 1,
            "event": notice.event,
            "text": notice.words,
            "incident": notice.incident,
        }),
        WebhookFormat::Slack => json!({ "text": slack(notice) }),
    }
}

/// A few lines that a channel shows well.
fn slack(notice: &Notice) -> String {
    let verdict = &notice.incident["verdict"];
    let mark = match (notice.event, notice.is_prevented) {
        ("closed", _) => ":white_check_mark:",
        (_, true) => ":shield:",
        _ => ":rotating_light:",
    };
    let mut out = format!("{mark} {}", escaped(&notice.words));
    let fixes = verdict["fix"].as_array().map_or(&[][..], Vec::as_slice);
    if notice.event != "closed"
        && let Some(fix) = fixes.first()
    {
        let word = |key: &str| escaped(fix[key].as_str().unwrap_or_default());
        out.push_str(&format!("\n*To do:* {}", word("do")));
        if !word("command").is_empty() {
            out.push_str(&format!("\n```{}```", word("command")));
        }
    }
    out
}

/// The three characters that mean something in such texts.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

async fn deliver(state: Arc<State>, client: Https, webhook: Webhook, body: String) {
    let body = Bytes::from(body);
    let mut pauses = PAUSES.iter();
    loop {
        let told = tokio::time::timeout(PATIENCE, post(&client, &webhook, body.clone())).await;
        let why = match told {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        let Some(pause) = pauses.next() else {
            let words = format!("{} could not be told of an incident: {why}", webhook.url);
            return state.say(LogLevel::Error, words);
        };
        state.say(
            LogLevel::Debug,
            format!(
                "{}: {why}; tried again in {} s",
                webhook.url,
                pause.as_secs()
            ),
        );
        tokio::time::sleep_until(Instant::now() + *pause).await;
    }
}

/// One try; why it failed.
async fn post(client: &Https, webhook: &Webhook, body: Bytes) -> Result<(), String> {
    let agent = concat!("clearway/", env!("CARGO_PKG_VERSION"));
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(webhook.url.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, agent);
    if let Some(authorization) = &webhook.authorization {
        request = request.header(header::AUTHORIZATION, authorization.as_str());
    }
    let request = request.body(Body::from(body)).map_err(|e| e.to_string())?;
    let answer = client.request(request).await.map_err(|e| deepest(&e))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("it answered {status}"))
}

/// What stands at the bottom of an error.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut bottom = error;
    while let Some(next) = bottom.source() {
        bottom = next;
    }
    bottom.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(event: &'static str) -> Notice {
        Notice {
            event,
            words: "incident x is opened: app/<b> & co".to_owned(),
            incident: json!({ "id": "x", "verdict": { "fix": [
                { "do": "Start it", "command": "systemctl start app" },
            ] } }),
            is_prevented: false,
        }
    }

    #[test]
    fn a_channel_gets_text_and_what_to_do() {
        let body = body(&notice("opened"), WebhookFormat::Slack);
        let text = body["text"].as_str().unwrap();
        assert!(text.contains("app/&lt;b&gt; &amp; co"), "{text}");
        assert!(text.contains("```systemctl start app```"), "{text}");
        assert_eq!(body.as_object().unwrap().len(), 1);
        assert!(!slack(&notice("closed")).contains("To do"));
    }

    #[test]
    fn programs_get_the_incident() {
        let body = body(&notice("revised"), WebhookFormat::Json);
        assert_eq!(
            (&body["event"], &body["incident"]["id"]),
            (&json!("revised"), &json!("x"))
        );
    }
}
