//! What one slot, or one entity, does to those beside it: nothing.

use std::collections::HashMap;

use souk::persistence::conformance::{SCRIBE, Scribe, key, owed_receipt};
use souk::persistence::{Batch, EntityKey, Record, Refusal, StoreError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::proxy::{Cut, Proxy};
use super::{impatient, name, open, open_with, postgres};

/// A slot's row is held by somebody, as by a claim that waits for a standby, or by a connection that was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_slot_holds_up_nobody_else() {
    let url = postgres::shared().database(&name()).await;
    let holder = postgres::client(&url).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let mut written: Vec<Vec<Record>> = vec![Vec::new(); 3];
    for round in 0..3 {
        holder.batch_execute("begin; select 1 from souk_slots where slot = 1 for update").await.expect("a lock");
        let records = [(0, "a"), (1, "b"), (2, "c")].map(|(slot, id)| scribe.record(slot, id));
        for (slot, record) in records.iter().enumerate() {
            written[slot].push(record.clone());
        }
        let release = async {
            for slot in [0, 2] {
                while scribe.feed(slot).await != written[usize::from(slot)] {}
            }
            assert_eq!(scribe.feed(1).await, written[1][..round], "which is locked");
            holder.batch_execute("commit").await.expect("the end of the lock");
        };
        tokio::join!(scribe.commit(&records), release);
    }
    assert_eq!(scribe.feed(1).await, written[1]);
}

/// For as long as it likes: the others are told, and the slot is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_stays_locked_is_refused_alone() {
    let url = postgres::shared().database(&name()).await;
    let holder = postgres::client(&url).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    holder.batch_execute("begin; select 1 from souk_slots where slot = 1 for update").await.expect("a lock");
    let records = [(0, "a"), (1, "b"), (2, "c")].map(|(slot, id)| scribe.record(slot, id));
    let refused = scribe.append(&records).await;
    assert!(
        matches!(&refused[..], [(1, Refusal::Rejected(why))] if why.contains("holds the row of slot 1")),
        "{refused:?}"
    );
    let more = scribe.record(0, "a");
    scribe.commit(std::slice::from_ref(&more)).await;
    holder.batch_execute("commit").await.expect("the end of the lock");
    scribe.commit(&records[1..2]).await;
    let [first, second, third] = records;
    for (slot, written) in [(0, vec![first, more]), (1, vec![second]), (2, vec![third])] {
        assert_eq!(scribe.feed(slot).await, written);
    }
}

/// What the server says of one slot's records: an error each time, or nothing for as long as a statement may take.
const MEETS: [(&str, &str); 5] = [
    ("raise exception 'as a page of another relation' using errcode = 'XX000'", "XX000"),
    ("raise exception 'no memory for it' using errcode = '53200'", "53200"),
    ("raise exception 'a trigger of an operator'", "P0001"),
    ("raise exception 'out of its range' using errcode = '22003'", "22003"),
    ("perform pg_sleep(60)", "57014"),
];

/// One slot's records make each statement fail that has them: the others of the batch are written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_the_server_fails_each_time_is_refused_alone() {
    let server = postgres::shared();
    let database = name();
    let url = server.database(&database).await;
    let mut scribe = Scribe::claim(open_with(&url, impatient()).await.expect("it opens")).await;
    let client = server.client(&database).await;
    for (meets, code) in MEETS {
        spoil(&client, meets).await;
        let records = [(0, "a"), (1, "b"), (2, "c"), (3, "d")].map(|(slot, id)| scribe.record(slot, id));
        let refused = scribe.append(&records).await;
        assert!(matches!(&refused[..], [(1, Refusal::Rejected(why))] if why.contains(code)), "{code}: {refused:?}");
        client.batch_execute("drop trigger meets on souk_records").await.expect("well again");
        scribe.commit(&records[1..2]).await;
        let ends = [0, 1, 2, 3].map(|slot| scribe.head(slot).seq);
        assert_eq!(ends, [ends[0]; 4], "{code}");
        for record in records {
            assert_eq!(scribe.feed(record.slot).await.pop(), Some(record));
        }
    }
}

