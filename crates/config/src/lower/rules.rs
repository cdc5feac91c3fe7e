//! Routes and rules as the rule engine wants them.

use clearway_rules::ast;

use crate::model::{
    Actions, ConcurrencyLimit, Condition, FetchText, FieldTest, HeaderName, HeaderValue, Map,
    MapEntry, Match, Persistence, RateLimit, Replacement, Table, TableKey, TemplateText,
    TrackUntil, ValueTest,
};
use crate::value::{Pairs, Problem};
use crate::words;

const EXPECTED: &str =
    "text with ${host}, ${path}, ${header:name} and the like; $$ for a dollar sign";

/// Checks a template.
pub(crate) fn check_template(text: &str) -> Result<(), Problem> {
    let Err(error) = ast::Template::parse(text) else {
        return Ok(());
    };
    let mut problem = Problem::new(format!("{text:?}: {error}"), EXPECTED);
    let rest = text
        .get(error.at..)
        .and_then(|rest| rest.strip_prefix("${"));
    if let Some((name, _)) = rest.and_then(|rest| rest.split_once('}')) {
        let spellings = ast::Fetch::REFERENCE.iter().map(|fetch| fetch.spelling);
        problem.hint = words::closest(name.split(':').next().unwrap_or(name), spellings)
            .filter(|close| *close != name)
            .map(|close| format!("did you mean `{close}`?"));
    }
    Err(problem)
}

/// Checks a value.
pub(crate) fn check_fetch(text: &str) -> Result<(), Problem> {
    let expected = "a value such as host, path, header:NAME, perhaps with converters: host|lower";
    match ast::Fetch::parse(text) {
        Ok(_) => Ok(()),
        Err(message) => Err(Problem::new(message, expected)),
    }
}

/// A template that was checked when it was read.
fn template(text: &TemplateText) -> ast::Template {
    ast::Template::parse(text.as_str()).unwrap_or_else(|_| ast::Template::literal(text.as_str()))
}

fn strings<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn field_test(test: &FieldTest) -> ast::FieldTest {
    match test {
        FieldTest::Present => ast::FieldTest::Present,
        FieldTest::Absent => ast::FieldTest::Absent,
        FieldTest::Text(text) => ast::FieldTest::Exact(text.clone()),
        FieldTest::Regex(regex) => ast::FieldTest::Regex(regex.clone()),
    }
}

fn tests<K>(pairs: &Pairs<K, FieldTest>, name: fn(&K) -> &str) -> Vec<(String, ast::FieldTest)> {
    pairs
        .iter()
        .map(|(key, wanted)| (name(key).to_owned(), field_test(wanted)))
        .collect()
}

impl Match {
    /// As the route table wants it.
    #[must_use]
    pub(crate) fn lowered(&self) -> ast::RouteMatch {
        ast::RouteMatch {
            hosts: strings(&self.host),
            paths: strings(&self.path),
            methods: strings(&self.method),
            headers: tests(&self.header, HeaderName::as_str),
            cookies: tests(&self.cookie, crate::model::CookieName::as_str),
            queries: tests(&self.query, crate::model::QueryName::as_str),
            sources: self.source.clone(),
            listeners: strings(&self.listeners),
            client_cert: self.client_cert.as_ref().map(field_test),
            when: ast::Condition::Always,
        }
    }
}

impl Condition {
    /// As the rule engine wants it.
    #[must_use]
    pub(crate) fn lowered(&self) -> ast::Condition {
        let mut all = Vec::new();
        if !self.matching.is_always() {
            all.push(self.matching.lowered().condition());
        }
        all.extend(self.value.iter().map(ValueTest::lowered));
        if !self.user.is_empty() {
            all.push(ast::Condition::User(users(&self.user)));
        }
        all.extend(self.not.iter().map(|inner| inner.lowered().negated()));
        if !self.any.is_empty() {
            all.push(ast::Condition::Any(
                self.any.iter().map(Self::lowered).collect(),
            ));
        }
        all.extend(self.all.iter().map(Self::lowered));
        match all.len() {
            0 => ast::Condition::Always,
            1 => all.pop().unwrap_or_default(),
            _ => ast::Condition::All(all),
        }
    }
}

