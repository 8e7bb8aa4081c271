//! A page of products, found a bounded number of rows at a time: between two looks nobody holds the lock, and other
//! tasks run. What changes meanwhile is seen or not, as between two pages; a product is on a page once.
//!
//! A list of a few categories or of one seller looks at the products of these. Any other walks along the index of its
//! first sort field, and ends when the page is full.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Bound;

use super::{Group, Position, ProductQuery, Products, ProductsFound, Row, SortBy, SortField, SortKey};
use crate::actors::projections::ROWS_AT_ONCE;
use crate::actors::values::ProductId;

const NEWEST_FIRST: [SortBy; 1] = [SortBy { field: SortField::CreatedAt, descending: true }];

/// A list being made.
pub(super) struct Scan<'q> {
    query: &'q ProductQuery,
    sorts: &'q [SortBy],
    source: Source,
    /// The first of what was found behind the cursor: not yet in order, some of it twice where a row has changed.
    found: Vec<Position>,
    total: u64,
}

enum Source {
    /// Along an index, from here on.
    Index { sort: SortBy, from: Bound<(SortKey, ProductId)> },
    /// One group after the other, the last one first, and of that one what is behind this product.
    Groups { left: Vec<Group>, after: Option<ProductId> },
}

impl<'q> Scan<'q> {
    pub(super) fn new(query: &'q ProductQuery) -> Scan<'q> {
        let sorts = if query.sorts.is_empty() { &NEWEST_FIRST[..] } else { &query.sorts };
        let source = match (query.seller, &query.categories) {
            (Some(seller), _) => Source::Groups { left: vec![Group::Seller(seller)], after: None },
            (None, Some(categories)) => {
                Source::Groups { left: categories.iter().copied().map(Group::Category).collect(), after: None }
            }
            (None, None) => {
                let sort = sorts.first().copied().unwrap_or(NEWEST_FIRST[0]);
                // Who counts everything begins where everything begins.
                let start = query.after.as_ref().filter(|_| !query.count).and_then(|after| after.0.first());
                let id = ProductId(if sort.descending { u128::MAX } else { 0 });
                let from = start.map_or(Bound::Unbounded, |key| Bound::Included((key.clone(), id)));
                Source::Index { sort, from }
            }
        };
        Scan { query, sorts, source, found: Vec::new(), total: 0 }
    }

    /// Looks at the next rows, [`ROWS_AT_ONCE`] of them at most. Whether that was all.
    pub(super) fn step(&mut self, products: &Products) -> bool {
        match &self.source {
            Source::Index { sort, from } => {
                let (sort, from) = (*sort, from.clone());
                self.step_along(products, sort, from)
            }
            Source::Groups { .. } => self.step_through(products),
        }
    }

    fn step_along(&mut self, products: &Products, sort: SortBy, from: Bound<(SortKey, ProductId)>) -> bool {
        let Some(index) = products.sorted.get(&sort.field) else { return true };
        let mut key_before = match &from {
            Bound::Excluded((key, _)) => Some(key),
            Bound::Included(_) | Bound::Unbounded => None,
        };
        let entries: Box<dyn Iterator<Item = &(SortKey, ProductId)>> = if sort.descending {
            Box::new(index.range((Bound::Unbounded, from.as_ref())).rev())
        } else {
            Box::new(index.range((from.as_ref(), Bound::Unbounded)))
        };
        let mut last = None;
        for (n, entry) in entries.enumerate() {
            if n == ROWS_AT_ONCE {
                break;
            }
            // Products with the same key are put in order by the other sorts: only between two keys is a page whole.
            if key_before.is_some_and(|before| *before != entry.0) && self.is_full() {
                return true;
            }
            key_before = Some(&entry.0);
            last = Some((n, entry));
            self.look(products.rows.get(&entry.1));
        }
        match last {
            Some((n, entry)) if n + 1 == ROWS_AT_ONCE => {
                self.source = Source::Index { sort, from: Bound::Excluded(entry.clone()) };
                false
            }
            Some(_) | None => true,
        }
    }

    fn step_through(&mut self, products: &Products) -> bool {
        let mut looks_left = ROWS_AT_ONCE;
        while looks_left > 0 {
            let Source::Groups { left, after } = &mut self.source else { return true };
            let Some(group) = left.last().copied() else { return true };
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let ids = products.groups.get(&group).into_iter().flat_map(|ids| ids.range((start, Bound::Unbounded)));
            let ids: Vec<ProductId> = ids.take(looks_left).copied().collect();
            if ids.len() < looks_left {
                left.pop();
                *after = None;
            } else {
                *after = ids.last().copied();
            }
            // An empty group costs a look too.
            looks_left -= ids.len().max(1);
            for row in ids.iter().filter_map(|id| products.rows.get(id)) {
                if self.query.first_group(row) == Some(group) {
                    self.look(Some(row));
                }
            }
        }
        false
    }

    fn look(&mut self, row: Option<&Row>) {
        let Some(row) = row.filter(|row| self.query.accepts(row)) else { return };
        self.total += 1;
        let position = row.position(self.sorts);
        if self.query.after.as_ref().is_none_or(|after| position.compare(after, self.sorts) == Ordering::Greater) {
            self.found.push(position);
        }
        if self.found.len() >= 4 * (self.query.limit + 1) {
            self.sift();
        }
    }

    /// Whether the page, and one more to know that there is more, has been found along an index.
    fn is_full(&mut self) -> bool {
        if self.query.count || self.found.len() <= self.query.limit {
            return false;
        }
        self.sift();
        self.found.len() > self.query.limit
    }

    /// Puts what was found in order, each product once, and keeps the page and one more.
    fn sift(&mut self) {
        let sorts = self.sorts;
        self.found.sort_unstable_by(|a, b| a.compare(b, sorts));
        let mut seen = HashSet::new();
        self.found.retain(|position| seen.insert(position.1));
        self.found.truncate(self.query.limit + 1);
    }

    pub(super) fn finish(mut self) -> ProductsFound {
        self.sift();
        let has_more = self.found.len() > self.query.limit;
        self.found.truncate(self.query.limit);
        let next = self.found.last().filter(|_| has_more).cloned();
        let ids = self.found.into_iter().map(|position| position.1).collect();
        ProductsFound { ids, next, total: self.query.count.then_some(self.total) }
    }
}

impl ProductQuery {
    /// The group among those that are looked at under which a row counts, so that it counts once.
    fn first_group(&self, row: &Row) -> Option<Group> {
        match (self.seller, &self.categories) {
            (Some(_), _) => row.seller.map(Group::Seller),
            (None, Some(wanted)) => {
                row.categories.iter().filter(|id| wanted.contains(id)).min().map(|id| Group::Category(*id))
            }
            (None, None) => None,
        }
    }
}
