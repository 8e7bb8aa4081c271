//! This node as a member of a cluster that shares its store: the driver of the cluster's protocol.
//!
//! [`protocol`](crate::cluster::protocol) decides, and does nothing. Here what it decides is carried out: on the store
//! ([`calls`]), on the slots of the runtime, on the map by which requests are forwarded, on the link to other nodes
//! ([`network`]). One task owns the protocol ([`driver`]); everything that happens is an [`Input`] to it, and its outputs are
//! carried out in their order. A node that is alone is a cluster of one member.
//!
//! Each call to the store runs in a task of its own, and is answered exactly once: after a time without an answer its
//! outcome is unknown. What the store certainly did not do is told as such; everything else is unknown.
//!
//! What a crash leaves: a row in the node list whose counter does not move. The others take its slots when it has stood
//! still for the whole lease.

mod alone;
mod calls;
mod clocks;
mod driver;
mod events;
mod heard;
mod hints;
pub mod history;
pub mod link;
pub mod network;
mod renewing;
mod rows;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};

use crate::actors::kinds;
use crate::actors::runtime::Runtime;
use crate::actors::runtime::forwarding::{Forwarder, Notice};
use crate::actors::runtime::slot::actor::now;
use crate::cluster::link::LinkStatus;
use crate::cluster::protocol::commands::{Command, Judged, Refused};
use crate::cluster::protocol::messages::Input;
use crate::cluster::protocol::node::{Identity, Protocol};
use crate::cluster::protocol::settings::Settings;
use crate::cluster::{Moment, NodeId, Renewed};
use crate::metrics::Metrics;
use crate::node::patience::Patience;
use crate::persistence::membership::{NodeRow, NodeState, Store, Tables, WishRow};
use crate::persistence::{Refusal, StoreError};
pub use alone::InUse;
use driver::Driver;
pub use driver::word as given_up_word;
pub use events::{ClusterEvent, Events, Happened};
use heard::Heard;
use hints::Hints;
use network::Network;

/// A node that serves alone tries again after this time when another was faster.
const AGAIN: Duration = Duration::from_millis(250);
/// Messages of peers that wait for the protocol. More are dropped: none is needed.
const MESSAGES_MAX: usize = 4_096;

/// What a node says of itself when it joins.
#[derive(Debug, Clone)]
pub struct Joining {
    pub node: NodeId,
    pub name: String,
    /// Where clients reach it, and other nodes. No link: it serves alone.
    pub http: String,
    pub link: String,
    /// Its share of the slots, beside those of the others.
    pub weight: u32,
    pub zone: String,
    /// The oldest and the newest version of messages that it says it reads.
    pub reads: (u16, u16),
    pub settings: Settings,
}

/// Waits until it is certain that no node serves the store; the error [`InUse`] says who does.
pub async fn nobody_serves(store: &dyn Store, lease: Duration) -> anyhow::Result<()> {
    alone::alone(store, lease, |_| true, &mut Patience::of_a_command()).await.map(drop)
}

/// A node that has entered the list, and owns nothing yet.
pub struct Member {
    pub node: NodeId,
    pub lease: Arc<Renewed>,
    pub forwarder: Arc<Forwarder>,
    pub events: Arc<Events>,
    store: Arc<dyn Store>,
    network: Arc<dyn Network>,
    metrics: Arc<Metrics>,
    row: NodeRow,
    settings: Settings,
    joined: Moment,
    heard: mpsc::UnboundedSender<Heard>,
    hearing: mpsc::UnboundedReceiver<Heard>,
    messages: mpsc::Receiver<Input>,
    hints: Arc<Hints>,
    speaks: watch::Sender<bool>,
    cut_off: watch::Sender<bool>,
}

/// A handle on the member while it serves.
#[derive(Clone)]
pub struct Membership {
    pub node: NodeId,
    pub lease: Arc<Renewed>,
    pub forwarder: Arc<Forwarder>,
    pub events: Arc<Events>,
    store: Arc<dyn Store>,
    network: Arc<dyn Network>,
    heard: mpsc::UnboundedSender<Heard>,
    /// Whether it owns nothing any more, and is about to leave.
    drained: watch::Receiver<bool>,
    cut_off: watch::Receiver<bool>,
}

