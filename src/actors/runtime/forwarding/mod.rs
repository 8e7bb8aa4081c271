//! Requests for slots that live on other nodes: forwarded to their owner, kept while a slot has none, and served for
//! others.
//!
//! The cluster's protocol decides where slots live, and tells it here ([`Forwarder::set_route`]). A request whose slot does not
//! take it here comes in by [`Elsewhere::take`], one that another node has sent by [`Forwarder::arrived`]. Both are judged by
//! the same rule ([`judge`]):
//!
//! | the slot's route | what becomes of the request |
//! | --- | --- |
//! | it lives here | it goes into the slot's inbox; until that is open, it waits |
//! | a peer has it | it goes to the peer, unless it has come far already: then the sender is told who has it |
//! | it has no owner now | it waits |
//! | the sender knows a higher epoch | it waits, and the protocol reads the tables |
//!
//! **Who waits** stands in [`Parking`], bounded for each slot and for the node, in order, no longer than his deadline. He is
//! judged again whenever his slot's route changes, when the slot opens here, and with each [`Forwarder::tick`].
//!
//! **What may go wrong between two nodes.** A request that has certainly not left (no link) waits for another way. One that
//! will never be taken is answered [`AskError::Unsupported`], and one that may have arrived [`AskError::Unknown`]: whoever asked sends it again where a repeat is harmless
//! ([`Client`](super::client::Client) does, and so does what owes), and the receipt keeps it from being done twice. One that a
//! peer is too busy for, or its link, is [put off](put_off) where that is a matter of a moment, or its caller is told so. Any
//! other answer that the owner gave is passed on as it is.
//!
//! **Order.** A request that is sent after the answer to another comes after it. Two that are under way at the same time
//! may change places when their slot moves.
//!
//! What a crash leaves: nothing. Callers repeat with the same request id.

mod arriving;
mod asking_nodes;
pub mod carrier;
mod put_off;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::carrier::{Carrier, NotAnswered};
use self::put_off::{PutOff, Refused};
use super::counting::{Count, Counted, Counters};
use super::envelope::{AskError, Body, Envelope, Keep};
use super::erased::KindSpec;
use super::node_load::NodeLoad;
use super::overdue::{OverdueList, Place};
use super::router::{Elsewhere, Router};
use super::slot::news::News;
use super::wire::{self, Routed, WireVersion, decode_response, encode_request};
use crate::actors::kinds::Kinds;
use crate::actors::values::Time;
use crate::cluster::protocol::parking::Parking;
use crate::cluster::protocol::routing::{Route, Verdict, judge};
use crate::cluster::{Moment, NodeId};
use crate::metrics::Metrics;
use crate::persistence::{Epoch, Slot};

/// A caller that is turned away because too many wait for the same slot may try again after this time.
const BUSY_AGAIN_MS: u64 = 200;

/// Those who wait though there seems to be a way are judged again after so many ticks.
const TICKS_PER_RELEASE: u32 = 8;

/// Says how busy this node is; `None`: it is not that far. It must be quick.
pub type ReadLoad = Box<dyn Fn() -> Option<NodeLoad> + Send + Sync>;

/// What the protocol is to know of what went through here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A peer says that this node has the slot.
    SawOwner { slot: Slot, owner: NodeId, epoch: Epoch },
    /// A peer knows the slot to be at this epoch.
    SawEpoch { slot: Slot, epoch: Epoch },
    /// A slot of this node serves at this epoch.
    Serves { slot: Slot, epoch: Epoch },
}

/// A request on its way through this node.
struct Waiting {
    envelope: Envelope,
    /// The slot's epoch as the sender knew it; 0: not at all, or it is this node's own.
    epoch: Epoch,
    /// How many nodes it has been sent to, this one included; 0 for this node's own.
    hops: u8,
    /// How often a peer was too busy for it.
    refusals: u32,
}

struct State {
    routes: Vec<Route>,
    parking: Parking<Waiting>,
    put_off: PutOff<Waiting>,
    /// The highest epoch of each slot that the protocol was told to look for.
    sought: Vec<Epoch>,
    ticks: u32,
}

