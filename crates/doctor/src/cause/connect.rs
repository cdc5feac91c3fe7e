//! Pages of causes: making the connection.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::PortClosed,
        title: "Nothing listens on the server's port",
        party: Party::ServerHost,
        proxy_status: "connection_refused",
        often: 5,
        seen: "The server's host answers the SYN with a reset within one round trip: errno 111 \
            (connection refused). The application is stopped, has crashed or is still starting. \
            Other ports of the host answer, so the host is up. No ICMP message arrives on the \
            balancer; on the server `Tcp.OutRsts` rises and the list of listening sockets has no \
            such port. If it is there on `127.0.0.1` only, or under another port, it is one of the \
            look-alikes.",
        nginx: "502 `connect() failed (111: Connection refused) while connecting to upstream`; \
            `$upstream_connect_time` is `-`, no byte was sent.",
        haproxy: "503 (not 502) `SC`, `Tc` -1, `EREFUSED`. With health checks, `DOWN` with `Layer4 \
            connection problem`.",
        envoy: "503 `UF` `delayed_connect_error: Connection refused`.",
        alb: "502, `target_processing_time` -1, `target_status_code` `-`.",
        fix: "Start the application. Then read why it ended: `journalctl -u UNIT`, `docker logs \
            CONTAINER`, `kubectl logs -p POD`. If it is only slow to start, let the balancer wait \
            for it with a health check: Clearway `[backend.NAME.health]` with a `path`. Requests \
            are tried on another server by themselves where there is one (Clearway `retries.on = \
            [\"connect\", \"reused\"]`, the default; HAProxy `option redispatch`).",
        ask: "`ss -ltnp 'sport = :{port}'`",
        lookalikes: &[
            Cause::PortWrong,
            Cause::BindLoopbackOnly,
            Cause::FirewallRejectRst,
            Cause::FirewallRejectIcmp,
            Cause::CrashLoop,
            Cause::LbEgressReject,
            Cause::DnsStaleIp,
            Cause::LocalhostIpv6First,
            Cause::K8sNoEndpoints,
        ],
    },
    Page {
        cause: Cause::PortWrong,
        title: "The application listens on another port than the balancer is told",
        party: Party::Configuration,
        proxy_status: "connection_refused",
        often: 5,
        seen: "Connections are refused, as if nothing ran, but the process is alive and listens \
            elsewhere. A short scan of the usual ports (80, 3000, 5000, 8000, 8080, 8443 and those \
            next to the configured one) or the list of listening sockets on the server shows it. \
            It has never worked since the last change of the configuration or of the application's \
            image, whereas a stopped application worked before.",
        nginx: "502 `connect() failed (111: Connection refused)`, as for a closed port.",
        haproxy: "503 `SC` with `EREFUSED`, as for a closed port.",
        envoy: "503 `UF` `delayed_connect_error: Connection refused`, as for a closed port.",
        alb: "502, or targets that never become healthy.",
        fix: "Give the balancer the port that the application really listens on (Clearway: \
            `servers` of the backend), or set the port of the application, often `PORT` in its \
            environment. In Kubernetes `targetPort` of the Service has to be the port inside the \
            container; in Docker the number after the colon of `-p` has to be.",
        ask: "`ss -ltnp`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::BindLoopbackOnly,
            Cause::WrongServiceListening,
            Cause::HcWrongPortOrProtocol,
        ],
    },
    Page {
        cause: Cause::BindLoopbackOnly,
        title: "The application listens on 127.0.0.1 only",
        party: Party::ServerHost,
        proxy_status: "connection_refused",
        often: 5,
        seen: "The balancer is refused, but a request on the server itself works. The list of \
            listening sockets there has the port with the local address `127.0.0.1` or `[::1]`; in \
            `/proc/net/tcp` that is `0100007F`. From the balancer alone it cannot be told from a \
            closed port. Behind a published port of Docker the connection succeeds and is then \
            reset, because the forwarder accepts it.",
        nginx: "502 `connect() failed (111: Connection refused)`; behind a published port of \
            Docker, `recv() failed (104`.",
        haproxy: "503 `SC`; with a forwarder in between 502 `SH`.",
        envoy: "503 `UF`; with a forwarder in between 503 `UC`.",
        alb: "502.",
        fix: "Let the application listen on all addresses, `0.0.0.0` or `::`, or on the address \
            that the balancer uses. Frameworks call it `--host 0.0.0.0`, `HOST=0.0.0.0`, `--bind \
            0.0.0.0:PORT` or `server.address`. Development servers listen on loopback by default. \
            If nobody else is to reach the port, close it in the firewall for everybody but the \
            balancer.",
        ask: "`ss -ltn 'sport = :{port}'`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::PortWrong,
            Cause::ContainerPortForwarder,
            Cause::LocalhostIpv6First,
        ],
    },
    Page {
        cause: Cause::CrashLoop,
        title: "The application restarts again and again",
        party: Party::Application,
        proxy_status: "connection_refused",
        often: 4,
        seen: "Refused connections and good answers alternate in bursts. The refused stretches get \
            longer, because whoever restarts the application waits longer each time (10, 20, 40 \
            s). The process is always younger than the last error. Shortly before each stretch, \
            requests in flight and kept connections end with a FIN or a reset. A deploy looks \
            alike once, but does not come back.",
        nginx: "Bursts of `connect() failed (111` mixed with `upstream prematurely closed \
            connection`.",
        haproxy: "A mix of `SC` and `SH`; the server goes `UP` and `DOWN` in the log.",
        envoy: "A mix of `UF` and `UC`.",
        alb: "502 now and then; the target changes between healthy and unhealthy.",
        fix: "Look at the last exit code and mend that: 137 is a kill, mostly for want of memory, \
            139 a segmentation fault, 1 an error of the application's own, which its log explains. \
            Keep traffic away until it is really ready: a health check on a path that needs \
            everything the application needs (Clearway `health.path`, `health.rise`), and \
            `slow_start`.",
        ask: "`journalctl --since -15min --no-pager | grep -Ei 'exited|killed|segfault|Started'`",
        lookalikes: &[Cause::PortClosed, Cause::OomKill, Cause::RollingDeploy],
    },
    Page {
        cause: Cause::FirewallRejectIcmp,
        title: "A firewall rejects the connection with an ICMP message \"port unreachable\"",
        party: Party::ServerHost,
        proxy_status: "connection_refused",
        often: 3,
        seen: "Connecting fails with errno 111 (connection refused), as for a closed port. The \
            difference is on the wire: an ICMP message of type 3 code 3 arrives instead of a \
            reset, and `Icmp.InDestUnreachs` rises on the balancer. Its sender says which machine \
            refused; mostly the server itself. ICMP messages are rate limited, so some attempts \
            may time out instead.",
        nginx: "502 `connect() failed (111: Connection refused)`, the same text as for a closed \
            port.",
        haproxy: "503 `SC`, but without `EREFUSED`, and with the last event `F9` (a closed port \
            gives `F7`).",
        envoy: "503 `UF` `delayed_connect_error: Connection refused`, the same text as for a \
            closed port.",
        alb: "502.",
        fix: "Open the port for the balancer's address on the machine that sent the message. `ufw \
            allow proto tcp from BALANCER to any port PORT`; or `firewall-cmd --permanent \
            --add-rich-rule='rule family=ipv4 source address=BALANCER port port=PORT protocol=tcp \
            accept'` and `firewall-cmd --reload`; or an iptables rule with ACCEPT before the \
            REJECT. If the refusal comes from the balancer's own host, see lb-egress-reject; if it \
            comes from a Kubernetes node, see k8s-no-endpoints.",
        ask: "`nft list ruleset | grep -n reject; iptables -nvL | grep REJECT`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::FirewallRejectRst,
            Cause::K8sNoEndpoints,
            Cause::LbEgressReject,
        ],
    },
    Page {
        cause: Cause::FirewallRejectRst,
        title: "A firewall rejects the connection with a forged reset",
        party: Party::Network,
        proxy_status: "connection_refused",
        often: 2,
        seen: "Neither the wire nor the errno (111) differs from a closed port. There are hints: \
            the server's own counter `Tcp.OutRsts` stays flat while the balancer gets resets; the \
            counter of the firewall's rule rises; the TTL of the resets differs from the server's \
            usual one when a machine in between forges them; the same port answers from another \
            source address. On the server the port is in the list of listening sockets.",
        nginx: "502 `connect() failed (111: Connection refused)`, as for a closed port.",
        haproxy: "503 `SC` with `EREFUSED` and `F7`, as for a closed port.",
        envoy: "503 `UF` `delayed_connect_error: Connection refused`, as for a closed port.",
        alb: "502.",
        fix: "Allow the balancer's address in that firewall. On the server look for `reject with \
            tcp reset` (nftables) or `reject-with tcp-reset` (iptables); if there is no such rule, \
            ask whoever runs the network for one between the two addresses.",
        ask: "`nstat -az TcpOutRsts; ss -ltn 'sport = :{port}'`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::FirewallRejectIcmp,
            Cause::LbEgressReject,
        ],
    },
    Page {
        cause: Cause::FirewallAdminProhibited,
        title: "A firewall rejects the connection as \"prohibited\"",
        party: Party::ServerHost,
        proxy_status: "destination_ip_unroutable",
        often: 3,
        seen: "Connecting fails at once with errno 113 (no route to host), although ping and \
            routing work. An ICMP message of type 3 with code 10 or 13 is the proof, and its \
            sender says which machine refused. A host that is down gives the same errno, but only \
            after about 3 s. It is what firewalld does by default.",
        nginx: "502 `connect() failed (113: No route to host)`.",
        haproxy: "503 `SC` without a name for the error, last event `F9`.",
        envoy: "503 `UF` `delayed_connect_error: No route to host`.",
        alb: "502.",
        fix: "Open the port on the machine that sent the message. With firewalld: `firewall-cmd \
            --permanent --add-port=PORT/tcp` for the zone of the interface, then `firewall-cmd \
            --reload`. If the sender is a router, its access list has to let the balancer's \
            address through.",
        ask: "`firewall-cmd --get-active-zones; firewall-cmd --list-all`",
        lookalikes: &[
            Cause::HostDown,
            Cause::RouteMissing,
            Cause::FirewallRejectIcmp,
        ],
    },
    Page {
        cause: Cause::FirewallDrop,
        title: "A firewall drops connection attempts in silence",
        party: Party::Network,
        proxy_status: "connection_timeout",
        often: 5,
        seen: "The SYN gets no answer of any kind. It is sent again after 1 s, then at 3 and 7 s \
            (at each of the first seconds since Linux 6.5), until the time-out. `TCPSynRetrans` \
            rises on the balancer and `TCPRetransFail` does not, so the packets leave. If other \
            ports of the host answer within a round trip, with a reset or an acceptance, the host \
            is up and this port is filtered. It happens always, not only under load. On the server \
            there is no SYN-RECV and no `ListenOverflows`; at most the counter of a dropping rule \
            rises.",
        nginx: "504 `upstream timed out (110: Connection timed out) while connecting to upstream` \
            after exactly `proxy_connect_timeout`; `$upstream_connect_time` is `-`.",
        haproxy: "503 (not 504) `sC`, `Tc` -1, total time equal to `timeout connect`.",
        envoy: "503 `UF` with `connection_timeout`, time equal to `connect_timeout`.",
        alb: "504 after 10 s, which cannot be changed; health checks say `Request timed out`.",
        fix: "Allow the balancer's address to reach the server's port: in the security group of \
            the server, the network ACL (in both directions), the NetworkPolicy, or the firewall \
            on the server. Compare with a server that works. A shorter `timeouts.connect` and a \
            retry on another server limit what clients notice meanwhile.",
        ask: "`tcpdump -ni any -c 5 'tcp port {port} and tcp[tcpflags] & tcp-syn != 0'`",
        lookalikes: &[
            Cause::HostDown,
            Cause::AcceptQueueOverflow,
            Cause::LbEgressDrop,
            Cause::ConntrackFull,
            Cause::ReturnPathDrop,
            Cause::TlsToPlaintext,
            Cause::IcmpNetUnreachable,
        ],
    },
    Page {
        cause: Cause::LbEgressDrop,
        title: "The balancer's own host drops its connection attempts",
        party: Party::ClearwayHost,
        proxy_status: "connection_timeout",
        often: 2,
        seen: "Connecting times out, as with a firewall elsewhere. But `TcpExt.TCPRetransFail` \
            rises together with `TCPSynRetrans` on the balancer: its own kernel refused to send. A \
            capture on the outgoing interface shows no SYN. The reason is a rule in the OUTPUT \
            chain, a filter of the balancer's control group, or a full connection tracking table \
            on this host.",
        nginx: "504 `while connecting`.",
        haproxy: "503 `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "",
        fix: "Find the rule that drops and let the servers' network through: OUTPUT chain, egress \
            policy of the container platform, filters of the balancer's unit. If the same \
            connection works from a shell on the host, the filter is tied to the unit: see \
            cgroup-ip-deny. If everything on the host suffers, look at the connection tracking \
            table: see conntrack-full.",
        ask: "on the balancer: `nstat -az TcpExtTCPRetransFail TcpExtTCPSynRetrans; iptables -nvL \
            OUTPUT`",
        lookalikes: &[
            Cause::FirewallDrop,
            Cause::AcceptQueueOverflow,
            Cause::HostDown,
            Cause::ConntrackFull,
            Cause::ReturnPathDrop,
            Cause::CgroupIpDeny,
        ],
    },
    Page {
        cause: Cause::LbEgressReject,
        title: "The balancer's own host rejects its connection attempts",
        party: Party::ClearwayHost,
        proxy_status: "connection_refused",
        often: 1,
        seen: "Connecting fails at once with errno 111 (connection refused), but nothing appears \
            on the wire. Both `Icmp.OutDestUnreachs` and `Icmp.InDestUnreachs` rise on the \
            balancer, because it answers itself. With a firewall on the server only the second one \
            rises, with a closed port neither.",
        nginx: "502 `connect() failed (111: Connection refused)`.",
        haproxy: "503 `SC` without a name for the error, last event `F9`.",
        envoy: "503 `UF` `delayed_connect_error: Connection refused`.",
        alb: "",
        fix: "Find the rule with REJECT in the OUTPUT chain of the balancer's host, or in the \
            chain that its container's traffic passes, and let the servers' network through.",
        ask: "on the balancer: `iptables -nvL OUTPUT; nft list ruleset | grep -n reject`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::FirewallRejectIcmp,
            Cause::FirewallRejectRst,
        ],
    },
    Page {
        cause: Cause::SelinuxDenied,
        title: "SELinux or another security module forbids the balancer to connect",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 4,
        seen: "Connecting fails in the call itself with errno 13 (permission denied). No packet \
            leaves and no counter moves. The same connection from a root shell works, because that \
            shell is not confined. The audit log has a record `denied { name_connect }` with the \
            port as `dest=`. For Unix sockets the modes of the files look right and the errno is \
            13 nevertheless. A `prohibit` route gives the same errno; `ip route get` shows it.",
        nginx: "502 `[crit] connect() to ADDRESS failed (13: Permission denied)`.",
        haproxy: "503 `SC` with `SOCK_ERR`.",
        envoy: "503 `UF` `immediate_connect_error: Permission denied`.",
        alb: "",
        fix: "Allow what is denied, and leave the module on. NGINX under SELinux: `setsebool -P \
            httpd_can_network_connect 1`, or narrower `semanage port -a -t http_port_t -p tcp \
            PORT`, or `httpd_can_network_relay`. HAProxy: `setsebool -P haproxy_connect_any 1`. \
            Anything else: `ausearch -m AVC -ts recent | audit2allow` shows the rule that is \
            missing. For AppArmor look for `DENIED` in the kernel's log and extend the profile.",
        ask: "on the balancer: `ausearch -m AVC -ts recent`",
        lookalikes: &[
            Cause::RoutePolicyLocal,
            Cause::UnixSocketPermission,
            Cause::CgroupIpDeny,
        ],
    },
    Page {
        cause: Cause::CgroupIpDeny,
        title: "A restriction of the balancer's unit forbids the address",
        party: Party::ClearwayHost,
        proxy_status: "destination_ip_prohibited",
        often: 1,
        seen: "It has two faces. A hook of the control group or a seccomp filter lets connecting \
            fail in the call itself with errno 1 (operation not permitted). A packet filter of the \
            control group, which is what `IPAddressDeny=` of systemd installs, drops the packets: \
            a silent time-out, with `TCPRetransFail` rising as for a dropping OUTPUT rule. Either \
            way the same connection from a shell outside the unit works. \
            `RestrictAddressFamilies=` gives errno 97 (address family not supported).",
        nginx: "`[crit] connect() to ADDRESS failed (1: Operation not permitted)`, or 504 `while \
            connecting`.",
        haproxy: "`SC` with `SOCK_ERR`, or `sC`.",
        envoy: "503 `UF` `immediate_connect_error: Operation not permitted`, or \
            `connection_timeout`.",
        alb: "",
        fix: "Add the servers' network to `IPAddressAllow=` in an override (`systemctl edit \
            UNIT`), then restart the unit. In containers look at the seccomp profile and at the \
            network policy of the platform.",
        ask: "on the balancer: `systemctl show clearway -p \
            IPAddressDeny,IPAddressAllow,RestrictAddressFamilies`",
        lookalikes: &[
            Cause::SelinuxDenied,
            Cause::RoutePolicyLocal,
            Cause::LbEgressDrop,
        ],
    },
    Page {
        cause: Cause::K8sNoEndpoints,
        title: "The Kubernetes Service has no ready endpoints",
        party: Party::Configuration,
        proxy_status: "destination_unavailable",
        often: 4,
        seen: "Connections to the address of the Service are refused at once. The refusal is an \
            ICMP message from the node itself, because kube-proxy rejects what has no endpoint. \
            The EndpointSlice is empty although pods run: their labels differ from the selector, \
            they are not ready, or a named port does not exist. Connecting to the address of a pod \
            works.",
        nginx: "The ingress controller answers 503 without a server and logs `Service \"…\" does \
            not have any active Endpoint`; older versions send to `127.0.0.1:8181`.",
        haproxy: "503 with `<NOSRV>`.",
        envoy: "503 `UH`.",
        alb: "503 when no target is registered.",
        fix: "Look at the endpoints first. None at all: compare the selector of the Service with \
            the labels of the pods. Endpoints that are not ready: read why the readiness probe \
            fails with `kubectl describe pod`. Endpoints with another port: mend `targetPort` or \
            the name of the port.",
        ask: "where kubectl works: `kubectl get endpointslices -A -o wide`",
        lookalikes: &[Cause::PortClosed, Cause::AllBackendsDown],
    },
    Page {
        cause: Cause::AcceptQueueOverflow,
        title: "The application does not accept connections fast enough and its queue is full",
        party: Party::Application,
        proxy_status: "connection_timeout",
        often: 3,
        seen: "The SYN gets no answer, exactly as with a firewall that drops, but only now and \
            then and under load; when the load falls the port answers. The proof is on the server: \
            `ListenOverflows` and `ListenDrops` rise, and `ss -ltn` shows a `Recv-Q` above \
            `Send-Q` for the port. Connections that do succeed take about 1 or 3 s, because their \
            first SYN was lost (any full second since Linux 6.5). The setting \
            `tcp_abort_on_overflow` changes nothing about it while the queue stays full.",
        nginx: "504 `while connecting`; `$upstream_connect_time` about 1.0 or 3.0 on slow \
            successes.",
        haproxy: "503 `sC`, or `Tc` of about 1000.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "504; `TargetConnectionErrorCount` rises.",
        fix: "Make the application accept faster: more workers, nothing that blocks the loop that \
            accepts. Limit what each server gets: Clearway `maxconn`, so that requests wait in the \
            balancer's queue. Then lengthen the queue, which needs both the application's backlog \
            (by default Node 511, uWSGI 100, Tomcat 100, Puma 1024, gunicorn 2048, php-fpm 511) \
            and `net.core.somaxconn`. A short `timeouts.connect` with a retry on another server \
            helps meanwhile.",
        ask: "`ss -ltn 'sport = :{port}'; nstat -az TcpExtListenOverflows TcpExtListenDrops`",
        lookalikes: &[
            Cause::FirewallDrop,
            Cause::HostDown,
            Cause::WorkersSaturated,
            Cause::ConntrackFull,
            Cause::ReturnPathDrop,
            Cause::LbEgressDrop,
            Cause::PacketLoss,
            Cause::SnatPortCollision,
        ],
    },
    Page {
        cause: Cause::SynFloodProtection,
        title: "The server limits half-open connections because it sees too many",
        party: Party::ServerHost,
        proxy_status: "connection_timeout",
        often: 1,
        seen: "Connecting times out now and then while the server gets many SYNs from many \
            sources. On the server `TCPReqQFullDrop`, `TCPReqQFullDoCookies` or `SyncookiesSent` \
            rise, or the counter of a firewall rule that limits SYNs; there are many sockets in \
            state SYN-RECV. With a full accept queue the counters are `ListenOverflows` and \
            `ListenDrops` instead.",
        nginx: "504 `while connecting` now and then.",
        haproxy: "503 `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "504.",
        fix: "Exempt the balancer's address from limits on SYNs in the server's firewall. Keep \
            `net.ipv4.tcp_syncookies=1` and raise `net.ipv4.tcp_max_syn_backlog`. If the SYNs are \
            an attack, close the port for everybody but the balancer. Kept connections need fewer \
            SYNs: Clearway `keepalive.max_idle`.",
        ask: "`nstat -az TcpExtTCPReqQFullDrop TcpExtTCPReqQFullDoCookies TcpExtSyncookiesSent`",
        lookalikes: &[Cause::AcceptQueueOverflow, Cause::FirewallDrop],
    },
    Page {
        cause: Cause::ContainerPortForwarder,
        title: "A port forwarder accepts the connection although nothing is behind it",
        party: Party::ServerHost,
        proxy_status: "connection_terminated",
        often: 4,
        seen: "The connection is made, and then a reset or FIN comes at once, without a byte, for \
            every request, also the first one on a fresh connection and even for a probe that \
            sends nothing. What listens on the host is `docker-proxy`, `rootlessport`, `ssh -L`, \
            `kubectl port-forward` or a sidecar; the port behind it is closed or open on loopback \
            only. An application that crashes keeps a silent connection open until it gets a \
            request.",
        nginx: "502 `recv() failed (104: Connection reset by peer) while reading response header \
            from upstream`; connect time 0.000.",
        haproxy: "502 `SH` with `ERESET`.",
        envoy: "503 `UC`.",
        alb: "502.",
        fix: "Let the application inside the container listen on `0.0.0.0` and on the port that is \
            published. Correct the mapping: the number after the colon of `-p` is the port inside. \
            Or go round the forwarder by connecting to the container's own address. A TCP health \
            check stays green here, so use one with a `health.path`.",
        ask: "`ss -ltnp 'sport = :{port}'`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::PlaintextToTls,
            Cause::KeepaliveRace,
            Cause::ProxyProtocolExpected,
            Cause::BindLoopbackOnly,
            Cause::TlsHandshakeClosed,
        ],
    },
    Page {
        cause: Cause::ConnectTimeoutTooShort,
        title: "The time-out for connecting is shorter than the way to the server needs",
        party: Party::Configuration,
        proxy_status: "connection_timeout",
        often: 1,
        seen: "Every failure takes exactly the time-out for connecting, and that is short. A probe \
            with a longer time-out succeeds, either after one round trip that is longer than the \
            time-out, or after about 1 s because one SYN was lost and sent again. With a firewall \
            that drops, no probe ever succeeds.",
        nginx: "504 `while connecting`.",
        haproxy: "503 `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "The limit is always 10 s.",
        fix: "Set the time-out to at least three round trips, and above 1 s where there is only \
            one server, so that one lost SYN is survived. Clearway: `timeouts.connect` (5 s by \
            default). NGINX: `proxy_connect_timeout`. HAProxy: `timeout connect`. Envoy: \
            `connect_timeout`. Where there are several servers a short time-out with a retry on \
            another one is the better choice.",
        ask: "on the balancer: `curl -so /dev/null -m 15 -w '%{time_connect}\\n' \
            http://{address}/`",
        lookalikes: &[Cause::FirewallDrop, Cause::PacketLoss],
    },
    Page {
        cause: Cause::PawsTimewaitReject,
        title: "The server ignores connection attempts because of their timestamps",
        party: Party::ServerHost,
        proxy_status: "connection_timeout",
        often: 1,
        seen: "Some SYNs are ignored and others are answered at the same moment, and only from \
            sources that share an address behind NAT. On the server `PAWSPassive`, `PAWSActive` or \
            `TCPTimeWaitOverflow` rise. The classic case is a kernel before 4.12 with \
            `tcp_tw_recycle=1`. It does not depend on load, unlike a full accept queue.",
        nginx: "504 `while connecting` now and then.",
        haproxy: "503 `sC`.",
        envoy: "503 `UF` `connection_timeout`.",
        alb: "504.",
        fix: "Set `net.ipv4.tcp_tw_recycle=0` on the server; kernels since 4.12 have no such \
            setting any more. Do not put several balancers behind one address. Kept connections \
            make it rarer: Clearway `keepalive.max_idle` and `keepalive.idle_timeout`.",
        ask: "`nstat -az | grep -E 'PAWS|TimeWaitOverflow'; sysctl net.ipv4.tcp_tw_recycle`",
        lookalikes: &[Cause::AcceptQueueOverflow],
    },
    Page {
        cause: Cause::UnixSocketMissing,
        title: "The server's Unix socket does not exist",
        party: Party::ServerHost,
        proxy_status: "connection_refused",
        often: 3,
        seen: "Connecting fails at once with errno 2 (no such file or directory). The service is \
            not running, its runtime directory was removed at a restart, `PrivateTmp=` gives each \
            service its own `/tmp`, the balancer runs in a container without that path, or the \
            path names another version (`php8.1-fpm.sock`). A socket that exists but is refused \
            has errno 111 or 13.",
        nginx: "502 `[crit] connect() to unix:PATH failed (2: No such file or directory)`.",
        haproxy: "503 `SC` with `SOCK_ERR`.",
        envoy: "503 `UF` `immediate_connect_error: No such file or directory`.",
        alb: "",
        fix: "Start the service. Compare the path with the sockets that are there; often only a \
            version number differs. Put the socket below `/run/SERVICE/` (`RuntimeDirectory=` in \
            the unit), never below `/tmp`. For containers mount the directory, not the socket.",
        ask: "on the balancer: `ss -xl | grep {address}`",
        lookalikes: &[Cause::UnixSocketStale, Cause::UnixSocketPermission],
    },
    Page {
        cause: Cause::UnixSocketStale,
        title: "The file of the Unix socket exists, but nobody listens",
        party: Party::ServerHost,
        proxy_status: "connection_refused",
        often: 2,
        seen: "Connecting fails at once with errno 111 (connection refused) on a Unix path. The \
            file is a leftover of a process that ended without removing it: `ss -xl` has no \
            listener for it, and the file is older than the service.",
        nginx: "502 `connect() to unix:PATH failed (111: Connection refused)`.",
        haproxy: "503 `SC` with `SOCK_ERR`.",
        envoy: "503 `UF` `immediate_connect_error: Connection refused`.",
        alb: "",
        fix: "Start or restart the application. Let it remove the old file when it starts, or let \
            systemd own the socket (`RuntimeDirectory=` or a socket unit).",
        ask: "on the balancer: `ss -xl | grep {address}`",
        lookalikes: &[
            Cause::UnixSocketMissing,
            Cause::PortClosed,
            Cause::UnixSocketPermission,
        ],
    },
    Page {
        cause: Cause::UnixSocketPermission,
        title: "The balancer's user may not write to the Unix socket",
        party: Party::ClearwayHost,
        proxy_status: "proxy_internal_error",
        often: 4,
        seen: "Connecting fails at once with errno 13 (permission denied), although the socket \
            exists and somebody listens. Either the balancer's user has no write permission on the \
            socket, or no execute permission on a directory above it; home directories are often \
            closed to others. As root it works, so try it as the balancer's user. If all modes are \
            right, a security module denies it.",
        nginx: "502 `[crit] connect() to unix:PATH failed (13: Permission denied)`.",
        haproxy: "503 `SC` with `SOCK_ERR`.",
        envoy: "503 `UF` `immediate_connect_error: Permission denied`.",
        alb: "",
        fix: "Give the socket the group of the balancer and the mode 0660. php-fpm: \
            `listen.owner`, `listen.group`, `listen.mode`. gunicorn: `--umask 007`. uWSGI: \
            `chmod-socket = 660`. Or add the balancer's user to the application's group and \
            restart the balancer. Give directories above the socket `chmod o+x`, or move the \
            socket to `/run/SERVICE/`.",
        ask: "on the balancer: `namei -l {address}`",
        lookalikes: &[
            Cause::SelinuxDenied,
            Cause::RoutePolicyLocal,
            Cause::UnixSocketMissing,
        ],
    },
    Page {
        cause: Cause::UnixSocketBacklogFull,
        title: "The queue of the server's Unix socket is full",
        party: Party::Application,
        proxy_status: "connection_limit_reached",
        often: 3,
        seen: "Connecting fails at once with errno 11 (resource temporarily unavailable) on a Unix \
            path. Unix sockets have no SYN that could be sent again, so bursts fail immediately \
            instead of waiting. It comes under load and goes with it.",
        nginx: "502 `[error] connect() to unix:PATH failed (11: Resource temporarily \
            unavailable)`.",
        haproxy: "503 `SC` with `FREE_PORTS`, which misleads: no ports are involved.",
        envoy: "503 `UF` `immediate_connect_error: Resource temporarily unavailable`.",
        alb: "",
        fix: "More workers (php-fpm `pm.max_children`), or faster ones. Limit what the server \
            gets: Clearway `maxconn`, so that requests wait in the balancer's queue. Raise the \
            application's backlog (`listen.backlog`) together with `net.core.somaxconn`. Or use \
            TCP, where the kernel lets attempts wait.",
        ask: "on the balancer: `ss -xl | grep {address}`",
        lookalikes: &[
            Cause::EphemeralPorts,
            Cause::WorkersSaturated,
            Cause::AcceptQueueOverflow,
        ],
    },
    Page {
        cause: Cause::MeshSidecarNotReady,
        title: "The sidecar of a service mesh starts after the application or stops before it",
        party: Party::Configuration,
        proxy_status: "connection_refused or connection_terminated",
        often: 3,
        seen: "Connections are refused or end without an answer during the first or last seconds \
            of a pod's life, and never in between. The application is ready before its sidecar, or \
            the sidecar ends before the application when the pod is stopped. The same happens \
            outside a mesh when a pod is removed too early; then the times fit to the deploy, but \
            no sidecar is there.",
        nginx: "`connect() failed (111` or `recv() failed (104` when a pod starts or stops.",
        haproxy: "`SC` or `SH`.",
        envoy: "`UF,URX` or `UC` at the start or while draining.",
        alb: "502 during deploys.",
        fix: "Let the application wait for the sidecar: `holdApplicationUntilProxyStarts: true` in \
            Istio, or native sidecars (init containers with `restartPolicy: Always`). At the end, \
            let the sidecar drain longer than the application needs, with a `preStop` hook that \
            sleeps.",
        ask: "where kubectl works: `kubectl get events -A --sort-by=.lastTimestamp`",
        lookalikes: &[Cause::RollingDeploy, Cause::ContainerPortForwarder],
    },
];
