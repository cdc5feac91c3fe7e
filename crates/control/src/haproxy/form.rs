//! The form on the page of statistics: it changes states of servers, and answers with a redirection to the
//! page that says what came of it.

use std::sync::Arc;

use clearway_http::uri;
use clearway_proxy::board::EJECTED;
use clearway_proxy::plan::ServerPlan;
use clearway_proxy::status::Posted;
use clearway_rules::LocalReply;
use clearway_rules::ast::StatusPage;

use super::{change, page};
use crate::health::verdict::{Order, Source, Word};
use crate::state::{ServerAction, State};

/// Longest form, in bytes.
const FORM_MAX: usize = 16_384;

/// What can be done with servers, with what the form says of it.
const ACTIONS: [(&str, Action, &str); 17] = [
    (
        "ready",
        Action::Set(ServerAction::Ready),
        "set state to READY",
    ),
    (
        "drain",
        Action::Set(ServerAction::Drain),
        "set state to DRAIN",
    ),
    (
        "maint",
        Action::Set(ServerAction::Maintenance),
        "set state to MAINT",
    ),
    (
        "dhlth",
        Action::Tell(Source::Check, Order::Pause),
        "health: disable checks",
    ),
    (
        "ehlth",
        Action::Tell(Source::Check, Order::Resume),
        "health: enable checks",
    ),
    (
        "hrunn",
        Action::Force(Source::Check, Word::Up),
        "health: force UP",
    ),
    (
        "hnolb",
        Action::Force(Source::Check, Word::Stopping),
        "health: force NOLB",
    ),
    (
        "hdown",
        Action::Force(Source::Check, Word::Down),
        "health: force DOWN",
    ),
    (
        "dagent",
        Action::Tell(Source::Agent, Order::Pause),
        "agent: disable checks",
    ),
    (
        "eagent",
        Action::Tell(Source::Agent, Order::Resume),
        "agent: enable checks",
    ),
    (
        "arunn",
        Action::Tell(Source::Agent, Order::Force(Word::Up)),
        "agent: force UP",
    ),
    (
        "adown",
        Action::Tell(Source::Agent, Order::Force(Word::Down)),
        "agent: force DOWN",
    ),
    ("shutdown", Action::Cut, "end sessions"),
    // Older words, which scripts know.
    ("enable", Action::Set(ServerAction::Ready), ""),
    ("disable", Action::Set(ServerAction::Maintenance), ""),
    ("start", Action::Set(ServerAction::Ready), ""),
    ("stop", Action::Set(ServerAction::Drain), ""),
];

/// What came of a form, with what the page says of it.
const OUTCOMES: [(&str, &str); 7] = [
    ("DONE", "The action was done."),
    ("NONE", "Nothing has changed."),
    ("PART", "The action was done with some of the servers."),
    (
        "ERRP",
        "The action could not be done: what was sent names no server, or nothing known.",
    ),
    (
        "EXCD",
        "The action could not be done: the form is too long.",
    ),
    ("DENY", "The action was denied."),
    ("UNKN", "Something unexpected has come of it."),
];

#[derive(Clone, Copy)]
enum Action {
    Set(ServerAction),
    /// Somebody who looks after the server is told something, if there is anybody.
    Tell(Source, Order),
    /// The same, also of servers after which nobody looks.
    Force(Source, Word),
    Cut,
}

/// What the page says of the outcome that stands in a target.
pub(super) fn outcome(words: &str) -> Option<&'static str> {
    let code = words.split(';').find_map(|word| word.strip_prefix("st="))?;
    let code = code.split('?').next().unwrap_or_default();
    let found = OUTCOMES.iter().find(|(known, _)| *known == code);
    found.map(|(_, words)| *words)
}

/// Ends a form on a backend: what to do with the servers that are ticked.
pub(super) fn controls(proxy: u32, out: &mut String) {
    out.push_str(
        "<p>With the servers ticked: <select name=\"action\"><option value=\"\"></option>",
    );
    for (word, _, says) in ACTIONS.iter().filter(|(_, _, says)| !says.is_empty()) {
        out.push_str(&format!("<option value=\"{word}\">{says}</option>"));
    }
    out.push_str(&format!(
        "</select><input type=\"hidden\" name=\"b\" value=\"#{proxy}\"> \
         <input type=\"submit\" value=\"Apply\"></p></form>\n"
    ));
}

/// Does what a form says.
pub(super) async fn obey(
    state: &State,
    page: &StatusPage,
    target: &[u8],
    posted: Posted,
) -> LocalReply {
    let code = match posted {
        Posted::Foreign => "DENY",
        _ if !page.admin => "DENY",
        Posted::TooLong => "EXCD",
        Posted::Form(form) if form.len() > FORM_MAX => "EXCD",
        Posted::Form(form) => act(state, &form).await,
    };
    let place = place(&String::from_utf8_lossy(target), code);
    let mut reply = page::reply(303, "text/plain", String::new());
    // There is no content.
    reply.headers.truncate(2);
    reply
        .headers
        .push(("Location".to_owned(), place.into_bytes()));
    reply
}

