//! One run: nodes start, clients begin, faults strike one after the other, and at the end everything is looked at.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::Method;
use serde_json::{Value, json};
use souk::actors::entity::Kind;
use souk::actors::sku::types::StockUnit;
use souk::cluster::slot_of;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::books;
use super::clients::after_sales::{Pair, work};
use super::clients::buyers::{Buyer, Goods, PRICE, buy};
use super::clients::carts::{Group, PLAIN, share};
use super::clients::staff::keep;
use super::clients::{Asked, Client, Pass, Shop, probes};
use super::cluster::{Cluster, SLOTS, Settings, WITHIN, number, text};
use super::faults::{Fault, Happened, strike};
use super::history::{Clock, Judged};
use super::models::Pieces;
use super::way::name;
use crate::process::{ADMIN_EMAIL, Ended, PASSWORD};

const GROUPS: usize = 3;
const SHARERS: usize = 3;
const KEEPERS: usize = 4;
const BUYERS: usize = 8;
const PAIRS: usize = 2;
/// How long so many requests may take on a slow machine while all nodes are well, or soon will be.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long clients may take to end what they are at.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub settings: Settings,
    pub faults: Faults,
}

#[derive(Debug, Clone)]
pub enum Faults {
    /// These, in this order.
    Fixed(Vec<Fault>),
    /// Any, for so long.
    Random(Duration),
}

pub struct Run {
    // in this order they go: the nodes before what they are told from
    pub cluster: Cluster,
    pub shop: Arc<Shop>,
    pub random: StdRng,
    pub happened: Vec<Happened>,
    pub goods: Goods,
    pub buyers: Vec<(usize, Pass)>,
    groups: Vec<Arc<Group>>,
    clients: JoinSet<()>,
    probes: JoinSet<()>,
    /// Asks as an operator.
    operator: Client,
    runtime: Runtime,
    _home: tempfile::TempDir,
}

/// What came of a run.
pub struct Outcome {
    pub plan: Plan,
    pub shop: Arc<Shop>,
    pub happened: Vec<Happened>,
    pub judged: Vec<(&'static str, Judged)>,
    pub orders: usize,
    /// What must not be.
    pub wrong: Vec<String>,
    /// What each node said.
    pub logs: Vec<String>,
}

pub fn run(plan: Plan) -> Outcome {
    let mut run = Run::start(&plan);
    match &plan.faults {
        Faults::Fixed(faults) => faults.iter().for_each(|fault| strike(&mut run, *fault)),
        Faults::Random(time) => {
            strike(&mut run, Fault::Grow);
            while run.now_us() < time.as_micros() as u64 {
                let fault = Fault::any(&mut run.random, run.cluster.running().len());
                strike(&mut run, fault);
            }
        }
    }
    run.end(plan)
}

impl Run {
    /// One node, in which is shopped.
    fn start(plan: &Plan) -> Run {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let (runtime, home) = (runtime.expect("a runtime"), tempfile::tempdir().expect("a folder"));
        let http = crate::client::client();
        let mut cluster = Cluster::new(&plan.settings, home.path(), http.clone(), runtime.handle().clone());
        cluster.start(&[0]);
        cluster.settle();
        let url = cluster.process(0).url.clone();
        let admin = runtime.block_on(sign_in(&http, &url));
        let shop = Shop::new(cluster.balancer.clone(), http.clone(), admin, Clock::start());
        let mut operator = Client::new(0, plan.seed);
        let goods = runtime.block_on(stock_up(&shop, &mut operator));
        let buyers: Vec<(usize, Pass)> = (0..BUYERS)
            .map(|buyer| {
                let token = runtime.block_on(sign_up(&http, &url, buyer));
                (100 + buyer, Pass::Bearer(token))
            })
            .collect();
        let groups = (0..GROUPS).map(|_| Arc::new(Group::default())).collect();
        let random = StdRng::seed_from_u64(plan.seed);
        let (clients, probes) = (JoinSet::new(), JoinSet::new());
        let happened = Vec::new();
        let mut run = Run {
            cluster,
            shop,
            random,
            happened,
            goods,
            buyers,
            groups,
            clients,
            probes,
            operator,
            runtime,
            _home: home,
        };
        run.open(plan.seed);
        run
    }

