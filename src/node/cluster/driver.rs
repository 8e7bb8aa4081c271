//! The task that owns the protocol: it takes inputs in, one at a time, and carries the outputs out in their order.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::calls::Stands;
use super::heard::Heard;
use super::hints::Hints;
use super::history::Beside;
use super::network::{Network, Peer};
use super::renewing::Renewing;
use super::{Events, Member, alone, calls, clocks, rows};
use crate::actors::runtime::forwarding::Forwarder;
use crate::actors::runtime::slot::actor::now;
use crate::actors::runtime::wire::WireVersion;
use crate::actors::runtime::{Runtime, Slots};
use crate::cluster::protocol::messages::{EndWhy, Event, GivenUp, Input, Output, StopWhy};
use crate::cluster::protocol::node::Protocol;
use crate::cluster::protocol::routing::Route;
use crate::cluster::protocol::settings::Settings;
use crate::cluster::{Moment, NodeId, Renewed};
use crate::metrics::Metrics;
use crate::persistence::membership::{NodeRow, NodeState, Store, Tables};
use crate::persistence::{Epoch, Slot, StoreError};

/// How often the protocol is told that time passes.
const TICK: Duration = Duration::from_millis(20);

type Fail = Box<dyn FnOnce(StoreError) + Send>;

pub(super) struct Driver {
    protocol: Protocol,
    node: NodeId,
    store: Arc<dyn Store>,
    network: Arc<dyn Network>,
    forwarder: Arc<Forwarder>,
    slots: Slots,
    lease: Arc<Renewed>,
    events: Arc<Events>,
    metrics: Arc<Metrics>,
    settings: Settings,
    renewing: Renewing,
    fail: Option<Fail>,
    row: NodeRow,
    /// As they were read last.
    tables: Tables,
    /// When they were read before, and how long before the last time that was.
    read_at: Option<Instant>,
    read_gap: Duration,
    /// The names that several live nodes have, as this node has told of them.
    namesakes: BTreeMap<Arc<str>, Vec<NodeId>>,
    /// How slots stood when they were claimed, until they are started.
    claimed: HashMap<Slot, Stands>,
    /// Slots that are being given away, and since when they serve nowhere.
    paused: HashMap<Slot, Instant>,
    /// Slots that are being claimed from a node that is lost, or are not served yet, and since when that node stands still.
    ownerless: HashMap<Slot, Instant>,
    valid_until: Moment,
    heard: mpsc::UnboundedSender<Heard>,
    hearing: mpsc::UnboundedReceiver<Heard>,
    messages: mpsc::Receiver<Input>,
    hints: Arc<Hints>,
    drained: watch::Sender<bool>,
    cut_off: watch::Sender<bool>,
}

impl Driver {
    pub fn new(protocol: Protocol, member: Member, runtime: &Runtime, fail: Fail) -> Driver {
        let Member { node, lease, forwarder, events, store, network, metrics, row, settings, joined, .. } = member;
        let valid_until = settings.lease.valid_until(joined);
        Driver {
            protocol,
            node,
            store,
            network,
            forwarder,
            slots: runtime.slots(),
            lease,
            events,
            metrics,
            settings,
            renewing: Renewing::new(runtime.progress_handle()),
            fail: Some(fail),
            row,
            tables: Tables::default(),
            read_at: None,
            read_gap: Duration::MAX,
            namesakes: BTreeMap::new(),
            claimed: HashMap::new(),
            paused: HashMap::new(),
            ownerless: HashMap::new(),
            valid_until,
            heard: member.heard,
            hearing: member.hearing,
            messages: member.messages,
            hints: member.hints,
            drained: member.speaks,
            cut_off: member.cut_off,
        }
    }

