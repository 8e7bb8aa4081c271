//! What one server does when a slot goes from it, or comes to it: the steps of a move, each a statement that changes nothing
//! where it is done already. In which order they are taken, and why that is safe, is [`super::super::several::moving`]'s.
//!
//! A slot is here while its row is in `souk_slots`. Whoever appends, claims or transfers needs that row, and locks it; whoever
//! reads looks for it in the same statement ([`super::reads`]). So to delete it is the cut: it waits for what is on its way,
//! and after it nobody finds the slot here. A row of `souk_moves` takes its place, in the same statement.
//!
//! What comes is written only while the slot's row in `souk_moves` says that it comes, and that row is held meanwhile: a mover
//! that was overtaken by another writes nothing into a slot that is served already. What has gone is deleted in the same way.

mod rows;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{Slot, SlotHead, StoreError};
use super::connect::{Lent, Pools};
use super::failure::Failure;
use super::plan::signed;

pub use rows::Table;

const COMES: i16 = 1;
const HAS_GONE: i16 = 2;

/// How a slot stands on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is here.
    Here(SlotHead),
    /// Its rows are being written.
    Comes { from: i32 },
    /// It was here, and stood so when it left. Its rows are still to be deleted.
    HasGone { to: i32, head: SlotHead },
    /// It is not here, and nothing of it is.
    Absent,
}

const STANDING: &str = "select s.slot is not null, s.owner, s.epoch, s.seq, s.at_ms,
        m.state, m.server, m.owner, m.epoch, m.seq, m.at_ms
    from (values ($1::int4)) as w(slot)
        left join souk_slots s on s.slot = w.slot left join souk_moves m on m.slot = w.slot";
const PLACE: &str = "select server, moving_to from souk_places where slot = $1";
const MARK: &str = "update souk_places set moving_to = $3
    where slot = $1 and server = $2 and (moving_to is null or moving_to = $3) returning slot";
const UNMARK: &str = "update souk_places set moving_to = null
    where slot = $1 and server = $2 and moving_to = $3 returning slot";
/// A server that never had the slot has a row of it that nobody has touched.
const EXPECT: &str = "with untouched as (
        delete from souk_slots where slot = $1 and epoch = 0 and seq = 0 and owner is null returning slot
    )
    insert into souk_moves (slot, state, server)
    select $1, $2, $3 where exists (select 1 from untouched) or not exists (select 1 from souk_slots where slot = $1)
    on conflict do nothing returning slot";
const CUT: &str = "with gone as (
        delete from souk_slots where slot = $1 returning slot, owner, epoch, seq, at_ms
    )
    insert into souk_moves (slot, state, server, owner, epoch, seq, at_ms)
    select slot, $2, $3, owner, epoch, seq, at_ms from gone returning slot";
const OPEN: &str = "with arrived as (
        delete from souk_moves where slot = $1 and state = $2 and server = $3 returning slot
    )
    insert into souk_slots (slot, owner, epoch, seq, at_ms)
    select slot, $4, $5, $6, $7 from arrived returning slot";
const SWITCH: &str = "with switched as (
        update souk_places set server = $3, moving_to = null
        where slot = $1 and server = $2 and moving_to = $3 returning slot
    )
    update souk_server set map = map + 1 where one and exists (select 1 from switched) returning map";
/// The slot comes no more: what has come is to be deleted.
const ABANDON: &str = "update souk_moves set state = $3 where slot = $1 and state = $2 returning slot";
/// As after a claim, at the epoch above.
const REOPEN: &str = "with back as (
        delete from souk_moves where slot = $1 and state = $2 and server = $3
        returning slot, owner, epoch, seq, at_ms
    )
    insert into souk_slots (slot, owner, epoch, seq, at_ms)
    select slot, owner, epoch + 1, seq, at_ms from back returning slot";
const END: &str = "delete from souk_moves where slot = $1 and state = $2 returning slot";
const LOCK: &str = "select pg_try_advisory_lock($1)";
/// "souk", and the first word of what it is for.
const LOCK_KEY: i64 = 0x736f_756b_6d6f_7665;

/// Held by a mover: no second one begins. It is a courtesy, and keeps nothing safe.
pub struct MoverLock(Option<Lent>);

impl Drop for MoverLock {
    /// The lock goes with the session.
    fn drop(&mut self) {
        if let Some(lent) = self.0.take() {
            lent.close();
        }
    }
}

pub struct Moving<'a>(pub &'a Pools);

