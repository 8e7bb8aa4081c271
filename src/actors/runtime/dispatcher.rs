//! Sends what entities owe, and brings the answers back: carries [deliveries](super::delivery) out.
//!
//! A request to another entity is one message, and its answer one message back: nobody waits in between. Only the pause
//! after an attempt that came to nothing, and a call to a gateway, take a task.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::delivery::{ATTEMPT, Attempt, Delivery, Failure, Next};
use super::envelope::{AskError, Envelope, OnReply, Reply, ReplyTo};
use super::router::Router;
use super::slot::message::SlotMessage;
use super::slot::news::News;
use super::slot::{Dispatch, SlotShared};
use super::writer::{EffectSink, Ended};
use crate::actors::entity::Answer;
use crate::actors::gateways::Gateway;
use crate::actors::values::RequestId;
use crate::metrics::Metrics;
use crate::persistence::{Record, Slot, StoreError};

/// Someone who follows what becomes durable.
pub trait Follower: Send + Sync + 'static {
    /// Records that a commit has made durable, those of each slot in slot order. It is called once for each commit, in
    /// their order, before any answer of it leaves; so it must be quick. A record whose commit had an unknown outcome
    /// never comes here, though the journal may have it.
    fn committed(&self, records: &[Arc<Record>]);
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
struct OnItsWay {
    context: DeliveryContext,
    delivery: Delivery,
}

impl OnReply for OnItsWay {
    fn replied(self: Box<Self>, reply: Result<Reply, AskError>) {
        let OnItsWay { context, delivery } = *self;
        let from = context.slot(&delivery);
        let next = delivery.replied(from, reply);
        context.follow(next);
    }
}

impl DeliveryContext {
    fn slot(&self, delivery: &Delivery) -> &SlotShared {
        &self.router.slots[usize::from(delivery.dispatch().slot)]
    }

    fn attempt(self, delivery: Delivery) {
        match delivery.attempt(self.slot(&delivery), self.router.slots.len() as Slot, Instant::now()) {
            Attempt::Over => {}
            Attempt::Ask(mut envelope) => {
                let router = self.router.clone();
                envelope.reply = ReplyTo::on_reply(Box::new(OnItsWay { context: self, delivery }));
                router.send(envelope);
            }
            Attempt::Call { gateway, request } => drop(tokio::spawn(async move {
                let answer = self.call(gateway, request, &delivery).await;
                let from = self.slot(&delivery);
                let next = delivery.answered(from, answer);
                self.follow(next);
            })),
        }
    }

    fn follow(self, next: Next) {
        match next {
            Next::BringBack(envelope) => self.router.send(envelope),
            Next::Again { delivery, pause } => {
                // Without a runtime the process is ending; the next one finds it in the owed index.
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                self.metrics.owed_resent.inc();
                drop(runtime.spawn(async move {
                    sleep(pause).await;
                    self.attempt(delivery);
                }));
            }
        }
    }

    async fn call(&self, name: &'static str, request: RequestId, delivery: &Delivery) -> Result<Answer, Failure> {
        let (Some(gateway), Some(body)) = (self.surroundings.gateways.get(name), delivery.body()) else {
            tracing::error!(gateway = name, "a kind owes to a gateway that it does not name");
            return Err(Failure::NoGateway);
        };
        call(&**gateway, request, body).await
    }
}

async fn call(gateway: &dyn Gateway, request: RequestId, body: &(dyn Any + Send + Sync)) -> Result<Answer, Failure> {
    match AssertUnwindSafe(timeout(ATTEMPT, gateway.call(request, body))).catch_unwind().await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(Failure::Gateway(error)),
        Ok(Err(_elapsed)) => Err(Failure::TooLate),
        Err(_panic) => Err(Failure::Panicked),
    }
}

impl EffectSink for Dispatcher {
    fn dispatch(&self, dispatch: Dispatch) {
        self.context.clone().attempt(Delivery::new(dispatch));
    }

    fn committed(&self, records: Vec<Arc<Record>>) {
        for follower in &self.context.surroundings.followers {
            if catch_unwind(AssertUnwindSafe(|| follower.committed(&records))).is_err() {
                tracing::error!("a follower panicked");
            }
        }
    }

    fn ended(&self, slot: Slot, generation: u64, why: Ended) {
        self.context.router.cast(usize::from(slot), SlotMessage::Ended { generation, why });
    }

    fn reroute(&self, envelope: Envelope) {
        self.context.router.send(envelope);
    }

    fn news(&self, slot: Slot, news: News) {
        let is_heard = self.context.router.news(slot, news.clone());
        if let (false, News::IsAnothers { owner, .. }) = (is_heard, news) {
            // This node believed that it was alone.
            let why = format!("another node has taken over: slot {slot} belongs to {owner}");
            self.store_failed(StoreError::Fatal(why));
        }
    }

    fn store_failed(&self, error: StoreError) {
        self.context.router.store_failed();
        self.failed.send_replace(Some(error));
    }
}
