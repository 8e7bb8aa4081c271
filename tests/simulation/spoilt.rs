//! Kinds that are not what they should be: around the real ones, so that the product's code needs no
//! switches. One gives back more than it may; others panic now and then, anywhere in their code.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use souk::actors::entity::{Answer, CodecError, Ctx, Owed, codec};
use souk::actors::erased::{AnyState, Decided, Erased, KindSpec, spec};
use souk::actors::kinds::Kinds;
use souk::actors::sku;
use souk::actors::values::Time;
use souk::actors::*;
use souk::persistence::Payload;

use crate::random::Random;

/// What is wrong with a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A hold of a SKU that is given back takes another one with it.
    ReleasesTwice,
    /// Its code panics when the dice say so.
    Panics,
}

thread_local! {
    /// When kinds of the panicking nature panic on this thread: so many times in a thousand.
    static DICE: RefCell<(u64, Random)> = RefCell::new((0, Random::new(0)));
}

pub fn set_dice(per_mille: u64, random: Random) {
    DICE.set((per_mille, random));
}

/// The panics end; those that have been rolled are over.
pub fn rest_dice() {
    DICE.with_borrow_mut(|(per_mille, _)| *per_mille = 0);
}

/// Every kind, each of this nature.
pub fn kinds(nature: Nature) -> &'static Kinds {
    static RELEASING: LazyLock<Kinds> = LazyLock::new(|| all(Nature::ReleasesTwice));
    static PANICKING: LazyLock<Kinds> = LazyLock::new(|| all(Nature::Panics));
    match nature {
        Nature::ReleasesTwice => &RELEASING,
        Nature::Panics => &PANICKING,
    }
}

fn all(nature: Nature) -> Kinds {
    let kinds = vec![
        spec::<keyring::types::Keyring>(),
        spec::<user::types::User>(),
        spec::<login::types::Login>(),
        spec::<session::types::Session>(),
        spec::<customer::types::Customer>(),
        spec::<categories::types::Categories>(),
        spec::<slug::types::ProductSlug>(),
        spec::<product::types::Product>(),
        spec::<sku::types::StockUnit>(),
        spec::<cart::types::Cart>(),
        spec::<order::types::Order>(),
        spec::<order_number::types::OrderNumber>(),
        spec::<mock_charge::types::MockCharge>(),
    ];
    Kinds::new(kinds.into_iter().map(|kind| Box::new(SpoiltKind { kind, nature }) as Box<dyn KindSpec>).collect())
}

struct SpoiltKind {
    kind: Box<dyn KindSpec>,
    nature: Nature,
}

impl SpoiltKind {
    fn around(&self, state: Box<dyn AnyState>) -> Box<dyn AnyState> {
        Box::new(SpoiltState { state, nature: self.nature })
    }
}

impl KindSpec for SpoiltKind {
    fn number(&self) -> u8 {
        self.kind.number()
    }
    fn name(&self) -> &'static str {
        self.kind.name()
    }
    fn gateways(&self) -> &'static [&'static str] {
        self.kind.gateways()
    }
    fn accepts(&self, id: &str) -> bool {
        self.kind.accepts(id)
    }
    fn fresh(&self) -> Box<dyn AnyState> {
        self.around(self.kind.fresh())
    }
    fn restore(&self, state: &Payload) -> Option<Box<dyn AnyState>> {
        self.kind.restore(state).map(|state| self.around(state))
    }
    fn outcome(&self, payload: &Payload) -> Result<Erased, CodecError> {
        self.kind.outcome(payload)
    }
    fn event_json(&self, payload: &Payload) -> Result<serde_json::Value, CodecError> {
        self.kind.event_json(payload)
    }
    fn wake(&self) -> Option<Erased> {
        self.kind.wake()
    }
}

struct SpoiltState {
    state: Box<dyn AnyState>,
    nature: Nature,
}

impl SpoiltState {
    fn perhaps_panic(&self, place: &str) {
        let unlucky = || DICE.with_borrow_mut(|(per_mille, random)| *per_mille > 0 && random.chance(*per_mille));
        if self.nature == Nature::Panics && unlucky() {
            panic!("the dice say so, in {place}");
        }
    }

    /// After a hold was given back: the oldest other one is gone too.
    fn release_another(&mut self) {
        let mut payload = self.state.snapshot();
        let Ok(mut state) = codec::decode::<sku::types::State>(&payload.bytes) else { return };
        let mut holds: BTreeMap<_, _> = state.reservations.iter().map(|(id, held)| (*id, *held)).collect();
        holds.pop_first();
        state.reservations = holds.into();
        payload.bytes = codec::encode(&state);
        if let Some(state) = spec::<sku::types::StockUnit>().restore(&payload) {
            self.state = state;
        }
    }
}

impl AnyState for SpoiltState {
    fn decide(&self, command: Erased, ctx: &Ctx) -> Option<Decided> {
        self.perhaps_panic("decide");
        self.state.decide(command, ctx)
    }
    fn evolve(&mut self, events: &(dyn Any + Send), at: Time) {
        self.perhaps_panic("evolve, at its begin");
        self.state.evolve(events, at);
        self.perhaps_panic("evolve, at its end");
        let events = events.downcast_ref::<Vec<sku::Event>>();
        let released = |event: &sku::Event| matches!(event, sku::Event::HoldReleased { .. });
        if self.nature == Nature::ReleasesTwice && events.is_some_and(|events| events.iter().any(released)) {
            self.release_another();
        }
    }
    fn replay(&mut self, event: &Payload, at: Time) -> Result<(), CodecError> {
        const HOLD_RELEASED: u16 = 9 << 8 | 8;
        self.perhaps_panic("replay");
        self.state.replay(event, at)?;
        if self.nature == Nature::ReleasesTwice && event.type_number == HOLD_RELEASED {
            self.release_another();
        }
        Ok(())
    }
    fn owed(&self) -> Vec<Owed> {
        self.perhaps_panic("owed");
        self.state.owed()
    }
    fn answered(&self, key: &str, answer: &Answer) -> Option<Erased> {
        self.perhaps_panic("answered");
        self.state.answered(key, answer)
    }
    fn answered_together(&self, answers: &[(&str, &Answer)]) -> Option<Erased> {
        self.perhaps_panic("answered_together");
        self.state.answered_together(answers)
    }
    fn wake_at(&self) -> Option<Time> {
        self.perhaps_panic("wake_at");
        self.state.wake_at()
    }
    fn settled(&self) -> bool {
        self.perhaps_panic("settled");
        self.state.settled()
    }
    fn violations(&self) -> Vec<&'static str> {
        self.state.violations()
    }
    fn size_bytes(&self) -> usize {
        self.perhaps_panic("size_bytes");
        self.state.size_bytes()
    }
    fn share(&self) -> Erased {
        self.state.share()
    }
    fn snapshot(&self) -> Payload {
        self.perhaps_panic("snapshot");
        self.state.snapshot()
    }
    fn json(&self) -> serde_json::Value {
        self.perhaps_panic("json");
        self.state.json()
    }
}