/// Where the page is that says what came of it, looked at as before.
fn place(target: &str, code: &str) -> String {
    let (before, words) = target.split_once(';').unwrap_or((target, ""));
    let (words, behind) = words.split_once('?').unwrap_or((words, ""));
    let (path, query) = before.split_once('?').unwrap_or((before, ""));
    let is_scope = |part: &&str| part.starts_with("scope=");
    let kept: Vec<&str> = query.split('&').filter(|part| !is_scope(part)).collect();
    let mut place = path.to_owned();
    if !kept.concat().is_empty() {
        place.push_str(&format!("?{}", kept.join("&")));
    }
    place.push_str(&format!(";st={code}"));
    for word in ["up", "norefresh"] {
        if words.split(';').any(|known| known == word) {
            place.push_str(&format!(";{word}"));
        }
    }
    let mut scopes = behind.split('&').chain(query.split('&'));
    if let Some(scope) = scopes.find(is_scope) {
        place.push_str(&format!("?{scope}"));
    }
    place
}

/// Does what the fields of a form say; the code of what came of it.
async fn act(state: &State, form: &[u8]) -> &'static str {
    let fields: Vec<(String, String)> = form
        .split(|byte| *byte == b'&')
        .filter(|field| !field.is_empty())
        .map(|field| {
            let field = String::from_utf8_lossy(field);
            let (name, value) = field.split_once('=').unwrap_or((&field, ""));
            (decoded(name), decoded(value))
        })
        .collect();
    let field = |name: &str| fields.iter().find(|(known, _)| known == name);
    let action = field("action").map(|(_, word)| {
        let found = ACTIONS.iter().find(|(known, _, _)| known == word);
        found.map(|(_, action, _)| *action)
    });
    let backend = field("b").map(|(_, name)| name.as_str());
    let servers = fields.iter().filter(|(name, _)| name == "s");
    let servers: Vec<&str> = servers.map(|(_, value)| value.as_str()).collect();
    let (Some(action), Some(backend)) = (action, backend) else {
        return if servers.is_empty() { "NONE" } else { "ERRP" };
    };
    let Some(action) = action else {
        return "ERRP";
    };
    let (mut tried, mut done) = (0_usize, 0_usize);
    for name in servers {
        match one(state, backend, name, action).await {
            Some(true) => {
                tried += 1;
                done += 1;
            }
            Some(false) => {}
            None => tried += 1,
        }
    }
    match (tried, done) {
        (0, _) => "NONE",
        (_, 0) => "ERRP",
        (tried, done) if done < tried => "PART",
        _ => "DONE",
    }
}

/// Does it with one server: whether there was anything to do; none when there is no such server.
async fn one(state: &State, backend: &str, name: &str, action: Action) -> Option<bool> {
    let (group, server) = change::find(state, backend, name)?;
    let key = (server.backend, server.address);
    Some(match action {
        Action::Set(action) => change::set(state, group, server.address.as_str(), action)
            .await
            .is_ok(),
        Action::Tell(source, order) => state.verdicts.order(key, source, order),
        Action::Force(source, word) => {
            if server.watch.track.is_some() {
                return Some(false);
            }
            if !state.verdicts.order(key, source, Order::Force(word)) {
                force(state, &server, source, word);
            }
            true
        }
        Action::Cut => {
            state.cut_sessions(&server);
            true
        }
    })
}

/// Takes the operator's word on a server after which nobody looks.
fn force(state: &State, server: &Arc<ServerPlan>, source: Source, word: Word) {
    let key = (server.backend, server.address);
    if state.judge(key, source, word) {
        let to = match word {
            Word::Up => "up",
            Word::Stopping => "stopping",
            Word::Down => "down",
        };
        state.tell(key, to, format!("{to} by the operator's word"));
    }
    if word == Word::Up {
        state.set_flags(key, 0, EJECTED);
    }
}

/// A field as it is sent, decoded.
fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let mut out = Vec::new();
    uri::decode(spaced.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_found_in_targets() {
        assert_eq!(outcome("st=DENY;up"), Some("The action was denied."));
        assert_eq!(outcome("csv"), None);
        assert_eq!(outcome("st=<b>"), None);
    }

    #[test]
    fn the_page_is_looked_at_as_before() {
        assert_eq!(place("/haproxy?stats", "DONE"), "/haproxy?stats;st=DONE");
        assert_eq!(place("/s?scope=we", "PART"), "/s;st=PART?scope=we");
        let all = place("/s;st=NONE;norefresh;up?scope=a", "DONE");
        assert_eq!(all, "/s;st=DONE;up;norefresh?scope=a");
    }

    #[test]
    fn fields_are_decoded() {
        assert_eq!(decoded("%232+a"), "#2 a");
    }
}
