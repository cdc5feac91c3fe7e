//! Times, sizes and addresses as other balancers write them.

use std::time::Duration;

/// A time of NGINX: `60`, `60s`, `1m30s`, `1h 30m`. Seconds where no unit is written.
pub(crate) fn nginx_time(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = number(rest)?;
        let after = tail.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let part = match tail.strip_suffix(after)? {
            "ms" => Some(Duration::from_millis(number)),
            "" | "s" => Some(Duration::from_secs(number)),
            "m" => seconds(number, 60),
            "h" => seconds(number, 3_600),
            "d" => seconds(number, 86_400),
            "w" => seconds(number, 7 * 86_400),
            "M" => seconds(number, 30 * 86_400),
            "y" => seconds(number, 365 * 86_400),
            _ => None,
        };
        total = total.checked_add(part?)?;
        rest = after.trim_start();
    }
    Some(total)
}

/// A time of HAProxy: `30s`, `500`. Milliseconds where no unit is written.
pub(crate) fn haproxy_time(text: &str) -> Option<Duration> {
    let (number, unit) = number(text)?;
    // What stands behind a unit is not looked at: `15min` is fifteen minutes.
    match unit.as_bytes() {
        [b'u', b's', ..] => Some(Duration::from_micros(number)),
        [] | [b'm', b's', ..] => Some(Duration::from_millis(number)),
        [b's', ..] => Some(Duration::from_secs(number)),
        [b'm', ..] => seconds(number, 60),
        [b'h', ..] => seconds(number, 3_600),
        [b'd', ..] => seconds(number, 86_400),
        _ => None,
    }
}

/// A size in bytes: `8k`, `10M`, `1g`, `512`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number(text)?;
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A host and a port: `a:80`, `[::1]:80`. No port is 0. Brackets are taken off.
pub(crate) fn host_and_port(text: &str) -> (String, u16) {
    let bare = |host: &str| {
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(host).to_owned()
    };
    if text.parse::<std::net::Ipv6Addr>().is_ok() || text.ends_with(']') {
        return (bare(text), 0);
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (bare(host), port.parse().unwrap_or(0)),
        None => (text.to_owned(), 0),
    }
}

/// Whether a host is an address and not a name.
pub(super) fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

/// Whether a host is a name with a domain, without variables.
pub(super) fn is_full_name(host: &str) -> bool {
    let is_name = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    is_name && host.contains('.') && !is_address(host)
}

/// Whether a name is likely to be of the internet, where one machine serves many names.
pub(super) fn is_public_name(host: &str) -> bool {
    const PRIVATE: &[&str] = &[
        "internal",
        "int",
        "local",
        "localdomain",
        "localhost",
        "lan",
        "svc",
        "cluster",
        "corp",
        "private",
        "home",
        "intra",
        "intranet",
        "consul",
        "test",
    ];
    let is_private = |label: &str| {
        PRIVATE
            .iter()
            .any(|known| label.eq_ignore_ascii_case(known))
    };
    is_full_name(host) && !host.split('.').any(is_private)
}

/// A time as people write it: `1m30s`, `500ms`.
pub(super) fn words(time: Duration) -> String {
    let (whole, rest) = (time.as_secs(), time.subsec_millis());
    let mut text = String::new();
    let parts = [
        (whole / 3_600, "h"),
        (whole / 60 % 60, "m"),
        (whole % 60, "s"),
    ];
    for (amount, unit) in parts {
        if amount > 0 {
            text.push_str(&format!("{amount}{unit}"));
        }
    }
    if rest > 0 || text.is_empty() {
        text.push_str(&format!("{rest}ms"));
    }
    text
}

fn seconds(number: u64, factor: u64) -> Option<Duration> {
    number.checked_mul(factor).map(Duration::from_secs)
}

/// The digits at the begin of a text, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.strip_suffix(rest)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_nginx() {
        let ms = |text| nginx_time(text).map(|time| time.as_millis());
        assert_eq!(ms("60"), Some(60_000));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("1h 30m"), Some(5_400_000));
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("1M"), Some(2_592_000_000));
        let huge = ["9999999999999999999y", "99999999999999999y"];
        for wrong in ["", "s", "1x", "$t", "ä"].iter().chain(&huge) {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_of_haproxy() {
        let us = |text| haproxy_time(text).map(|time| time.as_micros());
        assert_eq!(us("50000"), Some(50_000_000));
        assert_eq!(us("30s"), Some(30_000_000));
        assert_eq!(us("10us"), Some(10));
        assert_eq!(us("1d"), Some(86_400_000_000));
        assert_eq!(us("15min"), Some(900_000_000));
        assert_eq!(us("1x"), None);
    }

    #[test]
    fn sizes_and_addresses() {
        assert_eq!(size("8k"), Some(8_192));
        assert_eq!(size("1G"), Some(1 << 30));
        assert_eq!(size("999999999999999999g"), None);
        for (text, host, port) in [
            ("a:80", "a", 80),
            ("a", "a", 0),
            ("[::1]:80", "::1", 80),
            ("[::1]", "::1", 0),
            ("::1", "::1", 0),
            ("10.0.0.1:x", "10.0.0.1", 0),
            (":80", "", 80),
        ] {
            assert_eq!(host_and_port(text), (host.to_owned(), port), "{text}");
        }
        assert!(is_full_name("a.example.org"));
        assert!(!is_full_name("app") && !is_full_name("10.0.0.1") && !is_full_name("$a.b"));
        assert!(is_public_name("api.example.org") && !is_public_name("app.int.example.org"));
        assert_eq!(words(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!(words(Duration::ZERO), "0ms");
    }
}