/// Where requests go, and those that wait.
pub struct Forwarder {
    /// Itself: what is on its way to a peer comes back here.
    myself: Weak<Forwarder>,
    me: NodeId,
    kinds: &'static Kinds,
    router: OnceLock<Weak<Router>>,
    carrier: Arc<dyn Carrier>,
    state: Mutex<State>,
    notices: Box<dyn Fn(Notice) + Send + Sync>,
    wire: AtomicU16,
    metrics: Arc<Metrics>,
    counters: OnceLock<Arc<dyn Counters>>,
    load: OnceLock<ReadLoad>,
}

impl Forwarder {
    /// Every slot is without an owner until the protocol says otherwise. `notices` must not block.
    pub fn new(
        me: NodeId,
        slots: Slot,
        kinds: &'static Kinds,
        carrier: Arc<dyn Carrier>,
        notices: Box<dyn Fn(Notice) + Send + Sync>,
        metrics: Arc<Metrics>,
    ) -> Arc<Forwarder> {
        let routes = vec![Route::Park { epoch: 0 }; usize::from(slots)];
        let sought = vec![0; usize::from(slots)];
        let state =
            Mutex::new(State { routes, parking: Parking::default(), put_off: PutOff::default(), sought, ticks: 0 });
        let (router, wire) = (OnceLock::new(), AtomicU16::new(WireVersion::FIRST.0));
        Arc::new_cyclic(|myself| Forwarder {
            myself: myself.clone(),
            me,
            kinds,
            router,
            carrier,
            state,
            notices,
            wire,
            metrics,
            counters: OnceLock::new(),
            load: OnceLock::new(),
        })
    }

    /// What is for this node goes into these slots.
    pub(super) fn serve_with(&self, router: &Arc<Router>) {
        let _ = self.router.set(Arc::downgrade(router)); // the first counts
    }

    /// Other nodes that ask how busy this one is are told this.
    pub fn tell_load(&self, load: ReadLoad) {
        let _ = self.load.set(load); // the first counts
    }

    /// Everyone reads this version from now on.
    pub fn write_in(&self, version: WireVersion) {
        self.wire.store(version.0, Ordering::Release);
    }

    fn wire(&self) -> WireVersion {
        WireVersion(self.wire.load(Ordering::Acquire))
    }

    /// Requests for the slot go there from now on, and so do those that wait for it.
    pub fn set_route(&self, slot: Slot, route: Route) {
        if let Some(known) = self.state.lock().routes.get_mut(usize::from(slot)) {
            *known = route;
        }
        self.release(slot);
    }

    pub fn route(&self, slot: Slot) -> Option<Route> {
        self.state.lock().routes.get(usize::from(slot)).cloned()
    }

    /// How many requests wait for the slot.
    pub fn waiting(&self, slot: Slot) -> usize {
        self.state.lock().parking.waiting(slot)
    }

    /// Time passes: whose deadline is over is told so. What can go on does, when its slot's route changes, and now and then
    /// (the way that there was may have been none). Many times a second.
    pub fn tick(&self) {
        let (late, again, slots) = {
            let mut state = self.state.lock();
            state.ticks = (state.ticks + 1) % TICKS_PER_RELEASE;
            let slots = if state.ticks == 0 { state.parking.slots() } else { Vec::new() };
            (state.parking.expire(Moment::now()), state.put_off.due(Instant::now()), slots)
        };
        late.into_iter().for_each(|waiting| waiting.envelope.reply.send(Err(AskError::DeadlinePassed)));
        again.into_iter().filter(|waiting| !waiting.envelope.reply.is_closed()).for_each(|waiting| self.go(waiting));
        slots.into_iter().for_each(|slot| self.release(slot));
        self.count_who_waits();
    }

    /// Those who wait for the slot are judged again, each once.
    fn release(&self, slot: Slot) {
        let mut left = self.state.lock().parking.waiting(slot);
        while left > 0 && self.is_open(slot) {
            let released = self.state.lock().parking.release(slot);
            if released.is_empty() {
                return;
            }
            left = left.saturating_sub(released.len());
            released.into_iter().filter(|waiting| !waiting.envelope.reply.is_closed()).for_each(|one| self.go(one));
        }
    }

