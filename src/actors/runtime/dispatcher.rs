//! Sends what entities owe, and brings the answers back.
//!
//! A request to another entity is one message, and its answer one message back: nobody waits in between.
//! Only where there is no answer (a full queue, a slot that recovers, a provider that is away) a task takes
//! over and asks again, with a backoff of its own, until there is one. Neither knows anything that must
//! survive: after a crash the owed index says what is still to be sent.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::envelope::{AskError, Body, Envelope, Keep, OnReply, Reply, ReplyTo, Wait};
use super::router::Router;
use super::slot::Dispatch;
use super::slot::message::SlotMessage;
use super::writer::{EffectSink, Ended};
use crate::actors::entity::{Answer, AnyCommand, Caller, Target};
use crate::actors::gateways::{Gateway, GatewayError};
use crate::actors::values::RequestId;
use crate::metrics::Metrics;
use crate::persistence::{EntityKey, Slot, StoreError};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Someone who wants to know which entities have changed.
pub trait Follower: Send + Sync + 'static {
    fn changed(&self, keys: &[EntityKey]);
    /// Entities that could not be read, because their slot was quarantined, can be read again.
    fn readable_again(&self);
}

/// Whom a runtime calls: complete before it begins, and the same for as long as it runs.
#[derive(Default)]
pub struct Surroundings {
    pub gateways: HashMap<&'static str, Arc<dyn Gateway>>,
    pub followers: Vec<Arc<dyn Follower>>,
}

pub struct Dispatcher {
    context: DeliveryContext,
    /// Set once the store must not be used any more.
    pub failed: watch::Sender<Option<StoreError>>,
}

impl Dispatcher {
    pub fn new(router: Arc<Router>, metrics: Arc<Metrics>, surroundings: Surroundings) -> Arc<Dispatcher> {
        let context = DeliveryContext { router, metrics, surroundings: Arc::new(surroundings) };
        Arc::new(Dispatcher { context, failed: watch::channel(None).0 })
    }
}

/// What it takes to carry a request out, and its answer back.
#[derive(Clone)]
struct DeliveryContext {
    router: Arc<Router>,
    metrics: Arc<Metrics>,
    surroundings: Arc<Surroundings>,
}

/// A request to an entity that is on its way.
struct Delivery {
    context: DeliveryContext,
    dispatch: Dispatch,
}

impl OnReply for Delivery {
    fn answered(self: Box<Self>, answer: Result<Reply, AskError>) {
        let Delivery { context, dispatch } = *self;
        match answer.and_then(answer_of) {
            Ok(answer) => context.bring_back(dispatch, answer),
            Err(error) => context.ask_again(dispatch, &error),
        }
    }
}

impl DeliveryContext {
    fn is_owed(&self, dispatch: &Dispatch) -> bool {
        self.router.slots[usize::from(dispatch.slot)].owes(dispatch.generation, dispatch.number)
    }

    fn ask(&self, command: &AnyCommand, dispatch: &Dispatch, reply: ReplyTo) {
        let from = &self.router.slots[usize::from(dispatch.slot)];
        from.attempted(dispatch.number);
        let watermark = from.watermark();
        let keep = Some(Keep::Owed { slot: dispatch.slot, number: dispatch.number, watermark });
        let key = EntityKey { kind: command.kind, id: command.id.clone() };
        let slot = self.router.slot_of(&key);
        let request = owed_request(&dispatch.from, &dispatch.key);
        let body = Body::Command { command: command.command.clone(), keep, if_version: None, wait: Wait::Durable };
        let (caller, deadline) = (Caller::System, Instant::now() + ATTEMPT);
        self.router.send(Envelope { key, slot, request, caller, deadline, want_state: false, body, reply });
    }

    fn failed(&self, dispatch: &Dispatch, failure: &Failure) {
        if matches!(failure, Failure::NoAnswer(AskError::AnsweredLongAgo)) {
            tracing::error!(from = %dispatch.from.id, key = dispatch.key, "refused as answered, but still owed");
        }
        let slot = &self.router.slots[usize::from(dispatch.slot)];
        slot.failed(dispatch.generation, dispatch.number, failure.to_string().into());
    }

    fn bring_back(&self, dispatch: Dispatch, answer: Answer) {
        let Dispatch { from, slot, number, key, attempt, .. } = dispatch;
        self.router.send(Envelope::internal(from, slot, Body::Answered { number, key, answer, attempt }));
    }

