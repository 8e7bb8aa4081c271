//! A SKU's stock as the merchant sees it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::sku::types::State;
use crate::actors::values::{OrderId, Sku, Time};
use crate::http::answer::schema;

/// The most reservations that are shown: a hot SKU has tens of thousands.
const RESERVATIONS_SHOWN: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Inventory)]
pub struct InventoryView {
    #[schema(value_type = String, example = "TEE-M")]
    pub sku: Sku,
    /// What lies in the shop.
    pub on_hand: u64,
    /// What pending orders hold of it.
    pub reserved: u64,
    /// on_hand - reserved
    pub available: u64,
    pub version: u64,
    /// At most 1,000 of them.
    pub reservations: Vec<ReservationView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Reservation)]
pub struct ReservationView {
    #[schema(value_type = String)]
    pub order_id: OrderId,
    pub quantity: u32,
    #[schema(value_type = schema::Time)]
    pub expires_at: Time,
}

impl InventoryView {
    /// The stock at `version`; `None` for a SKU that no product has.
    pub fn of(state: &State, version: u64) -> Option<InventoryView> {
        state.offer.as_ref()?;
        let reservations = state.reservations.iter().take(RESERVATIONS_SHOWN);
        Some(InventoryView {
            sku: state.sku.clone()?,
            on_hand: state.on_hand,
            reserved: state.reserved(),
            available: state.available(),
            version,
            reservations: reservations
                .map(|(order, held)| ReservationView {
                    order_id: *order,
                    quantity: held.quantity.get(),
                    expires_at: held.expires_at,
                })
                .collect(),
        })
    }
}
