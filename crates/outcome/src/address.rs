//! Addresses: where a client comes from, and where we listen.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clearway_base::decimal;

/// An address of a client or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6 with a port.
    Ip(SocketAddr),
    /// A Unix socket; its path, if any, is the listener's name.
    Unix,
}

impl Address {
    /// The IP address, if it has one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }

    /// Appends it as it is displayed.
    pub fn write(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        if let Self::Ip(SocketAddr::V4(v4)) = self {
            decimal::write_ip(out, (*v4.ip()).into());
            out.push(b':');
            decimal::write(out, v4.port().into());
        } else {
            // Writing into memory cannot fail.
            write!(out, "{self}").unwrap_or_default();
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// An IPv4 or IPv6 address and port.
    Ip {
        /// The address; port 0 lets the kernel choose.
        address: SocketAddr,
        /// `[::]` takes IPv4 connections too: `":80"` or `"*:80"`.
        dual: bool,
    },
    /// A Unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Its permissions; as the process's umask leaves them when `None`.
        mode: Option<u32>,
    },
    /// A socket that listens already, which whoever started the process left open: its descriptor.
    Inherited(u16),
}

impl Bind {
    /// Whether only this host can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip { address, .. } => address.ip().is_loopback(),
            Self::Unix { .. } => true,
            // Nobody knows before it is looked at.
            Self::Inherited(_) => false,
        }
    }

    /// Whether both cannot be open at the same time.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Ip {
                    address: a,
                    dual: dual_a,
                },
                Self::Ip {
                    address: b,
                    dual: dual_b,
                },
            ) => {
                let same_family = a.is_ipv4() == b.is_ipv4();
                let covers =
                    |dual: bool, a: &SocketAddr| a.ip().is_unspecified() && (dual || same_family);
                a.port() != 0
                    && a.port() == b.port()
                    && (a.ip() == b.ip() || covers(*dual_a, a) || covers(*dual_b, b))
            }
            (Self::Unix { path: a, .. }, Self::Unix { path: b, .. }) => a == b,
            (Self::Inherited(a), Self::Inherited(b)) => a == b,
            (Self::Ip { .. } | Self::Unix { .. } | Self::Inherited(_), _) => false,
        }
    }

    /// Whether it is all addresses of the host, of which the other is one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip { address: a, .. }, Self::Ip { address: b, .. }) => {
                a.ip().is_unspecified() && !b.ip().is_unspecified() && self.overlaps(other)
            }
            (Self::Ip { .. } | Self::Unix { .. } | Self::Inherited(_), _) => false,
        }
    }

    /// What binds have to share to overlap: equal for all that may.
    #[must_use]
    pub fn slot(&self) -> (u16, &str) {
        match self {
            Self::Ip { address, .. } => (address.port(), ""),
            Self::Unix { path, .. } => (0, path.to_str().unwrap_or("?")),
            Self::Inherited(fd) => (*fd, "fd"),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip {
                address,
                dual: true,
            } => write!(f, "*:{}", address.port()),
            Self::Ip {
                address,
                dual: false,
            } => address.fmt(f),
            Self::Inherited(fd) => write!(f, "fd:{fd}"),
            Self::Unix { path, mode: None } => write!(f, "unix:{}", path.display()),
            Self::Unix {
                path,
                mode: Some(mode),
            } => {
                write!(f, "unix:{},mode={mode:o}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn ip(text: &str) -> Bind {
        Bind::Ip {
            address: text.parse().unwrap(),
            dual: false,
        }
    }

    fn all(port: u16) -> Bind {
        Bind::Ip {
            address: (Ipv6Addr::UNSPECIFIED, port).into(),
            dual: true,
        }
    }

    fn unix(mode: Option<u32>) -> Bind {
        Bind::Unix {
            path: "/a".into(),
            mode,
        }
    }

    #[test]
    fn binds_print_as_they_are_written() {
        for (bind, text) in [
            (ip("127.0.0.1:80"), "127.0.0.1:80"),
            (ip("[::1]:80"), "[::1]:80"),
            (all(80), "*:80"),
            (unix(None), "unix:/a"),
            (unix(Some(0o660)), "unix:/a,mode=660"),
        ] {
            assert_eq!(bind.to_string(), text);
        }
    }

    #[test]
    fn binds_overlap_when_the_kernel_would_refuse() {
        for (a, b, overlap) in [
            (all(80), ip("127.0.0.1:80"), true),
            (all(80), ip("[::1]:80"), true),
            (ip("0.0.0.0:80"), ip("127.0.0.1:80"), true),
            (ip("[::]:80"), ip("127.0.0.1:80"), false),
            (ip("127.0.0.1:80"), ip("127.0.0.2:80"), false),
            (ip("127.0.0.1:0"), ip("127.0.0.1:0"), false),
            (all(80), all(81), false),
            (unix(None), unix(Some(0o660)), true),
            (unix(None), all(80), false),
        ] {
            assert_eq!(a.overlaps(&b), overlap, "{a} {b}");
            assert_eq!(b.overlaps(&a), overlap, "{b} {a}");
            assert!(!overlap || a.slot() == b.slot(), "{a} {b}");
        }
    }

    #[test]
    fn loopback_and_unix_are_this_host() {
        assert!(ip("127.0.0.1:80").is_local() && ip("[::1]:80").is_local());
        assert!(unix(None).is_local());
        assert!(!all(80).is_local() && !ip("0.0.0.0:80").is_local());
    }
}
