//! `[map.NAME]`: tables from values to texts.

use ipnet::IpNet;

use super::{concept, table_value};
use crate::value::{RegexText, TemplateText};

concept! {
    /// A table from values to texts: `${map:NAME}` is what it yields. Of several entries that fit the
    /// winner is: an exact one, the narrowest network, the longest begin, the longest end, the first range
    /// of numbers, the first part, the first regular expression.
    Map, "[map.NAME]", named name;

    /// What is looked up; not needed where a converter, `${path|map(NAME)}`, says it.
    key: TemplateText = TemplateText::default(), example = Some("\"${header:upgrade}\"");
    /// What it yields when no entry fits; nothing when absent.
    default: Option<TemplateText> = None, example = Some("\"upgrade\"");
    /// Whether `A` is `a`.
    ignore_case: bool = false, example = Some("true");
    /// The entries.
    entries: Vec<MapEntry> = Vec::new(), example = Some("[{ is = \"\", to = \"close\" }]");
}

concept! {
    /// An entry of a map. One of `is`, `begins`, `ends`, `contains`, `regex`, `within` and `min` with
    /// `max` says what the value has to be.
    MapEntry, "map entry";

    /// The value is this text.
    is: Option<String> = None, example = Some("\"\"");
    /// It begins with this text.
    begins: Option<String> = None, example = Some("\"/api\"");
    /// It ends with this text.
    ends: Option<String> = None, example = Some("\".example.org\"");
    /// It contains this text.
    contains: Option<String> = None, example = Some("\"bot\"");
    /// It is a number, at least this.
    min: Option<u64> = None, example = Some("200");
    /// It is a number, at most this.
    max: Option<u64> = None, example = Some("299");
    /// This matches somewhere in it.
    regex: Option<RegexText> = None, example = Some("\"^/[0-9]+$\"");
    /// It is an address in this network.
    within: Option<IpNet> = None, example = Some("\"10.0.0.0/8\"");
    /// What the map yields, with `$1` for a group of `regex`.
    to: TemplateText = TemplateText::default(), example = Some("\"close\"");
}
table_value!(MapEntry);
