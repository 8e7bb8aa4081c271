//! The runtime with the shop's own entities over the journal in memory: processes that cross entities
//! come to their end, repeats get the same answer, and what is durable is found again after a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use souk::actors::entity::{Caller, Kind};
use souk::actors::gateways::payments::MockPayments;
use souk::actors::kinds;
use souk::actors::payment::types::GATEWAY;
use souk::actors::runtime::client::{AskError, Asking, Client, Keyed, Wait};
use souk::actors::runtime::pruning::PRUNE_EVERY;
use souk::actors::runtime::{Runtime, StartError};
use souk::actors::user::types::{Command, Status, User};
use souk::actors::values::{RequestId, Role, Secret, UserId};
use souk::cluster::{Lease, NodeId, SoleOwner, slot_of};
use souk::config::Config;
use souk::metrics::Metrics;
use souk::persistence::faulty::{Call, Fault, Faulty};
use souk::persistence::memory::Memory;
use souk::persistence::{EntityKey, Journal, Slot};
use tokio::sync::Notify;
use tokio::time::Instant;

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn start(journal: Arc<dyn Journal>) -> Runtime {
    start_under(journal, Arc::new(SoleOwner)).await
}

async fn start_under(journal: Arc<dyn Journal>, lease: Arc<dyn Lease>) -> Runtime {
    let (config, slots) = (Config::default().runtime(NodeId::incarnate("test"), kinds::all()), 0..journal.slots());
    let prepared = Runtime::prepare(config, journal, lease, Arc::new(Metrics::new()));
    let payments = Arc::new(MockPayments::new(prepared.client()));
    prepared.with_gateway(GATEWAY, payments).start(slots).await.expect("the runtime starts")
}

/// What entities owe to a gateway that is not there would be owed for ever.
#[tokio::test]
async fn a_runtime_without_one_of_its_gateways_does_not_start() {
    let config = Config::default().runtime(NodeId::incarnate("test"), kinds::all());
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(16));
    let started =
        Runtime::prepare(config, journal.clone(), Arc::new(SoleOwner), Arc::new(Metrics::new())).start(0..16).await;
    let why = started.err();
    assert!(matches!(why, Some(StartError::NoGateway { kind: "order", gateway: GATEWAY })), "{why:?}");
    let heads = journal.heads().await.expect("the journal answers");
    assert!(heads.iter().all(|head| head.owner.is_none()), "it has claimed something");
}

fn keyed(key: &str, fingerprint: u8) -> Asking {
    Asking {
        request: RequestId::of("test", &[key.as_bytes()]),
        keyed: Some(Keyed { fingerprint: [fingerprint; 16], keep_ms: 60_000 }),
        caller: Caller::Anonymous,
        deadline: deadline(),
        if_version: None,
        wait: Wait::Settled,
    }
}

fn register(id: UserId, name: &str) -> Command {
    Command::Register {
        id,
        email: "ada@example.com".parse().expect("an address"),
        name: Some(name.into()),
        password_hash: Secret("hash".into()),
        roles: BTreeSet::from([Role::Customer]),
    }
}

/// Lists wait for the position that a write is answered with: it must be that of the write's own record.
#[tokio::test]
async fn a_write_is_answered_with_the_position_of_its_own_record() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(16));
    let runtime = start(journal.clone()).await;
    let id = UserId::derived(&RequestId::of("test", &[b"position"]), 0);
    let asking = Asking { wait: Wait::Durable, ..keyed("register", 1) };
    let request = asking.request;
    let answered = runtime.client.ask::<User>(&id, register(id, "Ada"), asking).await.expect("an answer");
    let key = EntityKey { kind: User::NUMBER, id: id.to_string().into() };
    let slot = slot_of(User::NUMBER, &id.to_string(), journal.slots());
    let records = journal.records(slot, &key, 0, 100).await.expect("the journal answers");
    let own = records.iter().find(|record| record.request == request.0).expect("its record");
    assert_eq!(answered.view.position.map(|position| (position.slot, position.seq)), Some((slot, own.seq)));
    runtime.stop().await.expect("the runtime stops");
}

async fn status(client: &Client, user: UserId) -> (u64, Status) {
    let view = client.read::<User>(&user, deadline()).await.expect("a user can be read");
    (view.version, view.state.status)
}

