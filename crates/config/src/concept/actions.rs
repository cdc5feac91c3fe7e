//! Actions of routes and rules: what is changed, and what is answered at once.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use super::files::Files;
use super::rate_limit::{ConcurrencyLimiting, RateLimiting};
use super::table::{Stick, Tally, Track};
use super::{concept, table_value};
use crate::syntax::{Kind, Node};
use crate::value::{
    BodyText, HeaderName, HeaderValue, Pairs, PathPrefix, Reader, RegexText, Spec, TemplateText,
    Text, Token, Value, choices, print_inline, read_table, section_schema,
};

concept! {
    /// What is done with a request and its response. In templates `${host}`, `${header:NAME}` and the
    /// like stand for parts of them, `$1` for a group of the last regular expression that matched,
    /// and `$$` for a dollar sign; see values.
    Actions, "actions";

    /// Sets variables, `${var:NAME}` in templates, before everything else. An empty text forgets one; a
    /// value that is not there leaves it as it was. Names that begin with `sess.` live as long as the
    /// client's connection, those with `req.` until the response comes.
    set_variables: Pairs<Token, TemplateText> = Pairs::default(),
        example = Some("{ tenant = \"${header:x-tenant}\" }");
    /// The server of the backend that gets the request while requests may go to it, whatever the
    /// algorithm says; the same as the variable `use_server`.
    use_server: Option<TemplateText> = None, example = Some("\"${header:x-server}\"");
    /// Keys of tables that are tracked from now on, in their order.
    track: Vec<Track> = Vec::new(), example = Some("{ table = \"clients\", key = \"client_ip\" }");
    /// Numbers of what is tracked that are changed.
    tally: Vec<Tally> = Vec::new(), example = Some("{ what = \"gpc0\", add = \"1\" }");
    /// Tables that have a server for the request, or that the server which answers is stored in.
    stick: Vec<Stick> = Vec::new(), example = Some("{ table = \"users\", key = \"cookie:id\" }");
    /// What becomes of the server that the client sticks to by a cookie or table.
    persist: Option<Persistence> = None, example = Some("\"ignore\"");
    /// Waits for the body, so that what comes behind can look at it: `${body}`, `${body_param:NAME}`.
    read_body: Option<ReadBody> = None, example = Some("{ time = \"1s\" }");
    /// Replaces the method.
    set_method: Option<TemplateText> = None, example = Some("\"POST\"");
    /// Takes this off the path's begin.
    strip_prefix: Option<PathPrefix> = None, example = Some("\"/api\"");
    /// Changes the path.
    rewrite: Option<Rewrite> = None, example = Some("{ prefix = \"/old/\", to = \"/new/\" }");
    /// Replaces the path; what is left of the target, its query, stays.
    set_path: Option<TemplateText> = None, example = Some("\"/${var:tenant}${path}\"");
    /// Replaces the query; an empty text is none.
    set_query: Option<TemplateText> = None, example = Some("\"user=${client_cert_serial}\"");
    /// Replaces path and query by a text that is sent as it is, not brought into normal form.
    set_target: Option<TemplateText> = None, example = Some("\"/v2${sent_target}\"");
    /// The `Host` the server sees.
    set_host: Option<TemplateText> = None, example = Some("\"app.internal\"");
    /// Headers the server sees, in place of what the client sent.
    set_request_headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ x-real-ip = \"${client_ip}\" }");
    /// Headers the server sees besides what the client sent.
    add_request_headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ x-via = \"edge\" }");
    /// Headers the server does not see.
    remove_request_headers: Vec<HeaderName> = Vec::new(), example = Some("[\"x-debug\"]");
    /// Values of headers that a pattern matches, replaced for the server.
    replace_request_headers: Vec<Replacement> = Vec::new(),
        example = Some("{ header = \"cookie\", regex = \"^a=b; (.*)$\", to = \"$1\" }");
    /// Headers the server does not see, by a pattern of their names.
    remove_request_headers_like: Vec<RegexText> = Vec::new(), example = Some("\"^x-debug-\"");
    /// Headers the client does not see, by a pattern of their names.
    remove_response_headers_like: Vec<RegexText> = Vec::new(), example = Some("\"^x-internal-\"");
    /// Whether headers that get an empty value are written nevertheless.
    empty_headers: bool = false, example = Some("true");
    /// The same for the client.
    replace_response_headers: Vec<Replacement> = Vec::new(),
        example = Some("{ header = \"location\", regex = \"^http:\", to = \"https:\" }");
    /// The status the client sees.
    set_status: Option<u16> = None, range = Some((100.0, 999.0)), example = Some("503");
    /// Headers the client sees, in place of what the server sent.
    set_response_headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ x-frame-options = \"DENY\" }");
    /// Headers the client sees besides what the server sent.
    add_response_headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ vary = \"accept\" }");
    /// Headers the client does not see.
    remove_response_headers: Vec<HeaderName> = Vec::new(), example = Some("[\"server\"]");
    /// Takes another for the client than who connected, where proxies stand in between: for rules behind this one,
    /// conditions, logs, limits and the headers that servers see.
    client_from: Option<ClientFrom> = None,
        example = Some("{ header = \"x-forwarded-for\", trusted = [\"10.0.0.0/8\"] }");
    /// Refuses requests that come faster than limits of rate allow, or has them wait.
    rate_limit: Option<RateLimiting> = None,
        example = Some("{ limits = [{ limit = \"by_ip\", burst = 5 }] }");
    /// Refuses requests while as many are served as limits allow.
    concurrency_limit: Option<ConcurrencyLimiting> = None,
        example = Some("{ limits = [{ limit = \"by_ip\", most = 10 }] }");
    /// Answers 401 unless the request names a user with the right password.
    basic_auth: Option<BasicAuth> = None,
        example = Some("{ realm = \"ops\", users = { anna = \"$5$salt$hash\" } }");
    /// Asks another route first whether the request may go on.
    ask: Option<Ask> = None, example = Some("{ path = \"/auth\" }");
    /// Sends copies of the request to other routes as well, whose answers nobody gets.
    mirror: Vec<Mirror> = Vec::new(), example = Some("[{ path = \"/shadow\" }]");
    /// Answers with the page of statistics: HTML, or what `;csv` or `;json` at the end of the target
    /// asks for.
    status_page: Option<StatusPage> = None, example = Some("true");
    /// Whether the rule is looked at when the response comes, although it could be when the request does.
    with_response: bool = false, example = Some("true");
    /// Whether what is done with the response is done with Clearway's own answers too.
    own_replies: bool = false, example = Some("true");
    /// Answers with a redirection.
    redirect: Option<Redirect> = None, example = Some("{ to = \"https://${host}${target}\" }");
    /// Answers with a text.
    reply: Option<Reply> = None, example = Some("{ status = 200, body = \"ok\" }");
    /// Answers with a file.
    files: Option<Files> = None, example = Some("{ root = \"/srv/www\" }");
    /// Refuses with this status.
    deny: Option<u16> = None, range = Some((400.0, 599.0)), example = Some("403");
    /// Ends the connection without an answer.
    drop: bool = false, example = Some("true");
    /// Looks for a route again, with the path as it is now and the variable `rerouted` set to 1. What
    /// goes in circles is answered with 500.
    reroute: bool = false, example = Some("true");
    /// Leaves the rules behind this one in its list alone.
    finish: bool = false, example = Some("true");
}

