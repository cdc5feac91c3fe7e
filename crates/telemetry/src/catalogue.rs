//! Every metric, once: its name, type, help and labels. Exposition and documentation come from here.

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::histogram::Counts;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds.
    Histogram,
}

macro_rules! metrics {
    ($($variant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal,)+) => {
        /// A metric of the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric { $(#[doc = $help] $variant,)+ }

        impl Metric {
            /// Every metric, in the order of exposition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Name without the suffix that the format adds to counters (`_total`).
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What kind of number it is.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }

            /// Names of its labels.
            #[must_use]
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)+ }
            }

            /// What it says.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

metrics! {
    BuildInfo = "clearway_build_info" Gauge ["version"] "Always 1; the version is a label",
    Uptime = "clearway_uptime_seconds" Gauge [] "Seconds since the process started",
    Reloads = "clearway_reloads" Counter ["result"] "Reloads of the configuration by result (ok, refused)",
    Generation = "clearway_plan_generation" Gauge [] "Number of the Plan in force",
    Panics = "clearway_worker_panics" Counter ["worker"] "Tasks that ended in a panic; each cost one connection",
    LogDropped = "clearway_log_dropped" Counter ["worker"] "Access log records dropped because the log thread was behind",
    LogFailed = "clearway_log_failed" Counter [] "Log lines that could not be written",
    ReceiptsDropped = "clearway_receipts_dropped" Counter ["worker"] "Failed requests whose record was dropped because control was behind",
    Receipts = "clearway_receipts" Counter [] "Receipts filed: requests that failed or were saved by a retry",
    IncidentsOpen = "clearway_incidents_open" Gauge [] "Incidents open now: runs of like failures on one server",
    Incidents = "clearway_incidents" Counter ["fault"] "Incidents opened, by the fault they began with",
    IncidentsClosed = "clearway_incidents_closed" Counter [] "Incidents closed",
    Probes = "clearway_doctor_probes" Counter [] "Probes made to find out why requests failed",
    ClientConnections = "clearway_client_connections" Gauge ["listener"] "Client connections open now",
    Accepted = "clearway_accepted" Counter ["listener"] "Client connections accepted",
    AcceptPaused = "clearway_accept_paused" Counter ["listener"] "Times accepting paused because no descriptor or memory was left",
    ListenerRequests = "clearway_listener_requests" Counter ["listener", "code_class"] "Requests by listener and class of the response",
    ListenerBytesIn = "clearway_listener_received_bytes" Counter ["listener"] "Bytes read from clients",
    ListenerBytesOut = "clearway_listener_sent_bytes" Counter ["listener"] "Bytes written to clients",
    Faults = "clearway_faults" Counter ["listener", "fault", "party"] "Faults on the client's or the local side",
    CertificateEnd = "clearway_certificate_not_after_timestamp_seconds" Gauge ["listener", "name", "serial"] "When a certificate in use ends, in seconds since 1970; name is the first it is for",
    AcmeFailures = "clearway_acme_failures" Gauge ["certificate"] "Failures in a row of obtaining a certificate by ACME",
    Handshakes = "clearway_tls_handshakes" Counter ["listener", "version", "resumed"] "TLS handshakes with clients that were completed",
    Requests = "clearway_requests" Counter ["backend", "code_class"] "Requests by backend and class of the response",
    GrpcCalls = "clearway_grpc_calls" Counter ["backend", "grpc_status"] "Calls of gRPC by their outcome",
    Retries = "clearway_retries" Counter ["backend"] "Attempts after the first of a request",
    Prevented = "clearway_prevented" Counter ["backend"] "Requests that a retry saved from failing",
    Queued = "clearway_backend_queued" Gauge ["backend"] "Requests waiting for a slot of a server",
    BackendFaults = "clearway_backend_faults" Counter ["backend", "fault", "party"] "Requests that failed before a server was chosen",
    Phase = "clearway_phase_seconds" Histogram ["backend", "phase"] "Time spent by phase: queue, connect, first_byte, total",
    ServerUp = "clearway_server_up" Gauge ["backend", "server"] "1 when new requests may go to the server",
    ServerWeight = "clearway_server_weight" Gauge ["backend", "server"] "Effective weight; 100 stands for a configured weight of 1",
    ServerInflight = "clearway_server_inflight" Gauge ["backend", "server"] "Attempts in flight",
    ServerIdle = "clearway_server_idle_connections" Gauge ["backend", "server"] "Kept connections lying idle",
    ServerAttempts = "clearway_server_attempts" Counter ["backend", "server"] "Attempts made",
    ServerConnects = "clearway_server_connects" Counter ["backend", "server"] "Connections opened",
    ServerReuses = "clearway_server_reuses" Counter ["backend", "server"] "Attempts on a kept connection",
    ServerBytesIn = "clearway_server_received_bytes" Counter ["backend", "server"] "Bytes read from the server",
    ServerBytesOut = "clearway_server_sent_bytes" Counter ["backend", "server"] "Bytes written to the server",
    ServerFaults = "clearway_server_faults" Counter ["backend", "server", "fault", "party"] "Attempts that failed, by fault and party",
    ServerIdleCloses = "clearway_server_idle_closes" Counter ["backend", "server"] "Kept connections the server closed while they lay idle",
    ServerIdleLimit = "clearway_server_idle_limit_seconds" Gauge ["backend", "server"] "The server's own idle time-out as learnt from its closes; 0 = not learnt",
}

