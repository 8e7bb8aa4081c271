//! The slot in quarantine: stored data that all its entities depend on is damaged.
//!
//! Damage is never skipped and never served, and it is no reason to end the node: the other slots are well, and
//! another node would read the same bytes. So the slot throws away what it has in memory and answers everybody that
//! its data is damaged. What failed is tried again, after pauses that grow. When it succeeds (somebody has repaired
//! the store) the slot recovers as after any other end of a generation. A restart loses nothing of this: the next
//! start meets the damage again.

use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;

use super::SlotActorState;
use crate::actors::runtime::envelope::AskError;
use crate::actors::runtime::slot::alarms;
use crate::actors::runtime::slot::message::{Damage, SlotMessage};
use crate::actors::runtime::writer::Ended;
use crate::persistence::{Journal, Slot, StoreError};

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// After this long without damage the pauses begin anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(300);

impl Damage {
    /// Reads again what could not be read. (Whether a claim and an append succeed shows when they are made.)
    pub(in crate::actors::runtime::slot) async fn look_again(
        &self,
        journal: &dyn Journal,
        slot: Slot,
    ) -> Result<(), StoreError> {
        match self {
            Damage::Claim | Damage::Append => Ok(()),
            Damage::Owed(after) => journal.owed(slot, after.clone(), super::OWED_PAGE).await.map(drop),
            Damage::Wakes(after) => journal.wakes(slot, Some(after.clone()), alarms::PAGE).await.map(drop),
        }
    }

    fn place(&self) -> &'static str {
        match self {
            Damage::Claim => "the claim",
            Damage::Append => "a commit",
            Damage::Owed(_) => "the owed index",
            Damage::Wakes(_) => "the wake index",
        }
    }
}

/// The pauses between attempts.
#[derive(Default)]
pub struct Backoff {
    attempts: u32,
    last: Option<Instant>,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let now = Instant::now();
        if self.last.is_none_or(|last| now - last > FORGIVEN_AFTER) {
            self.attempts = 0;
        }
        let pause = (PAUSE_FIRST * 2u32.saturating_pow(self.attempts.min(16))).min(PAUSE_MAX);
        (self.attempts, self.last) = (self.attempts + 1, Some(now));
        pause
    }
}

impl SlotActorState {
    /// Ends the generation and serves nothing until what met the damage has succeeded.
    pub(super) fn quarantine(&mut self, myself: &ActorRef<SlotMessage>, generation: u64, damage: Damage, why: &str) {
        let pause = self.backoff.next();
        let (slot, place) = (self.seat.shared.slot, damage.place());
        tracing::error!(slot, place, why, retry_after_ms = pause.as_millis(), "slot quarantined");
        self.leave_core();
        self.seat.gathering.end_generation(slot, generation, Ended::Unknown);
        if self.seat.ownership.quarantine(slot, &format!("{place}: {why}")) {
            self.seat.common.metrics.slots_quarantined.inc();
        }
        self.turn_away();
        self.recover(myself, generation, Some((damage, pause)));
    }

    /// Answers everybody who waits. What the runtime itself has sent comes again from the indexes.
    pub(super) fn turn_away(&mut self) {
        let (waiting, _) = self.seat.shared.inbox.drain(usize::MAX);
        let lease_is_valid = self.seat.lease.is_valid();
        for envelope in self.held.drain(..).chain(waiting) {
            // Without a lease another node may own the slot, and read it well.
            let error = if lease_is_valid { AskError::Damaged } else { AskError::Unavailable };
            envelope.reply.send(Err(error));
        }
    }

    /// The slot serves: if it was in quarantine, that is over.
    pub(super) fn end_quarantine(&self) {
        let slot = self.seat.shared.slot;
        if self.seat.ownership.end_quarantine(slot) {
            self.seat.common.metrics.slots_quarantined.dec();
            tracing::warn!(slot, "the slot is served again: what was damaged has been read");
            self.seat.sink.readable_again();
        }
    }
}
