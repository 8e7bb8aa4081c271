//! The thread through which everything is written: group commit.
//!
//! It takes what has gathered while the last commit was on its way to the disk, judges it, appends it to
//! the log, makes all of it durable at once, shows it to readers, and answers. Its own view of heads and
//! versions runs ahead of what is durable by one group; should that group not become durable, the store
//! has failed and the view is never used again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::index::{Frozen, Index, MarkPanic};
use super::log::{Claim, Place, Writer};
use super::members::{self, Change, Changed, Members};
use super::snapshots;
use crate::persistence::admission::{self, Admitted, Held, Present};
use crate::persistence::{Batch, EntityKey, Epoch, Record, Refusal, Slot, SlotHead, Snapshot, StoreError};

/// Most records that are made durable together (a single larger batch stays whole).
const GROUP_RECORDS_MAX: usize = 4_096;
/// Records that readers are shown at a time: they wait meanwhile.
const SHOWN_TOGETHER: usize = 256;
/// The longest name of an owner.
const OWNER_BYTES_MAX: usize = 1_024;
/// With so many full memtables' worth of records not yet written down, commits wait.
const BACKLOG_MAX: usize = 4;

pub type Answer<T> = oneshot::Sender<Result<T, StoreError>>;
pub type Claimed = Vec<Result<SlotHead, Refusal>>;

pub enum Job {
    Append {
        batch: Batch,
        answer: Answer<Vec<(Slot, Refusal)>>,
    },
    /// `from`: only what is its.
    Claim {
        from: Option<String>,
        owner: String,
        slots: Vec<(Slot, Epoch)>,
        answer: Answer<Claimed>,
    },
    Member {
        change: Change,
        answer: Answer<Result<Changed, Refusal>>,
    },
    Forget {
        before_ms: i64,
        answer: Answer<()>,
    },
    DropSnapshots {
        answer: Answer<()>,
    },
    Close {
        answer: Answer<()>,
    },
}

pub struct Committer {
    index: Arc<Index>,
    jobs: mpsc::Receiver<Job>,
    checkpointer: Option<JoinHandle<()>>,
    /// The head of every slot, with what is not yet durable. (Its time is not kept up.)
    heads: Vec<SlotHead>,
    /// The node list and the wishes, with what is not yet durable.
    members: Members,
    last_part: u64,
    checkpoint_records: usize,
}

/// What was written and waits for the disk.
enum Written {
    Append {
        records: Vec<Arc<Record>>,
        places: Vec<Place>,
        snapshots: Vec<Arc<Snapshot>>,
        refusals: Vec<(Slot, Refusal)>,
        answer: Answer<Vec<(Slot, Refusal)>>,
    },
    Claim {
        claims: Vec<Claim>,
        outcomes: Vec<Result<(Slot, Epoch), Refusal>>,
        answer: Answer<Claimed>,
    },
    Member {
        outcome: Result<Changed, Refusal>,
        answer: Answer<Result<Changed, Refusal>>,
    },
    Forget {
        before_ms: i64,
        answer: Answer<()>,
    },
    DropSnapshots {
        answer: Answer<()>,
    },
}

struct View<'a> {
    index: &'a Index,
    heads: &'a [SlotHead],
}

impl Present for View<'_> {
    fn slot(&self, slot: Slot) -> Option<Held<'_>> {
        let SlotHead { owner, epoch, seq, .. } = self.heads.get(usize::from(slot))?;
        Some(Held { owner: owner.as_deref(), epoch: *epoch, seq: *seq })
    }
    fn version(&mut self, key: &EntityKey) -> Result<u64, StoreError> {
        self.index.version(key)
    }
}

impl Committer {
    pub fn new(
        index: Arc<Index>,
        jobs: mpsc::Receiver<Job>,
        checkpointer: JoinHandle<()>,
        last_part: u64,
        checkpoint_records: usize,
    ) -> Committer {
        let (heads, members) = {
            let layers = index.layers.read();
            (layers.heads.clone(), layers.members.clone())
        };
        Committer { index, jobs, checkpointer: Some(checkpointer), heads, members, last_part, checkpoint_records }
    }

