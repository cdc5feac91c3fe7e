//! Where in the life of a request or connection something happened.

macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A step in the life of a request, in the order in which they follow each other.
        ///
        /// The names are the ones users meet in logs, metrics and documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Phase { $($(#[doc = $doc])+ $variant,)+ }

        impl Phase {
            /// Every phase, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable name for logs and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

phases! {
    /// Taking the connection from the kernel's queue.
    Accept = "accept",
    /// What comes before the first request of a client: a PROXY header, TLS.
    Handshake = "handshake",
    /// Reading and parsing the request line and headers.
    RequestHead = "request-head",
    /// Reading the request body from the client.
    RequestBody = "request-body",
    /// Finding the route.
    Route = "route",
    /// Applying rules and limits.
    Admit = "admit",
    /// Choosing a server.
    Choose = "choose",
    /// Waiting for a free connection slot of a server.
    Queue = "queue",
    /// Resolving the server's name.
    Resolve = "resolve",
    /// Connecting to the server.
    Connect = "connect",
    /// Setting up TLS with the server.
    Tls = "tls",
    /// Writing the request to the server.
    Send = "send",
    /// Waiting for the first byte of the response.
    Wait = "wait",
    /// Reading and parsing the status line and headers.
    ResponseHead = "response-head",
    /// Relaying the response body.
    ResponseBody = "response-body",
    /// Relaying bytes both ways after an upgrade, or at layer 4.
    Tunnel = "tunnel",
    /// Writing the response to the client.
    Deliver = "deliver",
}

/// Which neighbour of the balancer was involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// The connection from the client.
    Client,
    /// The balancer itself or its host.
    Local,
    /// The connection to the server.
    Server,
}

impl Side {
    /// Stable name for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Local => "local",
            Self::Server => "server",
        }
    }
}
