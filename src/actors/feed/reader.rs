//! Takes what follows a position: from the tail where it reaches back so far, else from the journal.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::pages::Pages;
use super::position::Position;
use super::tail::{Look, Tail};
use super::taken::{Kinds, Taken, Wanted};
use crate::metrics::Metrics;
use crate::persistence::{Journal, Slot, StoreError};

/// Slots that are read from the journal at once.
pub(super) const READS_AT_ONCE: usize = 16;

pub(super) struct Reader {
    pub journal: Arc<dyn Journal>,
    pub tail: Tail,
    pages: Pages,
    metrics: Arc<Metrics>,
}

/// Why nothing could be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum TakeError {
    /// The journal does not have the record that the position is behind.
    #[error("slot {slot}: the journal has another record {seq} than the one that was taken, or none")]
    Mismatch { slot: Slot, seq: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reader {
    pub fn new(journal: Arc<dyn Journal>, tail: Tail, metrics: Arc<Metrics>) -> Reader {
        Reader { pages: Pages::new(journal.clone()), journal, tail, metrics }
    }

    /// Gives up what is in memory of the journal: it is not what the journal has now.
    pub fn forget(&self) {
        self.tail.forget();
        self.pages.forget();
    }

    /// What follows a position; `None` when there is nothing.
    pub async fn take(
        &self,
        slot: Slot,
        from: &Position,
        kinds: &Kinds,
        wanted: Wanted,
    ) -> Result<Option<Taken>, TakeError> {
        match self.tail.look(slot, from, false, kinds, wanted) {
            Look::Taken(taken) => return Ok(Some(taken)),
            Look::Unproven => {
                self.prove(slot, from).await?;
                if let Look::Taken(taken) = self.tail.look(slot, from, true, kinds, wanted) {
                    return Ok(Some(taken));
                }
            }
            Look::Missing => {}
        }
        self.metrics.feed_tail_misses.inc();
        let page = self.pages.behind(slot, from.seq).await?;
        match page.get(from.seq) {
            _ if from.seq == 0 => {}
            Some(record) if from.is_behind(record) => {}
            Some(_) => return Err(TakeError::Mismatch { slot, seq: from.seq }),
            // The page may have been read before the record was written.
            None => self.prove(slot, from).await?,
        }
        Ok(Taken::of(slot, page.behind(from.seq).iter(), kinds, wanted))
    }

    /// Looks whether the journal has the record that a position is behind.
    pub async fn prove(&self, slot: Slot, position: &Position) -> Result<(), TakeError> {
        let Some(before) = position.seq.checked_sub(1) else { return Ok(()) };
        let found = self.journal.feed(slot, before, 1).await?;
        if found.first().is_some_and(|record| position.is_behind(record)) {
            Ok(())
        } else {
            Err(TakeError::Mismatch { slot, seq: position.seq })
        }
    }

    /// Asks the journal how far its slots are. Whether that is news.
    pub async fn look(&self) -> Result<bool, StoreError> {
        let before = self.tail.heads();
        let found = self.journal.heads().await?;
        let mut is_news = false;
        for ((slot, before), head) in (0..).zip(before).zip(found) {
            is_news |= self.tail.found_head(slot, before, head.seq);
        }
        Ok(is_news)
    }

    /// Where the journal's slots stand now. A slot whose last record cannot be read is known by its number alone.
    pub async fn heads(&self) -> Result<Vec<Position>, StoreError> {
        self.look().await?;
        let heads = (0..).zip(self.tail.heads());
        let read = heads.map(|(slot, seq): (Slot, u64)| async move {
            let Some(before) = seq.checked_sub(1) else { return Ok(Position::BEGINNING) };
            match self.journal.feed(slot, before, 1).await {
                Ok(records) => Ok(records.first().map_or(Position::unproven(seq), Position::behind)),
                Err(StoreError::Damaged(why)) => {
                    tracing::warn!(slot, why, "the last record of a slot cannot be read");
                    Ok(Position::unproven(seq))
                }
                Err(error) => Err(error),
            }
        });
        futures::stream::iter(read).buffered(READS_AT_ONCE).try_collect().await
    }
}
