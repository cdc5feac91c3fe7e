//! The cases and what Clearway has to reach in each.

use super::load::Tool;

/// What is measured in a case.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// CPU time per request under load.
    Load {
        tool: Tool,
        connections: u32,
        path: &'static str,
        close: bool,
        tcp: bool,
        log: bool,
        splice: bool,
    },
    /// Resident memory per idle connection.
    IdleMemory,
    /// System calls per request.
    Syscalls,
    /// Time from start to the first answer with 10,000 servers configured.
    Startup,
    /// One worker beside two.
    Workers,
}

/// What a target compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// The better of HAProxy and NGINX as they come.
    BetterPeer,
    /// HAProxy told to splice.
    Splice,
    /// Nobody: an absolute value.
    Absolute,
}

/// At most `limit`, as a ratio or in the case's unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) against: Against,
    pub(crate) limit: f64,
}

/// One comparison.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kind: Kind,
    pub(crate) targets: &'static [Target],
}

impl Case {
    /// The unit of its values.
    pub(crate) fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Load { .. } | Kind::Workers => "µs/request",
            Kind::IdleMemory => "bytes/connection",
            Kind::Syscalls => "calls/request",
            Kind::Startup => "ms",
        }
    }

    /// Name, what it is, targets.
    pub(crate) fn describe(&self) -> String {
        let targets: Vec<_> = self
            .targets
            .iter()
            .map(|t| t.describe(self.unit()))
            .collect();
        let targets = if targets.is_empty() {
            "no target".to_owned()
        } else {
            targets.join(", ")
        };
        format!("{:16} {} ({targets})", self.name, self.about)
    }
}

impl Target {
    /// In words.
    pub(crate) fn describe(&self, unit: &str) -> String {
        match self.against {
            Against::BetterPeer => format!("≤ {} × better peer", self.limit),
            Against::Splice => format!("≤ {} × haproxy-splice", self.limit),
            Against::Absolute => format!("≤ {} {unit}", self.limit),
        }
    }
}

const fn peer(limit: f64) -> Target {
    Target {
        against: Against::BetterPeer,
        limit,
    }
}

const fn absolute(limit: f64) -> Target {
    Target {
        against: Against::Absolute,
        limit,
    }
}

/// Small bodies over 64 kept connections: what the other load cases vary.
const KEEPALIVE: Kind = load(64, "/");

const fn load(connections: u32, path: &'static str) -> Kind {
    Kind::Load {
        tool: Tool::Wrk,
        connections,
        path,
        close: false,
        tcp: false,
        log: false,
        splice: false,
    }
}

/// All cases in the order they run.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "keepalive-128B",
        about: "64 kept connections, 128-byte answers",
        kind: KEEPALIVE,
        targets: &[peer(0.75)],
    },
    Case {
        name: "keepalive-h2load",
        about: "as keepalive-128B, but the load comes from h2load",
        kind: Kind::Load {
            tool: Tool::H2load,
            connections: 64,
            path: "/",
            close: false,
            tcp: false,
            log: false,
            splice: false,
        },
        targets: &[],
    },
    Case {
        name: "close",
        about: "64 clients, a new connection for each request",
        kind: Kind::Load {
            tool: Tool::Wrk,
            connections: 64,
            path: "/",
            close: true,
            tcp: false,
            log: false,
            splice: false,
        },
        targets: &[peer(0.9)],
    },
    Case {
        name: "body-16k",
        about: "64 kept connections, answers of 16 KiB",
        kind: load(64, "/16k"),
        targets: &[peer(0.75)],
    },
    Case {
        name: "body-1m",
        about: "32 kept connections, answers of 1 MiB",
        kind: Kind::Load {
            tool: Tool::Wrk,
            connections: 32,
            path: "/1m",
            close: false,
            tcp: false,
            log: false,
            splice: true,
        },
        targets: &[
            peer(0.45),
            Target {
                against: Against::Splice,
                limit: 1.0,
            },
        ],
    },
    Case {
        name: "conns-1000",
        about: "1,000 kept connections, 128-byte answers",
        kind: load(1000, "/"),
        targets: &[peer(0.65)],
    },
    Case {
        name: "tcp",
        about: "layer 4, 64 kept connections, 128-byte answers",
        kind: Kind::Load {
            tool: Tool::Wrk,
            connections: 64,
            path: "/",
            close: false,
            tcp: true,
            log: false,
            splice: false,
        },
        targets: &[peer(0.9)],
    },
    Case {
        name: "log",
        about: "as keepalive-128B with the access log on (HAProxy: UDP syslog, others: file)",
        kind: Kind::Load {
            tool: Tool::Wrk,
            connections: 64,
            path: "/",
            close: false,
            tcp: false,
            log: true,
            splice: false,
        },
        targets: &[peer(0.75)],
    },
    Case {
        name: "syscalls",
        about: "system calls of the whole process at 64 kept connections",
        kind: Kind::Syscalls,
        targets: &[absolute(4.2)],
    },
    Case {
        name: "idle-memory",
        about: "idle client connections after one request each",
        kind: Kind::IdleMemory,
        targets: &[peer(1.0)],
    },
    Case {
        name: "startup",
        about: "start to first answer, 1,000 backends of 10 servers",
        kind: Kind::Startup,
        targets: &[absolute(1000.0)],
    },
    Case {
        name: "workers",
        about: "two workers beside one at 64 kept connections",
        kind: Kind::Workers,
        targets: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CASES.len());
    }
}
