//! The public face of a cart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actors::entity::Kind;
use crate::actors::order::types::OrderRefusal;
use crate::actors::payment::types::PaymentIntent;
use crate::actors::sku::types::Offer;
use crate::actors::values::{
    CartId, Contact, Currency, LineId, Money, OrderId, Quantity, RequestId, Sku, Time, Totals, UserId,
};
use crate::{coded_enum, stored_enum};

pub use super::lines::{Line, Lines};

pub enum Cart {}

impl Kind for Cart {
    const NUMBER: u8 = 10;
    const NAME: &'static str = "cart";
    type Id = CartId;
    type Command = Command;
    type Reply = Reply;
    type Rejection = Rejection;
    type State = State;

    fn is_momentary(rejection: &Rejection) -> bool {
        Self::passes_soon(rejection) || matches!(rejection, Rejection::CompletionInProgress { .. })
    }

    /// A completion waits for a payment provider, which is too long for another request to wait.
    fn passes_soon(rejection: &Rejection) -> bool {
        matches!(rejection, Rejection::MergeInProgress | Rejection::OfferMissing { .. })
    }
}

/// The most lines of one cart.
pub const LINES_MAX: usize = 2_000;
/// The most lines that one command adds: a record of some 60 KB.
pub const LINES_AT_ONCE_MAX: usize = 500;
/// The most faults that the refusal of a list names, in the order of the list. Bounded because refusals are kept as
/// receipts.
pub const LINE_FAULTS_MAX: usize = 32;
/// The most lines that a refused completion names: its receipt stays small.
pub const ITEMS_TOLD_MAX: usize = 100;

coded_enum! {
    pub enum CartStatus {
        Open = 1 "open",
        /// An order decides.
        Completing = 2 "completing",
        Completed = 3 "completed",
        Merged = 4 "merged",
        Expired = 5 "expired",
    }
}

coded_enum! {
    /// Which quantity counts for a SKU that both carts have.
    pub enum MergeStrategy {
        Sum = 1 "sum",
        Max = 2 "max",
        /// The source's line wins, its price too.
        Replace = 3 "replace",
        /// The target's line wins.
        Keep = 4 "keep",
    }
}

coded_enum! {
    /// What is still missing before a cart can be completed.
    pub enum Requirement { CartEmpty = 1 "cart_empty", ContactRequired = 2 "contact_required" }
}

impl Requirement {
    /// Where in the cart it is missing.
    pub fn pointer(self) -> &'static str {
        match self {
            Requirement::CartEmpty => "/lines",
            Requirement::ContactRequired => "/contact",
        }
    }
}

/// A line to add. `offer`: what the catalogue says now; `None` if the SKU is unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewLine {
    pub sku: Sku,
    pub quantity: Quantity,
    pub offer: Option<Offer>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completing {
    /// Derived by the edge from the request id.
    pub order: OrderId,
    pub payment: PaymentIntent,
    /// What the caller means to pay. `None`: what the cart showed last.
    pub expected_total: Option<Money>,
    /// What the catalogue says now about every SKU of the cart.
    pub offers: Vec<(Sku, Option<Offer>)>,
}

stored_enum! {
    pub enum Command {
        (1, 1) => Create {
            /// The cart's own id, derived by the edge from the request id.
            id: CartId,
            user: Option<UserId>,
            currency: Currency,
            reference: Option<String>,
            metadata: BTreeMap<String, String>,
        },
        /// A SKU that is there already grows. `offer`: what the catalogue says now; `None` if the SKU is unknown.
        (2, 1) => AddLine { sku: Sku, quantity: Quantity, offer: Option<Offer> },
        /// Adds all of these or none. A SKU that is there already grows, and so does one that comes twice in the list.
        (3, 1) => AddLines { lines: Vec<NewLine> },
        /// `None` removes the line.
        (4, 1) => SetQuantity { line: LineId, quantity: Option<Quantity> },
        (5, 1) => RemoveLine { line: LineId },
        (6, 1) => SetContact { contact: Box<Contact> },

        /// To the target. The outcome is in the settled state: [`State::merge_refused`].
        (7, 1) => Merge { from: CartId, strategy: MergeStrategy },
        /// Target to source: give me your lines. `merge` is the request id of the merge, in all its steps.
        (8, 1) => Surrender { merge: RequestId, to: CartId },
        /// Source to target: here they are.
        (9, 1) => TakeLines { merge: RequestId, currency: Currency, lines: Vec<Line> },
        /// Target to source: they are mine (or not). The source's own question, answered, means the same.
        (10, 1) => Conclude { merge: RequestId, taken: bool },
        /// The source's answers to the target's questions.
        (11, 1) => SurrenderAnswered { merge: RequestId, refusal: Option<MergeRefusal> },
        (12, 1) => ConcludeAnswered { merge: RequestId },

        /// The outcome is in the settled state: completed, or open again with [`State::completion_refused`].
        (13, 1) => Complete(completing: Box<Completing>),
        /// The order's answer to its placement. Only its decision ends the completion.
        (14, 1) => PlaceAnswered { order: OrderId },
        /// From the order: it is confirmed, or refused and holds nothing.
        (15, 1) => Decided { order: OrderId, order_version: u64, refusal: Option<OrderRefusal> },

        /// The wake.
        (16, 1) => Expire,
        /// The customer's answer to CartOpened and CartClosed.
        (17, 1) => CustomerTold { closed: bool },
    }
}

