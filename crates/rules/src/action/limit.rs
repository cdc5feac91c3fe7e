//! Limits by key: how many requests come, and how many are served at the same time.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use clearway_outcome::FaultKind;

use crate::ast::LimitUse;
use crate::compile::Compiler;
use crate::fetch::{Context, Text};
use crate::limit::{Allowed, Budget, Verdict, ask};
use crate::scratch::Scratch;
use crate::view::{Flow, LocalReply, View};

/// Longest key that is kept as it is, in bytes; of a longer one its sum is.
const KEY_MAX: usize = 256;

/// One use of a limit.
#[derive(Debug)]
struct Use {
    budget: Arc<Budget>,
    key: Text,
    most: u32,
    undelayed: u32,
}

/// What several limits allow.
#[derive(Debug)]
pub(crate) struct Limit {
    uses: Box<[Use]>,
    reply: LocalReply,
    /// Refusals are only noted.
    is_trial: bool,
    is_rate: bool,
}

impl Limit {
    /// # Errors
    /// A limit that is not there, a status that is not one of errors.
    pub(super) fn new(
        list: &[LimitUse],
        (status, is_trial, is_rate): (u16, bool, bool),
        compiler: &mut Compiler<'_>,
    ) -> Result<Self, String> {
        if !(400..600).contains(&status) {
            return Err(format!("{status} is no status of a refusal"));
        }
        let mut one = |one: &LimitUse| {
            let (budget, key) = compiler.limit(&one.limit)?;
            Ok(Use {
                budget,
                key,
                most: one.most,
                undelayed: one.undelayed,
            })
        };
        Ok(Self {
            uses: list.iter().map(&mut one).collect::<Result<_, String>>()?,
            reply: LocalReply {
                status,
                fault: Some(FaultKind::Denied),
                ..LocalReply::default()
            },
            is_trial,
            is_rate,
        })
    }

    pub(super) fn apply(&self, view: &View<'_>, scratch: &mut Scratch) -> Flow {
        // A request counts once, where it comes first.
        if !scratch.begin_limit(self.is_rate) {
            return Flow::Continue;
        }
        let keys: smallvec::SmallVec<[(Vec<u8>, &Use); 2]> = {
            let at = Context::for_templates(view, scratch);
            let keys = self.uses.iter().map(|one| {
                let mut key = Vec::new();
                one.key.write(&at, &mut key);
                if key.len() > KEY_MAX {
                    key = digest(&SHA256, &key).as_ref().to_vec();
                }
                (key, one)
            });
            keys.filter(|(key, _)| !key.is_empty()).collect()
        };
        let passes = match self.is_rate {
            true => self.rate(&keys, view, scratch),
            false => self.together(&keys, view, scratch),
        };
        match passes || self.is_trial {
            true => Flow::Continue,
            false => Flow::Reply(self.reply.clone()),
        }
    }

    fn rate(&self, keys: &[(Vec<u8>, &Use)], view: &View<'_>, scratch: &mut Scratch) -> bool {
        let all = keys.iter().map(|(key, one)| Allowed {
            budget: &one.budget,
            key,
            burst: one.most.into(),
            undelayed: one.undelayed.into(),
        });
        let (passes, word) = match ask(all, view.now()) {
            Verdict::Refused if self.is_trial => (false, "REJECTED_DRY_RUN"),
            Verdict::Refused => (false, "REJECTED"),
            Verdict::Passes(0) => (true, "PASSED"),
            Verdict::Passes(_) if self.is_trial => (true, "DELAYED_DRY_RUN"),
            Verdict::Passes(ms) => {
                scratch.delay(ms);
                (true, "DELAYED")
            }
        };
        scratch.note_limit(self.is_rate, word);
        passes
    }

    fn together(&self, keys: &[(Vec<u8>, &Use)], view: &View<'_>, scratch: &mut Scratch) -> bool {
        for (key, one) in keys {
            match one.budget.join(key, one.most, view.now()) {
                Some(place) => scratch.hold_place(place),
                None => {
                    let word = match self.is_trial {
                        true => "REJECTED_DRY_RUN",
                        false => "REJECTED",
                    };
                    scratch.note_limit(self.is_rate, word);
                    return false;
                }
            }
        }
        scratch.note_limit(self.is_rate, "PASSED");
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clearway_http::Edits;

    use crate::ast::{Action, Condition, Definitions, LimitUse, Rule, Template};
    use crate::limit::{LimitKind, LimitSettings};
    use crate::testing::get;
    use crate::{Flow, Program, Scratch};

    /// How many of three requests with each of these headers pass, which may come once.
    fn passed(of_rate: bool, values: &[&str]) -> Vec<usize> {
        let kind = match of_rate {
            true => LimitKind::Rate(1),
            false => LimitKind::Together,
        };
        let settings = LimitSettings { kind, entries: 100 };
        let key = Template::parse("${header:x}").unwrap();
        let definitions = Definitions {
            limits: BTreeMap::from([("a".to_owned(), (settings, key))]),
            ..Definitions::default()
        };
        let uses = vec![LimitUse {
            limit: "a".to_owned(),
            most: u32::from(!of_rate),
            undelayed: 0,
        }];
        let rule = Rule {
            condition: Condition::Always,
            actions: vec![Action::Limit {
                uses,
                status: 429,
                dry_run: false,
                of_rate,
            }],
        };
        let program = Program::compile_with(&[rule], &definitions).unwrap();
        let mut held = Vec::new();
        let mut count = |value: &str| {
            let asked = get("/", &[&format!("X: {value}")]);
            let mut pass = || {
                let mut scratch = Scratch::default();
                let flow = program.run_request(&asked.view(), &mut scratch, &mut Edits::default());
                held.push(scratch);
                flow == Flow::Continue
            };
            (0..3).filter(|_| pass()).count()
        };
        values.iter().map(|value| count(value)).collect()
    }

    #[test]
    fn long_keys_count_like_short_ones_and_empty_ones_not_at_all() {
        let long = "x".repeat(5_000);
        let other = format!("{long}y");
        for of_rate in [true, false] {
            let passed = passed(of_rate, &["a", &long, &other, ""]);
            assert_eq!(passed, [1, 1, 1, 3], "{of_rate}");
        }
    }
}
