//! Refunds, cancellations and fulfilments of one order at once: money and goods go back once, or not at all.

use serde_json::{Value, json};

use crate::crowd::{CROWDS, Pieces, alone, at_once, charged, count, for_good, order, pieces, prepare, text};
use crate::support::{Shop, Told, gbp, unique};

/// An administrator's action on an order, until its outcome is known.
async fn act(shop: &Shop, order: &str, action: &str, body: Value, key: &str) -> Told {
    let admin = shop.admin().await;
    // Cancelling is the customer's route; administrators may use it.
    let area = if action == "cancel" { "/v1/orders" } else { "/v1/admin/orders" };
    let path = format!("{area}/{order}/{action}");
    for_good(async || shop.post(&path, body.clone()).by(&admin).key(key).send().await).await
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|_| unique("money")).collect()
}

#[tokio::test]
async fn of_many_refunds_of_the_whole_amount_one_succeeds() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(250, 4).await;
        let bought = shop.order(&sku, 4).await;
        let (id, keys) = (text(&bought, "id"), keys(clients));
        let answers = at_once(&shop, clients, async |n| {
            // Half of them name the amount, the others mean whatever is left.
            let amount = if n % 2 == 0 { gbp(1_000) } else { Value::Null };
            let mut body = json!({"reason": "all of it", "amount": amount});
            if n % 2 == 1 {
                body = json!({"reason": "all of it"});
            }
            act(&shop, id, "refund", body, &keys[n]).await
        })
        .await;
        assert_eq!(count(&answers, 200), 1, "{clients} refunds");
        for told in answers.iter().filter(|told| told.status != 200) {
            told.is_problem(409, "refund_exceeds_captured");
        }
        let after = order(&shop, id).await;
        assert_eq!((&after["payment_status"], &after["status"]), (&json!("refunded"), &json!("confirmed")));
        assert_eq!(after["refunds"].as_array().map(Vec::len), Some(1));
        assert_eq!(charged(&shop, &after).await, (1_000, 1_000), "captured - refunded = 0");
        assert_eq!(pieces(&shop, &sku).await, Pieces { on_hand: 0, sold: 4, returned: 0 }, "a refund restocks nothing");
    }
}

#[tokio::test]
async fn of_many_partial_refunds_as_many_succeed_as_fit() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(1_000, 1).await;
        let bought = shop.order(&sku, 1).await;
        let (id, keys) = (text(&bought, "id"), keys(clients));
        let answers = at_once(&shop, clients, async |n| {
            act(&shop, id, "refund", json!({"reason": "a part", "amount": gbp(300)}), &keys[n]).await
        })
        .await;
        let fit = clients.min(3);
        assert_eq!(count(&answers, 200), fit, "{clients} refunds");
        for told in answers.iter().filter(|told| told.status != 200) {
            told.is_problem(409, "refund_exceeds_captured");
        }
        let after = order(&shop, id).await;
        assert_eq!(after["payment_status"], "partially_refunded");
        assert_eq!(charged(&shop, &after).await, (1_000, 300 * fit as i64));
    }
}

#[tokio::test]
async fn cancel_and_fulfil_at_once_have_one_winner() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        // Few clients decide quickly who is first: so they meet at many orders.
        let orders = (64 / clients).max(1);
        let sku = shop.sku(500, 2 * orders as u64).await;
        let bought = prepare(orders, async |_| shop.order(&sku, 2).await).await;
        let keys = keys(orders * clients);
        let answers = at_once(&shop, orders * clients, async |n| {
            let action = if n % 2 == 0 { "cancel" } else { "fulfil" };
            act(&shop, text(&bought[n / clients], "id"), action, json!({}), &keys[n]).await
        })
        .await;
        let mut returned = 0;
        for (bought, answers) in bought.iter().zip(answers.chunks(clients)) {
            let after = order(&shop, text(bought, "id")).await;
            let of = |parity: usize| answers.iter().skip(parity).step_by(2);
            let won = |parity: usize| of(parity).filter(|told| told.status == 200).count();
            if after["status"] == "cancelled" {
                assert_eq!((won(0), won(1)), (clients / 2, 0), "cancelled for everybody who asked");
                of(1).for_each(|told| assert_eq!(told.status, 409, "{}", told.body));
                assert_eq!(after["fulfillment_status"], "unfulfilled");
                assert_eq!(
                    (&after["payment_status"], charged(&shop, &after).await),
                    (&json!("refunded"), (1_000, 1_000))
                );
                returned += 2;
            } else {
                assert_eq!((won(0), won(1)), (0, 1), "fulfilled once");
                of(0).for_each(|told| {
                    told.is_problem(409, "order_not_cancellable");
                });
                assert_eq!(
                    (&after["status"], &after["fulfillment_status"]),
                    (&json!("completed"), &json!("fulfilled"))
                );
                assert_eq!((&after["payment_status"], charged(&shop, &after).await), (&json!("captured"), (1_000, 0)));
            }
        }
        let sold = 2 * orders as i64;
        assert_eq!(pieces(&shop, &sku).await, Pieces { on_hand: returned, sold, returned });
    }
}

#[tokio::test]
async fn cancellations_and_refunds_at_once_pay_back_once() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        let sku = shop.sku(500, 2).await;
        let bought = shop.order(&sku, 2).await;
        let (id, keys) = (text(&bought, "id"), keys(clients));
        let answers = at_once(&shop, clients, async |n| match n % 2 {
            0 => act(&shop, id, "cancel", json!({}), &keys[n]).await,
            _ => act(&shop, id, "refund", json!({"reason": "all of it"}), &keys[n]).await,
        })
        .await;
        for (n, told) in answers.iter().enumerate().filter(|(_, told)| told.status != 200) {
            assert_eq!(n % 2, 1, "cancelling is never refused here: {}", told.body);
            told.is_problem(409, "refund_exceeds_captured");
        }
        let refunds = answers.iter().skip(1).step_by(2).filter(|told| told.status == 200).count();
        assert!(refunds <= 1, "{refunds} refunds of the whole");
        let after = order(&shop, id).await;
        assert_eq!((&after["status"], &after["payment_status"]), (&json!("cancelled"), &json!("refunded")));
        assert_eq!(charged(&shop, &after).await, (1_000, 1_000));
        assert_eq!(pieces(&shop, &sku).await, Pieces { on_hand: 2, sold: 2, returned: 2 });
    }
}