    /// Works until the store is closed or its handle dropped. However that ends, nobody waits for an answer that
    /// never comes: a job may still be put in while the queue is given up, and would stay there as long as the handle.
    pub fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.work()));
        self.jobs.close();
        while let Some(job) = self.jobs.blocking_recv() {
            drop(job); // and with it who would have answered
        }
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    }

    fn work(&mut self) {
        let _mark = MarkPanic { index: self.index.clone(), thread: "the committer" };
        while let Some(first) = self.jobs.blocking_recv() {
            let mut next = Some(first);
            let mut written = Vec::new();
            let mut records = 0;
            let mut closing = None;
            while let Some(job) = next.take() {
                if let Job::Close { answer } = job {
                    closing = Some(answer);
                    break;
                }
                if let Some(done) = self.write(job) {
                    records += done.records();
                    written.push(done);
                }
                next = if records < GROUP_RECORDS_MAX { self.jobs.try_recv().ok() } else { None };
            }
            self.settle(written);
            if let Some(answer) = closing {
                let closed = self.close();
                self.index.disk.close();
                // Nobody may be waiting any more; then nobody wants to know.
                let _ = answer.send(closed);
                return;
            }
            self.freeze_when_full();
        }
        // Dropped without being closed. What is durable stays; the index is rebuilt from the log.
        self.index.announce(|turn| turn.stop = true);
        self.join_checkpointer();
        self.index.disk.close();
    }

    /// Judges a job and writes it to the log. `None`: it was answered.
    fn write(&mut self, job: Job) -> Option<Written> {
        match job {
            Job::Append { batch, answer } => match self.write_batch(batch) {
                Ok((Admitted { records, snapshots, refusals }, places)) => {
                    Some(Written::Append { records, places, snapshots, refusals, answer })
                }
                Err(error) => refuse(answer, error),
            },
            Job::Claim { from, owner, slots, answer } => match self.write_claims(from.as_deref(), &owner, &slots) {
                Ok((claims, outcomes)) => Some(Written::Claim { claims, outcomes, answer }),
                Err(error) => refuse(answer, error),
            },
            Job::Member { change, answer } => match self.write_member(change) {
                Ok(outcome) => Some(Written::Member { outcome, answer }),
                Err(error) => refuse(answer, error),
            },
            Job::Forget { before_ms, answer } => {
                let disk = &self.index.disk;
                match Writer::of_forget(before_ms, self.last_part + 1, disk.value_max).write(disk) {
                    Ok(last_part) => {
                        self.last_part = last_part;
                        Some(Written::Forget { before_ms, answer })
                    }
                    Err(error) => refuse(answer, error),
                }
            }
            Job::DropSnapshots { answer } => Some(Written::DropSnapshots { answer }),
            Job::Close { .. } => unreachable!("a group ends with it"),
        }
    }

    fn write_batch(&mut self, batch: Batch) -> Result<(Admitted, Vec<Place>), StoreError> {
        self.index.disk.check()?;
        let admitted = admission::admit(batch, &mut View { index: &self.index, heads: &self.heads })?;
        let (writer, places) = Writer::of_records(&admitted.records, self.last_part + 1, self.index.disk.value_max);
        self.last_part = writer.write(&self.index.disk)?;
        for record in &admitted.records {
            self.heads[usize::from(record.slot)].seq = record.seq;
        }
        self.index.note_versions(admitted.records.iter().map(|record| &**record));
        Ok((admitted, places))
    }

    /// Claims and what each slot comes to: its new epoch, or a refusal.
    #[allow(clippy::type_complexity)]
    fn write_claims(
        &mut self,
        from: Option<&str>,
        owner: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<(Vec<Claim>, Vec<Result<(Slot, Epoch), Refusal>>), StoreError> {
        self.index.disk.check()?;
        let may_have = match from {
            None => self.members.nodes.may_claim(owner),
            Some(_) => self.members.nodes.member(owner).map(drop),
        };
        let mut claims = Vec::new();
        let mut outcomes = Vec::with_capacity(slots.len());
        // What is not written did not happen: an epoch that only this thread knew would fence everybody for ever.
        let mut heads = self.heads.clone();
        for &(slot, expected) in slots {
            outcomes.push(match heads.get_mut(usize::from(slot)) {
                None => Err(Refusal::Rejected(format!("the store has no slot {slot}"))),
                Some(_) if owner.len() > OWNER_BYTES_MAX => {
                    Err(Refusal::Rejected(format!("the owner's name is longer than {OWNER_BYTES_MAX} bytes")))
                }
                Some(_) if let Err(refusal) = &may_have => Err(refusal.clone()),
                Some(head)
                    if head.epoch != expected || from.is_some_and(|from| head.owner.as_deref() != Some(from)) =>
                {
                    Err(Refusal::Fenced { current: head.epoch })
                }
                Some(head) => {
                    head.epoch += 1;
                    head.owner = Some(owner.to_owned());
                    claims.push(Claim { slot, epoch: head.epoch, owner: owner.to_owned() });
                    Ok((slot, head.epoch))
                }
            });
        }
        let disk = &self.index.disk;
        self.last_part = Writer::of_claims(&claims, self.last_part + 1, disk.value_max).write(disk)?;
        self.heads = heads;
        Ok((claims, outcomes))
    }

    /// What a change of the node list or of a wish comes to, or why it is refused.
    fn write_member(&mut self, change: Change) -> Result<Result<Changed, Refusal>, StoreError> {
        self.index.disk.check()?;
        let judged = self.members.judge(change, &self.heads);
        if let Ok(changed) = &judged {
            members::write(&self.index.disk, changed)?;
            self.members.apply(changed);
        }
        Ok(judged)
    }

    /// Makes what was written durable, shows it to readers and answers.
    fn settle(&self, written: Vec<Written>) {
        let durable = if written.iter().any(Written::changes_something) {
            self.index.disk.sync().and_then(|()| self.index.disk.acknowledge(self.last_part))
        } else {
            self.index.disk.check()
        };
        for done in written {
            match &durable {
                Ok(()) => self.show(done),
                Err(error) => done.refuse(error.clone()),
            }
        }
    }

    fn show(&self, written: Written) {
        match written {
            Written::Append { records, places, snapshots, refusals, answer } => {
                for (records, places) in records.chunks(SHOWN_TOGETHER).zip(places.chunks(SHOWN_TOGETHER)) {
                    let mut layers = self.index.layers.write();
                    records.iter().zip(places).for_each(|(record, place)| layers.apply(record, *place));
                }
                let kept = snapshots.iter().try_for_each(|snapshot| snapshots::write(&self.index.disk, snapshot));
                let _ = answer.send(kept.map(|()| refusals));
            }
            Written::Claim { claims, outcomes, answer } => {
                let mut layers = self.index.layers.write();
                claims.iter().for_each(|claim| layers.apply_claim(claim));
                let head = |(slot, epoch)| SlotHead { epoch, ..layers.heads[usize::from(slot)].clone() };
                let outcomes = outcomes.into_iter().map(|outcome| outcome.map(head)).collect();
                let _ = answer.send(Ok(outcomes));
            }
            Written::Member { outcome, answer } => {
                if let Ok(changed) = &outcome {
                    self.index.layers.write().members.apply(changed);
                }
                let _ = answer.send(Ok(outcome));
            }
            Written::Forget { before_ms, answer } => {
                self.index.layers.write().apply_forget(before_ms);
                let _ = answer.send(Ok(()));
            }
            Written::DropSnapshots { answer } => {
                let _ = answer.send(snapshots::remove_all(&self.index.disk));
            }
        }
    }

    /// Hands a full memtable to the checkpointer; waits when that is far behind.
    fn freeze_when_full(&self) {
        let records = self.index.layers.read().active.records;
        if records < self.checkpoint_records {
            return;
        }
        if records >= self.checkpoint_records * BACKLOG_MAX {
            self.wait_until_nothing_is_frozen();
        }
        self.freeze();
    }

    fn freeze(&self) {
        {
            let mut layers = self.index.layers.write();
            if layers.frozen.is_some() {
                return;
            }
            let mut table = std::mem::take(&mut layers.active);
            table.freeze(&layers.heads);
            let forget_before_ms = layers.forget_before_ms;
            layers.frozen = Some(Arc::new(Frozen { table, covers: self.last_part, forget_before_ms }));
            layers.generation += 1;
        }
        self.index.announce(|_| {});
    }

    fn wait_until_nothing_is_frozen(&self) {
        let mut turn = self.index.turn.lock();
        while self.index.layers.read().frozen.is_some() && self.index.disk.check().is_ok() {
            self.index.turned.wait(&mut turn);
        }
    }

    /// Writes the rest of the index, so that the next opening has nothing to replay.
    fn close(&mut self) -> Result<(), StoreError> {
        self.index.announce(|turn| turn.hurry = true);
        self.wait_until_nothing_is_frozen();
        if !self.index.layers.read().active.is_empty() {
            self.freeze();
            self.wait_until_nothing_is_frozen();
        }
        self.index.announce(|turn| turn.finish = true);
        self.join_checkpointer();
        self.index.disk.check()?;
        self.index.disk.sync()?;
        self.index.disk.sync_witness()
    }

    fn join_checkpointer(&mut self) {
        if let Some(thread) = self.checkpointer.take() {
            // When it has panicked the store has already failed.
            let _ = thread.join();
        }
    }
}

fn refuse<T>(answer: Answer<T>, error: StoreError) -> Option<Written> {
    let _ = answer.send(Err(error));
    None
}

impl Written {
    fn records(&self) -> usize {
        match self {
            Written::Append { records, .. } => records.len(),
            Written::Claim { claims, .. } => claims.len(),
            Written::Member { .. } => 1,
            Written::Forget { .. } | Written::DropSnapshots { .. } => 0,
        }
    }

    fn changes_something(&self) -> bool {
        match self {
            Written::Append { records, .. } => !records.is_empty(),
            Written::Claim { claims, .. } => !claims.is_empty(),
            Written::Member { outcome, .. } => outcome.is_ok(),
            Written::Forget { .. } => true,
            Written::DropSnapshots { .. } => false,
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Written::Append { answer, .. } => drop(answer.send(Err(error))),
            Written::Claim { answer, .. } => drop(answer.send(Err(error))),
            Written::Member { answer, .. } => drop(answer.send(Err(error))),
            Written::Forget { answer, .. } | Written::DropSnapshots { answer } => drop(answer.send(Err(error))),
        }
    }
}
