//! Access logs: settings that do nothing, forms that do not go together.

use super::Findings;
use crate::diagnostic::Diagnostic;
use crate::model::{AccessLog, Config, Log, LogDestination, LogFormat, Syslog};

pub(super) fn check(config: &Config, found: &mut Findings) {
    process(&config.log, found);
    for listener in &config.listeners {
        for log in listener.access_logs.iter().flatten() {
            one(log, &config.log, found);
            if !listener.is_http() {
                for name in log.fetches() {
                    let message = format!(
                        "`${{{name}}}` is a value of requests, and mode = \"tcp\" has none"
                    );
                    let origin = log.origins.field_or_section("format");
                    found.no_effect(origin, message, "it is empty in every line");
                }
            }
        }
    }
    for route in &config.routes {
        for log in route.access_logs.iter().flatten() {
            one(log, &config.log, found);
        }
    }
}

fn process(log: &Log, found: &mut Findings) {
    if let (LogDestination::File(access), LogDestination::File(faults)) = (&log.access, &log.faults)
        && access == faults
    {
        let origin = log.origins.field_or_section("faults");
        same_file(origin, found);
    }
    let is_syslog = |to: &LogDestination| matches!(to, LogDestination::Syslog(_));
    if !is_syslog(&log.access) && !is_syslog(&log.faults) {
        syslog(&log.syslog, found);
    }
}

fn one(log: &AccessLog, general: &Log, found: &mut Findings) {
    if let (LogDestination::File(own), LogDestination::File(faults)) = (&log.to, &general.faults)
        && own == faults
    {
        same_file(log.origins.field_or_section("to"), found);
    }
    if !matches!(log.to, LogDestination::Syslog(_)) {
        syslog(&log.syslog, found);
    }
    if matches!(log.format, LogFormat::Own(_)) {
        for key in ["escape", "empty"] {
            if let Some(origin) = log.origin_of(key) {
                let message = format!("{key} has no effect with format = {:?}", log.format.name());
                found.no_effect(
                    origin,
                    message,
                    "it is about formats that are text with ${…}",
                );
            }
        }
    }
}

fn same_file(origin: &crate::model::Origin, found: &mut Findings) {
    let message = "two logs of different form go to the same file";
    found.push(Diagnostic::warning("same-file", origin, message));
}

fn syslog(settings: &Syslog, found: &mut Findings) {
    if *settings != Syslog::default() {
        let message = "syslog has no effect where lines do not go to a syslog server";
        found.no_effect(
            settings.origin(),
            message,
            "write \"syslog:udp://HOST:PORT\"",
        );
    }
}
