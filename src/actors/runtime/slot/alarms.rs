//! The nearest wake rows of a slot in memory: a page of the wake index, kept up to date by the records
//! since. Beyond the horizon the index alone knows: ten million sleeping carts cost a page.

use std::collections::{BTreeMap, HashMap};

use hashlink::DefaultHashBuilder;

use crate::persistence::{EntityKey, WakeRow};

/// Rows read at once.
pub const PAGE: usize = 64;
/// Rows kept at most; beyond, the later half is left to the index.
const KEPT_MAX: usize = 4 * PAGE;

#[derive(Default)]
pub struct Alarms {
    due: BTreeMap<(i64, EntityKey), ()>,
    rows: HashMap<EntityKey, i64, DefaultHashBuilder>,
    /// Every row up to and including this one is in memory; `None`: all rows are.
    horizon: Option<(i64, EntityKey)>,
    /// A page is being read: what is set meanwhile is kept whatever its time, since the page may miss it.
    reading: bool,
}

impl Alarms {
    /// Nothing is known yet: the first page has to be read.
    pub fn unread() -> Alarms {
        let before_all = (i64::MIN, EntityKey { kind: 0, id: "".into() });
        Alarms { horizon: Some(before_all), ..Alarms::default() }
    }

    /// A record changed the entity's row.
    pub fn set(&mut self, key: &EntityKey, due_ms: Option<i64>) {
        if let Some(old) = self.rows.remove(key) {
            self.due.remove(&(old, key.clone()));
        }
        let Some(due_ms) = due_ms else { return };
        let near = self.horizon.as_ref().is_none_or(|horizon| (due_ms, key) <= (horizon.0, &horizon.1));
        if near || self.reading {
            self.due.insert((due_ms, key.clone()), ());
            self.rows.insert(key.clone(), due_ms);
        }
        if !self.reading && self.due.len() > KEPT_MAX {
            self.forget_far_rows();
        }
    }

    fn forget_far_rows(&mut self) {
        while self.due.len() > KEPT_MAX / 2 {
            if let Some(((_, key), ())) = self.due.pop_last() {
                self.rows.remove(&key);
            }
        }
        // Rows beyond the old horizon were set while a page was read: between them there are others.
        let last = self.due.last_key_value().map(|(row, ())| row.clone());
        self.horizon = match (self.horizon.take(), last) {
            (Some(horizon), Some(last)) => Some(horizon.min(last)),
            (None, last) => last,
            (horizon, None) => horizon,
        };
    }

    /// Takes the entities whose time has come.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<EntityKey> {
        let mut due = Vec::new();
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now_ms
        {
            let (_, key) = entry.remove_entry().0;
            self.rows.remove(&key);
            due.push(key);
        }
        due
    }

    /// When the slot has to look again; `None` when nothing is known to be coming.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.due.first_key_value().map(|((due_ms, _), ())| *due_ms)
    }

    /// Where to read on, when the rows up to the horizon have run out. Marks the reading as begun.
    pub fn begin_reading(&mut self) -> Option<(i64, EntityKey)> {
        let after = self.horizon.clone()?;
        let near = self.due.first_key_value().is_some_and(|(row, ())| *row <= after);
        if self.reading || near {
            return None;
        }
        self.reading = true;
        Some(after)
    }

    /// A page has been read.
    pub fn read(&mut self, page: Vec<WakeRow>) {
        self.reading = false;
        self.horizon = if page.len() < PAGE { None } else { page.last().map(|row| (row.due_ms, row.key.clone())) };
        for row in page {
            if !self.rows.contains_key(&row.key) {
                self.due.insert((row.due_ms, row.key.clone()), ());
                self.rows.insert(row.key, row.due_ms);
            }
        }
        if self.due.len() > KEPT_MAX {
            self.forget_far_rows();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::runtime::envelope::key;

    fn row(due_ms: i64) -> WakeRow {
        WakeRow { due_ms, key: key(10, format!("{due_ms:06}")) }
    }

    #[test]
    fn only_the_nearest_rows_are_kept_and_the_rest_is_read_again() {
        let mut alarms = Alarms::unread();
        assert!(alarms.begin_reading().is_some());
        alarms.set(&key(10, "late"), Some(1_000_000));
        alarms.read((0..PAGE as i64).map(row).collect());
        alarms.set(&key(10, "beyond"), Some(500_000));
        assert_eq!(alarms.take_due(63).len(), PAGE);
        assert_eq!(alarms.take_due(600_000).len(), 0, "beyond the horizon: the index knows it");
        assert_eq!(alarms.next_due_ms(), Some(1_000_000), "set while a page was read");
        assert_eq!(alarms.begin_reading().map(|row| row.0), Some(63));
        alarms.read(vec![row(500_000)]);
        assert_eq!(alarms.next_due_ms(), Some(500_000));
        assert!(alarms.begin_reading().is_none(), "all rows are in memory");
        assert_eq!(alarms.take_due(1_000_000).len(), 2);
    }

    #[test]
    fn rows_between_the_page_and_what_was_set_meanwhile_are_read_later() {
        let mut alarms = Alarms::unread();
        assert!(alarms.begin_reading().is_some());
        for n in 0..2 * KEPT_MAX as i64 {
            alarms.set(&row(10_000 + n).key, Some(10_000 + n));
        }
        alarms.read((0..PAGE as i64).map(row).collect());
        alarms.take_due(63);
        assert_eq!(alarms.begin_reading().map(|row| row.0), Some(63), "row 64 of the index was never read");
    }

    #[test]
    fn a_row_moves() {
        let mut alarms = Alarms::default();
        alarms.set(&key(10, "a"), Some(5));
        alarms.set(&key(10, "a"), Some(3));
        assert_eq!((alarms.next_due_ms(), alarms.take_due(10).len()), (Some(3), 1));
        alarms.set(&key(10, "b"), Some(5));
        alarms.set(&key(10, "b"), None);
        assert_eq!(alarms.next_due_ms(), None);
    }
}
