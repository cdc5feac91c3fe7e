//! Conditions of routes and rules.

use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{
    CookieName, FetchText, FieldTest, HeaderName, HeaderValue, HostPattern, Identifier, MethodName,
    Pairs, PathPattern, QueryName, Reader, RegexText, Spec, Value, print_inline, read_table,
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

    /// Tests of values, all of which have to hold. They see what the rules before have changed.
    value: Vec<ValueTest> = Vec::new(), example = Some("{ of = \"header:x-a\", begins = \"b\" }");
    /// Users, of whom the request names one with the right password (basic authentication); see
    /// `basic_auth`.
    user: Pairs<HeaderValue, String> = Pairs::default(), example = Some("{ anna = \"$5$salt$hash\" }");
    /// What must not hold.
    not: Vec<Condition> = Vec::new(), example = Some("{ source = \"10.0.0.0/8\" }");
    /// One of these has to hold.
    any: Vec<Condition> = Vec::new(), example = Some("[{ path = \"/a/\" }, { header = { x-a = true } }]");
    /// All of these have to hold.
    all: Vec<Condition> = Vec::new(), example = Some("[{ path = \"/a/\" }, { method = \"POST\" }]");
}

impl Condition {
    /// Whether a value is tested whose name begins so.
    #[must_use]
    pub fn looks_at(&self, beginning: &str) -> bool {
        let inner = [&self.not, &self.any, &self.all];
        let mut tests = self.value.iter();
        tests.any(|test| test.of.as_str().starts_with(beginning))
            || inner
                .into_iter()
                .flatten()
                .any(|condition| condition.looks_at(beginning))
    }
}

concept! {
    /// A test of a value. One of the tests that are written has to hold, for one of several values.
    ValueTest, "value test";

    /// The value, as in templates: `"path"`, `"header:x-a|lower"`.
    of: FetchText = FetchText::default(), required = true, example = Some("\"header:x-a|lower\"");
    /// The value is one of these. When no test is written, the value has to be there.
    is: Vec<String> = Vec::new(), example = Some("[\"a\", \"b\"]");
    /// It begins with one of these.
    begins: Vec<String> = Vec::new(), example = Some("\"/a\"");
    /// It ends with one of these.
    ends: Vec<String> = Vec::new(), example = Some("[\".png\", \".jpg\"]");
    /// It contains one of these.
    contains: Vec<String> = Vec::new(), example = Some("\"bot\"");
    /// One of these matches somewhere in it.
    regex: Vec<RegexText> = Vec::new(), example = Some("\"^[0-9]+$\"");
    /// It is an address in one of these networks.
    within: Vec<IpNet> = Vec::new(), example = Some("\"10.0.0.0/8\"");
    /// It is a number, at least this.
    min: Option<u64> = None, example = Some("1");
    /// It is a number, at most this.
    max: Option<u64> = None, example = Some("100");
    /// It has at least so many bytes.
    least_bytes: Option<usize> = None, example = Some("1");
    /// It has at most so many bytes.
    most_bytes: Option<usize> = None, example = Some("64");
    /// Whether `A` is `a`.
    ignore_case: bool = false, example = Some("true");
}
table_value!(ValueTest);

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
