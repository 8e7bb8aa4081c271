//! The public face of a SKU: what is offered under it, and how many pieces there are.

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::values::{OrderId, ProductId, Quantity, Sku, StockBand, Time};
use crate::stored_enum;

pub use super::item::{Item, Offer};
pub use super::past::{Ledger, PAST_MAX, Past, Pieces};
pub use super::reservations::{Reservation, Reservations};

pub enum StockUnit {}

impl Kind for StockUnit {
    const NUMBER: u8 = 9;
    const NAME: &'static str = "sku";
    type Id = Sku;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;
}

/// The most pieces of one SKU. Far below where the arithmetic or a JSON number would end.
pub const STOCK_MAX: u64 = 1_000_000_000_000;

stored_enum! {
    pub enum Command {
        /// From a product: the SKU is its variant's from now on. `sku` is this entity's own name.
        (1, 1) => Claim { sku: Sku, offer: Offer },
        /// From the product that holds it.
        (2, 1) => SetOffer { offer: Offer },
        /// From a product that no longer has it. Its pieces and holds stay with its variant.
        (3, 1) => Release { product: ProductId },

        /// What was counted. `expected`: the on_hand that the caller has seen.
        (4, 1) => SetStock {
            on_hand: u64,
            expected: Option<u64>,
            /// What the caller may count. `None`: whatever the SKU names.
            item: Option<Item>,
        },
        (5, 1) => Adjust { delta: i64, reason: String, item: Option<Item> },

        /// Holds pieces for an order until they are committed, released, or the hold expires. A repeat with
        /// another quantity changes the hold. `placed_at`: when the order was placed, which with its id is its age.
        /// Of any item but the present one it is refused as unknown.
        (6, 1) => Reserve { order: OrderId, quantity: Quantity, placed_at: Time, item: Item },
        /// The order is paid for: what it holds is sold, also of an item that has given up the SKU meanwhile.
        (7, 1) => Commit { order: OrderId },
        (8, 1) => ReleaseHold { order: OrderId },
        /// A sold piece is back (an order was cancelled, or undone after a commit): to the item that it was sold as.
        (9, 1) => Restock { order: OrderId, quantity: Quantity, item: Item },

        /// The wake: ends what has been held too long.
        (10, 1) => Expire,
        /// The product's answer to a stock band.
        (11, 1) => BandTold { seq: u64 },
    }
}

stored_enum! {
    pub enum Reply {
        /// Also when the product held it before. The band as of `seq`, so that the product knows it at once.
        (1, 1) => Claimed { band: StockBand, seq: u64 },
        (2, 1) => OfferSet,
        /// Also when the product did not hold it.
        (3, 1) => Released,
        (4, 1) => StockSet { on_hand: u64 },
        /// Also when the order held the same before.
        (5, 1) => Reserved,
        (6, 1) => Committed,
        /// Also when the order held nothing.
        (7, 1) => HoldReleased,
        (8, 1) => Restocked,
        /// To the SKU's own wake and to answers.
        (9, 1) => Noted,
    }
}

stored_enum! {
    pub enum Rejection {
        /// Another product holds the SKU, or so many past ones have pieces on hold that no more can be remembered.
        (1, 1) => Taken { by: ProductId },
        /// No product has a variant with this SKU; or it is not the one that was meant.
        (2, 1) => Unknown,
        /// `expected` was not the present on_hand.
        (3, 1) => StockChanged { on_hand: u64 },
        /// It would leave less than orders hold.
        (4, 1) => StockReserved { reserved: u64 },
        /// More than [`STOCK_MAX`].
        (5, 1) => OutOfRange { limit: u64 },
        (6, 1) => InsufficientStock { available: u64, requested: u64 },
        /// The order holds nothing here: never did, or the hold expired.
        (7, 1) => NotReserved,
        /// Reserve: it would fit, were it not for what younger orders hold. The older order asks again; the younger
        /// ones go on or give back, and never wait for it here.
        (8, 1) => Contended,
    }
}

/// A stock band that the product is being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandNews {
    pub band: StockBand,
    pub seq: u64,
}

/// Counts and holds are those of `item`: on_hand + sold - returned = received + adjusted, and
/// 0 <= reserved <= on_hand, always.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The SKU's own name: `None` until a product first claims it.
    pub sku: Option<Sku>,
    /// `None`: no product has this SKU (now). To the edge it is unknown then.
    pub offer: Option<Offer>,
    /// Who claimed the SKU last, also when it has been released since.
    pub item: Option<Item>,
    /// Pieces that lie in the shop.
    pub on_hand: u64,
    /// Pieces that came in by setting the stock higher.
    pub received: u64,
    /// The sum of all adjustments, and of what setting the stock lower took away.
    pub adjusted: i64,
    /// Pieces that left with confirmed orders.
    pub sold: u64,
    /// Sold pieces that came back.
    pub returned: u64,
    /// What orders hold.
    pub reservations: Reservations,
    /// How much is available, in words.
    pub band: StockBand,
    /// Grows with every change of the band, over the SKU's whole life.
    pub band_seq: u64,
    /// At most one band is on its way to the product.
    pub telling: Option<BandNews>,
    /// What the SKU named before.
    pub past: Past,
}

impl State {
    pub fn pieces(&self) -> Pieces {
        let State { on_hand, received, adjusted, sold, returned, .. } = *self;
        Pieces { on_hand, received, adjusted, sold, returned }
    }

    pub fn reserved(&self) -> u64 {
        self.reservations.total()
    }

    /// What a new order can have.
    pub fn available(&self) -> u64 {
        self.on_hand.saturating_sub(self.reserved())
    }
}
