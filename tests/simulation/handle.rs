//! How a simulated client speaks: as `actors::client` does, except that every message can be lost, late
//! or doubled, and that the client may lose patience and ask again.

use std::sync::Arc;

use futures::channel::oneshot;
use parking_lot::Mutex;
use souk::actors::entity::{Caller, Kind, Outcome};
use souk::actors::runtime::envelope::{AskError, Body, Keep, Reply, Wait};
use souk::actors::runtime::erased::Erased;
use souk::actors::values::{CartId, OrderId, ProductId, RequestId, SessionId, Sku, Time, UserId};
use souk::persistence::EntityKey;

use crate::history::key_of;
use crate::random::Random;
use crate::task::yield_once;

/// One question on its way from a client to the node.
pub struct Ask {
    pub key: EntityKey,
    pub request: RequestId,
    pub caller: Caller,
    pub body: Body,
    pub answer: oneshot::Sender<Result<Reply, AskError>>,
    pub label: String,
}

/// A keyed question that was asked, to be asked again at the end.
#[derive(Clone)]
pub struct Asked {
    pub key: EntityKey,
    pub request: RequestId,
    pub command: Erased,
    pub keep: Keep,
    pub wait: Wait,
}

/// What the clients know of the shop, and what they want sent.
pub struct Town {
    pub random: Random,
    pub now: Time,
    pub draining: bool,
    pub outbox: Vec<Ask>,
    pub asked: Vec<Asked>,
    pub users: Vec<UserId>,
    /// Sessions, each with a refresh token that was good for it once.
    pub sessions: Vec<(SessionId, [u8; 32])>,
    pub carts: Vec<CartId>,
    pub orders: Vec<OrderId>,
    pub products: Vec<ProductId>,
    pub skus: Vec<Sku>,
}

impl Town {
    pub fn new(random: Random) -> Town {
        let (users, sessions, carts, orders, products, skus) = Default::default();
        let (outbox, asked) = (Vec::new(), Vec::new());
        Town { random, now: Time::ZERO, draining: false, outbox, asked, users, sessions, carts, orders, products, skus }
    }
}

/// A client.
#[derive(Clone)]
pub struct Handle {
    pub number: usize,
    pub town: Arc<Mutex<Town>>,
    requests: Arc<Mutex<u64>>,
}

/// What came of a command.
pub struct Answered<K: Kind> {
    pub outcome: Outcome<K>,
    pub state: Option<Arc<K::State>>,
}

/// How long an outcome is kept: longer than any simulation.
const KEEP_MS: u64 = 24 * 3_600_000;

impl Handle {
    pub fn new(number: usize, town: Arc<Mutex<Town>>) -> Handle {
        Handle { number, town, requests: Arc::default() }
    }

    pub fn chance(&self, per_mille: u64) -> bool {
        self.town.lock().random.chance(per_mille)
    }
    pub fn below(&self, bound: usize) -> usize {
        self.town.lock().random.below(bound)
    }
    pub fn any<T: Clone>(&self, of: impl Fn(&Town) -> &Vec<T>) -> Option<T> {
        let town = &mut *self.town.lock();
        let mut random = town.random.split();
        random.any(of(town))
    }
    pub fn is_draining(&self) -> bool {
        self.town.lock().draining
    }
    pub fn now(&self) -> Time {
        self.town.lock().now
    }

    /// A new request of this client.
    pub fn request(&self) -> RequestId {
        let mut requests = self.requests.lock();
        *requests += 1;
        RequestId::of("client", &[&(self.number as u64).to_be_bytes(), &requests.to_be_bytes()])
    }

    /// Sends one message and waits for one answer.
    async fn once(&self, key: EntityKey, request: RequestId, body: Body, label: String) -> Result<Reply, AskError> {
        let (sender, answer) = oneshot::channel();
        let caller = Caller::Anonymous;
        self.town.lock().outbox.push(Ask { key, request, caller, body, answer: sender, label });
        answer.await.unwrap_or(Err(AskError::DeadlinePassed))
    }

    /// As the edge and the client handle do between them: what was certainly not done, or may be
    /// repeated, is asked again.
    pub async fn send(&self, key: EntityKey, request: RequestId, body: Body, label: &str) -> Result<Reply, AskError> {
        let is_repeatable = !matches!(body, Body::Command { keep: None, .. });
        loop {
            let answer = self.once(key.clone(), request, body.clone(), label.to_owned()).await;
            match &answer {
                Err(AskError::Unavailable | AskError::Busy { .. }) => {}
                Err(AskError::Unknown | AskError::DeadlinePassed) if is_repeatable => {}
                Ok(_) | Err(_) => return answer,
            }
            yield_once().await;
        }
    }

    /// A command with an idempotency key.
    pub async fn keyed<K: Kind>(
        &self,
        id: &K::Id,
        command: K::Command,
        request: RequestId,
        wait: Wait,
    ) -> Result<Answered<K>, AskError> {
        let keep = Keep::Client { fingerprint: request.0, keep_ms: KEEP_MS };
        let label = format!("{command:?}");
        let command: Erased = Arc::new(command);
        let key = key_of::<K>(id);
        {
            let asked = Asked { key: key.clone(), request, command: command.clone(), keep, wait };
            self.town.lock().asked.push(asked);
        }
        let body = Body::Command { command, keep: Some(keep), if_version: None, wait };
        let reply = self.send(key, request, body, &label).await?;
        self.answered(id, reply, wait).await
    }

    /// A command without one: it is not asked again when its outcome is unknown.
    pub async fn plain<K: Kind>(
        &self,
        id: &K::Id,
        command: K::Command,
        if_version: Option<u64>,
        wait: Wait,
    ) -> Result<Answered<K>, AskError> {
        let label = format!("{command:?}");
        let body = Body::Command { command: Arc::new(command), keep: None, if_version, wait };
        let reply = self.send(key_of::<K>(id), self.request(), body, &label).await?;
        self.answered(id, reply, wait).await
    }

    async fn answered<K: Kind>(&self, id: &K::Id, reply: Reply, wait: Wait) -> Result<Answered<K>, AskError> {
        let outcome = reply.outcome.as_ref().and_then(|outcome| outcome.downcast_ref::<Outcome<K>>()).cloned();
        let outcome = outcome.expect("the outcome of the command that was asked");
        let state = reply.state.and_then(|state| state.downcast::<K::State>().ok());
        if state.is_none() && wait == Wait::Settled && outcome.is_ok() {
            let (_, state) = self.read::<K>(id, Wait::Settled).await?;
            return Ok(Answered { outcome, state: Some(state) });
        }
        Ok(Answered { outcome, state })
    }

    pub async fn read<K: Kind>(&self, id: &K::Id, wait: Wait) -> Result<(u64, Arc<K::State>), AskError> {
        let body = Body::Read { wait };
        let reply = self.send(key_of::<K>(id), RequestId::default(), body, "read").await?;
        let state = reply.state.and_then(|state| state.downcast::<K::State>().ok());
        Ok((reply.version, state.expect("a read brings the state")))
    }

    /// The stored outcome of a request, if there is one.
    pub async fn repeat<K: Kind>(&self, id: &K::Id, request: RequestId) -> Result<bool, AskError> {
        let body = Body::Repeat { fingerprint: request.0, wait: Wait::Durable };
        let reply = self.send(key_of::<K>(id), request, body, "repeat").await?;
        Ok(reply.outcome.is_some())
    }
}
