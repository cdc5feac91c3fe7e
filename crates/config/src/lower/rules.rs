//! Routes and rules as the rule engine wants them.

use crate::value::Problem;
use crate::words;

/// What stands for a part of the request.
const PLAIN: [&str; 13] = [
    "host",
    "path",
    "query",
    "target",
    "method",
    "client_ip",
    "client_port",
    "id",
    "scheme",
    "listener",
    "status",
    "backend",
    "server",
];
/// The same with a name behind a colon.
const NAMED: [&str; 5] = ["header", "cookie", "query", "var", "response_header"];

const EXPECTED: &str =
    "text with ${host}, ${path}, ${header:name} and the like; $$ for a dollar sign";

/// Checks a template.
pub(crate) fn check_template(text: &str) -> Result<(), Problem> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let Some(inside) = after.strip_prefix('{') else {
            let problem = Problem::new(format!("{text:?} has a single $"), EXPECTED);
            return Err(problem.hint("write $$ for a dollar sign"));
        };
        let Some((name, after)) = inside.split_once('}') else {
            return Err(Problem::new(
                format!("{text:?} has a ${{ without its }}"),
                EXPECTED,
            ));
        };
        check_part(name)?;
        rest = after;
    }
    Ok(())
}

fn check_part(name: &str) -> Result<(), Problem> {
    let known = match name.split_once(':') {
        Some((kind, name)) => NAMED.contains(&kind) && !name.is_empty(),
        None => {
            PLAIN.contains(&name) || name.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty()
        }
    };
    if known {
        return Ok(());
    }
    let mut problem = Problem::new(
        format!("${{{name}}} stands for nothing"),
        format!(
            "one of {}, or {} with \":name\"",
            PLAIN.join(", "),
            NAMED.join(", ")
        ),
    );
    problem.hint = words::closest(name, PLAIN).map(|close| format!("did you mean ${{{close}}}?"));
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_checked() {
        for good in [
            "",
            "plain",
            "${host}",
            "a${path}b$$",
            "${header:x-a}",
            "${1}",
        ] {
            assert_eq!(check_template(good), Ok(()), "{good}");
        }
        for bad in [
            "$",
            "$x",
            "${",
            "${host",
            "${}",
            "${hots}",
            "${header:}",
            "${x:y}",
        ] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
        assert_eq!(
            check_template("${hots}").unwrap_err().hint.as_deref(),
            Some("did you mean ${host}?")
        );
    }
}
