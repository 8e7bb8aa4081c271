//! Appending: the statement, and what is done with its verdicts.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::super::admission::{self, Held, Present};
use super::super::{Batch, EntityKey, Refusal, Slot, StoreError};
use super::connect::{Lent, Pools};
use super::failure::Failure;
use super::plan::{Columns, SlotPlan, entity_number, plan, signed};
use super::reads::absent;
use super::statement::Statement;

const VERSIONS: &str = "select e.slot, e.kind, e.id, coalesce((
        select r.version from souk_records r
        where r.slot = e.slot and r.entity = e.entity and r.kind = e.kind and r.id = e.id and r.seq <= $5
        order by r.version desc, r.seq desc limit 1), 0)
    from unnest($1::int4[], $2::int4[], $3::int2[], $4::text[]) as e(slot, entity, kind, id)";

/// How long an append waits for slots that are locked: for a claim that is being made. Whoever holds a row longer
/// (what is left of a connection that was lost, an operator's transaction) holds up that slot, and no other.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long an append looks for the slots that a statement fails because of, in statements that take as long as they
/// may. (Two rounds of pieces come down to single slots.)
const SEARCH: u32 = 4;
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What became of one slot.
enum Verdict {
    Absent,
    /// Not looked at: somebody held it.
    Again,
    /// Nothing was written; this is what the slot was when it was judged.
    Refused(Known),
}

/// A slot as it was when it was judged.
struct Known {
    slot: Slot,
    owner: Option<String>,
    epoch: u64,
    seq: u64,
    versions: HashMap<EntityKey, u64>,
}

impl Present for Known {
    fn slot(&self, slot: Slot) -> Option<Held<'_>> {
        (slot == self.slot).then_some(Held { owner: self.owner.as_deref(), epoch: self.epoch, seq: self.seq })
    }
    fn version(&mut self, key: &EntityKey) -> Result<u64, StoreError> {
        Ok(self.versions.get(key).copied().unwrap_or_default())
    }
}

/// Which statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    Quick,
    Careful,
}

/// One append on its way.
struct Append<'a> {
    pools: &'a Pools,
    slots: Slot,
    owner: &'a str,
    refusals: BTreeMap<Slot, Refusal>,
    /// Something is written: from now on, not to get further means that the outcome is unknown.
    has_written: bool,
}

pub async fn append(pools: &Pools, slots: Slot, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
    let (owner, plans) = plan(batch);
    let mut append = Append { pools, slots, owner: &owner, refusals: BTreeMap::new(), has_written: false };
    match append.all(plans.iter().collect()).await {
        Ok(()) => Ok(append.refusals.into_iter().collect()),
        Err(failure) => Err(match failure.of_a_write() {
            StoreError::Unavailable(why) if append.has_written => StoreError::Unknown(why),
            other => other,
        }),
    }
}

