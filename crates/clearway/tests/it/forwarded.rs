//! What servers are told about the client, and what they are not.

use clearway_testkit::{Clearway, Request, Server, behave};

fn ask(listener: &str, lines: &str) -> Request {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n{listener}\n[backend.app]\nservers = [\"$A\"]\n"
    ))
    .set("A", server.address())
    .start();
    assert_eq!(clearway.client().get_with("/", lines).status, 200);
    server.only()
}

#[test]
fn the_client_is_named_by_default() {
    let request = ask("", "");
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(
        request.header("host"),
        Some("test"),
        "the client's Host stays"
    );
    let via = request.header("via").unwrap_or_default();
    assert!(via.contains("clearway"), "{via}");
}

#[test]
fn headers_of_untrusted_clients_are_replaced() {
    let request = ask(
        "",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 7.7.7.7\r\n\
         X-Forwarded-Host: evil\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n",
    );
    assert_eq!(request.headers.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.headers.all("x-forwarded-proto"), ["http"]);
    let text = request.text();
    assert!(
        !text.contains("6.6.6.6") && !text.contains("evil"),
        "{text}"
    );
}

#[test]
fn headers_of_trusted_clients_are_continued() {
    let request = ask(
        "trusted = [\"127.0.0.0/8\"]\n",
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
    );
    let all = request.headers.all("x-forwarded-for").join(", ");
    assert_eq!(all, "192.0.2.1, 127.0.0.1");
    assert_eq!(request.headers.all("x-forwarded-proto"), ["https"]);
}

#[test]
fn replacing_and_switching_off() {
    let request = ask(
        "trusted = [\"127.0.0.0/8\"]\n[listener.web.forwarded]\nx_forwarded = \"replace\"\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
    );
    assert_eq!(request.headers.all("x-forwarded-for"), ["127.0.0.1"]);
    let request = ask(
        "[listener.web.forwarded]\nx_forwarded = \"off\"\nvia = \"off\"\n",
        "",
    );
    for name in ["x-forwarded-for", "x-forwarded-proto", "via"] {
        assert!(!request.headers.has(name), "{name}: {}", request.text());
    }
}

#[test]
fn the_standard_header_is_sent_where_asked_for() {
    let request = ask("[listener.web.forwarded]\nforwarded = true\n", "");
    let value = request.header("forwarded").unwrap_or_default();
    assert!(
        value.contains("for=127.0.0.1") && value.contains("proto=http"),
        "{value}"
    );
    let request = ask("", "");
    assert!(!request.headers.has("forwarded"));
}

#[test]
fn an_address_from_a_proxy_header_is_the_client() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nproxy_protocol = \"accept\"\ntrusted = [\"127.0.0.1\"]\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let mut client = clearway.client();
    client.send("PROXY TCP6 2001:db8::7 2001:db8::8 1234 80\r\n");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/").status, 200);
    for request in server.seen() {
        let last = request.headers.all("x-forwarded-for").join(", ");
        assert!(last.contains("2001:db8::7"), "{last}");
    }
    let record = clearway.access(|r| r["status"] == 200);
    assert!(record.to_string().contains("2001:db8::7"), "{record}");
}

#[test]
fn loops_are_cut() {
    // A balancer whose server is itself: every pass adds a Via until it has had enough.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .unwrap();
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"$SELF\"\n[backend.app]\nservers = [\"$SELF\"]\n[timeouts]\nresponse = \"10s\"\n",
    )
    .set("SELF", port.to_string())
    .start();
    let response = clearway.get("/");
    assert_eq!(response.status, 502);
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("proxy_loop_detected")
    );
    clearway.fault_with("proxy_loop");
}

#[test]
fn the_port_of_the_listener_is_told() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "");
    clearway.client().get_with("/", "X-Forwarded-Port: 443\r\n");
    let port = clearway.address("web").rsplit(':').next().unwrap();
    assert_eq!(server.only().headers.all("x-forwarded-port"), [port]);
}

#[test]
fn a_field_that_a_rule_sets_is_sent_once_with_its_value() {
    for listener in ["", "trusted = [\"127.0.0.0/8\"]\n"] {
        for (rule, name, value) in [
            (
                "x-forwarded-proto = \"https\"",
                "x-forwarded-proto",
                "https",
            ),
            (
                "X-Forwarded-Proto = \"https\"",
                "x-forwarded-proto",
                "https",
            ),
            ("x-forwarded-port = \"443\"", "x-forwarded-port", "443"),
            (
                "x-forwarded-host = \"public\"",
                "x-forwarded-host",
                "public",
            ),
            ("x-real-ip = \"${client_ip}\"", "x-real-ip", "127.0.0.1"),
        ] {
            let rule = format!("[[listener.web.rule]]\nset_request_headers = {{ {rule} }}\n");
            for lines in [
                "",
                "X-Forwarded-Proto: ftp\r\nX-Forwarded-Port: 7\r\nX-Forwarded-Host: h\r\nX-Real-IP: 1.1.1.1\r\n",
            ] {
                let request = ask(&format!("{listener}{rule}"), lines);
                assert_eq!(
                    request.headers.all(name),
                    [value],
                    "{rule}{}",
                    request.text()
                );
            }
        }
    }
}

/// Fields that look like forwarding fields to servers which read `_` as `-`, and kin.
const LOOKALIKES: &str = "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: gopher\r\n\
                          x_real_ip: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";

#[test]
fn fields_that_resemble_forwarding_fields_are_dropped_when_they_come_from_untrusted_clients() {
    let request = ask("", LOOKALIKES);
    let text = request.text();
    assert!(
        !text.contains("6.6.6.6") && !text.contains("gopher"),
        "{text}"
    );
    assert_eq!(request.headers.all("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn fields_that_resemble_forwarding_fields_pass_when_they_come_from_trusted_clients() {
    let request = ask("trusted = [\"127.0.0.0/8\"]\n", LOOKALIKES);
    for (name, value) in [
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_proto", "gopher"),
        ("x_real_ip", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
    ] {
        assert_eq!(request.headers.all(name), [value], "{}", request.text());
    }
}

#[test]
fn switched_off_fields_are_removed_when_untrusted_and_passed_when_trusted() {
    const SENT: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\n\
                        X-Forwarded-Host: evil\r\nX-Forwarded-Port: 7\r\n\
                        X_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
    let off = "forwarded = { x_forwarded = \"off\" }\n";
    let text = ask(off, SENT).text().to_lowercase();
    assert!(
        !text.contains("forwarded") && !text.contains("6.6.6.6"),
        "{text}"
    );
    let request = ask(&format!("trusted = [\"127.0.0.0/8\"]\n{off}"), SENT);
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "7"),
        ("x-real-ip", "6.6.6.6"),
    ] {
        assert_eq!(request.headers.all(name), [value], "{}", request.text());
    }
}
