//! Values that are read as they are meant, and those that are refused.

use super::*;

#[test]
fn patterns_that_would_never_match_are_refused() {
    for good in ["/", "/a", "/a/", "/a/*", "~ ^/x", "~^/y$", "~ a(?=b)"] {
        assert!(PathPattern::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a", "/a*", "/*/b", "/a?x=1", "/a b", "~ ("] {
        assert!(PathPattern::parse(bad).is_err(), "{bad}");
    }
    for good in ["a.test", "*.a.test", "*", "[::1]", "10.0.0.1", "localhost"] {
        assert!(HostPattern::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a.*.test",
        "*a.test",
        "a.test:80",
        "a b",
        "http://a",
        "a..b",
    ] {
        assert!(HostPattern::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(
        check_method("get").unwrap_err().hint.as_deref(),
        Some("write \"GET\"")
    );
    assert!(check_method("M-SEARCH").is_ok());
}

#[test]
fn statuses_are_codes_classes_and_ranges() {
    assert_eq!(Statuses::parse_one("3xx"), Ok((300, 399)));
    assert_eq!(Statuses::parse_one("200-399"), Ok((200, 399)));
    assert_eq!(Statuses::parse_one("404"), Ok((404, 404)));
    for bad in [
        "9xx",
        "0xx",
        "+2xx",
        "02xx",
        "xx",
        "2xx ",
        "99",
        "600",
        "+200",
        " 200",
        "0200",
        "400-200",
        "200 - 399",
        "200-",
        "-200",
        "200-300-400",
        "x",
        "",
    ] {
        assert!(Statuses::parse_one(bad).is_err(), "{bad}");
    }
    let set = Statuses(vec![(200, 200), (300, 399)]);
    assert!(set.contains(200) && set.contains(304) && !set.contains(201));
}

#[test]
fn faults_are_known_by_code() {
    assert_eq!(
        ErrorKey::parse("all_servers_down"),
        Ok(ErrorKey::Fault(FaultKind::AllServersDown))
    );
    let hint = ErrorKey::parse("all_server_down")
        .unwrap_err()
        .hint
        .unwrap();
    assert!(hint.contains("all_servers_down"));
    assert!(ErrorKey::parse("200").is_err());
}
