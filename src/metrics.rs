//! Everything that souk counts. One struct lists all metrics; the doc comment of each is its help text.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Declares the metrics: name and kind of each from its field, the help text from its doc comment.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident : $type:ident $(($($argument:expr),*))?,)*) => {
        /// All metrics of a node.
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $type,)*
        }

        impl Metrics {
            pub fn new() -> Metrics {
                let registry = Registry::new();
                $(
                    let help = concat!($($help),+).trim();
                    let $field = $type::make(concat!("souk_", stringify!($field)), help $(, $($argument),*)?);
                    registry.register(Box::new($field.clone())).expect("each metric has its own name");
                )*
                Metrics { registry, $($field),* }
            }

            /// Name and help of every metric, for the documentation and its test.
            pub fn describe() -> Vec<(&'static str, &'static str)> {
                vec![$((concat!("souk_", stringify!($field)), concat!($($help),+).trim())),*]
            }
        }
    };
}

metrics! {
    /// Records read to show an entity's past: for repeats of requests, and to operators.
    past_records_read: IntCounter,
    /// Seconds that the oldest message of a slot's queue had waited when the slot took what had gathered: once for each turn.
    queue_seconds: Histogram(&[0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]),
    /// Commands that a full queue refused.
    busy: IntCounter,
    /// Panics of entity code, each caught.
    panics: IntCounter,
    /// Entities quarantined after repeated panics.
    quarantined: IntCounter,
    /// Entities that an operator has quarantined on this node and not released.
    entities_withheld: IntGauge,
    /// Slots that are not served because their stored data is damaged. Page someone.
    slots_quarantined: IntGauge,
    /// Broken invariants found after applying an event, by name. Page someone.
    violations: IntCounterVec(&["invariant"]),
    /// Records committed to the journal.
    records_committed: IntCounter,
    /// Records in one group commit.
    commit_records: Histogram(&[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0]),
    /// Seconds that one group commit took.
    commit_seconds: Histogram(&[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0]),
    /// Commits sent again because the store was unavailable.
    commits_repeated: IntCounter,
    /// Slots whose generation ended because the store refused or lost a commit, by reason.
    generations_ended: IntCounterVec(&["reason"]),
    /// Entities in memory.
    resident_entities: IntGauge,
    /// Bytes that the entities in memory take, about.
    resident_bytes: IntGauge,
    /// Owed requests that are not answered yet.
    owed_outstanding: IntGauge,
    /// Owed requests that have not been answered for longer than `slots.owed_overdue_ms`.
    owed_overdue: IntGauge,
    /// Owed requests that had to be sent again.
    owed_resent: IntCounter,
    /// Owed requests put off because their receiver keeps as many receipts of such as it may.
    receipts_full: IntCounter,
    /// Snapshots that were not kept because they are larger than a store takes.
    snapshots_too_large: IntCounter,
    /// Entities read anew for the read models.
    projection_reads: IntCounter,
    /// Records that a consumer of the feed has taken, by consumer.
    consumer_records: IntCounterVec(&["consumer"]),
    /// Records of the journal, of whatever kind, that a consumer of the feed has not passed yet, by consumer.
    consumer_lag_records: IntGaugeVec(&["consumer"]),
    /// Milliseconds for which a consumer of the feed has lacked a record that it follows, by consumer.
    consumer_lag_ms: IntGaugeVec(&["consumer"]),
    /// Failures of consumers of the feed, each tried again, by consumer.
    consumer_failures: IntCounterVec(&["consumer"]),
    /// Slots that a consumer of the feed cannot read, by consumer.
    consumer_slots_failing: IntGaugeVec(&["consumer"]),
    /// Times that a consumer of the feed was built anew, by consumer and reason. `mismatch`: the journal has lost records.
    consumer_rebuilds: IntCounterVec(&["consumer", "reason"]),
    /// Looks of consumers that the tail of newest records could not serve, so that the journal was read.
    feed_tail_misses: IntCounter,
    /// Receipts forgotten because nobody needs them any more, where the store deletes them one by one.
    receipts_pruned: IntCounter,
    /// Slot actors restarted after a failure.
    slot_restarts: IntCounter,
    /// Requests sent on to the node that has their slot.
    requests_forwarded: IntCounter,
    /// Requests that a peer sent back because another node has their slot.
    requests_misrouted: IntCounter,
    /// Requests that another node, or the link to it, had too much to do for: `put_off` and sent again after a pause, or
    /// `refused` because too many were put off before or the deadline was near.
    requests_too_many: IntCounterVec(&["then"]),
    /// Requests asked again here because their slot could not take them (`unavailable`), or because what became of them was
    /// not known (`unknown`).
    requests_repeated: IntCounterVec(&["after"]),
    /// Requests that wait because their slot has no owner at the moment.
    requests_parked: IntGauge,
    /// Slots that this node serves.
    slots_owned: IntGauge,
    /// Milliseconds for which this node may still speak for its slots without renewing its lease.
    lease_margin_ms: IntGauge,
    /// Planned moves of slots from this node that were made.
    slots_moved: IntCounter,
    /// Planned moves of slots from this node that were given up, by reason. Each is tried again.
    moves_given_up: IntCounterVec(&["reason"]),
    /// Seconds for which a slot that this node gave away was served nowhere.
    slot_pause_seconds: Histogram(&[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]),
    /// Seconds from the last renewal that this node saw of a node that was lost until this node serves a slot of it.
    slot_ownerless_seconds: Histogram(&[0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0]),
    /// Slots that this node cannot serve because its `store.urls` does not name the server that they lie on.
    slots_unnamed: IntGauge,
    /// Slots that another node took while this one had them.
    slots_fenced: IntCounter,
    /// Requests answered, by route, method and status.
    http_requests: IntCounterVec(&["route", "method", "status"]),
    /// Seconds from a request's arrival to its answer, by route.
    http_request_seconds: HistogramVec((&["route"], &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0])),
    /// Requests being worked on.
    http_running: IntGauge,
    /// Requests among them that wait for something else, and have made room for others.
    http_parked: IntGauge,
    /// Requests that waited too many at once, and were answered early to make room: completions with 202, others with 503.
    http_gave_way: IntCounter,
    /// Open connections.
    http_connections: IntGauge,
    /// Handlers that panicked, each answered with 500.
    http_panics: IntCounter,
    /// Actions of administrators, or their outcomes, that the audit log lacks because it could not be written.
    audit_unrecorded: IntCounter,
    /// Times that the shared limiter did not answer and this node counted for itself.
    limiter_fallback: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// Requests that were answered since the start.
    pub fn requests_answered(&self) -> u64 {
        let families = self.http_requests.collect();
        let counters = families.iter().flat_map(|family| family.get_metric());
        counters.map(|metric| metric.get_counter().value() as u64).sum()
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        let families = self.registry.gather();
        if let Err(error) = prometheus::TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "metrics cannot be rendered");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Name, help text and value of numbers that only grow.
