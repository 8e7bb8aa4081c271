-- One group commit, over all its slots, in one statement: one round trip, one transaction, one fsync.
--
-- Each slot is judged alone: its row is locked (never waited for: whoever holds it is taking the slot, or is an
-- append of a connection that was lost), and only where owner, epoch, sequence and the version of every entity
-- are what the batch follows, its part is written. What is read here besides the locked rows is as of the
-- statement's beginning; so a slot that has changed between that and the lock is judged another time.
with wanted as materialized (
    select * from unnest($1::int4[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::bool[], $7::bool[])
        as w(slot, epoch, before_seq, last_seq, last_at_ms, is_sound, has_records)
), held as materialized (
    select slot, owner, epoch, seq from souk_slots where slot = any($1) order by slot
    for no key update skip locked
), entity as materialized (
    select * from unnest($9::int4[], $10::int2[], $11::text[], $12::int8[]) as e(slot, kind, id, version)
), elsewhere as materialized (
    select distinct e.slot from entity e where e.version <> coalesce((
        select r.version from souk_records r where r.slot = e.slot and r.kind = e.kind and r.id = e.id
        order by r.seq desc limit 1), 0)
), judged as materialized (
    select w.*, h.owner as held_owner, h.epoch as held_epoch, h.seq as held_seq,
        case
            when s.slot is null then 'absent'
            when h.slot is null then 'locked'
            when h.seq <> s.seq or h.epoch <> s.epoch then 'moved'
            when not w.is_sound or h.owner is distinct from $8::text then 'refused'
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
), recorded as (
    insert into souk_records (slot, kind, id, seq, version, frame)
    select n.* from unnest($13::int4[], $14::int2[], $15::text[], $16::int8[], $17::int8[], $18::bytea[])
        as n(slot, kind, id, seq, version, frame)
    where n.slot in (select slot from ready)
), entered as (
    insert into souk_entities (kind, id, slot)
    select e.kind, e.id, e.slot from entity e where e.version = 0 and e.slot in (select slot from ready)
    on conflict do nothing
), receipted as (
    insert into souk_receipts (slot, kind, id, request, seq, expires_ms, from_slot, number, watermark)
    select n.* from unnest($19::int4[], $20::int2[], $21::text[], $22::bytea[], $23::int8[], $24::int8[],
        $25::int4[], $26::int8[], $27::int8[])
        as n(slot, kind, id, request, seq, expires_ms, from_slot, number, watermark)
    where n.slot in (select slot from ready)
    on conflict (slot, kind, id, request) do update set seq = excluded.seq, expires_ms = excluded.expires_ms,
        from_slot = excluded.from_slot, number = excluded.number, watermark = excluded.watermark
), owed_gone as (
    delete from souk_owed o using unnest($28::int4[], $29::int2[], $30::text[], $31::int8[])
        as n(slot, kind, id, due_ms)
    where o.slot = n.slot and o.due_ms = n.due_ms and o.kind = n.kind and o.id = n.id
        and n.slot in (select slot from ready)
), owing as (
    insert into souk_owed (slot, kind, id, due_ms, seq)
    select n.* from unnest($32::int4[], $33::int2[], $34::text[], $35::int8[], $36::int8[])
        as n(slot, kind, id, due_ms, seq)
    where n.slot in (select slot from ready)
    on conflict (slot, due_ms, kind, id) do update set seq = excluded.seq
), wakes_gone as (
    delete from souk_wakes o using unnest($37::int4[], $38::int2[], $39::text[], $40::int8[])
        as n(slot, kind, id, due_ms)
    where o.slot = n.slot and o.due_ms = n.due_ms and o.kind = n.kind and o.id = n.id
        and n.slot in (select slot from ready)
), waking as (
    insert into souk_wakes (slot, kind, id, due_ms)
    select n.* from unnest($41::int4[], $42::int2[], $43::text[], $44::int8[]) as n(slot, kind, id, due_ms)
    where n.slot in (select slot from ready)
    on conflict do nothing
), pictured as (
    insert into souk_snapshots (slot, kind, id, seq, frame)
    select n.* from unnest($45::int4[], $46::int2[], $47::text[], $48::int8[], $49::bytea[])
        as n(slot, kind, id, seq, frame)
        join ready r on r.slot = n.slot and n.seq <= r.last_seq
    on conflict (slot, kind, id) do update set seq = excluded.seq, frame = excluded.frame
        where souk_snapshots.seq <= excluded.seq
)
select slot, verdict, held_owner, held_epoch, held_seq from judged where verdict <> 'ready' and has_records
