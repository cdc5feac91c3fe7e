//! Rules and routes, compiled: what their text alone did not show, at the place where it stands.
//!
//! The checks compile them to see what is wrong, the data plane to run them, so that a configuration
//! which passes its checks can be used.

use clearway_rules::ast::Definitions;
use clearway_rules::{CompileError, Gate, Page, Program, Router, SERVER_FROM, Words, ast};

use crate::diagnostic::{Diagnostic, Origin};
use crate::model::{
    Actions, Backend, Caching, Condition, ErrorPage, HeaderName, Listener, Pairs, Redirect, Route,
    Rule, TemplateText, Token,
};
use crate::value::{Section, Text};

/// Code of the diagnostics about rules that cannot work.
pub(crate) const RULE: &str = "rule";

impl Listener {
    /// Its rules, compiled; `None` when there are none.
    ///
    /// # Errors
    /// Rules that cannot work, each at its key.
    pub fn program(&self, named: &Definitions) -> Result<Option<Program>, Vec<Diagnostic>> {
        let short = self.short_rules();
        let short = short.iter().map(|actions| Written {
            condition: ast::Condition::Always,
            when: self.origin(),
            actions,
        });
        program(short.chain(self.rules.iter().map(Written::of)), named)
    }

    /// The conditions and replies of its ways through, compiled, in their order.
    ///
    /// # Errors
    /// Those that cannot work, each at its way.
    pub fn gates(
        &self,
        named: &Definitions,
    ) -> Result<Vec<(Gate, Option<Words>)>, Vec<Diagnostic>> {
        let (mut gates, mut wrong) = (Vec::new(), Vec::new());
        for way in &self.passthrough {
            let mut tell = |key, message| {
                let origin = way.origins.field_or_section(key);
                wrong.push(Diagnostic::error(RULE, origin, message));
            };
            let gate = Gate::compile(&way.when.lowered(), named);
            let words = way.reply.as_ref().map(|text| {
                let text = ast::Template::parse(text.as_str()).unwrap_or_default();
                Words::compile(&text, named)
            });
            match (gate, words.transpose()) {
                (Ok(gate), Ok(words)) => gates.push((gate, words)),
                (Err(message), _) => tell("when", message),
                (_, Err(message)) => tell("reply", message),
            }
        }
        if wrong.is_empty() {
            Ok(gates)
        } else {
            Err(wrong)
        }
    }

    /// What its ways through count, compiled, in their order; none for those that count nothing.
    ///
    /// # Errors
    /// What cannot work, each at its way.
    pub fn counting(&self, named: &Definitions) -> Result<Vec<Option<Program>>, Vec<Diagnostic>> {
        let counting = |way: &crate::model::Passthrough| {
            let actions = Actions {
                track: way.track.clone(),
                tally: way.tally.clone(),
                origins: way.origins.clone(),
                ..Actions::default()
            };
            let written = Written {
                condition: ast::Condition::Always,
                when: way.origins.section(),
                actions: &actions,
            };
            match way.counts() {
                true => program([written], named),
                false => Ok(None),
            }
        };
        self.passthrough.iter().map(counting).collect()
    }

    /// What browsers are told about HTTPS in each response, those of the balancer itself included
    /// (RFC 6797 section 7.1).
    #[must_use]
    pub fn transport_security(&self) -> Option<String> {
        let age = self.hsts.filter(|_| self.tls.is_some())?;
        Some(format!("max-age={}", age.as_secs()))
    }

    /// The rules that settings of one line stand for.
    fn short_rules(&self) -> Vec<Actions> {
        let mut rules = Vec::new();
        if let Some(value) = self.transport_security() {
            let name = HeaderName::parse("Strict-Transport-Security");
            let value = TemplateText::parse(&value);
            if let (Ok(name), Ok(value)) = (name, value) {
                rules.push(Actions {
                    set_response_headers: Pairs(vec![(name, value)]),
                    ..Actions::default()
                });
            }
        }
        if let Some(port) = self.https_redirect {
            let to = match port.0 {
                443 => "https://${host}${target}".to_owned(),
                port => format!("https://${{host}}:{port}${{target}}"),
            };
            rules.push(Actions {
                redirect: TemplateText::parse(&to).ok().map(|to| Redirect {
                    to,
                    ..Redirect::default()
                }),
                ..Actions::default()
            });
        }
        rules
    }
}

impl Backend {
    /// Its rules, compiled; `None` when there are none.
    ///
    /// # Errors
    /// Rules that cannot work, each at its key.
    pub fn program(&self, named: &Definitions) -> Result<Option<Program>, Vec<Diagnostic>> {
        let short = self.short_rules();
        let short = short.iter().map(|actions| Written {
            condition: ast::Condition::Always,
            when: self.origin(),
            actions,
        });
        program(self.rules.iter().map(Written::of).chain(short), named)
    }

    /// The variable that holds what servers get by this name.
    #[must_use]
    pub fn param_variable(name: &str) -> String {
        format!("param.{name}")
    }

    /// The rules that settings stand for: what says where the server is becomes a variable.
    fn short_rules(&self) -> Vec<Actions> {
        let to = self.by_request.as_ref().map(|by| (SERVER_FROM, &by.to));
        let set = |(name, text): (&str, &TemplateText)| Actions {
            set_variables: Pairs(vec![(Token::new(name), text.clone())]),
            ..Actions::default()
        };
        let mut rules: Vec<Actions> = to.into_iter().map(set).collect();
        let params = self.all_params().into_iter();
        let params: Vec<(Token, TemplateText)> = params
            .map(|(name, text)| (Token::new(&Self::param_variable(name.as_str())), text))
            .collect();
        if !params.is_empty() {
            rules.push(Actions {
                set_variables: Pairs(params),
                ..Actions::default()
            });
        }
        rules
    }

