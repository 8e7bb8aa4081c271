//! The simulated dispatcher: one delivery for each owed request on its way, under the rules of
//! `actors::dispatcher`: asked until there is an answer, with a backoff, as long as it is owed.

use souk::actors::entity::{Answer, Caller, Target};
use souk::actors::payment::types::PaymentRequest;
use souk::actors::runtime::dispatcher::owed_request;
use souk::actors::runtime::envelope::{AskError, Body, Envelope, Keep, Reply, ReplyTo, Wait};
use souk::actors::runtime::slot::Dispatch;
use souk::actors::values::{RequestId, Time};
use souk::persistence::EntityKey;
use tokio::time::Instant;

use crate::Broken;
use crate::answers::Question;
use crate::mutations::Mutation;
use crate::provider::{self, Call};
use crate::world::{To, Waiting, World};

const BACKOFF_FIRST_MS: u64 = 20;
const BACKOFF_MAX_MS: u64 = 5_000;
/// How long one attempt may take.
const ATTEMPT_MS: u64 = 10_000;

pub struct Delivery {
    pub dispatch: Dispatch,
    attempts: u32,
    /// Only with [`Mutation::GatewayAfterServing`]: there was no way to its gateway when it was let go.
    has_no_way: bool,
    pub state: Sending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Waits for its next attempt.
    Pausing { until: Time },
    /// Waits for an answer.
    Asked { until: Time },
}

impl World {
    /// A new owed request is let go. The same one may come again: then it is sent twice.
    pub fn dispatch(&mut self, dispatch: Dispatch) {
        if self.mutation == Some(Mutation::OwedNotSent) && self.random.chance(20) {
            return;
        }
        let times = if self.chaos.is_on && self.random.chance(self.chaos.doubled_messages) { 2 } else { 1 };
        for _ in 0..times {
            self.next_delivery += 1;
            let state = Sending::Pausing { until: self.now };
            let has_no_way = matches!(dispatch.to, Target::Gateway { .. }) && !self.has_gateways();
            let delivery = Delivery { dispatch: dispatch.clone(), attempts: 0, has_no_way, state };
            self.deliveries.insert(self.next_delivery, delivery);
        }
    }

    /// Deliveries that can go on now.
    pub fn open_deliveries(&self) -> Vec<u64> {
        let is_due = |delivery: &Delivery| match delivery.state {
            Sending::Pausing { until } | Sending::Asked { until } => until <= self.now,
        };
        self.deliveries.iter().filter(|(_, delivery)| is_due(delivery)).map(|(id, _)| *id).collect()
    }

    pub fn next_delivery_due(&self) -> Option<Time> {
        let until = |delivery: &Delivery| match delivery.state {
            Sending::Pausing { until } | Sending::Asked { until } => until,
        };
        self.deliveries.values().map(until).min()
    }

    /// The next step of a delivery: it asks, or it gives up waiting.
    pub fn deliver(&mut self, id: u64) {
        let Some(Delivery { dispatch, attempts, has_no_way, state }) = self.deliveries.get(&id) else { return };
        let (dispatch, attempts, has_no_way) = (dispatch.clone(), *attempts, *has_no_way);
        if let Sending::Asked { .. } = state {
            self.waiting.retain(|waiting| !matches!(waiting.to, To::Delivery(other) if other == id));
            self.provider.calls.retain(|call| call.delivery != id || call.answer.is_none());
            return self.again(id);
        }
        let Some(node) = &self.node else { return };
        let shared = node.shared(dispatch.slot).clone();
        if !shared.owes(dispatch.generation, dispatch.number) {
            self.deliveries.remove(&id);
            return;
        }
        if has_no_way {
            return self.again(id);
        }
        let request = match self.mutation {
            Some(Mutation::RequestIdNotTheSame) => {
                RequestId::of("mutant", &[&id.to_be_bytes(), &attempts.to_be_bytes()])
            }
            Some(_) | None => owed_request(&dispatch.from, &dispatch.key),
        };
        match &dispatch.to {
            Target::Entity(command) => {
                let watermark = match self.mutation {
                    Some(Mutation::WatermarkTooHigh) => dispatch.number + 1,
                    Some(_) | None => shared.watermark(),
                };
                let keep = Keep::Owed { slot: dispatch.slot, number: dispatch.number, watermark };
                let key = EntityKey { kind: command.kind, id: command.id.clone() };
                self.say(|| format!("{}/{} sends {} ({keep:?})", dispatch.from.kind, dispatch.from.id, dispatch.key));
                let body = Body::Command {
                    command: command.command(),
                    keep: Some(keep),
                    if_version: None,
                    wait: Wait::Durable,
                };
                let (reply, answer) = ReplyTo::channel();
                let question = Question {
                    floor: self.answers.floor(&key),
                    was_told: self.answers.was_told(&key, request),
                    key: key.clone(),
                    request,
                    keep: Some(keep),
                    is_repeat: false,
                    exact: false,
                };
                self.waiting.push(Waiting { question, answer, to: To::Delivery(id) });
                let (slot, deadline, caller) = (self.slot_of(&key), Instant::now(), Caller::System);
                self.wire.push(Envelope { key, slot, request, caller, deadline, want_state: false, body, reply });
            }
            Target::Gateway { body, .. } => {
                let asked = body.downcast_ref::<PaymentRequest>().expect("the only gateway is the payments'");
                self.say(|| format!("{} calls the provider: {:?}", dispatch.from.id, asked.step));
                self.provider.calls.push(Call { delivery: id, request: asked.clone(), answer: None });
            }
        }
        let until = self.now.plus_ms(ATTEMPT_MS);
        if let Some(delivery) = self.deliveries.get_mut(&id) {
            delivery.state = Sending::Asked { until };
        }
    }

