//! Types of values: how each is read, printed, described and put into the JSON Schema.
//!
//! A type implements [`Value`] once, and every field of that type gets all of it. Types that are
//! text with a form of their own implement [`Text`].

mod address;
mod choice;
mod hash;
mod http;
mod list;
mod log;
mod number;
mod text;
mod time;

pub use address::ServerAddress;
pub use clearway_outcome::Bind;
pub use hash::{HashKey, UriPart, main_domain};
pub use http::{
    BodyText, CookieName, DatumText, ErrorKey, FetchText, FieldTest, HeaderName, HeaderValue,
    HostPattern, MethodName, PathPattern, PathPrefix, Pattern, QueryName, RegexText, RetryOn,
    Statuses, StoredText, TemplateText,
};
pub use list::{OrOff, Pairs};
pub use log::{LogDestination, LogFormat, LogText, SyslogAddress};
pub use text::{Identifier, Token};

pub(crate) use choice::{choice_value, choices};

use serde_json::{Map, Value as Json, json};

use crate::diagnostic::{Diagnostic, Lines, Origin, Origins, Severity, Span};
use crate::syntax::{Entry, Node};
use crate::words;

/// One row of a concept's table: what is the same for every type of value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// The key in the file.
    pub(crate) key: &'static str,
    /// What it means, from the field's doc comment.
    pub(crate) doc: &'static str,
    /// A value as it may stand in a file.
    pub(crate) example: Option<&'static str>,
    /// Least and largest number; of a duration in seconds.
    pub(crate) range: Option<(f64, f64)>,
    /// Whether a whole number is a size in bytes.
    pub(crate) bytes: bool,
    /// Whether the section is nothing without it.
    pub(crate) required: bool,
    /// Whether it is printed when it is the default too: what is absent may mean something else.
    pub(crate) always: bool,
}

impl Spec {
    /// Stands for a row that does not exist.
    pub(crate) const NONE: Self = Self::new("", "");

    pub(crate) const fn new(key: &'static str, doc: &'static str) -> Self {
        Self {
            key,
            doc,
            example: None,
            range: None,
            bytes: false,
            required: false,
            always: false,
        }
    }

    /// Whether a number is allowed.
    pub(crate) fn allows(&self, number: f64) -> bool {
        self.range
            .is_none_or(|(least, most)| (least..=most).contains(&number))
    }
}

/// How a type of value is read, printed and described.
pub(crate) trait Value: Sized + Clone + PartialEq {
    /// Reads a value; complains and returns `None` when it cannot.
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self>;
    /// Writes it as it would stand in a file.
    fn print(&self, spec: &Spec, out: &mut String);
    /// What it is, in words.
    fn kind(spec: &Spec) -> String;
    /// Its JSON Schema.
    fn schema(spec: &Spec) -> Json;
    /// Whether there is nothing to print.
    fn is_absent(&self) -> bool {
        false
    }
    /// A random value, for the test that printing and reading are inverse.
    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self;
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            expected: expected.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; expected {}", self.message, self.expected)
    }
}

/// A value that is text with a form of its own.
pub(crate) trait Text: Sized + Clone + PartialEq {
    /// What it is, in words.
    const KIND: &'static str;
    /// Reads it.
    fn parse(text: &str) -> Result<Self, Problem>;
    /// Prints it so that [`Text::parse`] gives the same again.
    fn text(&self) -> String;
    /// Whether both mean the same, as keys of one table.
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
    /// A random one.
    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self;
}

/// Reads a text value, or complains.
pub(crate) fn read_text<T: Text>(node: &Node, reader: &mut Reader<'_>) -> Option<T> {
    let Some(text) = node.as_text() else {
        return reader.wrong_type(node, T::KIND);
    };
    match T::parse(text) {
        Ok(value) => Some(value),
        Err(problem) => reader.wrong_value(node, problem),
    }
}

