//! `frontend` and `listen`: where clients come in.

use super::super::{BindSurvey, FrontSurvey};
use super::{Global, Line, Scope, backend};

pub(super) fn read(scope: &Scope<'_>, global: &Global<'_>) -> FrontSurvey {
    let is_http = scope.is_http();
    let has_servers = scope.kind() == "listen" && backend::is_one(scope);
    let mut backends: Vec<String> = Vec::new();
    let rules = scope.own_with("use_backend").map(|line| line.word(1));
    let default = scope.find(&["default_backend"]).map(|line| line.word(1));
    let own = has_servers.then(|| scope.name());
    // A name with an expression is known only when a request comes.
    let named = rules
        .chain(default)
        .chain(own)
        .filter(|name| !name.contains("%["));
    for name in named {
        if !backends.iter().any(|known| known == name) {
            backends.push(name.to_owned());
        }
    }
    let silence = scope.timeout("timeout client");
    FrontSurvey {
        name: scope.name().to_owned(),
        origin: scope.head().map(Line::origin),
        binds: binds(scope),
        hosts: Vec::new(),
        backends,
        has_default: default.is_some() || has_servers || scope.own().any(is_for_all),
        client_timeout: silence.value.map(|value| super::Setting {
            value,
            name: silence.name,
            origin: silence.origin.clone(),
        }),
        body_limit: None,
        header_limit: is_http.then(|| global.head_limit()),
        maxconn: scope.number("maxconn"),
        access_logs: access_logs(scope, global),
        error_logs: Vec::new(),
    }
}

/// Whether a line decides about every request.
fn is_for_all(line: &Line) -> bool {
    let has_condition = line.texts(1).any(|word| matches!(word, "if" | "unless"));
    let decides = line.word(0) == "use_backend" || answers(line);
    decides && !has_condition
}

/// Whether a line may answer a request without any server.
pub(super) fn answers(line: &Line) -> bool {
    match line.word(0) {
        "redirect" | "stats" | "monitor-uri" | "dispatch" | "use-server" => true,
        "http-request" | "tcp-request" => {
            let answers = [
                "return",
                "redirect",
                "deny",
                "tarpit",
                "reject",
                "silent-drop",
                "use-service",
                "set-dst",
                "do-resolve",
            ];
            line.texts(1).take(2).any(|word| answers.contains(&word))
        }
        "option" => matches!(line.word(1), "transparent" | "http_proxy"),
        // Pages for maintenance: a group without servers whose error says so.
        "errorfile" | "errorloc" | "errorloc302" | "errorloc303" => line.word(1) == "503",
        "http-error" => line.texts(1).any(|word| word == "503"),
        "mode" => matches!(line.word(1), "health" | "log"),
        _ => false,
    }
}

fn binds(scope: &Scope<'_>) -> Vec<BindSurvey> {
    let mut binds = Vec::new();
    for line in scope.own_with("bind") {
        binds.extend(addresses(line, 1));
    }
    // Once the address stood behind the name.
    if let Some(head) = scope.head().filter(|head| head.word(2).contains(':')) {
        binds.extend(addresses(head, 2));
    }
    binds
}

fn addresses(line: &Line, at: usize) -> Vec<BindSurvey> {
    let says = |word: &str| line.texts(at + 1).any(|text| text == word);
    let addresses = line
        .word(at)
        .split(',')
        .filter(|address| !address.is_empty());
    addresses
        .map(|address| BindSurvey {
            address: address.to_owned(),
            tls: says("ssl"),
            proxy_header: says("accept-proxy"),
            origin: Some(line.origin()),
        })
        .collect()
}

/// Where logs go, with the name or text of their format.
fn access_logs(scope: &Scope<'_>, global: &Global<'_>) -> Vec<(String, String)> {
    let format = format(scope);
    let mut logs = Vec::new();
    let mut add = |destination: &str| {
        let log = (destination.to_owned(), format.clone());
        if !destination.is_empty() && !logs.contains(&log) {
            logs.push(log);
        }
    };
    if scope.own().any(|line| line.begins(&["no", "log"])) {
        return Vec::new();
    }
    for line in scope.all("log") {
        match line.word(1) {
            "global" => global.all("log").for_each(|line| add(line.word(1))),
            destination => add(destination),
        }
    }
    logs
}

fn format(scope: &Scope<'_>) -> String {
    let names = ["httplog", "httpslog", "tcplog"];
    let found = scope.find_by(|line| {
        line.word(0) == "log-format" || (line.word(0) == "option" && names.contains(&line.word(1)))
    });
    match found {
        Some(line) if line.word(0) == "log-format" => line.word(1).to_owned(),
        Some(line) if line.word(2) == "clf" => "httplog clf".to_owned(),
        Some(line) => line.word(1).to_owned(),
        None => "default".to_owned(),
    }
}
