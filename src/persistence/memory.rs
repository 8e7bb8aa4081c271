//! The journal in memory: the reference that the other stores are compared with, and the store of the
//! simulation. It keeps nothing when the process ends; a clone is another handle on the same store, so a
//! test "restarts a node" by opening a clone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::admission::{self, Admitted, Held, Present};
use super::membership::{NodeList, Tables, WishList, may_wish, owners};
use super::{
    Batch, EntityKey, Epoch, History, Journal, Membership, NodeRow, Origin, OwedRow, Record, Refusal, RequestBytes,
    Slot, SlotHead, Snapshot, StoreError, Subject, WakeRow, WishRow,
};

/// Records in the first page of a [`Journal::load`].
const LOAD_PAGE: usize = 256;

/// A store in memory.
#[derive(Clone)]
pub struct Memory {
    slots: Slot,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    heads: Vec<SlotHead>,
    /// Per slot, all its records: the one with sequence `n` lies at `n - 1`.
    logs: Vec<Vec<Arc<Record>>>,
    entities: BTreeMap<EntityKey, Entity>,
    owed: Vec<BTreeMap<(i64, EntityKey), OwedRow>>,
    wakes: Vec<BTreeSet<(i64, EntityKey)>>,
    nodes: NodeList,
    wishes: WishList,
}

#[derive(Default)]
struct Entity {
    version: u64,
    records: Vec<Arc<Record>>,
    receipts: HashMap<RequestBytes, Arc<Record>>,
    snapshot: Option<Arc<Snapshot>>,
}

impl Memory {
    pub fn new(slots: Slot) -> Memory {
        let n = usize::from(slots);
        let state = State {
            heads: vec![SlotHead::default(); n],
            logs: vec![Vec::new(); n],
            entities: BTreeMap::new(),
            owed: vec![BTreeMap::new(); n],
            wakes: vec![BTreeSet::new(); n],
            nodes: NodeList::default(),
            wishes: WishList::default(),
        };
        Memory { slots, state: Arc::new(Mutex::new(state)) }
    }
}

impl Present for State {
    fn slot(&self, slot: Slot) -> Option<Held<'_>> {
        let SlotHead { owner, epoch, seq, .. } = self.heads.get(usize::from(slot))?;
        Some(Held { owner: owner.as_deref(), epoch: *epoch, seq: *seq })
    }
    fn version(&mut self, key: &EntityKey) -> Result<u64, StoreError> {
        Ok(self.entities.get(key).map_or(0, |entity| entity.version))
    }
}

impl State {
    fn write(&mut self, record: Arc<Record>) {
        let slot = usize::from(record.slot);
        self.heads[slot].seq = record.seq;
        self.heads[slot].at_ms = record.at_ms;
        self.logs[slot].push(record.clone());
        let entity = self.entities.entry(record.key.clone()).or_default();
        entity.version = record.version;
        entity.records.push(record.clone());
        if record.receipt.is_some() {
            entity.receipts.insert(record.request, record.clone());
        }
        if let Some(change) = &record.owed {
            if let Some(due_ms) = change.before_due_ms {
                self.owed[slot].remove(&(due_ms, record.key.clone()));
            }
            if let Some(row) = &change.after {
                self.owed[slot].insert((row.due_ms, record.key.clone()), row.clone());
            }
        }
        if let Some(change) = record.wake {
            if let Some(due_ms) = change.before_ms {
                self.wakes[slot].remove(&(due_ms, record.key.clone()));
            }
            if let Some(due_ms) = change.after_ms {
                self.wakes[slot].insert((due_ms, record.key.clone()));
            }
        }
    }

    /// Gives a slot that is at an epoch (and `from`'s) to `to`.
    fn hand(
        &mut self,
        (slot, expected): (Slot, Epoch),
        from: Option<&str>,
        to: &str,
        may_have: &Result<(), Refusal>,
    ) -> Result<SlotHead, Refusal> {
        let Some(head) = self.heads.get_mut(usize::from(slot)) else {
            return Err(Refusal::Rejected(format!("the store has no slot {slot}")));
        };
        may_have.clone()?;
        if head.epoch != expected || from.is_some_and(|from| head.owner.as_deref() != Some(from)) {
            return Err(Refusal::Fenced { current: head.epoch });
        }
        head.owner = Some(to.to_owned());
        head.epoch += 1;
        Ok(head.clone())
    }

    fn keep(&mut self, snapshot: Arc<Snapshot>) {
        let Some(entity) = self.entities.get_mut(&snapshot.key) else { return };
        if entity.snapshot.as_ref().is_none_or(|kept| kept.seq <= snapshot.seq) {
            entity.snapshot = Some(snapshot);
        }
    }
}

impl Entity {
    /// The records behind a slot sequence.
    fn after(&self, seq: u64) -> &[Arc<Record>] {
        &self.records[self.records.partition_point(|record| record.seq <= seq)..]
    }

    /// Forgets receipts that nobody can ask for any more; at most `limit`.
    fn prune(&mut self, now_ms: i64, limit: usize) -> usize {
        let mut watermarks: HashMap<Slot, u64> = HashMap::new();
        for record in self.receipts.values() {
            if let Some(Origin::Owed { slot, watermark, .. }) = record.receipt.as_ref().map(|receipt| receipt.origin) {
                let known = watermarks.entry(slot).or_default();
                *known = watermark.max(*known);
            }
        }
        let mut gone = 0;
        self.receipts.retain(|_, record| {
            let past = match record.receipt.as_ref().map(|receipt| receipt.origin) {
                Some(Origin::Client { expires_ms }) => expires_ms < now_ms,
                Some(Origin::Owed { slot, number, .. }) => watermarks.get(&slot).is_some_and(|known| number < *known),
                None => true,
            };
            let forget = past && gone < limit;
            gone += usize::from(forget);
            !forget
        });
        gone
    }
}

