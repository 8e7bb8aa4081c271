//! What every SKU costs and has, for the warnings of carts.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::time::Instant;

use super::read_model::Rows;
use crate::actors::entity::Kind;
use crate::actors::runtime::client::{AskError, Client, View};
use crate::actors::sku::types::{Item, StockUnit};
use crate::actors::values::{Money, Sku};
use crate::persistence::EntityKey;

#[derive(Default)]
pub struct Stock(RwLock<HashMap<Sku, SkuRow>>);

/// What a cart may know of a SKU without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkuRow {
    pub version: u64,
    pub available: u64,
    /// `None` when no product sells it (any more), or not now.
    pub price: Option<Money>,
    /// What it names, or named last.
    pub item: Option<Item>,
}

impl SkuRow {
    pub fn of(view: &View<StockUnit>) -> SkuRow {
        let offer = view.state.offer.as_ref().filter(|offer| offer.published);
        SkuRow {
            version: view.version,
            available: view.state.available(),
            price: offer.map(|offer| offer.price),
            item: view.state.item,
        }
    }
}

impl Stock {
    /// Takes a SKU as it is at some version; an older one than known changes nothing.
    fn note(&self, view: &View<StockUnit>) {
        let Some(sku) = view.state.sku.clone() else { return };
        let row = SkuRow::of(view);
        let mut skus = self.0.write();
        if skus.get(&sku).is_none_or(|known| known.version <= row.version) {
            skus.insert(sku, row);
        }
    }

    /// What is known of SKUs, under one lock; `None` for one that was never seen.
    pub fn skus<'a>(&self, wanted: impl IntoIterator<Item = &'a Sku>) -> Vec<Option<SkuRow>> {
        let skus = self.0.read();
        wanted.into_iter().map(|sku| skus.get(sku).copied()).collect()
    }
}

#[async_trait]
impl Rows for Stock {
    const NAME: &'static str = "stock";
    const KINDS: &'static [u8] = &[StockUnit::NUMBER];

    async fn read(&self, client: &Client, key: &EntityKey, deadline: Instant) -> Result<u64, AskError> {
        let sku: Sku = key.id.parse().map_err(|_| AskError::UnknownKind)?;
        let view = client.read::<StockUnit>(&sku, deadline).await?;
        self.note(&view);
        Ok(view.version)
    }

    fn replace(&self, rows: Stock) {
        *self.0.write() = rows.0.into_inner();
    }
}
