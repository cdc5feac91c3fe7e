//! Locations: an ordered list of routes that takes the same one as NGINX would.

use std::time::Duration;

use clearway_rules::ast::Fetch;

use super::super::notes::Notes;
use super::places::{self, Kind, Place, simple};
use super::rewrite::{self, Answered, Rules};
use super::values::Names;
use super::{Http, text_of};
use crate::diagnostic::{Origin, Origins};
use crate::lower::build::{all_of, not, rule, test_of, value};
use crate::model::{
    Actions, BodyText, Condition, Config, HeaderName, HeaderValue, Pairs, RegexText, Reply, Route,
    Rule, StatusPage, TemplateText, ValueTest,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// What all routes of a server have in common.
pub(super) struct Common {
    /// Hosts, listeners and other conditions.
    pub(super) route: Route,
    pub(super) names: Names,
    /// The place of the first of its routes.
    pub(super) first: usize,
    /// Whether the server finds out by itself who the client is.
    pub(super) finds_client: bool,
}

/// What routes are made from and put into.
pub(super) struct Work<'w> {
    pub(super) common: &'w Common,
    pub(super) http: &'w Http<'w>,
    pub(super) config: &'w mut Config,
    pub(super) notes: &'w mut Notes,
}

/// The routes of a server, in the order in which they are to be tried.
pub(super) fn routes(server: &Directive, scope: &Scope<'_>, work: &mut Work<'_>) {
    let places = places::in_order(server, scope, work.notes);
    let is_inexact = |place: &Place<'_>| !matches!(place.kind, Kind::Named | Kind::Exact);
    let inexact = places.iter().position(is_inexact);
    for (index, place) in places.iter().enumerate() {
        if Some(index) == inexact {
            slashes(&places, work);
        }
        work.notes
            .begin(place.directive.origin(), text_of(place.directive));
        let Some(condition) = condition(place, work.notes) else {
            continue;
        };
        let condition = all_of(vec![place.outer.clone(), condition]);
        let mut names = work.common.names.clone();
        if let Kind::Regex { .. } = place.kind {
            names.learn_groups(&place.path);
        }
        let with = (place.scope.clone(), place.directive.inner(), names);
        let prefix = matches!(place.kind, Kind::Prefix | Kind::Final | Kind::Exact);
        let prefix = prefix.then_some(place.path.as_str());
        route(with, (condition, prefix), &place.directive.origin(), work);
    }
    // What no location takes.
    let rest = (scope.clone(), &[][..], work.common.names.clone());
    let any = (Condition::default(), Some("/"));
    route(rest, any, &server.origin(), work);
}

/// The one route of a server whose own rules answer everything.
pub(super) fn whole(server: &Directive, scope: &Scope<'_>, rules: Vec<Rule>, work: &mut Work<'_>) {
    let mut names = work.common.names.clone();
    super::learn_place(scope, Some("/"), &mut names);
    let mut route = Route {
        origins: Origins::new(server.origin()),
        ..work.common.route.clone()
    };
    route.rules = rules;
    finish(scope, &names, &mut route, work);
    work.config.routes.push(route);
}

/// The route of an answer that rules of the server lead to.
pub(super) fn answer(server: &Directive, scope: &Scope<'_>, answer: Answered, work: &mut Work<'_>) {
    let mut names = work.common.names.clone();
    super::learn_place(scope, Some("/"), &mut names);
    let is_here = value(ValueTest {
        is: vec![answer.name],
        ..test_of(&Fetch::Variable("goto".to_owned()))
    });
    let mut route = Route {
        when: all_of(vec![work.common.route.when.clone(), is_here]),
        origins: Origins::new(server.origin()),
        ..work.common.route.clone()
    };
    route.rules = vec![answer.rule];
    finish(scope, &names, &mut route, work);
    work.config.routes.insert(work.common.first, route);
}

