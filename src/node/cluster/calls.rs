//! The protocol's calls to the store, each answered by one input.
//!
//! A call that takes too long has an unknown outcome: it may be done yet.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::rows;
use crate::cluster::protocol::messages::{ClaimAnswer, Input, NotRead, RenewAnswer, TransferAnswer};
use crate::cluster::{Moment, NodeId};
use crate::persistence::membership::{NodeRow, Store, Tables};
use crate::persistence::{Epoch, Refusal, Slot, SlotHead, StoreError};

/// How long a claim or a transfer may take. It reads and writes a few rows.
const CHANGE_WITHIN: Duration = Duration::from_secs(5);
/// How often leaving is tried. If it is never heard of, the others wait for the lease.
const LEAVE_TRIES: u32 = 5;
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
const LEAVE_AGAIN: Duration = Duration::from_millis(200);

/// `within`: a renewal that hangs must leave time for another.
pub async fn renew(store: &dyn Store, row: NodeRow, within: Duration) -> Input {
    let sent = Moment::now();
    let answer = match timeout(within, store.renew(&row)).await {
        Ok(Ok(Ok(counter))) => RenewAnswer::Renewed { counter },
        Ok(Ok(Err(Refusal::Conflict(_)))) => RenewAnswer::CounterMoved,
        Ok(Ok(Err(Refusal::NotMember(_)))) => RenewAnswer::NotMember,
        Ok(Ok(Err(refusal))) => failed(&refusal),
        // Nobody can take over either who cannot read the list. Once it is repaired this node goes on.
        Ok(Err(error @ StoreError::Damaged(_))) => {
            tracing::error!(%error, "the lease is not renewed: the node list is damaged");
            RenewAnswer::Failed
        }
        Ok(Err(error)) => failed(&error),
        Err(elapsed) => failed(&elapsed),
    };
    Input::Renewed { sent, answer }
}

fn failed(why: &dyn std::fmt::Display) -> RenewAnswer {
    tracing::warn!(%why, "the lease is not renewed");
    RenewAnswer::Failed
}

/// The slots as they were before the nodes: see rule 3 of the protocol.
pub async fn read(store: &dyn Store, number: u64, within: Duration) -> (Input, Tables) {
    let asked = Moment::now();
    match timeout(within, store.tables()).await {
        Ok(Ok(tables)) => (Input::StoreRead { number, asked, read: Ok(rows::store_view(&tables)) }, tables),
        Ok(Err(error)) => not_read(number, asked, &error),
        Err(elapsed) => not_read(number, asked, &elapsed),
    }
}

fn not_read(number: u64, asked: Moment, why: &dyn std::fmt::Display) -> (Input, Tables) {
    tracing::warn!(%why, "the tables of the cluster cannot be read");
    (Input::StoreRead { number, asked, read: Err(NotRead) }, Tables::default())
}

/// How a slot stands that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    So(SlotHead),
    /// Its stored data is damaged.
    Damaged,
}

/// What became of claims: the input, and how the slots stand that are this node's now.
pub async fn claim(store: &dyn Store, me: &NodeId, slots: Vec<(Slot, Epoch)>) -> (Input, Vec<(Slot, Stands)>) {
    let (mut answers, mut stand) = (Vec::with_capacity(slots.len()), Vec::new());
    match claim_together(store, me, &slots).await {
        Ok(claimed) => {
            for ((slot, epoch), answer) in slots.into_iter().zip(claimed) {
                answers.push((slot, epoch, told(slot, answer, &mut stand)));
            }
        }
        // The damage of one slot is no other's concern. Some of them may have been taken all the same.
        Err(StoreError::Damaged(why)) => {
            tracing::warn!(why, "not all slots can be claimed together: each is claimed by itself");
            for (slot, epoch) in slots {
                let answer = claim_alone(store, me, slot, epoch, &mut stand).await;
                answers.push((slot, epoch, answer));
            }
        }
        Err(error) => {
            tracing::warn!(%error, slots = slots.len(), "slots are not claimed");
            let answer = if is_certain(&error) { ClaimAnswer::NotDone } else { ClaimAnswer::Unknown };
            answers.extend(slots.into_iter().map(|(slot, epoch)| (slot, epoch, answer)));
        }
    }
    (Input::ClaimAnswered { answers }, stand)
}

type Answer = Result<SlotHead, Refusal>;

