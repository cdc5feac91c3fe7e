//! Why an order failed: the authority's words for each name, and what a look around adds.

use instant_acme::{Error, Order};

use super::{Answered, Session, Tools};
use crate::failure::{Failure, FailureKind, Step, of_error, of_problem};
use crate::hints;

/// So many names are told by name.
const NAMES_MAX: usize = 5;

/// The failure of an order whose validation failed; `error` is what ended the wait, if anything did.
pub(super) async fn failed(
    order: &mut Order,
    session: &Session,
    answered: &[Answered],
    tools: &Tools,
    error: Option<&Error>,
) -> Failure {
    let mut refused = refused(order, session).await;
    let others: Vec<String> = refused
        .iter()
        .skip(1)
        .take(NAMES_MAX)
        .filter_map(|failure| failure.name.clone())
        .collect();
    if refused.is_empty() {
        return match error {
            Some(error) => of_error(error, &Step::Order, &session.seen),
            None => Failure::new(
                FailureKind::Refused,
                "the authority refused the order and gives no reason",
            ),
        };
    }
    let mut failure = refused.swap_remove(0);
    let one = answered
        .iter()
        .find(|one| Some(one.name.as_str()) == failure.name.as_deref());
    if let Some(one) = one {
        failure.hints.extend(asked(one, failure.kind));
        hints::look(one, &mut failure, tools).await;
    }
    if !others.is_empty() {
        failure
            .hints
            .push(format!("also refused: {}", others.join(", ")));
    }
    failure
}

/// A failure for each authorization that is no longer open, in the order of the names.
async fn refused(order: &mut Order, session: &Session) -> Vec<Failure> {
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let Ok(mut authorization) = next else { break };
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        let problem = authorization.challenges.iter().find_map(|challenge| {
            let problem = challenge.error.as_ref()?;
            Some((problem, Step::Challenge(challenge.r#type.clone())))
        });
        if let Some((problem, step)) = problem {
            found.push(of_problem(problem, &step, &session.seen).about(name));
        }
    }
    found
}

/// Whether the authority ever came here tells a wrong address from a wrong answer.
fn asked(one: &Answered, kind: FailureKind) -> Option<String> {
    let count = one.published.as_ref()?.asked();
    match (count, kind) {
        (0, FailureKind::WrongAnswer | FailureKind::Tls) => Some(
            "nobody asked this balancer for the answer: the name leads elsewhere, or something \
             before it answers"
                .to_owned(),
        ),
        (0, _) => None,
        (count, _) => Some(format!("the answer was fetched here {count} times")),
    }
}
