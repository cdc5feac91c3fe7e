//! Reading the metrics page.

use crate::client::Client;

/// One sample: name, labels, value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name.
    pub name: String,
    /// Labels in order.
    pub labels: Vec<(String, String)>,
    /// Value.
    pub value: f64,
}

/// A scraped page.
#[derive(Clone, Debug, Default)]
pub struct Metrics(pub Vec<Sample>);

impl Metrics {
    /// Fetches `/metrics` from an admin address.
    ///
    /// # Panics
    /// When the page is missing or malformed.
    #[must_use]
    pub fn fetch(admin: &str) -> Self {
        let response = Client::connect(admin).to_host("localhost").get("/metrics");
        assert_eq!(response.status, 200, "/metrics: {}", response.text());
        Self::parse(&response.text())
    }

    /// Reads the text exposition format.
    ///
    /// # Panics
    /// When a line is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(|line| sample(line).unwrap_or_else(|| panic!("malformed sample: {line}")))
                .collect(),
        )
    }

    /// Sum of all samples with this name and these labels (others may stand beside); 0 when there
    /// is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).map(|s| s.value).sum()
    }

    /// As [`Metrics::sum`], of a metric that counts.
    ///
    /// # Panics
    /// When the sum is no whole number.
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        // The sum of nothing is -0.
        let sum = self.sum(name, labels) + 0.0;
        format!("{sum}").parse().expect("a whole number")
    }

    /// Whether there is a sample with this name and these labels.
    #[must_use]
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.samples(name, labels).next().is_some()
    }

    /// All samples with this name and these labels.
    pub fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(k, v)| sample.labels.iter().any(|(lk, lv)| lk == k && lv == v))
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (name, labels, rest) = match line.split_once('{') {
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, Vec::new(), rest)
        }
        Some((name, rest)) => {
            let (labels, rest) = read_labels(rest)?;
            (name, labels, rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

type Labels = Vec<(String, String)>;

/// Labels up to the closing brace, and the rest.
fn read_labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        text = loop {
            match chars.next()? {
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (at, '"') => break rest.get(at + 1..)?,
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_labels() {
        let page = "# HELP a x\n# TYPE a counter\na_total{b=\"1\",c=\"x\\\"}\"} 2\na_total{b=\"2\",c=\"y\"} 3\nup 1 1700000000\n# EOF\n";
        let metrics = Metrics::parse(page);
        assert!((metrics.sum("a_total", &[]) - 5.0).abs() < f64::EPSILON);
        assert!((metrics.sum("a_total", &[("c", "x\"}")]) - 2.0).abs() < f64::EPSILON);
        assert!(metrics.has("up", &[]));
        assert!(!metrics.has("a_total", &[("b", "3")]));
    }
}
