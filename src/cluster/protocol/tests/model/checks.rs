//! What the checker is asked.

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::state::{Point, Trap};
use super::{Action, Cluster, Mutation, Sort};
use crate::cluster::NodeId;

/// All runs with so many faults are taken, of so many ticks. One fault more takes a hundred times as long, one tick more half as
/// long again.
const FAULTS: i64 = 2;
const TICKS_OF_ALL: i64 = 7;
/// Long enough that each mutation below shows which two faults are enough for.
const TICKS: i64 = 8;

fn setting(name: &str, usual: i64) -> i64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// The run as it can be read: what was chosen, and what the nodes did.
fn told(cluster: &Cluster, begin: usize, actions: &[Action]) -> String {
    let cluster = Cluster { is_told: true, ..cluster.clone() };
    let mut state = cluster.begins[begin].clone();
    for action in actions {
        state = cluster.next_state(&state, action.clone()).expect("the run that was found");
    }
    state.said.extend(state.wrong.map(|(_, why)| format!("! {why}")));
    state.said.join("\n")
}

/// What is found: the property that does not hold, with the run that shows it.
fn counterexample(cluster: &Cluster, checker: &impl Checker<Cluster>) -> Option<(&'static str, String)> {
    let mut rules = cluster.properties().into_iter().filter(|property| property.expectation == Expectation::Always);
    let (name, path) = rules.find_map(|property| Some((property.name, checker.discovery(property.name)?)))?;
    let path = path.into_vec();
    let begin = cluster.begins.iter().position(|begin| *begin == path[0].0).expect("a run begins at a beginning");
    let actions: Vec<Action> = path.into_iter().filter_map(|(_, action)| action).collect();
    Some((name, told(cluster, begin, &actions)))
}

#[test]
fn no_run_of_three_nodes_breaks_a_rule() {
    let (faults, ticks) = (setting("SOUK_MODEL_FAULTS", FAULTS), setting("SOUK_MODEL_TICKS", TICKS_OF_ALL));
    let cluster = Cluster::new(faults as u8, ticks, None);
    let began = Instant::now();
    let checker = cluster.clone().checker().threads(2).spawn_dfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    println!("{faults} faults, {ticks} ticks: {states} states, {steps} steps, {:?}", began.elapsed());
    if let Some((name, run)) = counterexample(&cluster, &checker) {
        panic!("not so: {name}\n{run}");
    }
    for property in cluster.properties().iter().filter(|property| property.expectation == Expectation::Sometimes) {
        assert!(checker.discovery(property.name).is_some(), "never: {}", property.name);
    }
}

fn anything(_: &Action) -> bool {
    true
}

fn holds(action: &Action, points: &[Point]) -> bool {
    matches!(action, Action::Hold(Trap { at, is_copy: false, .. }) if points.contains(at))
}

fn renewals(action: &Action) -> bool {
    holds(action, &[Point::RenewAsked, Point::RenewAnswered])
}

fn renewals_and_claims(action: &Action) -> bool {
    renewals(action) || holds(action, &[Point::ClaimAsked])
}

fn renewals_and_reads(action: &Action) -> bool {
    renewals(action) || holds(action, &[Point::BetweenTheTables])
}

/// What has to come together for a slot to be started in another term than it was accepted in.
fn a_late_message_to_a_paused_node(action: &Action) -> bool {
    let is_receiver = |node: &NodeId| node.as_str() == "b";
    match action {
        Action::Pause(node) => is_receiver(node),
        Action::Hold(trap) if is_receiver(&trap.node) => trap.at == Point::ReadAnswered,
        Action::Hold(trap) => trap.at == Point::Transferred && !trap.is_copy,
        Action::Restart(_) | Action::Write(..) | Action::GoOn(_) | Action::Release(_) | Action::Tick => false,
    }
}

/// Each with how much has to go wrong for it to show, in how many ticks, and of what sort: so that it is found quickly.
#[test]
fn what_would_break_it_is_found() {
    use Mutation::*;
    let all: [(Mutation, u8, i64, Sort); 13] = [
        (NoFencing, 1, TICKS, anything),
        (WritesAreNotFenced, 1, TICKS, anything),
        (TransfersAtAnyEpoch, 1, TICKS, anything),
        (ServesAfterTheLease, 1, TICKS, anything),
        (NoSuspension, 1, TICKS, anything),
        (LeaseFromTheAnswer, 2, TICKS, renewals),
        (ClaimsBeforeTheEnd, 1, TICKS, anything),
        (RepliesBeforeCommit, 1, TICKS, anything),
        (HandsOverWithoutStopping, 0, TICKS, anything),
        (IgnoresTheTerm, 3, 10, a_late_message_to_a_paused_node),
        (UnknownIsNotDone, 1, TICKS, anything),
        (UnknownIsDone, 2, TICKS, renewals_and_claims),
        (ReadsTheNodesFirst, 2, TICKS, renewals_and_reads),
    ];
    let mut missed = Vec::new();
    for (mutation, faults, ticks, may) in all {
        let cluster = Cluster { may, ..Cluster::new(faults, ticks, Some(mutation)) };
        let began = Instant::now();
        let finish = HasDiscoveries::AnyFailures;
        let checker = cluster.clone().checker().threads(2).finish_when(finish).spawn_bfs().join();
        let (states, took) = (checker.unique_state_count(), began.elapsed());
        match counterexample(&cluster, &checker) {
            Some((name, run)) => println!("{mutation:?}, {states} states, {took:?}: not so: {name}\n{run}\n"),
            None => missed.push((mutation, states)),
        }
    }
    assert_eq!(missed, []);
}

/// Each node takes itself for the one that is to have every slot: they collide in the store, and nothing worse.
#[test]
fn plans_that_disagree_break_no_rule() {
    let cluster = Cluster::new(1, TICKS, Some(Mutation::PlansDisagree));
    let checker = cluster.clone().checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    if let Some((name, run)) = counterexample(&cluster, &checker) {
        panic!("not so: {name}\n{run}");
    }
}