/// Makes [`Text`] types values.
macro_rules! text_values {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::value::Value for $type {
            fn read(
                node: &$crate::syntax::Node,
                _: &$crate::value::Spec,
                reader: &mut $crate::value::Reader<'_>,
            ) -> Option<Self> {
                $crate::value::read_text(node, reader)
            }

            fn print(&self, _: &$crate::value::Spec, out: &mut String) {
                out.push_str(&$crate::words::quoted(&$crate::value::Text::text(self)));
            }

            fn kind(_: &$crate::value::Spec) -> String {
                <Self as $crate::value::Text>::KIND.to_owned()
            }

            fn schema(_: &$crate::value::Spec) -> serde_json::Value {
                serde_json::json!({ "type": "string" })
            }

            #[cfg(test)]
            fn sample(rng: &mut clearway_base::rng::Rng, _: &$crate::value::Spec) -> Self {
                <Self as $crate::value::Text>::sample(rng)
            }
        }
    )+};
}
pub(crate) use text_values;

/// What is carried along while a file is read.
pub(crate) struct Reader<'a> {
    lines: &'a Lines<'a>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Kinds of sections of which one was not understood and is missing.
    left_out: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(lines: &'a Lines<'a>) -> Self {
        Self {
            lines,
            diagnostics: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub(crate) fn origin(&self, span: &Span) -> Origin {
        self.lines.origin(span)
    }

    /// Notes that a section is missing from what was read.
    pub(crate) fn leave_out(&mut self, kind: &str) {
        self.left_out.push(kind.to_owned());
    }

    /// Whether a section of a kind is missing from what was read.
    pub(crate) fn has_left_out(&self, kind: &str) -> bool {
        self.left_out.iter().any(|left| left == kind)
    }

    /// Notes a diagnostic.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Notes an error.
    pub(crate) fn problem(&mut self, span: &Span, code: &'static str, problem: Problem) {
        let origin = self.origin(span);
        let mut diagnostic = Diagnostic::new(Severity::Error, code, &origin, problem.message);
        diagnostic.expected = Some(problem.expected).filter(|words| !words.is_empty());
        diagnostic.hint = problem.hint;
        self.push(diagnostic);
    }

    /// Complains about a value; always `None`, for whoever wanted to read it.
    pub(crate) fn wrong_value<T>(&mut self, node: &Node, problem: Problem) -> Option<T> {
        self.problem(&node.span, "value", problem);
        None
    }

    /// Complains that a value is of another type; always `None`. Silent when the syntax has spoken
    /// already.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        if !node.is_broken() {
            let message = format!("this is {}", node.words());
            self.problem(&node.span, "type", Problem::new(message, expected));
        }
        None
    }

    /// The entries of a table, or a complaint.
    pub(crate) fn table<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n [Entry]> {
        let entries = node.as_table();
        entries.or_else(|| self.wrong_type(node, expected))
    }

    /// Reads one field of a section, if it is written.
    pub(crate) fn field<T: Value>(
        &mut self,
        entries: &[Entry],
        spec: Option<&'static Spec>,
        origins: &mut Origins,
    ) -> Option<T> {
        let spec = spec?;
        let entry = entries.iter().find(|entry| entry.key == spec.key)?;
        origins.set(spec.key, self.origin(&entry.value.span));
        let told = self.diagnostics.len();
        let value = T::read(&entry.value, spec, self);
        if self.diagnostics.len() > told {
            origins.misread(spec.key);
        }
        value
    }

    /// Complains about keys that are not in a table of fields and about required ones that lack.
    pub(crate) fn check_keys(
        &mut self,
        title: &str,
        entries: &[Entry],
        specs: &[&Spec],
        at: &Span,
    ) {
        let mut meant = Vec::new();
        for entry in entries {
            if specs.iter().any(|spec| spec.key == entry.key) {
                continue;
            }
            let keys = || specs.iter().map(|spec| spec.key);
            let close = words::closest(&entry.key, keys());
            meant.extend(close);
            let known: Vec<&str> = keys().collect();
            let mut problem = Problem::new(
                format!("{title} has no key `{}`", entry.key),
                format!("one of {}", known.join(", ")),
            );
            problem.hint = close.map(|close| format!("did you mean `{close}`?"));
            self.problem(&entry.at, "unknown-key", problem);
        }
        for spec in specs.iter().filter(|spec| spec.required) {
            let there = entries.iter().any(|entry| entry.key == spec.key);
            if !there && !meant.contains(&spec.key) {
                let example = spec.example.map(|e| format!(": {} = {e}", spec.key));
                let problem = Problem::new(
                    format!("{title} needs the key `{}`", spec.key),
                    example.unwrap_or_default().trim_start_matches([':', ' ']),
                );
                self.problem(at, "missing-key", problem);
            }
        }
    }
}

