//! The category tree of the shop: one small entity, read as a whole.
//!
//! Categories are few, change seldom, and are only of use together: as one entity the tree has unique
//! slugs and no cycles by plain look-ups, where an entity each would need a protocol. Each category has a
//! version of its own, so that two people who work on different ones do not collide.
//!
//! Products name categories by id and are never asked here: one that names a deleted category loses it
//! when it is read. A crash leaves each command done or not done; the tree owes nobody anything.

pub mod types;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::actors::entity::{Ctx, Decision, DecisionOf, Entity};
use crate::actors::values::{CategoryId, Slug, Time};
use crate::stored_enum;

use types::{CATEGORIES_MAX, Categories, Category, Command, DEPTH_MAX, FORMER_MAX, Former, Rejection, Reply, State};

stored_enum! {
    pub enum Event {
        (1, 1) => Created { id: CategoryId, title: String, slug: Slug, parent: Option<CategoryId>, position: i64 },
        /// The whole category as it is now.
        (2, 1) => Updated { id: CategoryId, title: String, slug: Slug, parent: Option<CategoryId>, position: i64 },
        (3, 1) => Deleted { id: CategoryId },
    }
}

impl Entity for State {
    type Kind = Categories;
    type Event = Event;
    const STATE_VERSION: u16 = 2;

    fn decide(&self, command: Command, _: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Create { id, .. } if self.categories.contains_key(&id) => {
                Ok(Decision::unchanged(Reply::Created { id }))
            }
            Command::Create { id, title, slug, parent, position } => {
                if self.categories.len() >= CATEGORIES_MAX {
                    return Err(Rejection::TooMany { limit: CATEGORIES_MAX as u32 });
                }
                self.judge_parent(id, parent)?;
                let slug = match slug {
                    Some(slug) => self.judge_slug(id, slug)?,
                    None => self.free_slug(&title),
                };
                let position = position.unwrap_or_else(|| self.position_behind(parent));
                Ok(Decision::new(vec![Event::Created { id, title, slug, parent, position }], Reply::Created { id }))
            }
            Command::Update { id, if_version, title, slug, parent, position } => {
                let now = self.judge_version(id, if_version)?;
                let title = title.unwrap_or_else(|| now.title.clone());
                let slug = slug.map_or_else(|| Ok(now.slug.clone()), |slug| self.judge_slug(id, slug))?;
                let parent = parent.unwrap_or(now.parent);
                let position = position.unwrap_or(now.position);
                if parent != now.parent {
                    self.judge_parent(id, parent)?;
                }
                let reply = Reply::Updated { id };
                let same = (&title, &slug, parent, position) == (&now.title, &now.slug, now.parent, now.position);
                if same {
                    return Ok(Decision::unchanged(reply));
                }
                Ok(Decision::new(vec![Event::Updated { id, title, slug, parent, position }], reply))
            }
            Command::Delete { id, if_version } => {
                self.judge_version(id, if_version)?;
                let children = self.categories.values().filter(|category| category.parent == Some(id)).count();
                match u32::try_from(children).unwrap_or(u32::MAX) {
                    0 => Ok(Decision::new(vec![Event::Deleted { id }], Reply::Deleted { id })),
                    children => Err(Rejection::HasChildren { children }),
                }
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Time) {
        match event {
            Event::Created { id, title, slug, parent, position }
            | Event::Updated { id, title, slug, parent, position } => {
                let (version, created_at) = match self.categories.get(id).cloned() {
                    Some(before) => {
                        let version = before.version + 1;
                        self.slugs.remove(&before.slug);
                        if before.slug != *slug {
                            self.remember(before.slug, Former { category: *id, version });
                        }
                        (version, before.created_at)
                    }
                    None => (1, at),
                };
                self.slugs.insert(slug.clone(), *id);
                self.former.remove(slug);
                let (slug, title) = (slug.clone(), title.clone());
                let (parent, position) = (*parent, *position);
                let category = Category { slug, title, parent, position, version, created_at, updated_at: at };
                self.categories.insert(*id, category);
            }
            Event::Deleted { id } => {
                if let Some(gone) = self.categories.remove(id) {
                    self.slugs.remove(&gone.slug);
                    self.former.retain(|_, former| former.category != *id);
                }
            }
        }
    }

    fn violations(&self) -> Vec<&'static str> {
        if !cfg!(debug_assertions) {
            return Vec::new();
        }
        let slugs = self.slugs.len() == self.categories.len()
            && self.categories.iter().all(|(id, category)| self.slugs.get(&category.slug) == Some(id));
        let rooted = self.categories.keys().all(|id| self.depth(Some(*id)).is_some());
        let former = |(slug, former): (&Slug, &Former)| {
            !self.slugs.contains_key(slug) && self.categories.contains_key(&former.category)
        };
        let rules = [
            (slugs, "each category has a slug of its own"),
            (self.former.iter().all(former), "a former slug is nobody's, and leads to a category"),
            (rooted, "from each category one gets to a root, within the depth limit"),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, name)| name).collect()
    }

    fn size_bytes(&self) -> usize {
        /// Title, slug and its index entry, with the trees' slack.
        const TEXT_BYTES: usize = 160;
        size_of::<Self>()
            + self.categories.len() * (size_of::<Category>() + TEXT_BYTES)
            + self.former.len() * (size_of::<Former>() + TEXT_BYTES)
    }
}