stored_enum! {
    pub enum Reply {
        (1, 1) => Opened,
        /// To what a client does with lines and contact; also when nothing changed.
        (2, 1) => Changed,
        /// To Merge: under way.
        (3, 1) => Merging,
        /// To Surrender: the lines come with a TakeLines.
        (4, 1) => Surrendering,
        /// To TakeLines.
        (5, 1) => Taken,
        (6, 1) => NotTaken { refusal: MergeRefusal },
        /// To Complete: the order decides.
        (7, 1) => Started { order: OrderId },
        /// To Complete: not at this total. The cart has the catalogue's prices now.
        (8, 1) => Repriced { total: Money },
        /// To Complete: it is completed, into this order.
        (9, 1) => Already { order: OrderId },
        /// To answers, decisions and the wake.
        (10, 1) => Noted,
        /// To Complete: the SKUs of these lines (from 0, at most [`ITEMS_TOLD_MAX`]) name other items now. The cart has
        /// what the catalogue says.
        (11, 1) => ItemsChanged { lines: Vec<u32> },
    }
}

stored_enum! {
    pub enum Rejection {
        (1, 1) => NotFound,
        /// Completed, merged or expired.
        (2, 1) => Closed { status: CartStatus },
        (3, 1) => CompletionInProgress { order: OrderId },
        /// Lines are on their way from or to another cart: repeat when that is over (milliseconds).
        (4, 1) => MergeInProgress,
        (5, 1) => UnknownSku { sku: Sku },
        (6, 1) => Unpublished { sku: Sku },
        (7, 1) => OtherCurrency { sku: Sku, currency: Currency },
        (8, 1) => TooManyLines { limit: u32 },
        (9, 1) => QuantityTooLarge { limit: u32 },
        (10, 1) => LineNotFound,
        (11, 1) => SelfMerge,
        (12, 1) => NotReady { requirements: Vec<Requirement> },
        /// The catalogue no longer sells what `line` (from 0) holds, or not in this currency.
        (13, 1) => SkuGone { line: u32, sku: Sku },
        /// `offers` does not speak of `sku`: the cart changed after the caller read it. Read and repeat.
        (14, 1) => OfferMissing { sku: Sku },
        /// TakeLines of a merge that this cart does not know (any more).
        (15, 1) => NotMerging,
        /// To AddLines: nothing of the list was added. At most [`LINE_FAULTS_MAX`], in the order of the list.
        (16, 1) => LinesNotAdded { faults: Vec<LineFault> },
    }
}

/// Why one line of a list cannot be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineFault {
    /// From 0.
    pub place: u32,
    pub sku: Sku,
    pub code: LineFaultCode,
    /// What the SKU is priced in, where that is another currency than the cart's.
    pub currency: Option<Currency>,
}

coded_enum! {
    pub enum LineFaultCode {
        UnknownSku = 1 "unknown_sku",
        Unpublished = 2 "unpublished_sku",
        OtherCurrency = 3 "other_currency",
        QuantityTooLarge = 4 "quantity_too_large",
    }
}