/// A field as documentation shows it.
pub(crate) struct Row {
    pub(crate) spec: &'static Spec,
    /// The type, in words.
    pub(crate) kind: String,
    /// The default as it would stand in a file; `None` when there is none.
    pub(crate) default: Option<String>,
    pub(crate) schema: Json,
}

/// A field as it is printed.
pub(crate) struct Printed {
    pub(crate) key: &'static str,
    /// The value as it stands in a file; empty when absent.
    pub(crate) text: String,
    pub(crate) is_default: bool,
}

/// A concept: a table with a fixed set of keys.
pub(crate) trait Section: Sized + Clone + PartialEq + Default {
    /// What it is called in messages and headings.
    const TITLE: &'static str;
    /// What it is about.
    const DOC: &'static str;
    /// Its own fields.
    const OWN: &'static [Spec];
    /// Its fields, with those of concepts that are part of it.
    fn specs() -> Vec<&'static Spec>;
    /// Reads its fields from the entries of a table; other entries may stand there too.
    fn read_fields(entries: &[Entry], at: &Span, reader: &mut Reader<'_>) -> Self;
    /// Its fields, printed.
    fn printed(&self) -> Vec<Printed>;
    /// Its fields, documented.
    fn rows() -> Vec<Row>;
    /// A random one.
    #[cfg(test)]
    fn sample_section(rng: &mut clearway_base::rng::Rng) -> Self;
}

/// Reads a section from the entries of its table, which has no others.
pub(crate) fn read_section<S: Section>(
    title: &str,
    entries: &[Entry],
    at: &Span,
    reader: &mut Reader<'_>,
) -> S {
    reader.check_keys(title, entries, &S::specs(), at);
    S::read_fields(entries, at, reader)
}

/// Reads a section from a value.
pub(crate) fn read_table<S: Section>(node: &Node, reader: &mut Reader<'_>) -> Option<S> {
    let entries = reader.table(node, "a table { … }")?;
    Some(read_section(S::TITLE, entries, &node.span, reader))
}

/// A field as it is printed.
pub(crate) fn printed<T: Value>(value: &T, standard: &T, spec: Option<&Spec>) -> Printed {
    let spec = spec.unwrap_or(&Spec::NONE);
    let mut text = String::new();
    value.print(spec, &mut text);
    Printed {
        key: spec.key,
        text,
        is_default: value.is_absent() || (!spec.required && !spec.always && value == standard),
    }
}

/// A field as it is documented.
pub(crate) fn row<T: Value>(standard: &T, spec: Option<&'static Spec>) -> Option<Row> {
    let spec = spec?;
    let mut text = String::new();
    standard.print(spec, &mut text);
    Some(Row {
        spec,
        kind: T::kind(spec),
        default: (!standard.is_absent() && !spec.required).then_some(text),
        schema: T::schema(spec),
    })
}

/// A section as an inline table: `{ a = 1 }`.
pub(crate) fn print_inline<S: Section>(section: &S, out: &mut String) {
    let fields: Vec<String> = section
        .printed()
        .into_iter()
        .filter(|field| !field.is_default)
        .map(|field| format!("{} = {}", words::key(field.key), field.text))
        .collect();
    if fields.is_empty() {
        out.push_str("{}");
    } else {
        out.push_str(&format!("{{ {} }}", fields.join(", ")));
    }
}

/// The JSON Schema of a section.
pub(crate) fn section_schema<S: Section>() -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for row in S::rows() {
        let mut schema = row.schema;
        if let Json::Object(fields) = &mut schema {
            let doc = crate::doc::one_line(row.spec.doc);
            fields.insert("description".to_owned(), Json::String(doc));
            if let Some(default) = row.default.as_deref().and_then(crate::doc::toml_to_json) {
                fields.insert("default".to_owned(), default);
            }
        }
        properties.insert(row.spec.key.to_owned(), schema);
        if row.spec.required {
            required.push(row.spec.key);
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": crate::doc::one_line(S::DOC),
        "properties": properties,
        "additionalProperties": false,
    });
    if let (Json::Object(fields), false) = (&mut schema, required.is_empty()) {
        fields.insert("required".to_owned(), json!(required));
    }
    schema
}

/// Reads a duration such as `10s`.
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    time::parse(text).ok()
}
