//! Reading: one statement each, so that each is as of one moment.
//!
//! A slot may go to another server ([`super::moving`]), and its rows are deleted here when it has gone. So a read of a slot
//! also asks, in the same statement, whether the slot is here: where it is not, the rows that are found mean nothing.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{
    EntityKey, History, OwedRow, Record, Refusal, RequestBytes, Slot, SlotHead, Snapshot, StoreError, WakeRow,
};
use super::connect::Pools;
use super::plan::{entity_number, signed};

/// Records in the first page of a load.
const LOAD_PAGE: usize = 256;

/// A read of the slot that is its first parameter, with two columns more: whether the row is one of the answer's, and whether
/// the slot is here (or nowhere: one that the store does not have is empty). There is always one row at least. (A join with a
/// single row keeps the order.)
macro_rules! of_a_slot {
    ($sql:literal) => {
        concat!(
            "select q.*,
            exists (select 1 from souk_slots where slot = $1) or $1 >= (select slots from souk_meta where one)
        from (values (1)) as one(one) left join lateral (select s.*, true from (",
            $sql,
            ") s) q on true"
        )
    };
}

const LOAD: &str = of_a_slot!(
    "with s as materialized (
        select seq, version, frame from souk_snapshots where slot = $1 and kind = $3 and id = $4
    )
    select seq, frame, true from s union all (
        select seq, frame, false from souk_records
        where slot = $1 and entity = $2 and kind = $3 and id = $4
            and version >= coalesce((select version from s), 0) and seq > coalesce((select seq from s), 0)
        order by version, seq limit $5)"
);
const RECORDS: &str = of_a_slot!(
    "select seq, frame from souk_records
    where slot = $1 and entity = $2 and kind = $3 and id = $4 and seq > $5 and version >= coalesce((
        select version from souk_records where slot = $1 and seq = $5 and kind = $3 and id = $4), 0)
    order by version, seq limit $6"
);
const RECEIPT: &str = of_a_slot!(
    "select x.seq, r.frame from souk_receipts x left join souk_records r on r.slot = x.slot and r.seq = x.seq
    where x.slot = $1 and x.kind = $2 and x.id = $3 and x.request = $4"
);
const FEED: &str = of_a_slot!("select seq, frame from souk_records where slot = $1 and seq > $2 order by seq limit $3");
const OWED: &str = of_a_slot!(
    "select o.due_ms, o.kind, o.id, o.seq, r.frame
    from (select * from souk_owed where slot = $1 and (due_ms, kind, id) > ($2, $3, $4)
        order by due_ms, kind, id limit $5) o
    left join souk_records r on r.slot = $1 and r.seq = o.seq order by o.due_ms, o.kind, o.id"
);
const WAKES: &str = of_a_slot!(
    "select due_ms, kind, id from souk_wakes
    where slot = $1 and (due_ms, kind, id) > ($2, $3, $4) order by due_ms, kind, id limit $5"
);
const ENTITIES: &str = "select id from souk_entities where kind = $1 and id > $2 order by id limit $3";
const HEADS: &str = "select owner, epoch, seq, at_ms, slot from souk_slots order by slot";
const HEAD: &str = "select owner, epoch, seq, at_ms from souk_slots where slot = $1";
const PRUNE_RECEIPTS: &str = "delete from souk_receipts where (slot, kind, id, request) in (
        select slot, kind, id, request from souk_receipts where expires_ms < $1 order by expires_ms limit $2
        for update skip locked)
    returning 1";
const DROP_SNAPSHOTS: &str = "delete from souk_snapshots where slot >= 0";

/// The answer for a slot that is not here, or not any more.
pub fn not_here(slot: Slot) -> String {
    format!("slot {slot} is not on this server: it moves, or it lies on another one")
}

/// What is said of a slot that has no row.
pub fn absent(slots: Slot, slot: Slot) -> Refusal {
    if slot < slots {
        Refusal::Unavailable(not_here(slot))
    } else {
        Refusal::Rejected(format!("the store has no slot {slot}"))
    }
}

fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The record in a row, which must be the one that belongs there.
fn record(slot: Slot, seq: i64, frame: &[u8]) -> Result<Record, StoreError> {
    let place = || format!("slot {slot}, record {seq}");
    let record = Record::decode(frame).map_err(|error| error.damaged_at(place()))?;
    match record.slot == slot && signed(record.seq) == seq {
        true => Ok(record),
        false => Err(StoreError::Damaged(format!("{}: it is record {} of slot {}", place(), record.seq, record.slot))),
    }
}

fn records_of(slot: Slot, rows: Vec<Row>) -> Result<Vec<Record>, StoreError> {
    rows.iter().map(|row| record(slot, row.get(0), row.get(1))).collect()
}

/// A record that a row of an index names.
fn named(slot: Slot, seq: i64, frame: Option<&[u8]>) -> Result<Record, StoreError> {
    let missing = || StoreError::Damaged(format!("slot {slot}, record {seq}: it is named, and not there"));
    record(slot, seq, frame.ok_or_else(missing)?)
}

/// An entity's records follow from each other: in the slot, and in its versions. `version`: before the first of them,
/// where that is known.
fn follow(key: &EntityKey, mut version: Option<u64>, records: &[Record]) -> Result<(), StoreError> {
    let mut seq = 0;
    for record in records {
        let before = record.version.checked_sub(u64::from(!record.events.is_empty()));
        if record.key != *key || record.seq <= seq || before.is_none() || version.is_some_and(|it| Some(it) != before) {
            let place = format!("slot {}, record {}", record.slot, record.seq);
            let why = format!("it does not follow from version {version:?} of {}/{}", key.kind, key.id);
            return Err(StoreError::Damaged(format!("{place}: {why}")));
        }
        (seq, version) = (record.seq, Some(record.version));
    }
    Ok(())
}

fn head(row: &Row) -> SlotHead {
    SlotHead {
        owner: row.get(0),
        epoch: row.get::<_, i64>(1).cast_unsigned(),
        seq: row.get::<_, i64>(2).cast_unsigned(),
        at_ms: row.get(3),
    }
}

/// What a page of an index begins behind. No entity has an empty id, so nothing is before the first.
fn behind(after: Option<&(i64, EntityKey)>) -> (i64, i16, &str) {
    after.map_or((i64::MIN, i16::MIN, ""), |(due_ms, key)| (*due_ms, i16::from(key.kind), &key.id))
}

fn key(row: &Row, kind_at: usize) -> EntityKey {
    let kind = u8::try_from(row.get::<_, i16>(kind_at)).unwrap_or_default();
    EntityKey { kind, id: row.get::<_, &str>(kind_at + 1).into() }
}

impl Pools {
    /// Reads what one slot has, by a statement [`of_a_slot`].
    async fn read_slot(
        &self,
        slot: Slot,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = self.reads.read(sql, parameters).await?;
        let is_here = rows.first().is_some_and(|row| row.get(row.len() - 1));
        if !is_here {
            return Err(StoreError::Unavailable(not_here(slot)));
        }
        rows.retain(|row| row.get::<_, Option<bool>>(row.len() - 2) == Some(true));
        Ok(rows)
    }

