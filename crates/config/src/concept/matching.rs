//! Conditions of routes and rules.

use super::concept;
use crate::syntax::Node;
use crate::value::{
    CookieName, FieldTest, HeaderName, HostPattern, Identifier, MethodName, Pairs, PathPattern,
    QueryName, Reader, Spec, Value, print_inline, read_table,
};
use ipnet::IpNet;

concept! {
    /// What a request has to be like. All keys that are written have to hold; of the values of one
    /// key any.
    Match, "conditions";

    /// Its host, without port and without regard to case; `"*.example.org"` is all names below.
    host: Vec<HostPattern> = Vec::new(), example = Some("[\"example.org\", \"*.example.org\"]");
    /// Its path: `"/exact"`, `"/below/"` or `"/below/*"` (and everything below), or `"~ regex"`.
    path: Vec<PathPattern> = Vec::new(), example = Some("\"/api/\"");
    /// Its method.
    method: Vec<MethodName> = Vec::new(), example = Some("[\"GET\", \"HEAD\"]");
    /// Headers, all of them: text, `"~ regex"`, `true` (there) or `false` (not there).
    header: Pairs<HeaderName, FieldTest> = Pairs::default(), example = Some("{ x-beta = true }");
    /// Cookies, all of them.
    cookie: Pairs<CookieName, FieldTest> = Pairs::default(), example = Some("{ group = \"b\" }");
    /// Query parameters, all of them.
    query: Pairs<QueryName, FieldTest> = Pairs::default(), example = Some("{ version = \"~ ^2\" }");
    /// The client's address.
    source: Vec<IpNet> = Vec::new(), example = Some("[\"10.0.0.0/8\", \"::1\"]");
    /// The listeners it came in by; all when absent.
    listeners: Vec<Identifier> = Vec::new(), example = Some("[\"web\"]");
    /// The certificate that the client showed and that was verified: `true` (there), `false` (not there),
    /// or its subject (RFC 4514) as text or `"~ regex"`.
    client_cert: Option<FieldTest> = None, example = Some("\"~ ^CN=ops,\"");
}

impl Match {
    /// Whether it holds for every request.
    #[must_use]
    pub fn is_always(&self) -> bool {
        *self == Self::default()
    }
}

concept! {
    /// When a rule applies: conditions as of a route, `not`, `any` and `all`.
    Condition, "condition", flatten {
        /// What the request has to be like.
        matching: Match
    };

    /// What must not hold.
    not: Vec<Condition> = Vec::new(), example = Some("{ source = \"10.0.0.0/8\" }");
    /// One of these has to hold.
    any: Vec<Condition> = Vec::new(), example = Some("[{ path = \"/a/\" }, { header = { x-a = true } }]");
    /// All of these have to hold.
    all: Vec<Condition> = Vec::new(), example = Some("[{ path = \"/a/\" }, { method = \"POST\" }]");
}

/// Conditions hold conditions, so the schema refers to itself.
impl Value for Condition {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        read_table(node, reader)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        print_inline(self, out);
    }

    fn kind(_: &Spec) -> String {
        "table, see condition".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        serde_json::json!({ "$ref": "#/$defs/condition" })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        let mut condition = Self {
            matching: crate::value::Section::sample_section(rng),
            ..Self::default()
        };
        if rng.below(3) == 0 {
            condition.any = vec![Self::sample(rng, &Spec::NONE)];
        }
        condition
    }
}
