use std::sync::Arc;

use super::types::{Command, Rejection, Reply, State};
use super::*;
use crate::actors::entity::{Caller, Policy, Stored};
use crate::actors::values::RequestId;

fn ctx() -> Ctx {
    Ctx {
        now: Time(1),
        request: RequestId([1; 16]),
        caller: Caller::System,
        version: 0,
        policy: Arc::new(Policy::default()),
    }
}

#[test]
fn a_number_belongs_to_whoever_claims_it_first() {
    let mut state = State::default();
    let first = state.decide(Command::Claim { order: OrderId(1) }, &ctx()).expect("free");
    assert_eq!(first, Decision::new(vec![Event::Claimed { order: OrderId(1) }], Reply::Claimed));
    state.evolve(&first.events[0], Time(1));
    assert_eq!(
        state.decide(Command::Claim { order: OrderId(1) }, &ctx()),
        Ok(Decision::unchanged(Reply::Claimed)),
        "a repeat changes nothing"
    );
    assert_eq!(state.decide(Command::Claim { order: OrderId(2) }, &ctx()), Err(Rejection::Taken));
}

#[test]
fn stored_bytes_stay_as_they_are() {
    let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
    assert_eq!(Event::Claimed { order: OrderId(258) }.to_stored(), (1, 1, bytes.to_vec()));
    assert_eq!(Event::from_stored(1, 1, &bytes), Ok(Event::Claimed { order: OrderId(258) }));
    assert_eq!((Reply::Claimed.to_stored(), Reply::from_stored(1, 1, &[])), ((1, 1, vec![]), Ok(Reply::Claimed)));
    assert_eq!(
        (Rejection::Taken.to_stored(), Rejection::from_stored(1, 1, &[])),
        ((1, 1, vec![]), Ok(Rejection::Taken))
    );
}
