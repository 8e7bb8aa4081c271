//! Changes of owner: claims and transfers. Each is a single statement on a connection of its own, so that it
//! waits for no append but the one whose lock it needs.
//!
//! Slots that nobody holds are taken together; for each of the others its own statement waits in line, behind
//! the append (perhaps one of a connection that was lost) that has the lock. So an answer means that what came
//! before is settled: it is committed, and in `seq`, or it will find another epoch.

use std::collections::HashMap;

use super::super::{Epoch, NodeState, Refusal, Slot, SlotHead, StoreError};
use super::connect::Pools;
use super::failure::Failure;
use super::plan::signed;
use super::reads::absent;

/// Who is to have slots, and under which conditions.
pub struct Change<'a> {
    pub to: &'a str,
    /// A transfer: only from this one, and only to a member.
    pub from: Option<&'a str>,
    /// Whether `to` may have slots was judged by a list elsewhere.
    pub is_judged: bool,
}

/// The end of the records comes from the locked row. (A slot's row is changed in the same transaction as its
/// records: its epoch is never behind theirs, whatever a fail-over has lost.)
macro_rules! change {
    ($lock:literal) => {
        concat!(
            "with wanted as materialized (
                select * from unnest($1::int4[], $2::int8[]) as w(slot, epoch)
            ), held as materialized (
                select slot, owner, epoch, seq, at_ms from souk_slots where slot = any($1) order by slot for update ",
            $lock,
            "), allowed as materialized (
                select $6::bool or case when $4::text is null
                    then exists (select 1 from souk_nodes where id = $3::text and state <> $5::int2)
                        or not exists (select 1 from souk_nodes)
                    else exists (select 1 from souk_nodes where id = $3::text and state <> $5::int2)
                end as is_allowed
            ), taken as (
                update souk_slots s set owner = $3::text, epoch = h.epoch + 1
                from held h join wanted w on w.slot = h.slot cross join allowed a
                where s.slot = h.slot and h.epoch = w.epoch and ($4::text is null or h.owner = $4::text)
                    and a.is_allowed
                returning s.slot
            )
            select s.slot, h.slot is not null, a.is_allowed, t.slot is not null, h.epoch, h.seq, h.at_ms
            from souk_slots s cross join allowed a
                left join held h on h.slot = s.slot left join taken t on t.slot = s.slot
            where s.slot = any($1)"
        )
    };
}
const TOGETHER: &str = change!("skip locked");
const WAITING: &str = change!("");

/// So many slots at once: no statement holds more locks than that.
const TOGETHER_MAX: usize = 512;

type Outcome = Result<SlotHead, Refusal>;

/// How a slot's records end, as of one moment: whether the last one is there, and none behind it.
const ENDS: &str = "select s.slot, s.seq, s.seq = 0 or l.seq is not null, n.seq is null from souk_slots s
        left join souk_records l on l.slot = s.slot and l.seq = s.seq
        left join souk_records n on n.slot = s.slot and n.seq = s.seq + 1
    where s.slot = any($1)";

/// `slots_of_store`: how many there are.
pub async fn change(
    pools: &Pools,
    slots_of_store: Slot,
    change: &Change<'_>,
    slots: &[(Slot, Epoch)],
) -> Result<Vec<Outcome>, StoreError> {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; slots.len()];
    let mut has_changed = false;
    let answered = match rounds(pools, change, slots, &mut outcomes, &mut has_changed).await {
        Ok(()) => compare_ends(pools, slots, &outcomes).await,
        failed => failed,
    };
    answered.map_err(|failure| match failure.of_a_write() {
        StoreError::Unavailable(why) if has_changed => StoreError::Unknown(why),
        other => other,
    })?;
    let no_row = |slot: Slot| Err(absent(slots_of_store, slot));
    Ok(slots.iter().zip(outcomes).map(|((slot, _), outcome)| outcome.unwrap_or_else(|| no_row(*slot))).collect())
}

