//! The plan by its shape and by its properties, and how long it takes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn id(name: &str) -> NodeId {
    NodeId::of(name)
}

fn node(name: &str, standing: Standing) -> PlanNode {
    PlanNode { id: id(name), weight: 1, version: 1, standing }
}

fn serving(names: &str) -> Vec<PlanNode> {
    names.chars().map(|name| node(&name.to_string(), Standing::Serving)).collect()
}

/// One letter for the owner of each slot, `-` for none.
fn owned(owners: &str) -> Vec<PlanSlot> {
    let owner = |letter: char| (letter != '-').then(|| id(&letter.to_string()));
    owners.chars().map(|letter| PlanSlot { owner: owner(letter), place: None }).collect()
}

/// `3>b` is a move, `3+b` a claim.
fn shown(plan: &Plan) -> String {
    let claims = plan.claims.iter().map(|claim| format!("{}+{}", claim.slot, claim.to));
    let moves = plan.moves.iter().map(|one| format!("{}>{}", one.slot, one.to));
    claims.chain(moves).collect::<Vec<_>>().join(" ")
}

fn carry_out(slots: &mut [PlanSlot], plan: &Plan) {
    for claim in &plan.claims {
        slots[usize::from(claim.slot)].owner = Some(claim.to.clone());
    }
    for one in &plan.moves {
        slots[usize::from(one.slot)].owner = Some(one.to.clone());
    }
}

#[test]
fn free_slots_are_claimed_and_nothing_else_moves() {
    assert_eq!(shown(&plan(&serving("abc"), &owned("------"), 9)), "0+a 1+b 2+c 3+a 4+b 5+c");
    assert_eq!(shown(&plan(&serving("abc"), &owned("aab-cc"), 9)), "3+b");
    assert_eq!(shown(&plan(&serving("abc"), &owned("aabbcc"), 9)), "");
    assert_eq!(shown(&plan(&serving("abc"), &owned("aaabbcc"), 9)), "", "one of them has one more");
}

#[test]
fn a_node_that_comes_gets_its_share_and_one_that_is_gone_is_replaced() {
    assert_eq!(shown(&plan(&serving("abc"), &owned("aaabbb"), 9)), "2>c 5>c");
    let mut nodes = serving("ab");
    nodes.push(node("c", Standing::Gone));
    assert_eq!(shown(&plan(&nodes, &owned("aabbcc"), 9)), "4+a 5+b");
    assert_eq!(plan(&nodes, &owned("aabbcc"), 9).claims[0].why, Why::OwnerGone);
    assert_eq!(shown(&plan(&serving("ab"), &owned("aabbcc"), 9)), "", "nobody knows that a stranger is gone");
}

#[test]
fn a_node_that_has_just_come_claims_and_is_given_nothing_but_what_cannot_stay() {
    let nodes = [node("a", Standing::Serving), node("b", Standing::Settling)];
    let plan_of = |slots: &str| plan(&nodes, &owned(slots), 9);
    assert_eq!(shown(&plan_of("aaaa")), "");
    assert_eq!(plan_of("aaaa").refusals, [Refusal::Settling { node: id("b"), moves: 2 }]);
    assert_eq!(shown(&plan_of("aa--")), "2+b 3+b");
    let nodes = [node("a", Standing::Draining), node("b", Standing::Settling)];
    assert_eq!(shown(&plan(&nodes, &owned("aa"), 9)), "0>b 1>b");
}

#[test]
fn one_that_drains_or_is_cut_off_gives_all_and_one_that_is_cordoned_keeps_all() {
    let nodes = |standing| [node("a", standing), node("b", Standing::Serving), node("c", Standing::Serving)];
    let drain = plan(&nodes(Standing::Draining), &owned("aabbcc"), 9);
    assert_eq!((shown(&drain).as_str(), drain.moves[0].why), ("0>b 1>c", Why::Drain));
    assert_eq!(plan(&nodes(Standing::Isolated), &owned("aabbcc"), 9).moves[0].why, Why::Isolated);
    assert_eq!(shown(&plan(&nodes(Standing::Keeping), &owned("aaaa-bcc"), 9)), "4+b");
    assert_eq!(shown(&plan(&nodes(Standing::Keeping), &owned("bbbbcccc"), 9)), "");
}