    /// The first attempt came to nothing.
    fn ask_again(self, dispatch: Dispatch, error: &AskError) {
        // Without a runtime the process is ending; the next one finds it in the owed index.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        self.failed(&dispatch, &Failure::NoAnswer(error.clone()));
        drop(runtime.spawn(self.deliver(dispatch, Some(BACKOFF_FIRST))));
    }

    /// Asks until there is an answer, or the request is not owed any more.
    async fn deliver(self, dispatch: Dispatch, mut pause: Option<Duration>) {
        loop {
            if let Some(pause) = pause {
                self.metrics.owed_resent.inc();
                tokio::time::sleep(pause).await;
            }
            if !self.is_owed(&dispatch) {
                return;
            }
            let answer = match &dispatch.to {
                Target::Entity(command) => {
                    let (reply, answer) = ReplyTo::channel();
                    self.ask(command, &dispatch, reply);
                    answer.await.unwrap_or(Err(AskError::Unknown)).and_then(answer_of).map_err(Failure::NoAnswer)
                }
                Target::Gateway { name, body } => match self.surroundings.gateways.get(name) {
                    Some(gateway) => {
                        self.router.slots[usize::from(dispatch.slot)].attempted(dispatch.number);
                        call(&**gateway, &dispatch, &**body).await
                    }
                    None => {
                        tracing::error!(gateway = name, "a kind owes to a gateway that it does not name");
                        Err(Failure::NoGateway)
                    }
                },
            };
            match answer {
                Ok(answer) => return self.bring_back(dispatch, answer),
                Err(failure) => self.failed(&dispatch, &failure),
            }
            pause = Some(pause.map_or(BACKOFF_FIRST, |pause| (pause * 2).min(BACKOFF_MAX)));
        }
    }
}

/// Why an attempt came to nothing, as operators read it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    NoAnswer(AskError),
    #[error("{0}")]
    Gateway(GatewayError),
    #[error("no answer within {} s", ATTEMPT.as_secs())]
    TooLate,
    #[error("the gateway's code panicked")]
    Panicked,
    #[error("there is no such gateway")]
    NoGateway,
}

async fn call(gateway: &dyn Gateway, dispatch: &Dispatch, body: &(dyn Any + Send + Sync)) -> Result<Answer, Failure> {
    let request = owed_request(&dispatch.from, &dispatch.key);
    match AssertUnwindSafe(timeout(ATTEMPT, gateway.call(request, body))).catch_unwind().await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(Failure::Gateway(error)),
        Ok(Err(_elapsed)) => Err(Failure::TooLate),
        Err(_panic) => Err(Failure::Panicked),
    }
}

fn answer_of(reply: Reply) -> Result<Answer, AskError> {
    reply.outcome.map(Answer).ok_or(AskError::Unavailable)
}

/// The identity of an owed request: the same whenever it is sent.
pub fn owed_request(from: &EntityKey, key: &str) -> RequestId {
    RequestId::of("owed", &[&[from.kind], from.id.as_bytes(), key.as_bytes()])
}

impl EffectSink for Dispatcher {
    fn dispatch(&self, dispatch: Dispatch) {
        if !self.context.is_owed(&dispatch) {
            return;
        }
        let context = self.context.clone();
        match &dispatch.to {
            Target::Entity(command) => {
                let delivery = Delivery { context, dispatch: dispatch.clone() };
                self.context.ask(command, &dispatch, ReplyTo::on_reply(Box::new(delivery)));
            }
            Target::Gateway { .. } => drop(tokio::spawn(context.deliver(dispatch, None))),
        }
    }

    fn changed(&self, keys: Vec<EntityKey>) {
        for follower in &self.context.surroundings.followers {
            if catch_unwind(AssertUnwindSafe(|| follower.changed(&keys))).is_err() {
                tracing::error!("a follower panicked");
            }
        }
    }

    fn readable_again(&self) {
        for follower in &self.context.surroundings.followers {
            follower.readable_again();
        }
    }

    fn ended(&self, slot: Slot, generation: u64, why: Ended) {
        self.context.router.cast(usize::from(slot), SlotMessage::Ended { generation, why });
    }

    fn store_failed(&self, error: StoreError) {
        self.context.router.store_failed();
        self.failed.send_replace(Some(error));
    }
}
