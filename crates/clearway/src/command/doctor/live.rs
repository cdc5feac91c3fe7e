//! What a running Clearway says of its open incidents.

use std::io::ErrorKind;

use clearway_config::model::{Bind, OrOff};
use clearway_doctor::report::verdict_of_json;
use serde_json::Value;

use super::Examination;
use super::sources::Sources;

/// Asks for them, where an admin API is named or the configuration has one that answers.
pub(super) fn read(on: &mut Examination, sources: &Sources) {
    let asked = on.options.admin.clone();
    let address = match (&asked, &sources.native) {
        (Some(address), _) => Some(address.clone()),
        (None, Some(path)) => written(&clearway_config::load(path)),
        (None, None) => None,
    };
    let Some(address) = address else { return };
    let answer = clearway_control::client::request(&address, "GET", "/api/v1/incidents");
    match answer {
        Ok((200, body)) => match serde_json::from_str::<Value>(&body) {
            Ok(json) => take(on, &address, &json),
            Err(error) => on.trouble(&format!("{address}: the answer is no JSON: {error}")),
        },
        Ok((status, _)) if asked.is_some() => on.trouble(&format!(
            "{address}: /api/v1/incidents is answered with {status}; is that the admin API of Clearway?"
        )),
        Err(error) if asked.is_some() => {
            let is_nobody = matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NotFound
            );
            let advice = if is_nobody {
                "no admin API listens there"
            } else {
                "is that the admin API of Clearway?"
            };
            on.trouble(&format!("{address}: {error}: {advice}"));
        }
        // Nobody said that it runs.
        Ok(_) | Err(_) => {}
    }
}

/// Where the configuration puts the admin API.
fn written(loaded: &clearway_config::Loaded) -> Option<String> {
    match &loaded.config.admin.listen {
        OrOff::On(Bind::Unix { path, .. }) => Some(format!("unix:{}", path.display())),
        OrOff::On(Bind::Inherited(_)) => None,
        OrOff::On(Bind::Ip { address, .. }) => Some(address.to_string()),
        OrOff::Off => None,
    }
}

fn take(on: &mut Examination, address: &str, json: &Value) {
    on.examined += 1;
    let incidents = json["incidents"].as_array().map_or(&[][..], Vec::as_slice);
    let (open, closed): (Vec<&Value>, Vec<&Value>) = incidents
        .iter()
        .partition(|incident| incident["state"] == "open");
    let verdicts = open
        .iter()
        .filter_map(|incident| verdict_of_json(&incident["verdict"]));
    on.live.extend(verdicts);
    on.note(format!(
        "Clearway at {address} runs; open incidents: {}, closed ones: {}.",
        open.len(),
        closed.len()
    ));
}
