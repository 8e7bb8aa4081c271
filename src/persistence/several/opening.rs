//! Opening a store on several PostgreSQL servers: each is asked which one it is, and the first which slots lie where.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::super::decorator::Handed;
use super::super::membership::SlotOwner;
use super::super::postgres::{PlaceMap, PostgresOptions, PostgresSettings, PostgresStore, SERVERS_MAX};
use super::super::{Epoch, Journal, Slot, SlotHead, StoreError, Tables};
use super::SeveralStore;
use super::server::Part;

/// How a store on several servers is opened.
#[derive(Clone)]
pub struct SeveralOptions {
    /// The first is the head; the others in any order.
    pub urls: Vec<String>,
    /// As in [`PostgresOptions`].
    pub slots: Option<Slot>,
    pub settings: PostgresSettings,
}

/// The servers, the first of them in front, with their numbers and the map.
pub(super) struct Connected {
    pub stores: Vec<PostgresStore>,
    pub numbers: Vec<i32>,
    pub map: PlaceMap,
    /// The name of the whole store.
    pub name: String,
}

/// Connects to all servers. A new store is founded, and divided evenly among them; a server that is new to a store that is
/// there has no slots yet.
pub async fn open(options: SeveralOptions) -> Result<SeveralStore, StoreError> {
    let Connected { stores, numbers, map, .. } = connect(options).await?;
    for (slot, number) in map.servers.iter().enumerate() {
        if !numbers.contains(number) {
            let why = format!("slot {slot} lies on server {number} of the store, which is not named (store.urls)");
            return Err(StoreError::Fatal(why));
        }
    }
    tracing::info!(servers = numbers.len(), slots = map.servers.len(), "the store lies on several servers");
    let parts = stores.into_iter().map(|store| Arc::new(store) as Arc<dyn Part>).collect();
    SeveralStore::new(parts, numbers, &map)
}

pub(super) async fn connect(options: SeveralOptions) -> Result<Connected, StoreError> {
    let SeveralOptions { urls, slots, settings } = options;
    let may_found = slots.is_some();
    if urls.is_empty() || urls.len() > SERVERS_MAX {
        return Err(StoreError::Fatal(format!("a store lies on 1 to {SERVERS_MAX} servers")));
    }
    let mut stores = Vec::with_capacity(urls.len());
    for url in urls {
        let part = PostgresStore::open_part(PostgresOptions { url, slots, settings: settings.clone() }).await?;
        stores.push(part);
    }
    let [head, others @ ..] = stores.as_slice() else {
        return Err(StoreError::Fatal("no server is named".to_owned()));
    };
    if let Some(other) = others.iter().find(|other| other.slots() != head.slots()) {
        let why = format!("the first server has {} slots, and another one {}", head.slots(), other.slots());
        return Err(StoreError::Fatal(why));
    }
    if !may_found {
        for part in &stores {
            if part.identity().await?.is_none() {
                return Err(StoreError::Fatal("one of the servers has no part of a store on several".to_owned()));
            }
        }
    }
    let new = format!("{:016x}", rand::random::<u64>());
    let name = head.found_several(&new).await?.store;
    let mut numbers = vec![0];
    for other in others {
        numbers.push(head.enter_several(&name, other).await?.number);
    }
    if numbers.iter().collect::<BTreeSet<_>>().len() < numbers.len() {
        return Err(StoreError::Fatal("a server is named twice (store.urls)".to_owned()));
    }
    let map = head.places(&numbers).await?;
    Ok(Connected { stores, numbers, map, name })
}

#[async_trait]
impl Part for PostgresStore {
    async fn hand(&self, from: Option<&str>, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        self.hand_judged(from, to, slots).await
    }

    async fn slot_owners(&self) -> Result<Vec<SlotOwner>, StoreError> {
        self.owners().await
    }

    async fn slot_heads(&self) -> Result<Vec<Option<SlotHead>>, StoreError> {
        PostgresStore::slot_heads(self).await
    }

    async fn tables_and_map(&self) -> Result<(Tables, u64), StoreError> {
        PostgresStore::tables_and_map(self).await
    }

    async fn map(&self) -> Result<PlaceMap, StoreError> {
        PostgresStore::map(self).await
    }
}
