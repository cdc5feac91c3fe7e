//! What a run of scenarios looks like on a terminal.

use serde_json::Value;

use super::{Args, Line, RIGHT_MIN};

/// Its line of the table, and what is wrong with it below.
pub(super) fn describe(line: &Line, width: usize) -> String {
    let none = Value::Null;
    let report = line.report.as_ref().unwrap_or(&none);
    let peer = line.peer.as_deref().unwrap_or("clearway");
    let name = format!("{:width$}  {peer:8}", line.name);
    if let Some(reason) = report["skipped"].as_str() {
        return format!("{name}  left out: {reason}");
    }
    let word = if line.is_ok { "ok" } else { "FAILED" };
    let faults = texts(&report["faults"]).join(" ");
    let got = texts(&report["outcomes"]).join(" ");
    let verdict = &report["verdict"];
    let place = verdict["place"].as_str().unwrap_or("-");
    let certain = match verdict["wrong_certain"].as_bool() {
        Some(true) => " WRONG AND CERTAIN",
        Some(false) | None => "",
    };
    let named = verdict["named"].as_str().unwrap_or_default();
    let mut text = format!(
        "{name}  {word:6} {:5.1} s  {place:11} {faults} [{got}] {named}{certain}",
        line.seconds
    );
    let offline = &report["offline"];
    if !matches!(
        offline["place"].as_str(),
        Some("first" | "not-asked") | None
    ) {
        let named = offline["named"].as_str().unwrap_or_default();
        text.push_str(&format!("; its log alone: {named}"));
    }
    let mut problems = texts(&report["problems"]);
    if line.is_ok && place != "first" && line.peer.is_some() {
        problems.extend(texts(&verdict["problems"]));
    }
    if problems.is_empty() && !line.is_ok {
        text.push_str(&format!("\n    {}", shortened(&line.noise)));
    }
    for problem in problems.iter().take(6) {
        text.push_str(&format!("\n    {}", shortened(problem)));
    }
    text.trim_end().to_owned()
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn shortened(text: &str) -> String {
    let text = text.trim().replace('\n', "\n    ");
    match text.char_indices().nth(1500) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// How many verdicts were right.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Causes that can be told from all others: all, named first, among the first three.
    decidable: usize,
    first: usize,
    three: usize,
    /// Groups of causes that cannot: all, and those of which every member was named.
    groups: usize,
    whole: usize,
    /// Groups of which the right member stood first.
    lucky: usize,
    /// Wrong causes that were called certain.
    certain: usize,
    /// Left out.
    skipped: usize,
    /// Healthy set-ups, and those about which something was said.
    healthy: usize,
    alarms: usize,
}

impl Tally {
    fn add(&mut self, report: &Value, verdict: &Value) {
        if report["skipped"].is_string() {
            self.skipped += 1;
            return;
        }
        if report["cause"].is_null() {
            self.healthy += 1;
            self.alarms += usize::from(!texts(&verdict["problems"]).is_empty());
            return;
        }
        let place = verdict["place"].as_str().unwrap_or("not-asked");
        if place == "not-asked" {
            return;
        }
        self.certain += usize::from(verdict["wrong_certain"] == true);
        match verdict["whole"].as_bool() {
            None => {
                self.decidable += 1;
                self.first += usize::from(place == "first");
                self.three += usize::from(place != "missing");
            }
            Some(whole) => {
                self.groups += 1;
                self.whole += usize::from(whole);
                self.lucky += usize::from(place == "first");
            }
        }
    }

    fn sum(self, other: &Self) -> Self {
        Self {
            decidable: self.decidable + other.decidable,
            first: self.first + other.first,
            three: self.three + other.three,
            groups: self.groups + other.groups,
            whole: self.whole + other.whole,
            lucky: self.lucky + other.lucky,
            certain: self.certain + other.certain,
            skipped: self.skipped + other.skipped,
            healthy: self.healthy + other.healthy,
            alarms: self.alarms + other.alarms,
        }
    }

    fn row(&self, name: &str) -> String {
        let share = (self.first * 100)
            .checked_div(self.decidable)
            .unwrap_or(100);
        format!(
            "{name:14}{:>4} of {:<4}{share:>4} %{:>9}{:>11} of {:<4}{:>4} of {:<4}{:>9}{:>9}{:>6} of {}",
            self.first,
            self.decidable,
            self.three,
            self.whole,
            self.groups,
            self.lucky,
            self.groups,
            self.certain,
            self.skipped,
            self.alarms,
            self.healthy,
        )
    }

    /// Whether it says enough about a bar, and is below it.
    fn is_poor(&self) -> bool {
        self.decidable >= 20 && self.first * 100 < self.decidable * RIGHT_MIN
    }
}

/// The totals.
///
/// # Errors
/// When a scenario failed, or too many verdicts on peers were wrong.
pub(super) fn summary(lines: &[Line], args: &Args) -> Result<(), String> {
    let failed: Vec<_> = lines.iter().filter(|line| !line.is_ok).collect();
    println!(
        "\n{} runs of scenarios, {} failed",
        lines.len(),
        failed.len()
    );
    let mut peers = Tally::default();
    if !args.no_verdict {
        println!(
            "{:14}{:>18}{:>9}{:>19}{:>12}{:>9}{:>9}{:>8}",
            "",
            "right cause first",
            "in three",
            "group named whole",
            "right first",
            "certain*",
            "left out",
            "alarms"
        );
        let row = |peer: Option<&str>, key: &str| {
            let mut tally = Tally::default();
            for line in lines.iter().filter(|line| line.peer.as_deref() == peer) {
                let none = Value::Null;
                let report = line.report.as_ref().unwrap_or(&none);
                tally.add(report, &report[key]);
            }
            tally
        };
        if !args.only_peers {
            println!("{}", row(None, "verdict").row("clearway, live"));
            println!("{}", row(None, "offline").row("clearway, log"));
        }
        for peer in super::PEERS {
            let tally = row(Some(peer), "verdict");
            peers = peers.sum(&tally);
            println!("{}", tally.row(peer));
        }
        println!("{}", peers.row("all peers"));
        println!("* wrong causes that were called certain");
    }
    if !failed.is_empty() {
        let name = |line: &&Line| match &line.peer {
            Some(peer) => format!("{} ({peer})", line.name),
            None => line.name.clone(),
        };
        let names: Vec<_> = failed.iter().map(name).collect();
        return Err(format!("failed: {}", names.join(", ")));
    }
    if peers.is_poor() {
        return Err(format!(
            "of the causes behind peers that can be told, less than {RIGHT_MIN} % were named first"
        ));
    }
    Ok(())
}

/// What the test run demands: see [`super::gate`].
///
/// # Errors
/// What is wrong.
pub(super) fn gate(lines: &[Line]) -> Result<String, String> {
    /// Of a hundred scenarios so many may be not as their files say.
    const FAILED_MAX: usize = 6;
    let (mut tally, mut peers) = (Tally::default(), Tally::default());
    for line in lines {
        let none = Value::Null;
        let report = line.report.as_ref().unwrap_or(&none);
        let own = if line.peer.is_none() {
            &mut tally
        } else {
            &mut peers
        };
        own.add(report, &report["verdict"]);
    }
    let failed: Vec<_> = lines.iter().filter(|line| !line.is_ok).collect();
    let names: Vec<_> = failed.iter().map(|line| line.name.as_str()).collect();
    let told = format!(
        "{} runs, {} not as they should be ({}); right cause first in {} of {}, behind peers in {} of {}; wrong \
         and certain in {}",
        lines.len(),
        failed.len(),
        names.join(", "),
        tally.first,
        tally.decidable,
        peers.first,
        peers.decidable,
        tally.certain + peers.certain
    );
    let poor = tally.first * 100 < tally.decidable * super::GATE_MIN;
    let too_many = |is_own: bool| {
        let of = |line: &&Line| line.peer.is_none() == is_own;
        let failed = lines.iter().filter(of).filter(|line| !line.is_ok).count();
        failed * 100 > lines.iter().filter(of).count() * FAILED_MAX
    };
    let many = too_many(true) || too_many(false);
    let all = tally.sum(&peers);
    if all.certain > 0 || all.alarms > 0 || poor || peers.is_poor() || many {
        return Err(told);
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(report: Value, is_ok: bool) -> Line {
        Line {
            name: "a/b".to_owned(),
            peer: None,
            report: Some(report),
            noise: String::new(),
            is_ok,
            seconds: 1.0,
        }
    }

    #[test]
    fn what_is_wrong_stands_below() {
        let report = json!({"faults": ["x"], "problems": ["bad\nworse"]});
        assert!(describe(&line(report, false), 4).ends_with("\n    bad\n    worse"));
        let report = json!({"skipped": "because", "problems": []});
        assert!(describe(&line(report, true), 4).ends_with("left out: because"));
    }

    #[test]
    fn verdicts_are_counted() {
        let verdict = |place: &str, whole: Option<bool>| {
            let verdict =
                json!({"place": place, "whole": whole, "wrong_certain": false, "problems": []});
            (json!({"cause": "c"}), verdict)
        };
        let mut tally = Tally::default();
        for (report, verdict) in [
            verdict("first", None),
            verdict("missing", None),
            verdict("first", Some(true)),
            verdict("not-asked", None),
        ] {
            tally.add(&report, &verdict);
        }
        tally.add(&json!({"skipped": "x"}), &Value::Null);
        tally.add(&json!({"cause": null}), &json!({"problems": ["said"]}));
        assert_eq!((tally.decidable, tally.first, tally.groups), (2, 1, 1));
        assert_eq!((tally.skipped, tally.healthy, tally.alarms), (1, 1, 1));
        assert_eq!(tally.sum(&tally).first, 2);
    }

    #[test]
    fn one_failure_fails_the_run() {
        let args = Args {
            only: Vec::new(),
            no_verdict: false,
            patient: false,
            keep_going: true,
            peers: Vec::new(),
            only_peers: false,
            again: false,
            report: None,
            keep: None,
            kept: None,
        };
        let fine = || line(json!({"cause": "c", "verdict": {"place": "first"}}), true);
        assert!(summary(&[fine()], &args).is_ok());
        let why = summary(&[fine(), line(json!({}), false)], &args).unwrap_err();
        assert_eq!(why, "failed: a/b");
    }

    #[test]
    fn the_test_run_fails_for_what_is_wrong_behind_a_peer() {
        let told = |peer: Option<&str>, is_certain: bool| {
            let verdict = json!({"place": "first", "wrong_certain": is_certain, "problems": []});
            let report = json!({"cause": "c", "verdict": verdict});
            Line {
                peer: peer.map(str::to_owned),
                ..line(report, true)
            }
        };
        assert!(gate(&[told(None, false), told(Some("nginx"), false)]).is_ok());
        assert!(gate(&[told(None, false), told(Some("nginx"), true)]).is_err());
        // One of Clearway's own that is not as its file says is too many of one.
        let mut lines = vec![told(None, false), told(Some("nginx"), false)];
        lines[0].is_ok = false;
        assert!(gate(&lines).is_err());
    }
}
