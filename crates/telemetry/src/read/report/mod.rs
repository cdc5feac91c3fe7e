//! What other balancers report when they are asked: states of servers, captured messages.

mod show_errors;
mod show_stat;
mod target_health;

pub use show_errors::{CapturedError, show_errors};
pub use show_stat::show_stat;
pub use target_health::target_health;

/// What a balancer knows of one server, or of a backend as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHealth {
    /// The group of servers; empty where the report is about one group only.
    pub backend: String,
    /// The server; `BACKEND` for the group as a whole.
    pub server: String,
    /// Its address, where the report has it.
    pub address: String,
    /// Its state in the report's own words: `UP`, `DOWN`, `MAINT`, `unhealthy`, …
    pub status: String,
    /// Outcome of the last check: `L4CON`, `L7STS`, `Target.Timeout`, …
    pub check_status: String,
    /// Status that the check was answered with; 0 = none.
    pub check_code: u16,
    /// What the check says, in words.
    pub last_check: String,
    /// Seconds since the state changed.
    pub changed_seconds: Option<u64>,
    /// Seconds it was down, all in all.
    pub down_seconds: Option<u64>,
    /// Times that a check failed.
    pub failed_checks: Option<u64>,
    /// Connections that could not be made, and responses that were invalid or cut.
    pub connection_errors: Option<u64>,
    /// Invalid or cut responses.
    pub response_errors: Option<u64>,
    /// Connections in use, and how many are allowed at most; `None` = no limit or unknown.
    pub sessions: (Option<u64>, Option<u64>),
    /// Requests that wait for it.
    pub queued: Option<u64>,
}

impl ServerHealth {
    /// Whether it takes requests, as far as the report says.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let status = self.status.to_ascii_lowercase();
        status.starts_with("up") || matches!(status.as_str(), "open" | "no check" | "healthy")
    }
}

#[cfg(test)]
mod tests;
