//! The rows of a slot that moves: read and written in pages, compared, and at last deleted.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::super::{Slot, StoreError};
use super::super::plan::signed;
use super::{COMES, HAS_GONE, Moving};

/// Rows of one page.
const PAGE: i64 = 512;
/// Bytes of one page, about: what a server has to take in one statement.
const PAGE_BYTES: i64 = 4 << 20;

/// What a slot has beside its records and snapshots: it is small, changes with every append, and comes after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Receipts,
    Owed,
    Wakes,
}

/// The sum over rows: how many, and of a piece of each row's SHA-256. Whatever their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    pub rows: i64,
    sum: String,
}

/// A page, as columns; a page is empty at the end.
#[derive(Debug, Default)]
pub struct Records {
    entities: Vec<i32>,
    pub seqs: Vec<i64>,
    versions: Vec<i64>,
    kinds: Vec<i16>,
    ids: Vec<String>,
    frames: Vec<Vec<u8>>,
}

macro_rules! sum {
    ($row:literal) => {
        concat!(
            "select count(*), coalesce(sum(('x' || substr(encode(sha256(convert_to(",
            $row,
            ", 'UTF8')), 'hex'), 1, 15))::bit(60)::int8), 0)::text "
        )
    };
}

const READ_RECORDS: &str = "select entity, seq, version, kind, id, frame from (
        select p.*, sum(octet_length(frame)) over (order by seq) - octet_length(frame) as before from (
            select * from souk_records where slot = $1 and seq > $2 and seq <= $3 order by seq limit $4) p) q
    where before < $5 order by seq";
const WRITE_RECORDS: &str = "with coming as materialized (
        select slot from souk_moves where slot = $1 and state = $2 for share
    ), new as materialized (
        select n.* from unnest($3::int4[], $4::int8[], $5::int8[], $6::int2[], $7::text[], $8::bytea[])
            as n(entity, seq, version, kind, id, frame)
    ), recorded as (
        insert into souk_records (slot, entity, seq, version, kind, id, frame)
        select c.slot, n.entity, n.seq, n.version, n.kind, n.id, n.frame from coming c cross join new n
        on conflict do nothing
    ), entered as (
        insert into souk_entities (kind, id, slot)
        select distinct n.kind, n.id, c.slot from coming c cross join new n on conflict do nothing
    )
    select slot from coming";
const LAST_RECORD: &str = "select coalesce(max(seq), 0) from souk_records where slot = $1";
const SUM_RECORDS: &str = concat!(
    sum!("concat_ws(' ', seq, entity, version, kind, id, encode(sha256(frame), 'hex'))"),
    "from souk_records where slot = $1 and seq > $2 and seq <= $3"
);

const READ_SNAPSHOTS: &str = "select kind, id, seq, version, frame from souk_snapshots
    where slot = $1 and (kind, id) > ($2, $3) and seq > $4 order by kind, id limit $5";
const WRITE_SNAPSHOTS: &str = "with coming as materialized (
        select slot from souk_moves where slot = $1 and state = $2 for share
    ), pictured as (
        insert into souk_snapshots (slot, kind, id, seq, version, frame)
        select c.slot, n.* from coming c
            cross join unnest($3::int2[], $4::text[], $5::int8[], $6::int8[], $7::bytea[]) as n(kind, id, seq, version, frame)
        on conflict (slot, kind, id) do update
            set seq = excluded.seq, version = excluded.version, frame = excluded.frame
            where souk_snapshots.seq <= excluded.seq
    )
    select slot from coming";
/// Snapshots are larger than index rows.
const SNAPSHOTS: i64 = 64;

const READ_RECEIPTS: &str = "select kind, id, request, seq, expires_ms, from_slot, number from souk_receipts
    where slot = $1 and (kind, id, request) > ($2, $3, $4) order by kind, id, request limit $5";
const WRITE_RECEIPTS: &str = "with coming as materialized (
        select slot from souk_moves where slot = $1 and state = $2 for share
    ), receipted as (
        insert into souk_receipts (slot, kind, id, request, seq, expires_ms, from_slot, number)
        select c.slot, n.* from coming c cross join unnest($3::int2[], $4::text[], $5::bytea[], $6::int8[], $7::int8[],
            $8::int4[], $9::int8[]) as n(kind, id, request, seq, expires_ms, from_slot, number)
        on conflict do nothing
    )
    select slot from coming";
/// Those that expire soon may be pruned on one of the servers meanwhile.
const SUM_RECEIPTS: &str = concat!(
    sum!(
        "concat_ws(' ', kind, id, encode(request, 'hex'), seq, coalesce(expires_ms, -1), coalesce(from_slot, -1),
        coalesce(number, -1))"
    ),
    "from souk_receipts where slot = $1 and (expires_ms is null or expires_ms > $2)"
);

const READ_OWED: &str = "select kind, id, due_ms, seq from souk_owed
    where slot = $1 and (due_ms, kind, id) > ($2, $3, $4) order by due_ms, kind, id limit $5";
