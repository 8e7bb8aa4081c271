//! A store in which the data of one slot is damaged: the other slots serve as if nothing were, that one says what is
//! wrong, and it serves again once the store is repaired. No restart is needed, and none is made.

use std::sync::Arc;
use std::time::Duration;

use souk::actors::audit::types::{Audit, Day};
use souk::actors::categories::types::{self as categories, Categories};
use souk::actors::entity::{Caller, Kind};
use souk::actors::gateways::payments::MockPayments;
use souk::actors::keyring::types::Keyring;
use souk::actors::kinds;
use souk::actors::login::types::{Command, Login};
use souk::actors::payment::types::GATEWAY;
use souk::actors::projections::{Model, Projections};
use souk::actors::runtime::Runtime;
use souk::actors::runtime::client::{AskError, Asking, Client, Keyed, Wait};
use souk::actors::session::types::Session;
use souk::actors::user::types::{self as user, User};
use souk::actors::values::{CartId, CategoryId, LoginName, Only, RequestId, Role, UserId};
use souk::cluster::{NodeId, SoleOwner, slot_of};
use souk::config::Config;
use souk::http::Edge;
use souk::metrics::Metrics;
use souk::persistence::faulty::{Faulty, Part};
use souk::persistence::memory::Memory;
use souk::persistence::{Journal, Slot};
use tokio::time::Instant;

use crate::{client, edge};

const SLOTS: Slot = 8;

struct Node {
    runtime: Runtime,
    metrics: Arc<Metrics>,
    projections: Arc<Projections>,
}

async fn start(store: &Arc<Faulty<Memory>>) -> Node {
    start_with(store, SLOTS).await
}

async fn start_with(store: &Arc<Faulty<Memory>>, slots: Slot) -> Node {
    let metrics = Arc::new(Metrics::new());
    let config = Config::default().runtime(NodeId::incarnate("test"), kinds::all());
    let prepared = Runtime::prepare(config, store.clone(), Arc::new(SoleOwner), metrics.clone());
    let payments = Arc::new(MockPayments::new(prepared.client()));
    let journal: Arc<dyn Journal> = store.clone();
    let projections = Arc::new(Projections::new(&prepared.client(), &journal, &metrics));
    let prepared = prepared.with_gateway(GATEWAY, payments).with_follower(projections.feed.clone());
    let runtime = prepared.start(0..slots).await.expect("a damaged slot does not keep the runtime from starting");
    projections.feed.start().await.expect("the read models start");
    Node { runtime, metrics, projections }
}

impl Node {
    /// Until exactly these slots are in quarantine.
    async fn quarantined(&self, wanted: &[Slot]) {
        let mut quarantined = self.runtime.ownership.quarantined();
        let seen = quarantined.wait_for(|slots| slots.keys().copied().eq(wanted.iter().copied())).await;
        seen.expect("the runtime is there");
    }

    fn has_failed(&self) -> bool {
        self.runtime.failed().borrow().is_some()
    }
}

fn login(n: usize) -> LoginName {
    format!("somebody-{n}@example.com").parse().expect("an address")
}

fn slot(login: &LoginName) -> Slot {
    slot_of(Login::NUMBER, login.as_str(), SLOTS)
}

/// A command whose outcome is kept: each makes a record.
async fn claim(client: &Client, login: &LoginName, request: &str) -> Result<(), AskError> {
    let asking = Asking {
        request: RequestId::of("test", &[login.as_str().as_bytes(), request.as_bytes()]),
        keyed: Some(Keyed { fingerprint: [1; 16], keep_ms: 60_000 }),
        caller: Caller::System,
        deadline: Instant::now() + Duration::from_secs(10),
        if_version: None,
        wait: Wait::Durable,
    };
    client.ask::<Login>(login, Command::Claim { user: UserId(1) }, asking).await.map(drop)
}

async fn read(client: &Client, login: &LoginName) -> Result<u64, AskError> {
    Ok(client.read::<Login>(login, Instant::now() + Duration::from_secs(10)).await?.version)
}

