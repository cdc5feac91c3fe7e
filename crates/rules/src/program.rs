//! Rules, compiled.

use std::sync::atomic::{AtomicU32, Ordering};

use clearway_http::Edits;

use crate::action::{self, Step};
use crate::ast::{Action, Definitions, Rule, Since};
use crate::compile::{CompileError, Compiler};
use crate::matcher::Check;
use crate::scratch::Scratch;
use crate::view::{Flow, View};

/// A list of rules that is run over every request of a listener or route.
///
/// A condition that looks at the request alone is decided when the request comes and holds for the
/// rule's part in the response too, whatever was rewritten in between. A rule that looks at the
/// response is decided when that comes; it cannot change the request.
#[derive(Debug, Default)]
pub struct Program {
    /// Tells this program from others in what a [`Scratch`] remembers.
    token: u32,
    rules: Box<[Compiled]>,
    has_response: bool,
    has_replies: bool,
}

#[derive(Debug)]
struct Compiled {
    check: Check,
    /// It is for replies of the balancer itself too.
    replies: bool,
    /// The condition captures groups, so those of earlier rules are forgotten before it.
    captures: bool,
    /// When the condition can be decided.
    since: Since,
    request: Box<[Step]>,
    response: Box<[Step]>,
}

impl Program {
    /// Compiles rules that refer to nothing by name.
    ///
    /// # Errors
    /// All mistakes, in the order of the rules.
    pub fn compile(rules: &[Rule]) -> Result<Self, Vec<CompileError>> {
        Self::compile_with(rules, &Definitions::default())
    }

    /// Compiles rules that refer to maps and conditions by name.
    ///
    /// # Errors
    /// All mistakes, in the order of the rules.
    pub fn compile_with(
        rules: &[Rule],
        definitions: &Definitions,
    ) -> Result<Self, Vec<CompileError>> {
        static TOKENS: AtomicU32 = AtomicU32::new(1);
        let mut compiler = Compiler::new(definitions);
        let (mut compiled, mut errors) = (Vec::with_capacity(rules.len()), Vec::new());
        for (index, rule) in rules.iter().enumerate() {
            match compile(rule, &mut compiler) {
                Ok(rule) => compiled.push(rule),
                Err(mistakes) => {
                    let place = |(action, message)| CompileError {
                        rule: index,
                        action,
                        message,
                    };
                    errors.extend(mistakes.into_iter().map(place));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            token: TOKENS.fetch_add(1, Ordering::Relaxed),
            has_replies: compiled.iter().any(|rule| rule.replies),
            has_response: compiled.iter().any(|rule| !rule.response.is_empty()),
            rules: compiled.into(),
        })
    }

    /// Whether it does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether it has anything to do with responses.
    #[must_use]
    pub fn has_response_rules(&self) -> bool {
        self.has_response
    }

    /// Whether it has anything to do with replies of the balancer itself.
    #[must_use]
    pub fn has_reply_rules(&self) -> bool {
        self.has_replies
    }

    /// Runs the rules that are for replies of the balancer itself over one. What they would answer in
    /// its place is not answered.
    pub fn run_reply(&self, view: &View<'_>, scratch: &mut Scratch, edits: &mut Edits) {
        scratch.begin(view);
        for rule in self.rules.iter().filter(|rule| rule.replies) {
            if !rule.holds(&view.with(edits), scratch) {
                continue;
            }
            if run(&rule.response, 0, view, scratch, edits).is_some() {
                return;
            }
        }
    }

    /// Runs the rules when the head of a request is complete.
    ///
    /// `edits` are those of the request; with [`Flow::Reply`] they are of no use any more.
    pub fn run_request(&self, view: &View<'_>, scratch: &mut Scratch, edits: &mut Edits) -> Flow {
        scratch.begin(view);
        let waited = scratch.resumes(self.token);
        let (first, mut behind) = waited.unwrap_or_default();
        for (index, rule) in self.rules.iter().enumerate().skip(first) {
            // What stands behind an action that has waited is done whatever the condition says now.
            let from = std::mem::take(&mut behind);
            if from == 0 {
                if rule.since == Since::Response || !rule.holds(&view.with(edits), scratch) {
                    continue;
                }
                if !rule.response.is_empty() {
                    scratch.hold(self.token, index);
                }
            }
            if let Some((end, at)) = run(&rule.request, from, view, scratch, edits) {
                if matches!(end, Flow::ReadBody(_) | Flow::Ask(_)) {
                    scratch.resume_at(self.token, (index, at + 1));
                }
                return end;
            }
        }
        Flow::Continue
    }

    /// Runs the rules when the head of a response is complete.
    ///
    /// `edits` are those of the response. [`Program::run_request`] must have been run for the
    /// request with the same `scratch`; rules whose condition did not hold then do nothing now.
    pub fn run_response(&self, view: &View<'_>, scratch: &mut Scratch, edits: &mut Edits) -> Flow {
        scratch.begin(view);
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.response.is_empty() {
                continue;
            }
            let holds = match rule.since {
                Since::Request => scratch.held(self.token, index),
                Since::Response => rule.holds(&view.with(edits), scratch),
            };
            if !holds {
                continue;
            }
            if let Some((end, _)) = run(&rule.response, 0, view, scratch, edits) {
                return end;
            }
        }
        Flow::Continue
    }
}

