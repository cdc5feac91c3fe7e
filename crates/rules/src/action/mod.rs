//! Actions, compiled. One file per family; the list is the match in [`compile`].

mod answer;
pub(crate) mod ask;
mod auth;
mod client;
mod files;
mod header;
mod limit;
pub(crate) mod mirror;
mod page;
pub(crate) mod path;
mod table;
mod variable;

pub use page::Page;

use std::sync::Arc;

use clearway_http::Edits;

use crate::ast::{Action, Persist, Since, StatusPage, Template};
use crate::compile::Compiler;
use crate::fetch::Context;
use crate::scratch::Scratch;
use crate::view::{BodyWait, Flow, LocalReply, View};

/// Longest method that a rule may set, in bytes.
const METHOD_MAX: usize = 64;

/// Longest value that a rule may produce, in bytes.
const VALUE_MAX: usize = 16 << 10;

/// A compiled action.
#[derive(Debug)]
pub(crate) enum Step {
    Header(header::Header),
    Host(header::Host),
    Path(path::Rewrite),
    Variable(variable::Variable),
    Track(table::Track),
    Tally(table::Tally),
    Stick(table::Stick),
    Persist(Persist),
    Replace(header::Replace),
    RemoveLike(header::RemoveLike),
    Status(u16),
    Method(crate::fetch::Text),
    ReadBody(BodyWait),
    Answer(answer::Answer),
    Auth(auth::Auth),
    Client(client::Client),
    Limit(limit::Limit),
    Ask(Arc<ask::AskPlan>),
    Mirror(Arc<mirror::Mirror>),
    Page(Arc<StatusPage>),
    Files(files::Serve),
    Drop,
    Reroute,
    Finish,
}

impl Step {
    /// Does it.
    pub(crate) fn apply(&self, view: &View<'_>, scratch: &mut Scratch, edits: &mut Edits) -> Flow {
        let done = match self {
            Self::Header(step) => step.apply(view, scratch, edits),
            Self::Host(step) => step.apply(view, scratch, edits),
            Self::Path(step) => step.apply(view, scratch, edits),
            Self::Variable(step) => {
                step.apply(&view.with(edits), scratch);
                Ok(())
            }
            Self::Track(step) => {
                step.apply(&view.with(edits), scratch);
                Ok(())
            }
            Self::Tally(step) => {
                step.apply(&view.with(edits), scratch);
                Ok(())
            }
            Self::Persist(persist) => {
                scratch.set_persist(*persist);
                Ok(())
            }
            Self::Stick(step) => {
                step.apply(&view.with(edits), scratch);
                Ok(())
            }
            Self::Replace(step) => step.apply(&view.with(edits), scratch).write(edits),
            Self::RemoveLike(step) => {
                step.apply(view, edits);
                Ok(())
            }
            Self::Status(status) => {
                edits.set_status(*status);
                Ok(())
            }
            Self::Method(value) => method(value, view, scratch, edits),
            Self::ReadBody(wait) => return Flow::ReadBody(*wait),
            Self::Auth(step) => return step.apply(view),
            Self::Ask(plan) => return Flow::Ask(Arc::clone(plan)),
            Self::Mirror(mirror) => {
                scratch.add_mirror(Arc::clone(mirror));
                Ok(())
            }
            Self::Limit(step) => return step.apply(view, scratch),
            Self::Page(page) => return Flow::Page(Arc::clone(page)),
            Self::Files(step) => return step.to(&view.with(edits), scratch),
            Self::Client(step) => {
                step.apply(view, scratch);
                Ok(())
            }
            Self::Drop => return Flow::Drop,
            Self::Reroute => return Flow::Reroute,
            Self::Finish => return Flow::Finish,
            Self::Answer(step) => return Flow::Reply(step.to(&view.with(edits), scratch)),
        };
        match done {
            Ok(()) => Flow::Continue,
            Err(Invalid) => Flow::Reply(LocalReply::rewrite_invalid()),
        }
    }
}

/// Replaces the method by a value.
fn method(
    value: &crate::fetch::Text,
    view: &View<'_>,
    scratch: &mut Scratch,
    edits: &mut Edits,
) -> Result<(), Invalid> {
    scratch.lend(|scratch, room| {
        let value = value.render(&Context::for_templates(&view.with(edits), scratch), room);
        // A tunnel is no request that could be passed on.
        if value.len() > METHOD_MAX || value == b"CONNECT" || !header::is_token(value) {
            return Err(Invalid);
        }
        edits.set_method(value);
        Ok(())
    })
}

/// A rule yielded what HTTP does not allow.
#[derive(Debug)]
pub(crate) struct Invalid;

/// When an action can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// With the request only.
    Request,
    /// With the response only.
    Response,
    /// As early as what it needs is there.
    Either,
}

