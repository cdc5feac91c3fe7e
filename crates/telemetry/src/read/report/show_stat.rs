//! HAProxy's `show stat`: CSV whose first line names the columns.

use super::ServerHealth;

/// Servers and backends of `show stat`; columns are found by their names, so that any version will do.
/// Front ends and listeners are left out. Empty where it is something else.
#[must_use]
pub fn show_stat(text: &str) -> Vec<ServerHealth> {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("# pxname,"));
    let Some(head) = lines.next() else {
        return Vec::new();
    };
    let names: Vec<&str> = head.trim_start_matches("# ").split(',').collect();
    let rows = lines.take_while(|line| !line.trim().is_empty());
    rows.filter_map(|line| row(&names, &cells(line))).collect()
}

fn row(names: &[&str], cells: &[String]) -> Option<ServerHealth> {
    let cell = |name: &str| {
        let at = names.iter().position(|known| *known == name)?;
        cells
            .get(at)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let text = |name| cell(name).unwrap_or_default().to_owned();
    let number = |name| cell(name)?.parse::<u64>().ok();
    let server = text("svname");
    // `type` is 1 for a backend and 2 for a server.
    let kind = number("type");
    if server.is_empty() || server == "FRONTEND" || kind.is_some_and(|kind| kind != 1 && kind != 2)
    {
        return None;
    }
    let words = [cell("last_chk"), cell("check_desc")];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    Some(ServerHealth {
        backend: text("pxname"),
        server,
        address: text("addr"),
        status: text("status"),
        check_status: text("check_status").trim_start_matches("* ").to_owned(),
        check_code: cell("check_code")
            .and_then(|code| code.parse().ok())
            .unwrap_or(0),
        last_check: words.join(", "),
        changed_seconds: number("lastchg"),
        down_seconds: number("downtime"),
        failed_checks: number("chkfail"),
        connection_errors: number("econ"),
        response_errors: number("eresp"),
        sessions: (number("scur"), number("slim")),
        queued: number("qcur"),
    })
}

/// The cells of a line; those in quotes may have commas, and `""` for a quote.
fn cells(line: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                if let Some(cell) = out.last_mut() {
                    cell.push('"');
                }
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            other => {
                if let Some(cell) = out.last_mut() {
                    cell.push(other);
                }
            }
        }
    }
    out
}
