//! One slot on its way: the steps of the table in [`super`], each taken if it is not done yet.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::super::postgres::{Moving, Standing, Table};
use super::super::super::{Epoch, Slot, SlotHead, StoreError};
use super::{MoveWatch, Moved, Mover, Step, refuse};

/// The slot is cut when so few records are left to be copied.
const LITTLE: u64 = 256;
/// A slot that is written faster than it is copied is cut after so many rounds all the same.
const ROUNDS_MAX: usize = 32;
/// Records that are compared in one statement.
const COMPARED: u64 = 4_096;
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Receipts that expire within this time are not compared.
const PRUNED_WITHIN_MS: i64 = 3_600_000;
/// How often a server is asked to expect a slot: what stands in the way is cleared in between.
const EXPECTED_TRIES: usize = 4;

/// A slot that is moved.
pub struct OneSlot<'a> {
    pub mover: &'a Mover,
    pub slot: Slot,
    pub from: i32,
    pub to: i32,
    pub watch: &'a dyn MoveWatch,
}

/// A slot that has been cut.
struct Cut {
    head: SlotHead,
    /// When, if this run did it.
    at: Option<Instant>,
    /// Up to here the records were compared.
    compared: u64,
    /// Behind this there may be snapshots that are not copied. `None`: an earlier run made the cut; they stay behind.
    pictured: Option<u64>,
}

