//! `aws elbv2 describe-target-health` as JSON.

use serde_json::Value;

use super::ServerHealth;

/// Targets of `describe-target-health`. Empty where it is something else.
#[must_use]
pub fn target_health(text: &str) -> Vec<ServerHealth> {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let list = value
        .get("TargetHealthDescriptions")
        .and_then(Value::as_array);
    let list = list.map_or(&[][..], Vec::as_slice);
    list.iter().map(target).collect()
}

fn target(value: &Value) -> ServerHealth {
    let text = |path: &str| {
        let found = value.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let id = text("/Target/Id");
    let port = value.pointer("/Target/Port").and_then(Value::as_u64);
    let words = text("/TargetHealth/Description");
    let is_address = id.parse::<std::net::IpAddr>().ok();
    let address = is_address.zip(port.and_then(|port| u16::try_from(port).ok()));
    ServerHealth {
        address: address.map_or_else(String::new, |pair| {
            std::net::SocketAddr::from(pair).to_string()
        }),
        server: port.map_or_else(|| id.clone(), |port| format!("{id}:{port}")),
        status: text("/TargetHealth/State"),
        check_status: text("/TargetHealth/Reason"),
        check_code: code(&words),
        last_check: words,
        ..ServerHealth::default()
    }
}

/// The status in `Health checks failed with these codes: [503]`.
fn code(words: &str) -> u16 {
    let inside = words.split_once("codes: [").map_or("", |(_, rest)| rest);
    let digits = inside
        .split(|character: char| !character.is_ascii_digit())
        .next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
