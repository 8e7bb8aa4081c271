//! Claiming slots as a node starts.

use super::message::Start;
use crate::persistence::{Epoch, Journal, Refusal, Slot, StoreError};

/// Claims these slots, whoever had them. Where that meets damage, each slot claims itself: the damage of one is no
/// other's concern.
pub async fn claim_all(journal: &dyn Journal, owner: &str, slots: &[Slot]) -> Result<Vec<(Slot, Start)>, StoreError> {
    let heads = journal.heads().await?;
    let epoch = |slot: Slot| heads.get(usize::from(slot)).map_or(0, |head| head.epoch);
    let wanted: Vec<(Slot, Epoch)> = slots.iter().map(|slot| (*slot, epoch(*slot))).collect();
    let refused = |refusal: Refusal| StoreError::Unavailable(format!("a slot cannot be claimed: {refusal}"));
    match journal.claim(owner, &wanted).await {
        Ok(claimed) => {
            let starts = claimed.into_iter().map(|head| head.map(Start::Claimed).map_err(refused));
            slots.iter().zip(starts).map(|(slot, start)| Ok((*slot, start?))).collect()
        }
        Err(StoreError::Damaged(why)) => {
            tracing::warn!(why, "not all slots can be claimed together: each claims itself");
            Ok(wanted.into_iter().map(|(slot, epoch)| (slot, Start::Unclaimed(epoch))).collect())
        }
        Err(error) => Err(error),
    }
}
