//! Incidents: from the first failure to the last, with a verdict, kept, told to others, without secrets.

use clearway_testkit::clearway::simple;
use clearway_testkit::peers::Wrk;
use clearway_testkit::{Clearway, Server, behave, wait};
use serde_json::Value;

/// A configuration with one server, and what is done about failures.
fn watched(server: &str, incidents: &str) -> String {
    let mut text = simple(&[server], "retries = { max = 0 }\n");
    text.push_str(&format!("\n[incidents]\n{incidents}\n"));
    text
}

fn incidents(clearway: &Clearway) -> Vec<Value> {
    let all = clearway.json("/api/v1/incidents");
    assert_eq!(all["schema"], 1, "{all}");
    all["incidents"].as_array().cloned().unwrap_or_default()
}

/// The one incident there is, once it is as wanted.
fn incident(clearway: &Clearway, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, || incidents(clearway).into_iter().find(&wanted))
}

fn has_cause(incident: &Value, cause: &str) -> bool {
    incident["verdict"]["cause"] == cause
}

#[test]
fn an_incident_opens_with_a_verdict_and_closes_when_it_has_been_quiet() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::start(&watched(&address, "quiet = \"500ms\""));
    let response = clearway.get("/a");
    assert_eq!(response.status, 502);
    // Nothing listens on this very host: that proves it.
    let found = incident(&clearway, "a proof", |i| {
        has_cause(i, "port-closed") && i["verdict"]["confidence"] == "certain"
    });
    assert_eq!(found["fault"], "connect_refused", "{found}");
    assert_eq!(found["backend"], "app", "{found}");
    assert_eq!(found["server"], address.as_str(), "{found}");
    let verdict = &found["verdict"];
    assert_eq!(verdict["party"], "server-host", "{found}");
    assert!(
        !verdict["fix"][0]["command"].as_str().unwrap().is_empty(),
        "{found}"
    );
    let words = clearway.words(response.header("x-request-id").unwrap());
    assert!(words.contains("Nothing listens on"), "{words}");
    assert!(
        words.contains("clearway doctor explain port-closed"),
        "{words}"
    );
    clearway.wait_stderr("\"event\":\"incident_opened\"");
    let closed = incident(&clearway, "the end", |i| i["state"] == "closed");
    assert_eq!(closed["id"], found["id"]);
    clearway.wait_stderr("\"event\":\"incident_closed\"");
    clearway.wait_metric("clearway_incidents_closed_total", &[], 1.0);
    let metrics = clearway.metrics();
    let labels = [("fault", "connect_refused")];
    assert_eq!(metrics.count("clearway_incidents_total", &labels), 1);
    // The verdict is still told when the incident is over.
    let words = clearway.words(response.header("x-request-id").unwrap());
    assert!(words.contains("Nothing listens on"), "{words}");
}

#[test]
fn an_error_that_the_server_made_itself_says_so() {
    let server = Server::script(behave::status(502));
    let clearway = Clearway::start(&watched(server.address(), ""));
    let response = clearway.get("/broken");
    assert_eq!(response.status, 502);
    let found = incident(&clearway, "a verdict", |i| {
        has_cause(i, "upstream-generated-5xx")
    });
    assert_eq!(found["fault"], "server_error", "{found}");
    assert_eq!(found["verdict"]["party"], "application", "{found}");
    wait::until("a receipt", || {
        let receipts = clearway.json("/api/v1/receipts");
        let first = receipts.get(0)?.clone();
        (first["status"] == 502 && first.get("fault").is_none()).then_some(())
    });
}

#[test]
fn what_goes_well_makes_no_incident() {
    let server = Server::script(behave::ok("well"));
    let clearway = Clearway::start(&watched(server.address(), ""));
    for _ in 0..20 {
        assert_eq!(clearway.get("/").status, 200);
    }
    assert_eq!(clearway.get("/").status, 200);
    assert!(incidents(&clearway).is_empty());
    let text = clearway.admin().get("/api/v1/incidents?format=text");
    assert!(text.text().contains("no incident"), "{}", text.text());
    assert_eq!(server.requests(), 21, "nobody else asked");
}

