//! The simulated dispatcher: the deliveries of a node, each carried out step by step.

use std::time::Duration;

use souk::actors::entity::{Answer, Target};
use souk::actors::gateways::GatewayError;
use souk::actors::payment::types::PaymentRequest;
use souk::actors::runtime::delivery::{ATTEMPT, Attempt, Delivery, Failure, Next};
use souk::actors::runtime::envelope::{AskError, Body, Envelope, Keep, Reply, ReplyTo};
use souk::actors::runtime::slot::{Dispatch, SlotShared};
use souk::actors::values::{RequestId, Time};
use souk::persistence::Journal;

use crate::Broken;
use crate::answers::Question;
use crate::mutations::Mutation;
use crate::provider::{self, Call};
use crate::world::{To, Waiting, World};

/// A delivery, and where it is.
pub struct Sending {
    delivery: Delivery,
    /// Only with [`Mutation::GatewayAfterServing`]: there was no way to its gateway when it was let go.
    has_no_way: bool,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It waits for its next attempt.
    Pausing { until: Time },
    /// An entity has been asked.
    Asked,
    /// The provider has been called, and is given up at this time.
    Called { until: Time },
}

impl Sending {
    fn due(&self) -> Option<Time> {
        match self.place {
            Place::Pausing { until } | Place::Called { until } => Some(until),
            Place::Asked => None,
        }
    }
}

fn plus(time: Time, pause: Duration) -> Time {
    time.plus_ms(pause.as_millis() as u64)
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
            let has_no_way = matches!(dispatch.to, Target::Gateway { .. }) && !self.has_gateways();
            let place = Place::Pausing { until: self.now };
            let sending = Sending { delivery: Delivery::new(dispatch.clone()), has_no_way, place };
            self.deliveries.insert(self.next_delivery, sending);
        }
    }

    /// Deliveries that can go on now.
    pub fn open_deliveries(&self) -> Vec<u64> {
        let is_due = |sending: &Sending| sending.due().is_some_and(|due| due <= self.now);
        self.deliveries.iter().filter(|(_, sending)| is_due(sending)).map(|(id, _)| *id).collect()
    }

    pub fn next_delivery_due(&self) -> Option<Time> {
        self.deliveries.values().filter_map(Sending::due).min()
    }

    /// The next step of a delivery: an attempt, or the end of one that took too long.
    pub fn deliver(&mut self, id: u64) {
        let (Some(sending), Some(node)) = (self.deliveries.get(&id), &self.node) else { return };
        if let Place::Called { .. } = sending.place {
            self.provider.calls.retain(|call| call.delivery != id || call.answer.is_none());
            return self.answered(id, Err(Failure::TooLate));
        }
        let dispatch = sending.delivery.dispatch();
        let from = node.shared(dispatch.slot);
        match sending.delivery.attempt(from, self.journal.slots(), self.clock().instant) {
            Attempt::Over => drop(self.deliveries.remove(&id)),
            Attempt::Call { .. } if sending.has_no_way => self.answered(id, Err(Failure::NoGateway)),
            Attempt::Call { .. } => {
                let asked = sending.delivery.body().and_then(|body| body.downcast_ref::<PaymentRequest>());
                let request = asked.expect("the only gateway is the payments'").clone();
                self.say(|| format!("{} calls the provider: {:?}", dispatch.from.id, request.step));
                self.provider.calls.push(Call { delivery: id, request, answer: None });
                self.set_place(id, Place::Called { until: plus(self.now, ATTEMPT) });
            }
            Attempt::Ask(envelope) => {
                let envelope = self.spoil(envelope, dispatch.number);
                let keep = if let Body::Command { keep, .. } = &envelope.body { *keep } else { None };
                self.say(|| format!("{}/{} sends {} ({keep:?})", dispatch.from.kind, dispatch.from.id, dispatch.key));
                self.send_owed(id, keep, envelope);
            }
        }
    }

    fn send_owed(&mut self, id: u64, keep: Option<Keep>, mut envelope: Envelope) {
        let (reply, answer) = ReplyTo::channel();
        envelope.reply = reply;
        let (key, request) = (envelope.key.clone(), envelope.request);
        let (floor, was_told) = (self.answers.floor(&key), self.answers.was_told(&key, request));
        let question = Question { floor, was_told, key, request, keep, is_repeat: false, exact: false };
        self.waiting.push(Waiting { question, answer, to: To::Delivery(id) });
        self.wire.push(envelope);
        self.set_place(id, Place::Asked);
    }

    fn set_place(&mut self, id: u64, place: Place) {
        if let Some(sending) = self.deliveries.get_mut(&id) {
            sending.place = place;
        }
    }

    /// What two of the mutations do to an owed request.
    fn spoil(&self, mut envelope: Envelope, number: u64) -> Envelope {
        match (self.mutation, &mut envelope.body) {
            (Some(Mutation::RequestIdNotTheSame), _) => {
                envelope.request =
                    RequestId::of("mutant", &[&self.next_delivery.to_be_bytes(), &self.steps.to_be_bytes()]);
            }
            (Some(Mutation::WatermarkTooHigh), Body::Command { keep: Some(Keep::Owed { watermark, .. }), .. }) => {
                *watermark = number + 1;
            }
            _ => {}
        }
        envelope
    }

    /// What was asked of an entity is answered, or not.
    pub fn delivered(&mut self, id: u64, reply: Result<Reply, AskError>) -> Result<(), Broken> {
        let Some(sending) = self.deliveries.get(&id) else { return Ok(()) };
        if reply.as_ref().err() == Some(&AskError::AnsweredLongAgo) {
            let Dispatch { from, number, key, .. } = sending.delivery.dispatch();
            let owed = self.history.past(from).and_then(|past| past.owed.as_ref());
            if owed.is_some_and(|row| row.items.iter().any(|item| item.number == *number)) {
                let detail = format!("{}/{} still owes {key}#{number}", from.kind, from.id);
                return Err(Broken { invariant: "a watermark never refuses what is still owed", detail });
            }
            self.count("refused as answered long ago");
        }
        self.follow(id, |delivery, from| delivery.replied(from, reply));
        Ok(())
    }

    fn answered(&mut self, id: u64, answer: Result<Answer, Failure>) {
        self.follow(id, |delivery, from| delivery.answered(from, answer));
    }

    /// What follows from an attempt.
    fn follow(&mut self, id: u64, next: impl FnOnce(Delivery, &SlotShared) -> Next) {
        let Some(Sending { delivery, has_no_way, .. }) = self.deliveries.remove(&id) else { return };
        let Some(node) = &mut self.node else { return };
        let from = node.shared(delivery.dispatch().slot).clone();
        match next(delivery, &from) {
            Next::BringBack(_) if self.mutation == Some(Mutation::AnswerNotBroughtBack) => {}
            Next::BringBack(envelope) => {
                node.send(envelope);
                self.say(|| format!("delivery {id} has its answer"));
            }
            Next::Again { .. } if self.mutation == Some(Mutation::DispatcherGivesUp) => {}
            Next::Again { delivery, pause } => {
                let place = Place::Pausing { until: plus(self.now, pause) };
                self.deliveries.insert(id, Sending { delivery, has_no_way, place });
            }
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
        let unavailable = || Failure::Gateway(GatewayError::unavailable("it is away"));
        let answer = answer.flatten().filter(|_| !lost).map(provider::answer).ok_or_else(unavailable);
        self.answered(delivery, answer);
        Ok(())
    }
}
