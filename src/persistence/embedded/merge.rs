//! Several sorted sources of index entries as one: of entries with the same key the newest wins.

use super::entry::Item;
use super::run::RunScan;
use crate::persistence::StoreError;

/// Something that gives entries in the order of their keys.
pub enum Source<'a> {
    Run(RunScan<'a>),
    Items(std::vec::IntoIter<Item>),
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<Item>, StoreError> {
        match self {
            Source::Run(scan) => scan.next(),
            Source::Items(items) => Ok(items.next()),
        }
    }
}

/// The sources, newest first, each with its next entry. There are a few dozen at most.
pub struct Merge<'a> {
    sources: Vec<(Source<'a>, Item)>,
}

impl<'a> Merge<'a> {
    /// `sources` from the newest to the oldest.
    pub fn new(sources: impl IntoIterator<Item = Source<'a>>) -> Result<Merge<'a>, StoreError> {
        let mut merge = Merge { sources: Vec::new() };
        for mut source in sources {
            if let Some(first) = source.next()? {
                merge.sources.push((source, first));
            }
        }
        Ok(merge)
    }

    /// The next entry: void ones too.
    pub fn next(&mut self) -> Result<Option<Item>, StoreError> {
        let least = self.sources.iter().enumerate().min_by(|(_, (_, a)), (_, (_, b))| a.key.cmp(&b.key));
        let Some((newest, _)) = least else { return Ok(None) };
        let item = self.step(newest)?;
        let mut index = self.sources.len();
        // From behind, since a source that has ended leaves the list.
        while index > 0 {
            index -= 1;
            if self.sources[index].1.key == item.key {
                self.step(index)?;
            }
        }
        Ok(Some(item))
    }

    /// Takes the entry that a source shows, and moves the source on.
    fn step(&mut self, index: usize) -> Result<Item, StoreError> {
        let (source, shown) = &mut self.sources[index];
        match source.next()? {
            Some(next) => Ok(std::mem::replace(shown, next)),
            None => Ok(self.sources.remove(index).1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(items: &[(&str, Option<&str>)]) -> Source<'static> {
        let item = |(key, value): &(&str, Option<&str>)| Item {
            key: key.as_bytes().to_vec(),
            value: value.map(|value| value.as_bytes().to_vec()),
        };
        Source::Items(items.iter().map(item).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn entries_come_in_order_and_the_newest_wins() {
        let newest = source(&[("b", Some("new")), ("d", None)]);
        let middle = source(&[("a", Some("1")), ("b", Some("old")), ("e", Some("5"))]);
        let oldest = source(&[("b", Some("oldest")), ("c", Some("3")), ("d", Some("4")), ("e", Some("old"))]);
        let mut merge = Merge::new([newest, middle, oldest]).expect("in memory");
        let mut found = Vec::new();
        while let Some(item) = merge.next().expect("in memory") {
            found.push(item);
        }
        let mut expected =
            source(&[("a", Some("1")), ("b", Some("new")), ("c", Some("3")), ("d", None), ("e", Some("5"))]);
        let expected: Vec<Item> = std::iter::from_fn(|| expected.next().expect("in memory")).collect();
        assert_eq!(found, expected);
    }
}
