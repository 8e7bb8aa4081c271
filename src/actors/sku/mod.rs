//! A SKU: what is offered under a merchant's stock-keeping name, and how many pieces of it there are.
//!
//! **The offer** belongs to one product at a time: products claim SKUs, set the offer and release it as
//! steps of a change (see [`super::product`]). Carts copy it.
//!
//! **The item.** What is sold is a product's variant; the SKU is only its name ([`types::Item`]). The counts, the
//! holds and the band belong to the variant that claimed the SKU last. A new claim starts with 0 pieces, also when a
//! product takes back a SKU that it gave up itself: its variant is a new one then. The ledger before it is set aside
//! ([`past`]) with its pieces and holds.
//!
//! - `Reserve` says which item it means, and any but the present one is refused as unknown: an order that was placed
//!   before the SKU changed hands gets nothing of the newcomer's.
//! - `Commit` and `ReleaseHold` find their hold in the ledger in which it was made: what was promised before is kept.
//! - `Restock` says what was sold, and the pieces go back to that ledger, or are counted among the forgotten ones.
//! - on_hand + sold - returned = received + adjusted holds in each ledger by itself.
//! - The past is bounded ([`past::PAST_MAX`]); what happens at the limit stands there.
//! - Lines of orders and carts that were stored before lines knew their variant mean the present one of their
//!   product. A claim that was stored before (version 1) kept the stock, and is replayed so.
//!
//! **The stock.** An order holds pieces (`Reserve`) until it is paid for (`Commit`: they are sold), until it
//! gives them back (`ReleaseHold`), or until the hold is too old and the SKU's own wake ends it
//! (`Expired`). A hold that is overdue is still good until that event: time alone takes nothing away, so
//! order and SKU never disagree about who has the pieces. A new order that would not fit ends overdue
//! holds itself: nobody is refused for pieces that nobody may keep.
//!
//! *Orders ask for all their SKUs at once*, so two may want the same last pieces in opposite order. Age decides: an
//! order that does not fit is refused only for what *older* orders hold (or nobody has); for what younger ones
//! hold it is told [`types::Rejection::Contended`], keeps what it has elsewhere, and asks again. Of two
//! orders the older is never refused for the younger, so never both; only older wait for younger, and age has no
//! circles, so nobody waits for ever. What fits is always granted, to whoever asks: there is no queue.
//!
//! **The band** (in stock, low, out) is what the product shows. A change is told to the product by an owed
//! request; while one is on its way the next waits, so a SKU that flickers around a limit sends one
//! message a round trip, and the last word is always sent.
//!
//! A crash leaves each command done or not done. Every step of an order has a request id of its own, so
//! asking again finds the receipt; holds of an order that never comes back end by the wake index; a band
//! that was not told is still owed.
//!
//! Speed: one SKU can be what everybody wants. No step looks at every hold: see [`reservations`].

mod item;
mod owed;
mod past;
mod reservations;
mod stock;
pub mod types;

#[cfg(test)]
mod tests;

use crate::actors::entity::{Answer, Ctx, Decision, DecisionOf, Entity, Owed, codec};
use crate::actors::product::types::{self as product, Product};
use crate::actors::values::{OrderId, Quantity, Sku, StockBand, Time, VariantId};
use crate::stored_enum;

use owed::OwedKey;
use types::{BandNews, Command, Item, Offer, Past, Rejection, Reply, Reservation, Reservations, State, StockUnit};

