//! The clients of the simulated nodes, and the routers that their requests pass: what is asked, forwarded, corrected, parked
//! and served. And what must hold after each step.

use super::world::*;
use crate::cluster::protocol::messages::Input;
use crate::cluster::protocol::routing::{Route, Verdict, judge};
use crate::cluster::protocol::types::Slot;
use crate::cluster::{Moment, NodeId};

impl World {
    /// A client asks this node for something in this slot.
    pub fn ask(&mut self, node: &NodeId, slot: Slot, ms: i64) {
        let deadline = self.now + ms;
        let request = Request { origin: node.clone(), slot, epoch: 0, hops: 0, tries: 0, deadline };
        self.request(node, request);
    }

    pub(super) fn request(&mut self, node: &NodeId, request: Request) {
        let Some(one) = self.nodes.get(node).filter(|one| !one.is_paused) else {
            return self.ask_again(node, request);
        };
        // None overtakes another.
        if one.parking.waiting(request.slot) > 0 {
            return self.park(node, request);
        }
        let route = one.routes[usize::from(request.slot)].clone();
        let verdict = match &route {
            Route::Peer { to, epoch, .. } if request.hops == 0 => {
                Verdict::Forward { to: to.clone(), epoch: *epoch, hops: 1 }
            }
            route => judge(route, request.epoch, request.hops),
        };
        self.judged(node, request, verdict);
    }

    pub(super) fn judged(&mut self, node: &NodeId, request: Request, verdict: Verdict) {
        let slot = request.slot;
        match verdict {
            Verdict::Serve if self.serves(node, slot) => {
                if self.is_told {
                    self.say(format!("{node} serves {slot} for {}, {} hops", request.origin, request.hops));
                }
                self.served += 1;
            }
            // The slot is between two standings: it would say that it can be asked again.
            Verdict::Serve => self.ask_again(node, request),
            Verdict::Park => self.park(node, request),
            Verdict::ParkAndRead => {
                let epoch = request.epoch;
                self.park(node, request);
                self.give(node, Input::SawEpoch { slot, epoch });
            }
            Verdict::Forward { to, epoch, hops } => {
                if self.cuts.contains(&(node.clone(), to.clone())) {
                    return self.ask_again(node, request);
                }
                let delay = self.up_to(self.chances.message_ms_max, 1);
                self.after(delay, Happening::Request(to, Request { epoch, hops, ..request }));
            }
            Verdict::NotOwner { owner, epoch } => {
                if self.mutation == Some(Mutation::NeverCorrects) {
                    self.dropped += 1;
                    return;
                }
                let origin = request.origin.clone();
                self.give(&origin, Input::SawOwner { slot, owner, epoch });
                self.ask_again(&origin, request);
            }
        }
    }

    /// Its link was lost, or it was told to try elsewhere: whoever asked tries again until his deadline.
    pub(super) fn ask_again(&mut self, _at: &NodeId, request: Request) {
        let tries = request.tries + 1;
        if request.deadline <= self.now || tries > CLIENT_TRIES_MAX || !self.nodes.contains_key(&request.origin) {
            self.late += 1;
            return;
        }
        let origin = request.origin.clone();
        self.after(i64::from(tries) * 20, Happening::Request(origin, Request { hops: 0, epoch: 0, tries, ..request }));
    }

    pub(super) fn park(&mut self, node: &NodeId, request: Request) {
        let Some(one) = self.nodes.get_mut(node) else { return };
        let (slot, deadline) = (request.slot, Moment::from_millis(request.deadline));
        if one.parking.park(slot, request, deadline).is_err() {
            self.late += 1;
        }
    }

    pub(super) fn expire(&mut self, node: &NodeId) {
        let now = Moment::from_millis(self.now);
        let Some(one) = self.nodes.get_mut(node) else { return };
        self.late += one.parking.expire(now).len() as u64;
    }

    pub(super) fn release(&mut self, node: &NodeId, slot: Slot) {
        if self.mutation == Some(Mutation::ForgetsWhoWaits) {
            return;
        }
        loop {
            let Some(one) = self.nodes.get_mut(node) else { return };
            let route = one.routes[usize::from(slot)].clone();
            let waiting = one.parking.release(slot);
            if waiting.is_empty() {
                return;
            }
            if matches!(route, Route::Park { .. }) {
                return waiting.into_iter().for_each(|request| self.park(node, request));
            }
            for request in waiting {
                self.after(0, Happening::Request(node.clone(), request));
            }
        }
    }

    /// Whether a reply of this slot may leave this node now.
    pub fn serves(&self, node: &NodeId, slot: Slot) -> bool {
        let now = self.clock(node);
        let of = self.nodes.get(node).filter(|one| !one.is_paused && now < one.lease_until);
        matches!(of.and_then(|one| one.hosted.get(&slot)), Some(Hosted::Running { .. }))
    }

    /// Whoever may answer for a slot is its owner in the store, at the store's epoch.
    pub(super) fn check(&mut self) {
        for (id, node) in &self.nodes {
            let now = Moment::from_millis(node.offset + self.now + self.now * node.drift / 1_000_000);
            if node.is_paused || now >= node.lease_until {
                continue;
            }
            for (slot, hosted) in &node.hosted {
                let Hosted::Running { epoch } = hosted else { continue };
                let head = &self.store.slots[usize::from(*slot)];
                if head.epoch != *epoch || head.owner.as_ref() != Some(id) {
                    self.violations.push(format!(
                        "at {}: {id} serves slot {slot} at epoch {epoch}, and the store has {:?} at {}",
                        self.now, head.owner, head.epoch
                    ));
                }
            }
        }
    }

    pub fn waiting(&self) -> usize {
        self.nodes.values().map(|node| node.parking.len()).sum()
    }
}
