//! Whether a node does its work, which is more than that its process lives: one whose slots do not answer keeps them from
//! everybody for as long as it renews its lease.
//!
//! A slot is stuck when it serves, messages wait in front of it, and for a long time none of them was taken. Not stuck is one
//! that waits for the store (it recovers, is claimed, or in quarantine), one that is suspended, and one that has so much to do
//! that its queue never ends. What is stuck once stays so until something is taken, whatever becomes of the lease meanwhile.
//! Otherwise the lease would be renewed as soon as it had lapsed, and the slot would be claimed again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::router::Router;
use super::slot::SlotShared;
use crate::persistence::Slot;

/// A slot that takes nothing for so long is stuck. The longest sound turn takes less.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// How often the slots are looked at. There may be thousands.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a longer pause between two looks the count begins anew: the whole process has stood still.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Whether a node does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What its slots write settles, one way or the other.
    pub settles: bool,
    /// Slots that take nothing of what waits in front of them.
    pub stuck: Vec<Slot>,
}

/// Watches the slots of a node. It is asked many times a second.
pub struct SlotWatch {
    router: Arc<Router>,
    /// Since when it has looked without a pause, and the last time.
    began: Instant,
    looked: Instant,
    /// With the time since which each stands.
    standing: BTreeMap<Slot, Instant>,
    stuck: Vec<Slot>,
}

impl SlotWatch {
    pub fn new(router: Arc<Router>) -> SlotWatch {
        let now = Instant::now();
        SlotWatch { router, began: now, looked: now, standing: BTreeMap::new(), stuck: Vec::new() }
    }

    /// The slots that are stuck now, as they were seen last.
    pub fn stuck(&mut self) -> &[Slot] {
        let now = Instant::now();
        let pause = now - self.looked;
        if pause >= LOOK_EVERY {
            self.looked = now;
            if pause > GAP_MAX {
                self.began = now;
            }
            self.look(now);
        }
        &self.stuck
    }

    fn look(&mut self, now: Instant) {
        self.standing.retain(|slot, since| {
            let still = self.router.slots[usize::from(*slot)].inbox.stands_since() == Some(*since);
            if !still {
                tracing::warn!(slot, "a slot that was stuck goes on");
            }
            still
        });
        for shared in &self.router.slots {
            if let Some(since) = stands(shared).filter(|since| now - *since.max(&self.began) >= TAKEN_WITHIN)
                && self.standing.insert(shared.slot, since).is_none()
            {
                let waiting = shared.inbox.len();
                let for_s = (now - since).as_secs();
                tracing::error!(slot = shared.slot, waiting, for_s, "a slot is stuck: it takes nothing of what waits");
            }
        }
        self.stuck = self.standing.keys().copied().collect();
    }
}

/// Since when a slot that should has taken nothing.
fn stands(shared: &SlotShared) -> Option<Instant> {
    if shared.reading.serves() && !shared.is_suspended() { shared.inbox.stands_since() } else { None }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
