//! What a consumer is.

use std::sync::Arc;

use async_trait::async_trait;

use super::position::Position;
use crate::persistence::{Record, Slot};

/// Builds something out of the journal's records.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// As operators name it.
    fn name(&self) -> &'static str;

    fn sort(&self) -> Sort {
        Sort::Replicated
    }

    /// Whether it wants the records of this kind. The others are passed over.
    fn follows(&self, kind: u8) -> bool;

    /// The positions that it has kept, one for each slot; `None`: it has nothing, and is to be built.
    async fn load(&self) -> Result<Option<Vec<Position>>, ConsumerError>;

    /// Takes the batch's records and keeps its positions, in one step. The same records may come again. Where a slot has no
    /// records its position is kept all the same: it is further on, behind records of other kinds, or further back, when
    /// an operator has records taken again.
    async fn apply(&self, batch: &Batch) -> Result<(), ConsumerError>;

    /// Called in each of the consumer's turns, a few times a second at least: what it has put off may be tried again.
    async fn turn(&self) -> Result<(), ConsumerError> {
        Ok(())
    }

    /// Gives up what it has and begins anew, when the journal's slots stood at `heads`. The answer is the positions, one
    /// for each slot, that it follows from: `heads` for what was built of the entities as they are now, the beginning
    /// for what is built of records alone. On return they are kept, as with `apply`.
    ///
    /// It may be ended at any await point, and is called again then.
    async fn rebuild(&self, heads: Vec<Position>) -> Result<Vec<Position>, ConsumerError>;
}

/// On how many nodes a consumer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// On every node, each for itself.
    Replicated,
    /// On one node at a time.
    Single,
}

impl Sort {
    pub const fn word(self) -> &'static str {
        match self {
            Sort::Replicated => "replicated",
            Sort::Single => "single",
        }
    }
}

/// Why a consumer could not do what it was asked to. It is asked again after a pause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ConsumerError(pub Arc<str>);

impl ConsumerError {
    pub fn of(error: impl std::fmt::Display) -> ConsumerError {
        ConsumerError(error.to_string().into())
    }
}

/// Records of several slots, and where a consumer that has taken them stands.
#[derive(Debug, Default)]
pub struct Batch {
    /// Each slot once.
    pub slots: Vec<SlotBatch>,
}

/// Records of one slot: those of the followed kinds, in slot order, and none left out.
#[derive(Debug)]
pub struct SlotBatch {
    pub slot: Slot,
    pub records: Vec<Arc<Record>>,
    /// Behind the last record of the slot that was looked at, whatever its kind.
    pub position: Position,
}

impl Batch {
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.slots.iter().flat_map(|slot| &slot.records)
    }

    /// Moves positions to where this batch ends.
    pub fn move_positions(&self, positions: &mut [Position]) {
        for taken in &self.slots {
            if let Some(position) = positions.get_mut(usize::from(taken.slot)) {
                *position = taken.position;
            }
        }
    }
}
