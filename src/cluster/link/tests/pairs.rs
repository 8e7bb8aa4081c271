//! Which connection of a pair counts, tried in every order in which the messages of both handshakes can come.

use std::collections::BTreeSet;

use super::super::hello::Refusal;
use super::super::pairing::{Pairs, Standing};
use crate::cluster::NodeId;

fn a() -> NodeId {
    NodeId::of("a")
}
fn b() -> NodeId {
    NodeId::of("b")
}

/// One connection in the making, from `dialer` to the other. Each step is what one end does when a message comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Making {
    dialer_is_a: bool,
    number_at_dialer: u64,
    number_at_acceptor: u64,
    previous: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nobody has answered yet.
    Open,
    /// The dialer has said who it is.
    Introduced,
    /// The acceptor has agreed.
    Agreed,
    Made,
    Gone,
}

fn pairs() -> [Pairs; 2] {
    [Pairs::new(a()), Pairs::new(b())]
}

/// Does the next step of one connection. Connections that an end has ended in favour of another are in `ended`.
fn step(pairs: &mut [Pairs; 2], making: &mut Making, ended: &mut BTreeSet<u64>) {
    let (dialer, acceptor) = if making.dialer_is_a { (0, 1) } else { (1, 0) };
    let ids = [a(), b()];
    let (at_dialer, at_acceptor) = (making.number_at_dialer, making.number_at_acceptor);
    if ended.contains(&at_dialer) || ended.contains(&at_acceptor) {
        // The other end sees that the connection is closed.
        pairs[dialer].ended(&ids[acceptor], at_dialer);
        pairs[acceptor].ended(&ids[dialer], at_acceptor);
        if matches!(making.stage, Stage::Open | Stage::Introduced | Stage::Agreed) {
            pairs[dialer].end_dial(&ids[acceptor]);
        }
        making.stage = Stage::Gone;
        return;
    }
    making.stage = match making.stage {
        Stage::Open => match pairs[dialer].dial_answered(&ids[acceptor]) {
            Ok(previous) => {
                making.previous = previous;
                Stage::Introduced
            }
            Err(_) => {
                pairs[dialer].end_dial(&ids[acceptor]);
                Stage::Gone
            }
        },
        Stage::Introduced => match pairs[acceptor].accept(&ids[dialer], at_acceptor, at_dialer, making.previous) {
            Ok(replaced) => {
                if let Some(Standing { number, .. }) = replaced {
                    pairs[acceptor].ended(&ids[dialer], number);
                    ended.insert(number);
                }
                Stage::Agreed
            }
            Err(_) => {
                pairs[dialer].end_dial(&ids[acceptor]);
                Stage::Gone
            }
        },
        Stage::Agreed => match pairs[dialer].dialed(&ids[acceptor], at_dialer, at_acceptor) {
            Ok(()) => {
                pairs[dialer].up(&ids[acceptor], at_dialer);
                pairs[acceptor].up(&ids[dialer], at_acceptor);
                Stage::Made
            }
            Err(_) => {
                ended.insert(at_dialer);
                pairs[acceptor].ended(&ids[dialer], at_acceptor);
                Stage::Gone
            }
        },
        done @ (Stage::Made | Stage::Gone) => done,
    };
}

/// Every order of the steps of two connections.
fn orders() -> Vec<Vec<usize>> {
    let mut orders = Vec::new();
    for bits in 0_u32..1 << 8 {
        let order: Vec<usize> = (0..8).map(|at| usize::from(bits >> at & 1 == 1)).collect();
        if order.iter().sum::<usize>() == 4 {
            orders.push(order);
        }
    }
    orders
}

fn making(dialer_is_a: bool, number: u64) -> Making {
    Making { dialer_is_a, number_at_dialer: number, number_at_acceptor: number + 1, previous: 0, stage: Stage::Open }
}

#[test]
fn both_connect_at_once_and_one_link_stays() {
    for order in orders() {
        let (mut pairs, mut ended) = (pairs(), BTreeSet::new());
        assert!(pairs[0].begin_dial(&b()) && pairs[1].begin_dial(&a()));
        let mut makings = [making(true, 10), making(false, 20)];
        for which in order.iter().chain(&[0, 1]) {
            step(&mut pairs, &mut makings[*which], &mut ended);
        }
        let stages = makings.map(|making| making.stage);
        let made = stages.iter().filter(|stage| **stage == Stage::Made).count();
        assert_eq!(made, 1, "{order:?}: {stages:?}");
        let (at_a, at_b) = (pairs[0].standing(&b()), pairs[1].standing(&a()));
        let (at_a, at_b) = (at_a.expect("linked"), at_b.expect("linked"));
        assert_eq!((at_a.number, at_a.theirs), (at_b.theirs, at_b.number), "{order:?}: of one connection");
        assert!(at_a.is_up && at_b.is_up);
    }
}

/// A link as both ends know it.
fn linked() -> [Pairs; 2] {
    let (mut pairs, mut ended) = (pairs(), BTreeSet::new());
    assert!(pairs[0].begin_dial(&b()));
    let mut first = making(true, 10);
    for _ in 0..4 {
        step(&mut pairs, &mut first, &mut ended);
    }
    assert_eq!(first.stage, Stage::Made);
    pairs
}

#[test]
fn a_peer_that_has_lost_the_link_replaces_it_at_once() {
    for lost_by_a in [true, false] {
        let mut pairs = linked();
        let (me, peer, number) = if lost_by_a { (0, b(), 10) } else { (1, a(), 11) };
        pairs[me].ended(&peer, number);
        assert!(pairs[me].begin_dial(&peer));
        let (mut again, mut ended) = (making(lost_by_a, 30), BTreeSet::new());
        for _ in 0..4 {
            step(&mut pairs, &mut again, &mut ended);
        }
        assert_eq!(again.stage, Stage::Made, "the other end still believed in the link");
        assert_eq!(ended.len(), 1);
    }
}

/// Its connection was begun before the link was made, and comes late.
#[test]
fn a_late_connection_does_not_replace_a_link() {
    let mut pairs = linked();
    assert_eq!(pairs[0].accept(&b(), 40, 41, 0), Err(Refusal::AlreadyLinked));
    assert_eq!(pairs[1].accept(&a(), 40, 41, 0), Err(Refusal::AlreadyLinked));
    assert!(!pairs[0].begin_dial(&b()), "there is no need");
}

#[test]
fn what_was_accepted_and_is_not_up_gives_way() {
    let [mut at_a, _] = pairs();
    assert_eq!(at_a.accept(&b(), 1, 2, 0), Ok(None));
    let replaced = at_a.accept(&b(), 3, 4, 0).expect("the newer one");
    assert_eq!(replaced.map(|link| link.number), Some(1));
    at_a.ended(&b(), 1);
    assert!(!at_a.up(&b(), 1), "the first does not count any more");
    assert!(at_a.up(&b(), 3));
}

#[test]
fn who_is_connected_to_does_not_wait_for_its_own_connection_that_nobody_answers() {
    let [mut at_a, _] = pairs();
    assert!(at_a.begin_dial(&b()));
    assert_eq!(at_a.accept(&b(), 1, 2, 0), Ok(None), "though a has the lower id");
    assert_eq!(at_a.dial_answered(&b()), Err(Refusal::AlreadyLinked));
}
