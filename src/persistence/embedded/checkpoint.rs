//! The thread that writes the index down, behind the committer's back: a full memtable becomes a run,
//! and when eight runs of one level have gathered they are merged into one of the next level.
//!
//! Each step writes the blocks of a new run, makes them durable, and then replaces the manifest. A crash
//! before that leaves the old index, and blocks that nobody names; after it, the new index, and old runs
//! that nobody names. Either are removed at the next opening. The log is never touched.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{self, Item, ReceiptRef};
use super::index::{Frozen, Index, MarkPanic, Runs};
use super::manifest::{Manifest, RunEntry};
use super::merge::{Merge, Source};
use super::run::{self, Run, RunScan, RunWriter};
use crate::persistence::{Origin, Slot, StoreError};

/// How many runs of a level make one of the next: more are looked through, fewer are written more often.
const FAN_IN: usize = 8;
/// After so many blocks (some 180 KB) the thread lets the committer at the disk and the processor.
const PACE_BLOCKS: u32 = 32;
const PACE: Duration = Duration::from_micros(500);
/// Receipts of one entity that are looked at together while merging.
const RECEIPTS_TOGETHER_MAX: usize = 20_000;

pub struct Checkpointer {
    index: Arc<Index>,
    next_run: u64,
    covers: u64,
    forget_before_ms: i64,
    /// Runs that were merged and may still have readers.
    retired: Vec<Arc<Run>>,
}

/// How a merge ended.
enum Merged {
    Done(Run),
    /// The store is going down; what was written of the run has no meaning.
    Stopped,
}

impl Checkpointer {
    pub fn new(index: Arc<Index>, manifest: &Manifest) -> Checkpointer {
        let Manifest { next_run, covers, forget_before_ms, .. } = *manifest;
        Checkpointer { index, next_run, covers, forget_before_ms, retired: Vec::new() }
    }

    /// Works until told to finish (when nothing frozen is left) or to stop (at once).
    pub fn run(mut self) {
        let _mark = MarkPanic { index: self.index.clone(), thread: "the thread that writes the index" };
        while self.wait_for_work() {
            if let Err(error) = self.work() {
                // The index is behind, and will stay so: the log would grow for ever without anybody noticing.
                self.index.disk.fail(format!("the index cannot be written: {error}"));
                break;
            }
        }
        self.index.announce(|_| {});
    }

    fn wait_for_work(&self) -> bool {
        let mut turn = self.index.turn.lock();
        loop {
            if turn.stop || self.index.disk.check().is_err() {
                return false;
            }
            if self.frozen().is_some() || (!turn.hurry && self.full_level().is_some()) {
                return true;
            }
            if turn.finish {
                return false;
            }
            self.index.turned.wait(&mut turn);
        }
    }

    fn is_stopping(&self) -> bool {
        let turn = self.index.turn.lock();
        turn.stop || turn.hurry
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.index.layers.read().frozen.clone()
    }

    fn work(&mut self) -> Result<(), StoreError> {
        self.write_frozen()?;
        if let Some(level) = self.full_level() {
            self.merge_level(level)?;
        }
        self.remove_retired()
    }

    /// Writes the frozen memtable as a run.
    fn write_frozen(&mut self) -> Result<(), StoreError> {
        let Some(frozen) = self.frozen() else { return Ok(()) };
        let items = frozen.table.to_items(frozen.forget_before_ms);
        let id = self.take_run_id();
        let mut writer = RunWriter::new(&self.index.disk, id, 0, items.len());
        let mut pace = Pace::default();
        for item in &items {
            writer.add(item)?;
            if !self.index.turn.lock().hurry {
                pace.keep(writer.blocks());
            }
        }
        let run = Arc::new(writer.finish()?);
        self.covers = frozen.covers;
        self.forget_before_ms = frozen.forget_before_ms;
        let runs: Vec<_> = std::iter::once(run).chain(self.index.layers.read().runs.iter().cloned()).collect();
        self.install(Arc::new(runs), true)
    }

    fn take_run_id(&mut self) -> u64 {
        self.next_run += 1;
        self.next_run - 1
    }

    /// Makes a list of runs the index: on disk, then in memory.
    fn install(&self, runs: Runs, frozen_is_written: bool) -> Result<(), StoreError> {
        self.index.disk.sync()?;
        let manifest = Manifest {
            next_run: self.next_run,
            covers: self.covers,
            forget_before_ms: self.forget_before_ms,
            runs: runs.iter().map(|run| RunEntry::of(run)).collect(),
        };
        manifest.write(&self.index.disk)?;
        self.index.disk.sync()?;
        self.index.disk.sync_witness()?;
        let old = {
            let mut layers = self.index.layers.write();
            layers.generation += 1;
            let frozen = if frozen_is_written { layers.frozen.take() } else { None };
            (std::mem::replace(&mut layers.runs, runs), frozen)
        };
        drop(old);
        self.index.announce(|_| {});
        Ok(())
    }

    /// The lowest level that has enough runs to merge.
    fn full_level(&self) -> Option<u8> {
        let layers = self.index.layers.read();
        layers.runs.chunk_by(|a, b| a.level == b.level).find(|runs| runs.len() >= FAN_IN).map(|runs| runs[0].level)
    }

