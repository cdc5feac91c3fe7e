//! Rules as data: what configuration languages are lowered into.
//!
//! Nothing here is checked until [`crate::Program::compile`] or [`crate::Router::compile`] is asked.

use std::collections::BTreeMap;

use ipnet::IpNet;

pub use crate::convert::Convert;
pub use crate::fetch::{Fetch, FetchDoc, Since};
pub use crate::files::{FileSettings, Files, ModifiedSince, Otherwise};
pub use crate::limit::{LimitKind, LimitSettings, Limits};
pub use crate::route_match::{FieldTest, RouteMatch};
pub use crate::table::{Datum, KeyKind, Stored, TableSettings, Tables};
pub use crate::template::{Piece, Template, TemplateError};
pub use crate::view::BodyWait;

/// What a value is compared with. With several values, one has to fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The whole value is one of these.
    Exact(Vec<String>),
    /// The value begins with one of these bytes.
    Prefix(Vec<String>),
    /// The value ends with one of these bytes.
    Suffix(Vec<String>),
    /// The value contains one of these bytes.
    Contains(Vec<String>),
    /// The path is one of these or below it: `/api` fits `/api` and `/api/x` but not `/apix`.
    PathPrefix(Vec<String>),
    /// Host names: `*.example.org` fits all names below, `*` all names, anything else itself.
    Wildcard(Vec<String>),
    /// One of these regular expressions matches somewhere in the value. Groups become captures.
    Regex(Vec<String>),
    /// The value is an address in one of these networks.
    Network(Vec<IpNet>),
    /// There is a value, even an empty one.
    Exists,
    /// The value is a decimal number within these bounds, both included.
    Range {
        /// Smallest number; none when absent.
        min: Option<u64>,
        /// Largest number; none when absent.
        max: Option<u64>,
    },
    /// The value has so many bytes, both bounds included.
    Length {
        /// Least length.
        min: usize,
        /// Greatest length; none when absent.
        max: Option<usize>,
    },
}

/// What becomes of the server that a client sticks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// The request goes there even when the server is down.
    Force,
    /// The request goes wherever the algorithm says.
    Ignore,
}

/// Names of users with their passwords: plain, or hashed as `htpasswd` and crypt(3) write them.
pub type Users = Vec<(String, String)>;

/// The page of statistics, as the data plane is to ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusPage {
    /// How often browsers are told to ask again, in seconds; 0 = never.
    pub refresh_seconds: u64,
    /// Names of the listeners and backends that are shown; all when empty.
    pub scope: Vec<String>,
    /// Whether it is a few counters alone.
    pub counters: bool,
    /// Whether the version is left out.
    pub hides_version: bool,
    /// The name of this host, where it is shown.
    pub node: Option<String>,
    /// A text for people.
    pub description: Option<String>,
    /// Whether states of servers can be changed on it.
    pub admin: bool,
}

/// How far a limit may be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitUse {
    /// Its name in [`Definitions::limits`].
    pub limit: String,
    /// Requests at the same time, or beyond the rate.
    pub most: u32,
    /// Requests beyond the rate that are not delayed.
    pub undelayed: u32,
}

/// Where the client's address comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientSource {
    /// The connection, whatever headers say.
    #[default]
    Connection,
    /// The PROXY header of the connection.
    ProxyHeader,
    /// A header with one address or a list of them, the last added at the end.
    Header(String),
}

/// Whom rules, logs and servers take for the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFrom {
    /// Where its address comes from.
    pub source: ClientSource,
    /// Who is believed.
    pub trusted: Vec<IpNet>,
    /// Whether who comes by a Unix socket is believed.
    pub trusts_unix: bool,
    /// Whether addresses that are trusted themselves are passed over in a list.
    pub recursive: bool,
}

/// When something applies.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// When a value passes a test; of several values of one header, cookie or parameter, any.
    Test {
        /// Where the value comes from.
        fetch: Fetch,
        /// What it is compared with.
        test: Test,
        /// Whether `A` is `a`.
        ignore_case: bool,
    },
    /// When another does not hold.
    Not(Box<Self>),
    /// When the request names one of these users with the right password (RFC 7617).
    User(Users),
    /// When all hold; also when there are none.
    All(Vec<Self>),
    /// When one holds; not when there are none.
    Any(Vec<Self>),
    /// When the one with this name in [`Definitions::conditions`] holds.
    Named(String),
}

