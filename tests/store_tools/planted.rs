//! What is wrong in the tables of PostgreSQL, and under the keys of Redis, of a shop that is otherwise right: planted
//! there with the database's own means, and found by `souk store check`, which names it.

use redis::aio::MultiplexedConnection;

use super::{shop, store};
use crate::stores::{Kind, TestStore, postgres};

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

/// What is done to a slot, and what the check says of that.
const PLANTED: [(Plant, &str); 9] = [
    (Plant::Field("l", &["HDEL", "KEY", "FIELD"]), "feed"),
    (Plant::Field("l", &["HSET", "KEY", "FIELD", "nonsense"]), "damaged"),
    (Plant::Head(|epoch, seq| (epoch, seq + 1)), "record"),
    (Plant::Head(|_, seq| (0, seq)), ", and the slot is at 0"),
    (Plant::Field("r", &["HDEL", "KEY", "FIELD"]), "is not found"),
    (Plant::Beside("w", &["DEL", "KEY"]), "the wake index has no such row"),
    (Plant::Beside("w", &["ZADD", "KEY", "0", "\u{1}2345678\nx"]), "the wake index has it at"),
    (Plant::Beside("i", &["DEL", "KEY"]), "list of"),
    (Plant::Beside("i", &["ZADD", "KEY", "0", "Ightly"]), "ghtly"),
];

enum Plant {
    /// Of what the slot has in the hash of its group: its first field of a letter.
    Field(&'static str, &'static [&'static str]),
    /// Its head has another epoch and sequence.
    Head(fn(u64, u64) -> (u64, u64)),
    /// Of what it has beside that: the key with this end.
    Beside(&'static str, &'static [&'static str]),
}

/// A command, and the key that it changes.
type Planting = (Vec<u8>, redis::Cmd);

fn command(words: &[&str], key: &[u8], field: &[u8]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        match *word {
            "KEY" => command.arg(key),
            "FIELD" => command.arg(field),
            word => command.arg(word),
        };
    }
    command
}

impl Plant {
    /// Done to the first slot that has such a thing.
    async fn planting(&self, connection: &mut MultiplexedConnection, prefix: &str) -> Planting {
        for slot in 0..shop::SLOTS.parse::<u16>().expect("a number") {
            let group = format!("{prefix}:{{g:{}}}", slot % 16).into_bytes();
            match self {
                Plant::Beside(end, words) => {
                    let key = [&group[..], format!(":{slot}:{end}").as_bytes()].concat();
                    if redis::cmd("EXISTS").arg(&key).query_async(connection).await.expect("an answer") {
                        return (key.clone(), command(words, &key, b""));
                    }
                }
                Plant::Field(letter, words) => {
                    let begin = format!("{letter}{slot}:").into_bytes();
                    let fields: Vec<Vec<u8>> =
                        redis::cmd("HKEYS").arg(&group).query_async(connection).await.expect("fields");
                    if let Some(field) = fields.iter().filter(|field| field.starts_with(&begin)).min() {
                        return (group.clone(), command(words, &group, field));
                    }
                }
                Plant::Head(change) => {
                    let field = format!("h{slot}");
                    let mut get = redis::cmd("HGET");
                    let head: Option<String> =
                        get.arg(&group).arg(&field).query_async(connection).await.expect("a head");
                    let head = head.expect("every slot was claimed");
                    let mut parts = head.splitn(3, ':');
                    let mut number = || parts.next().expect("a number").parse::<u64>().expect("a number");
                    let (epoch, seq) = (number(), number());
                    if seq > 3 {
                        let (epoch, seq) = change(epoch, seq);
                        let owner = parts.next().expect("an owner");
                        let head = format!("{epoch}:{seq}:{owner}");
                        return (group.clone(), command(&["HSET", "KEY", "FIELD", &head], &group, field.as_bytes()));
                    }
                }
            }
        }
        panic!("no slot has it")
    }
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
    for (number, (plant, named)) in PLANTED.iter().enumerate() {
        let (key, planting) = plant.planting(&mut connection, prefix).await;
        let kept: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.expect("it is there");
        let _: redis::Value = planting.query_async(&mut connection).await.expect("it is planted");
        is_found(&right.address, named, &format!("the planting with number {number}"));
        let mut restoring = redis::cmd("RESTORE");
        restoring.arg(&key).arg(0).arg(kept).arg("REPLACE");
        let () = restoring.query_async(&mut connection).await.expect("as it was");
    }
    store(&["check", &right.address]).well();
}
