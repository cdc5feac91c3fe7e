//! Values made of values: lists, optional ones, maps with free keys, and `"off"`.

use serde_json::{Value as Json, json};

use super::{Problem, Reader, Spec, Text, Value};
use crate::syntax::Node;
use crate::words;

/// Lists longer than this are printed with one element per line.
const LINE: usize = 90;

/// A list; a single value stands for a list of one.
impl<T: Value> Value for Vec<T> {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(items) = node.as_list() else {
            return T::read(node, spec, reader).map(|one| vec![one]);
        };
        // Elements that cannot be read are complained about and left out.
        let items = items.iter();
        Some(
            items
                .filter_map(|item| T::read(item, spec, reader))
                .collect(),
        )
    }

    fn print(&self, spec: &Spec, out: &mut String) {
        let items: Vec<String> = self
            .iter()
            .map(|item| {
                let mut text = String::new();
                item.print(spec, &mut text);
                text
            })
            .collect();
        let length: usize = items.iter().map(|item| item.len() + 2).sum();
        if length <= LINE {
            out.push_str(&format!("[{}]", items.join(", ")));
            return;
        }
        out.push_str("[\n");
        for item in items {
            out.push_str(&format!("  {},\n", item.replace('\n', "\n  ")));
        }
        out.push(']');
    }

    fn kind(spec: &Spec) -> String {
        format!("list: {}", T::kind(spec))
    }

    fn schema(spec: &Spec) -> Json {
        let item = T::schema(spec);
        json!({ "anyOf": [item, { "type": "array", "items": item }] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        (0..rng.below(4)).map(|_| T::sample(rng, spec)).collect()
    }
}

impl<T: Value> Value for Option<T> {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(node, spec, reader).map(Some)
    }

    fn print(&self, spec: &Spec, out: &mut String) {
        if let Some(value) = self {
            value.print(spec, out);
        }
    }

    fn kind(spec: &Spec) -> String {
        T::kind(spec)
    }

    fn schema(spec: &Spec) -> Json {
        T::schema(spec)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        (rng.below(2) == 0).then(|| T::sample(rng, spec))
    }
}

/// Something that can be switched off by writing `"off"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrOff<T> {
    /// `"off"`.
    Off,
    /// On, with its settings.
    On(T),
}

impl<T> OrOff<T> {
    /// The settings, when it is on.
    #[must_use]
    pub fn on(&self) -> Option<&T> {
        match self {
            Self::On(value) => Some(value),
            Self::Off => None,
        }
    }
}

impl<T: Value> Value for OrOff<T> {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        match node.as_text() {
            Some("off") => Some(Self::Off),
            Some(_) | None => T::read(node, spec, reader).map(Self::On),
        }
    }

    fn print(&self, spec: &Spec, out: &mut String) {
        match self {
            Self::Off => out.push_str("\"off\""),
            Self::On(value) => value.print(spec, out),
        }
    }

    fn kind(spec: &Spec) -> String {
        format!("{} or \"off\"", T::kind(spec))
    }

    fn schema(spec: &Spec) -> Json {
        json!({ "anyOf": [{ "const": "off" }, T::schema(spec)] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        if rng.below(3) == 0 {
            Self::Off
        } else {
            Self::On(T::sample(rng, spec))
        }
    }
}

/// A table with free keys, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs<K, V>(pub Vec<(K, V)>);

impl<K, V> Default for Pairs<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> std::ops::Deref for Pairs<K, V> {
    type Target = [(K, V)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a, K, V> IntoIterator for &'a Pairs<K, V> {
    type Item = &'a (K, V);
    type IntoIter = std::slice::Iter<'a, (K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<K: Text, V: Value> Value for Pairs<K, V> {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = reader.table(node, &Self::kind(spec))?;
        let mut pairs: Vec<(K, V)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = match K::parse(&entry.key) {
                Ok(key) => key,
                Err(problem) => {
                    reader.problem(&entry.at, "key", problem);
                    continue;
                }
            };
            if pairs.iter().any(|(known, _)| known.is_same(&key)) {
                let message = format!("`{}` stands here twice", entry.key);
                reader.problem(
                    &entry.at,
                    "duplicate",
                    Problem::new(message, "each name once"),
                );
                continue;
            }
            if let Some(value) = V::read(&entry.value, spec, reader) {
                pairs.push((key, value));
            }
        }
        Some(Self(pairs))
    }

    fn print(&self, spec: &Spec, out: &mut String) {
        if self.0.is_empty() {
            out.push_str("{}");
            return;
        }
        let pairs: Vec<String> = self
            .iter()
            .map(|(key, value)| {
                let mut text = format!("{} = ", words::key(&key.text()));
                value.print(spec, &mut text);
                text
            })
            .collect();
        out.push_str(&format!("{{ {} }}", pairs.join(", ")));
    }

    fn kind(spec: &Spec) -> String {
        format!("table from {} to {}", K::KIND, V::kind(spec))
    }

    fn schema(spec: &Spec) -> Json {
        json!({ "type": "object", "additionalProperties": V::schema(spec) })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        let mut pairs: Vec<(K, V)> = Vec::new();
        for _ in 0..rng.below(4) {
            let key = K::sample(rng);
            if pairs.iter().all(|(known, _)| !known.is_same(&key)) {
                pairs.push((key, V::sample(rng, spec)));
            }
        }
        Self(pairs)
    }
}