fn owned(records: &[Arc<Record>]) -> Vec<Record> {
    records.iter().map(|record| Record::clone(record)).collect()
}

#[async_trait]
impl Journal for Memory {
    fn slots(&self) -> Slot {
        self.slots
    }

    async fn append(&self, batch: Batch) -> Result<Vec<(Slot, Refusal)>, StoreError> {
        let mut state = self.state.lock();
        let Admitted { records, snapshots, refusals } = admission::admit(batch, &mut *state)?;
        records.into_iter().for_each(|record| state.write(record));
        snapshots.into_iter().for_each(|snapshot| state.keep(snapshot));
        Ok(refusals)
    }

    fn has_nothing(&self, _slot: Slot, key: &EntityKey) -> bool {
        !self.state.lock().entities.contains_key(key)
    }

    async fn load(&self, _slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let state = self.state.lock();
        let Some(entity) = state.entities.get(key) else { return Ok(History::default()) };
        let later = entity.after(entity.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq));
        let page = &later[..later.len().min(LOAD_PAGE)];
        Ok(History {
            snapshot: entity.snapshot.as_deref().cloned(),
            records: owned(page),
            more: page.len() < later.len(),
        })
    }

    async fn records(
        &self,
        _slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let state = self.state.lock();
        let later = state.entities.get(key).map_or(&[][..], |entity| entity.after(after_seq));
        Ok(owned(&later[..later.len().min(limit)]))
    }

    async fn find_receipt(
        &self,
        _slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        let state = self.state.lock();
        let found = state.entities.get(key).and_then(|entity| entity.receipts.get(request));
        Ok(found.map(|record| Record::clone(record)))
    }

    async fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let state = self.state.lock();
        let log = state.logs.get(usize::from(slot)).map_or(&[][..], Vec::as_slice);
        let start = usize::try_from(after_seq).unwrap_or(usize::MAX).min(log.len());
        Ok(owned(&log[start..log.len().min(start.saturating_add(limit))]))
    }

    async fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.state.lock();
        let Some(rows) = state.owed.get(usize::from(slot)) else { return Ok(Vec::new()) };
        let rows = rows.range((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rows.take(limit).map(|((_, key), row)| (key.clone(), row.clone())).collect())
    }

    async fn wakes(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.state.lock();
        let Some(rows) = state.wakes.get(usize::from(slot)) else { return Ok(Vec::new()) };
        let rows = rows.range((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(rows.take(limit).map(|(due_ms, key)| WakeRow { due_ms: *due_ms, key: key.clone() }).collect())
    }

    async fn entities(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let state = self.state.lock();
        // An id is never empty, so the empty one stands before all of its kind.
        let start = EntityKey { kind, id: after.unwrap_or_default().into() };
        let of_kind = state.entities.range((Excluded(start), Unbounded)).take_while(|(key, _)| key.kind == kind);
        Ok(of_kind.take(limit).map(|(key, _)| key.id.clone()).collect())
    }

    async fn heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        Ok(self.state.lock().heads.clone())
    }

    async fn claim(&self, owner: &str, slots: &[(Slot, Epoch)]) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let state = &mut *self.state.lock();
        let may_claim = state.nodes.may_claim(owner);
        Ok(slots.iter().map(|wanted| state.hand(*wanted, None, owner, &may_claim)).collect())
    }

    async fn prune_receipts(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        let mut state = self.state.lock();
        let mut gone = 0;
        for entity in state.entities.values_mut() {
            gone += entity.prune(now_ms, limit - gone);
        }
        Ok(gone)
    }

    async fn drop_snapshots(&self) -> Result<(), StoreError> {
        self.state.lock().entities.values_mut().for_each(|entity| entity.snapshot = None);
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Membership for Memory {
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError> {
        let nodes = &mut self.state.lock().nodes;
        Ok(nodes.joined(node).map(|row| nodes.put(row)))
    }

    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError> {
        let nodes = &mut self.state.lock().nodes;
        let renewed = nodes.renewed(node);
        Ok(renewed.map(|row| {
            let lease = row.lease;
            nodes.put(row);
            lease
        }))
    }

    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError> {
        let nodes = &mut self.state.lock().nodes;
        Ok(nodes.left(id).map(|row| nodes.put(row)))
    }

    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError> {
        let state = &mut *self.state.lock();
        let judged = state.nodes.forgotten(id, lease, &state.heads);
        Ok(judged.map(|_| {
            state.nodes.remove(id);
            state.wishes.of_node(id).iter().for_each(|of| state.wishes.remove(of));
        }))
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        Ok(self.state.lock().nodes.rows())
    }

    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError> {
        let state = &mut *self.state.lock();
        let judged = may_wish(row, self.slots, &state.nodes);
        Ok(judged.map(|()| state.wishes.put(state.wishes.over(row.clone()))))
    }

    async fn unwish(&self, of: &Subject) -> Result<(), StoreError> {
        self.state.lock().wishes.remove(of);
        Ok(())
    }

    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError> {
        Ok(self.state.lock().wishes.rows())
    }

    async fn tables(&self) -> Result<Tables, StoreError> {
        let State { heads, nodes, wishes, .. } = &*self.state.lock();
        Ok(Tables { slots: owners(heads), nodes: nodes.rows(), wishes: wishes.rows() })
    }

    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError> {
        let state = &mut *self.state.lock();
        let is_member = state.nodes.member(to).map(drop);
        Ok(slots.iter().map(|moved| state.hand(*moved, Some(from), to, &is_member)).collect())
    }
}
