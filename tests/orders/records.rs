//! What an order costs in records: its own, those of its SKUs and of its cart, and of whoever else takes part.
//! `cargo test --test once what_orders_cost -- --nocapture` prints the table.

use std::collections::BTreeMap;

use super::*;

/// Records by kind from the moment at which a cart is completed.
#[derive(Default)]
struct Cost {
    by_kind: BTreeMap<&'static str, u64>,
}

impl Cost {
    fn of(&self, kind: &str) -> u64 {
        self.by_kind.get(kind).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

async fn heads(journal: &dyn Journal) -> Vec<u64> {
    journal.heads().await.expect("heads").into_iter().map(|head| head.seq).collect()
}

async fn records_since(journal: &dyn Journal, heads: &[u64]) -> Cost {
    let mut cost = Cost::default();
    for (slot, head) in (0..).zip(heads) {
        for record in journal.feed(slot, *head, usize::MAX).await.expect("records") {
            let kind = kinds::all().by_number(record.key.kind).expect("a kind").name();
            *cost.by_kind.entry(kind).or_default() += 1;
        }
    }
    cost
}

/// A cart of so many SKUs, one piece of each; nobody has anything left to tell.
async fn filled(shop: &Shop, lines: u64) -> CartId {
    let cart = shop.fill_with(1, 1).await;
    let skus: Vec<Sku> = (1..lines).map(numbered).collect();
    for sku in &skus {
        let claim = sku::Command::Claim { sku: sku.clone(), offer: offer() };
        shop.ask::<StockUnit>(sku, claim).await.expect("claimed");
        let set = sku::Command::SetStock { on_hand: 9, expected: None, item: None };
        shop.ask::<StockUnit>(sku, set).await.expect("stocked");
    }
    for some in skus.chunks(cart::LINES_AT_ONCE_MAX) {
        let line = |sku: &Sku| cart::NewLine { sku: sku.clone(), quantity: pieces(1), offer: Some(offer()) };
        let add = cart::Command::AddLines { lines: some.iter().map(line).collect() };
        shop.ask::<Cart>(&cart, add).await.expect("added");
    }
    for sku in skus.iter().chain([&tee()]) {
        while shop.read::<StockUnit>(sku).await.state.telling.is_some() {
            tokio::task::yield_now().await;
        }
    }
    cart
}

async fn cost_of(lines: u64) -> Cost {
    let journal = memory();
    let shop = Shop::open(journal.clone()).await;
    let cart = filled(&shop, lines).await;
    let before = heads(&*journal).await;
    let offers = (0..lines).map(|n| (numbered(n), Some(offer()))).collect();
    shop.complete_with(cart, OrderId(1), "tok_ok", offers).await;
    assert_eq!(shop.read::<Order>(&OrderId(1)).await.state.status, OrderStatus::Confirmed);
    assert_eq!(shop.cart(1).await, CartStatus::Completed);
    shop.runtime.stop().await.expect("the runtime stops");
    records_since(&*journal, &before).await
}

#[tokio::test]
async fn what_orders_cost() {
    println!("| lines | order | SKUs | cart | others | all | a line |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for lines in [3, 20, 1_000] {
        let cost = cost_of(lines).await;
        let (order, skus, cart, all) = (cost.of("order"), cost.of("sku"), cost.of("cart"), cost.all());
        let others = all - order - skus - cart;
        let a_line = all as f64 / lines as f64;
        println!("| {lines} | {order} | {skus} | {cart} | {others} | {all} | {a_line:.1} |");
        assert_eq!(skus, 2 * lines, "each SKU holds and sells");
        // Placed, numbered, paid for and told, beside the steps of stock: each of those alone at the worst.
        assert!(order <= 2 * lines + 8, "{order} records of an order of {lines} lines");
    }
}
