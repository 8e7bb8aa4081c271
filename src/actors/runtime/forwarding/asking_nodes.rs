//! Questions to other nodes themselves, and their questions to this one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all, ready};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::carrier::NotAnswered;
use super::{Forwarder, Notice};
use crate::actors::runtime::attention;
use crate::actors::runtime::counting::{Count, Counted};
use crate::actors::runtime::envelope::AskError;
use crate::actors::runtime::node_load::NodeLoad;
use crate::actors::runtime::overdue::{OverdueList, Place};
use crate::actors::runtime::wire::{
    NodeAnswer, NodeQuestion, Routed, decode_node_answer, encode_node_answer, encode_node_question,
};
use crate::actors::values::Time;
use crate::cluster::protocol::routing::Route;
use crate::cluster::{NodeId, slot_of};
use crate::persistence::{Epoch, Slot};

/// A peer gets no more of a list than this.
const STEPS_MAX: u32 = 1_000;
/// Stands where an entity has its kind, which is never 0.
const COUNTER: u8 = 0;

/// Who has a counter is asked, and whom he names.
const NODES_ASKED_MAX: usize = 2;

/// What another node says.
enum Told {
    Answer(NodeAnswer),
    /// Of something that belongs to a slot, which is not his.
    HasMoved {
        to: NodeId,
        epoch: Epoch,
    },
}

impl Forwarder {
    /// The nodes that have slots, without this one.
    fn owners(&self) -> BTreeSet<NodeId> {
        let state = self.state.lock();
        let owner = |route: &Route| match route {
            Route::Peer { owner, .. } => Some(owner.clone()),
            Route::Local { .. } | Route::Park { .. } => None,
        };
        state.routes.iter().filter_map(owner).collect()
    }

    /// What the entities of other nodes owe: a list of each. An error: one of them has not answered.
    pub(super) fn overdue_there(
        &self,
        before: Time,
        after: Option<Place>,
        limit: usize,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Vec<OverdueList>, AskError>> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(STEPS_MAX);
        let asked = self.owners().into_iter().map(|node| {
            let (kinds, question) = (self.kinds, NodeQuestion::Overdue { before, after, limit });
            let answer = self.ask_node(&node, question, deadline);
            async move {
                match answer.await? {
                    Told::Answer(answer) => answer.into_overdue(kinds).ok_or(AskError::Unavailable),
                    Told::HasMoved { .. } => Err(AskError::Unavailable),
                }
            }
        });
        let asked = join_all(asked.collect::<Vec<_>>());
        async move { asked.await.into_iter().collect() }.boxed()
    }

    /// `None`: nobody has the counter now, or who has it does not answer in time.
    pub(super) fn count_there(&self, count: Count, within: Duration) -> BoxFuture<'static, Option<Counted>> {
        let slot = self.slot_of_counter(&count);
        match self.route(slot) {
            Some(Route::Local { .. }) => ready(self.count_here(&count)).boxed(),
            Some(Route::Peer { owner, .. }) => {
                let Some(myself) = self.myself.upgrade() else { return ready(None).boxed() };
                async move { myself.count_at(owner, slot, count, Instant::now() + within).await }.boxed()
            }
            Some(Route::Park { .. }) | None => ready(None).boxed(),
        }
    }

    /// Asks the node that should have the counter, and where the slot has moved on, the one that has it now.
    async fn count_at(&self, mut owner: NodeId, slot: Slot, count: Count, deadline: Instant) -> Option<Counted> {
        for _ in 0..NODES_ASKED_MAX {
            match self.ask_node(&owner, NodeQuestion::Count(count.clone()), deadline).await {
                Ok(Told::Answer(NodeAnswer::Counted(counted))) => return Some(counted),
                Ok(Told::HasMoved { to, epoch }) => {
                    (self.notices)(Notice::SawOwner { slot, owner: to.clone(), epoch });
                    if to == self.me {
                        return self.count_here(&count);
                    }
                    owner = to;
                }
                Ok(Told::Answer(NodeAnswer::Overdue { .. } | NodeAnswer::Load(_))) | Err(_) => return None,
            }
        }
        None
    }

    /// How busy these nodes are. Who does not answer in time is left out; and so are all as long as a live node reads only what
    /// was before the question.
    pub fn loads(&self, nodes: Vec<NodeId>, within: Duration) -> BoxFuture<'static, BTreeMap<NodeId, NodeLoad>> {
        let deadline = Instant::now() + within;
        let asked = nodes.into_iter().map(|node| {
            let answer = self.ask_node(&node, NodeQuestion::Load, deadline);
            async move {
                match answer.await {
                    Ok(Told::Answer(NodeAnswer::Load(load))) => Some((node, load)),
                    Ok(Told::Answer(NodeAnswer::Overdue { .. } | NodeAnswer::Counted(_)) | Told::HasMoved { .. })
                    | Err(_) => None,
                }
            }
        });
        let asked = join_all(asked.collect::<Vec<_>>());
        async move { asked.await.into_iter().flatten().collect() }.boxed()
    }

    fn count_here(&self, count: &Count) -> Option<Counted> {
        Some(self.counters.get()?.count(count))
    }

    fn slot_of_counter(&self, count: &Count) -> Slot {
        let slots = self.state.lock().routes.len() as Slot;
        slot_of(COUNTER, &count.key, slots)
    }

    fn ask_node(
        &self,
        node: &NodeId,
        question: NodeQuestion,
        deadline: Instant,
    ) -> impl Future<Output = Result<Told, AskError>> + Send + use<> {
        let within = deadline.saturating_duration_since(Instant::now());
        let (tell, told) = oneshot::channel();
        if let Ok(request) = encode_node_question(question, self.wire()) {
            let outcome = move |answer: Result<Vec<u8>, NotAnswered>| drop(tell.send(answer)); // nobody waits any more
            self.carrier.ask(node, request, within, Box::new(outcome));
        }
        async move {
            let Ok(Ok(Ok(bytes))) = tokio::time::timeout_at(deadline, told).await else {
                return Err(AskError::Unavailable);
            };
            match Routed::decode(&bytes) {
                Ok(Routed::Answer { response, .. }) => {
                    decode_node_answer(response).map(Told::Answer).map_err(|_| AskError::Unavailable)
                }
                Ok(Routed::NotOwner { owner, epoch }) => Ok(Told::HasMoved { to: NodeId::of(owner), epoch }),
                Err(_) => Err(AskError::Unavailable),
            }
        }
    }

    /// The answer to a peer; `None`: this node is not that far.
    pub(super) fn answer_node(&self, question: NodeQuestion) -> Option<Vec<u8>> {
        let answer = match question {
            NodeQuestion::Overdue { before, after, limit } => {
                let list = attention::overdue(&*self.router()?, before, after, limit.min(STEPS_MAX) as usize);
                NodeAnswer::overdue(list, self.kinds)
            }
            NodeQuestion::Count(count) => match self.route(self.slot_of_counter(&count))? {
                Route::Local { .. } => NodeAnswer::Counted(self.count_here(&count)?),
                Route::Peer { owner, epoch, .. } => {
                    return Some(Routed::NotOwner { owner: owner.as_str(), epoch }.encode());
                }
                Route::Park { .. } => return None,
            },
            NodeQuestion::Load => NodeAnswer::Load((self.load.get()?)()?.bounded()),
        };
        let response = encode_node_answer(answer, self.wire()).ok()?;
        Some(Routed::Answer { epoch: 0, response: &response }.encode())
    }
}
