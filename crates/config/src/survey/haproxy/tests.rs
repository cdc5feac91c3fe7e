//! Small configurations of HAProxy and what is read from them.

use std::time::Duration;

use super::*;
use crate::survey::{BackendSurvey, CheckKind, Spoke};

fn causes(survey: &Survey) -> Vec<(&'static str, u32)> {
    let pitfalls = survey.pitfalls.iter();
    pitfalls
        .map(|found| (found.cause, found.origin.line))
        .collect()
}

fn backend<'a>(survey: &'a Survey, name: &str) -> &'a BackendSurvey {
    let found = survey.backends.iter().find(|known| known.name == name);
    found.unwrap_or_else(|| panic!("{name} in {survey:#?}"))
}

const SHOP: &str = r#"global
  maxconn 5000
  ulimit-n 12000
  tune.bufsize 32k
  log 10.0.0.7:514 local0
defaults base
  mode http
  timeout connect 4s
  timeout client 30000
  timeout server 1m
  default-server inter 5s fall 4
  log global
  option httplog
defaults from base
  timeout queue 2s
resolvers dns
  nameserver one 10.0.0.2:53
frontend web
  bind :80,:8080 # clear
  bind *:443 ssl crt /etc/site.pem accept-proxy
  maxconn 800
  use_backend api if { path_beg /api }
  default_backend app
backend app
  option httpchk GET /up HTTP/1.1\r\nHost:\ app.example.org
  http-check expect status 200
  http-request set-header Host app.example.org
  retries 2
  timeout check 900
  default-server check resolvers dns
  server a 10.0.0.1:8080 maxconn 50
  server b app.internal:8080 backup no-check
  server c /run/app.sock disabled
backend api
  option http-server-close
  timeout tunnel 1h
  http-check send meth HEAD uri /live hdr Host api.example.org
  option httpchk
  server-template api 3 api.internal:443 ssl verify required ca-file /etc/ca.pem sni str(api.internal) alpn h2 check send-proxy-v2 ssl-min-ver TLSv1.2
listen old from base
  bind 10.0.0.1:3306
  mode tcp
  option tcp-check
  server db 10.0.0.3:3306 check observe layer4 error-limit 3
"#;

#[test]
fn sections_take_what_their_defaults_say() {
    let survey = haproxy_text("h.cfg", SHOP);
    assert!(survey.diagnostics.is_empty(), "{:?}", survey.diagnostics);
    let app = backend(&survey, "app");
    assert_eq!(app.speaks.value, Spoke::Http1);
    let times = &app.timeouts;
    assert_eq!(times.connect.value, Some(Duration::from_secs(4)));
    assert_eq!(times.connect.origin.as_ref().unwrap().line, 8);
    assert_eq!(times.response.value, Some(Duration::from_secs(60)));
    assert_eq!(times.queue.value, Some(Duration::from_secs(2)));
    assert_eq!(times.tunnel.name, "timeout server");
    assert_eq!(app.retries.as_ref().unwrap().value, 2);
    assert_eq!(app.host.as_ref().unwrap().value, "app.example.org");
    assert_eq!(app.response_header_limit.as_ref().unwrap().value, 31_744);
    assert!(app.keepalive.value && app.resolves_at_run_time.value);
    let [a, b, c] = app.servers.as_slice() else {
        panic!("{app:#?}")
    };
    assert_eq!(
        (a.address().as_str(), a.maxconn, a.is_checked),
        ("10.0.0.1:8080", 50, true)
    );
    assert!(b.backup && !b.is_checked && c.is_unix && c.down);

    let check = app.check.as_ref().unwrap();
    assert_eq!(
        (check.kind.value, check.method.as_str()),
        (CheckKind::Http, "GET")
    );
    assert_eq!(check.path.value, "/up");
    assert_eq!(check.host.as_ref().unwrap().value, "app.example.org");
    assert_eq!(check.expect.value, "200");
    assert_eq!((check.interval.value.as_secs(), check.fall.value), (5, 4));
    assert_eq!(check.timeout.value, Some(Duration::from_millis(900)));

    let old = backend(&survey, "old");
    assert_eq!(old.timeouts.queue.name, "timeout connect");
    assert_eq!(old.ejection.as_ref().unwrap().0.value, 3);
    assert_eq!(old.check.as_ref().unwrap().kind.value, CheckKind::Tcp);
}

#[test]
fn fronts_tls_and_templates() {
    let survey = haproxy_text("h.cfg", SHOP);
    let api = backend(&survey, "api");
    let names: Vec<_> = api.servers.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["api1", "api2", "api3"]);
    assert_eq!(
        (api.speaks.value, api.proxy_header.value),
        (Spoke::Http2, 2)
    );
    assert!(!api.keepalive.value);
    assert_eq!(api.timeouts.tunnel.value, Some(Duration::from_secs(3_600)));
    let tls = api.tls.as_ref().unwrap();
    assert!(tls.verify.value);
    assert_eq!(tls.sni.value.as_deref(), Some("str(api.internal)"));
    assert_eq!(tls.min_version.as_ref().unwrap().value, 0x0303);
    let check = api.check.as_ref().unwrap();
    assert_eq!(
        (check.method.as_str(), check.path.value.as_str()),
        ("HEAD", "/live")
    );
    assert!(check.tls.value && check.proxy_header.value);

    let web = &survey.fronts[0];
    let binds: Vec<_> = web
        .binds
        .iter()
        .map(|bind| (bind.address.as_str(), bind.tls, bind.proxy_header))
        .collect();
    assert_eq!(
        binds,
        [
            (":80", false, false),
            (":8080", false, false),
            ("*:443", true, true)
        ]
    );
    assert_eq!(web.backends, ["api", "app"]);
    assert!(web.has_default);
    assert_eq!(web.maxconn.as_ref().unwrap().value, 800);
    let client = web.client_timeout.as_ref().unwrap();
    assert_eq!(client.value, Duration::from_secs(30));
    assert_eq!(
        web.access_logs,
        [("10.0.0.7:514".to_owned(), "httplog".to_owned())]
    );
    assert_eq!(survey.fronts[1].backends, ["old"]);
    assert_eq!(survey.resolvers.value, ["10.0.0.2:53"]);
    assert_eq!(survey.file_limit.as_ref().unwrap().value, 12_000);
    assert_eq!(survey.connection_limit.as_ref().unwrap().value, 5_000);
    // In `old` clients are given 30 seconds and the server a minute.
    assert_eq!(causes(&survey), [("timeout-order-inverted", 9)]);
}

