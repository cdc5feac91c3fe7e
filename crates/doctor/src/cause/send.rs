//! Pages of causes: sending the request.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::PmtuBlackholeRequest,
        title: "Large requests get lost because the way takes smaller packets than believed",
        party: Party::Network,
        proxy_status: "connection_read_timeout",
        often: 3,
        seen: "Small requests work; large uploads or requests with many cookies hang until the \
            time-out, also on fresh connections. On the stuck connection the server has \
            acknowledged almost nothing: bytes stay unacknowledged, retransmissions climb, and the \
            segment size stays the same. The message \"fragmentation needed\" (ICMP type 3 code 4) \
            is filtered somewhere. A ping of full size with the do-not-fragment bit fails, a small \
            one works. When the application is slow, everything has been acknowledged.",
        nginx: "504 `upstream timed out … while reading response header from upstream`, as for a \
            slow application; `$upstream_bytes_sent` shows the full size, because NGINX counts \
            what it gave to the kernel.",
        haproxy: "504 `sH`.",
        envoy: "504 `UT`.",
        alb: "504.",
        fix: "Set the right MTU on tunnels, VPN and overlay interfaces, or clamp the segment size \
            on them: `iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS \
            --clamp-mss-to-pmtu`. Let ICMP type 3 code 4 pass in every firewall. As a stop-gap set \
            `net.ipv4.tcp_mtu_probing=1` on the balancer.",
        ask: "on the balancer: `ping -M do -s 1472 -c 3 {host}`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::BackendNotReadingBody,
            Cause::NatIdleDrop,
        ],
    },
    Page {
        cause: Cause::ProxyProtocolExpected,
        title: "The server expects a PROXY header and the balancer sends none",
        party: Party::Configuration,
        proxy_status: "connection_terminated",
        often: 4,
        seen: "Every request, also every health check, ends with a FIN or reset without a byte. A \
            probe that first sends `PROXY TCP4 …` or the binary form gets an HTTP answer. An \
            application that crashes does so for some requests only.",
        nginx: "502 `upstream prematurely closed connection while reading response header`. If the \
            server is an NGINX, it logs `broken header: \"GET …\" while reading PROXY protocol`.",
        haproxy: "502 `SH`.",
        envoy: "503 `UC`.",
        alb: "Cannot send it; a Network Load Balancer can.",
        fix: "Send the header: Clearway `send_proxy = \"v2\"` of the backend. HAProxy: \
            `send-proxy-v2` and `check-send-proxy`. Envoy: the transport socket \
            `upstream_proxy_protocol`. NGINX: `proxy_protocol on;`, in `stream` only. Or remove it \
            from the server's listener; if others than the balancer connect to it as well, give it \
            a second port without.",
        ask: "on the balancer: `printf 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\\r\\nGET / \
            HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {host} {port}`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::ContainerPortForwarder,
            Cause::PlaintextToTls,
            Cause::TlsHandshakeClosed,
        ],
    },
    Page {
        cause: Cause::ProxyProtocolUnexpected,
        title: "The balancer sends a PROXY header to a server that does not know it",
        party: Party::Configuration,
        proxy_status: "http_protocol_error",
        often: 3,
        seen: "The server answers 400 at once, or closes the connection; in front of TLS the \
            header spoils the handshake. Its log shows `PROXY TCP4` or the bytes `0D 0A 0D 0A 00 \
            0D 0A 51` where a request line is due. The same request without the header works. Some \
            servers ignore the header, so nobody notices until they are replaced. A wrong `Host` \
            also gives a 400, but not for every request.",
        nginx: "400 of the server, or errors of the TLS handshake.",
        haproxy: "400 with state `----`, as if it came from the application.",
        envoy: "400 `via_upstream`.",
        alb: "Does not send it; behind a Network Load Balancer with `proxy_protocol_v2` targets \
            log garbage.",
        fix: "Stop sending it: Clearway `send_proxy = \"off\"`; HAProxy: remove `send-proxy` or \
            `send-proxy-v2`; NLB: the attribute `proxy_protocol_v2`. Or switch it on at the \
            server, `listen … proxy_protocol` in NGINX.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_code}\\n' http://{address}/`",
        lookalikes: &[Cause::BadHostHeader, Cause::PlaintextToTls],
    },
    Page {
        cause: Cause::WebsocketUpgradeStripped,
        title: "The headers for a protocol upgrade do not reach the server",
        party: Party::Configuration,
        proxy_status: "http_upgrade_failed",
        often: 4,
        seen: "The client asked for WebSocket, and the server answered 400, 426, 404 or 200 \
            instead of 101. Asked directly with the same headers, the server answers 101. Some hop \
            in between does not pass `Upgrade` and `Connection` on. Ordinary requests work.",
        nginx: "400 or 426 of the server is passed on, without an error, when `Upgrade` and \
            `Connection` are not set.",
        haproxy: "Passes upgrades on by default; 400 `PR` when the headers of the handshake are \
            invalid.",
        envoy: "403 with `upgrade_failed` and no flags when `upgrade_configs` is missing.",
        alb: "Works with target groups of HTTP/1.1.",
        fix: "Let every hop pass the upgrade on. Clearway does so by itself. NGINX: \
            `proxy_http_version 1.1;`, `proxy_set_header Upgrade $http_upgrade;` and \
            `proxy_set_header Connection $connection_upgrade;` with the usual `map`. Envoy: \
            `upgrade_configs` with `upgrade_type: websocket`. Look at CDN and inner proxies as \
            well, and at rules that remove headers.",
        ask: "on the balancer: `curl -si -m 5 --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: \
            websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: \
            AAAAAAAAAAAAAAAAAAAAAA==' http://{address}/`",
        lookalikes: &[
            Cause::WebsocketIdleTimeout,
            Cause::BadHostHeader,
            Cause::RespUnsolicited101,
        ],
    },
    Page {
        cause: Cause::H2StreamRefused,
        title: "The server refuses streams of an HTTP/2 connection",
        party: Party::Application,
        proxy_status: "connection_limit_reached",
        often: 1,
        seen: "The server answers the request with RST_STREAM, and its code is the evidence: 7 \
            (refused, nothing was done, so it may be sent again), 11 (calm down), 1 (protocol \
            error), 2 (internal error), 8 (cancel). The connection itself stays. Mostly there are \
            more requests at a time than the server's `MAX_CONCURRENT_STREAMS`. A GOAWAY ends the \
            whole connection instead.",
        nginx: "502 `upstream rejected request with error 7`.",
        haproxy: "`SH`, or a retry.",
        envoy: "503 `UR` with a remote reset.",
        alb: "502.",
        fix: "Let refused streams be tried again: Clearway does that by itself; Envoy: `retry_on: \
            refused-stream`. Then raise the server's limit on streams, or have more connections or \
            servers. Clearway: `maxconn` limits what one server gets at a time. For the other \
            codes read the server's log.",
        ask: "",
        lookalikes: &[Cause::H2GoawayRace],
    },
    Page {
        cause: Cause::EarlyResponseReset,
        title: "The server answers early and closes while the balancer is still sending the body",
        party: Party::Application,
        proxy_status: "http_request_error or connection_terminated",
        often: 4,
        seen: "Sending fails with errno 32 (broken pipe) or 104 (reset) after part of the body. \
            The server had already answered, mostly 413, 401, 429 or a redirect, and closed \
            without reading the rest; a balancer that does not read the response before giving up \
            loses it. Small bodies work, large ones fail, and a request that only announces a \
            large body gets the real status. When a request crashes the application, its size does \
            not matter.",
        nginx: "With `proxy_request_buffering off`, 502 `writev() failed (32: Broken pipe) while \
            sending request to upstream`, and the status of the server is lost. With buffering the \
            413 is passed on, and `readv() failed (104` is logged.",
        haproxy: "The server's status is passed on, state `CL` or `CD`.",
        envoy: "The server's status is passed on.",
        alb: "502.",
        fix: "Find the status that the server really sent, in its log or with a small body, and \
            mend that: mostly its limit on bodies (`client_max_body_size`, `maxPostSize`, \
            `max-http-post-size`) or a missing login. Let the server read the rest of the body \
            before it closes. On the balancer, refuse large bodies first: Clearway \
            `limits.body_bytes`.",
        ask: "on the balancer: `curl -si -m 10 -X POST -H 'Content-Length: 20000000' \
            http://{address}/PATH | head -n 1`",
        lookalikes: &[
            Cause::RequestBodyTooLarge,
            Cause::AppCrashOnRequest,
            Cause::KeepaliveRace,
            Cause::RequestHeaderTooLargeBackend,
        ],
    },
    Page {
        cause: Cause::BackendNotReadingBody,
        title: "The server accepts the request but does not read its body",
        party: Party::Application,
        proxy_status: "connection_write_timeout",
        often: 2,
        seen: "Sending stops after as many bytes as fit into the server's receive buffer. \
            Acknowledgements go on and say \"no room\": the window is zero, the timer of the \
            connection is `persist`, and `TCPWinProbe` rises on the balancer, `TCPToZeroWindowAdv` \
            on the server. So host and network are in order and the application does not read, \
            mostly because its worker is blocked. If packets got lost, there would be no \
            acknowledgements.",
        nginx: "504 `upstream timed out (110: Connection timed out) while sending request to \
            upstream`.",
        haproxy: "502 `SH` after `timeout server`, which misleads: nobody closed the connection.",
        envoy: "Waits until the client leaves (`DC`), because the time-out of the route begins \
            only when the request is complete.",
        alb: "504.",
        fix: "Find out what blocks the worker: a slow disk, a lock, another service. Let the \
            application read the body before it does anything slow, or refuse it early. Clearway: \
            `timeouts.server_write` (30 s) limits how long it waits.",
        ask: "`ss -tnmi 'sport = :{port}'`",
        lookalikes: &[
            Cause::PmtuBlackholeRequest,
            Cause::AppSlow,
            Cause::WorkersSaturated,
            Cause::AppHung,
        ],
    },
    Page {
        cause: Cause::RequestBodyTooLarge,
        title: "The request's body is larger than the balancer's limit",
        party: Party::Client,
        proxy_status: "http_request_error; status-code=413",
        often: 5,
        seen: "The balancer answers 413 by itself, without choosing a server. Compare \
            `Content-Length` with the limit. Clients that are still sending may see a reset \
            instead of the 413. If a server was chosen, the limit is the server's own.",
        nginx: "413, `[error] client intended to send too large body: N bytes`; the limit is 1 MB \
            by default.",
        haproxy: "Has no limit by default.",
        envoy: "413 `request_payload_too_large` where a buffer filter is used.",
        alb: "413 with Lambda targets only, above 1 MB.",
        fix: "If such bodies are wanted, raise the limit for that path only. Clearway: \
            `limits.body_bytes`, also per route (no limit by default). NGINX: \
            `client_max_body_size 50m;`. Then check the application's own limit, which may be the \
            next to refuse. Otherwise the client has to send less, or in parts.",
        ask: "on the balancer: `clearway print -c clearway.toml | grep -n body_bytes`",
        lookalikes: &[Cause::EarlyResponseReset],
    },
    Page {
        cause: Cause::RequestHeaderTooLargeLb,
        title: "The request line or headers are larger than the balancer's limits",
        party: Party::Client,
        proxy_status: "http_request_error; status-code=431",
        often: 4,
        seen: "The balancer answers 431, 414 or 400 before it chooses a server. Only some users \
            are hit, those with large cookies or tokens, and deleting their cookies seems to mend \
            it. Single pages with long addresses are the other case.",
        nginx: "400 `client sent too long header line` with the page `Request Header Or Cookie Too \
            Large`, or 414 for the request line.",
        haproxy: "431 `PR` with `<BADREQ>`, 400 `PR` before version 3.",
        envoy: "431 `DPE` above `max_request_headers_kb` (60).",
        alb: "400 or 413 above 16 KB for a line or header, or 64 KB in total; 414.",
        fix: "Find out what grows: mostly cookies that pile up, or a session kept in cookies. Make \
            that smaller. Until then raise the limit. Clearway: `limits.header_bytes` (32 KiB), \
            `limits.request_line` (8 KiB), `limits.header_count` (100). NGINX: \
            `large_client_header_buffers 4 32k;`. HAProxy: `tune.bufsize 32768`. Envoy: \
            `max_request_headers_kb`. Raise the server's own limit as well, or it refuses next.",
        ask: "",
        lookalikes: &[Cause::RequestHeaderTooLargeBackend, Cause::RespHeaderTooBig],
    },
    Page {
        cause: Cause::RequestHeaderTooLargeBackend,
        title: "The balancer passes the headers on and the server refuses them as too large",
        party: Party::Application,
        proxy_status: "",
        often: 3,
        seen: "The server answers 431 or 400 itself, or closes without a response. uWSGI closes \
            above `buffer-size` (4096 bytes) and logs `invalid request block size`; Node answers \
            431 above 16 KiB, Tomcat 400 above 8 KiB. The balancer adds some bytes of its own, \
            such as `X-Forwarded-For`. Sending the same request with fewer cookies gives the size \
            at which it begins; a crash of the application does not depend on the size.",
        nginx: "431 or 400 is passed on, or 502 `upstream prematurely closed connection`.",
        haproxy: "431 with state `----`, or 502 `SH`.",
        envoy: "431 `via_upstream`, or 503 `UC`.",
        alb: "The target's 4xx, or 502.",
        fix: "Make cookies and tokens smaller. Or raise the server's limit: uWSGI `buffer-size = \
            32768`, Node `--max-http-header-size=32768`, Tomcat \
            `maxHttpRequestHeaderSize=\"32768\"`, Spring Boot \
            `server.max-http-request-header-size=32KB`. Then lower the balancer's limit to the \
            server's, so that clients get a clear 431: Clearway `limits.header_bytes`.",
        ask: "on the balancer: `curl -s -o /dev/null -w '%{http_code}\\n' -H \"Cookie: a=$(head -c \
            12000 /dev/zero | tr '\\0' a)\" http://{address}/`",
        lookalikes: &[Cause::AppCrashOnRequest, Cause::RequestHeaderTooLargeLb],
    },
    Page {
        cause: Cause::BadHostHeader,
        title: "The server rejects the Host header that the balancer sends",
        party: Party::Configuration,
        proxy_status: "",
        often: 4,
        seen: "The application answers 400, 403, 404 or 421 to everything, and changing only the \
            `Host` of a request turns it into a 200. NGINX sends `$proxy_host` by default, the \
            name of the group of servers, which may even contain an underscore. Django \
            (`ALLOWED_HOSTS`) and Rails refuse hosts that they do not know, and Tomcat refuses \
            underscores.",
        nginx: "400 is passed on; `$upstream_status` is 400.",
        haproxy: "400 with state `----`.",
        envoy: "400 `via_upstream`.",
        alb: "The target's 400.",
        fix: "Send the host that the application knows. Clearway passes the client's `Host` on; \
            `set_host` of the route changes it. NGINX: `proxy_set_header Host $host;`. HAProxy: \
            `http-request set-header Host NAME`. Envoy: `host_rewrite_literal`. Or add the name to \
            the application's list of allowed hosts.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_code}\\n' -H 'Host: NAME' \
            http://{address}/`",
        lookalikes: &[
            Cause::HcHostHeader,
            Cause::PlaintextToTls,
            Cause::ProxyProtocolUnexpected,
            Cause::WrongServiceListening,
            Cause::NoRouteMatch,
        ],
    },
    Page {
        cause: Cause::InvalidClientRequest,
        title: "The client's request is malformed or not allowed by the balancer",
        party: Party::Client,
        proxy_status: "http_request_error; status-code=400",
        often: 3,
        seen: "The balancer answers 400 before it chooses a server. The offending bytes tell what \
            it is: both `Content-Length` and `Transfer-Encoding`, a repeated `Content-Length`, \
            forbidden bytes in the target or in a header's name, a missing or repeated `Host`, TLS \
            on a plain port (`16 03 01`), plain HTTP on the TLS port, or HTTP/2 on a listener for \
            HTTP/1.1. Scanners send such requests to every public address.",
        nginx: "400 `client sent invalid …`; 497 for plain HTTP on the TLS port; `\\x16\\x03\\x01` \
            in place of the request line.",
        haproxy: "400 `PR` with `<BADREQ>`; `show errors` on the statistics socket has the bytes.",
        envoy: "400 `DPE` with `http1.codec_error…`.",
        alb: "400; `classification` is `Ambiguous` or `Severe`, with a reason.",
        fix: "Correct the client. Every refusal of Clearway has its own code and the receipt names \
            the place. Loosen the rules only where you know why, because most of them keep two \
            parsers from disagreeing about where a request ends: HAProxy \
            `accept-unsafe-violations-in-http-request`, NGINX `ignore_invalid_headers`, ALB the \
            desync mitigation mode.",
        ask: "",
        lookalikes: &[Cause::LbRateLimited, Cause::RequestHeaderTooLargeLb],
    },
    Page {
        cause: Cause::Expect100Continue,
        title: "\"Expect: 100-continue\" is not handled well",
        party: Party::Application,
        proxy_status: "http_protocol_error",
        often: 1,
        seen: "Requests with a body take about 1 s longer than they should, because the client \
            waits that long for `100 Continue` and then sends the body anyway. Or the answer is \
            417, or the server sends 100 and nothing else. It concerns clients that send `Expect`, \
            such as curl with bodies above 1 MB; without the header it goes away.",
        nginx: "Answers 100 by itself.",
        haproxy: "Passes it on: 1.0 s longer with a server that ignores it.",
        envoy: "Answers 100 by itself.",
        alb: "Passes it on.",
        fix: "Let the server answer `100 Continue` when it is ready for the body; most frameworks \
            have a switch for it. Clients can leave the header out: `curl -H 'Expect:'`. Where the \
            server answers 417 or stumbles over the header, take it away on the balancer: Clearway \
            `remove_request_headers = [\"expect\"]`, HAProxy `http-request del-header Expect`. The \
            client then still waits its second, but the request succeeds.",
        ask: "on the balancer: `curl -s -o /dev/null -m 10 -H 'Expect: 100-continue' -d x -w \
            '%{http_code} %{time_total}\\n' http://{address}/`",
        lookalikes: &[Cause::AppSlow, Cause::Resp100Only],
    },
];
