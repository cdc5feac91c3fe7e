//! Pages of causes: the way between the hosts.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::RouteMissing,
        title: "The balancer's host has no route to the server's network",
        party: Party::ClearwayHost,
        proxy_status: "destination_ip_unroutable",
        often: 2,
        seen: "Connecting fails in the call itself, within microseconds, with errno 101 (network \
            is unreachable). Nothing leaves the host and the counter `Ip.OutNoRoutes` rises. When \
            a router further on has no route, the same errno comes later and an ICMP message \
            arrives; when the server's host is down, it takes about 3 s.",
        nginx: "502 `connect() to ADDRESS failed (101: Network is unreachable)`. That the address \
            stands in the first part means that the call failed on this host.",
        haproxy: "503 `SC` with `SOCK_ERR`; the errno is lost.",
        envoy: "503 `UF` `immediate_connect_error: Network is unreachable`.",
        alb: "502 or 504.",
        fix: "Add the route, attach the missing interface or peering, or mend the container's \
            network. Check the routing table in the network namespace of the balancer, which is \
            not the host's when it runs in a container.",
        ask: "on the balancer: `ip route get {host}`",
        lookalikes: &[
            Cause::IcmpNetUnreachable,
            Cause::FirewallAdminProhibited,
            Cause::HostDown,
        ],
    },
    Page {
        cause: Cause::IcmpNetUnreachable,
        title: "A router on the way reports that the network cannot be reached",
        party: Party::Network,
        proxy_status: "destination_ip_unroutable",
        often: 1,
        seen: "Connecting fails with errno 101 (network is unreachable) after one round trip, and \
            `Icmp.InDestUnreachs` rises on the balancer. The sender of the ICMP message is the \
            router without a route. Routers send only about one such message per second to the \
            same address, so one and the same fault appears as quick failures for some requests \
            and as time-outs for others: the same server, the same sender, about one a second.",
        nginx: "502 `connect() failed (101: Network is unreachable)`, without the address in the \
            first part, or 504 `while connecting` when the router stayed silent.",
        haproxy: "503 `SC` with the last event `F9`, or 503 `sC`.",
        envoy: "503 `UF` with `delayed_connect_error` or `connection_timeout`.",
        alb: "502.",
        fix: "Mend the route on the router that sends the ICMP message; its address is in the \
            evidence. If that router is your own gateway, look for a lost peering, tunnel or \
            routing session.",
        ask: "on the balancer: `tcpdump -ni any 'icmp[0] = 3'`",
        lookalikes: &[Cause::RouteMissing, Cause::FirewallDrop],
    },
    Page {
        cause: Cause::RoutePolicyLocal,
        title: "A local policy route forbids the destination",
        party: Party::ClearwayHost,
        proxy_status: "destination_ip_prohibited",
        often: 1,
        seen: "Connecting fails in the call itself: errno 13 for a route of type `prohibit`, 113 \
            for `unreachable`, 22 for `blackhole`. No packet leaves and no counter moves. `ip \
            route get` names the type. A denial by SELinux gives errno 13 as well, but `ip route \
            get` then shows an ordinary route.",
        nginx: "502 `[crit] connect() to ADDRESS failed (13: Permission denied)` or `(22: Invalid \
            argument)`; `[error]` with `(113: No route to host)`.",
        haproxy: "503 `SC` with `SOCK_ERR` for all three.",
        envoy: "503 `UF` `immediate_connect_error: Permission denied`, `Invalid argument` or `No \
            route to host`.",
        alb: "",
        fix: "Remove or narrow the route. It mostly comes from a VPN that blocks everything \
            outside its tunnel, from fail2ban, or from a container network such as Calico that \
            makes a blackhole of a node's address range.",
        ask: "on the balancer: `ip route get {host}`",
        lookalikes: &[
            Cause::SelinuxDenied,
            Cause::RouteMissing,
            Cause::UnixSocketPermission,
        ],
    },
    Page {
        cause: Cause::HostDown,
        title: "The server's host or its link is down",
        party: Party::ServerHost,
        proxy_status: "connection_timeout or destination_ip_unroutable",
        often: 4,
        seen: "The SYN is repeated without answer. After about 3 s the kernel gives up looking for \
            its hardware address and reports errno 113 (no route to host); with a shorter time-out \
            it looks exactly like a firewall that drops. In the same network `ip neigh` shows the \
            address as `FAILED` or `INCOMPLETE`. Behind a router, that router reports the host as \
            unreachable after about 3 s. No other port of the host answers either. A firewall that \
            says \"prohibited\" gives the same errno, but within one round trip.",
        nginx: "504 `upstream timed out … while connecting` when the time-out is below 3 s, else \
            502 `(113: No route to host)`.",
        haproxy: "503 `SC` with `EUNREACH`, or `sC`.",
        envoy: "503 `UF` with `connection_timeout`, or `delayed_connect_error: No route to host`.",
        alb: "504 after 10 s, or 502.",
        fix: "Start or replace the host, and check link, VLAN and address. Until then take it out. \
            Clearway: `clearway ctl maintenance` for the server, and a health check \
            (`[backend.NAME.health]`), which does that by itself. A short `timeouts.connect` (500 \
            ms to 1 s within a site) with a retry on another server keeps clients from noticing.",
        ask: "on the balancer: `ip neigh show {host}`",
        lookalikes: &[
            Cause::FirewallDrop,
            Cause::AcceptQueueOverflow,
            Cause::FirewallAdminProhibited,
            Cause::ConntrackFull,
            Cause::ReturnPathDrop,
            Cause::LbEgressDrop,
            Cause::RouteMissing,
            Cause::DnsStaleIp,
        ],
    },
    Page {
        cause: Cause::ReturnPathDrop,
        title: "The server answers the connection attempt, but its answer is lost on the way back",
        party: Party::Network,
        proxy_status: "connection_timeout",
        often: 2,
        seen: "From the balancer it cannot be told from a firewall that drops the SYN. On the \
            server it can: a socket in state SYN-RECV for the balancer's address, and \
            `TCPSynRetrans` and `RetransSegs` rise there, without `ListenOverflows`. The reasons \
            are a filter that knows one direction only, a missing route back, or the reverse path \
            filter, which counts in `IPReversePathFilter`.",
        nginx: "504 `while connecting`.",
        haproxy: "503 `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "504. The usual case is a network ACL that does not let ports 1024 to 65535 back.",
        fix: "Let the return traffic pass: established connections, or the client ports 1024 to \
            65535 where the filter has no memory. Add the route back to the balancer's network on \
            the server. With several interfaces set `net.ipv4.conf.all.rp_filter=2`. Otherwise \
            make sure that both directions take the same way.",
        ask: "`ss -tn state syn-recv 'sport = :{port}'`",
        lookalikes: &[
            Cause::FirewallDrop,
            Cause::AcceptQueueOverflow,
            Cause::HostDown,
            Cause::ConntrackFull,
            Cause::LbEgressDrop,
        ],
    },
    Page {
        cause: Cause::IpConflict,
        title: "Two machines have the server's address",
        party: Party::Network,
        proxy_status: "connection_terminated or connection_refused",
        often: 1,
        seen: "Success and failure alternate for one address: refused, reset in the middle, \
            silent, then good again. The hardware address that `ip neigh` shows for it changes, \
            and the TTL or TCP options of the answers differ from one attempt to the next. \
            Connections that were accepted are reset, because their packets reach the other \
            machine. A server that restarts in a loop looks alike, but its hardware address stays.",
        nginx: "A mix of 111, 104 and 110.",
        haproxy: "A mix of `SC`, `SH` and `sC`.",
        envoy: "A mix of `UF` and `UC`.",
        alb: "",
        fix: "Find both machines by their hardware addresses and take the address from one. Then \
            look for the reason: a fixed address inside the DHCP range, a cloned machine, a \
            virtual address that two members of a failover pair hold at the same time. After \
            mending send a gratuitous ARP, so that other hosts forget the old one.",
        ask: "on the balancer: `arping -D -c 3 -I eth0 {host}`",
        lookalikes: &[Cause::CrashLoop, Cause::NatIdleRst],
    },
    Page {
        cause: Cause::PacketLoss,
        title: "The way between balancer and server loses packets",
        party: Party::Network,
        proxy_status: "connection_timeout or connection_read_timeout",
        often: 2,
        seen: "The same server fails in different phases: connecting, waiting, in the body. \
            Requests that succeed show retransmissions and a long round trip as well. Times to \
            connect gather at 1 s and 3 s (at every full second since Linux 6.5), the moments when \
            a lost SYN is sent again. A full accept queue and collisions of NAT ports delay \
            connecting only, not what comes after.",
        nginx: "504 in several phases; `$upstream_connect_time` just above a full second on slow \
            successes.",
        haproxy: "`sC` and `sH`, and a long `Tc`.",
        envoy: "`UF` and `UT`.",
        alb: "504 now and then.",
        fix: "Look for the lossy hop: errors and drops of network cards on both hosts, duplex and \
            cables, an overloaded virtual switch or router, a bandwidth limit of the machine type. \
            Retries hide it from clients (Clearway: `retries.max`), but only a mended link helps.",
        ask: "`nstat -az TcpRetransSegs TcpExtTCPLostRetransmit TcpExtTCPTimeouts`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::AcceptQueueOverflow,
            Cause::SnatPortCollision,
        ],
    },
    Page {
        cause: Cause::StickyToDeadServer,
        title: "A session cookie or hash holds clients to a server that is gone",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 2,
        seen: "Only clients with a certain cookie value or source address fail; the same request \
            without the cookie succeeds. The server that it names is down or removed, and the \
            others are healthy. When everybody fails, the server is not the only one that is down.",
        nginx: "With `ip_hash` or `hash` the next server is tried, unless `proxy_next_upstream` or \
            its limits forbid it.",
        haproxy: "503 `SC` with `D` as third letter (the cookie names a dead server) under `option \
            persist`; `DI` when the request went elsewhere.",
        envoy: "503 when the override host is strict.",
        alb: "Chooses another target.",
        fix: "Let requests go elsewhere when their server is down. Clearway does: stickiness holds \
            only as long as the server is up. HAProxy: `option redispatch`, and no `option \
            persist`. Envoy: no strict override. Drain servers before removing them, and give \
            cookies a short life (Clearway: `sticky.max_age`).",
        ask: "on the balancer: `clearway ctl servers`",
        lookalikes: &[Cause::PortClosed],
    },
    Page {
        cause: Cause::AuthSubrequestFailed,
        title: "A call to an authentication service failed, not the application",
        party: Party::Application,
        proxy_status: "proxy_internal_error or http_request_denied",
        often: 3,
        seen: "The balancer answers with an error although it never contacted a server of the \
            backend. Before forwarding, it asks another service for permission: an authentication \
            endpoint, an identity provider, a web application firewall. That call failed or timed \
            out. All paths behind the check fail at the same time; paths without it work.",
        nginx: "500 `auth request unexpected status: 502 while sending to client`.",
        haproxy: "Errors of SPOE or Lua in the log, state `PR`.",
        envoy: "403 `UAEX` when `failure_mode_allow` is false; `RLSE` when the rate limiter \
            failed.",
        alb: "401, 500 or 561 with an `error_reason` that begins with `Auth`; 500 when the \
            identity provider cannot be reached or takes more than 5 s.",
        fix: "Diagnose the authentication service like any other server: is it up, reachable, \
            fast? Check its address and certificate from the balancer. Decide on purpose what \
            happens when it is down: refusing everybody is safe, letting everybody in may not be.",
        ask: "on the balancer: `curl -sv -m 5 -o /dev/null http://{address}/`",
        lookalikes: &[Cause::UpstreamGenerated5xx],
    },
    Page {
        cause: Cause::WrongServiceListening,
        title: "A different application answers at the right address and port",
        party: Party::Configuration,
        proxy_status: "",
        often: 2,
        seen: "Everything works on the wire, but the answers are wrong: a 404, 401 or redirect \
            with an unfamiliar `Server` header, unknown cookies, or a certificate for another \
            name. They differ from the last good answers of this backend. The port or the address \
            was given to something else, or the server has a default site that answers for unknown \
            hosts. If a change of the `Host` header alone brings the right answer, the header is \
            wrong and not the service.",
        nginx: "404 or another status from the server, with `$upstream_header_time` set.",
        haproxy: "404 with state `----`.",
        envoy: "404 with `via_upstream`.",
        alb: "`target_status_code` 404.",
        fix: "Find out which program listens there. If the address was reused, the balancer has a \
            stale one: see dns-stale-ip. If the port was, see port-wrong. Health checks that look \
            for something only the right application says prevent it: Clearway `health.path` with \
            `health.body`.",
        ask: "`ss -ltnp 'sport = :{port}'`",
        lookalikes: &[Cause::DnsStaleIp, Cause::BadHostHeader, Cause::PortWrong],
    },
];
