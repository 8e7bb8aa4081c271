//! The node list of a cluster, the wishes of its operators, and the hand-over of slots: what the nodes of a cluster know
//! of each other lies in the store that they share. (Who owns what is part of the journal: see [`Journal::claim`].)
//!
//! The store keeps no clock for it. A node that lives raises its counter; how long a counter has to stand
//! still before its node counts as gone is for those who watch it to decide.
//!
//! None of it is data of the shop: a copy of a store leaves it behind.

mod list;
mod row;
mod wishes;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

pub use list::NodeList;
pub use row::{NodeRow, NodeState, TEXT_BYTES_MAX, UNREACHABLE_MAX, WEIGHT};
pub use wishes::{REASON_BYTES_MAX, Subject, Wish, WishList, WishRow, may_wish};

use super::{Epoch, Journal, Refusal, Slot, SlotHead, StoreError};

/// Who owns a slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotOwner {
    pub owner: Option<Arc<str>>,
    pub epoch: Epoch,
}

/// What [`Membership::tables`] reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Every slot, in order.
    pub slots: Vec<SlotOwner>,
    /// By id (as bytes), those that have left included.
    pub nodes: Vec<NodeRow>,
    /// Those of nodes by their id, then those of slots in order.
    pub wishes: Vec<WishRow>,
}

/// The node list and planned moves. Everything here is one atomic step, is durable when it answers, and is
/// what every handle on the store reads from then on. After [`StoreError::Unknown`] it may have happened, or
/// may still happen: read the list (or [`Journal::heads`]) to learn which, and for slots claim first.
///
/// An order is promised only one after the other: a claim or a transfer that is *asked for* after a leave
/// was answered sees it; one that is on its way at the same time may go either way. (Only a node itself
/// leaves, so no one is surprised; and whoever finds a slot with an owner that has left may take it.) The same holds of
/// a node that is forgotten.
#[async_trait]
pub trait Membership: Journal {
    /// Enters a node, with the lease counter and the state that the row says. An id enters once, for ever:
    /// [`Refusal::Conflict`] when the list has it, whatever has become of it. (An id that was forgotten the store does not
    /// know any more: it is for those who join never to use one again.)
    /// [`Refusal::Rejected`] when the row cannot be stored ([`NodeRow::check`]) or says that it has left.
    async fn join(&self, node: &NodeRow) -> Result<Result<(), Refusal>, StoreError>;

    /// Raises the lease counter by one, if it is `node.lease`, and replaces the rest of the row by what `node`
    /// says; the answer is the new counter. [`Refusal::Conflict`] when the counter is another one (an earlier
    /// renewal of unknown outcome was made: read the list); [`Refusal::NotMember`] when the node has left or
    /// never joined; [`Refusal::Rejected`] as for `join`.
    ///
    /// That it succeeds says only that the row is there: others may have taken every slot meanwhile, while the node's
    /// machine, and its clock with it, stood still. So who renews also
    /// - looks with each renewal whether a slot that it must own is still its own ([`Journal::head`]), and counts the lease
    ///   from when the *renewal* was sent;
    /// - gives a renewal up soon enough for others to follow within the lease, and reads the counter when the next one is
    ///   a conflict;
    /// - does not renew while what it writes does not settle (a store may take the row and not the records), or a slot takes
    ///   nothing of what it is asked.
    async fn renew(&self, node: &NodeRow) -> Result<Result<u64, Refusal>, StoreError>;

    /// Marks a node as left, for good; the rest of its row stays. Leaving twice is fine. From then on it can
    /// neither come back, renew, claim nor be given a slot. Its slots stay in its name until somebody claims
    /// them, and so does what it may write there: leaving is the last thing that a node does.
    /// [`Refusal::NotMember`] when it never joined.
    async fn leave(&self, id: &str) -> Result<Result<(), Refusal>, StoreError>;

    /// Deletes the row of a node that is gone, and the wishes that name it by its id, for good; one that is not there is
    /// well too. `lease` is the counter that was read with the row.
    ///
    /// Refused ([`Refusal::Conflict`]) while the node lives, for what the store can know: it has not left, and its counter
    /// is another one; while it owns a slot; and when its row is the only one of the list.
    ///
    /// From then on it cannot renew, claim, nor be given a slot ([`Refusal::NotMember`]), however late it wakes up: a list
    /// that had a node once is never empty again, and where there is a list only members may claim. A claim of its own that
    /// is on its way at the same time may still be carried out. Then the slot's owner is in no list, and what it writes
    /// there is in order, until another node claims the slot: as with a node that has left.
    async fn forget(&self, id: &str, lease: u64) -> Result<Result<(), Refusal>, StoreError>;

    /// The whole list by id (as bytes), those that have left included.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;

    /// Writes what is wanted of a node or of a slot, in place of what was wanted before. (A drain is a cordon too: of a node
    /// that drains a cordon changes nothing.) [`Refusal::Rejected`] when the row cannot be stored
    /// ([`WishRow::check`]); [`Refusal::NotMember`] when the node that it names by its id has left or is in no list.
    async fn wish(&self, row: &WishRow) -> Result<Result<(), Refusal>, StoreError>;

    /// Deletes what is wanted of a node or of a slot, if anything is.
    async fn unwish(&self, of: &Subject) -> Result<(), StoreError>;

    /// All wishes: those of nodes by their id, then those of slots in order. There is one row for a node and one for a
    /// slot at most.
    async fn wishes(&self) -> Result<Vec<WishRow>, StoreError>;

    /// What a node of a cluster asks again and again, in one. The slots are as they were before the nodes and the
    /// wishes, or all is of one moment: a node that renews before it claims is seen alive by whoever sees the epoch that
    /// it raised. It costs what it reads: about 20 bytes for a slot and 150 for a node.
    async fn tables(&self) -> Result<Tables, StoreError> {
        let slots = owners(&self.heads().await?);
        let nodes = self.nodes().await?;
        Ok(Tables { slots, nodes, wishes: self.wishes().await? })
    }

    /// Hands slots over: where a slot is still `from`'s at the epoch given, it becomes `to`'s at epoch + 1.
    /// Each slot is one atomic step of its own; the answers come in the order asked, each the slot's head
    /// after the transfer. Refused, and checked in this order: [`Refusal::Rejected`], the store has no such
    /// slot; [`Refusal::NotMember`], `to` has left or never joined; [`Refusal::Fenced`], another owner or
    /// epoch. What [`Journal::claim`] says of what came before, and of new epochs, holds here too.
    async fn transfer(
        &self,
        from: &str,
        to: &str,
        slots: &[(Slot, Epoch)],
    ) -> Result<Vec<Result<SlotHead, Refusal>>, StoreError>;
}

/// A whole store: what every backend is.
pub trait Store: Journal + Membership {}

impl<S: Journal + Membership + ?Sized> Store for S {}

/// Who owns each slot, of heads. Each owner's name is there once.
pub fn owners(heads: &[SlotHead]) -> Vec<SlotOwner> {
    let mut names = Names::default();
    let mut name = |owner: &String| names.of(owner);
    heads.iter().map(|head| SlotOwner { owner: head.owner.as_ref().map(&mut name), epoch: head.epoch }).collect()
}

/// Names that are shared: few nodes own many slots.
#[derive(Default)]
pub struct Names(HashSet<Arc<str>>);

impl Names {
    pub fn of(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}
