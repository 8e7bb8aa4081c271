//! The keys of what a product owes. `change` counts the product's changes.

use super::types::{FollowUp, FollowUpKind};
use crate::actors::values::{Sku, Slug};
use crate::owed_keys;

owed_keys! {
    pub enum OwedKey {
        "claim_slug" => ClaimSlug { change: u64, slug: Slug },
        "claim_sku" => ClaimSku { change: u64, sku: Sku },
        "set_offer" => SetOffer { change: u64, sku: Sku },
        "release_sku" => ReleaseSku { change: u64, sku: Sku },
        "release_slug" => ReleaseSlug { change: u64, slug: Slug },
    }
}

impl OwedKey {
    /// The change that it belongs to.
    pub fn change(&self) -> u64 {
        match self {
            OwedKey::ClaimSlug { change, .. }
            | OwedKey::ClaimSku { change, .. }
            | OwedKey::SetOffer { change, .. }
            | OwedKey::ReleaseSku { change, .. }
            | OwedKey::ReleaseSlug { change, .. } => *change,
        }
    }
}

/// A follow-up, as the state lists it.
pub fn follow_up(kind: FollowUpKind, name: &str) -> FollowUp {
    FollowUp { kind, name: name.into() }
}

#[test]
fn keys_keep_their_texts() {
    let sku: Sku = "TEE-M".parse().expect("a SKU");
    let slug: Slug = "tee".parse().expect("a slug");
    crate::actors::entity::owed_key::golden(&[
        (OwedKey::ClaimSlug { change: 1, slug: slug.clone() }, "claim_slug:1:tee"),
        (OwedKey::ClaimSku { change: 2, sku: sku.clone() }, "claim_sku:2:TEE-M"),
        (OwedKey::SetOffer { change: 3, sku: sku.clone() }, "set_offer:3:TEE-M"),
        (OwedKey::ReleaseSku { change: 4, sku }, "release_sku:4:TEE-M"),
        (OwedKey::ReleaseSlug { change: 5, slug }, "release_slug:5:tee"),
    ]);
}
