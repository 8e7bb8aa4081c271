//! Claiming a slot: again after its generation has ended, and all of them at a start.

use tokio::time::sleep;

use super::claims::{Claimed, Claims};
use super::message::{Damage, Start};
use crate::actors::runtime::pauses::Pauses;
use crate::persistence::{Epoch, Journal, Refusal, Slot, SlotHead, StoreError};

/// Raises the slot's epoch, for as long as it takes: that waits for or fences whatever is still in flight.
///
/// Errors: what is stored of the slot is damaged; the store has failed, or another node owns the slot: then this
/// node has nothing to say any more.
pub async fn claim_again(claims: &Claims, slot: Slot, mut epoch: Epoch) -> Result<SlotHead, StoreError> {
    let mut pauses = Pauses::STORE;
    loop {
        match claims.claim(slot, epoch).await {
            Ok(Claimed::Head(head)) => return Ok(head),
            // The claim before may have been made without our hearing of it.
            Ok(Claimed::Fenced(head)) => epoch = own(head, slot, claims.owner())?,
            Ok(Claimed::Refused(why)) => tracing::warn!(slot, %why, "the slot is not claimed yet"),
            Err(error) => bear(slot, error)?,
        }
        sleep(pauses.take()).await;
    }
}

/// Reads again where damage was met, until there is an answer: it is gone, it is still there, or the store has failed.
pub async fn look_again(journal: &dyn Journal, slot: Slot, damage: &Damage) -> Result<(), StoreError> {
    let mut pauses = Pauses::STORE;
    loop {
        match damage.look_again(journal, slot).await {
            Ok(()) => return Ok(()),
            Err(error) => bear(slot, error)?,
        }
        sleep(pauses.take()).await;
    }
}

/// Claims every slot, whoever had it. Where that meets damage, each slot is claimed by itself: the damage of one is no
/// other's concern.
pub async fn claim_all(journal: &dyn Journal, claims: &Claims) -> Result<Vec<Start>, StoreError> {
    let heads = journal.heads().await?;
    let wanted: Vec<(Slot, Epoch)> = (0..).zip(&heads).map(|(slot, head)| (slot, head.epoch)).collect();
    let refused = |refusal: Refusal| StoreError::Unavailable(format!("a slot cannot be claimed: {refusal}"));
    match journal.claim(claims.owner(), &wanted).await {
        Ok(claimed) => claimed.into_iter().map(|head| head.map(Start::Claimed).map_err(refused)).collect(),
        Err(StoreError::Damaged(why)) => {
            tracing::warn!(why, "not all slots can be claimed together: each is claimed by itself");
            claim_each(claims, &wanted).await
        }
        Err(error) => Err(error),
    }
}

async fn claim_each(claims: &Claims, wanted: &[(Slot, Epoch)]) -> Result<Vec<Start>, StoreError> {
    let mut starts = Vec::with_capacity(wanted.len());
    for &(slot, epoch) in wanted {
        starts.push(match claim_again(claims, slot, epoch).await {
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
fn own(head: SlotHead, slot: Slot, owner: &str) -> Result<Epoch, StoreError> {
    match head.owner {
        Some(other) if other != owner => {
            Err(StoreError::Fatal(format!("another node has taken over: slot {slot} belongs to {other}")))
        }
        Some(_) | None => Ok(head.epoch),
    }
}