impl Member {
    /// Enters the node list: at once with a link; without one, when nobody else serves the store.
    ///
    /// Errors: another node serves, and this one or that one has no link; the store does not answer, or does not let it in; the
    /// node is told to stop. Nobody has to watch a node that has not come in.
    pub async fn join(
        store: Arc<dyn Store>,
        joining: Joining,
        network: Arc<dyn Network>,
        metrics: Arc<Metrics>,
        patience: &mut Patience,
    ) -> anyhow::Result<Member> {
        let (lease, mut joining) = (joining.settings.lease.lease, joining);
        let serves_alone = joining.link.is_empty();
        loop {
            let is_rival = |row: &NodeRow| serves_alone || row.link.is_empty();
            let gate = alone::alone(&*store, lease, is_rival, patience).await?;
            let (network, metrics) = (network.clone(), metrics.clone());
            let member = Member::enter(store.clone(), joining.clone(), network, metrics, patience).await?;
            if let Err(told) = patience.check() {
                member.leave().await;
                return Err(told.into());
            }
            if !serves_alone {
                return Ok(member);
            }
            match alone::take_gate(&*store, member.node.as_str(), gate).await {
                Ok(true) => return Ok(member),
                // Somebody was faster, and is seen alive in a moment. Nobody is to watch a node that has given up.
                Ok(false) => member.leave().await,
                Err(error) => {
                    tracing::warn!(%error, "waiting for the store");
                    member.leave().await;
                }
            }
            joining.node = NodeId::incarnate(&joining.name); // an id enters once
            patience.pause(AGAIN).await?;
        }
    }

    async fn enter(
        store: Arc<dyn Store>,
        joining: Joining,
        network: Arc<dyn Network>,
        metrics: Arc<Metrics>,
        patience: &mut Patience,
    ) -> anyhow::Result<Member> {
        let node = joining.node;
        let row = NodeRow {
            id: node.as_str().to_owned(),
            name: joining.name,
            http: joining.http,
            link: joining.link,
            reads: joining.reads,
            // What the others write it has not seen yet. Said to write something newer, it would end those who do not read that.
            writes: joining.reads.0,
            lease: 0,
            state: NodeState::Joining,
            unreachable: Vec::new(),
            weight: joining.weight,
            zone: joining.zone,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_ms: now().0,
        };
        let joined = enter(&*store, &row, patience).await?;
        let settings = joining.settings;
        let lease = Arc::new(Renewed::until(settings.lease.valid_until(joined)));
        let (heard, hearing) = mpsc::unbounded_channel();
        let (message, messages) = mpsc::channel(MESSAGES_MAX);
        let hints = Arc::new(Hints::default());
        let forwarder = forwarder(&node, &*store, &network, &metrics, &heard, hints.clone());
        network.attend(node.clone(), forwarder.clone(), heard.clone(), message);
        let events = Arc::new(Events::default());
        let (speaks, cut_off) = (watch::Sender::new(false), watch::Sender::new(false));
        Ok(Member {
            node,
            lease,
            forwarder,
            events,
            store,
            network,
            metrics,
            row,
            settings,
            joined,
            heard,
            hearing,
            messages,
            hints,
            speaks,
            cut_off,
        })
    }

    /// Takes part, from now on, with this runtime: claims slots, gives them away, and renews the lease. `fail` is told why
    /// the node must end.
    pub fn take_part(self, runtime: &Runtime, fail: impl FnOnce(StoreError) + Send + 'static) -> Membership {
        let Member { node, forwarder, events, heard, .. } = &self;
        let membership = Membership {
            node: node.clone(),
            lease: self.lease.clone(),
            forwarder: forwarder.clone(),
            events: events.clone(),
            store: self.store.clone(),
            network: self.network.clone(),
            heard: heard.clone(),
            drained: self.speaks.subscribe(),
            cut_off: self.cut_off.subscribe(),
        };
        let _ = heard.send(Heard::Input(Input::Ready)); // the driver has the other end
        let identity = Identity {
            id: self.node.clone(),
            name: self.row.name.as_str().into(),
            reads: self.row.reads,
            writes: self.row.writes,
            slots: self.store.slots(),
        };
        let protocol = Protocol::new(identity, self.settings.clone(), self.row.lease, self.joined);
        let ended = runtime.fail_handle();
        let driver = Driver::new(protocol, self, runtime, Box::new(fail));
        tokio::spawn(async move {
            if AssertUnwindSafe(driver.run()).catch_unwind().await.is_err() {
                ended(StoreError::Fatal("what drives the cluster's protocol has panicked".into()));
            }
        });
        membership
    }

    /// Leaves the list without having taken part.
    pub async fn leave(self) {
        calls::leave(&*self.store, &self.row.id).await;
    }
}

impl Membership {
    /// Gives the slots away, until `within` has passed; what nobody has taken by then stops. When this returns, the node owns
    /// nothing, and still forwards.
    pub async fn drain(&mut self, within: Duration) {
        let by = Moment::now().plus(within);
        if self.heard.send(Heard::Input(Input::Stop { by })).is_ok() {
            let _ = self.drained.wait_for(|drained| *drained).await; // its driver has ended: nothing is owned either
        }
    }

