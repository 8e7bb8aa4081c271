//! A SKU: what is offered under a merchant's stock-keeping name, and how many pieces of it there are.
//!
//! **The offer** belongs to one product at a time: products claim SKUs, set the offer and release it as
//! steps of a change (see [`super::product`]). Carts copy it. Stock belongs to the SKU itself and stays
//! when its product goes.
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

mod reservations;
mod stock;
pub mod types;

#[cfg(test)]
mod tests;

use crate::actors::entity::{Answer, Ctx, Decision, DecisionOf, Entity, Owed, codec};
use crate::actors::product::types::{self as product, Product};
use crate::actors::values::{OrderId, Quantity, Sku, StockBand, Time};
use crate::stored_enum;

use types::{BandNews, Command, Offer, Rejection, Reply, Reservation, Reservations, State, StockUnit};

stored_enum! {
    pub enum Event {
        (1, 1) => Claimed { sku: Sku, offer: Offer },
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
    }
    old {
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
            on_hand: 0,
            received: 0,
            adjusted: 0,
            sold: 0,
            returned: 0,
            reservations: Reservations::default(),
            band: StockBand::OutOfStock,
            band_seq: 0,
            telling: None,
        }
    }
}

impl Entity for State {
    type Kind = StockUnit;
    type Event = Event;
    const STATE_VERSION: u16 = 2;

    fn decide(&self, command: Command, ctx: &Ctx) -> Result<DecisionOf<Self>, Rejection> {
        match command {
            Command::Claim { sku, offer } => {
                let claimed = Reply::Claimed { band: self.band, seq: self.band_seq };
                match &self.offer {
                    None => Ok(Decision::new(vec![Event::Claimed { sku, offer }], claimed)),
                    Some(held) if held.product == offer.product => Ok(Decision::unchanged(claimed)),
                    Some(held) => Err(Rejection::Taken { by: held.product }),
                }
            }
            Command::SetOffer { offer } => match &self.offer {
                None => Err(Rejection::Unknown),
                Some(held) if held.product != offer.product => Err(Rejection::Taken { by: held.product }),
                Some(held) if *held == offer => Ok(Decision::unchanged(Reply::OfferSet)),
                Some(_) => Ok(Decision::new(vec![Event::OfferSet { offer }], Reply::OfferSet)),
            },
            Command::Release { product } => match &self.offer {
                Some(held) if held.product == product => Ok(Decision::new(vec![Event::Released], Reply::Released)),
                Some(_) | None => Ok(Decision::unchanged(Reply::Released)),
            },
            Command::SetStock { on_hand, expected } => self.set_stock(on_hand, expected, ctx),
            Command::Adjust { delta, reason } => self.adjust(delta, reason, ctx),
            Command::Reserve { order, quantity, placed_at } => self.reserve(order, quantity, placed_at, ctx),
            Command::Commit { order } => self.commit(order, ctx),
            Command::ReleaseHold { order } => Ok(self.release_hold(order, ctx)),
            Command::Restock { order, quantity } => Ok(self.restock(order, quantity, ctx)),
            Command::Expire => Ok(self.expire(ctx)),
            Command::BandTold { seq } if self.telling.is_some_and(|news| news.seq == seq) => {
                Ok(Decision::new(vec![Event::BandTold { seq }], Reply::Noted))
            }
            Command::BandTold { .. } => Ok(Decision::unchanged(Reply::Noted)),
        }
    }

    fn evolve(&mut self, event: &Event, _: Time) {
        match event {
            Event::Claimed { sku, offer } => {
                self.sku = Some(sku.clone());
                self.offer = Some(offer.clone());
            }
            Event::OfferSet { offer } => self.offer = Some(offer.clone()),
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
            Event::Committed { order, quantity } => {
                self.reservations.remove(order);
                self.on_hand = self.on_hand.saturating_sub(u64::from(quantity.get()));
                self.sold += u64::from(quantity.get());
            }
            Event::HoldReleased { order } => {
                self.reservations.remove(order);
            }
            Event::Expired { orders } => {
                for order in orders {
                    self.reservations.remove(order);
                }
            }
            Event::Restocked { quantity, .. } => {
                self.on_hand += u64::from(quantity.get());
                self.returned += u64::from(quantity.get());
            }
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
        vec![Owed::to::<Product>(format!("band:{seq}"), &offer.product, news)]
    }

    /// A product notes every band and refuses none; whatever it answers, it has been told.
    fn answered(&self, key: &str, _: &Answer) -> Option<Command> {
        let seq = key.strip_prefix("band:")?.parse().ok()?;
        Some(Command::BandTold { seq })
    }

    fn wake_at(&self) -> Option<Time> {
        self.reservations.next_expiry()
    }

    fn wake() -> Option<Command> {
        Some(Command::Expire)
    }

    fn violations(&self) -> Vec<&'static str> {
        let signed = |pieces: u64| i128::from(pieces);
        let balance = signed(self.on_hand) + signed(self.sold) - signed(self.returned)
            == signed(self.received) + i128::from(self.adjusted);
        let consistent = !cfg!(debug_assertions) || self.reservations.is_consistent();
        let rules = [
            (balance, "on_hand + sold - returned = received + adjusted"),
            (self.reserved() <= self.on_hand, "reserved <= on_hand"),
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
    }
}