#[test]
fn closed_incidents_are_kept_beyond_a_restart_and_counted() {
    let (address, _guard) = behave::closed_port();
    let text = watched(
        &address,
        "quiet = \"300ms\"\nstore = \"$DIR/incidents.jsonl\"",
    );
    let clearway = Clearway::start(&text);
    clearway.get("/one");
    let first = incident(&clearway, "the end", |i| i["state"] == "closed");
    // One that is open when the process ends is kept, too.
    clearway.get("/two");
    let second = incident(&clearway, "another", |i| i["state"] == "open");
    assert!(
        second["recurrence"]
            .as_str()
            .unwrap()
            .contains("second time"),
        "{second}"
    );
    clearway.terminate();
    let kept = clearway.file("incidents.jsonl");
    let mut clearway = clearway;
    assert!(clearway.wait().success());
    let lines = std::fs::read_to_string(&kept).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let folder = std::path::Path::new(&kept).parent().unwrap().display();
    let again = Clearway::start(&text.replace("$DIR", &folder.to_string()));
    let known: Vec<Value> = incidents(&again).iter().map(|i| i["id"].clone()).collect();
    assert!(
        known.contains(&first["id"]) && known.contains(&second["id"]),
        "{known:?}"
    );
    again.get("/three");
    let third = incident(&again, "the third", |i| i["state"] == "open");
    assert!(
        third["recurrence"].as_str().unwrap().contains("third time"),
        "{third}"
    );
}

/// What a server was sent, once so many bodies are there.
fn told(server: &Server, count: usize) -> Vec<Value> {
    wait::until("what is told", || {
        let seen = server.seen();
        let bodies = seen
            .iter()
            .map(|request| serde_json::from_slice(&request.body).ok());
        bodies
            .collect::<Option<Vec<Value>>>()
            .filter(|all| all.len() >= count)
    })
}

#[test]
fn others_are_told_until_they_have_heard() {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    // Out of order at first.
    let hook = Server::script(move |mut conn| {
        while conn.request().is_some() {
            let nth = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let status = if nth == 0 { 503 } else { 204 };
            if !conn.send(behave::response(status, "")) {
                return;
            }
        }
    });
    let chat = Server::script(behave::ok("ok"));
    let (address, _guard) = behave::closed_port();
    let hooks = format!(
        "quiet = \"300ms\"\nwebhooks = [\"http://{}/hook\", {{ url = \"http://{}/chat\", format = \
         \"slack\", authorization = \"Bearer TOPSECRET\" }}]",
        hook.address(),
        chat.address()
    );
    let clearway = Clearway::start(&watched(&address, &hooks));
    clearway.get("/");
    let bodies = told(&hook, 3);
    let of = |event: &str| bodies.iter().filter(|b| b["event"] == event).count();
    assert_eq!((of("opened"), of("closed")), (2, 1), "{bodies:?}");
    let opened = bodies.iter().find(|b| b["event"] == "opened").unwrap();
    assert_eq!(
        opened["incident"]["verdict"]["cause"], "port-closed",
        "{opened}"
    );
    let texts = told(&chat, 2);
    let head = String::from_utf8_lossy(&chat.seen()[0].head).into_owned();
    assert!(
        head.to_lowercase()
            .contains("authorization: bearer topsecret"),
        "{head}"
    );
    let text = texts[0]["text"].as_str().unwrap();
    assert!(text.contains("port-closed"), "{text}");
    let lines = clearway.stderr().join("\n");
    assert!(!lines.contains("TOPSECRET"), "{lines}");
}

