//! The money path over the whole runtime, with the mock provider: carts are completed, and what comes of
//! it is read from the order, the SKU, the customer and the provider's own book.

#[path = "orders/owed.rs"]
mod owed;
#[path = "orders/records.rs"]
mod records;
#[path = "orders/repeats.rs"]
mod repeats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use souk::actors::cart::types::{self as cart, Cart, CartStatus, Completing};
use souk::actors::customer::types::Customer;
use souk::actors::entity::{Caller, Kind, Outcome};
use souk::actors::gateways::Gateway;
use souk::actors::gateways::payments::MockPayments;
use souk::actors::kinds;
use souk::actors::mock_charge::types::{ChargeStatus, MockCharge};
use souk::actors::order::types::{self as order, Order, OrderStatus, PaymentStatus, RefusalCode};
use souk::actors::payment::types::{GATEWAY, PaymentIntent, PaymentMethod};
use souk::actors::runtime::Runtime;
use souk::actors::runtime::client::{Asking, Client, View, Wait};
use souk::actors::sku::types::{self as sku, Offer, StockUnit};
use souk::actors::values::{
    Address, CartId, Contact, Currency, Money, OrderId, ProductId, Quantity, RefundId, RequestId, Secret, Sku, UserId,
    VariantId,
};
use souk::cluster::{NodeId, SoleOwner};
use souk::config::Config;
use souk::metrics::Metrics;
use souk::persistence::Journal;
use souk::persistence::memory::Memory;
use tokio::time::Instant;

const ADA: UserId = UserId(7);
const PAYMENT_TIMEOUT_MS: u64 = 300;

struct Shop {
    runtime: Runtime,
    client: Client,
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn tee() -> Sku {
    "TEE-M".parse().expect("a SKU")
}

/// The first is [`tee`].
fn numbered(n: u64) -> Sku {
    if n == 0 { tee() } else { format!("TEE-{n}").parse().expect("a SKU") }
}

fn pieces(n: u64) -> Quantity {
    Quantity::new(n).expect("a quantity")
}

fn gbp(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}

fn offer() -> Offer {
    let (product, variant) = (ProductId(1), VariantId(1));
    Offer { product, variant, title: "Tee".into(), price: gbp(1_000), published: true, seller: None }
}

impl Shop {
    async fn open(journal: Arc<dyn Journal>) -> Shop {
        let mock = |client| Arc::new(MockPayments::new(client)) as Arc<dyn Gateway>;
        Shop::open_with(journal, PAYMENT_TIMEOUT_MS, mock).await
    }

    async fn open_with(
        journal: Arc<dyn Journal>,
        payment_timeout_ms: u64,
        payments: impl FnOnce(Client) -> Arc<dyn Gateway>,
    ) -> Shop {
        let mut config = Config::default().runtime(NodeId::incarnate("test"), kinds::all());
        config.policy.payment.timeout_ms = payment_timeout_ms;
        config.policy.order.decide_ms = payment_timeout_ms + 60_000;
        let (metrics, slots) = (Arc::new(Metrics::new()), 0..journal.slots());
        let prepared = Runtime::prepare(config, journal, Arc::new(SoleOwner), metrics);
        let client = prepared.client();
        let prepared = prepared.with_gateway(GATEWAY, payments(client.clone()));
        let runtime = prepared.start(slots).await.expect("the runtime starts");
        Shop { runtime, client }
    }

    async fn stocked(journal: Arc<dyn Journal>, on_hand: u64) -> Shop {
        Shop::open(journal).await.with_stock(on_hand).await
    }

    async fn with_stock(self, on_hand: u64) -> Shop {
        let shop = self;
        let claim = sku::Command::Claim { sku: tee(), offer: offer() };
        shop.ask::<StockUnit>(&tee(), claim).await.expect("claimed");
        shop.ask::<StockUnit>(&tee(), sku::Command::SetStock { on_hand, expected: None, item: None })
            .await
            .expect("stocked");
        shop
    }

