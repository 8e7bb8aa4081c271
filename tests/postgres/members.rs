//! One process at a time serves a shared store: several at once, one that was killed, one that was halted and wakes
//! up when another has taken over, and a store that is not there yet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clock::Clock;
use super::postgres::Server;
use super::process::{Ended, Launch, Process};
use super::shoppers::Shoppers;
use crate::client::client;

/// What a node is without a sign of life before another may take its place.
const LEASE: Duration = Duration::from_secs(2);

fn launch(home: &tempfile::TempDir, url: &str) -> Launch {
    let launch = Launch::new(home.path()).args(&["--store", "postgres", "--store-url", url, "--sample"]);
    launch.env("SOUK_STORE__SLOTS", "64")
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Starts some processes at the same moment.
fn start_together(homes: &[tempfile::TempDir], url: &str) -> (Vec<Process>, Vec<Ended>) {
    let starting: Vec<_> = homes
        .iter()
        .map(|home| {
            let launch = launch(home, url);
            std::thread::spawn(move || launch.try_start())
        })
        .collect();
    let (mut serving, mut ended) = (Vec::new(), Vec::new());
    for start in starting {
        match start.join().expect("it starts or not") {
            Ok(process) => serving.push(process),
            Err(end) => ended.push(end),
        }
    }
    (serving, ended)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_that_start_at_once_one_serves() {
    let server = Server::new(&[]);
    for round in 0..4 {
        let url = server.database(&format!("souk{round}")).await;
        // Once into a new store, and once after one that was killed.
        for _ in 0..2 {
            let homes = [home(), home(), home()];
            let (mut serving, refused) = start_together(&homes, &url);
            let logs: String = homes.iter().map(|home| launch(home, &url).log()).collect();
            assert_eq!(serving.len(), 1, "{logs}");
            for ended in &refused {
                assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
                let last = ended.log.lines().last().unwrap_or_default();
                assert!(last.starts_with("souk: the store is in use by node "), "{}", ended.log);
            }
            let mut one = serving.remove(0);
            let shoppers = Shoppers::start(&one.url, 2).await;
            shoppers.get(20).await;
            assert_eq!(shoppers.have_all().await.len(), 0, "nothing was refused");
            assert!(one.is_running());
            drop(one.kill());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_killed_serves_again_when_its_lease_is_over() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let home = home();
    let mut souk = launch(&home, &url).start();
    for _ in 0..3 {
        let shoppers = Shoppers::start(&souk.url, 2).await;
        shoppers.get(20).await;
        shoppers.have_all().await;
        let again = souk.kill();
        let killed = Instant::now();
        souk = again.start();
        println!("served again after {:?}", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(20), "no half minute");
    }
    assert!(souk.stop().status.success());
    let left = Instant::now();
    let souk = launch(&home, &url).start();
    println!("after an orderly stop: {:?}", left.elapsed());
    assert!(souk.stop().status.success());
}

/// A cart with one piece, and a client for it.
struct Cart {
    id: String,
    token: String,
}

impl Cart {
    async fn new(url: &str) -> Cart {
        let made = client().post(format!("{url}/v1/carts")).json(&json!({})).send().await;
        let made: Value = made.expect("an answer").json().await.expect("a cart");
        let text = |name: &str| made[name].as_str().expect("a guest's cart has both").to_owned();
        Cart { id: text("id"), token: text("token") }
    }

    /// Asks for one piece more; the answer, where there is one.
    async fn add(&self, url: &str) -> Option<(u16, Value)> {
        let asked = client().post(format!("{url}/v1/carts/{}/lines", self.id));
        let asked = asked.header("x-cart-token", &self.token).json(&json!({"sku": "KIT-MUG-BLUE", "quantity": 1}));
        let answer = asked.send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }

    async fn look(&self, url: &str) -> Option<(u16, Value)> {
        let asked = client().get(format!("{url}/v1/carts/{}", self.id));
        let answer = asked.header("x-cart-token", &self.token).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.ok()?))
    }
}

fn quantity(cart: &Value) -> u64 {
    cart["lines"][0]["quantity"].as_u64().unwrap_or_default()
}

/// It was away for longer than its lease, and another one has taken over. What it is asked to write then is refused,
/// what it remembers is not shown, and it ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_wakes_up_too_late_says_nothing_and_ends() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let (first_home, second_home) = (home(), home());
    let first = launch(&first_home, &url).start();
    let mut carts = Vec::new();
    for _ in 0..8 {
        let cart = Cart::new(&first.url).await;
        let (status, body) = cart.add(&first.url).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        carts.push(std::sync::Arc::new(cart));
    }
    first.signal("STOP");
    let second = launch(&second_home, &url).start();
    for cart in &carts {
        let (status, body) = cart.add(&second.url).await.expect("an answer");
        assert_eq!((status, quantity(&body)), (200, 2), "{body}");
    }
    // They wait in the first one's sockets until it wakes up.
    let late: Vec<_> = carts
        .iter()
        .flat_map(|cart| [false, true].map(|writes| (cart.clone(), writes)))
        .map(|(cart, writes)| {
            let url = first.url.clone();
            let asked = async move { if writes { cart.add(&url).await } else { cart.look(&url).await } };
            tokio::spawn(asked)
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await; // sent, for what can be seen from here
    first.signal("CONT");
    for asked in late {
        if let Some((status, body)) = asked.await.expect("a task") {
            assert_eq!(status, 503, "{body}");
        }
    }
    let ended = first.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    assert!(last.starts_with("souk: ") && last.contains("another node has taken over"), "{}", ended.log);
    for cart in &carts {
        let (status, body) = cart.look(&second.url).await.expect("an answer");
        assert_eq!((status, quantity(&body)), (200, 2), "{body}");
    }
    assert!(second.stop().status.success());
}

/// And when nobody has taken over, it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_halted_for_longer_than_its_lease_goes_on_when_nobody_else_has_come() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let home = home();
    let mut souk = launch(&home, &url).start();
    let shoppers = Shoppers::start(&souk.url, 4).await;
    shoppers.get(20).await;
    souk.signal("STOP");
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await; // the trouble itself
    souk.signal("CONT");
    shoppers.get(40).await;
    assert!(souk.is_running());
    shoppers.have_all().await;
    assert!(souk.stop().status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_not_there_yet_is_waited_for() {
    let mut server = Server::new(&[]);
    let url = server.database("souk").await;
    server.stop();
    let home = home();
    let starting = launch(&home, &url);
    let start = std::thread::spawn(move || starting.try_start());
    while !launch(&home, &url).log().contains("waiting for the store") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.start();
    let souk = start.join().expect("it starts or not").unwrap_or_else(|ended| panic!("{}", ended.log));
    assert!(souk.stop().status.success());
}

/// Who waits at a terminal for a store that does not come presses Ctrl-C.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_store_can_be_told_to_stop() {
    let mut server = Server::new(&[]);
    let url = server.database("souk").await;
    let home = home();
    let killed = launch(&home, &url).start().kill();
    for waits_for in ["watching whether a node is alive", "waiting for the store"] {
        let souk = killed.begin();
        while !killed.log().contains(waits_for) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = souk.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(
            ended.log.lines().last().unwrap_or_default().contains("told to stop before it served"),
            "{}",
            ended.log
        );
        server.stop();
    }
}

/// Nobody's right to serve goes by the calendar.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_moves_no_lease() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let (first_home, second_home) = (home(), home());
    let clock = Clock::new(first_home.path());
    let launching =
        clock.environment().into_iter().fold(launch(&first_home, &url), |on, (name, value)| on.env(name, value));
    let mut first = launching.start();
    let shoppers = Shoppers::start(&first.url, 2).await;
    const HOURS_S: i64 = 3_600;
    for ahead_s in [6 * HOURS_S, -6 * HOURS_S, 0] {
        clock.set(ahead_s);
        shoppers.get(20).await;
        let Err(second) = launch(&second_home, &url).try_start() else { panic!("the first one lives") };
        assert!(second.log.contains("the store is in use by node"), "{}", second.log);
        assert!(first.is_running());
    }
    let answer = reqwest::get(format!("{}/livez", first.url)).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(shoppers.have_all().await.len(), 0, "nothing was refused");
    assert!(first.stop().status.success());
}

/// It cannot write what is asked of it, nor leave the list, and ends all the same: in the time that its supervisors
/// are told to give it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_stopped_while_its_server_hangs() {
    let server = Server::new(&[]);
    let url = server.database("souk").await;
    let home = home();
    let souk = launch(&home, &url).start();
    let cart = Cart::new(&souk.url).await;
    server.freeze();
    let address = souk.url.clone();
    let asked = tokio::spawn(async move { cart.add(&address).await });
    tokio::time::sleep(Duration::from_millis(500)).await; // it is on its way, for what can be seen from here
    let told = Instant::now();
    let ended = tokio::task::spawn_blocking(move || souk.stop()).await.expect("it ends");
    println!("stopped after {:?}: {}", told.elapsed(), ended.status);
    assert!(told.elapsed() < Duration::from_secs(45), "{}", ended.log);
    if let Some((status, body)) = asked.await.expect("a task") {
        assert_eq!(status, 503, "{body}");
    }
    server.thaw();
}