    /// Leaves the node list: the last thing that a node does.
    pub async fn leave(self) {
        let (done, left) = oneshot::channel();
        if self.heard.send(Heard::Leave(done)).is_ok() {
            let _ = left.await; // its driver has ended
        }
    }

    /// Whether this node is cut off from the rest of the cluster: it can serve its own slots, if anything.
    pub fn is_cut_off(&self) -> bool {
        *self.cut_off.borrow()
    }

    /// The links to other nodes.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.network.links()
    }

    /// What the protocol sees, answered by a look at it.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Protocol, &Tables) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |protocol: &Protocol, tables: &Tables| drop(answer.send(look(protocol, tables))));
        self.heard.send(Heard::Look(look)).ok()?;
        answered.await.ok()
    }

    /// An operator asks for this. It is judged by what this node sees, and written to the store: from there every node learns it.
    /// What is so already is written no more; a dry run writes nothing.
    pub async fn command(&self, command: Command, asked: Asked) -> Result<Judged, NotCommanded> {
        let look = move |protocol: &Protocol, _: &Tables| protocol.judge(&command);
        let judged = self.look(look).await.ok_or(NotCommanded::Stopping)?.map_err(NotCommanded::Refused)?;
        let Some(change) = judged.change.clone().filter(|_| !asked.is_dry) else { return Ok(judged) };
        match rows::change(&change) {
            Ok(wish) => {
                let row = WishRow { wish, by: asked.by, reason: asked.reason, at_ms: now().0 };
                match self.store.wish(&row).await? {
                    Ok(()) => {}
                    Err(Refusal::NotMember(_)) => return Err(NotCommanded::Refused(Refused::NodeNotLive)),
                    Err(refusal) => return Err(NotCommanded::Unwritten(refusal.to_string())),
                }
            }
            Err(subject) => self.store.unwish(&subject).await?,
        }
        let _ = self.heard.send(Heard::Input(Input::Wished { change })); // the node stops: the others read it
        Ok(judged)
    }

    /// Whether another node could take the slots of this one.
    pub async fn has_heirs(&self) -> bool {
        self.look(|protocol, _| protocol.has_heirs()).await.unwrap_or(false)
    }
}

/// Who asks for something, and how.
#[derive(Debug, Clone)]
pub struct Asked {
    pub by: String,
    pub reason: String,
    /// Nothing is done: only judged.
    pub is_dry: bool,
}

/// Why an operator's command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotCommanded {
    #[error("refused: {}", .0.code())]
    Refused(Refused),
    #[error("the store does not keep it: {0}")]
    Unwritten(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this node stops")]
    Stopping,
}

/// The forwarder of a node, whose notices go to the protocol.
fn forwarder(
    node: &NodeId,
    store: &dyn Store,
    network: &Arc<dyn Network>,
    metrics: &Arc<Metrics>,
    heard: &mpsc::UnboundedSender<Heard>,
    hints: Arc<Hints>,
) -> Arc<Forwarder> {
    let heard = heard.clone();
    let notices = move |notice| match notice {
        Notice::SawOwner { slot, owner, epoch } => hints.saw(slot, epoch, Some(owner)),
        Notice::SawEpoch { slot, epoch } => hints.saw(slot, epoch, None),
        Notice::Serves { slot, epoch } => {
            let _ = heard.send(Heard::Input(Input::EpochRaised { slot, epoch })); // the driver has ended
        }
    };
    let carrier = network.clone().carrier();
    Forwarder::new(node.clone(), store.slots(), kinds::all(), carrier, Box::new(notices), metrics.clone())
}

/// Enters the row, and says when that was sent.
async fn enter(store: &dyn Store, row: &NodeRow, patience: &mut Patience) -> anyhow::Result<Moment> {
    let sent = Moment::now();
    let mut is_tried = false;
    loop {
        let error = match store.join(row).await {
            Ok(Ok(())) => break,
            // The one before, of unknown outcome, was made: the id is nobody else's.
            Ok(Err(Refusal::Conflict(_))) if is_tried => break,
            Ok(Err(refusal)) => bail!("the store does not let this node in: {refusal}"),
            Err(error) => error,
        };
        is_tried |= matches!(error, StoreError::Unknown(_));
        if let Err(why) = patience.bear(error).await {
            if is_tried {
                calls::leave(store, &row.id).await;
            }
            return Err(why.context("the store cannot be entered"));
        }
    }
    patience.answered();
    Ok(sent)
}
