//! The last unit: for a stock of S and N carts of one unit each, exactly min(N, S) orders are confirmed.

use crate::crowd::{CROWDS, Pieces, alone, at_once, cart, charged, count, for_good, order, pieces, prepare, text};
use crate::support::{Shop, unique};

/// What lies in the shop: one unit, enough for half of the clients, and for all of them but one short of enough.
fn stocks(clients: usize) -> Vec<usize> {
    if clients <= 16 { vec![1, clients / 2, clients, clients + 1] } else { vec![1, clients / 2 - 3] }
}

#[tokio::test]
async fn exactly_as_many_orders_are_confirmed_as_there_are_units() {
    let shop = alone(&[]).await;
    for clients in CROWDS {
        for stock in stocks(clients) {
            sell_out(&shop, clients, stock).await;
        }
    }
}

async fn sell_out(shop: &Shop, clients: usize, stock: usize) {
    let sku = shop.sku(100, stock as u64).await;
    let carts = prepare(clients, async |_| shop.ready_cart(&sku, 1).await).await;
    let keys: Vec<String> = (0..clients).map(|_| unique("last")).collect();
    let answers =
        at_once(shop, clients, async |n| for_good(async || shop.pay(&carts[n], "tok_ok", &keys[n]).await).await).await;

    let confirmed = clients.min(stock);
    assert_eq!(count(&answers, 201), confirmed, "{clients} carts for {stock} units");
    let (on_hand, sold) = ((stock - confirmed) as i64, confirmed as i64);
    assert_eq!(pieces(shop, &sku).await, Pieces { on_hand, sold, returned: 0 });
    prepare(clients, async |n| {
        let told = &answers[n];
        if told.status == 201 {
            assert_eq!((&told.body["status"], &told.body["payment_status"]), (&"confirmed".into(), &"captured".into()));
            assert_eq!(charged(shop, &told.body).await, (100, 0));
            assert_eq!(cart(shop, &carts[n]).await["status"], "completed");
            return;
        }
        told.is_problem(409, "insufficient_stock");
        assert_eq!(told.body["errors"][0]["sku"], sku.as_str());
        assert_eq!(cart(shop, &carts[n]).await["status"], "open");
        let rejected = order(shop, text(&told.body, "order_id")).await;
        assert_eq!(rejected["status"], "rejected");
        assert_eq!(charged(shop, &rejected).await, (0, 0), "a rejected order costs nothing");
    })
    .await;
}
