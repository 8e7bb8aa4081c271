//! What the last few ten thousand records changed in the derived index, in memory. It is shaped for
//! being written (one or two hash look-ups a record) and becomes sorted entries when it is full and
//! [`super::checkpoint`] writes it down. Lost in a crash, and rebuilt from the log.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hashlink::DefaultHashBuilder;

use super::entry::{self, Item, ReceiptRef, Rows, SeqPlace};
use super::log::Place;
use crate::persistence::{EntityKey, Origin, Record, RequestBytes, Slot, SlotHead};

/// Most places in one entry, so that an entry stays far smaller than a block.
const PLACES_MAX: usize = 128;

#[derive(Default)]
pub struct Memtable {
    pub records: usize,
    entities: HashMap<EntityKey, Entity, DefaultHashBuilder>,
    receipts: HashMap<(EntityKey, RequestBytes), ReceiptRef, DefaultHashBuilder>,
    /// Per slot, the sequence of the first record in here, and where they all lie.
    feeds: HashMap<Slot, (u64, Vec<Place>), DefaultHashBuilder>,
    /// Rows of the owed and the wake index, by their stored key.
    rows: BTreeMap<Vec<u8>, Row>,
    /// Slots that changed hands.
    claimed: BTreeSet<Slot>,
    /// The heads of the slots that changed, once this is frozen.
    heads: BTreeMap<Slot, SlotHead>,
}

/// Receipts of each entity.
type ByEntity<'a> = HashMap<&'a EntityKey, Vec<(RequestBytes, ReceiptRef)>, DefaultHashBuilder>;

struct Entity {
    version: u64,
    places: Vec<SeqPlace>,
}

struct Row {
    /// Nothing older has a row under this key, so that removing it leaves nothing to void.
    fresh: bool,
    /// `None`: the row is gone, and an older one under this key is void.
    place: Option<Place>,
}

impl Memtable {
    /// Takes a durable record in.
    pub fn apply(&mut self, record: &Record, place: Place) {
        self.records += 1;
        let seq_place = (record.seq, place);
        match self.entities.get_mut(&record.key) {
            Some(entity) => {
                entity.version = record.version;
                entity.places.push(seq_place);
            }
            None => {
                let entity = Entity { version: record.version, places: vec![seq_place] };
                self.entities.insert(record.key.clone(), entity);
            }
        }
        self.feeds.entry(record.slot).or_insert_with(|| (record.seq, Vec::new())).1.push(place);
        if let Some(receipt) = &record.receipt {
            let found = ReceiptRef { seq: record.seq, place, origin: receipt.origin };
            self.receipts.insert((record.key.clone(), record.request), found);
        }
        if let Some(change) = &record.owed {
            let after = change.after.as_ref().map(|row| row.due_ms);
            self.change_row(Rows::Owed, record, change.before_due_ms, after, place);
        }
        if let Some(change) = &record.wake {
            self.change_row(Rows::Wakes, record, change.before_ms, change.after_ms, place);
        }
    }

    /// Moves an entity's row of an index.
    fn change_row(&mut self, rows: Rows, record: &Record, before: Option<i64>, after: Option<i64>, place: Place) {
        if let Some(due_ms) = before.filter(|_| before != after) {
            match self.rows.entry(rows.key(record.slot, due_ms, &record.key)) {
                Entry::Occupied(row) if row.get().fresh => drop(row.remove()),
                Entry::Occupied(mut row) => row.get_mut().place = None,
                Entry::Vacant(row) => drop(row.insert(Row { fresh: false, place: None })),
            }
        }
        if let Some(due_ms) = after {
            let row = self.rows.entry(rows.key(record.slot, due_ms, &record.key));
            row.or_insert(Row { fresh: before != after, place: None }).place = Some(place);
        }
    }

    /// Takes a slot's change of owner in.
    pub fn claim(&mut self, slot: Slot) {
        self.claimed.insert(slot);
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.claimed.is_empty()
    }

    /// Notes the heads of the slots that changed, for when this is written down.
    pub fn freeze(&mut self, heads: &[SlotHead]) {
        let changed = self.feeds.keys().chain(&self.claimed);
        self.heads = changed.filter_map(|slot| Some((*slot, heads.get(usize::from(*slot))?.clone()))).collect();
    }

    pub fn version(&self, key: &EntityKey) -> Option<u64> {
        self.entities.get(key).map(|entity| entity.version)
    }

    /// Places of an entity's records behind a slot sequence.
    pub fn places(&self, key: &EntityKey, after_seq: u64) -> &[SeqPlace] {
        let places = self.entities.get(key).map_or(&[][..], |entity| &entity.places);
        &places[places.partition_point(|(seq, _)| *seq <= after_seq)..]
    }

