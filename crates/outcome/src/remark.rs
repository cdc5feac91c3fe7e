//! What a log says besides the faults of Attempts.

macro_rules! remarks {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something a balancer says of itself or of its servers that is no fault of an Attempt, or that
        /// has no fault kind because it cannot happen here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Remark { $($(#[doc = $doc])+ $variant,)+ }

        impl Remark {
            /// Every remark, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable name for reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

remarks! {
    /// The balancer's disk is full.
    DiskFull = "disk-full",
    /// The balancer may not write its temporary files.
    TempFilesDenied = "temp-files-denied",
    /// A limit of requests refused the request.
    RateLimited = "rate-limited",
    /// A limit of connections refused the request.
    ConnectionsLimited = "connections-limited",
    /// The service that counts requests for a limit did not answer.
    LimiterFailed = "limiter-failed",
    /// Rewrites lead in a circle.
    RewriteCycle = "rewrite-cycle",
    /// The request that asks for permission failed, or permission was refused.
    AuthRequestFailed = "auth-request-failed",
    /// A process of the balancer died.
    WorkerDied = "worker-died",
    /// The balancer is overloaded and sheds load.
    Overloaded = "overloaded",
    /// A name has to be resolved while running and no resolver is configured.
    NoResolver = "no-resolver",
    /// A name did not resolve when the configuration was read.
    NameUnknownAtStart = "name-unknown-at-start",
    /// The balancer takes a server out because requests to it failed.
    ServerDisabled = "server-disabled",
    /// A health check or an operator took a server out.
    ServerDown = "server-down",
    /// A server is used again.
    ServerUp = "server-up",
    /// The last server of a backend is gone.
    BackendEmpty = "backend-empty",
    /// The connection was ended because its server was taken out.
    EndedByBalancer = "ended-by-balancer",
    /// The connection was ended because the balancer's process ended, or an operator said so.
    EndedWithProcess = "ended-with-process",
    /// All the retries that are allowed were made.
    RetriesUsedUp = "retries-used-up",
    /// The server sent more than it had announced.
    ExcessBody = "excess-body",
    /// The response is larger than the balancer may keep.
    ResponseTooLarge = "response-too-large",
    /// The fault was made on purpose, as a test.
    FaultInjected = "fault-injected",
    /// The request is one that two parsers may read differently.
    RequestAmbiguous = "request-ambiguous",
    /// The request went through too many balancers.
    TooManyHops = "too-many-hops",
    /// The protocol version of the request does not fit the servers.
    VersionMismatch = "version-mismatch",
    /// The serverless function behind the balancer failed.
    FunctionFailed = "function-failed",
    /// The health check of this host failed, by its own words.
    LocalCheckFailed = "local-check-failed",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> =
            Remark::ALL.iter().map(|remark| remark.name()).collect();
        assert_eq!(names.len(), Remark::ALL.len());
    }
}
