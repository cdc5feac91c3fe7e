//! What holds for every page of the catalogue.

use super::*;

use Cause as C;

/// Causes that the balancer sees as the same thing: each has to name the others, and only somebody's eyes
/// elsewhere tell them apart.
const ALIKE: &[&[Cause]] = &[
    // The connection is refused.
    &[
        C::PortClosed,
        C::FirewallRejectIcmp,
        C::FirewallRejectRst,
        C::LbEgressReject,
    ],
    &[C::PortClosed, C::BindLoopbackOnly, C::PortWrong],
    &[C::PortClosed, C::DnsStaleIp],
    &[C::HostDown, C::DnsStaleIp],
    // Nobody answers the connection attempt.
    &[
        C::FirewallDrop,
        C::AcceptQueueOverflow,
        C::HostDown,
        C::ConntrackFull,
        C::ReturnPathDrop,
        C::LbEgressDrop,
    ],
    &[C::FirewallDrop, C::TlsToPlaintext],
    &[C::PacketLoss, C::SnatPortCollision, C::AcceptQueueOverflow],
    // "No route to host", "Permission denied".
    &[C::HostDown, C::FirewallAdminProhibited, C::RouteMissing],
    &[
        C::SelinuxDenied,
        C::RoutePolicyLocal,
        C::UnixSocketPermission,
    ],
    // The connection is made, and then there is silence.
    &[
        C::AppSlow,
        C::AppHung,
        C::WorkersSaturated,
        C::BackendFdExhausted,
    ],
    &[C::AppSlow, C::NatIdleDrop, C::PmtuBlackholeRequest],
    &[C::AppSlow, C::PmtuBlackholeResponse],
    // The connection ends without a byte.
    &[C::KeepaliveRace, C::AppCrashOnRequest],
    &[C::KeepaliveRace, C::NatIdleRst],
    &[
        C::KeepaliveRace,
        C::BackendGracefulRecycle,
        C::RollingDeploy,
    ],
    &[C::OomKill, C::AppCrashOnRequest, C::RollingDeploy],
    &[C::WorkerTimeoutKill, C::AppCrashOnRequest, C::AppSlow],
    &[
        C::ContainerPortForwarder,
        C::AppCrashOnRequest,
        C::PlaintextToTls,
        C::ProxyProtocolExpected,
    ],
    // TLS fails.
    &[
        C::TlsSniMissingOrWrong,
        C::TlsCipherMismatch,
        C::MtlsCertRequired,
    ],
    &[C::TlsUnknownCa, C::TlsMissingIntermediate],
    &[C::TlsCertExpired, C::TlsCertNotYetValid],
    // There is no server to send to.
    &[C::AllBackendsDown, C::HcWrongStatus, C::HcHostHeader],
    &[
        C::AllBackendsDown,
        C::PassiveEjection,
        C::CircuitBreakerOpen,
        C::NoServersConfigured,
    ],
];

fn texts(page: &Page) -> [&'static str; 9] {
    [
        page.title,
        page.proxy_status,
        page.seen,
        page.nginx,
        page.haproxy,
        page.envoy,
        page.alb,
        page.fix,
        page.ask,
    ]
}

#[test]
fn every_cause_has_one_page_in_the_file_of_its_stage() {
    for &cause in Cause::ALL {
        assert_eq!(cause.page().cause, cause);
        assert_eq!(Cause::by_id(cause.id()), Some(cause));
    }
    assert_eq!(Cause::ALL.len(), 146);
}

#[test]
fn pages_are_free_of_jargon_and_left_overs() {
    for &cause in Cause::ALL {
        for text in texts(cause.page()) {
            for word in ["LAB", "n/a", " LB", "TODO", "  "] {
                assert!(!text.contains(word), "{cause} has {word:?}: {text}");
            }
            assert_eq!(text.trim(), text, "{cause}");
            assert_eq!(
                text.matches('`').count() % 2,
                0,
                "{cause}: back quotes in {text}"
            );
        }
    }
}

#[test]
fn titles_are_headings_and_the_rest_is_sentences() {
    for &cause in Cause::ALL {
        let page = cause.page();
        assert!(
            !page.title.is_empty() && !page.title.ends_with('.'),
            "{cause}"
        );
        assert!(page.title.chars().count() <= 100, "{cause}: {}", page.title);
        assert!(
            !page.title.contains('`'),
            "{cause}: headings stand alone in lists"
        );
        for text in [page.seen, page.fix] {
            assert!(text.ends_with('.'), "{cause}: {text}");
        }
        for text in [page.nginx, page.haproxy, page.envoy, page.alb] {
            assert!(text.is_empty() || text.ends_with('.'), "{cause}: {text}");
        }
        assert!((1..=5).contains(&page.often), "{cause}");
    }
}

#[test]
fn titles_differ() {
    let mut titles: Vec<_> = Cause::ALL.iter().map(|cause| cause.page().title).collect();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), Cause::ALL.len());
}

#[test]
fn what_is_asked_is_one_command_with_known_places_to_fill() {
    for &cause in Cause::ALL {
        let ask = cause.page().ask;
        if ask.is_empty() {
            continue;
        }
        assert_eq!(ask.matches('`').count(), 2, "{cause}: {ask}");
        assert!(ask.ends_with('`'), "{cause}: {ask}");
        assert!(
            ask.starts_with('`') || ask.contains(": `"),
            "{cause}: {ask}"
        );
        let rest = ask
            .replace("{host}", "")
            .replace("{port}", "")
            .replace("{address}", "");
        for (before, _) in rest.match_indices('{') {
            let own = rest.as_bytes().get(before.wrapping_sub(1));
            // Formats of curl and programs of awk.
            assert!(matches!(own, Some(b'%' | b'\'')), "{cause}: {ask}");
        }
    }
}

#[test]
fn look_alikes_are_others_and_named_once() {
    for &cause in Cause::ALL {
        let mut looks = cause.page().lookalikes.to_vec();
        assert!(!looks.contains(&cause), "{cause} looks like itself");
        looks.sort_unstable();
        looks.dedup();
        assert_eq!(looks.len(), cause.page().lookalikes.len(), "{cause}");
    }
}

#[test]
fn causes_that_look_the_same_name_each_other_and_say_how_to_tell() {
    for group in ALIKE {
        for &cause in *group {
            assert!(!cause.page().ask.is_empty(), "{cause} asks for nothing");
        }
        for (i, &one) in group.iter().enumerate() {
            for &other in group.iter().skip(i + 1) {
                assert!(one.page().lookalikes.contains(&other), "{one}: {other}");
                assert!(other.page().lookalikes.contains(&one), "{other}: {one}");
            }
        }
    }
}

#[test]
fn pages_that_are_referred_to_exist() {
    for &cause in Cause::ALL {
        for text in texts(cause.page()) {
            for after in text.split("see ").skip(1) {
                let word: String = after
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
                    .collect();
                let is_id = word.contains('-');
                assert!(
                    !is_id || Cause::by_id(&word).is_some(),
                    "{cause} refers to {word}"
                );
            }
        }
    }
}
