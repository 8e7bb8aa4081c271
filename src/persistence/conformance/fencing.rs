//! Who may append: the owner at its epoch, whatever was sent when; and what an unknown outcome comes to.

use super::{Rig, SCRIBE, SLOTS, Scribe, client_receipt, key, several};
use crate::persistence::faulty::{Call, Fault, Faulty};
use crate::persistence::{Batch, Journal, Record, Refusal, SlotHead, StoreError};

fn batch(owner: &str, records: &[Record]) -> Batch {
    Batch::of(owner, records.iter().cloned())
}

pub async fn the_owner_is_compared(rig: &dyn Rig) {
    let store = rig.open().await;
    let mut scribe = Scribe::at(store.clone(), vec![SlotHead::default(); usize::from(SLOTS)]);
    let unowned = scribe.record(0, "a");
    for owner in ["", SCRIBE] {
        let refused = store.append(batch(owner, std::slice::from_ref(&unowned))).await.expect("append");
        assert_eq!(refused, [(0, Refusal::Fenced { current: 0 })], "nobody owns it, and {owner:?} appends");
    }
    let mut scribe = Scribe::claim(store.clone()).await;
    let record = scribe.record(0, "a");
    for owner in ["", "scrib", "scribe ", "Scribe", "other"] {
        let refused = store.append(batch(owner, std::slice::from_ref(&record))).await.expect("append");
        assert_eq!(refused, [(0, Refusal::Fenced { current: 1 })], "{owner:?}");
    }
    scribe.commit(std::slice::from_ref(&record)).await;
    assert_eq!(scribe.feed(0).await, [record]);
}

pub async fn the_owner_is_compared_slot_by_slot(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let records = [scribe.record(0, "a"), scribe.record(1, "b"), scribe.record(2, "c")];
    let taken = scribe.journal.claim("other", &[(1, 1)]).await.expect("claim");
    assert_eq!(taken.iter().map(|head| head.as_ref().map(|head| head.epoch)).collect::<Vec<_>>(), [Ok(2)]);
    // At the epoch of the other's: the epoch alone does not make an owner.
    let forged = Record { epoch: 2, ..records[1].clone() };
    let mixed = [records[0].clone(), forged.clone(), records[2].clone()];
    assert_eq!(scribe.append(&mixed).await, [(1, Refusal::Fenced { current: 2 })]);
    assert_eq!(scribe.feed(1).await, vec![]);
    assert_eq!((scribe.feed(0).await, scribe.feed(2).await), (vec![records[0].clone()], vec![records[2].clone()]));
    let theirs = scribe.journal.append(batch("other", std::slice::from_ref(&forged))).await.expect("append");
    assert_eq!((theirs, scribe.feed(1).await), (vec![], vec![forged]));
}

pub async fn a_refused_slot_leaves_nothing_behind(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let mut good = scribe.owing(0, "good", Some(5));
    good.receipt = Some(client_receipt(i64::MAX / 2));
    let mut refused = Vec::new();
    for slot in [1, 2, 3] {
        let mut owing = scribe.owing(slot, "bad", Some(5));
        owing.receipt = Some(client_receipt(i64::MAX / 2));
        refused.extend([owing, scribe.waking(slot, "bad", Some(7))]);
    }
    refused[1].epoch += 1; // of slot 1
    refused[3].seq += 1; // of slot 2
    refused[5].version += 1; // of slot 3
    let snapshot = scribe.snapshot_at(&refused[0]);
    let mut all = refused.clone();
    all.insert(3, good.clone());
    let sent = Batch { snapshots: vec![snapshot.into()], ..batch(SCRIBE, &all) };
    let refusals = scribe.journal.append(sent).await.expect("append");
    let expected = matches!(
        refusals.as_slice(),
        [(1, Refusal::Fenced { .. }), (2, Refusal::Conflict(_)), (3, Refusal::Conflict(_))]
    );
    assert!(expected, "{refusals:?}");
    let store = &scribe.journal;
    let heads = store.heads().await.expect("heads");
    assert_eq!(heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [1, 0, 0, 0]);
    for record in &refused {
        let slot = record.slot;
        let found = store.find_receipt(slot, &record.key, &record.request).await.expect("find_receipt");
        let loaded = store.load(slot, &record.key).await.expect("load");
        assert_eq!((found, loaded.snapshot, loaded.records), (None, None, vec![]), "slot {slot}");
        assert_eq!(store.feed(slot, 0, 9).await.expect("feed"), vec![]);
        assert_eq!(store.owed(slot, None, 9).await.expect("owed"), vec![]);
        assert_eq!(store.wakes(slot, None, 9).await.expect("wakes"), vec![]);
    }
    assert_eq!(store.entities(10, None, 9).await.expect("entities"), [good.key.id.clone()]);
    assert_eq!(store.owed(0, None, 9).await.expect("owed").len(), 1);
    let found = store.find_receipt(0, &good.key, &good.request).await.expect("find_receipt");
    assert_eq!(found, Some(good), "and all of the neighbour is there");
}

pub async fn another_nodes_snapshots_are_dropped(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let record = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&record)).await;
    let forged = Batch { snapshots: vec![scribe.snapshot_at(&record).into()], ..batch("other", &[]) };
    assert_eq!(scribe.journal.append(forged).await.expect("append"), vec![]);
    let loaded = scribe.journal.load(0, &key("a")).await.expect("load");
    assert_eq!((loaded.snapshot, loaded.records), (None, vec![record]));
}

