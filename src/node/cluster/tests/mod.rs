//! Nodes that share a store: what is asked of any of them is done by the one that has the slot, wherever slots go meanwhile.

mod joining;
mod operators;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{Asked, NotCommanded};
use crate::actors::runtime::client::answerer;
use crate::actors::values::UserId;
use crate::cluster::protocol::commands::{Command, Refused};
use crate::persistence::membership::Store;
use crate::persistence::memory::Memory;
use world::{Node, SLOTS, Wires, start};

fn place() -> (Arc<dyn Store>, Arc<Wires>) {
    (Arc::new(Memory::new(SLOTS)), Arc::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_serves_all_and_two_serve_half_each_and_answer_for_each_other() {
    let (store, wires) = place();
    let a = start("a", &store, &wires).await;
    a.has(16).await;
    for user in 0..32 {
        assert_eq!(a.register(user).await, Ok(2), "user {user}");
    }
    let b = start("b", &store, &wires).await;
    tokio::join!(a.has(8), b.has(8));
    for user in 0..32 {
        let (node, other) = if user % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(node.rename(user, "renamed").await, Ok(3));
        assert_eq!(other.name_of(user).await.as_deref(), Some("renamed"));
        assert_eq!(other.rename(user, "renamed").await, Ok(3), "a repeat gets the same answer at the other node");
        assert_eq!(node.register(user + 100).await, Ok(2), "two entities, wherever they are");
    }
    a.stop().await;
    b.has(16).await;
    for user in 0..32 {
        assert_eq!(b.name_of(user).await.as_deref(), Some("renamed"));
    }
    b.stop().await;
}

/// Asks for changes of its own users until it is told to stop, and says how often each was changed.
async fn busy(node: &Node, users: std::ops::Range<u128>, until: &AtomicBool) -> u64 {
    let mut round = 0;
    while !until.load(Ordering::Acquire) {
        round += 1;
        for user in users.clone() {
            assert_eq!(node.rename(user, &format!("round {round}")).await, Ok(2 + round), "user {user}");
            assert_eq!(node.name_of(user).await, Some(format!("round {round}")));
        }
    }
    round
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_notices_when_nodes_come_and_go() {
    let (store, wires) = place();
    let a = start("a", &store, &wires).await;
    a.has(16).await;
    for user in 0..24 {
        a.register(user).await.expect("a user");
    }
    let is_over = AtomicBool::new(false);
    let moves = async {
        let b = start("b", &store, &wires).await;
        tokio::join!(a.has(8), b.has(8));
        let c = start("c", &store, &wires).await;
        c.has_about(5).await;
        b.stop().await;
        tokio::join!(a.has(8), c.has(8));
        c.stop().await;
        a.has(16).await;
        is_over.store(true, Ordering::Release);
    };
    let ((), first, second) = tokio::join!(moves, busy(&a, 0..12, &is_over), busy(&a, 12..24, &is_over));
    assert!(first > 0 && second > 0);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_cannot_reach_each_other_ask_by_way_of_a_third() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    let c = start("c", &store, &wires).await;
    c.has_about(5).await;
    for user in 0..16 {
        a.register(user).await.expect("a user");
    }
    wires.cut(&a.membership.node, &b.membership.node);
    for user in 0..16 {
        assert_eq!(a.rename(user, "by a").await, Ok(3));
        assert_eq!(b.name_of(user).await.as_deref(), Some("by a"));
        let (client, id) = (&a.runtime.client, UserId(user).to_string());
        let looking = client.inspect("user", &id, Instant::now() + Duration::from_secs(30));
        let (seen, answerer) = answerer::noting(looking).await;
        let owner = seen.expect("it is answered").expect("a user").node;
        let way = [&a, &c, &b].iter().position(|node| node.membership.node.as_str() == owner).expect("one of them");
        assert_eq!(usize::from(client.hops_of(&answerer.expect("an entity has answered"))), way, "user {user}");
    }
    for node in [a, b, c] {
        node.stop().await;
    }
}

/// A new connection to a peer has replaced another, and the end of that one is told last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_up_is_used_also_where_news_of_it_have_changed_places() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    a.sees_link(&b.membership.node, true).await;
    wires.tell_late(&a.membership.node, &b.membership.node);
    a.sees_link(&b.membership.node, true).await;
    for user in 0..16 {
        assert_eq!(a.register(user).await, Ok(2), "user {user}");
    }
    wires.cut(&a.membership.node, &b.membership.node);
    a.sees_link(&b.membership.node, false).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_reaches_nobody_knows_that_it_is_cut_off_and_the_others_go_on() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    let c = start("c", &store, &wires).await;
    tokio::join!(a.has_about(5), b.has_about(5), c.has_about(5));
    for peer in [&a, &b] {
        wires.cut(&c.membership.node, &peer.membership.node);
    }
    c.is_cut_off(true).await;
    assert!(!a.membership.is_cut_off() && !b.membership.is_cut_off());
    tokio::join!(a.has(8), b.has(8), c.has(0));
    // Nobody is left to be cut off from.
    a.stop().await;
    b.stop().await;
    c.is_cut_off(false).await;
    c.has(16).await;
    c.stop().await;
}

/// One that starts behind a closed port is not linked to from the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_never_linked_to_is_cut_off_too() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    wires.keep_out("c");
    let c = start("c", &store, &wires).await;
    c.is_cut_off(true).await;
    tokio::join!(a.has(8), b.has(8));
    for node in [c, a, b] {
        node.stop().await;
    }
}

fn asked() -> Asked {
    Asked { by: "an operator".into(), reason: "a test".into(), is_dry: false }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_drain_a_node_move_a_slot_and_are_refused_what_would_harm() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    let dry = Asked { is_dry: true, ..asked() };
    let drain = || Command::Drain { node: "b".into() };
    let planned = a.membership.command(drain(), dry).await.expect("it may be drained");
    assert_eq!(planned.moves.len(), 8);
    assert!(store.wishes().await.expect("wishes").is_empty(), "a dry run writes nothing");
    a.membership.command(drain(), asked()).await.expect("it is drained");
    tokio::join!(a.has(16), b.has(0));
    assert!(a.membership.command(drain(), asked()).await.expect("it is so already").change.is_none());
    let last = a.membership.command(Command::Cordon { node: "a".into() }, asked()).await;
    assert!(matches!(last, Err(NotCommanded::Refused(Refused::LastNode))), "{last:?}");
    b.membership.command(Command::Uncordon { node: "b".into() }, asked()).await.expect("it may serve again");
    tokio::join!(a.has(8), b.has(8));
    let wishes = store.wishes().await.expect("wishes");
    assert!(wishes.is_empty(), "{wishes:?}");
    let pin = |to: &str| Command::Pin { slot: 3, to: Some(to.into()) };
    for (to, other, node) in [("a", "b", &a), ("b", "a", &b)] {
        a.membership.command(pin(to), asked()).await.expect("it may be pinned");
        node.owns(3).await;
        let refused = a.membership.command(Command::Move { slot: 99, to: other.into() }, asked()).await;
        assert!(matches!(refused, Err(NotCommanded::Refused(Refused::SlotNotFound))), "{refused:?}");
    }
    a.stop().await;
    b.stop().await;
}
