//! `[incidents]`: what is done about failures besides writing them down.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{
    HeaderValue, OrOff, Reader, Spec, Value, choices, print_inline, read_table, read_text,
    section_schema,
};
use crate::words;

concept! {
    /// Failures of a kind on one server make an incident: it opens with the first, gets a verdict (why,
    /// who has to act, what mends it), and closes when it has been quiet.
    Incidents, "[incidents]";

    /// Whether servers that fail are examined by probes: connections, look-ups, safe requests (GET), a
    /// few at a time.
    probes: bool = true;
    /// How long nothing may have failed for an incident to be over.
    quiet: Duration = Duration::from_secs(60), example = Some("\"5m\"");
    /// The file that closed incidents are kept in beyond a restart, or `"off"`.
    store: OrOff<PathBuf> = OrOff::Off, example = Some("\"/var/lib/clearway/incidents.jsonl\"");
    /// How long they are kept there.
    keep: Duration = Duration::from_secs(30 * 24 * 3_600), example = Some("\"7d\"");
    /// Who is told when an incident opens, its verdict changes or it closes: URLs, or tables.
    webhooks: Vec<Webhook> = Vec::new(), example = Some("[\"https://alerts.example.org/clearway\"]");
}
table_value!(Incidents);

choices! {
    /// What a webhook is sent.
    WebhookFormat {
        /// The incident with its verdict.
        Json = "json",
        /// A text, as Slack and those like it take it.
        Slack = "slack",
    }
}

concept! {
    /// Where incidents are told of: a URL, or a table.
    Webhook, "incidents.webhooks";

    /// The URL that gets a POST.
    url: HeaderValue = HeaderValue::default(), required = true,
        example = Some("\"https://alerts.example.org/clearway\"");
    /// What is sent.
    format: WebhookFormat = WebhookFormat::Json, example = Some("\"slack\"");
    /// Sent as `Authorization`.
    authorization: Option<HeaderValue> = None, example = Some("\"Bearer SECRET\"");
}

impl Webhook {
    fn at(url: HeaderValue) -> Self {
        Self {
            url,
            ..Self::default()
        }
    }
}

impl Value for Webhook {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let webhook: Self = if node.as_table().is_some() {
            read_table(node, reader)?
        } else if node.as_text().is_some() {
            let mut webhook = Self::at(read_text(node, reader)?);
            let origin = reader.origin(&node.span);
            webhook.origins = crate::diagnostic::Origins::new(origin.clone());
            webhook.origins.set("url", origin);
            webhook
        } else {
            return reader.wrong_type(node, "a URL, or a table");
        };
        Some(webhook)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        if *self == Self::at(self.url.clone()) {
            out.push_str(&words::quoted(self.url.as_str()));
        } else {
            print_inline(self, out);
        }
    }

    fn kind(_: &Spec) -> String {
        "URL, or table, see incidents.webhooks".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string" }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}
