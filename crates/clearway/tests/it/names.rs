//! Servers that are named and not numbered.

use clearway_testkit::clearway::simple;
use clearway_testkit::dns::{Answer, Data, NameServer};
use clearway_testkit::{Clearway, Server, behave, wait};

/// Two servers on the same port of two loopback addresses.
fn twins() -> (Server, Server, String) {
    loop {
        let one = Server::script(behave::ok("one"));
        let port = one
            .address()
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        let address = format!("127.0.0.2:{port}");
        if std::net::TcpListener::bind(&address).is_ok() {
            return (one, Server::script_at(&address, behave::ok("two")), port);
        }
    }
}

fn resolver(names: &NameServer) -> String {
    format!(
        "[resolver]\nservers = [{:?}]\ntimeout = \"300ms\"\nattempts = 1\nmin_ttl = \"100ms\"\nnegative_ttl = \"100ms\"\n",
        names.address()
    )
}

fn answered(clearway: &Clearway, count: usize) -> Vec<String> {
    let mut client = clearway.client();
    let mut names: Vec<String> = (0..count).map(|_| client.get("/").text()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_address_of_a_name_is_a_server() {
    let (_one, _two, port) = twins();
    let names = NameServer::start();
    names.set("app.test", Answer::a(60, &["127.0.0.1", "127.0.0.2"]));
    let clearway = Clearway::over(&[&format!("app.test:{port}")], &resolver(&names));
    wait::until("both addresses", || {
        (answered(&clearway, 10) == ["one", "two"]).then_some(())
    });
}

#[test]
fn a_change_is_followed_when_the_time_to_live_is_over() {
    let (_one, _two, port) = twins();
    let names = NameServer::start();
    names.set("app.test", Answer::a(0, &["127.0.0.1"]));
    let clearway = Clearway::over(&[&format!("app.test:{port}")], &resolver(&names));
    wait::until("the first address", || {
        (answered(&clearway, 2) == ["one"]).then_some(())
    });
    names.set("app.test", Answer::a(0, &["127.0.0.2"]));
    wait::until("the second address", || {
        (answered(&clearway, 4) == ["two"]).then_some(())
    });
    assert!(
        clearway
            .faults()
            .iter()
            .all(|f| f.status() < 500 || f.code() == "name_unresolved")
    );
}

#[test]
fn the_last_known_addresses_are_kept_when_the_resolver_fails() {
    let (_one, _two, port) = twins();
    let names = NameServer::start();
    names.set("app.test", Answer::a(0, &["127.0.0.1"]));
    let clearway = Clearway::over(&[&format!("app.test:{port}")], &resolver(&names));
    wait::until("the address", || {
        (answered(&clearway, 2) == ["one"]).then_some(())
    });
    for broken in [Answer::Code(2), Answer::Silence, Answer::Code(3)] {
        names.set("app.test", broken.clone());
        let asked = names.asked("app.test");
        names.wait_asked("app.test", asked + 3);
        assert_eq!(answered(&clearway, 4), ["one"], "{broken:?}");
    }
}

#[test]
fn a_refused_reload_forgets_no_address() {
    let (_one, _two, port) = twins();
    let names = NameServer::start();
    names.set("app.test", Answer::a(0, &["127.0.0.1"]));
    let clearway = Clearway::over(&[&format!("app.test:{port}")], &resolver(&names));
    wait::until("the address", || {
        (answered(&clearway, 2) == ["one"]).then_some(())
    });
    names.set("app.test", Answer::Code(2));
    // It is a file and cannot be read: refused although the configuration has no mistake.
    let page = "[errors]\n\"502\" = { file = \"/proc/self/mem\" }\n";
    let other = simple(&["127.0.0.1:1"], &resolver(&names));
    assert_eq!(clearway.reload(&format!("{other}{page}")), "failed");
    clearway.wait_stderr("/proc/self/mem");
    names.wait_asked("app.test", names.asked("app.test") + 3);
    assert_eq!(answered(&clearway, 4), ["one"]);
}

#[test]
fn a_name_that_does_not_exist_is_explained_and_asked_for_again() {
    let (_one, _two, port) = twins();
    let names = NameServer::start();
    let clearway = Clearway::over(&[&format!("app.test:{port}")], &resolver(&names));
    names.wait_asked("app.test", 0);
    let response = clearway.get("/");
    assert_eq!(response.status, 502);
    assert_eq!(response.proxy_error().as_deref(), Some("dns_error"));
    let record = clearway.fault(&response.id());
    assert_eq!(record.code(), "name_unresolved");
    assert!(clearway.servers().to_string().contains("app.test"));
    names.set("app.test", Answer::a(1, &["127.0.0.1"]));
    wait::until("the name to resolve", || {
        (clearway.get("/").status == 200).then_some(())
    });
}

#[test]
fn a_silent_resolver_is_a_timeout() {
    let names = NameServer::start();
    names.set("app.test", Answer::Silence);
    let clearway = Clearway::over(&["app.test:80"], &resolver(&names));
    names.wait_asked("app.test", 1);
    wait::until("the fault to be told", || {
        let response = clearway.get("/");
        assert!(matches!(response.status, 502..=504), "{}", response.status);
        (clearway.fault(&response.id()).code() == "name_timeout").then_some(())
    });
}

#[test]
fn services_give_ports_and_weights() {
    let one = Server::script(behave::ok("one"));
    let two = Server::script(behave::ok("two"));
    let port = |s: &Server| {
        s.address()
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .parse()
            .unwrap_or(0)
    };
    let names = NameServer::start();
    names.set("a.test", Answer::a(60, &["127.0.0.1"]));
    let (one, two) = (port(&one), port(&two));
    let services = |(priority, weight), (other_priority, other_weight)| {
        let services = [
            Data::Srv(priority, weight, one, "a.test".to_owned()),
            Data::Srv(other_priority, other_weight, two, "a.test".to_owned()),
        ];
        names.set("_http._tcp.app.test", Answer::Records(0, services.into()));
    };
    services((1, 10), (1, 10));
    let clearway = Clearway::over(&["srv:_http._tcp.app.test"], &resolver(&names));
    let share_of_one = || {
        let mut client = clearway.client();
        let answers = (0..20).map(|_| client.get("/").text());
        answers.filter(|name| name == "one").count()
    };
    let wait_share = |wanted| {
        wait::until("the services' shares", || {
            (share_of_one() == wanted).then_some(())
        });
    };
    wait_share(10);
    // The same addresses with other weights, then with another priority.
    services((1, 90), (1, 10));
    wait_share(18);
    services((2, 90), (1, 10));
    wait_share(0);
}

#[test]
fn the_names_of_the_host_work() {
    // `localhost` is in every /etc/hosts.
    let server = Server::script(behave::ok("local"));
    let port = server
        .address()
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let clearway = Clearway::over(&[&format!("localhost:{port}")], "");
    wait::until("localhost", || {
        let response = clearway.get("/");
        (response.status == 200).then_some(())
    });
}