    /// Until the node leaves.
    pub async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                Some(heard) = self.hearing.recv() => heard,
                Some(message) = self.messages.recv() => Heard::Input(message),
                hints = self.hints.next() => {
                    hints.into_iter().for_each(|hint| self.take_in(hint));
                    continue;
                }
                _ = ticks.tick() => Heard::Input(self.tick()),
            };
            match heard {
                Heard::Input(input) => self.take_in(input),
                Heard::Panicked => self.fail("the code of a call to the store has panicked".into()),
                Heard::Claimed(input, stand) => {
                    self.claimed.extend(stand);
                    self.take_in(input);
                    self.claimed.clear(); // what was claimed has begun, or is claimed again
                    self.ownerless.retain(|slot, _| self.protocol.holds(*slot));
                }
                Heard::Read(input, tables) => self.read(input, tables),
                Heard::Look(look) => look(&self.protocol, &self.tables),
                Heard::Leave(done) => {
                    calls::leave(&*self.store, self.node.as_str()).await;
                    self.take_in(Input::Left);
                    let _ = done.send(()); // whoever waited has gone
                    return;
                }
            }
        }
    }

    fn tick(&mut self) -> Input {
        let makes_progress = self.renewing.may_renew(|| self.protocol.has_heirs());
        self.forwarder.tick();
        self.see_whether_it_is_cut_off();
        let margin = self.valid_until.since(Moment::now());
        self.metrics.lease_margin_ms.set(i64::try_from(margin.as_millis()).unwrap_or(i64::MAX));
        self.metrics.slots_owned.set(i64::try_from(self.protocol.slots_held()).unwrap_or(i64::MAX));
        Input::Tick { makes_progress }
    }

    fn see_whether_it_is_cut_off(&self) {
        let is_cut_off = self.protocol.is_cut_off();
        let is_news = self.cut_off.send_if_modified(|known| std::mem::replace(known, is_cut_off) != is_cut_off);
        match (is_news, is_cut_off) {
            (true, true) => {
                tracing::warn!(
                    "this node is cut off from the others: look at its network, its cluster.secret and its TLS"
                );
            }
            (true, false) => tracing::info!("this node is not cut off from the others any more"),
            (false, _) => {}
        }
    }

    fn take_in(&mut self, input: Input) {
        if let Input::EpochRaised { slot, epoch } = &input {
            self.events.recovered(*slot, *epoch);
            if let Some(since) = self.ownerless.remove(slot) {
                self.metrics.slot_ownerless_seconds.observe(since.elapsed().as_secs_f64());
            }
        }
        for output in self.protocol.handle(Moment::now(), input) {
            self.carry_out(output);
        }
    }

    fn read(&mut self, input: Input, tables: Tables) {
        let is_read = !tables.slots.is_empty();
        if is_read {
            self.events.read();
            let unnamed = self.store.slots_out_of_reach();
            self.metrics.slots_unnamed.set(i64::try_from(unnamed).unwrap_or(i64::MAX));
            self.tables = tables;
            let before = self.read_at.replace(Instant::now());
            self.read_gap = before.map_or(Duration::MAX, |before| before.elapsed());
            self.meet();
        }
        self.take_in(input);
        if is_read {
            self.see_the_links();
            self.see_the_names();
            self.forwarder.write_in(WireVersion(self.protocol.writes()));
            self.give_way();
        }
    }

    /// The peers that the list names.
    fn meet(&mut self) {
        let is_peer = |row: &&NodeRow| row.state != NodeState::Left && row.id != self.row.id && !row.link.is_empty();
        let peer = |row: &NodeRow| Peer { id: NodeId::of(&row.id), address: row.link.clone() };
        self.network.set_peers(self.tables.nodes.iter().filter(is_peer).map(peer).collect());
    }

    /// Where one connection has replaced another, what was said of them may have come in another order than it happened. And
    /// of a link that was never made nobody says that it is down.
    fn see_the_links(&mut self) {
        let is_peer = |row: &&NodeRow| row.id != self.row.id && !row.link.is_empty();
        let peers = self.tables.nodes.iter().filter(is_peer).map(|row| NodeId::of(&row.id));
        for peer in peers.collect::<Vec<_>>() {
            let is_up = self.network.is_up(&peer);
            if is_up != self.protocol.view().is_up(&peer) || (!is_up && self.protocol.was_never_linked(&peer)) {
                self.take_in(if is_up { Input::LinkUp { peer } } else { Input::LinkDown { peer } });
            }
        }
    }

    /// Nodes of one name are told apart by their ids, but not by operators, nor by what is pinned to a name.
    fn see_the_names(&mut self) {
        let namesakes = self.protocol.namesakes();
        for (name, nodes) in namesakes.iter().filter(|(name, nodes)| self.namesakes.get(*name) != Some(nodes)) {
            let ids = nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(node.name = %name, node.ids = ids, "several live nodes have one name: give each its node.name");
        }
        self.namesakes = namesakes;
    }

    /// A node has joined: does its clock agree with this one's?
    fn see_the_clock(&self, node: &NodeId) {
        let Some(row) = self.tables.nodes.iter().find(|row| row.id == node.as_str()) else { return };
        if let Some(ahead_s) = clocks::ahead_s(row.started_at_ms, now().0, self.read_gap) {
            let name = &row.name;
            tracing::warn!(node.name = name, node.id = %node, ahead_s, "the clock of another node differs from this one's: set both");
        }
    }

    /// Where this node, or another that lives, has no link, only the one that has the gate may go on.
    fn give_way(&mut self) {
        let view = self.protocol.view();
        let lives = |row: &&NodeRow| row.id != self.row.id && view.is_live(&NodeId::of(&row.id));
        let is_rival = |row: &&NodeRow| self.row.link.is_empty() || row.link.is_empty();
        let gate = self.protocol.slot(alone::GATE).and_then(|slot| slot.owner);
        let winner = self
            .tables
            .nodes
            .iter()
            .filter(lives)
            .filter(is_rival)
            .find(|row| gate.as_ref().is_some_and(|gate| gate.as_str() == row.id));
        if let Some(winner) = winner {
            let why = format!(
                "another node has taken over: {} ({}) serves the store, and not both have a link: start both with --cluster",
                winner.name, winner.id
            );
            self.fail(why);
        }
    }

    fn fail(&mut self, why: String) {
        if let Some(fail) = self.fail.take() {
            fail(StoreError::Fatal(why));
        }
        let _ = self.drained.send(true); // nobody is to wait for this node
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Claim { ref slots } => {
                self.note_the_ownerless(slots);
                self.call(output);
            }
            Output::Renew { .. } | Output::ReadStore { .. } | Output::Transfer { .. } => self.call(output),
            Output::Forget { node } => self.forget(&node),
            Output::Drained => drop(self.drained.send(true)), // nobody may wait for it
            Output::LeaseValid { until } => {
                self.valid_until = until;
                self.lease.extend_to(until);
            }
            Output::StartSlot { slot, epoch } => match self.claimed.remove(&slot) {
                Some(Stands::So(head)) if head.epoch == epoch => self.slots.take(slot, head),
                Some(Stands::Damaged) => self.slots.take_damaged(slot, epoch),
                Some(Stands::So(_)) | None => self.slots.take_given(slot, epoch),
            },
            Output::SuspendSlot { slot } => self.slots.suspend(slot),
            Output::KeepSlot { slot, epoch } => self.slots.keep(slot, epoch),
            Output::StopSlot { slot, why } => self.stop(slot, why),
            Output::Route { slot, route } => self.route(slot, route),
            Output::Send { to, message } => self.network.tell(&to, message.encode()),
            Output::Event(event) => self.event(event),
            Output::End { why } => self.end(&why),
        }
    }

    /// A call to the store, whose answer comes back as an input.
    fn call(&self, output: Output) {
        let (store, me, heard) = (self.store.clone(), self.node.clone(), self.heard.clone());
        let within = self.settings.lease.lease / 2;
        let row = self.row.clone();
        let work = async move {
            match output {
                Output::Renew { counter, state, writes, unreachable } => {
                    let unreachable = unreachable.iter().map(NodeId::to_string).collect();
                    let row = NodeRow { lease: counter, state: rows::state(state), writes, unreachable, ..row };
                    Heard::Input(calls::renew(&*store, row, within).await)
                }
                Output::ReadStore { number } => {
                    let (input, tables) = calls::read(&*store, number, within).await;
                    Heard::Read(input, tables)
                }
                Output::Claim { slots } => {
                    let (input, stand) = calls::claim(&*store, &me, slots).await;
                    Heard::Claimed(input, stand)
                }
                Output::Transfer { slot, epoch, to } => {
                    Heard::Input(calls::transfer(&*store, &me, &to, slot, epoch).await)
                }
                _ => Heard::Panicked, // no other output is a call
            }
        };
        tokio::spawn(async move {
            let answer = AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Heard::Panicked);
            let _ = heard.send(answer); // the driver has ended
        });
    }

    /// Slots are about to be claimed: since when were they served nowhere, where their owner is lost?
    fn note_the_ownerless(&mut self, slots: &[(Slot, Epoch)]) {
        for (slot, _) in slots {
            let lost_for = self.protocol.owner_lost_for(*slot);
            if let Some(since) = lost_for.and_then(|time| Instant::now().checked_sub(time)) {
                self.ownerless.insert(*slot, since);
                self.renewing.inherit(*slot);
            }
        }
    }

    fn forget(&self, node: &NodeId) {
        if let Some(row) = self.tables.nodes.iter().find(|row| row.id == node.as_str()) {
            let (store, id, counter) = (self.store.clone(), row.id.clone(), row.lease);
            tokio::spawn(async move { calls::forget(&*store, &id, counter).await });
        }
    }

    fn stop(&mut self, slot: Slot, why: StopWhy) {
        self.ownerless.remove(&slot);
        match why {
            StopWhy::HandOff => drop(self.paused.insert(slot, Instant::now())),
            // Another has it: what is under way here must not be told.
            StopWhy::Lost => {
                self.slots.suspend(slot);
                self.paused.remove(&slot);
            }
            StopWhy::Stopping => drop(self.paused.remove(&slot)),
        }
        let (left, slots, heard) = (self.slots.leave(slot), self.slots.clone(), self.heard.clone());
        tokio::spawn(async move {
            left.await;
            let epoch: Epoch = slots.epoch(slot);
            let _ = heard.send(Heard::Input(Input::SlotStopped { slot, epoch })); // the driver has ended
        });
    }

    fn route(&mut self, slot: Slot, route: Route) {
        if !matches!(route, Route::Park { .. })
            && let Some(since) = self.paused.remove(&slot)
        {
            self.metrics.slot_pause_seconds.observe(since.elapsed().as_secs_f64());
        }
        self.forwarder.set_route(slot, route);
    }

    fn event(&self, event: Event) {
        let beside = self.beside(&event);
        match &event {
            Event::SlotMoved { from, .. } if *from == self.node => self.metrics.slots_moved.inc(),
            Event::SlotFenced { .. } => self.metrics.slots_fenced.inc(),
            Event::NodeJoined { node } => self.see_the_clock(node),
            Event::HandOffGivenUp { why, .. } => {
                self.metrics.moves_given_up.with_label_values(&[word(*why)]).inc();
            }
            _ => {}
        }
        tracing::info!(?event, "cluster");
        self.events.push(event, beside);
    }

    /// What this node alone can say of an event.
    fn beside(&self, event: &Event) -> Beside {
        match event {
            Event::SlotMoved { slot, from, .. } if *from == self.node => {
                let pause = self.paused.get(slot).map(|since| since.elapsed().as_millis());
                Beside { pause_ms: pause.and_then(|ms| u64::try_from(ms).ok()), slots: None }
            }
            Event::DrainStarted { node } => {
                let owners = self.protocol.slots().filter_map(|slot| self.protocol.slot(slot)?.owner);
                Beside { pause_ms: None, slots: Some(owners.filter(|owner| owner == node).count()) }
            }
            _ => Beside::default(),
        }
    }

    fn end(&mut self, why: &EndWhy) {
        let text = match why {
            EndWhy::NotMember => "the cluster has taken this node for gone: start it again".to_owned(),
            EndWhy::OtherSlots { store } => {
                format!("the store has {store} slots, and this node was started for {}", self.store.slots())
            }
            EndWhy::Incompatible { node } => {
                format!(
                    "node {node} writes a version that this node does not read: start a newer souk, or raise cluster.wire_max"
                )
            }
        };
        self.fail(text);
    }
}

pub fn word(why: GivenUp) -> &'static str {
    match why {
        GivenUp::Declined => "declined",
        GivenUp::Unreachable => "unreachable",
        GivenUp::ReceiverGone => "receiver_gone",
        GivenUp::StopTooSlow => "stop_too_slow",
        GivenUp::TransferTooSlow => "transfer_too_slow",
        GivenUp::NotWanted => "not_wanted",
    }
}
