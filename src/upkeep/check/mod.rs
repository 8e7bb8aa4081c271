//! Verifies a store: everything that its contract promises, slot by slot, and what entities come to by their
//! events against what is kept beside them.
//!
//! The feed of a slot says what there is: [`walk`] follows it from the first record to the head and remembers, of
//! each entity, where it ended. Then each entity is read and replayed by itself ([`entity`]), and each index of the
//! slot is held against what the feed said ([`index`]). One slot is checked on each processor at a time, and its
//! entities are in memory meanwhile.

mod entity;
mod index;
mod walk;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use serde::Serialize;
use tokio::task::JoinSet;

use super::Watch;
use crate::actors::kinds::Kinds;
use crate::persistence::{NodeState, Slot, SlotHead, Store, StoreError};
use index::Lists;

/// So many problems are named; the others are counted.
const NAMED_MAX: usize = 100;
/// Entities of a slot that are read at once.
const ENTITIES_AT_ONCE: usize = 16;
/// How often a slot is read again that was written to while it was checked.
const TRIES: usize = 3;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// What it is about: an entity as `kind/id`, an index, the node list.
    pub place: String,
    pub what: String,
    /// It stands whatever has been written since: nothing ever changes a record, and no write repairs damage.
    /// (What came of comparing reads of two moments may only mean that there was a write between them.)
    #[serde(skip)]
    stands: bool,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Defect { slot, place, what, .. } = self;
        match slot {
            Some(slot) => write!(f, "slot {slot}: {place}: {what}"),
            None => write!(f, "{place}: {what}"),
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub records: u64,
    pub events: u64,
    pub entities: u64,
    /// Receipts that must be found, and were looked for.
    pub receipts: u64,
    pub snapshots: u64,
    /// Those among them that this souk does not read: events are replayed instead.
    pub snapshots_unused: u64,
    pub owed: u64,
    pub wakes: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.records += other.records;
        self.events += other.events;
        self.entities += other.entities;
        self.receipts += other.receipts;
        self.snapshots += other.snapshots;
        self.snapshots_unused += other.snapshots_unused;
        self.owed += other.owed;
        self.wakes += other.wakes;
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub slots: Slot,
    pub nodes: u64,
    #[serde(flatten)]
    pub counts: Counts,
    /// What is no fault, and should be known.
    pub notes: Vec<String>,
    /// Slots that were written to all the while, and look as if something were wrong with them.
    pub slots_unjudged: u64,
    pub problems_total: u64,
    /// The first of them.
    pub problems: Vec<Defect>,
}

impl Report {
    pub fn is_well(&self) -> bool {
        self.problems_total == 0 && self.slots_unjudged == 0
    }

    fn tell(&mut self, problems: Vec<Defect>) {
        self.problems_total += problems.len() as u64;
        let room = NAMED_MAX.saturating_sub(self.problems.len());
        self.problems.extend(problems.into_iter().take(room));
    }
}

/// What is wrong with a slot, so far.
struct Findings {
    slot: Option<Slot>,
    problems: Vec<Defect>,
}

impl Findings {
    fn of(slot: Slot) -> Findings {
        Findings { slot: Some(slot), problems: Vec::new() }
    }

    /// Of several reads that do not fit together.
    fn tell(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.push(place, what, false);
    }

    /// Of something that no write can change.
    fn tell_for_good(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.push(place, what, true);
    }

    fn push(&mut self, place: impl fmt::Display, what: impl fmt::Display, stands: bool) {
        let (place, what) = (place.to_string(), what.to_string());
        self.problems.push(Defect { slot: self.slot, place, what, stands });
    }
}