stored_enum! {
    pub enum Event {
        /// `fresh`: with no pieces. A claim of version 1 kept those of the variant before.
        (1, 2) => Claimed { sku: Sku, offer: Offer, fresh: bool },
        (2, 1) => OfferSet { offer: Offer },
        (3, 1) => Released,
        /// The pieces that were counted.
        (4, 1) => StockSet { on_hand: u64 },
        (5, 1) => Adjusted { delta: i64, reason: String },
        (6, 2) => Reserved { order: OrderId, quantity: Quantity, expires_at: Time, placed_at: Time },
        (7, 1) => Committed { order: OrderId, quantity: Quantity },
        (8, 1) => HoldReleased { order: OrderId },
        (9, 1) => Expired { orders: Vec<OrderId> },
        (10, 1) => Restocked { order: OrderId, quantity: Quantity },
        (11, 1) => BandChanged { band: StockBand },
        (12, 1) => BandTold { seq: u64 },
        /// Pieces are back that were sold by a variant of the past; `None`: by one that is forgotten.
        (13, 1) => RestockedPast { order: OrderId, quantity: Quantity, variant: Option<VariantId> },
    }
    old {
        (1, 1) => |bytes| {
            let (sku, offer): (Sku, Offer) = codec::decode(bytes)?;
            Ok(Event::Claimed { sku, offer, fresh: false })
        },
        // Before holds kept their order's age.
        (6, 1) => |bytes| {
            let (order, quantity, expires_at): (OrderId, Quantity, Time) = codec::decode(bytes)?;
            Ok(Event::Reserved { order, quantity, expires_at, placed_at: Time::ZERO })
        },
    }
}

/// The most holds that one wake ends: a record stays small. The next wake follows at once.
const EXPIRED_MAX: usize = 256;

impl Default for State {
    fn default() -> Self {
        State {
            sku: None,
            offer: None,
            item: None,
            on_hand: 0,
            received: 0,
            adjusted: 0,
            sold: 0,
            returned: 0,
            reservations: Reservations::default(),
            band: StockBand::OutOfStock,
            band_seq: 0,
            telling: None,
            past: Past::default(),
        }
    }
}

