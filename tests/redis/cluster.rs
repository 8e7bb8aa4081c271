//! A Redis Cluster of three: a slot's keys lie on one machine, the slots on all of them.

use std::process::{Command, Stdio};

use souk::persistence::conformance::{self, SLOTS, Scribe, verify};
use souk::persistence::{Batch, NodeState, Record, Refusal, StoreError};

use super::proxy::{Cut, Proxy};
use super::server::{CAREFUL, Server};
use super::{changed, open, open_with};

async fn is_whole(server: &Server) -> bool {
    match server.say(&["CLUSTER", "INFO"]).await {
        redis::Value::BulkString(info) => String::from_utf8_lossy(&info).contains("cluster_state:ok"),
        _ => false,
    }
}

async fn cluster_of_three(more: &[&str]) -> (Vec<Server>, Vec<String>) {
    let settings = [CAREFUL, &["--cluster-enabled", "yes"], more].concat();
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&settings)).collect();
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .stdin(Stdio::null())
        .output()
        .expect("redis-cli");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for server in &servers {
        while !is_whole(server).await {
            tokio::task::yield_now().await;
        }
    }
    (servers, addresses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_keeps_a_journal() {
    let (servers, addresses) = cluster_of_three(&["--cluster-node-timeout", "5000"]).await;
    let url = format!("redis://{}/?prefix=shop&nodes={}", addresses[0], addresses[1]);
    let options = changed(&url, |settings| settings.answer_ms = 10_000);
    let store = open_with(options.clone()).await;
    let mut contenders = Vec::new();
    for n in 0..3 {
        let store = open_with(options.clone()).await;
        contenders.push(tokio::spawn(async move {
            let mut acks = Vec::new();
            conformance::contend(store, &format!("contender-{n}"), 15, |ack| acks.push(ack)).await;
            acks
        }));
    }
    let mut acks = Vec::new();
    for contender in contenders {
        acks.extend(contender.await.expect("a contender"));
    }
    assert!(verify(&*store, &acks).await > 50);
    assert_eq!(store.leave("contender-0").await.expect("leave"), Ok(()));
    let nodes = store.nodes().await.expect("nodes");
    assert_eq!(nodes.iter().filter(|node| node.state == NodeState::Left).count(), 1);
    let left = store.claim("contender-0", &[(0, 0)]).await.expect("claim");
    assert!(left[0].is_err());
    // Slots of different machines in one batch, and an entity of every slot in the list.
    let mut scribe = Scribe::claim(store).await;
    let batch = Batch { owner: conformance::SCRIBE.into(), ..Batch::default() };
    assert_eq!(scribe.journal.append(batch).await.expect("nothing"), vec![]);
    for slot in 0..SLOTS {
        let record = scribe.record(slot, &format!("entity-{slot}"));
        scribe.commit(&[record]).await;
    }
    let together: Vec<_> = (0..SLOTS).map(|slot| scribe.record(slot, &format!("entity-{slot}"))).collect();
    scribe.commit(&together).await;
    let ids = scribe.journal.entities(10, Some("entity"), 100).await.expect("entities");
    assert_eq!(ids.iter().filter(|id| id.starts_with("entity-")).count(), usize::from(SLOTS));
    let mut used = 0;
    for server in &servers {
        used += usize::from(server.say(&["DBSIZE"]).await != redis::Value::Int(0));
    }
    assert!(used > 1, "all on one machine");
}

/// The client of a Cluster sends what was not answered again by itself. The second time it does not fit any more,
/// because it was written the first time: that is no refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_sends_twice_is_written_once_and_not_refused() {
    let server = Server::start(&[CAREFUL, &["--cluster-enabled", "yes"]].concat());
    let proxy = Proxy::before(server.port).await;
    server.say(&["CONFIG", "SET", "cluster-announce-port", &proxy.address.port().to_string()]).await;
    server.say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    while !is_whole(&server).await {
        tokio::task::yield_now().await;
    }
    let url = format!("redis://{}/?prefix=shop", proxy.address);
    let mut scribe = Scribe::claim(open(&url).await).await;
    let mut written = Vec::new();
    for round in 0..6 {
        let record = scribe.record(1, "a");
        if round % 2 == 1 {
            proxy.cut(Cut::Answer);
        }
        let batch = Batch::of(conformance::SCRIBE, [record.clone()]);
        let refused = scribe.journal.append(batch).await.expect("append");
        assert_eq!(refused, vec![], "round {round}");
        assert!(proxy.has_cut());
        written.push(record);
        assert_eq!(scribe.feed(1).await, written);
    }
}