impl Append<'_> {
    async fn all(&mut self, plans: Vec<&SlotPlan>) -> Result<(), Failure> {
        let mut parts = VecDeque::from([(plans, Care::Quick)]);
        let (mut search_until, mut wait_until) = (None, None);
        let mut pause = PAUSE;
        while let Some((part, care)) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let is_quick = care == Care::Quick && part.iter().all(|plan| plan.is_plain());
            let sent = if is_quick { self.quick(&part).await } else { self.careful(&part).await };
            let (left, why) = match sent {
                Ok(left) => (left, None),
                // One of them is to blame: everybody else's is written.
                Err(Failure::Statement(why)) => {
                    let until =
                        *search_until.get_or_insert_with(|| Instant::now() + self.pools.appends.limit() * SEARCH);
                    if part.len() == 1 {
                        self.refuse(&part, &why);
                    } else if Instant::now() < until {
                        parts.extend(pieces(&part).map(|piece| (piece, care)));
                    } else {
                        self.refuse_beside_others(&part, why)?;
                    }
                    continue;
                }
                Err(Failure::Retry(why) | Failure::Locked(why)) => (part, Some(why)),
                Err(other) => return Err(other),
            };
            if is_quick {
                parts.push_back((left, Care::Careful)); // which finds out why
                continue;
            }
            if left.is_empty() {
                continue;
            }
            if Instant::now() >= *wait_until.get_or_insert_with(|| Instant::now() + PATIENCE) {
                match why {
                    // It leaves out locked rows: a table is locked.
                    Some(why) => self.refuse_beside_others(&left, why)?,
                    None => self.held(&left),
                }
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            parts.push_back((left, Care::Careful));
        }
        Ok(())
    }

    /// Nothing of these slots is written, and nobody waits for them any longer.
    fn refuse(&mut self, part: &[&SlotPlan], why: &str) {
        self.refusals.extend(part.iter().map(|plan| (plan.slot, Refusal::Rejected(why.to_owned()))));
    }

    /// Slots that the server would not take: where it took others. Else it is the store that takes nothing now.
    fn refuse_beside_others(&mut self, part: &[&SlotPlan], why: String) -> Result<(), Failure> {
        if !self.has_written {
            return Err(Failure::NotDone(why));
        }
        self.refuse(part, &why);
        Ok(())
    }

    /// Nobody else need wait any longer for slots whose rows somebody holds.
    fn held(&mut self, left: &[&SlotPlan]) {
        let why = |slot| Refusal::Rejected(format!("somebody holds the row of slot {slot}"));
        self.refusals.extend(left.iter().map(|plan| (plan.slot, why(plan.slot))));
    }

    /// Sends plain parts; the answer is which of them were not written.
    async fn quick<'p>(&mut self, part: &[&'p SlotPlan]) -> Result<Vec<&'p SlotPlan>, Failure> {
        let mut lent = self.pools.appends.lend().await?;
        let columns = Columns::of(part.iter().copied());
        let Statement { text, parameters } = Statement::quick(&columns, &self.owner);
        let rows = lent.query(&text, &parameters).await?;
        let left: HashSet<i32> = rows.iter().map(|row| row.get(0)).collect();
        self.has_written |= left.len() < part.len();
        Ok(part.iter().filter(|plan| left.contains(&i32::from(plan.slot))).copied().collect())
    }

    /// Sends some slots' parts; the answer is who has to be sent again.
    async fn careful<'p>(&mut self, part: &[&'p SlotPlan]) -> Result<Vec<&'p SlotPlan>, Failure> {
        let mut lent = self.pools.appends.lend().await?;
        let mut verdicts = judged(&mut lent, self.owner, part).await?;
        let mut again = Vec::new();
        for plan in part.iter().filter(|plan| plan.has_records()) {
            match verdicts.remove(&plan.slot) {
                None => self.has_written = true,
                Some(Verdict::Again) => again.push(*plan),
                Some(Verdict::Absent) => {
                    self.refusals.insert(plan.slot, absent(self.slots, plan.slot));
                }
                Some(Verdict::Refused(known)) => {
                    // That it is refused is certain, and no concern of its neighbours', whether we hear why or not.
                    let why = self.explain(&mut lent, known, plan).await.unwrap_or_else(|failure| {
                        Refusal::Conflict(format!(
                            "slot {}: refused; why, is not known: {}",
                            plan.slot,
                            failure.of_a_read()
                        ))
                    });
                    self.refusals.insert(plan.slot, why);
                }
            }
        }
        Ok(again)
    }

    /// Why a slot was refused, in the words of all stores.
    async fn explain(&self, lent: &mut Lent, mut known: Known, plan: &SlotPlan) -> Result<Refusal, Failure> {
        let mut keys: Vec<&EntityKey> = plan.records.iter().map(|record| &record.key).collect();
        keys.retain(|key| !key.id.contains('\0'));
        let is_fenced = known.owner.as_deref() != Some(self.owner)
            || plan.records.first().is_some_and(|record| record.epoch != known.epoch);
        if !is_fenced && !keys.is_empty() {
            let slots = vec![i32::from(plan.slot); keys.len()];
            let kinds: Vec<i16> = keys.iter().map(|key| i16::from(key.kind)).collect();
            let numbers: Vec<i32> = keys.iter().map(|key| entity_number(key)).collect();
            let ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
            let rows = lent.query(VERSIONS, &[&slots, &numbers, &kinds, &ids, &signed(known.seq)]).await;
            for row in rows.map_err(Failure::before_sending)? {
                let kind = u8::try_from(row.get::<_, i16>(1)).unwrap_or_default();
                let key = EntityKey { kind, id: row.get::<_, &str>(2).into() };
                known.versions.insert(key, row.get::<_, i64>(3).cast_unsigned());
            }
        }
        let batch = Batch::of(self.owner, plan.records.clone());
        let admitted = admission::admit(batch, &mut known).map_err(|error| Failure::NotDone(error.to_string()))?;
        let beyond = || Refusal::Rejected("a number beyond what the store can keep".into());
        Ok(admitted.refusals.into_iter().next().map_or_else(beyond, |(_, why)| why))
    }
}

/// A part that failed, in as many pieces as each has slots: a slot for which the server needs all its time is found by
/// waiting twice.
fn pieces<'p>(part: &[&'p SlotPlan]) -> impl Iterator<Item = Vec<&'p SlotPlan>> {
    part.chunks(part.len().isqrt().max(1)).map(<[_]>::to_vec)
}

async fn judged(lent: &mut Lent, owner: &str, part: &[&SlotPlan]) -> Result<HashMap<Slot, Verdict>, Failure> {
    let columns = Columns::of(part.iter().copied());
    let Statement { text, parameters } = Statement::careful(&columns, &owner);
    let rows = lent.query(&text, &parameters).await?;
    let mut verdicts = HashMap::with_capacity(rows.len());
    for row in rows {
        let slot = Slot::try_from(row.get::<_, i32>(0)).unwrap_or_default();
        let verdict = match row.get(1) {
            "absent" => Verdict::Absent,
            "locked" | "moved" => Verdict::Again,
            _ => {
                let (epoch, seq): (i64, i64) = (row.get(3), row.get(4));
                let (epoch, seq) = (epoch.cast_unsigned(), seq.cast_unsigned());
                Verdict::Refused(Known { slot, owner: row.get(2), epoch, seq, versions: HashMap::new() })
            }
        };
        verdicts.insert(slot, verdict);
    }
    Ok(verdicts)
}
