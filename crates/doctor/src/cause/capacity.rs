//! Pages of causes: limits and resources of the balancer.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::EphemeralPorts,
        title: "The balancer has no free source port for this server",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 3,
        seen: "Connecting fails in the call itself with errno 99 (cannot assign requested \
            address). The sockets to this address and port, established and in TIME-WAIT together, \
            are about as many as `net.ipv4.ip_local_port_range` has ports (28,232 by default). \
            Only this destination fails; another port or address still works. If a source address \
            is bound too early, the limit is shared by all destinations.",
        nginx: "502 `[crit] connect() to ADDRESS failed (99: Cannot assign requested address) \
            while connecting to upstream`.",
        haproxy: "503 `SC` with `FREE_PORTS` or `PORT_RANGE`; the documentation says `RC`.",
        envoy: "503 `UF` `immediate_connect_error: Cannot assign requested address`.",
        alb: "Hidden. About 55,000 connections per target by address; a Network Load Balancer \
            counts port allocation errors.",
        fix: "Keep connections, so that fewer are made: Clearway `keepalive.max_idle` above the \
            usual number in flight per worker. Widen the range: \
            `net.ipv4.ip_local_port_range=\"1024 65000\"`, and `net.ipv4.tcp_tw_reuse=1`. Add \
            servers, addresses or ports; Clearway `source_address` per backend does not use up \
            ports early. If most sockets are established and not in TIME-WAIT, requests are too \
            slow or connections leak.",
        ask: "on the balancer: `ss -tanH dst {host} 'dport = :{port}' | awk '{print $1}' | sort | \
            uniq -c; sysctl net.ipv4.ip_local_port_range`",
        lookalikes: &[
            Cause::SelinuxDenied,
            Cause::UnixSocketBacklogFull,
            Cause::FirewallDrop,
        ],
    },
    Page {
        cause: Cause::LbFdLimit,
        title: "The balancer has as many files open as it may",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 2,
        seen: "Accepting or connecting fails with errno 24 (too many open files in the process) or \
            23 (in the system). Clients then wait in the balancer's own accept queue and nothing \
            at all is written to the access log. The number of files in `/proc/PID/fd` is about \
            that of \"Max open files\" in `/proc/PID/limits`, and `ListenOverflows` follows.",
        nginx: "`[crit] accept4() failed (24: Too many open files)` every 0.5 s; `socket() failed \
            (24` and 500 when it happens on the side of the server.",
        haproxy: "Lowers `maxconn` by itself at the start; `PROC_FDLIM` or `SYS_FDLIM`, states \
            `PC` and `RC`.",
        envoy: "The limit on connections of clients, or a crash.",
        alb: "",
        fix: "Look first for a leak: many sockets in CLOSE-WAIT, or connections that nobody ends. \
            Otherwise raise the limit to twice the number of connections and some more: \
            `LimitNOFILE=` in the unit, NGINX `worker_rlimit_nofile`, HAProxy `ulimit-n`. Clearway \
            raises its limit to the hard one by itself; `limits.connections` keeps a listener \
            below it.",
        ask: "on the balancer: `pid=$(pidof clearway); ls /proc/$pid/fd | wc -l; grep 'open files' \
            /proc/$pid/limits`",
        lookalikes: &[
            Cause::CloseWaitLeak,
            Cause::LbWorkerConnections,
            Cause::LbFrontendMaxconn,
        ],
    },
    Page {
        cause: Cause::LbWorkerConnections,
        title: "The balancer's slots for connections are used up",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 3,
        seen: "New clients are closed without an answer, or idle clients are closed early. A \
            request takes two slots, one for the client and one for the server. It comes together \
            with slow servers, because they hold slots for long. A loop of requests through the \
            balancer uses them up within a second.",
        nginx: "`[alert] N worker_connections are not enough`, or `[warn] … reusing connections`. \
            The client gets an empty reply and there is no line in the access log; older versions \
            answer 500.",
        haproxy: "",
        envoy: "`OM`, or the overflow counters of connections.",
        alb: "`RejectedConnectionCount` rises.",
        fix: "Find out what holds the slots: slow servers, slow clients, tunnels. Shorten the \
            time-outs for connecting and waiting. Raise `worker_connections` of NGINX together \
            with its limit of open files. Clearway has no such slots; its bounds are \
            `limits.connections` and the limit of open files.",
        ask: "on the balancer: `ss -s`",
        lookalikes: &[Cause::ProxyLoop, Cause::LbFdLimit, Cause::LbFrontendMaxconn],
    },
    Page {
        cause: Cause::LbFrontendMaxconn,
        title: "The balancer's limit on connections is reached, and clients wait outside",
        party: Party::ClearwayHost,
        proxy_status: "connection_limit_reached",
        often: 2,
        seen: "The kernel makes the connection and then nothing happens: clients wait until they \
            give up, and try again. `Recv-Q` of the balancer's listening socket is above 0, and \
            its number of connections is the limit. Some balancers answer 503 instead of letting \
            clients wait.",
        nginx: "Has no such limit for a listener.",
        haproxy: "No line until a slot becomes free, then `CH`, `CR` or `cR`; `CurrConns` equals \
            `Maxconn` in the statistics.",
        envoy: "`connection_limit` of the listener, or the overload manager.",
        alb: "",
        fix: "Find out what holds the connections: slow servers, slow clients, tunnels, one client \
            with very many. Raise the limit as far as memory and open files allow. Clearway: \
            `limits.connections` and `limits.connections_per_source`. HAProxy: `maxconn`, global \
            and of the frontend.",
        ask: "on the balancer: `ss -ltn; ss -s`",
        lookalikes: &[Cause::LbFdLimit, Cause::WorkersSaturated],
    },
    Page {
        cause: Cause::QueueTimeout,
        title: "The request waited too long for a server with a free slot",
        party: Party::Application,
        proxy_status: "connection_limit_reached",
        often: 3,
        seen: "The whole time of the request is the time-out of the queue, and no connection was \
            tried. All slots that the servers have were taken. Two questions follow: are they \
            taken because the application is slow, or because the limit is low? In flight equal to \
            the limit and a long median time to answer mean a slow application.",
        nginx: "Has no queue: above `max_conns` it answers 502 `no live upstreams` at once.",
        haproxy: "503 `sQ` with `<NOSRV>`, `Tw` equal to `timeout queue`, `Tc` -1.",
        envoy: "Too many pending requests: 503 `UO`, host `-`.",
        alb: "Mostly hidden in the time of the target; 503 with target optimizer.",
        fix: "Make the application faster or add servers. If it could take more at a time, raise \
            the limit. Clearway: `maxconn` of the backend or server; `timeouts.queue` (10 s) and \
            `queue.size` (1024) bound the waiting. HAProxy: `maxconn` on the `server` line, \
            `timeout queue`. Keep the time-out short: a late refusal helps nobody.",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::AppSlow,
            Cause::WorkersSaturated,
            Cause::LbFrontendMaxconn,
        ],
    },
    Page {
        cause: Cause::CircuitBreakerOpen,
        title: "A limit of the balancer on connections or requests to the servers refuses more",
        party: Party::Configuration,
        proxy_status: "connection_limit_reached",
        often: 3,
        seen: "The refusal comes within a millisecond, without a server being chosen, while the \
            servers have little to do or are all at their limit. Counters of overflow rise. When \
            servers are down or ejected, the state of each server says so.",
        nginx: "`no live upstreams while connecting to upstream` because of `max_conns`; \
            `$upstream_addr` is the name of the group.",
        haproxy: "Lets requests wait instead.",
        envoy: "503 `UO` `upstream_reset_before_response_started{overflow}`, host `-`; \
            `upstream_cx_overflow`, `upstream_rq_pending_overflow` or `upstream_rq_retry_overflow` \
            rise.",
        alb: "",
        fix: "Raise the limit if the servers can take more: Envoy `circuit_breakers` (1024 by \
            default), NGINX `max_conns`. Clearway: `maxconn` and `queue.size`. If slow servers \
            hold the slots, that is the cause to mend.",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::QueueTimeout,
            Cause::PassiveEjection,
            Cause::NoServersConfigured,
            Cause::LbWorkerConnections,
        ],
    },
    Page {
        cause: Cause::LbRateLimited,
        title: "A rule of the balancer limits or refuses the client",
        party: Party::Client,
        proxy_status: "http_request_denied",
        often: 3,
        seen: "The answer comes at once, without a server. Only some clients, addresses or paths \
            are affected. NGINX uses 503 for it by default, which is easily mistaken for an \
            outage. Behind another balancer all clients may seem to have one address and share one \
            limit.",
        nginx: "503 `limiting requests, excess: …` or `limiting connections by zone …`.",
        haproxy: "`PR` with 403 or 429, or `PT` with 500 for a tarpit.",
        envoy: "429 `RL`; `RLSE` when the service that limits failed.",
        alb: "403 by the firewall; `actions_executed` has `waf`.",
        fix: "If the client is too fast, it has to slow down; answer 429 so that it knows (NGINX \
            `limit_req_status 429;`). If the limit is too low, allow bursts or raise it. If all \
            clients share one address, count by the real one: Clearway `trusted` of the listener, \
            NGINX `set_real_ip_from`, HAProxy `src` from `X-Forwarded-For`. Clearway itself limits \
            connections (`limits.connections_per_source`) and refuses by rule (`deny`).",
        ask: "",
        lookalikes: &[Cause::AllBackendsDown, Cause::AuthSubrequestFailed],
    },
    Page {
        cause: Cause::ConntrackFull,
        title: "The table of connection tracking is full",
        party: Party::ClearwayHost,
        proxy_status: "connection_timeout",
        often: 3,
        seen: "New connections lose their SYN and time out, while established ones go on. The \
            kernel of the host whose table is full logs `nf_conntrack: table full, dropping \
            packet`, the count equals `nf_conntrack_max`, and `drop` in its statistics rises. It \
            may be the balancer, a router or the server. On the balancer itself even clients time \
            out, and `TCPRetransFail` rises.",
        nginx: "504 `while connecting`, or clients do not reach NGINX at all.",
        haproxy: "503 `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "504; on the instance `conntrack_allowance_exceeded` when the limit is that of its \
            type.",
        fix: "Raise `net.netfilter.nf_conntrack_max` and the number of buckets. Lower \
            `net.netfilter.nf_conntrack_tcp_timeout_established` (5 days by default) and the one \
            for TIME-WAIT. Exempt the balancer's ports from tracking (`NOTRACK`). Kept connections \
            need fewer entries: Clearway `keepalive.max_idle`.",
        ask: "on each of the hosts: `sysctl net.netfilter.nf_conntrack_count \
            net.netfilter.nf_conntrack_max; conntrack -S`",
        lookalikes: &[
            Cause::FirewallDrop,
            Cause::AcceptQueueOverflow,
            Cause::LbEgressDrop,
            Cause::HostDown,
            Cause::ReturnPathDrop,
            Cause::SnatPortCollision,
        ],
    },
    Page {
        cause: Cause::SnatPortCollision,
        title: "Two connections get the same translated port, and one loses its first packet",
        party: Party::Network,
        proxy_status: "connection_timeout",
        often: 2,
        seen: "Now and then connecting to one destination takes 1 or 3 s, or times out, mostly in \
            bursts. On the node that translates addresses `insert_failed` or `clashres` of \
            connection tracking rise: the SYN leaves the pod or container but not the node. Packet \
            loss hits other phases as well; a full accept queue shows on the server.",
        nginx: "`$upstream_connect_time` of 1.0x or 3.0x, a few 504.",
        haproxy: "`Tc` of about 1000 or 3000, or `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "The NAT gateway counts `ErrorPortAllocation`.",
        fix: "Let the node choose ports at random: `--random-fully` on the MASQUERADE or SNAT \
            rule. Translate to more addresses, or not at all inside the network. Kept connections \
            make it rarer: Clearway `keepalive.max_idle`.",
        ask: "on the node that translates: `conntrack -S`",
        lookalikes: &[Cause::AcceptQueueOverflow, Cause::PacketLoss],
    },
    Page {
        cause: Cause::LbOutOfMemory,
        title: "The balancer was killed or refused memory",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 2,
        seen: "Many clients lose their connection in the same millisecond, and the balancer's \
            process is younger than that. The kernel's log has `Out of memory: Killed process` \
            with its name, and `oom_kill` in `memory.events` rises. A reload also replaces \
            processes, but the old ones end in order.",
        nginx: "`[alert] worker process N exited on signal 9`; open requests get no line in the \
            access log.",
        haproxy: "A restart in the journal; `RC` or `out of memory`.",
        envoy: "`OM`, or exit code 137.",
        alb: "",
        fix: "Raise the memory limit of the unit or container. Bound what grows with the number of \
            connections: Clearway `limits.connections`, `limits.header_bytes`, \
            `retries.body_buffer`, `log.buffer`; NGINX `proxy_buffers`. If memory grows without \
            load, it is a leak: upgrade, and report it.",
        ask: "on the balancer: `journalctl -k --since -1h --no-pager | grep -i 'out of \
            memory\\|oom-kill'`",
        lookalikes: &[Cause::LbReloadDropped],
    },
    Page {
        cause: Cause::LbDiskFull,
        title: "The disk on which the balancer keeps bodies is full",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 2,
        seen: "Writing fails with errno 28 (no space left on device). Large uploads end with 500 \
            before a server is chosen; large downloads are cut, with status 200 in the log. Small \
            ones work. The server did not close first, which tells it from a short body of the \
            server.",
        nginx: "Upload: 500 `[crit] pwrite() \"…/client_body_temp/…\" failed (28: No space left on \
            device)`, `$upstream_addr` `-`. Download: cut `while reading upstream`.",
        haproxy: "",
        envoy: "",
        alb: "",
        fix: "Free space or enlarge the volume; logs are the usual culprit. Let bodies pass \
            without files: NGINX `proxy_max_temp_file_size 0;` and `proxy_request_buffering off;`. \
            Watch that volume. Clearway never puts bodies on disk, and lines of the log that \
            cannot be written are dropped and counted.",
        ask: "on the balancer: `df -h; df -i`",
        lookalikes: &[
            Cause::RespBodyShort,
            Cause::LbTempPermission,
            Cause::ClientAbort,
        ],
    },
    Page {
        cause: Cause::LbTempPermission,
        title: "The balancer may not write into its directory for bodies",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 2,
        seen: "Opening a file for a body fails with errno 13 (permission denied). Only bodies \
            above the memory buffer (8 or 16 KB) fail: uploads with 500, downloads cut with status \
            200. It often begins when the user of the balancer was changed, or in a container with \
            a read-only root.",
        nginx: "`[crit] open() \"/var/lib/nginx/proxy/…\" failed (13: Permission denied) while \
            reading upstream`; the body is cut, or 500 for an upload.",
        haproxy: "",
        envoy: "",
        alb: "",
        fix: "Give the directories to the user of the workers: `chown -R www-data /var/lib/nginx`. \
            In containers mount a volume or `tmpfs` there. Clearway never puts bodies on disk.",
        ask: "on the balancer: `ls -ld /var/lib/nginx /var/lib/nginx/*; ps -o user,args -C nginx`",
        lookalikes: &[Cause::RespBodyShort, Cause::LbDiskFull],
    },
    Page {
        cause: Cause::LbReloadDropped,
        title: "A reload or restart of the balancer cut requests in flight",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 2,
        seen: "Errors come within seconds of a reload or restart, and the numbers of the processes \
            changed. Either the listening socket was closed for a moment, or old workers were \
            ended at a limit while they still had requests, mostly tunnels. With a deploy of \
            servers the balancer's processes stay.",
        nginx: "Old workers end at `worker_shutdown_timeout`; clients see resets.",
        haproxy: "`Stopping proxy …` in the log; after `hard-stop-after` state `K` or resets.",
        envoy: "`DT` or `LR` while draining.",
        alb: "",
        fix: "Reload instead of restarting: Clearway `clearway ctl reload` keeps sockets and \
            running requests. Let limits be longer than the longest request: Clearway \
            `process.drain` (30 s), NGINX `worker_shutdown_timeout`, HAProxy `hard-stop-after`. \
            Collect changes of servers and reload less often. Take a balancer out of DNS or of the \
            outer balancer before a restart.",
        ask: "on the balancer: `journalctl -u clearway --since -15min --no-pager`",
        lookalikes: &[
            Cause::RollingDeploy,
            Cause::ClientAbort,
            Cause::LbOutOfMemory,
        ],
    },
];
