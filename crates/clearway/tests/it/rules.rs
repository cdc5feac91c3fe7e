//! What routes and rules change in requests and responses.

use clearway_testkit::{Clearway, Server, behave};

fn started(listener: &str, route: &str) -> (Clearway, Server) {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: secret/1.0\r\nX-Inner: 1\r\n\r\nok",
    ));
    let clearway = Clearway::setup(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n{listener}\n[[route]]\nbackend = \"app\"\n{route}\n\
         [backend.app]\nservers = [\"$A\"]\n"
    ))
    .set("A", server.address())
    .start();
    (clearway, server)
}

#[test]
fn routes_edit_request_headers() {
    let (clearway, server) = started(
        "",
        "set_request_headers = { x-set = \"new\", x-host = \"${host}\" }\n\
         add_request_headers = { x-add = \"more\" }\nremove_request_headers = [\"x-drop\"]\n",
    );
    clearway.client().get_with(
        "/",
        "X-Set: old\r\nX-Set: older\r\nX-Add: first\r\nX-Drop: 1\r\nX-Stay: 1\r\n",
    );
    let request = server.only();
    assert_eq!(request.header("x-set"), Some("new"));
    assert_eq!(request.header("x-host"), Some("test"));
    assert_eq!(request.headers.all("x-add"), ["first", "more"]);
    assert!(!request.headers.has("x-drop"));
    assert_eq!(request.header("x-stay"), Some("1"));
}

#[test]
fn routes_edit_response_headers() {
    let (clearway, _server) = started(
        "",
        "set_response_headers = { x-frame-options = \"DENY\" }\n\
         add_response_headers = { x-inner = \"2\" }\nremove_response_headers = [\"server\"]\n",
    );
    let mut client = clearway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.header("x-frame-options"), Some("DENY"));
        assert_eq!(response.headers.all("x-inner"), ["1", "2"]);
        assert!(!response.headers.has("server"), "{:?}", response.headers);
        assert_eq!(response.text(), "ok");
    }
}

#[test]
fn prefixes_are_stripped() {
    let (clearway, server) = started("", "path = \"/api/\"\nstrip_prefix = \"/api\"\n");
    let mut client = clearway.client();
    for target in ["/api/users?id=1", "/api/"] {
        client.get(target);
    }
    let targets: Vec<String> = server.seen().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/users?id=1", "/"]);
}

#[test]
fn paths_are_rewritten() {
    let (clearway, server) = started("", "rewrite = { prefix = \"/old/\", to = \"/new/\" }\n");
    clearway.get("/old/x%20y?q=1");
    assert_eq!(server.only().target, "/new/x%20y?q=1");
    let (clearway, server) = started(
        "",
        "rewrite = { prefix = \"/old/\", to = \"/${host}/$$/\" }\n",
    );
    clearway.get("/old/x");
    assert_eq!(server.only().target, "/test/$/x");
    let (clearway, server) = started(
        "",
        "rewrite = { regex = \"^/user/([0-9]+)$\", to = \"/profile/$1\" }\n",
    );
    clearway.get("/user/42?tab=a");
    assert_eq!(server.only().target, "/profile/42?tab=a");
}

#[test]
fn values_from_the_request_cannot_break_out_of_a_header() {
    let (clearway, server) = started("", "set_request_headers = { x-path = \"${path}\" }\n");
    let response = clearway.get("/a%0d%0aEvil:%201");
    if response.status == 200 {
        assert!(
            !server.only().headers.has("evil"),
            "{}",
            server.only().text()
        );
    } else {
        assert_eq!(response.status, 500);
        assert_eq!(server.requests(), 0);
    }
}

#[test]
fn listener_rules_deny() {
    let (clearway, server) = started(
        "[[listener.web.rule]]\nwhen = { path = \"/admin/\" }\ndeny = 403\n",
        "",
    );
    let response = clearway.get("/admin/x");
    assert_eq!(response.status, 403);
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("http_request_denied")
    );
    assert_eq!(clearway.fault(&response.id()).code(), "denied");
    assert_eq!(server.requests(), 0);
    assert_eq!(clearway.get("/").status, 200);
}

#[test]
fn listener_rules_apply_before_routes() {
    let (clearway, server) = started(
        "[[listener.web.rule]]\nwhen = { header = { x-debug = true } }\nset_request_headers = { x-seen = \"${client_ip}\" }\n",
        "",
    );
    let mut client = clearway.client();
    client.get_with("/", "X-Debug: 1\r\n");
    client.get("/");
    let seen = server.seen();
    assert_eq!(seen[0].header("x-seen"), Some("127.0.0.1"));
    assert!(
        !seen[1].headers.has("x-seen"),
        "edits do not leak into the next request"
    );
}