/// The append is on its way when the slot is taken: it is there when the claim answers, or never.
pub async fn an_append_and_a_claim_on_their_way_together(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let handles = several(rig, &scribe.journal, 2).await;
    let mut written: Vec<Record> = Vec::new();
    for round in 0..60u64 {
        let owner = |round: u64| if round.is_multiple_of(2) { SCRIBE } else { "other" };
        let epoch = scribe.head(0).epoch + round;
        let mut record = scribe.record(0, "a");
        (record.epoch, record.seq) = (epoch, written.len() as u64 + 1);
        record.version = record.seq;
        let (writer, taker) = (handles[0].clone(), handles[1].clone());
        let sent = batch(owner(round), std::slice::from_ref(&record));
        // Both are on their way: one task waits for both, so each goes on while the other one waits.
        let appending = async {
            for _ in 0..round % 7 {
                tokio::task::yield_now().await;
            }
            writer.append(sent).await.expect("append")
        };
        let taking = async {
            let claimed = taker.claim(owner(round + 1), &[(0, epoch)]).await.expect("claim");
            (claimed, taker.feed(0, 0, usize::MAX).await.expect("feed"))
        };
        let (refused, (claimed, at_the_claim)) = futures::join!(appending, taking);
        let head = claimed[0].clone().expect("nobody else claims");
        assert_eq!(head.epoch, epoch + 1);
        match refused.as_slice() {
            [] => written.push(record),
            [(0, Refusal::Fenced { current })] => assert_eq!(*current, epoch + 1),
            other => panic!("an append at an old epoch is fenced, and was: {other:?}"),
        }
        assert_eq!(head.seq, written.len() as u64, "round {round}: the claim has seen what there will ever be");
        assert_eq!(at_the_claim, written, "round {round}");
        assert_eq!(handles[0].feed(0, 0, usize::MAX).await.expect("feed"), written, "round {round}");
    }
}

/// An append of unknown outcome is there when the slot was claimed again, or never comes.
pub async fn unknown_outcomes_are_settled_by_a_claim(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let faulty = Faulty::new(scribe.journal.clone());
    let mut epoch = scribe.head(0).epoch;
    let mut written: Vec<Record> = Vec::new();
    for round in 0..12 {
        let fault = [Fault::FailAfter, Fault::Lost, Fault::Late][round % 3];
        let mut record = scribe.owing(0, "a", Some(round as i64));
        (record.epoch, record.seq) = (epoch, written.len() as u64 + 1);
        record.version = record.seq;
        record.owed.iter_mut().for_each(|owed| {
            owed.before_due_ms =
                written.last().and_then(|last| last.owed.as_ref()?.after.as_ref()).map(|row| row.due_ms);
        });
        faulty.fail_next(Call::Append, fault);
        let sent = batch(SCRIBE, std::slice::from_ref(&record));
        assert!(matches!(faulty.append(sent.clone()).await, Err(StoreError::Unknown(_))));
        let claimed = faulty.claim(SCRIBE, &[(0, epoch)]).await.expect("claim");
        let head = claimed[0].clone().expect("its own slot");
        epoch = head.epoch;
        if fault == Fault::FailAfter {
            written.push(record);
        }
        assert_eq!(head.seq, written.len() as u64, "{fault:?}");
        // What was on its way arrives, and what was sent is sent again: neither does anything.
        let fenced = vec![(0, Refusal::Fenced { current: epoch })];
        let late = usize::from(fault == Fault::Late);
        assert_eq!(faulty.deliver_late().await.expect("append"), vec![fenced.clone(); late]);
        assert_eq!(faulty.append(sent).await.expect("append"), fenced);
        assert_eq!(scribe.feed(0).await, written, "{fault:?}");
        let owed = scribe.journal.owed(0, None, 9).await.expect("owed");
        let expected = written.last().and_then(|record| record.owed.clone()).and_then(|change| change.after);
        assert_eq!(owed.into_iter().map(|(_, row)| row).next(), expected, "{fault:?}");
    }
}

/// A claim of unknown outcome: the heads say, and whoever knows the present epoch goes on.
pub async fn unknown_claims_are_settled_by_the_heads(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let faulty = Faulty::new(scribe.journal.clone());
    for (fault, epoch) in [(Fault::FailAfter, 2), (Fault::Lost, 1)] {
        faulty.fail_next(Call::Claim, fault);
        let slot = 2 - epoch as u16;
        assert!(matches!(faulty.claim(SCRIBE, &[(slot, 1)]).await, Err(StoreError::Unknown(_))));
        assert_eq!(faulty.heads().await.expect("heads")[usize::from(slot)].epoch, epoch);
        let record = Record { epoch, ..scribe.record(slot, &format!("of-slot-{slot}")) };
        scribe.commit(&[record]).await;
    }
}

/// An append that is delivered twice is taken once, and its neighbours' as well.
pub async fn an_append_that_comes_twice_is_taken_once(rig: &dyn Rig) {
    let mut scribe = Scribe::open(rig).await;
    let faulty = Faulty::new(scribe.journal.clone());
    let records = [scribe.record(0, "a"), scribe.record(0, "a"), scribe.record_of(1, key("b"), 0)];
    faulty.fail_next(Call::Append, Fault::Duplicate);
    assert_eq!(faulty.append(batch(SCRIBE, &records)).await.expect("taken, and then refused"), vec![]);
    let again = faulty.append(batch(SCRIBE, &records)).await.expect("append");
    assert!(matches!(again.as_slice(), [(0, Refusal::Conflict(_)), (1, Refusal::Conflict(_))]), "{again:?}");
    assert_eq!((scribe.feed(0).await, scribe.feed(1).await), (records[..2].to_vec(), records[2..].to_vec()));
}
