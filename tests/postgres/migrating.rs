//! Stores whose tables an older souk has made.

use souk::persistence::conformance::{SLOTS, Scribe, node};
use souk::persistence::{NodeRow, NodeState, Wish, WishRow};

use super::{name, open, postgres};

/// The tables of the first version.
const FIRST: &str = include_str!("../../src/persistence/postgres/migrations/1.sql");
const META: &str = "create table souk_meta (
    one boolean primary key check (one), version int4 not null, slots int4 not null)";
/// A node's row as it was written before it said its weight.
const NODE: &str = "0103010003000200070000000000000003006123310100610300683a3103006c3a320200030062233200008cb8f34c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_first_version_is_brought_to_this_one() {
    let shared = postgres::shared();
    let database = name();
    let url = shared.database(&database).await;
    let client = shared.client(&database).await;
    client.batch_execute(&format!("{META}; {FIRST}")).await.expect("the tables of before");
    let slots = i32::from(SLOTS);
    client.execute("insert into souk_meta values (true, 1, $1)", &[&slots]).await.expect("it is of version 1");
    let fill = format!(
        "insert into souk_slots (slot) select * from generate_series(0, {}); update souk_slots set owner = 'a#1', epoch = 9
            where slot = 2; insert into souk_nodes values ('a#1', 2, 41, decode('{NODE}', 'hex'))",
        slots - 1
    );
    client.batch_execute(&fill).await.expect("what was there");
    // Several nodes start with the new souk at once.
    let stores = futures::future::join_all((0..4).map(|_| open(&url))).await;
    let expected = NodeRow {
        name: "a".to_owned(),
        http: "h:1".to_owned(),
        link: "l:2".to_owned(),
        reads: (1, 3),
        writes: 2,
        lease: 41,
        state: NodeState::Serving,
        unreachable: vec!["b#2".to_owned(), String::new()],
        weight: 100,
        version: String::new(),
        ..node("a#1")
    };
    for store in &stores {
        let tables = store.tables().await.expect("tables");
        assert_eq!(tables.nodes, std::slice::from_ref(&expected));
        assert_eq!((tables.slots[2].owner.as_deref(), tables.slots[2].epoch), (Some("a#1"), 9));
        assert_eq!(tables.wishes, []);
    }
    let wish = Wish::Move { slot: 1, to: "a#1".to_owned() };
    let row = WishRow { wish, by: "ada".to_owned(), reason: String::new(), at_ms: 1 };
    assert_eq!(stores[0].wish(&row).await.expect("wish"), Ok(()));
    let renewed = NodeRow { weight: 50, ..expected };
    assert_eq!(stores[1].renew(&renewed).await.expect("renew"), Ok(42));
    let store = open(&url).await;
    assert_eq!(store.nodes().await.expect("nodes"), [NodeRow { lease: 42, ..renewed }]);
    assert_eq!(store.wishes().await.expect("wishes"), [row]);
    assert_eq!(store.join(&node("scribe")).await.expect("join"), Ok(()));
    let mut scribe = Scribe::claim(store).await;
    let record = scribe.record(2, "x");
    scribe.commit(&[record]).await;
    let version: i32 = client.query_one("select version from souk_meta", &[]).await.expect("a row").get(0);
    assert_eq!(version, 4);
}