    fn merge_level(&mut self, level: u8) -> Result<(), StoreError> {
        let before = self.index.layers.read().runs.clone();
        let inputs: Vec<Arc<Run>> = before.iter().filter(|run| run.level == level).cloned().collect();
        let reaches_end = before.last().is_some_and(|oldest| oldest.level == level);
        let id = self.take_run_id();
        let merged = match self.merge(&inputs, id, level.saturating_add(1), reaches_end)? {
            Merged::Done(run) => Arc::new(run),
            Merged::Stopped => return Ok(()),
        };
        // While this went on, newer runs may have been put in front.
        let now = self.index.layers.read().runs.clone();
        let is_input = |run: &Arc<Run>| inputs.iter().any(|input| input.id == run.id);
        let newer = now.iter().take_while(|run| !is_input(run)).cloned();
        let older = now.iter().skip_while(|run| !is_input(run)).filter(|run| !is_input(run)).cloned();
        let runs: Vec<_> = newer.chain([merged]).chain(older).collect();
        drop((now, before));
        self.install(Arc::new(runs), false)?;
        self.retired.extend(inputs);
        Ok(())
    }

    /// Merges runs into one. With the oldest run among them, void entries have nothing left to void.
    fn merge(&mut self, inputs: &[Arc<Run>], id: u64, level: u8, reaches_end: bool) -> Result<Merged, StoreError> {
        let index = self.index.clone();
        let mut sources = Vec::with_capacity(inputs.len());
        for run in inputs {
            sources.push(Source::Run(RunScan::new(&index.disk, run.clone(), &[])?));
        }
        let mut merge = Merge::new(sources)?;
        let entries_max = inputs.iter().map(|run| run.entries).sum::<u64>();
        let mut writer = RunWriter::new(&index.disk, id, level, usize::try_from(entries_max).unwrap_or(usize::MAX));
        let mut receipts = Receipts::new(index.layers.read().forget_before_ms);
        let mut pace = Pace::default();
        while let Some(item) = merge.next()? {
            if item.value.is_none() && reaches_end {
                continue;
            }
            if let Some(item) = receipts.hold_back(item, &mut writer)? {
                writer.add(&item)?;
            }
            if pace.keep(writer.blocks()) {
                if self.is_stopping() {
                    return Ok(Merged::Stopped);
                }
                self.write_frozen()?;
            }
        }
        receipts.release(&mut writer)?;
        writer.finish().map(Merged::Done)
    }

    /// Removes merged runs that nobody reads any more.
    fn remove_retired(&mut self) -> Result<(), StoreError> {
        let (unread, read) = std::mem::take(&mut self.retired).into_iter().partition(|run| Arc::strong_count(run) == 1);
        self.retired = read;
        let unread: Vec<Arc<Run>> = unread;
        unread.iter().try_for_each(|run| run::remove(&self.index.disk, run.id))
    }
}

/// Breathes between blocks.
#[derive(Default)]
struct Pace {
    paused_at: u32,
}

impl Pace {
    /// Pauses when enough was written since the last time; says whether it did.
    fn keep(&mut self, blocks: u32) -> bool {
        if blocks < self.paused_at + PACE_BLOCKS {
            return false;
        }
        self.paused_at = blocks;
        std::thread::sleep(PACE);
        true
    }
}

/// Drops receipts that nobody can ask for any more, while they pass by in a merge. Those of one entity
/// come one after the other, and are held back until all are there.
struct Receipts {
    forget_before_ms: i64,
    held: Vec<(Item, ReceiptRef)>,
}

impl Receipts {
    fn new(forget_before_ms: i64) -> Receipts {
        Receipts { forget_before_ms, held: Vec::new() }
    }

    /// Gives an entry back that is not a receipt.
    fn hold_back(&mut self, item: Item, writer: &mut RunWriter<'_>) -> Result<Option<Item>, StoreError> {
        let prefix = entry::entity_prefix_len(&item.key);
        let is_receipt = prefix.is_some_and(|len| item.key.get(len) == Some(&entry::RECEIPT));
        let same = self.held.last().is_none_or(|(held, _)| {
            prefix.is_some_and(|len| item.key.starts_with(&held.key[..len.min(held.key.len())]))
        });
        if !is_receipt || !same || self.held.len() >= RECEIPTS_TOGETHER_MAX {
            self.release(writer)?;
        }
        match item.value.as_deref().and_then(entry::read_receipt).filter(|_| is_receipt) {
            Some(receipt) => {
                self.held.push((item, receipt));
                Ok(None)
            }
            None => Ok(Some(item)),
        }
    }

    /// Writes those that were held back and are still wanted.
    fn release(&mut self, writer: &mut RunWriter<'_>) -> Result<(), StoreError> {
        let mut watermarks: Vec<(Slot, u64)> = Vec::new();
        for (_, receipt) in &self.held {
            if let Origin::Owed { slot, watermark, .. } = receipt.origin {
                match watermarks.iter_mut().find(|(known, _)| *known == slot) {
                    Some((_, mark)) => *mark = watermark.max(*mark),
                    None => watermarks.push((slot, watermark)),
                }
            }
        }
        for (item, receipt) in self.held.drain(..) {
            let answered = match receipt.origin {
                Origin::Client { .. } => false,
                Origin::Owed { slot, number, .. } => {
                    watermarks.iter().any(|(known, mark)| *known == slot && number < *mark)
                }
            };
            if !answered && !receipt.is_forgotten(self.forget_before_ms) {
                writer.add(&item)?;
            }
        }
        Ok(())
    }
}
