//! `[[route]]` and `[[listener.NAME.rule]]`.

use super::actions::Actions;
use super::cache::Caching;
use super::compression::CompressionOverrides;
use super::limits::LimitOverrides;
use super::log::AccessLog;
use super::matching::{Condition, Match};
use super::on_error::OnError;
use super::replace_body::ReplaceBody;
use super::retries::RetryOverrides;
use super::timeouts::TimeoutOverrides;
use super::{concept, table_value};
use crate::value::Identifier;

concept! {
    /// Where requests go. Routes are tried in the order of the file and the first that matches is
    /// taken; when none does, the listener's `backend` is.
    Route, "[[route]]", flatten {
        /// What a request has to be like.
        matching: Match,
        /// What is done with it.
        actions: Actions
    };

    /// Its name in logs and metrics; `route-N` when absent.
    name: Option<Identifier> = None, example = Some("\"api\"");
    /// What has to hold besides, after the listener's rules have done their work.
    when: Condition = Condition::default(), example = Some("{ value = { of = \"var:group\", is = \"b\" } }");
    /// What is done with its requests, before the route's own actions.
    rules: Vec<Rule> = Vec::new(), key = "rule",
        example = Some("[{ when = { method = \"PUT\" }, deny = 405 }]");
    /// The backend; not needed with `redirect`, `reply` or `deny`.
    backend: Option<Identifier> = None, example = Some("\"app\"");
    /// Whether wishes to change the protocol (WebSocket) are passed on; else such requests are passed on as if
    /// they had none.
    upgrades: bool = true, example = Some("false");
    /// Whether the server finishes a request whose client has left before the response came; else it is
    /// given up.
    finish_abandoned: bool = false, example = Some("true");
    /// What other routes answer in place of errors.
    on_error: Vec<OnError> = Vec::new(), example = Some("[{ status = [404], to = \"/404.html\" }]");
    /// Time-outs in place of those of the process, the listener and the backend.
    timeouts: TimeoutOverrides = TimeoutOverrides::default(), example = Some("{ response = \"5m\" }");
    /// Retries in place of those of the backend.
    retries: RetryOverrides = RetryOverrides::default(), example = Some("{ max = 0 }");
    /// Limits in place of those of the process and the listener.
    limits: LimitOverrides = LimitOverrides::default(), example = Some("{ body_bytes = \"1GiB\" }");
    /// Responses that are kept and given again, in place of what listener and backend say.
    cache: Option<Caching> = None, example = Some("{ store = \"pages\" }");
    /// Compression in place of that of the process, the listener and the backend.
    compression: CompressionOverrides = CompressionOverrides::default(),
        example = Some("{ algorithms = [\"gzip\"] }");
    /// Texts put in place of others in bodies.
    replace_body: Option<ReplaceBody> = None,
        example = Some("{ texts = { find = \"http://inner\", to = \"https://${host}\" } }");
    /// Its access logs in place of those of the listener or the process; `[]` = none.
    access_logs: Option<Vec<AccessLog>> = None, key = "access_log",
        example = Some("[{ to = \"/var/log/clearway/api.log\", format = \"nginx_combined\" }]");
}
table_value!(Route);

concept! {
    /// Something that is done with every request of a listener that a condition holds for, before
    /// routing. Rules apply in the order of the file.
    Rule, "[[listener.NAME.rule]]", flatten {
        /// What is done.
        actions: Actions
    };

    /// When it applies; always when absent.
    when: Condition = Condition::default(), example = Some("{ path = \"/admin/\" }");
}
table_value!(Rule);
