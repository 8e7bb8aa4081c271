//! What a read of the store changes, and the routes that follow from it all.

use std::collections::{BTreeMap, BTreeSet};

use super::super::lease::Moment;
use super::super::ownership::NodeId;
use super::handoff::Stage;
use super::messages::{EndWhy, Event, NotRead, Output, StopWhy};
use super::node::{Holding, Protocol};
use super::routing::{Changed, Route};
use super::types::{Epoch, NodeState, NodeView, Slot, SlotView, StoreView};

impl Protocol {
    pub(super) fn store_read(&mut self, number: u64, asked: Moment, read: Result<StoreView, NotRead>) {
        if self.calls.reading != Some(number) {
            return;
        }
        self.calls.reading = None;
        let Ok(store) = read else {
            self.calls.read_at = self.now.plus(self.settings.again);
            return;
        };
        if self.calls.reads_again {
            self.read_soon();
        } else {
            self.calls.read_at = asked.plus(self.settings.read_every);
        }
        if store.slots.len() != self.map.len() {
            return self.end(EndWhy::OtherSlots { store: store.slots.len() });
        }
        let Some(mine) = store.nodes.iter().find(|row| row.id == self.me.id && row.state != NodeState::Left) else {
            return self.end(EndWhy::NotMember);
        };
        if self.lease.counter().is_none() {
            self.lease.is_at(mine.counter);
        }
        self.see_the_nodes(&store, asked);
        if !self.is_over {
            self.see_the_slots(number, &store.slots);
            self.plans_anew = true;
            self.reroutes_all = true;
        }
    }

    fn see_the_nodes(&mut self, store: &StoreView, asked: Moment) {
        let owners: BTreeSet<NodeId> = store.slots.iter().filter_map(|slot| slot.owner.clone()).collect();
        let is_other = |node: &NodeId| *node != self.me.id;
        let mut counters: BTreeMap<NodeId, Option<u64>> =
            owners.iter().filter(|node| is_other(node)).map(|node| (node.clone(), None)).collect();
        let in_list = |row: &&NodeView| is_other(&row.id);
        counters.extend(store.nodes.iter().filter(in_list).map(|row| (row.id.clone(), Some(row.counter))));
        self.watch.read(counters, asked, self.now, &self.settings);
        let (nodes, wishes) = (store.nodes.clone(), store.wishes.clone());
        let events = self.view.read(nodes, wishes, &owners, &self.watch, self.now);
        self.out.extend(events.into_iter().map(Output::Event));
        if let Some(node) = self.view.incompatible(self.me.reads) {
            return self.end(EndWhy::Incompatible { node });
        }
        let writes = self.view.writes(self.me.writes).min(self.me.reads.1);
        if writes != self.me.writes {
            self.me.writes = writes;
            self.out.push(Output::Event(Event::VersionChanged { writes }));
        }
        let old = self.view.forgettable(self.now, &self.settings);
        self.out.extend(old.into_iter().map(|node| Output::Forget { node }));
    }

    fn see_the_slots(&mut self, number: u64, rows: &[SlotView]) {
        let is_first = !std::mem::replace(&mut self.has_seen_the_slots, true);
        for (slot, row) in self.map.slots().zip(rows) {
            let before = self.map.is_certain(slot);
            match self.map.read(number, slot, row) {
                Some(changed) => self.slot_changed(slot, row, &changed, is_first),
                None if !before => self.note(slot), // certain now
                None => {}
            }
        }
    }

    /// The slot has another owner than this node knew, wherever it has learned it.
    pub(super) fn tell_of_the_owner(&mut self, slot: Slot, before: Option<&NodeId>, owner: &NodeId, epoch: Epoch) {
        let node = owner.clone();
        let event = match before {
            Some(before) if before == owner => return,
            Some(from) if self.view.is_live(from) => Event::SlotMoved { slot, from: from.clone(), node, epoch },
            Some(_) | None => Event::SlotClaimed { slot, node, epoch },
        };
        self.out.push(Output::Event(event));
    }

    fn slot_changed(&mut self, slot: Slot, row: &SlotView, changed: &Changed, is_first: bool) {
        let is_mine = row.owner.as_ref() == Some(&self.me.id);
        if let Some(owner) = row.owner.as_ref().filter(|_| !is_first) {
            self.tell_of_the_owner(slot, changed.owner_before.as_ref(), owner, row.epoch);
        }
        match self.holdings.get_mut(&slot) {
            Some(Holding::Serving { epoch }) if is_mine && row.epoch > *epoch => *epoch = row.epoch, // by itself
            Some(Holding::Giving(giving)) if is_mine && row.epoch > giving.epoch => giving.raised(row.epoch),
            Some(Holding::Giving(giving))
                if row.owner.as_ref() == Some(&giving.to) && giving.stage != Stage::Offering =>
            {
                let to = giving.to.clone();
                self.handed_over(slot, to, row.epoch);
            }
            // The answer will say it.
            Some(Holding::Claiming { .. }) => {}
            // Where it is this node's, it is claimed by the epoch that is known.
            Some(Holding::Suspended { .. }) if is_mine => {}
            Some(Holding::Giving(giving)) if giving.stage != Stage::Offering && !is_mine => self.drop_holding(slot),
            Some(Holding::Serving { .. } | Holding::Suspended { .. } | Holding::Giving(_)) => {
                self.out.push(Output::Event(Event::SlotFenced { slot, epoch: row.epoch }));
                self.stop(slot, StopWhy::Lost);
            }
            None => {}
        }
        self.note(slot);
    }

    /// Tells the router what has changed for it.
    pub(super) fn publish_routes(&mut self) {
        let slots = std::mem::take(&mut self.touched);
        let all = std::mem::replace(&mut self.reroutes_all, false);
        let slots: Vec<Slot> = if all { self.map.slots().collect() } else { slots.into_iter().collect() };
        for slot in slots {
            let route = self.find_route(slot);
            if let Some(known) = self.routes.get_mut(usize::from(slot))
                && *known != route
            {
                known.clone_from(&route);
                self.out.push(Output::Route { slot, route });
            }
        }
    }

    fn find_route(&self, slot: Slot) -> Route {
        let epoch = self.map.epoch(slot);
        match self.holdings.get(&slot) {
            Some(Holding::Serving { epoch }) if self.lease.is_valid() => Route::Local { epoch: *epoch },
            Some(Holding::Giving(giving)) if giving.stage == Stage::Offering && self.lease.is_valid() => {
                Route::Local { epoch: giving.epoch }
            }
            Some(_) => Route::Park { epoch },
            None => match self.map.owner(slot).filter(|owner| **owner != self.me.id) {
                Some(owner) => match self.view.way_to(owner, usize::from(slot)) {
                    Some(to) => Route::Peer { to, owner: owner.clone(), epoch },
                    None => Route::Park { epoch },
                },
                None => Route::Park { epoch },
            },
        }
    }
}