    /// The part of its rules that connections without requests have a use for: servers that tables have
    /// for them. `None` when there are none.
    ///
    /// # Errors
    /// Rules that cannot work, each at its key.
    pub fn sticking(&self, named: &Definitions) -> Result<Option<Program>, Vec<Diagnostic>> {
        let sticks =
            |rule: &&Rule| !rule.actions.stick.is_empty() || rule.actions.persist.is_some();
        let rules: Vec<Rule> = self.rules.iter().filter(sticks).cloned().collect();
        let rules = rules.into_iter().map(|rule| Rule {
            actions: Actions {
                stick: rule.actions.stick,
                persist: rule.actions.persist,
                origins: rule.actions.origins,
                ..Actions::default()
            },
            ..rule
        });
        let rules: Vec<Rule> = rules.collect();
        program(rules.iter().map(Written::of), named)
    }
}

impl Caching {
    /// Its conditions, compiled: which requests are looked up, which responses are kept. None where all are.
    ///
    /// # Errors
    /// A sentence about a condition that cannot work.
    pub fn gates(&self, named: &Definitions) -> Result<(Option<Gate>, Option<Gate>), String> {
        let asked = |condition: &Condition| *condition != Condition::default();
        let when = asked(&self.when).then(|| Gate::compile(&self.when.lowered(), named));
        let store_when =
            asked(&self.store_when).then(|| Gate::compile_late(&self.store_when.lowered(), named));
        Ok((when.transpose()?, store_when.transpose()?))
    }
}

impl Route {
    /// What a request has to be like for it.
    pub(crate) fn lowered(&self) -> ast::RouteMatch {
        ast::RouteMatch {
            when: self.when.lowered(),
            ..self.matching.lowered()
        }
    }

    /// What is done with its requests, compiled; `None` when nothing is.
    ///
    /// # Errors
    /// Actions that cannot work, each at its key.
    pub fn program(&self, named: &Definitions) -> Result<Option<Program>, Vec<Diagnostic>> {
        let rule = Written {
            condition: ast::Condition::Always,
            when: self.origin(),
            actions: &self.actions,
        };
        let own = Some(rule).filter(|rule| !rule.actions.keyed().is_empty());
        program(self.rules.iter().map(Written::of).chain(own), named)
    }
}

impl ErrorPage {
    /// Its text and headers, where values of the request stand in them or there are headers at all.
    ///
    /// # Errors
    /// A value that cannot be had, or a header that cannot be set.
    pub fn page(&self, named: &Definitions) -> Result<Option<Page>, String> {
        let headers = crate::lower::rules::fields(&self.headers);
        let template = self.template.as_ref();
        if template.is_none() && headers.is_empty() {
            return Ok(None);
        }
        let body = template.map(|text| {
            ast::Template::parse(text.as_str())
                .unwrap_or_else(|_| ast::Template::literal(text.as_str()))
        });
        Page::compile(body.as_ref(), &headers, named).map(Some)
    }
}

/// A route table.
///
/// # Errors
/// Conditions that cannot work, each at its route.
pub fn router(routes: &[&Route], named: &Definitions) -> Result<Router, Vec<Diagnostic>> {
    let matches: Vec<_> = routes.iter().map(|route| route.lowered()).collect();
    Router::compile_with(&matches, named).map_err(|errors| {
        let told = errors.into_iter().filter_map(|error| {
            let route = routes.get(error.rule)?;
            Some(Diagnostic::error(RULE, route.origin(), error.message))
        });
        told.collect()
    })
}

/// A rule as it is written.
struct Written<'a> {
    condition: ast::Condition,
    /// Where the condition stands.
    when: &'a Origin,
    actions: &'a Actions,
}

impl<'a> Written<'a> {
    fn of(rule: &'a Rule) -> Self {
        Self {
            condition: rule.when.lowered(),
            when: rule.origins.field_or_section("when"),
            actions: &rule.actions,
        }
    }
}

fn program<'a>(
    rules: impl IntoIterator<Item = Written<'a>>,
    named: &Definitions,
) -> Result<Option<Program>, Vec<Diagnostic>> {
    let (mut lowered, mut places) = (Vec::new(), Vec::new());
    for rule in rules {
        // What was not understood has been told; nothing of it should be told again.
        let known = rule.actions.keyed().into_iter();
        let known = known.filter(|(key, _)| !rule.actions.origins.is_misread(key));
        let (keys, actions): (Vec<&str>, Vec<ast::Action>) = known.unzip();
        lowered.push(ast::Rule {
            condition: rule.condition,
            actions,
        });
        places.push((rule.when, rule.actions, keys));
    }
    if lowered.is_empty() {
        return Ok(None);
    }
    let place = |error: CompileError| {
        let (when, actions, keys) = places.get(error.rule)?;
        let key = error.action.and_then(|action| keys.get(action));
        Some(match key {
            Some(key) => misuse(key, actions, error.message),
            None => Diagnostic::error(RULE, when, error.message),
        })
    };
    let compiled = Program::compile_with(&lowered, named);
    compiled
        .map(Some)
        .map_err(|errors| errors.into_iter().filter_map(place).collect())
}

/// What is wrong with the value of a key, with one that is right.
fn misuse(key: &str, actions: &Actions, message: String) -> Diagnostic {
    let diagnostic = Diagnostic::error(RULE, actions.origins.field_or_section(key), message);
    let spec = Actions::OWN.iter().find(|spec| spec.key == key);
    match spec.and_then(|spec| spec.example) {
        Some(example) => diagnostic.expected(format!("such as {key} = {example}")),
        None => diagnostic,
    }
}
