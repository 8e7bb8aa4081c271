//! A completion that is sent again while its order goes on.

use std::any::Any;

use serde_json::{Value, json};
use souk::actors::entity::Answer;
use souk::actors::gateways::GatewayError;
use souk::actors::payment::types::{PaymentRequest, PaymentStep};
use souk::actors::projections::Projections;

use super::*;
use crate::{client, edge};

/// A provider that is away whenever a refund is asked.
struct NoRefunds(MockPayments);

#[async_trait::async_trait]
impl Gateway for NoRefunds {
    async fn call(&self, request: RequestId, body: &(dyn Any + Send + Sync)) -> Result<Answer, GatewayError> {
        match body.downcast_ref::<PaymentRequest>() {
            Some(PaymentRequest { step: PaymentStep::Refund { .. }, .. }) => {
                Err(GatewayError::unavailable("the bank is closed"))
            }
            _ => self.0.call(request, body).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_is_repeated_while_a_refund_is_pending() {
    let store = Arc::new(Memory::new(16));
    let no_refunds = |client| Arc::new(NoRefunds(MockPayments::new(client))) as Arc<dyn Gateway>;
    let shop = Shop::open_with(store.clone(), 60_000, no_refunds).await.with_stock(5).await;
    let metrics = Arc::new(Metrics::new());
    let journal: Arc<dyn Journal> = store;
    let projections = Arc::new(Projections::new(&shop.client, &journal, &metrics));
    let (_, url) = edge::serve(shop.client.clone(), projections, metrics).await;
    let client = client::client();
    let cart: Value = client
        .post(format!("{url}/v1/carts"))
        .json(&json!({}))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let path = format!("{url}/v1/carts/{}", cart["id"].as_str().expect("an id"));
    let ask = async |ask: reqwest::RequestBuilder, body: Value| {
        let token = cart["token"].as_str().expect("a guest's cart");
        let told = ask.header("x-cart-token", token).header("idempotency-key", "once").json(&body).send().await;
        let told = told.expect("an answer");
        (told.status().as_u16(), told.json::<Value>().await.expect("JSON"))
    };
    ask(client.post(format!("{path}/lines")), json!({"sku": "TEE-M", "quantity": 1})).await;
    let address = json!({"name": "Ada", "line1": "1", "city": "London", "postal_code": "N1 9GU", "country": "GB"});
    let contact = json!({"email": "ada@example.com", "shipping_address": address});
    ask(client.put(format!("{path}/contact")), contact).await;
    let complete = async || {
        let body = json!({"payment": {"method": "mock", "token": "tok_ok"}});
        ask(client.post(format!("{path}/complete")), body).await
    };
    let (status, order) = complete().await;
    assert_eq!((status, order["status"].as_str()), (201, Some("confirmed")), "{order}");

    let id: OrderId = order["id"].as_str().expect("an id").parse().expect("an id");
    let asking = Asking {
        request: RequestId::of("test", &[b"cancel"]),
        keyed: None,
        caller: Caller::System,
        deadline: deadline(),
        if_version: None,
        wait: Wait::Durable,
    };
    let cancelled = shop.client.ask::<Order>(&id, order::Command::Cancel { reason: None }, asking).await;
    assert!(cancelled.expect("an outcome").outcome.is_ok());
    assert_eq!(complete().await, (201, order), "the same again, though the refund is pending");
    shop.runtime.stop().await.expect("the runtime stops");
}
