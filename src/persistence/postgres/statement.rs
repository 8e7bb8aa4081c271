//! The statement of an append, put together from what the batch has: one round trip, one transaction, one
//! fsync. What a batch does not have is not in its statement, which costs the server as much to prepare for
//! when there is nothing of it. Pure.
//!
//! A statement begins by finding out which slots are as the batch says: owner, epoch, sequence, and the version
//! of every entity. Only those are `ready`, with their rows locked until the end of the transaction, and only
//! their parts are written. There are two ways to begin:
//!
//! - [`QUICK`], what nearly every batch needs: the change of the slot's row is the test, the lock, and the new end
//!   of the records. It waits for a row that somebody holds, though not for long, and does not say why a slot is
//!   not as it should be.
//! - [`CAREFUL`], for whatever the quick one could not do: it leaves out what is locked, and says of each slot
//!   what it is.
//!
//! Versions are compared as of the beginning of the statement, before the lock. That is enough: records and the
//! row of their slot change in one transaction, so as long as the row's sequence is what it was there, so is
//! every version.

use tokio_postgres::types::ToSql;

use super::plan::{Columns, Dues, Keys};

type Parameter<'a> = &'a (dyn ToSql + Sync);

pub struct Statement<'a> {
    pub text: String,
    pub parameters: Vec<Parameter<'a>>,
}

/// The entities of the batch that have another version in the store.
macro_rules! elsewhere {
    () => {
        "elsewhere as materialized (
            select distinct e.slot
            from unnest($1::int4[], $2::int4[], $3::int2[], $4::text[], $5::int8[]) as e(slot, entity, kind, id, version)
            where e.version <> coalesce((
                select r.version from souk_records r
                where r.slot = e.slot and r.entity = e.entity and r.version >= e.version
                    and r.kind = e.kind and r.id = e.id
                order by r.version desc, r.seq desc limit 1), 0)
        )"
    };
}

const QUICK: &str = concat!(
    "with ",
    elsewhere!(),
    ", ready as materialized (
        update souk_slots s set seq = w.last_seq, at_ms = w.last_at_ms
        from unnest($6::int4[], $7::int8[], $8::int8[], $9::int8[], $10::int8[])
            as w(slot, epoch, before_seq, last_seq, last_at_ms)
        where s.slot = w.slot and s.owner = $11::text and s.epoch = w.epoch and s.seq = w.before_seq
            and s.slot not in (select slot from elsewhere)
        returning s.slot, s.seq as last_seq
    )"
);
const QUICK_END: &str = "select slot from unnest($1::int4[]) as w(slot) where slot not in (select slot from ready)";

/// A slot that has changed between the beginning of the statement and the lock is judged another time.
const CAREFUL: &str = concat!(
    "with ",
    elsewhere!(),
    ", wanted as materialized (
        select * from unnest($6::int4[], $7::int8[], $8::int8[], $9::int8[], $10::int8[], $12::bool[], $13::bool[])
            as w(slot, epoch, before_seq, last_seq, last_at_ms, is_sound, has_records)
    ), held as materialized (
        select slot, owner, epoch, seq from souk_slots where slot = any($6) order by slot
        for no key update skip locked
    ), judged as materialized (
        select w.*, h.owner as held_owner, h.epoch as held_epoch, h.seq as held_seq,
            case
                when s.slot is null then 'absent'
                when h.slot is null then 'locked'
                when h.seq <> s.seq or h.epoch <> s.epoch then 'moved'
                when not w.is_sound or h.owner is distinct from $11::text then 'refused'
                when not w.has_records then 'ready'
                when h.epoch <> w.epoch or h.seq <> w.before_seq or x.slot is not null then 'refused'
                else 'ready'
            end as verdict
        from wanted w
            left join souk_slots s on s.slot = w.slot
            left join held h on h.slot = w.slot
            left join elsewhere x on x.slot = w.slot
    ), ready as materialized (
        select slot, has_records, last_at_ms, case when has_records then last_seq else held_seq end as last_seq
        from judged where verdict = 'ready'
    ), ended as (
        update souk_slots s set seq = r.last_seq, at_ms = r.last_at_ms from ready r
        where s.slot = r.slot and r.has_records
    )"
);
const CAREFUL_END: &str = "select slot, verdict, held_owner, held_epoch, held_seq from judged
    where verdict <> 'ready' and has_records";

