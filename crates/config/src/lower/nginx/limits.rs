//! `limit_req`, `limit_conn` and their zones.

use std::time::Duration;

use super::super::notes::Notes;
use super::text_of;
use super::values::{self, Names};
use crate::lower::build::rule;
use crate::model::{
    Actions, ConcurrencyLimit, ConcurrencyLimitUse, ConcurrencyLimiting, Condition, Config,
    Identifier, RateLimit, RateLimitUse, RateLimiting, Rule,
};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// The memory that NGINX takes for a key, in bytes.
const ENTRY: u64 = 128;

/// Reads a zone.
///
/// # Errors
/// A sentence about what is wrong.
pub(super) fn zone(
    directive: &Directive,
    names: &Names,
    config: &mut Config,
) -> Result<(), String> {
    let words: Vec<&str> = directive.texts().collect();
    let (mut name, mut entries, mut rate) = ("", 0, None);
    for word in words.iter().skip(1) {
        if let Some(zone) = word.strip_prefix("zone=") {
            let (own, size) = zone.split_once(':').unwrap_or((zone, ""));
            let size = units::size(size).ok_or_else(|| format!("invalid zone size \"{zone}\""))?;
            name = own;
            entries = usize::try_from(size / ENTRY).unwrap_or(usize::MAX);
        } else if let Some(text) = word.strip_prefix("rate=") {
            rate = Some(text);
        }
    }
    let key = values::plain(words.first().copied().unwrap_or_default(), names)?;
    let name = Identifier::parse(name).map_err(|problem| problem.message)?;
    let entries = entries.clamp(1, 10_000_000);
    if directive.is("limit_conn_zone") {
        config.concurrency_limits.push(ConcurrencyLimit {
            name,
            key,
            entries,
            ..ConcurrencyLimit::default()
        });
        return Ok(());
    }
    let text = rate.ok_or("invalid rate \"\"")?;
    let (number, per) = match text.strip_suffix("r/s") {
        Some(number) => (number, 1),
        None => (text.strip_suffix("r/m").unwrap_or(""), 60),
    };
    let requests = number.parse().ok().filter(|count| *count > 0);
    config.rate_limits.push(RateLimit {
        name,
        key,
        requests: requests.ok_or_else(|| format!("invalid rate \"rate={text}\""))?,
        per: Duration::from_secs(per),
        entries,
        ..RateLimit::default()
    });
    Ok(())
}

/// What a place limits: rates first.
pub(super) fn rules(scope: &Scope<'_>, notes: &mut Notes) -> Vec<Rule> {
    let mut rules = Vec::new();
    let status = |name| scope.setting(name, |text| text.parse::<u16>().ok());
    let written = scope.all("limit_req");
    if let Some(first) = written.first() {
        let mut limiting = RateLimiting {
            status: status("limit_req_status").map_or(503, |found| found.value),
            dry_run: scope.flag("limit_req_dry_run", false).value,
            ..RateLimiting::default()
        };
        for directive in &written {
            match rate(directive) {
                Ok(one) => limiting.limits.push(one),
                Err(message) => {
                    notes.begin(directive.origin(), text_of(directive));
                    notes.wrong(&directive.origin(), message, "");
                }
            }
        }
        let actions = Actions {
            rate_limit: Some(limiting),
            ..Actions::default()
        };
        rules.push(rule(
            Condition::default(),
            actions,
            "rate_limit",
            &first.origin(),
        ));
    }
    let written = scope.all("limit_conn");
    if let Some(first) = written.first() {
        let mut limiting = ConcurrencyLimiting {
            status: status("limit_conn_status").map_or(503, |found| found.value),
            dry_run: scope.flag("limit_conn_dry_run", false).value,
            ..ConcurrencyLimiting::default()
        };
        for directive in &written {
            let limit = Identifier::parse(directive.argument(0).unwrap_or_default()).ok();
            let most = directive.argument(1).and_then(|text| text.parse().ok());
            match limit.zip(most.filter(|most| *most > 0)) {
                Some((limit, most)) => limiting.limits.push(ConcurrencyLimitUse {
                    limit,
                    most,
                    ..ConcurrencyLimitUse::default()
                }),
                None => {
                    notes.begin(directive.origin(), text_of(directive));
                    notes.wrong(&directive.origin(), "invalid number of connections", "");
                }
            }
        }
        let actions = Actions {
            concurrency_limit: Some(limiting),
            ..Actions::default()
        };
        let origin = first.origin();
        rules.push(rule(
            Condition::default(),
            actions,
            "concurrency_limit",
            &origin,
        ));
    }
    rules
}

fn rate(directive: &Directive) -> Result<RateLimitUse, String> {
    let mut one = RateLimitUse::default();
    for word in directive.texts() {
        let (name, text) = word.split_once('=').unwrap_or((word, ""));
        let number = || {
            text.parse()
                .map_err(|_| format!("invalid {name} value \"{word}\""))
        };
        match name {
            "zone" => one.limit = Identifier::parse(text).map_err(|problem| problem.message)?,
            "burst" => one.burst = number()?,
            "delay" => one.undelayed = number()?,
            "nodelay" => one.undelayed = u32::MAX,
            _ => return Err(format!("invalid parameter \"{word}\"")),
        }
    }
    // What is beyond the burst is refused anyway.
    one.undelayed = one.undelayed.min(one.burst);
    Ok(one)
}
