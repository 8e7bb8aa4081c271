//! One cart completed many times at once, and changed while it is completed: one order, with exactly what was
//! acknowledged before.

use std::collections::BTreeSet;

use serde_json::json;

use crate::crowd::{
    CROWDS, Pieces, alone, at_once, cart, charged, count, for_good, order, pieces, quantity, state_of, text,
};
use crate::support::unique;

#[tokio::test]
async fn a_cart_completed_under_many_keys_becomes_one_order() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(100, 1_000).await;
        let basket = shop.ready_cart(&sku, 2).await;
        let keys: Vec<String> = (0..clients).map(|_| unique("many")).collect();
        let answers =
            at_once(&shop, clients, async |n| for_good(async || shop.pay(&basket, "tok_ok", &keys[n]).await).await)
                .await;
        assert_eq!(count(&answers, 201), 1, "one of {clients} keys makes the order");
        let mut orders = BTreeSet::new();
        for told in &answers {
            let named = match told.status.as_u16() {
                200 | 201 => text(&told.body, "id"),
                _ => text(&told.is_problem(409, "completion_in_progress").body, "order_id"),
            };
            orders.insert(named.to_owned());
        }
        assert_eq!(orders.len(), 1, "all of them name the same order");
        let only = order(&shop, &orders.pop_first().expect("one")).await;
        assert_eq!((&only["status"], charged(&shop, &only).await), (&json!("confirmed"), (200, 0)));
        assert_eq!(pieces(&shop, &sku).await, Pieces { on_hand: 998, sold: 2, returned: 0 });
        assert_eq!(cart(&shop, &basket).await["order_id"], only["id"]);
    }
}

#[tokio::test]
async fn a_cart_completed_under_one_key_becomes_one_order_and_everybody_gets_it() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(100, 1_000).await;
        let basket = shop.ready_cart(&sku, 2).await;
        let key = unique("same");
        let answers =
            at_once(&shop, clients, async |_| for_good(async || shop.pay(&basket, "tok_ok", &key).await).await).await;
        assert_eq!(count(&answers, 201), clients);
        assert!(answers.iter().filter(|told| !told.is_replayed()).count() <= 1, "one is the first");
        assert!(answers.iter().all(|told| told.body == answers[0].body), "all are told the same");
        assert_eq!(charged(&shop, &answers[0].body).await, (200, 0));
        assert_eq!(pieces(&shop, &sku).await, Pieces { on_hand: 998, sold: 2, returned: 0 });
    }
}

#[tokio::test]
async fn what_was_added_before_the_completion_is_in_the_order_and_nothing_else() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let (kept, late) = (shop.sku(100, 1_000).await, shop.sku(7, 1_000).await);
        let basket = shop.ready_cart(&kept, 1).await;
        let keys: Vec<String> = (0..clients).map(|_| unique("add")).collect();
        let lines = format!("{}/lines", basket.path());
        let answers = at_once(&shop, clients, async |n| {
            if n == clients / 2 {
                return for_good(async || shop.pay(&basket, "tok_ok", &keys[n]).await).await;
            }
            for_good(async || {
                let line = json!({"sku": late, "quantity": 1});
                shop.post(&lines, line).cart_token(&basket.token).key(&keys[n]).send().await
            })
            .await
        })
        .await;
        let bought = answers[clients / 2].is(201).body.clone();
        let refused = answers.iter().filter(|told| told.status == 409);
        for told in refused.clone() {
            let code = told.body["code"].as_str().unwrap_or_default();
            assert!(["completion_in_progress", "cart_closed"].contains(&code), "{}", told.body);
        }
        let added = count(&answers, 200);
        assert_eq!(added + refused.count() + 1, clients);
        assert_eq!((quantity(&bought, &kept), quantity(&bought, &late)), (1, added as u64), "{clients} clients");
        assert_eq!(quantity(&cart(&shop, &basket).await, &late), added as u64);
        assert_eq!(charged(&shop, &bought).await, (100 + 7 * added as i64, 0));
        assert_eq!(pieces(&shop, &late).await.sold, added as i64);
    }
}

/// A declined payment opens the cart again while others still try to complete it: still at most one order is paid.
#[tokio::test]
async fn a_cart_completed_with_good_and_bad_cards_is_paid_once() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(100, 1_000).await;
        let basket = shop.ready_cart(&sku, 1).await;
        let keys: Vec<String> = (0..clients).map(|_| unique("cards")).collect();
        let answers = at_once(&shop, clients, async |n| {
            let card = if n % 2 == 0 { "tok_declined" } else { "tok_ok" };
            for_good(async || shop.pay(&basket, card, &keys[n]).await).await
        })
        .await;
        let mut tried = BTreeSet::new();
        for (n, told) in answers.iter().enumerate() {
            match told.status.as_u16() {
                201 => assert_eq!(n % 2, 1, "a declined card buys nothing"),
                402 => assert_eq!(told.is_problem(402, "payment_failed").status, 402),
                200 => {}
                _ => assert_eq!(told.is_problem(409, "completion_in_progress").status, 409),
            }
            let member = if told.status.is_success() { "id" } else { "order_id" };
            tried.insert(text(&told.body, member).to_owned());
        }
        let (mut paid, mut taken) = (0, 0);
        for id in &tried {
            let one = order(&shop, id).await;
            taken += charged(&shop, &one).await.0;
            paid += usize::from(one["status"] == "confirmed");
        }
        assert_eq!(paid, count(&answers, 201), "who confirmed an order was told so");
        assert!(paid <= 1 && taken == 100 * paid as i64, "{paid} orders, {taken} taken");
        assert_eq!(pieces(&shop, &sku).await, Pieces { on_hand: 1_000 - paid as i64, sold: paid as i64, returned: 0 });
        let now = state_of(&shop, "cart", &basket.id).await;
        assert_eq!(now["status"], if paid == 1 { "completed" } else { "open" });
    }
}
