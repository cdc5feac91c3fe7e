//! Pages of causes: the body of the response.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::WebsocketIdleTimeout,
        title: "A WebSocket or other tunnel was cut because nobody sent anything",
        party: Party::Application,
        proxy_status: "connection_read_timeout",
        often: 4,
        seen: "The tunnel ends exactly a time-out after the last byte: 60 s with NGINX and ALB. \
            The status in the log is 101, and browsers report code 1006. A firewall that forgets \
            idle connections cuts at other times (350 s, 240 s) and mostly in silence; a client \
            that leaves does so at any time.",
        nginx: "Status 101, `[info] upstream timed out (110: Connection timed out) while proxying \
            upgraded connection`.",
        haproxy: "`sD` or `cD` after `timeout tunnel`, or after `timeout client` or `timeout \
            server` where that is not set.",
        envoy: "`SI` after `stream_idle_timeout` (5 min).",
        alb: "The idle time-out (60 s); the line is logged when the connection ends.",
        fix: "Let the application send pings every 20 to 30 s, which helps with every hop on the \
            way. Or raise the limit. Clearway: `timeouts.tunnel` (1 h). NGINX: \
            `proxy_read_timeout`. HAProxy: `timeout tunnel`. Envoy: `stream_idle_timeout` or \
            `idle_timeout` of the route. ALB: `idle_timeout.timeout_seconds`.",
        ask: "",
        lookalikes: &[Cause::NatIdleDrop, Cause::ClientAbort],
    },
    Page {
        cause: Cause::RespBodyShort,
        title: "The response's body ends before its announced length",
        party: Party::Application,
        proxy_status: "http_response_incomplete",
        often: 4,
        seen: "The head with status 200 was sent already, so monitoring by status sees nothing. \
            Fewer bytes came than `Content-Length` says. After a FIN the application closed by \
            itself: a wrong length, software that compresses after the length was set, a crash \
            while sending. After a reset something aborted the connection, the application or a \
            box in between. Clients report `ERR_CONTENT_LENGTH_MISMATCH`, or curl code 18. If the \
            balancer's disk is full or the client left, the server was not the first to close.",
        nginx: "Status 200 and even `$request_completion` `OK`; only the error log has `upstream \
            prematurely closed connection while reading upstream` or `readv() failed (104`.",
        haproxy: "200 `SD`.",
        envoy: "200 `UPE` with `upstream_reset_after_response_started`.",
        alb: "200 or 502, `target_status_code` 200.",
        fix: "Compare the length announced with the bytes that come. If it is always the same \
            difference, the length is wrong: it was set before the body changed, or counts \
            characters in place of bytes; let the framework set it. If it differs, the application \
            died while sending: read its log for a kill, a time-out or an exception at that \
            second.",
        ask: "`curl -s -m 60 -o /dev/null -D - -w '%{size_download} bytes\\n' \
            http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::RespChunkTruncated,
            Cause::LbDiskFull,
            Cause::ClientAbort,
            Cause::ConntrackInvalidReset,
            Cause::WorkerTimeoutKill,
        ],
    },
    Page {
        cause: Cause::RespBodyStalled,
        title: "The response's body stops coming although the connection stays open",
        party: Party::Application,
        proxy_status: "connection_read_timeout",
        often: 3,
        seen: "The head with status 200 was sent already. Then the bytes stop below the announced \
            length, and nothing comes until the time-out. If it always stops at the same byte, \
            `Content-Length` is too large: the application has sent everything and believes it is \
            done. If it stops anywhere, the producer is stuck or packets are lost.",
        nginx: "200, `upstream timed out (110: Connection timed out) while reading upstream`.",
        haproxy: "200 `sD`.",
        envoy: "200 `UT`.",
        alb: "504.",
        fix: "Mend the length where it is wrong. For streams that are quiet by nature (server-sent \
            events, long polling) send something every 20 to 30 s, or raise the limit. Clearway: \
            `timeouts.server_idle` (60 s). NGINX: `proxy_read_timeout`. HAProxy: `timeout server`. \
            If bytes get lost, see pmtu-blackhole-response.",
        ask: "`curl -s -m 90 -o /dev/null -w '%{size_download} %{time_total}\\n' \
            http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::RespBodyShort,
            Cause::PmtuBlackholeResponse,
            Cause::WebsocketIdleTimeout,
            Cause::AppHung,
        ],
    },
    Page {
        cause: Cause::RespChunkTruncated,
        title: "A chunked body ends without its last chunk",
        party: Party::Application,
        proxy_status: "http_response_incomplete",
        often: 3,
        seen: "The head with status 200 was sent already. A FIN comes between two chunks, without \
            the empty chunk that ends a body; browsers report `ERR_INCOMPLETE_CHUNKED_ENCODING`. \
            The application or its worker died while sending.",
        nginx: "200, `upstream prematurely closed connection while reading upstream`.",
        haproxy: "200 `SD`.",
        envoy: "200 `UPE`.",
        alb: "200 or 502.",
        fix: "Look in the application's log for what ended it at that second: a worker's time-out, \
            a kill for want of memory, an exception while the body was made. Make what may fail \
            before the first byte is sent.",
        ask: "`curl -sv -m 90 -o /dev/null http://127.0.0.1:{port}/PATH`",
        lookalikes: &[
            Cause::RespBodyShort,
            Cause::WorkerTimeoutKill,
            Cause::OomKill,
        ],
    },
    Page {
        cause: Cause::RespChunkInvalid,
        title: "The chunked framing of the response is broken",
        party: Party::Application,
        proxy_status: "http_response_transfer_coding; coding=chunked",
        often: 2,
        seen: "Where the size of a chunk is due there is something else. Either the application \
            writes chunks by itself on top of those of its server, or it announces chunks and \
            sends none. It is the same for every request to that path.",
        nginx: "`upstream sent invalid chunked response`; the client gets an empty reply, although \
            the access log says 200.",
        haproxy: "502 `PH` when it is seen before the head was passed on, else `PD`.",
        envoy: "200 `UPE`.",
        alb: "502.",
        fix: "Remove the application's own chunking, or the header `Transfer-Encoding` that it \
            sets by hand; the server does both.",
        ask: "`curl -s -m 30 --raw -D - http://127.0.0.1:{port}/PATH | head -c 400 | cat -A`",
        lookalikes: &[Cause::RespDupFraming, Cause::RespChunkTruncated],
    },
    Page {
        cause: Cause::RespContentCodingError,
        title: "The balancer has to decompress the response and cannot",
        party: Party::Application,
        proxy_status: "http_response_content_coding",
        often: 1,
        seen: "The body is not what `Content-Encoding` says: not compressed at all, compressed \
            twice, or damaged. It concerns balancers that decompress only, to change the text or \
            for clients without compression. Clients that get the body as it is report an error of \
            their own, `ERR_CONTENT_DECODING_FAILED`.",
        nginx: "`inflate() failed: -3` with `gunzip` or `sub_filter`.",
        haproxy: "",
        envoy: "Counters of the decompressor rise.",
        alb: "",
        fix: "Mend the application: compress once, and set `Content-Encoding` where it is done. Or \
            do not decompress on the balancer; Clearway never does.",
        ask: "`curl -s -m 30 --compressed -o /dev/null -w '%{http_code} %{exitcode}\\n' \
            http://127.0.0.1:{port}/PATH`",
        lookalikes: &[Cause::RespBodyShort],
    },
    Page {
        cause: Cause::RespBodyTooLarge,
        title: "The balancer collects the whole response, and it is too large for that",
        party: Party::Configuration,
        proxy_status: "http_response_body_size",
        often: 1,
        seen: "A filter that needs the complete body before it passes anything on has a limit, and \
            the response is larger. Small responses of the same path work. For Lambda functions \
            behind an ALB the limit is 1 MB.",
        nginx: "Has no such limit; `proxy_max_temp_file_size` only slows the server down.",
        haproxy: "",
        envoy: "500 or 503 `response_payload_too_large`.",
        alb: "502 with `LambdaResponseTooLarge` above 1 MB.",
        fix: "Let the response through as it comes, without the filter for that path, or raise its \
            limit. For Lambda put the content into storage and answer with a redirect. Clearway \
            never collects responses.",
        ask: "",
        lookalikes: &[],
    },
];