#[tokio::test]
async fn an_email_is_unique_and_a_repeat_gets_the_same_answer_also_after_a_restart() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(16));
    let runtime = start(journal.clone()).await;
    let (ada, eve) = (UserId(1), UserId(2));
    let first = runtime.client.ask::<User>(&ada, register(ada, "Ada"), keyed("a", 1)).await.expect("registered");
    assert!(!first.replayed);
    assert_eq!(first.view.state.status, Status::Active);
    let second = runtime.client.ask::<User>(&eve, register(eve, "Eve"), keyed("b", 1)).await.expect("settled");
    assert_eq!(second.view.state.status, Status::Refused);

    let renamed = Command::UpdateProfile { name: Some(None) };
    runtime.client.ask::<User>(&ada, renamed, keyed("c", 1)).await.expect("renamed");
    let before = status(&runtime.client, ada).await;
    runtime.stop().await.expect("the runtime stops");

    let runtime = start(journal).await;
    assert_eq!(status(&runtime.client, ada).await, before);
    let again = runtime.client.ask::<User>(&ada, register(ada, "Ada"), keyed("a", 1)).await.expect("repeated");
    assert!(again.replayed);
    assert_eq!((again.outcome, again.view.version), (first.outcome, first.view.version));
    assert_eq!(again.view.state.account.as_ref().and_then(|a| a.name.as_deref()), Some("Ada"), "the state as it was");
    let reused = runtime.client.ask::<User>(&ada, register(ada, "Ada"), keyed("a", 2)).await;
    assert_eq!(reused.err(), Some(AskError::KeyReused));
    runtime.stop().await.expect("the runtime stops");
}

/// A lease that runs out when the test says so.
#[derive(Default)]
struct Lapsing(AtomicBool);

impl Lease for Lapsing {
    fn is_valid(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

/// Another node may own the slot by now, and the entity be at another version there.
#[tokio::test]
async fn without_a_lease_a_refusal_that_rests_on_state_does_not_leave() {
    let lease = Arc::new(Lapsing::default());
    let runtime = start_under(Arc::new(Memory::new(16)), lease.clone()).await;
    let ada = UserId(1);
    runtime.client.ask::<User>(&ada, register(ada, "Ada"), keyed("a", 1)).await.expect("registered");
    let rename = || {
        let renamed = Command::UpdateProfile { name: Some(None) };
        let asking = Asking { keyed: None, if_version: Some(99), ..keyed("b", 1) };
        runtime.client.ask_outcome::<User>(&ada, renamed, asking)
    };
    let current = status(&runtime.client, ada).await.0;
    assert_eq!(rename().await.err(), Some(AskError::StaleVersion { current }));
    lease.0.store(true, Ordering::SeqCst);
    assert_eq!(rename().await.err(), Some(AskError::Unknown));
    runtime.stop().await.expect("the runtime stops");
}

/// Everything that a slot has in flight, that waits or that is owed crosses its absence: each command is done once.
#[tokio::test]
async fn slots_leave_and_come_back_under_load() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 60;
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(4));
    let runtime = start(journal.clone()).await;
    // A slot leaves for each command that is done, at most: else they could leave so often that no command has time.
    let done = Notify::new();
    let writers = (0..WRITERS).map(|writer| {
        let (client, done) = (runtime.client.clone(), &done);
        async move {
            let user = UserId(u128::from(writer));
            let email = format!("writer-{writer}@example.com").parse().expect("an address");
            let new = Command::Register {
                id: user,
                email,
                name: None,
                password_hash: Secret("hash".into()),
                roles: BTreeSet::from([Role::Customer]),
            };
            let registered = client.ask::<User>(&user, new, keyed(&format!("{writer}"), 1)).await;
            assert_eq!(registered.expect("registered").view.state.status, Status::Active);
            done.notify_one();
            let mut version = status(&client, user).await.0;
            for write in 0..WRITES {
                let rename = Command::UpdateProfile { name: Some(Some(format!("{write}"))) };
                let answered = client.ask::<User>(&user, rename, keyed(&format!("{writer} {write}"), 1)).await;
                version += 1;
                assert_eq!(answered.expect("renamed").view.version, version, "once");
                assert_eq!(status(&client, user).await.0, version);
                done.notify_one();
            }
        }
    });
    let mut writing = Box::pin(join_all(writers));
    let moving = async {
        for round in 0_u16.. {
            let slot = round % journal.slots();
            runtime.slots().leave(slot).await;
            assert_eq!(runtime.ownership.epoch(slot), None);
            assert!(status_within(&runtime.client, slot, Duration::from_millis(5)).await.is_none(), "it is away");
            come_back(&runtime, &*journal, slot).await;
            done.notified().await;
        }
    };
    tokio::select! {
        _ = &mut writing => {}
        () = moving => {}
    }
    runtime.stop().await.expect("the runtime stops");
}

