//! Sends what entities owe, and brings the answers back.
//!
//! Each owed request is one task: it asks, with a backoff of its own, until there is an answer, and
//! hands that to the entity which owed it. A task knows nothing that must survive: after a crash the
//! owed index says what is still to be sent.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::entity::{Answer, AnyCommand, Caller, Target};
use super::envelope::{AskError, Body, Envelope, Keep, ReplyTo, Wait};
use super::gateways::{Gateway, GatewayError};
use super::router::Router;
use super::slot::Dispatch;
use super::slot::actor::SlotMessage;
use super::values::RequestId;
use super::writer::{Ended, Outlet};
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Slot, StoreError};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Someone who wants to know which entities have changed.
pub trait Follower: Send + Sync + 'static {
    fn changed(&self, keys: &[EntityKey]);
}

pub struct Dispatcher {
    router: Arc<Router>,
    gateways: RwLock<HashMap<&'static str, Arc<dyn Gateway>>>,
    followers: RwLock<Vec<Arc<dyn Follower>>>,
    /// Set once the store must not be used any more.
    pub failed: watch::Sender<Option<StoreError>>,
    metrics: Arc<Metrics>,
}

impl Dispatcher {
    pub fn new(router: Arc<Router>, metrics: Arc<Metrics>) -> Arc<Dispatcher> {
        let (gateways, followers) = Default::default();
        Arc::new(Dispatcher { router, gateways, followers, failed: watch::channel(None).0, metrics })
    }
    pub fn add_gateway(&self, name: &'static str, gateway: Arc<dyn Gateway>) {
        self.gateways.write().insert(name, gateway);
    }
    pub fn add_follower(&self, follower: Arc<dyn Follower>) {
        self.followers.write().push(follower);
    }

    async fn deliver(
        router: Arc<Router>,
        gateway: Option<Arc<dyn Gateway>>,
        metrics: Arc<Metrics>,
        dispatch: Dispatch,
    ) {
        let request = owed_request(&dispatch.from, &dispatch.key);
        let mut pause = BACKOFF_FIRST;
        let shared = router.slots[usize::from(dispatch.slot)].clone();
        while shared.owes(dispatch.generation, dispatch.number) {
            let answer = match (&dispatch.to, &gateway) {
                (Target::Entity(command), _) => {
                    let number = dispatch.number;
                    let keep = Keep::Owed { slot: dispatch.slot, number, watermark: shared.watermark() };
                    ask(&router, command, request, keep).await
                }
                (Target::Gateway { body, .. }, Some(gateway)) => {
                    let call = AssertUnwindSafe(timeout(ATTEMPT, gateway.call(request, &**body))).catch_unwind();
                    match call.await {
                        Ok(Ok(Ok(answer))) => Ok(answer),
                        Ok(Ok(Err(GatewayError::Unavailable)) | Err(_)) => Err(AskError::Unavailable),
                        Err(_panic) => Err(AskError::Panicked),
                    }
                }
                (Target::Gateway { name, .. }, None) => {
                    tracing::error!(gateway = name, "no such gateway");
                    Err(AskError::Unavailable)
                }
            };
            match answer {
                Ok(answer) => {
                    let Dispatch { number, key, attempt, .. } = dispatch;
                    let body = Body::Answered { number, key, answer, attempt };
                    return router.send(Envelope::internal(dispatch.from, dispatch.slot, body));
                }
                Err(again) => {
                    if again == AskError::AnsweredLongAgo {
                        tracing::error!(from = %dispatch.from.id, key = dispatch.key, "refused as answered, but still owed");
                    }
                    metrics.owed_resent.inc();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
            }
        }
    }
}

/// The identity of an owed request: the same whenever it is sent.
pub fn owed_request(from: &EntityKey, key: &str) -> RequestId {
    RequestId::of("owed", &[&[from.kind], from.id.as_bytes(), key.as_bytes()])
}

async fn ask(router: &Router, command: &AnyCommand, request: RequestId, keep: Keep) -> Result<Answer, AskError> {
    let (reply, answer) = ReplyTo::channel();
    let key = EntityKey { kind: command.kind, id: command.id.clone() };
    let slot = router.slot_of(&key);
    let body =
        Body::Command { command: command.command.clone(), keep: Some(keep), if_version: None, wait: Wait::Durable };
    let deadline = Instant::now() + ATTEMPT;
    router.send(Envelope { key, slot, request, caller: Caller::System, deadline, want_state: false, body, reply });
    let reply = timeout(ATTEMPT, answer).await.map_err(|_| AskError::DeadlinePassed)?;
    let reply = reply.map_err(|_| AskError::Unavailable)??;
    reply.outcome.map(Answer).ok_or(AskError::Unavailable)
}

impl Outlet for Dispatcher {
    fn dispatch(&self, dispatch: Dispatch) {
        let gateway = match &dispatch.to {
            Target::Gateway { name, .. } => self.gateways.read().get(name).cloned(),
            Target::Entity(_) => None,
        };
        tokio::spawn(Dispatcher::deliver(self.router.clone(), gateway, self.metrics.clone(), dispatch));
    }

    fn changed(&self, keys: Vec<EntityKey>) {
        for follower in &*self.followers.read() {
            if catch_unwind(AssertUnwindSafe(|| follower.changed(&keys))).is_err() {
                tracing::error!("a follower panicked");
            }
        }
    }

    fn ended(&self, slot: Slot, generation: u64, why: Ended) {
        self.router.cast(usize::from(slot), SlotMessage::Ended { generation, why });
    }

    fn store_failed(&self, error: StoreError) {
        self.failed.send_replace(Some(error));
    }
}
