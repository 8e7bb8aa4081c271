//! Pages of a slot's records as the journal has them. A page that several consumers want is read and decoded once:
//! they share the read while it is under way, and for a while after it.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hashlink::LinkedHashMap;
use parking_lot::Mutex;

use crate::persistence::{Journal, Record, Slot, StoreError};

/// Records of a page. Page `n` begins behind record `n * PAGE_RECORDS`. Small, because an embedded store reads the log in
/// which the records of all slots lie: with pages of a thousand slots in turn it decodes each part of the log again for
/// each page, once a round of them no longer fits its cache (see [`Journal::feed`]).
pub(super) const PAGE_RECORDS: u64 = 64;
/// Bytes of the pages that are kept: enough for consumers that run side by side, and no more.
const BYTES_MAX: usize = 16 << 20;
/// Pages that are kept or being read.
const PAGES_MAX: usize = 1_024;

pub(super) struct Pages {
    journal: Arc<dyn Journal>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The one that was wanted longest ago first.
    pages: LinkedHashMap<(Slot, u64), Entry>,
    bytes: usize,
}

struct Entry {
    read: Read,
    /// 0 while it is being read.
    bytes: usize,
}

type Read = Shared<BoxFuture<'static, Result<Page, StoreError>>>;

/// The records of a page, and the one before it, which tells whether a position between two pages is right.
#[derive(Clone)]
pub(super) struct Page {
    records: Arc<[Arc<Record>]>,
    /// The sequence of the first record.
    first: u64,
    bytes: usize,
    is_full: bool,
}

impl Page {
    pub fn get(&self, seq: u64) -> Option<&Arc<Record>> {
        self.records.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The records behind a sequence.
    pub fn behind(&self, seq: u64) -> &[Arc<Record>] {
        let start = (seq + 1).saturating_sub(self.first);
        usize::try_from(start).ok().and_then(|start| self.records.get(start..)).unwrap_or_default()
    }
}

impl Pages {
    pub fn new(journal: Arc<dyn Journal>) -> Pages {
        Pages { journal, kept: Mutex::default() }
    }

    /// Gives up what was read.
    pub fn forget(&self) {
        *self.kept.lock() = Kept::default();
    }

    /// The page that holds what follows a record.
    pub async fn behind(&self, slot: Slot, seq: u64) -> Result<Page, StoreError> {
        let key = (slot, seq / PAGE_RECORDS);
        let read = {
            let mut kept = self.kept.lock();
            match kept.pages.to_back(&key) {
                Some(entry) => entry.read.clone(),
                None => {
                    let read = read(self.journal.clone(), key).boxed().shared();
                    kept.pages.insert(key, Entry { read: read.clone(), bytes: 0 });
                    let evicted = kept.evict();
                    drop(kept);
                    drop(evicted);
                    read
                }
            }
        };
        let mut waiting = Waiting { pages: self, key, read: Some(read.clone()) };
        let page = read.await;
        if let Some(read) = waiting.read.take() {
            let let_go = self.kept.lock().done(key, &read, page.as_ref().ok());
            drop(let_go); // their memory is given back while nobody waits for the lock
        }
        page
    }
}

/// Somebody who waits for a read. Where the last one gives up, the read is given up too: who comes next begins it anew,
/// and does not wait for an answer that has been late once.
struct Waiting<'p> {
    pages: &'p Pages,
    key: (Slot, u64),
    read: Option<Read>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(read) = self.read.take() else { return };
        let mut kept = self.pages.kept.lock();
        let is_mine = kept.pages.get(&self.key).is_some_and(|entry| entry.read.ptr_eq(&read));
        drop(read);
        let given_up = match kept.pages.get(&self.key) {
            Some(entry) if is_mine && entry.read.strong_count() == Some(1) => kept.pages.remove(&self.key),
            _ => None,
        };
        drop(kept);
        drop(given_up);
    }
}

impl Kept {
    /// A read has ended. Only a full page is kept: one that grows must be read again. The answer is what is let go.
    fn done(&mut self, key: (Slot, u64), read: &Read, page: Option<&Page>) -> Vec<Entry> {
        let Some(entry) = self.pages.get_mut(&key).filter(|entry| entry.read.ptr_eq(read)) else { return Vec::new() };
        match page.filter(|page| page.is_full) {
            Some(page) => {
                self.bytes += page.bytes - entry.bytes;
                entry.bytes = page.bytes;
                self.evict()
            }
            None => self.pages.remove(&key).into_iter().collect(),
        }
    }

    fn evict(&mut self) -> Vec<Entry> {
        let mut evicted = Vec::new();
        while self.bytes > BYTES_MAX || self.pages.len() > PAGES_MAX {
            let Some((_, entry)) = self.pages.pop_front() else { break };
            self.bytes -= entry.bytes;
            evicted.push(entry);
        }
        evicted
    }
}

async fn read(journal: Arc<dyn Journal>, (slot, number): (Slot, u64)) -> Result<Page, StoreError> {
    let start = number * PAGE_RECORDS;
    let first = start.max(1);
    let end = start + PAGE_RECORDS;
    let limit = usize::try_from(end - first + 1).unwrap_or(usize::MAX);
    let records = journal.feed(slot, first - 1, limit).await?;
    let is_gapless = records.iter().zip(first..).all(|(record, seq)| record.seq == seq && record.slot == slot);
    if !is_gapless || records.len() > limit {
        return Err(StoreError::Damaged(format!("slot {slot}: the records behind {} have a gap", first - 1)));
    }
    let is_full = records.last().is_some_and(|last| last.seq == end);
    let bytes = records.iter().map(Record::encoded_len).sum();
    Ok(Page { records: records.into_iter().map(Arc::new).collect(), first, bytes, is_full })
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;
    use crate::actors::feed::tests::Gated;

    #[tokio::test]
    async fn a_read_that_everybody_gives_up_is_begun_anew_and_no_other() {
        let journal = Arc::new(Gated::new());
        let pages = Pages::new(journal.clone());
        journal.hold_up();
        let (mut one, mut two) = (pages.behind(0, 0).boxed(), pages.behind(0, 0).boxed());
        assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
        drop(one);
        let mut three = pages.behind(0, 0).boxed();
        assert!(poll!(&mut three).is_pending());
        assert_eq!(journal.pages(), 1, "somebody still waits for the first read");
        drop((two, three));
        assert!(pages.kept.lock().pages.is_empty());
        let mut four = pages.behind(0, 0).boxed();
        assert!(poll!(&mut four).is_pending());
        assert_eq!(journal.pages(), 2);
        journal.let_go();
        assert!(four.await.is_ok_and(|page| page.behind(0).is_empty()));
    }
}