/// The machine that keeps a key, of three that a Redis Cluster was made of.
async fn machine_of(servers: &[Server], key: &str) -> usize {
    match servers[0].say(&["CLUSTER", "KEYSLOT", key]).await {
        redis::Value::Int(slot) => usize::from(slot > 5_460) + usize::from(slot > 10_922),
        other => panic!("{other:?}"),
    }
}

/// One machine of several does not answer. Its slots wait for it; the others are claimed, written and read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_does_not_answer_keeps_nobody_elses_slots() {
    let (servers, addresses) =
        cluster_of_three(&["--cluster-node-timeout", "60000", "--cluster-require-full-coverage", "no"]).await;
    let (prefix, silent, places) = 'found: {
        for n in 0..100 {
            let prefix = format!("shop{n}");
            let list = machine_of(&servers, &format!("{prefix}:{{nodes}}")).await;
            let mut places = Vec::new();
            for group in 0..SLOTS {
                places.push(machine_of(&servers, &format!("{prefix}:{{g:{group}}}")).await);
            }
            if let Some(silent) = places.iter().copied().find(|place| *place != list && *place != 0)
                && places.iter().filter(|place| **place != silent).count() >= 2
            {
                break 'found (prefix, silent, places);
            }
        }
        panic!("no name of a store lies as it is wanted");
    };
    let url = format!("redis://{}/?prefix={prefix}", addresses[0]);
    let mut scribe = Scribe::claim(open_with(changed(&url, |settings| settings.answer_ms = 1_000)).await).await;
    let before: Vec<_> = (0..SLOTS).map(|slot| scribe.record(slot, &format!("entity-{slot}"))).collect();
    scribe.commit(&before).await;
    servers[silent].signal("STOP");
    let all: Vec<_> = (0..SLOTS).map(|slot| (slot, 1)).collect();
    let claimed = scribe.journal.claim(conformance::SCRIBE, &all).await.expect("of the others");
    let (mut next, mut late) = (Vec::new(), Vec::new());
    for (slot, claimed) in (0..SLOTS).zip(claimed) {
        let record = scribe.record(slot, &format!("entity-{slot}"));
        match claimed {
            Ok(head) => {
                assert_eq!((head.epoch, head.seq), (2, 1));
                assert_eq!(scribe.journal.head(slot).await.expect("its head"), head);
                next.push(Record { epoch: 2, ..record });
            }
            Err(why) => {
                let is_away = matches!(why, Refusal::Unavailable(_) | Refusal::Unknown(_));
                assert!(places[usize::from(slot)] == silent && is_away, "{slot}: {why}");
                late.push(record);
            }
        }
    }
    assert!(next.len() >= 2 && !late.is_empty());
    scribe.commit(&next).await;
    for record in &next {
        assert_eq!(scribe.feed(record.slot).await, [before[usize::from(record.slot)].clone(), record.clone()]);
    }
    servers[silent].signal("CONT");
    for record in late {
        let slot = record.slot;
        let head = loop {
            // The claim that was not answered may have been made.
            let Ok(head) = scribe.journal.head(slot).await else { continue };
            match scribe.journal.claim(conformance::SCRIBE, &[(slot, head.epoch)]).await {
                Ok(mut claimed) if claimed[0].is_ok() => break claimed.remove(0).expect("looked at"),
                _ => {}
            }
        };
        scribe.commit(&[Record { epoch: head.epoch, ..record }]).await;
    }
}