    /// Lets the clients in.
    fn open(&mut self, seed: u64) {
        let _entered = self.runtime.enter();
        for (client, group) in (200..).zip(self.groups.iter().cycle().take(GROUPS * SHARERS)) {
            self.clients.spawn(share(self.shop.clone(), group.clone(), Client::new(client, seed)));
        }
        for client in 300..300 + KEEPERS {
            let skus = self.goods.all().cloned().collect();
            self.clients.spawn(keep(self.shop.clone(), skus, Client::new(client, seed)));
        }
        for (number, pass) in &self.buyers {
            let buyer = Buyer { client: Client::new(*number, seed), pass: pass.clone() };
            self.clients.spawn(buy(self.shop.clone(), self.goods.clone(), buyer));
        }
        for pair in 0..PAIRS {
            let [refunds, cancels] = [400, 500].map(|first| Client::new(first + pair, seed));
            self.clients.spawn(work(self.shop.clone(), Pair { refunds, cancels }));
        }
    }

    pub fn now_us(&self) -> u64 {
        self.shop.clock.now_us()
    }

    /// Waits for something that must come.
    pub fn wait<T>(&self, what: &str, within: Duration, coming: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(within, coming).await });
        waited.unwrap_or_else(|_| panic!("still not: {what}\n{}", self.cluster.last_words()))
    }

    /// Waits until so many more requests are decided.
    pub fn go_on(&mut self, requests: usize) {
        let shop = self.shop.clone();
        self.wait("requests are decided", PATIENCE, shop.decides(requests));
        if let Some(Err(error)) = self.clients.try_join_next() {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Looks at entities at a node that is in trouble.
    pub fn probe(&mut self, node: usize) {
        let url = self.cluster.process(node).url.clone();
        let skus: Vec<String> = self.goods.all().cloned().collect();
        let Run { shop, groups, probes, runtime, .. } = self;
        runtime.block_on(probes::send(shop, groups, &skus, &url, probes));
    }

    /// Stops nodes as an operator does.
    pub fn stop(&mut self, nodes: &[usize]) {
        for (node, ended) in nodes.iter().zip(self.cluster.stop(nodes)) {
            self.judge_end(*node, &ended);
        }
    }

    /// Waits for the end of a node that was told to stop.
    pub fn ended_well(&mut self, node: usize) {
        let ended = self.cluster.ended(node);
        self.judge_end(node, &ended);
    }

    fn judge_end(&self, node: usize, ended: &Ended) {
        if !ended.status.success() {
            self.shop.is_wrong(format!("{} was told to stop, and ended with {}", name(node), ended.status));
        }
    }

    fn hot_slot(&self) -> u16 {
        slot_of(StockUnit::NUMBER, &self.goods.hot, SLOTS)
    }

    /// Moves the slot of all that is for sale, and waits until the node has it.
    pub fn move_hot_slot(&mut self, node: usize) {
        let path = format!("/v1/admin/cluster/slots/{}", self.hot_slot());
        let Run { shop, operator, runtime, .. } = self;
        let moving = async {
            let key = operator.key();
            let asked = Asked::of(Method::POST, format!("{path}/move"), &shop.staff(), key, json!({"to": name(node)}));
            let told = shop.ask(operator, &asked).await;
            if told.body(200).is_none() {
                shop.is_wrong(format!("the hot slot cannot be moved: {:?}", told.answer));
            }
            loop {
                let told = shop.ask(operator, &Asked::get(&path, &shop.staff())).await;
                let owner = told.body(200).and_then(|slot| slot["owner"].as_str()).unwrap_or_default().to_owned();
                if owner.starts_with(&format!("{}#", name(node))) {
                    return;
                }
                operator.rest().await;
            }
        };
        let moved = runtime.block_on(async { tokio::time::timeout(WITHIN, moving).await });
        assert!(moved.is_ok(), "{} does not get the hot slot\n{}", name(node), self.cluster.last_words());
    }

    /// The plan decides again where it is.
    pub fn let_hot_slot_go(&mut self) {
        let path = format!("/v1/admin/cluster/slots/{}/unpin", self.hot_slot());
        let Run { shop, operator, runtime, .. } = self;
        let asked = Asked::of(Method::POST, path, &shop.staff(), operator.key(), json!({}));
        runtime.block_on(shop.ask(operator, &asked));
    }

    /// Ends what runs, and looks at everything.
    fn end(mut self, plan: Plan) -> Outcome {
        self.go_on(60);
        self.shop.close();
        let ending = async {
            let (mut clients, mut probes) = (JoinSet::new(), JoinSet::new());
            std::mem::swap(&mut clients, &mut self.clients);
            std::mem::swap(&mut probes, &mut self.probes);
            clients.join_all().await;
            probes.join_all().await;
        };
        let ended = self.runtime.block_on(async { tokio::time::timeout(ENDS_WITHIN, ending).await });
        assert!(ended.is_ok(), "clients do not come to an end\n{}", self.cluster.last_words());
        println!("{:>8.1} s  the clients have gone", self.now_us() as f64 / 1e6);
        let (shop, goods, buyers) = (self.shop.clone(), self.goods.clone(), self.buyers.clone());
        let orders = self.runtime.block_on(books::balance(&shop, &mut self.operator, &goods, &buyers));
        let mut left = self.cluster.running();
        while let Some(node) = left.pop() {
            self.stop(&[node]);
        }
        let logs = self.cluster.logs();
        crate::shop::check(&self.cluster.store_url());
        println!("{:>8.1} s  the books are looked at, and the store is well", self.now_us() as f64 / 1e6);
        let judged = vec![
            ("carts", shop.carts.judge("cart")),
            ("SKUs", shop.stock.judge("SKU")),
            ("orders", shop.orders.judge("order")),
        ];
        println!("{:>8.1} s  the histories are judged", self.now_us() as f64 / 1e6);
        let refused = judged.iter().flat_map(|(_, judged)| judged.refused.iter().map(|(why, _)| why.clone()));
        let wrong = shop.wrongs().into_iter().chain(refused).collect();
        Outcome { plan, shop, happened: self.happened, judged, orders, wrong, logs }
    }
}

async fn told(asked: reqwest::RequestBuilder) -> Value {
    let answer = asked.send().await.expect("it answers");
    let status = answer.status();
    let body = answer.json().await.expect("JSON");
    assert!(status.is_success(), "{status} {body}");
    body
}

async fn sign_in(http: &reqwest::Client, url: &str) -> String {
    let credentials = json!({"email": ADMIN_EMAIL, "password": PASSWORD});
    text(&told(http.post(format!("{url}/v1/auth/login")).json(&credentials)).await, "access_token").to_owned()
}

async fn sign_up(http: &reqwest::Client, url: &str, buyer: usize) -> String {
    let account = json!({"email": format!("buyer-{buyer}@example.com"), "password": PASSWORD});
    text(&told(http.post(format!("{url}/v1/auth/register")).json(&account)).await, "access_token").to_owned()
}

/// Puts goods on sale: all SKUs that sell are in one slot, which is hot.
async fn stock_up(shop: &Shop, operator: &mut Client) -> Goods {
    let slot = |name: &str| slot_of(StockUnit::NUMBER, name, SLOTS);
    let mut names = (0..).map(|number| format!("CHAOS-{number}")).filter(|name| slot(name) == slot("CHAOS-HOT"));
    let scarce: Vec<String> = names.by_ref().take(2).collect();
    let goods = Goods { hot: "CHAOS-HOT".to_owned(), scarce };
    let stocks = [(PLAIN, 1_000), (&goods.hot, 1_000_000)].into_iter();
    for (sku, on_hand) in stocks.chain(goods.scarce.iter().map(|sku| (sku.as_str(), 6))) {
        let variants = json!([{"sku": sku, "options": {"size": "M"}, "price": {"amount": PRICE, "currency": "GBP"}}]);
        let product = json!({"title": format!("A {sku}"), "description": "Soft", "category_ids": [], "attributes": {},
            "status": "published", "variants": variants});
        let staff = shop.staff();
        let offering = Asked::of(Method::POST, "/v1/admin/products", &staff, operator.key(), product);
        assert!(shop.ask(operator, &offering).await.body(201).is_some(), "{sku} is for sale");
        let path = format!("/v1/admin/inventory/{sku}");
        let counting = Asked::of(Method::PUT, path, &staff, operator.key(), json!({"on_hand": on_hand}));
        let told = shop.ask(operator, &counting).await;
        assert_eq!(told.body(200).map(|stock| number(stock, "on_hand")), Some(on_hand));
        shop.stock.begin(sku, Pieces::of(on_hand));
    }
    goods
}
