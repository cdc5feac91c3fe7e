//! What workers are asked for when a request ends, because a Record does not hold it.

use super::ValueDoc;

macro_rules! asked {
    ($($(#[doc = $doc:literal])+ $variant:ident = $spelling:literal $haproxy:literal $nginx:literal;)+) => {
        /// A value that the worker has to give along with the Record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Asked { $($(#[doc = $doc])+ $variant,)+ }

        impl Asked {
            /// The reference, in order.
            pub const REFERENCE: &'static [ValueDoc] = &[$(ValueDoc {
                spelling: $spelling, haproxy: $haproxy, nginx: $nginx, summary: concat!($($doc,)+),
            },)+];

            /// The value of a name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($spelling => Some(Self::$variant),)+ _ => None }
            }

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $spelling,)+ }
            }
        }
    };
}

asked! {
    /// Address that the client connected to.
    LocalIp = "local_ip" "%fi" "$server_addr";
    /// Port that the client connected to.
    LocalPort = "local_port" "%fp" "$server_port";
    /// Address that the last connection to the server which answered came from.
    SourceIp = "source_ip" "%bi" "";
    /// Port that the last connection to the server which answered came from.
    SourcePort = "source_port" "%bp" "";
    /// Name of the user in `Authorization: Basic` (RFC 7617), whoever checks it.
    RemoteUser = "remote_user" "" "$remote_user";
    /// Connections from clients open in the whole process, this one included.
    ProcessConnections = "process_connections" "%ac" "$connections_active";
    /// Connections from clients open on the listener, this one included.
    ListenerConnections = "listener_connections" "%fc" "";
    /// Requests in flight on the last server, from this worker and all others, without this one.
    ServerConnections = "server_connections" "%sc" "";
    /// Place in the line of those that wait for a slot of the backend's servers, from 1, when the
    /// request began to wait; 0 when it did not.
    BackendQueue = "backend_queue" "%bq" "";
    /// Requests on the client's connection so far, this one included.
    ConnectionRequests = "connection_requests" "" "$connection_requests";
    /// Smoothed round-trip time of the client's connection, in microseconds.
    TcpRtt = "tcp_rtt_us" "" "$tcpinfo_rtt";
    /// How much the round-trip time of the client's connection varies, in microseconds.
    TcpRttVariation = "tcp_rttvar_us" "" "$tcpinfo_rttvar";
    /// Congestion window of the client's connection, in segments.
    TcpCongestionWindow = "tcp_cwnd" "" "$tcpinfo_snd_cwnd";
    /// Bytes that the kernel expects to receive of the client in one round trip.
    TcpReceiveSpace = "tcp_rcv_space" "" "$tcpinfo_rcv_space";
    /// Time from the connection's beginning until it was ready for requests (PROXY header, TLS), in
    /// milliseconds; 0 from the second request on.
    HandshakeMs = "handshake_ms" "%Th" "";
    /// Time for which the connection was idle before the request, in milliseconds.
    IdleMs = "idle_ms" "%Ti" "";
    /// Time from the connection's beginning, or the end of the request before, until the head was
    /// complete, in milliseconds: `handshake_ms`, `idle_ms` and `head_ms` together.
    QueryMs = "query_ms" "%Tq" "";
    /// Time from the connection's beginning, or the end of the request before, until this one was over,
    /// in milliseconds.
    SessionMs = "session_ms" "%Tt" "";
}