impl Condition {
    /// A test with regard to case.
    #[must_use]
    pub fn test(fetch: Fetch, test: Test) -> Self {
        Self::Test {
            fetch,
            test,
            ignore_case: false,
        }
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::Not(Box::new(self))
    }
}

/// What the key of a [`Map`] is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum MapKey {
    /// The whole key.
    Exact(String),
    /// The begin of the key.
    Prefix(String),
    /// The end of the key.
    Suffix(String),
    /// A part of the key.
    Contains(String),
    /// The key is a number within these bounds, both included.
    Range(i64, i64),
    /// A regular expression. Groups become captures that the value may use.
    Regex(String),
    /// A network that the key is an address in.
    Network(IpNet),
}

/// A table from values to texts.
///
/// Of several entries that fit, the winner is: an exact one, the narrowest network, the longest
/// prefix, the longest suffix, the first range, the first part, the first regular expression. Of equal
/// keys the first counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// What is looked up. A header or parameter that came several times is looked up by its first
    /// value; one that did not come, as empty text.
    pub key: Template,
    /// Whether `A` is `a`.
    pub ignore_case: bool,
    /// The entries, in order.
    pub entries: Vec<(MapKey, Template)>,
    /// What it yields when no entry fits; no value at all when absent.
    pub default: Option<Template>,
}

/// What rules refer to by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// Maps, for [`Fetch::Map`].
    pub maps: BTreeMap<String, Map>,
    /// Conditions, for [`Condition::Named`].
    pub conditions: BTreeMap<String, Condition>,
    /// Tables of counters and servers by key.
    pub tables: BTreeMap<String, TableSettings>,
    /// Where the tables are kept.
    pub kept: Tables,
    /// Limits by key, each with what it counts by.
    pub limits: BTreeMap<String, (LimitSettings, Template)>,
    /// Where what they have counted is kept.
    pub budgets: Limits,
}

