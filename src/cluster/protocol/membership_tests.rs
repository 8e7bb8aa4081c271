//! Who stands how, in the list as one node sees it.

use std::time::Duration;

use super::*;

fn id(name: &str) -> NodeId {
    NodeId::of(name)
}

fn at(seconds: i64) -> Moment {
    Moment::from_millis(seconds * 1_000)
}

fn row(name: &str) -> NodeView {
    NodeView {
        id: id(name),
        name: name.into(),
        state: NodeState::Serving,
        reads: (1, 1),
        writes: 1,
        counter: 0,
        weight: 1,
        unreachable: BTreeSet::new(),
    }
}

fn settings() -> Settings {
    Settings::of_lease(Duration::from_secs(5))
}

struct Seen {
    view: View,
    watch: Watch,
}

impl Seen {
    fn new() -> Seen {
        let mut view = View::new(id("a"));
        view.my_state = NodeState::Serving;
        Seen { view, watch: Watch::default() }
    }

    /// A read at this second, in which all counters but those of `still` have moved.
    fn read(&mut self, now: i64, rows: Vec<NodeView>, still: &str) -> Vec<Event> {
        let counter = |row: &NodeView| if still.contains(row.id.as_str()) { 0 } else { now as u64 };
        let others = rows.iter().filter(|row| row.id != id("a"));
        let counters = others.map(|row| (row.id.clone(), Some(counter(row)))).collect();
        self.watch.renewed(at(now));
        self.watch.read(counters, at(now), at(now), &settings());
        let rows = rows.into_iter().map(|row| NodeView { counter: counter(&row), ..row }).collect();
        self.view.read(rows, Wishes::default(), &BTreeSet::new(), &self.watch, at(now))
    }

    fn standing(&self, name: &str, now: i64) -> Standing {
        self.view.standing(&id(name), at(now), &settings())
    }
}

#[test]
fn a_node_settles_is_lost_and_comes_back_to_settle_again() {
    let mut seen = Seen::new();
    let rows = || vec![row("a"), row("b")];
    for now in 0..10 {
        seen.read(now, rows(), "");
    }
    assert_eq!((seen.standing("b", 9), seen.standing("b", 10)), (Standing::Settling, Standing::Serving));
    let events: Vec<Event> = (10..16).flat_map(|now| seen.read(now, rows(), "b")).collect();
    assert_eq!(events, [Event::NodeLost { node: id("b") }]);
    assert!(seen.standing("b", 16) == Standing::Gone && seen.view.is_gone(&id("b")));
    assert_eq!(seen.read(16, rows(), ""), [Event::NodeBack { node: id("b") }]);
    assert_eq!(seen.standing("b", 17), Standing::Settling);
    let left = || vec![row("a"), NodeView { state: NodeState::Left, ..row("b") }];
    assert_eq!(seen.read(17, left(), ""), [Event::NodeLeft { node: id("b") }]);
    assert_eq!(seen.read(18, left(), "b"), []);
}

#[test]
fn one_that_most_others_cannot_reach_is_cut_off_and_where_all_are_nobody_is() {
    let accuse = |name: &str, whom: &str| {
        let unreachable = whom.chars().map(|whom| id(&whom.to_string())).collect();
        NodeView { unreachable, ..row(name) }
    };
    let mut seen = Seen::new();
    for now in 0..6 {
        seen.read(now, vec![accuse("a", "c"), accuse("b", "c"), accuse("c", "ab"), row("d")], "");
    }
    let standings = |seen: &Seen| ["a", "b", "c", "d"].map(|name| seen.standing(name, 20));
    let serving = Standing::Serving;
    assert_eq!(standings(&seen), [serving, serving, Standing::Isolated, serving]);
    for now in 6..12 {
        seen.read(now, vec![accuse("a", "cd"), accuse("b", "cd"), accuse("c", "ab"), accuse("d", "ab")], "");
    }
    assert_eq!(standings(&seen), [serving; 4], "two halves: nobody can say which is cut off");
    for now in 12..18 {
        seen.read(now, vec![accuse("a", "b"), accuse("b", "a")], "");
    }
    assert_eq!([seen.standing("a", 30), seen.standing("b", 30)], [serving; 2]);
}