pub type Counts = Vec<(&'static str, &'static str, u64)>;

impl Metrics {
    /// Shows numbers that somebody else counts, each as `souk_PREFIX_NAME`. They are the same ones at each call.
    pub fn follow(&self, prefix: &str, read: impl Fn() -> Counts + Send + Sync + 'static) {
        let name = |name: &str| format!("souk_{prefix}_{name}");
        let described = |(field, help, _): &(&str, &str, u64)| {
            Desc::new(name(field), (*help).to_owned(), Vec::new(), HashMap::new()).expect(FIXED)
        };
        let descriptions = read().iter().map(described).collect();
        let collector = Followed { prefix: prefix.to_owned(), descriptions, read: Box::new(read) };
        self.registry.register(Box::new(collector)).expect("each prefix is followed once");
    }
}

/// Counters that are read when they are scraped.
struct Followed {
    prefix: String,
    descriptions: Vec<Desc>,
    read: Box<dyn Fn() -> Counts + Send + Sync>,
}

impl Collector for Followed {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }
    fn collect(&self) -> Vec<MetricFamily> {
        let counter = |(name, help, value): (&str, &str, u64)| {
            let counter = IntCounter::new(format!("souk_{}_{name}", self.prefix), help).expect(FIXED);
            counter.inc_by(value);
            counter.collect()
        };
        (self.read)().into_iter().flat_map(counter).collect()
    }
}

/// Makes a metric from its name and help; names and labels are literals, so making cannot fail.
trait Make<Argument = ()> {
    fn make(name: &str, help: &str, argument: Argument) -> Self;
}

const FIXED: &str = "names and labels of metrics are fixed and valid";

trait MakePlain {
    fn make(name: &str, help: &str) -> Self;
}

impl MakePlain for IntCounter {
    fn make(name: &str, help: &str) -> Self {
        IntCounter::new(name, help).expect(FIXED)
    }
}
impl MakePlain for IntGauge {
    fn make(name: &str, help: &str) -> Self {
        IntGauge::new(name, help).expect(FIXED)
    }
}
impl<const N: usize> Make<&[&str; N]> for IntCounterVec {
    fn make(name: &str, help: &str, labels: &[&str; N]) -> Self {
        IntCounterVec::new(Opts::new(name, help), labels).expect(FIXED)
    }
}
impl<const N: usize> Make<&[&str; N]> for IntGaugeVec {
    fn make(name: &str, help: &str, labels: &[&str; N]) -> Self {
        IntGaugeVec::new(Opts::new(name, help), labels).expect(FIXED)
    }
}
impl<const N: usize> Make<&[f64; N]> for Histogram {
    fn make(name: &str, help: &str, buckets: &[f64; N]) -> Self {
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect(FIXED)
    }
}
impl<const L: usize, const N: usize> Make<(&[&str; L], &[f64; N])> for HistogramVec {
    fn make(name: &str, help: &str, (labels, buckets): (&[&str; L], &[f64; N])) -> Self {
        HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels).expect(FIXED)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Metrics;

    #[test]
    fn what_somebody_else_counts_is_shown_as_it_is_when_it_is_scraped() {
        let (metrics, frames) = (Metrics::new(), Arc::new(AtomicU64::new(1)));
        let counted = frames.clone();
        metrics.follow("link", move || vec![("frames_sent", "Frames sent.", counted.load(Ordering::Relaxed))]);
        frames.store(7, Ordering::Relaxed);
        let text = metrics.render();
        assert!(text.contains("# HELP souk_link_frames_sent Frames sent.\n"), "{text}");
        assert!(text.contains("\nsouk_link_frames_sent 7\n"), "{text}");
    }
}
