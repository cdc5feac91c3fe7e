//! Tables for people, JSON for machines, and whether the targets are met.

use serde_json::{Map, Value, json};

use super::case::{Against, Case, Target};
use super::host::Cores;
use super::load::Sample;
use super::peer::Programs;

/// One contender in one case.
pub(crate) struct Row {
    pub(crate) label: String,
    /// The case's value, one per round.
    pub(crate) values: Vec<f64>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) rss_kib: u64,
    pub(crate) note: String,
    /// Requests before the measured ones.
    pub(crate) warm_up: f64,
    /// Requests that stand in no log although they should.
    pub(crate) lost: f64,
}

impl Row {
    /// An empty row.
    pub(crate) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            values: Vec::new(),
            samples: Vec::new(),
            rss_kib: 0,
            note: String::new(),
            warm_up: 0.0,
            lost: 0.0,
        }
    }

    /// Adds a run under load.
    pub(crate) fn add(&mut self, sample: Sample) {
        self.values.push(sample.us_per_request);
        self.rss_kib = self.rss_kib.max(sample.rss_kib);
        self.samples.push(sample);
    }

    /// Adds a plain value.
    pub(crate) fn value(&mut self, value: f64) {
        self.values.push(value);
    }

    fn median_of(&self, part: impl Fn(&Sample) -> f64) -> Option<f64> {
        let parts: Vec<f64> = self.samples.iter().map(part).collect();
        (!parts.is_empty()).then(|| median(&parts))
    }

    /// What this one took and did divided by the same of `other`: the least of the case's values, medians
    /// of the rest.
    fn ratios(&self, other: &Self) -> Vec<(&'static str, f64)> {
        let of = |row: &Self| {
            [
                ("value", Some(minimum(&row.values))),
                (
                    "requests_per_second",
                    row.median_of(|sample| sample.per_second),
                ),
                ("p50_us", row.median_of(|sample| sample.p50_us)),
                ("p99_us", row.median_of(|sample| sample.p99_us)),
                ("rss_kib", Some(super::load::to_f64(row.rss_kib))),
            ]
        };
        of(self)
            .into_iter()
            .zip(of(other))
            .filter_map(|((name, ours), (_, theirs))| Some((name, ours? / theirs?)))
            .filter(|(_, ratio)| ratio.is_finite())
            .collect()
    }

    /// [`Row::ratios`] in words.
    pub(crate) fn compared(&self, other: &Self, unit: &str) -> String {
        let parts: Vec<_> = self
            .ratios(other)
            .into_iter()
            .map(|(name, ratio)| {
                let name = match name {
                    "value" => unit,
                    "requests_per_second" => "req/s",
                    "p50_us" => "p50",
                    "p99_us" => "p99",
                    _ => "RSS",
                };
                format!("{name} {ratio:.2}")
            })
            .collect();
        format!("{} ÷ {}: {}", self.label, other.label, parts.join(", "))
    }

    fn errors(&self) -> f64 {
        self.lost + self.samples.iter().map(|sample| sample.errors).sum::<f64>()
    }
}

/// What a case came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
    /// Why Clearway took no part: it does not speak what the case needs.
    pub(crate) not_spoken: Option<String>,
}

struct Verdict {
    case: &'static str,
    target: String,
    value: String,
    met: bool,
}

/// All cases so far.
pub(crate) struct Report {
    machine: String,
    versions: Vec<String>,
    cases: Vec<Value>,
    verdicts: Vec<Verdict>,
    failures: Vec<String>,
}

