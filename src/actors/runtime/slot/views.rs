//! What anyone may read without asking the slot: entities as they durably are.
//!
//! A slot that has answered a read shows the entity here, and hides it again before it changes it. Until
//! then the next reader takes the state as it is, without a message and without waiting for the slot's turn.
//! What is shown is durable and the newest there is: the slot alone shows, hides and changes, so a reader
//! who comes after an acknowledged write never finds the state before it.
//!
//! A node whose lease has lapsed must not answer from here ([`super::SlotShared::shown`] looks), and a slot that
//! ends its generation or is given away hides everything.

use std::sync::atomic::{AtomicBool, Ordering};

use hashlink::LinkedHashMap;
use parking_lot::RwLock;

use super::resident::Resident;
use crate::actors::runtime::envelope::{Reply, Wait};
use crate::persistence::EntityKey;

/// Entities that one slot shows at once; the next one takes the place of the one shown longest. What is hidden
/// costs the next reader a message, and is shown again.
const SHOWN_MAX: usize = 512;

#[derive(Default)]
pub struct Views(RwLock<LinkedHashMap<EntityKey, View>>);

struct View {
    reply: Reply,
    settled: bool,
    /// Somebody has read it here since the slot looked last.
    used: AtomicBool,
}

impl Views {
    /// The entity, if it is shown and in the state that the reader waits for.
    pub fn read(&self, key: &EntityKey, wait: Wait) -> Option<Reply> {
        let shown = self.0.read();
        let view = shown.get(key).filter(|view| wait == Wait::Durable || view.settled)?;
        if !view.used.load(Ordering::Relaxed) {
            view.used.store(true, Ordering::Relaxed);
        }
        Some(view.reply.clone())
    }

    /// Shows an entity that has nothing in flight.
    pub(super) fn show(&self, key: &EntityKey, resident: &mut Resident) {
        let view =
            View { reply: resident.reply(None, true, false), settled: resident.state.settled(), used: false.into() };
        let mut shown = self.0.write();
        if shown.len() >= SHOWN_MAX {
            shown.pop_front();
        }
        shown.insert(key.clone(), view);
        resident.is_shown = true;
    }

    /// Whether the entity is shown: another may have taken its place since it was.
    pub(super) fn shows(&self, key: &EntityKey, resident: &Resident) -> bool {
        resident.is_shown && self.0.read().contains_key(key)
    }

    /// Hides an entity that is about to change, or to leave memory.
    pub(super) fn hide(&self, key: &EntityKey, resident: &mut Resident) {
        if std::mem::take(&mut resident.is_shown) {
            self.0.write().remove(key);
        }
    }

    /// Whether somebody has read the entity here since this was asked last.
    pub(super) fn was_used(&self, key: &EntityKey, resident: &Resident) -> bool {
        resident.is_shown && self.0.read().get(key).is_some_and(|view| view.used.swap(false, Ordering::Relaxed))
    }

    pub fn clear(&self) {
        self.0.write().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::kinds;
    use crate::actors::runtime::envelope::key;
    use crate::actors::runtime::slot::fresh;

    #[test]
    fn one_too_many_takes_the_place_of_one_and_that_one_is_shown_again() {
        let spec = kinds::all().by_number(9).expect("the SKU");
        let views = Views::default();
        let mut residents: Vec<_> = (0..=SHOWN_MAX)
            .map(|n| {
                let key = key(9, format!("SKU-{n}"));
                let mut resident = fresh(spec, &key).expect("a fresh SKU");
                views.show(&key, &mut resident);
                (key, resident)
            })
            .collect();
        let shown = residents.iter().filter(|(key, resident)| views.shows(key, resident)).count();
        assert_eq!(shown, SHOWN_MAX, "only one had to go");
        let (key, first) = &mut residents[0];
        assert!(!views.shows(key, first), "the one shown longest");
        views.show(key, first);
        assert!(views.read(key, Wait::Durable).is_some() && views.shows(key, first));
        views.hide(key, first);
        assert!(views.read(key, Wait::Durable).is_none() && !views.shows(key, first));
    }
}