#[test]
fn secrets_stay_out_of_everything_that_tells_of_failures() {
    // A response that cannot be used, with secrets in its head and behind it.
    let server = Server::script(behave::answer_and_close(
        "HTTP/1.1 200 OK\r\nSet-Cookie: sid=COOKIESECRET\r\nbad header\r\n\r\nBODYSECRET",
    ));
    let clearway = Clearway::start(&watched(server.address(), "quiet = \"300ms\""));
    let mut client = clearway.client();
    let lines = "Cookie: a=CLIENTSECRET\r\nAuthorization: Basic AUTHSECRET\r\n\
                 Referer: http://x/?r=REFERERSECRET\r\n";
    let response = client.get_with("/pay?card=QUERYSECRET", lines);
    assert_eq!(response.status, 502);
    let id = response.header("x-request-id").unwrap().to_owned();
    incident(&clearway, "a verdict", |i| i["verdict"].is_object());
    incident(&clearway, "the end", |i| i["state"] == "closed");
    clearway.wait_stderr("\"event\":\"incident_closed\"");
    let told = [
        clearway.stderr().join("\n"),
        clearway.words(&id),
        clearway.json(&format!("/api/v1/receipts/{id}")).to_string(),
        clearway.json("/api/v1/receipts").to_string(),
        clearway.json("/api/v1/incidents").to_string(),
        clearway.admin().get("/api/v1/incidents?format=text").text(),
    ];
    for (at, text) in told.iter().enumerate() {
        assert!(!text.contains("SECRET"), "place {at}: {text}");
    }
    assert!(told[1].contains("/pay?card=…"), "{}", told[1]);
}

#[test]
fn a_sick_server_is_asked_a_few_times_only() {
    let server = Server::script(behave::close_after_request());
    let clearway = Clearway::start(&watched(server.address(), ""));
    let mut client = clearway.client();
    for _ in 0..200 {
        assert_eq!(client.get("/x").status, 502);
    }
    incident(&clearway, "a verdict", |i| i["verdict"].is_object());
    clearway.wait_stderr("\"event\":\"incident_opened\"");
    let probes = clearway
        .metrics()
        .count("clearway_doctor_probes_total", &[]);
    assert!((1..=12).contains(&probes), "{probes}");
    // A look-up or a look at the kernel opens no connection; a probe opens a few at most.
    let extra = server.connections().saturating_sub(200);
    assert!(extra <= 36, "{extra}");
}

#[test]
fn nobody_is_asked_where_probes_are_off() {
    let server = Server::script(behave::close_after_request());
    let clearway = Clearway::start(&watched(server.address(), "probes = false"));
    assert_eq!(clearway.get("/x").status, 502);
    clearway.wait_stderr("\"event\":\"incident_opened\"");
    assert_eq!(server.connections(), 1);
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_doctor_probes_total", &[]),
        0
    );
}

#[test]
fn a_storm_of_failures_stays_bounded_and_healthy_traffic_goes_on() {
    let (address, _guard) = behave::closed_port();
    let healthy = Server::script(behave::ok("well"));
    let text = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n[listener.good]\nbind = \
         \"127.0.0.1:0\"\nbackend = \"well\"\n[backend.app]\nservers = [\"{address}\"]\nretries = {{ max \
         = 0 }}\nejection = \"off\"\n[backend.well]\nservers = [\"{}\"]\n[log]\nfaults = \"off\"\n\
         [incidents]\nprobes = true\n",
        healthy.address()
    );
    let clearway = Clearway::start(&text);
    assert_eq!(clearway.get("/warm").status, 502);
    let wrk = Wrk::start(clearway.address("web"), 32, 100);
    let labels = [("fault", "connect_refused")];
    clearway.wait_metric("clearway_server_faults_total", &labels, 20_000.0);
    let before = clearway.memory();
    let mut good = clearway_testkit::Client::connect(clearway.address("good"));
    clearway.wait_metric("clearway_server_faults_total", &labels, 60_000.0);
    for _ in 0..100 {
        assert_eq!(good.get("/").status, 200);
    }
    let after = clearway.memory();
    drop(wrk.stop());
    // Receipts and cases have their room by now; what comes after them takes none.
    assert!(after < before + (16 << 20), "{before} -> {after}");
    let all = incidents(&clearway);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0]["count"].as_u64().unwrap() > 1_000, "{all:?}");
}