impl Map {
    /// As the rule engine wants it, with its name.
    pub(crate) fn lowered(&self) -> (String, ast::Map) {
        let map = ast::Map {
            key: template(&self.key),
            ignore_case: self.ignore_case,
            entries: self.entries.iter().filter_map(MapEntry::lowered).collect(),
            default: self.default.as_ref().map(template),
        };
        (self.name.to_string(), map)
    }
}

impl Table {
    /// As the rule engine wants it, with its name.
    pub(crate) fn lowered(&self) -> (String, ast::TableSettings) {
        let settings = ast::TableSettings {
            key: match self.key {
                TableKey::Ip => ast::KeyKind::Ip,
                TableKey::Ipv6 => ast::KeyKind::Ipv6,
                TableKey::Integer => ast::KeyKind::Integer,
                TableKey::String => ast::KeyKind::String(self.length),
                TableKey::Binary => ast::KeyKind::Binary(self.length),
            },
            size: self.size,
            expire: self.expire,
            keeps: self.keep_when_full,
            store: self
                .store
                .iter()
                .filter_map(|text| stored(text.as_str()).ok())
                .collect(),
        };
        (self.name.to_string(), settings)
    }
}

/// Reads what a table stores.
pub(crate) fn stored(text: &str) -> Result<ast::Stored, String> {
    ast::Stored::parse(text, crate::value::duration)
}

/// Reads the name of a number of a table, with the number of one of many.
pub(crate) fn datum(text: &str) -> Result<(ast::Datum, usize), String> {
    let (name, index) = text.split_once('.').unwrap_or((text, "0"));
    let datum = ast::Datum::of(name);
    let datum = datum.ok_or_else(|| format!("{name:?} is nothing that tables store"))?;
    let index = index.parse().ok();
    let index = index.filter(|index| *index == 0 || datum.is_many());
    match index {
        Some(index) => Ok((datum, index)),
        None => Err(format!("{text:?}: there are not so many of it")),
    }
}

impl RateLimit {
    /// As the rule engine wants it, with a name that no other kind has.
    pub(crate) fn lowered(&self) -> (String, (ast::LimitSettings, ast::Template)) {
        let per = self.per.as_secs().max(1);
        let settings = ast::LimitSettings {
            kind: ast::LimitKind::Rate(u64::from(self.requests).saturating_mul(1_000) / per),
            entries: self.entries,
        };
        (
            format!("rate {}", self.name),
            (settings, template(&self.key)),
        )
    }
}

impl ConcurrencyLimit {
    /// The same.
    pub(crate) fn lowered(&self) -> (String, (ast::LimitSettings, ast::Template)) {
        let settings = ast::LimitSettings {
            kind: ast::LimitKind::Together,
            entries: self.entries,
        };
        let name = format!("concurrency {}", self.name);
        (name, (settings, template(&self.key)))
    }
}

impl MapEntry {
    fn lowered(&self) -> Option<(ast::MapKey, ast::Template)> {
        let exact = self.is.clone().map(ast::MapKey::Exact);
        let prefix = || self.begins.clone().map(ast::MapKey::Prefix);
        let suffix = || self.ends.clone().map(ast::MapKey::Suffix);
        let regex = || Some(ast::MapKey::Regex(self.regex.as_ref()?.to_string()));
        let network = || self.within.map(ast::MapKey::Network);
        let key = exact.or_else(prefix).or_else(suffix).or_else(regex);
        let part = || self.contains.clone().map(ast::MapKey::Contains);
        let bound = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let range = || {
            let (min, max) = (self.min.map(bound), self.max.map(bound));
            (min.is_some() || max.is_some())
                .then(|| ast::MapKey::Range(min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX)))
        };
        let key = key.or_else(network).or_else(part).or_else(range);
        Some((key?, template(&self.to)))
    }
}

