//! Where requests go: the slot map as this node knows it, and what becomes of a request that arrives.
//!
//! The map is a cache of the ownership table. An epoch belongs to one owner for ever, so of two entries the one with the
//! higher epoch is right, whoever tells it. A wrong entry costs a detour: the node that gets the request knows better,
//! or reads the table before it answers.

use super::super::ownership::NodeId;
use super::types::{Epoch, Slot, SlotView};

/// How many nodes a request passes at most after the one that the client asked.
pub const HOPS_MAX: u8 = 2;

/// Where requests for a slot go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// Into the slot, which lives here.
    Local { epoch: Epoch },
    /// To this peer: the owner, or one that can reach the owner where this node cannot.
    Peer { to: NodeId, owner: NodeId, epoch: Epoch },
    /// Nowhere now: they wait, each until its deadline. The epoch is the highest known.
    Park { epoch: Epoch },
}

impl Route {
    pub fn epoch(&self) -> Epoch {
        match self {
            Route::Local { epoch } | Route::Peer { epoch, .. } | Route::Park { epoch } => *epoch,
        }
    }
}

/// What becomes of a request that a peer has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Into the slot.
    Serve,
    /// It waits until the route changes.
    Park,
    /// It waits until the tables have been read: the sender knows more than this node. (Tell the protocol: `SawEpoch`.)
    ParkAndRead,
    /// On to this peer, with these hops behind it.
    Forward { to: NodeId, epoch: Epoch, hops: u8 },
    /// Answer that this is the owner. The sender corrects its map, and sends the request there.
    NotOwner { owner: NodeId, epoch: Epoch },
}

/// Judges a request that came from a peer which knew this epoch. `hops`: how many nodes it has been sent to, this one
/// included.
pub fn judge(route: &Route, sent_epoch: Epoch, hops: u8) -> Verdict {
    if sent_epoch > route.epoch() {
        return Verdict::ParkAndRead;
    }
    match route {
        Route::Local { .. } => Verdict::Serve,
        Route::Park { .. } => Verdict::Park,
        Route::Peer { to, epoch, .. } if hops < HOPS_MAX => {
            Verdict::Forward { to: to.clone(), epoch: *epoch, hops: hops + 1 }
        }
        Route::Peer { owner, epoch, .. } => Verdict::NotOwner { owner: owner.clone(), epoch: *epoch },
    }
}

#[derive(Debug, Clone, Default, Hash)]
struct Entry {
    owner: Option<NodeId>,
    epoch: Epoch,
    /// Reads with a lower number began before this was learned: what they show may be older.
    since_read: u64,
    /// The store has shown it; a peer's word is only good for finding the way.
    is_confirmed: bool,
}

/// The slot map.
#[derive(Debug, Clone, Hash)]
pub struct SlotMap {
    entries: Vec<Entry>,
    /// The number that the next read will have.
    next_read: u64,
    /// The number of the read that was taken in last.
    last_read: u64,
}

/// What a row of the table has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub owner_before: Option<NodeId>,
    pub epoch_before: Epoch,
}

impl SlotMap {
    pub fn new(slots: u16) -> SlotMap {
        SlotMap { entries: vec![Entry::default(); usize::from(slots)], next_read: 1, last_read: 0 }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        0..self.entries.len() as Slot
    }

    pub fn has(&self, slot: Slot) -> bool {
        usize::from(slot) < self.entries.len()
    }

    pub fn owner(&self, slot: Slot) -> Option<&NodeId> {
        self.entries.get(usize::from(slot))?.owner.as_ref()
    }

    pub fn epoch(&self, slot: Slot) -> Epoch {
        self.entries.get(usize::from(slot)).map_or(0, |entry| entry.epoch)
    }

    /// Whether the store itself has said so, and nothing since has made it doubtful.
    pub fn is_certain(&self, slot: Slot) -> bool {
        self.entries.get(usize::from(slot)).is_some_and(|entry| entry.is_confirmed)
    }

    /// Whether the last read has shown the entry as it is, and not an answer that came while it was on its way. That read also
    /// said which nodes are lost: a node that it showed as lost may be back, and have gained the slot since.
    pub fn is_shown(&self, slot: Slot) -> bool {
        let entry = self.entries.get(usize::from(slot));
        entry.is_some_and(|entry| entry.is_confirmed && entry.since_read <= self.last_read)
    }

    /// The number for a read that begins now.
    pub fn begin_read(&mut self) -> u64 {
        self.next_read += 1;
        self.next_read - 1
    }