async fn claim_together(store: &dyn Store, me: &NodeId, slots: &[(Slot, Epoch)]) -> Result<Vec<Answer>, StoreError> {
    let late = |_| Err(StoreError::Unknown("no answer to a claim".into()));
    let claimed = timeout(CHANGE_WITHIN, store.claim(me.as_str(), slots)).await.unwrap_or_else(late)?;
    let is_whole = claimed.len() == slots.len();
    if is_whole { Ok(claimed) } else { Err(StoreError::Unknown("not every slot was answered for".into())) }
}

fn told(slot: Slot, answer: Answer, stand: &mut Vec<(Slot, Stands)>) -> ClaimAnswer {
    match answer {
        Ok(head) => {
            let epoch = head.epoch;
            stand.push((slot, Stands::So(head)));
            ClaimAnswer::Claimed { epoch }
        }
        Err(Refusal::Fenced { .. }) => ClaimAnswer::Fenced,
        Err(Refusal::NotMember(_)) => ClaimAnswer::NotMember,
        Err(Refusal::Unavailable(_)) => ClaimAnswer::NotDone,
        Err(Refusal::Conflict(_) | Refusal::Rejected(_) | Refusal::Unknown(_)) => ClaimAnswer::Unknown,
    }
}

/// Claims a slot that was among others when a claim met damage: by the epoch that it has now, where the claim was made. (This
/// node's, above the epoch that was asked for: nobody had it in between.)
async fn claim_alone(
    store: &dyn Store,
    me: &NodeId,
    slot: Slot,
    asked: Epoch,
    stand: &mut Vec<(Slot, Stands)>,
) -> ClaimAnswer {
    let owned = |head: &SlotHead| head.owner.as_deref() == Some(me.as_str()) && head.epoch > asked;
    let stood = match timeout(CHANGE_WITHIN, store.head(slot)).await {
        Ok(Ok(head)) => head,
        Ok(Err(_)) | Err(_) => return ClaimAnswer::Unknown,
    };
    let epoch = if owned(&stood) { stood.epoch } else { asked };
    match claim_together(store, me, &[(slot, epoch)]).await {
        Ok(mut claimed) => claimed.pop().map_or(ClaimAnswer::Unknown, |answer| told(slot, answer, stand)),
        Err(StoreError::Damaged(why)) => match timeout(CHANGE_WITHIN, store.head(slot)).await {
            Ok(Ok(head)) if owned(&head) => {
                tracing::warn!(slot, why, "a slot is this node's, and its stored data is damaged");
                stand.push((slot, Stands::Damaged));
                ClaimAnswer::Claimed { epoch: head.epoch }
            }
            Ok(Ok(_)) => ClaimAnswer::NotDone,
            Ok(Err(_)) | Err(_) => ClaimAnswer::Unknown,
        },
        Err(_) => ClaimAnswer::Unknown,
    }
}

pub async fn transfer(store: &dyn Store, me: &NodeId, to: &NodeId, slot: Slot, epoch: Epoch) -> Input {
    let transfer = async { store.transfer(me.as_str(), to.as_str(), &[(slot, epoch)]).await.map(|mut all| all.pop()) };
    let answer = match timeout(CHANGE_WITHIN, transfer).await {
        Ok(Ok(Some(Ok(head)))) => TransferAnswer::Moved { epoch: head.epoch },
        Ok(Ok(Some(Err(Refusal::Fenced { .. })))) => TransferAnswer::Fenced,
        Ok(Ok(Some(Err(Refusal::NotMember(_))))) => TransferAnswer::ReceiverGone,
        Ok(Ok(Some(Err(Refusal::Unavailable(_))))) => TransferAnswer::NotDone,
        Ok(Err(error)) if is_certain(&error) => TransferAnswer::NotDone,
        Ok(Ok(Some(Err(_)) | None) | Err(_)) | Err(_) => TransferAnswer::Unknown,
    };
    Input::TransferAnswered { slot, epoch, answer }
}

/// Deletes the row of a node that is gone. If it cannot be done now, it is wanted again.
pub async fn forget(store: &dyn Store, id: &str, counter: u64) {
    match timeout(CHANGE_WITHIN, store.forget(id, counter)).await {
        Ok(Ok(Ok(()))) => tracing::info!(node = id, "a node that is gone is forgotten"),
        Ok(Ok(Err(refusal))) => tracing::debug!(node = id, %refusal, "a node is not forgotten"),
        Ok(Err(error)) => tracing::debug!(node = id, %error, "a node is not forgotten"),
        Err(_elapsed) => tracing::debug!(node = id, "no answer to the wish to forget a node"),
    }
}

