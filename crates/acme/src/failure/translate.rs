//! From what the protocol says to [`Failure`]: problem documents (RFC 8555 section 6.7), errors of the
//! ACME library, errors of HTTP.

use instant_acme::{ChallengeType, Error, Problem};

use super::{Failure, FailureKind};
use crate::encoding::one_line;
use crate::issue::client::{HttpError, Seen};

/// Texts of an authority are cut here: long enough for its sentence and a link.
const TEXT_MAX: usize = 400;

/// What was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Directory,
    Account,
    Order,
    Challenge(ChallengeType),
    Finalize,
}

impl Step {
    fn words(&self) -> &'static str {
        match self {
            Self::Directory => "reading the directory",
            Self::Account => "opening the account",
            Self::Order => "ordering",
            Self::Challenge(_) => "validating",
            Self::Finalize => "fetching the certificate",
        }
    }
}

/// Translates an error of the ACME library.
pub(crate) fn of_error(error: &Error, step: &Step, seen: &Seen) -> Failure {
    let mut failure = match error {
        Error::Api(problem) => return of_problem(problem, step, seen),
        Error::Timeout(_) => Failure::new(
            FailureKind::Slow,
            format!(
                "the authority did not finish in time while {}",
                step.words()
            ),
        ),
        Error::Json(why) => not_acme(step, seen, &why.to_string()),
        Error::Other(other) => match other.downcast_ref::<HttpError>() {
            Some(http) => of_http(http, step),
            None => not_acme(step, seen, &other.to_string()),
        },
        Error::InvalidUri(why) => Failure::new(
            FailureKind::Settings,
            format!("the directory's address is not a URL: {why}"),
        ),
        Error::Crypto | Error::KeyRejected => {
            Failure::new(FailureKind::Damaged, "the account's key cannot be used")
        }
        Error::Http(_) | Error::Unsupported(_) | Error::Str(_) | _ => {
            not_acme(step, seen, &error.to_string())
        }
    };
    if waits(failure.kind) {
        failure.until = seen.retry_at();
    }
    add_clock(&mut failure, seen);
    failure
}

/// What answered does not speak ACME, or says so with a status only.
fn not_acme(step: &Step, seen: &Seen, why: &str) -> Failure {
    let why = one_line(why, TEXT_MAX);
    match seen.status() {
        Some(429) => Failure::new(
            FailureKind::RateLimited,
            format!(
                "the authority answered 429 (too many requests) while {}",
                step.words()
            ),
        ),
        Some(status) if status >= 500 => Failure::new(
            FailureKind::AuthorityError,
            format!("the authority answered {status} while {}", step.words()),
        ),
        Some(status) if status >= 400 => Failure::new(
            FailureKind::Protocol,
            format!(
                "the answer while {} has status {status} and is not an ACME problem ({why}); is this \
                 the address of an ACME directory?",
                step.words()
            ),
        ),
        _ => Failure::new(
            FailureKind::Protocol,
            format!("the answer while {} is not ACME: {why}", step.words()),
        ),
    }
}

fn of_http(error: &HttpError, step: &Step) -> Failure {
    let doing = step.words();
    match error {
        HttpError::Tls(why) => {
            let failure = Failure::new(
                FailureKind::Untrusted,
                format!("the authority's certificate is not trusted: {why}"),
            );
            if why.contains("not valid yet") || why.contains("expired") {
                failure.hint("a wrong clock of this host looks the same")
            } else {
                failure
            }
        }
        HttpError::Resolve(why) | HttpError::Connect(why) => Failure::new(
            FailureKind::Unreachable,
            format!("the authority cannot be reached: {why}"),
        ),
        HttpError::Timeout(limit) => Failure::new(
            FailureKind::Unreachable,
            format!("the authority did not answer within {limit} s while {doing}"),
        ),
        HttpError::TooLarge(limit) => Failure::new(
            FailureKind::Protocol,
            format!("the answer while {doing} is larger than {limit} bytes"),
        ),
        HttpError::Broken(why) => Failure::new(
            FailureKind::Unreachable,
            format!("the connection to the authority broke while {doing}: {why}"),
        ),
    }
}

