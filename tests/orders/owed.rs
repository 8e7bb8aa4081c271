//! What orders owe to a provider that is away.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use souk::actors::entity::Answer;
use souk::actors::gateways::GatewayError;
use souk::actors::payment::types::{PaymentRequest, PaymentStep};
use souk::actors::runtime::overdue::OverdueList;
use souk::actors::runtime::slot::actor::now;
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
                Err(GatewayError::unavailable("the bank is closed"))
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

/// A provider that answers nothing while it is closed, and counts what it was asked.
struct Closing {
    mock: MockPayments,
    is_closed: Arc<AtomicBool>,
    asked: watch::Sender<u32>,
}

#[async_trait::async_trait]
impl Gateway for Closing {
    async fn call(&self, request: RequestId, body: &(dyn Any + Send + Sync)) -> Result<Answer, GatewayError> {
        self.asked.send_modify(|asked| *asked += 1);
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(GatewayError::unavailable("the bank is closed"));
        }
        self.mock.call(request, body).await
    }
}

/// What is owed now, however young.
async fn owed_by_now(shop: &Shop) -> OverdueList {
    shop.client.overdue(now().plus_ms(1), None, 10, deadline()).await.expect("nobody else is asked")
}

/// The order, its step, who has to answer, and why he does not: as the list for operators has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_is_told_with_its_reason_until_it_is_answered() {
    let (journal, is_closed, asked) = (memory(), Arc::new(AtomicBool::new(true)), watch::Sender::new(0));
    let open = |journal| {
        let payments = |client| {
            let (mock, is_closed, asked) = (MockPayments::new(client), is_closed.clone(), asked.clone());
            Arc::new(Closing { mock, is_closed, asked }) as Arc<dyn Gateway>
        };
        Shop::open_with(journal, 60_000, payments)
    };
    let before = now();
    let shop = open(journal.clone()).await.with_stock(10).await;
    let cart = shop.fill(1, 1).await;
    shop.begin_to_complete(cart, OrderId(1)).await;
    // Asked again: so the answer to the first time has been heard.
    asked.subscribe().wait_for(|asked| *asked >= 2).await.expect("the provider is there");
    let OverdueList { steps, total } = owed_by_now(&shop).await;
    assert_eq!((steps.len(), total), (1, 1));
    let (id, first) = (OrderId(1).to_string(), &steps[0]);
    assert_eq!((first.kind, &*first.id, first.owed.step.as_str()), ("order", id.as_str(), "authorise"));
    assert_eq!(first.owed.waiting_for.as_deref(), Some("gateway payments"));
    assert_eq!(first.owed.last_error.as_deref(), Some("the bank is closed"));
    assert!(first.owed.attempts >= 2 && first.owed.since >= before && first.owed.since <= now());
    let listed = async |before, after| {
        let list = shop.client.overdue(before, after, 10, deadline()).await;
        list.expect("nobody else is asked").steps.len()
    };
    assert_eq!(listed(first.owed.since, None).await, 0, "it is not that old");
    assert_eq!(listed(now().plus_ms(1), Some(first.place)).await, 0, "there is no next page");
    let inspected = shop.client.inspect("order", &id, deadline()).await.expect("an answer").expect("an order");
    assert_eq!((inspected.owed.len(), &inspected.owed[0].step), (1, &first.owed.step));
    assert_eq!(inspected.owed[0].last_error, first.owed.last_error);
    shop.runtime.stop().await.expect("the runtime stops");

    let so_far = *asked.borrow();
    let shop = open(journal).await;
    asked.subscribe().wait_for(|asked| *asked >= so_far + 2).await.expect("the provider is there");
    let after = owed_by_now(&shop).await.steps;
    assert_eq!((after.len(), &after[0].owed.step), (1, &first.owed.step));
    assert!(after[0].owed.since <= first.owed.since && after[0].owed.since >= before, "known after a restart, too");
    is_closed.store(false, Ordering::SeqCst);
    assert_eq!(shop.read::<Order>(&OrderId(1)).await.state.status, OrderStatus::Confirmed);
    // It owes the customer's list its end for a moment longer than the order owes anything.
    assert_eq!(shop.cart(1).await, CartStatus::Completed);
    assert!(owed_by_now(&shop).await.steps.is_empty());
    shop.runtime.stop().await.expect("the runtime stops");
}