/// Compiles an action and says when it is done. `condition_needs` is what the condition of its rule
/// looks at in the response, if anything.
pub(crate) fn compile(
    action: &Action,
    condition_needs: Option<&str>,
    compiler: &mut Compiler<'_>,
) -> Result<(Since, Step), String> {
    let (done, needs) = compiler.asking(|compiler| step(action, compiler));
    let (when, step) = done?;
    let late = condition_needs.or(needs.response.as_deref());
    let since = match (when, late) {
        (When::Response, _) | (When::Either, Some(_)) => Since::Response,
        (When::Request | When::Either, None) => Since::Request,
        (When::Request, Some(fetch)) => {
            return Err(format!(
                "{fetch:?} is known only with the response, when the request cannot be changed any more"
            ));
        }
    };
    Ok((since, step))
}

/// The step of an action on headers.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only those on headers are brought here"
)]
fn header_step(action: &Action, compiler: &mut Compiler<'_>) -> Result<(When, Step), String> {
    use When::{Request, Response};
    use header::Operation::{Add, Remove, Set};
    let (when, operation, name, value) = match action {
        Action::SetRequestHeader { name, value } if name.eq_ignore_ascii_case("host") => {
            return host_step(value, compiler);
        }
        Action::SetRequestHeader { name, value } => (Request, Set, name, Some(value)),
        Action::AddRequestHeader { name, value } => (Request, Add, name, Some(value)),
        Action::RemoveRequestHeader(name) => (Request, Remove, name, None),
        Action::SetResponseHeader { name, value } => (Response, Set, name, Some(value)),
        Action::AddResponseHeader { name, value } => (Response, Add, name, Some(value)),
        Action::RemoveResponseHeader(name) => (Response, Remove, name, None),
        Action::ReplaceHeader {
            response,
            name,
            pattern,
            replacement,
            items,
        } => {
            let when = if *response { Response } else { Request };
            if when == Request {
                header::check_not_host(name)?;
            }
            let replacement = compiler.text(replacement)?;
            let step = header::Replace::new(*response, name, pattern, replacement, *items)?;
            return Ok((when, Step::Replace(step)));
        }
        other => return Err(format!("{other:?} is not about headers")),
    };
    if when == Request {
        header::check_not_host(name)?;
    }
    let value = value.map(|value| compiler.text(value)).transpose()?;
    let step = header::Header::new(operation, name, value, compiler.writes_empty)?;
    Ok((when, Step::Header(step)))
}

fn host_step(value: &Template, compiler: &mut Compiler<'_>) -> Result<(When, Step), String> {
    let host = header::Host::new(compiler.text(value)?)?;
    Ok((When::Request, Step::Host(host)))
}

fn step(action: &Action, compiler: &mut Compiler<'_>) -> Result<(When, Step), String> {
    match action {
        Action::SetRequestHeader { .. }
        | Action::AddRequestHeader { .. }
        | Action::RemoveRequestHeader(_)
        | Action::SetResponseHeader { .. }
        | Action::AddResponseHeader { .. }
        | Action::RemoveResponseHeader(_)
        | Action::ReplaceHeader { .. } => header_step(action, compiler),
        Action::RewriteRegex {
            pattern,
            replacement,
        } => {
            let replacement = compiler.text(replacement)?;
            path::Rewrite::regex(pattern, replacement).map(|step| (When::Request, Step::Path(step)))
        }
        Action::RemoveHeadersLike { response, pattern } => {
            let when = if *response {
                When::Response
            } else {
                When::Request
            };
            let step = header::RemoveLike::new(*response, pattern)?;
            Ok((when, Step::RemoveLike(step)))
        }
        Action::WriteEmpty | Action::ForReplies | Action::WithResponse => {
            Err("it is about the other actions of its rule".to_owned())
        }
        Action::SetStatus(status) => match status {
            100..=999 => Ok((When::Response, Step::Status(*status))),
            _ => Err(format!("{status} is no status")),
        },
        Action::Files(files) => {
            files::Serve::new(files, compiler).map(|step| (When::Request, Step::Files(step)))
        }
        Action::Drop => Ok((When::Either, Step::Drop)),
        Action::Reroute => Ok((When::Request, Step::Reroute)),
        Action::Finish => Ok((When::Either, Step::Finish)),
        Action::RewritePrefix { .. }
        | Action::SetTarget(_)
        | Action::SetPath(_)
        | Action::SetQuery(_) => target_step(action, compiler),
        Action::SetHost(host) => host_step(host, compiler),
        Action::SetMethod(method) => Ok((When::Request, Step::Method(compiler.text(method)?))),
        Action::ReadBody(wait) => Ok((When::Request, Step::ReadBody(*wait))),
        Action::SetVariable { name, value } => {
            let step = variable::Variable::new(name, compiler.text(value)?);
            Ok((When::Either, Step::Variable(step)))
        }
        Action::Track { .. }
        | Action::Tally { .. }
        | Action::Persist(_)
        | Action::StickMatch { .. }
        | Action::StickStore { .. } => table_step(action, compiler),
        Action::StatusPage(page) => Ok((When::Request, Step::Page(Arc::new(page.clone())))),
        Action::BasicAuth { realm, users } => {
            auth::Auth::new(realm, users).map(|step| (When::Request, Step::Auth(step)))
        }
        Action::Limit {
            uses,
            status,
            dry_run,
            of_rate,
        } => {
            let step = limit::Limit::new(uses, (*status, *dry_run, *of_rate), compiler)?;
            Ok((When::Request, Step::Limit(step)))
        }
        Action::Ask { path, set } => ask::step(path, set, compiler),
        Action::Mirror { path, body } => mirror::step(path, *body),
        Action::ClientFrom(from) => Ok((When::Request, Step::Client(client::Client::new(from)))),
        Action::Redirect { .. }
        | Action::Reply { .. }
        | Action::ErrorPage { .. }
        | Action::Deny { .. } => {
            let step = answer_step(action, compiler)?;
            Ok((When::Either, Step::Answer(step)))
        }
    }
}

