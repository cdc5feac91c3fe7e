//! `replace_body`: texts put in place of others in bodies.

use super::{concept, table_value};
use crate::value::TemplateText;

concept! {
    /// Texts put in place of others in bodies of responses. Bodies with a coding stay as they are: servers
    /// that code theirs are asked not to with `compression.offload`.
    ReplaceBody, "body replacement";

    /// What is looked for, and what takes its place.
    texts: Vec<BodyReplacement> = Vec::new(), required = true,
        example = Some("{ find = \"http://inner\", to = \"https://${host}\" }");
    /// Whether each text is replaced where it stands first only.
    once: bool = false, example = Some("true");
    /// Media types, without their parameters; `*` at the end stands for any more.
    types: Vec<String> = vec!["text/html".to_owned()], example = Some("[\"text/*\"]");
    /// Whether `Last-Modified` stays and `ETag` becomes a weak one; else both are left out.
    keeps_validators: bool = false, example = Some("true");
}
table_value!(ReplaceBody);

concept! {
    /// A text in bodies, and what takes its place. At each place the longest that fits is taken.
    BodyReplacement, "body text";

    /// What is looked for, whatever the case of its letters.
    find: String = String::new(), required = true, example = Some("\"http://inner\"");
    /// What takes its place.
    to: TemplateText = TemplateText::default(), example = Some("\"https://${host}\"");
}
table_value!(BodyReplacement);
