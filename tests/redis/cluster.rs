//! A Redis Cluster of three: a slot's keys lie on one machine, the slots on all of them.

use std::process::{Command, Stdio};

use souk::persistence::conformance::{self, SLOTS, Scribe, verify};
use souk::persistence::{Batch, NodeState};

use super::proxy::{Cut, Proxy};
use super::server::{CAREFUL, Server};
use super::{changed, open, open_with};

async fn is_whole(server: &Server) -> bool {
    match server.say(&["CLUSTER", "INFO"]).await {
        redis::Value::BulkString(info) => String::from_utf8_lossy(&info).contains("cluster_state:ok"),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_three_keeps_a_journal() {
    let settings = [CAREFUL, &["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]].concat();
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