/// The step of an action that replaces a part of the target.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only those about the target are brought here"
)]
fn target_step(action: &Action, compiler: &mut Compiler<'_>) -> Result<(When, Step), String> {
    match action {
        Action::SetTarget(target) => {
            let step = path::Rewrite::target(compiler.text(target)?)?;
            Ok((When::Request, Step::Path(step)))
        }
        Action::SetPath(path) => {
            let step = path::Rewrite::path(compiler.text(path)?)?;
            Ok((When::Request, Step::Path(step)))
        }
        Action::SetQuery(query) => {
            let step = path::Rewrite::query(compiler.text(query)?)?;
            Ok((When::Request, Step::Path(step)))
        }
        Action::RewritePrefix { from, to } => {
            let to = compiler.text(to)?;
            path::Rewrite::prefix(from, to).map(|step| (When::Request, Step::Path(step)))
        }
        other => Err(format!("{other:?} is not about the target")),
    }
}

/// The step of an action about tables.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only those about tables are brought here"
)]
fn table_step(action: &Action, compiler: &mut Compiler<'_>) -> Result<(When, Step), String> {
    match action {
        Action::Track {
            counter,
            table,
            key,
            of_connection,
        } => {
            let (table, key) = (compiler.table(table)?, compiler.source(key)?);
            let step = table::Track::new(*counter, *of_connection, table, key)?;
            Ok((When::Either, Step::Track(step)))
        }
        Action::Tally {
            counter,
            datum,
            index,
            value,
            sets,
        } => {
            let value = compiler.text(value)?;
            let step = table::Tally::new(*counter, (*datum, *index), value, *sets)?;
            Ok((When::Either, Step::Tally(step)))
        }
        Action::Persist(persist) => Ok((When::Request, Step::Persist(*persist))),
        Action::StickMatch { table, key } | Action::StickStore { table, key } => {
            let stores = matches!(action, Action::StickStore { .. });
            let (table, key) = (compiler.table(table)?, compiler.source(key)?);
            let settings = table.settings();
            if !settings.store.iter().any(|stored| stored.datum.is_server()) {
                return Err(format!(
                    "the table {} stores no servers",
                    table.name().as_str()
                ));
            }
            let step = table::Stick { stores, table, key };
            let when = if stores { When::Either } else { When::Request };
            Ok((when, Step::Stick(step)))
        }
        other => Err(format!("{other:?} is not about tables")),
    }
}

/// The step of an action that answers.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only those that answer are brought here"
)]
fn answer_step(action: &Action, compiler: &mut Compiler<'_>) -> Result<answer::Answer, String> {
    match action {
        Action::Redirect {
            status,
            location,
            base,
            headers,
        } => {
            let location = compiler.text(location)?;
            let base = base.as_ref().map(|base| compiler.text(base)).transpose()?;
            answer::Answer::redirect(*status, (location, base), fields(headers, compiler)?)
        }
        Action::Reply {
            status,
            content_type,
            body,
            headers,
        } => {
            let body = compiler.text(body)?;
            answer::Answer::reply(*status, content_type, body, fields(headers, compiler)?)
        }
        Action::ErrorPage { status } => answer::Answer::page(*status),
        Action::Deny { status } => answer::Answer::deny(*status),
        other => Err(format!("{other:?} answers nothing")),
    }
}

/// Headers of an answer.
fn fields(
    headers: &[(String, Template)],
    compiler: &mut Compiler<'_>,
) -> Result<Vec<(String, crate::fetch::Text)>, String> {
    let field = |(name, value): &(String, Template)| {
        header::check_name(name)?;
        let value = compiler.text(value)?;
        header::check_constant(&value)?;
        Ok((name.clone(), value))
    };
    headers.iter().map(field).collect()
}