impl Actions {
    /// Whether the request is answered without a server.
    #[must_use]
    pub fn answers(&self) -> bool {
        let closed = |auth: &BasicAuth| auth.users.is_empty();
        self.redirect.is_some()
            || self.reply.is_some()
            || self.files.is_some()
            || self.deny.is_some()
            || self.drop
            || self.status_page.is_some()
            || self.basic_auth.as_ref().is_some_and(closed)
    }
}

choices! {
    /// What becomes of the server that a client sticks to.
    Persistence {
        /// The request goes there even when the server is down.
        Force = "force",
        /// The request goes wherever the algorithm says.
        Ignore = "ignore",
    }
}

concept! {
    /// How long a body is waited for, and for how much of it.
    ReadBody, "body that is waited for";

    /// The longest time; a request that takes longer is answered 408.
    time: Duration = Duration::from_secs(10), example = Some("\"1s\"");
    /// Whether the time counts from the first byte of the request.
    from_start: bool = false, example = Some("true");
    /// So many bytes are enough; 0 = all of it, as far as there is room (64 KiB with the head).
    at_least: usize = 0, bytes = true, example = Some("\"1KiB\"");
}
table_value!(ReadBody);

concept! {
    /// A change of the path. What is left of the target, its query, stays.
    Rewrite, "rewrite";

    /// What the path has to begin with; `to` takes its place.
    prefix: Option<PathPrefix> = None, example = Some("\"/old/\"");
    /// What the path has to match; `to` takes the place of the match, with `$1` for a group of it.
    regex: Option<RegexText> = None, example = Some("\"^/user/([0-9]+)$\"");
    /// What takes its place, with values of the request if need be.
    to: TemplateText = TemplateText::default(), required = true, example = Some("\"/${var:tenant}/\"");
}
table_value!(Rewrite);

