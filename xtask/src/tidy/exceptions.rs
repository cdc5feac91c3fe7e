//! Findings that are excused, each by a line with a reason.

use super::Finding;

/// The one file with exceptions.
pub(super) const FILE: &str = "xtask/exceptions.txt";

/// Drops excused findings; adds one for each line that is malformed or excuses nothing.
pub(super) fn apply(text: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let mut left = findings;
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let complaint = |message: &str| Finding {
            rule: "exceptions",
            path: FILE.to_owned(),
            line: index + 1,
            message: message.to_owned(),
        };
        let mut parts = line.splitn(3, '|').map(str::trim);
        let (Some(rule), Some(path), Some(reason)) = (parts.next(), parts.next(), parts.next())
        else {
            left.push(complaint("not of the form `rule | path | reason`"));
            continue;
        };
        if reason.is_empty() {
            left.push(complaint("an exception needs a reason"));
            continue;
        }
        let before = left.len();
        left.retain(|finding| finding.rule != rule || finding.path != path);
        if left.len() == before {
            left.push(complaint("excuses nothing: delete it"));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            rule: "header",
            path: "a.rs".to_owned(),
            line: 1,
            message: String::new(),
        }
    }

    #[test]
    fn a_reason_excuses() {
        assert!(apply("header | a.rs | generated", vec![finding()]).is_empty());
        assert_eq!(apply("header | b.rs | generated", vec![finding()]).len(), 2);
        assert_eq!(apply("header | a.rs |", vec![finding()]).len(), 2);
        assert_eq!(apply("# nothing\n\n", vec![finding()]).len(), 1);
    }

    #[test]
    fn idle_exceptions_are_found() {
        assert_eq!(apply("header | a.rs | generated", vec![]).len(), 1);
    }
}
