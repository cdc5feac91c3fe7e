//! What a run looks like on a terminal and in a file.

use serde_json::json;

use super::case::{Case, Class};
use super::program::Program;
use super::runner::Verdict;

/// What came of one test.
pub(super) fn line(case: &Case, verdict: &Verdict) -> String {
    let name = &case.name;
    match verdict {
        Verdict::Passed(seconds) => format!("ok        {name} ({seconds:.1} s)"),
        Verdict::Failed(why) => format!("FAILED    {name}: {why}"),
        Verdict::LeftOut(why) => format!("left out  {name}: {why}"),
    }
}

/// A table by class, and each test that failed.
pub(super) fn summary(done: &[(Case, Verdict)]) -> String {
    let mut text = String::new();
    for (case, verdict) in done {
        if let Verdict::Failed(why) = verdict {
            let class = case.class.name();
            text.push_str(&format!("\n{} ({class})\n    {why}", case.name));
        }
    }
    text.push_str("\n\nclass            passed  run  left out\n");
    let mut all = [0; 3];
    for class in Class::ALL {
        let counts = count(done, class);
        row(&mut text, class.name(), counts);
        for (sum, one) in all.iter_mut().zip(counts) {
            *sum += one;
        }
    }
    row(&mut text, "all", all);
    text
}

fn row(text: &mut String, name: &str, [passed, run, left_out]: [usize; 3]) {
    text.push_str(&format!("{name:15}  {passed:6}  {run:3}  {left_out:8}\n"));
}

/// How many of a class passed, were run, were left out.
fn count(done: &[(Case, Verdict)], class: Class) -> [usize; 3] {
    let mut counts = [0; 3];
    for (_, verdict) in done.iter().filter(|(case, _)| case.class == class) {
        let add = match verdict {
            Verdict::Passed(_) => [1, 1, 0],
            Verdict::Failed(_) => [0, 1, 0],
            Verdict::LeftOut(_) => [0, 0, 1],
        };
        for (sum, one) in counts.iter_mut().zip(add) {
            *sum += one;
        }
    }
    counts
}

/// The same for programs.
pub(super) fn json(done: &[(Case, Verdict)], program: &Program) -> String {
    let one = |(case, verdict): &(Case, Verdict)| {
        let (result, words, seconds) = match verdict {
            Verdict::Passed(seconds) => ("passed", None, Some(*seconds)),
            Verdict::Failed(why) => ("failed", Some(why), None),
            Verdict::LeftOut(why) => ("left out", Some(why), None),
        };
        json!({
            "name": case.name,
            "class": case.class.name(),
            "result": result,
            "words": words,
            "seconds": seconds,
        })
    };
    let tests: Vec<_> = done.iter().map(one).collect();
    let told = json!({"program": program.describe(), "tests": tests});
    format!("{told:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::case::Needs;

    fn case(class: Class) -> Case {
        Case {
            name: "a/b".to_owned(),
            file: "a/b.vtc".into(),
            needs: Needs::default(),
            class,
        }
    }

    #[test]
    fn the_table_adds_up() {
        let done = [
            (case(Class::Plain), Verdict::Passed(0.1)),
            (case(Class::Plain), Verdict::Failed("why".to_owned())),
            (case(Class::Tls), Verdict::LeftOut("because".to_owned())),
        ];
        let text = summary(&done);
        assert!(text.starts_with("\na/b (plain)\n    why\n"), "{text}");
        assert!(
            text.contains("plain                 1    2         0\n"),
            "{text}"
        );
        assert!(
            text.ends_with("all                   1    2         1\n"),
            "{text}"
        );
    }
}
