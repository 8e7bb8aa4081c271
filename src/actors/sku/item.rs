//! What a SKU names: the variant that is sold under it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::actors::values::{Money, ProductId, UserId, VariantId};

/// What is sold under a SKU: written by its product, copied by carts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub product: ProductId,
    pub variant: VariantId,
    /// The product's title.
    pub title: Arc<str>,
    pub price: Money,
    /// Whether it may be bought now.
    pub published: bool,
    pub seller: Option<UserId>,
}

/// The variant of a product that a line, a hold or a sold piece is of, whatever its SKU names later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub product: ProductId,
    /// `None` in lines that were stored before they knew it: whichever variant of the product has the SKU.
    pub variant: Option<VariantId>,
}

impl Item {
    pub fn of(offer: &Offer) -> Item {
        Item { product: offer.product, variant: Some(offer.variant) }
    }

    /// Whether both are the same. An item without a variant is the same as any variant of its product.
    pub fn is(&self, other: &Item) -> bool {
        let unsaid = self.variant.is_none() || other.variant.is_none();
        self.product == other.product && (unsaid || self.variant == other.variant)
    }
}
