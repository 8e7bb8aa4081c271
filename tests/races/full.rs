//! Full queues: what cannot be taken is refused at once with a 503 and `Retry-After`, is not remembered, and is done
//! when the client comes again, and leaves nothing behind. (How fast all of that is, `scripts/bench overload`
//! measures.) And deadlines: a request that was taken and is not through is `request_in_progress`.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::crowd::{at_once, cart, count, for_good, prepare, quantity, text};
use crate::support::{Shop, Told, gbp, unique};

/// The most requests that are worked on at once, the fewest that may be configured.
const WORKED_ON: usize = 256;
/// Requests beyond them.
const BEYOND: usize = 1_024;

fn is_shed(told: &Told) {
    told.is_problem(503, "overloaded");
    assert_eq!(told.body["retryable"], true);
    assert!(told.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
}

/// How many requests the server works on; this one is among them.
async fn running(shop: &Shop) -> usize {
    let metrics = shop.get("/metrics").send().await;
    let text = metrics.is(200).body.as_str().expect("text").to_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("souk_http_running "));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no gauge of running requests in {text}"))
}

#[tokio::test]
async fn beyond_what_may_be_worked_on_requests_are_refused_at_once_and_not_remembered() {
    let settings = [
        ("SOUK_HTTP__CONCURRENCY_MAX", "256"),
        ("SOUK_HTTP__QUEUE_MAX", "0"),
        ("SOUK_COMPLETE__DEADLINE_MS", "9000"),
        ("SOUK_PAYMENT__TIMEOUT_MS", "20000"),
    ];
    let shop = Shop::alone(&settings).await;
    let sku = shop.sku(100, 1_000).await;
    let carts = prepare(WORKED_ON, async |_| shop.ready_cart(&sku, 1).await).await;
    let late = shop.guest_cart().await;
    let lines = format!("{}/lines", late.path());
    let keys: Vec<String> = (0..WORKED_ON).map(|_| unique("hold")).collect();
    let key = unique("late");
    let add = async || {
        let line = json!({"sku": sku, "quantity": 1});
        shop.post(&lines, line).cart_token(&late.token).key(&key).send().await
    };
    // A provider that never answers keeps a completion waiting until its deadline.
    let holding = hold(&shop, &carts, &keys);
    let meanwhile = async {
        let until = Instant::now() + Duration::from_secs(8);
        while running(&shop).await <= WORKED_ON {
            assert!(Instant::now() < until, "the permits are never all taken");
            sleep(Duration::from_millis(20)).await;
        }
        let refused = add().await;
        is_shed(&refused);
        let before = shop.server.process.memory_bytes();
        for _ in 0..BEYOND / 64 {
            let refused = at_once(&shop, 64, async |_| add().await).await;
            refused.iter().for_each(is_shed);
        }
        let grown = shop.server.process.memory_bytes().saturating_sub(before);
        assert!(grown < 64 << 20, "{BEYOND} refusals left {grown} bytes");
        shop.get("/livez").send().await.is(200);
        shop.get("/readyz").send().await.is(200);
    };
    let (held, ()) = tokio::join!(holding, meanwhile);
    assert_eq!(count(&held, 202), WORKED_ON, "who was let in is served");
    let done = for_good(async || add().await).await;
    assert!(!done.is(200).is_replayed(), "a 503 is not remembered");
    assert_eq!(quantity(&cart(&shop, &late).await, &sku), 1);
}

/// Completions that nobody decides for the time being.
async fn hold(shop: &Shop, carts: &[crate::support::GuestCart], keys: &[String]) -> Vec<Told> {
    let one = |n: usize| async move { shop.pay(&carts[n], "tok_timeout", &keys[n]).await };
    futures::future::join_all((0..carts.len()).map(one)).await
}

/// The queue of a slot and the journal's memory as small as they may be, and everybody wants the same cart.
#[tokio::test]
async fn a_hot_entity_refuses_what_it_cannot_queue_and_loses_nothing() {
    let settings = [("SOUK_SLOTS__MAILBOX_MAX", "16"), ("SOUK_STORE__SLOTS", "1")];
    let shop = Shop::alone(&settings).await;
    let sku = shop.sku(10, 10).await;
    let basket = shop.guest_cart().await;
    let lines = format!("{}/lines", basket.path());
    let mut shed = 0;
    for clients in [64, 256] {
        let before = quantity(&cart(&shop, &basket).await, &sku);
        let keys: Vec<String> = (0..clients).map(|_| unique("hot")).collect();
        let answers = at_once(&shop, clients, async |n| {
            let add = async || {
                let line = json!({"sku": sku, "quantity": 1});
                shop.post(&lines, line).cart_token(&basket.token).key(&keys[n]).send().await
            };
            let first = add().await;
            if first.status == 503 {
                is_shed(&first);
                (1, for_good(add).await)
            } else {
                (0, first)
            }
        })
        .await;
        shed += answers.iter().map(|(shed, _)| shed).sum::<usize>();
        assert!(answers.iter().all(|(_, told)| told.status == 200));
        assert_eq!(quantity(&cart(&shop, &basket).await, &sku), before + clients as u64, "each once");
    }
    assert!(shed > 0, "the queue was never full");
}

/// A change that outlasts its request's deadline goes on; whoever asks meanwhile is told so, and in the end gets the
/// answer.
#[tokio::test]
async fn a_request_that_is_taken_but_not_through_at_its_deadline_is_in_progress() {
    const TRIES: usize = 60;
    let settings = [
        ("SOUK_HTTP__REQUEST_DEADLINE_MS", "30"),
        ("SOUK_AUTH__ARGON2__MEMORY_KIB", "64"),
        ("SOUK_AUTH__ARGON2__ITERATIONS", "1"),
    ];
    let shop = Shop::alone(&settings).await;
    let (email, password) = ("admin@example.com", "correct horse battery");
    let admin = for_good(async || shop.log_in(email, password).await).await.is(200).body.clone();
    for _ in 0..TRIES {
        let variants: Vec<_> =
            (0..100).map(|_| json!({"sku": unique("SLOW"), "price": gbp(10), "options": {}})).collect();
        let body = json!({"title": unique("A big product"), "status": "published", "variants": variants});
        let key = unique("slow");
        let create = async || shop.post("/v1/admin/products", body.clone()).by(&admin).key(&key).send().await;
        let first = create().await;
        let done = for_good(create).await;
        assert_eq!(done.is(201).body["variants"].as_array().map(Vec::len), Some(100));
        if first.status == 409 {
            first.is_problem(409, "request_in_progress");
            assert_eq!(first.body["retryable"], true);
            assert!(!first.header("retry-after").is_empty());
            assert!(done.is_replayed());
            let title = text(&done.body, "title").to_owned();
            let slug = format!("/v1/admin/products/{}", text(&done.body, "slug"));
            let found = for_good(async || shop.get(&slug).by(&admin).send().await).await;
            assert_eq!(found.is(200).body["title"], title.as_str());
            return;
        }
        assert!(first.status == 201 || first.status == 503, "{}", first.body);
    }
    panic!("no product took longer than its deadline in {TRIES} tries");
}
