-- What operators want of nodes and slots: the rest of a row is souk's own bytes. A wish that names a node goes with it.
create table souk_wishes (
    subject text collate "C" primary key,
    node text collate "C" references souk_nodes (id) on delete cascade,
    data bytea not null
);
create index souk_wishes_node on souk_wishes (node) where node is not null;