    async fn ask<K: Kind>(&self, id: &K::Id, command: K::Command) -> Outcome<K> {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let asking = Asking {
            request: RequestId::of("test", &[&number.to_be_bytes()]),
            keyed: None,
            caller: Caller::User(ADA),
            deadline: deadline(),
            if_version: None,
            wait: Wait::Settled,
        };
        self.client.ask::<K>(id, command, asking).await.expect("an outcome").outcome
    }

    async fn read<K: Kind>(&self, id: &K::Id) -> View<K> {
        self.client.read_settled::<K>(id, deadline()).await.expect("a state")
    }

    /// Fills the cart of this number and completes it into the order of the same number.
    async fn buy(&self, number: u128, quantity: u64, token: &str) -> View<Order> {
        let cart = self.fill(number, quantity).await;
        self.complete(cart, OrderId(number), token).await;
        self.read::<Order>(&OrderId(number)).await
    }

    async fn fill(&self, number: u128, quantity: u64) -> CartId {
        let id = CartId(number);
        let (reference, metadata) = Default::default();
        let create = cart::Command::Create { id, user: Some(ADA), currency: Currency::GBP, reference, metadata };
        self.ask::<Cart>(&id, create).await.expect("created");
        let add = cart::Command::AddLine { sku: tee(), quantity: pieces(quantity), offer: Some(offer()) };
        self.ask::<Cart>(&id, add).await.expect("added");
        let email = "ada@example.com".parse().expect("an address");
        let contact = Contact { email, shipping_address: Address::default(), billing_address: None };
        self.ask::<Cart>(&id, cart::Command::SetContact { contact: Box::new(contact) }).await.expect("set");
        id
    }

    /// As `complete`, and waits for nothing.
    async fn begin_to_complete(&self, cart: CartId, order: OrderId) {
        let payment = PaymentIntent { method: PaymentMethod::Mock, token: Secret("tok_ok".into()) };
        let completing = Completing { order, payment, expected_total: None, offers: vec![(tee(), Some(offer()))] };
        let asking = Asking {
            request: RequestId::of("complete", &[&order.0.to_be_bytes()]),
            keyed: None,
            caller: Caller::User(ADA),
            deadline: deadline(),
            if_version: None,
            wait: Wait::Durable,
        };
        let asked = self.client.ask_outcome::<Cart>(&cart, cart::Command::Complete(Box::new(completing)), asking);
        asked.await.expect("an outcome").expect("started");
    }

    /// A cart of so many SKUs, one piece of each, all of which there are.
    async fn fill_with(&self, number: u128, lines: u64) -> CartId {
        let cart = self.fill(number, 1).await;
        for sku in (0..lines).map(numbered) {
            let claim = sku::Command::Claim { sku: sku.clone(), offer: offer() };
            self.ask::<StockUnit>(&sku, claim).await.expect("claimed");
            self.ask::<StockUnit>(&sku, sku::Command::SetStock { on_hand: 9, expected: None, item: None })
                .await
                .expect("stocked");
            if sku != tee() {
                let add = cart::Command::AddLine { sku, quantity: pieces(1), offer: Some(offer()) };
                self.ask::<Cart>(&cart, add).await.expect("added");
            }
        }
        cart
    }

    async fn complete(&self, cart: CartId, order: OrderId, token: &str) {
        self.complete_with(cart, order, token, vec![(tee(), Some(offer()))]).await;
    }

    async fn complete_with(&self, cart: CartId, order: OrderId, token: &str, offers: Vec<(Sku, Option<Offer>)>) {
        let payment = PaymentIntent { method: PaymentMethod::Mock, token: Secret(token.into()) };
        let completing = Completing { order, payment, expected_total: None, offers };
        self.ask::<Cart>(&cart, cart::Command::Complete(Box::new(completing))).await.expect("started");
    }

    async fn stock(&self) -> (u64, u64, u64, u64) {
        let stock = self.read::<StockUnit>(&tee()).await.state;
        (stock.on_hand, stock.reserved(), stock.sold, stock.returned)
    }

