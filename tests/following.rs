//! The feed over the store that `SOUK_TEST_STORE` names: a consumer gets every record of a runtime once at least, in order
//! and without a gap, through restarts, passivation, and lives in which it was paused or fell behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use souk::actors::entity::Caller;
use souk::actors::feed::{Batch, Consumer, ConsumerError, Feed, Position};
use souk::actors::gateways::payments::MockPayments;
use souk::actors::kinds;
use souk::actors::login::types::{Command, Login};
use souk::actors::payment::types::GATEWAY;
use souk::actors::runtime::Runtime;
use souk::actors::runtime::client::{Asking, Client, Keyed, Wait};
use souk::actors::values::{LoginName, RequestId, UserId};
use souk::cluster::{NodeId, SoleOwner};
use souk::config::Config;
use souk::metrics::Metrics;
use souk::persistence::open::{Slots, open};
use souk::persistence::{Journal, Slot, Store};
use tokio::time::Instant;

use crate::stores::TestStore;

const SLOTS: Slot = 16;
const LOGINS: usize = 40;
const LONG: Duration = Duration::from_secs(60);

/// Keeps which records it has taken together with its positions.
#[derive(Default)]
struct Tally(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    taken: BTreeSet<(Slot, u64)>,
    positions: Option<Vec<Position>>,
    rebuilds: usize,
    faults: Vec<String>,
}

/// The same tally for every life of the node.
struct Follows(Arc<Tally>);

#[async_trait]
impl Consumer for Follows {
    fn name(&self) -> &'static str {
        "tally"
    }
    fn follows(&self, _kind: u8) -> bool {
        true
    }
    async fn load(&self) -> Result<Option<Vec<Position>>, ConsumerError> {
        Ok(self.0.0.lock().positions.clone())
    }
    async fn apply(&self, batch: &Batch) -> Result<(), ConsumerError> {
        let mut kept = self.0.0.lock();
        let mut positions = kept.positions.clone().expect("it has been built");
        for taken in &batch.slots {
            for (expected, record) in (positions[usize::from(taken.slot)].seq + 1..).zip(&taken.records) {
                if record.seq != expected {
                    kept.faults.push(format!("slot {}: {} came for {expected}", taken.slot, record.seq));
                }
                kept.taken.insert((record.slot, record.seq));
            }
        }
        batch.move_positions(&mut positions);
        kept.positions = Some(positions);
        Ok(())
    }
    async fn rebuild(&self, heads: Vec<Position>) -> Result<Vec<Position>, ConsumerError> {
        let positions = vec![Position::BEGINNING; heads.len()];
        let mut kept = self.0.0.lock();
        (kept.taken, kept.positions, kept.rebuilds) = (BTreeSet::new(), Some(positions.clone()), kept.rebuilds + 1);
        Ok(positions)
    }
}

async fn claim(client: &Client, n: usize, request: String) {
    let login: LoginName = format!("somebody-{n}@example.com").parse().expect("an address");
    let asking = Asking {
        request: RequestId::of("test", &[request.as_bytes()]),
        keyed: Some(Keyed { fingerprint: [1; 16], keep_ms: 60_000 }),
        caller: Caller::System,
        deadline: Instant::now() + LONG,
        if_version: None,
        wait: Wait::Durable,
    };
    client.ask::<Login>(&login, Command::Claim { user: UserId(1) }, asking).await.map(drop).expect("it has a receipt");
}

async fn opened(store: &TestStore) -> Arc<dyn Store> {
    let choice = store.address.parse().expect("an address");
    open(&Config::default().settings_of(choice, Slots::Configured(SLOTS))).await.expect("it opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_gets_every_record_in_order_through_restarts_and_passivation() {
    let home = tempfile::tempdir().expect("a folder");
    let store = TestStore::new(home.path());
    let tally = Arc::new(Tally::default());
    for life in 0..4 {
        let journal: Arc<dyn Journal> = opened(&store).await;
        let metrics = Arc::new(Metrics::new());
        let mut config = Config::default().runtime(NodeId::incarnate("test"), kinds::all());
        config.slots.idle_ms = 1; // whoever is not asked leaves memory
        let feed = Feed::new(journal.clone(), metrics.clone(), vec![Arc::new(Follows(tally.clone()))]);
        let prepared = Runtime::prepare(config, journal.clone(), Arc::new(SoleOwner), metrics);
        let payments = Arc::new(MockPayments::new(prepared.client()));
        let prepared = prepared.with_gateway(GATEWAY, payments).with_follower(feed.clone());
        let runtime = prepared.start(0..SLOTS).await.expect("it starts");
        feed.start().await.expect("it starts");
        let progress = feed.consumer("tally").expect("it is there");
        for round in 0..3 {
            match (life, round) {
                (1, 1) => progress.pause(),
                (1, 2) => progress.resume(),
                // What comes now is found in the next life only.
                (2, 1) => feed.stop(),
                _ => {}
            }
            let claims = (0..LOGINS).map(|n| claim(&runtime.client, n, format!("{life} {round} {n}")));
            futures::future::join_all(claims).await;
        }
        if life != 2 {
            let heads = journal.heads().await.expect("the heads");
            for (slot, head) in (0..).zip(heads) {
                while !progress.reached(slot, head.seq, LONG).await {
                    progress.running().await; // it has not begun yet
                }
            }
            let mut all = BTreeSet::new();
            for slot in 0..SLOTS {
                let records = journal.feed(slot, 0, usize::MAX).await.expect("the records");
                all.extend(records.iter().map(|record| (slot, record.seq)));
            }
            let kept = tally.0.lock();
            assert_eq!((&kept.taken, kept.rebuilds, &kept.faults), (&all, 1, &Vec::new()), "life {life}");
            assert!(all.len() >= LOGINS);
        }
        feed.stop();
        runtime.stop().await.expect("it stops");
    }
}
