//! Pages of causes: the head of the response.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::H2ToH1Backend,
        title: "The balancer speaks HTTP/2 to a server that speaks HTTP/1",
        party: Party::Configuration,
        proxy_status: "http_protocol_error",
        often: 3,
        seen: "Where a SETTINGS frame (`00 00 xx 04`) is due, the first bytes are `HTTP/1.1 400`, \
            `HTTP/1.1 505` or `<!D`. NGINX reads the first three bytes as the length of a frame: \
            4740180 is `HTT`, 3940676 is `<!D`. Larger buffers change nothing about that number.",
        nginx: "502 `upstream sent too large http2 frame: 4740180`.",
        haproxy: "502 `SH`.",
        envoy: "502 `UPE` `protocol_error`.",
        alb: "502, or 464.",
        fix: "Speak HTTP/1.1 to that server. Clearway: `protocol = \"http1\"` of the backend, or \
            `\"auto\"` with TLS. NGINX: `proxy_pass` in place of `grpc_pass`. HAProxy: remove \
            `proto h2` or `alpn h2`. Envoy: `http_protocol_options`. If the application is to \
            speak HTTP/2 without TLS (h2c), switch that on in the application.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_version}\\n' \
            --http2-prior-knowledge http://{address}/`",
        lookalikes: &[
            Cause::H1ToH2Backend,
            Cause::NotHttpService,
            Cause::RespHeaderTooBig,
            Cause::TlsAlpnMismatch,
        ],
    },
    Page {
        cause: Cause::H1ToH2Backend,
        title: "The balancer speaks HTTP/1.1 to a server that speaks HTTP/2 only",
        party: Party::Configuration,
        proxy_status: "http_protocol_error",
        often: 3,
        seen: "The first bytes of the server are a SETTINGS frame, `00 00 xx 04 00 00 00 00 00`, \
            often followed by a GOAWAY (type `07`). It is typical of gRPC servers; their clients \
            report \"unavailable\" or \"internal\".",
        nginx: "`upstream sent no valid HTTP/1.0 header`; the bytes are passed on, with status 009 \
            in the access log and no 502.",
        haproxy: "502 `PH`.",
        envoy: "502 `UPE`.",
        alb: "502, or 464.",
        fix: "Speak HTTP/2 to that server. Clearway: `protocol = \"h2\"` of the backend. NGINX: \
            `grpc_pass`. HAProxy: `proto h2`, or `alpn h2` with TLS. Envoy: \
            `http2_protocol_options`. ALB: the protocol version `GRPC` or `HTTP2` of the target \
            group.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_version}\\n' \
            --http2-prior-knowledge http://{address}/`",
        lookalikes: &[
            Cause::H2ToH1Backend,
            Cause::NotHttpService,
            Cause::TlsAlpnMismatch,
            Cause::RespInvalidStatusLine,
        ],
    },
    Page {
        cause: Cause::FastcgiUwsgiMismatch,
        title: "Balancer and server speak different protocols: FastCGI, uwsgi or HTTP",
        party: Party::Configuration,
        proxy_status: "http_protocol_error",
        often: 3,
        seen: "FastCGI to an HTTP server gives \"unsupported FastCGI protocol version: 72\", 72 \
            being the letter H, or silence when that server waits for a complete request line. \
            HTTP to a FastCGI or uwsgi port gives a reset or FIN without a byte. The uwsgi \
            protocol to an HTTP server gives silence. It never worked since the last change of the \
            configuration.",
        nginx: "502 `upstream sent unsupported FastCGI protocol version: 72`, or 504 `while \
            reading response header`. In the other direction 502 `recv() failed (104` or `upstream \
            prematurely closed connection`.",
        haproxy: "`SH` or `PH` where `use-fcgi-app` is set.",
        envoy: "`UC` or `UPE`.",
        alb: "",
        fix: "Let both sides agree. NGINX: `fastcgi_pass` for php-fpm, `uwsgi_pass` for `socket` \
            of uWSGI, `proxy_pass` for its `http-socket`. Clearway speaks HTTP only: use \
            `http-socket` in uWSGI, or put a server in front of php-fpm that speaks FastCGI.",
        ask: "`ss -ltnp 'sport = :{port}'`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::PlaintextToTls,
            Cause::AppCrashOnRequest,
            Cause::NotHttpService,
        ],
    },
    Page {
        cause: Cause::NotHttpService,
        title: "Another kind of service answers on that port",
        party: Party::Configuration,
        proxy_status: "http_protocol_error",
        often: 2,
        seen: "The first bytes are a greeting or an error of another protocol: `SSH-2.0`, `220` of \
            mail or FTP, `4A 00 00 00 0A` of MySQL, `-ERR` of Redis. Some send it before the \
            request. The connection itself is in order, so TCP health checks are green.",
        nginx: "`upstream sent no valid HTTP/1.0 header`; the bytes are passed on, with status 009 \
            in the access log and no 502.",
        haproxy: "502 `PH`.",
        envoy: "502 `UPE`.",
        alb: "502.",
        fix: "Correct host or port in `servers` of the backend. If it worked before, the address \
            may have been given to another machine: see dns-stale-ip. If that protocol is really \
            to be balanced, Clearway needs a listener with `mode = \"tcp\"`.",
        ask: "`ss -ltnp 'sport = :{port}'`",
        lookalikes: &[
            Cause::RespInvalidStatusLine,
            Cause::DnsStaleIp,
            Cause::WrongServiceListening,
            Cause::TlsToPlaintext,
            Cause::H1ToH2Backend,
            Cause::H2ToH1Backend,
        ],
    },
    Page {
        cause: Cause::RespHeaderTooBig,
        title: "The response's headers are larger than the balancer accepts",
        party: Party::Application,
        proxy_status: "http_response_header_section_size",
        often: 5,
        seen: "Bytes arrive, but the end of the headers does not come before the limit. Only users \
            with a login or certain pages are hit: large `Set-Cookie`, tokens of a login service, \
            `Content-Security-Policy`. Measure the real size; that number is the limit to set. The \
            limits are one memory page in NGINX (4 or 8 KB), about 15 KB in HAProxy, 60 KB in \
            Envoy, 32 KB in ALB.",
        nginx: "502 `upstream sent too big header while reading response header from upstream`; \
            `$upstream_bytes_received` is 4096 or 8192 exactly.",
        haproxy: "502 `PH`.",
        envoy: "502 `UPE`.",
        alb: "502 above 32 KB.",
        fix: "Raise the limit above the measured size. Clearway: `limits.response_header_bytes` \
            (32 KiB). NGINX: `proxy_buffer_size 16k;`, `proxy_buffers 8 16k;`, \
            `proxy_busy_buffers_size 32k;`, and `fastcgi_…` for PHP. HAProxy: `tune.bufsize \
            32768`. Envoy: `max_response_headers_kb`. Then make the headers smaller: keep sessions \
            on the server, not in cookies.",
        ask: "`curl -s -m 30 -o /dev/null -D - http://127.0.0.1:{port}/PATH | wc -c`",
        lookalikes: &[
            Cause::RespTooManyHeaders,
            Cause::RespInvalidHeader,
            Cause::H2ToH1Backend,
            Cause::RequestHeaderTooLargeLb,
            Cause::LbRewriteFailed,
        ],
    },
    Page {
        cause: Cause::RespTooManyHeaders,
        title: "The response has more header lines than the balancer accepts",
        party: Party::Application,
        proxy_status: "http_response_header_section_size",
        often: 1,
        seen: "The headers are small in total, but there are more than 100 lines. The usual reason \
            is a loop that adds the same header again and again.",
        nginx: "Has no such limit; 150 lines pass.",
        haproxy: "502 `PH` above `tune.http.maxhdr` (101).",
        envoy: "502 `UPE` above `max_headers_count` (100).",
        alb: "502.",
        fix: "Find what adds the lines: a `Set-Cookie` or `Link` per item, or the same header \
            added by several layers. Until then raise the limit. Clearway: `limits.header_count` \
            (100). HAProxy: `tune.http.maxhdr`. Envoy: `max_headers_count`.",
        ask: "`curl -s -m 30 -o /dev/null -D - http://127.0.0.1:{port}/PATH | wc -l`",
        lookalikes: &[Cause::RespHeaderTooBig, Cause::RespInvalidHeader],
    },
    Page {
        cause: Cause::RespInvalidHeader,
        title: "The response has a header line that HTTP does not allow",
        party: Party::Application,
        proxy_status: "http_protocol_error",
        often: 3,
        seen: "There is a space in a header's name, a line without colon, a NUL or a lone carriage \
            return, or a header that goes on in the next line. It is the same for every request to \
            that path. Bytes of UTF-8 in a value are no problem. It often comes to light when an \
            old proxy that was tolerant is replaced.",
        nginx: "502 `upstream sent invalid header: \"X\\x20…\"`, up to the offending byte.",
        haproxy: "502 `PH`; `show errors` on the statistics socket has the bytes.",
        envoy: "502 `UPE` `protocol_error`, without the place.",
        alb: "502.",
        fix: "Mend the header in the application; the receipt of Clearway has the place. Values \
            that come from users, such as file names, have to be encoded. As a stop-gap HAProxy \
            has `option accept-unsafe-violations-in-http-response`.",
        ask: "`curl -s -m 30 -o /dev/null -D - http://127.0.0.1:{port}/PATH | cat -A`",
        lookalikes: &[
            Cause::RespInvalidStatusLine,
            Cause::RespDupFraming,
            Cause::RespHeaderTooBig,
            Cause::RespTooManyHeaders,
            Cause::RespHeaderTruncated,
        ],
    },
    Page {
        cause: Cause::RespDupFraming,
        title: "The response says in two ways where its body ends",
        party: Party::Application,
        proxy_status: "http_response_transfer_coding or http_protocol_error",
        often: 4,
        seen: "Two header lines contradict each other: `Transfer-Encoding` twice, \
            `Transfer-Encoding` besides `Content-Length`, two `Content-Length`, or a negative one. \
            It is refused because another program could see the end of the body elsewhere. It \
            often begins with an upgrade of the balancer, because older versions let it pass.",
        nginx: "Since 1.23, 502 `upstream sent duplicate header line: \"Transfer-Encoding: \
            chunked\"`, `upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the \
            same time` or `upstream sent invalid \"Content-Length\" header`. Version 1.22 passes a \
            repeated `Transfer-Encoding`.",
        haproxy: "502 `PH` for a repeated header of either kind; `Transfer-Encoding` with \
            `Content-Length` passes.",
        envoy: "502 `UPE`.",
        alb: "502.",
        fix: "Let the framework set these headers and remove them where the application sets them \
            itself. The classic case copies all headers of another response into its own, for \
            example a Spring `ResponseEntity` with the headers of a call that it made.",
        ask: "`curl -s -m 30 -o /dev/null -D - http://127.0.0.1:{port}/PATH | grep -Ei \
            'transfer-encoding|content-length'`",
        lookalikes: &[Cause::RespInvalidHeader, Cause::RespChunkInvalid],
    },
    Page {
        cause: Cause::RespInvalidStatusLine,
        title: "The response begins with something that is not a status line",
        party: Party::Application,
        proxy_status: "http_protocol_error",
        often: 2,
        seen: "The first bytes are not `HTTP/1.`. What they are tells the cause: `15 03` a TLS \
            alert, `00 00 xx 04` HTTP/2, `SSH-` another service, `<!D` or `{` a page or JSON \
            without headers, or the rest of an earlier response. If nothing fits, the application \
            writes to the connection by itself, such as a script that prints before its headers.",
        nginx: "`upstream sent no valid HTTP/1.0 header`; the bytes are passed on as HTTP/0.9, \
            with status 009 and `$upstream_status` 200, so that no 502 is counted.",
        haproxy: "502 `PH`.",
        envoy: "502 `UPE`.",
        alb: "502.",
        fix: "Follow the first bytes, which the receipt has. A page without headers: mend the \
            application or script. Remains of an earlier response, on reused connections only: see \
            pool-desync-leftover.",
        ask: "`printf 'GET /PATH HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n' | nc -w 5 127.0.0.1 \
            {port} | head -c 64 | xxd`",
        lookalikes: &[
            Cause::NotHttpService,
            Cause::H1ToH2Backend,
            Cause::PoolDesyncLeftover,
            Cause::PlaintextToTls,
            Cause::RespInvalidHeader,
        ],
    },
    Page {
        cause: Cause::RespHeaderTruncated,
        title: "The connection ended in the middle of the response's headers",
        party: Party::Application,
        proxy_status: "http_response_incomplete",
        often: 2,
        seen: "Some bytes came, but no empty line, then a FIN or a reset. That some came tells it \
            from a crash before any response. Either the application died while writing, or \
            something in between (a sidecar, an inner proxy, an inspection box) cut the \
            connection.",
        nginx: "502 `upstream prematurely closed connection while reading response header from \
            upstream`, the same text as with no byte at all; only `$upstream_bytes_received` \
            differs.",
        haproxy: "502 `PH`; with no byte at all it is `SH`.",
        envoy: "502 `UPE`; with no byte at all it is a 503 `UC`.",
        alb: "502.",
        fix: "Read the application's log at that second for a crash, a kill or an exception while \
            writing. If there is none, make the request on the server itself; if it is complete \
            there, look at what lies between.",
        ask: "`curl -sv -m 30 -o /dev/null http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::RespHeaderStalled,
            Cause::WorkerTimeoutKill,
        ],
    },
    Page {
        cause: Cause::RespHeaderStalled,
        title: "The response's headers began but never ended",
        party: Party::Application,
        proxy_status: "connection_read_timeout",
        often: 1,
        seen: "Some bytes of the head came, then silence until the time-out; the connection stays \
            open. Either the application sent part of its headers and then waited for something, \
            or the packets that follow get lost. In the latter case large responses of other paths \
            fail too.",
        nginx: "504 `while reading response header from upstream`, with bytes received.",
        haproxy: "504 `sH`.",
        envoy: "504 `UT`.",
        alb: "504.",
        fix: "Find out why the application writes its head in pieces and what it waits for in \
            between; from there on it is a slow application (see app-slow). If the same request is \
            complete on the server itself, packets are lost: see pmtu-blackhole-response.",
        ask: "`curl -sv -m 90 -o /dev/null http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::AppSlow,
            Cause::PmtuBlackholeResponse,
            Cause::RespHeaderTruncated,
        ],
    },
    Page {
        cause: Cause::Resp100Only,
        title: "Only an interim response (1xx) arrives",
        party: Party::Application,
        proxy_status: "http_response_incomplete",
        often: 1,
        seen: "The server sends 100 or 103, and then closes or stays silent; the final response \
            never comes. It mostly concerns requests with a body and `Expect: 100-continue`, so \
            try it without.",
        nginx: "Passes the 100 on and ends; the client waits or breaks.",
        haproxy: "502 `SH`.",
        envoy: "503 `UC` `after_response_started`.",
        alb: "502.",
        fix: "Mend the application, which takes the interim response for the final one. Until then \
            take the header away: Clearway `remove_request_headers = [\"expect\"]`, HAProxy \
            `http-request del-header Expect`. More than `limits.interim_responses` (16) of them \
            end the request.",
        ask: "`curl -sv -m 10 -o /dev/null -H 'Expect: 100-continue' -d x \
            http://127.0.0.1:{port}/PATH`",
        lookalikes: &[Cause::Expect100Continue, Cause::AppCrashOnRequest],
    },
    Page {
        cause: Cause::RespUnsolicited101,
        title: "The server switches protocols without being asked",
        party: Party::Application,
        proxy_status: "http_upgrade_failed",
        often: 1,
        seen: "The server answers 101 to a request that has no `Upgrade` header. Either the port \
            belongs to a pure WebSocket server, or the application is mistaken about whom it \
            answers. If the client did ask and some hop removed the header, the client's request \
            shows it.",
        nginx: "Passes the 101 on and waits until a time-out.",
        haproxy: "502 `PH`.",
        envoy: "Passes the 101 on and waits.",
        alb: "502.",
        fix: "Send requests to the right port, and WebSocket to the other one, with a route on the \
            path. Otherwise mend the application.",
        ask: "`curl -si -m 5 http://127.0.0.1:{port}/PATH | head -n 1`",
        lookalikes: &[Cause::WebsocketUpgradeStripped],
    },
    Page {
        cause: Cause::UpstreamGenerated5xx,
        title: "The error was made by the server, or by another proxy before it, not by this \
            balancer",
        party: Party::Application,
        proxy_status: "",
        often: 5,
        seen: "A complete and valid response was received, and its status happens to be a 500, \
            502, 503 or 504. It has a time to the head, bytes, and often the name of another \
            product in `Server`, `Via` or the body. \"Who made this 502?\" cannot be read from \
            `$upstream_status` of NGINX, because NGINX writes its own 502 and 504 there too; \
            `$upstream_header_time` and `$upstream_bytes_received` tell.",
        nginx: "`$upstream_status` 502 with `$upstream_header_time` set; its own errors have `-` \
            there.",
        haproxy: "State `----` with `Tr` of 0 or more.",
        envoy: "No flags, `via_upstream`.",
        alb: "`elb_status_code` 502 and `target_status_code` 502; counted in \
            `HTTPCode_Target_5XX_Count`, not in `HTTPCode_ELB_5XX_Count`.",
        fix: "Go on at the server: read its log for the same request id, and if it is a proxy, \
            explain its error as here. Pass the id of the request on in every hop (Clearway: \
            `set_request_headers = { x-request-id = \"${id}\" }`), and let every hop say in \
            `Proxy-Status` what it did.",
        ask: "`curl -si -m 90 http://127.0.0.1:{port}/PATH | head -n 20`",
        lookalikes: &[
            Cause::AllBackendsDown,
            Cause::AppSlow,
            Cause::AuthSubrequestFailed,
            Cause::PassiveEjection,
        ],
    },
];
