//! Pages of causes: the balancer's own configuration.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::NoResolverConfigured,
        title: "A name has to be looked up at run time, but no resolver is configured",
        party: Party::Configuration,
        proxy_status: "proxy_configuration_error",
        often: 2,
        seen: "Every request to the backend fails within microseconds, before any server is \
            chosen. No DNS packet leaves the host. The name in the configuration contains a \
            variable, or is marked to be looked up again, and no resolver is in scope. A name that \
            does not exist fails too, but only after a resolver has been asked.",
        nginx: "502, `no resolver defined to resolve NAME`. `$upstream_addr` and all times of the \
            server are `-`.",
        haproxy: "Refuses the configuration, or starts with a server that has no address.",
        envoy: "Rejects the configuration.",
        alb: "",
        fix: "Name a resolver in the same block or an outer one. NGINX: `resolver 10.0.0.2 \
            valid=10s;`; inside Docker the address is `127.0.0.11`, in Kubernetes the cluster \
            address of the DNS service. HAProxy: a `resolvers` section, named by `resolvers` on \
            the `server` line. Clearway needs no setting: it asks the resolvers of \
            `/etc/resolv.conf` unless `resolver.servers` names others.",
        ask: "",
        lookalikes: &[Cause::DnsNxdomain],
    },
    Page {
        cause: Cause::ConfigHostNotFoundAtStart,
        title: "The balancer does not start or reload because a server's name does not resolve yet",
        party: Party::Configuration,
        proxy_status: "proxy_configuration_error",
        often: 3,
        seen: "The check of the configuration fails at a line with a host name. After a reload the \
            old configuration stays in force; after a restart the process ends and is started \
            again in a loop. Clients then see the balancer itself refuse connections. It is \
            typical of containers that start together, where the name of a server exists only once \
            its container runs.",
        nginx: "`[emerg] host not found in upstream \"NAME\" in FILE:LINE`, exit code 1.",
        haproxy: "`could not resolve address 'NAME'`, unless `init-addr` ends in `none`.",
        envoy: "Starts, but opens the listener only when the first lookup has ended.",
        alb: "",
        fix: "Start the balancer after the names exist, for example with `depends_on` and \
            `condition: service_healthy` in Compose. Better, have names looked up at run time, so \
            that a missing name costs one backend and not the start. NGINX: `resolver` with a \
            variable in `proxy_pass`, or `server NAME resolve;` in an upstream with a `zone`. \
            HAProxy: `init-addr last,libc,none` with a `resolvers` section. Clearway starts in any \
            case: requests for that backend fail until the name resolves.",
        ask: "on the balancer: `getent ahosts {host}`",
        lookalikes: &[Cause::LbReloadFailed],
    },
    Page {
        cause: Cause::LbReloadFailed,
        title: "The reload failed and the balancer keeps running an old configuration",
        party: Party::Configuration,
        proxy_status: "proxy_configuration_error",
        often: 2,
        seen: "The configuration file is newer than the configuration in force, and the check of \
            the file fails. Traffic goes on as before, also to servers that were removed from the \
            file, so their failures look like those of a stale address. What tells them apart is \
            the check: with a stale address the file is in force and valid.",
        nginx: "`[emerg] … in nginx.conf:LINE` in the error log; the workers are unchanged.",
        haproxy: "`[ALERT] … parsing [haproxy.cfg:LINE]`; the old process stays.",
        envoy: "The counter `update_rejected` rises; the last good configuration stays.",
        alb: "",
        fix: "Run the check, mend the line that it names, and reload again. Clearway: `clearway \
            check -c FILE`, then `clearway ctl reload`, which says why a file was not taken. \
            NGINX: `nginx -t`. HAProxy: `haproxy -c -f FILE`. Make the check a step of whatever \
            rolls the file out, so that a broken file never gets to the host.",
        ask: "on the balancer: `clearway check -c clearway.toml`",
        lookalikes: &[Cause::DnsStaleIp, Cause::ConfigHostNotFoundAtStart],
    },
    Page {
        cause: Cause::TimeoutOrderInverted,
        title: "A hop nearer the client gives up before the hop behind it, or at the same moment",
        party: Party::Configuration,
        proxy_status: "http_response_timeout",
        often: 4,
        seen: "Two hops report different endings of one request: the outer one a 504, 499 or 460, \
            the inner one a 200 or 499 some seconds later. The time of the request is a round \
            number that is a setting of the outer hop. A usual chain is a CDN with 30 to 100 s, \
            ALB and NGINX with 60 s, gunicorn with 30 s and the client of the application with 10 \
            s. Where two hops have the same value they race, and the same fault is a 502 one time \
            and a 504 another. Where the hop that gave up is the last before the server, the \
            application is slow and nothing else.",
        nginx: "499 when the outer hop leaves; 504 when its own time-out is the shortest.",
        haproxy: "`CH` or `cH` when the outer hop leaves, `sH` when its own time-out is the \
            shortest.",
        envoy: "`DC` when the outer hop leaves, `UT` when its own time-out is the shortest.",
        alb: "504 or 460 at exactly the idle time-out, 60 s by default.",
        fix: "Write down the time-outs of all hops and order them: the client waits longest, then \
            CDN, balancer, inner proxy, the worker of the application, the database; each shorter \
            than the one before it by some seconds. Clearway: `timeouts.response` and \
            `timeouts.total`, also per route. NGINX: `proxy_read_timeout`. HAProxy: `timeout \
            server`. Envoy: `timeout` of the route. ALB: `idle_timeout.timeout_seconds`. Do not \
            raise the inner one alone: that makes it worse.",
        ask: "`curl -s -o /dev/null -m 300 -w '%{http_code} %{time_total}\\n' \
            http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::ClientTimeoutShorter,
            Cause::WorkerTimeoutKill,
        ],
    },
    Page {
        cause: Cause::NoServersConfigured,
        title: "The backend has no server at all",
        party: Party::Configuration,
        proxy_status: "destination_not_found or destination_unavailable",
        often: 3,
        seen: "No attempt is made, because there is nothing to try: the backend has zero members, \
            which is not the same as having only members that are down. Servers usually come from \
            somewhere else, such as DNS, service discovery, an autoscaling group or labels; look \
            at that source and at when it last delivered something.",
        nginx: "Refuses an empty upstream, so templates put in a placeholder: `no live upstreams` \
            with `server 127.0.0.1 down;` in the configuration.",
        haproxy: "503 `SC` with `<NOSRV>` in place of a server.",
        envoy: "503 `UH`; 503 `NC` when the cluster is not known at all.",
        alb: "503 while no target is registered, or all are `unused` because their zone is not \
            enabled or the group belongs to no listener.",
        fix: "Register servers, or find out why discovery delivers none: a wrong label or \
            selector, missing rights of the discovery agent, an empty DNS answer. Clearway: \
            `backend.NAME.servers`; `clearway ctl servers` shows what it has. ALB: register \
            targets and enable their availability zone.",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::K8sNoEndpoints,
            Cause::PassiveEjection,
            Cause::CircuitBreakerOpen,
        ],
    },
    Page {
        cause: Cause::NoRouteMatch,
        title: "No route matches the host and path of the request",
        party: Party::Configuration,
        proxy_status: "destination_not_found",
        often: 3,
        seen: "The balancer answers by itself, without choosing a server. The host or path of the \
            request differs from every configured one, often by little: another case, a missing \
            `www.`, a slash at the end, a port in `Host`, or a name that DNS already leads here \
            but nobody configured. The backends are healthy, and requests for other hosts work.",
        nginx: "The default server answers: 404, another site, or 421.",
        haproxy: "503 `SC` with `<NOSRV>` when there is no `default_backend`.",
        envoy: "404 `NR` `route_not_found`, or a closed connection when no filter chain matches.",
        alb: "The default action, often a fixed 404 or 503; `matched_rule_priority` is 0.",
        fix: "Compare the request's host and path with the routes and add the one that is missing, \
            or correct the client. Clearway: `[[route]]` with `host` and `path` (`/below/` also \
            matches all that is below), or `backend` of the listener for everything else. NGINX: \
            `server_name`. HAProxy: `default_backend`. Envoy: `domains` of the virtual host. ALB: \
            a rule of the listener.",
        ask: "on the balancer: `clearway print -c clearway.toml`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::NoServersConfigured,
            Cause::BadHostHeader,
        ],
    },
    Page {
        cause: Cause::ProxyLoop,
        title: "The balancer sends requests to itself, directly or by way of another one",
        party: Party::Configuration,
        proxy_status: "proxy_loop_detected",
        often: 2,
        seen: "One request of a client becomes many: the same id appears again and again within a \
            second, and `Via` and `X-Forwarded-For` grow by one hop each time. The address of the \
            chosen server is a listener of this balancer, or leads back to it through a public \
            name or another balancer. It ends when the headers are too large, when connections run \
            out, or at a limit on hops.",
        nginx: "`worker_connections are not enough`, dozens of lines for one request, then 502 or \
            500.",
        haproxy: "Connections reach `maxconn`, or 400 or 431 when the headers are too large.",
        envoy: "`UO` or `OM`.",
        alb: "463 when `X-Forwarded-For` has more than 30 addresses.",
        fix: "Give the backend the address of the application, not a name that leads to the \
            balancer; inside a network that is mostly an internal name or address. Check what the \
            name resolves to on the balancer itself. Clearway ends loops by `limits.hops` (3), \
            seen by its own name in `Via`; several balancers in a row need different names in \
            `forwarded.via`. Elsewhere, check `Via` or `CDN-Loop`.",
        ask: "on the balancer: `getent ahosts {host}`",
        lookalikes: &[
            Cause::LbWorkerConnections,
            Cause::TooManyForwardedFor,
            Cause::RequestHeaderTooLargeLb,
        ],
    },
    Page {
        cause: Cause::LbRewriteFailed,
        title: "A rewrite on the balancer failed or went round in circles",
        party: Party::Configuration,
        proxy_status: "proxy_configuration_error",
        often: 2,
        seen: "The balancer answers 500 by itself. A rule made a header or target that is too \
            large or not allowed, or an internal redirection came back to where it started. It \
            depends on the request: long cookies or addresses make it happen, and the rule with \
            its line is known to the balancer.",
        nginx: "500, `rewrite or internal redirection cycle while …`.",
        haproxy: "500 `PH` or `PR`: the reserve `tune.maxrewrite` (1024 bytes) was too small; the \
            counter `wrew` rises. Older versions logged `I`.",
        envoy: "500.",
        alb: "507 when the address of a redirect becomes too long.",
        fix: "Look at the rule that the log names, with the values of the failed request. Shorten \
            what it adds, or drop it. HAProxy: raise `tune.maxrewrite`. NGINX: take out the \
            recursion of `try_files` or `error_page`, which mostly point at a file that does not \
            exist. Clearway: `rewrite`, `set_request_headers` and `redirect` of the route or rule.",
        ask: "",
        lookalikes: &[Cause::RespHeaderTooBig],
    },
    Page {
        cause: Cause::AlbProtocol464,
        title: "The protocol of the request does not fit the target group of the ALB",
        party: Party::Configuration,
        proxy_status: "http_protocol_error",
        often: 2,
        seen: "The ALB answers 464 without asking a target. It happens when an HTTP/1.1 client \
            reaches a group whose protocol version is HTTP/2 or gRPC, when gRPC reaches a group \
            with HTTP/1.1, and when an HTTP/2 request other than POST reaches a gRPC group. \
            Targets never see the request.",
        nginx: "",
        haproxy: "",
        envoy: "",
        alb: "464.",
        fix: "Change the protocol version of the target group to what the clients speak; it can \
            only be set when the group is made, so make a new one and move the rule. If the group \
            is right, send the client elsewhere, for example with a rule on the path.",
        ask: "",
        lookalikes: &[Cause::H2ToH1Backend],
    },
];
