//! Pages of causes: TLS with the server.

use clearway_outcome::Party;

use super::{Cause, Page};

pub(super) const PAGES: &[Page] = &[
    Page {
        cause: Cause::TlsToPlaintext,
        title: "The balancer speaks TLS to a port that speaks plain HTTP",
        party: Party::Configuration,
        proxy_status: "tls_protocol_error or connection_timeout",
        often: 5,
        seen: "The connection is made at once and the ClientHello is acknowledged. Then one of two \
            things happens. Either the server answers with something printable (`HTTP/1.1 400`, \
            `<!D`, `SSH-`), which is reported as \"wrong version number\". Or it waits for the end \
            of a line that never comes, so nothing happens until the time-out, which some \
            balancers report like a firewall that drops. The proof: `GET / HTTP/1.0` in plain text \
            on a new connection is answered with `HTTP/`.",
        nginx: "502 `SSL_do_handshake() failed (… wrong version number) while SSL handshaking to \
            upstream`, or when the server is silent 504 `upstream timed out (110: Connection timed \
            out) while SSL handshaking to upstream`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`, or when the server is silent 503 `sC` with `Tc` \
            -1, the same line as for a firewall that drops.",
        envoy: "503 `UF` `TLS_error … WRONG_VERSION_NUMBER`, or when the server is silent 503 `UF` \
            with `connection_timeout`.",
        alb: "502, or when the server is silent 504 after 10 s.",
        fix: "Speak plain HTTP to that port, or use the server's TLS port. Clearway: remove `tls` \
            from the backend, or correct the port in `servers`; for the health check alone, \
            `health.tls = false`. NGINX: `proxy_pass http://…`. HAProxy: remove `ssl` from the \
            `server` line. Envoy: remove the `transport_socket`. ALB: the protocol of the target \
            group. In Istio let the DestinationRule agree with the PeerAuthentication.",
        ask: "on the balancer: `curl -s -m 5 -o /dev/null -w '%{http_code}\\n' http://{address}/`",
        lookalikes: &[
            Cause::FirewallDrop,
            Cause::TlsHandshakeTimeout,
            Cause::TlsVersionMismatch,
            Cause::NotHttpService,
        ],
    },
    Page {
        cause: Cause::PlaintextToTls,
        title: "The balancer speaks plain HTTP to a port that speaks TLS",
        party: Party::Configuration,
        proxy_status: "http_protocol_error or connection_terminated",
        often: 5,
        seen: "What comes back depends on the server. NGINX answers 400 `The plain HTTP request \
            was sent to HTTPS port`, Go 400 `Client sent an HTTP request to an HTTPS server`, \
            Apache something like it. Servers that use OpenSSL directly send an alert (`15 03 0x \
            00 02 02 46`) and close. Node, Python and Java close or reset without a byte, which \
            looks like an application that crashes. The proof: a ClientHello on a new connection \
            is answered with the bytes `16 03`.",
        nginx: "The server's own 400 is passed on; or 502 `recv() failed (104` or `upstream \
            prematurely closed connection`; or `upstream sent no valid HTTP/1.0 header` with \
            status 009 in the access log.",
        haproxy: "400 with state `----`, 502 `SH` with `ERESET`, or 502 `PH`.",
        envoy: "400 `via_upstream`, 503 `UC`, or 502 `UPE`.",
        alb: "400 of the target, or 502.",
        fix: "Speak TLS to that port, or use the server's plain port. Clearway: `tls = true` in \
            the backend, or a table with `ca` and `server_name`. NGINX: `proxy_pass https://…`. \
            HAProxy: `ssl verify required ca-file FILE` on the `server` line. Envoy: a \
            `transport_socket` with TLS. ALB: protocol HTTPS of the target group.",
        ask: "on the balancer: `openssl s_client -connect {address} </dev/null`",
        lookalikes: &[
            Cause::AppCrashOnRequest,
            Cause::ContainerPortForwarder,
            Cause::BadHostHeader,
            Cause::ProxyProtocolExpected,
            Cause::FastcgiUwsgiMismatch,
            Cause::H1ToH2Backend,
        ],
    },
    Page {
        cause: Cause::TlsSniMissingOrWrong,
        title: "The server needs another server name in the TLS handshake",
        party: Party::Configuration,
        proxy_status: "tls_alert_received",
        often: 4,
        seen: "The server answers the ClientHello with alert 112 (unrecognized name) or 40 \
            (handshake failure) before any ServerHello, or it presents a default certificate for \
            another name. The same handshake with the right name (SNI) succeeds. NGINX and Envoy \
            send no name by default. HAProxy sends the `Host` of the request in its newest \
            versions and none in older ones; a name that the client chooses may be the wrong one \
            for the server. If the handshake fails with every name, look at cipher suites and \
            client certificates.",
        nginx: "502 `SSL_do_handshake() failed (… tlsv1 unrecognized name:SSL alert number 112)` \
            or `(… sslv3 alert handshake failure:SSL alert number 40)`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`; the number of the alert is lost.",
        envoy: "503 `UF` `TLS_error … TLSV1_ALERT_UNRECOGNIZED_NAME` or \
            `HANDSHAKE_FAILURE_ON_CLIENT_HELLO`.",
        alb: "The name that is sent to targets cannot be configured.",
        fix: "Send the name that the server's certificate has. Clearway sends the host name of the \
            server; where `servers` has addresses, set `tls.server_name` of the backend. NGINX: \
            `proxy_ssl_server_name on;` and `proxy_ssl_name NAME;`. HAProxy: `sni str(NAME)`. \
            Envoy: `sni: NAME` or `auto_sni`.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername NAME </dev/null`",
        lookalikes: &[
            Cause::TlsCipherMismatch,
            Cause::MtlsCertRequired,
            Cause::TlsCertNameMismatch,
        ],
    },
    Page {
        cause: Cause::TlsCertExpired,
        title: "The server's certificate has expired",
        party: Party::ServerHost,
        proxy_status: "tls_certificate_error",
        often: 4,
        seen: "The balancer refuses the handshake and sends alert 45 (certificate expired); the \
            verification error is 10. It may be the certificate itself or one of the authorities \
            above it. It begins at an exact moment, the `notAfter` of a certificate. If several \
            certificates that have nothing to do with each other fail at once, the balancer's \
            clock is wrong.",
        nginx: "502 `upstream SSL certificate verify error: (10:certificate has expired)`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `… CERTIFICATE_VERIFY_FAILED … certificate has expired`.",
        alb: "Does not verify the certificates of targets.",
        fix: "Renew the certificate on the server, then restart or reload the application, because \
            many read the file only when they start. Compare the serial number that is served with \
            the one in the file. Find out why the renewal did not happen by itself. Turning \
            verification off (`tls.verify = false`) lets anybody on the way read and change \
            everything.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} </dev/null \
            | openssl x509 -noout -dates -serial`",
        lookalikes: &[Cause::TlsCertNotYetValid, Cause::TlsUnknownCa],
    },
    Page {
        cause: Cause::TlsCertNotYetValid,
        title: "The server's certificate is not valid yet, or the balancer's clock is wrong",
        party: Party::ServerHost,
        proxy_status: "tls_certificate_error",
        often: 2,
        seen: "The balancer refuses the handshake; the verification error is 9. If many \
            certificates that have nothing to do with each other fail at once, the balancer's \
            clock is behind; compare it with the `Date` header of any response. If it is only this \
            one, the certificate was issued moments ago by a machine whose clock is ahead.",
        nginx: "502 `upstream SSL certificate verify error: (9:certificate is not yet valid)`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `… certificate is not yet valid`.",
        alb: "Does not verify the certificates of targets.",
        fix: "Compare the clocks of both hosts and mend NTP; machines that were suspended often \
            wake up with the old time. If both are right, wait until `notBefore`, or issue the \
            certificate again.",
        ask: "on the balancer: `date -u; openssl s_client -connect {address} -servername {host} \
            </dev/null | openssl x509 -noout -dates`",
        lookalikes: &[Cause::TlsCertExpired],
    },
    Page {
        cause: Cause::TlsCertNameMismatch,
        title: "The server's certificate is for another name",
        party: Party::Configuration,
        proxy_status: "tls_certificate_error",
        often: 3,
        seen: "The chain is trusted, but none of the certificate's names is the expected one. It \
            is typical of servers that are configured by address, and of balancers that expect the \
            name of a group of servers. A stale address or a missing server name in the handshake \
            also bring up somebody else's certificate; then its names are the hint.",
        nginx: "502 `upstream SSL certificate does not match \"NAME\"`.",
        haproxy: "503 `SC` with `SSL_MISMATCH_SNI`.",
        envoy: "503 `UF` with the names in `… certificate SANs are [NAME]`.",
        alb: "Does not verify the certificates of targets.",
        fix: "Expect a name that the certificate has. Clearway: `tls.server_name` of the backend. \
            NGINX: `proxy_ssl_name NAME;`. HAProxy: `verifyhost NAME` and `sni str(NAME)`. Envoy: \
            `match_typed_subject_alt_names` and `sni`. Or issue a certificate that has the \
            expected name.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} </dev/null \
            | openssl x509 -noout -ext subjectAltName`",
        lookalikes: &[
            Cause::TlsSniMissingOrWrong,
            Cause::DnsStaleIp,
            Cause::WrongServiceListening,
        ],
    },
    Page {
        cause: Cause::TlsUnknownCa,
        title: "The balancer does not trust the authority that issued the server's certificate",
        party: Party::Configuration,
        proxy_status: "tls_certificate_error",
        often: 3,
        seen: "The balancer refuses the handshake and sends alert 48 (unknown CA). The \
            verification error is 18 for a self-signed certificate, 19 for a self-signed one in \
            the chain, 20 or 21 when the issuer is unknown. If the chain that the server sends is \
            only one certificate long and the issuer is a well-known authority, an intermediate \
            certificate is missing instead.",
        nginx: "502 `upstream SSL certificate verify error: (18:self-signed certificate)`, \
            `(19:self-signed certificate in certificate chain)` or `(20:unable to get local issuer \
            certificate)`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `… self signed certificate`.",
        alb: "Does not verify the certificates of targets.",
        fix: "Give the balancer the certificate of the authority. Clearway: `tls.ca` of the \
            backend. NGINX: `proxy_ssl_trusted_certificate`. HAProxy: `ca-file`. Envoy: \
            `trusted_ca`. Turning verification off makes the error go away and the protection as \
            well.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} -showcerts \
            </dev/null`",
        lookalikes: &[Cause::TlsMissingIntermediate],
    },
    Page {
        cause: Cause::TlsMissingIntermediate,
        title: "The server does not send its intermediate certificate",
        party: Party::ServerHost,
        proxy_status: "tls_certificate_error",
        often: 3,
        seen: "The balancer cannot verify the certificate: error 21 or 20, as for an unknown \
            authority. But the server sends only one certificate, and its issuer is the \
            intermediate of a known authority. Browsers that have seen the intermediate elsewhere \
            still work. With the intermediate added, the same certificate verifies.",
        nginx: "502 `upstream SSL certificate verify error: (21:unable to verify the first \
            certificate)`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `… unable to get local issuer certificate`.",
        alb: "Does not verify the certificates of targets.",
        fix: "Let the server send the whole chain: its own certificate followed by the \
            intermediates, `fullchain.pem` in place of `cert.pem`. Until then the balancer can be \
            given the intermediate together with the root. Clearway: `tls.ca`.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} -showcerts \
            </dev/null | grep -c 'BEGIN CERT'`",
        lookalikes: &[Cause::TlsUnknownCa],
    },
    Page {
        cause: Cause::MtlsCertRequired,
        title: "The server demands a client certificate and the balancer shows none",
        party: Party::Configuration,
        proxy_status: "tls_alert_received",
        often: 3,
        seen: "The server sends a CertificateRequest in the handshake. With TLS 1.3 the handshake \
            succeeds for the balancer, and alert 116 (certificate required) arrives afterwards, \
            when the request has already been sent; it then looks like a failure while waiting for \
            the response. With TLS 1.2 it is alert 40 after the ServerHello. An application that \
            crashes sends no alert.",
        nginx: "TLS 1.3: 502 `SSL_read() failed (… tlsv13 alert certificate required:SSL alert \
            number 116) while reading response header`, with a time to connect. TLS 1.2: \
            `SSL_do_handshake() failed (… SSL alert number 40)`.",
        haproxy: "503 `SC` with `SSL_FATAL` or `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `SSLV3_ALERT_HANDSHAKE_FAILURE`; towards servers Envoy speaks TLS 1.2 by \
            default.",
        alb: "Cannot show a client certificate to targets.",
        fix: "Give the balancer a certificate that the server accepts. Clearway: `tls.certificate` \
            of the backend. NGINX: `proxy_ssl_certificate` and `proxy_ssl_certificate_key`. \
            HAProxy: `crt FILE` on the `server` line. Envoy: `tls_certificates`. Or make the \
            certificate optional on the server. Health checks need the certificate too.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} </dev/null \
            | grep -A5 -i 'client certificate'`",
        lookalikes: &[
            Cause::TlsCipherMismatch,
            Cause::TlsSniMissingOrWrong,
            Cause::AppCrashOnRequest,
            Cause::MtlsCertRejected,
        ],
    },
    Page {
        cause: Cause::MtlsCertRejected,
        title: "The server rejects the balancer's client certificate",
        party: Party::Configuration,
        proxy_status: "tls_alert_received",
        often: 2,
        seen: "The balancer shows a certificate and the server answers with an alert, with TLS 1.3 \
            after the handshake. The number says why: 48 unknown authority, 45 expired, 44 \
            revoked, 42 or 46 not acceptable, 43 of a kind that is not supported, 49 access \
            denied. Without a certificate it would be alert 116 or 40.",
        nginx: "502 `SSL_read() failed (… tlsv1 alert unknown ca:SSL alert number 48) while \
            reading response header`.",
        haproxy: "502 `SH` with `SSL_FATAL`; without a certificate it is a 503.",
        envoy: "503 `UF` `TLSV1_ALERT_UNKNOWN_CA`.",
        alb: "Cannot show a client certificate to targets.",
        fix: "Issue the certificate from the authority that the server trusts, or add its \
            authority to the server's list. Renew it if it has expired. It has to be meant for \
            clients (extended key usage `clientAuth`) and to come with its intermediates. \
            Clearway: `tls.certificate` of the backend.",
        ask: "on the balancer: `openssl x509 -noout -subject -issuer -dates -ext extendedKeyUsage \
            -in CERTIFICATE`",
        lookalikes: &[Cause::MtlsCertRequired],
    },
    Page {
        cause: Cause::TlsVersionMismatch,
        title: "Balancer and server have no TLS version in common",
        party: Party::Configuration,
        proxy_status: "tls_alert_received",
        often: 2,
        seen: "The server answers the ClientHello with alert 70 (protocol version). Or the server \
            chooses a version that the balancer does not accept, and the refusal is the balancer's \
            own. A handshake with each version by itself shows which ones the server speaks. If it \
            answers with plain text, it does not speak TLS at all.",
        nginx: "502 `… tlsv1 alert protocol version:SSL alert number 70`; `unsupported protocol` \
            when the balancer refuses.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `TLSV1_ALERT_PROTOCOL_VERSION` or `HANDSHAKE_FAILURE_ON_CLIENT_HELLO`.",
        alb: "502; which versions are spoken to targets follows from the security policy.",
        fix: "Let the server speak TLS 1.2 or 1.3; Clearway speaks nothing older, and with \
            `tls.profile = \"modern\"` only 1.3. NGINX: `proxy_ssl_protocols`. HAProxy: \
            `ssl-min-ver` and `ssl-max-ver`. Envoy: `tls_maximum_protocol_version: TLSv1_3`, \
            because it speaks at most 1.2 to servers by default.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} -tls1_2 \
            </dev/null`",
        lookalikes: &[Cause::TlsCipherMismatch, Cause::TlsToPlaintext],
    },
    Page {
        cause: Cause::TlsCipherMismatch,
        title: "Balancer and server have no cipher suite, group or signature algorithm in common",
        party: Party::Configuration,
        proxy_status: "tls_alert_received",
        often: 2,
        seen: "The server answers the ClientHello with alert 40 (handshake failure), sometimes 71 \
            or 47. A missing server name gives the same alert, and so does a missing client \
            certificate with TLS 1.2. Three tests tell them apart: a handshake with the right \
            server name; whether a ServerHello and a CertificateRequest came before the alert; a \
            handshake with a broad list of cipher suites.",
        nginx: "502 `… sslv3 alert handshake failure:SSL alert number 40`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `HANDSHAKE_FAILURE_ON_CLIENT_HELLO`.",
        alb: "502.",
        fix: "Widen the server's list: suites with ECDHE and AES-GCM or ChaCha20, and the groups \
            X25519 and P-256. A server that has only an ECDSA or only an RSA certificate needs \
            suites that fit to it. Clearway offers the suites of TLS 1.3 and those of TLS 1.2 with \
            ECDHE; it has none with RSA key exchange or CBC. Elsewhere: `proxy_ssl_ciphers` \
            (NGINX), `ciphers` (HAProxy), `cipher_suites` (Envoy).",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} -cipher \
            ALL:@SECLEVEL=0 </dev/null`",
        lookalikes: &[Cause::TlsSniMissingOrWrong, Cause::MtlsCertRequired],
    },
    Page {
        cause: Cause::TlsLocalPolicyRefusal,
        title: "The balancer's TLS library refuses what the server offers as too weak",
        party: Party::ServerHost,
        proxy_status: "tls_protocol_error",
        often: 2,
        seen: "The balancer sends the alert, not the server. The reasons have names such as `dh \
            key too small`, `ee key too small`, `ca md too weak` or `unsafe legacy renegotiation \
            disabled`. It often begins with an upgrade of the balancer or of its operating system, \
            although nobody touched the server.",
        nginx: "502 `SSL_do_handshake() failed (… dh key too small)` and the like.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` with the reason in BoringSSL's words.",
        alb: "",
        fix: "Mend the server: a key of at least 2048 bits, a certificate signed with SHA-256 or \
            better, no finite-field Diffie-Hellman below 2048 bits, a TLS library with secure \
            renegotiation. As a stop-gap NGINX takes `proxy_ssl_ciphers DEFAULT:@SECLEVEL=1;` and \
            HAProxy the same in `ciphers`. Clearway has no such switch.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} </dev/null \
            | grep -Ei 'Server public key|Peer sign|Temp Key|Renegotiation'`",
        lookalikes: &[Cause::TlsCipherMismatch],
    },
    Page {
        cause: Cause::TlsAlpnMismatch,
        title: "Balancer and server agree on no application protocol",
        party: Party::Configuration,
        proxy_status: "tls_alert_received",
        often: 1,
        seen: "The server answers the ClientHello with alert 120 (no application protocol). Many \
            servers, above all those on OpenSSL, go on without agreement instead; then one side \
            speaks HTTP/2 and the other HTTP/1.1, and the failure comes with the first bytes of \
            the response.",
        nginx: "502 with `SSL alert number 120`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` `… NO_APPLICATION_PROTOCOL`.",
        alb: "464 when the client's protocol does not fit.",
        fix: "Offer what the server speaks. Clearway: `protocol = \"auto\"` of the backend offers \
            both, `\"h2\"` and `\"http1\"` one of them. HAProxy: `alpn h2,http/1.1` on the \
            `server` line. Envoy: `alpn_protocols`. Or enable HTTP/2 on the server.",
        ask: "on the balancer: `openssl s_client -connect {address} -servername {host} -alpn \
            h2,http/1.1 </dev/null | grep ALPN`",
        lookalikes: &[Cause::H2ToH1Backend, Cause::H1ToH2Backend],
    },
    Page {
        cause: Cause::TlsHandshakeClosed,
        title: "The server ends the TLS handshake without an alert",
        party: Party::ServerHost,
        proxy_status: "tls_protocol_error",
        often: 3,
        seen: "A reset or FIN comes after the ClientHello, without a byte. It has many reasons: \
            nothing behind a port forwarder, a box in between that filters by server name, an \
            access list that accepts and then closes, a broken TLS configuration of the server, or \
            a server that expects a PROXY header first. If a connection on which nothing is sent \
            is closed as well, it is a forwarder; if a PROXY header brings an answer, the server \
            expects one.",
        nginx: "502 `peer closed connection in SSL handshake (104: Connection reset by peer) while \
            SSL handshaking to upstream`.",
        haproxy: "503 `SC` with `SSL_HANDSHAKE`.",
        envoy: "503 `UF` with `Connection_reset_by_peer`.",
        alb: "502.",
        fix: "Read the server's TLS log first: a missing key or certificate is named there. Then \
            try the handshake from the server itself, without a server name, and from another \
            source address; where it works, what lies between is to blame. If it expects a PROXY \
            header: Clearway `send_proxy = \"v2\"`.",
        ask: "`openssl s_client -connect 127.0.0.1:{port} -servername {host} </dev/null`",
        lookalikes: &[Cause::ProxyProtocolExpected, Cause::ContainerPortForwarder],
    },
    Page {
        cause: Cause::TlsHandshakeTimeout,
        title: "The TLS handshake begins and never ends",
        party: Party::ServerHost,
        proxy_status: "connection_timeout",
        often: 3,
        seen: "The connection is made and the ClientHello is acknowledged, but no byte comes back \
            until the time-out. The port may speak plain text and wait for the end of a line; the \
            application may be too busy to accept; large packets may get lost, because a \
            ClientHello and certificates fill whole packets; or a box in between swallows the \
            handshake. A firewall that drops does not even let the connection be made.",
        nginx: "504 `upstream timed out (110: Connection timed out) while SSL handshaking to \
            upstream`.",
        haproxy: "503 `sC`, without a hint that TCP worked.",
        envoy: "503 `UF` with `connection_timeout`, without a hint that TCP worked.",
        alb: "504 after 10 s.",
        fix: "Find out which of them it is. A plain `GET` that is answered means plain text. A \
            `Recv-Q` above 0 for the listening port means a busy application. A handshake that \
            works with a small ClientHello, or on the server itself, means lost packets: see \
            pmtu-blackhole-response. In Clearway the handshake counts into `timeouts.connect`.",
        ask: "`ss -ltn 'sport = :{port}'; openssl s_client -connect 127.0.0.1:{port} </dev/null`",
        lookalikes: &[
            Cause::TlsToPlaintext,
            Cause::WorkersSaturated,
            Cause::FirewallDrop,
            Cause::PmtuBlackholeResponse,
            Cause::AppHung,
        ],
    },
];
