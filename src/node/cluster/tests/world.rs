//! Several nodes in one process, over a store and a network in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::network::{Network, Peer};
use super::super::{Joining, Member, Membership};
use crate::actors::entity::Caller;
use crate::actors::gateways::payments::MockPayments;
use crate::actors::kinds;
use crate::actors::payment::types::GATEWAY;
use crate::actors::runtime::Runtime;
use crate::actors::runtime::client::{AskError, Asking, Keyed, Wait};
use crate::actors::runtime::forwarding::Forwarder;
use crate::actors::runtime::forwarding::carrier::{Carrier, NotAnswered, Outcome};
use crate::actors::user::types::{Command, User};
use crate::actors::values::{RequestId, Role, Secret, UserId};
use crate::cluster::NodeId;
use crate::cluster::protocol::inspect::SlotStanding;
use crate::cluster::protocol::messages::{Input, Message};
use crate::cluster::protocol::node::Protocol;
use crate::cluster::protocol::settings::Settings;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::node::cluster::heard::Heard;
use crate::node::patience::Patience;
use crate::persistence::membership::{Store, Tables, WEIGHT};

pub const SLOTS: u16 = 16;
const WITHIN: Duration = Duration::from_secs(30);

struct Attending {
    forwarder: Arc<Forwarder>,
    heard: mpsc::UnboundedSender<Heard>,
    messages: mpsc::Sender<Input>,
}

/// The wires between the nodes.
#[derive(Default)]
pub struct Wires {
    nodes: Mutex<BTreeMap<NodeId, Attending>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    kept_out: Mutex<BTreeSet<String>>,
}

impl Wires {
    fn carries(&self, from: &NodeId, to: &NodeId) -> bool {
        let (cut, kept_out) = (self.cut.lock(), self.kept_out.lock());
        let is_kept_out = |node: &NodeId| kept_out.iter().any(|name| node.as_str().starts_with(&format!("{name}#")));
        let is_cut = cut.contains(&(from.clone(), to.clone())) || cut.contains(&(to.clone(), from.clone()));
        !is_cut && !is_kept_out(from) && !is_kept_out(to)
    }

    /// Nothing will pass to or from nodes of this name.
    pub fn keep_out(&self, name: &str) {
        self.kept_out.lock().insert(name.into());
    }

    /// The news that the link to this peer is down comes after the news that another is up.
    pub fn tell_late(&self, node: &NodeId, peer: &NodeId) {
        let peer = peer.clone();
        let _ = self.nodes.lock()[node].heard.send(Heard::Input(Input::LinkDown { peer }));
    }

    /// Nothing passes between these two any more.
    pub fn cut(&self, one: &NodeId, other: &NodeId) {
        self.cut.lock().insert((one.clone(), other.clone()));
        let nodes = self.nodes.lock();
        for (node, peer) in [(one, other), (other, one)] {
            if let Some(node) = nodes.get(node) {
                let _ = node.heard.send(Heard::Input(Input::LinkDown { peer: peer.clone() }));
            }
        }
    }
}

/// A node's end of the wires.
struct Wire {
    wires: Arc<Wires>,
    me: OnceLock<NodeId>,
    linked: Mutex<BTreeSet<NodeId>>,
}

impl Network for Wire {
    fn attend(
        &self,
        me: NodeId,
        forwarder: Arc<Forwarder>,
        heard: mpsc::UnboundedSender<Heard>,
        messages: mpsc::Sender<Input>,
    ) {
        self.wires.nodes.lock().insert(me.clone(), Attending { forwarder, heard, messages });
        let _ = self.me.set(me);
    }

    fn set_peers(&self, peers: Vec<Peer>) {
        let me = self.me.get().expect("it attends");
        for peer in peers.into_iter().map(|peer| peer.id).filter(|peer| self.wires.carries(me, peer)) {
            let nodes = self.wires.nodes.lock();
            if nodes.contains_key(&peer) && self.linked.lock().insert(peer.clone()) {
                let _ = nodes[me].heard.send(Heard::Input(Input::LinkUp { peer }));
            }
        }
    }

