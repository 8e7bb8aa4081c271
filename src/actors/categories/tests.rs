use proptest::prelude::*;

use super::*;
use crate::actors::testing::kit::{Given, START, assert_golden};

const SHIRTS: CategoryId = CategoryId(1);
const TEES: CategoryId = CategoryId(2);
const MUGS: CategoryId = CategoryId(3);

fn slug(text: &str) -> Slug {
    text.parse().expect("a slug")
}

fn create(id: CategoryId, title: &str, parent: Option<CategoryId>) -> Command {
    Command::Create { id, title: title.into(), slug: None, parent, position: None }
}

fn nothing(id: CategoryId) -> Command {
    Command::Update { id, if_version: None, title: None, slug: None, parent: None, position: None }
}

fn under(id: CategoryId, parent: Option<CategoryId>) -> Command {
    Command::Update { id, if_version: None, title: None, slug: None, parent: Some(parent), position: None }
}

/// Shirts > tees, and mugs.
fn shop() -> Given<State> {
    Given::new()
        .when(create(SHIRTS, "Shirts", None))
        .when(create(TEES, "Tees", Some(SHIRTS)))
        .when(create(MUGS, "Mugs", None))
        .then(Reply::Created { id: MUGS })
}

#[test]
fn a_category_gets_a_slug_of_its_title_and_the_place_behind_its_siblings() {
    shop()
        .again()
        .then(Reply::Created { id: MUGS })
        .unchanged()
        .when(create(CategoryId(4), "Mugs!", None))
        .events([Event::Created {
            id: CategoryId(4),
            title: "Mugs!".into(),
            slug: slug("mugs-2"),
            parent: None,
            position: 2,
        }])
        .state(|tree| {
            let roots: Vec<_> = tree.children(None).into_iter().map(|(id, _)| id).collect();
            assert_eq!(roots, [SHIRTS, MUGS, CategoryId(4)]);
            assert_eq!(tree.tree()[&None].iter().map(|(id, _)| *id).collect::<Vec<_>>(), roots);
            assert_eq!(tree.by_slug(&slug("mugs-2")).map(|(id, _)| id), Some(CategoryId(4)));
        });
}

#[test]
fn a_slug_that_was_asked_for_is_had_or_refused() {
    let asked = |id, text: &str| Command::Create {
        id,
        title: "Cups".into(),
        slug: Some(slug(text)),
        parent: None,
        position: Some(7),
    };
    shop()
        .when(asked(CategoryId(4), "mugs"))
        .refused(Rejection::SlugTaken { by: MUGS })
        .when(asked(CategoryId(4), "cups"))
        .then(Reply::Created { id: CategoryId(4) });
}

#[test]
fn an_update_changes_what_it_names_and_counts_the_categorys_own_version() {
    let renamed = Command::Update {
        id: MUGS,
        if_version: Some(1),
        title: Some("Cups".into()),
        slug: None,
        parent: None,
        position: None,
    };
    shop()
        .after_ms(5)
        .when(renamed)
        .then(Reply::Updated { id: MUGS })
        .state(|tree| {
            let cups = &tree.categories[&MUGS];
            assert_eq!((cups.title.as_str(), cups.slug.as_str(), cups.version), ("Cups", "mugs", 2));
            assert_eq!((cups.created_at, cups.updated_at), (START, START.plus_ms(5)));
            assert_eq!(tree.categories[&SHIRTS].version, 1);
        })
        .again()
        .refused(Rejection::Stale { current: 2 })
        .when(nothing(MUGS))
        .unchanged()
        .when(nothing(CategoryId(9)))
        .refused(Rejection::NotFound);
}

#[test]
fn a_freed_slug_can_be_had() {
    let rename = |id, text: &str| Command::Update {
        id,
        if_version: None,
        title: None,
        slug: Some(slug(text)),
        parent: None,
        position: None,
    };
    shop()
        .when(rename(MUGS, "tees"))
        .refused(Rejection::SlugTaken { by: TEES })
        .when(rename(TEES, "t-shirts"))
        .when(rename(MUGS, "tees"))
        .then(Reply::Updated { id: MUGS });
}

#[test]
fn a_category_never_hangs_under_itself() {
    shop()
        .when(under(SHIRTS, Some(TEES)))
        .refused(Rejection::Cycle)
        .when(under(SHIRTS, Some(SHIRTS)))
        .refused(Rejection::Cycle)
        .when(under(SHIRTS, Some(CategoryId(9))))
        .refused(Rejection::ParentNotFound)
        .when(under(TEES, None))
        .then(Reply::Updated { id: TEES })
        .when(under(SHIRTS, Some(TEES)))
        .then(Reply::Updated { id: SHIRTS });
}

#[test]
fn a_category_with_children_is_not_deleted() {
    let delete = |id, if_version| Command::Delete { id, if_version };
    shop()
        .when(delete(SHIRTS, None))
        .refused(Rejection::HasChildren { children: 1 })
        .when(delete(TEES, Some(2)))
        .refused(Rejection::Stale { current: 1 })
        .when(delete(TEES, Some(1)))
        .events([Event::Deleted { id: TEES }])
        .again()
        .refused(Rejection::NotFound)
        .when(delete(SHIRTS, None))
        .then(Reply::Deleted { id: SHIRTS });
}

