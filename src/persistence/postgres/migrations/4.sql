-- Slots that change servers. A slot is on the server that has its row in souk_slots, and nowhere in between; what is on its
-- way has a row here: on the server that it goes to (state 1, its rows come), and on the one that it has left (state 2: how it
-- stood then, until the rest of its rows are deleted).
create table souk_moves (
    slot int4 primary key,
    state int2 not null,
    server int4 not null,
    owner text collate "C",
    epoch int8 not null default 0,
    seq int8 not null default 0,
    at_ms int8 not null default 0
);
-- Counted on the first server whenever a slot lies elsewhere than before: nodes look for it, and read the map again.
alter table souk_server add column map int8 not null default 0;