/// A store with a login in each of two slots.
async fn store() -> (Arc<Faulty<Memory>>, LoginName, LoginName) {
    let store = Arc::new(Faulty::new(Memory::new(SLOTS)));
    let ill = login(0);
    let well = (1..).map(login).find(|login| slot(login) != slot(&ill)).expect("there are several slots");
    let node = start(&store).await;
    for login in [&ill, &well] {
        claim(&node.runtime.client, login, "first").await.expect("claimed");
    }
    node.projections.feed.stop();
    node.runtime.stop().await.expect("it stops");
    (store, ill, well)
}

#[tokio::test(start_paused = true)]
async fn a_start_serves_the_other_slots_and_that_one_as_soon_as_it_is_repaired() {
    for part in [Part::Head, Part::OwedIndex, Part::WakeIndex] {
        let (store, ill, well) = store().await;
        store.damage(slot(&ill), part);
        let node = start(&store).await;
        node.quarantined(&[slot(&ill)]).await;
        let client = &node.runtime.client;
        assert_eq!(read(client, &ill).await, Err(AskError::Damaged), "{part:?}");
        assert_eq!(claim(client, &ill, "next").await, Err(AskError::Damaged), "{part:?}");
        assert_eq!(read(client, &well).await, Ok(1), "{part:?}");
        assert!(claim(client, &well, "next").await.is_ok(), "{part:?}");
        assert_eq!(node.metrics.slots_quarantined.get(), 1, "{part:?}");
        node.projections.completed().await;
        let why = node.runtime.ownership.quarantined().borrow()[&slot(&ill)].clone();
        assert!(why.contains("injected"), "{why}");

        store.repair();
        node.quarantined(&[]).await;
        assert_eq!(read(client, &ill).await, Ok(1), "{part:?}");
        assert!(claim(client, &ill, "next").await.is_ok(), "{part:?}");
        assert_eq!(node.metrics.slots_quarantined.get(), 0, "{part:?}");
        assert!(!node.has_failed(), "{part:?}");
        node.runtime.stop().await.expect("it stops");
    }
}

/// While it serves: it is noticed by a write, which nobody is told to have been done.
#[tokio::test(start_paused = true)]
async fn a_slot_that_is_damaged_under_a_node_is_left_alone_and_comes_back() {
    let (store, ill, well) = store().await;
    let node = start(&store).await;
    let client = &node.runtime.client;
    assert_eq!(read(client, &ill).await, Ok(1));
    store.damage(slot(&ill), Part::Records);
    let (of_ill, of_well) = tokio::join!(claim(client, &ill, "next"), claim(client, &well, "next"));
    assert_eq!(of_ill, Err(AskError::Unknown));
    assert!(of_well.is_ok(), "{of_well:?}");
    assert_eq!(read(client, &ill).await, Err(AskError::Damaged));
    store.repair();
    node.quarantined(&[]).await;
    assert!(claim(client, &ill, "last").await.is_ok());
    assert!(!node.has_failed());
    node.runtime.stop().await.expect("it stops");
}

/// An edge over the node; its address.
async fn edge(node: &Node) -> (Edge, String) {
    edge::serve(node.runtime.client.clone(), node.projections.clone(), node.metrics.clone()).await
}

async fn get(url: &str, path: &str, guest: bool) -> (u16, serde_json::Value) {
    let ask = client::client().get(format!("{url}{path}"));
    let ask = if guest { ask.header("x-cart-token", "some token") } else { ask };
    let told = ask.send().await.expect("an answer");
    (told.status().as_u16(), told.json().await.expect("JSON"))
}

