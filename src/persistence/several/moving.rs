//! Moves slots from one server of a store to another while they are served.
//!
//! **A slot is where its row is.** Whoever appends, claims, transfers or reads asks a server for the slot's row (`souk_slots`)
//! in the same statement. At every moment one server has that row, or none while the slot is on its way; then it is like a
//! slot whose server does not answer. The map on the first server says where to look. An old map, or a node that has slept
//! through a whole move, asks the wrong server, is told `Unavailable`, and reads the map again: nothing rests on who knows what
//! when, on a clock or on a lock.
//!
//! Of each slot, in this order:
//!
//! | step | where | what a crash after it leaves |
//! | --- | --- | --- |
//! | `Marked`: `moving_to` in the map | first server | the slot is served; a move to a third server is refused |
//! | `Expected`: its row in `souk_moves` says that it comes | target | the same |
//! | `Copied`: records and snapshots, in pages, until little is left; compared | target | the same, and a beginning of its records |
//! | `Cut`: its row is deleted, and how it stood is kept in `souk_moves` | source | it is served nowhere |
//! | `Completed`: the rest of the records, receipts, owed, wakes; compared | target | the same |
//! | `Opened`: its row is there, at the epoch above | target | the same: nobody looks there yet |
//! | `Switched`: the map names the target, its number is one more | first server | it is served by the target |
//! | `Deleted`: what is left at the source, in pages; `souk_moves` last | source | done |
//!
//! Each step is one statement (or pages of such) that does nothing where it is done, so a mover that was killed is started
//! again, reads how far each slot is, and goes on. Between `Cut` and `Switched` that is urgent: the slot's shoppers wait for
//! it. So a mover bears a server that does not answer for a while there, and where the rows do not compare it gives the slot
//! back to the source.
//!
//! - *An append on its way at the cut* holds the slot's row: the cut waits for it, and copies what it wrote. One that comes
//!   later finds no row and writes nothing: not done, for certain.
//! - *The owner* stays the same, at the epoch above: its own next append is fenced, so it claims the slot as after any
//!   trouble of the store, reads, and serves. What it answers from memory meanwhile is right: nobody else can have claimed.
//! - *A move that was begun can be called back* until the cut: by a move to where the slot is.
//! - *Two movers at once*: a lock on the first server keeps the second out as a rule. Without it both copy the same rows; what
//!   a slower one writes is refused once the target's row in `souk_moves` is gone, and so is what it deletes.
//! - *A node that does not name the target* cannot serve the slot, says so, and serves the others.
//! - *What expires* may be pruned on both servers while they are compared, so receipts near their end are not compared.
//! - Snapshots have their own checksums and are only an optimisation: they are not compared.

mod one;

use std::ops::Range;
use std::time::Duration;

use super::super::postgres::{Moving, PostgresOptions, PostgresStore, Standing};
use super::super::{Journal, Slot, StoreError};
use super::opening::{Connected, SeveralOptions, connect};
use one::OneSlot;

/// How far a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Marked,
    Expected,
    Copied,
    Cut,
    Completed,
    Opened,
    Switched,
    Deleted,
}

impl Step {
    pub const ALL: [Step; 8] = [
        Step::Marked,
        Step::Expected,
        Step::Copied,
        Step::Cut,
        Step::Completed,
        Step::Opened,
        Step::Switched,
        Step::Deleted,
    ];
}

/// Who is told how far it is.
pub trait MoveWatch: Sync {
    /// An error ends the move there, as if the mover were killed (tests).
    fn reached(&self, slot: Slot, step: Step) -> Result<(), StoreError>;
}

/// What a move comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Slots that were moved, or whose move was finished.
    pub slots: usize,
    /// Slots that were there already.
    pub there: usize,
    /// Records that this run has copied.
    pub records: u64,
    /// The longest time for which one of the slots was on neither server. Milliseconds; none where an earlier run made the cut.
    pub pause_max_ms: u64,
}

/// What a move would do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// Slots that would be moved.
    pub slots: usize,
    pub there: usize,
    /// Of those to be moved, begun by an earlier run.
    pub begun: usize,
    /// Records of those to be moved.
    pub records: u64,
}

/// A store's servers, one of which slots are to be moved to.
pub struct Mover {
    stores: Vec<PostgresStore>,
    numbers: Vec<i32>,
    /// The number of the target.
    to: i32,
    /// How long a server that does not answer is borne where a slot is cut.
    patience: Duration,
}

