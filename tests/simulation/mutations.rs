//! Faults that are put in on purpose, to show that the simulation finds them. All of them live here, in
//! the simulation's own layers: around the slot, in front of the store, on the way between entities, or in
//! a kind that is a spoilt copy. The product's code has no switches.

use std::any::Any;
use std::sync::LazyLock;

use souk::actors::entity::{Answer, CodecError, Ctx, Owed, codec};
use souk::actors::erased::{AnyState, Decided, Erased, KindSpec, spec};
use souk::actors::kinds::{self, Kinds};
use souk::actors::sku::{self, types::StockUnit};
use souk::actors::values::Time;
use souk::actors::*;
use souk::persistence::{Payload, Snapshot};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Answers leave when the record is handed to the writer.
    ReplyBeforeCommit,
    /// Reads do not wait for what is in flight.
    ReadBeforeCommit,
    /// A client's outcome is not stored.
    ClientReceiptNotStored,
    /// The outcome of an owed request is not stored.
    OwedReceiptNotStored,
    /// One row of the owed index is skipped when a slot recovers.
    OwedForgottenInRecovery,
    /// What is newly owed is not sent after the commit, and not counted as outstanding either.
    OwedNotSent,
    /// A hold that is given back takes another one with it.
    ReservationReleasedTwice,
    SnapshotWithoutReceipts,
    SnapshotWithoutOwed,
    SnapshotWithoutWake,
    /// The state in a snapshot lacks what it held last.
    SnapshotMissesField,
    /// The store takes records of an epoch that is over.
    EpochNotChecked,
    /// An owed request has another identity each time it is sent.
    RequestIdNotTheSame,
    /// Senders call their own open requests answered.
    WatermarkTooHigh,
}

impl Mutation {
    pub const ALL: [Mutation; 14] = [
        Mutation::ReplyBeforeCommit,
        Mutation::ReadBeforeCommit,
        Mutation::ClientReceiptNotStored,
        Mutation::OwedReceiptNotStored,
        Mutation::OwedForgottenInRecovery,
        Mutation::OwedNotSent,
        Mutation::ReservationReleasedTwice,
        Mutation::SnapshotWithoutReceipts,
        Mutation::SnapshotWithoutOwed,
        Mutation::SnapshotWithoutWake,
        Mutation::SnapshotMissesField,
        Mutation::EpochNotChecked,
        Mutation::RequestIdNotTheSame,
        Mutation::WatermarkTooHigh,
    ];
}

/// The kinds that the shop runs with.
pub fn kinds(mutation: Option<Mutation>) -> &'static Kinds {
    static SPOILT: LazyLock<Kinds> = LazyLock::new(spoilt_kinds);
    match mutation {
        Some(Mutation::ReservationReleasedTwice) => &SPOILT,
        Some(_) | None => kinds::all(),
    }
}

fn spoilt_kinds() -> Kinds {
    Kinds::new(vec![
        spec::<keyring::types::Keyring>(),
        spec::<user::types::User>(),
        spec::<login::types::Login>(),
        spec::<session::types::Session>(),
        spec::<customer::types::Customer>(),
        spec::<categories::types::Categories>(),
        spec::<slug::types::ProductSlug>(),
        spec::<product::types::Product>(),
        Box::new(SpoiltSku(spec::<StockUnit>())),
        spec::<cart::types::Cart>(),
        spec::<order::types::Order>(),
        spec::<order_number::types::OrderNumber>(),
        spec::<mock_charge::types::MockCharge>(),
    ])
}

/// A snapshot of a SKU that does not know what is held, of a cart without its last line.
pub fn miss_a_field(snapshot: &mut Snapshot) {
    if snapshot.key.kind == 9
        && let Ok(mut state) = codec::decode::<sku::types::State>(&snapshot.state.bytes)
    {
        state.reservations = sku::types::Reservations::default();
        snapshot.state.bytes = codec::encode(&state);
    }
    if snapshot.key.kind == 10
        && let Ok(mut state) = codec::decode::<cart::types::State>(&snapshot.state.bytes)
    {
        state.contact = None;
        snapshot.state.bytes = codec::encode(&state);
    }
}

struct SpoiltSku(Box<dyn KindSpec>);

struct SpoiltState {
    spec: Box<dyn KindSpec>,
    state: Box<dyn AnyState>,
}

impl SpoiltState {
    fn around(state: Box<dyn AnyState>) -> Box<dyn AnyState> {
        Box::new(SpoiltState { spec: spec::<StockUnit>(), state })
    }

    /// After a hold was given back: the oldest other one is gone too.
    fn release_another(&mut self) {
        let mut payload = self.state.snapshot();
        let Ok(mut state) = codec::decode::<sku::types::State>(&payload.bytes) else { return };
        let mut holds: std::collections::BTreeMap<_, _> =
            state.reservations.iter().map(|(id, held)| (*id, *held)).collect();
        holds.pop_first();
        state.reservations = holds.into();
        payload.bytes = codec::encode(&state);
        if let Some(state) = self.spec.restore(&payload) {
            self.state = state;
        }
    }
}

impl KindSpec for SpoiltSku {
    fn number(&self) -> u8 {
        self.0.number()
    }
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn accepts(&self, id: &str) -> bool {
        self.0.accepts(id)
    }
    fn fresh(&self) -> Box<dyn AnyState> {
        SpoiltState::around(self.0.fresh())
    }
    fn restore(&self, state: &Payload) -> Option<Box<dyn AnyState>> {
        self.0.restore(state).map(SpoiltState::around)
    }
    fn outcome(&self, payload: &Payload) -> Result<Erased, CodecError> {
        self.0.outcome(payload)
    }
    fn event_json(&self, payload: &Payload) -> Result<serde_json::Value, CodecError> {
        self.0.event_json(payload)
    }
    fn wake(&self) -> Option<Erased> {
        self.0.wake()
    }
}

impl AnyState for SpoiltState {
    fn decide(&self, command: Erased, ctx: &Ctx) -> Option<Decided> {
        self.state.decide(command, ctx)
    }
    fn evolve(&mut self, events: &(dyn Any + Send), at: Time) {
        self.state.evolve(events, at);
        let events = events.downcast_ref::<Vec<sku::Event>>();
        if events.is_some_and(|events| events.iter().any(|event| matches!(event, sku::Event::HoldReleased { .. }))) {
            self.release_another();
        }
    }
    fn replay(&mut self, event: &Payload, at: Time) -> Result<(), CodecError> {
        const HOLD_RELEASED: u16 = 9 << 8 | 8;
        self.state.replay(event, at)?;
        if event.type_number == HOLD_RELEASED {
            self.release_another();
        }
        Ok(())
    }
    fn owed(&self) -> Vec<Owed> {
        self.state.owed()
    }
    fn answered(&self, key: &str, answer: &Answer) -> Option<Erased> {
        self.state.answered(key, answer)
    }
    fn wake_at(&self) -> Option<Time> {
        self.state.wake_at()
    }
    fn settled(&self) -> bool {
        self.state.settled()
    }
    fn violations(&self) -> Vec<&'static str> {
        self.state.violations()
    }
    fn size_bytes(&self) -> usize {
        self.state.size_bytes()
    }
    fn share(&self) -> Erased {
        self.state.share()
    }
    fn snapshot(&self) -> Payload {
        self.state.snapshot()
    }
    fn json(&self) -> serde_json::Value {
        self.state.json()
    }
}
