//! Claims of slots whose generations have ended, many at once: after a disturbance of the store it may be all of
//! them. What waits while one claim is on its way goes into the next, so that the store is asked a few times and not
//! once for each slot. There is no timer and no task: whoever's turn it is claims for all who wait.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::persistence::{Epoch, Journal, Refusal, Slot, SlotHead, StoreError};

/// What a claim comes to.
pub enum Claimed {
    Head(SlotHead),
    /// Not at this epoch: this is how the slot stands.
    Fenced(SlotHead),
    Refused(Refusal),
}

type Answer = Result<Claimed, StoreError>;

struct Wanted {
    slot: Slot,
    epoch: Epoch,
    answer: oneshot::Sender<Answer>,
}

/// Claims for one node.
pub struct Claims {
    journal: Arc<dyn Journal>,
    owner: Arc<str>,
    waiting: Mutex<Vec<Wanted>>,
    turn: tokio::sync::Mutex<()>,
}

impl Claims {
    pub fn new(journal: Arc<dyn Journal>, owner: Arc<str>) -> Arc<Claims> {
        Arc::new(Claims { journal, owner, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Claims a slot that is at this epoch.
    pub async fn claim(&self, slot: Slot, epoch: Epoch) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().push(Wanted { slot, epoch, answer });
        let turn = self.turn.lock().await;
        if let Ok(answer) = answered.try_recv() {
            return answer; // somebody has claimed it along with his own
        }
        let wanted = std::mem::take(&mut *self.waiting.lock());
        self.claim_together(of_those_who_wait(wanted)).await;
        drop(turn);
        // Nobody has answered: whoever had taken it along went away before he could.
        let lost = || Err(StoreError::Unknown("the claim was given up".into()));
        answered.await.unwrap_or_else(|_| lost())
    }

    async fn claim_together(&self, wanted: Vec<Wanted>) {
        if wanted.is_empty() {
            return; // all of them have gone away
        }
        let slots: Vec<(Slot, Epoch)> = wanted.iter().map(|wanted| (wanted.slot, wanted.epoch)).collect();
        let fenced = match self.journal.claim(&self.owner, &slots).await {
            Ok(claimed) => tell(wanted, claimed),
            // The damage of one slot is no other's concern.
            Err(StoreError::Damaged(_)) if wanted.len() > 1 => self.claim_each(wanted).await,
            // Nor is its trouble: somebody who holds its lock, say.
            Err(error @ (StoreError::Unavailable(_) | StoreError::Unknown(_))) if wanted.len() > 1 => {
                return self.claim_what_went_through(wanted, &error).await;
            }
            Err(error) => return wanted.into_iter().for_each(|wanted| wanted.is(Err(error.clone()))),
        };
        if fenced.is_empty() {
            return;
        }
        let heads = self.journal.heads().await;
        for wanted in fenced {
            let head = match &heads {
                Ok(heads) => Ok(head_of(heads, wanted.slot)),
                // One machine of several does not answer: theirs do.
                Err(_) => self.journal.head(wanted.slot).await,
            };
            wanted.is(head.map(Claimed::Fenced));
        }
    }

    /// Those who are fenced are left.
    async fn claim_each(&self, wanted: Vec<Wanted>) -> Vec<Wanted> {
        let mut fenced = Vec::new();
        for wanted in wanted {
            match self.journal.claim(&self.owner, &[(wanted.slot, wanted.epoch)]).await {
                Ok(claimed) => fenced.extend(tell(vec![wanted], claimed)),
                Err(error) => wanted.is(Err(error)),
            }
        }
        fenced
    }

    /// What was claimed though the answer was an error is claimed once more, without the others.
    async fn claim_what_went_through(&self, wanted: Vec<Wanted>, error: &StoreError) {
        let heads = self.journal.heads().await.unwrap_or_default();
        let went_through = |wanted: &Wanted| {
            let head = head_of(&heads, wanted.slot);
            head.epoch > wanted.epoch && head.owner.as_deref() == Some(&*self.owner)
        };
        let (own, others): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(went_through);
        let give_up = |wanted: Vec<Wanted>| wanted.into_iter().for_each(|wanted| wanted.is(Err(error.clone())));
        give_up(others);
        if own.is_empty() {
            return;
        }
        let slots: Vec<_> = own.iter().map(|wanted| (wanted.slot, head_of(&heads, wanted.slot).epoch)).collect();
        match self.journal.claim(&self.owner, &slots).await {
            Ok(claimed) => give_up(tell(own, claimed)),
            Err(_) => give_up(own),
        }
    }
}

fn head_of(heads: &[SlotHead], slot: Slot) -> SlotHead {
    heads.get(usize::from(slot)).cloned().unwrap_or_default()
}

/// Without those who have gone away: another claim of the slot may have succeeded since, and theirs must not end it.
fn of_those_who_wait(mut wanted: Vec<Wanted>) -> Vec<Wanted> {
    wanted.retain(|wanted| !wanted.answer.is_closed());
    wanted
}

/// Tells what the store says, but to those who are fenced: they are left.
fn tell(wanted: Vec<Wanted>, claimed: Vec<Result<SlotHead, Refusal>>) -> Vec<Wanted> {
    let mut claimed = claimed.into_iter();
    let mut fenced = Vec::new();
    for wanted in wanted {
        match claimed.next() {
            Some(Ok(head)) => wanted.is(Ok(Claimed::Head(head))),
            Some(Err(Refusal::Fenced { .. })) => fenced.push(wanted),
            Some(Err(refusal)) => wanted.is(Ok(Claimed::Refused(refusal))),
            None => wanted.is(Err(StoreError::Unknown("the store gave no answer to a claim".into()))),
        }
    }
    fenced
}

impl Wanted {
    fn is(self, answer: Answer) {
        let _ = self.answer.send(answer); // who has gone away does not claim any more
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::persistence::faulty::{Call, Fault, Faulty, Part};
    use crate::persistence::memory::Memory;

    const SLOTS: Slot = 64;

    fn claims(owner: &str) -> (Arc<Faulty<Memory>>, Arc<Claims>) {
        let store = Arc::new(Faulty::new(Memory::new(SLOTS)));
        (store.clone(), Claims::new(store, owner.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_together() {
        let (store, claims) = claims("node");
        store.fail_at(Call::Claim, 1, Fault::Slow { before_ms: 10, after_ms: 10 });
        let claimed = join_all((0..SLOTS).map(|slot| claims.claim(slot, 0))).await;
        assert!(claimed.iter().all(|claimed| matches!(claimed, Ok(Claimed::Head(head)) if head.epoch == 1)));
        assert_eq!(store.calls(Call::Claim), 2, "the first, and all that came meanwhile");
        // All of these epochs are over: one look at the heads is enough.
        let reads = store.calls(Call::Read);
        store.fail_next(Call::Claim, Fault::Slow { before_ms: 10, after_ms: 10 });
        let fenced = join_all((0..SLOTS).map(|slot| claims.claim(slot, 0))).await;
        let is_own = |head: &SlotHead| head.epoch == 1 && head.owner.as_deref() == Some("node");
        assert!(fenced.iter().all(|claimed| matches!(claimed, Ok(Claimed::Fenced(head)) if is_own(head))));
        assert!(store.calls(Call::Read) - reads <= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_damage_of_one_slot_keeps_no_other_from_being_claimed() {
        let (store, claims) = claims("node");
        store.damage(7, Part::Head);
        store.fail_at(Call::Claim, 1, Fault::Slow { before_ms: 10, after_ms: 10 });
        let claimed = join_all((0..SLOTS).map(|slot| claims.claim(slot, 0))).await;
        for (slot, claimed) in (0..).zip(claimed) {
            match claimed {
                Ok(Claimed::Head(head)) => assert!(head.epoch == 1 && slot != 7),
                Err(StoreError::Damaged(_)) => assert_eq!(slot, 7),
                _ => panic!("slot {slot}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_while_he_claims_for_all_leaves_nobody_waiting() {
        let (store, claims) = claims("node");
        store.fail_at(Call::Claim, 1, Fault::Slow { before_ms: 10, after_ms: 10 });
        let first = claims.claim(0, 0);
        let going_away = async { drop(tokio::time::timeout(std::time::Duration::from_millis(5), first).await) };
        let others = join_all((1..4).map(|slot| claims.claim(slot, 0)));
        let ((), claimed) = tokio::join!(going_away, others);
        assert!(claimed.iter().all(|claimed| matches!(claimed, Ok(Claimed::Head(_)))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_for_all_does_not_last_for_those_whose_claim_went_through() {
        let (store, claims) = claims("node");
        store.fail_at(Call::Claim, 1, Fault::Slow { before_ms: 10, after_ms: 10 });
        store.fail_at(Call::Claim, 2, Fault::FailAfter);
        let claimed = join_all((0..SLOTS).map(|slot| claims.claim(slot, 0))).await;
        let epochs = claimed.into_iter().map(|claimed| match claimed {
            Ok(Claimed::Head(head)) => head.epoch,
            _ => 0,
        });
        let expected = std::iter::once(1).chain(std::iter::repeat(2));
        assert!(epochs.eq(expected.take(usize::from(SLOTS))), "claimed again where nobody has heard of it");
        assert_eq!(store.calls(Call::Claim), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_claims_for_those_who_have_gone_away() {
        let (store, claims) = claims("node");
        store.fail_at(Call::Claim, 1, Fault::Slow { before_ms: 10, after_ms: 10 });
        let gone = async {
            let waiting = claims.claim(1, 0);
            drop(tokio::time::timeout(std::time::Duration::from_millis(5), waiting).await);
        };
        let (first, (), last) = tokio::join!(claims.claim(0, 0), gone, claims.claim(2, 0));
        assert!([first, last].iter().all(|claimed| matches!(claimed, Ok(Claimed::Head(_)))));
        assert_eq!(store.heads().await.expect("heads")[1].epoch, 0);
    }
}