/// `Fatal`, and why.
fn refuse<T>(why: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Fatal(why.into()))
}

impl Mover {
    /// `target`: an address of one of the servers, all of which the options name. `patience`: how long a server that does not
    /// answer is waited for while a slot is on neither. (A statement that is on its way has its own time beside.)
    pub async fn open(options: SeveralOptions, target: &str, patience: Duration) -> Result<Mover, StoreError> {
        let settings = options.settings.clone();
        let Connected { stores, numbers, name, .. } = connect(SeveralOptions { slots: None, ..options }).await?;
        let target = PostgresOptions { url: target.to_owned(), slots: None, settings };
        let target = PostgresStore::open_part(target).await?;
        let identity = target.identity().await?;
        target.close().await?;
        match identity.filter(|identity| identity.store == name && numbers.contains(&identity.number)) {
            Some(identity) => Ok(Mover { stores, numbers, to: identity.number, patience }),
            None => refuse(
                "the server to move to is no part of this store: name it in store.urls, on every node first, and restart them",
            ),
        }
    }

    pub fn slots(&self) -> Slot {
        self.stores.first().map_or(0, PostgresStore::slots)
    }

    fn head(&self) -> Moving<'_> {
        self.stores[0].moving()
    }

    fn server(&self, number: i32) -> Result<Moving<'_>, StoreError> {
        let at = self.numbers.iter().position(|known| *known == number);
        let missing = || StoreError::Fatal(format!("server {number} of the store is not named (store.urls)"));
        at.and_then(|at| self.stores.get(at)).map(PostgresStore::moving).ok_or_else(missing)
    }

    pub async fn close(&self) -> Result<(), StoreError> {
        for store in &self.stores {
            store.close().await?;
        }
        Ok(())
    }

    /// What [`Mover::run`] would do.
    pub async fn plan(&self, slots: Range<Slot>) -> Result<Plan, StoreError> {
        let mut plan = Plan { slots: 0, there: 0, begun: 0, records: 0 };
        for slot in slots {
            let (from, moving_to) = self.head().place(slot).await?;
            if from == self.to {
                plan.there += 1;
                continue;
            }
            plan.slots += 1;
            plan.begun += usize::from(moving_to.is_some());
            plan.records += match self.server(from)?.standing(slot).await? {
                Standing::Here(head) | Standing::HasGone { head, .. } => head.seq,
                Standing::Comes { .. } | Standing::Absent => 0,
            };
        }
        Ok(plan)
    }

    /// Moves the slots, one after the other, or finishes what an earlier run has begun.
    pub async fn run(&self, slots: Range<Slot>, watch: &dyn MoveWatch) -> Result<Moved, StoreError> {
        let Some(_lock) = self.head().lock().await? else {
            return refuse("another mover is at work on this store: let it finish");
        };
        let mut moved = Moved::default();
        for slot in slots {
            let (from, moving_to) = self.head().place(slot).await?;
            self.clear_up(slot, from).await?;
            match moving_to {
                None if from == self.to => moved.there += 1,
                Some(other) if from == self.to => {
                    self.call_back(slot, from, other).await?;
                    moved.there += 1;
                }
                Some(other) if other != self.to => {
                    return refuse(format!("slot {slot} is on its way to server {other}: finish that move first"));
                }
                Some(_) | None => {
                    let one = OneSlot { mover: self, slot, from, to: self.to, watch };
                    one.run(&mut moved).await?;
                    moved.slots += 1;
                }
            }
        }
        Ok(moved)
    }

    /// Ends a move that was begun, of a slot that is to stay where it is.
    async fn call_back(&self, slot: Slot, from: i32, other: i32) -> Result<(), StoreError> {
        if !matches!(self.server(from)?.standing(slot).await?, Standing::Here(_)) {
            return refuse(format!("slot {slot} is on its way to server {other}: finish that move first"));
        }
        let target = self.server(other)?;
        target.abandon(slot).await?;
        while target.delete_some(slot).await? {}
        self.head().unmark(slot, from, other).await.map(|_| ())
    }

    /// Deletes what earlier moves have left of a slot on servers that it has left.
    async fn clear_up(&self, slot: Slot, place: i32) -> Result<(), StoreError> {
        for (number, store) in self.numbers.iter().zip(&self.stores) {
            let server = store.moving();
            if *number != place && matches!(server.standing(slot).await?, Standing::HasGone { .. }) {
                while server.delete_some(slot).await? {}
            }
        }
        Ok(())
    }
}
