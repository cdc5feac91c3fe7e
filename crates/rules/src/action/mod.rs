//! Actions, compiled. One file per family; the list is the match in [`compile`].

mod answer;
mod header;
mod path;
mod variable;

use clearway_http::Edits;

use crate::ast::{Action, Since};
use crate::compile::Compiler;
use crate::scratch::Scratch;
use crate::view::{Flow, LocalReply, View};

/// Longest value that a rule may produce, in bytes.
const VALUE_MAX: usize = 16 << 10;

/// A compiled action.
#[derive(Debug)]
pub(crate) enum Step {
    Header(header::Header),
    Host(header::Host),
    Path(path::Rewrite),
    Variable(variable::Variable),
    Answer(answer::Answer),
}

impl Step {
    /// Does it.
    pub(crate) fn apply(&self, view: &View<'_>, scratch: &mut Scratch, edits: &mut Edits) -> Flow {
        let done = match self {
            Self::Header(step) => step.apply(view, scratch, edits),
            Self::Host(step) => step.apply(view, scratch, edits),
            Self::Path(step) => step.apply(view, scratch, edits),
            Self::Variable(step) => {
                step.apply(view, scratch);
                Ok(())
            }
            Self::Answer(step) => return Flow::Reply(step.to(view, scratch)),
        };
        match done {
            Ok(()) => Flow::Continue,
            Err(Invalid) => Flow::Reply(LocalReply::rewrite_invalid()),
        }
    }
}

/// A rule yielded what HTTP does not allow.
#[derive(Debug)]
struct Invalid;

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

fn step(action: &Action, compiler: &mut Compiler<'_>) -> Result<(When, Step), String> {
    use header::{Header, Operation};
    let header = |when, operation, name: &str, value| {
        Header::new(operation, name, value).map(|step| (when, Step::Header(step)))
    };
    match action {
        Action::SetRequestHeader { name, value } if name.eq_ignore_ascii_case("host") => {
            header::Host::new(compiler.text(value)?).map(|step| (When::Request, Step::Host(step)))
        }
        Action::SetRequestHeader { name, value } => {
            let value = compiler.text(value)?;
            header(When::Request, Operation::Set, name, Some(value))
        }
        Action::AddRequestHeader { name, value } => {
            let value = compiler.text(value)?;
            header(When::Request, Operation::Add, name, Some(value))
        }
        Action::RemoveRequestHeader(name) => header(When::Request, Operation::Remove, name, None),
        Action::SetResponseHeader { name, value } => {
            let value = compiler.text(value)?;
            header(When::Response, Operation::Set, name, Some(value))
        }
        Action::AddResponseHeader { name, value } => {
            let value = compiler.text(value)?;
            header(When::Response, Operation::Add, name, Some(value))
        }
        Action::RemoveResponseHeader(name) => header(When::Response, Operation::Remove, name, None),
        Action::RewritePrefix { from, to } => {
            let to = compiler.text(to)?;
            path::Rewrite::prefix(from, to).map(|step| (When::Request, Step::Path(step)))
        }
        Action::RewriteRegex {
            pattern,
            replacement,
        } => {
            let replacement = compiler.text(replacement)?;
            path::Rewrite::regex(pattern, replacement).map(|step| (When::Request, Step::Path(step)))
        }
        Action::SetPath(path) => {
            let step = path::Rewrite::path(compiler.text(path)?)?;
            Ok((When::Request, Step::Path(step)))
        }
        Action::SetQuery(query) => {
            let step = path::Rewrite::query(compiler.text(query)?)?;
            Ok((When::Request, Step::Path(step)))
        }
        Action::SetHost(host) => {
            header::Host::new(compiler.text(host)?).map(|step| (When::Request, Step::Host(step)))
        }
        Action::SetVariable { name, value } => {
            let step = variable::Variable::new(name, compiler.text(value)?);
            Ok((When::Either, Step::Variable(step)))
        }
        Action::Redirect { status, location } => {
            let location = compiler.text(location)?;
            answer::Answer::redirect(*status, location)
                .map(|step| (When::Either, Step::Answer(step)))
        }
        Action::Reply {
            status,
            content_type,
            body,
        } => answer::Answer::reply(*status, content_type, body)
            .map(|step| (When::Either, Step::Answer(step))),
        Action::Deny { status } => {
            answer::Answer::deny(*status).map(|step| (When::Either, Step::Answer(step)))
        }
    }
}
