//! A store on several real servers: the conformance suite, what is checked when it is opened, and souk itself while one
//! of three servers is killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use souk::cluster::slot_of;
use souk::persistence::conformance::{self, Rig, SCRIBE, SLOTS, Scribe};
use souk::persistence::postgres::PostgresStore;
use souk::persistence::several::{self, SeveralOptions};
use souk::persistence::{Batch, Refusal, Slot, Store, StoreError};

use super::postgres::{self, Server, shared_at};
use super::process::Launch;
use super::{impatient, name, options, settings};
use crate::client::client;

const SERVERS: usize = 3;

async fn open_with(urls: &[String], slots: Option<Slot>) -> Result<Arc<dyn Store>, StoreError> {
    let settings = settings();
    Ok(Arc::new(several::open(SeveralOptions { urls: urls.to_vec(), slots, settings }).await?))
}

pub async fn open(urls: &[String]) -> Arc<dyn Store> {
    open_with(urls, Some(SLOTS)).await.expect("the store opens")
}

/// Empty databases, one on each of three servers.
async fn databases() -> Vec<String> {
    let mut urls = Vec::new();
    for at in 0..SERVERS {
        urls.push(shared_at(at).database(&name()).await);
    }
    urls
}

/// Three databases, on three servers that all tests share.
struct SeveralRig(tokio::sync::OnceCell<Vec<String>>);

impl SeveralRig {
    fn new() -> SeveralRig {
        SeveralRig(tokio::sync::OnceCell::new())
    }
}

#[async_trait]
impl Rig for SeveralRig {
    async fn open(&self) -> Arc<dyn Store> {
        open(self.0.get_or_init(databases).await).await
    }
    async fn another(&self) -> Option<Arc<dyn Store>> {
        Some(self.open().await)
    }
}