impl ValueTest {
    /// As the rule engine wants it: one of the tests that are written has to hold.
    fn lowered(&self) -> ast::Condition {
        let fetch = ast::Fetch::parse(self.of.as_str())
            .unwrap_or_else(|_| ast::Fetch::Literal(self.of.to_string()));
        let texts = |list: &[String], test: fn(Vec<String>) -> ast::Test| {
            (!list.is_empty()).then(|| test(list.to_vec()))
        };
        let range = (self.min.is_some() || self.max.is_some()).then_some(ast::Test::Range {
            min: self.min,
            max: self.max,
        });
        let length = (self.least_bytes.is_some() || self.most_bytes.is_some()).then_some(
            ast::Test::Length {
                min: self.least_bytes.unwrap_or(0),
                max: self.most_bytes,
            },
        );
        let regex = strings(&self.regex);
        let tests = [
            texts(&self.is, ast::Test::Exact),
            texts(&self.begins, ast::Test::Prefix),
            texts(&self.ends, ast::Test::Suffix),
            texts(&self.contains, ast::Test::Contains),
            texts(&regex, ast::Test::Regex),
            (!self.within.is_empty()).then(|| ast::Test::Network(self.within.clone())),
            range,
            length,
        ];
        let test = |test| ast::Condition::Test {
            fetch: fetch.clone(),
            test,
            ignore_case: self.ignore_case,
        };
        let mut any: Vec<_> = tests.into_iter().flatten().map(test).collect();
        match any.len() {
            0 => test(ast::Test::Exists),
            1 => any.pop().unwrap_or_default(),
            _ => ast::Condition::Any(any),
        }
    }
}