/// What the server cannot read is damage, and is said to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_cannot_be_read_is_damage() {
    let server = postgres::shared();
    let database = name();
    let url = server.database(&database).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let client = server.client(&database).await;
    for code in ["58030", "58P01", "XX001", "XX002"] {
        spoil(&client, &format!("raise exception 'could not read block' using errcode = '{code}'")).await;
        let records = [(0, "a"), (1, "b")].map(|(slot, id)| scribe.record(slot, id));
        let outcome = scribe.journal.append(Batch::of(SCRIBE, records.clone())).await;
        assert!(matches!(&outcome, Err(StoreError::Damaged(why)) if why.contains(code)), "{outcome:?}");
        client.batch_execute("drop trigger meets on souk_records").await.expect("well again");
        scribe.commit(&records).await;
    }
}

async fn spoil(client: &tokio_postgres::Client, meets: &str) {
    let sql = format!(
        "create or replace function meet() returns trigger language plpgsql as
            $$ begin if new.slot = 1 then {meets}; end if; return new; end $$;
        create trigger meets before insert on souk_records for each row execute function meet()"
    );
    client.batch_execute(&sql).await.expect("a trigger");
}

/// Somebody has locked a whole table, as to make an index of it: no slot is to blame, and none is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_refuses_no_slot() {
    let url = postgres::shared().database(&name()).await;
    let holder = postgres::client(&url).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let records = [(0, "a"), (1, "b")].map(|(slot, id)| scribe.record(slot, id));
    for part in [&records[..1], &records[1..]] {
        holder.batch_execute("begin; lock table souk_records in share mode").await.expect("a lock");
        let outcome = scribe.journal.append(Batch::of(SCRIBE, part.to_vec())).await;
        assert!(matches!(&outcome, Err(StoreError::Unavailable(why)) if why.contains("55P03")), "{outcome:?}");
        holder.batch_execute("commit").await.expect("the end of the lock");
        scribe.commit(part).await;
    }
}

/// Of several slots that are claimed one is held by somebody, and waited for in vain: the others are taken, and the claim
/// is not called undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_has_taken_some_slots_is_never_called_undone() {
    let url = postgres::shared().database(&name()).await;
    let holder = postgres::client(&url).await;
    let store = open_with(&url, impatient()).await.expect("it opens");
    holder.batch_execute("begin; select 1 from souk_slots where slot = 1 for update").await.expect("a lock");
    for epoch in 0..4 {
        // Their order among themselves is by chance.
        let claimed = store.claim(SCRIBE, &[(1, 0), (0, epoch), (2, epoch), (3, epoch)]).await;
        assert!(matches!(claimed, Err(StoreError::Unknown(_))), "{claimed:?}");
        let epochs: Vec<u64> = store.heads().await.expect("heads").iter().map(|head| head.epoch).collect();
        assert_eq!(epochs, [epoch + 1, 0, epoch + 1, epoch + 1]);
    }
    let alone = store.claim(SCRIBE, &[(1, 0)]).await;
    assert!(matches!(alone, Err(StoreError::Unavailable(_))), "{alone:?}");
}

/// What a session is set to, so that the server ends it soon when its client is gone without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_not_outlive_its_client() {
    let database = name();
    let url = postgres::shared().database(&database).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let client = postgres::shared().client(&database).await;
    let look = "create table seen (setting text, value text);
        create function look() returns trigger language plpgsql as $$ begin
            insert into seen select name, setting from pg_settings where name like 'tcp_%'
                or name = 'client_connection_check_interval';
            return new;
        end $$;
        create trigger look before insert on souk_records for each row execute function look()";
    client.batch_execute(look).await.expect("a look");
    let record = scribe.record(0, "a");
    scribe.commit(&[record]).await;
    let rows = client.query("select setting, value from seen order by setting", &[]).await.expect("what was seen");
    let seen: Vec<(&str, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [
        ("client_connection_check_interval", "1000"),
        ("tcp_keepalives_count", "2"),
        ("tcp_keepalives_idle", "3"),
        ("tcp_keepalives_interval", "1"),
        ("tcp_user_timeout", "3000"),
    ];
    assert_eq!(seen, expected);
}