impl State {
    /// Knows a slug that a category has given up. Of its slugs those that it gave up last are known.
    fn remember(&mut self, slug: Slug, former: Former) {
        self.former.insert(slug, former);
        let own = || self.former.iter().filter(|(_, other)| other.category == former.category);
        if own().count() > FORMER_MAX
            && let Some(oldest) = own().min_by_key(|(_, other)| other.version).map(|(slug, _)| slug.clone())
        {
            self.former.remove(&oldest);
        }
    }

    fn judge_version(&self, id: CategoryId, if_version: Option<u64>) -> Result<&Category, Rejection> {
        let category = self.categories.get(&id).ok_or(Rejection::NotFound)?;
        match if_version {
            Some(seen) if seen != category.version => Err(Rejection::Stale { current: category.version }),
            Some(_) | None => Ok(category),
        }
    }

    fn judge_slug(&self, id: CategoryId, slug: Slug) -> Result<Slug, Rejection> {
        match self.slugs.get(&slug) {
            Some(by) if *by != id => Err(Rejection::SlugTaken { by: *by }),
            Some(_) | None => Ok(slug),
        }
    }

    /// The slug of the title, or the first of its numbered variants that is free. The tree is bounded,
    /// and so are the tries.
    fn free_slug(&self, title: &str) -> Slug {
        let plain = Slug::from_title(title);
        let mut candidate = plain.clone();
        let mut n = 2;
        while self.slugs.contains_key(&candidate) {
            candidate = plain.with_suffix(n);
            n += 1;
        }
        candidate
    }

    /// Whether `id`, with everything below it, may hang under `parent`.
    fn judge_parent(&self, id: CategoryId, parent: Option<CategoryId>) -> Result<(), Rejection> {
        let mut above = parent;
        let mut levels = 0;
        while let Some(ancestor) = above {
            if ancestor == id {
                return Err(Rejection::Cycle);
            }
            above = self.categories.get(&ancestor).ok_or(Rejection::ParentNotFound)?.parent;
            levels += 1;
        }
        if levels + self.height(id) > DEPTH_MAX {
            return Err(Rejection::TooDeep { limit: DEPTH_MAX as u32 });
        }
        Ok(())
    }

    /// Levels from a category to its root, itself included; `None` when there is no root in reach.
    fn depth(&self, id: Option<CategoryId>) -> Option<usize> {
        let mut at = id;
        let mut levels = 0;
        while let Some(id) = at {
            at = self.categories.get(&id)?.parent;
            levels += 1;
            if levels > DEPTH_MAX {
                return None;
            }
        }
        Some(levels)
    }

    /// Levels of the tree below and with `id`: 1 for a leaf, and for one that is not there yet.
    fn height(&self, id: CategoryId) -> usize {
        let mut level = BTreeSet::from([id]);
        let mut levels = 0;
        while !level.is_empty() {
            levels += 1;
            let below = |category: &Category| category.parent.is_some_and(|parent| level.contains(&parent));
            level = self.categories.iter().filter(|(_, category)| below(category)).map(|(id, _)| *id).collect();
        }
        levels
    }

    fn position_behind(&self, parent: Option<CategoryId>) -> i64 {
        let siblings = self.categories.values().filter(|category| category.parent == parent);
        siblings.map(|category| category.position).max().map_or(0, |last| last.saturating_add(1))
    }
}
