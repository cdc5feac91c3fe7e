//! Two texts beside each other.

/// Lines of both with `  ` where they agree, `- ` for what only the real program said and `+ ` for what
/// only Clearway did.
pub(crate) fn lines(real: &[String], ours: &[String]) -> String {
    let mut out = String::new();
    let mut say = |mark: &str, line: &str| out.push_str(&format!("    {mark}{line}\n"));
    let common = common(real, ours);
    let (mut left, mut right) = (real.iter(), ours.iter());
    for shared in &common {
        for line in left.by_ref().take_while(|l| *l != shared) {
            say("- ", line);
        }
        for line in right.by_ref().take_while(|l| *l != shared) {
            say("+ ", line);
        }
        say("  ", shared);
    }
    left.for_each(|line| say("- ", line));
    right.for_each(|line| say("+ ", line));
    out
}

/// The longest sequence of lines that both have.
fn common(a: &[String], b: &[String]) -> Vec<String> {
    let mut best = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate().rev() {
        for (j, y) in b.iter().enumerate().rev() {
            best[i][j] = if x == y {
                best[i + 1][j + 1] + 1
            } else {
                best[i + 1][j].max(best[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            out.push(a[i].clone());
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn differences_are_marked() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let text = super::lines(&lines("a b c e"), &lines("a x c d e"));
        let marks: Vec<&str> = text.lines().map(|l| l.split_at(4).1).collect();
        assert_eq!(marks, ["  a", "- b", "+ x", "  c", "+ d", "  e"]);
    }
}