/// There is one keyring, and one tree of categories. Without the keys nobody can be recognised, and that is all.
#[tokio::test]
async fn a_node_starts_without_the_keyring_and_has_it_once_it_is_repaired() {
    let (store, ..) = store().await;
    let keyring = slot_of(Keyring::NUMBER, &Only.to_string(), SLOTS);
    let node = start(&store).await;
    let (_, url) = edge(&node).await;
    assert_eq!(get(&url, "/readyz", false).await.0, 200, "the shop has keys");
    node.projections.feed.stop();
    node.runtime.stop().await.expect("it stops");

    store.damage(keyring, Part::Head);
    let node = start(&store).await;
    node.quarantined(&[keyring]).await;
    let (edge, url) = edge(&node).await;
    let (status, problem) = get(&url, "/readyz?verbose", false).await;
    assert_eq!((status, problem["errors"][0]["check"].as_str()), (503, Some("keyring")), "{problem}");
    assert!(problem["errors"][0]["detail"].as_str().is_some_and(|why| why.contains("damaged")), "{problem}");
    assert_eq!(get(&url, "/startupz", false).await.0, 200);
    let cart = format!("/v1/carts/{}", CartId(1));
    for (path, guest, expected) in [
        ("/v1/products", false, 200),
        ("/v1/products/nothing", false, 404),
        (&cart, true, 503),
        ("/.well-known/jwks.json", false, 503),
    ] {
        let (status, body) = get(&url, path, guest).await;
        assert_eq!(status, expected, "{path}: {body}");
    }

    store.repair();
    edge.until_it_has_keys().await;
    assert_eq!(get(&url, "/readyz", false).await.0, 200);
    assert_eq!(get(&url, "/.well-known/jwks.json", false).await.0, 200);
    assert!(!node.has_failed());
    node.runtime.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_node_starts_without_the_tree_of_categories() {
    let (store, ..) = store().await;
    let tree = slot_of(Categories::NUMBER, &Only.to_string(), SLOTS);
    assert_ne!(tree, slot_of(Keyring::NUMBER, &Only.to_string(), SLOTS), "one of them is well");
    store.damage(tree, Part::OwedIndex);
    let node = start(&store).await;
    node.quarantined(&[tree]).await;
    let (_, url) = edge(&node).await;
    assert_eq!(get(&url, "/readyz", false).await.0, 200);
    let (status, problem) = get(&url, "/v1/categories", false).await;
    assert_eq!((status, problem["code"].as_str()), (500, Some("entity_quarantined")), "{problem}");
    assert_eq!(get(&url, "/v1/products", false).await.0, 200);
    store.repair();
    node.quarantined(&[]).await;
    assert_eq!(get(&url, "/v1/categories", false).await.0, 200);
    node.runtime.stop().await.expect("it stops");
}

/// A read model leaves out what it cannot read, is complete without it, and has it once it can be read.
#[tokio::test(start_paused = true)]
async fn a_read_model_has_what_was_damaged_as_soon_as_it_is_repaired() {
    let store = Arc::new(Faulty::new(Memory::new(SLOTS)));
    let node = start(&store).await;
    let asking = Asking {
        request: RequestId::of("test", &[b"category"]),
        keyed: None,
        caller: Caller::System,
        deadline: Instant::now() + Duration::from_secs(10),
        if_version: None,
        wait: Wait::Durable,
    };
    let create = categories::Command::Create {
        id: CategoryId(1),
        title: "Shirts".to_owned(),
        slug: None,
        parent: None,
        position: None,
    };
    node.runtime.client.ask::<Categories>(&Only, create, asking).await.expect("created");
    let known = |node: &Node| node.projections.catalogue.categories().categories.len();
    assert!(node.projections.caught_up(Model::Catalogue, &[], Duration::from_secs(10)).await);
    assert_eq!(known(&node), 1, "it follows");
    node.projections.feed.stop();
    node.runtime.stop().await.expect("it stops");

    let ill = slot_of(Categories::NUMBER, &Only.to_string(), SLOTS);
    store.damage(ill, Part::Head);
    let node = start(&store).await;
    node.quarantined(&[ill]).await;
    node.projections.completed().await;
    assert_eq!(known(&node), 0);
    store.repair();
    node.quarantined(&[]).await;
    while known(&node) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await; // it is tried again after a pause
    }
    node.projections.feed.stop();
    node.runtime.stop().await.expect("it stops");
}

