//! Servers that requests name themselves.

use clearway_testkit::dns::{Answer, NameServer};
use clearway_testkit::{Clearway, Server, behave};

fn setup(to: &str, rest: &str) -> Clearway {
    Clearway::setup(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"any\"\n\
         [backend.any]\nservers = []\nby_request = {{ to = \"{to}\", {rest} }}\n"
    ))
    .start()
}

#[test]
fn a_request_names_its_server() {
    let servers = [
        Server::script(behave::ok("a")),
        Server::script(behave::ok("b")),
    ];
    let clearway = setup("${header:x-to}", "networks = [\"127.0.0.0/8\"]");
    let mut client = clearway.client();
    let mut ask = |to: &str| client.get_with("/", &format!("X-To: {to}\r\n"));
    for (server, text) in servers
        .iter()
        .zip(["a", "b"])
        .chain(servers.iter().zip(["a", "b"]))
    {
        assert_eq!(ask(server.address()).text(), text);
    }
    // Nobody may be led elsewhere.
    for other in [
        "10.0.0.1:80",
        "example.org",
        "unix:/run/x",
        "",
        "localhost:1",
    ] {
        assert_eq!(ask(other).status, 502, "{other}");
    }
}

#[test]
fn names_are_looked_up_where_they_are_allowed() {
    let server = Server::script(behave::ok("a"));
    let port = server
        .address()
        .rsplit_once(':')
        .map(|(_, port)| port.to_owned());
    let port = port.unwrap_or_default();
    let rest = format!("names = [\"localhost\"], port = {port}, ipv6 = false, set_host = true");
    let clearway = setup("${header:x-to}", &rest);
    let mut client = clearway.client();
    let mut ask = |to: &str| client.get_with("/", &format!("X-To: {to}\r\n"));
    assert_eq!(ask("localhost").text(), "a");
    assert_eq!(ask("LOCALHOST.").text(), "a");
    assert_eq!(ask("127.0.0.1").status, 502);
}

#[test]
fn no_more_servers_are_remembered_than_the_bound_says() {
    let server = Server::script(behave::ok("a"));
    let address = server.address().to_owned();
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.to_owned())
        .unwrap_or_default();
    let clearway = setup("${header:x-to}", "networks = [\"127.0.0.0/8\"], max = 2");
    let mut client = clearway.client();
    for last in 1..20 {
        // Only the first has somebody who listens.
        let to = format!("127.0.0.{last}:{port}");
        let status = client.get_with("/", &format!("X-To: {to}\r\n")).status;
        assert_eq!(status, if last == 1 { 200 } else { 502 });
    }
}

#[test]
fn known_addresses_are_used_while_looking_up_takes_too_long() {
    let server = Server::script(behave::ok("a"));
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let names = NameServer::start();
    names.set("app.test", Answer::a(0, &["127.0.0.1"]));
    // One worker: each has to learn of an address first.
    let clearway = Clearway::start(&format!(
        "[process]\nworkers = 1\n[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"any\"\n\
         [backend.any]\nservers = []\nby_request = {{ to = \"app.test\", names = [\"app.test\"], port = {port}, \
         ipv6 = false, valid = \"10ms\", resolvers = [\"{}\"], resolve_timeout = \"300ms\" }}\n",
        names.address()
    ));
    assert_eq!(clearway.get("/").text(), "a");
    names.set("app.test", Answer::Silence);
    let asked = names.asked("app.test");
    while names.asked("app.test") == asked {
        assert_eq!(clearway.get("/").text(), "a");
    }
    // It is not waited for again at once.
    let asked = names.asked("app.test");
    for _ in 0..5 {
        assert_eq!(clearway.get("/").text(), "a");
    }
    assert_eq!(names.asked("app.test"), asked);
}

#[test]
fn names_lead_into_the_networks_alone() {
    let server = Server::script(behave::ok("inside"));
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let names = NameServer::start();
    names.set("near.test", Answer::a(60, &["127.0.0.1"]));
    names.set("far.test", Answer::a(60, &["127.1.0.1"]));
    let allowed = format!(
        "names = [\"*.test\"], networks = [\"127.0.0.0/16\"], port = {port}, ipv6 = false, resolvers = [\"{}\"]",
        names.address()
    );
    let clearway = setup("${header:x-to}", &allowed);
    let mut client = clearway.client();
    let near = client.get_with("/", "X-To: near.test\r\n");
    assert_eq!(near.text(), "inside");
    let far = client.get_with("/", "X-To: far.test\r\n");
    assert_eq!(clearway.fault(&far.id()).code(), "name_unresolved");
}