    async fn charge(&self, order: &View<Order>) -> View<MockCharge> {
        let payment = order.state.payment.as_ref().expect("the provider was asked").id;
        self.read::<MockCharge>(&payment).await
    }

    async fn cart(&self, number: u128) -> CartStatus {
        self.read::<Cart>(&CartId(number)).await.state.status
    }
}

fn memory() -> Arc<dyn Journal> {
    Arc::new(Memory::new(16))
}

/// One by one, each line of an order is two records of the order alone: reserved, committed.
#[tokio::test]
async fn answers_that_come_in_one_turn_are_one_record_of_the_order() {
    const LINES: u64 = 64;
    let shop = Shop::open(memory()).await;
    let cart = shop.fill_with(1, LINES).await;
    let offers = (0..LINES).map(|n| (numbered(n), Some(offer()))).collect();
    shop.complete_with(cart, OrderId(1), "tok_ok", offers).await;
    let order = shop.read::<Order>(&OrderId(1)).await;
    assert_eq!(order.state.status, OrderStatus::Confirmed);
    assert!(order.version < 2 * LINES, "{} records", order.version);
}

#[tokio::test]
async fn a_completed_cart_becomes_an_order_that_is_paid_and_has_its_stock() {
    let shop = Shop::stocked(memory(), 5).await;
    let order = shop.buy(1, 2, "tok_ok").await;
    assert_eq!((order.state.status, order.state.payment_status()), (OrderStatus::Confirmed, PaymentStatus::Captured));
    assert!(order.state.number.is_some());
    assert_eq!(shop.stock().await, (3, 0, 2, 0));
    assert_eq!(shop.cart(1).await, CartStatus::Completed);
    let orders: Vec<OrderId> = shop.read::<Customer>(&ADA).await.state.orders.iter().map(|(id, _)| *id).collect();
    assert_eq!(orders, [OrderId(1)]);
    assert_eq!(shop.charge(&order).await.state.captured, Some(gbp(2_000)));
    let flaky = shop.buy(2, 1, "tok_flaky").await;
    assert_eq!(flaky.state.status, OrderStatus::Confirmed, "a provider that fails twice is asked a third time");
    shop.runtime.stop().await.expect("the runtime stops");
}

#[tokio::test]
async fn an_order_that_fails_opens_the_cart_again_and_holds_nothing() {
    let shop = Shop::stocked(memory(), 5).await;
    let cases = [
        ("tok_declined", 1, RefusalCode::PaymentFailed, PaymentStatus::Failed),
        ("tok_timeout", 1, RefusalCode::PaymentTimeout, PaymentStatus::Voided),
        ("tok_ok", 6, RefusalCode::InsufficientStock, PaymentStatus::None),
    ];
    for (number, (token, quantity, code, paid)) in (1..).zip(cases) {
        let order = shop.buy(number, quantity, token).await;
        assert_eq!(order.state.rejection().map(|why| why.code), Some(code), "{token}");
        assert_eq!(order.state.payment_status(), paid, "{token}");
        assert_eq!(shop.stock().await, (5, 0, 0, 0), "{token}");
        assert_eq!(shop.cart(number).await, CartStatus::Open, "{token}");
        if code == RefusalCode::PaymentTimeout {
            assert_eq!(shop.charge(&order).await.state.status, ChargeStatus::Voided, "its authorisation was real");
        }
    }
    assert!(shop.read::<Customer>(&ADA).await.state.orders.is_empty());
    let again = OrderId(100);
    shop.complete(CartId(1), again, "tok_ok").await;
    assert_eq!(shop.read::<Order>(&again).await.state.status, OrderStatus::Confirmed, "the cart tries once more");
    shop.runtime.stop().await.expect("the runtime stops");
}

#[tokio::test]
async fn refunds_and_cancelling_pay_back_everything_once() {
    let shop = Shop::stocked(memory(), 5).await;
    let order = shop.buy(1, 2, "tok_ok").await;
    let refund =
        |id, amount| order::Command::Refund { refund: RefundId(id), amount: Some(gbp(amount)), reason: "dent".into() };
    shop.ask::<Order>(&OrderId(1), refund(1, 700)).await.expect("refunded");
    let too_much = shop.ask::<Order>(&OrderId(1), refund(2, 1_301)).await;
    assert_eq!(too_much, Err(order::Rejection::RefundExceedsCaptured { remaining: gbp(1_300) }));
    let cancel = order::Command::Cancel { reason: None };
    let (one, two) =
        tokio::join!(shop.ask::<Order>(&OrderId(1), cancel.clone()), shop.ask::<Order>(&OrderId(1), cancel.clone()),);
    assert_eq!((one, two), (Ok(order::Reply::Cancelled), Ok(order::Reply::Cancelled)));
    let after = shop.read::<Order>(&OrderId(1)).await.state;
    assert_eq!((after.status, after.payment_status()), (OrderStatus::Cancelled, PaymentStatus::Refunded));
    assert_eq!(shop.stock().await, (5, 0, 2, 2));
    let book = shop.charge(&order).await.state;
    assert_eq!(book.refunds.values().map(|refund| refund.amount).sum::<i64>(), 2_000);
    shop.runtime.stop().await.expect("the runtime stops");
}

/// Many customers want the last pieces at once: exactly as many orders as there are pieces, nothing held.
#[tokio::test]
async fn the_last_pieces_are_sold_once() {
    let shop = Shop::stocked(memory(), 10).await;
    let buying = (1..=25u128).map(|number| shop.buy(number, 1, "tok_ok"));
    let orders = futures::future::join_all(buying).await;
    let confirmed = orders.iter().filter(|order| order.state.status == OrderStatus::Confirmed).count();
    assert_eq!(confirmed, 10);
    assert_eq!(shop.stock().await, (0, 0, 10, 0));
    shop.runtime.stop().await.expect("the runtime stops");
}

/// The node goes down in the middle of many orders; the next one brings every one of them to its end.
#[tokio::test]
async fn an_order_survives_its_node_at_any_point() {
    for turns in [0, 3, 10, 30, 60, 100, 200, 500] {
        let journal = memory();
        let shop = Shop::stocked(journal.clone(), 20).await;
        for number in 1..=10 {
            shop.fill(number, 1).await;
        }
        let asking = |request| Asking {
            request,
            keyed: None,
            caller: Caller::User(ADA),
            deadline: deadline(),
            if_version: None,
            wait: Wait::Durable,
        };
        for number in 1..=10u128 {
            let token = if number % 5 == 0 { "tok_timeout" } else { "tok_ok" };
            let payment = PaymentIntent { method: PaymentMethod::Mock, token: Secret(token.into()) };
            let (order, offers) = (OrderId(number), vec![(tee(), Some(offer()))]);
            let complete = Box::new(Completing { order, payment, expected_total: None, offers });
            let asking = asking(RequestId::of("complete", &[&number.to_be_bytes()]));
            let (cart, complete) = (CartId(number), cart::Command::Complete(complete));
            let started = shop.client.ask::<Cart>(&cart, complete, asking).await;
            started.expect("an outcome").outcome.expect("started");
        }
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        shop.runtime.stop().await.expect("the runtime stops");

        let shop = Shop::open(journal).await;
        for number in 1..=10u128 {
            shop.read::<Cart>(&CartId(number)).await;
            let order = shop.read::<Order>(&OrderId(number)).await.state;
            let expected = if number % 5 == 0 { OrderStatus::Rejected } else { OrderStatus::Confirmed };
            assert_eq!(order.status, expected, "order {number} after {turns} turns: {:?}", order.refusal);
        }
        assert_eq!(shop.stock().await, (12, 0, 8, 0));
        assert_eq!(shop.read::<Customer>(&ADA).await.state.orders.len(), 8);
        shop.runtime.stop().await.expect("the runtime stops");
    }
}