/// An action with the key that asks for it.
type Keyed = (&'static str, ast::Action);

impl Actions {
    /// As the rule engine wants them, each with the key that asks for it, in the order in which they
    /// are documented: variables, path, host, headers, answer.
    pub(crate) fn keyed(&self) -> Vec<Keyed> {
        let mut out = Vec::new();
        for (name, value) in &self.set_variables {
            let (name, value) = (name.as_str().to_owned(), template(value));
            out.push(("set_variables", ast::Action::SetVariable { name, value }));
        }
        if let Some(server) = &self.use_server {
            let (name, value) = ("use_server".to_owned(), template(server));
            out.push(("use_server", ast::Action::SetVariable { name, value }));
        }
        self.tables(&mut out);
        if let Some(body) = &self.read_body {
            let wait = ast::BodyWait {
                time: body.time,
                from_start: body.from_start,
                at_least: body.at_least,
            };
            out.push(("read_body", ast::Action::ReadBody(wait)));
        }
        if let Some(method) = &self.set_method {
            out.push(("set_method", ast::Action::SetMethod(template(method))));
        }
        if let Some(from) = &self.client_from {
            let header = from.header.as_ref();
            let action = ast::Action::ClientFrom(ast::ClientFrom {
                source: match header.map(|name| name.as_str().to_owned()) {
                    Some(name) => ast::ClientSource::Header(name),
                    None if from.proxy_header => ast::ClientSource::ProxyHeader,
                    None => ast::ClientSource::Connection,
                },
                trusted: from.trusted.clone(),
                trusts_unix: from.trusted_unix,
                recursive: from.recursive,
            });
            out.push(("client_from", action));
        }
        self.limits(&mut out);
        self.path(&mut out);
        if let Some(host) = &self.set_host {
            out.push(("set_host", ast::Action::SetHost(template(host))));
        }
        self.headers(&mut out);
        self.answer(&mut out);
        out
    }

    /// Who may go on, and what answers in place of a server.
    fn answer(&self, out: &mut Vec<Keyed>) {
        if let Some(auth) = &self.basic_auth {
            let action = ast::Action::BasicAuth {
                realm: auth.realm.as_str().to_owned(),
                users: users(&auth.users),
            };
            out.push(("basic_auth", action));
        }
        if let Some(ask) = &self.ask {
            let set = ask.set.iter();
            let set = set.map(|(name, text)| (name.as_str().to_owned(), template(text)));
            let action = ast::Action::Ask {
                path: ask.path.clone(),
                set: set.collect(),
            };
            out.push(("ask", action));
        }
        for mirror in &self.mirror {
            let action = ast::Action::Mirror {
                path: mirror.path.clone(),
                body: mirror.body,
            };
            out.push(("mirror", action));
        }
        if let Some(page) = &self.status_page {
            let action = ast::Action::StatusPage(ast::StatusPage {
                refresh_seconds: page.refresh.map_or(0, |time| time.as_secs()),
                scope: page.scope.clone(),
                counters: page.counters,
                hides_version: page.hide_version,
                node: page.node.clone(),
                description: page.description.clone(),
                admin: page.admin,
            });
            out.push(("status_page", action));
        }
        if let Some(redirect) = &self.redirect {
            let action = ast::Action::Redirect {
                status: redirect.status,
                location: template(&redirect.to),
                base: redirect.base.as_ref().map(template),
                headers: fields(&redirect.headers),
            };
            out.push(("redirect", action));
        }
        if let Some(reply) = self.reply.as_ref().filter(|reply| reply.page) {
            let status = reply.status;
            out.push(("reply", ast::Action::ErrorPage { status }));
        } else if let Some(reply) = &self.reply {
            let action = ast::Action::Reply {
                status: reply.status,
                content_type: reply.content_type.as_str().to_owned(),
                body: match &reply.template {
                    Some(text) => ast::Template::parse(text.as_str())
                        .unwrap_or_else(|_| ast::Template::literal(text.as_str())),
                    None => ast::Template::literal(&reply.body),
                },
                headers: fields(&reply.headers),
            };
            out.push(("reply", action));
        }
        if let Some(files) = &self.files {
            out.push(("files", files.lowered()));
        }
        if let Some(status) = self.deny {
            out.push(("deny", ast::Action::Deny { status }));
        }
        if self.drop {
            out.push(("drop", ast::Action::Drop));
        }
        if self.reroute {
            out.push(("reroute", ast::Action::Reroute));
        }
        if self.finish {
            out.push(("finish", ast::Action::Finish));
        }
    }

    fn limits(&self, out: &mut Vec<Keyed>) {
        if let Some(limiting) = &self.rate_limit {
            let uses = limiting.limits.iter().map(|one| ast::LimitUse {
                limit: format!("rate {}", one.limit),
                most: one.burst,
                undelayed: one.undelayed,
            });
            let action = ast::Action::Limit {
                uses: uses.collect(),
                status: limiting.status,
                dry_run: limiting.dry_run,
                of_rate: true,
            };
            out.push(("rate_limit", action));
        }
        if let Some(limiting) = &self.concurrency_limit {
            let uses = limiting.limits.iter().map(|one| ast::LimitUse {
                limit: format!("concurrency {}", one.limit),
                most: one.most,
                undelayed: 0,
            });
            let action = ast::Action::Limit {
                uses: uses.collect(),
                status: limiting.status,
                dry_run: limiting.dry_run,
                of_rate: false,
            };
            out.push(("concurrency_limit", action));
        }
    }

    fn path(&self, out: &mut Vec<Keyed>) {
        if let Some(prefix) = &self.strip_prefix {
            let action = ast::Action::RewritePrefix {
                from: prefix.as_str().to_owned(),
                to: ast::Template::literal("/"),
            };
            out.push(("strip_prefix", action));
        }
        if let Some(path) = &self.set_path {
            out.push(("set_path", ast::Action::SetPath(template(path))));
        }
        if let Some(query) = &self.set_query {
            out.push(("set_query", ast::Action::SetQuery(template(query))));
        }
        if let Some(target) = &self.set_target {
            out.push(("set_target", ast::Action::SetTarget(template(target))));
        }
        let Some(rewrite) = &self.rewrite else { return };
        if let Some(prefix) = &rewrite.prefix {
            let action = ast::Action::RewritePrefix {
                from: prefix.as_str().to_owned(),
                to: template(&rewrite.to),
            };
            out.push(("rewrite", action));
        }
        if let Some(regex) = &rewrite.regex {
            let action = ast::Action::RewriteRegex {
                pattern: regex.as_str().to_owned(),
                replacement: template(&rewrite.to),
            };
            out.push(("rewrite", action));
        }
    }

    /// Headers: removed first, so that one may be removed and added.
    fn headers(&self, out: &mut Vec<Keyed>) {
        let own = |name: &HeaderName| name.as_str().to_owned();
        if self.with_response {
            out.push(("with_response", ast::Action::WithResponse));
        }
        if self.own_replies {
            out.push(("own_replies", ast::Action::ForReplies));
        }
        if self.empty_headers {
            out.push(("empty_headers", ast::Action::WriteEmpty));
        }
        for (response, key, patterns) in [
            (
                false,
                "remove_request_headers_like",
                &self.remove_request_headers_like,
            ),
            (
                true,
                "remove_response_headers_like",
                &self.remove_response_headers_like,
            ),
        ] {
            for pattern in patterns {
                let pattern = pattern.as_str().to_owned();
                out.push((key, ast::Action::RemoveHeadersLike { response, pattern }));
            }
        }
        for name in &self.remove_request_headers {
            let action = ast::Action::RemoveRequestHeader(own(name));
            out.push(("remove_request_headers", action));
        }
        for (name, value) in &self.set_request_headers {
            let (name, value) = (own(name), template(value));
            let action = ast::Action::SetRequestHeader { name, value };
            out.push(("set_request_headers", action));
        }
        for (name, value) in &self.add_request_headers {
            let (name, value) = (own(name), template(value));
            let action = ast::Action::AddRequestHeader { name, value };
            out.push(("add_request_headers", action));
        }
        for replacement in &self.replace_request_headers {
            out.push(("replace_request_headers", replacement.lowered(false)));
        }
        for replacement in &self.replace_response_headers {
            out.push(("replace_response_headers", replacement.lowered(true)));
        }
        if let Some(status) = self.set_status {
            out.push(("set_status", ast::Action::SetStatus(status)));
        }
        for name in &self.remove_response_headers {
            let action = ast::Action::RemoveResponseHeader(own(name));
            out.push(("remove_response_headers", action));
        }
        for (name, value) in &self.set_response_headers {
            let (name, value) = (own(name), template(value));
            let action = ast::Action::SetResponseHeader { name, value };
            out.push(("set_response_headers", action));
        }
        for (name, value) in &self.add_response_headers {
            let (name, value) = (own(name), template(value));
            let action = ast::Action::AddResponseHeader { name, value };
            out.push(("add_response_headers", action));
        }
    }
}

/// A value that was checked when it was read.
fn fetch(text: &FetchText) -> ast::Fetch {
    ast::Fetch::parse(text.as_str()).unwrap_or_else(|_| ast::Fetch::Literal(text.to_string()))
}

impl Actions {
    fn tables(&self, out: &mut Vec<Keyed>) {
        for track in &self.track {
            let action = ast::Action::Track {
                counter: track.counter,
                table: track.table.clone(),
                key: fetch(&track.key),
                of_connection: track.until == TrackUntil::Connection,
            };
            out.push(("track", action));
        }
        for tally in &self.tally {
            let Ok((datum, index)) = datum(tally.what.as_str()) else {
                continue;
            };
            let sets = tally.set.is_some();
            let value = tally.set.as_ref().or(tally.add.as_ref());
            let action = ast::Action::Tally {
                counter: tally.counter,
                datum,
                index,
                value: value.map_or_else(|| ast::Template::literal("1"), template),
                sets,
            };
            out.push(("tally", action));
        }
        if let Some(persist) = self.persist {
            let persist = match persist {
                Persistence::Force => ast::Persist::Force,
                Persistence::Ignore => ast::Persist::Ignore,
            };
            out.push(("persist", ast::Action::Persist(persist)));
        }
        for stick in &self.stick {
            let (table, key) = (stick.table.clone(), fetch(&stick.key));
            if stick.find {
                let (table, key) = (table.clone(), key.clone());
                out.push(("stick", ast::Action::StickMatch { table, key }));
            }
            if stick.store {
                out.push(("stick", ast::Action::StickStore { table, key }));
            }
        }
    }
}

impl Replacement {
    fn lowered(&self, response: bool) -> ast::Action {
        ast::Action::ReplaceHeader {
            response,
            name: self.header.as_str().to_owned(),
            pattern: self.regex.as_str().to_owned(),
            replacement: template(&self.to),
            items: self.items,
        }
    }
}

fn users(pairs: &Pairs<HeaderValue, String>) -> ast::Users {
    let user =
        |(name, password): &(HeaderValue, String)| (name.as_str().to_owned(), password.clone());
    pairs.iter().map(user).collect()
}

/// Headers of an answer.
pub(crate) fn fields(pairs: &Pairs<HeaderName, TemplateText>) -> Vec<(String, ast::Template)> {
    let field =
        |(name, value): &(HeaderName, TemplateText)| (name.as_str().to_owned(), template(value));
    pairs.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_checked() {
        for good in ["", "plain", "${host}", "a${path}b$$", "${header:x-a}", "$1"] {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        for bad in [
            "$",
            "$x",
            "${",
            "${host",
            "${}",
            "${hots}",
            "${header:}",
            "${x:y}",
        ] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
        let hint = |text| check_template(text).unwrap_err().hint.unwrap();
        assert_eq!(hint("a ${hots}"), "did you mean `host`?");
        assert_eq!(hint("${heder:x}"), "did you mean `header`?");
    }

    #[test]
    fn rules_and_routes_compile_in_the_engine() {
        let text = "[listener.web]\nbind = \":80\"\n\
            [[listener.web.rule]]\nwhen = { path = [\"/a/\", \"~ ^/b\"], not = { source = \"10.0.0.0/8\" }, \
            any = [{ host = \"*.x.test\" }, { header = { x-a = false } }], all = { method = \"GET\" } }\ndeny = 403\n\
            [[route]]\nhost = \"a.test\"\nbackend = \"app\"\nstrip_prefix = \"/a\"\n\
            rewrite = { regex = \"^/(.*)$\", to = \"/b/$1\" }\nset_host = \"${host}\"\n\
            set_variables = { v = \"${client_ip}\" }\nset_request_headers = { x-v = \"${var:v}\" }\n\
            remove_response_headers = \"server\"\n[backend.app]\nservers = \"h:1\"\n";
        let loaded = crate::parse("t", text);
        assert_eq!(loaded.diagnostics, []);
        let listener = &loaded.config.listeners[0];
        assert!(matches!(listener.program(&Default::default()), Ok(Some(_))));
        let ast::Condition::All(all) = listener.rules[0].when.lowered() else {
            panic!("{listener:?}")
        };
        assert_eq!(all.len(), 4);
        let route = &loaded.config.routes[0];
        let actions = route.actions.keyed();
        assert_eq!(actions.len(), 6, "{actions:?}");
        assert!(matches!(route.program(&Default::default()), Ok(Some(_))));
        assert!(crate::router(&[route], &Default::default()).is_ok());
    }
}