#[test]
fn a_node_is_cut_off_when_the_others_say_so_for_a_while_and_nothing_leads_to_them() {
    let accuse = |name: &str, whom: &str| {
        let unreachable = whom.chars().map(|whom| id(&whom.to_string())).collect();
        NodeView { unreachable, ..row(name) }
    };
    let is_cut_off = |seen: &Seen, now| seen.view.is_cut_off(at(now), &settings());
    let cut = || vec![accuse("a", "bc"), accuse("b", "a"), accuse("c", "a")];
    let mut seen = Seen::new();
    seen.view.link(id("b"), true);
    seen.read(0, vec![row("a"), row("b"), row("c")], "");
    assert!(!is_cut_off(&seen, 60), "nobody accuses anybody");
    (1..6).for_each(|now| drop(seen.read(now, cut(), "")));
    assert!(!is_cut_off(&seen, 60), "a link leads to b");
    seen.view.link(id("b"), false);
    assert!(!is_cut_off(&seen, 5) && is_cut_off(&seen, 6), "once it has lasted");
    // The switch has died: each goes on with its own slots.
    seen.read(7, vec![accuse("a", "bc"), accuse("b", "ac"), accuse("c", "ab")], "");
    assert!(!is_cut_off(&seen, 60));
    // Two of five are on their own: the link between them leads nowhere.
    let split = || ["cde", "cde", "ab", "ab", "ab"].iter().zip(["a", "b", "c", "d", "e"]);
    (8..14).for_each(|now| drop(seen.read(now, split().map(|(whom, name)| accuse(name, whom)).collect(), "")));
    seen.view.link(id("b"), true);
    assert!(is_cut_off(&seen, 14));
    // Of two, nobody can say which.
    (15..30).for_each(|now| drop(seen.read(now, vec![accuse("a", "b"), accuse("b", "a")], "")));
    seen.view.link(id("b"), false);
    assert!(!is_cut_off(&seen, 60));
    // Who is lost accuses nobody.
    (31..45).for_each(|now| drop(seen.read(now, cut(), "bc")));
    assert!(!is_cut_off(&seen, 60), "the last one serves");
}

#[test]
fn a_peer_whose_link_was_never_made_is_noticed_once_it_has_lived_for_a_while() {
    let mut seen = Seen::new();
    (0..5).for_each(|now| drop(seen.read(now, vec![row("a"), row("b")], "")));
    let was_never_linked = |seen: &Seen, now| seen.view.was_never_linked(&id("b"), at(now), &settings());
    assert!(!was_never_linked(&seen, 4) && was_never_linked(&seen, 5));
    seen.view.link(id("b"), false);
    assert!(!was_never_linked(&seen, 5), "it is known to be down");
    assert_eq!(seen.view.unreachable(), [id("b")].into());
}

#[test]
fn two_live_nodes_of_one_name_are_noticed_and_a_node_that_was_started_again_is_not() {
    let called = |name: &str, of: &str| NodeView { name: of.into(), ..row(name) };
    let namesakes = |seen: &Seen| seen.view.namesakes(&settings());
    let mut seen = Seen::new();
    let rows = || vec![row("a"), called("b#1", "b"), called("b#2", "b")];
    (0..10).for_each(|now| drop(seen.read(now, rows(), "")));
    assert!(namesakes(&seen).is_empty(), "the first may have been killed");
    seen.read(10, rows(), "");
    let found = [("b".into(), vec![id("b#1"), id("b#2")])];
    assert_eq!(namesakes(&seen), found.into());
    let third = || [rows(), vec![called("b#3", "b")]].concat();
    (11..15).for_each(|now| drop(seen.read(now, third(), "")));
    assert_eq!(namesakes(&seen)[&Arc::from("b")], [id("b#1"), id("b#2")], "the third may be the first, started again");
    (15..25).for_each(|now| drop(seen.read(now, rows(), "b#1")));
    assert!(namesakes(&seen).is_empty(), "it was killed");
    let command = || NodeView { weight: 0, ..called("a#1", "a") };
    (25..50).for_each(|now| drop(seen.read(now, vec![row("a"), command()], "")));
    assert!(namesakes(&seen).is_empty(), "it serves nothing");
}