#[test]
fn rather_than_by_nobody_a_free_slot_is_served_by_one_that_is_cordoned() {
    let nodes = [node("a", Standing::Keeping), node("b", Standing::Keeping), node("c", Standing::Draining)];
    let plan = plan(&nodes, &owned("aa-bc-"), 9);
    assert_eq!(shown(&plan), "2+b 5+a");
    assert_eq!(plan.refusals, [Refusal::NobodyCanTake { slot: 4 }]);
}

#[test]
fn an_operator_s_place_goes_before_the_plan() {
    let mut slots = owned("aaabbb");
    slots[0].place = Some(id("b"));
    assert_eq!(shown(&plan(&serving("ab"), &slots, 9)), "0>b 5>a");
    slots[0].place = Some(id("c"));
    let plan = plan(&serving("ab"), &slots, 9);
    assert_eq!(plan.refusals, [Refusal::CannotBePlaced { slot: 0, on: id("c") }]);
}

#[test]
fn a_few_moves_at_a_time_and_the_newest_nodes_first() {
    let mut nodes = serving("abc");
    nodes[2].version = 2;
    let plan = plan(&nodes, &owned("aaaaaa------"), 1);
    assert_eq!(shown(&plan), "6+c 7+c 8+c 9+c 10+b 11+b 4>b");
    assert_eq!(plan.refusals, [Refusal::Later { from: id("a"), moves: 1 }]);
    assert_eq!(plan.shares[&id("a")], Share { has: 6, wants: 4 });
}

fn standings() -> impl Strategy<Value = Standing> {
    prop_oneof![
        6 => Just(Standing::Serving),
        1 => Just(Standing::Settling),
        1 => Just(Standing::Keeping),
        1 => Just(Standing::Draining),
        1 => Just(Standing::Isolated),
        1 => Just(Standing::Gone),
    ]
}

prop_compose! {
    fn clusters()(
        nodes in vec((standings(), 0u32..4, 1u16..3), 1..9),
        slots in vec((0usize..12, prop_oneof![9 => Just(99usize), 1 => 0usize..9]), 0..65),
    ) -> (Vec<PlanNode>, Vec<PlanSlot>) {
        let id = |index: usize| NodeId::of(&format!("n{index}"));
        let nodes: Vec<_> = nodes.into_iter().enumerate()
            .map(|(index, (standing, weight, version))| PlanNode { id: id(index), weight, version, standing })
            .collect();
        let slots = slots.into_iter()
            .map(|(owner, place)| PlanSlot { owner: (owner < 10).then(|| id(owner)), place: (place < 9).then(|| id(place)) })
            .collect();
        (nodes, slots)
    }
}

