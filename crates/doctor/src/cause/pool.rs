//! Pages of causes: kept connections.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::ConntrackInvalidReset,
        title: "A box with NAT takes good packets for invalid and the connection is reset",
        party: Party::Network,
        proxy_status: "connection_terminated",
        often: 2,
        seen: "A reset comes in the middle of a transfer, mostly of large bodies or after long \
            silence, although neither side closed. The box between the hosts could not match a \
            packet to its connection, let it pass without translating it, and the receiver reset \
            what it did not know. On that box `invalid` in the statistics of connection tracking \
            rises; with `net.netfilter.nf_conntrack_log_invalid=6` the kernel logs the packets. A \
            crash of the application shows in its log, this does not.",
        nginx: "`recv() failed (104` or `readv() failed (104: Connection reset by peer) while \
            reading upstream`.",
        haproxy: "`SD`, or `SH` with `ERESET`.",
        envoy: "`UC`, or `UPE` after the head.",
        alb: "502.",
        fix: "On the box with NAT, often a Kubernetes node, drop invalid packets instead of \
            passing them: `iptables -I FORWARD -m conntrack --ctstate INVALID -j DROP`. Or let \
            tracking be lenient: `net.netfilter.nf_conntrack_tcp_be_liberal=1`.",
        ask: "on the box with NAT: `conntrack -S`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::NatIdleRst,
            Cause::RespBodyShort,
        ],
    },
    Page {
        cause: Cause::H2GoawayRace,
        title: "The server ends an HTTP/2 connection just as requests are sent on it",
        party: Party::Application,
        proxy_status: "connection_terminated",
        often: 2,
        seen: "The server sends GOAWAY with the number of the last stream that it works on. \
            Requests on higher streams were not touched and may be sent again, whatever their \
            method. It comes at a limit on requests or age (1000 requests with NGINX, 10,000 with \
            ALB) or at a restart. It becomes visible when a body cannot be sent again.",
        nginx: "With gRPC `upstream sent goaway with error …`, or `upstream prematurely closed \
            stream`.",
        haproxy: "`SH`, or the client's stream is refused without a line in the log.",
        envoy: "503 `UR` or `UC` with a remote reset.",
        alb: "Towards clients: code 000 and a GOAWAY.",
        fix: "Let such requests be tried again; Clearway does that by itself, as long as it has \
            their body (`retries.body_buffer`, 16 KiB). Raise the server's limit, such as \
            `keepalive_requests` of NGINX. End connections before the server does: \
            `keepalive.max_requests`, `keepalive.max_age`.",
        ask: "",
        lookalikes: &[
            Cause::KeepaliveRace,
            Cause::H2StreamRefused,
            Cause::BackendGracefulRecycle,
        ],
    },
    Page {
        cause: Cause::KeepaliveRace,
        title: "The server closes an idle kept connection just as the balancer uses it again",
        party: Party::Configuration,
        proxy_status: "connection_terminated",
        often: 5,
        seen: "A reused connection ends with a reset or FIN within one round trip, without a byte, \
            and a fresh connection works at once. The idle time before is about constant: the \
            server's own limit. Node and Apache have 5 s, uvicorn 5 s, gunicorn 2 s in most \
            versions, Tomcat 20 or 60 s, Jetty 30 s, NGINX 75 s, Kestrel 130 s, Go none unless \
            set. Errors get rarer when traffic rises, because connections do not get idle. On the \
            server `TCPAbortOnData` rises; where it stays flat, a box in between answered.",
        nginx: "For POST and PATCH 502 `recv() failed (104: Connection reset by peer) while \
            reading response header from upstream`. GET is repeated in silence: 200, with \
            `$upstream_status` `502, 200`. Since NGINX 1.29.7 connections to servers are kept by \
            default, so an upgrade can start it.",
        haproxy: "2.6: 502 `SH`. 3.x: no line in the log; the client gets an empty reply or a \
            refused stream. The default `http-reuse safe` hides it for the first request of a \
            client.",
        envoy: "503 `UC` `upstream_reset_before_response_started{connection_termination}`.",
        alb: "502, `target_status_code` `-`, `target_processing_time` small or -1.",
        fix: "Let the balancer give up idle connections before the server does. Clearway: \
            `keepalive.idle_timeout` below the server's limit (for example `\"4s\"`); it also \
            closes what the server has closed and repeats what may be repeated. NGINX: \
            `keepalive_timeout 4s;` in the upstream. Envoy: `idle_timeout`. HAProxy: a shorter \
            `pool-purge-delay`, which closes half of the idle connections each time. Or let the \
            server keep them longer: Node `server.keepAliveTimeout = 65000` and \
            `server.headersTimeout = 66000`, gunicorn `--keep-alive 75`, uvicorn \
            `--timeout-keep-alive 75`, Apache `KeepAliveTimeout 75`, Tomcat \
            `keepAliveTimeout=\"65000\"`. With an ALB only the latter is possible: longer than its \
            idle time-out.",
        ask: "`nstat -az TcpExtTCPAbortOnData`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::NatIdleRst,
            Cause::BackendGracefulRecycle,
            Cause::RollingDeploy,
            Cause::WorkerTimeoutKill,
            Cause::StalePoolAfterReboot,
            Cause::H2GoawayRace,
            Cause::NatIdleDrop,
        ],
    },
    Page {
        cause: Cause::NatIdleDrop,
        title: "Something between the hosts forgot the idle connection and drops its packets",
        party: Party::Network,
        proxy_status: "connection_read_timeout",
        often: 3,
        seen: "A reused connection that had been idle for long gets no answer until the time-out. \
            Not a byte of the request is acknowledged and retransmissions grow, whereas with a \
            slow application everything is acknowledged. A fresh connection works at once. The \
            idle time from which it fails tells the box: 350 s AWS NAT gateway and Network Load \
            Balancer, 240 s Azure, 600 s Google Cloud, 3600 s many firewalls.",
        nginx: "504 `upstream timed out … while reading response header from upstream`, as for a \
            slow application, with `$upstream_bytes_sent` above 0.",
        haproxy: "504 `sH`.",
        envoy: "504 `UT`.",
        alb: "504.",
        fix: "Keep connections idle for less than the box remembers them. Clearway: \
            `keepalive.idle_timeout` (60 s, which is below all these). NGINX: `keepalive_timeout` \
            in the upstream; Envoy: `idle_timeout`. Or keep the box awake with TCP keep-alive: \
            NGINX `proxy_socket_keepalive on;` with `net.ipv4.tcp_keepalive_time=60`, HAProxy \
            `option srvtcpka`, Envoy `tcp_keepalive`. For tunnels the application has to send \
            pings.",
        ask: "`ss -tnoi 'sport = :{port}'`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::PmtuBlackholeRequest,
            Cause::KeepaliveRace,
            Cause::StalePoolAfterReboot,
            Cause::NatIdleRst,
        ],
    },
    Page {
        cause: Cause::NatIdleRst,
        title: "Something between the hosts forgot the idle connection and resets it",
        party: Party::Network,
        proxy_status: "connection_terminated",
        often: 2,
        seen: "On the wire it is like a kept connection that the server closed: a reset on reuse, \
            without a byte. But the server saw nothing of it: its counters `TCPAbortOnData` and \
            `OutRsts` stay flat and its socket is still established. The idle time from which it \
            happens is that of a box (350 s, 240 s, 600 s, 3600 s) and not the application's.",
        nginx: "502 `recv() failed (104` for POST, a silent repetition for GET.",
        haproxy: "`SH`, or closed in silence.",
        envoy: "503 `UC`.",
        alb: "502.",
        fix: "Keep connections idle for less than the box remembers them. Clearway: \
            `keepalive.idle_timeout`. NGINX: `keepalive_timeout` in the upstream. Envoy: \
            `idle_timeout`. Or keep the box awake with TCP keep-alive: NGINX \
            `proxy_socket_keepalive on;`, HAProxy `option srvtcpka`, Envoy `tcp_keepalive`.",
        ask: "`ss -tno state established 'sport = :{port}'`",
        lookalikes: &[Cause::KeepaliveRace, Cause::NatIdleDrop],
    },
    Page {
        cause: Cause::StalePoolAfterReboot,
        title: "The server's host restarted and kept connections to it are dead",
        party: Party::ServerHost,
        proxy_status: "connection_terminated or connection_read_timeout",
        often: 2,
        seen: "Every kept connection to one address fails once when it is used again, at about the \
            same time; fresh ones work. A reset means that the host is back and knows nothing of \
            the connection; silence means that the address moved or is gone. A kept connection \
            that the server closes for idleness fails alone and at a constant idle time.",
        nginx: "`(104` once per kept connection, or 504.",
        haproxy: "`SH`, or closed in silence, or `sH`.",
        envoy: "`UC` or `UT`.",
        alb: "A burst of 502 or 504.",
        fix: "It ends by itself once the old connections are used up. Clearway repeats requests \
            that got no byte on a kept connection, and closes idle ones after \
            `keepalive.idle_timeout`; a shorter value and `keepalive.max_age` make it rarer. Take \
            servers out before planned restarts: `clearway ctl drain`.",
        ask: "`uptime -s; journalctl --list-boots | tail -3`",
        lookalikes: &[Cause::KeepaliveRace, Cause::OomKill, Cause::NatIdleDrop],
    },
    Page {
        cause: Cause::PoolDesyncLeftover,
        title: "Bytes of an earlier response are taken for the next one",
        party: Party::Application,
        proxy_status: "http_protocol_error",
        often: 2,
        seen: "Bytes come on an idle connection before a request is sent: a body longer than its \
            `Content-Length`, a body after HEAD, 204 or 304, or a late `408` with which some \
            servers end idle connections. A balancer that does not look takes them for the next \
            response: an innocent request fails, or somebody gets a wrong answer. It happens on \
            reused connections only.",
        nginx: "`[warn] upstream sent more data than specified in \"Content-Length\" header`, and \
            the connection is closed.",
        haproxy: "The connection is closed; older versions answer the next request with 502 `PH`.",
        envoy: "The connection is closed; a 204 with a body is a 502 `UPE`.",
        alb: "502.",
        fix: "Mend the length or the body in the application, for the request before the one that \
            failed. A balancer must not use connections with bytes waiting; Clearway does not take \
            one out of the pool on which anything arrived. As a stop-gap keep no connections: \
            Clearway `keepalive.max_idle = 0`.",
        ask: "`curl -sv -m 10 -o /dev/null -I http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::RespInvalidStatusLine,
            Cause::KeepaliveRace,
            Cause::RespDupFraming,
        ],
    },
    Page {
        cause: Cause::CloseWaitLeak,
        title: "Connections that the other side has closed are never closed here",
        party: Party::Application,
        proxy_status: "proxy_internal_error",
        often: 2,
        seen: "The number of sockets in CLOSE-WAIT only grows, and the process that owns them is \
            named by `ss`. It ends with \"too many open files\", a full pool or a limit on \
            connections. It may be the application on the server or the balancer itself, so look \
            on both.",
        nginx: "`socket() failed (24: Too many open files)` or the same with `accept4()`.",
        haproxy: "Some releases of 2.2 and 2.4 have such leaks: the number of connections never \
            falls.",
        envoy: "",
        alb: "",
        fix: "Restart the process that owns them, which helps for a while. Then upgrade or mend \
            it: a library for HTTP whose responses are not closed is the usual reason. Time-outs \
            for half-closed connections limit the harm: Clearway `timeouts.half_closed`, HAProxy \
            `timeout client-fin` and `timeout server-fin`.",
        ask: "`ss -tnp state close-wait`",
        lookalikes: &[Cause::BackendFdExhausted, Cause::LbFdLimit],
    },
];
