//! Ownership: claims, fencing, heads.

use super::{Rig, SLOTS, Scribe};
use crate::persistence::{Record, Refusal, SlotHead};

pub async fn claims_compare_and_set_the_epoch(rig: &dyn Rig) {
    let journal = rig.open().await;
    let taken = |owner: &str, epoch| SlotHead { owner: Some(owner.to_owned()), epoch, ..SlotHead::default() };
    let claimed = journal.claim("one", &[(2, 0), (0, 0), (1, 5), (SLOTS, 0)]).await.expect("claim");
    assert_eq!(claimed[..3], [Ok(taken("one", 1)), Ok(taken("one", 1)), Err(Refusal::Fenced { current: 0 })]);
    assert!(matches!(claimed[3], Err(Refusal::Rejected(_))), "a slot that the store does not have");
    let claimed = journal.claim("two", &[(2, 0), (0, 1), (0, 1)]).await.expect("claim");
    let fenced = |current| Err(Refusal::Fenced { current });
    assert_eq!(claimed, [fenced(1), Ok(taken("two", 2)), fenced(2)]);
    assert_eq!(journal.claim("one", &[(2, 1)]).await.expect("claim"), [Ok(taken("one", 2))], "its own, again");
    let heads = [taken("two", 2), SlotHead::default(), taken("one", 2), SlotHead::default()];
    assert_eq!(journal.heads().await.expect("heads"), heads);
    assert_eq!(journal.claim("one", &[]).await.expect("claim"), []);
    journal.close().await.expect("close");
    drop(journal);
    assert_eq!(rig.open().await.heads().await.expect("heads"), heads);
}

pub async fn another_epoch_is_fenced(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let record = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&record)).await;
    let late = scribe.record(0, "a");
    scribe.journal.claim(super::SCRIBE, &[(0, 1)]).await.expect("claim")[0].as_ref().expect("taken over");
    assert_eq!(scribe.append(std::slice::from_ref(&late)).await, [(0, Refusal::Fenced { current: 2 })]);
    let ahead = Record { epoch: 3, ..late.clone() };
    assert_eq!(scribe.append(&[ahead]).await, [(0, Refusal::Fenced { current: 2 })]);
    let mixed = [Record { epoch: 2, ..late.clone() }, Record { seq: 3, version: 3, ..late.clone() }];
    assert_eq!(scribe.append(&mixed).await, [(0, Refusal::Fenced { current: 2 })]);
    assert_eq!(scribe.feed(0).await, std::slice::from_ref(&record));
    let taken = Record { epoch: 2, ..late };
    scribe.commit(std::slice::from_ref(&taken)).await;
    assert_eq!(scribe.feed(0).await, [record, taken]);
}

pub async fn heads_follow_claims_and_records(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    for n in 0..9 {
        let batch = [scribe.record(1, "a"), scribe.record(3, "b"), scribe.record(3, "c")];
        scribe.commit(&batch[..if n < 5 { 3 } else { 1 }]).await;
        if n == 4 {
            break;
        }
    }
    let heads: Vec<SlotHead> = (0..SLOTS).map(|slot| scribe.head(slot)).collect();
    assert_eq!((heads[1].seq, heads[3].seq, heads[0].seq), (5, 10, 0));
    assert_eq!(scribe.journal.heads().await.expect("heads"), heads);
    for (slot, head) in (0..).zip(&heads) {
        assert_eq!(scribe.journal.head(slot).await.as_ref().ok(), Some(head), "each by itself");
    }
    let claimed = scribe.journal.claim("next", &[(3, 1)]).await.expect("claim");
    let expected = SlotHead { owner: Some("next".into()), epoch: 2, ..heads[3].clone() };
    assert_eq!(claimed, [Ok(expected)], "a claim answers with the end of the slot's records");
}
