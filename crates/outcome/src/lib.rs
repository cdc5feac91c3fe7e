//! What happened: phases, fault kinds, Attempts and the record of a whole request.
//!
//! [`Attempt`] is the one currency between subsystems: balancing learns from Attempts, health checks
//! are Attempts made on purpose, access logs print them. [`FaultKind`] is one closed table from which
//! every mapping (status, RFC 9209 type, HAProxy letters, Envoy flag, NGINX phrase) comes.
//!
//! Not here: why something happened. A fault is the coordinates of a symptom, never a cause.

#![forbid(unsafe_code)]

mod address;
mod attempt;
mod errno;
mod grpc;
mod host;
mod kind;
mod phase;
mod probed;
mod record;
mod remark;
mod sighting;
mod signal;
mod spoken;
mod tls;

pub use address::{Address, Bind};
pub use attempt::{Attempt, Evidence, FirstBytes, RetryRefusal, Reuse, TcpFacts};
pub use errno::errno_name;
pub use grpc::{GrpcStatus, grpc_timeout_us};
pub use host::{
    Cgroup, Connected, HostCounters, IcmpSeen, KernelLine, Listening, Neighbour, Process, Route,
    Sockets, UnixListening, Use,
};
pub use kind::{Fault, FaultKind, Party, Retry};
pub use phase::{Phase, Side};
pub use probed::{
    Again, Answered, Asked, DnsAnswer, Ending, Handshake, Kept, OldHandshake, Port, Prefaced,
    RecordKind, Reply, ResolvConf, Silence, TcpPace, TcpPath, TlsVersions, UnixFile, UnixPath,
};
pub use record::{Protocol, Record, RequestId, Timings};
pub use remark::Remark;
pub use sighting::{Place, Sighting, Speaker, Suspects};
pub use signal::Signal;
pub use spoken::Spoken;
pub use tls::{CertificateFacts, CertificateVerdict, TlsFacts, TlsOffer};
