//! Lines of Envoy in its default text, in other texts and in JSON: which faults flags and details stand for.

use clearway_outcome::{FaultKind as K, Remark, Signal};

use crate::read::{Format, Reader, Zone, tests::told};

const JSON: &str = r#"{"start_time":"2026-11-21T07:30:00.123Z","method":"GET","path":"/pay?card=4111","authority":"shop.example.org","response_code":CODE,"response_flags":"FLAGS","response_code_details":"DETAILS","upstream_transport_failure_reason":WHY,"upstream_host":"10.0.0.2:8080","upstream_cluster":"app","duration":7,"downstream_remote_address":"192.0.2.7:4000","request_id":"abc"}"#;

fn json(code: &str, flags: &str, details: &str, why: &str) -> String {
    JSON.replace("CODE", code)
        .replace("FLAGS", flags)
        .replace("DETAILS", details)
        .replace("WHY", why)
}

#[test]
fn the_default_format_is_read() {
    let line = "[2026-11-21T07:30:00.123Z] \"GET /pay?card=4111 HTTP/1.1\" 503 UF 0 91 7 - \"-\" \
         \"curl/8\" \"abc\" \"shop.example.org\" \"10.0.0.2:8080\"";
    let found = told(Format::Envoy, None, line);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((one.method.as_str(), one.path.as_str()), ("GET", "/pay"));
    assert_eq!(
        (one.address.as_str(), one.request.as_str()),
        ("10.0.0.2:8080", "abc")
    );
    assert_eq!(
        (one.host.as_str(), one.user_agent.as_str()),
        ("shop.example.org", "curl/8")
    );
    assert_eq!((one.status, one.elapsed_us), (503, Some(7_000)));
    assert_eq!(one.at_us, Some(1_795_246_200_130_000));
    assert!(one.kinds.contains(&K::ConnectRefused) && one.kinds.contains(&K::ServerSpeaksPlain));
    assert_eq!(one.words, "503 UF");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn details_make_kinds_sure() {
    let before = "upstream_reset_before_response_started";
    for (code, flags, details, why, expected) in [
        (
            "503",
            "UF",
            "",
            "delayed_connect_error:_Connection_refused",
            &[K::ConnectRefused][..],
        ),
        (
            "503",
            "UF,URX",
            "{remote_connection_failure|immediate_connect_error:_Network_is_unreachable}",
            "",
            &[K::ConnectUnreachable],
        ),
        (
            "503",
            "UF",
            "{remote_connection_failure|immediate_connect_error: No such file or directory}",
            "",
            &[K::UnixMissing],
        ),
        (
            "503",
            "UF",
            "{connection_timeout}",
            "",
            &[K::ConnectTimeout, K::ServerTlsTimeout],
        ),
        (
            "503",
            "UF",
            "",
            "TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
            &[K::ServerSpeaksPlain],
        ),
        (
            "503",
            "UF",
            "",
            "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_certificate_has_expired",
            &[K::ServerCertificateExpired],
        ),
        (
            "503",
            "UH",
            "no_healthy_upstream",
            "",
            &[
                K::AllServersDown,
                K::NoServers,
                K::NameUnresolved,
                K::NameTimeout,
            ],
        ),
        ("503", "UO", "{overflow}", "", &[K::QueueFull]),
        (
            "200",
            "UC",
            "upstream_reset_after_response_started{connection_termination}",
            "",
            &[
                K::ResponseBodyReset,
                K::ResponseBodyShort,
                K::TunnelServerReset,
            ],
        ),
        ("404", "NR", "route_not_found", "", &[K::NoRoute]),
        (
            "0",
            "DC",
            "downstream_remote_disconnect",
            "",
            &[K::ClientClosed, K::ClientReset, K::TunnelClientReset],
        ),
    ] {
        let details = details.replace('{', &format!("{before}{{"));
        let why = if why.is_empty() {
            "null".to_owned()
        } else {
            format!("\"{why}\"")
        };
        let line = json(code, flags, &details, &why);
        let found = told(Format::Envoy, None, &line);
        assert_eq!(found[0].kinds, expected, "{line}");
        assert_eq!(found[0].backend, "app");
        assert_eq!(found[0].client, "192.0.2.7");
    }
}

#[test]
fn errors_alerts_and_remarks_are_told() {
    let line = json(
        "503",
        "UF",
        "",
        "\"immediate_connect_error: Cannot assign requested address\"",
    );
    let found = told(Format::Envoy, None, &line);
    assert_eq!((found[0].errno, found[0].is_immediate), (99, Some(true)));
    assert_eq!(found[0].kinds, [K::OutOfPorts]);
    let line = json(
        "503",
        "UF,URX",
        "",
        "\"TLS_error:|268436528:SSL_routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end\"",
    );
    let found = told(Format::Envoy, None, &line);
    assert_eq!(found[0].signal, Some(Signal::TlsAlert(48)));
    assert_eq!(found[0].remark, Some(Remark::RetriesUsedUp));
    let found = told(
        Format::Envoy,
        None,
        &json("502", "-", "via_upstream", "null"),
    );
    assert_eq!((found[0].server_status, found[0].kinds.len()), (502, 0));
    let found = told(
        Format::Envoy,
        None,
        &json("500", "-", "direct_response", "null"),
    );
    assert_eq!(found[0].server_status, 0);
}

/// The flag of a kind is read back as that kind.
#[test]
fn the_flags_of_the_kinds_are_understood() {
    let is_clients = |kind: &K| kind.party() == clearway_outcome::Party::Client;
    for kind in K::ALL.iter().filter(|kind| !is_clients(kind)) {
        let Some(flag) = kind.envoy() else { continue };
        // Of a client's TLS there is no line; out of memory is left out for want of room. Bodies are not decoded.
        if matches!(flag, "DC" | "DPE")
            || matches!(
                kind,
                K::OutOfMemory
                    | K::ServerTlsProtocol
                    | K::ServerRefusesHttp2
                    | K::ResponseContentInvalid
            )
        {
            continue;
        }
        let line = json("503", flag, "", "null");
        let unix = line.replace("10.0.0.2:8080", "/run/a.sock");
        let mut found = told(Format::Envoy, None, &line);
        found.extend(told(Format::Envoy, None, &unix));
        let is_there = found.iter().any(|one| one.kinds.contains(kind));
        assert!(is_there, "{} {flag}: {found:?}", kind.code());
    }
}

#[test]
fn text_formats_of_somebodys_own_are_read() {
    let format = "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)% %REQ(:METHOD)% %REQ(:PATH):20% %RESPONSE_CODE% \
         %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %DURATION%ms\n";
    let line = "2026-11-21T07:30:00.123Z POST /a?b 504 UT response_timeout app 10.0.0.2:80 1500ms";
    let found = told(Format::Envoy, Some(format), line);
    assert_eq!(
        (found[0].elapsed_us, found[0].backend.as_str()),
        (Some(1_500_000), "app")
    );
    assert!(found[0].kinds.contains(&K::ResponseTimeout));
    assert!(Reader::with_template(Format::Envoy, "%REQ(:METHOD", Zone::default()).is_err());
    assert!(Reader::with_template(Format::Envoy, "hello", Zone::default()).is_err());
}

#[test]
fn own_responses_without_a_flag_are_told() {
    for (code, details, expected) in [
        ("408", "request_header_timeout", K::RequestHeadTimeout),
        ("408", "request_overall_timeout", K::RequestBodyTimeout),
        ("413", "request_payload_too_large", K::BodyTooLarge),
    ] {
        let found = told(Format::Envoy, None, &json(code, "-", details, "null"));
        assert_eq!(found[0].kinds, [expected], "{details}");
    }
    let line = json("500", "-", "response_payload_too_large", "null");
    let found = told(Format::Envoy, None, &line);
    assert_eq!(found[0].remark, Some(Remark::ResponseTooLarge));
    // A server's own refusal is none of these.
    let line = json("413", "-", "via_upstream", "null");
    assert_eq!(told(Format::Envoy, None, &line).len(), 0);
}

#[test]
fn what_came_late_and_what_was_refused_are_told_apart() {
    for (code, flags, details, expected) in [
        (
            "200",
            "UT",
            "response_timeout",
            &[K::ResponseBodyStalled, K::TotalTimeout][..],
        ),
        (
            "503",
            "UR",
            "upstream_reset_before_response_started{remote_refused_stream_reset}",
            &[K::ServerRefusedStream],
        ),
        (
            "503",
            "UF",
            "upstream_reset_before_response_started{local_connection_failure|socket_creation_failure}",
            &[K::OutOfFiles, K::OutOfMemory],
        ),
    ] {
        let found = told(Format::Envoy, None, &json(code, flags, details, "null"));
        assert_eq!(found[0].kinds, expected, "{details}");
    }
}
