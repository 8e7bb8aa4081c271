//! Reading: in pages, whatever is asked for, so that no answer of the server is without bounds.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::RedisStore;
use super::keys::{self, GROUPS, IDS, OWED, SNAPSHOT_SEQS, SNAPSHOTS, SPANS, WAKES};
use super::scripts::{self, Name};
use super::values::{bytes, head_of, list, number};
use super::writes::{SPAN_MS, owed_row_of};
use crate::persistence::{
    EntityKey, History, OwedRow, Record, RequestBytes, Slot, SlotHead, Snapshot, StoreError, WakeRow,
};

/// Records in the first page of a load.
const LOAD_PAGE: usize = 256;
/// Rows that are asked for at once.
const PAGE: usize = 512;
/// Bytes of records that are asked for at once, about.
const PAGE_BYTES: usize = 4 << 20;
/// Ids that are asked of each slot at once: at least, at most.
const IDS_PAGE: (usize, usize) = (8, 256);

fn record_of(value: Value, slot: Slot) -> Result<Record, StoreError> {
    let record =
        Record::decode(&bytes(value)?).map_err(|error| error.damaged_at(format!("a record of slot {slot}")))?;
    if record.slot == slot {
        Ok(record)
    } else {
        Err(StoreError::Damaged(format!("slot {slot} holds record {} of slot {}", record.seq, record.slot)))
    }
}

impl RedisStore {
    fn script(&self, name: Name, slot: Slot) -> Cmd {
        self.script_on(name, slot, &[])
    }

    /// With every key that it touches: by these a Redis Cluster sees whether all are on one machine, while they move.
    fn script_on(&self, name: Name, slot: Slot, beside: &[Vec<u8>]) -> Cmd {
        let mut command = scripts::call(name, 1 + beside.len());
        let group = self.keys.group(keys::group_of(slot));
        command.arg(&group);
        beside.iter().for_each(|end| {
            command.arg([group.as_bytes(), end].concat());
        });
        command.arg(slot);
        command
    }

    /// A page of an entity's records; `None`: from its snapshot on. Says whether there are more.
    async fn page(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<u8>, bool, Vec<Record>), StoreError> {
        let beside = [SNAPSHOTS, SNAPSHOT_SEQS].map(|of| keys::beside(slot, of).into_bytes());
        let [snapshots, snapshot_seqs] = beside;
        let mut read = self.script_on(Name::Read, slot, &[snapshots, snapshot_seqs, keys::seqs(slot, key)]);
        let after = after_seq.map_or(String::new(), |seq| seq.to_string());
        read.arg(keys::entity(key)).arg(after).arg(limit).arg(PAGE_BYTES);
        let mut answer = list(self.reads.read(read).await?)?.into_iter();
        let (Some(snapshot), Some(more)) = (answer.next(), answer.next()) else {
            return Err(StoreError::Damaged("a page without a head".to_owned()));
        };
        let records = answer.map(|value| record_of(value, slot)).collect::<Result<Vec<_>, _>>()?;
        if let Some(other) = records.iter().find(|record| record.key != *key) {
            return Err(StoreError::Damaged(format!("record {} of slot {slot} is another entity's", other.seq)));
        }
        Ok((bytes(snapshot)?, number::<u8>(more)? == 1, records))
    }

    pub(super) async fn history(&self, slot: Slot, key: &EntityKey) -> Result<History, StoreError> {
        let (snapshot, more, records) = self.page(slot, key, None, LOAD_PAGE).await?;
        let place = || format!("the snapshot of {}/{}", key.kind, key.id);
        let snapshot = if snapshot.is_empty() {
            None
        } else {
            Some(Snapshot::decode(&snapshot).map_err(|error| error.damaged_at(place()))?)
        };
        Ok(History { snapshot, records, more })
    }