concept! {
    /// A pattern in the values of a header, and what takes the place of all that matched.
    Replacement, "replacement";

    /// The header.
    header: HeaderName = HeaderName::default(), required = true, example = Some("\"cookie\"");
    /// What is looked for.
    regex: RegexText = RegexText::default(), required = true, example = Some("\"^a=(.*)$\"");
    /// What takes the place of the whole value, with `$1` for a group of the match.
    to: TemplateText = TemplateText::default(), required = true, example = Some("\"b=$1\"");
    /// Whether each item between commas is looked at by itself.
    items: bool = false, example = Some("true");
}
table_value!(Replacement);

concept! {
    /// A redirection.
    Redirect, "redirect";

    /// Where to.
    to: TemplateText = TemplateText::default(), required = true,
        example = Some("\"https://${host}${target}\"");
    /// What goes before it where it turns out to be a path.
    base: Option<TemplateText> = None, example = Some("\"https://${host}\"");
    /// 301, 302, 303, 307 or 308.
    status: u16 = 308, range = Some((300.0, 399.0)), example = Some("302");
    /// Further headers.
    headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ cache-control = \"no-cache\" }");
}
table_value!(Redirect);

concept! {
    /// An answer without a server.
    Reply, "reply";

    /// Its status.
    status: u16 = 200, range = Some((200.0, 599.0)), example = Some("404");
    /// Whether it is the page that `errors` has for the status, in place of a body.
    page: bool = false, example = Some("true");
    /// Its body.
    body: String = String::new(), example = Some("\"User-agent: *\"");
    /// Its body with values of the request, in place of `body`.
    template: Option<BodyText> = None, example = Some("\"you are ${client_ip}\"");
    /// Further headers.
    headers: Pairs<HeaderName, TemplateText> = Pairs::default(),
        example = Some("{ retry-after = \"60\" }");
    /// Media type of the body.
    content_type: HeaderValue = HeaderValue::parse("text/plain; charset=utf-8").unwrap_or_default(),
        example = Some("\"text/html\"");
}
table_value!(Reply);

concept! {
    /// Basic authentication (RFC 7617). Over plain HTTP everybody on the way can read the passwords.
    BasicAuth, "basic authentication";

    /// What users are asked in the name of.
    realm: HeaderValue = HeaderValue::parse("restricted").unwrap_or_default(),
        example = Some("\"statistics\"");
    /// Users with their passwords: plain, or hashed as `htpasswd` and crypt(3) do (`$apr1$`, `$2y$`,
    /// `$5$`, `$6$`, `{SHA}`). A plain one that begins like a hash is written behind `{PLAIN}`.
    /// Without any, everybody is answered 401.
    users: Pairs<HeaderValue, String> = Pairs::default(),
        example = Some("{ anna = \"$5$salt$hash\" }");
}
table_value!(BasicAuth);