/// Keys move from machine to machine, one by one. An entity is never half there, and nothing is half written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_between_machines_are_whole_or_not_to_be_had() {
    let settings = [CAREFUL, &["--cluster-enabled", "yes"]].concat();
    let (from, to) = (Server::start(&settings), Server::start(&settings));
    from.say(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    from.say(&["CLUSTER", "MEET", "127.0.0.1", &to.port.to_string()]).await;
    while !(is_whole(&from).await && is_whole(&to).await) {
        tokio::task::yield_now().await;
    }
    let url = format!("redis://127.0.0.1:{}/?prefix=shop", from.port);
    let mut scribe = Scribe::claim(open(&url).await).await;
    let mut written = vec![scribe.record(1, "a"), scribe.record(1, "a")];
    scribe.commit(&written).await;
    let ids = [text(from.say(&["CLUSTER", "MYID"]).await), text(to.say(&["CLUSTER", "MYID"]).await)];
    while !text(from.say(&["CLUSTER", "NODES"]).await).contains(&ids[1]) {
        tokio::task::yield_now().await;
    }
    let group = "shop:{g:1}";
    let redis::Value::Int(hash_slot) = from.say(&["CLUSTER", "KEYSLOT", group]).await else { panic!("no number") };
    let hash_slot = hash_slot.to_string();
    to.say(&["CLUSTER", "SETSLOT", &hash_slot, "IMPORTING", &ids[0]]).await;
    from.say(&["CLUSTER", "SETSLOT", &hash_slot, "MIGRATING", &ids[1]]).await;
    // A new entity has keys that are nowhere yet; one whose keys are all at home goes on.
    let fresh = scribe.record(1, "b");
    is_not_written(&scribe, &fresh).await;
    let more = Record { seq: fresh.seq, ..scribe.record(1, "a") };
    scribe.commit(std::slice::from_ref(&more)).await;
    written.push(more);
    // The group goes first, and with it the records; the entity's list stays for a while.
    let port = to.port.to_string();
    from.say(&["MIGRATE", "127.0.0.1", &port, group, "0", "5000"]).await;
    let next = scribe.record(1, "a");
    assert_eq!(next.seq, 5);
    let next = Record { seq: 4, ..next };
    is_not_written(&scribe, &next).await;
    let loaded = scribe.journal.load(1, &conformance::key("a")).await;
    assert!(matches!(loaded, Err(StoreError::Unavailable(_))), "{loaded:?}");
    let redis::Value::Array(keys) = from.say(&["CLUSTER", "GETKEYSINSLOT", &hash_slot, "100"]).await else {
        panic!("no keys")
    };
    for key in keys {
        from.say(&["MIGRATE", "127.0.0.1", &port, &text(key), "0", "5000"]).await;
    }
    for server in [&to, &from] {
        server.say(&["CLUSTER", "SETSLOT", &hash_slot, "NODE", &ids[1]]).await;
    }
    let refused = loop {
        match scribe.journal.append(Batch::of(conformance::SCRIBE, [next.clone()])).await {
            Err(StoreError::Unavailable(_)) => {}
            other => break other.expect("it is whole again"),
        }
    };
    assert_eq!(refused, []);
    written.push(next);
    assert_eq!(scribe.records(1, "a").await, written);
    assert_eq!(scribe.feed(1).await, written);
    let fresh = Record { seq: 5, ..fresh };
    scribe.commit(&[fresh]).await;
}

fn text(value: redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8(bytes).expect("a name"),
        other => panic!("{other:?}"),
    }
}

/// It is refused for certain.
async fn is_not_written(scribe: &Scribe, record: &Record) {
    let outcome = scribe.journal.append(Batch::of(conformance::SCRIBE, [record.clone()])).await;
    match outcome {
        Err(StoreError::Unavailable(_)) => {}
        Ok(refused) => assert!(matches!(refused[..], [(1, Refusal::Unavailable(_))]), "{refused:?}"),
        Err(error) => panic!("{error}"),
    }
}