    /// Places of a slot's records behind a sequence, at most `limit`.
    pub fn feed(&self, slot: Slot, after_seq: u64, limit: usize) -> Vec<SeqPlace> {
        let Some((first, places)) = self.feeds.get(&slot) else { return Vec::new() };
        let skip = usize::try_from((after_seq + 1).saturating_sub(*first)).unwrap_or(usize::MAX);
        (*first..).zip(places.iter().copied()).skip(skip).take(limit).collect()
    }

    pub fn receipt(&self, key: &EntityKey, request: &RequestBytes) -> Option<ReceiptRef> {
        self.receipts.get(&(key.clone(), *request)).copied()
    }

    /// Entries of the owed and wake index from `start` up to and without `end`, at most `limit`.
    pub fn rows(&self, start: &[u8], end: &[u8], limit: usize) -> Vec<Item> {
        let rows = self.rows.range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)));
        rows.take(limit).map(|(key, row)| row.to_item(key.clone())).collect()
    }

    /// The first `limit` ids of a kind behind an id.
    pub fn ids(&self, kind: u8, after: &str, limit: usize) -> Vec<Arc<str>> {
        let mut ids: Vec<&Arc<str>> =
            self.entities.keys().filter(|key| key.kind == kind && &*key.id > after).map(|key| &key.id).collect();
        if ids.len() > limit {
            ids.select_nth_unstable(limit);
            ids.truncate(limit);
        }
        ids.sort_unstable();
        ids.into_iter().cloned().collect()
    }

    /// Everything as entries in the order of their keys, without the receipts that nobody can ask for.
    pub fn to_items(&self, forget_before_ms: i64) -> Vec<Item> {
        let mut items = Vec::with_capacity(self.entities.len() * 3 + self.rows.len());
        let mut receipts = self.kept_receipts(forget_before_ms);
        for (key, entity) in &self.entities {
            let prefix = entry::entity_prefix(key);
            items.push(Item { key: entry::head_key(&prefix), value: Some(entry::varint(entity.version)) });
            for places in entity.places.chunks(PLACES_MAX) {
                let last_seq = places.last().map_or(0, |(seq, _)| *seq);
                let value = Some(entry::put_places(places));
                items.push(Item { key: entry::places_key(&prefix, last_seq), value });
            }
            for (request, receipt) in receipts.remove(key).unwrap_or_default() {
                let value = Some(entry::put_receipt(&receipt));
                items.push(Item { key: entry::receipt_key(&prefix, &request), value });
            }
        }
        for (slot, (first, places)) in &self.feeds {
            let mut last_seq = first - 1;
            for places in places.chunks(PLACES_MAX) {
                last_seq += places.len() as u64;
                let value = Some(entry::put_feed(places));
                items.push(Item { key: entry::feed_key(*slot, last_seq), value });
            }
        }
        for (slot, head) in &self.heads {
            items.push(Item { key: entry::slot_head_key(*slot), value: Some(entry::put_slot_head(head)) });
        }
        items.extend(self.rows.iter().map(|(key, row)| row.to_item(key.clone())));
        items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        items
    }

    /// Receipts by entity, without forgotten ones and those below a watermark that the entity knows.
    fn kept_receipts(&self, forget_before_ms: i64) -> ByEntity<'_> {
        let mut watermarks: HashMap<(&EntityKey, Slot), u64, DefaultHashBuilder> = HashMap::default();
        for ((key, _), receipt) in &self.receipts {
            if let Origin::Owed { slot, watermark, .. } = receipt.origin {
                let known = watermarks.entry((key, slot)).or_default();
                *known = watermark.max(*known);
            }
        }
        let mut kept = ByEntity::default();
        for ((key, request), receipt) in &self.receipts {
            let answered = match receipt.origin {
                Origin::Client { .. } => false,
                Origin::Owed { slot, number, .. } => watermarks.get(&(key, slot)).is_some_and(|mark| number < *mark),
            };
            if !answered && !receipt.is_forgotten(forget_before_ms) {
                kept.entry(key).or_default().push((*request, *receipt));
            }
        }
        kept
    }
}

impl Row {
    fn to_item(&self, key: Vec<u8>) -> Item {
        let value = self.place.map(|place| {
            let mut value = Vec::new();
            // A wake row says everything in its key.
            if key.starts_with(b"O") {
                entry::put_place(&mut value, 0, place);
            }
            value
        });
        Item { key, value }
    }
}
