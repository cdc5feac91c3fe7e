//! What a case is made of.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Whose configuration a case is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `haproxy.cfg`.
    Haproxy,
    /// `nginx.conf`.
    Nginx,
}

impl Kind {
    /// The folder of its tables, and the option of `clearway run` that reads it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// A configuration and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What it shows, in words.
    pub(crate) name: String,
    /// File and line, for reports.
    pub(crate) place: String,
    /// The configuration, with placeholders.
    pub(crate) text: String,
    /// Files beside it.
    pub(crate) files: Vec<(String, Content)>,
    /// What servers do that do more than tell their name.
    pub(crate) servers: BTreeMap<char, Acts>,
    /// What clients do.
    pub(crate) steps: Vec<Step>,
    /// Why Clearway does something else.
    pub(crate) differs: Option<String>,
    /// Whether what servers saw is left out, such as where health checks come when they come.
    pub(crate) unseen: bool,
    /// Whether the configuration must be refused.
    pub(crate) refused: bool,
    /// Variables of the environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// What stands in a file beside the configuration.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// This.
    Text(String),
    /// A certificate for these names and its key, by the authority of the case.
    Identity(Vec<String>),
    /// The certificate of the authority of the case.
    Authority,
}

/// What a server does.
#[derive(Clone, Debug)]
pub(crate) enum Acts {
    /// Answers 200 with its name as the body; `/status/404` in the target asks for another status.
    Name,
    /// The same, over TLS.
    Tls,
    /// The same, on a Unix socket.
    Unix,
    /// The same, after a while.
    Slow(Duration),
    /// The same, but closes its first connections after a request.
    Fails(usize),
    /// The same, after a PROXY header, which is recorded.
    Proxied(u8),
    /// Sends `100 Continue` and tells the length of the body.
    Continue,
    /// Answers every request with these bytes, in which `$SELF` is its address.
    Answer(String),
    /// Answers one request per connection with these bytes and closes.
    AnswerAndClose(String),
    /// Answers with these bytes before the body came.
    AnswerEarly(String),
    /// Reads a request and says nothing.
    Silent,
    /// Reads a request and closes.
    Close,
    /// Reads a request and resets.
    Reset,
    /// Closes connections as they come.
    CloseOnAccept,
    /// Refuses connections.
    Refuse,
    /// Switches to a protocol and gives back what comes.
    Upgrade(String),
    /// Gives back bytes as they come.
    Raw,
    /// Says its name at once, and waits.
    Banner(String),
}

/// A connection to open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// Placeholder of the address.
    pub(crate) to: String,
    /// Source address.
    pub(crate) from: Option<IpAddr>,
    /// Name to ask for over TLS.
    pub(crate) tls: Option<String>,
    /// Protocols to offer over TLS.
    pub(crate) alpn: Vec<String>,
}

/// What clients do, in order.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Opens a connection, on which what follows happens.
    Open(Open),
    /// Sends bytes.
    Send(String),
    /// Reads, and compares what came.
    Read(Read),
    /// Ends the sending direction.
    HalfClose,
    /// Closes the connection.
    Close,
    /// Leaves the connection open until the end of the case.
    Keep,
    /// Goes on with the connection that was kept last.
    Back,
    /// Waits until a server got so many requests.
    Arrived(char, usize),
    /// Asks for a target until it answers with this status; nothing of it is compared.
    Until(u16, String),
    /// Lets time pass that is the subject.
    Elapse(Duration),
    /// Waits for so many lines of the log at `$LOG`, and compares them.
    Log(usize),
    /// Waits until a file in the folder has so many lines, and compares it.
    File(String, usize),
}

/// What clients read.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    /// A response to a request with this method.
    Response(String),
    /// A head, also of an interim response.
    Head,
    /// So many bytes.
    Take(usize),
    /// Everything until the connection ends.
    Rest,
    /// Whether a byte or the end comes soon.
    Quiet,
}
