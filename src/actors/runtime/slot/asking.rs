//! How a slot's questions to the store are answered: each is one small piece of work of its own, off the slot's time.
//!
//! What runs here waits, and so it is the only part of a slot that is not a state machine. It decides nothing: every
//! outcome goes back to the slot, and what is asked again, and when, the slot says. Node and simulation run the same
//! functions, over their journals; between any two steps anything else may happen.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::SlotShared;
use super::alarms;
use super::claims::Claims;
use super::load::load;
use super::message::{Back, OwedPage};
use super::question::{Damage, Lookup, Question};
use super::receipts::ReceiptLimits;
use crate::actors::kinds::Kinds;
use crate::actors::runtime::envelope::{AskError, Envelope};
use crate::actors::runtime::history::ask_error;
use crate::actors::runtime::writer::Gathering;
use crate::persistence::{EntityKey, Journal, StoreError};

/// Rows of the owed index read at once.
pub const OWED_PAGE: usize = 64;

/// Where a slot's questions go.
pub struct Asking {
    pub shared: Arc<SlotShared>,
    pub kinds: &'static Kinds,
    pub receipts: ReceiptLimits,
    pub journal: Arc<dyn Journal>,
    pub gathering: Arc<Gathering>,
    pub claims: Arc<Claims>,
    /// Of the whole node: each load takes a permit, so that slots that all begin anew do not ask the store for
    /// everything at once.
    pub loads: Arc<Semaphore>,
    /// The same for reads of the slots' indexes and heads: apart, so that slots that begin do not hold up those that serve.
    /// Whoever waits here has no time limit; in front of the store's connections he would have one.
    pub index_reads: Arc<Semaphore>,
    pub owed_page: usize,
}

impl Asking {
    /// What the store says. `None`: nobody waits for it any more.
    pub async fn ask(&self, generation: u64, question: Question) -> Option<Back> {
        Some(match question {
            Question::Load { key, settle } => return self.load(generation, key, settle).await,
            Question::FindReceipt(lookup) => self.find_receipt(generation, lookup).await,
            Question::ReadOwed { after } => {
                let _place = self.place(generation).await?;
                self.read_owed(after).await
            }
            Question::ReadWakes { after } => {
                self.settle(generation).await;
                let _place = self.place(generation).await?;
                let rows = self.journal.wakes(self.shared.slot, Some(after.clone()), alarms::PAGE).await;
                Back::WakesRead { after, rows }
            }
            Question::Settle { generation } => {
                self.settle(generation).await;
                Back::Settled
            }
            Question::LookAgain(damage) => {
                let _place = self.place(generation).await?;
                Back::LookedAgain(self.look_again(damage).await)
            }
            Question::ReadHead => {
                let _place = self.place(generation).await?;
                Back::HeadRead(self.journal.head(self.shared.slot).await)
            }
            Question::Claim { epoch } => {
                Back::Claimed { epoch, answer: self.claims.claim(self.shared.slot, epoch).await }
            }
        })
    }

    async fn settle(&self, generation: u64) {
        self.gathering.settle(self.shared.slot, generation).await;
    }

    /// A place among those who read an index. (It is never closed.) `None`: while this waited for one the generation has
    /// ended, so what is read would not be taken.
    async fn place(&self, generation: u64) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.index_reads.try_acquire() {
            return Some(place);
        }
        let place = self.index_reads.acquire().await.ok()?;
        (self.shared.generation() == generation).then_some(place)
    }

    async fn load(&self, generation: u64, key: EntityKey, settle: bool) -> Option<Back> {
        if settle {
            self.settle(generation).await;
        }
        // Whoever has a place waits for the store alone, which bounds its reads. (It is never closed.)
        let _permit = self.loads.acquire().await;
        if self.shared.generation() != generation {
            return None;
        }
        let result = match self.kinds.by_number(key.kind) {
            Some(spec) => {
                // A panic of entity code must not leave those hanging who wait for it.
                let loading = load(&*self.journal, spec, self.shared.slot, &key, &self.receipts);
                AssertUnwindSafe(loading).catch_unwind().await.unwrap_or(Err(AskError::Panicked))
            }
            None => Err(AskError::UnknownKind),
        };
        Some(Back::Loaded { key, result: Box::new(result) })
    }

    async fn find_receipt(&self, generation: u64, lookup: Lookup) -> Back {
        self.settle(generation).await; // the receipt itself may be in flight
        let Envelope { key, request, .. } = &lookup.envelope;
        // However it ends it is told: until then the entity stays in memory.
        let finding = AssertUnwindSafe(self.journal.find_receipt(self.shared.slot, key, &request.0)).catch_unwind();
        let found = finding.await.map_or(Err(AskError::Unavailable), |found| found.map_err(ask_error));
        Back::ReceiptFound { lookup: Box::new(lookup), found: Box::new(found) }
    }

    async fn read_owed(&self, after: Option<(i64, EntityKey)>) -> Back {
        let rows = self.journal.owed(self.shared.slot, after.clone(), self.owed_page).await;
        let page = rows.map(|rows| OwedPage { is_last: rows.len() < self.owed_page, rows });
        Back::OwedRead { after, page }
    }

    /// Reads again what could not be read. (Whether a claim and an append succeed shows when they are made.)
    async fn look_again(&self, damage: Damage) -> Result<(), StoreError> {
        let slot = self.shared.slot;
        match damage {
            Damage::Claim | Damage::Append => Ok(()),
            Damage::Owed(after) => self.journal.owed(slot, after, self.owed_page).await.map(drop),
            Damage::Wakes(after) => self.journal.wakes(slot, Some(after), alarms::PAGE).await.map(drop),
        }
    }
}

#[cfg(test)]
#[path = "asking_tests.rs"]
mod tests;