concept! {
    /// A question to another route, before the rules behind this one. It sees the request's headers with GET
    /// and without a body, and the variables `rerouted` and `question` set to 1. An answer with 2xx lets the request
    /// go on, 401 and 403 are answered as they are, anything else with 500. Only in rules of routes.
    Ask, "ask";

    /// The path that the route is looked for with, perhaps with a query.
    path: String = String::new(), required = true, example = Some("\"/auth\"");
    /// Variables that are set by what the answer says.
    set: Pairs<Token, TemplateText> = Pairs::default(),
        example = Some("{ user = \"${response_header:x-user}\" }");
}
table_value!(Ask);

concept! {
    /// A copy of a request that goes to another route, too, once the rules have let it pass. It sees the request's
    /// method, headers and query, and the variables `rerouted` and `question` set to 1. It holds nothing up but
    /// for the wait for the body; copies are not copied, and are not sent while a worker has 1000 of them under way.
    Mirror, "mirror";

    /// The path that the route is looked for with. The request's query goes behind it, unless it has one.
    path: String = String::new(), required = true, example = Some("\"/shadow\"");
    /// Whether the body goes along. One that does not fit into the buffer of 64 KiB beside the head, or has no
    /// length over HTTP/2, is not copied, nor is its request.
    body: bool = true, example = Some("false");
}
table_value!(Mirror);

concept! {
    /// Whom to take for the client. Without `header` and `proxy_header` it is who connected, whatever a
    /// PROXY header says.
    ClientFrom, "client from";

    /// A header with its address, or a list of addresses to which each proxy has added one at the end.
    header: Option<HeaderName> = None, example = Some("\"x-forwarded-for\"");
    /// Whether it is the address that the connection's PROXY header names.
    proxy_header: bool = false, example = Some("true");
    /// Proxies that are believed: nothing happens when somebody else connected.
    trusted: Vec<IpNet> = Vec::new(), example = Some("[\"10.0.0.0/8\"]");
    /// Whether who comes by a Unix socket is believed.
    trusted_unix: bool = false, example = Some("true");
    /// Whether the last address of a list that is not trusted itself is taken; else it is the last.
    recursive: bool = false, example = Some("true");
}
table_value!(ClientFrom);

concept! {
    /// The page of statistics: `true`, or a table with settings.
    StatusPage, "status page";

    /// How often browsers ask again; not at all when absent.
    refresh: Option<Duration> = None, range = Some((1.0, 86_400.0)), example = Some("\"10s\"");
    /// Names of the listeners and backends that are shown; all when absent.
    scope: Vec<String> = Vec::new(), example = Some("[\"app\"]");
    /// Whether the version is left out.
    hide_version: bool = false, example = Some("true");
    /// The name of this host, where it is to be shown; empty = as the system has it.
    node: Option<String> = None, example = Some("\"edge-1\"");
    /// Whether it is a few lines with counters of connections and requests, as NGINX's `stub_status` has them.
    counters: bool = false, example = Some("true");
    /// A text for people.
    description: Option<String> = None, example = Some("\"Edge of the shop\"");
    /// Whether states of servers can be changed on it, by whoever may see it: it has a form then, which is sent
    /// by POST. Without this every POST is answered with a redirection that says no.
    admin: bool = false, example = Some("true");
}

impl Value for StatusPage {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind, Kind::Bool(true)) {
            return Some(Self::default());
        }
        match node.as_table() {
            Some(_) => read_table(node, reader),
            None => reader.wrong_type(node, "true, or a table with settings"),
        }
    }

    fn print(&self, _: &Spec, out: &mut String) {
        match *self == Self::default() {
            true => out.push_str("true"),
            false => print_inline(self, out),
        }
    }

    fn kind(_: &Spec) -> String {
        "true, or table, see status page".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "const": true }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}
