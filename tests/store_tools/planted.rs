//! What is wrong in the tables of PostgreSQL, and under the keys of Redis, of a shop that is otherwise right: planted
//! there with the database's own means, and found by `souk store check`, which names it.

use redis::aio::MultiplexedConnection;

use crate::stores::{Kind, TestStore, postgres};
use crate::{shop, store};

/// The check fails, and one of the problems that it names is this one.
#[track_caller]
fn is_found(address: &str, named: &str, planted: &str) {
    let said = store(&["check", address, "--json"]);
    assert_eq!(said.code, Some(1), "{planted}: {said:?}");
    let problems = said.json()["problems"].to_string();
    assert!(problems.contains(named), "{planted}\n{problems}");
}

/// Statements, and what the check says of what they do.
const ROWS: [(&str, &str); 13] = [
    ("delete from souk_records where (slot, seq) = (select min(slot), 3 from souk_records where seq = 5)", "feed"),
    (
        "update souk_records set frame = set_byte(frame, length(frame) - 9, get_byte(frame, length(frame) - 9) # 16)
         where (slot, seq) = (select min(slot), 3 from souk_records where seq = 5)",
        "checksum",
    ),
    (
        "update souk_records a set frame = b.frame from souk_records b
         where a.slot = b.slot and a.seq = 2 and b.seq = 3 and a.slot = (select min(slot) from souk_records)",
        "feed",
    ),
    ("update souk_slots set seq = seq + 1 where slot = (select min(slot) from souk_records)", "the head says"),
    ("update souk_slots set at_ms = at_ms + 1 where slot = (select min(slot) from souk_records)", "head"),
    ("update souk_slots set epoch = 1", ", and the slot is at 1"),
    ("delete from souk_receipts", "is not found"),
    ("delete from souk_wakes", "the wake index has no such row"),
    ("update souk_wakes set due_ms = due_ms + 1", "the wake index has it at"),
    ("insert into souk_owed select slot, 1, kind, id, seq from souk_records where seq = 1", "it owes nothing then"),
    (
        "delete from souk_entities where kind = 10 and id = (select min(id) from souk_entities where kind = 10)",
        "list of cart",
    ),
    ("insert into souk_entities values (200, 'ghost', 0)", "names ghost, which has no record"),
    ("update souk_snapshots set frame = set_byte(frame, 40, get_byte(frame, 40) # 16)", "snapshot"),
];

#[tokio::test]
async fn what_is_wrong_in_tables_is_found_and_named() {
    let home = tempfile::tempdir().expect("a folder");
    let right = TestStore::of(Kind::Postgres, home.path());
    shop::open(home.path(), &right.address).await;
    store(&["check", &right.address]).well();
    let server = postgres::shared();
    let (_, original) = right.address.rsplit_once('/').expect("a database");
    let admin = server.client("postgres").await;
    for (number, (statement, named)) in ROWS.into_iter().enumerate() {
        let copy = format!("{original}_{number}");
        admin.batch_execute(&format!("create database {copy} template {original}")).await.expect("a copy");
        let changed = server.client(&copy).await.execute(statement, &[]).await.expect("it is planted");
        assert!(changed > 0, "{statement}");
        is_found(&server.url(&copy), named, statement);
    }
    store(&["check", &right.address]).well();
}

/// The end of a slot's key, what is done with it, and what the check says of that.
const KEYS: [(&str, &[&str], &str); 9] = [
    (":l", &["XDEL", "KEY", "3-0"], "feed"),
    ("", &["HINCRBY", "KEY", "s", "1"], "the head says"),
    ("", &["HINCRBY", "KEY", "t", "1"], "head"),
    ("", &["HSET", "KEY", "e", "0"], ", and the slot is at 0"),
    (":r", &["DEL", "KEY"], "is not found"),
    (":w", &["DEL", "KEY"], "the wake index has no such row"),
    (":w", &["ZADD", "KEY", "0", "\u{1}2345678\nx"], "the wake index has it at"),
    (":i", &["DEL", "KEY"], "list of"),
    (":i", &["ZADD", "KEY", "0", "Ightly"], "ghtly"),
];

/// The first slot's key that ends so, and is there.
async fn existing(connection: &mut MultiplexedConnection, prefix: &str, end: &str) -> String {
    for slot in 0..shop::SLOTS.parse().expect("a number") {
        let slot: u16 = slot;
        let key = format!("{prefix}:{{s:{slot}}}{end}");
        if redis::cmd("EXISTS").arg(&key).query_async(connection).await.expect("an answer") {
            return key;
        }
    }
    panic!("no slot has {end}")
}

#[tokio::test]
async fn what_is_wrong_under_keys_is_found_and_named() {
    let home = tempfile::tempdir().expect("a folder");
    let right = TestStore::of(Kind::Redis, home.path());
    shop::open(home.path(), &right.address).await;
    store(&["check", &right.address]).well();
    let (server, prefix) = right.address.split_once("?prefix=").expect("a prefix");
    let client = redis::Client::open(server).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    for (end, words, named) in KEYS {
        let key = existing(&mut connection, prefix, end).await;
        let kept: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.expect("it is there");
        let words: Vec<&str> = words.iter().map(|word| if *word == "KEY" { key.as_str() } else { *word }).collect();
        let mut planting = redis::cmd(words[0]);
        planting.arg(&words[1..]);
        let _: redis::Value = planting.query_async(&mut connection).await.expect("it is planted");
        is_found(&right.address, named, &words.join(" "));
        let mut restoring = redis::cmd("RESTORE");
        restoring.arg(&key).arg(0).arg(kept).arg("REPLACE");
        let () = restoring.query_async(&mut connection).await.expect("as it was");
    }
    store(&["check", &right.address]).well();
}
