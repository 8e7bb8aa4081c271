//! What operators see of several nodes, and what they wish of them, as the admin routes have it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::place;
use super::world::{Node, SLOTS, start};
use crate::actors::entity::Kind;
use crate::actors::runtime::client::{AskError, Operated, Operation, answerer};
use crate::actors::runtime::verifying::Compared;
use crate::actors::user::types::User;
use crate::actors::values::UserId;
use crate::cluster::slot_of;
use crate::config::Config;
use crate::http::answer::codes::Code;
use crate::http::operations::cluster::shapes::{
    ClusterEvent, ClusterEventType, ClusterJobState, ClusterNodeState, ClusterSlot, ClusterSlotChangeWhy,
    ClusterSlotState,
};
use crate::http::operations::cluster::{Action, Asked, ClusterView, SlotsAsked};
use crate::metrics::Metrics;
use crate::node::view::{ManyNodes, Own, Rates};

fn view(node: &Node) -> Arc<ManyNodes> {
    let metrics = Arc::new(Metrics::new());
    let reads = Config::default().cluster.reads();
    let own = Own::new("memory", reads, &node.runtime, metrics, Arc::new(Rates::default()));
    ManyNodes::new(node.membership.clone(), own)
}

/// All slots, as pages of three show them.
async fn slots(view: &ManyNodes) -> Vec<ClusterSlot> {
    slots_of(view, None).await
}

async fn slots_of(view: &ManyNodes, owner: Option<&str>) -> Vec<ClusterSlot> {
    let (mut all, mut after): (Vec<ClusterSlot>, _) = (Vec::new(), None);
    loop {
        let asked = SlotsAsked { after, limit: 3, owner: owner.map(Into::into), state: None, with_total: false };
        let page = view.slots(asked).await.expect("they are seen");
        assert!(page.slots.len() == 3 || !page.has_more);
        all.extend(page.slots);
        after = all.last().map(|slot| slot.slot);
        if !page.has_more {
            return all;
        }
    }
}