/// A slot is claimed for the node again, and given to it.
async fn come_back(runtime: &Runtime, journal: &dyn Journal, slot: Slot) {
    let epoch = journal.heads().await.expect("the journal answers")[usize::from(slot)].epoch;
    let claimed = journal.claim(runtime.ownership.node.as_str(), &[(slot, epoch)]).await.expect("the journal answers");
    runtime.slots().take(slot, claimed.into_iter().next().expect("one slot").expect("nobody else claims it"));
}

/// The version of an entity of this slot, if it can be read in this time.
async fn status_within(client: &Client, slot: Slot, time: Duration) -> Option<u64> {
    let of_slot = (1_000..).map(UserId).find(|user| slot_of(User::NUMBER, &user.to_string(), 4) == slot);
    let user = of_slot.expect("there are users enough");
    client.read::<User>(&user, Instant::now() + time).await.ok().map(|view| view.version)
}

#[tokio::test]
async fn a_runtime_serves_the_slots_that_it_is_given_and_others_once_they_come() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(4));
    let config = Config::default().runtime(NodeId::incarnate("test"), kinds::all());
    let prepared = Runtime::prepare(config, journal.clone(), Arc::new(SoleOwner), Arc::new(Metrics::new()));
    let payments = Arc::new(MockPayments::new(prepared.client()));
    let runtime = prepared.with_gateway(GATEWAY, payments).start([1, 3]).await.expect("the runtime starts");
    let owned = || (0..4).filter(|slot| runtime.ownership.epoch(*slot).is_some()).collect::<Vec<Slot>>();
    assert_eq!(status_within(&runtime.client, 1, Duration::from_secs(10)).await, Some(0));
    assert_eq!(status_within(&runtime.client, 3, Duration::from_secs(10)).await, Some(0));
    assert_eq!(owned(), [1, 3]);
    let heads = journal.heads().await.expect("the journal answers");
    let claimed: Vec<bool> = heads.iter().map(|head| head.owner.is_some()).collect();
    assert_eq!(claimed, [false, true, false, true], "it claims what it is given");
    assert_eq!(status_within(&runtime.client, 2, Duration::from_millis(5)).await, None);
    come_back(&runtime, &*journal, 2).await;
    assert_eq!(status_within(&runtime.client, 2, Duration::from_secs(10)).await, Some(0));
    runtime.slots().leave(2).await;
    runtime.slots().leave(2).await; // it is away already
    runtime.slots().leave(0).await; // it never came
    assert_eq!(owned(), [1, 3]);
    runtime.stop().await.expect("the runtime stops");
}

/// The receipts of keys whose time is over leave the store by themselves.
#[tokio::test(start_paused = true)]
async fn a_receipt_that_has_expired_is_forgotten() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new(16));
    let runtime = start(journal.clone()).await;
    let ada = UserId(1);
    let mut short = keyed("short", 1);
    let long = keyed("long", 1);
    short.keyed.as_mut().expect("it is keyed").keep_ms = 0;
    let requests = [short.request, long.request];
    runtime.client.ask::<User>(&ada, register(ada, "Ada"), short).await.expect("registered");
    runtime.client.ask::<User>(&ada, Command::UpdateProfile { name: None }, long).await.expect("updated");

    let id = ada.to_string();
    let slot = slot_of(User::NUMBER, &id, journal.slots());
    let key = EntityKey { kind: User::NUMBER, id: id.into() };
    let found = async |request: RequestId| {
        journal.find_receipt(slot, &key, &request.0).await.expect("the journal answers").is_some()
    };
    assert_eq!((found(requests[0]).await, found(requests[1]).await), (true, true));
    let forgotten = async {
        while found(requests[0]).await {
            tokio::time::sleep(PRUNE_EVERY).await;
        }
    };
    tokio::time::timeout(100 * PRUNE_EVERY, forgotten).await.expect("it is forgotten");
    assert!(found(requests[1]).await, "its time is not over");
    runtime.stop().await.expect("the runtime stops");
}

/// After a disturbance of the store everything may be asked for at once.
#[tokio::test(start_paused = true)]
async fn loads_are_paced() {
    const USERS: u64 = 400;
    let store = Arc::new(Faulty::new(Memory::new(16)));
    let runtime = start(store.clone()).await;
    let reads = store.calls(Call::Read);
    for number in 1..=2 * USERS {
        store.fail_at(Call::Read, reads + number, Fault::Slow { before_ms: 10, after_ms: 10 });
    }
    let client = &runtime.client;
    let users: Vec<UserId> = (0..u128::from(USERS)).map(UserId).collect();
    let found = join_all(users.iter().map(|user| client.read::<User>(user, deadline()))).await;
    assert!(found.iter().all(|view| view.as_ref().is_ok_and(|view| view.version == 0)));
    assert_eq!(store.loads_at_once_max(), 128);
    runtime.stop().await.expect("the runtime stops");
}
