//! Claiming a slot: again after its generation has ended, and all of them at a start.

use std::time::Duration;

use tokio::time::sleep;

use super::actor::{Damage, Start};
use crate::persistence::{Epoch, Journal, Refusal, Slot, SlotHead, StoreError};

const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Raises the slot's epoch, for as long as it takes: that waits for or fences whatever is still in flight.
///
/// Errors: what is stored of the slot is damaged; the store has failed, or another node owns the slot: then this
/// node has nothing to say any more.
pub async fn claim_again(
    journal: &dyn Journal,
    owner: &str,
    slot: Slot,
    mut epoch: Epoch,
) -> Result<SlotHead, StoreError> {
    let mut pause = PAUSE_FIRST;
    loop {
        match journal.claim(owner, &[(slot, epoch)]).await.map(|mut heads| heads.pop()) {
            Ok(Some(Ok(head))) => return Ok(head),
            // The claim before may have been made without our hearing of it.
            Ok(Some(Err(Refusal::Fenced { .. }))) => match journal.heads().await {
                Ok(heads) => epoch = own(heads, slot, owner)?,
                Err(error) => bear(slot, error)?,
            },
            Ok(Some(Err(Refusal::Conflict(why) | Refusal::Rejected(why) | Refusal::NotMember(why)))) => {
                tracing::warn!(slot, why, "the slot is not claimed yet");
            }
            Ok(None) => tracing::warn!(slot, "the store gave no answer to a claim"),
            Err(error) => bear(slot, error)?,
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Reads again where damage was met, until there is an answer: it is gone, it is still there, or the store has failed.
pub async fn look_again(journal: &dyn Journal, slot: Slot, damage: &Damage) -> Result<(), StoreError> {
    let mut pause = PAUSE_FIRST;
    loop {
        match damage.look_again(journal, slot).await {
            Ok(()) => return Ok(()),
            Err(error) => bear(slot, error)?,
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Claims every slot, whoever had it. Where that meets damage, each slot is claimed by itself: the damage of one is no
/// other's concern.
pub async fn claim_all(journal: &dyn Journal, owner: &str) -> Result<Vec<Start>, StoreError> {
    let heads = journal.heads().await?;
    let wanted: Vec<(Slot, Epoch)> = (0..).zip(&heads).map(|(slot, head)| (slot, head.epoch)).collect();
    let refused = |refusal: Refusal| StoreError::Unavailable(format!("a slot cannot be claimed: {refusal}"));
    match journal.claim(owner, &wanted).await {
        Ok(claimed) => claimed.into_iter().map(|head| head.map(Start::Claimed).map_err(refused)).collect(),
        Err(StoreError::Damaged(why)) => {
            tracing::warn!(why, "not all slots can be claimed together: each is claimed by itself");
            claim_each(journal, owner, &wanted).await
        }
        Err(error) => Err(error),
    }
}

async fn claim_each(journal: &dyn Journal, owner: &str, wanted: &[(Slot, Epoch)]) -> Result<Vec<Start>, StoreError> {
    let mut starts = Vec::with_capacity(wanted.len());
    for &(slot, epoch) in wanted {
        starts.push(match claim_again(journal, owner, slot, epoch).await {
            Ok(head) => Start::Claimed(head),
            Err(StoreError::Damaged(why)) => Start::Damaged { epoch, why },
            Err(error) => return Err(error),
        });
    }
    Ok(starts)
}

/// Lets pass what may be over the next time.
fn bear(slot: Slot, error: StoreError) -> Result<(), StoreError> {
    match error {
        StoreError::Fatal(_) | StoreError::Damaged(_) => Err(error),
        StoreError::Unavailable(_) | StoreError::Unknown(_) => {
            tracing::debug!(slot, %error, "a slot waits for the store");
            Ok(())
        }
    }
}

/// The slot's epoch, if it is this owner's.
fn own(heads: Vec<SlotHead>, slot: Slot, owner: &str) -> Result<Epoch, StoreError> {
    let head = heads.into_iter().nth(usize::from(slot)).unwrap_or_default();
    match head.owner {
        Some(other) if other != owner => {
            Err(StoreError::Fatal(format!("another node has taken over: slot {slot} belongs to {other}")))
        }
        Some(_) | None => Ok(head.epoch),
    }
}
