//! Opening a store: the manifest's runs, the log behind them, and nothing left over from a crash.
//! What does not fit together is refused here, before anything is served.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::entry;
use super::index::{Index, Layers};
use super::log::{self, Claim, Group, Place};
use super::manifest::Manifest;
use super::members;
use super::memtable::Memtable;
use super::merge::{Merge, Source};
use super::options::EmbeddedOptions;
use super::run::{self, Run, RunScan};
use crate::persistence::{Record, SlotHead, StoreError};

pub struct Recovered {
    pub index: Index,
    pub manifest: Manifest,
    /// The number of the log's last part.
    pub last_part: u64,
}

pub fn recover(dir: &Path, options: &EmbeddedOptions) -> Result<Recovered, StoreError> {
    let disk = Disk::open(dir, options)?;
    let mut manifest = Manifest::read(&disk)?;
    let mut runs = Vec::with_capacity(manifest.runs.len());
    for entry in &manifest.runs {
        runs.push(Arc::new(entry.open(&disk)?));
    }
    remove_unnamed_runs(&disk, &mut manifest)?;
    let mut layers = Layers {
        active: Memtable::default(),
        frozen: None,
        heads: read_heads(&disk, &runs, options)?,
        members: members::read(&disk)?,
        runs: Arc::new(runs),
        forget_before_ms: manifest.forget_before_ms,
        generation: 0,
    };
    let last_part = log::replay(&disk, manifest.covers, |group, part| replay(&mut layers, group, part))?;
    disk.log_ends_at(last_part)?;
    let index = Index::new(disk, layers, options.embedded.versions_max.max(1));
    Ok(Recovered { index, manifest, last_part })
}

/// Removes what a crash has left of runs that were not finished, or had been merged.
fn remove_unnamed_runs(disk: &Disk, manifest: &mut Manifest) -> Result<(), StoreError> {
    let named: BTreeSet<u64> = manifest.runs.iter().map(|run| run.id).collect();
    let mut from = 0;
    while let Some(id) = run::first_stored(disk, from)? {
        if !named.contains(&id) {
            run::remove(disk, id)?;
        }
        manifest.next_run = manifest.next_run.max(id + 1);
        from = id + 1;
    }
    Ok(())
}

fn read_heads(disk: &Disk, runs: &[Arc<Run>], options: &EmbeddedOptions) -> Result<Vec<SlotHead>, StoreError> {
    let mut heads = vec![SlotHead::default(); usize::from(options.slots)];
    let mut sources = Vec::with_capacity(runs.len());
    for run in runs {
        sources.push(Source::Run(RunScan::new(disk, run.clone(), b"H")?));
    }
    let mut merge = Merge::new(sources)?;
    while let Some(item) = merge.next()?.filter(|item| item.key.starts_with(b"H")) {
        let read = item.value.as_deref().and_then(|value| entry::read_slot_head(&item.key, value));
        let place = read.and_then(|(slot, head)| Some((heads.get_mut(usize::from(slot))?, head)));
        match place {
            Some((place, head)) => *place = head,
            None => {
                let key = item.key.escape_ascii();
                return Err(StoreError::Damaged(format!("index entry {key}: it is no slot's head")));
            }
        }
    }
    Ok(heads)
}

fn replay(layers: &mut Layers, group: Group, part: u64) -> Result<(), StoreError> {
    match group {
        Group::Records(records) => {
            for (record, place) in records {
                let head = layers.heads.get(usize::from(record.slot));
                let next = head.map(|head| head.seq + 1);
                if next != Some(record.seq) {
                    let Record { slot, seq, .. } = record;
                    let why = format!("log part {part}: slot {slot} has sequence {seq} where {next:?} is next");
                    return Err(StoreError::Damaged(why));
                }
                layers.apply(&record, place);
            }
        }
        Group::Claims(claims) => {
            for claim in claims {
                if layers.heads.get(usize::from(claim.slot)).is_none_or(|head| head.epoch + 1 != claim.epoch) {
                    let Claim { slot, epoch, .. } = claim;
                    let why = format!("log part {part}: epoch {epoch} of slot {slot} is not the next");
                    return Err(StoreError::Damaged(why));
                }
                layers.apply_claim(&claim);
            }
        }
        Group::Forget(before_ms) => layers.apply_forget(before_ms),
    }
    Ok(())
}

impl Layers {
    /// Shows a durable record. Its slot exists.
    pub fn apply(&mut self, record: &Record, place: Place) {
        let head = &mut self.heads[usize::from(record.slot)];
        head.seq = record.seq;
        head.at_ms = record.at_ms;
        self.active.apply(record, place);
    }

    /// Shows a durable claim. Its slot exists.
    pub fn apply_claim(&mut self, claim: &Claim) {
        let head = &mut self.heads[usize::from(claim.slot)];
        head.epoch = claim.epoch;
        head.owner = Some(claim.owner.clone());
        self.active.claim(claim.slot);
    }

    pub fn apply_forget(&mut self, before_ms: i64) {
        self.forget_before_ms = self.forget_before_ms.max(before_ms);
    }
}
