//! What must hold at single steps, and is too rare for seeds.

use std::time::Duration;

use super::super::messages::*;
use super::super::types::*;
use super::*;

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn row(name: &str, counter: u64) -> NodeView {
    let (id, state) = (NodeId::of(name), NodeState::Serving);
    NodeView {
        id,
        name: name.into(),
        state,
        reads: (1, 1),
        writes: 1,
        counter,
        weight: 1,
        unreachable: BTreeSet::new(),
    }
}

fn slots(owners: &[(&str, Epoch)]) -> Vec<SlotView> {
    owners.iter().map(|(owner, epoch)| SlotView { owner: Some(NodeId::of(owner)), epoch: *epoch }).collect()
}

/// A node `b` with a lease of 5 s, which has read that all slots are `a`'s.
fn b() -> Protocol {
    let me = Identity { id: NodeId::of("b"), name: "b".into(), reads: (1, 1), writes: 1, slots: 2 };
    let mut b = Protocol::new(me, Settings::of_lease(Duration::from_secs(5)), 0, at(0));
    b.handle(at(0), Input::Ready);
    b.handle(at(0), Input::LinkUp { peer: NodeId::of("a") });
    read(&mut b, 1, 10, slots(&[("a", 4), ("a", 4)]));
    b
}

fn read(node: &mut Protocol, number: u64, now: i64, slots: Vec<SlotView>) -> Vec<Output> {
    let view = StoreView { nodes: vec![row("a", now as u64), row("b", 0)], slots, wishes: Wishes::default() };
    node.handle(at(now), Input::StoreRead { number, asked: at(now), read: Ok(view) })
}

fn offer(node: &mut Protocol, now: i64) -> Option<Term> {
    let message = Message::Offer { slot: 0, epoch: 4 };
    let outputs = node.handle(at(now), Input::Received { from: NodeId::of("a"), message });
    outputs.into_iter().find_map(|output| match output {
        Output::Send { message: Message::Accept { term, .. }, .. } => Some(term),
        _ => None,
    })
}

fn transferred(node: &mut Protocol, now: i64, term: Option<Term>) -> Vec<Output> {
    let message = Message::Transferred { slot: 0, epoch: 5, term };
    node.handle(at(now), Input::Received { from: NodeId::of("a"), message })
}

fn starts(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::StartSlot { .. }))
}

fn renewed(node: &mut Protocol, now: i64) {
    let answer = RenewAnswer::Renewed { counter: now as u64 };
    node.handle(at(now), Input::Renewed { sent: at(now), answer });
}

#[test]
fn what_is_transferred_in_the_term_of_its_acceptance_starts_at_once() {
    let mut b = b();
    let term = offer(&mut b, 20);
    let outputs = transferred(&mut b, 30, term);
    let moved = Event::SlotMoved { slot: 0, from: NodeId::of("a"), node: NodeId::of("b"), epoch: 5 };
    assert!(starts(&outputs) && outputs.contains(&Output::Event(moved)), "{outputs:?}");
    assert!(!starts(&transferred(&mut b, 31, term)), "it comes twice");
}

/// Between the two the lease had lapsed: the slot may have been taken from this node since, and others write in it.
#[test]
fn what_is_transferred_after_a_lapse_is_claimed_first() {
    let mut b = b();
    let term = offer(&mut b, 20);
    renewed(&mut b, 5_000);
    assert!(!starts(&transferred(&mut b, 5_010, term)));
    assert!(!starts(&transferred(&mut b, 5_010, None)));
    let outputs = read(&mut b, 2, 5_020, slots(&[("b", 5), ("a", 4)]));
    assert!(outputs.contains(&Output::Claim { slots: vec![(0, 5)] }), "{outputs:?}");
    let answers = vec![(0, 5, ClaimAnswer::Claimed { epoch: 6 })];
    assert!(starts(&b.handle(at(5_030), Input::ClaimAnswered { answers })));
}

/// What was asked may be done yet: at the epoch that the message names the slot would be served beside its next owner, or written
/// by an epoch that is over.
#[test]
fn no_message_starts_a_slot_that_a_call_of_unknown_outcome_left_in_doubt() {
    let mut claims = b();
    let term = offer(&mut claims, 20);
    claims.handle(at(700), Input::Tick { makes_progress: true });
    let outputs = read(&mut claims, 2, 710, slots(&[("b", 5), ("a", 4)]));
    assert!(outputs.contains(&Output::Claim { slots: vec![(0, 5)] }), "{outputs:?}");
    claims.handle(at(800), Input::ClaimAnswered { answers: vec![(0, 5, ClaimAnswer::Unknown)] });
    assert!(!starts(&transferred(&mut claims, 810, term)), "the message was late");

    let mut gives = b();
    let (a, term) = (NodeId::of("a"), offer(&mut gives, 20));
    assert!(starts(&transferred(&mut gives, 30, term)));
    gives.handle(at(40), Input::Wished { change: WishChange::Place(0, Place::Moved(a.clone())) });
    let message = Message::Accept { slot: 0, epoch: 5, term: 1 };
    gives.handle(at(50), Input::Received { from: a.clone(), message });
    let outputs = gives.handle(at(60), Input::SlotStopped { slot: 0, epoch: 5 });
    assert!(outputs.contains(&Output::Transfer { slot: 0, epoch: 5, to: a }), "{outputs:?}");
    gives.handle(at(70), Input::TransferAnswered { slot: 0, epoch: 5, answer: TransferAnswer::Unknown });
    assert!(!starts(&transferred(&mut gives, 80, term)), "it came twice");
}

/// The claim was asked for in one term, and is answered in another.
#[test]
fn what_was_claimed_before_a_lapse_is_claimed_once_more() {
    let mut b = b();
    let free = vec![SlotView::default(), SlotView { owner: Some(NodeId::of("a")), epoch: 4 }];
    b.handle(at(11), Input::Tick { makes_progress: true });
    b.handle(at(700), Input::Tick { makes_progress: true });
    let outputs = read(&mut b, 2, 710, free);
    assert!(outputs.contains(&Output::Claim { slots: vec![(0, 0)] }), "{outputs:?}");
    renewed(&mut b, 5_000);
    let answers = vec![(0, 0, ClaimAnswer::Claimed { epoch: 1 })];
    let outputs = b.handle(at(5_001), Input::ClaimAnswered { answers });
    assert!(!starts(&outputs) && outputs.contains(&Output::Claim { slots: vec![(0, 1)] }), "{outputs:?}");
}

#[test]
fn a_node_that_makes_no_progress_does_not_renew() {
    let mut b = b();
    renewed(&mut b, 20);
    let renews = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Renew { .. }));
    assert!(!renews(&b.handle(at(2_000), Input::Tick { makes_progress: false })));
    assert!(renews(&b.handle(at(2_050), Input::Tick { makes_progress: true })));
}

#[test]
fn a_store_with_other_slots_and_a_list_without_the_node_end_it() {
    let end = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::End { .. }));
    let mut other = b();
    other.handle(at(700), Input::Tick { makes_progress: true });
    assert!(end(&read(&mut other, 2, 710, slots(&[("a", 1)]))));
    let mut gone = b();
    assert!(end(&gone.handle(at(30), Input::Renewed { sent: at(30), answer: RenewAnswer::NotMember })));
    assert!(gone.handle(at(40), Input::Ready).is_empty(), "nothing comes out any more");
}
