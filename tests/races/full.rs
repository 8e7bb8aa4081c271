//! Full queues: what cannot be taken is refused at once with a 503 and `Retry-After`, is not remembered, and is done
//! when the client comes again, and leaves nothing behind. (How fast all of that is, `scripts/bench overload`
//! measures.) And deadlines: a request that was taken and is not through is `request_in_progress`.

use std::cell::Cell;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::crowd::{UNHURRIED, alone, answered, at_once, cart, decided_within, for_good, prepare, quantity, text};
use crate::support::{Shop, Told, count_in, gbp, unique};

/// The most requests that are worked on at once, the fewest that may be configured.
const WORKED_ON: usize = 256;

fn is_shed(told: &Told) {
    told.is_problem(503, "overloaded");
    assert_eq!(told.body["retryable"], true);
    assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
}

/// A metric without labels.
async fn metric(shop: &Shop, name: &str) -> usize {
    let metrics = shop.get("/metrics").send().await;
    let text = metrics.is(200).body.as_str().expect("text");
    count_in(text, name).unwrap_or_else(|| panic!("no {name} in {text}")) as usize
}

async fn until(shop: &Shop, name: &str, holds: impl Fn(usize) -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let value = metric(shop, name).await;
        if holds(value) {
            return;
        }
        assert!(Instant::now() < until, "{name} stays {value}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A provider that never answers keeps completions waiting: as many as are worked on, few of whom may wait beside
/// them. Everybody else is served as if they were not there, and they are told of their orders.
#[tokio::test]
async fn who_waits_for_a_provider_keeps_nobody_out() {
    const MAY_WAIT: usize = 16;
    // Orders get placed, and whoever is let in is served, however slow the machine is just now.
    let settings = [
        ("SOUK_HTTP__REQUEST_DEADLINE_MS", "25000"),
        ("SOUK_HTTP__WAITING_MAX", "16"),
        ("SOUK_COMPLETE__DEADLINE_MS", "20000"),
        ("SOUK_PAYMENT__TIMEOUT_MS", "40000"),
    ];
    let shop = Shop::at_one_node(&[UNHURRIED, &settings].concat()).await; // each has places of its own
    let sku = shop.sku(100, 1_000).await;
    let carts = prepare(WORKED_ON, async |_| shop.ready_cart(&sku, 1).await).await;
    let late = shop.guest_cart().await;
    let lines = format!("{}/lines", late.path());
    let keys: Vec<String> = (0..WORKED_ON).map(|_| unique("hold")).collect();
    let add = async || {
        let line = json!({"sku": sku, "quantity": 1});
        shop.post(&lines, line).cart_token(&late.token).send().await
    };
    let holding = hold(&shop, &carts, &keys);
    let meanwhile = async {
        until(&shop, "souk_http_running", |running| running > WORKED_ON).await;
        until(&shop, "souk_http_parked", |parked| parked == MAY_WAIT).await;
        for _ in 0..8 {
            for told in at_once(&shop, 64, async |_| add().await).await {
                told.is(200);
            }
        }
        let gave_way = metric(&shop, "souk_http_gave_way").await;
        assert!((1..=WORKED_ON - MAY_WAIT).contains(&gave_way), "{gave_way} made room");
    };
    let (held, ()) = tokio::join!(holding, meanwhile);
    for told in &held {
        let order = &told.is(202).body;
        assert_eq!(order["status"], "pending");
        assert_eq!(told.header("location"), format!("/v1/orders/{}", text(order, "id")));
        shop.get(told.header("location")).order_token(order).send().await.is(200);
    }
    assert_eq!(quantity(&cart(&shop, &late).await, &sku), 8 * 64);
    assert_eq!(shop.counts(&sku).await.1, WORKED_ON as u64, "each pending order holds its piece");
}

/// Completions that nobody decides for the time being.
async fn hold(shop: &Shop, carts: &[crate::support::GuestCart], keys: &[String]) -> Vec<Told> {
    let one = |n: usize| answered(async move || shop.pay(&carts[n], "tok_timeout", &keys[n]).await);
    futures::future::join_all((0..carts.len()).map(one)).await
}

/// Who comes when as many are worked on as may be, and nobody may queue, is refused at once.
#[tokio::test]
async fn beyond_what_may_be_worked_on_requests_are_refused_at_once_and_not_remembered() {
    // Who is let in is served, however slow the machine is just now: nobody is given up for those who come after him,
    // though all of them are one caller.
    let settings = [
        ("SOUK_HTTP__QUEUE_MAX", "0"),
        ("SOUK_HTTP__REQUEST_DEADLINE_MS", "25000"),
        ("SOUK_HTTP__WAITING_MAX", "2048"),
        ("SOUK_HTTP__WAITING_PER_CALLER_MAX", "2048"),
    ];
    let shop = alone(&settings).await;
    let before = shop.server.memory_bytes();
    let (mut shed, mut rounds) = (0, 0);
    let unexplained = Cell::new(0);
    while shed == 0 {
        rounds += 1;
        assert!(rounds <= 100, "{rounds} crowds and nobody was refused");
        let keys: Vec<String> = (0..4 * WORKED_ON).map(|_| unique("0123456789-0123456789-open")).collect();
        let answers = at_once(&shop, keys.len(), async |n| {
            let open = async || shop.post("/v1/carts", json!({})).key(&keys[n]).send().await;
            let first = open().await;
            if first.status != 503 {
                first.is(201);
                return false;
            }
            is_shed(&first);
            // One that was let in meanwhile and has not been answered may be done, and is found then.
            let may_be_done = Cell::new(false);
            let again = async || {
                let told = open().await;
                may_be_done.set(may_be_done.get() || (told.status != 201 && told.body["code"] != "overloaded"));
                told
            };
            let done = for_good(again).await;
            unexplained.set(unexplained.get() + u64::from(done.is(201).is_replayed() && !may_be_done.get()));
            true
        })
        .await;
        shed += answers.iter().filter(|shed| **shed).count();
        assert!(answers.iter().filter(|shed| !**shed).count() >= WORKED_ON, "who is let in is served");
    }
    // A node that has lost an answer asks again by itself, and gets what it has done as a repeat.
    let asked_again = shop.sum_of(r#"souk_requests_repeated{after="unknown"}"#).await;
    let remembered = unexplained.get();
    assert!(remembered <= asked_again, "who is refused is not remembered: {remembered} were, of {asked_again}");
    let grown = shop.server.memory_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{shed} refusals left {grown} bytes");
    shop.get("/readyz").send().await.is(200);
}

/// The queue of a slot and the journal's memory as small as they may be, and everybody wants the same cart.
#[tokio::test]
async fn a_hot_entity_refuses_what_it_cannot_queue_and_loses_nothing() {
    let settings = [("SOUK_SLOTS__MAILBOX_MAX", "16"), ("SOUK_STORE__SLOTS", "1")];
    let shop = alone(&settings).await;
    let sku = shop.sku(10, 10).await;
    let basket = shop.guest_cart().await;
    let lines = format!("{}/lines", basket.path());
    const CROWDS_MAX: usize = 100;
    let mut shed = 0;
    // A store that is fast empties the queue as it fills: the crowds come until it was full once.
    for (crowds, clients) in [64, 256].into_iter().chain([256; CROWDS_MAX]).enumerate() {
        if crowds >= 2 && shed > 0 {
            break;
        }
        let before = quantity(&cart(&shop, &basket).await, &sku);
        let keys: Vec<String> = (0..clients).map(|_| unique("hot")).collect();
        let answers = at_once(&shop, clients, async |n| {
            let add = async || {
                let line = json!({"sku": sku, "quantity": 1});
                shop.post(&lines, line).cart_token(&basket.token).key(&keys[n]).send().await
            };
            let first = add().await;
            if first.status != 503 {
                return (0, first);
            }
            // At a machine that is busy with other things a request may run out of its time too.
            let full = first.body["code"] == "overloaded";
            if full {
                is_shed(&first);
            }
            (usize::from(full), for_good(add).await)
        })
        .await;
        shed += answers.iter().map(|(shed, _)| shed).sum::<usize>();
        assert!(answers.iter().all(|(_, told)| told.status == 200));
        assert_eq!(quantity(&cart(&shop, &basket).await, &sku), before + clients as u64, "each once");
    }
    assert!(shed > 0, "the queue was never full");
}

/// A change that outlasts its request's deadline goes on; whoever asks meanwhile is told so, and in the end gets the
/// answer. The deadline is as short as it may be and long enough that a repeat can be answered: how long that is depends
/// on how busy the machine is.
#[tokio::test]
async fn a_request_that_is_taken_but_not_through_at_its_deadline_is_in_progress() {
    const DEADLINES_MS: [u64; 5] = [30, 60, 120, 300, 1_000];
    for deadline in DEADLINES_MS {
        if outlasted(deadline).await {
            return;
        }
    }
    panic!("no product took longer than its deadline and was there in the end, with deadlines of {DEADLINES_MS:?} ms");
}

/// Whether a creation took longer than such a deadline, and was answered afterwards.
async fn outlasted(deadline_ms: u64) -> bool {
    const TRIES: usize = 60;
    let deadline = deadline_ms.to_string();
    let settings = [
        ("SOUK_HTTP__REQUEST_DEADLINE_MS", deadline.as_str()),
        ("SOUK_AUTH__ARGON2__MEMORY_KIB", "64"),
        ("SOUK_AUTH__ARGON2__ITERATIONS", "1"),
    ];
    let patience = Duration::from_secs(20);
    let shop = alone(&settings).await;
    let log_in = async || shop.log_in("admin@example.com", "correct horse battery").await;
    let Some(admin) = decided_within(patience, log_in).await else { return false };
    let admin = admin.is(200).body.clone();
    for _ in 0..TRIES {
        let variants: Vec<_> =
            (0..100).map(|_| json!({"sku": unique("SLOW"), "price": gbp(10), "options": {}})).collect();
        let body = json!({"title": unique("A big product"), "status": "published", "variants": variants});
        let key = unique("slow");
        let create = async || shop.post("/v1/admin/products", body.clone()).by(&admin).key(&key).send().await;
        let first = create().await;
        let Some(done) = decided_within(patience, create).await else { return false };
        assert_eq!(done.is(201).body["variants"].as_array().map(Vec::len), Some(100));
        if first.status == 409 {
            first.is_problem(409, "request_in_progress");
            assert_eq!(first.body["retryable"], true);
            assert!(!first.header("retry-after").is_empty());
            assert!(done.is_replayed());
            let title = text(&done.body, "title").to_owned();
            let slug = format!("/v1/admin/products/{}", text(&done.body, "slug"));
            let found = decided_within(patience, async || shop.get(&slug).by(&admin).send().await).await;
            let Some(found) = found else { return false };
            assert_eq!(found.is(200).body["title"], title.as_str());
            return true;
        }
        assert!(first.status == 201 || first.status == 503, "{}", first.body);
    }
    false
}