const RECORDED: &str = "recorded as (
        insert into souk_records (slot, entity, kind, id, seq, version, frame)
        select n.* from unnest($1::int4[], $2::int4[], $3::int2[], $4::text[], $5::int8[], $6::int8[], $7::bytea[])
            as n(slot, entity, kind, id, seq, version, frame)
        where n.slot in (select slot from ready)
    )";
const ENTERED: &str = "entered as (
        insert into souk_entities (slot, kind, id)
        select n.* from unnest($1::int4[], $2::int2[], $3::text[]) as n(slot, kind, id)
        where n.slot in (select slot from ready)
        on conflict do nothing
    )";
const RECEIPTED: &str = "receipted as (
        insert into souk_receipts (slot, kind, id, request, seq, expires_ms, from_slot, number)
        select n.* from unnest($1::int4[], $2::int2[], $3::text[], $4::bytea[], $5::int8[], $6::int8[],
            $7::int4[], $8::int8[]) as n(slot, kind, id, request, seq, expires_ms, from_slot, number)
        where n.slot in (select slot from ready)
        on conflict (slot, kind, id, request) do update set seq = excluded.seq, expires_ms = excluded.expires_ms,
            from_slot = excluded.from_slot, number = excluded.number
    )";
/// What a sender has done with; not what this very statement writes.
const FORGOTTEN: &str = "forgotten as (
        delete from souk_receipts o using unnest($1::int4[], $2::int2[], $3::text[], $4::int4[], $5::int8[])
            as n(slot, kind, id, from_slot, watermark)
        where o.slot = n.slot and o.kind = n.kind and o.id = n.id and o.from_slot = n.from_slot
            and o.number < n.watermark and o.request <> all($6::bytea[]) and n.slot in (select slot from ready)
    )";
const OWED_GONE: &str = "owed_gone as (
        delete from souk_owed o using unnest($1::int4[], $2::int2[], $3::text[], $4::int8[])
            as n(slot, kind, id, due_ms)
        where o.slot = n.slot and o.due_ms = n.due_ms and o.kind = n.kind and o.id = n.id
            and n.slot in (select slot from ready)
    )";
const OWING: &str = "owing as (
        insert into souk_owed (slot, kind, id, due_ms, seq)
        select n.* from unnest($1::int4[], $2::int2[], $3::text[], $4::int8[], $5::int8[])
            as n(slot, kind, id, due_ms, seq)
        where n.slot in (select slot from ready)
        on conflict (slot, due_ms, kind, id) do update set seq = excluded.seq
    )";
const WAKES_GONE: &str = "wakes_gone as (
        delete from souk_wakes o using unnest($1::int4[], $2::int2[], $3::text[], $4::int8[])
            as n(slot, kind, id, due_ms)
        where o.slot = n.slot and o.due_ms = n.due_ms and o.kind = n.kind and o.id = n.id
            and n.slot in (select slot from ready)
    )";
const WAKING: &str = "waking as (
        insert into souk_wakes (slot, kind, id, due_ms)
        select n.* from unnest($1::int4[], $2::int2[], $3::text[], $4::int8[]) as n(slot, kind, id, due_ms)
        where n.slot in (select slot from ready)
        on conflict do nothing
    )";
const PICTURED: &str = "pictured as (
        insert into souk_snapshots (slot, kind, id, seq, version, frame)
        select n.* from unnest($1::int4[], $2::int2[], $3::text[], $4::int8[], $5::int8[], $6::bytea[])
            as n(slot, kind, id, seq, version, frame)
            join ready r on r.slot = n.slot and n.seq <= r.last_seq
        on conflict (slot, kind, id) do update
            set seq = excluded.seq, version = excluded.version, frame = excluded.frame
            where souk_snapshots.seq <= excluded.seq
    )";