/// What lacks only the slash of a location that is passed on is redirected there.
fn slashes(places: &[Place<'_>], work: &mut Work<'_>) {
    for place in places {
        let is_passed = place.directive.inner().iter().any(|d| d.is("proxy_pass"));
        let is_prefix = matches!(place.kind, Kind::Prefix | Kind::Final);
        let bare = place.path.strip_suffix('/').filter(|bare| !bare.is_empty());
        let Some(bare) = bare.filter(|_| is_passed && is_prefix) else {
            continue;
        };
        let to = format!("{}$is_args$args", place.path);
        let mut names = work.common.names.clone();
        super::learn_place(&place.scope, None, &mut names);
        let (Some(own), Ok(redirect)) = (
            simple(&Kind::Exact, bare),
            rewrite::redirect(&to, 301, &names),
        ) else {
            continue;
        };
        let origin = place.directive.origin();
        let mut route = Route {
            when: all_of(vec![
                work.common.route.when.clone(),
                place.outer.clone(),
                own,
            ]),
            origins: Origins::new(origin.clone()),
            ..work.common.route.clone()
        };
        route.actions.redirect = Some(redirect);
        route.origins.set("redirect", origin);
        work.config.routes.push(route);
    }
}

/// That the path is that of a location; `None` where its pattern cannot be used, which is told.
fn condition(place: &Place<'_>, notes: &mut Notes) -> Option<Condition> {
    let own = simple(&place.kind, &place.path);
    if own.is_none() {
        let problem = RegexText::parse(&place.path).err();
        let hint = problem
            .map(|p| p.hint.unwrap_or(p.message))
            .unwrap_or_default();
        notes.refused(format!("the pattern cannot be used: {hint}"));
    }
    own
}

/// Puts one route into the model, and those of its `if`s before all others.
fn route(
    (scope, block, mut names): (Scope<'_>, &[Directive], Names),
    (condition, prefix): (Condition, Option<&str>),
    origin: &Origin,
    work: &mut Work<'_>,
) {
    let common = work.common;
    super::learn(block, &mut names);
    super::learn_place(&scope, prefix, &mut names);
    if scope.find("secure_link").is_some() {
        let own = super::links::VARIABLES.iter();
        names.variables.extend(own.map(|name| (*name).to_owned()));
    }
    let hosts = names.hosts.clone();
    let referers = scope.all("valid_referers");
    if let Err(message) = super::tables::referers(&referers, &hosts, &mut names, work.config) {
        work.notes.refused(message);
    }
    let mut route = Route {
        when: all_of(vec![common.route.when.clone(), condition]),
        origins: Origins::new(origin.clone()),
        ..common.route.clone()
    };
    let mut rules = Rules::default();
    rewrite::read(block, &names, &mut rules, work.notes);
    if !rules.ends {
        rewrite::to_places(&mut rules, origin);
    }
    if rules.reroutes {
        rules.rules.extend(rewrite::reroute(origin));
    }
    route.rules = internal(block).into_iter().collect();
    route
        .rules
        .extend(super::links::rules(&scope, &names, work.notes));
    route.rules.append(&mut rules.rules);
    let more = super::more::of_requests(&scope, &names, work.notes);
    route.rules.extend(more);
    if !rules.ends {
        answers((&scope, block), prefix, &names, &mut route, work);
    }
    finish(&scope, &names, &mut route, work);
    work.config.routes.push(route);
    for place in rules.places {
        inner((&scope, block), &place, prefix, &names, work);
    }
}

/// Who may, and what answers.
fn answers(
    (scope, block): (&Scope<'_>, &[Directive]),
    prefix: Option<&str>,
    names: &Names,
    route: &mut Route,
    work: &mut Work<'_>,
) {
    // A client is found once, by what the server says or else by what the place says.
    let of_server = work.common.finds_client;
    let client = (!of_server).then(|| super::access::real_ip(scope, work.notes));
    route.rules.extend(client.flatten());
    // A place that is asked whether others may go on.
    let asked = prefix.is_some_and(|prefix| work.http.asked.contains(&prefix));
    route.rules.extend(super::limits::rules(scope, work.notes));
    route.rules.extend(super::access::rules(
        scope,
        block,
        (names, asked),
        work.notes,
    ));
    route
        .rules
        .extend(super::access::mirrors(scope, work.notes));
    content((scope, block), prefix, names, route, work);
}

/// What holds for whatever answers.
fn finish(scope: &Scope<'_>, names: &Names, route: &mut Route, work: &mut Work<'_>) {
    route.rules.extend(super::headers::response_headers(
        scope,
        names,
        work.config,
        work.notes,
    ));
    let more = super::more::of_responses(scope, names, work.notes);
    route.rules.extend(more);
    route.rules.extend(super::more::charset(scope, work.notes));
    route.access_logs = super::logs::of(scope, names, work.notes);
    let (turns, routes) = super::files::error_pages(scope, names, work.notes);
    route.on_error = turns;
    limits(scope, route, work.notes);
    super::bodies::read(scope, names, route, work.notes);
    for mut other in routes {
        let own = all_of(vec![work.common.route.when.clone(), other.when.clone()]);
        other.when = own;
        other.matching = work.common.route.matching.clone();
        other.access_logs.clone_from(&route.access_logs);
        let known = work.config.routes.iter().skip(work.common.first);
        if known.into_iter().all(|known| known.when != other.when) {
            work.config.routes.insert(work.common.first, other);
        }
    }
}

/// The place that the block of an `if` is: what it does not say itself is that of the location.
fn inner(
    (scope, block): (&Scope<'_>, &[Directive]),
    place: &rewrite::Inner<'_>,
    prefix: Option<&str>,
    names: &Names,
    work: &mut Work<'_>,
) {
    let directive = place.directive;
    let own = directive.inner();
    let scope = scope.inside(own);
    let mut names = names.clone();
    super::learn_place(&scope, prefix, &mut names);
    let is_here = value(ValueTest {
        is: vec![place.name.clone()],
        ..test_of(&Fetch::Variable("goto".to_owned()))
    });
    let mut route = Route {
        when: all_of(vec![work.common.route.when.clone(), is_here]),
        origins: Origins::new(directive.origin()),
        ..work.common.route.clone()
    };
    route.rules.clone_from(&place.answers);
    if place.answers.is_empty() {
        // What answers in the location answers here too, unless the block names somebody else.
        let passes = |block: &[Directive]| {
            let mut words = block.iter().map(|inner| inner.name.text.as_str());
            words.any(|word| word.ends_with("_pass"))
        };
        let block = if passes(own) { own } else { block };
        answers((&scope, block), prefix, &names, &mut route, work);
    }
    finish(&scope, &names, &mut route, work);
    work.config.routes.insert(work.common.first, route);
}

/// `internal`: what comes from outside is not found.
fn internal(block: &[Directive]) -> Option<Rule> {
    let directive = block.iter().find(|directive| directive.is("internal"))?;
    let test = ValueTest {
        is: vec!["1".to_owned()],
        ..test_of(&Fetch::Variable("rerouted".to_owned()))
    };
    let actions = Actions {
        deny: Some(404),
        ..Actions::default()
    };
    Some(rule(not(value(test)), actions, "deny", &directive.origin()))
}

/// What answers: another server, files, or nothing.
fn content(
    (scope, block): (&Scope<'_>, &[Directive]),
    prefix: Option<&str>,
    names: &Names,
    route: &mut Route,
    work: &mut Work<'_>,
) {
    let pass = block.iter().find(|directive| directive.is("proxy_pass"));
    if let Some(directive) = pass {
        work.notes.begin(directive.origin(), text_of(directive));
        tries(block, names, route, work.notes);
        work.notes.begin(directive.origin(), text_of(directive));
        if let Err(message) = super::proxy::pass(directive, scope, prefix, names, route, work) {
            work.notes.refused(message);
        }
        return;
    }
    let is_gateway = |d: &&Directive| super::gateway::NAMES.contains(&d.name.text.as_str());
    if let Some(directive) = block.iter().find(is_gateway) {
        tries(block, names, route, work.notes);
        work.notes.begin(directive.origin(), text_of(directive));
        if let Err(message) = super::gateway::pass(directive, scope, names, route, work) {
            work.notes.refused(message);
        }
        return;
    }
    let other = ["memcached_pass"];
    if let Some(directive) = block.iter().find(|inner| inner.is("stub_status")) {
        read_alone(directive, route);
        route.actions.status_page = Some(StatusPage {
            counters: true,
            ..StatusPage::default()
        });
        route.origins.set("status_page", directive.origin());
        return;
    }
    if let Some(directive) = block.iter().find(|inner| inner.is("empty_gif")) {
        read_alone(directive, route);
        let picture = format!("${{text:{PICTURE}|b64dec}}");
        route.actions.reply = Some(Reply {
            content_type: HeaderValue::parse("image/gif").unwrap_or_default(),
            template: BodyText::parse(&picture).ok(),
            headers: Pairs(
                HeaderName::parse("Last-Modified")
                    .ok()
                    .zip(TemplateText::parse("Mon, 28 Sep 1970 06:00:00 GMT").ok())
                    .into_iter()
                    .collect(),
            ),
            ..Reply::default()
        });
        route.origins.set("reply", directive.origin());
        return;
    }
    if block
        .iter()
        .any(|directive| other.contains(&directive.name.text.as_str()))
    {
        route.actions.deny = Some(503);
        route.origins.set("deny", route.origins.section().clone());
        return;
    }
    if let Some(files) = super::files::files(scope, prefix, names, work.notes) {
        route.origins.set("files", files.origin().clone());
        route.actions.files = Some(files);
        return;
    }
    route.actions.deny = Some(404);
    let origin = route.origins.section().clone();
    route.origins.set("deny", origin);
}

/// A picture of one transparent point, in Base64.
const PICTURE: &str = "R0lGODlhAQABAIABAAAAAP///yH5BAEAAAEALAAAAAABAAEAQAICTAEAOw==";

/// Methods other than GET and HEAD are not allowed.
fn read_alone(directive: &Directive, route: &mut Route) {
    let reads = value(ValueTest {
        is: vec!["GET".to_owned(), "HEAD".to_owned()],
        ..test_of(&Fetch::Method)
    });
    let actions = Actions {
        deny: Some(405),
        ..Actions::default()
    };
    let refusal = rule(not(reads), actions, "deny", &directive.origin());
    route.rules.push(refusal);
}

/// `try_files` of a place that passes on.
fn tries(block: &[Directive], names: &Names, route: &mut Route, notes: &mut Notes) {
    let Some(directive) = block.iter().find(|directive| directive.is("try_files")) else {
        return;
    };
    notes.begin(directive.origin(), text_of(directive));
    if let Err(message) = super::gateway::tries(directive, names, route) {
        notes.refused(message);
    }
}

fn limits(scope: &Scope<'_>, route: &mut Route, notes: &mut Notes) {
    for name in ["limit_rate", "limit_rate_after", "proxy_limit_rate"] {
        if let Some(directive) = scope.find(name)
            && directive.texts().any(|text| text.contains('$'))
        {
            notes.begin(directive.origin(), text_of(directive));
            notes.ineffective("a rate that depends on the request is none here");
        }
    }
    route.limits.body_bytes = Some(scope.size("client_max_body_size", 1 << 20).value);
    let after = scope.size("limit_rate_after", 0).value;
    let rates = [
        scope.size("limit_rate", 0).value,
        scope.size("proxy_limit_rate", 0).value,
    ];
    // What comes of the server more slowly goes to the client more slowly.
    if let Some(rate) = rates.into_iter().filter(|rate| *rate > 0).min() {
        route.limits.response_rate = Some(rate);
    }
    if after > 0 {
        route.limits.response_rate_after = Some(after);
    }
    let minute = Duration::from_secs(60);
    route.timeouts.request_body = Some(scope.time("client_body_timeout", minute).value);
    route.timeouts.client_write = Some(scope.time("send_timeout", minute).value);
}