impl Entity for State {
    type Kind = StockUnit;
    type Event = Event;
    const STATE_VERSION: u16 = 3;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Claim { sku, offer } => self.claim(sku, offer),
            Command::SetOffer { offer } => match &self.offer {
                None => Err(Rejection::Unknown),
                Some(held) if Item::of(held) != Item::of(&offer) => Err(Rejection::Taken { by: held.product }),
                Some(held) if *held == offer => Ok(Decision::unchanged(Reply::OfferSet)),
                Some(_) => Ok(Decision::new(vec![Event::OfferSet { offer }], Reply::OfferSet)),
            },
            Command::Release { product } => match &self.offer {
                Some(held) if held.product == product => Ok(Decision::new(vec![Event::Released], Reply::Released)),
                Some(_) | None => Ok(Decision::unchanged(Reply::Released)),
            },
            Command::SetStock { on_hand, expected, item } => self.set_stock(on_hand, expected, item, ctx),
            Command::Adjust { delta, reason, item } => self.adjust(delta, reason, item, ctx),
            Command::Reserve { order, quantity, placed_at, item } => {
                self.reserve(order, quantity, placed_at, item, ctx)
            }
            Command::Commit { order } => self.commit(order, ctx),
            Command::ReleaseHold { order } => Ok(self.release_hold(order, ctx)),
            Command::Restock { order, quantity, item } => Ok(self.restock(order, quantity, item, ctx)),
            Command::Expire => Ok(self.expire(ctx)),
            Command::BandTold { seq } if self.telling.is_some_and(|news| news.seq == seq) => {
                Ok(Decision::new(vec![Event::BandTold { seq }], Reply::Noted))
            }
            Command::BandTold { .. } => Ok(Decision::unchanged(Reply::Noted)),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        match event {
            Event::Claimed { sku, offer, fresh } => {
                if *fresh {
                    self.start_anew();
                }
                self.sku = Some(sku.clone());
                self.item = Some(Item::of(offer));
                self.offer = Some(offer.clone());
            }
            Event::OfferSet { offer } => {
                self.item = Some(Item::of(offer));
                self.offer = Some(offer.clone());
            }
            Event::Released => {
                self.offer = None;
                self.telling = None;
            }
            Event::StockSet { on_hand } => {
                if *on_hand > self.on_hand {
                    self.received += on_hand - self.on_hand;
                } else {
                    self.adjusted = self.adjusted.saturating_sub_unsigned(self.on_hand - on_hand);
                }
                self.on_hand = *on_hand;
            }
            Event::Adjusted { delta, .. } => {
                self.adjusted = self.adjusted.saturating_add(*delta);
                self.on_hand = self.on_hand.saturating_add_signed(*delta);
            }
            Event::Reserved { order, quantity, expires_at, placed_at } => {
                let (quantity, expires_at, placed_at) = (*quantity, *expires_at, *placed_at);
                self.reservations.put(*order, Reservation { quantity, expires_at, placed_at });
            }
            Event::Committed { order, .. } if self.past.hold(order).is_some() => self.past.commit(order),
            Event::Committed { order, quantity } => {
                self.reservations.remove(order);
                self.on_hand = self.on_hand.saturating_sub(u64::from(quantity.get()));
                self.sold += u64::from(quantity.get());
            }
            Event::HoldReleased { order } => self.let_go(order),
            Event::Expired { orders } => orders.iter().for_each(|order| self.let_go(order)),
            Event::Restocked { quantity, .. } => {
                self.on_hand += u64::from(quantity.get());
                self.returned += u64::from(quantity.get());
            }
            Event::RestockedPast { quantity, variant, .. } => self.past.restock(*variant, *quantity),
            Event::BandChanged { band } => {
                self.band = *band;
                self.band_seq += 1;
                if self.offer.is_some() && self.telling.is_none() {
                    self.telling = Some(BandNews { band: self.band, seq: self.band_seq });
                }
            }
            Event::BandTold { seq } => {
                let news = self.band_seq > *seq;
                self.telling = news.then_some(BandNews { band: self.band, seq: self.band_seq });
            }
        }
    }

    fn owed(&self) -> Vec<Owed> {
        let (Some(sku), Some(offer), Some(BandNews { band, seq })) = (&self.sku, &self.offer, self.telling) else {
            return Vec::new();
        };
        let news = product::Command::StockChanged { sku: sku.clone(), band, seq };
        vec![Owed::to::<Product>(OwedKey::Band { seq }, &offer.product, news)]
    }

    /// A product notes every band and refuses none; whatever it answers, it has been told.
    fn answered(&self, key: &str, _: &Answer) -> Option<Command> {
        let OwedKey::Band { seq } = key.parse().ok()?;
        Some(Command::BandTold { seq })
    }

    fn wake_at(&self) -> Option<Time> {
        self.reservations.next_expiry().into_iter().chain(self.past.next_expiry()).min()
    }

    fn wake() -> Option<Command> {
        Some(Command::Expire)
    }

    fn violations(&self) -> Vec<&'static str> {
        let consistent = !cfg!(debug_assertions) || (self.reservations.is_consistent() && self.past.is_consistent());
        let item = self.offer.as_ref().is_none_or(|offer| self.item == Some(Item::of(offer)));
        let rules = [
            (self.pieces().balance(), "on_hand + sold - returned = received + adjusted"),
            (self.reserved() <= self.on_hand, "reserved <= on_hand"),
            (self.past.is_balanced(), "the same in each ledger of the past"),
            (item, "the pieces are those of the variant that is offered"),
            (self.telling.is_none() || self.offer.is_some(), "bands are told to the product that offers the SKU"),
            (consistent, "the reservations' sum and order are those of the reservations"),
        ];
        rules.into_iter().filter(|(holds, _)| !holds).map(|(_, name)| name).collect()
    }

    fn size_bytes(&self) -> usize {
        let title = self.offer.as_ref().map_or(0, |offer| offer.title.len());
        size_of::<Self>()
            + title
            + self.sku.as_ref().map_or(0, |sku| sku.as_str().len())
            + self.reservations.heap_bytes()
            + self.past.heap_bytes()
    }
}
