//! The keys of what a SKU owes.

use crate::owed_keys;

owed_keys! {
    pub enum OwedKey {
        /// A change of the stock band, told to the product.
        "band" => Band { seq: u64 },
    }
}

#[test]
fn keys_keep_their_texts() {
    crate::actors::entity::owed_key::golden(&[(OwedKey::Band { seq: 12 }, "band:12")]);
}
