//! The public face of the category tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{CategoryId, Only, Slug, Time};
use crate::stored_enum;

pub enum Categories {}

impl Kind for Categories {
    const NUMBER: u8 = 6;
    const NAME: &'static str = "categories";
    type Id = Only;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;

    fn is_momentary(rejection: &Rejection) -> bool {
        matches!(rejection, Rejection::Stale { .. })
    }

    fn passes_soon(_: &Rejection) -> bool {
        false
    }
}

/// The most categories in a shop: the tree is one entity and is shown as a whole.
pub const CATEGORIES_MAX: usize = 10_000;
/// The most levels of the tree: what shows it may recurse.
pub const DEPTH_MAX: usize = 32;

stored_enum! {
    pub enum Command {
        (1, 1) => Create {
            /// Derived by the edge from the request id: a repeat meets the same category.
            id: CategoryId,
            title: String,
            /// `None`: derived from the title, with a numeric suffix when that is taken.
            slug: Option<Slug>,
            parent: Option<CategoryId>,
            /// `None`: behind its last sibling.
            position: Option<i64>,
        },
        /// What is `None` stays. The slug stays too when only the title changes: URLs outlive titles.
        (2, 1) => Update {
            id: CategoryId,
            /// The category's own version that the caller has seen.
            if_version: Option<u64>,
            title: Option<String>,
            slug: Option<Slug>,
            /// `Some(None)` makes it a root.
            parent: Option<Option<CategoryId>>,
            position: Option<i64>,
        },
        /// Products that name a deleted category lose it when they are read.
        (3, 1) => Delete { id: CategoryId, if_version: Option<u64> },
    }
}

stored_enum! {
    pub enum Reply {
        (1, 1) => Created { id: CategoryId },
        (2, 1) => Updated { id: CategoryId },
        (3, 1) => Deleted { id: CategoryId },
    }
}

stored_enum! {
    pub enum Rejection {
        (1, 1) => NotFound,
        /// The category has changed since the caller read it.
        (2, 1) => Stale { current: u64 },
        (3, 1) => SlugTaken { by: CategoryId },
        (4, 1) => ParentNotFound,
        /// The new parent is the category itself or lies below it.
        (5, 1) => Cycle,
        (6, 1) => HasChildren { children: u32 },
        (7, 1) => TooMany { limit: u32 },
        (8, 1) => TooDeep { limit: u32 },
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    pub slug: Slug,
    pub title: String,
    pub parent: Option<CategoryId>,
    /// Siblings are shown by ascending position, then title, then id.
    pub position: i64,
    /// From 1; grows with every change of this category. What its ETag shows.
    pub version: u64,
    pub created_at: Time,
    pub updated_at: Time,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    pub categories: BTreeMap<CategoryId, Category>,
    /// The category of each slug.
    pub slugs: BTreeMap<Slug, CategoryId>,
    /// Slugs that no category has, and whose they were: links go on to where the category is now.
    pub former: BTreeMap<Slug, Former>,
}

/// Whose a slug was, and the version at which that category gave it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    pub category: CategoryId,
    pub version: u64,
}

/// How many former slugs of one category are known.
pub const FORMER_MAX: usize = 8;

impl State {
    pub fn by_slug(&self, slug: &Slug) -> Option<(CategoryId, &Category)> {
        let id = *self.slugs.get(slug)?;
        Some((id, self.categories.get(&id)?))
    }

    /// The category that has this slug, or had it last while no category has it.
    pub fn led_to(&self, slug: &Slug) -> Option<CategoryId> {
        self.slugs.get(slug).copied().or_else(|| self.former.get(slug).map(|former| former.category))
    }

    /// The children of a category, or the roots, in the order in which they are shown.
    pub fn children(&self, parent: Option<CategoryId>) -> Vec<(CategoryId, &Category)> {
        let of_parent = self.categories.iter().filter(|(_, category)| category.parent == parent);
        let mut children: Vec<_> = of_parent.map(|(id, category)| (*id, category)).collect();
        children.sort_by(|(a, x), (b, y)| (x.position, &x.title, a).cmp(&(y.position, &y.title, b)));
        children
    }

    /// All children lists at once, in one pass: for showing the whole tree.
    pub fn tree(&self) -> BTreeMap<Option<CategoryId>, Vec<(CategoryId, &Category)>> {
        let mut tree: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, category) in &self.categories {
            tree.entry(category.parent).or_default().push((*id, category));
        }
        for siblings in tree.values_mut() {
            siblings.sort_by(|(a, x), (b, y)| (x.position, &x.title, a).cmp(&(y.position, &y.title, b)));
        }
        tree
    }
}
