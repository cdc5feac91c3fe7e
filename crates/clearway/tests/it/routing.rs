//! Which request goes to which backend.

use clearway_testkit::{Clearway, Client, Server, behave};

/// A balancer with backends `one`, `two` and `three`, whose servers say their names, and these
/// routes.
struct Routed {
    clearway: Clearway,
    _servers: [Server; 3],
}

impl Routed {
    fn with(routes: &str) -> Self {
        let servers = ["one", "two", "three"].map(|name| Server::script(behave::ok(name)));
        let text = format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\n{routes}\n\
             [backend.one]\nservers = [\"{}\"]\n[backend.two]\nservers = [\"{}\"]\n\
             [backend.three]\nservers = [\"{}\"]\n",
            servers[0].address(),
            servers[1].address(),
            servers[2].address()
        );
        Self {
            clearway: Clearway::start(&text),
            _servers: servers,
        }
    }

    /// The body of the response to a request with this request line and these header lines, or
    /// its status when it is not 200.
    fn ask(&self, method: &str, target: &str, lines: &str) -> String {
        let mut client = self.clearway.client();
        client.send(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n"));
        let response = client.response(method);
        if response.status == 200 {
            response.text()
        } else {
            response.status.to_string()
        }
    }

    fn get(&self, target: &str) -> String {
        self.ask("GET", target, "Host: test\r\n")
    }

    fn host(&self, host: &str) -> String {
        self.ask("GET", "/", &format!("Host: {host}\r\n"))
    }
}

#[test]
fn hosts_exact_and_wildcard() {
    let routed = Routed::with(
        "[[route]]\nhost = \"a.test\"\nbackend = \"one\"\n\
         [[route]]\nhost = [\"b.test\", \"*.b.test\"]\nbackend = \"two\"\n",
    );
    assert_eq!(routed.host("a.test"), "one");
    assert_eq!(routed.host("A.Test:8080"), "one");
    assert_eq!(routed.host("b.test"), "two");
    assert_eq!(routed.host("x.b.test"), "two");
    assert_eq!(routed.host("xb.test"), "404");
    assert_eq!(routed.host("other.test"), "404");
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host() {
    let routed = Routed::with("[[route]]\nhost = \"a.test\"\nbackend = \"one\"\n");
    assert_eq!(
        routed.ask("GET", "http://a.test/x", "Host: a.test\r\n"),
        "one"
    );
}

#[test]
fn no_route_has_a_name() {
    let routed = Routed::with("[[route]]\nhost = \"a.test\"\nbackend = \"one\"\n");
    let response = routed.clearway.get("/nowhere");
    assert_eq!(response.status, 404);
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("destination_not_found")
    );
    assert!(!response.closes());
    assert_eq!(routed.clearway.fault(&response.id()).code(), "no_route");
}

#[test]
fn paths_exact_prefix_and_regex() {
    let routed = Routed::with(
        "[[route]]\npath = \"/exact\"\nbackend = \"one\"\n\
         [[route]]\npath = \"/api/\"\nbackend = \"two\"\n\
         [[route]]\npath = \"~ ^/img/[0-9]+$\"\nbackend = \"three\"\n",
    );
    for (target, expected) in [
        ("/exact", "one"),
        ("/exact?q=1", "one"),
        ("/exact/", "404"),
        ("/api/x", "two"),
        ("/api/", "two"),
        ("/apix", "404"),
        ("/img/12", "three"),
        ("/img/x", "404"),
        ("/", "404"),
    ] {
        assert_eq!(routed.get(target), expected, "{target}");
    }
}

#[test]
fn paths_are_compared_in_normal_form() {
    let routed = Routed::with(
        "[[route]]\npath = \"/private/\"\nbackend = \"one\"\n[[route]]\nbackend = \"two\"\n",
    );
    for target in [
        "/private/x",
        "/%70rivate/x",
        "/a/../private/x",
        "/./private/x",
        "/private/../private/x",
    ] {
        assert_eq!(routed.get(target), "one", "{target}");
    }
    for target in ["/private/../x", "/public/..%2fprivate/x"] {
        assert_eq!(routed.get(target), "two", "{target}");
    }
}

#[test]
fn the_first_route_that_matches_wins() {
    let routed = Routed::with(
        "[[route]]\npath = \"/a/b/\"\nbackend = \"one\"\n\
         [[route]]\npath = \"/a/\"\nbackend = \"two\"\n\
         [[route]]\nbackend = \"three\"\n",
    );
    assert_eq!(routed.get("/a/b/c"), "one");
    assert_eq!(routed.get("/a/c"), "two");
    assert_eq!(routed.get("/"), "three");
}

#[test]
fn methods_headers_cookies_and_queries() {
    let routed = Routed::with(
        "[[route]]\nmethod = [\"POST\", \"PUT\"]\nbackend = \"one\"\n\
         [[route]]\nheader = { x-version = \"2\" }\nbackend = \"two\"\n\
         [[route]]\nheader = { x-beta = \"~ ^y\" }\nbackend = \"two\"\n\
         [[route]]\ncookie = { user = \"ann\" }\nbackend = \"three\"\n\
         [[route]]\nquery = { v = \"3\" }\nbackend = \"three\"\n",
    );
    assert_eq!(
        routed.ask("POST", "/", "Host: test\r\nContent-Length: 0\r\n"),
        "one"
    );
    assert_eq!(
        routed.ask("GET", "/", "Host: test\r\nX-Version: 2\r\n"),
        "two"
    );
    assert_eq!(
        routed.ask("GET", "/", "Host: test\r\nX-Version: 3\r\n"),
        "404"
    );
    assert_eq!(
        routed.ask("GET", "/", "Host: test\r\nX-Beta: yes\r\n"),
        "two"
    );
    assert_eq!(
        routed.ask("GET", "/", "Host: test\r\nX-Beta: no\r\n"),
        "404"
    );
    assert_eq!(
        routed.ask("GET", "/", "Host: test\r\nCookie: a=b; user=ann\r\n"),
        "three"
    );
    assert_eq!(
        routed.ask("GET", "/", "Host: test\r\nCookie: xuser=ann\r\n"),
        "404"
    );
    assert_eq!(routed.get("/?a=1&v=3"), "three");
    assert_eq!(routed.get("/?v=33"), "404");
}

#[test]
fn source_addresses() {
    let routed = Routed::with(
        "[[route]]\nsource = [\"127.0.0.2/32\"]\nbackend = \"one\"\n[[route]]\nbackend = \"two\"\n",
    );
    let from = |source: [u8; 4]| {
        let address = routed.clearway.address("web");
        Client::connect_from(source.into(), address).get("/").text()
    };
    assert_eq!(from([127, 0, 0, 2]), "one");
    assert_eq!(from([127, 0, 0, 1]), "two");
}

#[test]
fn listeners_choose_routes() {
    let server = Server::script(behave::ok("one"));
    let other = Server::script(behave::ok("two"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[listener.inner]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\nlisteners = [\"inner\"]\nbackend = \"two\"\n[[route]]\nbackend = \"one\"\n\
         [backend.one]\nservers = [\"$A\"]\n[backend.two]\nservers = [\"$B\"]\n",
    )
    .set("A", server.address())
    .set("B", other.address())
    .start();
    assert_eq!(
        Client::connect(clearway.address("web")).get("/").text(),
        "one"
    );
    assert_eq!(
        Client::connect(clearway.address("inner")).get("/").text(),
        "two"
    );
}

#[test]
fn the_backend_of_a_listener_is_its_default() {
    let routed = {
        let server = Server::script(behave::ok("one"));
        let other = Server::script(behave::ok("two"));
        let clearway = Clearway::setup(
            "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"two\"\n\
             [[route]]\npath = \"/one\"\nbackend = \"one\"\n\
             [backend.one]\nservers = [\"$A\"]\n[backend.two]\nservers = [\"$B\"]\n",
        )
        .set("A", server.address())
        .set("B", other.address())
        .start();
        (clearway, server, other)
    };
    assert_eq!(routed.0.get("/one").text(), "one");
    assert_eq!(routed.0.get("/else").text(), "two");
}

#[test]
fn redirects_and_replies_need_no_server() {
    let routed = Routed::with(
        "[[route]]\npath = \"/old/\"\nredirect = { to = \"https://${host}${path}\", status = 301 }\n\
         [[route]]\npath = \"/go\"\nredirect = { to = \"/there\" }\n\
         [[route]]\npath = \"/robots.txt\"\nreply = { status = 200, body = \"Disallow: /\", content_type = \"text/plain\" }\n",
    );
    let mut client = routed.clearway.client();
    let response = client.get("/old/page");
    assert_eq!(
        (response.status, response.header("location")),
        (301, Some("https://test/old/page"))
    );
    let response = client.get("/go");
    assert_eq!(
        (response.status, response.header("location")),
        (308, Some("/there"))
    );
    let response = client.get("/robots.txt");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "Disallow: /")
    );
    assert!(
        response
            .header("content-type")
            .is_some_and(|t| t.starts_with("text/plain"))
    );
    assert!(routed.clearway.faults().is_empty());
}

#[test]
fn a_thousand_hosts_are_told_apart() {
    let many: String = (0..1000)
        .map(|n| {
            let backend = ["one", "two", "three"][n % 3];
            format!("[[route]]\nhost = \"h{n}.test\"\nbackend = \"{backend}\"\n")
        })
        .collect();
    let routed = Routed::with(&many);
    for n in [0, 1, 2, 500, 998, 999] {
        assert_eq!(
            routed.host(&format!("h{n}.test")),
            ["one", "two", "three"][n % 3]
        );
    }
    assert_eq!(routed.host("h1000.test"), "404");
}
