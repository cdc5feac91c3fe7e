//! Pages of causes: health checks.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::AllBackendsDown,
        title: "Every server of the backend is down",
        party: Party::ServerHost,
        proxy_status: "destination_unavailable",
        often: 5,
        seen: "No attempt is made for the request. The last health check of each server has the \
            real cause: refused, timed out, TLS, a status. Report that, together with the moment \
            when it went down and what changed then. If real requests past the health check \
            succeed, the check is wrong. If the servers were excluded after failed requests, \
            without a check, it is an ejection. If there are no servers at all, look at discovery.",
        nginx: "502 `no live upstreams while connecting to upstream`: all failed within \
            `fail_timeout`.",
        haproxy: "503 `SC` with `<NOSRV>` and the times 0/-1/-1/-1, which is not the `SC` of a \
            refused connection; `last_chk` has `L4CON`, `L4TOUT`, `L6RSP`, `L7STS` and so on.",
        envoy: "503 `UH` `no_healthy_upstream`, host `-`; `health_flags` in `/clusters`.",
        alb: "Still sends to unhealthy targets; 503 only when none is registered or all are \
            unused.",
        fix: "Explain and mend the cause of one server, which is mostly that of all. `clearway ctl \
            servers` shows each server's state and why. What they share is the first suspect: a \
            deploy, a database, a network, an expired certificate, a health check that was \
            changed.",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[
            Cause::HcWrongStatus,
            Cause::PassiveEjection,
            Cause::CircuitBreakerOpen,
            Cause::K8sNoEndpoints,
            Cause::UpstreamGenerated5xx,
            Cause::HcHostHeader,
            Cause::NoServersConfigured,
            Cause::HcDependencyCascade,
            Cause::HcWrongPortOrProtocol,
            Cause::DnsNxdomain,
        ],
    },
    Page {
        cause: Cause::HcWrongStatus,
        title: "The health check asks for the wrong path or expects the wrong status",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 4,
        seen: "The check fails with a status (404, 301 or 302 to HTTPS, 401, 403, 405, 500) while \
            normal requests succeed. The test is to send real traffic past the check: the path of \
            the last successful request, `/`, and the path of the check. If they work, the check \
            is wrong and not the server.",
        nginx: "Only NGINX Plus has such checks.",
        haproxy: "503 with `<NOSRV>`; `DOWN, reason: Layer7 wrong status, code: 404`; `L7STS`.",
        envoy: "503 `UH` with `failed_active_hc`, unless the panic mode (below 50 % healthy by \
            default) hides it and traffic goes on.",
        alb: "Unhealthy with `Target.ResponseCodeMismatch`, `Health checks failed with these \
            codes: [404]`; traffic may still flow.",
        fix: "Ask for a path that answers 200 without login and without redirect, or accept what \
            it answers. Clearway: `health.path` and `health.expect` (`\"200-399\"`). HAProxy: \
            `option httpchk` and `http-check expect`. Envoy: `path` and `expected_statuses`. ALB: \
            path and matcher of the target group.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_code}\\n' \
            http://{address}/HEALTH`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::HcHostHeader,
            Cause::FailOpenMasksDown,
            Cause::HcTooStrict,
        ],
    },
    Page {
        cause: Cause::HcHostHeader,
        title: "The health check sends a Host header that the server rejects",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 4,
        seen: "The check is answered with 400, 403, 404 or 421; the same path with the public host \
            is answered with 200. Balancers ask with the server's address as host, or with \
            HTTP/1.0 and none at all (HAProxy by default); with an ALB that cannot be changed. \
            Users are not affected until the servers are taken out.",
        nginx: "Only NGINX Plus has such checks.",
        haproxy: "`L7STS` with 400.",
        envoy: "Sends the name of the cluster unless `host` of the health check is set.",
        alb: "Unhealthy with `Target.ResponseCodeMismatch`, `Health checks failed with these \
            codes: [400]`.",
        fix: "Let the check send the host that the application knows. Clearway: `health.host`. \
            HAProxy: `http-check send meth GET uri /health ver HTTP/1.1 hdr Host NAME`. Envoy: \
            `host` of the health check. Where that is impossible, let the application answer the \
            health path before it looks at the host.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_code}\\n' -H 'Host: NAME' \
            http://{address}/HEALTH`",
        lookalikes: &[
            Cause::HcWrongStatus,
            Cause::BadHostHeader,
            Cause::AllBackendsDown,
        ],
    },
    Page {
        cause: Cause::HcWrongPortOrProtocol,
        title: "The health check uses another port or protocol than the users' requests",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 3,
        seen: "Either the check fails (refused, no TLS, garbage) while the port for users answers, \
            or the check is green while that port is dead, so users get errors from a server that \
            counts as healthy. The check may also lack the PROXY header that the port expects.",
        nginx: "Only NGINX Plus has such checks.",
        haproxy: "`Layer4 connection problem` (`L4CON`), `Layer6 invalid response` (`L6RSP`) or \
            `L7RSP`.",
        envoy: "`failed_active_hc`.",
        alb: "Unhealthy with `Request timed out`, when the port of the check is overridden.",
        fix: "Check the port and the protocol that serve users. Clearway does so by default; look \
            at `health.port`, `health.tls` and `health.kind`. HAProxy: `port`, `check-ssl`, \
            `check-send-proxy` on the `server` line. ALB: port and protocol of the health check.",
        ask: "`ss -ltnp`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::PortWrong,
            Cause::TlsToPlaintext,
            Cause::PlaintextToTls,
            Cause::ProxyProtocolExpected,
        ],
    },
    Page {
        cause: Cause::HcTooStrict,
        title: "The health check is so strict that healthy servers fail it under load",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 3,
        seen: "Servers go up and down, the checks take about as long as their time-out, and it \
            comes with load. Users on the same server succeed meanwhile. When one server is taken \
            out, the others get its load and fail as well. If users' requests time out too, the \
            server is really saturated.",
        nginx: "Only NGINX Plus has such checks.",
        haproxy: "`L7TOUT` or `L4TOUT`, and the counter `chkdown` rises.",
        envoy: "Health flags change back and forth, then panic mode.",
        alb: "Targets change state with `Target.Timeout`.",
        fix: "Give the check more time than it needs under load, and take a server out only after \
            several failures. Clearway: `health.timeout` (1 s), `health.fall` (3), `health.rise` \
            (2); `slow_start` spares servers that come back. Ask for a path that costs little. \
            HAProxy: `timeout check`, `fall`, `slowstart`.",
        ask: "on the balancer: `curl -s -m 10 -o /dev/null -w '%{http_code} %{time_total}\\n' \
            http://{address}/HEALTH`",
        lookalikes: &[Cause::WorkersSaturated, Cause::HcWrongStatus],
    },
    Page {
        cause: Cause::HcDependencyCascade,
        title: "The health check tests a shared dependency, so all servers go down at once",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 3,
        seen: "All servers fail their checks within one interval, with the same status (500 or \
            503), because the check asks a database or another service on each of them. Paths that \
            do not need it would still work. If the servers themselves were broken, they would \
            hardly fail at the same moment.",
        nginx: "Only NGINX Plus has such checks.",
        haproxy: "All servers `L7STS` 503.",
        envoy: "All hosts fail; 503 `UH`, or panic mode.",
        alb: "All unhealthy; traffic still flows.",
        fix: "Mend the dependency. Then let the check say only whether this server can work: a \
            path that does not ask shared services (Clearway `health.path`). What depends on them \
            should answer an error of its own. Envoy keeps a minimum in rotation with \
            `healthy_panic_threshold`.",
        ask: "on the balancer: `curl -s -m 5 http://{address}/HEALTH`",
        lookalikes: &[Cause::AllBackendsDown],
    },
    Page {
        cause: Cause::PassiveEjection,
        title: "A good server was excluded because of a few failed requests",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 4,
        seen: "After one or a few real errors a server gets no requests for a while, 10 s or a \
            multiple of it; with few servers all requests fail in that time. The error that caused \
            it is a different cause and has to be explained as well. With health checks that fail \
            it would be down and not ejected. An application that answers 503 by itself can cause \
            it where such answers count.",
        nginx: "`[warn] upstream server temporarily disabled while …`, then `no live upstreams`; \
            only with two or more `server` lines, of which a `down` one counts.",
        haproxy: "`observe layer7` with `error-limit` and `on-error`.",
        envoy: "The gauge `ejections_active` of outlier detection, 503 `UH`.",
        alb: "Automatic target weights (anomaly mitigation).",
        fix: "Mend the error that came first. Then let more be needed. Clearway: \
            `ejection.consecutive` (5), `ejection.max_percent` (50), or `ejection = \"off\"`. \
            NGINX: `max_fails=0` or higher, no `http_5xx` in `proxy_next_upstream` for errors of \
            the application, no `down` lines as placeholders. Envoy: `consecutive_5xx` and \
            `max_ejection_percent`.",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::UpstreamGenerated5xx,
            Cause::CircuitBreakerOpen,
            Cause::NoServersConfigured,
            Cause::FailOpenMasksDown,
        ],
    },
    Page {
        cause: Cause::FailOpenMasksDown,
        title: "The balancer sends to servers that it knows to be unhealthy",
        party: Party::Configuration,
        proxy_status: "",
        often: 2,
        seen: "Two facts stand side by side: all checks fail, and traffic flows. Some balancers \
            send to everybody when too few servers are healthy. If requests succeed, the check is \
            wrong. If they fail, the servers are really down and the status is that of their own \
            failure, not \"no server\".",
        nginx: "The only server of an upstream is never excluded.",
        haproxy: "Does not do it, apart from `option persist` and servers with `backup`.",
        envoy: "The counter `lb_healthy_panic` rises; below 50 % healthy by default.",
        alb: "A group with no healthy target still gets traffic.",
        fix: "Look at both facts before acting: if requests succeed, mend the check; if not, mend \
            the servers. Decide on purpose whether sending to everybody is wanted: Envoy \
            `healthy_panic_threshold`, ALB target group health settings. Clearway answers 503 when \
            health checks have all servers down, and never ejects more than \
            `ejection.max_percent`.",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[Cause::HcWrongStatus],
    },
];
