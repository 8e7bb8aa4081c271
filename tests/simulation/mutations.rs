//! Faults that are put in on purpose, to show that the simulation finds them. All of them live here, in
//! the simulation's own layers: around the slot, in front of the store, on the way between entities, or in
//! a kind that is a spoilt copy. The product's code has no switches.

use souk::actors::entity::codec;
use souk::actors::{cart, sku};
use souk::persistence::Snapshot;

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
    /// The store takes an append that it has already: behind what is there.
    RepeatTaken,
    /// An owed request has another identity each time it is sent.
    RequestIdNotTheSame,
    /// Senders call their own open requests answered.
    WatermarkTooHigh,
    /// A receipt that has left memory is not found in the index.
    LookupFindsNothing,
    /// A snapshot says that it has every receipt, though some were pushed out.
    SnapshotHidesReceiptsElsewhere,
    /// What a slot has once shown is shown for ever.
    ViewNotHidden,
    /// A variant that claims a freed SKU has the pieces of the one before.
    ClaimKeepsPieces,
    /// A SKU refuses an order for what younger ones hold.
    RefusedForYounger,
    /// The way to the provider is given to a node that serves already, and looked up once for each request.
    GatewayAfterServing,
    /// A message of the runtime that found no room does not come again.
    AgainIsLost,
    /// The first page of the owed index is taken for the last.
    OwedPageIsLast,
    /// A slot is not told that its generation has ended.
    EndNotTold,
    /// A slot that has left messages in its inbox does not come again for them.
    PokeIsLost,
    /// A slot that was not claimed at once is not claimed again.
    ClaimedOnce,
    /// An owed request that failed once is not attempted again.
    DispatcherGivesUp,
    /// The answer to an owed request does not come back to who owed it.
    AnswerNotBroughtBack,
    /// A slot that leaves forgets who waits in its inbox.
    LeaverForgetsCallers,
    /// A slot that comes back takes no messages.
    ReturnsClosed,
    /// What a load of an earlier generation has read is taken.
    OldLoadTaken,
}

impl Mutation {
    pub const ALL: [Mutation; 31] = [
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
        Mutation::RepeatTaken,
        Mutation::RequestIdNotTheSame,
        Mutation::WatermarkTooHigh,
        Mutation::LookupFindsNothing,
        Mutation::SnapshotHidesReceiptsElsewhere,
        Mutation::ViewNotHidden,
        Mutation::ClaimKeepsPieces,
        Mutation::RefusedForYounger,
        Mutation::GatewayAfterServing,
        Mutation::AgainIsLost,
        Mutation::OwedPageIsLast,
        Mutation::EndNotTold,
        Mutation::PokeIsLost,
        Mutation::ClaimedOnce,
        Mutation::DispatcherGivesUp,
        Mutation::AnswerNotBroughtBack,
        Mutation::LeaverForgetsCallers,
        Mutation::ReturnsClosed,
        Mutation::OldLoadTaken,
    ];
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
