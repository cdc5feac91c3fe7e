//! What is remembered about a certificate besides itself, in a file beside it.
//!
//! It lets pauses and the choice of an issuer survive a restart: a process that crashes again and again
//! must not spend an authority's rate limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::policy::Window;

/// The version written; others are not read.
const VERSION: u64 = 1;

/// More failures are not told of; there are not more issuers.
const TRIES_MAX: usize = 32;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who issued the certificate, by its name in the settings.
    pub(crate) issuer: Option<String>,
    /// When it was obtained; 0 when nobody knows.
    pub(crate) obtained: u64,
    /// Whether it was asked for by a client.
    pub(crate) on_demand: bool,
    /// What the authority said about renewing it.
    pub(crate) info: Option<Info>,
    /// Failures since the last success, by issuer.
    pub(crate) tries: BTreeMap<String, Tries>,
}

/// Renewal information (RFC 9773) of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// The serial number of the certificate it is about.
    pub(crate) serial: String,
    /// When to renew; `None` when asking failed.
    pub(crate) window: Option<Window>,
    /// When to ask again.
    pub(crate) ask_at: u64,
    /// A page that explains the window.
    pub(crate) explanation: Option<String>,
}

/// Failures at one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// How many in a row.
    pub(crate) failures: u32,
    /// Not to be tried before.
    pub(crate) not_before: u64,
    /// The last one in words.
    pub(crate) words: String,
    /// Its code.
    pub(crate) code: String,
}

impl Record {
    /// As JSON.
    pub(crate) fn to_file(&self) -> Vec<u8> {
        let tries: BTreeMap<&String, Value> = self
            .tries
            .iter()
            .map(|(issuer, tries)| {
                let Tries {
                    failures,
                    not_before,
                    words,
                    code,
                } = tries;
                let value = json!({
                    "failures": failures, "not_before": not_before, "words": words, "code": code,
                });
                (issuer, value)
            })
            .collect();
        let info = self.info.as_ref().map(|info| {
            json!({
                "serial": info.serial,
                "start": info.window.map(|window| window.start),
                "end": info.window.map(|window| window.end),
                "ask_at": info.ask_at,
                "explanation": info.explanation,
            })
        });
        let whole = json!({
            "version": VERSION,
            "issuer": self.issuer,
            "obtained": self.obtained,
            "on_demand": self.on_demand,
            "info": info,
            "tries": tries,
        });
        let mut text = format!("{whole:#}").into_bytes();
        text.push(b'\n');
        text
    }

    /// Reads what [`Record::to_file`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn from_file(bytes: &[u8]) -> Result<Self, String> {
        let whole: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match whole["version"].as_u64() {
            Some(VERSION) => {}
            Some(other) => return Err(format!("version {other} is not known")),
            None => return Err("it has no version".to_owned()),
        }
        let tries = whole["tries"].as_object().ok_or("it has no tries")?;
        let tries = tries.iter().take(TRIES_MAX).map(|(issuer, value)| {
            let failures = value["failures"].as_u64().unwrap_or(0);
            let tries = Tries {
                failures: u32::try_from(failures).unwrap_or(u32::MAX),
                not_before: value["not_before"].as_u64().unwrap_or(0),
                words: text(&value["words"]).unwrap_or_default(),
                code: text(&value["code"]).unwrap_or_default(),
            };
            (issuer.clone(), tries)
        });
        Ok(Self {
            issuer: text(&whole["issuer"]),
            obtained: whole["obtained"].as_u64().unwrap_or(0),
            on_demand: whole["on_demand"].as_bool().unwrap_or(false),
            info: info(&whole["info"]),
            tries: tries.collect(),
        })
    }
}

fn info(value: &Value) -> Option<Info> {
    let window = value["start"].as_u64().zip(value["end"].as_u64());
    Some(Info {
        serial: text(&value["serial"])?,
        window: window.map(|(start, end)| Window { start, end }),
        ask_at: value["ask_at"].as_u64()?,
        explanation: text(&value["explanation"]),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut record = Record {
            issuer: Some("le".to_owned()),
            obtained: 5_000,
            on_demand: true,
            info: Some(Info {
                serial: "03ab".to_owned(),
                window: Some(Window { start: 5, end: 9 }),
                ask_at: 77,
                explanation: Some("https://example.org".to_owned()),
            }),
            tries: BTreeMap::new(),
        };
        record.tries.insert(
            "le".to_owned(),
            Tries {
                failures: 3,
                not_before: 1_000,
                words: "port 80 \"cannot\" be reached".to_owned(),
                code: "acme-connection".to_owned(),
            },
        );
        assert_eq!(Record::from_file(&record.to_file()), Ok(record));
        let empty = Record::default();
        assert_eq!(Record::from_file(&empty.to_file()), Ok(empty));
    }

    #[test]
    fn damaged_records_say_what_is_wrong() {
        for (bytes, why) in [
            (b"{".as_slice(), "EOF"),
            (b"{}", "no version"),
            (b"{\"version\":9}", "version 9"),
            (b"{\"version\":1}", "no tries"),
        ] {
            let told = Record::from_file(bytes).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