impl Report {
    /// An empty report about these programs.
    pub(crate) fn new(programs: &Programs, machine: &str) -> Self {
        Self {
            machine: machine.to_owned(),
            versions: programs.versions(),
            cases: Vec::new(),
            verdicts: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Machine, versions, pinning.
    pub(crate) fn print_head(&self, cores: &Cores) {
        println!("{}", self.machine);
        for version in &self.versions {
            println!("{version}");
        }
        println!(
            "proxy on core {}, load and server on core {}; CPU time per request is what counts, \
             the minimum over the rounds is what is judged",
            cores.proxy, cores.load
        );
    }

    /// Prints a case's table and keeps it.
    pub(crate) fn add(&mut self, case: &Case, outcome: &Outcome) {
        println!("\n{} — {}", case.name, case.about);
        println!(
            "{:16} {:>10} {:>10} {:>10} {:>9} {:>9} {:>9} {:>7}  {}",
            "",
            "min",
            "median",
            "req/s",
            "p50 µs",
            "p99 µs",
            "RSS MiB",
            "errors",
            case.unit()
        );
        for row in &outcome.rows {
            println!("{}", line(row));
        }
        for (ours, peer) in pairs(outcome) {
            println!("  {}", ours.compared(peer, case.unit()));
        }
        for note in &outcome.notes {
            println!("  {note}");
        }
        if let Some(why) = &outcome.not_spoken {
            println!("  clearway NOT SPOKEN: {why}");
            let targets = case.targets.iter().map(|t| t.describe(case.unit()));
            let targets: Vec<_> = targets.collect();
            self.verdicts.push(Verdict {
                case: case.name,
                target: if targets.is_empty() {
                    "to speak it".to_owned()
                } else {
                    targets.join(", ")
                },
                value: "not spoken".to_owned(),
                met: false,
            });
        }
        for target in case.targets {
            if let Some(verdict) = judge(case, *target, &outcome.rows) {
                println!("  {}", verdict_line(&verdict));
                self.verdicts.push(verdict);
            }
        }
        self.cases.push(case_json(case, outcome));
    }

    /// Keeps a case that could not be run.
    pub(crate) fn fail(&mut self, case: &Case, why: &str) {
        println!("\n{} — FAILED: {why}", case.name);
        self.failures.push(format!("{}: {why}", case.name));
        self.cases.push(json!({"case": case.name, "failed": why}));
    }

    /// All verdicts once more.
    pub(crate) fn print_verdicts(&self) {
        if !self.verdicts.is_empty() {
            println!("\ntargets");
        }
        for verdict in &self.verdicts {
            println!("  {:16} {}", verdict.case, verdict_line(verdict));
        }
    }

    /// Everything as JSON.
    pub(crate) fn json(&self) -> String {
        let verdicts: Vec<Value> = self
            .verdicts
            .iter()
            .map(|v| json!({"case": v.case, "target": v.target, "value": v.value, "met": v.met}))
            .collect();
        let all = json!({
            "schema": 1,
            "unix_micros": clearway_base::clock::wall(),
            "machine": self.machine,
            "versions": self.versions,
            "cases": self.cases,
            "targets": verdicts,
        });
        format!("{all:#}\n")
    }

    /// Whether the run was good.
    ///
    /// # Errors
    /// When a case failed, or with `strict` when a target was missed.
    pub(crate) fn result(&self, strict: bool) -> Result<(), String> {
        if !self.failures.is_empty() {
            return Err(format!("cases failed: {}", self.failures.join("; ")));
        }
        let missed: Vec<_> = self
            .verdicts
            .iter()
            .filter(|verdict| !verdict.met)
            .map(|verdict| verdict.case)
            .collect();
        if strict && !missed.is_empty() {
            return Err(format!("targets missed: {}", missed.join(", ")));
        }
        Ok(())
    }
}

/// Clearway beside each of the others, where it took part.
fn pairs(outcome: &Outcome) -> impl Iterator<Item = (&Row, &Row)> {
    let ours = outcome.rows.iter().find(|row| row.label == "clearway");
    outcome
        .rows
        .iter()
        .filter(|row| row.label != "clearway")
        .filter_map(move |row| Some((ours?, row)))
}

fn line(row: &Row) -> String {
    let cell =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    let rss = if row.rss_kib == 0 {
        "-".to_owned()
    } else {
        format!("{:.1}", super::load::to_f64(row.rss_kib) / 1024.0)
    };
    format!(
        "{:16} {:>10.2} {:>10.2} {:>10} {:>9} {:>9} {:>9} {:>7}  {}",
        row.label,
        minimum(&row.values),
        median(&row.values),
        cell(row.median_of(|sample| sample.per_second)),
        cell(row.median_of(|sample| sample.p50_us)),
        cell(row.median_of(|sample| sample.p99_us)),
        rss,
        cell((!row.samples.is_empty()).then(|| row.errors())),
        row.note,
    )
    .trim_end()
    .to_owned()
}

fn verdict_line(verdict: &Verdict) -> String {
    let word = if verdict.met { "met   " } else { "MISSED" };
    format!("{word} {} (target {})", verdict.value, verdict.target)
}

/// Compares minima: what a neighbour on the machine adds is never negative.
fn judge(case: &Case, target: Target, rows: &[Row]) -> Option<Verdict> {
    let of = |label: &str| rows.iter().find(|row| row.label == label);
    let ours = of("clearway")?;
    let (best, typical) = (minimum(&ours.values), median(&ours.values));
    let against = |rows: &[&Row]| -> Option<(f64, f64)> {
        let least = |part: fn(&[f64]) -> f64| {
            rows.iter()
                .map(|row| part(&row.values))
                .min_by(f64::total_cmp)
        };
        Some((least(minimum)?, least(median)?))
    };
    let (value, met) = match target.against {
        Against::Absolute => (format!("{best:.2} {}", case.unit()), best <= target.limit),
        Against::BetterPeer | Against::Splice => {
            let peers: Vec<&Row> = if target.against == Against::Splice {
                of("haproxy-splice").into_iter().collect()
            } else {
                ["haproxy", "nginx"].into_iter().filter_map(of).collect()
            };
            let (peer_best, peer_typical) = against(&peers)?;
            let ratio = best / peer_best;
            let told = format!("{ratio:.2} (of medians {:.2})", typical / peer_typical);
            (told, ratio <= target.limit)
        }
    };
    // An answer that failed costs less than one that did not.
    let met = met && ours.errors() == 0.0;
    Some(Verdict {
        case: case.name,
        target: target.describe(case.unit()),
        value,
        met,
    })
}

fn case_json(case: &Case, outcome: &Outcome) -> Value {
    let rows: Vec<Value> = outcome
        .rows
        .iter()
        .map(|row| {
            json!({
                "contender": row.label,
                "min": minimum(&row.values),
                "median": median(&row.values),
                "values": row.values,
                "requests_per_second": row.median_of(|sample| sample.per_second),
                "p50_us": row.median_of(|sample| sample.p50_us),
                "p99_us": row.median_of(|sample| sample.p99_us),
                "errors": row.errors(),
                "rss_kib": row.rss_kib,
                "note": row.note,
            })
        })
        .collect();
    let ratios: Map<String, Value> = pairs(outcome)
        .map(|(ours, peer)| {
            let ratios = ours.ratios(peer).into_iter();
            let ratios: Map<String, Value> = ratios
                .map(|(name, ratio)| (name.to_owned(), json!(ratio)))
                .collect();
            (peer.label.clone(), Value::Object(ratios))
        })
        .collect();
    json!({
        "case": case.name,
        "unit": case.unit(),
        "rows": rows,
        "clearway_divided_by": ratios,
        "notes": outcome.notes,
        "not_spoken": outcome.not_spoken,
    })
}

fn minimum(values: &[f64]) -> f64 {
    values
        .iter()
        .copied()
        .min_by(f64::total_cmp)
        .unwrap_or(f64::NAN)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = sorted.get((sorted.len() / 2).wrapping_sub(1)).copied();
    f64::midpoint(lower.unwrap_or(f64::NAN), upper)
}

#[cfg(test)]
mod tests {
    use super::super::case::CASES;
    use super::*;

    fn row(label: &str, values: &[f64]) -> Row {
        Row {
            values: values.to_vec(),
            ..Row::new(label)
        }
    }

    #[test]
    fn the_better_peer_is_what_counts() {
        let case = CASES
            .iter()
            .find(|case| case.name == "keepalive-128B")
            .unwrap();
        let target = case.targets[0];
        let rows = |ours| {
            [
                row("clearway", &[ours]),
                row("haproxy", &[10.0]),
                row("nginx", &[8.0]),
            ]
        };
        assert!(judge(case, target, &rows(6.0)).unwrap().met);
        assert!(!judge(case, target, &rows(6.1)).unwrap().met);
        assert!(judge(case, target, &rows(6.0)[1..]).is_none());
    }

    #[test]
    fn splice_compares_with_splice_alone() {
        let case = CASES.iter().find(|case| case.name == "body-1m").unwrap();
        let rows = [
            row("clearway", &[90.0]),
            row("haproxy", &[300.0]),
            row("haproxy-splice", &[95.0]),
        ];
        assert!(
            case.targets
                .iter()
                .all(|target| judge(case, *target, &rows).unwrap().met)
        );
    }

    #[test]
    fn ratios_leave_out_what_was_not_measured() {
        let (mut ours, theirs) = (row("clearway", &[6.0, 5.0]), row("nginx", &[10.0]));
        let told = ours.compared(&theirs, "calls/request");
        assert_eq!(told, "clearway ÷ nginx: calls/request 0.50");
        ours.rss_kib = 1;
        assert_eq!(ours.ratios(&theirs).len(), 1);
        let outcome = Outcome {
            rows: vec![theirs, ours],
            ..Outcome::default()
        };
        assert_eq!(pairs(&outcome).count(), 1);
        let value = case_json(&CASES[0], &outcome);
        assert_eq!(value["clearway_divided_by"]["nginx"]["value"], 0.5);
    }

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}
