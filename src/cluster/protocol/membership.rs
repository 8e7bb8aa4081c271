//! Who is there: the node list as this node sees it, with what it has watched and which links are up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::lease::Moment;
use super::super::ownership::NodeId;
use super::leases::Watch;
use super::messages::Event;
use super::plan::{PlanNode, Standing};
use super::settings::Settings;
use super::types::{Cordon, NodeState, NodeView, Place, Version, WishChange, Wishes};

/// The most nodes that one row can say it does not reach: what the store takes.
const UNREACHABLE_MAX: usize = 1_024;

/// A node of the list, and what is known of it beside its row.
#[derive(Debug, Clone, Hash)]
pub struct Member {
    pub row: NodeView,
    /// Its counter stood still for the whole lease.
    pub is_lost: bool,
    /// Since when this node has seen it alive without a break.
    alive_since: Moment,
    /// When this node saw its counter move last.
    moved_at: Option<Moment>,
    /// Since when most others say that they cannot reach it.
    isolated_since: Option<Moment>,
    /// Since when it is gone and owns nothing.
    useless_since: Option<Moment>,
    has_drained: bool,
}

impl Member {
    fn new(row: NodeView, now: Moment) -> Member {
        let (is_lost, has_drained) = (false, false);
        let (moved_at, isolated_since, useless_since) = (None, None, None);
        Member { row, is_lost, alive_since: now, moved_at, isolated_since, useless_since, has_drained }
    }

    pub fn is_live(&self) -> bool {
        !self.is_lost && self.row.state != NodeState::Left
    }

    /// Whether both have gone on when this node had seen both for a while. (One that was killed counts as live until its lease is
    /// over, and longer where this node cannot read: that it goes on nobody has seen.)
    fn lives_beside(&self, other: &Member, settings: &Settings) -> bool {
        let since = self.alive_since.max(other.alive_since);
        let has_lasted = |member: &Member| member.moved_at.is_some_and(|at| at.since(since) >= settings.settle);
        has_lasted(self) && has_lasted(other)
    }

    fn is_isolated(&self, now: Moment, settings: &Settings) -> bool {
        self.isolated_since.is_some_and(|at| now.since(at) >= settings.isolated_after)
    }
}

#[derive(Debug, Clone, Hash)]
pub struct View {
    me: NodeId,
    /// What this node is about to do: its row in the list may be older.
    pub my_state: NodeState,
    members: BTreeMap<NodeId, Member>,
    /// Owners of slots that are in no list, and whether they count as lost.
    strangers: BTreeMap<NodeId, bool>,
    wishes: Wishes,
    /// What the link has said of each peer.
    links: BTreeMap<NodeId, bool>,
    has_read: bool,
}