proptest! {
    #[test]
    fn the_order_of_the_nodes_changes_nothing((mut nodes, slots) in clusters(), turn in 0usize..9) {
        let before = plan(&nodes, &slots, 3);
        let by = turn % nodes.len();
        nodes.rotate_left(by);
        nodes.reverse();
        prop_assert_eq!(plan(&nodes, &slots, 3), before);
    }

    #[test]
    fn carried_out_a_few_at_a_time_it_comes_to_rest((nodes, mut slots) in clusters(), moves_max in 1usize..5) {
        let whole = plan(&nodes, &slots, usize::MAX);
        let mut moved = 0;
        loop {
            let next = plan(&nodes, &slots, moves_max);
            if next.claims.is_empty() && next.moves.is_empty() {
                break;
            }
            moved += next.moves.len();
            prop_assert!(moved <= whole.moves.len() + slots.len(), "it goes on for ever");
            carry_out(&mut slots, &next);
        }
        prop_assert!(moved >= whole.moves.len().min(1), "{whole:?}");
    }

    #[test]
    fn what_was_carried_out_is_left_as_it_is((nodes, mut slots) in clusters()) {
        let whole = plan(&nodes, &slots, usize::MAX);
        carry_out(&mut slots, &whole);
        let next = plan(&nodes, &slots, usize::MAX);
        prop_assert_eq!(shown(&next), "");
    }

    #[test]
    fn everybody_gets_its_share_rounded_down_or_up(weights in vec(1u32..5, 1..9), slots in vec(0usize..10, 0..100)) {
        let id = |index: usize| NodeId::of(&format!("n{index}"));
        let nodes: Vec<_> = weights.iter().enumerate()
            .map(|(at, weight)| PlanNode { id: id(at), weight: *weight, version: 1, standing: Standing::Serving })
            .collect();
        let owner = |at: usize| (at < weights.len()).then(|| id(at));
        let mut slots: Vec<_> = slots.iter().map(|at| PlanSlot { owner: owner(*at), place: None }).collect();
        let has = |slots: &[PlanSlot], at: usize| slots.iter().filter(|slot| slot.owner == Some(id(at))).count();
        let before: Vec<usize> = (0..weights.len()).map(|at| has(&slots, at)).collect();
        let free = slots.iter().filter(|slot| slot.owner.is_none()).count();
        let whole = plan(&nodes, &slots, usize::MAX);
        carry_out(&mut slots, &whole);
        let sum: u32 = weights.iter().sum();
        let mut lacked = 0;
        for (at, weight) in weights.iter().enumerate() {
            let exact = slots.len() as f64 * f64::from(*weight) / f64::from(sum);
            let got = has(&slots, at);
            prop_assert!((got as f64 - exact).abs() < 1.0, "{got} of {exact}");
            lacked += got.saturating_sub(before[at]);
        }
        prop_assert_eq!(whole.claims.len(), free);
        prop_assert_eq!(whole.moves.len(), lacked - free, "nothing moves but what somebody lacks");
    }

    #[test]
    fn nothing_new_goes_where_it_must_not((nodes, slots) in clusters()) {
        let whole = plan(&nodes, &slots, usize::MAX);
        let can_none = !nodes.iter().any(|node| matches!(node.standing, Standing::Serving | Standing::Settling) && node.weight > 0);
        for to in whole.claims.iter().map(|claim| &claim.to).chain(whole.moves.iter().map(|one| &one.to)) {
            let node = nodes.iter().find(|node| node.id == *to).expect("a node");
            let may = match node.standing {
                Standing::Serving | Standing::Settling => true,
                Standing::Keeping => can_none,
                Standing::Draining | Standing::Isolated | Standing::Gone => false,
            };
            prop_assert!(may && node.weight > 0, "{node:?}");
        }
        for one in &whole.moves {
            let node = nodes.iter().find(|node| node.id == one.from).expect("a node");
            prop_assert!(node.standing != Standing::Gone && (node.standing != Standing::Keeping || one.why == Why::Placed));
        }
    }
}

/// A node more, or one less, moves no more than that node's share.
#[test]
fn a_join_and_a_loss_move_no_more_than_one_share() {
    let mut nodes: Vec<PlanNode> =
        (0..10).map(|at| PlanNode { id: NodeId::of(&format!("n{at}")), ..node("", Standing::Serving) }).collect();
    let last = nodes.pop().expect("ten");
    let mut slots = vec![PlanSlot::default(); 1_024];
    let first = plan(&nodes, &slots, usize::MAX);
    carry_out(&mut slots, &first);
    nodes.push(last);
    let join = plan(&nodes, &slots, usize::MAX);
    assert_eq!((join.claims.len(), join.moves.len()), (0, 102));
    carry_out(&mut slots, &join);
    nodes[9].standing = Standing::Gone;
    let loss = plan(&nodes, &slots, usize::MAX);
    assert_eq!((loss.claims.len(), loss.moves.len()), (102, 0));
}

/// `cargo test --release --lib -- --ignored how_long_a_plan_takes --nocapture`
#[test]
#[ignore = "a measurement"]
fn how_long_a_plan_takes() {
    let nodes: Vec<PlanNode> = (0..1_000)
        .map(|at| PlanNode { id: NodeId::of(&format!("node-{at}#00")), ..node("", Standing::Serving) })
        .collect();
    let mut slots = vec![PlanSlot::default(); 16_384];
    let mut measure = |what: &str, nodes: &[PlanNode]| {
        let started = std::time::Instant::now();
        let plan = plan(nodes, &slots, usize::MAX);
        println!("{what}: {:?}, {} claims, {} moves", started.elapsed(), plan.claims.len(), plan.moves.len());
        carry_out(&mut slots, &plan);
    };
    measure("all free", &nodes[1..]);
    measure("at rest", &nodes[1..]);
    measure("a join", &nodes);
    let mut less = nodes.clone();
    less[500].standing = Standing::Gone;
    measure("a loss", &less);
}