    /// Whether there is a way for the slot's requests.
    fn is_open(&self, slot: Slot) -> bool {
        match self.route(slot) {
            Some(Route::Local { .. }) => self.router().is_some_and(|router| router.is_open(slot)),
            Some(Route::Peer { to, .. }) => self.carrier.reaches(&to),
            Some(Route::Park { .. }) | None => false,
        }
    }

    /// A request goes where it should, or waits.
    fn go(&self, waiting: Waiting) {
        let slot = waiting.envelope.slot;
        let Some(route) = self.route(slot) else {
            return waiting.envelope.reply.send(Err(AskError::Unavailable));
        };
        match judge(&route, waiting.epoch, waiting.hops) {
            Verdict::Serve => self.serve(waiting),
            Verdict::Park => self.park(waiting),
            Verdict::ParkAndRead => {
                self.seek(slot, waiting.epoch);
                self.park(waiting);
            }
            Verdict::Forward { to, epoch, hops } => self.forward(waiting, &to, wire::Route { epoch, hops }),
            // It waited here, and the slot has moved on: who sent it asks again, and finds it.
            Verdict::NotOwner { .. } => waiting.envelope.reply.send(Err(AskError::Unavailable)),
        }
    }

    /// The sender of a request knows the slot to be at this epoch: the protocol is told so once.
    fn seek(&self, slot: Slot, epoch: Epoch) {
        let is_news = match self.state.lock().sought.get_mut(usize::from(slot)) {
            Some(sought) => std::mem::replace(sought, epoch.max(*sought)) < epoch,
            None => false,
        };
        if is_news {
            (self.notices)(Notice::SawEpoch { slot, epoch });
        }
    }

    fn serve(&self, waiting: Waiting) {
        let Waiting { envelope, epoch, hops, refusals } = waiting;
        let not_here = match self.router() {
            Some(router) => router.deliver(envelope),
            None => Some(envelope),
        };
        if let Some(envelope) = not_here {
            self.park(Waiting { envelope, epoch, hops, refusals });
        }
    }

    fn park(&self, waiting: Waiting) {
        let (slot, deadline) = (waiting.envelope.slot, moment_of(waiting.envelope.deadline));
        let parked = self.state.lock().parking.park(slot, waiting, deadline);
        if let Err(refused) = parked {
            self.metrics.busy.inc();
            refused.envelope.reply.send(Err(AskError::Busy { retry_after_ms: BUSY_AGAIN_MS }));
        }
        self.count_who_waits();
    }