impl<'a> Statement<'a> {
    /// For slots that all have records which follow from each other. The rows of the answer are the slots of
    /// which nothing was written.
    pub fn quick(columns: &'a Columns<'a>, owner: &'a &str) -> Statement<'a> {
        let mut statement = Statement { text: String::new(), parameters: Vec::new() };
        statement.part(QUICK, head(columns, owner));
        statement.body(columns);
        statement.text.push('\n');
        statement.part(QUICK_END, vec![&columns.slots.slots]);
        statement
    }

    /// For all slots. The rows of the answer are those that were not written, and what each of them is.
    pub fn careful(columns: &'a Columns<'a>, owner: &'a &str) -> Statement<'a> {
        let mut statement = Statement { text: String::new(), parameters: Vec::new() };
        let mut parameters = head(columns, owner);
        parameters.extend([&columns.slots.are_sound as Parameter<'a>, &columns.slots.have_records]);
        statement.part(CAREFUL, parameters);
        statement.body(columns);
        statement.text.push('\n');
        statement.part(CAREFUL_END, Vec::new());
        statement
    }

    fn body(&mut self, columns: &'a Columns<'a>) {
        let Columns { records, entered, receipts, owed_gone, owed, wakes_gone, wakes, snapshots, .. } = columns;
        let mut parameters: Vec<Parameter<'a>> = vec![&records.slots, &columns.record_entities];
        parameters.extend([&records.kinds as Parameter<'a>, &records.ids, &columns.record_seqs]);
        parameters.extend([&columns.record_versions as Parameter<'a>, &columns.record_frames]);
        self.optional(RECORDED, records, parameters);
        self.optional(ENTERED, entered, of_keys(entered));
        let mut parameters = of_keys(&receipts.keys);
        parameters.extend([&receipts.requests as Parameter<'a>, &receipts.seqs, &receipts.expires_ms]);
        parameters.extend([&receipts.from_slots as Parameter<'a>, &receipts.numbers]);
        self.optional(RECEIPTED, &receipts.keys, parameters);
        if receipts.from_slots.iter().any(Option::is_some) {
            let mut parameters = of_keys(&receipts.keys);
            parameters.extend([&receipts.from_slots as Parameter<'a>, &receipts.watermarks, &receipts.requests]);
            self.optional(FORGOTTEN, &receipts.keys, parameters);
        }
        self.optional(OWED_GONE, &owed_gone.keys, of_dues(owed_gone));
        let mut parameters = of_dues(owed);
        parameters.push(&columns.owed_seqs);
        self.optional(OWING, &owed.keys, parameters);
        self.optional(WAKES_GONE, &wakes_gone.keys, of_dues(wakes_gone));
        self.optional(WAKING, &wakes.keys, of_dues(wakes));
        let mut parameters = of_keys(snapshots);
        parameters.extend([&columns.snapshot_seqs as Parameter<'a>, &columns.snapshot_versions]);
        parameters.push(&columns.snapshot_frames);
        self.optional(PICTURED, snapshots, parameters);
    }

    fn optional(&mut self, text: &str, keys: &Keys<'_>, parameters: Vec<Parameter<'a>>) {
        if !keys.slots.is_empty() {
            self.text.push_str(", ");
            self.part(text, parameters);
        }
    }

    /// Each part counts its own parameters from 1.
    fn part(&mut self, text: &str, parameters: Vec<Parameter<'a>>) {
        let before = self.parameters.len();
        let mut pieces = text.split('$');
        self.text.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = piece.split_at(digits);
            let number = before + number.parse::<usize>().unwrap_or_default();
            self.text.push('$');
            self.text.push_str(&number.to_string());
            self.text.push_str(rest);
        }
        self.parameters.extend(parameters);
    }
}

fn head<'a>(columns: &'a Columns<'a>, owner: &'a &str) -> Vec<Parameter<'a>> {
    let Columns { slots, entities, .. } = columns;
    vec![
        &entities.slots,
        &columns.entity_numbers,
        &entities.kinds,
        &entities.ids,
        &columns.entity_versions,
        &slots.slots,
        &slots.epochs,
        &slots.before_seqs,
        &slots.last_seqs,
        &slots.last_at_ms,
        owner,
    ]
}

fn of_keys<'a>(keys: &'a Keys<'a>) -> Vec<Parameter<'a>> {
    vec![&keys.slots, &keys.kinds, &keys.ids]
}

fn of_dues<'a>(dues: &'a Dues<'a>) -> Vec<Parameter<'a>> {
    let mut parameters = of_keys(&dues.keys);
    parameters.push(&dues.due_ms);
    parameters
}
