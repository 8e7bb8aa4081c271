//! Whatever is asked and answered in the simulated town goes through its bytes, as between two nodes, and arrives as it
//! was: so that no kind can forget a command, and no state a field.

use souk::actors::kinds;
use souk::actors::runtime::envelope::{AskError, Envelope, Reply};
use souk::actors::runtime::wire::{self, Arrived, Route, WireVersion};
use souk::persistence::EntityKey;
use tokio::time::Instant;

const ROUTE: Route = Route { epoch: 1, hops: 0 };

/// The envelope as the node of its entity gets it. What the runtime tells itself stays as it is.
pub fn asked(envelope: Envelope) -> Envelope {
    if envelope.body.is_internal() {
        return envelope;
    }
    let now = Instant::now();
    let bytes = |envelope: &Envelope| {
        wire::encode_request(envelope, ROUTE, kinds::all(), now, WireVersion::OURS).expect("what is asked has bytes")
    };
    let sent = bytes(&envelope);
    let arrived = wire::decode_request(&sent, kinds::all()).expect("a request reads back");
    let Arrived { key, request, caller, want_state, body, .. } = arrived;
    let Envelope { slot, deadline, reply, .. } = envelope;
    let there = Envelope { key, slot, request, caller, deadline, want_state, body, reply };
    assert_eq!(bytes(&there), sent, "a request is changed by crossing");
    there
}

/// The answer as the node of its asker gets it.
pub fn answered(key: &EntityKey, answer: Result<Reply, AskError>) -> Result<Reply, AskError> {
    let spec = kinds::all().by_number(key.kind).expect("a kind of the shop");
    let bytes = |answer| wire::encode_response(answer, spec, WireVersion::OURS).expect("an answer has bytes");
    let sent = bytes(&answer);
    let there = wire::decode_response(&sent, spec).expect("an answer reads back");
    assert_eq!(bytes(&there), sent, "an answer is changed by crossing");
    there
}
