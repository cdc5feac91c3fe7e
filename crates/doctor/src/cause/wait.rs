//! Pages of causes: waiting for the response.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::PmtuBlackholeResponse,
        title: "Large responses get lost because the way takes smaller packets than believed",
        party: Party::Network,
        proxy_status: "connection_read_timeout",
        often: 3,
        seen: "The request has been acknowledged completely, so it looks like a slow application, \
            but small responses of the same server arrive. What gives it away on the balancer: \
            data out of order (`TCPOFOQueue` rises), because the last, short segment gets through \
            while the full ones before it do not. If all segments are full, nothing arrives at \
            all. On the server the `Send-Q` of the connection stays above 0 and `RetransSegs` \
            rises.",
        nginx: "504 `upstream timed out … while reading response header from upstream`, 0 bytes \
            received.",
        haproxy: "504 `sH`.",
        envoy: "504 `UT`.",
        alb: "504.",
        fix: "Set the right MTU on the server's side of tunnels, VPN and overlay interfaces, or \
            clamp the segment size there: `iptables -t mangle -A FORWARD -p tcp --tcp-flags \
            SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu`. Let ICMP type 3 code 4 reach the server. \
            As a stop-gap set `net.ipv4.tcp_mtu_probing=1` on the server.",
        ask: "`ss -tni 'sport = :{port}'`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::PmtuBlackholeRequest,
            Cause::RespHeaderStalled,
            Cause::RespBodyStalled,
        ],
    },
    Page {
        cause: Cause::AppSlow,
        title: "The application needs longer than the time-out for this request",
        party: Party::Application,
        proxy_status: "http_response_timeout or connection_read_timeout",
        often: 5,
        seen: "Connecting is quick and the whole request has been acknowledged, so the server has \
            it. No byte comes back until the balancer's time-out. It concerns certain paths or \
            parameters only; other requests to the same server finish meanwhile, and a light probe \
            is answered. The application sees the client vanish at that moment and often logs a \
            200 with a longer time. If even light probes hang, it is hung or saturated; if bytes \
            stay unacknowledged, the network is to blame.",
        nginx: "504 `upstream timed out (110: Connection timed out) while reading response header \
            from upstream`; `$upstream_connect_time` is set, `$upstream_header_time` is `-`.",
        haproxy: "504 `sH`, `Tr` -1, total time equal to `timeout server`.",
        envoy: "504 `UT` `response_timeout`.",
        alb: "504, `target_status_code` `-`, times -1.",
        fix: "Find out what that request does: profile it, look at its database queries and at the \
            services that it calls. Work that takes long by nature is better done in the \
            background. Only then raise the time-out, for that path and in every hop (see \
            timeout-order-inverted). Clearway: `timeouts.response` of the route. NGINX: \
            `proxy_read_timeout`. HAProxy: `timeout server`. Envoy: `timeout` of the route. ALB: \
            `idle_timeout.timeout_seconds`.",
        ask: "`curl -s -o /dev/null -m 120 -w '%{http_code} %{time_starttransfer}\\n' \
            http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::AppHung,
            Cause::WorkersSaturated,
            Cause::NatIdleDrop,
            Cause::PmtuBlackholeResponse,
            Cause::PmtuBlackholeRequest,
            Cause::BackendFdExhausted,
            Cause::WorkerTimeoutKill,
            Cause::AppCrashOnRequest,
            Cause::QueueTimeout,
            Cause::ClientAbort,
            Cause::ClientTimeoutShorter,
            Cause::ClientSlowUpload,
            Cause::TimeoutOrderInverted,
        ],
    },
    Page {
        cause: Cause::AppHung,
        title: "The application is alive but frozen",
        party: Party::Application,
        proxy_status: "http_response_timeout",
        often: 4,
        seen: "All requests to one server time out, trivial ones as well. Connecting still \
            succeeds, because the kernel does it without the application. The accept queue fills: \
            `Recv-Q` of the listening socket grows, and later `ListenOverflows` rises. The process \
            is stopped (state T), waits in the kernel (D), or burns one processor in one thread, \
            and logs nothing any more. With a slow application other requests finish meanwhile; \
            with saturated workers a probe waits in line but gets its answer.",
        nginx: "504 `while reading response header from upstream` for everything on that server.",
        haproxy: "504 `sH`, then `DOWN` with `L7TOUT`.",
        envoy: "504 `UT`; the health flags show `failed_active_hc`.",
        alb: "504, then unhealthy with `Request timed out`.",
        fix: "Take a dump of the threads first, because a restart destroys the evidence: `jstack`, \
            `py-spy dump`, `gdb -p PID`. Then restart. Check health with a real request, never \
            with a TCP connection alone, which stays green: Clearway `health.path`. Look in the \
            dump for a lock that everybody waits for, a loop, or a call without time-out.",
        ask: "`ss -ltn 'sport = :{port}'; ps -eo pid,stat,pcpu,wchan:20,etime,comm --sort=-pcpu | \
            head`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::WorkersSaturated,
            Cause::BackendFdExhausted,
            Cause::AcceptQueueOverflow,
            Cause::TlsHandshakeTimeout,
            Cause::CpuThrottledOrGc,
        ],
    },
    Page {
        cause: Cause::WorkersSaturated,
        title: "All workers of the application are busy and requests wait in line",
        party: Party::Application,
        proxy_status: "http_response_timeout",
        often: 5,
        seen: "The time to answer grows with the number of requests at a time. The first ones of a \
            burst succeed, later ones time out. `Recv-Q` of the listening socket is above 0, and a \
            probe waits as long as everybody else, but is answered. The balancer has at least as \
            many requests in flight as the server has workers. Idle processors meanwhile mean that \
            the workers wait for something else, often a pool of database connections.",
        nginx: "504 `while reading response header from upstream`, and a long \
            `$upstream_header_time` on successes.",
        haproxy: "504 `sH`; `Tr` grows with `beconn`.",
        envoy: "504 `UT`; `upstream_rq_active` is high.",
        alb: "504; `TargetResponseTime` p99 at the idle time-out.",
        fix: "First find out what the workers wait for; a slow database or service is the usual \
            answer. Then more workers or servers. Limit each server to what it can work on, so \
            that requests wait in the balancer, where other servers can take them: Clearway \
            `maxconn` equal to the number of workers, with `timeouts.queue` short. HAProxy: \
            `maxconn` on the `server` line. Refuse early rather than late when the queue does not \
            empty.",
        ask: "`ss -ltn 'sport = :{port}'`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::AppHung,
            Cause::BackendFdExhausted,
            Cause::QueueTimeout,
            Cause::AcceptQueueOverflow,
        ],
    },
    Page {
        cause: Cause::BackendFdExhausted,
        title: "The application cannot accept connections because it has too many files open",
        party: Party::ServerHost,
        proxy_status: "http_response_timeout",
        often: 2,
        seen: "From the outside it is like a frozen application: connecting succeeds, the request \
            is acknowledged, and then there is silence. The application's log says `accept: Too \
            many open files`, its number of open files is at the limit, and `Recv-Q` of the \
            listening socket is above 0. Often there are many sockets in CLOSE-WAIT, or files that \
            nobody closed.",
        nginx: "504 `while reading response header from upstream`.",
        haproxy: "504 `sH`.",
        envoy: "504 `UT`.",
        alb: "504.",
        fix: "Restart the application, which helps for a while. Raise `LimitNOFILE=` in its unit \
            (or `ulimits` of the container) if the number of connections needs it. If the number \
            of files only grows, find the leak: what they are shows `ls -l /proc/PID/fd`.",
        ask: "`pid=$(ss -ltnpH 'sport = :{port}' | grep -om1 'pid=[0-9]*' | cut -d= -f2); ls \
            /proc/$pid/fd | wc -l; grep 'open files' /proc/$pid/limits`",
        lookalikes: &[
            Cause::AppHung,
            Cause::WorkersSaturated,
            Cause::CloseWaitLeak,
            Cause::AppSlow,
        ],
    },
    Page {
        cause: Cause::CpuThrottledOrGc,
        title: "The server stands still now and then: processor quota, garbage collection, \
            swapping",
        party: Party::ServerHost,
        proxy_status: "http_response_timeout",
        often: 3,
        seen: "Time-outs come in short bursts that hit every request on that host at the same \
            instant; in between all is well. On the host `nr_throttled` and `throttled_usec` in \
            `cpu.stat` jump, the log of the garbage collector shows a pause, the pressure files in \
            `/proc/pressure` are high, or the hypervisor takes time away (steal). Lost packets do \
            not hit all requests at once, and a slow application is not limited to instants.",
        nginx: "Bursts of 504; the times to the head of the response have a second hump.",
        haproxy: "Bursts of `sH`.",
        envoy: "Bursts of `UT`.",
        alb: "Bursts of 504.",
        fix: "Raise or remove the processor limit of the container, or tell the run-time how many \
            processors it really has (`GOMAXPROCS`, `-XX:ActiveProcessorCount`). Choose a \
            collector with short pauses and give it enough memory. Stop swapping. On shared \
            machines look at steal time and move.",
        ask: "`cat /proc/pressure/cpu /proc/pressure/memory; find /sys/fs/cgroup -name cpu.stat | \
            xargs grep -H nr_throttled | sort -t' ' -k2 -nr | head -5; vmstat 1 3`",
        lookalikes: &[Cause::AppSlow, Cause::PacketLoss, Cause::AppHung],
    },
    Page {
        cause: Cause::WorkerTimeoutKill,
        title: "The application server kills its own worker for being slow",
        party: Party::Application,
        proxy_status: "connection_terminated",
        often: 4,
        seen: "The connection ends with a FIN or a reset, without a byte, a round time after the \
            request: 30, 60 or 20 s, shorter than the balancer's time-out. It repeats for the same \
            path. A crash comes sooner or at no particular time; a slow application without such a \
            limit runs into the balancer's time-out. The application's log says `WORKER TIMEOUT` \
            (gunicorn), `HARAKIRI` (uWSGI) or `execution timed out` (php-fpm).",
        nginx: "502 `upstream prematurely closed connection while reading response header from \
            upstream` after about 30.0 s.",
        haproxy: "502 `SH`, `Ta` of about 30000.",
        envoy: "503 `UC` after about 30000 ms.",
        alb: "502, `target_processing_time` about 30, `response_processing_time` -1.",
        fix: "Make the request faster, or move its work into the background. Otherwise raise the \
            worker's limit above the time that it needs: gunicorn `--timeout` (30 s by default), \
            uWSGI `harakiri`, php-fpm `request_terminate_timeout`, Puma `worker_timeout`. The \
            balancer's time-out has to stay longer than the worker's: Clearway \
            `timeouts.response`. Workers of another kind (gunicorn `gthread` or asynchronous ones) \
            are not killed for one slow request.",
        ask: "`journalctl --since -15min --no-pager | grep -Ei 'WORKER TIMEOUT|HARAKIRI|timed \
            out'`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::AppSlow,
            Cause::KeepaliveRace,
            Cause::TimeoutOrderInverted,
        ],
    },
    Page {
        cause: Cause::AppCrashOnRequest,
        title: "This request makes the application crash",
        party: Party::Application,
        proxy_status: "connection_terminated",
        often: 4,
        seen: "A fresh connection ends without a byte after the request, with a FIN (the process \
            ended) or a reset (it left data unread), at once or after some time. The same request \
            does it again, while other requests to the server work; afterwards the port may refuse \
            for a moment. On the server there is a core dump, exit code 139 or 134, or a line \
            `segfault` in the kernel's log. On a reused connection that had been idle, a kept \
            connection that the server closed is more likely.",
        nginx: "502 `upstream prematurely closed connection while reading response header from \
            upstream` (FIN), or `recv() failed (104: Connection reset by peer)` (reset).",
        haproxy: "502 `SH`, with `ERESET` after a reset.",
        envoy: "503 `UC`.",
        alb: "502.",
        fix: "Look into the application's log and for a core dump at that second, and try the \
            request alone against one server. Do not let it be repeated on every server, or it \
            brings down one after the other: Clearway repeats nothing that a server has taken \
            unless `retries.on` says so. Refuse the request with a rule (`deny`) until the \
            application is mended.",
        ask: "`journalctl -k --since -15min --no-pager | grep -Ei 'segfault|trap'; coredumpctl \
            list --since -15min`",
        lookalikes: &[
            Cause::KeepaliveRace,
            Cause::WorkerTimeoutKill,
            Cause::OomKill,
            Cause::ContainerPortForwarder,
            Cause::ProxyProtocolExpected,
            Cause::PlaintextToTls,
            Cause::AppSlow,
            Cause::RollingDeploy,
            Cause::MtlsCertRequired,
            Cause::EarlyResponseReset,
            Cause::RequestHeaderTooLargeBackend,
            Cause::CrashLoop,
        ],
    },
    Page {
        cause: Cause::OomKill,
        title: "The server's kernel killed the application for want of memory",
        party: Party::ServerHost,
        proxy_status: "connection_terminated",
        often: 4,
        seen: "Many requests on one server break at the same instant, whatever their paths; then \
            connections are refused until the restart. Memory had been rising before. On the host \
            the kernel logs `Out of memory: Killed process`, `oom_kill` in `memory.events` rises, \
            the container ends with 137, and Kubernetes says `OOMKilled`. A crash by one request \
            breaks that request again; a deploy sends SIGTERM and removes the server on purpose.",
        nginx: "A burst of `prematurely closed` and `(104`, then `connect() failed (111`.",
        haproxy: "A burst of `SH`, then `SC`, then `DOWN`.",
        envoy: "A burst of `UC`, then `UF`.",
        alb: "A burst of 502, then unhealthy.",
        fix: "Raise the memory limit, or need less: fewer workers (their number times their size \
            has to fit), a bound on uploads, `-Xmx` of a JVM below the limit of the container. \
            Then find out what grew, whether it was a leak or one large request.",
        ask: "`journalctl -k --since -1h --no-pager | grep -i 'out of memory\\|oom-kill'`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::RollingDeploy,
            Cause::CrashLoop,
        ],
    },
    Page {
        cause: Cause::RollingDeploy,
        title: "The server was taken away while the balancer still sent requests to it",
        party: Party::Configuration,
        proxy_status: "connection_terminated or connection_refused",
        often: 5,
        seen: "Errors come only within seconds of a deploy or a change in the number of servers, \
            and the failing address disappears from the backend afterwards. They are mixed: a \
            reset or FIN for requests in flight, refused when the port is closed already, silence \
            or unreachable when the address is gone. The other servers are clean. After a kill for \
            want of memory the same address comes back.",
        nginx: "`prematurely closed`, 111, 110 or 113, on an address that is not configured any \
            more.",
        haproxy: "`SH`, `SC` or `sC`; `D` with `on-marked-down shutdown-sessions`.",
        envoy: "`UC` or `UF`, then the endpoint is removed.",
        alb: "502 or 504 around the deregistration.",
        fix: "Take the server out before it stops, in this order: health or readiness fails, the \
            balancer stops sending, requests in flight end, the process ends. In Kubernetes a \
            `preStop` hook that sleeps 5 to 15 s (longer with cloud balancers), \
            `terminationGracePeriodSeconds` longer than that plus the longest request, \
            `maxUnavailable: 0`. Let the application finish what it has when it gets SIGTERM. \
            Clearway: `clearway ctl drain` for the server first, and `health.fast_interval`.",
        ask: "where kubectl works: `kubectl get events -A --sort-by=.lastTimestamp | tail -20`",
        lookalikes: &[
            Cause::OomKill,
            Cause::CrashLoop,
            Cause::DnsStaleIp,
            Cause::KeepaliveRace,
            Cause::BackendGracefulRecycle,
            Cause::AppCrashOnRequest,
            Cause::MeshSidecarNotReady,
            Cause::LbReloadDropped,
        ],
    },
    Page {
        cause: Cause::DeregistrationDelayElapsed,
        title: "The balancer cut a long request because the drain time of a removed server ended",
        party: Party::Configuration,
        proxy_status: "connection_terminated",
        often: 2,
        seen: "The error comes exactly as long after the server's removal as the drain time says \
            (300 s by default in an ALB). The request is older than that. It is the balancer that \
            closes and not the server. With an ordinary deploy the server closes.",
        nginx: "Old workers end at `worker_shutdown_timeout`.",
        haproxy: "State `D` or `K`, with `on-marked-down shutdown-sessions`.",
        envoy: "At the end of the drain time.",
        alb: "502.",
        fix: "Let the drain time be longer than the longest request: ALB \
            `deregistration_delay.timeout_seconds`, NGINX `worker_shutdown_timeout`, HAProxy \
            `hard-stop-after`, Envoy `--drain-time-s`. In Clearway running requests of a removed \
            server end by their own time-outs, and tunnels after `process.drain` (30 s). \
            Long-lived connections should be made to reconnect by the application.",
        ask: "",
        lookalikes: &[Cause::RollingDeploy],
    },
    Page {
        cause: Cause::BackendGracefulRecycle,
        title: "The application server replaced a worker that had served its number of requests",
        party: Party::Application,
        proxy_status: "connection_terminated",
        often: 3,
        seen: "One request in ten thousand or a hundred thousand ends with a reset or FIN without \
            a byte, whatever its path and however long the connection was idle. What is constant \
            is the number of requests on the worker or its age. Sometimes a connection is refused \
            for some milliseconds. With a kept connection that the server closes, the idle time is \
            constant instead.",
        nginx: "Rarely `(104` or `prematurely closed`.",
        haproxy: "Rarely `SH`.",
        envoy: "Rarely `UC`.",
        alb: "Rarely 502.",
        fix: "Give the limit some spread and let the server announce the end with `Connection: \
            close`: gunicorn `--max-requests-jitter`; php-fpm `pm.max_requests`; Apache \
            `MaxConnectionsPerChild`; Node `server.maxRequestsPerSocket`. Let the balancer repeat \
            a request that got no byte on a kept connection: Clearway does so by itself \
            (`retries.on = [\"connect\", \"reused\"]`). End connections before the server does: \
            `keepalive.max_requests`, `keepalive.max_age`.",
        ask: "`ps -eo pid,etime,comm --sort=etime | head -20`",
        lookalikes: &[
            Cause::KeepaliveRace,
            Cause::AppCrashOnRequest,
            Cause::RollingDeploy,
        ],
    },
    Page {
        cause: Cause::AlbLambdaTarget,
        title: "The Lambda function behind an ALB failed",
        party: Party::Application,
        proxy_status: "http_protocol_error or http_response_timeout or connection_limit_reached",
        often: 2,
        seen: "The access log of the ALB has an `error_reason` that begins with `Lambda`. There \
            are 22 of them, among others access denied, throttled, timed out, invalid response, \
            request or response above 1 MB, no network interface left, a key that cannot be used, \
            and an unhandled error.",
        nginx: "",
        haproxy: "",
        envoy: "",
        alb: "502, 503 or 504 with `error_reason` `Lambda…`; the metrics `LambdaUserError` and \
            `LambdaInternalError`.",
        fix: "It depends on the reason. `LambdaInvalidResponse`: return an object with \
            `statusCode`, `headers`, `body` and `isBase64Encoded`. `LambdaThrottling`: raise the \
            reserved concurrency. `LambdaUnhandled`: read the log of the function. \
            `LambdaAccessDenied`: let the balancer invoke it. `LambdaResponseTooLarge`: answer \
            with a redirect to storage.",
        ask: "",
        lookalikes: &[],
    },
    Page {
        cause: Cause::RetryStormExhausted,
        title: "Every attempt failed, and the visible error is only the last one",
        party: Party::ServerHost,
        proxy_status: "destination_unavailable",
        often: 3,
        seen: "One request made several attempts, on one or more servers, and all failed. The \
            status that the client got is of the last attempt; the real cause is often the first \
            one's, because the later ones met servers that suffered from the retries. Read the \
            attempts one by one.",
        nginx: "Lists with commas in `$upstream_addr`, `$upstream_status` and the times; the last \
            error decides.",
        haproxy: "`%rc` above 0, with `+` when it went to another server.",
        envoy: "`URX` besides `UF`, `UC` or `UT`; the number of attempts in the log.",
        alb: "Not shown.",
        fix: "Explain each attempt by itself, beginning with the first, and mend that. Keep \
            retries from multiplying the load: Clearway `retries.max` (2) and `retries.budget` \
            (0.2 of the requests). HAProxy: `retries`. Envoy: `retry_budget`. NGINX: \
            `proxy_next_upstream_tries` and `proxy_next_upstream_timeout`. Retry in one hop only, \
            or they multiply.",
        ask: "",
        lookalikes: &[Cause::AppSlow, Cause::PortClosed, Cause::AllBackendsDown],
    },
];