/// Whether nothing was done, for certain.
fn is_certain(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_))
}

/// Leaves the list: the next process need not wait. When it cannot be told, the lease runs out.
pub async fn leave(store: &dyn Store, id: &str) {
    for _ in 0..LEAVE_TRIES {
        match timeout(LEAVE_WITHIN, store.leave(id)).await {
            Ok(Ok(Ok(()) | Err(Refusal::NotMember(_)))) => return,
            Ok(Ok(Err(refusal))) => tracing::warn!(%refusal, "this node could not leave the list"),
            Ok(Err(error)) => tracing::warn!(%error, "this node could not leave the list"),
            Err(_elapsed) => tracing::warn!("no answer to this node's leaving the list"),
        }
        sleep(LEAVE_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::Journal;
    use crate::persistence::decorator::{Decorator, Handed};
    use crate::persistence::memory::Memory;

    /// The machine that has the slots answers this.
    struct Answering(Memory, Refusal);

    impl Decorator for Answering {
        type Inner = Memory;

        fn inner(&self) -> &Memory {
            &self.0
        }
        async fn claim(&self, _: &str, slots: &[(Slot, Epoch)]) -> Handed {
            Ok(slots.iter().map(|_| Err(self.1.clone())).collect())
        }
        async fn transfer(&self, _: &str, _: &str, slots: &[(Slot, Epoch)]) -> Handed {
            Ok(slots.iter().map(|_| Err(self.1.clone())).collect())
        }
    }

    /// One that may have changed hands is not served on: nobody knows whose it is.
    #[tokio::test]
    async fn what_one_machine_does_not_answer_is_unknown_and_what_it_refuses_is_not_done() {
        let (me, why) = (NodeId::of("a#1"), || "no answer".to_owned());
        for (refusal, is_known) in [(Refusal::Unknown(why()), false), (Refusal::Unavailable(why()), true)] {
            let store = Answering(Memory::new(4), refusal);
            let (claimed, _) = claim(&store, &me, vec![(1, 2)]).await;
            let Input::ClaimAnswered { answers } = claimed else { panic!("{claimed:?}") };
            let expected = if is_known { ClaimAnswer::NotDone } else { ClaimAnswer::Unknown };
            assert_eq!(answers, [(1, 2, expected)]);
            let moved = transfer(&store, &me, &NodeId::of("b#1"), 1, 2).await;
            let Input::TransferAnswered { answer, .. } = moved else { panic!("{moved:?}") };
            assert_eq!(answer, if is_known { TransferAnswer::NotDone } else { TransferAnswer::Unknown });
        }
    }

    /// It takes the slots, and finds that the records of one end wrongly: so nothing is answered but that.
    struct Damaging(Memory, Slot);

    impl Decorator for Damaging {
        type Inner = Memory;

        fn inner(&self) -> &Memory {
            &self.0
        }
        async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Handed {
            let claimed = self.0.claim(owner, slots).await;
            if slots.iter().any(|(slot, _)| *slot == self.1) {
                return Err(StoreError::Damaged("a record is not there".into()));
            }
            claimed
        }
    }

    #[tokio::test]
    async fn a_slot_that_is_damaged_keeps_no_other_from_being_claimed() {
        let (store, me) = (Damaging(Memory::new(4), 2), NodeId::of("a#1"));
        let (claimed, stand) = claim(&store, &me, (0..4).map(|slot| (slot, 0)).collect()).await;
        let Input::ClaimAnswered { answers } = claimed else { panic!("{claimed:?}") };
        for (slot, asked, answer) in answers {
            let stands = stand.iter().find(|(of, _)| *of == slot).map(|(_, stands)| stands.clone());
            let head = Journal::head(&store, slot).await.expect("a head");
            assert_eq!((asked, answer), (0, ClaimAnswer::Claimed { epoch: head.epoch }), "slot {slot}");
            assert_eq!(stands, Some(if slot == 2 { Stands::Damaged } else { Stands::So(head) }), "slot {slot}");
        }
    }
}
