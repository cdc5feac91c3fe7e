//! Envoy: its configuration from a wish.

use std::time::Duration;

use serde_json::{Value, json};

use super::wish::{Check, Tls, Wish};

/// Where it answers questions about itself.
pub(super) const ADMIN: &str = "127.0.0.1:9901";

/// Its access log: the default text with the details that say why, in the order in which meshes have it.
const FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
    \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% \
    %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% - -\n";

/// The file for a wish.
pub(super) fn config(wish: &Wish) -> String {
    let file = json!({
        "admin": admin(),
        "static_resources": {
            "listeners": [listener(wish)],
            "clusters": [cluster(wish)],
        },
    });
    serde_json::to_string_pretty(&file).expect("JSON")
}

/// What stands for the words of a configuration of its own: `$ADMIN`, `$ACCESS_LOG`, `$CLUSTER`, `$ROUTER`.
pub(super) fn words(wish: &Wish) -> [(&'static str, String); 4] {
    [
        ("$ADMIN", admin().to_string()),
        ("$ACCESS_LOG", access_log().to_string()),
        ("$CLUSTER", cluster(wish).to_string()),
        ("$ROUTER", router().to_string()),
    ]
}

fn admin() -> Value {
    json!({"address": address(ADMIN)})
}

fn address(text: &str) -> Value {
    if let Some(path) = text.strip_prefix("unix:") {
        return json!({"pipe": {"path": path}});
    }
    let (host, port) = text.rsplit_once(':').expect("an address with a port");
    let port: u16 = port.parse().expect("a port");
    json!({"socket_address": {"address": host, "port_value": port}})
}

fn access_log() -> Value {
    json!([{
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "$PEER/access.log",
            "log_format": {"text_format_source": {"inline_string": FORMAT}},
        },
    }])
}

fn router() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}

fn listener(wish: &Wish) -> Value {
    let mut route = json!({"cluster": "app"});
    if wish.upgrades {
        route["timeout"] = "0s".into();
    } else if let Some(time) = wish.response {
        route["timeout"] = seconds(time.max(wish.connect.unwrap_or_default())).into();
    }
    if let Some(time) = wish.tunnel.or(wish.server_idle) {
        route["idle_timeout"] = seconds(time).into();
    }
    if let Some(retries) = wish.retries.filter(|count| *count > 0) {
        let on = "connect-failure,reset,refused-stream";
        route["retry_policy"] = json!({"retry_on": on, "num_retries": retries});
    }
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "access_log": access_log(),
        "http_filters": [router()],
        "route_config": {
            "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": route}],
            }],
        },
    });
    if wish.upgrades {
        manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    }
    if let Some(time) = wish.request_head {
        manager["request_headers_timeout"] = seconds(time).into();
    }
    if let Some(time) = wish.request_body {
        manager["request_timeout"] = seconds(time).into();
    }
    json!({
        "name": "web",
        "address": address(&wish.bind),
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }],
        }],
    })
}

