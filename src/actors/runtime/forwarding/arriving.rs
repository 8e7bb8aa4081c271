//! Requests that other nodes have sent.

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Forwarder, Waiting};
use crate::actors::runtime::envelope::{AskError, OnReply, Reply, ReplyTo};
use crate::actors::runtime::erased::KindSpec;
use crate::actors::runtime::wire::{
    Routed, WireVersion, decode_node_question, decode_request, encode_response, encode_unsupported,
};
use crate::cluster::protocol::routing::{Verdict, judge};
use crate::cluster::slot_of;
use crate::persistence::{Epoch, Slot};

/// Takes the bytes that go back to the node that has asked. Called exactly once, on any thread: it must not block.
pub type Answer = Box<dyn FnOnce(Vec<u8>) + Send>;

impl Forwarder {
    /// A peer has sent these bytes, and waits for an answer.
    pub fn arrived(&self, bytes: &[u8], answer: Answer) {
        if let Some(question) = decode_node_question(bytes) {
            return answer(self.answer_node(question).unwrap_or_else(|| unsupported(self.wire())));
        }
        let arrived = match decode_request(bytes, self.kinds) {
            Ok(arrived) => arrived,
            Err(error) => {
                tracing::warn!(%error, "a peer's request cannot be read");
                return answer(unsupported(self.wire()));
            }
        };
        let Some(spec) = self.kinds.by_number(arrived.key.kind) else { return answer(unsupported(self.wire())) };
        let slots = self.state.lock().routes.len() as Slot;
        let slot = slot_of(arrived.key.kind, &arrived.key.id, slots);
        let (epoch, hops) = (arrived.route.epoch, arrived.route.hops);
        let Some(route) = self.route(slot) else { return answer(unsupported(self.wire())) };
        if let Verdict::NotOwner { owner, epoch } = judge(&route, epoch, hops) {
            return answer(Routed::NotOwner { owner: owner.as_str(), epoch }.encode());
        }
        let Some(forwarder) = self.myself.upgrade() else { return answer(unsupported(self.wire())) };
        let to_peer = ToPeer { forwarder, spec, slot, answer: Mutex::new(Some(answer)) };
        let envelope = arrived.into_envelope(slot, Instant::now(), ReplyTo::on_reply(Box::new(to_peer)));
        self.go(Waiting { envelope, epoch, hops, refusals: 0 });
    }

    fn epoch(&self, slot: Slot) -> Epoch {
        self.router().map_or(0, |router| router.epoch(slot))
    }
}

/// The answer goes to the node that has asked.
struct ToPeer {
    forwarder: std::sync::Arc<Forwarder>,
    spec: &'static dyn KindSpec,
    slot: Slot,
    answer: Mutex<Option<Answer>>,
}

impl OnReply for ToPeer {
    fn replied(self: Box<Self>, reply: Result<Reply, AskError>) {
        let ToPeer { forwarder, spec, slot, answer } = *self;
        let Some(answer) = answer.into_inner() else { return };
        let epoch = match &reply {
            Ok(reply) if reply.epoch > 0 => reply.epoch, // it was passed on
            Ok(_) | Err(_) => forwarder.epoch(slot),
        };
        let wire = forwarder.wire();
        let response = encode_response(&reply, spec, wire).or_else(|error| {
            tracing::error!(%error, "an answer cannot be brought to another node");
            encode_response(&Err(AskError::Unknown), spec, wire)
        });
        let response = response.unwrap_or_default(); // what is not readable is an unknown outcome
        answer(Routed::Answer { epoch, response: &response }.encode());
    }
}

fn unsupported(wire: WireVersion) -> Vec<u8> {
    let response = encode_unsupported(wire).unwrap_or_default();
    Routed::Answer { epoch: 0, response: &response }.encode()
}