coded_enum! {
    /// Why a merge did not come about.
    pub enum MergeRefusal {
        SourceNotFound = 1 "source_not_found",
        SourceClosed = 2 "source_closed",
        SourceCompleting = 3 "source_completing",
        SourceMerging = 4 "source_merging",
        OtherCurrency = 5 "other_currency",
        TooManyLines = 6 "too_many_lines",
        QuantityTooLarge = 7 "quantity_too_large",
    }
}

impl MergeRefusal {
    /// Whether the source was only busy: the same merge may well succeed a moment later.
    pub fn is_momentary(self) -> bool {
        matches!(self, MergeRefusal::SourceCompleting | MergeRefusal::SourceMerging)
    }
}

/// The outcome of the last merge into this cart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LastMerge {
    pub request: RequestId,
    pub from: CartId,
    /// `None`: the lines are here.
    pub refusal: Option<MergeRefusal>,
}

coded_enum! {
    /// How far a merge into this cart has come.
    pub enum MergeStep {
        /// The source is being asked for its lines.
        Asking = 1 "asking",
        /// It will send them.
        Awaiting = 2 "awaiting",
        /// They are taken; the source is being told.
        Taken = 3 "taken",
        /// They are refused; the source is being told.
        Refused = 4 "refused",
    }
}

/// A merge into this cart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MergeIn {
    pub request: RequestId,
    pub from: CartId,
    pub strategy: MergeStrategy,
    pub step: MergeStep,
}

/// This cart's lines are on their way to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MergeOut {
    pub request: RequestId,
    pub to: CartId,
}

/// The completion that runs, or that made this cart completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    pub request: RequestId,
    pub order: OrderId,
    /// The order's version when it had decided; 0 before.
    pub order_version: u64,
    /// How it is paid; forgotten when the order has decided.
    pub payment: Option<PaymentIntent>,
    /// The order has got its placement.
    pub placed: bool,
}

/// A completion that was refused: the cart is open again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompletionRefused {
    pub request: RequestId,
    pub order: OrderId,
    pub order_version: u64,
    pub refusal: OrderRefusal,
}

coded_enum! {
    /// What the customer's list of open carts knows of this cart.
    pub enum Listing {
        /// A guest's: nobody has to know.
        Unlisted = 1 "unlisted",
        OpeningOwed = 2 "opening_owed",
        Listed = 3 "listed",
        ClosingOwed = 4 "closing_owed",
        /// Closed, and the customer knows.
        Ended = 5 "ended",
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The cart's own id, from its creation on.
    pub id: Option<CartId>,
    pub status: CartStatus,
    pub user: Option<UserId>,
    pub currency: Currency,
    pub reference: Option<Box<str>>,
    pub metadata: BTreeMap<String, String>,
    pub lines: Lines,
    pub contact: Option<Box<Contact>>,
    pub created_at: Time,
    pub expires_at: Time,
    pub listing: Listing,
    pub merge_in: Option<Box<MergeIn>>,
    pub merge_out: Option<Box<MergeOut>>,
    pub merged_into: Option<CartId>,
    pub last_merge: Option<Box<LastMerge>>,
    pub completion: Option<Box<Completion>>,
    pub last_refusal: Option<Box<CompletionRefused>>,
}

impl State {
    /// Shipping, tax and discount are 0 for now.
    pub fn totals(&self) -> Totals {
        Totals::of_goods(Money::new(self.lines.subtotal(), self.currency))
    }

    /// What is missing before the cart can be completed.
    pub fn requirements(&self) -> Vec<Requirement> {
        let empty = self.lines.is_empty().then_some(Requirement::CartEmpty);
        let contact = self.contact.is_none().then_some(Requirement::ContactRequired);
        empty.into_iter().chain(contact).collect()
    }

    /// The order that decides or has decided.
    pub fn order(&self) -> Option<OrderId> {
        self.completion.as_ref().map(|completion| completion.order)
    }

    /// Why this request's completion was refused, if it was.
    pub fn completion_refused(&self, request: &RequestId) -> Option<&CompletionRefused> {
        self.last_refusal.as_deref().filter(|refused| refused.request == *request)
    }

    /// Why this request's merge was refused, if it was.
    pub fn merge_refused(&self, request: &RequestId) -> Option<MergeRefusal> {
        self.last_merge.as_deref().filter(|merge| merge.request == *request)?.refusal
    }
}
