//! What orders owe to a provider that is away.

use std::any::Any;
use std::collections::BTreeSet;

use souk::actors::entity::Answer;
use souk::actors::gateways::GatewayError;
use souk::actors::payment::types::{PaymentRequest, PaymentStep};
use tokio::sync::watch;

use super::*;

/// A provider that authorises, and is away whenever the capture of one of these orders is asked. It tells which were.
struct NoCaptures {
    mock: MockPayments,
    of: fn(OrderId) -> bool,
    asked: watch::Sender<BTreeSet<OrderId>>,
}

impl NoCaptures {
    fn of(of: fn(OrderId) -> bool, client: Client, asked: &watch::Sender<BTreeSet<OrderId>>) -> Arc<dyn Gateway> {
        Arc::new(NoCaptures { mock: MockPayments::new(client), of, asked: asked.clone() })
    }
}

#[async_trait::async_trait]
impl Gateway for NoCaptures {
    async fn call(&self, request: RequestId, body: &(dyn Any + Send + Sync)) -> Result<Answer, GatewayError> {
        match body.downcast_ref::<PaymentRequest>() {
            Some(PaymentRequest { order, step: PaymentStep::Capture { .. }, .. }) if (self.of)(*order) => {
                self.asked.send_if_modified(|asked| asked.insert(*order));
                Err(GatewayError::Unavailable)
            }
            _ => self.mock.call(request, body).await,
        }
    }
}

/// Whatever a start finds owed is sent: a slot that serves has everything that it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_orders_that_owe_their_capture_are_confirmed_after_a_restart() {
    const ORDERS: u128 = 100;
    let (journal, asked) = (memory(), watch::Sender::new(BTreeSet::new()));
    let no_captures = |client| NoCaptures::of(|_| true, client, &asked);
    let shop = Shop::open_with(journal.clone(), 60_000, no_captures).await.with_stock(1_000).await;
    for number in 1..=ORDERS {
        let cart = shop.fill(number, 1).await;
        shop.begin_to_complete(cart, OrderId(number)).await;
    }
    asked.subscribe().wait_for(|asked| asked.len() == ORDERS as usize).await.expect("the provider is there");
    shop.runtime.stop().await.expect("the runtime stops");

    let shop = Shop::open(journal).await;
    for number in 1..=ORDERS {
        let order = shop.read::<Order>(&OrderId(number)).await.state;
        assert_eq!((order.status, order.payment_status()), (OrderStatus::Confirmed, PaymentStatus::Captured));
    }
    assert_eq!(shop.stock().await, (900, 0, 100, 0));
    shop.runtime.stop().await.expect("the runtime stops");
}

/// Receivers forget a receipt once the slot that sent the request has told that everything before it is answered.
/// What a provider does not answer must not keep the slot from telling so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_capture_stays_owed_keeps_nobody_from_dropping_receipts() {
    const ORDERS: u128 = 150;
    let asked = watch::Sender::new(BTreeSet::new());
    let one_slot = Arc::new(Memory::new(1));
    let no_capture = |client| NoCaptures::of(|order| order == OrderId(1), client, &asked);
    let shop = Shop::open_with(one_slot, 60_000, no_capture).await.with_stock(1_000).await;
    let cart = shop.fill(1, 1).await;
    shop.begin_to_complete(cart, OrderId(1)).await;
    asked.subscribe().wait_for(|asked| !asked.is_empty()).await.expect("the provider is there");
    for number in 2..=ORDERS {
        let order = shop.buy(number, 1, "tok_ok").await;
        assert_eq!(order.state.status, OrderStatus::Confirmed);
    }
    assert_eq!(
        shop.client.read::<Order>(&OrderId(1), deadline()).await.expect("a state").state.status,
        OrderStatus::Pending
    );
    let sku = shop.client.inspect("sku", "TEE-M", deadline()).await.expect("an answer").expect("a SKU");
    assert!(sku.receipts < ORDERS as usize, "{} receipts of {ORDERS} orders", sku.receipts);
    shop.runtime.stop().await.expect("the runtime stops");
}