const READ_WAKES: &str = "select kind, id, due_ms, 0::int8 from souk_wakes
    where slot = $1 and (due_ms, kind, id) > ($2, $3, $4) order by due_ms, kind, id limit $5";
const WRITE_OWED: &str = "with coming as materialized (
        select slot from souk_moves where slot = $1 and state = $2 for share
    ), owing as (
        insert into souk_owed (slot, kind, id, due_ms, seq) select c.slot, n.* from coming c
            cross join unnest($3::int2[], $4::text[], $5::int8[], $6::int8[]) as n(kind, id, due_ms, seq)
        on conflict do nothing
    )
    select slot from coming";
const WRITE_WAKES: &str = "with coming as materialized (
        select slot from souk_moves where slot = $1 and state = $2 for share
    ), waking as (
        insert into souk_wakes (slot, kind, id, due_ms) select c.slot, n.kind, n.id, n.due_ms from coming c
            cross join unnest($3::int2[], $4::text[], $5::int8[], $6::int8[]) as n(kind, id, due_ms, seq)
        on conflict do nothing
    )
    select slot from coming";
const SUM_OWED: &str = concat!(sum!("concat_ws(' ', due_ms, kind, id, seq)"), "from souk_owed where slot = $1");
const SUM_WAKES: &str = concat!(sum!("concat_ws(' ', due_ms, kind, id)"), "from souk_wakes where slot = $1");

macro_rules! delete {
    ($table:literal, $key:literal) => {
        concat!(
            "with gone as materialized (
                select slot from souk_moves where slot = $1 and state = $2 for share
            )
            delete from ",
            $table,
            " where (slot, ",
            $key,
            ") in (select t.slot, ",
            $key,
            " from ",
            $table,
            " t join gone g on g.slot = t.slot where t.slot = $1 limit $3) returning slot"
        )
    };
}

/// The entities go with their records: what is listed is listed on the server that the slot has gone to.
const DELETE_RECORDS: &str = "with gone as materialized (
        select slot from souk_moves where slot = $1 and state = $2 for share
    ), page as materialized (
        select r.seq, r.kind, r.id from souk_records r join gone g on g.slot = r.slot
        where r.slot = $1 order by r.seq limit $3
    ), entities as (
        delete from souk_entities e using (select distinct kind, id from page) p
        where e.kind = p.kind and e.id = p.id and e.slot = $1
    )
    delete from souk_records where slot = $1 and seq <= (select max(seq) from page) returning slot";
const DELETE: [&str; 5] = [
    DELETE_RECORDS,
    delete!("souk_receipts", "kind, id, request"),
    delete!("souk_owed", "due_ms, kind, id"),
    delete!("souk_wakes", "due_ms, kind, id"),
    delete!("souk_snapshots", "kind, id"),
];

