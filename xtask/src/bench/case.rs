//! The cases and what Clearway has to reach in each.

use super::load::{Load, Tool};
use super::peer::Front;

/// What is measured in a case.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// CPU time per request under load.
    Load {
        ask: Load,
        /// With the access log on.
        log: bool,
        /// With an HAProxy that splices besides.
        splice: bool,
    },
    /// Resident memory per idle connection, of which there are as many as asked for, but no more than
    /// `most`.
    IdleMemory { front: Front, most: u32 },
    /// System calls per request.
    Syscalls,
    /// Time from start to the first answer with 10,000 servers configured.
    Startup,
    /// One worker beside two.
    Workers,
    /// Few server blocks and entries of maps beside many.
    Growth,
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
            Kind::Load { .. } | Kind::Workers | Kind::Growth => "µs/request",
            Kind::IdleMemory { .. } => "bytes/connection",
            Kind::Syscalls => "calls/request",
            Kind::Startup => "ms",
        }
    }

    /// Whether its load comes from clients of our own.
    pub(crate) fn has_own_load(&self) -> bool {
        matches!(&self.kind, Kind::Load { ask, .. } if ask.tool == Tool::Handshakes)
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
pub(crate) const KEPT: Load = Load {
    tool: Tool::Wrk,
    connections: 64,
    path: "/",
    close: false,
    front: Front::Http,
};

/// The same over TLS.
const KEPT_TLS: Load = Load {
    front: Front::Tls { resumption: false },
    ..KEPT
};

/// A handshake for each request, of 32 clients.
const HANDSHAKE: Load = Load {
    tool: Tool::Handshakes,
    connections: 32,
    close: true,
    ..KEPT_TLS
};

const fn load(ask: Load) -> Kind {
    Kind::Load {
        ask,
        log: false,
        splice: false,
    }
}

/// All cases in the order they run.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "keepalive-128B",
        about: "64 kept connections, 128-byte answers",
        kind: load(KEPT),
        targets: &[peer(0.75)],
    },
    Case {
        name: "keepalive-h2load",
        about: "as keepalive-128B, but the load comes from h2load",
        kind: load(Load {
            tool: Tool::H2load,
            ..KEPT
        }),
        targets: &[],
    },
    Case {
        name: "close",
        about: "64 clients, a new connection for each request",
        kind: load(Load {
            close: true,
            ..KEPT
        }),
        targets: &[peer(0.9)],
    },
    Case {
        name: "body-16k",
        about: "64 kept connections, answers of 16 KiB",
        kind: load(Load {
            path: "/16k",
            ..KEPT
        }),
        targets: &[peer(0.75)],
    },
    Case {
        name: "body-1m",
        about: "32 kept connections, answers of 1 MiB",
        kind: Kind::Load {
            ask: Load {
                connections: 32,
                path: "/1m",
                ..KEPT
            },
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
        kind: load(Load {
            connections: 1000,
            ..KEPT
        }),
        targets: &[peer(0.65)],
    },
    Case {
        name: "tcp",
        about: "layer 4, 64 kept connections, 128-byte answers",
        kind: load(Load {
            front: Front::Tcp,
            ..KEPT
        }),
        targets: &[peer(0.9)],
    },
    Case {
        name: "log",
        about: "as keepalive-128B with the access log on (HAProxy: UDP syslog, others: file)",
        kind: Kind::Load {
            ask: KEPT,
            log: true,
            splice: false,
        },
        targets: &[peer(0.75)],
    },
    Case {
        name: "tls-keepalive",
        about: "64 kept TLS 1.3 connections, 128-byte answers",
        kind: load(KEPT_TLS),
        targets: &[peer(0.7)],
    },
    Case {
        name: "tls-16k",
        about: "64 kept TLS 1.3 connections, answers of 16 KiB",
        kind: load(Load {
            path: "/16k",
            ..KEPT_TLS
        }),
        targets: &[peer(0.7)],
    },
    Case {
        name: "tls-handshake",
        about: "32 clients, a full TLS 1.3 handshake for each request",
        kind: load(HANDSHAKE),
        targets: &[peer(0.75)],
    },
    Case {
        name: "tls-resume",
        about: "32 clients, a resumed TLS 1.3 handshake for each request",
        kind: load(Load {
            front: Front::Tls { resumption: true },
            ..HANDSHAKE
        }),
        targets: &[peer(0.9)],
    },
    Case {
        name: "h2",
        about: "16 HTTP/2 connections of 8 streams over TLS 1.3, 128-byte answers",
        kind: load(Load {
            tool: Tool::H2load,
            connections: 16,
            front: Front::H2,
            ..KEPT
        }),
        targets: &[peer(0.75)],
    },
    Case {
        name: "grpc",
        about: "unary calls: as h2, and HTTP/2 in the clear to the server",
        kind: load(Load {
            tool: Tool::H2load,
            connections: 16,
            path: super::peer::GRPC_PATH,
            front: Front::Grpc,
            ..KEPT
        }),
        targets: &[],
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
        kind: Kind::IdleMemory {
            front: Front::Http,
            most: u32::MAX,
        },
        targets: &[peer(1.0)],
    },
    Case {
        name: "tls-idle-memory",
        about: "idle TLS connections of clients after one request each",
        kind: Kind::IdleMemory {
            front: KEPT_TLS.front,
            most: 2000,
        },
        targets: &[],
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
    Case {
        name: "growth",
        about: "5,000 server blocks of nginx.conf, 10,000 entries of a map of haproxy.cfg, beside ten",
        kind: Kind::Growth,
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
