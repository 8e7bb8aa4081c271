-- A store on several servers. Which of them this one is; on the first of them, which others there are and where each slot
-- lies. All of it is empty for a store on one server.
create table souk_server (
    one boolean primary key check (one),
    store text collate "C" not null,
    number int4 not null
);
create table souk_servers (
    number int4 primary key,
    address text not null
);
create table souk_places (
    slot int4 primary key,
    server int4 not null,
    moving_to int4
);