impl OneSlot<'_> {
    pub async fn run(&self, moved: &mut Moved) -> Result<(), StoreError> {
        let Self { slot, from, to, .. } = *self;
        let (source, target) = (self.mover.server(from)?, self.mover.server(to)?);
        if !self.mover.head().mark(slot, from, to).await? {
            return refuse(format!("slot {slot} was moved meanwhile: run the same command again"));
        }
        self.reached(Step::Marked)?;
        let cut = match source.standing(slot).await? {
            Standing::Here(_) => self.copy_and_cut(&source, &target, moved).await?,
            Standing::HasGone { to: gone_to, head } if gone_to == to => {
                Cut { head, at: None, compared: 0, pictured: None }
            }
            Standing::HasGone { .. } | Standing::Comes { .. } | Standing::Absent => {
                return refuse(format!("the map says that slot {slot} is on server {from}, and it is not"));
            }
        };
        match self.persist(async || target.standing(slot).await).await? {
            Standing::Comes { .. } => {
                match self.complete(&source, &target, &cut, moved).await {
                    Err(StoreError::Damaged(why)) => return self.give_back(&source, &target, &why).await,
                    completed => completed?,
                }
                self.reached(Step::Completed)?;
            }
            Standing::Here(_) => {}
            // A mover was killed while it gave the slot back.
            Standing::HasGone { .. } | Standing::Absent => {
                return self.give_back(&source, &target, "an earlier move was given up").await;
            }
        }
        self.open_and_switch(&target, &cut).await?;
        let pause = cut.at.map_or(Duration::ZERO, |at| at.elapsed());
        moved.pause_max_ms = moved.pause_max_ms.max(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        self.reached(Step::Switched)?;
        while source.delete_some(slot).await? {}
        self.reached(Step::Deleted)
    }

    fn reached(&self, step: Step) -> Result<(), StoreError> {
        self.watch.reached(self.slot, step)
    }

    /// While the slot is served.
    async fn copy_and_cut(
        &self,
        source: &Moving<'_>,
        target: &Moving<'_>,
        moved: &mut Moved,
    ) -> Result<Cut, StoreError> {
        let slot = self.slot;
        self.expect(target).await?;
        self.reached(Step::Expected)?;
        let mut copied = target.last_record(slot).await?;
        let mut pictured = None;
        for _ in 0..ROUNDS_MAX {
            let Standing::Here(head) = source.standing(slot).await? else {
                return refuse(format!("another mover moves slot {slot}"));
            };
            let before = copied;
            self.copy_records(source, target, &mut copied, head.seq, moved).await?;
            if pictured.is_none() {
                source.copy_snapshots(target, slot, 0).await?;
                pictured = Some(head.seq);
            }
            if head.seq.saturating_sub(before) <= LITTLE {
                break;
            }
        }
        if let Err(StoreError::Damaged(why)) = self.compare_records(source, target, 0, copied).await {
            target.abandon(slot).await?;
            while target.delete_some(slot).await? {}
            return refuse(format!("slot {slot} was not moved, and is as it was: {why}. Run the same command again"));
        }
        self.reached(Step::Copied)?;
        let at = Instant::now();
        let head = self.persist(async || {
            source.cut(slot, self.to).await?;
            match source.standing(slot).await? {
                Standing::HasGone { to, head } if to == self.to => Ok(head),
                Standing::Here(_) => Err(StoreError::Unavailable(format!("slot {slot} is not cut yet"))),
                Standing::HasGone { .. } | Standing::Comes { .. } | Standing::Absent => {
                    refuse(format!("another mover has moved slot {slot}"))
                }
            }
        });
        let head = head.await?;
        self.reached(Step::Cut)?;
        Ok(Cut { head, at: Some(at), compared: copied, pictured })
    }

    /// The target is to expect the slot; what an earlier move has left there is deleted first.
    async fn expect(&self, target: &Moving<'_>) -> Result<(), StoreError> {
        let (slot, to) = (self.slot, self.to);
        for _ in 0..EXPECTED_TRIES {
            match target.standing(slot).await? {
                Standing::Comes { from } if from == self.from => return Ok(()),
                Standing::Comes { from } => {
                    return refuse(format!("slot {slot} comes to server {to} from server {from}"));
                }
                Standing::Here(head) if head != SlotHead::default() => {
                    return refuse(format!("server {to} has a slot {slot} that is not in the map: {head:?}"));
                }
                Standing::HasGone { .. } => while target.delete_some(slot).await? {},
                Standing::Here(_) | Standing::Absent => drop(target.expect(slot, self.from).await?),
            }
        }
        Err(StoreError::Unavailable(format!("server {to} does not come to expect slot {slot}")))
    }

    async fn copy_records(
        &self,
        source: &Moving<'_>,
        target: &Moving<'_>,
        copied: &mut u64,
        until: u64,
        moved: &mut Moved,
    ) -> Result<(), StoreError> {
        while *copied < until {
            let page = source.records(self.slot, *copied, until).await?;
            let last = page.seqs.last().map_or(0, |seq| seq.cast_unsigned());
            if last != *copied + page.seqs.len() as u64 || page.seqs.is_empty() {
                return Err(StoreError::Damaged(format!("slot {} has a gap behind record {copied}", self.slot)));
            }
            target.write_records(self.slot, &page).await?;
            *copied = last;
            moved.records += page.seqs.len() as u64;
        }
        Ok(())
    }

    /// `Damaged`: they are not the same.
    async fn compare_records(
        &self,
        source: &Moving<'_>,
        target: &Moving<'_>,
        mut after: u64,
        end: u64,
    ) -> Result<(), StoreError> {
        let slot = self.slot;
        while after < end {
            let until = end.min(after + COMPARED);
            let sums = (source.sum_of_records(slot, after, until), target.sum_of_records(slot, after, until));
            let (left, came) = futures::try_join!(sums.0, sums.1)?;
            if left != came || left.rows.cast_unsigned() != until - after {
                let why = format!("slot {slot}, records {} to {until}: {left:?} left, and {came:?} came", after + 1);
                return Err(StoreError::Damaged(why));
            }
            after = until;
        }
        Ok(())
    }

    /// After the cut: the rest, and whether all has come.
    async fn complete(
        &self,
        source: &Moving<'_>,
        target: &Moving<'_>,
        cut: &Cut,
        moved: &mut Moved,
    ) -> Result<(), StoreError> {
        let (slot, end) = (self.slot, cut.head.seq);
        let mut copied = self.persist(async || target.last_record(slot).await).await?;
        let (mut records, started) = (Moved::default(), Instant::now());
        let mut pause = PAUSE;
        // (Not by `persist`: how far it is stays known.)
        while let Err(error) = self.copy_records(source, target, &mut copied, end, &mut records).await {
            pause = self.bear(error, started, pause).await?;
        }
        moved.records += records.records;
        self.persist(async || {
            if let Some(after) = cut.pictured {
                source.copy_snapshots(target, slot, after).await?;
            }
            for table in [Table::Receipts, Table::Owed, Table::Wakes] {
                source.copy(table, target, slot).await?;
            }
            self.compare_records(source, target, cut.compared.min(end), end).await?;
            if target.last_record(slot).await? != end {
                return Err(StoreError::Damaged(format!("slot {slot} ends with record {end}, and more came")));
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let lasting = i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_add(PRUNED_WITHIN_MS);
            for table in [Table::Receipts, Table::Owed, Table::Wakes] {
                let sums = (source.sum_of(table, slot, lasting), target.sum_of(table, slot, lasting));
                let (left, came) = futures::try_join!(sums.0, sums.1)?;
                if left != came {
                    let why = format!("slot {slot}, {table:?}: {left:?} left, and {came:?} came");
                    return Err(StoreError::Damaged(why));
                }
            }
            Ok(())
        })
        .await
    }

    async fn open_and_switch(&self, target: &Moving<'_>, cut: &Cut) -> Result<(), StoreError> {
        let Self { slot, from, to, .. } = *self;
        let epoch: Epoch = cut.head.epoch + 1;
        let head = SlotHead { epoch, ..cut.head.clone() };
        self.persist(async || {
            target.open(slot, from, &head).await?;
            match target.standing(slot).await? {
                Standing::Here(found) if found.epoch >= epoch => Ok(()),
                other => refuse(format!("slot {slot} cannot be opened on server {to}: {other:?}")),
            }
        })
        .await?;
        self.reached(Step::Opened)?;
        self.persist(async || {
            self.mover.head().switch(slot, from, to).await?;
            match self.mover.head().place(slot).await? {
                (place, _) if place == to => Ok(()),
                other => refuse(format!("slot {slot} stands otherwise in the map than it was left: {other:?}")),
            }
        })
        .await
    }

    /// What has come is not what has left: the source has the slot again, and what has come is deleted.
    async fn give_back(&self, source: &Moving<'_>, target: &Moving<'_>, why: &str) -> Result<(), StoreError> {
        let slot = self.slot;
        self.persist(async || {
            target.abandon(slot).await?;
            match target.standing(slot).await? {
                Standing::Comes { .. } | Standing::Here(_) => refuse(format!("slot {slot}: {why}")),
                Standing::HasGone { .. } | Standing::Absent => Ok(()),
            }
        })
        .await?;
        self.persist(async || source.reopen(slot, self.to).await).await?;
        while target.delete_some(slot).await? {}
        refuse(format!("slot {slot} was not moved, and is served where it was: {why}"))
    }

    /// Takes a step again and again while a server does not answer.
    async fn persist<T>(&self, step: impl AsyncFn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let (started, mut pause) = (Instant::now(), PAUSE);
        loop {
            match step().await {
                Ok(done) => return Ok(done),
                Err(error) => pause = self.bear(error, started, pause).await?,
            }
        }
    }

    /// Pauses, where it may be better the next time; the answer is the next pause.
    async fn bear(&self, error: StoreError, started: Instant, pause: Duration) -> Result<Duration, StoreError> {
        match error {
            StoreError::Unavailable(why) | StoreError::Unknown(why) if started.elapsed() < self.mover.patience => {
                tracing::warn!(why, "a server does not answer: the move waits for it");
                tokio::time::sleep(pause).await;
                Ok((pause * 2).min(PAUSE_MAX))
            }
            error => Err(error),
        }
    }
}