impl Moving<'_> {
    /// A statement of a move. What fails for the moment is [`StoreError::Unavailable`], and whether it was done is not
    /// told: all can be taken again.
    async fn run(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        self.0.reads.query(sql, parameters).await.map_err(Failure::of_a_read)
    }

    async fn is_done(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<bool, StoreError> {
        Ok(!self.run(sql, parameters).await?.is_empty())
    }

    /// `None`: another mover has it. (An engine without such locks has none to give: whoever moves there sees to it.)
    pub async fn lock(&self) -> Result<Option<MoverLock>, StoreError> {
        let mut lent = self.0.owners.lend().await.map_err(Failure::of_a_read)?;
        match lent.query(LOCK, &[&LOCK_KEY]).await {
            Ok(rows) if rows.first().is_some_and(|row| row.get(0)) => Ok(Some(MoverLock(Some(lent)))),
            Ok(_) => Ok(None),
            Err(Failure::NotDone(why)) => {
                tracing::warn!(why, "the server has no advisory locks: let no other mover run");
                Ok(Some(MoverLock(None)))
            }
            Err(failure) => Err(failure.of_a_read()),
        }
    }

    pub async fn standing(&self, slot: Slot) -> Result<Standing, StoreError> {
        let rows = self.run(STANDING, &[&i32::from(slot)]).await?;
        let Some(row) = rows.first() else { return Ok(Standing::Absent) };
        if row.get(0) {
            return Ok(Standing::Here(head(row, 1)));
        }
        Ok(match row.get::<_, Option<i16>>(5) {
            Some(COMES) => Standing::Comes { from: row.get(6) },
            Some(HAS_GONE) => Standing::HasGone { to: row.get(6), head: head(row, 7) },
            Some(state) => return Err(StoreError::Damaged(format!("souk_moves, slot {slot}: no state is {state}"))),
            None => Standing::Absent,
        })
    }

    /// On the first server: where the slot lies, and where it is to go.
    pub async fn place(&self, slot: Slot) -> Result<(i32, Option<i32>), StoreError> {
        let rows = self.run(PLACE, &[&i32::from(slot)]).await?;
        let missing = || StoreError::Damaged(format!("slot {slot} is not in the map"));
        rows.first().map(|row| (row.get(0), row.get(1))).ok_or_else(missing)
    }

    /// On the first server: the slot is to go from one to the other, if it lies there and goes nowhere else.
    pub async fn mark(&self, slot: Slot, from: i32, to: i32) -> Result<bool, StoreError> {
        self.is_done(MARK, &[&i32::from(slot), &from, &to]).await
    }

    /// On the first server: the slot goes nowhere.
    pub async fn unmark(&self, slot: Slot, from: i32, to: i32) -> Result<bool, StoreError> {
        self.is_done(UNMARK, &[&i32::from(slot), &from, &to]).await
    }

    /// The slot is to come here, and nothing of it is here.
    pub async fn expect(&self, slot: Slot, from: i32) -> Result<bool, StoreError> {
        self.is_done(EXPECT, &[&i32::from(slot), &COMES, &from]).await
    }

    /// From here on the slot is not here any more.
    pub async fn cut(&self, slot: Slot, to: i32) -> Result<bool, StoreError> {
        self.is_done(CUT, &[&i32::from(slot), &HAS_GONE, &to]).await
    }

    /// All has come: from here on the slot is here, and stands so.
    pub async fn open(&self, slot: Slot, from: i32, head: &SlotHead) -> Result<bool, StoreError> {
        let (epoch, seq) = (signed(head.epoch), signed(head.seq));
        self.is_done(OPEN, &[&i32::from(slot), &COMES, &from, &head.owner, &epoch, &seq, &head.at_ms]).await
    }

    /// Nothing more is written to the slot here, and it is not opened.
    pub async fn abandon(&self, slot: Slot) -> Result<bool, StoreError> {
        self.is_done(ABANDON, &[&i32::from(slot), &COMES, &HAS_GONE]).await
    }

    /// The slot is here again, if it has gone to that server. There it must have been abandoned before.
    pub async fn reopen(&self, slot: Slot, to: i32) -> Result<bool, StoreError> {
        self.is_done(REOPEN, &[&i32::from(slot), &HAS_GONE, &to]).await
    }

    /// On the first server: from here on everybody looks for the slot on the other server.
    pub async fn switch(&self, slot: Slot, from: i32, to: i32) -> Result<bool, StoreError> {
        self.is_done(SWITCH, &[&i32::from(slot), &from, &to]).await
    }

    /// Deletes a page of what is left of a slot that has gone; `false`: nothing was left but the word that it has gone, and
    /// that went too.
    pub async fn delete_some(&self, slot: Slot) -> Result<bool, StoreError> {
        if rows::delete_page(self, slot).await? {
            return Ok(true);
        }
        self.is_done(END, &[&i32::from(slot), &HAS_GONE]).await.map(|_| false)
    }
}

fn head(row: &Row, at: usize) -> SlotHead {
    let number = |at: usize| row.get::<_, i64>(at).cast_unsigned();
    SlotHead { owner: row.get(at), epoch: number(at + 1), seq: number(at + 2), at_ms: row.get(at + 3) }
}