/// One slot is refused, another written, and the connection is lost at any moment after: what was written is never
/// called undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_beside_a_refusal_is_never_called_undone() {
    let server = postgres::shared();
    let proxy = Proxy::before(server.port).await;
    let mut unexplained = 0;
    for pass in 0.. {
        let direct = server.database(&name()).await;
        let url = direct.replace(&server.port.to_string(), &proxy.address.port().to_string());
        let mut scribe = Scribe::claim(open(&url).await).await;
        let good = scribe.record(1, "b");
        let wrong = Record { version: 9, ..scribe.record(0, "a") };
        let batch = Batch::of(SCRIBE, [wrong, good.clone()]);
        proxy.cut_after(pass, Cut::Answer);
        let outcome = scribe.journal.append(batch).await;
        let was_cut = proxy.has_cut();
        proxy.cut(Cut::Nothing);
        let is_written = open(&direct).await.feed(1, 0, 10).await.expect("a feed") == [good];
        match outcome {
            Ok(refused) => {
                assert!(is_written && matches!(refused[..], [(0, Refusal::Conflict(_))]), "{pass}: {refused:?}");
                unexplained += usize::from(was_cut);
            }
            Err(StoreError::Unavailable(why)) => assert!(!is_written, "{pass}: {why}"),
            Err(StoreError::Unknown(_)) => {}
            Err(error @ (StoreError::Damaged(_) | StoreError::Fatal(_))) => panic!("{pass}: {error}"),
        }
        if !was_cut {
            break;
        }
    }
    assert!(unexplained > 0, "the question why was never cut off");
}

/// Two entities whose numbers in the index are the same.
fn namesakes() -> [EntityKey; 2] {
    let mut seen: HashMap<u32, String> = HashMap::new();
    for n in 0.. {
        let id = format!("entity_{n}");
        let number = xxh3_64_with_seed(id.as_bytes(), u64::from(key("").kind)) as u32;
        if let Some(other) = seen.insert(number, id.clone()) {
            return [key(&other), key(&id)];
        }
    }
    unreachable!("there are more names than numbers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entities_of_the_same_number_have_nothing_else_in_common() {
    let url = postgres::shared().database(&name()).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    let [one, other] = namesakes();
    let mut written: Vec<Record> = Vec::new();
    for key in [&one, &one, &other, &one, &other] {
        let record = scribe.record_of(0, key.clone(), 1);
        scribe.commit(std::slice::from_ref(&record)).await;
        written.push(record);
    }
    let snapshot = scribe.snapshot_at(&written[1]);
    let last = scribe.record_of(0, one.clone(), 1);
    scribe.commit_with(std::slice::from_ref(&last), &[snapshot]).await;
    written.push(last);
    for key in [&one, &other] {
        let own: Vec<Record> = written.iter().filter(|record| record.key == *key).cloned().collect();
        assert_eq!(scribe.records(0, &key.id).await, own);
        let after = scribe.journal.records(0, key, 3, 10).await.expect("records");
        assert_eq!(after, own.iter().filter(|record| record.seq > 3).cloned().collect::<Vec<_>>());
        let history = scribe.journal.load(0, key).await.expect("a load");
        assert_eq!(history.snapshot.is_some(), *key == one);
        assert_eq!(history.records, own[usize::from(*key == one) * 2..]);
    }
    let next = scribe.record_of(0, other, 1);
    let refused = scribe.append(&[Record { version: 5, ..next.clone() }]).await; // what the first would be
    assert!(matches!(refused[..], [(0, Refusal::Conflict(_))]), "{refused:?}");
    scribe.commit(&[next]).await;
}

/// The receipts of owed requests leave with the append that says that their sender has done with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_below_a_watermark_take_no_room() {
    let (server, database) = (postgres::shared(), name());
    let url = server.database(&database).await;
    let mut scribe = Scribe::claim(open(&url).await).await;
    for number in 1..=50 {
        for sender in [3, 4] {
            let watermark = if sender == 3 { number - 1 } else { 0 };
            let receipt = Some(owed_receipt(sender, number, watermark));
            let record = Record { receipt, ..scribe.record(0, "a") };
            scribe.commit(&[record]).await;
        }
    }
    let client = server.client(&database).await;
    let count = "select from_slot, count(*) from souk_receipts group by from_slot order by from_slot";
    let rows = client.query(count, &[]).await.expect("counts");
    let counts: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(counts, [(3, 2), (4, 50)]);
}
