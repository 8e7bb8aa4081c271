//! Reading the index in order: who owes something, who wants to be woken, and which entities there are.

use std::sync::Arc;

use super::entry::{self, Item, Rows};
use super::index::{Index, malformed};
use super::log::{Place, Reader};
use super::merge::{Merge, Source};
use super::run::RunScan;
use crate::persistence::{EntityKey, OwedRow, Record, Slot, StoreError, WakeRow};

/// Key and value of a row that is not void.
type StoredRow = (Vec<u8>, Vec<u8>);

impl Index {
    pub fn owed(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        let mut reader = Reader::new(&self.disk);
        let mut owed = Vec::new();
        for (row, value) in self.rows(Rows::Owed, slot, after, limit)? {
            let (due_ms, key) = entry::read_row_key(&row).ok_or_else(|| malformed(&row))?;
            let place = entry::take_place(&mut value.as_slice(), 0).ok_or_else(|| malformed(&row))?;
            let record = self.record_at(&mut reader, place, slot, &key)?;
            let found = record.owed.and_then(|change| change.after).filter(|found| found.due_ms == due_ms);
            owed.push((key, found.ok_or_else(|| malformed(&row))?));
        }
        Ok(owed)
    }

    /// A record whose sequence the index does not know.
    fn record_at(
        &self,
        reader: &mut Reader<'_>,
        place: Place,
        slot: Slot,
        key: &EntityKey,
    ) -> Result<Record, StoreError> {
        let record = reader.record_any(place)?;
        if record.slot == slot && record.key == *key {
            Ok(record)
        } else {
            Err(StoreError::Damaged(format!("log part {}: holds another entity's record", place.part)))
        }
    }

    pub fn wakes(&self, slot: Slot, after: Option<(i64, EntityKey)>, limit: usize) -> Result<Vec<WakeRow>, StoreError> {
        let rows = self.rows(Rows::Wakes, slot, after, limit)?;
        let read = |(row, _): StoredRow| {
            let (due_ms, key) = entry::read_row_key(&row).ok_or_else(|| malformed(&row))?;
            Ok(WakeRow { due_ms, key })
        };
        rows.into_iter().map(read).collect()
    }

    /// Rows of an index behind a row.
    fn rows(
        &self,
        rows: Rows,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<StoredRow>, StoreError> {
        let (first, end) = rows.bounds(slot);
        let mut start = match after {
            Some((due_ms, key)) => behind(rows.key(slot, due_ms, &key)),
            None => first,
        };
        let mut found = Vec::new();
        // Memtables are read in pages, since they may be full of void rows; a round goes as far as its
        // shortest page.
        let page = limit.saturating_add(64);
        loop {
            let (active, frozen, runs) = {
                let layers = self.layers.read();
                (
                    layers.active.rows(&start, &end, page),
                    layers.frozen_table().rows(&start, &end, page),
                    layers.runs.clone(),
                )
            };
            let cut = |items: &Vec<Item>| (items.len() == page).then(|| items.last().map(|item| item.key.clone()))?;
            let bound = [cut(&active), cut(&frozen)].into_iter().flatten().min();
            let mut sources = vec![Source::Items(active.into_iter()), Source::Items(frozen.into_iter())];
            for run in runs.iter() {
                sources.push(Source::Run(RunScan::new(&self.disk, run.clone(), &start)?));
            }
            let mut merge = Merge::new(sources)?;
            while let Some(item) = merge.next()? {
                if item.key >= end || found.len() == limit {
                    return Ok(found);
                }
                if bound.as_ref().is_some_and(|bound| item.key > *bound) {
                    break;
                }
                found.extend(item.value.map(|value| (item.key, value)));
            }
            match bound {
                Some(bound) => start = behind(bound),
                None => return Ok(found),
            }
        }
    }

    /// Ids of a kind behind an id.
    pub fn ids(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        let after = after.unwrap_or_default();
        let (active, frozen, runs) = {
            let layers = self.layers.read();
            (layers.active.ids(kind, after, limit), layers.frozen_table().ids(kind, after, limit), layers.runs.clone())
        };
        // Keys of an id go on with a zero byte, so these begin with the next id.
        let start = [&[b'E', kind][..], after.as_bytes(), if after.is_empty() { &[] } else { &[1] }].concat();
        let mut sources = Vec::new();
        for run in runs.iter() {
            sources.push(Source::Run(RunScan::new(&self.disk, run.clone(), &start)?));
        }
        let mut merge = Merge::new(sources)?;
        let mut ids: Vec<Arc<str>> = Vec::new();
        while let Some(item) = merge.next()?.filter(|item| item.key.starts_with(&[b'E', kind]) && ids.len() < limit) {
            let id = entry::read_entity_id(&item.key).ok_or_else(|| malformed(&item.key))?;
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        }
        ids.extend(active.into_iter().chain(frozen));
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(limit);
        Ok(ids)
    }
}

/// The first key behind a key.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