pub(super) async fn delete_page(server: &Moving<'_>, slot: Slot) -> Result<bool, StoreError> {
    for sql in DELETE {
        if server.is_done(sql, &[&i32::from(slot), &HAS_GONE, &PAGE]).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn digest(rows: &[Row]) -> Digest {
    rows.first().map_or(Digest { rows: 0, sum: String::new() }, |row| Digest { rows: row.get(0), sum: row.get(1) })
}

fn column<T: for<'a> tokio_postgres::types::FromSql<'a>>(rows: &[Row], at: usize) -> Vec<T> {
    rows.iter().map(|row| row.get(at)).collect()
}

impl Moving<'_> {
    /// Records behind `after`, up to `until`.
    pub async fn records(&self, slot: Slot, after: u64, until: u64) -> Result<Records, StoreError> {
        let (after, until) = (signed(after), signed(until));
        let rows = self.run(READ_RECORDS, &[&i32::from(slot), &after, &until, &PAGE, &PAGE_BYTES]).await?;
        Ok(Records {
            entities: column(&rows, 0),
            seqs: column(&rows, 1),
            versions: column(&rows, 2),
            kinds: column(&rows, 3),
            ids: column(&rows, 4),
            frames: column(&rows, 5),
        })
    }

    /// Writes to a slot that comes. Those that are there already stay as they are.
    pub async fn write_records(&self, slot: Slot, records: &Records) -> Result<(), StoreError> {
        let Records { entities, seqs, versions, kinds, ids, frames } = records;
        let written: [&(dyn ToSql + Sync); 8] =
            [&i32::from(slot), &COMES, entities, seqs, versions, kinds, ids, frames];
        self.write(slot, WRITE_RECORDS, &written).await
    }

    async fn write(&self, slot: Slot, sql: &str, written: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        if self.is_done(sql, written).await? {
            return Ok(());
        }
        Err(StoreError::Fatal(format!("slot {slot} does not come to this server any more: does another mover run?")))
    }

    /// The last one that there is, whether or not the slot is here.
    pub async fn last_record(&self, slot: Slot) -> Result<u64, StoreError> {
        let rows = self.run(LAST_RECORD, &[&i32::from(slot)]).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).cast_unsigned()))
    }

    pub async fn sum_of_records(&self, slot: Slot, after: u64, until: u64) -> Result<Digest, StoreError> {
        let rows = self.run(SUM_RECORDS, &[&i32::from(slot), &signed(after), &signed(until)]).await?;
        Ok(digest(&rows))
    }

    /// Copies the snapshots taken behind `after` to a server that the slot comes to.
    pub async fn copy_snapshots(&self, to: &Moving<'_>, slot: Slot, after: u64) -> Result<(), StoreError> {
        let mut last: (i16, String) = (i16::MIN, String::new());
        loop {
            let page = [&i32::from(slot) as &(dyn ToSql + Sync), &last.0, &last.1, &signed(after), &SNAPSHOTS];
            let rows = self.run(READ_SNAPSHOTS, &page).await?;
            let Some(end) = rows.last() else { return Ok(()) };
            let (kinds, ids): (Vec<i16>, Vec<String>) = (column(&rows, 0), column(&rows, 1));
            let (seqs, versions): (Vec<i64>, Vec<i64>) = (column(&rows, 2), column(&rows, 3));
            let frames: Vec<Vec<u8>> = column(&rows, 4);
            let written: [&(dyn ToSql + Sync); 7] = [&i32::from(slot), &COMES, &kinds, &ids, &seqs, &versions, &frames];
            to.write(slot, WRITE_SNAPSHOTS, &written).await?;
            last = (end.get(0), end.get(1));
        }
    }

    /// Copies a table of a slot that has gone to the server that it comes to.
    pub async fn copy(&self, table: Table, to: &Moving<'_>, slot: Slot) -> Result<(), StoreError> {
        match table {
            Table::Receipts => self.copy_receipts(to, slot).await,
            Table::Owed => self.copy_dues(to, slot, READ_OWED, WRITE_OWED).await,
            Table::Wakes => self.copy_dues(to, slot, READ_WAKES, WRITE_WAKES).await,
        }
    }

    async fn copy_receipts(&self, to: &Moving<'_>, slot: Slot) -> Result<(), StoreError> {
        let mut last: (i16, String, Vec<u8>) = (i16::MIN, String::new(), Vec::new());
        loop {
            let page: [&(dyn ToSql + Sync); 5] = [&i32::from(slot), &last.0, &last.1, &last.2, &PAGE];
            let rows = self.run(READ_RECEIPTS, &page).await?;
            let Some(end) = rows.last() else { return Ok(()) };
            let (kinds, ids): (Vec<i16>, Vec<String>) = (column(&rows, 0), column(&rows, 1));
            let (requests, seqs): (Vec<Vec<u8>>, Vec<i64>) = (column(&rows, 2), column(&rows, 3));
            let (expire, numbers): (Vec<Option<i64>>, Vec<Option<i64>>) = (column(&rows, 4), column(&rows, 6));
            let from_slots: Vec<Option<i32>> = column(&rows, 5);
            let written: [&(dyn ToSql + Sync); 9] =
                [&i32::from(slot), &COMES, &kinds, &ids, &requests, &seqs, &expire, &from_slots, &numbers];
            to.write(slot, WRITE_RECEIPTS, &written).await?;
            last = (end.get(0), end.get(1), end.get(2));
        }
    }

    async fn copy_dues(&self, to: &Moving<'_>, slot: Slot, read: &str, write: &str) -> Result<(), StoreError> {
        let mut last: (i64, i16, String) = (i64::MIN, i16::MIN, String::new());
        loop {
            let page: [&(dyn ToSql + Sync); 5] = [&i32::from(slot), &last.0, &last.1, &last.2, &PAGE];
            let rows = self.run(read, &page).await?;
            let Some(end) = rows.last() else { return Ok(()) };
            let (kinds, ids): (Vec<i16>, Vec<String>) = (column(&rows, 0), column(&rows, 1));
            let (dues, seqs): (Vec<i64>, Vec<i64>) = (column(&rows, 2), column(&rows, 3));
            let written: [&(dyn ToSql + Sync); 6] = [&i32::from(slot), &COMES, &kinds, &ids, &dues, &seqs];
            to.write(slot, write, &written).await?;
            last = (end.get(2), end.get(0), end.get(1));
        }
    }

    /// `lasting_ms`: receipts that expire before are left out.
    pub async fn sum_of(&self, table: Table, slot: Slot, lasting_ms: i64) -> Result<Digest, StoreError> {
        let slot = i32::from(slot);
        let rows = match table {
            Table::Receipts => self.run(SUM_RECEIPTS, &[&slot, &lasting_ms]).await?,
            Table::Owed => self.run(SUM_OWED, &[&slot]).await?,
            Table::Wakes => self.run(SUM_WAKES, &[&slot]).await?,
        };
        Ok(digest(&rows))
    }
}