#[test]
fn the_tree_is_bounded_in_depth_also_for_what_moves_with_its_children() {
    let mut given = shop();
    for n in 1..DEPTH_MAX as u128 {
        let parent = if n == 1 { MUGS } else { CategoryId(99 + n) };
        given = given.when(create(CategoryId(100 + n), "deeper", Some(parent)));
    }
    let lowest = CategoryId(99 + DEPTH_MAX as u128);
    let limit = DEPTH_MAX as u32;
    given
        .then(Reply::Created { id: lowest })
        .when(create(CategoryId(999), "too deep", Some(lowest)))
        .refused(Rejection::TooDeep { limit })
        .when(under(MUGS, Some(SHIRTS)))
        .refused(Rejection::TooDeep { limit });
}

proptest! {
    /// Whatever is asked for, the test kit finds slugs unique and the tree without cycles.
    #[test]
    fn the_tree_stays_a_tree(asked in prop::collection::vec((0..4, 0..8_u128, 0..9_u128, 0..3_usize), 0..80)) {
        let mut given = Given::<State>::new();
        for (what, id, parent, name) in asked {
            let id = CategoryId(id);
            let parent = (parent < 8).then_some(CategoryId(parent));
            let text = ["a", "b", "a-2"][name];
            given = given.when(match what {
                0 => create(id, text, parent),
                1 => under(id, parent),
                2 => Command::Update {
                    id, if_version: None, title: Some(text.into()), slug: Some(slug(text)), parent: None, position: None,
                },
                _ => Command::Delete { id, if_version: None },
            });
        }
        prop_assert!(given.state.categories.len() <= 8);
    }
}

#[test]
fn a_slug_leads_to_whose_it_was_last_until_somebody_has_it() {
    let named = |id, text: &str| Command::Update {
        id,
        if_version: None,
        title: None,
        slug: Some(slug(text)),
        parent: None,
        position: None,
    };
    let leads = |tree: &State, text: &str| tree.led_to(&slug(text));
    shop()
        .when(named(SHIRTS, "tops"))
        .when(under(SHIRTS, None))
        .state(|tree| {
            assert_eq!((leads(tree, "shirts"), leads(tree, "tops")), (Some(SHIRTS), Some(SHIRTS)));
            assert_eq!(tree.by_slug(&slug("shirts")), None, "a change is of what is called so now");
        })
        .when(named(MUGS, "shirts"))
        .state(|tree| assert_eq!((leads(tree, "shirts"), leads(tree, "mugs")), (Some(MUGS), Some(MUGS))))
        .when(named(MUGS, "cups"))
        .state(|tree| assert_eq!(leads(tree, "shirts"), Some(MUGS)))
        .when(named(SHIRTS, "shirts"))
        .state(|tree| assert_eq!((leads(tree, "shirts"), leads(tree, "tops")), (Some(SHIRTS), Some(SHIRTS))))
        .when(Command::Delete { id: MUGS, if_version: None })
        .state(|tree| assert_eq!((leads(tree, "mugs"), leads(tree, "cups")), (None, None)));
}

#[test]
fn the_last_former_slugs_of_a_category_are_known() {
    let mut given = shop();
    for n in 0..20 {
        let slug = Some(slug(&format!("name-{n}")));
        given =
            given.when(Command::Update { id: TEES, if_version: None, title: None, slug, parent: None, position: None });
    }
    given.state(|tree| {
        let known: Vec<_> = (0..20).filter(|n| tree.led_to(&slug(&format!("name-{n}"))).is_some()).collect();
        assert_eq!(known, (11..20).collect::<Vec<_>>());
        assert_eq!(tree.former.len(), FORMER_MAX);
    });
}

#[test]
fn stored_bytes_stay_what_they_are() {
    let (id, title, parent) = (TEES, String::from("Tees"), Some(SHIRTS));
    assert_golden(&[
        (
            Event::Created { id, title: title.clone(), slug: slug("tees"), parent, position: -1 },
            "1.1 0000000000000000000000000000000204546565730474656573010000000000000000000000000000000101",
        ),
        (
            Event::Updated { id, title, slug: slug("tees"), parent: None, position: 2 },
            "2.1 00000000000000000000000000000002045465657304746565730004",
        ),
        (Event::Deleted { id }, "3.1 00000000000000000000000000000002"),
    ]);
    assert_golden(&[
        (Reply::Created { id }, "1.1 00000000000000000000000000000002"),
        (Reply::Updated { id }, "2.1 00000000000000000000000000000002"),
        (Reply::Deleted { id }, "3.1 00000000000000000000000000000002"),
    ]);
    assert_golden(&[
        (Rejection::NotFound, "1.1"),
        (Rejection::Stale { current: 300 }, "2.1 fb2c01"),
        (Rejection::SlugTaken { by: id }, "3.1 00000000000000000000000000000002"),
        (Rejection::ParentNotFound, "4.1"),
        (Rejection::Cycle, "5.1"),
        (Rejection::HasChildren { children: 3 }, "6.1 03"),
        (Rejection::TooMany { limit: 10_000 }, "7.1 fb1027"),
        (Rejection::TooDeep { limit: 32 }, "8.1 20"),
    ]);
}
