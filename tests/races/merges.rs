//! Merges at once: lines are neither lost nor doubled, and nobody hangs.

use serde_json::{Value, json};

use crate::crowd::{CROWDS, alone, at_once, cart, count, for_good, prepare, quantity};
use crate::support::{GuestCart, Shop, Told, unique};

/// Merges under one key until the outcome is known.
async fn merge(shop: &Shop, into: &GuestCart, from: &GuestCart, key: &str) -> Told {
    let body = json!({"from_cart_id": from.id, "from_token": from.token, "strategy": "sum"});
    let path = format!("{}/merge", into.path());
    for_good(async || shop.post(&path, body.clone()).cart_token(&into.token).key(key).send().await).await
}

async fn cart_with(shop: &Shop, lines: &[(&str, u64)]) -> GuestCart {
    let cart = shop.guest_cart().await;
    for (sku, quantity) in lines {
        shop.add(&cart, sku, *quantity).await.is(200);
    }
    cart
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|_| unique("merge")).collect()
}

#[tokio::test]
async fn many_carts_into_one_bring_every_line_once() {
    let shop = alone(&[]).await;
    let own = prepare(8, async |_| shop.sku(10, 10).await).await;
    let shared = shop.sku(10, 10).await;
    for clients in CROWDS {
        let target = cart_with(&shop, &[(&shared, 1)]).await;
        let sources = prepare(clients, async |n| cart_with(&shop, &[(&shared, 1), (&own[n % 8], 2)]).await).await;
        let keys = keys(clients);
        let answers = at_once(&shop, clients, async |n| merge(&shop, &target, &sources[n], &keys[n]).await).await;
        assert_eq!(count(&answers, 200), clients, "every merge finds its turn");
        let merged = cart(&shop, &target).await;
        assert_eq!(quantity(&merged, &shared), 1 + clients as u64);
        for (n, sku) in own.iter().enumerate() {
            let brought = (0..clients).filter(|client| client % 8 == n).count() as u64;
            assert_eq!(quantity(&merged, sku), 2 * brought, "{clients} carts");
        }
        for source in &sources {
            assert_eq!(cart(&shop, source).await["status"], "merged");
        }
    }
}

#[tokio::test]
async fn one_cart_into_many_goes_into_one_of_them() {
    let shop = alone(&[]).await;
    let sku = shop.sku(10, 10).await;
    for clients in CROWDS {
        let source = cart_with(&shop, &[(&sku, 5)]).await;
        let targets = prepare(clients, async |_| cart_with(&shop, &[(&sku, 1)]).await).await;
        let keys = keys(clients);
        let answers = at_once(&shop, clients, async |n| merge(&shop, &targets[n], &source, &keys[n]).await).await;
        assert_eq!(count(&answers, 200), 1, "{clients} targets");
        for (target, told) in targets.iter().zip(&answers) {
            let now = cart(&shop, target).await;
            let got = if told.status == 200 { 6 } else { 1 };
            assert_eq!((quantity(&now, &sku), &now["status"]), (got, &json!("open")));
            if told.status != 200 {
                told.is_problem(409, "merge_not_possible");
            }
        }
        assert_eq!(cart(&shop, &source).await["status"], "merged");
    }
}

/// Each of two carts is to take the other's lines. One of them does: that both are busy for a moment is no outcome.
#[tokio::test]
async fn two_carts_into_each_other_keep_every_line_and_come_to_an_end() {
    let shop = alone(&[]).await;
    let sku = shop.sku(10, 10).await;
    for clients in CROWDS {
        let carts = prepare(clients, async |n| cart_with(&shop, &[(&sku, 1 + 10 * (n as u64 % 2))]).await).await;
        let keys = keys(clients);
        let answers = at_once(&shop, clients, async |n| merge(&shop, &carts[n], &carts[n ^ 1], &keys[n]).await).await;
        for pair in (0..clients).step_by(2) {
            let [first, second] = [cart(&shop, &carts[pair]).await, cart(&shop, &carts[pair + 1]).await];
            let statuses = [answers[pair].status.as_u16(), answers[pair + 1].status.as_u16()];
            let expected: [(u64, Value); 2] = match statuses {
                [200, 409] => [(12, "open".into()), (11, "merged".into())],
                [409, 200] => [(1, "merged".into()), (12, "open".into())],
                other => panic!("{other:?}: {} {}", answers[pair].body, answers[pair + 1].body),
            };
            let found = [&first, &second].map(|cart| (cart["status"].clone(), cart));
            for ((pieces, status), (now, cart)) in expected.iter().zip(&found) {
                assert_eq!(now, status, "{cart}");
                // What a merged cart still shows is history; what counts is what is open.
                if status == "open" {
                    assert_eq!(quantity(cart, &sku), *pieces, "{cart}");
                }
            }
        }
        let again = prepare(clients, async |n| merge(&shop, &carts[n], &carts[n ^ 1], &keys[n]).await).await;
        for (first, again) in answers.iter().zip(&again) {
            again.repeats(first);
        }
    }
}

/// Repeats come while their merge runs and while later ones run: each is told how its own merge ended.
#[tokio::test]
async fn repeats_of_merges_at_once_are_told_of_their_own_merge() {
    let shop = alone(&[]).await;
    let sku = shop.sku(10, 10).await;
    for clients in CROWDS {
        let target = cart_with(&shop, &[(&sku, 1)]).await;
        // Every other source is no longer open, so its merge is refused for good.
        let sources = prepare(clients / 2, async |n| {
            let source = cart_with(&shop, &[(&sku, 1)]).await;
            if n % 2 == 1 {
                let elsewhere = cart_with(&shop, &[]).await;
                merge(&shop, &elsewhere, &source, &unique("merge")).await.is(200);
            }
            source
        })
        .await;
        let keys = keys(clients / 2);
        let merge = async |n: usize| merge(&shop, &target, &sources[n / 2], &keys[n / 2]).await;
        let answers = at_once(&shop, clients, merge).await;
        for (n, told) in answers.iter().enumerate() {
            if n / 2 % 2 == 1 {
                told.is_problem(409, "merge_not_possible");
            }
            assert_eq!((told.status, &told.body["lines"]), (answers[n ^ 1].status, &answers[n ^ 1].body["lines"]));
        }
        assert_eq!(quantity(&cart(&shop, &target).await, &sku), 1 + clients.div_ceil(4) as u64);
    }
}

#[tokio::test]
async fn what_is_added_to_a_cart_while_it_is_merged_is_nowhere_lost() {
    let shop = alone(&[]).await;
    let sku = shop.sku(10, 10).await;
    for clients in CROWDS {
        let (target, source) = (cart_with(&shop, &[]).await, cart_with(&shop, &[(&sku, 1)]).await);
        let keys = keys(clients);
        let lines = format!("{}/lines", source.path());
        let answers = at_once(&shop, clients, async |n| {
            if n == clients / 2 {
                merge(&shop, &target, &source, &keys[n]).await
            } else {
                let line = json!({"sku": sku, "quantity": 1});
                for_good(async || shop.post(&lines, line.clone()).cart_token(&source.token).key(&keys[n]).send().await)
                    .await
            }
        })
        .await;
        answers[clients / 2].is(200);
        for told in answers.iter().filter(|told| told.status != 200) {
            told.is_problem(409, "cart_closed");
        }
        let added = count(&answers, 200) as u64 - 1;
        assert_eq!(quantity(&cart(&shop, &target).await, &sku), 1 + added, "{clients} clients");
    }
}
