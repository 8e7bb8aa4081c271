//! The same idempotency key at once: one effect, and everybody is told the same. With another body under the same key
//! one body is carried out, and the others are refused.

use serde_json::{Value, json};

use crate::crowd::{CROWDS, alone, at_once, cart, charged, count, for_good, order, pieces, quantity, text};
use crate::support::{Told, unique};

/// Everybody was told the same, and at most one of them as the first.
fn are_one(answers: &[Told], status: u16) {
    assert_eq!(
        count(answers, status),
        answers.len(),
        "{:?}",
        answers.iter().map(|told| told.status).collect::<Vec<_>>()
    );
    assert!(answers.iter().filter(|told| !told.is_replayed()).count() <= 1, "one is the first");
    let differs = answers.iter().find(|told| told.body != answers[0].body);
    assert!(differs.is_none(), "{} and {}", answers[0].body, differs.map_or(&Value::Null, |told| &told.body));
}

#[tokio::test]
async fn a_create_under_one_key_creates_once() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let (ada, key) = (shop.customer().await, unique("create"));
        let open = async |_| for_good(async || shop.post("/v1/carts", json!({})).by(&ada).key(&key).send().await).await;
        are_one(&at_once(&shop, clients, open).await, 201);
        let admin = shop.admin().await;
        let body = json!({"title": format!("Once {clients}"), "status": "published",
                          "variants": [{"sku": unique("ONCE"), "price": {"amount": 1, "currency": "GBP"}}]});
        let key = unique("product");
        let make = async |_| {
            for_good(async || shop.post("/v1/admin/products", body.clone()).by(&admin).key(&key).send().await).await
        };
        are_one(&at_once(&shop, clients, make).await, 201);
    }
}

#[tokio::test]
async fn a_change_under_one_key_is_made_once() {
    let shop = alone(&[]).await;
    let admin = shop.admin().await;
    for clients in CROWDS {
        let sku = shop.sku(100, 50).await;
        let (basket, key) = (shop.guest_cart().await, unique("line"));
        let lines = format!("{}/lines", basket.path());
        let add = async |_| {
            let line = json!({"sku": sku, "quantity": 3});
            for_good(async || shop.post(&lines, line.clone()).cart_token(&basket.token).key(&key).send().await).await
        };
        are_one(&at_once(&shop, clients, add).await, 200);
        assert_eq!(quantity(&cart(&shop, &basket).await, &sku), 3);

        let (path, key) = (format!("/v1/admin/inventory/{sku}/adjust"), unique("adjust"));
        let body = json!({"delta": 7, "reason": "found"});
        let adjust =
            async |_| for_good(async || shop.post(&path, body.clone()).by(&admin).key(&key).send().await).await;
        are_one(&at_once(&shop, clients, adjust).await, 200);
        assert_eq!(pieces(&shop, &sku).await.on_hand, 57);

        let bought = shop.order(&sku, 5).await;
        let (path, key) = (format!("/v1/admin/orders/{}/refund", text(&bought, "id")), unique("refund"));
        let body = json!({"reason": "one of five", "amount": {"amount": 100, "currency": "GBP"}});
        let refund =
            async |_| for_good(async || shop.post(&path, body.clone()).by(&admin).key(&key).send().await).await;
        are_one(&at_once(&shop, clients, refund).await, 200);
        let after = order(&shop, text(&bought, "id")).await;
        assert_eq!(charged(&shop, &after).await, (500, 100), "{after}");
    }
}

#[tokio::test]
async fn of_different_bodies_under_one_key_one_is_carried_out() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(100, 1_000).await;
        let (basket, key) = (shop.guest_cart().await, unique("bodies"));
        let lines = format!("{}/lines", basket.path());
        // Two clients send each body.
        let pieces_of = |n: usize| 1 + n as u64 / 2;
        let answers = at_once(&shop, clients, async |n| {
            let line = json!({"sku": sku, "quantity": pieces_of(n)});
            for_good(async || shop.post(&lines, line.clone()).cart_token(&basket.token).key(&key).send().await).await
        })
        .await;
        let in_cart = quantity(&cart(&shop, &basket).await, &sku);
        for (n, told) in answers.iter().enumerate() {
            if pieces_of(n) == in_cart {
                assert_eq!(quantity(&told.is(200).body, &sku), in_cart);
            } else {
                told.is_problem(422, "idempotency_key_reused");
            }
        }
        assert_eq!(count(&answers, 200), 2, "the pair of clients whose body it was");
    }
}
