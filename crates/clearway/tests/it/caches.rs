//! Responses that are kept and given again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clearway_testkit::h2::RawClient;
use clearway_testkit::{Clearway, Client, Gate, Server, behave};

fn over(server: &Server, more: &str) -> Clearway {
    Clearway::setup(&format!(
        "[cache.pages]\nsize = \"1MiB\"\nmax_object = \"64KiB\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n[[route]]\n\
         backend = \"app\"\nset_response_headers = {{ x-cache = \"${{var:cache_status}}\" }}\n\
         cache = {{ store = \"pages\" }}\nretries = {{ max = 0 }}\n{more}\n\
         [backend.app]\nservers = [\"$A\"]\n"
    ))
    .set("A", server.address())
    .start()
}

fn answer(lines: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What became of a request, and its body.
fn got(client: &mut Client, target: &str, lines: &str) -> (u16, String, String) {
    let response = client.get_with(target, lines);
    let status = response.header("x-cache").unwrap_or_default().to_owned();
    (response.status, status, response.text())
}

#[test]
fn what_is_kept_is_given_again_whole_and_in_part() {
    let lines = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\nContent-Type: text/plain\r\n";
    let server = Server::script(behave::answer(answer(lines, "0123456789")));
    let clearway = over(&server, "");
    let mut client = clearway.client();
    let whole = || (200, "HIT".to_owned(), "0123456789".to_owned());
    assert_eq!(got(&mut client, "/a", "").1, "MISS");
    assert_eq!(got(&mut client, "/a", ""), whole());
    assert_eq!(got(&mut client, "/a?b", "").1, "MISS");
    let part = client.get_with("/a", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(client.get_with("/a", "Range: bytes=20-\r\n").status, 416);
    let same = client.get_with("/a", "If-None-Match: \"v1\"\r\n");
    assert_eq!((same.status, same.header("etag")), (304, Some("\"v1\"")));
    client.send("HEAD /a HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = client.response("HEAD");
    assert_eq!(head.header("content-length"), Some("10"));
    assert_eq!(head.header("x-cache"), Some("HIT"));
    assert!(head.header("age").is_some());
    assert_eq!(
        got(&mut client, "/a", "Cache-Control: no-cache\r\n").1,
        "BYPASS"
    );
    assert_eq!(client.post("/a", "x").header("x-cache"), None);
    assert_eq!(got(&mut client, "/a", ""), whole());
    let mut h2 = RawClient::connect(clearway.address("web"));
    assert_eq!(h2.get("/a").text(), "0123456789");
}

#[test]
fn chunks_are_kept_bare_and_large_bodies_not_at_all() {
    let large = "x".repeat(100_000);
    let server = Server::script(move |mut conn| {
        while let Some(request) = conn.request() {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=9\r\n";
            if request.target == "/chunks" {
                conn.send(format!(
                    "{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
                ));
                conn.send("2\r\nde\r\n0\r\n\r\n");
            } else {
                conn.send(format!(
                    "{head}Transfer-Encoding: chunked\r\n\r\n186a0\r\n{large}\r\n0\r\n\r\n"
                ));
            }
        }
    });
    let clearway = over(&server, "");
    let mut client = clearway.client();
    for status in ["MISS", "HIT"] {
        let wanted = (200, status.to_owned(), "abcde".to_owned());
        assert_eq!(got(&mut client, "/chunks", ""), wanted);
    }
    for _ in 0..2 {
        let (_, status, body) = got(&mut client, "/large", "");
        assert_eq!((status.as_str(), body.len()), ("MISS", 100_000));
    }
}

#[test]
fn what_servers_see_of_the_host_tells_responses_apart() {
    let server = Server::script(|mut conn| {
        while let Some(request) = conn.request() {
            let host = request.header("host").unwrap_or_default().to_owned();
            conn.send(answer("Cache-Control: max-age=60\r\n", &host));
        }
    });
    let clearway = over(&server, "");
    let mut client = clearway.client();
    for host in ["a.test", "a.test:8080", "a.test.", "b.test"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response("GET").text(), host);
    }
    let clearway = over(&server, "set_host = \"${header:x-h}.test\"");
    let mut client = clearway.client();
    for name in ["x", "y"] {
        let response = client.get_with("/", &format!("X-H: {name}\r\n"));
        assert_eq!(response.text(), format!("{name}.test"));
    }
}

#[test]
fn methods_are_told_apart_whatever_the_key_holds() {
    let server = Server::script(|mut conn| {
        while let Some(request) = conn.request() {
            let text = answer("Cache-Control: max-age=60\r\n", &request.method);
            conn.send(text);
        }
    });
    let clearway = Clearway::setup(
        "[cache.pages]\nsize = \"1MiB\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n[[route]]\nbackend = \"app\"\n\
         cache = { store = \"pages\", key = \"${header:x|url_dec}\", methods = [\"GET\", \"POST\"] }\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let mut client = clearway.client();
    for (method, key) in [
        ("POST", "a"),
        ("GET", "a POST"),
        ("GET", "a%00POST"),
        ("GET", "a"),
    ] {
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: test\r\nX: {key}\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(client.response(method).text(), method, "{key}");
    }
}

#[test]
fn a_renewed_response_is_as_old_as_the_answer_says() {
    let times = AtomicUsize::new(0);
    let server = Server::script(move |mut conn| {
        while conn.request().is_some() {
            let head = "HTTP/1.1 304 Same\r\nETag: \"a\"\r\nAge: 7\r\nCache-Control: ";
            conn.send(match times.fetch_add(1, Ordering::SeqCst) {
                0 => answer("Cache-Control: max-age=1\r\nETag: \"a\"\r\n", "kept"),
                1 => format!("{head}no-cache\r\n\r\n"),
                _ => format!("{head}max-age=60\r\n\r\n"),
            });
        }
    });
    let clearway = over(&server, "");
    let mut client = clearway.client();
    assert_eq!(got(&mut client, "/", "").1, "MISS");
    for _ in 0..2 {
        let mut response = client.get("/");
        while response.header("x-cache") == Some("HIT") {
            response = client.get("/");
        }
        assert_eq!(response.header("x-cache"), Some("REVALIDATED"));
        assert_eq!(response.header("age"), Some("7"));
    }
    let again = client.get("/");
    assert_eq!(again.header("x-cache"), Some("HIT"));
    let age: u64 = again.header("age").unwrap().parse().unwrap();
    assert!((7..60).contains(&age), "{age}");
}

#[test]
fn variants_do_not_wait_for_each_other_one_by_one() {
    let (first, rest) = (Gate::new(), Gate::new());
    let (one, others) = (first.clone(), rest.clone());
    let times = AtomicUsize::new(0);
    let server = Server::script(move |mut conn| {
        while let Some(request) = conn.request() {
            match times.fetch_add(1, Ordering::SeqCst) {
                0 => one.wait(),
                _ => others.wait(),
            }
            let body = request.header("x").unwrap_or_default().to_owned();
            conn.send(answer("Cache-Control: max-age=60\r\nVary: X\r\n", &body));
        }
    });
    let clearway = over(&server, "");
    let mut clients: Vec<Client> = (0..4).map(|_| clearway.client()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {at}\r\n\r\n"));
        if at == 0 {
            server.wait_requests(1);
        }
    }
    first.open();
    assert_eq!(clients[0].response("GET").text(), "0");
    server.wait_requests(4);
    rest.open();
    for (at, client) in clients.iter_mut().enumerate().skip(1) {
        assert_eq!(client.response("GET").text(), at.to_string());
    }
}

/// Over a server with another one for errors, at `/sorry`.
fn with_sorry(server: &str, sorry: &Server, more: &str) -> Clearway {
    Clearway::setup(&format!(
        "[cache.pages]\nsize = \"1MiB\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/sorry\"\nbackend = \"sorry\"\nretries = {{ max = 0 }}\n\
         [[route]]\nbackend = \"app\"\nretries = {{ max = 0 }}\n\
         set_response_headers = {{ x-cache = \"${{var:cache_status}}\" }}\n\
         cache = {{ store = \"pages\"{more} }}\n\
         on_error = [{{ status = [502, 503, 404], to = \"/sorry\", send = 0, of_servers = true }}]\n\
         [backend.app]\nservers = [\"$A\"]\nejection = \"off\"\n\
         [backend.sorry]\nservers = [\"$B\"]\n"
    ))
    .set("A", server)
    .set("B", sorry.address())
    .start()
}

#[test]
fn what_another_route_answers_for_an_error_is_not_kept_in_its_place() {
    let sorry = Server::script(behave::answer(answer(
        "Cache-Control: max-age=60\r\n",
        "sorry",
    )));
    let server = Server::script(behave::answer(behave::response(404, "none")));
    let (closed, _held) = behave::closed_port();
    for app in [server.address(), &closed] {
        let clearway = with_sorry(app, &sorry, "");
        let mut client = clearway.client();
        for times in 1..4 {
            assert_eq!(client.get("/a").text(), "sorry");
            assert_eq!(sorry.requests() % 3, times % 3, "{app}");
        }
    }
}

#[test]
fn another_route_hears_what_the_client_asked_not_what_the_cache_did() {
    let times = AtomicUsize::new(0);
    let server = Server::script(move |mut conn| {
        while conn.request().is_some() {
            conn.send(match times.fetch_add(1, Ordering::SeqCst) {
                0 => answer("Cache-Control: max-age=1\r\nETag: \"a\"\r\n", "first"),
                _ => behave::response(503, "no"),
            });
        }
    });
    let sorry = Server::script(behave::ok("sorry"));
    let clearway = with_sorry(server.address(), &sorry, "");
    let mut client = clearway.client();
    let mut found = client.get("/a").text();
    while found == "first" {
        found = client
            .get_with("/a", "If-None-Match: \"mine\"\r\nRange: bytes=0-\r\n")
            .text();
    }
    assert_eq!(found, "sorry");
    let last = server.seen().pop().unwrap();
    assert_eq!(last.header("if-none-match"), Some("\"a\""));
    let heard = sorry.only();
    assert_eq!(heard.headers.all("if-none-match"), ["\"mine\""]);
    assert_eq!(heard.headers.all("range"), ["bytes=0-"]);
}

#[test]
fn what_is_stale_is_given_when_no_server_is_left() {
    let lines = "Cache-Control: max-age=1, stale-if-error=600\r\n";
    let server = Server::script(behave::answer(answer(lines, "kept")));
    let clearway = Clearway::setup(
        "[cache.pages]\nsize = \"1MiB\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n[[route]]\n\
         backend = \"app\"\nset_response_headers = { x-cache = \"${var:cache_status}\" }\n\
         cache = { store = \"pages\" }\n[backend.app]\nservers = [\"$A\"]\n\
         health = { kind = \"tcp\", interval = \"50ms\", fast_interval = \"50ms\" }\n",
    )
    .set("A", server.address())
    .start();
    let mut client = clearway.client();
    assert_eq!(got(&mut client, "/", "").1, "MISS");
    let address = server.address().to_owned();
    server.stop();
    clearway.wait_state(&address, &["down"]);
    let mut found = got(&mut client, "/", "");
    while found.1 == "HIT" {
        found = got(&mut client, "/", "");
    }
    assert_eq!(found, (200, "STALE".to_owned(), "kept".to_owned()));
}

#[test]
fn what_is_stale_is_given_before_another_route_answers() {
    let times = AtomicUsize::new(0);
    let server = Server::script(move |mut conn| {
        while conn.request().is_some() {
            conn.send(match times.fetch_add(1, Ordering::SeqCst) {
                0 => answer("Cache-Control: max-age=1\r\n", "first"),
                _ => behave::response(503, "no"),
            });
        }
    });
    let sorry = Server::script(behave::ok("sorry"));
    let clearway = with_sorry(server.address(), &sorry, ", use_stale = [\"http_503\"]");
    let mut client = clearway.client();
    assert_eq!(got(&mut client, "/a", "").1, "MISS");
    let mut found = got(&mut client, "/a", "");
    while found.1 == "HIT" {
        found = got(&mut client, "/a", "");
    }
    assert_eq!(found, (200, "STALE".to_owned(), "first".to_owned()));
    assert_eq!(sorry.requests(), 0);
}

#[test]
fn one_asks_while_others_wait() {
    let gate = Gate::new();
    let next = gate.clone();
    let server = Server::script(move |mut conn| {
        while conn.request().is_some() {
            next.wait();
            conn.send(answer("Cache-Control: max-age=60\r\n", "once"));
        }
    });
    let clearway = over(&server, "");
    let mut clients: Vec<Client> = (0..8).map(|_| clearway.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    server.wait_requests(1);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "once");
    }
    assert_eq!(server.requests(), 1);
}

#[test]
fn what_is_stale_is_asked_for_given_when_the_server_fails_and_renewed() {
    let times = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&times);
    let server = Server::script(move |mut conn| {
        while let Some(request) = conn.request() {
            // Fresh for no time but what the operator adds: stale with the next second.
            let lines = "Cache-Control: max-age=1, stale-if-error=600\r\nETag: \"a\"\r\n";
            let text = match seen.fetch_add(1, Ordering::SeqCst) {
                0 => answer(lines, "first"),
                1 => "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno".to_owned(),
                2 => return,
                _ if request.headers.get("if-none-match") == Some("\"a\"") => {
                    let head = "HTTP/1.1 304 Same\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n";
                    format!("{head}\r\n")
                }
                _ => answer(lines, "again"),
            };
            conn.send(text);
        }
    });
    let clearway = over(&server, "");
    let mut client = clearway.client();
    assert_eq!(got(&mut client, "/", "").1, "MISS");
    let first = |status: &str| (200, status.to_owned(), "first".to_owned());
    // Until the second is over.
    let mut found = got(&mut client, "/", "");
    while found.1 == "HIT" {
        found = got(&mut client, "/", "");
    }
    assert_eq!(found, first("STALE"));
    assert_eq!(got(&mut client, "/", ""), first("STALE"));
    let renewed = got(&mut client, "/", "If-None-Match: \"other\"\r\n");
    assert_eq!(renewed, first("REVALIDATED"));
    assert_eq!(got(&mut client, "/", ""), first("HIT"));
    assert_eq!(times.load(Ordering::SeqCst), 4);
}

#[test]
fn a_kept_response_is_coded_for_each_client_and_a_cut_one_is_not_kept() {
    let text = "some text ".repeat(500);
    let body = answer(
        "Cache-Control: max-age=60\r\nContent-Type: text/plain\r\n",
        &text,
    );
    let server = Server::script(behave::answer(body));
    let clearway = over(&server, "compression = { algorithms = [\"gzip\"] }");
    let mut client = clearway.client();
    for status in ["MISS", "HIT"] {
        let coded = client.get_with("/", "Accept-Encoding: gzip\r\n");
        assert_eq!(coded.header("content-encoding"), Some("gzip"));
        assert_eq!(coded.header("x-cache"), Some(status));
    }
    assert_eq!(got(&mut client, "/", ""), (200, "HIT".to_owned(), text));
    let cut = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nhalf";
    let server = Server::script(behave::answer_and_close(cut));
    let clearway = over(&server, "");
    for _ in 0..2 {
        let mut client = clearway.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.response_head().header("x-cache"), Some("MISS"));
    }
}