/// Translates a problem document. Where it has subproblems, the first one decides and all are told.
pub(crate) fn of_problem(problem: &Problem, step: &Step, seen: &Seen) -> Failure {
    let first = problem.subproblems.first();
    let decisive = first
        .and_then(|sub| sub.r#type.as_deref())
        .or(problem.r#type.as_deref())
        .unwrap_or("");
    let tag = decisive
        .strip_prefix("urn:ietf:params:acme:error:")
        .unwrap_or(decisive);
    let said = said(problem);
    let name = first
        .and_then(|sub| sub.identifier.as_ref())
        .map(|identifier| one_line(&identifier.authorized(false).to_string(), 253));
    let kind = kind_of(tag, step, &said);
    let mut failure = Failure::new(kind, words(kind, tag, step, &said));
    failure.name = name;
    if matches!(kind, FailureKind::RateLimited | FailureKind::AuthorityError) {
        failure.until = seen.retry_at();
    }
    add_clock(&mut failure, seen);
    failure
}

/// Whether a `Retry-After` means the order, and not only the next look at it.
fn waits(kind: FailureKind) -> bool {
    [FailureKind::RateLimited, FailureKind::AuthorityError].contains(&kind)
}

/// What the authority says, all of it on one line.
fn said(problem: &Problem) -> String {
    let mut said = problem.detail.clone().unwrap_or_default();
    for sub in &problem.subproblems {
        let Some(detail) = &sub.detail else { continue };
        if !said.is_empty() {
            said.push_str("; ");
        }
        if let Some(identifier) = &sub.identifier {
            said.push_str(&format!("{}: ", identifier.authorized(false)));
        }
        said.push_str(detail);
    }
    one_line(&said, TEXT_MAX)
}

fn kind_of(tag: &str, step: &Step, said: &str) -> FailureKind {
    let in_challenge = matches!(step, Step::Challenge(_));
    match tag {
        "rateLimited" => FailureKind::RateLimited,
        "serverInternal" => FailureKind::AuthorityError,
        "badNonce" => FailureKind::BadNonce,
        "caa" => FailureKind::Caa,
        // Some authorities call a name they cannot resolve a failed connection.
        "dns" | "connection" if said.contains("NXDOMAIN") => FailureKind::NoSuchName,
        "connection"
            if ["resolve", "no such host"]
                .iter()
                .any(|part| said.contains(part)) =>
        {
            FailureKind::Dns
        }
        "connection" => FailureKind::Connection,
        "tls" => FailureKind::Tls,
        "dns" => FailureKind::Dns,
        "incorrectResponse" => FailureKind::WrongAnswer,
        // A refused challenge, or an account that may not order.
        "unauthorized" if in_challenge => FailureKind::WrongAnswer,
        "rejectedIdentifier" | "unsupportedIdentifier" => FailureKind::NameRefused,
        "unauthorized"
        | "accountDoesNotExist"
        | "externalAccountRequired"
        | "userActionRequired"
        | "invalidContact"
        | "unsupportedContact"
        | "badPublicKey"
        | "badSignatureAlgorithm" => FailureKind::Account,
        "malformed" if matches!(step, Step::Account) => FailureKind::Account,
        "invalidProfile" => FailureKind::Settings,
        _ => FailureKind::Refused,
    }
}

fn words(kind: FailureKind, tag: &str, step: &Step, said: &str) -> String {
    let port = if *step == Step::Challenge(ChallengeType::Http01) {
        "port 80"
    } else if *step == Step::Challenge(ChallengeType::TlsAlpn01) {
        "port 443"
    } else {
        "the host"
    };
    let says = if said.is_empty() {
        "the authority gives no reason".to_owned()
    } else {
        format!("the authority says: {said}")
    };
    if kind == FailureKind::Connection {
        match symptom(said) {
            Some(symptom) => format!("{port} cannot be reached: {symptom} ({says})"),
            None => format!("{port} cannot be reached ({says})"),
        }
    } else if kind == FailureKind::Tls {
        format!("the TLS handshake on {port} failed ({says})")
    } else if kind == FailureKind::NoSuchName {
        format!("the name does not exist (NXDOMAIN) ({says})")
    } else if kind == FailureKind::WrongAnswer {
        let place = if *step == Step::Challenge(ChallengeType::Dns01) {
            "the TXT record"
        } else {
            port
        };
        format!("{place} gave a wrong answer to the challenge ({says})")
    } else if kind == FailureKind::Account {
        match tag {
            "externalAccountRequired" => {
                format!("the authority wants an external account binding ({says})")
            }
            "userActionRequired" => format!("the account's holder has to act first ({says})"),
            "accountDoesNotExist" => format!("the authority does not know the account ({says})"),
            _ => format!("the account is refused ({says})"),
        }
    } else if kind == FailureKind::Refused && !tag.is_empty() {
        let (tag, doing) = (one_line(tag, 60), step.words());
        format!("the request was refused as {tag} while {doing} ({says})")
    } else {
        format!("{} ({says})", kind.summary())
    }
}

/// The reason inside an authority's sentence about a connection.
fn symptom(said: &str) -> Option<&'static str> {
    let lower = said.to_ascii_lowercase();
    let table = [
        ("refused", "connection refused"),
        ("timed out", "no answer, as if a firewall drops packets"),
        ("timeout", "no answer, as if a firewall drops packets"),
        (
            "deadline exceeded",
            "no answer, as if a firewall drops packets",
        ),
        ("no route to host", "no route to the host"),
        ("unreachable", "the network is unreachable"),
        ("reset", "the connection was reset"),
        ("eof", "the connection was closed without an answer"),
    ];
    table
        .iter()
        .find(|(part, _)| lower.contains(part))
        .map(|(_, symptom)| *symptom)
}

/// A wrong clock explains refused signatures, certificates that are not valid and odd windows.
fn add_clock(failure: &mut Failure, seen: &Seen) {
    if let Some(hint) = seen.clock_hint() {
        if failure.kind == FailureKind::Untrusted {
            failure.kind = FailureKind::Clock;
        }
        failure.hints.push(hint);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    fn typed(tag: &str, detail: &str) -> Problem {
        let json = serde_json::json!({
            "type": format!("urn:ietf:params:acme:error:{tag}"), "detail": detail,
        });
        problem(&json.to_string())
    }

    fn http(problem: &Problem) -> Failure {
        of_problem(
            problem,
            &Step::Challenge(ChallengeType::Http01),
            &Seen::default(),
        )
    }

    #[test]
    fn each_type_of_rfc_8555_has_a_kind_and_words() {
        for (tag, kind) in [
            ("accountDoesNotExist", FailureKind::Account),
            ("badCSR", FailureKind::Refused),
            ("badNonce", FailureKind::BadNonce),
            ("badPublicKey", FailureKind::Account),
            ("caa", FailureKind::Caa),
            ("compound", FailureKind::Refused),
            ("connection", FailureKind::Connection),
            ("dns", FailureKind::Dns),
            ("externalAccountRequired", FailureKind::Account),
            ("incorrectResponse", FailureKind::WrongAnswer),
            ("invalidContact", FailureKind::Account),
            ("malformed", FailureKind::Refused),
            ("orderNotReady", FailureKind::Refused),
            ("rateLimited", FailureKind::RateLimited),
            ("rejectedIdentifier", FailureKind::NameRefused),
            ("serverInternal", FailureKind::AuthorityError),
            ("tls", FailureKind::Tls),
            ("unauthorized", FailureKind::Account),
            ("unsupportedContact", FailureKind::Account),
            ("unsupportedIdentifier", FailureKind::NameRefused),
            ("userActionRequired", FailureKind::Account),
        ] {
            let failure = of_problem(&typed(tag, "because"), &Step::Order, &Seen::default());
            assert_eq!(failure.kind, kind, "{tag}");
            assert!(failure.detail.contains("because"), "{failure}");
        }
        assert_eq!(
            http(&typed("unauthorized", "x")).kind,
            FailureKind::WrongAnswer
        );
    }

    #[test]
    fn connection_troubles_name_port_and_symptom() {
        let told = http(&typed(
            "connection",
            "Fetching http://a.org/: Connection refused",
        ));
        assert!(
            told.detail
                .starts_with("port 80 cannot be reached: connection refused ("),
            "{told}"
        );
        let told = of_problem(
            &typed(
                "connection",
                "192.0.2.1: Timeout during connect (likely firewall problem)",
            ),
            &Step::Challenge(ChallengeType::TlsAlpn01),
            &Seen::default(),
        );
        assert!(
            told.detail
                .starts_with("port 443 cannot be reached: no answer"),
            "{told}"
        );
    }

    #[test]
    fn a_name_that_does_not_exist_is_told_from_other_dns_trouble() {
        let nxdomain = typed("dns", "DNS problem: NXDOMAIN looking up A for a.org");
        assert_eq!(http(&nxdomain).kind, FailureKind::NoSuchName);
        assert_eq!(http(&typed("dns", "SERVFAIL")).kind, FailureKind::Dns);
        let lookup = typed("connection", "lookup a.org: no such host");
        assert_eq!(http(&lookup).kind, FailureKind::Dns);
    }

    #[test]
    fn subproblems_decide_and_are_all_told() {
        let failure = of_problem(
            &problem(
                r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Some were rejected",
                "subproblems":[
                {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no","identifier":{"type":"dns","value":"a.net"}},
                {"type":"urn:ietf:params:acme:error:caa","detail":"never","identifier":{"type":"dns","value":"b.net"}}]}"#,
            ),
            &Step::Order,
            &Seen::default(),
        );
        assert_eq!(failure.kind, FailureKind::NameRefused);
        assert_eq!(failure.name.as_deref(), Some("a.net"));
        let told = failure.to_string();
        assert!(told.contains("a.net: no; b.net: never"), "{told}");
    }

    #[test]
    fn hostile_texts_stay_on_one_short_line() {
        let told = http(&typed(
            "caa",
            &format!("a\r\nb\u{1b}[31m{}", "x".repeat(5_000)),
        ))
        .to_string();
        assert!(
            !told.chars().any(char::is_control) && told.len() < 700,
            "{told}"
        );
        let odd = problem(r#"{"type":"about:\nblank"}"#);
        assert!(!http(&odd).to_string().contains('\n'));
    }

    #[test]
    fn a_wait_is_kept_with_rate_limits() {
        let seen = Seen::default();
        seen.set_for_test(Some(429), Some(1_767_225_600), None);
        let failure = of_problem(&typed("rateLimited", "too many"), &Step::Order, &seen);
        assert!(
            failure
                .to_string()
                .ends_with("not before 2026-01-01T00:00:00Z"),
            "{failure}"
        );
        let bare = of_error(&Error::Str("x"), &Step::Order, &seen);
        assert_eq!(
            (bare.kind, bare.until),
            (FailureKind::RateLimited, Some(1_767_225_600))
        );
    }

    #[test]
    fn a_wrong_clock_is_pointed_out() {
        let seen = Seen::default();
        seen.set_for_test(Some(200), None, Some(-7_200));
        let failure = http(&typed("malformed", "JWS not yet valid"));
        assert!(failure.hints.is_empty());
        let failure = of_problem(&typed("malformed", "x"), &Step::Order, &seen);
        assert!(failure.to_string().contains("2 h behind"), "{failure}");
    }

    proptest! {
        #[test]
        fn whatever_an_authority_says_becomes_one_line_of_bounded_length(
            tag in ".{0,80}", detail in ".{0,2000}", names in proptest::collection::vec(".{0,300}", 0..5),
        ) {
            let subproblems: Vec<_> = names
                .iter()
                .map(|name| serde_json::json!({
                    "type": tag, "detail": detail, "identifier": {"type": "dns", "value": name},
                }))
                .collect();
            let json = serde_json::json!({
                "type": tag, "detail": detail, "subproblems": subproblems,
            });
            let failure = http(&problem(&json.to_string()));
            let words = failure.to_string();
            prop_assert!(!words.chars().any(char::is_control), "{words:?}");
            prop_assert!(words.chars().count() < 1_200, "{words:?}");
        }
    }
}