#[test]
fn nothing_written_is_the_documented_default() {
    let survey = haproxy_text(
        "h",
        "listen x 127.0.0.1:80\n server a 10.0.0.1 check\n server b :90\n",
    );
    let x = backend(&survey, "x");
    assert_eq!(x.speaks.value, Spoke::Tcp);
    assert_eq!(
        (x.timeouts.connect.value, x.timeouts.response.value),
        (None, None)
    );
    assert_eq!(x.retries.as_ref().unwrap().value, 3);
    assert_eq!((x.servers[0].port, x.servers[1].port), (0, 90));
    let check = x.check.as_ref().unwrap();
    assert_eq!(
        (
            check.interval.value.as_secs(),
            check.fall.value,
            check.rise.value
        ),
        (2, 3, 2)
    );
    assert_eq!(survey.fronts[0].binds[0].address, "127.0.0.1:80");
    assert_eq!(survey.fronts[0].client_timeout, None);
    assert_eq!(causes(&survey), []);
}

#[test]
fn old_words_zero_and_options_taken_back() {
    let survey = haproxy_text(
        "h",
        "defaults\n mode http\n contimeout 5000\n srvtimeout 0\n option http-buffer-request\nbackend a\n \
         no option http-buffer-request\n option httpclose\n server s 10.0.0.1:80\n",
    );
    let a = backend(&survey, "a");
    assert_eq!(a.timeouts.connect.value, Some(Duration::from_secs(5)));
    assert_eq!(a.timeouts.response.value, None);
    assert_eq!(a.timeouts.response.origin.as_ref().unwrap().line, 4);
    assert!(!a.keepalive.value && !a.buffers_request.as_ref().unwrap().value);
}

#[test]
fn defaults_that_lead_in_a_ring_end() {
    let survey = haproxy_text(
        "h",
        "defaults a from b\ndefaults b from a\nbackend x from a\n server s h:1\n",
    );
    assert_eq!(survey.backends.len(), 1);
}

#[test]
fn ways_that_lead_nowhere() {
    let survey = haproxy_text(
        "h",
        "defaults\n mode http\nfrontend none\n bind :1\nfrontend stats\n bind :2\n stats enable\n\
         frontend rules\n bind :3\n use_backend empty if { path / }\n\
         frontend moved\n bind :4\n http-request redirect scheme https\n\
         backend empty\nbackend unused\nfrontend down\n bind :5\n default_backend page\n\
         backend page\n errorfile 503 /etc/503.http\n",
    );
    assert_eq!(
        causes(&survey),
        [("no-route-match", 3), ("no-servers-configured", 14)]
    );
    let defaults: Vec<_> = survey
        .fronts
        .iter()
        .map(|front| front.has_default)
        .collect();
    assert_eq!(defaults, [false, true, false, true, true]);
}

#[test]
fn checks_that_see_something_else() {
    let survey = haproxy_text(
        "h",
        "backend a\n mode http\n option httpchk\n\
         server tls 10.0.0.1:8443 ssl verify none check port 8443\n\
         server fine 10.0.0.1:8443 ssl verify none check port 8443 check-ssl\n\
         server page 10.0.0.1:8443 ssl verify none check port 9000\n\
         server px 10.0.0.1:80 send-proxy check port 80\n\
         server px2 10.0.0.1:80 send-proxy check\n\
         backend b\n server s 10.0.0.1:80 check port 9000\n\
         backend c\n option httpchk\n server s 10.0.0.1:443 check\n\
         backend d\n option httpchk GET /primary\n server pg 10.0.0.1:5432 check port 8008\n",
    );
    let found = causes(&survey);
    assert!(
        found
            .iter()
            .all(|(cause, _)| *cause == "hc-wrong-port-or-protocol")
    );
    let lines: Vec<_> = found.iter().map(|(_, line)| *line).collect();
    assert_eq!(lines, [4, 7, 10, 13]);
}

#[test]
fn ports_names_and_loops() {
    let survey = haproxy_text(
        "h",
        "defaults\n mode http\nfrontend f\n bind 127.0.0.1:80\n default_backend b\nbackend b\n\
         server self 127.0.0.1:80\n\
         server clear 10.0.0.1:443\n\
         server tls 10.0.0.1:80 ssl verify none\n\
         server api api.example.org:443 ssl verify none\n\
         server inner app.internal:443 ssl verify none\n\
         frontend outer\n bind :81\n default_backend c\nbackend c\n server next 127.0.0.1:82\n\
         frontend inner\n bind 127.0.0.1:82\n default_backend d\nbackend d\n server s 10.0.0.1:80\n",
    );
    assert_eq!(
        causes(&survey),
        [
            ("plaintext-to-tls", 8),
            ("tls-to-plaintext", 9),
            ("tls-sni-missing-or-wrong", 10),
            ("proxy-loop", 7),
        ]
    );
}