    fn tell(&self, to: &NodeId, message: Vec<u8>) {
        let from = self.me.get().expect("it attends").clone();
        if self.wires.carries(&from, to)
            && let Some(node) = self.wires.nodes.lock().get(to)
        {
            let message = Message::decode(&message).expect("a message");
            let _ = node.messages.try_send(Input::Received { from, message });
        }
    }

    fn carrier(self: Arc<Self>) -> Arc<dyn Carrier> {
        self
    }

    fn is_up(&self, peer: &NodeId) -> bool {
        self.reaches(peer)
    }
}

/// Dropped unanswered it says that nobody knows.
struct OnlyOnce(Option<Outcome>);

impl Drop for OnlyOnce {
    fn drop(&mut self) {
        if let Some(outcome) = self.0.take() {
            outcome(Err(NotAnswered::Lost));
        }
    }
}

impl Carrier for Wire {
    fn reaches(&self, to: &NodeId) -> bool {
        let me = self.me.get().expect("it attends");
        self.linked.lock().contains(to) && self.wires.carries(me, to)
    }

    fn ask(&self, to: &NodeId, request: Vec<u8>, _: Duration, outcome: Outcome) {
        let me = self.me.get().expect("it attends");
        let there = self.wires.nodes.lock().get(to).map(|node| node.forwarder.clone());
        match there.filter(|_| self.wires.carries(me, to)) {
            Some(there) => {
                let mut once = OnlyOnce(Some(outcome));
                let answer = move |bytes| {
                    if let Some(outcome) = once.0.take() {
                        outcome(Ok(bytes));
                    }
                };
                // As over a network: not on the asker's time.
                tokio::spawn(async move { there.arrived(&request, Box::new(answer)) });
            }
            None => outcome(Err(NotAnswered::NotSent)),
        }
    }
}

pub struct Node {
    pub membership: Membership,
    pub runtime: Runtime,
}

/// A node enters the list of this store.
pub async fn join(
    name: &str,
    store: &Arc<dyn Store>,
    wires: &Arc<Wires>,
    patience: &mut Patience,
) -> anyhow::Result<Member> {
    let network = Arc::new(Wire { wires: wires.clone(), me: OnceLock::new(), linked: Mutex::default() });
    // A second, so that a busy machine does not make leases lapse all the time.
    let settings = Settings { settle: Duration::from_millis(200), ..Settings::of_lease(Duration::from_secs(1)) };
    let joining = Joining {
        node: NodeId::incarnate(name),
        name: name.into(),
        http: String::new(),
        link: name.into(),
        weight: WEIGHT,
        zone: String::new(),
        reads: Config::default().cluster.reads(),
        settings,
    };
    Member::join(store.clone(), joining, network, Arc::new(Metrics::new()), patience).await
}

/// Starts a node that shares this store.
pub async fn start(name: &str, store: &Arc<dyn Store>, wires: &Arc<Wires>) -> Node {
    let member = join(name, store, wires, &mut Patience::of_a_command()).await.expect("it joins");
    let metrics = member.metrics.clone();
    let config = Config::default().runtime(member.node.clone(), kinds::all());
    let prepared = Runtime::prepare(config, store.clone(), member.lease.clone(), metrics);
    let payments = Arc::new(MockPayments::new(prepared.client()));
    let prepared = prepared.with_gateway(GATEWAY, payments).with_forwarder(&member.forwarder);
    let runtime = prepared.start([]).await.expect("the runtime starts");
    let membership = member.take_part(&runtime, |why| panic!("the node fails: {why}"));
    Node { membership, runtime }
}

impl Node {
    /// How many slots this node serves, and how many it knows to be served by anybody.
    async fn served(&self) -> (usize, usize) {
        let me = self.membership.node.clone();
        let look = move |protocol: &Protocol, _: &Tables| {
            let slots: Vec<_> = protocol.slots().filter_map(|slot| protocol.slot(slot)).collect();
            let active = |standing: SlotStanding| standing == SlotStanding::Active;
            let mine = slots.iter().filter(|slot| active(slot.standing) && slot.owner.as_ref() == Some(&me)).count();
            (mine, slots.iter().filter(|slot| active(slot.standing)).count())
        };
        self.membership.look(look).await.expect("the driver lives")
    }

