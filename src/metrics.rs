//! Every metric of a node, in one struct: the field's comment is the help text that operators see at
//! `GET /metrics`.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Seconds, from a tenth of a millisecond to the longest deadline.
const LATENCY_S: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Counts, in powers of two.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Declares the struct. Each field: name of its type, then its name in the exposition, and for a family
/// its labels, for a histogram its buckets.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $make:ident($name:literal $(, $extra:expr)*) -> $type:ty;)*) => {
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $type,)*
        }

        impl Metrics {
            /// Name and help text of every metric.
            pub const ALL: &'static [(&'static str, &'static str)] = &[$(($name, concat!($($help),+))),*];

            fn build() -> prometheus::Result<Metrics> {
                let registry = Registry::new();
                $(
                    let $field = $make($name, concat!($($help),+).trim() $(, $extra)*)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Metrics { registry, $($field),* })
            }
        }
    };
}

metrics! {
    /// Requests answered, by route, method and status.
    http_requests: counters("souk_http_requests_total", &["route", "method", "status"]) -> IntCounterVec;
    /// Seconds from a request's arrival to its answer, by route.
    http_latency: latencies("souk_http_request_seconds", &["route"]) -> HistogramVec;
    /// Requests being worked on.
    http_running: gauge("souk_http_requests_running") -> IntGauge;
    /// Open connections.
    http_connections: gauge("souk_http_connections") -> IntGauge;
    /// Requests refused by admission control (503) or a volume limit (429), by problem code.
    http_shed: counters("souk_http_requests_shed_total", &["code"]) -> IntCounterVec;
    /// Handlers that panicked (and were answered with 500).
    http_panics: counter("souk_http_panics_total") -> IntCounter;

    /// Commands decided, by kind of entity and outcome (accepted, rejected, repeated).
    commands: counters("souk_commands_total", &["kind", "outcome"]) -> IntCounterVec;
    /// Commands not taken because a queue was full, by kind of entity.
    busy: counters("souk_busy_total", &["kind"]) -> IntCounterVec;
    /// Commands refused for another reason, by reason (unavailable, deadline, fenced, unknown).
    refused: counters("souk_refused_total", &["reason"]) -> IntCounterVec;
    /// Panics while an entity decided or evolved, by kind.
    entity_panics: counters("souk_entity_panics_total", &["kind"]) -> IntCounterVec;
    /// Entities that are quarantined on this node.
    quarantined: gauge("souk_entities_quarantined") -> IntGauge;
    /// Broken invariants, by kind of entity and invariant: zero, always.
    violations: counters("souk_violations_total", &["kind", "invariant"]) -> IntCounterVec;
    /// Entities in memory.
    resident_entities: gauge("souk_resident_entities") -> IntGauge;
    /// Bytes that their states take, roughly.
    resident_bytes: gauge("souk_resident_bytes") -> IntGauge;
    /// Entities loaded from the journal.
    loads: counter("souk_entity_loads_total") -> IntCounter;
    /// Entities that left memory.
    passivations: counter("souk_entity_passivations_total") -> IntCounter;
    /// Requests that entities of this node owe and that are not yet answered.
    owed: gauge("souk_owed_outstanding") -> IntGauge;
    /// Owed requests that were sent again.
    owed_retries: counter("souk_owed_retries_total") -> IntCounter;

    /// Records in one group commit.
    commit_records: sizes("souk_commit_records") -> Histogram;
    /// Seconds that a group commit takes.
    commit_latency: latency("souk_commit_seconds") -> Histogram;
    /// Group commits that failed, by failure (unavailable, unknown, damaged, fatal, fenced).
    commit_failures: counters("souk_commit_failures_total", &["failure"]) -> IntCounterVec;
    /// Bytes of records that wait for the journal.
    journal_queued_bytes: gauge("souk_journal_queued_bytes") -> IntGauge;
    /// Slots that this node owns.
    slots_owned: gauge("souk_slots_owned") -> IntGauge;
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::build().expect("names and labels are fixed, valid and distinct: a test makes them")
    }
}

impl Metrics {
    /// The text exposition (version 0.0.4).
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // It writes to memory, and a family that cannot be written is left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

fn counter(name: &str, help: &str) -> prometheus::Result<IntCounter> {
    IntCounter::new(name, help)
}
fn counters(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(Opts::new(name, help), labels)
}
fn gauge(name: &str, help: &str) -> prometheus::Result<IntGauge> {
    IntGauge::new(name, help)
}
fn latency(name: &str, help: &str) -> prometheus::Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(LATENCY_S.to_vec()))
}
fn latencies(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(LATENCY_S.to_vec()), labels)
}
fn sizes(name: &str, help: &str) -> prometheus::Result<Histogram> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(SIZES.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_says_what_it_is() {
        let metrics = Metrics::default();
        metrics.http_requests.with_label_values(&["/livez", "GET", "200"]).inc();
        let text = String::from_utf8(metrics.render()).expect("an exposition is text");
        assert!(text.contains("# HELP souk_http_requests_total Requests answered, by route, method and status."));
        assert!(text.contains("souk_http_requests_total{method=\"GET\",route=\"/livez\",status=\"200\"} 1"));
        for (name, help) in Metrics::ALL {
            assert!(name.starts_with("souk_") && help.trim().ends_with('.'), "{name}");
        }
    }
}
