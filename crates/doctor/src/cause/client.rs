//! Pages of causes: clients.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::ClientSlowUpload,
        title: "The client sends its request too slowly",
        party: Party::Client,
        proxy_status: "http_request_error; status-code=408",
        often: 3,
        seen: "More time passes between two pieces of the client's request than the time-out \
            allows. The server has not been contacted yet, or waits for the body. With two proxies \
            in a row, the inner one gives up on the body and closes, and the outer one reports a \
            502 of a healthy server. An ALB counts the upload into the time of the target, so that \
            a slow client looks like a slow application; the bytes received over time show which \
            it is.",
        nginx: "408 `client timed out`. Behind an ALB its 408 becomes the ALB's 502.",
        haproxy: "408 `cR`; `cD` or `cH` for bodies.",
        envoy: "408 `SI` or `request_timeout`.",
        alb: "408, or 502 because the target closed first. Without a web application firewall the \
            upload counts into `target_processing_time`, with one into `request_processing_time`.",
        fix: "Ask what keeps the client: a mobile network, a lost path MTU, a program that stops \
            in the middle. Give uploads time: Clearway `timeouts.request_head` (10 s) and \
            `timeouts.request_body` (30 s), also per route. With several hops the inner time-outs \
            have to be longer than the outer ones.",
        ask: "",
        lookalikes: &[
            Cause::AppSlow,
            Cause::KeepaliveRace,
            Cause::TimeoutOrderInverted,
        ],
    },
    Page {
        cause: Cause::ClientAbort,
        title: "The client went away before the response was complete",
        party: Party::Client,
        proxy_status: "",
        often: 4,
        seen: "A FIN or reset comes from the client while its request is worked on. What the \
            server was doing tells whether the client was impatient (the server is slow) or simply \
            left (the server is quick). Group the cases by elapsed time: a sharp peak is a \
            time-out of clients, a flat distribution is people.",
        nginx: "499, `$upstream_status` `-`, `client prematurely closed connection, so upstream \
            connection is closed too`.",
        haproxy: "400 or -1 with `CH` (waiting), `CC` (connecting), `CQ` (queue), `CD` (data), \
            `CR` (request).",
        envoy: "0 `DC` `downstream_remote_disconnect`.",
        alb: "460, or 000.",
        fix: "Nothing, when people leave; do not count it as an error of the server. If it is \
            impatience, make the application faster. Work that must not be interrupted can go on \
            without the client: NGINX `proxy_ignore_client_abort on;`.",
        ask: "",
        lookalikes: &[
            Cause::ClientTimeoutShorter,
            Cause::AppSlow,
            Cause::RespBodyShort,
            Cause::LbDiskFull,
            Cause::WebsocketIdleTimeout,
            Cause::LbReloadDropped,
        ],
    },
    Page {
        cause: Cause::ClientTimeoutShorter,
        title: "The client has a shorter time-out than the answer needs",
        party: Party::Client,
        proxy_status: "",
        often: 3,
        seen: "Clients leave at a constant time after their request, per kind of client: an SDK, \
            another service, a health checker, a CDN. Retries follow within milliseconds and \
            multiply the load. People who leave do so at any time.",
        nginx: "499 after 10.00 s, for example.",
        haproxy: "`CH` at a constant `Ta`; `cH` when `timeout client` is shorter than `timeout \
            server`.",
        envoy: "`DC` after a constant time.",
        alb: "460.",
        fix: "Order the time-outs: the client waits longest, then the balancer, then the \
            application (see timeout-order-inverted). Raise the client's time-out, or make the \
            answer faster. Let clients wait longer before each retry, and give requests that \
            change something a key by which the server knows a repetition.",
        ask: "",
        lookalikes: &[
            Cause::ClientAbort,
            Cause::TimeoutOrderInverted,
            Cause::AppSlow,
        ],
    },
    Page {
        cause: Cause::TooManyForwardedFor,
        title: "X-Forwarded-For has too many addresses",
        party: Party::Client,
        proxy_status: "http_request_error",
        often: 1,
        seen: "The header has more than 30 entries. Either requests go round in a loop and every \
            pass adds one, or a client makes the header up. In a loop the same addresses come \
            again and again.",
        nginx: "",
        haproxy: "",
        envoy: "",
        alb: "463.",
        fix: "Stop the loop: see proxy-loop. If it is the client, replace the header at the edge \
            in place of appending to it: Clearway `forwarded = { x_forwarded = \"replace\" }` of \
            the listener; what clients outside `trusted` send is not believed.",
        ask: "",
        lookalikes: &[Cause::ProxyLoop],
    },
];
