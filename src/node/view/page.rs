//! Which slots a page of the list shows. They are found by what is cheap to ask of every slot, so that only the page's own
//! are built: there may be thousands of others.

use crate::cluster::NodeId;
use crate::http::operations::cluster::SlotsAsked;
use crate::http::operations::cluster::shapes::ClusterSlotState;

/// What slots are filtered by.
pub struct Glance {
    pub owner: Option<NodeId>,
    pub state: ClusterSlotState,
}

/// The slots of a page, ascending.
pub struct Found {
    pub slots: Vec<u16>,
    pub has_more: bool,
    /// How many there are in all, if that was asked.
    pub total: Option<u64>,
}

/// `slots`: how many there are.
pub fn find(asked: &SlotsAsked, slots: u16, glance: impl Fn(u16) -> Option<Glance>) -> Found {
    let is_asked = |slot: &u16| {
        let no_filter = asked.owner.is_none() && asked.state.is_none();
        no_filter || glance(*slot).is_some_and(|glance| shows(asked, &glance))
    };
    let behind = asked.after.map_or(0, |after| after.saturating_add(1));
    let mut found: Vec<u16> = (behind..slots).filter(is_asked).take(asked.limit + 1).collect();
    let has_more = found.len() > asked.limit;
    found.truncate(asked.limit);
    let total = asked.with_total.then(|| (0..slots).filter(is_asked).count() as u64);
    Found { slots: found, has_more, total }
}

fn shows(asked: &SlotsAsked, glance: &Glance) -> bool {
    let is_owner = |owner: &String| glance.owner.as_ref().is_some_and(|node| node.as_str() == owner);
    asked.owner.as_ref().is_none_or(is_owner) && asked.state.is_none_or(|state| state == glance.state)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SLOTS: u16 = 16_384;

    fn asked(after: Option<u16>) -> SlotsAsked {
        SlotsAsked { after, limit: 100, owner: None, state: None, with_total: false }
    }

    /// Each third slot is node a's, each hundredth recovers.
    fn glance(slot: u16) -> Option<Glance> {
        let owner = if slot.is_multiple_of(3) { "a#1" } else { "b#1" };
        let recovers = slot.is_multiple_of(100);
        let state = if recovers { ClusterSlotState::Recovering } else { ClusterSlotState::Active };
        Some(Glance { owner: Some(NodeId::of(owner)), state })
    }

    #[test]
    fn a_page_looks_at_its_own_slots_alone() {
        let looked = Cell::new(0);
        let glance = |slot| {
            looked.set(looked.get() + 1);
            glance(slot)
        };
        let found = find(&asked(Some(8_191)), SLOTS, glance);
        assert_eq!((found.slots, found.has_more, found.total), ((8_192..8_292).collect(), true, None));
        let of_a = SlotsAsked { owner: Some("a#1".into()), ..asked(Some(8_191)) };
        let found = find(&of_a, SLOTS, glance);
        assert_eq!((found.slots.len(), found.slots[0], found.has_more), (100, 8_193, true));
        assert!(looked.get() <= 3 * 101, "{} slots", looked.get());
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        let state = Some(ClusterSlotState::Recovering);
        let of_a = |after| SlotsAsked { owner: Some("a#1".into()), state, limit: 20, with_total: true, ..asked(after) };
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let found = find(&of_a(after), SLOTS, glance);
            assert_eq!(found.total, Some(55));
            after = found.slots.last().copied();
            all.extend(found.slots);
            if !found.has_more {
                break;
            }
        }
        assert_eq!(all, (0..SLOTS).step_by(300).collect::<Vec<_>>());
        let found = find(&asked(Some(SLOTS - 1)), SLOTS, glance);
        assert_eq!((found.slots.len(), found.has_more), (0, false));
        let found = find(&asked(Some(u16::MAX)), SLOTS, glance);
        assert_eq!((found.slots.len(), found.has_more), (0, false));
    }
}
