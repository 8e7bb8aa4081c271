//! The store's contract, each method by the servers that it concerns.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::super::decorator::{Appended, Handed};
use super::super::membership::NodeList;
use super::super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, OwedRow, Record, Refusal, RequestBytes, Slot,
    SlotHead, StoreError, Subject, Tables, WakeRow, WishRow,
};
use super::SeveralStore;

/// Reads what a slot has, on the server that has it. Where that does not answer, or has not the slot, the map is read again:
/// if the slot lies elsewhere now, it is read there.
macro_rules! read {
    ($self:ident, $slot:expr, $part:ident => $work:expr) => {{
        let found = $self.server($slot);
        let before = found.as_ref().ok().copied();
        let answer = match found {
            Ok(server) => {
                let server = &$self.servers[server];
                let $part = &server.part;
                server.read($work).await
            }
            Err(unnamed) => Err(unnamed),
        };
        let Err(StoreError::Unavailable(_)) = &answer else { return answer };
        match $self.elsewhere($slot, before).await {
            Some(server) => {
                let $part = &server.part;
                server.read($work).await
            }
            None => answer,
        }
    }};
}

#[async_trait]
impl Journal for SeveralStore {
    fn slots(&self) -> Slot {
        self.head_server().part.slots()
    }

    fn slots_out_of_reach(&self) -> usize {
        self.places.now().unnamed()
    }

    async fn append(&self, batch: Batch) -> Appended {
        self.append_parts(batch).await
    }

    fn has_nothing(&self, slot: Slot, key: &EntityKey) -> bool {
        self.server(slot).is_ok_and(|server| self.servers[server].part.has_nothing(slot, key))
    }

    async fn load(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        read!(self, slot, part => part.load(slot, key))
    }

    async fn records(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        read!(self, slot, part => part.records(slot, key, after_seq, limit))
    }

    async fn find_receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        read!(self, slot, part => part.find_receipt(slot, key, request))
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        read!(self, slot, part => part.feed(slot, after_seq, limit))
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        read!(self, slot, part => part.owed(slot, after.clone(), limit))
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        read!(self, slot, part => part.wakes(slot, after.clone(), limit))
    }

    /// Each entity lies on one server (or on two, while its slot moves), so a page of all is in the pages of each.
    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        if let Some(unnamed) = self.places.now().first_unnamed() {
            return Err(unnamed);
        }
        let pages = self.servers.iter().map(|server| server.read(server.part.entities(kind, after, limit)));
        let mut ids = Vec::new();
        for page in join_all(pages).await {
            ids.extend(page?);
        }
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(limit);
        Ok(ids)
    }

    /// Only while all servers answer, and no slot is on its way.
    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        self.settle_doubts().await;
        let reads = self.servers.iter().map(|server| server.read(server.part.slot_heads()));
        let mut rows = Vec::with_capacity(self.servers.len());
        for server in join_all(reads).await {
            rows.push(server?);
        }
        let map = self.places.now();
        let mut heads = Vec::with_capacity(map.len());
        for slot in 0..self.slots() {
            let found = rows.get(map.server(slot)?).and_then(|rows| rows.get(usize::from(slot))?.clone());
            heads.push(found.ok_or_else(|| {
                self.places.doubt();
                StoreError::Unavailable(format!("slot {slot} is on its way to another server"))
            })?);
        }
        Ok(heads)
    }

    async fn head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        read!(self, slot, part => part.head(slot))
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Handed {
        let nodes = NodeList::of(self.nodes().await?);
        self.hand(None, owner, slots, nodes.may_claim(owner)).await
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        let mut gone = 0;
        let mut trouble = None;
        for server in &self.servers {
            match server.read(server.part.prune_receipts(now_ms, limit - gone)).await {
                Ok(count) => gone += count.min(limit - gone),
                Err(error) => trouble = Some(error),
            }
            if gone == limit {
                return Ok(gone);
            }
        }
        trouble.map_or(Ok(gone), Err)
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        let dropping = self.servers.iter().map(|server| server.read(server.part.drop_snapshots()));
        join_all(dropping).await.into_iter().collect()
    }

    async fn close(&self) -> Result<(), StoreError> {
        join_all(self.servers.iter().map(|server| server.part.close())).await.into_iter().collect()
    }
}

#[async_trait]
impl Membership for SeveralStore {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        self.head_server().part.join(node).await
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        self.head_server().part.renew(node).await
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        self.head_server().part.leave(id).await
    }

    /// The row is read first, then the slots of the other servers, and the row goes if it is still the same (and owns
    /// nothing on the first server).
    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        let nodes = NodeList::of(self.nodes().await?);
        if let Err(refusal) = nodes.may_forget(id, lease, None, false) {
            return Ok(Err(refusal));
        }
        let heads = self.heads().await?;
        match nodes.forgotten(id, lease, &heads) {
            Ok(_) => self.head_server().part.forget(id, lease).await,
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.head_server().part.nodes().await
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        self.head_server().part.wish(row).await
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        self.head_server().part.unwish(of).await
    }

    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        self.head_server().part.wishes().await
    }

    /// The slots of the other servers are read before the first one's tables. Those of a server that does not answer are
    /// as they were read last, and so are those on their way: a claim by an old epoch is refused.
    async fn tables(&self) -> Result<Tables, StoreError> {
        let elsewhere = self.owners_elsewhere().await?;
        let (tables, map) = self.head_server().part.tables_and_map().await?;
        if self.places.is_behind(map) {
            self.read_map().await;
        }
        Ok(Tables { slots: self.together(tables.slots, elsewhere)?, ..tables })
    }

    async fn transfer(&self, from: &str, to: &str, slots: &[(Slot, Epoch)]) -> Handed {
        let nodes = NodeList::of(self.nodes().await?);
        self.hand(Some(from), to, slots, nodes.member(to).map(drop)).await
    }
}
