//! What a slot adds to the gauges of its node. Dropped, however the slot ends, it is taken off again.

use std::sync::Arc;

use super::core::SlotCore;
use crate::actors::values::Time;
use crate::metrics::Metrics;

pub(super) struct Gauges {
    metrics: Arc<Metrics>,
    /// Entities, bytes, owed requests, overdue ones.
    added: [i64; 4],
}

impl Gauges {
    pub fn new(metrics: Arc<Metrics>) -> Gauges {
        Gauges { metrics, added: [0; 4] }
    }

    /// Brings the node's gauges up to date with this slot.
    pub fn set(&mut self, core: &SlotCore, now: Time) {
        let counts = [core.resident_count(), core.resident_bytes(), core.outstanding_count(), core.overdue_count(now)];
        self.add_up_to(counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
    }

    fn add_up_to(&mut self, counts: [i64; 4]) {
        let metrics = &self.metrics;
        let gauges =
            [&metrics.resident_entities, &metrics.resident_bytes, &metrics.owed_outstanding, &metrics.owed_overdue];
        for ((gauge, count), added) in gauges.into_iter().zip(counts).zip(&mut self.added) {
            gauge.add(count - *added);
            *added = count;
        }
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.add_up_to([0; 4]);
    }
}