    pub(super) async fn records_of(
        &self,
        slot: Slot,
        key: &EntityKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let mut found: Vec<Record> = Vec::new();
        while found.len() < limit {
            let after = found.last().map_or(after_seq, |record| record.seq);
            let (_, more, page) = self.page(slot, key, Some(after), PAGE.min(limit - found.len())).await?;
            found.extend(page);
            if !more {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn receipt(
        &self,
        slot: Slot,
        key: &EntityKey,
        request: &RequestBytes,
    ) -> Result<Option<Record>, StoreError> {
        let mut find = self.script(Name::Receipt, slot);
        find.arg(keys::receipt(key, request));
        match self.reads.read(find).await? {
            Value::Nil => Ok(None),
            found => record_of(found, slot).map(Some),
        }
    }

    pub(super) async fn log(&self, slot: Slot, after_seq: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut found: Vec<Record> = Vec::new();
        while found.len() < limit {
            let after = found.last().map_or(after_seq, |record| record.seq);
            let count = PAGE.min(limit - found.len());
            let mut feed = self.script(Name::Feed, slot);
            feed.arg(after).arg(count).arg(PAGE_BYTES);
            let mut page = list(self.reads.read(feed).await?)?.into_iter();
            let more: u8 = number(page.next().unwrap_or(Value::Nil))?;
            for stored in page {
                let record = record_of(stored, slot)?;
                let next = found.last().map_or(after_seq, |record| record.seq).saturating_add(1);
                if record.seq != next {
                    return Err(StoreError::Damaged(format!(
                        "slot {slot}: record {} where {next} should be",
                        record.seq
                    )));
                }
                found.push(record);
            }
            if more == 0 {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn owed_rows(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<(EntityKey, OwedRow)>, StoreError> {
        let mut found: Vec<(EntityKey, OwedRow)> = Vec::new();
        let mut from = after.map_or(b"-".to_vec(), |(due_ms, key)| keys::excluding(&keys::due(due_ms, &key)));
        while found.len() < limit {
            let count = PAGE.min(limit - found.len());
            let mut ask = self.script_on(Name::Owed, slot, &[keys::beside(slot, OWED).into()]);
            let mut page = list(self.reads.read(ask.arg(&from).arg(count).to_owned()).await?)?.into_iter();
            let got = page.len() / 2;
            while let (Some(member), Some(row)) = (page.next(), page.next()) {
                let member = bytes(member)?;
                let (_, key) = keys::due_of(&member).map_err(|error| error.damaged_at("the owed index"))?;
                found.push((key, owed_row_of(&bytes(row)?, slot)?));
                from = keys::excluding(&member);
            }
            if got < count {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn wake_rows(
        &self,
        slot: Slot,
        after: Option<(i64, EntityKey)>,
        limit: usize,
    ) -> Result<Vec<WakeRow>, StoreError> {
        let mut found: Vec<WakeRow> = Vec::new();
        let mut from = after.map_or(b"-".to_vec(), |(due_ms, key)| keys::excluding(&keys::due(due_ms, &key)));
        while found.len() < limit {
            let count = PAGE.min(limit - found.len());
            let members = self.members(slot, WAKES, &from, b"+", count);
            let page = list(self.reads.read(members).await?)?;
            let got = page.len();
            for member in page {
                let member = bytes(member)?;
                let (due_ms, key) = keys::due_of(&member).map_err(|error| error.damaged_at("the wake index"))?;
                found.push(WakeRow { due_ms, key });
                from = keys::excluding(&member);
            }
            if got < count {
                break;
            }
        }
        Ok(found)
    }

    fn members(&self, slot: Slot, of: &str, from: &[u8], to: &[u8], count: usize) -> Cmd {
        let mut range = redis::cmd("ZRANGEBYLEX");
        range.arg(self.keys.beside(slot, of)).arg(from).arg(to).arg("LIMIT").arg(0).arg(count);
        range
    }

    /// Every slot gives a few ids; up to the least of the last ids of those that have more, all are known.
    pub(super) async fn ids(&self, kind: u8, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, StoreError> {
        let count = (2 * (limit / usize::from(self.slots))).clamp(IDS_PAGE.0, IDS_PAGE.1);
        let to = kind.checked_add(1).map_or(b"+".to_vec(), |next| keys::excluding(&[next]));
        let mut found: Vec<Arc<str>> = Vec::new();
        let mut last: Vec<u8> = [&[kind], after.unwrap_or_default().as_bytes()].concat();
        while found.len() < limit {
            let from = keys::excluding(&last);
            let commands: Vec<Cmd> = (0..self.slots).map(|slot| self.members(slot, IDS, &from, &to, count)).collect();
            let mut ids: Vec<Vec<u8>> = Vec::new();
            let mut known_to: Option<Vec<u8>> = None;
            for answer in self.reads.read_all(&commands).await? {
                let page = list(answer)?.into_iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
                if page.len() == count
                    && let Some(end) = page.last()
                    && known_to.as_ref().is_none_or(|known| end < known)
                {
                    known_to = Some(end.clone());
                }
                ids.extend(page);
            }
            ids.retain(|id| known_to.as_ref().is_none_or(|known| id <= known));
            ids.sort();
            for id in ids.iter().take(limit - found.len()) {
                found.push(keys::entity_of(id).map_err(|error| error.damaged_at("the list of entities"))?.id);
            }
            match known_to {
                Some(known) => last = known,
                None => break,
            }
        }
        Ok(found)
    }

    pub(super) async fn all_heads(&self) -> Result<Vec<SlotHead>, StoreError> {
        let of = |group| (group..self.slots).step_by(usize::from(GROUPS));
        let ask = |group| {
            let mut heads = scripts::call(Name::Heads, 1);
            heads.arg(self.keys.group(group)).arg(of(group).collect::<Vec<_>>());
            heads
        };
        let groups = GROUPS.min(self.slots);
        let commands: Vec<Cmd> = (0..groups).map(ask).collect();
        let mut heads = vec![SlotHead::default(); usize::from(self.slots)];
        for (group, answer) in (0..groups).zip(self.reads.read_all(&commands).await?) {
            let mut values = list(answer)?.into_iter();
            for slot in of(group) {
                let (head, time) = (values.next().unwrap_or(Value::Nil), values.next().unwrap_or(Value::Nil));
                heads[usize::from(slot)] = head_of(&bytes(head)?, &bytes(time)?)?;
            }
        }
        Ok(heads)
    }

    pub(super) async fn prune(&self, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
        let passed = now_ms.div_euclid(SPAN_MS).saturating_sub(1);
        let first = |slot| {
            let mut first = redis::cmd("ZRANGEBYSCORE");
            first.arg(self.keys.beside(slot, SPANS)).arg("-inf").arg(passed).arg("LIMIT").arg(0).arg(1);
            first
        };
        let mut gone = 0;
        let mut slots: Vec<Slot> = (0..self.slots).collect();
        while !slots.is_empty() && gone < limit {
            let commands: Vec<Cmd> = slots.iter().map(|slot| first(*slot)).collect();
            let spans = self.reads.read_all(&commands).await?;
            let mut left = Vec::new();
            for (slot, found) in slots.into_iter().zip(spans) {
                if let Some(span) = list(found)?.into_iter().next() {
                    gone += self.prune_span(slot, &bytes(span)?, limit - gone).await?;
                    left.push(slot);
                }
                if gone >= limit {
                    break;
                }
            }
            slots = left; // which may have more spans
        }
        Ok(gone)
    }

    async fn prune_span(&self, slot: Slot, span: &[u8], limit: usize) -> Result<usize, StoreError> {
        let spans = keys::beside(slot, SPANS).into_bytes();
        let list = [spans.as_slice(), b":", span].concat();
        let mut gone = 0;
        while gone < limit {
            let some = PAGE.min(limit - gone);
            let mut prune = self.script_on(Name::Prune, slot, &[spans.clone(), list.clone()]);
            let pruned: usize = number(self.reads.read(prune.arg(span).arg(some).to_owned()).await?)?;
            gone += pruned;
            if pruned < some {
                break;
            }
        }
        Ok(gone)
    }

    /// One slot's head, of the machine that has it.
    pub(super) async fn one_head(&self, slot: Slot) -> Result<SlotHead, StoreError> {
        if slot >= self.slots {
            return Ok(SlotHead::default());
        }
        let mut heads = scripts::call(Name::Heads, 1);
        heads.arg(self.keys.group(keys::group_of(slot))).arg(slot);
        let mut values = list(self.reads.read(heads).await?)?.into_iter();
        let (head, time) = (values.next().unwrap_or(Value::Nil), values.next().unwrap_or(Value::Nil));
        head_of(&bytes(head)?, &bytes(time)?)
    }
}
