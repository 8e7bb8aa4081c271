-- Who owns a slot, and its end. A row is rewritten with every commit: room for that in its own page.
create table souk_slots (
    slot int4 primary key,
    owner text collate "C",
    epoch int8 not null default 0,
    seq int8 not null default 0,
    at_ms int8 not null default 0
) with (fillfactor = 20);
-- The feed: gapless by the slot's own sequence.
create table souk_records (
    slot int4 not null,
    entity int4 not null,
    seq int8 not null,
    version int8 not null,
    kind int2 not null,
    id text collate "C" not null,
    frame bytea not null,
    primary key (slot, seq)
);
-- The records of an entity, in their order. Numbers in place of its name, and its version: an append looks for
-- the newest one, and writes an entry for every record.
create index souk_records_entity on souk_records (slot, entity, version, seq);
create table souk_entities (
    kind int2 not null,
    id text collate "C" not null,
    slot int4 not null,
    primary key (kind, id)
);
-- Receipts, owed and wake rows name the record that has the rest.
create table souk_receipts (
    slot int4 not null,
    kind int2 not null,
    id text collate "C" not null,
    request bytea not null,
    seq int8 not null,
    expires_ms int8,
    from_slot int4,
    number int8,
    primary key (slot, kind, id, request)
);
create index souk_receipts_expiry on souk_receipts (expires_ms) where expires_ms is not null;
create index souk_receipts_owed on souk_receipts (slot, kind, id, from_slot, number)
    where from_slot is not null;
create table souk_owed (
    slot int4 not null,
    due_ms int8 not null,
    kind int2 not null,
    id text collate "C" not null,
    seq int8 not null,
    primary key (slot, due_ms, kind, id)
);
create table souk_wakes (
    slot int4 not null,
    due_ms int8 not null,
    kind int2 not null,
    id text collate "C" not null,
    primary key (slot, due_ms, kind, id)
);
create table souk_snapshots (
    slot int4 not null,
    kind int2 not null,
    id text collate "C" not null,
    seq int8 not null,
    version int8 not null,
    frame bytea not null,
    primary key (slot, kind, id)
);
create table souk_nodes (
    id text collate "C" primary key,
    state int2 not null,
    lease int8 not null,
    data bytea not null
);
