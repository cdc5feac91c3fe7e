//! Pages of causes: finding addresses by names.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::DnsNxdomain,
        title: "The server's name does not exist",
        party: Party::Configuration,
        proxy_status: "dns_error; rcode=NXDOMAIN",
        often: 3,
        seen: "The resolver answers at once with NXDOMAIN (code 3). No connection is ever tried, \
            so there is no address, no time to connect and no errno. Ask the authoritative or \
            cluster DNS directly, once as written and once with a dot at the end, which leaves out \
            the search list: if only the bare name works or fails, the search list is to blame and \
            not the record. An empty answer with NOERROR is another cause, although some programs \
            print the same text for both.",
        nginx: "502, `NAME could not be resolved (3: Host not found)`. `$upstream_addr`, \
            `$upstream_status` and all times of the server are `-`.",
        haproxy: "DNS takes the server to `MAINT`, then 503 `SC` with `<NOSRV>` and `Tw` -1.",
        envoy: "The cluster stays empty: 503 `UH` `no_healthy_upstream`, host `-`. The flag `DF` \
            belongs to the dynamic forward proxy only.",
        alb: "",
        fix: "Correct the name, or make the record. In Kubernetes write it out, \
            `SERVICE.NAMESPACE.svc.cluster.local`, and check that the Service exists. Check \
            `search` and `ndots` in `/etc/resolv.conf` of the balancer. Clearway: the name stands \
            in `servers` of the backend; a mended record is found after `resolver.negative_ttl` (5 \
            s), without a reload.",
        ask: "on the balancer: `dig +noall +comments +answer {host}.`",
        lookalikes: &[
            Cause::DnsServfail,
            Cause::DnsTimeout,
            Cause::NoResolverConfigured,
            Cause::AllBackendsDown,
            Cause::DnsNoUsableFamily,
        ],
    },
    Page {
        cause: Cause::DnsServfail,
        title: "The resolver answers with SERVFAIL or REFUSED",
        party: Party::Network,
        proxy_status: "dns_error",
        often: 1,
        seen: "An answer comes quickly, but its code is 2 (SERVFAIL) or 5 (REFUSED). The name \
            itself may be in order: ask another resolver. If the same question with checking \
            disabled (`dig +cd`) is answered, the DNSSEC chain of the zone is broken. REFUSED \
            means that the resolver does not serve this client or this zone: its access list, or \
            the wrong view of a split DNS.",
        nginx: "502, `could not be resolved (2: Server failure)` or `(5: Operation refused)`.",
        haproxy: "As for a name that does not exist, once `hold other` or `hold refused` is over.",
        envoy: "Keeps the last good addresses, otherwise 503 `UH`.",
        alb: "",
        fix: "Repair the resolver, what it forwards to, its access list, or the DNSSEC chain. \
            Until then point the balancer at another resolver. Clearway: `resolver.servers`; \
            addresses that worked are kept while the resolver is in trouble. NGINX: `resolver`. \
            HAProxy: `nameserver` in `resolvers`, with `hold valid` and `hold other` long enough \
            to live through it.",
        ask: "on the balancer: `dig +cd {host}.`",
        lookalikes: &[Cause::DnsNxdomain, Cause::DnsTimeout],
    },
    Page {
        cause: Cause::DnsTimeout,
        title: "The resolver does not answer",
        party: Party::Network,
        proxy_status: "dns_timeout",
        often: 2,
        seen: "The question was sent and nothing came back. The time is the resolver's time-out to \
            the millisecond, and no connection to a server is tried. Silence means that packets \
            are dropped or the resolver's host is down; a refusal on the UDP socket (errno 111) \
            means that nothing listens on port 53 there. If the same question over TCP is \
            answered, UDP or large answers are filtered on the way.",
        nginx: "502, not 504, after `resolver_timeout`: `could not be resolved (110: Operation \
            timed out)`.",
        haproxy: "503 `SC` with `<NOSRV>` once `hold timeout` is over.",
        envoy: "At the start, the listener is not opened until DNS gives up; later the last \
            addresses are kept, or 503 `UH`.",
        alb: "",
        fix: "Make the resolver reachable: UDP and TCP port 53 in firewalls and network policies. \
            Check that the configured address is right; in a container it is `127.0.0.11`, never \
            the stub `127.0.0.53` of the host. Add a second resolver. Clearway: \
            `resolver.servers`, `resolver.timeout` (2 s) and `resolver.attempts` (2).",
        ask: "on the balancer: `dig +tcp +time=2 +tries=1 {host}.`",
        lookalikes: &[Cause::DnsNxdomain, Cause::FirewallDrop, Cause::AppSlow],
    },
    Page {
        cause: Cause::DnsStaleIp,
        title: "The balancer still uses an old address of a server that has moved",
        party: Party::Configuration,
        proxy_status: "connection_refused or connection_timeout",
        often: 5,
        seen: "Connecting to the address in use is refused, times out, or even reaches another \
            service, while a fresh lookup of the name gives a different address that accepts. The \
            answer in use is much older than its TTL. It begins at the moment a container, machine \
            or cloud balancer was replaced, and ends with a reload. If the freed address was given \
            to something else, the sign is not an error but a wrong service: a 404, a certificate \
            for another name, unexpected first bytes.",
        nginx: "502 `connect() failed (111` or 504 `upstream timed out … while connecting`, with \
            an address in the log that DNS does not give any more. Names without a variable are \
            looked up only at start and reload.",
        haproxy: "`SC` or `sC`, unless the server has a `resolvers` section.",
        envoy: "`STRICT_DNS` and `LOGICAL_DNS` look names up again; `STATIC` clusters are \
            affected.",
        alb: "Targets by address that were not deregistered.",
        fix: "Reload, which helps at once. Then have names looked up at run time. NGINX: \
            `resolver` with a variable in `proxy_pass`, or `server NAME resolve;` in an upstream \
            with a `zone` (open source since 1.27.3). HAProxy: a `resolvers` section with \
            `resolvers` and `init-addr` on the `server` line. Envoy: `STRICT_DNS`. Clearway looks \
            names up again when their records expire; keep `resolver.min_ttl` and \
            `resolver.max_ttl` low where addresses change often, and write names, not addresses, \
            in `servers`.",
        ask: "on the balancer: `dig +noall +answer {host}.`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::HostDown,
            Cause::WrongServiceListening,
            Cause::LbReloadFailed,
        ],
    },
    Page {
        cause: Cause::DnsWrongAnswer,
        title: "The name resolves, but to the wrong address",
        party: Party::Configuration,
        proxy_status: "connection_refused or connection_timeout",
        often: 2,
        seen: "The lookup succeeds and the connection goes to an address outside the expected \
            network, where it is refused, times out, or reaches somebody else. The name with a dot \
            at the end gives another answer than the bare name, or the public and the internal \
            resolver disagree. The usual reasons are a search domain with a wildcard record and \
            split DNS. Unlike with a stale address, a fresh lookup gives the same wrong answer.",
        nginx: "502 or 504 with an unexpected `$upstream_addr`.",
        haproxy: "`SC` or `sC`.",
        envoy: "503 `UF`.",
        alb: "",
        fix: "Write absolute names with a dot at the end where the program allows it. Take the \
            host's search domains out of containers, and remove or narrow the wildcard record. \
            Make sure that the balancer asks the resolver that knows the internal zone. Clearway: \
            `resolver.servers`.",
        ask: "on the balancer: `dig +search {host}`",
        lookalikes: &[
            Cause::DnsStaleIp,
            Cause::HostDown,
            Cause::WrongServiceListening,
        ],
    },
    Page {
        cause: Cause::DnsNoUsableFamily,
        title: "The name has only addresses of a family that the balancer cannot use",
        party: Party::Configuration,
        proxy_status: "dns_error",
        often: 2,
        seen: "Either the answer is NOERROR with no address of the family that was asked for, or \
            the addresses are of a family for which connecting fails at once: errno 101 (no \
            route), 99 (no local address) or 97 (family not supported). Asking for the other \
            family, A or AAAA, shows it. A name that does not exist has the code NXDOMAIN instead.",
        nginx: "An empty answer is logged as `(3: Host not found)`, as if the name did not exist. \
            Otherwise 502 `connect() to [ADDRESS] failed (101: Network is unreachable)`.",
        haproxy: "`resolve-prefer` decides which family is used; `SC` with `SOCK_ERR`.",
        envoy: "`dns_lookup_family` decides; 503 `UF` `immediate_connect_error: Network is \
            unreachable`.",
        alb: "The address type of the target group does not fit.",
        fix: "Add the record of the family that the balancer can use, or give the balancer working \
            IPv6. Otherwise name the family: NGINX `resolver ADDRESS ipv6=off;`, HAProxy \
            `resolve-prefer ipv4`, Envoy `dns_lookup_family: V4_PREFERRED`. Where one address is \
            stable, write it instead of the name.",
        ask: "on the balancer: `getent ahosts {host}`",
        lookalikes: &[Cause::DnsNxdomain, Cause::RouteMissing],
    },
    Page {
        cause: Cause::LocalhostIpv6First,
        title: "\"localhost\" means ::1 first, but the application listens on 127.0.0.1 only",
        party: Party::Configuration,
        proxy_status: "connection_refused",
        often: 4,
        seen: "One name has two addresses, and exactly one of them refuses connections; the \
            reverse case exists too. With retries there is a line of an error and yet a 200. \
            Without, or for POST, about half of the requests fail. The list of listening sockets \
            shows the port in one family only. A closed port refuses on both addresses.",
        nginx: "`connect() failed (111: Connection refused) …, upstream: \"http://[::1]:3000/\"`, \
            often followed by `upstream server temporarily disabled`, and `no live upstreams` when \
            both fail.",
        haproxy: "503 `SC` with `EREFUSED`.",
        envoy: "503 `UF` `delayed_connect_error: Connection refused`.",
        alb: "",
        fix: "Write the address, `127.0.0.1:PORT` or `[::1]:PORT`, in place of `localhost` in the \
            list of servers. Or let the application listen on both families, mostly by listening \
            on `::`.",
        ask: "`ss -ltn 'sport = :{port}'`",
        lookalikes: &[
            Cause::PortClosed,
            Cause::BindLoopbackOnly,
            Cause::PassiveEjection,
        ],
    },
];
