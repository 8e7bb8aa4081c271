//! Claiming a slot again after its generation has ended.

use std::time::Duration;

use tokio::time::sleep;

use crate::persistence::{Epoch, Journal, Refusal, Slot, SlotHead, StoreError};

const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Raises the slot's epoch, for as long as it takes: that waits for or fences whatever is still in flight.
///
/// Errors: the store has failed, or another node owns the slot. Then this node has nothing to say any more.
pub async fn claim_again(
    journal: &dyn Journal,
    owner: &str,
    slot: Slot,
    mut epoch: Epoch,
) -> Result<SlotHead, StoreError> {
    let mut pause = PAUSE_FIRST;
    loop {
        let claimed = match journal.claim(owner, &[(slot, epoch)]).await {
            Ok(mut heads) => heads.pop().unwrap_or_else(|| Err(Refusal::Rejected("no answer to a claim".into()))),
            Err(error) => Err(wait_for(slot, error)?),
        };
        match claimed {
            Ok(head) => return Ok(head),
            // The claim before may have been made without our hearing of it.
            Err(Refusal::Fenced { .. }) => match journal.heads().await {
                Ok(heads) => epoch = own(heads, slot, owner)?,
                Err(error) => drop(wait_for(slot, error)?),
            },
            Err(Refusal::Conflict(why) | Refusal::Rejected(why) | Refusal::NotMember(why)) => {
                tracing::warn!(slot, why, "the slot is not claimed yet");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether it is worth trying again.
fn wait_for(slot: Slot, error: StoreError) -> Result<Refusal, StoreError> {
    match error {
        StoreError::Fatal(_) | StoreError::Damaged(_) => Err(error),
        StoreError::Unavailable(why) | StoreError::Unknown(why) => {
            tracing::debug!(slot, why, "a slot waits for the store");
            Ok(Refusal::Rejected(why))
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