    fn again(&mut self, id: u64) {
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        let pause_ms = (BACKOFF_FIRST_MS << delivery.attempts.min(16)).min(BACKOFF_MAX_MS);
        delivery.attempts += 1;
        delivery.state = Sending::Pausing { until: self.now.plus_ms(pause_ms) };
    }

    /// What was asked of an entity is answered, or not.
    pub fn delivered(&mut self, id: u64, answer: Result<Reply, AskError>) -> Result<(), Broken> {
        let Some(delivery) = self.deliveries.get(&id) else { return Ok(()) };
        match answer.map(|reply| reply.outcome) {
            Ok(Some(outcome)) => self.answered(id, Answer(outcome)),
            Err(AskError::AnsweredLongAgo) => {
                let Dispatch { from, number, key, .. } = &delivery.dispatch;
                let owed = self.history.past(from).and_then(|past| past.owed.as_ref());
                if owed.is_some_and(|row| row.items.iter().any(|item| item.number == *number)) {
                    let detail = format!("{}/{} still owes {key}#{number}", from.kind, from.id);
                    return Err(Broken { invariant: "a watermark never refuses what is still owed", detail });
                }
                self.again(id);
                self.count("refused as answered long ago");
            }
            Ok(None) | Err(_) => self.again(id),
        }
        Ok(())
    }

    fn answered(&mut self, id: u64, answer: Answer) {
        let Some(Delivery { dispatch, .. }) = self.deliveries.remove(&id) else { return };
        self.say(|| format!("{}/{} gets its answer to {}", dispatch.from.kind, dispatch.from.id, dispatch.key));
        let Dispatch { from, slot, number, key, attempt, .. } = dispatch;
        let envelope = Envelope::internal(from, slot, Body::Answered { number, key, answer, attempt });
        if let Some(node) = &self.node {
            node.shared(slot).inbox.push(envelope);
        }
    }

    /// Calls at the provider that can go on now: those to be taken, and those whose answer may come.
    pub fn open_calls(&self) -> Vec<usize> {
        let is_open = |index: &usize| {
            self.provider.calls[*index].answer.is_none() || !self.provider.is_held_back(*index, &self.history)
        };
        (0..self.provider.calls.len()).filter(is_open).collect()
    }

    /// The provider takes a call, or its answer comes back, or is lost.
    pub fn call(&mut self, index: usize) -> Result<(), Broken> {
        if self.provider.calls[index].answer.is_none() {
            let (order, step) = {
                let request = &self.provider.calls[index].request;
                (request.order, request.step.clone())
            };
            self.provider.handle(index, self.now, &self.history)?;
            self.say(|| format!("the provider does {step:?} for {order}: {:?}", self.provider.calls[index].answer));
            return Ok(());
        }
        let Call { delivery, answer, .. } = self.provider.calls.remove(index);
        let lost = self.chaos.is_on && self.random.chance(self.chaos.lost_messages);
        match answer.flatten().filter(|_| !lost) {
            Some(answer) => self.answered(delivery, provider::answer(answer)),
            None => self.again(delivery),
        }
        Ok(())
    }
}
