//! `[log]`: what is written down.

/// How lines of the access log look.
pub use clearway_telemetry::format::Format as LogFormat;

use super::{concept, table_value};
use crate::value::{LogDestination, choice_value, choices};

concept! {
    /// What is written down. Writing never slows traffic: what cannot be written in time is dropped
    /// and counted.
    Log, "[log]";

    /// Where the access log goes: a line for every request.
    access: LogDestination = LogDestination::Off, example = Some("\"/var/log/clearway/access.log\"");
    /// How its lines look.
    format: LogFormat = LogFormat::Json;
    /// Where failed requests go, as JSON, with every attempt.
    faults: LogDestination = LogDestination::Stderr, example = Some("\"off\"");
    /// Messages of the process less important than this are left out.
    level: LogLevel = LogLevel::Info;
    /// Lines that wait to be written, per worker.
    buffer: usize = 1 << 20, bytes = true, range = Some((4_096.0, 1_073_741_824.0)),
        example = Some("\"4MiB\"");
}
table_value!(Log);

choice_value!(LogFormat);

choices! {
    /// How important a message is.
    LogLevel {
        /// Somebody has to act.
        Error = "error",
        /// Something was wrong and was coped with.
        Warn = "warn",
        /// Something that was asked for is done.
        Info = "info",
        /// Everything else.
        Debug = "debug",
    }
}