    /// The answer to a claim or a transfer of this node's own, or what it knows of a slot of its own.
    pub fn learn(&mut self, slot: Slot, owner: &NodeId, epoch: Epoch) {
        let since_read = self.next_read;
        if let Some(entry) = self.entries.get_mut(usize::from(slot)) {
            *entry = Entry { owner: Some(owner.clone()), epoch, since_read, is_confirmed: true };
        }
    }

    /// A peer says so. Lower epochs are ignored. The answer is whether it is news.
    pub fn hint(&mut self, slot: Slot, owner: &NodeId, epoch: Epoch) -> bool {
        let since_read = self.next_read;
        match self.entries.get_mut(usize::from(slot)) {
            Some(entry) if epoch > entry.epoch => {
                *entry = Entry { owner: Some(owner.clone()), epoch, since_read, is_confirmed: false };
                true
            }
            Some(_) | None => false,
        }
    }

    /// A call of unknown outcome, or a refusal, has made the entry doubtful: only a read that begins from now on counts.
    pub fn doubt(&mut self, slot: Slot) {
        let since_read = self.next_read;
        if let Some(entry) = self.entries.get_mut(usize::from(slot)) {
            entry.since_read = since_read;
            entry.is_confirmed = false;
        }
    }

    /// A row, as this read shows it. The store has the last word, also where its epoch is lower (it may have lost its last
    /// changes in a fail-over); unless the read began before what the entry says was learned.
    pub fn read(&mut self, number: u64, slot: Slot, row: &SlotView) -> Option<Changed> {
        self.last_read = self.last_read.max(number);
        let entry = self.entries.get_mut(usize::from(slot))?;
        if number < entry.since_read {
            return None;
        }
        let is_other = entry.epoch != row.epoch || entry.owner != row.owner;
        let now = Entry { owner: row.owner.clone(), epoch: row.epoch, is_confirmed: true, ..*entry };
        let before = std::mem::replace(entry, now);
        is_other.then_some(Changed { owner_before: before.owner, epoch_before: before.epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(hint: &str) -> Route {
        Route::Peer { to: NodeId::of(hint), owner: NodeId::of(hint), epoch: 5 }
    }

    #[test]
    fn a_request_is_served_forwarded_corrected_or_waits() {
        assert_eq!(judge(&Route::Local { epoch: 5 }, 5, 1), Verdict::Serve);
        assert_eq!(judge(&Route::Local { epoch: 5 }, 3, 2), Verdict::Serve, "the sender knew less, and was right");
        assert_eq!(judge(&Route::Local { epoch: 5 }, 6, 1), Verdict::ParkAndRead, "it may be another's by now");
        assert_eq!(judge(&peer("c"), 4, 1), Verdict::Forward { to: NodeId::of("c"), epoch: 5, hops: 2 });
        assert_eq!(judge(&peer("c"), 4, 2), Verdict::NotOwner { owner: NodeId::of("c"), epoch: 5 }, "two hops at most");
        assert_eq!(judge(&Route::Park { epoch: 5 }, 5, 1), Verdict::Park);
        assert_eq!(judge(&Route::Park { epoch: 5 }, 6, 1), Verdict::ParkAndRead);
    }

    #[test]
    fn what_was_learned_while_a_read_was_on_its_way_is_not_shown_by_it() {
        let a = NodeId::of("a");
        let mut map = SlotMap::new(1);
        let early = map.begin_read();
        map.learn(0, &a, 4);
        map.read(early, 0, &SlotView::default());
        assert!(map.is_certain(0) && !map.is_shown(0));
        let late = map.begin_read();
        map.read(late, 0, &SlotView { owner: Some(a), epoch: 4 });
        assert!(map.is_shown(0));
    }

    #[test]
    fn the_higher_epoch_is_right_and_the_store_has_the_last_word() {
        let (a, b) = (NodeId::of("a"), NodeId::of("b"));
        let row = |owner: &NodeId, epoch| SlotView { owner: Some(owner.clone()), epoch };
        let mut map = SlotMap::new(1);
        let first = map.begin_read();
        assert!(map.read(first, 0, &row(&a, 3)).is_some());
        assert!(!map.hint(0, &b, 3) && !map.hint(0, &b, 2), "not higher");
        let early = map.begin_read();
        assert!(map.hint(0, &b, 4) && !map.is_certain(0));
        assert_eq!(map.read(early, 0, &row(&a, 3)), None, "this read began before the hint came");
        let late = map.begin_read();
        assert_eq!(map.read(late, 0, &row(&b, 4)), None, "nothing new");
        assert!(map.is_certain(0));
        let back = map.begin_read();
        assert!(map.read(back, 0, &row(&a, 2)).is_some(), "the store has lost what it had");
        assert_eq!((map.owner(0), map.epoch(0)), (Some(&a), 2));
    }
}