/// A value of a metric at one moment.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(f64),
    /// Of a histogram.
    Durations(Box<Counts>),
}

/// All values at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    rows: Vec<(Metric, Vec<String>, Value)>,
}

impl Snapshot {
    /// Adds a value; `labels` in the order of [`Metric::labels`].
    pub fn add(&mut self, metric: Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(labels.len(), metric.labels().len());
        self.rows.push((
            metric,
            labels.iter().map(ToString::to_string).collect(),
            value,
        ));
    }

    /// Appends everything in OpenMetrics text, which Prometheus reads.
    ///
    /// # Errors
    /// Only when `out` refuses to be written to, which a `String` does not.
    pub fn expose(mut self, out: &mut String) -> std::fmt::Result {
        self.rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut rows = self.rows.into_iter().peekable();
        let mut registry = Registry::default();
        // In the order by which the rows are sorted.
        for &metric in Metric::ALL {
            let rows = std::iter::from_fn(|| rows.next_if(|row| row.0 == metric));
            let rows = rows.map(|(_, labels, value)| (labels, value)).collect();
            let family = Family { metric, rows };
            match metric.name().strip_suffix("_seconds") {
                Some(stem) => {
                    registry.register_with_unit(stem, metric.help(), Unit::Seconds, family);
                }
                None => registry.register(metric.name(), metric.help(), family),
            }
        }
        debug_assert_eq!(rows.len(), 0, "every row has its metric");
        prometheus_client::encoding::text::encode(out, &registry)
    }
}

/// Media type of [`Snapshot::expose`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of exposed histograms, in microseconds.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000, 60_000_000,
];

#[derive(Debug)]
struct Family {
    metric: Metric,
    rows: Vec<(Vec<String>, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels<'a>(Vec<(&'a str, &'a str)>);

impl EncodeLabelSet for Labels<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> std::fmt::Result {
        use prometheus_client::encoding::EncodeLabel;
        for label in &self.0 {
            (label.0, label.1).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl EncodeMetric for Family {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for (labels, value) in &self.rows {
            let pairs = self.metric.labels().iter().copied();
            let labels = Labels(pairs.zip(labels.iter().map(String::as_str)).collect());
            let mut of = encoder.encode_family(&labels)?;
            match value {
                Value::Count(count) => of.encode_counter::<NoLabelSet, _, u64>(count, None)?,
                Value::Level(level) => of.encode_gauge(level)?,
                Value::Durations(counts) => {
                    let buckets = buckets(counts);
                    #[expect(clippy::cast_precision_loss, reason = "a sum for people to read")]
                    let sum = counts.sum_us as f64 / 1e6;
                    of.encode_histogram::<NoLabelSet>(sum, counts.count(), &buckets, None)?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        match self.metric.kind() {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
    }
}

/// Counts per exposed bucket (not yet cumulated), the last one without a bound.
fn buckets(counts: &Counts) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut out = Vec::with_capacity(BOUNDS.len() + 1);
    for bound in BOUNDS {
        let at_most = counts.at_most(bound);
        #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
        out.push((bound as f64 / 1e6, at_most - below));
        below = at_most;
    }
    out.push((f64::INFINITY, counts.count() - below));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_everything_is_exposed_with_help_and_type() {
        let mut snapshot = Snapshot::default();
        for &metric in Metric::ALL {
            let labels = vec!["x\"y\n"; metric.labels().len()];
            let value = match metric.kind() {
                Kind::Counter => Value::Count(7),
                Kind::Gauge => Value::Level(1.5),
                Kind::Histogram => {
                    let histogram = crate::Histogram::default();
                    histogram.record(1_200);
                    let mut counts = Counts::default();
                    histogram.add_to(&mut counts);
                    Value::Durations(Box::new(counts))
                }
            };
            snapshot.add(metric, &labels, value);
            let same = Metric::ALL
                .iter()
                .filter(|m| m.name() == metric.name())
                .count();
            assert_eq!(same, 1, "{}", metric.name());
        }
        let mut out = String::new();
        snapshot.expose(&mut out).unwrap();
        for &metric in Metric::ALL {
            assert!(
                out.contains(&format!("# HELP {} ", metric.name())),
                "{}\n{out}",
                metric.name()
            );
            assert!(
                out.contains(&format!("# TYPE {} ", metric.name())),
                "{}",
                metric.name()
            );
        }
        assert!(out.contains("clearway_receipts_total{} 7"), "{out}");
        assert!(
            out.contains("clearway_phase_seconds_bucket{le=\"0.0025\""),
            "{out}"
        );
        assert!(out.contains("le=\"+Inf\""), "{out}");
        assert!(out.ends_with("# EOF\n"));
    }
}