    fn count_who_waits(&self) {
        let waiting = self.state.lock().parking.len();
        self.metrics.requests_parked.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    fn forward(&self, waiting: Waiting, to: &NodeId, route: wire::Route) {
        let envelope = &waiting.envelope;
        let now = Instant::now();
        let Some(myself) = self.myself.upgrade() else { return };
        if envelope.deadline <= now {
            return waiting.envelope.reply.send(Err(AskError::DeadlinePassed));
        }
        let request = match encode_request(envelope, route, self.kinds, now, self.wire()) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(kind = envelope.key.kind, %error, "a request cannot be brought to another node");
                return waiting.envelope.reply.send(Err(AskError::Unsupported));
            }
        };
        self.metrics.requests_forwarded.inc();
        if waiting.refusals == 0 {
            self.state.lock().put_off.earn();
        }
        let within = envelope.deadline - now;
        let outcome = move |answer| myself.came_back(waiting, answer);
        self.carrier.ask(to, request, within, Box::new(outcome));
    }

    /// What became of a request at a peer.
    fn came_back(&self, waiting: Waiting, answer: Result<Vec<u8>, NotAnswered>) {
        let slot = waiting.envelope.slot;
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(NotAnswered::NotSent) => return self.park(waiting),
            Err(NotAnswered::Busy) => return self.too_busy(waiting, BUSY_AGAIN_MS),
            Err(NotAnswered::TooLarge) => return waiting.envelope.reply.send(Err(AskError::Unsupported)),
            Err(NotAnswered::Lost) => return waiting.envelope.reply.send(Err(AskError::Unknown)),
        };
        match Routed::decode(&bytes) {
            Ok(Routed::Answer { epoch, response }) => {
                let answer = match self.spec(&waiting.envelope).map(|spec| decode_response(response, spec)) {
                    Some(Ok(Err(AskError::Busy { retry_after_ms }))) => return self.too_busy(waiting, retry_after_ms),
                    Some(Ok(answer)) => answer.map(|reply| super::envelope::Reply { epoch, ..reply }),
                    Some(Err(_)) | None => Err(AskError::Unknown),
                };
                waiting.envelope.reply.send(answer);
            }
            Ok(Routed::NotOwner { owner, epoch }) => {
                self.metrics.requests_misrouted.inc();
                (self.notices)(Notice::SawOwner { slot, owner: NodeId::of(owner), epoch });
                self.park(waiting);
            }
            Err(error) => {
                tracing::error!(%error, "a peer's answer cannot be read");
                waiting.envelope.reply.send(Err(AskError::Unknown));
            }
        }
    }

    /// A peer has too much to do, or its link to carry: nothing was done. The request comes again in a moment, if it may.
    fn too_busy(&self, mut waiting: Waiting, retry_after_ms: u64) {
        // What an entity owes comes again by itself, and what another node has sent that node may put off.
        let comes_again = matches!(waiting.envelope.body, Body::Command { keep: Some(Keep::Owed { .. }), .. });
        let refused = if comes_again || waiting.hops > 0 {
            Some(waiting)
        } else {
            let (refusals, deadline) = (waiting.refusals, waiting.envelope.deadline);
            waiting.refusals += 1;
            let refused = Refused { request: waiting, refusals, deadline };
            let refused = self.state.lock().put_off.put_off(refused, Instant::now(), rand::random());
            let then = if refused.is_some() { "refused" } else { "put_off" };
            self.metrics.requests_too_many.with_label_values(&[then]).inc();
            refused
        };
        if let Some(waiting) = refused {
            waiting.envelope.reply.send(Err(AskError::Busy { retry_after_ms }));
        }
    }

    fn spec(&self, envelope: &Envelope) -> Option<&'static dyn KindSpec> {
        self.kinds.by_number(envelope.key.kind)
    }

    fn router(&self) -> Option<Arc<Router>> {
        self.router.get()?.upgrade()
    }
}

impl Elsewhere for Forwarder {
    fn take(&self, envelope: Envelope) {
        self.go(Waiting { envelope, epoch: 0, hops: 0, refusals: 0 });
    }

    fn news(&self, slot: Slot, news: News) {
        match news {
            News::Opened => self.release(slot),
            News::Serves(epoch) => (self.notices)(Notice::Serves { slot, epoch }),
            News::IsAnothers { owner, epoch } => {
                (self.notices)(Notice::SawOwner { slot, owner: NodeId::of(&owner), epoch });
            }
        }
    }

    fn owner(&self, slot: Slot) -> Option<NodeId> {
        match self.route(slot)? {
            Route::Local { .. } => Some(self.me.clone()),
            Route::Peer { owner, .. } => Some(owner),
            Route::Park { .. } => None,
        }
    }

    fn hops(&self, slot: Slot) -> u8 {
        match self.route(slot) {
            Some(Route::Peer { to, owner, .. }) if to != owner => 2,
            Some(Route::Peer { .. } | Route::Local { .. } | Route::Park { .. }) | None => 1,
        }
    }

    fn overdue(
        &self,
        before: Time,
        after: Option<Place>,
        limit: usize,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Vec<OverdueList>, AskError>> {
        self.overdue_there(before, after, limit, deadline)
    }

    fn count(&self, count: Count, within: Duration) -> BoxFuture<'static, Option<Counted>> {
        self.count_there(count, within)
    }

    fn count_with(&self, counters: Arc<dyn Counters>) {
        let _ = self.counters.set(counters); // the first count
    }
}

/// A deadline on the clock of the cluster.
fn moment_of(deadline: Instant) -> Moment {
    Moment::now().plus(deadline.saturating_duration_since(Instant::now()))
}