    pub async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let (of_slot, kind, page) = (i32::from(slot), i16::from(key.kind), rows_max(LOAD_PAGE + 1));
        let parameters: [&(dyn ToSql + Sync); 5] = [&of_slot, &entity_number(key), &kind, &&*key.id, &page];
        let mut history = History::default();
        for row in self.read_slot(slot, LOAD, &parameters).await? {
            let (seq, frame): (i64, &[u8]) = (row.get(0), row.get(1));
            match row.get(2) {
                true => {
                    let place = || format!("snapshot {seq} of {}/{}", key.kind, key.id);
                    history.snapshot = Some(Snapshot::decode(frame).map_err(|error| error.damaged_at(place()))?);
                }
                false => history.records.push(record(slot, seq, frame)?),
            }
        }
        let snapshot = history.snapshot.as_ref().map_or(0, |snapshot| snapshot.version);
        follow(key, Some(snapshot), &history.records)?;
        history.more = history.records.len() > LOAD_PAGE;
        history.records.truncate(LOAD_PAGE);
        Ok(history)
    }

    pub async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (of_slot, kind) = (i32::from(slot), i16::from(key.kind));
        let (after_seq, limit) = (signed(after_seq), rows_max(limit));
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&of_slot, &entity_number(key), &kind, &&*key.id, &after_seq, &limit];
        let records = records_of(slot, self.read_slot(slot, RECORDS, &parameters).await?)?;
        follow(key, (after_seq == 0).then_some(0), &records)?;
        Ok(records)
    }

    pub async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        let (of_slot, kind) = (i32::from(slot), i16::from(key.kind));
        let rows = self.read_slot(slot, RECEIPT, &[&of_slot, &kind, &&*key.id, &&request[..]]).await?;
        rows.first().map(|row| named(slot, row.get(0), row.get(1))).transpose()
    }

    pub async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let rows = self.read_slot(slot, FEED, &[&i32::from(slot), &signed(after_seq), &rows_max(limit)]).await?;
        records_of(slot, rows)
    }

    pub async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        let (due_ms, kind, id) = behind(after.as_ref());
        let parameters: [&(dyn ToSql + Sync); 5] = [&i32::from(slot), &due_ms, &kind, &id, &rows_max(limit)];
        let mut owed = Vec::new();
        for row in self.read_slot(slot, OWED, &parameters).await? {
            let (due_ms, key, seq): (i64, _, i64) = (row.get(0), key(&row, 1), row.get(3));
            let found = named(slot, seq, row.get(4))?.owed.and_then(|change| change.after);
            match found.filter(|found| found.due_ms == due_ms) {
                Some(found) => owed.push((key, found)),
                None => return Err(StoreError::Damaged(format!("slot {slot}, record {seq}: it owes nothing then"))),
            }
        }
        Ok(owed)
    }

    pub async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        let (due_ms, kind, id) = behind(after.as_ref());
        let parameters: [&(dyn ToSql + Sync); 5] = [&i32::from(slot), &due_ms, &kind, &id, &rows_max(limit)];
        let rows = self.read_slot(slot, WAKES, &parameters).await?;
        Ok(rows.iter().map(|row| WakeRow { due_ms: row.get(0), key: key(row, 1) }).collect())
    }

    pub async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        let parameters: [&(dyn ToSql + Sync); 3] = [&i16::from(kind), &after.unwrap_or_default(), &rows_max(limit)];
        let rows = self.reads.read(ENTITIES, &parameters).await?;
        Ok(rows.iter().map(|row| row.get::<_, &str>(0).into()).collect())
    }

    /// Of so many slots; `None`: that one is not here.
    pub async fn heads(&self, slots: Slot) -> Result<Vec<Option<SlotHead>>, StoreError> {
        let mut heads = vec![None; usize::from(slots)];
        for row in self.reads.read(HEADS, &[]).await? {
            let place = usize::try_from(row.get::<_, i32>(4)).ok().and_then(|slot| heads.get_mut(slot));
            *place.ok_or_else(|| StoreError::Damaged("there is a row for a slot that is none".to_owned()))? =
                Some(head(&row));
        }
        Ok(heads)
    }

    /// For who renews a lease: it is not to wait for those who read. `None`: the slot is not here.
    pub async fn head(&self, slot: Slot) -> Result<Option<SlotHead>, StoreError> {
        let rows = self.members.read(HEAD, &[&i32::from(slot)]).await?;
        Ok(rows.first().map(head))
    }

    /// Clients' receipts; those of owed requests go with the append whose watermark covers them.
    pub async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        Ok(self.reads.read(PRUNE_RECEIPTS, &[&now_ms, &rows_max(limit)]).await?.len())
    }

    pub async fn drop_snapshots(&self) -> Result<(), StoreError> {
        self.reads.read(DROP_SNAPSHOTS, &[]).await.map(drop)
    }
}
