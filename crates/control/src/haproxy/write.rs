//! Rows and fields in the forms that HAProxy writes them: CSV, typed lines, JSON.

use std::fmt::Write as _;

use super::fields::{FIELDS, FIRST_OF_MODULES, Field};
use super::samples::Object;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Signed(i64),
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Signed(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A row of the statistics.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(super) object: Object,
    /// The numbers by which tools tell proxies and servers apart.
    pub(super) proxy: u32,
    pub(super) server: u32,
    values: Vec<Option<Value>>,
}

impl Row {
    pub(super) fn new(object: Object, proxy: u32, server: u32) -> Self {
        Self {
            object,
            proxy,
            server,
            values: vec![None; FIELDS.len()],
        }
    }

    pub(super) fn put(&mut self, field: Field, value: Value) {
        if let Some(place) = self.values.get_mut(field as usize) {
            *place = Some(value);
        }
    }

    pub(super) fn number(&mut self, field: Field, number: u64) {
        self.put(field, Value::Number(number));
    }

    pub(super) fn text(&mut self, field: Field, text: impl Into<String>) {
        self.put(field, Value::Text(text.into()));
    }

    pub(super) fn value(&self, field: Field) -> Option<&Value> {
        self.values.get(field as usize)?.as_ref()
    }

    /// The number in a column, 0 where there is none.
    pub(super) fn count(&self, field: Field) -> u64 {
        match self.value(field) {
            Some(Value::Number(number)) => *number,
            Some(Value::Signed(_) | Value::Text(_)) | None => 0,
        }
    }

    /// The text in a column.
    pub(super) fn word(&self, field: Field) -> &str {
        match self.value(field) {
            Some(Value::Text(text)) => text,
            Some(Value::Number(_) | Value::Signed(_)) | None => "",
        }
    }

    /// What the columns that count stand at.
    pub(super) fn counters(&self) -> Vec<u64> {
        let counters = FIELDS.iter().filter(|column| column.counts());
        counters.map(|column| self.count(column.field)).collect()
    }

    /// Has the columns that count begin at what they stood at once.
    pub(super) fn begin_at(&mut self, cleared: &[u64]) {
        let counters = FIELDS.iter().filter(|column| column.counts());
        for (column, before) in counters.zip(cleared) {
            if let Some(Some(Value::Number(number))) = self.values.get_mut(column.field as usize) {
                *number = number.saturating_sub(*before);
            }
        }
    }

    fn letter(&self) -> char {
        match self.object {
            Object::Frontend => 'F',
            Object::Backend => 'B',
            Object::Server => 'S',
        }
    }
}

/// The statistics as CSV, with the header that tools look for.
pub(super) fn csv(rows: &[Row]) -> String {
    let mut out = "# ".to_owned();
    for column in FIELDS {
        if column.field == FIRST_OF_MODULES {
            out.push_str("-,");
        }
        out.push_str(column.name);
        out.push(',');
    }
    out.push('\n');
    for row in rows {
        for (column, value) in FIELDS.iter().zip(&row.values) {
            if column.field == FIRST_OF_MODULES {
                out.push_str("-,");
            }
            if let Some(value) = value {
                cell(&value.to_string(), &mut out);
            }
            out.push(',');
        }
        out.push('\n');
    }
    out
}

/// A cell; one with a separator in it stands in quotes.
fn cell(text: &str, out: &mut String) {
    if text.contains([',', '"', '\n', '\r']) {
        let text = text.replace(['\n', '\r'], " ").replace('"', "\"\"");
        out.push('"');
        out.push_str(&text);
        out.push('"');
    } else {
        out.push_str(text);
    }
}

/// The statistics as lines with a type in each.
pub(super) fn typed(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        for (column, value) in FIELDS.iter().zip(&row.values) {
            let Some(value) = value else { continue };
            let place = column.field as usize;
            let (name, tags, kind) = (column.name, column.tags, column.kind);
            let (letter, proxy, server) = (row.letter(), row.proxy, row.server);
            // Writing to a text cannot fail.
            let _ = writeln!(
                out,
                "{letter}.{proxy}.{server}.{place}.{name}.1:{tags}:{kind}:{value}"
            );
        }
    }
    out
}