#[test]
fn listener_rules_redirect() {
    let (clearway, _server) = started(
        "[[listener.web.rule]]\nwhen = { host = \"test\" }\nredirect = { to = \"https://www.test${target}\", status = 302 }\n",
        "",
    );
    let response = clearway.get("/x?y=1");
    assert_eq!(response.status, 302);
    assert_eq!(response.header("location"), Some("https://www.test/x?y=1"));
}

/// A listener with these rules, whose only routes are for other hosts, and no backend to fall back on.
fn without_a_route(rules: &str) -> (Clearway, Server) {
    let server = Server::script(behave::ok("never"));
    let clearway = Clearway::setup(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n{rules}\n\
         [[route]]\nhost = \"a.elsewhere\"\nbackend = \"a\"\n\
         [[route]]\nhost = \"b.elsewhere\"\nbackend = \"b\"\n\
         [backend.a]\nservers = [\"$A\"]\n[backend.b]\nservers = [\"$A\"]\n"
    ))
    .set("A", server.address())
    .start();
    (clearway, server)
}

#[test]
fn listener_rules_answer_where_no_route_and_no_backend_would() {
    let (clearway, server) = without_a_route(
        "[[listener.web.rule]]\nwhen = { path = \"/old/\" }\nredirect = { to = \"https://${host}${target}\" }\n\
         [[listener.web.rule]]\nwhen = { path = \"/admin/\" }\ndeny = 451\n\
         [[listener.web.rule]]\nwhen = { path = \"/robots.txt\" }\nreply = { body = \"Disallow: /\" }\n",
    );
    let mut client = clearway.client();
    for _ in 0..2 {
        let response = client.get("/old/page?x=1");
        assert_eq!(response.status, 308);
        assert_eq!(
            response.header("location"),
            Some("https://test/old/page?x=1")
        );
        let response = client.get("/admin/x");
        assert_eq!(response.status, 451);
        assert_eq!(
            response.proxy_error().as_deref(),
            Some("http_request_denied")
        );
        assert_eq!(clearway.fault(&response.id()).code(), "denied");
        let response = client.get("/robots.txt");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "Disallow: /")
        );
        let response = client.get("/");
        assert_eq!(response.status, 404, "what no rule answers has no route");
        assert_eq!(clearway.fault(&response.id()).code(), "no_route");
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_listener_that_only_redirects_needs_nothing_else() {
    let clearway = Clearway::start(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[listener.web.rule]]\nredirect = { to = \"https://${host}${target}\", status = 301 }\n",
    );
    let mut client = clearway.client();
    for target in ["/", "/x?y=1"] {
        let response = client.get(target);
        assert_eq!(response.status, 301);
        let to = format!("https://test{target}");
        assert_eq!(response.header("location"), Some(to.as_str()));
    }
    let response = client.post("/form", "a=1");
    assert_eq!(response.status, 301);
    // A body that had not come yet when the answer was written ends the connection.
    if response.header("connection") != Some("close") {
        let next = client.get("/").status;
        assert_eq!(next, 301, "the body was not taken for a request");
    }
    assert!(clearway.faults().is_empty());
}

#[test]
fn questions_see_what_the_listener_has_made_of_a_request() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[[listener.web.rule]]\n\
         remove_request_headers = [\"x-user\"]\nset_request_headers = { x-seen = \"1\" }\n\
         [[route]]\npath = \"/auth\"\nbackend = \"app\"\n[[route]]\nbackend = \"app\"\nask = { path = \"/auth\" }\n\
         set_request_headers = { x-route = \"1\" }\n[backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let lines = "X-User: root\r\nX-Own: 1\r\nX-Hop: 1\r\nConnection: x-hop\r\n";
    assert_eq!(clearway.client().get_with("/", lines).status, 200);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    for (request, of_route) in seen.iter().zip([false, true]) {
        assert_eq!(request.header("x-user"), None);
        assert_eq!(request.header("x-hop"), None);
        assert_eq!(request.headers.all("x-seen"), ["1"]);
        assert_eq!(request.headers.all("x-own"), ["1"]);
        assert_eq!(request.header("x-route").is_some(), of_route);
    }
}