fn cluster(wish: &Wish) -> Value {
    let ends = wish.servers.iter().map(|server| {
        let mut end = json!({"endpoint": {"address": address(server)}});
        if let Some(port) = wish.check.as_ref().and_then(|check| check.port) {
            end["endpoint"]["health_check_config"] = json!({"port_value": port});
        }
        end
    });
    let ends: Vec<Value> = ends.collect();
    let mut cluster = json!({
        "name": "app",
        "connect_timeout": seconds(connect(wish)),
        "type": if wish.has_names() { "STRICT_DNS" } else { "STATIC" },
        "load_assignment": {"cluster_name": "app", "endpoints": [{"lb_endpoints": ends}]},
    });
    if let Some(resolver) = &wish.resolver {
        let servers: Vec<Value> = resolver.servers.iter().map(|s| address(s)).collect();
        cluster["dns_lookup_family"] = "V4_ONLY".into();
        cluster["dns_refresh_rate"] = "1s".into();
        cluster["typed_dns_resolver_config"] = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": servers,
            },
        });
    }
    if let Some(tls) = &wish.tls {
        cluster["transport_socket"] = secured(tls, wish.is_h2);
    }
    if let Some(version) = wish.send_proxy {
        cluster["transport_socket"] = proxied(version, &cluster["transport_socket"]);
    }
    if wish.is_h2 || !wish.keeps {
        cluster["typed_extension_protocol_options"] = protocol(wish);
    }
    if let Some(check) = &wish.check {
        cluster["health_checks"] = json!([checked(check)]);
        cluster["common_lb_config"] = strict();
    }
    if let Some((faults, time)) = wish.ejection {
        cluster["outlier_detection"] = json!({
            "consecutive_5xx": faults, "consecutive_gateway_failure": faults,
            "interval": "0.2s", "base_ejection_time": seconds(time), "max_ejection_percent": 100,
        });
        cluster["common_lb_config"] = strict();
    }
    if let Some(most) = wish.maxconn {
        cluster["circuit_breakers"] = json!({"thresholds": [{
            "max_connections": most,
            "max_pending_requests": wish.queue_size.unwrap_or(1024),
        }]});
    }
    cluster
}

/// Half of the servers down is no reason to use them, and what a check finds holds at once.
fn strict() -> Value {
    json!({"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"})
}

/// The limit of a route covers the connection, so that this one has to be shorter.
fn connect(wish: &Wish) -> Duration {
    let own = wish.connect.unwrap_or(Duration::from_secs(5));
    match wish.response {
        Some(response) if response <= own => response * 3 / 4,
        Some(_) | None => own,
    }
}

fn protocol(wish: &Wish) -> Value {
    let mut options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": if wish.is_h2 {
            json!({"http2_protocol_options": {}})
        } else {
            json!({"http_protocol_options": {}})
        },
    });
    if !wish.keeps {
        options["common_http_protocol_options"] = json!({"max_requests_per_connection": 1});
    }
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options})
}

fn secured(tls: &Tls, is_h2: bool) -> Value {
    let mut common = json!({});
    if let Some(ca) = &tls.ca {
        let mut validation = json!({"trusted_ca": {"filename": ca}});
        if let Some(name) = &tls.name {
            let exact = json!({"san_type": "DNS", "matcher": {"exact": name}});
            validation["match_typed_subject_alt_names"] = json!([exact]);
        }
        common["validation_context"] = validation;
    }
    if let Some(certificate) = &tls.certificate {
        let file = json!({"filename": certificate});
        common["tls_certificates"] = json!([{"certificate_chain": file, "private_key": file}]);
    }
    if tls.is_modern {
        common["tls_params"] = json!({"tls_minimum_protocol_version": "TLSv1_3"});
    } else {
        // Its own default for clients stops there, too, but is not for ever.
        common["tls_params"] = json!({"tls_maximum_protocol_version": "TLSv1_3"});
    }
    if is_h2 {
        common["alpn_protocols"] = json!(["h2"]);
    }
    let mut context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    });
    if let Some(name) = &tls.name {
        context["sni"] = name.as_str().into();
    }
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

fn proxied(version: u64, inner: &Value) -> Value {
    let inner = if inner.is_null() {
        json!({
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
            },
        })
    } else {
        inner.clone()
    };
    json!({
        "name": "envoy.transport_sockets.upstream_proxy_protocol",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "config": {"version": if version == 2 { "V2" } else { "V1" }},
            "transport_socket": inner,
        },
    })
}

fn checked(check: &Check) -> Value {
    let mut out = json!({
        "timeout": seconds(check.timeout),
        "interval": seconds(check.interval),
        "no_traffic_interval": seconds(check.interval),
        "unhealthy_threshold": check.fall,
        "healthy_threshold": check.rise,
    });
    match &check.path {
        Some(path) => {
            let passes = json!([{"start": 200, "end": 400}]);
            out["http_health_check"] = json!({"path": path, "expected_statuses": passes});
        }
        None => out["tcp_health_check"] = json!({}),
    }
    out
}