/// The statistics as JSON: a list of rows, each a list of fields.
pub(super) fn as_json(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let object = match row.object {
            Object::Frontend => "Frontend",
            Object::Backend => "Backend",
            Object::Server => "Server",
        };
        let head = format!(
            "\"objType\":\"{object}\",\"proxyId\":{},\"id\":{},",
            row.proxy, row.server
        );
        let cells = FIELDS
            .iter()
            .zip(&row.values)
            .filter_map(|(column, value)| {
                let value = value.as_ref()?;
                let known = (column.field as usize, column.name, column.tags, column.kind);
                Some(json_field(&head, known, value))
            });
        format!("[{}]", cells.collect::<Vec<_>>().join(","))
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!("[{}]\n", rows.join(","))
}

/// One field of information about the process or of a row, as JSON.
pub(super) fn json_field(
    head: &str,
    (place, name, tags, kind): (usize, &str, &str, &str),
    value: &Value,
) -> String {
    let value = match value {
        Value::Number(number) => number.to_string(),
        Value::Signed(number) => number.to_string(),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
    };
    let letters = tags.as_bytes();
    let word = |at: usize| letters.get(at).map_or("", |letter| tag(at, *letter));
    format!(
        "{{{head}\"field\":{{\"pos\":{place},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":\
         {{\"origin\":\"{}\",\"nature\":\"{}\",\"scope\":\"{}\"}},\"value\":{{\"type\":\"{kind}\",\
         \"value\":{value}}}}}",
        word(0),
        word(1),
        word(2)
    )
}

/// The word for a letter of the tags.
fn tag(place: usize, letter: u8) -> &'static str {
    match (place, letter) {
        (0, b'M') => "Metric",
        (0, b'S') => "Status",
        (0, b'K') => "Key",
        (0, b'C') => "Config",
        (0, b'P') => "Product",
        (1, b'A') => "Age",
        (1, b'a') => "Avg",
        (1, b'C') => "Counter",
        (1, b'D') => "Duration",
        (1, b'G') => "Gauge",
        (1, b'L') => "Limit",
        (1, b'M') => "Max",
        (1, b'N') => "Name",
        (1, b'O') => "Output",
        (1, b'R') => "Rate",
        (2, b'P') => "Process",
        (2, b'S') => "Service",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let mut row = Row::new(Object::Server, 3, 1);
        row.text(Field::Pxname, "app");
        row.number(Field::Stot, 12);
        row.number(Field::Scur, 4);
        row.text(Field::LastChk, "bad \"x\", y");
        row
    }

    #[test]
    fn all_forms_tell_the_same() {
        let text = csv(&[row()]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# pxname,svname,qcur,"));
        assert!(lines[0].contains(",agg_check_status,-,ssl_sess,"));
        assert!(lines[1].starts_with("app,,,,4,,,12,"), "{}", lines[1]);
        assert!(lines[1].contains(",\"bad \"\"x\"\", y\","));
        assert!(typed(&[row()]).contains("S.3.1.7.stot.1:MCP:u64:12\n"));
        let json: serde_json::Value = serde_json::from_str(&as_json(&[row()])).unwrap();
        let field = &json[0][2];
        assert_eq!(field["field"]["name"], "stot");
        assert_eq!(field["tags"]["nature"], "Counter");
        assert_eq!(
            (&field["objType"], &field["proxyId"]),
            (&"Server".into(), &3.into())
        );
        assert_eq!(field["value"]["value"], 12);
    }

    #[test]
    fn cleared_counters_count_from_there_and_levels_stay() {
        let mut row = row();
        row.begin_at(&row.counters());
        assert_eq!((row.count(Field::Stot), row.count(Field::Scur)), (0, 4));
    }
}