impl View {
    pub fn new(me: NodeId) -> View {
        View {
            me,
            my_state: NodeState::Joining,
            members: BTreeMap::new(),
            strangers: BTreeMap::new(),
            wishes: Wishes::default(),
            links: BTreeMap::new(),
            has_read: false,
        }
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    pub fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    /// A wish that is in the store now: the next read shows it too.
    pub fn wish(&mut self, change: &WishChange) -> Vec<Event> {
        let mut now = self.wishes.clone();
        now.apply(change);
        let events = wished(&self.wishes, &now);
        self.wishes = now;
        events
    }

    /// Takes in the list and the wishes. `owners`: who owns slots. The answer is what operators should know of.
    pub fn read(
        &mut self,
        nodes: Vec<NodeView>,
        wishes: Wishes,
        owners: &BTreeSet<NodeId>,
        watch: &Watch,
        now: Moment,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let listed: BTreeSet<NodeId> = nodes.iter().map(|row| row.id.clone()).collect();
        // A peer that is in no list yet may have a link already: its list was read before it joined.
        let links = &mut self.links;
        self.members.retain(|node, _| {
            let stays = listed.contains(node);
            if !stays {
                links.remove(node);
            }
            stays
        });
        let strangers = owners.iter().filter(|owner| !listed.contains(*owner));
        self.strangers = strangers.map(|owner| (owner.clone(), watch.is_lost(owner))).collect();
        for row in nodes {
            let is_lost = row.id != self.me && watch.is_lost(&row.id);
            self.take_in(row, is_lost, now, &mut events);
        }
        events.extend(wished(&self.wishes, &wishes));
        self.wishes = wishes;
        self.see_who_is_isolated(now);
        for member in self.members.values_mut() {
            let is_useless = !member.is_live() && !owners.contains(&member.row.id);
            member.useless_since = is_useless.then(|| member.useless_since.unwrap_or(now));
            let drains = member.row.state == NodeState::Draining || self.wishes.drains(&member.row.id);
            let has_drained = drains && member.is_live() && !owners.contains(&member.row.id);
            if has_drained && !member.has_drained {
                events.push(Event::DrainDone { node: member.row.id.clone() });
            }
            member.has_drained = has_drained;
        }
        if !std::mem::replace(&mut self.has_read, true) {
            events.clear(); // all is new to a node that has just come
        }
        events
    }

    fn take_in(&mut self, row: NodeView, is_lost: bool, now: Moment, events: &mut Vec<Event>) {
        let node = row.id.clone();
        let Some(member) = self.members.get_mut(&node) else {
            let has_left = row.state == NodeState::Left;
            self.members.insert(node.clone(), Member::new(row, now));
            if !has_left {
                events.push(Event::NodeJoined { node });
            }
            return;
        };
        let before = std::mem::replace(&mut member.row, row);
        if member.row.counter != before.counter {
            member.moved_at = Some(now);
        }
        if member.row.state == NodeState::Left {
            if before.state != NodeState::Left {
                events.push(Event::NodeLeft { node });
            }
        } else if is_lost != member.is_lost {
            member.is_lost = is_lost;
            member.alive_since = now;
            events.push(if is_lost { Event::NodeLost { node } } else { Event::NodeBack { node } });
        } else if member.row.state == NodeState::Draining && before.state != NodeState::Draining {
            events.push(Event::DrainStarted { node });
        }
    }

    /// A node that more than half of the other live nodes cannot reach is cut off. Of two nodes nobody can say which; and
    /// where all are cut off from each other, nobody is.
    fn see_who_is_isolated(&mut self, now: Moment) {
        let live: Vec<&Member> = self.members.values().filter(|member| member.is_live()).collect();
        let others = live.len().saturating_sub(1);
        let mut accused: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for member in &live {
            for node in member.row.unreachable.iter().filter(|node| **node != member.row.id) {
                *accused.entry(node).or_default() += 1;
            }
        }
        let is_cut_off = |member: &&&Member| {
            others >= 2 && accused.get(&member.row.id).is_some_and(|accusers| accusers * 2 > others)
        };
        let mut isolated: BTreeSet<NodeId> =
            live.iter().filter(is_cut_off).map(|member| member.row.id.clone()).collect();
        if isolated.len() == live.len() {
            isolated.clear();
        }
        for (node, member) in &mut self.members {
            member.isolated_since = isolated.contains(node).then(|| member.isolated_since.unwrap_or(now));
        }
    }

    pub fn is_live(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(Member::is_live)
    }

    /// Whether the node is gone for certain: it has left, or its lease has run out.
    pub fn is_gone(&self, node: &NodeId) -> bool {
        match self.members.get(node) {
            Some(member) => !member.is_live(),
            None => self.strangers.get(node).copied().unwrap_or(false),
        }
    }

    /// What a node does, by its row; this one knows it sooner.
    pub fn state(&self, member: &Member) -> NodeState {
        if member.row.id == self.me { self.my_state.max(member.row.state) } else { member.row.state }
    }

    pub fn standing(&self, node: &NodeId, now: Moment, settings: &Settings) -> Standing {
        let Some(member) = self.members.get(node) else {
            return if self.is_gone(node) { Standing::Gone } else { Standing::Keeping };
        };
        let is_me = *node == self.me;
        let has_lasted = |since: Moment, time| now.since(since) >= time;
        match self.state(member) {
            NodeState::Left => Standing::Gone,
            _ if member.is_lost => Standing::Gone,
            NodeState::Draining => Standing::Draining,
            _ if self.wishes.drains(node) => Standing::Draining,
            NodeState::Joining => Standing::Keeping,
            NodeState::Serving if member.is_isolated(now, settings) => Standing::Isolated,
            NodeState::Serving if self.wishes.nodes.contains_key(node) => Standing::Keeping,
            NodeState::Serving if is_me || has_lasted(member.alive_since, settings.settle) => Standing::Serving,
            NodeState::Serving => Standing::Settling,
        }
    }

    /// What the plan is to know of the nodes.
    pub fn plan_nodes(&self, now: Moment, settings: &Settings) -> Vec<PlanNode> {
        let listed = self.members.iter().map(|(node, member)| PlanNode {
            id: node.clone(),
            weight: member.row.weight,
            version: member.row.reads.1,
            standing: self.standing(node, now, settings),
        });
        let strangers = self.strangers.keys().map(|node| PlanNode {
            id: node.clone(),
            weight: 0,
            version: 0,
            standing: self.standing(node, now, settings),
        });
        listed.chain(strangers).collect()
    }

    /// The node that operators call so: of several incarnations the one that can take most.
    pub fn named(&self, name: &Arc<str>, now: Moment, settings: &Settings) -> Option<NodeId> {
        let called = self.members.values().filter(|member| member.row.name == *name && member.is_live());
        called.map(|member| member.row.id.clone()).min_by_key(|id| (self.standing(id, now, settings), id.clone()))
    }

    /// Live nodes of one name whose counters have been seen to move side by side for a while: each such name, and their ids.
    /// (Not so of a node that was killed and started again. A node without a share of the slots is a command that goes through
    /// the cluster.)
    pub fn namesakes(&self, settings: &Settings) -> BTreeMap<Arc<str>, Vec<NodeId>> {
        let mut called: BTreeMap<Arc<str>, Vec<&Member>> = BTreeMap::new();
        for member in self.members.values().filter(|member| member.is_live() && member.row.weight > 0) {
            called.entry(member.row.name.clone()).or_default().push(member);
        }
        let have_company = |(name, nodes): (Arc<str>, Vec<&Member>)| {
            let has_company = |one: &&&Member| {
                nodes.iter().any(|other| other.row.id != one.row.id && one.lives_beside(other, settings))
            };
            let ids: Vec<NodeId> = nodes.iter().filter(has_company).map(|node| node.row.id.clone()).collect();
            (!ids.is_empty()).then_some((name, ids))
        };
        called.into_iter().filter_map(have_company).collect()
    }

    pub fn link(&mut self, peer: NodeId, is_up: bool) {
        if is_up || self.members.contains_key(&peer) {
            self.links.insert(peer, is_up);
        } else {
            self.links.remove(&peer);
        }
    }

    pub fn is_up(&self, peer: &NodeId) -> bool {
        self.links.get(peer).copied().unwrap_or(false)
    }

    /// Whether this node is cut off from the rest of the cluster: most others have not reached it for a while, and it has a
    /// link to none that is not cut off itself. So no request that comes to it finds its way to the slots of others.
    ///
    /// Others agree on it, or it is not so. Of two nodes nobody can say which is cut off, and where all are cut off from each
    /// other nobody is: each goes on with its own slots, which is more than nothing.
    pub fn is_cut_off(&self, now: Moment, settings: &Settings) -> bool {
        let is_isolated = self.members.get(&self.me).is_some_and(|me| me.is_isolated(now, settings));
        let is_well = |member: &&Member| member.is_live() && !member.is_isolated(now, settings);
        is_isolated && !self.members.values().filter(is_well).any(|member| self.is_up(&member.row.id))
    }

    /// Whether the peer has been seen alive for a while, and the link has never said anything of it: it could not be made.
    pub fn was_never_linked(&self, peer: &NodeId, now: Moment, settings: &Settings) -> bool {
        let is_old = |member: &Member| member.is_live() && now.since(member.alive_since) >= settings.isolated_after;
        !self.links.contains_key(peer) && self.members.get(peer).is_some_and(is_old)
    }

    /// The peers that this node cannot reach, as its row says.
    pub fn unreachable(&self) -> BTreeSet<NodeId> {
        let down = self.links.iter().filter(|(peer, is_up)| !**is_up && self.is_live(peer));
        down.map(|(peer, _)| peer.clone()).take(UNREACHABLE_MAX).collect()
    }

    /// The peer to which a request for `owner` is sent: itself, or a third node that can reach it. `spread`: any number;
    /// it chooses among the third nodes.
    pub fn way_to(&self, owner: &NodeId, spread: usize) -> Option<NodeId> {
        if self.is_gone(owner) {
            return None;
        }
        if self.is_up(owner) {
            return Some(owner.clone());
        }
        let member = self.members.get(owner)?;
        let thirds: Vec<&NodeId> = self
            .members
            .iter()
            .filter(|(node, third)| {
                **node != self.me
                    && **node != *owner
                    && third.is_live()
                    && self.is_up(node)
                    && !third.row.unreachable.contains(owner)
                    && !member.row.unreachable.contains(*node)
            })
            .map(|(node, _)| node)
            .collect();
        thirds.get(spread % thirds.len().max(1)).map(|node| (*node).clone())
    }

    /// The highest version that all live nodes read; never lower than what somebody writes already.
    pub fn writes(&self, now: Version) -> Version {
        let live = || self.members.values().filter(|member| member.is_live());
        let written = live().map(|member| member.row.writes).max().unwrap_or(now);
        let read = live().map(|member| member.row.reads.1).min().unwrap_or(now);
        now.max(written).max(read)
    }

    /// A live node that writes what this one cannot read, and will go on so. (That one is not told to end: whoever comes to a
    /// cluster that is ahead of it must not stop the cluster. One that only begins with an old version rises with the others.)
    pub fn incompatible(&self, (oldest, newest): (Version, Version)) -> Option<NodeId> {
        let live = self.members.values().filter(|member| member.is_live() && member.row.id != self.me);
        let cannot = |member: &&Member| member.row.writes > newest || member.row.reads.1 < oldest;
        live.filter(cannot).map(|member| member.row.id.clone()).next()
    }

    /// Nodes that are gone, own nothing, and have been so for long: their rows can go.
    pub fn forgettable(&self, now: Moment, settings: &Settings) -> Vec<NodeId> {
        let is_old = |at: Moment| now.since(at) >= settings.forget_after;
        let old = self.members.values().filter(|member| member.useless_since.is_some_and(is_old));
        old.map(|member| member.row.id.clone()).collect()
    }
}

fn wished(before: &Wishes, now: &Wishes) -> Vec<Event> {
    let mut events = Vec::new();
    for (node, cordon) in now.nodes.iter().filter(|(node, cordon)| before.nodes.get(node) != Some(cordon)) {
        let node = node.clone();
        events.push(match cordon {
            Cordon::Cordoned => Event::Cordoned { node },
            Cordon::Draining => Event::DrainStarted { node },
        });
    }
    let undone = before.nodes.keys().filter(|node| !now.nodes.contains_key(node));
    events.extend(undone.map(|node| Event::Uncordoned { node: node.clone() }));
    for (slot, place) in &now.places {
        if before.places.get(slot) != Some(place) && matches!(place, Place::Pinned(_)) {
            events.push(Event::Pinned { slot: *slot });
        }
    }
    let is_pin = |place: Option<&Place>| matches!(place, Some(Place::Pinned(_)));
    let unpinned = before.places.iter().filter(|(slot, place)| is_pin(Some(place)) && !is_pin(now.places.get(slot)));
    events.extend(unpinned.map(|(slot, _)| Event::Unpinned { slot: *slot }));
    events
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