    pub async fn has(&self, slots: usize) {
        self.has_of(slots..=slots).await;
    }

    /// So many, or one more: who has the one that is left over depends on who came when.
    pub async fn has_about(&self, slots: usize) {
        self.has_of(slots..=slots + 1).await;
    }

    async fn has_of(&self, slots: RangeInclusive<usize>) {
        let began = Instant::now();
        loop {
            let (mine, all) = self.served().await;
            if slots.contains(&mine) && all == usize::from(SLOTS) {
                return;
            }
            assert!(began.elapsed() < WITHIN, "{} serves {mine} of {all}, not {slots:?}", self.membership.node);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn owns(&self, slot: u16) {
        self.sees_owner(slot, &self.membership.node).await;
    }

    /// Until this node knows that the slot is that one's.
    pub async fn sees_owner(&self, slot: u16, node: &NodeId) {
        let began = Instant::now();
        loop {
            let look = move |protocol: &Protocol, _: &Tables| protocol.slot(slot).and_then(|slot| slot.owner);
            let owner = self.membership.look(look).await.expect("the driver lives");
            if owner.as_ref() == Some(node) {
                return;
            }
            assert!(began.elapsed() < WITHIN, "slot {slot} is {owner:?}'s");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Until this node takes the link to that one for up, or down.
    pub async fn sees_link(&self, peer: &NodeId, is_up: bool) {
        let began = Instant::now();
        loop {
            let peer = peer.clone();
            let look = move |protocol: &Protocol, _: &Tables| protocol.view().is_up(&peer);
            if self.membership.look(look).await.expect("the driver lives") == is_up {
                return;
            }
            assert!(began.elapsed() < WITHIN, "the link is not taken for {}", if is_up { "up" } else { "down" });
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Until this node knows whether it is cut off from the others.
    pub async fn is_cut_off(&self, is_cut_off: bool) {
        let began = Instant::now();
        while self.membership.is_cut_off() != is_cut_off {
            assert!(began.elapsed() < WITHIN, "{} does not see it", self.membership.node);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Registers a user, which another entity has to agree to.
    pub async fn register(&self, number: u128) -> Result<u64, AskError> {
        let command = Command::Register {
            id: UserId(number),
            email: format!("u{number}@example.com").parse().expect("an address"),
            name: Some(format!("user {number}")),
            password_hash: Secret("hash".into()),
            roles: BTreeSet::from([Role::Customer]),
        };
        self.ask(number, "register", command, Wait::Settled).await
    }

    pub async fn rename(&self, number: u128, name: &str) -> Result<u64, AskError> {
        let command = Command::UpdateProfile { name: Some(Some(name.into())) };
        self.ask(number, name, command, Wait::Durable).await
    }

    async fn ask(&self, number: u128, key: &str, command: Command, wait: Wait) -> Result<u64, AskError> {
        let asking = Asking {
            request: RequestId::of("test", &[key.as_bytes(), &number.to_be_bytes()]),
            keyed: Some(Keyed { fingerprint: [1; 16], keep_ms: 60_000 }),
            caller: Caller::System,
            deadline: Instant::now() + WITHIN,
            if_version: None,
            wait,
        };
        let answered = self.runtime.client.ask::<User>(&UserId(number), command, asking).await?;
        assert!(answered.outcome.is_ok(), "{:?}", answered.outcome);
        Ok(answered.view.version)
    }

    pub async fn name_of(&self, number: u128) -> Option<String> {
        let view = self.runtime.client.read::<User>(&UserId(number), Instant::now() + WITHIN).await;
        view.expect("a user can be read").state.account.as_ref().and_then(|account| account.name.clone())
    }

    pub async fn stop(self) {
        let Node { mut membership, runtime } = self;
        membership.drain(WITHIN).await;
        runtime.drain().await;
        membership.leave().await;
    }
}
