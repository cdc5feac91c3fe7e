//! Documentation from the tables.

/// A doc comment as one line.
pub(crate) fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value as it stands in a file, as JSON.
pub(crate) fn toml_to_json(text: &str) -> Option<serde_json::Value> {
    let whole = format!("v = {text}");
    let lines = crate::diagnostic::Lines::new("", &whole);
    let (entries, errors) = crate::syntax::native::read(&whole, &lines);
    let entry = entries.first().filter(|_| errors.is_empty())?;
    Some(json(&entry.value))
}

fn json(node: &crate::syntax::Node) -> serde_json::Value {
    use crate::syntax::Kind;
    use serde_json::Value as Json;
    match &node.kind {
        Kind::Text(text) => Json::from(text.as_str()),
        Kind::Integer(number) => Json::from(*number),
        Kind::Float(number) => Json::from(*number),
        Kind::Bool(flag) => Json::from(*flag),
        Kind::Date | Kind::Broken => Json::Null,
        Kind::List(items) => Json::Array(items.iter().map(json).collect()),
        Kind::Table(entries) => Json::Object(
            entries
                .iter()
                .map(|e| (e.key.clone(), json(&e.value)))
                .collect(),
        ),
    }
}
