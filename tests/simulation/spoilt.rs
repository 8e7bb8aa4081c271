//! Kinds that are not what they should be: around the real ones, so that the product's code needs no
//! switches. Some do what a SKU must not;
//! others panic now and then, anywhere in their code.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use souk::actors::entity::{Answer, CodecError, Ctx, Kind, Outcome, Owed, Stored, TooNew, WireVersion, codec};
use souk::actors::kinds::Kinds;
use souk::actors::runtime::erased::{AnyState, Decided, Erased, KindSpec, spec};
use souk::actors::sku;
use souk::actors::sku::types::{Rejection, StockUnit};
use souk::actors::values::Time;
use souk::actors::*;
use souk::persistence::Payload;

use crate::random::Random;

/// What is wrong with a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A hold of a SKU that is given back takes another one with it.
    ReleasesTwice,
    /// A variant that claims a SKU has the pieces of the variant before.
    KeepsPieces,
    /// A SKU refuses an order for what younger ones hold.
    RefusesForYounger,
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
    static KEEPING: LazyLock<Kinds> = LazyLock::new(|| all(Nature::KeepsPieces));
    static REFUSING: LazyLock<Kinds> = LazyLock::new(|| all(Nature::RefusesForYounger));
    static PANICKING: LazyLock<Kinds> = LazyLock::new(|| all(Nature::Panics));
    match nature {
        Nature::ReleasesTwice => &RELEASING,
        Nature::KeepsPieces => &KEEPING,
        Nature::RefusesForYounger => &REFUSING,
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
        spec::<audit::types::Audit>(),
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
    fn command_payload(&self, command: &Erased, wire: WireVersion) -> Result<Option<Payload>, TooNew> {
        self.kind.command_payload(command, wire)
    }
    fn command(&self, payload: &Payload) -> Result<Erased, CodecError> {
        self.kind.command(payload)
    }
    fn outcome_payload(&self, outcome: &Erased, wire: WireVersion) -> Result<Option<Payload>, TooNew> {
        self.kind.outcome_payload(outcome, wire)
    }
    fn outcome(&self, payload: &Payload) -> Result<Erased, CodecError> {
        self.kind.outcome(payload)
    }
    fn state_payload(&self, state: &Erased) -> Option<Payload> {
        self.kind.state_payload(state)
    }
    fn state(&self, payload: &Payload) -> Result<Erased, CodecError> {
        self.kind.state(payload)
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

    /// Changes the state of a SKU behind its back.
    fn spoil(&mut self, change: impl FnOnce(&mut sku::types::State)) {
        let mut payload = self.state.snapshot();
        let Ok(mut state) = codec::decode::<sku::types::State>(&payload.bytes) else { return };
        change(&mut state);
        payload.bytes = codec::encode(&state);
        if let Some(state) = spec::<sku::types::StockUnit>().restore(&payload) {
            self.state = state;
        }
    }

    /// After a hold was given back: the oldest other one is gone too.
    fn release_another(&mut self) {
        self.spoil(|state| {
            let mut holds: BTreeMap<_, _> = state.reservations.iter().map(|(id, held)| (*id, *held)).collect();
            holds.pop_first();
            state.reservations = holds.into();
        });
    }

    /// After a claim: the pieces are those of the ledger that was set aside.
    fn keep_pieces(&mut self) {
        self.spoil(|state| {
            let Some(before) = state.past.ledgers().last().map(|ledger| ledger.pieces) else { return };
            (state.on_hand, state.received, state.adjusted) = (before.on_hand, before.received, before.adjusted);
            (state.sold, state.returned) = (before.sold, before.returned);
        });
    }

    /// After an event of a SKU, by its code.
    fn after(&mut self, event: u8) {
        const CLAIMED: u8 = 1;
        const HOLD_RELEASED: u8 = 8;
        match (self.nature, event) {
            (Nature::ReleasesTwice, HOLD_RELEASED) => self.release_another(),
            (Nature::KeepsPieces, CLAIMED) => self.keep_pieces(),
            _ => {}
        }
    }
}

impl AnyState for SpoiltState {
    fn decide(&self, command: Erased, ctx: &Ctx) -> Option<Decided> {
        self.perhaps_panic("decide");
        let mut decided = self.state.decide(command, ctx)?;
        let outcome = decided.outcome.downcast_ref::<Outcome<StockUnit>>();
        if self.nature == Nature::RefusesForYounger && outcome == Some(&Err(Rejection::Contended)) {
            let refused = Rejection::InsufficientStock { available: 0, requested: 1 };
            decided.outcome = Arc::new(Outcome::<StockUnit>::Err(refused));
        }
        Some(decided)
    }
    fn evolve(&mut self, events: &(dyn Any + Send), at: Time) {
        self.perhaps_panic("evolve, at its begin");
        self.state.evolve(events, at);
        self.perhaps_panic("evolve, at its end");
        for event in events.downcast_ref::<Vec<sku::Event>>().into_iter().flatten() {
            self.after(event.to_stored().0);
        }
    }
    fn replay(&mut self, event: &Payload, at: Time) -> Result<(), CodecError> {
        self.perhaps_panic("replay");
        self.state.replay(event, at)?;
        let [kind, code] = event.type_number.to_be_bytes();
        if kind == StockUnit::NUMBER {
            self.after(code);
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