/// What was read; `None` when it is damaged, which was told. Any other error ends the check.
fn whole<T>(
    read: Result<T, StoreError>,
    findings: &mut Findings,
    place: impl fmt::Display,
) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StoreError::Damaged(why)) => {
            findings.tell_for_good(place, format_args!("damaged: {why}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Verifies a store. `slot_of` says where an entity belongs; `now_ms`, which receipts must still be there.
pub async fn check(
    store: Arc<dyn Store>,
    kinds: &'static Kinds,
    slot_of: fn(u8, &str, u16) -> u16,
    now_ms: i64,
    watch: &dyn Watch,
) -> Result<Report, StoreError> {
    let asked = Asked { store: &*store, kinds, slot_of, now_ms };
    let mut report = Report { slots: store.slots(), ..Report::default() };
    asked.nodes(&mut report).await?;
    let heads = store.heads().await?;
    if heads.len() != usize::from(store.slots()) {
        let what = format!("{} heads for {} slots", heads.len(), store.slots());
        report.tell(vec![Defect { slot: None, place: "heads".into(), what, stands: true }]);
    }
    watch.begins("checking", heads.iter().map(|head| head.seq).sum());
    let mut lists = Lists::default();
    let mut all_known = true;
    let mut left = (0..store.slots()).zip(heads.clone());
    // Dropped, it ends what still runs.
    let mut running = JoinSet::new();
    let mut checked = BTreeMap::new();
    loop {
        while running.len() < at_once()
            && let Some((slot, head)) = left.next()
        {
            let store = store.clone();
            running.spawn(async move {
                let asked = Asked { store: &*store, kinds, slot_of, now_ms };
                (slot, head.seq, asked.slot(slot, &head).await)
            });
        }
        let Some(ended) = running.join_next().await else { break };
        let (slot, records, of_slot) =
            ended.map_err(|error| StoreError::Fatal(format!("the check of a slot broke off: {error}")))?;
        checked.insert(slot, of_slot?);
        watch.advances(records);
    }
    for SlotChecked { counts, findings, entities, is_whole, is_moving } in checked.into_values() {
        report.slots_unjudged += u64::from(is_moving);
        all_known &= is_whole && !is_moving;
        report.tell(findings.problems);
        report.counts.add(&counts);
        entities.into_iter().for_each(|(kind, ids)| lists.add(kind, ids));
    }
    if report.counts.snapshots_unused > 0 {
        let count = report.counts.snapshots_unused;
        report.notes.push(format!("{count} snapshots are not of this souk's version, and are not used"));
    }
    if report.slots_unjudged > 0 {
        let count = report.slots_unjudged;
        report.notes.push(format!("{count} slots were written to all the while and could not be judged: check again"));
    }
    let mut findings = Findings { slot: None, problems: Vec::new() };
    if all_known {
        index::lists(&asked, &lists, &mut findings).await?;
    }
    if all_known && (findings.problems.is_empty() || store.heads().await? == heads) {
        report.tell(findings.problems);
    } else {
        report.notes.push("the lists of entities could not be judged: not every slot was read as a whole".to_owned());
    }
    Ok(report)
}

/// Slots that are checked at once.
fn at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A store, and what is needed to judge it.
struct Asked<'a> {
    store: &'a dyn Store,
    kinds: &'a Kinds,
    slot_of: fn(u8, &str, u16) -> u16,
    now_ms: i64,
}

struct SlotChecked {
    counts: Counts,
    findings: Findings,
    /// What the lists of entities must hold of this slot.
    entities: BTreeMap<u8, index::Tally>,
    /// Its feed could be read to the end.
    is_whole: bool,
    /// It was written to all the while, and what is wrong with it may only be due to that.
    is_moving: bool,
}

impl Asked<'_> {
    async fn nodes(&self, report: &mut Report) -> Result<(), StoreError> {
        let mut findings = Findings { slot: None, problems: Vec::new() };
        for node in whole(self.store.nodes().await, &mut findings, "node list")?.unwrap_or_default() {
            report.nodes += 1;
            if node.state == NodeState::Left {
                continue;
            }
            if let Err(why) = node.check() {
                findings.tell("node list", why);
            }
        }
        for row in whole(self.store.wishes().await, &mut findings, "wishes")?.unwrap_or_default() {
            if let Err(why) = row.check(self.store.slots()) {
                findings.tell("wishes", why);
            }
        }
        report.tell(findings.problems);
        Ok(())
    }

    /// Checks a slot; once more when it was written to meanwhile, for then reads at two moments do not fit together.
    async fn slot(&self, slot: Slot, head: &SlotHead) -> Result<SlotChecked, StoreError> {
        let mut head = head.clone();
        let mut tries = 1;
        loop {
            let mut checked = self.slot_once(slot, &head).await?;
            if checked.findings.problems.is_empty() {
                return Ok(checked);
            }
            let now = self.store.heads().await?.get(usize::from(slot)).cloned().unwrap_or_default();
            if now == head {
                return Ok(checked);
            }
            let any_stands = checked.findings.problems.iter().any(|problem| problem.stands);
            if any_stands || tries == TRIES {
                checked.findings.problems.retain(|problem| problem.stands);
                checked.is_moving = true;
                return Ok(checked);
            }
            head = now;
            tries += 1;
        }
    }

    async fn slot_once(&self, slot: Slot, head: &SlotHead) -> Result<SlotChecked, StoreError> {
        let mut findings = Findings::of(slot);
        let walked = walk::walk(self, slot, head, &mut findings).await?;
        let mut counts =
            Counts { records: walked.records, entities: walked.entities.len() as u64, ..Counts::default() };
        let mut entities: BTreeMap<u8, index::Tally> = BTreeMap::new();
        walked.entities.keys().for_each(|key| entities.entry(key.kind).or_default().add(&key.id));
        let is_whole = walked.is_whole;
        if is_whole {
            let mut left = walked.entities.iter();
            let mut reading = FuturesOrdered::new();
            loop {
                while reading.len() < ENTITIES_AT_ONCE
                    && let Some((key, seen)) = left.next()
                {
                    reading.push_back(entity::check(self, slot, key, seen));
                }
                let Some(read) = reading.next().await else { break };
                let (found, mut told) = read?;
                counts.add(&found);
                findings.problems.append(&mut told.problems);
            }
            counts.owed = index::owed(self, slot, &walked.entities, &mut findings).await?;
            counts.wakes = index::wakes(self, slot, &walked.entities, &mut findings).await?;
        } else {
            let what = "what lies behind could not be judged, nor the entities and indexes of the slot";
            findings.tell_for_good("feed", what);
        }
        Ok(SlotChecked { counts, findings, entities, is_whole, is_moving: false })
    }
}
