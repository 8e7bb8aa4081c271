//! Reservations at one SKU, asked of the entity: the runtime with the embedded store, without the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use souk::actors::entity::Caller;
use souk::actors::gateways::payments::MockPayments;
use souk::actors::kinds;
use souk::actors::payment::types::GATEWAY;
use souk::actors::runtime::Runtime;
use souk::actors::runtime::client::{Asking, Client, Keyed, Wait};
use souk::actors::sku::types::{Command, Item, Offer, StockUnit};
use souk::actors::values::{Currency, Money, OrderId, ProductId, Quantity, RequestId, Sku, Time, VariantId};
use souk::cluster::{NodeId, SoleOwner};
use souk::config::Config;
use souk::metrics::Metrics;
use souk::persistence::embedded::EmbeddedJournal;
use tokio::time::Instant;

use super::Options;
use super::tally::tally;

const STOCK: u64 = 1_000_000_000_000;

pub async fn measure(options: Options) -> anyhow::Result<Value> {
    let config = Config::default();
    let (slots, store) = (0..config.store.slots, config.store.tuning().embedded(options.engine, config.store.slots));
    let journal = Arc::new(EmbeddedJournal::open(&options.data, store)?);
    let config = config.runtime(NodeId::incarnate("bench"), kinds::all());
    let prepared = Runtime::prepare(config, journal, Arc::new(SoleOwner), Arc::new(Metrics::new()));
    let payments = Arc::new(MockPayments::new(prepared.client()));
    let runtime = prepared.with_gateway(GATEWAY, payments).start(slots).await?;
    let sku: Sku = "BENCH-HOT".parse()?;
    let pounds: Currency = "GBP".parse()?;
    let offer = Offer {
        product: ProductId(1),
        variant: VariantId(1),
        title: "Hot".into(),
        price: Money::new(1_000, pounds),
        published: true,
        seller: None,
    };
    ask(&runtime.client, &sku, 1, false, Command::Claim { sku: sku.clone(), offer }).await?;
    ask(&runtime.client, &sku, 2, false, Command::SetStock { on_hand: STOCK, expected: None, item: None }).await?;

    let Options { tasks, time, .. } = options;
    // Held and then sold, as orders do it: the state stays small, and each is two records.
    let sold = series(&runtime.client, &sku, tasks, time, 0, true, false).await?;
    // Held only: what is held grows all the time.
    let held = series(&runtime.client, &sku, tasks, time, 1, false, false).await?;
    // The same with a receipt for each, as when the request may be repeated.
    let keyed = series(&runtime.client, &sku, tasks, time, 2, false, true).await?;
    runtime.stop().await?;
    Ok(json!({"sold": sold, "held": held, "held_keyed": keyed}))
}

async fn series(
    client: &Client,
    sku: &Sku,
    tasks: usize,
    time: Duration,
    series: u128,
    commit: bool,
    keyed: bool,
) -> anyhow::Result<Value> {
    let orders = Arc::new(AtomicU64::new(10));
    let make = |_| (client.clone(), sku.clone(), orders.clone());
    tally(tasks, time, make, move |(client, sku, orders), _| async move {
        let n = series << 64 | u128::from(orders.fetch_add(1, Ordering::Relaxed));
        let order = OrderId(n << 1 | 1);
        ask(&client, &sku, n << 1, keyed, reserve(order)?).await?;
        if commit {
            ask(&client, &sku, n << 1 | 1, keyed, Command::Commit { order }).await?;
        }
        Ok((client, sku, orders))
    })
    .await
}

/// What the SKU names: see `offer`.
const ITEM: Item = Item { product: ProductId(1), variant: Some(VariantId(1)) };

fn reserve(order: OrderId) -> anyhow::Result<Command> {
    // Each order is younger than those before, as when they come one after the other.
    Ok(Command::Reserve { order, quantity: Quantity::new(1)?, placed_at: Time(1), item: ITEM })
}

async fn ask(client: &Client, sku: &Sku, n: u128, keyed: bool, command: Command) -> anyhow::Result<()> {
    let asking = Asking {
        request: RequestId((n + 1).to_be_bytes()),
        keyed: keyed.then_some(Keyed { fingerprint: [7; 16], keep_ms: 86_400_000 }),
        caller: Caller::System,
        deadline: Instant::now() + Duration::from_secs(20),
        if_version: None,
        wait: Wait::Durable,
    };
    // As orders ask: they want no state back.
    match client.ask_outcome::<StockUnit>(sku, command, asking).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(rejection)) => bail!("the SKU refused: {rejection:?}"),
        Err(error) => bail!("the SKU did not answer: {error:?}"),
    }
}
