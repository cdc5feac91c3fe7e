//! Small configurations of NGINX and what is read from them.

use super::*;
use crate::survey::{CheckKind, Spoke};

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

fn secs(setting: &Setting<Option<Duration>>) -> (u64, u32) {
    let line = setting.origin.as_ref().map_or(0, |origin| origin.line);
    (setting.value.unwrap().as_secs(), line)
}

const SHOP: &str = r#"worker_rlimit_nofile 4096;
error_log /var/log/main.log warn;
events { worker_connections 1024; }
http {
  log_format timed '$remote_addr $status'
                   ' $upstream_response_time';
  access_log /var/log/shop.log timed;
  proxy_read_timeout 20s;
  proxy_set_header Host $host;
  resolver 10.0.0.2 10.0.0.3:5353 valid=5s;
  upstream shop {
    server 10.0.0.5:8080 weight=2 max_fails=3 fail_timeout=20s max_conns=40;
    server [2001:db8::5]:8080 backup;
    server unix:/run/shop.sock down;
    keepalive 16;
    keepalive_timeout 30s;
  }
  server {
    listen 80 default_server;
    listen [::]:443 ssl proxy_protocol;
    server_name shop.example.org www.shop.example.org;
    client_max_body_size 8m;
    large_client_header_buffers 2 16k;
    location / {
      proxy_pass http://shop;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_connect_timeout 500ms;
      proxy_next_upstream error timeout http_503;
      proxy_next_upstream_tries 2;
      location /slow/ { proxy_pass http://shop; proxy_read_timeout 5m; }
    }
    location /copy/ { proxy_pass http://shop/; }
    location /again/ { proxy_pass http://shop/x; }
    location ~ \.php$ { fastcgi_pass unix:/run/php.sock; fastcgi_buffer_size 16k; }
    location /rpc { grpc_pass grpcs://10.0.0.9:50051; grpc_ssl_name rpc.example.org; grpc_ssl_server_name on; }
  }
}
"#;

#[test]
fn settings_come_from_the_narrowest_block() {
    let survey = nginx_text("n.conf", SHOP);
    assert!(survey.diagnostics.is_empty(), "{:?}", survey.diagnostics);
    let shop = backend(&survey, "shop");
    assert_eq!(shop.places, ["shop.example.org /"]);
    assert_eq!(secs(&shop.timeouts.response), (20, 8));
    assert_eq!(
        shop.timeouts.connect.value,
        Some(Duration::from_millis(500))
    );
    assert_eq!(secs(&shop.timeouts.send), (60, 0));
    assert_eq!(shop.origin.as_ref().unwrap().line, 11);
    assert_eq!(
        shop.pass_origin.as_ref().unwrap().to_string(),
        "n.conf:25:7"
    );
    assert_eq!(shop.host.as_ref().unwrap().value, "$proxy_host");
    assert!(shop.keepalive.value && !shop.passes_upgrade.value);
    assert_eq!(
        shop.keepalive_idle.as_ref().unwrap().value,
        Duration::from_secs(30)
    );
    let (fails, time) = shop.ejection.as_ref().unwrap();
    assert_eq!((fails.value, time.value.as_secs()), (3, 20));
    assert_eq!(shop.retries.as_ref().unwrap().value, 1);
    assert_eq!(shop.response_header_limit.as_ref().unwrap().value, 4_096);
    let addresses: Vec<_> = shop.servers.iter().map(|s| s.address()).collect();
    assert_eq!(
        addresses,
        ["10.0.0.5:8080", "[2001:db8::5]:8080", "unix:/run/shop.sock"]
    );
    assert_eq!(shop.servers[0].maxconn, 40);
    assert!(shop.servers[1].backup && shop.servers[2].down);

    // Nested: headers of the location around hold, its time-outs too unless written anew.
    let slow = &survey.backends[1];
    assert_eq!(
        (slow.name.as_str(), secs(&slow.timeouts.response)),
        ("shop", (300, 31))
    );
    assert!(slow.keepalive.value);
    // The same settings from two places are one group.
    let copy = &survey.backends[2];
    assert_eq!(
        copy.places,
        ["shop.example.org /copy/", "shop.example.org /again/"]
    );
    assert_eq!(copy.host.as_ref().unwrap().value, "$host");
    assert!(!copy.keepalive.value);
}

#[test]
fn other_ways_and_the_surroundings() {
    let survey = nginx_text("n.conf", SHOP);
    let php = backend(&survey, "unix:/run/php.sock");
    assert_eq!(php.speaks.value, Spoke::FastCgi);
    assert_eq!(php.response_header_limit.as_ref().unwrap().value, 16_384);
    assert_eq!(
        (php.servers[0].is_unix, php.ejection.is_none()),
        (true, true)
    );
    let rpc = backend(&survey, "grpcs://10.0.0.9:50051");
    assert_eq!(rpc.speaks.value, Spoke::Http2);
    let tls = rpc.tls.as_ref().unwrap();
    assert_eq!(tls.sni.value.as_deref(), Some("rpc.example.org"));
    assert!(!tls.verify.value);

    let front = &survey.fronts[0];
    assert_eq!(
        (front.name.as_str(), front.hosts.len()),
        ("shop.example.org", 2)
    );
    let binds: Vec<_> = front
        .binds
        .iter()
        .map(|bind| (bind.address.as_str(), bind.tls, bind.proxy_header))
        .collect();
    assert_eq!(binds, [("*:80", false, false), ("[::]:443", true, true)]);
    assert!(front.has_default);
    assert_eq!(front.backends.len(), 3);
    assert_eq!(front.body_limit.as_ref().unwrap().value, 8 << 20);
    assert_eq!(front.header_limit.as_ref().unwrap().value, 32_768);
    assert_eq!(
        front.access_logs,
        [(
            "/var/log/shop.log".to_owned(),
            "$remote_addr $status $upstream_response_time".to_owned()
        )]
    );
    assert_eq!(front.error_logs, ["/var/log/main.log"]);
    assert_eq!(survey.resolvers.value, ["10.0.0.2", "10.0.0.3:5353"]);
    assert_eq!(survey.file_limit.as_ref().unwrap().value, 4_096);
    assert_eq!(survey.connection_limit.as_ref().unwrap().value, 1_024);
    assert_eq!(causes(&survey), []);
}

#[test]
fn bytes_are_passed_on_by_stream() {
    let survey = nginx_text(
        "n.conf",
        "stream {\n map $ssl_preread_server_name $to { a.example.org one; default two; }\n \
         upstream one { server 10.0.0.1:443; }\n upstream two { server 10.0.0.2:443; server 10.0.0.3:443; }\n \
         server { listen 443; ssl_preread on; proxy_pass $to; proxy_timeout 30s; proxy_protocol on; }\n \
         server { listen 5432 proxy_protocol; proxy_pass db:5432; proxy_connect_timeout 1s; }\n}",
    );
    let [one, two, db] = survey.backends.as_slice() else {
        panic!("{survey:#?}")
    };
    assert_eq!((one.name.as_str(), two.name.as_str()), ("one", "two"));
    assert_eq!(two.speaks.value, Spoke::Tcp);
    assert_eq!(secs(&two.timeouts.tunnel), (30, 5));
    assert_eq!((two.proxy_header.value, db.proxy_header.value), (1, 0));
    assert_eq!(secs(&db.timeouts.response), (600, 0));
    assert_eq!(
        (db.servers[0].host.as_str(), db.servers[0].port),
        ("db", 5432)
    );
    assert_eq!(causes(&survey), []);
}

#[test]
fn names_are_looked_up_while_running_where_variables_are() {
    let text = |resolver: &str| {
        format!(
            "http {{\n{resolver}\nupstream known {{ server 10.0.0.1; }}\nserver {{\n\
             set $app app;\nset $fixed 10.0.0.2;\nset $group known;\n\
             location /a {{ proxy_pass http://$app:8080; }}\n\
             location /b {{ proxy_pass http://$fixed; }}\n\
             location /c {{ proxy_pass http://$group; }}\n\
             location /d {{ proxy_pass http://$host; }}\n\
             location /e {{ proxy_pass http://$unknown; }}\n}} }}"
        )
    };
    let survey = nginx_text("n", &text(""));
    let expected = [
        ("no-resolver-configured", 8),
        ("no-resolver-configured", 11),
    ];
    assert_eq!(causes(&survey), expected);
    assert!(
        backend(&survey, "http://$app:8080")
            .resolves_at_run_time
            .value
    );
    assert!(!backend(&survey, "known").resolves_at_run_time.value);
    assert!(!backend(&survey, "http://$fixed").resolves_at_run_time.value);
    assert_eq!(causes(&nginx_text("n", &text("resolver 127.0.0.11;"))), []);
    // A file made to be included may have its resolver elsewhere.
    let fragment = "server { set $a app; location / { proxy_pass http://$a; } }";
    assert_eq!(causes(&nginx_text("n", fragment)), []);
}

#[test]
fn ports_and_names_of_tls() {
    let survey = nginx_text(
        "n",
        "http {\nupstream api { server api.example.org; }\nupstream ok { server 10.0.0.1:443; }\nserver {\n\
         location /a { proxy_pass https://api; }\n\
         location /b { proxy_pass http://10.0.0.1:443; }\n\
         location /c { proxy_pass https://ok; }\n\
         location /d { proxy_pass https://ok; proxy_ssl_verify on; }\n\
         location /e { proxy_pass https://app.internal:8443; }\n\
         location /f { proxy_pass https://api.example.com; proxy_ssl_server_name on; }\n}}",
    );
    assert_eq!(
        causes(&survey),
        [
            ("tls-to-plaintext", 2),
            ("tls-sni-missing-or-wrong", 5),
            ("plaintext-to-tls", 6),
            ("tls-sni-missing-or-wrong", 8),
        ]
    );
    for found in &survey.pitfalls {
        backend(&survey, &found.backend);
    }
    let tls = backend(&survey, "https://api.example.com").tls.as_ref();
    assert_eq!(tls.unwrap().sni.value.as_deref(), Some("$proxy_host"));
}

#[test]
fn upgrades() {
    let survey = nginx_text(
        "n",
        "http {\nmap $http_upgrade $c { default upgrade; '' close; }\nserver {\n\
         proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $c;\n\
         location /good { proxy_pass http://a:1; }\n\
         location /lost { proxy_pass http://a:1; proxy_set_header Host x; }\n\
         location /old { proxy_pass http://a:1; proxy_http_version 1.0; }\n}\nserver {\n\
         location /ws { proxy_pass http://a:1; }\n\
         # WebSocket\nlocation /chat { proxy_pass http://a:1; }\n\
         location /news { proxy_pass http://a:1; }\n\
         location /kept { proxy_pass http://a:1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection ''; }\n}}",
    );
    let found = causes(&survey);
    assert!(
        found
            .iter()
            .all(|(cause, _)| *cause == "websocket-upgrade-stripped")
    );
    let lines: Vec<_> = found.iter().map(|(_, line)| *line).collect();
    assert_eq!(lines, [8, 9, 12, 14]);
    assert!(survey.backends[0].passes_upgrade.value);
}

#[test]
fn groups_that_will_hurt() {
    let survey = nginx_text(
        "n",
        "http {\nupstream none { }\nupstream off { server 10.0.0.1 down; }\n\
         upstream one { server 10.0.0.1; server 10.0.0.2 down; }\n\
         upstream fine { server 10.0.0.1 max_fails=0; server 10.0.0.2 down; }\n\
         upstream again { zone z 64k; server app.example.org resolve; }\n}",
    );
    assert_eq!(
        causes(&survey),
        [
            ("no-servers-configured", 2),
            ("no-servers-configured", 3),
            ("passive-ejection", 4),
            ("no-resolver-configured", 6),
        ]
    );
    // Groups that nothing leads to are there all the same.
    assert_eq!(survey.backends.len(), 5);
}

#[test]
fn ways_back_to_where_they_began() {
    let loops = |text: &str| causes(&nginx_text("n", text));
    let own = "server {\nlisten 80;\nlocation / {\nproxy_pass http://127.0.0.1:80;\n} }";
    assert_eq!(loops(own), [("proxy-loop", 4)]);
    // From one front to another is no loop, nor is another path of the same front.
    let inner = "server { listen 80; location / { proxy_pass http://127.0.0.1:81; } }\
                 server { listen 127.0.0.1:81; location / { proxy_pass http://10.0.0.1; } }";
    assert_eq!(loops(inner), []);
    let path = "server { listen 80; location /a { proxy_pass http://127.0.0.1/b; } location /b { root /x; } }";
    assert_eq!(loops(path), []);
    let host = "server { listen 80; server_name a; location / { proxy_pass http://127.0.0.1; proxy_set_header Host b; } }\
                server { listen 80; server_name b; root /x; }";
    assert_eq!(loops(host), []);
    let ring = "server { listen 80; location / { proxy_pass http://127.0.0.1:81; } }\n\
                server { listen 81; location / { proxy_pass http://localhost:80; } }";
    assert_eq!(loops(ring), [("proxy-loop", 2), ("proxy-loop", 1)]);
}

#[test]
fn checks_of_the_commercial_version() {
    let survey = nginx_text(
        "n",
        "http { upstream a { zone a 1k; server 10.0.0.1; } server { location / { proxy_pass http://a; \
         health_check uri=/up interval=3s fails=2 port=9000; } } }",
    );
    let check = backend(&survey, "a").check.as_ref().unwrap();
    assert_eq!(
        (check.kind.value, check.path.value.as_str()),
        (CheckKind::Http, "/up")
    );
    assert_eq!((check.interval.value.as_secs(), check.fall.value), (3, 2));
    assert_eq!(check.port.as_ref().unwrap().value, 9_000);
}

#[test]
fn what_is_no_file_is_told() {
    let survey = nginx(Path::new("/nowhere/nginx.conf"));
    assert_eq!(survey.diagnostics.len(), 1);
    assert!(survey.backends.is_empty());
}

#[test]
fn parts_of_configurations() {
    let location = nginx_text("n", "proxy_pass http://10.0.0.1;\nproxy_read_timeout 3s;");
    assert_eq!(secs(&location.backends[0].timeouts.response), (3, 2));
    let server = nginx_text("n", "location / { proxy_pass http://10.0.0.1; }");
    assert_eq!((server.backends.len(), server.fronts.len()), (1, 1));
    // Several files written one behind the other.
    let joined = "http { proxy_read_timeout 4s; include gone/*.conf; }\n\
                  upstream a { server 10.0.0.1; }\n\
                  server { location / { proxy_pass http://a; } }";
    let joined = nginx_text("n", joined);
    assert_eq!(secs(&backend(&joined, "a").timeouts.response), (4, 1));
    assert_eq!(joined.fronts[0].binds[0].address, "*:80");
}
