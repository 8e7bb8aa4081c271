//! What operators do with entities: have one leave memory, and have one left alone.
//!
//! What is withheld stands in [`SlotShared`](super::super::SlotShared): it outlives the slot's generations and its actor, and ends
//! when the slot leaves this node. It refuses what would run the entity's code, and lets it be read, as a quarantine after panics
//! does.

use super::SlotCore;
use crate::actors::runtime::envelope::{Envelope, Operated, Operation, Reply};
use crate::actors::values::Time;
use crate::persistence::EntityKey;

impl SlotCore {
    /// Does it, and answers.
    pub(super) fn operate(&mut self, operation: Operation, envelope: Envelope, now: Time) {
        let key = &envelope.key;
        let came = match operation {
            Operation::Passivate => self.give_memory_up(key, now),
            Operation::Quarantine => self.withhold(key),
            Operation::Release => self.release(key),
        };
        self.state.answer_after_writes(envelope.reply, Ok(Reply::operated(came, now)));
    }

    /// The entity leaves memory, with a snapshot of what came since the last one.
    fn give_memory_up(&mut self, key: &EntityKey, now: Time) -> Operated {
        if self.loading.contains_key(key) {
            return Operated::Busy;
        }
        let Some(resident) = self.residents.get(key) else { return Operated::Already };
        if !resident.may_leave(self.state.shared().durable_seq()) {
            return Operated::Busy;
        }
        let wants_snapshot = resident.version > resident.snapshot_version;
        self.leave(key, now, wants_snapshot);
        Operated::Changed
    }

    fn withhold(&mut self, key: &EntityKey) -> Operated {
        let (shared, metrics) = (self.state.shared(), &self.state.common().metrics);
        match shared.withhold(key) {
            Some(true) => {
                metrics.entities_withheld.inc();
                tracing::warn!(kind = key.kind, id = %key.id, "an operator has quarantined an entity");
                Operated::Changed
            }
            Some(false) => Operated::Already,
            None => Operated::Busy,
        }
    }

    /// Ends a quarantine, also one after panics.
    fn release(&mut self, key: &EntityKey) -> Operated {
        let had_panicked = self.faults.remove(key).is_some_and(|fault| fault.quarantined_until.is_some());
        let was_withheld = self.state.shared().release(key);
        if was_withheld {
            self.state.common().metrics.entities_withheld.dec();
            tracing::warn!(kind = key.kind, id = %key.id, "an operator has released an entity");
        }
        if had_panicked || was_withheld { Operated::Changed } else { Operated::Already }
    }
}