/// An administrator at this edge, by his access token. None of what he needs is in this slot.
async fn administrator(node: &Node, url: &str, slots: Slot, ill: Slot) -> String {
    for n in 0.. {
        let email = format!("root-{n}@example.com");
        let body = serde_json::json!({"email": email, "password": "a long enough password"});
        let asked =
            client::client().post(format!("{url}/v1/auth/register")).json(&body).send().await.expect("an answer");
        let told: serde_json::Value = asked.json().await.expect("JSON");
        let id = told["user"]["id"].as_str().unwrap_or_else(|| panic!("{told}"));
        let user: UserId = id.parse().expect("an id");
        let session = loop {
            let view = node.runtime.client.read::<User>(&user, Instant::now() + Duration::from_secs(10)).await;
            if let Some(session) = view.expect("a user").state.sessions.first() {
                break session.id.to_string();
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // the session tells the user of itself
        };
        if [(User::NUMBER, id), (Session::NUMBER, &session)].iter().any(|(kind, id)| slot_of(*kind, id, slots) == ill) {
            continue;
        }
        let asking = Asking {
            request: RequestId::of("test", &[id.as_bytes()]),
            keyed: None,
            caller: Caller::System,
            deadline: Instant::now() + Duration::from_secs(10),
            if_version: None,
            wait: Wait::Settled,
        };
        let roles = user::Command::SetRoles { roles: [Role::Admin].into() };
        node.runtime.client.ask::<User>(&user, roles, asking).await.expect("he is an administrator");
        return told["access_token"].as_str().expect("a token").to_owned();
    }
    unreachable!("somebody's slots are well")
}

/// What was done is in the log; so nothing is done that cannot be. But what a shop is mended with works.
#[tokio::test]
async fn while_the_audit_log_is_ill_staff_changes_nothing_and_mends_all_the_same() {
    let day = Day::of(souk::actors::runtime::slot::actor::now());
    let needed = |slots| {
        let only = [Keyring::NUMBER, Categories::NUMBER].map(|kind| slot_of(kind, &Only.to_string(), slots));
        (slot_of(Audit::NUMBER, &day.to_string(), slots), only)
    };
    let slots = (SLOTS..).find(|slots| !needed(*slots).1.contains(&needed(*slots).0)).expect("some number will do");
    let ill = needed(slots).0;
    let store = Arc::new(Faulty::new(Memory::new(slots)));
    let node = start_with(&store, slots).await;
    let (_, url) = edge(&node).await;
    let token = administrator(&node, &url, slots, ill).await;
    let post = async |path: &str, body: serde_json::Value| {
        let asked = client::client().post(format!("{url}{path}")).bearer_auth(&token).json(&body).send();
        let told = asked.await.expect("an answer");
        let status = told.status().as_u16();
        (status, told.json::<serde_json::Value>().await.unwrap_or_default())
    };
    let category = serde_json::json!({"title": "Tea"});
    let resume = "/v1/admin/consumers/stock/resume";
    assert_eq!(post(resume, serde_json::json!({})).await.0, 200);
    store.damage(ill, Part::Records);
    let (status, problem) = post("/v1/admin/categories", category.clone()).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("unavailable")), "{problem}");
    assert_eq!(problem["retryable"], true);
    let tree = node.runtime.client.read::<Categories>(&Only, Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(tree.expect("the tree").version, 0, "nothing was done");
    assert_eq!(node.metrics.audit_unrecorded.get(), 0);
    assert_eq!(post(resume, serde_json::json!({})).await.0, 200);
    assert_eq!(node.metrics.audit_unrecorded.get(), 1, "it is counted, and in the process's log");
    store.repair();
    node.quarantined(&[]).await;
    let (status, created) = post("/v1/admin/categories", category).await;
    assert_eq!(status, 201, "{created}");
    node.runtime.stop().await.expect("it stops");
}
