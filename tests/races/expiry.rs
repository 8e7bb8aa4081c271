//! Reservations that end while their orders are being paid: an order is confirmed, paid and has its stock, or it is
//! rejected and holds nothing. Nobody is charged without an order.

use serde_json::json;

use crate::crowd::{CROWDS, alone, at_once, charged, for_good, order, pieces, prepare, text};
use crate::support::{ADDRESS, GuestCart, Shop, Told, unique};

/// Stock is held hardly longer than the provider may take, and that is not long.
const HASTY: &[(&str, &str)] = &[("SOUK_PAYMENT__TIMEOUT_MS", "90"), ("SOUK_RESERVATION__TTL_MS", "91")];

async fn cart_with(shop: &Shop, skus: &[&str]) -> GuestCart {
    let cart = shop.guest_cart().await;
    for skus in skus.chunks(500) {
        let lines: Vec<_> = skus.iter().map(|sku| json!({"sku": sku, "quantity": 1})).collect();
        let add = shop.post(&format!("{}/lines", cart.path()), json!({"lines": lines}));
        add.cart_token(&cart.token).key(&unique("fill")).send().await.is(200);
    }
    let contact = json!({"email": "ada@example.com", "shipping_address": *ADDRESS});
    shop.put(&format!("{}/contact", cart.path()), contact).cart_token(&cart.token).send().await.is(200);
    cart
}

/// Asserts that an answered completion came to a whole order or to nothing; whether it was confirmed.
async fn whole_or_nothing(shop: &Shop, told: &Told, total: i64) -> bool {
    let confirmed = told.status == 201;
    let id = if confirmed { "id" } else { "order_id" };
    let after = order(shop, text(&told.body, id)).await;
    if confirmed {
        assert_eq!((&after["status"], &after["payment_status"]), (&json!("confirmed"), &json!("captured")));
        assert_eq!(charged(shop, &after).await, (total, 0));
    } else {
        let code = told.body["code"].as_str().unwrap_or_default();
        assert!(["reservation_expired", "payment_timeout", "insufficient_stock"].contains(&code), "{code}");
        assert_eq!((&after["status"], &after["rejection"]["code"]), (&json!("rejected"), &json!(code)));
        assert_eq!(charged(shop, &after).await, (0, 0), "charged without an order");
    }
    confirmed
}

#[tokio::test]
async fn an_order_whose_stock_expires_is_whole_or_nothing() {
    let shop = alone(HASTY).await;
    for clients in CROWDS {
        let skus = prepare(4, async |_| shop.sku(10, 2 * clients as u64).await).await;
        let carts = prepare(clients, async |n| {
            let wanted: Vec<&str> = skus.iter().take(1 + n % 4).map(String::as_str).collect();
            cart_with(&shop, &wanted).await
        })
        .await;
        let keys: Vec<String> = (0..clients).map(|_| unique("haste")).collect();
        let answers = at_once(&shop, clients, async |n| {
            // A provider that needs some tries takes about as long as the stock is held.
            let card = if n % 2 == 0 { "tok_ok" } else { "tok_flaky" };
            for_good(async || shop.pay(&carts[n], card, &keys[n]).await).await
        })
        .await;
        let mut sold = [0; 4];
        for (n, told) in answers.iter().enumerate() {
            if whole_or_nothing(&shop, told, 10 * (1 + n as i64 % 4)).await {
                sold.iter_mut().take(1 + n % 4).for_each(|sold| *sold += 1);
            }
        }
        for (sku, sold) in skus.iter().zip(sold) {
            let now = pieces(&shop, sku).await;
            assert_eq!(now.sold - now.returned, sold, "{clients} clients: sold is what was confirmed");
        }
    }
}

/// An order of many lines holds the first ones longer than they are held for it.
#[tokio::test]
async fn an_order_that_takes_too_long_is_told_that_its_reservation_expired() {
    const LINES: usize = 1_000;
    const TRIES: usize = 20;
    let shop = alone(HASTY).await;
    let skus = prepare(LINES, async |_| shop.sku(10, 10).await).await;
    let wanted: Vec<&str> = skus.iter().map(String::as_str).collect();
    let cart = cart_with(&shop, &wanted).await;
    for _ in 0..TRIES {
        let key = unique("slow");
        let told = for_good(async || shop.pay(&cart, "tok_ok", &key).await).await;
        assert!(!whole_or_nothing(&shop, &told, 10 * LINES as i64).await, "too fast to expire");
        if told.body["code"] != "reservation_expired" {
            continue; // the provider was too slow as well
        }
        told.is_problem(409, "reservation_expired");
        let again = shop.pay(&cart, "tok_ok", &key).await;
        again.repeats(&told);
        let open = shop.get(&cart.path()).cart_token(&cart.token).send().await;
        assert_eq!(open.is(200).body["status"], "open");
        for sku in &skus {
            assert_eq!(pieces(&shop, sku).await.on_hand, 10);
        }
        return;
    }
    panic!("no reservation expired in {TRIES} tries");
}