souk::journal_conformance!(conforms, SeveralRig::new);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs in the processes that the other test starts"]
async fn contender() {
    if let Some(part) = conformance::Part::from_environment() {
        let urls: Vec<String> = part.store.split(' ').map(str::to_owned).collect();
        part.play(open(&urls).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_contend() {
    let urls = databases().await;
    conformance::several_processes(open(&urls).await, "postgres::several::contender", &urls.join(" ")).await;
}

/// Where the records of a store lie, by server.
async fn records_on(url: &str) -> BTreeSet<i32> {
    let client = postgres::client(url).await;
    let rows = client.query("select distinct slot from souk_records", &[]).await.expect("slots");
    rows.iter().map(|row| row.get(0)).collect()
}

fn why(opened: Result<Arc<dyn Store>, StoreError>) -> String {
    match opened.map(drop) {
        Err(StoreError::Fatal(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_knows_which_it_is() {
    let urls = databases().await;
    // Many open a new store at once: they divide it once.
    let stores = futures::future::join_all((0..4).map(|_| open(&urls))).await;
    let mut scribe = Scribe::claim(stores[0].clone()).await;
    let records: Vec<_> = (0..SLOTS).map(|slot| scribe.record(slot, &format!("e{slot}"))).collect();
    scribe.commit(&records).await;
    let mut on = Vec::new();
    for url in &urls {
        on.push(records_on(url).await);
    }
    assert_eq!(on, [BTreeSet::from([0, 1]), BTreeSet::from([2]), BTreeSet::from([3])]);
    // In another order they are the same.
    let turned = [&urls[0], &urls[2], &urls[1]].map(String::clone);
    let store = open_with(&turned, None).await.expect("it is there");
    for slot in 0..SLOTS {
        assert_eq!(store.feed(slot, 0, 9).await.expect("a feed").len(), 1);
    }
    assert!(why(open_with(&urls[..2], Some(SLOTS)).await).contains("which is not named"));
    let headless = [&urls[1], &urls[0], &urls[2]].map(String::clone);
    assert!(why(open_with(&headless, Some(SLOTS)).await).contains("name the first one first"));
    let twice = [&urls[0], &urls[1], &urls[2], &urls[1]].map(String::clone);
    assert!(why(open_with(&twice, Some(SLOTS)).await).contains("twice"));
    for url in &urls {
        let alone =
            PostgresStore::open(options(url, None, settings())).await.map(|store| Arc::new(store) as Arc<dyn Store>);
        assert!(why(alone).contains("a part of a store that lies on several"));
    }
    // A server of another store, and one that has a store of its own.
    let others = databases().await;
    drop(open(&others).await);
    let mixed = [&urls[..], &others[1..2]].concat();
    assert!(why(open_with(&mixed, Some(SLOTS)).await).contains("belongs to another store"));
    let single = databases().await;
    drop(Scribe::claim(super::open(&single[0]).await).await);
    let mixed = [&urls[..], &single[..1]].concat();
    assert!(why(open_with(&mixed, Some(SLOTS)).await).contains("holds a store of its own"));
    let empty = databases().await;
    assert!(why(open_with(&empty, None).await).contains("no store"));
}

/// A store that was on one server stays there; a server that is named beside it has no slots yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_one_server_can_be_given_more() {
    let urls = databases().await;
    let mut scribe = Scribe::claim(super::open(&urls[0]).await).await;
    let record = scribe.record(3, "a");
    scribe.commit(std::slice::from_ref(&record)).await;
    let store = open(&urls).await;
    assert_eq!(store.feed(3, 0, 9).await.expect("a feed"), [record]);
    let next = scribe.record(3, "a");
    assert_eq!(store.append(Batch::of(SCRIBE, [next])).await.expect("appended"), vec![]);
    assert_eq!(records_on(&urls[1]).await, BTreeSet::new());
    // As long as all is on it, it may be opened by itself.
    drop(super::open(&urls[0]).await);
}

/// One of the servers is killed: its slots are refused, and the others' records are written. When it is back, a claim
/// settles what was unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_is_killed_is_its_slots_concern() {
    let mut servers = [Server::new(&[]), Server::new(&[]), Server::new(&[])];
    let mut urls = Vec::new();
    for server in &servers {
        urls.push(server.database("souk").await);
    }
    let opening = SeveralOptions { urls, slots: Some(SLOTS), settings: impatient() };
    let store: Arc<dyn Store> = Arc::new(several::open(opening).await.expect("it opens"));
    let mut scribe = Scribe::claim(store.clone()).await;
    let first: Vec<_> = (0..SLOTS).map(|slot| scribe.record(slot, &format!("e{slot}"))).collect();
    scribe.commit(&first).await;
    servers[1].kill(); // which has slot 2
    let mut lost = None;
    for _ in 0..20 {
        let own = [scribe.record(0, "e0"), scribe.record(3, "e3")];
        let other = lost.get_or_insert_with(|| scribe.record(2, "e2")).clone();
        let sent = Batch::of(SCRIBE, own.into_iter().chain([other]));
        let refused = store.append(sent).await.expect("the others' are written");
        let is_its_own = matches!(refused[..], [(2, Refusal::Unavailable(_) | Refusal::Unknown(_))]);
        assert!(is_its_own, "{refused:?}");
    }
    let claimed = store.claim("next", &[(1, 1), (2, 1)]).await.expect("of the others");
    assert!(claimed[0].is_ok() && claimed[1].is_err(), "{claimed:?}");
    assert_eq!(store.head(0).await.expect("its server answers").seq, 21);
    assert!(store.heads().await.is_err(), "not of all");
    servers[1].start();
    let head = loop {
        match store.claim(SCRIBE, &[(2, 1)]).await.map(|mut claimed| claimed.remove(0)) {
            Ok(Ok(head)) => break head,
            Ok(Err(Refusal::Unavailable(_) | Refusal::Unknown(_))) | Err(StoreError::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    };
    let kept = store.feed(2, 0, 9).await.expect("a feed");
    assert_eq!((kept[0].seq, kept.len() as u64), (1, head.seq), "what it had acknowledged is there");
}

pub const SHOP_SLOTS: u16 = 64;
const CARTS: u8 = 10;

pub fn launch(home: &tempfile::TempDir, urls: &[String]) -> Launch {
    let launch = Launch::new(home.path()).args(&["--store", "postgres", "--sample"]);
    launch.env("SOUK_STORE__URLS", urls.join(",")).env("SOUK_STORE__SLOTS", SHOP_SLOTS.to_string())
}

pub struct Cart {
    id: String,
    token: String,
}

impl Cart {
    pub async fn new(url: &str) -> Cart {
        let made = client().post(format!("{url}/v1/carts")).json(&json!({})).send().await;
        let made: Value = made.expect("an answer").json().await.expect("a cart");
        let text = |name: &str| made[name].as_str().expect("a guest's cart has both").to_owned();
        Cart { id: text("id"), token: text("token") }
    }

    pub fn slot(&self) -> u16 {
        slot_of(CARTS, &self.id, SHOP_SLOTS)
    }

    /// Which of the servers has it: the slots are divided in order.
    fn server(&self) -> usize {
        usize::from(self.slot()) * SERVERS / usize::from(SHOP_SLOTS)
    }

    /// Says who buys; the status, and whether it says when to try again.
    pub async fn contact(&self, url: &str, number: usize) -> (u16, bool) {
        let address = json!({"name": "Ada", "line1": "1 Way", "city": "Oslo", "postal_code": "0001", "country": "NO"});
        let body = json!({"email": format!("ada{number}@example.com"), "shipping_address": address});
        let asked = client().put(format!("{url}/v1/carts/{}/contact", self.id)).header("x-cart-token", &self.token);
        let answer = asked.json(&body).send().await.expect("an answer");
        let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        if status >= 400 && status != 503 {
            panic!("{status}: {}", answer.text().await.unwrap_or_default());
        }
        (status, again)
    }

    pub async fn email(&self, url: &str) -> String {
        let asked = client().get(format!("{url}/v1/carts/{}", self.id)).header("x-cart-token", &self.token);
        let cart: Value = asked.send().await.expect("an answer").json().await.expect("a cart");
        cart["contact"]["email"].as_str().unwrap_or_default().to_owned()
    }
}

/// All carts are asked at once. Those on server `away` are answered that they must try again, the others as ever.
async fn ask_all(url: &str, carts: &mut [(Cart, usize)], away: usize, round: usize) -> Duration {
    let asking = carts.iter_mut().map(|(cart, number)| async move {
        let next = round * 100 + *number % 100;
        let asked = Instant::now();
        match cart.contact(url, next).await {
            (200, _) if cart.server() != away => *number = next,
            (503, true) if cart.server() == away => return Duration::ZERO,
            other => panic!("round {round}, a cart on server {}: {other:?}", cart.server()),
        }
        asked.elapsed()
    });
    futures::future::join_all(asking).await.into_iter().max().unwrap_or_default()
}

/// Each is asked until it is changed.
async fn all_come_back(url: &str, carts: &mut [(Cart, usize)], round: usize) {
    let asking = carts.iter_mut().map(|(cart, number)| async move {
        *number = round * 100 + *number % 100;
        while cart.contact(url, *number).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    futures::future::join_all(asking).await;
}

async fn everything_is_there(url: &str, carts: &[(Cart, usize)]) {
    for (cart, number) in carts {
        assert_eq!(cart.email(url).await, format!("ada{number}@example.com"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_goes_on_without_one_of_three_servers_and_has_everything_when_it_is_back() {
    let mut servers = [Server::new(&[]), Server::new(&[]), Server::new(&[])];
    let mut urls = Vec::new();
    for server in &servers {
        urls.push(server.database("souk").await);
    }
    let home = tempfile::tempdir().expect("a folder");
    let souk = launch(&home, &urls).start();
    let url = souk.url.clone();
    let mut carts = Vec::new();
    for number in 0..30 {
        let cart = Cart::new(&url).await;
        assert_eq!(cart.contact(&url, number).await, (200, false));
        carts.push((cart, number));
    }
    let on = |server: usize| carts.iter().filter(|(cart, _)| cart.server() == server).count();
    assert!((0..SERVERS).all(|server| on(server) > 0), "some on each");
    servers[2].kill();
    for round in 1..=2 {
        println!("killed: the others' slowest answer took {:?}", ask_all(&url, &mut carts, 2, round).await);
    }
    servers[2].start();
    all_come_back(&url, &mut carts, 3).await;
    everything_is_there(&url, &carts).await;
    servers[1].freeze();
    for round in 4..=5 {
        println!("halted: the others' slowest answer took {:?}", ask_all(&url, &mut carts, 1, round).await);
    }
    servers[1].thaw();
    all_come_back(&url, &mut carts, 6).await;
    everything_is_there(&url, &carts).await;
    assert!(souk.stop().status.success());
    let again = launch(&home, &urls).start();
    everything_is_there(&again.url, &carts).await;
    assert!(again.stop().status.success());
    super::shop::check(&urls.join(","));
}
