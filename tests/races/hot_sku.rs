//! A SKU that stands in every order, together with others and in any order: nobody waits for ever, and all that fit
//! are confirmed. Orders that compete for the same last units do not all fail for that reason.

use serde_json::json;

use crate::crowd::{CROWDS, Pieces, alone, at_once, count, for_good, pieces, prepare};
use crate::support::{ADDRESS, GuestCart, Shop, Told, unique};

/// A guest's cart with one piece of each SKU, added in this order.
async fn cart_with(shop: &Shop, skus: &[&str]) -> GuestCart {
    let cart = shop.guest_cart().await;
    for sku in skus {
        shop.add(&cart, sku, 1).await.is(200);
    }
    let contact = json!({"email": "ada@example.com", "shipping_address": *ADDRESS});
    shop.put(&format!("{}/contact", cart.path()), contact).cart_token(&cart.token).send().await.is(200);
    cart
}

/// All carts are completed at once: 201, or refused for lack of stock.
async fn complete_all(shop: &Shop, carts: &[GuestCart]) -> Vec<Told> {
    let keys: Vec<String> = carts.iter().map(|_| unique("hot")).collect();
    let answers =
        at_once(shop, carts.len(), async |n| for_good(async || shop.pay(&carts[n], "tok_ok", &keys[n]).await).await)
            .await;
    for told in answers.iter().filter(|told| told.status != 201) {
        told.is_problem(409, "insufficient_stock");
    }
    answers
}

#[tokio::test]
async fn a_sku_in_every_order_holds_nobody_up() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        // Its name sorts in the middle, so that orders hold others when they get to it, and go on to more.
        let others = prepare(6, async |_| shop.sku(10, 10_000).await).await;
        for stock in [clients, clients / 2] {
            let hot = shop.sku(10, stock as u64).await;
            let carts = prepare(clients, async |n| {
                let other = |k: usize| others[(n + k) % others.len()].as_str();
                let mut skus = [other(0), other(2), other(3), hot.as_str()];
                skus.rotate_left(n % 4);
                cart_with(&shop, &skus).await
            })
            .await;
            let answers = complete_all(&shop, &carts).await;
            assert_eq!(count(&answers, 201), stock, "{clients} carts for {stock} units");
            assert_eq!(pieces(&shop, &hot).await, Pieces { on_hand: 0, sold: stock as i64, returned: 0 });
        }
        let mut sold = 0;
        for other in &others {
            sold += pieces(&shop, other).await.sold;
        }
        assert_eq!(sold, 3 * (clients + clients / 2) as i64, "what was not confirmed has taken nothing");
    }
}

#[tokio::test]
async fn orders_for_the_same_last_units_do_not_all_fail() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        // Two SKUs, half of the carts the other way round.
        let stock = clients / 2;
        let skus = prepare(2, async |_| shop.sku(10, stock as u64).await).await;
        let carts = prepare(clients, async |n| cart_with(&shop, &[&skus[n % 2], &skus[1 - n % 2]]).await).await;
        let answers = complete_all(&shop, &carts).await;
        assert_eq!(count(&answers, 201), stock, "{clients} carts for {stock} pairs");
        for sku in &skus {
            assert_eq!(pieces(&shop, sku).await, Pieces { on_hand: 0, sold: stock as i64, returned: 0 });
        }
        // A ring: each cart wants two of three SKUs with one unit each, so any two of them compete.
        let ring = prepare(3, async |_| shop.sku(10, 1).await).await;
        let carts = prepare(clients, async |n| cart_with(&shop, &[&ring[(n + 1) % 3], &ring[n % 3]]).await).await;
        let answers = complete_all(&shop, &carts).await;
        assert_eq!(count(&answers, 201), 1, "{clients} carts in a ring");
        let mut sold = 0;
        for sku in &ring {
            sold += pieces(&shop, sku).await.sold;
        }
        assert_eq!(sold, 2);
    }
}