fn asked(is_dry: bool) -> Asked {
    Asked { by: "an operator".into(), reason: "a test".into(), is_dry }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_node_knows_is_asked_of_it_and_is_null_once_it_cannot_be_reached() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    let (at_a, at_b) = (view(&a), view(&b));
    for (view, other) in [(&at_a, "b"), (&at_b, "a")] {
        let node = view.node(other).await.expect("it is seen");
        assert!(!node.is_me && node.residents.is_some() && node.links.is_some() && node.lease.margin_ms.is_some());
        let slots = slots(view).await;
        assert!(slots.iter().all(|slot| slot.durable_seq.is_some() && slot.restarts == Some(0)), "{slots:?}");
    }
    wires.cut(&a.membership.node, &b.membership.node);
    let began = Instant::now();
    while at_a.node("b").await.expect("it is in the list").residents.is_some() {
        assert!(began.elapsed() < Duration::from_secs(30), "an old answer is shown for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let slots = slots(&at_a).await;
    let is_mine = |slot: &&ClusterSlot| slot.owner.as_deref() == Some(a.membership.node.as_str());
    assert!(slots.iter().filter(is_mine).all(|slot| slot.queue_depth.is_some()), "its own: {slots:?}");
    let others = slots.iter().filter(|slot| !is_mine(slot));
    assert!(others.clone().count() > 0 && others.clone().all(|slot| slot.queue_depth.is_none()), "{slots:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_a_job_that_every_node_can_tell_of() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    let (at_a, at_b) = (view(&a), view(&b));
    let cluster = at_a.cluster().await.expect("it is seen");
    let states: Vec<_> = cluster.nodes.iter().map(|node| (node.state, node.slots, node.is_me)).collect();
    assert_eq!(states, [(ClusterNodeState::Serving, 8, true), (ClusterNodeState::Serving, 8, false)]);
    assert!(cluster.balanced && cluster.out_of_plan.is_empty() && cluster.store.healthy);
    assert!(cluster.nodes.iter().all(|node| node.queue_depth.is_some()), "the other is asked");

    let drain = || Action::Drain { node: "b".into() };
    let planned = at_a.act(drain(), asked(true)).await.expect("it may be drained");
    assert_eq!((planned.changed, planned.moves.len(), planned.job.is_none()), (false, 8, true));
    let begun = at_a.act(drain(), asked(false)).await.expect("it is drained");
    let job = begun.job.expect("a drain is a job");
    assert_eq!((begun.changed, job.total), (true, Some(8)));
    tokio::join!(a.has(16), b.has(0));
    for (view, total) in [(&at_a, Some(8)), (&at_b, Some(8))] {
        let told = view.job(&job.id).await.expect("every node knows it");
        assert_eq!((told.state, told.remaining, told.total, told.done), (ClusterJobState::Done, 0, total, total));
    }
    let again = at_b.act(drain(), asked(false)).await.expect("it is so already");
    assert!(!again.changed && again.job.is_some_and(|job| job.state == ClusterJobState::Done));
    assert_eq!(at_b.node("b").await.expect("it lives").state, ClusterNodeState::Draining);
    let last = at_b.act(Action::Drain { node: "a".into() }, asked(false)).await.expect_err("it is the last");
    assert_eq!(last.code(), Code::LastNode);

    at_b.act(Action::Uncordon { node: "b".into() }, asked(false)).await.expect("it serves again");
    assert_eq!(at_b.job(&job.id).await.expect("it is known").state, ClusterJobState::Cancelled);
    tokio::join!(a.has(8), b.has(8));
    assert_eq!(at_a.job("drain~nobody").await.expect_err("there is no such node").code(), Code::NotFound);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_s_history_says_who_had_it_and_for_how_long_it_paused() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    let at_a = view(&a);
    let me = a.membership.node.to_string();
    let slot = slots(&at_a).await.into_iter().find(|slot| slot.owner.as_deref() == Some(&me));
    let slot = slot.expect("a has slots").slot;
    let moved = Action::Pin { slot: slot.into(), to: Some("b".into()) };
    assert!(at_a.act(moved.clone(), asked(false)).await.expect("it may be pinned").changed);
    b.owns(slot).await;
    a.sees_owner(slot, &b.membership.node).await;
    assert!(!at_a.act(moved, asked(false)).await.expect("it is so already").changed);
    let shown = at_a.slot(slot.into()).await.expect("a slot");
    assert_eq!((shown.pinned_to.as_deref(), shown.state), (Some("b"), ClusterSlotState::Active));
    assert!(shown.queue_depth.is_none() && shown.since.is_some() && shown.last_pause_ms.is_some(), "{shown:?}");
    let newest = shown.history.expect("a history").into_iter().next().expect("it was moved");
    assert_eq!((newest.why, newest.owner), (ClusterSlotChangeWhy::Moved, Some(b.membership.node.to_string())));
    assert!(newest.pause_ms.is_some(), "a gave it away");
    let types = |events: &[ClusterEvent]| events.iter().map(|event| (event.r#type, event.slot)).collect::<Vec<_>>();
    let told = at_a.events_after(0, usize::MAX);
    for kind in [ClusterEventType::Pinned, ClusterEventType::SlotMoved] {
        assert!(types(&told).contains(&(kind, Some(slot))), "{kind:?}: {told:?}");
    }
    let last = told.last().expect("there are some").number;
    assert_eq!(types(&at_a.events_after(last - 1, 1)), types(&told[told.len() - 1..]), "behind a number");
    assert_ne!(at_a.incarnation(), view(&b).incarnation(), "numbers are each node's own");
    let (unpinned, ()) = tokio::join!(
        at_a.act(Action::Unpin { slot: slot.into() }, asked(false)),
        at_a.news_after(at_a.events_after(0, usize::MAX).last().map_or(0, |event| event.number)),
    );
    assert!(unpinned.expect("it may go").changed);
    let beyond = at_a.slot(u64::from(SLOTS)).await.expect_err("there are fewer");
    assert_eq!(beyond.code(), Code::SlotNotFound);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_acts_on_entities_of_every_node_from_any_and_is_told_which_it_was() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    let deadline = || Instant::now() + Duration::from_secs(30);
    let mut answered = BTreeSet::new();
    for number in 0..12 {
        a.register(number).await.expect("a user");
        let (client, id) = (&a.runtime.client, UserId(number).to_string());
        let operate = async |operation| {
            let came = client.operate("user", &id, operation, deadline()).await.expect("it is answered");
            came.expect("somebody has touched it")
        };
        assert_eq!(operate(Operation::Quarantine).await, Operated::Changed);
        assert_eq!(operate(Operation::Quarantine).await, Operated::Already);
        assert_eq!(a.rename(number, "renamed").await, Err(AskError::Quarantined), "wherever it is");
        assert_eq!(b.rename(number, "renamed").await, Err(AskError::Quarantined), "whoever asks");
        assert_eq!(operate(Operation::Release).await, Operated::Changed);
        assert_eq!(a.rename(number, "renamed").await, Ok(3));
        assert_eq!(operate(Operation::Passivate).await, Operated::Changed);
        let (verified, answerer) = answerer::noting(client.verify("user", &id, deadline())).await;
        let verified = verified.expect("it is verified").expect("somebody has touched it");
        assert!(verified.verification.agrees && !verified.was_resident, "{verified:?}");
        assert_eq!(verified.verification.snapshot, Compared::Agrees { version: 3 });
        let answerer = answerer.expect("an entity has answered");
        let is_b = verified.node == b.membership.node.to_string();
        assert_eq!((answerer.is_elsewhere, client.node_of(&answerer)), (is_b, verified.node));
        assert_eq!((answerer.slot, answerer.epoch), (verified.slot, verified.epoch));
        let seen = client.inspect("user", &id, deadline()).await.expect("it is answered").expect("a user");
        let told = (seen.restarts.is_none(), seen.queue_depth.is_none());
        assert_eq!(told, (is_b, is_b), "of another node's slot this one knows neither: {seen:?}");
        answered.insert(is_b);
    }
    assert_eq!(answered.len(), 2, "entities of both nodes");
    let nobody = a.runtime.client.verify("user", &UserId(99).to_string(), deadline()).await;
    assert!(nobody.expect("it is answered").is_none());
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_what_slots_have_in_memory_its_own_and_those_of_others() {
    let (store, wires) = place();
    let (a, b) = (start("a", &store, &wires).await, start("b", &store, &wires).await);
    tokio::join!(a.has(8), b.has(8));
    for number in 0..12 {
        a.register(number).await.expect("a user");
    }
    let (at_a, at_b, me) = (view(&a), view(&b), a.membership.node.to_string());
    let until = Instant::now() + Duration::from_secs(30);
    let slots = slots(&at_a).await;
    let (mine, others): (Vec<_>, Vec<_>) = slots.into_iter().partition(|slot| slot.owner.as_ref() == Some(&me));
    assert!(mine.iter().all(|slot| slot.decided_seq >= slot.durable_seq && slot.durable_seq.is_some()), "{mine:?}");
    assert!(others.len() == 8 && others.iter().all(|slot| slot.decided_seq >= slot.durable_seq), "{others:?}");
    let numbers = |slots: &[ClusterSlot]| slots.iter().map(|slot| slot.slot).collect::<Vec<_>>();
    assert_eq!(numbers(&slots_of(&at_a, Some(&me)).await), numbers(&mine), "a list of one node's");
    let told = |slot: &ClusterSlot| (slot.residents, slot.resident_bytes, slot.decided_seq);
    let busy = others.iter().find(|slot| slot.residents > Some(0)).expect("a user whose slot is b's").slot;
    while told(&at_a.slot(busy.into()).await.expect("a slot")) != told(&at_b.slot(busy.into()).await.expect("a slot")) {
        assert!(Instant::now() < until, "b does not say the same of its slot to a");
        tokio::time::sleep(Duration::from_millis(20)).await; // nobody tells when b has come to rest
    }
    let user = |number: u128| UserId(number).to_string();
    let slot_of_user = |number| slot_of(User::NUMBER, &user(number), SLOTS);
    let (number, before) = (0..12)
        .find_map(|number| Some((number, mine.iter().find(|slot| slot.slot == slot_of_user(number))?)))
        .expect("a user whose slot is a's");
    assert!(before.residents >= Some(1) && before.resident_bytes > Some(0) && before.decided_seq > Some(0));
    let deadline = Instant::now() + Duration::from_secs(30);
    let left = a.runtime.client.operate("user", &user(number), Operation::Passivate, deadline).await;
    assert_eq!(left.expect("it is answered"), Some(Operated::Changed));
    let after = at_a.slot(before.slot.into()).await.expect("a slot");
    assert_eq!(after.residents, before.residents.map(|residents| residents - 1));
    assert!(after.resident_bytes < before.resident_bytes, "{after:?}");
    a.stop().await;
    b.stop().await;
}