/// Whoever cannot read takes nobody for lost; and he has seen nobody go on either.
#[test]
fn a_node_that_was_killed_and_started_again_while_the_store_stalled_is_no_namesake() {
    let called = |name: &str, of: &str| NodeView { name: of.into(), ..row(name) };
    let first = || called("b#1", "b");
    let mut seen = Seen::new();
    (0..20).for_each(|now| drop(seen.read(now, vec![row("a"), first()], "")));
    // The store answers now and then: each time the count of the lease begins anew.
    for now in (21..100).step_by(4) {
        // What the first has written last is read along with the second's row.
        seen.read(now, vec![row("a"), first(), called("b#2", "b")], "b#1");
        assert!(seen.view.is_live(&id("b#1")), "nobody knows better");
        assert_eq!(seen.view.namesakes(&settings()), BTreeMap::new(), "after {now} s");
    }
}

#[test]
fn a_node_knows_what_it_does_before_its_row_says_so() {
    let mut seen = Seen::new();
    let in_state = |name: &str, state| NodeView { state, ..row(name) };
    seen.read(0, vec![in_state("a", NodeState::Joining), in_state("b", NodeState::Joining)], "");
    let state = |seen: &Seen, name: &str| seen.view.member(&id(name)).map(|member| seen.view.state(member));
    assert_eq!((state(&seen, "a"), state(&seen, "b")), (Some(NodeState::Serving), Some(NodeState::Joining)));
    seen.read(1, vec![in_state("a", NodeState::Left), row("b")], "");
    assert_eq!((state(&seen, "a"), state(&seen, "b")), (Some(NodeState::Left), Some(NodeState::Serving)));
}

#[test]
fn a_request_takes_the_straight_way_or_goes_by_a_third_node() {
    let mut seen = Seen::new();
    let cut = NodeView { unreachable: [id("d")].into(), ..row("c") };
    seen.read(0, vec![row("a"), row("b"), cut, row("d")], "");
    assert_eq!(seen.view.way_to(&id("d"), 0), None, "no link is up yet");
    seen.view.link(id("b"), true);
    seen.view.link(id("c"), true);
    seen.view.link(id("d"), false);
    assert_eq!(seen.view.way_to(&id("d"), 1), Some(id("b")), "c cannot reach it either");
    assert_eq!(seen.view.unreachable(), [id("d")].into());
    seen.view.link(id("d"), true);
    assert_eq!(seen.view.way_to(&id("d"), 1), Some(id("d")));
}

#[test]
fn a_link_may_be_up_before_the_list_has_the_peer() {
    let mut seen = Seen::new();
    seen.view.link(id("b"), true);
    seen.read(0, vec![row("a")], "");
    seen.read(1, vec![row("a"), row("b")], "");
    assert!(seen.view.is_up(&id("b")));
    seen.read(2, vec![row("a")], "");
    assert!(!seen.view.is_up(&id("b")), "its row was deleted");
}

#[test]
fn all_write_the_highest_version_that_every_live_node_reads() {
    let reads = |name: &str, newest, writes| NodeView { reads: (1, newest), writes, ..row(name) };
    let mut seen = Seen::new();
    seen.read(0, vec![reads("a", 3, 1), reads("b", 2, 1)], "");
    assert_eq!(seen.view.writes(1), 2);
    seen.read(1, vec![reads("a", 3, 2), reads("b", 3, 2)], "");
    assert_eq!(seen.view.writes(2), 3);
    assert_eq!(seen.view.incompatible((1, 3)), None);
    assert_eq!(seen.view.incompatible((1, 2)), None, "nobody writes 3 yet");
    seen.read(2, vec![reads("a", 3, 3), reads("b", 3, 3), reads("c", 1, 1)], "");
    assert_eq!(seen.view.incompatible((1, 2)), Some(id("b")), "too old to come in");
    assert_eq!(seen.view.incompatible((1, 3)), None, "who is too old ends, and nobody else");
    assert_eq!(seen.view.writes(3), 3);
}

#[test]
fn the_row_of_a_node_that_is_gone_can_go_after_a_while() {
    let mut seen = Seen::new();
    let rows = || vec![row("a"), NodeView { state: NodeState::Left, ..row("b") }];
    seen.read(0, rows(), "");
    seen.read(3_599, rows(), "");
    assert_eq!(seen.view.forgettable(at(3_599), &settings()), []);
    assert_eq!(seen.view.forgettable(at(3_600), &settings()), [id("b")]);
}