/// Applies steps in order, from one on; what comes next, once one of them ends the program, and which.
fn run(
    steps: &[Step],
    from: usize,
    view: &View<'_>,
    scratch: &mut Scratch,
    edits: &mut Edits,
) -> Option<(Flow, usize)> {
    for (at, step) in steps.iter().enumerate().skip(from) {
        match step.apply(view, scratch, edits) {
            Flow::Continue => {}
            Flow::Finish => return Some((Flow::Continue, at)),
            end @ (Flow::Reply(_)
            | Flow::Page(_)
            | Flow::Files(_)
            | Flow::Drop
            | Flow::ReadBody(_)
            | Flow::Ask(_)
            | Flow::Reroute) => {
                return Some((end, at));
            }
        }
    }
    None
}

impl Compiled {
    fn holds(&self, view: &View<'_>, scratch: &mut Scratch) -> bool {
        if self.captures {
            scratch.forget_captures();
        }
        self.check.holds(view, scratch)
    }
}

/// What is wrong, and in which action; none for the condition.
type Mistake = (Option<usize>, String);

fn compile(rule: &Rule, compiler: &mut Compiler<'_>) -> Result<Compiled, Vec<Mistake>> {
    let mut errors = Vec::new();
    let (check, mut needs) = compiler.asking(|compiler| compiler.check(&rule.condition));
    if rule.actions.contains(&Action::WithResponse) {
        needs
            .response
            .get_or_insert_with(|| "with_response".to_owned());
    }
    let (mut request, mut response) = (Vec::new(), Vec::new());
    compiler.writes_empty = rule.actions.contains(&Action::WriteEmpty);
    for (index, action) in rule.actions.iter().enumerate() {
        if matches!(
            action,
            Action::WriteEmpty | Action::ForReplies | Action::WithResponse
        ) {
            continue;
        }
        match action::compile(action, needs.response.as_deref(), compiler) {
            Ok((Since::Request, step)) => request.push(step),
            Ok((Since::Response, step)) => response.push(step),
            Err(message) => errors.push((Some(index), message)),
        }
    }
    let check = match check {
        Ok(check) if errors.is_empty() => check,
        Ok(_) => return Err(errors),
        Err(message) => {
            errors.insert(0, (None, message));
            return Err(errors);
        }
    };
    Ok(Compiled {
        check,
        replies: rule.actions.contains(&Action::ForReplies) && !response.is_empty(),
        captures: needs.captures,
        since: match needs.response {
            Some(_) => Since::Response,
            None => Since::Request,
        },
        request: request.into(),
        response: response.into(),
    })
}

#[cfg(test)]
mod tests;