/// A slot that was taken must end where its row says. (Looked up afterwards: a statement that has waited for the row's
/// lock does not see the records that came meanwhile.)
async fn compare_ends(pools: &Pools, slots: &[(Slot, Epoch)], outcomes: &[Option<Outcome>]) -> Result<(), Failure> {
    let is_taken = |outcome: &Option<Outcome>| matches!(outcome, Some(Ok(_)));
    let taken = slots.iter().zip(outcomes).filter(|(_, outcome)| is_taken(outcome));
    let taken: Vec<i32> = taken.map(|((slot, _), _)| i32::from(*slot)).collect();
    if taken.is_empty() {
        return Ok(());
    }
    for row in pools.owners.query(ENDS, &[&taken]).await? {
        let (slot, seq, has_last, is_end): (i32, i64, bool, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        if !has_last || !is_end {
            let (record, why) = if has_last { (seq + 1, "is too many") } else { (seq, "is not there") };
            let why = format!("slot {slot} should end with record {seq}, and record {record} {why}");
            return Err(Failure::Damaged(why));
        }
    }
    Ok(())
}

async fn rounds(
    pools: &Pools,
    change: &Change<'_>,
    slots: &[(Slot, Epoch)],
    outcomes: &mut [Option<Outcome>],
    has_changed: &mut bool,
) -> Result<(), Failure> {
    let mut left: Vec<usize> = (0..slots.len()).collect();
    while !left.is_empty() {
        // A slot that is named again waits for the next round.
        let mut round: HashMap<Slot, usize> = HashMap::new();
        let mut next = Vec::new();
        for at in left {
            if round.len() < TOGETHER_MAX && !round.contains_key(&slots[at].0) {
                round.insert(slots[at].0, at);
            } else {
                next.push(at)
            }
        }
        let wanted: Vec<(Slot, Epoch)> = round.values().map(|at| slots[*at]).collect();
        let mut held = Vec::new();
        for (slot, outcome) in send(pools, TOGETHER, change, &wanted).await? {
            *has_changed |= matches!(outcome, Some(Ok(_)));
            match outcome {
                Some(outcome) => outcomes[round[&slot]] = Some(outcome),
                None => held.push(round[&slot]),
            }
        }
        // Only now: whoever is waited for in vain must not hide what was taken.
        for at in held {
            let outcome = send(pools, WAITING, change, &slots[at..=at]).await?.remove(&slots[at].0).flatten();
            *has_changed |= matches!(outcome, Some(Ok(_)));
            outcomes[at] = outcome;
        }
        left = next;
    }
    Ok(())
}

/// What became of each slot that exists; `None` where somebody holds it.
async fn send(
    pools: &Pools,
    sql: &'static str,
    change: &Change<'_>,
    wanted: &[(Slot, Epoch)],
) -> Result<HashMap<Slot, Option<Outcome>>, Failure> {
    let slots: Vec<i32> = wanted.iter().map(|(slot, _)| i32::from(*slot)).collect();
    let epochs: Vec<i64> = wanted.iter().map(|(_, epoch)| signed(*epoch)).collect();
    let left = i16::from(NodeState::Left.code());
    let rows = loop {
        match pools.owners.query(sql, &[&slots, &epochs, &change.to, &change.from, &left, &change.is_judged]).await {
            Err(Failure::Retry(_)) => tokio::task::yield_now().await,
            other => break other?,
        }
    };
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let slot = Slot::try_from(row.get::<_, i32>(0)).unwrap_or_default();
        let (is_held, is_allowed, is_taken): (bool, bool, bool) = (row.get(1), row.get(2), row.get(3));
        let outcome = if !is_allowed {
            Some(Err(Refusal::NotMember(change.to.to_owned())))
        } else if !is_held {
            None
        } else {
            let (epoch, seq, at_ms): (i64, i64, i64) = (row.get(4), row.get(5), row.get(6));
            let (epoch, seq) = (epoch.cast_unsigned(), seq.cast_unsigned());
            Some(if is_taken {
                Ok(SlotHead { owner: Some(change.to.to_owned()), epoch: epoch + 1, seq, at_ms })
            } else {
                Err(Refusal::Fenced { current: epoch })
            })
        };
        found.insert(slot, outcome);
    }
    Ok(found)
}