/// What is done.
///
/// A header that is set or added with an empty value is not written at all, unless with
/// [`Action::WriteEmpty`].
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Replaces a header of the request; `Host` is the same as [`Action::SetHost`].
    SetRequestHeader {
        /// Name.
        name: String,
        /// Value.
        value: Template,
    },
    /// Adds a header to the request.
    AddRequestHeader {
        /// Name.
        name: String,
        /// Value.
        value: Template,
    },
    /// Removes a header from the request.
    RemoveRequestHeader(String),
    /// Replaces a header of the response.
    SetResponseHeader {
        /// Name.
        name: String,
        /// Value.
        value: Template,
    },
    /// Adds a header to the response.
    AddResponseHeader {
        /// Name.
        name: String,
        /// Value.
        value: Template,
    },
    /// Removes a header from the response.
    RemoveResponseHeader(String),
    /// Puts a text in place of each value of a header that a pattern matches.
    ReplaceHeader {
        /// Whether it is one of the response.
        response: bool,
        /// Name.
        name: String,
        /// What is looked for.
        pattern: String,
        /// What takes the place of all that the pattern matched; `$1` is a group of it.
        replacement: Template,
        /// Whether each item between commas is looked at by itself.
        items: bool,
    },
    /// Removes headers whose names a pattern matches, whatever their case.
    RemoveHeadersLike {
        /// Whether they are those of the response.
        response: bool,
        /// What their names are like.
        pattern: String,
    },
    /// Headers that this rule sets or adds are written even when they are empty.
    WriteEmpty,
    /// The rule is looked at with the response, whatever it looks at.
    WithResponse,
    /// What this rule does with responses is done with replies of the balancer itself too.
    ForReplies,
    /// Replaces the status of the response.
    SetStatus(u16),
    /// Puts `to` in place of `from` at the begin of the path, at a boundary of segments.
    RewritePrefix {
        /// What the path has to be or be below of.
        from: String,
        /// What takes its place: a path, of which a slash at the end does not count.
        to: Template,
    },
    /// Puts a text in place of the first match in the path.
    RewriteRegex {
        /// What the path has to match.
        pattern: String,
        /// What takes the place of the match; `$1` or `${1}` is a group of it. A query in it
        /// stands before the query there was.
        replacement: Template,
    },
    /// Replaces path and query by a text that is sent as it is.
    SetTarget(Template),
    /// Replaces the path.
    SetPath(Template),
    /// Replaces the query; an empty one is no query.
    SetQuery(Template),
    /// Replaces the host that the server sees.
    SetHost(Template),
    /// Replaces the method.
    SetMethod(Template),
    /// Waits for the body of the request, so that what follows can look at it.
    ReadBody(BodyWait),
    /// Sets a variable for what comes later with this request.
    SetVariable {
        /// Name.
        name: String,
        /// Value.
        value: Template,
    },
    /// Counts what happens with a key from now on.
    Track {
        /// Which counter: rules look at it by its number.
        counter: u8,
        /// The table.
        table: String,
        /// The key.
        key: Fetch,
        /// Whether it is tracked as long as the connection is open, not only for the request.
        of_connection: bool,
    },
    /// Changes a number of what is tracked.
    Tally {
        /// By which counter it is tracked.
        counter: u8,
        /// What is changed.
        datum: Datum,
        /// Which of several.
        index: usize,
        /// What it is changed by, or to.
        value: Template,
        /// Whether `value` takes the place of the number, instead of being added.
        sets: bool,
    },
    /// Says whether the request goes to the server that its client sticks to.
    Persist(Persist),
    /// Takes the server of the request from a table, unless another rule has found one.
    StickMatch {
        /// The table.
        table: String,
        /// The key.
        key: Fetch,
    },
    /// Stores the server that answers in a table.
    StickStore {
        /// The table.
        table: String,
        /// The key; one of the response is looked at when that comes.
        key: Fetch,
    },
    /// Answers with a redirection.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to.
        location: Template,
        /// What goes before it where it turns out to begin with a slash.
        base: Option<Template>,
        /// Further headers.
        headers: Vec<(String, Template)>,
    },
    /// Answers with a text.
    Reply {
        /// Status, from 200.
        status: u16,
        /// Media type of the body.
        content_type: String,
        /// Body.
        body: Template,
        /// Further headers.
        headers: Vec<(String, Template)>,
    },
    /// Answers with the page that there is for a status of errors.
    ErrorPage {
        /// The status, from 200.
        status: u16,
    },
    /// Answers with the page of statistics.
    StatusPage(StatusPage),
    /// Answers 401 unless the request names one of these users with the right password.
    BasicAuth {
        /// What the users are asked for in the name of.
        realm: String,
        /// The users; without any, everybody is answered.
        users: Users,
    },
    /// Takes another for the client than who connected, where proxies stand in between.
    ClientFrom(ClientFrom),
    /// Refuses what is more than limits allow, or has it wait.
    Limit {
        /// The limits, all of which have to be kept.
        uses: Vec<LimitUse>,
        /// The status of refusals.
        status: u16,
        /// Whether it is only noted who would be refused.
        dry_run: bool,
        /// Whether they are limits of rate; else of requests at the same time.
        of_rate: bool,
    },
    /// Asks another route whether the request may go on, before the rules behind this one.
    Ask {
        /// The path that the route is looked for with.
        path: String,
        /// Variables and what they become, with values of the answer.
        set: Vec<(String, Template)>,
    },
    /// Sends a copy of the request to another route, whose answer nobody gets.
    Mirror {
        /// The path that the route is looked for with.
        path: String,
        /// Whether the body goes along.
        body: bool,
    },
    /// Refuses.
    Deny {
        /// Status, from 400.
        status: u16,
    },
    /// Answers with a file.
    Files(Box<Files>),
    /// Ends the connection without an answer.
    Drop,
    /// Looks for a route again, with the path as it is now.
    Reroute,
    /// Leaves the rules behind it in its list alone.
    Finish,
}

/// What is done when.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// When.
    pub condition: Condition,
    /// What, in order.
    pub actions: Vec<Action>,
}
